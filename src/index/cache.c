// SPDX-License-Identifier: Apache-2.0
// A bounded cache of file chunks, in shards by hash of (file id, offset), each with a lock of its own.
//
// A shard's table holds hash and entry side by side, each at the place its hash names or behind it, without
// gaps between. So looking for what is not there touches no entry, and for what is there only that one: with
// entries all over the memory every other one touched would cost more than all the rest of a look-up.
//
// An entry is in one of these states:
//
//   new       not in the table, owned by its maker            entry_new
//   pinned    in the table, references > 0, in no list         get, put
//   idle      in the table, references = 0, in a list          release of the last reference
//   orphaned  references > 0, no longer in the table           forget; goes with the last release
//
// Idle entries form two lists, each least recently used last. An entry begins in *probation*; used again
// while it is in the table, it is *protected*. Eviction takes from probation first, so that one walk over a
// whole store, which uses each block once, does not push out the index pages that every look-up needs.
// Protected entries above three quarters of the shard fall back to probation.
//
// Memory: `bytes_max` bounds what the table holds, entry heads included. Pinned entries cannot be evicted and
// may exceed it for as long as they are pinned; releasing brings the shard back. An entry larger than its
// shard is evicted as soon as it is released.
//
// Some are kept (filters of the index): pinned on behalf of who made them, for as long as it likes, a
// quarter of each shard at most.
//
// Any thread. Locks are held for a few pointer operations and a free, never during I/O.
#include "index/cache.h"

#include <pthread.h>

#include "base/assert.h"

enum {
    SHARDS_MAX = 16,
    SHARD_BYTES_MIN = 1 << 20,
    SLOTS_MIN = 64,
    SCRATCH_IDLE_MAX = 4,
};

struct dbk_cache_entry {
    uint64_t hash;                  // of file id and offset
    dbk_cache_entry *newer, *older; // list neighbours while idle
    uint64_t file_id;
    uint64_t offset;
    size_t size;
    uint32_t references;
    bool attached; // in the table
    bool used_again;
    bool is_protected; // which list it is in
};

_Static_assert(sizeof(dbk_cache_entry) % 8 == 0, "data behind the head is aligned to 8 bytes");

typedef struct idle_list {
    dbk_cache_entry *newest, *oldest;
    size_t bytes;
} idle_list;

typedef struct cache_shard {
    pthread_mutex_t lock;
    // Guarded by lock.
    struct cache_slot {
        uint64_t hash;
        dbk_cache_entry *entry; // NULL: free
    } * slots;
    size_t slot_count; // power of two, more than entry_count
    size_t entry_count;
    size_t bytes; // of attached entries
    size_t kept_bytes;
    idle_list probation, protected;
} cache_shard;

struct dbk_cache {
    // Set when made.
    const daybook_allocator *allocator;
    size_t shard_count; // power of two
    size_t shard_bytes_max;
    cache_shard shards[SHARDS_MAX];

    pthread_mutex_t scratch_lock;
    struct scratch {
        void *memory;
        size_t size;
    } scratch[SCRATCH_IDLE_MAX]; // guarded by scratch_lock; memory NULL: free place
};

// ---- Lists ------------------------------------------------------------------------------------------------

static size_t charge(const dbk_cache_entry *entry) {
    return sizeof *entry + entry->size;
}

static idle_list *list_of(cache_shard *shard, const dbk_cache_entry *entry) {
    return entry->is_protected ? &shard->protected : &shard->probation;
}

static void list_add(cache_shard *shard, dbk_cache_entry *entry) {
    idle_list *list = list_of(shard, entry);
    entry->newer = NULL;
    entry->older = list->newest;
    if (list->newest != NULL) list->newest->newer = entry;
    list->newest = entry;
    if (list->oldest == NULL) list->oldest = entry;
    list->bytes += charge(entry);
}

static void list_remove(cache_shard *shard, dbk_cache_entry *entry) {
    idle_list *list = list_of(shard, entry);
    if (entry->newer != NULL)
        entry->newer->older = entry->older;
    else
        list->newest = entry->older;
    if (entry->older != NULL)
        entry->older->newer = entry->newer;
    else
        list->oldest = entry->newer;
    list->bytes -= charge(entry);
}

// ---- Table ------------------------------------------------------------------------------------------------

