// SPDX-License-Identifier: Apache-2.0
// The blocks authorization and accounts: who may connect, and what they may do.
//
// There is one space of subjects. One account beside the system's is that space; users of the system account
// are left out, and the log says so. Two accounts would have to be kept apart: refused.
//
// Where nats-server is more permissive than its text looks (an empty array of allowed subjects allows all,
// permissions beside a single user or a token are not applied), this refuses or restricts. Messages never
// hold passwords or tokens.
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/time.h"
#include "daybook/subject.h"
#include "options/reader.h"

enum { NKEY_SIZE = 56 };

static const char global_account[] = "$G";
static const char system_account[] = "$SYS";

// --- Permissions ---

// "filter", and for subscriptions "filter queue".
static bool is_rule(dbk_slice text, bool may_have_queue) {
    const char *bytes = text.data;
    const char *blank = memchr(bytes, ' ', text.size);
    if (blank == NULL) return daybook_filter_is_valid(text);
    size_t size = (size_t)(blank - bytes);
    while (blank < bytes + text.size && *blank == ' ') blank++;
    dbk_slice queue = daybook_bytes(blank, text.size - (size_t)(blank - bytes));
    return may_have_queue && daybook_filter_is_valid(daybook_bytes(bytes, size)) &&
           daybook_filter_is_valid(queue);
}

static daybook_status take_rules(dbk_option_reader *reader, const dbk_config_entry *entry,
                                 bool may_have_queue, dbk_text_list *rules_out) {
    DBK_TRY(dbk_option_take_texts(reader, entry, rules_out));
    for (size_t i = 0; i < rules_out->count; i++) {
        if (is_rule(daybook_text(rules_out->items[i]), may_have_queue)) continue;
        return dbk_option_fail(
            reader, &entry->place, DAYBOOK_EINVALID,
            "%s holds '%s', not a subject; give tokens joined by dots, * for one, a final > "
            "for the rest%s",
            (const char *)entry->key.data, rules_out->items[i],
            may_have_queue ? ", and behind a blank a queue" : "");
    }
    return DAYBOOK_OK;
}

static daybook_status take_allowed(dbk_option_reader *reader, const dbk_config_entry *entry,
                                   bool may_have_queue, dbk_subject_rules *rules) {
    DBK_TRY(take_rules(reader, entry, may_have_queue, &rules->allow));
    rules->has_allow = true;
    if (rules->allow.count > 0) return DAYBOOK_OK;
    return dbk_option_fail(
        reader, &entry->place, DAYBOOK_EINVALID,
        "%s is empty, which nats-server takes for everything; write deny: \">\" for nothing, or "
        "leave it out",
        (const char *)entry->key.data);
}

typedef struct rules_target {
    dbk_subject_rules *rules;
    bool may_have_queue;
} rules_target;

static daybook_status read_allow(dbk_option_reader *reader, const dbk_option_key *key,
                                 const dbk_config_entry *entry, void *target) {
    const rules_target *to = target;
    (void)key;
    return take_allowed(reader, entry, to->may_have_queue, to->rules);
}

static daybook_status read_deny(dbk_option_reader *reader, const dbk_option_key *key,
                                const dbk_config_entry *entry, void *target) {
    const rules_target *to = target;
    (void)key;
    return take_rules(reader, entry, to->may_have_queue, &to->rules->deny);
}

// A subject, an array of them, or {allow, deny}.
static daybook_status read_rules(dbk_option_reader *reader, const dbk_config_entry *entry,
                                 bool may_have_queue, dbk_subject_rules *rules) {
    static const dbk_option_key keys[] = {
        {.names = "allow", .kind = DBK_OPTION_CUSTOM, .handle = read_allow},
        {.names = "deny", .kind = DBK_OPTION_CUSTOM, .handle = read_deny},
        {.names = NULL},
    };
    *rules = (dbk_subject_rules){0};
    rules_target target = {rules, may_have_queue};
    if (entry->value->kind == DBK_CONFIG_MAP)
        return dbk_option_read_block(reader, keys, entry->key.data, entry->value, &target);
    return take_allowed(reader, entry, may_have_queue, rules);
}

static daybook_status read_publish(dbk_option_reader *reader, const dbk_option_key *key,
                                   const dbk_config_entry *entry, void *target) {
    (void)key;
    return read_rules(reader, entry, false, &((dbk_permission_options *)target)->publish);
}

