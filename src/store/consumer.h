// SPDX-License-Identifier: Apache-2.0
// Consumers inside the store: what the files consumer*.c share.
//
//   consumer.c             the registry: add, update, remove, open, list, info; loading
//   consumer_log.c         saving: changes, states, the keeper thread
//   consumer_checkpoint.c  a whole state as events
//   consumer_fetch.c       reading and handing out
//   consumer_watch.c       telling that there may be something to fetch
//   consumer_count.c       num_pending
//   consumer_answer.c      answers, and acknowledgements that commit with an append
//   consumer_submit.c      those that wait for their answers to be saved, without a thread
//   consumer_retention.c   removing what is settled, of streams that retain by it
//   consumer_consume.c     a handler called by several workers
//
// The registry exists from the first call on consumers on (store->consumers); a store without pays a look at
// that pointer where events are removed, and nothing else.
//
// Locks, behind those of store_internal.h that are taken for longer than a moment (an append may wait for
// anything):
//   change_lock        of the registry: one configuration changes at a time; appends under it
//   fetch_lock         of a consumer: who reads ahead; reads events under it
//   registry->lock     the list and its references, what nobody wants; a leaf, also under removal_lock
//   consumer->lock     the consumer's state; a leaf
//   told_lock          who is told of advisories, held meanwhile; behind change_lock
//   watches.lock       who is to be told; a leaf, also under those before. No callback runs under these
//
// Saving (consumer_log.c). What happens is noted as changes (consumer/changes.h) and written as events of the
// internal stream $CONSUMERS, which acknowledges before the sync and is written within 100 ms:
//   $CONSUMER.<stream id>.<name>.config   the configuration, replaced by roll-up
//   $CONSUMER.<stream id>.<name>.state    type checkpoint: a whole state, which removes all older ones of the
//                                         subject by roll-up; type changes: what happened since
//   $CONSUMER.<stream id>.<name>.parts    where a state is too large for one event (consumer_checkpoint.c)
// One thread at a time saves a consumer (`saving`). An acknowledgement that commits with an append is an
// event of its own in the append's batch, made by whoever appends; a checkpoint would remove it unseen, so
// none is made while there are claims, and none is claimed while one is made.
#ifndef DBK_STORE_CONSUMER_H
#define DBK_STORE_CONSUMER_H

#include "consumer/config.h"
#include "consumer/state.h"
#include "store/ranges.h"
#include "store/store_internal.h"
#include "store/watch.h"

/// Something to be told of a message: given up, or terminated.
typedef struct dbk_advisory {
    struct dbk_advisory *next;
    bool terminated;
    uint64_t seq;
    uint64_t deliveries;
    size_t reason_size;
    char reason[];
} dbk_advisory;

/// A submitted answer.
typedef struct dbk_ack_waiter {
    struct dbk_ack_waiter *next;
    uint64_t seq;
    uint64_t change_count; // it is durable when so many are
    daybook_status status; // of the answer; of its saving where that failed
    daybook_ack_done done;
    void *context;
} dbk_ack_waiter;

typedef struct dbk_ack_waiters {
    dbk_ack_waiter *first, *last;
} dbk_ack_waiters;

