// SPDX-License-Identifier: Apache-2.0
// A whole state as bytes: the format is in state.h. Messages pass through blocks of 1,024, each a column at a
// time, so that what is equal among neighbours costs nothing.
#include "consumer/state.h"

#include "base/error.h"

enum { VERSION = 3, VERSION_WITHOUT_GIVEN_UP = 2, VERSION_MIN = 1, BLOCK_ENTRIES = 1024 };

// Messages on their way between memory and bytes.
typedef struct block {
    dbk_delivery_entry entries[BLOCK_ENTRIES];
    size_t count;
    uint64_t last_seq, last_number, last_deadline;
    bool in_order;
} block;

// ---- Encoding ---------------------------------------------------------------------------------------------

static void encode_deadlines(block *from, dbk_buf *buf) {
    for (size_t i = 0; i < from->count;) {
        uint64_t deadline = from->entries[i].deadline;
        size_t end = i + 1;
        while (end < from->count && from->entries[end].deadline == deadline) end++;
        dbk_buf_append_varint(buf, end - i);
        dbk_buf_append_varint(buf, dbk_zigzag((int64_t)(deadline - from->last_deadline)));
        from->last_deadline = deadline;
        i = end;
    }
}

static void encode_deliveries(const block *from, dbk_buf *buf) {
    for (size_t i = 0; i < from->count;) {
        uint64_t deliveries = from->entries[i].deliveries;
        size_t end = i + 1;
        while (end < from->count && from->entries[end].deliveries == deliveries) end++;
        dbk_buf_append_varint(buf, end - i);
        dbk_buf_append_varint(buf, deliveries);
        i = end;
    }
}

static void encode_block(block *from, dbk_buf *buf) {
    for (size_t i = 0; i < from->count; i++) {
        dbk_buf_append_varint(buf, from->entries[i].seq - from->last_seq);
        from->last_seq = from->entries[i].seq;
    }
    for (size_t i = 0; i < from->count; i++) {
        uint64_t number = from->entries[i].number;
        dbk_buf_append_varint(buf, number == 0 ? 0 : dbk_zigzag((int64_t)(number - from->last_number)) + 1);
        if (number != 0) from->last_number = number;
    }
    encode_deadlines(from, buf);
    encode_deliveries(from, buf);
    for (size_t i = 0; from->in_order && i < from->count; i++)
        dbk_buf_append_u64(buf, from->entries[i].aggregate);
    from->count = 0;
}

static void encode_seqs(const uint64_t *seqs, size_t count, uint64_t behind, dbk_buf *buf) {
    size_t at = 0;
    while (at < count && seqs[at] <= behind) at++;
    dbk_buf_append_varint(buf, count - at);
    for (uint64_t last = 0; at < count; last = seqs[at++]) dbk_buf_append_varint(buf, seqs[at] - last);
}

static void encode_ranges(const dbk_seq_set *set, dbk_buf *buf) {
    dbk_buf_append_varint(buf, set->count);
    uint64_t last = 0;
    for (size_t i = 0; i < set->count; i++) {
        dbk_buf_append_varint(buf, set->items[i].first - last);
        dbk_buf_append_varint(buf, set->items[i].last - set->items[i].first);
        last = set->items[i].last;
    }
}

static daybook_status encode_entries(const dbk_delivery *delivery, dbk_buf *buf) {
    const dbk_pending *pending = &delivery->pending;
    block *into = dbk_alloc(delivery->allocator, sizeof *into);
    if (into == NULL) return DAYBOOK_ENOMEM;
    into->count = 0;
    into->last_seq = into->last_number = into->last_deadline = 0;
    into->in_order = delivery->rules.in_order;
    dbk_buf_append_varint(buf, pending->count);
    dbk_pending_place place = dbk_pending_seek(pending, 0);
    for (; place.entry != NULL; place = dbk_pending_next(pending, &place)) {
        uint64_t number = dbk_pending_number(pending, &place);
        into->entries[into->count++] = (dbk_delivery_entry){
            .seq = place.seq,
            .number = number,
            .deadline = number == 0 ? 0 : delivery->tick_base + place.entry->deadline,
            .deliveries = place.entry->deliveries,
            .aggregate = dbk_pending_aggregate(pending, &place),
        };
        if (into->count == BLOCK_ENTRIES) encode_block(into, buf);
    }
    encode_block(into, buf);
    dbk_free(delivery->allocator, into);
    return dbk_buf_status(buf);
}

