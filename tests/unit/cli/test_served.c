// SPDX-License-Identifier: Apache-2.0
// The conversation of a served command: what is understood, what is refused.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/served_protocol.h"

static size_t make(unsigned char *bytes, int type, unsigned channel, uint32_t number, const void *data,
                   size_t size) {
    cli_served_put_head(bytes, type, channel, number);
    if (size > 0) memcpy(bytes + CLI_SERVED_HEAD_SIZE, data, size);
    return CLI_SERVED_HEAD_SIZE + size;
}

static int is_understood(int type, unsigned channel, const void *data, size_t size, int is_from_caller) {
    static unsigned char bytes[CLI_SERVED_MESSAGE_MAX + 1];
    cli_served_message message;
    return cli_served_parse(bytes, make(bytes, type, channel, 7, data, size), is_from_caller, &message);
}

static void messages_come_back(void **state) {
    (void)state;
    unsigned char bytes[64];
    cli_served_message message;
    size_t size = make(bytes, CLI_SERVED_INPUT, 3, 0x01020304, "data", 4);
    assert_memory_equal(bytes,
                        "\x05\x03\x00\x00\x04\x03\x02\x01"
                        "data",
                        12);
    assert_true(cli_served_parse(bytes, size, 1, &message));
    assert_int_equal(message.type, CLI_SERVED_INPUT);
    assert_int_equal(message.channel, 3);
    assert_int_equal(message.number, 0x01020304);
    assert_int_equal(message.data.size, 4);
    assert_memory_equal(message.data.data, "data", 4);
}

static void each_side_says_its_own(void **state) {
    (void)state;
    assert_true(is_understood(CLI_SERVED_INTERRUPT, 0, NULL, 0, 1));
    assert_false(is_understood(CLI_SERVED_INTERRUPT, 0, NULL, 0, 0));
    assert_true(is_understood(CLI_SERVED_RESULT, 1, NULL, 0, 0));
    assert_false(is_understood(CLI_SERVED_RESULT, 1, NULL, 0, 1));
}

static void what_is_out_of_bounds_is_refused(void **state) {
    (void)state;
    static char data[CLI_SERVED_DATA_MAX + 1];
    unsigned char bytes[16] = {CLI_SERVED_RUN};
    cli_served_message message;
    for (size_t size = 0; size < CLI_SERVED_HEAD_SIZE; size++)
        assert_false(cli_served_parse(bytes, size, 1, &message));
    assert_true(cli_served_parse(bytes, CLI_SERVED_HEAD_SIZE, 1, &message));
    bytes[2] = 1;
    assert_false(cli_served_parse(bytes, CLI_SERVED_HEAD_SIZE, 1, &message));
    assert_true(is_understood(CLI_SERVED_INPUT, CLI_SERVED_CHANNELS_MAX - 1, data, sizeof data - 1, 1));
    assert_false(is_understood(CLI_SERVED_INPUT, CLI_SERVED_CHANNELS_MAX, data, 1, 1));
    assert_false(is_understood(CLI_SERVED_INPUT, 0, data, sizeof data, 1));
    assert_false(is_understood(CLI_SERVED_INPUT, 0, data, 0, 1)); // nothing is not an end
    assert_false(is_understood(CLI_SERVED_INPUT_END, 0, data, CLI_SERVED_TEXT_MAX + 1, 1));
    assert_false(is_understood(CLI_SERVED_RUN, 1, NULL, 0, 1));
    assert_false(is_understood(CLI_SERVED_OUTPUT, 2, data, 1, 0));
    assert_false(is_understood(99, 0, NULL, 0, 0));
    assert_false(is_understood(0, 0, NULL, 0, 1));
}