typedef struct dbk_consumer {
    // Fixed.
    daybook_store *store;
    dbk_stream *stream;
    char *name;
    int64_t created_ns;
    bool is_saved; // durable, of a stream on disk
    char *damage;  // why its state cannot be used, or NULL

    // Guarded by registry->lock.
    struct dbk_consumer *next, **at; // of all; `at` is NULL where it is in no list
    struct dbk_consumer *next_of_stream, **at_of_stream;
    struct dbk_consumer *next_of_bucket;
    unsigned refs;
    unsigned handle_count;
    int64_t idle_since_ns; // monotonic; without handles

    // Guarded by fetch_lock.
    pthread_mutex_t fetch_lock;
    daybook_cursor *cursor; // of new messages; NULL: to be opened
    bool has_next;          // next_event is the cursor's, and not yet delivered
    bool is_listing;        // ... and of the list
    daybook_recorded_event next_event;
    size_t list_at;           // of start.list
    int64_t pace_recorded_ns; // replay original: of the last message
    int64_t pace_at_ns;       // ... and when it was delivered
    int64_t recount_after_ns; // monotonic: deliveries do not count anew before

    // Changed under both fetch_lock and lock.
    bool is_counted;
    uint64_t ahead;       // matching events up to counted_seq that were not delivered
    uint64_t counted_seq; // UINT64_MAX in a reader

    // Guarded by lock.
    pthread_mutex_t lock;
    daybook_consumer_config *config;
    uint64_t backoff[DAYBOOK_CONSUMER_BACKOFF_COUNT_MAX]; // ticks
    dbk_delivery delivery;
    dbk_consumer_start start;
    unsigned waiting_count;
    dbk_advisory *advisories;
    // ... saving
    dbk_changes changes;
    uint64_t change_count;  // made
    uint64_t queued_count;  // in the commit queue, or beyond
    uint64_t durable_count; // known to be on disk
    int64_t changed_at_ns;  // monotonic, of the first change that is not queued; 0: none
    uint64_t changes_bytes; // queued since the last checkpoint
    uint64_t checkpoint_bytes;
    bool saving;
    bool is_leaving;          // being removed: no save begins by itself
    dbk_ack_waiters waiters;  // first in, first out
    dbk_ack_waiters answered; // to be told
    bool checkpoint_waits;    // for claims to end: no append begins to claim
    bool reset_waits;         // the same; one at a time, as resets hold change_lock
    bool checkpoint_runs;     // what it says is decided: nothing is claimed
    unsigned claim_count;
    bool wants_checkpoint;
    bool count_is_dear;    // what is pending took long to count: a state should carry it over closing
    atomic_bool has_parts; // or may have
    pthread_cond_t saved;  // with lock: saving ended, claims ended, checkpoint made

    dbk_watch_owner watch_owner; // watch.h
    atomic_bool lacks_room;      // the last fetch stopped at max_ack_pending, or one that may is under way

    atomic_bool removed;
    atomic_bool recount; // something ahead was removed
    atomic_uint_fast64_t delivered_position;
} dbk_consumer;

struct dbk_consumers {
    daybook_store *store;
    pthread_mutex_t change_lock;
    pthread_mutex_t lock;
    // Guarded by lock.
    dbk_consumer *first;    // in no order
    dbk_consumer **buckets; // by stream and name
    size_t bucket_count;    // a power of two
    size_t count;
    uint64_t ephemeral_count;
    size_t part_bytes;           // of a state, in an event; tests make both small
    uint64_t checkpoint_changes; // bytes of changes behind a state that are always allowed
    int64_t real_offset_ns;      // from the monotonic clock to the time of deadlines
    dbk_watches watches;
    pthread_mutex_t told_lock; // held while `told` runs, and no other meanwhile
    void (*told)(void *context, dbk_slice subject, dbk_slice json); // of advisories; NULL: they are appended
    void *told_context;
    // The keeper.
    bool keeper_runs;
    pthread_t keeper;
    atomic_bool stop;
    _Atomic uint32_t keeper_word;
    atomic_bool keeper_sleeps;
    atomic_int_fast64_t keeper_until_ns; // monotonic: when it looks again by itself; INT64_MAX while it looks
    atomic_bool sweeps;                  // a stream by interest may hold what nobody wants
    atomic_int_fast64_t sweep_again_ns;  // monotonic: the same, of one where it failed; INT64_MAX: none
};

struct daybook_consumer {
    daybook_engine_consumer head; // First: engine_slot.h.
    dbk_consumer *consumer;
    atomic_bool interrupted;
    _Atomic(dbk_watch *) watch;    // or NULL
    atomic_int_fast64_t due_at_ns; // monotonic: when the last fetch in vain should be made again
};

