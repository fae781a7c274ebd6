// SPDX-License-Identifier: Apache-2.0
// The streams of a store: configuration (catalogue) and state. Which stream captures a subject.
//
// A dbk_stream lives until the store closes, also when removed (`removed` set): cursors and receipts may
// point to it. Configurations are immutable values, replaced as a whole. Locks: table->lock guards the table,
// `config` pointers, and nothing else. State fields say who writes them.
#ifndef DBK_STORE_STREAMS_H
#define DBK_STORE_STREAMS_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/memory.h"
#include "consumer/seq_set.h"
#include "daybook/stream.h"

#define DBK_SEQ_GIVEN_MAX ((UINT64_C(1) << 62) - 1) // there is always one behind it

typedef struct dbk_first_event {
    bool is_known;
    uint64_t seq, missing; // so many of the stream's seqs were missing then
    int64_t recorded_ns;
} dbk_first_event;

typedef struct dbk_stream {
    // Fixed.
    uint32_t id;
    dbk_slice name;
    uint32_t aggregate_tokens;
    int storage;
    // Replaced under table->lock, old values are kept until the store closes: read with atomic_load.
    _Atomic(const daybook_stream_config *) config;
    // Written by the group-commit leader under store->state_lock (assigned, perhaps not durable yet).
    uint64_t last_seq;
    // Shared: written under store->removal_lock or by the leader when publishing; read by anyone.
    atomic_bool removed;
    atomic_uint_fast64_t first_seq;       // limit mark: events below are removed. 1 at first
    atomic_uint_fast64_t first_position;  // the same as a position; 0 at first
    atomic_uint_fast64_t purged_position; // below, users purged: those ids are remembered for ever
    atomic_uint_fast64_t message_count;   // live and published
    atomic_uint_fast64_t byte_count;
    atomic_uint_fast64_t published_seq; // last durable seq
    atomic_int_fast64_t last_recorded_ns;
    // Of a stream that allows times to live: what lies below has aged, and is removed or never goes. It rises
    // behind the removal, under trim_lock; who reads it first and then what is removed, without, is right
    atomic_uint_fast64_t aged_position;
    atomic_int_fast64_t age_retry_ns; // monotonic: what has aged was unreadable, not asked for before
    bool
        // its limits may have become tighter: all its subjects are trimmed again; recovery only
        updated_in_replay;
    uint64_t batch_count; // of the append being decided; under store->state_lock
    uint64_t batch_bytes;
    uint64_t pending_count; // accepted, not yet published; under store->state_lock, with next_pending
    uint64_t pending_bytes;
    struct dbk_stream *next_pending; // list of streams with pending_count > 0
    // Held from looking at what to remove until the removal is applied, so that nothing is counted twice
    // (removal.c).
    pthread_mutex_t trim_lock;
    struct dbk_trim_request *trim_requests; // of who found trim_lock taken; under store->removal_lock
    // How many subjects it had when it was last asked (list.c). Under subjects_lock.
    pthread_mutex_t subjects_lock;
    struct dbk_subject_count {
        bool is_known;
        uint64_t count, seq, missing; // up to seq, of which so many were missing
        int64_t took_ns;              // counting them all
    } subjects;
    // Its oldest event when that was last looked for (stream.c). Under store->state_lock.
    dbk_first_event first_event;
    int64_t created_ns;
    atomic_bool is_swept; // by interest: holds nothing that no consumer wants, as far as is known
    atomic_int_fast64_t sweep_after_ns; // monotonic: not looked through before, behind a failure
    dbk_seq_set unwanted;               // ... but for these: under the lock of the registry (consumer.h)
    struct dbk_consumer *consumers;     // of it, in no order: under the same
    atomic_uint consumer_count;
    struct dbk_watch_set *watches; // who wants to be told of its events: watch.c, under its lock
    atomic_uint watched_count;     // consumers of it that wait to be told
} dbk_stream;

typedef struct dbk_stream_table dbk_stream_table;

daybook_status dbk_stream_table_new(const daybook_allocator *allocator, dbk_stream_table **table_out);
void dbk_stream_table_free(dbk_stream_table *table);

/// Everything daybook/stream.h demands of a configuration. EINVALID, ESUBJECT.
daybook_status dbk_stream_config_validate(const daybook_stream_config *config, daybook_error *error);

/// Bytes a copy's subjects and texts take.
size_t dbk_stream_config_room(const daybook_stream_config *config);
/// Copy what `config` borrows to `room`, which has that many bytes and is aligned to 8; the copy borrows from
/// it.
void dbk_stream_config_copy(const daybook_stream_config *config, void *room, daybook_stream_config *copy_out);

