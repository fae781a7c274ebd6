// SPDX-License-Identifier: Apache-2.0
// Orders: an aggregate with rules, snapshots that take themselves, clerks who work on one order at a time
// without losing each other's changes, and a read model in SQL. The guides tell it step by step:
// docs/guide/aggregates.md, docs/guide/read-models.md.
//
//     cc orders.c $(pkg-config --cflags --libs daybook-toolkit daybook-projection) -pthread
//     ./a.out shop                                       (a directory; it is created. Without: a store in memory)
//     ./a.out shop orders.sql                            and a read model in SQLite, shop.db
//     ./a.out shop orders.sql --to postgresql://...      or in PostgreSQL
#include <daybook/daybook.h>
#include <daybook/projection.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

// The state: what the rules need to know, and no more.

typedef struct order {
    int64_t total_cents;
    uint32_t line_count;
    uint32_t is_paid;
} order;

static daybook_status order_evolve(void *state, void *context, const daybook_recorded_event *event,
                                   daybook_error *error) {
    (void)context;
    (void)error;
    order *of = state;
    if (daybook_type_is(event, "line.added")) {
        char data[256] = "";
        int64_t cents = 0;
        memcpy(data, event->event.data.data,
               event->event.data.size < sizeof data ? event->event.data.size : sizeof data - 1);
        if (sscanf(data, "{\"sku\":\"%*[^\"]\",\"cents\":%" SCNd64 "}", &cents) == 1)
            of->total_cents += cents;
        of->line_count++;
    } else if (daybook_type_is(event, "paid")) {
        of->is_paid = 1;
    }
    return DAYBOOK_OK; // Types it does not know change nothing: older code reads newer events.
}

// Snapshots keep the state's bytes. Another layout is another schema, and the old snapshots are passed over.

static daybook_status order_encode(const void *state, void *context, daybook_writer *writer,
                                   daybook_error *error) {
    (void)context;
    (void)error;
    daybook_writer_put(writer, state, sizeof(order));
    return DAYBOOK_OK;
}

static daybook_status order_decode(void *state, void *context, daybook_slice bytes, daybook_error *error) {
    (void)context;
    (void)error;
    if (bytes.size != sizeof(order)) return DAYBOOK_EINVALID;
    memcpy(state, bytes.data, bytes.size);
    return DAYBOOK_OK;
}

// The rules: each looks at the state and says which events happen, or why not.

static daybook_status place(const void *state, const void *command, daybook_decision *decision,
                            daybook_error *error) {
    (void)state;
    if (daybook_decision_version(decision) > 0) return daybook_refuse(error, "the order is placed already");
    char data[128];
    (void)snprintf(data, sizeof data, "{\"customer\":\"%s\"}", (const char *)command);
    return daybook_decision_add(decision, "placed", daybook_text(data), error);
}

typedef struct line {
    const char *sku;
    int64_t cents;
} line;

static daybook_status add_line(const void *state, const void *command, daybook_decision *decision,
                               daybook_error *error) {
    const order *of = state;
    const line *added = command;
    if (daybook_decision_version(decision) == 0) return daybook_refuse(error, "there is no such order");
    if (of->is_paid) return daybook_refuse(error, "the order is paid: it takes no more lines");
    char data[128];
    (void)snprintf(data, sizeof data, "{\"sku\":\"%s\",\"cents\":%" PRId64 "}", added->sku, added->cents);
    return daybook_decision_add(decision, "line.added", daybook_text(data), error);
}

static daybook_status pay(const void *state, const void *command, daybook_decision *decision,
                          daybook_error *error) {
    (void)command;
    const order *of = state;
    if (of->line_count == 0) return daybook_refuse(error, "there is nothing to pay");
    if (of->is_paid) return DAYBOOK_OK; // Asked twice: nothing happens, and that is fine.
    char data[64];
    (void)snprintf(data, sizeof data, "{\"cents\":%" PRId64 "}", of->total_cents);
    return daybook_decision_add(decision, "paid", daybook_text(data), error);
}

// The program.

static int failed(const char *what, daybook_status status, const daybook_error *error) {
    if (status == DAYBOOK_OK) return 0;
    fprintf(stderr, "%s: %s: %s\n", what, daybook_status_name(status), error->message);
    return 1;
}

static daybook_status execute(daybook_repository *orders, const char *id, daybook_decide decide,
                              const void *command, daybook_error *error) {
    daybook_execute_options options;
    daybook_execute_options_init(&options);
    options.actor = daybook_text("clerk");
    daybook_status status = daybook_execute(orders, daybook_text(id), decide, command, &options, NULL, error);
    if (status != DAYBOOK_EREFUSED) return status;
    printf("order %s: refused: %s\n", id, error->message);
    return DAYBOOK_OK;
}

static daybook_status show(daybook_repository *orders, const char *id, uint64_t version,
                           daybook_error *error) {
    daybook_moment moment;
    daybook_moment_init(&moment);
    moment.version = version; // 0: now
    daybook_aggregate *loaded = NULL;
    daybook_status status = daybook_aggregate_load(orders, daybook_text(id), &moment, &loaded, error);
    if (status != DAYBOOK_OK) return status;
    const order *of = daybook_aggregate_state(loaded);
    printf("order %s at version %" PRIu64 ": %" PRIu32 " lines, %" PRId64 ".%02" PRId64 " %s\n", id,
           daybook_aggregate_version(loaded), of->line_count, of->total_cents / 100, of->total_cents % 100,
           of->is_paid ? "paid" : "open");
    daybook_aggregate_release(loaded);
    return DAYBOOK_OK;
}

