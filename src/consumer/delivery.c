// SPDX-License-Identifier: Apache-2.0
// The rules of delivery: states and invariants are in delivery.h. A change is noted where it happens, so that
// what is saved can say nothing else than what happened.
#include "consumer/delivery.h"

#include "base/assert.h"
#include "base/error.h"

enum { IDLE_FLAGS = DBK_PENDING_SETTLED | DBK_PENDING_DUE | DBK_PENDING_TAKEN | DBK_PENDING_HELD };
#define REBASE_TICKS (UINT32_MAX / 2)
#define FORGOTTEN_TOLD_MAX UINT64_C(4096)

void dbk_delivery_init(dbk_delivery *delivery, const daybook_allocator *allocator,
                       const dbk_delivery_rules *rules, uint64_t now) {
    *delivery = (dbk_delivery){.allocator = allocator, .rules = *rules, .tick_base = now};
    delivery->given_up.range_max = DBK_GIVEN_UP_RANGES_MAX;
    dbk_pending_init(&delivery->pending, allocator, rules->in_order);
    dbk_schedule_init(&delivery->schedule, allocator, now);
    dbk_aggregates_init(&delivery->aggregates, allocator);
}

void dbk_delivery_deinit(dbk_delivery *delivery) {
    dbk_pending_deinit(&delivery->pending);
    dbk_schedule_deinit(&delivery->schedule);
    dbk_aggregates_deinit(&delivery->aggregates);
    dbk_free(delivery->allocator, delivery->due.items);
    dbk_free(delivery->allocator, delivery->settled.items);
    dbk_seq_set_deinit(&delivery->given_up, delivery->allocator);
    dbk_free(delivery->allocator, delivery->early);
    delivery->early = NULL;
    delivery->early_count = delivery->early_capacity = 0;
    delivery->due = delivery->settled = (dbk_seq_ranges){0};
}

void dbk_delivery_set_rules(dbk_delivery *delivery, const dbk_delivery_rules *rules) {
    DBK_ASSERT(rules->ack == delivery->rules.ack && rules->in_order == delivery->rules.in_order);
    delivery->rules = *rules;
}

daybook_status dbk_delivery_begin_behind(dbk_delivery *delivery, uint64_t seq, uint64_t now) {
    if (seq < UINT64_MAX)
        DBK_TRY(dbk_seq_set_remove(&delivery->given_up, delivery->allocator, seq + 1, UINT64_MAX));
    dbk_delivery fresh;
    dbk_delivery_init(&fresh, delivery->allocator, &delivery->rules, now);
    fresh.changes = delivery->changes;
    fresh.delivered_seq = seq;
    fresh.number = delivery->number;
    fresh.given_up_count = delivery->given_up_count;
    fresh.delivered_at = delivery->delivered_at;
    fresh.acked_at = delivery->acked_at;
    fresh.keeps_settled = delivery->keeps_settled;
    fresh.settled = delivery->settled;
    fresh.keeps_given_up = delivery->keeps_given_up;
    fresh.given_up = delivery->given_up;
    delivery->settled = (dbk_seq_ranges){0};
    delivery->given_up = (dbk_seq_set){0};
    dbk_delivery_deinit(delivery);
    *delivery = fresh;
    return DAYBOOK_OK;
}

static void note(dbk_delivery *delivery, dbk_change_kind kind, uint64_t seq, uint64_t number, uint64_t tick,
                 uint64_t extra) {
    if (delivery->changes == NULL) return;
    dbk_change change = {.kind = kind, .seq = seq, .number = number, .tick = tick, .extra = extra};
    dbk_changes_add(delivery->changes, &change);
}

// ---- Deadlines --------------------------------------------------------------------------------------------

static uint64_t deadline_of(const dbk_delivery *delivery, const dbk_pending_entry *entry) {
    return delivery->tick_base + entry->deadline;
}

static uint64_t wait_after(const dbk_delivery *delivery, uint64_t deliveries) {
    const dbk_delivery_rules *rules = &delivery->rules;
    if (rules->backoff_count == 0) return rules->ack_wait;
    size_t at = deliveries > rules->backoff_count ? rules->backoff_count : (size_t)deliveries;
    return rules->backoff[at == 0 ? 0 : at - 1];
}