daybook_status dbk_consumer_state_encode(const dbk_delivery *delivery, const dbk_consumer_start *start,
                                         dbk_buf *buf) {
    bool has_given_up = delivery->given_up.count > 0;
    dbk_buf_append_u8(buf, has_given_up ? VERSION : VERSION_WITHOUT_GIVEN_UP);
    dbk_buf_append_u8(buf, delivery->rules.in_order);
    dbk_buf_append_u64(buf, delivery->delivered_seq);
    dbk_buf_append_u64(buf, delivery->number);
    dbk_buf_append_u64(buf, delivery->given_up_count);
    dbk_buf_append_u64(buf, delivery->delivered_at);
    dbk_buf_append_u64(buf, delivery->acked_at);
    dbk_buf_append_u64(buf, start->first_seq);
    encode_seqs(start->list, start->list_count, delivery->delivered_seq, buf);
    encode_seqs(delivery->early, delivery->early_count, delivery->delivered_seq, buf);
    if (has_given_up) encode_ranges(&delivery->given_up, buf);
    return encode_entries(delivery, buf);
}

// ---- Decoding ---------------------------------------------------------------------------------------------

static daybook_status decode_list(dbk_reader *reader, const daybook_allocator *allocator,
                                  dbk_consumer_start *start) {
    uint64_t count = dbk_read_varint(reader);
    // A gap takes a byte at least.
    if (reader->failed || count > dbk_reader_left(reader)) return DAYBOOK_EDAMAGED;
    if (count == 0) return DAYBOOK_OK;
    start->list = dbk_resize_array(allocator, NULL, (size_t)count, sizeof *start->list);
    if (start->list == NULL) return DAYBOOK_ENOMEM;
    start->list_count = (size_t)count;
    uint64_t last = 0;
    for (size_t i = 0; i < start->list_count; i++) {
        uint64_t gap = dbk_read_varint(reader);
        if (gap == 0 || gap > UINT64_MAX - last) return DAYBOOK_EDAMAGED;
        last = start->list[i] = last + gap;
    }
    return reader->failed || last >= start->first_seq ? DAYBOOK_EDAMAGED : DAYBOOK_OK;
}

static daybook_status decode_early(dbk_reader *reader, uint64_t delivered_seq, dbk_delivery *delivery) {
    uint64_t count = dbk_read_varint(reader), last = 0;
    if (reader->failed || count > dbk_reader_left(reader)) return DAYBOOK_EDAMAGED;
    for (; count > 0; count--) {
        uint64_t gap = dbk_read_varint(reader);
        if (gap == 0 || gap > UINT64_MAX - last || last + gap <= delivered_seq) return DAYBOOK_EDAMAGED;
        last += gap;
        DBK_TRY(dbk_delivery_restore_early(delivery, last));
    }
    return reader->failed ? DAYBOOK_EDAMAGED : DAYBOOK_OK;
}

// Ranges of what was delivered, that do not touch.
static daybook_status decode_ranges(dbk_reader *reader, uint64_t delivered_seq, dbk_delivery *delivery) {
    uint64_t count = dbk_read_varint(reader), last = 0;
    if (reader->failed || count > DBK_GIVEN_UP_RANGES_MAX) return DAYBOOK_EDAMAGED;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t gap = dbk_read_varint(reader), more = dbk_read_varint(reader);
        if (reader->failed || gap < (i == 0 ? 1 : 2) || gap > delivered_seq - last ||
            more > delivered_seq - last - gap)
            return DAYBOOK_EDAMAGED;
        last += gap + more;
        DBK_TRY(dbk_seq_set_add(&delivery->given_up, delivery->allocator, last - more, last));
    }
    return DAYBOOK_OK;
}

static bool decode_numbers(dbk_reader *reader, block *into) {
    for (size_t i = 0; i < into->count; i++) {
        uint64_t gap = dbk_read_varint(reader);
        if (gap == 0 || gap > UINT64_MAX - into->last_seq) return false;
        into->entries[i].seq = into->last_seq += gap;
    }
    for (size_t i = 0; i < into->count; i++) {
        uint64_t code = dbk_read_varint(reader);
        into->entries[i].number = 0;
        if (code == 0) continue;
        into->last_number += (uint64_t)dbk_unzigzag(code - 1);
        if (into->last_number == 0) return false;
        into->entries[i].number = into->last_number;
    }
    return !reader->failed;
}

