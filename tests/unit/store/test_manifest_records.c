// SPDX-License-Identifier: Apache-2.0
// What the decoder of the manifest's records refuses, one contradiction after the other, in bytes made by
// hand; and what an edit does that changes one thing twice.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/fault_allocator.h"
#include "store/manifest.h"

enum { NUMBERS_MAX = 64, SEGMENT_NUMBERS = 13, DIGEST_SIZE = 32 };

// Records as their numbers: types and the bytes of texts are below 128, where a varint is a byte.
static daybook_status apply_numbers(dbk_manifest *manifest, const uint64_t *numbers, size_t count) {
    uint8_t bytes[NUMBERS_MAX * DBK_VARINT_SIZE_MAX];
    size_t size = 0;
    for (size_t i = 0; i < count; i++) size += dbk_put_varint(bytes + size, numbers[i]);
    return dbk_manifest_apply_records(manifest, daybook_bytes(bytes, size));
}

static daybook_status decode(const uint64_t *numbers, size_t count) {
    dbk_manifest manifest;
    dbk_manifest_init(&manifest, dbk_allocator_default(), NULL, "/");
    daybook_status status = apply_numbers(&manifest, numbers, count);
    dbk_manifest_deinit(&manifest);
    return status;
}

static void each_contradiction_of_a_record_is_refused(void **state) {
    (void)state;
    static const struct {
        bool is_sound;
        size_t count;
        uint64_t numbers[12];
    } cases[] = {
        {true, 3, {1, 5, 6}},                                         // flushed
        {true, 3, {2, 1, UINT32_MAX}},                                // next ids
        {false, 3, {2, 1, UINT64_C(1) << 32}},                        //
        {true, 7, {3, 300, 300, 256, 2, 1, 0}},                       // journal
        {true, 5, {3, 300, 300, 256, 0}},                             //
        {false, 5, {3, 300, 300, 256, DBK_JOURNAL_PIECES_MAX + 1}},   //
        {false, 7, {3, 300, 300, 256, 2, 1, DBK_JOURNAL_PIECES_MAX}}, //
        {false, 7, {3, 300, 300, 257, 2, 1, 0}},                      // not the begin of a piece
        {false, 10, {3, 300, 300, 256, 0, 3, 300, 300, 256, 0}},      // twice
        {true, 2, {4, 9}},                                            // incarnation
        {true, 2, {5, 1}},                                            // closed
        {true, 2, {7, 1}},                                            // no segment: there was none
        {true, 3, {8, 1, 2}},                                         // deletions of none
        {true, 9, {9, UINT32_MAX, 1, 2, 3, 4, 5, 6, 7}},              // stream
        {false, 9, {9, UINT64_C(1) << 32, 1, 2, 3, 4, 5, 6, 7}},      //
        {true, 2, {10, 1}},                                           // no stream: there was none
        {false, 2, {10, UINT64_C(1) << 32}},                          //
        {true, 6, {11, 1, 1, 'k', 1, 'v'}},                           // entry
        {true, 4, {11, 255, 0, 0}},                                   // of nothing
        {false, 6, {11, 0, 1, 'k', 1, 'v'}},                          //
        {false, 6, {11, 256, 1, 'k', 1, 'v'}},                        //
        {false, 6, {11, 1, 1, 'k', 2, 'v'}},                          // more bytes than there are
        {true, 4, {12, 1, 1, 'k'}},                                   // no entry
        {false, 4, {12, 0, 1, 'k'}},                                  //
        {true, 2, {13, 5}},                                           // trim from
        {true, 2, {14, INT64_MAX}},                                   // positions spent
        {false, 2, {14, UINT64_C(1) << 63}},                          //
        {false, 2, {0, 1}},                                           // no such records
        {false, 2, {100, 1}},                                         //
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        daybook_status status = decode(cases[i].numbers, cases[i].count);
        if (status != (cases[i].is_sound ? DAYBOOK_OK : DAYBOOK_EDAMAGED)) fail_msg("case %zu", i);
        for (size_t cut = 1; cases[i].is_sound && cut < cases[i].count; cut++)
            if (decode(cases[i].numbers, cut) != DAYBOOK_EDAMAGED) fail_msg("case %zu cut at %zu", i, cut);
    }
    assert_int_equal(decode(NULL, 0), DAYBOOK_OK);
    static const uint64_t two_kinds[] = {11, 2, 1, 'k', 0, 11, 1, 1, 'k', 0};
    assert_int_equal(decode(two_kinds, 10), DAYBOOK_OK);
    static const uint64_t other_way[] = {11, 1, 1, 'k', 0, 11, 2, 1, 'k', 0};
    assert_int_equal(decode(other_way, 10), DAYBOOK_OK);
}

static void each_contradiction_of_a_segment_is_refused(void **state) {
    (void)state;
    // id, positions, events, bytes, data bytes, times, streams, generation; then the digest
    static const uint64_t sound[SEGMENT_NUMBERS] = {6, 1, 10, 20, 5, 100, 50, 0, 2, 0, 2, 3, 4};
    uint64_t numbers[SEGMENT_NUMBERS + DIGEST_SIZE] = {0};
    for (size_t i = 0; i < SEGMENT_NUMBERS; i++) numbers[i] = sound[i];
    size_t count = SEGMENT_NUMBERS + DIGEST_SIZE;
    assert_int_equal(decode(numbers, count), DAYBOOK_OK);
    for (size_t cut = 1; cut < count; cut++) assert_int_equal(decode(numbers, cut), DAYBOOK_EDAMAGED);
    numbers[2] = 21; // ends before it begins
    assert_int_equal(decode(numbers, count), DAYBOOK_EDAMAGED);
    numbers[2] = 20;
    assert_int_equal(decode(numbers, count), DAYBOOK_OK);
    numbers[11] = UINT64_C(1) << 32;
    assert_int_equal(decode(numbers, count), DAYBOOK_EDAMAGED);
}

