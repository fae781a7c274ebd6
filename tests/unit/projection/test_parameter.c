// SPDX-License-Identifier: Apache-2.0
// The values of events: metadata, and members of the data, which are compared with what a parser finds.
#include "projection/parameter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "lib/fault_allocator.h"
#include "json/json.h"

enum { COUNT_MAX = 32 };

/// Parameters with the values an event gave them.
typedef struct taken {
    dbk_arena *arena;
    dbk_parameter parameters[COUNT_MAX];
    size_t count;
    dbk_parameter_plan *plan;
    dbk_value values[COUNT_MAX];
    daybook_recorded_event event;
    daybook_error error;
} taken;

// `texts` with spaces between.
static void take_up(taken *all, const char *texts) {
    memset(all, 0, sizeof *all);
    daybook_error_init(&all->error);
    assert_int_equal(dbk_arena_new(dbk_allocator_default(), 4096, &all->arena), DAYBOOK_OK);
    for (const char *at = texts; *at != '\0';) {
        size_t size = 0;
        daybook_status status = dbk_parameter_parse(daybook_text(at), all->arena,
                                                    &all->parameters[all->count++], &size, &all->error);
        if (status != DAYBOOK_OK) fail_msg("%s", all->error.message);
        at += size;
        while (*at == ' ') at++;
    }
    assert_int_equal(dbk_parameter_plan_new(all->parameters, all->count, all->arena, &all->plan), DAYBOOK_OK);
    daybook_event_init(&all->event.event);
    all->event.event.subject = daybook_text("shop.orders.7.placed");
    all->event.aggregate = daybook_text("shop.orders.7");
    all->event.event.type = daybook_text("placed");
    all->event.event.id = daybook_text("e1");
    all->event.stream = daybook_text("ORDERS");
    all->event.position = 18446744073;
    all->event.seq = 9;
    all->event.version = 2;
    all->event.event.time_ns = 1;
    all->event.recorded_ns = INT64_C(1000000000);
}

static void put_back(taken *all) {
    dbk_arena_free(all->arena);
}

static daybook_status evaluate(taken *all, const char *data) {
    all->event.event.data = daybook_text(data);
    return dbk_parameter_plan_evaluate(all->plan, &all->event, all->arena, all->values, &all->error);
}

// Kind and text of a value in one string.
static void assert_value(const taken *all, size_t index, const char *expected) {
    static const char *const kinds[] = {"null", "boolean", "integer", "real", "text", "json", "blob"};
    const dbk_value *value = &all->values[index];
    char found[600];
    if (value->kind == DBK_VALUE_NULL) {
        (void)snprintf(found, sizeof found, "null");
    } else {
        assert_int_equal(((const char *)value->text.data)[value->text.size], '\0');
        (void)snprintf(found, sizeof found, "%s %s", kinds[value->kind], (const char *)value->text.data);
    }
    assert_string_equal(found, expected);
}

static void metadata_is_taken(void **state) {
    (void)state;
    taken all;
    take_up(&all,
            ":position :seq :version :stream :subject :aggregate :aggregate_id :category :id :type :time "
            ":recorded :schema :actor :correlation :causation :text :bytes :header.a :header.\"X-B\" "
            ":tag.customer "
            ":tag.x :data");
    daybook_header headers[] = {{daybook_text("a"), daybook_text("")},
                                {daybook_text("X-B"), daybook_text("b1")},
                                {daybook_text("X-B"), daybook_text("b2")}};
    daybook_slice tags[] = {daybook_text("customers:x"), daybook_text("customer:ada:1"),
                            daybook_text("customer:eve")};
    all.event.event.headers = headers;
    all.event.event.header_count = 3;
    all.event.event.tags = tags;
    all.event.event.tag_count = 3;
    all.event.event.actor = daybook_text("ann");
    static const char *const expected[] = {"integer 18446744073",
                                           "integer 9",
                                           "integer 2",
                                           "text ORDERS",
                                           "text shop.orders.7.placed",
                                           "text shop.orders.7",
                                           "text 7",
                                           "text shop.orders",
                                           "text e1",
                                           "text placed",
                                           "text 1970-01-01T00:00:00.000000001Z",
                                           "text 1970-01-01T00:00:01.000000000Z",
                                           "null",
                                           "text ann",
                                           "null",
                                           "null",
                                           "text [1, 2]",
                                           "blob [1, 2]",
                                           "text ",
                                           "text b1",
                                           "text ada:1",
                                           "null",
                                           "json [1, 2]"};
    assert_int_equal(evaluate(&all, "[1, 2]"), DAYBOOK_OK);
    for (size_t i = 0; i < all.count; i++) assert_value(&all, i, expected[i]);
    assert_int_equal(all.values[0].integer, 18446744073);

    all.event.version = 0; // no aggregate
    all.event.aggregate = daybook_text("");
    assert_int_equal(evaluate(&all, ""), DAYBOOK_OK);
    for (size_t i = 2; i < 8; i++)
        if (i != 3 && i != 4) assert_value(&all, i, "null");
    assert_value(&all, 16, "text ");
    assert_value(&all, 22, "null");
    put_back(&all);
}

