// SPDX-License-Identifier: Apache-2.0
// How much is read at the io seam. A store of many aggregates, flushed and merged, is opened with cold
// caches; then opening may read no event block, and one aggregate, one correlation, one rare actor, one id
// and a condition over all of history may read at most READS_MAX times each, found or not. Reading everything
// takes a read for many blocks.
//
// DAYBOOK_EVENTS  size; default 60,000
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"

// The index of each segment, then each block, which brings its page of the block index along; dictionaries
// come several at once.
enum { READS_MAX = 16, PER_AGGREGATE = 5, BATCH = 500 };

static dbk_sim *sim;
static daybook_store *store;
static daybook_error error;
static uint64_t event_count;
static int failures;

static void fail(const char *what) {
    (void)fprintf(stderr, "FAILED: %s: %s\n", what, error.message);
    abort();
}

static daybook_vfs traced;

// With DAYBOOK_TRACE each read is told: is it an index page again, or a block?
static int64_t read_at(daybook_vfs *vfs, daybook_file *file, void *data, size_t size, uint64_t offset) {
    int64_t moved = dbk_sim_vfs(sim)->read_at(vfs, file, data, size, offset);
    if (getenv("DAYBOOK_TRACE") != NULL)
        (void)fprintf(stderr, "read %zu bytes at %" PRIu64 "\n", size, offset);
    return moved;
}

static void open_store(void) {
    traced = *dbk_sim_vfs(sim);
    traced.read_at = read_at;
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    options.memory_budget_bytes = 32 << 20;
    options.memtable_bytes = 2 << 20;
    options.journal_max_bytes = 16 << 20;
    options.vfs = &traced;
    if (daybook_open("store", &options, &store, &error) != DAYBOOK_OK) fail("open");
}

static void maintain(void) {
    daybook_status status;
    while ((status = daybook_maintain(store, &error)) == DAYBOOK_OK) {
    }
    if (status != DAYBOOK_END) fail("maintain");
}

// Aggregates live side by side: event i belongs to aggregate i modulo their number.
static void fill_store(void) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    daybook_slice subjects = daybook_text("orders.>");
    config.name = daybook_text("ORDERS");
    config.subjects = &subjects;
    config.subject_count = 1;
    if (daybook_stream_add(store, &config, &error) != DAYBOOK_OK) fail("stream");
    static daybook_event events[BATCH];
    static char texts[BATCH][5][64], data[300];
    static daybook_slice tags[BATCH];
    memset(data, 'd', sizeof data);
    uint64_t aggregates = event_count / PER_AGGREGATE;
    for (uint64_t first = 0; first < event_count; first += BATCH) {
        for (uint64_t i = 0; i < BATCH; i++) {
            uint64_t number = first + i, aggregate = number % aggregates;
            daybook_event_init(&events[i]);
            // One aggregate in a hundred is written together.
            uint64_t subject = number / PER_AGGREGATE % 100 == 7 ? aggregates + number / PER_AGGREGATE
                                                                 : aggregate;
            (void)snprintf(texts[i][0], 64, "orders.%" PRIu64 ".placed", subject);
            (void)snprintf(texts[i][1], 64, "case-%" PRIu64, number / 4);
            (void)snprintf(texts[i][2], 64, "actor %" PRIu64, number / 5);
            (void)snprintf(texts[i][3], 64, "course:%" PRIu64, aggregate);
            (void)snprintf(texts[i][4], 64, "id-%" PRIu64, number);
            events[i].subject = daybook_text(texts[i][0]);
            events[i].correlation = daybook_text(texts[i][1]);
            events[i].actor = daybook_text(texts[i][2]);
            tags[i] = daybook_text(texts[i][3]);
            events[i].tags = &tags[i];
            events[i].tag_count = 1;
            events[i].id = daybook_text(texts[i][4]);
            events[i].data = daybook_bytes(data, 100 + number % 200);
        }
        if (daybook_append(store, events, BATCH, NULL, NULL, &error) != DAYBOOK_OK) fail("append");
        maintain();
    }
    if (daybook_flush(store, &error) != DAYBOOK_OK) fail("flush");
    maintain();
}

static void reopen(void) {
    if (daybook_close(store, &error) != DAYBOOK_OK) fail("close");
    open_store();
}

