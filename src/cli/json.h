// SPDX-License-Identifier: Apache-2.0
//
// A JSON scanner that never builds a tree: checks, finds members, strips white space, and always keeps
// the bytes of numbers, strings and keys as they are. RFC 8259 grammar, strict UTF-8, nesting bounded by
// CLI_JSON_DEPTH_MAX without recursion. Pure functions, no allocation.
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include "daybook/slice.h"

#define CLI_JSON_DEPTH_MAX 4096

typedef struct cli_json_error {
    size_t offset;       // of the byte that is wrong
    const char *message; // what was expected
} cli_json_error;

// Scan one value at text[*offset], white space before it allowed; moves *offset behind it. 1 or 0 (error).
int cli_json_scan(daybook_slice text, size_t *offset, daybook_slice *value_out, cli_json_error *error);
// 1 where the whole text is one JSON value (white space around it allowed).
int cli_json_is_valid(daybook_slice text, cli_json_error *error);
// Copy the value without white space between tokens; `out` has room for text.size bytes. Returns the
// number of bytes written, or SIZE_MAX where the text is not one valid JSON value.
size_t cli_json_compact(daybook_slice text, char *out);

// Bytes of the UTF-8 sequence at `data`, 1 to 4; 0 where it is none (surrogates and overlong forms are none).
size_t cli_utf8_size(const unsigned char *data, size_t size);

// Members of an object, elements of an array. Begin on a text whose value is an object or array.
typedef struct cli_json_iterator {
    daybook_slice text;
    size_t offset;
    char close; // '}' or ']'
    int started;
} cli_json_iterator;

// 1 where the value is an object (`open` '{') or array ('['), else 0.
int cli_json_begin(daybook_slice value, char open, cli_json_iterator *iterator_out, cli_json_error *error);
// 1: the next one; 0: the end; -1: error. `key_out` is the raw string with quotes (arrays: empty).
int cli_json_next(cli_json_iterator *iterator, daybook_slice *key_out, daybook_slice *value_out,
                  cli_json_error *error);

// Decode a raw string (with quotes) into `out`, which has room for raw.size bytes. Returns the size, or
// SIZE_MAX where an escape names half of a surrogate pair.
size_t cli_json_unescape(daybook_slice raw, char *out);

#endif
