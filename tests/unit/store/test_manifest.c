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
#include "segment/footer.h"
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

// What is on the disk of one copy, and putting something else there.
typedef struct content {
    uint8_t data[16 << 10];
    size_t size;
} content;

static const char *const copy_paths[] = {"/store/manifest-0000000000000001",
                                         "/store/manifest-0000000000000001.copy"};

static content take_copy(fixture *at, unsigned copy) {
    content taken = {.size = 0};
    daybook_file *file = NULL;
    uint64_t size = 0;
    assert_int_equal(at->vfs->open(at->vfs, copy_paths[copy], DAYBOOK_VFS_READ, &file), 0);
    assert_int_equal(at->vfs->file_size(at->vfs, file, &size), 0);
    assert_true(size <= sizeof taken.data);
    taken.size = (size_t)size;
    assert_int_equal(at->vfs->read_at(at->vfs, file, taken.data, taken.size, 0), (int64_t)size);
    at->vfs->close(at->vfs, file);
    return taken;
}

static void put_copy(fixture *at, unsigned copy, const uint8_t *data, size_t size) {
    daybook_file *file = NULL;
    assert_int_equal(at->vfs->open(at->vfs, copy_paths[copy], DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file),
                     0);
    assert_int_equal(at->vfs->truncate(at->vfs, file, 0), 0);
    if (size > 0) assert_int_equal(at->vfs->write_at(at->vfs, file, data, size, 0), (int64_t)size);
    assert_int_equal(at->vfs->sync(at->vfs, file), 0);
    at->vfs->close(at->vfs, file);
    assert_int_equal(at->vfs->sync_directory(at->vfs, "/store"), 0);
}

static void flip_in_both(fixture *at, uint64_t offset, uint8_t mask) {
    for (unsigned copy = 0; copy < 2; copy++)
        assert_int_equal(dbk_sim_flip(at->sim, copy_paths[copy], offset, mask), DAYBOOK_OK);
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
    assert_true(at.manifest.file.size < 300 * 1024);
    assert_int_equal(count_files(&at), DBK_MANIFEST_COPY_COUNT);
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
    uint64_t size = at.manifest.file.size;
    assert_int_equal(commit_number(&at, 2), DAYBOOK_OK);
    assert_true(at.manifest.file.size - size < 512);
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
    uint64_t before = at.manifest.file.size;
    assert_int_equal(commit_number(&at, 2), DAYBOOK_OK);
    uint64_t after = at.manifest.file.size;
    for (uint64_t size = after - 1; size > before; size -= 7) {
        for (unsigned copy = 0; copy < 2; copy++) {
            content whole = take_copy(&at, copy);
            put_copy(&at, copy, whole.data, (size_t)size);
        }
        assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
        assert_number(&at.manifest, 1);
        assert_int_equal(at.manifest.file.torn_bytes, size - before);
        if (size < before + 7) break;
    }
    assert_int_equal(commit_number(&at, 2), DAYBOOK_OK);
    assert_int_equal(at.manifest.number, 2);
    assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
    assert_number(&at.manifest, 2);
    end(&at);
}

static void what_both_copies_lost_is_told_or_cut(void **state) {
    (void)state;
    fixture at = {0};
    begin(&at, 1);
    assert_int_equal(create(&at), DAYBOOK_OK);
    for (uint64_t n = 1; n <= 3; n++) assert_int_equal(commit_number(&at, n), DAYBOOK_OK);
    uint64_t size = at.manifest.file.size;
    for (uint64_t offset = 0; offset < size; offset++) {
        flip_in_both(&at, offset, 0x40);
        daybook_error error;
        daybook_status status = reload(&at, &error);
        // In the last edit it looks torn; before, it is damage; in the format field, another format.
        if (status == DAYBOOK_OK) {
            assert_number(&at.manifest, 2);
        } else {
            assert_true(status == DAYBOOK_EDAMAGED || status == DAYBOOK_EFORMAT);
            assert_true(error.message[0] != '\0');
        }
        flip_in_both(&at, offset, 0x40);
    }
    assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
    assert_number(&at.manifest, 3);
    end(&at);
}

// ---- One copy -------------------------------------------------------------------------------------------

enum { EDIT_COUNT = 4 };

