// SPDX-License-Identifier: Apache-2.0
// Priority groups (NATS ADR-42): which pull requests of a consumer may have messages, and how many. The loop.
//
//     overflow       a request with min_pending or min_ack_pending waits until so many are pending, or wait
//                    for an answer
//     prioritized    0 before 1 … before 9; pull.c keeps its list in that order
//     pinned_client  one client has all, and names itself by the id it was told; the others wait until it is
//                    silent for priority_timeout, or CONSUMER.UNPIN
#ifndef DBK_JETSTREAM_GROUP_H
#define DBK_JETSTREAM_GROUP_H

#include "api/request.h"
#include "jetstream/delivery.h"

/// What a pull request says of its group. All zero: nothing.
typedef struct dbk_js_group_request {
    uint64_t min_pending, min_ack_pending; // overflow; 0: not said
    int priority;                          // prioritized: 0 to 9; else 0
    bool is_pinned;                        // pinned_client: its client has the pin
    char name[DBK_JS_GROUP_SIZE_MAX + 1];
} dbk_js_group_request;

/// NULL: it is taken; else the status that refuses it: "400 Bad Request - …". A request of the pinned client
/// begins its priority_timeout anew.
const char *dbk_js_group_read(dbk_js_consumer *consumer, const dbk_api_pull_request *request,
                              dbk_js_group_request *group_out);
static inline bool dbk_js_group_has_threshold(const dbk_js_group_request *group) {
    return group->min_pending > 0 || group->min_ack_pending > 0;
}
/// Of `left` messages that it asks for, how many it may have now; 0: it is not its turn. Thresholds go by the
/// consumer's counts, which are to be fresh.
uint64_t dbk_js_group_share(const dbk_js_consumer *consumer, const dbk_js_group_request *group,
                            uint64_t left);
/// Only one request at a time is planned for: the next may not be of the same client.
bool dbk_js_group_is_exclusive(const dbk_js_consumer *consumer);
/// Nobody's turn has come though somebody waits: where that may change without a word from the store, look
/// again soon.
void dbk_js_group_look_again(dbk_js_consumer *consumer);
/// The pin that messages of this plan will tell: the present one, or one that is made for it.
void dbk_js_group_plan_pin(dbk_js_consumer *consumer, dbk_js_plan *plan);
/// The pin it was planned with is nobody's any more.
bool dbk_js_group_is_void(const dbk_js_consumer *consumer, const dbk_js_plan *plan);
/// A message of the plan went to this request: it counts, and where nobody was pinned its client is.
void dbk_js_group_note_given(dbk_js_consumer *consumer, const dbk_js_plan *plan, dbk_js_group_request *group);
/// Nobody is pinned any more; whoever comes next will be. `reason` is "admin" or "timeout".
void dbk_js_unpin(dbk_js_consumer *consumer, const char *reason);
void dbk_js_pin_timer_fired(dbk_timer *timer);

#endif
