// SPDX-License-Identifier: Apache-2.0
// INFO's JSON, in the order NATS writes it. Pure.
#include "broker/info.h"

#include <string.h>

#include "base/number.h"
#include "json/json.h"

static void text(dbk_buf *out, const char *bytes) {
    dbk_buf_append(out, bytes, strlen(bytes));
}

static void begin_field(dbk_buf *out, const char *name) {
    if (out->size > 0 && out->data[out->size - 1] != '{') text(out, ",");
    text(out, "\"");
    text(out, name);
    text(out, "\":");
}

static void text_field(dbk_buf *out, const char *name, const char *value) {
    if (value == NULL || value[0] == '\0') return;
    begin_field(out, name);
    dbk_json_write_go_string(out, daybook_text(value));
}

static void number_field(dbk_buf *out, const char *name, int64_t value) {
    begin_field(out, name);
    dbk_decimal_append_signed(out, value);
}

static void true_field(dbk_buf *out, const char *name, bool value) {
    if (!value) return;
    begin_field(out, name);
    text(out, "true");
}

void dbk_info_write(dbk_buf *out, const dbk_info *info) {
    text(out, "INFO {");
    text_field(out, "server_id", info->server_id);
    text_field(out, "server_name", info->server_name);
    text_field(out, "version", info->version);
    number_field(out, "proto", 1);
    text_field(out, "go", "none"); // clients want it there; there is none
    text_field(out, "host", info->host);
    number_field(out, "port", info->port);
    begin_field(out, "headers");
    text(out, info->headers ? "true" : "false");
    true_field(out, "auth_required", info->auth_required);
    true_field(out, "tls_required", info->tls_required);
    true_field(out, "tls_verify", info->tls_verify);
    true_field(out, "tls_available", info->tls_available);
    number_field(out, "max_payload", info->payload_max);
    true_field(out, "jetstream", info->jetstream);
    if (info->client_id != 0) number_field(out, "client_id", (int64_t)info->client_id);
    text_field(out, "client_ip", info->client_ip);
    text_field(out, "nonce", info->nonce);
    text_field(out, "domain", info->domain);
    true_field(out, "ldm", info->lame_duck);
    true_field(out, "connect_info", info->connect_info);
    text_field(out, "remote_account", info->remote_account);
    if (info->api_level != 0) number_field(out, "api_lvl", info->api_level);
    text(out, "} \r\n");
}
