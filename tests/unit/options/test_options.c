// SPDX-License-Identifier: Apache-2.0
// Options of a server from configuration texts.
#define _POSIX_C_SOURCE 200809L // mkdtemp

#include "options/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daybook/server.h"
#include "lib/fault_allocator.h"
#include "options/files.h"

#define SECOND INT64_C(1000000000)
#define MILLISECOND INT64_C(1000000)

static const char *get_variable(void *context, const char *name) {
    (void)context;
    return strcmp(name, "SECRET") == 0 ? "12345" : NULL;
}

static const dbk_config_source source = {NULL, NULL, get_variable};

static daybook_status load_as(const char *text, const char *overrides, dbk_options **options_out,
                              daybook_error *error) {
    daybook_server_options given;
    memset(&given, 0, sizeof given);
    given.config_text = daybook_text(text);
    given.overrides = daybook_text(overrides);
    return dbk_options_load(&given, &source, dbk_allocator_default(), options_out, error);
}

static dbk_options *load(const char *text) {
    dbk_options *options;
    daybook_error error;
    if (load_as(text, NULL, &options, &error) != DAYBOOK_OK)
        fail_msg("<<%s>> is refused: %s", text, error.message);
    return options;
}

static void nothing_said_is_the_defaults_of_nats(void **state) {
    (void)state;
    dbk_options *options = load("");
    assert_string_equal(options->client.host, "0.0.0.0");
    assert_int_equal(options->client.port, 4222);
    assert_int_equal(options->http.port, DBK_PORT_NONE);
    assert_int_equal(options->limits.control_line_max, 4096);
    assert_int_equal(options->limits.payload_max, 1 << 20);
    assert_int_equal(options->limits.pending_max, 64 << 20);
    assert_int_equal(options->limits.connections_max, 65536);
    assert_int_equal(options->limits.subscriptions_max, 0);
    assert_int_equal(options->limits.write_deadline_ns, 10 * SECOND);
    assert_int_equal(options->limits.ping_interval_ns, 120 * SECOND);
    assert_int_equal(options->limits.pings_out_max, 2);
    assert_int_equal(options->lame_duck_duration_ns, 120 * SECOND);
    assert_int_equal(options->lame_duck_grace_ns, 10 * SECOND);
    assert_int_equal(options->auth.timeout_ns, 2 * SECOND);
    assert_false(options->auth.is_set);
    assert_false(options->tls.is_set);
    assert_false(options->jetstream.enabled);
    assert_true(options->jetstream.strict);
    assert_int_equal(options->jetstream.file_max, -1);
    assert_int_equal(options->jetstream.batch_size_max, 1000);
    assert_true(options->log.time);
    assert_null(options->server_name);
    assert_non_null(options->announced_version);
    assert_int_equal(options->notices.count, 0);
    assert_string_equal(dbk_options_origin(options, "port"), "default");
    dbk_options_free(options);
}

// Fields by what a text makes of them.
enum field_kind { FIELD_INT64, FIELD_INT32, FIELD_BOOL, FIELD_TEXT };

#define AT(member) offsetof(dbk_options, member)

