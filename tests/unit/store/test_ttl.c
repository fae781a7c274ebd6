// SPDX-License-Identifier: Apache-2.0
// Times to live and markers, on a simulated machine: what expires when, for whom, and what is left of it.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/time.h"
#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "store/expiry.h"
#include "store/store_internal.h"

typedef struct fixture {
    dbk_sim *sim;
    daybook_vfs *vfs;
    daybook_store *store;
    struct warnings *warnings; // NULL: nobody counts
} fixture;

typedef struct warnings {
    const char *wanted; // the text of those that count
    atomic_uint count;
} warnings;

static void count_warnings(void *context, int level, daybook_slice message) {
    warnings *counted = context;
    size_t size = strlen(counted->wanted);
    if (level != DAYBOOK_LOG_WARNING) return;
    for (size_t i = 0; i + size <= message.size; i++) {
        if (memcmp((const char *)message.data + i, counted->wanted, size) != 0) continue;
        atomic_fetch_add(&counted->count, 1);
        return;
    }
}

static daybook_store *open_store(fixture *at, unsigned flags) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = at->vfs;
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND | flags;
    options.journal_max_bytes = 8 << 20;
    if (at->warnings != NULL) options.log = count_warnings;
    options.log_context = at->warnings;
    daybook_error error;
    daybook_error_init(&error);
    daybook_store *store = NULL;
    if (daybook_open("/s", &options, &store, &error) != DAYBOOK_OK) fail_msg("%s", error.message);
    return store;
}

static void configure(fixture *at, daybook_stream_config said, bool is_new) {
    daybook_slice subject = daybook_text("s.>");
    said.name = daybook_text("S");
    said.subjects = &subject;
    said.subject_count = 1;
    said.flags |= DAYBOOK_STREAM_ALLOW_TTL;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = is_new ? daybook_stream_add(at->store, &said, &error)
                                   : daybook_stream_update(at->store, &said, &error);
    if (status != DAYBOOK_OK) fail_msg("%s", error.message);
}

static daybook_stream_config plain(void) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.aggregate_tokens = 0;
    return config;
}

static int set_up(void **state) {
    static fixture only;
    fixture *at = &only;
    memset(at, 0, sizeof *at);
    if (dbk_sim_new(7, &at->sim) != DAYBOOK_OK) return -1;
    at->vfs = dbk_sim_vfs(at->sim);
    at->store = open_store(at, 0);
    *state = at;
    return 0;
}

static int tear_down(void **state) {
    fixture *at = *state;
    daybook_status status = daybook_close(at->store, NULL);
    dbk_sim_free(at->sim);
    return status == DAYBOOK_OK ? 0 : -1;
}

static uint64_t append_with(fixture *at, const char *subject, int64_t ttl_s, const daybook_header *headers,
                            size_t count) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text("data");
    event.ttl_s = ttl_s;
    event.headers = headers;
    event.header_count = count;
    daybook_receipt receipt;
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_append(at->store, &event, 1, NULL, &receipt, &error) != DAYBOOK_OK)
        fail_msg("%s", error.message);
    return receipt.seq;
}

static uint64_t append(fixture *at, const char *subject, int64_t ttl_s) {
    return append_with(at, subject, ttl_s, NULL, 0);
}

static void append_many(fixture *at, const char *subject, size_t count, int64_t ttl_s) {
    daybook_event *events = malloc(count * sizeof *events);
    assert_non_null(events);
    for (size_t i = 0; i < count; i++) {
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text(subject);
        events[i].ttl_s = ttl_s;
    }
    daybook_status status = daybook_append(at->store, events, count, NULL, NULL, NULL);
    free(events);
    assert_int_equal(status, DAYBOOK_OK);
}

static void maintain(daybook_store *store) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_maintain(store, &error);
    if (status != DAYBOOK_OK && status != DAYBOOK_END) fail_msg("%s", error.message);
}

static void pass(fixture *at, int64_t seconds) {
    dbk_sim_advance_ns(at->sim, seconds * DBK_SECOND_NS);
}

// Markers are stored by a thread of the store: an append that is refused queues behind them.
static void settle(fixture *at) {
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_EXPECT_STREAM_SEQ);
    condition.expected = UINT64_MAX;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = &condition;
    options.condition_count = 1;
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("s.refused");
    for (int i = 0; i < 5; i++) {
        maintain(at->store);
        assert_int_equal(daybook_append(at->store, &event, 1, &options, NULL, NULL), DAYBOOK_ECONFLICT);
        dbk_sim_advance_ns(at->sim, 50 * DBK_MILLISECOND_NS);
    }
}

static uint64_t count_matching(daybook_store *store, const char *filter) {
    daybook_slice text = daybook_text(filter);
    daybook_query query;
    daybook_query_init(&query);
    query.filters = &text;
    query.filter_count = 1;
    uint64_t found = UINT64_MAX;
    assert_int_equal(daybook_count(store, &query, &found, NULL), DAYBOOK_OK);
    return found;
}

static daybook_stream_info info_of(daybook_store *store) {
    daybook_stream_info *info;
    assert_int_equal(daybook_stream_get_info(store, daybook_text("S"), &info, NULL), DAYBOOK_OK);
    daybook_stream_info copy = *info;
    daybook_stream_info_release(store, info);
    return copy;
}

