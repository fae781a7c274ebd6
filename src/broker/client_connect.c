// SPDX-License-Identifier: Apache-2.0
// CONNECT: what a client says of itself and wants, and whether it may come in.
//
// The JSON is at most a control line long and is parsed by src/json, whose depth is bounded; fields that have
// the wrong type make it unreadable, unknown ones are passed over. Fields that are missing keep what they
// had: a client that never said CONNECT is verbose and pedantic.
//
// A check that takes long (bcrypt) is made by a worker (client_check.c), while the connection is CHECKING:
// nothing is read from it, and what it sent already waits. The deadline to be authorised goes on.
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "broker/broker.h"
#include "json/json.h"

enum { FACT_SIZE_MAX = 256 };

// Reading the JSON.

/// Fields of a CONNECT whose type matters; false in `is_sound` once one was wrong.
typedef struct dbk_said {
    json_t *root;
    bool is_sound;
} dbk_said;

static void read_flag(dbk_said *said, const char *name, bool *flag) {
    const json_t *value = json_object_get(said->root, name);
    if (value == NULL || json_is_null(value)) return;
    if (json_is_boolean(value)) {
        *flag = json_is_true(value);
    } else {
        said->is_sound = false;
    }
}

/// Borrowed from the JSON; the empty slice without data where it was not said.
static dbk_slice read_text(dbk_said *said, const char *name) {
    const json_t *value = json_object_get(said->root, name);
    if (value == NULL || json_is_null(value)) return daybook_bytes(NULL, 0);
    if (json_is_string(value)) return daybook_bytes(json_string_value(value), json_string_length(value));
    said->is_sound = false;
    return daybook_bytes(NULL, 0);
}

static int64_t read_number(dbk_said *said, const char *name, int64_t absent) {
    const json_t *value = json_object_get(said->root, name);
    if (value == NULL || json_is_null(value)) return absent;
    if (json_is_integer(value)) return json_integer_value(value);
    said->is_sound = false;
    return absent;
}

/// Copies at most FACT_SIZE_MAX bytes, without control characters: it is shown to people.
static const char *put_fact(char **at, dbk_slice text) {
    const char *bytes = text.data;
    char *start = *at;
    for (size_t i = 0; i < text.size && i < FACT_SIZE_MAX; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        *(*at)++ = byte < 0x20 || byte == 0x7f ? '?' : bytes[i];
    }
    *(*at)++ = '\0';
    return start;
}

static size_t fact_size(dbk_slice text) {
    return (text.size < FACT_SIZE_MAX ? text.size : FACT_SIZE_MAX) + 1;
}

static bool keep_facts(dbk_client *client, dbk_said *said) {
    dbk_slice name = read_text(said, "name"), lang = read_text(said, "lang"),
              version = read_text(said, "version");
    const daybook_allocator *allocator = client->broker->allocator;
    dbk_client_facts *facts =
        dbk_alloc(allocator, sizeof *facts + fact_size(name) + fact_size(lang) + fact_size(version));
    if (facts == NULL) return false;
    char *at = facts->text;
    facts->name = put_fact(&at, name);
    facts->lang = put_fact(&at, lang);
    facts->version = put_fact(&at, version);
    dbk_free(allocator, client->facts);
    client->facts = facts;
    return true;
}

static void read_credentials(dbk_said *said, const dbk_client *client, dbk_credentials *credentials) {
    *credentials = (dbk_credentials){
        .user = read_text(said, "user"),
        .password = read_text(said, "pass"),
        .token = read_text(said, "auth_token"),
        .nkey = read_text(said, "nkey"),
        .signature = read_text(said, "sig"),
        .jwt = read_text(said, "jwt"),
        .nonce = daybook_text(client->nonce),
        .connection_type = DBK_CONNECTION_STANDARD,
    };
}

// Coming in.

void dbk_client_refuse(dbk_client *client) {
    client->broker->counters.auth_error_count++;
    dbk_client_log(client, ERROR, "authentication error");
    dbk_client_close(client, DBK_CLOSE_AUTH, "Authorization Violation");
}

/// `auth` is a reference, which the client takes over; `user` is of it. False: memory is out, and it is
/// closed.
static bool become(dbk_client *client, dbk_auth *auth, const dbk_user *user) {
    dbk_auth_unref(client->auth);
    client->auth = auth;
    client->user = user;
    dbk_permissions_unref(client->permissions);
    client->permissions = user != NULL && user->permissions != NULL ? dbk_permissions_ref(user->permissions)
                                                                    : NULL;
    dbk_responses_free(client->responses);
    client->responses = NULL;
    if (client->permissions == NULL || !dbk_permissions_tracks_responses(client->permissions)) return true;
    if (dbk_responses_new(client->broker->allocator, client->broker->seed, client->permissions,
                          &client->responses) == DAYBOOK_OK) {
        return true;
    }
    dbk_client_close(client, DBK_CLOSE_MEMORY, NULL);
    return false;
}

