// SPDX-License-Identifier: Apache-2.0
// What the pages of the monitor share: arguments, JSON being made, and the way to a snapshot. On http.c's
// threads.
//
// Pages are made with jansson, members in nats-server's order, indented as there. Text that is no UTF-8
// (subjects may be anything) is told with U+FFFD in the place of each bad byte. Where memory is out a page is
// answered with 500.
#ifndef DBK_MONITOR_PAGE_H
#define DBK_MONITOR_PAGE_H

#include <jansson.h>

#include "jetstream/usage.h"
#include "monitor/http.h"
#include "monitor/monitor.h"
#include "monitor/snapshot.h"

enum { DBK_PAGE_LIMIT_DEFAULT = 1024 };

typedef struct dbk_page {
    dbk_monitor *monitor;
    dbk_broker *broker;       // constants of it
    dbk_jetstream *jetstream; // NULL: there is none
    daybook_store *store;     // the same
    dbk_http_exchange *exchange;
    const char *callback; // JSON is handed to it; NULL: it stands alone
} dbk_page;

// monitor.c

/// NULL: the loop did not answer in time, or the server ends; the page has its answer. Free it with
/// dbk_page_forget.
dbk_monitor_snapshot *dbk_page_look(dbk_page *page, const dbk_monitor_snapshot_query *query);
void dbk_page_forget(dbk_page *page, dbk_monitor_snapshot *snapshot);
/// nats-server 2.10 or later was announced: members that came since then are told.
bool dbk_page_is_recent(const dbk_page *page);
/// How often the loop copied a slice for some page.
uint64_t dbk_page_slice_count(const dbk_page *page);
/// The server ends, and its stop waits for this page: whatever takes long gives up.
bool dbk_page_is_late(const dbk_page *page);
/// Share of processors used since it was last asked, in percent as nats-server has it.
double dbk_page_processor_percent(dbk_page *page);
/// How often each page was asked for.
size_t dbk_page_request_count(const dbk_page *page, size_t index, const char **path_out);

// json.c

/// The answer is an error: plain text.
void dbk_page_refuse(dbk_page *page, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/// The same, and what was sent stands behind it, in quotes and bounded.
void dbk_page_refuse_argument(dbk_page *page, const char *complaint, const char *value);
/// The answer is `root`, which is taken over; NULL: memory was out.
void dbk_page_send(dbk_page *page, json_t *root);
/// The same on one line.
void dbk_page_send_line(dbk_page *page, json_t *root);
/// Takes `callback`, the name of a function that JSON is to be handed to. False: it is no name; the page has
/// its answer.
bool dbk_page_read_callback(dbk_page *page);

/// Arguments as nats-server reads them: absent is 0 or false. False: it is malformed, and the page has its
/// answer.
bool dbk_page_read_number(dbk_page *page, const char *name, int64_t *value_out);
bool dbk_page_read_count(dbk_page *page, const char *name, uint64_t *value_out);
bool dbk_page_read_flag(dbk_page *page, const char *name, bool *value_out);
/// NULL: absent or empty.
const char *dbk_page_read_text(const dbk_page *page, const char *name);
/// offset and limit, with sense made of them.
bool dbk_page_read_range(dbk_page *page, size_t limit_default, size_t *offset_out, size_t *limit_out);

/// An object being filled. Once something failed the rest does nothing, so that dbk_members_end is the one
/// check.
typedef struct dbk_members {
    json_t *object;
    bool has_failed;
} dbk_members;

dbk_members dbk_members_begin(void);
/// The object; NULL: memory is out.
json_t *dbk_members_end(dbk_members *members);
/// `value` is taken over; NULL is a failure.
void dbk_put(dbk_members *members, const char *name, json_t *value);
void dbk_put_number(dbk_members *members, const char *name, int64_t value);
void dbk_put_count(dbk_members *members, const char *name, uint64_t value);
void dbk_put_real(dbk_members *members, const char *name, double value);
void dbk_put_flag(dbk_members *members, const char *name, bool value);
void dbk_put_text(dbk_members *members, const char *name, const char *value);
void dbk_put_slice(dbk_members *members, const char *name, dbk_slice value);
void dbk_put_time(dbk_members *members, const char *name, int64_t time_ns);
/// Left out where 0, false, "" or NULL.
void dbk_put_number_if(dbk_members *members, const char *name, int64_t value);
void dbk_put_flag_if(dbk_members *members, const char *name, bool value);
void dbk_put_text_if(dbk_members *members, const char *name, const char *value);
/// Appends to an array, which may be NULL; `value` is taken over. False: memory is out.
bool dbk_append(json_t *array, json_t *value);
/// A string; see the head of this file.
json_t *dbk_text_value(dbk_slice text);
/// "1d2h3m4s"
void dbk_put_uptime(dbk_members *members, const char *name, int64_t duration_ns);
/// As Go writes a duration: "1.25ms"; left out where 0.
void dbk_put_duration_if(dbk_members *members, const char *name, int64_t duration_ns);

// The pages.
void dbk_page_varz(dbk_page *page);     // pages.c
void dbk_page_subsz(dbk_page *page);    //
void dbk_page_accountz(dbk_page *page); //
void dbk_page_accstatz(dbk_page *page); //
void dbk_page_routez(dbk_page *page);   //
void dbk_page_gatewayz(dbk_page *page); //
void dbk_page_leafz(dbk_page *page);    //
void dbk_page_connz(dbk_page *page);    // connz.c
void dbk_page_jsz(dbk_page *page);      // jsz.c
void dbk_page_healthz(dbk_page *page);  // healthz.c
void dbk_page_metrics(dbk_page *page);  // metrics.c

/// A subscription. `account`: whose; NULL: not told. NULL: memory is out.
json_t *dbk_subscription_value(const dbk_page *page, const char *account, const dbk_subscription_fact *fact);

// jsz.c, for /varz and /metrics.

/// max_memory, max_storage, store_dir …
json_t *dbk_jetstream_config_value(const dbk_page *page, const dbk_monitor_snapshot *snapshot);
/// Bounds of what clients may ask for; those that are not set are left out.
json_t *dbk_jetstream_limits_value(const dbk_monitor_snapshot *snapshot);
/// memory, storage … api
void dbk_put_jetstream_stats(dbk_members *members, const dbk_page *page, const dbk_monitor_snapshot *snapshot,
                             const dbk_js_sums *sums, bool is_of_account);

#endif
