// SPDX-License-Identifier: Apache-2.0
// A late joiner: reads what happened before it came, then goes on with what happens, without gap or overlap.
// Events are appended by another thread meanwhile; any number of followers, in this process or another, would
// do the same.
#include <daybook/daybook.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

enum { EVENTS_BEFORE = 5, EVENTS_LATER = 5 };

static daybook_status append_reading(daybook_store *store, int number, daybook_error *error) {
    char data[64];
    (void)snprintf(data, sizeof data, "{\"celsius\":%d}", 18 + number % 7);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("sensors.kitchen.measured");
    event.data = daybook_text(data);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    return daybook_append(store, &event, 1, &options, NULL, error);
}

static void *append_later(void *context) {
    daybook_store *store = context;
    for (int i = 0; i < EVENTS_LATER; i++) {
        if (append_reading(store, EVENTS_BEFORE + i, NULL) != DAYBOOK_OK) break;
    }
    return NULL;
}

static daybook_status follow(daybook_store *store, uint64_t limit, daybook_error *error) {
    daybook_slice filter = daybook_text("sensors.*.measured");
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    query.filters = &filter;
    query.filter_count = 1;
    query.limit = limit;
    daybook_cursor *cursor = NULL;
    daybook_status status = daybook_read(store, &query, &cursor, error);
    if (status != DAYBOOK_OK) return status;

    daybook_recorded_event event = {.size = sizeof event};
    for (;;) {
        status = daybook_cursor_next(cursor, 1000, &event, error);
        if (status == DAYBOOK_TIMEOUT) continue; // nothing for a second: a place to do something else
        if (status != DAYBOOK_OK) break;
        // The slices of `event` are borrowed until the next call.
        printf("%" PRIu64 " %.*s %.*s\n", event.position, (int)event.event.subject.size,
               (const char *)event.event.subject.data, (int)event.event.data.size,
               (const char *)event.event.data.data);
    }
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

int main(int argc, char **argv) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_store *store = NULL;
    daybook_status status = daybook_open(argc > 1 ? argv[1] : ":memory:", NULL, &store, &error);
    for (int i = 0; status == DAYBOOK_OK && i < EVENTS_BEFORE; i++) status = append_reading(store, i, &error);

    pthread_t appender;
    if (status == DAYBOOK_OK && pthread_create(&appender, NULL, append_later, store) == 0) {
        status = follow(store, EVENTS_BEFORE + EVENTS_LATER, &error);
        (void)pthread_join(appender, NULL);
    }
    if (status != DAYBOOK_OK) fprintf(stderr, "%s: %s\n", daybook_status_name(status), error.message);
    (void)daybook_close(store, NULL);
    return status == DAYBOOK_OK ? 0 : 1;
}