static daybook_status read_subscribe(dbk_option_reader *reader, const dbk_option_key *key,
                                     const dbk_config_entry *entry, void *target) {
    (void)key;
    return read_rules(reader, entry, true, &((dbk_permission_options *)target)->subscribe);
}

// Negative: without limit; 0: the default.
static daybook_status read_responses_max(dbk_option_reader *reader, const dbk_option_key *key,
                                         const dbk_config_entry *entry, void *target) {
    dbk_permission_options *permissions = target;
    (void)key;
    if (entry->value->kind != DBK_CONFIG_INTEGER)
        return dbk_option_fail_kind(reader, entry, "give a whole number");
    int64_t count = entry->value->integer;
    if (count != 0) permissions->responses_max = count < 0 ? -1 : count;
    return DAYBOOK_OK;
}

static daybook_status read_responses_expire(dbk_option_reader *reader, const dbk_option_key *key,
                                            const dbk_config_entry *entry, void *target) {
    dbk_permission_options *permissions = target;
    (void)key;
    if (entry->value->kind != DBK_CONFIG_STRING)
        return dbk_option_fail_kind(reader, entry, "give a duration such as \"2m\"");
    int64_t nanoseconds;
    DBK_TRY(dbk_option_take_duration(reader, entry, false, &nanoseconds));
    if (nanoseconds != 0) permissions->responses_expire_ns = nanoseconds < 0 ? -1 : nanoseconds;
    return DAYBOOK_OK;
}

static daybook_status read_allow_responses(dbk_option_reader *reader, const dbk_option_key *key,
                                           const dbk_config_entry *entry, void *target) {
    static const dbk_option_key keys[] = {
        {.names = "max max_msgs max_messages max_responses",
         .kind = DBK_OPTION_CUSTOM,
         .handle = read_responses_max},
        {.names = "expires expiration ttl", .kind = DBK_OPTION_CUSTOM, .handle = read_responses_expire},
        {.names = NULL},
    };
    dbk_permission_options *permissions = target;
    (void)key;
    permissions->responses_max = 1;
    permissions->responses_expire_ns = 120 * DBK_SECOND_NS;
    if (entry->value->kind == DBK_CONFIG_BOOLEAN) {
        permissions->allow_responses = entry->value->boolean;
        return DAYBOOK_OK;
    }
    permissions->allow_responses = true;
    if (entry->value->kind != DBK_CONFIG_MAP)
        return dbk_option_fail_kind(reader, entry, "give true, false, or { max: ..., expires: ... }");
    return dbk_option_read_block(reader, keys, "allow_responses", entry->value, permissions);
}

static daybook_status read_permissions(dbk_option_reader *reader, const dbk_config_entry *entry,
                                       dbk_permission_options *permissions) {
    static const dbk_option_key keys[] = {
        {.names = "publish pub import", .kind = DBK_OPTION_CUSTOM, .handle = read_publish},
        {.names = "subscribe sub export", .kind = DBK_OPTION_CUSTOM, .handle = read_subscribe},
        {.names = "allow_responses publish_allow_responses",
         .kind = DBK_OPTION_CUSTOM,
         .handle = read_allow_responses},
        {.names = NULL},
    };
    *permissions = (dbk_permission_options){0};
    DBK_TRY(dbk_option_read_map(reader, keys, "permissions", entry, permissions));
    // Who may answer may publish nothing else, unless it is said.
    if (permissions->allow_responses) permissions->publish.has_allow = true;
    return DAYBOOK_OK;
}

// --- Users ---

static daybook_status read_secret(dbk_option_reader *reader, const dbk_option_key *key,
                                  const dbk_config_entry *entry, void *target) {
    const char **secret_out = (const char **)((char *)target + key->offset);
    dbk_slice text;
    DBK_TRY(dbk_option_take_text(reader, entry, &text));
    return dbk_option_keep_text(reader, text, secret_out);
}

static daybook_status read_user_permissions(dbk_option_reader *reader, const dbk_option_key *key,
                                            const dbk_config_entry *entry, void *target) {
    dbk_user_options *user = target;
    (void)key;
    user->has_permissions = true;
    return read_permissions(reader, entry, &user->permissions);
}

