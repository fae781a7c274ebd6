// SPDX-License-Identifier: Apache-2.0
// /connz: connections, a page of them.
//
//     sort=cid|start|subs|pending|msgs_to|msgs_from|bytes_to|bytes_from|last|idle|uptime|stop|reason|rtt
//     limit, offset    of those that fit; 1024 by default, CONNECTIONS_MAX at most
//     subs=1|detail    their subscriptions
//     state=open|closed|any    open by default; ended ones are remembered up to max_closed_clients
//     cid, user, acc   one connection, one user's, an account's: there is one
//     auth=1           with the user each of them is
//
// The loop tells of all that fit, this sorts them, and asks again for the subscriptions of those on the page.
// `total` is how many there are in the states asked for; `num_connections` how many the page shows.
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "monitor/page.h"

enum { CONNECTIONS_MAX = 16384 };

typedef enum connection_sort {
    SORT_CID,
    SORT_START,
    SORT_SUBSCRIPTIONS, // this one and those that follow, but for the times: the largest first
    SORT_PENDING,
    SORT_MESSAGES_TO,
    SORT_MESSAGES_FROM,
    SORT_BYTES_TO,
    SORT_BYTES_FROM,
    SORT_LAST,
    SORT_IDLE,
    SORT_UPTIME,
    SORT_STOP,
    SORT_REASON,
    SORT_RTT
} connection_sort;

typedef struct connz_request {
    dbk_monitor_snapshot_query query;
    connection_sort sort;
    size_t offset, limit;
    bool with_user;
    bool with_subscriptions, with_details;
    bool is_of_others; // an account that is not here
} connz_request;

/// What the page shows of one.
typedef struct connection_row {
    uint64_t key;
    const dbk_connection_fact *fact;
    const dbk_subscription_list *subscriptions; // NULL: none
} connection_row;

// The request.

static const struct {
    const char *name;
    connection_sort sort;
} sorts[] = {
    {"cid", SORT_CID},
    {"start", SORT_START},
    {"subs", SORT_SUBSCRIPTIONS},
    {"pending", SORT_PENDING},
    {"msgs_to", SORT_MESSAGES_TO},
    {"msgs_from", SORT_MESSAGES_FROM},
    {"bytes_to", SORT_BYTES_TO},
    {"bytes_from", SORT_BYTES_FROM},
    {"last", SORT_LAST},
    {"idle", SORT_IDLE},
    {"uptime", SORT_UPTIME},
    {"stop", SORT_STOP},
    {"reason", SORT_REASON},
    {"rtt", SORT_RTT},
};

static bool read_sort(dbk_page *page, connz_request *request) {
    const char *name = dbk_page_read_text(page, "sort");
    if (name == NULL) return true;
    for (size_t i = 0; i < sizeof sorts / sizeof *sorts; i++) {
        if (strcmp(name, sorts[i].name) != 0) continue;
        request->sort = sorts[i].sort;
        bool is_of_ended = request->sort == SORT_STOP || request->sort == SORT_REASON;
        if (!is_of_ended || !request->query.open_connections) return true;
        dbk_page_refuse(page, DBK_HTTP_BAD_REQUEST, "sort by %s only valid on closed connections",
                        sorts[i].name);
        return false;
    }
    dbk_page_refuse_argument(page, "invalid sorting option: ", name);
    return false;
}

static bool read_state(dbk_page *page, dbk_monitor_snapshot_query *query) {
    const char *state = dbk_page_read_text(page, "state");
    if (state == NULL || strcasecmp(state, "open") == 0) {
        query->open_connections = true;
    } else if (strcasecmp(state, "closed") == 0) {
        query->closed_connections = true;
    } else if (strcasecmp(state, "any") == 0 || strcasecmp(state, "all") == 0) {
        query->open_connections = query->closed_connections = true;
    } else {
        dbk_page_refuse_argument(page, "Error decoding state for ", state);
        return false;
    }
    return true;
}

static bool read_request(dbk_page *page, connz_request *request_out) {
    dbk_monitor_snapshot_query *query = &request_out->query;
    *request_out = (connz_request){0};
    const char *subscriptions = dbk_page_read_text(page, "subs");
    if (subscriptions != NULL && strcasecmp(subscriptions, "detail") == 0) {
        request_out->with_details = request_out->with_subscriptions = true;
    } else if (!dbk_page_read_flag(page, "subs", &request_out->with_subscriptions)) {
        return false;
    }
    if (!dbk_page_read_flag(page, "auth", &request_out->with_user) ||
        !dbk_page_read_range(page, DBK_PAGE_LIMIT_DEFAULT, &request_out->offset, &request_out->limit) ||
        !dbk_page_read_count(page, "cid", &query->cid) || !read_state(page, query) ||
        !read_sort(page, request_out))
        return false;
    query->user = dbk_page_read_text(page, "user");
    // There is no client of MQTT, and there are no others than those of one account.
    if (dbk_page_read_text(page, "mqtt_client") != NULL) query->cid = UINT64_MAX;
    if (dbk_page_read_text(page, "cid") != NULL) request_out->limit = 1;
    return true;
}

