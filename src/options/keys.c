// SPDX-License-Identifier: Apache-2.0
// The keys of the file itself, outside of any block, and those of blocks that speak of neighbours: cluster,
// leafnodes, gateway, mqtt, websocket. Names and aliases as nats-server takes them.
#include <stddef.h>
#include <string.h>

#include "base/time.h"
#include "options/reader.h"

#define FIELD(member) offsetof(dbk_options, member)

static daybook_status read_listen(dbk_option_reader *reader, const dbk_option_key *key,
                                  const dbk_config_entry *entry, void *target) {
    return dbk_option_take_listen(reader, entry, (dbk_listen_options *)((char *)target + key->offset));
}

// client_advertise: where clients are told that the server is.
static daybook_status read_advertise(dbk_option_reader *reader, const dbk_option_key *key,
                                     const dbk_config_entry *entry, void *target) {
    dbk_listen_options *advertised = (dbk_listen_options *)((char *)target + key->offset);
    if (entry->value->kind != DBK_CONFIG_STRING)
        return dbk_option_fail_kind(reader, entry, "give host or host:port");
    dbk_slice host = entry->value->text, digits;
    int64_t port = 0;
    bool is_right = memchr(host.data, ':', host.size) == NULL ||
                    (dbk_option_split_address(host, &host, &digits) &&
                     dbk_config_parse_integer(digits, &port) && port >= -1 && port <= 65535);
    if (!is_right || host.size == 0)
        return dbk_option_fail(
            reader, &entry->place, DAYBOOK_EINVALID,
            "client_advertise is '%s', not where clients find the server; give host or host:port",
            (const char *)entry->value->text.data);
    advertised->port = port > 0 ? (int32_t)port : 0;
    return dbk_option_keep_text(reader, host, &advertised->host);
}

// "https" and "https_port": the monitor, with the certificate of clients.
static daybook_status read_https(dbk_option_reader *reader, const dbk_option_key *key,
                                 const dbk_config_entry *entry, void *target) {
    dbk_options *options = target;
    (void)key;
    DBK_TRY(dbk_option_take_listen(reader, entry, &options->http));
    options->http_tls = options->http.port != DBK_PORT_NONE;
    return DAYBOOK_OK;
}

// There is no system account whose traffic could be shown besides.
static daybook_status read_trace_verbose(dbk_option_reader *reader, const dbk_option_key *key,
                                         const dbk_config_entry *entry, void *target) {
    dbk_options *options = target;
    (void)key;
    if (entry->value->kind != DBK_CONFIG_BOOLEAN)
        return dbk_option_fail_kind(reader, entry, "give true or false");
    options->log.trace = entry->value->boolean;
    return DAYBOOK_OK;
}

// nats-server: 0 is the default, a negative number lets nobody in.
static daybook_status read_connections_max(dbk_option_reader *reader, const dbk_option_key *key,
                                           const dbk_config_entry *entry, void *target) {
    dbk_options *options = target;
    (void)key;
    if (entry->value->kind != DBK_CONFIG_INTEGER)
        return dbk_option_fail_kind(reader, entry, "give a whole number");
    int64_t count = entry->value->integer;
    if (count != 0) options->limits.connections_max = count < 0 ? 0 : count;
    return DAYBOOK_OK;
}

static daybook_status read_server_name(dbk_option_reader *reader, const dbk_option_key *key,
                                       const dbk_config_entry *entry, void *target) {
    dbk_options *options = target;
    (void)key;
    dbk_slice name;
    DBK_TRY(dbk_option_take_text(reader, entry, &name));
    options->server_name = NULL;
    if (name.size == 0) return DAYBOOK_OK;
    for (size_t i = 0; i < name.size; i++) {
        if ((unsigned char)((const char *)name.data)[i] <= ' ')
            return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                                   "%s has blanks in it; write it without", (const char *)entry->key.data);
    }
    return dbk_option_keep_text(reader, name, &options->server_name);
}

static daybook_status read_system_account(dbk_option_reader *reader, const dbk_option_key *key,
                                          const dbk_config_entry *entry, void *target) {
    (void)key, (void)target;
    dbk_slice name;
    DBK_TRY(dbk_option_take_text(reader, entry, &name));
    reader->system_account = name.data;
    return DAYBOOK_OK;
}

