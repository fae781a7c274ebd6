// SPDX-License-Identifier: Apache-2.0
// The payload of a journal group: records one after the other, as replay reads them.
#include "fuzz.h"
#include "record/record.h"

static void check_remove(dbk_slice record) {
    dbk_remove remove;
    if (dbk_remove_decode(record, &remove) != DAYBOOK_OK) return;
    static dbk_position_range ranges[256];
    dbk_slice cursor = remove.ranges;
    uint64_t end = 0;
    uint64_t count = 0;
    dbk_position_range range;
    uint64_t last = 0;
    while (dbk_remove_next_range(&cursor, &end, &range)) {
        FUZZ_CHECK(range.first <= range.last);
        FUZZ_CHECK(count == 0 || range.first > last);
        last = range.last;
        if (count < 256) ranges[count] = range;
        count++;
    }
    FUZZ_CHECK(count == remove.range_count);
    if (count > 256) return;
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), DBK_RECORD_SIZE_MAX);
    if (dbk_remove_encode(&remove, ranges, (size_t)count, &buf) == DAYBOOK_OK)
        FUZZ_CHECK(dbk_slice_equal(daybook_bytes(buf.data, buf.size), record));
    dbk_buf_deinit(&buf);
}

static void check_catalogue(dbk_slice record) {
    dbk_catalogue_entry entry;
    if (dbk_catalogue_decode(record, &entry) != DAYBOOK_OK) return;
    fuzz_touch(entry.key);
    fuzz_touch(entry.value);
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), DBK_RECORD_SIZE_MAX);
    if (dbk_catalogue_encode(&entry, &buf) == DAYBOOK_OK)
        FUZZ_CHECK(dbk_slice_equal(daybook_bytes(buf.data, buf.size), record));
    dbk_buf_deinit(&buf);
}

static void check_positions(dbk_slice record) {
    uint64_t end;
    if (dbk_positions_decode(record, &end) != DAYBOOK_OK) return;
    uint8_t again[DBK_POSITIONS_SIZE];
    dbk_positions_encode(end, again);
    FUZZ_CHECK(dbk_slice_equal(daybook_bytes(again, sizeof again), record));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    while (size > 0) {
        dbk_record_kind kind;
        size_t record_size = 0;
        if (dbk_record_peek(daybook_bytes(data, size), &kind, &record_size) != DAYBOOK_OK) return 0;
        FUZZ_CHECK(record_size >= 4 && record_size <= size);
        dbk_slice record = daybook_bytes(data, record_size);
        dbk_event event;
        switch (kind) {
        case DBK_RECORD_EVENT:
            if (dbk_event_decode(record, &event) == DAYBOOK_OK) fuzz_touch(event.data);
            break;
        case DBK_RECORD_REMOVE:
            check_remove(record);
            break;
        case DBK_RECORD_CATALOGUE:
            check_catalogue(record);
            break;
        case DBK_RECORD_POSITIONS:
            check_positions(record);
            break;
        default:
            FUZZ_CHECK(!"a kind that peek knows");
        }
        data += record_size;
        size -= record_size;
    }
    return 0;
}
