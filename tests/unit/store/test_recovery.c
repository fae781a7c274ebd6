// SPDX-License-Identifier: Apache-2.0
// Recovery piece by piece: what a flush must say of streams, streams and segments as a manifest says that is
// made here, tables that follow one another, and a journal that holds what no program wrote. Each with memory
// that runs out at every place.
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
#include "lib/fault_allocator.h"
#include "store/recovery.h"

typedef struct fixture {
    dbk_sim *sim;
    fault_allocator faults;
    daybook_open_options options;
    daybook_store *store;
    daybook_error error;
} fixture;

static void begin(fixture *at) {
    memset(at, 0, sizeof *at);
    fault_allocator_init(&at->faults);
    daybook_error_init(&at->error);
    assert_int_equal(dbk_sim_new(1, &at->sim), DAYBOOK_OK);
    daybook_open_options_init(&at->options);
    at->options.vfs = dbk_sim_vfs(at->sim);
    at->options.allocator = &at->faults.allocator;
    at->options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    at->options.memory_budget_bytes = 32 << 20;
    at->options.memtable_bytes = 4 << 20;
    at->options.journal_max_bytes = 8 << 20;
}

static void end(fixture *at) {
    assert_int_equal(fault_allocator_live(&at->faults), 0);
    assert_int_equal(dbk_sim_open_files(at->sim), 0);
    dbk_sim_free(at->sim);
}

static void begin_bare(fixture *at) {
    begin(at);
    assert_int_equal(dbk_store_new_bare("/s", &at->options, &at->store, &at->error), DAYBOOK_OK);
}

static void end_bare(fixture *at) {
    dbk_store_free_bare(at->store);
    end(at);
}

static void open_store(fixture *at) {
    daybook_status status = daybook_open("/s", &at->options, &at->store, &at->error);
    if (status != DAYBOOK_OK) fail_msg("%s", at->error.message);
}

// Runs `act` with its first allocation failing, then its second, until it needs fewer.
static void check_each_allocation(fixture *at, daybook_status (*act)(fixture *at)) {
    for (uint64_t n = 1, has_failed = 1; has_failed != 0; n++) {
        fault_allocator_fail(&at->faults, n, false);
        daybook_status status = act(at);
        has_failed = fault_allocator_has_failed(&at->faults);
        fault_allocator_fail(&at->faults, 0, false);
        if (status != DAYBOOK_OK && (status != DAYBOOK_ENOMEM || !has_failed))
            fail_msg("step %d: %s: %s", (int)n, daybook_status_name(status), at->error.message);
    }
}

// ---- What a flush says of streams -------------------------------------------------------------------------

static dbk_stream *add_stream(fixture *at, uint32_t id, const char *name, const char *subject) {
    daybook_slice subjects = daybook_text(subject);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &subjects;
    config.subject_count = 1;
    dbk_stream *stream = NULL;
    assert_int_equal(dbk_stream_table_add(at->store->streams, id, &config, 5, &stream, &at->error),
                     DAYBOOK_OK);
    return stream;
}

// Writes the cut into an edit, applies it; how many bytes of records it has.
static size_t write_cut(fixture *at, const dbk_cut *cut, dbk_manifest *manifest) {
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, &at->faults.allocator);
    assert_int_equal(dbk_cut_write(cut, manifest, &edit), DAYBOOK_OK);
    assert_int_equal(dbk_manifest_apply(manifest, &edit), DAYBOOK_OK);
    size_t size = edit.records.size;
    dbk_manifest_edit_deinit(&edit);
    return size;
}