static daybook_status read_announced_version(dbk_option_reader *reader, const dbk_option_key *key,
                                             const dbk_config_entry *entry, void *target) {
    dbk_options *options = target;
    (void)key;
    dbk_slice text;
    DBK_TRY(dbk_option_take_text(reader, entry, &text));
    const char *at = text.data;
    unsigned dots = 0;
    for (size_t i = 0; i < text.size; i++) {
        bool is_digit = at[i] >= '0' && at[i] <= '9';
        bool may_be_dot = i > 0 && at[i - 1] != '.' && i + 1 < text.size;
        if (at[i] == '.' && may_be_dot) dots++;
        if (is_digit || (at[i] == '.' && may_be_dot)) continue;
        dots = 0;
        break;
    }
    if (dots != 2)
        return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                               "%s is '%s', not a version; give three numbers, such as 2.12.0",
                               (const char *)entry->key.data, at);
    return dbk_option_keep_text(reader, text, &options->announced_version);
}

static const char no_operator[] = "there is no operator mode (JWT); name users or nkeys in authorization";
static const char no_mappings[] = "subjects are not mapped; publish to the subjects that are meant";

const dbk_option_key dbk_option_top_keys[] = {
    // Where, and as what.
    {.names = "listen", .kind = DBK_OPTION_CUSTOM, .handle = read_listen, .offset = FIELD(client)},
    {.names = "host net addr", .kind = DBK_OPTION_TEXT, .offset = FIELD(client.host)},
    {.names = "port",
     .kind = DBK_OPTION_PORT,
     .offset = FIELD(client.port),
     .flags = DBK_OPTION_ZERO_IS_DEFAULT},
    {.names = "dont_listen", .kind = DBK_OPTION_BOOLEAN, .offset = FIELD(dont_listen)},
    {.names = "reuse_port",
     .kind = DBK_OPTION_NOT_SERVED,
     .text = "a store has one server, so its port has one, too"},
    {.names = "server_name",
     .kind = DBK_OPTION_CUSTOM,
     .handle = read_server_name,
     .offset = FIELD(server_name)},
    {.names = "server_tags", .kind = DBK_OPTION_TEXTS, .offset = FIELD(tags), .changed = DBK_CHANGED_TAGS},
    {.names = "client_advertise",
     .kind = DBK_OPTION_CUSTOM,
     .handle = read_advertise,
     .offset = FIELD(advertised)},
    {.names = "announced_version",
     .kind = DBK_OPTION_CUSTOM,
     .handle = read_announced_version,
     .offset = FIELD(announced_version)},

    // Monitoring.
    {.names = "http", .kind = DBK_OPTION_CUSTOM, .handle = read_listen, .offset = FIELD(http)},
    {.names = "http_port monitor_port", .kind = DBK_OPTION_PORT, .offset = FIELD(http.port)},
    {.names = "https", .kind = DBK_OPTION_CUSTOM, .handle = read_https, .offset = FIELD(http)},
    {.names = "https_port", .kind = DBK_OPTION_CUSTOM, .handle = read_https, .offset = FIELD(http)},
    {.names = "http_base_path", .kind = DBK_OPTION_TEXT, .offset = FIELD(http_base_path)},
    {.names = "prof_port", .kind = DBK_OPTION_NOT_SERVED},
    {.names = "prof_block_rate", .kind = DBK_OPTION_IGNORED},

    // Limits.
    {.names = "max_control_line",
     .kind = DBK_OPTION_INTEGER,
     .offset = FIELD(limits.control_line_max),
     .minimum = 0,
     .maximum = INT32_MAX,
     .flags = DBK_OPTION_ZERO_IS_DEFAULT,
     .changed = DBK_CHANGED_LIMITS},
    {.names = "max_payload",
     .kind = DBK_OPTION_INTEGER,
     .offset = FIELD(limits.payload_max),
     .minimum = 0,
     .maximum = INT32_MAX,
     .flags = DBK_OPTION_ZERO_IS_DEFAULT,
     .changed = DBK_CHANGED_LIMITS},
    {.names = "max_pending",
     .kind = DBK_OPTION_INTEGER,
     .offset = FIELD(limits.pending_max),
     .minimum = 0,
     .flags = DBK_OPTION_ZERO_IS_DEFAULT,
     .changed = DBK_CHANGED_LIMITS},
    {.names = "max_connections max_conn",
     .kind = DBK_OPTION_CUSTOM,
     .handle = read_connections_max,
     .offset = FIELD(limits.connections_max),
     .changed = DBK_CHANGED_LIMITS},
    {.names = "max_subscriptions max_subs",
     .kind = DBK_OPTION_INTEGER,
     .offset = FIELD(limits.subscriptions_max),
     .minimum = 0,
     .changed = DBK_CHANGED_LIMITS},
    {.names = "max_sub_tokens max_subscription_tokens",
     .kind = DBK_OPTION_INTEGER,
     .offset = FIELD(limits.subscription_tokens_max),
     .minimum = 1,
     .maximum = 255,
     .changed = DBK_CHANGED_LIMITS},
    {.names = "ping_interval",
     .kind = DBK_OPTION_DURATION,
     .offset = FIELD(limits.ping_interval_ns),
     .minimum = DBK_MILLISECOND_NS,
     .flags = DBK_OPTION_ZERO_IS_DEFAULT,
     .changed = DBK_CHANGED_LIMITS},
    {.names = "ping_max",
     .kind = DBK_OPTION_INTEGER,
     .offset = FIELD(limits.pings_out_max),
     .minimum = 0,
     .maximum = INT32_MAX,
     .flags = DBK_OPTION_ZERO_IS_DEFAULT,
     .changed = DBK_CHANGED_LIMITS},
    {.names = "write_deadline",
     .kind = DBK_OPTION_DURATION,
     .offset = FIELD(limits.write_deadline_ns),
     .minimum = DBK_MILLISECOND_NS,
     .flags = DBK_OPTION_ZERO_IS_DEFAULT,
     .changed = DBK_CHANGED_LIMITS},
    {.names = "max_closed_clients",
     .kind = DBK_OPTION_INTEGER,
     .offset = FIELD(limits.closed_clients_max),
     .minimum = 0,
     .maximum = INT32_MAX,
     .flags = DBK_OPTION_ZERO_IS_DEFAULT,
     .changed = DBK_CHANGED_LIMITS},

    // Who may.
    {.names = "authorization",
     .kind = DBK_OPTION_CUSTOM,
     .handle = dbk_option_read_authorization,
     .offset = FIELD(auth)},
    {.names = "accounts",
     .kind = DBK_OPTION_CUSTOM,
     .handle = dbk_option_read_accounts,
     .offset = FIELD(auth)},
    {.names = "no_auth_user",
     .kind = DBK_OPTION_TEXT,
     .offset = FIELD(no_auth_user),
     .changed = DBK_CHANGED_AUTH},
    {.names = "system_account system", .kind = DBK_OPTION_CUSTOM, .handle = read_system_account},
    {.names = "no_system_account no_system no_sys_acc", .kind = DBK_OPTION_IGNORED},
    {.names = "tls", .kind = DBK_OPTION_CUSTOM, .handle = dbk_option_read_tls, .offset = FIELD(tls)},
    {.names = "allow_non_tls",
     .kind = DBK_OPTION_BOOLEAN,
     .offset = FIELD(allow_non_tls),
     .changed = DBK_CHANGED_TLS},
    {.names = "ocsp", .kind = DBK_OPTION_NOT_SERVED, .text = "clients get no stapled answers"},
    {.names = "ocsp_cache", .kind = DBK_OPTION_IGNORED},
    {.names = "no_header_support", .kind = DBK_OPTION_BOOLEAN, .offset = FIELD(no_headers)},
    {.names = "always_enable_nonce", .kind = DBK_OPTION_BOOLEAN, .offset = FIELD(nonce_always)},
    {.names = "operator operators root roots root_operator root_operators",
     .kind = DBK_OPTION_REFUSED,
     .text = no_operator},
    {.names = "resolver account_resolver accounts_resolver resolver_preload resolver_pinned_accounts",
     .kind = DBK_OPTION_REFUSED,
     .text = no_operator},
    {.names = "resolver_tls trusted trusted_keys default_sentinel",
     .kind = DBK_OPTION_REFUSED,
     .text = no_operator},
    {.names = "mappings maps", .kind = DBK_OPTION_REFUSED, .text = no_mappings},
    {.names = "proxies", .kind = DBK_OPTION_REFUSED, .text = "trusted proxies are unknown here; remove them"},

    // The store.
    {.names = "jetstream",
     .kind = DBK_OPTION_CUSTOM,
     .handle = dbk_option_read_jetstream,
     .offset = FIELD(jetstream)},
    {.names = "store_dir storedir",
     .kind = DBK_OPTION_CUSTOM,
     .handle = dbk_option_read_store_dir,
     .offset = FIELD(jetstream.store_dir)},
    {.names = "default_js_domain", .kind = DBK_OPTION_NOT_SERVED},

    // The log and files.
    {.names = "debug", .kind = DBK_OPTION_BOOLEAN, .offset = FIELD(log.debug), .changed = DBK_CHANGED_LOG},
    {.names = "trace", .kind = DBK_OPTION_BOOLEAN, .offset = FIELD(log.trace), .changed = DBK_CHANGED_LOG},
    {.names = "trace_verbose",
     .kind = DBK_OPTION_CUSTOM,
     .handle = read_trace_verbose,
     .changed = DBK_CHANGED_LOG},
    {.names = "trace_headers", .kind = DBK_OPTION_IGNORED},
    {.names = "logtime", .kind = DBK_OPTION_BOOLEAN, .offset = FIELD(log.time), .changed = DBK_CHANGED_LOG},
    {.names = "logtime_utc",
     .kind = DBK_OPTION_BOOLEAN,
     .offset = FIELD(log.time_utc),
     .changed = DBK_CHANGED_LOG},
    {.names = "log_file logfile",
     .kind = DBK_OPTION_TEXT,
     .offset = FIELD(log.file),
     .changed = DBK_CHANGED_LOG},
    {.names = "log_size_limit logfile_size_limit",
     .kind = DBK_OPTION_SIZE,
     .offset = FIELD(log.file_bytes_max),
     .minimum = 0,
     .changed = DBK_CHANGED_LOG},
    {.names = "log_max_num logfile_max_num",
     .kind = DBK_OPTION_INTEGER,
     .offset = FIELD(log.file_count_max),
     .minimum = 0,
     .changed = DBK_CHANGED_LOG},
    {.names = "max_traced_msg_len",
     .kind = DBK_OPTION_INTEGER,
     .offset = FIELD(log.traced_message_max),
     .minimum = 0,
     .changed = DBK_CHANGED_LOG},
    {.names = "syslog",
     .kind = DBK_OPTION_NOT_SERVED,
     .text = "log lines go to standard error or to log_file"},
    {.names = "remote_syslog",
     .kind = DBK_OPTION_NOT_SERVED,
     .text = "log lines go to standard error or to log_file"},
    {.names = "pid_file pidfile",
     .kind = DBK_OPTION_TEXT,
     .offset = FIELD(pid_file),
     .changed = DBK_CHANGED_FILES},
    {.names = "ports_file_dir",
     .kind = DBK_OPTION_TEXT,
     .offset = FIELD(ports_file_dir),
     .changed = DBK_CHANGED_FILES},
    {.names = "lame_duck_duration",
     .kind = DBK_OPTION_DURATION,
     .offset = FIELD(lame_duck_duration_ns),
     .minimum = 30 * DBK_SECOND_NS,
     .flags = DBK_OPTION_ZERO_IS_DEFAULT,
     .changed = DBK_CHANGED_LAME_DUCK},
    {.names = "lame_duck_grace_period",
     .kind = DBK_OPTION_DURATION,
     .offset = FIELD(lame_duck_grace_ns),
     .minimum = 0,
     .changed = DBK_CHANGED_LAME_DUCK},

    // Neighbours.
    {.names = "websocket ws",
     .kind = DBK_OPTION_CUSTOM,
     .handle = dbk_option_read_websocket,
     .offset = FIELD(websocket)},
    {.names = "cluster leafnodes leaf gateway mqtt",
     .kind = DBK_OPTION_CUSTOM,
     .handle = dbk_option_read_neighbours},

    // Nothing of the kind is here to be set.
    {.names = "disable_sublist_cache no_sublist_cache connect_error_reports reconnect_error_reports",
     .kind = DBK_OPTION_IGNORED},
    {.names = "no_fast_producer_stall feature_flags server_metadata metadata", .kind = DBK_OPTION_IGNORED},
    {.names = NULL},
};

