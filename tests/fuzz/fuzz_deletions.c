// SPDX-License-Identifier: Apache-2.0
// Deletion files with hostile bitmaps behind a right checksum. Input: u16 bytes of the first bitmap, then
// both. What is read can be asked, walked, changed and written again.
#include "base/error.h"
#include "fuzz.h"
#include "io/memory.h"
#include "store/deletions.h"

enum { HEAD_SIZE = 56 };

static void make_config(dbk_deletions_config *config, daybook_vfs *vfs) {
    memset(config, 0, sizeof *config);
    config->allocator = dbk_allocator_default();
    config->vfs = vfs;
    config->directory = "/";
    memcpy(config->store_uuid.bytes, "0123456789abcdef", 16);
    config->segment_id = 1;
    config->generation = 2;
}

static void write_file(const dbk_deletions_config *config, dbk_slice bitmaps, size_t removed_size) {
    size_t size = HEAD_SIZE + bitmaps.size;
    uint8_t *bytes = calloc(1, size);
    FUZZ_CHECK(bytes != NULL);
    memcpy(bytes, "DBDL", 4);
    dbk_put_u16(bytes + 4, 1);
    bytes[6] = 1;
    memcpy(bytes + 8, config->store_uuid.bytes, 16);
    dbk_put_u64(bytes + 24, config->segment_id);
    dbk_put_u64(bytes + 32, config->generation);
    dbk_put_u32(bytes + 40, (uint32_t)removed_size);
    dbk_put_u32(bytes + 44, (uint32_t)(bitmaps.size - removed_size));
    if (bitmaps.size > 0) memcpy(bytes + HEAD_SIZE, bitmaps.data, bitmaps.size);
    dbk_put_u64(bytes + 48,
                dbk_checksum(bytes + HEAD_SIZE, size - HEAD_SIZE, dbk_checksum(bytes, HEAD_SIZE - 8, 0)));
    char name[64];
    dbk_deletions_name(config->segment_id, config->generation, name);
    daybook_file *file = NULL;
    FUZZ_CHECK(config->vfs->open(config->vfs, name, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file) == 0);
    FUZZ_CHECK(config->vfs->write_at(config->vfs, file, bytes, size, 0) == (int64_t)size);
    config->vfs->close(config->vfs, file);
    free(bytes);
}

static bool count(uint32_t value, void *context) {
    (void)value;
    return ++*(uint64_t *)context < 1000000;
}

static void use_bitmap(const roaring_bitmap_t *bitmap) {
    uint64_t cardinality = roaring_bitmap_get_cardinality(bitmap);
    uint64_t walked = 0;
    (void)roaring_iterate(bitmap, count, &walked);
    FUZZ_CHECK(walked == (cardinality < 1000000 ? cardinality : 1000000));
    for (uint32_t i = 0; i < 32; i++) (void)roaring_bitmap_contains(bitmap, i * 2654435761u);
    if (cardinality > 0) FUZZ_CHECK(roaring_bitmap_contains(bitmap, roaring_bitmap_maximum(bitmap)));
    roaring_bitmap_t *copy = roaring_bitmap_copy(bitmap);
    FUZZ_CHECK(copy != NULL);
    roaring_bitmap_add(copy, 12345);
    roaring_bitmap_add_range(copy, 100, 200);
    FUZZ_CHECK(roaring_bitmap_contains(copy, 12345) && roaring_bitmap_contains(copy, 150));
    roaring_bitmap_or_inplace(copy, bitmap);
    roaring_bitmap_free(copy);
}

// Also bitmaps the library has changed are well-formed for us.
static void check_again(dbk_deletions_config *config, roaring_bitmap_t *removed, roaring_bitmap_t *for_ever) {
    roaring_bitmap_add_range(removed, 65000, 66000);
    (void)roaring_bitmap_run_optimize(for_ever);
    config->generation++;
    FUZZ_CHECK(dbk_deletions_write(config, removed, for_ever, NULL) == DAYBOOK_OK);
    roaring_bitmap_t *again[2] = {NULL, NULL};
    FUZZ_CHECK(dbk_deletions_read(config, &again[0], &again[1], NULL) == DAYBOOK_OK);
    FUZZ_CHECK(roaring_bitmap_equals(again[0], removed) && roaring_bitmap_equals(again[1], for_ever));
    roaring_bitmap_free(again[0]);
    roaring_bitmap_free(again[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    size_t removed_size = dbk_get_u16(data);
    dbk_slice bitmaps = daybook_bytes(data + 2, size - 2);
    if (removed_size > bitmaps.size) removed_size = bitmaps.size;
    dbk_deletions_config config;
    daybook_vfs *vfs = NULL;
    FUZZ_CHECK(dbk_memory_vfs_new(dbk_allocator_default(), &vfs) == DAYBOOK_OK);
    make_config(&config, vfs);
    write_file(&config, bitmaps, removed_size);
    roaring_bitmap_t *removed = NULL;
    roaring_bitmap_t *for_ever = NULL;
    if (dbk_deletions_read(&config, &removed, &for_ever, NULL) == DAYBOOK_OK) {
        use_bitmap(removed);
        use_bitmap(for_ever);
        config.generation++;
        FUZZ_CHECK(dbk_deletions_write(&config, removed, for_ever, NULL) == DAYBOOK_OK);
        check_again(&config, removed, for_ever);
        roaring_bitmap_free(removed);
        roaring_bitmap_free(for_ever);
    }
    dbk_memory_vfs_free(vfs);
    return 0;
}
