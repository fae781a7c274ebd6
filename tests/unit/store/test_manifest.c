// SPDX-License-Identifier: Apache-2.0
// The manifest: what was committed is found again, what was not acknowledged does no harm, damage is told.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "io/io.h"
#include "io/sim/sim.h"
#include "store/manifest.h"

typedef struct fixture {
    dbk_sim *sim;
    daybook_vfs *vfs;
    dbk_manifest manifest;
} fixture;

static const uint32_t pieces[] = {0, 1, 2, 3};

static void begin(fixture *at, uint64_t seed) {
    assert_int_equal(dbk_sim_new(seed, &at->sim), DAYBOOK_OK);
    at->vfs = dbk_sim_vfs(at->sim);
    assert_int_equal(at->vfs->make_directory(at->vfs, "/store"), 0);
    assert_int_equal(at->vfs->sync_directory(at->vfs, "/"), 0);
}

static void end(fixture *at) {
    dbk_manifest_deinit(&at->manifest);
    dbk_sim_free(at->sim);
}

static void init(fixture *at) {
    dbk_manifest_init(&at->manifest, dbk_allocator_default(), at->vfs, "/store");
}

static daybook_status create(fixture *at) {
    init(at);
    at->manifest.number = 1;
    memset(at->manifest.store_uuid.bytes, 7, 16);
    at->manifest.incarnation = 99;
    return dbk_manifest_create(&at->manifest, NULL);
}

static daybook_status reload(fixture *at, daybook_error *error) {
    dbk_manifest_deinit(&at->manifest);
    init(at);
    return dbk_manifest_load(&at->manifest, true, error);
}

static dbk_manifest_segment segment_of(uint64_t id, uint64_t first, uint64_t last) {
    dbk_manifest_segment segment = {.summary = {.segment_id = id,
                                                .position_first = first,
                                                .position_last = last,
                                                .event_count = last - first + 1,
                                                .file_bytes = 1000 * id,
                                                .recorded_first_ns = -5,
                                                .recorded_last_ns = INT64_MAX,
                                                .time_min_ns = INT64_MIN,
                                                .stream_count = 3}};
    memset(segment.summary.sha256, (int)id, sizeof segment.summary.sha256);
    return segment;
}

static daybook_status commit(fixture *at, const dbk_manifest_edit *edit) {
    return dbk_manifest_commit(&at->manifest, edit, NULL);
}

// Edit number `n` of a series: everything it changes follows from n.
static daybook_status commit_number(fixture *at, uint64_t n) {
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, dbk_allocator_default());
    dbk_manifest_segment segment = segment_of(n, 10 * n, 10 * n + 9);
    dbk_manifest_edit_add_segment(&edit, &segment);
    if (n > 3) dbk_manifest_edit_remove_segment(&edit, n - 3);
    dbk_manifest_edit_set_flushed(&edit, 10 * n + 9, (int64_t)n);
    dbk_journal_map map = {256 * n, 4, pieces};
    dbk_manifest_edit_set_journal(&edit, 256 * n + 1, 256 * n + 2, &map);
    dbk_manifest_stream stream = {.id = (uint32_t)(n % 5 + 1), .last_seq = n, .first_seq = 1};
    dbk_manifest_edit_put_stream(&edit, &stream);
    char key[16];
    (void)snprintf(key, sizeof key, "%llu", (unsigned long long)(n % 7));
    dbk_manifest_edit_put_entry(&edit, DBK_CATALOGUE_STREAM, daybook_text(key), daybook_bytes(&n, sizeof n));
    daybook_status status = commit(at, &edit);
    dbk_manifest_edit_deinit(&edit);
    return status;
}