static bool holds(fixture *at, const char *subject, uint64_t expected) {
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_EXPECT_SUBJECT_SEQ);
    condition.stream = daybook_text("S");
    condition.filter = daybook_text(subject);
    condition.expected = expected;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = &condition;
    options.condition_count = 1;
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("s.probe");
    daybook_status status = daybook_append(at->store, &event, 1, &options, NULL, NULL);
    assert_true(status == DAYBOOK_OK || status == DAYBOOK_ECONFLICT);
    return status == DAYBOOK_OK;
}

static int add_one(void *context, const daybook_list_entry *entry) {
    (void)entry;
    ++*(int *)context;
    return 0;
}

static int count_subjects(daybook_store *store) {
    int count = 0;
    assert_int_equal(daybook_list(store, DAYBOOK_LIST_SUBJECTS, daybook_text("S"), daybook_text(""), add_one,
                                  &count, NULL),
                     DAYBOOK_OK);
    return count;
}

static void hidden_at_once_and_removed_in_the_next_round(void **state) {
    fixture *at = *state;
    configure(at, plain(), true);
    uint64_t old = append(at, "s.a", 0);
    uint64_t seq = append(at, "s.a", 5);
    (void)append(at, "s.b", 3);
    for (int is_flushed = 0; is_flushed < 2; is_flushed++) {
        assert_int_equal(count_matching(at->store, "s.a"), 2);
        assert_true(holds(at, "s.a", seq));
        assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    }
    dbk_sim_advance_ns(at->sim, 5 * DBK_SECOND_NS - 1000000);
    assert_int_equal(count_matching(at->store, "s.a"), 2);
    assert_int_equal(count_matching(at->store, "s.b"), 0);
    dbk_sim_advance_ns(at->sim, 1000000);
    assert_int_equal(count_matching(at->store, "s.a"), 1);
    assert_true(holds(at, "s.a", old)); // by events, not by the index
    assert_true(holds(at, "s.b", 0));
    assert_int_equal(count_subjects(at->store), 2); // s.a and the probe
    assert_int_equal(info_of(at->store).message_count, 3 + 4);
    pass(at, 1);
    maintain(at->store);
    assert_int_equal(info_of(at->store).message_count, 1 + 4);
    assert_int_equal(count_matching(at->store, "s.a"), 1);
    assert_int_equal(count_subjects(at->store), 2);
}

static void last_per_subject_gives_the_one_before(void **state) {
    fixture *at = *state;
    configure(at, plain(), true);
    uint64_t old = append(at, "s.a", 0);
    (void)append(at, "s.a", 2);
    for (int is_flushed = 0; is_flushed < 2; is_flushed++) {
        if (is_flushed)
            assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
        else
            pass(at, 2);
        daybook_query query;
        daybook_query_init(&query);
        query.stream = daybook_text("S");
        query.flags = DAYBOOK_QUERY_LAST_PER_SUBJECT;
        daybook_cursor *cursor;
        daybook_recorded_event event;
        assert_int_equal(daybook_read(at->store, &query, &cursor, NULL), DAYBOOK_OK);
        assert_int_equal(daybook_cursor_next(cursor, 0, &event, NULL), DAYBOOK_OK);
        assert_int_equal(event.seq, old);
        assert_int_equal(event.event.ttl_s, 0);
        assert_int_equal(daybook_cursor_next(cursor, 0, &event, NULL), DAYBOOK_END);
        daybook_cursor_close(cursor);
    }
}

