// SPDX-License-Identifier: Apache-2.0
// What the monitor shows of what only the loop knows: copied by the loop, read by the thread that asked.
//
// A page asks with a query and gets a snapshot, or NULL. The loop copies numbers and texts and no more:
// sorting, choosing and making text of it are the asker's.
//
// The loop copies in slices of DBK_MONITOR_SLICE steps (a connection or a subscription passed over is one, a
// connection copied is several) and serves its clients between them, so that ten thousand connections or a
// million subscriptions hold nobody up. So a snapshot is of no single moment: a connection that ends
// meanwhile may be in it or not, those that came after it was begun are not. Where it stands in the list of
// connections is kept up by who takes one out of that (dbk_monitor_note_left).
//
// Bounds: DBK_MONITOR_SNAPSHOT_SUBSCRIPTIONS_MAX subscriptions in one snapshot, and of connections and
// subscriptions DBK_MONITOR_SNAPSHOT_TEXT_MAX bytes of text, which clients choose; what is beyond is left
// out.
//
// Threads: a snapshot belongs to the asker until it is posted, to the loop while it is taken, to the asker
// afterwards.
#ifndef DBK_MONITOR_SNAPSHOT_H
#define DBK_MONITOR_SNAPSHOT_H

#include "broker/broker.h"
#include "jetstream/jetstream.h"
#include "jetstream/settings.h"

enum {
    DBK_MONITOR_SNAPSHOT_SUBSCRIPTIONS_MAX = 100000,
    DBK_MONITOR_SNAPSHOT_TEXT_MAX = 16 << 20,
    DBK_MONITOR_SLICE = 1024,
};

/// Where facts come from. JetStream and store NULL: there is none.
typedef struct dbk_monitor_sources {
    dbk_broker *broker;
    dbk_jetstream *jetstream;
    daybook_store *store;
    int port; // of the monitor itself
} dbk_monitor_sources;

typedef struct dbk_monitor_snapshot_query {
    bool open_connections, closed_connections; // which are wanted; neither: none
    uint64_t cid;                              // 0: any
    const char *user;                          // of this user; NULL: any
    const uint64_t *cids;                      // subscriptions of these, rising
    size_t cid_count;
    bool all_subscriptions; // of all clients
    const char *subject;    // those that match it; NULL: any
    size_t offset, limit;   // of all_subscriptions
} dbk_monitor_snapshot_query;

typedef struct dbk_subscription_fact {
    dbk_slice filter, queue_group, sid;
    uint64_t delivered_count, delivered_max, cid;
} dbk_subscription_fact;

typedef struct dbk_connection_fact {
    uint64_t cid;
    char address[46];
    int port;
    int64_t started_ns, active_ns, stopped_ns; // real time; stopped 0: it is open
    const char *reason;                        // static
    int64_t rtt_ns;                            // 0: not known
    uint64_t pending_size;
    dbk_client_counters counters;
    uint64_t subscription_count;
    const char *name, *lang, *version, *user; // "" where absent
    const char *tls_version, *tls_cipher;     // static; NULL: no TLS
    bool tls_first;
} dbk_connection_fact;

/// Subscriptions of one connection.
typedef struct dbk_subscription_list {
    dbk_subscription_fact *items;
    size_t count;
} dbk_subscription_list;

/// Where taking stands. The loop's.
typedef struct dbk_snapshot_cursor {
    bool has_begun;
    const struct dbk_closed_connection *closed; // the next
    dbk_client *client;                         // the next, or the one whose subscriptions are being copied
    uint64_t cid_last;                          // clients behind it came later
    bool in_client;                             // its subscriptions have been begun
    uint32_t position;                          // in its table of them
    size_t connection_room, subscription_room, skipped, cid_index;
    size_t steps_left; // of this slice
} dbk_snapshot_cursor;

typedef struct dbk_monitor_snapshot {
    dbk_monitor_snapshot_query query;
    dbk_arena *arena;
    bool is_short_of_memory; // what follows is not whole

    int64_t now_ns;
    int64_t loaded_ns; // when the options were read
    bool is_lame_duck, is_stopping;
    bool auth_required, tls_required, has_jetstream;
    size_t client_count;
    dbk_broker_counters counters;
    dbk_interest_stats interest;
    dbk_jetstream_counters jetstream;
    dbk_js_settings settings; // of JetStream, where there is it
    // Options, as they were. Their texts are copies.
    const char *server_name, *announced_version, *host, *http_host, *base_path, *account;
    int port; // as clients are told, as is the host
    dbk_text_list tags;
    int http_port, https_port;
    bool tls_verify;
    dbk_limit_options limits;
    int64_t auth_timeout_ns, tls_timeout_ns;
    int64_t memory_max, file_max;
    int64_t request_batch_max, ack_pending_max, duplicates_max_ns;
    bool strict;
    const char *store_dir, *domain;

    dbk_snapshot_cursor cursor;
    dbk_connection_fact *connections; // closed ones first, each as they came
    size_t connection_count;
    size_t connection_total;        // of the states asked for, whatever else was asked
    dbk_subscription_list *of_cids; // query.cid_count of them
    dbk_subscription_list all;
    size_t subscription_total;  // that the query fits, on the page or not
    size_t subscription_copied; // in all lists
    size_t text_size;           // of all that was copied
} dbk_monitor_snapshot;

/// Connections that ended, the oldest first.
typedef struct dbk_closed_connection {
    struct dbk_closed_connection *next;
    dbk_connection_fact fact;
    char texts[];
} dbk_closed_connection;

typedef struct dbk_closed_list {
    dbk_closed_connection *first, *last;
    size_t count;
} dbk_closed_list;

/// Takes copies of what the query points to. NULL: memory is out.
dbk_monitor_snapshot *dbk_monitor_snapshot_new(const daybook_allocator *allocator,
                                               const dbk_monitor_snapshot_query *query);
/// NULL is fine.
void dbk_monitor_snapshot_free(const daybook_allocator *allocator, dbk_monitor_snapshot *snapshot);
/// A slice of it. False: there is more to take. On the loop.
bool dbk_monitor_snapshot_take(dbk_monitor_snapshot *snapshot, const dbk_monitor_sources *sources,
                               const dbk_closed_list *closed);
/// `client` or `closed` leave their lists: it must not be looked at any more. On the loop.
void dbk_monitor_snapshot_note_left(dbk_monitor_snapshot *snapshot, const dbk_client *client);
void dbk_monitor_snapshot_note_forgotten(dbk_monitor_snapshot *snapshot, const dbk_closed_connection *closed);

/// Remembers a connection. Where memory is out it is not remembered. On the loop.
void dbk_closed_list_add(dbk_closed_list *list, dbk_client *client);
/// Forgets the oldest. On the loop.
void dbk_closed_list_forget_first(const daybook_allocator *allocator, dbk_closed_list *list);
void dbk_closed_list_deinit(const daybook_allocator *allocator, dbk_closed_list *list);

#endif
