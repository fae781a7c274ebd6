// SPDX-License-Identifier: Apache-2.0
// See snapshot.h. Taking cannot fail: where memory is out the snapshot says so and holds what there
// was room for.
#include "monitor/snapshot.h"

#include <string.h>

#include "broker/tls.h"
#include "daybook/subject.h"

enum { CHUNK_SIZE = 16 * 1024, STEPS_OF_A_COPY = 4 };

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
    snapshot->text_size += text.size;
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
    if (query->cid_count > 0) {
        uint64_t *cids = take_room(snapshot, query->cid_count, sizeof *cids);
        if (cids != NULL) memcpy(cids, query->cids, query->cid_count * sizeof *cids);
        snapshot->query.cids = cids;
    }
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

static void take_options(dbk_monitor_snapshot *snapshot, const dbk_monitor_sources *sources) {
    const dbk_broker *broker = sources->broker;
    const dbk_options *options = broker->options;
    const dbk_jetstream_options *jetstream = &options->jetstream;
    snapshot->server_name =
        copy_text(snapshot, options->server_name != NULL ? options->server_name : broker->id);
    snapshot->announced_version = copy_text(snapshot, options->announced_version);
    snapshot->host = copy_text(snapshot, options->advertised.host != NULL ? options->advertised.host
                                                                          : options->client.host);
    snapshot->port = options->advertised.port != 0 ? options->advertised.port : broker->port;
    snapshot->http_host = copy_text(snapshot, options->http.host);
    snapshot->base_path = copy_text(snapshot, options->http_base_path);
    snapshot->account = copy_text(snapshot, options->auth.account_name);
    *(options->http_tls ? &snapshot->https_port : &snapshot->http_port) = sources->port;
    take_tags(snapshot, &options->tags);
    snapshot->tls_verify = options->tls.verify;
    snapshot->limits = options->limits;
    snapshot->auth_timeout_ns = options->auth.timeout_ns;
    snapshot->tls_timeout_ns = options->tls.timeout_ns;
    snapshot->memory_max = jetstream->memory_max;
    snapshot->file_max = jetstream->file_max;
    snapshot->request_batch_max = jetstream->request_batch_max;
    snapshot->ack_pending_max = jetstream->ack_pending_max;
    snapshot->duplicates_max_ns = jetstream->duplicates_max_ns;
    snapshot->strict = jetstream->strict;
    snapshot->domain = copy_text(snapshot, jetstream->domain);
    snapshot->store_dir =
        copy_text(snapshot, sources->store != NULL ? daybook_store_path(sources->store) : NULL);
}

static void take_server(dbk_monitor_snapshot *snapshot, const dbk_monitor_sources *sources) {
    const dbk_broker *broker = sources->broker;
    snapshot->now_ns = dbk_broker_clock_ns(broker);
    snapshot->loaded_ns = broker->options_real_ns;
    snapshot->is_lame_duck = broker->is_lame_duck;
    snapshot->is_stopping = broker->is_stopping;
    snapshot->auth_required = dbk_auth_is_required(broker->auth);
    snapshot->tls_required = broker->tls != NULL && !broker->options->allow_non_tls;
    snapshot->client_count = broker->client_count;
    snapshot->counters = broker->counters;
    dbk_interest_get_stats(broker->interest, &snapshot->interest);
    snapshot->has_jetstream = sources->jetstream != NULL;
    if (snapshot->has_jetstream) {
        dbk_jetstream_count(sources->jetstream, &snapshot->jetstream);
        dbk_jetstream_get_settings(sources->jetstream, &snapshot->settings);
    }
    take_options(snapshot, sources);
}

// Subscriptions.

static bool has_room(const dbk_monitor_snapshot *snapshot, const dbk_subscription_list *list) {
    return list->count < snapshot->cursor.subscription_room &&
           snapshot->subscription_copied < DBK_MONITOR_SNAPSHOT_SUBSCRIPTIONS_MAX &&
           snapshot->text_size < DBK_MONITOR_SNAPSHOT_TEXT_MAX;
}