static void only_where_the_stream_allows_it(void **state) {
    fixture *at = *state;
    daybook_slice subject = daybook_text("p.>");
    daybook_stream_config config = plain();
    config.name = daybook_text("P");
    config.subjects = &subject;
    config.subject_count = 1;
    config.delete_marker_ttl_s = 1;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_EINVALID);
    config.delete_marker_ttl_s = 0;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("p.x");
    event.ttl_s = 1;
    assert_int_equal(daybook_append(at->store, &event, 1, NULL, NULL, NULL), DAYBOOK_EINVALID);
    config.flags = DAYBOOK_STREAM_ALLOW_TTL;
    config.delete_marker_ttl_s = 7;
    assert_int_equal(daybook_stream_update(at->store, &config, NULL), DAYBOOK_OK);
    static const int64_t bad[] = {-2, INT64_MIN, (int64_t)DAYBOOK_TTL_S_MAX + 1, INT64_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        event.ttl_s = bad[i];
        assert_int_equal(daybook_append(at->store, &event, 1, NULL, NULL, NULL), DAYBOOK_EINVALID);
    }
    event.ttl_s = DAYBOOK_TTL_S_MAX;
    assert_int_equal(daybook_append(at->store, &event, 1, NULL, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    at->store = open_store(at, 0);
    daybook_stream_info *info;
    assert_int_equal(daybook_stream_get_info(at->store, daybook_text("P"), &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->config.delete_marker_ttl_s, 7);
    assert_true((info->config.flags & DAYBOOK_STREAM_ALLOW_TTL) != 0);
    assert_int_equal(info->message_count, 1);
    daybook_stream_info_release(at->store, info);
    config.flags = 0;
    config.delete_marker_ttl_s = 0;
    assert_int_equal(daybook_stream_update(at->store, &config, NULL), DAYBOOK_EINVALID); // never taken back
}

static void age_passes_over_what_never_goes(void **state) {
    fixture *at = *state;
    daybook_stream_config config = plain();
    config.max_age_ns = 10 * DBK_SECOND_NS;
    configure(at, config, true);
    (void)append(at, "s.a", 0);
    (void)append(at, "s.b", 60); // max_age comes first
    uint64_t stays = append(at, "s.c", DAYBOOK_TTL_NEVER);
    (void)append(at, "s.d", 0);
    pass(at, 5);
    (void)append(at, "s.e", 0);
    pass(at, 5);
    assert_int_equal(count_matching(at->store, "s.>"), 2);
    assert_true(holds(at, "s.d", 0));
    assert_true(holds(at, "s.c", stays));
    maintain(at->store);
    assert_int_equal(info_of(at->store).message_count, 2 + 2);
    assert_int_equal(info_of(at->store).first_seq, stays);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    pass(at, 20);
    maintain(at->store);
    daybook_stream_info info = info_of(at->store);
    assert_int_equal(info.message_count, 1);
    assert_int_equal(info.first_seq, stays);
    assert_int_equal(count_matching(at->store, "s.>"), 1);
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    at->store = open_store(at, 0);
    assert_int_equal(info_of(at->store).message_count, 1);
    assert_int_equal(count_matching(at->store, "s.>"), 1);
}

static daybook_status append_behind(fixture *at, const char *subject, uint64_t seq) {
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_EXPECT_SUBJECT_SEQ);
    condition.stream = daybook_text("S");
    condition.filter = daybook_text(subject);
    condition.expected = seq;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = &condition;
    options.condition_count = 1;
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("s.other");
    return daybook_append(at->store, &event, 1, &options, NULL, NULL);
}

static uint64_t segment_reads(fixture *at) {
    return dbk_sim_count(at->sim, DBK_SIM_READ, ".dbs").calls;
}

static void forget_segments(daybook_store *store) {
    dbk_view *view = dbk_store_get_view(store);
    for (size_t i = 0; i < view->segment_count; i++)
        dbk_cache_forget(store->cache, dbk_segment_get_summary(view->sources[i]->segment)->segment_id);
    dbk_view_unref(view);
}

// What is left of a segment that has aged never goes: conditions ask the index alone again, and read no block.
static void what_never_goes_is_found_by_the_index(void **state) {
    fixture *at = *state;
    daybook_stream_config config = plain();
    config.max_age_ns = 10 * DBK_SECOND_NS;
    configure(at, config, true);
    (void)append(at, "s.a", 0);
    uint64_t seq = append(at, "s.never", DAYBOOK_TTL_NEVER);
    (void)append(at, "s.b", 0);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    for (int has_aged = 0; has_aged < 2; has_aged++) {
        if (has_aged) pass(at, 20);
        uint64_t reads[2]; // before and behind the removal
        for (int i = 0; i < 2; i++) {
            if (i == 1) maintain(at->store);
            forget_segments(at->store);
            assert_int_equal(append_behind(at, "s.never", seq), DAYBOOK_OK);
            uint64_t before = segment_reads(at);
            assert_int_equal(count_matching(at->store, "s.never"), 1);
            reads[i] = segment_reads(at) - before; // the block, unless the condition had to read it
        }
        assert_true(reads[1] > 0);
        assert_int_equal(reads[0] == 0, has_aged);
        assert_int_equal(append_behind(at, "s.b", 0), has_aged ? DAYBOOK_OK : DAYBOOK_ECONFLICT);
    }
    assert_int_equal(info_of(at->store).first_seq, seq);
}

// An index that does not say what is due is asked once a minute, not with every condition and listing.
static void an_unreadable_index_is_asked_seldom(void **state) {
    fixture *at = *state;
    configure(at, plain(), true);
    (void)append(at, "s.a", 1000000);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    at->store = open_store(at, 0);
    forget_segments(at->store);
    dbk_sim_fault fault = {
        .kind = DBK_SIM_READ, .suffix = ".dbs", .nth = 1, .is_forever = true, .error = EIO};
    assert_int_equal(dbk_sim_fail(at->sim, &fault), DAYBOOK_OK);
    dbk_view *view = dbk_store_get_view(at->store);
    dbk_source *source = view->sources[0];
    atomic_store(&source->expiry.next_second, 0); // opening asked, too
    int64_t now_ns = at->vfs->clock_real_ns(at->vfs);
    for (int minute = 0; minute < 3; minute++, now_ns += 61 * DBK_SECOND_NS) {
        uint64_t before = segment_reads(at);
        assert_true(dbk_expiry_may_be_due(source, now_ns));
        uint64_t asked = segment_reads(at);
        assert_true(asked > before);
        for (int i = 0; i < 10; i++) assert_true(dbk_expiry_may_be_due(source, now_ns + i * DBK_SECOND_NS));
        assert_int_equal(segment_reads(at), asked);
    }
    dbk_sim_clear_faults(at->sim);
    assert_true(dbk_expiry_may_be_due(source, now_ns - 10 * DBK_SECOND_NS));
    assert_false(dbk_expiry_may_be_due(source, now_ns));
    dbk_view_unref(view);
}

static bool last_is_marker(fixture *at, const char *subject, const char *ttl) {
    daybook_slice text = daybook_text(subject);
    daybook_query query;
    daybook_query_init(&query);
    query.filters = &text;
    query.filter_count = 1;
    query.flags = DAYBOOK_QUERY_REVERSE;
    daybook_cursor *cursor;
    daybook_recorded_event event;
    assert_int_equal(daybook_read(at->store, &query, &cursor, NULL), DAYBOOK_OK);
    daybook_status status = daybook_cursor_next(cursor, 0, &event, NULL);
    bool is_marker = status == DAYBOOK_OK && event.event.header_count == 3 && event.event.data.size == 0;
    static const char *const names[] = {"Nats-Marker-Reason", "Nats-TTL", "Nats-Rollup"};
    const char *values[] = {"MaxAge", ttl, "sub"};
    for (size_t i = 0; is_marker && i < 3; i++) {
        const daybook_header *header = &event.event.headers[i];
        is_marker = header->name.size == strlen(names[i]) &&
                    memcmp(header->name.data, names[i], header->name.size) == 0 &&
                    header->value.size == strlen(values[i]) &&
                    memcmp(header->value.data, values[i], header->value.size) == 0;
    }
    if (is_marker)
        assert_int_equal(daybook_cursor_next(cursor, 0, &event, NULL), DAYBOOK_END); // the only one
    daybook_cursor_close(cursor);
    return is_marker;
}

static void markers_take_the_place_of_the_last(void **state) {
    fixture *at = *state;
    daybook_stream_config config = plain();
    config.max_age_ns = 10 * DBK_SECOND_NS;
    config.delete_marker_ttl_s = 90;
    config.max_msgs = 6; // and none is refused its marker
    config.discard = DAYBOOK_DISCARD_NEW;
    config.max_msg_size = 30;
    configure(at, config, true);
    const daybook_header purge = {daybook_text("KV-Operation"), daybook_text("PURGE")};
    const daybook_header reason = {daybook_text("Nats-Marker-Reason"), daybook_text("x")};
    (void)append(at, "s.a", 0);
    (void)append(at, "s.b", 0);
    (void)append(at, "s.b", 3);
    (void)append_with(at, "s.c", 0, &purge, 1);
    (void)append_with(at, "s.d", 0, &reason, 1);
    (void)append(at, "s.e", 4);
    pass(at, 5);
    settle(at);
    assert_int_equal(count_matching(at->store, "s.b"), 1); // its older one lives
    assert_true(last_is_marker(at, "s.e", "1m30s"));
    pass(at, 5);
    settle(at);
    assert_true(last_is_marker(at, "s.a", "1m30s"));
    assert_true(last_is_marker(at, "s.b", "1m30s"));
    assert_int_equal(count_matching(at->store, "s.c"), 0);
    assert_int_equal(count_matching(at->store, "s.d"), 0);
    pass(at, 1);
    settle(at);
    assert_int_equal(info_of(at->store).message_count, 3);
    assert_int_equal(info_of(at->store).last_seq, 9); // each made once
    pass(at, 10);                                     // max_age comes before their own time to live
    settle(at);
    assert_int_equal(info_of(at->store).message_count, 0);
    assert_int_equal(info_of(at->store).last_seq, 9); // and leave none
}

static void the_expired_one_waits_for_its_marker(void **state) {
    fixture *at = *state;
    daybook_stream_config config = plain();
    config.delete_marker_ttl_s = 1000;
    configure(at, config, true);
    for (uint64_t is_flushed = 0; is_flushed < 2; is_flushed++) {
        (void)append(at, is_flushed ? "s.b" : "s.a", 2);
        if (is_flushed) assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
        pass(at, 3);
        maintain(at->store); // submits it
        uint64_t before = info_of(at->store).message_count;
        (void)append(at, "s.behind", 0); // queues behind it
        assert_true(last_is_marker(at, is_flushed ? "s.b" : "s.a", "16m40s"));
        assert_true(before >= 1 + 2 * is_flushed);
        pass(at, 1);
        maintain(at->store);
        assert_int_equal(info_of(at->store).message_count, 2 + 2 * is_flushed);
    }
}

// Each marker asks for a round, but rounds keep their distance: what the markers replace goes with the next one.
static void markers_do_not_hurry_rounds(void **state) {
    fixture *at = *state;
    daybook_stream_config config = plain();
    config.delete_marker_ttl_s = 1000;
    configure(at, config, true);
    (void)append(at, "s.a", 2);
    (void)append(at, "s.b", 2);
    pass(at, 3);
    maintain(at->store); // submits both
    (void)append(at, "s.behind", 0);
    int64_t round_ns = atomic_load(&at->store->expired_ns);
    for (int i = 0; i < 4; i++) {
        maintain(at->store);
        assert_true(atomic_load(&at->store->expired_ns) == round_ns);
        dbk_sim_advance_ns(at->sim, 10 * DBK_MILLISECOND_NS);
    }
    assert_int_equal(info_of(at->store).message_count, 5);
    dbk_sim_advance_ns(at->sim, 15 * DBK_MILLISECOND_NS);
    maintain(at->store);
    assert_true(atomic_load(&at->store->expired_ns) > round_ns);
    assert_int_equal(info_of(at->store).message_count, 3);
    assert_true(last_is_marker(at, "s.a", "16m40s"));
}

// What expires elsewhere is not the work of who appends, unless the stream is full; and then some of it only.
static void appends_expire_only_where_a_stream_is_full(void **state) {
    fixture *at = *state;
    enum { MANY = 6 * 1024 }; // more than an append removes at once
    configure(at, plain(), true);
    daybook_slice subject = daybook_text("n.>");
    daybook_stream_config config = plain();
    config.name = daybook_text("N");
    config.subjects = &subject;
    config.subject_count = 1;
    config.flags |= DAYBOOK_STREAM_ALLOW_TTL;
    config.discard = DAYBOOK_DISCARD_NEW;
    config.max_msgs = 2;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    (void)append(at, "n.a", 1);
    append_many(at, "s.a", MANY, 2);
    pass(at, 3);
    (void)append(at, "n.b", 0); // there is room
    assert_int_equal(info_of(at->store).message_count, MANY);
    (void)append(at, "n.c", 0); // there is none, but n.a, the first that was due, has expired
    uint64_t left = info_of(at->store).message_count;
    assert_true(left > 0 && left < MANY);
    for (int i = 0; i < 3; i++) {
        maintain(at->store);
        pass(at, 1);
    }
    assert_int_equal(info_of(at->store).message_count, 0);
}

// A million would do; each in the same second.
static void many_at_once_go_in_steps(void **state) {
    fixture *at = *state;
    configure(at, plain(), true);
    enum { COUNT = 100000, BATCH = 10000 };
    for (size_t i = 0; i < COUNT; i += BATCH) {
        append_many(at, "s.many", BATCH, 2);
        if (i == COUNT / 2) assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    }
    (void)append(at, "s.other", 0);
    pass(at, 3);
    assert_int_equal(count_matching(at->store, "s.>"), 1);
    maintain(at->store);
    uint64_t left = info_of(at->store).message_count;
    assert_true(left > 1 && left < COUNT); // a round is bounded
    for (int i = 0; i < 10; i++) maintain(at->store);
    assert_int_equal(info_of(at->store).message_count, 1);
    assert_int_equal(info_of(at->store).byte_count, 40 + 7 + 4);
}

// What a list that forgets by the rule knows.
typedef struct known {
    unsigned subject;
    int64_t expiry_ns;
} known;

static uint64_t expected_of(const known *all, size_t count, unsigned subject, int64_t now_ns) {
    uint64_t found = 0;
    for (size_t i = 0; i < count; i++) found += all[i].subject == subject && all[i].expiry_ns > now_ns;
    return found;
}

static void agrees_with_a_list_that_forgets(void **state) {
    fixture *at = *state;
    configure(at, plain(), true);
    enum { STEPS = 1500, SUBJECTS = 5 };
    static known all[STEPS];
    size_t count = 0, looks = 0;
    uint32_t random = 12345;
    for (int step = 0; step < STEPS; step++) {
        random = random * 1103515245 + 12345;
        unsigned what = random >> 16 & 31, subject = random >> 24 & 255;
        subject %= SUBJECTS;
        if (what < 20) {
            char text[8];
            (void)snprintf(text, sizeof text, "s.%u", subject);
            int64_t ttl_s = (int64_t)(what % 7) - 1; // -1: never; 0: none
            int64_t before_ns = at->vfs->clock_real_ns(at->vfs);
            (void)append(at, text, ttl_s);
            int64_t after_ns = at->vfs->clock_real_ns(at->vfs);
            assert_true(after_ns - before_ns < DBK_SECOND_NS / 4);
            all[count++] = (known){subject, ttl_s <= 0 ? INT64_MAX : after_ns + ttl_s * DBK_SECOND_NS};
        } else if (what < 26) {
            dbk_sim_advance_ns(at->sim, 700 * DBK_MILLISECOND_NS);
        } else if (what < 28) {
            maintain(at->store);
        } else if (what == 28) {
            assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
        } else if (what == 29) {
            (void)daybook_close(at->store, NULL);
            at->store = open_store(at, 0);
        } else if (what == 30) {
            dbk_sim_stop_now(at->sim);
            (void)daybook_close(at->store, NULL);
            dbk_sim_crash(at->sim, DBK_SIM_POWER_LOSS_DROP_ALL);
            at->store = open_store(at, 0);
        }
        // Well away from the moments at which something ends.
        int64_t now_ns = at->vfs->clock_real_ns(at->vfs);
        bool is_clear = true;
        for (size_t i = 0; i < count; i++) {
            int64_t distance_ns = all[i].expiry_ns == INT64_MAX ? INT64_MAX : all[i].expiry_ns - now_ns;
            if (distance_ns < DBK_SECOND_NS / 4 && distance_ns > -DBK_SECOND_NS / 4) is_clear = false;
        }
        if (!is_clear) continue;
        looks++;
        for (unsigned s = 0; s < SUBJECTS; s++) {
            char text[8];
            (void)snprintf(text, sizeof text, "s.%u", s);
            if (count_matching(at->store, text) != expected_of(all, count, s, now_ns))
                fail_msg("step %d: %s has %llu, expected %llu", step, text,
                         (unsigned long long)count_matching(at->store, text),
                         (unsigned long long)expected_of(all, count, s, now_ns));
        }
    }
    assert_true(looks > 200);
    pass(at, 10);
    for (int i = 0; i < 3; i++) maintain(at->store);
    uint64_t left = 0;
    for (unsigned s = 0; s < SUBJECTS; s++) left += expected_of(all, count, s, INT64_MAX - 1);
    assert_int_equal(info_of(at->store).message_count, left);
}

static void readers_count_what_they_give(void **state) {
    fixture *at = *state;
    daybook_stream_config config = plain();
    config.max_age_ns = 10 * DBK_SECOND_NS;
    configure(at, config, true);
    (void)append(at, "s.a", 3);
    (void)append(at, "s.a", 0);
    (void)append(at, "s.b", DAYBOOK_TTL_NEVER);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    (void)append(at, "s.c", 3);
    daybook_store *reader = open_store(at, DAYBOOK_OPEN_READ_ONLY);
    assert_int_equal(info_of(reader).message_count, 4);
    pass(at, 3);
    assert_int_equal(info_of(reader).message_count, 2);
    assert_int_equal(count_matching(reader, "s.>"), 2);
    assert_int_equal(count_subjects(reader), 2);
    pass(at, 1); // by whole seconds
    maintain(at->store);
    assert_int_equal(info_of(at->store).message_count, 2);
    (void)append(at, "s.d", 0); // brings the removal along
    assert_int_equal(info_of(reader).message_count, 3);
    pass(at, 7);
    assert_int_equal(info_of(reader).message_count, 2);
    assert_int_equal(count_matching(reader, "s.>"), 2);
    (void)daybook_close(reader, NULL);
}

// Segments are merged while what is in them expires: each event is removed once.
static void merges_meanwhile_do_not_count_twice(void **state) {
    (void)state;
    enum { BATCH = 500, BATCHES = 120 };
    fixture at = {0};
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.memtable_bytes = 256 << 10;
    assert_int_equal(daybook_open(":memory:", &options, &at.store, NULL), DAYBOOK_OK);
    configure(&at, plain(), true);
    static daybook_event events[BATCH];
    for (size_t i = 0; i < BATCH; i++) {
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text("s.x");
    }
    for (int i = 0; i < BATCHES; i++) {
        for (size_t j = 0; j < BATCH; j++) events[j].ttl_s = 1 + (int64_t)(j % 2);
        assert_int_equal(daybook_append(at.store, events, BATCH, NULL, NULL, NULL), DAYBOOK_OK);
        if (i % 4 == 0) assert_int_equal(daybook_flush(at.store, NULL), DAYBOOK_OK);
    }
    (void)append(&at, "s.stays", 0);
    daybook_stream_info info = info_of(at.store);
    for (int tries = 0; info.message_count > 1 && tries < 300; tries++) {
        const struct timespec pause = {.tv_nsec = 20000000};
        (void)nanosleep(&pause, NULL);
        if (tries % 10 == 0) (void)append(&at, "s.x", 1);
        assert_int_equal(daybook_flush(at.store, NULL), DAYBOOK_OK); // more to merge
        info = info_of(at.store);
    }
    for (int tries = 0; info_of(at.store).message_count != 1 && tries < 300; tries++) {
        const struct timespec pause = {.tv_nsec = 20000000};
        (void)nanosleep(&pause, NULL);
    }
    assert_int_equal(info_of(at.store).message_count, 1);
    assert_int_equal(info_of(at.store).byte_count, 40 + 7 + 4);
    assert_int_equal(daybook_close(at.store, NULL), DAYBOOK_OK);
}

// Several write the same subjects, by the real clock, while what they wrote expires.
typedef struct writer {
    daybook_store *store;
    unsigned number;
    int64_t gap_ns; // the longest between two of its events of a subject
} writer;

static int64_t monotonic_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * DBK_SECOND_NS + now.tv_nsec;
}

