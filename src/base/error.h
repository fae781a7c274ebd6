// SPDX-License-Identifier: Apache-2.0
// Filling a caller-owned daybook_error. All take NULL for `error`, and return the status they are given,
// so that a failure is one line: return dbk_fail(error, DAYBOOK_EINVALID, "type is %zu bytes; ...", n);
#ifndef DBK_BASE_ERROR_H
#define DBK_BASE_ERROR_H

#include <stdbool.h>

#include "daybook/status.h"

#define DBK_TRY(expression)                                      \
    do {                                                         \
        daybook_status dbk_try_status = (expression);            \
        if (dbk_try_status != DAYBOOK_OK) return dbk_try_status; \
    } while (0)

/// What was to be read is damaged, or the device does not give it: others may be readable, and this one
/// later.
static inline bool dbk_is_unreadable(daybook_status status) {
    return status == DAYBOOK_EDAMAGED || status == DAYBOOK_EIO;
}

/// Replaces what `error` says. Message style: what happened: why; what to do.
daybook_status dbk_fail(daybook_error *error, daybook_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/// ELIMIT by a limit that allows `allowed`, where it would be `actual`.
daybook_status dbk_fail_limit(daybook_error *error, daybook_limit limit, uint64_t allowed, uint64_t actual,
                              const char *format, ...) __attribute__((format(printf, 5, 6)));

/// A failed system call on `path` (may be NULL) at `offset`: maps the negative errno of the vfs to a status
/// (ENOSPC EMFILE EPERMISSION EREADONLY ENOTFOUND EEXISTS ENOMEM, else EIO) and names both.
daybook_status dbk_fail_system(daybook_error *error, int negative_errno, const char *action, const char *path,
                               uint64_t offset);

/// Damage found in `path` at `offset`: EDAMAGED with file and offset set.
daybook_status dbk_fail_damaged(daybook_error *error, const char *path, uint64_t offset, const char *format,
                                ...) __attribute__((format(printf, 4, 5)));

/// Puts `prefix: ` before the message.
void dbk_error_prepend(daybook_error *error, const char *prefix);

#endif
