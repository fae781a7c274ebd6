// SPDX-License-Identifier: Apache-2.0
// Values as Go writes and reads them: times (RFC3339Nano), base64.
#include "api/value.h"

#include <string.h>

#include "base/bytes.h"
#include "base/number.h"
#include "base/time.h"

void dbk_api_write_base64(dbk_buf *out, dbk_slice bytes) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *at = bytes.data;
    dbk_buf_append_u8(out, '"');
    for (size_t left = bytes.size; left > 0;) {
        size_t count = left < 3 ? left : 3;
        uint32_t group = (uint32_t)at[0] << 16;
        if (count > 1) group |= (uint32_t)at[1] << 8;
        if (count > 2) group |= at[2];
        char four[4] = {digits[group >> 18], digits[group >> 12 & 63], '=', '='};
        if (count > 1) four[2] = digits[group >> 6 & 63];
        if (count > 2) four[3] = digits[group & 63];
        dbk_buf_append(out, four, sizeof four);
        at += count;
        left -= count;
    }
    dbk_buf_append_u8(out, '"');
}

// Times.

void dbk_api_write_time(dbk_buf *out, int64_t time_ns) {
    if (time_ns == 0) {
        dbk_buf_append_slice(out, daybook_text("\"0001-01-01T00:00:00Z\""));
        return;
    }
    char text[DAYBOOK_TIME_TEXT_SIZE];
    size_t size = daybook_time_format(time_ns, text) - 1; // without the Z
    while (text[size - 1] == '0') size--;
    if (text[size - 1] == '.') size--;
    dbk_buf_append_u8(out, '"');
    dbk_buf_append(out, text, size);
    dbk_buf_append(out, "Z\"", 2);
}

static bool is_digit(char byte) {
    return byte >= '0' && byte <= '9';
}

// Whether `text` has the shape 2006-01-02T15:04:05[.digits](Z|+07:00).
static bool has_time_shape(dbk_slice text) {
    static const char shape[] = "dddd-dd-ddTdd:dd:dd";
    static const char offset_shape[] = "sdd:dd";
    const char *at = text.data;
    size_t i = 0;
    if (text.size < sizeof shape) return false;
    for (; i < sizeof shape - 1; i++) {
        if (shape[i] == 'd' ? !is_digit(at[i]) : at[i] != shape[i]) return false;
    }
    if (at[i] == '.') {
        size_t start = ++i;
        while (i < text.size && is_digit(at[i])) i++;
        if (i == start) return false;
    }
    if (i + 1 == text.size) return at[i] == 'Z';
    if (text.size - i != sizeof offset_shape - 1) return false;
    for (size_t k = 0; k < sizeof offset_shape - 1; k++) {
        char want = offset_shape[k];
        bool fits = want == 'd'
                        ? is_digit(at[i + k])
                        : at[i + k] == want || (want == 's' && (at[i + k] == '+' || at[i + k] == '-'));
        if (!fits) return false;
    }
    return true;
}

// The nine digits that a time can hold, of a fraction that has more.
static dbk_slice without_excess(dbk_slice text, char out[40]) {
    enum { FRACTION_AT = 19, DIGITS = 9 };
    const char *at = text.data;
    size_t end = FRACTION_AT + 1;
    if (at[FRACTION_AT] != '.') return text;
    while (end < text.size && is_digit(at[end])) end++;
    size_t kept = end < FRACTION_AT + 1 + DIGITS ? end : FRACTION_AT + 1 + DIGITS;
    memcpy(out, at, kept);
    memcpy(out + kept, at + end, text.size - end);
    return daybook_bytes(out, kept + text.size - end);
}

bool dbk_api_parse_time(dbk_slice text, int64_t *time_ns_out) {
    enum { YEAR_MIN = 1678, YEAR_MAX = 2261 };
    char plain[40];
    if (!has_time_shape(text)) return false;
    const char *digits = text.data;
    int year = (digits[0] - '0') * 1000 + (digits[1] - '0') * 100 + (digits[2] - '0') * 10 +
               (digits[3] - '0');
    static const char zero[] = "0001-01-01T00:00:00Z";
    if (dbk_slice_equal(text, daybook_text(zero))) {
        *time_ns_out = 0;
        return true;
    }
    int64_t time_ns;
    if (daybook_time_parse(without_excess(text, plain), 0, &time_ns) != DAYBOOK_OK) {
        if (year > YEAR_MIN && year < YEAR_MAX) return false; // No such day or hour.
        time_ns = year <= YEAR_MIN ? INT64_MIN : INT64_MAX;
    }
    *time_ns_out = time_ns == 0 ? 1 : time_ns;
    return true;
}

// Headers and names.

static bool is_never(dbk_slice text) {
    static const char never[] = "never";
    const char *at = text.data;
    if (text.size != sizeof never - 1) return false;
    for (size_t i = 0; i < text.size; i++) {
        if ((at[i] | 0x20) != never[i]) return false;
    }
    return true;
}

bool dbk_api_parse_ttl(dbk_slice text, int64_t *ttl_ns_out) {
    const uint64_t seconds_max = (uint64_t)(INT64_MAX / DBK_SECOND_NS);
    int64_t duration_ns;
    uint64_t seconds;
    if (is_never(text)) {
        *ttl_ns_out = -1;
        return true;
    }
    if (dbk_go_duration_parse(text, &duration_ns)) {
        if (duration_ns < DBK_SECOND_NS) return false;
        *ttl_ns_out = duration_ns / DBK_SECOND_NS * DBK_SECOND_NS;
        return true;
    }
    if (!dbk_decimal_parse(text, &seconds)) {
        if (!dbk_is_decimal(text)) return false;
        seconds = seconds_max; // more than there are
    }
    *ttl_ns_out = (int64_t)(seconds < seconds_max ? seconds : seconds_max) * DBK_SECOND_NS;
    return true;
}

bool dbk_api_name_is_valid(dbk_slice name) {
    const unsigned char *at = name.data;
    if (name.size == 0 || name.size > DBK_API_NAME_SIZE_MAX || !dbk_is_plain_text(name)) return false;
    for (size_t i = 0; i < name.size; i++) {
        if (strchr(" .*>/\\", at[i]) != NULL) return false; // No byte is 0 in plain text.
    }
    return true;
}
