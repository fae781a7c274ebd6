// SPDX-License-Identifier: Apache-2.0
// Who may come in and what they may do, as a connection meets it: credentials fast and slow, deadlines, reloads, TLS.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cmocka.h>

#include "lib/fault_allocator.h"
#include "lib/slow_build.h"
#include "server/wire.h"

// bcrypt of "secret", cost 10.
#define SLOW_SECRET "$2a$10$N9qo8uLOickgx2ZMRZoMyecBPBZPbMY9K9Iy/VaK.7YTHTLYF41De"
// Of cost 12, and nobody's: it is there for what it costs.
#define SLOWEST_SECRET "$2a$12$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
enum { SLOWNESS = IS_SLOW_BUILD ? 10 : 1 };

static const char violation[] = "-ERR 'Authorization Violation'\r\n";

static void only_who_says_the_right_thing_comes_in(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("authorization { user: derek, password: foo }");
    int port = daybook_server_port(server);
    wire a;
    wire_open(&a, port);
    assert_non_null(strstr(a.info, "\"auth_required\":true"));
    wire_say(&a, "CONNECT {\"user\":\"derek\",\"pass\":\"foo\"}\r\nPUB a 0\r\n\r\n");
    wire_expect(&a, "+OK\r\n+OK\r\n");
    wire_close(&a);
    static const char *const wrong[] = {"CONNECT {\"user\":\"derek\",\"pass\":\"bar\"}\r\n", "CONNECT {}\r\n",
                                        "CONNECT {\"auth_token\":\"foo\"}\r\n", "PING\r\n",
                                        "PUB a 0\r\n\r\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        wire_open(&a, port);
        wire_say(&a, wrong[i]);
        wire_expect(&a, violation);
        wire_expect_end(&a);
        wire_close(&a);
    }
    wire_server_stop(server);
}

static void a_slow_check_holds_up_nobody_else(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("authorization { users: ["
                                         "{user: slow, password: \"" SLOW_SECRET "\"}, "
                                         "{user: fast, password: f}] }");
    int port = daybook_server_port(server);
    wire slow, fast;
    wire_open(&slow, port);
    // What is said behind CONNECT waits for the answer.
    wire_say(&slow, "CONNECT {\"user\":\"slow\",\"pass\":\"wrong\",\"verbose\":false}\r\nSUB a 1\r\nPUB a "
                    "0\r\n\r\nPING\r\n");
    wire_join(&fast, port, "{\"user\":\"fast\",\"pass\":\"f\",\"verbose\":false}");
    wire_sync(&fast);
    wire_expect(&slow, violation);
    wire_expect_end(&slow);
    wire_close(&slow);
    // Gone before the answer.
    for (int i = 0; i < 5; i++) {
        wire_open(&slow, port);
        wire_say(&slow, "CONNECT {\"user\":\"slow\",\"pass\":\"wrong\"}\r\n");
        wire_close(&slow);
    }
    wire_sync(&fast);
    wire_close(&fast);
    wire_server_stop(server);
}

static void one_place_that_tries_passwords_does_not_keep_others_out(void **unused) {
    (void)unused;
    enum { COUNT = 24 };
    daybook_server *server =
        wire_server("authorization { timeout: 20, users: [{user: slow, password: \"" SLOW_SECRET "\"}] }");
    int port = daybook_server_port(server);
    wire bad[COUNT], good;
    for (int i = 0; i < COUNT; i++) {
        wire_open(&bad[i], port);
        wire_say(&bad[i], "CONNECT {\"user\":\"slow\",\"pass\":\"wrong\"}\r\n");
    }
    wire_open_from(&good, "127.0.0.2", port);
    wire_say(&good, "CONNECT {\"user\":\"slow\",\"pass\":\"also wrong\"}\r\n");
    wire_expect(&good, violation);
    // Those that ran when it came, and perhaps the two beside it.
    size_t before = wire_log_count("127.0.0.1:");
    if (before >= COUNT / 2) fail_msg("%zu were before it", before);
    // Half of them go while they wait.
    for (int i = 0; i < COUNT; i += 2) wire_close(&bad[i]);
    for (int i = 1; i < COUNT; i += 2) {
        wire_expect(&bad[i], violation);
        wire_close(&bad[i]);
    }
    wire_close(&good);
    wire_server_stop(server);
}

