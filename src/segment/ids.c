// SPDX-License-Identifier: Apache-2.0
// How a segment finds an event by its id.
//
// Two kinds of ids:
//   made by the store   UUIDv7 whose milliseconds are those of `recorded`. They stand in no table: the blocks
//                       recorded in that millisecond are read and compared. Nothing is stored for them.
//   supplied            A 48-bit fingerprint of (stream id, id key) is a term of the dictionary (DBK_TERM_ID)
//                       with the event's position as its posting; the event itself decides. Seeded with the
//                       store's UUID, so that nobody outside can prepare ids that collide.
// Ids whose events are gone are terms too (DBK_TERM_DEAD_ID), with all 128 bits of the hash since there is no
// event left to compare with. Being terms, they share the dictionary's pages, filters, merging and checks.
//
// An event flagged as made whose id does not carry its recorded time (which the store never writes) is
// treated as supplied, so that every stored id is found one way or the other. Any thread.
#include <xxhash.h>

#include "base/assert.h"
#include "base/time.h"
#include "segment/gather.h"
#include "segment/reader.h"

enum { FINGERPRINT_SIZE = 6 };

void dbk_id_hash(uint64_t id_seed, uint32_t stream_id, dbk_slice id_key, uint8_t hash_out[16]) {
    uint8_t bytes[4 + DBK_KEY_SIZE_MAX];
    DBK_ASSERT(id_key.size <= DBK_KEY_SIZE_MAX);
    dbk_put_u32(bytes, stream_id);
    if (id_key.size > 0) memcpy(bytes + 4, id_key.data, id_key.size);
    XXH128_hash_t hash = XXH3_128bits_withSeed(bytes, 4 + id_key.size, id_seed);
    dbk_put_u64(hash_out, hash.low64);
    dbk_put_u64(hash_out + 8, hash.high64);
}

void dbk_id_term(dbk_term *term, const uint8_t hash[16]) {
    term->bytes[0] = DBK_TERM_ID;
    memcpy(term->bytes + 1, hash, FINGERPRINT_SIZE);
    term->size = 1 + FINGERPRINT_SIZE;
}

void dbk_dead_id_term(dbk_term *term, const uint8_t hash[16]) {
    term->bytes[0] = DBK_TERM_DEAD_ID;
    memcpy(term->bytes + 1, hash, 16);
    term->size = 17;
}

// The begin of the millisecond an id key of a UUIDv7 names.
static bool millisecond_of(dbk_slice id_key, int64_t *time_ns_out) {
    dbk_uuid uuid;
    const uint8_t *data = id_key.data;
    if (id_key.size != 17 || data[0] != 'U') return false;
    memcpy(uuid.bytes, data + 1, 16);
    return dbk_uuid_v7_time_ns(&uuid, time_ns_out);
}

static int64_t floor_millisecond(int64_t time_ns) {
    int64_t rest = time_ns % DBK_MILLISECOND_NS;
    return time_ns - rest - (rest < 0 ? DBK_MILLISECOND_NS : 0);
}

bool dbk_id_is_by_time(const dbk_event *event) {
    int64_t time_ns;
    if ((event->flags & DBK_EVENT_ID_MADE) == 0 || !millisecond_of(event->id_key, &time_ns)) return false;
    return time_ns == floor_millisecond(event->recorded_ns);
}

static void add_position(dbk_id_lookup *lookup, uint64_t position) {
    size_t capacity = sizeof lookup->positions / sizeof lookup->positions[0];
    size_t at = lookup->count;
    while (at > 0 && lookup->positions[at - 1] < position) at--;
    if (at > 0 && lookup->positions[at - 1] == position) return; // by its id and by its time
    if (at == capacity) return;                                  // Full of newer ones.
    size_t last = lookup->count < capacity ? lookup->count : capacity - 1;
    for (size_t i = last; i > at; i--) lookup->positions[i] = lookup->positions[i - 1];
    lookup->positions[at] = position;
    if (lookup->count < capacity) lookup->count++;
}

