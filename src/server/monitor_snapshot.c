// SPDX-License-Identifier: Apache-2.0
// See monitor_snapshot.h. Taking cannot fail: where memory is out the snapshot says so and holds what there
// was room for.
#include "server/monitor_snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "daybook/subject.h"
#include "server/tls.h"

enum { CHUNK_SIZE = 16 * 1024 };

// Memory.

static void *take_room(dbk_monitor_snapshot *snapshot, size_t count, size_t size) {
    void *room =
        count > SIZE_MAX / 2 / size ? NULL : dbk_arena_alloc(snapshot->arena, count == 0 ? 1 : count * size);
    if (room == NULL) snapshot->is_short_of_memory = true;
    return room;
}

static dbk_slice copy_slice(dbk_monitor_snapshot *snapshot, dbk_slice text) {
    dbk_slice copy = dbk_arena_copy_text(snapshot->arena, text);
    if (copy.data == NULL) snapshot->is_short_of_memory = true;
    return copy;
}

/// "" for NULL, and where memory is out.
static const char *copy_text(dbk_monitor_snapshot *snapshot, const char *text) {
    if (text == NULL || text[0] == '\0') return "";
    const char *copy = copy_slice(snapshot, daybook_text(text)).data;
    return copy != NULL ? copy : "";
}

dbk_monitor_snapshot *dbk_monitor_snapshot_new(const daybook_allocator *allocator,
                                               const dbk_monitor_snapshot_query *query) {
    dbk_monitor_snapshot *snapshot = dbk_alloc_zeroed(allocator, sizeof *snapshot);
    if (snapshot == NULL) return NULL;
    if (dbk_arena_new(allocator, CHUNK_SIZE, &snapshot->arena) != DAYBOOK_OK) {
        dbk_free(allocator, snapshot);
        return NULL;
    }
    snapshot->query = *query;
    if (query->user != NULL) snapshot->query.user = copy_text(snapshot, query->user);
    if (query->subject != NULL) snapshot->query.subject = copy_text(snapshot, query->subject);
    if (!snapshot->is_short_of_memory) return snapshot;
    dbk_monitor_snapshot_free(allocator, snapshot);
    return NULL;
}

void dbk_monitor_snapshot_free(const daybook_allocator *allocator, dbk_monitor_snapshot *snapshot) {
    if (snapshot == NULL) return;
    dbk_arena_free(snapshot->arena);
    dbk_free(allocator, snapshot);
}

// The server.

static void take_tags(dbk_monitor_snapshot *snapshot, const dbk_text_list *tags) {
    const char **items = take_room(snapshot, tags->count, sizeof *items);
    if (items == NULL) return;
    for (size_t i = 0; i < tags->count; i++) items[i] = copy_text(snapshot, tags->items[i]);
    snapshot->tags = (dbk_text_list){.items = items, .count = tags->count};
}

static void take_options(dbk_monitor_snapshot *snapshot, const dbk_server *server) {
    const dbk_server_options *options = server->options;
    const dbk_jetstream_options *jetstream = &options->jetstream;
    snapshot->server_name =
        copy_text(snapshot, options->server_name != NULL ? options->server_name : server->id);
    snapshot->announced_version = copy_text(snapshot, options->announced_version);
    snapshot->host = copy_text(snapshot, options->client.host);
    snapshot->http_host = copy_text(snapshot, options->http.host);
    snapshot->base_path = copy_text(snapshot, options->http_base_path);
    snapshot->account = copy_text(snapshot, options->auth.account_name);
    snapshot->connect_url = copy_text(snapshot, options->client_advertise);
    *(options->http_tls ? &snapshot->https_port : &snapshot->http_port) = server->monitor_port;
    take_tags(snapshot, &options->tags);
    snapshot->tls_verify = options->tls.verify;
    snapshot->limits = options->limits;
    snapshot->auth_timeout_ns = options->auth.timeout_ns;
    snapshot->tls_timeout_ns = options->tls.timeout_ns;
    snapshot->memory_max = jetstream->memory_max;
    snapshot->file_max = jetstream->file_max;
    snapshot->domain = copy_text(snapshot, jetstream->domain);
    snapshot->store_dir = copy_text(snapshot, server->store_path);
}

static void take_server(dbk_monitor_snapshot *snapshot, const dbk_server *server) {
    snapshot->now_ns = dbk_server_clock_ns(server);
    snapshot->loaded_ns = server->options_real_ns;
    snapshot->is_lame_duck = server->is_lame_duck;
    snapshot->is_stopping = server->is_stopping;
    snapshot->auth_required = dbk_auth_is_required(server->auth);
    snapshot->tls_required = server->tls != NULL && !server->options->allow_non_tls;
    snapshot->client_count = server->client_count;
    snapshot->counters = server->counters;
    dbk_interest_get_stats(server->interest, &snapshot->interest);
    snapshot->has_jetstream = server->jetstream != NULL;
    if (snapshot->has_jetstream) dbk_jetstream_count(server->jetstream, &snapshot->jetstream);
    take_options(snapshot, server);
}

