// SPDX-License-Identifier: Apache-2.0
// The memory table. What it keeps per event:
//
//   stored form   in 1 MiB chunks of memory (an event larger than that gets a chunk of its own); never moved
//   slot          pointer to it, and two links to the previous event of the same subject and of the same
//                 aggregate
//
// and two kinds of index:
//
//   keys          subject and aggregate -> newest slot, count, last version; supplied id -> slot. Kept at
//                 insert, because every append needs them. Guarded by index_lock.
//   terms         every term of every event -> ascending slots. Costs as much as all the rest of an insert
//                 together, so it is built when somebody first asks, up to the events there are, and caught
//                 up at each later question. Who can do without for a short stretch asks first whether it
//                 pays (dbk_memtable_index_pays).
//                 Guarded by term_lock, which inserting never takes: building it holds up no append.
//
// Ids made by the store are not in the id map: their milliseconds are those of `recorded`, which never goes
// back, so a binary search finds them.
#include "store/memtable.h"

#include "base/assert.h"
#include "base/time.h"
#include "base/uuid.h"

enum {
    SLOTS_PER_CHUNK = 4096,
    SLOT_CHUNKS_MAX = 16384,
    DATA_CHUNK_SIZE_FIRST = 64 << 10, // doubling up to
    DATA_CHUNK_SIZE = 1 << 20,
    CHAIN_COLLECT_MAX = 4096, // above this many events of one key, ascending reads use the term index
    INLINE_SLOTS = 2,
    INDEX_COST = 16, // of an event, in events looked at
};

typedef struct slot {
    uint8_t *stored; // NULL: empty
    uint32_t stored_size;
    uint32_t prev_subject; // slot + 1 of the previous event of this subject, 0: none
    uint32_t prev_aggregate;
} slot;

typedef struct key_node {
    uint64_t hash;
    const uint8_t *key; // in the stored form of the first event
    uint32_t key_size;
    uint32_t stream_id;
    uint32_t last_slot;
    uint32_t count;
    uint64_t last_version;
    uint64_t floor; // subjects: no event below is alive
} key_node;

typedef struct key_index {
    dbk_hash_map map;
    key_node *nodes;
    size_t count;
    size_t capacity;
} key_index;

typedef struct term_node {
    uint64_t hash;
    const uint8_t *term; // in the term arena
    uint32_t term_size;
    uint32_t count;
    uint32_t capacity;
    uint32_t inline_slots[INLINE_SLOTS];
    uint32_t *slots; // in the term arena, NULL while inline
} term_node;

typedef struct data_chunk {
    struct data_chunk *next;
    size_t used;
    size_t capacity;
    uint8_t data[];
} data_chunk;

struct dbk_memtable {
    atomic_uint refs;
    const daybook_allocator *allocator;
    uint64_t position_first;

    // Written by the inserting thread, read by all: chunk pointers are stored before `published` covers them.
    slot *_Atomic slot_chunks[SLOT_CHUNKS_MAX];
    atomic_uint_fast64_t published; // slots
    data_chunk *chunks;             // newest first; inserting thread only
    atomic_size_t bytes;
    size_t inserted_count; // since begin_insert; inserting thread only

    // No rwlock: a reader of glibc spins while a writer that is about to write has been preempted.
    pthread_mutex_t index_lock;
    key_index subjects;   // guarded by index_lock
    key_index aggregates; // guarded by index_lock; only the inserting thread changes it
    dbk_hash_map ids;     // hash -> slot; guarded by index_lock

    pthread_mutex_t term_lock;
    dbk_hash_map terms; // hash -> index in term_nodes; all guarded by term_lock
    term_node *term_nodes;
    size_t term_count;
    size_t term_capacity;
    dbk_arena *term_arena;
    atomic_uint_fast64_t indexed;        // slots in the term index; changed under term_lock
    atomic_uint_fast64_t looked_through; // events, since the index was last brought up to date
};

// ---- Life -------------------------------------------------------------------------------------------------

static slot *slot_at(const dbk_memtable *memtable, uint64_t index) {
    slot *chunk = atomic_load_explicit(
        &((dbk_memtable *)(uintptr_t)memtable)->slot_chunks[index / SLOTS_PER_CHUNK], memory_order_acquire);
    return &chunk[index % SLOTS_PER_CHUNK];
}

