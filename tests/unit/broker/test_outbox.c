// SPDX-License-Identifier: Apache-2.0
// The outbox: what goes in comes out, in order, whatever the sizes, the partial writes and the failing allocations.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/outbox.h"
#include "lib/fault_allocator.h"

/// A naive outbox beside the real one.
typedef struct mirror {
    uint8_t *data;
    size_t size, capacity;
    uint8_t next; // the byte to come
} mirror;

static uint64_t state = 88172645463325252u;

static uint64_t draw(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static void fill(mirror *m, uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) data[i] = (uint8_t)(m->next + i * 7);
}

static void mirror_append(mirror *m, const uint8_t *data, size_t size) {
    if (size == 0) return;
    if (m->size + size > m->capacity) {
        m->capacity = (m->size + size) * 2;
        m->data = realloc(m->data, m->capacity);
        assert_non_null(m->data);
    }
    memcpy(m->data + m->size, data, size);
    m->size += size;
    m->next++;
}

/// All that waits is what the mirror holds.
static void compare(const dbk_outbox *outbox, const mirror *m) {
    assert_int_equal(outbox->size, m->size);
    static dbk_span spans[4096];
    size_t count = dbk_outbox_gather(outbox, spans, 4096, SIZE_MAX), at = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(spans[i].size > 0);
        assert_true(at + spans[i].size <= m->size);
        assert_memory_equal(spans[i].data, m->data + at, spans[i].size);
        at += spans[i].size;
    }
    if (count < 4096) assert_int_equal(at, m->size);
}

static size_t any_size(void) {
    switch (draw(4)) {
    case 0:
        return 1 + draw(40);
    case 1:
        return 1 + draw(4096);
    case 2:
        return 1 + draw(70000);
    default:
        return draw(3);
    }
}

static void append_copy(dbk_outbox *outbox, mirror *m) {
    static uint8_t data[70000];
    size_t size = any_size();
    fill(m, data, size);
    if (dbk_outbox_append(outbox, data, size) == DAYBOOK_OK) mirror_append(m, data, size);
}

static void append_reserved(dbk_outbox *outbox, mirror *m) {
    size_t size = any_size(), used = size == 0 ? 0 : draw(size + 1);
    uint8_t *room = dbk_outbox_reserve(outbox, size);
    if (room == NULL || used == 0) return;
    fill(m, room, used);
    mirror_append(m, room, used);
    dbk_outbox_commit(outbox, used);
}

static void append_block(dbk_outbox *outbox, mirror *m, const daybook_allocator *allocator) {
    size_t size = 1 + any_size(), skipped = draw(size);
    dbk_block *block = dbk_block_new(allocator, size);
    if (block == NULL) return;
    fill(m, block->data, size);
    if (dbk_outbox_append_block(outbox, block, block->data + skipped, size - skipped) == DAYBOOK_OK) {
        mirror_append(m, block->data + skipped, size - skipped);
    }
    dbk_block_unref(block);
}

static void consume(dbk_outbox *outbox, mirror *m) {
    size_t size = m->size == 0 ? 0 : draw(m->size + 1);
    dbk_outbox_consume(outbox, size);
    if (size == 0) return;
    memmove(m->data, m->data + size, m->size - size);
    m->size -= size;
}

static void run_random(fault_allocator *faults, unsigned steps, unsigned fail_one_in) {
    dbk_outbox_pool pool;
    dbk_outbox outbox;
    mirror m = {0};
    dbk_outbox_pool_init(&pool, &faults->allocator);
    dbk_outbox_init(&outbox, &pool);
    for (unsigned i = 0; i < steps; i++) {
        fault_allocator_fail(faults, fail_one_in > 0 && draw(fail_one_in) == 0 ? 1 : 0, false);
        switch (draw(5)) {
        case 0:
        case 1:
            append_copy(&outbox, &m);
            break;
        case 2:
            append_reserved(&outbox, &m);
            break;
        case 3:
            append_block(&outbox, &m, &faults->allocator);
            break;
        default:
            consume(&outbox, &m);
            break;
        }
        compare(&outbox, &m);
    }
    dbk_outbox_reset(&outbox);
    assert_int_equal(outbox.size, 0);
    dbk_outbox_pool_deinit(&pool);
    free(m.data);
    assert_int_equal(fault_allocator_live(faults), 0);
}

