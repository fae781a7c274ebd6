// SPDX-License-Identifier: Apache-2.0
// The store's inside: what the files of this folder share. Nobody else includes it.
//
// Life of a commit: append.c (validate, encode, resolve against segments) -> commit.c (queue, leader, group)
// -> state under state_lock (conditions, assignment, memory table) -> journal -> publish (durable_position,
// removals, catalogue) -> wake. Life of a read: query.c/cursor.c take a view and the durable position,
// nothing else.
//
// Locks, in the order they may be taken (a later one while holding an earlier one, never the reverse):
//   stream->subjects_lock how many subjects a stream has; reads while it is held
//   consumers_lock, and change_lock and fetch_lock of consumers (consumer.h); the other two there are leaves
//   catalogue_lock    one change of streams at a time
//   told_lock         who is told of it is being told: of ours a leaf; a server takes locks of its own in
//                     there
//   expiry_lock       one round of removing what has expired; only ever tried
//   stream->trim_lock removals of one stream (several: ascending by id)
//   maintenance_lock  changes of the view: rotation, a flush or merge taking effect; short but for rotation,
//                     which waits in the commit queue
//   manifest_lock     edits of the manifest and of the journal's map; I/O under it. A leader may take it
//   commit.queue_lock queue of waiting commits (short)
//   state_lock        assignment: last_seq, next_position, active memory table insert, accepted_*; no I/O
//                     under it
//   removal_lock      application of removals to dead sets and stream marks
//   view_lock         the `view` pointer (very short)
//   memtable index locks, dead set locks, stream table lock, cache shards (leaves)
#ifndef DBK_STORE_STORE_INTERNAL_H
#define DBK_STORE_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/error.h"
#include "daybook/append.h"
#include "daybook/read.h"
#include "daybook/store.h"
#include "daybook/stream.h"
#include "io/io.h"
#include "journal/journal.h"
#include "record/record.h"
#include "store/clock.h"
#include "store/engine_slot.h"
#include "store/live.h"
#include "store/manifest.h"
#include "store/source.h"
#include "store/streams.h"

struct dbk_commit;      // commit.c
struct dbk_maintenance; // maintenance.c
struct dbk_follower;    // follower.c: refreshing a read-only store behind a live writer
struct dbk_reserve;     // reserve.c
struct dbk_consumers;   // consumer.c

/// Positions an append spares for events in memory that follow: few of them need a record of their own.
enum { DBK_RESERVED_POSITIONS = 65536 };

/// Limits per subject that are being enforced on events from a position on (untrimmed.c).
typedef struct dbk_trim_hold {
    struct dbk_trim_hold *next;
    uint64_t position_from;
} dbk_trim_hold;

struct daybook_store {
    daybook_engine engine; // engine_slot.h; guarded by state_lock until it is made
    // Set at open.
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    daybook_vfs *owned_vfs; // the memory vfs of ":memory:", freed at close
    daybook_open_options options;
    char path[DBK_PATH_SIZE_MAX];
    bool read_only;
    dbk_uuid uuid;
    uint64_t incarnation;
    uint8_t id_base[10];           // drawn at each open; ids made are a series from it (base/uuid.h)
    atomic_uint_fast64_t id_count; // made or given up
    dbk_cache *cache;
    dbk_stream_table *streams;
    dbk_journal *journal; // NULL when read-only
    daybook_file *lock_file;
    dbk_live *live; // may be NULL for a reader without a live writer

    dbk_store_clock clock; // by which events expire

    // Assignment. Guarded by state_lock.
    pthread_mutex_t state_lock;
    uint64_t next_position;
    uint64_t positions_end; // durable with the group under way: below it positions need not be in the journal
    int64_t last_recorded_ns;
    uint64_t published_position; // everything at or below is counted in its stream
    dbk_source *active;          // its memtable takes inserts; also the last source of the view

    // Published.
    atomic_uint_fast64_t durable_position;
    _Atomic uint32_t publish_count; // bumped after every publish: followers sleep on it (vfs->wait)
    atomic_uint publish_waiters;    // followers that sleep on it, or are about to
    atomic_uint_fast64_t flushed_position;
    // Of the manifest, for the live page and for info.
    atomic_uint_fast64_t manifest_edit, segment_count, segment_bytes, journal_bytes;
    atomic_bool poisoned;

