// SPDX-License-Identifier: Apache-2.0
// Head, tail, footer and block index of a segment, as they stand behind their checksums: the first byte of
// the input says which. What decodes encodes to something that decodes again.
#include "fuzz.h"
#include "segment/footer.h"

static void check_head(dbk_slice bytes) {
    dbk_segment_head head;
    uint8_t head_bytes[DBK_SEGMENT_HEAD_SIZE] = {0};
    memcpy(head_bytes, bytes.data, bytes.size < sizeof head_bytes ? bytes.size : sizeof head_bytes);
    if (dbk_segment_head_decode(head_bytes, &head) == DAYBOOK_OK) {
        uint8_t again[DBK_SEGMENT_HEAD_SIZE];
        dbk_segment_head_encode(&head, again);
        FUZZ_CHECK(memcmp(again, head_bytes, sizeof again) == 0);
    }
}

static void check_tail(dbk_slice bytes) {
    dbk_segment_tail tail;
    uint8_t tail_bytes[DBK_SEGMENT_TAIL_SIZE] = {0};
    memcpy(tail_bytes, bytes.data, bytes.size < sizeof tail_bytes ? bytes.size : sizeof tail_bytes);
    (void)dbk_segment_tail_decode(tail_bytes, bytes.size, &tail);
}

static void check_footer(dbk_slice payload) {
    dbk_footer footer;
    memset(&footer, 0, sizeof footer);
    if (dbk_footer_decode(dbk_allocator_default(), payload, &footer) != DAYBOOK_OK) return;
    fuzz_touch(daybook_bytes(footer.separators, footer.separators_size));
    for (uint32_t i = 0; i < footer.filter_part_count; i++) {
        FUZZ_CHECK(footer.filter_parts[i].separator_offset <= footer.separators_size);
        FUZZ_CHECK(footer.filter_parts[i].separator_size <=
                   footer.separators_size - footer.filter_parts[i].separator_offset);
    }
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 1 << 26);
    dbk_footer_encode(&footer, &buf);
    FUZZ_CHECK(dbk_buf_status(&buf) == DAYBOOK_OK);
    dbk_footer again;
    memset(&again, 0, sizeof again);
    FUZZ_CHECK(dbk_footer_decode(dbk_allocator_default(), daybook_bytes(buf.data, buf.size), &again) ==
               DAYBOOK_OK);
    FUZZ_CHECK(again.block_count == footer.block_count && again.catalogue_size == footer.catalogue_size);
    dbk_footer_deinit(&again);
    dbk_buf_deinit(&buf);
    dbk_footer_deinit(&footer);
}

static void check_block_page(dbk_slice bytes) {
    dbk_reader reader;
    dbk_reader_init(&reader, bytes);
    size_t count = 1 + dbk_read_u8(&reader) % DBK_BLOCK_PAGE_COUNT;
    dbk_block_page page;
    memset(&page, 0, sizeof page);
    page.first_block_offset = dbk_read_u16(&reader);
    page.position_last = dbk_read_u16(&reader);
    page.recorded_last_ns = dbk_read_u16(&reader);
    if (reader.failed) return;
    static dbk_block_info blocks[DBK_BLOCK_PAGE_COUNT];
    (void)dbk_block_page_decode(daybook_bytes(reader.at, dbk_reader_left(&reader)), &page, 0, count, blocks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    dbk_slice rest = daybook_bytes(data + 1, size - 1);
    switch (data[0] % 4) {
    case 0:
        check_head(rest);
        break;
    case 1:
        check_tail(rest);
        break;
    case 2:
        check_footer(rest);
        break;
    default:
        check_block_page(rest);
        break;
    }
    return 0;
}
