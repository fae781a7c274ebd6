// SPDX-License-Identifier: Apache-2.0
// A group being built. Its buffer is the image of its pages on disk: payload is copied straight to where it
// lies in the pages, the gaps for the page heads are left open, and sealing fills them in, so that between
// the caller's bytes and the disk there is one copy and one pass of the checksum.
//
// Invariants: the buffer is aligned for direct I/O and holds dbk_journal_pages_for(size) pages; bytes behind
// the payload are arbitrary until sealing zeroes the rest of the last page. Failure mode: ENOMEM (ELIMIT
// above DBK_JOURNAL_GROUP_SIZE_MAX), the group stays as it was. One thread at a time.
#include "base/assert.h"
#include "journal/journal_internal.h"

enum { CAPACITY_PAGES_MIN = 16, KEPT_PAGES_MIN = 256 };

daybook_status dbk_journal_group_new_with(const daybook_allocator *allocator, dbk_journal_group **group_out) {
    *group_out = NULL;
    dbk_journal_group *group = dbk_alloc_zeroed(allocator, sizeof *group);
    if (group == NULL) return DAYBOOK_ENOMEM;
    group->allocator = allocator;
    group->page_capacity = CAPACITY_PAGES_MIN;
    group->pages = dbk_aligned_alloc(allocator, (size_t)CAPACITY_PAGES_MIN * DBK_JOURNAL_PAGE_SIZE);
    if (group->pages == NULL) {
        dbk_free(allocator, group);
        return DAYBOOK_ENOMEM;
    }
    *group_out = group;
    return DAYBOOK_OK;
}

void dbk_journal_group_free(dbk_journal_group *group) {
    if (group == NULL) return;
    dbk_aligned_free(group->allocator, group->pages);
    dbk_free(group->allocator, group);
}

static bool set_capacity(dbk_journal_group *group, size_t page_capacity, size_t pages_kept) {
    uint8_t *pages = dbk_aligned_alloc(group->allocator, page_capacity * DBK_JOURNAL_PAGE_SIZE);
    if (pages == NULL) return false;
    memcpy(pages, group->pages, pages_kept * DBK_JOURNAL_PAGE_SIZE);
    dbk_aligned_free(group->allocator, group->pages);
    group->pages = pages;
    group->page_capacity = page_capacity;
    return true;
}

// One large batch must not keep its memory for ever, nor a run of them allocate each time: memory goes back
// when a group needed less than a quarter of it.
void dbk_journal_group_reset(dbk_journal_group *group) {
    size_t used = (size_t)dbk_journal_pages_for(group->size);
    group->size = 0;
    if (group->page_capacity > KEPT_PAGES_MIN && used < group->page_capacity / 4) {
        (void)set_capacity(group, group->page_capacity / 2, 0); // no smaller one to be had: keep this
    }
}

static bool reserve(dbk_journal_group *group, size_t size) {
    size_t needed = (size_t)dbk_journal_pages_for(size);
    if (needed <= group->page_capacity) return true;
    size_t doubled = group->page_capacity * 2;
    return set_capacity(group, needed < doubled ? doubled : needed,
                        (size_t)dbk_journal_pages_for(group->size));
}

daybook_status dbk_journal_group_append(dbk_journal_group *group, const void *data, size_t size) {
    if (size > (size_t)DBK_JOURNAL_GROUP_SIZE_MAX - group->size) return DAYBOOK_ELIMIT;
    if (!reserve(group, group->size + size)) return DAYBOOK_ENOMEM;
    const uint8_t *from = data;
    size_t at = DBK_JOURNAL_GROUP_HEAD_SIZE + group->size;
    uint8_t *page = group->pages + at / DBK_JOURNAL_PAGE_PAYLOAD * DBK_JOURNAL_PAGE_SIZE;
    size_t used = at % DBK_JOURNAL_PAGE_PAYLOAD;
    group->size += size;
    while (size > 0) {
        size_t room = DBK_JOURNAL_PAGE_PAYLOAD - used;
        size_t part = size < room ? size : room;
        memcpy(page + DBK_JOURNAL_PAGE_HEAD_SIZE + used, from, part);
        from += part;
        size -= part;
        page += DBK_JOURNAL_PAGE_SIZE;
        used = 0;
    }
    return DAYBOOK_OK;
}

size_t dbk_journal_group_size(const dbk_journal_group *group) {
    return group->size;
}

void dbk_journal_group_truncate(dbk_journal_group *group, size_t size) {
    DBK_ASSERT(size <= group->size);
    group->size = size;
}

uint64_t dbk_journal_group_seal(dbk_journal_group *group, const dbk_journal_identity *identity,
                                const dbk_journal_seal *seal) {
    dbk_journal_group_head head = {
        .durable_lsn = seal->durable_lsn,
        .previous_checksum = seal->previous_checksum,
        .payload_size = (uint32_t)group->size,
        .page_count = (uint32_t)dbk_journal_pages_for(group->size),
    };
    dbk_journal_page page = {.flags = seal->flags, .epoch = seal->epoch, .group_lsn = seal->lsn};
    uint64_t last = head.page_count - 1;
    size_t last_used = DBK_JOURNAL_PAGE_HEAD_SIZE + dbk_journal_page_payload_size(&head, last);
    memset(group->pages + last * DBK_JOURNAL_PAGE_SIZE + last_used, 0, DBK_JOURNAL_PAGE_SIZE - last_used);

    // The first page last: it covers the checksums of the others.
    for (uint64_t i = 1; i <= last; i++) {
        page.lsn = seal->lsn + i;
        page.payload_size = (uint16_t)dbk_journal_page_payload_size(&head, i);
        uint64_t checksum =
            dbk_journal_page_encode(group->pages + i * DBK_JOURNAL_PAGE_SIZE, identity, &page);
        head.pages_checksum = dbk_journal_fold_checksum(head.pages_checksum, checksum);
    }
    dbk_journal_group_head_encode(group->pages, &head);
    page.lsn = seal->lsn;
    page.payload_size = (uint16_t)dbk_journal_page_payload_size(&head, 0);
    return dbk_journal_page_encode(group->pages, identity, &page);
}