// Each step can be undone: of two files the same offset never has the same hash.
static uint64_t key_hash(uint64_t file_id, uint64_t offset) {
    uint64_t hash = (file_id * UINT64_C(0x9e3779b97f4a7c15)) ^ offset;
    hash ^= hash >> 32;
    hash *= UINT64_C(0xd6e8feb86659fd93);
    return hash ^ hash >> 32;
}

static cache_shard *shard_of(dbk_cache *cache, uint64_t hash) {
    return &cache->shards[(hash >> 48) & (cache->shard_count - 1)];
}

// The slot of the entry, or the free one where it belongs.
static struct cache_slot *find_slot(const cache_shard *shard, uint64_t hash, uint64_t file_id,
                                    uint64_t offset) {
    size_t mask = shard->slot_count - 1;
    for (size_t at = (size_t)hash & mask;; at = (at + 1) & mask) {
        struct cache_slot *slot = &shard->slots[at];
        if (slot->entry == NULL) return slot;
        if (slot->hash != hash || slot->entry->offset != offset) continue;
        DBK_ASSERT(slot->entry->file_id == file_id); // key_hash: one hash and offset have one file
        return slot;
    }
}

static dbk_cache_entry *find(const cache_shard *shard, uint64_t hash, uint64_t file_id, uint64_t offset) {
    return find_slot(shard, hash, file_id, offset)->entry;
}

static void attach(cache_shard *shard, dbk_cache_entry *entry) {
    struct cache_slot *slot = find_slot(shard, entry->hash, entry->file_id, entry->offset);
    slot->hash = entry->hash;
    slot->entry = entry;
    entry->attached = true;
    shard->entry_count++;
    shard->bytes += charge(entry);
}

// Those behind a gap move up, unless they would leave the place their hash names.
static void close_gap(cache_shard *shard, size_t gap) {
    size_t mask = shard->slot_count - 1;
    for (size_t at = (gap + 1) & mask; shard->slots[at].entry != NULL; at = (at + 1) & mask) {
        size_t home = (size_t)shard->slots[at].hash & mask;
        if (((at - home) & mask) < ((at - gap) & mask)) continue;
        shard->slots[gap] = shard->slots[at];
        gap = at;
    }
    shard->slots[gap].entry = NULL;
}

static void detach(cache_shard *shard, dbk_cache_entry *entry) {
    size_t mask = shard->slot_count - 1, at = (size_t)entry->hash & mask;
    while (shard->slots[at].entry != entry) at = (at + 1) & mask;
    close_gap(shard, at);
    entry->attached = false;
    shard->entry_count--;
    shard->bytes -= charge(entry);
}

// Room for one more, with a third of the slots free. Without memory the table may fill up; false when it has
// but one free slot left, which ends every search.
static bool grow_slots(dbk_cache *cache, cache_shard *shard) {
    if (shard->entry_count < shard->slot_count / 3 * 2) return true;
    size_t count = shard->slot_count * 2;
    struct cache_slot *slots = dbk_alloc_zeroed(cache->allocator, count * sizeof *slots);
    if (slots == NULL) return shard->entry_count + 2 <= shard->slot_count;
    for (size_t i = 0; i < shard->slot_count; i++) {
        if (shard->slots[i].entry == NULL) continue;
        size_t at = (size_t)shard->slots[i].hash & (count - 1);
        while (slots[at].entry != NULL) at = (at + 1) & (count - 1);
        slots[at] = shard->slots[i];
    }
    dbk_free(cache->allocator, shard->slots);
    shard->slots = slots;
    shard->slot_count = count;
    return true;
}

static void demote_protected(dbk_cache *cache, cache_shard *shard) {
    size_t limit = cache->shard_bytes_max / 4 * 3;
    while (shard->protected.bytes > limit) {
        dbk_cache_entry *entry = shard->protected.oldest;
        list_remove(shard, entry);
        entry->is_protected = false;
        list_add(shard, entry);
    }
}

static void evict(dbk_cache *cache, cache_shard *shard) {
    while (shard->bytes > cache->shard_bytes_max) {
        dbk_cache_entry *entry = shard->probation.oldest;
        if (entry == NULL) entry = shard->protected.oldest;
        if (entry == NULL) return; // The rest is pinned.
        list_remove(shard, entry);
        detach(shard, entry);
        dbk_free(cache->allocator, entry);
    }
}

// ---- Interface --------------------------------------------------------------------------------------------

