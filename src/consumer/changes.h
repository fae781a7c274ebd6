// SPDX-License-Identifier: Apache-2.0
// What happened to a consumer's messages since it was last saved, as bytes. Pure.
//
// Changes say what became of a message, not what was asked for: replaying them decides nothing. So changes of
// different messages may be replayed in another order than they were made in, which an acknowledgement that
// commits with an append needs: it is stored on its own.
//
//   u8 version (1), i64 delivered_at, i64 acked_at (ticks since the epoch, 0: never), then runs to the end:
//   u8 kind, u32 count, varint tick, varint number, varint extra, varint seq, then count - 1 times varint gap
//
// A run is changes of one kind, tick and extra with ascending seqs, each `gap` behind the one before (1 or
// more), and delivery numbers that count up where `number` is not 0.
#ifndef DBK_CONSUMER_CHANGES_H
#define DBK_CONSUMER_CHANGES_H

#include "base/bytes.h"

typedef enum dbk_change_kind {
    DBK_CHANGE_DELIVER = 1,    // for the first time; number; tick: deadline; extra: aggregate
    DBK_CHANGE_HOLD = 2,       // read, waits behind another of its aggregate (extra)
    DBK_CHANGE_AGAIN = 3,      // delivered again, or at last; number; tick: deadline
    DBK_CHANGE_SETTLE = 4,     // acknowledged, terminated, or no longer stored
    DBK_CHANGE_SETTLE_ALL = 5, // ... with all before it that is pending
    DBK_CHANGE_GIVE_UP = 6, // delivered as often as allowed; SETTLE may follow: answered after all, or gone
    DBK_CHANGE_DEADLINE = 7 // tick: due then
} dbk_change_kind;

typedef struct dbk_change {
    dbk_change_kind kind;
    uint64_t seq;
    uint64_t number;
    uint64_t tick;
    uint64_t extra;
} dbk_change;

/// Changes being collected.
typedef struct dbk_changes {
    dbk_buf buf;
    dbk_change last;
    size_t count_offset; // of the open run's count in buf; 0: none
    bool lost;           // memory was out, or it was too much to tell: the whole state has to be saved
} dbk_changes;

enum { DBK_CHANGES_HEAD_SIZE = 17 };

void dbk_changes_init(dbk_changes *changes, const daybook_allocator *allocator, size_t size_max);
void dbk_changes_deinit(dbk_changes *changes);
/// What was collected does not say all: the whole state has to be saved.
void dbk_changes_lose(dbk_changes *changes);
/// Forget all, and that something was lost.
void dbk_changes_reset(dbk_changes *changes);
void dbk_changes_add(dbk_changes *changes, const dbk_change *change);
static inline bool dbk_changes_is_empty(const dbk_changes *changes) {
    return !changes->lost && changes->buf.size <= DBK_CHANGES_HEAD_SIZE;
}
/// The bytes, borrowed until the next add; not where something was lost.
dbk_slice dbk_changes_finish(dbk_changes *changes, uint64_t delivered_at, uint64_t acked_at);

typedef struct dbk_changes_reader {
    dbk_reader reader;
    dbk_change change;
    uint32_t left; // of the run
} dbk_changes_reader;

/// EDAMAGED, EFORMAT (a newer version).
daybook_status dbk_changes_read(dbk_slice bytes, dbk_changes_reader *reader_out, uint64_t *delivered_at_out,
                                uint64_t *acked_at_out);
/// OK, END behind the last, EDAMAGED.
daybook_status dbk_changes_next(dbk_changes_reader *reader, dbk_change *change_out);

#endif
