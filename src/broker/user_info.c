// SPDX-License-Identifier: Apache-2.0
// See user_info.h. The answer has the members of nats-server's, in its order; of the abilities it counts in
// `flags`, JetStream is the only one that is here.
#include "broker/user_info.h"

#include "api/value.h"
#include "base/number.h"
#include "broker/broker.h"
#include "json/json.h"

enum { ANSWER_SIZE_MAX = 4 << 20, FLAG_JETSTREAM = 1 };

static void put(dbk_buf *out, const char *text) {
    dbk_buf_append_slice(out, daybook_text(text));
}

static void put_text(dbk_buf *out, const char *name, const char *value) {
    put(out, name);
    dbk_json_write_go_string(out, daybook_text(value));
}

static void put_server(dbk_buf *out, dbk_broker *broker) {
    const dbk_options *options = broker->options;
    bool has_jetstream = broker->has_jetstream && !options->jetstream.is_denied;
    put_text(out, "{\"name\":", options->server_name != NULL ? options->server_name : broker->id);
    put_text(out, ",\"host\":", options->client.host);
    put_text(out, ",\"id\":", broker->id);
    put_text(out, ",\"ver\":", broker->dial.announced);
    put(out, has_jetstream ? ",\"jetstream\":true,\"flags\":" : ",\"jetstream\":false,\"flags\":");
    dbk_decimal_append(out, has_jetstream ? FLAG_JETSTREAM : 0);
    put(out, ",\"seq\":");
    dbk_decimal_append(out, ++broker->statement_count);
    put(out, ",\"time\":");
    dbk_api_write_time(out, dbk_broker_clock_ns(broker));
    put(out, "}");
}

static bool put_rules(dbk_buf *out, const dbk_permissions *permissions, dbk_permission_list list,
                      const char *name) {
    dbk_slice rule = dbk_permissions_rule(permissions, list, 0);
    if (rule.size == 0) return false;
    put(out, name);
    for (size_t i = 0; rule.size > 0; rule = dbk_permissions_rule(permissions, list, ++i)) {
        put(out, i == 0 ? ":[" : ",");
        dbk_json_write_go_string(out, rule);
    }
    put(out, "]");
    return true;
}

static void put_permissions(dbk_buf *out, const dbk_permissions *permissions) {
    int64_t answers_max, expire_ns;
    put(out, ",\"permissions\":{\"publish\":{");
    bool is_allowed = put_rules(out, permissions, DBK_PERMISSION_PUBLISH_ALLOW, "\"allow\"");
    (void)put_rules(out, permissions, DBK_PERMISSION_PUBLISH_DENY, is_allowed ? ",\"deny\"" : "\"deny\"");
    put(out, "},\"subscribe\":{");
    is_allowed = put_rules(out, permissions, DBK_PERMISSION_SUBSCRIBE_ALLOW, "\"allow\"");
    (void)put_rules(out, permissions, DBK_PERMISSION_SUBSCRIBE_DENY, is_allowed ? ",\"deny\"" : "\"deny\"");
    put(out, "}");
    if (dbk_permissions_get_responses(permissions, &answers_max, &expire_ns)) {
        put(out, ",\"responses\":{\"max\":");
        dbk_decimal_append_signed(out, answers_max);
        put(out, ",\"ttl\":");
        dbk_decimal_append_signed(out, expire_ns);
        put(out, "}");
    }
    put(out, "}");
}

const char *dbk_client_user_name(const dbk_client *client) {
    if (client->broker->options->auth.token != NULL) return "[REDACTED]";
    return client->user != NULL && client->user->name != NULL ? client->user->name : "";
}

static void answer(void *context, dbk_client *from, const dbk_message *message) {
    dbk_broker *broker = context;
    if (from == NULL || message->reply.size == 0) return;
    dbk_buf out;
    dbk_buf_init(&out, broker->allocator, ANSWER_SIZE_MAX);
    put(&out, "{\"server\":");
    put_server(&out, broker);
    put_text(&out, ",\"data\":{\"user\":", dbk_client_user_name(from));
    put_text(&out, ",\"account\":", broker->options->auth.account_name);
    if (from->permissions != NULL) put_permissions(&out, from->permissions);
    put(&out, "}}");
    if (dbk_buf_status(&out) == DAYBOOK_OK) {
        (void)dbk_broker_reply(broker, message->reply, daybook_bytes(NULL, 0),
                               daybook_bytes(out.data, out.size));
    } else {
        dbk_broker_log(broker, ERROR, "Out of memory: a client is not told who it is");
    }
    dbk_buf_deinit(&out);
}

daybook_status dbk_user_info_start(dbk_broker *broker, dbk_service **service_out) {
    *service_out = NULL;
    if (broker->dial.version < 210) return DAYBOOK_OK;
    return dbk_service_add(broker, daybook_text("$SYS.REQ.USER.INFO"), DBK_SERVICE_OF_CLIENTS, answer, broker,
                           service_out);
}
