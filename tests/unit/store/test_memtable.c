// SPDX-License-Identifier: Apache-2.0
// The memory table: what was inserted is found by position, version, id, seq and term, in both directions.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "store/memtable.h"

enum { FIRST = 1000, COUNT = 600 };

static dbk_memtable *memtable;

// Event number i: stream 1 or 2, ten aggregates, a tag on every third; numbers divisible by 50 leave a gap.
static void add(uint64_t number) {
    char subject[64], id[32];
    daybook_event said;
    daybook_event_init(&said);
    (void)snprintf(subject, sizeof subject, "a.%d.x", (int)(number % 10));
    (void)snprintf(id, sizeof id, "id-%d", (int)number);
    daybook_slice tag = daybook_text("third");
    said.subject = daybook_text(subject);
    said.id = daybook_text(id);
    said.data = daybook_text("{}");
    said.tags = &tag;
    said.tag_count = number % 3 == 0 ? 1 : 0;
    dbk_buf body;
    dbk_buf_init(&body, dbk_allocator_default(), 1 << 20);
    const uint8_t made[16] = {0};
    assert_int_equal(dbk_event_encode_body(&said, 3, made, &body, NULL), DAYBOOK_OK);
    dbk_event event = {.stream_id = (uint32_t)(number % 2 + 1),
                       .position = FIRST + number,
                       .seq = number / 2 + 1,
                       .version = number / 10 + 1,
                       .recorded_ns = (int64_t)number};
    assert_int_equal(dbk_event_decode_body(daybook_bytes(body.data, body.size), &event), DAYBOOK_OK);
    assert_int_equal(dbk_memtable_add(memtable, &event), DAYBOOK_OK);
    dbk_buf_deinit(&body);
}

static int fill(void **state) {
    (void)state;
    if (dbk_memtable_new(dbk_allocator_default(), FIRST, &memtable) != DAYBOOK_OK) return -1;
    for (uint64_t i = 0; i < COUNT; i++) {
        if (i % 50 != 0) add(i);
    }
    return 0;
}

static int drop(void **state) {
    (void)state;
    dbk_memtable_unref(memtable);
    return 0;
}

static void an_event_is_found_at_its_position(void **state) {
    (void)state;
    dbk_event event;
    assert_int_equal(dbk_memtable_get(memtable, FIRST + 7, &event), DAYBOOK_OK);
    assert_int_equal(event.position, FIRST + 7);
    assert_int_equal(event.version, 1);
    assert_int_equal(dbk_memtable_get(memtable, FIRST + 50, &event), DAYBOOK_ENOTFOUND);
    assert_int_equal(dbk_memtable_get(memtable, FIRST - 1, &event), DAYBOOK_ENOTFOUND);
    assert_int_equal(dbk_memtable_get(memtable, FIRST + COUNT, &event), DAYBOOK_ENOTFOUND);
    assert_int_equal(dbk_memtable_position_end(memtable), FIRST + COUNT);
}

static uint64_t hash_of(dbk_term *term, dbk_term_kind kind, uint32_t stream_id, const char *value) {
    dbk_term_make(term, kind, stream_id, daybook_text(value));
    return dbk_term_hash(dbk_term_slice(term));
}

static void versions_and_ids_are_known_by_stream(void **state) {
    (void)state;
    dbk_term term;
    uint64_t version, position;
    uint64_t hash = hash_of(&term, DBK_TERM_AGGREGATE, 2, "a.3");
    assert_true(dbk_memtable_find_version(memtable, 2, daybook_text("a.3"), hash, &version));
    assert_int_equal(version, 60);
    hash = hash_of(&term, DBK_TERM_AGGREGATE, 1, "a.3");
    assert_false(dbk_memtable_find_version(memtable, 1, daybook_text("a.3"), hash, &version));
    uint8_t scratch[DBK_KEY_SIZE_MAX];
    dbk_slice key = dbk_key_encode(daybook_text("id-17"), scratch);
    assert_true(dbk_memtable_find_id(memtable, 2, key, dbk_memtable_id_hash(2, key), &position));
    assert_int_equal(position, FIRST + 17);
    assert_false(dbk_memtable_find_id(memtable, 1, key, dbk_memtable_id_hash(1, key), &position));
}

