// SPDX-License-Identifier: Apache-2.0
// The live page, 4096 bytes of the file `live`, mapped shared by writer and readers:
//
//    0 u32 magic "DBLP"   4 u32 format (1)   8 u8[16] store UUID
//   24 u32 sequence: odd while the writer changes the values, so that a reader never takes half a set
//   28 u32 wake: bumped after every publish; readers of other processes sleep on it
//   32 u64 each: incarnation, process id, session, writer open, manifest edit, durable LSN, durable position
//
// The page is never synced and means nothing after a crash of the machine: what it says is only believed
// while a writer holds LOCK and the session in both agrees (open.c). Its blocks are written when the file
// is made, since a store through the mapping into a hole of a full file system would be a SIGBUS. The file
// stays when the writer closes, and a later writer uses the same one: readers keep their mapping.
#include "store/live.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/bytes.h"
#include "io/io.h"

enum { LIVE_SIZE = 4096, LIVE_FORMAT = 1, READ_ATTEMPTS_MAX = 1000 };

typedef struct live_page {
    _Atomic uint32_t magic;
    uint32_t format;
    uint8_t store_uuid[16];
    _Atomic uint32_t sequence;
    _Atomic uint32_t wake;
    _Atomic uint64_t incarnation;
    _Atomic uint64_t process_id;
    _Atomic uint64_t session;
    _Atomic uint64_t writer_open;
    _Atomic uint64_t manifest_edit;
    _Atomic uint64_t durable_lsn;
    _Atomic uint64_t durable_position;
} live_page;

_Static_assert(sizeof(live_page) == 88, "the page is a format");
_Static_assert(sizeof(live_page) <= LIVE_SIZE, "the page is mapped");

#define LIVE_MAGIC UINT32_C(0x504c4244) // "DBLP"

struct dbk_live {
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    daybook_file *file;
    live_page *page;
    bool writer;
    pthread_mutex_t lock; // publishing
    dbk_live_values last; // guarded by lock
};

static daybook_status prepare_file(dbk_live *live, const char *path, daybook_error *error) {
    uint64_t size = 0;
    int result = live->vfs->file_size(live->vfs, live->file, &size);
    if (result < 0) return dbk_fail_system(error, result, "read the size of", path, 0);
    if (size >= LIVE_SIZE) {
        // A copied file may have a hole there.
        result = live->writer ? dbk_allocate(live->vfs, live->file, 0, LIVE_SIZE) : 0;
        if (result == 0 || result == -EOPNOTSUPP) return DAYBOOK_OK;
        return dbk_fail_system(error, result, "make room in", path, 0);
    }
    if (!live->writer) return dbk_fail(error, DAYBOOK_ENOTFOUND, "%s is not complete yet", path);
    uint8_t zeros[LIVE_SIZE] = {0};
    return dbk_write_exactly(live->vfs, live->file, path, zeros, sizeof zeros, 0, error);
}

// The vfs sleeps on plain words.
static const volatile uint32_t *word_of(const _Atomic uint32_t *word) {
    return (const volatile uint32_t *)(uintptr_t)word;
}

static bool is_ours(const live_page *page, const dbk_uuid *store_uuid) {
    return atomic_load_explicit(&page->magic, memory_order_acquire) == LIVE_MAGIC &&
           page->format == LIVE_FORMAT && memcmp(page->store_uuid, store_uuid->bytes, 16) == 0;
}

static void begin_page(live_page *page, const dbk_uuid *store_uuid) {
    if (is_ours(page, store_uuid)) {
        // A writer that died while publishing left the sequence odd.
        if (atomic_load(&page->sequence) % 2 != 0) atomic_fetch_add(&page->sequence, 1);
        return;
    }
    atomic_store(&page->magic, 0);
    memset((uint8_t *)page + sizeof page->magic, 0, LIVE_SIZE - sizeof page->magic);
    page->format = LIVE_FORMAT;
    memcpy(page->store_uuid, store_uuid->bytes, 16);
    atomic_store_explicit(&page->magic, LIVE_MAGIC, memory_order_release);
}

static daybook_status map_page(dbk_live *live, const dbk_uuid *store_uuid, const char *path,
                               daybook_error *error) {
    DBK_TRY(prepare_file(live, path, error));
    void *data = NULL;
    int result = live->vfs->map_shared(live->vfs, live->file, LIVE_SIZE, live->writer, &data);
    if (result < 0) return dbk_fail_system(error, result, "map", path, 0);
    live->page = data;
    if (live->writer) {
        begin_page(live->page, store_uuid);
    } else if (!is_ours(live->page, store_uuid)) {
        return dbk_fail(error, DAYBOOK_ENOTFOUND, "%s is not of this store", path);
    }
    return DAYBOOK_OK;
}