static void only_what_differs_is_written(void **state) {
    (void)state;
    fixture at;
    begin_bare(&at);
    dbk_cut_stream streams[2] = {{.stream = add_stream(&at, 3, "A", "a.>")},
                                 {.stream = add_stream(&at, 5, "B", "b.>")}};
    for (int i = 0; i < 2; i++) {
        streams[i].config = atomic_load(&streams[i].stream->config);
        streams[i].state = (dbk_manifest_stream){.id = streams[i].stream->id, .first_seq = 1};
    }
    dbk_cut cut = {.streams = streams, .stream_count = 2};
    dbk_manifest manifest;
    dbk_manifest_init(&manifest, &at.faults.allocator, at.options.vfs, "/s");
    assert_true(write_cut(&at, &cut, &manifest) > 0);
    assert_int_equal(manifest.stream_count, 2);
    assert_int_equal(manifest.entry_count, 2);
    assert_int_equal(write_cut(&at, &cut, &manifest), 0);

    dbk_manifest_stream *changed = &streams[1].state;
    uint64_t *const fields[] = {&changed->last_seq,        &changed->first_seq,     &changed->first_position,
                                &changed->purged_position, &changed->message_count, &changed->byte_count};
    for (size_t i = 0; i <= sizeof fields / sizeof fields[0]; i++) {
        if (i < sizeof fields / sizeof fields[0])
            *fields[i] += 7;
        else
            changed->last_recorded_ns += 7;
        assert_true(write_cut(&at, &cut, &manifest) > 0);
        assert_int_equal(write_cut(&at, &cut, &manifest), 0);
        const dbk_manifest_stream *known = dbk_manifest_find_stream(&manifest, 5);
        assert_non_null(known);
        assert_memory_equal(&known->last_seq, &changed->last_seq,
                            sizeof *known - offsetof(dbk_manifest_stream, last_seq));
    }

    // The configuration is another; and streams that are gone lie in front of, between and behind the others.
    char text[16];
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, &at.faults.allocator);
    dbk_manifest_edit_put_entry(&edit, DBK_CATALOGUE_STREAM, dbk_stream_key(3, text), daybook_text("old"));
    for (uint32_t id = 2; id <= 9; id += 2) {
        dbk_manifest_stream gone = {.id = id};
        dbk_manifest_edit_put_stream(&edit, &gone);
        dbk_manifest_edit_put_entry(&edit, DBK_CATALOGUE_STREAM, dbk_stream_key(id, text), daybook_text("g"));
    }
    assert_int_equal(dbk_manifest_apply(&manifest, &edit), DAYBOOK_OK);
    dbk_manifest_edit_deinit(&edit);
    assert_true(write_cut(&at, &cut, &manifest) > 0);
    assert_int_equal(manifest.stream_count, 2);
    assert_int_equal(manifest.entry_count, 2);
    assert_int_equal(write_cut(&at, &cut, &manifest), 0);
    dbk_manifest_deinit(&manifest);
    end_bare(&at);
}

static void a_cut_without_memory_is_none(void **state) {
    (void)state;
    fixture at;
    begin_bare(&at);
    dbk_cut_stream captured = {.stream = add_stream(&at, 3, "A", "a.>"), .state = {.id = 3}};
    captured.config = atomic_load(&captured.stream->config);
    dbk_cut cut = {.streams = &captured, .stream_count = 1};
    dbk_manifest manifest;
    dbk_manifest_init(&manifest, &at.faults.allocator, at.options.vfs, "/s");
    unsigned failed = 0;
    for (uint64_t n = 1, has_failed = 1; has_failed != 0; n++) {
        dbk_manifest_edit edit;
        dbk_manifest_edit_init(&edit, &at.faults.allocator);
        fault_allocator_fail(&at.faults, n, false);
        daybook_status status = dbk_cut_write(&cut, &manifest, &edit);
        has_failed = fault_allocator_has_failed(&at.faults);
        fault_allocator_fail(&at.faults, 0, false);
        assert_int_equal(status, has_failed ? DAYBOOK_ENOMEM : DAYBOOK_OK);
        failed += has_failed != 0;
        dbk_manifest_edit_deinit(&edit);
    }
    assert_true(failed >= 2);
    dbk_manifest_deinit(&manifest);
    end_bare(&at);
}

