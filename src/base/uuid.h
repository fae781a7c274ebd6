// SPDX-License-Identifier: Apache-2.0
// UUIDs (RFC 9562): text and 16 bytes, version 7 with milliseconds from a given clock, version 8 from
// content.
#ifndef DBK_BASE_UUID_H
#define DBK_BASE_UUID_H

#include <stdbool.h>

#include "base/memory.h"

typedef struct dbk_uuid {
    uint8_t bytes[16];
} dbk_uuid;

/// 36 lower-case characters and a NUL.
void dbk_uuid_format(const dbk_uuid *uuid, char text_out[37]);
/// Only the canonical 36 character form in lower case (so that format(parse(x)) == x).
bool dbk_uuid_parse(dbk_slice text, dbk_uuid *uuid_out);
/// Version 7: 48 bits of Unix milliseconds, 74 bits of `random`.
void dbk_uuid_make_v7(int64_t time_ns, const uint8_t random[10], dbk_uuid *uuid_out);
/// Number `count` of a series of version 7 UUIDs: what dbk_uuid_make_v7 takes as random is a random base
/// counted up (RFC 9562, 6.2), so that those of one millisecond are unique, ascend, and compress. `base` has
/// bit 5 of its third byte clear: then 2^61 can be made before the series begins again.
void dbk_uuid_series_at(const uint8_t base[10], uint64_t count, uint8_t random_out[10]);
/// The milliseconds of a version 7 UUID as nanoseconds; false for other versions.
bool dbk_uuid_v7_time_ns(const dbk_uuid *uuid, int64_t *time_ns_out);

#endif
