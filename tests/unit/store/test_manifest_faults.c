// SPDX-License-Identifier: Apache-2.0
// The manifest where memory, the system or the bytes fail it: each ends in a status, nothing acknowledged is
// lost, and what comes next goes on.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "io/io.h"
#include "io/sim/sim.h"
#include "lib/fault_allocator.h"
#include "store/manifest.h"

static const char *const copy_paths[] = {"/store/manifest-0000000000000001",
                                         "/store/manifest-0000000000000001.copy"};

// The simulation's table, with functions that misbehave.
typedef struct fixture {
    dbk_sim *sim;
    daybook_vfs *inner;
    daybook_vfs vfs;
    fault_allocator faults;
    dbk_manifest manifest;
} fixture;

static fixture *current;
static int64_t (*misread)(void *data, size_t size, uint64_t offset); // NULL: as it is

static int64_t read_at(daybook_vfs *vfs, daybook_file *file, void *data, size_t size, uint64_t offset) {
    (void)vfs;
    int64_t moved = current->inner->read_at(current->inner, file, data, size, offset);
    return misread == NULL || moved < 0 ? moved : misread(data, (size_t)moved, offset);
}

static void init(fixture *at, const char *directory) {
    dbk_manifest_init(&at->manifest, &at->faults.allocator, &at->vfs, directory);
    at->manifest.number = 1;
    memset(at->manifest.store_uuid.bytes, 7, 16);
    at->manifest.incarnation = 99;
}

static void begin(fixture *at) {
    memset(at, 0, sizeof *at);
    current = at;
    misread = NULL;
    fault_allocator_init(&at->faults);
    assert_int_equal(dbk_sim_new(1, &at->sim), DAYBOOK_OK);
    at->inner = dbk_sim_vfs(at->sim);
    at->vfs = *at->inner;
    at->vfs.read_at = read_at;
    assert_int_equal(at->inner->make_directory(at->inner, "/store"), 0);
    init(at, "/store");
    assert_int_equal(dbk_manifest_create(&at->manifest, NULL), DAYBOOK_OK);
}

static void end(fixture *at) {
    dbk_manifest_deinit(&at->manifest);
    assert_int_equal(fault_allocator_live(&at->faults), 0);
    dbk_sim_free(at->sim);
}

static daybook_status load(fixture *at, bool writer) {
    dbk_manifest_deinit(&at->manifest);
    init(at, "/store");
    return dbk_manifest_load(&at->manifest, writer, NULL);
}

// Says how far positions are spent, and something of each kind.
static daybook_status commit(fixture *at, uint64_t n) {
    static const uint32_t pieces[] = {0, 1};
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, &at->faults.allocator);
    dbk_manifest_edit_set_positions_end(&edit, n);
    dbk_manifest_edit_put_entry(&edit, DBK_CATALOGUE_STREAM, daybook_text("a"), daybook_text("b"));
    dbk_manifest_stream stream = {.id = 1, .last_seq = n};
    dbk_manifest_edit_put_stream(&edit, &stream);
    dbk_journal_map map = {256, 2, pieces};
    dbk_manifest_edit_set_journal(&edit, 256, 256, &map);
    daybook_status status = dbk_manifest_commit(&at->manifest, &edit, NULL);
    if (status != DAYBOOK_OK)
        assert_int_not_equal(dbk_manifest_apply(&at->manifest, &edit), DAYBOOK_EDAMAGED);
    dbk_manifest_edit_deinit(&edit);
    return status;
}

static void memory_may_run_out_anywhere(void **state) {
    (void)state;
    unsigned refused = 0;
    for (uint64_t step = 2, has_failed = 1; has_failed != 0 || step % 2 != 0; step++) {
        uint64_t nth = step / 2; // each with an edit appended, and with one that begins a new file
        fixture at;
        begin(&at);
        assert_int_equal(commit(&at, 1), DAYBOOK_OK);
        fault_allocator_fail(&at.faults, nth, false);
        if (step % 2 != 0) dbk_manifest_file_close(&at.manifest.file, &at.vfs); // begins a new file
        daybook_status status = commit(&at, 2);
        if (status == DAYBOOK_OK) status = load(&at, true);
        dbk_manifest copy;
        if (status == DAYBOOK_OK) {
            status = dbk_manifest_copy(&at.manifest, &copy);
            if (status == DAYBOOK_OK) dbk_manifest_deinit(&copy);
        }
        has_failed = fault_allocator_has_failed(&at.faults);
        assert_int_equal(status, has_failed ? DAYBOOK_ENOMEM : DAYBOOK_OK);
        refused += has_failed != 0;
        fault_allocator_fail(&at.faults, 0, false);
        assert_int_equal(load(&at, true), DAYBOOK_OK);
        assert_true(at.manifest.positions_end >= 1);
        assert_int_equal(commit(&at, 3), DAYBOOK_OK);
        assert_int_equal(load(&at, false), DAYBOOK_OK);
        assert_int_equal(at.manifest.positions_end, 3);
        end(&at);
    }
    assert_true(refused > 20);
}

