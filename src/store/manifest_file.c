// SPDX-License-Identifier: Apache-2.0
// The manifest file: head, then frames, each an edit; the first one is a snapshot of everything. There are
// two copies of it, `manifest-<16 hex number>` and the same with `.copy` behind, equal in every byte.
//
// Head, 64 bytes, little-endian:
//    0 u8[4] "DBMF"   4 u16 format (2)   6 u8 checksum id (1 = XXH3-64)   7 u8 zero
//    8 u8[16] store UUID   24 u64 incarnation (of the store when the file was begun)
//   32 u64 number of the file   40 u8[16] zero   56 u64 checksum of the 56 bytes before
// Frame, at a multiple of 8:
//    0 u32 magic "DBME"   4 u32 payload bytes   8 u64 number of the edit (grows over all files)
//   16 u64 checksum of bytes 0-15 and all from 24 on, seeded with a mix of UUID, file number and offset
//   24 u64 link: the checksum of the frame before, or of the head
//   32 payload, then zeros to a multiple of 8
// Payload: u8 what it is (SNAPSHOT: begin from nothing; EDIT), then records (manifest_edit.c).
// Format 1 had one copy, and frames without link (the payload at 24). It is read; the next writer begins a
// new file of format 2.
//
// Writing: one frame, one write to each copy, then a sync of each: an edit counts when both are synced. When
// any of it fails, whether the edit is on the disk is unknown: both copies are given up, and the caller
// begins a new file, with a greater number and a snapshot of what memory says. Beginning: each copy by
// temporary name, sync, rename, directory sync; the files before are removed when both are there. So without
// an older file beside it and with an edit in it, both copies of a file were there once; and a file that is
// there was whole.
//
// Reading: the greatest number wins, whatever is wrong with it: what says less never takes the place of what
// says more. Both copies of it are put together: the head that is valid; then at each offset the valid frame
// that links to the one before, from either. So every edit survives that one copy still has, even where both
// are damaged in different places, and an older version of the file, being a beginning of it, adds nothing.
// What the copies do not agree in is not believed: two frames at one place, or a valid frame that is not in
// the chain (behind an edit which neither copy has any more; or of a copy that went another way after it was
// taken from here) is damage. A frame that neither copy has, with nothing valid behind it in either, is an
// edit that was never acknowledged: cut. Where heads are of two stores, the one that journal and segments
// speak of is ours.
//
// A copy that differs from what both say is told with the first byte that does. Where that lies in the last
// edit, a crash may have left it so; everything else is damage. Either way nothing is appended to it: the
// next edit begins a new file.
//
// A writer reads past the page cache, which may show an edit whose sync failed, and which is not on the disk;
// the next edit would then stand behind a hole. A copy that the device cannot read counts as one without
// content.
//
// Threads: none of its own; the caller holds store->maintenance's manifest lock.
#include "store/manifest_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/io.h"
#include "store/directory.h"
#include "store/identity.h"

enum {
    HEAD_SIZE = 64,
    FRAME_FIXED_SIZE = 24,
    FORMAT = 2,
    FORMAT_OF_ONE_COPY = 1,
    CHECKSUM_XXH3 = 1,
    FRUITLESS_READS_MAX = 100,
    DIRECT_WINDOW_SIZE = 1 << 16,
    OLDER_COUNT = 8,
};

static const char head_magic[4] = {'D', 'B', 'M', 'F'};
static const char frame_magic[4] = {'D', 'B', 'M', 'E'};
static const char copy_suffix[] = ".copy";

// ---- Names and checksums --------------------------------------------------------------------------------

void dbk_manifest_name(uint64_t number, unsigned copy, char name_out[DBK_MANIFEST_NAME_SIZE]) {
    (void)snprintf(name_out, DBK_MANIFEST_NAME_SIZE, "manifest-%016llx%s", (unsigned long long)number,
                   copy == 0 ? "" : copy_suffix);
}

