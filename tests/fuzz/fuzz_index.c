// SPDX-License-Identifier: Apache-2.0
// What the index reads from segments: the first byte of the input says which: a page of postings, an inline
// list, a page of the term dictionary, a filter.
#include "fuzz.h"
#include "index/filter.h"
#include "index/postings.h"
#include "index/term_page.h"

static void check_postings(dbk_slice page) {
    static dbk_postings_group groups[DBK_POSTINGS_PAGE_GROUPS_MAX];
    size_t count = 0;
    if (!dbk_postings_parse_page(page, groups, &count)) return;
    FUZZ_CHECK(count <= DBK_POSTINGS_PAGE_GROUPS_MAX);
    for (size_t i = 0; i < count; i++) {
        uint32_t numbers[DBK_POSTINGS_GROUP_MAX];
        FUZZ_CHECK(i == 0 || groups[i].first > groups[i - 1].first);
        if (groups[i].is_run || !dbk_postings_decode_group(page, &groups[i], numbers)) continue;
        FUZZ_CHECK(groups[i].count >= 1 && groups[i].count <= DBK_POSTINGS_GROUP_MAX);
        FUZZ_CHECK(numbers[0] == groups[i].first);
        for (uint32_t n = 1; n < groups[i].count; n++) FUZZ_CHECK(numbers[n] > numbers[n - 1]);
    }
}

static void check_inline(dbk_slice bytes) {
    dbk_reader reader;
    dbk_reader_init(&reader, bytes);
    uint32_t numbers[DBK_POSTINGS_INLINE_COUNT_MAX];
    size_t count = 1 + dbk_read_u8(&reader) % DBK_POSTINGS_INLINE_COUNT_MAX;
    uint32_t first = dbk_read_u32(&reader);
    if (reader.failed) return;
    const uint8_t *start = reader.at;
    dbk_postings_decode_inline(&reader, first, count, numbers);
    if (reader.failed) return;
    uint8_t again[DBK_POSTINGS_INLINE_SIZE_MAX];
    size_t size = dbk_postings_encode_inline(numbers, count, again);
    if (size != SIZE_MAX)
        FUZZ_CHECK(
            dbk_slice_equal(daybook_bytes(again, size), daybook_bytes(start, (size_t)(reader.at - start))));
}

static void check_term_page(dbk_slice bytes) {
    dbk_term_page page;
    if (!dbk_term_page_open(bytes, &page)) return;
    static dbk_term_cursor cursor;
    static dbk_term_cursor found;
    static dbk_term terms[3];
    size_t kept = 0;
    dbk_term_cursor_init(&cursor, &page);
    for (unsigned step = 0; step < 100000; step++) {
        daybook_status status = dbk_term_cursor_next(&cursor);
        if (status != DAYBOOK_OK) {
            FUZZ_CHECK(status == DAYBOOK_END || status == DAYBOOK_EDAMAGED);
            break;
        }
        FUZZ_CHECK(cursor.term.size <= DBK_TERM_SIZE_MAX);
        FUZZ_CHECK(cursor.value.inline_size <= DBK_POSTINGS_INLINE_SIZE_MAX);
        if (kept < 3 && step % 7 == 0) terms[kept++] = cursor.term;
    }
    for (size_t i = 0; i < kept; i++) {
        dbk_term_cursor_init(&found, &page);
        daybook_status status =
            page.level == 0 ? dbk_term_cursor_seek(&found, dbk_term_slice(&terms[i]))
                            : dbk_term_cursor_seek_child(&found, dbk_term_slice(&terms[i]), i % 2 == 0);
        FUZZ_CHECK(status == DAYBOOK_OK || status == DAYBOOK_END || status == DAYBOOK_EDAMAGED);
    }
}

static void check_filter(dbk_slice filter) {
    if (!dbk_filter_check(filter)) return;
    for (uint64_t i = 0; i < 64; i++) {
        (void)dbk_filter_may_contain(filter, i * UINT64_C(0x9e3779b97f4a7c15));
        (void)dbk_filter_may_contain(filter, UINT64_MAX >> i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    dbk_slice rest = daybook_bytes(data + 1, size - 1);
    switch (data[0] % 4) {
    case 0:
        check_postings(rest);
        break;
    case 1:
        check_inline(rest);
        break;
    case 2:
        check_term_page(rest);
        break;
    default:
        check_filter(rest);
        break;
    }
    return 0;
}
