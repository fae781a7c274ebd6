// SPDX-License-Identifier: Apache-2.0
// Gathering (term, number) pairs.
//
// Each distinct term has one record in a heap that only grows, found through an open-addressing table of
// (half a hash, record). A record keeps the first and last number; the distances between are varints in
// pieces that double up to 256 bytes, so that a term of one event, the most frequent kind, costs its record
// only. Records and pieces are named by 32 bits, half of what pointers would take.
//
// What events add waits in a batch of some 16: all its terms are hashed and their table places prefetched,
// then the records, then they are looked up, so that the cache misses overlap (a table of 300,000 terms
// misses on nearly every new term). A term of a kind that neighbouring events share (stream, aggregate,
// tokens, type) is compared with the one before of its kind first: the same again is not hashed and not
// looked up.
//
// When heaps and table reach memory_max, the terms are sorted and written to the temporary file as a *run*,
// and gathering begins anew. Runs follow each other in order of number, and merging them concatenates
// postings.
//
// A run is a stream of records, cut into chunks (file.h) of RUN_CHUNK payload bytes, the last one shorter:
//   text term, varint count, varint last_seq, varint extra,
//   count varints: the first number, then distances less one
// (extra: last version of an aggregate; of a dead id stream_id << 1 | for_ever, and its last_seq is the
// zigzag removed_ns.)
//
// Sorting is a three-way radix quicksort on eight bytes at a time, kept beside the pointers: terms share long
// prefixes (kind, stream, category), which comparing whole terms would read again and again.
//
// Failure modes: ENOMEM, and the vfs's for the temporary file. One thread.
#include "segment/gather.h"

#include <errno.h>

#include "base/assert.h"
#include "segment/file.h"

enum {
    HEAP_CHUNK_BITS = 15, // 32 Ki units of 8 bytes
    HEAP_CHUNK_SIZE = 8 << HEAP_CHUNK_BITS,
    SLOTS_MIN = 1024,
    PIECE_MIN = 24,
    PIECE_MAX = 256,
    NUMBER_SIZE_MAX = 5,
    RUN_CHUNK = 32 * 1024,
    INSERTION_MAX = 12,
    EVENT_TERMS_MAX = 160,
    EVENT_TERM_BYTES_MAX = 64 * 1024,
    PREFETCH_DISTANCE = 8,
    BATCH_EVENTS_MAX = 16,
    BATCH_TERMS_MAX = EVENT_TERMS_MAX + 128,
    BATCH_BYTES_MAX = EVENT_TERM_BYTES_MAX + 16 * 1024,
    SHARED_KINDS = DBK_TERM_TYPE + 1, // kinds below are often those of the event before
};

#define NOTHING UINT32_MAX // the name of no record and no piece

// Memory in chunks that never move; what is taken is named by its number of units of 8 bytes.
typedef struct unit_heap {
    const daybook_allocator *allocator;
    uint8_t **chunks;
    size_t chunk_count, chunk_capacity;
    uint32_t used; // units of the last chunk
} unit_heap;

typedef struct number_piece {
    uint32_t next;
    uint16_t capacity;
    uint16_t used;
    uint8_t bytes[];
} number_piece;

typedef struct term_record {
    uint64_t last_seq;
    uint32_t head, tail; // pieces
    uint32_t count, first, last;
    uint16_t size;
    uint8_t has_extra; // a u64 precedes the term's bytes
    uint8_t bytes[];
} term_record;

typedef struct table_slot {
    uint32_t hash_high;
    uint32_t record; // NOTHING: free
} table_slot;

typedef struct sort_item {
    uint64_t key; // eight bytes of the term at the depth being sorted, big-endian
    term_record *record;
} sort_item;

typedef struct memory_source {
    dbk_term_source base;
    const dbk_gather *gather;
    size_t next_index;
    // Of the current term.
    const number_piece *piece;
    const uint8_t *at;
    uint32_t left;   // numbers not taken
    uint32_t number; // taken last
} memory_source;

typedef struct run_source {
    dbk_term_source base;
    dbk_gather *gather;
    const dbk_file_reader *reader;
    uint64_t next_chunk, end; // file offsets
    uint8_t *chunk;           // RUN_CHUNK and checksum
    dbk_reader bytes;         // what is left of the chunk
    daybook_status status;    // the first failure
    dbk_term term;
    uint32_t left, number;
    bool is_first_number;
} run_source;

typedef struct pending_term {
    uint64_t hash;
    table_slot *slot;    // NULL: the same as pending `same`, or `record` is known
    term_record *record; // NULL: not looked up yet
    uint32_t offset;     // in the term bytes
    uint32_t size;
    uint32_t event;
    uint32_t same;
} pending_term;

typedef struct pending_event {
    uint32_t number;
    uint64_t seq, version;
} pending_event;

// The term of a kind that came last: pending, else a record, else none.
typedef struct recent_term {
    uint32_t pending; // NOTHING: not in this batch
    term_record *record;
} recent_term;

struct dbk_gather {
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    const char *temporary_path;
    size_t memory_max;

