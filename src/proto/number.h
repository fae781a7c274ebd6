// SPDX-License-Identifier: Apache-2.0
// Numbers and durations as the texts of NATS hold them. Pure.
#ifndef DBK_PROTO_NUMBER_H
#define DBK_PROTO_NUMBER_H

#include <stdbool.h>

#include "base/memory.h"

enum { DBK_DECIMAL_SIZE_MAX = 20 };

/// Decimal digits of `number` to `out`, which has room for DBK_DECIMAL_SIZE_MAX; how many. No NUL is written.
size_t dbk_decimal_encode(uint64_t number, char *out);
/// 1 or more digits and nothing else, up to 2^64 - 1; leading zeros are fine. false: it is none, number_out is untouched.
bool dbk_decimal_read(dbk_slice text, uint64_t *number_out);
/// "1h2m3.5s", "100ms", "-1.5h", "0": what the Go language calls a duration. false: it is none, or beyond 64 bits;
/// duration_ns_out is untouched.
bool dbk_duration_read(dbk_slice text, int64_t *duration_ns_out);

#endif