daybook_status dbk_cache_new(const daybook_allocator *allocator, size_t bytes_max, dbk_cache **cache_out) {
    *cache_out = NULL;
    dbk_cache *cache = dbk_alloc_zeroed(allocator, sizeof *cache);
    if (cache == NULL) return DAYBOOK_ENOMEM;
    cache->allocator = allocator;
    cache->shard_count = 1;
    while (cache->shard_count < SHARDS_MAX && bytes_max / (cache->shard_count * 2) >= SHARD_BYTES_MIN)
        cache->shard_count *= 2;
    cache->shard_bytes_max = bytes_max / cache->shard_count;

    bool complete = pthread_mutex_init(&cache->scratch_lock, NULL) == 0;
    DBK_ASSERT(complete); // Default attributes need no resources on the platforms served.
    for (size_t i = 0; i < cache->shard_count; i++) {
        cache_shard *shard = &cache->shards[i];
        int failure = pthread_mutex_init(&shard->lock, NULL);
        DBK_ASSERT(failure == 0);
        shard->slot_count = SLOTS_MIN;
        shard->slots = dbk_alloc_zeroed(allocator, SLOTS_MIN * sizeof *shard->slots);
        if (shard->slots == NULL) complete = false;
    }
    if (!complete) {
        dbk_cache_free(cache);
        return DAYBOOK_ENOMEM;
    }
    *cache_out = cache;
    return DAYBOOK_OK;
}

static void free_list(dbk_cache *cache, idle_list *list) {
    dbk_cache_entry *entry = list->newest;
    while (entry != NULL) {
        dbk_cache_entry *next = entry->older;
        dbk_free(cache->allocator, entry);
        entry = next;
    }
}

void dbk_cache_free(dbk_cache *cache) {
    if (cache == NULL) return;
    for (size_t i = 0; i < cache->shard_count; i++) {
        cache_shard *shard = &cache->shards[i];
        free_list(cache, &shard->probation);
        free_list(cache, &shard->protected);
        dbk_free(cache->allocator, shard->slots);
        pthread_mutex_destroy(&shard->lock);
    }
    for (size_t i = 0; i < SCRATCH_IDLE_MAX; i++) dbk_free(cache->allocator, cache->scratch[i].memory);
    pthread_mutex_destroy(&cache->scratch_lock);
    dbk_free(cache->allocator, cache);
}

dbk_cache_entry *dbk_cache_get(dbk_cache *cache, uint64_t file_id, uint64_t offset) {
    uint64_t hash = key_hash(file_id, offset);
    cache_shard *shard = shard_of(cache, hash);
    pthread_mutex_lock(&shard->lock);
    dbk_cache_entry *entry = find(shard, hash, file_id, offset);
    if (entry != NULL) {
        if (entry->references++ == 0) list_remove(shard, entry);
        entry->used_again = true;
    }
    pthread_mutex_unlock(&shard->lock);
    return entry;
}

dbk_cache_entry *dbk_cache_entry_new(dbk_cache *cache, size_t size) {
    if (size > SIZE_MAX - sizeof(dbk_cache_entry)) return NULL;
    dbk_cache_entry *entry = dbk_alloc(cache->allocator, sizeof *entry + size);
    if (entry == NULL) return NULL;
    memset(entry, 0, sizeof *entry);
    entry->size = size;
    entry->references = 1;
    return entry;
}

dbk_cache_entry *dbk_cache_put(dbk_cache *cache, uint64_t file_id, uint64_t offset, dbk_cache_entry *entry) {
    uint64_t hash = key_hash(file_id, offset);
    cache_shard *shard = shard_of(cache, hash);
    pthread_mutex_lock(&shard->lock);
    dbk_cache_entry *winner = find(shard, hash, file_id, offset);
    if (winner != NULL) {
        if (winner->references++ == 0) list_remove(shard, winner);
        winner->used_again = true;
    } else {
        entry->hash = hash;
        entry->file_id = file_id;
        entry->offset = offset;
        // Where there is no room for it, it stays with its maker and goes when released.
        if (grow_slots(cache, shard)) attach(shard, entry);
        evict(cache, shard);
    }
    pthread_mutex_unlock(&shard->lock);
    if (winner == NULL) return entry;
    dbk_free(cache->allocator, entry);
    return winner;
}

