// SPDX-License-Identifier: Apache-2.0
#include "import_testing.h"

#include "cli/ndjson.h"

#include <errno.h>
#include <unistd.h>

static void assert_slice(daybook_slice slice, const char *expected) {
    assert_int_equal(slice.size, strlen(expected));
    if (slice.size != 0) assert_memory_equal(slice.data, expected, slice.size);
}

static void every_member_is_taken(void **state) {
    (void)state;
    cli_ndjson parser;
    cli_ndjson_init(&parser, 0);
    daybook_slice line = daybook_text(
        "{\"stream\":\"X\",\"seq\":7,\"subject\":\"a.\\u0031.x\",\"data\": {\"n\": 1.50} "
        ",\"id\":\"i\",\"type\":null,"
        "\"schema\":\"1\",\"tags\":[\"t\",\"\\\"\"],\"headers\":{\"H\":[\"1\",\"2\"],\"K\":\"v\"},"
        "\"time\":\"2026-01-01T00:00:00Z\",\"correlation\":\"c\",\"causation\":\"k\",\"actor\":\"a\",\"odd\":"
        "[{}]}");
    assert_int_equal(cli_ndjson_parse(&parser, line), DAYBOOK_OK);
    const daybook_event *event = &parser.event;
    assert_slice(event->subject, "a.1.x");
    assert_slice(event->data, "{\"n\": 1.50}");
    assert_slice(event->id, "i");
    assert_slice(event->type, "");
    assert_slice(event->schema, "1");
    assert_slice(event->correlation, "c");
    assert_slice(event->causation, "k");
    assert_slice(event->actor, "a");
    assert_true(event->time_ns == INT64_C(1767225600000000000));
    assert_int_equal(event->tag_count, 2);
    assert_slice(event->tags[1], "\"");
    assert_int_equal(event->header_count, 3);
    assert_slice(event->headers[1].name, "H");
    assert_slice(event->headers[1].value, "2");
    assert_slice(event->headers[2].value, "v");
    cli_ndjson_deinit(&parser);
}

static void data_is_json_text_or_bytes(void **state) {
    (void)state;
    cli_ndjson parser;
    cli_ndjson_init(&parser, 0);
    static const struct {
        const char *member;
        const char *expected;
    } cases[] = {
        {"\"data\":null", "null"},
        {"\"data\":\"x\"", "\"x\""},
        {"\"text\":\"a\\nb\"", "a\nb"},
        {"\"text\":null", ""},
        {"\"text\":\"\"", ""},
        {"\"data_base64\":\"YWI=\"", "ab"},
        {"\"data_base64\":\"YWI\"", "ab"},
        {"\"data_base64\":\"\"", ""},
        {"\"data_base64\":\"\\u0059WI=\"", "ab"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[256];
        (void)snprintf(line, sizeof line, "{\"subject\":\"a\",%s}", cases[i].member);
        assert_int_equal(cli_ndjson_parse(&parser, daybook_text(line)), DAYBOOK_OK);
        assert_slice(parser.event.data, cases[i].expected);
    }
    cli_ndjson_deinit(&parser);
}

static void a_fault_has_its_column(void **state) {
    (void)state;
    cli_ndjson parser;
    cli_ndjson_init(&parser, 0);
    static const struct {
        const char *line;
        size_t column;
    } cases[] = {
        {"", 1},
        {"[]", 1},
        {"{\"subject\":\"a\"", 15},
        {"{\"subject\":\"a\"}}", 16},
        {"{\"subject\":\"a b\"}", 12},
        {"{\"subject\":1}", 12},
        {"{\"subject\":\"a\",\"data\":1.}", 25},
        {"{\"subject\":\"a\",\"data_base64\":\"A\"}", 30},
        {"{\"subject\":\"a\",\"data_base64\":\"AB==A\"}", 30},
        {"{\"subject\":\"a\",\"data_base64\":\"AB\"}", 30}, // bits left over
        {"{\"subject\":\"a\",\"tags\":[1]}", 24},
        {"{\"subject\":\"a\",\"headers\":{\"h\":1}}", 31},
        {"{\"id\":\"i\"}", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(cli_ndjson_parse(&parser, daybook_text(cases[i].line)), DAYBOOK_EINVALID);
        assert_int_equal(parser.column, cases[i].column);
        assert_true(parser.message[0] != '\0');
    }
    cli_ndjson_deinit(&parser);
}

static void lines_come_when_their_newline_does(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    cli_line_reader reader;
    cli_line_reader_init(&reader, ends[0], 1024);
    daybook_slice line;
    assert_int_equal(write(ends[1], "one\r\n\ntw", 8), 8);
    assert_int_equal(cli_line_reader_next(&reader, &line), 1);
    assert_slice(line, "one");
    assert_true(cli_line_reader_is_ready(&reader));
    assert_int_equal(cli_line_reader_next(&reader, &line), 1);
    assert_slice(line, "");
    assert_false(cli_line_reader_is_ready(&reader));
    assert_int_equal(write(ends[1], "o\nlast", 6), 6);
    assert_int_equal(cli_line_reader_next(&reader, &line), 1);
    assert_slice(line, "two");
    assert_int_equal(reader.line_number, 3);
    (void)close(ends[1]);
    assert_int_equal(cli_line_reader_next(&reader, &line), 1);
    assert_slice(line, "last");
    assert_int_equal(cli_line_reader_next(&reader, &line), 0);
    (void)close(ends[0]);
    cli_line_reader_deinit(&reader);
}

static void waiting_for_a_line_can_be_ended(void **state) {
    (void)state;
    int ends[2], wake[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(pipe(wake), 0);
    cli_line_reader reader;
    cli_line_reader_init(&reader, ends[0], 1024);
    reader.wake_descriptor = wake[0];
    assert_int_equal(write(wake[1], "", 1), 1);
    daybook_slice line;
    assert_int_equal(cli_line_reader_next(&reader, &line), -1);
    assert_int_equal(reader.failed_errno, ECANCELED);
    for (int i = 0; i < 2; i++) {
        (void)close(ends[i]);
        (void)close(wake[i]);
    }
    cli_line_reader_deinit(&reader);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member_is_taken),
        cmocka_unit_test(data_is_json_text_or_bytes),
        cmocka_unit_test(a_fault_has_its_column),
        cmocka_unit_test(lines_come_when_their_newline_does),
        cmocka_unit_test(waiting_for_a_line_can_be_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
