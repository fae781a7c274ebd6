// SPDX-License-Identifier: Apache-2.0
//
// NDJSON events: one object per line, with the names `read --json` prints. Used by `append --batch` and
// `import ndjson`.
//
//   subject (required), data | text | data_base64 (at most one; none = empty), id, type, schema, tags [..],
//   headers {name: value or [values]}, time, correlation, causation, actor, ttl (seconds, or "never")
//
// null stands for absent (but "data":null is the data `null`). stream, seq, position, version, aggregate,
// recorded and unknown members are checked as JSON and ignored: the store makes them. The bytes of `data`
// are taken from the line exactly as they stand.
#ifndef CLI_NDJSON_H
#define CLI_NDJSON_H

#include "cli/input.h"
#include "daybook/daybook.h"

#include <stdio.h>

// Lines from a descriptor, as soon as their newline arrives. A last line without newline counts.
typedef struct cli_line_reader {
    int descriptor;
    int wake_descriptor;    // what becomes readable there ends the waiting with ECANCELED; -1: none
    const cli_input *input; // what the descriptor is of, to ask why a read failed; NULL: errno says it
    char *data;
    size_t capacity;
    size_t begin;   // of the next line
    size_t end;     // of the bytes read
    size_t scanned; // from begin to here there is no newline
    size_t line_size_max;
    uint64_t line_number; // of the line given last, from 1
    uint64_t read_bytes;
    int at_end;
    int failed_errno; // EFBIG: a line longer than line_size_max; ENOMEM; what read said
} cli_line_reader;

#define CLI_LINE_SIZE_MAX (64u << 20)

void cli_line_reader_init(cli_line_reader *reader, int descriptor, size_t line_size_max);
void cli_line_reader_deinit(cli_line_reader *reader);
// 1: a line without its newline (nor a CR before it), valid until the next call; 0: the end; -1:
// failed_errno.
int cli_line_reader_next(cli_line_reader *reader, daybook_slice *line_out);
// 1 where the next call gives a line without reading from the descriptor.
int cli_line_reader_is_ready(cli_line_reader *reader);

typedef struct cli_ndjson {
    int64_t now_ns;      // for relative times
    daybook_event event; // the last one parsed; borrows from the line and from this struct
    char *scratch;       // decoded strings
    size_t scratch_capacity;
    size_t scratch_size;
    daybook_slice *tags;
    size_t tag_capacity;
    daybook_header *headers;
    size_t header_capacity;
    // Set on failure.
    size_t column; // from 1, in bytes
    char message[256];
} cli_ndjson;

void cli_ndjson_init(cli_ndjson *parser, int64_t now_ns);
void cli_ndjson_deinit(cli_ndjson *parser);
// OK with parser->event; EINVALID with column and message; ENOMEM.
daybook_status cli_ndjson_parse(cli_ndjson *parser, daybook_slice line);

#endif
