// SPDX-License-Identifier: Apache-2.0
// The rules of delivery one by one, as JetStream has them; and memory that runs out at every step.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/error.h"
#include "consumer/delivery.h"
#include "consumer/state.h"
#include "lib/fault_allocator.h"

static const dbk_delivery_rules plain = {.ack_wait = 100};

static uint64_t deliver(dbk_delivery *delivery, uint64_t seq, uint64_t aggregate, uint64_t now) {
    uint64_t number;
    assert_int_equal(dbk_delivery_next(delivery, seq, aggregate, now, &number), DAYBOOK_OK);
    return number;
}

// The next that is due, delivered; 0 where there is none.
static uint64_t deliver_due(dbk_delivery *delivery, uint64_t now, uint64_t *deliveries_out) {
    dbk_delivery_due due;
    (void)dbk_delivery_expire(delivery, now);
    if (dbk_delivery_take(delivery, &due) != DAYBOOK_OK || due.gave_up) return 0;
    uint64_t number;
    assert_int_equal(dbk_delivery_give(delivery, due.seq, now, &number, deliveries_out), DAYBOOK_OK);
    return due.seq;
}

static void assert_floor(const dbk_delivery *delivery, uint64_t seq, uint64_t number) {
    dbk_delivery_floor floor = dbk_delivery_get_floor(delivery);
    assert_true(floor.seq == seq);
    assert_true(floor.number == number);
}

static void floors_move_with_the_lowest_pending(void **state) {
    (void)state;
    dbk_delivery delivery;
    dbk_delivery_init(&delivery, dbk_allocator_default(), &plain, 1000);
    assert_floor(&delivery, 0, 0);
    for (uint64_t i = 1; i <= 5; i++) assert_true(deliver(&delivery, i * 10, 0, 1000) == i);
    assert_floor(&delivery, 9, 0);
    assert_int_equal(dbk_delivery_ack(&delivery, 30, 1000), DAYBOOK_OK);
    assert_floor(&delivery, 9, 0);
    assert_int_equal(dbk_delivery_ack(&delivery, 10, 1000), DAYBOOK_OK);
    assert_floor(&delivery, 19, 1);
    // A second delivery takes a number; the message keeps its first.
    uint64_t deliveries;
    assert_int_equal(dbk_delivery_nak(&delivery, 20, 0, 1001), DAYBOOK_OK);
    assert_true(deliver_due(&delivery, 1001, &deliveries) == 20);
    assert_true(deliveries == 2 && delivery.number == 6);
    assert_int_equal(dbk_delivery_ack(&delivery, 20, 1001), DAYBOOK_OK);
    assert_floor(&delivery, 39, 3);
    assert_int_equal(dbk_delivery_term(&delivery, 50), DAYBOOK_OK);
    assert_int_equal(dbk_delivery_ack(&delivery, 40, 1001), DAYBOOK_OK);
    assert_floor(&delivery, 50, 6);
    assert_int_equal(dbk_delivery_ack(&delivery, 40, 1001), DAYBOOK_ENOTFOUND);
    assert_int_equal(dbk_delivery_ack(&delivery, 41, 1001), DAYBOOK_ENOTFOUND);
    dbk_delivery_deinit(&delivery);
}

static void unanswered_messages_come_again_until_given_up(void **state) {
    (void)state;
    static const uint64_t backoff[] = {10, 50};
    dbk_delivery_rules rules = {.ack_wait = 100, .backoff = backoff, .backoff_count = 2, .max_deliver = 4};
    dbk_delivery delivery;
    dbk_delivery_init(&delivery, dbk_allocator_default(), &rules, 1000);
    (void)deliver(&delivery, 7, 0, 1000);
    uint64_t deliveries = 0;
    assert_true(deliver_due(&delivery, 1009, &deliveries) == 0);
    assert_true(deliver_due(&delivery, 1010, &deliveries) == 7 && deliveries == 2);
    assert_true(deliver_due(&delivery, 1059, &deliveries) == 0);
    assert_true(deliver_due(&delivery, 1060, &deliveries) == 7 && deliveries == 3);
    assert_int_equal(delivery.again_count, 1);
    // Working on it: its time begins anew.
    assert_int_equal(dbk_delivery_progress(&delivery, 7, 1100), DAYBOOK_OK);
    assert_true(deliver_due(&delivery, 1149, &deliveries) == 0);
    assert_true(deliver_due(&delivery, 1150, &deliveries) == 7 && deliveries == 4);
    dbk_delivery_due due;
    assert_true(dbk_delivery_expire(&delivery, 1200) == 1200);
    assert_int_equal(dbk_delivery_take(&delivery, &due), DAYBOOK_OK);
    assert_true(due.gave_up && due.seq == 7);
    assert_int_equal(dbk_delivery_pending_count(&delivery), 0);
    assert_int_equal(delivery.given_up_count, 1);
    assert_int_equal(delivery.again_count, 0);
    assert_int_equal(dbk_delivery_ack(&delivery, 7, 1200), DAYBOOK_ENOTFOUND);
    assert_true(dbk_delivery_expire(&delivery, 5000) == UINT64_MAX);
    dbk_delivery_deinit(&delivery);
}

