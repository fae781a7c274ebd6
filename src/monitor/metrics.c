// SPDX-License-Identifier: Apache-2.0
// /metrics: the same numbers for Prometheus, in its text format 0.0.4. docs/reference/metrics.md lists them,
// and a test compares the two.
//
// Names begin with daybook_; those of the process are Prometheus's own. Series of streams have a label
// `stream`, those of consumers `stream` and `consumer`; beyond SERIES_MAX of either (by name) the rest has
// none, so that a scrape stays bounded. Sums are over all.
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/number.h"
#include "monitor/page.h"

enum { SERIES_MAX = 1000, ARENA_SIZE = 16 * 1024 };

// The format.

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
    put(out, " ");
    dbk_decimal_append(out, value);
    put(out, "\n");
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

static void seconds(dbk_buf *out, const char *name, const char *type, const char *help, double value) {
    char text[64];
    describe(out, name, type, help);
    (void)snprintf(text, sizeof text, " %.6f\n", value);
    put(out, name);
    put(out, text);
}

/// A label's value: backslash, quote and newline are escaped, what is no UTF-8 is told as U+FFFD.
static void put_label(dbk_buf *out, dbk_slice value) {
    const char *bytes = value.data;
    for (size_t i = 0; i < value.size;) {
        size_t size = dbk_utf8_size(bytes + i, value.size - i);
        if (size == 0) {
            put(out, "\xef\xbf\xbd");
        } else if (bytes[i] == '\n') {
            put(out, "\\n");
        } else {
            if (bytes[i] == '"' || bytes[i] == '\\') dbk_buf_append_u8(out, '\\');
            dbk_buf_append(out, bytes + i, size);
        }
        i += size > 0 ? size : 1;
    }
}

// The server.

static void put_info(dbk_buf *out, const dbk_page *page, const dbk_monitor_snapshot *snapshot) {
    describe(out, "daybook_server_info", "gauge", "The server, as labels; always 1.");
    put(out, "daybook_server_info{server_id=\"");
    put(out, page->broker->id);
    put(out, "\",server_name=\"");
    put_label(out, daybook_text(snapshot->server_name));
    put(out, "\",version=\"");
    put_label(out, daybook_text(snapshot->announced_version));
    put(out, "\"}");
    put_value(out, 1);
}

static void put_connections(dbk_buf *out, const dbk_monitor_snapshot *snapshot) {
    const dbk_broker_counters *counters = &snapshot->counters;
    gauge(out, "daybook_connections", "Connections of clients.", snapshot->client_count);
    counter(out, "daybook_connections_accepted_total", "Connections accepted.", counters->connection_total);
    counter(out, "daybook_auth_errors_total", "Connections that were not let in.",
            counters->auth_error_count);
    counter(out, "daybook_slow_consumers_total", "Connections closed because they were too slow.",
            counters->slow_consumer_count);
    counter(out, "daybook_stale_connections_total", "Connections closed because they did not answer.",
            counters->stale_connection_count);
    counter(out, "daybook_publisher_stalls_total", "Times a publisher had to wait for a receiver.",
            counters->stall_count);
    gauge(out, "daybook_lame_duck", "1 while the server takes no new clients.", snapshot->is_lame_duck);
}

static void put_messages(dbk_buf *out, const dbk_page *page, const dbk_monitor_snapshot *snapshot) {
    const dbk_broker_counters *counters = &snapshot->counters;
    const dbk_interest_stats *interest = &snapshot->interest;
    counter(out, "daybook_received_messages_total", "Messages received from clients.", counters->in_messages);
    counter(out, "daybook_received_bytes_total", "Bytes of these.", counters->in_bytes);
    counter(out, "daybook_sent_messages_total", "Messages sent to clients.", counters->out_messages);
    counter(out, "daybook_sent_bytes_total", "Bytes of these.", counters->out_bytes);
    gauge(out, "daybook_subscriptions", "Subscriptions, the server's own included.",
          interest->subscription_count);
    counter(out, "daybook_routed_messages_total", "Messages for whose subject receivers were looked up.",
            interest->match_count);
    counter(out, "daybook_route_cache_hits_total", "Of these, found in the cache by subject.",
            interest->cache_hit_count);
    counter(out, "daybook_monitor_slices_total", "Turns of the loop in which it copied for this monitor.",
            dbk_page_slice_count(page));
}