static void files_before_are_removed_many_of_them(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    for (uint64_t n = 1; n <= 15; n++) {
        dbk_manifest_file_close(&at.manifest.file, &at.vfs);
        assert_int_equal(commit(&at, n), DAYBOOK_OK);
        assert_int_equal(load(&at, true), DAYBOOK_OK);
        assert_int_equal(at.manifest.number, n + 1);
        assert_int_equal(at.manifest.positions_end, n);
    }
    end(&at);
}

// A writer replaces the file between listing and opening: the new one is found; unless it never is.
static void a_file_that_vanishes_is_looked_for_again(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    for (int is_forever = 0; is_forever < 2; is_forever++) {
        for (int copy = 0; copy < 2; copy++) {
            const dbk_sim_fault fault = {.kind = DBK_SIM_OPEN,
                                         .suffix = copy == 0 ? "1" : ".copy",
                                         .nth = 1,
                                         .is_forever = is_forever != 0,
                                         .error = ENOENT};
            assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
        }
        assert_int_equal(load(&at, false), is_forever ? DAYBOOK_ENOTFOUND : DAYBOOK_OK);
        dbk_sim_clear_faults(at.sim);
    }
    const dbk_sim_fault fault = {.kind = DBK_SIM_LIST, .nth = 1, .error = EIO};
    assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
    assert_int_equal(load(&at, false), DAYBOOK_EIO);
    end(&at);
}

static int64_t read_nothing(void *data, size_t size, uint64_t offset) {
    (void)data, (void)size, (void)offset;
    return 0;
}
static int64_t read_little(void *data, size_t size, uint64_t offset) {
    (void)data, (void)offset;
    return size < 5 ? (int64_t)size : 5;
}
static int interruptions;
static int64_t read_interrupted(void *data, size_t size, uint64_t offset) {
    (void)data, (void)offset;
    return interruptions-- > 0 ? -EINTR : (int64_t)size;
}

static int pretend_shorter(daybook_vfs *vfs, daybook_file *file, uint64_t *size_out) {
    (void)vfs;
    int result = current->inner->file_size(current->inner, file, size_out);
    *size_out -= 8;
    return result;
}

static void reads_that_bring_little_end(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    assert_int_equal(commit(&at, 1), DAYBOOK_OK);
    misread = read_nothing;
    assert_int_equal(load(&at, true), DAYBOOK_EDAMAGED);
    misread = read_little; // never a whole block
    assert_int_equal(load(&at, true), DAYBOOK_EDAMAGED);
    misread = read_interrupted;
    interruptions = 3;
    assert_int_equal(load(&at, true), DAYBOOK_OK);
    misread = NULL;
    // Longer than it was when its size was asked for: what is behind is of the next reader.
    at.vfs.file_size = pretend_shorter;
    assert_int_equal(load(&at, true), DAYBOOK_OK);
    assert_int_equal(at.manifest.positions_end, 0); // its edit is not whole
    end(&at);
}

// ---- Bytes made by hand ---------------------------------------------------------------------------------

typedef struct content {
    uint8_t data[4096];
    size_t size;
} content;

static content take(fixture *at) {
    content taken = {.size = 0};
    daybook_file *file = NULL;
    uint64_t size = 0;
    assert_int_equal(at->inner->open(at->inner, copy_paths[0], DAYBOOK_VFS_READ, &file), 0);
    assert_int_equal(at->inner->file_size(at->inner, file, &size), 0);
    assert_true(size <= sizeof taken.data);
    taken.size = (size_t)size;
    assert_int_equal(at->inner->read_at(at->inner, file, taken.data, taken.size, 0), (int64_t)size);
    at->inner->close(at->inner, file);
    return taken;
}

