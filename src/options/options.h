// SPDX-License-Identifier: Apache-2.0
// What a server was told: the public daybook_server_options, the configuration file and the defaults,
// resolved into one struct that everything in the server reads. Made whole and checked before anything
// starts; constant afterwards. A reload makes a second one, compares it with dbk_options_diff, and swaps the
// pointer.
//
// Order of precedence: what daybook_server_options says, then its `overrides` (flags of the command line come
// that way), its `config_text`, the file, the defaults. Texts are NUL-terminated; NULL means unset. All
// memory belongs to the struct.
//
// What the file asks for and this server cannot give is refused with a message that names the place, where
// ignoring it would change who may do what or where data goes (several accounts, operator mode, routes,
// mappings, encryption at rest). What is harmless is taken and named in `notices`, for the log.
//
// Tables: keys.c maps keys to fields; tls.c, auth.c, jetstream.c, ... their blocks.
// Threads: none; pure but for the callbacks given to dbk_options_load.
#ifndef DBK_OPTIONS_OPTIONS_H
#define DBK_OPTIONS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "daybook/status.h"
#include "daybook/sys/allocator.h"

struct daybook_server_options;

/// A port number, or one of these.
enum {
    DBK_PORT_RANDOM = -1, // let the operating system choose
    DBK_PORT_NONE = 0     // do not listen
};

typedef struct dbk_text_list {
    const char *const *items;
    size_t count;
} dbk_text_list;

/// Publish or subscribe rules of a user.
typedef struct dbk_subject_rules {
    bool has_allow;      // false: everything is allowed that is not denied; true with no items: nothing is
    dbk_text_list allow; // filters; for subscribe also "filter queue"
    dbk_text_list deny;
} dbk_subject_rules;

typedef struct dbk_permission_options {
    dbk_subject_rules publish;
    dbk_subject_rules subscribe;
    bool allow_responses;        // may publish to reply subjects of what was delivered to it
    int64_t responses_max;       // for each reply subject; -1 without limit. Default 1
    int64_t responses_expire_ns; // -1 never. Default 2 minutes
} dbk_permission_options;

/// Bits of dbk_user_options.connection_types; 0 means all.
enum {
    DBK_CONNECTION_STANDARD = 1,
    DBK_CONNECTION_WEBSOCKET = 2,
    DBK_CONNECTION_LEAFNODE = 4,
    DBK_CONNECTION_MQTT = 8,
    DBK_CONNECTION_IN_PROCESS = 16,
    DBK_CONNECTION_OTHER = 32
};

/// One user: by name and password, or by nkey; exactly one of `user` and `nkey` is set. With a token there
/// are no users; see dbk_auth_options.
typedef struct dbk_user_options {
    const char *user;
    const char *password; // plain, or bcrypt where dbk_password_is_bcrypt; never NULL with `user`
    const char *nkey;     // "U…", 56 characters; checked here in form only
    bool has_permissions; // false: no restriction (default_permissions are filled in already)
    dbk_permission_options permissions;
    uint32_t connection_types;
    dbk_config_place place;
} dbk_user_options;

/// Who may connect. `is_set` false: everybody.
typedef struct dbk_auth_options {
    bool is_set;
    const char *token;             // plain or bcrypt; NULL: users count
    const dbk_user_options *users; // {user, password} alone is a list of one
    size_t user_count;
    const dbk_user_options *no_auth_user; // whom a client is that names nobody; one of users, or NULL
    int64_t timeout_ns;       // time to say CONNECT; default 2 s, with TLS its timeout and 1 s more
    const char *account_name; // the account the users are in: "$G", or the one account of the file
} dbk_auth_options;

typedef struct dbk_tls_options {
    bool is_set;
    const char *cert_file;
    const char *key_file;
    const char *ca_file; // NULL: the system's
    bool verify;         // clients must show a certificate
    bool verify_and_map; // and its name is their user
    int64_t timeout_ns;  // of the handshake; default 2 s
    bool handshake_first;
    int64_t handshake_first_wait_ns; // 0: for ever; else nothing came for so long: INFO (auto: 50 ms)
    int min_version;                 // 0x0303 TLS 1.2 (default), 0x0304 TLS 1.3
    dbk_text_list cipher_suites;     // names as Go and IANA write them; empty: default
    dbk_text_list curve_preferences; // empty: default
    dbk_text_list pinned_certs; // SHA-256 of the public key info, 64 hex digits in lower case; empty: any
    dbk_config_place place;
} dbk_tls_options;

typedef struct dbk_listen_options {
    const char *host; // "0.0.0.0" by default
    int32_t port;     // 1 to 65535, DBK_PORT_RANDOM or DBK_PORT_NONE
} dbk_listen_options;

typedef struct dbk_log_options {
    const char *file; // NULL: standard error
    bool debug;
    bool trace; // protocol lines and payloads
    bool time;  // default true
    bool time_utc;
    int64_t file_bytes_max;     // beyond, a new one begins; 0 never
    int64_t file_count_max;     // so many of them, the one written to included; 0 all
    int64_t traced_message_max; // bytes shown of a payload; 0 all
} dbk_log_options;

typedef struct dbk_limit_options {
    int64_t control_line_max;        // bytes; 4096
    int64_t payload_max;             // bytes, headers included; 1 MiB
    int64_t pending_max;             // bytes waiting for one client; 64 MiB
    int64_t connections_max;         // 65,536; -1 none, 0 nobody
    int64_t subscriptions_max;       // of a connection; 0 no limit
    int64_t subscription_tokens_max; // 0 no limit
    int64_t write_deadline_ns;       // 10 s
    int64_t ping_interval_ns;        // 2 min
    int64_t pings_out_max;           // 2
    int64_t closed_clients_max;      // remembered for /connz; 10,000
} dbk_limit_options;

