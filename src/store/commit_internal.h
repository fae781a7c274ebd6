// SPDX-License-Identifier: Apache-2.0
// What the files of group commit share: commit.c (queue and lead), room.c (room and pacing), untrimmed.c.
#ifndef DBK_STORE_COMMIT_INTERNAL_H
#define DBK_STORE_COMMIT_INTERNAL_H

#include "store/commit.h"

#define DBK_COMMIT_YIELD DAYBOOK_TIMEOUT // make_room: an urgent operation should go first

enum { DBK_COMMIT_OWN_SLOT = 4 }; // slot of an operation that sleeps on its own word

struct dbk_commit {
    pthread_mutex_t queue_lock;
    // Guarded by queue_lock.
    dbk_operation *head;
    dbk_operation **tail;
    size_t queue_count;
    bool led;      // somebody leads
    unsigned slot; // of `rounds`: where operations that queue now sleep
    bool closing;
    size_t queued_bytes; // of submitted operations
    bool thread_running;
    bool thread_leads;            // the lead was handed to the commit thread
    bool is_completing;           // somebody calls completions
    dbk_operation *finished_head; // submitted operations that were served
    dbk_operation **finished_tail;
    pthread_cond_t thread_wake; // with queue_lock
    pthread_cond_t queue_room;
    pthread_cond_t idle;
    pthread_t thread;

    _Atomic uint32_t rounds[DBK_COMMIT_OWN_SLOT]; // bumped when a group is served; slept on
    _Atomic uint32_t room_changes;                // bumped when maintenance made room; slept on

    // Owned by whoever leads.
    dbk_journal_group *group;
    uint64_t growth_end_lsn;      // end of the journal when it was last asked to grow
    dbk_append *oldest_untrimmed; // guarded by state_lock, with the newest
    dbk_append *newest_untrimmed;
    dbk_trim_hold *trim_holds; // unordered; under state_lock
    uint64_t owed_from;        // 0, or the oldest event whose limits could not be enforced; under state_lock
    uint64_t owed_last;        // the newest of these events; under state_lock
    uint64_t owed_count;       // times that happened; under state_lock
    int64_t owed_retry_ns; // monotonic: it could not be read, and is left alone until then; under state_lock
    dbk_stream *pending;   // streams with accepted, unpublished events; under state_lock
    uint64_t group_position;               // last position in the group
    uint64_t paced_bytes;                  // let in since the last pause
    int64_t paced_until_ns;                // monotonic: what was let in before is paid for by then
    atomic_int_fast64_t deferred_until_ns; // monotonic; 0: nothing is deferred

    dbk_buf lazy;        // records to ride along; guarded by store->removal_lock
    uint64_t lazy_taken; // times it was emptied into a group; guarded by removal_lock
    atomic_uint_fast64_t removal_generation;
    atomic_bool has_deferred;
    atomic_bool room_wanted; // the leader waits for the journal: a flush is due however little is used
};

/// May the store have threads of its own?
bool dbk_commit_has_background(const daybook_store *store);
/// Is an urgent operation at the head of the queue?
bool dbk_commit_urgent_waits(struct dbk_commit *commit);

// ---- room.c: for the leader, which holds no lock ----------------------------------------------------------

/// Hold the leader back for what the last group brought, where segments are behind; true where they are: then
/// groups should be small.
bool dbk_commit_pace(daybook_store *store);
/// Journal pages the operation leaves free: for records that ride along, a rotation's own, and removals.
uint64_t dbk_commit_reserved_pages(daybook_store *store, const dbk_operation *operation);
/// Room for `bytes` more in the memory table and in the journal behind what the group holds. Waits for it.
/// DBK_COMMIT_YIELD where an urgent operation should go first.
daybook_status dbk_commit_make_room(daybook_store *store, size_t bytes, dbk_operation *operation);

// ---- untrimmed.c ------------------------------------------------------------------------------------------

/// Enter an append that was just decided, if it has limits per subject. state_lock is held.
void dbk_commit_note_untrimmed(struct dbk_commit *commit, dbk_append *append);

#endif
