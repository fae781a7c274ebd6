// SPDX-License-Identifier: Apache-2.0
// A consumer's saved state and the changes behind it: hostile bytes give a sound consumer or none.
// Input: u8 flags (1: in order, 2: keeps what was given up), u16 size of the state, the state, changes.
#include "consumer/state.h"
#include "fuzz.h"

static void encode(const dbk_delivery *delivery, const dbk_consumer_start *start, dbk_buf *buf) {
    FUZZ_CHECK(dbk_consumer_state_encode(delivery, start, buf) == DAYBOOK_OK);
}

// Saved again and again it stays what it is.
static void check_saved(const dbk_delivery *delivery, const dbk_consumer_start *start) {
    dbk_buf once, twice;
    dbk_buf_init(&once, dbk_allocator_default(), 1 << 24);
    dbk_buf_init(&twice, dbk_allocator_default(), 1 << 24);
    encode(delivery, start, &once);
    dbk_delivery again;
    dbk_delivery_init(&again, dbk_allocator_default(), &delivery->rules, 0);
    dbk_consumer_start start_again;
    FUZZ_CHECK(dbk_consumer_state_decode(daybook_bytes(once.data, once.size), &again, &start_again) ==
               DAYBOOK_OK);
    encode(&again, &start_again, &twice);
    FUZZ_CHECK(dbk_slice_equal(daybook_bytes(once.data, once.size), daybook_bytes(twice.data, twice.size)));
    free(start_again.list);
    dbk_delivery_deinit(&again);
    dbk_buf_deinit(&once);
    dbk_buf_deinit(&twice);
}

static void work(dbk_delivery *delivery) {
    uint64_t now = UINT32_MAX, number, deliveries;
    (void)dbk_delivery_expire(delivery, now);
    dbk_delivery_due due;
    for (int i = 0; i < 1000 && dbk_delivery_take(delivery, &due) == DAYBOOK_OK; i++) {
        if (due.gave_up) continue;
        FUZZ_CHECK(dbk_delivery_give(delivery, due.seq, now, &number, &deliveries) == DAYBOOK_OK);
        if (i % 2 == 0) FUZZ_CHECK(dbk_delivery_ack(delivery, due.seq, now) == DAYBOOK_OK);
    }
    FUZZ_CHECK(dbk_pending_is_sound(&delivery->pending));
    FUZZ_CHECK(delivery->held_count <= delivery->pending.count);
    (void)dbk_delivery_drop_range(delivery, delivery->delivered_seq / 2, delivery->delivered_seq);
    (void)dbk_delivery_drop_below(delivery, delivery->delivered_seq);
    for (size_t i = 0; i < delivery->given_up.count; i++)
        FUZZ_CHECK(delivery->given_up.items[i].first <= delivery->given_up.items[i].last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) return 0;
    dbk_delivery_rules rules = {.ack_wait = 10, .in_order = data[0] & 1, .max_deliver = 3};
    size_t state_size = dbk_get_u16(data + 1);
    if (state_size > size - 3) state_size = size - 3;
    dbk_delivery delivery;
    dbk_delivery_init(&delivery, dbk_allocator_default(), &rules, 0);
    delivery.keeps_settled = delivery.keeps_given_up = (data[0] & 2) != 0;
    dbk_consumer_start start;
    if (dbk_consumer_state_decode(daybook_bytes(data + 3, state_size), &delivery, &start) == DAYBOOK_OK) {
        check_saved(&delivery, &start);
        (void)dbk_consumer_changes_replay(daybook_bytes(data + 3 + state_size, size - 3 - state_size),
                                          &delivery);
        FUZZ_CHECK(dbk_pending_is_sound(&delivery.pending));
        work(&delivery);
    }
    free(start.list);
    dbk_delivery_deinit(&delivery);
    return 0;
}
