// SPDX-License-Identifier: Apache-2.0
// The line INFO a server greets with. Pure.
#ifndef DBK_BROKER_INFO_H
#define DBK_BROKER_INFO_H

#include <stdbool.h>

#include "base/memory.h"

/// Texts NUL-terminated; NULL or "": the field is left out.
typedef struct dbk_info {
    const char *server_id, *server_name, *version, *host;
    int port;
    bool headers;
    bool auth_required, tls_required, tls_verify, tls_available;
    int64_t payload_max;
    bool jetstream;
    uint64_t client_id;
    const char *client_ip;
    const char *nonce;
    const char *domain;
    bool lame_duck;
    bool connect_info;          // answers what a client said of itself
    const char *remote_account; // with it
    unsigned api_level;         // 0: left out
} dbk_info;

/// "INFO {…} \r\n". Failure is in out->failed.
void dbk_info_write(dbk_buf *out, const dbk_info *info);
#endif
