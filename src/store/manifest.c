// SPDX-License-Identifier: Apache-2.0
// The manifest file: head, then frames, each an edit; the first one is a snapshot of everything.
//
// Head, 64 bytes, little-endian:
//    0 u8[4] "DBMF"   4 u16 format (1)   6 u8 checksum id (1 = XXH3-64)   7 u8 zero
//    8 u8[16] store UUID   24 u64 incarnation (of the store when the file was begun)   32 u64 number of the
//      file
//   40 u8[16] zero   56 u64 checksum of the 56 bytes before
// Frame, at a multiple of 8:
//    0 u32 magic "DBME"   4 u32 payload bytes   8 u64 number of the edit (grows over all files)
//   16 u64 checksum of bytes 0-15 and the payload with its padding, seeded with a mix of UUID, file number
//     and offset
//   24 payload, then zeros to a multiple of 8
// Payload: u8 what it is (SNAPSHOT: begin from nothing; EDIT), then records (manifest_edit.c).
//
// Writing: one frame with one write, then sync; only then memory changes. What could fail in memory
// (growing arrays, copies of entries) is done before the write, so that applying a durable edit cannot
// fail. When a write or sync fails, whether the edit is on disk is unknown: the file is given up, the
// number of the edit is skipped, and the next edit begins a new file with a snapshot of what memory says,
// which outranks the old one. A file that has grown by as much as its snapshot (at least REWRITE_BYTES_MIN)
// is replaced the same way; the old one is removed last.
//
// Reading: the greatest number wins. Since the frame before was synced before the next was begun, a bad
// frame with a valid one behind it is damage, and one with nothing valid behind it is an edit that was
// never acknowledged: cut. A file whose head or snapshot is bad is damage, because a file gets its name
// only when both are synced. A writer reads past the page cache, which may show an edit whose sync failed,
// and which is not on the disk; the next edit would then stand behind a hole.
//
// Threads: none of its own; the caller holds store->maintenance's manifest lock.
#include "store/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "io/io.h"
#include "store/manifest_edit.h"

enum {
    HEAD_SIZE = 64,
    FRAME_HEAD_SIZE = 24,
    FORMAT = 1,
    CHECKSUM_XXH3 = 1,
    REWRITE_BYTES_MIN = 64 * 1024,
    LOAD_ATTEMPTS_MAX = 20,
    FRUITLESS_READS_MAX = 100,
    DIRECT_WINDOW_SIZE = 1 << 16,
};
#define MANIFEST_SIZE_MAX ((size_t)1 << 30)

static const char head_magic[4] = {'D', 'B', 'M', 'F'};
static const char frame_magic[4] = {'D', 'B', 'M', 'E'};

typedef enum payload_kind { PAYLOAD_SNAPSHOT = 1, PAYLOAD_EDIT = 2 } payload_kind;

// ---- Names and checksums --------------------------------------------------------------------------------

void dbk_manifest_name(uint64_t number, char name_out[40]) {
    (void)snprintf(name_out, 40, "manifest-%016llx", (unsigned long long)number);
}

bool dbk_manifest_parse_name(const char *name, uint64_t *number_out) {
    static const char prefix[] = "manifest-";
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) return false;
    const char *digits = name + sizeof prefix - 1;
    if (strlen(digits) != 16 || strspn(digits, "0123456789abcdef") != 16) return false;
    *number_out = strtoull(digits, NULL, 16);
    return *number_out > 0;
}

static uint64_t frame_seed(const dbk_uuid *uuid, uint64_t number, uint64_t offset) {
    uint8_t place[32];
    memcpy(place, uuid->bytes, 16);
    dbk_put_u64(place + 16, number);
    dbk_put_u64(place + 24, offset);
    return dbk_checksum(place, sizeof place, 0);
}

static uint64_t frame_checksum(const uint8_t *frame, size_t padded_size, uint64_t seed) {
    uint64_t begin = dbk_checksum(frame, 16, seed);
    return dbk_checksum(frame + FRAME_HEAD_SIZE, padded_size, begin);
}

static size_t padded(size_t size) {
    return (size + 7) & ~(size_t)7;
}

// ---- Life -----------------------------------------------------------------------------------------------

void dbk_manifest_init(dbk_manifest *manifest, const daybook_allocator *allocator, daybook_vfs *vfs,
                       const char *directory) {
    *manifest = (dbk_manifest){.allocator = allocator,
                               .vfs = vfs,
                               .directory = directory,
                               .last_recorded_ns = INT64_MIN,
                               .next_segment_id = 1,
                               .next_stream_id = 1};
}