// Delivered `seqs` once, and given up.
static void give_up(dbk_delivery *delivery, const uint64_t *seqs, size_t count) {
    for (size_t i = 0; i < count; i++) (void)deliver(delivery, seqs[i], 0, 0);
    (void)dbk_delivery_expire(delivery, 1000);
    dbk_delivery_due due;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(dbk_delivery_take(delivery, &due), DAYBOOK_OK);
        assert_true(due.gave_up && due.seq == seqs[i]);
    }
}

static const dbk_delivery_rules once = {.ack_wait = 100, .max_deliver = 1};

static void begin_keeping(dbk_delivery *delivery, const dbk_delivery_rules *rules, dbk_changes *changes) {
    dbk_changes_init(changes, dbk_allocator_default(), 1 << 20);
    dbk_delivery_init(delivery, dbk_allocator_default(), rules, 0);
    delivery->changes = changes;
    delivery->keeps_settled = delivery->keeps_given_up = true;
}

// The seqs remembered as given up, as text.
static const char *given_up(const dbk_delivery *delivery) {
    static char text[256];
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < delivery->given_up.count; i++) {
        const dbk_seq_range *range = &delivery->given_up.items[i];
        for (uint64_t seq = range->first; seq <= range->last; seq++)
            used +=
                (size_t)snprintf(text + used, sizeof text - used, "%s%u", used > 0 ? " " : "", (unsigned)seq);
    }
    return text;
}

static const char *settled(const dbk_delivery *delivery) {
    static char text[256];
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < delivery->settled.count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%u-%u", used > 0 ? " " : "",
                                 (unsigned)delivery->settled.items[i].first,
                                 (unsigned)delivery->settled.items[i].last);
    return text;
}

// What was noted, told to a fresh consumer, gives what is remembered here.
static void assert_replayed(const dbk_delivery *delivery) {
    assert_false(delivery->changes->lost);
    dbk_delivery again;
    dbk_delivery_init(&again, dbk_allocator_default(), &delivery->rules, 0);
    again.keeps_settled = again.keeps_given_up = true;
    char expected[256];
    (void)snprintf(expected, sizeof expected, "%s", given_up(delivery));
    assert_int_equal(dbk_consumer_changes_replay(dbk_changes_finish(delivery->changes, 0, 0), &again),
                     DAYBOOK_OK);
    assert_string_equal(given_up(&again), expected);
    assert_int_equal(again.given_up_count, delivery->given_up_count);
    assert_int_equal(again.pending.count, delivery->pending.count);
    dbk_delivery_deinit(&again);
}

static void beginning_behind_forgets_what_is_pending(void **state) {
    (void)state;
    static const uint64_t seqs[] = {2, 3, 4, 6};
    dbk_changes changes;
    dbk_delivery delivery;
    begin_keeping(&delivery, &once, &changes);
    give_up(&delivery, seqs, 4);
    (void)deliver(&delivery, 8, 0, 1000);
    (void)deliver(&delivery, 9, 0, 1000);
    assert_int_equal(dbk_delivery_ack(&delivery, 9, 1000), DAYBOOK_OK);
    assert_int_equal(dbk_delivery_begin_behind(&delivery, 3, 1001), DAYBOOK_OK);
    assert_string_equal(given_up(&delivery), "2 3"); // 4 and 6 come again
    assert_string_equal(settled(&delivery), "9-9");  // and is to be removed
    assert_int_equal(dbk_delivery_pending_count(&delivery), 0);
    assert_floor(&delivery, 3, 6);
    assert_int_equal(dbk_delivery_ack(&delivery, 8, 1001), DAYBOOK_ENOTFOUND);
    assert_true(dbk_delivery_expire(&delivery, 5000) == UINT64_MAX);
    assert_true(deliver(&delivery, 4, 0, 1001) == 7);
    assert_int_equal(dbk_delivery_deliveries(&delivery, 4), 1);
    assert_int_equal(dbk_delivery_begin_behind(&delivery, UINT64_MAX, 1001), DAYBOOK_OK);
    assert_string_equal(given_up(&delivery), "2 3");
    dbk_delivery_deinit(&delivery);
    dbk_changes_deinit(&changes);
}

