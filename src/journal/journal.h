// SPDX-License-Identifier: Apache-2.0
// The durable tail of the store: pages, groups, writing one group at a time, recovery, reading behind a live
// writer. It knows nothing of what a group's payload means.
//
// File: one file `journal`, a sequence of pieces of DBK_JOURNAL_PIECE_PAGES pages of 4 KiB. LSNs number
// pages, endlessly. Which piece holds which LSNs is the *journal map*, a list kept in the manifest and made
// durable before the first page under it is written; recovery therefore never has to guess where the next
// page lies, neither after growth nor after recycling. Pieces are zero-filled and synced once, then
// overwritten in place.
//
// Page, 4096 bytes, little-endian:
//   0 u32 magic "DBJP"    4 u8 format (1)   5 u8 checksum id (1 = XXH3-64)   6 u16 flags
//   8 u8[16] store UUID  24 u64 incarnation 32 u32 epoch  36 u16 payload bytes in this page  38 u16 zero
//  40 u64 lsn            48 u64 lsn of the first page of its group (the difference: its number in the group)
//  56 u64 checksum: XXH3-64 of the page with this field zero, seeded with UUID, incarnation and lsn mixed
//  64 payload, then zeros to the end
//
// Flags: 1 the page begins an epoch, 2 witness; such a page is a group of its own without payload.
// Group payload begins with: u64 durable_lsn (all pages below were synced when this was built), u64 checksum
// of the previous group (chain; 0 for the first of an epoch), u32 payload bytes after this head, u32 page
// count, u64 checksum over the checksums of its further pages, in order (0 where there are none). The
// checksum of a group is that of its first page: it covers the others through this field, so no byte is
// hashed twice.
//
// Invariants and the torn-or-damaged rule: docs/design/storage.md and the head of recovery.c.
#ifndef DBK_JOURNAL_JOURNAL_H
#define DBK_JOURNAL_JOURNAL_H

#include <stdbool.h>

#include "base/error.h"
#include "base/uuid.h"
#include "daybook/sys/vfs.h"

enum {
    DBK_JOURNAL_PAGE_SIZE = 4096,
    DBK_JOURNAL_PAGE_HEAD_SIZE = 64,
    DBK_JOURNAL_PAGE_PAYLOAD = DBK_JOURNAL_PAGE_SIZE - DBK_JOURNAL_PAGE_HEAD_SIZE,
    DBK_JOURNAL_PIECE_PAGES = 256, // 1 MiB
    DBK_JOURNAL_PIECE_SIZE = DBK_JOURNAL_PIECE_PAGES * DBK_JOURNAL_PAGE_SIZE,
    DBK_JOURNAL_PIECES_MAX = 65536,
};

/// pieces[i] holds the LSNs from first_lsn + i * DBK_JOURNAL_PIECE_PAGES on. Every piece of the file appears
/// exactly once.
typedef struct dbk_journal_map {
    uint64_t first_lsn; // multiple of DBK_JOURNAL_PIECE_PAGES
    uint32_t piece_count;
    const uint32_t *pieces;
} dbk_journal_map;

typedef struct dbk_journal_config {
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    const char *path; // of the file `journal`
    dbk_uuid store_uuid;
    uint64_t incarnation;
} dbk_journal_config;

/// Make the file with `piece_count` zero-filled pieces, synced (the caller syncs the directory). EEXISTS
/// where there is one; on failure none is left. A first map is: first_lsn any multiple of
/// DBK_JOURNAL_PIECE_PAGES, pieces 0, 1, 2 ...
daybook_status dbk_journal_create(const dbk_journal_config *config, uint32_t piece_count,
                                  daybook_error *error);

/// What recovery found. Positions and meaning are for the caller; these are pages.
typedef struct dbk_journal_recovery {
    uint64_t end_lsn;     // first LSN behind the last valid group
    uint64_t group_count; // replayed
    uint64_t replayed_bytes;
    uint64_t torn_pages; // of the one unacknowledged group cut, 0 for a clean end
    uint32_t epoch;      // newest seen
    bool damaged;        // acknowledged data is missing at damage_lsn; later groups may exist
    uint64_t damage_lsn;
    uint64_t damage_offset; // bytes, in the file
    uint64_t resume_lsn;    // damaged: the first valid group behind it, to recover from; 0: none
    char damage_text[160];
} dbk_journal_recovery;

/// Called for each valid group that has a payload, in order; it is borrowed during the call. A failure stops
/// recovery. The pages of epochs and witnesses lie between groups: next_lsn of one need not be first_lsn of
/// the next.
typedef daybook_status (*dbk_journal_visit)(void *context, uint64_t first_lsn, uint64_t next_lsn,
                                            dbk_slice payload, daybook_error *error);