static void clear_content(dbk_manifest *manifest) {
    for (size_t i = 0; i < manifest->entry_count; i++)
        dbk_manifest_free_entry(manifest->allocator, &manifest->entries[i]);
    dbk_free(manifest->allocator, manifest->entries);
    dbk_free(manifest->allocator, manifest->streams);
    dbk_free(manifest->allocator, manifest->segments);
    dbk_free(manifest->allocator, manifest->journal_pieces);
    dbk_manifest_init(manifest, manifest->allocator, manifest->vfs, manifest->directory);
}

void dbk_manifest_deinit(dbk_manifest *manifest) {
    if (manifest == NULL || manifest->allocator == NULL) return;
    if (manifest->file != NULL) manifest->vfs->close(manifest->vfs, manifest->file);
    clear_content(manifest);
}

daybook_status dbk_manifest_copy(const dbk_manifest *from, dbk_manifest *to) {
    dbk_manifest_init(to, from->allocator, from->vfs, from->directory);
    to->store_uuid = from->store_uuid;
    to->number = from->number;
    to->edit_count = from->edit_count;
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, from->allocator);
    dbk_manifest_write_snapshot(from, &edit);
    daybook_status status = dbk_manifest_apply(to, &edit);
    dbk_manifest_edit_deinit(&edit);
    if (status != DAYBOOK_OK) dbk_manifest_deinit(to);
    return status;
}

const dbk_manifest_segment *dbk_manifest_find_segment(const dbk_manifest *manifest, uint64_t segment_id) {
    for (size_t i = 0; i < manifest->segment_count; i++) {
        if (manifest->segments[i].summary.segment_id == segment_id) return &manifest->segments[i];
    }
    return NULL;
}

const dbk_manifest_stream *dbk_manifest_find_stream(const dbk_manifest *manifest, uint32_t stream_id) {
    if (manifest->stream_count == 0) return NULL;
    dbk_manifest_stream key = {.id = stream_id};
    return bsearch(&key, manifest->streams, manifest->stream_count, sizeof key, dbk_manifest_compare_streams);
}

const dbk_manifest_entry *dbk_manifest_find_entry(const dbk_manifest *manifest, dbk_catalogue_kind kind,
                                                  dbk_slice key) {
    if (manifest->entry_count == 0) return NULL;
    dbk_manifest_entry wanted = {.kind = kind, .key = key};
    return bsearch(&wanted, manifest->entries, manifest->entry_count, sizeof wanted,
                   dbk_manifest_compare_entries);
}

// ---- Writing --------------------------------------------------------------------------------------------

static void append_head(const dbk_manifest *manifest, uint64_t number, dbk_buf *buf) {
    uint8_t head[HEAD_SIZE] = {0};
    memcpy(head, head_magic, sizeof head_magic);
    dbk_put_u16(head + 4, FORMAT);
    head[6] = CHECKSUM_XXH3;
    memcpy(head + 8, manifest->store_uuid.bytes, 16);
    dbk_put_u64(head + 24, manifest->incarnation);
    dbk_put_u64(head + 32, number);
    dbk_put_u64(head + 56, dbk_checksum(head, 56, 0));
    dbk_buf_append(buf, head, sizeof head);
}

// A frame at `offset` of file `number`, appended to `buf`.
static void append_frame(const dbk_manifest *manifest, uint64_t number, uint64_t offset, payload_kind kind,
                         uint64_t edit_number, const dbk_buf *records, dbk_buf *buf) {
    static const uint8_t zeros[8] = {0};
    size_t begin = buf->size;
    size_t payload_size = 1 + records->size;
    dbk_buf_append(buf, frame_magic, sizeof frame_magic);
    dbk_buf_append_u32(buf, (uint32_t)payload_size);
    dbk_buf_append_u64(buf, edit_number);
    dbk_buf_append_u64(buf, 0);
    dbk_buf_append_u8(buf, (uint8_t)kind);
    dbk_buf_append(buf, records->data, records->size);
    dbk_buf_append(buf, zeros, padded(payload_size) - payload_size);
    if (records->failed) buf->failed = true;
    if (buf->failed) return;
    uint8_t *frame = buf->data + begin;
    uint64_t seed = frame_seed(&manifest->store_uuid, number, offset);
    dbk_put_u64(frame + 16, frame_checksum(frame, padded(payload_size), seed));
}

