// SPDX-License-Identifier: Apache-2.0
// For tests of the PostgreSQL target: one server for all tests of a program, an empty schema for each,
// questions by a connection that is not the target's, and steps made from events as the runner makes them.
#ifndef DBK_TESTS_POSTGRES_MODEL_H
#define DBK_TESTS_POSTGRES_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libpq-fe.h>

#include "daybook/daybook.h"
#include "lib/fault_allocator.h"
#include "lib/postgres_server.h"
#include "projection/target.h"

/// Of the whole program: started by postgres_begin.
extern postgres_server postgres;

typedef struct postgres_model {
    PGconn *admin;
    fault_allocator faults; // everything the targets allocate
    dbk_target_options options;
    dbk_failure failure; // of opening
    dbk_target *target;  // open, its bookkeeping made
    dbk_definition *definition;
    dbk_arena *arena; // values of steps
    dbk_progress progress;
    daybook_error error;
} postgres_model;

/// False, and said, where there is no PostgreSQL here: the program then ends with 77.
bool postgres_begin(void);
void postgres_end(void);

int postgres_open(void **context);
int postgres_close(void **context);
/// As open and close, in between.
dbk_target *postgres_connect(postgres_model *at, const char *parameters);
void postgres_reconnect(postgres_model *at);

/// Runs SQL as administrator; the first value of the first row as text, "(null)", or "(none)".
const char *postgres_ask(postgres_model *at, const char *sql);
#define assert_asks(at, sql, expected) assert_string_equal(postgres_ask(at, sql), expected)

/// A definition: a row per order, and one more where it is paid.
extern const char postgres_orders_sql[];

/// Takes `sql` as the definition; makes its tables, takes charge and prepares, as instance "one".
void postgres_start(postgres_model *at, const char *sql);
void postgres_define(postgres_model *at, const char *sql);
/// The shadow of the projection, its tables made, in charge and prepared; at->progress begins anew.
dbk_target *postgres_open_shadow(postgres_model *at);
/// The step of the event's section; `data` is JSON. Values live until the test ends.
dbk_step postgres_step(postgres_model *at, const char *subject, const char *data);
daybook_status postgres_apply(postgres_model *at, dbk_target *target, const char *subject, const char *data);
/// save and commit, `count` events further.
daybook_status postgres_commit(postgres_model *at, dbk_target *target, uint64_t count);

#define assert_ok(at, status) postgres_check((at), (status), DAYBOOK_OK, __FILE__, __LINE__)
#define assert_status(at, status, expected) postgres_check((at), (status), (expected), __FILE__, __LINE__)
void postgres_check(postgres_model *at, daybook_status status, daybook_status expected, const char *file,
                    int line);
/// `text` is somewhere in the last message.
#define assert_says(at, text) postgres_check_says((at), (text), __FILE__, __LINE__)
void postgres_check_says(postgres_model *at, const char *text, const char *file, int line);
#define assert_failure(target, failure_kind, sqlstate)                        \
    do {                                                                      \
        assert_string_equal((target)->failure.code, sqlstate);                \
        assert_int_equal((target)->failure.kind, DBK_FAILURE_##failure_kind); \
    } while (0)

#endif
