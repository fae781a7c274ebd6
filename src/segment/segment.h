// SPDX-License-Identifier: Apache-2.0
// Segments: immutable files, each holding the events of a range of positions in order of position, compressed
// in blocks of about 2 KiB, with an index over all terms, a table of event ids and everything needed to
// rebuild a lost manifest. Events removed before the segment was written are simply absent; positions stay
// what they were.
//
// Postings and deletion bitmaps are *relative positions*: position - position_first of the segment (u32).
// Whoever holds a segment open may read it from any thread. Every byte is checked before use; damage gives
// EDAMAGED with file and offset, and everything outside the damaged chunk stays readable.
// The format is described at the head of writer.c.
#ifndef DBK_SEGMENT_SEGMENT_H
#define DBK_SEGMENT_SEGMENT_H

#include "base/uuid.h"
#include "daybook/store.h"
#include "daybook/sys/vfs.h"
#include "index/cache.h"
#include "index/filter.h"
#include "index/term.h"

typedef struct dbk_segment dbk_segment;

typedef struct dbk_segment_summary {
    uint64_t segment_id;     // file name: segment-<16 hex digits>.dbs
    uint64_t position_first; // of its range; the first event may come later
    uint64_t position_last;
    uint64_t event_count;
    uint64_t file_bytes;
    uint64_t data_bytes; // encoded bodies, before compression
    int64_t recorded_first_ns, recorded_last_ns;
    int64_t time_min_ns, time_max_ns;
    uint32_t stream_count;
    uint8_t sha256[32];
} dbk_segment_summary;

typedef struct dbk_segment_config {
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    const char *directory;
    dbk_uuid store_uuid; // all zeros: of any store, for rebuilding
    uint64_t incarnation;
    uint64_t segment_id;
    size_t memory_max; // for building the index, 0: 32 MiB; beyond it parts go through a temporary file
} dbk_segment_config;

/// "segment-0000000000000001.dbs" into name_out.
void dbk_segment_name(uint64_t segment_id, char name_out[40]);

// ---- Dictionaries (dictionary.c) --------------------------------------------------------------------------

/// A compression dictionary that one segment after the other uses.
typedef struct dbk_dictionary {
    dbk_buf bytes;   // empty: none
    uint64_t packed; // what it makes of a million bytes of such bodies as it was trained on
    uint32_t uses;
} dbk_dictionary;

void dbk_dictionary_init(dbk_dictionary *dictionary, const daybook_allocator *allocator);
void dbk_dictionary_deinit(dbk_dictionary *dictionary);
/// None from now on.
void dbk_dictionary_forget(dbk_dictionary *dictionary);
/// Make it one for such bodies: itself where it does nearly as well as a new one, else a new one.
/// *is_used_out is false where there is too little to learn from. Best given bodies from all over the
/// segment. ENOMEM, with the dictionary as it was.
daybook_status dbk_dictionary_choose(const daybook_allocator *allocator, const dbk_slice *bodies,
                                     size_t count, dbk_dictionary *dictionary, bool *is_used_out);

// ---- Writing ----------------------------------------------------------------------------------------------

/// An id whose event is no longer stored, remembered for duplicates.
typedef struct dbk_dead_id {
    uint8_t hash[16]; // XXH3-128 of (stream id, id key)
    uint32_t stream_id;
    bool for_ever; // deleted or purged by a user
    // Else: forgotten when the duplicate window has passed since. Of a stream that knows ids in the window
    // only it is when the event was recorded.
    int64_t removed_ns;
} dbk_dead_id;

typedef struct dbk_segment_writer dbk_segment_writer;

/// Begin segment-<id>.tmp (replacing a leftover of that name). The range may be wider than the events; at
/// most 2^32 positions. EEXISTS where a segment of this id is there already: it is never overwritten, so ids
/// must be above those of all files in the directory, named by a manifest or not.
daybook_status dbk_segment_writer_new(const dbk_segment_config *config, uint64_t position_first,
                                      uint64_t position_last, dbk_segment_writer **writer_out,
                                      daybook_error *error);
/// Train the compression dictionary, before the first add; optional. Best given all bodies (1.5 MB of them,
/// evenly spread, are used); below 32 KB none is made. `bodies` borrowed during the call.
daybook_status dbk_segment_writer_train(dbk_segment_writer *writer, const dbk_slice *bodies, size_t count,
                                        daybook_error *error);
/// Instead: compress with this one. EDAMAGED where zstd refuses its bytes.
daybook_status dbk_segment_writer_use_dictionary(dbk_segment_writer *writer, dbk_slice dictionary,
                                                 daybook_error *error);