static const struct {
    const char *text;
    size_t offset;
    enum field_kind kind;
    int64_t number;
    const char *value;
} fields[] = {
    {"listen: 127.0.0.1:4333", AT(client.port), FIELD_INT32, 4333, NULL},
    {"listen: 127.0.0.1:4333", AT(client.host), FIELD_TEXT, 0, "127.0.0.1"},
    {"listen: '[::1]:4333'", AT(client.host), FIELD_TEXT, 0, "::1"},
    {"listen: :4333", AT(client.host), FIELD_TEXT, 0, "0.0.0.0"},
    {"listen: 4333", AT(client.port), FIELD_INT32, 4333, NULL},
    {"listen: localhost:-1", AT(client.port), FIELD_INT32, -1, NULL},
    {"port: 4333", AT(client.port), FIELD_INT32, 4333, NULL},
    {"PORT: 4333", AT(client.port), FIELD_INT32, 4333, NULL},
    {"port: 0", AT(client.port), FIELD_INT32, 4222, NULL},
    {"port: -1", AT(client.port), FIELD_INT32, -1, NULL},
    {"dont_listen: true", AT(client.port), FIELD_INT32, 0, NULL},
    {"host: a.example", AT(client.host), FIELD_TEXT, 0, "a.example"},
    {"net: 10.0.0.1", AT(client.host), FIELD_TEXT, 0, "10.0.0.1"},
    {"server_name: n1", AT(server_name), FIELD_TEXT, 0, "n1"},
    {"announced_version: 2.12.3", AT(announced_version), FIELD_TEXT, 0, "2.12.3"},
    {"http: 8222", AT(http.port), FIELD_INT32, 8222, NULL},
    {"http: '127.0.0.1:-1'", AT(http.port), FIELD_INT32, -1, NULL},
    {"http: '127.0.0.1:-1'", AT(http.host), FIELD_TEXT, 0, "127.0.0.1"},
    {"host: 1.2.3.4\nhttp_port: 8222", AT(http.host), FIELD_TEXT, 0, "1.2.3.4"},
    {"monitor_port: 8222", AT(http.port), FIELD_INT32, 8222, NULL},
    {"tls { cert_file: a, key_file: b }\nhttps_port: 8443", AT(http_tls), FIELD_BOOL, 1, NULL},
    {"max_payload: 2MB", AT(limits.payload_max), FIELD_INT64, 2 << 20, NULL},
    {"max_payload: 0", AT(limits.payload_max), FIELD_INT64, 1 << 20, NULL},
    {"max_control_line: 8k", AT(limits.control_line_max), FIELD_INT64, 8000, NULL},
    {"max_pending: 10MB", AT(limits.pending_max), FIELD_INT64, 10 << 20, NULL},
    {"max_connections: 100", AT(limits.connections_max), FIELD_INT64, 100, NULL},
    {"max_conn: 0", AT(limits.connections_max), FIELD_INT64, 65536, NULL},
    {"max_connections: -1", AT(limits.connections_max), FIELD_INT64, 0, NULL},
    {"max_subs: 10", AT(limits.subscriptions_max), FIELD_INT64, 10, NULL},
    {"max_sub_tokens: 8", AT(limits.subscription_tokens_max), FIELD_INT64, 8, NULL},
    {"ping_interval: '30s'", AT(limits.ping_interval_ns), FIELD_INT64, 30 * SECOND, NULL},
    {"ping_interval: 1m30s", AT(limits.ping_interval_ns), FIELD_INT64, 90 * SECOND, NULL},
    {"ping_interval: 20", AT(limits.ping_interval_ns), FIELD_INT64, 20 * SECOND, NULL},
    {"ping_max: 5", AT(limits.pings_out_max), FIELD_INT64, 5, NULL},
    {"write_deadline: 300ms", AT(limits.write_deadline_ns), FIELD_INT64, 300 * MILLISECOND, NULL},
    {"lame_duck_duration: 45s", AT(lame_duck_duration_ns), FIELD_INT64, 45 * SECOND, NULL},
    {"lame_duck_grace_period: 0s", AT(lame_duck_grace_ns), FIELD_INT64, 0, NULL},
    {"debug: yes", AT(log.debug), FIELD_BOOL, 1, NULL},
    {"trace: on", AT(log.trace), FIELD_BOOL, 1, NULL},
    {"trace_verbose: true", AT(log.trace), FIELD_BOOL, 1, NULL},
    {"logtime: false", AT(log.time), FIELD_BOOL, 0, NULL},
    {"logfile: /tmp/x.log", AT(log.file), FIELD_TEXT, 0, "/tmp/x.log"},
    {"log_file: ''", AT(log.file), FIELD_TEXT, 0, NULL},
    {"log_size_limit: 1GB", AT(log.file_bytes_max), FIELD_INT64, 1 << 30, NULL},
    {"pidfile: p", AT(pid_file), FIELD_TEXT, 0, "p"},
    {"ports_file_dir: d", AT(ports_file_dir), FIELD_TEXT, 0, "d"},
    {"jetstream: true", AT(jetstream.enabled), FIELD_BOOL, 1, NULL},
    {"jetstream: enabled", AT(jetstream.enabled), FIELD_BOOL, 1, NULL},
    {"jetstream: Disabled", AT(jetstream.enabled), FIELD_BOOL, 0, NULL},
    {"jetstream {}", AT(jetstream.enabled), FIELD_BOOL, 1, NULL},
    {"jetstream { enabled: false }", AT(jetstream.enabled), FIELD_BOOL, 0, NULL},
    {"jetstream { store_dir: /x }", AT(jetstream.store_dir), FIELD_TEXT, 0, "/x"},
    {"store_dir: /x", AT(jetstream.store_dir), FIELD_TEXT, 0, "/x"},
    {"store_dir: /x", AT(jetstream.enabled), FIELD_BOOL, 0, NULL},
    {"jetstream { max_mem: 1G }", AT(jetstream.memory_max), FIELD_INT64, 1000000000, NULL},
    {"jetstream { max_mem: '1G' }", AT(jetstream.memory_max), FIELD_INT64, 1 << 30, NULL},
    {"jetstream { max_file_store: 10TB }", AT(jetstream.file_max), FIELD_INT64, INT64_C(10) << 40, NULL},
    {"jetstream { domain: hub }", AT(jetstream.domain), FIELD_TEXT, 0, "hub"},
    {"jetstream { strict: false }", AT(jetstream.strict), FIELD_BOOL, 0, NULL},
    {"log_max_num: 5", AT(log.file_count_max), FIELD_INT64, 5, NULL},
    {"max_traced_msg_len: 5", AT(log.traced_message_max), FIELD_INT64, 5, NULL},
    {"jetstream { limits { max_ack_pending: 7 } }", AT(jetstream.ack_pending_max), FIELD_INT64, 7, NULL},
    {"jetstream { limits { max_request_batch: 7 } }", AT(jetstream.request_batch_max), FIELD_INT64, 7, NULL},
    {"jetstream { limits { duplicate_window: '1m' } }", AT(jetstream.duplicates_max_ns), FIELD_INT64,
     60 * SECOND, NULL},
    {"jetstream { limits { max_batch_size: 10 } }", AT(jetstream.batch_size_max), FIELD_INT64, 10, NULL},
    {"jetstream { limits { batch { max_msgs: 10 } } }", AT(jetstream.batch_size_max), FIELD_INT64, 10, NULL},
    {"tls { cert_file: a, key_file: b }", AT(tls.cert_file), FIELD_TEXT, 0, "a"},
    {"tls { cert_file: a, key_file: b, verify_and_map: true }", AT(tls.verify), FIELD_BOOL, 1, NULL},
    {"tls { cert_file: a, key_file: b, timeout: 0.5 }", AT(tls.timeout_ns), FIELD_INT64, 500 * MILLISECOND,
     NULL},
    {"tls { cert_file: a, key_file: b, timeout: 3 }", AT(tls.timeout_ns), FIELD_INT64, 3 * SECOND, NULL},
    {"tls { cert_file: a, key_file: b, timeout: 3s }", AT(auth.timeout_ns), FIELD_INT64, 4 * SECOND, NULL},
    {"tls { cert_file: a, key_file: b, handshake_first: true }", AT(tls.handshake_first_wait_ns), FIELD_INT64,
     0, NULL},
    {"tls { cert_file: a, key_file: b, handshake_first: auto }", AT(tls.handshake_first_wait_ns), FIELD_INT64,
     50 * MILLISECOND, NULL},
    {"tls { cert_file: a, key_file: b, handshake_first: 300ms }", AT(tls.handshake_first_wait_ns),
     FIELD_INT64, 300 * MILLISECOND, NULL},
    {"tls { cert_file: a, key_file: b, first: 300ms }", AT(tls.handshake_first), FIELD_BOOL, 1, NULL},
    {"allow_non_tls: true", AT(allow_non_tls), FIELD_BOOL, 1, NULL},
    {"websocket { port: -1, no_tls: true }", AT(websocket.listen.port), FIELD_INT32, -1, NULL},
    {"authorization { timeout: 0.25 }", AT(auth.timeout_ns), FIELD_INT64, 250 * MILLISECOND, NULL},
    {"authorization { token: s3cr3t }", AT(auth.token), FIELD_TEXT, 0, "s3cr3t"},
    {"mappings {}\nresolver: ''", AT(client.port), FIELD_INT32, 4222, NULL},
    {"P: 4333\nport: $P", AT(client.port), FIELD_INT32, 4333, NULL},
};