    unit_heap records, pieces;
    table_slot *slots;
    size_t slot_count; // power of two
    size_t term_count;

    sort_item *sorted;

    dbk_file_writer run_writer;
    bool has_run_file;
    dbk_buf run_ends; // u64 file offset of each run's end
    dbk_file_reader run_reader;

    memory_source memory;
    run_source *runs;
    size_t run_count;
    dbk_term_source **sources;

    // The batch at hand.
    pending_event events[BATCH_EVENTS_MAX];
    size_t event_count;
    pending_term pending[BATCH_TERMS_MAX];
    size_t pending_count;
    size_t pending_bytes;
    recent_term recent[SHARED_KINDS];
    uint8_t term_bytes[BATCH_BYTES_MAX];
};

// ---- Heap -------------------------------------------------------------------------------------------------

// Forget everything, keep so many chunks.
static void heap_reset(unit_heap *heap, size_t kept) {
    while (heap->chunk_count > kept) dbk_free(heap->allocator, heap->chunks[--heap->chunk_count]);
    heap->used = 0;
}

static size_t heap_bytes(const unit_heap *heap) {
    return heap->chunk_count * HEAP_CHUNK_SIZE;
}

static void *heap_at(const unit_heap *heap, uint32_t name) {
    return heap->chunks[name >> HEAP_CHUNK_BITS] + ((size_t)(name & ((1u << HEAP_CHUNK_BITS) - 1)) << 3);
}

static bool heap_grow(unit_heap *heap) {
    // defensive: 32 GiB of terms in memory
    if (heap->chunk_count == UINT32_MAX >> HEAP_CHUNK_BITS) return false;
    if (heap->chunk_count == heap->chunk_capacity) {
        size_t capacity = heap->chunk_capacity * 2 + 16;
        uint8_t **chunks = dbk_resize_array(heap->allocator, heap->chunks, capacity, sizeof *chunks);
        if (chunks == NULL) return false;
        heap->chunks = chunks;
        heap->chunk_capacity = capacity;
    }
    uint8_t *chunk = dbk_alloc(heap->allocator, HEAP_CHUNK_SIZE);
    if (chunk == NULL) return false;
    heap->chunks[heap->chunk_count++] = chunk;
    heap->used = 0;
    return true;
}

// NOTHING when memory is out. `size` is far below a chunk.
static uint32_t heap_take(unit_heap *heap, size_t size) {
    uint32_t units = (uint32_t)((size + 7) / 8);
    if (heap->chunk_count == 0 || units > (1u << HEAP_CHUNK_BITS) - heap->used) {
        if (!heap_grow(heap)) return NOTHING;
    }
    uint32_t name = (uint32_t)(heap->chunk_count - 1) << HEAP_CHUNK_BITS | heap->used;
    heap->used += units;
    return name;
}

static table_slot *new_slots(const daybook_allocator *allocator, size_t count) {
    table_slot *slots = dbk_resize_array(allocator, NULL, count, sizeof *slots);
    if (slots != NULL) memset(slots, 0xff, count * sizeof *slots); // NOTHING everywhere
    return slots;
}

// ---- Life -------------------------------------------------------------------------------------------------

daybook_status dbk_gather_new(const daybook_allocator *allocator, daybook_vfs *vfs,
                              const char *temporary_path, size_t memory_max, dbk_gather **gather_out) {
    *gather_out = NULL;
    dbk_gather *gather = dbk_alloc_zeroed(allocator, sizeof *gather);
    if (gather == NULL) return DAYBOOK_ENOMEM;
    gather->allocator = allocator;
    gather->vfs = vfs;
    gather->temporary_path = temporary_path;
    gather->memory_max = memory_max;
    dbk_buf_init(&gather->run_ends, allocator, SIZE_MAX / 2);
    gather->records.allocator = gather->pieces.allocator = allocator;
    for (size_t i = 0; i < SHARED_KINDS; i++) gather->recent[i].pending = NOTHING;
    gather->slot_count = SLOTS_MIN;
    gather->slots = new_slots(allocator, SLOTS_MIN);
    if (gather->slots == NULL) {
        dbk_gather_free(gather);
        return DAYBOOK_ENOMEM;
    }
    *gather_out = gather;
    return DAYBOOK_OK;
}

void dbk_gather_free(dbk_gather *gather) {
    if (gather == NULL) return;
    dbk_file_writer_close(&gather->run_writer);
    // A temporary file that cannot be removed is replaced by the next writer, and swept by the store when it
    // opens.
    if (gather->has_run_file) (void)gather->vfs->unlink(gather->vfs, gather->temporary_path);
    for (size_t i = 0; i < gather->run_count; i++) dbk_free(gather->allocator, gather->runs[i].chunk);
    dbk_free(gather->allocator, gather->runs);
    dbk_free(gather->allocator, gather->sources);
    dbk_buf_deinit(&gather->run_ends);
    dbk_free(gather->allocator, gather->sorted);
    dbk_free(gather->allocator, gather->slots);
    heap_reset(&gather->records, 0);
    heap_reset(&gather->pieces, 0);
    dbk_free(gather->allocator, gather->records.chunks);
    dbk_free(gather->allocator, gather->pieces.chunks);
    dbk_free(gather->allocator, gather);
}