// ---- consumer.c -------------------------------------------------------------------------------------------

/// The registry, loaded where it is not yet; in a reader loaded anew each time.
daybook_status dbk_consumers_get(daybook_store *store, struct dbk_consumers **registry_out,
                                 daybook_error *error);
/// A reference on every consumer of a stream, or (NULL) of all, in no order, into an allocated array. ENOMEM.
daybook_status dbk_consumers_all(struct dbk_consumers *registry, dbk_stream *stream,
                                 dbk_consumer ***consumers_out, size_t *count_out);
void dbk_consumer_unref(dbk_consumer *consumer);
/// For deadlines: goes on evenly, whatever happens to the clock.
uint64_t dbk_consumer_now(const dbk_consumer *consumer);
/// Wake those that wait for a message, if any do, and tell those that watch. The consumer's lock is not
/// needed, nor may it be held.
void dbk_consumer_wake(dbk_consumer *consumer);
/// Does anybody wait, or watch? The lock is held.
bool dbk_consumer_is_awaited(dbk_consumer *consumer);
/// DAYBOOK_ACK_EXPLICIT and so on.
int dbk_consumer_ack_policy(dbk_consumer *consumer);
daybook_status dbk_consumer_fail_removed(const dbk_consumer *consumer, daybook_error *error);
/// Remove an ephemeral consumer, or a durable one with a threshold, that nobody used for long.
void dbk_consumers_remove_idle(struct dbk_consumers *registry);

/// Before the commit queue closes: save everything, end the keeper. The first failure, where some of what was
/// answered is not kept; EUNCERTAIN where the store is poisoned.
daybook_status dbk_consumers_stop(daybook_store *store, daybook_error *error);
void dbk_consumers_free(daybook_store *store);
/// Events of the stream up to `position_last` were removed. removal_lock is held.
void dbk_consumers_note_removed(daybook_store *store, uint32_t stream_id, uint64_t position_last);
/// Events were removed: those delivered that wait for an answer are settled. Cheap where the store has no
/// consumers.
void dbk_consumers_drop_events(daybook_store *store, dbk_stream *stream, const dbk_ranges *seqs);
/// What waits for an answer and lies before the first event the stream still has is settled. The lock is
/// held.
void dbk_consumer_drop_removed(dbk_consumer *consumer);
/// The stream was removed, and so are its consumers.
void dbk_consumers_drop_stream(daybook_store *store, dbk_stream *stream);

// ---- consumer_log.c ---------------------------------------------------------------------------------------

enum { DBK_CONSUMER_SUBJECT_SIZE_MAX = 16 + 12 + DAYBOOK_CONSUMER_NAME_SIZE_MAX + 16 };
/// "$CONSUMER.<id>.<name>.<what>".
dbk_slice dbk_consumer_subject(uint32_t stream_id, dbk_slice name, const char *what,
                               char text[DBK_CONSUMER_SUBJECT_SIZE_MAX]);
extern const char dbk_consumers_stream[]; // its name
/// The events of that stream whose subjects match; the filter is copied.
daybook_status dbk_consumer_read_log(daybook_store *store, dbk_stream *stream, dbk_slice filter,
                                     daybook_cursor **cursor_out, daybook_error *error);
/// Append an event of that stream. `seq_out` may be NULL.
daybook_status dbk_consumer_append_event(daybook_store *store, const daybook_event *event, bool durable,
                                         uint64_t *seq_out, daybook_error *error);
/// Make the internal stream unless it is there.
daybook_status dbk_consumer_make_stream(daybook_store *store, daybook_error *error);
/// Store the configuration, and with `fresh` a first state, in one commit.
daybook_status dbk_consumer_save_config(dbk_consumer *consumer, const daybook_consumer_config *config,
                                        bool fresh, daybook_error *error);