static void copy_subscription(dbk_monitor_snapshot *snapshot, dbk_subscription_list *list,
                              const dbk_subscription *subscription) {
    if (!has_room(snapshot, list)) return;
    snapshot->subscription_copied++;
    list->items[list->count++] = (dbk_subscription_fact){
        .filter = copy_slice(snapshot, dbk_subscription_filter(subscription)),
        .queue_group = copy_slice(snapshot, dbk_subscription_queue_group(subscription)),
        .sid = copy_slice(snapshot, dbk_subscription_sid(subscription)),
        .delivered_count = subscription->delivered_count,
        .delivered_max = subscription->delivered_max,
        .cid = subscription->subscriber.client->id};
}

typedef struct subscription_visit {
    dbk_monitor_snapshot *snapshot;
    dbk_subscription_list *list;
} subscription_visit;

static void pay(dbk_snapshot_cursor *cursor, size_t steps) {
    cursor->steps_left -= cursor->steps_left < steps ? cursor->steps_left : steps;
}

static void visit_subscription(void *context, dbk_table_link *link) {
    const subscription_visit *visit = context;
    dbk_monitor_snapshot *snapshot = visit->snapshot;
    const dbk_subscription *subscription = DBK_OWNER(link, dbk_subscription, link);
    const char *subject = snapshot->query.subject;
    pay(&snapshot->cursor, 1);
    if (subscription->is_ended ||
        (subject != NULL &&
         !daybook_filter_matches(dbk_subscription_filter(subscription), daybook_text(subject))))
        return;
    if (subject != NULL) snapshot->subscription_total++;
    if (snapshot->cursor.skipped > 0) {
        snapshot->cursor.skipped--;
    } else {
        copy_subscription(snapshot, visit->list, subscription);
    }
}

/// False: the slice is over.
static bool go_through_subscriptions(dbk_monitor_snapshot *snapshot, const dbk_client *client,
                                     dbk_subscription_list *list) {
    dbk_snapshot_cursor *cursor = &snapshot->cursor;
    subscription_visit visit = {.snapshot = snapshot, .list = list};
    if (!cursor->in_client) cursor->position = 0;
    cursor->in_client = true;
    do {
        if (cursor->steps_left == 0) return false;
        pay(cursor, 1);
        cursor->position =
            dbk_link_table_scan(&client->subscriptions, cursor->position, visit_subscription, &visit);
        // Where nothing is to be counted, who has enough need not go on.
    } while (cursor->position != 0 && (snapshot->query.subject != NULL || has_room(snapshot, list)));
    cursor->in_client = false;
    return true;
}

static void begin_list(dbk_monitor_snapshot *snapshot, dbk_subscription_list *list, size_t wanted) {
    size_t left = DBK_MONITOR_SNAPSHOT_SUBSCRIPTIONS_MAX - snapshot->subscription_copied;
    snapshot->cursor.subscription_room = wanted < left ? wanted : left;
    list->items = take_room(snapshot, snapshot->cursor.subscription_room, sizeof *list->items);
    if (list->items == NULL) snapshot->cursor.subscription_room = 0;
}

/// False: the slice is over.
static bool take_subscriptions_of_cids(dbk_monitor_snapshot *snapshot, const dbk_client *client) {
    const dbk_monitor_snapshot_query *query = &snapshot->query;
    size_t *index = &snapshot->cursor.cid_index;
    while (*index < query->cid_count && query->cids[*index] < client->id) (*index)++;
    if (*index == query->cid_count || query->cids[*index] != client->id) return true;
    dbk_subscription_list *list = &snapshot->of_cids[*index];
    if (!snapshot->cursor.in_client) begin_list(snapshot, list, client->subscriptions.count);
    return go_through_subscriptions(snapshot, client, list);
}

