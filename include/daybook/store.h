/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A store: a directory of streams behind one journal. One process opens it for writing, any number
 * for reading at the same time.
 *
 *     daybook_store *store;
 *     daybook_open("shop", NULL, &store, NULL);        // creates it where it is absent
 *     ...
 *     daybook_close(store, NULL);
 *
 * Threads: any thread may use one store; a cursor belongs to one thread at a time.
 * Fork: a store does not survive fork(); the child must not touch it. Signals: no handler is
 * installed, none may call in. Descriptors are close-on-exec. Network file systems are not supported.
 */
#ifndef DAYBOOK_STORE_H
#define DAYBOOK_STORE_H

#include "daybook/status.h"
#include "daybook/sys/allocator.h"
#include "daybook/sys/vfs.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct daybook_store daybook_store;

enum daybook_open_flag {
    DAYBOOK_OPEN_READ_ONLY = 1,    /* write nothing, take no lock; follows a live writer */
    DAYBOOK_OPEN_MUST_EXIST = 2,   /* ENOTFOUND instead of creating the store */
    DAYBOOK_OPEN_NO_BACKGROUND = 4 /* no threads: daybook_maintain does flush, merge, limits, consumers */
};

/** Levels of the log hook. */
enum daybook_log_level { DAYBOOK_LOG_ERROR, DAYBOOK_LOG_WARNING, DAYBOOK_LOG_INFO, DAYBOOK_LOG_DEBUG };

typedef struct daybook_open_options {
    size_t size; /* set by daybook_open_options_init */
    unsigned flags;
    unsigned lock_wait_ms;              /* how long to wait for another writer; default 0 */
    uint64_t memory_budget_bytes;       /* default 192 MiB, at least 16 MiB */
    uint64_t memtable_bytes;            /* default 32 MiB, at least 256 KiB; two exist while one is written */
    uint64_t journal_max_bytes;         /* default 256 MiB, at least 4 MiB */
    uint64_t segment_max_bytes;         /* default 2 GiB, at least 1 MiB */
    const daybook_allocator *allocator; /* NULL: malloc */
    daybook_vfs *vfs;                   /* NULL: daybook_vfs_posix() */
    void (*log)(void *context, int level, daybook_slice message); /* NULL: silent; any thread */
    void *log_context;
} daybook_open_options;

DAYBOOK_API void daybook_open_options_init(daybook_open_options *options);

/**
 * Open the store in directory `path`, creating it unless MUST_EXIST or READ_ONLY. ":memory:" opens a
 * store without files. Replays at most the journal; reads no event block.
 * @return DAYBOOK_OK, ENOTFOUND, ELOCKED (error.message names the holder's process id), EFORMAT,
 *         EFOREIGN, EDAMAGED (for writing: open READ_ONLY, verify, repair), EPERMISSION, EIO ...
 */
DAYBOOK_API daybook_status daybook_open(const char *path, const daybook_open_options *options,
                                        daybook_store **store_out, daybook_error *error);

/**
 * Close. Cursors must be closed before. Waits for running appends; writes the witness that makes the
 * journal's end certain, what streams with a sync_interval acknowledged, and what consumers were answered
 * last. Where that cannot be written: EUNCERTAIN, ENOSPC, EIO or ENOMEM, and the message says what is not
 * kept; messages of consumers whose answers are not kept come again. Where the store was poisoned before it
 * tells of answers only. NULL is fine. The store is gone whatever is returned.
 */
DAYBOOK_API daybook_status daybook_close(daybook_store *store, daybook_error *error);

enum daybook_background { DAYBOOK_BACKGROUND_FLUSH = 1, DAYBOOK_BACKGROUND_MERGE = 2 };

