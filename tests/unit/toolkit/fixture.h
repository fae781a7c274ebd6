// SPDX-License-Identifier: Apache-2.0
// A store for the toolkit's tests, once in memory, once in a directory, once with all events in segments,
// with a stream ORDERS over orders.> and short ways to append and compare. Only the public interface is used,
// as in the toolkit itself.
#ifndef DBK_TESTS_TOOLKIT_FIXTURE_H
#define DBK_TESTS_TOOLKIT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daybook/daybook.h"

typedef struct fixture {
    daybook_store *store;
    daybook_error error;
    char path[64];
    int is_memory;
    int is_flushed; // reopening writes everything into segments
} fixture;

/// cmocka set-up and tear-down; the state given is NULL for a store in memory, else one of the names below.
int fixture_open(void **context);
int fixture_close(void **context);
/// Close and open again, where the store has files; flush before, where that is asked for.
void fixture_reopen(fixture *store);
void fixture_reopen_read_only(fixture *store);

/// All kinds of store run the case.
#define FIXTURE_TEST(function)                                                                  \
    {#function " (memory)", function, fixture_open, fixture_close, NULL},                       \
        {#function " (directory)", function, fixture_open, fixture_close, fixture_directory}, { \
#function " (segments)", function, fixture_open, fixture_close, fixture_segments        \
    }
extern char fixture_directory[];
extern char fixture_segments[];

/// Append one event; fails the test where that fails. `time` is RFC 3339 or NULL.
daybook_receipt fixture_append(fixture *store, const char *subject, const char *data, const char *time);
/// Append one event as given.
daybook_receipt fixture_append_event(fixture *store, const daybook_event *event);
int64_t fixture_time(const char *text);
/// Add a stream named `name` over the filter `subjects`.
void fixture_add_stream(fixture *store, const char *name, const char *subjects);

/// The status must be OK; says the error where it is not.
#define assert_ok(store, status) assert_status(store, status, DAYBOOK_OK)
#define assert_status(store, status, expected) \
    fixture_check((store), (status), (expected), __FILE__, __LINE__)
void fixture_check(fixture *store, daybook_status status, daybook_status expected, const char *file,
                   int line);
#define assert_slice(slice, text) fixture_check_slice((slice), (text), __FILE__, __LINE__)
void fixture_check_slice(daybook_slice slice, const char *text, const char *file, int line);

#endif
