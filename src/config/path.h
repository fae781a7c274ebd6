// SPDX-License-Identifier: Apache-2.0
// Names of included files.
#ifndef DBK_CONFIG_PATH_H
#define DBK_CONFIG_PATH_H

#include "base/memory.h"

/// `path` as seen from the folder of the file `from`, with "." and ".." taken out where that needs no look at
/// the disk. An absolute path stays what it is. NUL-terminated, from the arena; NULL when memory is out.
char *dbk_config_join_path(dbk_arena *arena, const char *from, dbk_slice path);

#endif