/// False: the slice is over.
static bool take_all_subscriptions(dbk_monitor_snapshot *snapshot, const dbk_client *client) {
    dbk_snapshot_cursor *cursor = &snapshot->cursor;
    size_t count = client->subscriptions.count;
    if (!cursor->in_client && snapshot->query.subject == NULL) {
        snapshot->subscription_total += count;
        bool is_full = !has_room(snapshot, &snapshot->all);
        if (is_full || cursor->skipped >= count) { // it need not be looked at
            cursor->skipped -= is_full ? 0 : count;
            return true;
        }
    }
    return go_through_subscriptions(snapshot, client, &snapshot->all);
}

// Connections.

static const char *user_of(const dbk_client *client) {
    return client->user != NULL && client->user->name != NULL ? client->user->name : "";
}

/// All but texts that lie elsewhere.
static void fill_fact(dbk_client *client, dbk_connection_fact *fact_out) {
    dbk_broker *broker = client->broker;
    int64_t now_ns = dbk_broker_clock_ns(broker);
    int64_t silent_ns = dbk_broker_now_ns(broker) - client->heard_ns;
    *fact_out = (dbk_connection_fact){.cid = client->id,
                                      .port = client->port,
                                      .started_ns = client->started_ns,
                                      .active_ns = silent_ns > 0 ? now_ns - silent_ns : now_ns,
                                      .rtt_ns = client->rtt_ns != 0 ? client->rtt_ns : client->greeting_ns,
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
        fact_out->tls_first = broker->options->tls.handshake_first;
    }
}