static void assert_number(const dbk_manifest *manifest, uint64_t n) {
    assert_int_equal(manifest->flushed_position, n == 0 ? 0 : 10 * n + 9);
    assert_int_equal(manifest->segment_count, n < 3 ? n : 3);
    if (n == 0) return;
    const dbk_manifest_segment *segment = &manifest->segments[manifest->segment_count - 1];
    dbk_manifest_segment expected = segment_of(n, 10 * n, 10 * n + 9);
    assert_memory_equal(&segment->summary, &expected.summary, sizeof expected.summary);
    assert_int_equal(manifest->journal_start_lsn, 256 * n + 1);
    assert_int_equal(manifest->journal_piece_count, 4);
    assert_memory_equal(manifest->journal_pieces, pieces, sizeof pieces);
    assert_int_equal(dbk_manifest_find_stream(manifest, (uint32_t)(n % 5 + 1))->last_seq, n);
    char key[16];
    (void)snprintf(key, sizeof key, "%llu", (unsigned long long)(n % 7));
    const dbk_manifest_entry *entry =
        dbk_manifest_find_entry(manifest, DBK_CATALOGUE_STREAM, daybook_text(key));
    assert_non_null(entry);
    assert_memory_equal(entry->value.data, &n, sizeof n);
}

static void what_was_committed_is_loaded(void **state) {
    (void)state;
    fixture at = {0};
    begin(&at, 1);
    assert_int_equal(create(&at), DAYBOOK_OK);
    for (uint64_t n = 1; n <= 50; n++) {
        assert_int_equal(commit_number(&at, n), DAYBOOK_OK);
        assert_number(&at.manifest, n);
        assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
        assert_number(&at.manifest, n);
        assert_int_equal(at.manifest.edit_count, n);
        assert_int_equal(at.manifest.incarnation, 99);
        assert_int_equal(at.manifest.store_uuid.bytes[15], 7);
    }
    end(&at);
}

static void an_empty_directory_has_no_manifest(void **state) {
    (void)state;
    fixture at = {0};
    begin(&at, 1);
    init(&at);
    assert_int_equal(dbk_manifest_load(&at.manifest, false, NULL), DAYBOOK_ENOTFOUND);
    end(&at);
}

static int count_entry(void *context, const daybook_vfs_entry *entry) {
    (void)entry;
    ++*(uint64_t *)context;
    return 0;
}
static uint64_t count_files(fixture *at) {
    uint64_t count = 0;
    (void)at->vfs->list(at->vfs, "/store", count_entry, &count);
    return count;
}

static void a_file_that_grew_is_replaced(void **state) {
    (void)state;
    fixture at = {0};
    begin(&at, 1);
    assert_int_equal(create(&at), DAYBOOK_OK);
    for (uint64_t n = 1; n <= 2000; n++) assert_int_equal(commit_number(&at, n), DAYBOOK_OK);
    assert_true(at.manifest.number > 1);
    assert_true(at.manifest.file_size < 300 * 1024);
    assert_int_equal(count_files(&at), 1);
    assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
    assert_number(&at.manifest, 2000);
    assert_int_equal(at.manifest.edit_count, 2000);
    end(&at);
}

static void an_edit_of_ten_thousand_streams_holds_what_changed(void **state) {
    (void)state;
    fixture at = {0};
    begin(&at, 1);
    assert_int_equal(create(&at), DAYBOOK_OK);
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, dbk_allocator_default());
    for (uint32_t id = 10000; id >= 1; id--) {
        dbk_manifest_stream stream = {.id = id, .last_seq = id};
        char key[16];
        (void)snprintf(key, sizeof key, "%u", id);
        dbk_manifest_edit_put_stream(&edit, &stream);
        dbk_manifest_edit_put_entry(&edit, DBK_CATALOGUE_STREAM, daybook_text(key),
                                    daybook_text("configuration"));
    }
    assert_int_equal(commit(&at, &edit), DAYBOOK_OK);
    dbk_manifest_edit_deinit(&edit);
    // The first one begins a new file; from then on edits are small.
    assert_int_equal(commit_number(&at, 1), DAYBOOK_OK);
    uint64_t size = at.manifest.file_size;
    assert_int_equal(commit_number(&at, 2), DAYBOOK_OK);
    assert_true(at.manifest.file_size - size < 512);
    assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
    assert_int_equal(at.manifest.stream_count, 10000);
    assert_int_equal(at.manifest.streams[9999].id, 10000);
    assert_int_equal(at.manifest.entry_count, 10000);
    assert_non_null(dbk_manifest_find_entry(&at.manifest, DBK_CATALOGUE_STREAM, daybook_text("9999")));
    end(&at);
}