/// Read the state back, into a consumer nobody else sees, whose configuration lies at `config_position`.
daybook_status dbk_consumer_load_state(dbk_consumer *consumer, uint64_t config_position,
                                       daybook_error *error);
/// Everything that happened before the call is in the commit queue, or, `durable`, on disk.
daybook_status dbk_consumer_save(dbk_consumer *consumer, bool durable, daybook_error *error);
/// The same, durable, for those that wait, without waiting: tells them when it is done. For changes that are
/// noted, where no checkpoint is wanted and no save is under way. The lock is held, and no longer on return.
void dbk_consumer_submit_save(dbk_consumer *consumer);
/// A change was noted; the lock is held.
void dbk_consumer_note_change(dbk_consumer *consumer);
/// Is the next save of the whole state? The lock is held.
bool dbk_consumer_wants_checkpoint(const dbk_consumer *consumer);
/// What the acknowledgement of `seq` looks like as an event; `buf` holds its data.
daybook_status dbk_consumer_encode_ack(dbk_consumer *consumer, const uint64_t *seqs, size_t count,
                                       dbk_buf *buf);
/// Tell of what was given up or terminated.
void dbk_consumer_send_advisories(dbk_consumer *consumer);
void dbk_consumers_wake_keeper(struct dbk_consumers *registry);
/// Start the keeper, where the store may have threads.
void dbk_consumers_start_keeper(struct dbk_consumers *registry);
/// What the keeper does, once: save what has waited long enough. Returns when to do it again (monotonic
/// clock).
int64_t dbk_consumers_keep(struct dbk_consumers *registry);

// ---- consumer_checkpoint.c --------------------------------------------------------------------------------

typedef struct dbk_checkpoint {
    dbk_buf bytes;
    dbk_buf reference;  // to the parts; empty where there are none
    uint64_t parts_seq; // of the first part in $CONSUMERS
} dbk_checkpoint;

void dbk_checkpoint_init(dbk_checkpoint *checkpoint, const daybook_allocator *allocator);
void dbk_checkpoint_deinit(dbk_checkpoint *checkpoint);
/// How many events of the stream are removed. Asked before encoding, without the consumer's lock.
uint64_t dbk_checkpoint_removed_count(const dbk_consumer *consumer);
/// The lock is held. ENOMEM.
daybook_status dbk_checkpoint_encode(dbk_checkpoint *checkpoint, dbk_consumer *consumer, uint64_t removed);
/// Where it takes several events: append all but the last.
daybook_status dbk_checkpoint_write_parts(dbk_checkpoint *checkpoint, dbk_consumer *consumer,
                                          daybook_error *error);
/// The last, or only, event: with it in the log the checkpoint counts. Borrows from both.
void dbk_checkpoint_fill_event(const dbk_checkpoint *checkpoint, dbk_slice subject, daybook_event *event);
/// It counts: older parts go.
void dbk_checkpoint_remove_parts(const dbk_checkpoint *checkpoint, dbk_consumer *consumer);
bool dbk_checkpoint_is(const daybook_event *event);
/// Into a consumer nobody else sees. EDAMAGED, EFORMAT without a text.
daybook_status dbk_checkpoint_load(dbk_consumer *consumer, const daybook_event *event, daybook_error *error);
/// Sets has_parts.
daybook_status dbk_checkpoint_look_for_parts(dbk_consumer *consumer, daybook_error *error);

// ---- consumer_fetch.c -------------------------------------------------------------------------------------

/// The first seq that was not looked at.
uint64_t dbk_consumer_next_seq(const dbk_consumer *consumer);
/// One event by its seq. END where it is not stored any more.
daybook_status dbk_consumer_read_one(dbk_consumer *consumer, uint64_t seq, daybook_cursor **cursor_out,
                                     daybook_recorded_event *event_out, daybook_error *error);