static bool is_asked_for(const dbk_monitor_snapshot_query *query, uint64_t cid, const char *user) {
    return (query->cid == 0 || query->cid == cid) && (query->user == NULL || strcmp(query->user, user) == 0);
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

static dbk_connection_fact *next_fact(dbk_monitor_snapshot *snapshot) {
    if (snapshot->connection_count == snapshot->cursor.connection_room ||
        snapshot->text_size >= DBK_MONITOR_SNAPSHOT_TEXT_MAX)
        return NULL;
    pay(&snapshot->cursor, STEPS_OF_A_COPY);
    return &snapshot->connections[snapshot->connection_count++];
}

static void take_closed(dbk_monitor_snapshot *snapshot, const dbk_closed_connection *closed) {
    if (!is_asked_for(&snapshot->query, closed->fact.cid, closed->fact.user)) return;
    dbk_connection_fact *fact = next_fact(snapshot);
    if (fact == NULL) return;
    *fact = closed->fact;
    copy_texts(snapshot, fact);
}

static void take_open(dbk_monitor_snapshot *snapshot, dbk_client *client) {
    snapshot->connection_total++;
    if (!is_asked_for(&snapshot->query, client->id, user_of(client))) return;
    dbk_connection_fact *fact = next_fact(snapshot);
    if (fact == NULL) return;
    fill_fact(client, fact);
    borrow_texts(client, fact);
    copy_texts(snapshot, fact);
}

// Taking.

static void begin(dbk_monitor_snapshot *snapshot, const dbk_monitor_sources *sources,
                  const dbk_closed_list *closed) {
    const dbk_broker *broker = sources->broker;
    const dbk_monitor_snapshot_query *query = &snapshot->query;
    dbk_snapshot_cursor *cursor = &snapshot->cursor;
    cursor->has_begun = true;
    take_server(snapshot, sources);
    cursor->cid_last = broker->client_id_last;
    size_t wanted = (query->open_connections ? broker->client_count : 0) +
                    (query->closed_connections ? closed->count : 0);
    if (query->cid != 0 && wanted > 1) wanted = 1;
    if (wanted > 0) snapshot->connections = take_room(snapshot, wanted, sizeof *snapshot->connections);
    cursor->connection_room = snapshot->connections != NULL ? wanted : 0;
    if (query->cid_count > 0) {
        snapshot->of_cids = take_room(snapshot, query->cid_count, sizeof *snapshot->of_cids);
        if (snapshot->of_cids != NULL)
            memset(snapshot->of_cids, 0, query->cid_count * sizeof *snapshot->of_cids);
    }
    if (query->all_subscriptions) {
        size_t present = snapshot->interest.subscription_count;
        cursor->skipped = query->offset;
        begin_list(snapshot, &snapshot->all, query->limit < present ? query->limit : present);
    }
    if (query->closed_connections) {
        cursor->closed = closed->first;
        snapshot->connection_total = closed->count;
    }
    bool is_about_clients = query->open_connections || query->all_subscriptions || query->cid_count > 0;
    if (is_about_clients && !snapshot->is_short_of_memory) cursor->client = broker->first_client;
}

/// False: the slice is over.
static bool take_client(dbk_monitor_snapshot *snapshot, dbk_client *client) {
    if (!dbk_client_is_open(client)) return true;
    const dbk_monitor_snapshot_query *query = &snapshot->query;
    // One with many subscriptions takes several slices, and is one connection.
    if (query->open_connections && !snapshot->cursor.in_client) take_open(snapshot, client);
    if (query->cid_count > 0) return take_subscriptions_of_cids(snapshot, client);
    return !query->all_subscriptions || take_all_subscriptions(snapshot, client);
}

bool dbk_monitor_snapshot_take(dbk_monitor_snapshot *snapshot, const dbk_monitor_sources *sources,
                               const dbk_closed_list *closed) {
    dbk_snapshot_cursor *cursor = &snapshot->cursor;
    cursor->steps_left = DBK_MONITOR_SLICE;
    if (!cursor->has_begun) begin(snapshot, sources, closed);
    for (; cursor->closed != NULL; cursor->closed = cursor->closed->next) {
        if (cursor->steps_left == 0) return false;
        pay(cursor, 1);
        take_closed(snapshot, cursor->closed);
    }
    while (cursor->client != NULL && cursor->client->id <= cursor->cid_last) {
        if (cursor->steps_left == 0 || !take_client(snapshot, cursor->client)) return false;
        pay(cursor, 1);
        cursor->client = cursor->client->next;
    }
    return true;
}

void dbk_monitor_snapshot_note_left(dbk_monitor_snapshot *snapshot, const dbk_client *client) {
    if (snapshot->cursor.client != client) return;
    snapshot->cursor.client = client->next;
    snapshot->cursor.in_client = false;
}

void dbk_monitor_snapshot_note_forgotten(dbk_monitor_snapshot *snapshot,
                                         const dbk_closed_connection *closed) {
    if (snapshot->cursor.closed == closed) snapshot->cursor.closed = closed->next;
}

// Closed connections.

static const char *put_text(char **room, const char *text) {
    size_t size = strlen(text) + 1;
    const char *put = memcpy(*room, text, size);
    *room += size;
    return put;
}

void dbk_closed_list_forget_first(const daybook_allocator *allocator, dbk_closed_list *list) {
    dbk_closed_connection *first = list->first;
    list->first = first->next;
    if (list->first == NULL) list->last = NULL;
    list->count--;
    dbk_free(allocator, first);
}

void dbk_closed_list_add(dbk_closed_list *list, dbk_client *client) {
    const daybook_allocator *allocator = client->broker->allocator;
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
    fact.stopped_ns = dbk_broker_clock_ns(client->broker);
    fact.reason = dbk_close_reason_text(client->close_reason);
    closed->fact = fact;
    closed->next = NULL;
    *(list->last != NULL ? &list->last->next : &list->first) = closed;
    list->last = closed;
    list->count++;
}

void dbk_closed_list_deinit(const daybook_allocator *allocator, dbk_closed_list *list) {
    while (list->count > 0) dbk_closed_list_forget_first(allocator, list);
}
