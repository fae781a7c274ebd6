// SPDX-License-Identifier: Apache-2.0
// Being written; answers EUNSUPPORTED so that programs link meanwhile.
#include "base/error.h"
#include "daybook/store.h"

daybook_status daybook_repair(const char *path, const daybook_open_options *options, int dry_run,
                              daybook_report report, void *report_context, daybook_error *error) {
    (void)path, (void)options, (void)dry_run, (void)report, (void)report_context;
    return dbk_fail(error, DAYBOOK_EUNSUPPORTED, "repair is not there yet");
}