    pthread_mutex_t expiry_lock;
    atomic_uint markers_under_way;       // submitted, not stored or refused yet (expiry.c)
    atomic_int_fast64_t next_expiry_ns;  // monotonic: a round is due before its second; INT64_MAX: none
    atomic_int_fast64_t expired_ns;      // monotonic: of the last round
    atomic_int_fast64_t marker_retry_ns; // monotonic: markers were refused, and none are submitted before
    atomic_int_fast64_t tell_marker_ns;  // monotonic: nor told of before

    pthread_mutex_t removal_lock;
    pthread_mutex_t catalogue_lock; // one change of the catalogue at a time; taken before everything else
    pthread_mutex_t told_lock;      // held while told of a stream; no lock of the store is taken behind it
    void (*stream_told)(void *context, daybook_slice name); // daybook_stream_watch
    void *stream_told_context;
    _Atomic int maintenance_status; // of the last flush: what appends answer when there is no room

    pthread_mutex_t view_lock;
    dbk_view *view;                       // guarded by view_lock
    atomic_size_t frozen_count;           // of `view`: memory tables beside the active one
    atomic_uint_fast64_t view_generation; // of `view`: a cursor whose source is of an older one takes it anew

    struct dbk_commit *commit;
    struct dbk_maintenance *maintenance;
    struct dbk_follower *follower;
    struct dbk_salvage *salvage; // while repair replays (salvage.h), else NULL
    struct dbk_reserve *reserve; // room on the disk that appends may not use; NULL in memory, for readers
    atomic_uint_fast64_t round_count; // rounds of the flusher, for appends that wait for room

    pthread_mutex_t consumers_lock; // making and loading the registry; taken before everything else
    bool consumers_loaded;          // guarded by it
    _Atomic(struct dbk_consumers *) consumers; // NULL until somebody asks for consumers

    // Maintenance.
    pthread_mutex_t maintenance_lock;
    pthread_mutex_t manifest_lock;
    dbk_manifest manifest;         // guarded by manifest_lock
    struct dbk_cut *recovered_cut; // tables frozen during recovery, to be flushed; taken by maintenance
    dbk_trim_hold recovered_trims; // limits that opening still has to enforce

    // Counters for info.
    atomic_uint_fast64_t group_count, commit_count, flush_count, merge_count;
    atomic_uint_fast64_t flushed_bytes, merged_bytes; // of segments written
    uint64_t open_replayed_bytes, open_torn_pages;
};

// ---- info.c -----------------------------------------------------------------------------------------------
/// The manifest has changed; manifest_lock is held.
void dbk_store_note_manifest(daybook_store *store);

