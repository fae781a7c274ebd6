// SPDX-License-Identifier: Apache-2.0
// See monitor.h: life, which page, and the way to the loop and back.
//
// A wish (a request to the loop) is owned by two: who waits for it and the loop. Who gives up first leaves it
// to the other, under `lock`, so that a page that is told 503 leaves nothing behind.
#include "monitor/monitor.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/time.h"
#include "monitor/page.h"
#include "options/files.h"

enum {
    PEM_SIZE_MAX = 1 << 20,
    BASE_PATH_SIZE = 256,
    URL_SIZE = 300,
};
#define MONITOR_WAIT_NS (2 * DBK_SECOND_NS)
#define SAMPLE_NS DBK_SECOND_NS

static void serve_root(dbk_page *page);

// Paths as nats-server has them in http_req_stats.
static const struct {
    const char *path;
    void (*serve)(dbk_page *page);
} pages[] = {
    {"/varz", dbk_page_varz},
    {"/connz", dbk_page_connz},
    {"/routez", dbk_page_routez},
    {"/gatewayz", dbk_page_gatewayz},
    {"/leafz", dbk_page_leafz},
    {"/subsz", dbk_page_subsz},
    {"/accountz", dbk_page_accountz},
    {"/accstatz", dbk_page_accstatz},
    {"/jsz", dbk_page_jsz},
    {"/healthz", dbk_page_healthz},
    {"/metrics", dbk_page_metrics},
    {"/subscriptionsz", dbk_page_subsz},
    {"/", serve_root},
};
enum { PAGE_COUNT = sizeof pages / sizeof *pages };

struct dbk_monitor {
    dbk_monitor_sources sources;
    dbk_http *http;
    char url[URL_SIZE];             // "": it does not listen yet
    char base_path[BASE_PATH_SIZE]; // "" or "/monitor": no slash at its end
    atomic_uint_least64_t request_counts[PAGE_COUNT];

    pthread_mutex_t lock; // of what follows
    pthread_cond_t answered;
    bool is_closing;
    int64_t sample_ns; // of the processor's time
    double sample_seconds, percent;

    // The loop's.
    dbk_closed_list closed;
    struct wish *under_way; // begun, and not yet granted

    atomic_uint_least64_t slice_count;
};

// Wishes.

typedef struct wish {
    dbk_job job;
    dbk_monitor *monitor;
    dbk_monitor_snapshot *snapshot;
    bool is_granted, is_abandoned; // guarded by the monitor's lock
    uint64_t slice_count;          // so far; guarded by it
    struct wish *next;             // of monitor->under_way
    bool is_under_way;
} wish;

static void free_wish(wish *done) {
    const daybook_allocator *allocator = done->monitor->sources.broker->allocator;
    dbk_monitor_snapshot_free(allocator, done->snapshot);
    dbk_free(allocator, done);
}

static void end_wish(dbk_monitor *monitor, wish *ended) {
    wish **at = &monitor->under_way;
    while (*at != NULL && *at != ended) at = &(*at)->next;
    if (*at != NULL) *at = ended->next;
    ended->is_under_way = false;
}

static bool is_abandoned(dbk_monitor *monitor, const wish *asked) {
    pthread_mutex_lock(&monitor->lock);
    bool is_so = asked->is_abandoned;
    pthread_mutex_unlock(&monitor->lock);
    return is_so;
}

/// On the loop: a slice of it; what is not done comes again behind what else there is to do.
static void grant(dbk_job *job) {
    wish *asked = DBK_OWNER(job, wish, job);
    dbk_monitor *monitor = asked->monitor;
    if (!asked->is_under_way) {
        asked->is_under_way = true;
        asked->next = monitor->under_way;
        monitor->under_way = asked;
    }
    // The asker may give up meanwhile: then it is freed below.
    bool is_done = is_abandoned(monitor, asked) ||
                   dbk_monitor_snapshot_take(asked->snapshot, &monitor->sources, &monitor->closed);
    (void)atomic_fetch_add_explicit(&monitor->slice_count, 1, memory_order_relaxed);
    if (is_done) end_wish(monitor, asked);
    pthread_mutex_lock(&monitor->lock);
    asked->slice_count++;
    asked->is_granted = is_done;
    bool is_nobodys = is_done && asked->is_abandoned;
    if (is_done) pthread_cond_broadcast(&monitor->answered);
    pthread_mutex_unlock(&monitor->lock);
    // Once it is granted it is the asker's.
    if (is_nobodys) {
        free_wish(asked);
    } else if (!is_done) {
        dbk_jobs_finish(monitor->sources.broker->jobs, &asked->job);
    }
}

