// SPDX-License-Identifier: Apache-2.0
// Events as keys and values, for peers that are nothing but ordered maps.
#ifndef BENCH_PEERS_RECORD_H
#define BENCH_PEERS_RECORD_H

#include "peer.h"

#include <stddef.h>
#include <string.h>

enum { PEER_KEY_SIZE = 34, PEER_RECORD_SIZE_MAX = 512 };

// Name, padded with zeros, and a version of two bytes: an aggregate's events lie side by side, in order.
static inline void peer_make_key(const char *aggregate, unsigned at_version, char out[PEER_KEY_SIZE]) {
    memset(out, 0, PEER_KEY_SIZE);
    memcpy(out, aggregate, strlen(aggregate));
    out[PEER_KEY_SIZE - 2] = (char)(at_version >> 8);
    out[PEER_KEY_SIZE - 1] = (char)at_version;
}

// Version, size of the type, type, data.
static inline size_t peer_make_record(const peer_event *event, char out[PEER_RECORD_SIZE_MAX]) {
    size_t type_size = strlen(event->type);
    out[0] = (char)event->version;
    out[1] = (char)type_size;
    memcpy(out + 2, event->type, type_size);
    memcpy(out + 2 + type_size, event->data, event->data_size);
    return 2 + type_size + event->data_size;
}

static inline void peer_visit_record(const char *bytes, size_t size, peer_visit visit, void *context) {
    size_t head = 2 + (size_t)(unsigned char)bytes[1];
    visit(context, (unsigned char)bytes[0], bytes + head, size - head);
}

#endif
