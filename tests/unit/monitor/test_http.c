// SPDX-License-Identifier: Apache-2.0
// HTTP of the monitor: pages that take long hold up no light one, and all that are under way end before a stop does.
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "lib/fault_allocator.h"
#include "monitor/http.h"

enum { DEADLINE_MS = 20000, SOON_MS = 5000 };

/// Pages /held stand until it is opened.
typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned standing, standing_max;
    bool is_open;
    atomic_uint served;
} gate;

static void hold(gate *at) {
    pthread_mutex_lock(&at->lock);
    at->standing++;
    if (at->standing > at->standing_max) at->standing_max = at->standing;
    pthread_cond_broadcast(&at->changed);
    while (!at->is_open) pthread_cond_wait(&at->changed, &at->lock);
    at->standing--;
    pthread_mutex_unlock(&at->lock);
}

static void wait_for_standing(gate *at, unsigned count) {
    pthread_mutex_lock(&at->lock);
    while (at->standing < count) pthread_cond_wait(&at->changed, &at->lock);
    pthread_mutex_unlock(&at->lock);
}

static void open_gate(gate *at) {
    pthread_mutex_lock(&at->lock);
    at->is_open = true;
    pthread_cond_broadcast(&at->changed);
    pthread_mutex_unlock(&at->lock);
}

static bool is_light(void *context, const char *path) {
    (void)context;
    return strcmp(path, "/light") == 0;
}

/// More than the kernel takes.
static void put_much(dbk_buf *body) {
    static const char block[64 * 1024] = {' '};
    for (int i = 0; i < 128; i++) dbk_buf_append(body, block, sizeof block);
}

static void serve(void *context, dbk_http_exchange *exchange) {
    gate *at = context;
    const char *word = exchange->argument(exchange, "word");
    if (strcmp(exchange->path, "/held") == 0) hold(at);
    if (strcmp(exchange->path, "/large") == 0) put_much(&exchange->body);
    atomic_fetch_add(&at->served, 1);
    exchange->content_type = "text/plain";
    dbk_buf_append(&exchange->body, exchange->path, strlen(exchange->path));
    if (word != NULL) dbk_buf_append(&exchange->body, word, strlen(word));
}

typedef struct world {
    fault_allocator faults;
    gate gate;
    dbk_http *http;
    int port;
} world;

static int set_up(void **state) {
    static world at;
    memset(&at, 0, sizeof at);
    fault_allocator_init(&at.faults);
    pthread_mutex_init(&at.gate.lock, NULL);
    pthread_cond_init(&at.gate.changed, NULL);
    atomic_init(&at.gate.served, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    dbk_http_settings settings = {.allocator = &at.faults.allocator,
                                  .address = (const struct sockaddr *)&address,
                                  .host = "127.0.0.1",
                                  .serve = serve,
                                  .is_light = is_light,
                                  .context = &at.gate};
    *state = &at;
    return dbk_http_start(&settings, &at.http, &at.port, NULL) == DAYBOOK_OK ? 0 : -1;
}

static int tear_down(void **state) {
    world *at = *state;
    open_gate(&at->gate);
    dbk_http_stop(at->http);
    pthread_cond_destroy(&at->gate.changed);
    pthread_mutex_destroy(&at->gate.lock);
    return fault_allocator_live(&at->faults) == 0 ? 0 : -1;
}

static int connect_to(const world *at) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)at->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(connection >= 0);
    assert_int_equal(connect(connection, (struct sockaddr *)&address, sizeof address), 0);
    return connection;
}

static int ask(const world *at, const char *target) {
    char request[256];
    int connection = connect_to(at);
    int size =
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", target);
    assert_int_equal(write(connection, request, (size_t)size), size);
    return connection;
}

/// The answer, until the connection ends, has this in it; and it comes within so long.
static void expect(int connection, const char *text, int milliseconds) {
    char got[4096];
    size_t size = 0;
    for (;;) {
        struct pollfd readable = {.fd = connection, .events = POLLIN};
        if (poll(&readable, 1, milliseconds) != 1) fail_msg("no answer in %d ms", milliseconds);
        ssize_t count = read(connection, got + size, sizeof got - 1 - size);
        if (count <= 0) break;
        size += (size_t)count;
    }
    got[size] = '\0';
    if (strstr(got, text) == NULL) fail_msg("%s", got);
    close(connection);
}

/// Those before may still be on their way: one that is not refused is held, and its connection goes.
static void wait_until_refused(world *at) {
    for (int tries = 0; tries < DEADLINE_MS / 10; tries++) {
        int connection = ask(at, "/held");
        struct pollfd readable = {.fd = connection, .events = POLLIN};
        if (poll(&readable, 1, 10) == 1) {
            expect(connection, "503 ", SOON_MS);
            return;
        }
        close(connection);
    }
    fail_msg("all are taken");
}

