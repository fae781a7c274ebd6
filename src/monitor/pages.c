// SPDX-License-Identifier: Apache-2.0
// /varz, /subsz, /accountz, /accstatz, and those that tell of what a single server has not: /routez,
// /gatewayz, /leafz.
//
// Members and their order are nats-server's. What only Go has (gomaxprocs) is told as the number of
// processors, `go` as "none", as in INFO.
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "daybook/subject.h"
#include "monitor/page.h"

static void put_head(dbk_members *members, const dbk_page *page, const dbk_monitor_snapshot *snapshot) {
    dbk_put_text(members, "server_id", page->broker->id);
    dbk_put_time(members, "now", snapshot->now_ns);
}

static double seconds(int64_t duration_ns) {
    return (double)duration_ns / 1e9;
}

// /varz

static json_t *texts_value(const char *const *items, size_t count) {
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        if (dbk_append(array, dbk_text_value(daybook_text(items[i])))) continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

static void put_identity(dbk_members *members, const dbk_page *page, const dbk_monitor_snapshot *snapshot) {
    dbk_put_text(members, "server_id", page->broker->id);
    dbk_put_text(members, "server_name", snapshot->server_name);
    dbk_put_text(members, "version", snapshot->announced_version);
    dbk_put_number(members, "proto", 1);
    dbk_put_text(members, "go", "none");
    dbk_put_text(members, "host", snapshot->host);
    dbk_put_number(members, "port", snapshot->port);
    dbk_put_flag_if(members, "auth_required", snapshot->auth_required);
    dbk_put_flag_if(members, "tls_required", snapshot->tls_required);
    dbk_put_flag_if(members, "tls_verify", snapshot->tls_verify);
}

static void put_limits(dbk_members *members, const dbk_monitor_snapshot *snapshot) {
    const dbk_limit_options *limits = &snapshot->limits;
    dbk_put_number(members, "max_connections", limits->connections_max);
    dbk_put_number_if(members, "max_subscriptions", limits->subscriptions_max);
    dbk_put_number(members, "ping_interval", limits->ping_interval_ns);
    dbk_put_number(members, "ping_max", limits->pings_out_max);
    dbk_put_text(members, "http_host", snapshot->http_host);
    dbk_put_number(members, "http_port", snapshot->http_port);
    dbk_put_text(members, "http_base_path", snapshot->base_path);
    dbk_put_number(members, "https_port", snapshot->https_port);
    dbk_put_real(members, "auth_timeout", seconds(snapshot->auth_timeout_ns));
    dbk_put_number(members, "max_control_line", limits->control_line_max);
    dbk_put_number(members, "max_payload", limits->payload_max);
    dbk_put_number(members, "max_pending", limits->pending_max);
}

static json_t *jetstream_value(const dbk_page *page, const dbk_monitor_snapshot *snapshot) {
    dbk_members members = dbk_members_begin();
    if (snapshot->has_jetstream) {
        dbk_js_sums sums;
        (void)dbk_js_sum(page->store, &sums, NULL); // what cannot be told now is told as none
        dbk_members stats = dbk_members_begin();
        dbk_put_jetstream_stats(&stats, page, snapshot, &sums, false);
        dbk_put(&members, "config", dbk_jetstream_config_value(page, snapshot));
        dbk_put(&members, "stats", dbk_members_end(&stats));
        if (dbk_page_is_recent(page)) dbk_put(&members, "limits", dbk_jetstream_limits_value(snapshot));
    }
    return dbk_members_end(&members);
}

static void put_blocks(dbk_members *members, const dbk_page *page, const dbk_monitor_snapshot *snapshot) {
    static const char *const absent[] = {"cluster", "gateway", "leaf", "mqtt", "websocket"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) dbk_put(members, absent[i], json_object());
    dbk_put(members, "jetstream", jetstream_value(page, snapshot));
    dbk_put_real(members, "tls_timeout", seconds(snapshot->tls_timeout_ns));
    dbk_put_number(members, "write_deadline", snapshot->limits.write_deadline_ns);
}

static void put_process(dbk_members *members, dbk_page *page, const dbk_monitor_snapshot *snapshot) {
    size_t memory = 0;
    (void)uv_resident_set_memory(&memory); // 0 where it cannot be told
    unsigned cores = uv_available_parallelism();
    dbk_put_time(members, "start", page->broker->start_real_ns);
    dbk_put_time(members, "now", snapshot->now_ns);
    dbk_put_uptime(members, "uptime", snapshot->now_ns - page->broker->start_real_ns);
    dbk_put_count(members, "mem", memory);
    dbk_put_count(members, "cores", cores);
    dbk_put_count(members, "gomaxprocs", cores);
    dbk_put_real(members, "cpu", dbk_page_processor_percent(page));
}

static void put_traffic(dbk_members *members, const dbk_page *page, const dbk_monitor_snapshot *snapshot) {
    const dbk_broker_counters *counters = &snapshot->counters;
    dbk_put_count(members, "connections", snapshot->client_count);
    dbk_put_count(members, "total_connections", counters->connection_total);
    dbk_put_count(members, "routes", 0);
    dbk_put_count(members, "remotes", 0);
    dbk_put_count(members, "leafnodes", 0);
    dbk_put_count(members, "in_msgs", counters->in_messages);
    dbk_put_count(members, "out_msgs", counters->out_messages);
    dbk_put_count(members, "in_bytes", counters->in_bytes);
    dbk_put_count(members, "out_bytes", counters->out_bytes);
    dbk_put_count(members, "slow_consumers", counters->slow_consumer_count);
    if (dbk_page_is_recent(page)) {
        dbk_put_count(members, "stale_connections", counters->stale_connection_count);
        dbk_put_count(members, "stalled_clients", counters->stall_count);
    }
    dbk_put_count(members, "subscriptions", snapshot->interest.subscription_count);
}

static json_t *request_counts_value(const dbk_page *page) {
    dbk_members members = dbk_members_begin();
    const char *path;
    for (size_t i = 0;; i++) {
        size_t count = dbk_page_request_count(page, i, &path);
        if (path == NULL) break;
        if (count > 0) dbk_put_count(&members, path, count);
    }
    return dbk_members_end(&members);
}

/// Of clients, and of what a single server has not.
static json_t *by_kind_value(uint64_t of_clients) {
    dbk_members members = dbk_members_begin();
    dbk_put_count(&members, "clients", of_clients);
    dbk_put_count(&members, "routes", 0);
    dbk_put_count(&members, "gateways", 0);
    dbk_put_count(&members, "leafs", 0);
    return dbk_members_end(&members);
}

void dbk_page_varz(dbk_page *page) {
    dbk_monitor_snapshot *snapshot = dbk_page_look(page, &(dbk_monitor_snapshot_query){0});
    if (snapshot == NULL) return;
    dbk_members members = dbk_members_begin();
    put_identity(&members, page, snapshot);
    put_limits(&members, snapshot);
    put_blocks(&members, page, snapshot);
    put_process(&members, page, snapshot);
    put_traffic(&members, page, snapshot);
    dbk_put(&members, "http_req_stats", request_counts_value(page));
    dbk_put_time(&members, "config_load_time", snapshot->loaded_ns);
    if (dbk_page_is_recent(page)) dbk_put_text(&members, "config_digest", "");
    if (snapshot->tags.count > 0) {
        dbk_put(&members, "tags", texts_value(snapshot->tags.items, snapshot->tags.count));
    }
    dbk_put_text(&members, "system_account", "$SYS");
    if (dbk_page_is_recent(page)) {
        dbk_put(&members, "slow_consumer_stats", by_kind_value(snapshot->counters.slow_consumer_count));
        dbk_put(&members, "stale_connection_stats", by_kind_value(snapshot->counters.stale_connection_count));
    }
    dbk_page_forget(page, snapshot);
    dbk_page_send(page, dbk_members_end(&members));
}

// /subsz

json_t *dbk_subscription_value(const dbk_page *page, const char *account, const dbk_subscription_fact *fact) {
    dbk_members members = dbk_members_begin();
    if (account != NULL) dbk_put_text(&members, "account", account);
    if (account != NULL && dbk_page_is_recent(page)) dbk_put_text(&members, "account_tag", account);
    dbk_put_slice(&members, "subject", fact->filter);
    if (fact->queue_group.size > 0) dbk_put_slice(&members, "qgroup", fact->queue_group);
    dbk_put_slice(&members, "sid", fact->sid);
    dbk_put_count(&members, "msgs", fact->delivered_count);
    if (fact->delivered_max > 0) dbk_put_count(&members, "max", fact->delivered_max);
    dbk_put_count(&members, "cid", fact->cid);
    return dbk_members_end(&members);
}

static json_t *subscriptions_value(const dbk_page *page, const dbk_monitor_snapshot *snapshot) {
    json_t *array = json_array();
    for (size_t i = 0; i < snapshot->all.count; i++) {
        const dbk_subscription_fact *one = &snapshot->all.items[i];
        if (dbk_append(array, dbk_subscription_value(page, snapshot->account, one))) continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

static bool read_subsz(dbk_page *page, dbk_monitor_snapshot_query *query_out) {
    const char *subject = dbk_page_read_text(page, "test");
    *query_out = (dbk_monitor_snapshot_query){.subject = subject};
    if (!dbk_page_read_flag(page, "subs", &query_out->all_subscriptions) ||
        !dbk_page_read_range(page, DBK_PAGE_LIMIT_DEFAULT, &query_out->offset, &query_out->limit))
        return false;
    if (subject == NULL || daybook_subject_is_valid(daybook_text(subject))) return true;
    dbk_page_refuse_argument(page, "invalid test subject, must be valid publish subject: ", subject);
    return false;
}

static void put_interest(dbk_members *members, const dbk_interest_stats *stats) {
    dbk_put_count(members, "num_subscriptions", stats->subscription_count);
    dbk_put_count(members, "num_cache", stats->cache_count);
    dbk_put_count(members, "num_inserts", stats->insert_count);
    dbk_put_count(members, "num_removes", stats->remove_count);
    dbk_put_count(members, "num_matches", stats->match_count);
    dbk_put_real(members, "cache_hit_rate",
                 stats->match_count > 0 ? (double)stats->cache_hit_count / (double)stats->match_count : 0);
    dbk_put_count(members, "max_fanout", stats->fanout_max);
    dbk_put_real(members, "avg_fanout",
                 stats->fresh_count > 0 ? (double)stats->fanout_total / (double)stats->fresh_count : 0);
}

/// There is one account; another one has nothing.
static bool is_here(const dbk_monitor_snapshot *snapshot, const char *account) {
    return account == NULL || strcmp(account, snapshot->account) == 0;
}

void dbk_page_subsz(dbk_page *page) {
    static const dbk_interest_stats none;
    dbk_monitor_snapshot_query query;
    if (!read_subsz(page, &query)) return;
    dbk_monitor_snapshot *snapshot = dbk_page_look(page, &query);
    if (snapshot == NULL) return;
    bool has_account = is_here(snapshot, dbk_page_read_text(page, "acc"));
    dbk_members members = dbk_members_begin();
    put_head(&members, page, snapshot);
    put_interest(&members, has_account ? &snapshot->interest : &none);
    dbk_put_count(&members, "total", has_account ? snapshot->subscription_total : 0);
    dbk_put_count(&members, "offset", query.offset);
    dbk_put_count(&members, "limit", query.limit);
    if (has_account && snapshot->all.count > 0) {
        dbk_put(&members, "subscriptions_list", subscriptions_value(page, snapshot));
    }
    dbk_page_forget(page, snapshot);
    dbk_page_send(page, dbk_members_end(&members));
}

// /accountz and /accstatz. The system's account is told of, as others are asked for it; nobody is in it.

static json_t *account_value(const dbk_page *page, const dbk_monitor_snapshot *snapshot, bool is_system) {
    static const dbk_interest_stats none;
    dbk_members members = dbk_members_begin(), stats = dbk_members_begin();
    const char *name = is_system ? "$SYS" : snapshot->account;
    put_interest(&stats, is_system ? &none : &snapshot->interest);
    dbk_put_text(&members, "account_name", name);
    dbk_put_time(&members, "update_time", snapshot->loaded_ns);
    dbk_put_flag_if(&members, "is_system", is_system);
    dbk_put_flag(&members, "expired", false);
    dbk_put_flag(&members, "complete", true);
    dbk_put_flag(&members, "jetstream_enabled", snapshot->has_jetstream && !is_system);
    dbk_put_count(&members, "leafnode_connections", 0);
    dbk_put_count(&members, "client_connections", is_system ? 0 : snapshot->client_count);
    dbk_put_count(&members, "subscriptions", is_system ? 0 : snapshot->interest.subscription_count);
    if (dbk_page_is_recent(page)) dbk_put_text(&members, "name_tag", name);
    dbk_put(&members, "sublist_stats", dbk_members_end(&stats));
    return dbk_members_end(&members);
}

static void refuse_account(dbk_page *page, const char *asked) {
    char complaint[160];
    (void)snprintf(complaint, sizeof complaint, "Account %.100s does not exist", asked);
    dbk_page_refuse_argument(page, "", complaint);
}

void dbk_page_accountz(dbk_page *page) {
    const char *asked = dbk_page_read_text(page, "acc");
    dbk_monitor_snapshot *snapshot = dbk_page_look(page, &(dbk_monitor_snapshot_query){0});
    if (snapshot == NULL) return;
    dbk_members members = dbk_members_begin();
    put_head(&members, page, snapshot);
    dbk_put_text(&members, "system_account", "$SYS");
    bool is_system = asked != NULL && strcmp(asked, "$SYS") == 0;
    if (asked == NULL) {
        const char *const accounts[] = {snapshot->account, "$SYS"};
        dbk_put(&members, "accounts", texts_value(accounts, 2));
    } else {
        dbk_put(&members, "account_detail", account_value(page, snapshot, is_system));
    }
    json_t *root = dbk_members_end(&members);
    if (is_system || is_here(snapshot, asked)) {
        dbk_page_send(page, root);
    } else {
        json_decref(root);
        refuse_account(page, asked);
    }
    dbk_page_forget(page, snapshot);
}

static json_t *traffic_value(const dbk_page *page, uint64_t message_count, uint64_t byte_count) {
    static const char *const absent[] = {"gateways", "routes", "leafs"};
    dbk_members members = dbk_members_begin();
    dbk_put_count(&members, "msgs", message_count);
    dbk_put_count(&members, "bytes", byte_count);
    for (size_t i = 0; i < sizeof absent / sizeof *absent && dbk_page_is_recent(page); i++) {
        dbk_members none = dbk_members_begin();
        dbk_put_count(&none, "msgs", 0);
        dbk_put_count(&none, "bytes", 0);
        dbk_put(&members, absent[i], dbk_members_end(&none));
    }
    return dbk_members_end(&members);
}

static json_t *account_statistics_value(const dbk_page *page, const dbk_monitor_snapshot *snapshot,
                                        const char *name) {
    static const dbk_broker_counters none;
    bool is_system = name != snapshot->account;
    const dbk_broker_counters *counters = is_system ? &none : &snapshot->counters;
    uint64_t client_count = is_system ? 0 : snapshot->client_count;
    dbk_members members = dbk_members_begin();
    dbk_put_text(&members, "acc", name);
    if (dbk_page_is_recent(page)) dbk_put_text(&members, "name", name);
    dbk_put_count(&members, "conns", client_count);
    dbk_put_count(&members, "leafnodes", 0);
    dbk_put_count(&members, "total_conns", client_count);
    if (dbk_page_is_recent(page)) {
        dbk_put_count(&members, "num_subscriptions", is_system ? 0 : snapshot->interest.subscription_count);
    }
    dbk_put(&members, "sent", traffic_value(page, counters->out_messages, counters->out_bytes));
    dbk_put(&members, "received", traffic_value(page, counters->in_messages, counters->in_bytes));
    dbk_put_count(&members, "slow_consumers", counters->slow_consumer_count);
    return dbk_members_end(&members);
}

void dbk_page_accstatz(dbk_page *page) {
    bool with_unused;
    if (!dbk_page_read_flag(page, "unused", &with_unused)) return;
    dbk_monitor_snapshot *snapshot = dbk_page_look(page, &(dbk_monitor_snapshot_query){0});
    if (snapshot == NULL) return;
    json_t *array = json_array();
    bool is_whole = true;
    if (with_unused || snapshot->client_count > 0) {
        is_whole = dbk_append(array, account_statistics_value(page, snapshot, snapshot->account));
    }
    if (with_unused && is_whole) {
        is_whole = dbk_append(array, account_statistics_value(page, snapshot, "$SYS"));
    }
    dbk_members members = dbk_members_begin();
    put_head(&members, page, snapshot);
    dbk_put(&members, "account_statz", array);
    if (!is_whole) members.has_failed = true;
    dbk_page_forget(page, snapshot);
    dbk_page_send(page, dbk_members_end(&members));
}

// What a single server has not.

void dbk_page_routez(dbk_page *page) {
    bool unused; // there is nothing to detail
    if (!dbk_page_read_flag(page, "subs", &unused)) return;
    dbk_monitor_snapshot *snapshot = dbk_page_look(page, &(dbk_monitor_snapshot_query){0});
    if (snapshot == NULL) return;
    dbk_members members = dbk_members_begin();
    dbk_put_text(&members, "server_id", page->broker->id);
    if (dbk_page_is_recent(page)) dbk_put_text(&members, "server_name", snapshot->server_name);
    dbk_put_time(&members, "now", snapshot->now_ns);
    dbk_put_count(&members, "num_routes", 0);
    dbk_put(&members, "routes", json_array());
    dbk_page_forget(page, snapshot);
    dbk_page_send(page, dbk_members_end(&members));
}

void dbk_page_gatewayz(dbk_page *page) {
    bool unused; // there is nothing to detail
    if (!dbk_page_read_flag(page, "accs", &unused)) return;
    dbk_monitor_snapshot *snapshot = dbk_page_look(page, &(dbk_monitor_snapshot_query){0});
    if (snapshot == NULL) return;
    dbk_members members = dbk_members_begin();
    put_head(&members, page, snapshot);
    dbk_put(&members, "outbound_gateways", json_object());
    dbk_put(&members, "inbound_gateways", json_object());
    dbk_page_forget(page, snapshot);
    dbk_page_send(page, dbk_members_end(&members));
}

void dbk_page_leafz(dbk_page *page) {
    bool unused; // there is nothing to detail
    if (!dbk_page_read_flag(page, "subs", &unused)) return;
    dbk_monitor_snapshot *snapshot = dbk_page_look(page, &(dbk_monitor_snapshot_query){0});
    if (snapshot == NULL) return;
    dbk_members members = dbk_members_begin();
    put_head(&members, page, snapshot);
    dbk_put_count(&members, "leafnodes", 0);
    dbk_put(&members, "leafs", json_array());
    dbk_page_forget(page, snapshot);
    dbk_page_send(page, dbk_members_end(&members));
}