// ---- view (source.c) --------------------------------------------------------------------------------------
dbk_view *dbk_store_get_view(daybook_store *store); // a reference
/// Replace the view (reference taken over), dropping the old one.
void dbk_store_set_view(daybook_store *store, dbk_view *view);
void dbk_store_log(daybook_store *store, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/// What the stream's marks say of an event that is in no dead set.
static inline dbk_liveness dbk_stream_liveness(const dbk_stream *stream, uint64_t position) {
    if (position < atomic_load(&stream->purged_position)) return DBK_REMOVED_FOR_EVER;
    return position < atomic_load(&stream->first_position) ? DBK_REMOVED : DBK_LIVE;
}
/// What becomes of the id of an event that is removed so: as said, unless its stream knows ids in the window
/// only.
static inline dbk_liveness dbk_stream_liveness_of_id(const dbk_stream *stream, dbk_liveness removed) {
    const daybook_stream_config *config = atomic_load(&((dbk_stream *)(uintptr_t)stream)->config);
    return removed != DBK_LIVE && (config->flags & DAYBOOK_STREAM_IDS_IN_WINDOW) != 0
               ? DBK_REMOVED_BY_AGE_OF_ID
               : removed;
}
/// True where the event may be shown: stream exists, above its marks, not in the source's dead set.
bool dbk_store_is_live(daybook_store *store, dbk_source *source, uint32_t stream_id, uint64_t position);

// ---- commit.c: group commit -------------------------------------------------------------------------------
daybook_status dbk_commit_new(daybook_store *store, daybook_error *error);
/// Wait for queued commits, stop the commit thread. Later commits get ECLOSED.
void dbk_commit_stop(daybook_store *store);
void dbk_commit_free(daybook_store *store);

/// Journal records made elsewhere (removals, catalogue entries), to be committed as one group member and
/// applied when durable. Blocks until then. `apply` runs in the leader after the sync and before anybody is
/// told, in commit order. The operation is the last of its group, so that whatever is decided later sees it
/// applied.
daybook_status dbk_commit_records(daybook_store *store, dbk_slice records, void (*apply)(void *context),
                                  void *context, daybook_error *error);
/// The same, unless `holds` says no when it is their turn (under state_lock): ECONFLICT, nothing was written.
daybook_status dbk_commit_records_if(daybook_store *store, dbk_slice records, bool (*holds)(void *context),
                                     void (*apply)(void *context), void *context, daybook_error *error);
/// Records to ride along with the next group, not waited for (copied): trims by limits. The caller holds
/// removal_lock and applies them to memory before letting go of it, so that every cut of dbk_commit_rotate
/// sees both or neither.
daybook_status dbk_commit_lazily(daybook_store *store, dbk_slice records);
/// Write a group that streams with sync_interval left unwritten, if its time has come or `force`.
daybook_status dbk_commit_write_deferred(daybook_store *store, bool force, daybook_error *error);
/// Make all removals by limits that are applied to memory durable. Before a manifest that rests on them: what
/// a flush or merge left out as removed must stay removed, and be counted so, after a crash.
daybook_status dbk_commit_write_lazy(daybook_store *store, daybook_error *error);
/// When the deferred group is due (monotonic clock), 0 where there is none.
int64_t dbk_commit_deferred_until(daybook_store *store);
/// dbk_journal_write_witness in commit order. (Nobody else may write to the journal beside a leader.)
daybook_status dbk_commit_write_witness(daybook_store *store, daybook_error *error);

/// Swap in a fresh memory table when the active one is full or `force`; returns the frozen source (a
/// reference) or NULL. All its events are durable when this returns (waits for the group in flight).
/// *flush_lsn_out: every record at or below the frozen table's last position lies below this LSN, so the
/// journal may be recycled up to it once the table is in a segment and the manifest says so. (commit.c;
/// called by maintenance, which holds maintenance_lock.) `capture` (may be NULL) is called under state_lock
/// and removal_lock: what it copies of streams, marks and catalogue is exactly what the journal below
/// *flush_lsn_out says. Without `force` *frozen_out is NULL where the table is not due; with it, where the
/// table is empty (capture is called and *flush_lsn_out set all the same).
daybook_status dbk_commit_rotate(daybook_store *store, bool force, dbk_source **frozen_out,
                                 uint64_t *flush_lsn_out, void (*capture)(void *context),
                                 void *capture_context, daybook_error *error);
/// Position of the oldest append that is decided but whose limits per subject are not enforced yet;
/// next_position when there is none. state_lock is held, or nobody else is there.
uint64_t dbk_commit_trim_from(daybook_store *store);
/// From here to the release dbk_commit_trim_from gives at most `position_from`: somebody is about to enforce
/// limits per subject on events from there on. `hold` stays where it is meanwhile.
void dbk_commit_hold_trim(daybook_store *store, dbk_trim_hold *hold, uint64_t position_from);
void dbk_commit_release_trim(daybook_store *store, dbk_trim_hold *hold);
/// Should a flush be started? (active table above memtable_bytes, or journal half used)
bool dbk_commit_wants_flush(daybook_store *store);
/// Is less of the journal left than is used? Then it is grown ahead, by the flusher. Any thread.
bool dbk_commit_is_journal_half_used(const daybook_store *store);
/// True once per size of the journal: when little room is left in it and it may grow. For the leader.
bool dbk_commit_wants_growth(daybook_store *store);
/// Wake appenders that wait for memory or journal room; also after errors went away.
void dbk_commit_room_changed(daybook_store *store);

// ---- append.c: apply one journal record to the memory state, used by recovery and by followers ------------
/// `record` is one record of a group. Events enter the active memory table; removals and catalogue entries
/// are applied. Not thread-safe against itself; publishes nothing (the caller sets durable_position). With
/// store->salvage (repair) catalogue entries are passed over, what removals say too much of is taken for
/// counted already, and events without a stream are noted there.
daybook_status dbk_store_replay(daybook_store *store, dbk_slice record, daybook_error *error);

// ---- removal.c --------------------------------------------------------------------------------------------
/// Apply a sequence of removal records. Takes removal_lock.
void dbk_store_apply_removals(daybook_store *store, dbk_slice records);
/// Apply a decoded removal to dead sets, marks and counts. removal_lock is held.
void dbk_store_apply_remove(daybook_store *store, const dbk_remove *remove);
/// Enforce the limits of one stream as a whole now: count, bytes, age. Where somebody else is removing from
/// the stream, that thread does it before it is through. Any thread; holds no lock on return.
daybook_status dbk_store_trim(daybook_store *store, dbk_stream *stream, daybook_error *error);
/// The same with the limit per subject. It comes first, of all subjects concerned: the stream as a whole
/// would remove events in favour of others that go anyway.
daybook_status dbk_store_trim_subject(daybook_store *store, dbk_stream *stream, dbk_slice subject,
                                      daybook_error *error);
/// Remove the live events of a stream from seq_first to seq_last that `may_go` (NULL: all of them), as limits
/// do. Waits for others who remove from the stream: not for the commit thread.
daybook_status dbk_store_remove_settled(daybook_store *store, dbk_stream *stream, uint64_t seq_first,
                                        uint64_t seq_last,
                                        bool (*may_go)(void *context, const dbk_event *event), void *context,
                                        daybook_error *error);
struct dbk_due; // expiry.h
/// Of a stream that allows times to live. Looks at each event whether it may go (for errors see there).
typedef daybook_status (*dbk_may_go)(void *context, dbk_stream *stream, const dbk_event *event,
                                     bool *may_go_out, daybook_error *error);
/// Remove what is due of these, ascending by position, of one stream and source; is_done says of which
/// nothing is left. Does nothing where somebody else is removing from the stream.
daybook_status dbk_store_remove_due(daybook_store *store, dbk_stream *stream, struct dbk_due *dues,
                                    size_t count, int64_t now_ns, dbk_may_go may_go, void *context,
                                    daybook_error *error);
/// Look at up to `count_max` of the oldest events whether max_age removes them. *is_more_out: it got on, and
/// there is more; *next_ns_out: when there is again, INT64_MAX where there is nothing that ages.
daybook_status dbk_store_remove_aged(daybook_store *store, dbk_stream *stream, size_t count_max,
                                     int64_t now_ns, dbk_may_go may_go, void *context, bool *is_more_out,
                                     int64_t *next_ns_out, daybook_error *error);
/// What a reader's counts of a stream hold too much: the events reads hide that no writer has removed yet.
/// 0 in a writer, whose maintenance removes them. Reads as many events.
daybook_status dbk_store_count_expired(daybook_store *store, dbk_stream *stream, uint64_t *count_out,
                                       uint64_t *bytes_out, daybook_error *error);
/// Enforce max_age and times to live everywhere, and the limits that are owed; called by maintenance about
/// once a second.
daybook_status dbk_store_trim_ages(daybook_store *store, daybook_error *error);
/// Enforce all limits after recovery (trims may not have reached the journal) or where they are owed, those
/// by subject for subjects of events from position_from on. EIO: the device does not give some of it; all
/// others are enforced.
daybook_status dbk_store_trim_recovered(daybook_store *store, uint64_t position_from, daybook_error *error);
/// Enforce max_msgs_per_subject for every subject of the stream.
daybook_status dbk_stream_trim_subjects(daybook_store *store, dbk_stream *stream, daybook_error *error);
/// Remove the snapshots that may have folded events of a stream that is going to be removed.
daybook_status dbk_stream_forget_snapshots(daybook_store *store, dbk_stream *stream, daybook_error *error);
/// The oldest event of a stream, remembered until something is removed; seq 0: there is none. In a writer the
/// oldest that limits have not removed yet; a reader leaves out what reads hide. Takes state_lock and
/// removal_lock.
daybook_status dbk_stream_find_first(daybook_store *store, dbk_stream *stream, dbk_first_event *first_out,
                                     daybook_error *error);
/// Begin and end removing from a stream by hand. Several streams: ascending by id.
void dbk_stream_lock_trim(dbk_stream *stream);
void dbk_stream_unlock_trim(daybook_store *store, dbk_stream *stream);

// ---- maintenance.c: flush, merge, checkpoint, background thread -------------------------------------------
daybook_status dbk_maintenance_new(daybook_store *store, daybook_error *error);
void dbk_maintenance_stop(daybook_store *store);
void dbk_maintenance_free(daybook_store *store);
/// Ask for background work (flush due, journal room, deferred group). Any thread, cheap.
void dbk_maintenance_kick(daybook_store *store);
/// Bytes of records the flusher writes to segments in a millisecond, from the last flushes; never 0.
uint64_t dbk_maintenance_flush_rate(const daybook_store *store);
/// DAYBOOK_BACKGROUND_* of what runs now.
unsigned dbk_maintenance_running(const daybook_store *store);
/// Flush everything durable now and wait.
daybook_status dbk_maintenance_flush(daybook_store *store, daybook_error *error);
/// Events removed earlier, whose bytes may still be in dictionaries although merges have dropped them.
typedef struct dbk_dropped {
    uint32_t stream_id;
    uint64_t seq_first, seq_last;
    uint32_t snapshots_id; // of the stream of snapshots, which may have folded them; 0: there is none
} dbk_dropped;
/// The same; then rewrite the segments that hold removed events at or behind position_first or have dropped
/// some of `dropped` (NULL: none), and overwrite free journal pieces.
daybook_status dbk_maintenance_erase(daybook_store *store, uint64_t position_first,
                                     const dbk_dropped *dropped, daybook_error *error);
/// After events were removed: where the disk is full, do at once what gives their space back. Its failures
/// are told to the log: the removal is done.
void dbk_maintenance_free_space(daybook_store *store);
/// More journal pieces, when allowed by journal_max_bytes: called when a group does not fit. ELIMIT at the
/// maximum.
daybook_status dbk_maintenance_grow_journal(daybook_store *store, uint64_t pages, daybook_error *error);

// ---- read side, internal (cursor.c) -----------------------------------------------------------------------
/// Like daybook_read but may name a stream directly (skips the rules on internal streams) and stops at
/// `position_last`.
daybook_status dbk_cursor_open(daybook_store *store, const daybook_query *query, dbk_stream *stream,
                               daybook_cursor **cursor_out, daybook_error *error);
/// The number of events still to come up to the cursor's bound, which it then has passed. Not following.
daybook_status dbk_cursor_count(daybook_cursor *cursor, uint64_t *count_out, daybook_error *error);
/// What a count holds for: events up to here. In a reader the seq is not known (UINT64_MAX).
typedef struct dbk_count_bound {
    uint64_t seq;
    uint64_t position;
} dbk_count_bound;
/// Live events of `stream` from `seq_from` on that match one of the filters, none of which overlaps another
/// (no filters: all), up to *bound_out; from the index (count.c). What is removed meanwhile may be counted or
/// not. EDAMAGED where neither the index nor the events can be read.
daybook_status dbk_count_matching(daybook_store *store, dbk_stream *stream, const dbk_slice *filters,
                                  size_t filter_count, uint64_t seq_from, dbk_count_bound *bound_out,
                                  uint64_t *count_out, daybook_error *error);
/// The current event in decoded form, borrowed like the public one; valid after a next that gave OK.
const dbk_event *dbk_cursor_event(const daybook_cursor *cursor);
/// Newest live position matching any item of a query in the segments of `view` (memory tables excluded) at or
/// above position_from; 0 when none. What aged by `now_ns` does not count (0: nothing did). For append
/// conditions, outside every lock. Reads index pages, an event block only where the index cannot decide.
daybook_status dbk_query_newest_in_segments(daybook_store *store, dbk_view *view, dbk_stream *stream,
                                            const daybook_query_item *items, size_t item_count,
                                            int64_t now_ns, uint64_t position_from, uint64_t *position_out,
                                            uint64_t *seq_out, daybook_error *error);
/// The same in one memory table up to position_last, without I/O: called under state_lock.
daybook_status dbk_query_newest_in_memtable(daybook_store *store, dbk_source *source, dbk_stream *stream,
                                            const daybook_query_item *items, size_t item_count,
                                            int64_t now_ns, uint64_t position_from, uint64_t position_last,
                                            uint64_t *position_out, uint64_t *seq_out, daybook_error *error);

// ---- follower.c: a read-only store behind a live writer ---------------------------------------------------
/// Bring the read-only store up to what the live page says; OK also when nothing changed.
daybook_status dbk_follower_refresh(daybook_store *store, daybook_error *error);
/// Wait for something new (local publish for a writer's own cursors, live page for a reader's), at most
/// timeout_ns (< 0: for ever). `seen_publish_count` is the value read before looking.
void dbk_store_wait_published(daybook_store *store, uint32_t seen_publish_count, int64_t timeout_ns);

#endif