static void check(const char *what, uint64_t most) {
    dbk_sim_counts counts = dbk_sim_count(sim, DBK_SIM_READ, ".dbs");
    printf("reads: %-40s %4" PRIu64 " reads, %8" PRIu64 " bytes\n", what, counts.calls, counts.bytes);
    if (counts.calls <= most) return;
    (void)fprintf(stderr, "FAILED: %s takes %" PRIu64 " reads, more than %" PRIu64 "\n", what, counts.calls,
                  most);
    failures++;
}

static void check_query(const char *what, const daybook_query *query, uint64_t expected, uint64_t most) {
    reopen();
    dbk_sim_reset_counts(sim);
    uint64_t count = 0;
    daybook_cursor *cursor;
    if (daybook_read(store, query, &cursor, &error) != DAYBOOK_OK) fail(what);
    daybook_recorded_event event;
    daybook_status status;
    while ((status = daybook_cursor_next(cursor, 0, &event, &error)) == DAYBOOK_OK) count++;
    if (status != DAYBOOK_END) fail(what);
    daybook_cursor_close(cursor);
    if (count != expected) {
        (void)fprintf(stderr, "FAILED: %s gives %" PRIu64 " events, expected %" PRIu64 "\n", what, count,
                      expected);
        failures++;
    }
    check(what, most);
}

static void check_condition(const char *what, const char *type, const char *tag, bool conflicts) {
    reopen();
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.1.checked");
    daybook_slice types = daybook_text(type), tags = daybook_text(tag);
    daybook_query_item item;
    daybook_query_item_init(&item);
    item.types = &types;
    item.type_count = 1;
    item.tags = &tags;
    item.tag_count = 1;
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_FAIL_IF_EVENTS_MATCH);
    condition.items = &item;
    condition.item_count = 1;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = &condition;
    options.condition_count = 1;
    dbk_sim_reset_counts(sim);
    daybook_status status = daybook_append(store, &event, 1, &options, NULL, &error);
    if (status != (conflicts ? DAYBOOK_ECONFLICT : DAYBOOK_OK)) fail(what);
    check(what, READS_MAX);
}

int main(void) {
    const char *text = getenv("DAYBOOK_EVENTS");
    event_count = (text == NULL ? 60000 : strtoull(text, NULL, 10)) / (BATCH * PER_AGGREGATE) *
                  (BATCH * PER_AGGREGATE);
    daybook_error_init(&error);
    if (dbk_sim_new(7, &sim) != DAYBOOK_OK) abort();
    open_store();
    fill_store();
    daybook_store_info info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    if (daybook_info(store, &info, &error) != DAYBOOK_OK) fail("info");
    printf("%" PRIu64 " events in %" PRIu64 " segments of %" PRIu64 " bytes together\n", event_count,
           info.segment_count, info.segment_bytes);
    if (daybook_close(store, &error) != DAYBOOK_OK) fail("close");
    dbk_sim_reset_counts(sim);
    open_store();
    // Head, tail, footer and root of the index of each segment; a read of event blocks would grow with the
    // events.
    check("opening", 4 * info.segment_count);
    daybook_query query;
    char together[64];
    daybook_slice filter = daybook_text("orders.778.>"), nobody = daybook_text("orders.99999999.>");
    daybook_query_init(&query);
    query.filters = &filter;
    query.filter_count = 1;
    check_query("one aggregate, spread over five blocks", &query, PER_AGGREGATE, READS_MAX);
    (void)snprintf(together, sizeof together, "orders.%" PRIu64 ".>", event_count / PER_AGGREGATE + 4007);
    filter = daybook_text(together);
    check_query("one aggregate, written together", &query, PER_AGGREGATE, READS_MAX);
    query.filters = &nobody;
    check_query("an aggregate that is not there", &query, 0, READS_MAX);
    daybook_query_init(&query);
    query.correlation = daybook_text("case-4321");
    check_query("one correlation", &query, 4, READS_MAX);
    daybook_query_init(&query);
    query.actor = daybook_text("actor 2345");
    check_query("one actor", &query, 5, READS_MAX);
    daybook_query_init(&query);
    query.id = daybook_text("id-30303");
    check_query("one id", &query, 1, READS_MAX);
    // In order: many blocks with one read.
    daybook_query_init(&query);
    check_query("everything", &query, event_count, event_count / 100); // a block holds some 15
    check_condition("a condition over all, present", "placed", "course:33", true);
    check_condition("a condition over all, absent", "placed", "course:none", false);
    check_condition("a condition over all, type absent", "never", "course:33", false);
    if (daybook_close(store, &error) != DAYBOOK_OK) fail("close");
    dbk_sim_free(sim);
    return failures == 0 ? 0 : 1;
}
