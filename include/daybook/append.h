/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Appending: one event or an atomic batch, over one or several streams, under conditions.
 *
 *     daybook_condition condition;
 *     daybook_condition_init(&condition, DAYBOOK_EXPECT_VERSION);
 *     condition.expected = 4;
 *     daybook_append_options options;
 *     daybook_append_options_init(&options);
 *     options.conditions = &condition;
 *     options.condition_count = 1;
 *     daybook_append(store, &event, 1, &options, NULL, &error);   // ECONFLICT: error.actual
 */
#ifndef DAYBOOK_APPEND_H
#define DAYBOOK_APPEND_H

#include "daybook/event.h"
#include "daybook/read.h"
#include "daybook/store.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DAYBOOK_CONDITION_COUNT_MAX 64

/**
 * A live event is one that a read gives: removed events do not count, and neither do those past their
 * stream's max_age or their own time to live, whether they have been removed yet or not. What was assigned
 * (seq, version) stays assigned: it is never given again, whatever was removed.
 */
enum daybook_condition_kind {
    /** `stream` (empty: that of the first event) has assigned `expected` last. */
    DAYBOOK_EXPECT_STREAM_SEQ = 1,
    /** The last live event matching `filter` (empty: the first event's subject) in `stream` has seq
     *  `expected`; 0: there is none. */
    DAYBOOK_EXPECT_SUBJECT_SEQ = 2,
    /** `aggregate` (empty: that of the first event) has assigned version `expected` last; 0: none. It is that
     *  of `stream`; empty: of the first event's stream for its own aggregate, of all streams for another.
     *  Where several streams share an aggregate each counts its own, and the greatest version is meant. */
    DAYBOOK_EXPECT_VERSION = 3,
    /** No live event behind position `after` matches one of `items`, in `stream` or, empty, in the store
     *  without internal streams. On failure `actual` is the position of the newest match. */
    DAYBOOK_FAIL_IF_EVENTS_MATCH = 4,
    /** The newest live event of `stream` (empty: that of the first event) came with the id `id`; empty: there
     *  is none, or it came without one. On failure `actual` is its seq. */
    DAYBOOK_EXPECT_LAST_ID = 5
};

typedef struct daybook_condition {
    size_t size;
    int kind;
    daybook_slice stream;
    daybook_slice filter;
    daybook_slice aggregate;
    uint64_t expected;
    uint64_t after;
    const daybook_query_item *items;
    size_t item_count;
    daybook_slice id;
} daybook_condition;

DAYBOOK_API void daybook_condition_init(daybook_condition *condition, int kind);

/**
 * Submitted appends that stand in a row: once one of them is refused, for whatever reason, so are all that
 * were submitted behind it (ESKIPPED), and nothing is stored behind a hole. Zeroed by its owner, who keeps
 * it until the last completion was called.
 */
typedef struct daybook_append_chain {
    int is_broken; /* read it when nothing is under way */
} daybook_append_chain;

/**
 * Submitted appends that are queued together, so that they share a change of threads and, where it is large
 * enough, a sync: daybook_append_submit with `options->bundle` leaves the append here, and
 * daybook_append_bundle_submit queues all that were left. One thread's. Zeroed by its owner; what is in it is
 * the store's.
 */
typedef struct daybook_append_bundle {
    size_t count; /* appends in it */
    void *first, *last;
} daybook_append_bundle;

typedef struct daybook_consumer daybook_consumer; /* consumer.h */

/** A message whose acknowledgement commits with an append. */
typedef struct daybook_append_ack {
    size_t size;                /* sizeof; in arrays, of the first element: the stride */
    daybook_consumer *consumer; /* that acknowledges explicitly */
    uint64_t seq;
} daybook_append_ack;

typedef struct daybook_append_options {
    size_t size;
    const daybook_condition *conditions; /* all must hold in the state before this call */
    size_t condition_count;
    int auto_stream;             /* a subject nobody captures creates the stream of its first token */
    daybook_append_chain *chain; /* daybook_append_submit only; NULL: the append stands for itself */
    int durable;                 /* wait for the sync also where the streams have a sync_interval */
    /** Messages of consumers that are acknowledged in the same atomic commit. Where one is not pending any
     *  more: ECONFLICT, error.condition is its index here, nothing was written. Where all events are
     *  stored already (flag DUPLICATE) they are acknowledged by themselves, as confirmed ones are, whose
     *  errors are then those of this call (consumer.h). Not with daybook_append_submit. */
    const daybook_append_ack *acks;
    size_t ack_count;
    /** The stream of all these events. One that does not capture a subject takes it only where it has
     *  DAYBOOK_STREAM_OTHER_SUBJECTS. Empty: of each event the one that captures it. */
    daybook_slice stream;
    /** The seqs the events are to have, for a stream that keeps the numbers of another: 1 to 2^62 - 1, each
     *  greater than the one before (else EINVALID, error.event), the first greater than the stream's last
     *  (else ECONFLICT). Those passed over have no events, as if they had been removed, and are not given
     *  again. One for each event, those elsewhere left out; borrowed during the call. Needs `stream`, with
     *  DAYBOOK_STREAM_GIVEN_SEQS; not with `acks`. NULL: each event has the seq behind the one before. */
    const uint64_t *seqs;
    /** The last so many events, fewer than all, are not of `stream`: each goes where its subject is captured,
     *  in the same commit, and is left out where all others are stored already (flag DUPLICATE). Conditions
     *  hold for all. Not with `acks`. */
    size_t elsewhere_count;
    daybook_append_bundle *bundle; /* daybook_append_submit only; NULL: queued at once */
} daybook_append_options;

