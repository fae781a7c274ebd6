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

// A page made by hand: `entries` behind the level byte, then the restarts given.
static dbk_slice hand_made(uint8_t level, const dbk_buf *entries, const uint16_t *restarts, size_t count) {
    static uint8_t bytes[DBK_TERM_PAGE_SIZE_MAX + 100];
    bytes[0] = level;
    if (entries->size > 0) memcpy(bytes + 1, entries->data, entries->size);
    size_t size = 1 + entries->size;
    for (size_t i = 0; i < count; i++, size += 2) dbk_put_u16(bytes + size, restarts[i]);
    dbk_put_u16(bytes + size, (uint16_t)count);
    return daybook_bytes(bytes, size + 2);
}

// The statuses of walking a page with one restart at its first entry.
static daybook_status walk(uint8_t level, const dbk_buf *entries, unsigned *count_out) {
    static dbk_term_cursor cursor;
    static const uint16_t first[] = {1};
    dbk_term_page page;
    assert_true(dbk_term_page_open(hand_made(level, entries, first, 1), &page));
    dbk_term_cursor_init(&cursor, &page);
    daybook_status status;
    for (*count_out = 0; (status = dbk_term_cursor_next(&cursor)) == DAYBOOK_OK;) ++*count_out;
    return status;
}

static void put_entry(dbk_buf *buf, uint64_t shared, const char *rest, const uint64_t *numbers,
                      size_t count) {
    dbk_buf_append_varint(buf, shared);
    dbk_buf_append_text(buf, daybook_text(rest));
    for (size_t i = 0; i < count; i++) dbk_buf_append_varint(buf, numbers[i]);
}

#define HEAD(count, form) ((uint64_t)(count) << 2 | (form))
#define BACK (UINT64_C(1)) // zigzag of -1

static void each_contradiction_of_a_leaf_is_refused(void **state) {
    (void)state;
    static const char subject[] = {DBK_TERM_SUBJECT, 'a', 0}, aggregate[] = {DBK_TERM_AGGREGATE, 'a', 0},
                      id[] = {DBK_TERM_ID, 'a', 0}, dead[] = {DBK_TERM_DEAD_ID, 'a', 0};
    const struct {
        bool is_sound;
        const char *term;
        size_t count;
        uint64_t numbers[7];
    } cases[] = {
        {true, subject, 1, {HEAD(0, 0)}},
        {false, subject, 1, {HEAD(0, 1)}},               // a form without numbers
        {false, subject, 3, {HEAD(1, 0), 0, 0}},         // numbers without a form
        {false, subject, 0, {0}},                        // cut
        {true, subject, 3, {HEAD(1, 1), 0, 0}},          // first, lead of the seq
        {false, subject, 2, {HEAD(1, 1), 0}},            // without the lead
        {true, id, 2, {HEAD(1, 1), 0}},                  // ids have none
        {true, aggregate, 4, {HEAD(1, 1), 0, 0, 9}},     // and a version
        {false, aggregate, 3, {HEAD(1, 1), 0, 0}},       // without
        {false, id, 2, {HEAD(1, 1), BACK}},              // before the first number
        {false, id, 2, {HEAD(1, 1), UINT64_C(1) << 33}}, // behind the last
        {false, id, 2, {HEAD(DBK_POSTINGS_INLINE_COUNT_MAX + 1, 1), 0}},
        {false, id, 2, {HEAD(2, 1), 0}},         // the second number is missing
        {true, id, 5, {HEAD(2, 2), 0, 1, 0, 1}}, // first, span, offset, size
        {true, id, 5, {HEAD(2, 3), 0, 1, 0, 1}},
        {false, id, 5, {HEAD(2, 2), 0, 1, 0, 0}},
        {false, id, 5, {HEAD(2, 2), 0, 1, 0, UINT64_C(1) << 31}},
        {false, id, 5, {HEAD(3, 2), 0, 1, 0, 1}}, // more numbers than the span holds
        {false, id, 5, {HEAD(2, 2), 2, UINT32_MAX, 0, 1}},
        {true, dead, 1, {5 << 1 | 1}},
        {true, dead, 2, {5 << 1, 7}},
        {false, dead, 1, {5 << 1}},
        {false, dead, 1, {UINT64_C(1) << 33 | 1}}, // no stream has such an id
        {false, "", 1, {HEAD(0, 0)}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dbk_buf buf;
        dbk_buf_init(&buf, dbk_allocator_default(), DBK_TERM_PAGE_SIZE_MAX);
        put_entry(&buf, 0, cases[i].term, cases[i].numbers, cases[i].count);
        unsigned count;
        daybook_status status = walk(0, &buf, &count);
        if (status != (cases[i].is_sound ? DAYBOOK_END : DAYBOOK_EDAMAGED)) fail_msg("case %zu", i);
        assert_int_equal(count, cases[i].is_sound ? 1 : 0);
        dbk_buf_deinit(&buf);
    }
    // Numbers that are sound but need more bytes than a list inside a page has.
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), DBK_TERM_PAGE_SIZE_MAX);
    const uint64_t head[] = {HEAD(30, 1), 0};
    put_entry(&buf, 0, id, head, 2);
    for (unsigned i = 0; i < 29; i++) dbk_buf_append_varint(&buf, 200);
    unsigned count;
    assert_int_equal(walk(0, &buf, &count), DAYBOOK_EDAMAGED);
    dbk_buf_deinit(&buf);
}

