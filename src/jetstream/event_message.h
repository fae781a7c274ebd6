// SPDX-License-Identifier: Apache-2.0
// An event as the payload of a message: its headers as they were published but for those a server writes
// itself, those, and its data.
//
// Two passes: how much room it takes at most, then writing, so that many events go into one block without
// growing it and without copying twice. Pure.
#ifndef DBK_JETSTREAM_EVENT_MESSAGE_H
#define DBK_JETSTREAM_EVENT_MESSAGE_H

#include <stdbool.h>

#include "base/memory.h"
#include "daybook/event.h"
#include "daybook/time.h"

/// What is added to the headers an event was published with.
typedef struct dbk_event_extras {
    bool headers_only;   // no data; Nats-Msg-Size says how much there is
    uint64_t data_size;  // of it
    bool is_direct;      // Nats-Stream, Nats-Subject, Nats-Sequence, Nats-Time-Stamp
    bool is_one_of_many; // Nats-Num-Pending, Nats-Last-Sequence, where up_to_seq is not 0 Nats-UpTo-Sequence
    bool no_headers;     // none but these
    uint64_t pending_count;
    uint64_t last_seq;
    uint64_t up_to_seq;
    daybook_slice pin_id; // Nats-Pin-Id; empty: none; at most 64 bytes
} dbk_event_extras;

/// Headers that the server writes, as bits: where they are, the publisher's of the name is left out, so that
/// nobody believes it.
typedef enum dbk_own_headers {
    DBK_OWN_PLACE = 1, // Nats-Stream, Nats-Subject, Nats-Sequence, Nats-Time-Stamp
    DBK_OWN_LAST = 2,  // Nats-Last-Sequence
    DBK_OWN_COUNT = 4, // Nats-Num-Pending, Nats-UpTo-Sequence
    DBK_OWN_SIZE = 8,  // Nats-Msg-Size
    DBK_OWN_PIN = 16,  // Nats-Pin-Id
} dbk_own_headers;

/// Is it one of these?
bool dbk_header_is_own(daybook_slice name, unsigned own);

/// At least as many bytes as dbk_event_message_write takes.
size_t dbk_event_message_bound(const daybook_recorded_event *event, const dbk_event_extras *extras);
/// Headers and data to `out`; how many bytes. *header_size_out is 0 where there are no headers.
size_t dbk_event_message_write(const daybook_recorded_event *event, const dbk_event_extras *extras,
                               uint8_t *out, size_t *header_size_out);
/// Another number of pending messages, not larger than before, for what dbk_event_message_write wrote with
/// these extras: is_one_of_many. How many bytes it has now.
size_t dbk_event_message_change_pending(uint8_t *message, size_t size, const dbk_event_extras *extras,
                                        uint64_t pending_count, size_t *header_size);
/// As Go prints a time: without the zeros a fraction ends with. How many bytes.
size_t dbk_event_message_format_time(int64_t time_ns, char text_out[DAYBOOK_TIME_TEXT_SIZE]);

#endif