static wish *new_wish(dbk_monitor *monitor, const dbk_monitor_snapshot_query *query) {
    const daybook_allocator *allocator = monitor->sources.broker->allocator;
    wish *made = dbk_alloc_zeroed(allocator, sizeof *made);
    if (made == NULL) return NULL;
    made->monitor = monitor;
    made->job.done = grant;
    made->snapshot = dbk_monitor_snapshot_new(allocator, query);
    if (made->snapshot != NULL) return made;
    dbk_free(allocator, made);
    return NULL;
}

static struct timespec in_time(const dbk_monitor *monitor) {
    daybook_vfs *vfs = monitor->sources.broker->vfs;
    int64_t due_ns = vfs->clock_monotonic_ns(vfs) + MONITOR_WAIT_NS;
    return (struct timespec){.tv_sec = (time_t)(due_ns / DBK_SECOND_NS),
                             .tv_nsec = (long)(due_ns % DBK_SECOND_NS)};
}

/// Posts it and waits, as long as something is done for it. False: it is not the caller's any more.
static bool wait_for(wish *asked) {
    dbk_monitor *monitor = asked->monitor;
    struct timespec due = in_time(monitor);
    uint64_t seen = 0;
    pthread_mutex_lock(&monitor->lock);
    // Under the lock: once dbk_monitor_stop has set is_closing nothing is posted any more.
    bool is_posted = !monitor->is_closing;
    if (is_posted) dbk_jobs_finish(monitor->sources.broker->jobs, &asked->job);
    while (is_posted && !asked->is_granted && !monitor->is_closing) {
        if (pthread_cond_timedwait(&monitor->answered, &monitor->lock, &due) != ETIMEDOUT) continue;
        if (asked->slice_count == seen) break;
        seen = asked->slice_count;
        due = in_time(monitor);
    }
    bool is_granted = asked->is_granted;
    asked->is_abandoned = !is_granted;
    pthread_mutex_unlock(&monitor->lock);
    if (!is_posted) free_wish(asked);
    return is_granted;
}

dbk_monitor_snapshot *dbk_page_look(dbk_page *page, const dbk_monitor_snapshot_query *query) {
    wish *asked = new_wish(page->monitor, query);
    if (asked == NULL) {
        dbk_page_refuse(page, DBK_HTTP_SERVER_ERROR, "memory is out");
        return NULL;
    }
    if (!wait_for(asked)) {
        dbk_page_refuse(page, DBK_HTTP_UNAVAILABLE, "the server is busy or ends; ask again later");
        return NULL;
    }
    dbk_monitor_snapshot *snapshot = asked->snapshot;
    asked->snapshot = NULL;
    free_wish(asked);
    if (!snapshot->is_short_of_memory) return snapshot;
    dbk_page_forget(page, snapshot);
    dbk_page_refuse(page, DBK_HTTP_SERVER_ERROR, "memory is out");
    return NULL;
}

void dbk_page_forget(dbk_page *page, dbk_monitor_snapshot *snapshot) {
    dbk_monitor_snapshot_free(page->broker->allocator, snapshot);
}

bool dbk_page_is_recent(const dbk_page *page) {
    return page->broker->dial.version >= 210;
}

uint64_t dbk_page_slice_count(const dbk_page *page) {
    return atomic_load_explicit(&page->monitor->slice_count, memory_order_relaxed);
}

bool dbk_page_is_late(const dbk_page *page) {
    pthread_mutex_lock(&page->monitor->lock);
    bool is_late = page->monitor->is_closing;
    pthread_mutex_unlock(&page->monitor->lock);
    return is_late;
}