// Subscriptions.

typedef struct subscription_visit {
    dbk_monitor_snapshot *snapshot;
    dbk_subscription_fact *items;
    size_t count, capacity;
    size_t skipped; // still to be passed over
    size_t total;
    uint64_t cid;
} subscription_visit;

static void copy_subscription(subscription_visit *visit, const dbk_subscription *subscription) {
    dbk_monitor_snapshot *snapshot = visit->snapshot;
    if (visit->count == visit->capacity ||
        snapshot->subscription_copied == DBK_MONITOR_SNAPSHOT_SUBSCRIPTIONS_MAX)
        return;
    snapshot->subscription_copied++;
    visit->items[visit->count++] = (dbk_subscription_fact){
        .filter = copy_slice(snapshot, dbk_subscription_filter(subscription)),
        .queue_group = copy_slice(snapshot, dbk_subscription_queue_group(subscription)),
        .sid = copy_slice(snapshot, dbk_subscription_sid(subscription)),
        .delivered_count = subscription->delivered_count,
        .delivered_max = subscription->delivered_max,
        .cid = visit->cid};
}

static void visit_subscription(void *context, const dbk_subscription *subscription) {
    subscription_visit *visit = context;
    const char *subject = visit->snapshot->query.subject;
    if (subject != NULL &&
        !daybook_filter_matches(dbk_subscription_filter(subscription), daybook_text(subject)))
        return;
    visit->total++;
    if (visit->skipped > 0) {
        visit->skipped--;
        return;
    }
    copy_subscription(visit, subscription);
}

static void take_subscriptions_of(dbk_monitor_snapshot *snapshot, const dbk_client *client,
                                  dbk_connection_fact *fact) {
    size_t left = DBK_MONITOR_SNAPSHOT_SUBSCRIPTIONS_MAX - snapshot->subscription_copied;
    subscription_visit visit = {.snapshot = snapshot, .cid = client->id};
    visit.capacity = client->subscriptions.count < left ? client->subscriptions.count : left;
    visit.items = take_room(snapshot, visit.capacity, sizeof *visit.items);
    if (visit.items == NULL) return;
    dbk_client_each_subscription(client, visit_subscription, &visit);
    fact->subscriptions = visit.items;
    fact->subscription_copied = visit.count;
}

static void take_all_subscriptions(dbk_monitor_snapshot *snapshot, const dbk_server *server) {
    subscription_visit visit = {.snapshot = snapshot, .skipped = snapshot->query.offset};
    size_t present = 0;
    for (const dbk_client *client = server->first_client; client != NULL; client = client->next) {
        if (dbk_client_is_open(client)) present += client->subscriptions.count;
    }
    visit.capacity = snapshot->query.limit < present ? snapshot->query.limit : present;
    if (visit.capacity > DBK_MONITOR_SNAPSHOT_SUBSCRIPTIONS_MAX)
        visit.capacity = DBK_MONITOR_SNAPSHOT_SUBSCRIPTIONS_MAX;
    visit.items = take_room(snapshot, visit.capacity, sizeof *visit.items);
    if (visit.items == NULL) return;
    for (const dbk_client *client = server->first_client; client != NULL; client = client->next) {
        if (!dbk_client_is_open(client)) continue;
        visit.cid = client->id;
        dbk_client_each_subscription(client, visit_subscription, &visit);
    }
    snapshot->subscriptions = visit.items;
    snapshot->subscription_count = visit.count;
    snapshot->subscription_total = visit.total;
}

// Connections.

static const char *user_of(const dbk_client *client) {
    return client->user != NULL && client->user->name != NULL ? client->user->name : "";
}

/// All but texts that lie elsewhere.
static void fill_fact(dbk_client *client, dbk_connection_fact *fact_out) {
    dbk_server *server = client->server;
    int64_t now_ns = dbk_server_clock_ns(server);
    int64_t silent_ns = dbk_server_now_ns(server) - client->heard_ns;
    *fact_out = (dbk_connection_fact){.cid = client->id,
                                      .port = client->port,
                                      .started_ns = client->started_ns,
                                      .active_ns = silent_ns > 0 ? now_ns - silent_ns : now_ns,
                                      .rtt_ns = client->rtt_ns,
                                      .pending_size = dbk_client_waiting_size(client),
                                      .counters = client->counters,
                                      .subscription_count = client->subscriptions.count,
                                      .name = "",
                                      .lang = "",
                                      .version = "",
                                      .user = ""};
    if (fact_out->active_ns < fact_out->started_ns) fact_out->active_ns = fact_out->started_ns;
    memcpy(fact_out->address, client->address, sizeof fact_out->address);
    if (client->tls != NULL && client->is_ciphered) {
        fact_out->tls_version = dbk_tls_version(client->tls);
        fact_out->tls_cipher = dbk_tls_cipher(client->tls);
        fact_out->tls_first = server->options->tls.handshake_first;
    }
}