// --- Neighbours ---

static const char one_server[] = "this is a server for one node; remove it, or use nats-server for more";

// What of a block connects to others is refused; what only lets others connect is said to the log.
static const dbk_option_key cluster_keys[] = {
    {.names = "routes", .kind = DBK_OPTION_REFUSED, .text = one_server},
    {.names = "name listen port host net authorization tls cluster_advertise advertise no_advertise",
     .kind = DBK_OPTION_IGNORED},
    {.names =
         "connect_retries connect_backoff permissions pool_size accounts compression ping_interval ping_max",
     .kind = DBK_OPTION_IGNORED},
    {.names = "write_deadline write_timeout max_pings_out", .kind = DBK_OPTION_IGNORED},
    {.names = NULL},
};

static const dbk_option_key leafnodes_keys[] = {
    {.names = "remotes", .kind = DBK_OPTION_REFUSED, .text = one_server},
    {.names = "listen port host net authorization reconnect reconnect_delay reconnect_interval tls",
     .kind = DBK_OPTION_IGNORED},
    {.names = "leafnode_advertise advertise no_advertise min_version minimum_version compression",
     .kind = DBK_OPTION_IGNORED},
    {.names = "isolate_leafnode_interest isolate write_deadline write_timeout", .kind = DBK_OPTION_IGNORED},
    {.names = NULL},
};