static daybook_status out_of_memory(daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory gathering the terms of a segment");
}

// ---- Table ------------------------------------------------------------------------------------------------

static uint64_t record_extra(const term_record *record) {
    return record->has_extra ? dbk_get_u64(record->bytes) : 0;
}

static void set_record_extra(term_record *record, uint64_t extra) {
    DBK_ASSERT(record->has_extra);
    dbk_put_u64(record->bytes, extra);
}

static const uint8_t *record_term(const term_record *record) {
    return record->bytes + (record->has_extra ? 8 : 0);
}

static term_record *record_at(const dbk_gather *gather, uint32_t name) {
    return heap_at(&gather->records, name);
}

static daybook_status grow_slots(dbk_gather *gather) {
    size_t count = gather->slot_count * 2;
    table_slot *slots = new_slots(gather->allocator, count);
    if (slots == NULL) return DAYBOOK_ENOMEM;
    for (size_t i = 0; i < gather->slot_count; i++) {
        table_slot slot = gather->slots[i];
        if (slot.record == NOTHING) continue;
        // The place comes from the upper half of the hash, which is kept; see place_of.
        size_t at = slot.hash_high & (count - 1);
        while (slots[at].record != NOTHING) at = (at + 1) & (count - 1);
        slots[at] = slot;
    }
    dbk_free(gather->allocator, gather->slots);
    gather->slots = slots;
    gather->slot_count = count;
    return DAYBOOK_OK;
}

static size_t place_of(const dbk_gather *gather, uint64_t hash) {
    return (size_t)(hash >> 32) & (gather->slot_count - 1);
}

static term_record *add_record(dbk_gather *gather, table_slot *slot, uint64_t hash, dbk_slice term) {
    uint8_t kind = *(const uint8_t *)term.data;
    bool has_extra = kind == DBK_TERM_AGGREGATE || kind == DBK_TERM_DEAD_ID;
    uint32_t name = heap_take(&gather->records, sizeof(term_record) + (has_extra ? 8 : 0) + term.size);
    if (name == NOTHING) return NULL;
    term_record *record = record_at(gather, name);
    memset(record, 0, sizeof *record);
    record->head = record->tail = NOTHING;
    record->size = (uint16_t)term.size;
    record->has_extra = has_extra;
    if (has_extra) dbk_put_u64(record->bytes, 0);
    memcpy(record->bytes + (has_extra ? 8 : 0), term.data, term.size);
    slot->hash_high = (uint32_t)(hash >> 32);
    slot->record = name;
    gather->term_count++;
    return record;
}

// The term's record, made where absent; NULL when memory is out. The table has room.
static term_record *find_record(dbk_gather *gather, uint64_t hash, dbk_slice term) {
    size_t mask = gather->slot_count - 1;
    for (size_t at = place_of(gather, hash);; at = (at + 1) & mask) {
        table_slot *slot = &gather->slots[at];
        if (slot->record == NOTHING) return add_record(gather, slot, hash, term);
        if (slot->hash_high != (uint32_t)(hash >> 32)) continue;
        term_record *record = record_at(gather, slot->record);
        // defensive: only by chance do 32 bits of hash and the place of two terms agree
        if (record->size == term.size && memcmp(record_term(record), term.data, term.size) == 0)
            return record;
    }
}

static daybook_status reserve_slots(dbk_gather *gather, size_t added) {
    while ((gather->term_count + added) * 4 > gather->slot_count * 3) DBK_TRY(grow_slots(gather));
    return DAYBOOK_OK;
}

static daybook_status add_number(dbk_gather *gather, term_record *record, uint32_t number) {
    if (record->count == 0) {
        record->count = 1;
        record->first = record->last = number;
        return DAYBOOK_OK;
    }
    if (record->last == number) return DAYBOOK_OK; // An event counts once for a term.
    record->count++;
    number_piece *tail = record->tail == NOTHING ? NULL : heap_at(&gather->pieces, record->tail);
    if (tail == NULL || tail->capacity - tail->used < NUMBER_SIZE_MAX) {
        size_t size = tail == NULL ? PIECE_MIN : 2 * (sizeof *tail + tail->capacity);
        if (size > PIECE_MAX) size = PIECE_MAX;
        uint32_t name = heap_take(&gather->pieces, size);
        if (name == NOTHING) return DAYBOOK_ENOMEM;
        if (tail == NULL)
            record->head = name;
        else
            tail->next = name;
        record->tail = name;
        tail = heap_at(&gather->pieces, name);
        tail->next = NOTHING;
        tail->capacity = (uint16_t)(size - sizeof *tail);
        tail->used = 0;
    }
    tail->used = (uint16_t)(tail->used + dbk_put_varint(tail->bytes + tail->used, number - record->last - 1));
    record->last = number;
    return DAYBOOK_OK;
}

// ---- Adding -----------------------------------------------------------------------------------------------

static daybook_status write_run(dbk_gather *gather, daybook_error *error);