static void what_is_removed_is_gone(void **state) {
    (void)state;
    fixture at = {0};
    begin(&at, 1);
    assert_int_equal(create(&at), DAYBOOK_OK);
    for (uint64_t n = 1; n <= 7; n++) assert_int_equal(commit_number(&at, n), DAYBOOK_OK);
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, dbk_allocator_default());
    dbk_manifest_edit_remove_stream(&edit, 3);
    dbk_manifest_edit_remove_entry(&edit, DBK_CATALOGUE_STREAM, daybook_text("4"));
    dbk_manifest_edit_set_deletions(&edit, 6, 17);
    dbk_manifest_edit_set_closed_clean(&edit, true);
    assert_int_equal(commit(&at, &edit), DAYBOOK_OK);
    dbk_manifest_edit_deinit(&edit);
    assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
    assert_null(dbk_manifest_find_stream(&at.manifest, 3));
    assert_non_null(dbk_manifest_find_stream(&at.manifest, 2));
    assert_null(dbk_manifest_find_entry(&at.manifest, DBK_CATALOGUE_STREAM, daybook_text("4")));
    assert_int_equal(dbk_manifest_find_segment(&at.manifest, 6)->deletion_generation, 17);
    assert_true(at.manifest.closed_clean);
    dbk_manifest copy;
    assert_int_equal(dbk_manifest_copy(&at.manifest, &copy), DAYBOOK_OK);
    assert_int_equal(copy.segment_count, at.manifest.segment_count);
    assert_int_equal(copy.entry_count, at.manifest.entry_count);
    assert_int_equal(copy.edit_count, at.manifest.edit_count);
    dbk_manifest_deinit(&copy);
    end(&at);
}

static void a_torn_last_edit_is_cut(void **state) {
    (void)state;
    fixture at = {0};
    begin(&at, 1);
    assert_int_equal(create(&at), DAYBOOK_OK);
    assert_int_equal(commit_number(&at, 1), DAYBOOK_OK);
    uint64_t before = at.manifest.file_size;
    assert_int_equal(commit_number(&at, 2), DAYBOOK_OK);
    uint64_t after = at.manifest.file_size;
    for (uint64_t size = after - 1; size > before; size -= 7) {
        daybook_file *file = NULL;
        assert_int_equal(at.vfs->open(at.vfs, "/store/manifest-0000000000000001", DAYBOOK_VFS_WRITE, &file),
                         0);
        assert_int_equal(at.vfs->truncate(at.vfs, file, size), 0);
        at.vfs->close(at.vfs, file);
        assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
        assert_number(&at.manifest, 1);
        assert_int_equal(at.manifest.torn_bytes, size - before);
        if (size < before + 7) break;
    }
    assert_int_equal(commit_number(&at, 2), DAYBOOK_OK);
    assert_int_equal(at.manifest.number, 2);
    assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
    assert_number(&at.manifest, 2);
    end(&at);
}

static void every_flipped_byte_is_told_or_cut(void **state) {
    (void)state;
    fixture at = {0};
    begin(&at, 1);
    assert_int_equal(create(&at), DAYBOOK_OK);
    for (uint64_t n = 1; n <= 3; n++) assert_int_equal(commit_number(&at, n), DAYBOOK_OK);
    uint64_t size = at.manifest.file_size;
    const char *path = "/store/manifest-0000000000000001";
    for (uint64_t offset = 0; offset < size; offset++) {
        assert_int_equal(dbk_sim_flip(at.sim, path, offset, 0x40), DAYBOOK_OK);
        daybook_error error;
        daybook_status status = reload(&at, &error);
        // In the last edit it looks torn; before, it is damage; in the format field, another format.
        if (status == DAYBOOK_OK) {
            assert_number(&at.manifest, 2);
        } else {
            assert_true(status == DAYBOOK_EDAMAGED || status == DAYBOOK_EFORMAT);
            assert_true(error.message[0] != '\0');
        }
        assert_int_equal(dbk_sim_flip(at.sim, path, offset, 0x40), DAYBOOK_OK);
    }
    assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
    assert_number(&at.manifest, 3);
    end(&at);
}

