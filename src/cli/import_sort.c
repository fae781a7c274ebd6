// SPDX-License-Identifier: Apache-2.0
//
// A stable external merge sort of events by time, within a memory budget.
//
// Events are packed one behind the other into an arena; from the arena's other end grows an index of
// (time, offset). When the two meet, the index is sorted and the events are written in its order as a run to
// a spill file, which has no name (unlinked when made), so that nothing is left behind however the process
// ends. Reading merges the runs by a heap; the budget then serves as their read buffers. Ties go to the
// earlier run, and within a run to the lower offset: that is the order in which events were added.
//
//   packed event = packed_head, sizes of tags and headers, the bytes, padding to 8
//
// One level of merging suffices: a run is as large as the budget, and 32 MiB of read buffers serve thousands
// of runs. Trouble with the spill file is reported as what it is, a full disk as ENOSPC. One thread.
#include "cli/import.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct packed_head {
    int64_t time_ns;
    uint64_t line;
    uint64_t column;
    uint32_t total_size; // with head and padding
    uint32_t subject_size, data_size, id_size, type_size, schema_size;
    uint32_t correlation_size, causation_size, actor_size;
    uint32_t tag_count, header_count;
    int32_t ttl_s;
} packed_head;

typedef struct index_entry {
    int64_t time_ns;
    uint64_t offset;
} index_entry;

typedef struct sort_run {
    uint64_t offset; // in the spill file, of what is not yet in the buffer
    uint64_t left;   // bytes there
    char *buffer;
    size_t capacity, begin, end;
} sort_run;

struct cli_import_sorter {
    char *directory;
    size_t budget_bytes;
    char *arena;
    size_t arena_size;
    size_t used;        // bytes of packed events
    size_t entry_count; // index entries at the arena's end

    FILE *spill;
    uint64_t spill_size;
    sort_run *runs;
    size_t run_count, run_capacity;

    // While reading.
    size_t next_entry; // without runs
    size_t *heap;      // with runs: indexes of runs, least time first
    size_t heap_size;
    bool has_current; // heap[0] was given out and must move on
    daybook_slice tags[DAYBOOK_TAG_COUNT_MAX];
    daybook_header headers[DAYBOOK_HEADER_COUNT_MAX];
};

#define RUN_BUFFER_SIZE_MIN (16u * 1024)

static const cli_import_place nowhere;

static daybook_status spill_failed(cli_import_sorter *sorter, const char *what, cli_import_problem *problem) {
    int code = errno;
    return cli_import_fail(
        problem, code == ENOSPC || code == EDQUOT ? DAYBOOK_ENOSPC : DAYBOOK_EIO, nowhere,
        "cannot %s a temporary file for sorting in %s: %s; set TMPDIR to a folder with room", what,
        sorter->directory, strerror(code));
}

daybook_status cli_import_sorter_new(size_t budget_bytes, const char *directory,
                                     cli_import_sorter **sorter_out, cli_import_problem *problem) {
    *sorter_out = NULL;
    cli_import_sorter *sorter = calloc(1, sizeof *sorter);
    if (sorter == NULL) return cli_import_no_memory(problem);
    sorter->budget_bytes = sorter->arena_size = budget_bytes & ~(size_t)7;
    sorter->directory = strdup(directory);
    sorter->arena = malloc(sorter->arena_size);
    if (sorter->directory == NULL || sorter->arena == NULL) {
        cli_import_sorter_free(sorter);
        return cli_import_no_memory(problem);
    }
    *sorter_out = sorter;
    return DAYBOOK_OK;
}

void cli_import_sorter_free(cli_import_sorter *sorter) {
    if (sorter == NULL) return;
    for (size_t i = 0; i < sorter->run_count; i++) free(sorter->runs[i].buffer);
    free(sorter->runs);
    free(sorter->heap);
    free(sorter->arena);
    if (sorter->spill != NULL) (void)fclose(sorter->spill); // a nameless file that was read to its end
    free(sorter->directory);
    free(sorter);
}

size_t cli_import_sorter_run_count(const cli_import_sorter *sorter) {
    return sorter->run_count;
}

// --- Packing ---------------------------------------------------------------------------------------------

static size_t packed_size(const daybook_event *event) {
    size_t size = sizeof(packed_head) + event->tag_count * sizeof(uint32_t) +
                  event->header_count * 2 * sizeof(uint32_t);
    size += event->subject.size + event->data.size + event->id.size + event->type.size + event->schema.size;
    size += event->correlation.size + event->causation.size + event->actor.size;
    for (size_t i = 0; i < event->tag_count; i++) size += event->tags[i].size;
    for (size_t i = 0; i < event->header_count; i++)
        size += event->headers[i].name.size + event->headers[i].value.size;
    return (size + 7) & ~(size_t)7;
}