static size_t memory_used(const dbk_gather *gather) {
    return heap_bytes(&gather->records) + heap_bytes(&gather->pieces) +
           gather->slot_count * sizeof(table_slot) + gather->term_count * sizeof(sort_item);
}

static daybook_status make_room(dbk_gather *gather, size_t terms, daybook_error *error) {
    if (memory_used(gather) > gather->memory_max && gather->term_count > 0) DBK_TRY(write_run(gather, error));
    if (reserve_slots(gather, terms) != DAYBOOK_OK) return out_of_memory(error);
    return DAYBOOK_OK;
}

// Whether the term is that of its kind which came last; then what is known of it goes into `pending`.
static bool is_recent(const dbk_gather *gather, dbk_slice term, pending_term *pending) {
    const recent_term *recent = &gather->recent[*(const uint8_t *)term.data];
    dbk_slice known = daybook_bytes(NULL, 0);
    if (recent->pending != NOTHING) {
        const pending_term *same = &gather->pending[recent->pending];
        known = daybook_bytes(gather->term_bytes + same->offset, same->size);
    } else if (recent->record != NULL) {
        known = daybook_bytes(record_term(recent->record), recent->record->size);
    }
    if (!dbk_slice_equal(known, term)) return false;
    pending->same = recent->pending;
    pending->record = recent->pending == NOTHING ? recent->record : NULL;
    return true;
}

static daybook_status note_term(void *context, dbk_slice term) {
    dbk_gather *gather = context;
    DBK_ASSERT(gather->pending_count < BATCH_TERMS_MAX &&
               term.size <= BATCH_BYTES_MAX - gather->pending_bytes);
    uint8_t kind = *(const uint8_t *)term.data;
    uint32_t index = (uint32_t)gather->pending_count++;
    pending_term *pending = &gather->pending[index];
    pending->event = (uint32_t)gather->event_count;
    pending->slot = NULL;
    if (kind < SHARED_KINDS && is_recent(gather, term, pending)) return DAYBOOK_OK;
    pending->record = NULL;
    pending->same = NOTHING;
    pending->offset = (uint32_t)gather->pending_bytes;
    pending->size = (uint32_t)term.size;
    pending->hash = dbk_term_hash(term);
    pending->slot = &gather->slots[place_of(gather, pending->hash)];
    __builtin_prefetch(pending->slot);
    memcpy(gather->term_bytes + gather->pending_bytes, term.data, term.size);
    gather->pending_bytes += term.size;
    if (kind < SHARED_KINDS) gather->recent[kind].pending = index;
    return DAYBOOK_OK;
}

// The record of a pending term; those before it in the batch have theirs. NULL when memory is out.
static term_record *look_up(dbk_gather *gather, pending_term *pending) {
    if (pending->same != NOTHING) pending->record = gather->pending[pending->same].record;
    if (pending->record != NULL) return pending->record;
    dbk_slice term = daybook_bytes(gather->term_bytes + pending->offset, pending->size);
    pending->record = find_record(gather, pending->hash, term);
    return pending->record;
}

// Give the batch's terms their numbers, and begin a new one.
static daybook_status end_batch(dbk_gather *gather, daybook_error *error) {
    for (size_t i = 0; i < gather->pending_count; i++) {
        const table_slot *slot = gather->pending[i].slot;
        if (slot != NULL && slot->record != NOTHING) __builtin_prefetch(record_at(gather, slot->record));
    }
    for (size_t i = 0; i < gather->pending_count; i++) {
        const pending_event *event = &gather->events[gather->pending[i].event];
        term_record *record = look_up(gather, &gather->pending[i]);
        if (record == NULL || add_number(gather, record, event->number) != DAYBOOK_OK)
            return out_of_memory(error);
        record->last_seq = event->seq;
        if (record->has_extra && event->version > record_extra(record))
            set_record_extra(record, event->version);
    }
    for (size_t i = 0; i < SHARED_KINDS; i++) {
        recent_term *recent = &gather->recent[i];
        if (recent->pending == NOTHING) continue;
        recent->record = gather->pending[recent->pending].record;
        recent->pending = NOTHING;
    }
    gather->event_count = gather->pending_count = gather->pending_bytes = 0;
    return DAYBOOK_OK;
}

static bool has_room_for_event(const dbk_gather *gather) {
    return gather->event_count < BATCH_EVENTS_MAX &&
           gather->pending_count + EVENT_TERMS_MAX <= BATCH_TERMS_MAX &&
           gather->pending_bytes + EVENT_TERM_BYTES_MAX <= BATCH_BYTES_MAX;
}

daybook_status dbk_gather_event(dbk_gather *gather, const dbk_event *event, uint32_t number, uint64_t id_seed,
                                daybook_error *error) {
    if (!has_room_for_event(gather)) DBK_TRY(end_batch(gather, error));
    // Places in the table must stay where they are while terms are pending.
    if (gather->event_count == 0) DBK_TRY(make_room(gather, BATCH_TERMS_MAX, error));
    (void)dbk_event_visit_terms(event, note_term, gather); // note_term takes every term
    if (!dbk_id_is_by_time(event)) {
        uint8_t hash[16];
        dbk_term term;
        dbk_id_hash(id_seed, event->stream_id, event->id_key, hash);
        dbk_id_term(&term, hash);
        (void)note_term(gather, dbk_term_slice(&term));
    }
    gather->events[gather->event_count++] = (pending_event){number, event->seq, event->version};
    return DAYBOOK_OK;
}

