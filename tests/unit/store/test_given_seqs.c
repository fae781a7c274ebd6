// SPDX-License-Identifier: Apache-2.0
// Appends that say which seqs their events have: gaps, refusals, reading by seq in memory tables and segments, over
// opening again, with limits and removals; events elsewhere in the same commit; streams that capture nothing; and
// being told of new events.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"

typedef struct world {
    dbk_sim *sim;
    daybook_store *store;
} world;

static const daybook_slice copy = {"COPY", 4};     // captures nothing, takes all, with given seqs
static const daybook_slice source = {"SOURCE", 6}; // captures s.>
static const daybook_slice places = {"PLACES", 6}; // captures p.>

static void open_store(world *at) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(at->sim);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    assert_int_equal(daybook_open("/s", &options, &at->store, NULL), DAYBOOK_OK);
}

static void open_again(world *at) {
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    open_store(at);
}

static void add_stream(world *at, daybook_slice name, const char *subject, uint32_t flags) {
    daybook_slice subjects = daybook_text(subject);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = name;
    config.subjects = &subjects;
    config.subject_count = subject == NULL ? 0 : 1;
    config.flags = flags;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
}

static int set_up(void **state) {
    static world at;
    memset(&at, 0, sizeof at);
    if (dbk_sim_new(59, &at.sim) != DAYBOOK_OK) return -1;
    open_store(&at);
    add_stream(&at, copy, NULL, DAYBOOK_STREAM_OTHER_SUBJECTS | DAYBOOK_STREAM_GIVEN_SEQS);
    add_stream(&at, source, "s.>", 0);
    add_stream(&at, places, "p.>", 0);
    *state = &at;
    return 0;
}

static int tear_down(void **state) {
    world *at = *state;
    daybook_status status = daybook_close(at->store, NULL);
    dbk_sim_free(at->sim);
    return status == DAYBOOK_OK ? 0 : -1;
}

enum { MANY = 64 };

static daybook_status append(world *at, daybook_slice stream, const uint64_t *seqs, size_t count,
                             daybook_receipt *receipts, daybook_error *error) {
    daybook_event events[MANY];
    assert_true(count <= MANY);
    for (size_t i = 0; i < count; i++) {
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text(i % 2 == 0 ? "s.even" : "s.odd");
    }
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.stream = stream;
    options.seqs = seqs;
    return daybook_append(at->store, events, count, &options, receipts, error);
}

static void give(world *at, uint64_t seq) {
    daybook_receipt receipt;
    assert_int_equal(append(at, copy, &seq, 1, &receipt, NULL), DAYBOOK_OK);
    assert_int_equal(receipt.seq, seq);
}

// Fills positions between, so that positions are no measure of seqs.
static void put_between(world *at, size_t count) {
    for (; count > 0; count--) assert_int_equal(append(at, source, NULL, 1, NULL, NULL), DAYBOOK_OK);
}