daybook_status dbk_memtable_new(const daybook_allocator *allocator, uint64_t position_first,
                                dbk_memtable **memtable_out) {
    *memtable_out = NULL;
    dbk_memtable *memtable = dbk_alloc_zeroed(allocator, sizeof *memtable);
    if (memtable == NULL) return DAYBOOK_ENOMEM;
    memtable->allocator = allocator;
    memtable->position_first = position_first;
    atomic_init(&memtable->refs, 1);
    atomic_init(&memtable->bytes, sizeof *memtable);
    dbk_hash_map_init(&memtable->subjects.map, allocator);
    dbk_hash_map_init(&memtable->aggregates.map, allocator);
    dbk_hash_map_init(&memtable->ids, allocator);
    dbk_hash_map_init(&memtable->terms, allocator);
    pthread_mutex_init(&memtable->index_lock, NULL);
    pthread_mutex_init(&memtable->term_lock, NULL);
    *memtable_out = memtable;
    return DAYBOOK_OK;
}

dbk_memtable *dbk_memtable_ref(dbk_memtable *memtable) {
    atomic_fetch_add_explicit(&memtable->refs, 1, memory_order_relaxed);
    return memtable;
}

static void free_key_index(dbk_memtable *memtable, key_index *index) {
    dbk_hash_map_deinit(&index->map);
    dbk_free(memtable->allocator, index->nodes);
}

void dbk_memtable_unref(dbk_memtable *memtable) {
    if (memtable == NULL || atomic_fetch_sub_explicit(&memtable->refs, 1, memory_order_acq_rel) != 1) return;
    const daybook_allocator *allocator = memtable->allocator;
    for (size_t i = 0; i < SLOT_CHUNKS_MAX; i++) {
        slot *chunk = atomic_load_explicit(&memtable->slot_chunks[i], memory_order_relaxed);
        if (chunk == NULL) break;
        dbk_free(allocator, chunk);
    }
    for (data_chunk *chunk = memtable->chunks; chunk != NULL;) {
        data_chunk *next = chunk->next;
        dbk_free(allocator, chunk);
        chunk = next;
    }
    free_key_index(memtable, &memtable->subjects);
    free_key_index(memtable, &memtable->aggregates);
    dbk_hash_map_deinit(&memtable->ids);
    dbk_hash_map_deinit(&memtable->terms);
    dbk_free(allocator, memtable->term_nodes);
    dbk_arena_free(memtable->term_arena);
    pthread_mutex_destroy(&memtable->index_lock);
    pthread_mutex_destroy(&memtable->term_lock);
    dbk_free(allocator, memtable);
}

uint64_t dbk_memtable_position_first(const dbk_memtable *memtable) {
    return memtable->position_first;
}

static uint64_t published(const dbk_memtable *memtable) {
    return atomic_load_explicit(&((dbk_memtable *)(uintptr_t)memtable)->published, memory_order_acquire);
}

uint64_t dbk_memtable_position_end(const dbk_memtable *memtable) {
    return memtable->position_first + published(memtable);
}

size_t dbk_memtable_bytes(const dbk_memtable *memtable) {
    return atomic_load_explicit(&((dbk_memtable *)(uintptr_t)memtable)->bytes, memory_order_relaxed);
}

static void count_bytes(dbk_memtable *memtable, size_t bytes) {
    atomic_fetch_add_explicit(&memtable->bytes, bytes, memory_order_relaxed);
}

// ---- Insert -----------------------------------------------------------------------------------------------

uint64_t dbk_memtable_id_hash(uint32_t stream_id, dbk_slice id_key) {
    uint64_t hash = dbk_checksum(id_key.data, id_key.size, stream_id);
    return hash == 0 ? 1 : hash;
}

static daybook_status reserve_keys(dbk_memtable *memtable, key_index *index, size_t count) {
    if (index->count + count > index->capacity) {
        size_t capacity = index->capacity == 0 ? 256 : index->capacity * 2;
        if (capacity < index->count + count) capacity = index->count + count;
        key_node *nodes = dbk_resize_array(memtable->allocator, index->nodes, capacity, sizeof *nodes);
        if (nodes == NULL) return DAYBOOK_ENOMEM;
        count_bytes(memtable, (capacity - index->capacity) * sizeof *nodes);
        index->nodes = nodes;
        index->capacity = capacity;
    }
    size_t before = dbk_hash_map_bytes(&index->map);
    DBK_TRY(dbk_hash_map_reserve(&index->map, count));
    count_bytes(memtable, dbk_hash_map_bytes(&index->map) - before);
    return DAYBOOK_OK;
}

static bool has_key_room(const key_index *index, size_t count) {
    return index->count + count <= index->capacity && dbk_hash_map_has_room(&index->map, count);
}