/// Events in order of position, within the range: else EMISUSE. `event->body` is copied. After a failure all
/// further calls return it.
daybook_status dbk_segment_writer_add(dbk_segment_writer *writer, const dbk_event *event,
                                      daybook_error *error);
/// A removed event: its id stays known, and the aggregate's last version is kept, without the event's
/// content.
daybook_status dbk_segment_writer_add_removed(dbk_segment_writer *writer, const dbk_event *event,
                                              bool for_ever, int64_t removed_ns, daybook_error *error);
/// For repair: take over what `from`, an older form of this segment, still knows of removed events: their
/// ids, the last versions of aggregates and the highest seqs. Where pages of its index are damaged, what they
/// held is left out; `lost_out` (may be NULL) says whether any was.
daybook_status dbk_segment_writer_carry(dbk_segment_writer *writer, dbk_segment *from, bool *lost_out,
                                        daybook_error *error);
/// Write index and footer (`catalogue`: opaque copy of the store's stream configurations, for rebuild), sync,
/// rename to the final name, sync the directory. The writer is gone whatever is returned; on failure no file
/// is left.
daybook_status dbk_segment_writer_finish(dbk_segment_writer *writer, dbk_slice catalogue,
                                         dbk_segment_summary *summary_out, daybook_error *error);
void dbk_segment_writer_abort(dbk_segment_writer *writer);

// ---- Reading ----------------------------------------------------------------------------------------------

/// Open and check head and footer (no event block). EFOREIGN for another store's file, EFORMAT, EDAMAGED,
/// ENOTFOUND. Holds one reference.
daybook_status dbk_segment_open(const dbk_segment_config *config, dbk_cache *cache, dbk_segment **segment_out,
                                daybook_error *error);
dbk_segment *dbk_segment_ref(dbk_segment *segment);
void dbk_segment_unref(dbk_segment *segment);
/// A hash of each compression dictionary's bytes, equal for equal ones, into `hashes_out` of that many.
uint32_t dbk_segment_dictionary_count(const dbk_segment *segment);
daybook_status dbk_segment_hash_dictionaries(const dbk_segment *segment, uint64_t *hashes_out,
                                             daybook_error *error);
const dbk_segment_summary *dbk_segment_get_summary(const dbk_segment *segment);
/// Where the bytes of the file go, checksums counted; of a sound file they add up to file_bytes. No I/O.
typedef struct dbk_segment_sizes {
    uint64_t blocks; // events
    uint64_t block_index;
    uint64_t terms; // the dictionary with its postings
    uint64_t filters;
    uint64_t dictionaries; // for compression, both copies
    uint64_t frame;        // head, catalogue, footers, tails
} dbk_segment_sizes;
void dbk_segment_get_sizes(const dbk_segment *segment, dbk_segment_sizes *sizes_out);
/// The catalogue copy given when written. Owned by the caller's buf.
daybook_status dbk_segment_read_catalogue(dbk_segment *segment, dbk_buf *buf, daybook_error *error);

typedef struct dbk_segment_stream {
    uint32_t stream_id;
    uint64_t event_count;
    uint64_t cost_bytes; // sum of dbk_event_cost
    uint64_t first_seq, last_seq;
    uint64_t first_position, last_position;
    // Highest seq ever seen, also of removed events; a stream of which only such are left has event_count 0
    // and no first and last.
    uint64_t seq_max;
} dbk_segment_stream;
/// The streams in it, ascending by id; false at the end of the list. No I/O.
bool dbk_segment_get_stream(const dbk_segment *segment, uint32_t index, dbk_segment_stream *stream_out);
/// By id (binary search); false when it has none of that stream.
bool dbk_segment_find_stream(const dbk_segment *segment, uint32_t stream_id, dbk_segment_stream *stream_out);

/// What the index says of a term, valid as long as the segment is open.
typedef struct dbk_term_entry {
    uint64_t count;           // events, 0 possible for an aggregate all of whose events are gone
    uint64_t last_position;   // absolute
    uint64_t last_seq;        // of the event at last_position
    uint64_t last_version;    // aggregates: highest version ever assigned up to here
    uint64_t postings_offset; // for dbk_postings_open, like all that follows
    uint32_t postings_size;
    uint32_t postings_first;
    uint8_t postings_form;
    uint8_t postings_inline[40]; // small lists lie in the dictionary page itself
} dbk_term_entry;

/// ENOTFOUND when absent: then usually answered by the filter, without a disk read.
daybook_status dbk_segment_find_term(dbk_segment *segment, dbk_slice term, dbk_term_entry *entry_out,
                                     daybook_error *error);