static const dbk_option_key gateway_keys[] = {
    {.names = "gateways", .kind = DBK_OPTION_REFUSED, .text = one_server},
    {.names = "name listen port host net authorization tls advertise connect_retries connect_backoff",
     .kind = DBK_OPTION_IGNORED},
    {.names = "reject_unknown reject_unknown_cluster write_deadline write_timeout",
     .kind = DBK_OPTION_IGNORED},
    {.names = NULL},
};

static const dbk_option_key mqtt_keys[] = {
    {.names = "listen port host net tls authorization authentication no_auth_user ack_wait max_ack_pending",
     .kind = DBK_OPTION_IGNORED},
    {.names = "js_domain stream_replicas consumer_replicas consumer_memory_storage js_api_timeout",
     .kind = DBK_OPTION_IGNORED},
    {.names =
         "consumer_inactive_threshold consumer_auto_cleanup reject_qos2_publish downgrade_qos2_subscribe",
     .kind = DBK_OPTION_IGNORED},
    {.names = NULL},
};

daybook_status dbk_option_read_neighbours(dbk_option_reader *reader, const dbk_option_key *key,
                                          const dbk_config_entry *entry, void *target) {
    static const struct {
        const char *name;
        const dbk_option_key *keys;
    } blocks[] = {{"cluster", cluster_keys},
                  {"leafnodes", leafnodes_keys},
                  {"leaf", leafnodes_keys},
                  {"gateway", gateway_keys},
                  {"mqtt", mqtt_keys}};
    (void)key;
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        const dbk_option_key name = {.names = blocks[i].name};
        const dbk_option_key pair[] = {name, {.names = NULL}};
        if (dbk_option_find(pair, entry->key) == NULL) continue;
        DBK_TRY(dbk_option_read_map(reader, blocks[i].keys, blocks[i].name, entry, target));
    }
    if (entry->value->count == 0) return DAYBOOK_OK;
    return dbk_option_notice(reader, &entry->place, "%s is not served: nobody can connect to it",
                             (const char *)entry->key.data);
}

