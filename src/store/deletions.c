// SPDX-License-Identifier: Apache-2.0
// File `deletions-<segment id>-<generation>.dbd`, little-endian:
//    0 u8[4] "DBDL"   4 u16 format (1)   6 u8 checksum id (1 = XXH3-64)   7 u8 zero
//    8 u8[16] store UUID   24 u64 segment id   32 u64 generation
//   40 u32 bytes of the bitmap of removed events   44 u32 bytes of that of events removed for ever
//   48 u64 checksum of bytes 0-47 and of everything behind 56
//   56 the bitmaps, portable Roaring format, over positions relative to the segment's first
// Identity lies inside what is checksummed, so a file of another segment, generation or store cannot pass.
// Written to a temporary name, synced, renamed, directory synced.
#include "store/deletions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "io/io.h"

enum { HEAD_SIZE = 56, FORMAT = 1, CHECKSUM_XXH3 = 1 };
#define DELETIONS_SIZE_MAX ((size_t)1 << 30)

static const char magic[4] = {'D', 'B', 'D', 'L'};

void dbk_deletions_name(uint64_t segment_id, uint64_t generation, char name_out[64]) {
    (void)snprintf(name_out, 64, "deletions-%016llx-%016llx.dbd", (unsigned long long)segment_id,
                   (unsigned long long)generation);
}

static bool parse_hex(const char *digits, uint64_t *value_out) {
    for (size_t i = 0; i < 16; i++) {
        if (digits[i] == '\0' || strchr("0123456789abcdef", digits[i]) == NULL) return false;
    }
    char text[17];
    memcpy(text, digits, 16);
    text[16] = '\0';
    *value_out = strtoull(text, NULL, 16);
    return true;
}

bool dbk_deletions_parse_name(const char *name, uint64_t *segment_id_out, uint64_t *generation_out) {
    static const char prefix[] = "deletions-";
    size_t at = sizeof prefix - 1;
    if (strlen(name) != at + 16 + 1 + 16 + 4 || memcmp(name, prefix, at) != 0) return false;
    return parse_hex(name + at, segment_id_out) && name[at + 16] == '-' &&
           parse_hex(name + at + 17, generation_out) && strcmp(name + at + 33, ".dbd") == 0;
}

static uint64_t content_checksum(const uint8_t *content, size_t size) {
    return dbk_checksum(content + HEAD_SIZE, size - HEAD_SIZE, dbk_checksum(content, HEAD_SIZE - 8, 0));
}

daybook_status dbk_deletions_write(const dbk_deletions_config *config, const roaring_bitmap_t *removed,
                                   const roaring_bitmap_t *for_ever, daybook_error *error) {
    char name[64];
    dbk_deletions_name(config->segment_id, config->generation, name);
    size_t removed_size = roaring_bitmap_portable_size_in_bytes(removed);
    size_t for_ever_size = roaring_bitmap_portable_size_in_bytes(for_ever);
    dbk_buf content;
    dbk_buf_init(&content, config->allocator, DELETIONS_SIZE_MAX);
    uint8_t *bytes = dbk_buf_reserve(&content, HEAD_SIZE + removed_size + for_ever_size);
    if (bytes == NULL) {
        dbk_buf_deinit(&content);
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while writing %s", name);
    }
    content.size = HEAD_SIZE + removed_size + for_ever_size;
    memset(bytes, 0, HEAD_SIZE);
    memcpy(bytes, magic, sizeof magic);
    dbk_put_u16(bytes + 4, FORMAT);
    bytes[6] = CHECKSUM_XXH3;
    memcpy(bytes + 8, config->store_uuid.bytes, 16);
    dbk_put_u64(bytes + 24, config->segment_id);
    dbk_put_u64(bytes + 32, config->generation);
    dbk_put_u32(bytes + 40, (uint32_t)removed_size);
    dbk_put_u32(bytes + 44, (uint32_t)for_ever_size);
    (void)roaring_bitmap_portable_serialize(removed, (char *)bytes + HEAD_SIZE);
    (void)roaring_bitmap_portable_serialize(for_ever, (char *)bytes + HEAD_SIZE + removed_size);
    dbk_put_u64(bytes + 48, content_checksum(bytes, content.size));
    daybook_status status = dbk_replace_file(config->vfs, config->directory, name,
                                             daybook_bytes(content.data, content.size), error);
    dbk_buf_deinit(&content);
    return status;
}