static daybook_status read_connection_types(dbk_option_reader *reader, const dbk_option_key *key,
                                            const dbk_config_entry *entry, void *target) {
    static const struct {
        const char *name;
        uint32_t bit;
    } types[] = {{"standard", DBK_CONNECTION_STANDARD},
                 {"websocket", DBK_CONNECTION_WEBSOCKET},
                 {"leafnode", DBK_CONNECTION_LEAFNODE},
                 {"leafnode_ws", DBK_CONNECTION_OTHER},
                 {"mqtt", DBK_CONNECTION_MQTT},
                 {"mqtt_ws", DBK_CONNECTION_OTHER},
                 {"in_process", DBK_CONNECTION_IN_PROCESS}};
    dbk_user_options *user = target;
    (void)key;
    dbk_text_list names;
    DBK_TRY(dbk_option_take_texts(reader, entry, &names));
    for (size_t i = 0; i < names.count; i++) {
        uint32_t bit = 0;
        for (size_t j = 0; j < sizeof types / sizeof types[0]; j++) {
            const dbk_option_key row[] = {{.names = types[j].name}, {.names = NULL}};
            if (dbk_option_find(row, daybook_text(names.items[i])) != NULL) bit = types[j].bit;
        }
        if (bit == 0)
            return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                                   "%s holds '%s', which is no kind of connection; give STANDARD, WEBSOCKET, "
                                   "LEAFNODE, MQTT or IN_PROCESS",
                                   (const char *)entry->key.data, names.items[i]);
        user->connection_types |= bit;
    }
    return DAYBOOK_OK;
}

static const char no_proxies[] = "trusted proxies are unknown here; remove it";

static const dbk_option_key user_keys[] = {
    {.names = "user username", .kind = DBK_OPTION_TEXT, .offset = offsetof(dbk_user_options, user)},
    {.names = "password pass",
     .kind = DBK_OPTION_CUSTOM,
     .handle = read_secret,
     .offset = offsetof(dbk_user_options, password)},
    {.names = "nkey", .kind = DBK_OPTION_TEXT, .offset = offsetof(dbk_user_options, nkey)},
    {.names = "permissions permission authorization",
     .kind = DBK_OPTION_CUSTOM,
     .handle = read_user_permissions},
    {.names = "allowed_connection_types connection_types clients",
     .kind = DBK_OPTION_CUSTOM,
     .handle = read_connection_types},
    {.names = "proxy_required", .kind = DBK_OPTION_REFUSED, .text = no_proxies},
    {.names = NULL},
};

// U and 55 more of base32; that its checksum is right is seen where it is used.
static bool looks_like_nkey(const char *text) {
    if (strlen(text) != NKEY_SIZE || text[0] != 'U') return false;
    for (; *text != '\0'; text++) {
        if (!((*text >= 'A' && *text <= 'Z') || (*text >= '2' && *text <= '7'))) return false;
    }
    return true;
}

static daybook_status check_user(dbk_option_reader *reader, dbk_user_options *user) {
    if (user->user == NULL && user->nkey == NULL)
        return dbk_option_fail(reader, &user->place, DAYBOOK_EINVALID,
                               "a user without a name; give user and password, or nkey");
    if (user->nkey == NULL) {
        if (user->password == NULL) user->password = "";
        return DAYBOOK_OK;
    }
    if (user->user != NULL || user->password != NULL)
        return dbk_option_fail(reader, &user->place, DAYBOOK_EINVALID,
                               "a user with an nkey has no name and no password; give either");
    if (looks_like_nkey(user->nkey)) return DAYBOOK_OK;
    return dbk_option_fail(
        reader, &user->place, DAYBOOK_EINVALID,
        "the nkey is not the public key of a user; give the one that begins with U, 56 characters");
}

static daybook_status read_user(dbk_option_reader *reader, const dbk_config_value *value,
                                dbk_user_options *user) {
    DBK_TRY(dbk_option_keep_place(reader, &value->place, &user->place));
    if (value->kind != DBK_CONFIG_MAP)
        return dbk_option_fail(reader, &value->place, DAYBOOK_EINVALID,
                               "a user is a %s here; give { user: ..., password: ... }",
                               dbk_config_kind_name(value->kind));
    for (const dbk_config_entry *entry = value->entries; entry != NULL; entry = entry->next) {
        const dbk_option_key *key = dbk_option_find(user_keys, entry->key);
        if (key == NULL && entry->is_variable) continue;
        if (key == NULL)
            return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                                   "unknown key %s of a user; correct it, or remove the line",
                                   (const char *)entry->key.data);
        DBK_TRY(dbk_option_read(reader, key, entry, user));
    }
    return check_user(reader, user);
}

