// SPDX-License-Identifier: Apache-2.0
// Helpers over the vfs seam that every user of files wants: whole reads and writes (EINTR and short
// transfers completed), small files read whole, a file replaced atomically, path joining.
#ifndef DBK_IO_IO_H
#define DBK_IO_IO_H

#include "base/error.h"
#include "base/memory.h"
#include "daybook/sys/vfs.h"

enum { DBK_PATH_SIZE_MAX = 4096, DBK_IO_BLOCK_SIZE = 4096 };

/// "directory/name" into `path_out`; EINVALID where it does not fit.
daybook_status dbk_path_join(const char *directory, const char *name, char path_out[DBK_PATH_SIZE_MAX],
                             daybook_error *error);
/// Exactly `size` bytes. A file that ends before is EDAMAGED naming path and offset.
daybook_status dbk_read_exactly(daybook_vfs *vfs, daybook_file *file, const char *path, void *data,
                                size_t size, uint64_t offset, daybook_error *error);
daybook_status dbk_write_exactly(daybook_vfs *vfs, daybook_file *file, const char *path, const void *data,
                                 size_t size, uint64_t offset, daybook_error *error);
/// Whole file into `buf` (appended). ELIMIT where larger than the buffer's maximum, ENOTFOUND.
daybook_status dbk_read_file(daybook_vfs *vfs, const char *path, dbk_buf *buf, daybook_error *error);
/// Write `directory/name` through a temporary name: content synced, renamed, directory synced.
daybook_status dbk_replace_file(daybook_vfs *vfs, const char *directory, const char *name, dbk_slice content,
                                daybook_error *error);
/// daybook_vfs.allocate where there is one, else -EOPNOTSUPP.
int dbk_allocate(daybook_vfs *vfs, daybook_file *file, uint64_t offset, uint64_t size);
/// Make the file longer, from `size` by `more` bytes with their room on the disk; 0, -EOPNOTSUPP (nothing was
/// done, and the disk seems to have room) or -errno. On -ENOSPC the file is as long as before. Asks for free
/// space first, so that a full disk says no at once.
int dbk_extend(daybook_vfs *vfs, daybook_file *file, const char *path, uint64_t size, uint64_t more);
/// The vfs's is_unshared, -ENOSYS where it has none.
int dbk_is_unshared(daybook_vfs *vfs, daybook_file *file);
bool dbk_has_is_unshared(const daybook_vfs *vfs);
/// The vfs's start_writing, nothing where it has none.
void dbk_start_writing(daybook_vfs *vfs, daybook_file *file, uint64_t offset, uint64_t size);
/// The vfs's stand_back, nothing where it has none.
void dbk_stand_back(daybook_vfs *vfs);
/// Page-aligned memory for direct I/O; NULL when out. Release with dbk_aligned_free.
void *dbk_aligned_alloc(const daybook_allocator *allocator, size_t size);
void dbk_aligned_free(const daybook_allocator *allocator, void *data);
/// The number of this process, for people.
uint64_t dbk_process_id(void);

#endif