static void push_due(dbk_delivery *delivery, const dbk_pending_place *place) {
    place->entry->flags |= DBK_PENDING_DUE;
    dbk_seq_ranges *due = &delivery->due;
    if (due->count > delivery->due_at) {
        dbk_seq_range *last = &due->items[due->count - 1];
        dbk_pending_place previous = dbk_pending_previous(&delivery->pending, place);
        if (place->seq > last->last && (previous.entry == NULL || previous.seq <= last->last)) {
            last->last = place->seq; // nothing lies between
            return;
        }
    } else {
        due->count = delivery->due_at = 0;
    }
    // Half of it is behind us: move instead of growing.
    if (due->count == due->capacity && delivery->due_at > due->count / 2) {
        due->count -= delivery->due_at;
        memmove(due->items, due->items + delivery->due_at, due->count * sizeof *due->items);
        delivery->due_at = 0;
    }
    dbk_seq_range *items =
        dbk_grow_array(delivery->allocator, due->items, &due->capacity, due->count + 1, sizeof *items);
    if (items == NULL) {
        delivery->rescan = true;
        return;
    }
    due->items = items;
    due->items[due->count++] = (dbk_seq_range){place->seq, place->seq};
}

// It is due, or it was while it was claimed.
static void become_due(dbk_delivery *delivery, const dbk_pending_place *place) {
    if ((place->entry->flags & DBK_PENDING_CLAIMED) != 0) {
        place->entry->flags |= DBK_PENDING_EXPIRED;
    } else {
        push_due(delivery, place);
    }
}

static void set_deadline(dbk_delivery *delivery, const dbk_pending_place *place, uint64_t tick) {
    uint64_t offset = tick > delivery->tick_base ? tick - delivery->tick_base : 0;
    place->entry->deadline = offset > UINT32_MAX ? UINT32_MAX : (uint32_t)offset;
    tick = deadline_of(delivery, place->entry);
    if (tick <= delivery->schedule.now) {
        become_due(delivery, place);
        return;
    }
    dbk_pending_place previous = dbk_pending_previous(&delivery->pending, place);
    uint64_t before = previous.entry == NULL ? 0 : previous.seq;
    if (dbk_schedule_add(&delivery->schedule, tick, place->seq, before) != DAYBOOK_OK)
        delivery->rescan = true;
}

static void visit_range(void *context, uint64_t first, uint64_t last, uint64_t before) {
    dbk_delivery *delivery = context;
    dbk_pending_place place = dbk_pending_seek(&delivery->pending, first);
    for (; place.entry != NULL && place.seq <= last; place = dbk_pending_next(&delivery->pending, &place)) {
        uint64_t deadline = deadline_of(delivery, place.entry);
        if ((place.entry->flags & (IDLE_FLAGS | DBK_PENDING_EXPIRED)) != 0 || deadline >= before) continue;
        if (deadline <= delivery->schedule.now) {
            become_due(delivery, &place);
        } else {
            set_deadline(delivery, &place, deadline);
        }
    }
}

// Memory was out when something had to be entered: look at everything, and enter it anew.
static void look_at_all(dbk_delivery *delivery) {
    delivery->rescan = false;
    delivery->due.count = delivery->due_at = 0;
    dbk_pending_place place = dbk_pending_seek(&delivery->pending, 0);
    for (; place.entry != NULL; place = dbk_pending_next(&delivery->pending, &place)) {
        uint16_t flags = place.entry->flags;
        if ((flags & DBK_PENDING_DUE) != 0) {
            push_due(delivery, &place);
        } else if ((flags & (IDLE_FLAGS | DBK_PENDING_EXPIRED)) == 0) {
            set_deadline(delivery, &place, deadline_of(delivery, place.entry));
        }
    }
}

static void rebase(dbk_delivery *delivery, uint64_t now) {
    uint64_t shift = now - delivery->tick_base;
    dbk_pending_place place = dbk_pending_seek(&delivery->pending, 0);
    for (; place.entry != NULL; place = dbk_pending_next(&delivery->pending, &place))
        place.entry->deadline = place.entry->deadline > shift ? place.entry->deadline - (uint32_t)shift : 0;
    delivery->tick_base = now;
}

static bool has_due(const dbk_delivery *delivery) {
    return delivery->due_at < delivery->due.count;
}

uint64_t dbk_delivery_expire(dbk_delivery *delivery, uint64_t now) {
    dbk_schedule_advance(&delivery->schedule, now, visit_range, delivery);
    if (now > delivery->tick_base && now - delivery->tick_base > REBASE_TICKS) rebase(delivery, now);
    if (delivery->rescan) look_at_all(delivery);
    if (has_due(delivery)) return now;
    // Memory is still out: soon again.
    return delivery->rescan ? now + 1 : dbk_schedule_next(&delivery->schedule);
}

// ---- Settling ---------------------------------------------------------------------------------------------