static void each_key_sets_its_field(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        dbk_options *options = load(fields[i].text);
        const void *field = (const char *)options + fields[i].offset;
        int64_t number = fields[i].number;
        switch (fields[i].kind) {
        case FIELD_INT64:
            number = *(const int64_t *)field;
            break;
        case FIELD_INT32:
            number = *(const int32_t *)field;
            break;
        case FIELD_BOOL:
            number = *(const bool *)field;
            break;
        case FIELD_TEXT: {
            const char *text = *(const char *const *)field;
            bool is_same = text == NULL || fields[i].value == NULL ? text == fields[i].value
                                                                   : strcmp(text, fields[i].value) == 0;
            if (!is_same) fail_msg("<<%s>> gives %s", fields[i].text, text == NULL ? "nothing" : text);
        }
        }
        if (number != fields[i].number) fail_msg("<<%s>> gives %lld", fields[i].text, (long long)number);
        dbk_options_free(options);
    }
}

static const struct {
    const char *text;
    daybook_status status;
    const char *message;
} refusals[] = {
    {"prot: 4222", DAYBOOK_EINVALID, "configuration:1:1: unknown key prot; correct it, or remove the line"},
    {"tls { cert: a }", DAYBOOK_EINVALID, "configuration:1:7: unknown key cert in tls"},
    {"jetstream { x: 1 }", DAYBOOK_EINVALID, "configuration:1:13: unknown key x in jetstream"},
    {"port: 70000", DAYBOOK_EINVALID, "configuration:1:1: port is 70000, not a port; give 1 to 65535, or -1"},
    {"client_advertise: 'h:70000'", DAYBOOK_EINVALID,
     "configuration:1:1: client_advertise is 'h:70000', not where"},
    {"client_advertise: ':1'", DAYBOOK_EINVALID, "configuration:1:1: client_advertise is ':1', not where"},
    {"client_advertise: 'h:x'", DAYBOOK_EINVALID, "configuration:1:1: client_advertise is 'h:x', not where"},
    {"port: 4000, http_port: 4000", DAYBOOK_EINVALID,
     "configuration:1:13: the monitor's port is 4000, which is the clients'; give it another one"},
    {"port: -2", DAYBOOK_EINVALID, "configuration:1:1: port is -2, not a port"},
    {"port: '4222'", DAYBOOK_EINVALID, "configuration:1:1: port is a text; give a port number"},
    {"listen: localhost", DAYBOOK_EINVALID, "configuration:1:1: listen is 'localhost', not an address"},
    {"listen: a:b", DAYBOOK_EINVALID, "configuration:1:1: listen is 'a:b', not an address"},
    {"listen: ::1:4222", DAYBOOK_EINVALID, "configuration:1:1: listen is '::1:4222', not an address"},
    {"listen: '[]:99999'", DAYBOOK_EINVALID, "configuration:1:1: listen is 99999, not a port"},
    {"listen: true", DAYBOOK_EINVALID, "configuration:1:1: listen is just true or false; give host:port"},
    {"server_name: a.b c", DAYBOOK_EINVALID, "configuration:1:18: expected the end of the line"},
    {"server_name: 'a b'", DAYBOOK_EINVALID, "configuration:1:1: server_name has blanks in it"},
    {"server_name: 12", DAYBOOK_EINVALID,
     "configuration:1:1: server_name is a whole number; give a text; put it in"},
    {"server_tags: [a, 2]", DAYBOOK_EINVALID, "configuration:1:18: server_tags holds a whole number"},
    {"server_tags: {}", DAYBOOK_EINVALID,
     "configuration:1:1: server_tags is a map; give a text or an array of texts"},
    {"debug: 1", DAYBOOK_EINVALID, "configuration:1:1: debug is a whole number; give true or false"},
    {"max_payload: 1.5", DAYBOOK_EINVALID, "configuration:1:1: max_payload is a number; give a whole number"},
    {"max_payload: -1", DAYBOOK_EINVALID, "configuration:1:1: max_payload is -1; give 0 to 2147483647"},
    {"max_payload: 4GB", DAYBOOK_EINVALID,
     "configuration:1:1: max_payload is 4294967296; give 0 to 2147483647"},
    {"max_payload: 2MB\nmax_pending: 1MB", DAYBOOK_EINVALID,
     "configuration:1:1: max_payload is 2097152, more than max_pending, 1048576"},
    {"max_pending: 1k", DAYBOOK_EINVALID,
     "configuration:1:1: max_payload is 1048576, more than max_pending, 1000"},
    {"max_sub_tokens: 300", DAYBOOK_EINVALID, "configuration:1:1: max_sub_tokens is 300; give 1 to 255"},
    {"ping_interval: 5m", DAYBOOK_EINVALID,
     "configuration:1:1: ping_interval is the number 5000000, not a duration; write it in quotes, \"5m\""},
    {"ping_interval: soon", DAYBOOK_EINVALID, "configuration:1:1: ping_interval is 'soon', not a duration"},
    {"ping_interval: [1]", DAYBOOK_EINVALID, "configuration:1:1: ping_interval is an array; give a duration"},
    {"ping_interval: 99999999999", DAYBOOK_EINVALID,
     "configuration:1:1: ping_interval is 99999999999 seconds, longer"},
    {"lame_duck_duration: 10s", DAYBOOK_EINVALID,
     "configuration:1:1: lame_duck_duration is 10s; give 30s or more"},
    {"lame_duck_grace_period: -1s", DAYBOOK_EINVALID,
     "configuration:1:1: lame_duck_grace_period is -1s; give 0s or"},
    {"lame_duck_grace_period: 3m", DAYBOOK_EINVALID,
     "configuration:1:1: lame_duck_grace_period is the number"},
    {"lame_duck_grace_period: '3m'", DAYBOOK_EINVALID,
     "configuration:1:1: lame_duck_grace_period must be shorter than lame_duck_duration"},
    {"announced_version: 2.12", DAYBOOK_EINVALID, "configuration:1:1: announced_version is a number"},
    {"announced_version: '2.12'", DAYBOOK_EINVALID,
     "configuration:1:1: announced_version is '2.12', not a version"},
    {"announced_version: 2..12.1", DAYBOOK_EINVALID, "configuration:1:1: announced_version is '2..12.1'"},
    {"https: 8443", DAYBOOK_EINVALID, "configuration:1:1: https needs a certificate; name it in tls"},
    // TLS.
    {"tls: true", DAYBOOK_EINVALID, "configuration:1:1: tls is just true or false; give a map"},
    {"tls {}", DAYBOOK_EINVALID, "configuration:1:1: tls has no cert_file; name the file"},
    {"tls { cert_file: a }", DAYBOOK_EINVALID, "configuration:1:1: tls has no key_file; name the file"},
    {"tls { cert_file: a, key_file: b, min_version: 1.1 }", DAYBOOK_EINVALID,
     "configuration:1:34: min_version is no version this server speaks"},
    {"tls { cert_file: a, key_file: b, cipher_suites: [] }", DAYBOOK_EINVALID,
     "configuration:1:34: cipher_suites is no array of names"},
    {"tls { cert_file: a, key_file: b, pinned_certs: [ab] }", DAYBOOK_EINVALID,
     "configuration:1:34: pinned_certs holds 'ab', not the SHA-256 of a public key"},
    {"tls { cert_file: a, key_file: b, handshake_first: soon }", DAYBOOK_EINVALID,
     "configuration:1:34: handshake_first is none of true, false, auto and a duration"},
    // JetStream.
    {"jetstream: on_please", DAYBOOK_EINVALID,
     "configuration:1:1: jetstream is 'on_please'; give enabled, disabled"},
    {"jetstream: 1", DAYBOOK_EINVALID, "configuration:1:1: jetstream is a whole number; give enabled"},
    {"store_dir: a\njetstream { store_dir: b }", DAYBOOK_EINVALID,
     "configuration:2:13: store_dir is said twice, in line 1 already; keep one"},
    {"jetstream { max_file: '1X' }", DAYBOOK_EINVALID, "configuration:1:13: max_file is '1X', not a size"},
    {"jetstream { domain: a.b }", DAYBOOK_EINVALID, "configuration:1:13: domain is 'a.b', not one token"},
    {"jetstream { key: secret }", DAYBOOK_EUNSUPPORTED,
     "configuration:1:13: key is not supported: the store is not"},
    {"jetstream { cipher: aes }", DAYBOOK_EUNSUPPORTED, "configuration:1:13: cipher is not supported"},
    {"jetstream { sync_interval: -1s }", DAYBOOK_EINVALID, "configuration:1:13: sync_interval is negative"},
    // What one node is not.
    {"cluster { routes: [nats://a:1] }", DAYBOOK_EUNSUPPORTED,
     "configuration:1:11: routes is not supported: this is a"},
    {"leafnodes { remotes: [{url: nats://a}] }", DAYBOOK_EUNSUPPORTED,
     "configuration:1:13: remotes is not supported"},
    {"gateway { gateways: [{name: a}] }", DAYBOOK_EUNSUPPORTED,
     "configuration:1:11: gateways is not supported"},
    {"cluster { rutes: [] }", DAYBOOK_EINVALID, "configuration:1:11: unknown key rutes in cluster"},
    {"cluster: a", DAYBOOK_EINVALID, "configuration:1:1: cluster is a text; give a map"},
    {"operator: x.jwt", DAYBOOK_EUNSUPPORTED,
     "configuration:1:1: operator is not supported: there is no operator mode"},
    {"resolver: MEMORY", DAYBOOK_EUNSUPPORTED, "configuration:1:1: resolver is not supported"},
    {"trusted_keys: [a]", DAYBOOK_EUNSUPPORTED, "configuration:1:1: trusted_keys is not supported"},
    {"mappings { a: b }", DAYBOOK_EUNSUPPORTED,
     "configuration:1:1: mappings is not supported: subjects are not mapped"},
    // Who may.
    {"authorization { user: a, password: s3cr3t, token: t0k3n }", DAYBOOK_EINVALID,
     "configuration:1:1: both a user and a token; keep one"},
    {"authorization { user: a, users: [] }", DAYBOOK_EINVALID,
     "configuration:1:1: both a single user and users"},
    {"authorization { token: a, users: [] }", DAYBOOK_EINVALID, "configuration:1:1: both a token and users"},
    {"authorization { password: a }", DAYBOOK_EINVALID, "configuration:1:1: a password without a user"},
    {"authorization { token: '' }", DAYBOOK_EINVALID, "configuration:1:1: the token is empty"},
    {"authorization { token: 12345 }", DAYBOOK_EINVALID,
     "configuration:1:17: token is a whole number; give a text; put"},
    {"authorization { token: $SECRET }", DAYBOOK_EINVALID,
     "configuration:1:17: token is a whole number; give a text"},
    {"authorization { token: a, permissions: { publish: b } }", DAYBOOK_EUNSUPPORTED,
     "configuration:1:1: permissions do not apply to a token; name users"},
    {"authorization { users: {} }", DAYBOOK_EINVALID,
     "configuration:1:17: users is a map; give an array of users"},
    {"authorization { users: [ a ] }", DAYBOOK_EINVALID,
     "configuration:1:26: a user is a text here; give { user:"},
    {"authorization { users: [ {password: a} ] }", DAYBOOK_EINVALID,
     "configuration:1:26: a user without a name"},
    {"authorization { users: [ {usr: a} ] }", DAYBOOK_EINVALID,
     "configuration:1:27: unknown key usr of a user"},
    {"authorization { users: [ {nkey: UABC} ] }", DAYBOOK_EINVALID,
     "configuration:1:26: the nkey is not the public key"},
    {"authorization { users: [ {nkey: U, user: a} ] }", DAYBOOK_EINVALID,
     "configuration:1:26: a user with an nkey has no name and no password"},
    {"authorization { auth_callout: { issuer: A } }", DAYBOOK_EUNSUPPORTED,
     "configuration:1:17: auth_callout is not supported"},
    {"authorization { user: a, permissions: { publish: 'a..b' } }", DAYBOOK_EINVALID,
     "configuration:1:41: publish holds 'a..b', not a subject"},
    {"authorization { user: a, permissions: { publish: 'a b' } }", DAYBOOK_EINVALID,
     "configuration:1:41: publish holds 'a b', not a subject"},
    {"authorization { user: a, permissions: { publish: [] } }", DAYBOOK_EINVALID,
     "configuration:1:41: publish is empty, which nats-server takes for everything"},
    {"authorization { user: a, permissions: { subscribe: { allow: ['x y', 'x y z'] } } }", DAYBOOK_EINVALID,
     "configuration:1:54: allow holds 'x y z', not a subject"},
    {"authorization { user: a, permissions: { publish: { alow: a } } }", DAYBOOK_EINVALID,
     "configuration:1:52: unknown key alow in publish"},
    {"authorization { user: a, permissions: { allow_responses: 5 } }", DAYBOOK_EINVALID,
     "configuration:1:41: allow_responses is a whole number; give true"},
    {"authorization { users: [{user: a, clients: [PIGEON]}] }", DAYBOOK_EINVALID,
     "configuration:1:35: clients holds 'PIGEON', which is no kind of connection"},
    {"no_auth_user: nobody", DAYBOOK_EINVALID,
     "configuration:1:1: no_auth_user is 'nobody', which is no user"},
    {"accounts { A { users: [{user: a}] }\n B { users: [{user: b}] } }", DAYBOOK_EUNSUPPORTED,
     "configuration:2:2: more than one account (A and B)"},
    {"authorization { users: [{user: a}] }\naccounts { A { users: [{user: b}] } }", DAYBOOK_EUNSUPPORTED,
     "configuration:2:12: users in the account A and in authorization"},
    {"accounts { A { imports: [{stream: {account: B, subject: x}}] } }", DAYBOOK_EUNSUPPORTED,
     "configuration:1:16: imports is not supported"},
    {"accounts: x", DAYBOOK_EINVALID, "configuration:1:1: accounts is a text; give a map of accounts"},
};