static void members_of_the_data_are_found(void **state) {
    (void)state;
    taken all;
    take_up(&all, ":data.a :data.b.c :data.b :data.list[1].x :data.list[0] :data.\"odd \"\"name\" :data.none "
                  ":data.b.d[2] "
                  ":data.t :data.f :data.n :data.a.b");
    assert_int_equal(evaluate(&all, " { \"skip\" : [ {\"a\":[1,{}]} , [ ] , \"]}\\\"\" ] , \"a\":1 , \"b\" : "
                                    "{\"c\":\"x\\u00e4\\n\", \"d\":[0,1,-2.50]},"
                                    "\"list\":[1.5e3,{\"x\":{\"y\":[]}}], \"odd \\\"name\":\"\", "
                                    "\"t\":true,\"f\":false,\"n\":null} "),
                     DAYBOOK_OK);
    static const char *const expected[] = {"integer 1",
                                           "text x\xc3\xa4\n",
                                           "json {\"c\":\"x\\u00e4\\n\", \"d\":[0,1,-2.50]}",
                                           "json {\"y\":[]}",
                                           "real 1.5e3",
                                           "text ",
                                           "null",
                                           "real -2.50",
                                           "boolean true",
                                           "boolean false",
                                           "null",
                                           "null"};
    for (size_t i = 0; i < all.count; i++) assert_value(&all, i, expected[i]);
    assert_true(all.values[4].real == 1500.0);
    assert_int_equal(all.values[8].integer, 1);
    put_back(&all);
}

static void of_members_named_twice_the_last_counts(void **state) {
    (void)state;
    taken all;
    take_up(&all, ":data.a.b :data.a :data.c");
    assert_int_equal(evaluate(&all, "{\"a\":{\"b\":1},\"c\":1,\"\\u0061\":{\"c\":2},\"c\":null}"),
                     DAYBOOK_OK);
    assert_value(&all, 0, "null");
    assert_value(&all, 1, "json {\"c\":2}");
    assert_value(&all, 2, "null");
    assert_int_equal(evaluate(&all, "{\"a\":{\"b\":1},\"a\":5}"), DAYBOOK_OK);
    assert_value(&all, 0, "null");
    assert_value(&all, 1, "integer 5");
    put_back(&all);
}

static void numbers_are_exact(void **state) {
    (void)state;
    static const struct {
        const char *text;
        dbk_value_kind kind;
        int64_t integer;
    } cases[] = {
        {"0", DBK_VALUE_INTEGER, 0},
        {"-0", DBK_VALUE_INTEGER, 0},
        {"9223372036854775807", DBK_VALUE_INTEGER, INT64_MAX},
        {"-9223372036854775808", DBK_VALUE_INTEGER, INT64_MIN},
        {"9223372036854775808", DBK_VALUE_REAL, 0},
        {"-9223372036854775809", DBK_VALUE_REAL, 0},
        {"0.1", DBK_VALUE_REAL, 0},
        {"-0.0", DBK_VALUE_REAL, 0},
        {"19.90", DBK_VALUE_REAL, 0},
        {"123456789012.345", DBK_VALUE_REAL, 0},
        {"0.000000000000001", DBK_VALUE_REAL, 0},
        {"1234567890123456.5", DBK_VALUE_REAL, 0},
        {"1e400000000000000000000", DBK_VALUE_NULL, 0},
        {"-1e309", DBK_VALUE_NULL, 0},
        {"1e-400", DBK_VALUE_REAL, 0},
        {"2.2250738585072011e-308", DBK_VALUE_REAL, 0},
        {"0.1000000000000000055511151231257827021181583404541015625", DBK_VALUE_REAL, 0},
    };
    taken all;
    take_up(&all, ":data");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        daybook_status status = evaluate(&all, cases[i].text);
        assert_int_equal(status, cases[i].kind == DBK_VALUE_NULL ? DAYBOOK_EINVALID : DAYBOOK_OK);
        if (status != DAYBOOK_OK) {
            assert_string_equal(all.error.message, ":data: the number is beyond what a double holds");
            continue;
        }
        assert_int_equal(all.values[0].kind, cases[i].kind);
        assert_string_equal(all.values[0].text.data, cases[i].text);
        if (cases[i].kind == DBK_VALUE_INTEGER)
            assert_int_equal(all.values[0].integer, cases[i].integer);
        else
            assert_true(all.values[0].real == strtod(cases[i].text, NULL));
    }
    put_back(&all);
}