daybook_status dbk_live_open(const daybook_allocator *allocator, daybook_vfs *vfs, const char *directory,
                             const dbk_uuid *store_uuid, bool writer, dbk_live **live_out,
                             daybook_error *error) {
    *live_out = NULL;
    char path[DBK_PATH_SIZE_MAX];
    DBK_TRY(dbk_path_join(directory, "live", path, error));
    dbk_live *live = dbk_alloc_zeroed(allocator, sizeof *live);
    if (live == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while opening %s", path);
    live->allocator = allocator;
    live->vfs = vfs;
    live->writer = writer;
    pthread_mutex_init(&live->lock, NULL);
    unsigned flags = writer ? DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE : DAYBOOK_VFS_READ;
    int result = vfs->open(vfs, path, flags, &live->file);
    daybook_status status = DAYBOOK_OK;
    if (result < 0) {
        status = dbk_fail_system(error, result, "open", path, 0);
    } else {
        status = map_page(live, store_uuid, path, error);
    }
    if (status != DAYBOOK_OK) {
        dbk_live_close(live);
        return status;
    }
    *live_out = live;
    return DAYBOOK_OK;
}

void dbk_live_close(dbk_live *live) {
    if (live == NULL) return;
    if (live->page != NULL) live->vfs->unmap_shared(live->vfs, live->page, LIVE_SIZE);
    if (live->file != NULL) live->vfs->close(live->vfs, live->file);
    pthread_mutex_destroy(&live->lock);
    dbk_free(live->allocator, live);
}

void dbk_live_identify(dbk_live *live, uint64_t incarnation, uint64_t process_id, uint64_t session) {
    live->last = (dbk_live_values){.incarnation = incarnation, .process_id = process_id, .session = session};
}

static void store_values(live_page *page, const dbk_live_values *values) {
    atomic_fetch_add_explicit(&page->sequence, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&page->incarnation, values->incarnation, memory_order_relaxed);
    atomic_store_explicit(&page->process_id, values->process_id, memory_order_relaxed);
    atomic_store_explicit(&page->session, values->session, memory_order_relaxed);
    atomic_store_explicit(&page->writer_open, values->writer_open, memory_order_relaxed);
    atomic_store_explicit(&page->manifest_edit, values->manifest_edit, memory_order_relaxed);
    atomic_store_explicit(&page->durable_lsn, values->durable_lsn, memory_order_relaxed);
    atomic_store_explicit(&page->durable_position, values->durable_position, memory_order_relaxed);
    atomic_fetch_add_explicit(&page->sequence, 1, memory_order_release);
}

static void raise_to(uint64_t *value, uint64_t other) {
    if (other > *value) *value = other;
}

void dbk_live_publish(dbk_live *live, const dbk_live_values *values) {
    pthread_mutex_lock(&live->lock);
    raise_to(&live->last.manifest_edit, values->manifest_edit);
    raise_to(&live->last.durable_lsn, values->durable_lsn);
    raise_to(&live->last.durable_position, values->durable_position);
    live->last.writer_open = values->writer_open;
    store_values(live->page, &live->last);
    pthread_mutex_unlock(&live->lock);
    atomic_fetch_add_explicit(&live->page->wake, 1, memory_order_release);
    live->vfs->wake(live->vfs, word_of(&live->page->wake), INT_MAX, 1);
}

bool dbk_live_get(dbk_live *live, dbk_live_values *values_out) {
    live_page *page = live->page;
    for (int attempt = 0; attempt < READ_ATTEMPTS_MAX; attempt++) {
        uint32_t before = atomic_load_explicit(&page->sequence, memory_order_acquire);
        if (before % 2 != 0) continue;
        *values_out = (dbk_live_values){
            .incarnation = atomic_load_explicit(&page->incarnation, memory_order_relaxed),
            .process_id = atomic_load_explicit(&page->process_id, memory_order_relaxed),
            .session = atomic_load_explicit(&page->session, memory_order_relaxed),
            .writer_open = atomic_load_explicit(&page->writer_open, memory_order_relaxed) != 0,
            .manifest_edit = atomic_load_explicit(&page->manifest_edit, memory_order_relaxed),
            .durable_lsn = atomic_load_explicit(&page->durable_lsn, memory_order_relaxed),
            .durable_position = atomic_load_explicit(&page->durable_position, memory_order_relaxed),
        };
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&page->sequence, memory_order_relaxed) == before) return true;
    }
    return false;
}

void dbk_live_wait(dbk_live *live, const dbk_live_values *seen, int64_t timeout_ns) {
    live_page *page = live->page;
    uint32_t wake = atomic_load_explicit(&page->wake, memory_order_acquire);
    dbk_live_values now;
    bool is_known = dbk_live_get(live, &now);
    if (is_known && (now.durable_lsn != seen->durable_lsn || now.manifest_edit != seen->manifest_edit ||
                     now.session != seen->session)) {
        return;
    }
    (void)live->vfs->wait(live->vfs, word_of(&page->wake), wake, timeout_ns, 1);
}