/// The same asked of what lies in memory only, for many segments at once: with what each probe began,
/// dbk_filter_probe_end is false where the segment surely has no such term. `hash` is dbk_term_hash. No I/O,
/// no lock; the probe is good while the segment is open.
void dbk_segment_probe_begin(dbk_segment *segment, dbk_slice term, uint64_t hash,
                             dbk_filter_probe *probe_out);

/// Walk the postings of one term, either way, with skips. Embeddable; holds a reference on the segment.
typedef struct dbk_postings dbk_postings;
daybook_status dbk_postings_open(dbk_segment *segment, const dbk_term_entry *entry,
                                 dbk_postings **postings_out, daybook_error *error);
/// The first position >= `position` (absolute); END when there is none.
daybook_status dbk_postings_seek(dbk_postings *postings, uint64_t position, uint64_t *position_out,
                                 daybook_error *error);
/// The last position <= `position`; END when there is none.
daybook_status dbk_postings_seek_back(dbk_postings *postings, uint64_t position, uint64_t *position_out,
                                      daybook_error *error);
/// How many positions are >= `position` (absolute). Adds up groups: numbers are decoded of one of them at
/// most.
daybook_status dbk_postings_count(dbk_postings *postings, uint64_t position, uint64_t *count_out,
                                  daybook_error *error);
void dbk_postings_close(dbk_postings *postings);

/// Walk all terms with a given prefix (a kind byte, perhaps more) in byte order.
typedef struct dbk_term_walk dbk_term_walk;
daybook_status dbk_term_walk_open(dbk_segment *segment, dbk_slice prefix, dbk_term_walk **walk_out,
                                  daybook_error *error);
/// The same from the first term at or behind `from` on, which begins with the prefix.
daybook_status dbk_term_walk_open_from(dbk_segment *segment, dbk_slice prefix, dbk_slice from,
                                       dbk_term_walk **walk_out, daybook_error *error);
/// The next term, borrowed until the next call; END behind the prefix.
daybook_status dbk_term_walk_next(dbk_term_walk *walk, dbk_slice *term_out, dbk_term_entry *entry_out,
                                  daybook_error *error);
void dbk_term_walk_close(dbk_term_walk *walk);

/// Positions of events of `stream_id` that may have this id (verified by reading the event), newest first;
/// count_out <= capacity. Also says whether the id belonged to a removed event.
typedef struct dbk_id_lookup {
    uint64_t positions[8];
    size_t count;
    bool dead;
    bool dead_for_ever;
    int64_t dead_removed_ns;
} dbk_id_lookup;
daybook_status dbk_segment_find_id(dbk_segment *segment, uint32_t stream_id, dbk_slice id_key,
                                   dbk_id_lookup *lookup_out, daybook_error *error);
/// What that looks for, to ask many segments of a store beforehand: the terms of a supplied id, whose event
/// is stored or removed; and whether an id made by the store, if it is one, falls into the segment's time.
void dbk_segment_id_terms(const dbk_segment *segment, uint32_t stream_id, dbk_slice id_key,
                          dbk_term *stored_out, dbk_term *removed_out);
bool dbk_segment_may_have_made_id(const dbk_segment *segment, dbk_slice id_key);

/// A decompressed block, pinned in the cache or borrowed from a scan.
typedef struct dbk_block_view {
    dbk_segment *segment;                  // borrowed
    const struct dbk_block_memory *memory; // NULL: none loaded
    dbk_cache_entry *entry;                // what holds it; NULL: a scan
    dbk_slice bytes;                       // decompressed
    uint64_t file_offset;
    uint64_t position_first; // of its first event
    uint64_t position_last;
    uint32_t event_count;
    uint32_t block_number;
    const uint32_t *offsets; // of each event in `bytes`
} dbk_block_view;

/// What is known of a block without reading it.
typedef struct dbk_block_info {
    uint32_t block_number;
    uint64_t file_offset;
    uint32_t file_bytes;
    uint32_t event_count;
    uint64_t position_first, position_last;
    int64_t recorded_first_ns, recorded_last_ns;
    int64_t time_min_ns, time_max_ns;
} dbk_block_info;

/// Where a block lies: all that reading by position asks. Small, so that what is known of many stays cached.
typedef struct dbk_block_place {
    uint64_t file_offset;
    uint64_t position_first, position_last;
    uint32_t file_bytes;
    uint32_t block_number;
} dbk_block_place;

uint32_t dbk_segment_block_count(const dbk_segment *segment);
daybook_status dbk_segment_block_info(dbk_segment *segment, uint32_t block_number, dbk_block_info *info_out,
                                      daybook_error *error);
