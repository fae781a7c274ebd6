// SPDX-License-Identifier: Apache-2.0
// /connz: connections, a page of them.
//
//     sort=cid|start|subs|pending|msgs_to|msgs_from|bytes_to|bytes_from|last|idle|uptime|stop|reason|rtt
//     limit, offset    of those that fit; 1024 by default, DBK_MONITOR_SNAPSHOT_CONNECTIONS_MAX at most
//     subs=1|detail    their subscriptions
//     state=open|closed|any    open by default; ended ones are remembered up to max_closed_clients
//     cid, user        of one connection (in any state), of one user's
//     auth=1           with the user each of them is
//
// `total` is how many fit, as far as the page shows `num_connections` of them.
#include <string.h>

#include "server/monitor_page.h"

typedef struct connz_request {
    dbk_monitor_snapshot_query query;
    bool with_user;
    bool with_details;
} connz_request;

static const struct {
    const char *name;
    dbk_connection_sort sort;
} sorts[] = {
    {"cid", DBK_SORT_CID},
    {"start", DBK_SORT_START},
    {"subs", DBK_SORT_SUBSCRIPTIONS},
    {"pending", DBK_SORT_PENDING},
    {"msgs_to", DBK_SORT_MESSAGES_TO},
    {"msgs_from", DBK_SORT_MESSAGES_FROM},
    {"bytes_to", DBK_SORT_BYTES_TO},
    {"bytes_from", DBK_SORT_BYTES_FROM},
    {"last", DBK_SORT_LAST},
    {"idle", DBK_SORT_IDLE},
    {"uptime", DBK_SORT_UPTIME},
    {"stop", DBK_SORT_STOP},
    {"reason", DBK_SORT_REASON},
    {"rtt", DBK_SORT_RTT},
};

static bool read_sort(dbk_page *page, dbk_monitor_snapshot_query *query) {
    const char *name = dbk_page_read_text(page, "sort");
    query->sort = DBK_SORT_CID;
    if (name == NULL) return true;
    for (size_t i = 0; i < sizeof sorts / sizeof *sorts; i++) {
        if (strcmp(name, sorts[i].name) != 0) continue;
        query->sort = sorts[i].sort;
        bool is_of_ended = query->sort == DBK_SORT_STOP || query->sort == DBK_SORT_REASON;
        if (!is_of_ended || !query->open_connections) return true;
        dbk_page_refuse(page, DBK_HTTP_BAD_REQUEST, "sort by %s only valid on closed connections", name);
        return false;
    }
    dbk_page_refuse(page, DBK_HTTP_BAD_REQUEST, "invalid sorting option");
    return false;
}

static bool read_state(dbk_page *page, dbk_monitor_snapshot_query *query) {
    const char *state = dbk_page_read_text(page, "state");
    query->open_connections = query->closed_connections = false;
    if (state == NULL || strcmp(state, "open") == 0 || strcmp(state, "0") == 0) {
        query->open_connections = true;
    } else if (strcmp(state, "closed") == 0 || strcmp(state, "1") == 0) {
        query->closed_connections = true;
    } else if (strcmp(state, "any") == 0 || strcmp(state, "all") == 0 || strcmp(state, "2") == 0) {
        query->open_connections = query->closed_connections = true;
    } else {
        dbk_page_refuse(page, DBK_HTTP_BAD_REQUEST, "Error decoding state: it is open, closed or any");
        return false;
    }
    return true;
}

static bool read_request(dbk_page *page, connz_request *request_out) {
    dbk_monitor_snapshot_query *query = &request_out->query;
    int64_t cid;
    *request_out = (connz_request){0};
    const char *subscriptions = dbk_page_read_text(page, "subs");
    if (subscriptions != NULL && strcmp(subscriptions, "detail") == 0) {
        request_out->with_details = query->with_subscriptions = true;
    } else if (!dbk_page_read_flag(page, "subs", &query->with_subscriptions)) {
        return false;
    }
    if (!dbk_page_read_flag(page, "auth", &request_out->with_user) ||
        !dbk_page_read_range(page, DBK_PAGE_LIMIT_DEFAULT, &query->offset, &query->limit) ||
        !dbk_page_read_number(page, "cid", &cid) || !read_state(page, query) || !read_sort(page, query))
        return false;
    query->user = dbk_page_read_text(page, "user");
    query->cid = cid > 0 ? (uint64_t)cid : 0;
    if (query->cid != 0) query->open_connections = query->closed_connections = true;
    return true;
}

