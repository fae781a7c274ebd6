// SPDX-License-Identifier: Apache-2.0
// A reload: what docs/reference/serve.md says that it may change is changed, seen from a connection, a file or the log; what
// cannot change is refused, and then nothing changes. Users and permissions: test_security.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "lib/folder.h"
#include "server/wire.h"

static const char quiet[] = "{\"verbose\":false}";
static const char quiet_new[] = "{\"verbose\":false,\"protocol\":1}";

/// A folder for each test, and in it the configuration.
typedef struct site {
    char folder[32];
    char config[64];
    daybook_server *server;
} site;

static const char *in_folder(const site *of, const char *name) {
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", of->folder, name);
    return path;
}

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static bool is_there(const char *path) {
    return access(path, F_OK) == 0;
}

static void open_site(site *made, const char *config) {
    assert_true(folder_make("server-reload", made->folder, sizeof made->folder));
    (void)snprintf(made->config, sizeof made->config, "%s/server.conf", made->folder);
    write_file(made->config, config);
    made->server = wire_server_of_file(made->config);
}

static void close_site(site *made) {
    wire_server_stop(made->server);
    assert_true(folder_remove(made->folder));
}

static void reload(site *of, const char *config) {
    write_file(of->config, config);
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_server_reload(of->server, &error) != DAYBOOK_OK)
        fail_msg("<<%s>>: %s", config, error.message);
}

static void reload_fails(site *of, const char *config, daybook_status status, const char *says) {
    write_file(of->config, config);
    daybook_error error;
    daybook_error_init(&error);
    assert_int_equal(daybook_server_reload(of->server, &error), status);
    if (strstr(error.message, says) == NULL) fail_msg("'%s' is not in: %s", says, error.message);
    assert_true(wire_log_has("Failed to reload server configuration: "));
    assert_int_equal(daybook_server_reload(of->server, NULL), status);
}

static void a_token_changes(void **unused) {
    (void)unused;
    site at;
    open_site(&at, "authorization { token: a }");
    wire client, other;
    wire_join(&client, daybook_server_port(at.server), "{\"verbose\":false,\"auth_token\":\"a\"}");
    reload(&at, "authorization { token: b }");
    wire_expect(&client, "-ERR 'Authorization Violation'\r\n");
    wire_expect_end(&client);
    wire_close(&client);
    wire_join(&other, daybook_server_port(at.server), "{\"verbose\":false,\"auth_token\":\"b\"}");
    wire_close(&other);
    close_site(&at);
}

// bcrypt of "secret", cost 8.
#define SECRET "$2a$08$N9qo8uLOickgx2ZMRZoMyeLrtEIT7siefRhQ8rOY.CmSoB3WDcx0O"
#define USERS(other_password, more)                                        \
    "authorization { timeout: 20, users: [{user: one, password: \"" SECRET \
    "\"}, {user: other, password: \"" other_password "\"}, {user: quick, password: q}" more "] }"

static void ask_slowly(wire *clients, int count, int port, const char *user, const char *password) {
    for (int i = 0; i < count; i++) {
        char said[128];
        wire_open(&clients[i], port);
        (void)snprintf(said, sizeof said,
                       "CONNECT {\"verbose\":false,\"user\":\"%s\",\"pass\":\"%s\"}\r\nPING\r\n", user,
                       password);
        wire_say(&clients[i], said);
    }
}

static void expect_each(wire *clients, int count, const char *text) {
    for (int i = 0; i < count; i++) {
        wire_expect(&clients[i], text);
        wire_close(&clients[i]);
    }
}