// The order.

static uint64_t duration(int64_t from_ns, int64_t to_ns) {
    return (uint64_t)(to_ns > from_ns ? to_ns - from_ns : 0);
}

static uint64_t key_of(connection_sort sort, const dbk_connection_fact *fact, int64_t now_ns) {
    switch (sort) {
    case SORT_START:
        return (uint64_t)fact->started_ns;
    case SORT_SUBSCRIPTIONS:
        return fact->subscription_count;
    case SORT_PENDING:
        return fact->pending_size;
    case SORT_MESSAGES_TO:
        return fact->counters.out_messages;
    case SORT_MESSAGES_FROM:
        return fact->counters.in_messages;
    case SORT_BYTES_TO:
        return fact->counters.out_bytes;
    case SORT_BYTES_FROM:
        return fact->counters.in_bytes;
    case SORT_LAST:
        return (uint64_t)fact->active_ns;
    case SORT_IDLE:
        return duration(fact->active_ns, now_ns);
    case SORT_UPTIME:
        return duration(fact->started_ns, fact->stopped_ns != 0 ? fact->stopped_ns : now_ns);
    case SORT_STOP:
        return (uint64_t)fact->stopped_ns;
    case SORT_RTT:
        return (uint64_t)fact->rtt_ns;
    case SORT_CID:
    case SORT_REASON: // by their texts
        break;
    }
    return fact->cid;
}

static int compare_cid(const connection_row *a, const connection_row *b) {
    return a->fact->cid < b->fact->cid ? -1 : a->fact->cid > b->fact->cid;
}

static int compare_rising(const void *left, const void *right) {
    const connection_row *a = left, *b = right;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    return compare_cid(a, b);
}

static int compare_falling(const void *left, const void *right) {
    const connection_row *a = left, *b = right;
    if (a->key != b->key) return a->key < b->key ? 1 : -1;
    return compare_cid(a, b);
}

static int compare_reasons(const void *left, const void *right) {
    const connection_row *a = left, *b = right;
    int order = strcmp(a->fact->reason, b->fact->reason);
    return order != 0 ? order : compare_cid(a, b);
}

static void sort_rows(connection_row *rows, size_t count, connection_sort sort) {
    bool is_rising = sort == SORT_CID || sort == SORT_START || sort == SORT_UPTIME;
    qsort(rows, count, sizeof *rows,
          sort == SORT_REASON ? compare_reasons
          : is_rising         ? compare_rising
                              : compare_falling);
}

// Their subscriptions.

static int compare_numbers(const void *left, const void *right) {
    const uint64_t *a = left, *b = right;
    return *a < *b ? -1 : *a > *b;
}

/// NULL: the page has its answer. The rows refer to it.
static dbk_monitor_snapshot *look_at_subscriptions(dbk_page *page, connection_row *rows, size_t count,
                                                   uint64_t *cids) {
    for (size_t i = 0; i < count; i++) cids[i] = rows[i].fact->cid;
    qsort(cids, count, sizeof *cids, compare_numbers);
    dbk_monitor_snapshot *snapshot =
        dbk_page_look(page, &(dbk_monitor_snapshot_query){.cids = cids, .cid_count = count});
    for (size_t i = 0; i < count && snapshot != NULL; i++) {
        const uint64_t *at = bsearch(&rows[i].fact->cid, cids, count, sizeof *cids, compare_numbers);
        rows[i].subscriptions = &snapshot->of_cids[at - cids];
    }
    return snapshot;
}

