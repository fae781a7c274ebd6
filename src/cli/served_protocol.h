// SPDX-License-Identifier: Apache-2.0
//
// What is said between a command and the server that runs it: messages as bytes, and the arguments of a
// command put together from them. Pure but for the memory of the arguments. See served_protocol.c for the
// conversation.
#ifndef CLI_SERVED_PROTOCOL_H
#define CLI_SERVED_PROTOCOL_H

#include "daybook/slice.h"

#include <stddef.h>
#include <stdint.h>

enum {
    CLI_SERVED_VERSION = 1, // of the conversation, and of what commands mean
    CLI_SERVED_HEAD_SIZE = 8,
    CLI_SERVED_DATA_MAX = 64 << 10,
    CLI_SERVED_MESSAGE_MAX = CLI_SERVED_HEAD_SIZE + CLI_SERVED_DATA_MAX,
    CLI_SERVED_ARGUMENTS_MAX = 4 << 20, // bytes of all arguments
    CLI_SERVED_CHANNELS_MAX = 4,        // inputs of a command that are open at the same time
    CLI_SERVED_TEXT_MAX = 480,
};

enum cli_served_type {
    // The caller's.
    CLI_SERVED_HELLO = 1, // who calls, and what its terminal is like
    CLI_SERVED_ARGUMENTS, // a piece of the arguments, each ended by a NUL
    CLI_SERVED_RUN,       // number: how many arguments
    CLI_SERVED_OPENED,    // channel; number: errno; what was opened
    CLI_SERVED_INPUT,     // channel; bytes
    CLI_SERVED_INPUT_END, // channel; number: errno; text
    CLI_SERVED_WRITTEN,   // number: errno
    CLI_SERVED_INTERRUPT,
    // The server's.
    CLI_SERVED_WELCOME = 32, // number: process id
    CLI_SERVED_REFUSED,      // number: cli_served_refusal; the server's version
    CLI_SERVED_PREPARED,     // from now on an interrupt is asked for, not taken
    CLI_SERVED_OPEN,         // channel; number: cli_served_source; path
    CLI_SERVED_WANT,         // channel; number: bytes
    CLI_SERVED_CLOSE,        // channel
    CLI_SERVED_OUTPUT,       // bytes; channel 1: answer when they are written
    CLI_SERVED_ERRORS,       // the same for standard error
    CLI_SERVED_RESULT,       // number: exit status; channel 1: the server's end cut it short
};

enum cli_served_refusal {
    CLI_SERVED_REFUSED_VERSION = 1,
    CLI_SERVED_REFUSED_BUSY,
    CLI_SERVED_REFUSED_ENDING,
};

enum cli_served_source {
    CLI_SERVED_STANDARD_INPUT = 1,
    CLI_SERVED_FILE,
    CLI_SERVED_GIT, // the history of a repository
};

typedef struct cli_served_message {
    int type;
    unsigned channel;
    uint32_t number;
    daybook_slice data; // borrowed
} cli_served_message;

// Writes the head of a message; its data follow.
void cli_served_put_head(unsigned char head[CLI_SERVED_HEAD_SIZE], int type, unsigned channel,
                         uint32_t number);
// 1 where `size` bytes are a whole message that this side may say; data borrow from them.
int cli_served_parse(const void *bytes, size_t size, int is_from_caller, cli_served_message *message_out);

enum cli_served_hello_flag {
    CLI_SERVED_TERMINAL_IN = 1,
    CLI_SERVED_TERMINAL_OUT = 2,
    CLI_SERVED_TERMINAL_ERR = 4,
    CLI_SERVED_COLOR = 8,
    CLI_SERVED_READS = 16, // the caller can do without the server
};

typedef struct cli_served_hello {
    uint32_t version;
    uint32_t flags;
    uint32_t columns;
} cli_served_hello;

enum { CLI_SERVED_HELLO_SIZE = 20 };
void cli_served_put_hello(unsigned char data[CLI_SERVED_HELLO_SIZE], const cli_served_hello *hello);
// 1 where it is one. Of another version nothing but that is known.
int cli_served_parse_hello(daybook_slice data, cli_served_hello *hello_out);

typedef struct cli_served_opened {
    uint64_t size; // of a regular file, else 0
    int is_regular;
    int is_directory;
} cli_served_opened;

enum { CLI_SERVED_OPENED_SIZE = 12 };
void cli_served_put_opened(unsigned char data[CLI_SERVED_OPENED_SIZE], const cli_served_opened *opened);
int cli_served_parse_opened(daybook_slice data, cli_served_opened *opened_out);

// --- Arguments ---

typedef struct cli_served_arguments {
    char *bytes;
    size_t size;
    size_t capacity;
    char **list; // NULL-ended, borrows from bytes
    size_t count;
} cli_served_arguments;

// 0, ENOMEM, or E2BIG above CLI_SERVED_ARGUMENTS_MAX.
int cli_served_arguments_add(cli_served_arguments *arguments, const void *bytes, size_t size);
// All are there: make the list. 0, ENOMEM, or EINVAL where they are not `count` texts.
int cli_served_arguments_end(cli_served_arguments *arguments, size_t count);
void cli_served_arguments_release(cli_served_arguments *arguments);
// Whether one of the arguments is `text`, or an option given that value (--name=text).
int cli_served_is_named(char *const *arguments, size_t count, const char *text);

#endif
