// SPDX-License-Identifier: Apache-2.0
#define _POSIX_C_SOURCE 200809L // clock, threads

#include "read_model.h"

#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#include "lib/folder.h"

const char model_sql[] = "-- projection: order_totals\n"
                         "-- version: 1\n"
                         "-- events: orders.>\n"
                         "-- [setup]\n"
                         "CREATE TABLE order_totals (order_id TEXT PRIMARY KEY, customer TEXT, total INTEGER "
                         "NOT NULL, item_count INTEGER NOT"
                         " NULL, state TEXT NOT NULL) WITHOUT ROWID;\n"
                         "CREATE INDEX order_totals_state ON order_totals (state);\n"
                         "-- [on orders.*.placed]\n"
                         "INSERT INTO order_totals VALUES (:aggregate_id, :data.customer, 0, 0, 'placed');\n"
                         "-- [on orders.*.added]\n"
                         "UPDATE order_totals SET total = total + :data.price!, item_count = item_count + 1 "
                         "WHERE order_id = :aggregate_id;\n"
                         "-- [on type paid]\n"
                         "UPDATE order_totals SET state = 'paid' WHERE order_id = :aggregate_id;\n";

static void note_report(void *context, const char *message) {
    model *at = context;
    pthread_mutex_lock(&at->report_lock);
    size_t used = strlen(at->reports);
    snprintf(at->reports + used, sizeof at->reports - used, "%s\n", message);
    pthread_mutex_unlock(&at->report_lock);
}

static void add_stream(model *at, const char *name, const char *subjects) {
    daybook_slice filter = daybook_text(subjects);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &filter;
    config.subject_count = 1;
    assert_model_ok(at, daybook_stream_add(at->store, &config, &at->error));
}

void model_open_store(model *at) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    assert_model_ok(at, daybook_open(":memory:", &options, &at->store, &at->error));
    add_stream(at, "ORDERS", "orders.>");
    add_stream(at, "OTHER", "other.>");
}

int model_open(void **context) {
    model *at = calloc(1, sizeof *at);
    const char *parent = getenv("TMPDIR");
    char name[100];
    if (at == NULL) return -1;
    daybook_error_init(&at->error);
    pthread_mutex_init(&at->report_lock, NULL);
    snprintf(name, sizeof name, "%s/projection-test", parent == NULL ? "/tmp" : parent);
    if (!folder_make(name, at->directory, sizeof at->directory)) return -1;
    snprintf(at->path, sizeof at->path, "%s/model.db", at->directory);
    snprintf(at->database, sizeof at->database, "sqlite:%s", at->path);
    model_open_store(at);
    daybook_projection_options_init(&at->options);
    at->options.report = note_report;
    at->options.report_context = at;
    at->options.retry_wait_ns = 1000000;
    *context = at;
    return 0;
}

int model_close(void **context) {
    model *at = *context;
    daybook_status status = at->store == NULL ? DAYBOOK_OK : daybook_close(at->store, NULL);
    (void)folder_remove(at->directory);
    pthread_mutex_destroy(&at->report_lock);
    free(at);
    return status == DAYBOOK_OK ? 0 : -1;
}

void model_check(model *at, daybook_status status, daybook_status expected, const char *file, int line) {
    if (status == expected) return;
    print_error("%s:%d: %s, not %s: %s\n%s", file, line, daybook_status_name(status),
                daybook_status_name(expected), at->error.message, at->reports);
    fail();
}

void model_nap(void) {
    struct timespec time = {.tv_nsec = 10000000};
    nanosleep(&time, NULL);
}

uint64_t model_append(model *at, const char *subject, const char *data) {
    daybook_event event;
    daybook_receipt receipt;
    memset(&receipt, 0, sizeof receipt);
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text(data);
    assert_model_ok(at, daybook_append(at->store, &event, 1, NULL, &receipt, &at->error));
    return receipt.position;
}

void model_append_many(model *at, int count, int order_count) {
    char subject[64], data[128];
    uint32_t random = 1;
    char *is_placed = calloc((size_t)order_count, 1);
    assert_non_null(is_placed);
    for (int i = 0; i < count; i++) {
        random = random * 1664525u + 1013904223u;
        int order = (int)((random >> 8) % (uint32_t)order_count);
        const char *what = !is_placed[order] ? "placed" : (random >> 4) % 8 == 0 ? "paid" : "added";
        is_placed[order] = 1;
        snprintf(subject, sizeof subject, "orders.%d.%s", order, what);
        snprintf(data, sizeof data, "{\"customer\":\"c%d\",\"price\":%d,\"note\":[1,{\"price\":7}]}",
                 order % 17, (int)(random >> 16) % 1000);
        model_append(at, subject, data);
    }
    free(is_placed);
}

daybook_projection *model_projection(model *at, const char *sql) {
    daybook_projection_definition definition;
    daybook_projection_definition_init(&definition);
    definition.sql = daybook_text(sql == NULL ? model_sql : sql);
    definition.file = "totals.sql";
    daybook_projection *projection;
    assert_model_ok(at, daybook_projection_new(daybook_store_engine(at->store), &definition, at->database,
                                               &at->options, &projection, &at->error));
    return projection;
}

void model_run(model *at, const char *sql, daybook_status expected) {
    daybook_projection *projection = model_projection(at, sql);
    daybook_status status = daybook_projection_run(projection, 0, &at->error);
    daybook_projection_free(projection);
    assert_model(at, status, expected);
}

static void *run_thread(void *context) {
    model_thread *thread = context;
    thread->status = daybook_projection_run(thread->projection, thread->flags, &thread->error);
    return NULL;
}

