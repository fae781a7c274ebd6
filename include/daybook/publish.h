/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Publish and subscribe within a process, for what needs no keeping: an event is given to whoever
 * subscribed to its subject at that moment, and is gone. Subjects, wildcards and queue groups as in NATS.
 * For events that are kept there are streams and consumers.
 *
 *     daybook_bus *bus;
 *     daybook_bus_new(NULL, &bus, NULL);
 *     daybook_subscription *subscription;
 *     daybook_bus_subscribe(bus, daybook_text("prices.>"), daybook_text(""), show, NULL, &subscription, NULL);
 *     daybook_bus_publish(bus, &event, NULL, NULL);   // calls show(NULL, &event)
 *
 * Handlers are called in the publisher's thread, before daybook_bus_publish returns. They may publish,
 * subscribe and unsubscribe. Any thread may use a bus; handlers of one subscription may run in several
 * threads at once.
 */
#ifndef DAYBOOK_PUBLISH_H
#define DAYBOOK_PUBLISH_H

#include "daybook/event.h"
#include "daybook/status.h"
#include "daybook/sys/allocator.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct daybook_bus daybook_bus;
typedef struct daybook_subscription daybook_subscription;

/** `allocator` NULL: malloc. */
DAYBOOK_API daybook_status daybook_bus_new(const daybook_allocator *allocator, daybook_bus **bus_out,
                                           daybook_error *error);
/** With all its subscriptions. No call on it may be running. NULL is fine. */
DAYBOOK_API void daybook_bus_free(daybook_bus *bus);

/** Borrowed during the call. */
typedef void (*daybook_event_handler)(void *context, const daybook_event *event);

/**
 * Be told of events whose subject matches `filter`, from now on.
 * @param queue_group  empty: of each; else of each event one member of the group is told, in turn
 * @return OK, ESUBJECT (filter), EINVALID (group: plain text of at most 255 bytes), ENOMEM
 */
DAYBOOK_API daybook_status daybook_bus_subscribe(daybook_bus *bus, daybook_slice filter,
                                                 daybook_slice queue_group, daybook_event_handler handler,
                                                 void *context, daybook_subscription **subscription_out,
                                                 daybook_error *error);
/**
 * The handler is not called any more. Waits for calls of it that run in other threads; not for one this
 * call is made from. Two handlers that run and end each other's subscription wait for ever. NULL is fine.
 */
DAYBOOK_API void daybook_bus_unsubscribe(daybook_subscription *subscription);

/**
 * Tell all who want it. `*told_count_out` (may be NULL): how many handlers were called.
 * @return OK, also when nobody was there; what daybook_event_check says of the event; ENOMEM: nobody was told
 * O(subscriptions).
 */
DAYBOOK_API daybook_status daybook_bus_publish(daybook_bus *bus, const daybook_event *event,
                                               size_t *told_count_out, daybook_error *error);

#ifdef __cplusplus
}
#endif
#endif
