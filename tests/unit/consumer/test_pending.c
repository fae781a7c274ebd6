// SPDX-License-Identifier: Apache-2.0
// Messages in flight: against a sorted array, and what five million of them cost.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "consumer/delivery.h"
#include "consumer/state.h"

static uint64_t random_state;

static uint64_t next_random(void) { // splitmix64
    uint64_t mixed = random_state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

typedef struct known {
    uint64_t seq, number;
} known;

static void compare(const dbk_pending *pending, const known *all, size_t count) {
    assert_true(dbk_pending_is_sound(pending));
    assert_int_equal(pending->count, count);
    dbk_pending_place place = dbk_pending_seek(pending, 0);
    for (size_t i = 0; i < count; i++, place = dbk_pending_next(pending, &place)) {
        assert_non_null(place.entry);
        assert_true(place.seq == all[i].seq);
        assert_true(dbk_pending_number(pending, &place) == all[i].number);
        dbk_pending_place before = dbk_pending_previous(pending, &place);
        assert_true(i == 0 ? before.entry == NULL : before.seq == all[i - 1].seq);
        assert_true(dbk_pending_find(pending, all[i].seq).entry == place.entry);
        dbk_pending_place at = dbk_pending_seek(pending, i == 0 ? 0 : all[i - 1].seq + 1);
        assert_true(at.seq == all[i].seq);
    }
    assert_null(place.entry);
}

// Gaps of every size, so that offsets overflow and chunks are joined.
static void keeps_what_a_sorted_array_keeps(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        random_state = seed;
        dbk_pending pending;
        dbk_pending_init(&pending, dbk_allocator_default(), seed % 2 == 0);
        static known all[20000];
        size_t count = 0;
        uint64_t seq = 0, number = 0;
        for (int step = 0; step < 30000; step++) {
            bool adds = count == 0 || (next_random() % 100 < (step < 15000 ? 60 : 35) && count < 20000);
            if (adds) {
                seq += 1 +
                       (next_random() % 50 == 0 ? next_random() % (UINT64_C(1) << 33) : next_random() % 3);
                number += 1 + (next_random() % 500 == 0 ? UINT64_C(1) << 32 : 0);
                dbk_pending_place place;
                assert_int_equal(dbk_pending_add(&pending, seq, number, seq * 3, &place), DAYBOOK_OK);
                all[count++] = (known){seq, number};
            } else {
                size_t at = next_random() % count;
                if (next_random() % 3 > 0) at = at % 16;
                dbk_pending_place place = dbk_pending_find(&pending, all[at].seq);
                assert_non_null(place.entry);
                assert_true(dbk_pending_aggregate(&pending, &place) == (seed % 2 == 0 ? all[at].seq * 3 : 0));
                dbk_pending_remove(&pending, &place);
                assert_null(dbk_pending_find(&pending, all[at].seq).entry);
                memmove(&all[at], &all[at + 1], (--count - at) * sizeof *all);
            }
            if (step % 3000 == 0) compare(&pending, all, count);
        }
        compare(&pending, all, count);
        dbk_pending_deinit(&pending);
    }
}

static void room_is_given_back(void **state) {
    (void)state;
    dbk_pending pending;
    dbk_pending_init(&pending, dbk_allocator_default(), false);
    dbk_pending_place place;
    for (uint64_t seq = 1; seq <= 100000; seq++)
        assert_int_equal(dbk_pending_add(&pending, seq, seq, 0, &place), DAYBOOK_OK);
    // Every sixteenth stays: chunks that are mostly empty become one.
    for (uint64_t seq = 1; seq <= 100000; seq++) {
        place = dbk_pending_find(&pending, seq);
        if (seq % 16 != 0) dbk_pending_remove(&pending, &place);
    }
    assert_true(dbk_pending_is_sound(&pending));
    assert_in_range(pending.chunk_count, 7, 40);
    dbk_pending_deinit(&pending);
}

// The bar: at most 24 bytes a message, with their deadlines, wherever they lie.
static void five_million_cost_24_bytes_each(void **state) {
    (void)state;
    enum { COUNT = 5000000 };
    dbk_delivery_rules rules = {.ack_wait = 3000};
    dbk_delivery delivery;
    dbk_delivery_init(&delivery, dbk_allocator_default(), &rules, 1000);
    uint64_t number, seq = 0;
    random_state = 5;
    for (int i = 0; i < COUNT; i++) {
        seq += 1 + next_random() % 7;
        assert_int_equal(dbk_delivery_next(&delivery, seq, 0, 1000 + (uint64_t)i / 2000, &number),
                         DAYBOOK_OK);
    }
    size_t fresh = dbk_delivery_bytes(&delivery);
    // All are delivered once more, in order of their deadlines.
    uint64_t now = 1000 + 3000 + COUNT / 2000 + 1;
    assert_true(dbk_delivery_expire(&delivery, now) == now);
    dbk_delivery_due due;
    uint64_t deliveries;
    int again = 0;
    while (dbk_delivery_take(&delivery, &due) == DAYBOOK_OK) {
        assert_int_equal(dbk_delivery_give(&delivery, due.seq, now, &number, &deliveries), DAYBOOK_OK);
        again++;
    }
    assert_int_equal(again, COUNT);
    size_t twice = dbk_delivery_bytes(&delivery);
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 64 << 20);
    dbk_consumer_start start = {.first_seq = 1};
    assert_int_equal(dbk_consumer_state_encode(&delivery, &start, &buf), DAYBOOK_OK);
    print_message("5 million pending: %.2f bytes each, delivered again %.2f, saved %.2f\n",
                  (double)fresh / COUNT, (double)twice / COUNT, (double)buf.size / COUNT);
    assert_in_range(fresh, 1, (size_t)COUNT * 24);
    assert_in_range(twice, 1, (size_t)COUNT * 24);
    assert_in_range(buf.size, 1, 15 << 20);
    dbk_buf_deinit(&buf);
    dbk_delivery_deinit(&delivery);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_a_sorted_array_keeps),
        cmocka_unit_test(room_is_given_back),
        cmocka_unit_test(five_million_cost_24_bytes_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