// What a block authorization or account says, before it is put together.
typedef struct auth_draft {
    const char *user;
    const char *password;
    const char *token;
    int64_t timeout_ns;
    dbk_user_options *users;
    size_t user_count;
    bool has_users;
    bool has_permissions;
    dbk_permission_options permissions;
} auth_draft;

static daybook_status read_users(dbk_option_reader *reader, const dbk_option_key *key,
                                 const dbk_config_entry *entry, void *target) {
    auth_draft *draft = target;
    (void)key;
    if (entry->value->kind != DBK_CONFIG_ARRAY)
        return dbk_option_fail_kind(reader, entry,
                                    "give an array of users, [ { user: ..., password: ... } ]");
    draft->has_users = true;
    draft->user_count = entry->value->count;
    draft->users = dbk_option_alloc(reader, draft->user_count, sizeof *draft->users);
    if (draft->users == NULL) return DAYBOOK_ENOMEM;
    size_t i = 0;
    for (const dbk_config_value *item = entry->value->items; item != NULL; item = item->next)
        DBK_TRY(read_user(reader, item, &draft->users[i++]));
    return DAYBOOK_OK;
}

static daybook_status read_default_permissions(dbk_option_reader *reader, const dbk_option_key *key,
                                               const dbk_config_entry *entry, void *target) {
    auth_draft *draft = target;
    (void)key;
    draft->has_permissions = true;
    return read_permissions(reader, entry, &draft->permissions);
}

static void fill_default_permissions(auth_draft *draft) {
    if (!draft->has_permissions) return;
    for (size_t i = 0; i < draft->user_count; i++) {
        if (draft->users[i].has_permissions) continue;
        draft->users[i].has_permissions = true;
        draft->users[i].permissions = draft->permissions;
    }
}

static daybook_status make_single_user(dbk_option_reader *reader, auth_draft *draft,
                                       const dbk_config_place *place) {
    draft->users = dbk_option_alloc(reader, 1, sizeof *draft->users);
    if (draft->users == NULL) return DAYBOOK_ENOMEM;
    draft->user_count = 1;
    draft->users->user = draft->user;
    draft->users->password = draft->password == NULL ? "" : draft->password;
    return dbk_option_keep_place(reader, place, &draft->users->place);
}

static daybook_status check_draft(dbk_option_reader *reader, const auth_draft *draft,
                                  const dbk_config_entry *entry) {
    const dbk_config_place *place = &entry->place;
    bool has_user = draft->user != NULL || draft->password != NULL;
    if (has_user && draft->token != NULL)
        return dbk_option_fail(reader, place, DAYBOOK_EINVALID, "both a user and a token; keep one");
    if (has_user && draft->has_users)
        return dbk_option_fail(reader, place, DAYBOOK_EINVALID,
                               "both a single user and users; put it among them");
    if (draft->token != NULL && draft->has_users)
        return dbk_option_fail(reader, place, DAYBOOK_EINVALID, "both a token and users; keep one");
    if (has_user && draft->user == NULL)
        return dbk_option_fail(reader, place, DAYBOOK_EINVALID, "a password without a user; give both");
    if (draft->token != NULL && draft->token[0] == '\0')
        return dbk_option_fail(reader, place, DAYBOOK_EINVALID,
                               "the token is empty; give one, or leave it out");
    if (draft->token != NULL && draft->has_permissions)
        return dbk_option_fail(reader, place, DAYBOOK_EUNSUPPORTED,
                               "permissions do not apply to a token; name users");
    return DAYBOOK_OK;
}