void dbk_delivery_keep_settled(dbk_delivery *delivery, uint64_t first, uint64_t last) {
    dbk_seq_ranges *settled = &delivery->settled;
    if (settled->count > 0 && settled->items[settled->count - 1].last + 1 == first) {
        settled->items[settled->count - 1].last = last;
        return;
    }
    dbk_seq_range *items = dbk_grow_array(delivery->allocator, settled->items, &settled->capacity,
                                          settled->count + 1, sizeof *items);
    if (items == NULL) return;
    settled->items = items;
    settled->items[settled->count++] = (dbk_seq_range){first, last};
}

// Answered, as opposed to given up or no longer stored. The set of what was given up may name it though it
// was not; where memory is out it goes on to.
static void note_answered(dbk_delivery *delivery, uint64_t seq) {
    (void)dbk_seq_set_remove(&delivery->given_up, delivery->allocator, seq, seq);
    if (delivery->keeps_settled) dbk_delivery_keep_settled(delivery, seq, seq);
}

// Out of what is pending; who waited behind it is due.
static void settle(dbk_delivery *delivery, const dbk_pending_place *place) {
    uint64_t aggregate = dbk_pending_aggregate(&delivery->pending, place);
    uint64_t seq = place->seq;
    if ((place->entry->flags & DBK_PENDING_HELD) != 0) delivery->held_count--;
    if (place->entry->deliveries > 1) delivery->again_count--;
    dbk_pending_remove(&delivery->pending, place);
    for (;;) {
        seq = dbk_aggregates_end(&delivery->aggregates, aggregate, seq);
        if (seq == 0) return;
        dbk_pending_place waiting = dbk_pending_find(&delivery->pending, seq);
        if (waiting.entry != NULL) {
            push_due(delivery, &waiting);
            return;
        }
        // Only a log that contradicts itself settles what waits.
    }
}

// Delivered, and nobody's to settle but the caller's.
static daybook_status find_answerable(const dbk_delivery *delivery, uint64_t seq,
                                      dbk_pending_place *place_out) {
    *place_out = dbk_pending_find(&delivery->pending, seq);
    if (place_out->entry == NULL) return DAYBOOK_ENOTFOUND;
    uint16_t flags = place_out->entry->flags;
    return (flags & (DBK_PENDING_HELD | DBK_PENDING_CLAIMED)) != 0 ? DAYBOOK_ENOTFOUND : DAYBOOK_OK;
}

// It was given up, and is answered after all.
static daybook_status settle_given_up(dbk_delivery *delivery, uint64_t seq) {
    if (!dbk_delivery_has_given_up(delivery, seq)) return DAYBOOK_ENOTFOUND;
    DBK_TRY(dbk_seq_set_remove(&delivery->given_up, delivery->allocator, seq, seq));
    note(delivery, DBK_CHANGE_SETTLE, seq, 0, 0, 0);
    note_answered(delivery, seq);
    return DAYBOOK_OK;
}

static daybook_status settle_noted(dbk_delivery *delivery, uint64_t seq) {
    dbk_pending_place place = dbk_pending_find(&delivery->pending, seq);
    if (place.entry == NULL) return settle_given_up(delivery, seq);
    DBK_TRY(find_answerable(delivery, seq, &place));
    note(delivery, DBK_CHANGE_SETTLE, seq, 0, 0, 0);
    note_answered(delivery, seq);
    settle(delivery, &place);
    return DAYBOOK_OK;
}

daybook_status dbk_delivery_ack(dbk_delivery *delivery, uint64_t seq, uint64_t now) {
    DBK_TRY(settle_noted(delivery, seq));
    delivery->acked_at = now;
    return DAYBOOK_OK;
}

daybook_status dbk_delivery_term(dbk_delivery *delivery, uint64_t seq) {
    return settle_noted(delivery, seq);
}

static bool settle_up_to(dbk_delivery *delivery, uint64_t seq) {
    bool any = false;
    uint64_t from = 0;
    for (;;) {
        dbk_pending_place place = dbk_pending_seek(&delivery->pending, from);
        if (place.entry == NULL || place.seq > seq) return any;
        from = place.seq + 1;
        if ((place.entry->flags & DBK_PENDING_CLAIMED) != 0) continue;
        note_answered(delivery, place.seq);
        settle(delivery, &place);
        any = true;
    }
}

daybook_status dbk_delivery_term_all(dbk_delivery *delivery, uint64_t seq) {
    if (seq > delivery->delivered_seq) return DAYBOOK_ENOTFOUND;
    // What was given up before it stays: nobody said that it was looked at.
    daybook_status status = settle_given_up(delivery, seq);
    if (status == DAYBOOK_ENOMEM || !settle_up_to(delivery, seq)) return status;
    note(delivery, DBK_CHANGE_SETTLE_ALL, seq, 0, 0, 0);
    return DAYBOOK_OK;
}