void dbk_cache_release(dbk_cache *cache, dbk_cache_entry *entry) {
    if (entry == NULL) return;
    cache_shard *shard = shard_of(cache, entry->hash);
    bool is_last = false;
    pthread_mutex_lock(&shard->lock);
    DBK_ASSERT(entry->references > 0);
    if (--entry->references == 0) {
        is_last = !entry->attached;
        if (entry->attached) {
            entry->is_protected = entry->used_again;
            list_add(shard, entry);
            demote_protected(cache, shard);
            evict(cache, shard);
        }
    }
    pthread_mutex_unlock(&shard->lock);
    if (is_last) dbk_free(cache->allocator, entry);
}

bool dbk_cache_keep(dbk_cache *cache, dbk_cache_entry *entry) {
    cache_shard *shard = shard_of(cache, entry->hash);
    pthread_mutex_lock(&shard->lock);
    bool is_kept = entry->attached && entry->used_again &&
                   shard->kept_bytes + charge(entry) <= cache->shard_bytes_max / 4;
    if (is_kept) {
        entry->references++;
        shard->kept_bytes += charge(entry);
    }
    pthread_mutex_unlock(&shard->lock);
    return is_kept;
}

void dbk_cache_unkeep(dbk_cache *cache, dbk_cache_entry *entry) {
    cache_shard *shard = shard_of(cache, entry->hash);
    pthread_mutex_lock(&shard->lock);
    DBK_ASSERT(shard->kept_bytes >= charge(entry));
    shard->kept_bytes -= charge(entry);
    pthread_mutex_unlock(&shard->lock);
    dbk_cache_release(cache, entry);
}

void *dbk_cache_entry_data(dbk_cache_entry *entry) {
    return entry + 1;
}

size_t dbk_cache_entry_size(const dbk_cache_entry *entry) {
    return entry->size;
}

static void forget_in_shard(dbk_cache *cache, cache_shard *shard, uint64_t file_id) {
    for (size_t i = 0; i < shard->slot_count;) {
        dbk_cache_entry *entry = shard->slots[i].entry;
        if (entry == NULL || entry->file_id != file_id) {
            i++;
            continue;
        }
        detach(shard, entry); // Another may move here.
        if (entry->references > 0) continue;
        list_remove(shard, entry);
        dbk_free(cache->allocator, entry);
    }
}

void dbk_cache_forget(dbk_cache *cache, uint64_t file_id) {
    for (size_t i = 0; i < cache->shard_count; i++) {
        cache_shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        forget_in_shard(cache, shard, file_id);
        pthread_mutex_unlock(&shard->lock);
    }
}

size_t dbk_cache_bytes(const dbk_cache *cache) {
    size_t bytes = 0;
    for (size_t i = 0; i < cache->shard_count; i++) {
        cache_shard *shard =
            (struct cache_shard *)(uintptr_t)&cache->shards[i]; // Locking does not change what is told.
        pthread_mutex_lock(&shard->lock);
        bytes += shard->bytes;
        pthread_mutex_unlock(&shard->lock);
    }
    return bytes;
}

size_t dbk_cache_bytes_max(const dbk_cache *cache) {
    return cache->shard_bytes_max * cache->shard_count;
}

void *dbk_cache_take_scratch(dbk_cache *cache, size_t size) {
    void *memory = NULL;
    pthread_mutex_lock(&cache->scratch_lock);
    for (size_t i = 0; i < SCRATCH_IDLE_MAX && memory == NULL; i++) {
        if (cache->scratch[i].memory == NULL || cache->scratch[i].size != size) continue;
        memory = cache->scratch[i].memory;
        cache->scratch[i].memory = NULL;
    }
    pthread_mutex_unlock(&cache->scratch_lock);
    return memory != NULL ? memory : dbk_alloc_zeroed(cache->allocator, size);
}

void dbk_cache_give_scratch(dbk_cache *cache, void *memory, size_t size) {
    if (memory == NULL) return;
    pthread_mutex_lock(&cache->scratch_lock);
    for (size_t i = 0; i < SCRATCH_IDLE_MAX && memory != NULL; i++) {
        if (cache->scratch[i].memory != NULL) continue;
        cache->scratch[i].memory = memory;
        cache->scratch[i].size = size;
        memory = NULL;
    }
    pthread_mutex_unlock(&cache->scratch_lock);
    dbk_free(cache->allocator, memory);
}
