// SPDX-License-Identifier: Apache-2.0
// Pages and the map as values: formats are in journal.h. Pure.
//
// A page is valid only where it belongs: its checksum is seeded with store, incarnation and LSN, and the LSN
// is compared with the one the map gives its place. So a page of an older lap, of another store or written to
// the wrong place is never taken for the one expected. A head of zeros is a place never written since the
// piece was zero-filled.
#include "journal/journal_internal.h"

#include "base/assert.h"

enum {
    MAGIC = 0x504a4244, // "DBJP"
    FORMAT = 1,
    CHECKSUM_XXH3 = 1,
    AT_MAGIC = 0,
    AT_FORMAT = 4,
    AT_CHECKSUM_ID = 5,
    AT_FLAGS = 6,
    AT_IDENTITY = 8,
    AT_EPOCH = 32,
    AT_PAYLOAD_SIZE = 36,
    AT_ZERO = 38,
    AT_LSN = 40,
    AT_GROUP_LSN = 48,
    AT_CHECKSUM = 56,
};

_Static_assert(AT_CHECKSUM + 8 == DBK_JOURNAL_PAGE_HEAD_SIZE, "the head ends with the checksum");
_Static_assert((int)DBK_JOURNAL_PAGE_SIZE == (int)DBK_IO_BLOCK_SIZE, "direct I/O moves whole pages");

static uint64_t seed_of(const uint8_t identity[24]) {
    return dbk_checksum(identity, 24, 0);
}

void dbk_journal_identity_init(dbk_journal_identity *identity, const dbk_uuid *store_uuid,
                               uint64_t incarnation) {
    memcpy(identity->bytes, store_uuid->bytes, sizeof store_uuid->bytes);
    dbk_put_u64(identity->bytes + sizeof store_uuid->bytes, incarnation);
    identity->seed = seed_of(identity->bytes);
}

// The checksum field must be zero.
static uint64_t checksum_of(const uint8_t *page, uint64_t seed, uint64_t lsn) {
    return dbk_checksum(page, DBK_JOURNAL_PAGE_SIZE, seed + lsn);
}

static bool is_intact(uint8_t *page, uint64_t seed, uint64_t lsn) {
    uint64_t stored = dbk_get_u64(page + AT_CHECKSUM);
    dbk_put_u64(page + AT_CHECKSUM, 0);
    uint64_t computed = checksum_of(page, seed, lsn);
    dbk_put_u64(page + AT_CHECKSUM, stored);
    return stored == computed;
}

uint64_t dbk_journal_page_encode(uint8_t *page, const dbk_journal_identity *identity,
                                 const dbk_journal_page *head) {
    dbk_put_u32(page + AT_MAGIC, MAGIC);
    page[AT_FORMAT] = FORMAT;
    page[AT_CHECKSUM_ID] = CHECKSUM_XXH3;
    dbk_put_u16(page + AT_FLAGS, head->flags);
    memcpy(page + AT_IDENTITY, identity->bytes, sizeof identity->bytes);
    dbk_put_u32(page + AT_EPOCH, head->epoch);
    dbk_put_u16(page + AT_PAYLOAD_SIZE, head->payload_size);
    dbk_put_u16(page + AT_ZERO, 0);
    dbk_put_u64(page + AT_LSN, head->lsn);
    dbk_put_u64(page + AT_GROUP_LSN, head->group_lsn);
    dbk_put_u64(page + AT_CHECKSUM, 0);
    uint64_t checksum = checksum_of(page, identity->seed, head->lsn);
    dbk_put_u64(page + AT_CHECKSUM, checksum);
    return checksum;
}

static bool is_zero(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (data[i] != 0) return false;
    }
    return true;
}

// Not ours by its head: foreign when intact in itself.
static dbk_journal_page_state judge_foreign(uint8_t *page) {
    bool intact = is_intact(page, seed_of(page + AT_IDENTITY), dbk_get_u64(page + AT_LSN));
    return intact ? DBK_JOURNAL_PAGE_FOREIGN : DBK_JOURNAL_PAGE_BROKEN;
}

dbk_journal_page_state dbk_journal_page_decode(uint8_t *page, const dbk_journal_identity *identity,
                                               uint64_t lsn, dbk_journal_page *head_out) {
    if (dbk_get_u32(page + AT_MAGIC) != MAGIC || page[AT_FORMAT] != FORMAT ||
        page[AT_CHECKSUM_ID] != CHECKSUM_XXH3) {
        return is_zero(page, DBK_JOURNAL_PAGE_HEAD_SIZE) ? DBK_JOURNAL_PAGE_EMPTY : DBK_JOURNAL_PAGE_BROKEN;
    }
    if (memcmp(page + AT_IDENTITY, identity->bytes, sizeof identity->bytes) != 0) return judge_foreign(page);
    if (dbk_get_u64(page + AT_LSN) != lsn) return DBK_JOURNAL_PAGE_OTHER;
    if (!is_intact(page, identity->seed, lsn)) return DBK_JOURNAL_PAGE_BROKEN;

    dbk_journal_page head = {
        .flags = dbk_get_u16(page + AT_FLAGS),
        .payload_size = dbk_get_u16(page + AT_PAYLOAD_SIZE),
        .epoch = dbk_get_u32(page + AT_EPOCH),
        .lsn = lsn,
        .group_lsn = dbk_get_u64(page + AT_GROUP_LSN),
        .checksum = dbk_get_u64(page + AT_CHECKSUM),
    };
    if (head.flags > DBK_JOURNAL_FLAGS_ALL || head.payload_size > DBK_JOURNAL_PAGE_PAYLOAD ||
        head.group_lsn > lsn || dbk_get_u16(page + AT_ZERO) != 0) {
        return DBK_JOURNAL_PAGE_BROKEN;
    }
    *head_out = head;
    return DBK_JOURNAL_PAGE_VALID;
}

