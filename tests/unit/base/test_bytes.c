// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef struct varint_case {
    uint64_t value;
    size_t size;
    uint8_t bytes[DBK_VARINT_SIZE_MAX];
} varint_case;

static const varint_case varints[] = {
    {0, 1, {0}},
    {1, 1, {1}},
    {127, 1, {0x7f}},
    {128, 2, {0x80, 0x01}},
    {300, 2, {0xac, 0x02}},
    {16383, 2, {0xff, 0x7f}},
    {16384, 3, {0x80, 0x80, 0x01}},
    {UINT32_MAX, 5, {0xff, 0xff, 0xff, 0xff, 0x0f}},
    {UINT64_C(1) << 63, 10, {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}},
    {UINT64_MAX, 10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
};

static void varints_have_the_expected_bytes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof varints / sizeof varints[0]; i++) {
        uint8_t bytes[DBK_VARINT_SIZE_MAX];
        assert_int_equal(dbk_put_varint(bytes, varints[i].value), varints[i].size);
        assert_int_equal(dbk_varint_size(varints[i].value), varints[i].size);
        assert_memory_equal(bytes, varints[i].bytes, varints[i].size);
    }
}

static void varints_come_back(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof varints / sizeof varints[0]; i++) {
        dbk_reader reader;
        dbk_reader_init(&reader, daybook_bytes(varints[i].bytes, varints[i].size));
        assert_true(dbk_read_varint(&reader) == varints[i].value);
        assert_false(reader.failed);
        assert_int_equal(dbk_reader_left(&reader), 0);
    }
}

static void every_shift_of_a_varint_comes_back(void **state) {
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++) {
        for (int delta = -1; delta <= 1; delta++) {
            uint64_t value = (UINT64_C(1) << shift) + (uint64_t)(int64_t)delta;
            uint8_t bytes[DBK_VARINT_SIZE_MAX];
            size_t size = dbk_put_varint(bytes, value);
            assert_int_equal(dbk_varint_size(value), size);
            dbk_reader reader;
            dbk_reader_init(&reader, daybook_bytes(bytes, size));
            assert_true(dbk_read_varint(&reader) == value);
            assert_false(reader.failed);
            dbk_reader_init(&reader, daybook_bytes(bytes, size - 1));
            assert_true(dbk_read_varint(&reader) == 0);
            assert_true(reader.failed);
        }
    }
}

static void malformed_varints_are_refused(void **state) {
    (void)state;
    static const struct {
        size_t size;
        uint8_t bytes[11];
    } malformed[] = {
        {0, {0}},
        {1, {0x80}},
        {2, {0x80, 0x00}},                                                        // 0 in two bytes
        {3, {0xff, 0x80, 0x00}},                                                  // 127 in three
        {10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}},       // 65 bits
        {10, {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00}},       // long zero
        {11, {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x81, 0x01}}, // eleven bytes
        {10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81}},       // no end
    };
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        dbk_reader reader;
        dbk_reader_init(&reader, daybook_bytes(malformed[i].bytes, malformed[i].size));
        assert_true(dbk_read_varint(&reader) == 0);
        assert_true(reader.failed);
        assert_int_equal(dbk_reader_left(&reader), 0);
    }
}

static void zigzag_keeps_small_numbers_small(void **state) {
    (void)state;
    assert_true(dbk_zigzag(0) == 0);
    assert_true(dbk_zigzag(-1) == 1);
    assert_true(dbk_zigzag(1) == 2);
    assert_true(dbk_zigzag(INT64_MIN) == UINT64_MAX);
    static const int64_t values[] = {0, 1, -1, 63, -64, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        assert_true(dbk_unzigzag(dbk_zigzag(values[i])) == values[i]);
    }
}

