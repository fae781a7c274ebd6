// SPDX-License-Identifier: Apache-2.0
#include "postgres_model.h"

#include "base/bytes.h"

const char postgres_orders_sql[] = "-- projection: orders\n"
                                   "-- version: 1\n"
                                   "-- events: orders.>\n"
                                   "-- [setup]\n"
                                   "CREATE TABLE orders (id text PRIMARY KEY, total numeric NOT NULL, paid "
                                   "boolean NOT NULL DEFAULT false);\n"
                                   "-- [on type placed]\n"
                                   "INSERT INTO orders (id, total) VALUES (:aggregate_id, :data.total);\n"
                                   "-- [on type paid]\n"
                                   "UPDATE orders SET paid = true WHERE id = :aggregate_id;\n"
                                   "INSERT INTO orders (id, total) SELECT 'bonus-' || id, total / 10 FROM "
                                   "orders WHERE id = :aggregate_id;\n";

postgres_server postgres;

bool postgres_begin(void) {
    return postgres_server_start(&postgres);
}

void postgres_end(void) {
    postgres_server_end(&postgres);
}

void postgres_check(postgres_model *at, daybook_status status, daybook_status expected, const char *file,
                    int line) {
    if (status == expected) return;
    (void)fprintf(stderr, "%s:%d: %s instead of %s: %s\n", file, line, daybook_status_name(status),
                  daybook_status_name(expected), at->error.message);
    _fail(file, line);
}

void postgres_check_says(postgres_model *at, const char *text, const char *file, int line) {
    if (strstr(at->error.message, text) != NULL) return;
    (void)fprintf(stderr, "%s:%d: '%s' is not in: %s\n", file, line, text, at->error.message);
    _fail(file, line);
}

const char *postgres_ask(postgres_model *at, const char *sql) {
    static char answer[4096];
    PGresult *result = PQexec(at->admin, sql);
    if (PQstatus(at->admin) != CONNECTION_OK) { // the server was restarted
        PQclear(result);
        PQfinish(at->admin);
        at->admin = PQconnectdb(postgres.url);
        result = PQexec(at->admin, sql);
    }
    ExecStatusType outcome = PQresultStatus(result);
    if (outcome != PGRES_TUPLES_OK && outcome != PGRES_COMMAND_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(at->admin));
    bool is_row = outcome == PGRES_TUPLES_OK && PQntuples(result) > 0;
    (void)snprintf(answer, sizeof answer, "%s",
                   !is_row                          ? "(none)"
                   : PQgetisnull(result, 0, 0) != 0 ? "(null)"
                                                    : PQgetvalue(result, 0, 0));
    PQclear(result);
    return answer;
}

dbk_target *postgres_connect(postgres_model *at, const char *parameters) {
    char url[1024];
    dbk_target *target;
    (void)snprintf(url, sizeof url, "%s%s%s", postgres.url, *parameters == '\0' ? "" : "&", parameters);
    at->options.failure = &at->failure;
    assert_ok(at, dbk_target_open(url, &at->options, &target, &at->error));
    return target;
}

