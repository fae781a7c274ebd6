// SPDX-License-Identifier: Apache-2.0
// The small files a server leaves for others while it runs (pid, ports), through the vfs. Any thread.
#ifndef DBK_SERVER_FILES_H
#define DBK_SERVER_FILES_H

#include "base/memory.h"
#include "daybook/status.h"
#include "daybook/sys/vfs.h"

/// The process id, in decimal and a line end. What dbk_fail_system gives.
daybook_status dbk_pid_file_write(daybook_vfs *vfs, const char *path, daybook_error *error);

/// `directory`/<program>_<pid>.ports: where it listens, as JSON. Whoever waits for the file finds it whole.
/// `monitor_url` may be NULL. `path_out`, freed by the caller, gets its name.
daybook_status dbk_ports_file_write(daybook_vfs *vfs, const daybook_allocator *allocator,
                                    const char *directory, const char *program, const char *url,
                                    const char *monitor_url, char **path_out, daybook_error *error);

/// Make a directory and those above it. OK where it exists.
daybook_status dbk_make_directories(daybook_vfs *vfs, const daybook_allocator *allocator, const char *path,
                                    daybook_error *error);

#endif
