// SPDX-License-Identifier: Apache-2.0
// Journal records other than events: round trips, and decoders given hostile bytes.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "record/record.h"

static uint64_t random_state;

static uint64_t next_random(void) { // splitmix64
    uint64_t mixed = random_state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

static void assert_remove_round_trips(const dbk_remove *remove, const dbk_position_range *ranges,
                                      size_t count) {
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 1 << 20);
    assert_int_equal(dbk_remove_encode(remove, ranges, count, &buf), DAYBOOK_OK);
    dbk_remove back;
    assert_int_equal(dbk_remove_decode(daybook_bytes(buf.data, buf.size), &back), DAYBOOK_OK);
    assert_int_equal(back.stream_id, remove->stream_id);
    assert_int_equal(back.reason, remove->reason);
    assert_true(back.removed_count == remove->removed_count);
    assert_true(back.removed_bytes == remove->removed_bytes);
    assert_true(back.first_seq == remove->first_seq);
    assert_true(back.first_position == remove->first_position);
    assert_int_equal(back.range_count, count);
    dbk_slice left = back.ranges;
    uint64_t end = 0;
    dbk_position_range range;
    for (size_t i = 0; i < count; i++) {
        assert_true(dbk_remove_next_range(&left, &end, &range));
        assert_true(range.first == ranges[i].first);
        assert_true(range.last == ranges[i].last);
    }
    assert_false(dbk_remove_next_range(&left, &end, &range));
    // Every cut is damage: by its size at the latest.
    for (size_t size = 0; size < buf.size; size++) {
        assert_int_equal(dbk_remove_decode(daybook_bytes(buf.data, size), &back), DAYBOOK_EDAMAGED);
    }
    dbk_buf_deinit(&buf);
}

static void removals_round_trip(void **state) {
    (void)state;
    dbk_remove remove = {
        .stream_id = 3, .reason = DBK_REMOVE_DELETE, .removed_count = 1, .removed_bytes = 100};
    assert_remove_round_trips(&remove, NULL, 0);
    static const dbk_position_range one[] = {{42, 42}};
    assert_remove_round_trips(&remove, one, 1);
    static const dbk_position_range edges[] = {{0, 0}, {2, 2}, {UINT64_MAX - 3, UINT64_MAX - 1}};
    assert_remove_round_trips(&remove, edges, 3);
    remove = (dbk_remove){.stream_id = UINT32_MAX,
                          .reason = DBK_REMOVE_ROLLUP,
                          .removed_count = UINT64_MAX,
                          .removed_bytes = UINT64_MAX,
                          .first_seq = UINT64_MAX,
                          .first_position = 77};
    assert_remove_round_trips(&remove, edges, 3);
}

static void random_removals_round_trip(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        random_state = seed;
        dbk_position_range ranges[50];
        size_t count = next_random() % 51;
        uint64_t at = next_random() % 1000;
        for (size_t i = 0; i < count; i++) {
            ranges[i].first = at + 1 + next_random() % (UINT64_C(1) << (next_random() % 40));
            ranges[i].last = ranges[i].first + next_random() % 1000;
            at = ranges[i].last + 1;
        }
        dbk_remove remove = {.stream_id = (uint32_t)next_random(),
                             .reason = (dbk_remove_reason)(1 + next_random() % 4),
                             .removed_count = next_random()};
        assert_remove_round_trips(&remove, ranges, count);
    }
}