static void what_is_wrong_is_refused_with_its_place(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        dbk_options *options;
        daybook_error error;
        daybook_status status = load_as(refusals[i].text, NULL, &options, &error);
        if (status == DAYBOOK_OK) fail_msg("<<%s>> is taken", refusals[i].text);
        assert_null(options);
        size_t size = strlen(refusals[i].message);
        if (status != refusals[i].status || strncmp(error.message, refusals[i].message, size) != 0)
            fail_msg("<<%s>> gives %s: %s", refusals[i].text, daybook_status_name(status), error.message);
        assert_null(strstr(error.message, "s3cr3t"));
        assert_null(strstr(error.message, "t0k3n"));
        assert_null(strstr(error.message, "12345"));
        assert_int_equal(load_as(refusals[i].text, NULL, &options, NULL), status);
    }
}

static void what_is_harmless_is_said_to_the_log(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *notice; // NULL: none
    } cases[] = {
        {"leafnodes { listen: '127.0.0.1:-1' }",
         "configuration:1:1: leafnodes is not served: nobody can connect to it"},
        {"leafnodes {}", NULL},
        {"cluster { name: x, listen: 6222, routes: [] }", "configuration:1:1: cluster is not served"},
        {"mqtt { port: 1883 }", "configuration:1:1: mqtt is not served"},
        {"websocket { port: -1, no_tls: true }", "configuration:1:1: websocket is not served yet"},
        {"ping_interval: 20", "configuration:1:1: ping_interval is taken for 20 seconds; write \"20s\""},
        {"syslog: true",
         "configuration:1:1: syslog is not served: log lines go to standard error or to log_file"},
        {"syslog: false", NULL},
        {"reuse_port: true", "configuration:1:1: reuse_port is not served: a store has one server"},
        {"jetstream { sync_interval: '2m' }", "configuration:1:13: sync_interval means nothing here"},
        {"jetstream { sync: 10s }", "configuration:1:13: sync means nothing here"},
        {"jetstream { sync_interval: always }", NULL},
        {"max_payload: 9MB", "configuration:1:1: max_payload is over 8 MiB"},
        {"authorization { users: [] }", "configuration:1:1: users is empty: everybody may connect"},
        {"accounts { SYS { users: [{user: admin}] } }\nsystem_account: SYS",
         "configuration:1:12: users of the system account SYS cannot connect"},
        {"accounts { $SYS { users: [{user: admin}] } }",
         "configuration:1:12: users of the system account $SYS"},
        {"jetstream: true\naccounts { A { users: [{user: a}] } }",
         "configuration:2:12: JetStream is off: the account does not have it"},
        {"jetstream: true\naccounts { A { users: [{user: a}], jetstream: enabled } }", NULL},
        {"no_sys_acc: true\nconnect_error_reports: 5\nfeature_flags { x: true }", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dbk_options *options = load(cases[i].text);
        if (cases[i].notice == NULL) {
            if (options->notices.count != 0)
                fail_msg("<<%s>> says %s", cases[i].text, options->notices.items[0]);
        } else {
            assert_int_equal(options->notices.count, 1);
            if (strncmp(options->notices.items[0], cases[i].notice, strlen(cases[i].notice)) != 0)
                fail_msg("<<%s>> says %s", cases[i].text, options->notices.items[0]);
        }
        dbk_options_free(options);
    }
}