/// The block that holds the first event at or behind `position`; END behind the last.
daybook_status dbk_segment_find_block(dbk_segment *segment, uint64_t position, dbk_block_place *place_out,
                                      daybook_error *error);
/// END where there is no such block.
daybook_status dbk_segment_block_place(dbk_segment *segment, uint32_t block_number,
                                       dbk_block_place *place_out, daybook_error *error);
/// The number of the first block with an event recorded at or after `recorded_ns`; END when there is none.
daybook_status dbk_segment_find_block_recorded(dbk_segment *segment, int64_t recorded_ns,
                                               uint32_t *block_number_out, daybook_error *error);
/// Load (read, verify, decompress) a block; releases what `view` held before. A view begins zeroed.
daybook_status dbk_block_load(dbk_segment *segment, uint32_t block_number, dbk_block_view *view,
                              daybook_error *error);
/// The same where it is known already where the block lies.
daybook_status dbk_block_load_at(dbk_segment *segment, const dbk_block_place *place, dbk_block_view *view,
                                 daybook_error *error);
/// Says EDAMAGED of a block that the device does not give.
daybook_status dbk_block_is_unreadable(const dbk_segment *segment, const dbk_block_place *place,
                                       daybook_error *error);
void dbk_block_release(dbk_block_view *view);
/// Decode event number `index` of the block; slices borrowed from the view. `recorded`, `seq` ... are all
/// set.
daybook_status dbk_block_event(const dbk_block_view *view, uint32_t index, dbk_event *event_out,
                               daybook_error *error);
/// Index of the first event at or behind `position` (event_count when none).
uint32_t dbk_block_find(const dbk_block_view *view, uint64_t position);

/// Loads blocks that follow one another: many with one read, past the cache, so that going through a large
/// segment neither pushes out what look-ups need nor pays for every block what it costs to cache it. Holds
/// some 40 KiB. One thread.
typedef struct dbk_block_scan dbk_block_scan;
/// Whether the segment is too large to be kept in the cache anyway.
bool dbk_block_scan_pays(const dbk_segment *segment);
daybook_status dbk_block_scan_new(dbk_segment *segment, dbk_block_scan **scan_out, daybook_error *error);
/// Release views loaded through it first. NULL is fine.
void dbk_block_scan_free(dbk_block_scan *scan);
/// Like dbk_segment_find_block; costs next to nothing for the block behind the one found last.
daybook_status dbk_block_scan_find(dbk_block_scan *scan, uint64_t position, dbk_block_place *place_out,
                                   daybook_error *error);
/// Like dbk_block_load_at; what `view` shows ends with the next call.
daybook_status dbk_block_scan_load(dbk_block_scan *scan, const dbk_block_place *place, dbk_block_view *view,
                                   daybook_error *error);

// ---- Merging and checking ---------------------------------------------------------------------------------

/// Whether an event is still alive; given its stream and position. Asked once for each event, and for each
/// stream once at the first position of the merge, where only DBK_STREAM_GONE or not counts. Called from the
/// merging thread only.
typedef enum dbk_liveness {
    DBK_LIVE,
    DBK_REMOVED,
    DBK_REMOVED_FOR_EVER,
    DBK_STREAM_GONE,
    DBK_REMOVED_BY_AGE_OF_ID // the window of its id counts from when it was recorded, not removed
} dbk_liveness;
typedef dbk_liveness (*dbk_segment_is_live)(void *context, uint32_t stream_id, uint64_t position);

/// Write one segment from neighbours (ascending, at least 1). Blocks without removed events are copied, not
/// recompressed; index, ids and dead ids are merged streaming. Events of gone streams leave nothing behind;
/// those of removed events leave their ids (dead ids older than `forget_before_ns` that are not for ever are
/// dropped) and last versions. With `interrupted` (may be NULL) returning true it stops with ECLOSED. Inputs
/// stay as they are.
daybook_status dbk_segment_merge(const dbk_segment_config *config, dbk_segment *const *inputs,
                                 size_t input_count, uint64_t position_first, uint64_t position_last,
                                 dbk_segment_is_live is_live, void *is_live_context, int64_t now_ns,
                                 int64_t forget_before_ns, bool (*interrupted)(void *context),
                                 void *interrupted_context, dbk_slice catalogue,
                                 dbk_segment_summary *summary_out, daybook_error *error);

/// Read and check every byte; each damage is reported. EDAMAGED when any was found.
daybook_status dbk_segment_verify(const dbk_segment_config *config, daybook_report report, void *context,
                                  daybook_error *error);

#endif
