// SPDX-License-Identifier: Apache-2.0
//
// The output buffer. It is written out when 256 KiB are full and when somebody asks; it grows only for one
// piece that is larger. Strings are copied eight bytes at a time while they are plain ASCII: printing events
// is the hot path of `read`, `export` and `state --history`.

#include "cli/output.h"

#include "cli/json.h"
#include "cli/session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BUFFER_SIZE (256u * 1024)
#define CHUNK_SIZE (32u * 1024) // escaped six-fold it still fits the buffer

void cli_output_init(cli_output *out, int descriptor) {
    memset(out, 0, sizeof *out);
    out->descriptor = descriptor;
    out->time_second_ns[0] = out->time_second_ns[1] = INT64_MAX;
}

void cli_output_deinit(cli_output *out) {
    free(out->data);
    out->data = NULL;
    out->size = out->capacity = 0;
}

int cli_output_flush(cli_output *out) {
    if (out->descriptor < 0) return out->failed_errno;
    size_t done = 0;
    if (out->session != NULL && out->failed_errno == 0) {
        out->failed_errno = cli_session_write(out->session, out->descriptor, out->data, out->size);
        if (out->failed_errno == 0) out->written_bytes += out->size;
        done = out->size;
    }
    while (done < out->size && out->failed_errno == 0) {
        ssize_t count = write(out->descriptor, out->data + done, out->size - done);
        if (count > 0) {
            done += (size_t)count;
            out->written_bytes += (uint64_t)count;
        } else if (count < 0 && errno != EINTR) {
            out->failed_errno = errno;
        }
    }
    out->size = 0;
    return out->failed_errno;
}

static int grow(cli_output *out, size_t need) {
    size_t capacity = out->capacity < BUFFER_SIZE ? BUFFER_SIZE : out->capacity;
    while (capacity < need) {
        if (capacity > SIZE_MAX / 2) return 0;
        capacity *= 2;
    }
    char *data = realloc(out->data, capacity);
    if (data == NULL) return 0;
    out->data = data;
    out->capacity = capacity;
    return 1;
}

char *cli_output_reserve(cli_output *out, size_t size) {
    if (out->capacity - out->size >= size && out->data != NULL) return out->data + out->size;
    if (out->failed_errno != 0)
        out->size = 0; // nobody will see it: keep the room
    else if (out->descriptor >= 0)
        (void)cli_output_flush(out);
    if (out->capacity - out->size < size || out->data == NULL) {
        if (size > SIZE_MAX - out->size || !grow(out, out->size + size)) {
            if (out->failed_errno == 0) out->failed_errno = ENOMEM;
            return NULL;
        }
    }
    return out->data + out->size;
}

void cli_put(cli_output *out, const void *data, size_t size) {
    if (size == 0) return;
    char *room = cli_output_reserve(out, size);
    if (room == NULL) return;
    memcpy(room, data, size);
    out->size += size;
}

void cli_puts(cli_output *out, const char *text) {
    cli_put(out, text, strlen(text));
}

void cli_put_slice(cli_output *out, daybook_slice text) {
    cli_put(out, text.data, text.size);
}

void cli_put_char(cli_output *out, char character) {
    cli_put(out, &character, 1);
}

void cli_put_number(cli_output *out, uint64_t number) {
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    cli_put(out, digits + at, sizeof digits - at);
}

void cli_put_spaces(cli_output *out, size_t count) {
    char *room = cli_output_reserve(out, count);
    if (room == NULL || count == 0) return;
    memset(room, ' ', count);
    out->size += count;
}

void cli_put_format(cli_output *out, const char *format, ...) {
    va_list arguments;
    char small[512];
    va_start(arguments, format);
    int size = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);
    if (size < 0) return;
    if ((size_t)size < sizeof small) {
        cli_put(out, small, (size_t)size);
        return;
    }
    char *room = cli_output_reserve(out, (size_t)size + 1);
    if (room == NULL) return;
    va_start(arguments, format);
    (void)vsnprintf(room, (size_t)size + 1, format, arguments);
    va_end(arguments);
    out->size += (size_t)size;
}

// Events come in order of time, so the text down to the second is mostly that of the event before.
void cli_put_time(cli_output *out, int64_t time_ns) {
    const int64_t second_ns = 1000000000;
    int64_t fraction = time_ns % second_ns;
    if (fraction < 0) fraction += second_ns;
    if (time_ns < INT64_MIN + second_ns) {
        char text[DAYBOOK_TIME_TEXT_SIZE];
        cli_put(out, text, daybook_time_format(time_ns, text));
        return;
    }
    int64_t second = time_ns - fraction;
    if (second != out->time_second_ns[out->time_last]) {
        out->time_last ^= 1;
        if (second != out->time_second_ns[out->time_last]) {
            (void)daybook_time_format(second, out->time_text[out->time_last]);
            out->time_second_ns[out->time_last] = second;
        }
    }
    char *room = cli_output_reserve(out, 30);
    if (room == NULL) return;
    memcpy(room, out->time_text[out->time_last], 20);
    for (int i = 28; i >= 20; i--) {
        room[i] = (char)('0' + fraction % 10);
        fraction /= 10;
    }
    room[29] = 'Z';
    out->size += 30;
}

// --- JSON strings ---