// ---- Streams ----------------------------------------------------------------------------------------------

static void put_stream(fixture *at, dbk_manifest_edit *edit, uint32_t id, const char *name,
                       const char *subject, const char *description) {
    daybook_slice subjects = daybook_text(subject);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &subjects;
    config.subject_count = 1;
    config.description = daybook_text(description);
    dbk_buf value;
    dbk_buf_init(&value, &at->faults.allocator, 1 << 20);
    assert_int_equal(dbk_stream_encode(id, &config, 5, &value), DAYBOOK_OK);
    char text[16];
    dbk_manifest_edit_put_entry(edit, DBK_CATALOGUE_STREAM, dbk_stream_key(id, text),
                                daybook_bytes(value.data, value.size));
    dbk_buf_deinit(&value);
}

typedef struct catalogue {
    dbk_manifest manifest;
    dbk_manifest_edit edit;
} catalogue;

static void begin_catalogue(fixture *at, catalogue *made) {
    dbk_manifest_init(&made->manifest, &at->faults.allocator, at->options.vfs, "/s");
    dbk_manifest_edit_init(&made->edit, &at->faults.allocator);
}

static void apply(catalogue *made) {
    assert_int_equal(dbk_manifest_apply(&made->manifest, &made->edit), DAYBOOK_OK);
    dbk_manifest_edit_deinit(&made->edit);
    dbk_manifest_edit_init(&made->edit, made->manifest.allocator);
}

static void end_catalogue(catalogue *made) {
    dbk_manifest_edit_deinit(&made->edit);
    dbk_manifest_deinit(&made->manifest);
}

static const dbk_manifest *loaded;

static daybook_status load(fixture *at) {
    return dbk_recovery_load_streams(at->store, loaded, &at->error);
}

static dbk_slice description_of(fixture *at, uint32_t id) {
    dbk_stream *stream = dbk_stream_table_find_id(at->store->streams, id);
    assert_non_null(stream);
    return atomic_load(&stream->config)->description;
}

static void the_table_of_streams_follows_the_manifest(void **state) {
    (void)state;
    fixture at;
    begin_bare(&at);
    catalogue made;
    begin_catalogue(&at, &made);
    loaded = &made.manifest;
    put_stream(&at, &made.edit, 1, "A", "a.>", "the first");
    put_stream(&at, &made.edit, 2, "B", "b.>", "");
    dbk_manifest_edit_put_entry(&made.edit, DBK_CATALOGUE_SCHEMA, daybook_text("k"), daybook_text("not yet"));
    dbk_manifest_stream counts = {.id = 1, .last_seq = 4, .message_count = 3};
    dbk_manifest_edit_put_stream(&made.edit, &counts);
    dbk_manifest_edit_set_next_ids(&made.edit, 1, 9);
    apply(&made);
    check_each_allocation(&at, load);
    dbk_stream *first = dbk_stream_table_find_id(at.store->streams, 1);
    assert_non_null(first);
    assert_int_equal(first->last_seq, 4);
    assert_int_equal(atomic_load(&first->first_seq), 1); // 0 is none
    assert_int_equal(atomic_load(&first->message_count), 3);
    assert_int_equal(dbk_stream_table_next_id(at.store->streams), 9);

    // A reader meets a changed manifest: one stream is another, one gone, one new under the old subjects.
    put_stream(&at, &made.edit, 1, "A", "a.>", "changed");
    put_stream(&at, &made.edit, 3, "C", "b.>", "");
    char text[16];
    dbk_manifest_edit_remove_entry(&made.edit, DBK_CATALOGUE_STREAM, dbk_stream_key(2, text));
    counts.first_seq = 3;
    dbk_manifest_edit_put_stream(&made.edit, &counts);
    apply(&made);
    check_each_allocation(&at, load);
    assert_ptr_equal(dbk_stream_table_find_id(at.store->streams, 1), first);
    assert_true(dbk_slice_equal(description_of(&at, 1), daybook_text("changed")));
    assert_int_equal(atomic_load(&first->first_seq), 3);
    assert_null(dbk_stream_table_find(at.store->streams, daybook_text("B")));
    assert_non_null(dbk_stream_table_find(at.store->streams, daybook_text("C")));
    assert_int_equal(load(&at), DAYBOOK_OK); // nothing is new
    end_catalogue(&made);
    end_bare(&at);
}

