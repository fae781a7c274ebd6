// SPDX-License-Identifier: Apache-2.0
// Codec of posting lists; the format stands in postings.h.
//
// Encoding keeps the run at the end apart from the numbers before it. A run of at least RUN_MIN becomes a
// group of its own (a handful of bytes whatever its length: the stream term of a one-stream segment is one
// group); a shorter one joins the numbers before. Pure, one encoder per thread.
#include "index/postings.h"

#include "base/assert.h"

enum { RUN_MIN = 24, GROUP_SIZE_MAX = 3 * DBK_VARINT_SIZE_MAX + 5 * DBK_POSTINGS_GROUP_MAX };

_Static_assert(DBK_POSTINGS_PAGE_SIZE_MAX >= DBK_POSTINGS_PAGE_TARGET + GROUP_SIZE_MAX,
               "a group always fits");

static inline size_t put_varint(uint8_t *out, uint32_t value) {
    size_t size = 0;
    for (; value >= 0x80; value >>= 7) out[size++] = (uint8_t)(value | 0x80);
    out[size++] = (uint8_t)value;
    return size;
}

void dbk_postings_encoder_init(dbk_postings_encoder *encoder, dbk_postings_emit emit, void *context) {
    encoder->emit = emit;
    encoder->context = context;
    encoder->count = 0;
    encoder->run_first = 1;
    encoder->run_last = 0;
    encoder->pending_count = 0;
    encoder->page_size = 0;
    encoder->page_groups = 0;
}

static daybook_status emit_page(dbk_postings_encoder *encoder) {
    dbk_slice page = daybook_bytes(encoder->page, encoder->page_size);
    encoder->page_size = 0;
    encoder->page_groups = 0;
    return encoder->emit(encoder->context, page, encoder->page_first, encoder->page_last);
}

static void begin_group(dbk_postings_encoder *encoder, uint32_t first, uint32_t count, bool is_run) {
    uint8_t *at = encoder->page + encoder->page_size;
    uint32_t base = encoder->page_groups == 0 ? 0 : encoder->group_first;
    if (encoder->page_groups == 0) encoder->page_first = first;
    at += put_varint(at, first - base);
    at += dbk_put_varint(at, (uint64_t)count << 1 | (is_run ? 1 : 0));
    encoder->page_size = (size_t)(at - encoder->page);
    encoder->group_first = first;
    encoder->page_groups++;
}

static daybook_status end_group(dbk_postings_encoder *encoder, uint32_t last) {
    encoder->page_last = last;
    bool is_full = encoder->page_size >= DBK_POSTINGS_PAGE_TARGET ||
                   encoder->page_groups == DBK_POSTINGS_PAGE_GROUPS_MAX;
    return is_full ? emit_page(encoder) : DAYBOOK_OK;
}

static daybook_status emit_pending(dbk_postings_encoder *encoder) {
    size_t count = encoder->pending_count;
    if (count == 0) return DAYBOOK_OK;
    const uint32_t *numbers = encoder->pending;
    uint8_t bytes[5 * DBK_POSTINGS_GROUP_MAX];
    size_t size = 0;
    for (size_t i = 1; i < count; i++) size += put_varint(bytes + size, numbers[i] - numbers[i - 1] - 1);

    begin_group(encoder, numbers[0], (uint32_t)count, false);
    encoder->page_size += put_varint(encoder->page + encoder->page_size, (uint32_t)size);
    memcpy(encoder->page + encoder->page_size, bytes, size);
    encoder->page_size += size;
    encoder->pending_count = 0;
    return end_group(encoder, numbers[count - 1]);
}

// The run is over: a group of its own, or some more pending numbers.
static daybook_status close_run(dbk_postings_encoder *encoder) {
    uint64_t first = encoder->run_first, last = encoder->run_last;
    if (last < first) return DAYBOOK_OK;
    if (last - first + 1 >= RUN_MIN) {
        DBK_TRY(emit_pending(encoder));
        begin_group(encoder, (uint32_t)first, (uint32_t)(last - first + 1), true);
        return end_group(encoder, (uint32_t)last);
    }
    for (uint64_t number = first; number <= last; number++) {
        encoder->pending[encoder->pending_count++] = (uint32_t)number;
        if (encoder->pending_count == DBK_POSTINGS_GROUP_MAX) DBK_TRY(emit_pending(encoder));
    }
    return DAYBOOK_OK;
}

daybook_status dbk_postings_encoder_add(dbk_postings_encoder *encoder, uint32_t number) {
    DBK_ASSERT(encoder->count == 0 || number > encoder->run_last);
    encoder->count++;
    // A count of 2^32 would not fit a group; the list of all numbers is cut in two.
    if (encoder->count > 1 && number == encoder->run_last + 1 &&
        number - encoder->run_first < UINT32_MAX - 1) {
        encoder->run_last = number;
        return DAYBOOK_OK;
    }
    DBK_TRY(close_run(encoder));
    encoder->run_first = encoder->run_last = number;
    return DAYBOOK_OK;
}

