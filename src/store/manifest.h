// SPDX-License-Identifier: Apache-2.0
// The manifest: the durable root of a store. Which segments and deletion files belong to it, where the journal begins, how
// its pieces are laid out, and the state of streams at that point (everything else is replayed from the journal).
//
// Files `manifest-<16 hex number>`: a checksummed sequence of edits; the first edit of a file is a full snapshot. An edit is
// appended and synced; when the file has grown to twice its snapshot a new number is begun (temporary name, sync,
// rename, directory sync) and the old file is removed only after that. The greatest number with a valid snapshot wins. A
// torn last edit is cut; damage before the end is EDAMAGED. Format and failure modes: head of manifest.c.
#ifndef DBK_STORE_MANIFEST_H
#define DBK_STORE_MANIFEST_H

#include "base/uuid.h"
#include "daybook/sys/vfs.h"
#include "journal/journal.h"
#include "record/record.h"
#include "segment/segment.h"

typedef struct dbk_manifest_segment {
    dbk_segment_summary summary;
    uint64_t deletion_generation;  // file deletions-<segment id>-<generation>.dbd, 0: none
} dbk_manifest_segment;

/// State of a stream as of manifest->flushed_position.
typedef struct dbk_manifest_stream {
    uint32_t id;
    uint64_t last_seq;
    uint64_t first_seq, first_position;
    uint64_t message_count, byte_count;
    int64_t last_recorded_ns;
} dbk_manifest_stream;

/// Everything, in memory. Arrays are owned by the manifest.
typedef struct dbk_manifest {
    const daybook_allocator *allocator;
    dbk_uuid store_uuid;
    uint64_t incarnation;
    uint64_t number;           // of the file
    uint64_t edit_count;       // edits since created, over all files: what the live page publishes
    uint64_t flushed_position; // everything at or below is in segments
    uint64_t journal_start_lsn;
    uint64_t journal_durable_lsn;  // known synced when the edit was written
    uint64_t journal_first_lsn;    // journal map
    uint32_t *journal_pieces;
    uint32_t journal_piece_count;
    int64_t last_recorded_ns;
    uint64_t next_segment_id;
    uint32_t next_stream_id;
    bool closed_clean;
    dbk_manifest_segment *segments;  // ascending by position
    size_t segment_count;
    dbk_manifest_stream *streams;  // ascending by id
    size_t stream_count;
    struct dbk_manifest_entry {
        dbk_catalogue_kind kind;
        dbk_slice key;
        dbk_slice value;
    } *entries;  // catalogue as of flushed_position; ascending by (kind, key)
    size_t entry_count;
} dbk_manifest;

#endif