/// Add a stream (copies the configuration); EEXISTS, EOVERLAP naming the other stream.
daybook_status dbk_stream_table_add(dbk_stream_table *table, uint32_t id, const daybook_stream_config *config,
                                    int64_t created_ns, dbk_stream **stream_out, daybook_error *error);
/// The same in two steps, where something durable lies between them that must not be followed by a failure:
/// everything that can fail; then, without any other change of the table in between, insert or discard (NULL
/// is fine). A prepared stream is seen by nobody.
daybook_status dbk_stream_table_prepare(dbk_stream_table *table, uint32_t id,
                                        const daybook_stream_config *config, int64_t created_ns,
                                        dbk_stream **stream_out, daybook_error *error);
void dbk_stream_table_insert(dbk_stream_table *table, dbk_stream *stream);
void dbk_stream_table_discard(dbk_stream_table *table, dbk_stream *stream);
daybook_status dbk_stream_table_update(dbk_stream_table *table, dbk_stream *stream,
                                       const daybook_stream_config *config, daybook_error *error);
/// The update in two steps, likewise: replace (takes the copy over) or discard_update.
daybook_status dbk_stream_table_prepare_update(dbk_stream_table *table, const dbk_stream *stream,
                                               const daybook_stream_config *config,
                                               const daybook_stream_config **copy_out, daybook_error *error);
void dbk_stream_table_replace(dbk_stream_table *table, dbk_stream *stream, const daybook_stream_config *copy);
void dbk_stream_table_discard_update(dbk_stream_table *table, const daybook_stream_config *copy);
void dbk_stream_table_remove(dbk_stream_table *table, dbk_stream *stream);
/// Records of streams are lost: from now on what contradicts the table is taken for what came of them. Ids
/// need not ascend, a stream takes the place of an older one of its name, and subjects may overlap (the older
/// stream was removed, or gave them away: its events stay readable). For readers.
void dbk_stream_table_note_gap(dbk_stream_table *table);
bool dbk_stream_table_has_gap(dbk_stream_table *table);

/// May a question about `only` (NULL: all streams) meet events of `stream` (NULL: one that is not there)? All
/// streams are all but the removed, and the internal ones only where it `includes_internal`.
bool dbk_stream_is_asked_for(const dbk_stream *stream, const dbk_stream *only, bool includes_internal);
/// 0: events do not age.
int64_t dbk_stream_max_age_ns(const dbk_stream *stream);
/// Have its events times to live of their own, or may they come?
bool dbk_stream_allows_ttl(const dbk_stream *stream);
/// Its seqs may be given ones, with gaps that no position stands for.
bool dbk_stream_has_given_seqs(const dbk_stream *stream);
/// Has any stream allowed that since the store was opened?
bool dbk_stream_table_has_ttls(const dbk_stream_table *table);
/// Has any stream had a max_age, or allowed times to live, since the store was opened?
bool dbk_stream_table_has_ages(const dbk_stream_table *table);

/// NULL when absent (or removed).
dbk_stream *dbk_stream_table_find(dbk_stream_table *table, dbk_slice name);
dbk_stream *dbk_stream_table_find_id(dbk_stream_table *table, uint32_t id);
/// The stream that captures a valid subject; NULL when none does. A few hash look-ups, whatever the number of
/// streams.
dbk_stream *dbk_stream_table_capture(dbk_stream_table *table, dbk_slice subject);
/// The live streams that may capture a subject the filter matches, each once, into *streams_out (allocated;
/// the caller frees the array). ENOMEM.
daybook_status dbk_stream_table_overlapping(dbk_stream_table *table, dbk_slice filter,
                                            dbk_stream ***streams_out, size_t *count_out);
/// The live streams ascending by id into *streams_out (allocated; the caller frees the array).
daybook_status dbk_stream_table_all(dbk_stream_table *table, dbk_stream ***streams_out, size_t *count_out);
uint32_t dbk_stream_table_next_id(dbk_stream_table *table); // one above the greatest ever added
void dbk_stream_table_set_next_id(dbk_stream_table *table, uint32_t next_id);

/// Catalogue key of a stream (record/record.h, kind STREAM): its id as ten digits, so that keys sort like
/// ids. Points into text.
dbk_slice dbk_stream_key(uint32_t id, char text[16]);
/// Catalogue value of a stream: versioned binary form.
daybook_status dbk_stream_encode(uint32_t id, const daybook_stream_config *config, int64_t created_ns,
                                 dbk_buf *buf);
/// `config_out` borrows from `value` and from `subjects` (room for DAYBOOK_STREAM_SUBJECT_COUNT_MAX).
daybook_status dbk_stream_decode(dbk_slice value, uint32_t *id_out, daybook_stream_config *config_out,
                                 int64_t *created_ns_out, dbk_slice *subjects);

#endif
