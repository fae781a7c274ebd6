// SPDX-License-Identifier: Apache-2.0
// What the store itself knows of the conventions of JetStream and of key-value buckets: all of it is here.
#ifndef DBK_STORE_CONVENTIONS_H
#define DBK_STORE_CONVENTIONS_H

#include <stdbool.h>

#include "base/number.h"
#include "daybook/event.h"
#include "record/event.h"

/// The bucket in which the toolkit keeps snapshots: who removes events removes what may have folded them.
#define DBK_SNAPSHOTS_STREAM "KV_SNAPSHOTS"
#define DBK_SNAPSHOTS_PREFIX "$KV.SNAPSHOTS."

/// Of an event that takes the place of all others of its subject.
extern const daybook_header dbk_replaces_older;

/// The headers of the marker that takes the place of a subject's last event when that expires.
typedef struct dbk_marker_headers {
    daybook_header items[3];
    char ttl[DBK_GO_DURATION_TEXT_SIZE];
} dbk_marker_headers;

enum { DBK_MARKER_HEADER_COUNT = 3 };

/// `headers_out` must stay where it is as long as they are used.
void dbk_marker_headers_init(dbk_marker_headers *headers_out, int64_t ttl_s);

/// A marker, and a purge of a key, say already that there is nothing: they expire without another.
bool dbk_leaves_no_marker(const dbk_event *event);

#endif
