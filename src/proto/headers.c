// SPDX-License-Identifier: Apache-2.0
// Lines are taken one by one; each byte of a block is looked at once or twice.
#include "proto/headers.h"

#include <string.h>

#include "base/bytes.h"

static const char first_line[] = "NATS/1.0";
enum { FIRST_SIZE = sizeof first_line - 1, STATUS_DIGITS = 3 };

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

static dbk_slice trim(const char *at, const char *end) {
    while (at < end && is_blank(*at)) at++;
    while (end > at && is_blank(end[-1])) end--;
    return daybook_bytes(at, (size_t)(end - at));
}

typedef enum line_kind {
    LINE_GOOD,
    LINE_BAD, // it holds an LF
    LINE_CUT  // no CR LF ends it; all of what is left
} line_kind;

// The line at the beginning of `left`, which moves behind it. Only CR LF ends a line: what stands behind an
// LF alone is no header, whatever it looks like.
static line_kind take_line(dbk_slice *left, dbk_slice *line_out) {
    const char *at = left->data;
    line_kind kind = LINE_GOOD;
    for (size_t from = 0; from < left->size;) {
        const char *end = memchr(at + from, '\n', left->size - from);
        if (end == NULL) break;
        size_t size = (size_t)(end - at);
        if (size > 0 && end[-1] == '\r') {
            *line_out = daybook_bytes(at, size - 1);
            *left = daybook_bytes(end + 1, left->size - size - 1);
            return kind;
        }
        kind = LINE_BAD;
        from = size + 1;
    }
    *line_out = *left;
    *left = daybook_bytes(NULL, 0);
    return LINE_CUT;
}

// " 503 No Responders", or nothing. false: something else.
static bool take_status(dbk_slice text, dbk_headers *headers) {
    const char *at = text.data, *end = at + text.size;
    if (text.size == 0) return true;
    if (!is_blank(*at)) return false;
    dbk_slice rest = trim(at, end);
    if (rest.size == 0) return true;
    if (rest.size < STATUS_DIGITS) return false;
    const char *digits = rest.data;
    if (rest.size > STATUS_DIGITS && !is_blank(digits[STATUS_DIGITS])) return false;
    unsigned status = 0;
    for (int i = 0; i < STATUS_DIGITS; i++) {
        if (digits[i] < '0' || digits[i] > '9') return false;
        status = status * 10 + (unsigned)(digits[i] - '0');
    }
    headers->status = status;
    headers->description = trim(digits + STATUS_DIGITS, digits + rest.size);
    return true;
}

bool dbk_headers_open(dbk_slice block, dbk_headers *headers_out) {
    dbk_slice line;
    *headers_out = (dbk_headers){.left = block};
    if (take_line(&headers_out->left, &line) == LINE_GOOD && line.size >= FIRST_SIZE &&
        memcmp(line.data, first_line, FIRST_SIZE) == 0 &&
        take_status(daybook_bytes((const char *)line.data + FIRST_SIZE, line.size - FIRST_SIZE), headers_out))
        return true;
    *headers_out = (dbk_headers){.is_malformed = true};
    return false;
}

// A line that may be a header. false: there are no more.
static bool next_line(dbk_headers *headers, dbk_slice *line_out) {
    for (;;) {
        if (headers->left.size == 0) {
            headers->is_malformed = true; // the empty line is missing
            return false;
        }
        line_kind kind = take_line(&headers->left, line_out);
        if (kind == LINE_GOOD && line_out->size > 0) return true;
        if (kind == LINE_GOOD) break;
        headers->is_malformed = true;
        if (kind == LINE_CUT) return false;
    }
    if (headers->left.size > 0) headers->is_malformed = true; // there is something behind the end
    headers->left = daybook_bytes("\r\n", 2);                 // the end, however often it is asked for
    return false;
}

