// SPDX-License-Identifier: Apache-2.0
// What has hurt other NATS servers, tried on this one through sockets: the advisories of nats-server that concern who
// may come in and what they may do, each under its number, and their relatives.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include <cmocka.h>

#include "auth/nkey.h"
#include "server/wire.h"

// CVE-2022-29946, 2026-17, 2026-18: a deny rule cannot be walked around by wildcards, overlaps, queue groups or their names.
static void deny_rules_hold_for_every_subscription(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("authorization { users: [ {user: free, password: free}\n"
                                         "{user: bound, password: bound, permissions: {subscribe: {deny: "
                                         "[\"secret.>\", \"a.*.c\", \"q work\", "
                                         "\"plain\", \"plain work\"]}}} ] }");
    int port = daybook_server_port(server);
    wire free, bound;
    wire_join_as(&free, port, "free");
    wire_join_as(&bound, port, "bound");
    // What lies wholly within a rule is refused.
    static const char *refused[][2] = {{"secret.x", ""}, {"secret.>", ""},   {"secret.*", "work"},
                                       {"a.b.c", ""},    {"a.*.c", "other"}, {"q", "work"},
                                       {"plain", ""},    {"plain", "other"}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char line[64];
        snprintf(line, sizeof line, "SUB %s %s r\r\n", refused[i][0], refused[i][1]);
        wire_say(&bound, line);
        assert_non_null(strstr(wire_until(&bound, "\r\n"), "Permissions Violation for Subscription to"));
    }
    // What is wider, or crosses it, is not, and shows nothing of it.
    static const char *taken[][2] = {{">", ""},      {">", "work"}, {"*.x", ""},    {"*.x", "work"},
                                     {"secret", ""}, {"a.b.*", ""}, {"a.b.*", "g"}, {"*.b.c", "g"},
                                     {"a.>", ""},    {"*", ""},     {"*", "work"},  {"q", ""},
                                     {"q", "other"}, {"*.*", "h"},  {"*.*.c", ""}};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        char line[64];
        snprintf(line, sizeof line, "SUB %s %s %zu\r\n", taken[i][0], taken[i][1], i);
        wire_say(&bound, line);
    }
    wire_sync(&bound);
    wire_say(&free, "PUB secret.x 6\r\nhidden\r\nPUB secret.x.y 6\r\nhidden\r\nPUB a.b.c 6\r\nhidden\r\nPUB "
                    "plain 6\r\nhidden\r\n"
                    "PUB q 4\r\nopen\r\nPUB secret 4\r\nopen\r\nPUB a.b.d 4\r\nopen\r\n");
    wire_sync(&free);
    const char *got = wire_settle(&bound);
    if (strstr(got, "hidden") != NULL) fail_msg("%s", got);
    assert_non_null(strstr(got, "MSG q 11 4\r\nopen"));
    assert_non_null(strstr(got, "MSG q 12 4\r\nopen")); // another queue than the one denied
    assert_null(strstr(got, "MSG q 10 "));              // a wider subscription in that queue
    assert_non_null(strstr(got, "MSG secret 4 4\r\nopen"));
    assert_non_null(strstr(got, "MSG a.b.d 5 4\r\nopen"));
    // Nor do headers or a reply help.
    wire_say(&free, "HPUB secret.x reply 12 12\r\nNATS/1.0\r\n\r\n\r\nPUB secret.x reply 6\r\nhidden\r\n");
    wire_sync(&free);
    wire_sync(&bound);
    wire_close(&free);
    wire_close(&bound);
    wire_server_stop(server);
}