static void put_process(dbk_buf *out, const dbk_page *page) {
    size_t memory = 0;
    uv_rusage_t usage;
    if (uv_resident_set_memory(&memory) == 0) {
        gauge(out, "process_resident_memory_bytes", "Resident memory size in bytes.", memory);
    }
    seconds(out, "process_start_time_seconds", "gauge", "Start of the server since the epoch in seconds.",
            (double)page->broker->start_real_ns / 1e9);
    if (uv_getrusage(&usage) != 0) return;
    seconds(out, "process_cpu_seconds_total", "counter", "Processor time spent, in seconds.",
            (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}

// JetStream.

static void put_jetstream(dbk_buf *out, const dbk_page *page, const dbk_monitor_snapshot *snapshot) {
    dbk_js_sums sums;
    const dbk_jetstream_counters *api = &snapshot->jetstream;
    counter(out, "daybook_jetstream_api_requests_total", "Requests of JetStream's API.", api->api_total);
    counter(out, "daybook_jetstream_api_errors_total", "Those answered with an error.", api->api_errors);
    gauge(out, "daybook_jetstream_api_in_flight", "Those not answered yet.", api->api_in_flight);
    counter(out, "daybook_jetstream_acks_total",
            "Acknowledgements received: also negative ones, progress and terminations.", api->ack_total);
    if (dbk_js_sum(page->store, &sums, NULL) != DAYBOOK_OK) return;
    gauge(out, "daybook_jetstream_streams", "Streams.", sums.stream_count);
    gauge(out, "daybook_jetstream_consumers", "Consumers.", sums.consumer_count);
    gauge(out, "daybook_jetstream_messages", "Messages in all streams.", sums.message_count);
    gauge(out, "daybook_jetstream_storage_bytes", "Bytes of messages in streams on disk.",
          sums.bytes[DBK_JS_FILES]);
    gauge(out, "daybook_jetstream_memory_bytes", "Bytes of messages in streams in memory.",
          sums.bytes[DBK_JS_MEMORY]);
}

// The store.

static void put_store(dbk_buf *out, const dbk_page *page) {
    daybook_store_info info = {.size = sizeof info};
    // A store that cannot tell has no series: a gap in a chart says it.
    if (daybook_info(page->store, &info, NULL) != DAYBOOK_OK) return;
    counter(out, "daybook_store_commits_total", "Appends and removals made durable.", info.commit_count);
    counter(out, "daybook_store_syncs_total", "Groups of these, each with one sync of the journal.",
            info.group_count);
    counter(out, "daybook_store_flushes_total", "Segments written from memory.", info.flush_count);
    counter(out, "daybook_store_flushed_bytes_total", "Bytes of these.", info.flushed_bytes);
    counter(out, "daybook_store_merges_total", "Merges of segments.", info.merge_count);
    counter(out, "daybook_store_merged_bytes_total", "Bytes of segments written by merging.",
            info.merged_bytes);
    gauge(out, "daybook_store_events", "Events stored, the store's own included.", info.event_count);
    gauge(out, "daybook_store_durable_position", "Position up to which events are on disk.",
          info.durable_position);
    gauge(out, "daybook_store_flushed_position", "Position up to which segments hold them.",
          info.flushed_position);
    gauge(out, "daybook_store_segments", "Segments.", info.segment_count);
    gauge(out, "daybook_store_segment_bytes", "Bytes of segments on disk.", info.segment_bytes);
    gauge(out, "daybook_store_journal_bytes", "Bytes the journal takes on disk.", info.journal_bytes);
    gauge(out, "daybook_store_journal_used_bytes", "Bytes of it that an opening would replay.",
          info.journal_used_bytes);
    gauge(out, "daybook_store_memory_bytes", "Memory tables and caches.", info.memory_bytes);
    gauge(out, "daybook_store_poisoned", "1: a sync failed, nothing is stored until the store is reopened.",
          info.poisoned != 0);
    gauge(out, "daybook_store_read_only", "1: the store takes nothing.", info.read_only != 0);
    seconds(out, "daybook_store_clock_held_seconds", "gauge", "How far the clock jumped ahead unconfirmed.",
            (double)info.clock_held_ns / 1e9);
}

// Streams and consumers: listed once, told family by family, as all series of a name stand together.

enum { VALUES_MAX = 6 };

typedef struct series_row {
    dbk_slice labels; // stream="…",consumer="…"
    uint64_t values[VALUES_MAX];
} series_row;

typedef struct series_table {
    const dbk_page *page;
    const daybook_allocator *allocator;
    dbk_arena *arena;
    series_row *rows;
    size_t count, capacity;
    bool is_short_of_memory;
} series_table;

typedef struct series_family {
    const char *name, *type, *help;
} series_family;

static series_row *add_row(series_table *table, dbk_slice stream, dbk_slice consumer) {
    dbk_buf labels;
    dbk_buf_init(&labels, table->allocator, ARENA_SIZE);
    put(&labels, "stream=\"");
    put_label(&labels, stream);
    if (consumer.size > 0) {
        put(&labels, "\",consumer=\"");
        put_label(&labels, consumer);
    }
    put(&labels, "\"");
    series_row *rows =
        dbk_grow_array(table->allocator, table->rows, &table->capacity, table->count + 1, sizeof *rows);
    if (rows != NULL) table->rows = rows;
    dbk_slice copy = {0};
    if (dbk_buf_status(&labels) == DAYBOOK_OK) {
        copy = dbk_arena_copy_text(table->arena, daybook_bytes(labels.data, labels.size));
    }
    dbk_buf_deinit(&labels);
    table->is_short_of_memory = rows == NULL || copy.data == NULL;
    if (table->is_short_of_memory) return NULL;
    rows[table->count] = (series_row){.labels = copy};
    return &rows[table->count++];
}

static int add_stream(void *context, const daybook_stream_info *info) {
    series_table *table = context;
    if (dbk_page_is_late(table->page)) return 1;
    if (dbk_js_is_hidden(info->config.name)) return 0;
    series_row *row = add_row(table, info->config.name, daybook_bytes(NULL, 0));
    if (row == NULL) return 1;
    row->values[0] = info->message_count;
    row->values[1] = info->byte_count;
    row->values[2] = info->first_seq;
    row->values[3] = info->last_seq;
    return table->count == SERIES_MAX;
}

static void set_consumer(series_row *row, const daybook_consumer_info *info) {
    row->values[0] = info->pending_count;
    row->values[1] = info->ack_pending_count;
    row->values[2] = info->redelivered_count;
    row->values[3] = info->delivered_number;
    row->values[4] = info->floor_seq;
    row->values[5] = info->given_up_count;
}

// A scrape comes every few seconds and shall cost little: what is pending is told as far as it is known.
static int add_consumer(void *context, dbk_slice stream, dbk_slice name) {
    series_table *table = context;
    daybook_store *store = table->page->store;
    daybook_consumer_info *info;
    if (dbk_page_is_late(table->page)) return 1;
    if (dbk_js_is_hidden(stream)) return 0;
    // One that is gone meanwhile, or cannot be told of, has no series.
    if (daybook_consumer_look(store, stream, name, &info, NULL) != DAYBOOK_OK) return 0;
    series_row *row = add_row(table, stream, name);
    if (row != NULL) set_consumer(row, info);
    daybook_consumer_info_release(store, info);
    return row == NULL || table->count == SERIES_MAX;
}

static void put_table(dbk_buf *out, const series_table *table, const series_family *families, size_t count) {
    for (size_t i = 0; i < count; i++) {
        describe(out, families[i].name, families[i].type, families[i].help);
        for (size_t j = 0; j < table->count; j++) {
            put(out, families[i].name);
            put(out, "{");
            dbk_buf_append_slice(out, table->rows[j].labels);
            put(out, "}");
            put_value(out, table->rows[j].values[i]);
        }
    }
}

static void put_series(dbk_buf *out, const dbk_page *page) {
    static const series_family streams[] = {
        {"daybook_stream_messages", "gauge", "Messages of a stream."},
        {"daybook_stream_bytes", "gauge", "Bytes of a stream's messages."},
        {"daybook_stream_first_sequence", "gauge", "Sequence number of a stream's oldest message."},
        {"daybook_stream_last_sequence", "gauge", "Sequence number of a stream's newest message."},
    };
    static const series_family consumers[] = {
        {"daybook_consumer_pending_messages", "gauge", "Messages not delivered yet."},
        {"daybook_consumer_ack_pending_messages", "gauge", "Messages delivered and not acknowledged."},
        {"daybook_consumer_redelivered_messages", "gauge", "Of these, delivered more than once."},
        {"daybook_consumer_deliveries_total", "counter", "Deliveries, repeated ones too."},
        {"daybook_consumer_ack_floor_sequence", "gauge", "Everything up to here is settled."},
        {"daybook_consumer_given_up_total", "counter", "Messages delivered max_deliver times in vain."},
    };
    daybook_store *store = page->store;
    series_table table = {.page = page, .allocator = page->broker->allocator};
    if (dbk_arena_new(table.allocator, ARENA_SIZE, &table.arena) != DAYBOOK_OK) return;
    if (daybook_stream_list(store, add_stream, &table, NULL) == DAYBOOK_OK) {
        put_table(out, &table, streams, sizeof streams / sizeof *streams);
    }
    table.count = 0;
    if (daybook_consumer_names(store, daybook_bytes(NULL, 0), add_consumer, &table, NULL) == DAYBOOK_OK) {
        put_table(out, &table, consumers, sizeof consumers / sizeof *consumers);
    }
    dbk_free(table.allocator, table.rows);
    dbk_arena_free(table.arena);
}

void dbk_page_metrics(dbk_page *page) {
    dbk_monitor_snapshot *snapshot = dbk_page_look(page, &(dbk_monitor_snapshot_query){0});
    if (snapshot == NULL) return;
    dbk_buf *out = &page->exchange->body;
    page->exchange->content_type = "text/plain; version=0.0.4; charset=utf-8";
    put_info(out, page, snapshot);
    put_connections(out, snapshot);
    put_messages(out, page, snapshot);
    put_process(out, page);
    if (snapshot->has_jetstream) {
        put_jetstream(out, page, snapshot);
        put_store(out, page);
        put_series(out, page);
    }
    dbk_page_forget(page, snapshot);
}