static void a_stream_that_cannot_be_is_told(void **state) {
    (void)state;
    fixture at;
    begin_bare(&at);
    catalogue made;
    begin_catalogue(&at, &made);
    loaded = &made.manifest;
    put_stream(&at, &made.edit, 1, "A", "a.>", "");
    put_stream(&at, &made.edit, 2, "B", "b.>", "");
    apply(&made);
    assert_int_equal(load(&at), DAYBOOK_OK);
    put_stream(&at, &made.edit, 1, "A", "b.1", "takes what is B's");
    apply(&made);
    assert_int_equal(load(&at), DAYBOOK_EOVERLAP);
    char text[16];
    dbk_manifest_edit_put_entry(&made.edit, DBK_CATALOGUE_STREAM, dbk_stream_key(1, text),
                                daybook_text("no stream"));
    apply(&made);
    assert_int_equal(load(&at), DAYBOOK_EDAMAGED);
    assert_non_null(strstr(at.error.message, "stream that cannot be read"));
    end_catalogue(&made);
    end_bare(&at);
}

// ---- Segments ---------------------------------------------------------------------------------------------

static void append_one(fixture *at, size_t size) {
    static char data[100000];
    memset(data, 'x', size);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("a.1");
    event.data = daybook_bytes(data, size);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    daybook_status status = daybook_append(at->store, &event, 1, &options, NULL, &at->error);
    if (status != DAYBOOK_OK) fail_msg("%s", at->error.message);
}

// Two segments of three events, the second event removed from the first, said by a deletion file.
static void begin_segments(fixture *at) {
    begin(at);
    open_store(at);
    for (int i = 0; i < 6; i++) {
        append_one(at, 10);
        if (i % 3 == 2) assert_int_equal(daybook_flush(at->store, &at->error), DAYBOOK_OK);
    }
    assert_int_equal(daybook_event_remove(at->store, daybook_text("A"), 2, 0, &at->error), DAYBOOK_OK);
    append_one(at, 10);
    assert_int_equal(daybook_flush(at->store, &at->error), DAYBOOK_OK);
    assert_true(at->store->manifest.segment_count >= 2);
    assert_true(at->store->manifest.segments[0].deletion_generation > 0);
}

static void end_segments(fixture *at) {
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    end(at);
}

static void release(fixture *at, dbk_source **sources, size_t count) {
    for (size_t i = 0; i < count; i++) dbk_source_unref(sources[i]);
    dbk_free(at->store->allocator, sources);
}

static daybook_status open_segments(fixture *at, const dbk_manifest *manifest, bool lenient) {
    dbk_source **sources = NULL;
    size_t count = 0;
    daybook_status status =
        dbk_recovery_open_segments(at->store, manifest, NULL, 0, lenient, &sources, &count, &at->error);
    if (status != DAYBOOK_OK) {
        assert_null(sources);
        assert_int_equal(at->error.status, status);
        assert_int_equal(
            dbk_recovery_open_segments(at->store, manifest, NULL, 0, lenient, &sources, &count, NULL),
            status);
        return status;
    }
    assert_int_equal(count, manifest->segment_count);
    // The first is the one that is tampered with here.
    daybook_status readable = dbk_source_check(sources[0], &at->error);
    for (size_t i = 1; i < count; i++) assert_int_equal(dbk_source_check(sources[i], NULL), DAYBOOK_OK);
    release(at, sources, count);
    return readable;
}