// Room in every index, under the lock because arrays may move. Whether they must is asked without: nobody but
// the inserting thread changes their sizes.
static daybook_status reserve_indexes(dbk_memtable *memtable, size_t count) {
    key_index *subjects = &memtable->subjects;
    key_index *aggregates = &memtable->aggregates;
    if (has_key_room(subjects, count) && has_key_room(aggregates, count) &&
        dbk_hash_map_has_room(&memtable->ids, count))
        return DAYBOOK_OK;
    pthread_mutex_lock(&memtable->index_lock);
    daybook_status status = reserve_keys(memtable, subjects, count);
    if (status == DAYBOOK_OK) status = reserve_keys(memtable, aggregates, count);
    if (status == DAYBOOK_OK) {
        size_t before = dbk_hash_map_bytes(&memtable->ids);
        status = dbk_hash_map_reserve(&memtable->ids, count);
        count_bytes(memtable, dbk_hash_map_bytes(&memtable->ids) - before);
    }
    pthread_mutex_unlock(&memtable->index_lock);
    return status;
}

static daybook_status reserve_slot(dbk_memtable *memtable, uint64_t index) {
    if (index >= (uint64_t)SLOTS_PER_CHUNK * SLOT_CHUNKS_MAX) return DAYBOOK_ENOMEM;
    slot *_Atomic *chunk = &memtable->slot_chunks[index / SLOTS_PER_CHUNK];
    if (atomic_load_explicit(chunk, memory_order_relaxed) != NULL) return DAYBOOK_OK;
    slot *slots = dbk_alloc_zeroed(memtable->allocator, SLOTS_PER_CHUNK * sizeof *slots);
    if (slots == NULL)
        return DAYBOOK_ENOMEM; // counted as they are used: a small table must not be full at once
    atomic_store_explicit(chunk, slots, memory_order_release);
    return DAYBOOK_OK;
}

daybook_status dbk_memtable_reserve(dbk_memtable *memtable, size_t count, size_t size, uint8_t **stored_out) {
    *stored_out = NULL;
    uint64_t index = published(memtable);
    for (uint64_t at = index; at < index + count; at += SLOTS_PER_CHUNK) DBK_TRY(reserve_slot(memtable, at));
    DBK_TRY(reserve_slot(memtable, index + count - 1));
    DBK_TRY(reserve_indexes(memtable, count));
    data_chunk *chunk = memtable->chunks;
    if (chunk == NULL || chunk->capacity - chunk->used < size) {
        size_t capacity = chunk == NULL ? DATA_CHUNK_SIZE_FIRST : DATA_CHUNK_SIZE;
        if (chunk != NULL && chunk->capacity < DATA_CHUNK_SIZE / 2) capacity = chunk->capacity * 2;
        if (size > capacity / 4) capacity = size;
        data_chunk *fresh = dbk_alloc(memtable->allocator, sizeof *fresh + capacity);
        if (fresh == NULL) return DAYBOOK_ENOMEM;
        count_bytes(memtable, sizeof *fresh + capacity);
        fresh->used = 0;
        fresh->capacity = capacity;
        fresh->next = chunk;
        memtable->chunks = fresh;
        chunk = fresh;
    }
    *stored_out = chunk->data + chunk->used;
    return DAYBOOK_OK;
}

static key_node *find_key(const key_index *index, uint32_t stream_id, dbk_slice key, uint64_t hash) {
    size_t step = 0;
    for (;;) {
        uint32_t at = dbk_hash_map_find(&index->map, hash, &step);
        if (at == DBK_HASH_MAP_EMPTY) return NULL;
        key_node *node = &index->nodes[at];
        if (node->hash == hash && node->stream_id == stream_id && node->key_size == key.size &&
            memcmp(node->key, key.data, key.size) == 0) {
            return node;
        }
    }
}

// Count the event under its key; returns the link to the previous one. Room was reserved.
static uint32_t insert_key(key_index *index, uint32_t stream_id, dbk_slice key, uint64_t hash, uint32_t at,
                           uint64_t version) {
    key_node *node = find_key(index, stream_id, key, hash);
    uint32_t previous = 0;
    if (node == NULL) {
        node = &index->nodes[index->count];
        *node =
            (key_node){.hash = hash, .key = key.data, .key_size = (uint32_t)key.size, .stream_id = stream_id};
        daybook_status status = dbk_hash_map_insert(&index->map, hash, (uint32_t)index->count);
        DBK_ASSERT(status == DAYBOOK_OK);
        index->count++;
    } else {
        previous = node->last_slot + 1;
    }
    node->last_slot = at;
    node->count++;
    if (version > node->last_version) node->last_version = version;
    return previous;
}