// A member of a group that may not have a message is passed over, not a reason to lose it.
static void a_group_gives_to_a_member_who_may(void **unused) {
    (void)unused;
    daybook_server *server =
        wire_server("authorization { users: [ {user: free, password: free}\n"
                    "{user: bound, password: bound, permissions: {subscribe: {deny: \"jobs.secret\"}}} ] }");
    int port = daybook_server_port(server);
    wire free, bound[3];
    wire_join_as(&free, port, "free");
    for (int i = 0; i < 3; i++) {
        wire_join_as(&bound[i], port, "bound");
        wire_say(&bound[i], "SUB jobs.* workers 1\r\n");
        wire_sync(&bound[i]);
    }
    wire_say(&free, "SUB jobs.> workers 1\r\n");
    wire_sync(&free);
    for (int i = 0; i < 40; i++) wire_say(&free, "PUB jobs.secret 6\r\nhidden\r\n");
    const char *got = wire_settle(&free);
    int count = 0;
    for (const char *at = got; (at = strstr(at, "hidden")) != NULL; at++) count++;
    assert_int_equal(count, 40);
    for (int i = 0; i < 3; i++) {
        wire_sync(&bound[i]);
        wire_close(&bound[i]);
    }
    // Where none may, nobody gets it, and who asks is told so.
    wire_close(&free);
    wire_join_as(&bound[0], port, "bound");
    wire_say(&bound[0], "SUB jobs.* workers 1\r\n");
    wire_sync(&bound[0]);
    wire_join(
        &free, port,
        "{\"user\":\"free\",\"pass\":\"free\",\"verbose\":false,\"headers\":true,\"no_responders\":true}");
    wire_say(&free, "SUB inbox 1\r\nPUB jobs.secret inbox 6\r\nhidden\r\n");
    assert_non_null(strstr(wire_until(&free, "\r\n\r\n"), "NATS/1.0 503"));
    wire_sync(&bound[0]);
    wire_close(&bound[0]);
    wire_close(&free);
    wire_server_stop(server);
}

// 2026-16, 2026-24: whoever begins with something else than CONNECT is no_auth_user and no more, where there is one, and nobody
// where there is none.
static void the_first_word_is_no_way_past_checks(void **unused) {
    (void)unused;
    static const char *first_words[] = {
        "PUB open.a 0\r\n\r\n",
        "SUB open.a 1\r\n",
        "PING\r\n",
        "PONG\r\n",
        "UNSUB 1\r\n",
        "HPUB open.a 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        "+OK\r\n",
        "INFO {}\r\n",
        "CONNECT {}\r\n",
        "CONNECT {\"user\":\"free\"}\r\n",
        "CONNECT {\"user\":\"free\",\"pass\":\"\"}\r\n",
        "CONNECT {\"user\":\"free\",\"pass\":null}\r\n",
        "CONNECT {\"user\":\"free\",\"pass\":[\"free\"]}\r\n",
        "CONNECT {\"auth_token\":\"free\"}\r\n",
        "CONNECT {\"jwt\":\"eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.e30.\",\"sig\":\"\"}\r\n",
        "CONNECT {\"nkey\":\"UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4\"}\r\n",
        "CONNECT {\"account\":\"free\",\"new_account\":true}\r\n",
        "CONNECT {\"user\":\"free\",\"pass\":\"wrong\",\"user\":\"free\"}\r\n"};
    daybook_server *server = wire_server("authorization { users: [ {user: free, password: free} ] }");
    wire client;
    for (size_t i = 0; i < sizeof first_words / sizeof *first_words; i++) {
        wire_open(&client, daybook_server_port(server));
        wire_say(&client, first_words[i]);
        wire_say(&client, "SUB > 2\r\nPING\r\n");
        wire_drain_to_end(&client);
        wire_close(&client);
    }
    wire_server_stop(server);

    server = wire_server(
        "no_auth_user: guest\n"
        "authorization { users: [ {user: free, password: free}\n"
        "{user: guest, password: guest, permissions: {publish: \"open.>\", subscribe: \"open.>\"}} ] }");
    int port = daybook_server_port(server);
    wire free;
    wire_join_as(&free, port, "free");
    wire_say(&free, "SUB > 1\r\n");
    wire_sync(&free);
    // Said nothing: a guest.
    wire_open(&client, port);
    wire_say(&client, "PUB closed 6\r\nclosed\r\nSUB closed 1\r\nSUB open.> 2\r\nPUB open.a 4\r\nopen\r\n");
    const char *got = wire_settle(&client);
    assert_non_null(strstr(got, "Permissions Violation for Publish to \"closed\""));
    assert_non_null(strstr(got, "Permissions Violation for Subscription to \"closed\""));
    assert_non_null(strstr(got, "MSG open.a 2 4\r\nopen"));
    wire_expect(&free, "MSG open.a 1 4\r\nopen\r\n");
    wire_sync(&free);
    wire_close(&client);
    // Said something wrong: nobody, not a guest.
    for (size_t i = 9; i < sizeof first_words / sizeof *first_words; i++) {
        if (strstr(first_words[i], "account") != NULL) continue; // no credentials
        wire_open(&client, port);
        wire_say(&client, first_words[i]);
        wire_say(&client, "PUB open.a 4\r\nopen\r\nPING\r\n");
        wire_drain_to_end(&client);
        wire_close(&client);
    }
    wire_sync(&free);
    wire_close(&free);
    wire_server_stop(server);
}

