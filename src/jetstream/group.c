// SPDX-License-Identifier: Apache-2.0
// Thresholds and pins. See group.h.
//
// Thresholds need counts that only the store has: a delivery that fetches nothing asks for them, the next one
// is planned by them. As long as somebody waits below a threshold they are asked for every 100 ms: answers to
// messages change them, and the store wakes nobody for that. Nor does it for new messages as long as nothing
// is fetched, so that no look may come much later. What they cost is bounded instead: daybook_consumer_look.
//
// A pin is made when a delivery is planned, and is somebody's once its first message was taken: who gets
// none would not know its id. Messages that were fetched under a pin that was lost meanwhile are given back.
#include "jetstream/group.h"

#include "base/bytes.h"
#include "base/time.h"
#include "jetstream/advisory.h"
#include "proto/status.h"

enum { LOOK_AGAIN_MS = 100, PRIORITY_MAX = 9 };
#define PIN_TIMEOUT_MAX_NS (INT64_C(100) * 365 * 86400 * DBK_SECOND_NS)

static bool is_pinning(const dbk_js_consumer *consumer) {
    return consumer->rules.priority_policy == DBK_API_PRIORITY_PINNED_CLIENT;
}

// ---- Requests ---------------------------------------------------------------------------------------------

static bool has_group(const dbk_js_consumer *consumer, dbk_slice name) {
    const char *at = consumer->groups;
    while (at != NULL) {
        const char *end = strchr(at, ' ');
        size_t size = end == NULL ? strlen(at) : (size_t)(end - at);
        if (dbk_slice_equal(daybook_bytes(at, size), name)) return true;
        at = end == NULL ? NULL : end + 1;
    }
    return false;
}

static void start_pin_timer(dbk_js_consumer *consumer) {
    int64_t timeout_ns = consumer->rules.priority_timeout_ns;
    if (timeout_ns <= 0) return;
    dbk_broker_start_timer(dbk_js_broker_of(consumer), &consumer->pin_timer,
                           timeout_ns < PIN_TIMEOUT_MAX_NS ? timeout_ns : PIN_TIMEOUT_MAX_NS);
}

const char *dbk_js_group_read(dbk_js_consumer *consumer, const dbk_api_pull_request *request,
                              dbk_js_group_request *group_out) {
    int policy = consumer->rules.priority_policy;
    *group_out = (dbk_js_group_request){0};
    if ((request->min_pending != 0 || request->min_ack_pending != 0) && policy != DBK_API_PRIORITY_OVERFLOW)
        return "400 Bad Request - Not a Overflow Priority consumer";
    if (request->id.size > 0 && !is_pinning(consumer))
        return "400 Bad Request - Not a Pinned Client Priority consumer";
    if (policy == DBK_API_PRIORITY_NONE) return NULL;
    if (request->group.size == 0) return "400 Bad Request - Priority Group missing";
    if (request->group.size > DBK_JS_GROUP_SIZE_MAX || !has_group(consumer, request->group))
        return "400 Bad Request - Invalid Priority Group";
    if (policy == DBK_API_PRIORITY_PRIORITIZED && (request->priority < 0 || request->priority > PRIORITY_MAX))
        return "400 Bad Request - Priority must be 0 to 9";
    if (request->id.size > 0 && !dbk_slice_equal(request->id, daybook_text(consumer->pin.id)))
        return "423 Nats-Pin-Id mismatch";
    memcpy(group_out->name, request->group.data, request->group.size);
    group_out->min_pending = dbk_at_least_none(request->min_pending);
    group_out->min_ack_pending = dbk_at_least_none(request->min_ack_pending);
    group_out->priority = policy == DBK_API_PRIORITY_PRIORITIZED ? (int)request->priority : 0;
    group_out->is_pinned = request->id.size > 0;
    if (group_out->is_pinned) start_pin_timer(consumer);
    return NULL;
}

// ---- Turns ------------------------------------------------------------------------------------------------

// One threshold that is reached suffices. Each message taken lowers what is pending, none what waits for an
// answer.
static uint64_t share_of_overflow(const dbk_js_consumer *consumer, const dbk_js_group_request *group,
                                  uint64_t left) {
    if (group->min_ack_pending > 0 && consumer->ack_pending_count >= group->min_ack_pending) return left;
    if (group->min_pending == 0 || consumer->pending_count < group->min_pending) return 0;
    uint64_t above = consumer->pending_count - group->min_pending + 1;
    return above < left ? above : left;
}