// Whose password is being checked comes in as who is in stays in.
static void who_is_being_checked_is_not_refused(void **unused) {
    (void)unused;
    enum { COUNT = 6 };
    static const char violation[] = "-ERR 'Authorization Violation'\r\n";
    static const char quick[] = "{\"verbose\":false,\"user\":\"quick\",\"pass\":\"q\"}";
    site at;
    open_site(&at, USERS(SECRET, ""));
    int port = daybook_server_port(at.server);
    wire in, one[COUNT], other[1];
    wire_join(&in, port, quick);
    ask_slowly(one, COUNT, port, "one", "secret");
    ask_slowly(other, 1, port, "other", "secret");
    wire_sync(&in); // they were read
    wire_sync(&in);
    reload(&at, USERS("new", ", {user: fourth, password: x}"));
    expect_each(one, COUNT, "PONG\r\n");
    expect_each(other, 1, violation);
    wire_sync(&in);
    // Where everybody is welcome from now on a wrong password is still wrong.
    ask_slowly(one, COUNT, port, "one", "secret");
    ask_slowly(other, 1, port, "one", "wrong");
    wire_sync(&in);
    wire_sync(&in);
    reload(&at, "");
    expect_each(one, COUNT, "PONG\r\n");
    expect_each(other, 1, violation);
    wire_close(&in);
    close_site(&at);
}

static void limits_hold_for_who_is_there_already(void **unused) {
    (void)unused;
    site at;
    open_site(&at, "max_payload: 100");
    int port = daybook_server_port(at.server);
    wire first, second, third;
    wire_join(&first, port, quiet_new);
    wire_join(&second, port, quiet);
    wire_join(&third, port, quiet);
    // Larger payloads, and who can understand it is told.
    reload(&at, "max_payload: 200");
    assert_non_null(strstr(wire_until(&first, " \r\n"), "\"max_payload\":200"));
    char publish[256];
    (void)snprintf(publish, sizeof publish, "PUB a 150\r\n%0150d\r\n", 0);
    wire_say(&second, publish);
    wire_sync(&second);
    // Fewer subscriptions.
    reload(&at, "max_payload: 200, max_subscriptions: 1");
    wire_say(&first, "SUB a 1\r\nSUB b 2\r\n");
    wire_expect(&first, "-ERR 'maximum subscriptions exceeded'\r\n");
    // Shorter lines.
    reload(&at, "max_payload: 200, max_control_line: 40");
    wire_say(&first, "SUB a.very.long.subject.that.is.longer.than.forty.bytes 3\r\n");
    wire_expect(&first, "-ERR 'maximum control line exceeded'\r\n");
    wire_expect_end(&first);
    wire_close(&first);
    // Pings at once, for who was to be pinged in two minutes.
    reload(&at, "ping_interval: 50ms");
    (void)wire_until(&second, "PING\r\n");
    wire_say(&second, "PONG\r\n");
    // One connection: who came last goes.
    reload(&at, "max_connections: 1");
    (void)wire_until(&third, "-ERR 'maximum connections exceeded'\r\n");
    wire_drain_to_end(&third);
    wire_close(&third);
    wire_say(&second, "PING\r\n");
    (void)wire_until(&second, "PONG\r\n"); // still there
    wire_close(&second);
    close_site(&at);
}

static void where_clients_are_sent_changes(void **unused) {
    (void)unused;
    site at;
    open_site(&at, "client_advertise: 'a.example:1'");
    wire first, second;
    wire_join(&first, daybook_server_port(at.server), quiet_new);
    assert_non_null(strstr(first.info, "\"host\":\"a.example\",\"port\":1,"));
    reload(&at, "client_advertise: 'b.example:2'");
    assert_non_null(strstr(wire_until(&first, " \r\n"), "\"host\":\"b.example\",\"port\":2,"));
    wire_open(&second, daybook_server_port(at.server));
    assert_non_null(strstr(second.info, "\"host\":\"b.example\",\"port\":2,"));
    wire_close(&first);
    wire_close(&second);
    close_site(&at);
}