static void what_was_given_up_is_remembered_until_it_is_answered_or_gone(void **state) {
    (void)state;
    static const uint64_t seqs[] = {2, 3, 4, 6, 8, 9, 10};
    dbk_changes changes;
    dbk_delivery delivery;
    begin_keeping(&delivery, &once, &changes);
    give_up(&delivery, seqs, 7);
    assert_string_equal(given_up(&delivery), "2 3 4 6 8 9 10");
    assert_floor(&delivery, 10, 7); // nothing waits for it
    assert_replayed(&delivery);
    assert_int_equal(dbk_delivery_nak(&delivery, 3, 0, 1000), DAYBOOK_ENOTFOUND);
    assert_int_equal(dbk_delivery_progress(&delivery, 3, 1000), DAYBOOK_ENOTFOUND);
    assert_int_equal(dbk_delivery_claim(&delivery, 3), DAYBOOK_ENOTFOUND);
    assert_string_equal(settled(&delivery), "");
    assert_int_equal(dbk_delivery_ack(&delivery, 3, 1000), DAYBOOK_OK);
    assert_int_equal(dbk_delivery_ack(&delivery, 3, 1000), DAYBOOK_ENOTFOUND);
    assert_int_equal(dbk_delivery_ack(&delivery, 5, 1000), DAYBOOK_ENOTFOUND);
    assert_int_equal(dbk_delivery_term(&delivery, 6), DAYBOOK_OK);
    assert_string_equal(settled(&delivery), "3-3 6-6");
    assert_string_equal(given_up(&delivery), "2 4 8 9 10");
    assert_replayed(&delivery);
    // Deleted: nobody is to remove it.
    assert_true(dbk_delivery_drop(&delivery, 9));
    assert_false(dbk_delivery_drop(&delivery, 9));
    assert_string_equal(settled(&delivery), "3-3 6-6");
    assert_true(dbk_delivery_drop_below(&delivery, 4));
    assert_false(dbk_delivery_drop_below(&delivery, 4));
    assert_string_equal(given_up(&delivery), "4 8 10");
    assert_replayed(&delivery);
    // A range of deleted ones, a part of which was given up.
    assert_true(dbk_delivery_drop_range(&delivery, 5, 9));
    assert_false(dbk_delivery_drop_range(&delivery, 5, 9));
    assert_string_equal(given_up(&delivery), "4 10");
    assert_int_equal(delivery.given_up_count, 7);
    assert_replayed(&delivery);
    dbk_delivery_deinit(&delivery);
    dbk_changes_deinit(&changes);
}

// Few are told one by one, many by the whole state, which is saved next.
static void many_that_were_given_up_are_forgotten_at_once(void **state) {
    (void)state;
    enum { TOLD_MAX = 4096 };
    for (uint64_t count = TOLD_MAX; count <= TOLD_MAX + 1; count++) {
        dbk_changes changes;
        dbk_delivery delivery;
        begin_keeping(&delivery, &once, &changes);
        for (uint64_t seq = 10; seq < 10 + count; seq++) (void)deliver(&delivery, seq + seq / 3, 0, 0);
        (void)dbk_delivery_expire(&delivery, 1000);
        dbk_delivery_due due;
        while (dbk_delivery_take(&delivery, &due) == DAYBOOK_OK) assert_true(due.gave_up);
        assert_int_equal(delivery.given_up_count, count);
        assert_true(delivery.given_up.count > 1000);
        assert_true(dbk_delivery_drop_range(&delivery, 1, UINT64_MAX));
        assert_int_equal(delivery.given_up.count, 0);
        assert_int_equal(changes.lost, count > TOLD_MAX);
        if (!changes.lost) assert_replayed(&delivery);
        dbk_delivery_deinit(&delivery);
        dbk_changes_deinit(&changes);
    }
}