// A store with edits 1 to EDIT_COUNT; ends[n] is the end of the file when edit n was written.
static void begin_with_edits(fixture *at, uint64_t ends[EDIT_COUNT + 1]) {
    *at = (fixture){0};
    begin(at, 1);
    assert_int_equal(create(at), DAYBOOK_OK);
    ends[0] = at->manifest.file.size;
    for (uint64_t n = 1; n <= EDIT_COUNT; n++) {
        assert_int_equal(commit_number(at, n), DAYBOOK_OK);
        ends[n] = at->manifest.file.size;
    }
}

// Everything is there although one copy is not as it should be, which is known with the place; the next edit
// heals it.
static void assert_read_and_healed(fixture *at, unsigned copy, dbk_manifest_copy_kind kind, uint64_t offset) {
    for (int writer = 0; writer < 2; writer++) {
        dbk_manifest_deinit(&at->manifest);
        init(at);
        assert_int_equal(dbk_manifest_load(&at->manifest, writer != 0, NULL), DAYBOOK_OK);
        assert_number(&at->manifest, EDIT_COUNT);
        const dbk_manifest_copy_state *states = at->manifest.file.states;
        assert_int_equal(states[copy].kind, kind);
        assert_int_equal(states[copy].offset, offset);
        assert_int_equal(states[1 - copy].kind, DBK_MANIFEST_COPY_SOUND);
        assert_false(dbk_manifest_file_is_whole(&at->manifest.file));
        char text[256];
        dbk_manifest_file_describe(&at->manifest.file, copy, text, sizeof text);
        assert_true(strlen(text) > 10);
    }
    assert_int_equal(commit_number(at, EDIT_COUNT + 1), DAYBOOK_OK);
    assert_int_equal(at->manifest.number, 2);
    assert_int_equal(count_files(at), DBK_MANIFEST_COPY_COUNT);
    assert_int_equal(reload(at, NULL), DAYBOOK_OK);
    assert_number(&at->manifest, EDIT_COUNT + 1);
    assert_true(dbk_manifest_file_is_whole(&at->manifest.file));
}

// As they were before the store was read and healed.
static void put_back(fixture *at, const content copies[2]) {
    for (unsigned copy = 0; copy < 2; copy++) put_copy(at, copy, copies[copy].data, copies[copy].size);
    (void)at->vfs->unlink(at->vfs, "/store/manifest-0000000000000002");
    (void)at->vfs->unlink(at->vfs, "/store/manifest-0000000000000002.copy");
}

static void every_flipped_byte_of_a_copy_is_healed(void **state) {
    (void)state;
    fixture at;
    uint64_t ends[EDIT_COUNT + 1];
    begin_with_edits(&at, ends);
    const content copies[] = {take_copy(&at, 0), take_copy(&at, 1)};
    assert_memory_equal(copies[0].data, copies[1].data, copies[0].size);
    for (unsigned copy = 0; copy < 2; copy++) {
        for (uint64_t offset = 0; offset < copies[copy].size; offset++) {
            assert_int_equal(dbk_sim_flip(at.sim, copy_paths[copy], offset, 0x40), DAYBOOK_OK);
            dbk_manifest_copy_kind kind = offset >= ends[EDIT_COUNT - 1] ? DBK_MANIFEST_COPY_UNFINISHED
                                                                         : DBK_MANIFEST_COPY_DAMAGED;
            assert_read_and_healed(&at, copy, kind, offset);
            put_back(&at, copies);
        }
    }
    end(&at);
}

static void a_copy_of_any_length_is_healed(void **state) {
    (void)state;
    fixture at;
    uint64_t ends[EDIT_COUNT + 1];
    begin_with_edits(&at, ends);
    const content copies[] = {take_copy(&at, 0), take_copy(&at, 1)};
    for (unsigned copy = 0; copy < 2; copy++) {
        for (size_t size = 0; size < copies[copy].size; size += 3) {
            put_copy(&at, copy, copies[copy].data, size);
            assert_read_and_healed(&at, copy,
                                   size >= ends[EDIT_COUNT - 1] ? DBK_MANIFEST_COPY_UNFINISHED
                                   : size <= 64                 ? DBK_MANIFEST_COPY_DAMAGED
                                                                : DBK_MANIFEST_COPY_BEHIND,
                                   size);
            put_back(&at, copies);
        }
        // Longer, by zeros or by an edit of another place.
        for (int kind = 0; kind < 2; kind++) {
            content longer = copies[copy];
            if (kind == 1) memcpy(longer.data + longer.size, longer.data + ends[0], ends[1] - ends[0]);
            longer.size += (size_t)(ends[1] - ends[0]);
            put_copy(&at, copy, longer.data, longer.size);
            assert_read_and_healed(&at, copy, DBK_MANIFEST_COPY_UNFINISHED, copies[copy].size);
            put_back(&at, copies);
        }
        assert_int_equal(at.vfs->unlink(at.vfs, copy_paths[copy]), 0);
        assert_read_and_healed(&at, copy, DBK_MANIFEST_COPY_MISSING, 0);
        put_back(&at, copies);
    }
    end(&at);
}

