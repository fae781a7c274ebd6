// SPDX-License-Identifier: Apache-2.0
//
// The conversation between a command and the server that has its store open.
//
// A socket of whole messages (SOCK_SEQPACKET), so that there is no half of one. Each has a head of 8 bytes
//
//     0  u8   type
//     1  u8   channel
//     2  u16  0
//     4  u32  number        little-endian, as everything here
//
// and up to 64 KiB of data. What follows HELLO may change with the version; HELLO and REFUSED stay as they
// are.
//
//     caller                         server
//     HELLO                    ->
//                              <-    WELCOME, or REFUSED and the end
//     ARGUMENTS ... RUN        ->                       until here nothing has happened
//                              <-    OUTPUT ERRORS      in the order they are printed
//     WRITTEN                  ->                       for those that ask, with what write said
//                              <-    OPEN channel       standard input, a file, git
//     OPENED                   ->
//                              <-    WANT channel       one INPUT or INPUT_END for each
//     INPUT ... INPUT_END      ->
//                              <-    CLOSE channel
//                              <-    PREPARED           from now on ^C is INTERRUPT
//     INTERRUPT                ->
//                              <-    RESULT
//
// The first argument is the store as the caller names it, then come the words of the command line.
//
// An input has ended when INPUT_END says so, never because the socket did: a caller that is killed has not
// come to the end of its data.
#include "cli/served_protocol.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char magic[8] = {'d', 'a', 'y', 'b', 'o', 'o', 'k', '\n'};

// --- Messages --------------------------------------------------------------------------------------------

static void put_u32(unsigned char *to, uint32_t number) {
    for (int i = 0; i < 4; i++) to[i] = (unsigned char)(number >> (8 * i));
}

