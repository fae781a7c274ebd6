// SPDX-License-Identifier: Apache-2.0
// The manifest on the disk: a file of checksummed frames, kept twice. What the frames say is not known here.
#ifndef DBK_STORE_MANIFEST_FILE_H
#define DBK_STORE_MANIFEST_FILE_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/uuid.h"
#include "daybook/sys/vfs.h"

enum { DBK_MANIFEST_COPY_COUNT = 2, DBK_MANIFEST_NAME_SIZE = 40 };
#define DBK_MANIFEST_SIZE_MAX ((size_t)1 << 30)

/// Which file: of which store, where, and its number. `directory` is borrowed.
typedef struct dbk_manifest_place {
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    const char *directory;
    dbk_uuid store_uuid;
    uint64_t incarnation;
    uint64_t number;
} dbk_manifest_place;

/// A copy against what both say together.
typedef enum dbk_manifest_copy_kind {
    DBK_MANIFEST_COPY_SOUND = 0,
    DBK_MANIFEST_COPY_UNNEEDED,   // the second one of format 1, which had none
    DBK_MANIFEST_COPY_UNFINISHED, // as a crash may leave it: the last edit or the copy itself is missing
    DBK_MANIFEST_COPY_MISSING,    // there is no such file, and there was one. From here on: damage
    DBK_MANIFEST_COPY_BEHIND,     // ends earlier than the other
    DBK_MANIFEST_COPY_DAMAGED,
    DBK_MANIFEST_COPY_FOREIGN, // of another store, or another file's
} dbk_manifest_copy_kind;

typedef struct dbk_manifest_copy_state {
    dbk_manifest_copy_kind kind;
    uint64_t offset; // of the first byte that is not as it should be
} dbk_manifest_copy_state;

typedef struct dbk_manifest_file {
    daybook_file *copies[DBK_MANIFEST_COPY_COUNT];           // open for appending: both or none
    uint64_t size;                                           // up to the end of the last frame
    uint64_t snapshot_size;                                  // up to the end of the first one
    uint64_t link;                                           // the checksum of the last frame
    uint64_t torn_bytes;                                     // behind the end, in the longer copy
    dbk_manifest_copy_state states[DBK_MANIFEST_COPY_COUNT]; // when it was read
} dbk_manifest_file;

/// The first frame of a file is a snapshot, those behind it are edits.
typedef enum dbk_manifest_frame_kind {
    DBK_MANIFEST_SNAPSHOT = 1,
    DBK_MANIFEST_EDIT = 2
} dbk_manifest_frame_kind;

typedef struct dbk_manifest_frame {
    uint64_t offset;
    uint8_t kind; // as read: may be any
    uint64_t edit_number;
    dbk_slice records;
} dbk_manifest_frame;

/// The name of copy 0 or 1 into name_out.
void dbk_manifest_name(uint64_t number, unsigned copy, char name_out[DBK_MANIFEST_NAME_SIZE]);
/// True where `name` is that of a manifest file, of either copy.
bool dbk_manifest_parse_name(const char *name, uint64_t *number_out);

/// Write both copies of a file with a snapshot and, unless `edit` is NULL, an edit behind it; durable when it
/// returns, and open for appending where that could be had. On failure the number must not be used again.
daybook_status dbk_manifest_file_begin(dbk_manifest_file *file, const dbk_manifest_place *place,
                                       uint64_t edit_number, const dbk_buf *snapshot, const dbk_buf *edit,
                                       daybook_error *error);
/// Append an edit to both copies; durable in both when it returns. When writing fails the file is closed,
/// since the edit may be on the disk; ENOMEM and ELIMIT happen before.
daybook_status dbk_manifest_file_append(dbk_manifest_file *file, const dbk_manifest_place *place,
                                        uint64_t edit_number, const dbk_buf *edit, daybook_error *error);
void dbk_manifest_file_close(dbk_manifest_file *file, daybook_vfs *vfs);
/// Remove files with numbers just below `number`.
void dbk_manifest_file_remove_older(const dbk_manifest_place *place, uint64_t number);

/// Read the file with the greatest number: `place` learns number and identity, `content` becomes what both
/// copies together say, a file with one valid frame after the other. With `writer` both are synced first,
/// read past the page cache, and stay open for appending where nothing is wrong with either. ENOTFOUND;
/// EFOREIGN where the two are of two stores and nothing tells which belongs here; EFORMAT; EDAMAGED.
daybook_status dbk_manifest_file_read(dbk_manifest_file *file, dbk_manifest_place *place, bool writer,
                                      dbk_buf *content, daybook_error *error);
/// The frame at *offset (0: the first) of such content; moves *offset behind it. False at the end.
bool dbk_manifest_file_next(dbk_slice content, uint64_t *offset, dbk_manifest_frame *frame_out);

static inline bool dbk_manifest_copy_is_damage(const dbk_manifest_copy_state *state) {
    return state->kind >= DBK_MANIFEST_COPY_MISSING;
}
/// True where both copies are as they should be.
bool dbk_manifest_file_is_whole(const dbk_manifest_file *file);
/// What is to be said of a copy that is not sound, for people.
void dbk_manifest_file_describe(const dbk_manifest_file *file, unsigned copy, char *text_out, size_t size);

#endif
