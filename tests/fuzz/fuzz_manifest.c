// SPDX-License-Identifier: Apache-2.0
// The manifest with hostile records behind right checksums, then with spoilt bytes. Input: u16 size, that
// many bytes of records for an edit, and so on; after a size of 0 pairs of u16 offset and a byte to be
// flipped in the two copies of the file. Whatever a manifest loads it writes as a snapshot that loads as the
// same.
#include "base/error.h"
#include "fuzz.h"
#include "io/memory.h"
#include "store/manifest.h"

enum { EDIT_COUNT_MAX = 8 };

static void init(dbk_manifest *manifest, daybook_vfs *vfs) {
    dbk_manifest_init(manifest, dbk_allocator_default(), vfs, "/");
    memcpy(manifest->store_uuid.bytes, "0123456789abcdef", 16);
    manifest->incarnation = 3;
    manifest->number = 1;
}

static void commit_edits(dbk_manifest *manifest, dbk_reader *input) {
    for (int i = 0; i < EDIT_COUNT_MAX; i++) {
        uint16_t size = dbk_read_u16(input);
        if (size == 0) return;
        if (size > dbk_reader_left(input)) size = (uint16_t)dbk_reader_left(input);
        dbk_manifest_edit edit;
        dbk_manifest_edit_init(&edit, dbk_allocator_default());
        dbk_buf_append_slice(&edit.records, dbk_read_bytes(input, size));
        (void)dbk_manifest_commit(manifest, &edit, NULL);
        dbk_manifest_edit_deinit(&edit);
    }
}

// Offsets count through both copies, one behind the other.
static void spoil_copies(daybook_vfs *vfs, uint64_t number, dbk_reader *input) {
    daybook_file *files[DBK_MANIFEST_COPY_COUNT] = {NULL};
    uint64_t size = 0;
    for (unsigned copy = 0; copy < DBK_MANIFEST_COPY_COUNT; copy++) {
        char name[DBK_MANIFEST_NAME_SIZE];
        dbk_manifest_name(number, copy, name);
        FUZZ_CHECK(vfs->open(vfs, name, DAYBOOK_VFS_WRITE, &files[copy]) == 0);
        FUZZ_CHECK(vfs->file_size(vfs, files[copy], &size) == 0 && size > 0);
    }
    while (dbk_reader_left(input) >= 3) {
        uint64_t offset = dbk_read_u16(input) % (DBK_MANIFEST_COPY_COUNT * size);
        daybook_file *file = files[offset / size];
        uint8_t byte = 0;
        FUZZ_CHECK(vfs->read_at(vfs, file, &byte, 1, offset % size) == 1);
        byte ^= dbk_read_u8(input);
        FUZZ_CHECK(vfs->write_at(vfs, file, &byte, 1, offset % size) == 1);
    }
    for (unsigned copy = 0; copy < DBK_MANIFEST_COPY_COUNT; copy++) vfs->close(vfs, files[copy]);
}

static bool are_equal(const dbk_manifest *a, const dbk_manifest *b) {
    return a->flushed_position == b->flushed_position && a->journal_start_lsn == b->journal_start_lsn &&
           a->journal_piece_count == b->journal_piece_count && a->segment_count == b->segment_count &&
           a->stream_count == b->stream_count && a->entry_count == b->entry_count &&
           a->next_segment_id == b->next_segment_id && a->closed_clean == b->closed_clean;
}

static void check_snapshot(const dbk_manifest *loaded) {
    daybook_vfs *vfs = NULL;
    FUZZ_CHECK(dbk_memory_vfs_new(dbk_allocator_default(), &vfs) == DAYBOOK_OK);
    dbk_manifest copy;
    dbk_manifest again;
    init(&copy, vfs);
    init(&again, vfs);
    FUZZ_CHECK(dbk_manifest_copy(loaded, &copy) == DAYBOOK_OK);
    copy.vfs = vfs;
    copy.directory = "/";
    if (copy.number == 0) copy.number = 1;
    FUZZ_CHECK(dbk_manifest_create(&copy, NULL) == DAYBOOK_OK);
    FUZZ_CHECK(dbk_manifest_load(&again, false, NULL) == DAYBOOK_OK);
    FUZZ_CHECK(are_equal(loaded, &again));
    dbk_manifest_deinit(&again);
    dbk_manifest_deinit(&copy);
    dbk_memory_vfs_free(vfs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dbk_reader input;
    dbk_reader_init(&input, daybook_bytes(data, size));
    daybook_vfs *vfs = NULL;
    FUZZ_CHECK(dbk_memory_vfs_new(dbk_allocator_default(), &vfs) == DAYBOOK_OK);
    dbk_manifest manifest;
    init(&manifest, vfs);
    if (dbk_manifest_create(&manifest, NULL) == DAYBOOK_OK) {
        commit_edits(&manifest, &input);
        uint64_t number = manifest.number;
        dbk_manifest_deinit(&manifest);
        spoil_copies(vfs, number, &input);
        dbk_manifest loaded;
        init(&loaded, vfs);
        daybook_error error;
        daybook_error_init(&error);
        if (dbk_manifest_load(&loaded, false, &error) == DAYBOOK_OK)
            check_snapshot(&loaded);
        else
            FUZZ_CHECK(error.message[0] != '\0');
        dbk_manifest_deinit(&loaded);
    } else {
        dbk_manifest_deinit(&manifest);
    }
    dbk_memory_vfs_free(vfs);
    return 0;
}
