// SPDX-License-Identifier: Apache-2.0
// A consumer's configuration: what is allowed, copies, and its record. Pure.
//
// Record, little-endian:
//   u8 version (1), u32 flags, u8 deliver, ack, replay, u64 start_seq, i64 start_time_ns, ack_wait_ns,
//   inactive_threshold_ns, pause_until_ns, created_ns, u64 max_deliver, max_ack_pending, max_waiting, text
//   name, text description, varint count and i64 backoffs, varint count and text filters
// Version 2, where there are attributes: the same, and text attributes behind it.
#ifndef DBK_CONSUMER_CONFIG_H
#define DBK_CONSUMER_CONFIG_H

#include "base/memory.h"
#include "daybook/consumer.h"

/// Everything daybook/consumer.h demands that needs no store. The name may be empty. EINVALID, ESUBJECT.
daybook_status dbk_consumer_config_validate(const daybook_consumer_config *config, daybook_error *error);
/// One allocation that holds the copy and all it borrows; NULL when memory is out.
daybook_consumer_config *dbk_consumer_config_copy(const daybook_allocator *allocator,
                                                  const daybook_consumer_config *config);
bool dbk_consumer_config_equal(const daybook_consumer_config *a, const daybook_consumer_config *b);
/// Are the parts that may not change the same? `what_out`: the first that is not.
bool dbk_consumer_config_may_become(const daybook_consumer_config *from, const daybook_consumer_config *to,
                                    const char **what_out);
daybook_status dbk_consumer_config_encode(const daybook_consumer_config *config, int64_t created_ns,
                                          dbk_buf *buf);
/// Into a copy of its own, freed with dbk_free. EDAMAGED, EFORMAT, ENOMEM.
daybook_status dbk_consumer_config_decode(dbk_slice bytes, const daybook_allocator *allocator,
                                          daybook_consumer_config **config_out, int64_t *created_ns_out);

#endif