void dbk_journal_group_head_encode(uint8_t *first_page, const dbk_journal_group_head *head) {
    uint8_t *to = first_page + DBK_JOURNAL_PAGE_HEAD_SIZE;
    dbk_put_u64(to, head->durable_lsn);
    dbk_put_u64(to + 8, head->previous_checksum);
    dbk_put_u32(to + 16, head->payload_size);
    dbk_put_u32(to + 20, head->page_count);
    dbk_put_u64(to + 24, head->pages_checksum);
}

bool dbk_journal_group_head_decode(const uint8_t *first_page, const dbk_journal_page *page,
                                   dbk_journal_group_head *head_out) {
    const uint8_t *from = first_page + DBK_JOURNAL_PAGE_HEAD_SIZE;
    dbk_journal_group_head head = {
        .durable_lsn = dbk_get_u64(from),
        .previous_checksum = dbk_get_u64(from + 8),
        .payload_size = dbk_get_u32(from + 16),
        .page_count = dbk_get_u32(from + 20),
        .pages_checksum = dbk_get_u64(from + 24),
    };
    if (head.payload_size > DBK_JOURNAL_GROUP_SIZE_MAX ||
        head.page_count != dbk_journal_pages_for(head.payload_size) || head.durable_lsn > page->lsn ||
        page->payload_size != dbk_journal_page_payload_size(&head, 0)) {
        return false;
    }
    if (page->flags != 0 && head.payload_size != 0) return false;
    *head_out = head;
    return true;
}

size_t dbk_journal_page_payload_size(const dbk_journal_group_head *head, uint64_t index) {
    uint64_t before = index * DBK_JOURNAL_PAGE_PAYLOAD;
    uint64_t left = (uint64_t)DBK_JOURNAL_GROUP_HEAD_SIZE + head->payload_size - before;
    return left < DBK_JOURNAL_PAGE_PAYLOAD ? (size_t)left : DBK_JOURNAL_PAGE_PAYLOAD;
}

uint64_t dbk_journal_pages_for(size_t payload_size) {
    uint64_t size = (uint64_t)payload_size + DBK_JOURNAL_GROUP_HEAD_SIZE;
    return (size + DBK_JOURNAL_PAGE_PAYLOAD - 1) / DBK_JOURNAL_PAGE_PAYLOAD;
}

// ---- The map ----

uint64_t dbk_journal_map_offset(const dbk_journal_map *map, uint64_t lsn) {
    DBK_ASSERT(lsn >= map->first_lsn && lsn < dbk_journal_map_end(map));
    uint64_t page = lsn - map->first_lsn;
    uint64_t piece = map->pieces[page / DBK_JOURNAL_PIECE_PAGES];
    return piece * DBK_JOURNAL_PIECE_SIZE + page % DBK_JOURNAL_PIECE_PAGES * DBK_JOURNAL_PAGE_SIZE;
}

uint64_t dbk_journal_map_run(const dbk_journal_map *map, uint64_t lsn, uint64_t page_count_max) {
    uint64_t page = lsn - map->first_lsn;
    uint64_t piece = page / DBK_JOURNAL_PIECE_PAGES;
    uint64_t run = DBK_JOURNAL_PIECE_PAGES - page % DBK_JOURNAL_PIECE_PAGES;
    while (run < page_count_max && piece + 1 < map->piece_count &&
           map->pieces[piece + 1] == map->pieces[piece] + 1) {
        run += DBK_JOURNAL_PIECE_PAGES;
        piece++;
    }
    return run < page_count_max ? run : page_count_max;
}

static bool has_each_piece_once(const dbk_journal_map *map, uint8_t *seen) {
    for (uint32_t i = 0; i < map->piece_count; i++) {
        uint32_t piece = map->pieces[i];
        if (piece >= map->piece_count || seen[piece] != 0) return false;
        seen[piece] = 1;
    }
    return true;
}

daybook_status dbk_journal_map_check(const daybook_allocator *allocator, const dbk_journal_map *map,
                                     const char *path, daybook_error *error) {
    if (map->piece_count == 0 || map->piece_count > DBK_JOURNAL_PIECES_MAX || map->pieces == NULL ||
        map->first_lsn % DBK_JOURNAL_PIECE_PAGES != 0 ||
        map->first_lsn > UINT64_MAX - (uint64_t)DBK_JOURNAL_PIECES_MAX * DBK_JOURNAL_PIECE_PAGES) {
        return dbk_fail_damaged(error, path, 0,
                                "the journal map is damaged: %u pieces from LSN %llu on; run daybook verify",
                                map->piece_count, (unsigned long long)map->first_lsn);
    }
    uint8_t *seen = dbk_alloc_zeroed(allocator, map->piece_count);
    if (seen == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: the journal map");
    bool is_complete = has_each_piece_once(map, seen);
    dbk_free(allocator, seen);
    if (is_complete) return DAYBOOK_OK;
    return dbk_fail_damaged(
        error, path, 0, "the journal map is damaged: a piece is missing or named twice; run daybook verify");
}
