// SPDX-License-Identifier: Apache-2.0
// The state of a consumer: which messages were delivered, which of them are pending, what is due again.
// JetStream's rules. Pure: no I/O, no clock (time is an argument, in ticks of 10 ms since the Unix epoch), no
// locks.
//
// A message, by its seq in the stream:
//
//   (ahead) --next--> in flight --ack, term, drop--> settled
//      |               |  ^  ^--progress--|
//      |               |  |
//      |   deadline, nak  give             due and delivered max_deliver times: given up, which settles it
//      |               v  |
//      |              due --take--> taken --put back--> due
//      +--next, its aggregate is in flight--> held --the one before settles--> due
//   in flight --claim--> claimed --settle--> settled, or unclaimed--> in flight
//
// `number` counts deliveries of this consumer, repeated ones too. A pending message keeps the number of its
// first delivery. The floor is the last delivery, and seq, below which all is settled; where nothing is
// pending, the last delivered.
//
// Invariants: a seq is delivered first in ascending order, unless it was held; of one aggregate at most one
// message is in flight, due, taken or claimed; what is not settled is in `pending`; each message in flight
// lies in a range of the schedule at its deadline, each that is due in a range of the due list, or `rescan`
// is set.
//
// What is given up is remembered where `keeps_given_up` is set (its stream keeps what consumers want), until
// it is acknowledged or terminated after all, or its event is removed. It stays settled: it is not pending,
// does not come again, and the floor does not wait for it. Where that takes more than DBK_GIVEN_UP_RANGES_MAX
// ranges, some seqs between count as given up (seq_set.h): an event is kept that could go, none goes that
// should be kept.
//
// An acknowledgement that commits with an append is saved on its own, perhaps before the delivery it answers.
// Replaying one of a message that was not delivered yet is kept in `early`: the delivery, replayed later or
// never, then settles the message at once. What of it is left after replaying must not be delivered: pass()
// it.
//
// Memory out: next() refuses and nothing changed. Where a deadline or a due message cannot be entered,
// `rescan` has the whole of what is pending looked at again; nothing is lost. What cannot be remembered as
// given up stays due until it can.
#ifndef DBK_CONSUMER_DELIVERY_H
#define DBK_CONSUMER_DELIVERY_H

#include "consumer/aggregates.h"
#include "consumer/changes.h"
#include "consumer/pending.h"
#include "consumer/schedule.h"
#include "consumer/seq_set.h"

#define DBK_TICK_NS (INT64_C(10) * 1000 * 1000)

enum { DBK_GIVEN_UP_RANGES_MAX = 65536 };

enum dbk_delivery_ack { DBK_DELIVERY_ACK_EXPLICIT, DBK_DELIVERY_ACK_ALL, DBK_DELIVERY_ACK_NONE };

/// Borrowed for as long as they are set.
typedef struct dbk_delivery_rules {
    int ack;
    bool in_order;           // per aggregate; with explicit acknowledgement
    uint64_t ack_wait;       // ticks, at least 1
    const uint64_t *backoff; // ticks by number of deliveries; the last counts for all later ones
    size_t backoff_count;
    uint64_t max_deliver;     // 0: no end
    uint64_t max_ack_pending; // 0: no end
} dbk_delivery_rules;

typedef struct dbk_delivery {
    const daybook_allocator *allocator;
    dbk_delivery_rules rules;
    dbk_pending pending;
    dbk_schedule schedule;
    dbk_aggregates aggregates;
    dbk_changes *changes; // what happens is noted there; NULL: nowhere
    dbk_seq_ranges due;   // first in, first out, from due_at on
    size_t due_at;
    uint64_t tick_base;     // of deadlines in `pending`
    uint64_t delivered_seq; // greatest delivered, or held
    uint64_t number;        // of the last delivery
    uint64_t held_count;
    uint64_t again_count;    // pending messages that were delivered more than once
    uint64_t given_up_count; // ever
    uint64_t delivered_at;   // ticks; 0: never
    uint64_t acked_at;
    bool rescan;
    bool keeps_settled;     // what is acknowledged or terminated collects in `settled`, also when replayed
    dbk_seq_ranges settled; // until it is taken; where memory is out some is missing
    bool keeps_given_up;    // with keeps_settled
    dbk_seq_set given_up;
    uint64_t *early; // ascending: settled before they were delivered; all behind delivered_seq
    size_t early_count;
    size_t early_capacity;
} dbk_delivery;

void dbk_delivery_init(dbk_delivery *delivery, const daybook_allocator *allocator,
                       const dbk_delivery_rules *rules, uint64_t now);
void dbk_delivery_deinit(dbk_delivery *delivery);
/// Other rules, of the same `ack` and `in_order`; deadlines stay until the next delivery.
void dbk_delivery_set_rules(dbk_delivery *delivery, const dbk_delivery_rules *rules);

/// Begin anew behind `seq`: nothing is pending, and of what was given up only what lies at or below it is
/// remembered. Numbers of deliveries go on; what was settled and not taken yet stays so. Nothing may be
/// claimed. No change says this: the state has to be saved as a whole. ENOMEM: nothing changed.
daybook_status dbk_delivery_begin_behind(dbk_delivery *delivery, uint64_t seq, uint64_t now);

// ---- Delivering -------------------------------------------------------------------------------------------

/// May something be delivered that was not before? (max_ack_pending)
bool dbk_delivery_has_room(const dbk_delivery *delivery);
/// The next message of the stream that the consumer wants, `seq` behind all before. *number_out is its
/// delivery number, 0 where it is held. Call with room only. ENOMEM.
daybook_status dbk_delivery_next(dbk_delivery *delivery, uint64_t seq, uint64_t aggregate, uint64_t now,
                                 uint64_t *number_out);
