// SPDX-License-Identifier: Apache-2.0
//
// Standard output: one large buffer in front of a descriptor, with writers for JSON, CSV and events that
// allocate nothing per event. Write errors stick: the first errno is kept, later output is dropped, and
// main turns it into an exit status. Not thread-safe; one thread owns an output at a time.
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "daybook/event.h"
#include "daybook/time.h"

#include <stddef.h>
#include <stdint.h>

typedef struct cli_output {
    int descriptor; // negative: keep everything in the buffer (for texts built in memory)
    int failed_errno;
    struct cli_session *session; // whose descriptor it is; NULL: this process's
    char *data;
    size_t size;
    size_t capacity;
    uint64_t written_bytes;
    // The last two seconds printed, as text: an event has two times.
    int64_t time_second_ns[2];
    char time_text[2][DAYBOOK_TIME_TEXT_SIZE];
    unsigned time_last; // the one used last
} cli_output;

// Memory comes with the first write. ENOMEM shows as failed_errno.
void cli_output_init(cli_output *out, int descriptor);
void cli_output_deinit(cli_output *out);
// Write what is buffered. 0, or the errno that stuck.
int cli_output_flush(cli_output *out);
// Room for `size` more bytes without a flush in between; NULL on failure. Then add to out->size.
char *cli_output_reserve(cli_output *out, size_t size);

void cli_put(cli_output *out, const void *data, size_t size);
void cli_puts(cli_output *out, const char *text);
void cli_put_slice(cli_output *out, daybook_slice text);
void cli_put_char(cli_output *out, char character);
void cli_put_number(cli_output *out, uint64_t number);
void cli_put_spaces(cli_output *out, size_t count);
void cli_put_format(cli_output *out, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;
// UTC, nine digits and Z, without quotes.
void cli_put_time(cli_output *out, int64_t time_ns);

// A JSON string with quotes. Bytes that are no UTF-8 become U+FFFD.
void cli_put_json_string(cli_output *out, daybook_slice text);
// A CSV field, quoted where RFC 4180 asks for it.
void cli_put_csv_field(cli_output *out, daybook_slice text);
// Text for people: control characters are shown as \xNN, so that stored bytes cannot drive a terminal.
void cli_put_plain(cli_output *out, daybook_slice text, size_t columns_max);

enum cli_data_mode {
    CLI_DATA_COMPACT, // JSON without white space between tokens: `read`
    CLI_DATA_EXACT    // JSON only where the line gives back every byte, else text: `export`
};

// `"data":...`, `"text":...` or `"data_base64":...`, exactly one, without a comma before it.
void cli_put_json_data(cli_output *out, daybook_slice data, int mode);
// The event as one JSON object without the newline, fields in the order of the contract.
void cli_put_event_json(cli_output *out, const daybook_recorded_event *event, int mode);
// The members only, without the braces: for objects that say more.
void cli_put_event_members(cli_output *out, const daybook_recorded_event *event, int mode);

// 1 where the bytes are valid UTF-8 (no surrogates, no overlong forms).
int cli_is_utf8(daybook_slice text);

#endif