/// Says what a client says whose password is wrong, on a connection of its own.
static void try_password(wire *client, int port) {
    wire_open(client, port);
    wire_say(client, "CONNECT {\"user\":\"nobody\",\"pass\":\"wrong\"}\r\n");
}

static int64_t milliseconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Who tries passwords without end takes none of the places where JetStream's API is answered. A check of cost 12 takes
// some 200 ms: where a call waited for one, each of the calls would take about as long.
static void passwords_do_not_hold_up_the_api(void **unused) {
    (void)unused;
    enum { TRIERS = 20, CALLS = 100, CALL_MS_MAX = 100 * SLOWNESS };
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.config_text = daybook_text("jetstream: enabled, authorization { timeout: 60, users: ["
                                       "{user: fast, password: f}, {user: slow, password: \"" SLOWEST_SECRET
                                       "\"}] }");
    options.host = "127.0.0.1";
    options.port = -1;
    options.store_dir = ":memory:";
    daybook_server *server = NULL;
    assert_int_equal(daybook_server_start(&options, &server, NULL), DAYBOOK_OK);
    int port = daybook_server_port(server);
    wire triers[TRIERS], in;
    wire_join(&in, port, "{\"user\":\"fast\",\"pass\":\"f\",\"verbose\":false}");
    wire_say(&in, "SUB r 1\r\nPUB $JS.API.STREAM.CREATE.S r 12\r\n{\"name\":\"S\"}\r\n");
    (void)wire_until(&in, "}\r\n");
    for (int i = 0; i < TRIERS; i++) try_password(&triers[i], port);
    int slow_count = 0;
    for (int i = 0; i < CALLS; i++) {
        int64_t asked = milliseconds();
        wire_say(&in, "PUB $JS.API.STREAM.INFO.S r 0\r\n\r\n");
        (void)wire_until(&in, "}\r\n");
        slow_count += milliseconds() - asked > CALL_MS_MAX;
    }
    if (slow_count > CALLS / 20) fail_msg("%d calls waited", slow_count);
    for (int i = 0; i < TRIERS; i++) wire_close(&triers[i]);
    wire_close(&in);
    wire_server_stop(server);
}

static void what_waits_behind_a_check_takes_its_size(void **unused) {
    (void)unused;
    enum { COUNT = 20, BEHIND = 40000 };
    fault_allocator counted;
    fault_allocator_init(&counted);
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.allocator = &counted.allocator;
    options.host = "127.0.0.1";
    options.port = -1;
    options.config_text =
        daybook_text("authorization { users: [{user: slow, password: \"" SLOW_SECRET "\"}] }");
    daybook_server *server;
    assert_int_equal(daybook_server_start(&options, &server, NULL), DAYBOOK_OK);
    uint64_t before = fault_allocator_live_bytes(&counted);
    static char text[BEHIND + 100] = "CONNECT {\"user\":\"slow\",\"pass\":\"wrong\"}\r\n";
    size_t head = strlen(text);
    for (size_t i = 0; i + 6 <= BEHIND; i += 6) memcpy(text + head + i, "PING\r\n", 6);
    wire clients[COUNT];
    for (int i = 0; i < COUNT; i++) {
        wire_open(&clients[i], daybook_server_port(server));
        wire_send(&clients[i], text, head + BEHIND / 6 * 6);
    }
    wire_expect(&clients[0], violation); // all were read from at least once
    uint64_t peak = fault_allocator_peak_bytes(&counted) - before;
    if (peak > COUNT * (BEHIND + 12000)) fail_msg("%llu bytes", (unsigned long long)peak);
    for (int i = 0; i < COUNT; i++) wire_close(&clients[i]);
    wire_server_stop(server);
    assert_int_equal(fault_allocator_live(&counted), 0);
}

static void who_says_nothing_has_to_go(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("authorization { user: a, password: b, timeout: 0.2 }");
    wire a;
    wire_open(&a, daybook_server_port(server));
    wire_expect(&a, "-ERR 'Authentication Timeout'\r\n");
    wire_expect_end(&a);
    wire_close(&a);
    wire_server_stop(server);
}

