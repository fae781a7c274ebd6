/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The seam to the outside world: files, clock and randomness. Nothing in daybook above `src/io`
 * calls the operating system for these; everything goes through this table. The library brings a
 * POSIX one (daybook_vfs_posix), its tests a simulated one that crashes, tears and lies.
 *
 * Paths are NUL-terminated. Every function returns 0 or a negative errno (-ENOSPC, -EIO ...), reads
 * and writes the number of bytes moved. Weaker stability promise than the rest of the API: the table
 * may grow at its end; `size` says how much of it exists.
 */
#ifndef DAYBOOK_SYS_VFS_H
#define DAYBOOK_SYS_VFS_H

#include "daybook/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct daybook_vfs daybook_vfs;
typedef struct daybook_file daybook_file; /* defined by the implementation */

enum daybook_vfs_open_flag {
    DAYBOOK_VFS_READ = 0,
    DAYBOOK_VFS_WRITE = 1,     /* read and write */
    DAYBOOK_VFS_CREATE = 2,    /* create if absent */
    DAYBOOK_VFS_EXCLUSIVE = 4, /* with CREATE: fail with -EEXIST where it exists */
    DAYBOOK_VFS_DIRECT = 8,    /* bypass the page cache where possible (aligned to 4096) */
    DAYBOOK_VFS_SYNC = 16      /* every write is durable when it returns (O_DSYNC) */
};

typedef struct daybook_vfs_entry {
    char name[256];
    uint64_t size;
    int is_directory;
} daybook_vfs_entry;

struct daybook_vfs {
    size_t size;
    void *context;

    /* Files. Thread-safe; positional I/O on one file from many threads is fine. */
    int (*open)(daybook_vfs *vfs, const char *path, unsigned flags, daybook_file **file_out);
    void (*close)(daybook_vfs *vfs, daybook_file *file);
    /** Bytes read, 0 at the end of the file, may be short; or negative errno. */
    int64_t (*read_at)(daybook_vfs *vfs, daybook_file *file, void *data, size_t size, uint64_t offset);
    /** Bytes written, may be short; or negative errno. */
    int64_t (*write_at)(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size, uint64_t offset);
    int (*sync)(daybook_vfs *vfs, daybook_file *file); /* data and size durable (fdatasync) */
    int (*truncate)(daybook_vfs *vfs, daybook_file *file, uint64_t size);
    int (*file_size)(daybook_vfs *vfs, daybook_file *file, uint64_t *size_out);
    /** 1 where the file really bypasses the page cache, 0 where DIRECT was refused and dropped. */
    int (*is_direct)(daybook_vfs *vfs, daybook_file *file);

    /* Exclusive advisory lock on an open file; -EWOULDBLOCK when another open file holds it. */
    int (*lock)(daybook_vfs *vfs, daybook_file *file);

    /* A page shared between processes, backed by the first `size` bytes of the file. */
    int (*map_shared)(daybook_vfs *vfs, daybook_file *file, size_t size, int writable, void **data_out);
    void (*unmap_shared)(daybook_vfs *vfs, void *data, size_t size);

    /* Names. */
    int (*rename)(daybook_vfs *vfs, const char *from, const char *to);
    int (*link)(daybook_vfs *vfs, const char *from, const char *to);
    int (*unlink)(daybook_vfs *vfs, const char *path);
    int (*make_directory)(daybook_vfs *vfs, const char *path); /* -EEXIST where it exists */
    int (*remove_directory)(daybook_vfs *vfs, const char *path);
    int (*sync_directory)(daybook_vfs *vfs, const char *path); /* names in it are durable */
    /** Calls `visit` for each entry but "." and ".."; stops at the first non-zero return. */
    int (*list)(daybook_vfs *vfs, const char *path,
                int (*visit)(void *context, const daybook_vfs_entry *entry), void *context);
    int (*free_bytes)(daybook_vfs *vfs, const char *path, uint64_t *bytes_out);

    /* Clock and randomness. */
    int64_t (*clock_real_ns)(daybook_vfs *vfs);      /* since the Unix epoch; may jump */
    int64_t (*clock_monotonic_ns)(daybook_vfs *vfs); /* never goes back */
    int (*entropy)(daybook_vfs *vfs, void *data, size_t size);

    /* Sleeping on a word, in this process or through map_shared. -ETIMEDOUT, -EAGAIN (value differs)
     * and 0 all mean: look again. timeout_ns < 0 waits for ever. */
    int (*wait)(daybook_vfs *vfs, const volatile uint32_t *word, uint32_t expected, int64_t timeout_ns,
                int shared);
    void (*wake)(daybook_vfs *vfs, const volatile uint32_t *word, int count, int shared);

    /** Give the bytes [offset, offset + size) of an open file their room on the disk, so that writing
     * them later does not fail for want of it; the file grows where it is shorter, by zeros.
     * -EOPNOTSUPP where the file system cannot. May be NULL, or behind `size`: the same. */
    int (*allocate)(daybook_vfs *vfs, daybook_file *file, uint64_t offset, uint64_t size);

    /* The next three may be NULL, or behind `size`, too. */

    /** 1 where nobody else can see the file: it has no name, and no other open file or mapping, of this
     * process or another, refers to it. 0 where somebody may; negative errno where that cannot be told. */
    int (*is_unshared)(daybook_vfs *vfs, daybook_file *file);
    /** Begin to write out what was written to these bytes, without waiting for it, so that a later sync
     * finds less to do. A hint: nothing is durable before sync. */
    void (*start_writing)(daybook_vfs *vfs, daybook_file *file, uint64_t offset, uint64_t size);
    /** What the calling thread does can wait: where there are too few processors, others go first. For the
     * rest of the thread's life; threads of the store call it, never one of the caller's. A hint. */
    void (*stand_back)(daybook_vfs *vfs);
};

/** The real one. Static storage, thread-safe. */
DAYBOOK_API daybook_vfs *daybook_vfs_posix(void);

#ifdef __cplusplus
}
#endif
#endif