static void acknowledging_all_leaves_what_was_given_up(void **state) {
    (void)state;
    static const uint64_t seqs[] = {1, 2, 3, 5};
    dbk_delivery_rules rules = once;
    rules.ack = DBK_DELIVERY_ACK_ALL;
    dbk_changes changes;
    dbk_delivery delivery;
    begin_keeping(&delivery, &rules, &changes);
    give_up(&delivery, seqs, 4);
    assert_int_equal(dbk_delivery_ack_all(&delivery, 2, 1000), DAYBOOK_OK);
    assert_string_equal(given_up(&delivery), "1 3 5");
    assert_string_equal(settled(&delivery), "2-2");
    assert_int_equal(dbk_delivery_ack_all(&delivery, 2, 1000), DAYBOOK_ENOTFOUND);
    (void)deliver(&delivery, 6, 0, 1000);
    (void)deliver(&delivery, 7, 0, 1000);
    assert_int_equal(dbk_delivery_ack_all(&delivery, 7, 1000), DAYBOOK_OK);
    assert_int_equal(delivery.pending.count, 0);
    assert_string_equal(given_up(&delivery), "1 3 5");
    assert_replayed(&delivery);
    (void)deliver(&delivery, 8, 0, 1000);
    assert_true(dbk_delivery_drop_below(&delivery, 9)); // both that was pending and given up
    assert_int_equal(delivery.pending.count, 0);
    assert_string_equal(given_up(&delivery), "");
    assert_false(dbk_delivery_drop_below(&delivery, 9));
    assert_replayed(&delivery);
    dbk_delivery_deinit(&delivery);
    dbk_changes_deinit(&changes);
}

static void nothing_given_up_is_remembered_unless_asked_for(void **state) {
    (void)state;
    static const uint64_t seqs[] = {1, 2};
    dbk_delivery delivery;
    dbk_delivery_init(&delivery, dbk_allocator_default(), &once, 0);
    delivery.keeps_settled = true;
    give_up(&delivery, seqs, 2);
    assert_string_equal(given_up(&delivery), "");
    assert_int_equal(dbk_delivery_ack(&delivery, 1, 1000), DAYBOOK_ENOTFOUND);
    dbk_delivery_deinit(&delivery);
}

static dbk_slice encoded(const dbk_delivery *delivery, dbk_buf *buf) {
    dbk_consumer_start start = {.first_seq = 1};
    dbk_buf_init(buf, dbk_allocator_default(), 1 << 20);
    assert_int_equal(dbk_consumer_state_encode(delivery, &start, buf), DAYBOOK_OK);
    return daybook_bytes(buf->data, buf->size);
}

static daybook_status decode(dbk_slice bytes, dbk_delivery *delivery_out) {
    dbk_consumer_start start;
    dbk_delivery_init(delivery_out, dbk_allocator_default(), &once, 0);
    daybook_status status = dbk_consumer_state_decode(bytes, delivery_out, &start);
    dbk_free(dbk_allocator_default(), start.list);
    return status;
}

static void a_state_says_what_was_given_up(void **state) {
    (void)state;
    static const uint64_t seqs[] = {2, 3, 4, 600, 70000};
    dbk_changes changes;
    dbk_delivery delivery, again;
    begin_keeping(&delivery, &once, &changes);
    // Without it, the version that older programs read; and such states are read.
    dbk_buf buf;
    (void)deliver(&delivery, 1, 0, 0);
    dbk_slice bytes = encoded(&delivery, &buf);
    assert_int_equal(((const uint8_t *)bytes.data)[0], 2);
    assert_int_equal(decode(bytes, &again), DAYBOOK_OK);
    assert_int_equal(again.given_up.count, 0);
    assert_int_equal(again.pending.count, 1);
    dbk_delivery_deinit(&again);
    dbk_buf_deinit(&buf);
    assert_int_equal(dbk_delivery_ack(&delivery, 1, 0), DAYBOOK_OK);
    give_up(&delivery, seqs, 5);
    (void)deliver(&delivery, 70001, 0, 0);
    bytes = encoded(&delivery, &buf);
    assert_int_equal(((const uint8_t *)bytes.data)[0], 3);
    assert_int_equal(decode(bytes, &again), DAYBOOK_OK);
    assert_string_equal(given_up(&again), "2 3 4 600 70000");
    assert_int_equal(again.given_up_count, 5);
    assert_int_equal(again.pending.count, 1);
    dbk_delivery_deinit(&again);
    // Cut anywhere it is damaged; so is one that names what was not delivered.
    for (size_t size = 0; size < bytes.size; size++) {
        assert_int_equal(decode(daybook_bytes(bytes.data, size), &again), DAYBOOK_EDAMAGED);
        dbk_delivery_deinit(&again);
    }
    dbk_put_u64(buf.data + 2, 69999); // delivered_seq
    assert_int_equal(decode(bytes, &again), DAYBOOK_EDAMAGED);
    dbk_delivery_deinit(&again);
    buf.data[0] = 4;
    assert_int_equal(decode(bytes, &again), DAYBOOK_EFORMAT);
    dbk_delivery_deinit(&again);
    dbk_buf_deinit(&buf);
    dbk_delivery_deinit(&delivery);
    dbk_changes_deinit(&changes);
}