typedef struct daybook_store_info {
    size_t size;
    char uuid[37];
    uint64_t durable_position; /* what readers see */
    uint64_t flushed_position; /* what segments hold */
    uint64_t event_count;      /* live events, internal ones included */
    uint64_t stream_count;
    uint64_t segment_count;
    uint64_t segment_bytes;
    uint64_t journal_bytes;      /* allocated */
    uint64_t journal_used_bytes; /* would be replayed */
    uint64_t memory_bytes;       /* memory tables and caches now */
    uint64_t group_count;        /* journal groups written since opened */
    uint64_t commit_count;       /* appends and removals acknowledged since opened */
    uint64_t flush_count;
    uint64_t merge_count;
    uint64_t open_replayed_bytes; /* journal bytes replayed when opened */
    uint64_t open_torn_pages;     /* pages of an unacknowledged group cut when opened */
    int64_t last_recorded_ns;
    int read_only;
    int poisoned;
    uint32_t sync_interval_streams; /* streams that acknowledge before the sync */
    int64_t clock_held_ns;          /* the clock jumped so far ahead and is not confirmed, else 0 */
    uint64_t block_bytes;           /* of the segments: events, compressed */
    unsigned background;            /* what runs now: DAYBOOK_BACKGROUND_* */
    uint64_t index_bytes;           /* of the segments: terms, postings, filters, block index */
    uint64_t flushed_bytes;         /* of segments written from memory since opened */
    uint64_t merged_bytes; /* of segments written by merging since opened: what is written more than once */
} daybook_store_info;

DAYBOOK_API daybook_status daybook_info(daybook_store *store, daybook_store_info *info_out,
                                        daybook_error *error);

/** The directory as daybook_open was given it; borrowed from the store. NULL for ":memory:". */
DAYBOOK_API const char *daybook_store_path(const daybook_store *store);

/**
 * Write the memory table into a segment now; returns when it is durable in one.
 * @return OK; EREADONLY; EPOISONED: an earlier sync failed, also where nothing is left to write; what writing files gives
 */
DAYBOOK_API daybook_status daybook_flush(daybook_store *store, daybook_error *error);

/**
 * A clock that jumps more than an hour ahead while the store is open expires nothing (max_age,
 * duplicate_window) by that jump: the log says so, and daybook_store_info.clock_held_ns. It is believed
 * once it has stayed so for an hour, or when this is called. (A machine that slept looks the same.)
 */
DAYBOOK_API daybook_status daybook_confirm_clock(daybook_store *store, daybook_error *error);

/** Do one round of due background work in this thread; END when there was nothing to do. */
DAYBOOK_API daybook_status daybook_maintain(daybook_store *store, daybook_error *error);

/** Called during long work; return non-zero to stop it. `total` is 0 while unknown. */
typedef int (*daybook_progress)(void *context, uint64_t done, uint64_t total);

/** One finding of verify, repair or rebuild. Borrowed during the call. */
typedef struct daybook_finding {
    size_t size;
    int is_damage; /* 0: information or an action taken */
    daybook_slice file;
    uint64_t offset;
    uint64_t position_first; /* events concerned, 0 when none or unknown */
    uint64_t position_last;
    daybook_slice message;
} daybook_finding;

typedef void (*daybook_report)(void *context, const daybook_finding *finding);

/**
 * Read and check every byte of the store in `path` without writing. OK when sound, EDAMAGED when
 * anything was found; each finding is reported.
 */
DAYBOOK_API daybook_status daybook_verify(const char *path, const daybook_open_options *options,
                                          daybook_report report, void *report_context,
                                          daybook_progress progress, void *progress_context,
                                          daybook_error *error);

/**
 * Make a damaged store writable again: keeps the original bytes of what it changes in
 * `<path>/damaged-<time>/`, leaves out unreadable blocks, reports what was lost. With `dry_run`
 * it only reports.
 */
DAYBOOK_API daybook_status daybook_repair(const char *path, const daybook_open_options *options, int dry_run,
                                          daybook_report report, void *report_context, daybook_error *error);

/**
 * The same with a manifest made anew from what segments, deletion files and journal say of themselves,
 * however sound the present one is; that one is kept aside. For a manifest that does not belong here or is
 * suspected. What only it knew is lost: streams without events that were removed or added since the last
 * segment, and removals whose only record was in it, so that events removed may show again.
 */
DAYBOOK_API daybook_status daybook_rebuild(const char *path, const daybook_open_options *options, int dry_run,
                                           daybook_report report, void *report_context, daybook_error *error);

/** Write a consistent copy of the open store into `directory`; what is already there is skipped. */
DAYBOOK_API daybook_status daybook_backup(daybook_store *store, const char *directory,
                                          daybook_progress progress, void *progress_context,
                                          daybook_error *error);

/** Make a store in `path` (absent or empty) from a backup: same UUID, new incarnation. */
DAYBOOK_API daybook_status daybook_restore(const char *backup, const char *path,
                                           const daybook_open_options *options, daybook_progress progress,
                                           void *progress_context, daybook_error *error);

#ifdef __cplusplus
}
#endif
#endif