static void many_notices_are_kept(void **state) {
    (void)state;
    dbk_options *options =
        load("syslog: true\nremote_syslog: a\nprof_port: 1\nocsp: true\nping_interval: 5\nwrite_deadline: 5\n"
             "leafnodes { port: 1 }\ncluster { port: 1 }\nmqtt { port: 1 }\ngateway { port: 1 }\nws { port: "
             "1 }\n");
    assert_int_equal(options->notices.count, 11);
    for (size_t i = 0; i < options->notices.count; i++)
        assert_int_equal(strncmp(options->notices.items[i], "configuration:", 14), 0);
    dbk_options_free(options);
}

static const dbk_user_options *user_at(const dbk_options *options, size_t index) {
    assert_true(index < options->auth.user_count);
    return &options->auth.users[index];
}

static void users_have_their_permissions_or_the_default(void **state) {
    (void)state;
    static const char text[] =
        "ADMIN = { publish = '>', subscribe = '>' }\n"
        "authorization {\n"
        "  default_permissions { publish: { deny: 'x.>' }, subscribe: ['a.*', 'b.> workers'] }\n"
        "  users = [\n"
        "    { user: admin, password: $2a$11$abc, permissions: $ADMIN }\n"
        "    { user: plain, pass: 'x y' }\n"
        "    { user: service, permissions: { sub: 'q', allow_responses: { max: 5, expires: '1m' } } }\n"
        "    { nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4, permissions: { pub: 'n' } }\n"
        "    { user: ws, allowed_connection_types: [STANDARD, websocket], permissions: { pub: {} } }\n"
        "    { user: answers, permissions: { allow_responses: true, publish: { allow: 'p', deny: ['q'] } } "
        "}\n"
        "    { user: endless, permissions: { allow_responses: { max: -5, expires: -1s } } }\n"
        "    { user: silent, permissions: { allow_responses: false } }\n"
        "  ]\n"
        "}\n"
        "no_auth_user: plain\n";
    dbk_options *options = load(text);
    assert_true(options->auth.is_set);
    assert_null(options->auth.token);
    assert_int_equal(options->auth.user_count, 8);
    assert_string_equal(options->auth.account_name, "$G");

    const dbk_user_options *admin = user_at(options, 0);
    assert_string_equal(admin->user, "admin");
    assert_string_equal(admin->password, "$2a$11$abc");
    assert_true(dbk_password_is_bcrypt(admin->password));
    assert_int_equal(admin->place.line, 5);
    assert_true(admin->has_permissions && admin->permissions.publish.has_allow);
    assert_string_equal(admin->permissions.publish.allow.items[0], ">");
    assert_false(admin->permissions.allow_responses);

    const dbk_user_options *plain = user_at(options, 1);
    assert_ptr_equal(options->auth.no_auth_user, plain);
    assert_string_equal(plain->password, "x y");
    assert_false(dbk_password_is_bcrypt(plain->password));
    assert_true(plain->has_permissions);
    assert_false(plain->permissions.publish.has_allow);
    assert_int_equal(plain->permissions.publish.deny.count, 1);
    assert_string_equal(plain->permissions.publish.deny.items[0], "x.>");
    assert_true(plain->permissions.subscribe.has_allow);
    assert_string_equal(plain->permissions.subscribe.allow.items[1], "b.> workers");

    // Who may answer may publish nothing else.
    const dbk_user_options *service = user_at(options, 2);
    assert_string_equal(service->password, "");
    assert_true(service->permissions.allow_responses);
    assert_int_equal(service->permissions.responses_max, 5);
    assert_int_equal(service->permissions.responses_expire_ns, 60 * SECOND);
    assert_true(service->permissions.publish.has_allow);
    assert_int_equal(service->permissions.publish.allow.count, 0);

    const dbk_user_options *nkey = user_at(options, 3);
    assert_null(nkey->user);
    assert_null(nkey->password);
    assert_int_equal(nkey->nkey[0], 'U');

    const dbk_user_options *ws = user_at(options, 4);
    assert_int_equal(ws->connection_types, DBK_CONNECTION_STANDARD | DBK_CONNECTION_WEBSOCKET);
    assert_true(ws->has_permissions);
    assert_false(ws->permissions.publish.has_allow);

    const dbk_user_options *answers = user_at(options, 5);
    assert_int_equal(answers->permissions.publish.allow.count, 1);
    assert_int_equal(answers->permissions.responses_max, 1);
    assert_int_equal(answers->permissions.responses_expire_ns, 120 * SECOND);

    const dbk_user_options *endless = user_at(options, 6);
    assert_int_equal(endless->permissions.responses_max, -1);
    assert_int_equal(endless->permissions.responses_expire_ns, -1);

    const dbk_user_options *silent = user_at(options, 7);
    assert_false(silent->permissions.allow_responses);
    assert_false(silent->permissions.publish.has_allow);
    dbk_options_free(options);
}