static void a_failed_edit_changes_nothing_and_the_next_begins_a_new_file(void **state) {
    (void)state;
    static const dbk_sim_kind kinds[] = {DBK_SIM_WRITE, DBK_SIM_SYNC};
    for (size_t i = 0; i < 2; i++) {
        fixture at = {0};
        begin(&at, 1);
        assert_int_equal(create(&at), DAYBOOK_OK);
        assert_int_equal(commit_number(&at, 1), DAYBOOK_OK);
        dbk_sim_fault fault = {.kind = kinds[i], .nth = 1, .error = 5};
        assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
        assert_int_equal(commit_number(&at, 2), DAYBOOK_EIO);
        assert_number(&at.manifest, 1);
        assert_int_equal(commit_number(&at, 2), DAYBOOK_OK);
        assert_int_equal(at.manifest.number, 2);
        assert_int_equal(at.manifest.edit_count, 3); // the number of the doubtful edit is not used again
        assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
        assert_number(&at.manifest, 2);
        assert_int_equal(at.manifest.edit_count, 3);
        end(&at);
    }
}

static void close_file(fixture *at) {
    at->vfs->close(at->vfs, at->manifest.file);
    at->manifest.file = NULL;
}

// Power is lost at every step of a series of edits: what was acknowledged is there, at most one more.
// The sync of an edit fails, and the page cache goes on showing what the disk never got. A new process must not
// build on it: the next edit would stand behind a hole.
// A whole edit in another place of the file is none: it would bring back what it once said.
static void an_edit_in_another_place_is_none(void **state) {
    (void)state;
    fixture at = {0};
    begin(&at, 4);
    assert_int_equal(create(&at), DAYBOOK_OK);
    uint64_t ends[4] = {at.manifest.file_size};
    for (uint64_t n = 1; n <= 3; n++) {
        assert_int_equal(commit_number(&at, n), DAYBOOK_OK);
        ends[n] = at.manifest.file_size;
    }
    static const char path[] = "/store/manifest-0000000000000001";
    uint8_t frame[4096];
    size_t size = (size_t)(ends[1] - ends[0]);
    assert_true(size <= sizeof frame);
    daybook_file *file = NULL;
    assert_int_equal(at.vfs->open(at.vfs, path, DAYBOOK_VFS_WRITE, &file), 0);
    assert_int_equal(at.vfs->read_at(at.vfs, file, frame, size, ends[0]), (int64_t)size);
    assert_int_equal(at.vfs->write_at(at.vfs, file, frame, size, ends[3]), (int64_t)size);
    at.vfs->close(at.vfs, file);
    assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
    assert_number(&at.manifest, 3);
    assert_int_equal(at.manifest.torn_bytes, size);
    end(&at);
}

static void a_manifest_under_another_name_is_foreign(void **state) {
    (void)state;
    fixture at = {0};
    begin(&at, 6);
    assert_int_equal(create(&at), DAYBOOK_OK);
    assert_int_equal(commit_number(&at, 1), DAYBOOK_OK);
    assert_int_equal(
        at.vfs->rename(at.vfs, "/store/manifest-0000000000000001", "/store/manifest-0000000000000002"), 0);
    assert_int_equal(reload(&at, NULL), DAYBOOK_EFOREIGN);
    end(&at);
}

