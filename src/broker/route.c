// SPDX-License-Identifier: Apache-2.0
// Routing: what the trie says of a subject, turned into deliveries.
//
// Connections first: that changes no trie, so the result of the match stays valid. Services are only noted
// down then, and called when the walk is over, because they may publish, subscribe and unsubscribe. A service
// that is removed while it is noted down somewhere keeps its memory until the outermost routing is over, and
// is not called.
//
// A queue group's member is drawn at random; where that one cannot have the message (closing, its own message
// without echo, a rule against it, unsubscribed), the next ones are asked in turn.
//
// Services act with the server's own rights. Which of them a message reaches depends on who sent it
// (may_call): see route.h.
//
// Loop thread.
#include "broker/route.h"

#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "broker/broker.h"

struct dbk_service {
    dbk_subscriber subscriber;
    dbk_broker *broker;
    dbk_service_scope scope;
    dbk_service_handler handler; // NULL: removed
    void *context;
    dbk_service *next; // of broker->dead_services
};

/// One message on its way.
typedef struct dbk_routing {
    dbk_broker *broker;
    dbk_client *from;     // NULL: the server
    bool is_announcement; // of the server by itself, not an answer
    dbk_slice to;         // the subject it is routed by
    dbk_frame frame;
    size_t count;         // receivers
    size_t service_first; // of broker->noted: those of this message
} dbk_routing;

daybook_status dbk_service_add(dbk_broker *broker, dbk_slice filter, dbk_service_scope scope,
                               dbk_service_handler handler, void *context, dbk_service **service_out) {
    *service_out = NULL;
    dbk_service *service = dbk_alloc_zeroed(broker->allocator, sizeof *service);
    if (service == NULL) return DAYBOOK_ENOMEM;
    service->broker = broker;
    service->scope = scope;
    service->handler = handler;
    service->context = context;
    daybook_status status = dbk_interest_add(broker->interest, filter, daybook_bytes(NULL, 0),
                                             &service->subscriber, &service->subscriber.entry);
    if (status != DAYBOOK_OK) {
        dbk_free(broker->allocator, service);
        return status;
    }
    *service_out = service;
    return DAYBOOK_OK;
}

void dbk_service_remove(dbk_service *service) {
    if (service == NULL) return;
    dbk_broker *broker = service->broker;
    dbk_interest_remove(broker->interest, &service->subscriber.entry);
    service->handler = NULL;
    if (broker->route_depth == 0) {
        dbk_free(broker->allocator, service);
        return;
    }
    service->next = broker->dead_services;
    broker->dead_services = service;
}

static void bury_services(dbk_broker *broker) {
    while (broker->dead_services != NULL) {
        dbk_service *service = broker->dead_services;
        broker->dead_services = service->next;
        dbk_free(broker->allocator, service);
    }
}

/// Without memory it is not called: as if the message had been lost on the way to it.
static bool note_service(dbk_routing *routing, dbk_service *service) {
    dbk_broker *broker = routing->broker;
    if (broker->noted_count == broker->noted_capacity) {
        void *grown = dbk_grow_array(broker->allocator, broker->noted, &broker->noted_capacity,
                                     broker->noted_count + 1, sizeof *broker->noted);
        if (grown == NULL) {
            dbk_broker_log(broker, ERROR, "Out of memory: a message did not reach a service of this server");
            return false;
        }
        broker->noted = grown;
    }
    broker->noted[broker->noted_count++] = service;
    return true;
}

/// Answers reach no service: whoever asked has chosen where they go.
static bool may_call(const dbk_routing *routing, const dbk_service *service) {
    return routing->from != NULL || (routing->is_announcement && service->scope == DBK_SERVICE_OF_ALL);
}

static bool may_have(const dbk_routing *routing, const dbk_client *client,
                     const dbk_subscription *subscription) {
    if (!dbk_client_is_open(client) || subscription->is_ended) return false;
    if (client == routing->from && !client->echo) return false;
    return !subscription->is_checked ||
           dbk_permissions_may_deliver(client->permissions, routing->to,
                                       dbk_subscription_queue_group(subscription));
}

/// The publisher waits a moment where a receiver is far behind, so that this one need not be cut off.
static void consider_stalling(dbk_client *from, dbk_client *to) {
    if (from != NULL && from != to && to->is_writing &&
        (int64_t)to->outbox.size > to->broker->options->limits.pending_max / 4 * 3) {
        to->has_stalled_others = true;
        dbk_client_stall(from);
    }
}

/// To one that may have it.
static void deliver(dbk_routing *routing, dbk_client *client, dbk_subscription *subscription) {
    const dbk_message *message = routing->frame.message;
    if (client->responses != NULL && message->reply.size > 0) {
        // Without memory the answer is refused later, which the permission's owner can see; the message still
        // comes.
        (void)dbk_responses_note(client->responses, message->reply, dbk_broker_now_ns(routing->broker));
    }
    dbk_client_deliver(client, subscription, &routing->frame);
    subscription->delivered_count++;
    if (subscription->delivered_count == subscription->delivered_max) dbk_subscription_end(subscription);
    consider_stalling(routing->from, client);
}

/// Whether it got it.
static bool offer(dbk_routing *routing, dbk_interest_entry *entry) {
    dbk_subscriber *subscriber = entry->subscriber;
    if (subscriber->client == NULL) {
        dbk_service *service = (dbk_service *)(void *)subscriber;
        return may_call(routing, service) && note_service(routing, service);
    }
    dbk_subscription *subscription = (dbk_subscription *)(void *)subscriber;
    if (!may_have(routing, subscriber->client, subscription)) return false;
    deliver(routing, subscriber->client, subscription);
    return true;
}

