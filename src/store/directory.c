// SPDX-License-Identifier: Apache-2.0
// Names and the lock. File LOCK, text: "<process id> <session, 16 hex digits>\n". The lock is on the open
// file, the text is for people and for readers that must know whether the live page is of this writer. LOCK
// is never removed, so that two processes cannot hold locks on two files of one name.
//
// A reader that wants to know whether a writer lives takes the lock for an instant; a writer therefore
// tries several times even when it shall not wait.
#include "store/directory.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "io/io.h"
#include "store/deletions.h"
#include "store/manifest.h"

enum { LOCK_TEXT_SIZE = 64, LOCK_RETRY_MS = 5, LOCK_TRIES_MIN = 8 };

// ---- Names ----------------------------------------------------------------------------------------------

static bool parse_segment_name(const char *name, uint64_t *id_out) {
    if (strncmp(name, "segment-", 8) != 0 || strlen(name) != 28 || strcmp(name + 24, ".dbs") != 0)
        return false;
    if (strspn(name + 8, "0123456789abcdef") != 16) return false;
    *id_out = strtoull(name + 8, NULL, 16);
    return true;
}

static bool is_temporary(const char *name) {
    static const char *const prefixes[] = {"manifest-", "segment-", "deletions-", "journal."};
    size_t size = strlen(name);
    bool is_ours = size > 4 && strcmp(name + size - 4, ".tmp") == 0;
    for (size_t i = 0; is_ours && i < sizeof prefixes / sizeof prefixes[0]; i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) return true;
    }
    return false;
}

dbk_file_kind dbk_file_classify(const char *name, uint64_t *id_out, uint64_t *generation_out) {
    uint64_t id = 0;
    uint64_t generation = 0;
    dbk_file_kind kind = DBK_FILE_FOREIGN;
    if (strcmp(name, "LOCK") == 0) {
        kind = DBK_FILE_LOCK;
    } else if (strcmp(name, "live") == 0) {
        kind = DBK_FILE_LIVE;
    } else if (strcmp(name, "journal") == 0) {
        kind = DBK_FILE_JOURNAL;
    } else if (strcmp(name, "reserve") == 0) {
        kind = DBK_FILE_RESERVE;
    } else if (strcmp(name, "commands") == 0) {
        kind = DBK_FILE_COMMANDS;
    } else if (is_temporary(name)) {
        kind = DBK_FILE_TEMPORARY;
    } else if (dbk_manifest_parse_name(name, &id)) {
        kind = DBK_FILE_MANIFEST;
    } else if (parse_segment_name(name, &id)) {
        kind = DBK_FILE_SEGMENT;
    } else if (dbk_deletions_parse_name(name, &id, &generation)) {
        kind = DBK_FILE_DELETIONS;
    } else if (strncmp(name, "damaged-", 8) == 0) {
        kind = DBK_FILE_DAMAGED;
    }
    if (id_out != NULL) *id_out = id;
    if (generation_out != NULL) *generation_out = generation;
    return kind;
}

static int inspect_entry(void *context, const daybook_vfs_entry *entry) {
    dbk_directory *found = context;
    uint64_t id = 0;
    uint64_t generation = 0;
    switch (dbk_file_classify(entry->name, &id, &generation)) {
    case DBK_FILE_JOURNAL:
        found->has_journal = true;
        break;
    case DBK_FILE_MANIFEST:
        found->manifest_count++;
        break;
    case DBK_FILE_SEGMENT:
        found->segment_count++;
        if (id > found->segment_id_max) found->segment_id_max = id;
        break;
    case DBK_FILE_DELETIONS:
        found->deletions_count++;
        if (generation > found->generation_max) found->generation_max = generation;
        break;
    case DBK_FILE_FOREIGN:
        found->foreign_count++;
        (void)snprintf(found->foreign_name, sizeof found->foreign_name, "%.63s", entry->name);
        break;
    case DBK_FILE_LOCK:
    case DBK_FILE_LIVE:
    case DBK_FILE_RESERVE:
    case DBK_FILE_COMMANDS:
    case DBK_FILE_TEMPORARY:
    case DBK_FILE_DAMAGED:
        break;
    }
    return 0;
}

static bool lacks_manifest(const dbk_directory *found) {
    return found->manifest_count == 0 &&
           (found->has_journal || found->segment_count > 0 || found->deletions_count > 0);
}

daybook_status dbk_directory_inspect(daybook_vfs *vfs, const char *path, dbk_directory *directory_out,
                                     daybook_error *error) {
    int result;
    int look = 0;
    do {
        *directory_out = (dbk_directory){0};
        result = vfs->list(vfs, path, inspect_entry, directory_out);
    } while (result >= 0 && lacks_manifest(directory_out) && ++look < DBK_MANIFEST_LOOKS_MAX);
    if (result == -ENOENT) return DAYBOOK_OK;
    if (result == -ENOTDIR) {
        return dbk_fail(error, DAYBOOK_EINVALID, "%s is a file: a store is a directory; name another place",
                        path);
    }
    if (result < 0) return dbk_fail_system(error, result, "list", path, 0);
    directory_out->exists = true;
    return DAYBOOK_OK;
}

typedef struct names {
    char list[64][64];
    size_t count;
} names;

static int collect_temporary(void *context, const daybook_vfs_entry *entry) {
    names *found = context;
    if (found->count == sizeof found->list / sizeof found->list[0]) return 1;
    if (dbk_file_classify(entry->name, NULL, NULL) != DBK_FILE_TEMPORARY || strlen(entry->name) > 63)
        return 0;
    (void)snprintf(found->list[found->count++], sizeof found->list[0], "%.63s", entry->name);
    return 0;
}