// An edit that names a thing twice leaves what it said last.
static void the_last_word_of_an_edit_counts(void **state) {
    (void)state;
    dbk_manifest manifest;
    dbk_manifest_init(&manifest, dbk_allocator_default(), NULL, "/");
    // Streams 2 and 1, and entries b and a, in one edit; then both are taken back and others put in.
    static const uint64_t put[] = {9, 2, 20, 1,  1, 1, 1,   1, 0,   9,  1, 10, 1,   1, 1,
                                   1, 1, 0,  11, 1, 1, 'b', 1, 'B', 11, 1, 1,  'a', 1, 'A'};
    assert_int_equal(apply_numbers(&manifest, put, sizeof put / sizeof put[0]), DAYBOOK_OK);
    assert_int_equal(manifest.stream_count, 2);
    assert_int_equal(manifest.streams[0].id, 1);
    assert_int_equal(manifest.entry_count, 2);
    static const uint64_t change[] = {9, 3,  30,  1,  1, 1, 1,   1,  0,  10, 3,   10,  1,  9,
                                      2, 21, 1,   1,  1, 1, 1,   0,  11, 1,  1,   'c', 0,  12,
                                      1, 1,  'c', 12, 1, 1, 'a', 11, 1,  1,  'b', 1,   'X'};
    assert_int_equal(apply_numbers(&manifest, change, sizeof change / sizeof change[0]), DAYBOOK_OK);
    assert_int_equal(manifest.stream_count, 1);
    assert_int_equal(dbk_manifest_find_stream(&manifest, 2)->last_seq, 21);
    assert_null(dbk_manifest_find_stream(&manifest, 3));
    assert_int_equal(manifest.entry_count, 1);
    const dbk_manifest_entry *entry =
        dbk_manifest_find_entry(&manifest, DBK_CATALOGUE_STREAM, daybook_text("b"));
    assert_non_null(entry);
    assert_memory_equal(entry->value.data, "X", 1);
    assert_null(dbk_manifest_find_entry(&manifest, (dbk_catalogue_kind)2, daybook_text("b")));
    // A segment put twice is one; its deletions follow it.
    uint64_t segment[SEGMENT_NUMBERS + DIGEST_SIZE] = {6, 1, 10, 20, 5, 100, 50, 0, 2, 0, 2, 3, 4};
    for (unsigned i = 0; i < 2; i++) {
        segment[4] = i;
        assert_int_equal(apply_numbers(&manifest, segment, SEGMENT_NUMBERS + DIGEST_SIZE), DAYBOOK_OK);
    }
    static const uint64_t deletions[] = {8, 1, 77};
    assert_int_equal(apply_numbers(&manifest, deletions, 3), DAYBOOK_OK);
    assert_int_equal(manifest.segment_count, 1);
    assert_int_equal(manifest.segments[0].summary.event_count, 1);
    assert_int_equal(manifest.segments[0].deletion_generation, 77);
    dbk_manifest_deinit(&manifest);
    dbk_manifest_deinit(NULL);
}

static void a_refused_or_failed_edit_changes_nothing(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    static const uint64_t numbers[] = {3, 300, 300, 256, 2, 1,   0, 9,   2,  20, 1, 1,   1, 1,
                                       1, 0,   11,  1,   1, 'b', 1, 'B', 11, 1,  1, 'a', 1, 'A'};
    unsigned refused = 0;
    for (uint64_t nth = 1;; nth++) {
        dbk_manifest manifest;
        dbk_manifest_init(&manifest, &faults.allocator, NULL, "/");
        fault_allocator_fail(&faults, nth, false);
        daybook_status status = apply_numbers(&manifest, numbers, sizeof numbers / sizeof numbers[0]);
        bool has_failed = fault_allocator_has_failed(&faults);
        assert_int_equal(status, has_failed ? DAYBOOK_ENOMEM : DAYBOOK_OK);
        assert_int_equal(manifest.stream_count, has_failed ? 0 : 1);
        assert_int_equal(manifest.entry_count, has_failed ? 0 : 2);
        assert_int_equal(manifest.journal_piece_count, has_failed ? 0 : 2);
        dbk_manifest_deinit(&manifest);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!has_failed) break;
        refused++;
    }
    assert_true(refused >= 6); // pieces, copies, two entries, two arrays
}

static void names_that_are_no_manifest_are_told(void **state) {
    (void)state;
    static const char *const names[] = {"journal",
                                        "manifest-",
                                        "manifest-000000000000001",
                                        "manifest-00000000000000001",
                                        "manifest-000000000000000G",
                                        "manifest-0000000000000000"};
    uint64_t number;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_false(dbk_manifest_parse_name(names[i], &number));
    assert_true(dbk_manifest_parse_name("manifest-00000000000000ff", &number));
    assert_int_equal(number, 255);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_contradiction_of_a_record_is_refused),
        cmocka_unit_test(each_contradiction_of_a_segment_is_refused),
        cmocka_unit_test(the_last_word_of_an_edit_counts),
        cmocka_unit_test(a_refused_or_failed_edit_changes_nothing),
        cmocka_unit_test(names_that_are_no_manifest_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