void dbk_client_let_in(dbk_client *client, dbk_auth *auth, const dbk_user *user) {
    if (!become(client, auth, user)) return;
    dbk_client_drop_forbidden_subscriptions(client); // it may have come in as somebody else before
    dbk_client_welcome(client);
    // From 2.12 on.
    client->awaits_account = client->protocol >= 1 && client->broker->dial.version >= 212;
    if (client->verbose) dbk_client_send(client, "+OK\r\n", 5);
}

// CONNECT itself.

/// What it wants of the protocol. False: it cannot have it, and is being closed.
static bool take_wishes(dbk_client *client, dbk_said *said) {
    bool headers = false, no_responders = false;
    read_flag(said, "verbose", &client->verbose);
    read_flag(said, "pedantic", &client->pedantic);
    read_flag(said, "echo", &client->echo);
    read_flag(said, "headers", &headers);
    read_flag(said, "no_responders", &no_responders);
    int64_t protocol = read_number(said, "protocol", 0);
    if (!said->is_sound) {
        dbk_client_log(client, ERROR, "CONNECT has a field of the wrong type");
        dbk_client_close(client, DBK_CLOSE_PROTOCOL, NULL);
        return false;
    }
    if (protocol < 0 || protocol > 1) {
        dbk_client_log(client, ERROR, "invalid client protocol");
        dbk_client_close(client, DBK_CLOSE_BAD_PROTOCOL_VERSION, "invalid client protocol");
        return false;
    }
    client->protocol = (uint8_t)protocol;
    client->headers = headers && !client->broker->options->no_headers;
    client->no_responders = no_responders;
    if (no_responders && !client->headers) {
        dbk_client_close(client, DBK_CLOSE_NO_HEADERS, "no responders requires headers support");
        return false;
    }
    return true;
}

static void connect_said(dbk_client *client, dbk_said *said) {
    if (!take_wishes(client, said)) return;
    if (!keep_facts(client, said)) {
        dbk_client_close(client, DBK_CLOSE_MEMORY, NULL);
        return;
    }
    dbk_credentials credentials;
    read_credentials(said, client, &credentials);
    bool makes_account = false;
    read_flag(said, "new_account", &makes_account);
    bool names_account = read_text(said, "account").size > 0;
    if (!said->is_sound) {
        dbk_client_close(client, DBK_CLOSE_PROTOCOL, NULL);
        return;
    }
    if (makes_account || names_account) {
        dbk_client_refuse(client);
        return;
    }
    dbk_client_check(client, &credentials);
}

void dbk_client_connect(dbk_client *client, dbk_slice json) {
    dbk_said said = {.is_sound = true};
    if (client->greeting_ns == 0)
        client->greeting_ns = dbk_broker_clock_ns(client->broker) - client->started_ns;
    if (dbk_json_parse(json, &said.root, NULL) == DAYBOOK_ENOMEM) {
        dbk_client_close(client, DBK_CLOSE_MEMORY, NULL);
    } else if (json_is_object(said.root)) {
        connect_said(client, &said);
    } else {
        dbk_client_log(client, ERROR, "CONNECT is not followed by a JSON object");
        dbk_client_close(client, DBK_CLOSE_PROTOCOL, NULL);
    }
    json_decref(said.root);
}

/// May one come in who said nothing, and as whom?
static bool nobody_may_enter(dbk_client *client, const dbk_user **user_out) {
    dbk_auth *auth = client->broker->auth;
    if (dbk_auth_is_required(auth)) return false;
    dbk_credentials none = {.connection_type = DBK_CONNECTION_STANDARD};
    dbk_auth_attempt attempt;
    switch (dbk_auth_check(auth, &none, user_out, &attempt)) {
    case DBK_AUTH_ACCEPTED:
        return true;
    case DBK_AUTH_SLOW:
        (void)dbk_auth_attempt_end(&attempt, user_out);
        break;
    case DBK_AUTH_REFUSED:
        break;
    }
    return false;
}

void dbk_client_enter_unnamed(dbk_client *client) {
    const dbk_user *user = NULL;
    if (nobody_may_enter(client, &user) && become(client, dbk_auth_ref(client->broker->auth), user)) {
        dbk_client_welcome(client);
    }
}

// Reloads.

bool dbk_client_is_still(dbk_client *client, const dbk_user *old, const dbk_user **user_out) {
    *user_out = NULL;
    if (old != NULL) *user_out = dbk_auth_find_same(client->broker->auth, old, DBK_CONNECTION_STANDARD);
    if (*user_out != NULL) return true;
    if (!nobody_may_enter(client, user_out)) return false;
    // Who was somebody does not become somebody else; where everybody is welcome nobody has to be anybody.
    return old == NULL || *user_out == NULL;
}

void dbk_client_reauthorize(dbk_client *client) {
    if (client->state == DBK_CLIENT_CHECKING) return; // end_check sees that the auth is another one
    if (client->state != DBK_CLIENT_OPEN) return;     // nobody yet
    const dbk_user *user;
    if (!dbk_client_is_still(client, client->user, &user)) {
        dbk_client_refuse(client);
        return;
    }
    if (become(client, dbk_auth_ref(client->broker->auth), user))
        dbk_client_drop_forbidden_subscriptions(client);
}