static void permissions_are_asked(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("authorization { users: [ {user: a, password: a, permissions: "
                                         "{publish: \"ok.>\", subscribe: {allow: \"in.>\", deny: "
                                         "\"in.secret\"}}}, {user: b, password: b} ] }");
    int port = daybook_server_port(server);
    wire a, b;
    wire_join(&a, port, "{\"user\":\"a\",\"pass\":\"a\",\"verbose\":false}");
    wire_join(&b, port, "{\"user\":\"b\",\"pass\":\"b\",\"verbose\":false}");
    wire_say(&b, "SUB > 1\r\n");
    wire_sync(&b);
    wire_say(&a, "PUB no 0\r\n\r\n");
    wire_expect(&a, "-ERR 'Permissions Violation for Publish to \"no\"'\r\n");
    wire_say(&a, "SUB out 1\r\n");
    wire_expect(&a, "-ERR 'Permissions Violation for Subscription to \"out\"'\r\n");
    wire_say(&a, "SUB in.> 2\r\nSUB in.> q 3\r\nPUB ok.1 0\r\n\r\n");
    wire_sync(&a);
    wire_expect(&b, "MSG ok.1 1 0\r\n\r\n");
    // A wider subscription does not show what is denied, nor does a queue group.
    wire_say(&b, "PUB in.secret 1\r\ns\r\nPUB in.open 1\r\no\r\nPING\r\n");
    (void)wire_until(&b, "PONG\r\n");
    wire_say(&a, "PING\r\n");
    const char *got = wire_until(&a, "PONG\r\n");
    assert_null(strstr(got, "secret"));
    assert_non_null(strstr(got, "MSG in.open 2 1\r\no\r\n"));
    assert_non_null(strstr(got, "MSG in.open 3 1\r\no\r\n"));
    wire_close(&a);
    wire_close(&b);
    wire_server_stop(server);
}

static void who_is_refused_does_not_fill_the_log(void **unused) {
    (void)unused;
    enum { COUNT = 2000 };
    daybook_server *server = wire_server("authorization { users: [ {user: a, password: a, permissions: "
                                         "{publish: \"ok\"}} ] }");
    int port = daybook_server_port(server);
    wire a;
    wire_join(&a, port, "{\"user\":\"a\",\"pass\":\"a\",\"verbose\":false}");
    for (int i = 0; i < COUNT; i++) wire_say(&a, "PUB no 0\r\n\r\n");
    wire_say(&a, "PING\r\n");
    (void)wire_until(&a, "PONG\r\n"); // each is told all the same
    wire_close(&a);
    wire_log_wait(" more lines were left out");
    size_t count = wire_log_count("Permissions Violation for Publish");
    assert_in_range(count, 10, 60); // ten, and one a second
    // What is told of those left out makes the sum right.
    const char *log = wire_log();
    uint64_t left_out = 0;
    for (const char *at = strstr(log, " more lines were left out"); at != NULL;
         at = strstr(at + 1, " more lines were left out")) {
        const char *number = at;
        while (number[-1] >= '0' && number[-1] <= '9') number--;
        left_out += strtoull(number, NULL, 10);
    }
    assert_int_equal(count + left_out, COUNT);
    // Many who come once.
    for (int i = 0; i < 300; i++) {
        wire_open(&a, port);
        wire_say(&a, "CONNECT {\"user\":\"a\",\"pass\":\"no\"}\r\n");
        wire_expect(&a, violation);
        wire_close(&a);
    }
    wire_log_wait(" lines about connections were left out");
    assert_true(wire_log_count("authentication error") < 300);
    wire_server_stop(server);
}

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void a_reload_changes_who_may_do_what(void **unused) {
    (void)unused;
    char path[] = "server-conf-XXXXXX";
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    write_file(path, "authorization { users: [{user: a, password: a}, {user: b, password: b}] }\n");
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.config_file = path;
    options.host = "127.0.0.1";
    options.port = -1;
    daybook_server *server;
    daybook_error error;
    daybook_error_init(&error);
    assert_int_equal(daybook_server_start(&options, &server, &error), DAYBOOK_OK);
    int port = daybook_server_port(server);
    wire a, b;
    wire_join(&a, port, "{\"user\":\"a\",\"pass\":\"a\",\"verbose\":false}");
    wire_join(&b, port, "{\"user\":\"b\",\"pass\":\"b\",\"verbose\":false}");
    wire_say(&a, "SUB x 1\r\nSUB y 2\r\n");
    wire_sync(&a);

    write_file(path, "authorization { users: [{user: a, password: \n");
    assert_int_equal(daybook_server_reload(server, &error), DAYBOOK_EINVALID);
    wire_sync(&b); // as it was

    write_file(path, "authorization { users: [{user: a, password: a, permissions: {subscribe: \"y\"}}] }\n");
    assert_int_equal(daybook_server_reload(server, &error), DAYBOOK_OK);
    wire_expect(&b, violation);
    wire_expect_end(&b);
    wire_expect(&a, "-ERR 'Permissions Violation for Subscription to \"x\"'\r\n");
    wire_say(&a, "PUB x 1\r\nx\r\nPUB y 1\r\ny\r\nPING\r\n");
    wire_expect(&a, "MSG y 2 1\r\ny\r\nPONG\r\n");

    write_file(path, "port: 1\nauthorization { users: [{user: a, password: a}] }\n");
    options.port = 0;
    wire_close(&a);
    wire_close(&b);
    wire_server_stop(server);
    (void)remove(path);
}