daybook_status dbk_delivery_ack_all(dbk_delivery *delivery, uint64_t seq, uint64_t now) {
    DBK_TRY(dbk_delivery_term_all(delivery, seq));
    delivery->acked_at = now;
    return DAYBOOK_OK;
}

daybook_status dbk_delivery_nak(dbk_delivery *delivery, uint64_t seq, uint64_t delay, uint64_t now) {
    dbk_pending_place place;
    DBK_TRY(find_answerable(delivery, seq, &place));
    bool was_due = (place.entry->flags & (DBK_PENDING_DUE | DBK_PENDING_TAKEN)) != 0;
    if (was_due && delay == 0) return DAYBOOK_OK;
    uint64_t tick = now + delay;
    note(delivery, DBK_CHANGE_DEADLINE, seq, 0, tick, 0);
    place.entry->flags &= (uint16_t) ~(DBK_PENDING_DUE | DBK_PENDING_TAKEN);
    set_deadline(delivery, &place, tick);
    return DAYBOOK_OK;
}

daybook_status dbk_delivery_progress(dbk_delivery *delivery, uint64_t seq, uint64_t now) {
    dbk_pending_place place;
    DBK_TRY(find_answerable(delivery, seq, &place));
    uint64_t tick = now + wait_after(delivery, place.entry->deliveries);
    note(delivery, DBK_CHANGE_DEADLINE, seq, 0, tick, 0);
    place.entry->flags &= (uint16_t) ~(DBK_PENDING_DUE | DBK_PENDING_TAKEN);
    set_deadline(delivery, &place, tick);
    return DAYBOOK_OK;
}

// What is held waits behind another of its aggregate and is not settled before.
static bool may_be_dropped(const dbk_pending_entry *entry) {
    if ((entry->flags & DBK_PENDING_CLAIMED) != 0) return false;
    return (entry->flags & DBK_PENDING_HELD) == 0 ||
           (entry->flags & (DBK_PENDING_DUE | DBK_PENDING_TAKEN)) != 0;
}

// Few are told one by one, which takes as many changes as there are ranges; where it is too much to tell, the
// next save is of the whole state.
static void note_forgotten(dbk_delivery *delivery, uint64_t first, uint64_t last) {
    const dbk_seq_set *set = &delivery->given_up;
    uint64_t told = 0;
    for (size_t i = 0; delivery->changes != NULL && i < set->count && set->items[i].first <= last; i++) {
        if (set->items[i].last < first) continue;
        uint64_t from = set->items[i].first > first ? set->items[i].first : first;
        uint64_t to = set->items[i].last < last ? set->items[i].last : last;
        if (to - from >= FORGOTTEN_TOLD_MAX - told) {
            dbk_changes_lose(delivery->changes);
            return;
        }
        told += to - from + 1;
        for (uint64_t seq = from; seq <= to; seq++) note(delivery, DBK_CHANGE_SETTLE, seq, 0, 0, 0);
    }
}

// The events are no longer stored. Where memory is out they stay remembered, which does no harm.
static bool forget_given_up(dbk_delivery *delivery, uint64_t first, uint64_t last) {
    dbk_seq_set *set = &delivery->given_up;
    if (!dbk_seq_set_has_any(set, first, last)) return false;
    note_forgotten(delivery, first, last);
    (void)dbk_seq_set_remove(set, delivery->allocator, first, last);
    return true;
}

bool dbk_delivery_drop(dbk_delivery *delivery, uint64_t seq) {
    dbk_pending_place place = dbk_pending_find(&delivery->pending, seq);
    if (place.entry == NULL) return forget_given_up(delivery, seq, seq);
    if (!may_be_dropped(place.entry)) return false;
    note(delivery, DBK_CHANGE_SETTLE, seq, 0, 0, 0);
    settle(delivery, &place);
    return true;
}

// What waits behind one of its aggregate that is dropped may be dropped itself, when it is come to.
bool dbk_delivery_drop_range(dbk_delivery *delivery, uint64_t first, uint64_t last) {
    bool any = forget_given_up(delivery, first, last);
    for (;;) {
        dbk_pending_place place = dbk_pending_seek(&delivery->pending, first);
        if (place.entry == NULL || place.seq > last) return any;
        first = place.seq + 1;
        any = dbk_delivery_drop(delivery, place.seq) || any;
    }
}