/// What connections are sorted by; greater ones come first where the order is a falling one.
typedef struct connection_key {
    uint64_t value;
    uint64_t cid;
    dbk_client *open; // one of these two
    const dbk_closed_connection *closed;
} connection_key;

static uint64_t key_of(dbk_connection_sort sort, const dbk_connection_fact *fact, int64_t now_ns) {
    switch (sort) {
    case DBK_SORT_START:
        return (uint64_t)fact->started_ns;
    case DBK_SORT_SUBSCRIPTIONS:
        return fact->subscription_count;
    case DBK_SORT_PENDING:
        return fact->pending_size;
    case DBK_SORT_MESSAGES_TO:
        return fact->counters.out_messages;
    case DBK_SORT_MESSAGES_FROM:
        return fact->counters.in_messages;
    case DBK_SORT_BYTES_TO:
        return fact->counters.out_bytes;
    case DBK_SORT_BYTES_FROM:
        return fact->counters.in_bytes;
    case DBK_SORT_LAST:
        return (uint64_t)fact->active_ns;
    case DBK_SORT_IDLE:
        return (uint64_t)(now_ns > fact->active_ns ? now_ns - fact->active_ns : 0);
    case DBK_SORT_UPTIME: {
        int64_t end_ns = fact->stopped_ns != 0 ? fact->stopped_ns : now_ns;
        return (uint64_t)(end_ns > fact->started_ns ? end_ns - fact->started_ns : 0);
    }
    case DBK_SORT_STOP:
        return (uint64_t)fact->stopped_ns;
    case DBK_SORT_RTT:
        return (uint64_t)fact->rtt_ns;
    case DBK_SORT_CID:
    case DBK_SORT_REASON: // by their texts
        break;
    }
    return fact->cid;
}

static int compare_cid(const connection_key *a, const connection_key *b) {
    return a->cid < b->cid ? -1 : a->cid > b->cid;
}

static int compare_rising(const void *left, const void *right) {
    const connection_key *a = left, *b = right;
    if (a->value != b->value) return a->value < b->value ? -1 : 1;
    return compare_cid(a, b);
}

static int compare_falling(const void *left, const void *right) {
    const connection_key *a = left, *b = right;
    if (a->value != b->value) return a->value < b->value ? 1 : -1;
    return compare_cid(a, b);
}

static const char *reason_of(const connection_key *key) {
    return key->closed != NULL ? key->closed->fact.reason : "";
}

static int compare_reasons(const void *left, const void *right) {
    const connection_key *a = left, *b = right;
    int order = strcmp(reason_of(a), reason_of(b));
    return order != 0 ? order : compare_cid(a, b);
}

static bool is_asked_for(const dbk_monitor_snapshot_query *query, uint64_t cid, const char *user) {
    return (query->cid == 0 || query->cid == cid) && (query->user == NULL || strcmp(query->user, user) == 0);
}

static connection_key *collect(dbk_monitor_snapshot *snapshot, dbk_server *server,
                               const dbk_closed_list *closed) {
    const dbk_monitor_snapshot_query *query = &snapshot->query;
    size_t capacity = closed->count, count = 0;
    for (const dbk_client *client = server->first_client; client != NULL; client = client->next) capacity++;
    connection_key *keys = take_room(snapshot, capacity, sizeof *keys);
    if (keys == NULL) return NULL;
    const dbk_closed_connection *gone = query->closed_connections ? closed->first : NULL;
    for (; gone != NULL; gone = gone->next) {
        if (!is_asked_for(query, gone->fact.cid, gone->fact.user)) continue;
        keys[count++] = (connection_key){.value = key_of(query->sort, &gone->fact, snapshot->now_ns),
                                         .cid = gone->fact.cid,
                                         .closed = gone};
    }
    dbk_client *client = query->open_connections ? server->first_client : NULL;
    for (; client != NULL; client = client->next) {
        if (!dbk_client_is_open(client) || !is_asked_for(query, client->id, user_of(client))) continue;
        dbk_connection_fact fact;
        fill_fact(client, &fact);
        keys[count++] = (connection_key){
            .value = key_of(query->sort, &fact, snapshot->now_ns), .cid = client->id, .open = client};
    }
    snapshot->connection_total = count;
    return keys;
}