static uint32_t get_u32(const unsigned char *from) {
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

// What each type carries. Types of the caller are below those of the server.
static const struct form {
    int type;
    size_t size_min;
    size_t size_max;
    int has_channel; // 1: an input; 2: yes or no
} forms[] = {
    {CLI_SERVED_HELLO, 12, 256, 0},
    {CLI_SERVED_ARGUMENTS, 1, CLI_SERVED_DATA_MAX, 0},
    {CLI_SERVED_RUN, 0, 0, 0},
    {CLI_SERVED_OPENED, CLI_SERVED_OPENED_SIZE, CLI_SERVED_OPENED_SIZE, 1},
    {CLI_SERVED_INPUT, 1, CLI_SERVED_DATA_MAX, 1},
    {CLI_SERVED_INPUT_END, 0, CLI_SERVED_TEXT_MAX, 1},
    {CLI_SERVED_WRITTEN, 0, 0, 0},
    {CLI_SERVED_INTERRUPT, 0, 0, 0},
    {CLI_SERVED_WELCOME, 0, 0, 0},
    {CLI_SERVED_REFUSED, 0, 256, 0},
    {CLI_SERVED_PREPARED, 0, 0, 0},
    {CLI_SERVED_OPEN, 1, CLI_SERVED_DATA_MAX, 1},
    {CLI_SERVED_WANT, 0, 0, 1},
    {CLI_SERVED_CLOSE, 0, 0, 1},
    {CLI_SERVED_OUTPUT, 1, CLI_SERVED_DATA_MAX, 2},
    {CLI_SERVED_ERRORS, 1, CLI_SERVED_DATA_MAX, 2},
    {CLI_SERVED_RESULT, 0, 0, 2},
};

void cli_served_put_head(unsigned char head[CLI_SERVED_HEAD_SIZE], int type, unsigned channel,
                         uint32_t number) {
    head[0] = (unsigned char)type;
    head[1] = (unsigned char)channel;
    head[2] = head[3] = 0;
    put_u32(head + 4, number);
}

int cli_served_parse(const void *bytes, size_t size, int is_from_caller, cli_served_message *message_out) {
    const unsigned char *head = bytes;
    if (size < CLI_SERVED_HEAD_SIZE || head[2] != 0 || head[3] != 0) return 0;
    if ((head[0] < CLI_SERVED_WELCOME) != (is_from_caller != 0)) return 0;
    const struct form *form = NULL;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        if (forms[i].type == head[0]) form = &forms[i];
    size_t data_size = size - CLI_SERVED_HEAD_SIZE;
    if (form == NULL || data_size < form->size_min || data_size > form->size_max) return 0;
    static const unsigned channels[] = {1, CLI_SERVED_CHANNELS_MAX, 2};
    if (head[1] >= channels[form->has_channel]) return 0;
    *message_out = (cli_served_message){.type = head[0],
                                        .channel = head[1],
                                        .number = get_u32(head + 4),
                                        .data = daybook_bytes(head + CLI_SERVED_HEAD_SIZE, data_size)};
    return 1;
}

void cli_served_put_hello(unsigned char data[CLI_SERVED_HELLO_SIZE], const cli_served_hello *hello) {
    memcpy(data, magic, sizeof magic);
    put_u32(data + 8, hello->version);
    put_u32(data + 12, hello->flags);
    put_u32(data + 16, hello->columns);
}

int cli_served_parse_hello(daybook_slice data, cli_served_hello *hello_out) {
    const unsigned char *bytes = data.data;
    if (data.size < 12 || memcmp(bytes, magic, sizeof magic) != 0) return 0;
    *hello_out = (cli_served_hello){.version = get_u32(bytes + 8)};
    if (hello_out->version != CLI_SERVED_VERSION) return 1;
    if (data.size != CLI_SERVED_HELLO_SIZE) return 0;
    hello_out->flags = get_u32(bytes + 12);
    hello_out->columns = get_u32(bytes + 16);
    return 1;
}

void cli_served_put_opened(unsigned char data[CLI_SERVED_OPENED_SIZE], const cli_served_opened *opened) {
    put_u32(data, (uint32_t)opened->size);
    put_u32(data + 4, (uint32_t)(opened->size >> 32));
    put_u32(data + 8, (opened->is_regular ? 1u : 0u) | (opened->is_directory ? 2u : 0u));
}

int cli_served_parse_opened(daybook_slice data, cli_served_opened *opened_out) {
    const unsigned char *bytes = data.data;
    if (data.size != CLI_SERVED_OPENED_SIZE || get_u32(bytes + 8) > 3) return 0;
    *opened_out = (cli_served_opened){.size = get_u32(bytes) | (uint64_t)get_u32(bytes + 4) << 32,
                                      .is_regular = (bytes[8] & 1) != 0,
                                      .is_directory = (bytes[8] & 2) != 0};
    return 1;
}

// --- Arguments -------------------------------------------------------------------------------------------

int cli_served_arguments_add(cli_served_arguments *arguments, const void *bytes, size_t size) {
    if (size > CLI_SERVED_ARGUMENTS_MAX - arguments->size) return E2BIG;
    if (size > arguments->capacity - arguments->size) {
        size_t capacity = arguments->capacity == 0 ? 1024 : arguments->capacity;
        while (capacity < arguments->size + size) capacity *= 2;
        char *larger = realloc(arguments->bytes, capacity);
        if (larger == NULL) return ENOMEM;
        arguments->bytes = larger;
        arguments->capacity = capacity;
    }
    memcpy(arguments->bytes + arguments->size, bytes, size);
    arguments->size += size;
    return 0;
}

int cli_served_arguments_end(cli_served_arguments *arguments, size_t count) {
    size_t found = 0;
    for (size_t i = 0; i < arguments->size; i++) found += arguments->bytes[i] == '\0';
    // At least the store and a verb.
    if (count < 2 || found != count || arguments->bytes[arguments->size - 1] != '\0') return EINVAL;
    arguments->list = calloc(count + 1, sizeof *arguments->list);
    if (arguments->list == NULL) return ENOMEM;
    char *next = arguments->bytes;
    for (; arguments->count < count; next += strlen(next) + 1) arguments->list[arguments->count++] = next;
    return 0;
}

void cli_served_arguments_release(cli_served_arguments *arguments) {
    free(arguments->bytes);
    free(arguments->list);
    *arguments = (cli_served_arguments){.bytes = NULL};
}

int cli_served_is_named(char *const *arguments, size_t count, const char *text) {
    for (size_t i = 0; i < count; i++) {
        const char *argument = arguments[i];
        if (strcmp(argument, text) == 0) return 1;
        if (strncmp(argument, "--", 2) != 0) continue;
        const char *value = strchr(argument, '=');
        if (value != NULL && strcmp(value + 1, text) == 0) return 1;
    }
    return 0;
}