static char *put_bytes(char *at, daybook_slice bytes) {
    if (bytes.size > 0) memcpy(at, bytes.data, bytes.size);
    return at + bytes.size;
}

static char *put_size(char *at, size_t size) {
    uint32_t value = (uint32_t)size;
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

static void pack(char *at, size_t size, const daybook_event *event, cli_import_place place) {
    packed_head head = {
        .time_ns = event->time_ns,
        .line = place.line,
        .column = place.column,
        .total_size = (uint32_t)size,
        .subject_size = (uint32_t)event->subject.size,
        .data_size = (uint32_t)event->data.size,
        .id_size = (uint32_t)event->id.size,
        .type_size = (uint32_t)event->type.size,
        .schema_size = (uint32_t)event->schema.size,
        .correlation_size = (uint32_t)event->correlation.size,
        .causation_size = (uint32_t)event->causation.size,
        .actor_size = (uint32_t)event->actor.size,
        .tag_count = (uint32_t)event->tag_count,
        .header_count = (uint32_t)event->header_count,
        .ttl_s = (int32_t)event->ttl_s,
    };
    char *end = at + size;
    memcpy(at, &head, sizeof head);
    at += sizeof head;
    for (size_t i = 0; i < event->tag_count; i++) at = put_size(at, event->tags[i].size);
    for (size_t i = 0; i < event->header_count; i++) {
        at = put_size(at, event->headers[i].name.size);
        at = put_size(at, event->headers[i].value.size);
    }
    at = put_bytes(at, event->subject);
    at = put_bytes(at, event->data);
    at = put_bytes(at, event->id);
    at = put_bytes(at, event->type);
    at = put_bytes(at, event->schema);
    at = put_bytes(at, event->correlation);
    at = put_bytes(at, event->causation);
    at = put_bytes(at, event->actor);
    for (size_t i = 0; i < event->tag_count; i++) at = put_bytes(at, event->tags[i]);
    for (size_t i = 0; i < event->header_count; i++) {
        at = put_bytes(at, event->headers[i].name);
        at = put_bytes(at, event->headers[i].value);
    }
    memset(at, 0, (size_t)(end - at));
}

static const char *take(const char *at, uint32_t size, daybook_slice *bytes_out) {
    *bytes_out = (daybook_slice){at, size};
    return at + size;
}

static const char *take_size(const char *at, size_t *size_out) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    *size_out = value;
    return at + sizeof value;
}

static void unpack(cli_import_sorter *sorter, const char *at, daybook_event *event,
                   cli_import_place *place_out) {
    packed_head head;
    memcpy(&head, at, sizeof head);
    at += sizeof head;
    daybook_event_init(event);
    event->time_ns = head.time_ns;
    event->ttl_s = head.ttl_s;
    *place_out = (cli_import_place){head.line, head.column};
    for (size_t i = 0; i < head.tag_count; i++) at = take_size(at, &sorter->tags[i].size);
    for (size_t i = 0; i < head.header_count; i++) {
        at = take_size(at, &sorter->headers[i].name.size);
        at = take_size(at, &sorter->headers[i].value.size);
    }
    at = take(at, head.subject_size, &event->subject);
    at = take(at, head.data_size, &event->data);
    at = take(at, head.id_size, &event->id);
    at = take(at, head.type_size, &event->type);
    at = take(at, head.schema_size, &event->schema);
    at = take(at, head.correlation_size, &event->correlation);
    at = take(at, head.causation_size, &event->causation);
    at = take(at, head.actor_size, &event->actor);
    for (size_t i = 0; i < head.tag_count; i++)
        at = take(at, (uint32_t)sorter->tags[i].size, &sorter->tags[i]);
    for (size_t i = 0; i < head.header_count; i++) {
        daybook_header *header = &sorter->headers[i];
        at = take(at, (uint32_t)header->name.size, &header->name);
        at = take(at, (uint32_t)header->value.size, &header->value);
    }
    event->tags = sorter->tags;
    event->tag_count = head.tag_count;
    event->headers = sorter->headers;
    event->header_count = head.header_count;
}

// --- Filling ---------------------------------------------------------------------------------------------

static index_entry *entries(const cli_import_sorter *sorter) {
    return (index_entry *)(void *)(sorter->arena + sorter->arena_size) - sorter->entry_count;
}