static bool decode_runs(dbk_reader *reader, block *into) {
    for (size_t i = 0; i < into->count;) {
        uint64_t count = dbk_read_varint(reader);
        into->last_deadline += (uint64_t)dbk_unzigzag(dbk_read_varint(reader));
        if (reader->failed || count == 0 || count > into->count - i) return false;
        for (; count > 0; count--) into->entries[i++].deadline = into->last_deadline;
    }
    for (size_t i = 0; i < into->count;) {
        uint64_t count = dbk_read_varint(reader), deliveries = dbk_read_varint(reader);
        if (reader->failed || count == 0 || count > into->count - i) return false;
        for (; count > 0; count--) into->entries[i++].deliveries = deliveries;
    }
    for (size_t i = 0; i < into->count; i++)
        into->entries[i].aggregate = into->in_order ? dbk_read_u64(reader) : 0;
    return !reader->failed;
}

static daybook_status decode_blocks(dbk_reader *reader, uint64_t left, block *into, dbk_delivery *delivery) {
    while (left > 0) {
        into->count = left < BLOCK_ENTRIES ? (size_t)left : BLOCK_ENTRIES;
        if (!decode_numbers(reader, into) || !decode_runs(reader, into)) return DAYBOOK_EDAMAGED;
        for (size_t i = 0; i < into->count; i++) DBK_TRY(dbk_delivery_restore(delivery, &into->entries[i]));
        left -= into->count;
    }
    return dbk_reader_left(reader) == 0 ? DAYBOOK_OK : DAYBOOK_EDAMAGED;
}

static daybook_status decode_entries(dbk_reader *reader, dbk_delivery *delivery) {
    uint64_t count = dbk_read_varint(reader);
    if (reader->failed || count > dbk_reader_left(reader)) return DAYBOOK_EDAMAGED;
    block *into = dbk_alloc(delivery->allocator, sizeof *into);
    if (into == NULL) return DAYBOOK_ENOMEM;
    into->last_seq = into->last_number = into->last_deadline = 0;
    into->in_order = delivery->rules.in_order;
    daybook_status status = decode_blocks(reader, count, into, delivery);
    dbk_free(delivery->allocator, into);
    return status;
}

daybook_status dbk_consumer_state_decode(dbk_slice bytes, dbk_delivery *delivery,
                                         dbk_consumer_start *start_out) {
    dbk_reader reader;
    dbk_reader_init(&reader, bytes);
    *start_out = (dbk_consumer_start){0};
    uint8_t version = dbk_read_u8(&reader);
    if (version < VERSION_MIN || version > VERSION) return reader.failed ? DAYBOOK_EDAMAGED : DAYBOOK_EFORMAT;
    if (dbk_read_u8(&reader) != delivery->rules.in_order) return DAYBOOK_EDAMAGED;
    uint64_t delivered_seq = dbk_read_u64(&reader);
    uint64_t number = dbk_read_u64(&reader);
    delivery->given_up_count = dbk_read_u64(&reader);
    delivery->delivered_at = dbk_read_u64(&reader);
    delivery->acked_at = dbk_read_u64(&reader);
    start_out->first_seq = dbk_read_u64(&reader);
    daybook_status status = decode_list(&reader, delivery->allocator, start_out);
    if (status == DAYBOOK_OK && version > 1) status = decode_early(&reader, delivered_seq, delivery);
    if (status == DAYBOOK_OK && version > VERSION_WITHOUT_GIVEN_UP)
        status = decode_ranges(&reader, delivered_seq, delivery);
    if (status == DAYBOOK_OK) status = decode_entries(&reader, delivery);
    if (status == DAYBOOK_OK && (delivery->delivered_seq > delivered_seq || delivery->number > number))
        status = DAYBOOK_EDAMAGED;
    if (status == DAYBOOK_OK) {
        delivery->delivered_seq = delivered_seq;
        delivery->number = number;
        return DAYBOOK_OK;
    }
    dbk_free(delivery->allocator, start_out->list);
    *start_out = (dbk_consumer_start){0};
    return status;
}

daybook_status dbk_consumer_changes_replay(dbk_slice bytes, dbk_delivery *delivery) {
    dbk_changes_reader reader;
    uint64_t delivered_at, acked_at;
    DBK_TRY(dbk_changes_read(bytes, &reader, &delivered_at, &acked_at));
    dbk_change change;
    daybook_status status;
    while ((status = dbk_changes_next(&reader, &change)) == DAYBOOK_OK)
        DBK_TRY(dbk_delivery_replay(delivery, &change));
    if (delivered_at > delivery->delivered_at) delivery->delivered_at = delivered_at;
    if (acked_at > delivery->acked_at) delivery->acked_at = acked_at;
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}