bool dbk_manifest_parse_name(const char *name, uint64_t *number_out) {
    static const char prefix[] = "manifest-";
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) return false;
    const char *digits = name + sizeof prefix - 1;
    if (strspn(digits, "0123456789abcdef") != 16) return false;
    if (digits[16] != '\0' && strcmp(digits + 16, copy_suffix) != 0) return false;
    *number_out = strtoull(digits, NULL, 16);
    return *number_out > 0;
}

// Fails where the directory's name is too long; never again for a file that was made or found.
static daybook_status path_of(const dbk_manifest_place *place, uint64_t number, unsigned copy,
                              char path_out[DBK_PATH_SIZE_MAX], daybook_error *error) {
    char name[DBK_MANIFEST_NAME_SIZE];
    dbk_manifest_name(number, copy, name);
    return dbk_path_join(place->directory, name, path_out, error);
}

static uint64_t frame_seed(const dbk_manifest_place *place, uint64_t offset) {
    uint8_t bytes[32];
    memcpy(bytes, place->store_uuid.bytes, 16);
    dbk_put_u64(bytes + 16, place->number);
    dbk_put_u64(bytes + 24, offset);
    return dbk_checksum(bytes, sizeof bytes, 0);
}

// `rest_size` bytes follow the fixed ones.
static uint64_t frame_checksum(const uint8_t *frame, size_t rest_size, uint64_t seed) {
    uint64_t begin = dbk_checksum(frame, 16, seed);
    return dbk_checksum(frame + FRAME_FIXED_SIZE, rest_size, begin);
}

static size_t padded(size_t size) {
    return (size + 7) & ~(size_t)7;
}

static size_t frame_head_size(unsigned format) {
    return format == FORMAT_OF_ONE_COPY ? FRAME_FIXED_SIZE : FRAME_FIXED_SIZE + 8;
}

// ---- Writing --------------------------------------------------------------------------------------------

static void append_head(const dbk_manifest_place *place, dbk_buf *buf) {
    uint8_t head[HEAD_SIZE] = {0};
    memcpy(head, head_magic, sizeof head_magic);
    dbk_put_u16(head + 4, FORMAT);
    head[6] = CHECKSUM_XXH3;
    memcpy(head + 8, place->store_uuid.bytes, 16);
    dbk_put_u64(head + 24, place->incarnation);
    dbk_put_u64(head + 32, place->number);
    dbk_put_u64(head + 56, dbk_checksum(head, 56, 0));
    dbk_buf_append(buf, head, sizeof head);
}

// A frame for `offset` of the file, appended to `buf`. Returns what the next one links to.
static uint64_t append_frame(const dbk_manifest_place *place, uint64_t offset, dbk_manifest_frame_kind kind,
                             uint64_t edit_number, uint64_t link, const dbk_buf *records, dbk_buf *buf) {
    static const uint8_t zeros[8] = {0};
    size_t begin = buf->size;
    size_t payload_size = 1 + records->size;
    dbk_buf_append(buf, frame_magic, sizeof frame_magic);
    dbk_buf_append_u32(buf, (uint32_t)payload_size);
    dbk_buf_append_u64(buf, edit_number);
    dbk_buf_append_u64(buf, 0);
    dbk_buf_append_u64(buf, link);
    dbk_buf_append_u8(buf, (uint8_t)kind);
    dbk_buf_append(buf, records->data, records->size);
    dbk_buf_append(buf, zeros, padded(payload_size) - payload_size);
    if (records->failed) buf->failed = true;
    if (buf->failed) return 0;
    uint8_t *frame = buf->data + begin;
    uint64_t checksum = frame_checksum(frame, 8 + padded(payload_size), frame_seed(place, offset));
    dbk_put_u64(frame + 16, checksum);
    return checksum;
}

void dbk_manifest_file_close(dbk_manifest_file *file, daybook_vfs *vfs) {
    for (unsigned copy = 0; copy < DBK_MANIFEST_COPY_COUNT; copy++) {
        if (file->copies[copy] != NULL) vfs->close(vfs, file->copies[copy]);
        file->copies[copy] = NULL;
    }
}