static void *write_some(void *context) {
    writer *of = context;
    int64_t written_ns[20];
    for (unsigned i = 0; i < 300; i++) {
        char subject[16];
        unsigned number = (i + of->number) % 20;
        (void)snprintf(subject, sizeof subject, "s.%u", number);
        int64_t gap_ns = i < 20 ? 0 : monotonic_ns() - written_ns[number];
        if (gap_ns > of->gap_ns) of->gap_ns = gap_ns;
        written_ns[number] = monotonic_ns();
        daybook_event event;
        daybook_event_init(&event);
        event.subject = daybook_text(subject);
        event.ttl_s = 1;
        if (daybook_append(of->store, &event, 1, NULL, NULL, NULL) != DAYBOOK_OK) return context;
        const struct timespec pause = {.tv_nsec = 5000000};
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

static void all_go_beside_their_writers(void **state) {
    (void)state;
    daybook_store *store;
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.memtable_bytes = 256 << 10;
    assert_int_equal(daybook_open(":memory:", &options, &store, NULL), DAYBOOK_OK);
    fixture at = {.store = store};
    daybook_stream_config config = plain();
    config.delete_marker_ttl_s = 1;
    configure(&at, config, true);
    pthread_t threads[3];
    writer writers[3];
    for (unsigned i = 0; i < 3; i++) {
        writers[i] = (writer){.store = store, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_some, &writers[i]), 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
        assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    }
    daybook_stream_info info = info_of(store);
    for (int tries = 0; info.message_count > 0 && tries < 300; tries++) {
        const struct timespec pause = {.tv_nsec = 100000000};
        (void)nanosleep(&pause, NULL);
        info = info_of(store);
    }
    assert_int_equal(info.message_count, 0);
    assert_int_equal(info.byte_count, 0);
    assert_true(info.last_seq >= 900 + 20); // each subject had its marker in the end
    bool has_stalled = false; // and one more where it expired in between, which it did not otherwise
    for (unsigned i = 0; i < 3; i++) has_stalled = has_stalled || writers[i].gap_ns > DBK_SECOND_NS / 2;
    if (!has_stalled) assert_int_equal(info.last_seq, 900 + 20);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
}

// Markers of three subjects, the power gone at each change of the disk meanwhile.
static bool crash_at(uint64_t step, dbk_sim_crash_kind kind) {
    static fixture world;
    fixture *at = &world;
    memset(at, 0, sizeof *at);
    assert_int_equal(dbk_sim_new(step * 3 + (uint64_t)kind, &at->sim), DAYBOOK_OK);
    at->vfs = dbk_sim_vfs(at->sim);
    at->store = open_store(at, 0);
    daybook_stream_config config = plain();
    config.delete_marker_ttl_s = 1000;
    configure(at, config, true);
    static const char *const subjects[] = {"s.a", "s.b", "s.c"};
    for (size_t i = 0; i < 3; i++) (void)append(at, subjects[i], 2);
    pass(at, 3);
    uint64_t before = dbk_sim_steps(at->sim);
    dbk_sim_stop_after(at->sim, step);
    for (int i = 0; i < 6; i++) {
        (void)daybook_maintain(at->store, NULL);
        if (i % 2 == 1) (void)daybook_flush(at->store, NULL);
        pass(at, 1);
    }
    bool reached = dbk_sim_steps(at->sim) - before >= step;
    dbk_sim_crash(at->sim, kind);
    (void)daybook_close(at->store, NULL);
    at->store = open_store(at, 0);
    settle(at);
    pass(at, 1);
    settle(at);
    for (size_t i = 0; i < 3; i++) {
        if (!last_is_marker(at, subjects[i], "16m40s")) fail_msg("step %d: no marker", (int)step);
    }
    daybook_stream_info info = info_of(at->store);
    if (info.message_count != 3 || info.last_seq != 6)
        fail_msg("step %d: %d messages, the last is %d", (int)step, (int)info.message_count,
                 (int)info.last_seq);
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    dbk_sim_free(at->sim);
    return reached;
}

static void each_marker_once_wherever_power_is_lost(void **state) {
    (void)state;
    static const dbk_sim_crash_kind kinds[] = {DBK_SIM_POWER_LOSS, DBK_SIM_POWER_LOSS_DROP_ALL};
    for (size_t i = 0; i < 2; i++) {
        uint64_t step = 1;
        while (crash_at(step, kinds[i])) step++;
        assert_true(step > 5);
    }
}

// ---- A device that fails ----------------------------------------------------------------------------------

static void add_to_age(fixture *at, const char *name, const char *filter, unsigned flags, int64_t max_age_s) {
    daybook_slice subject = daybook_text(filter);
    daybook_stream_config config = plain();
    config.name = daybook_text(name);
    config.subjects = &subject;
    config.subject_count = 1;
    config.flags |= flags;
    config.max_age_ns = max_age_s * DBK_SECOND_NS;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
}

// By the store's own book: daybook_stream_get_info reads the oldest event, which may be what cannot be read.
static uint64_t messages_of(fixture *at, const char *name) {
    return atomic_load(&dbk_stream_table_find(at->store->streams, daybook_text(name))->message_count);
}

static void begin_on_device(fixture *at, warnings *counted) {
    memset(at, 0, sizeof *at);
    assert_int_equal(dbk_sim_new(11, &at->sim), DAYBOOK_OK);
    at->vfs = dbk_sim_vfs(at->sim);
    at->warnings = counted;
    at->store = open_store(at, 0);
}

// Background work, as long as it lasts: merging may say that it cannot read, the round may not.
static void pass_rounds(fixture *at, int seconds) {
    for (int i = 0; i < seconds; i++) {
        pass(at, 1);
        (void)daybook_maintain(at->store, NULL);
        assert_int_equal(atomic_load(&at->store->maintenance_status), DAYBOOK_OK);
    }
}

// From the nth read of segments on the device gives nothing. Of what is due in them nothing can be removed: it stays
// hidden, told of once a minute; others' goes, and appends find room.
static void check_unreadable(unsigned flags, int64_t max_age_s, int64_t ttl_s, uint64_t nth) {
    fixture only, *at = &only;
    warnings told = {.wanted = "cannot be removed, but is hidden"};
    begin_on_device(at, &told);
    add_to_age(at, "A", "a.>", flags, max_age_s);
    add_to_age(at, "B", "b.>", flags, max_age_s);
    for (int i = 0; i < 3; i++) (void)append(at, "a.x", ttl_s);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    at->store = open_store(at, 0);
    forget_segments(at->store); // opening looked for what has aged, and reads are to reach the device
    (void)append(at, "b.x", ttl_s);
    dbk_sim_fault fault = {
        .kind = DBK_SIM_READ, .suffix = ".dbs", .nth = nth, .is_forever = true, .error = EIO};
    assert_int_equal(dbk_sim_fail(at->sim, &fault), DAYBOOK_OK);
    pass_rounds(at, 8);
    bool has_failed = messages_of(at, "A") > 0; // not where it needs fewer reads
    assert_true(has_failed || nth > 1);
    assert_int_equal(messages_of(at, "B"), 0);
    assert_int_equal(messages_of(at, "A"), has_failed ? 3 : 0);
    assert_int_equal(atomic_load(&told.count), has_failed);
    (void)append(at, "b.y", 0);
    pass_rounds(at, 65);
    assert_int_equal(atomic_load(&told.count), has_failed ? 2 : 0);
    dbk_sim_clear_faults(at->sim);
    pass_rounds(at, 65);
    assert_int_equal(messages_of(at, "A"), 0);
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    dbk_sim_free(at->sim);
}

static void what_cannot_be_read_holds_up_nobody(void **state) {
    (void)state;
    for (uint64_t nth = 1; nth <= 3; nth++) {
        check_unreadable(DAYBOOK_STREAM_ALLOW_TTL, 0, 4, nth); // by its own time to live
        check_unreadable(DAYBOOK_STREAM_ALLOW_TTL, 4, 0, nth); // by age, event by event
        check_unreadable(0, 4, 0, nth);                        // by age
    }
}

// So it is with limits of number: those of others are enforced, and appends go on.
static void what_is_owed_holds_up_nobody(void **state) {
    (void)state;
    fixture only, *at = &only;
    warnings told = {.wanted = "limits of a stream: "};
    begin_on_device(at, &told);
    daybook_slice subject = daybook_text("m.>");
    daybook_stream_config config = plain();
    config.name = daybook_text("M");
    config.subjects = &subject;
    config.subject_count = 1;
    config.max_msgs = 2;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    add_to_age(at, "B", "b.>", 0, 4);
    for (int i = 0; i < 2; i++) (void)append(at, "m.x", 0);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    forget_segments(at->store);
    dbk_sim_fault fault = {
        .kind = DBK_SIM_READ, .suffix = ".dbs", .nth = 1, .is_forever = true, .error = EIO};
    assert_int_equal(dbk_sim_fail(at->sim, &fault), DAYBOOK_OK);
    for (int i = 0; i < 5; i++) (void)append(at, "m.x", 0);
    assert_int_equal(atomic_load(&told.count), 1); // not with each
    (void)append(at, "b.x", 0);
    pass_rounds(at, 8);
    (void)append(at, "m.x", 0);
    assert_int_equal(messages_of(at, "M"), 8);
    assert_int_equal(messages_of(at, "B"), 0);
    assert_int_equal(atomic_load(&told.count), 2);
    pass_rounds(at, 65);
    assert_int_equal(atomic_load(&told.count), 3);
    dbk_sim_clear_faults(at->sim);
    pass_rounds(at, 65);
    assert_int_equal(messages_of(at, "M"), 2);
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    dbk_sim_free(at->sim);
}

static void fill_journal(fixture *at) {
    static char text[200 << 10];
    memset(text, 'd', sizeof text - 1);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("s.fill");
    daybook_status status = DAYBOOK_OK;
    for (int size = sizeof text - 1; size > 0; size /= 10) {
        event.data = daybook_bytes(text, (size_t)size);
        do status = daybook_append(at->store, &event, 1, NULL, NULL, NULL);
        while (status == DAYBOOK_OK);
        assert_int_equal(status, DAYBOOK_ENOSPC);
    }
}

// A round, and what became of its markers.
static void expire_in_full(fixture *at) {
    dbk_sim_advance_ns(at->sim, 90 * DBK_MILLISECOND_NS);
    assert_int_equal(dbk_store_expire(at->store, true, NULL), DAYBOOK_OK);
    for (int tries = 0; atomic_load(&at->store->markers_under_way) > 0 && tries < 5000; tries++) {
        const struct timespec pause = {.tv_nsec = 1000000};
        (void)nanosleep(&pause, NULL);
    }
    assert_int_equal(atomic_load(&at->store->markers_under_way), 0);
}

// Of a store that takes nothing they are tried each second anew, and that is told of once a minute.
static void refused_markers_do_not_go_in_circles(void **state) {
    (void)state;
    fixture only, *at = &only;
    warnings told = {.wanted = "a marker for what has expired cannot be stored"};
    begin_on_device(at, &told);
    daybook_stream_config config = plain();
    config.delete_marker_ttl_s = 1000;
    configure(at, config, true);
    for (unsigned i = 0; i < 3; i++) (void)append(at, i == 0 ? "s.a" : i == 1 ? "s.b" : "s.c", 2);
    fill_journal(at);
    pass(at, 3);
    int64_t retry_ns = 0;
    for (int second = 0; second < 3; second++) {
        expire_in_full(at);
        assert_true(atomic_load(&at->store->marker_retry_ns) > retry_ns); // they were tried, and refused
        retry_ns = atomic_load(&at->store->marker_retry_ns);
        for (int i = 0; i < 9; i++) expire_in_full(at);
        assert_true(atomic_load(&at->store->marker_retry_ns) == retry_ns); // and not again
        dbk_sim_advance_ns(at->sim, 200 * DBK_MILLISECOND_NS);
    }
    assert_int_equal(atomic_load(&told.count), 1);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    pass(at, 2);
    settle(at);
    assert_true(last_is_marker(at, "s.a", "16m40s"));
    assert_true(last_is_marker(at, "s.b", "16m40s"));
    assert_true(last_is_marker(at, "s.c", "16m40s"));
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    dbk_sim_free(at->sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hidden_at_once_and_removed_in_the_next_round, set_up, tear_down),
        cmocka_unit_test_setup_teardown(last_per_subject_gives_the_one_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_where_the_stream_allows_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(age_passes_over_what_never_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_never_goes_is_found_by_the_index, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unreadable_index_is_asked_seldom, set_up, tear_down),
        cmocka_unit_test_setup_teardown(markers_take_the_place_of_the_last, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_expired_one_waits_for_its_marker, set_up, tear_down),
        cmocka_unit_test_setup_teardown(markers_do_not_hurry_rounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(appends_expire_only_where_a_stream_is_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_at_once_go_in_steps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(agrees_with_a_list_that_forgets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(readers_count_what_they_give, set_up, tear_down),
        cmocka_unit_test(all_go_beside_their_writers),
        cmocka_unit_test(merges_meanwhile_do_not_count_twice),
        cmocka_unit_test(what_cannot_be_read_holds_up_nobody),
        cmocka_unit_test(what_is_owed_holds_up_nobody),
        cmocka_unit_test(refused_markers_do_not_go_in_circles),
        cmocka_unit_test(each_marker_once_wherever_power_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
