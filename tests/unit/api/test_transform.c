// SPDX-License-Identifier: Apache-2.0
// Subject transforms: what a subject becomes, and which are refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/transform.h"
#include "lib/fault_allocator.h"

static void check(const char *source, const char *destination, const char *subject, const char *expected) {
    dbk_arena *arena = NULL;
    const dbk_api_transform *transform;
    char reason[DBK_API_TRANSFORM_REASON_SIZE] = "";
    dbk_buf out;
    assert_int_equal(dbk_arena_new(dbk_allocator_default(), 4096, &arena), DAYBOOK_OK);
    dbk_buf_init(&out, dbk_allocator_default(), 4096);
    if (dbk_api_transform_new(daybook_text(source), daybook_text(destination), arena, &transform, reason) !=
        DAYBOOK_OK)
        fail_msg("%s -> %s: %s", source, destination, reason);
    bool matches = dbk_api_transform_apply(transform, daybook_text(subject), &out);
    assert_int_equal(dbk_buf_status(&out), DAYBOOK_OK);
    assert_int_equal(matches, expected != NULL);
    if (matches && (out.size != strlen(expected) || memcmp(out.data, expected, out.size) != 0))
        fail_msg("%s -> %s: %s becomes %.*s", source, destination, subject, (int)out.size,
                 (const char *)out.data);
    if (!matches) assert_int_equal(out.size, 0);
    dbk_buf_deinit(&out);
    dbk_arena_free(arena);
}

static void tokens_take_their_places(void **state) {
    (void)state;
    check("foo.*.*", "bar.$2.$1", "foo.a.b", "bar.b.a");
    check("foo.*.*", "bar.{{wildcard(2)}}.{{ Wildcard( 1 ) }}", "foo.a.b", "bar.b.a");
    check("foo.*.bar.>", "baz.$1.>", "foo.x.bar.y.z", "baz.x.y.z");
    check(">", "all.>", "a.b", "all.a.b");
    check("", "all.>", "a.b", "all.a.b");
    check("foo.bar", "bar.foo", "foo.bar", "bar.foo");
    check("foo.*", "one", "foo.1", "one");
    check("foo.*", "bar.$1", "bar.1", NULL);
    check("foo.*", "", "foo.1", "foo.1");
    check("foo.*", "", "bar.1", NULL);
    check("foo.*", "$x.$", "foo.1", "$x.$");
}

static void partitions_are_those_of_nats(void **state) {
    (void)state;
    // FNV-1a of "baz" is 1857515650, of "foobar" 3214735720.
    check("foo.*", "bar.{{partition(10,1)}}", "foo.baz", "bar.0");
    check("*.*", "bar.{{partition(1000,1,2)}}.$1", "foo.bar", "bar.720.foo");
    check("foobar", "{{partition(1000)}}", "foobar", "720");
}

static void tokens_are_cut(void **state) {
    (void)state;
    check("a.*", "b.{{split(1,-)}}", "a.-x--y-z-", "b.x.y.z");
    check("a.*", "b.{{split(1,-)}}", "a.xyz", "b.xyz");
    check("a.*", "{{splitFromLeft(1,3)}}", "a.12345", "123.45");
    check("a.*", "{{splitFromLeft(1,9)}}", "a.12345", "12345");
    check("a.*", "{{splitFromRight(1,3)}}", "a.12345", "12.345");
    check("a.*", "{{SplitFromRight(1,9)}}", "a.12345", "12345");
    check("a.*", "{{sliceFromLeft(1,2)}}", "a.12345", "12.34.5");
    check("a.*", "{{sliceFromLeft(1,9)}}", "a.12345", "12345");
    check("a.*", "{{sliceFromRight(1,2)}}", "a.12345", "1.23.45");
    check("a.*", "{{sliceFromRight(1,2)}}", "a.1234", "12.34");
    check("a.*", "{{sliceFromRight(1,9)}}", "a.1234", "1234");
    check("a.*", "{{left(1,2)}}.{{right(1,2)}}", "a.12345", "12.45");
    check("a.*", "{{left(1,9)}}.{{right(1,9)}}", "a.12345", "12345.12345");
}