// Whoever becomes somebody else takes along nothing that one may not have.
static void another_user_keeps_no_forbidden_subscription(void **unused) {
    (void)unused;
    daybook_server *server = wire_server(
        "no_auth_user: guest\n"
        "authorization { users: [ {user: free, password: free}, {user: guest, password: guest}\n"
        "{user: bound, password: bound, permissions: {subscribe: {deny: [\"x\", \"b.secret\"]}}} ] }");
    int port = daybook_server_port(server);
    wire free, client;
    wire_join_as(&free, port, "free");
    wire_open(&client, port);
    wire_say(&client, "SUB x 1\r\nSUB b.* 2\r\nSUB y 3\r\nPING\r\n");
    (void)wire_until(&client, "PONG\r\n");
    wire_say(&client, "CONNECT {\"user\":\"bound\",\"pass\":\"bound\",\"verbose\":false}\r\n");
    (void)wire_settle(&client);
    wire_say(&free,
             "PUB x 6\r\nhidden\r\nPUB b.secret 6\r\nhidden\r\nPUB b.open 4\r\nopen\r\nPUB y 4\r\nopen\r\n");
    wire_sync(&free);
    wire_expect(&client, "MSG b.open 2 4\r\nopen\r\nMSG y 3 4\r\nopen\r\n");
    wire_sync(&client);
    // The same the other way and back again.
    wire_say(&client, "CONNECT {\"user\":\"free\",\"pass\":\"free\",\"verbose\":false}\r\nSUB x 4\r\n");
    assert_null(strstr(wire_settle(&client), "-ERR"));
    wire_say(&client, "CONNECT {\"user\":\"bound\",\"pass\":\"bound\",\"verbose\":false}\r\n");
    assert_non_null(strstr(wire_settle(&client), "Permissions Violation for Subscription to \"x\""));
    wire_say(&free, "PUB x 6\r\nhidden\r\nPUB b.secret 6\r\nhidden\r\n");
    wire_sync(&free);
    wire_expect_silence(&client, 50);
    // Nobody again is nobody, whoever it was before.
    wire_say(&client, "CONNECT {\"user\":\"free\",\"pass\":\"wrong\"}\r\nSUB x 5\r\n");
    wire_drain_to_end(&client);
    wire_close(&client);
    wire_close(&free);
    wire_server_stop(server);
}