void dbk_memtable_insert(dbk_memtable *memtable, const dbk_event *event, const dbk_event_hashes *hashes) {
    uint64_t index = published(memtable);
    DBK_ASSERT(event->position == memtable->position_first + index);
    data_chunk *chunk = memtable->chunks;
    size_t size = DBK_EVENT_HEAD_SIZE + event->body.size;
    slot *at = slot_at(memtable, index);
    at->stored = chunk->data + chunk->used;
    at->stored_size = (uint32_t)size;
    DBK_ASSERT((const uint8_t *)event->body.data == at->stored + DBK_EVENT_HEAD_SIZE);
    chunk->used += dbk_memtable_stored_size(event->body.size);
    memtable->inserted_count++;

    at->prev_subject = insert_key(&memtable->subjects, event->stream_id, event->subject, hashes->subject,
                                  (uint32_t)index, 0);
    if (event->aggregate_size > 0) {
        at->prev_aggregate = insert_key(&memtable->aggregates, event->stream_id, dbk_event_aggregate(event),
                                        hashes->aggregate, (uint32_t)index, event->version);
    }
    if (hashes->id != 0) {
        daybook_status status = dbk_hash_map_insert(&memtable->ids, hashes->id, (uint32_t)index);
        DBK_ASSERT(status == DAYBOOK_OK);
    }
    atomic_store_explicit(&memtable->published, index + 1, memory_order_release);
}

void dbk_memtable_begin_insert(dbk_memtable *memtable) {
    pthread_mutex_lock(&memtable->index_lock);
}

void dbk_memtable_end_insert(dbk_memtable *memtable) {
    pthread_mutex_unlock(&memtable->index_lock);
    count_bytes(memtable, memtable->inserted_count * sizeof(slot));
    memtable->inserted_count = 0;
}

daybook_status dbk_memtable_skip_to(dbk_memtable *memtable, uint64_t position_end) {
    uint64_t index = published(memtable);
    while (memtable->position_first + index < position_end) {
        DBK_TRY(reserve_slot(memtable, index));
        *slot_at(memtable, index) = (slot){0};
        index++;
        atomic_store_explicit(&memtable->published, index, memory_order_release);
    }
    return DAYBOOK_OK;
}

daybook_status dbk_memtable_add(dbk_memtable *memtable, const dbk_event *event) {
    uint8_t *stored;
    DBK_TRY(dbk_memtable_skip_to(memtable, event->position));
    DBK_TRY(dbk_memtable_reserve(memtable, 1, dbk_memtable_stored_size(event->body.size), &stored));
    dbk_event_encode_head(stored, event, event->body.size);
    memcpy(stored + DBK_EVENT_HEAD_SIZE, event->body.data, event->body.size);
    dbk_event copy;
    daybook_status status =
        dbk_event_decode(daybook_bytes(stored, DBK_EVENT_HEAD_SIZE + event->body.size), &copy);
    DBK_ASSERT(status == DAYBOOK_OK);
    dbk_event_hashes hashes = {0};
    dbk_term term;
    dbk_term_make(&term, DBK_TERM_SUBJECT, copy.stream_id, copy.subject);
    hashes.subject = dbk_term_hash(dbk_term_slice(&term));
    if (copy.aggregate_size > 0) {
        dbk_term_make(&term, DBK_TERM_AGGREGATE, copy.stream_id, dbk_event_aggregate(&copy));
        hashes.aggregate = dbk_term_hash(dbk_term_slice(&term));
    }
    if ((copy.flags & DBK_EVENT_ID_MADE) == 0) hashes.id = dbk_memtable_id_hash(copy.stream_id, copy.id_key);
    dbk_memtable_begin_insert(memtable);
    dbk_memtable_insert(memtable, &copy, &hashes);
    dbk_memtable_end_insert(memtable);
    return DAYBOOK_OK;
}

// ---- Look up ----------------------------------------------------------------------------------------------

static daybook_status get_slot(const dbk_memtable *memtable, uint64_t index, dbk_event *event_out) {
    const slot *at = slot_at(memtable, index);
    if (at->stored == NULL) return DAYBOOK_ENOTFOUND;
    daybook_status status = dbk_event_decode(daybook_bytes(at->stored, at->stored_size), event_out);
    DBK_ASSERT(status == DAYBOOK_OK); // it was validated when it came in
    return DAYBOOK_OK;
}

daybook_status dbk_memtable_get(const dbk_memtable *memtable, uint64_t position, dbk_event *event_out) {
    if (position < memtable->position_first || position >= dbk_memtable_position_end(memtable))
        return DAYBOOK_ENOTFOUND;
    return get_slot(memtable, position - memtable->position_first, event_out);
}

