// SPDX-License-Identifier: Apache-2.0
// Journal records other than events; formats in record.h. A removal names positions as gaps and lengths, so
// that the common cases (one event, a run at the front) take a few bytes. Decoding checks all of it at once,
// so that whoever iterates later has no failure to handle. Pure, any thread.
#include "record/record.h"

enum { SIZE_BITS = 28, HEAD_SIZE = 4 };

// Whether a catalogue kind or reason from disk is one we know.
static bool is_reason(uint8_t reason) {
    return reason >= DBK_REMOVE_DELETE && reason <= DBK_REMOVE_ROLLUP;
}

static bool is_catalogue_kind(uint8_t kind) {
    return kind >= DBK_CATALOGUE_STREAM && kind <= DBK_CATALOGUE_SCHEMA;
}

daybook_status dbk_record_peek(dbk_slice bytes, dbk_record_kind *kind_out, size_t *size_out) {
    if (bytes.size < HEAD_SIZE) return DAYBOOK_EDAMAGED;
    uint32_t head = dbk_get_u32(bytes.data);
    size_t size = head & DBK_RECORD_SIZE_MAX;
    uint32_t kind = head >> SIZE_BITS;
    if (size < HEAD_SIZE || size > bytes.size) return DAYBOOK_EDAMAGED;
    if (kind < DBK_RECORD_EVENT || kind > DBK_RECORD_POSITIONS) return DAYBOOK_EFORMAT;
    *kind_out = (dbk_record_kind)kind;
    *size_out = size;
    return DAYBOOK_OK;
}

// Patch the head of the record that began at `start`, now that its size is known.
static daybook_status finish(dbk_buf *buf, size_t start, dbk_record_kind kind) {
    DBK_TRY(dbk_buf_status(buf));
    size_t size = buf->size - start;
    if (size > DBK_RECORD_SIZE_MAX) {
        buf->size = start;
        return DAYBOOK_ELIMIT;
    }
    dbk_put_u32(buf->data + start, (uint32_t)size | (uint32_t)kind << SIZE_BITS);
    return DAYBOOK_OK;
}

// A whole record of this kind behind its head; false where it is none.
static bool open_record(dbk_slice record, dbk_record_kind wanted, dbk_reader *reader_out) {
    dbk_record_kind kind;
    size_t size;
    if (dbk_record_peek(record, &kind, &size) != DAYBOOK_OK || kind != wanted || size != record.size)
        return false;
    dbk_reader_init(reader_out, record);
    (void)dbk_read_u32(reader_out);
    return true;
}

// ---- Removals ----

daybook_status dbk_remove_encode(const dbk_remove *remove, const dbk_position_range *ranges,
                                 size_t range_count, dbk_buf *buf) {
    size_t start = buf->size;
    dbk_buf_append_u32(buf, 0);
    dbk_buf_append_u32(buf, remove->stream_id);
    dbk_buf_append_u8(buf, (uint8_t)remove->reason);
    dbk_buf_append_u8(buf, 0);
    dbk_buf_append_u16(buf, 0);
    dbk_buf_append_varint(buf, remove->removed_count);
    dbk_buf_append_varint(buf, remove->removed_bytes);
    dbk_buf_append_varint(buf, remove->first_seq);
    dbk_buf_append_varint(buf, remove->first_position);
    dbk_buf_append_varint(buf, range_count);
    uint64_t end = 0;
    for (size_t i = 0; i < range_count; i++) {
        dbk_buf_append_varint(buf, ranges[i].first - end);
        dbk_buf_append_varint(buf, ranges[i].last - ranges[i].first);
        end = ranges[i].last + 1;
    }
    return finish(buf, start, DBK_RECORD_REMOVE);
}

// One range behind `*end`; false where numbers overflow, ranges touch or bytes are missing.
static bool take_range(dbk_reader *reader, bool is_first, uint64_t *end, dbk_position_range *range_out) {
    uint64_t gap = dbk_read_varint(reader);
    uint64_t length_less_1 = dbk_read_varint(reader);
    if (reader->failed || (gap == 0 && !is_first)) return false;
    if (gap > UINT64_MAX - *end) return false;
    uint64_t first = *end + gap;
    if (length_less_1 >= UINT64_MAX - first) return false;
    *range_out = (dbk_position_range){.first = first, .last = first + length_less_1};
    *end = range_out->last + 1;
    return true;
}