static void answers_are_let_through_as_often_and_long_as_said(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("authorization { users: [ {user: asks, password: asks}\n"
                                         "{user: twice, password: twice, permissions: {subscribe: "
                                         "\"service\", allow_responses: {max: 2, expires: \"1m\"}}}\n"
                                         "{user: brief, password: brief, permissions: {subscribe: "
                                         "\"service\", allow_responses: {max: 100, expires: \"50ms\"}}} ] }");
    int port = daybook_server_port(server);
    wire asks, service;
    wire_join_as(&asks, port, "asks");
    wire_say(&asks, "SUB inbox.* 1\r\nSUB other 2\r\n");
    wire_sync(&asks);
    static const char denied[] = "-ERR 'Permissions Violation for Publish to \"inbox.1\"'\r\n";

    wire_join_as(&service, port, "twice");
    wire_say(&service, "SUB service 1\r\nPUB inbox.1 0\r\n\r\n"); // not asked yet
    wire_expect(&service, denied);
    wire_sync(&service);
    wire_say(&asks, "PUB service inbox.1 0\r\n\r\n");
    wire_expect(&service, "MSG service 1 inbox.1 0\r\n\r\n");
    wire_say(&service, "PUB inbox.2 0\r\n\r\n"); // another's
    wire_expect(&service, "-ERR 'Permissions Violation for Publish to \"inbox.2\"'\r\n");
    wire_say(&service, "PUB inbox.1 1\r\n1\r\nPUB inbox.1 1\r\n2\r\nPUB inbox.1 1\r\n3\r\n");
    wire_expect(&service, denied);
    wire_expect(&asks, "MSG inbox.1 1 1\r\n1\r\nMSG inbox.1 1 1\r\n2\r\n");
    wire_sync(&asks);
    wire_say(&service, "PUB other 0\r\n\r\n");
    wire_expect(&service, "-ERR 'Permissions Violation for Publish to \"other\"'\r\n");
    wire_close(&service);

    wire_join_as(&service, port, "brief");
    wire_say(&service, "SUB service 1\r\n");
    wire_sync(&service);
    wire_say(&asks, "PUB service inbox.1 0\r\n\r\n");
    wire_expect(&service, "MSG service 1 inbox.1 0\r\n\r\n");
    wire_nap(200);
    wire_say(&service, "PUB inbox.1 4\r\nlate\r\n");
    wire_expect(&service, denied);
    wire_sync(&asks);
    wire_close(&service);
    wire_close(&asks);
    wire_server_stop(server);
}

// nkeys: the nonce of one connection is of no use to another.

static void sign(const uint8_t private[32], const char *nonce, size_t nonce_size, char text_out[96]) {
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, private, 32);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    uint8_t signature[64];
    size_t size = sizeof signature;
    assert_int_equal(EVP_DigestSignInit(context, NULL, NULL, NULL, key), 1);
    assert_int_equal(EVP_DigestSign(context, signature, &size, (const uint8_t *)nonce, nonce_size), 1);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    EVP_EncodeBlock((uint8_t *)text_out, signature, 64);
    for (char *at = text_out; *at != '\0'; at++) {
        *at = *at == '+' ? '-' : *at == '/' ? '_' : *at == '=' ? '\0' : *at;
    }
}

// The nonce of INFO, and the signature of it.
static void sign_nonce_of(const wire *client, const uint8_t private[32], char nonce_out[64],
                          char signature_out[96]) {
    const char *field = strstr(client->info, "\"nonce\":\"");
    assert_non_null(field);
    field += strlen("\"nonce\":\"");
    size_t size = strcspn(field, "\"");
    assert_int_equal(size, DBK_NONCE_SIZE);
    snprintf(nonce_out, 64, "%.*s", (int)size, field);
    sign(private, field, size, signature_out);
}