static daybook_status open_copy(dbk_manifest_file *file, const dbk_manifest_place *place, unsigned copy,
                                const char *path, daybook_error *error) {
    int result = place->vfs->open(place->vfs, path, DAYBOOK_VFS_WRITE, &file->copies[copy]);
    return result < 0 ? dbk_fail_system(error, result, "open", path, 0) : DAYBOOK_OK;
}

// Where one cannot be opened for appending the next edit begins a new file again.
static void open_copies(dbk_manifest_file *file, const dbk_manifest_place *place) {
    daybook_status status = DAYBOOK_OK;
    for (unsigned copy = 0; status == DAYBOOK_OK && copy < DBK_MANIFEST_COPY_COUNT; copy++) {
        char path[DBK_PATH_SIZE_MAX];
        (void)path_of(place, place->number, copy, path, NULL);
        status = open_copy(file, place, copy, path, NULL);
    }
    if (status != DAYBOOK_OK) dbk_manifest_file_close(file, place->vfs);
}

static daybook_status fail_memory(const dbk_manifest_place *place, daybook_status status,
                                  daybook_error *error) {
    return dbk_fail(error, status, "out of memory while writing the manifest of %s", place->directory);
}

daybook_status dbk_manifest_file_begin(dbk_manifest_file *file, const dbk_manifest_place *place,
                                       uint64_t edit_number, const dbk_buf *snapshot, const dbk_buf *edit,
                                       daybook_error *error) {
    dbk_buf content;
    dbk_buf_init(&content, place->allocator, DBK_MANIFEST_SIZE_MAX);
    dbk_manifest_file_close(file, place->vfs);
    *file = (dbk_manifest_file){.link = 0};
    append_head(place, &content);
    if (dbk_buf_status(&content) == DAYBOOK_OK) file->link = dbk_get_u64(content.data + 56);
    file->link =
        append_frame(place, content.size, DBK_MANIFEST_SNAPSHOT, edit_number, file->link, snapshot, &content);
    file->snapshot_size = content.size;
    if (edit != NULL)
        file->link =
            append_frame(place, content.size, DBK_MANIFEST_EDIT, edit_number + 1, file->link, edit, &content);
    file->size = content.size;
    daybook_status status = dbk_buf_status(&content);
    if (status != DAYBOOK_OK) (void)fail_memory(place, status, error);
    // The copy first: a store that is being made is there when the file without suffix is.
    for (unsigned copy = DBK_MANIFEST_COPY_COUNT; status == DAYBOOK_OK && copy-- > 0;) {
        char name[DBK_MANIFEST_NAME_SIZE];
        dbk_manifest_name(place->number, copy, name);
        status = dbk_replace_file(place->vfs, place->directory, name,
                                  daybook_bytes(content.data, content.size), error);
    }
    dbk_buf_deinit(&content);
    if (status == DAYBOOK_OK) open_copies(file, place);
    return status;
}

static daybook_status write_to_copies(dbk_manifest_file *file, const dbk_manifest_place *place,
                                      const dbk_buf *frame, daybook_error *error) {
    daybook_vfs *vfs = place->vfs;
    char paths[DBK_MANIFEST_COPY_COUNT][DBK_PATH_SIZE_MAX];
    for (unsigned copy = 0; copy < DBK_MANIFEST_COPY_COUNT; copy++) {
        (void)path_of(place, place->number, copy, paths[copy], NULL);
        DBK_TRY(dbk_write_exactly(vfs, file->copies[copy], paths[copy], frame->data, frame->size, file->size,
                                  error));
    }
    // Both on their way at once, so that the second sync finds little to do.
    for (unsigned copy = 0; copy < DBK_MANIFEST_COPY_COUNT; copy++)
        dbk_start_writing(vfs, file->copies[copy], file->size, frame->size);
    for (unsigned copy = 0; copy < DBK_MANIFEST_COPY_COUNT; copy++) {
        int result = vfs->sync(vfs, file->copies[copy]);
        if (result < 0) return dbk_fail_system(error, result, "sync", paths[copy], 0);
    }
    return DAYBOOK_OK;
}

