// SPDX-License-Identifier: Apache-2.0
// The checker must be able to fail: a small history that obeys every rule, and one change for each rule that
// breaks it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "history/history.h"

enum { ENTRIES = 6, EVENTS = 5 };

// Two streams (aggregates 0 and 2 in the first, 1 in the second). Client A appends 1, then a batch of 2 and
// 3; client B is refused at version 0, appends 4 on a tag, reads; 5 was in flight when the process was
// killed.
typedef struct small_history {
    history_entry entries[ENTRIES];
    history_log_event log[EVENTS];
    uint64_t followed[EVENTS];
    history_follower follower;
    history history;
} small_history;

static history_log_event stored(uint64_t position, uint64_t seq, uint64_t version, uint32_t aggregate,
                                uint32_t tag) {
    return (history_log_event){.position = position,
                               .seq = seq,
                               .version = version,
                               .recorded_ns = (int64_t)position * 10,
                               .event = {.id = position, .aggregate = aggregate, .tag = tag}};
}

static void note(history_entry *entry, size_t n, const history_log_event *event) {
    entry->events[n] = event->event;
    entry->positions[n] = event->position;
    entry->seqs[n] = event->seq;
    entry->versions[n] = event->version;
    entry->event_count = (uint32_t)n + 1;
}

static void set_up(small_history *out) {
    memset(out, 0, sizeof *out);
    out->log[0] = stored(1, 1, 1, 0, 7);
    out->log[1] = stored(2, 2, 2, 0, HISTORY_NO_TAG);
    out->log[2] = stored(3, 1, 1, 1, HISTORY_NO_TAG);
    out->log[3] = stored(4, 3, 1, 2, 7);
    out->log[4] = stored(5, 2, 2, 1, HISTORY_NO_TAG);
    history_entry *entries = out->entries;
    entries[0] = (history_entry){10, 20, HISTORY_APPEND, HISTORY_DONE, .condition = HISTORY_VERSION, .on = 0};
    note(&entries[0], 0, &out->log[0]);
    entries[1] = (history_entry){30, 40, HISTORY_APPEND, HISTORY_DONE, .condition = HISTORY_ANY};
    note(&entries[1], 0, &out->log[1]);
    note(&entries[1], 1, &out->log[2]);
    entries[2] =
        (history_entry){25, 35, HISTORY_APPEND, HISTORY_CONFLICT, .condition = HISTORY_VERSION, .actual = 1};
    entries[2].events[0] = (history_event){.id = 99, .tag = HISTORY_NO_TAG};
    entries[2].event_count = 1;
    entries[3] = (history_entry){
        50, 60, HISTORY_APPEND, HISTORY_DONE, .condition = HISTORY_NO_TAG_AFTER, .on = 7, .expected = 1};
    note(&entries[3], 0, &out->log[3]);
    entries[4] = (history_entry){70, 80, HISTORY_READ, HISTORY_DONE, .aggregate = HISTORY_ALL, .count = 4};
    entries[4].last_position = 4;
    for (uint64_t position = 1; position <= 4; position++)
        entries[4].hash = history_hash(entries[4].hash, position);
    entries[5] = (history_entry){75, 0, HISTORY_APPEND, HISTORY_UNKNOWN, .condition = HISTORY_ANY};
    note(&entries[5], 0, &out->log[4]);
    for (size_t i = 0; i < EVENTS; i++) out->followed[i] = out->log[i].position;
    out->follower = (history_follower){out->followed, 4, 90};
    out->history = (history){entries, ENTRIES, out->log, EVENTS, &out->follower, 1};
}

static void expect(small_history *changed, const char *rule) {
    char message[256];
    bool is_right = history_check(&changed->history, message, sizeof message);
    if (rule == NULL) {
        assert_string_equal(message, "");
        assert_true(is_right);
        return;
    }
    assert_false(is_right);
    assert_memory_equal(message, rule, strlen(rule));
}

static void accepts_a_history_that_obeys(void **state) {
    (void)state;
    small_history scene;
    set_up(&scene);
    expect(&scene, NULL);
    scene.history.log_count = 4; // the append in flight may as well not have happened
    expect(&scene, NULL);
}

#define REFUSES(name, rule, ...)               \
    static void refuses_##name(void **state) { \
        (void)state;                           \
        small_history scene;                   \
        set_up(&scene);                        \
        __VA_ARGS__;                           \
        expect(&scene, rule ":");              \
    }