static void contradictions_are_damage(void **state) {
    (void)state;
    // Segments that hold a position twice; a segment behind what is flushed.
    for (int kind = 0; kind < 2; kind++) {
        fixture at = {0};
        begin(&at, 5);
        assert_int_equal(create(&at), DAYBOOK_OK);
        assert_int_equal(commit_number(&at, 1), DAYBOOK_OK);
        assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
        dbk_manifest_edit edit;
        dbk_manifest_edit_init(&edit, dbk_allocator_default());
        dbk_manifest_segment segment = kind == 0 ? segment_of(8, 15, 19) : segment_of(8, 20, 29);
        dbk_manifest_edit_add_segment(&edit, &segment);
        assert_int_equal(commit(&at, &edit), DAYBOOK_OK);
        dbk_manifest_edit_deinit(&edit);
        assert_int_equal(reload(&at, NULL), DAYBOOK_EDAMAGED);
        end(&at);
    }
}

static void an_edit_that_only_the_page_cache_has_is_not_built_on(void **state) {
    (void)state;
    fixture at;
    begin(&at, 3);
    assert_int_equal(create(&at), DAYBOOK_OK);
    assert_int_equal(commit_number(&at, 1), DAYBOOK_OK);
    const dbk_sim_fault fault = {.kind = DBK_SIM_SYNC, .suffix = "1", .nth = 1, .error = EIO};
    assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
    assert_int_equal(commit_number(&at, 2), DAYBOOK_EIO);
    assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
    assert_number(&at.manifest, 1);
    assert_int_equal(commit_number(&at, 2), DAYBOOK_OK);
    assert_int_equal(commit_number(&at, 3), DAYBOOK_OK);
    dbk_sim_crash(at.sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
    assert_number(&at.manifest, 3);
    end(&at);
}

static void power_loss_keeps_what_was_acknowledged(void **state) {
    (void)state;
    bool finished = false;
    for (uint64_t steps = 1; !finished; steps++) {
        for (uint64_t seed = 1; seed <= 4; seed++) {
            fixture at = {0};
            begin(&at, seed * 1000 + steps);
            dbk_sim_stop_after(at.sim, steps);
            uint64_t acknowledged = 0;
            bool created = create(&at) == DAYBOOK_OK;
            for (uint64_t n = 1; created && n <= 60; n++) {
                if (n % 20 == 0) close_file(&at); // as after a failure: the next edit begins a new file
                if (commit_number(&at, n) != DAYBOOK_OK) break;
                acknowledged = n;
            }
            finished = !dbk_sim_is_stopped(at.sim);
            dbk_sim_crash(at.sim, DBK_SIM_POWER_LOSS);
            daybook_error error;
            daybook_status status = reload(&at, &error);
            if (!created && status == DAYBOOK_ENOTFOUND) {
                end(&at);
                continue;
            }
            if (status != DAYBOOK_OK)
                print_error("seed %d step %d: %s\n", (int)seed, (int)steps, error.message);
            assert_int_equal(status, DAYBOOK_OK);
            uint64_t found = at.manifest.flushed_position == 0 ? 0 : (at.manifest.flushed_position - 9) / 10;
            assert_true(found >= acknowledged && found <= acknowledged + 1);
            assert_number(&at.manifest, found);
            assert_int_equal(commit_number(&at, found + 1), DAYBOOK_OK);
            assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
            assert_number(&at.manifest, found + 1);
            end(&at);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_committed_is_loaded),
        cmocka_unit_test(an_empty_directory_has_no_manifest),
        cmocka_unit_test(a_file_that_grew_is_replaced),
        cmocka_unit_test(an_edit_of_ten_thousand_streams_holds_what_changed),
        cmocka_unit_test(what_is_removed_is_gone),
        cmocka_unit_test(a_torn_last_edit_is_cut),
        cmocka_unit_test(every_flipped_byte_is_told_or_cut),
        cmocka_unit_test(a_failed_edit_changes_nothing_and_the_next_begins_a_new_file),
        cmocka_unit_test(an_edit_in_another_place_is_none),
        cmocka_unit_test(a_manifest_under_another_name_is_foreign),
        cmocka_unit_test(contradictions_are_damage),
        cmocka_unit_test(an_edit_that_only_the_page_cache_has_is_not_built_on),
        cmocka_unit_test(power_loss_keeps_what_was_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
