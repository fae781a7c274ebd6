// SPDX-License-Identifier: Apache-2.0
// Conditions answered by the index of a segment: what it leaves out of its plan must be asked of the event.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"

static daybook_status append_tagged(daybook_store *store, const char *subject, const char *tag,
                                    const daybook_condition *condition) {
    daybook_slice tags[1] = {daybook_text(tag)};
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.tags = tags;
    event.tag_count = tag != NULL;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    options.conditions = condition;
    options.condition_count = condition != NULL;
    return daybook_append(store, &event, 1, &options, NULL, NULL);
}

static daybook_status append_unless(daybook_store *store, const char *type, const char *tag) {
    daybook_slice types[1] = {daybook_text(type)};
    daybook_slice tags[1] = {daybook_text(tag)};
    daybook_query_item item;
    daybook_query_item_init(&item);
    item.types = types;
    item.type_count = 1;
    item.tags = tags;
    item.tag_count = 1;
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_FAIL_IF_EVENTS_MATCH);
    condition.items = &item;
    condition.item_count = 1;
    return append_tagged(store, "courses.9.changed", NULL, &condition);
}

// A short list and one very much longer: only the short one leads, and its events need not be in the other.
static void a_rare_type_and_a_frequent_tag_must_meet_in_one_event(void **state) {
    (void)state;
    dbk_sim *sim = NULL;
    assert_int_equal(dbk_sim_new(1, &sim), DAYBOOK_OK);
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(sim);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    daybook_store *store = NULL;
    assert_int_equal(daybook_open("/s", &options, &store, NULL), DAYBOOK_OK);
    for (int i = 0; i < 400; i++) {
        assert_int_equal(append_tagged(store, "courses.1.joined", "course:1", NULL), DAYBOOK_OK);
        if (i == 300) assert_int_equal(append_tagged(store, "courses.1.closed", NULL, NULL), DAYBOOK_OK);
        if (i == 300) assert_int_equal(append_tagged(store, "courses.2.ended", "course:1", NULL), DAYBOOK_OK);
    }
    for (int round = 0; round < 2; round++) {
        assert_int_equal(append_unless(store, "closed", "course:1"), DAYBOOK_OK);
        assert_int_equal(append_unless(store, "ended", "course:1"), DAYBOOK_ECONFLICT);
        assert_int_equal(append_unless(store, "joined", "course:1"), DAYBOOK_ECONFLICT);
        assert_int_equal(append_unless(store, "joined", "course:2"), DAYBOOK_OK);
        assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK); // from the memory table to a segment
    }
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    dbk_sim_free(sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rare_type_and_a_frequent_tag_must_meet_in_one_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
