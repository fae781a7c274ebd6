// SPDX-License-Identifier: Apache-2.0
// The order in which things become durable around a flush and a merge: nothing is given up before what
// replaces it is on the disk.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "store/store_internal.h"

enum { CAP = 5 };
#define MINUTE_NS (INT64_C(60) * 1000000000)

typedef struct fixture {
    dbk_sim *sim;
    daybook_vfs vfs; // the simulation's, with a clock that interrupts
    daybook_vfs *inner;
    daybook_open_options options;
    daybook_store *store;
    void (*interrupt)(struct fixture *at); // at the next look at the clock
    daybook_error error;
} fixture;

static fixture *interrupted; // the one whose clock is looked at

static int64_t interrupting_clock(daybook_vfs *vfs) {
    (void)vfs;
    fixture *at = interrupted;
    void (*interrupt)(fixture *) = at->interrupt;
    at->interrupt = NULL;
    if (interrupt != NULL) interrupt(at);
    return at->inner->clock_real_ns(at->inner);
}

static void open_store(fixture *at) {
    daybook_status status = daybook_open("/s", &at->options, &at->store, &at->error);
    if (status != DAYBOOK_OK) fail_msg("open: %s: %s", daybook_status_name(status), at->error.message);
}

static void begin(fixture *at, uint64_t seed) {
    memset(at, 0, sizeof *at);
    interrupted = at;
    assert_int_equal(dbk_sim_new(seed, &at->sim), DAYBOOK_OK);
    at->inner = dbk_sim_vfs(at->sim);
    at->vfs = *at->inner;
    at->vfs.clock_real_ns = interrupting_clock;
    daybook_open_options_init(&at->options);
    at->options.vfs = &at->vfs;
    at->options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    at->options.journal_max_bytes = 4 << 20;
    daybook_error_init(&at->error);
    open_store(at);
}

static void end(fixture *at) {
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    dbk_sim_free(at->sim);
}