static void pages_that_take_long_hold_up_no_light_one(void **state) {
    enum { HELD = DBK_HTTP_PAGES_WAITING_MAX, LIGHT = 20 };
    world *at = *state;
    int held[HELD];
    for (int i = 0; i < HELD; i++) held[i] = ask(at, "/held?word=!");
    wait_for_standing(&at->gate, DBK_HTTP_PAGES_MAX);
    for (int i = 0; i < LIGHT; i++) expect(ask(at, "/light?word=!"), "\r\n\r\n/light!", SOON_MS);
    assert_int_equal(atomic_load(&at->gate.served), LIGHT);
    // Nor do those that come on top of these, which are told so.
    wait_until_refused(at);
    open_gate(&at->gate);
    for (int i = 0; i < HELD; i++) expect(held[i], "\r\n\r\n/held!", DEADLINE_MS);
    assert_int_equal(at->gate.standing_max, DBK_HTTP_PAGES_MAX);
}

static void who_goes_while_a_page_is_made_leaves_nothing(void **state) {
    enum { HELD = 8 };
    world *at = *state;
    int held[HELD];
    for (int i = 0; i < HELD; i++) held[i] = ask(at, "/held");
    wait_for_standing(&at->gate, DBK_HTTP_PAGES_MAX);
    for (int i = 0; i < HELD; i++) close(held[i]);
    open_gate(&at->gate);
    expect(ask(at, "/other"), "\r\n\r\n/other", DEADLINE_MS);
}

static void *open_later(void *context) {
    world *at = context;
    (void)poll(NULL, 0, 100); // the stop has begun
    open_gate(&at->gate);
    return NULL;
}

static void a_stop_waits_for_what_is_under_way(void **state) {
    enum { HELD = 8 };
    world *at = *state;
    int held[HELD];
    pthread_t opener;
    for (int i = 0; i < HELD; i++) held[i] = ask(at, "/held");
    wait_for_standing(&at->gate, DBK_HTTP_PAGES_MAX);
    assert_int_equal(pthread_create(&opener, NULL, open_later, at), 0);
    dbk_http_stop(at->http);
    at->http = NULL;
    assert_int_equal(pthread_join(opener, NULL), 0);
    assert_int_equal(at->gate.standing, 0);
    assert_in_range(atomic_load(&at->gate.served), DBK_HTTP_PAGES_MAX, HELD);
    for (int i = 0; i < HELD; i++) close(held[i]);
}

// Each at another place of its life: nothing said, half a line, an answer had, an answer that is not read.
static int hold_connection(const world *at, int kind) {
    if (kind == 3) return ask(at, "/large");
    int connection = connect_to(at);
    if (kind == 1) assert_int_equal(write(connection, "GET /li", 7), 7);
    if (kind == 2) {
        static const char whole[] = "GET /light HTTP/1.1\r\nHost: x\r\n\r\n";
        char got[512];
        assert_int_equal(write(connection, whole, sizeof whole - 1), sizeof whole - 1);
        assert_true(read(connection, got, sizeof got) > 0);
    }
    return connection;
}

static void who_holds_connections_keeps_nobody_out(void **state) {
    enum { COUNT = 2 * DBK_HTTP_CONNECTIONS_MAX };
    world *at = *state;
    int held[COUNT];
    for (int i = 0; i < COUNT; i++) held[i] = hold_connection(at, i % 4);
    for (int i = 0; i < 20; i++) expect(ask(at, "/light?word=!"), "\r\n\r\n/light!", SOON_MS);
    // The last that came may still ask, the first was cut.
    int last = held[COUNT - 4];
    static const char whole[] = "GET /light HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_int_equal(write(last, whole, sizeof whole - 1), sizeof whole - 1);
    expect(last, "\r\n\r\n/light", SOON_MS);
    expect(held[0], "", SOON_MS);
    for (int i = 1; i < COUNT; i++) {
        if (i != COUNT - 4) close(held[i]);
    }
}

// Pages under way, connections without a request, clients that are gone: a stop finds all of it.
static void a_stop_in_the_midst_of_all(void **state) {
    enum { CLIENTS = 40 };
    world *at = *state;
    int held[CLIENTS];
    pthread_t opener;
    for (int i = 0; i < CLIENTS; i++) {
        bool is_page = i % 3 == 0;
        held[i] = is_page ? ask(at, "/held") : hold_connection(at, i % 4);
        if (i % 5 == 0) {
            close(held[i]);
            held[i] = -1;
        }
    }
    wait_for_standing(&at->gate, DBK_HTTP_PAGES_MAX);
    assert_int_equal(pthread_create(&opener, NULL, open_later, at), 0);
    dbk_http_stop(at->http);
    at->http = NULL;
    assert_int_equal(pthread_join(opener, NULL), 0);
    assert_int_equal(at->gate.standing, 0);
    for (int i = 0; i < CLIENTS; i++) {
        if (held[i] >= 0) close(held[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pages_that_take_long_hold_up_no_light_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_goes_while_a_page_is_made_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stop_waits_for_what_is_under_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_holds_connections_keeps_nobody_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stop_in_the_midst_of_all, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
