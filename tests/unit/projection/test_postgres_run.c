// SPDX-License-Identifier: Apache-2.0
// Running a projection into a PostgreSQL that fails: stopped, restarted, killed, frozen, full, locked, its
// sessions ended at random moments. Afterwards the tables are what a fold of the log gives: nothing
// skipped, nothing twice.
#include "postgres_model.h"

#include <pthread.h>
#include <time.h>

#include "daybook/projection.h"

static const char counts_sql[] =
    "-- projection: counts\n-- version: 1\n-- events: counts.>\n-- [setup]\n"
    "CREATE TABLE seen (position bigint PRIMARY KEY, n bigint NOT NULL);\n"
    "CREATE TABLE counts (id text PRIMARY KEY, event_count bigint NOT NULL, total bigint NOT NULL);\n"
    "-- [on counts.*.added]\n"
    "INSERT INTO seen VALUES (:position, :data.n);\n"
    "INSERT INTO counts VALUES (:aggregate_id, 1, :data.n) ON CONFLICT (id) DO UPDATE SET"
    " event_count = counts.event_count + 1, total = counts.total + excluded.total;\n";

static const char list_sql[] = "-- projection: counts\n-- version: 1\n-- events: counts.>\n-- [setup]\n"
                               "CREATE TABLE seen (position bigint PRIMARY KEY, n bigint NOT NULL);\n"
                               "-- [on counts.*.added]\nINSERT INTO seen VALUES (:position, :data.n);\n";

typedef struct running {
    daybook_store *store;
    postgres_model *database; // for its administrator's connection
    daybook_projection_options options;
    daybook_projection *projection;
    pthread_t thread;
    daybook_status status;
    daybook_error error;
    uint64_t event_count; // appended
    uint64_t random;
    char reports[65536];
    pthread_mutex_t lock;
} running;

static void nap_ms(int64_t ms) {
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&time, NULL);
}

static uint32_t next_random(running *at, uint32_t below) {
    at->random = at->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(at->random >> 33) % below;
}

static void note_report(void *context, const char *message) {
    running *at = context;
    (void)pthread_mutex_lock(&at->lock);
    size_t used = strlen(at->reports);
    (void)snprintf(at->reports + used, sizeof at->reports - used, "%s\n", message);
    (void)pthread_mutex_unlock(&at->lock);
}

static void check(running *at, daybook_status status, daybook_status expected, int line) {
    if (status == expected) return;
    (void)fprintf(stderr, "line %d: %s instead of %s: %s\n%s", line, daybook_status_name(status),
                  daybook_status_name(expected), at->error.message, at->reports);
    fail();
}
#define assert_run(at, status, expected) check((at), (status), (expected), __LINE__)
#define assert_fine(at, status) check((at), (status), DAYBOOK_OK, __LINE__)

static int run_open(void **context) {
    static running held;
    running *at = &held;
    memset(at, 0, sizeof *at);
    daybook_error_init(&at->error);
    (void)pthread_mutex_init(&at->lock, NULL);
    const char *seed = getenv("DAYBOOK_SEED");
    at->random = seed == NULL ? (uint64_t)time(NULL) : strtoull(seed, NULL, 10);
    (void)fprintf(stderr, "DAYBOOK_SEED=%llu\n", (unsigned long long)at->random);
    void *model;
    if (postgres_open(&model) != 0) return -1;
    at->database = model;
    at->database->target->calls->close(at->database->target);
    at->database->target = NULL;
    daybook_open_options options;
    daybook_open_options_init(&options);
    assert_fine(at, daybook_open(":memory:", &options, &at->store, &at->error));
    daybook_slice filter = daybook_text("counts.>");
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text("COUNTS");
    config.subjects = &filter;
    config.subject_count = 1;
    assert_fine(at, daybook_stream_add(at->store, &config, &at->error));
    daybook_projection_options_init(&at->options);
    at->options.report = note_report;
    at->options.report_context = at;
    at->options.retry_wait_ns = 1000000;
    at->options.retry_wait_max_ns = 50000000;
    *context = at;
    return 0;
}

static int run_close(void **context) {
    running *at = *context;
    void *model = at->database;
    (void)pthread_mutex_destroy(&at->lock);
    daybook_status status = daybook_close(at->store, NULL);
    return postgres_close(&model) == 0 && status == DAYBOOK_OK ? 0 : -1;
}

static const char *ask(running *at, const char *sql) {
    return postgres_ask(at->database, sql);
}