static void what_goes_in_comes_out(void **unused) {
    (void)unused;
    fault_allocator faults;
    fault_allocator_init(&faults);
    for (int round = 0; round < 20; round++) run_random(&faults, 200, 0);
}

static void a_failed_append_adds_nothing(void **unused) {
    (void)unused;
    fault_allocator faults;
    fault_allocator_init(&faults);
    for (int round = 0; round < 20; round++) run_random(&faults, 200, 3);
}

static void gathering_stops_at_its_bounds(void **unused) {
    (void)unused;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_outbox_pool pool;
    dbk_outbox outbox;
    dbk_outbox_pool_init(&pool, &faults.allocator);
    dbk_outbox_init(&outbox, &pool);
    dbk_block *block = dbk_block_new(&faults.allocator, 10000);
    assert_non_null(block);
    memset(block->data, 'x', 10000);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(dbk_outbox_append_block(&outbox, block, block->data, 10000), DAYBOOK_OK);
    }
    dbk_span spans[16];
    assert_int_equal(dbk_outbox_gather(&outbox, spans, 3, SIZE_MAX), 3);
    assert_int_equal(dbk_outbox_gather(&outbox, spans, 16, 25000), 2);
    assert_int_equal(dbk_outbox_gather(&outbox, spans, 16, 1), 1); // one always, or nothing would move
    assert_int_equal(block->reference_count, 11);
    dbk_outbox_consume(&outbox, 95000);
    assert_int_equal(block->reference_count, 2);
    dbk_outbox_reset(&outbox);
    assert_int_equal(block->reference_count, 1);
    dbk_block_unref(block);
    dbk_outbox_pool_deinit(&pool);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

static void references_do_not_cost_a_large_piece_each(void **unused) {
    (void)unused;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_outbox_pool pool;
    dbk_outbox outbox;
    dbk_outbox_pool_init(&pool, &faults.allocator);
    dbk_outbox_init(&outbox, &pool);
    dbk_block *block = dbk_block_new(&faults.allocator, 5000);
    assert_non_null(block);
    memset(block->data, 'x', 5000);
    uint64_t before = fault_allocator_live_bytes(&faults);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(dbk_outbox_append(&outbox, "MSG orders.created 1 5000\r\n", 27), DAYBOOK_OK);
        assert_int_equal(dbk_outbox_append_block(&outbox, block, block->data, 5000), DAYBOOK_OK);
        assert_int_equal(dbk_outbox_append(&outbox, "\r\n", 2), DAYBOOK_OK);
    }
    uint64_t each = (fault_allocator_live_bytes(&faults) - before) / 1000;
    assert_in_range(each, 1, 600);
    dbk_outbox_reset(&outbox);
    dbk_block_unref(block);
    dbk_outbox_pool_deinit(&pool);
}

static void memory_kept_for_reuse_is_bounded(void **unused) {
    (void)unused;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_outbox_pool pool;
    dbk_outbox outbox;
    dbk_outbox_pool_init(&pool, &faults.allocator);
    dbk_outbox_init(&outbox, &pool);
    static const uint8_t data[1000];
    for (int i = 0; i < 40000; i++)
        assert_int_equal(dbk_outbox_append(&outbox, data, sizeof data), DAYBOOK_OK);
    dbk_outbox_consume(&outbox, outbox.size);
    assert_in_range(fault_allocator_live_bytes(&faults), 1, 9 << 20);
    dbk_outbox_pool_deinit(&pool);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(a_failed_append_adds_nothing),
        cmocka_unit_test(gathering_stops_at_its_bounds),
        cmocka_unit_test(references_do_not_cost_a_large_piece_each),
        cmocka_unit_test(memory_kept_for_reuse_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
