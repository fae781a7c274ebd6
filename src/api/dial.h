// SPDX-License-Identifier: Apache-2.0
// Which nats-server we speak like. A client decides by the announced version what it may use, so that the
// version decides here which fields exist, how strictly a request is read, and where texts differ.
//
// Pure; a dial is set up once and then shared by all threads.
#ifndef DBK_API_DIAL_H
#define DBK_API_DIAL_H

#include <stdbool.h>

typedef struct dbk_api_dial {
    int version;    // 100 * major + minor of what is announced: 209, 210, 211, 212, 214
    bool is_strict; // a field of a request that we do not know is an error (as from 2.12 on by default)
    const char *announced; // "2.12.3"; borrowed as long as the dial
} dbk_api_dial;

/// @param announced  "2.9.25"; what is no version counts as 2.9
void dbk_api_dial_init(dbk_api_dial *dial, const char *announced);
/// JetStream's API level: 0 below 2.11, 1 for 2.11, 2 for 2.12, 3 for 2.13, 4 from 2.14 on.
int dbk_api_dial_level(const dbk_api_dial *dial);

#endif