/// Is `seq`, behind all before, settled already? Then it counts as passed, and is not to be delivered.
bool dbk_delivery_pass(dbk_delivery *delivery, uint64_t seq);
/// The same without passing it.
bool dbk_delivery_is_early(const dbk_delivery *delivery, uint64_t seq);
/// Let time pass. Returns when to call again, UINT64_MAX where nothing is pending; `now` where something is
/// due.
uint64_t dbk_delivery_expire(dbk_delivery *delivery, uint64_t now);

typedef struct dbk_delivery_due {
    uint64_t seq;
    bool gave_up;        // it is settled
    uint64_t deliveries; // so far
} dbk_delivery_due;
/// The first message that is due, which is then taken; or one that is given up. END where there is none;
/// ENOMEM where it is to be given up and that cannot be remembered: it stays due.
daybook_status dbk_delivery_take(dbk_delivery *delivery, dbk_delivery_due *due_out);
/// Deliver what was taken. ENOTFOUND where it was settled or claimed meanwhile.
daybook_status dbk_delivery_give(dbk_delivery *delivery, uint64_t seq, uint64_t now, uint64_t *number_out,
                                 uint64_t *deliveries_out);
/// It was not delivered after all, and is the next to be.
void dbk_delivery_put_back(dbk_delivery *delivery, uint64_t seq);
/// The event is no longer stored: settled, if pending. One that is held or claimed stays, until its turn has
/// come or its claim has ended. What was given up is forgotten. True where something changed.
bool dbk_delivery_drop(dbk_delivery *delivery, uint64_t seq);
/// The same for each from `first` to `last`.
bool dbk_delivery_drop_range(dbk_delivery *delivery, uint64_t first, uint64_t last);
/// The same for all below `seq`; what is pending as one change.
bool dbk_delivery_drop_below(dbk_delivery *delivery, uint64_t seq);

// ---- Answers; ENOTFOUND: not pending, or claimed ----------------------------------------------------------

/// This one and those below that settle: also what was given up and is remembered; ENOMEM then.
daybook_status dbk_delivery_ack(dbk_delivery *delivery, uint64_t seq, uint64_t now);
/// All up to `seq` that is pending, and `seq` itself where it was given up; ENOTFOUND where that is nothing,
/// or `seq` was never delivered; ENOMEM.
daybook_status dbk_delivery_ack_all(dbk_delivery *delivery, uint64_t seq, uint64_t now);
/// Deliver again, `delay` ticks from now.
daybook_status dbk_delivery_nak(dbk_delivery *delivery, uint64_t seq, uint64_t delay, uint64_t now);
daybook_status dbk_delivery_progress(dbk_delivery *delivery, uint64_t seq, uint64_t now);
/// Never again.
daybook_status dbk_delivery_term(dbk_delivery *delivery, uint64_t seq);
/// It and all before it; as dbk_delivery_ack_all.
daybook_status dbk_delivery_term_all(dbk_delivery *delivery, uint64_t seq);

/// Set aside while an acknowledgement is committed with an append: nobody else settles or gets it.
daybook_status dbk_delivery_claim(dbk_delivery *delivery, uint64_t seq);
/// Committed: settled, and not noted as a change.
void dbk_delivery_settle_claimed(dbk_delivery *delivery, uint64_t seq, uint64_t now);
void dbk_delivery_unclaim(dbk_delivery *delivery, uint64_t seq);

/// Enter settled messages once more.
void dbk_delivery_keep_settled(dbk_delivery *delivery, uint64_t first, uint64_t last);

// ---- Looking ----------------------------------------------------------------------------------------------

typedef struct dbk_delivery_floor {
    uint64_t seq;
    uint64_t number;
} dbk_delivery_floor;
/// Was it given up, is remembered and not answered since?
static inline bool dbk_delivery_has_given_up(const dbk_delivery *delivery, uint64_t seq) {
    return dbk_seq_set_has(&delivery->given_up, seq);
}
dbk_delivery_floor dbk_delivery_get_floor(const dbk_delivery *delivery);
/// Delivered and not settled.
static inline uint64_t dbk_delivery_pending_count(const dbk_delivery *delivery) {
    return delivery->pending.count - delivery->held_count;
}
/// How often a message that is pending was delivered; 0 where it is not.
uint64_t dbk_delivery_deliveries(const dbk_delivery *delivery, uint64_t seq);
size_t dbk_delivery_bytes(const dbk_delivery *delivery);

// ---- Restoring (state.c) ----------------------------------------------------------------------------------

/// All deadlines come earlier by so much: the clock they were made by was ahead.
void dbk_delivery_move_deadlines(dbk_delivery *delivery, uint64_t ticks);
/// A message as it was saved; ascending by seq. ENOMEM, EDAMAGED where it contradicts what is there.
typedef struct dbk_delivery_entry {
    uint64_t seq;
    uint64_t number;   // 0: held
    uint64_t deadline; // tick
    uint64_t deliveries;
    uint64_t aggregate;
} dbk_delivery_entry;
daybook_status dbk_delivery_restore(dbk_delivery *delivery, const dbk_delivery_entry *entry);
/// Of a message that was not delivered: settled all the same. ENOMEM.
daybook_status dbk_delivery_restore_early(dbk_delivery *delivery, uint64_t seq);
/// One change. What it says of a message that is settled by now is passed over. ENOMEM, EDAMAGED.
daybook_status dbk_delivery_replay(dbk_delivery *delivery, const dbk_change *change);

#endif