// The process.

static double processor_seconds(void) {
    uv_rusage_t usage;
    if (uv_getrusage(&usage) != 0) return 0;
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

double dbk_page_processor_percent(dbk_page *page) {
    dbk_monitor *monitor = page->monitor;
    int64_t now_ns = page->broker->vfs->clock_monotonic_ns(page->broker->vfs);
    pthread_mutex_lock(&monitor->lock);
    int64_t passed_ns = now_ns - monitor->sample_ns;
    // Two that ask at the same time get the same, not one of them the share of a microsecond.
    if (passed_ns >= SAMPLE_NS) {
        double seconds = processor_seconds();
        monitor->percent = (seconds - monitor->sample_seconds) * 100 / ((double)passed_ns / 1e9);
        monitor->sample_seconds = seconds;
        monitor->sample_ns = now_ns;
    }
    double percent = monitor->percent;
    pthread_mutex_unlock(&monitor->lock);
    return percent;
}

// Pages.

size_t dbk_page_request_count(const dbk_page *page, size_t index, const char **path_out) {
    *path_out = index < PAGE_COUNT ? pages[index].path : NULL;
    if (*path_out == NULL) return 0;
    return (size_t)atomic_load_explicit(&page->monitor->request_counts[index], memory_order_relaxed);
}

static void append(dbk_buf *out, const char *text) {
    dbk_buf_append(out, text, strlen(text));
}

/// Links are relative: what the other side calls this host is its business.
static void serve_root(dbk_page *page) {
    dbk_buf *body = &page->exchange->body;
    page->exchange->content_type = "text/html; charset=utf-8";
    append(
        body,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><title>daybook</title></head><body>\n<h1>daybook</h1>\n");
    for (size_t i = 0; i < PAGE_COUNT - 2; i++) { // the last two are another name of one, and this
        append(body, "<p><a href=\".");
        append(body, pages[i].path);
        append(body, "\">");
        append(body, pages[i].path + 1);
        append(body, "</a></p>\n");
    }
    append(body, "</body></html>\n");
}

/// What follows the base path; NULL: the path is not below it.
static const char *below_base(const dbk_monitor *monitor, const char *path) {
    size_t size = strlen(monitor->base_path);
    if (strncmp(path, monitor->base_path, size) != 0) return NULL;
    return path[size] == '/' || path[size] == '\0' ? path + size : NULL;
}

/// /healthz is asked by who restarts a server that does not answer: no other page may hold it up.
static bool is_light(void *context, const char *path) {
    const char *below = below_base(context, path);
    return below != NULL && strcmp(below, "/healthz") == 0;
}

/// On a thread of http.c.
static void serve(void *context, dbk_http_exchange *exchange) {
    dbk_monitor *monitor = context;
    dbk_page page = {.monitor = monitor,
                     .broker = monitor->sources.broker,
                     .jetstream = monitor->sources.jetstream,
                     .store = monitor->sources.store,
                     .exchange = exchange};
    const char *path = below_base(monitor, exchange->path);
    if (path != NULL && path[0] == '\0') path = "/";
    for (size_t i = 0; path != NULL && i < PAGE_COUNT; i++) {
        if (strcmp(path, pages[i].path) != 0) continue;
        (void)atomic_fetch_add_explicit(&monitor->request_counts[i], 1, memory_order_relaxed);
        if (dbk_page_read_callback(&page)) pages[i].serve(&page);
        return;
    }
    dbk_page_refuse(&page, DBK_HTTP_NOT_FOUND, "404 page not found\n");
}

// Life.

static daybook_status set_base_path(dbk_monitor *monitor, const char *base_path, daybook_error *error) {
    const char *given = base_path != NULL ? base_path : "";
    size_t size = strlen(given);
    while (size > 0 && given[size - 1] == '/') size--;
    while (size > 0 && given[0] == '/') {
        given++;
        size--;
    }
    if (size + 2 > sizeof monitor->base_path) {
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "http_base_path is longer than %d bytes; choose a shorter one", BASE_PATH_SIZE - 2);
    }
    if (size == 0) return DAYBOOK_OK;
    (void)snprintf(monitor->base_path, sizeof monitor->base_path, "/%.*s", (int)size, given);
    return DAYBOOK_OK;
}

static daybook_status make_monitor(const dbk_monitor_sources *sources, dbk_monitor **monitor_out,
                                   daybook_error *error) {
    dbk_broker *broker = sources->broker;
    dbk_monitor *monitor = dbk_alloc_zeroed(broker->allocator, sizeof *monitor);
    if (monitor == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for the HTTP monitor");
    if (pthread_mutex_init(&monitor->lock, NULL) != 0) {
        dbk_free(broker->allocator, monitor);
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for the HTTP monitor");
    }
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&monitor->answered, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    monitor->sources = *sources;
    monitor->sample_ns = broker->vfs->clock_monotonic_ns(broker->vfs);
    monitor->sample_seconds = processor_seconds();
    for (size_t i = 0; i < PAGE_COUNT; i++) atomic_init(&monitor->request_counts[i], 0);
    atomic_init(&monitor->slice_count, 0);
    *monitor_out = monitor;
    return DAYBOOK_OK;
}

static daybook_status read_pem(dbk_broker *broker, const char *path, dbk_buf *pem, daybook_error *error) {
    DBK_TRY(dbk_options_read_file(broker->vfs, path, pem, error));
    dbk_buf_append_u8(pem, 0);
    return dbk_buf_status(pem) == DAYBOOK_OK ? DAYBOOK_OK
                                             : dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for %s", path);
}

static daybook_status listen_there(dbk_monitor *monitor, dbk_http_settings *settings, daybook_error *error) {
    dbk_broker *broker = monitor->sources.broker;
    const dbk_listen_options *listen = &broker->options->http;
    struct sockaddr_storage address;
    memset(&address, 0, sizeof address);
    settings->port = listen->port > 0 ? listen->port : 0;
    int failure = dbk_broker_resolve(broker, listen->host, settings->port, &address);
    if (failure != 0) {
        return dbk_fail(error, DAYBOOK_ENOTFOUND,
                        "the HTTP monitor cannot listen on %s: %s; choose another address", listen->host,
                        uv_strerror(failure));
    }
    settings->address = (const struct sockaddr *)&address;
    return dbk_http_start(settings, &monitor->http, &monitor->sources.port, error);
}

static daybook_status start_http(dbk_monitor *monitor, daybook_error *error) {
    dbk_broker *broker = monitor->sources.broker;
    const dbk_options *options = broker->options;
    dbk_buf key, certificate;
    dbk_buf_init(&key, broker->allocator, PEM_SIZE_MAX);
    dbk_buf_init(&certificate, broker->allocator, PEM_SIZE_MAX);
    dbk_http_settings settings = {.allocator = broker->allocator,
                                  .host = options->http.host,
                                  .log = broker->log,
                                  .serve = serve,
                                  .is_light = is_light,
                                  .context = monitor};
    daybook_status status = DAYBOOK_OK;
    if (options->http_tls) {
        status = read_pem(broker, options->tls.key_file, &key, error);
        if (status == DAYBOOK_OK) status = read_pem(broker, options->tls.cert_file, &certificate, error);
        settings.key = (const char *)key.data;
        settings.certificate = (const char *)certificate.data;
    }
    if (status == DAYBOOK_OK) status = listen_there(monitor, &settings, error);
    if (key.data != NULL) OPENSSL_cleanse(key.data, key.size);
    dbk_buf_deinit(&key);
    dbk_buf_deinit(&certificate);
    return status;
}

static void say_where(dbk_monitor *monitor) {
    dbk_broker *broker = monitor->sources.broker;
    const dbk_listen_options *listen = &broker->options->http;
    const char *host = listen->host;
    bool is_any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    bool is_six = strchr(host, ':') != NULL && !is_any;
    const char *scheme = broker->options->http_tls ? "https" : "http";
    (void)snprintf(monitor->url, sizeof monitor->url, "%s://%s%s%s:%d", scheme, is_six ? "[" : "",
                   is_any ? "127.0.0.1" : host, is_six ? "]" : "", monitor->sources.port);
    dbk_broker_log(broker, INFO, "Starting %s monitor on %s%s%s:%d", scheme, is_six ? "[" : "", host,
                   is_six ? "]" : "", monitor->sources.port);
}

// What the broker tells, on the loop.

/// On the loop. Whoever walks that list steps over it.
static void forget_first(dbk_monitor *monitor) {
    for (wish *at = monitor->under_way; at != NULL; at = at->next) {
        dbk_monitor_snapshot_note_forgotten(at->snapshot, monitor->closed.first);
    }
    dbk_closed_list_forget_first(monitor->sources.broker->allocator, &monitor->closed);
}

/// A connection ends: it is remembered for /connz?state=closed.
static void note_closed(void *context, dbk_client *client) {
    dbk_monitor *monitor = context;
    int64_t count_max = monitor->sources.broker->options->limits.closed_clients_max;
    size_t room = count_max > 0 ? (size_t)count_max : 0;
    while (monitor->closed.count > 0 && monitor->closed.count >= room) forget_first(monitor);
    if (room > 0) dbk_closed_list_add(&monitor->closed, client);
}

/// It leaves the list of connections, which a snapshot may be walking along.
static void note_left(void *context, const dbk_client *client) {
    const dbk_monitor *monitor = context;
    for (wish *at = monitor->under_way; at != NULL; at = at->next) {
        dbk_monitor_snapshot_note_left(at->snapshot, client);
    }
}

daybook_status dbk_monitor_start(dbk_broker *broker, dbk_jetstream *jetstream, daybook_store *store,
                                 dbk_monitor **monitor_out, daybook_error *error) {
    *monitor_out = NULL;
    const dbk_options *options = broker->options;
    if (options->http.port == DBK_PORT_NONE) return DAYBOOK_OK;
    dbk_monitor *monitor = NULL;
    daybook_error local; // of what may end in a warning only
    daybook_error_init(&local);
    dbk_monitor_sources sources = {.broker = broker, .jetstream = jetstream, .store = store};
    DBK_TRY(make_monitor(&sources, &monitor, error));
    daybook_status status = set_base_path(monitor, options->http_base_path, &local);
    if (status == DAYBOOK_OK) status = start_http(monitor, &local);
    if (status == DAYBOOK_OK) {
        say_where(monitor);
        broker->observer = (dbk_broker_observer){note_closed, note_left, monitor};
        *monitor_out = monitor;
        return DAYBOOK_OK;
    }
    dbk_monitor_free(monitor);
    // Whoever asks for https is not given nothing instead.
    if (status != DAYBOOK_EUNSUPPORTED || options->http_tls) {
        return dbk_fail(error, status, "%s", local.message);
    }
    dbk_broker_log(broker, WARNING, "%s; http_port is passed over", local.message);
    return DAYBOOK_OK;
}

void dbk_monitor_stop(dbk_monitor *monitor) {
    if (monitor == NULL || monitor->http == NULL) return;
    pthread_mutex_lock(&monitor->lock);
    monitor->is_closing = true;
    pthread_cond_broadcast(&monitor->answered);
    pthread_mutex_unlock(&monitor->lock);
    dbk_http_stop(monitor->http);
    monitor->http = NULL;
}

void dbk_monitor_free(dbk_monitor *monitor) {
    if (monitor == NULL) return;
    const daybook_allocator *allocator = monitor->sources.broker->allocator;
    dbk_closed_list_deinit(allocator, &monitor->closed);
    (void)pthread_cond_destroy(&monitor->answered);
    (void)pthread_mutex_destroy(&monitor->lock);
    dbk_free(allocator, monitor);
}

int dbk_monitor_port(const dbk_monitor *monitor) {
    return monitor != NULL ? monitor->sources.port : 0;
}

const char *dbk_monitor_url(const dbk_monitor *monitor) {
    return monitor != NULL ? monitor->url : NULL;
}
