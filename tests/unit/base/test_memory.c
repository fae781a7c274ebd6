// SPDX-License-Identifier: Apache-2.0
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "lib/fault_allocator.h"

static void allocating_nothing_gives_an_address(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    void *data = dbk_alloc(&faults.allocator, 0);
    assert_non_null(data);
    assert_int_equal(fault_allocator_live(&faults), 1);
    dbk_free(&faults.allocator, data);
    dbk_free(&faults.allocator, NULL);
    assert_int_equal(fault_allocator_live(&faults), 0);
    assert_int_equal(fault_allocator_live_bytes(&faults), 0);
}

static void an_array_too_large_for_the_address_space_is_refused(void **state) {
    (void)state;
    const daybook_allocator *allocator = dbk_allocator_default();
    uint32_t *data = dbk_resize_array(allocator, NULL, 4, sizeof *data);
    assert_non_null(data);
    data[3] = 9;
    assert_null(dbk_resize_array(allocator, data, SIZE_MAX / 2, sizeof *data));
    assert_int_equal(data[3], 9);
    dbk_free(allocator, data);
}

static void zeroed_memory_is_zero_and_text_ends_in_nul(void **state) {
    (void)state;
    const daybook_allocator *allocator = dbk_allocator_default();
    uint8_t *data = dbk_alloc_zeroed(allocator, 100);
    for (size_t i = 0; i < 100; i++) assert_int_equal(data[i], 0);
    dbk_free(allocator, data);
    char *text = dbk_copy_text(allocator, daybook_bytes("abcdef", 3));
    assert_string_equal(text, "abc");
    dbk_free(allocator, text);
    text = dbk_copy_text(allocator, daybook_bytes(NULL, 0));
    assert_string_equal(text, "");
    dbk_free(allocator, text);
}

static void buffer_keeps_what_is_appended(void **state) {
    (void)state;
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 1 << 20);
    for (uint32_t i = 0; i < 1000; i++) {
        dbk_buf_append_u8(&buf, (uint8_t)i);
        dbk_buf_append_u16(&buf, (uint16_t)i);
        dbk_buf_append_u32(&buf, i);
        dbk_buf_append_u64(&buf, (uint64_t)i << 32);
        dbk_buf_append_varint(&buf, i);
        dbk_buf_append_text(&buf, daybook_text("text"));
    }
    assert_int_equal(dbk_buf_status(&buf), DAYBOOK_OK);
    dbk_reader reader;
    dbk_reader_init(&reader, daybook_bytes(buf.data, buf.size));
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(dbk_read_u8(&reader), (uint8_t)i);
        assert_int_equal(dbk_read_u16(&reader), (uint16_t)i);
        assert_int_equal(dbk_read_u32(&reader), i);
        assert_true(dbk_read_u64(&reader) == (uint64_t)i << 32);
        assert_true(dbk_read_varint(&reader) == i);
        assert_true(dbk_slice_equal(dbk_read_text(&reader), daybook_text("text")));
    }
    assert_false(reader.failed);
    assert_int_equal(dbk_reader_left(&reader), 0);
    dbk_buf_deinit(&buf);
    dbk_buf_deinit(&buf);
}

static void buffer_at_its_maximum_fails_until_reset(void **state) {
    (void)state;
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 10);
    dbk_buf_append(&buf, "0123456789", 10);
    assert_int_equal(dbk_buf_status(&buf), DAYBOOK_OK);
    assert_int_equal(buf.capacity, 10);
    dbk_buf_append_u8(&buf, 'x');
    assert_int_equal(dbk_buf_status(&buf), DAYBOOK_ENOMEM);
    assert_int_equal(buf.size, 10);
    dbk_buf_append(&buf, "", 0); // stays failed
    assert_null(dbk_buf_reserve(&buf, 0));
    dbk_buf_reset(&buf);
    assert_int_equal(dbk_buf_status(&buf), DAYBOOK_OK);
    dbk_buf_append_u8(&buf, 'x');
    assert_int_equal(buf.size, 1);
    assert_null(dbk_buf_reserve(&buf, SIZE_MAX));
    dbk_buf_deinit(&buf);
}

