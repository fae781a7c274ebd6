// SPDX-License-Identifier: Apache-2.0
// A client's subscriptions: SUB, UNSUB, and the table by sid.
//
// The table chains; its array doubles when there are as many subscriptions as chains, and is given back when the last one
// goes. Hashes are seeded, because clients choose their sids.
//
// A subscription that had its last message is only marked, because that happens while the trie is being walked; it is taken
// out when the round ends. Until then nothing finds it by its sid.
#include <string.h>

#include "base/bytes.h"
#include "server/server.h"

enum { BUCKETS_MIN = 4 };

// The table.

static uint32_t bucket_of(const dbk_client *client, dbk_slice sid) {
    return (uint32_t)dbk_checksum(sid.data, sid.size, client->server->hash_seed) &
           (client->subscriptions.bucket_count - 1);
}

dbk_subscription *dbk_client_find_subscription(const dbk_client *client, dbk_slice sid) {
    if (client->subscriptions.count == 0) return NULL;
    dbk_subscription *at = client->subscriptions.buckets[bucket_of(client, sid)];
    while (at != NULL && (at->is_ended || !dbk_slice_equal(dbk_subscription_sid(at), sid))) at = at->next;
    return at;
}

/// Room for one more. False: memory is out; a table that could not grow is only slower.
static bool make_room(dbk_client *client) {
    dbk_subscription_table *table = &client->subscriptions;
    if (table->count < table->bucket_count || table->bucket_count > UINT32_MAX / 2) return true;
    dbk_subscription_table old = *table;
    uint32_t count = old.bucket_count == 0 ? BUCKETS_MIN : old.bucket_count * 2;
    dbk_subscription **buckets = dbk_alloc_zeroed(client->server->allocator, count * sizeof *buckets);
    if (buckets == NULL) return old.bucket_count > 0;
    table->buckets = buckets;
    table->bucket_count = count;
    for (uint32_t i = 0; i < old.bucket_count; i++) {
        for (dbk_subscription *at = old.buckets[i], *next; at != NULL; at = next) {
            next = at->next;
            dbk_subscription **bucket = &buckets[bucket_of(client, dbk_subscription_sid(at))];
            at->next = *bucket;
            *bucket = at;
        }
    }
    dbk_free(client->server->allocator, old.buckets);
    return true;
}

static void insert(dbk_client *client, dbk_subscription *subscription) {
    dbk_subscription **bucket =
        &client->subscriptions.buckets[bucket_of(client, dbk_subscription_sid(subscription))];
    subscription->next = *bucket;
    *bucket = subscription;
    client->subscriptions.count++;
}

static void take_out(dbk_client *client, dbk_subscription *subscription) {
    dbk_subscription_table *table = &client->subscriptions;
    dbk_subscription **at = &table->buckets[bucket_of(client, dbk_subscription_sid(subscription))];
    while (*at != subscription) at = &(*at)->next;
    *at = subscription->next;
    if (--table->count > 0) return;
    dbk_free(client->server->allocator, table->buckets);
    *table = (dbk_subscription_table){0};
}

void dbk_client_drop_subscription(dbk_client *client, dbk_subscription *subscription) {
    take_out(client, subscription);
    dbk_interest_remove(client->server->interest, &subscription->subscriber.entry);
    dbk_free(client->server->allocator, subscription);
}

void dbk_client_drop_all_subscriptions(dbk_client *client) {
    dbk_subscription_table table = client->subscriptions;
    client->subscriptions = (dbk_subscription_table){0}; // before watchers of the trie are told
    for (uint32_t i = 0; i < table.bucket_count; i++) {
        for (dbk_subscription *at = table.buckets[i], *next; at != NULL; at = next) {
            next = at->next;
            dbk_interest_remove(client->server->interest, &at->subscriber.entry);
            dbk_free(client->server->allocator, at);
        }
    }
    dbk_free(client->server->allocator, table.buckets);
}

void dbk_client_each_subscription(const dbk_client *client,
                                  void (*visit)(void *context, const dbk_subscription *subscription),
                                  void *context) {
    for (uint32_t i = 0; i < client->subscriptions.bucket_count; i++) {
        for (const dbk_subscription *at = client->subscriptions.buckets[i]; at != NULL; at = at->next) {
            if (!at->is_ended) visit(context, at);
        }
    }
}

void dbk_subscription_end(dbk_subscription *subscription) {
    if (subscription->is_ended) return;
    dbk_server *server = subscription->subscriber.client->server;
    subscription->is_ended = true;
    subscription->next_ended = server->ended;
    server->ended = subscription;
    dbk_client_touch(subscription->subscriber.client); // so that the round has an end
}