REFUSES(a_gap_in_seq, "log", scene.log[4].seq = 3)
REFUSES(a_gap_in_version, "log", scene.log[4].version = 3)
REFUSES(recorded_going_back, "log", scene.log[3].recorded_ns = 5)
REFUSES(positions_out_of_order, "log", scene.log[4].position = 4)
REFUSES(an_event_nobody_appended, "origin", scene.log[4].event.id = 77)
REFUSES(a_refused_event_stored, "origin", scene.entries[5].events[0].id = 98;
        scene.entries[2].events[0] = scene.log[4].event)
REFUSES(an_event_stored_twice, "origin", scene.log[4].event.id = 1)
REFUSES(other_content, "origin", scene.entries[1].events[1].tag = 3)
REFUSES(a_lost_event, "receipts", scene.entries[5].outcome = HISTORY_DONE; scene.entries[5].returned_ns = 85;
        scene.history.log_count = 4)
REFUSES(a_wrong_receipt, "receipts", scene.entries[3].versions[0] = 2)
REFUSES(half_a_batch, "whole", scene.entries[5].event_count = 2; scene.entries[5].events[1].id = 6)
REFUSES(a_batch_torn_apart, "whole", history_event second = scene.log[1].event;
        scene.log[1].event.id = scene.entries[5].events[0].id; scene.log[4].event.id = second.id;
        scene.entries[1] = (history_entry){30, 0, HISTORY_APPEND, HISTORY_UNKNOWN, .event_count = 2};
        scene.entries[1].events[0] = scene.log[2].event; scene.entries[1].events[1] = scene.log[4].event;
        scene.entries[5].events[0] = scene.log[1].event)
REFUSES(time_running_backwards, "time", scene.entries[3].invoked_ns = 5; scene.entries[3].returned_ns = 8)
REFUSES(a_condition_that_did_not_hold, "success", scene.entries[3].expected = 0)
REFUSES(a_version_that_did_not_hold, "success", scene.entries[0].expected = 1)
REFUSES(a_conflict_with_the_expected_value, "conflict", scene.entries[2].actual = 0)
REFUSES(a_conflict_with_a_stale_value, "conflict", scene.entries[2].invoked_ns = 45;
        scene.entries[2].returned_ns = 48)
REFUSES(a_conflict_with_a_coming_value, "conflict", scene.entries[2].returned_ns = 28;
        scene.entries[2].actual = 2)
REFUSES(a_read_with_a_hole, "reads", scene.entries[4].hash = 1)
REFUSES(a_stale_read, "reads", scene.entries[4].count = 3; scene.entries[4].last_position = 3;
        scene.entries[4].hash = 0;
        for (uint64_t i = 1; i <= 3; i++) scene.entries[4].hash = history_hash(scene.entries[4].hash, i))
REFUSES(a_read_before_the_append, "reads", scene.entries[4].invoked_ns = 41;
        scene.entries[4].returned_ns = 45)
REFUSES(a_follower_with_a_gap, "follower", scene.followed[2] = 4)
REFUSES(a_follower_with_a_repeat, "follower", scene.followed[2] = 2)
REFUSES(a_follower_that_stays_behind, "follower", scene.follower.count = 3)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_a_history_that_obeys),
        cmocka_unit_test(refuses_a_gap_in_seq),
        cmocka_unit_test(refuses_a_gap_in_version),
        cmocka_unit_test(refuses_recorded_going_back),
        cmocka_unit_test(refuses_positions_out_of_order),
        cmocka_unit_test(refuses_an_event_nobody_appended),
        cmocka_unit_test(refuses_a_refused_event_stored),
        cmocka_unit_test(refuses_an_event_stored_twice),
        cmocka_unit_test(refuses_other_content),
        cmocka_unit_test(refuses_a_lost_event),
        cmocka_unit_test(refuses_a_wrong_receipt),
        cmocka_unit_test(refuses_half_a_batch),
        cmocka_unit_test(refuses_a_batch_torn_apart),
        cmocka_unit_test(refuses_time_running_backwards),
        cmocka_unit_test(refuses_a_condition_that_did_not_hold),
        cmocka_unit_test(refuses_a_version_that_did_not_hold),
        cmocka_unit_test(refuses_a_conflict_with_the_expected_value),
        cmocka_unit_test(refuses_a_conflict_with_a_stale_value),
        cmocka_unit_test(refuses_a_conflict_with_a_coming_value),
        cmocka_unit_test(refuses_a_read_with_a_hole),
        cmocka_unit_test(refuses_a_stale_read),
        cmocka_unit_test(refuses_a_read_before_the_append),
        cmocka_unit_test(refuses_a_follower_with_a_gap),
        cmocka_unit_test(refuses_a_follower_with_a_repeat),
        cmocka_unit_test(refuses_a_follower_that_stays_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