static int has_term(uint64_t number, const char *what) {
    if (number % 50 == 0) return 0;
    if (strcmp(what, "tag") == 0) return number % 3 == 0;
    if (strcmp(what, "aggregate") == 0) return number % 10 == 3;
    return number % 2 == 1; // stream 2
}

static void postings_page_in_both_directions(void **state) {
    (void)state;
    const char *const kinds[] = {"tag", "aggregate", "stream"};
    for (size_t kind = 0; kind < 3; kind++) {
        dbk_term term;
        if (kind == 0) (void)hash_of(&term, DBK_TERM_TAG, 0, "third");
        if (kind == 1) (void)hash_of(&term, DBK_TERM_AGGREGATE, 2, "a.3");
        if (kind == 2) (void)hash_of(&term, DBK_TERM_STREAM, 2, "");
        uint64_t positions[7], next = 0, last = UINT64_MAX;
        size_t count = 0, at = 0;
        for (uint64_t number = 0; number < COUNT; number++) {
            if (!has_term(number, kinds[kind])) continue;
            if (at == count) {
                assert_int_equal(dbk_memtable_postings(memtable, dbk_term_slice(&term), next, UINT64_MAX,
                                                       positions, 7, &count),
                                 DAYBOOK_OK);
                at = 0;
            }
            assert_true(at < count);
            assert_int_equal(positions[at], FIRST + number);
            next = positions[at++] + 1;
        }
        count = at = 0;
        for (uint64_t number = COUNT; number-- > 0;) {
            if (!has_term(number, kinds[kind])) continue;
            if (at == count) {
                assert_int_equal(dbk_memtable_postings_back(memtable, dbk_term_slice(&term), 0, last,
                                                            positions, 7, &count),
                                 DAYBOOK_OK);
                at = 0;
            }
            assert_true(at < count);
            assert_int_equal(positions[at], FIRST + number);
            last = positions[at++] - 1;
        }
    }
}

static void a_seq_is_found_by_halving(void **state) {
    (void)state;
    for (uint64_t number = 1; number < COUNT; number += 2) {
        if (number % 50 == 0) continue;
        assert_in_range(dbk_memtable_find_seq(memtable, 2, number / 2 + 1), FIRST, FIRST + number);
        dbk_event event;
        uint64_t position = dbk_memtable_find_seq(memtable, 2, number / 2 + 1);
        while (dbk_memtable_get(memtable, position, &event) != DAYBOOK_OK || event.stream_id != 2) position++;
        assert_int_equal(event.seq, number / 2 + 1);
    }
    assert_int_equal(dbk_memtable_find_seq(memtable, 2, COUNT), FIRST + COUNT);
}

static void a_floor_is_remembered_by_subject(void **state) {
    (void)state;
    assert_int_equal(dbk_memtable_subject_floor(memtable, 2, daybook_text("a.3.x")), 0);
    dbk_memtable_set_subject_floor(memtable, 2, daybook_text("a.3.x"), FIRST + 9);
    dbk_memtable_set_subject_floor(memtable, 2, daybook_text("a.3.x"), FIRST + 5);
    assert_int_equal(dbk_memtable_subject_floor(memtable, 2, daybook_text("a.3.x")), FIRST + 9);
    assert_int_equal(dbk_memtable_subject_floor(memtable, 2, daybook_text("a.5.x")), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_found_at_its_position),
        cmocka_unit_test(versions_and_ids_are_known_by_stream),
        cmocka_unit_test(postings_page_in_both_directions),
        cmocka_unit_test(a_seq_is_found_by_halving),
        cmocka_unit_test(a_floor_is_remembered_by_subject),
    };
    return cmocka_run_group_tests(tests, fill, drop);
}
