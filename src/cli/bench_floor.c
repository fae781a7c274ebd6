// SPDX-License-Identifier: Apache-2.0
//
// The floors of `bench`: what the device, the memory and the decompressor give to a program that does nothing
// else, measured in the same run and folder as the row beside it.
//
// This is the one file of the program that does raw I/O: a floor must not go through what it is the floor of.
// Direct I/O needs a definition POSIX does not have; where a file system refuses it, the floor is measured
// with O_DSYNC through the page cache, as the store's journal then works too.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // O_DIRECT
#endif

#include "cli/bench.h"

#include "cli/progress.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zdict.h>
#include <zstd.h>

#define PAGE_SIZE 4096u
#define OVERWRITTEN_BYTES (16u * 1024 * 1024)
#define BLOCK_BYTES 4096u
#define BLOCK_COUNT 4096u
#define DICTIONARY_BYTES (16u * 1024)
#define SAMPLE_COUNT 8192u

static int fail_io(cli_bench *bench, const char *what, const char *path) {
    return cli_fail(bench->context, errno == ENOSPC ? DAYBOOK_ENOSPC : DAYBOOK_EIO,
                    "cannot measure a floor: cannot %s %s: %s", what, path, strerror(errno));
}

// --- The device ------------------------------------------------------------------------------------------

// Write the file once, so that overwriting it allocates nothing.
static int write_once(int descriptor, const void *data, size_t size) {
    for (size_t at = 0; at < OVERWRITTEN_BYTES;) {
        size_t wanted = OVERWRITTEN_BYTES - at < size ? OVERWRITTEN_BYTES - at : size;
        ssize_t count = pwrite(descriptor, data, wanted, (off_t)at);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return 0;
        at += (size_t)count;
    }
    return fdatasync(descriptor) == 0;
}