static void a_signature_is_good_for_one_connection(void **unused) {
    (void)unused;
    uint8_t private[32] = {7, 7, 7}, public[32];
    size_t size = sizeof public;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, private, 32);
    assert_int_equal(EVP_PKEY_get_raw_public_key(key, public, &size), 1);
    EVP_PKEY_free(key);
    char text[DBK_NKEY_TEXT_SIZE + 1], config[256], nonce[64], other_nonce[64], signature[96],
        old_signature[96];
    dbk_nkey_encode(public, DBK_NKEY_USER, text);
    snprintf(config, sizeof config, "authorization { users: [ {nkey: %s} ] }", text);
    daybook_server *server = wire_server(config);
    int port = daybook_server_port(server);
    wire client;
    char json[512];
    wire_open(&client, port);
    sign_nonce_of(&client, private, nonce, old_signature);
    snprintf(json, sizeof json, "CONNECT {\"nkey\":\"%s\",\"sig\":\"%s\",\"verbose\":false}\r\n", text,
             old_signature);
    wire_say(&client, json);
    wire_sync(&client);
    wire_close(&client);

    const char *wrong[] = {old_signature, "", "AAAA", "....", NULL};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        wire_open(&client, port);
        sign_nonce_of(&client, private, other_nonce, signature);
        assert_string_not_equal(nonce, other_nonce);
        const char *given = wrong[i];
        if (given == NULL) { // bytes more than a signature has
            given = signature;
            snprintf(signature + 86, sizeof signature - 86, "AAAA");
        }
        snprintf(json, sizeof json, "CONNECT {\"nkey\":\"%s\",\"sig\":\"%s\",\"verbose\":false}\r\nPING\r\n",
                 text, given);
        wire_say(&client, json);
        wire_expect(&client, "-ERR 'Authorization Violation'\r\n");
        wire_expect_end(&client);
        wire_close(&client);
    }
    // As a name it has no password.
    wire_open(&client, port);
    snprintf(json, sizeof json, "CONNECT {\"user\":\"%s\",\"pass\":\"\"}\r\n", text);
    wire_say(&client, json);
    wire_expect(&client, "-ERR 'Authorization Violation'\r\n");
    wire_expect_end(&client);
    wire_close(&client);
    wire_server_stop(server);
}

// 2026-25: before somebody said who they are, nothing large is kept of what they send.
static void nothing_is_kept_for_who_is_nobody_yet(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("authorization { user: a, password: b }");
    int port = daybook_server_port(server);
    static char large[1 << 20];
    memset(large, 'x', sizeof large);
    static const char *beginnings[] = {
        "PUB a 1000000\r\n", "HPUB a 10 1000000\r\n", "CONNECT {\"user\":\"", "", "SUB ", "CONNECT "};
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        wire client;
        wire_open(&client, port);
        wire_say(&client, beginnings[i]);
        wire_send(&client, large, sizeof large);
        wire_drain_to_end(&client);
        wire_close(&client);
    }
    wire_server_stop(server);
}

// CVE-2019-13126 and its relatives: sizes that are none.
static void sizes_that_are_none_end_only_their_connection(void **unused) {
    (void)unused;
    daybook_server *server = wire_server(NULL);
    int port = daybook_server_port(server);
    wire other;
    wire_join(&other, port, "{\"verbose\":false,\"headers\":true}");
    wire_say(&other, "SUB > 1\r\n");
    wire_sync(&other);
    static const char *sizes[] = {"-1",
                                  "+5",
                                  "0x5",
                                  "5.0",
                                  "2147483648",
                                  "4294967296",
                                  "4294967301",
                                  "9223372036854775807",
                                  "18446744073709551616",
                                  "18446744073709551621",
                                  "9999999999999999999999999999999999999999999999999999999999999999",
                                  "5a",
                                  "five"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int kind = 0; kind < 3; kind++) {
            wire client;
            wire_join(&client, port, "{\"verbose\":false,\"headers\":true}");
            char text[256];
            snprintf(text, sizeof text, "%s %s%s\r\nNATS/1.0\r\n\r\n12345678\r\n",
                     kind == 0   ? "PUB a"
                     : kind == 1 ? "HPUB a 12"
                                 : "HPUB a",
                     sizes[i], kind == 2 ? " 20" : "");
            wire_say(&client, text);
            wire_drain_to_end(&client);
            wire_close(&client);
        }
    }
    wire_sync(&other); // and nothing of it was delivered
    wire_close(&other);
    wire_server_stop(server);
}

