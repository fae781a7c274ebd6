// SPDX-License-Identifier: Apache-2.0
// A block of a segment, compressed or not, with every event in it; or a packed page of terms, which begins
// with 255.
#include "fuzz.h"
#include "segment/block.h"

enum { MEMORY_SIZE_MAX = 1 << 22 };

static void check_events(const dbk_block_memory *block) {
    for (uint32_t i = 0; i < block->head.event_count; i++) {
        dbk_event event;
        memset(&event, 0, sizeof event);
        if (dbk_block_memory_event(block, i, &event) != DAYBOOK_OK) continue;
        fuzz_touch(event.subject);
        fuzz_touch(event.data);
    }
}

static void check_page(dbk_slice stored, void *scratch) {
    static uint8_t page[DBK_TERM_PAGE_SIZE_MAX];
    dbk_slice bytes;
    if (!dbk_unpack_page(stored, scratch, page, &bytes)) return;
    FUZZ_CHECK(bytes.data == stored.data || bytes.size <= DBK_TERM_PAGE_SIZE_MAX);
    fuzz_touch(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void *scratch; // For all runs, as a reader keeps it: one block must not spoil the next.
    if (scratch == NULL) scratch = calloc(1, dbk_unpack_scratch_size());
    if (scratch == NULL) return 0;
    check_page(daybook_bytes(data, size), scratch);
    dbk_block_head head;
    dbk_slice stored;
    if (!dbk_block_head_decode(daybook_bytes(data, size), &head, &stored)) return 0;
    size_t memory_size = dbk_block_memory_size(&head);
    if (memory_size > MEMORY_SIZE_MAX) return 0; // Within its limits, but slow to fuzz.
    void *memory = malloc(memory_size);
    if (memory != NULL && dbk_block_decode(&head, stored, NULL, scratch, memory)) check_events(memory);
    free(memory);
    return 0;
}