static void a_hello_of_another_version_is_known_as_such(void **state) {
    (void)state;
    unsigned char data[CLI_SERVED_HELLO_SIZE + 4] = {0};
    cli_served_hello said = {.version = CLI_SERVED_VERSION, .flags = CLI_SERVED_COLOR, .columns = 132}, heard;
    cli_served_put_hello(data, &said);
    assert_true(cli_served_parse_hello(daybook_bytes(data, CLI_SERVED_HELLO_SIZE), &heard));
    assert_memory_equal(&said, &heard, sizeof said);
    assert_false(cli_served_parse_hello(daybook_bytes(data, sizeof data), &heard));
    assert_false(cli_served_parse_hello(daybook_bytes(data, 11), &heard));
    said.version = CLI_SERVED_VERSION + 1;
    cli_served_put_hello(data, &said);
    assert_true(cli_served_parse_hello(daybook_bytes(data, sizeof data), &heard));
    assert_int_equal(heard.version, CLI_SERVED_VERSION + 1);
    data[0] = 'D';
    assert_false(cli_served_parse_hello(daybook_bytes(data, sizeof data), &heard));
}

static int put_together(const char *bytes, size_t size, size_t count, cli_served_arguments *arguments) {
    *arguments = (cli_served_arguments){.bytes = NULL};
    for (size_t i = 0; i < size; i++) assert_int_equal(cli_served_arguments_add(arguments, bytes + i, 1), 0);
    return cli_served_arguments_end(arguments, count);
}

static void arguments_are_put_together(void **state) {
    (void)state;
    static const char words[] = "shop\0append\0\0--batch=file"; // ends with the NUL of the literal
    cli_served_arguments arguments;
    assert_int_equal(put_together(words, sizeof words, 4, &arguments), 0);
    assert_int_equal(arguments.count, 4);
    assert_string_equal(arguments.list[1], "append");
    assert_string_equal(arguments.list[2], "");
    assert_string_equal(arguments.list[3], "--batch=file");
    assert_null(arguments.list[4]);
    assert_true(cli_served_is_named(arguments.list, 4, "file"));
    assert_true(cli_served_is_named(arguments.list, 4, "append"));
    assert_false(cli_served_is_named(arguments.list, 4, "fil"));
    assert_false(cli_served_is_named(arguments.list, 4, "batch=file"));
    cli_served_arguments_release(&arguments);
    static const struct {
        size_t size, count;
    } wrong[] = {
        {sizeof words, 3}, {sizeof words, 5}, {sizeof words - 1, 4}, {sizeof words - 1, 3}, {5, 1}, {0, 0}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(put_together(words, wrong[i].size, wrong[i].count, &arguments), EINVAL);
        cli_served_arguments_release(&arguments);
    }
}

static void arguments_are_bounded(void **state) {
    (void)state;
    static char part[CLI_SERVED_DATA_MAX];
    cli_served_arguments arguments = {.bytes = NULL};
    for (size_t done = 0; done < CLI_SERVED_ARGUMENTS_MAX; done += sizeof part)
        assert_int_equal(cli_served_arguments_add(&arguments, part, sizeof part), 0);
    assert_int_equal(cli_served_arguments_add(&arguments, part, 1), E2BIG);
    cli_served_arguments_release(&arguments);
}

static void what_was_opened_comes_back(void **state) {
    (void)state;
    cli_served_opened said = {.size = UINT64_C(0x123456789a), .is_regular = 1}, heard;
    unsigned char data[CLI_SERVED_OPENED_SIZE];
    cli_served_put_opened(data, &said);
    assert_true(cli_served_parse_opened(daybook_bytes(data, sizeof data), &heard));
    assert_memory_equal(&said, &heard, sizeof said);
    data[8] = 4;
    assert_false(cli_served_parse_opened(daybook_bytes(data, sizeof data), &heard));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_back),
        cmocka_unit_test(each_side_says_its_own),
        cmocka_unit_test(what_is_out_of_bounds_is_refused),
        cmocka_unit_test(a_hello_of_another_version_is_known_as_such),
        cmocka_unit_test(arguments_are_put_together),
        cmocka_unit_test(arguments_are_bounded),
        cmocka_unit_test(what_was_opened_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
