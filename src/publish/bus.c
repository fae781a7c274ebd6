// SPDX-License-Identifier: Apache-2.0
// Publish and subscribe within a process.
//
// The bus is a list of subscriptions under one lock, which is never held while a handler runs. A publisher
// collects those that match, with a reference each, and calls them one after the other; one that was ended
// meanwhile is passed over. Each call under way is a node on its publisher's stack, so that who ends a
// subscription knows which calls of it run, and whether it is called from one of them.
//
// Of a queue group one member is chosen, in turn. A group is a name: members may have different filters, as
// in NATS.
#include "daybook/publish.h"

#include <pthread.h>

#include "base/bytes.h"
#include "base/error.h"
#include "daybook/subject.h"
#include "record/event.h"

struct daybook_subscription {
    struct daybook_bus *bus;
    daybook_event_handler handler;
    void *context;
    dbk_slice filter, group; // in `text`
    // Guarded by the bus's lock.
    struct daybook_subscription *next;
    unsigned refs;
    bool ended;
    char text[];
};

// A call of a handler under way.
typedef struct running {
    struct running *next;
    daybook_subscription *subscription;
    pthread_t thread;
} running;

struct daybook_bus {
    const daybook_allocator *allocator;
    pthread_mutex_t lock;
    pthread_cond_t call_ended;
    // Guarded by lock.
    daybook_subscription *first;
    daybook_subscription **end;
    size_t count;
    running *calls;
    uint64_t turns; // choices made in queue groups
};

