// SPDX-License-Identifier: Apache-2.0
// The conversation between a command and the server of its store. Input: one message, or pieces of arguments. What
// is understood is within bounds and means the same when it is written again.
#include "cli/served_protocol.h"
#include "fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void check_hello(daybook_slice data) {
    cli_served_hello hello;
    if (!cli_served_parse_hello(data, &hello) || hello.version != CLI_SERVED_VERSION) return;
    unsigned char again[CLI_SERVED_HELLO_SIZE];
    cli_served_put_hello(again, &hello);
    FUZZ_CHECK(data.size == sizeof again && memcmp(again, data.data, sizeof again) == 0);
}

static void check_opened(daybook_slice data) {
    cli_served_opened opened;
    if (!cli_served_parse_opened(data, &opened)) return;
    unsigned char again[CLI_SERVED_OPENED_SIZE];
    cli_served_put_opened(again, &opened);
    FUZZ_CHECK(data.size == sizeof again && memcmp(again, data.data, sizeof again) == 0);
}

static void check_message(const uint8_t *data, size_t size, int is_from_caller) {
    cli_served_message message;
    if (!cli_served_parse(data, size, is_from_caller, &message)) return;
    FUZZ_CHECK(message.data.size == size - CLI_SERVED_HEAD_SIZE && message.data.size <= CLI_SERVED_DATA_MAX);
    FUZZ_CHECK(message.channel < CLI_SERVED_CHANNELS_MAX);
    FUZZ_CHECK((message.type < CLI_SERVED_WELCOME) == is_from_caller);
    FUZZ_CHECK(message.type != CLI_SERVED_INPUT_END || message.data.size <= CLI_SERVED_TEXT_MAX);
    fuzz_touch(message.data);
    unsigned char head[CLI_SERVED_HEAD_SIZE];
    cli_served_put_head(head, message.type, message.channel, message.number);
    FUZZ_CHECK(memcmp(head, data, sizeof head) == 0);
    if (message.type == CLI_SERVED_HELLO) check_hello(message.data);
    if (message.type == CLI_SERVED_OPENED) check_opened(message.data);
}

// The first byte says how many, the second how they are cut.
static void check_arguments(const uint8_t *data, size_t size) {
    if (size < 2) return;
    cli_served_arguments arguments = {.bytes = NULL};
    size_t count = data[0], part = (size_t)data[1] + 1;
    for (size_t at = 2; at < size; at += part)
        FUZZ_CHECK(cli_served_arguments_add(&arguments, data + at, size - at < part ? size - at : part) == 0);
    int failed = cli_served_arguments_end(&arguments, count);
    FUZZ_CHECK(failed == 0 || failed == EINVAL);
    if (failed == 0) {
        size_t bytes = 0;
        FUZZ_CHECK(arguments.count == count && count >= 2 && arguments.list[count] == NULL);
        for (size_t i = 0; i < count; i++) bytes += strlen(arguments.list[i]) + 1;
        FUZZ_CHECK(bytes == size - 2);
        FUZZ_CHECK(cli_served_is_named(arguments.list, count, arguments.list[count - 1]));
    }
    cli_served_arguments_release(&arguments);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_message(data, size, 0);
    check_message(data, size, 1);
    check_arguments(data, size);
    return 0;
}