void model_start(model *at, model_thread *thread, daybook_projection *projection, unsigned flags) {
    memset(thread, 0, sizeof *thread);
    thread->at = at;
    thread->projection = projection;
    thread->flags = flags;
    daybook_error_init(&thread->error);
    assert_int_equal(pthread_create(&thread->thread, NULL, run_thread, thread), 0);
}

static int is_caught_up(model *at, daybook_projection *projection) {
    uint64_t event_count;
    int64_t age_ns;
    daybook_projection_info info;
    daybook_projection_get_info(projection, &info);
    if (!info.is_active) return 0;
    assert_model_ok(at, daybook_projection_lag(projection, &event_count, &age_ns, &at->error));
    return event_count == 0 && age_ns == 0;
}

void model_wait_caught_up(model *at, daybook_projection *projection) {
    wait_until(is_caught_up(at, projection));
}

daybook_status model_stop(model_thread *thread) {
    daybook_projection_interrupt(thread->projection);
    pthread_join(thread->thread, NULL);
    return thread->status;
}

static sqlite3 *open_database(model *at) {
    sqlite3 *connection;
    assert_int_equal(sqlite3_open(at->path, &connection), SQLITE_OK);
    sqlite3_busy_timeout(connection, 5000);
    sqlite3_wal_autocheckpoint(connection, 0);
    sqlite3_db_config(connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
    return connection;
}

const char *model_ask(model *at, const char *sql) {
    static char answer[4096];
    sqlite3 *connection = open_database(at);
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(connection, sql, -1, &statement, NULL) != SQLITE_OK)
        snprintf(answer, sizeof answer, "(%s)", sqlite3_errmsg(connection));
    else if (sqlite3_step(statement) == SQLITE_ROW)
        snprintf(answer, sizeof answer, "%s",
                 sqlite3_column_text(statement, 0) == NULL ? ""
                                                           : (const char *)sqlite3_column_text(statement, 0));
    else
        strcpy(answer, "(none)");
    sqlite3_finalize(statement);
    sqlite3_close(connection);
    return answer;
}

void model_execute(model *at, const char *sql) {
    sqlite3 *connection = open_database(at);
    char *message = NULL;
    if (sqlite3_exec(connection, sql, NULL, NULL, &message) != SQLITE_OK) fail_msg("%s: %s", sql, message);
    sqlite3_close(connection);
}

// The fold: what order_totals must hold, in memory.

typedef struct order {
    long long total;
    int item_count, is_placed, is_paid;
    char customer[32];
} order;

enum { ORDER_COUNT_MAX = 100000 };

static int number_after(const char *text, size_t size, const char *name, long long *number_out) {
    char copy[512];
    snprintf(copy, sizeof copy, "%.*s", (int)size, text);
    const char *found = strstr(copy, name);
    return found != NULL && sscanf(found + strlen(name), "%lld", number_out) == 1;
}

static void fold_event(order *orders, const daybook_recorded_event *event) {
    char subject[128], what[32] = "", data[512];
    int id;
    snprintf(subject, sizeof subject, "%.*s", (int)event->event.subject.size,
             (const char *)event->event.subject.data);
    snprintf(data, sizeof data, "%.*s", (int)event->event.data.size, (const char *)event->event.data.data);
    if (sscanf(subject, "orders.%d.%31s", &id, what) != 2 || id < 0 || id >= ORDER_COUNT_MAX) return;
    order *folded = &orders[id];
    long long price = 0;
    if (strcmp(what, "placed") == 0) {
        folded->is_placed = 1;
        const char *customer = strstr(data, "\"customer\":\"");
        if (customer != NULL) sscanf(customer + 12, "%31[^\"]", folded->customer);
    } else if (strcmp(what, "added") == 0 && number_after(data, strlen(data), "\"price\":", &price)) {
        folded->total += price;
        folded->item_count++;
    } else if (strcmp(what, "paid") == 0) {
        folded->is_paid = 1;
    }
}

static order *fold_log(model *at) {
    order *orders = calloc(ORDER_COUNT_MAX, sizeof *orders);
    daybook_query query;
    daybook_cursor *cursor;
    daybook_recorded_event event;
    assert_non_null(orders);
    daybook_query_init(&query);
    assert_model_ok(at, daybook_read(at->store, &query, &cursor, &at->error));
    event.size = sizeof event;
    while (daybook_cursor_next(cursor, 0, &event, &at->error) == DAYBOOK_OK) fold_event(orders, &event);
    daybook_cursor_close(cursor);
    return orders;
}

void model_compare_with_fold(model *at) {
    order *orders = fold_log(at);
    sqlite3 *connection = open_database(at);
    sqlite3_stmt *row = NULL;
    int expected_count = 0, count = 0;
    for (int i = 0; i < ORDER_COUNT_MAX; i++) expected_count += orders[i].is_placed;
    assert_int_equal(
        sqlite3_prepare_v2(
            connection, "SELECT order_id, coalesce(customer, ''), total, item_count, state FROM order_totals",
            -1, &row, NULL),
        SQLITE_OK);
    for (; sqlite3_step(row) == SQLITE_ROW; count++) {
        const order *folded = &orders[atoi((const char *)sqlite3_column_text(row, 0))];
        assert_string_equal((const char *)sqlite3_column_text(row, 1), folded->customer);
        assert_int_equal(sqlite3_column_int64(row, 2), folded->total);
        assert_int_equal(sqlite3_column_int64(row, 3), folded->item_count);
        assert_string_equal((const char *)sqlite3_column_text(row, 4), folded->is_paid ? "paid" : "placed");
    }
    sqlite3_finalize(row);
    sqlite3_close(connection);
    free(orders);
    assert_int_equal(count, expected_count);
    assert_true(count > 0);
}