static void each_contradiction_of_a_term_is_refused(void **state) {
    (void)state;
    static char text[DBK_TERM_SIZE_MAX + 2];
    memset(text, 'x', DBK_TERM_SIZE_MAX + 1);
    const struct {
        unsigned sound; // entries before the damage
        uint64_t shared[2];
        const char *rest[2];
    } cases[] = {
        {2, {0, 1}, {"ab", "c"}},      {1, {0, 3}, {"ab", "c"}}, // shares more than there was
        {0, {1, 0}, {"ab", "c"}},                                // shares with nothing
        {0, {0, 0}, {text, "c"}},                                // too long
        {1, {0, 2}, {"ab", text + 2}},
    };
    static const uint64_t child[] = {100, 10};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dbk_buf buf;
        dbk_buf_init(&buf, dbk_allocator_default(), DBK_TERM_PAGE_SIZE_MAX);
        for (size_t j = 0; j < 2; j++) put_entry(&buf, cases[i].shared[j], cases[i].rest[j], child, 2);
        unsigned count;
        assert_int_equal(walk(1, &buf, &count), cases[i].sound == 2 ? DAYBOOK_END : DAYBOOK_EDAMAGED);
        assert_int_equal(count, cases[i].sound);
        // Cut anywhere but between the entries.
        if (i == 0) {
            size_t whole = buf.size;
            for (buf.size = 1; buf.size < whole; buf.size++)
                assert_int_equal(walk(1, &buf, &count),
                                 buf.size == whole / 2 + 1 ? DAYBOOK_END : DAYBOOK_EDAMAGED);
        }
        dbk_buf_deinit(&buf);
    }
    static const uint64_t bad_children[][2] = {{100, 0}, {100, DBK_TERM_PAGE_SIZE_MAX + 1}};
    for (size_t i = 0; i < 2; i++) {
        dbk_buf buf;
        dbk_buf_init(&buf, dbk_allocator_default(), DBK_TERM_PAGE_SIZE_MAX);
        put_entry(&buf, 0, "ab", bad_children[i], 2);
        unsigned count;
        assert_int_equal(walk(1, &buf, &count), DAYBOOK_EDAMAGED);
        dbk_buf_deinit(&buf);
    }
}

static void sizes_that_are_no_page_are_refused(void **state) {
    (void)state;
    static uint8_t bytes[DBK_TERM_PAGE_SIZE_MAX + 1];
    dbk_term_page page;
    memset(bytes, 0, sizeof bytes);
    assert_false(dbk_term_page_open(daybook_bytes(bytes, 4), &page));
    assert_false(dbk_term_page_open(daybook_bytes(bytes, 5), &page)); // no restart
    bytes[3] = 1;
    assert_true(dbk_term_page_open(daybook_bytes(bytes, 5), &page));
    bytes[3] = 2;
    assert_false(dbk_term_page_open(daybook_bytes(bytes, 5), &page)); // restarts over the level
    bytes[sizeof bytes - 2] = 1;
    assert_false(dbk_term_page_open(daybook_bytes(bytes, sizeof bytes), &page));
}

