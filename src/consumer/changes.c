// SPDX-License-Identifier: Apache-2.0
// Changes as bytes: the format is in changes.h.
#include "consumer/changes.h"

#include "base/error.h"

enum { VERSION = 1 };

void dbk_changes_init(dbk_changes *changes, const daybook_allocator *allocator, size_t size_max) {
    *changes = (dbk_changes){0};
    dbk_buf_init(&changes->buf, allocator, size_max);
}

void dbk_changes_deinit(dbk_changes *changes) {
    dbk_buf_deinit(&changes->buf);
}

void dbk_changes_reset(dbk_changes *changes) {
    dbk_buf_reset(&changes->buf);
    changes->count_offset = 0;
    changes->lost = false;
}

void dbk_changes_lose(dbk_changes *changes) {
    dbk_buf_reset(&changes->buf);
    changes->count_offset = 0;
    changes->lost = true;
}

static bool goes_on(const dbk_changes *changes, const dbk_change *change) {
    const dbk_change *last = &changes->last;
    return changes->count_offset != 0 && change->kind == last->kind && change->tick == last->tick &&
           change->extra == last->extra && change->seq > last->seq &&
           change->number == (last->number == 0 ? 0 : last->number + 1);
}

static void begin_run(dbk_changes *changes, const dbk_change *change) {
    dbk_buf *buf = &changes->buf;
    dbk_buf_append_u8(buf, (uint8_t)change->kind);
    changes->count_offset = buf->size;
    dbk_buf_append_u32(buf, 1);
    dbk_buf_append_varint(buf, change->tick);
    dbk_buf_append_varint(buf, change->number);
    dbk_buf_append_varint(buf, change->extra);
    dbk_buf_append_varint(buf, change->seq);
}

void dbk_changes_add(dbk_changes *changes, const dbk_change *change) {
    dbk_buf *buf = &changes->buf;
    if (changes->lost) return;
    if (buf->size == 0) {
        dbk_buf_append_u8(buf, VERSION);
        dbk_buf_append_u64(buf, 0);
        dbk_buf_append_u64(buf, 0);
    }
    if (goes_on(changes, change)) {
        dbk_buf_append_varint(buf, change->seq - changes->last.seq);
        uint8_t *count = buf->data + changes->count_offset;
        dbk_put_u32(count, dbk_get_u32(count) + 1);
    } else {
        begin_run(changes, change);
    }
    changes->last = *change;
    if (dbk_buf_status(buf) != DAYBOOK_OK) dbk_changes_lose(changes);
}

dbk_slice dbk_changes_finish(dbk_changes *changes, uint64_t delivered_at, uint64_t acked_at) {
    uint8_t *head = changes->buf.data;
    dbk_put_u64(head + 1, delivered_at);
    dbk_put_u64(head + 9, acked_at);
    return daybook_bytes(head, changes->buf.size);
}

daybook_status dbk_changes_read(dbk_slice bytes, dbk_changes_reader *reader_out, uint64_t *delivered_at_out,
                                uint64_t *acked_at_out) {
    *reader_out = (dbk_changes_reader){0};
    dbk_reader *reader = &reader_out->reader;
    dbk_reader_init(reader, bytes);
    if (dbk_read_u8(reader) != VERSION) return reader->failed ? DAYBOOK_EDAMAGED : DAYBOOK_EFORMAT;
    *delivered_at_out = dbk_read_u64(reader);
    *acked_at_out = dbk_read_u64(reader);
    return reader->failed ? DAYBOOK_EDAMAGED : DAYBOOK_OK;
}

static daybook_status next_run(dbk_changes_reader *run) {
    dbk_reader *reader = &run->reader;
    if (dbk_reader_left(reader) == 0) return DAYBOOK_END;
    uint8_t kind = dbk_read_u8(reader);
    uint32_t count = dbk_read_u32(reader);
    run->change = (dbk_change){.kind = (dbk_change_kind)kind};
    run->change.tick = dbk_read_varint(reader);
    run->change.number = dbk_read_varint(reader);
    run->change.extra = dbk_read_varint(reader);
    run->change.seq = dbk_read_varint(reader);
    if (reader->failed || kind < DBK_CHANGE_DELIVER || kind > DBK_CHANGE_DEADLINE || count == 0 ||
        run->change.seq == 0)
        return DAYBOOK_EDAMAGED;
    run->left = count - 1;
    return DAYBOOK_OK;
}

daybook_status dbk_changes_next(dbk_changes_reader *reader, dbk_change *change_out) {
    if (reader->left == 0) {
        DBK_TRY(next_run(reader));
    } else {
        uint64_t gap = dbk_read_varint(&reader->reader);
        if (reader->reader.failed || gap == 0 || gap > UINT64_MAX - reader->change.seq)
            return DAYBOOK_EDAMAGED;
        reader->change.seq += gap;
        if (reader->change.number != 0) reader->change.number++;
        reader->left--;
    }
    *change_out = reader->change;
    return DAYBOOK_OK;
}
