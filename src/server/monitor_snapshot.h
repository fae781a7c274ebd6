// SPDX-License-Identifier: Apache-2.0
// What the monitor shows of what only the loop knows: copied by the loop, read by the thread that asked.
//
// A page asks with a query and gets a snapshot, or NULL. The loop copies numbers and texts and no more:
// making text of it is the asker's. Of the connections only a page is copied; sorting them costs the loop O(n
// log n) over small keys.
//
// Bounds: DBK_MONITOR_SNAPSHOT_CONNECTIONS_MAX connections, DBK_MONITOR_SNAPSHOT_SUBSCRIPTIONS_MAX
// subscriptions in one snapshot; what is beyond is left out.
//
// Threads: a snapshot belongs to the asker until it is posted, to the loop while it is taken, to the asker
// afterwards.
#ifndef DBK_SERVER_MONITOR_SNAPSHOT_H
#define DBK_SERVER_MONITOR_SNAPSHOT_H

#include "server/jetstream.h"
#include "server/server.h"

enum {
    DBK_MONITOR_SNAPSHOT_CONNECTIONS_MAX = 16384,
    DBK_MONITOR_SNAPSHOT_SUBSCRIPTIONS_MAX = 100000,
};

typedef enum dbk_connection_sort {
    DBK_SORT_CID,
    DBK_SORT_START,
    DBK_SORT_SUBSCRIPTIONS, // this one and those that follow: the largest first
    DBK_SORT_PENDING,
    DBK_SORT_MESSAGES_TO,
    DBK_SORT_MESSAGES_FROM,
    DBK_SORT_BYTES_TO,
    DBK_SORT_BYTES_FROM,
    DBK_SORT_LAST,
    DBK_SORT_IDLE,
    DBK_SORT_UPTIME,
    DBK_SORT_STOP,
    DBK_SORT_REASON,
    DBK_SORT_RTT
} dbk_connection_sort;

typedef struct dbk_monitor_snapshot_query {
    bool open_connections, closed_connections; // which are wanted; neither: none
    bool with_subscriptions;                   // of open connections
    uint64_t cid;                              // 0: any
    const char *user;                          // of this user; NULL: any
    dbk_connection_sort sort;
    bool all_subscriptions; // of all clients
    const char *subject;    // those that match it; NULL: any
    size_t offset, limit;   // of connections, or of all_subscriptions
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
    dbk_subscription_fact *subscriptions; // where asked for
    size_t subscription_copied;
} dbk_connection_fact;

typedef struct dbk_monitor_snapshot {
    dbk_monitor_snapshot_query query;
    dbk_arena *arena;
    bool is_short_of_memory; // what follows is not whole

    int64_t now_ns;
    int64_t loaded_ns; // when the options were read
    bool is_lame_duck, is_stopping;
    bool auth_required, tls_required, has_jetstream;
    size_t client_count;
    dbk_server_counters counters;
    dbk_interest_stats interest;
    dbk_jetstream_counters jetstream;
    // Options, as they were. Their texts are copies.
    const char *server_name, *announced_version, *host, *http_host, *base_path, *account;
    const char *connect_url; // "" where there is none
    dbk_text_list tags;
    int http_port, https_port;
    bool tls_verify;
    dbk_limit_options limits;
    int64_t auth_timeout_ns, tls_timeout_ns;
    int64_t memory_max, file_max;
    const char *store_dir, *domain;

    dbk_connection_fact *connections;
    size_t connection_count;
    size_t connection_total; // that the query fits, on the page or not
    dbk_subscription_fact *subscriptions;
    size_t subscription_count;
    size_t subscription_total;
    size_t subscription_copied; // of connections, too
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

/// Takes copies of the query's texts. NULL: memory is out.
dbk_monitor_snapshot *dbk_monitor_snapshot_new(const daybook_allocator *allocator,
                                               const dbk_monitor_snapshot_query *query);
/// NULL is fine.
void dbk_monitor_snapshot_free(const daybook_allocator *allocator, dbk_monitor_snapshot *snapshot);
/// On the loop.
void dbk_monitor_snapshot_take(dbk_monitor_snapshot *snapshot, dbk_server *server,
                               const dbk_closed_list *closed);

/// Remembers a connection, forgets the oldest above `count_max`. Where memory is out it is not remembered. On
/// the loop.
void dbk_closed_list_add(dbk_closed_list *list, dbk_client *client, int64_t count_max);
void dbk_closed_list_deinit(const daybook_allocator *allocator, dbk_closed_list *list);

#endif