daybook_status dbk_option_read_authorization(dbk_option_reader *reader, const dbk_option_key *key,
                                             const dbk_config_entry *entry, void *target) {
#define FIELD(member) offsetof(auth_draft, member)
    static const dbk_option_key keys[] = {
        {.names = "user username", .kind = DBK_OPTION_TEXT, .offset = FIELD(user)},
        {.names = "password pass",
         .kind = DBK_OPTION_CUSTOM,
         .handle = read_secret,
         .offset = FIELD(password)},
        {.names = "token", .kind = DBK_OPTION_CUSTOM, .handle = read_secret, .offset = FIELD(token)},
        {.names = "timeout",
         .kind = DBK_OPTION_SECONDS,
         .offset = FIELD(timeout_ns),
         .minimum = DBK_MILLISECOND_NS,
         .flags = DBK_OPTION_ZERO_IS_DEFAULT},
        {.names = "users", .kind = DBK_OPTION_CUSTOM, .handle = read_users},
        {.names = "default_permissions default_permission permissions",
         .kind = DBK_OPTION_CUSTOM,
         .handle = read_default_permissions},
        {.names = "auth_callout",
         .kind = DBK_OPTION_REFUSED,
         .text = "no service is asked who may connect; name users"},
        {.names = "proxy_required", .kind = DBK_OPTION_REFUSED, .text = no_proxies},
        {.names = NULL},
    };
#undef FIELD
    dbk_auth_options *auth = (dbk_auth_options *)((char *)target + key->offset);
    auth_draft draft = {0};
    reader->authorization = entry;
    DBK_TRY(dbk_option_read_map(reader, keys, "authorization", entry, &draft));
    DBK_TRY(check_draft(reader, &draft, entry));
    if (draft.user != NULL) DBK_TRY(make_single_user(reader, &draft, &entry->place));
    fill_default_permissions(&draft);
    if (draft.timeout_ns != 0) {
        auth->timeout_ns = draft.timeout_ns;
        reader->memory->auth_timeout_is_set = true;
    }
    auth->token = draft.token;
    auth->users = draft.users;
    auth->user_count = draft.user_count;
    auth->is_set = draft.token != NULL || draft.user_count > 0;
    auth->account_name = global_account;
    if (!draft.has_users || draft.user_count > 0) return DAYBOOK_OK;
    return dbk_option_notice(reader, &entry->place, "users is empty: everybody may connect");
}

// --- Accounts ---

typedef struct account_draft {
    auth_draft auth;
    bool has_jetstream;
    dbk_options *options;
} account_draft;

static daybook_status read_account_jetstream(dbk_option_reader *reader, const dbk_option_key *key,
                                             const dbk_config_entry *entry, void *target) {
#define FIELD(member) offsetof(dbk_jetstream_options, member)
    static const dbk_option_key keys[] = {
        {.names = "max_memory max_mem mem memory",
         .kind = DBK_OPTION_SIZE,
         .offset = FIELD(account_memory_max),
         .minimum = -1},
        {.names = "max_store max_file max_disk store disk",
         .kind = DBK_OPTION_SIZE,
         .offset = FIELD(account_file_max),
         .minimum = -1},
        {.names = "max_streams streams",
         .kind = DBK_OPTION_INTEGER,
         .offset = FIELD(streams_max),
         .minimum = -1},
        {.names = "max_consumers consumers",
         .kind = DBK_OPTION_INTEGER,
         .offset = FIELD(consumers_max),
         .minimum = -1},
        {.names = "max_stream_bytes max_bytes_required",
         .kind = DBK_OPTION_BOOLEAN,
         .offset = FIELD(stream_bytes_required)},
        {.names = "store_max_stream_bytes disk_max_stream_bytes",
         .kind = DBK_OPTION_SIZE,
         .offset = FIELD(stream_bytes_max),
         .minimum = 0},
        {.names = "memory_max_stream_bytes mem_max_stream_bytes",
         .kind = DBK_OPTION_SIZE,
         .offset = FIELD(memory_stream_bytes_max),
         .minimum = 0},
        {.names = "max_ack_pending",
         .kind = DBK_OPTION_INTEGER,
         .offset = FIELD(ack_pending_max),
         .minimum = 0},
        {.names = "cluster_traffic", .kind = DBK_OPTION_IGNORED},
        {.names = NULL},
    };
#undef FIELD
    static const dbk_option_key yes[] = {{.names = "enabled enable"}, {.names = NULL}};
    static const dbk_option_key no[] = {{.names = "disabled disable"}, {.names = NULL}};
    account_draft *draft = target;
    const dbk_config_value *value = entry->value;
    (void)key;
    if (value->kind == DBK_CONFIG_BOOLEAN) {
        draft->has_jetstream = value->boolean;
        return DAYBOOK_OK;
    }
    if (value->kind == DBK_CONFIG_STRING) {
        draft->has_jetstream = dbk_option_find(yes, value->text) != NULL;
        if (draft->has_jetstream || dbk_option_find(no, value->text) != NULL) return DAYBOOK_OK;
        return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                               "%s is '%s'; give enabled or disabled", (const char *)entry->key.data,
                               (const char *)value->text.data);
    }
    draft->has_jetstream = true;
    return dbk_option_read_map(reader, keys, "jetstream of the account", entry, &draft->options->jetstream);
}

