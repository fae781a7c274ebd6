// SPDX-License-Identifier: Apache-2.0
// A consumer's whole state as bytes, by which it is saved now and then; changes.h says what happened since.
// Pure.
//
//   u8 version (3; 2 where the ranges are left out), u8 in_order,
//   u64 delivered_seq, number, given_up_count, delivered_at, acked_at, first_seq,
//   varint list count, varint gaps of the list
//   varint count, varint gaps of the seqs behind delivered_seq that are settled (not in version 1)
//   varint count, at most 65,536, then ranges of seqs that were given up and are remembered: varint gap to
//   the
//     last of the one before, varint seqs in it less one (not in versions 1 and 2: there are none)
//   varint message count, then blocks of at most 1,024 messages:
//     varint gap of each seq · of each message 0 (held) or 1 + zigzag difference of its number ·
//     runs (varint count, zigzag difference) of deadlines · runs (varint count, varint value) of deliveries ·
//     in order: u64 hash of each aggregate
//
// Differences and gaps go on over blocks. Two bytes for most messages, however they lie.
#ifndef DBK_CONSUMER_STATE_H
#define DBK_CONSUMER_STATE_H

#include "consumer/delivery.h"

/// Where a consumer begins: at `first_seq`, after the messages listed (the last of each subject when it was
/// made).
typedef struct dbk_consumer_start {
    uint64_t first_seq;
    uint64_t *list; // ascending, below first_seq; owned
    size_t list_count;
} dbk_consumer_start;

/// What was delivered of the list is left out. In the least version that can say it, so that older programs
/// read what they can. ENOMEM, also where `buf` may not grow so large.
daybook_status dbk_consumer_state_encode(const dbk_delivery *delivery, const dbk_consumer_start *start,
                                         dbk_buf *buf);
/// Into a fresh delivery, and `start_out`, whose list the caller frees. EDAMAGED, EFORMAT, ENOMEM.
daybook_status dbk_consumer_state_decode(dbk_slice bytes, dbk_delivery *delivery,
                                         dbk_consumer_start *start_out);
/// Changes saved behind a state. EDAMAGED, EFORMAT, ENOMEM.
daybook_status dbk_consumer_changes_replay(dbk_slice bytes, dbk_delivery *delivery);

#endif