int postgres_open(void **context) {
    postgres_model *at = calloc(1, sizeof *at);
    assert_non_null(at);
    daybook_error_init(&at->error);
    fault_allocator_init(&at->faults);
    at->options = (dbk_target_options){.allocator = &at->faults.allocator, .vfs = daybook_vfs_posix()};
    at->admin = PQconnectdb(postgres.url);
    if (PQstatus(at->admin) != CONNECTION_OK) fail_msg("%s", PQerrorMessage(at->admin));
    (void)postgres_ask(
        at, "SET client_min_messages = error; SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
    (void)postgres_ask(
        at, "DO $$ DECLARE name text; BEGIN FOR name IN SELECT nspname FROM pg_namespace WHERE nspname"
            " NOT LIKE 'pg\\_%' AND nspname <> 'information_schema' LOOP EXECUTE format('DROP SCHEMA %I"
            " CASCADE', name); END LOOP; END $$; CREATE SCHEMA public");
    assert_int_equal(dbk_arena_new(dbk_allocator_default(), 65536, &at->arena), DAYBOOK_OK);
    at->target = postgres_connect(at, "");
    *context = at;
    return 0;
}

int postgres_close(void **context) {
    postgres_model *at = *context;
    if (at->target != NULL) at->target->calls->close(at->target);
    PQfinish(at->admin);
    dbk_arena_free(at->arena);
    dbk_definition_free(at->definition);
    assert_int_equal(fault_allocator_live(&at->faults), 0);
    free(at);
    return 0;
}

void postgres_reconnect(postgres_model *at) {
    at->target->calls->close(at->target);
    at->target = postgres_connect(at, "");
}

void postgres_define(postgres_model *at, const char *sql) {
    dbk_definition_free(at->definition);
    assert_ok(at, dbk_definition_parse(dbk_allocator_default(), daybook_text(sql), "model.sql",
                                       &at->definition, &at->error));
    memset(&at->progress, 0, sizeof at->progress);
    (void)snprintf(at->progress.name, sizeof at->progress.name, "%s",
                   (const char *)at->definition->name.data);
    (void)snprintf(at->progress.hash, sizeof at->progress.hash, "%s", at->definition->hash);
    at->progress.version = at->definition->version;
}

void postgres_start(postgres_model *at, const char *sql) {
    const dbk_target_calls *calls = at->target->calls;
    postgres_define(at, sql);
    assert_ok(at, calls->ensure(at->target, &at->error));
    assert_ok(at, calls->claim(at->target, at->progress.name, "one", 1, &at->error));
    assert_ok(at, calls->create(at->target, at->definition, &at->progress, &at->error));
    assert_ok(at, calls->prepare(at->target, at->definition, &at->error));
}

dbk_target *postgres_open_shadow(postgres_model *at) {
    dbk_target *shadow;
    const dbk_target_calls *calls = at->target->calls;
    assert_ok(at, calls->shadow_open(at->target, at->progress.name, &shadow, &at->error));
    at->progress.position = at->progress.event_count = 0;
    assert_ok(at, calls->ensure(shadow, &at->error));
    assert_ok(at, calls->claim(shadow, at->progress.name, "builder", 1, &at->error));
    assert_ok(at, calls->create(shadow, at->definition, &at->progress, &at->error));
    assert_ok(at, calls->prepare(shadow, at->definition, &at->error));
    return shadow;
}

dbk_step postgres_step(postgres_model *at, const char *subject, const char *data) {
    static uint64_t position;
    daybook_recorded_event event = {.size = sizeof event, .position = ++position, .seq = position};
    daybook_event_init(&event.event);
    event.event.subject = daybook_text(subject);
    event.event.data = daybook_text(data);
    event.event.type = daybook_text(strrchr(subject, '.') + 1);
    event.event.time_ns = 1700000000123456789;
    event.aggregate = daybook_bytes(subject, (size_t)(strrchr(subject, '.') - subject));
    for (size_t i = 0; i < at->definition->section_count; i++) {
        const dbk_section *section = &at->definition->sections[i];
        if (!dbk_section_matches(section, &event.event)) continue;
        dbk_value *values = dbk_arena_alloc(at->arena, (section->parameter_count + 1) * sizeof *values);
        assert_ok(at, dbk_parameter_plan_evaluate(section->plan, &event, at->arena, values, &at->error));
        return (dbk_step){.section = section, .values = values};
    }
    fail_msg("no section for %s", subject);
    return (dbk_step){0};
}

daybook_status postgres_apply(postgres_model *at, dbk_target *target, const char *subject, const char *data) {
    dbk_step step = postgres_step(at, subject, data);
    return target->calls->apply(target, &step, 1, &at->error);
}

daybook_status postgres_commit(postgres_model *at, dbk_target *target, uint64_t count) {
    uint64_t previous = at->progress.position;
    dbk_progress next = at->progress;
    next.position += count;
    next.event_count += count;
    daybook_status status = target->calls->save(target, &next, previous, &at->error);
    if (status == DAYBOOK_OK) status = target->calls->commit(target, &at->error);
    if (status == DAYBOOK_OK) at->progress = next;
    return status;
}