static void a_single_user_is_a_list_of_one(void **state) {
    (void)state;
    dbk_options *options =
        load("authorization { user: ivan, pass: \"s\", timeout: 5, permissions: { publish: a } }");
    assert_int_equal(options->auth.user_count, 1);
    assert_string_equal(user_at(options, 0)->user, "ivan");
    assert_string_equal(user_at(options, 0)->password, "s");
    assert_true(user_at(options, 0)->has_permissions); // nats-server would let it publish everything
    assert_int_equal(options->auth.timeout_ns, 5 * SECOND);
    dbk_options_free(options);
}

static void one_account_is_the_space_of_subjects(void **state) {
    (void)state;
    dbk_options *options = load(
        "system_account: SYS\n"
        "accounts {\n"
        "  SYS { users: [ {user: admin, password: x} ] }\n"
        "  APP { jetstream { max_file: 1GB, max_streams: 5, max_consumers: 6 }, limits { max_payload: 1k }\n"
        "        users: [ {user: a, password: b} ], default_permissions { publish: p } }\n"
        "}\njetstream: enabled\n");
    assert_int_equal(options->auth.user_count, 1);
    assert_string_equal(options->auth.account_name, "APP");
    assert_string_equal(user_at(options, 0)->user, "a");
    assert_true(user_at(options, 0)->has_permissions);
    assert_true(options->jetstream.enabled);
    assert_int_equal(options->jetstream.account_file_max, 1 << 30);
    assert_int_equal(options->jetstream.file_max, -1);
    assert_int_equal(options->jetstream.streams_max, 5);
    assert_int_equal(options->jetstream.consumers_max, 6);
    assert_int_equal(options->limits.payload_max, 1000);
    dbk_options_free(options);
    options = load("jetstream: enabled\naccounts { A { users: [{user: a}] } }");
    assert_false(options->jetstream.enabled);
    dbk_options_free(options);
}

static void a_key_that_only_names_a_value_is_known(void **state) {
    (void)state;
    dbk_options *options =
        load("MINE: 5\nmax_subs: $MINE\ntls { CERT: c, cert_file: $CERT, key_file: $CERT }");
    assert_int_equal(options->limits.subscriptions_max, 5);
    assert_string_equal(options->tls.key_file, "c");
    dbk_options_free(options);
    daybook_error error;
    assert_int_equal(load_as("MINE: 5", NULL, &options, &error), DAYBOOK_EINVALID);
}