uint64_t dbk_js_group_share(const dbk_js_consumer *consumer, const dbk_js_group_request *group,
                            uint64_t left) {
    if (dbk_js_group_has_threshold(group)) return share_of_overflow(consumer, group, left);
    if (is_pinning(consumer) && *consumer->pin.id != '\0' && !group->is_pinned) return 0;
    return left;
}

bool dbk_js_group_is_exclusive(const dbk_js_consumer *consumer) {
    return is_pinning(consumer) && *consumer->pin.id == '\0';
}

void dbk_js_group_look_again(dbk_js_consumer *consumer) {
    if (consumer->rules.priority_policy != DBK_API_PRIORITY_OVERFLOW) return;
    consumer->counts_are_fresh = false;
    dbk_broker_start_timer(dbk_js_broker_of(consumer), &consumer->due_timer,
                           LOOK_AGAIN_MS * DBK_MILLISECOND_NS);
}

// ---- Pins -------------------------------------------------------------------------------------------------

static void make_id(dbk_broker *broker, char id_out[DBK_JS_PIN_ID_SIZE + 1]) {
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint64_t random = 0;
    for (size_t i = 0; i < DBK_JS_PIN_ID_SIZE; i++, random /= sizeof letters - 1) {
        if (i % 8 == 0) random = dbk_broker_random(broker);
        id_out[i] = letters[random % (sizeof letters - 1)];
    }
    id_out[DBK_JS_PIN_ID_SIZE] = '\0';
}

void dbk_js_group_plan_pin(dbk_js_consumer *consumer, dbk_js_plan *plan) {
    if (!is_pinning(consumer)) return;
    plan->pin_generation = consumer->pin.generation;
    if (*consumer->pin.id != '\0') {
        memcpy(plan->pin_id, consumer->pin.id, sizeof plan->pin_id);
    } else {
        make_id(dbk_js_broker_of(consumer), plan->pin_id);
    }
}

bool dbk_js_group_is_void(const dbk_js_consumer *consumer, const dbk_js_plan *plan) {
    return is_pinning(consumer) &&
           (*plan->pin_id == '\0' || plan->pin_generation != consumer->pin.generation);
}

static void set_pin(dbk_js_consumer *consumer, const dbk_js_pin *pin) {
    dbk_jetstream *jetstream = consumer->stream->jetstream;
    pthread_mutex_lock(&jetstream->lock);
    consumer->pin = *pin;
    pthread_mutex_unlock(&jetstream->lock);
}

void dbk_js_group_note_given(dbk_js_consumer *consumer, const dbk_js_plan *plan,
                             dbk_js_group_request *group) {
    if (consumer->pending_count > 0) consumer->pending_count--;
    consumer->ack_pending_count++;
    if (!is_pinning(consumer) || *consumer->pin.id != '\0') return;
    dbk_js_pin pin = {.generation = consumer->pin.generation,
                      .pinned_ns = dbk_broker_clock_ns(dbk_js_broker_of(consumer))};
    memcpy(pin.id, plan->pin_id, sizeof pin.id);
    memcpy(pin.group, group->name, sizeof pin.group);
    set_pin(consumer, &pin);
    group->is_pinned = true;
    start_pin_timer(consumer);
    dbk_js_advise_of_pin(consumer, pin.group, pin.id, NULL);
}

void dbk_js_unpin(dbk_js_consumer *consumer, const char *reason) {
    if (*consumer->pin.id == '\0') return;
    dbk_js_pin before = consumer->pin;
    dbk_broker_stop_timer(dbk_js_broker_of(consumer), &consumer->pin_timer);
    set_pin(consumer, &(dbk_js_pin){.generation = before.generation + 1});
    dbk_js_end_pinned_pulls(consumer, dbk_status_block(DBK_STATUS_WRONG_PIN_ID));
    dbk_js_advise_of_pin(consumer, before.group, NULL, reason);
    dbk_js_deliver(consumer);
}

void dbk_js_pin_timer_fired(dbk_timer *timer) {
    dbk_js_unpin(DBK_OWNER(timer, dbk_js_consumer, pin_timer), "timeout");
}