// TLS.

static EVP_PKEY *write_certificate(EVP_PKEY *key, const char *certificate_path, const char *key_path) {
    assert_non_null(key);
    X509 *certificate = X509_new();
    assert_non_null(certificate);
    (void)X509_set_version(certificate, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    (void)X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    (void)X509_set_pubkey(certificate, key);
    X509_NAME *name = X509_get_subject_name(certificate);
    (void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    (void)X509_set_issuer_name(certificate, name);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    FILE *file = fopen(certificate_path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    fclose(file);
    file = fopen(key_path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    X509_free(certificate);
    return key;
}

typedef struct secure_wire {
    wire plain;
    SSL_CTX *context;
    SSL *ssl;
} secure_wire;

static bool secure_try(secure_wire *client, const char *certificate, const char *key) {
    client->context = SSL_CTX_new(TLS_client_method());
    assert_non_null(client->context);
    if (certificate != NULL) {
        assert_int_equal(SSL_CTX_use_certificate_file(client->context, certificate, SSL_FILETYPE_PEM), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(client->context, key, SSL_FILETYPE_PEM), 1);
    }
    client->ssl = SSL_new(client->context);
    assert_non_null(client->ssl);
    (void)SSL_set_fd(client->ssl, client->plain.socket);
    return SSL_connect(client->ssl) == 1;
}

static void secure_say(secure_wire *client, const char *text) {
    assert_int_equal(SSL_write(client->ssl, text, (int)strlen(text)), (int)strlen(text));
}

static void secure_read(secure_wire *client, char *out, size_t size) {
    for (size_t done = 0; done < size;) {
        int got = SSL_read(client->ssl, out + done, (int)(size - done));
        assert_true(got > 0);
        done += (size_t)got;
    }
}

static void secure_expect(secure_wire *client, const char *text) {
    char got[4096];
    size_t size = strlen(text);
    assert_true(size < sizeof got);
    secure_read(client, got, size);
    assert_memory_equal(got, text, size);
}

static void secure_close(secure_wire *client) {
    SSL_free(client->ssl);
    SSL_CTX_free(client->context);
    wire_close(&client->plain);
}

static char certificate_path[64], key_path[64];

static daybook_server *secure_server(const char *more, const char *outside) {
    char config[512];
    (void)snprintf(config, sizeof config, "tls { cert_file: \"%s\", key_file: \"%s\" %s }\n%s",
                   certificate_path, key_path, more, outside);
    return wire_server(config);
}

static void talk(secure_wire *client) {
    secure_say(client, "CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPUB a 5\r\nhello\r\nPING\r\n");
    secure_expect(client, "MSG a 1 5\r\nhello\r\nPONG\r\n");
}

static void tls_after_info(void **unused) {
    (void)unused;
    daybook_server *server = secure_server("", "");
    secure_wire a;
    wire_open(&a.plain, daybook_server_port(server));
    assert_non_null(strstr(a.plain.info, "\"tls_required\":true"));
    assert_true(secure_try(&a, NULL, NULL));
    talk(&a);
    // Much more than a record, there and back.
    enum { SIZE = 300000 };
    char *payload = malloc(SIZE), *back = malloc(SIZE);
    assert_non_null(payload);
    assert_non_null(back);
    for (int i = 0; i < SIZE; i++) payload[i] = (char)('a' + i % 23);
    secure_say(&a, "PUB a 300000\r\n");
    assert_int_equal(SSL_write(a.ssl, payload, SIZE), SIZE);
    secure_say(&a, "\r\n");
    secure_expect(&a, "MSG a 1 300000\r\n");
    secure_read(&a, back, SIZE);
    assert_memory_equal(back, payload, SIZE);
    secure_expect(&a, "\r\n");
    free(payload);
    free(back);
    secure_close(&a);
    // Who does not speak TLS is told so.
    wire b;
    wire_open(&b, daybook_server_port(server));
    wire_say(&b, "CONNECT {}\r\n");
    wire_expect(&b, "-ERR 'Secure Connection - TLS Required'\r\n");
    wire_expect_end(&b);
    wire_close(&b);
    // Half a handshake, and nonsense in it.
    wire_open(&b, daybook_server_port(server));
    wire_send(&b, "\x16\x03\x01\x00\x05hello!!", 12);
    wire_drain_to_end(&b);
    wire_close(&b);
    wire_server_stop(server);
}

static void tls_before_info(void **unused) {
    (void)unused;
    daybook_server *server = secure_server(", handshake_first: true", "");
    secure_wire a;
    wire_open_silent(&a.plain, daybook_server_port(server));
    assert_true(secure_try(&a, NULL, NULL));
    char line[8];
    secure_read(&a, line, 6);
    assert_memory_equal(line, "INFO {", 6);
    char one;
    do {
        secure_read(&a, &one, 1);
    } while (one != '\n');
    talk(&a);
    secure_close(&a);
    wire_server_stop(server);

    server = secure_server(", handshake_first: auto", "");
    wire_open(&a.plain, daybook_server_port(server)); // waits for INFO, and gets it
    assert_true(secure_try(&a, NULL, NULL));
    talk(&a);
    secure_close(&a);
    wire_server_stop(server);
}

static void tls_may_be_left_out_where_that_is_allowed(void **unused) {
    (void)unused;
    daybook_server *server = secure_server("", "allow_non_tls: true");
    wire b;
    wire_open(&b, daybook_server_port(server));
    assert_non_null(strstr(b.info, "\"tls_available\":true"));
    wire_say(&b, "CONNECT {\"verbose\":false}\r\n");
    wire_sync(&b);
    wire_close(&b);
    secure_wire a;
    wire_open(&a.plain, daybook_server_port(server));
    assert_true(secure_try(&a, NULL, NULL));
    talk(&a);
    secure_close(&a);
    wire_server_stop(server);
}

static int64_t now_us(void) {
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/// What a client says first.
static size_t say_hello(char *hello, size_t size) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    assert_int_equal(SSL_get_error(ssl, SSL_connect(ssl)), SSL_ERROR_WANT_READ);
    int got = BIO_read(out, hello, (int)size);
    assert_true(got > 0 && (size_t)got < size);
    SSL_free(ssl);
    SSL_CTX_free(context);
    return (size_t)got;
}

static void handshakes_do_not_hold_up_who_is_there(void **unused) {
    (void)unused;
    enum { COUNT = 60 };
    char certificate[64], key[64], config[256], hello[4096];
    (void)snprintf(certificate, sizeof certificate, "server-slow-certificate-%ld.pem", (long)getpid());
    (void)snprintf(key, sizeof key, "server-slow-key-%ld.pem", (long)getpid());
    EVP_PKEY_free(write_certificate(EVP_RSA_gen(4096), certificate, key)); // each costs milliseconds
    (void)snprintf(config, sizeof config,
                   "tls { cert_file: \"%s\", key_file: \"%s\", timeout: 20 }, allow_non_tls: true",
                   certificate, key);
    daybook_server *server = wire_server(config);
    wire there, others[COUNT];
    wire_join(&there, daybook_server_port(server), "{\"verbose\":false}");
    size_t size = say_hello(hello, sizeof hello);
    for (int i = 0; i < COUNT; i++) wire_open(&others[i], daybook_server_port(server));
    int64_t begin_us = now_us();
    for (int i = 0; i < COUNT; i++) wire_send(&others[i], hello, size);
    wire_sync(&there);
    int64_t answered_us = now_us() - begin_us;
    for (int i = 0; i < COUNT; i++) wire_wait(&others[i]);
    int64_t all_us = now_us() - begin_us;
    // It comes behind those that were read in the same round, and not behind all.
    if (answered_us > all_us / 3)
        fail_msg("after %lld of %lld us", (long long)answered_us, (long long)all_us);
    wire_close(&others[0]); // some leave, some are there at the end
    for (int i = 0; i < COUNT; i++) wire_send(&others[i], hello, size);
    wire_server_stop(server);
    for (int i = 1; i < COUNT; i++) wire_close(&others[i]);
    wire_close(&there);
    (void)remove(certificate);
    (void)remove(key);
}

// CVE-2021-32026: a certificate named on the command line takes nothing back of what the file demands of TLS.
static void the_command_line_loosens_nothing(void **unused) {
    (void)unused;
    char text[300], overrides[300];
    (void)snprintf(overrides, sizeof overrides, "tls { cert_file: \"%s\", key_file: \"%s\" }",
                   certificate_path, key_path);
    (void)snprintf(text, sizeof text, "tls { cert_file: none, key_file: none, min_version: \"1.3\" }");
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.config_text = daybook_text(text);
    options.overrides = daybook_text(overrides);
    options.host = "127.0.0.1";
    options.port = -1;
    daybook_server *server;
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_server_start(&options, &server, &error) != DAYBOOK_OK) fail_msg("%s", error.message);
    secure_wire a;
    wire_open(&a.plain, daybook_server_port(server));
    assert_true(secure_try(&a, NULL, NULL));
    assert_string_equal(SSL_get_version(a.ssl), "TLSv1.3");
    secure_close(&a);
    wire_open(&a.plain, daybook_server_port(server));
    a.context = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_set_max_proto_version(a.context, TLS1_2_VERSION), 1);
    a.ssl = SSL_new(a.context);
    (void)SSL_set_fd(a.ssl, a.plain.socket);
    assert_int_not_equal(SSL_connect(a.ssl), 1);
    secure_close(&a);
    wire_server_stop(server);
}

// Bytes that are no handshake, or not the whole of one: each ends its connection, soon or when the time for it is over.
static void what_is_no_handshake_ends_only_its_connection(void **unused) {
    (void)unused;
    enum { HALF_COUNT = 200 };
    static wire half[HALF_COUNT];
    char hello[4096], flipped[4096];
    size_t size = say_hello(hello, sizeof hello);
    static const char too_long[] = "\x16\x03\x01\xff\xff\x01\x00\xff\xfb";
    static const char alert[] = "\x15\x03\x03\x00\x02\x02\x28";
    static const char plain[] = "CONNECT {\"verbose\":false}\r\nPING\r\n";
    static const char *const settings[] = {", timeout: 1", ", timeout: 1, handshake_first: true"};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        daybook_server *server = secure_server(settings[i], "");
        int port = daybook_server_port(server);
        for (int j = 0; j < HALF_COUNT; j++) { // these say a little more or less of it
            wire_open_silent(&half[j], port);
            wire_send(&half[j], hello, size * (size_t)j / HALF_COUNT);
        }
        for (size_t at = 0; at < size; at += 7) { // a byte of it is another
            wire bad;
            memcpy(flipped, hello, size);
            flipped[at] ^= 0x55;
            wire_open_silent(&bad, port);
            wire_send(&bad, flipped, size);
            wire_close(&bad);
        }
        const struct {
            const char *bytes;
            size_t size;
        } others[] = {{too_long, sizeof too_long - 1}, {alert, sizeof alert - 1}, {plain, sizeof plain - 1}};
        for (size_t j = 0; j < sizeof others / sizeof *others; j++) {
            wire bad;
            wire_open_silent(&bad, port);
            wire_send(&bad, others[j].bytes, others[j].size);
            wire_drain_to_end(&bad);
            wire_close(&bad);
        }
        secure_wire good;
        wire_open_silent(&good.plain, port);
        if (i == 0) (void)wire_until(&good.plain, "\r\n");
        assert_true(secure_try(&good, NULL, NULL));
        secure_say(&good, "CONNECT {\"verbose\":false}\r\n");
        secure_close(&good);
        for (int j = 0; j < HALF_COUNT; j++) {
            wire_drain_to_end(&half[j]);
            wire_close(&half[j]);
        }
        wire_server_stop(server);
    }
}

static void clients_must_show_certificates_where_asked(void **unused) {
    (void)unused;
    char more[128];
    (void)snprintf(more, sizeof more, ", verify: true, ca_file: \"%s\"", certificate_path);
    daybook_server *server = secure_server(more, "");
    secure_wire a;
    wire_open(&a.plain, daybook_server_port(server));
    assert_non_null(strstr(a.plain.info, "\"tls_verify\":true"));
    assert_true(secure_try(&a, certificate_path, key_path));
    talk(&a);
    secure_close(&a);
    wire_open(&a.plain, daybook_server_port(server));
    char byte;
    // With TLS 1.3 the client learns of it when it reads.
    if (secure_try(&a, NULL, NULL)) assert_true(SSL_read(a.ssl, &byte, 1) <= 0);
    secure_close(&a);
    wire_log_wait("TLS handshake error");
    wire_server_stop(server);
}

static void a_certificate_says_who_it_is(void **unused) {
    (void)unused;
    char more[128];
    (void)snprintf(more, sizeof more, ", verify_and_map: true, ca_file: \"%s\"", certificate_path);
    daybook_server *server = secure_server(
        more, "authorization { users: [ {user: \"CN = localhost\", permissions: {publish: \"a\", "
              "subscribe: \">\"}}, {user: other, password: other} ] }");
    secure_wire a;
    wire_open(&a.plain, daybook_server_port(server));
    assert_true(secure_try(&a, certificate_path, key_path));
    talk(&a);
    secure_say(&a, "PUB b 0\r\n\r\n");
    secure_expect(&a, "-ERR 'Permissions Violation for Publish to \"b\"'\r\n");
    // Naming somebody else changes nothing.
    secure_say(&a, "CONNECT {\"user\":\"other\",\"pass\":\"other\",\"verbose\":false}\r\nPUB b 0\r\n\r\n");
    secure_expect(&a, "-ERR 'Permissions Violation for Publish to \"b\"'\r\n");
    secure_close(&a);
    wire_server_stop(server);
    // A certificate that is nobody's.
    server = secure_server(
        more, "authorization { users: [ {user: \"CN=localhost,O=x\"}, {user: localhost}, {user: other, "
              "password: other} ] }");
    wire_open(&a.plain, daybook_server_port(server));
    assert_true(secure_try(&a, certificate_path, key_path));
    secure_say(&a, "CONNECT {\"user\":\"other\",\"pass\":\"other\",\"verbose\":false}\r\n");
    secure_expect(&a, "-ERR 'Authorization Violation'\r\n");
    secure_close(&a);
    wire_server_stop(server);
}

static int make_files(void **unused) {
    (void)unused;
    (void)snprintf(certificate_path, sizeof certificate_path, "server-certificate-%ld.pem", (long)getpid());
    (void)snprintf(key_path, sizeof key_path, "server-key-%ld.pem", (long)getpid());
    EVP_PKEY_free(write_certificate(EVP_EC_gen("P-256"), certificate_path, key_path));
    return 0;
}

static int remove_files(void **unused) {
    (void)unused;
    (void)remove(certificate_path);
    (void)remove(key_path);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_who_says_the_right_thing_comes_in),
        cmocka_unit_test(a_slow_check_holds_up_nobody_else),
        cmocka_unit_test(one_place_that_tries_passwords_does_not_keep_others_out),
        cmocka_unit_test(passwords_do_not_hold_up_the_api),
        cmocka_unit_test(what_waits_behind_a_check_takes_its_size),
        cmocka_unit_test(who_says_nothing_has_to_go),
        cmocka_unit_test(permissions_are_asked),
        cmocka_unit_test(who_is_refused_does_not_fill_the_log),
        cmocka_unit_test(a_reload_changes_who_may_do_what),
        cmocka_unit_test(tls_after_info),
        cmocka_unit_test(tls_before_info),
        cmocka_unit_test(tls_may_be_left_out_where_that_is_allowed),
        cmocka_unit_test(handshakes_do_not_hold_up_who_is_there),
        cmocka_unit_test(the_command_line_loosens_nothing),
        cmocka_unit_test(what_is_no_handshake_ends_only_its_connection),
        cmocka_unit_test(clients_must_show_certificates_where_asked),
        cmocka_unit_test(a_certificate_says_who_it_is),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