daybook_status daybook_bus_new(const daybook_allocator *allocator, daybook_bus **bus_out,
                               daybook_error *error) {
    if (bus_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "nowhere to put the bus: pass a pointer as bus_out");
    if (allocator == NULL) allocator = dbk_allocator_default();
    *bus_out = NULL;
    daybook_bus *bus = dbk_alloc_zeroed(allocator, sizeof *bus);
    if (bus == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory making a bus");
    bus->allocator = allocator;
    bus->end = &bus->first;
    pthread_mutex_init(&bus->lock, NULL);
    pthread_cond_init(&bus->call_ended, NULL);
    *bus_out = bus;
    return DAYBOOK_OK;
}

void daybook_bus_free(daybook_bus *bus) {
    if (bus == NULL) return;
    while (bus->first != NULL) {
        daybook_subscription *next = bus->first->next;
        dbk_free(bus->allocator, bus->first);
        bus->first = next;
    }
    pthread_cond_destroy(&bus->call_ended);
    pthread_mutex_destroy(&bus->lock);
    dbk_free(bus->allocator, bus);
}

// ---- Subscribing ------------------------------------------------------------------------------------------

daybook_status daybook_bus_subscribe(daybook_bus *bus, daybook_slice filter, daybook_slice queue_group,
                                     daybook_event_handler handler, void *context,
                                     daybook_subscription **subscription_out, daybook_error *error) {
    if (subscription_out != NULL) *subscription_out = NULL;
    if (bus == NULL || handler == NULL || subscription_out == NULL)
        return dbk_fail(
            error, DAYBOOK_EMISUSE,
            "a subscription needs a bus, a handler and a pointer to put it in: one of them is NULL");
    if (!daybook_filter_is_valid(filter))
        return dbk_fail(
            error, DAYBOOK_ESUBJECT,
            "'%.*s' is no subject filter: join tokens by '.', where * is any one and > at the end any rest",
            (int)(filter.size < 200 ? filter.size : 200), (const char *)filter.data);
    if (queue_group.size > DAYBOOK_TEXT_SIZE_MAX || !dbk_is_plain_text(queue_group))
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "the queue group's name is no plain UTF-8 text of at most %d bytes; choose another",
                        DAYBOOK_TEXT_SIZE_MAX);
    daybook_subscription *made =
        dbk_alloc_zeroed(bus->allocator, sizeof *made + filter.size + queue_group.size);
    if (made == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory subscribing");
    made->bus = bus;
    made->handler = handler;
    made->context = context;
    made->refs = 1;
    memcpy(made->text, filter.data, filter.size);
    if (queue_group.size > 0) memcpy(made->text + filter.size, queue_group.data, queue_group.size);
    made->filter = daybook_bytes(made->text, filter.size);
    made->group = daybook_bytes(made->text + filter.size, queue_group.size);
    pthread_mutex_lock(&bus->lock);
    *bus->end = made;
    bus->end = &made->next;
    bus->count++;
    pthread_mutex_unlock(&bus->lock);
    *subscription_out = made;
    return DAYBOOK_OK;
}

// The lock is held.
static void unref(daybook_subscription *subscription) {
    if (--subscription->refs == 0) dbk_free(subscription->bus->allocator, subscription);
}

// Does a call of it run in another thread? One in this thread is below us on the stack. The lock is held.
static bool runs_elsewhere(const daybook_bus *bus, const daybook_subscription *subscription) {
    for (const running *call = bus->calls; call != NULL; call = call->next) {
        if (call->subscription == subscription && !pthread_equal(call->thread, pthread_self())) return true;
    }
    return false;
}

void daybook_bus_unsubscribe(daybook_subscription *subscription) {
    if (subscription == NULL) return;
    daybook_bus *bus = subscription->bus;
    pthread_mutex_lock(&bus->lock);
    daybook_subscription **at = &bus->first;
    while (*at != subscription) at = &(*at)->next;
    *at = subscription->next;
    if (bus->end == &subscription->next) bus->end = at;
    bus->count--;
    subscription->ended = true;
    while (runs_elsewhere(bus, subscription)) pthread_cond_wait(&bus->call_ended, &bus->lock);
    unref(subscription);
    pthread_mutex_unlock(&bus->lock);
}

// ---- Publishing -------------------------------------------------------------------------------------------

static bool is_chosen(const daybook_bus *bus, dbk_slice subject, const daybook_subscription *one) {
    if (one->group.size == 0) return true;
    uint64_t members = 0, place = 0;
    for (const daybook_subscription *other = bus->first; other != NULL; other = other->next) {
        if (!dbk_slice_equal(other->group, one->group) || !daybook_filter_matches(other->filter, subject))
            continue;
        if (other == one) place = members;
        members++;
    }
    return bus->turns % members == place;
}

// Those who want it, with a reference each. The lock is held.
static size_t collect(daybook_bus *bus, dbk_slice subject, daybook_subscription **wanting) {
    size_t count = 0;
    bool has_group = false;
    for (daybook_subscription *one = bus->first; one != NULL; one = one->next) {
        if (!daybook_filter_matches(one->filter, subject)) continue;
        has_group = has_group || one->group.size > 0;
        if (!is_chosen(bus, subject, one)) continue;
        one->refs++;
        wanting[count++] = one;
    }
    if (has_group) bus->turns++;
    return count;
}

// The lock is held before and after, and not while the handler runs. False where it was ended meanwhile.
static bool call(daybook_bus *bus, daybook_subscription *subscription, const daybook_event *event) {
    if (subscription->ended) return false;
    running own = {bus->calls, subscription, pthread_self()};
    bus->calls = &own;
    pthread_mutex_unlock(&bus->lock);
    subscription->handler(subscription->context, event);
    pthread_mutex_lock(&bus->lock);
    running **at = &bus->calls;
    while (*at != &own) at = &(*at)->next;
    *at = own.next;
    if (subscription->ended) pthread_cond_broadcast(&bus->call_ended);
    return true;
}

// How many there are may change before they are collected: then more room is taken.
static daybook_status take_wanting(daybook_bus *bus, dbk_slice subject, daybook_subscription ***wanting_out,
                                   size_t *count_out) {
    daybook_subscription **wanting = NULL;
    size_t capacity = 0;
    for (;;) {
        pthread_mutex_lock(&bus->lock);
        size_t needed = bus->count;
        if (needed <= capacity) {
            *count_out = collect(bus, subject, wanting);
            *wanting_out = wanting;
            return DAYBOOK_OK; // with the lock
        }
        pthread_mutex_unlock(&bus->lock);
        daybook_subscription **larger =
            dbk_grow_array(bus->allocator, wanting, &capacity, needed, sizeof(daybook_subscription *));
        if (larger == NULL) {
            dbk_free(bus->allocator, wanting);
            return DAYBOOK_ENOMEM;
        }
        wanting = larger;
    }
}

daybook_status daybook_bus_publish(daybook_bus *bus, const daybook_event *event, size_t *told_count_out,
                                   daybook_error *error) {
    if (told_count_out != NULL) *told_count_out = 0;
    if (bus == NULL || event == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no bus or no event to publish: both must be given");
    if (event->size < sizeof *event)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "the event was not initialised: begin it with daybook_event_init");
    DBK_TRY(dbk_event_validate(event, 0, error));
    daybook_subscription **wanting;
    size_t count, told = 0;
    if (take_wanting(bus, event->subject, &wanting, &count) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory publishing");
    for (size_t i = 0; i < count; i++) {
        told += call(bus, wanting[i], event);
        unref(wanting[i]);
    }
    pthread_mutex_unlock(&bus->lock);
    dbk_free(bus->allocator, wanting);
    if (told_count_out != NULL) *told_count_out = told;
    return DAYBOOK_OK;
}