/// Replay the groups from `start_lsn` (the manifest's recycle point). Reads with direct I/O where it can. OK
/// also when damaged (the caller decides: read-only). With `stop_lsn` != 0 nothing at or behind it is read
/// (follower). `known_durable_lsn`: pages below are known to have been synced (manifest, live page), 0 when
/// unknown. After a clean close, known from the manifest, give its durable LSN as stop_lsn too: then the rest
/// of the journal, which tells torn from damaged, need not be read. Everything below stop_lsn counts as known
/// to be durable. EFOREIGN where the first bad page is intact but of another store or incarnation.
daybook_status dbk_journal_recover(const dbk_journal_config *config, const dbk_journal_map *map,
                                   uint64_t start_lsn, uint64_t stop_lsn, uint64_t known_durable_lsn,
                                   dbk_journal_visit visit, void *context, dbk_journal_recovery *recovery_out,
                                   daybook_error *error);

/// Does a group of this journal begin at `lsn`: is an intact first page there? Tells an end that the manifest
/// names from one that was passed since. (Remains of a torn group can lie there, but not its first page: an
/// epoch has begun in its place.) EDAMAGED where the file is shorter than the map.
daybook_status dbk_journal_has_group(const dbk_journal_config *config, const dbk_journal_map *map,
                                     uint64_t lsn, bool *has_out, daybook_error *error);

typedef struct dbk_journal dbk_journal;

/// Open for writing behind `recovery->end_lsn`: makes one page durable that begins a new epoch, so that pages
/// of an older epoch at or above that LSN are stale from then on. The map is copied. The journal must not be
/// damaged (EDAMAGED). Where the map has no room left for that page, it is written before the first group
/// after dbk_journal_set_map.
daybook_status dbk_journal_open(const dbk_journal_config *config, const dbk_journal_map *map,
                                const dbk_journal_recovery *recovery, uint64_t start_lsn,
                                dbk_journal **journal_out, daybook_error *error);
/// Writes the witness page when anything was synced since the last, closes the file.
daybook_status dbk_journal_close(dbk_journal *journal, daybook_error *error);

/// A group being built: payload bytes laid straight into aligned pages. One thread at a time. Two exist, so
/// that the next collects while one is written.
typedef struct dbk_journal_group dbk_journal_group;
daybook_status dbk_journal_group_new(dbk_journal *journal, dbk_journal_group **group_out);
void dbk_journal_group_free(dbk_journal_group *group);
void dbk_journal_group_reset(dbk_journal_group *group);
/// Copies; ENOMEM leaves the group as it was.
daybook_status dbk_journal_group_append(dbk_journal_group *group, const void *data, size_t size);
size_t dbk_journal_group_size(const dbk_journal_group *group); // payload bytes so far
/// Cut back to an earlier size (of dbk_journal_group_size).
void dbk_journal_group_truncate(dbk_journal_group *group, size_t size);
/// Pages a payload of this many bytes takes.
uint64_t dbk_journal_pages_for(size_t payload_size);

/// Pages that can be written before the journal must be recycled or grown. Any thread.
uint64_t dbk_journal_room_pages(const dbk_journal *journal);
/// Pages between the recycle point and the end. Any thread.
uint64_t dbk_journal_used_pages(const dbk_journal *journal);

/// Stamp, checksum, write and sync the group; one thread at a time, one group in flight. *next_lsn_out is the
/// durable LSN then. The group stays as it was, for reading; an empty one writes nothing. ELIMIT where there
/// is no room (nothing written). After any other failure the journal is poisoned: EUNCERTAIN now, EPOISONED
/// for every later write; never retried.
daybook_status dbk_journal_write_group(dbk_journal *journal, dbk_journal_group *group, uint64_t *next_lsn_out,
                                       daybook_error *error);
/// Write a page that carries only the new durable_lsn, so that the last group has a witness; also due where
/// no page at or behind start_lsn tells the epoch. Nothing when none is due, or no room is left. Not beside
/// dbk_journal_write_group.
daybook_status dbk_journal_write_witness(dbk_journal *journal, daybook_error *error);
bool dbk_journal_is_poisoned(const dbk_journal *journal);
uint64_t dbk_journal_durable_lsn(const dbk_journal *journal); // any thread

/// Zero-fill and sync `piece_count` further pieces at the end of the file and give the map as it will be; it
/// takes effect with dbk_journal_set_map, after the caller has made it durable. Runs beside writing. Free
/// *pieces_out with dbk_free.
daybook_status dbk_journal_grow(dbk_journal *journal, uint32_t piece_count, uint32_t **pieces_out,
                                uint64_t *first_lsn_out, uint32_t *piece_count_out, daybook_error *error);
/// The map after everything below `start_lsn` is given up: freed pieces move to the end. Same protocol.
daybook_status dbk_journal_plan_recycle(dbk_journal *journal, uint64_t start_lsn, uint32_t **pieces_out,
                                        uint64_t *first_lsn_out, uint32_t *piece_count_out,
                                        daybook_error *error);
/// Take over a map that is durable now (assignments of LSNs in use must be unchanged) and its start.
daybook_status dbk_journal_set_map(dbk_journal *journal, const dbk_journal_map *map, uint64_t start_lsn,
                                   daybook_error *error);
/// Overwrite with zeros and sync every page but those from start to the end (erase): nothing the journal has
/// given up can be read from the disk any more. Runs beside writing, growing and recycling;
/// a writer that reaches a piece being wiped waits for it, and so does dbk_journal_set_map.
daybook_status dbk_journal_wipe_free(dbk_journal *journal, daybook_error *error);

#endif
