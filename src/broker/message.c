// SPDX-License-Identifier: Apache-2.0
// Counted memory of payloads, and copies of messages. See message.h.
#include "broker/message.h"

#include <string.h>

static const size_t capacity_max = (size_t)1 << 30;

dbk_block *dbk_block_new(const daybook_allocator *allocator, size_t capacity) {
    if (capacity > capacity_max) return NULL;
    dbk_block *block = dbk_alloc(allocator, sizeof *block + capacity);
    if (block == NULL) return NULL;
    block->allocator = allocator;
    block->reference_count = 1;
    block->capacity = (uint32_t)capacity;
    return block;
}

void dbk_block_unref(dbk_block *block) {
    if (block != NULL && --block->reference_count == 0) dbk_free(block->allocator, block);
}

static dbk_slice take(uint8_t **at, dbk_slice text) {
    uint8_t *start = *at;
    if (text.size > 0) memcpy(start, text.data, text.size);
    *at += text.size;
    return daybook_bytes(start, text.size);
}

dbk_message dbk_message_copy(const dbk_message *message, void *bytes) {
    uint8_t *at = bytes;
    dbk_message copy = {.header_size = message->header_size};
    copy.subject = take(&at, message->subject);
    copy.reply = take(&at, message->reply);
    copy.payload = take(&at, message->payload);
    return copy;
}