static void ranges_that_touch_or_overflow_are_damage(void **state) {
    (void)state;
    static const struct {
        uint64_t numbers[4]; // gap, length - 1, gap, length - 1
    } cases[] = {
        {{1, 0, 0, 0}},              // touches
        {{UINT64_MAX, 0, 1, 0}},     // last + 1 overflows
        {{5, UINT64_MAX - 5, 1, 0}}, // length overflows
        {{5, 0, UINT64_MAX - 5, 0}}, // gap overflows
        {{5, 0, 1, UINT64_MAX}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dbk_buf buf;
        dbk_buf_init(&buf, dbk_allocator_default(), 1 << 20);
        dbk_remove remove = {.stream_id = 1, .reason = DBK_REMOVE_LIMIT};
        assert_int_equal(dbk_remove_encode(&remove, NULL, 0, &buf), DAYBOOK_OK);
        buf.data[buf.size - 1] = 2; // range count
        for (size_t j = 0; j < 4; j++) dbk_buf_append_varint(&buf, cases[i].numbers[j]);
        dbk_put_u32(buf.data, (uint32_t)buf.size | (uint32_t)DBK_RECORD_REMOVE << 28);
        assert_int_equal(dbk_remove_decode(daybook_bytes(buf.data, buf.size), &remove), DAYBOOK_EDAMAGED);
        dbk_buf_deinit(&buf);
    }
}

static void reservations_of_positions_round_trip(void **state) {
    (void)state;
    static const uint64_t ends[] = {1, 65537, INT64_MAX / 2};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        uint8_t record[DBK_POSITIONS_SIZE + 1];
        dbk_positions_encode(ends[i], record);
        dbk_record_kind kind;
        size_t size;
        uint64_t end = 0;
        assert_int_equal(dbk_record_peek(daybook_bytes(record, sizeof record), &kind, &size), DAYBOOK_OK);
        assert_int_equal(kind, DBK_RECORD_POSITIONS);
        assert_int_equal(size, DBK_POSITIONS_SIZE);
        assert_int_equal(dbk_positions_decode(daybook_bytes(record, size), &end), DAYBOOK_OK);
        assert_int_equal(end, ends[i]);
        assert_int_equal(dbk_positions_decode(daybook_bytes(record, size + 1), &end), DAYBOOK_EDAMAGED);
        assert_int_equal(dbk_positions_decode(daybook_bytes(record, size - 1), &end), DAYBOOK_EDAMAGED);
        // A record whose own size is too small or too large for what it holds.
        for (size_t other = size - 1; other <= size + 1; other += 2) {
            dbk_put_u32(record, (uint32_t)other | (uint32_t)DBK_RECORD_POSITIONS << 28);
            assert_int_equal(dbk_positions_decode(daybook_bytes(record, other), &end), DAYBOOK_EDAMAGED);
        }
    }
    static const uint64_t wrong[] = {0, (uint64_t)INT64_MAX / 2 + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint8_t record[DBK_POSITIONS_SIZE];
        uint64_t end = 0;
        dbk_positions_encode(wrong[i], record);
        assert_int_equal(dbk_positions_decode(daybook_bytes(record, sizeof record), &end), DAYBOOK_EDAMAGED);
    }
}

static void catalogue_entries_round_trip(void **state) {
    (void)state;
    static const dbk_catalogue_entry entries[] = {
        {DBK_CATALOGUE_STREAM, true, {"ORDERS", 6}, {"{\"subjects\":[]}", 15}},
        {DBK_CATALOGUE_CONSUMER, true, {"a/b", 3}, {NULL, 0}},
        {DBK_CATALOGUE_SCHEMA, false, {"k", 1}, {NULL, 0}},
        {DBK_CATALOGUE_STREAM, true, {NULL, 0}, {"v", 1}},
    };
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        dbk_buf buf;
        dbk_buf_init(&buf, dbk_allocator_default(), 1 << 20);
        assert_int_equal(dbk_catalogue_encode(&entries[i], &buf), DAYBOOK_OK);
        dbk_catalogue_entry back;
        assert_int_equal(dbk_catalogue_decode(daybook_bytes(buf.data, buf.size), &back), DAYBOOK_OK);
        assert_int_equal(back.kind, entries[i].kind);
        assert_int_equal(back.present, entries[i].present);
        assert_true(dbk_slice_equal(back.key, entries[i].key));
        assert_true(dbk_slice_equal(back.value, entries[i].value));
        dbk_record_kind kind;
        size_t size = 0;
        assert_int_equal(dbk_record_peek(daybook_bytes(buf.data, buf.size), &kind, &size), DAYBOOK_OK);
        assert_int_equal(kind, DBK_RECORD_CATALOGUE);
        assert_int_equal(size, buf.size);
        dbk_buf_deinit(&buf);
    }
}