static void the_log_changes(void **unused) {
    (void)unused;
    site at;
    open_site(&at, "port: -1");
    wire client;
    wire_join(&client, daybook_server_port(at.server), quiet);
    wire_say(&client, "PUB not.shown 0\r\n\r\n");
    wire_sync(&client);
    reload(&at, "trace: true, max_traced_msg_len: 3");
    wire_say(&client, "PUB is.shown 6\r\nsecret\r\n");
    wire_sync(&client);
    wire_log_wait("<<- [PUB is.shown 6]");
    wire_log_wait("<<- MSG_PAYLOAD: [\"sec...\"]");
    assert_false(wire_log_has("not.shown"));
    char config[256];
    (void)snprintf(config, sizeof config, "log_file: \"%s\"", in_folder(&at, "server.log"));
    reload(&at, config);
    char text[4096] = "";
    FILE *file = fopen(in_folder(&at, "server.log"), "r");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    assert_non_null(strstr(text, "Reloaded server configuration"));
    // A log that cannot be is no reload, and the one there is goes on.
    (void)snprintf(config, sizeof config, "log_file: \"%s\", debug: true", in_folder(&at, "none/server.log"));
    write_file(at.config, config);
    assert_int_equal(daybook_server_reload(at.server, NULL), DAYBOOK_ENOTFOUND);
    file = fopen(in_folder(&at, "server.log"), "r");
    assert_non_null(file);
    memset(text, 0, sizeof text);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    assert_non_null(strstr(text, "Failed to reload server configuration: cannot open the log file"));
    wire_close(&client);
    close_site(&at);
}

static void files_for_others_follow(void **unused) {
    (void)unused;
    site at;
    open_site(&at, "port: -1");
    char config[512], ports[64];
    (void)snprintf(ports, sizeof ports, "two/nats-server_%ld.ports", (long)getpid());
    assert_int_equal(mkdir(in_folder(&at, "one"), 0700), 0);
    assert_int_equal(mkdir(in_folder(&at, "two"), 0700), 0);
    (void)snprintf(config, sizeof config, "pid_file: \"%s\", ports_file_dir: \"%s\"", in_folder(&at, "a.pid"),
                   in_folder(&at, "one"));
    reload(&at, config);
    assert_true(is_there(in_folder(&at, "a.pid")));
    // Both move; the old ones go.
    (void)snprintf(config, sizeof config, "pid_file: \"%s\", ports_file_dir: \"%s\"", in_folder(&at, "b.pid"),
                   in_folder(&at, "two"));
    reload(&at, config);
    assert_true(is_there(in_folder(&at, "b.pid")));
    assert_true(is_there(in_folder(&at, ports)));
    assert_false(is_there(in_folder(&at, "a.pid")));
    assert_int_equal(rmdir(in_folder(&at, "one")), 0); // empty
    // One that cannot be written: as it was.
    (void)snprintf(config, sizeof config, "pid_file: \"%s\", ports_file_dir: \"%s\"", in_folder(&at, "c.pid"),
                   in_folder(&at, "none"));
    reload_fails(&at, config, DAYBOOK_ENOTFOUND, "cannot create ");
    assert_false(is_there(in_folder(&at, "c.pid")));
    assert_true(is_there(in_folder(&at, "b.pid")));
    assert_true(is_there(in_folder(&at, ports)));
    // The same once more, then none.
    (void)snprintf(config, sizeof config, "pid_file: \"%s\", ports_file_dir: \"%s\"", in_folder(&at, "b.pid"),
                   in_folder(&at, "two"));
    reload(&at, config);
    assert_true(is_there(in_folder(&at, "b.pid")));
    reload(&at, "port: -1");
    assert_false(is_there(in_folder(&at, "b.pid")));
    assert_int_equal(rmdir(in_folder(&at, "two")), 0);
    close_site(&at);
}

static void lame_duck_is_as_long_as_was_said_last(void **unused) {
    (void)unused;
    site at;
    open_site(&at, "lame_duck_duration: '10m', lame_duck_grace_period: '9m'");
    wire client;
    wire_join(&client, daybook_server_port(at.server), quiet);
    reload(&at, "lame_duck_duration: 30s, lame_duck_grace_period: 0s");
    daybook_server_lame_duck(at.server);
    // With a grace period of nine minutes it would not go now.
    wire_drain_to_end(&client);
    wire_close(&client);
    assert_int_equal(daybook_server_wait(at.server, INT64_C(20000000000)), DAYBOOK_OK);
    close_site(&at);
}

// Certificates.