typedef struct dbk_jetstream_options {
    bool enabled;
    bool is_denied;        // not enabled, because the account does not have it though the server would
    const char *store_dir; // as given; the store lies in <store_dir>/jetstream. NULL: in the temporary folder
    int64_t memory_max;    // bytes of all streams in memory; -1: no limit
    int64_t file_max;      // the same of those in files
    int64_t account_memory_max; // the same, as the account has them: clients are told
    int64_t account_file_max;
    const char *domain;                // NULL: none
    bool strict;                       // refuse unknown fields in requests; default true
    int64_t ack_pending_max;           // upper bound of consumers; 0 none
    int64_t request_batch_max;         // of a pull; 0 none
    int64_t duplicates_max_ns;         // upper bound of duplicate_window; 0 none
    int64_t batch_inflight_per_stream; // atomic batches; 50
    int64_t batch_inflight_total;      // 1000
    int64_t batch_size_max;            // messages; 1000
    int64_t batch_timeout_ns;          // 10 s
    int64_t request_queue_limit;       // API requests waiting; 10,000
    int64_t stream_bytes_max;          // largest max_bytes a stream may ask for; 0 none
    int64_t memory_stream_bytes_max;   // the same of one in memory
    bool stream_bytes_required;        // a stream must have max_bytes
    int64_t streams_max;               // -1 none
    int64_t consumers_max;             // of a stream; -1 none
    dbk_config_place place;
} dbk_jetstream_options;

typedef struct dbk_websocket_options {
    bool is_set; // the block is there; it is not served yet, see notices
    dbk_listen_options listen;
    dbk_tls_options tls;
} dbk_websocket_options;

typedef struct dbk_options dbk_options;

struct dbk_options {
    // What the server is called.
    const char *server_name; // NULL: its id
    dbk_text_list tags;
    const char *announced_version;
    dbk_listen_options advertised; // client_advertise: clients are told. Host NULL, port 0: as it listens
    const char *config_file;       // NULL: none
    const char *no_auth_user;      // as given; resolved in auth

    dbk_listen_options client; // port 4222; DBK_PORT_NONE with dont_listen
    bool dont_listen;
    dbk_limit_options limits;
    bool no_headers;
    bool nonce_always; // always_enable_nonce
    bool allow_non_tls;
    dbk_tls_options tls;
    dbk_auth_options auth;

    dbk_listen_options http; // monitoring; port DBK_PORT_NONE: off
    bool http_tls;           // https: with the certificate of `tls`
    const char *http_base_path;

    dbk_jetstream_options jetstream;
    dbk_websocket_options websocket;

    dbk_log_options log;
    const char *pid_file;
    const char *ports_file_dir;
    int64_t lame_duck_duration_ns; // 2 min
    int64_t lame_duck_grace_ns;    // 10 s

    dbk_text_list notices; // lines for the log at start: what was taken but is not served

    // Private to src/options.
    struct dbk_options_memory *memory;
};

/// The defaults with nothing set: tests begin here. ENOMEM.
daybook_status dbk_options_new(const daybook_allocator *allocator, dbk_options **options_out);
void dbk_options_free(dbk_options *options);

/// Everything: defaults, then the file given->config_file where there is one, config_text, overrides, and
/// what `given` says itself, each laid over the ones before; then the checks that need all of it. `given` may
/// be NULL, and `source`, through which files and the environment are read.
/// @return DAYBOOK_OK; EINVALID: a key or value nobody knows, out of range or against another one;
///         EUNSUPPORTED: asks for what this server does not do; ENOTFOUND, EPERMISSION, EIO: of the files;
///         ELIMIT, ENOMEM. The message begins with the place: "nats.conf:3:7: ", "--port: "
daybook_status dbk_options_load(const struct daybook_server_options *given, const dbk_config_source *source,
                                const daybook_allocator *allocator, dbk_options **options_out,
                                daybook_error *error);

/// The part of dbk_options_load that reads a tree; for tests.
daybook_status dbk_options_read_config(dbk_options *options, const dbk_config_value *root,
                                       daybook_error *error);
/// The part that checks the whole, once everything was set; for tests.
daybook_status dbk_options_check(dbk_options *options, daybook_error *error);

/// What a reload changes; bits.
enum {
    DBK_CHANGED_AUTH = 1,       // users, passwords, permissions, token, no_auth_user, timeout
    DBK_CHANGED_TLS = 2,        // file names or settings (the files are read again in any case)
    DBK_CHANGED_LOG = 4,        // file, debug, trace, sizes
    DBK_CHANGED_LIMITS = 8,     // dbk_limit_options
    DBK_CHANGED_LAME_DUCK = 16, // durations
    DBK_CHANGED_FILES = 32,     // pid file, ports folder
    DBK_CHANGED_TAGS = 64,
    DBK_CHANGED_ADVERTISE = 128,
    DBK_CHANGED_JETSTREAM = 256 // limits of it; not where its data lies
};

/// What differs, as bits. Where something differs that needs a restart: EUNSUPPORTED, and the message names
/// it, its place and both values; nothing may be applied then.
daybook_status dbk_options_diff(const dbk_options *now, const dbk_options *next, uint32_t *changed_out,
                                daybook_error *error);

/// Where the value of `key` ("port", "tls", "jetstream.store_dir") came from: "nats.conf:3:7", "command
/// line", "default". Borrowed from options.
const char *dbk_options_origin(const dbk_options *options, const char *key);

/// "$2a$…", "$2b$…", "$2x$…", "$2y$…".
bool dbk_password_is_bcrypt(const char *password);

#endif