daybook_status dbk_postings_encoder_finish(dbk_postings_encoder *encoder) {
    DBK_TRY(close_run(encoder));
    encoder->run_first = 1;
    encoder->run_last = 0;
    DBK_TRY(emit_pending(encoder));
    return encoder->page_groups == 0 ? DAYBOOK_OK : emit_page(encoder);
}

static bool parse_group(dbk_reader *reader, const uint8_t *page, uint64_t base, bool is_first,
                        dbk_postings_group *group) {
    uint64_t distance = dbk_read_varint(reader);
    uint64_t head = dbk_read_varint(reader);
    if (distance > UINT32_MAX || (!is_first && distance == 0)) return false;
    uint64_t first = base + distance, count = head >> 1;
    // The encoder cuts the run of all 2^32 numbers in two: their count fits no group.
    if (count == 0 || count > UINT32_MAX || first > UINT32_MAX || count - 1 > UINT32_MAX - first)
        return false;
    group->first = (uint32_t)first;
    group->count = (uint32_t)count;
    group->is_run = (head & 1) != 0;
    group->offset = group->size = 0;
    if (group->is_run) return !reader->failed;
    uint64_t size = dbk_read_varint(reader);
    if (count > DBK_POSTINGS_GROUP_MAX || size > dbk_reader_left(reader)) return false;
    group->offset = (uint16_t)(reader->at - page);
    group->size = (uint16_t)size;
    (void)dbk_read_bytes(reader, (size_t)size);
    return !reader->failed;
}

bool dbk_postings_parse_page(dbk_slice page, dbk_postings_group groups_out[DBK_POSTINGS_PAGE_GROUPS_MAX],
                             size_t *count_out) {
    *count_out = 0;
    if (page.size == 0 || page.size > DBK_POSTINGS_PAGE_SIZE_MAX) return false;
    dbk_reader reader;
    dbk_reader_init(&reader, page);
    uint64_t base = 0;
    size_t count = 0;
    while (dbk_reader_left(&reader) > 0) {
        if (count == DBK_POSTINGS_PAGE_GROUPS_MAX) return false;
        if (!parse_group(&reader, page.data, base, count == 0, &groups_out[count])) return false;
        // At least a group's count of numbers lies between its first and the next group's.
        if (count > 0 && groups_out[count].first - groups_out[count - 1].first < groups_out[count - 1].count)
            return false;
        base = groups_out[count++].first;
    }
    *count_out = count;
    return true;
}

static bool decode_numbers(dbk_reader *reader, uint32_t first, size_t count, uint32_t *numbers_out) {
    uint64_t number = first;
    numbers_out[0] = first;
    for (size_t i = 1; i < count; i++) {
        uint64_t distance;
        if (reader->at < reader->end && *reader->at < 0x80)
            distance = *reader->at++; // by far the most
        else
            distance = dbk_read_varint(reader);
        if (distance >= UINT32_MAX) return false;
        number += distance + 1;
        if (number > UINT32_MAX) return false;
        numbers_out[i] = (uint32_t)number;
    }
    return !reader->failed;
}

bool dbk_postings_decode_group(dbk_slice page, const dbk_postings_group *group,
                               uint32_t numbers_out[DBK_POSTINGS_GROUP_MAX]) {
    DBK_ASSERT(!group->is_run && group->count <= DBK_POSTINGS_GROUP_MAX);
    dbk_reader reader;
    dbk_reader_init(&reader, daybook_bytes((const uint8_t *)page.data + group->offset, group->size));
    return decode_numbers(&reader, group->first, group->count, numbers_out) && dbk_reader_left(&reader) == 0;
}

size_t dbk_postings_encode_inline(const uint32_t *numbers, size_t count,
                                  uint8_t bytes_out[DBK_POSTINGS_INLINE_SIZE_MAX]) {
    size_t size = 0;
    for (size_t i = 1; i < count; i++) {
        uint8_t bytes[5];
        size_t added = put_varint(bytes, numbers[i] - numbers[i - 1] - 1);
        if (size + added > DBK_POSTINGS_INLINE_SIZE_MAX) return SIZE_MAX;
        memcpy(bytes_out + size, bytes, added);
        size += added;
    }
    return size;
}

void dbk_postings_decode_inline(dbk_reader *reader, uint32_t first, size_t count,
                                uint32_t numbers_out[DBK_POSTINGS_INLINE_COUNT_MAX]) {
    DBK_ASSERT(count >= 1 && count <= DBK_POSTINGS_INLINE_COUNT_MAX);
    if (decode_numbers(reader, first, count, numbers_out)) return;
    reader->failed = true;
    reader->at = reader->end;
}