static void an_event_that_does_not_fit_is_told(void **state) {
    (void)state;
    static const struct {
        const char *parameters, *data, *message;
    } cases[] = {
        {":data.a!", "{}", ":data.a!: the event has no such value, and '!' asks for one"},
        {":data.a!", "{\"a\":null}", ":data.a!: the event has no such value"},
        {":data.a!", "", ":data.a!: the event has no such value"},
        {":data!", "", ":data!: the event has no such value"},
        {":tag.x!", "", ":tag.x!: the event has no such value"},
        {":actor!", "", ":actor!: the event has no such value"},
        {":data.a", "hello", "the data is no JSON from byte 0 on: a projection that uses :data needs"},
        {":data.a", "{\"a\":1} x", "the data is no JSON from byte 8 on"},
        {":data.a", "{\"a\":01}", "the data is no JSON from byte 6 on"},
        {":data.a", "{\"b\":\"\\ud800\"}", "the data is no JSON from byte "},
        {":data.a", "{\"b\":\"\xff\"}", "the data is no JSON from byte 0 on"},
        {":data", "[1,]", "the data is no JSON from byte 3 on"},
        {":data.a", "{\"a\":\"x\\u0000y\"}", ":data.a: the string holds a NUL, which no database takes"},
        {":data.a", "{\"a\":1e999}", ":data.a: the number is beyond what a double holds"},
        {":text", "\xff", ":text: the data is no UTF-8: use :bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        taken all;
        take_up(&all, cases[i].parameters);
        assert_int_equal(evaluate(&all, cases[i].data), DAYBOOK_EINVALID);
        if (strncmp(all.error.message, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("%s", all.error.message);
        put_back(&all);
    }
    taken all;
    take_up(&all, ":text");
    all.event.event.data = daybook_bytes("a\0b", 3);
    assert_int_equal(dbk_parameter_plan_evaluate(all.plan, &all.event, all.arena, all.values, &all.error),
                     DAYBOOK_EINVALID);
    put_back(&all);
}

static void nesting_has_a_limit(void **state) {
    (void)state;
    static char text[4 * DBK_DATA_DEPTH_MAX];
    for (size_t depth = DBK_DATA_DEPTH_MAX - 1; depth <= DBK_DATA_DEPTH_MAX + 1; depth++) {
        for (int has_value = 0; has_value <= 1; has_value++) {
            memset(text, '[', depth);
            text[depth] = '1';
            memset(text + depth + (size_t)has_value, ']', depth);
            text[2 * depth + (size_t)has_value] = '\0';
            taken all;
            take_up(&all, ":data[0][0] :data");
            json_t *value = NULL;
            daybook_status expected = dbk_json_parse(daybook_text(text), &value, NULL);
            json_decref(value);
            assert_int_equal(evaluate(&all, text), expected);
            put_back(&all);
        }
    }
}

// A number below `limit`.
static unsigned draw(uint64_t *seed, unsigned limit) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (unsigned)(*seed >> 33) % limit;
}

static char *put_random(uint64_t *seed, char *at, int depth) {
    static const char *const scalars[] = {"1",
                                          "-2.5",
                                          "1e3",
                                          "\"x\"",
                                          "\"\\u0061\\\"\"",
                                          "true",
                                          "false",
                                          "null",
                                          "\"\"",
                                          "123456789012345678901",
                                          "\"\xc3\xa4\"",
                                          "0.0001",
                                          "[]",
                                          "{}",
                                          "01",
                                          "\"\\x\""};
    static const char *const names[] = {"a", "b", "\\u0061", "c", "ab", ""};
    unsigned kind = draw(seed, 16);
    if (depth > 4 || kind < 8)
        return at + sprintf(at, "%s", scalars[draw(seed, draw(seed, 40) == 0 ? 16 : 14)]);
    bool is_object = kind < 12;
    *at++ = is_object ? '{' : '[';
    for (unsigned count = draw(seed, 4); count > 0; count--) {
        if (is_object) at += sprintf(at, " \"%s\" :", names[draw(seed, 6)]);
        at = put_random(seed, at, depth + 1);
        if (count > 1) *at++ = ',';
        if (draw(seed, 8) == 0) *at++ = ' ';
    }
    *at++ = is_object ? '}' : ']';
    *at = '\0';
    return at;
}

// What the path leads to in the parsed text.
static const json_t *follow(const json_t *value, const dbk_parameter *parameter) {
    for (size_t i = 0; value != NULL && i < parameter->step_count; i++) {
        const dbk_path_step *step = &parameter->steps[i];
        char name[8];
        (void)snprintf(name, sizeof name, "%.*s", (int)step->name.size, (const char *)step->name.data);
        value = step->name.data == NULL ? json_array_get(value, step->index) : json_object_get(value, name);
    }
    return value;
}

static void assert_same(const dbk_value *value, const json_t *expected, const char *text) {
    json_t *parsed = NULL;
    bool is_same = false;
    switch (expected == NULL ? JSON_NULL : json_typeof(expected)) {
    case JSON_NULL:
        is_same = value->kind == DBK_VALUE_NULL;
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        is_same = value->kind == DBK_VALUE_BOOLEAN && value->integer == json_is_true(expected);
        break;
    case JSON_INTEGER:
        is_same = value->kind == DBK_VALUE_INTEGER && value->integer == json_integer_value(expected);
        break;
    case JSON_REAL:
        is_same = value->kind == DBK_VALUE_REAL && value->real == json_real_value(expected);
        break;
    case JSON_STRING:
        is_same = value->kind == DBK_VALUE_TEXT &&
                  dbk_slice_equal(value->text,
                                  daybook_bytes(json_string_value(expected), json_string_length(expected)));
        break;
    case JSON_OBJECT:
    case JSON_ARRAY:
        is_same = value->kind == DBK_VALUE_JSON && dbk_json_parse(value->text, &parsed, NULL) == DAYBOOK_OK &&
                  json_equal(parsed, expected);
        json_decref(parsed);
        break;
    }
    if (!is_same) fail_msg("differs in %s", text);
}

static void the_scanner_finds_what_a_parser_finds(void **state) {
    (void)state;
    static char text[1 << 20];
    uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);
    taken all;
    take_up(&all,
            ":data :data.a :data.a.b :data.b[1] :data[0] :data[0].a.a :data.a[2].c :data.ab :data[1][1]");
    unsigned sound_count = 0;
    for (int round = 0; round < 20000; round++) {
        (void)put_random(&seed, text, 0);
        json_t *parsed = NULL;
        daybook_status expected = dbk_json_parse(daybook_text(text), &parsed, NULL);
        daybook_status status = evaluate(&all, text);
        if (status != expected) fail_msg("%d, expected %d: %s", status, expected, text);
        for (size_t i = 0; status == DAYBOOK_OK && i < all.count; i++)
            assert_same(&all.values[i], follow(parsed, &all.parameters[i]), text);
        sound_count += status == DAYBOOK_OK;
        json_decref(parsed);
        if (round % 64 == 0) { // the arena also holds the plan
            put_back(&all);
            take_up(
                &all,
                ":data :data.a :data.a.b :data.b[1] :data[0] :data[0].a.a :data.a[2].c :data.ab :data[1][1]");
        }
    }
    assert_in_range(sound_count, 15000, 19999);
    put_back(&all);
}

static void memory_that_runs_out_is_a_status(void **state) {
    (void)state;
    taken all;
    take_up(&all, ":position :time :id :data.a :data.b :data.c :data.d :header.x :bytes :data");
    daybook_header header = {daybook_text("x"), daybook_text("y")};
    all.event.event.headers = &header;
    all.event.event.header_count = 1;
    all.event.event.data = daybook_text("{\"a\":\"x\\n\",\"b\":1.23456789012345678,\"c\":\"y\",\"d\":7}");
    fault_allocator faults;
    fault_allocator_init(&faults);
    for (uint64_t n = 1;; n++) {
        dbk_arena *arena = NULL;
        fault_allocator_fail(&faults, n, false);
        daybook_status status = dbk_arena_new(&faults.allocator, 1, &arena); // a chunk for each value
        if (status == DAYBOOK_OK)
            status = dbk_parameter_plan_evaluate(all.plan, &all.event, arena, all.values, &all.error);
        dbk_arena_free(arena);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!fault_allocator_has_failed(&faults)) {
            assert_int_equal(status, DAYBOOK_OK);
            break;
        }
        assert_int_equal(status, DAYBOOK_ENOMEM);
    }
    put_back(&all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_is_taken),
        cmocka_unit_test(members_of_the_data_are_found),
        cmocka_unit_test(of_members_named_twice_the_last_counts),
        cmocka_unit_test(numbers_are_exact),
        cmocka_unit_test(an_event_that_does_not_fit_is_told),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(the_scanner_finds_what_a_parser_finds),
        cmocka_unit_test(memory_that_runs_out_is_a_status),
    };
    return cmocka_run_group_tests_name("projection/parameter", tests, NULL, NULL);
}