static void the_command_line_counts_more_than_the_file(void **state) {
    (void)state;
    dbk_options *options;
    daybook_error error;
    assert_int_equal(load_as("port: 1\nmax_subs: 2\nstore_dir: a\nauthorization { user: x, timeout: 7 }",
                             "port: 3\nstore_dir: b\njetstream: true\nauthorization { user: y }", &options,
                             &error),
                     DAYBOOK_OK);
    assert_int_equal(options->client.port, 3);
    assert_int_equal(options->limits.subscriptions_max, 2);
    assert_string_equal(options->jetstream.store_dir, "b");
    assert_true(options->jetstream.enabled);
    assert_int_equal(options->auth.user_count, 1);
    assert_string_equal(user_at(options, 0)->user, "y");
    assert_int_equal(options->auth.timeout_ns, 7 * SECOND);
    assert_string_equal(dbk_options_origin(options, "port"), "command line");
    assert_string_equal(dbk_options_origin(options, "max_subscriptions"), "configuration:2:1");
    dbk_options_free(options);

    assert_int_equal(load_as("", "port: 70000", &options, &error), DAYBOOK_EINVALID);
    assert_string_equal(error.message,
                        "command line: port is 70000, not a port; give 1 to 65535, or -1 for any free one");
    // TLS of the file, taken back.
    assert_int_equal(load_as("tls { cert_file: a, key_file: b }", "tls: false", &options, &error),
                     DAYBOOK_OK);
    assert_false(options->tls.is_set);
    dbk_options_free(options);
}

static void what_the_caller_says_counts_most(void **state) {
    (void)state;
    daybook_server_options given;
    memset(&given, 0, sizeof given);
    given.config_text = daybook_text("port: 1\nhost: a\nserver_name: b\nstore_dir: c");
    given.overrides = daybook_text("port: 2");
    given.port = -1;
    given.host = "h";
    given.name = "n";
    given.store_dir = "s";
    dbk_options *options;
    daybook_error error;
    assert_int_equal(dbk_options_load(&given, NULL, dbk_allocator_default(), &options, &error), DAYBOOK_OK);
    assert_int_equal(options->client.port, -1);
    assert_string_equal(options->client.host, "h");
    assert_string_equal(options->http.host, "h");
    assert_string_equal(options->server_name, "n");
    assert_string_equal(options->jetstream.store_dir, "s");
    assert_true(options->jetstream.enabled);
    assert_string_equal(dbk_options_origin(options, "port"), "the caller's options");
    dbk_options_free(options);
    given.port = 70000;
    assert_int_equal(dbk_options_load(&given, NULL, dbk_allocator_default(), &options, &error),
                     DAYBOOK_EINVALID);
    assert_string_equal(
        error.message,
        "the caller's options: port is 70000, not a port; give 1 to 65535, or -1 for any free one");
    assert_int_equal(dbk_options_load(NULL, NULL, dbk_allocator_default(), &options, &error), DAYBOOK_OK);
    dbk_options_free(options);
}

static void a_reload_tells_what_may_change_from_what_may_not(void **state) {
    (void)state;
    static const char now_text[] =
        "port: 1\nserver_tags: [a]\nlog_file: l\npid_file: p\njetstream { max_file: 1k }\n"
        "authorization { users: [{user: a, password: b, permissions: {publish: x}}] }\n"
        "tls { cert_file: c, key_file: k }\n";
    static const struct {
        const char *text; // overrides
        uint32_t changed;
        const char *message; // NULL: it may
    } cases[] = {
        {"", 0, NULL},
        {"port: 1", 0, NULL},
        {"authorization { users: [{user: a, password: c, permissions: {publish: x}}] }", DBK_CHANGED_AUTH,
         NULL},
        {"authorization { users: [{user: a, password: b, permissions: {publish: y}}] }", DBK_CHANGED_AUTH,
         NULL},
        {"authorization { users: [{user: a, password: b, permissions: {publish: x}}] }", 0, NULL},
        {"authorization { timeout: 9 }", DBK_CHANGED_AUTH, NULL},
        {"authorization { token: t }", DBK_CHANGED_AUTH, NULL},
        {"no_auth_user: a", DBK_CHANGED_AUTH, NULL},
        {"max_payload: 5", DBK_CHANGED_LIMITS, NULL},
        {"max_connections: 5", DBK_CHANGED_LIMITS, NULL},
        {"max_subs: 5", DBK_CHANGED_LIMITS, NULL},
        {"ping_interval: 5s", DBK_CHANGED_LIMITS, NULL},
        {"debug: true", DBK_CHANGED_LOG, NULL},
        {"trace_verbose: true", DBK_CHANGED_LOG, NULL},
        {"log_file: m", DBK_CHANGED_LOG, NULL},
        {"server_tags: [a, b]", DBK_CHANGED_TAGS, NULL},
        {"server_tags: [b]", DBK_CHANGED_TAGS, NULL},
        {"pid_file: q", DBK_CHANGED_FILES, NULL},
        {"lame_duck_duration: 60s", DBK_CHANGED_LAME_DUCK, NULL},
        {"client_advertise: a", DBK_CHANGED_ADVERTISE, NULL},
        {"tls { cert_file: d, key_file: k }", DBK_CHANGED_TLS, NULL},
        {"tls { cert_file: c, key_file: k, verify: true }", DBK_CHANGED_TLS, NULL},
        {"tls { cert_file: c, key_file: k, min_version: 1.3 }", DBK_CHANGED_TLS, NULL},
        {"allow_non_tls: true", DBK_CHANGED_TLS, NULL},
        {"jetstream { max_file: 2k }", DBK_CHANGED_JETSTREAM, NULL},
        {"jetstream { limits { max_ack_pending: 1 } }", DBK_CHANGED_JETSTREAM, NULL},
        {"jetstream { sync: 1s }", 0, NULL},
        {"debug: true\nmax_subs: 1", DBK_CHANGED_LOG | DBK_CHANGED_LIMITS, NULL},
        {"port: 2", 0, "command line: port cannot change from 1 to 2 while the server runs; restart it"},
        {"host: a", 0, "command line: host cannot change from '0.0.0.0' to 'a' while the server runs"},
        {"http: 5", 0, "command line: http"},
        {"server_name: x", 0, "command line: server_name cannot change while the server runs"},
        {"announced_version: 9.9.9", 0, "command line: announced_version cannot change"},
        {"tls: false", 0, "command line: tls cannot change while the server runs"},
        {"jetstream: false", 0, "command line: jetstream cannot change"},
        {"store_dir: x", 0, "command line: jetstream.store_dir cannot change"},
        {"jetstream { store_dir: x }", 0, "command line: jetstream.store_dir cannot change"},
        {"jetstream { domain: x }", 0, "command line: jetstream.domain cannot change"},
        {"no_header_support: true", 0, "command line: no_header_support cannot change from false to true"},
    };
    dbk_options *now = load(now_text);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dbk_options *next;
        daybook_error error;
        daybook_error_init(&error);
        daybook_status loaded = load_as(now_text, cases[i].text, &next, &error);
        uint32_t changed = 99;
        daybook_status status = loaded;
        if (loaded == DAYBOOK_OK) status = dbk_options_diff(now, next, &changed, &error);
        if (cases[i].message == NULL) {
            if (status != DAYBOOK_OK) fail_msg("<<%s>> is refused: %s", cases[i].text, error.message);
            if (changed != cases[i].changed) fail_msg("<<%s>> changes %u", cases[i].text, (unsigned)changed);
        } else if (status == DAYBOOK_OK ||
                   strncmp(error.message, cases[i].message, strlen(cases[i].message)) != 0) {
            fail_msg("<<%s>> gives %s: %s", cases[i].text, daybook_status_name(status), error.message);
        }
        dbk_options_free(next);
    }
    dbk_options_free(now);
}