static void change_summary(dbk_segment_summary *summary, int how) {
    if (how == 0) summary->position_first++;
    if (how == 1) summary->position_last--;
    if (how == 2) summary->event_count++;
    if (how == 3) summary->file_bytes++;
}

static void a_segment_is_the_one_the_manifest_names(void **state) {
    (void)state;
    fixture at;
    begin_segments(&at);
    assert_int_equal(open_segments(&at, &at.store->manifest, false), DAYBOOK_OK);
    for (int how = 0; how < 4; how++) {
        dbk_manifest copy;
        assert_int_equal(dbk_manifest_copy(&at.store->manifest, &copy), DAYBOOK_OK);
        change_summary(&copy.segments[0].summary, how);
        assert_int_equal(open_segments(&at, &copy, false), DAYBOOK_EDAMAGED);
        assert_non_null(strstr(at.error.message, "not the file the manifest names"));
        // A reader goes on with the others.
        assert_int_equal(open_segments(&at, &copy, true), DAYBOOK_EDAMAGED);
        assert_non_null(strstr(at.error.message, "not the file the manifest names"));
        dbk_manifest_deinit(&copy);
    }
    end_segments(&at);
}

static daybook_status open_damaged(fixture *at) {
    dbk_source **sources = NULL;
    size_t count = 0;
    DBK_TRY(dbk_recovery_open_segments(at->store, loaded, NULL, 0, true, &sources, &count, &at->error));
    release(at, sources, count);
    return DAYBOOK_OK;
}

static void what_a_reader_cannot_open_is_stood_in_for(void **state) {
    (void)state;
    fixture at;
    begin_segments(&at);
    const dbk_manifest *manifest = &at.store->manifest;
    // Files of another store, as far as the names go.
    at.store->uuid.bytes[0]++;
    assert_int_equal(open_damaged((loaded = manifest, &at)), DAYBOOK_OK);
    dbk_source **sources = NULL;
    size_t count = 0;
    assert_int_equal(
        dbk_recovery_open_segments(at.store, manifest, NULL, 0, true, &sources, &count, &at.error),
        DAYBOOK_OK);
    assert_int_equal(dbk_source_check(sources[0], &at.error), DAYBOOK_EDAMAGED);
    release(&at, sources, count);
    at.store->uuid.bytes[0]--;
    // The system fails; and does not for the next.
    dbk_sim_fault fault = {.kind = DBK_SIM_READ, .nth = 1, .error = EIO};
    assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
    assert_int_equal(open_segments(&at, manifest, true), DAYBOOK_EDAMAGED);
    fault.is_forever = true;
    assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
    assert_int_equal(open_segments(&at, manifest, false), DAYBOOK_EIO);
    dbk_sim_clear_faults(at.sim);
    // Memory that is out is no damage, also where one is to be stood in for.
    dbk_manifest copy;
    assert_int_equal(dbk_manifest_copy(manifest, &copy), DAYBOOK_OK);
    change_summary(&copy.segments[0].summary, 2);
    loaded = &copy;
    check_each_allocation(&at, open_damaged);
    dbk_manifest_deinit(&copy);
    end_segments(&at);
}