daybook_status dbk_remove_decode(dbk_slice record, dbk_remove *remove_out) {
    dbk_reader reader;
    if (!open_record(record, DBK_RECORD_REMOVE, &reader)) return DAYBOOK_EDAMAGED;
    dbk_remove remove = {.stream_id = dbk_read_u32(&reader)};
    uint8_t reason = dbk_read_u8(&reader);
    uint8_t flags = dbk_read_u8(&reader);
    uint16_t zero = dbk_read_u16(&reader);
    if (!is_reason(reason) || flags != 0 || zero != 0) return DAYBOOK_EDAMAGED;
    remove.reason = (dbk_remove_reason)reason;
    remove.removed_count = dbk_read_varint(&reader);
    remove.removed_bytes = dbk_read_varint(&reader);
    remove.first_seq = dbk_read_varint(&reader);
    remove.first_position = dbk_read_varint(&reader);
    remove.range_count = dbk_read_varint(&reader);
    if (reader.failed) return DAYBOOK_EDAMAGED;
    remove.ranges = daybook_bytes(reader.at, dbk_reader_left(&reader));
    uint64_t end = 0;
    for (uint64_t i = 0; i < remove.range_count; i++) {
        dbk_position_range range;
        if (!take_range(&reader, i == 0, &end, &range)) return DAYBOOK_EDAMAGED;
    }
    if (dbk_reader_left(&reader) != 0) return DAYBOOK_EDAMAGED;
    *remove_out = remove;
    return DAYBOOK_OK;
}

bool dbk_remove_next_range(dbk_slice *cursor, uint64_t *end, dbk_position_range *range_out) {
    if (cursor->size == 0) return false;
    dbk_reader reader;
    dbk_reader_init(&reader, *cursor);
    if (!take_range(&reader, *end == 0, end, range_out)) return false;
    *cursor = daybook_bytes(reader.at, dbk_reader_left(&reader));
    return true;
}

// ---- Catalogue ----

daybook_status dbk_catalogue_encode(const dbk_catalogue_entry *entry, dbk_buf *buf) {
    size_t start = buf->size;
    dbk_buf_append_u32(buf, 0);
    dbk_buf_append_u8(buf, (uint8_t)entry->kind);
    dbk_buf_append_u8(buf, 0);
    dbk_buf_append_u16(buf, 0);
    dbk_buf_append_text(buf, entry->key);
    dbk_buf_append_u8(buf, entry->present ? 1 : 0);
    if (entry->present) dbk_buf_append_slice(buf, entry->value);
    return finish(buf, start, DBK_RECORD_CATALOGUE);
}

daybook_status dbk_catalogue_decode(dbk_slice record, dbk_catalogue_entry *entry_out) {
    dbk_reader reader;
    if (!open_record(record, DBK_RECORD_CATALOGUE, &reader)) return DAYBOOK_EDAMAGED;
    uint8_t kind = dbk_read_u8(&reader);
    uint8_t zero_8 = dbk_read_u8(&reader);
    uint16_t zero_16 = dbk_read_u16(&reader);
    dbk_slice key = dbk_read_text(&reader);
    uint8_t present = dbk_read_u8(&reader);
    if (reader.failed || !is_catalogue_kind(kind) || zero_8 != 0 || zero_16 != 0 || present > 1) {
        return DAYBOOK_EDAMAGED;
    }
    dbk_slice value = daybook_bytes(reader.at, dbk_reader_left(&reader));
    if (present == 0 && value.size != 0) return DAYBOOK_EDAMAGED;
    *entry_out = (dbk_catalogue_entry){
        .kind = (dbk_catalogue_kind)kind, .present = present == 1, .key = key, .value = value};
    return DAYBOOK_OK;
}

// ---- Positions ----

void dbk_positions_encode(uint64_t end, uint8_t record_out[DBK_POSITIONS_SIZE]) {
    dbk_put_u32(record_out, DBK_POSITIONS_SIZE | (uint32_t)DBK_RECORD_POSITIONS << SIZE_BITS);
    dbk_put_u64(record_out + HEAD_SIZE, end);
}

daybook_status dbk_positions_decode(dbk_slice record, uint64_t *end_out) {
    dbk_reader reader;
    if (!open_record(record, DBK_RECORD_POSITIONS, &reader)) return DAYBOOK_EDAMAGED;
    *end_out = dbk_read_u64(&reader);
    bool is_whole = !reader.failed && dbk_reader_left(&reader) == 0;
    return is_whole && *end_out > 0 && *end_out <= INT64_MAX / 2 ? DAYBOOK_OK : DAYBOOK_EDAMAGED;
}
