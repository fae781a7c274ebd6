/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Aggregates of your own type: a C state that evolves by events, commands that are decided on it, and the
 * expected version kept between them. No JSON is asked for. Part of daybook-toolkit.
 *
 *     typedef struct order { int64_t total; int is_paid; } order;
 *
 *     static daybook_status evolve(void *state, void *context, const daybook_recorded_event *event,
 *                                  daybook_error *error) {
 *         order *o = state;
 *         if (daybook_type_is(event, "placed")) o->total = ...;
 *         if (daybook_type_is(event, "paid")) o->is_paid = 1;
 *         return DAYBOOK_OK;                              // types it does not know change nothing
 *     }
 *
 *     static daybook_status pay(const void *state, const void *command, daybook_decision *decision,
 *                               daybook_error *error) {
 *         const order *o = state;
 *         if (daybook_decision_version(decision) == 0) return daybook_refuse(error, "there is no such order");
 *         if (o->is_paid) return DAYBOOK_OK;               // no event: nothing to do
 *         return daybook_decision_add(decision, "paid", daybook_text("{}"), error);
 *     }
 *
 *     daybook_aggregate_type type;
 *     daybook_aggregate_type_init(&type);
 *     type.category = daybook_text("orders");
 *     type.state_size = sizeof(order);
 *     type.evolve = evolve;
 *     daybook_repository_new(daybook_store_engine(store), &type, NULL, &orders, &error);
 *     daybook_execute(orders, daybook_text("123"), pay, NULL, NULL, NULL, &error);
 */
#ifndef DAYBOOK_AGGREGATE_H
#define DAYBOOK_AGGREGATE_H

#include "daybook/snapshot.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Types. */

/** Where an encoder puts its bytes. What fails stays failed; the caller of the encoder looks. */
typedef struct daybook_writer daybook_writer;
DAYBOOK_API void daybook_writer_put(daybook_writer *writer, const void *data, size_t size);

/** Brings a snapshot's state from one schema to another. EINVALID: it cannot, and the events are folded. */
typedef struct daybook_snapshot_migration {
    daybook_slice from;
    daybook_slice to;
    daybook_status (*migrate)(void *context, daybook_slice state, daybook_writer *writer,
                              daybook_error *error);
} daybook_snapshot_migration;

/**
 * How snapshots keep a state. `schema` ("order/3") is stored with each: one of another schema is used only
 * where migrations lead from it to this one, and never decoded as if it were of this one. Change the schema
 * whenever the state's bytes or what `evolve` makes of events changes.
 */
typedef struct daybook_snapshot_codec {
    size_t size;
    daybook_slice schema;
    int is_json; /* `encode` writes JSON, which `snapshot show` shows; else its bytes are stored as base64 */
    daybook_status (*encode)(const void *state, void *context, daybook_writer *writer, daybook_error *error);
    /** Into a state as `init` leaves it. EINVALID: not what encode writes; the events are folded instead. */
    daybook_status (*decode)(void *state, void *context, daybook_slice bytes, daybook_error *error);
    const daybook_snapshot_migration *migrations;
    size_t migration_count;
} daybook_snapshot_codec;

DAYBOOK_API void daybook_snapshot_codec_init(daybook_snapshot_codec *codec);

/** All functions may be called by several threads at a time, each with a state of its own. */
typedef struct daybook_aggregate_type {
    size_t size;
    daybook_slice category; /* "orders": subjects are orders.<id>.<event type> */
    size_t state_size;      /* bytes of the state, which begin as zeroes */
    daybook_status (*init)(void *state, void *context, daybook_error *error); /* may be NULL */
    /** Pure: no clock, no I/O, the same state for the same events. A failure fails what loads. */
    daybook_status (*evolve)(void *state, void *context, const daybook_recorded_event *event,
                             daybook_error *error);
    void (*deinit)(void *state, void *context); /* releases what the state owns; may be NULL */
    const daybook_snapshot_codec *codec;        /* NULL: no snapshots */
    void *context;
} daybook_aggregate_type;

DAYBOOK_API void daybook_aggregate_type_init(daybook_aggregate_type *type);
/** 1 where the event is of this type. */
DAYBOOK_API int daybook_type_is(const daybook_recorded_event *event, const char *type);

/* Repositories. */

typedef struct daybook_repository daybook_repository;

typedef struct daybook_repository_options {
    size_t size;
    uint32_t snapshot_every; /* events between snapshots taken by themselves; default 50, 0: none */
    uint32_t retry_count;    /* how often a command is decided anew after a conflict; default 8 */
    int auto_stream;         /* the first event of a category nobody captures creates its stream */
} daybook_repository_options;

DAYBOOK_API void daybook_repository_options_init(daybook_repository_options *options);

/**
 * The aggregates of one type. `type` and its codec are copied, what they point to is not. The engine must
 * outlive it. Any thread may use it.
 */
DAYBOOK_API daybook_status daybook_repository_new(daybook_engine *engine, const daybook_aggregate_type *type,
                                                  const daybook_repository_options *options,
                                                  daybook_repository **repository_out, daybook_error *error);
/** Waits for the snapshots under way. Its aggregates must be released before. NULL is fine. */
DAYBOOK_API void daybook_repository_free(daybook_repository *repository);

/* Loading. */

/** A state with its place in history. */
typedef struct daybook_aggregate daybook_aggregate;

/** `moment` NULL: now. ENOTFOUND where it has no event then. At most `snapshot_every` events are replayed,
 *  and those appended while a snapshot is under way. Release with daybook_aggregate_release. */
DAYBOOK_API daybook_status daybook_aggregate_load(daybook_repository *repository, daybook_slice id,
                                                  const daybook_moment *moment,
                                                  daybook_aggregate **aggregate_out, daybook_error *error);