static void close_file(dbk_manifest *manifest) {
    if (manifest->file != NULL) manifest->vfs->close(manifest->vfs, manifest->file);
    manifest->file = NULL;
}

static daybook_status open_file(dbk_manifest *manifest, const char *path, daybook_error *error) {
    daybook_file *file = NULL;
    int result = manifest->vfs->open(manifest->vfs, path, DAYBOOK_VFS_WRITE, &file);
    if (result < 0) return dbk_fail_system(error, result, "open", path, 0);
    close_file(manifest);
    manifest->file = file;
    return DAYBOOK_OK;
}

// Write file `number`: a snapshot of memory and, unless NULL, the edit behind it.
static daybook_status write_new_file(dbk_manifest *manifest, uint64_t number, const dbk_manifest_edit *edit,
                                     uint64_t *size_out, uint64_t *snapshot_size_out, daybook_error *error) {
    dbk_manifest_edit snapshot;
    dbk_manifest_edit_init(&snapshot, manifest->allocator);
    dbk_buf content;
    dbk_buf_init(&content, manifest->allocator, MANIFEST_SIZE_MAX);
    dbk_manifest_write_snapshot(manifest, &snapshot);
    append_head(manifest, number, &content);
    append_frame(manifest, number, content.size, PAYLOAD_SNAPSHOT, manifest->edit_count, &snapshot.records,
                 &content);
    *snapshot_size_out = content.size;
    if (edit != NULL) {
        append_frame(manifest, number, content.size, PAYLOAD_EDIT, manifest->edit_count + 1, &edit->records,
                     &content);
    }
    daybook_status status = dbk_buf_status(&content);
    if (status != DAYBOOK_OK) {
        (void)dbk_fail(error, status, "out of memory while writing the manifest of %s", manifest->directory);
    } else {
        char name[40];
        dbk_manifest_name(number, name);
        status = dbk_replace_file(manifest->vfs, manifest->directory, name,
                                  daybook_bytes(content.data, content.size), error);
        *size_out = content.size;
    }
    dbk_buf_deinit(&content);
    dbk_manifest_edit_deinit(&snapshot);
    return status;
}

daybook_status dbk_manifest_create(dbk_manifest *manifest, daybook_error *error) {
    char name[40];
    char path[DBK_PATH_SIZE_MAX];
    dbk_manifest_name(manifest->number, name);
    DBK_TRY(dbk_path_join(manifest->directory, name, path, error));
    uint64_t size = 0;
    DBK_TRY(write_new_file(manifest, manifest->number, NULL, &size, &manifest->snapshot_size, error));
    manifest->file_size = size;
    return open_file(manifest, path, error);
}

// Begin the file after this one with memory's state and the edit; the old one goes when the new one is
// durable.
static daybook_status commit_to_new_file(dbk_manifest *manifest, const dbk_manifest_edit *edit,
                                         daybook_error *error) {
    uint64_t number = manifest->number + 1;
    uint64_t size = 0;
    uint64_t snapshot_size = 0;
    daybook_status status = write_new_file(manifest, number, edit, &size, &snapshot_size, error);
    if (status != DAYBOOK_OK) {
        // The rename may have happened and may last: this number is taken, the next attempt uses another.
        close_file(manifest);
        manifest->number = number;
        return status;
    }
    uint64_t old_number = manifest->number;
    manifest->number = number;
    manifest->file_size = size;
    manifest->snapshot_size = snapshot_size;
    char name[40];
    char path[DBK_PATH_SIZE_MAX];
    dbk_manifest_name(number, name);
    close_file(manifest);
    // Where it cannot be opened for appending the next edit begins a new file again.
    if (dbk_path_join(manifest->directory, name, path, NULL) == DAYBOOK_OK)
        (void)open_file(manifest, path, NULL);
    // All older ones: attempts that failed may have left some.
    for (uint64_t gone = old_number; gone > 0 && gone + 8 > old_number; gone--) {
        dbk_manifest_name(gone, name);
        if (dbk_path_join(manifest->directory, name, path, NULL) != DAYBOOK_OK) break;
        (void)manifest->vfs->unlink(manifest->vfs, path); // what stays is outranked
    }
    return DAYBOOK_OK;
}

