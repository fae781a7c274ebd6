// SPDX-License-Identifier: Apache-2.0
// The directory of a store: which files are ours, and taking its lock.
#ifndef DBK_STORE_DIRECTORY_H
#define DBK_STORE_DIRECTORY_H

#include <stdbool.h>

#include "base/error.h"
#include "daybook/sys/vfs.h"

typedef enum dbk_file_kind {
    DBK_FILE_FOREIGN, // not a name of ours
    DBK_FILE_LOCK,
    DBK_FILE_LIVE,
    DBK_FILE_JOURNAL,
    DBK_FILE_RESERVE,
    DBK_FILE_COMMANDS, // the socket of a server, made by the program (src/cli/served_socket.c)
    DBK_FILE_MANIFEST,
    DBK_FILE_SEGMENT,
    DBK_FILE_DELETIONS,
    DBK_FILE_TEMPORARY, // of ours, unfinished
    DBK_FILE_DAMAGED,   // directory of bytes kept aside by repair
} dbk_file_kind;

/// What the name says. *id_out: number of a manifest, id of a segment (also for its deletions);
/// *generation_out: of deletions. Either may be NULL.
dbk_file_kind dbk_file_classify(const char *name, uint64_t *id_out, uint64_t *generation_out);

typedef struct dbk_directory {
    bool exists;
    size_t manifest_count;
    size_t segment_count;
    size_t deletions_count;
    size_t foreign_count;
    bool has_journal;
    uint64_t segment_id_max;
    uint64_t generation_max; // of deletions
    char foreign_name[64];   // one of them, for messages
} dbk_directory;

/// How often who does not hold the lock looks for a manifest, where there must be one. While a manifest takes
/// the place of another, a listing may miss both.
enum { DBK_MANIFEST_LOOKS_MAX = 8 };

/// OK with `exists` false where there is none; EINVALID where `path` is not a directory. Where there are
/// files of a store and no manifest it looks again.
daybook_status dbk_directory_inspect(daybook_vfs *vfs, const char *path, dbk_directory *directory_out,
                                     daybook_error *error);
/// Remove unfinished files of ours. Only under the lock.
void dbk_directory_remove_temporary(daybook_vfs *vfs, const char *path);

/// Make the name of `path` in its parent directory durable: without it everything in `path` may be lost with
/// it. Where the parent may not be read, somebody else made the name; OK, unless `is_made_now`.
daybook_status dbk_directory_sync_name(daybook_vfs *vfs, const char *path, bool is_made_now,
                                       daybook_error *error);

/// Take the lock of the store for writing, trying for wait_ms; ELOCKED naming the holder. The file says who
/// we are.
daybook_status dbk_lock_take(daybook_vfs *vfs, const char *path, unsigned wait_ms, uint64_t session,
                             daybook_file **file_out, daybook_error *error);
/// Whether a writer holds the lock, and its session as the file says (0 unknown). Holds the lock for an
/// instant itself where nobody does; writers expect that.
bool dbk_lock_is_held(daybook_vfs *vfs, const char *path, uint64_t *session_out);
/// Let the thread sleep.
void dbk_sleep_ns(daybook_vfs *vfs, int64_t duration_ns);

#endif
