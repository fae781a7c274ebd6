// SPDX-License-Identifier: Apache-2.0
//
// Single appends with many in flight. Each event is an append of its own (so that a stored one is skipped and
// the next one is not), but thousands wait at the same time and share their syncs.
//
// Threads: the importing thread submits and waits; completions come on the store's commit thread. Counts and
// the number in flight are atomics; the mutex guards the first failure, the streams created, and the sleep of
// the importing thread. It sleeps when IN_FLIGHT_MAX events or IN_FLIGHT_BYTES_MAX bytes are under way and is
// woken when half of them are done, not for each: a wake-up costs more than an append.
#include "cli/import.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define IN_FLIGHT_MAX 16384u
#define IN_FLIGHT_BYTES_MAX (32u * 1024 * 1024)
#define CREATED_COUNT_MAX 64u // names kept until they are taken; more are counted by the stream list anyhow

typedef struct append_slot {
    cli_import_appender *appender;
    cli_import_place place;
    size_t bytes;
} append_slot;

struct cli_import_appender {
    daybook_store *store;
    daybook_append_options options;
    append_slot *slots; // IN_FLIGHT_MAX; completions come in order of submission, so a ring serves
    uint64_t submitted;

    _Atomic uint64_t in_flight;
    _Atomic uint64_t in_flight_bytes;
    _Atomic uint64_t stored, duplicate, differs;
    _Atomic bool has_failed;
    _Atomic bool is_waiting;

    pthread_mutex_t mutex;
    pthread_cond_t drained;
    // Guarded by mutex.
    cli_import_problem problem;
    char created[CREATED_COUNT_MAX][256];
    size_t created_begin, created_end;
};

daybook_status cli_import_appender_new(daybook_store *store, bool may_create,
                                       cli_import_appender **appender_out, cli_import_problem *problem) {
    *appender_out = NULL;
    cli_import_appender *appender = calloc(1, sizeof *appender);
    append_slot *slots = calloc(IN_FLIGHT_MAX, sizeof *slots);
    if (appender == NULL || slots == NULL) {
        free(appender);
        free(slots);
        return cli_import_no_memory(problem);
    }
    appender->store = store;
    appender->slots = slots;
    daybook_append_options_init(&appender->options);
    appender->options.auto_stream = may_create;
    (void)pthread_mutex_init(&appender->mutex, NULL); // default attributes: cannot fail on Linux
    (void)pthread_cond_init(&appender->drained, NULL);
    *appender_out = appender;
    return DAYBOOK_OK;
}

static void note_failure(cli_import_appender *appender, daybook_status status, const daybook_error *error,
                         cli_import_place place) {
    (void)pthread_mutex_lock(&appender->mutex);
    if (!atomic_load(&appender->has_failed)) {
        const char *message = error != NULL && error->message[0] != '\0' ? error->message : daybook_status_text(status);
        (void)cli_import_fail(&appender->problem, status, place, "%s", message);
        atomic_store(&appender->has_failed, true);
    }
    (void)pthread_mutex_unlock(&appender->mutex);
}

static void note_created(cli_import_appender *appender, daybook_slice name) {
    (void)pthread_mutex_lock(&appender->mutex);
    if (appender->created_end - appender->created_begin < CREATED_COUNT_MAX) {
        char *to = appender->created[appender->created_end++ % CREATED_COUNT_MAX];
        size_t size = name.size < 255 ? name.size : 255;
        memcpy(to, name.data, size);
        to[size] = '\0';
    }
    (void)pthread_mutex_unlock(&appender->mutex);
}

static bool is_half_empty(cli_import_appender *appender) {
    return atomic_load(&appender->in_flight) <= IN_FLIGHT_MAX / 2 &&
           atomic_load(&appender->in_flight_bytes) <= IN_FLIGHT_BYTES_MAX / 2;
}

static void release_slot(cli_import_appender *appender, size_t bytes) {
    (void)atomic_fetch_sub(&appender->in_flight_bytes, bytes);
    uint64_t left = atomic_fetch_sub(&appender->in_flight, 1) - 1;
    // The waiter sets its flag and then looks at the counts, both sequentially consistent: one of the two of
    // us sees the other.
    if (!atomic_load(&appender->is_waiting) || (left > 0 && !is_half_empty(appender))) return;
    (void)pthread_mutex_lock(&appender->mutex);
    (void)pthread_cond_signal(&appender->drained);
    (void)pthread_mutex_unlock(&appender->mutex);
}

