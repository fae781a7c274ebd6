// SPDX-License-Identifier: Apache-2.0
// Log lines as NATS writes them: "[pid] 2006/01/02 15:04:05.000000 [INF] text", to a file or to the
// embedder's hook. Any thread.
#ifndef DBK_BROKER_LOG_H
#define DBK_BROKER_LOG_H

#include <stdbool.h>

#include "base/memory.h"
#include "daybook/server.h"
#include "daybook/sys/vfs.h"
#include "options/options.h"

enum { DBK_LOG_LINE_MAX = 8192 }; // longer text is cut

typedef struct dbk_log dbk_log;

daybook_status dbk_log_new(const daybook_allocator *allocator, daybook_vfs *vfs,
                           void (*hook)(void *context, int level, daybook_slice line), void *hook_context,
                           dbk_log **log_out);
void dbk_log_free(dbk_log *log);
/// Take over what `options` say, open the file if there is one. On failure all stays as it was: what
/// dbk_fail_system gives, ENOMEM.
daybook_status dbk_log_configure(dbk_log *log, const dbk_log_options *options, daybook_error *error);
/// Close the file and open it again by its name (after it was moved away).
void dbk_log_reopen(dbk_log *log);

/// Cheap question before making text for DEBUG and TRACE.
bool dbk_log_wants(const dbk_log *log, int level);
/// `level` of daybook_server_log_level.
void dbk_log_write(dbk_log *log, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
