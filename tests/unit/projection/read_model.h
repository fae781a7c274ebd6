// SPDX-License-Identifier: Apache-2.0
// For tests of projections into SQLite: a store in memory with orders in it, a database in a temporary
// directory, runs in the foreground and in a thread, and questions to the database by a connection that is
// not the projection's.
#ifndef DBK_TESTS_READ_MODEL_H
#define DBK_TESTS_READ_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <sqlite3.h>

#include "daybook/daybook.h"
#include "daybook/projection.h"
#include "daybook/sys/vfs.h"

typedef struct model {
    daybook_store *store;
    daybook_error error;
    char directory[128];
    char path[160];     // of the database
    char database[192]; // sqlite:PATH
    daybook_projection_options options;
    char reports[16384]; // what was reported, a line each
    pthread_mutex_t report_lock;
} model;

int model_open(void **context);
int model_close(void **context);

/// Another store, empty, as at->store; the one before is the caller's to close.
void model_open_store(model *at);

/// order_totals: a row per order, totals and state.
extern const char model_sql[];

/// Appends; fails the test where that fails. Returns the position.
uint64_t model_append(model *at, const char *subject, const char *data);
/// `count` events of `order_count` orders: placed, then items added, then paid; from a seed, the same each
/// time.
void model_append_many(model *at, int count, int order_count);

/// A projection of `sql` (NULL: model_sql) into the database.
daybook_projection *model_projection(model *at, const char *sql);
/// Runs it until it has caught up; the status must be `expected`.
void model_run(model *at, const char *sql, daybook_status expected);

/// A run in a thread.
typedef struct model_thread {
    model *at;
    daybook_projection *projection;
    unsigned flags;
    pthread_t thread;
    daybook_status status;
    daybook_error error;
} model_thread;

void model_start(model *at, model_thread *thread, daybook_projection *projection, unsigned flags);
/// Waits until the checkpoint is at or behind the store's newest event.
void model_wait_caught_up(model *at, daybook_projection *projection);
/// Interrupts it and waits for its end.
daybook_status model_stop(model_thread *thread);

/// One value of one row as text, "" for NULL and "(none)" for no row.
const char *model_ask(model *at, const char *sql);
/// Runs SQL with a connection of its own.
void model_execute(model *at, const char *sql);
#define assert_asks(at, sql, expected) assert_string_equal(model_ask(at, sql), expected)
/// The same rows computed here by folding the log, compared with table order_totals.
void model_compare_with_fold(model *at);

#define assert_model_ok(at, status) model_check((at), (status), DAYBOOK_OK, __FILE__, __LINE__)
#define assert_model(at, status, expected) model_check((at), (status), (expected), __FILE__, __LINE__)
void model_check(model *at, daybook_status status, daybook_status expected, const char *file, int line);
/// Sleeps until the condition holds or ten seconds are over, which fails the test.
#define wait_until(condition)                                    \
    do {                                                         \
        int wait_count = 0;                                      \
        while (!(condition) && wait_count++ < 1000) model_nap(); \
        assert_true(condition);                                  \
    } while (0)
void model_nap(void);

#endif
