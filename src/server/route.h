// SPDX-License-Identifier: Apache-2.0
// From a published message to all who want it: connections and services. Loop thread only.
//
//     dbk_service_add(server, daybook_text("$JS.API.>"), daybook_text(""), serve_api, jetstream, &service);
//     dbk_server_reply(server, message->reply, daybook_text(""), daybook_text("{}"));
//
// A service is a subscriber inside the server, in the same trie as those of clients: it counts for "no responders", may
// be a member of a queue group, and is called while the message is being routed. What it publishes in turn is routed at once,
// nested, up to DBK_ROUTE_DEPTH_MAX; so nobody may hold the result of a match across a call of dbk_route. What goes to
// clients is collected in their outboxes and written at the end of the loop's round.
//
// To be told when a subject gains its first or loses its last subscriber: dbk_interest_watch_start(server->interest, …) of
// interest/interest.h.
#ifndef DBK_SERVER_ROUTE_H
#define DBK_SERVER_ROUTE_H

#include "interest/interest.h"
#include "server/message.h"

typedef struct daybook_server dbk_server;
typedef struct dbk_client dbk_client;
typedef struct dbk_service dbk_service;

enum { DBK_ROUTE_DEPTH_MAX = 16 };

/// `from` NULL: the server itself. Message and client are borrowed for the call; whoever answers later keeps a copy, and a
/// dbk_client_ref where it needs the client.
typedef void (*dbk_service_handler)(void *context, dbk_client *from, const dbk_message *message);

/// Filter and group are copied. ENOMEM, ESUBJECT.
daybook_status dbk_service_add(dbk_server *server, dbk_slice filter, dbk_slice queue_group,
                               dbk_service_handler handler, void *context, dbk_service **service_out);
/// Not called any more when this returns; may be called from its own handler. NULL is fine.
void dbk_service_remove(dbk_service *service);

/// To all who want it; how many got it, services included. `from` NULL: the server itself, whom no permission and no echo
/// concerns. Memory that is out concerns a receiver only: it is closed.
size_t dbk_route(dbk_server *server, dbk_client *from, const dbk_message *message);
/// The same from the server to whoever listens on `to`; clients see it with its own subject, services with `to`. What
/// consumers deliver goes so: routed by the inbox, shown as it was published.
size_t dbk_route_to(dbk_server *server, dbk_slice to, const dbk_message *message);
/// Would anybody get it?
bool dbk_route_has_interest(dbk_server *server, dbk_slice subject);

/// From the server to whoever listens on `subject`; does nothing where it is empty. `headers` is a whole block or empty.
/// How many got it; 0 also where memory is out.
size_t dbk_server_reply(dbk_server *server, dbk_slice subject, dbk_slice headers, dbk_slice data);

#endif
