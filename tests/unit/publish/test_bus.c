// SPDX-License-Identifier: Apache-2.0
// The bus: who is told of what, in queue groups one of them, and what handlers and threads may do meanwhile.
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <pthread.h>

#include <cmocka.h>

#include "daybook/publish.h"
#include "lib/fault_allocator.h"

static daybook_bus *new_bus(void) {
    daybook_bus *bus;
    assert_int_equal(daybook_bus_new(NULL, &bus, NULL), DAYBOOK_OK);
    return bus;
}

static size_t publish(daybook_bus *bus, const char *subject) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text("x");
    size_t told;
    assert_int_equal(daybook_bus_publish(bus, &event, &told, NULL), DAYBOOK_OK);
    return told;
}

static void count_one(void *context, const daybook_event *event) {
    assert_memory_equal(event->data.data, "x", 1);
    ++*(unsigned *)context;
}

static daybook_subscription *subscribe(daybook_bus *bus, const char *filter, const char *group,
                                       daybook_event_handler handler, void *context) {
    daybook_subscription *subscription;
    assert_int_equal(daybook_bus_subscribe(bus, daybook_text(filter), daybook_text(group), handler, context,
                                           &subscription, NULL),
                     DAYBOOK_OK);
    return subscription;
}

static void those_who_want_it_are_told(void **state) {
    (void)state;
    daybook_bus *bus = new_bus();
    unsigned exact = 0, one = 0, rest = 0;
    assert_int_equal(publish(bus, "a.b"), 0);
    (void)subscribe(bus, "a.b", "", count_one, &exact);
    daybook_subscription *middle = subscribe(bus, "a.*", "", count_one, &one);
    (void)subscribe(bus, "a.>", "", count_one, &rest);
    assert_int_equal(publish(bus, "a.b"), 3);
    assert_int_equal(publish(bus, "a.b.c"), 1);
    assert_int_equal(publish(bus, "b.b"), 0);
    daybook_bus_unsubscribe(middle);
    assert_int_equal(publish(bus, "a.b"), 2);
    assert_int_equal(exact, 2);
    assert_int_equal(one, 1);
    assert_int_equal(rest, 3);
    daybook_bus_free(bus);
}

static void of_a_queue_group_one_is_told_in_turn(void **state) {
    (void)state;
    daybook_bus *bus = new_bus();
    unsigned members[3] = {0, 0, 0}, other = 0, alone = 0;
    for (int i = 0; i < 3; i++)
        (void)subscribe(bus, i == 0 ? "jobs.>" : "jobs.*", "workers", count_one, &members[i]);
    (void)subscribe(bus, "jobs.>", "auditors", count_one, &other);
    (void)subscribe(bus, "jobs.>", "", count_one, &alone);
    for (int i = 0; i < 9; i++) assert_int_equal(publish(bus, "jobs.1"), 3);
    for (int i = 0; i < 3; i++) assert_int_equal(members[i], 3);
    assert_int_equal(other, 9);
    assert_int_equal(alone, 9);
    assert_int_equal(publish(bus, "jobs.1.a"), 3); // only the first member's filter matches
    assert_int_equal(members[0], 4);
    daybook_bus_free(bus);
}

// ---- Handlers that change the bus -------------------------------------------------------------------------

typedef struct inner {
    daybook_bus *bus;
    daybook_subscription *own, *made;
    unsigned count, made_count;
} inner;

static void end_and_begin(void *context, const daybook_event *event) {
    inner *at = context;
    at->count++;
    if (event->subject.size != 3) return;
    daybook_bus_unsubscribe(at->own);
    at->made = subscribe(at->bus, "b.>", "", count_one, &at->made_count);
    assert_int_equal(publish(at->bus, "b.c"), 1);
}

static void handlers_may_do_anything(void **state) {
    (void)state;
    daybook_bus *bus = new_bus();
    inner at = {.bus = bus};
    at.own = subscribe(bus, "a.>", "", end_and_begin, &at);
    assert_int_equal(publish(bus, "a.b"), 1);
    assert_int_equal(publish(bus, "a.b"), 0);
    assert_int_equal(at.count, 1);
    assert_int_equal(at.made_count, 1);
    daybook_bus_unsubscribe(at.made);
    assert_int_equal(publish(bus, "b.c"), 0);
    daybook_bus_free(bus);
}