// 2026-22: no byte within a subject or reply is passed on that ends a line or parts fields, so that whoever publishes cannot
// put words of the protocol into the mouth of the server.
static void nobody_speaks_for_the_server(void **unused) {
    (void)unused;
    daybook_server *server = wire_server(NULL);
    int port = daybook_server_port(server);
    wire other;
    wire_join(&other, port, "{\"verbose\":false}");
    wire_say(&other, "SUB > 1\r\n");
    wire_sync(&other);
    static const char *lines[] = {"PUB a\rMSG 0\r\n\r\n",
                                  "PUB a\nPUB b 0\r\n\r\n",
                                  "PUB a b\rMSG\tx 0\r\n\r\n",
                                  "PUB a\x01"
                                  "b 0\r\n\r\n",
                                  "PUB a b\x0b"
                                  "c 0\r\n\r\n",
                                  "PUB \x7f 0\r\n\r\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        wire client;
        wire_join(&client, port, "{\"verbose\":false}");
        wire_say(&client, lines[i]);
        wire_say(&client, "PUB end 0\r\n\r\nPING\r\n");
        wire_close(&client);
    }
    wire last;
    wire_join(&last, port, "{\"verbose\":false}");
    wire_say(&last, "PUB last 0\r\n\r\n");
    wire_sync(&last);
    wire_close(&last);
    const char *got = wire_until(&other, "MSG last 1 0\r\n\r\n");
    for (const char *at = got; *at != '\0'; at += 4) { // "MSG …\r\n\r\n" each: all payloads are empty
        size_t size = strcspn(at, "\r\n");
        if (memcmp(at, "MSG ", 4) != 0 || memcmp(at + size, "\r\n\r\n", 4) != 0) fail_msg("%s", got);
        at += size;
    }
    wire_close(&other);
    wire_server_stop(server);
}

// CVE-2026-33216, -33247: what is secret is said nowhere, whatever the log is asked to say.
static void credentials_are_not_in_the_log(void **unused) {
    (void)unused;
    daybook_server *server =
        wire_server("debug: true\ntrace: true\n"
                    "authorization { users: [ {user: a, password: \"config-secret\"} ] }");
    wire client;
    static const char *said[] = {"CONNECT {\"user\":\"a\",\"pass\":\"said-secret\"}\r\n",
                                 "CONNECT {\"auth_token\":\"token-secret\"}\r\n",
                                 "CONNECT {\"user\":\"a\",\"pass\":\"bad-secret\r\n",
                                 "CONNECT {\"user\":\"a\",\"pass\":{\"x\":\"deep-secret\"}}\r\n",
                                 "connect {\"jwt\":\"jwt-secret\",\"sig\":\"sig-secret\"}\r\n",
                                 "CONNECTX {\"pass\":\"verb-secret\"}\r\n"};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        wire_open(&client, daybook_server_port(server));
        wire_say(&client, said[i]);
        wire_drain_to_end(&client);
        wire_close(&client);
    }
    wire_open(&client, daybook_server_port(server));
    wire_say(&client,
             "CONNECT {\"user\":\"a\",\"pass\":\"config-secret\",\"verbose\":false}\r\nPUB seen 0\r\n\r\n");
    wire_sync(&client);
    wire_log_wait("seen"); // the log does say something
    wire_close(&client);
    wire_server_stop(server);
    assert_false(wire_log_has("secret"));
}

// CVE-2026-33216 again: nor is it on the monitor, whatever is asked there.
static void credentials_are_not_on_the_monitor(void **unused) {
    (void)unused;
    static const char config[] =
        "http_port: -1\nauthorization { users: [ {user: ann, password: hunter2}, {user: bob, "
        "password: \"$2a$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\"} ] }";
    daybook_server *server = wire_server(config);
    wire client;
    wire_join(&client, daybook_server_port(server),
              "{\"user\":\"ann\",\"pass\":\"hunter2\",\"verbose\":false}");
    static const char *const pages[] = {"/",
                                        "/varz",
                                        "/connz?auth=1&subs=detail",
                                        "/connz?state=all&auth=1",
                                        "/subsz?subs=1",
                                        "/jsz?accounts=1&config=1",
                                        "/accountz",
                                        "/healthz",
                                        "/metrics"};
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        char text[200];
        wire http;
        (void)snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                       pages[i]);
        wire_open_silent(&http, daybook_server_monitor_port(server));
        wire_say(&http, text);
        assert_false(wire_comes(&http, "hunter2", WIRE_SECONDS * 1000)); // all of it, to the end
        assert_true(http.size > 12 && memcmp(http.received, "HTTP/1.1 ", 9) == 0);
        assert_null(strstr(http.received, "OQiyCxlgf"));
        wire_close(&http);
    }
    wire_close(&client);
    wire_server_stop(server);
}