static void what_makes_no_sense_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *source, *destination, *reason;
    } cases[] = {
        {"foo..bar", "x", "invalid subject"},
        {"foo.*", "x..y", "invalid subject"},
        {"foo.*", "x.", "invalid subject"},
        {"foo.*", "x.*", "invalid subject"},
        {"foo.*", "x.>", "invalid subject"},
        {"foo.>", "x", "invalid subject"},
        {"foo.>", "x.>.y", "invalid subject"},
        {"foo.*", "x y", "invalid subject"},
        {"foo.*", "x.$2", "invalid mapping destination: wildcard index out of range in $2: [2]"},
        {"foo.*", "x.$0", "invalid mapping destination: wildcard index out of range in $0: [0]"},
        {"foo", "x.$1", "invalid mapping destination: wildcard index out of range in $1: [1]"},
        {"foo.*", "{{what(1)}}", "invalid mapping destination: unknown function in {{what(1)}}"},
        {"foo.*", "{{wildcard}}", "invalid mapping destination: unknown function in {{wildcard}}"},
        {"foo.*", "{{wildcard(x)}}",
         "invalid mapping destination: function argument is invalid or in the wrong format in "
         "{{wildcard(x)}}"},
        {"foo.*", "{{wildcard(1,1)}}",
         "invalid mapping destination: too many arguments passed to the function in {{wildcard(1,1)}}"},
        {"foo.*", "{{split(1)}}",
         "invalid mapping destination: not enough arguments passed to the function in {{split(1)}}"},
        {"foo.*", "{{partition(0,1)}}",
         "invalid mapping destination: function argument is invalid or in the wrong format in "
         "{{partition(0,1)}}"},
        {"foo.*", "{{left(1,)}}",
         "invalid mapping destination: not enough arguments passed to the function in {{left(1,)}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dbk_arena *arena = NULL;
        const dbk_api_transform *transform = (const void *)"";
        char reason[DBK_API_TRANSFORM_REASON_SIZE] = "";
        assert_int_equal(dbk_arena_new(dbk_allocator_default(), 4096, &arena), DAYBOOK_OK);
        dbk_slice source = daybook_text(cases[i].source);
        dbk_slice destination = daybook_text(cases[i].destination);
        if (dbk_api_transform_new(source, destination, arena, &transform, reason) != DAYBOOK_EINVALID)
            fail_msg("%s -> %s was taken", cases[i].source, cases[i].destination);
        assert_null(transform);
        assert_string_equal(reason, cases[i].reason);
        assert_int_equal(dbk_api_transform_new(source, destination, arena, &transform, NULL),
                         DAYBOOK_EINVALID);
        dbk_arena_free(arena);
    }
}

static void its_size_is_bounded(void **state) {
    (void)state;
    static char destination[200];
    dbk_arena *arena = NULL;
    const dbk_api_transform *transform;
    memset(destination, '.', sizeof destination - 1);
    assert_int_equal(dbk_arena_new(dbk_allocator_default(), 4096, &arena), DAYBOOK_OK);
    assert_int_equal(
        dbk_api_transform_new(daybook_text("a"), daybook_text(destination), arena, &transform, NULL),
        DAYBOOK_EINVALID);
    dbk_arena_free(arena);
    fault_allocator faults;
    fault_allocator_init(&faults);
    assert_int_equal(dbk_arena_new(&faults.allocator, 64, &arena), DAYBOOK_OK);
    fault_allocator_fail(&faults, 1, true);
    assert_int_equal(
        dbk_api_transform_new(daybook_text("a.*"), daybook_text("b.$1"), arena, &transform, NULL),
        DAYBOOK_ENOMEM);
    dbk_arena_free(arena);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_take_their_places), cmocka_unit_test(partitions_are_those_of_nats),
        cmocka_unit_test(tokens_are_cut),           cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(its_size_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