// ---- Threads ----------------------------------------------------------------------------------------------

enum { PUBLISHERS = 3, ROUNDS = 3000 };

typedef struct crowd {
    daybook_bus *bus;
    atomic_uint running;
    atomic_uint told;
    atomic_bool over;
} crowd;

typedef struct guest {
    crowd *of;
    atomic_bool gone;
} guest;

static void be_told(void *context, const daybook_event *event) {
    guest *one = context;
    (void)event;
    if (atomic_load(&one->gone)) abort(); // told after it was gone
    atomic_fetch_add(&one->of->told, 1);
}

static void *publish_all(void *context) {
    crowd *at = context;
    while (!atomic_load(&at->over)) (void)publish(at->bus, "a.b");
    return NULL;
}

static void nobody_is_told_after_it_left(void **state) {
    (void)state;
    crowd at = {.bus = new_bus()};
    pthread_t threads[PUBLISHERS];
    for (int i = 0; i < PUBLISHERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, publish_all, &at), 0);
    for (int i = 0; i < ROUNDS; i++) {
        guest one = {.of = &at};
        daybook_subscription *subscription =
            subscribe(at.bus, i % 2 == 0 ? "a.*" : ">", i % 3 == 0 ? "group" : "", be_told, &one);
        daybook_bus_unsubscribe(subscription);
        atomic_store(&one.gone, true);
    }
    atomic_store(&at.over, true);
    for (int i = 0; i < PUBLISHERS; i++) (void)pthread_join(threads[i], NULL);
    daybook_bus_free(at.bus);
}

// ---- Refused ----------------------------------------------------------------------------------------------

static void what_is_malformed_is_refused(void **state) {
    (void)state;
    daybook_bus *bus = new_bus();
    daybook_subscription *none;
    unsigned count = 0;
    assert_int_equal(
        daybook_bus_subscribe(bus, daybook_text("a..b"), daybook_text(""), count_one, &count, &none, NULL),
        DAYBOOK_ESUBJECT);
    assert_int_equal(
        daybook_bus_subscribe(bus, daybook_text("a"), daybook_text("x\ny"), count_one, &count, &none, NULL),
        DAYBOOK_EINVALID);
    assert_int_equal(
        daybook_bus_subscribe(bus, daybook_text("a"), daybook_text(""), NULL, &count, &none, NULL),
        DAYBOOK_EMISUSE);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("a.*");
    assert_int_equal(daybook_bus_publish(bus, &event, NULL, NULL), DAYBOOK_ESUBJECT);
    assert_int_equal(daybook_bus_publish(bus, NULL, NULL, NULL), DAYBOOK_EMISUSE);
    daybook_bus_unsubscribe(NULL);
    daybook_bus_free(bus);
    daybook_bus_free(NULL);
}

static daybook_status do_all(const daybook_allocator *allocator, unsigned *count) {
    daybook_bus *bus;
    daybook_subscription *first, *second;
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("a.b");
    event.data = daybook_text("x");
    daybook_status status = daybook_bus_new(allocator, &bus, NULL);
    if (status != DAYBOOK_OK) return status;
    status = daybook_bus_subscribe(bus, daybook_text(">"), daybook_text(""), count_one, count, &first, NULL);
    if (status == DAYBOOK_OK)
        status = daybook_bus_subscribe(bus, daybook_text("a.*"), daybook_text("g"), count_one, count, &second,
                                       NULL);
    if (status == DAYBOOK_OK) status = daybook_bus_publish(bus, &event, NULL, NULL);
    daybook_bus_free(bus);
    return status;
}

static void memory_may_run_out_anywhere(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    for (uint64_t n = 1;; n++) {
        unsigned count = 0;
        fault_allocator_fail(&faults, n, false);
        daybook_status status = do_all(&faults.allocator, &count);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!fault_allocator_has_failed(&faults)) {
            assert_int_equal(status, DAYBOOK_OK);
            assert_int_equal(count, 2);
            break;
        }
        assert_int_equal(status, DAYBOOK_ENOMEM);
        assert_int_equal(count, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_who_want_it_are_told),
        cmocka_unit_test(of_a_queue_group_one_is_told_in_turn),
        cmocka_unit_test(handlers_may_do_anything),
        cmocka_unit_test(nobody_is_told_after_it_left),
        cmocka_unit_test(what_is_malformed_is_refused),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