// Offsets within the stored head, record/event.h.
enum { HEAD_STREAM_ID = 4, HEAD_SEQ = 16, HEAD_RECORDED = 32 };

uint64_t dbk_memtable_find_seq(const dbk_memtable *memtable, uint32_t stream_id, uint64_t seq) {
    uint64_t low = 0, end = published(memtable);
    for (uint64_t high = end; low < high;) {
        uint64_t middle = low + (high - low) / 2;
        uint64_t probe = middle;
        while (probe < high && (slot_at(memtable, probe)->stored == NULL ||
                                dbk_get_u32(slot_at(memtable, probe)->stored + HEAD_STREAM_ID) != stream_id))
            probe++;
        if (probe < high && dbk_get_u64(slot_at(memtable, probe)->stored + HEAD_SEQ) < seq) {
            low = probe + 1;
        } else {
            high = middle;
        }
    }
    return memtable->position_first + low;
}

bool dbk_memtable_peek_version(const dbk_memtable *memtable, uint32_t stream_id, dbk_slice aggregate,
                               uint64_t hash, uint64_t *version_out) {
    const key_node *node = find_key(&memtable->aggregates, stream_id, aggregate, hash);
    if (node != NULL) *version_out = node->last_version;
    return node != NULL;
}

bool dbk_memtable_find_version(dbk_memtable *memtable, uint32_t stream_id, dbk_slice aggregate, uint64_t hash,
                               uint64_t *version_out) {
    pthread_mutex_lock(&memtable->index_lock);
    bool found = dbk_memtable_peek_version(memtable, stream_id, aggregate, hash, version_out);
    pthread_mutex_unlock(&memtable->index_lock);
    return found;
}

static key_node *find_subject(dbk_memtable *memtable, uint32_t stream_id, dbk_slice subject) {
    dbk_term term;
    dbk_term_make(&term, DBK_TERM_SUBJECT, stream_id, subject);
    return find_key(&memtable->subjects, stream_id, subject, dbk_term_hash(dbk_term_slice(&term)));
}

uint64_t dbk_memtable_subject_floor(dbk_memtable *memtable, uint32_t stream_id, dbk_slice subject) {
    pthread_mutex_lock(&memtable->index_lock);
    const key_node *node = find_subject(memtable, stream_id, subject);
    uint64_t floor = node == NULL ? 0 : node->floor;
    pthread_mutex_unlock(&memtable->index_lock);
    return floor;
}

void dbk_memtable_set_subject_floor(dbk_memtable *memtable, uint32_t stream_id, dbk_slice subject,
                                    uint64_t position) {
    pthread_mutex_lock(&memtable->index_lock);
    key_node *node = find_subject(memtable, stream_id, subject);
    if (node != NULL && position > node->floor) node->floor = position;
    pthread_mutex_unlock(&memtable->index_lock);
}

// First slot at or behind `from` that is not empty; `end` when there is none.
static uint64_t skip_empty(const dbk_memtable *memtable, uint64_t from, uint64_t end) {
    while (from < end && slot_at(memtable, from)->stored == NULL) from++;
    return from;
}

static int64_t slot_recorded_ms(const dbk_memtable *memtable, uint64_t index) {
    return (int64_t)dbk_get_u64(slot_at(memtable, index)->stored + HEAD_RECORDED) / DBK_MILLISECOND_NS;
}

// An id made by the store: its milliseconds lead to the events recorded then.
static bool find_made_id(dbk_memtable *memtable, uint32_t stream_id, dbk_slice id_key,
                         uint64_t *position_out) {
    dbk_uuid uuid;
    int64_t time_ns;
    if (id_key.size != 17 || ((const uint8_t *)id_key.data)[0] != 'U') return false;
    memcpy(uuid.bytes, (const uint8_t *)id_key.data + 1, sizeof uuid.bytes);
    if (!dbk_uuid_v7_time_ns(&uuid, &time_ns)) return false;
    int64_t ms = time_ns / DBK_MILLISECOND_NS;
    uint64_t end = published(memtable);
    uint64_t low = 0;
    for (uint64_t high = end; low < high;) {
        uint64_t middle = low + (high - low) / 2;
        uint64_t probe = skip_empty(memtable, middle, high);
        if (probe == high) {
            high = middle;
        } else if (slot_recorded_ms(memtable, probe) < ms) {
            low = probe + 1;
        } else {
            high = middle;
        }
    }
    for (uint64_t i = skip_empty(memtable, low, end); i < end; i = skip_empty(memtable, i + 1, end)) {
        if (slot_recorded_ms(memtable, i) != ms) break;
        dbk_event event;
        if (get_slot(memtable, i, &event) == DAYBOOK_OK && event.stream_id == stream_id &&
            (event.flags & DBK_EVENT_ID_MADE) != 0 && dbk_slice_equal(event.id_key, id_key)) {
            *position_out = event.position;
            return true;
        }
    }
    return false;
}