daybook_status dbk_gather_term_version(dbk_gather *gather, dbk_slice term, uint64_t version,
                                       daybook_error *error) {
    DBK_TRY(end_batch(gather, error));
    DBK_TRY(make_room(gather, 1, error));
    term_record *record = find_record(gather, dbk_term_hash(term), term);
    if (record == NULL) return out_of_memory(error);
    if (version > record_extra(record)) set_record_extra(record, version);
    return DAYBOOK_OK;
}

daybook_status dbk_gather_version(dbk_gather *gather, const dbk_event *event, daybook_error *error) {
    if (event->aggregate_size == 0) return DAYBOOK_OK;
    dbk_term term;
    dbk_term_make(&term, DBK_TERM_AGGREGATE, event->stream_id, dbk_event_aggregate(event));
    return dbk_gather_term_version(gather, dbk_term_slice(&term), event->version, error);
}

daybook_status dbk_gather_dead_id(dbk_gather *gather, const dbk_dead_id *dead, daybook_error *error) {
    DBK_TRY(end_batch(gather, error));
    DBK_TRY(make_room(gather, 1, error));
    dbk_term term;
    dbk_dead_id_term(&term, dead->hash);
    dbk_slice slice = dbk_term_slice(&term);
    size_t before = gather->term_count;
    term_record *record = find_record(gather, dbk_term_hash(slice), slice);
    if (record == NULL) return out_of_memory(error);
    bool is_new = gather->term_count > before;
    uint64_t extra = (uint64_t)dead->stream_id << 1 | (dead->for_ever ? 1 : 0);
    set_record_extra(record, is_new ? extra : extra | record_extra(record));
    if (is_new || dead->removed_ns > dbk_unzigzag(record->last_seq))
        record->last_seq = dbk_zigzag(dead->removed_ns);
    return DAYBOOK_OK;
}

// ---- Sorting ----------------------------------------------------------------------------------------------

// Eight bytes from `depth` on, which is within the term; zeros behind its end. Ties between an end and real
// zeros are settled by the sizes.
static uint64_t key_at(const term_record *record, size_t depth) {
    uint8_t bytes[8] = {0};
    DBK_ASSERT(depth < record->size);
    size_t left = record->size - depth;
    memcpy(bytes, record_term(record) + depth, left < 8 ? left : 8);
    uint64_t key = 0;
    for (int i = 0; i < 8; i++) key = key << 8 | bytes[i];
    return key;
}

static int compare_from(const term_record *a, const term_record *b, size_t depth) {
    DBK_ASSERT(depth < a->size && depth < b->size);
    dbk_slice left = daybook_bytes(record_term(a) + depth, a->size - depth);
    dbk_slice right = daybook_bytes(record_term(b) + depth, b->size - depth);
    return dbk_slice_compare(left, right);
}

static bool is_before(const sort_item *a, const sort_item *b, size_t depth) {
    if (a->key != b->key) return a->key < b->key;
    return compare_from(a->record, b->record, depth) < 0;
}

static void insertion_sort(sort_item *items, size_t count, size_t depth) {
    for (size_t i = 1; i < count; i++) {
        sort_item item = items[i];
        size_t at = i;
        for (; at > 0 && is_before(&item, &items[at - 1], depth); at--) items[at] = items[at - 1];
        items[at] = item;
    }
}

static void swap_items(sort_item *a, sort_item *b) {
    sort_item item = *a;
    *a = *b;
    *b = item;
}

static uint64_t median_key(const sort_item *items, size_t count) {
    uint64_t a = items[0].key, b = items[count / 2].key, c = items[count - 1].key;
    if (a > b) {
        uint64_t key = a;
        a = b;
        b = key;
    }
    return c <= a ? a : c >= b ? b : c;
}

// Terms that end within the eight bytes come first, shortest first; among equal keys those are equal up to
// their end.
static size_t move_ended_to_front(sort_item *items, size_t count, size_t depth) {
    size_t ended = 0;
    for (size_t i = 0; i < count; i++)
        if (items[i].record->size <= depth + 8) swap_items(&items[i], &items[ended++]);
    insertion_sort(items, ended, depth); // At most nine: terms are distinct.
    return ended;
}