daybook_status dbk_manifest_file_append(dbk_manifest_file *file, const dbk_manifest_place *place,
                                        uint64_t edit_number, const dbk_buf *edit, daybook_error *error) {
    dbk_buf frame;
    dbk_buf_init(&frame, place->allocator, DBK_MANIFEST_SIZE_MAX);
    uint64_t link = append_frame(place, file->size, DBK_MANIFEST_EDIT, edit_number, file->link, edit, &frame);
    daybook_status status = dbk_buf_status(&frame);
    if (status != DAYBOOK_OK) {
        (void)fail_memory(place, status, error); // nothing was written: the file is as good as before
    } else {
        status = write_to_copies(file, place, &frame, error);
        if (status != DAYBOOK_OK) dbk_manifest_file_close(file, place->vfs);
    }
    if (status == DAYBOOK_OK) {
        file->size += frame.size;
        file->link = link;
    }
    dbk_buf_deinit(&frame);
    return status;
}

void dbk_manifest_file_remove_older(const dbk_manifest_place *place, uint64_t number) {
    // Attempts that failed may have left some; what stays is outranked.
    for (uint64_t gone = number - 1; gone > 0 && gone + OLDER_COUNT >= number; gone--) {
        for (unsigned copy = 0; copy < DBK_MANIFEST_COPY_COUNT; copy++) {
            char path[DBK_PATH_SIZE_MAX];
            (void)path_of(place, gone, copy, path, NULL);
            (void)place->vfs->unlink(place->vfs, path);
        }
    }
}

// ---- Reading a copy -------------------------------------------------------------------------------------

// A copy as it was found.
typedef struct copy_content {
    char path[DBK_PATH_SIZE_MAX];
    dbk_buf bytes;
    daybook_status status; // of reading it, then of its head
    daybook_error error;
    dbk_uuid store_uuid; // of a head that is sound
    uint64_t incarnation;
    unsigned format;
    bool is_foreign;
} copy_content;

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

static daybook_status read_from_disk(const dbk_manifest_place *place, const char *path, dbk_buf *content,
                                     daybook_error *error) {
    daybook_vfs *vfs = place->vfs;
    uint8_t *window = dbk_aligned_alloc(place->allocator, DIRECT_WINDOW_SIZE);
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
    dbk_aligned_free(place->allocator, window);
    return status;
}

static daybook_status sync_and_read(dbk_manifest_file *file, const dbk_manifest_place *place, unsigned number,
                                    copy_content *copy) {
    // No decision may rest on what only the page cache holds.
    DBK_TRY(open_copy(file, place, number, copy->path, &copy->error));
    int result = place->vfs->sync(place->vfs, file->copies[number]);
    if (result < 0) return dbk_fail_system(&copy->error, result, "sync", copy->path, 0);
    return read_from_disk(place, copy->path, &copy->bytes, &copy->error);
}