static daybook_status commit_to_file(dbk_manifest *manifest, const dbk_manifest_edit *edit,
                                     daybook_error *error) {
    char name[40];
    char path[DBK_PATH_SIZE_MAX];
    dbk_manifest_name(manifest->number, name);
    DBK_TRY(dbk_path_join(manifest->directory, name, path, error));
    dbk_buf frame;
    dbk_buf_init(&frame, manifest->allocator, MANIFEST_SIZE_MAX);
    append_frame(manifest, manifest->number, manifest->file_size, PAYLOAD_EDIT, manifest->edit_count + 1,
                 &edit->records, &frame);
    daybook_status status = dbk_buf_status(&frame);
    if (status != DAYBOOK_OK) {
        (void)dbk_fail(error, status, "out of memory while writing the manifest of %s", manifest->directory);
        goto done; // nothing was written: the file is as good as before
    }
    status = dbk_write_exactly(manifest->vfs, manifest->file, path, frame.data, frame.size,
                               manifest->file_size, error);
    if (status == DAYBOOK_OK) {
        int result = manifest->vfs->sync(manifest->vfs, manifest->file);
        if (result < 0) status = dbk_fail_system(error, result, "sync", path, 0);
    }
    if (status == DAYBOOK_OK) {
        manifest->file_size += frame.size;
    } else {
        close_file(manifest);
    }
done:
    dbk_buf_deinit(&frame);
    return status;
}

daybook_status dbk_manifest_commit(dbk_manifest *manifest, const dbk_manifest_edit *edit,
                                   daybook_error *error) {
    dbk_manifest_plan plan = {0};
    dbk_slice records = daybook_bytes(edit->records.data, edit->records.size);
    daybook_status status = dbk_buf_status(&edit->records);
    if (status == DAYBOOK_OK) status = dbk_manifest_prepare(manifest, records, &plan);
    if (status != DAYBOOK_OK) {
        (void)dbk_fail(error, status, "cannot change the manifest of %s: %s", manifest->directory,
                       daybook_status_text(status));
        goto done;
    }
    uint64_t growth_max = manifest->snapshot_size > REWRITE_BYTES_MIN ? manifest->snapshot_size
                                                                      : REWRITE_BYTES_MIN;
    bool is_due = manifest->file_size + edit->records.size > manifest->snapshot_size + growth_max;
    if (manifest->file == NULL || is_due) {
        status = commit_to_new_file(manifest, edit, error);
    } else {
        status = commit_to_file(manifest, edit, error);
    }
    // A number that may be on disk is not used again, so that readers can tell the two edits apart.
    manifest->edit_count++;
    if (status == DAYBOOK_OK) dbk_manifest_take(manifest, records, &plan);
done:
    dbk_manifest_plan_deinit(manifest->allocator, &plan);
    return status;
}

// ---- Loading --------------------------------------------------------------------------------------------

typedef struct listing {
    uint64_t newest;
    size_t count;
} listing;

static int visit_name(void *context, const daybook_vfs_entry *entry) {
    listing *found = context;
    uint64_t number = 0;
    if (entry->is_directory || !dbk_manifest_parse_name(entry->name, &number)) return 0;
    found->count++;
    if (number > found->newest) found->newest = number;
    return 0;
}

static bool is_valid_frame(const dbk_manifest *manifest, dbk_slice content, uint64_t offset,
                           size_t *size_out) {
    const uint8_t *data = content.data;
    if (offset + FRAME_HEAD_SIZE > content.size) return false;
    const uint8_t *frame = data + offset;
    if (memcmp(frame, frame_magic, sizeof frame_magic) != 0) return false;
    size_t payload_size = dbk_get_u32(frame + 4);
    if (payload_size == 0 || padded(payload_size) > content.size - offset - FRAME_HEAD_SIZE) return false;
    uint64_t seed = frame_seed(&manifest->store_uuid, manifest->number, offset);
    if (dbk_get_u64(frame + 16) != frame_checksum(frame, padded(payload_size), seed)) return false;
    *size_out = FRAME_HEAD_SIZE + padded(payload_size);
    return true;
}