// What was written once is read for ever.
static void the_bytes_of_a_state_stay_what_they_are(void **state) {
    (void)state;
    static const uint8_t written[] = {
        3, 0,                   // version; not in order
        6, 0, 0, 0, 0, 0, 0, 0, // delivered up to
        3, 0, 0, 0, 0, 0, 0, 0, // deliveries
        3, 0, 0, 0, 0, 0, 0, 0, // given up
        0, 0, 0, 0, 0, 0, 0, 0, // last delivered at
        0, 0, 0, 0, 0, 0, 0, 0, // last acknowledged at
        1, 0, 0, 0, 0, 0, 0, 0, // begins at
        0, 0,                   // no list; nothing early
        2, 2, 1, 3, 0,          // two ranges: 2 to 3, 6
        0,                      // nothing pending
    };
    static const uint64_t seqs[] = {2, 3, 6};
    dbk_changes changes;
    dbk_delivery delivery, again;
    begin_keeping(&delivery, &once, &changes);
    give_up(&delivery, seqs, 3);
    dbk_buf buf;
    dbk_slice bytes = encoded(&delivery, &buf);
    assert_int_equal(bytes.size, sizeof written);
    assert_memory_equal(bytes.data, written, sizeof written);
    assert_int_equal(decode(daybook_bytes(written, sizeof written), &again), DAYBOOK_OK);
    assert_string_equal(given_up(&again), "2 3 6");
    dbk_delivery_deinit(&again);
    dbk_buf_deinit(&buf);
    dbk_delivery_deinit(&delivery);
    dbk_changes_deinit(&changes);
}

// More ranges than anybody writes are not read.
static void a_state_with_too_many_ranges_is_damaged(void **state) {
    (void)state;
    for (uint64_t count = DBK_GIVEN_UP_RANGES_MAX; count <= DBK_GIVEN_UP_RANGES_MAX + 1; count++) {
        dbk_delivery delivery, again;
        dbk_delivery_init(&delivery, dbk_allocator_default(), &once, 0);
        delivery.given_up.range_max = 0;
        delivery.delivered_seq = 2 * count;
        for (uint64_t i = 1; i <= count; i++)
            assert_int_equal(dbk_seq_set_add(&delivery.given_up, dbk_allocator_default(), 2 * i, 2 * i),
                             DAYBOOK_OK);
        dbk_buf buf;
        dbk_slice bytes = encoded(&delivery, &buf);
        bool is_allowed = count == DBK_GIVEN_UP_RANGES_MAX;
        assert_int_equal(decode(bytes, &again), is_allowed ? DAYBOOK_OK : DAYBOOK_EDAMAGED);
        assert_int_equal(again.given_up.count, is_allowed ? count : 0);
        dbk_delivery_deinit(&again);
        dbk_buf_deinit(&buf);
        dbk_delivery_deinit(&delivery);
    }
}