bool dbk_memtable_find_id(dbk_memtable *memtable, uint32_t stream_id, dbk_slice id_key, uint64_t hash,
                          uint64_t *position_out) {
    bool found = false;
    uint64_t newest = 0;
    pthread_mutex_lock(&memtable->index_lock);
    for (size_t step = 0;;) {
        uint32_t at = dbk_hash_map_find(&memtable->ids, hash, &step);
        if (at == DBK_HASH_MAP_EMPTY) break;
        dbk_event event;
        if (get_slot(memtable, at, &event) == DAYBOOK_OK && event.stream_id == stream_id &&
            dbk_slice_equal(event.id_key, id_key) && (!found || event.position > newest)) {
            newest = event.position;
            found = true;
        }
    }
    pthread_mutex_unlock(&memtable->index_lock);
    if (!found) found = find_made_id(memtable, stream_id, id_key, &newest);
    if (found) *position_out = newest;
    return found;
}

// ---- Term index -------------------------------------------------------------------------------------------

static term_node *find_term(const dbk_memtable *memtable, dbk_slice term, uint64_t hash) {
    for (size_t step = 0;;) {
        uint32_t at = dbk_hash_map_find(&memtable->terms, hash, &step);
        if (at == DBK_HASH_MAP_EMPTY) return NULL;
        term_node *node = &memtable->term_nodes[at];
        if (node->hash == hash && node->term_size == term.size &&
            memcmp(node->term, term.data, term.size) == 0)
            return node;
    }
}

static daybook_status add_term_node(dbk_memtable *memtable, dbk_slice term, uint64_t hash,
                                    term_node **node_out) {
    if (memtable->term_count == memtable->term_capacity) {
        size_t capacity = memtable->term_capacity == 0 ? 1024 : memtable->term_capacity * 2;
        term_node *nodes =
            dbk_resize_array(memtable->allocator, memtable->term_nodes, capacity, sizeof *nodes);
        if (nodes == NULL) return DAYBOOK_ENOMEM;
        count_bytes(memtable, (capacity - memtable->term_capacity) * sizeof *nodes);
        memtable->term_nodes = nodes;
        memtable->term_capacity = capacity;
    }
    uint8_t *copy = dbk_arena_alloc(memtable->term_arena, term.size);
    if (copy == NULL) return DAYBOOK_ENOMEM;
    memcpy(copy, term.data, term.size);
    term_node *node = &memtable->term_nodes[memtable->term_count];
    *node =
        (term_node){.hash = hash, .term = copy, .term_size = (uint32_t)term.size, .capacity = INLINE_SLOTS};
    size_t before = dbk_hash_map_bytes(&memtable->terms);
    DBK_TRY(dbk_hash_map_insert(&memtable->terms, hash, (uint32_t)memtable->term_count));
    count_bytes(memtable, dbk_hash_map_bytes(&memtable->terms) - before);
    memtable->term_count++;
    *node_out = node;
    return DAYBOOK_OK;
}

static const uint32_t *node_slots(const term_node *node) {
    return node->slots != NULL ? node->slots : node->inline_slots;
}

typedef struct term_insert {
    dbk_memtable *memtable;
    uint32_t slot;
} term_insert;

static daybook_status insert_term(void *context, dbk_slice term) {
    term_insert *insert = context;
    dbk_memtable *memtable = insert->memtable;
    uint64_t hash = dbk_term_hash(term);
    term_node *node = find_term(memtable, term, hash);
    if (node == NULL) DBK_TRY(add_term_node(memtable, term, hash, &node));
    // An event whose indexing failed half-way is indexed again: it must not be listed twice.
    if (node->count > 0 && node_slots(node)[node->count - 1] == insert->slot) return DAYBOOK_OK;
    if (node->count == node->capacity) {
        uint32_t capacity = node->capacity * 4;
        uint32_t *slots = dbk_arena_alloc(memtable->term_arena, capacity * sizeof *slots);
        if (slots == NULL) return DAYBOOK_ENOMEM;
        memcpy(slots, node_slots(node), node->count * sizeof *slots);
        node->slots = slots;
        node->capacity = capacity;
    }
    if (node->slots != NULL) {
        node->slots[node->count] = insert->slot;
    } else {
        node->inline_slots[node->count] = insert->slot;
    }
    node->count++;
    return DAYBOOK_OK;
}