static int is_plain_word(uint64_t word) {
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t quote = word ^ (ones * '"');
    uint64_t slash = word ^ (ones * '\\');
    uint64_t control = (word - ones * 0x20) & ~word;
    return ((((quote - ones) & ~quote) | ((slash - ones) & ~slash) | control | word) & tops) == 0;
}

static char *put_escaped(char *room, unsigned char character) {
    static const char digits[] = "0123456789abcdef";
    char letter = 0;
    switch (character) {
    case '"':
        letter = '"';
        break;
    case '\\':
        letter = '\\';
        break;
    case '\n':
        letter = 'n';
        break;
    case '\r':
        letter = 'r';
        break;
    case '\t':
        letter = 't';
        break;
    case '\b':
        letter = 'b';
        break;
    case '\f':
        letter = 'f';
        break;
    default:
        break;
    }
    *room++ = '\\';
    if (letter != 0) {
        *room++ = letter;
        return room;
    }
    memcpy(room, "u00", 3);
    room[3] = digits[character >> 4];
    room[4] = digits[character & 15];
    return room + 5;
}

// Up to CHUNK_SIZE bytes of text (and the end of the sequence that crosses it); returns how many were used.
static size_t put_string_chunk(cli_output *out, const unsigned char *text, size_t size) {
    char *room = cli_output_reserve(out, 6 * (size_t)CHUNK_SIZE + 32);
    if (room == NULL) return size;
    char *begin = room;
    size_t at = 0;
    while (at < size && at < CHUNK_SIZE) {
        uint64_t word;
        while (size - at >= 8 && at < CHUNK_SIZE && (memcpy(&word, text + at, 8), is_plain_word(word))) {
            memcpy(room, &word, 8);
            room += 8;
            at += 8;
        }
        if (at >= size || at >= CHUNK_SIZE) break;
        unsigned char character = text[at];
        if (character >= 0x80) {
            size_t sequence = cli_utf8_size(text + at, size - at);
            if (sequence == 0) {
                memcpy(room, "\xEF\xBF\xBD", 3);
                room += 3;
                at++;
            } else {
                memcpy(room, text + at, sequence);
                room += sequence;
                at += sequence;
            }
        } else if (character < 0x20 || character == '"' || character == '\\' || character == 0x7F) {
            room = put_escaped(room, character);
            at++;
        } else {
            *room++ = (char)character;
            at++;
        }
    }
    out->size += (size_t)(room - begin);
    return at;
}

void cli_put_json_string(cli_output *out, daybook_slice text) {
    cli_put_char(out, '"');
    const unsigned char *bytes = text.data;
    size_t at = 0;
    // Short strings are nearly all of them: no chunk-sized room for these.
    if (text.size <= 256) {
        char *room = cli_output_reserve(out, 6 * 256 + 32);
        if (room == NULL) return;
    }
    while (at < text.size) at += put_string_chunk(out, bytes + at, text.size - at);
    cli_put_char(out, '"');
}

void cli_put_csv_field(cli_output *out, daybook_slice text) {
    const char *bytes = text.data;
    int quote = text.size != 0 && (bytes[0] == ' ' || bytes[text.size - 1] == ' ');
    for (size_t i = 0; i < text.size && !quote; i++)
        quote = bytes[i] == ',' || bytes[i] == '"' || bytes[i] == '\n' || bytes[i] == '\r';
    if (!quote) {
        cli_put_slice(out, text);
        return;
    }
    cli_put_char(out, '"');
    size_t begin = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (bytes[i] != '"') continue;
        cli_put(out, bytes + begin, i + 1 - begin);
        begin = i; // the quote again
    }
    cli_put(out, bytes + begin, text.size - begin);
    cli_put_char(out, '"');
}

// C1 control characters (U+0080 to U+009F) drive terminals too.
static int is_control(const unsigned char *text, size_t sequence) {
    if (sequence == 1) return text[0] < 0x20 || text[0] == 0x7F;
    return sequence == 2 && text[0] == 0xC2 && text[1] < 0xA0;
}

void cli_put_plain(cli_output *out, daybook_slice text, size_t columns_max) {
    const unsigned char *bytes = text.data;
    size_t columns = 0;
    for (size_t at = 0; at < text.size;) {
        if (columns_max != 0 && columns + 1 >= columns_max && text.size - at > 1) {
            cli_puts(out, "\xE2\x80\xA6"); // ellipsis
            return;
        }
        size_t sequence = cli_utf8_size(bytes + at, text.size - at);
        if (sequence == 0 || is_control(bytes + at, sequence)) {
            cli_put_format(out, "\\x%02x", bytes[at]);
            at += 1;
            columns += 4;
            // The second byte of a C1 control character has to go with the first.
            if (sequence == 2) cli_put_format(out, "\\x%02x", bytes[at++]);
        } else {
            cli_put(out, bytes + at, sequence);
            at += sequence;
            columns++;
        }
    }
}

int cli_is_utf8(daybook_slice text) {
    const unsigned char *bytes = text.data;
    size_t at = 0;
    while (at < text.size) {
        uint64_t word;
        while (text.size - at >= 8 && (memcpy(&word, bytes + at, 8), (word & 0x8080808080808080u) == 0))
            at += 8;
        if (at >= text.size) break;
        size_t sequence = cli_utf8_size(bytes + at, text.size - at);
        if (sequence == 0) return 0;
        at += sequence;
    }
    return 1;
}