int cli_bench_floor_overwrites(cli_bench *bench, size_t write_bytes, double seconds, double *per_second_out) {
    char path[CLI_BENCH_PATH_SIZE];
    cli_bench_path(bench, "floor", path);
    size_t size = (write_bytes + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
    void *data = NULL;
    if (posix_memalign(&data, PAGE_SIZE, size > 1024 * 1024 ? size : 1024 * 1024) != 0)
        return cli_fail(bench->context, DAYBOOK_ENOMEM, "out of memory");
    memset(data, 'f', size > 1024 * 1024 ? size : 1024 * 1024);
    int outcome = CLI_FINE;
    int descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (descriptor < 0 || !write_once(descriptor, data, 1024 * 1024)) outcome = fail_io(bench, "write", path);
    if (descriptor >= 0) (void)close(descriptor);
    if (outcome != CLI_FINE) goto done;
    descriptor = open(path, O_RDWR | O_DSYNC | O_DIRECT | O_CLOEXEC);
    if (descriptor < 0 && errno == EINVAL) descriptor = open(path, O_RDWR | O_DSYNC | O_CLOEXEC);
    if (descriptor < 0) {
        outcome = fail_io(bench, "open", path);
        goto done;
    }
    int64_t begin_ns = cli_clock_ns(), end_ns = begin_ns, limit_ns = (int64_t)(seconds * 1e9);
    uint64_t count = 0;
    for (size_t at = 0; end_ns - begin_ns < limit_ns && outcome == CLI_FINE; at += size) {
        if (at + size > OVERWRITTEN_BYTES) at = 0;
        memcpy(data, &count, sizeof count); // never the same page twice: devices may notice
        if (pwrite(descriptor, data, size, (off_t)at) != (ssize_t)size)
            outcome = fail_io(bench, "overwrite", path);
        count++;
        end_ns = cli_clock_ns();
    }
    (void)close(descriptor);
    *per_second_out = (double)count * 1e9 / (double)(end_ns - begin_ns);
done:
    (void)unlink(path);
    free(data);
    return outcome;
}

// --- Memory ----------------------------------------------------------------------------------------------

int cli_bench_floor_copy(cli_bench *bench, size_t bytes, double *per_second_out) {
    enum { COPY_COUNT = 64 };
    // Many targets, so that it is memory that is measured and not the first cache.
    char *from = malloc(bytes), *to = malloc(bytes * COPY_COUNT);
    int outcome = CLI_FINE;
    if (from == NULL || to == NULL) {
        outcome = cli_fail(bench->context, DAYBOOK_ENOMEM, "out of memory");
    } else {
        memset(from, 'c', bytes);
        memset(to, 'd', bytes * COPY_COUNT); // pages are there before the clock runs
        uint64_t count = 0, sum = 0;
        int64_t begin_ns = cli_clock_ns(), end_ns = begin_ns;
        for (; end_ns - begin_ns < 200000000; count++) {
            char *target = to + count % COPY_COUNT * bytes;
            from[count % bytes] ^= 1;
            memcpy(target, from, bytes);
            sum += (unsigned char)target[count % bytes]; // keeps the copy
            end_ns = cli_clock_ns();
        }
        *per_second_out = sum == 0 ? 0 : (double)count * 1e9 / (double)(end_ns - begin_ns);
    }
    free(from);
    free(to);
    return outcome;
}

// --- The decompressor ------------------------------------------------------------------------------------

// What a block holds of an event, about as a store has to keep it: place, times and id besides the texts.
static size_t put_block_event(uint64_t number, char *to, size_t room) {
    cli_bench_order_event made;
    cli_bench_make_order_event(number / CLI_BENCH_ORDER_EVENT_COUNT + 1,
                               (unsigned)(number % CLI_BENCH_ORDER_EVENT_COUNT), 100001, &made);
    uint64_t id[2] = {UINT64_C(0x5ab1017f22e2b979), number << 56 | number >> 8}; // as a store's, counted up
    uint64_t place[4] = {number, number * 3, UINT64_C(1795233391000000000) + number * 1000, number % 10};
    size_t size = sizeof id + sizeof place + made.event.subject.size + made.event.data.size;
    for (size_t i = 0; i < made.event.tag_count; i++) size += made.tags[i].size + 1;
    if (size > room) return 0;
    memcpy(to, place, sizeof place);
    to += sizeof place;
    memcpy(to, id, sizeof id);
    to += sizeof id;
    memcpy(to, made.event.subject.data, made.event.subject.size);
    to += made.event.subject.size;
    for (size_t i = 0; i < made.event.tag_count; i++) {
        memcpy(to, made.tags[i].data, made.tags[i].size + 1);
        to += made.tags[i].size + 1;
    }
    memcpy(to, made.event.data.data, made.event.data.size);
    return size;
}

typedef struct blocks {
    char *packed;  // one behind the other
    size_t *sizes; // compressed
    size_t packed_size;
    uint64_t event_count;
    void *dictionary;
    size_t dictionary_size;
} blocks;

static void blocks_free(blocks *made) {
    free(made->packed);
    free(made->sizes);
    free(made->dictionary);
}

static int train(cli_bench *bench, blocks *made) {
    char *samples = malloc((size_t)SAMPLE_COUNT * CLI_BENCH_ORDER_TEXT_SIZE);
    size_t *sizes = malloc(SAMPLE_COUNT * sizeof *sizes);
    made->dictionary = malloc(DICTIONARY_BYTES);
    int outcome = CLI_FINE;
    if (samples == NULL || sizes == NULL || made->dictionary == NULL) {
        outcome = cli_fail(bench->context, DAYBOOK_ENOMEM, "out of memory");
    } else {
        size_t at = 0;
        for (size_t i = 0; i < SAMPLE_COUNT; i++)
            at += sizes[i] = put_block_event(i * 7919, samples + at, CLI_BENCH_ORDER_TEXT_SIZE);
        size_t size = ZDICT_trainFromBuffer(made->dictionary, DICTIONARY_BYTES, samples, sizes, SAMPLE_COUNT);
        if (ZDICT_isError(size))
            outcome = cli_fail(bench->context, DAYBOOK_EIO, "cannot train a dictionary: %s",
                               ZDICT_getErrorName(size));
        else
            made->dictionary_size = size;
    }
    free(samples);
    free(sizes);
    return outcome;
}

static int make_blocks(cli_bench *bench, blocks *made) {
    int outcome = train(bench, made);
    if (outcome != CLI_FINE) return outcome;
    made->packed = malloc((size_t)BLOCK_COUNT * ZSTD_compressBound(BLOCK_BYTES));
    made->sizes = malloc(BLOCK_COUNT * sizeof *made->sizes);
    ZSTD_CDict *dictionary = ZSTD_createCDict(made->dictionary, made->dictionary_size, 3);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    if (made->packed == NULL || made->sizes == NULL || dictionary == NULL || context == NULL)
        outcome = cli_fail(bench->context, DAYBOOK_ENOMEM, "out of memory");
    uint64_t number = 0;
    for (size_t i = 0; i < BLOCK_COUNT && outcome == CLI_FINE; i++) {
        char block[BLOCK_BYTES];
        size_t size = 0, added;
        while ((added = put_block_event(number, block + size, sizeof block - size)) > 0) {
            size += added;
            number++;
        }
        size_t packed = ZSTD_compress_usingCDict(context, made->packed + made->packed_size,
                                                 ZSTD_compressBound(BLOCK_BYTES), block, size, dictionary);
        if (ZSTD_isError(packed))
            outcome = cli_fail(bench->context, DAYBOOK_EIO, "cannot compress: %s", ZSTD_getErrorName(packed));
        made->sizes[i] = packed;
        made->packed_size += packed;
    }
    made->event_count = number;
    (void)ZSTD_freeCCtx(context);
    (void)ZSTD_freeCDict(dictionary);
    return outcome;
}

static int time_blocks(cli_bench *bench, const blocks *made, double *events_per_second_out,
                       double *block_us_out) {
    char path[CLI_BENCH_PATH_SIZE];
    cli_bench_path(bench, "floor", path);
    ZSTD_DDict *dictionary = ZSTD_createDDict(made->dictionary, made->dictionary_size);
    ZSTD_DCtx *context = ZSTD_createDCtx();
    int outcome = dictionary == NULL || context == NULL
                      ? cli_fail(bench->context, DAYBOOK_ENOMEM, "out of memory")
                      : CLI_FINE;
    int descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (outcome == CLI_FINE && (descriptor < 0 || pwrite(descriptor, made->packed, made->packed_size, 0) !=
                                                      (ssize_t)made->packed_size))
        outcome = fail_io(bench, "write", path);
    char block[BLOCK_BYTES], packed[2 * BLOCK_BYTES];
    int64_t decompress_ns = 0, read_ns = 0;
    unsigned rounds = 0;
    for (; outcome == CLI_FINE && rounds < 50 && decompress_ns < 500000000; rounds++) {
        int64_t begin_ns = cli_clock_ns();
        size_t at = 0;
        for (size_t i = 0; i < BLOCK_COUNT; at += made->sizes[i++]) {
            size_t size = ZSTD_decompress_usingDDict(context, block, sizeof block, made->packed + at,
                                                     made->sizes[i], dictionary);
            if (ZSTD_isError(size)) outcome = cli_fail(bench->context, DAYBOOK_EIO, "cannot decompress");
        }
        int64_t middle_ns = cli_clock_ns();
        at = 0;
        for (size_t i = 0; i < BLOCK_COUNT; at += made->sizes[i++]) {
            if (pread(descriptor, packed, made->sizes[i], (off_t)at) != (ssize_t)made->sizes[i])
                outcome = fail_io(bench, "read", path);
        }
        decompress_ns += middle_ns - begin_ns;
        read_ns += cli_clock_ns() - middle_ns;
    }
    if (outcome == CLI_FINE) {
        *events_per_second_out = (double)made->event_count * rounds * 1e9 / (double)decompress_ns;
        *block_us_out = (double)(decompress_ns + read_ns) / 1000 / rounds / BLOCK_COUNT;
    }
    if (descriptor >= 0) (void)close(descriptor);
    (void)unlink(path);
    (void)ZSTD_freeDCtx(context);
    (void)ZSTD_freeDDict(dictionary);
    return outcome;
}

int cli_bench_floor_blocks(cli_bench *bench, double *events_per_second_out, double *block_us_out) {
    blocks made = {.packed = NULL};
    int outcome = make_blocks(bench, &made);
    if (outcome == CLI_FINE) outcome = time_blocks(bench, &made, events_per_second_out, block_us_out);
    blocks_free(&made);
    return outcome;
}

int cli_bench_floor_disk(cli_bench *bench, double *ratio_out) {
    enum { RAW_BYTES = 8 * 1024 * 1024 };
    char *raw = malloc(RAW_BYTES);
    size_t bound = ZSTD_compressBound(RAW_BYTES);
    void *packed = malloc(bound);
    int outcome = CLI_FINE;
    if (raw == NULL || packed == NULL) {
        outcome = cli_fail(bench->context, DAYBOOK_ENOMEM, "out of memory");
    } else {
        size_t size = 0;
        for (uint64_t number = 0; RAW_BYTES - size > 2 * CLI_BENCH_ORDER_TEXT_SIZE; number++) {
            cli_bench_order_event made;
            cli_bench_make_order_event(number / CLI_BENCH_ORDER_EVENT_COUNT + 1,
                                       (unsigned)(number % CLI_BENCH_ORDER_EVENT_COUNT), 100001, &made);
            size += (size_t)snprintf(raw + size, RAW_BYTES - size,
                                     "{\"subject\":\"%s\",\"tags\":[\"%s\",\"%s\",\"%s\"],\"data\":%s}",
                                     (const char *)made.event.subject.data, (const char *)made.tags[0].data,
                                     (const char *)made.tags[1].data, (const char *)made.tags[2].data,
                                     (const char *)made.event.data.data);
        }
        size_t packed_size = ZSTD_compress(packed, bound, raw, size, 1);
        if (ZSTD_isError(packed_size))
            outcome = cli_fail(bench->context, DAYBOOK_EIO, "cannot compress");
        else
            *ratio_out = (double)packed_size / (double)size;
    }
    free(raw);
    free(packed);
    return outcome;
}

// --- Files -----------------------------------------------------------------------------------------------

static int read_file(int folder, const char *name, char *data, size_t size, uint64_t *left) {
    int descriptor = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return 0;
    ssize_t count = 1;
    for (off_t at = 0; *left > 0 && count > 0; at += count) {
        count = pread(descriptor, data, *left < size ? (size_t)*left : size, at);
        if (count > 0) *left -= (uint64_t)count;
    }
    (void)close(descriptor);
    return count >= 0;
}

static int read_folder(int folder, char *data, size_t size, uint64_t *left) {
    DIR *entries = fdopendir(folder);
    if (entries == NULL) {
        (void)close(folder);
        return 0;
    }
    int good = 1;
    for (struct dirent *entry; good && *left > 0 && (entry = readdir(entries)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        int child = openat(dirfd(entries), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        good = child >= 0 ? read_folder(child, data, size, left)
                          : read_file(dirfd(entries), entry->d_name, data, size, left);
    }
    (void)closedir(entries);
    return good;
}

int cli_bench_floor_read(cli_bench *bench, const char *path, uint64_t bytes, double *ms_out) {
    enum { READ_SIZE = 1024 * 1024 };
    char *data = malloc(READ_SIZE);
    if (data == NULL) return cli_fail(bench->context, DAYBOOK_ENOMEM, "out of memory");
    int64_t begin_ns = cli_clock_ns();
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int outcome = folder < 0 || !read_folder(folder, data, READ_SIZE, &bytes) ? fail_io(bench, "read", path)
                                                                              : CLI_FINE;
    *ms_out = (double)(cli_clock_ns() - begin_ns) / 1e6;
    free(data);
    return outcome;
}