static void append(running *at, int count) {
    enum { BATCH = 100 };
    daybook_event events[BATCH];
    char subjects[BATCH][40];
    char data[BATCH][40];
    for (int done = 0; done < count;) {
        size_t size = 0;
        for (; size < BATCH && done < count; size++, done++) {
            daybook_event_init(&events[size]);
            (void)snprintf(subjects[size], sizeof subjects[size], "counts.%u.added", next_random(at, 50));
            (void)snprintf(data[size], sizeof data[size], "{\"n\":%llu}",
                           (unsigned long long)++at->event_count);
            events[size].subject = daybook_text(subjects[size]);
            events[size].data = daybook_text(data[size]);
        }
        assert_fine(at, daybook_append(at->store, events, size, NULL, NULL, &at->error));
    }
}

static daybook_projection *open_projection(running *at, const char *sql, const char *parameters) {
    daybook_projection_definition definition;
    daybook_projection_definition_init(&definition);
    definition.sql = daybook_text(sql);
    definition.file = "counts.sql";
    char url[600];
    (void)snprintf(url, sizeof url, "%s%s%s", postgres.url, *parameters == '\0' ? "" : "&", parameters);
    daybook_projection *projection;
    assert_fine(at, daybook_projection_new(daybook_store_engine(at->store), &definition, url, &at->options,
                                           &projection, &at->error));
    return projection;
}

static void *run_thread(void *context) {
    running *at = context;
    at->status = daybook_projection_run(at->projection, DAYBOOK_PROJECTION_FOLLOW | DAYBOOK_PROJECTION_WAIT,
                                        &at->error);
    return NULL;
}

static void start(running *at, const char *sql, const char *parameters) {
    at->projection = open_projection(at, sql, parameters);
    assert_int_equal(pthread_create(&at->thread, NULL, run_thread, at), 0);
}

static void stop(running *at) {
    daybook_projection_interrupt(at->projection);
    (void)pthread_join(at->thread, NULL);
    assert_fine(at, at->status);
    daybook_projection_free(at->projection);
}

static uint64_t position(running *at) {
    daybook_projection_info info = {.size = sizeof info};
    daybook_projection_get_info(at->projection, &info);
    return info.position;
}

static void wait_caught_up(running *at) {
    for (int round = 0; position(at) < at->event_count; round++) {
        if (round > 6000) {
            (void)fprintf(stderr, "at %llu of %llu:\n%s", (unsigned long long)position(at),
                          (unsigned long long)at->event_count, at->reports);
            fail();
        }
        nap_ms(10);
    }
}

static void compare(running *at, bool has_counts) {
    char expected[100];
    unsigned long long count = at->event_count;
    (void)snprintf(expected, sizeof expected, "%llu %llu %llu 0", count, count * (count + 1) / 2, count);
    assert_string_equal(
        ask(at, "SELECT format('%s %s %s %s', count(*), coalesce(sum(n), 0), (SELECT event_count FROM"
                " daybook_projection), (SELECT count(*) FROM daybook_parked)) FROM seen"),
        expected);
    if (!has_counts) return;
    (void)snprintf(expected, sizeof expected, "%llu %llu", count, count * (count + 1) / 2);
    assert_string_equal(
        ask(at, "SELECT format('%s %s', coalesce(sum(event_count), 0), coalesce(sum(total), 0)) FROM"
                " counts"),
        expected);
}

static void the_server_comes_late(void **context) {
    running *at = *context;
    postgres_server_do(&postgres, "stop");
    append(at, 1000);
    start(at, counts_sql, "");
    for (int round = 0; round < 1000 && strstr(at->reports, "trying again") == NULL; round++) nap_ms(5);
    assert_non_null(strstr(at->reports, "PostgreSQL: connection to server on socket"));
    postgres_server_do(&postgres, "start");
    wait_caught_up(at);
    stop(at);
    compare(at, true);
}

static void the_server_is_restarted_and_killed(void **context) {
    running *at = *context;
    start(at, counts_sql, "");
    for (int round = 0; round < 8; round++) {
        append(at, 2000);
        nap_ms(next_random(at, 30));
        if (round % 2 == 0) {
            postgres_server_do(&postgres, "restart");
        } else {
            postgres_server_do(&postgres, "kill");
            postgres_server_do(&postgres, "start");
        }
    }
    append(at, 500);
    wait_caught_up(at);
    stop(at);
    compare(at, true);
}

// Between BEGIN and the answer to COMMIT, wherever it is.
static void sessions_end_at_any_moment(void **context) {
    running *at = *context;
    const char *number = getenv("DAYBOOK_ROUNDS");
    int rounds = number == NULL ? 60 : atoi(number);
    int ended = 0;
    at->options.batch_count = 200;
    start(at, counts_sql, "");
    for (int round = 0; round < rounds; round++) {
        append(at, 500);
        nap_ms(next_random(at, 40));
        ended +=
            strcmp(ask(at,
                       "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity WHERE"
                       " application_name LIKE 'daybook%'"),
                   "0") != 0;
    }
    wait_caught_up(at);
    daybook_projection_info info = {.size = sizeof info};
    daybook_projection_get_info(at->projection, &info);
    stop(at);
    compare(at, true);
    assert_true(ended >= rounds / 10);
    assert_true(info.retry_count >= 1);
}