static daybook_status read_account_limits(dbk_option_reader *reader, const dbk_option_key *key,
                                          const dbk_config_entry *entry, void *target) {
    typedef struct account_limits {
        int64_t connections, subscriptions, payload;
    } account_limits;
#define FIELD(member) offsetof(account_limits, member)
    static const dbk_option_key keys[] = {
        {.names = "max_connections max_conn",
         .kind = DBK_OPTION_INTEGER,
         .offset = FIELD(connections),
         .minimum = -1},
        {.names = "max_subscriptions max_subs",
         .kind = DBK_OPTION_INTEGER,
         .offset = FIELD(subscriptions),
         .minimum = -1},
        {.names = "max_payload max_pay",
         .kind = DBK_OPTION_INTEGER,
         .offset = FIELD(payload),
         .minimum = -1,
         .maximum = INT32_MAX},
        {.names = "max_leafnodes max_leafs", .kind = DBK_OPTION_IGNORED},
        {.names = NULL},
    };
#undef FIELD
    dbk_limit_options *to = &((account_draft *)target)->options->limits;
    (void)key;
    account_limits limits = {-1, -1, -1};
    DBK_TRY(dbk_option_read_map(reader, keys, "limits of the account", entry, &limits));
    if (limits.connections > 0 && limits.connections < to->connections_max)
        to->connections_max = limits.connections;
    if (limits.payload > 0 && limits.payload < to->payload_max) to->payload_max = limits.payload;
    if (limits.subscriptions <= 0) return DAYBOOK_OK;
    return dbk_option_notice(
        reader, &entry->place,
        "max_subscriptions of an account is not counted; max_subscriptions outside of it is, "
        "for each connection");
}

static const char one_account[] = "there is one account, and nothing to share with others; remove it";

static const dbk_option_key account_keys[] = {
    {.names = "users", .kind = DBK_OPTION_CUSTOM, .handle = read_users},
    {.names = "default_permissions", .kind = DBK_OPTION_CUSTOM, .handle = read_default_permissions},
    {.names = "jetstream", .kind = DBK_OPTION_CUSTOM, .handle = read_account_jetstream},
    {.names = "limits", .kind = DBK_OPTION_CUSTOM, .handle = read_account_limits},
    {.names = "exports", .kind = DBK_OPTION_NOT_SERVED, .text = "there is nobody to import it"},
    {.names = "imports", .kind = DBK_OPTION_REFUSED, .text = one_account},
    {.names = "mappings maps",
     .kind = DBK_OPTION_REFUSED,
     .text = "subjects are not mapped; publish to the subjects that are meant"},
    {.names = "nkey msg_trace trace_dest", .kind = DBK_OPTION_IGNORED},
    {.names = NULL},
};

static bool is_system_account(const dbk_option_reader *reader, const char *name) {
    return strcmp(name, system_account) == 0 ||
           (reader->system_account != NULL && strcmp(name, reader->system_account) == 0);
}

static daybook_status read_system_account(dbk_option_reader *reader, const dbk_config_entry *entry) {
    const dbk_config_entry *users = dbk_config_find(entry->value, "users", true);
    if (users == NULL || !dbk_option_is_asking(users->value)) return DAYBOOK_OK;
    return dbk_option_notice(reader, &entry->place,
                             "users of the system account %s cannot connect: it is not served",
                             (const char *)entry->key.data);
}