void dbk_directory_remove_temporary(daybook_vfs *vfs, const char *path) {
    names found = {.count = 0};
    (void)vfs->list(vfs, path, collect_temporary, &found);
    for (size_t i = 0; i < found.count; i++) {
        char file[DBK_PATH_SIZE_MAX];
        if (dbk_path_join(path, found.list[i], file, NULL) == DAYBOOK_OK) (void)vfs->unlink(vfs, file);
    }
}

// ---- The directory itself -------------------------------------------------------------------------------

static void parent_of(const char *path, char parent_out[DBK_PATH_SIZE_MAX]) {
    (void)snprintf(parent_out, DBK_PATH_SIZE_MAX, "%s", path);
    char *slash = strrchr(parent_out, '/');
    if (slash == NULL) {
        (void)snprintf(parent_out, DBK_PATH_SIZE_MAX, ".");
    } else if (slash == parent_out) {
        slash[1] = '\0';
    } else {
        *slash = '\0';
    }
}

daybook_status dbk_directory_sync_name(daybook_vfs *vfs, const char *path, bool is_made_now,
                                       daybook_error *error) {
    char parent[DBK_PATH_SIZE_MAX];
    parent_of(path, parent);
    int result = vfs->sync_directory(vfs, parent);
    if (result == 0 || (result == -EACCES && !is_made_now)) return DAYBOOK_OK;
    return dbk_fail_system(error, result, "sync the directory", parent, 0);
}

// ---- The lock -------------------------------------------------------------------------------------------

void dbk_sleep_ns(daybook_vfs *vfs, int64_t duration_ns) {
    static const uint32_t never = 0;
    (void)vfs->wait(vfs, &never, 0, duration_ns, 0);
}

static void read_holder(daybook_vfs *vfs, daybook_file *file, uint64_t *process_id, uint64_t *session) {
    char text[LOCK_TEXT_SIZE + 1];
    *process_id = 0;
    *session = 0;
    int64_t size = vfs->read_at(vfs, file, text, LOCK_TEXT_SIZE, 0);
    if (size <= 0) return;
    text[size] = '\0';
    unsigned long long id = 0;
    unsigned long long said = 0;
    if (sscanf(text, "%llu %16llx", &id, &said) >= 1) {
        *process_id = id;
        *session = said;
    }
}

static void write_holder(daybook_vfs *vfs, daybook_file *file, uint64_t session) {
    char text[LOCK_TEXT_SIZE + 1];
    (void)snprintf(text, sizeof text, "%llu %016llx\n", (unsigned long long)dbk_process_id(),
                   (unsigned long long)session);
    // Padded, so that an older, longer text does not show behind it. Where it cannot be written (disk full)
    // the message of the next process names nobody, and readers recover by themselves.
    size_t size = strlen(text);
    memset(text + size, ' ', LOCK_TEXT_SIZE - size);
    text[LOCK_TEXT_SIZE - 1] = '\n';
    (void)dbk_write_exactly(vfs, file, "LOCK", text, LOCK_TEXT_SIZE, 0, NULL);
}

static daybook_status fail_locked(daybook_vfs *vfs, daybook_file *file, const char *path,
                                  daybook_error *error) {
    uint64_t process_id = 0;
    uint64_t session = 0;
    read_holder(vfs, file, &process_id, &session);
    if (process_id == 0) {
        return dbk_fail(error, DAYBOOK_ELOCKED,
                        "%s is in use by another writer; wait for it, stop it, or open for reading only",
                        path);
    }
    return dbk_fail(error, DAYBOOK_ELOCKED,
                    "%s is in use by process %llu; wait for it, stop it, or open for reading only", path,
                    (unsigned long long)process_id);
}

daybook_status dbk_lock_take(daybook_vfs *vfs, const char *path, unsigned wait_ms, uint64_t session,
                             daybook_file **file_out, daybook_error *error) {
    *file_out = NULL;
    char lock_path[DBK_PATH_SIZE_MAX];
    DBK_TRY(dbk_path_join(path, "LOCK", lock_path, error));
    daybook_file *file = NULL;
    int result = vfs->open(vfs, lock_path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file);
    if (result < 0) return dbk_fail_system(error, result, "open", lock_path, 0);
    int64_t until_ns = vfs->clock_monotonic_ns(vfs) + (int64_t)wait_ms * DBK_MILLISECOND_NS;
    for (int tries = 1;; tries++) {
        result = vfs->lock(vfs, file);
        if (result != -EWOULDBLOCK) break;
        if (tries >= LOCK_TRIES_MIN && vfs->clock_monotonic_ns(vfs) >= until_ns) break;
        dbk_sleep_ns(vfs, LOCK_RETRY_MS * DBK_MILLISECOND_NS);
    }
    if (result < 0) {
        daybook_status status = result == -EWOULDBLOCK ? fail_locked(vfs, file, path, error)
                                                       : dbk_fail_system(error, result, "lock", lock_path, 0);
        vfs->close(vfs, file);
        return status;
    }
    write_holder(vfs, file, session);
    *file_out = file;
    return DAYBOOK_OK;
}

bool dbk_lock_is_held(daybook_vfs *vfs, const char *path, uint64_t *session_out) {
    *session_out = 0;
    char lock_path[DBK_PATH_SIZE_MAX];
    daybook_file *file = NULL;
    if (dbk_path_join(path, "LOCK", lock_path, NULL) != DAYBOOK_OK) return false;
    if (vfs->open(vfs, lock_path, DAYBOOK_VFS_READ, &file) < 0) return false;
    bool held = vfs->lock(vfs, file) == -EWOULDBLOCK;
    uint64_t process_id = 0;
    if (held) read_holder(vfs, file, &process_id, session_out);
    vfs->close(vfs, file);
    return held;
}
