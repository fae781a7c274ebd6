// SPDX-License-Identifier: Apache-2.0
// What a reload changes. The tables that read a configuration compare two of them: a row whose field differs
// and that says what it changes (`changed`) may be applied, one that does not needs a restart.
//
// A key whose row has no field of its own (blocks, and keys whose handler sets several) is compared by hand
// below.
#include <stdio.h>
#include <string.h>

#include "options/reader.h"

static bool texts_differ(const char *a, const char *b) {
    if (a == NULL || b == NULL) return a != b;
    return strcmp(a, b) != 0;
}

static bool lists_differ(const dbk_text_list *a, const dbk_text_list *b) {
    if (a->count != b->count) return true;
    for (size_t i = 0; i < a->count; i++) {
        if (texts_differ(a->items[i], b->items[i])) return true;
    }
    return false;
}

static bool fields_differ(const dbk_option_key *key, const void *a, const void *b) {
    switch (key->kind) {
    case DBK_OPTION_TEXT:
        return texts_differ(*(const char *const *)a, *(const char *const *)b);
    case DBK_OPTION_BOOLEAN:
        return *(const bool *)a != *(const bool *)b;
    case DBK_OPTION_INTEGER:
    case DBK_OPTION_SIZE:
    case DBK_OPTION_DURATION:
    case DBK_OPTION_SECONDS:
        return *(const int64_t *)a != *(const int64_t *)b;
    case DBK_OPTION_PORT:
        return *(const int32_t *)a != *(const int32_t *)b;
    case DBK_OPTION_TEXTS:
        return lists_differ(a, b);
    case DBK_OPTION_CUSTOM:
    case DBK_OPTION_IGNORED:
    case DBK_OPTION_NOT_SERVED:
    case DBK_OPTION_REFUSED:
        return false;
    }
    return false;
}

static void show_field(const dbk_option_key *key, const void *field, char *text, size_t size) {
    switch (key->kind) {
    case DBK_OPTION_TEXT:
        (void)snprintf(text, size, "'%s'",
                       *(const char *const *)field == NULL ? "" : *(const char *const *)field);
        break;
    case DBK_OPTION_BOOLEAN:
        (void)snprintf(text, size, "%s", *(const bool *)field ? "true" : "false");
        break;
    case DBK_OPTION_PORT:
        (void)snprintf(text, size, "%d", (int)*(const int32_t *)field);
        break;
    case DBK_OPTION_INTEGER:
    case DBK_OPTION_SIZE:
    case DBK_OPTION_DURATION:
    case DBK_OPTION_SECONDS:
        (void)snprintf(text, size, "%lld", (long long)*(const int64_t *)field);
        break;
    case DBK_OPTION_TEXTS:
    case DBK_OPTION_CUSTOM:
    case DBK_OPTION_IGNORED:
    case DBK_OPTION_NOT_SERVED:
    case DBK_OPTION_REFUSED:
        (void)snprintf(text, size, "another value");
        break;
    }
}

// What may have set a value besides the key of its own name.
static const char *find_origin(const dbk_options *options, const char *name) {
    static const struct {
        const char *name;
        const char *other;
    } others[] = {{"port", "listen"},
                  {"host", "listen"},
                  {"http_port", "http"},
                  {"http", "http_port"},
                  {"jetstream.store_dir", "store_dir"}};
    const char *origin = dbk_options_origin(options, name);
    for (size_t i = 0; i < sizeof others / sizeof others[0] && strcmp(origin, "default") == 0; i++) {
        if (strcmp(others[i].name, name) == 0) origin = dbk_options_origin(options, others[i].other);
    }
    return origin;
}

typedef struct comparison {
    const dbk_options *now;
    const dbk_options *next;
    uint32_t changed;
    daybook_error *error;
} comparison;

static daybook_status fail_fixed(const comparison *compared, const char *block, const dbk_option_key *key,
                                 const void *now, const void *next) {
    char name[128];
    char before[96];
    char after[96];
    (void)snprintf(name, sizeof name, "%s%s%.*s", block == NULL ? "" : block, block == NULL ? "" : ".",
                   (int)dbk_option_name_size(key), key->names);
    show_field(key, now, before, sizeof before);
    show_field(key, next, after, sizeof after);
    return dbk_fail(compared->error, DAYBOOK_EUNSUPPORTED,
                    "%s: %s cannot change from %s to %s while the server runs; restart it",
                    find_origin(compared->next, name), name, before, after);
}

// `changed`: what all rows of the table change; 0: each says it.
static daybook_status compare_table(comparison *compared, const dbk_option_key *keys, const char *block,
                                    unsigned changed, const void *now, const void *next) {
    for (const dbk_option_key *key = keys; key->names != NULL; key++) {
        const void *before = (const char *)now + key->offset;
        const void *after = (const char *)next + key->offset;
        if (!fields_differ(key, before, after)) continue;
        unsigned bits = changed | key->changed;
        if (bits == 0) return fail_fixed(compared, block, key, before, after);
        compared->changed |= bits;
    }
    return DAYBOOK_OK;
}

static daybook_status fail_named(const comparison *compared, const char *name) {
    return dbk_fail(compared->error, DAYBOOK_EUNSUPPORTED,
                    "%s: %s cannot change while the server runs; restart it",
                    find_origin(compared->next, name), name);
}

// --- What has no row of its own ---

static bool addresses_differ(const dbk_listen_options *a, const dbk_listen_options *b) {
    return a->port != b->port || texts_differ(a->host, b->host);
}

