// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "index/term_page.h"

static uint64_t random_state = 5;

static uint64_t random_below(uint64_t bound) { // splitmix64
    uint64_t mixed = random_state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (mixed ^ (mixed >> 31)) % bound;
}

enum { TERMS_MAX = 2000 };
static dbk_term terms[TERMS_MAX];
static dbk_term_value values[TERMS_MAX];

static int compare_terms(const void *a, const void *b) {
    return dbk_slice_compare(dbk_term_slice(a), dbk_term_slice(b));
}

// Sorted and distinct; how many.
static size_t make_terms(void) {
    for (size_t i = 0; i < TERMS_MAX; i++) {
        static const uint8_t kinds[] = {DBK_TERM_SUBJECT, DBK_TERM_AGGREGATE, DBK_TERM_TAG, DBK_TERM_ID,
                                        DBK_TERM_DEAD_ID};
        terms[i].bytes[0] = kinds[random_below(5)];
        size_t size = random_below(50) == 0 ? random_below(DBK_TERM_SIZE_MAX - 1) : random_below(20);
        for (size_t j = 0; j < size; j++) terms[i].bytes[1 + j] = (uint8_t)('a' + random_below(3));
        terms[i].size = 1 + size;
    }
    qsort(terms, TERMS_MAX, sizeof *terms, compare_terms);
    size_t kept = 0;
    for (size_t i = 0; i < TERMS_MAX; i++)
        if (i == 0 || compare_terms(&terms[i], &terms[kept - 1]) != 0) terms[kept++] = terms[i];
    return kept;
}

static void make_value(const dbk_term *term, dbk_term_value *value) {
    memset(value, 0, sizeof *value);
    if (term->bytes[0] == DBK_TERM_DEAD_ID) {
        value->dead_stream_id = (uint32_t)random_below(UINT32_MAX);
        value->dead_for_ever = random_below(2) == 0;
        if (!value->dead_for_ever) value->dead_removed_ns = (int64_t)(random_below(UINT64_MAX));
        return;
    }
    value->form = (dbk_postings_form)random_below(4);
    if (value->form == DBK_POSTINGS_INLINE) {
        uint32_t numbers[4] = {(uint32_t)random_below(1000000)};
        value->count = 1 + random_below(4);
        for (uint64_t i = 1; i < value->count; i++)
            numbers[i] = numbers[i - 1] + 1 + (uint32_t)random_below(100000);
        value->first = numbers[0];
        value->last = numbers[value->count - 1];
        value->inline_size =
            (uint8_t)dbk_postings_encode_inline(numbers, (size_t)value->count, value->inline_bytes);
    } else if (value->form != DBK_POSTINGS_NONE) {
        value->first = (uint32_t)random_below(UINT32_MAX / 2);
        value->last = value->first + (uint32_t)random_below(UINT32_MAX / 2);
        value->count = 1 + random_below((uint64_t)value->last - value->first + 1);
        value->postings_offset = random_below(UINT64_MAX / 4);
        value->postings_size = 1 + (uint32_t)random_below(100000);
    }
    if (value->count > 0 && term->bytes[0] != DBK_TERM_ID) value->last_seq = random_below(UINT64_MAX);
    if (term->bytes[0] == DBK_TERM_AGGREGATE) value->last_version = random_below(UINT64_MAX);
}

static void assert_same_value(const dbk_term_value *a, const dbk_term_value *b) {
    assert_int_equal(a->form, b->form);
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->first, b->first);
    assert_int_equal(a->last, b->last);
    assert_int_equal(a->last_seq, b->last_seq);
    assert_int_equal(a->last_version, b->last_version);
    assert_int_equal(a->postings_offset, b->postings_offset);
    assert_int_equal(a->postings_size, b->postings_size);
    assert_int_equal(a->inline_size, b->inline_size);
    assert_memory_equal(a->inline_bytes, b->inline_bytes, a->inline_size);
}

static void check_leaf(dbk_slice bytes, size_t first, size_t end) {
    dbk_term_page page;
    static dbk_term_cursor cursor;
    assert_true(dbk_term_page_open(bytes, &page));
    dbk_term_cursor_init(&cursor, &page);
    for (size_t i = first; i < end; i++) {
        assert_int_equal(dbk_term_cursor_next(&cursor), DAYBOOK_OK);
        assert_true(dbk_slice_equal(dbk_term_slice(&cursor.term), dbk_term_slice(&terms[i])));
        if (terms[i].bytes[0] == DBK_TERM_DEAD_ID) {
            assert_int_equal(cursor.value.dead_stream_id, values[i].dead_stream_id);
            assert_int_equal(cursor.value.dead_for_ever, values[i].dead_for_ever);
            assert_int_equal(cursor.value.dead_removed_ns, values[i].dead_removed_ns);
        } else {
            assert_same_value(&cursor.value, &values[i]);
        }
    }
    assert_int_equal(dbk_term_cursor_next(&cursor), DAYBOOK_END);
    for (size_t i = first; i < end; i++) {
        assert_int_equal(dbk_term_cursor_seek(&cursor, dbk_term_slice(&terms[i])), DAYBOOK_OK);
        assert_true(dbk_slice_equal(dbk_term_slice(&cursor.term), dbk_term_slice(&terms[i])));
        assert_int_equal(cursor.value.count, values[i].count);
        // Between this one and the next.
        dbk_term between = terms[i];
        if (between.size < DBK_TERM_SIZE_MAX) between.bytes[between.size++] = 0;
        daybook_status status = dbk_term_cursor_seek(&cursor, dbk_term_slice(&between));
        assert_int_equal(status, i + 1 < end ? DAYBOOK_OK : DAYBOOK_END);
        if (i + 1 < end)
            assert_true(dbk_slice_equal(dbk_term_slice(&cursor.term), dbk_term_slice(&terms[i + 1])));
    }
}