static void lose_power(fixture *at) {
    dbk_sim_crash(at->sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    (void)daybook_close(at->store, NULL);
    open_store(at);
}

static daybook_status append_sized(fixture *at, const char *subject, size_t size) {
    static char data[64 << 10];
    assert_true(size <= sizeof data);
    memset(data, 'x', size);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_bytes(data, size);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    return daybook_append(at->store, &event, 1, &options, NULL, &at->error);
}

static uint64_t count_of(fixture *at, const char *stream) {
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text(stream);
    uint64_t count = UINT64_MAX;
    assert_int_equal(daybook_count(at->store, &query, &count, &at->error), DAYBOOK_OK);
    return count;
}

// The manifest that should give up pieces of the journal fails: they are not used again.
static void the_journal_is_reused_once_the_manifest_gave_it_up(void **state) {
    (void)state;
    fixture at;
    begin(&at, 1);
    uint64_t acknowledged = 0;
    for (int i = 0; i < 45; i++) {
        assert_int_equal(append_sized(&at, "a.b.c", 64 << 10), DAYBOOK_OK);
        acknowledged++;
    }
    const char *manifest = "manifest-0000000000000001";
    const dbk_sim_fault faults[] = {
        {.kind = DBK_SIM_SYNC, .suffix = manifest, .nth = 1, .is_forever = true, .error = EIO},
        {.kind = DBK_SIM_RENAME,
         .suffix = "manifest-0000000000000002",
         .nth = 1,
         .is_forever = true,
         .error = EIO},
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        assert_int_equal(dbk_sim_fail(at.sim, &faults[i]), DAYBOOK_OK);
    assert_int_equal(daybook_flush(at.store, &at.error), DAYBOOK_EIO);
    for (int i = 0; i < 45 && append_sized(&at, "a.b.c", 64 << 10) == DAYBOOK_OK; i++) acknowledged++;
    lose_power(&at);
    assert_int_equal(count_of(&at, "A"), acknowledged);
    end(&at);
}

static void add_capped(fixture *at) {
    daybook_slice subjects = daybook_text("capped.>");
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text("CAPPED");
    config.subjects = &subjects;
    config.subject_count = 1;
    config.max_msgs = CAP;
    assert_int_equal(daybook_stream_add(at->store, &config, &at->error), DAYBOOK_OK);
}

// The newest CAP events are there, and counted.
static void check_capped(fixture *at, uint64_t last_seq) {
    daybook_stream_info *info = NULL;
    assert_int_equal(daybook_stream_get_info(at->store, daybook_text("CAPPED"), &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->last_seq, last_seq);
    assert_int_equal(info->message_count, CAP);
    assert_int_equal(info->first_seq, last_seq - CAP + 1);
    daybook_stream_info_release(at->store, info);
    assert_int_equal(count_of(at, "CAPPED"), CAP);
}

static void append_capped(fixture *at) {
    assert_int_equal(append_sized(at, "capped.a", 10), DAYBOOK_OK);
}

// What a limit removes between the cut and the writing of the segment is in no journal yet.
static void a_flush_rests_on_durable_removals(void **state) {
    (void)state;
    fixture at;
    begin(&at, 2);
    add_capped(&at);
    for (int i = 0; i < CAP; i++) append_capped(&at);
    assert_int_equal(append_sized(&at, "a.b.c", 10), DAYBOOK_OK);
    at.interrupt = append_capped;
    assert_int_equal(daybook_flush(at.store, &at.error), DAYBOOK_OK);
    assert_null(at.interrupt);
    lose_power(&at);
    check_capped(&at, CAP + 1);
    end(&at);
}

static void a_merge_rests_on_durable_removals(void **state) {
    (void)state;
    fixture at;
    begin(&at, 3);
    add_capped(&at);
    for (int i = 0; i < 8; i++) {
        if (i < CAP) append_capped(&at);
        assert_int_equal(append_sized(&at, "a.b.c", 10), DAYBOOK_OK);
        assert_int_equal(daybook_flush(at.store, &at.error), DAYBOOK_OK);
    }
    append_capped(&at); // the record of what goes for it waits for a group
    daybook_store_info info = {.size = sizeof info};
    daybook_status status;
    while ((status = daybook_maintain(at.store, &at.error)) == DAYBOOK_OK) {
    }
    assert_int_equal(status, DAYBOOK_END);
    assert_int_equal(daybook_info(at.store, &info, NULL), DAYBOOK_OK);
    assert_true(info.merge_count > 0);
    lose_power(&at);
    check_capped(&at, CAP + 1);
    end(&at);
}

// What limits remove while the last group before a cut is written: the cut has a removal in what the manifest
// says and before it in the journal, or in neither; else replay would count it twice.
static struct aging_disk {
    fixture *at;
    bool is_armed;
} aging;

static int64_t write_and_age(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size,
                             uint64_t offset) {
    (void)vfs;
    fixture *at = aging.at;
    int64_t moved = at->inner->write_at(at->inner, file, data, size, offset);
    if (!aging.is_armed) return moved;
    aging.is_armed = false;
    dbk_sim_advance_ns(at->sim, 20 * MINUTE_NS);
    assert_int_equal(dbk_store_trim_ages(at->store, NULL), DAYBOOK_OK);
    return moved;
}

static void a_cut_counts_a_removal_once(void **state) {
    (void)state;
    fixture at;
    begin(&at, 4);
    aging.at = &at;
    at.vfs.write_at = write_and_age;
    add_capped(&at);
    daybook_slice subjects = daybook_text("aged.>");
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text("AGED");
    config.subjects = &subjects;
    config.subject_count = 1;
    config.max_age_ns = 60 * MINUTE_NS;
    assert_int_equal(daybook_stream_add(at.store, &config, &at.error), DAYBOOK_OK);
    for (int i = 0; i < 3; i++) assert_int_equal(append_sized(&at, "aged.a", 10), DAYBOOK_OK);
    dbk_sim_advance_ns(at.sim, 50 * MINUTE_NS);
    for (int i = 0; i < 7; i++) assert_int_equal(append_sized(&at, "aged.a", 10), DAYBOOK_OK);
    for (int i = 0; i <= CAP; i++) append_capped(&at); // so that the cut has a group to write
    aging.is_armed = true;
    assert_int_equal(daybook_flush(at.store, &at.error), DAYBOOK_OK);
    assert_false(aging.is_armed);
    lose_power(&at);
    daybook_stream_info *info = NULL;
    assert_int_equal(daybook_stream_get_info(at.store, daybook_text("AGED"), &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->message_count, 7);
    daybook_stream_info_release(at.store, info);
    assert_int_equal(count_of(&at, "AGED"), 7);
    check_capped(&at, CAP + 1);
    end(&at);
}

// The file of removed events is written, but the manifest that should name it is not: the next flush, which
// gives up the journal that told of them, writes it again.
static void removals_outlive_a_flush_that_failed(void **state) {
    (void)state;
    fixture at;
    begin(&at, 5);
    for (int i = 0; i < 4; i++) assert_int_equal(append_sized(&at, "a.b.c", 10), DAYBOOK_OK);
    assert_int_equal(daybook_flush(at.store, &at.error), DAYBOOK_OK);
    assert_int_equal(daybook_event_remove(at.store, daybook_text("A"), 2, 0, &at.error), DAYBOOK_OK);
    const dbk_sim_fault fault = {
        .kind = DBK_SIM_SYNC, .suffix = "manifest-0000000000000001", .nth = 1, .error = EIO};
    assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
    assert_int_equal(daybook_flush(at.store, &at.error), DAYBOOK_EIO);
    dbk_sim_clear_faults(at.sim);
    assert_int_equal(append_sized(&at, "a.b.c", 10), DAYBOOK_OK);
    assert_int_equal(daybook_flush(at.store, &at.error), DAYBOOK_OK);
    lose_power(&at);
    assert_int_equal(count_of(&at, "A"), 4);
    end(&at);
}

// A reader looks just when a group has been written and nobody has been told.
static struct looking_disk {
    fixture *at;
    uint64_t seen;
    bool is_armed;
} looking;

static int64_t write_and_look(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size,
                              uint64_t offset) {
    (void)vfs;
    fixture *at = looking.at;
    int64_t moved = at->inner->write_at(at->inner, file, data, size, offset);
    if (!looking.is_armed) return moved;
    looking.is_armed = false;
    daybook_open_options options = at->options;
    options.vfs = dbk_sim_process(at->sim, 1);
    options.flags = DAYBOOK_OPEN_READ_ONLY;
    daybook_store *reader = NULL;
    assert_int_equal(daybook_open("/s", &options, &reader, &at->error), DAYBOOK_OK);
    daybook_query query;
    daybook_query_init(&query);
    assert_int_equal(daybook_count(reader, &query, &looking.seen, &at->error), DAYBOOK_OK);
    assert_int_equal(daybook_close(reader, NULL), DAYBOOK_OK);
    return moved;
}

static void a_reader_sees_what_was_acknowledged_only(void **state) {
    (void)state;
    fixture at;
    begin(&at, 6);
    looking.at = &at;
    at.vfs.write_at = write_and_look;
    for (int i = 0; i < 3; i++) assert_int_equal(append_sized(&at, "a.b.c", 10), DAYBOOK_OK);
    looking.is_armed = true;
    assert_int_equal(append_sized(&at, "a.b.c", 10), DAYBOOK_OK);
    assert_false(looking.is_armed);
    assert_int_equal(looking.seen, 3);
    end(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_journal_is_reused_once_the_manifest_gave_it_up),
        cmocka_unit_test(a_flush_rests_on_durable_removals),
        cmocka_unit_test(a_merge_rests_on_durable_removals),
        cmocka_unit_test(a_cut_counts_a_removal_once),
        cmocka_unit_test(removals_outlive_a_flush_that_failed),
        cmocka_unit_test(a_reader_sees_what_was_acknowledged_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