// Each edit survives that one copy still has.
static void copies_damaged_in_different_places_make_a_whole(void **state) {
    (void)state;
    fixture at;
    uint64_t ends[EDIT_COUNT + 1];
    begin_with_edits(&at, ends);
    assert_int_equal(dbk_sim_flip(at.sim, copy_paths[0], 8, 1), DAYBOOK_OK); // the head
    assert_int_equal(dbk_sim_flip(at.sim, copy_paths[0], ends[1] + 40, 1), DAYBOOK_OK);
    assert_int_equal(dbk_sim_flip(at.sim, copy_paths[1], 70, 1), DAYBOOK_OK); // the snapshot
    assert_int_equal(dbk_sim_flip(at.sim, copy_paths[1], ends[2] + 40, 1), DAYBOOK_OK);
    assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
    assert_number(&at.manifest, EDIT_COUNT);
    assert_int_equal(at.manifest.file.states[0].offset, 8);
    assert_int_equal(at.manifest.file.states[1].offset, 70);
    // But not one that both have lost, where something lies behind it.
    assert_int_equal(dbk_sim_flip(at.sim, copy_paths[0], ends[2] + 41, 1), DAYBOOK_OK);
    daybook_error error;
    assert_int_equal(reload(&at, &error), DAYBOOK_EDAMAGED);
    assert_int_equal(error.offset, ends[2]);
    end(&at);
}

// What says less never takes the place of what says more.
static void an_older_copy_adds_nothing(void **state) {
    (void)state;
    fixture at;
    uint64_t ends[EDIT_COUNT + 1];
    begin_with_edits(&at, ends);
    const content copies[] = {take_copy(&at, 0), take_copy(&at, 1)};
    for (unsigned copy = 0; copy < 2; copy++) {
        for (int n = 0; n < EDIT_COUNT - 1; n++) {
            put_copy(&at, copy, copies[copy].data, (size_t)ends[n]);
            assert_read_and_healed(&at, copy, DBK_MANIFEST_COPY_BEHIND, ends[n]);
            put_back(&at, copies);
        }
        // The other one is damaged behind the end of the older one: removed events must not come back.
        put_copy(&at, copy, copies[copy].data, (size_t)ends[1]);
        assert_int_equal(dbk_sim_flip(at.sim, copy_paths[1 - copy], ends[1] + 40, 1), DAYBOOK_OK);
        daybook_error error;
        assert_int_equal(reload(&at, &error), DAYBOOK_EDAMAGED);
        assert_int_equal(error.offset, ends[1]);
        put_back(&at, copies);
    }
    end(&at);
}

// A copy from a clone of the store that was written on: the edits link to the same beginning.
static void a_copy_that_went_another_way_is_refused(void **state) {
    (void)state;
    fixture at = {0};
    begin(&at, 1);
    assert_int_equal(create(&at), DAYBOOK_OK);
    assert_int_equal(commit_number(&at, 1), DAYBOOK_OK);
    fixture clone = {0};
    assert_int_equal(dbk_sim_clone(at.sim, 1, &clone.sim), DAYBOOK_OK);
    clone.vfs = dbk_sim_vfs(clone.sim);
    assert_int_equal(reload(&clone, NULL), DAYBOOK_OK);
    uint64_t fork = at.manifest.file.size;
    for (uint64_t n = 2; n <= 3; n++) assert_int_equal(commit_number(&at, n), DAYBOOK_OK);
    assert_int_equal(commit_number(&clone, 3), DAYBOOK_OK);
    const content first_step = take_copy(&clone, 0);
    for (uint64_t n = 4; n <= 5; n++) assert_int_equal(commit_number(&clone, n), DAYBOOK_OK);
    const content copies[] = {take_copy(&at, 0), take_copy(&at, 1)};
    const content other = take_copy(&clone, 0);
    for (unsigned copy = 0; copy < 2; copy++) {
        put_copy(&at, copy, other.data, other.size);
        daybook_error error;
        assert_int_equal(reload(&at, &error), DAYBOOK_EDAMAGED);
        assert_int_equal(error.offset, fork);
        // And where the true one is damaged at the fork, what lies behind tells.
        assert_int_equal(dbk_sim_flip(at.sim, copy_paths[1 - copy], fork + 40, 1), DAYBOOK_OK);
        assert_int_equal(reload(&at, NULL), DAYBOOK_EDAMAGED);
        // Its edit and ours behind it fill the file without a gap, and belong to two histories.
        put_copy(&at, copy, first_step.data, first_step.size);
        assert_int_equal(reload(&at, NULL), DAYBOOK_EDAMAGED);
        put_back(&at, copies);
    }
    end(&clone);
    end(&at);
}