// Keys are those at `depth`. Recursion goes into the two smaller parts; depth is bounded by the size of a
// term for equal keys and by the logarithm for the others.
static void sort_items(sort_item *items, size_t count, size_t depth) {
    while (count > INSERTION_MAX) {
        uint64_t pivot = median_key(items, count);
        size_t below = 0, at = 0, above = count;
        while (at < above) {
            if (items[at].key < pivot)
                swap_items(&items[below++], &items[at++]);
            else if (items[at].key > pivot)
                swap_items(&items[at], &items[--above]);
            else
                at++;
        }
        size_t equal = above - below;
        size_t ended = move_ended_to_front(items + below, equal, depth);
        sort_item *rest = items + below + ended;
        for (size_t i = 0; i < equal - ended; i++) {
            if (i + PREFETCH_DISTANCE < equal - ended) __builtin_prefetch(rest[i + PREFETCH_DISTANCE].record);
            rest[i].key = key_at(rest[i].record, depth + 8);
        }
        sort_items(rest, equal - ended, depth + 8);
        if (below < count - above) {
            sort_items(items, below, depth);
            items += above;
            count -= above;
        } else {
            sort_items(items + above, count - above, depth);
            count = below;
        }
    }
    insertion_sort(items, count, depth);
}

static daybook_status sort_terms(dbk_gather *gather) {
    dbk_free(gather->allocator, gather->sorted);
    gather->sorted =
        dbk_resize_array(gather->allocator, NULL, gather->term_count + 1, sizeof *gather->sorted);
    if (gather->sorted == NULL) return DAYBOOK_ENOMEM;
    // Through the table, whose order is random, and not through the heap, whose order is that of the first
    // appearance: the quicksort likes it better.
    size_t count = 0;
    for (size_t i = 0; i < gather->slot_count; i++) {
        if (i + PREFETCH_DISTANCE < gather->slot_count &&
            gather->slots[i + PREFETCH_DISTANCE].record != NOTHING)
            __builtin_prefetch(record_at(gather, gather->slots[i + PREFETCH_DISTANCE].record));
        if (gather->slots[i].record == NOTHING) continue;
        term_record *record = record_at(gather, gather->slots[i].record);
        gather->sorted[count].record = record;
        gather->sorted[count++].key = key_at(record, 0);
    }
    DBK_ASSERT(count == gather->term_count);
    sort_items(gather->sorted, count, 0);
    return DAYBOOK_OK;
}

// ---- The memory as a source -------------------------------------------------------------------------------

static void set_value(dbk_term_source *source, uint64_t count, uint32_t last, uint64_t last_seq,
                      uint64_t extra) {
    dbk_term_value *value = &source->value;
    uint8_t kind = *(const uint8_t *)source->term.data;
    value->count = count;
    value->last = last;
    value->last_seq = last_seq;
    value->last_version = kind == DBK_TERM_AGGREGATE ? extra : 0;
    if (kind != DBK_TERM_DEAD_ID) return;
    value->last_seq = 0;
    value->dead_stream_id = (uint32_t)(extra >> 1);
    value->dead_for_ever = (extra & 1) != 0;
    value->dead_removed_ns = dbk_unzigzag(last_seq);
}

static daybook_status next_in_memory(dbk_term_source *base, daybook_error *error) {
    (void)error;
    memory_source *source = (memory_source *)(void *)base;
    if (source->next_index == source->gather->term_count) return DAYBOOK_END;
    const sort_item *items = source->gather->sorted;
    if (source->next_index + 4 < source->gather->term_count)
        __builtin_prefetch(items[source->next_index + 4].record);
    const term_record *record = items[source->next_index++].record;
    base->term = daybook_bytes(record_term(record), record->size);
    set_value(base, record->count, record->last, record->last_seq, record_extra(record));
    source->piece = record->head == NOTHING ? NULL : heap_at(&source->gather->pieces, record->head);
    source->at = source->piece == NULL ? NULL : source->piece->bytes;
    source->left = record->count;
    source->number = record->first;
    return DAYBOOK_OK;
}

