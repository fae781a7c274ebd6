// SPDX-License-Identifier: Apache-2.0
// /metrics: the same numbers for Prometheus, in its text format 0.0.4.
//
// Names begin with daybook_; those of the process are Prometheus's own. Series of streams have a label
// `stream`; above STREAMS_MAX streams (by name) the rest has none, so that a scrape stays bounded.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/api_call.h"
#include "server/monitor_page.h"

enum { STREAMS_MAX = 1000 };

static void put(dbk_buf *out, const char *text) {
    dbk_buf_append(out, text, strlen(text));
}

static void describe(dbk_buf *out, const char *name, const char *type, const char *help) {
    put(out, "# HELP ");
    put(out, name);
    put(out, " ");
    put(out, help);
    put(out, "\n# TYPE ");
    put(out, name);
    put(out, " ");
    put(out, type);
    put(out, "\n");
}

static void put_value(dbk_buf *out, uint64_t value) {
    char text[32];
    (void)snprintf(text, sizeof text, " %" PRIu64 "\n", value);
    put(out, text);
}

static void gauge(dbk_buf *out, const char *name, const char *help, uint64_t value) {
    describe(out, name, "gauge", help);
    put(out, name);
    put_value(out, value);
}

static void counter(dbk_buf *out, const char *name, const char *help, uint64_t value) {
    describe(out, name, "counter", help);
    put(out, name);
    put_value(out, value);
}

// A label's value: backslash, quote and newline are escaped.
static void put_label(dbk_buf *out, dbk_slice value) {
    const char *bytes = value.data;
    for (size_t i = 0; i < value.size; i++) {
        if (bytes[i] == '\n') {
            put(out, "\\n");
            continue;
        }
        if (bytes[i] == '"' || bytes[i] == '\\') dbk_buf_append_u8(out, '\\');
        dbk_buf_append_u8(out, (uint8_t)bytes[i]);
    }
}

static void put_server(dbk_buf *out, const dbk_page *page, const dbk_monitor_snapshot *snapshot) {
    const dbk_server_counters *counters = &snapshot->counters;
    describe(out, "daybook_server_info", "gauge", "The server, as labels.");
    put(out, "daybook_server_info{server_id=\"");
    put(out, page->server->id);
    put(out, "\",server_name=\"");
    put_label(out, daybook_text(snapshot->server_name));
    put(out, "\",version=\"");
    put_label(out, daybook_text(snapshot->announced_version));
    put(out, "\"}");
    put_value(out, 1);
    gauge(out, "daybook_connections", "Connections of clients.", snapshot->client_count);
    counter(out, "daybook_connections_total", "Connections ever accepted.", counters->connection_total);
    gauge(out, "daybook_subscriptions", "Subscriptions, the server's own included.",
          snapshot->interest.subscription_count);
    counter(out, "daybook_in_messages_total", "Messages received.", counters->in_messages);
    counter(out, "daybook_in_bytes_total", "Bytes of messages received.", counters->in_bytes);
    counter(out, "daybook_out_messages_total", "Messages sent.", counters->out_messages);
    counter(out, "daybook_out_bytes_total", "Bytes of messages sent.", counters->out_bytes);
    counter(out, "daybook_slow_consumers_total", "Connections closed as they were too slow.",
            counters->slow_consumer_count);
    counter(out, "daybook_stale_connections_total", "Connections closed as they did not answer.",
            counters->stale_connection_count);
    counter(out, "daybook_auth_errors_total", "Connections that were not let in.",
            counters->auth_error_count);
    gauge(out, "daybook_lame_duck", "1 while the server takes no new clients.", snapshot->is_lame_duck);
}