static daybook_status read_account(dbk_option_reader *reader, const dbk_config_entry *entry) {
    dbk_options *options = reader->options;
    account_draft draft = {.options = options};
    DBK_TRY(dbk_option_read_map(reader, account_keys, "the account", entry, &draft));
    fill_default_permissions(&draft.auth);
    if (draft.auth.user_count > 0) {
        if (reader->authorization != NULL && options->auth.is_set)
            return dbk_option_fail(
                reader, &entry->place, DAYBOOK_EUNSUPPORTED,
                "users in the account %s and in authorization: they would have to be kept apart, "
                "which this server cannot; put them all in one",
                (const char *)entry->key.data);
        options->auth.token = NULL;
        options->auth.users = draft.auth.users;
        options->auth.user_count = draft.auth.user_count;
        options->auth.is_set = true;
        DBK_TRY(dbk_option_keep_text(reader, entry->key, &options->auth.account_name));
    }
    // Where accounts are named, only those have JetStream that say so.
    reader->memory->jetstream_denied = NULL;
    if (draft.has_jetstream || strcmp(options->auth.account_name, global_account) == 0) return DAYBOOK_OK;
    char where[DAYBOOK_ERROR_MESSAGE_MAX / 2];
    char text[DAYBOOK_ERROR_MESSAGE_MAX];
    dbk_option_format_place(&entry->place, where, sizeof where);
    (void)snprintf(text, sizeof text,
                   "%s: JetStream is off: the account does not have it; write jetstream: enabled there",
                   where);
    return dbk_option_keep_text(reader, daybook_text(text), &reader->memory->jetstream_denied);
}

daybook_status dbk_option_read_accounts(dbk_option_reader *reader, const dbk_option_key *key,
                                        const dbk_config_entry *entry, void *target) {
    (void)key, (void)target;
    if (entry->value->kind != DBK_CONFIG_MAP && entry->value->kind != DBK_CONFIG_ARRAY)
        return dbk_option_fail_kind(reader, entry, "give a map of accounts, { NAME: { users: [ ... ] } }");
    // Read once the whole file was seen: which of them is the system's may be said further down.
    reader->accounts = entry;
    return DAYBOOK_OK;
}

daybook_status dbk_option_finish_auth(dbk_option_reader *reader) {
    if (reader->accounts == NULL) return DAYBOOK_OK;
    if (reader->accounts->value->kind == DBK_CONFIG_ARRAY) {
        if (reader->accounts->value->count == 0) return DAYBOOK_OK;
        return dbk_option_notice(reader, &reader->accounts->place, "accounts without users are not served");
    }
    const dbk_config_entry *served = NULL;
    for (const dbk_config_entry *entry = reader->accounts->value->entries; entry != NULL;
         entry = entry->next) {
        if (entry->is_variable && entry->value->kind != DBK_CONFIG_MAP) continue;
        if (is_system_account(reader, entry->key.data)) {
            DBK_TRY(read_system_account(reader, entry));
            continue;
        }
        if (served != NULL)
            return dbk_option_fail(
                reader, &entry->place, DAYBOOK_EUNSUPPORTED,
                "more than one account (%s and %s): this server does not keep subjects of accounts "
                "apart; put the users in one, and use permissions",
                (const char *)served->key.data, (const char *)entry->key.data);
        served = entry;
        DBK_TRY(read_account(reader, entry));
    }
    return DAYBOOK_OK;
}

// --- The whole ---

static const dbk_user_options *find_user(const dbk_auth_options *auth, const char *name) {
    for (size_t i = 0; i < auth->user_count; i++) {
        const dbk_user_options *user = &auth->users[i];
        const char *is = user->user != NULL ? user->user : user->nkey;
        if (strcmp(is, name) == 0) return user;
    }
    return NULL;
}

daybook_status dbk_option_check_auth(dbk_options *options, daybook_error *error) {
    dbk_auth_options *auth = &options->auth;
    if (!options->memory->auth_timeout_is_set)
        auth->timeout_ns = options->tls.is_set ? options->tls.timeout_ns + DBK_SECOND_NS : 2 * DBK_SECOND_NS;
    auth->no_auth_user = NULL;
    if (options->no_auth_user == NULL) return DAYBOOK_OK;
    auth->no_auth_user = find_user(auth, options->no_auth_user);
    if (auth->no_auth_user != NULL) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EINVALID,
                    "%s: no_auth_user is '%s', which is no user; add it, or remove the line",
                    dbk_options_origin(options, "no_auth_user"), options->no_auth_user);
}