static uint32_t take_distance(memory_source *source) {
    if (source->at == source->piece->bytes + source->piece->used) {
        source->piece = heap_at(&source->gather->pieces, source->piece->next);
        source->at = source->piece->bytes;
    }
    uint32_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = *source->at++;
        value |= (uint32_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
}

static daybook_status take_from_memory(dbk_term_source *base, uint32_t *numbers_out, size_t capacity,
                                       size_t *count_out, daybook_error *error) {
    (void)error;
    memory_source *source = (memory_source *)(void *)base;
    size_t count = 0;
    uint64_t total = base->value.count;
    for (; count < capacity && source->left > 0; count++, source->left--) {
        if (source->left < total) source->number += take_distance(source) + 1;
        numbers_out[count] = source->number;
    }
    *count_out = count;
    return DAYBOOK_OK;
}

static void close_memory(dbk_term_source *base) {
    (void)base; // The gather owns everything.
}

static void open_memory(dbk_gather *gather) {
    memory_source *source = &gather->memory;
    memset(source, 0, sizeof *source);
    source->base.next = next_in_memory;
    source->base.take = take_from_memory;
    source->base.close = close_memory;
    source->gather = gather;
}

// ---- Writing a run ----------------------------------------------------------------------------------------

typedef struct run_writer {
    dbk_gather *gather;
    uint8_t *chunk;
    size_t size;
    daybook_status status; // the first failure; behind it nothing is written
    daybook_error *error;
} run_writer;

static void flush_run_chunk(run_writer *writer) {
    dbk_slice payload = daybook_bytes(writer->chunk, writer->size);
    writer->size = 0;
    if (writer->status == DAYBOOK_OK)
        writer->status = dbk_file_write_chunk(&writer->gather->run_writer, payload, NULL, writer->error);
}

static void put_run_bytes(run_writer *writer, const void *data, size_t size) {
    const uint8_t *at = data;
    while (size > 0) {
        size_t part = RUN_CHUNK - writer->size;
        if (part > size) part = size;
        memcpy(writer->chunk + writer->size, at, part);
        writer->size += part;
        at += part;
        size -= part;
        if (writer->size == RUN_CHUNK) flush_run_chunk(writer);
    }
}

static void put_run_varint(run_writer *writer, uint64_t value) {
    uint8_t bytes[DBK_VARINT_SIZE_MAX];
    put_run_bytes(writer, bytes, dbk_put_varint(bytes, value));
}

static void put_run_record(run_writer *writer, const term_record *record) {
    put_run_varint(writer, record->size);
    put_run_bytes(writer, record_term(record), record->size);
    put_run_varint(writer, record->count);
    put_run_varint(writer, record->last_seq);
    put_run_varint(writer, record_extra(record));
    if (record->count == 0) return;
    put_run_varint(writer, record->first);
    for (uint32_t name = record->head; name != NOTHING;) {
        const number_piece *piece = heap_at(&writer->gather->pieces, name);
        put_run_bytes(writer, piece->bytes, piece->used);
        name = piece->next;
    }
}

static daybook_status open_run_file(dbk_gather *gather, daybook_error *error) {
    if (gather->has_run_file) return DAYBOOK_OK;
    DBK_TRY(dbk_file_writer_open(&gather->run_writer, gather->allocator, gather->vfs, gather->temporary_path,
                                 false, gather->memory_max, error));
    gather->has_run_file = true;
    uint8_t seed[8];
    int result = gather->vfs->entropy(gather->vfs, seed, sizeof seed);
    if (result < 0) return dbk_fail_system(error, result, "draw random bytes for", gather->temporary_path, 0);
    gather->run_writer.seed = dbk_get_u64(seed); // So that a leftover never passes for this file.
    return DAYBOOK_OK;
}

static daybook_status write_run(dbk_gather *gather, daybook_error *error) {
    DBK_TRY(open_run_file(gather, error));
    if (sort_terms(gather) != DAYBOOK_OK) return out_of_memory(error);
    run_writer writer = {gather, dbk_alloc(gather->allocator, RUN_CHUNK), 0, DAYBOOK_OK, error};
    if (writer.chunk == NULL) return out_of_memory(error);
    for (size_t i = 0; i < gather->term_count && writer.status == DAYBOOK_OK; i++)
        put_run_record(&writer, gather->sorted[i].record);
    if (writer.size > 0) flush_run_chunk(&writer);
    dbk_free(gather->allocator, writer.chunk);
    if (writer.status != DAYBOOK_OK) return writer.status;
    dbk_buf_append_u64(&gather->run_ends, gather->run_writer.offset);
    if (gather->run_ends.failed) return out_of_memory(error);

    dbk_free(gather->allocator, gather->sorted);
    gather->sorted = NULL;
    heap_reset(&gather->records, 0);
    heap_reset(&gather->pieces, 0);
    memset(gather->slots, 0xff, gather->slot_count * sizeof *gather->slots);
    memset(gather->recent, 0, sizeof gather->recent);
    for (size_t i = 0; i < SHARED_KINDS; i++) gather->recent[i].pending = NOTHING;
    gather->term_count = 0;
    return DAYBOOK_OK;
}

// ---- A run as a source ------------------------------------------------------------------------------------

static daybook_status load_run_chunk(run_source *source, daybook_error *error) {
    if (source->next_chunk == source->end) return DAYBOOK_END;
    uint64_t left = source->end - source->next_chunk;
    size_t size = left < RUN_CHUNK + DBK_CHUNK_CHECKSUM_SIZE ? (size_t)left
                                                             : RUN_CHUNK + DBK_CHUNK_CHECKSUM_SIZE;
    size -= DBK_CHUNK_CHECKSUM_SIZE;
    DBK_TRY(dbk_chunk_read(source->reader, source->next_chunk, size, "a run of terms", source->chunk, error));
    source->next_chunk += size + DBK_CHUNK_CHECKSUM_SIZE;
    dbk_reader_init(&source->bytes, daybook_bytes(source->chunk, size));
    return DAYBOOK_OK;
}

static daybook_status damaged_run(run_source *source, daybook_error *error) {
    return dbk_chunk_damaged(source->reader, source->next_chunk, "a run of terms", error);
}

// Bytes behind a failure are zeros. A run that ends within a record is damaged.
static void get_run_bytes(run_source *source, uint8_t *out, size_t size, daybook_error *error) {
    memset(out, 0, size);
    while (size > 0 && source->status == DAYBOOK_OK) {
        size_t part = dbk_reader_left(&source->bytes);
        if (part == 0) {
            source->status = load_run_chunk(source, error);
            if (source->status == DAYBOOK_END) source->status = damaged_run(source, error);
            continue;
        }
        if (part > size) part = size;
        memcpy(out, dbk_read_bytes(&source->bytes, part).data, part);
        out += part;
        size -= part;
    }
}

static uint64_t get_run_varint(run_source *source, daybook_error *error) {
    uint64_t value = 0;
    if (dbk_reader_left(&source->bytes) >= DBK_VARINT_SIZE_MAX) {
        value = dbk_read_varint(&source->bytes);
        if (source->bytes.failed) source->status = damaged_run(source, error);
        return value;
    }
    uint8_t byte = 0x80;
    for (unsigned shift = 0; byte >= 0x80; shift += 7) {
        if (shift > 63) {
            source->status = damaged_run(source, error);
            break;
        }
        get_run_bytes(source, &byte, 1, error);
        value |= (uint64_t)(byte & 0x7f) << shift;
    }
    return value;
}

static daybook_status take_from_run(dbk_term_source *base, uint32_t *numbers_out, size_t capacity,
                                    size_t *count_out, daybook_error *error) {
    run_source *source = (run_source *)(void *)base;
    size_t count = 0;
    for (; count < capacity && source->left > 0; count++, source->left--) {
        uint32_t distance = (uint32_t)get_run_varint(source, error);
        if (source->status != DAYBOOK_OK) return source->status;
        source->number = source->is_first_number ? distance : source->number + distance + 1;
        source->is_first_number = false;
        numbers_out[count] = source->number;
    }
    *count_out = count;
    return DAYBOOK_OK;
}

static daybook_status next_in_run(dbk_term_source *base, daybook_error *error) {
    run_source *source = (run_source *)(void *)base;
    if (source->left > 0) return damaged_run(source, error); // who merges takes all numbers of a term
    if (dbk_reader_left(&source->bytes) == 0) DBK_TRY(load_run_chunk(source, error)); // END: the run's end
    uint64_t size = get_run_varint(source, error);
    bool is_term = size >= 1 && size <= DBK_TERM_SIZE_MAX;
    if (is_term) get_run_bytes(source, source->term.bytes, (size_t)size, error);
    uint64_t count = get_run_varint(source, error);
    uint64_t last_seq = get_run_varint(source, error);
    uint64_t extra = get_run_varint(source, error);
    if (source->status != DAYBOOK_OK) return source->status;
    if (!is_term || count > UINT32_MAX) return damaged_run(source, error);
    source->term.size = (size_t)size;
    source->left = (uint32_t)count;
    source->is_first_number = true;
    base->term = dbk_term_slice(&source->term);
    // The last number is not known before all are read; who merges takes it from the postings.
    set_value(base, count, 0, last_seq, extra);
    return DAYBOOK_OK;
}

static daybook_status open_runs(dbk_gather *gather, daybook_error *error) {
    size_t count = gather->run_ends.size / sizeof(uint64_t);
    if (count == 0) return DAYBOOK_OK;
    DBK_TRY(dbk_file_writer_flush(&gather->run_writer, error));
    gather->run_reader.vfs = gather->vfs;
    gather->run_reader.file = gather->run_writer.file;
    gather->run_reader.path = gather->temporary_path;
    gather->run_reader.seed = gather->run_writer.seed;
    gather->run_reader.size = gather->run_writer.offset;
    gather->runs = dbk_alloc_zeroed(gather->allocator, count * sizeof *gather->runs);
    if (gather->runs == NULL) return out_of_memory(error);
    gather->run_count = count;
    uint64_t begin = 0;
    for (size_t i = 0; i < count; i++) {
        run_source *source = &gather->runs[i];
        source->base.next = next_in_run;
        source->base.take = take_from_run;
        source->base.close = close_memory;
        source->reader = &gather->run_reader;
        source->next_chunk = begin;
        source->end = begin = dbk_get_u64(gather->run_ends.data + i * sizeof(uint64_t));
        source->chunk = dbk_alloc(gather->allocator, RUN_CHUNK + DBK_CHUNK_CHECKSUM_SIZE);
        if (source->chunk == NULL) return out_of_memory(error);
        dbk_reader_init(&source->bytes, daybook_bytes(NULL, 0));
    }
    return DAYBOOK_OK;
}

daybook_status dbk_gather_finish(dbk_gather *gather, dbk_term_source *const **sources_out, size_t *count_out,
                                 daybook_error *error) {
    DBK_TRY(end_batch(gather, error));
    DBK_TRY(open_runs(gather, error));
    if (sort_terms(gather) != DAYBOOK_OK) return out_of_memory(error);
    open_memory(gather);
    gather->sources =
        dbk_resize_array(gather->allocator, NULL, gather->run_count + 1, sizeof *gather->sources);
    if (gather->sources == NULL) return out_of_memory(error);
    for (size_t i = 0; i < gather->run_count; i++) gather->sources[i] = &gather->runs[i].base;
    gather->sources[gather->run_count] = &gather->memory.base;
    *sources_out = gather->sources;
    *count_out = gather->run_count + 1;
    return DAYBOOK_OK;
}
