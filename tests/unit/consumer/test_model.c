// SPDX-License-Identifier: Apache-2.0
// Random work against a model that keeps one row per message and looks at all of them; and what is saved, changes
// behind a state, gives the same consumer again at any moment.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "consumer/state.h"

enum { MESSAGES = 400, STEPS = 6000, SEEDS = 40 };

static uint64_t random_state;

static uint64_t next_random(void) { // splitmix64
    uint64_t mixed = random_state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

typedef enum fate { AHEAD, HELD, IN_FLIGHT, SETTLED, GIVEN_UP } fate;

typedef struct row {
    fate fate;
    uint64_t number, deadline, deliveries, aggregate;
    bool claimed;
} row;

typedef struct model {
    dbk_delivery_rules rules;
    row rows[MESSAGES + 1];
    uint64_t next, number, given_up;
    bool keeps_given_up;
} model;

typedef struct pair {
    model model;
    dbk_delivery delivery;
    dbk_changes changes;
    dbk_buf saved;     // a state
    dbk_buf since[64]; // changes behind it
    size_t since_count;
    uint64_t now;
} pair;

static bool is_first_of_aggregate(const model *m, uint64_t seq) {
    for (uint64_t i = 1; m->rules.in_order && m->rows[seq].aggregate != 0 && i < seq; i++) {
        if (m->rows[i].aggregate == m->rows[seq].aggregate &&
            (m->rows[i].fate == HELD || m->rows[i].fate == IN_FLIGHT))
            return false;
    }
    return true;
}

static uint64_t count_fate(const model *m, fate wanted) {
    uint64_t count = 0;
    for (uint64_t i = 1; i <= MESSAGES; i++) count += m->rows[i].fate == wanted;
    return count;
}

static uint64_t wait_of(const model *m, uint64_t deliveries) {
    if (m->rules.backoff_count == 0) return m->rules.ack_wait;
    return m->rules
        .backoff[deliveries > m->rules.backoff_count ? m->rules.backoff_count - 1 : deliveries - 1];
}

static bool is_due(const model *m, uint64_t seq, uint64_t now) {
    const row *at = &m->rows[seq];
    if (at->claimed) return false;
    return (at->fate == IN_FLIGHT && at->deadline <= now) ||
           (at->fate == HELD && is_first_of_aggregate(m, seq));
}

static void deliver_new(pair *p) {
    model *m = &p->model;
    uint64_t max = m->rules.max_ack_pending;
    bool room = max == 0 || (count_fate(m, IN_FLIGHT) < max && count_fate(m, HELD) < max);
    assert_int_equal(dbk_delivery_has_room(&p->delivery), room);
    if (!room || m->next > MESSAGES) return;
    uint64_t seq = m->next, number;
    m->next += 1 + next_random() % 3;
    row *at = &m->rows[seq];
    at->aggregate = next_random() % 6;
    assert_int_equal(dbk_delivery_next(&p->delivery, seq, at->aggregate, p->now, &number), DAYBOOK_OK);
    bool held = !is_first_of_aggregate(m, seq);
    assert_true(held ? number == 0 : number == m->number + 1);
    at->fate = held ? HELD : m->rules.ack == DBK_DELIVERY_ACK_NONE ? SETTLED : IN_FLIGHT;
    if (held) return;
    at->number = ++m->number;
    at->deliveries = 1;
    at->deadline = p->now + wait_of(m, 1);
}

static void check_due(pair *p, const dbk_delivery_due *due) {
    assert_true(is_due(&p->model, due->seq, p->now));
    const row *at = &p->model.rows[due->seq];
    assert_true(due->deliveries == at->deliveries);
    uint64_t max = p->model.rules.max_deliver;
    assert_int_equal(due->gave_up, max > 0 && at->deliveries >= max);
}

static void deliver_due(pair *p, bool all) {
    model *m = &p->model;
    (void)dbk_delivery_expire(&p->delivery, p->now);
    dbk_delivery_due due;
    while (dbk_delivery_take(&p->delivery, &due) == DAYBOOK_OK) {
        check_due(p, &due);
        row *at = &m->rows[due.seq];
        uint64_t number, deliveries, dice = next_random() % 12;
        if (due.gave_up) {
            at->fate = m->keeps_given_up ? GIVEN_UP : SETTLED;
            m->given_up++;
        } else if (dice == 0 && !all) {
            dbk_delivery_drop(&p->delivery, due.seq);
            at->fate = SETTLED;
        } else if (dice == 1 && !all) {
            dbk_delivery_put_back(&p->delivery, due.seq);
        } else {
            assert_int_equal(dbk_delivery_give(&p->delivery, due.seq, p->now, &number, &deliveries),
                             DAYBOOK_OK);
            if (at->fate == HELD) at->number = m->number + 1;
            at->fate = IN_FLIGHT;
            assert_true(number == ++m->number && deliveries == ++at->deliveries);
            at->deadline = p->now + wait_of(m, at->deliveries);
        }
        if (!all) return;
    }
    for (uint64_t i = 1; i <= MESSAGES; i++) assert_false(is_due(m, i, p->now));
}

static void answer(pair *p) {
    model *m = &p->model;
    uint64_t seq = 1 + next_random() % MESSAGES;
    if (next_random() % 4 > 0) { // mostly one that is in flight
        for (uint64_t i = 0; i < MESSAGES && m->rows[seq].fate != IN_FLIGHT; i++) seq = seq % MESSAGES + 1;
    }
    row *at = &m->rows[seq];
    unsigned kind = (unsigned)(next_random() % 7);
    bool settles = kind == 2 || kind > 3;
    bool is_answerable = (at->fate == IN_FLIGHT && !at->claimed) || (at->fate == GIVEN_UP && settles);
    daybook_status expected = is_answerable ? DAYBOOK_OK : DAYBOOK_ENOTFOUND, status;
    uint64_t delay = next_random() % 3 == 0 ? 0 : next_random() % 3000;
    switch (kind) {
    case 0:
        status = dbk_delivery_nak(&p->delivery, seq, delay, p->now);
        if (status == DAYBOOK_OK)
            at->deadline = at->deadline <= p->now && delay == 0 ? at->deadline : p->now + delay;
        break;
    case 1:
        status = dbk_delivery_progress(&p->delivery, seq, p->now);
        if (status == DAYBOOK_OK) at->deadline = p->now + wait_of(m, at->deliveries);
        break;
    case 2:
        status = dbk_delivery_term(&p->delivery, seq);
        if (status == DAYBOOK_OK) at->fate = SETTLED;
        break;
    case 3:
        status = dbk_delivery_claim(&p->delivery, seq);
        if (status == DAYBOOK_OK) at->claimed = true;
        break;
    default:
        status = dbk_delivery_ack(&p->delivery, seq, p->now);
        if (status == DAYBOOK_OK) at->fate = SETTLED;
    }
    assert_int_equal(status, expected);
}

// An event that was given up is deleted.
static void delete_given_up(pair *p) {
    uint64_t seq = 1 + next_random() % MESSAGES;
    row *at = &p->model.rows[seq];
    if (at->fate != GIVEN_UP) return;
    assert_true(dbk_delivery_drop(&p->delivery, seq));
    at->fate = SETTLED;
}

static void end_claims(pair *p, bool all) {
    for (uint64_t i = 1; i <= MESSAGES; i++) {
        row *at = &p->model.rows[i];
        if (!at->claimed || (!all && next_random() % 4 > 0)) continue;
        at->claimed = false;
        if (next_random() % 2 == 0) {
            dbk_delivery_unclaim(&p->delivery, i);
            continue;
        }
        // Its event is stored before this, and perhaps before changes that were made before it.
        dbk_changes alone;
        dbk_changes_init(&alone, dbk_allocator_default(), 1 << 10);
        dbk_change change = {.kind = DBK_CHANGE_SETTLE, .seq = i};
        dbk_changes_add(&alone, &change);
        dbk_slice bytes = dbk_changes_finish(&alone, 0, p->now);
        dbk_buf_append_slice(&p->since[p->since_count], bytes);
        p->since_count++;
        dbk_changes_deinit(&alone);
        dbk_delivery_settle_claimed(&p->delivery, i, p->now);
        at->fate = SETTLED;
    }
}

static void check_all(pair *p) {
    const model *m = &p->model;
    assert_true(dbk_pending_is_sound(&p->delivery.pending));
    assert_int_equal(dbk_delivery_pending_count(&p->delivery), count_fate(m, IN_FLIGHT));
    assert_int_equal(p->delivery.held_count, count_fate(m, HELD));
    assert_true(p->delivery.number == m->number && p->delivery.given_up_count == m->given_up);
    for (uint64_t i = 1; i <= MESSAGES; i++)
        assert_int_equal(dbk_delivery_has_given_up(&p->delivery, i), m->rows[i].fate == GIVEN_UP);
    uint64_t first = 0, least = m->number + 1, again = 0;
    for (uint64_t i = 1; i <= MESSAGES; i++) {
        const row *at = &m->rows[i];
        if (at->fate != HELD && at->fate != IN_FLIGHT) continue;
        if (first == 0) first = i;
        if (at->fate == IN_FLIGHT && at->number < least) least = at->number;
        again += at->deliveries > 1;
    }
    dbk_delivery_floor floor = dbk_delivery_get_floor(&p->delivery);
    assert_int_equal(p->delivery.again_count, again);
    assert_true(floor.seq == (first == 0 ? p->delivery.delivered_seq : first - 1));
    assert_true(floor.number == (first == 0 ? m->number : least - 1));
}

static void encode(const dbk_delivery *delivery, dbk_buf *buf) {
    dbk_consumer_start start = {.first_seq = 1};
    dbk_buf_reset(buf);
    assert_int_equal(dbk_consumer_state_encode(delivery, &start, buf), DAYBOOK_OK);
}

// What was saved gives the same bytes when saved again.
static void reload(pair *p) {
    dbk_slice left = daybook_bytes(NULL, 0);
    if (!dbk_changes_is_empty(&p->changes))
        left = dbk_changes_finish(&p->changes, p->delivery.delivered_at, p->delivery.acked_at);
    dbk_buf_append_slice(&p->since[p->since_count], left);
    p->since_count += left.size > 0;
    dbk_changes_reset(&p->changes);
    dbk_delivery fresh;
    dbk_delivery_init(&fresh, dbk_allocator_default(), &p->model.rules, 1);
    fresh.keeps_settled = fresh.keeps_given_up = p->model.keeps_given_up;
    dbk_consumer_start start;
    assert_int_equal(dbk_consumer_state_decode(daybook_bytes(p->saved.data, p->saved.size), &fresh, &start),
                     DAYBOOK_OK);
    for (size_t i = 0; i < p->since_count; i++) {
        dbk_slice bytes = daybook_bytes(p->since[i].data, p->since[i].size);
        assert_int_equal(dbk_consumer_changes_replay(bytes, &fresh), DAYBOOK_OK);
    }
    dbk_buf one, other;
    dbk_buf_init(&one, dbk_allocator_default(), 1 << 20);
    dbk_buf_init(&other, dbk_allocator_default(), 1 << 20);
    encode(&p->delivery, &one);
    encode(&fresh, &other);
    assert_int_equal(one.size, other.size);
    assert_memory_equal(one.data, other.data, one.size);
    // The model goes on with the restored one.
    dbk_delivery_deinit(&p->delivery);
    p->delivery = fresh;
    p->delivery.changes = &p->changes;
    encode(&p->delivery, &p->saved);
    for (size_t i = 0; i < p->since_count; i++) dbk_buf_reset(&p->since[i]);
    p->since_count = 0;
    dbk_buf_deinit(&one);
    dbk_buf_deinit(&other);
}

static void save_changes(pair *p) {
    if (dbk_changes_is_empty(&p->changes) || p->since_count >= 40) return;
    dbk_slice bytes = dbk_changes_finish(&p->changes, p->delivery.delivered_at, p->delivery.acked_at);
    dbk_buf_append_slice(&p->since[p->since_count++], bytes);
    dbk_changes_reset(&p->changes);
}

static void run(uint64_t seed) {
    static const uint64_t backoff[] = {20, 300, 100};
    static pair p;
    p = (pair){.now = 1};
    random_state = seed;
    p.model.rules =
        (dbk_delivery_rules){.ack = seed % 9 == 0 ? DBK_DELIVERY_ACK_NONE : DBK_DELIVERY_ACK_EXPLICIT,
                             .in_order = seed % 2 == 0 && seed % 9 != 0,
                             .ack_wait = 1 + next_random() % 500,
                             .backoff = backoff,
                             .backoff_count = seed % 3 == 0 ? 3 : 0,
                             .max_deliver = seed % 5 == 0 ? 3 : 0,
                             .max_ack_pending = seed % 4 == 0 ? 12 : 60};
    p.model.next = 1;
    p.model.keeps_given_up = seed % 10 != 0;
    dbk_delivery_init(&p.delivery, dbk_allocator_default(), &p.model.rules, 1);
    p.delivery.keeps_settled = p.delivery.keeps_given_up = p.model.keeps_given_up;
    dbk_changes_init(&p.changes, dbk_allocator_default(), 1 << 20);
    dbk_buf_init(&p.saved, dbk_allocator_default(), 1 << 20);
    for (size_t i = 0; i < 64; i++) dbk_buf_init(&p.since[i], dbk_allocator_default(), 1 << 20);
    p.delivery.changes = &p.changes;
    encode(&p.delivery, &p.saved);
    for (int step = 0; step < STEPS; step++) {
        uint64_t dice = next_random() % 100;
        if (dice < 20)
            deliver_new(&p);
        else if (dice < 45)
            answer(&p);
        else if (dice < 60)
            deliver_due(&p, false);
        else if (dice < 65)
            deliver_due(&p, true);
        else if (dice < 85)
            p.now += next_random() % (next_random() % 20 == 0 ? 20000 : 60);
        else if (dice < 89)
            save_changes(&p);
        else if (dice < 90)
            delete_given_up(&p);
        // An acknowledgement that commits with an append may be saved before the delivery it answers.
        else if (dice < 93 && p.since_count < 30) {
            if (next_random() % 2 == 0) save_changes(&p);
            end_claims(&p, false);
        } else if (dice == 99 && next_random() % 5 == 0) {
            if (next_random() % 2 == 0) save_changes(&p);
            if (p.since_count < 30) {
                end_claims(&p, true);
                if (p.since_count < 63) reload(&p);
            }
        }
        if (step % 50 == 0) check_all(&p);
        if (p.since_count >= 30) {
            for (uint64_t i = 1; i <= MESSAGES; i++) {
                if (!p.model.rows[i].claimed) continue;
                dbk_delivery_unclaim(&p.delivery, i);
                p.model.rows[i].claimed = false;
            }
            reload(&p);
        }
    }
    check_all(&p);
    dbk_delivery_deinit(&p.delivery);
    dbk_changes_deinit(&p.changes);
    dbk_buf_deinit(&p.saved);
    for (size_t i = 0; i < 64; i++) dbk_buf_deinit(&p.since[i]);
}

static void agrees_with_the_model(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run(seed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_the_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