// SUB.

void dbk_client_refuse_subscription(dbk_client *client, dbk_slice filter, dbk_slice queue_group) {
    dbk_buf text;
    dbk_buf_init(&text, client->server->allocator, 128 + filter.size + queue_group.size);
    dbk_permissions_subscribe_text(&text, filter, queue_group);
    if (!text.failed) {
        dbk_client_send_error(client, "%.*s", (int)text.size, (const char *)text.data);
        dbk_server_log(client->server, ERROR, "%s:%d - %.*s", client->address, client->port, (int)text.size,
                       (const char *)text.data);
    }
    dbk_buf_deinit(&text);
}

static size_t token_count(dbk_slice filter) {
    size_t count = 1;
    const char *text = filter.data;
    for (size_t i = 0; i < filter.size; i++) count += text[i] == '.';
    return count;
}

/// False: it may not have it, and was told so.
static bool may_subscribe(dbk_client *client, const dbk_proto_operation *operation, bool *is_checked_out) {
    const dbk_limit_options *limits = &client->server->options->limits;
    dbk_permitted permitted = DBK_PERMITTED_ALL;
    if (client->permissions != NULL) {
        permitted =
            dbk_permissions_may_subscribe(client->permissions, operation->subject, operation->queue_group);
    }
    if (permitted == DBK_PERMITTED_NO) {
        dbk_client_refuse_subscription(client, operation->subject, operation->queue_group);
        return false;
    }
    if (limits->subscriptions_max > 0 && client->subscriptions.count >= (uint64_t)limits->subscriptions_max) {
        dbk_client_send_error(client, "maximum subscriptions exceeded");
        return false;
    }
    if (limits->subscription_tokens_max > 0 &&
        token_count(operation->subject) > (uint64_t)limits->subscription_tokens_max) {
        dbk_client_send_error(client, "Permissions Violation for Subscription to \"%.*s\"",
                              (int)operation->subject.size, (const char *)operation->subject.data);
        return false;
    }
    *is_checked_out = permitted == DBK_PERMITTED_PARTLY;
    return true;
}

static dbk_subscription *make(dbk_client *client, const dbk_proto_operation *operation) {
    dbk_slice sid = operation->sid, filter = operation->subject, group = operation->queue_group;
    dbk_subscription *subscription =
        dbk_alloc(client->server->allocator, sizeof *subscription + sid.size + filter.size + group.size);
    if (subscription == NULL) return NULL;
    *subscription = (dbk_subscription){
        .subscriber = {.client = client},
        .sid_size = (uint32_t)sid.size,
        .filter_size = (uint32_t)filter.size,
        .queue_group_size = (uint32_t)group.size,
    };
    char *text = subscription->text;
    memcpy(text, sid.data, sid.size);
    memcpy(text + sid.size, filter.data, filter.size);
    if (group.size > 0) memcpy(text + sid.size + filter.size, group.data, group.size);
    return subscription;
}

void dbk_client_subscribe(dbk_client *client, const dbk_proto_operation *operation) {
    bool is_checked;
    if (!may_subscribe(client, operation, &is_checked)) return;
    if (dbk_client_find_subscription(client, operation->sid) == NULL) { // a second one with the sid is none
        dbk_subscription *subscription = make_room(client) ? make(client, operation) : NULL;
        if (subscription == NULL) {
            dbk_client_close(client, DBK_CLOSE_MEMORY, NULL);
            return;
        }
        subscription->is_checked = is_checked;
        insert(client, subscription);
        daybook_status status = dbk_interest_add(client->server->interest, operation->subject,
                                                 operation->queue_group, &subscription->subscriber,
                                                 &subscription->subscriber.entry);
        if (status != DAYBOOK_OK) {
            take_out(client, subscription);
            dbk_free(client->server->allocator, subscription);
            if (status == DAYBOOK_ENOMEM) {
                dbk_client_close(client, DBK_CLOSE_MEMORY, NULL);
            } else {
                dbk_client_send_error(client, "Invalid Subject");
            }
            return;
        }
    }
    if (client->verbose) dbk_client_send(client, "+OK\r\n", 5);
}

void dbk_client_unsubscribe(dbk_client *client, const dbk_proto_operation *operation) {
    dbk_subscription *subscription = dbk_client_find_subscription(client, operation->sid);
    if (subscription != NULL) {
        if (operation->max > subscription->delivered_count) {
            subscription->delivered_max = operation->max;
        } else {
            dbk_client_drop_subscription(client, subscription);
        }
    }
    if (client->verbose) dbk_client_send(client, "+OK\r\n", 5);
}