bool dbk_delivery_drop_below(dbk_delivery *delivery, uint64_t seq) {
    if (seq == 0) return false;
    dbk_pending_place first = dbk_pending_seek(&delivery->pending, 0);
    bool any_pending = first.entry != NULL && first.seq < seq;
    if (any_pending && delivery->rules.in_order) return dbk_delivery_drop_range(delivery, 0, seq - 1);
    bool any = forget_given_up(delivery, 0, seq - 1);
    if (!any_pending || !settle_up_to(delivery, seq - 1)) return any;
    // One change for all, of which there may be millions.
    note(delivery, DBK_CHANGE_SETTLE_ALL, seq - 1, 0, 0, 0);
    return true;
}

// ---- Claims -----------------------------------------------------------------------------------------------

daybook_status dbk_delivery_claim(dbk_delivery *delivery, uint64_t seq) {
    dbk_pending_place place;
    DBK_TRY(find_answerable(delivery, seq, &place));
    uint16_t flags = place.entry->flags;
    if ((flags & (DBK_PENDING_DUE | DBK_PENDING_TAKEN)) != 0) flags |= DBK_PENDING_EXPIRED;
    flags &= (uint16_t) ~(DBK_PENDING_DUE | DBK_PENDING_TAKEN);
    place.entry->flags = flags | DBK_PENDING_CLAIMED;
    return DAYBOOK_OK;
}

void dbk_delivery_settle_claimed(dbk_delivery *delivery, uint64_t seq, uint64_t now) {
    dbk_pending_place place = dbk_pending_find(&delivery->pending, seq);
    DBK_ASSERT(place.entry != NULL && (place.entry->flags & DBK_PENDING_CLAIMED) != 0);
    note_answered(delivery, seq);
    settle(delivery, &place);
    delivery->acked_at = now;
}

void dbk_delivery_unclaim(dbk_delivery *delivery, uint64_t seq) {
    dbk_pending_place place = dbk_pending_find(&delivery->pending, seq);
    DBK_ASSERT(place.entry != NULL && (place.entry->flags & DBK_PENDING_CLAIMED) != 0);
    bool expired = (place.entry->flags & DBK_PENDING_EXPIRED) != 0;
    place.entry->flags &= (uint16_t) ~(DBK_PENDING_CLAIMED | DBK_PENDING_EXPIRED);
    if (expired) push_due(delivery, &place);
}

// ---- Settled before they were delivered -------------------------------------------------------------------

daybook_status dbk_delivery_restore_early(dbk_delivery *delivery, uint64_t seq) {
    uint64_t *early = dbk_grow_array(delivery->allocator, delivery->early, &delivery->early_capacity,
                                     delivery->early_count + 1, sizeof *early);
    if (early == NULL) return DAYBOOK_ENOMEM;
    delivery->early = early;
    size_t at = delivery->early_count;
    while (at > 0 && early[at - 1] > seq) at--;
    if (at > 0 && early[at - 1] == seq) return DAYBOOK_OK;
    memmove(early + at + 1, early + at, (delivery->early_count - at) * sizeof *early);
    early[at] = seq;
    delivery->early_count++;
    return DAYBOOK_OK;
}

// Out of the list, with what lies before: no delivery of that will come. Was it there?
static bool take_early(dbk_delivery *delivery, uint64_t seq) {
    uint64_t *early = delivery->early;
    size_t passed = 0;
    while (passed < delivery->early_count && early[passed] < seq) passed++;
    bool found = passed < delivery->early_count && early[passed] == seq;
    passed += found;
    if (passed == 0) return false;
    delivery->early_count -= passed;
    memmove(early, early + passed, delivery->early_count * sizeof *early);
    return found;
}

bool dbk_delivery_is_early(const dbk_delivery *delivery, uint64_t seq) {
    for (size_t i = 0; i < delivery->early_count && delivery->early[i] <= seq; i++) {
        if (delivery->early[i] == seq) return true;
    }
    return false;
}

bool dbk_delivery_pass(dbk_delivery *delivery, uint64_t seq) {
    DBK_ASSERT(seq > delivery->delivered_seq);
    if (delivery->early_count == 0 || !take_early(delivery, seq)) return false;
    delivery->delivered_seq = seq;
    return true;
}

// ---- Delivering -------------------------------------------------------------------------------------------

bool dbk_delivery_has_room(const dbk_delivery *delivery) {
    uint64_t max = delivery->rules.max_ack_pending;
    return max == 0 || (dbk_delivery_pending_count(delivery) < max && delivery->held_count < max);
}

static daybook_status add_held(dbk_delivery *delivery, uint64_t seq, uint64_t aggregate) {
    dbk_pending_place place;
    DBK_TRY(dbk_aggregates_wait(&delivery->aggregates, aggregate, seq));
    daybook_status status = dbk_pending_add(&delivery->pending, seq, delivery->number + 1, aggregate, &place);
    if (status != DAYBOOK_OK) {
        dbk_aggregates_take_back(&delivery->aggregates, aggregate, seq);
        return status;
    }
    place.entry->flags |= DBK_PENDING_HELD;
    delivery->held_count++;
    delivery->delivered_seq = seq;
    return DAYBOOK_OK;
}