static void leaves_come_back(void **state) {
    (void)state;
    static dbk_term_page_builder builder;
    for (unsigned round = 0; round < 20; round++) {
        size_t count = make_terms(), first = 0;
        dbk_term_page_begin(&builder, 0);
        for (size_t i = 0; i < count; i++) {
            make_value(&terms[i], &values[i]);
            if (dbk_term_page_is_full(&builder)) {
                check_leaf(dbk_term_page_finish(&builder), first, i);
                dbk_term_page_begin(&builder, 0);
                first = i;
            }
            dbk_term_page_add_leaf(&builder, dbk_term_slice(&terms[i]), &values[i]);
        }
        check_leaf(dbk_term_page_finish(&builder), first, count);
    }
}

static void higher_pages_lead_to_the_child(void **state) {
    (void)state;
    static dbk_term_page_builder builder;
    static dbk_term_cursor cursor;
    dbk_term_page_begin(&builder, 3);
    dbk_term_page_add_child(&builder, daybook_bytes(NULL, 0), 1000, 1);
    char text[16];
    unsigned count = 1;
    for (; !dbk_term_page_is_full(&builder); count++) {
        (void)snprintf(text, sizeof text, "k%04u", count * 2);
        dbk_term_page_add_child(&builder, daybook_text(text), 1000 + count, count + 1);
    }
    dbk_term_page page;
    assert_true(dbk_term_page_open(dbk_term_page_finish(&builder), &page));
    assert_int_equal(page.level, 3);
    for (unsigned i = 0; i < count * 2; i++) {
        (void)snprintf(text, sizeof text, "k%04u", i);
        for (int to_walk_on = 0; to_walk_on < 2; to_walk_on++) {
            dbk_term_cursor_init(&cursor, &page);
            assert_int_equal(dbk_term_cursor_seek_child(&cursor, daybook_text(text), to_walk_on != 0),
                             DAYBOOK_OK);
            assert_int_equal(cursor.child_offset, 1000 + i / 2);
            assert_int_equal(cursor.child_size, i / 2 + 1);
        }
        daybook_status status = dbk_term_cursor_next(&cursor);
        assert_int_equal(status, i / 2 + 1 < count ? DAYBOOK_OK : DAYBOOK_END);
        if (status == DAYBOOK_OK) assert_int_equal(cursor.child_offset, 1000 + i / 2 + 1);
    }
}

static void separators_are_short_and_between(void **state) {
    (void)state;
    size_t count = make_terms();
    for (size_t i = 1; i < count; i++) {
        dbk_slice before = dbk_term_slice(&terms[i - 1]), term = dbk_term_slice(&terms[i]);
        dbk_slice separator = dbk_term_separator(before, term);
        assert_true(dbk_slice_compare(before, separator) < 0);
        assert_true(dbk_slice_compare(separator, term) <= 0);
        assert_true(separator.size <= term.size);
    }
}

static void malformed_pages_are_refused_or_safe(void **state) {
    (void)state;
    static dbk_term_page_builder builder;
    static dbk_term_cursor cursor;
    size_t count = make_terms();
    dbk_term_page_begin(&builder, 0);
    for (size_t i = 0; i < count && !dbk_term_page_is_full(&builder); i++) {
        make_value(&terms[i], &values[i]);
        dbk_term_page_add_leaf(&builder, dbk_term_slice(&terms[i]), &values[i]);
    }
    dbk_slice sound = dbk_term_page_finish(&builder);
    for (unsigned round = 0; round < 3000; round++) {
        size_t size = round % 3 == 0 ? random_below(sound.size) : sound.size;
        uint8_t *bytes = malloc(size + 1);
        memcpy(bytes, sound.data, size);
        for (unsigned i = 0; i < 4 && size > 0; i++) bytes[random_below(size)] = (uint8_t)random_below(256);
        if (size > 0) bytes[0] = (uint8_t)random_below(2);
        dbk_term_page page;
        if (dbk_term_page_open(daybook_bytes(bytes, size), &page)) {
            dbk_term_cursor_init(&cursor, &page);
            while (dbk_term_cursor_next(&cursor) == DAYBOOK_OK)
                assert_true(cursor.term.size <= DBK_TERM_SIZE_MAX);
            for (unsigned i = 0; i < 10; i++) {
                dbk_slice term = dbk_term_slice(&terms[random_below(count)]);
                if (page.level == 0)
                    (void)dbk_term_cursor_seek(&cursor, term);
                else
                    (void)dbk_term_cursor_seek_child(&cursor, term, true);
            }
        }
        free(bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_come_back),
        cmocka_unit_test(higher_pages_lead_to_the_child),
        cmocka_unit_test(separators_are_short_and_between),
        cmocka_unit_test(malformed_pages_are_refused_or_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