// --- WebSocket ---

#define WEBSOCKET(member) offsetof(dbk_websocket_options, member)

static const dbk_option_key websocket_keys[] = {
    {.names = "listen", .kind = DBK_OPTION_CUSTOM, .handle = read_listen, .offset = WEBSOCKET(listen)},
    {.names = "host net", .kind = DBK_OPTION_TEXT, .offset = WEBSOCKET(listen.host)},
    {.names = "port", .kind = DBK_OPTION_PORT, .offset = WEBSOCKET(listen.port)},
    {.names = "no_tls compression", .kind = DBK_OPTION_IGNORED},
    {.names = "tls", .kind = DBK_OPTION_CUSTOM, .handle = dbk_option_read_tls, .offset = WEBSOCKET(tls)},
    {.names =
         "advertise handshake_timeout same_origin allowed_origins allowed_origin allow_origins allow_origin",
     .kind = DBK_OPTION_IGNORED},
    {.names = "origins origin jwt_cookie user_cookie pass_cookie token_cookie no_auth_user",
     .kind = DBK_OPTION_IGNORED},
    {.names = "authorization authentication ping_interval headers", .kind = DBK_OPTION_IGNORED},
    {.names = NULL},
};

daybook_status dbk_option_read_websocket(dbk_option_reader *reader, const dbk_option_key *key,
                                         const dbk_config_entry *entry, void *target) {
    dbk_websocket_options *websocket = (dbk_websocket_options *)((char *)target + key->offset);
    websocket->is_set = true;
    DBK_TRY(dbk_option_read_map(reader, websocket_keys, "websocket", entry, websocket));
    return dbk_option_notice(reader, &entry->place, "%s is not served yet: browsers cannot connect",
                             (const char *)entry->key.data);
}