static void a_frozen_server_is_waited_for(void **context) {
    running *at = *context;
    append(at, 3000);
    start(at, counts_sql, "");
    nap_ms(20);
    postgres_server_do(&postgres, "freeze");
    append(at, 3000);
    nap_ms(300);
    postgres_server_do(&postgres, "thaw");
    wait_caught_up(at);
    stop(at);
    compare(at, true);
}

static void a_locked_table_is_tried_again(void **context) {
    running *at = *context;
    append(at, 100);
    start(at, counts_sql, "options=-clock_timeout%3D20ms");
    wait_caught_up(at);
    (void)ask(at, "BEGIN; LOCK TABLE counts");
    append(at, 100);
    for (int round = 0; round < 1000 && strstr(at->reports, "55P03") == NULL; round++) nap_ms(5);
    assert_non_null(
        strstr(at->reports, "canceling statement due to lock timeout (55P03); another session holds a lock"));
    assert_int_equal(position(at), 100);
    (void)ask(at, "COMMIT");
    wait_caught_up(at);
    stop(at);
    compare(at, true);
}

// A real file system that is full: a table space of 8 MiB.
static void a_full_disk_is_tried_again(void **context) {
    running *at = *context;
    char command[2000];
    char directory[300];
    (void)snprintf(directory, sizeof directory, "%s", ask(at, "SHOW data_directory"));
    char *end = strrchr(directory, '/');
    assert_non_null(end);
    (void)snprintf(end, sizeof directory - (size_t)(end - directory), "/small");
    (void)snprintf(
        command, sizeof command,
        "mkdir -p '%s' && mount -t tmpfs -o size=8m,mode=0777 tmpfs '%s' && mkdir -m 700 '%s/space' &&"
        " chown --reference='%s/../data' '%s/space'",
        directory, directory, directory, directory, directory);
    if (system(command) != 0) {
        (void)printf("SKIP: a full disk: no file system can be mounted here\n");
        skip();
    }
    (void)snprintf(command, sizeof command, "CREATE TABLESPACE small LOCATION '%s/space'", directory);
    (void)ask(at, command);
    (void)ask(at, "CREATE TABLE filler (text text) TABLESPACE small");
    (void)ask(at, "INSERT INTO filler SELECT repeat(md5(n::text), 60) FROM generate_series(1, 3200) n");
    start(at, counts_sql, "options=-cdefault_tablespace%3Dsmall");
    append(at, 40000);
    for (int round = 0; round < 3000 && strstr(at->reports, "53100") == NULL; round++) nap_ms(5);
    assert_non_null(strstr(at->reports, "make room on the server's disk"));
    nap_ms(100);
    (void)ask(at, "DROP TABLE filler");
    wait_caught_up(at);
    stop(at);
    compare(at, true);
    (void)ask(at, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    (void)ask(at, "DROP TABLESPACE small");
    (void)snprintf(command, sizeof command, "umount '%s'", directory);
    assert_int_equal(system(command), 0);
}

static void what_cannot_be_applied_is_parked_and_retried(void **context) {
    running *at = *context;
    start(at, counts_sql, "");
    append(at, 300);
    wait_caught_up(at);
    (void)ask(at, "DELETE FROM counts WHERE id = '7'");
    (void)ask(at, "ALTER TABLE counts ADD CHECK (id <> '7')");
    append(at, 1000);
    wait_caught_up(at);
    assert_string_equal(
        ask(at, "SELECT count(*) > 1 AND count(*) FILTER (WHERE behind = 0) = 1 AND bool_and(aggregate ="
                " 'counts.7') FROM daybook_parked"),
        "t");
    assert_string_equal(
        ask(at, "SELECT error LIKE 'counts.sql:9:1: PostgreSQL database postgres: new row for relation"
                " \"counts\" violates check constraint%23514)' FROM daybook_parked WHERE behind = 0"),
        "t");
    stop(at);
    assert_string_equal(ask(at, "SELECT count(*) + (SELECT count(*) FROM daybook_parked) FROM seen"), "1300");
    (void)ask(at, "ALTER TABLE counts DROP CONSTRAINT counts_id_check");
    daybook_read_model *model;
    assert_fine(at, daybook_read_model_open(postgres.url, NULL, &model, &at->error));
    assert_fine(at, daybook_read_model_retry(model, "counts", 0, &at->error));
    daybook_read_model_close(model);
    start(at, counts_sql, "");
    for (int round = 0; round < 1000 && strcmp(ask(at, "SELECT count(*) FROM daybook_parked"), "0") != 0;
         round++)
        nap_ms(10);
    stop(at);
    assert_string_equal(ask(at, "SELECT count(*) FROM seen"), "1300");
}

static void one_of_two_instances_is_active(void **context) {
    running *at = *context;
    append(at, 500);
    start(at, counts_sql, "");
    wait_caught_up(at);
    daybook_projection *first = at->projection;
    pthread_t first_thread = at->thread;
    // Without patience.
    at->options.instance = "second";
    daybook_projection *impatient = open_projection(at, counts_sql, "");
    assert_run(at, daybook_projection_run(impatient, 0, &at->error), DAYBOOK_ELOCKED);
    daybook_projection_free(impatient);
    // With patience, it takes over when the first has gone.
    running second = {.projection = open_projection(at, counts_sql, "")};
    daybook_error_init(&second.error);
    assert_int_equal(pthread_create(&second.thread, NULL, run_thread, &second), 0);
    append(at, 500);
    wait_caught_up(at);
    assert_string_equal(ask(at, "SELECT instance NOT LIKE 'second%' FROM daybook_projection"), "t");
    daybook_projection_interrupt(first);
    (void)pthread_join(first_thread, NULL);
    assert_fine(at, at->status);
    daybook_projection_free(first);
    append(at, 500);
    at->projection = second.projection;
    wait_caught_up(at);
    assert_string_equal(ask(at, "SELECT instance LIKE 'second%' FROM daybook_projection"), "t");
    daybook_projection_interrupt(second.projection);
    (void)pthread_join(second.thread, NULL);
    assert_fine(at, second.status);
    daybook_projection_free(second.projection);
    compare(at, true);
}

// The live projection goes on, and continues in the new tables.
static void rebuild_beside(running *at, const char *sql, bool has_counts) {
    append(at, 20000);
    start(at, sql, "");
    wait_caught_up(at);
    (void)ask(at, "UPDATE seen SET n = 0; ALTER TABLE seen ADD COLUMN wrong text");
    at->options.instance = "builder";
    daybook_projection *builder = open_projection(at, sql, "");
    append(at, 2000);
    assert_fine(at, daybook_projection_rebuild(builder, &at->error));
    daybook_projection_free(builder);
    append(at, 2000);
    wait_caught_up(at);
    stop(at);
    compare(at, has_counts);
    assert_string_equal(
        ask(at, "SELECT count(*) FROM pg_attribute WHERE attname = 'wrong' AND NOT attisdropped"), "0");
    assert_string_equal(ask(at, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'daybook%'"), "0");
}

static void statements_are_rebuilt_beside_the_live_one(void **context) {
    rebuild_beside(*context, counts_sql, true);
}

static void plain_inserts_are_rebuilt_beside_the_live_one(void **context) {
    rebuild_beside(*context, list_sql, false);
}

typedef struct rebuilding {
    running *at;
    daybook_projection *projection;
    daybook_status status;
    daybook_error error;
} rebuilding;

static void *rebuild_thread(void *context) {
    rebuilding *work = context;
    work->status = daybook_projection_rebuild(work->projection, &work->error);
    return NULL;
}

static void a_rebuild_survives_the_server(void **context) {
    running *at = *context;
    append(at, 60000);
    at->options.instance = "builder";
    for (int round = 0; round < 3; round++) {
        rebuilding work = {.at = at,
                           .projection = open_projection(at, round == 1 ? list_sql : counts_sql, "")};
        daybook_error_init(&work.error);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, rebuild_thread, &work), 0);
        for (int blow = 0; blow < 3; blow++) {
            nap_ms(100 + next_random(at, 300));
            postgres_server_do(&postgres, blow == 0 ? "restart" : "kill");
            if (blow > 0) postgres_server_do(&postgres, "start");
        }
        (void)pthread_join(thread, NULL);
        at->error = work.error;
        assert_fine(at, work.status);
        daybook_projection_free(work.projection);
        compare(at, round != 1);
        assert_string_equal(ask(at, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'daybook%'"), "0");
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, run_open, run_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_server_comes_late),
        TEST(the_server_is_restarted_and_killed),
        TEST(sessions_end_at_any_moment),
        TEST(a_frozen_server_is_waited_for),
        TEST(a_locked_table_is_tried_again),
        TEST(a_full_disk_is_tried_again),
        TEST(what_cannot_be_applied_is_parked_and_retried),
        TEST(one_of_two_instances_is_active),
        TEST(statements_are_rebuilt_beside_the_live_one),
        TEST(plain_inserts_are_rebuilt_beside_the_live_one),
        TEST(a_rebuild_survives_the_server),
    };
    if (!postgres_begin()) return 77;
    int failed = cmocka_run_group_tests_name("postgres run", tests, NULL, NULL);
    postgres_end();
    return failed;
}