DAYBOOK_API void daybook_append_options_init(daybook_append_options *options);

/**
 * Would an append take this event? Checks what can be checked without a store: subject, texts, tags,
 * headers, time, size. EINVALID, ESUBJECT, ELIMIT as daybook_append gives them. Pure, any thread.
 */
DAYBOOK_API daybook_status daybook_event_check(const daybook_event *event, daybook_error *error);

enum daybook_receipt_flag {
    DAYBOOK_RECEIPT_DUPLICATE = 1, /* an event of this id is stored already; nothing was written */
    DAYBOOK_RECEIPT_DIFFERS = 2,   /* ... and its content is another */
    DAYBOOK_RECEIPT_DELETED = 4,   /* ... and it has been removed since */
    DAYBOOK_RECEIPT_STREAM_CREATED = 8
};

typedef struct daybook_receipt {
    size_t size;
    daybook_slice stream; /* name; valid until the store closes */
    uint64_t seq;
    uint64_t position;
    uint64_t version;
    int64_t recorded_ns;
    unsigned flags;
    char id[40]; /* the UUID made by the store; "" where the event brought its id */
} daybook_receipt;

/**
 * Append events, all or none, and wait until they survive power loss.
 *
 * @param events    `count` entries, 1 to 65,535, at most 16 MiB encoded; copied before return
 * @param options   NULL for defaults
 * @param receipts  `count` entries to be filled, or NULL; where the append is refused only `stream` and the
 *                  flag STREAM_CREATED of those whose stream was made: the stream stays
 * @return OK          also for a batch whose ids are all stored (flag DUPLICATE)
 *         ECONFLICT   a condition does not hold; error.condition, expected, actual; nothing written. The
 *                     first of options.seqs is not greater than the stream's last: error.condition is
 *                     condition_count
 *         EMIXED      stored and new ids in one batch, or an id twice; nothing written
 *         ENOSTREAM   no stream captures a subject and auto_stream is off; options.stream is none, or does
 *                     not take a subject
 *         EUNSUPPORTED  options.acks with options.seqs or options.elsewhere_count
 *         EMISUSE     no store; all events are said to go elsewhere
 *         ELIMIT      max_msg_size, discard new, batch size, larger than the journal takes; error.limit,
 *                     expected, actual; nothing written
 *         EINVALID, ESUBJECT  malformed; error.event says which
 *         EUNCERTAIN  the sync failed: whether the events are stored is unknown until reopened
 *         EPOISONED   an earlier sync failed; nothing written
 *         ENOSPC      no room to accept more; nothing written; resumes when space returns (with
 *                     OPEN_NO_BACKGROUND also a full journal: call daybook_maintain)
 * Any thread; a group of concurrent appends shares one sync. O(bytes); index look-ups only for
 * conditions, supplied ids and aggregates not seen lately.
 * Source: docs/design/append.md; dcb.events specification; NATS ADR-50 for batches.
 */
DAYBOOK_API daybook_status daybook_append(daybook_store *store, const daybook_event *events, size_t count,
                                          const daybook_append_options *options, daybook_receipt *receipts,
                                          daybook_error *error);

/** Called once, from the commit thread or one that submits a bundle, when the events are durable or
 *  refused. */
typedef void (*daybook_append_done)(void *context, daybook_status status, const daybook_receipt *receipts,
                                    size_t count, const daybook_error *error);

/**
 * The same without waiting: checks and copies the events, queues them and returns. `done` comes
 * after the sync. Order of calls from one thread is order of commit. It must not block or call
 * daybook_append. Fails at once (without `done`) on malformed input; a chain goes on behind that.
 * Where one is refused for want of room those behind it may find room again: options->chain keeps the order.
 */
DAYBOOK_API daybook_status daybook_append_submit(daybook_store *store, const daybook_event *events,
                                                 size_t count, const daybook_append_options *options,
                                                 daybook_append_done done, void *context,
                                                 daybook_error *error);

/**
 * Queues what is in the bundle, in the order it came, and leaves the bundle empty. Where the store takes
 * nothing any more `done` of each is told so before this returns. With `may_wait`, where no group is being
 * written the caller writes one, in which these are the first, and calls the completions that are due: for
 * who has nothing better to do than to wait for the sync, and spares two changes of threads. As
 * daybook_append_submit it waits while too much is queued.
 */
DAYBOOK_API void daybook_append_bundle_submit(daybook_store *store, daybook_append_bundle *bundle,
                                              int may_wait);

#ifdef __cplusplus
}
#endif
#endif
