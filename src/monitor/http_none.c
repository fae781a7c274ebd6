// SPDX-License-Identifier: Apache-2.0
// In the place of http.c where libmicrohttpd is not installed: there is no HTTP. Pure.
#include "base/error.h"
#include "monitor/http.h"

daybook_status dbk_http_start(const dbk_http_settings *settings, dbk_http **http_out, int *port_out,
                              daybook_error *error) {
    (void)settings;
    *http_out = NULL;
    *port_out = 0;
    return dbk_fail(error, DAYBOOK_EUNSUPPORTED,
                    "this build has no HTTP monitor: libmicrohttpd was not there when it was made");
}

void dbk_http_stop(dbk_http *http) {
    (void)http;
}
