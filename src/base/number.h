// SPDX-License-Identifier: Apache-2.0
// Whole numbers in decimal digits, and durations as the Go language writes them, which is how NATS has them
// in configurations, headers and acknowledgements. (What people write for daybook itself, "30d",
// daybook/time.h reads.)
//
// Pure, bounded by the text, no locale. Any thread.
#ifndef DBK_BASE_NUMBER_H
#define DBK_BASE_NUMBER_H

#include "base/memory.h"

enum { DBK_DECIMAL_SIZE_MAX = 20 };

/// The digits of `number` to `out`, which has room for DBK_DECIMAL_SIZE_MAX; how many. No NUL is written.
size_t dbk_decimal_format(uint64_t number, void *out);
/// The same with a '-' in front of negative numbers.
size_t dbk_decimal_format_signed(int64_t number, void *out);
/// The same, appended; failures stay in `out` (dbk_buf_status).
void dbk_decimal_append(dbk_buf *out, uint64_t number);
void dbk_decimal_append_signed(dbk_buf *out, int64_t number);

/// 1 or more digits and nothing else, up to 2^64 - 1; leading zeros are fine. false: it is none, number_out
/// is untouched.
bool dbk_decimal_parse(dbk_slice text, uint64_t *number_out);
/// 1 or more digits and nothing else, of whatever size the number is.
bool dbk_is_decimal(dbk_slice text);
/// dbk_decimal_parse with or without a '-' in front, from -2^63 to 2^63 - 1.
bool dbk_decimal_parse_signed(dbk_slice text, int64_t *number_out);

/// A number of which a negative one says as much as none.
static inline uint64_t dbk_at_least_none(int64_t number) {
    return number > 0 ? (uint64_t)number : 0;
}

enum { DBK_GO_DURATION_TEXT_SIZE = 32 };
/// As Go prints it: "1m0s", "1.5s", "250ms", "0s". NUL-terminated; returns the size without it.
size_t dbk_go_duration_format(int64_t duration_ns, char text_out[DBK_GO_DURATION_TEXT_SIZE]);
/// "1h2m3.5s", "100ms", "-1.5h", "+2s", "0": what Go's time.ParseDuration takes. Exact: what is below a
/// nanosecond is cut off, part by part. (Go goes through a double there and may be a nanosecond off; with no
/// more digits than there are nanoseconds in the unit both give the same.)
/// @return false: it is none, or beyond 64 bits; duration_ns_out is untouched
bool dbk_go_duration_parse(dbk_slice text, int64_t *duration_ns_out);

#endif