static daybook_status add_delivered(dbk_delivery *delivery, uint64_t seq, uint64_t aggregate,
                                    dbk_pending_place *place_out) {
    DBK_TRY(dbk_aggregates_begin(&delivery->aggregates, aggregate, seq));
    daybook_status status =
        dbk_pending_add(&delivery->pending, seq, delivery->number + 1, aggregate, place_out);
    if (status != DAYBOOK_OK) {
        (void)dbk_aggregates_end(&delivery->aggregates, aggregate, seq);
        return status;
    }
    place_out->entry->deliveries = 1;
    return DAYBOOK_OK;
}

daybook_status dbk_delivery_next(dbk_delivery *delivery, uint64_t seq, uint64_t aggregate, uint64_t now,
                                 uint64_t *number_out) {
    *number_out = 0;
    if (!delivery->rules.in_order) aggregate = 0;
    DBK_ASSERT(seq > delivery->delivered_seq);
    if (dbk_aggregates_is_busy(&delivery->aggregates, aggregate)) {
        DBK_TRY(add_held(delivery, seq, aggregate));
        note(delivery, DBK_CHANGE_HOLD, seq, 0, 0, aggregate);
        return DAYBOOK_OK;
    }
    uint64_t tick = 0;
    if (delivery->rules.ack != DBK_DELIVERY_ACK_NONE) {
        dbk_pending_place place;
        DBK_TRY(add_delivered(delivery, seq, aggregate, &place));
        tick = now + wait_after(delivery, 1);
        set_deadline(delivery, &place, tick);
    } else {
        note_answered(delivery, seq);
    }
    delivery->delivered_seq = seq;
    delivery->delivered_at = now;
    *number_out = ++delivery->number;
    note(delivery, DBK_CHANGE_DELIVER, seq, *number_out, tick, aggregate);
    return DAYBOOK_OK;
}

// The first that is still due, out of the list.
static dbk_pending_place pop_due(dbk_delivery *delivery) {
    while (has_due(delivery)) {
        dbk_seq_range *range = &delivery->due.items[delivery->due_at];
        dbk_pending_place place = dbk_pending_seek(&delivery->pending, range->first);
        if (place.entry == NULL || place.seq >= range->last) delivery->due_at++;
        if (place.entry == NULL || place.seq > range->last) continue;
        range->first = place.seq + 1;
        if ((place.entry->flags & DBK_PENDING_DUE) == 0) continue;
        place.entry->flags &= (uint16_t)~DBK_PENDING_DUE;
        return place;
    }
    return (dbk_pending_place){0};
}

daybook_status dbk_delivery_take(dbk_delivery *delivery, dbk_delivery_due *due_out) {
    dbk_pending_place place = pop_due(delivery);
    if (place.entry == NULL) return DAYBOOK_END;
    *due_out = (dbk_delivery_due){.seq = place.seq, .deliveries = place.entry->deliveries};
    uint64_t max = delivery->rules.max_deliver;
    if (max == 0 || place.entry->deliveries < max) {
        place.entry->flags |= DBK_PENDING_TAKEN;
        return DAYBOOK_OK;
    }
    if (delivery->keeps_given_up &&
        dbk_seq_set_add(&delivery->given_up, delivery->allocator, place.seq, place.seq) != DAYBOOK_OK) {
        // Given up and not remembered, its event might go.
        place.entry->flags |= DBK_PENDING_TAKEN;
        dbk_delivery_put_back(delivery, place.seq);
        return DAYBOOK_ENOMEM;
    }
    due_out->gave_up = true;
    note(delivery, DBK_CHANGE_GIVE_UP, place.seq, 0, 0, 0);
    delivery->given_up_count++;
    settle(delivery, &place);
    return DAYBOOK_OK;
}

static void deliver_again(dbk_delivery *delivery, const dbk_pending_place *place, uint64_t number) {
    dbk_pending_entry *entry = place->entry;
    if ((entry->flags & DBK_PENDING_HELD) != 0) {
        entry->flags &= (uint16_t)~DBK_PENDING_HELD;
        delivery->held_count--;
        dbk_pending_set_number(&delivery->pending, place, number);
    }
    entry->flags &= (uint16_t) ~(DBK_PENDING_DUE | DBK_PENDING_TAKEN);
    if (entry->deliveries < DBK_PENDING_DELIVERIES_MAX) entry->deliveries++;
    if (entry->deliveries == 2) delivery->again_count++;
}