static int compare_entries(const void *left, const void *right) {
    const index_entry *a = left, *b = right;
    if (a->time_ns != b->time_ns) return a->time_ns < b->time_ns ? -1 : 1;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static void sort_entries(cli_import_sorter *sorter) {
    qsort(entries(sorter), sorter->entry_count, sizeof(index_entry), compare_entries);
}

static daybook_status open_spill(cli_import_sorter *sorter, cli_import_problem *problem) {
    size_t size = strlen(sorter->directory) + sizeof "/daybook-import-XXXXXX";
    char *path = malloc(size);
    if (path == NULL) return cli_import_no_memory(problem);
    (void)snprintf(path, size, "%s/daybook-import-XXXXXX", sorter->directory);
    int descriptor = mkstemp(path);
    if (descriptor >= 0) {
        (void)unlink(path); // a name left behind would do no harm
        sorter->spill = fdopen(descriptor, "w+b");
    }
    free(path);
    return sorter->spill == NULL ? spill_failed(sorter, "make", problem) : DAYBOOK_OK;
}

static daybook_status spill_run(cli_import_sorter *sorter, cli_import_problem *problem) {
    if (sorter->entry_count == 0) return DAYBOOK_OK;
    daybook_status status = sorter->spill == NULL ? open_spill(sorter, problem) : DAYBOOK_OK;
    if (status != DAYBOOK_OK) return status;
    if (sorter->run_count == sorter->run_capacity) {
        size_t capacity = sorter->run_capacity == 0 ? 16 : sorter->run_capacity * 2;
        sort_run *runs = realloc(sorter->runs, capacity * sizeof *runs);
        if (runs == NULL) return cli_import_no_memory(problem);
        sorter->runs = runs;
        sorter->run_capacity = capacity;
    }
    sort_entries(sorter);
    const index_entry *sorted = entries(sorter);
    for (size_t i = 0; i < sorter->entry_count; i++) {
        const char *at = sorter->arena + sorted[i].offset;
        packed_head head;
        memcpy(&head, at, sizeof head);
        if (fwrite(at, 1, head.total_size, sorter->spill) != head.total_size)
            return spill_failed(sorter, "write", problem);
    }
    if (fflush(sorter->spill) != 0) return spill_failed(sorter, "write", problem);
    sorter->runs[sorter->run_count++] = (sort_run){.offset = sorter->spill_size, .left = sorter->used};
    sorter->spill_size += sorter->used;
    sorter->used = 0;
    sorter->entry_count = 0;
    return DAYBOOK_OK;
}

daybook_status cli_import_sorter_add(cli_import_sorter *sorter, const daybook_event *event,
                                     cli_import_place place, cli_import_problem *problem) {
    size_t size = packed_size(event);
    if (size > UINT32_MAX)
        return cli_import_fail(problem, DAYBOOK_ELIMIT, place, "the event is larger than 4 GiB");
    size_t index_size = (sorter->entry_count + 1) * sizeof(index_entry);
    if (sorter->used + size + index_size > sorter->arena_size) {
        daybook_status status = spill_run(sorter, problem);
        if (status != DAYBOOK_OK) return status;
        if (size + sizeof(index_entry) > sorter->arena_size) { // one event beyond the whole budget
            char *arena = realloc(sorter->arena, size + sizeof(index_entry));
            if (arena == NULL) return cli_import_no_memory(problem);
            sorter->arena = arena;
            sorter->arena_size = size + sizeof(index_entry);
        }
    }
    pack(sorter->arena + sorter->used, size, event, place);
    sorter->entry_count++;
    *entries(sorter) = (index_entry){event->time_ns, sorter->used};
    sorter->used += size;
    return DAYBOOK_OK;
}

// --- Reading ---------------------------------------------------------------------------------------------

// Make `size` bytes of the run contiguous in its buffer.
static daybook_status run_need(cli_import_sorter *sorter, sort_run *run, size_t size,
                               cli_import_problem *problem) {
    if (run->end - run->begin >= size) return DAYBOOK_OK;
    memmove(run->buffer, run->buffer + run->begin, run->end - run->begin);
    run->end -= run->begin;
    run->begin = 0;
    if (size > run->capacity) {
        char *buffer = realloc(run->buffer, size);
        if (buffer == NULL) return cli_import_no_memory(problem);
        run->buffer = buffer;
        run->capacity = size;
    }
    while (run->end < size) {
        size_t room = run->capacity - run->end;
        size_t wanted = room < run->left ? room : (size_t)run->left;
        ssize_t count = pread(fileno(sorter->spill), run->buffer + run->end, wanted, (off_t)run->offset);
        if (count < 0 && errno == EINTR) continue;
        if (count == 0) errno = EIO; // shorter than what was written
        if (count <= 0) return spill_failed(sorter, "read", problem);
        run->end += (size_t)count;
        run->offset += (uint64_t)count;
        run->left -= (uint64_t)count;
    }
    return DAYBOOK_OK;
}

static packed_head run_head(const sort_run *run) {
    packed_head head;
    memcpy(&head, run->buffer + run->begin, sizeof head);
    return head;
}

// Bring the run's first event into its buffer.
static daybook_status run_load(cli_import_sorter *sorter, sort_run *run, cli_import_problem *problem) {
    daybook_status status = run_need(sorter, run, sizeof(packed_head), problem);
    return status == DAYBOOK_OK ? run_need(sorter, run, run_head(run).total_size, problem) : status;
}

static bool run_is_before(const cli_import_sorter *sorter, size_t a, size_t b) {
    int64_t time_a = run_head(&sorter->runs[a]).time_ns, time_b = run_head(&sorter->runs[b]).time_ns;
    return time_a != time_b ? time_a < time_b : a < b;
}

static void heap_sink(cli_import_sorter *sorter, size_t at) {
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < sorter->heap_size; child++)
            if (run_is_before(sorter, sorter->heap[child], sorter->heap[least])) least = child;
        if (least == at) return;
        size_t moved = sorter->heap[at];
        sorter->heap[at] = sorter->heap[least];
        sorter->heap[least] = moved;
        at = least;
    }
}

