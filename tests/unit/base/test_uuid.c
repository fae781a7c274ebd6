// SPDX-License-Identifier: Apache-2.0
#include "base/uuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "daybook/id.h"

static void text_and_bytes_convert_both_ways(void **state) {
    (void)state;
    static const char text[] = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"; // RFC 9562, A.6
    dbk_uuid uuid;
    assert_true(dbk_uuid_parse(daybook_text(text), &uuid));
    static const uint8_t expected[16] = {0x01, 0x7f, 0x22, 0xe2, 0x79, 0xb0, 0x7c, 0xc3,
                                         0x98, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f};
    assert_memory_equal(uuid.bytes, expected, 16);
    char back[37];
    dbk_uuid_format(&uuid, back);
    assert_string_equal(back, text);
    int64_t time_ns = 0;
    assert_true(dbk_uuid_v7_time_ns(&uuid, &time_ns));
    assert_true(time_ns == INT64_C(1645557742000) * DBK_MILLISECOND_NS); // 2022-02-22T19:22:22Z
}

static void only_the_canonical_form_is_parsed(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0",
        "017F22E2-79B0-7CC3-98C4-DC0C0C07398F",
        "017f22e279b0-7cc3-98c4-dc0c0c07398f-",
        "017f22e2079b0-7cc3-98c4-dc0c0c07398f",
        "{17f22e2-79b0-7cc3-98c4-dc0c0c07398}",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        "017f22e2_79b0_7cc3_98c4_dc0c0c07398f",
    };
    dbk_uuid uuid = {{9}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(dbk_uuid_parse(daybook_text(wrong[i]), &uuid));
    }
    assert_int_equal(uuid.bytes[0], 9); // untouched
}

static void version_7_carries_its_milliseconds(void **state) {
    (void)state;
    static const uint8_t random[10] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const int64_t milliseconds[] = {0, 1, 1645557742000, INT64_MAX / DBK_MILLISECOND_NS};
    dbk_uuid previous = {{0}};
    for (size_t i = 0; i < sizeof milliseconds / sizeof milliseconds[0]; i++) {
        dbk_uuid uuid;
        dbk_uuid_make_v7(milliseconds[i] * DBK_MILLISECOND_NS + 807, random, &uuid);
        assert_int_equal(uuid.bytes[6], 0x7f);
        assert_int_equal(uuid.bytes[8], 0xbf);
        int64_t time_ns = -1;
        assert_true(dbk_uuid_v7_time_ns(&uuid, &time_ns));
        assert_true(time_ns == milliseconds[i] * DBK_MILLISECOND_NS);
        assert_true(memcmp(previous.bytes, uuid.bytes, 16) < 0); // sorts by time
        previous = uuid;
    }
    dbk_uuid uuid;
    dbk_uuid_make_v7(-5 * DBK_SECOND_NS, random, &uuid);
    int64_t time_ns = -1;
    assert_true(dbk_uuid_v7_time_ns(&uuid, &time_ns));
    assert_true(time_ns == 0);
}

static void a_series_ascends_within_its_millisecond(void **state) {
    (void)state;
    // Just below a carry through all bytes that count.
    static const uint8_t base[10] = {0x12, 0x34, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe};
    dbk_uuid previous = {{0}};
    for (uint64_t count = 0; count < 1000; count++) {
        uint8_t random[10];
        dbk_uuid uuid;
        dbk_uuid_series_at(base, count, random);
        dbk_uuid_make_v7(1645557742000 * DBK_MILLISECOND_NS, random, &uuid);
        assert_int_equal(random[0], 0x12);
        assert_int_equal(random[1], 0x34);
        assert_true(memcmp(previous.bytes, uuid.bytes, sizeof uuid.bytes) < 0);
        previous = uuid;
    }
    uint8_t random[10];
    dbk_uuid_series_at(base, 2, random);
    static const uint8_t carried[10] = {0x12, 0x34, 0x20};
    assert_memory_equal(random, carried, sizeof carried);
}

static void only_version_7_within_range_has_a_time(void **state) {
    (void)state;
    int64_t time_ns = 0;
    dbk_uuid uuid = {{0}};
    assert_false(dbk_uuid_v7_time_ns(&uuid, &time_ns));
    uuid.bytes[6] = 0x70;
    assert_false(dbk_uuid_v7_time_ns(&uuid, &time_ns)); // another variant
    uuid.bytes[8] = 0x80;
    assert_true(dbk_uuid_v7_time_ns(&uuid, &time_ns));
    memset(uuid.bytes, 0xff, 6);
    assert_false(dbk_uuid_v7_time_ns(&uuid, &time_ns)); // the year 10889
}

static void ids_from_content_depend_on_content_and_count_only(void **state) {
    (void)state;
    char a[37], b[37], c[37], d[37], e[37];
    daybook_id_from_content(daybook_text("content"), 0, a);
    daybook_id_from_content(daybook_text("content"), 0, b);
    daybook_id_from_content(daybook_text("content"), 1, c);
    daybook_id_from_content(daybook_text("contents"), 0, d);
    daybook_id_from_content(daybook_bytes(NULL, 0), 0, e);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    assert_string_not_equal(a, d);
    assert_string_not_equal(a, e);
    assert_int_equal(a[14], '8');
    dbk_uuid uuid;
    assert_true(dbk_uuid_parse(daybook_text(a), &uuid));
    assert_int_equal(uuid.bytes[8] & 0xc0, 0x80);
    // Part of the format: an import of last year must be recognised.
    assert_string_equal(e, "af5570f5-a181-8b7a-b78c-af4bc70a660f");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_bytes_convert_both_ways),
        cmocka_unit_test(only_the_canonical_form_is_parsed),
        cmocka_unit_test(version_7_carries_its_milliseconds),
        cmocka_unit_test(a_series_ascends_within_its_millisecond),
        cmocka_unit_test(only_version_7_within_range_has_a_time),
        cmocka_unit_test(ids_from_content_depend_on_content_and_count_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