// Four entries, "a" to "d", all of them restarts by the table. What a table says is believed only where it
// leads to a whole term.
static void restarts_that_lead_nowhere_are_refused(void **state) {
    (void)state;
    static const uint64_t child[] = {100, 10};
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), DBK_TERM_PAGE_SIZE_MAX);
    for (char text[2] = "a"; text[0] <= 'd'; text[0]++) put_entry(&buf, 0, text, child, 2);
    uint16_t size = (uint16_t)(buf.size / 4);
    uint16_t end = (uint16_t)(1 + buf.size);
    static dbk_term_cursor cursor;
    const struct {
        bool is_sound;
        const char *term;
        uint16_t restarts[3];
    } cases[] = {
        {true, "a", {1, (uint16_t)(1 + size), (uint16_t)(1 + 2 * size)}},
        {true, "cc", {1, (uint16_t)(1 + size), (uint16_t)(1 + 2 * size)}},
        {false, "c", {1, 0, (uint16_t)(1 + 2 * size)}},
        {false, "c", {1, end, (uint16_t)(1 + 2 * size)}},
        {false, "c", {1, (uint16_t)(end - 1), (uint16_t)(1 + 2 * size)}},      // the term is cut
        {false, "c", {1, (uint16_t)(1 + size + 1), (uint16_t)(1 + 2 * size)}}, // shares something
        {false, "a", {0, (uint16_t)(1 + size), (uint16_t)(1 + 2 * size)}},
        {false, "a", {(uint16_t)(end + 1), (uint16_t)(1 + size), (uint16_t)(1 + 2 * size)}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dbk_term_page page;
        assert_true(dbk_term_page_open(hand_made(1, &buf, cases[i].restarts, 3), &page));
        for (unsigned way = 0; way < 3; way++) {
            dbk_term_cursor_init(&cursor, &page);
            dbk_slice term = daybook_text(cases[i].term);
            daybook_status status = way < 2 ? dbk_term_cursor_seek_child(&cursor, term, way == 1)
                                            : dbk_term_cursor_seek(&cursor, term);
            if (status != (cases[i].is_sound ? DAYBOOK_OK : DAYBOOK_EDAMAGED)) fail_msg("case %zu", i);
        }
        // A cursor that stands outside goes nowhere.
        if (i == 7) assert_int_equal(dbk_term_cursor_next(&cursor), DAYBOOK_EDAMAGED);
    }
    dbk_buf_deinit(&buf);
}

static void seeking_meets_damage_behind_the_restart(void **state) {
    (void)state;
    static const uint64_t sound[] = {100, 10}, bad[] = {100, 0};
    static const uint16_t first[] = {1};
    for (unsigned damaged = 0; damaged < 3; damaged++) {
        dbk_buf buf;
        dbk_buf_init(&buf, dbk_allocator_default(), DBK_TERM_PAGE_SIZE_MAX);
        for (unsigned i = 0; i < 3; i++) {
            const char text[2] = {(char)('a' + i), 0};
            put_entry(&buf, 0, text, i == damaged ? bad : sound, 2);
        }
        dbk_term_page page;
        static dbk_term_cursor cursor;
        assert_true(dbk_term_page_open(hand_made(1, &buf, first, 1), &page));
        dbk_term_cursor_init(&cursor, &page);
        assert_int_equal(dbk_term_cursor_seek_child(&cursor, daybook_text("z"), true), DAYBOOK_EDAMAGED);
        assert_int_equal(dbk_term_cursor_seek(&cursor, daybook_text("z")), DAYBOOK_EDAMAGED);
        dbk_buf_deinit(&buf);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_come_back),
        cmocka_unit_test(higher_pages_lead_to_the_child),
        cmocka_unit_test(separators_are_short_and_between),
        cmocka_unit_test(malformed_pages_are_refused_or_safe),
        cmocka_unit_test(each_contradiction_of_a_leaf_is_refused),
        cmocka_unit_test(each_contradiction_of_a_term_is_refused),
        cmocka_unit_test(sizes_that_are_no_page_are_refused),
        cmocka_unit_test(restarts_that_lead_nowhere_are_refused),
        cmocka_unit_test(seeking_meets_damage_behind_the_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
