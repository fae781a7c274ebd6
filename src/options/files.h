// SPDX-License-Identifier: Apache-2.0
// The callbacks of a dbk_config_source as a server has them; its context is the daybook_vfs.
//
//     dbk_config_source source = {vfs, dbk_options_read_file, dbk_options_get_variable};
#ifndef DBK_OPTIONS_FILES_H
#define DBK_OPTIONS_FILES_H

#include "base/error.h"
#include "base/memory.h"
#include "daybook/sys/vfs.h"

/// Appends a file. ENOTFOUND, EPERMISSION, EIO, ELIMIT: larger than bytes may become; ENOMEM.
daybook_status dbk_options_read_file(void *vfs, const char *path, dbk_buf *bytes, daybook_error *error);
/// The environment of the process: constant while the server starts or reloads, or the caller's concern.
const char *dbk_options_get_variable(void *vfs, const char *name);

#endif