static void write_certificate(const site *of, const char *name) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    assert_true(key != NULL && certificate != NULL);
    (void)X509_gmtime_adj(X509_getm_notBefore(certificate), -7200);
    (void)X509_gmtime_adj(X509_getm_notAfter(certificate), strcmp(name, "old") == 0 ? -3600 : 3600);
    (void)X509_set_pubkey(certificate, key);
    X509_NAME *subject = X509_get_subject_name(certificate);
    (void)X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    (void)X509_set_issuer_name(certificate, subject);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    FILE *file = fopen(in_folder(of, "c.pem"), "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    fclose(file);
    file = fopen(in_folder(of, "k.pem"), "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

/// What the server shows who connects, and whether it wants TLS 1.3.
static void expect_certificate(const site *of, const char *name, int version_max, bool may_connect) {
    wire plain;
    wire_open(&plain, daybook_server_port(of->server));
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    (void)SSL_CTX_set_max_proto_version(context, version_max);
    SSL *ssl = SSL_new(context);
    assert_int_equal(SSL_set_fd(ssl, plain.socket), 1);
    assert_int_equal(SSL_connect(ssl) == 1, may_connect);
    if (may_connect) {
        X509 *shown = SSL_get1_peer_certificate(ssl);
        char text[64] = "";
        (void)X509_NAME_get_text_by_NID(X509_get_subject_name(shown), NID_commonName, text, sizeof text);
        assert_string_equal(text, name);
        X509_free(shown);
    }
    SSL_free(ssl);
    SSL_CTX_free(context);
    wire_close(&plain);
}

static void certificates_are_read_again(void **unused) {
    (void)unused;
    site at;
    assert_true(folder_make("server-reload", at.folder, sizeof at.folder));
    (void)snprintf(at.config, sizeof at.config, "%s/server.conf", at.folder);
    char config[256], tls[200];
    (void)snprintf(tls, sizeof tls, "cert_file: \"%s\", key_file: \"%s\"", in_folder(&at, "c.pem"),
                   in_folder(&at, "k.pem"));
    (void)snprintf(config, sizeof config, "tls { %s }", tls);
    write_file(at.config, config);
    write_certificate(&at, "one");
    at.server = wire_server_of_file(at.config);
    expect_certificate(&at, "one", TLS1_2_VERSION, true);
    write_certificate(&at, "two"); // under the same name
    reload(&at, config);
    expect_certificate(&at, "two", TLS1_2_VERSION, true);
    assert_false(wire_log_has("ran out on"));
    write_certificate(&at, "old");
    reload(&at, config);
    assert_true(wire_log_has("[WRN] tls.cert_file, "));
    assert_true(wire_log_has("ran out on"));
    expect_certificate(&at, "old", TLS1_2_VERSION, true);
    write_file(in_folder(&at, "k.pem"), "nonsense\n");
    reload_fails(&at, config, DAYBOOK_EINVALID, "tls.key_file");
    expect_certificate(&at, "old", TLS1_2_VERSION, true);
    write_certificate(&at, "three");
    (void)snprintf(config, sizeof config, "tls { %s, min_version: 1.3 }", tls);
    reload(&at, config);
    expect_certificate(&at, "", TLS1_2_VERSION, false);
    expect_certificate(&at, "three", TLS1_3_VERSION, true);
    close_site(&at);
}

/// A request and its answer, which must hold `says`.
static void ask(wire *client, const char *subject, const char *body, const char *says) {
    wire_publish(client, subject, "_I", body);
    const char *answer = wire_until(client, "}\r\n");
    if (strstr(answer, says) == NULL) fail_msg("'%s' is not in: %s", says, answer);
}

static void limits_of_jetstream_change(void **unused) {
    (void)unused;
    static const char jetstream[] =
        "jetstream { store_dir: \"%s\", max_file: %s, limits { max_ack_pending: %s, "
        "duplicate_window: %s }, strict: %s }, announced_version: 2.12.0";
    static const char create[] = "{\"name\":\"S\",\"subjects\":[\"s\"],\"max_bytes\":20000}";
    site at;
    char config[512];
    assert_true(folder_make("server-reload", at.folder, sizeof at.folder));
    (void)snprintf(at.config, sizeof at.config, "%s/server.conf", at.folder);
    (void)snprintf(config, sizeof config, jetstream, at.folder, "10000", "10", "1s", "true");
    write_file(at.config, config);
    at.server = wire_server_of_file(at.config);
    wire client;
    wire_join(&client, daybook_server_port(at.server), quiet);
    wire_say(&client, "SUB _I 1\r\n");
    ask(&client, "$JS.API.STREAM.CREATE.S", create, "\"err_code\":10047");
    ask(&client, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s\"],\"unknown\":1}",
        "\"err_code\":10025");
    (void)snprintf(config, sizeof config, jetstream, at.folder, "100000", "2000", "10s", "false");
    reload(&at, config);
    // max_file, strict, and what a stream may ask for.
    ask(&client, "$JS.API.STREAM.CREATE.S",
        "{\"name\":\"S\",\"subjects\":[\"s\"],\"max_bytes\":20000,\"duplicate_window\":5000000000,"
        "\"unknown\":1}",
        "\"max_bytes\":20000");
    ask(&client, "$JS.API.INFO", "", "\"max_ack_pending\":2000");
    // What is stored counts anew as well.
    ask(&client, "s", "0123456789", "\"seq\":1");
    (void)snprintf(config, sizeof config, jetstream, at.folder, "5", "2000", "10s", "false");
    reload(&at, config);
    ask(&client, "s", "0123456789", "\"err_code\":10023");
    wire_close(&client);
    close_site(&at);
}

static void what_needs_a_restart_is_refused(void **unused) {
    (void)unused;
    static const struct {
        const char *config, *says;
    } cases[] = {
        {"port: 1", NULL}, // the caller's port counts more
        {"server_name: other", "server_name cannot change"},
        {"announced_version: 2.11.0", "announced_version cannot change"},
        {"jetstream: true", "jetstream cannot change"},
        {"store_dir: elsewhere", "store_dir cannot change"},
        {"no_header_support: true", "no_header_support cannot change"},
        {"always_enable_nonce: true", "always_enable_nonce cannot change"},
        {"http_port: 1", "http_port cannot change"},
    };
    site at;
    open_site(&at, "max_payload: 1000");
    wire client;
    wire_join(&client, daybook_server_port(at.server), quiet);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char config[128];
        (void)snprintf(config, sizeof config, "max_payload: 1000, %s", cases[i].config);
        if (cases[i].says == NULL) {
            reload(&at, config);
            continue;
        }
        (void)snprintf(config, sizeof config, "max_payload: 10, %s", cases[i].config);
        reload_fails(&at, config, DAYBOOK_EUNSUPPORTED, cases[i].says);
        wire_say(&client, "PUB a 11\r\n01234567890\r\n"); // more than 10
        wire_sync(&client);
    }
    wire_close(&client);
    close_site(&at);
}

static void reloads_leave_nothing_behind(void **unused) {
    (void)unused;
    site at;
    open_site(&at, "authorization { users: [{user: a, password: b}] }");
    wire client;
    wire_join(&client, daybook_server_port(at.server), "{\"verbose\":false,\"user\":\"a\",\"pass\":\"b\"}");
    for (int i = 0; i < 200; i++) {
        char config[256];
        (void)snprintf(config, sizeof config,
                       "max_payload: %d, server_name: '', authorization { users: [{user: a, password: b, "
                       "permissions: {publish: \"x%d.>\"}}] }",
                       1000 + i, i);
        reload(&at, config);
    }
    // What the connection has now is of the last one, and lies in nobody else's memory.
    wire_say(&client, "PUB x199.a 0\r\n\r\nPUB x1.a 0\r\n\r\n");
    wire_expect(&client, "-ERR 'Permissions Violation for Publish to \"x1.a\"'\r\n");
    wire_close(&client);
    close_site(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_changes),
        cmocka_unit_test(who_is_being_checked_is_not_refused),
        cmocka_unit_test(limits_hold_for_who_is_there_already),
        cmocka_unit_test(where_clients_are_sent_changes),
        cmocka_unit_test(the_log_changes),
        cmocka_unit_test(files_for_others_follow),
        cmocka_unit_test(lame_duck_is_as_long_as_was_said_last),
        cmocka_unit_test(certificates_are_read_again),
        cmocka_unit_test(limits_of_jetstream_change),
        cmocka_unit_test(what_needs_a_restart_is_refused),
        cmocka_unit_test(reloads_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
