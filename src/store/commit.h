// SPDX-License-Identifier: Apache-2.0
// Group commit: operations queue up, one thread leads at a time, and everything that came together becomes
// durable with one sync. What an append looks like between append.c (which prepares and explains it) and
// commit.c (which orders it).
#ifndef DBK_STORE_COMMIT_H
#define DBK_STORE_COMMIT_H

#include "store/ranges.h"
#include "store/store_internal.h"

/// One event of an append, prepared outside every lock.
typedef struct dbk_append_event {
    dbk_stream *stream;
    size_t body_offset; // in append->bodies
    uint32_t body_size;
    uint32_t id_offset;      // of the id key within the body
    uint32_t subject_offset; // of the subject's bytes within the body
    uint32_t subject_size;
    uint32_t id_size; // bytes of the id key
    uint32_t aggregate_size;
    uint32_t first; // index of the batch's first event of the same aggregate
    uint32_t rank;  // events of it between that one and this
    bool id_supplied;
    dbk_event_hashes hashes;
    uint64_t cost;
    dbk_slice roll_up; // "sub", "all" or empty
    // Resolved against segments.
    uint64_t version_base;      // highest version there, 0 for none
    uint64_t stored_position;   // of a stored event with this id, 0 for none
    bool dead;                  // ... or the id belongs to a removed event that is remembered
    uint64_t subject_count;     // discard new per subject: live events there
    struct dbk_roll_up *rolled; // roll_up "sub": what of the subject lies in segments
    // Decided.
    uint64_t rolled_count, rolled_bytes; // stored events its roll-up removes, those of its batch apart
    bool rolled_away;                    // removed by a later roll-up of its batch
    uint64_t position;
    uint64_t given_seq; // by the caller; 0: the one behind the last
    uint64_t seq;
    uint64_t seq_before; // the stream's last, without it
    uint64_t version;
} dbk_append_event;

/// A stream that may count versions of an aggregate, and what segments say of it.
typedef struct dbk_version_place {
    dbk_stream *stream;
    uint64_t hash; // of the aggregate's term there
    uint64_t version;
} dbk_version_place;

typedef struct dbk_append_condition {
    const daybook_condition *said;
    dbk_stream *stream;      // NULL: the whole store, or (expected 0) a stream that does not exist
    daybook_query_item item; // for a subject filter
    const daybook_query_item *items;
    size_t item_count;
    dbk_slice aggregate;
    // Resolved: where versions of the aggregate may be counted, and the newest match in segments.
    dbk_version_place *places; // &place, or allocated
    size_t place_count;
    dbk_version_place place;
    uint64_t position;
    uint64_t seq;
    bool has_id; // LAST_ID: that one, by its id
} dbk_append_condition;

/// Events to be removed in the same commit by roll-up of one subject; those in segments, found outside the
/// locks.
typedef struct dbk_roll_up {
    dbk_ranges ranges; // ascending
    uint64_t removed_count;
    uint64_t removed_bytes;
} dbk_roll_up;

typedef struct dbk_append {
    daybook_store *store;
    dbk_buf bodies;
    dbk_append_event *events; // &single, or allocated
    dbk_append_event single;
    size_t count;
    dbk_append_condition *conditions;
    size_t condition_count;
    daybook_receipt *receipts; // may be NULL
    dbk_view *view;            // resolved against; a reference
    dbk_buf removals;          // encoded records of roll-ups, applied when durable
    uint64_t removal_generation;
    bool has_roll_up;
    bool has_given_seqs; // of all events but the riders: of one stream, ascending
    bool is_marker;      // of a subject's end (expiry.c): beside limits, its Nats-Rollup is for readers
    bool is_in_memory;   // some of it; its positions may have to be reserved
    bool is_untrimmed;   // in the list of appends whose limits per subject are to be enforced; state_lock
    struct dbk_append *older_untrimmed, *newer_untrimmed;
    dbk_arena *copies;   // of conditions, for submitted appends; else NULL
    bool deferrable;     // all streams acknowledge before the sync
    size_t rider_count;  // the last events, of which no id is asked: a duplicate batch is one but for them
    bool duplicate;      // decided: all ids are stored
    size_t record_bytes; // upper bound of what it adds to the group
    int64_t recorded_ns;
    int64_t expiry_ns; // resolved: the time by which ids are forgotten and events have aged; 0: not asked for
} dbk_append;

typedef enum dbk_operation_kind {
    DBK_OPERATION_APPEND,
    DBK_OPERATION_RECORDS,
    DBK_OPERATION_ROTATE
} dbk_operation_kind;

/// One queued operation. The thread that queued it sleeps until `word` changes; a submitted one is owned by
/// the queue.
typedef struct dbk_operation {
    struct dbk_operation *next;
    dbk_operation_kind kind;
    _Atomic uint32_t word; // WAITING, LEADING, DONE: commit.c
    unsigned slot;         // which word it sleeps on; set when it queues
    bool submitted;
    bool never_waits; // submitted: queued although too much is
    bool urgent; // maintenance waits for it: before all that queues, which may be waiting for maintenance
    bool served; // by the leader; for the leader itself
    daybook_status status;
    daybook_error error;
    unsigned room_pauses; // it made, when maintenance could do no more
    uint64_t room_round;  // of maintenance, behind which it waits for room no longer; 0: it never waited
    dbk_append *append;
    daybook_append_chain *chain; // of a submitted append; may be NULL. Read and broken by whoever leads
    dbk_slice records;
    bool (*holds)(void *context); // RECORDS: what they rest on, asked under state_lock; NULL: nothing
    void (*apply)(void *context);
    void *apply_context;
    // ROTATE: `apply` captures what the cut says, under the locks.
    bool force;
    dbk_source *frozen;
    uint64_t flush_lsn;
    // Called for submitted operations, by one thread at a time; frees the operation.
    void (*completed)(struct dbk_operation *operation);
} dbk_operation;

