// SPDX-License-Identifier: Apache-2.0
// What the files of the journal share: the page codec, the group being built, helpers over the map.
#ifndef DBK_JOURNAL_JOURNAL_INTERNAL_H
#define DBK_JOURNAL_JOURNAL_INTERNAL_H

#include "base/bytes.h"
#include "io/io.h"
#include "journal/journal.h"

// ---- Pages (page.c) ----

enum {
    DBK_JOURNAL_GROUP_HEAD_SIZE = 32,
    DBK_JOURNAL_EPOCH_PAGE = 1,
    DBK_JOURNAL_WITNESS_PAGE = 2,
    DBK_JOURNAL_FLAGS_ALL = 3,
    DBK_JOURNAL_GROUP_SIZE_MAX = 1 << 30, // payload bytes of one group
};

/// Which store and incarnation a page must be of, and the seed of checksums made from both.
typedef struct dbk_journal_identity {
    uint8_t bytes[24];
    uint64_t seed;
} dbk_journal_identity;

typedef struct dbk_journal_page {
    uint16_t flags;
    uint16_t payload_size;
    uint32_t epoch;
    uint64_t lsn;
    uint64_t group_lsn;
    uint64_t checksum;
} dbk_journal_page;

typedef struct dbk_journal_group_head {
    uint64_t durable_lsn;
    uint64_t previous_checksum;
    uint32_t payload_size;
    uint32_t page_count;
    uint64_t pages_checksum;
} dbk_journal_group_head;

typedef enum dbk_journal_page_state {
    DBK_JOURNAL_PAGE_VALID,
    DBK_JOURNAL_PAGE_EMPTY,   // never written: the head is zero
    DBK_JOURNAL_PAGE_OTHER,   // says that it has another LSN: an older lap (not verified)
    DBK_JOURNAL_PAGE_FOREIGN, // intact, but of another store or incarnation
    DBK_JOURNAL_PAGE_BROKEN,
} dbk_journal_page_state;

void dbk_journal_identity_init(dbk_journal_identity *identity, const dbk_uuid *store_uuid,
                               uint64_t incarnation);
/// Stamp the head of a page whose payload is in place and zero behind it; returns the checksum.
uint64_t dbk_journal_page_encode(uint8_t *page, const dbk_journal_identity *identity,
                                 const dbk_journal_page *head);
/// Verify the page found where `lsn` belongs. `page` is restored to what it was. *head_out is set when VALID.
dbk_journal_page_state dbk_journal_page_decode(uint8_t *page, const dbk_journal_identity *identity,
                                               uint64_t lsn, dbk_journal_page *head_out);
void dbk_journal_group_head_encode(uint8_t *first_page, const dbk_journal_group_head *head);
/// Of a valid first page. False where it contradicts itself or the page.
bool dbk_journal_group_head_decode(const uint8_t *first_page, const dbk_journal_page *page,
                                   dbk_journal_group_head *head_out);
/// Payload bytes (group head included) of page number `index` in a group.
size_t dbk_journal_page_payload_size(const dbk_journal_group_head *head, uint64_t index);
/// The next checksum over page checksums; begin with 0.
static inline uint64_t dbk_journal_fold_checksum(uint64_t folded, uint64_t page_checksum) {
    return dbk_checksum(&page_checksum, sizeof page_checksum, folded);
}

// ---- The map (page.c) ----

/// One behind the last LSN of the map.
static inline uint64_t dbk_journal_map_end(const dbk_journal_map *map) {
    return map->first_lsn + (uint64_t)map->piece_count * DBK_JOURNAL_PIECE_PAGES;
}
/// Offset in the file of an LSN within the map.
uint64_t dbk_journal_map_offset(const dbk_journal_map *map, uint64_t lsn);
/// Pages from `lsn` on, at most page_count_max, that lie behind each other in the file; at least 1.
uint64_t dbk_journal_map_run(const dbk_journal_map *map, uint64_t lsn, uint64_t page_count_max);
/// EDAMAGED where the map is none: a piece missing or named twice, LSNs out of line. ENOMEM.
daybook_status dbk_journal_map_check(const daybook_allocator *allocator, const dbk_journal_map *map,
                                     const char *path, daybook_error *error);

// ---- Groups (group.c) ----

struct dbk_journal_group {
    const daybook_allocator *allocator;
    uint8_t *pages; // aligned; payload in place, heads not yet
    size_t page_capacity;
    size_t size; // payload bytes
};

/// What a sealed group says besides its payload.
typedef struct dbk_journal_seal {
    uint16_t flags;
    uint32_t epoch;
    uint64_t lsn;
    uint64_t durable_lsn;
    uint64_t previous_checksum;
} dbk_journal_seal;

/// Stamp all pages; returns the group's checksum. The group may be sealed again.
uint64_t dbk_journal_group_seal(dbk_journal_group *group, const dbk_journal_identity *identity,
                                const dbk_journal_seal *seal);
/// For groups that do not belong to an open journal.
daybook_status dbk_journal_group_new_with(const daybook_allocator *allocator, dbk_journal_group **group_out);

#endif
