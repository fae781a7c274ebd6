// SPDX-License-Identifier: Apache-2.0
// Numbers and paths by themselves.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"
#include "config/path.h"

static void sizes_have_the_suffixes_of_nats(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool is_integer;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-1", true, -1},
        {"4222", true, 4222},
        {"007", true, 7},
        {"1k", true, 1000},
        {"1K", true, 1000},
        {"1kb", true, 1024},
        {"1KB", true, 1024},
        {"1ki", true, 1024},
        {"1KiB", true, 1024},
        {"-2k", true, -2000},
        {"3m", true, 3000000},
        {"3mb", true, 3 << 20},
        {"1g", true, 1000000000},
        {"1GB", true, 1 << 30},
        {"1t", true, 1000000000000},
        {"1TiB", true, INT64_C(1) << 40},
        {"1p", true, 1000000000000000},
        {"1pb", true, INT64_C(1) << 50},
        {"9e", true, INT64_C(9000000000000000000)},
        {"7EiB", true, INT64_C(7) << 60},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"-8eb", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"8eb", false, 0},
        {"10e", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"k", false, 0},
        {"1x", false, 0},
        {"1b", false, 0},
        {"1kk", false, 0},
        {"1kib ", false, 0},
        {"1bi", false, 0},
        {"1 k", false, 0},
        {"+1", false, 0},
        {"1.5", false, 0},
        {"0x10", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = 0;
        bool is_integer = dbk_config_parse_integer(daybook_text(cases[i].text), &value);
        if (is_integer != cases[i].is_integer || value != cases[i].value)
            fail_msg("'%s' gives %d, %lld", cases[i].text, is_integer, (long long)value);
    }
    int64_t value = 0;
    assert_false(dbk_config_parse_integer(daybook_bytes("1\0", 2), &value));
    assert_false(dbk_config_parse_integer(daybook_bytes(NULL, 0), &value));
}

static void an_included_file_is_sought_beside_the_including_one(void **state) {
    (void)state;
    static const struct {
        const char *from;
        const char *path;
        const char *joined;
    } cases[] = {
        {"nats.conf", "users.conf", "users.conf"},
        {"nats.conf", "./users.conf", "users.conf"},
        {"./nats.conf", "users.conf", "users.conf"},
        {"/etc/nats/nats.conf", "users.conf", "/etc/nats/users.conf"},
        {"/etc/nats/nats.conf", "./a/../users.conf", "/etc/nats/users.conf"},
        {"/etc/nats/nats.conf", "../users.conf", "/etc/users.conf"},
        {"/etc/nats.conf", "../../../users.conf", "/users.conf"},
        {"/nats.conf", "users.conf", "/users.conf"},
        {"etc/nats.conf", "../../users.conf", "../users.conf"},
        {"../nats.conf", "../users.conf", "../../users.conf"},
        {"/etc/nats.conf", "/srv//users.conf", "/srv/users.conf"},
        {"nats.conf", "/srv/./users.conf", "/srv/users.conf"},
        {"a/b/nats.conf", "c/d.conf", "a/b/c/d.conf"},
        {"a/..b/nats.conf", "..c", "a/..b/..c"},
    };
    dbk_arena *arena;
    assert_int_equal(dbk_arena_new(dbk_allocator_default(), 1024, &arena), DAYBOOK_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *joined = dbk_config_join_path(arena, cases[i].from, daybook_text(cases[i].path));
        assert_string_equal(joined, cases[i].joined);
    }
    dbk_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_have_the_suffixes_of_nats),
        cmocka_unit_test(an_included_file_is_sought_beside_the_including_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