DAYBOOK_API const void *daybook_aggregate_state(const daybook_aggregate *aggregate);
DAYBOOK_API uint64_t daybook_aggregate_version(const daybook_aggregate *aggregate);
DAYBOOK_API uint64_t daybook_aggregate_seq(const daybook_aggregate *aggregate);
/** Events replayed for it. */
DAYBOOK_API uint64_t daybook_aggregate_event_count(const daybook_aggregate *aggregate);
/** Version of the snapshot it began with; 0: none. */
DAYBOOK_API uint64_t daybook_aggregate_snapshot_version(const daybook_aggregate *aggregate);
DAYBOOK_API void daybook_aggregate_release(daybook_aggregate *aggregate);

/** Visit each event up to the moment with the state after it; non-zero ends it. Borrowed during the visit. */
DAYBOOK_API daybook_status
daybook_aggregate_history(daybook_repository *repository, daybook_slice id, const daybook_moment *moment,
                          int (*visit)(void *context, const daybook_recorded_event *event, const void *state),
                          void *context, daybook_error *error);

/* Deciding. */

/** What a command leads to: events, gathered by the decider. */
typedef struct daybook_decision daybook_decision;

/**
 * Decides a command on a state. Adds events to the decision and returns OK; without events nothing is
 * appended. Or refuses (daybook_refuse): nothing is appended and it is not tried again. It may be called
 * several times for one command, so it must be pure; and it must not execute commands itself.
 */
typedef daybook_status (*daybook_decide)(const void *state, const void *command, daybook_decision *decision,
                                         daybook_error *error);

/** An event of `type` with `data`; its subject is made of category, id and type. Copied. */
DAYBOOK_API daybook_status daybook_decision_add(daybook_decision *decision, const char *type,
                                                daybook_slice data, daybook_error *error);
/** An event with all its parts. Without a subject, the same; with one it must be of the aggregate. Copied. */
DAYBOOK_API daybook_status daybook_decision_add_event(daybook_decision *decision, const daybook_event *event,
                                                      daybook_error *error);
/** Version the state is at; 0: it has no event yet. Over query items: the position of the newest. */
DAYBOOK_API uint64_t daybook_decision_version(const daybook_decision *decision);
/** The rules say no: gives EREFUSED, with `message` for people. */
DAYBOOK_API daybook_status daybook_refuse(daybook_error *error, const char *message);

typedef struct daybook_execute_options {
    size_t size;
    daybook_slice actor; /* for events that bring none; so are the other two */
    daybook_slice correlation;
    daybook_slice causation;
    int auto_stream; /* over query items; for aggregates their repository says it */
} daybook_execute_options;

DAYBOOK_API void daybook_execute_options_init(daybook_execute_options *options);

typedef struct daybook_execute_result {
    size_t size;
    uint64_t version;       /* after it; over query items 0 */
    uint64_t seq;           /* of the last event */
    uint64_t position;      /* of the last event */
    uint64_t event_count;   /* events appended, 0: nothing was to be done */
    uint64_t attempt_count; /* decisions taken */
} daybook_execute_result;

/**
 * Load, decide, append if nothing of the aggregate happened meanwhile; else decide anew on what is there now.
 * Commands on one aggregate through one repository wait for each other, so conflicts come from elsewhere.
 * @param options, result_out  may be NULL
 * @return OK; EREFUSED with the decider's words; ECONFLICT where it had to be decided anew too often; what
 *         loading and daybook_append return
 */
DAYBOOK_API daybook_status daybook_execute(daybook_repository *repository, daybook_slice id,
                                           daybook_decide decide, const void *command,
                                           const daybook_execute_options *options,
                                           daybook_execute_result *result_out, daybook_error *error);

/**
 * The same over a query instead of an aggregate (a dynamic consistency boundary): the state is that of all
 * events matching one of `items`, and the events are appended if no further one matches. Events need
 * subjects. `type` gives state, init, evolve and deinit; category and codec are not looked at.
 * Needs EVENTS_MATCH and POSITION. Source: dcb.events.
 */
DAYBOOK_API daybook_status daybook_execute_over(daybook_engine *engine, const daybook_aggregate_type *type,
                                                const daybook_query_item *items, size_t item_count,
                                                daybook_decide decide, const void *command,
                                                const daybook_execute_options *options,
                                                daybook_execute_result *result_out, daybook_error *error);

/* Snapshots of a repository. */

/** Take one now, in this call. `forced`: as daybook_snapshot_force does it. ENOTFOUND. */
DAYBOOK_API daybook_status daybook_aggregate_snapshot(daybook_repository *repository, daybook_slice id,
                                                      int forced, daybook_error *error);
/** Wait until the snapshots that are due are taken. */
DAYBOOK_API void daybook_repository_wait(daybook_repository *repository);

typedef struct daybook_repository_info {
    size_t size;
    uint64_t load_count;     /* aggregates loaded, for commands too */
    uint64_t replayed_count; /* events replayed for them */
    uint64_t execute_count;
    uint64_t conflict_count;      /* decisions that had to be taken anew */
    uint64_t snapshot_count;      /* taken in the background */
    uint64_t snapshot_drop_count; /* not taken, because too many were due; they are due again later */
    uint64_t snapshot_fail_count;
    char snapshot_failure[DAYBOOK_ERROR_MESSAGE_MAX]; /* what the last failure said */
} daybook_repository_info;

DAYBOOK_API void daybook_repository_get_info(daybook_repository *repository,
                                             daybook_repository_info *info_out);

#ifdef __cplusplus
}
#endif
#endif
