// SPDX-License-Identifier: Apache-2.0
// daybook, embedded: stream ORDERS, subjects orders.<aggregate>.<type>, EXPECT_VERSION for each aggregate.
#include "peer.h"

#include <daybook/daybook.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_MAX = 500 };

typedef struct client {
    daybook_store *store;
    daybook_event events[BATCH_MAX];
    char subjects[BATCH_MAX][64];
    daybook_condition conditions[BATCH_MAX / PEER_STEPS + 1];
    char aggregates[BATCH_MAX / PEER_STEPS + 1][48];
} client;

static daybook_error error;

static const char *version(void) {
    return daybook_version();
}

static void *open_store(const char *directory, const char *mode) {
    (void)mode;
    char path[4096];
    snprintf(path, sizeof path, "%s/store", directory);
    daybook_store *store;
    if (daybook_open(path, NULL, &store, &error) != DAYBOOK_OK) die("%s", error.message);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    daybook_slice subjects[] = {daybook_text("orders.>")};
    config.name = daybook_text("ORDERS");
    config.subjects = subjects;
    config.subject_count = 1;
    if (daybook_stream_add(store, &config, &error) != DAYBOOK_OK) die("%s", error.message);
    return store;
}

static void *join(void *store) {
    client *own = need(calloc(1, sizeof *own));
    own->store = store;
    for (size_t i = 0; i < BATCH_MAX; i++) daybook_event_init(&own->events[i]);
    return own;
}

static void append(void *context, const peer_event *events, size_t count) {
    client *own = context;
    size_t conditions = 0;
    for (size_t i = 0; i < count; i++) {
        snprintf(own->subjects[i], sizeof own->subjects[i], "orders.%s.%s", events[i].aggregate,
                 events[i].type);
        daybook_event *event = &own->events[i];
        event->subject = daybook_text(own->subjects[i]);
        event->type = daybook_text(events[i].type);
        event->id = daybook_text(events[i].id);
        event->data = daybook_bytes(events[i].data, events[i].data_size);
        // The versions of a batch follow each other: the first of each aggregate carries the condition.
        if (i > 0 && events[i].version != 1) continue;
        snprintf(own->aggregates[conditions], sizeof own->aggregates[0], "orders.%s", events[i].aggregate);
        daybook_condition *condition = &own->conditions[conditions];
        daybook_condition_init(condition, DAYBOOK_EXPECT_VERSION);
        condition->aggregate = daybook_text(own->aggregates[conditions++]);
        condition->expected = events[i].version - 1;
    }
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = own->conditions;
    options.condition_count = conditions;
    daybook_error failure;
    daybook_error_init(&failure);
    if (daybook_append(own->store, own->events, count, &options, NULL, &failure) != DAYBOOK_OK)
        die("%s", failure.message);
}

static void visit_all(client *own, const daybook_query *query, peer_visit visit, void *context) {
    daybook_cursor *cursor;
    if (daybook_read(own->store, query, &cursor, &error) != DAYBOOK_OK) die("%s", error.message);
    daybook_recorded_event event;
    event.size = sizeof event;
    daybook_status status;
    while ((status = daybook_cursor_next(cursor, 0, &event, &error)) == DAYBOOK_OK)
        visit(context, (unsigned)event.version, event.event.data.data, event.event.data.size);
    if (status != DAYBOOK_END) die("%s", error.message);
    daybook_cursor_close(cursor);
}

static void load(void *context, const char *aggregate, peer_visit visit, void *visit_context) {
    char text[64];
    snprintf(text, sizeof text, "orders.%s.>", aggregate);
    daybook_slice filter = daybook_text(text);
    daybook_query query;
    daybook_query_init(&query);
    query.filters = &filter;
    query.filter_count = 1;
    visit_all(context, &query, visit, visit_context);
}

static void replay(void *context, peer_visit visit, void *visit_context) {
    daybook_query query;
    daybook_query_init(&query);
    visit_all(context, &query, visit, visit_context);
}

static void leave(void *context) {
    free(context);
}

static void close_store(void *store) {
    if (daybook_close(store, &error) != DAYBOOK_OK) die("%s", error.message);
}

const peer peer_here = {.name = "daybook",
                        .settings = "embedded, defaults",
                        .version = version,
                        .open = open_store,
                        .join = join,
                        .append = append,
                        .load = load,
                        .replay = replay,
                        .leave = leave,
                        .close = close_store};