static json_t *subscriptions_value(const dbk_monitor_snapshot *snapshot, const dbk_connection_fact *fact,
                                   bool in_detail) {
    json_t *array = json_array();
    for (size_t i = 0; i < fact->subscription_copied; i++) {
        const dbk_subscription_fact *one = &fact->subscriptions[i];
        if (dbk_append(array,
                       in_detail ? dbk_subscription_value(snapshot, one) : dbk_text_value(one->filter)))
            continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

static void put_times(dbk_members *members, const dbk_monitor_snapshot *snapshot,
                      const dbk_connection_fact *fact) {
    int64_t end_ns = fact->stopped_ns != 0 ? fact->stopped_ns : snapshot->now_ns;
    dbk_put_time(members, "start", fact->started_ns);
    dbk_put_time(members, "last_activity", fact->active_ns);
    if (fact->stopped_ns != 0) {
        dbk_put_time(members, "stop", fact->stopped_ns);
        dbk_put_text_if(members, "reason", fact->reason);
    }
    dbk_put_duration_if(members, "rtt", fact->rtt_ns);
    dbk_put_uptime(members, "uptime", end_ns - fact->started_ns);
    dbk_put_uptime(members, "idle", end_ns - fact->active_ns);
}

static json_t *connection_value(const dbk_monitor_snapshot *snapshot, const connz_request *request,
                                const dbk_connection_fact *fact) {
    dbk_members members = dbk_members_begin();
    dbk_put_count(&members, "cid", fact->cid);
    dbk_put_text(&members, "kind", "Client");
    dbk_put_text(&members, "type", "nats");
    dbk_put_text(&members, "ip", fact->address);
    dbk_put_number(&members, "port", fact->port);
    put_times(&members, snapshot, fact);
    dbk_put_count(&members, "pending_bytes", fact->pending_size);
    dbk_put_count(&members, "in_msgs", fact->counters.in_messages);
    dbk_put_count(&members, "out_msgs", fact->counters.out_messages);
    dbk_put_count(&members, "in_bytes", fact->counters.in_bytes);
    dbk_put_count(&members, "out_bytes", fact->counters.out_bytes);
    dbk_put_count(&members, "subscriptions", fact->subscription_count);
    dbk_put_text_if(&members, "name", fact->name);
    dbk_put_text_if(&members, "lang", fact->lang);
    dbk_put_text_if(&members, "version", fact->version);
    dbk_put_text_if(&members, "tls_version", fact->tls_version);
    dbk_put_text_if(&members, "tls_cipher_suite", fact->tls_cipher);
    dbk_put_flag_if(&members, "tls_first", fact->tls_first);
    if (request->with_user) {
        dbk_put_text_if(&members, "authorized_user", fact->user);
        dbk_put_text_if(&members, "account", snapshot->account);
    }
    if (fact->subscription_copied > 0) {
        dbk_put(&members, request->with_details ? "subscriptions_list_detail" : "subscriptions_list",
                subscriptions_value(snapshot, fact, request->with_details));
    }
    return dbk_members_end(&members);
}

static json_t *connections_value(const dbk_monitor_snapshot *snapshot, const connz_request *request) {
    json_t *array = json_array();
    for (size_t i = 0; i < snapshot->connection_count; i++) {
        if (dbk_append(array, connection_value(snapshot, request, &snapshot->connections[i]))) continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

void dbk_page_connz(dbk_page *page) {
    connz_request request;
    if (!read_request(page, &request)) return;
    dbk_monitor_snapshot *snapshot = dbk_page_look(page, &request.query);
    if (snapshot == NULL) return;
    dbk_members members = dbk_members_begin();
    dbk_put_text(&members, "server_id", page->server->id);
    dbk_put_time(&members, "now", snapshot->now_ns);
    dbk_put_count(&members, "num_connections", snapshot->connection_count);
    dbk_put_count(&members, "total", snapshot->connection_total);
    dbk_put_count(&members, "offset", request.query.offset);
    dbk_put_count(&members, "limit", request.query.limit);
    dbk_put(&members, "connections", connections_value(snapshot, &request));
    dbk_page_forget(page, snapshot);
    dbk_page_send(page, dbk_members_end(&members));
}