/// Where a new consumer begins.
daybook_status dbk_consumer_find_start(dbk_consumer *consumer, daybook_error *error);
/// The oldest seq the stream still has, which a purge in part leaves behind its marks; one more than the
/// last: none.
daybook_status dbk_consumer_find_stored(dbk_consumer *consumer, uint64_t *seq_out, daybook_error *error);
/// The cursor is of another configuration now. fetch_lock is held.
void dbk_consumer_close_cursor(dbk_consumer *consumer);

// ---- consumer_watch.c -------------------------------------------------------------------------------------

/// Events of the store's active memory table from one position to another became visible, some of them of
/// watched streams. The leader calls this, without locks.
void dbk_consumers_note_published(daybook_store *store, uint64_t position_first, uint64_t position_last);
/// Nobody watches through the handle any more.
void dbk_consumer_end_watch(daybook_consumer *consumer);

// ---- consumer_count.c -------------------------------------------------------------------------------------

/// Matching events that were not delivered yet: exact for the moment. fetch_lock is held.
daybook_status dbk_consumer_count_ahead(dbk_consumer *consumer, uint64_t *count_out, daybook_error *error);
/// The same for messages being delivered: into consumer->ahead, as exact as it can be had cheaply. ENOMEM.
daybook_status dbk_consumer_update_count(dbk_consumer *consumer, daybook_error *error);
/// The same as a number: what of consumer->ahead somebody will get.
daybook_status dbk_consumer_known_ahead(dbk_consumer *consumer, uint64_t *count_out, daybook_error *error);
/// A new message was read: it is no longer ahead. One behind what was counted never was: what is counted next
/// begins behind it. Both locks are held.
void dbk_consumer_take_off(dbk_consumer *consumer, uint64_t seq);

// ---- consumer_retention.c ---------------------------------------------------------------------------------

/// DAYBOOK_RETENTION_...
int dbk_consumer_retention(const dbk_stream *stream);
/// What the stream's retention demands of a consumer's configuration. change_lock is held.
daybook_status dbk_consumer_check_retention(struct dbk_consumers *registry, dbk_stream *stream,
                                            const daybook_consumer_config *config, daybook_error *error);
/// Remove what it has settled, before that is saved.
daybook_status dbk_consumer_remove_settled(dbk_consumer *consumer, daybook_error *error);
/// Remove what no consumer wants, of all streams by interest that may hold some; by the keeper. What fails is
/// tried again by a later call.
void dbk_consumers_sweep_all(struct dbk_consumers *registry);
/// An event was appended to a stream by interest.
void dbk_consumers_note_appended(daybook_store *store, dbk_stream *stream, dbk_slice subject, uint64_t seq);

// ---- consumer_submit.c ------------------------------------------------------------------------------------

/// The lock is held. From now on the waiter is told when what changed until now is durable.
void dbk_consumer_add_waiter(dbk_consumer *consumer, dbk_ack_waiter *waiter);
/// A save has ended: those whose answers are durable are to be told; where it failed, those among the first
/// `change_count` changes that it failed. The lock is held.
void dbk_consumer_settle_waiters(dbk_consumer *consumer, daybook_status status, uint64_t change_count);
/// Tell those that are to be told. No lock is held.
void dbk_consumer_tell_waiters(dbk_consumer *consumer);
/// Have saved what those that are left wait for: at once where that can be queued, or in this thread where it
/// `may_block`, else by the keeper. No lock is held.
void dbk_consumer_serve_waiters(dbk_consumer *consumer, bool may_block);
/// Nothing is saved any more: tell all that are left.
void dbk_consumer_end_waiters(dbk_consumer *consumer, daybook_status status);

// ---- consumer_answer.c ------------------------------------------------------------------------------------

/// daybook_append with acknowledgements in its options.
daybook_status dbk_consumer_append(daybook_store *store, const daybook_event *events, size_t count,
                                   const daybook_append_options *options, daybook_receipt *receipts,
                                   daybook_error *error);

#endif
