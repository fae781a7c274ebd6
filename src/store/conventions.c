// SPDX-License-Identifier: Apache-2.0
// Names of headers are compared as they are written: publishers of these are nats-server's clients and this
// project, which write them alike.
#include "store/conventions.h"

#include "base/time.h"

#define MARKER_REASON "Nats-Marker-Reason"
#define ROLL_UP "Nats-Rollup"
#define ROLL_UP_SUBJECT "sub"

const daybook_header dbk_replaces_older = {{ROLL_UP, sizeof ROLL_UP - 1},
                                           {ROLL_UP_SUBJECT, sizeof ROLL_UP_SUBJECT - 1}};

void dbk_marker_headers_init(dbk_marker_headers *headers_out, int64_t ttl_s) {
    size_t ttl_size = dbk_go_duration_format(ttl_s * DBK_SECOND_NS, headers_out->ttl);
    headers_out->items[0] = (daybook_header){daybook_text(MARKER_REASON), daybook_text("MaxAge")};
    headers_out->items[1] =
        (daybook_header){daybook_text("Nats-TTL"), daybook_bytes(headers_out->ttl, ttl_size)};
    headers_out->items[2] = dbk_replaces_older;
}

bool dbk_leaves_no_marker(const dbk_event *event) {
    dbk_slice left = event->headers, name, value;
    while (dbk_event_next_text(&left, &name) && dbk_event_next_text(&left, &value)) {
        if (dbk_slice_equal(name, daybook_text(MARKER_REASON)) && value.size > 0) return true;
        if (dbk_slice_equal(name, daybook_text("KV-Operation")) &&
            dbk_slice_equal(value, daybook_text("PURGE")))
            return true;
    }
    return false;
}