static void copy_texts(dbk_monitor_snapshot *snapshot, dbk_connection_fact *fact) {
    fact->name = copy_text(snapshot, fact->name);
    fact->lang = copy_text(snapshot, fact->lang);
    fact->version = copy_text(snapshot, fact->version);
    fact->user = copy_text(snapshot, fact->user);
}

static void borrow_texts(const dbk_client *client, dbk_connection_fact *fact) {
    if (client->facts != NULL) {
        fact->name = client->facts->name;
        fact->lang = client->facts->lang;
        fact->version = client->facts->version;
    }
    fact->user = user_of(client);
}

static void take_connection(dbk_monitor_snapshot *snapshot, const connection_key *key,
                            dbk_connection_fact *fact_out) {
    if (key->closed != NULL) {
        *fact_out = key->closed->fact;
    } else {
        fill_fact(key->open, fact_out);
        borrow_texts(key->open, fact_out);
        if (snapshot->query.with_subscriptions) take_subscriptions_of(snapshot, key->open, fact_out);
    }
    copy_texts(snapshot, fact_out);
}

static void take_connections(dbk_monitor_snapshot *snapshot, dbk_server *server,
                             const dbk_closed_list *closed) {
    const dbk_monitor_snapshot_query *query = &snapshot->query;
    connection_key *keys = collect(snapshot, server, closed);
    if (keys == NULL) return;
    size_t total = snapshot->connection_total;
    bool is_rising = query->sort == DBK_SORT_CID || query->sort == DBK_SORT_START ||
                     query->sort == DBK_SORT_UPTIME;
    qsort(keys, total, sizeof *keys,
          query->sort == DBK_SORT_REASON ? compare_reasons
          : is_rising                    ? compare_rising
                                         : compare_falling);
    size_t offset = query->offset < total ? query->offset : total;
    size_t count = total - offset < query->limit ? total - offset : query->limit;
    if (count > DBK_MONITOR_SNAPSHOT_CONNECTIONS_MAX) count = DBK_MONITOR_SNAPSHOT_CONNECTIONS_MAX;
    snapshot->connections = take_room(snapshot, count, sizeof *snapshot->connections);
    if (snapshot->connections == NULL) return;
    for (size_t i = 0; i < count; i++) {
        take_connection(snapshot, &keys[offset + i], &snapshot->connections[i]);
    }
    snapshot->connection_count = count;
}

void dbk_monitor_snapshot_take(dbk_monitor_snapshot *snapshot, dbk_server *server,
                               const dbk_closed_list *closed) {
    take_server(snapshot, server);
    if (snapshot->query.open_connections || snapshot->query.closed_connections) {
        take_connections(snapshot, server, closed);
    }
    if (snapshot->query.all_subscriptions) take_all_subscriptions(snapshot, server);
}

// Closed connections.

static const char *put_text(char **room, const char *text) {
    size_t size = strlen(text) + 1;
    const char *put = memcpy(*room, text, size);
    *room += size;
    return put;
}

static void forget_first(const daybook_allocator *allocator, dbk_closed_list *list) {
    dbk_closed_connection *first = list->first;
    list->first = first->next;
    if (list->first == NULL) list->last = NULL;
    list->count--;
    dbk_free(allocator, first);
}

void dbk_closed_list_add(dbk_closed_list *list, dbk_client *client, int64_t count_max) {
    const daybook_allocator *allocator = client->server->allocator;
    size_t room = count_max > 0 ? (size_t)count_max : 0;
    while (list->count > 0 && list->count >= room) forget_first(allocator, list);
    if (room == 0) return;
    dbk_connection_fact fact;
    fill_fact(client, &fact);
    borrow_texts(client, &fact);
    size_t size = strlen(fact.name) + strlen(fact.lang) + strlen(fact.version) + strlen(fact.user) + 4;
    dbk_closed_connection *closed = dbk_alloc(allocator, sizeof *closed + size);
    if (closed == NULL) return;
    char *texts = closed->texts;
    fact.name = put_text(&texts, fact.name);
    fact.lang = put_text(&texts, fact.lang);
    fact.version = put_text(&texts, fact.version);
    fact.user = put_text(&texts, fact.user);
    fact.stopped_ns = dbk_server_clock_ns(client->server);
    fact.reason = dbk_close_reason_text(client->close_reason);
    closed->fact = fact;
    closed->next = NULL;
    *(list->last != NULL ? &list->last->next : &list->first) = closed;
    list->last = closed;
    list->count++;
}

void dbk_closed_list_deinit(const daybook_allocator *allocator, dbk_closed_list *list) {
    while (list->count > 0) forget_first(allocator, list);
}
