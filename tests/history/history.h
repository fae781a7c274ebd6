// SPDX-License-Identifier: Apache-2.0
// What concurrent clients asked and were told, and whether the log that came out of it allows that.
//
// The store promises one order for everything: that of positions. So a history need not be searched for an
// order that explains it, as a checker of linearizability has to: the log *is* the order, and every answer is
// held against it. An operation takes effect at one moment between its invocation and its return. For a
// moment only bounds are known:
//
//     settled(t)   the last position acknowledged to anybody before t: the state has at least it
//     possible(t)  the last position asked for by anybody before t: the state has at most it
//
// Rules, each with a message of its own:
//  1 log       positions ascend, seq is gapless per stream, version per aggregate, recorded never goes back
//  2 origin    each event of the log was asked for once, by an append that was not refused
//  3 receipts  what was acknowledged is in the log, where the receipt says
//  4 whole     a batch is in the log as a whole, side by side, or not at all
//  5 time      an append that returned before another was invoked has the lower positions
//  6 success   a condition that held does hold in the log just before the append
//  7 conflict  the value a conflict names was the current one at a moment of the operation
//  8 reads     a read gives the matching events of a prefix of the log, within the bounds, and a later read no less
//  9 follower  sees a prefix of the log, each event once, and all of it that was settled when it stopped
//
// Entries live in memory shared with processes that are killed: an entry without return is of unknown
// outcome.
#ifndef DBK_TESTS_HISTORY_H
#define DBK_TESTS_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_EVENTS_MAX 4
#define HISTORY_ALL UINT32_MAX // reads: every aggregate
#define HISTORY_NO_TAG UINT32_MAX

enum history_kind { HISTORY_APPEND = 1, HISTORY_READ = 2 };
enum history_outcome { HISTORY_UNKNOWN, HISTORY_DONE, HISTORY_CONFLICT };
enum history_condition { HISTORY_ANY, HISTORY_VERSION, HISTORY_SUBJECT_SEQ, HISTORY_NO_TAG_AFTER };

typedef struct history_event {
    uint64_t id;
    uint32_t aggregate; // its stream is the aggregate's number modulo HISTORY_STREAMS
    uint32_t tag;       // or HISTORY_NO_TAG
} history_event;

#define HISTORY_STREAMS 2

typedef struct history_entry {
    int64_t invoked_ns;
    int64_t returned_ns; // 0: not yet; set last
    int kind, outcome;
    // Appends.
    int condition;
    uint32_t event_count;
    history_event events[HISTORY_EVENTS_MAX];
    uint32_t on;       // aggregate or tag of the condition
    uint64_t expected; // version, seq, position after which
    uint64_t actual;   // of a conflict
    uint64_t positions[HISTORY_EVENTS_MAX], seqs[HISTORY_EVENTS_MAX], versions[HISTORY_EVENTS_MAX];
    bool is_retry; // asks, without a condition, for the ids of the entry before it in the array
    // Reads.
    uint32_t aggregate; // or HISTORY_ALL
    uint64_t count, last_position;
    uint64_t hash; // history_hash over the positions seen
} history_entry;

typedef struct history_log_event {
    uint64_t position, seq, version;
    int64_t recorded_ns;
    history_event event;
} history_log_event;

typedef struct history_follower {
    const uint64_t *positions;
    size_t count;
    int64_t stopped_ns; // began to drain the rest; 0: killed
} history_follower;

typedef struct history {
    const history_entry *entries;
    size_t entry_count;
    const history_log_event *log; // as read in the end
    size_t log_count;
    const history_follower *followers;
    size_t follower_count;
} history;

// Begin with 0.
uint64_t history_hash(uint64_t hash, uint64_t position);

// True when every rule holds; else the message says which does not, and where.
bool history_check(const history *checked, char *message_out, size_t message_size);

#endif
