// SPDX-License-Identifier: Apache-2.0
// Credentials: asked on the loop where that is quick, on a worker where it takes long (bcrypt).
//
// Long checks run DBK_JOBS_CHECKS_MAX at a time (one), on a worker that nothing else has to wait for; the
// others wait in a list. Whose turn it is goes by address: next is who waits and comes from where nothing was
// checked for the longest time. So one place that tries passwords, or comes back with a thousand connections,
// does not keep another place out; within an address the first who came is the first. Addresses share PLACES
// places by a hash, of version 6 those of one network (64 bits).
//
// Who closes while waiting leaves the list; whose check runs already is let go of, and the answer is for
// nobody.
//
// Loop thread only, but for run_check.
#include <stdatomic.h>
#include <string.h>

#include "auth/certificate.h"
#include "broker/broker.h"
#include "broker/tls.h"

/// Freed when it is done, or when the client closes before it has begun.
struct dbk_auth_job {
    dbk_job job;
    dbk_broker *broker;
    dbk_client *client; // a reference
    dbk_auth *auth;     // a reference
    dbk_auth_attempt attempt;
    atomic_bool is_cancelled;
    struct dbk_auth_job *next; // waiting
    bool is_waiting;
    uint8_t place;
};

static void free_check(struct dbk_auth_job *check) {
    dbk_auth_unref(check->auth);
    dbk_client_unref(check->client);
    dbk_free(check->broker->allocator, check);
}

// Turns.

static uint8_t place_of(const dbk_client *client) {
    struct sockaddr_in6 six;
    const dbk_hash_key *key = &client->broker->hash_key;
    if (strchr(client->address, ':') != NULL && uv_ip6_addr(client->address, 0, &six) == 0)
        return (uint8_t)dbk_hash_bytes(key, &six.sin6_addr, 8);
    return (uint8_t)dbk_hash_bytes(key, client->address, strlen(client->address));
}

static void run_check(dbk_job *job) {
    struct dbk_auth_job *check = DBK_OWNER(job, struct dbk_auth_job, job);
    if (!atomic_load_explicit(&check->is_cancelled, memory_order_relaxed))
        dbk_auth_attempt_run(&check->attempt);
}

/// The one `at` leads to.
static struct dbk_auth_job *take_out(dbk_checks *checks, struct dbk_auth_job **at) {
    struct dbk_auth_job *check = *at;
    *at = check->next;
    if (checks->last == check)
        checks->last = at == &checks->first ? NULL : DBK_OWNER(at, struct dbk_auth_job, next);
    check->is_waiting = false;
    return check;
}

static struct dbk_auth_job *take_next(dbk_checks *checks) {
    struct dbk_auth_job **best = &checks->first;
    for (struct dbk_auth_job **at = &checks->first; *at != NULL; at = &(*at)->next) {
        if (checks->turns[(*at)->place] < checks->turns[(*best)->place]) best = at;
    }
    return take_out(checks, best);
}

static void append(dbk_checks *checks, struct dbk_auth_job *check) {
    check->is_waiting = true;
    if (checks->last == NULL) {
        checks->first = check;
    } else {
        checks->last->next = check;
    }
    checks->last = check;
}

static void begin_checks(dbk_broker *broker) {
    dbk_checks *checks = &broker->checks;
    while (checks->running_count < DBK_JOBS_CHECKS_MAX && checks->first != NULL) {
        struct dbk_auth_job *check = take_next(checks);
        checks->turns[check->place] = ++checks->turn;
        checks->running_count++;
        dbk_jobs_submit(broker->jobs, &check->job);
    }
}

// The end of one.