// The first seq at or behind `from` and up to `to`, 0: none; and how many there are.
static uint64_t first_in(world *at, uint64_t from, uint64_t to, unsigned flags, uint64_t *count_out) {
    daybook_query query;
    daybook_cursor *cursor;
    daybook_recorded_event event;
    uint64_t first = 0;
    daybook_query_init(&query);
    query.stream = copy;
    query.seq_from = from;
    query.seq_to = to;
    query.flags = flags;
    assert_int_equal(daybook_count(at->store, &query, count_out, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_read(at->store, &query, &cursor, NULL), DAYBOOK_OK);
    uint64_t seen = 0;
    for (; daybook_cursor_next(cursor, 0, &event, NULL) == DAYBOOK_OK; seen++) {
        if (seen == 0) first = event.seq;
        assert_true(event.seq >= from && (to == 0 || event.seq <= to));
    }
    daybook_cursor_close(cursor);
    assert_int_equal(seen, *count_out);
    return first;
}

static void check_range(world *at, uint64_t from, uint64_t to, uint64_t first, uint64_t last,
                        uint64_t count) {
    uint64_t found;
    assert_int_equal(first_in(at, from, to, 0, &found), first);
    assert_int_equal(found, count);
    assert_int_equal(first_in(at, from, to, DAYBOOK_QUERY_REVERSE, &found), last);
    assert_int_equal(found, count);
}

static const uint64_t billion = UINT64_C(1000000000);

// 3, 4, then a billion, and 20 behind it with gaps of three.
static void fill(world *at) {
    give(at, 3);
    put_between(at, 5);
    give(at, 4);
    put_between(at, 5);
    give(at, billion);
    for (uint64_t i = 1; i <= 20; i++) {
        put_between(at, i % 3);
        give(at, billion + 3 * i);
    }
}

static void check_filled(world *at) {
    const uint64_t last = billion + 60;
    check_range(at, 0, 0, 3, last, 23);
    check_range(at, 1, 3, 3, 3, 1);
    check_range(at, 4, 4, 4, 4, 1);
    check_range(at, 4, 5, 4, 4, 1);
    check_range(at, 5, billion - 1, 0, 0, 0);
    check_range(at, 5, billion, billion, billion, 1);
    check_range(at, 5, 0, billion, last, 21);
    check_range(at, billion + 1, billion + 2, 0, 0, 0);
    for (uint64_t i = 1; i < 20; i++) {
        uint64_t seq = billion + 3 * i;
        check_range(at, seq, seq, seq, seq, 1);
        check_range(at, seq - 2, seq, seq, seq, 1);
        check_range(at, seq + 1, 0, seq + 3, last, 20 - i);
        check_range(at, 0, seq + 1, 3, seq, 3 + i);
    }
    check_range(at, last + 1, 0, 0, 0, 0);
    daybook_stream_info *info;
    assert_int_equal(daybook_stream_get_info(at->store, copy, &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->first_seq, 3);
    assert_int_equal(info->last_seq, last);
    assert_int_equal(info->message_count, 23);
    assert_int_equal(info->deleted_count, last - 3 + 1 - 23);
    daybook_stream_info_release(at->store, info);
}

static void gaps_are_read_over(void **state) {
    world *at = *state;
    fill(at);
    check_filled(at);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    check_filled(at);
    open_again(at);
    check_filled(at);
    give(at, billion + 100);
    check_range(at, billion + 61, 0, billion + 100, billion + 100, 1);
}

static void numbers_survive_the_journal(void **state) {
    world *at = *state;
    fill(at);
    open_again(at); // from the journal, or what closing flushed
    check_filled(at);
    uint64_t again = billion + 60;
    daybook_error error;
    daybook_error_init(&error);
    assert_int_equal(append(at, copy, &again, 1, NULL, &error), DAYBOOK_ECONFLICT);
}

static void crashes_keep_them(void **state) {
    world *at = *state;
    fill(at);
    dbk_sim_crash(at->sim, DBK_SIM_POWER_LOSS);
    (void)daybook_close(at->store, NULL);
    open_store(at);
    check_filled(at);
}

static int note_gap(void *context, uint64_t first, uint64_t last) {
    uint64_t(*gaps)[2] = context;
    while ((*gaps)[0] != 0) gaps++;
    (*gaps)[0] = first;
    (*gaps)[1] = last;
    return 0;
}

static void gaps_are_told(void **state) {
    world *at = *state;
    give(at, 10);
    give(at, 20);
    give(at, 21);
    give(at, 1000000);
    for (int i = 0; i < 2; i++) {
        uint64_t gaps[4][2] = {{0}};
        assert_int_equal(daybook_stream_gaps(at->store, copy, note_gap, gaps, NULL), DAYBOOK_OK);
        assert_int_equal(gaps[0][0], 11);
        assert_int_equal(gaps[0][1], 19);
        assert_int_equal(gaps[1][0], 22);
        assert_int_equal(gaps[1][1], 999999);
        assert_int_equal(gaps[2][0], 0);
        assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    }
}

static void batches_have_gaps(void **state) {
    world *at = *state;
    const uint64_t seqs[] = {5, 6, 9};
    daybook_receipt receipts[3];
    assert_int_equal(append(at, copy, seqs, 3, receipts, NULL), DAYBOOK_OK);
    for (size_t i = 0; i < 3; i++) assert_int_equal(receipts[i].seq, seqs[i]);
    daybook_receipt next; // without given ones it goes on
    assert_int_equal(append(at, copy, NULL, 1, &next, NULL), DAYBOOK_OK);
    assert_int_equal(next.seq, 10);
}

static void none_is_given_twice(void **state) {
    world *at = *state;
    daybook_error error;
    daybook_error_init(&error);
    give(at, 7);
    for (uint64_t seq = 1; seq <= 7; seq += 3) {
        assert_int_equal(append(at, copy, &seq, 1, NULL, &error), DAYBOOK_ECONFLICT);
        assert_int_equal(error.condition, 0);
        assert_int_equal(error.expected, seq);
        assert_int_equal(error.actual, 7);
    }
    daybook_purge_options all;
    daybook_purge_options_init(&all);
    uint64_t count;
    assert_int_equal(daybook_stream_purge(at->store, copy, &all, &count, NULL), DAYBOOK_OK);
    assert_int_equal(count, 1);
    uint64_t seq = 7; // also when it was removed
    assert_int_equal(append(at, copy, &seq, 1, NULL, NULL), DAYBOOK_ECONFLICT);
    give(at, 8);
    check_range(at, 0, 0, 8, 8, 1);
}

static void misuse_is_refused(void **state) {
    world *at = *state;
    const uint64_t falling[] = {6, 5}, zero[] = {0}, large[] = {UINT64_C(1) << 62}, one[] = {1};
    assert_int_equal(append(at, copy, falling, 2, NULL, NULL), DAYBOOK_EINVALID);
    assert_int_equal(append(at, copy, zero, 1, NULL, NULL), DAYBOOK_EINVALID);
    assert_int_equal(append(at, copy, large, 1, NULL, NULL), DAYBOOK_EINVALID);
    assert_int_equal(append(at, source, one, 1, NULL, NULL), DAYBOOK_EINVALID);           // takes none
    assert_int_equal(append(at, daybook_text(""), one, 1, NULL, NULL), DAYBOOK_EINVALID); // not named
    uint64_t count;
    (void)first_in(at, 0, 0, 0, &count);
    assert_int_equal(count, 0);
    give(at, (UINT64_C(1) << 62) - 1);
}

static void the_flag_stays(void **state) {
    world *at = *state;
    daybook_slice subject = daybook_text("c.>");
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = copy;
    config.subjects = &subject;
    config.subject_count = 1;
    assert_int_equal(daybook_stream_update(at->store, &config, NULL), DAYBOOK_EINVALID);
    config.flags = DAYBOOK_STREAM_GIVEN_SEQS;
    assert_int_equal(daybook_stream_update(at->store, &config, NULL), DAYBOOK_OK);
    open_again(at);
    const uint64_t seq = 5; // s.even is no subject of it any more
    assert_int_equal(append(at, copy, &seq, 1, NULL, NULL), DAYBOOK_ENOSTREAM);
}

static void a_stream_needs_subjects_or_others(void **state) {
    world *at = *state;
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text("NONE");
    config.flags = DAYBOOK_STREAM_GIVEN_SEQS;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_EINVALID);
    config.flags = DAYBOOK_STREAM_OTHER_SUBJECTS;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    open_again(at);
    assert_int_equal(append(at, config.name, NULL, 2, NULL, NULL), DAYBOOK_OK);
}

// ---- Elsewhere --------------------------------------------------------------------------------------------

static daybook_status append_with_place(world *at, uint64_t seq, const char *id, const char *place,
                                        daybook_receipt receipts[2]) {
    daybook_event events[2];
    daybook_append_options options;
    daybook_append_options_init(&options);
    for (size_t i = 0; i < 2; i++) daybook_event_init(&events[i]);
    events[0].subject = daybook_text("anything.1");
    events[0].id = daybook_text(id);
    events[1].subject = daybook_text(place);
    options.stream = copy;
    options.seqs = seq > 0 ? &seq : NULL;
    options.elsewhere_count = 1;
    return daybook_append(at->store, events, 2, &options, receipts, NULL);
}

static void places_ride_along(void **state) {
    world *at = *state;
    daybook_receipt receipts[2] = {{0}};
    assert_int_equal(append_with_place(at, 12, "", "p.1", receipts), DAYBOOK_OK);
    assert_int_equal(receipts[0].seq, 12);
    assert_int_equal(receipts[1].seq, 1);
    assert_true(receipts[1].stream.size == places.size &&
                memcmp(receipts[1].stream.data, places.data, places.size) == 0);
    assert_int_equal(receipts[0].position + 1, receipts[1].position);
    // All or none: what does not go elsewhere keeps the rest out too.
    assert_int_equal(append_with_place(at, 12, "", "p.1", receipts), DAYBOOK_ECONFLICT);
    assert_int_equal(append_with_place(at, 13, "", "nobody.1", receipts), DAYBOOK_ENOSTREAM);
    // Without given seqs, too; and it is left out where the rest is stored.
    assert_int_equal(append_with_place(at, 0, "x", "p.1", receipts), DAYBOOK_OK);
    assert_int_equal(receipts[0].seq, 13);
    assert_int_equal(receipts[1].seq, 2);
    assert_int_equal(append_with_place(at, 0, "x", "p.1", receipts), DAYBOOK_OK);
    assert_true((receipts[0].flags & DAYBOOK_RECEIPT_DUPLICATE) != 0);
    assert_int_equal(append_with_place(at, 0, "y", "p.1", receipts), DAYBOOK_OK);
    assert_int_equal(receipts[1].seq, 3);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("p.1");
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.elsewhere_count = 1;
    assert_int_equal(daybook_append(at->store, &event, 1, &options, NULL, NULL), DAYBOOK_EMISUSE);
}

// ---- Watches ----------------------------------------------------------------------------------------------

static void count_call(void *context) {
    ++*(int *)context;
}

static void new_events_are_told(void **state) {
    world *at = *state;
    daybook_event_watch *all, *odd;
    int all_count = 0, odd_count = 0;
    daybook_slice filter = daybook_text("s.odd"), wrong = daybook_text("s..odd");
    assert_int_equal(
        daybook_event_watch_open(at->store, daybook_text("NO"), NULL, 0, count_call, NULL, &all, NULL),
        DAYBOOK_ENOTFOUND);
    assert_int_equal(daybook_event_watch_open(at->store, source, &wrong, 1, count_call, NULL, &all, NULL),
                     DAYBOOK_ESUBJECT);
    assert_null(all);
    daybook_event_watch_close(all);
    assert_int_equal(daybook_event_watch_open(at->store, source, NULL, 0, count_call, &all_count, &all, NULL),
                     DAYBOOK_OK);
    assert_int_equal(
        daybook_event_watch_open(at->store, source, &filter, 1, count_call, &odd_count, &odd, NULL),
        DAYBOOK_OK);
    put_between(at, 1);
    assert_int_equal(all_count, 0); // not armed
    daybook_event_watch_arm(all);
    daybook_event_watch_arm(odd);
    give(at, 1); // of another stream
    assert_int_equal(all_count, 0);
    put_between(at, 2);
    assert_int_equal(all_count, 1); // once
    assert_int_equal(odd_count, 0);
    assert_int_equal(append(at, source, NULL, 2, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(odd_count, 1);
    daybook_event_watch_arm(all);
    assert_int_equal(daybook_stream_remove(at->store, source, NULL), DAYBOOK_OK);
    daybook_event_watch_close(all);
    daybook_event_watch_close(odd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gaps_are_read_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_survive_the_journal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(crashes_keep_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gaps_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(batches_have_gaps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(none_is_given_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(misuse_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_flag_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stream_needs_subjects_or_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(places_ride_along, set_up, tear_down),
        cmocka_unit_test_setup_teardown(new_events_are_told, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