// Index everything published. term_lock is held.
static daybook_status catch_up(dbk_memtable *memtable) {
    uint64_t end = published(memtable);
    if (memtable->indexed == end) return DAYBOOK_OK;
    if (memtable->term_arena == NULL)
        DBK_TRY(dbk_arena_new(memtable->allocator, 1 << 18, &memtable->term_arena));
    size_t before = dbk_arena_bytes(memtable->term_arena);
    daybook_status status = DAYBOOK_OK;
    while (memtable->indexed < end) {
        dbk_event event;
        term_insert insert = {memtable, (uint32_t)memtable->indexed};
        if (get_slot(memtable, memtable->indexed, &event) == DAYBOOK_OK)
            status = dbk_event_visit_terms(&event, insert_term, &insert);
        if (status != DAYBOOK_OK) break;
        memtable->indexed++;
    }
    atomic_store_explicit(&memtable->looked_through, 0, memory_order_relaxed);
    count_bytes(memtable, dbk_arena_bytes(memtable->term_arena) - before);
    return status;
}

bool dbk_memtable_index_pays(dbk_memtable *memtable, uint64_t span) {
    uint64_t lacking = published(memtable) - atomic_load_explicit(&memtable->indexed, memory_order_relaxed);
    uint64_t before = atomic_fetch_add_explicit(&memtable->looked_through, span, memory_order_relaxed);
    return before + span >= lacking * INDEX_COST;
}