daybook_status dbk_delivery_give(dbk_delivery *delivery, uint64_t seq, uint64_t now, uint64_t *number_out,
                                 uint64_t *deliveries_out) {
    dbk_pending_place place = dbk_pending_find(&delivery->pending, seq);
    if (place.entry == NULL || (place.entry->flags & DBK_PENDING_TAKEN) == 0) return DAYBOOK_ENOTFOUND;
    *number_out = ++delivery->number;
    deliver_again(delivery, &place, *number_out);
    *deliveries_out = place.entry->deliveries;
    uint64_t tick = now + wait_after(delivery, place.entry->deliveries);
    set_deadline(delivery, &place, tick);
    delivery->delivered_at = now;
    note(delivery, DBK_CHANGE_AGAIN, seq, *number_out, tick, 0);
    return DAYBOOK_OK;
}

void dbk_delivery_put_back(dbk_delivery *delivery, uint64_t seq) {
    dbk_pending_place place = dbk_pending_find(&delivery->pending, seq);
    if (place.entry == NULL || (place.entry->flags & DBK_PENDING_TAKEN) == 0) return;
    place.entry->flags &= (uint16_t)~DBK_PENDING_TAKEN;
    if (delivery->due_at == 0) {
        push_due(delivery, &place);
        return;
    }
    place.entry->flags |= DBK_PENDING_DUE;
    delivery->due.items[--delivery->due_at] = (dbk_seq_range){seq, seq};
}

// ---- Looking ----------------------------------------------------------------------------------------------

// Held messages get their numbers later, so that the least number need not be the first message's.
static uint64_t least_number(const dbk_delivery *delivery) {
    uint64_t least = delivery->number + 1;
    dbk_pending_place place = dbk_pending_seek(&delivery->pending, 0);
    for (; place.entry != NULL; place = dbk_pending_next(&delivery->pending, &place)) {
        uint64_t number = dbk_pending_number(&delivery->pending, &place);
        if (number != 0 && number < least) least = number;
        if (!delivery->rules.in_order) break;
    }
    return least;
}

dbk_delivery_floor dbk_delivery_get_floor(const dbk_delivery *delivery) {
    dbk_pending_place first = dbk_pending_seek(&delivery->pending, 0);
    if (first.entry == NULL) return (dbk_delivery_floor){delivery->delivered_seq, delivery->number};
    return (dbk_delivery_floor){first.seq - 1, least_number(delivery) - 1};
}

uint64_t dbk_delivery_deliveries(const dbk_delivery *delivery, uint64_t seq) {
    dbk_pending_place place = dbk_pending_find(&delivery->pending, seq);
    return place.entry == NULL ? 0 : place.entry->deliveries;
}

size_t dbk_delivery_bytes(const dbk_delivery *delivery) {
    return dbk_pending_bytes(&delivery->pending) + dbk_schedule_bytes(&delivery->schedule) +
           dbk_aggregates_bytes(&delivery->aggregates) +
           (delivery->due.capacity + delivery->given_up.capacity) * sizeof(dbk_seq_range);
}

// ---- Restoring --------------------------------------------------------------------------------------------

// An entry of an aggregate that another is in flight of waits behind it; a held one whose aggregate is free
// is due.
static daybook_status restore_held(dbk_delivery *delivery, uint64_t seq, uint64_t aggregate) {
    if (!delivery->rules.in_order) return DAYBOOK_EDAMAGED;
    if (dbk_aggregates_is_busy(&delivery->aggregates, aggregate)) return add_held(delivery, seq, aggregate);
    dbk_pending_place place;
    DBK_TRY(add_delivered(delivery, seq, aggregate, &place));
    place.entry->deliveries = 0;
    place.entry->flags |= DBK_PENDING_HELD;
    delivery->held_count++;
    delivery->delivered_seq = seq;
    push_due(delivery, &place);
    return DAYBOOK_OK;
}

static bool comes_behind(const dbk_delivery *delivery, uint64_t seq) {
    size_t chunks = delivery->pending.chunk_count;
    if (delivery->pending.count == 0 || chunks == 0) return true;
    const dbk_pending_chunk *last = delivery->pending.chunks[chunks - 1];
    return last->live == 0 ? seq > last->seq_base
                           : seq > last->seq_base + last->entries[last->count - 1].seq_offset;
}