static daybook_status check_content(const dbk_deletions_config *config, const char *path,
                                    const dbk_buf *content, daybook_error *error) {
    const uint8_t *bytes = content->data;
    if (content->size < HEAD_SIZE || memcmp(bytes, magic, sizeof magic) != 0) {
        return dbk_fail_damaged(
            error, path, 0, "%s is not a deletion file: it was cut or overwritten; run daybook verify", path);
    }
    if (dbk_get_u16(bytes + 4) != FORMAT) {
        return dbk_fail(error, DAYBOOK_EFORMAT,
                        "%s has format %u: this program knows format %d; use a newer daybook", path,
                        (unsigned)dbk_get_u16(bytes + 4), FORMAT);
    }
    if (bytes[6] != CHECKSUM_XXH3) {
        return dbk_fail(error, DAYBOOK_EFORMAT,
                        "%s has checksums of kind %u: this program knows kind %d; use a newer daybook", path,
                        (unsigned)bytes[6], CHECKSUM_XXH3);
    }
    uint64_t sizes = (uint64_t)dbk_get_u32(bytes + 40) + dbk_get_u32(bytes + 44);
    if (sizes != content->size - HEAD_SIZE ||
        dbk_get_u64(bytes + 48) != content_checksum(bytes, content->size)) {
        return dbk_fail_damaged(
            error, path, 0, "%s has a bad checksum: which events are removed is unknown; run daybook verify",
            path);
    }
    if (memcmp(bytes + 8, config->store_uuid.bytes, 16) != 0) {
        return dbk_fail(error, DAYBOOK_EFOREIGN, "%s belongs to another store; put the right file back",
                        path);
    }
    if (dbk_get_u64(bytes + 24) != config->segment_id || dbk_get_u64(bytes + 32) != config->generation) {
        return dbk_fail_damaged(error, path, 24,
                                "%s carries the name of another deletion file; run daybook verify", path);
    }
    return DAYBOOK_OK;
}

daybook_status dbk_deletions_read(const dbk_deletions_config *config, roaring_bitmap_t **removed_out,
                                  roaring_bitmap_t **for_ever_out, daybook_error *error) {
    *removed_out = NULL;
    *for_ever_out = NULL;
    char name[64];
    char path[DBK_PATH_SIZE_MAX];
    dbk_deletions_name(config->segment_id, config->generation, name);
    DBK_TRY(dbk_path_join(config->directory, name, path, error));
    dbk_buf content;
    dbk_buf_init(&content, config->allocator, DELETIONS_SIZE_MAX);
    daybook_status status = dbk_read_file(config->vfs, path, &content, error);
    if (status == DAYBOOK_OK) status = check_content(config, path, &content, error);
    if (status == DAYBOOK_OK) {
        const char *bytes = (const char *)content.data + HEAD_SIZE;
        size_t removed_size = dbk_get_u32(content.data + 40);
        size_t for_ever_size = dbk_get_u32(content.data + 44);
        if (!dbk_bitmap_check(daybook_bytes(bytes, removed_size)) ||
            !dbk_bitmap_check(daybook_bytes(bytes + removed_size, for_ever_size))) {
            dbk_buf_deinit(&content);
            return dbk_fail_damaged(
                error, path, HEAD_SIZE,
                "%s holds a malformed bitmap: which events are removed is unknown; run daybook verify", path);
        }
        *removed_out = roaring_bitmap_portable_deserialize_safe(bytes, removed_size);
        *for_ever_out = roaring_bitmap_portable_deserialize_safe(bytes + removed_size, for_ever_size);
        if (*removed_out == NULL || *for_ever_out == NULL) {
            if (*removed_out != NULL) roaring_bitmap_free(*removed_out);
            if (*for_ever_out != NULL) roaring_bitmap_free(*for_ever_out);
            *removed_out = NULL;
            *for_ever_out = NULL;
            status = dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while reading %s", path);
        }
    }
    dbk_buf_deinit(&content);
    return status;
}