bool dbk_headers_next(dbk_headers *headers, dbk_slice *name_out, dbk_slice *value_out) {
    dbk_slice line;
    while (next_line(headers, &line)) {
        const char *at = line.data;
        const char *colon = memchr(at, ':', line.size);
        if (colon == NULL || colon == at) {
            headers->is_malformed = true;
            continue;
        }
        *name_out = daybook_bytes(at, (size_t)(colon - at));
        *value_out = trim(colon + 1, at + line.size);
        return true;
    }
    return false;
}

bool dbk_headers_find(dbk_slice block, dbk_slice name, dbk_slice *value_out) {
    dbk_headers headers;
    dbk_slice found, value;
    if (!dbk_headers_open(block, &headers)) return false;
    while (dbk_headers_next(&headers, &found, &value)) {
        if (!dbk_slice_equal(found, name)) continue;
        *value_out = value;
        return true;
    }
    return false;
}

typedef struct header_entry {
    const char *text;
    size_t size;
} header_entry;

static const header_entry publish_headers[] = {
#define HEADER_ENTRY(name, text) {text, sizeof text - 1},
    DBK_PUBLISH_HEADERS(HEADER_ENTRY)
#undef HEADER_ENTRY
};
_Static_assert(DBK_PUBLISH_HEADER_COUNT <= 32, "dbk_publish_headers.present has a bit for each");

// DBK_PUBLISH_HEADER_COUNT: none of them. Lengths differ nearly everywhere, so this compares one name, seldom
// two.
static size_t find_publish_header(dbk_slice name) {
    const char *text = name.data;
    size_t i = 0;
    if (text[0] != 'N' && text[0] != 'K') return DBK_PUBLISH_HEADER_COUNT;
    for (; i < DBK_PUBLISH_HEADER_COUNT; i++) {
        if (publish_headers[i].size == name.size && memcmp(publish_headers[i].text, text, name.size) == 0)
            break;
    }
    return i;
}

void dbk_publish_headers_read(dbk_slice block, dbk_publish_headers *headers_out) {
    dbk_headers headers;
    dbk_slice name, value;
    headers_out->present = 0; // and no value is valid: not cleared, for the sake of speed
    headers_out->is_malformed = false;
    if (block.size == 0) return;
    (void)dbk_headers_open(block, &headers); // what cannot be opened has nothing to read, and is malformed
    while (dbk_headers_next(&headers, &name, &value)) {
        size_t i = find_publish_header(name);
        if (i == DBK_PUBLISH_HEADER_COUNT || (headers_out->present >> i & 1) != 0) continue;
        headers_out->present |= UINT32_C(1) << i;
        headers_out->values[i] = value;
    }
    headers_out->is_malformed = headers.is_malformed;
}

dbk_slice dbk_publish_header_name(dbk_publish_header header) {
    return daybook_bytes(publish_headers[header].text, publish_headers[header].size);
}

void dbk_headers_begin(dbk_buf *out, unsigned status, dbk_slice description) {
    dbk_buf_append(out, first_line, FIRST_SIZE);
    if (status > 0) {
        char digits[] = {' ', (char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10),
                         (char)('0' + status % 10)};
        dbk_buf_append(out, digits, sizeof digits);
        if (description.size > 0) {
            dbk_buf_append(out, " ", 1);
            dbk_buf_append_slice(out, description);
        }
    }
    dbk_buf_append(out, "\r\n", 2);
}

void dbk_headers_add(dbk_buf *out, dbk_slice name, dbk_slice value) {
    dbk_buf_append_slice(out, name);
    dbk_buf_append(out, ": ", 2);
    dbk_buf_append_slice(out, value);
    dbk_buf_append(out, "\r\n", 2);
}

void dbk_headers_add_number(dbk_buf *out, dbk_slice name, uint64_t number) {
    char digits[DBK_DECIMAL_SIZE_MAX];
    dbk_headers_add(out, name, daybook_bytes(digits, dbk_decimal_format(number, digits)));
}

void dbk_headers_end(dbk_buf *out) {
    dbk_buf_append(out, "\r\n", 2);
}
