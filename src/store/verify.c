// SPDX-License-Identifier: Apache-2.0
// Being written; answers EUNSUPPORTED so that programs link meanwhile.
#include "base/error.h"
#include "daybook/store.h"

daybook_status daybook_verify(const char *path, const daybook_open_options *options, daybook_report report,
                              void *report_context, daybook_progress progress, void *progress_context,
                              daybook_error *error) {
    (void)path, (void)options, (void)report, (void)report_context, (void)progress, (void)progress_context;
    return dbk_fail(error, DAYBOOK_EUNSUPPORTED, "verify is not there yet");
}