static json_t *subscriptions_value(const dbk_page *page, const connection_row *row, bool in_detail) {
    json_t *array = json_array();
    for (size_t i = 0; i < row->subscriptions->count; i++) {
        const dbk_subscription_fact *one = &row->subscriptions->items[i];
        if (dbk_append(array,
                       in_detail ? dbk_subscription_value(page, NULL, one) : dbk_text_value(one->filter)))
            continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

// The answer.

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

/// "1.3" of "TLSv1.3"; NULL of NULL.
static const char *version_number(const char *version) {
    static const char prefix[] = "TLSv";
    size_t size = sizeof prefix - 1;
    return version != NULL && strncmp(version, prefix, size) == 0 ? version + size : version;
}

static void put_user(dbk_members *members, const dbk_monitor_snapshot *snapshot,
                     const dbk_connection_fact *fact) {
    dbk_put_text_if(members, "authorized_user", fact->user);
    if (strcmp(snapshot->account, "$G") != 0) dbk_put_text(members, "account", snapshot->account);
}

static json_t *connection_value(const dbk_page *page, const dbk_monitor_snapshot *snapshot,
                                const connz_request *request, const connection_row *row) {
    const dbk_connection_fact *fact = row->fact;
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
    dbk_put_text_if(&members, "tls_version", version_number(fact->tls_version));
    dbk_put_text_if(&members, "tls_cipher_suite", fact->tls_cipher);
    dbk_put_flag_if(&members, "tls_first", fact->tls_first);
    if (request->with_user) put_user(&members, snapshot, fact);
    if (row->subscriptions != NULL && row->subscriptions->count > 0) {
        dbk_put(&members, request->with_details ? "subscriptions_list_detail" : "subscriptions_list",
                subscriptions_value(page, row, request->with_details));
    }
    if (request->with_user && fact->stopped_ns == 0 && dbk_page_is_recent(page)) {
        dbk_put_text(&members, "name_tag", snapshot->account);
    }
    return dbk_members_end(&members);
}

static void send_page(dbk_page *page, const dbk_monitor_snapshot *snapshot, const connz_request *request,
                      const connection_row *rows, size_t count) {
    json_t *array = request->is_of_others ? json_null() : json_array();
    bool is_whole = true;
    for (size_t i = 0; i < count && is_whole; i++) {
        is_whole = dbk_append(array, connection_value(page, snapshot, request, &rows[i]));
    }
    dbk_members members = dbk_members_begin();
    dbk_put_text(&members, "server_id", page->broker->id);
    dbk_put_time(&members, "now", snapshot->now_ns);
    dbk_put_count(&members, "num_connections", count);
    dbk_put_count(&members, "total", request->is_of_others ? 0 : snapshot->connection_total);
    dbk_put_count(&members, "offset", request->offset);
    dbk_put_count(&members, "limit", request->limit);
    dbk_put(&members, "connections", array);
    if (!is_whole) members.has_failed = true;
    dbk_page_send(page, dbk_members_end(&members));
}

/// `rows`: room for as many as there are connections and, behind them, as many numbers.
static void make_page(dbk_page *page, const dbk_monitor_snapshot *snapshot, const connz_request *request,
                      connection_row *rows) {
    size_t total = request->is_of_others ? 0 : snapshot->connection_count;
    for (size_t i = 0; i < total; i++) {
        const dbk_connection_fact *fact = &snapshot->connections[i];
        rows[i] = (connection_row){.key = key_of(request->sort, fact, snapshot->now_ns), .fact = fact};
    }
    sort_rows(rows, total, request->sort);
    size_t offset = request->offset < total ? request->offset : total;
    size_t count = total - offset < request->limit ? total - offset : request->limit;
    if (count > CONNECTIONS_MAX) count = CONNECTIONS_MAX;
    dbk_monitor_snapshot *second = NULL;
    if (request->with_subscriptions && count > 0) {
        second = look_at_subscriptions(page, rows + offset, count, (uint64_t *)(rows + total));
        if (second == NULL) return;
    }
    send_page(page, snapshot, request, rows + offset, count);
    dbk_page_forget(page, second);
}

void dbk_page_connz(dbk_page *page) {
    connz_request request;
    if (!read_request(page, &request)) return;
    dbk_monitor_snapshot *snapshot = dbk_page_look(page, &request.query);
    if (snapshot == NULL) return;
    const char *account = dbk_page_read_text(page, "acc");
    request.is_of_others = account != NULL && strcmp(account, snapshot->account) != 0;
    const daybook_allocator *allocator = page->broker->allocator;
    size_t size = sizeof(connection_row) + sizeof(uint64_t);
    connection_row *rows = dbk_alloc(allocator, (snapshot->connection_count + 1) * size);
    if (rows == NULL) {
        dbk_page_refuse(page, DBK_HTTP_SERVER_ERROR, "memory is out");
    } else {
        make_page(page, snapshot, &request, rows);
    }
    dbk_free(allocator, rows);
    dbk_page_forget(page, snapshot);
}