static void put_file(fixture *at, const char *path, const void *data, size_t size) {
    daybook_file *file = NULL;
    assert_int_equal(at->vfs->open(at->vfs, path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file), 0);
    assert_int_equal(at->vfs->write_at(at->vfs, file, data, size, 0), (int64_t)size);
    at->vfs->close(at->vfs, file);
}

// A page of the journal, or the head of a segment, that names store and incarnation.
static void put_journal_page(fixture *at, uint8_t store, uint64_t incarnation) {
    static uint8_t pages[DBK_JOURNAL_PIECE_SIZE + 4096]; // the first piece is not in use
    uint8_t *page = pages + DBK_JOURNAL_PIECE_SIZE;
    memcpy(page, "DBJP", 4);
    memset(page + 8, store, 16);
    dbk_put_u64(page + 24, incarnation);
    put_file(at, "/store/journal", pages, sizeof pages);
}

static void put_segment(fixture *at, uint8_t store) {
    dbk_segment_head head = {.format = DBK_SEGMENT_FORMAT, .incarnation = 3, .segment_id = 5};
    memset(head.store_uuid.bytes, store, 16);
    uint8_t bytes[DBK_SEGMENT_HEAD_SIZE];
    dbk_segment_head_encode(&head, bytes);
    put_file(at, "/store/segment-0000000000000005.dbs", bytes, sizeof bytes);
}

// A store's manifest with other identity.
static content strange_copy(uint8_t store, uint64_t incarnation) {
    fixture other = {0};
    begin(&other, 9);
    init(&other);
    other.manifest.number = 1;
    memset(other.manifest.store_uuid.bytes, store, 16);
    other.manifest.incarnation = incarnation;
    assert_int_equal(dbk_manifest_create(&other.manifest, NULL), DAYBOOK_OK);
    for (uint64_t n = 1; n <= 9; n++) assert_int_equal(commit_number(&other, n), DAYBOOK_OK);
    content taken = take_copy(&other, 0);
    end(&other);
    return taken;
}

static void of_two_stores_the_one_that_belongs_here_counts(void **state) {
    (void)state;
    // Ours is store 7, incarnation 99. The other: a stranger; or this store, restored from a backup.
    static const struct {
        uint8_t store;
        uint64_t incarnation;
    } others[] = {{8, 99}, {7, 98}};
    for (size_t i = 0; i < 2; i++) {
        const content other = strange_copy(others[i].store, others[i].incarnation);
        for (unsigned copy = 0; copy < 2; copy++) {
            fixture at;
            uint64_t ends[EDIT_COUNT + 1];
            begin_with_edits(&at, ends);
            put_copy(&at, copy, other.data, other.size);
            daybook_error error;
            assert_int_equal(reload(&at, &error), DAYBOOK_EFOREIGN); // nobody knows
            if (i == 0) {
                put_file(&at, "/store/segment-0000000000000004.dbs", "no head", 7);
                assert_int_equal(reload(&at, NULL), DAYBOOK_EFOREIGN);
                put_segment(&at, 7);
            } else {
                put_segment(&at, 7);
                assert_int_equal(reload(&at, NULL), DAYBOOK_EFOREIGN); // it speaks for both
                put_journal_page(&at, 7, 99);
            }
            put_file(&at, "/store/no-file-of-ours", "x", 1);
            dbk_manifest_deinit(&at.manifest);
            init(&at);
            assert_int_equal(dbk_manifest_load(&at.manifest, true, NULL), DAYBOOK_OK);
            assert_number(&at.manifest, EDIT_COUNT);
            assert_int_equal(at.manifest.incarnation, 99);
            assert_int_equal(at.manifest.file.states[copy].kind, DBK_MANIFEST_COPY_FOREIGN);
            char text[256];
            dbk_manifest_file_describe(&at.manifest.file, copy, text, sizeof text);
            assert_non_null(strstr(text, "another store"));
            assert_int_equal(commit_number(&at, EDIT_COUNT + 1), DAYBOOK_OK);
            assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
            assert_number(&at.manifest, EDIT_COUNT + 1);
            assert_true(dbk_manifest_file_is_whole(&at.manifest.file));
            end(&at);
        }
    }
}

