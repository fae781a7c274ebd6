// SPDX-License-Identifier: Apache-2.0
// A client's subscriptions: SUB, UNSUB, and the table by sid.
//
// Sids are hashed under a key that clients do not know, because they choose them.
//
// A subscription that had its last message is only marked, because that happens while the trie is being
// walked; it is taken out when the round ends. Until then nothing finds it by its sid.
#include <string.h>

#include "base/bytes.h"
#include "broker/broker.h"
#include "subject/subject.h"

// The table.

static uint32_t hash_of(const dbk_client *client, dbk_slice sid) {
    return (uint32_t)dbk_hash_bytes(&client->broker->hash_key, sid.data, sid.size);
}

static dbk_subscription *owner_of(dbk_table_link *link) {
    return DBK_OWNER(link, dbk_subscription, link);
}

dbk_subscription *dbk_client_find_subscription(const dbk_client *client, dbk_slice sid) {
    if (client->subscriptions.count == 0) return NULL;
    dbk_table_link *link = dbk_link_table_find(&client->subscriptions, hash_of(client, sid));
    for (; link != NULL; link = dbk_link_table_find_next(link)) {
        dbk_subscription *at = owner_of(link);
        if (!at->is_ended && dbk_slice_equal(dbk_subscription_sid(at), sid)) return at;
    }
    return NULL;
}

static void insert(dbk_client *client, dbk_subscription *subscription) {
    dbk_link_table_insert(&client->subscriptions, client->broker->allocator, &subscription->link);
}

static void take_out(dbk_client *client, dbk_subscription *subscription) {
    dbk_link_table_remove(&client->subscriptions, client->broker->allocator, &subscription->link);
}

// Not in the table any more.
static void forget(dbk_client *client, dbk_subscription *subscription) {
    dbk_interest_remove(client->broker->interest, &subscription->subscriber.entry);
    dbk_free(client->broker->allocator, subscription);
}

void dbk_client_drop_subscription(dbk_client *client, dbk_subscription *subscription) {
    take_out(client, subscription);
    forget(client, subscription);
}

void dbk_client_drop_all_subscriptions(dbk_client *client) {
    // Before watchers of the trie are told.
    dbk_table_link *link = dbk_link_table_take_all(&client->subscriptions, client->broker->allocator);
    while (link != NULL) {
        dbk_table_link *next = link->next;
        forget(client, owner_of(link));
        link = next;
    }
}

// Is told whether it may stay.
static bool judge(dbk_client *client, dbk_subscription *subscription) {
    if (subscription->is_ended) return true;
    dbk_slice filter = dbk_subscription_filter(subscription);
    dbk_slice group = dbk_subscription_queue_group(subscription);
    dbk_permitted permitted = dbk_permissions_may_subscribe(client->permissions, filter, group);
    subscription->is_checked = permitted == DBK_PERMITTED_PARTLY;
    if (permitted != DBK_PERMITTED_NO) return true;
    dbk_client_refuse_subscription(client, filter, group);
    return false;
}

void dbk_client_drop_forbidden_subscriptions(dbk_client *client) {
    dbk_table_link *link = dbk_link_table_take_all(&client->subscriptions, client->broker->allocator);
    while (link != NULL) {
        dbk_table_link *next = link->next;
        dbk_subscription *subscription = owner_of(link);
        insert(client, subscription);
        if (!judge(client, subscription)) dbk_client_drop_subscription(client, subscription);
        link = next;
    }
}

void dbk_subscription_end(dbk_subscription *subscription) {
    if (subscription->is_ended) return;
    dbk_broker *broker = subscription->subscriber.client->broker;
    subscription->is_ended = true;
    subscription->next_ended = broker->ended;
    broker->ended = subscription;
    dbk_client_touch(subscription->subscriber.client); // so that the round has an end
}

// SUB.

void dbk_client_refuse_subscription(dbk_client *client, dbk_slice filter, dbk_slice queue_group) {
    dbk_buf text;
    dbk_buf_init(&text, client->broker->allocator, 128 + filter.size + queue_group.size);
    dbk_permissions_subscribe_text(&text, filter, queue_group);
    if (!text.failed) {
        dbk_client_send_error(client, "%.*s", (int)text.size, (const char *)text.data);
        dbk_client_log(client, ERROR, "%.*s", (int)text.size, (const char *)text.data);
    }
    dbk_buf_deinit(&text);
}

/// False: it may not have it, and was told so.
static bool may_subscribe(dbk_client *client, const dbk_proto_operation *operation, bool *is_checked_out) {
    const dbk_limit_options *limits = &client->broker->options->limits;
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
        dbk_subject_token_count(operation->subject) > (uint64_t)limits->subscription_tokens_max) {
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
        dbk_alloc(client->broker->allocator, sizeof *subscription + sid.size + filter.size + group.size);
    if (subscription == NULL) return NULL;
    *subscription = (dbk_subscription){
        .subscriber = {.client = client},
        .link = {.hash = hash_of(client, sid), .size = (uint32_t)sid.size},
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
        dbk_subscription *subscription = make(client, operation);
        if (subscription == NULL) {
            dbk_client_close(client, DBK_CLOSE_MEMORY, NULL);
            return;
        }
        subscription->is_checked = is_checked;
        insert(client, subscription);
        daybook_status status = dbk_interest_add(client->broker->interest, operation->subject,
                                                 operation->queue_group, &subscription->subscriber,
                                                 &subscription->subscriber.entry);
        if (status != DAYBOOK_OK) {
            take_out(client, subscription);
            dbk_free(client->broker->allocator, subscription);
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