static void put_process(dbk_buf *out, const dbk_page *page) {
    size_t memory = 0;
    uv_rusage_t usage;
    char text[64];
    if (uv_resident_set_memory(&memory) == 0) {
        gauge(out, "process_resident_memory_bytes", "Resident memory size in bytes.", memory);
    }
    gauge(out, "process_start_time_seconds", "Start time of the server since the epoch in seconds.",
          (uint64_t)(page->server->start_real_ns / 1000000000));
    if (uv_getrusage(&usage) != 0) return;
    double seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    describe(out, "process_cpu_seconds_total", "counter", "Processor time spent in seconds.");
    (void)snprintf(text, sizeof text, "process_cpu_seconds_total %.6f\n", seconds);
    put(out, text);
}

static void put_jetstream(dbk_buf *out, const dbk_page *page, const dbk_monitor_snapshot *snapshot) {
    dbk_jetstream_facts facts;
    const dbk_jetstream_counters *api = &snapshot->jetstream;
    counter(out, "daybook_jetstream_api_requests_total", "Requests of JetStream's API.", api->api_total);
    counter(out, "daybook_jetstream_api_errors_total", "Those answered with an error.", api->api_errors);
    gauge(out, "daybook_jetstream_api_in_flight", "Those not answered yet.", api->api_in_flight);
    if (!dbk_jetstream_sum(page, &facts)) return;
    gauge(out, "daybook_jetstream_streams", "Streams.", facts.stream_count);
    gauge(out, "daybook_jetstream_consumers", "Consumers.", facts.consumer_count);
    gauge(out, "daybook_jetstream_messages", "Messages in all streams.", facts.message_count);
    gauge(out, "daybook_jetstream_storage_bytes", "Bytes of messages in streams on disk.", facts.storage);
    gauge(out, "daybook_jetstream_memory_bytes", "Bytes of messages in streams in memory.", facts.memory);
}

// Prometheus wants all series of a name together: so one listing for each.
typedef struct stream_series {
    dbk_buf *out;
    const char *name;
    uint64_t (*value)(const daybook_stream_info *info);
    size_t count;
} stream_series;

static int put_stream(void *context, const daybook_stream_info *info) {
    stream_series *series = context;
    if (dbk_js_is_hidden(info->config.name)) return 0;
    put(series->out, series->name);
    put(series->out, "{stream=\"");
    put_label(series->out, info->config.name);
    put(series->out, "\"}");
    put_value(series->out, series->value(info));
    return ++series->count == STREAMS_MAX;
}

static uint64_t message_count(const daybook_stream_info *info) {
    return info->message_count;
}
static uint64_t byte_count(const daybook_stream_info *info) {
    return info->byte_count;
}
static uint64_t last_seq(const daybook_stream_info *info) {
    return info->last_seq;
}

static void put_streams(dbk_buf *out, const dbk_page *page) {
    static const struct {
        const char *name, *help;
        uint64_t (*value)(const daybook_stream_info *info);
    } kinds[] = {
        {"daybook_stream_messages", "Messages of a stream.", message_count},
        {"daybook_stream_bytes", "Bytes of a stream's messages.", byte_count},
        {"daybook_stream_last_sequence", "Sequence number of a stream's last message.", last_seq},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        stream_series series = {.out = out, .name = kinds[i].name, .value = kinds[i].value};
        describe(out, kinds[i].name, "gauge", kinds[i].help);
        // A store that cannot list them now has no series: a gap in a chart says it.
        (void)daybook_stream_list(page->server->store, put_stream, &series, NULL);
    }
}

void dbk_page_metrics(dbk_page *page) {
    dbk_monitor_snapshot *snapshot = dbk_page_look(page, &(dbk_monitor_snapshot_query){0});
    if (snapshot == NULL) return;
    dbk_buf *out = &page->exchange->body;
    page->exchange->content_type = "text/plain; version=0.0.4; charset=utf-8";
    put_server(out, page, snapshot);
    put_process(out, page);
    if (snapshot->has_jetstream) {
        put_jetstream(out, page, snapshot);
        put_streams(out, page);
    }
    dbk_page_forget(page, snapshot);
}