static void a_copy_the_device_cannot_read_is_healed(void **state) {
    (void)state;
    static const dbk_sim_kind kinds[] = {DBK_SIM_OPEN, DBK_SIM_SYNC, DBK_SIM_READ};
    for (size_t kind = 0; kind < 3; kind++) {
        for (unsigned copy = 0; copy < 2; copy++) {
            fixture at;
            uint64_t ends[EDIT_COUNT + 1];
            begin_with_edits(&at, ends);
            const dbk_sim_fault fault = {.kind = kinds[kind],
                                         .suffix = copy == 0 ? "1" : ".copy",
                                         .nth = 1,
                                         .is_forever = true,
                                         .error = EIO};
            assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
            assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
            assert_number(&at.manifest, EDIT_COUNT);
            assert_int_equal(at.manifest.file.states[copy].kind, DBK_MANIFEST_COPY_DAMAGED);
            dbk_sim_clear_faults(at.sim);
            assert_int_equal(commit_number(&at, EDIT_COUNT + 1), DAYBOOK_OK);
            assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
            assert_number(&at.manifest, EDIT_COUNT + 1);
            assert_true(dbk_manifest_file_is_whole(&at.manifest.file));
            end(&at);
        }
    }
    // What is wrong with neither copy itself ends it; and so does what is wrong with both.
    fixture at;
    uint64_t ends[EDIT_COUNT + 1];
    begin_with_edits(&at, ends);
    const dbk_sim_fault fault = {.kind = DBK_SIM_OPEN, .suffix = ".copy", .nth = 1, .error = EMFILE};
    assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
    assert_int_not_equal(reload(&at, NULL), DAYBOOK_OK);
    const dbk_sim_fault both = {.kind = DBK_SIM_READ, .nth = 1, .is_forever = true, .error = EIO};
    assert_int_equal(dbk_sim_fail(at.sim, &both), DAYBOOK_OK);
    assert_int_equal(reload(&at, NULL), DAYBOOK_EIO);
    end(&at);
}

// A file of format 1, as an earlier program wrote it: one copy, frames without a link.
static size_t append_old_frame(fixture *at, uint8_t *file, size_t offset, uint8_t kind, uint64_t edit_number,
                               const dbk_buf *records) {
    size_t payload = 1 + records->size;
    size_t rest = (payload + 7) / 8 * 8;
    uint8_t *frame = file + offset;
    memset(frame, 0, 24 + rest);
    memcpy(frame, "DBME", 4);
    dbk_put_u32(frame + 4, (uint32_t)payload);
    dbk_put_u64(frame + 8, edit_number);
    frame[24] = kind;
    if (records->size > 0) memcpy(frame + 25, records->data, records->size);
    uint8_t place[32];
    memcpy(place, at->manifest.store_uuid.bytes, 16);
    dbk_put_u64(place + 16, 1);
    dbk_put_u64(place + 24, offset);
    uint64_t seed = dbk_checksum(place, sizeof place, 0);
    dbk_put_u64(frame + 16, dbk_checksum(frame + 24, rest, dbk_checksum(frame, 16, seed)));
    return offset + 24 + rest;
}

static size_t make_old_file(fixture *at, uint8_t *file) {
    init(at);
    memset(at->manifest.store_uuid.bytes, 7, 16);
    memset(file, 0, 64);
    memcpy(file, "DBMF\1\0\1", 7);
    memset(file + 8, 7, 16);
    dbk_put_u64(file + 24, 99);
    dbk_put_u64(file + 32, 1);
    dbk_put_u64(file + 56, dbk_checksum(file, 56, 0));
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, dbk_allocator_default());
    dbk_manifest_edit_set_incarnation(&edit, 99);
    size_t size = append_old_frame(at, file, 64, 1, 0, &edit.records);
    dbk_manifest_segment segment = segment_of(1, 10, 19);
    dbk_manifest_edit_add_segment(&edit, &segment);
    dbk_manifest_edit_set_flushed(&edit, 19, 1);
    size = append_old_frame(at, file, size, 2, 1, &edit.records);
    dbk_manifest_edit_deinit(&edit);
    return size;
}