/// The client waits for nothing else. What was right before a reload is as good as a connection of that time.
static void tell_client(struct dbk_auth_job *check, dbk_auth_verdict verdict, const dbk_user *user) {
    dbk_client *client = check->client;
    dbk_auth *auth = client->broker->auth;
    client->auth_job = NULL;
    client->state = DBK_CLIENT_GREETED;
    bool is_right = verdict == DBK_AUTH_ACCEPTED;
    if (is_right && check->auth != auth) is_right = dbk_client_is_still(client, user, &user);
    if (is_right) {
        dbk_client_let_in(client, dbk_auth_ref(auth), user);
    } else {
        dbk_client_refuse(client);
    }
    dbk_client_resume(client);
}

static void end_check(dbk_job *job) {
    struct dbk_auth_job *check = DBK_OWNER(job, struct dbk_auth_job, job);
    dbk_broker *broker = check->broker;
    const dbk_user *user = NULL;
    dbk_auth_verdict verdict = dbk_auth_attempt_end(&check->attempt, &user);
    broker->checks.running_count--;
    if (check->client->state == DBK_CLIENT_CHECKING && check->client->auth_job == check)
        tell_client(check, verdict, user);
    free_check(check);
    begin_checks(broker);
}

void dbk_client_cancel_check(dbk_client *client) {
    struct dbk_auth_job *check = client->auth_job;
    if (check == NULL) return;
    client->auth_job = NULL;
    atomic_store_explicit(&check->is_cancelled, true, memory_order_relaxed);
    if (!check->is_waiting) return; // it frees itself
    struct dbk_auth_job **at = &client->broker->checks.first;
    while (*at != check) at = &(*at)->next;
    (void)take_out(&client->broker->checks, at);
    const dbk_user *nobody = NULL;
    (void)dbk_auth_attempt_end(&check->attempt, &nobody);
    free_check(check);
}

// Asking.

static dbk_auth_verdict ask(dbk_client *client, dbk_credentials *credentials, const dbk_user **user_out,
                            struct dbk_auth_job *check) {
    dbk_broker *broker = client->broker;
    struct x509_st *certificate = client->tls != NULL ? dbk_tls_peer(client->tls) : NULL;
    dbk_certificate_names names;
    if (dbk_certificate_names_read(certificate, broker->allocator, &names) != DAYBOOK_OK)
        return DBK_AUTH_REFUSED;
    credentials->certificate_names = names.items;
    credentials->certificate_name_count = names.count;
    dbk_auth_verdict verdict = dbk_auth_check(broker->auth, credentials, user_out, &check->attempt);
    dbk_certificate_names_free(&names);
    return verdict;
}

static void wait_for_turn(dbk_client *client, struct dbk_auth_job *check) {
    dbk_broker *broker = client->broker;
    check->job = (dbk_job){.run = run_check, .done = end_check, .is_check = true};
    check->broker = broker;
    check->client = dbk_client_ref(client);
    check->auth = dbk_auth_ref(broker->auth);
    check->place = place_of(client);
    atomic_init(&check->is_cancelled, false);
    client->auth_job = check;
    if (client->state == DBK_CLIENT_OPEN) { // it came in unnamed; its timer was for pings
        dbk_broker_start_timer(broker, &client->timer, broker->options->auth.timeout_ns);
    }
    client->state = DBK_CLIENT_CHECKING;
    dbk_client_update_reading(client);
    append(&broker->checks, check);
    begin_checks(broker);
}

void dbk_client_check(dbk_client *client, dbk_credentials *credentials) {
    dbk_broker *broker = client->broker;
    struct dbk_auth_job *check = dbk_alloc_zeroed(broker->allocator, sizeof *check);
    if (check == NULL) {
        dbk_client_close(client, DBK_CLOSE_MEMORY, NULL);
        return;
    }
    const dbk_user *user = NULL;
    switch (ask(client, credentials, &user, check)) {
    case DBK_AUTH_ACCEPTED:
        dbk_client_let_in(client, dbk_auth_ref(broker->auth), user);
        break;
    case DBK_AUTH_REFUSED:
        dbk_client_refuse(client);
        break;
    case DBK_AUTH_SLOW:
        wait_for_turn(client, check);
        return;
    }
    dbk_free(broker->allocator, check);
}