static daybook_status read_head(dbk_manifest *manifest, dbk_slice content, const char *path,
                                daybook_error *error) {
    const uint8_t *head = content.data;
    if (content.size < HEAD_SIZE) {
        return dbk_fail_damaged(error, path, content.size,
                                "%s is too short for a manifest: it was cut; run daybook verify", path);
    }
    if (memcmp(head, head_magic, sizeof head_magic) != 0) {
        return dbk_fail_damaged(error, path, 0, "%s does not begin as a manifest does; run daybook verify",
                                path);
    }
    if (dbk_get_u16(head + 4) != FORMAT) {
        return dbk_fail(error, DAYBOOK_EFORMAT,
                        "%s has format %u: this program knows format %d; use a newer daybook", path,
                        (unsigned)dbk_get_u16(head + 4), FORMAT);
    }
    if (head[6] != CHECKSUM_XXH3) {
        return dbk_fail(error, DAYBOOK_EFORMAT,
                        "%s has checksums of kind %u: this program knows kind %d; use a newer daybook", path,
                        (unsigned)head[6], CHECKSUM_XXH3);
    }
    if (dbk_get_u64(head + 56) != dbk_checksum(head, 56, 0)) {
        return dbk_fail_damaged(error, path, 0, "the head of %s has a bad checksum; run daybook verify",
                                path);
    }
    if (dbk_get_u64(head + 32) != manifest->number) {
        return dbk_fail(error, DAYBOOK_EFOREIGN,
                        "%s is manifest number %llu under another name; give it its own name back", path,
                        (unsigned long long)dbk_get_u64(head + 32));
    }
    memcpy(manifest->store_uuid.bytes, head + 8, 16);
    manifest->incarnation = dbk_get_u64(head + 24);
    return DAYBOOK_OK;
}

static daybook_status load_frame(dbk_manifest *manifest, dbk_slice frame, uint64_t offset, const char *path,
                                 daybook_error *error) {
    const uint8_t *data = frame.data;
    size_t payload_size = dbk_get_u32(data + 4);
    payload_kind kind = (payload_kind)data[FRAME_HEAD_SIZE];
    dbk_slice records = daybook_bytes(data + FRAME_HEAD_SIZE + 1, payload_size - 1);
    bool is_first = offset == HEAD_SIZE;
    dbk_manifest_plan plan = {0};
    daybook_status status = DAYBOOK_EDAMAGED;
    if ((kind == PAYLOAD_SNAPSHOT) == is_first && (kind == PAYLOAD_SNAPSHOT || kind == PAYLOAD_EDIT)) {
        status = dbk_manifest_prepare(manifest, records, &plan);
    }
    if (status == DAYBOOK_OK) {
        dbk_manifest_take(manifest, records, &plan);
        manifest->edit_count = dbk_get_u64(data + 8);
    }
    dbk_manifest_plan_deinit(manifest->allocator, &plan);
    if (status == DAYBOOK_EDAMAGED) {
        // The checksum is right: written by a program that knows more, or by a bug.
        return dbk_fail_damaged(
            error, path, offset,
            "%s has an edit this program does not understand at byte %llu; use a newer daybook", path,
            (unsigned long long)offset);
    }
    if (status != DAYBOOK_OK) return dbk_fail(error, status, "out of memory while reading %s", path);
    return DAYBOOK_OK;
}

static daybook_status load_frames(dbk_manifest *manifest, dbk_slice content, const char *path,
                                  daybook_error *error) {
    uint64_t offset = HEAD_SIZE;
    size_t size = 0;
    while (is_valid_frame(manifest, content, offset, &size)) {
        dbk_slice frame = daybook_bytes((const uint8_t *)content.data + offset, size);
        DBK_TRY(load_frame(manifest, frame, offset, path, error));
        if (offset == HEAD_SIZE) manifest->snapshot_size = offset + size;
        offset += size;
    }
    manifest->file_size = offset;
    manifest->torn_bytes = content.size > offset ? content.size - offset : 0;
    bool is_damaged = offset == HEAD_SIZE;
    for (uint64_t later = offset + 8; !is_damaged && later < content.size; later += 8) {
        is_damaged = is_valid_frame(manifest, content, later, &size);
    }
    if (is_damaged) {
        return dbk_fail_damaged(
            error, path, offset,
            "%s is damaged at byte %llu: an acknowledged edit cannot be read; run daybook verify", path,
            (unsigned long long)offset);
    }
    if (!dbk_manifest_is_consistent(manifest)) {
        return dbk_fail_damaged(error, path, 0, "%s contradicts itself; run daybook verify", path);
    }
    return DAYBOOK_OK;
}