static daybook_status find_supplied(dbk_segment *segment, const uint8_t hash[16], dbk_id_lookup *lookup,
                                    daybook_error *error) {
    dbk_term term;
    dbk_id_term(&term, hash);
    dbk_term_entry entry;
    daybook_status status = dbk_segment_find_term(segment, dbk_term_slice(&term), &entry, error);
    if (status == DAYBOOK_ENOTFOUND) return DAYBOOK_OK;
    if (status != DAYBOOK_OK) return status;
    dbk_postings *postings;
    DBK_TRY(dbk_postings_open(segment, &entry, &postings, error));
    uint64_t position = UINT64_MAX;
    size_t capacity = sizeof lookup->positions / sizeof lookup->positions[0];
    while (lookup->count < capacity) {
        status = dbk_postings_seek_back(postings, position, &position, error);
        if (status != DAYBOOK_OK) break;
        add_position(lookup, position);
        if (position-- == 0) break;
    }
    dbk_postings_close(postings);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status find_dead(dbk_segment *segment, const uint8_t hash[16], dbk_id_lookup *lookup,
                                daybook_error *error) {
    dbk_term term;
    dbk_dead_id_term(&term, hash);
    dbk_term_value value;
    daybook_status status = dbk_segment_find_value(segment, dbk_term_slice(&term), &value, error);
    if (status == DAYBOOK_ENOTFOUND) return DAYBOOK_OK;
    if (status != DAYBOOK_OK) return status;
    lookup->dead = true;
    lookup->dead_for_ever = value.dead_for_ever;
    lookup->dead_removed_ns = value.dead_removed_ns;
    return DAYBOOK_OK;
}

static daybook_status search_block(const dbk_block_view *view, uint32_t stream_id, dbk_slice id_key,
                                   dbk_id_lookup *lookup) {
    for (uint32_t i = 0; i < view->event_count; i++) {
        dbk_event event;
        DBK_TRY(dbk_block_event(view, i, &event, NULL));
        if (event.stream_id != stream_id || !dbk_slice_equal(event.id_key, id_key)) continue;
        add_position(lookup, event.position);
    }
    return DAYBOOK_OK;
}

static bool is_of_its_time(const dbk_segment *segment, dbk_slice id_key, int64_t *first_ns_out) {
    const dbk_segment_summary *summary = dbk_segment_get_summary(segment);
    return millisecond_of(id_key, first_ns_out) && summary->event_count > 0 &&
           floor_millisecond(summary->recorded_first_ns) <= *first_ns_out &&
           summary->recorded_last_ns >= *first_ns_out;
}

static daybook_status find_made(dbk_segment *segment, uint32_t stream_id, dbk_slice id_key,
                                dbk_id_lookup *lookup, daybook_error *error) {
    int64_t first_ns;
    if (!is_of_its_time(segment, id_key, &first_ns)) return DAYBOOK_OK;
    int64_t last_ns = first_ns > INT64_MAX - DBK_MILLISECOND_NS ? INT64_MAX
                                                                : first_ns + DBK_MILLISECOND_NS - 1;
    uint32_t number;
    daybook_status status = dbk_segment_find_block_recorded(segment, first_ns, &number, error);
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    for (; status == DAYBOOK_OK && number < dbk_segment_block_count(segment); number++) {
        dbk_block_info info;
        status = dbk_segment_block_info(segment, number, &info, error);
        if (status != DAYBOOK_OK || info.recorded_first_ns > last_ns) break;
        status = dbk_block_load(segment, number, &view, error);
        if (status == DAYBOOK_OK) status = search_block(&view, stream_id, id_key, lookup);
        if (status == DAYBOOK_EDAMAGED) status = dbk_block_damaged(segment, info.file_offset, error);
    }
    dbk_block_release(&view);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

void dbk_segment_id_terms(const dbk_segment *segment, uint32_t stream_id, dbk_slice id_key,
                          dbk_term *stored_out, dbk_term *removed_out) {
    uint8_t hash[16];
    dbk_id_hash(dbk_segment_id_seed(segment), stream_id, id_key, hash);
    dbk_id_term(stored_out, hash);
    dbk_dead_id_term(removed_out, hash);
}

bool dbk_segment_may_have_made_id(const dbk_segment *segment, dbk_slice id_key) {
    int64_t first_ns;
    return is_of_its_time(segment, id_key, &first_ns);
}

daybook_status dbk_segment_find_id(dbk_segment *segment, uint32_t stream_id, dbk_slice id_key,
                                   dbk_id_lookup *lookup_out, daybook_error *error) {
    memset(lookup_out, 0, sizeof *lookup_out);
    uint8_t hash[16];
    dbk_id_hash(dbk_segment_id_seed(segment), stream_id, id_key, hash);
    DBK_TRY(find_supplied(segment, hash, lookup_out, error));
    DBK_TRY(find_dead(segment, hash, lookup_out, error));
    return find_made(segment, stream_id, id_key, lookup_out, error);
}
