// SPDX-License-Identifier: Apache-2.0
// Being written; answers EUNSUPPORTED so that programs link meanwhile.
#include "base/error.h"
#include "daybook/store.h"

daybook_status daybook_backup(daybook_store *store, const char *directory, daybook_progress progress,
                              void *progress_context, daybook_error *error) {
    (void)store, (void)directory, (void)progress, (void)progress_context;
    return dbk_fail(error, DAYBOOK_EUNSUPPORTED, "backup is not there yet");
}

daybook_status daybook_restore(const char *backup, const char *path, const daybook_open_options *options,
                               daybook_progress progress, void *progress_context, daybook_error *error) {
    (void)backup, (void)path, (void)options, (void)progress, (void)progress_context;
    return dbk_fail(error, DAYBOOK_EUNSUPPORTED, "restore is not there yet");
}