static bool rules_differ(const dbk_subject_rules *a, const dbk_subject_rules *b) {
    return a->has_allow != b->has_allow || lists_differ(&a->allow, &b->allow) ||
           lists_differ(&a->deny, &b->deny);
}

static bool permissions_differ(const dbk_permission_options *a, const dbk_permission_options *b) {
    return rules_differ(&a->publish, &b->publish) || rules_differ(&a->subscribe, &b->subscribe) ||
           a->allow_responses != b->allow_responses || a->responses_max != b->responses_max ||
           a->responses_expire_ns != b->responses_expire_ns;
}

static bool users_differ(const dbk_user_options *a, const dbk_user_options *b) {
    return texts_differ(a->user, b->user) || texts_differ(a->password, b->password) ||
           texts_differ(a->nkey, b->nkey) || a->connection_types != b->connection_types ||
           a->has_permissions != b->has_permissions || permissions_differ(&a->permissions, &b->permissions);
}

static bool auths_differ(const dbk_auth_options *a, const dbk_auth_options *b) {
    if (a->is_set != b->is_set || texts_differ(a->token, b->token) || a->user_count != b->user_count ||
        a->timeout_ns != b->timeout_ns || texts_differ(a->account_name, b->account_name))
        return true;
    if ((a->no_auth_user == NULL) != (b->no_auth_user == NULL)) return true;
    if (a->no_auth_user != NULL && users_differ(a->no_auth_user, b->no_auth_user)) return true;
    for (size_t i = 0; i < a->user_count; i++) {
        if (users_differ(&a->users[i], &b->users[i])) return true;
    }
    return false;
}

static bool tls_differs(const dbk_tls_options *a, const dbk_tls_options *b) {
    return a->verify_and_map != b->verify_and_map || a->min_version != b->min_version ||
           a->handshake_first != b->handshake_first ||
           a->handshake_first_wait_ns != b->handshake_first_wait_ns ||
           lists_differ(&a->cipher_suites, &b->cipher_suites) ||
           lists_differ(&a->curve_preferences, &b->curve_preferences) ||
           lists_differ(&a->pinned_certs, &b->pinned_certs);
}

static daybook_status compare_tls(comparison *compared) {
    const dbk_tls_options *now = &compared->now->tls;
    const dbk_tls_options *next = &compared->next->tls;
    // Clients that are connected were told whether to use it.
    if (now->is_set != next->is_set) return fail_named(compared, "tls");
    if (tls_differs(now, next)) compared->changed |= DBK_CHANGED_TLS;
    return compare_table(compared, dbk_option_tls_keys, "tls", DBK_CHANGED_TLS, now, next);
}

static daybook_status compare_jetstream(comparison *compared) {
    const dbk_jetstream_options *now = &compared->now->jetstream;
    const dbk_jetstream_options *next = &compared->next->jetstream;
    if (now->enabled != next->enabled || now->is_denied != next->is_denied)
        return fail_named(compared, "jetstream");
    if (texts_differ(now->store_dir, next->store_dir)) return fail_named(compared, "jetstream.store_dir");
    if (texts_differ(now->domain, next->domain)) return fail_named(compared, "jetstream.domain");
    if (now->streams_max != next->streams_max || now->consumers_max != next->consumers_max ||
        now->stream_bytes_max != next->stream_bytes_max ||
        now->memory_stream_bytes_max != next->memory_stream_bytes_max ||
        now->account_memory_max != next->account_memory_max ||
        now->account_file_max != next->account_file_max ||
        now->stream_bytes_required != next->stream_bytes_required)
        compared->changed |= DBK_CHANGED_JETSTREAM;
    DBK_TRY(compare_table(compared, dbk_option_jetstream_keys, "jetstream", 0, now, next));
    return compare_table(compared, dbk_option_jetstream_limit_keys, "jetstream.limits", DBK_CHANGED_JETSTREAM,
                         now, next);
}

static daybook_status compare_rest(comparison *compared) {
    const dbk_options *now = compared->now;
    const dbk_options *next = compared->next;
    if (addresses_differ(&now->client, &next->client)) return fail_named(compared, "listen");
    if (addresses_differ(&now->http, &next->http) || now->http_tls != next->http_tls)
        return fail_named(compared, "http");
    if (texts_differ(now->server_name, next->server_name)) return fail_named(compared, "server_name");
    if (texts_differ(now->announced_version, next->announced_version))
        return fail_named(compared, "announced_version");
    if (addresses_differ(&now->advertised, &next->advertised)) compared->changed |= DBK_CHANGED_ADVERTISE;
    if (auths_differ(&now->auth, &next->auth)) compared->changed |= DBK_CHANGED_AUTH;
    if (now->limits.connections_max != next->limits.connections_max) compared->changed |= DBK_CHANGED_LIMITS;
    return DAYBOOK_OK;
}

daybook_status dbk_options_diff(const dbk_options *now, const dbk_options *next, uint32_t *changed_out,
                                daybook_error *error) {
    *changed_out = 0;
    comparison compared = {.now = now, .next = next, .error = error};
    // no_auth_user has a row of its own, though it belongs to auth: what it names is compared there.
    DBK_TRY(compare_table(&compared, dbk_option_top_keys, NULL, 0, now, next));
    DBK_TRY(compare_rest(&compared));
    DBK_TRY(compare_tls(&compared));
    DBK_TRY(compare_jetstream(&compared));
    *changed_out = compared.changed;
    return DAYBOOK_OK;
}
