// SPDX-License-Identifier: Apache-2.0
// The empty event.
#include "daybook/event.h"

void daybook_event_init(daybook_event *event) {
    if (event == NULL) return;
    memset(event, 0, sizeof *event);
    event->size = sizeof *event;
    event->time_ns = DAYBOOK_TIME_NONE;
}