static void buffer_without_memory_keeps_its_content(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_buf buf;
    dbk_buf_init(&buf, &faults.allocator, 1 << 20);
    dbk_buf_append(&buf, "kept", 4);
    fault_allocator_fail(&faults, 1, false);
    static const char filler[500];
    dbk_buf_append(&buf, filler, sizeof filler);
    assert_true(fault_allocator_has_failed(&faults));
    assert_int_equal(dbk_buf_status(&buf), DAYBOOK_ENOMEM);
    assert_int_equal(buf.size, 4);
    assert_memory_equal(buf.data, "kept", 4);
    dbk_buf_append(&buf, filler, sizeof filler); // memory is back, the sequence is not
    assert_int_equal(buf.size, 4);
    dbk_buf_deinit(&buf);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

static void reserving_nothing_succeeds(void **state) {
    (void)state;
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 100);
    assert_non_null(dbk_buf_reserve(&buf, 0));
    dbk_buf_append(&buf, NULL, 0);
    assert_int_equal(buf.size, 0);
    dbk_buf_deinit(&buf);
}

static void arena_memory_is_aligned_and_does_not_move(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_arena *arena = NULL;
    assert_int_equal(dbk_arena_new(&faults.allocator, 512, &arena), DAYBOOK_OK);
    uint8_t *parts[300];
    for (size_t i = 0; i < 300; i++) {
        size_t size = i % 40 == 39 ? 2000 : i % 40;
        parts[i] = dbk_arena_alloc(arena, size);
        assert_non_null(parts[i]);
        assert_int_equal((uintptr_t)parts[i] % 8, 0);
        memset(parts[i], (int)(i % 256), size);
    }
    for (size_t i = 0; i < 300; i++) {
        size_t size = i % 40 == 39 ? 2000 : i % 40;
        for (size_t k = 0; k < size; k++) assert_int_equal(parts[i][k], i % 256);
    }
    assert_int_equal(dbk_arena_bytes(arena), fault_allocator_live_bytes(&faults));
    dbk_arena_reset(arena);
    assert_int_equal(fault_allocator_live(&faults), 2); // the arena and one chunk
    assert_int_equal(dbk_arena_bytes(arena), fault_allocator_live_bytes(&faults));
    assert_non_null(dbk_arena_alloc(arena, 100));
    assert_int_equal(fault_allocator_live(&faults), 2);
    dbk_arena_free(arena);
    dbk_arena_free(NULL);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

static void a_large_request_does_not_waste_the_current_chunk(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_arena *arena = NULL;
    assert_int_equal(dbk_arena_new(&faults.allocator, 4096, &arena), DAYBOOK_OK);
    uint8_t *first = dbk_arena_alloc(arena, 16);
    assert_non_null(dbk_arena_alloc(arena, 100000));
    uint8_t *second = dbk_arena_alloc(arena, 16);
    assert_ptr_equal(second, first + 16);
    dbk_arena_free(arena);
}

static void arena_without_memory_says_so_and_leaks_nothing(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_arena *arena = NULL;
    fault_allocator_fail(&faults, 1, false);
    assert_int_equal(dbk_arena_new(&faults.allocator, 512, &arena), DAYBOOK_ENOMEM);
    assert_null(arena);
    assert_int_equal(dbk_arena_new(&faults.allocator, 512, &arena), DAYBOOK_OK);
    fault_allocator_fail(&faults, 1, false);
    assert_null(dbk_arena_alloc(arena, 8));
    assert_null(dbk_arena_alloc(arena, SIZE_MAX));
    assert_null(dbk_arena_alloc(arena, SIZE_MAX - 32));
    assert_non_null(dbk_arena_alloc(arena, 8));
    dbk_arena_free(arena);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

static void a_text_in_an_arena_ends_in_nul(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_arena *arena = NULL;
    assert_int_equal(dbk_arena_new(&faults.allocator, 256, &arena), DAYBOOK_OK);
    memset(dbk_arena_alloc(arena, 256), 'x', 256); // so that a NUL is there only where one is written
    dbk_arena_reset(arena);
    dbk_slice eight = dbk_arena_copy_text(arena, daybook_bytes("12345678910", 8));
    assert_int_equal(eight.size, 8);
    assert_string_equal(eight.data, "12345678");
    dbk_slice nothing = dbk_arena_copy_text(arena, daybook_bytes(NULL, 0));
    assert_int_equal(nothing.size, 0);
    assert_string_equal(nothing.data, "");
    dbk_slice bytes = dbk_arena_copy_text(arena, daybook_bytes("a\0b", 3));
    assert_int_equal(bytes.size, 3);
    assert_memory_equal(bytes.data, "a\0b", 4);
    assert_null(dbk_arena_copy_text(arena, daybook_bytes("", SIZE_MAX)).data);
    fault_allocator_fail(&faults, 1, false);
    static const char large[1000];
    dbk_slice none = dbk_arena_copy_text(arena, daybook_bytes(large, sizeof large));
    assert_null(none.data);
    assert_int_equal(none.size, 0);
    dbk_arena_free(arena);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

static void fault_allocator_fails_once_or_for_ever(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    fault_allocator_fail(&faults, 2, false);
    void *a = dbk_alloc(&faults.allocator, 10);
    assert_non_null(a);
    assert_null(dbk_alloc(&faults.allocator, 10));
    void *b = dbk_alloc(&faults.allocator, 20);
    assert_non_null(b);
    fault_allocator_fail(&faults, 1, true);
    assert_false(fault_allocator_has_failed(&faults));
    assert_null(dbk_alloc(&faults.allocator, 10));
    assert_null(dbk_alloc(&faults.allocator, 10));
    assert_true(fault_allocator_has_failed(&faults));
    fault_allocator_fail(&faults, 0, false);
    a = dbk_resize_array(&faults.allocator, a, 100, 1);
    assert_non_null(a);
    assert_int_equal(fault_allocator_live_bytes(&faults), 120);
    dbk_free(&faults.allocator, a);
    dbk_free(&faults.allocator, b);
    assert_int_equal(fault_allocator_live(&faults), 0);
    assert_int_equal(fault_allocator_peak_bytes(&faults), 120);
}

static void a_grown_array_doubles_and_stays_as_it_was_without_memory(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    size_t capacity = 0;
    uint32_t *data = dbk_grow_array(&faults.allocator, NULL, &capacity, 1, sizeof *data);
    assert_non_null(data);
    assert_int_equal(capacity, 16);
    data[15] = 7;
    assert_ptr_equal(dbk_grow_array(&faults.allocator, data, &capacity, 16, sizeof *data), data);
    fault_allocator_fail(&faults, 1, false);
    assert_null(dbk_grow_array(&faults.allocator, data, &capacity, 17, sizeof *data));
    assert_int_equal(capacity, 16);
    assert_int_equal(data[15], 7);
    data = dbk_grow_array(&faults.allocator, data, &capacity, 17, sizeof *data);
    assert_non_null(data);
    assert_int_equal(capacity, 32);
    data = dbk_grow_array(&faults.allocator, data, &capacity, 100, sizeof *data);
    assert_non_null(data);
    assert_int_equal(capacity, 100);
    assert_int_equal(data[15], 7);
    dbk_free(&faults.allocator, data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocating_nothing_gives_an_address),
        cmocka_unit_test(an_array_too_large_for_the_address_space_is_refused),
        cmocka_unit_test(a_grown_array_doubles_and_stays_as_it_was_without_memory),
        cmocka_unit_test(zeroed_memory_is_zero_and_text_ends_in_nul),
        cmocka_unit_test(buffer_keeps_what_is_appended),
        cmocka_unit_test(buffer_at_its_maximum_fails_until_reset),
        cmocka_unit_test(buffer_without_memory_keeps_its_content),
        cmocka_unit_test(reserving_nothing_succeeds),
        cmocka_unit_test(arena_memory_is_aligned_and_does_not_move),
        cmocka_unit_test(a_large_request_does_not_waste_the_current_chunk),
        cmocka_unit_test(arena_without_memory_says_so_and_leaks_nothing),
        cmocka_unit_test(a_text_in_an_arena_ends_in_nul),
        cmocka_unit_test(fault_allocator_fails_once_or_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