static void on_done(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                    const daybook_error *error) {
    append_slot *slot = context;
    cli_import_appender *appender = slot->appender;
    if (status != DAYBOOK_OK) {
        note_failure(appender, status, error, slot->place);
    } else if (count > 0) {
        unsigned flags = receipts[0].flags;
        if (flags & DAYBOOK_RECEIPT_STREAM_CREATED) note_created(appender, receipts[0].stream);
        if (flags & DAYBOOK_RECEIPT_DUPLICATE) {
            (void)atomic_fetch_add(&appender->duplicate, 1);
            if (flags & DAYBOOK_RECEIPT_DIFFERS) (void)atomic_fetch_add(&appender->differs, 1);
        } else {
            (void)atomic_fetch_add(&appender->stored, 1);
        }
    }
    release_slot(appender, slot->bytes);
}

// Sleep until at most half of the limits are in flight, or nothing is.
static void wait_until(cli_import_appender *appender, bool empty) {
    (void)pthread_mutex_lock(&appender->mutex);
    atomic_store(&appender->is_waiting, true);
    while (empty ? atomic_load(&appender->in_flight) > 0 : !is_half_empty(appender))
        (void)pthread_cond_wait(&appender->drained, &appender->mutex);
    atomic_store(&appender->is_waiting, false);
    (void)pthread_mutex_unlock(&appender->mutex);
}

static daybook_status give_failure(cli_import_appender *appender, cli_import_problem *problem) {
    (void)pthread_mutex_lock(&appender->mutex);
    *problem = appender->problem;
    (void)pthread_mutex_unlock(&appender->mutex);
    return problem->status;
}

daybook_status cli_import_appender_add(cli_import_appender *appender, const daybook_event *event,
                                       cli_import_place place, cli_import_problem *problem) {
    if (atomic_load(&appender->has_failed)) return give_failure(appender, problem);
    size_t bytes = event->subject.size + event->data.size + 256;
    if (atomic_load(&appender->in_flight) >= IN_FLIGHT_MAX ||
        atomic_load(&appender->in_flight_bytes) + bytes > IN_FLIGHT_BYTES_MAX)
        wait_until(appender, false);
    append_slot *slot = &appender->slots[appender->submitted++ % IN_FLIGHT_MAX];
    *slot = (append_slot){.appender = appender, .place = place, .bytes = bytes};
    (void)atomic_fetch_add(&appender->in_flight_bytes, bytes);
    (void)atomic_fetch_add(&appender->in_flight, 1);
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status =
        daybook_append_submit(appender->store, event, 1, &appender->options, on_done, slot, &error);
    if (status == DAYBOOK_OK) return DAYBOOK_OK;
    note_failure(appender, status, &error, place);
    release_slot(appender, bytes);
    return give_failure(appender, problem);
}

daybook_status cli_import_appender_finish(cli_import_appender *appender, cli_import_problem *problem) {
    wait_until(appender, true);
    return atomic_load(&appender->has_failed) ? give_failure(appender, problem) : DAYBOOK_OK;
}

cli_import_counts cli_import_appender_counts(const cli_import_appender *appender) {
    return (cli_import_counts){
        .stored = atomic_load(&appender->stored),
        .duplicate = atomic_load(&appender->duplicate),
        .differs = atomic_load(&appender->differs),
    };
}

bool cli_import_appender_take_created(cli_import_appender *appender, char name_out[256]) {
    (void)pthread_mutex_lock(&appender->mutex);
    bool has_one = appender->created_begin < appender->created_end;
    if (has_one) memcpy(name_out, appender->created[appender->created_begin++ % CREATED_COUNT_MAX], 256);
    (void)pthread_mutex_unlock(&appender->mutex);
    return has_one;
}

void cli_import_appender_free(cli_import_appender *appender) {
    if (appender == NULL) return;
    wait_until(appender, true);
    (void)pthread_cond_destroy(&appender->drained);
    (void)pthread_mutex_destroy(&appender->mutex);
    free(appender->slots);
    free(appender);
}