daybook_status dbk_delivery_restore(dbk_delivery *delivery, const dbk_delivery_entry *entry) {
    uint64_t aggregate = delivery->rules.in_order ? entry->aggregate : 0;
    if (entry->seq == 0 || !comes_behind(delivery, entry->seq)) return DAYBOOK_EDAMAGED;
    if (entry->number == 0) return restore_held(delivery, entry->seq, aggregate);
    if (dbk_aggregates_is_busy(&delivery->aggregates, aggregate)) return DAYBOOK_EDAMAGED;
    uint64_t number = delivery->number;
    delivery->number = entry->number - 1;
    dbk_pending_place place;
    daybook_status status = add_delivered(delivery, entry->seq, aggregate, &place);
    delivery->number = number > entry->number ? number : entry->number;
    if (status != DAYBOOK_OK) return status;
    place.entry->deliveries = entry->deliveries > DBK_PENDING_DELIVERIES_MAX ? DBK_PENDING_DELIVERIES_MAX
                                                                             : (uint16_t)entry->deliveries;
    if (place.entry->deliveries > 1) delivery->again_count++;
    if (entry->seq > delivery->delivered_seq) delivery->delivered_seq = entry->seq;
    set_deadline(delivery, &place, entry->deadline);
    return DAYBOOK_OK;
}

void dbk_delivery_move_deadlines(dbk_delivery *delivery, uint64_t ticks) {
    uint32_t by = ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
    dbk_pending_place place = dbk_pending_seek(&delivery->pending, 0);
    for (; place.entry != NULL; place = dbk_pending_next(&delivery->pending, &place))
        place.entry->deadline = place.entry->deadline > by ? place.entry->deadline - by : 0;
    delivery->rescan = true;
}

static daybook_status replay_deliver(dbk_delivery *delivery, const dbk_change *change) {
    if (change->number == 0 || change->number <= delivery->number || change->seq <= delivery->delivered_seq)
        return DAYBOOK_EDAMAGED;
    if (take_early(delivery, change->seq) || delivery->rules.ack == DBK_DELIVERY_ACK_NONE) {
        delivery->number = change->number;
        delivery->delivered_seq = change->seq;
        return DAYBOOK_OK;
    }
    dbk_delivery_entry entry = {change->seq, change->number, change->tick, 1, change->extra};
    return dbk_delivery_restore(delivery, &entry);
}

static daybook_status replay_again(dbk_delivery *delivery, const dbk_change *change,
                                   dbk_pending_place *place) {
    if (change->number == 0 || change->number <= delivery->number) return DAYBOOK_EDAMAGED;
    if (place->entry != NULL &&
        (place->entry->flags & (DBK_PENDING_HELD | DBK_PENDING_DUE)) == DBK_PENDING_HELD)
        return DAYBOOK_EDAMAGED; // it waits behind another
    delivery->number = change->number;
    if (place->entry == NULL) return DAYBOOK_OK; // its acknowledgement was committed before
    deliver_again(delivery, place, change->number);
    set_deadline(delivery, place, change->tick);
    return DAYBOOK_OK;
}

daybook_status dbk_delivery_replay(dbk_delivery *delivery, const dbk_change *change) {
    dbk_pending_place place = dbk_pending_find(&delivery->pending, change->seq);
    switch (change->kind) {
    case DBK_CHANGE_DELIVER:
        return replay_deliver(delivery, change);
    case DBK_CHANGE_HOLD:
        if (change->seq <= delivery->delivered_seq || change->extra == 0) return DAYBOOK_EDAMAGED;
        if (dbk_delivery_pass(delivery, change->seq)) return DAYBOOK_OK;
        return restore_held(delivery, change->seq, change->extra);
    case DBK_CHANGE_AGAIN:
        return replay_again(delivery, change, &place);
    case DBK_CHANGE_GIVE_UP:
        delivery->given_up_count++;
        if (delivery->keeps_given_up && change->seq <= delivery->delivered_seq)
            DBK_TRY(dbk_seq_set_add(&delivery->given_up, delivery->allocator, change->seq, change->seq));
        // fall through
    case DBK_CHANGE_SETTLE:
        if (change->kind == DBK_CHANGE_SETTLE) note_answered(delivery, change->seq);
        if (place.entry != NULL) settle(delivery, &place);
        return change->seq > delivery->delivered_seq ? dbk_delivery_restore_early(delivery, change->seq)
                                                     : DAYBOOK_OK;
    case DBK_CHANGE_SETTLE_ALL:
        (void)settle_up_to(delivery, change->seq);
        return DAYBOOK_OK;
    case DBK_CHANGE_DEADLINE:
        if (place.entry == NULL || (place.entry->flags & DBK_PENDING_HELD) != 0) return DAYBOOK_OK;
        place.entry->flags &= (uint16_t)~DBK_PENDING_DUE;
        set_deadline(delivery, &place, change->tick);
        return DAYBOOK_OK;
    }
    return DAYBOOK_EDAMAGED;
}