daybook_status cli_import_sorter_finish(cli_import_sorter *sorter, cli_import_problem *problem) {
    if (sorter->run_count == 0) {
        sort_entries(sorter);
        return DAYBOOK_OK;
    }
    daybook_status status = spill_run(sorter, problem);
    if (status != DAYBOOK_OK) return status;
    free(sorter->arena);
    sorter->arena = NULL;
    sorter->heap = malloc(sorter->run_count * sizeof *sorter->heap);
    if (sorter->heap == NULL) return cli_import_no_memory(problem);
    size_t capacity = sorter->budget_bytes / sorter->run_count;
    if (capacity < RUN_BUFFER_SIZE_MIN) capacity = RUN_BUFFER_SIZE_MIN;
    for (size_t i = 0; i < sorter->run_count; i++) {
        sort_run *run = &sorter->runs[i];
        run->capacity = capacity;
        run->buffer = malloc(capacity);
        if (run->buffer == NULL) return cli_import_no_memory(problem);
        status = run_load(sorter, run, problem);
        if (status != DAYBOOK_OK) return status;
        sorter->heap[i] = i;
    }
    sorter->heap_size = sorter->run_count;
    for (size_t i = sorter->heap_size / 2 + 1; i-- > 0;) heap_sink(sorter, i);
    return DAYBOOK_OK;
}

// Step over the event given out last.
static daybook_status heap_advance(cli_import_sorter *sorter, cli_import_problem *problem) {
    sort_run *run = &sorter->runs[sorter->heap[0]];
    run->begin += run_head(run).total_size;
    if (run->begin == run->end && run->left == 0) {
        sorter->heap[0] = sorter->heap[--sorter->heap_size];
    } else {
        daybook_status status = run_load(sorter, run, problem);
        if (status != DAYBOOK_OK) return status;
    }
    if (sorter->heap_size > 0) heap_sink(sorter, 0);
    return DAYBOOK_OK;
}

daybook_status cli_import_sorter_next(cli_import_sorter *sorter, daybook_event *event_out,
                                      cli_import_place *place_out, cli_import_problem *problem) {
    if (sorter->run_count == 0) {
        if (sorter->next_entry == sorter->entry_count) return DAYBOOK_END;
        unpack(sorter, sorter->arena + entries(sorter)[sorter->next_entry++].offset, event_out, place_out);
        return DAYBOOK_OK;
    }
    if (sorter->has_current) {
        daybook_status status = heap_advance(sorter, problem);
        if (status != DAYBOOK_OK) return status;
    }
    sorter->has_current = sorter->heap_size > 0;
    if (!sorter->has_current) return DAYBOOK_END;
    const sort_run *run = &sorter->runs[sorter->heap[0]];
    unpack(sorter, run->buffer + run->begin, event_out, place_out);
    return DAYBOOK_OK;
}