static void reader_gives_what_was_put(void **state) {
    (void)state;
    uint8_t bytes[1 + 2 + 4 + 8 + 1 + 3];
    bytes[0] = 7;
    dbk_put_u16(bytes + 1, 0x1234);
    dbk_put_u32(bytes + 3, 0x12345678);
    dbk_put_u64(bytes + 7, UINT64_C(0x123456789abcdef0));
    bytes[15] = 3;
    memcpy(bytes + 16, "abc", 3);
    dbk_reader reader;
    dbk_reader_init(&reader, daybook_bytes(bytes, sizeof bytes));
    assert_int_equal(dbk_read_u8(&reader), 7);
    assert_int_equal(dbk_read_u16(&reader), 0x1234);
    assert_int_equal(dbk_read_u32(&reader), 0x12345678);
    assert_true(dbk_read_u64(&reader) == UINT64_C(0x123456789abcdef0));
    assert_true(dbk_slice_equal(dbk_read_text(&reader), daybook_text("abc")));
    assert_false(reader.failed);
    assert_int_equal(dbk_reader_left(&reader), 0);
    assert_int_equal(bytes[1], 0x34); // little-endian on disk
}

static void reader_fails_for_good_past_the_end(void **state) {
    (void)state;
    uint8_t bytes[3] = {1, 2, 3};
    dbk_reader reader;
    dbk_reader_init(&reader, daybook_bytes(bytes, sizeof bytes));
    assert_int_equal(dbk_read_u32(&reader), 0);
    assert_true(reader.failed);
    assert_int_equal(dbk_read_u8(&reader), 0); // would have fitted before
    assert_int_equal(dbk_read_bytes(&reader, 0).size, 0);
    assert_true(reader.failed);
}

static void text_longer_than_the_rest_is_refused(void **state) {
    (void)state;
    static const uint8_t lengths[][11] = {
        {5, 'a', 'b'},
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'a'},
    };
    for (size_t i = 0; i < 2; i++) {
        dbk_reader reader;
        dbk_reader_init(&reader, daybook_bytes(lengths[i], i == 0 ? 3 : 11));
        assert_int_equal(dbk_read_text(&reader).size, 0);
        assert_true(reader.failed);
    }
}

static void reader_of_nothing_has_nothing(void **state) {
    (void)state;
    dbk_reader reader;
    dbk_reader_init(&reader, daybook_bytes(NULL, 0));
    assert_int_equal(dbk_reader_left(&reader), 0);
    assert_int_equal(dbk_read_bytes(&reader, 0).size, 0);
    assert_false(reader.failed);
    assert_int_equal(dbk_read_u8(&reader), 0);
    assert_true(reader.failed);
}

static void slices_compare_as_bytes_then_by_length(void **state) {
    (void)state;
    static const char *const sorted[] = {"", "a", "a.b", "ab", "b", "\xc3\xa4"};
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < 6; j++) {
            int order = dbk_slice_compare(daybook_text(sorted[i]), daybook_text(sorted[j]));
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
            assert_int_equal(dbk_slice_equal(daybook_text(sorted[i]), daybook_text(sorted[j])), i == j);
        }
    }
    assert_int_equal(dbk_slice_compare(daybook_bytes(NULL, 0), daybook_text("")), 0);
}

static void checksum_is_xxh3_and_depends_on_its_seed(void **state) {
    (void)state;
    // XXH3-64 of nothing with seed 0, as the algorithm's specification gives it.
    assert_true(dbk_checksum(NULL, 0, 0) == UINT64_C(0x2d06800538d394c2));
    assert_true(dbk_checksum("abc", 3, 0) == UINT64_C(0x78af5f94892f3950));
    assert_true(dbk_checksum("abc", 3, 1) != dbk_checksum("abc", 3, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(varints_have_the_expected_bytes),
        cmocka_unit_test(varints_come_back),
        cmocka_unit_test(every_shift_of_a_varint_comes_back),
        cmocka_unit_test(malformed_varints_are_refused),
        cmocka_unit_test(zigzag_keeps_small_numbers_small),
        cmocka_unit_test(reader_gives_what_was_put),
        cmocka_unit_test(reader_fails_for_good_past_the_end),
        cmocka_unit_test(text_longer_than_the_rest_is_refused),
        cmocka_unit_test(reader_of_nothing_has_nothing),
        cmocka_unit_test(slices_compare_as_bytes_then_by_length),
        cmocka_unit_test(checksum_is_xxh3_and_depends_on_its_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