static void a_file_of_format_1_is_read_and_becomes_two_copies(void **state) {
    (void)state;
    fixture at = {0};
    begin(&at, 1);
    uint8_t file[1024];
    size_t size = make_old_file(&at, file);
    put_copy(&at, 0, file, size);
    assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
    assert_int_equal(at.manifest.flushed_position, 19);
    assert_int_equal(at.manifest.edit_count, 1);
    assert_int_equal(at.manifest.file.states[0].kind, DBK_MANIFEST_COPY_SOUND);
    assert_int_equal(at.manifest.file.states[1].kind, DBK_MANIFEST_COPY_UNNEEDED);
    assert_false(dbk_manifest_copy_is_damage(&at.manifest.file.states[1]));
    char text[256];
    dbk_manifest_file_describe(&at.manifest.file, 1, text, sizeof text);
    assert_non_null(strstr(text, "format"));
    dbk_manifest_file_describe(&at.manifest.file, 0, text, sizeof text);
    assert_non_null(strstr(text, "sound"));
    assert_int_equal(commit_number(&at, 2), DAYBOOK_OK);
    assert_int_equal(at.manifest.number, 2);
    assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
    assert_true(dbk_manifest_file_is_whole(&at.manifest.file));
    assert_int_equal(at.manifest.segment_count, 2);
    assert_int_equal(count_files(&at), 2);
    // Damage to it has no other copy to be healed from.
    assert_int_equal(at.vfs->unlink(at.vfs, "/store/manifest-0000000000000002"), 0);
    assert_int_equal(at.vfs->unlink(at.vfs, "/store/manifest-0000000000000002.copy"), 0);
    file[64 + 30] ^= 1;
    put_copy(&at, 0, file, size);
    assert_int_equal(reload(&at, NULL), DAYBOOK_EDAMAGED);
    end(&at);
}

