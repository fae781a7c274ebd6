// SPDX-License-Identifier: Apache-2.0
// $SYS.REQ.USER.INFO: a client asks who it is, and what it may do. From the announced version 2.10 on;
// nothing else below $SYS.REQ is answered. Loop thread.
#ifndef DBK_BROKER_USER_INFO_H
#define DBK_BROKER_USER_INFO_H

#include "broker/route.h"

/// The service, to be given back before the trie is freed; `*service_out` is NULL for servers that announce
/// less. ENOMEM.
daybook_status dbk_user_info_start(dbk_broker *broker, dbk_service **service_out);
/// What a client is called in answers and advisories: "" for nobody in particular, "[REDACTED]" for who has
/// the token.
const char *dbk_client_user_name(const dbk_client *client);

#endif
