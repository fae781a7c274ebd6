// SPDX-License-Identifier: Apache-2.0
//
// Single appends with many in flight. Each event is an append of its own (so that a stored one is skipped and
// the next one is not), but thousands wait at the same time and share their syncs. They are one chain: behind
// one that was refused none is stored, so that importing again puts nothing out of order.
//
// Threads: the importing thread submits and waits; completions come on the store's commit thread. The mutex
// guards all they share, and a completion lets go of it last: when the importing thread, holding it, sees
// nothing in flight, no completion touches the appender any more. The importing thread sleeps when
// IN_FLIGHT_MAX events or IN_FLIGHT_BYTES_MAX bytes are under way and is woken when half of them are done,
// not for each: a wake-up costs more than an append.
#include "cli/import.h"

#include <pthread.h>
#include <stdlib.h>

#define IN_FLIGHT_MAX 16384u
#define IN_FLIGHT_BYTES_MAX (32u * 1024 * 1024)
#define CREATED_COUNT_MAX 64u // names kept until they are taken

typedef struct append_slot {
    struct append_slot *next_free;
    cli_import_appender *appender;
    cli_import_place place;
    size_t bytes;
} append_slot;

struct cli_import_appender {
    daybook_store *store;
    daybook_append_options options;
    daybook_append_chain chain; // the library's while anything is in flight
    append_slot *slots;         // IN_FLIGHT_MAX, so that as long as more may be in flight one is free

    pthread_mutex_t mutex;
    pthread_cond_t drained;
    // Guarded by mutex.
    append_slot *free_slots;
    uint64_t in_flight;
    uint64_t in_flight_bytes;
    cli_import_counts counts;
    bool is_waiting;
    bool has_failed;
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
    for (size_t i = 0; i < IN_FLIGHT_MAX; i++) {
        slots[i].next_free = appender->free_slots;
        appender->free_slots = &slots[i];
    }
    daybook_append_options_init(&appender->options);
    appender->options.auto_stream = may_create;
    appender->options.chain = &appender->chain;
    (void)pthread_mutex_init(&appender->mutex, NULL); // default attributes: cannot fail on Linux
    (void)pthread_cond_init(&appender->drained, NULL);
    *appender_out = appender;
    return DAYBOOK_OK;
}

// The functions below that are called with the mutex held say so.

// Held.
static void note_failure(cli_import_appender *appender, daybook_status status, const daybook_error *error,
                         cli_import_place place) {
    if (appender->has_failed) return;
    const char *message = error != NULL && error->message[0] != '\0' ? error->message
                                                                     : daybook_status_text(status);
    (void)cli_import_fail(&appender->problem, status, place, "%s", message);
    appender->has_failed = true;
}

// Held.
static void note_receipt(cli_import_appender *appender, const daybook_receipt *receipt) {
    if (receipt->flags & DAYBOOK_RECEIPT_DUPLICATE) {
        appender->counts.duplicate++;
        if (receipt->flags & DAYBOOK_RECEIPT_DIFFERS) appender->counts.differs++;
    } else {
        appender->counts.stored++;
    }
    bool has_room = appender->created_end - appender->created_begin < CREATED_COUNT_MAX;
    if (!(receipt->flags & DAYBOOK_RECEIPT_STREAM_CREATED) || !has_room) return;
    char *to = appender->created[appender->created_end++ % CREATED_COUNT_MAX];
    size_t size = receipt->stream.size < 255 ? receipt->stream.size : 255;
    memcpy(to, receipt->stream.data, size);
    to[size] = '\0';
}

// Held.
static bool is_half_empty(const cli_import_appender *appender) {
    return appender->in_flight <= IN_FLIGHT_MAX / 2 && appender->in_flight_bytes <= IN_FLIGHT_BYTES_MAX / 2;
}

// Held.
static void release_slot(cli_import_appender *appender, append_slot *slot) {
    slot->next_free = appender->free_slots;
    appender->free_slots = slot;
    appender->in_flight--;
    appender->in_flight_bytes -= slot->bytes;
    if (appender->is_waiting && (appender->in_flight == 0 || is_half_empty(appender)))
        (void)pthread_cond_signal(&appender->drained);
}

static void on_done(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                    const daybook_error *error) {
    append_slot *slot = context;
    cli_import_appender *appender = slot->appender;
    (void)pthread_mutex_lock(&appender->mutex);
    if (status != DAYBOOK_OK) {
        note_failure(appender, status, error, slot->place);
    } else if (count > 0) {
        note_receipt(appender, &receipts[0]);
    }
    release_slot(appender, slot);
    (void)pthread_mutex_unlock(&appender->mutex);
}

// Held. Sleep until at most half of the limits are in flight, or nothing is.
static void wait_until(cli_import_appender *appender, bool empty) {
    appender->is_waiting = true;
    while (empty ? appender->in_flight > 0 : !is_half_empty(appender))
        (void)pthread_cond_wait(&appender->drained, &appender->mutex);
    appender->is_waiting = false;
}

daybook_status cli_import_appender_add(cli_import_appender *appender, const daybook_event *event,
                                       cli_import_place place, cli_import_problem *problem) {
    size_t bytes = event->subject.size + event->data.size + 256;
    (void)pthread_mutex_lock(&appender->mutex);
    if (appender->in_flight >= IN_FLIGHT_MAX || appender->in_flight_bytes + bytes > IN_FLIGHT_BYTES_MAX)
        wait_until(appender, false);
    bool has_failed = appender->has_failed;
    append_slot *slot = appender->free_slots;
    if (has_failed) {
        *problem = appender->problem;
    } else {
        appender->free_slots = slot->next_free;
        appender->in_flight++;
        appender->in_flight_bytes += bytes;
    }
    (void)pthread_mutex_unlock(&appender->mutex);
    if (has_failed) return problem->status;

    *slot = (append_slot){.appender = appender, .place = place, .bytes = bytes};
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status =
        daybook_append_submit(appender->store, event, 1, &appender->options, on_done, slot, &error);
    if (status == DAYBOOK_OK) return DAYBOOK_OK;
    (void)pthread_mutex_lock(&appender->mutex);
    note_failure(appender, status, &error, place);
    release_slot(appender, slot);
    *problem = appender->problem;
    (void)pthread_mutex_unlock(&appender->mutex);
    return problem->status;
}

daybook_status cli_import_appender_finish(cli_import_appender *appender, cli_import_problem *problem) {
    (void)pthread_mutex_lock(&appender->mutex);
    wait_until(appender, true);
    bool has_failed = appender->has_failed;
    if (has_failed) *problem = appender->problem;
    (void)pthread_mutex_unlock(&appender->mutex);
    return has_failed ? problem->status : DAYBOOK_OK;
}

cli_import_counts cli_import_appender_counts(cli_import_appender *appender) {
    (void)pthread_mutex_lock(&appender->mutex);
    cli_import_counts counts = appender->counts;
    (void)pthread_mutex_unlock(&appender->mutex);
    return counts;
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
    (void)pthread_mutex_lock(&appender->mutex);
    wait_until(appender, true);
    (void)pthread_mutex_unlock(&appender->mutex);
    (void)pthread_cond_destroy(&appender->drained);
    (void)pthread_mutex_destroy(&appender->mutex);
    free(appender->slots);
    free(appender);
}