static void running_out_of_memory_is_a_status(void **state) {
    (void)state;
    static const char text[] =
        "port: 1\nserver_tags: [a, b]\nlog_file: l\nsyslog: true\nmax_payload: 9MB\n"
        "authorization { users: [{user: a, password: b, permissions: {publish: x}}, {user: c}] }\n"
        "tls { cert_file: c, key_file: k }\nno_auth_user: c\n";
    fault_allocator faults;
    fault_allocator_init(&faults);
    for (uint64_t nth = 1;; nth++) {
        fault_allocator_fail(&faults, nth, false);
        daybook_server_options given;
        memset(&given, 0, sizeof given);
        given.config_text = daybook_text(text);
        given.name = "n";
        dbk_options *options;
        daybook_error error;
        daybook_status status = dbk_options_load(&given, &source, &faults.allocator, &options, &error);
        bool has_failed = fault_allocator_has_failed(&faults);
        assert_int_equal(status, has_failed ? DAYBOOK_ENOMEM : DAYBOOK_OK);
        if (has_failed) assert_non_null(strstr(error.message, "out of memory while reading"));
        dbk_options_free(options);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!has_failed) break;
        assert_true(nth < 1000);
    }
}

// A real file with an include beside it.
static void files_are_read_through_the_vfs(void **state) {
    (void)state;
    char folder[256];
    const char *base = getenv("TMPDIR");
    (void)snprintf(folder, sizeof folder, "%s/daybook-options-XXXXXX", base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(folder));
    char main_path[300];
    char more_path[300];
    (void)snprintf(main_path, sizeof main_path, "%s/main.conf", folder);
    (void)snprintf(more_path, sizeof more_path, "%s/more.conf", folder);
    FILE *file = fopen(main_path, "w");
    assert_non_null(file);
    assert_true(fputs("port: 4333\ninclude more.conf\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
    file = fopen(more_path, "w");
    assert_non_null(file);
    assert_true(fputs("max_subs: 7\nmax_subs: x\n", file) >= 0);
    assert_int_equal(fclose(file), 0);

    dbk_config_source files = {daybook_vfs_posix(), dbk_options_read_file, dbk_options_get_variable};
    daybook_server_options given;
    memset(&given, 0, sizeof given);
    given.config_file = main_path;
    dbk_options *options;
    daybook_error error;
    assert_int_equal(dbk_options_load(&given, &files, dbk_allocator_default(), &options, &error),
                     DAYBOOK_EINVALID);
    assert_int_equal(strncmp(error.message, more_path, strlen(more_path)), 0);
    assert_non_null(strstr(error.message, ":2:1: max_subs is a text"));

    file = fopen(more_path, "w");
    assert_non_null(file);
    assert_true(fputs("max_subs: 7\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(dbk_options_load(&given, &files, dbk_allocator_default(), &options, &error), DAYBOOK_OK);
    assert_int_equal(options->client.port, 4333);
    assert_int_equal(options->limits.subscriptions_max, 7);
    assert_string_equal(options->config_file, main_path);
    dbk_options_free(options);

    assert_int_equal(remove(more_path), 0);
    assert_int_equal(dbk_options_load(&given, &files, dbk_allocator_default(), &options, &error),
                     DAYBOOK_ENOTFOUND);
    assert_non_null(strstr(error.message, "main.conf:2:1: cannot include it: cannot open"));
    assert_int_equal(remove(main_path), 0);
    assert_int_equal(dbk_options_load(&given, &files, dbk_allocator_default(), &options, &error),
                     DAYBOOK_ENOTFOUND);
    assert_int_equal(remove(folder), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_said_is_the_defaults_of_nats),
        cmocka_unit_test(each_key_sets_its_field),
        cmocka_unit_test(what_is_wrong_is_refused_with_its_place),
        cmocka_unit_test(what_is_harmless_is_said_to_the_log),
        cmocka_unit_test(many_notices_are_kept),
        cmocka_unit_test(users_have_their_permissions_or_the_default),
        cmocka_unit_test(a_single_user_is_a_list_of_one),
        cmocka_unit_test(one_account_is_the_space_of_subjects),
        cmocka_unit_test(a_key_that_only_names_a_value_is_known),
        cmocka_unit_test(the_command_line_counts_more_than_the_file),
        cmocka_unit_test(what_the_caller_says_counts_most),
        cmocka_unit_test(a_reload_tells_what_may_change_from_what_may_not),
        cmocka_unit_test(running_out_of_memory_is_a_status),
        cmocka_unit_test(files_are_read_through_the_vfs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