static bool offer_group(dbk_routing *routing, const dbk_interest_group *group) {
    size_t at = group->count == 1 ? 0
                                  : (size_t)((dbk_broker_random(routing->broker) >> 32) * group->count >> 32);
    for (size_t i = 0; i < group->count; i++) {
        if (offer(routing, group->members[at])) return true;
        if (++at == group->count) at = 0;
    }
    return false;
}

static void call_services(dbk_routing *routing) {
    dbk_broker *broker = routing->broker;
    dbk_message message = *routing->frame.message;
    message.subject = routing->to;
    size_t end = broker->noted_count;
    for (size_t i = routing->service_first; i < end; i++) {
        dbk_service *service = broker->noted[i]; // nested routing may move the array
        if (service->handler != NULL) service->handler(service->context, routing->from, &message);
    }
    broker->noted_count = routing->service_first;
}

static size_t route(dbk_broker *broker, dbk_client *from, bool is_announcement, dbk_slice to,
                    const dbk_message *message) {
    if (broker->route_depth >= DBK_ROUTE_DEPTH_MAX) {
        dbk_broker_log(broker, ERROR,
                       "A message on \"%.*s\" was dropped: services answer each other in a circle",
                       (int)(to.size < 200 ? to.size : 200), (const char *)to.data);
        return 0;
    }
    const dbk_interest_matches *matches;
    if (dbk_interest_match(broker->interest, to, &matches) != DAYBOOK_OK) {
        dbk_broker_log(broker, ERROR, "Out of memory: a message was dropped");
        if (from != NULL)
            dbk_client_close(from, DBK_CLOSE_MEMORY, NULL); // it must not believe it was delivered
        return 0;
    }
    dbk_routing routing = {.broker = broker,
                           .from = from,
                           .is_announcement = is_announcement,
                           .to = to,
                           .frame = {.message = message},
                           .service_first = broker->noted_count};
    broker->route_depth++;
    for (size_t i = 0; i < matches->plain_count; i++) routing.count += offer(&routing, matches->plain[i]);
    for (size_t i = 0; i < matches->group_count; i++)
        routing.count += offer_group(&routing, &matches->groups[i]);
    if (broker->noted_count > routing.service_first) call_services(&routing);
    dbk_block_unref(routing.frame.block);
    if (--broker->route_depth == 0 && broker->dead_services != NULL) bury_services(broker);
    return routing.count;
}

size_t dbk_route(dbk_broker *broker, dbk_client *from, const dbk_message *message) {
    return route(broker, from, false, message->subject, message);
}

size_t dbk_route_to(dbk_broker *broker, dbk_slice to, const dbk_message *message) {
    return route(broker, NULL, false, to, message);
}

static bool wants(const dbk_routing *routing, const dbk_interest_entry *entry, bool exactly) {
    const dbk_subscriber *subscriber = entry->subscriber;
    if (subscriber->client == NULL) return false;
    const dbk_subscription *subscription = (const dbk_subscription *)(const void *)subscriber;
    if (exactly && !dbk_slice_equal(dbk_subscription_filter(subscription), routing->to)) return false;
    return may_have(routing, subscriber->client, subscription);
}

static bool is_wanted(dbk_broker *broker, dbk_slice to, bool exactly) {
    const dbk_interest_matches *matches;
    if (!dbk_interest_has(broker->interest, to)) return false;
    if (dbk_interest_match(broker->interest, to, &matches) != DAYBOOK_OK) return false;
    const dbk_routing routing = {.broker = broker, .to = to};
    for (size_t i = 0; i < matches->plain_count; i++)
        if (wants(&routing, matches->plain[i], exactly)) return true;
    for (size_t i = 0; i < matches->group_count; i++)
        for (size_t j = 0; j < matches->groups[i].count; j++)
            if (wants(&routing, matches->groups[i].members[j], exactly)) return true;
    return false;
}

bool dbk_route_is_wanted(dbk_broker *broker, dbk_slice to) {
    return is_wanted(broker, to, false);
}

bool dbk_route_is_wanted_exactly(dbk_broker *broker, dbk_slice to) {
    return is_wanted(broker, to, true);
}

bool dbk_route_has_interest(dbk_broker *broker, dbk_slice subject) {
    return dbk_interest_has(broker->interest, subject);
}

static size_t say(dbk_broker *broker, bool is_announcement, dbk_slice subject, dbk_slice headers,
                  dbk_slice data) {
    dbk_message message = {.subject = subject, .payload = data, .header_size = headers.size};
    if (headers.size == 0) return route(broker, NULL, is_announcement, subject, &message);
    dbk_block *block = dbk_block_new(broker->allocator, headers.size + data.size);
    if (block == NULL) {
        dbk_broker_log(broker, ERROR, "Out of memory: a message of the server itself was dropped");
        return 0;
    }
    memcpy(block->data, headers.data, headers.size);
    if (data.size > 0) memcpy(block->data + headers.size, data.data, data.size);
    message.payload = daybook_bytes(block->data, headers.size + data.size);
    message.block = block;
    size_t count = route(broker, NULL, is_announcement, subject, &message);
    dbk_block_unref(block);
    return count;
}

size_t dbk_broker_reply(dbk_broker *broker, dbk_slice subject, dbk_slice headers, dbk_slice data) {
    return subject.size == 0 ? 0 : say(broker, false, subject, headers, data);
}

size_t dbk_broker_announce(dbk_broker *broker, dbk_slice subject, dbk_slice headers, dbk_slice data) {
    return say(broker, true, subject, headers, data);
}
