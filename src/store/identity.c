// SPDX-License-Identifier: Apache-2.0
// Identity. Heads of segments and pages of the journal name store and incarnation. Segments keep the
// incarnation they were written in, which a restored store has left behind; so the journal's word counts for
// more. Checksums of pages are not tested: their seed is the identity itself, and what is asked is only which
// of two manifests belongs here.
//
// Threads: none of its own.
#include "store/identity.h"

#include <string.h>

#include "base/bytes.h"
#include "io/io.h"
#include "journal/journal.h"
#include "store/directory.h"

bool dbk_identity_read_segment_head(daybook_vfs *vfs, const char *directory, uint64_t segment_id,
                                    dbk_segment_head *head_out) {
    char name[40];
    char path[DBK_PATH_SIZE_MAX];
    uint8_t bytes[DBK_SEGMENT_HEAD_SIZE];
    daybook_file *file = NULL;
    dbk_segment_name(segment_id, name);
    if (dbk_path_join(directory, name, path, NULL) != DAYBOOK_OK) return false;
    if (vfs->open(vfs, path, DAYBOOK_VFS_READ, &file) < 0) return false;
    bool is_read = dbk_read_exactly(vfs, file, path, bytes, sizeof bytes, 0, NULL) == DAYBOOK_OK &&
                   dbk_segment_head_decode(bytes, head_out) == DAYBOOK_OK;
    vfs->close(vfs, file);
    return is_read;
}

typedef struct looking {
    daybook_vfs *vfs;
    const char *directory;
    const dbk_uuid *store_uuid;
    bool is_named;
} looking;

static int look_at_segment(void *context, const daybook_vfs_entry *entry) {
    looking *look = context;
    uint64_t id = 0;
    dbk_segment_head head;
    if (dbk_file_classify(entry->name, &id, NULL) != DBK_FILE_SEGMENT) return 0;
    if (!dbk_identity_read_segment_head(look->vfs, look->directory, id, &head)) return 0;
    look->is_named = memcmp(&head.store_uuid, look->store_uuid, sizeof head.store_uuid) == 0;
    return look->is_named;
}

static bool journal_names(daybook_vfs *vfs, const char *directory, const dbk_uuid *store_uuid,
                          uint64_t incarnation) {
    static const uint8_t magic[4] = {'D', 'B', 'J', 'P'};
    char path[DBK_PATH_SIZE_MAX];
    daybook_file *file = NULL;
    if (dbk_path_join(directory, "journal", path, NULL) != DAYBOOK_OK) return false;
    if (vfs->open(vfs, path, DAYBOOK_VFS_READ, &file) < 0) return false;
    uint64_t size = 0;
    if (vfs->file_size(vfs, file, &size) < 0) size = 0;
    bool is_named = false;
    for (uint64_t offset = 0; !is_named && offset < size; offset += DBK_JOURNAL_PIECE_SIZE) {
        uint8_t head[32];
        is_named = dbk_read_exactly(vfs, file, path, head, sizeof head, offset, NULL) == DAYBOOK_OK &&
                   memcmp(head, magic, sizeof magic) == 0 && memcmp(head + 8, store_uuid, 16) == 0 &&
                   dbk_get_u64(head + 24) == incarnation;
    }
    vfs->close(vfs, file);
    return is_named;
}

dbk_identity_evidence dbk_identity_look(daybook_vfs *vfs, const char *directory, const dbk_uuid *store_uuid,
                                        uint64_t incarnation) {
    if (journal_names(vfs, directory, store_uuid, incarnation)) return DBK_IDENTITY_JOURNAL;
    looking look = {.vfs = vfs, .directory = directory, .store_uuid = store_uuid};
    (void)vfs->list(vfs, directory, look_at_segment, &look);
    return look.is_named ? DBK_IDENTITY_SEGMENTS : DBK_IDENTITY_UNKNOWN;
}
