// SPDX-License-Identifier: Apache-2.0
// From a published message to all who want it: connections and services. Loop thread only.
//
//     dbk_service_add(broker, daybook_text("$JS.API.>"), DBK_SERVICE_OF_CLIENTS, serve_api, jetstream, &api);
//     dbk_broker_reply(broker, message->reply, daybook_text(""), daybook_text("{}"));
//
// A service is a subscriber inside the server, in the same trie as those of clients: it counts for "no
// responders", and is called while the message is being routed. What it publishes in turn is routed at once,
// nested, up to DBK_ROUTE_DEPTH_MAX; so nobody may hold the result of a match across a call of dbk_route.
// What goes to clients is collected in their outboxes and written at the end of the loop's round.
//
// Rights. Whoever asks the server for something names the subject of the answer, and no permission says
// which. So answers and deliveries (dbk_route_to, dbk_broker_reply) reach connections only, never a service:
// nobody can have the server call its own API, acknowledge, or store into a stream by naming such a subject
// as inbox. What the server says by itself, on subjects nobody chose (dbk_broker_announce), reaches services
// that want it, too: streams keep advisories.
//
// To be told when a subject gains its first or loses its last subscriber:
// dbk_interest_watch_start(broker->interest, …) of interest/interest.h.
#ifndef DBK_BROKER_ROUTE_H
#define DBK_BROKER_ROUTE_H

#include "broker/message.h"
#include "interest/interest.h"

typedef struct dbk_broker dbk_broker;
typedef struct dbk_client dbk_client;
typedef struct dbk_service dbk_service;

enum { DBK_ROUTE_DEPTH_MAX = 16 };

/// Whose messages a service gets.
typedef enum dbk_service_scope {
    DBK_SERVICE_OF_CLIENTS, // what they published, with their rights
    DBK_SERVICE_OF_ALL,     // and what the server announces
} dbk_service_scope;

/// `from` NULL: the server itself. Message and client are borrowed for the call; whoever answers later keeps
/// a copy, and a dbk_client_ref where it needs the client.
typedef void (*dbk_service_handler)(void *context, dbk_client *from, const dbk_message *message);

/// The filter is copied. ENOMEM, ESUBJECT.
daybook_status dbk_service_add(dbk_broker *broker, dbk_slice filter, dbk_service_scope scope,
                               dbk_service_handler handler, void *context, dbk_service **service_out);
/// Not called any more when this returns; may be called from its own handler. NULL is fine.
void dbk_service_remove(dbk_service *service);

/// What `from` published, to all who want it; how many got it, services included. Memory that is out concerns
/// a receiver only: it is closed.
size_t dbk_route(dbk_broker *broker, dbk_client *from, const dbk_message *message);
/// From the server to the connections that listen on `to`, which see it with its own subject: what consumers
/// deliver is routed by the inbox and shown as it was published. How many got it.
size_t dbk_route_to(dbk_broker *broker, dbk_slice to, const dbk_message *message);
/// Would dbk_route_to give it to anybody now? Asks what it asks: a filter that matches is not enough where a
/// rule denies the subject to its owner. Makes the result of a match invalid. False where memory is out.
bool dbk_route_is_wanted(dbk_broker *broker, dbk_slice to);
/// The same, by a subscription of this very subject: no wildcard counts.
bool dbk_route_is_wanted_exactly(dbk_broker *broker, dbk_slice to);

/// From the server to the connections that listen on `subject`; does nothing where it is empty. `headers` is
/// a whole block or empty. How many got it; 0 also where memory is out.
size_t dbk_broker_reply(dbk_broker *broker, dbk_slice subject, dbk_slice headers, dbk_slice data);
/// What the server says by itself, to connections and to services of DBK_SERVICE_OF_ALL; headers and count as
/// above. Not for subjects that whoever may only publish chooses.
size_t dbk_broker_announce(dbk_broker *broker, dbk_slice subject, dbk_slice headers, dbk_slice data);
/// May there be anybody for an announcement? Cheap; where not, it need not be written.
bool dbk_route_has_interest(dbk_broker *broker, dbk_slice subject);

#endif