// Subscriptions without sense, and very many of them.
static void subscriptions_are_bounded_and_cheap(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("max_subscriptions: 5000");
    int port = daybook_server_port(server);
    wire client, other;
    wire_join(&client, port, "{\"verbose\":false}");
    wire_join(&other, port, "{\"verbose\":false}");
    static char text[1 << 20];
    size_t size = 0;
    // A forest of wildcards over one subject of twelve tokens.
    for (unsigned i = 0; i < 4096; i++) {
        size += (size_t)snprintf(text + size, sizeof text - size, "SUB ");
        for (int bit = 0; bit < 12; bit++) {
            size += (size_t)snprintf(text + size, sizeof text - size, "%s", i >> bit & 1 ? "*." : "a.");
        }
        size += (size_t)snprintf(text + size, sizeof text - size, "z %u\r\n", i);
    }
    wire_send(&client, text, size);
    wire_sync(&client);
    for (int i = 0; i < 200; i++) wire_say(&other, "PUB a.a.a.a.a.a.a.a.a.a.a.a.y 0\r\n\r\n");
    wire_sync(&other); // 200 times 8191 nodes: nothing
    wire_say(&other, "PUB a.a.a.a.a.a.a.a.a.a.a.a.z 0\r\n\r\n");
    wire_sync(&other);
    const char *got = wire_settle(&client);
    size_t count = 0;
    for (const char *at = got; (at = strstr(at, "MSG ")) != NULL; at++) count++;
    assert_int_equal(count, 4096);
    // Unknown ones, and absurd numbers.
    wire_say(
        &client,
        "UNSUB nobody\r\nUNSUB 1 99999999999999999999\r\nUNSUB 2 18446744073709551617\r\nUNSUB 3 -1\r\n");
    (void)wire_settle(&client);
    wire_close(&client);
    wire_join(&client, port, "{\"verbose\":false}");
    for (int i = 0; i < 5001; i++) {
        char line[64];
        snprintf(line, sizeof line, "SUB x.%d %d\r\n", i, i);
        wire_say(&client, line);
    }
    wire_say(&client, "SUB x.0 0\r\nPING\r\n");
    got = wire_until(&client, "PONG\r\n");
    assert_non_null(strstr(got, "-ERR 'maximum subscriptions exceeded'"));
    wire_close(&client);
    wire_sync(&other);
    wire_close(&other);
    wire_server_stop(server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deny_rules_hold_for_every_subscription),
        cmocka_unit_test(a_group_gives_to_a_member_who_may),
        cmocka_unit_test(the_first_word_is_no_way_past_checks),
        cmocka_unit_test(another_user_keeps_no_forbidden_subscription),
        cmocka_unit_test(answers_are_let_through_as_often_and_long_as_said),
        cmocka_unit_test(a_signature_is_good_for_one_connection),
        cmocka_unit_test(nothing_is_kept_for_who_is_nobody_yet),
        cmocka_unit_test(sizes_that_are_none_end_only_their_connection),
        cmocka_unit_test(nobody_speaks_for_the_server),
        cmocka_unit_test(credentials_are_not_in_the_log),
        cmocka_unit_test(credentials_are_not_on_the_monitor),
        cmocka_unit_test(subscriptions_are_bounded_and_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