// Its head: whether it is sound, and of which store.
static daybook_status read_head(const dbk_manifest_place *place, copy_content *copy) {
    const uint8_t *head = copy->bytes.data;
    const char *path = copy->path;
    daybook_error *error = &copy->error;
    if (copy->bytes.size < HEAD_SIZE) {
        return dbk_fail_damaged(error, path, copy->bytes.size,
                                "%s is too short for a manifest: it was cut; run daybook verify", path);
    }
    if (memcmp(head, head_magic, sizeof head_magic) != 0) {
        return dbk_fail_damaged(error, path, 0, "%s does not begin as a manifest does; run daybook verify",
                                path);
    }
    copy->format = dbk_get_u16(head + 4);
    if (copy->format < FORMAT_OF_ONE_COPY || copy->format > FORMAT) {
        return dbk_fail(error, DAYBOOK_EFORMAT,
                        "%s has format %u: this program knows formats up to %d; use a newer daybook", path,
                        copy->format, FORMAT);
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
    if (dbk_get_u64(head + 32) != place->number) {
        copy->is_foreign = true;
        return dbk_fail(error, DAYBOOK_EFOREIGN,
                        "%s is manifest number %llu under another name; give it its own name back", path,
                        (unsigned long long)dbk_get_u64(head + 32));
    }
    memcpy(copy->store_uuid.bytes, head + 8, 16);
    copy->incarnation = dbk_get_u64(head + 24);
    return DAYBOOK_OK;
}

// ---- Putting both together ------------------------------------------------------------------------------

typedef struct reading {
    dbk_manifest_file *file;
    dbk_manifest_place *place;
    copy_content copies[DBK_MANIFEST_COPY_COUNT];
    const copy_content *trusted; // whose head counts
    bool has_older;              // there is a file with a smaller number
    dbk_buf *merged;
    uint64_t last_offset; // of the last frame in it
} reading;

static dbk_slice bytes_of(const copy_content *copy) {
    // Bytes of another store would pass no checksum; but those of this one in another incarnation would.
    return copy->is_foreign ? daybook_bytes(NULL, 0) : daybook_bytes(copy->bytes.data, copy->bytes.size);
}

static bool is_valid_frame(const reading *work, dbk_slice content, uint64_t offset, size_t *size_out) {
    const uint8_t *data = content.data;
    size_t head_size = frame_head_size(work->trusted->format);
    if (offset + head_size > content.size) return false;
    const uint8_t *frame = data + offset;
    if (memcmp(frame, frame_magic, sizeof frame_magic) != 0) return false;
    size_t payload_size = dbk_get_u32(frame + 4);
    if (payload_size == 0 || padded(payload_size) > content.size - offset - head_size) return false;
    size_t size = head_size + padded(payload_size);
    uint64_t seed = frame_seed(work->place, offset);
    if (dbk_get_u64(frame + 16) != frame_checksum(frame, size - FRAME_FIXED_SIZE, seed)) return false;
    *size_out = size;
    return true;
}

static bool is_next_frame(const reading *work, dbk_slice content, uint64_t link, size_t *size_out) {
    uint64_t offset = work->merged->size;
    if (!is_valid_frame(work, content, offset, size_out)) return false;
    const uint8_t *frame = (const uint8_t *)content.data + offset;
    return work->trusted->format == FORMAT_OF_ONE_COPY || dbk_get_u64(frame + FRAME_FIXED_SIZE) == link;
}

// The frames that follow each other from the head on, each from either copy. What does not fit is found
// afterwards.
static daybook_status merge(reading *work, daybook_error *error) {
    dbk_buf *merged = work->merged;
    dbk_buf_append(merged, work->trusted->bytes.data, HEAD_SIZE);
    uint64_t link = dbk_get_u64(work->trusted->bytes.data + 56);
    for (bool found = true; found && dbk_buf_status(merged) == DAYBOOK_OK;) {
        found = false;
        for (unsigned i = 0; i < DBK_MANIFEST_COPY_COUNT && !found; i++) {
            dbk_slice content = bytes_of(&work->copies[i]);
            size_t size = 0;
            if (!is_next_frame(work, content, link, &size)) continue;
            const uint8_t *frame = (const uint8_t *)content.data + merged->size;
            found = true;
            link = dbk_get_u64(frame + 16);
            work->last_offset = merged->size;
            dbk_buf_append(merged, frame, size);
            if (work->file->snapshot_size == 0) work->file->snapshot_size = merged->size;
        }
    }
    if (dbk_buf_status(merged) != DAYBOOK_OK)
        return dbk_fail(error, dbk_buf_status(merged), "out of memory while reading %s", work->trusted->path);
    work->file->size = merged->size;
    work->file->link = link;
    return DAYBOOK_OK;
}

// A valid frame of the copy that is not in the merged content; its size where there is none.
static uint64_t find_stray(const reading *work, const copy_content *copy) {
    dbk_slice content = bytes_of(copy);
    const dbk_buf *merged = work->merged;
    size_t size = 0;
    for (uint64_t offset = HEAD_SIZE; offset < content.size; offset += size) {
        if (!is_valid_frame(work, content, offset, &size)) {
            size = 8;
            continue;
        }
        const uint8_t *frame = (const uint8_t *)content.data + offset;
        bool is_merged = offset + size <= merged->size && memcmp(merged->data + offset, frame, size) == 0;
        if (!is_merged) return offset;
    }
    return content.size;
}

static daybook_status check_strays(const reading *work, daybook_error *error) {
    uint64_t end = work->merged->size;
    for (unsigned i = 0; i < DBK_MANIFEST_COPY_COUNT; i++) {
        const copy_content *copy = &work->copies[i];
        uint64_t stray = find_stray(work, copy);
        if (stray >= bytes_of(copy).size) continue;
        if (stray < end) {
            return dbk_fail_damaged(
                error, copy->path, stray,
                "%s goes another way from byte %llu on than its other copy: one of them is of another time, "
                "and which cannot be told; run daybook verify",
                copy->path, (unsigned long long)stray);
        }
        return dbk_fail_damaged(
            error, copy->path, end,
            "%s is damaged at byte %llu: an acknowledged edit cannot be read; run daybook verify", copy->path,
            (unsigned long long)end);
    }
    if (work->last_offset != 0) return DAYBOOK_OK;
    return dbk_fail_damaged(error, work->trusted->path, end,
                            "%s is damaged at byte %llu: its snapshot cannot be read; run daybook verify",
                            work->trusted->path, (unsigned long long)end);
}

static dbk_manifest_copy_state state_of(const reading *work, unsigned number) {
    const copy_content *copy = &work->copies[number];
    const dbk_buf *merged = work->merged;
    bool has_edits = work->last_offset > HEAD_SIZE;
    if (copy->is_foreign) return (dbk_manifest_copy_state){DBK_MANIFEST_COPY_FOREIGN, 0};
    if (copy->status == DAYBOOK_ENOTFOUND) {
        bool is_young = work->has_older || !has_edits;
        if (work->trusted->format == FORMAT_OF_ONE_COPY && number > 0)
            return (dbk_manifest_copy_state){DBK_MANIFEST_COPY_UNNEEDED, 0};
        return (dbk_manifest_copy_state){is_young ? DBK_MANIFEST_COPY_UNFINISHED : DBK_MANIFEST_COPY_MISSING,
                                         0};
    }
    size_t common = copy->bytes.size < merged->size ? copy->bytes.size : merged->size;
    size_t same = 0;
    while (same < common && copy->bytes.data[same] == merged->data[same]) same++;
    dbk_manifest_copy_kind kind = DBK_MANIFEST_COPY_DAMAGED;
    if (copy->status == DAYBOOK_EIO) { // what could be read of it is no more than luck
        kind = DBK_MANIFEST_COPY_DAMAGED;
    } else if (same == merged->size && copy->bytes.size == same) {
        kind = DBK_MANIFEST_COPY_SOUND;
    } else if (same == merged->size || (has_edits && same >= work->last_offset)) {
        kind = DBK_MANIFEST_COPY_UNFINISHED;
    } else if (same == copy->bytes.size && same > HEAD_SIZE) {
        kind = DBK_MANIFEST_COPY_BEHIND;
    }
    return (dbk_manifest_copy_state){kind, same};
}

static void find_states(const reading *work) {
    dbk_manifest_file *file = work->file;
    for (unsigned i = 0; i < DBK_MANIFEST_COPY_COUNT; i++) {
        file->states[i] = state_of(work, i);
        size_t size = bytes_of(&work->copies[i]).size;
        if (size > file->size && size - file->size > file->torn_bytes) file->torn_bytes = size - file->size;
    }
}

// ---- Reading --------------------------------------------------------------------------------------------

typedef struct listing {
    uint64_t newest;
    bool has_older;
} listing;

static int visit_name(void *context, const daybook_vfs_entry *entry) {
    listing *found = context;
    uint64_t number = 0;
    if (entry->is_directory || !dbk_manifest_parse_name(entry->name, &number)) return 0;
    if (found->newest != 0 && number != found->newest) found->has_older = true;
    if (number > found->newest) found->newest = number;
    return 0;
}

// What keeps one copy from being read and says nothing of the other.
static bool is_of_one_copy(daybook_status status) {
    return status == DAYBOOK_OK || status == DAYBOOK_ENOTFOUND || status == DAYBOOK_EDAMAGED ||
           status == DAYBOOK_EIO;
}

static daybook_status read_copies(reading *work, bool writer, daybook_error *error) {
    for (unsigned i = 0; i < DBK_MANIFEST_COPY_COUNT; i++) {
        copy_content *copy = &work->copies[i];
        dbk_buf_init(&copy->bytes, work->place->allocator, DBK_MANIFEST_SIZE_MAX);
        daybook_error_init(&copy->error);
        DBK_TRY(path_of(work->place, work->place->number, i, copy->path, error));
        copy->status = writer ? sync_and_read(work->file, work->place, i, copy)
                              : dbk_read_file(work->place->vfs, copy->path, &copy->bytes, &copy->error);
        if (!is_of_one_copy(copy->status)) {
            if (error != NULL) *error = copy->error;
            return copy->status;
        }
        if (copy->status == DAYBOOK_OK) copy->status = read_head(work->place, copy);
    }
    return DAYBOOK_OK;
}

static bool same_store(const copy_content *a, const copy_content *b) {
    return memcmp(&a->store_uuid, &b->store_uuid, sizeof a->store_uuid) == 0 &&
           a->incarnation == b->incarnation && a->format == b->format;
}

// Which of two sound heads belongs here.
static daybook_status choose_ours(reading *work, daybook_error *error) {
    copy_content *first = &work->copies[0];
    copy_content *second = &work->copies[1];
    const dbk_manifest_place *place = work->place;
    dbk_identity_evidence for_first =
        dbk_identity_look(place->vfs, place->directory, &first->store_uuid, first->incarnation);
    dbk_identity_evidence for_second =
        dbk_identity_look(place->vfs, place->directory, &second->store_uuid, second->incarnation);
    if (for_first == for_second) {
        return dbk_fail(
            error, DAYBOOK_EFOREIGN,
            "%s and its other copy are of two stores, and the files beside them do not tell which "
            "belongs here; move the wrong one away",
            first->path);
    }
    copy_content *foreign = for_first > for_second ? second : first;
    foreign->is_foreign = true;
    work->trusted = foreign == first ? second : first;
    return DAYBOOK_OK;
}

static daybook_status choose_head(reading *work, daybook_error *error) {
    const copy_content *first = &work->copies[0];
    const copy_content *second = &work->copies[1];
    bool both = first->status == DAYBOOK_OK && second->status == DAYBOOK_OK;
    if (both && !same_store(first, second)) return choose_ours(work, error);
    if (first->status == DAYBOOK_OK || second->status == DAYBOOK_OK) {
        work->trusted = first->status == DAYBOOK_OK ? first : second;
        return DAYBOOK_OK;
    }
    // The one that is there tells more than the one that is not.
    const copy_content *telling = first->status == DAYBOOK_ENOTFOUND ? second : first;
    if (error != NULL) *error = telling->error;
    return telling->status;
}

static daybook_status read_both(reading *work, bool writer, daybook_error *error) {
    DBK_TRY(read_copies(work, writer, error));
    DBK_TRY(choose_head(work, error));
    work->place->store_uuid = work->trusted->store_uuid;
    work->place->incarnation = work->trusted->incarnation;
    DBK_TRY(merge(work, error));
    DBK_TRY(check_strays(work, error));
    find_states(work);
    return DAYBOOK_OK;
}

static daybook_status read_newest(dbk_manifest_file *file, dbk_manifest_place *place, bool writer,
                                  dbk_buf *content, daybook_error *error) {
    dbk_manifest_file_close(file, place->vfs);
    *file = (dbk_manifest_file){.link = 0};
    listing found = {.newest = 0};
    place->number = 0;
    int result = place->vfs->list(place->vfs, place->directory, visit_name, &found);
    if (result < 0) return dbk_fail_system(error, result, "list", place->directory, 0);
    if (found.newest == 0) {
        return dbk_fail(error, DAYBOOK_ENOTFOUND, "no store in %s: it has no manifest; check the path",
                        place->directory);
    }
    place->number = found.newest;
    reading *work = dbk_alloc_zeroed(place->allocator, sizeof *work);
    if (work == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while reading the manifest of %s",
                        place->directory);
    work->file = file;
    work->place = place;
    work->has_older = found.has_older;
    work->merged = content;
    daybook_status status = read_both(work, writer, error);
    // Behind what is not sound nothing is appended: the next edit begins a new file.
    if (status != DAYBOOK_OK || !dbk_manifest_file_is_whole(file)) dbk_manifest_file_close(file, place->vfs);
    for (unsigned i = 0; i < DBK_MANIFEST_COPY_COUNT; i++) dbk_buf_deinit(&work->copies[i].bytes);
    dbk_free(place->allocator, work);
    return status;
}

// A writer beside us may put a new file in the place of one before we list, or have listed, or have opened
// it.
daybook_status dbk_manifest_file_read(dbk_manifest_file *file, dbk_manifest_place *place, bool writer,
                                      dbk_buf *content, daybook_error *error) {
    daybook_status status = DAYBOOK_ENOTFOUND;
    for (int look = 0; status == DAYBOOK_ENOTFOUND && look < DBK_MANIFEST_LOOKS_MAX; look++)
        status = read_newest(file, place, writer, content, error);
    return status;
}

bool dbk_manifest_file_next(dbk_slice content, uint64_t *offset, dbk_manifest_frame *frame_out) {
    const uint8_t *data = content.data;
    if (*offset == 0) *offset = HEAD_SIZE;
    if (*offset >= content.size) return false;
    size_t head_size = frame_head_size(dbk_get_u16(data + 4));
    const uint8_t *frame = data + *offset;
    size_t payload_size = dbk_get_u32(frame + 4);
    *frame_out = (dbk_manifest_frame){.offset = *offset,
                                      .kind = frame[head_size],
                                      .edit_number = dbk_get_u64(frame + 8),
                                      .records = daybook_bytes(frame + head_size + 1, payload_size - 1)};
    *offset += head_size + padded(payload_size);
    return true;
}

bool dbk_manifest_file_is_whole(const dbk_manifest_file *file) {
    for (unsigned i = 0; i < DBK_MANIFEST_COPY_COUNT; i++) {
        if (file->states[i].kind != DBK_MANIFEST_COPY_SOUND) return false;
    }
    return true;
}

void dbk_manifest_file_describe(const dbk_manifest_file *file, unsigned copy, char *text_out, size_t size) {
    const dbk_manifest_copy_state *state = &file->states[copy];
    unsigned long long offset = state->offset;
    switch (state->kind) {
    case DBK_MANIFEST_COPY_SOUND:
        (void)snprintf(text_out, size, "it is sound");
        break;
    case DBK_MANIFEST_COPY_UNNEEDED:
        (void)snprintf(text_out, size, "there is no second copy: the format before had none");
        break;
    case DBK_MANIFEST_COPY_UNFINISHED:
        if (offset >= file->size) {
            (void)snprintf(text_out, size, "%llu bytes of an edit that was never acknowledged lie at the end",
                           (unsigned long long)file->torn_bytes);
        } else if (offset == 0) {
            (void)snprintf(text_out, size, "it was not made any more; the other copy has everything");
        } else {
            (void)snprintf(text_out, size, "its last edit is not whole; the other copy has it");
        }
        break;
    case DBK_MANIFEST_COPY_MISSING:
        (void)snprintf(text_out, size, "it is missing; the other copy has everything");
        break;
    case DBK_MANIFEST_COPY_BEHIND:
        (void)snprintf(text_out, size,
                       "it ends at byte %llu of %llu, cut or an older version of itself; the other copy has "
                       "everything",
                       offset, (unsigned long long)file->size);
        break;
    case DBK_MANIFEST_COPY_DAMAGED:
        (void)snprintf(text_out, size, "it is damaged at byte %llu; the other copy has what is there",
                       offset);
        break;
    default: // DBK_MANIFEST_COPY_FOREIGN
        (void)snprintf(text_out, size,
                       "it is of another store or another file; the other copy has everything");
        break;
    }
}
