// SPDX-License-Identifier: Apache-2.0
//
// Text helpers and the problems of `import`; see import.h. Pure.
#include "cli/import.h"

#include <stdarg.h>
#include <stdio.h>

bool cli_slice_equals(daybook_slice a, daybook_slice b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool cli_slice_is_blank(daybook_slice text) {
    const char *data = text.data;
    for (size_t i = 0; i < text.size; i++)
        if (data[i] != ' ' && data[i] != '\t') return false;
    return true;
}

// The well-formed ranges of table 3-7 of the Unicode standard.
size_t cli_utf8_sequence_size(const unsigned char *data, size_t size) {
    if (size == 0) return 0;
    unsigned char first = data[0];
    if (first < 0x80) return 1;
    if (first < 0xC2 || first > 0xF4) return 0;
    size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (size < length) return 0;
    unsigned char low = 0x80, high = 0xBF;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
    if (data[1] < low || data[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if ((data[i] & 0xC0) != 0x80) return 0;
    return length;
}

size_t cli_utf8_valid_size(daybook_slice text) {
    const unsigned char *data = text.data;
    size_t i = 0;
    while (i < text.size) {
        // Eight bytes of ASCII at a time: nearly all there is in most logs.
        uint64_t word;
        while (text.size - i >= sizeof word) {
            memcpy(&word, data + i, sizeof word);
            if ((word & UINT64_C(0x8080808080808080)) != 0) break;
            i += sizeof word;
        }
        if (i == text.size) break;
        size_t length = cli_utf8_sequence_size(data + i, text.size - i);
        if (length == 0) return i;
        i += length;
    }
    return i;
}

size_t cli_utf8_count(daybook_slice text) {
    const unsigned char *data = text.data;
    size_t count = 0;
    for (size_t i = 0; i < text.size; i++) count += (data[i] & 0xC0) != 0x80;
    return count;
}

static bool is_control(char c) {
    unsigned char byte = (unsigned char)c;
    return byte < 0x20 || byte == 0x7f;
}

bool cli_slice_has_control(daybook_slice text) {
    const char *data = text.data;
    bool has_control = false;
    for (size_t i = 0; i < text.size; i++) has_control |= is_control(data[i]);
    return has_control;
}

size_t cli_flatten(char *text, size_t size) {
    size_t written = 0;
    for (size_t i = 0; i < size;) {
        size_t end = i;
        bool has_control = false;
        for (; end < size && (text[end] == ' ' || is_control(text[end])); end++)
            has_control |= is_control(text[end]);
        if (!has_control) {
            if (end == i) end++; // no run: one byte of something else
            memmove(text + written, text + i, end - i);
            written += end - i;
        } else if (i > 0 && end < size) {
            text[written++] = ' ';
        }
        i = end;
    }
    return written;
}

daybook_status cli_import_fail(cli_import_problem *problem, daybook_status status, cli_import_place place,
                               const char *format, ...) {
    problem->status = status;
    problem->place = place;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(problem->message, sizeof problem->message, format, arguments);
    va_end(arguments);
    return status;
}

daybook_status cli_import_no_memory(cli_import_problem *problem) {
    return cli_import_fail(problem, DAYBOOK_ENOMEM, (cli_import_place){0, 0}, "out of memory");
}