static daybook_status work_on_one_order(daybook_repository *orders, daybook_error *error) {
    const line keyboard = {"keyboard", 7900}, mouse = {"mouse", 2450};
    daybook_status status = execute(orders, "1", add_line, &keyboard, error);
    if (status == DAYBOOK_OK) status = execute(orders, "1", place, "ada", error);
    if (status == DAYBOOK_OK) status = execute(orders, "1", pay, NULL, error);
    if (status == DAYBOOK_OK) status = execute(orders, "1", add_line, &keyboard, error);
    if (status == DAYBOOK_OK) status = execute(orders, "1", add_line, &mouse, error);
    if (status == DAYBOOK_OK) status = execute(orders, "1", pay, NULL, error);
    if (status == DAYBOOK_OK) status = execute(orders, "1", add_line, &mouse, error);
    if (status == DAYBOOK_OK) status = show(orders, "1", 0, error);
    return status == DAYBOOK_OK ? show(orders, "1", 2, error) : status;
}

// Four clerks add to one order at once. None checks a version, and none is lost.

enum { CLERK_COUNT = 4, LINES_PER_CLERK = 30 };

static void *add_lines(void *context) {
    daybook_repository *orders = context;
    const line pencil = {"pencil", 150};
    for (int i = 0; i < LINES_PER_CLERK; i++)
        if (daybook_execute(orders, daybook_text("2"), add_line, &pencil, NULL, NULL, NULL) != DAYBOOK_OK)
            return context;
    return NULL;
}

static daybook_status work_together(daybook_repository *orders, daybook_error *error) {
    pthread_t clerks[CLERK_COUNT];
    daybook_status status = execute(orders, "2", place, "bob", error);
    if (status != DAYBOOK_OK) return status;
    for (int i = 0; i < CLERK_COUNT; i++)
        if (pthread_create(&clerks[i], NULL, add_lines, orders) != 0) return DAYBOOK_ENOMEM;
    for (int i = 0; i < CLERK_COUNT; i++) {
        void *unhappy = NULL;
        (void)pthread_join(clerks[i], &unhappy);
        if (unhappy != NULL) printf("a clerk gave up\n");
    }
    return show(orders, "2", 0, error);
}

// 121 events, but no load replays that many: a snapshot is taken every 50, in the background.

static daybook_status show_snapshot(daybook_repository *orders, daybook_error *error) {
    daybook_repository_wait(orders); // Only so that the example prints the same each time.
    daybook_aggregate *loaded = NULL;
    daybook_status status = daybook_aggregate_load(orders, daybook_text("2"), NULL, &loaded, error);
    if (status != DAYBOOK_OK) return status;
    printf("order 2 was loaded from a snapshot: %s; events replayed: %s\n",
           daybook_aggregate_snapshot_version(loaded) > 0 ? "yes" : "no",
           daybook_aggregate_event_count(loaded) < 50 ? "fewer than 50" : "50 or more");
    daybook_aggregate_release(loaded);
    return DAYBOOK_OK;
}

// A read model: orders.sql says what each event changes in its table. Run again, it goes on where it was.

static daybook_status read_model(daybook_store *store, const char *path, const char *database,
                                 daybook_error *error) {
    char sql[8192];
    FILE *file = fopen(path, "rb");
    size_t size = file == NULL ? 0 : fread(sql, 1, sizeof sql, file);
    if (file != NULL) (void)fclose(file);
    daybook_projection_definition definition;
    daybook_projection_definition_init(&definition);
    definition.sql = daybook_bytes(sql, size);
    definition.file = path;
    daybook_projection *projection = NULL;
    daybook_status status =
        daybook_projection_new(daybook_store_engine(store), &definition, database, NULL, &projection, error);
    if (status == DAYBOOK_OK) status = daybook_projection_run(projection, 0, error);
    if (status == DAYBOOK_OK) {
        daybook_projection_info info = {.size = sizeof info};
        daybook_projection_get_info(projection, &info);
        printf("read model %s: %" PRIu64 " events\n", info.name, info.event_count);
    }
    daybook_projection_free(projection);
    return status;
}

static int run(daybook_store *store) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_snapshot_codec codec;
    daybook_snapshot_codec_init(&codec);
    codec.schema = daybook_text("order/1");
    codec.encode = order_encode;
    codec.decode = order_decode;
    daybook_aggregate_type type;
    daybook_aggregate_type_init(&type);
    type.category = daybook_text("orders");
    type.state_size = sizeof(order);
    type.evolve = order_evolve;
    type.codec = &codec;
    daybook_repository_options options;
    daybook_repository_options_init(&options);
    options.auto_stream = 1; // stream ORDERS is made by the first order
    daybook_repository *orders = NULL;
    daybook_status status =
        daybook_repository_new(daybook_store_engine(store), &type, &options, &orders, &error);
    if (status == DAYBOOK_OK) status = work_on_one_order(orders, &error);
    if (status == DAYBOOK_OK) status = work_together(orders, &error);
    if (status == DAYBOOK_OK) status = show_snapshot(orders, &error);
    daybook_repository_free(orders);
    return failed("orders", status, &error);
}

int main(int count, char **arguments) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_store *store = NULL;
    daybook_status status = daybook_open(count > 1 ? arguments[1] : ":memory:", NULL, &store, &error);
    if (failed("open", status, &error)) return 1;
    int result = run(store);
    if (result == 0 && count > 2) {
        char database[1024];
        (void)snprintf(database, sizeof database, "sqlite:%s.db", arguments[1]);
        int is_elsewhere = count > 4 && strcmp(arguments[3], "--to") == 0;
        status = read_model(store, arguments[2], is_elsewhere ? arguments[4] : database, &error);
        result = failed("read model", status, &error);
    }
    return failed("close", daybook_close(store, &error), &error) ? 1 : result;
}
