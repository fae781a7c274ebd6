// SPDX-License-Identifier: Apache-2.0
// A message on its way, and the counted memory a large one lies in.
//
// A block is written by one thread, then belongs to the loop: its count is not atomic. A worker may make one,
// fill it and hand it to the loop with its job.
#ifndef DBK_BROKER_MESSAGE_H
#define DBK_BROKER_MESSAGE_H

#include "base/memory.h"

typedef struct dbk_block {
    const daybook_allocator *allocator;
    uint32_t reference_count;
    uint32_t capacity;
    uint8_t data[];
} dbk_block;

/// One reference, the caller's; NULL when memory is out or above 1 GiB. Any thread.
dbk_block *dbk_block_new(const daybook_allocator *allocator, size_t capacity);
static inline dbk_block *dbk_block_ref(dbk_block *block) {
    block->reference_count++;
    return block;
}
/// NULL is fine.
void dbk_block_unref(dbk_block *block);

/// Borrowed by whoever is given one, for the length of the call.
typedef struct dbk_message {
    dbk_slice subject;
    dbk_slice reply;    // empty: none
    dbk_slice payload;  // headers (header_size bytes, "NATS/1.0" to the empty line), then data
    size_t header_size; // 0: none
    // What the payload lies in, where it does in one: referred to instead of copied. May be NULL.
    dbk_block *block;
} dbk_message;

static inline dbk_slice dbk_message_headers(const dbk_message *message) {
    return daybook_bytes(message->payload.data, message->header_size);
}
static inline dbk_slice dbk_message_data(const dbk_message *message) {
    return daybook_bytes((const uint8_t *)message->payload.data + message->header_size,
                         message->payload.size - message->header_size);
}

/// What a copy needs room for.
static inline size_t dbk_message_copy_size(const dbk_message *message) {
    return message->subject.size + message->reply.size + message->payload.size;
}
/// The same message with its texts in `bytes`, which is dbk_message_copy_size of them; in no block.
dbk_message dbk_message_copy(const dbk_message *message, void *bytes);

#endif
