// SPDX-License-Identifier: Apache-2.0
// A file system in memory, for stores without files: everything lives as long as the vfs. Clocks, randomness
// and sleeping are those of the posix side.
#ifndef DBK_IO_MEMORY_H
#define DBK_IO_MEMORY_H

#include "base/memory.h"
#include "daybook/sys/vfs.h"

/// An empty file system with a root directory "/"; paths without a leading slash start there, too.
daybook_status dbk_memory_vfs_new(const daybook_allocator *allocator, daybook_vfs **vfs_out);
/// All files must be closed. NULL is fine.
void dbk_memory_vfs_free(daybook_vfs *vfs);

#endif