// What the disk holds, past the page cache: after a failed sync that goes on showing what was lost, and a
// later sync reports success. Where the file system knows no direct I/O the page cache has to be believed.
static daybook_status read_direct(daybook_vfs *vfs, daybook_file *file, const char *path, uint8_t *window,
                                  uint64_t size, dbk_buf *content, daybook_error *error) {
    uint64_t done = 0;
    for (unsigned fruitless = 0; done < size;) {
        int64_t moved = vfs->read_at(vfs, file, window, DIRECT_WINDOW_SIZE, done);
        if (moved == -EINTR) continue;
        if (moved < 0) return dbk_fail_system(error, (int)moved, "read", path, done);
        uint64_t part = (uint64_t)moved;
        // The next read begins at a whole block again, but at the end of the file.
        if (done + part < size) part = part / DBK_IO_BLOCK_SIZE * DBK_IO_BLOCK_SIZE;
        if (part > size - done) part = size - done; // it has grown since
        if (part == 0 && (moved == 0 || ++fruitless == FRUITLESS_READS_MAX)) {
            return dbk_fail_damaged(error, path, done, "%s ends at byte %llu of %llu; run daybook verify",
                                    path, (unsigned long long)done, (unsigned long long)size);
        }
        dbk_buf_append(content, window, (size_t)part);
        done += part;
    }
    return dbk_buf_status(content) == DAYBOOK_OK
               ? DAYBOOK_OK
               : dbk_fail(error, dbk_buf_status(content), "%s is too large for memory", path);
}

static daybook_status read_from_disk(const dbk_manifest *manifest, const char *path, dbk_buf *content,
                                     daybook_error *error) {
    daybook_vfs *vfs = manifest->vfs;
    uint8_t *window = dbk_aligned_alloc(manifest->allocator, DIRECT_WINDOW_SIZE);
    if (window == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory reading %s", path);
    daybook_file *file = NULL;
    uint64_t size = 0;
    daybook_status status = DAYBOOK_OK;
    int result = vfs->open(vfs, path, DAYBOOK_VFS_READ | DAYBOOK_VFS_DIRECT, &file);
    if (result == 0) result = vfs->file_size(vfs, file, &size);
    if (result < 0) {
        status = dbk_fail_system(error, result, "open", path, 0);
    } else {
        status = read_direct(vfs, file, path, window, size, content, error);
    }
    if (file != NULL) vfs->close(vfs, file);
    dbk_aligned_free(manifest->allocator, window);
    return status;
}

static daybook_status load_content(dbk_manifest *manifest, const char *path, bool writer,
                                   daybook_error *error) {
    dbk_buf content;
    dbk_buf_init(&content, manifest->allocator, MANIFEST_SIZE_MAX);
    daybook_status status = DAYBOOK_OK;
    if (writer) {
        // No decision may rest on what only the page cache holds.
        DBK_TRY(open_file(manifest, path, error));
        int result = manifest->vfs->sync(manifest->vfs, manifest->file);
        if (result < 0) return dbk_fail_system(error, result, "sync", path, 0);
        status = read_from_disk(manifest, path, &content, error);
    } else {
        status = dbk_read_file(manifest->vfs, path, &content, error);
    }
    dbk_slice bytes = daybook_bytes(content.data, content.size);
    if (status == DAYBOOK_OK) status = read_head(manifest, bytes, path, error);
    if (status == DAYBOOK_OK) status = load_frames(manifest, bytes, path, error);
    dbk_buf_deinit(&content);
    return status;
}

static daybook_status load_once(dbk_manifest *manifest, bool writer, daybook_error *error) {
    listing found = {0};
    int result = manifest->vfs->list(manifest->vfs, manifest->directory, visit_name, &found);
    if (result < 0) return dbk_fail_system(error, result, "list", manifest->directory, 0);
    if (found.count == 0) {
        return dbk_fail(error, DAYBOOK_ENOTFOUND, "no store in %s: it has no manifest; check the path",
                        manifest->directory);
    }
    char name[40];
    char path[DBK_PATH_SIZE_MAX];
    dbk_manifest_name(found.newest, name);
    DBK_TRY(dbk_path_join(manifest->directory, name, path, error));
    manifest->number = found.newest;
    daybook_status status = load_content(manifest, path, writer, error);
    // Behind a torn edit nothing is appended: the next one begins a new file.
    if (status != DAYBOOK_OK || manifest->torn_bytes > 0) close_file(manifest);
    return status;
}

daybook_status dbk_manifest_load(dbk_manifest *manifest, bool writer, daybook_error *error) {
    daybook_status status = DAYBOOK_ENOTFOUND;
    for (int attempt = 0; attempt < LOAD_ATTEMPTS_MAX; attempt++) {
        clear_content(manifest);
        status = load_once(manifest, writer, error);
        // A writer beside us may have replaced the file between listing and opening; then there is a newer
        // one.
        bool may_be_replaced = status == DAYBOOK_ENOTFOUND && manifest->number != 0;
        if (!may_be_replaced) break;
    }
    if (status != DAYBOOK_OK) clear_content(manifest);
    return status;
}