// A reader that opens anew takes over what it has open; what stands in for a segment is tried again.
static void open_segments_are_taken_over(void **state) {
    (void)state;
    fixture at;
    begin_segments(&at);
    const dbk_manifest *manifest = &at.store->manifest;
    dbk_manifest copy;
    assert_int_equal(dbk_manifest_copy(manifest, &copy), DAYBOOK_OK);
    change_summary(&copy.segments[0].summary, 3);
    dbk_source **sources = NULL;
    size_t count = 0;
    assert_int_equal(dbk_recovery_open_segments(at.store, &copy, NULL, 0, true, &sources, &count, &at.error),
                     DAYBOOK_OK);
    dbk_view *view = NULL;
    assert_int_equal(dbk_view_new(at.store->allocator, 1, sources, count, count, &view), DAYBOOK_OK);
    dbk_free(at.store->allocator, sources);
    for (int i = 0; i < 2; i++) { // the second time all are known
        assert_int_equal(
            dbk_recovery_open_segments(at.store, manifest, view, 0, true, &sources, &count, &at.error),
            DAYBOOK_OK);
        assert_int_equal(dbk_source_check(sources[0], NULL), DAYBOOK_OK);
        assert_true(dbk_source_is_dead(sources[0], sources[0]->position_first + 1));
        for (size_t j = 1; j < count; j++) assert_ptr_equal(sources[j], view->sources[j]);
        dbk_view_unref(view);
        assert_int_equal(dbk_view_new(at.store->allocator, 1, sources, count, count, &view), DAYBOOK_OK);
        dbk_free(at.store->allocator, sources);
    }
    dbk_view_unref(view);
    dbk_manifest_deinit(&copy);
    end_segments(&at);
}

// ---- Tables that follow one another -----------------------------------------------------------------------

static void begin_table(fixture *at) {
    begin_bare(at);
    dbk_source **sources = dbk_resize_array(at->store->allocator, NULL, 1, sizeof *sources);
    assert_non_null(sources);
    assert_int_equal(dbk_recovery_begin_view(at->store, sources, 0, 1, 1, &at->error), DAYBOOK_OK);
}

static uint64_t rolled_to;

static daybook_status roll(fixture *at) {
    const dbk_source *active = at->store->active;
    daybook_status status = dbk_recovery_roll(at->store, rolled_to);
    assert_true((at->store->active == active) == (status != DAYBOOK_OK));
    assert_true(at->store->view->sources[at->store->view->source_count - 1] == at->store->active);
    assert_true(at->store->active->position_last == UINT64_MAX);
    return status;
}

static daybook_status skip_on(fixture *at) {
    uint64_t before = at->store->next_position;
    daybook_status status = dbk_recovery_skip_to(at->store, rolled_to);
    assert_true(at->store->next_position == (status == DAYBOOK_OK ? rolled_to : before));
    return status;
}

static void a_table_is_followed_by_a_fresh_one_or_stays(void **state) {
    (void)state;
    fixture at;
    begin_table(&at);
    rolled_to = 5;
    check_each_allocation(&at, roll);
    assert_int_equal(at.store->view->source_count, 2);
    rolled_to = 100; // slots of the table
    check_each_allocation(&at, skip_on);
    assert_int_equal(at.store->view->source_count, 2);
    rolled_to = 200000;
    check_each_allocation(&at, skip_on);
    assert_int_equal(at.store->view->source_count, 2);
    rolled_to = UINT64_C(1) << 32; // too many: a table that begins there
    check_each_allocation(&at, skip_on);
    assert_int_equal(at.store->view->source_count, 3);
    assert_int_equal(at.store->active->position_first, rolled_to);
    end_bare(&at);
}

// ---- Replay -----------------------------------------------------------------------------------------------

static void stop(fixture *at) {
    dbk_sim_stop_now(at->sim);
    (void)daybook_close(at->store, NULL);
    at->store = NULL;
    dbk_sim_crash(at->sim, DBK_SIM_KILL);
}

