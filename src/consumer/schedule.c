// SPDX-License-Identifier: Apache-2.0
// The timer wheel: levels and slots are in schedule.h. Time leaps from one occupied slot to the next, so that
// an idle hour costs nothing.
#include "consumer/schedule.h"

#include "base/assert.h"

enum { SLOT_BITS = 6, SLOT_KEEP_MAX = 64 }; // a slot that held more gives its memory back

void dbk_schedule_init(dbk_schedule *schedule, const daybook_allocator *allocator, uint64_t now) {
    *schedule = (dbk_schedule){.allocator = allocator, .now = now};
}

void dbk_schedule_deinit(dbk_schedule *schedule) {
    for (size_t level = 0; level < DBK_SCHEDULE_LEVELS; level++) {
        for (size_t slot = 0; slot < DBK_SCHEDULE_SLOTS; slot++)
            dbk_free(schedule->allocator, schedule->slots[level][slot].items);
    }
    dbk_free(schedule->allocator, schedule->visiting.items);
    *schedule = (dbk_schedule){.allocator = schedule->allocator};
}

static unsigned level_of(uint64_t distance) {
    unsigned level = 0;
    while (level + 1 < DBK_SCHEDULE_LEVELS && distance >> (SLOT_BITS * (level + 1)) != 0) level++;
    return level;
}

daybook_status dbk_schedule_add(dbk_schedule *schedule, uint64_t tick, uint64_t seq, uint64_t previous) {
    DBK_ASSERT(tick > schedule->now);
    unsigned level = level_of(tick - schedule->now);
    unsigned slot = (unsigned)(tick >> (SLOT_BITS * level)) % DBK_SCHEDULE_SLOTS;
    dbk_seq_ranges *ranges = &schedule->slots[level][slot];
    if (ranges->count > 0) {
        dbk_seq_range *last = &ranges->items[ranges->count - 1];
        if (seq >= last->first && seq <= last->last) return DAYBOOK_OK;
        if (seq > last->last && previous <= last->last) {
            last->last = seq;
            return DAYBOOK_OK;
        }
    }
    dbk_seq_range *items = dbk_grow_array(schedule->allocator, ranges->items, &ranges->capacity,
                                          ranges->count + 1, sizeof *items);
    if (items == NULL) return DAYBOOK_ENOMEM;
    ranges->items = items;
    ranges->items[ranges->count++] = (dbk_seq_range){seq, seq};
    schedule->occupied[level] |= UINT64_C(1) << slot;
    return DAYBOOK_OK;
}

// When the next occupied slot of a level begins; UINT64_MAX where there is none. A slot that is the current
// one belongs to the next turn: this turn's was emptied when its time began.
static uint64_t next_of(const dbk_schedule *schedule, unsigned level) {
    uint64_t occupied = schedule->occupied[level];
    if (occupied == 0) return UINT64_MAX;
    uint64_t current = schedule->now >> (SLOT_BITS * level);
    unsigned shift = (unsigned)(current + 1) % DBK_SCHEDULE_SLOTS;
    uint64_t turned = shift == 0 ? occupied : occupied >> shift | occupied << (DBK_SCHEDULE_SLOTS - shift);
    return (current + 1 + (unsigned)__builtin_ctzll(turned)) << (SLOT_BITS * level);
}

uint64_t dbk_schedule_next(const dbk_schedule *schedule) {
    uint64_t next = UINT64_MAX;
    for (unsigned level = 0; level < DBK_SCHEDULE_LEVELS; level++) {
        uint64_t begins = next_of(schedule, level);
        if (begins < next) next = begins;
    }
    return next;
}

// Swap the slot's ranges out before visiting: the visitor adds, perhaps to the same slot.
static void visit_slot(dbk_schedule *schedule, unsigned level, unsigned slot, dbk_schedule_visit visit,
                       void *context) {
    if ((schedule->occupied[level] >> slot & 1) == 0) return;
    dbk_seq_ranges ranges = schedule->slots[level][slot];
    schedule->slots[level][slot] = schedule->visiting;
    schedule->visiting = (dbk_seq_ranges){0};
    schedule->occupied[level] &= ~(UINT64_C(1) << slot);
    uint64_t before = schedule->now + (UINT64_C(1) << (SLOT_BITS * level));
    for (size_t i = 0; i < ranges.count; i++)
        visit(context, ranges.items[i].first, ranges.items[i].last, before);
    ranges.count = 0;
    if (ranges.capacity > SLOT_KEEP_MAX) {
        dbk_free(schedule->allocator, ranges.items);
        ranges = (dbk_seq_ranges){0};
    }
    schedule->visiting = ranges;
}

void dbk_schedule_advance(dbk_schedule *schedule, uint64_t now, dbk_schedule_visit visit, void *context) {
    while (schedule->now < now) {
        uint64_t next = dbk_schedule_next(schedule);
        if (next > now) break;
        schedule->now = next;
        for (unsigned level = DBK_SCHEDULE_LEVELS; level-- > 0;) {
            uint64_t span = UINT64_C(1) << (SLOT_BITS * level);
            if (next % span == 0)
                visit_slot(schedule, level, (unsigned)(next / span) % DBK_SCHEDULE_SLOTS, visit, context);
        }
    }
    if (now > schedule->now) schedule->now = now;
}

size_t dbk_schedule_bytes(const dbk_schedule *schedule) {
    size_t bytes = schedule->visiting.capacity * sizeof(dbk_seq_range);
    for (size_t level = 0; level < DBK_SCHEDULE_LEVELS; level++) {
        for (size_t slot = 0; slot < DBK_SCHEDULE_SLOTS; slot++)
            bytes += schedule->slots[level][slot].capacity * sizeof(dbk_seq_range);
    }
    return bytes;
}
