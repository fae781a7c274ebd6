// SPDX-License-Identifier: Apache-2.0
// What the harness asks of a store to be measured. A peer is one file that defines `peer_here`; linked with
// harness.c it makes one program. Every function reports its own failure with die() and does not return then:
// a comparison with a hole in it is worth nothing.
//
// The work is the same for all: an event has an id that is stored at most once, an aggregate, the version it
// gets there, a type and data. append() is atomic and durable when it returns, refuses an event whose version
// is taken or whose id is known, and is called by many clients at once. Where a store cannot do a part of
// this, its `settings` say so.
#ifndef BENCH_PEERS_PEER_H
#define BENCH_PEERS_PEER_H

#include <stddef.h>
#include <stdint.h>

#define PEER_ID_SIZE 36u
#define PEER_STEPS 10u // events of an aggregate

typedef struct peer_event {
    char id[PEER_ID_SIZE + 1];
    char aggregate[32]; // "order-<n>"
    unsigned version;   // 1 to PEER_STEPS
    const char *type;
    const char *data;
    size_t data_size;
} peer_event;

// Called for every event read, in order.
typedef void (*peer_visit)(void *context, unsigned version, const void *data, size_t data_size);

typedef struct peer {
    const char *name;
    const char *settings;
    const char *(*version)(void);
    void *(*open)(const char *directory, const char *mode); // a store, made in the empty directory
    void *(*join)(void *store);                             // a client; used by one thread
    void (*append)(void *client, const peer_event *events, size_t count);
    void (*load)(void *client, const char *aggregate, peer_visit visit, void *context);
    void (*replay)(void *client, peer_visit visit, void *context); // all events in the order stored
    void (*leave)(void *client);
    void (*close)(void *store);
} peer;

extern const peer peer_here;

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *need(void *memory); // dies on NULL

#endif