/// Queue, wait (leading where nobody does), and give the operation's status.
daybook_status dbk_commit_run(daybook_store *store, dbk_operation *operation);
/// Queue a list of appends for the commit thread; `completed` of each will be called. Blocks while too much
/// is queued, unless the first never waits. With `may_lead`, where nobody leads the caller leads one group,
/// and calls the completions that are due before this returns. Where it fails none is queued.
daybook_status dbk_commit_submit(daybook_store *store, dbk_operation *first, bool may_lead,
                                 daybook_error *error);
/// Counts applied removals; an append resolved under another value is resolved again.
uint64_t dbk_commit_removal_generation(daybook_store *store);

/// Its limits per subject are enforced, or owed, or it failed: no crash need have them looked at again.
void dbk_commit_trimmed(daybook_store *store, dbk_append *append);
/// Limits of events at or behind this position could not be enforced: dbk_commit_trim_owed tries again, and
/// until it got through manifests say so. What the device does not give is left alone for a minute, and told
/// of.
void dbk_commit_owe_trim(daybook_store *store, uint64_t position_from);
/// The same with a warning that says why; none where something is owed already, of which the background work
/// tells.
void dbk_commit_owe_failed_trim(daybook_store *store, uint64_t position_from, const daybook_error *cause);
/// The same for events up to `position_last` that are not durable yet.
void dbk_commit_owe_trim_until(daybook_store *store, uint64_t position_from, uint64_t position_last);
daybook_status dbk_commit_trim_owed(daybook_store *store, daybook_error *error);
/// dbk_commit_trim_from of a store that is closing: also what was trimmed but did not reach the journal.
uint64_t dbk_commit_closed_trim_from(daybook_store *store);

/// daybook_append of a batch whose last `rider_count` events ride along: they are written where the others
/// are, and are left out where the others are stored already. (append.c)
daybook_status dbk_append_with_riders(daybook_store *store, const daybook_event *events, size_t count,
                                      size_t rider_count, const daybook_append_options *options,
                                      daybook_receipt *receipts, daybook_error *error);

/// daybook_append_submit that does not wait while too much is queued: for what is small, of which there is
/// little, and whose caller was promised not to wait. (append.c)
daybook_status dbk_append_submit_at_once(daybook_store *store, const daybook_event *events, size_t count,
                                         const daybook_append_options *options, daybook_append_done done,
                                         void *context, daybook_error *error);

/// The same for the marker of a subject whose last event expired (expiry.c): whatever limits of size and
/// number its stream has; the header Nats-Rollup rolls up nothing. (append.c)
daybook_status dbk_append_submit_marker(daybook_store *store, const daybook_event *event,
                                        const daybook_append_options *options, daybook_append_done done,
                                        void *context, daybook_error *error);

// ---- prepare.c: from what the caller says to a dbk_append -------------------------------------------------

/// Validate, find streams (creating them where options->auto_stream), encode. Release with dbk_append_deinit,
/// also after a failure. With `copy` the conditions are copied; else they are borrowed.
daybook_status dbk_append_init(dbk_append *append, daybook_store *store, const daybook_event *events,
                               size_t count, const daybook_append_options *options, bool copy,
                               daybook_error *error);
void dbk_append_deinit(dbk_append *append);
static inline dbk_slice dbk_append_body(const dbk_append *append, const dbk_append_event *event) {
    return daybook_bytes(append->bodies.data + event->body_offset, event->body_size);
}
static inline dbk_slice dbk_append_subject(const dbk_append *append, const dbk_append_event *event) {
    return daybook_bytes(append->bodies.data + event->body_offset + event->subject_offset,
                         event->subject_size);
}
static inline dbk_slice dbk_append_id_key(const dbk_append *append, const dbk_append_event *event) {
    return daybook_bytes(append->bodies.data + event->body_offset + event->id_offset, event->id_size);
}

/// stream.c: the stream named after the subject's first token, created unless somebody was faster.
daybook_status dbk_stream_add_for_subject(daybook_store *store, dbk_slice subject, dbk_stream **stream_out,
                                          bool *created_out, daybook_error *error);

/// resolve.c: resolve ids, versions and conditions against the segments of the current view; any thread, no
/// lock held.
daybook_status dbk_append_resolve(dbk_append *append, daybook_error *error);
/// Is the stored event still known by its id, when the append was resolved? If so, *dead_out says whether it
/// was removed. What aged counts as removed by limits.
bool dbk_append_knows(const dbk_append *append, const dbk_stream *stream, dbk_source *source,
                      const dbk_event *stored, bool *dead_out);
/// Is this the last event that a condition LAST_ID expects?
bool dbk_append_expects_id_of(const dbk_append_condition *condition, const dbk_event *event);
/// decide.c: decide and assign; called by the leader under state_lock with the current view. Puts the events
/// into the memory table and their records into `group`; on any failure both are as before.
daybook_status dbk_append_decide(dbk_append *append, dbk_view *view, dbk_journal_group *group,
                                 daybook_error *error);

/// The commit queue has stopped, and what was acknowledged before its sync was not written.
bool dbk_commit_lost_deferred(daybook_store *store);

#endif