static void put(fixture *at, unsigned copy, const content *bytes) {
    daybook_file *file = NULL;
    assert_int_equal(
        at->inner->open(at->inner, copy_paths[copy], DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file), 0);
    assert_int_equal(at->inner->truncate(at->inner, file, 0), 0);
    assert_int_equal(at->inner->write_at(at->inner, file, bytes->data, bytes->size, 0), (int64_t)bytes->size);
    at->inner->close(at->inner, file);
}

static void put_both(fixture *at, const content *bytes) {
    put(at, 0, bytes);
    put(at, 1, bytes);
}

static void sign_head(content *bytes) {
    dbk_put_u64(bytes->data + 56, dbk_checksum(bytes->data, 56, 0));
}

// A frame whose checksum is right, whatever it says. Format 1 has no link.
static void add_frame(content *bytes, uint8_t kind, const void *records, size_t size) {
    bool has_link = bytes->data[4] > 1;
    size_t head_size = has_link ? 32 : 24;
    size_t rest = head_size - 24 + (1 + size + 7) / 8 * 8;
    uint8_t *frame = bytes->data + bytes->size;
    uint8_t place[32];
    memset(frame, 0, 24 + rest);
    memcpy(frame, "DBME", 4);
    dbk_put_u32(frame + 4, (uint32_t)(1 + size));
    dbk_put_u64(frame + 8, 9);
    uint64_t link = 0;
    for (size_t offset = 64; has_link && offset < bytes->size; offset += 8) { // the last one before
        if (memcmp(bytes->data + offset, "DBME", 4) == 0) link = dbk_get_u64(bytes->data + offset + 16);
    }
    if (has_link) dbk_put_u64(frame + 24, link != 0 ? link : dbk_get_u64(bytes->data + 56));
    frame[head_size] = kind;
    if (size > 0) memcpy(frame + head_size + 1, records, size);
    memcpy(place, bytes->data + 8, 16);
    dbk_put_u64(place + 16, 1);
    dbk_put_u64(place + 24, bytes->size);
    uint64_t seed = dbk_checksum(place, sizeof place, 0);
    dbk_put_u64(frame + 16, dbk_checksum(frame + 24, rest, dbk_checksum(frame, 16, seed)));
    bytes->size += 24 + rest;
}

static void frames_with_a_right_checksum_are_not_believed_for_that(void **state) {
    (void)state;
    static const uint8_t closed[] = {5, 1};
    static const uint8_t unknown[] = {99, 1};
    // A stream, and an entry, twice in one edit: nothing sorts that out.
    static const uint8_t streams[] = {9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8};
    static const uint8_t entries[] = {11, 1, 1, 'k', 0, 11, 1, 1, 'k', 0};
    static const struct {
        uint8_t kind;
        const uint8_t *records;
        size_t size;
        daybook_status status;
    } cases[] = {
        {2, closed, 2, DAYBOOK_OK},
        {2, NULL, 0, DAYBOOK_OK},
        {1, closed, 2, DAYBOOK_EDAMAGED}, // a second snapshot
        {3, closed, 2, DAYBOOK_EDAMAGED}, // of a kind nobody knows
        {2, unknown, 2, DAYBOOK_EDAMAGED},
        {2, streams, sizeof streams, DAYBOOK_EDAMAGED},
        {2, entries, sizeof entries, DAYBOOK_EDAMAGED},
    };
    fixture at;
    begin(&at);
    const content sound = take(&at);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        content bytes = sound;
        add_frame(&bytes, cases[i].kind, cases[i].records, cases[i].size);
        put_both(&at, &bytes);
        if (load(&at, true) != cases[i].status) fail_msg("case %zu", i);
    }
    end(&at);
}

