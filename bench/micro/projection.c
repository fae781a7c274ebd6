// SPDX-License-Identifier: Apache-2.0
// How fast events reach a read model. Not a test.
//
//     projection DIRECTORY [EVENTS [DATABASE]]
//
// In a fresh store in DIRECTORY, which must not exist, EVENTS (1,000,000) events of 20,000 orders, all
// sealed; then into DATABASE (sqlite:DIRECTORY/model.db, or postgresql://... whose tables line_items and
// order_totals are then replaced):
//
//   line_items    a row per event: one INSERT of five values
//   order_totals  a row per order: INSERT ... ON CONFLICT DO UPDATE
//
// each by the live path (transactions of 1,000 events, each durable) and by a rebuild with its switch. Beside
// them the rows of line_items by the database's own bulk loader from a CSV file into the same table, durable
// at its end: `.import` of sqlite3, or COPY by psql. A line per row: name, events per second, and how it
// compares.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daybook/daybook.h"

enum { ORDER_COUNT = 20000, BATCH_COUNT = 1000 };

static const char line_items[] =
    "-- projection: line_items\n-- version: 1\n-- events: orders.>\n-- [setup]\n"
    "CREATE TABLE line_items (position BIGINT PRIMARY KEY, order_id TEXT, sku TEXT, quantity INTEGER, price "
    "INTEGER);\n"
    "-- [on orders.*.added]\n"
    "INSERT INTO line_items VALUES (:position, :aggregate_id, :data.sku, :data.quantity, :data.price);\n";

static const char order_totals[] =
    "-- projection: order_totals\n-- version: 1\n-- events: orders.>\n-- [setup]\n"
    "CREATE TABLE order_totals (order_id TEXT PRIMARY KEY, total BIGINT NOT NULL, item_count BIGINT NOT "
    "NULL);\n"
    "-- [on orders.*.added]\n"
    "INSERT INTO order_totals VALUES (:aggregate_id, :data.price, 1) ON CONFLICT (order_id) DO UPDATE SET "
    "total ="
    " order_totals.total + excluded.total, item_count = order_totals.item_count + 1;\n";

static daybook_store *store;
static const char *database;
static uint64_t event_count = 1000000;

static void check(daybook_status status, const daybook_error *error) {
    if (status == DAYBOOK_OK) return;
    fprintf(stderr, "%s: %s\n", daybook_status_name(status), error->message);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int price_of(uint64_t i) {
    return (int)(i * 7919 % 10000);
}

static int order_of(uint64_t i) {
    return (int)(i * 2654435761u % ORDER_COUNT);
}

static void fill(const char *directory) {
    static char subjects[BATCH_COUNT][48], data[BATCH_COUNT][160];
    daybook_event events[BATCH_COUNT];
    daybook_append_options options;
    daybook_error error;
    daybook_error_init(&error);
    check(daybook_open(directory, NULL, &store, &error), &error);
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    for (uint64_t i = 0; i < event_count;) {
        size_t count = 0;
        for (; count < BATCH_COUNT && i < event_count; count++, i++) {
            snprintf(subjects[count], sizeof subjects[count], "orders.%d.added", order_of(i));
            snprintf(data[count], sizeof data[count],
                     "{\"customer\":\"c%d\",\"sku\":\"4711-%04d\",\"quantity\":%d,\"price\":%d,\"currency\":"
                     "\"EUR\",\"note\":\"%s\"}",
                     order_of(i) % 1000, (int)(i % 5000), (int)(i % 9) + 1, price_of(i),
                     "ring twice, the bell is broken");
            daybook_event_init(&events[count]);
            events[count].subject = daybook_text(subjects[count]);
            events[count].data = daybook_text(data[count]);
        }
        check(daybook_append(store, events, count, &options, NULL, &error), &error);
    }
    check(daybook_flush(store, &error), &error);
}

static daybook_projection *make(const char *sql, const char *name) {
    daybook_projection_definition definition;
    daybook_projection *projection;
    daybook_error error;
    daybook_error_init(&error);
    daybook_projection_definition_init(&definition);
    definition.sql = daybook_text(sql);
    definition.file = name;
    check(
        daybook_projection_new(daybook_store_engine(store), &definition, database, NULL, &projection, &error),
        &error);
    return projection;
}

static double reading_rate(void) {
    daybook_query query;
    daybook_cursor *cursor;
    daybook_recorded_event event;
    daybook_error error;
    daybook_error_init(&error);
    event.size = sizeof event;
    uint64_t count = 0;
    double began = now();
    daybook_query_init(&query);
    check(daybook_read(store, &query, &cursor, &error), &error);
    while (daybook_cursor_next(cursor, 0, &event, &error) == DAYBOOK_OK) count++;
    daybook_cursor_close(cursor);
    return (double)count / (now() - began);
}

static double measure(const char *sql, const char *name, int is_rebuild) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_projection *projection = make(sql, name);
    double began = now();
    if (is_rebuild)
        check(daybook_projection_rebuild(projection, &error), &error);
    else
        check(daybook_projection_run(projection, 0, &error), &error);
    double rate = (double)event_count / (now() - began);
    daybook_projection_free(projection);
    return rate;
}