static void a_failed_edit_changes_nothing_and_the_next_begins_a_new_file(void **state) {
    (void)state;
    static const dbk_sim_kind kinds[] = {DBK_SIM_WRITE, DBK_SIM_SYNC};
    static const char *const suffixes[] = {"0000001", ".copy"};
    for (size_t i = 0; i < 4; i++) {
        fixture at = {0};
        begin(&at, 1);
        assert_int_equal(create(&at), DAYBOOK_OK);
        assert_int_equal(commit_number(&at, 1), DAYBOOK_OK);
        dbk_sim_fault fault = {.kind = kinds[i / 2], .suffix = suffixes[i % 2], .nth = 1, .error = EIO};
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

// A new file of which one copy cannot be made does not count; the next attempt takes another number.
static void a_new_file_counts_when_both_copies_are_there(void **state) {
    (void)state;
    static const dbk_sim_kind kinds[] = {DBK_SIM_WRITE, DBK_SIM_SYNC, DBK_SIM_RENAME};
    static const char *const suffixes[] = {"2.tmp", "2.copy.tmp", "0000002", "2.copy"};
    for (size_t i = 0; i < 6; i++) {
        const char *suffix = suffixes[i % 2 + (i >= 4 ? 2 : 0)];
        fixture at = {0};
        begin(&at, 1);
        assert_int_equal(create(&at), DAYBOOK_OK);
        assert_int_equal(commit_number(&at, 1), DAYBOOK_OK);
        dbk_manifest_file_close(&at.manifest.file, at.vfs); // as after a failure
        dbk_sim_fault fault = {.kind = kinds[i / 2], .suffix = suffix, .nth = 1, .error = EIO};
        assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
        assert_int_equal(commit_number(&at, 2), DAYBOOK_EIO);
        assert_number(&at.manifest, 1);
        assert_int_equal(commit_number(&at, 2), DAYBOOK_OK);
        assert_int_equal(at.manifest.number, 3);
        assert_int_equal(count_files(&at), 2);
        assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
        assert_number(&at.manifest, 2);
        end(&at);
    }
}

// A whole edit in another place of the file is none: it would bring back what it once said.
static void an_edit_in_another_place_is_none(void **state) {
    (void)state;
    fixture at = {0};
    begin(&at, 4);
    assert_int_equal(create(&at), DAYBOOK_OK);
    uint64_t ends[4] = {at.manifest.file.size};
    for (uint64_t n = 1; n <= 3; n++) {
        assert_int_equal(commit_number(&at, n), DAYBOOK_OK);
        ends[n] = at.manifest.file.size;
    }
    const char *path = copy_paths[0];
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
    assert_int_equal(at.manifest.file.torn_bytes, size);
    end(&at);
}

static void a_manifest_under_another_name_is_foreign(void **state) {
    (void)state;
    fixture at = {0};
    begin(&at, 6);
    assert_int_equal(create(&at), DAYBOOK_OK);
    assert_int_equal(commit_number(&at, 1), DAYBOOK_OK);
    const content copies[] = {take_copy(&at, 0), take_copy(&at, 1)};
    assert_int_equal(at.vfs->rename(at.vfs, copy_paths[0], "/store/manifest-0000000000000002"), 0);
    assert_int_equal(reload(&at, NULL), DAYBOOK_EFOREIGN);
    // Beside a sound one it is known for what it is.
    put_back(&at, copies);
    for (uint64_t n = 2; n <= 3; n++) {
        assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
        dbk_manifest_file_close(&at.manifest.file, at.vfs);
        assert_int_equal(commit_number(&at, 2), DAYBOOK_OK);
        put_file(&at, n == 2 ? "/store/manifest-0000000000000002" : "/store/manifest-0000000000000002.copy",
                 copies[0].data, copies[0].size);
        assert_int_equal(reload(&at, NULL), DAYBOOK_OK);
        assert_number(&at.manifest, 2);
        assert_int_equal(at.manifest.file.states[n - 2].kind, DBK_MANIFEST_COPY_FOREIGN);
        put_back(&at, copies);
    }
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

// The sync of an edit fails, and the page cache goes on showing what the disk never got. A new process must
// not build on it: the next edit would stand behind a hole.
static void an_edit_that_only_the_page_cache_has_is_not_built_on(void **state) {
    (void)state;
    fixture at;
    begin(&at, 3);
    assert_int_equal(create(&at), DAYBOOK_OK);
    assert_int_equal(commit_number(&at, 1), DAYBOOK_OK);
    // Of one copy when the edit is written, of the other when it is read: nowhere on the disk.
    const dbk_sim_fault fault = {.kind = DBK_SIM_SYNC, .suffix = "1", .nth = 1, .error = EIO};
    const dbk_sim_fault other = {.kind = DBK_SIM_SYNC, .suffix = ".copy", .nth = 1, .error = EIO};
    assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
    assert_int_equal(dbk_sim_fail(at.sim, &other), DAYBOOK_OK);
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

// Power is lost at every step of a series of edits: what was acknowledged is there, at most one more.
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
                if (n % 20 == 0) // as after a failure: the next edit begins a new file
                    dbk_manifest_file_close(&at.manifest.file, at.vfs);
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
            // What a crash leaves is never taken for damage.
            for (unsigned copy = 0; copy < 2; copy++)
                assert_false(dbk_manifest_copy_is_damage(&at.manifest.file.states[copy]));
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
        cmocka_unit_test(what_both_copies_lost_is_told_or_cut),
        cmocka_unit_test(every_flipped_byte_of_a_copy_is_healed),
        cmocka_unit_test(a_copy_of_any_length_is_healed),
        cmocka_unit_test(copies_damaged_in_different_places_make_a_whole),
        cmocka_unit_test(an_older_copy_adds_nothing),
        cmocka_unit_test(a_copy_that_went_another_way_is_refused),
        cmocka_unit_test(of_two_stores_the_one_that_belongs_here_counts),
        cmocka_unit_test(a_copy_the_device_cannot_read_is_healed),
        cmocka_unit_test(a_file_of_format_1_is_read_and_becomes_two_copies),
        cmocka_unit_test(a_failed_edit_changes_nothing_and_the_next_begins_a_new_file),
        cmocka_unit_test(a_new_file_counts_when_both_copies_are_there),
        cmocka_unit_test(an_edit_in_another_place_is_none),
        cmocka_unit_test(a_manifest_under_another_name_is_foreign),
        cmocka_unit_test(contradictions_are_damage),
        cmocka_unit_test(an_edit_that_only_the_page_cache_has_is_not_built_on),
        cmocka_unit_test(power_loss_keeps_what_was_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
