// SPDX-License-Identifier: Apache-2.0
// What a user may publish and subscribe to. Rules of one user are shared by all its clients
// (dbk_permissions); which reply subjects a client may answer is kept for each client (dbk_responses).
//
// A NULL `permissions` everywhere: no restriction. How rules combine: permissions.c. Loop thread only, no
// locks.
#ifndef DBK_AUTH_PERMISSIONS_H
#define DBK_AUTH_PERMISSIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"
#include "options/options.h"

typedef struct dbk_permissions dbk_permissions;

/// Copies the rules. The caller has the one reference.
/// @return OK, ENOMEM, EINVALID: a rule is no filter (a queue where none belongs, blanks, an empty token);
/// `error` names it.
daybook_status dbk_permissions_new(const daybook_allocator *allocator, const dbk_permission_options *options,
                                   dbk_permissions **permissions_out, daybook_error *error);
dbk_permissions *dbk_permissions_ref(dbk_permissions *permissions);
void dbk_permissions_unref(dbk_permissions *permissions);

/// May a message go to `subject`? Without the reply subjects of dbk_responses: ask those when this says no. A
/// subject with wildcards, which JetStream's API takes for a filter, only where all it matches is allowed and
/// nothing denied.
bool dbk_permissions_may_publish(dbk_permissions *permissions, dbk_slice subject);

typedef enum dbk_permitted {
    DBK_PERMITTED_NO,
    /// Some of what the filter matches may not be delivered: ask dbk_permissions_may_deliver for every
    /// message.
    DBK_PERMITTED_PARTLY,
    DBK_PERMITTED_ALL // nothing to ask at delivery
} dbk_permitted;
/// May `filter` be subscribed to, as a member of `queue_group` where that is not empty? Keep the answer
/// with the subscription; ask again for each after a reload.
dbk_permitted dbk_permissions_may_subscribe(const dbk_permissions *permissions, dbk_slice filter,
                                            dbk_slice queue_group);
/// May this message be delivered to a subscription of this user? For every delivery to a subscription that is
/// DBK_PERMITTED_PARTLY: live, replayed, to a queue member (choose another member where it says no).
bool dbk_permissions_may_deliver(dbk_permissions *permissions, dbk_slice subject, dbk_slice queue_group);

/// The rules as they were given, for whoever may see them.
typedef enum dbk_permission_list {
    DBK_PERMISSION_PUBLISH_ALLOW,
    DBK_PERMISSION_PUBLISH_DENY,
    DBK_PERMISSION_SUBSCRIBE_ALLOW,
    DBK_PERMISSION_SUBSCRIBE_DENY
} dbk_permission_list;
/// Rule `index` of a list without its queue, borrowed; empty: there is none any more.
dbk_slice dbk_permissions_rule(const dbk_permissions *permissions, dbk_permission_list list, size_t index);
/// allow_responses. False: it has none.
bool dbk_permissions_get_responses(const dbk_permissions *permissions, int64_t *max_out,
                                   int64_t *expire_ns_out);

/// The texts of -ERR, without the quotes around the whole:
///     Permissions Violation for Publish to "S"
///     Permissions Violation for Publish with Reply of "S"
///     Permissions Violation for Subscription to "S"
///     Permissions Violation for Subscription to "S" using queue "Q"
void dbk_permissions_publish_text(dbk_buf *text, dbk_slice subject);
void dbk_permissions_reply_text(dbk_buf *text, dbk_slice reply);
void dbk_permissions_subscribe_text(dbk_buf *text, dbk_slice filter, dbk_slice queue_group);

/// Of one client whose user has allow_responses: the reply subjects of messages delivered to it. At most
/// DBK_RESPONSES_MAX subjects and DBK_RESPONSES_BYTES_MAX bytes of them; the oldest make room.
typedef struct dbk_responses dbk_responses;
enum { DBK_RESPONSES_MAX = 65536, DBK_RESPONSES_BYTES_MAX = 8 << 20 };

/// Does the user have allow_responses? Then its clients need a dbk_responses.
bool dbk_permissions_tracks_responses(const dbk_permissions *permissions);
/// `seed`: as for dbk_interest_new, random and secret: others choose the reply subjects. ENOMEM.
daybook_status dbk_responses_new(const daybook_allocator *allocator, const uint8_t seed[32],
                                 const dbk_permissions *permissions, dbk_responses **responses_out);
void dbk_responses_free(dbk_responses *responses); // NULL is fine
/// A message with this reply subject is delivered to the client. Times are monotonic. An empty one is
/// nothing. ENOMEM; ELIMIT: longer than all together may be. The answer will not be let through then.
daybook_status dbk_responses_note(dbk_responses *responses, dbk_slice reply, int64_t now_ns);
/// May the client publish to `subject` because it was asked to? Counts as one answer. NULL `responses`:
/// false.
bool dbk_responses_use(dbk_responses *responses, dbk_slice subject, int64_t now_ns);
size_t dbk_responses_count(const dbk_responses *responses);

#endif