// Number of leading slots below `limit`.
static size_t slots_below(const uint32_t *slots, size_t count, uint64_t limit) {
    size_t low = 0;
    for (size_t high = count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (slots[middle] < limit) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

// The range of slots [*first, *end) of positions [first, last]; false when empty.
static bool clip(const dbk_memtable *memtable, uint64_t first, uint64_t last, uint64_t *first_slot,
                 uint64_t *end_slot) {
    uint64_t end = dbk_memtable_position_end(memtable);
    if (first < memtable->position_first) first = memtable->position_first;
    if (last >= end) last = end - 1;
    if (end == memtable->position_first || first > last) return false;
    *first_slot = first - memtable->position_first;
    *end_slot = last - memtable->position_first + 1;
    return true;
}

static daybook_status indexed_postings(dbk_memtable *memtable, dbk_slice term, uint64_t first_slot,
                                       uint64_t end_slot, bool back, uint64_t *positions_out, size_t capacity,
                                       size_t *count_out) {
    pthread_mutex_lock(&memtable->term_lock);
    daybook_status status = catch_up(memtable);
    term_node *node = status == DAYBOOK_OK ? find_term(memtable, term, dbk_term_hash(term)) : NULL;
    size_t count = 0;
    if (node != NULL) {
        const uint32_t *slots = node_slots(node);
        size_t begin = slots_below(slots, node->count, first_slot);
        size_t end = slots_below(slots, node->count, end_slot);
        while (begin < end && count < capacity)
            positions_out[count++] = memtable->position_first + (back ? slots[--end] : slots[begin++]);
    }
    pthread_mutex_unlock(&memtable->term_lock);
    *count_out = count;
    return status;
}

// The key index that answers a term of kind SUBJECT or AGGREGATE, or NULL; the key itself goes to *key_out.
static key_index *key_index_for(dbk_memtable *memtable, dbk_slice term, uint32_t *stream_id_out,
                                dbk_slice *key_out) {
    const uint8_t *bytes = term.data;
    if (term.size < 5 || (bytes[0] != DBK_TERM_SUBJECT && bytes[0] != DBK_TERM_AGGREGATE)) return NULL;
    *stream_id_out = (uint32_t)bytes[1] << 24 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 8 | bytes[4];
    *key_out = daybook_bytes(bytes + 5, term.size - 5);
    return bytes[0] == DBK_TERM_SUBJECT ? &memtable->subjects : &memtable->aggregates;
}

// What the index says of a key. The links from its last slot on never change and need no lock.
static bool copy_key(dbk_memtable *memtable, const key_index *index, uint32_t stream_id, dbk_slice key,
                     dbk_slice term, key_node *copy_out) {
    uint64_t hash = dbk_term_hash(term);
    pthread_mutex_lock(&memtable->index_lock);
    const key_node *node = find_key(index, stream_id, key, hash);
    if (node != NULL) *copy_out = *node;
    pthread_mutex_unlock(&memtable->index_lock);
    return node != NULL;
}

static uint64_t chain_next(const dbk_memtable *memtable, const key_index *index, uint64_t at) {
    const slot *slots = slot_at(memtable, at);
    return index == &memtable->subjects ? slots->prev_subject : slots->prev_aggregate;
}

daybook_status dbk_memtable_postings_back(dbk_memtable *memtable, dbk_slice term, uint64_t first,
                                          uint64_t last, uint64_t *positions_out, size_t capacity,
                                          size_t *count_out) {
    *count_out = 0;
    uint64_t first_slot, end_slot;
    if (!clip(memtable, first, last, &first_slot, &end_slot)) return DAYBOOK_OK;
    uint32_t stream_id;
    dbk_slice key;
    key_index *index = key_index_for(memtable, term, &stream_id, &key);
    if (index == NULL)
        return indexed_postings(memtable, term, first_slot, end_slot, true, positions_out, capacity,
                                count_out);
    key_node node;
    size_t count = 0;
    bool too_long = false;
    if (copy_key(memtable, index, stream_id, key, term, &node)) {
        uint64_t skipped = 0;
        for (uint64_t next = (uint64_t)node.last_slot + 1; next != 0 && count < capacity;
             next = chain_next(memtable, index, next - 1)) {
            if (next - 1 < first_slot) break;
            if (next - 1 < end_slot) {
                positions_out[count++] = memtable->position_first + next - 1;
            } else if (++skipped > CHAIN_COLLECT_MAX) {
                too_long = true; // paging through a long chain: the term index has random access
                break;
            }
        }
    }
    if (too_long)
        return indexed_postings(memtable, term, first_slot, end_slot, true, positions_out, capacity,
                                count_out);
    *count_out = count;
    return DAYBOOK_OK;
}

daybook_status dbk_memtable_postings(dbk_memtable *memtable, dbk_slice term, uint64_t first, uint64_t last,
                                     uint64_t *positions_out, size_t capacity, size_t *count_out) {
    *count_out = 0;
    uint64_t first_slot, end_slot;
    if (!clip(memtable, first, last, &first_slot, &end_slot)) return DAYBOOK_OK;
    uint32_t stream_id;
    dbk_slice key;
    key_index *index = key_index_for(memtable, term, &stream_id, &key);
    bool collect = false;
    size_t count = 0;
    if (index != NULL) {
        key_node node;
        bool found = copy_key(memtable, index, stream_id, key, term, &node);
        collect = !found || (node.count <= CHAIN_COLLECT_MAX && node.count <= capacity);
        if (found && collect) {
            for (uint64_t next = (uint64_t)node.last_slot + 1; next != 0;
                 next = chain_next(memtable, index, next - 1)) {
                if (next - 1 < first_slot) break;
                if (next - 1 < end_slot) positions_out[count++] = memtable->position_first + next - 1;
            }
        }
    }
    if (!collect)
        return indexed_postings(memtable, term, first_slot, end_slot, false, positions_out, capacity,
                                count_out);
    for (size_t i = 0; i < count / 2; i++) {
        uint64_t swap = positions_out[i];
        positions_out[i] = positions_out[count - 1 - i];
        positions_out[count - 1 - i] = swap;
    }
    *count_out = count;
    return DAYBOOK_OK;
}

daybook_status dbk_memtable_count(dbk_memtable *memtable, dbk_slice term, uint64_t *count_out) {
    *count_out = 0;
    uint32_t stream_id;
    dbk_slice key;
    key_index *index = key_index_for(memtable, term, &stream_id, &key);
    if (index != NULL) {
        key_node node;
        if (copy_key(memtable, index, stream_id, key, term, &node)) *count_out = node.count;
        return DAYBOOK_OK;
    }
    pthread_mutex_lock(&memtable->term_lock);
    daybook_status status = catch_up(memtable);
    const term_node *node = status == DAYBOOK_OK ? find_term(memtable, term, dbk_term_hash(term)) : NULL;
    if (node != NULL) *count_out = node->count;
    pthread_mutex_unlock(&memtable->term_lock);
    return status;
}

daybook_status dbk_memtable_visit_terms(dbk_memtable *memtable, dbk_slice prefix,
                                        daybook_status (*visit)(void *context, dbk_slice term),
                                        void *context) {
    pthread_mutex_lock(&memtable->term_lock);
    daybook_status status = catch_up(memtable);
    for (size_t i = 0; status == DAYBOOK_OK && i < memtable->term_count; i++) {
        const term_node *node = &memtable->term_nodes[i];
        if (node->term_size >= prefix.size && memcmp(node->term, prefix.data, prefix.size) == 0)
            status = visit(context, daybook_bytes(node->term, node->term_size));
    }
    pthread_mutex_unlock(&memtable->term_lock);
    return status;
}