// What lies in the journal takes several tables.
static void memory_may_be_out_when_a_table_is_full(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    open_store(&at);
    for (int i = 0; i < 8; i++) append_one(&at, 90000);
    stop(&at);
    at.options.memtable_bytes = 256 << 10;
    uint64_t failed = 0;
    for (uint64_t n = 1, has_failed = 1; has_failed != 0; n++) {
        fault_allocator_fail(&at.faults, n, false);
        daybook_status status = daybook_open("/s", &at.options, &at.store, &at.error);
        has_failed = fault_allocator_has_failed(&at.faults);
        fault_allocator_fail(&at.faults, 0, false);
        assert_true(status == DAYBOOK_OK || (status == DAYBOOK_ENOMEM && has_failed != 0));
        if (status == DAYBOOK_OK) stop(&at);
        assert_int_equal(fault_allocator_live(&at.faults), 0);
        failed += status == DAYBOOK_ENOMEM;
    }
    assert_true(failed > 20);
    open_store(&at);
    uint64_t count = 0;
    daybook_query query;
    daybook_query_init(&query);
    assert_int_equal(daybook_count(at.store, &query, &count, &at.error), DAYBOOK_OK);
    assert_int_equal(count, 8);
    end_segments(&at);
}

static void a_record_that_nobody_wrote_is_told(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    open_store(&at);
    append_one(&at, 10);
    dbk_journal_group *group;
    assert_int_equal(dbk_journal_group_new(at.store->journal, &group), DAYBOOK_OK);
    assert_int_equal(dbk_journal_group_append(group, "\xff\xff\xff\xff\xff\xff\xff\xff", 8), DAYBOOK_OK);
    uint64_t next_lsn;
    assert_int_equal(dbk_journal_write_group(at.store->journal, group, &next_lsn, &at.error), DAYBOOK_OK);
    dbk_journal_group_free(group);
    stop(&at);
    assert_int_equal(daybook_open("/s", &at.options, &at.store, &at.error), DAYBOOK_EDAMAGED);
    assert_non_null(strstr(at.error.message, "a record this program cannot read"));
    end(&at);
}

// ---- Copies of the manifest --------------------------------------------------------------------------------

static void check_copies(fixture *at, bool is_whole) {
    dbk_manifest manifest;
    dbk_manifest_init(&manifest, &at->faults.allocator, at->options.vfs, "/s");
    assert_int_equal(dbk_manifest_load(&manifest, false, &at->error), DAYBOOK_OK);
    assert_int_equal(dbk_manifest_file_is_whole(&manifest.file), is_whole);
    dbk_manifest_deinit(&manifest);
}

// Whoever opens for writing mends it, before it has anything to write, also where nobody closed the store.
static void a_damaged_copy_is_mended_by_opening(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    open_store(&at);
    append_one(&at, 10);
    stop(&at);
    for (unsigned copy = 0; copy < DBK_MANIFEST_COPY_COUNT; copy++) {
        dbk_manifest manifest;
        dbk_manifest_init(&manifest, &at.faults.allocator, at.options.vfs, "/s");
        assert_int_equal(dbk_manifest_load(&manifest, false, &at.error), DAYBOOK_OK);
        assert_false(manifest.closed_clean);
        char path[DBK_MANIFEST_NAME_SIZE + 3] = "/s/";
        dbk_manifest_name(manifest.number, copy, path + 3);
        dbk_manifest_deinit(&manifest);
        check_copies(&at, true);
        assert_int_equal(dbk_sim_flip(at.sim, path, 70, 1), DAYBOOK_OK);
        check_copies(&at, false);
        open_store(&at);
        check_copies(&at, true);
        stop(&at);
    }
    end(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_differs_is_written),
        cmocka_unit_test(a_cut_without_memory_is_none),
        cmocka_unit_test(the_table_of_streams_follows_the_manifest),
        cmocka_unit_test(a_stream_that_cannot_be_is_told),
        cmocka_unit_test(a_segment_is_the_one_the_manifest_names),
        cmocka_unit_test(what_a_reader_cannot_open_is_stood_in_for),
        cmocka_unit_test(open_segments_are_taken_over),
        cmocka_unit_test(a_table_is_followed_by_a_fresh_one_or_stays),
        cmocka_unit_test(memory_may_be_out_when_a_table_is_full),
        cmocka_unit_test(a_record_that_nobody_wrote_is_told),
        cmocka_unit_test(a_damaged_copy_is_mended_by_opening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