static void what_is_left_of_a_file_is_judged(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    const content young = take(&at);
    assert_int_equal(commit(&at, 1), DAYBOOK_OK);
    const content sound = take(&at);
    // Heads only.
    content bytes = sound;
    bytes.size = 64;
    put_both(&at, &bytes);
    assert_int_equal(load(&at, true), DAYBOOK_EDAMAGED);
    // A last edit that says it is empty.
    bytes = sound;
    dbk_put_u32(bytes.data + young.size + 4, 0);
    put_both(&at, &bytes);
    assert_int_equal(load(&at, true), DAYBOOK_OK);
    assert_int_equal(at.manifest.positions_end, 0);
    // Format 0.
    bytes = sound;
    bytes.data[4] = 0;
    put_both(&at, &bytes);
    assert_int_equal(load(&at, true), DAYBOOK_EFORMAT);
    // One missing, the other damaged.
    bytes.data[0] ^= 1;
    put(&at, 1, &bytes);
    assert_int_equal(at.inner->unlink(at.inner, copy_paths[0]), 0);
    assert_int_equal(load(&at, true), DAYBOOK_EDAMAGED);
    // Damage to a snapshot behind which nothing was ever written is no torn edit; a copy that is missing then
    // was perhaps never made.
    put_both(&at, &young);
    assert_int_equal(dbk_sim_flip(at.sim, copy_paths[1], 70, 1), DAYBOOK_OK);
    assert_int_equal(load(&at, true), DAYBOOK_OK);
    assert_int_equal(at.manifest.file.states[1].kind, DBK_MANIFEST_COPY_DAMAGED);
    assert_int_equal(at.inner->unlink(at.inner, copy_paths[1]), 0);
    assert_int_equal(load(&at, true), DAYBOOK_OK);
    assert_int_equal(at.manifest.file.states[1].kind, DBK_MANIFEST_COPY_UNFINISHED);
    char text[256];
    dbk_manifest_file_describe(&at.manifest.file, 1, text, sizeof text);
    assert_non_null(strstr(text, "not made"));
    // Beside an older file, too.
    put(&at, 0, &sound);
    daybook_file *file = NULL;
    assert_int_equal(load(&at, true), DAYBOOK_OK);
    assert_int_equal(at.manifest.file.states[1].kind, DBK_MANIFEST_COPY_MISSING);
    assert_int_equal(commit(&at, 2), DAYBOOK_OK); // file 2
    assert_int_equal(at.inner->unlink(at.inner, "/store/manifest-0000000000000002.copy"), 0);
    assert_int_equal(at.inner->open(at.inner, copy_paths[0], DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file),
                     0);
    at.inner->close(at.inner, file);
    assert_int_equal(load(&at, true), DAYBOOK_OK);
    assert_int_equal(at.manifest.positions_end, 2);
    assert_int_equal(at.manifest.file.states[1].kind, DBK_MANIFEST_COPY_UNFINISHED);
    end(&at);
}

static void formats_are_not_mixed(void **state) {
    (void)state;
    static const uint8_t incarnation[] = {4, 99};
    fixture at;
    begin(&at);
    const content sound = take(&at);
    content old = sound;
    old.size = 64;
    old.data[4] = 1;
    sign_head(&old);
    add_frame(&old, 1, incarnation, sizeof incarnation);
    put(&at, 0, &old);
    assert_int_equal(load(&at, true), DAYBOOK_EFOREIGN); // nobody says which belongs here
    // Format 1 under the name of a copy, which it did not have: its own name is what is missing.
    assert_int_equal(at.inner->unlink(at.inner, copy_paths[0]), 0);
    put(&at, 1, &old);
    assert_int_equal(load(&at, true), DAYBOOK_OK);
    assert_int_equal(at.manifest.file.states[0].kind, DBK_MANIFEST_COPY_UNFINISHED);
    end(&at);
}

static int list_a_manifest(daybook_vfs *vfs, const char *path,
                           int (*visit)(void *context, const daybook_vfs_entry *entry), void *context) {
    (void)vfs, (void)path;
    daybook_vfs_entry entry = {.name = "manifest-0000000000000001"};
    return visit(context, &entry);
}

static void names_that_are_too_long_are_told(void **state) {
    (void)state;
    static char directory[DBK_PATH_SIZE_MAX];
    fixture at;
    begin(&at);
    dbk_manifest_deinit(&at.manifest);
    memset(directory, 'a', sizeof directory - 20);
    init(&at, directory);
    at.vfs.list = list_a_manifest;
    assert_int_equal(dbk_manifest_load(&at.manifest, false, NULL), DAYBOOK_EINVALID);
    end(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(files_before_are_removed_many_of_them),
        cmocka_unit_test(a_file_that_vanishes_is_looked_for_again),
        cmocka_unit_test(reads_that_bring_little_end),
        cmocka_unit_test(frames_with_a_right_checksum_are_not_believed_for_that),
        cmocka_unit_test(what_is_left_of_a_file_is_judged),
        cmocka_unit_test(formats_are_not_mixed),
        cmocka_unit_test(names_that_are_too_long_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