static int write_rows(const char *path) {
    FILE *file = fopen(path, "w");
    if (file == NULL) return 0;
    for (uint64_t i = 0; i < event_count; i++)
        fprintf(file, "%" PRIu64 ",%d,4711-%04d,%d,%d\n", i + 1, order_of(i), (int)(i % 5000),
                (int)(i % 9) + 1, price_of(i));
    return fclose(file) == 0;
}

// The same rows by the database's own loader, durable at its end as each of our batches is.
static double import_rate(const char *directory, int is_sqlite) {
    char path[512], command[4096];
    snprintf(path, sizeof path, "%s/rows.csv", directory);
    if (!write_rows(path)) return 0;
    if (is_sqlite)
        snprintf(command, sizeof command,
                 "sqlite3 '%s/import.db' 'PRAGMA journal_mode=WAL' 'PRAGMA synchronous=FULL' 'CREATE TABLE "
                 "line_items (position BIGINT PRIMARY KEY, order_id TEXT, sku TEXT, quantity INTEGER, price "
                 "INTEGER)' '.mode csv' '.import %s line_items' > /dev/null",
                 directory, path);
    else
        snprintf(command, sizeof command,
                 "psql -q -v ON_ERROR_STOP=1 '%s' -c 'DROP TABLE IF EXISTS rows_to_compare' -c 'CREATE TABLE "
                 "rows_to_compare (position BIGINT PRIMARY KEY, order_id TEXT, sku TEXT, quantity INTEGER, "
                 "price INTEGER)' -c '\\copy rows_to_compare FROM %s (FORMAT csv)' -c 'DROP TABLE "
                 "rows_to_compare'",
                 database, path);
    double began = now();
    return system(command) == 0 ? (double)event_count / (now() - began) : 0;
}

static void row(const char *name, double rate, const char *unit, double other, const char *other_name) {
    printf("%-28s %10.0f %s", name, rate, unit);
    if (other > 0) printf("   %.2f of %s", rate / other, other_name);
    printf("\n");
    fflush(stdout);
}

int main(int argument_count, char **arguments) {
    static char own[600];
    if (argument_count < 2) {
        fprintf(stderr, "usage: projection DIRECTORY [EVENTS [DATABASE]]\n");
        return 2;
    }
    if (argument_count > 2) event_count = strtoull(arguments[2], NULL, 10);
    snprintf(own, sizeof own, "sqlite:%s/model.db", arguments[1]);
    database = argument_count > 3 ? arguments[3] : own;
    fill(arguments[1]);
    int is_sqlite = strncmp(database, "sqlite:", 7) == 0;
    const char *loader = is_sqlite ? ".import" : "COPY";
    double import = import_rate(arguments[1], is_sqlite);
    row("reading alone", reading_rate(), "events/s", 0, NULL);
    if (import > 0) row(loader, import, "rows/s", 0, NULL);
    double live = measure(line_items, "line_items", 0);
    row("line_items, live", live, "events/s", import, loader);
    row("line_items, rebuild", measure(line_items, "line_items", 1), "events/s", live, "live");
    live = measure(order_totals, "order_totals", 0);
    row("order_totals, live", live, "events/s", import, loader);
    row("order_totals, rebuild", measure(order_totals, "order_totals", 1), "events/s", live, "live");
    daybook_error error;
    daybook_error_init(&error);
    check(daybook_close(store, &error), &error);
    return 0;
}
