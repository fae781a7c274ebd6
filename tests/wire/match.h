// SPDX-License-Identifier: Apache-2.0
// Patterns of wire scripts: what is to be sent and what is expected, with names for what varies. README.md says what can be
// written. Texts here have a length, because what servers say holds any byte.
#ifndef DBK_TESTS_WIRE_MATCH_H
#define DBK_TESTS_WIRE_MATCH_H

#include <stdbool.h>
#include <stddef.h>

enum { NAME_COUNT_MAX = 64, NAME_SIZE_MAX = 32, VALUE_SIZE_MAX = 1024 };

typedef struct text {
    const char *data;
    size_t size;
} text;

/// What was captured.
typedef struct names {
    size_t count;
    struct {
        char name[NAME_SIZE_MAX];
        char value[VALUE_SIZE_MAX];
        size_t size;
    } all[NAME_COUNT_MAX];
} names;

void names_set(names *captured, text name, text value);

/// The bytes a script's text means: escapes undone, names put in, repetitions written out. Allocated; NULL, and why.
char *expand(const char *script_text, const names *captured, size_t *size_out, char *why, size_t capacity);
/// Does `said` match the pattern? Names that are new to `captured` are captured. False, and why.
bool match_text(const char *pattern, text said, names *captured, char *why, size_t capacity);
/// The same, where from the first bracket on the pattern is JSON, compared field by field.
bool match_json(const char *pattern, text said, names *captured, char *why, size_t capacity);

#endif