static void peek_tells_damage_from_an_unknown_kind(void **state) {
    (void)state;
    dbk_record_kind kind;
    size_t size = 0;
    uint8_t bytes[8] = {0};
    assert_int_equal(dbk_record_peek(daybook_bytes(bytes, 3), &kind, &size), DAYBOOK_EDAMAGED);
    dbk_put_u32(bytes, 3 | 1u << 28);
    assert_int_equal(dbk_record_peek(daybook_bytes(bytes, 8), &kind, &size), DAYBOOK_EDAMAGED);
    dbk_put_u32(bytes, 9 | 1u << 28);
    assert_int_equal(dbk_record_peek(daybook_bytes(bytes, 8), &kind, &size), DAYBOOK_EDAMAGED);
    dbk_put_u32(bytes, 8 | 7u << 28);
    assert_int_equal(dbk_record_peek(daybook_bytes(bytes, 8), &kind, &size), DAYBOOK_EFORMAT);
    dbk_put_u32(bytes, 8);
    assert_int_equal(dbk_record_peek(daybook_bytes(bytes, 8), &kind, &size), DAYBOOK_EFORMAT);
}

static void mutated_records_never_lead_outside(void **state) {
    (void)state;
    static const dbk_position_range ranges[] = {{10, 20}, {30, 30}, {300, 70000}};
    for (uint64_t seed = 1; seed <= 20000; seed++) {
        random_state = seed;
        dbk_buf buf;
        dbk_buf_init(&buf, dbk_allocator_default(), 1 << 20);
        dbk_remove remove = {.stream_id = 1, .reason = DBK_REMOVE_LIMIT, .first_seq = 1000};
        dbk_catalogue_entry entry = {DBK_CATALOGUE_STREAM, true, {"ORDERS", 6}, {"value", 5}};
        bool is_remove = seed % 2 == 0;
        if (is_remove) {
            assert_int_equal(dbk_remove_encode(&remove, ranges, 3, &buf), DAYBOOK_OK);
        } else {
            assert_int_equal(dbk_catalogue_encode(&entry, &buf), DAYBOOK_OK);
        }
        uint8_t *bytes = malloc(buf.size);
        assert_non_null(bytes);
        memcpy(bytes, buf.data, buf.size);
        for (uint64_t i = 1 + next_random() % 3; i > 0; i--) {
            bytes[4 + next_random() % (buf.size - 4)] = (uint8_t)next_random();
        }
        dbk_slice record = daybook_bytes(bytes, buf.size);
        if (is_remove && dbk_remove_decode(record, &remove) == DAYBOOK_OK) {
            dbk_slice left = remove.ranges;
            uint64_t end = 0;
            uint64_t count = 0;
            dbk_position_range range;
            while (dbk_remove_next_range(&left, &end, &range)) count++;
            assert_int_equal(count, remove.range_count); // what decoding accepted can be walked
        }
        if (!is_remove) (void)dbk_catalogue_decode(record, &entry);
        free(bytes);
        dbk_buf_deinit(&buf);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(removals_round_trip),
        cmocka_unit_test(random_removals_round_trip),
        cmocka_unit_test(ranges_that_touch_or_overflow_are_damage),
        cmocka_unit_test(catalogue_entries_round_trip),
        cmocka_unit_test(reservations_of_positions_round_trip),
        cmocka_unit_test(peek_tells_damage_from_an_unknown_kind),
        cmocka_unit_test(mutated_records_never_lead_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