// What cannot be remembered is not given up yet.
static void without_memory_nothing_is_given_up(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_delivery delivery;
    dbk_delivery_init(&delivery, &faults.allocator, &once, 0);
    delivery.keeps_settled = delivery.keeps_given_up = true;
    (void)deliver(&delivery, 5, 0, 0);
    (void)dbk_delivery_expire(&delivery, 1000);
    fault_allocator_fail(&faults, 1, true);
    dbk_delivery_due due;
    assert_int_equal(dbk_delivery_take(&delivery, &due), DAYBOOK_ENOMEM);
    assert_int_equal(delivery.given_up_count, 0);
    assert_int_equal(delivery.pending.count, 1);
    fault_allocator_fail(&faults, 0, false);
    (void)dbk_delivery_expire(&delivery, 1001);
    assert_int_equal(dbk_delivery_take(&delivery, &due), DAYBOOK_OK);
    assert_true(due.gave_up && due.seq == 5);
    assert_true(dbk_delivery_has_given_up(&delivery, 5));
    dbk_delivery_deinit(&delivery);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

static void acknowledging_all_settles_what_came_before(void **state) {
    (void)state;
    dbk_delivery_rules rules = {.ack = DBK_DELIVERY_ACK_ALL, .ack_wait = 100};
    dbk_delivery delivery;
    dbk_delivery_init(&delivery, dbk_allocator_default(), &rules, 0);
    for (uint64_t seq = 1; seq <= 10; seq++) (void)deliver(&delivery, seq, 0, 0);
    assert_int_equal(dbk_delivery_ack_all(&delivery, 11, 0), DAYBOOK_ENOTFOUND);
    assert_int_equal(dbk_delivery_ack_all(&delivery, 6, 0), DAYBOOK_OK);
    assert_int_equal(dbk_delivery_pending_count(&delivery), 4);
    assert_floor(&delivery, 6, 6);
    assert_int_equal(dbk_delivery_ack_all(&delivery, 6, 0), DAYBOOK_ENOTFOUND);
    dbk_delivery_deinit(&delivery);
}

static void without_acknowledgement_nothing_is_pending(void **state) {
    (void)state;
    dbk_delivery_rules rules = {.ack = DBK_DELIVERY_ACK_NONE, .ack_wait = 1, .max_ack_pending = 1};
    dbk_delivery delivery;
    dbk_delivery_init(&delivery, dbk_allocator_default(), &rules, 0);
    for (uint64_t seq = 1; seq <= 10; seq++) {
        assert_true(dbk_delivery_has_room(&delivery));
        assert_true(deliver(&delivery, seq, 0, 0) == seq);
    }
    assert_floor(&delivery, 10, 10);
    dbk_delivery_deinit(&delivery);
}

static void room_ends_at_max_ack_pending(void **state) {
    (void)state;
    dbk_delivery_rules rules = {.ack_wait = 10, .max_ack_pending = 2};
    dbk_delivery delivery;
    dbk_delivery_init(&delivery, dbk_allocator_default(), &rules, 0);
    (void)deliver(&delivery, 1, 0, 0);
    assert_true(dbk_delivery_has_room(&delivery));
    (void)deliver(&delivery, 2, 0, 0);
    assert_false(dbk_delivery_has_room(&delivery));
    uint64_t deliveries; // what was delivered comes again all the same
    assert_true(deliver_due(&delivery, 10, &deliveries) == 1);
    assert_int_equal(dbk_delivery_ack(&delivery, 1, 10), DAYBOOK_OK);
    assert_true(dbk_delivery_has_room(&delivery));
    dbk_delivery_deinit(&delivery);
}

static void an_aggregate_waits_for_its_message_in_flight(void **state) {
    (void)state;
    dbk_delivery_rules rules = {.ack_wait = 10, .in_order = true, .max_ack_pending = 3};
    dbk_delivery delivery;
    dbk_delivery_init(&delivery, dbk_allocator_default(), &rules, 0);
    assert_true(deliver(&delivery, 1, 'a', 0) == 1);
    assert_true(deliver(&delivery, 2, 'a', 0) == 0);
    assert_true(deliver(&delivery, 3, 'b', 0) == 2);
    assert_true(deliver(&delivery, 4, 'a', 0) == 0);
    assert_int_equal(dbk_delivery_pending_count(&delivery), 2);
    assert_int_equal(dbk_delivery_ack(&delivery, 2, 0), DAYBOOK_ENOTFOUND); // it was not delivered
    uint64_t deliveries = 0;
    assert_true(deliver_due(&delivery, 1, &deliveries) == 0);
    assert_int_equal(dbk_delivery_ack(&delivery, 1, 1), DAYBOOK_OK);
    assert_true(deliver_due(&delivery, 1, &deliveries) == 2 && deliveries == 1);
    assert_true(deliver_due(&delivery, 1, &deliveries) == 0);
    assert_floor(&delivery, 1, 1);
    // It comes again before the next of its aggregate.
    assert_true(deliver_due(&delivery, 11, &deliveries) == 3);
    assert_true(deliver_due(&delivery, 11, &deliveries) == 2 && deliveries == 2);
    assert_int_equal(dbk_delivery_term(&delivery, 2), DAYBOOK_OK);
    assert_true(deliver_due(&delivery, 11, &deliveries) == 4 && deliveries == 1);
    // Messages without aggregate wait for nobody.
    assert_int_equal(dbk_delivery_ack(&delivery, 3, 11), DAYBOOK_OK);
    assert_true(deliver(&delivery, 5, 0, 11) != 0);
    assert_true(deliver(&delivery, 6, 0, 11) != 0);
    dbk_delivery_deinit(&delivery);
}

static void a_claimed_message_is_nobody_elses(void **state) {
    (void)state;
    dbk_delivery delivery;
    dbk_delivery_init(&delivery, dbk_allocator_default(), &plain, 0);
    (void)deliver(&delivery, 1, 0, 0);
    (void)deliver(&delivery, 2, 0, 0);
    assert_int_equal(dbk_delivery_claim(&delivery, 1), DAYBOOK_OK);
    assert_int_equal(dbk_delivery_claim(&delivery, 1), DAYBOOK_ENOTFOUND);
    assert_int_equal(dbk_delivery_ack(&delivery, 1, 0), DAYBOOK_ENOTFOUND);
    assert_int_equal(dbk_delivery_nak(&delivery, 1, 0, 0), DAYBOOK_ENOTFOUND);
    uint64_t deliveries;
    assert_true(deliver_due(&delivery, 500, &deliveries) == 2);
    assert_true(deliver_due(&delivery, 500, &deliveries) == 0);
    dbk_delivery_unclaim(&delivery, 1); // its time ran out meanwhile
    assert_true(deliver_due(&delivery, 500, &deliveries) == 1);
    // Claimed between being taken and being given.
    dbk_delivery_due due;
    (void)dbk_delivery_expire(&delivery, 1000);
    assert_int_equal(dbk_delivery_take(&delivery, &due), DAYBOOK_OK);
    assert_int_equal(dbk_delivery_claim(&delivery, due.seq), DAYBOOK_OK);
    uint64_t number;
    assert_int_equal(dbk_delivery_give(&delivery, due.seq, 1000, &number, &deliveries), DAYBOOK_ENOTFOUND);
    dbk_delivery_settle_claimed(&delivery, due.seq, 1000);
    assert_null(dbk_pending_find(&delivery.pending, due.seq).entry);
    dbk_delivery_deinit(&delivery);
}

static void what_is_put_back_comes_first(void **state) {
    (void)state;
    dbk_delivery delivery;
    dbk_delivery_init(&delivery, dbk_allocator_default(), &plain, 0);
    for (uint64_t seq = 1; seq <= 3; seq++) (void)deliver(&delivery, seq, 0, 0);
    (void)dbk_delivery_expire(&delivery, 100);
    dbk_delivery_due first, second;
    assert_int_equal(dbk_delivery_take(&delivery, &first), DAYBOOK_OK);
    assert_int_equal(dbk_delivery_take(&delivery, &second), DAYBOOK_OK);
    dbk_delivery_drop(&delivery, first.seq); // its event was removed
    dbk_delivery_put_back(&delivery, second.seq);
    uint64_t deliveries;
    assert_true(deliver_due(&delivery, 100, &deliveries) + deliver_due(&delivery, 100, &deliveries) == 5);
    assert_int_equal(dbk_delivery_pending_count(&delivery), 2);
    dbk_delivery_deinit(&delivery);
}

// Claimed, and held behind it: dropped when their turn has come. All others at once, and saved so.
static void what_is_no_longer_stored_is_settled(void **state) {
    (void)state;
    for (int in_order = 0; in_order < 2; in_order++) {
        dbk_delivery_rules rules = plain;
        rules.in_order = in_order != 0;
        dbk_changes changes;
        dbk_changes_init(&changes, dbk_allocator_default(), 1 << 20);
        dbk_delivery delivery, again;
        dbk_delivery_init(&delivery, dbk_allocator_default(), &rules, 0);
        delivery.changes = &changes;
        // Three of aggregate 1, two of 2, and one of 3 behind.
        static const uint64_t aggregates[] = {1, 2, 1, 2, 1, 3};
        for (uint64_t seq = 1; seq <= 6; seq++) (void)deliver(&delivery, seq, aggregates[seq - 1], 0);
        assert_int_equal(dbk_delivery_deliveries(&delivery, 1), 1);
        assert_false(dbk_delivery_drop_below(&delivery, 1));
        assert_int_equal(dbk_delivery_claim(&delivery, 2), DAYBOOK_OK);
        assert_true(dbk_delivery_drop_below(&delivery, 6));
        assert_false(dbk_delivery_drop(&delivery, 2));
        assert_int_equal(dbk_delivery_pending_count(&delivery), 2);
        assert_int_equal(delivery.held_count, in_order ? 1 : 0);
        dbk_delivery_unclaim(&delivery, 2);
        assert_true(dbk_delivery_drop_below(&delivery, 6));
        assert_int_equal(delivery.held_count, 0);
        assert_false(dbk_delivery_drop_below(&delivery, 6));
        assert_true(dbk_delivery_drop(&delivery, 6));
        assert_floor(&delivery, 6, in_order ? 3 : 6);
        dbk_delivery_init(&again, dbk_allocator_default(), &rules, 0);
        dbk_changes_reader reader;
        dbk_change change;
        uint64_t at;
        assert_int_equal(dbk_changes_read(dbk_changes_finish(&changes, 0, 0), &reader, &at, &at), DAYBOOK_OK);
        while (dbk_changes_next(&reader, &change) == DAYBOOK_OK)
            assert_int_equal(dbk_delivery_replay(&again, &change), DAYBOOK_OK);
        assert_int_equal(again.pending.count, 0);
        assert_floor(&again, 6, in_order ? 3 : 6);
        dbk_delivery_deinit(&again);
        dbk_delivery_deinit(&delivery);
        dbk_changes_deinit(&changes);
    }
}

static void deadlines_outlive_half_the_range_of_ticks(void **state) {
    (void)state;
    dbk_delivery delivery;
    dbk_delivery_init(&delivery, dbk_allocator_default(), &plain, 5);
    uint64_t now = 5, deliveries;
    (void)deliver(&delivery, 1, 0, now);
    for (int i = 0; i < 12; i++) {
        now += UINT64_C(1) << 30;
        assert_true(deliver_due(&delivery, now, &deliveries) == 1);
        assert_true(deliver_due(&delivery, now + 99, &deliveries) == 0);
    }
    dbk_delivery_deinit(&delivery);
}

// Everything a consumer does, with the n-th allocation failing: refused or done, and sound either way.
static daybook_status run_all(dbk_delivery *delivery) {
    uint64_t number;
    for (uint64_t seq = 1; seq <= 40; seq++) DBK_TRY(dbk_delivery_next(delivery, seq, seq % 3, 0, &number));
    for (uint64_t now = 10; now < 2000; now += 10) {
        dbk_delivery_due due;
        (void)dbk_delivery_expire(delivery, now);
        while (dbk_delivery_take(delivery, &due) == DAYBOOK_OK) {
            if (due.gave_up) continue;
            uint64_t deliveries;
            (void)dbk_delivery_give(delivery, due.seq, now, &number, &deliveries);
            if (due.seq % 2 == 0) (void)dbk_delivery_ack(delivery, due.seq, now);
        }
    }
    return DAYBOOK_OK;
}

static void memory_may_run_out_anywhere(void **state) {
    (void)state;
    dbk_delivery_rules rules = {.ack_wait = 7, .in_order = true, .max_deliver = 5};
    for (uint64_t step = 1;; step++) {
        fault_allocator faults;
        fault_allocator_init(&faults);
        dbk_changes changes;
        dbk_changes_init(&changes, &faults.allocator, 1 << 20);
        dbk_delivery delivery;
        dbk_delivery_init(&delivery, &faults.allocator, &rules, 0);
        delivery.changes = &changes;
        delivery.keeps_settled = delivery.keeps_given_up = true;
        fault_allocator_fail(&faults, step, false);
        daybook_status status = run_all(&delivery);
        bool failed = fault_allocator_has_failed(&faults);
        assert_true(dbk_pending_is_sound(&delivery.pending));
        assert_true(failed || status == DAYBOOK_OK);
        assert_true(status == DAYBOOK_OK || status == DAYBOOK_ENOMEM);
        // Nothing is forgotten: each was acknowledged or given up in the end.
        if (status == DAYBOOK_OK) {
            assert_int_equal(delivery.pending.count, 0);
            assert_int_equal(delivery.given_up_count, 20);
        }
        dbk_delivery_deinit(&delivery);
        dbk_changes_deinit(&changes);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!failed) break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floors_move_with_the_lowest_pending),
        cmocka_unit_test(unanswered_messages_come_again_until_given_up),
        cmocka_unit_test(acknowledging_all_settles_what_came_before),
        cmocka_unit_test(without_acknowledgement_nothing_is_pending),
        cmocka_unit_test(what_was_given_up_is_remembered_until_it_is_answered_or_gone),
        cmocka_unit_test(beginning_behind_forgets_what_is_pending),
        cmocka_unit_test(acknowledging_all_leaves_what_was_given_up),
        cmocka_unit_test(nothing_given_up_is_remembered_unless_asked_for),
        cmocka_unit_test(a_state_says_what_was_given_up),
        cmocka_unit_test(many_that_were_given_up_are_forgotten_at_once),
        cmocka_unit_test(the_bytes_of_a_state_stay_what_they_are),
        cmocka_unit_test(a_state_with_too_many_ranges_is_damaged),
        cmocka_unit_test(without_memory_nothing_is_given_up),
        cmocka_unit_test(room_ends_at_max_ack_pending),
        cmocka_unit_test(an_aggregate_waits_for_its_message_in_flight),
        cmocka_unit_test(a_claimed_message_is_nobody_elses),
        cmocka_unit_test(what_is_put_back_comes_first),
        cmocka_unit_test(what_is_no_longer_stored_is_settled),
        cmocka_unit_test(deadlines_outlive_half_the_range_of_ticks),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
