// SPDX-License-Identifier: Apache-2.0
// Courses: rules that span two kinds of things. A course has a capacity, a student takes at most two courses,
// so neither is the aggregate of a subscription. The decision is made on the events that bear either's tag,
// and is made anew if such an event comes meanwhile: a dynamic consistency boundary. Source: dcb.events.
//
//     cc courses.c $(pkg-config --cflags --libs daybook-toolkit)
//     ./a.out school      (a directory; it is created. Without: a store in memory)
#include <daybook/daybook.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COURSES_PER_STUDENT = 2 };

// What the rules need to know of the course and of the student in question.

typedef struct situation {
    unsigned capacity; // 0: there is no such course
    unsigned seats_taken;
    unsigned courses_taken;
    int is_in_it;
} situation;

// A command names both, and so says which events matter.
typedef struct subscription {
    char course[64];  // the tag "course:c1"
    char student[64]; // the tag "student:s1"
} subscription;

static int has_tag(const daybook_event *event, const char *tag) {
    for (size_t i = 0; i < event->tag_count; i++)
        if (event->tags[i].size == strlen(tag) && memcmp(event->tags[i].data, tag, event->tags[i].size) == 0)
            return 1;
    return 0;
}

static daybook_status evolve(void *state, void *context, const daybook_recorded_event *event,
                             daybook_error *error) {
    (void)error;
    const subscription *of = context;
    situation *is = state;
    int is_course = has_tag(&event->event, of->course), is_student = has_tag(&event->event, of->student);
    if (daybook_type_is(event, "defined") && is_course) {
        char data[64] = "";
        memcpy(data, event->event.data.data,
               event->event.data.size < sizeof data ? event->event.data.size : sizeof data - 1);
        is->capacity = (unsigned)strtoul(data + strcspn(data, "0123456789"), NULL, 10);
        return DAYBOOK_OK;
    }
    int step = daybook_type_is(event, "subscribed") ? 1 : -1; // or "left"
    if (is_course) is->seats_taken += (unsigned)step;
    if (is_student) is->courses_taken += (unsigned)step;
    if (is_course && is_student) is->is_in_it = step > 0;
    return DAYBOOK_OK;
}

static daybook_status add(daybook_decision *decision, const subscription *of, const char *type,
                          daybook_error *error) {
    char subject[192];
    (void)snprintf(subject, sizeof subject, "courses.%s.%s", of->course + strlen("course:"), type);
    const daybook_slice tags[] = {daybook_text(of->course), daybook_text(of->student)};
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.tags = tags;
    event.tag_count = 2;
    return daybook_decision_add_event(decision, &event, error);
}

static daybook_status subscribe(const void *state, const void *command, daybook_decision *decision,
                                daybook_error *error) {
    const situation *is = state;
    if (is->capacity == 0) return daybook_refuse(error, "there is no such course");
    if (is->is_in_it) return daybook_refuse(error, "the student is in it already");
    if (is->seats_taken >= is->capacity) return daybook_refuse(error, "the course is full");
    if (is->courses_taken >= COURSES_PER_STUDENT)
        return daybook_refuse(error, "the student has as many courses as allowed");
    return add(decision, command, "subscribed", error);
}

static daybook_status leave(const void *state, const void *command, daybook_decision *decision,
                            daybook_error *error) {
    const situation *is = state;
    return is->is_in_it ? add(decision, command, "left", error)
                        : daybook_refuse(error, "the student is not in it");
}

static daybook_status execute(daybook_engine *engine, const char *course, const char *student,
                              daybook_decide decide, daybook_execute_result *result, daybook_error *error) {
    subscription of;
    (void)snprintf(of.course, sizeof of.course, "course:%s", course);
    (void)snprintf(of.student, sizeof of.student, "student:%s", student);
    const daybook_slice types[] = {daybook_text("defined"), daybook_text("subscribed"), daybook_text("left")};
    const daybook_slice course_tag = daybook_text(of.course), student_tag = daybook_text(of.student);
    daybook_query_item items[2]; // events of the course, or of the student
    for (int i = 0; i < 2; i++) {
        daybook_query_item_init(&items[i]);
        items[i].types = types;
        items[i].type_count = 3;
        items[i].tags = i == 0 ? &course_tag : &student_tag;
        items[i].tag_count = 1;
    }
    daybook_aggregate_type type;
    daybook_aggregate_type_init(&type);
    type.state_size = sizeof(situation);
    type.evolve = evolve;
    type.context = &of;
    return daybook_execute_over(engine, &type, items, 2, decide, &of, NULL, result, error);
}

static void tell(daybook_engine *engine, const char *course, const char *student, const char *what,
                 daybook_decide decide) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = execute(engine, course, student, decide, NULL, &error);
    printf("%s %s %s: %s\n", student, what, course, status == DAYBOOK_OK ? "done" : error.message);
}

static daybook_status define(daybook_engine *engine, const char *course, unsigned capacity,
                             daybook_error *error) {
    char subject[128], tag_text[64], data[64];
    (void)snprintf(subject, sizeof subject, "courses.%s.defined", course);
    (void)snprintf(tag_text, sizeof tag_text, "course:%s", course);
    (void)snprintf(data, sizeof data, "{\"capacity\":%u}", capacity);
    const daybook_slice tag = daybook_text(tag_text);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text(data);
    event.tags = &tag;
    event.tag_count = 1;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    return daybook_engine_append(engine, &event, 1, &options, NULL, error);
}

// Twenty students rush for the five seats of one course.

enum { RUSH_COUNT = 20 };

typedef struct runner {
    daybook_engine *engine;
    int number;
    daybook_status status;
} runner;

static void *rush(void *context) {
    runner *of = context;
    char student[16];
    (void)snprintf(student, sizeof student, "r%d", of->number);
    do of->status = execute(of->engine, "popular", student, subscribe, NULL, NULL);
    while (of->status == DAYBOOK_ECONFLICT); // Beaten too often: once more.
    return NULL;
}

static void rush_for_seats(daybook_engine *engine) {
    pthread_t threads[RUSH_COUNT];
    runner runners[RUSH_COUNT];
    int in = 0, out = 0, begun = 0;
    for (; begun < RUSH_COUNT; begun++) {
        runners[begun] = (runner){.engine = engine, .number = begun};
        if (pthread_create(&threads[begun], NULL, rush, &runners[begun]) != 0) break;
    }
    for (int i = 0; i < begun; i++) {
        (void)pthread_join(threads[i], NULL);
        in += runners[i].status == DAYBOOK_OK;
        out += runners[i].status == DAYBOOK_EREFUSED;
    }
    printf("of %d students %d got a seat, %d were told that the course is full\n", begun, in, out);
}

static daybook_status run(daybook_engine *engine, daybook_error *error) {
    daybook_status status = define(engine, "algebra", 2, error);
    if (status == DAYBOOK_OK) status = define(engine, "biology", 9, error);
    if (status == DAYBOOK_OK) status = define(engine, "chemistry", 9, error);
    if (status == DAYBOOK_OK) status = define(engine, "popular", 5, error);
    if (status != DAYBOOK_OK) return status;
    tell(engine, "algebra", "ann", "into", subscribe);
    tell(engine, "algebra", "ann", "into", subscribe);
    tell(engine, "algebra", "ben", "into", subscribe);
    tell(engine, "algebra", "cem", "into", subscribe);
    tell(engine, "biology", "ann", "into", subscribe);
    tell(engine, "chemistry", "ann", "into", subscribe);
    tell(engine, "algebra", "ann", "out of", leave);
    tell(engine, "algebra", "cem", "into", subscribe);
    tell(engine, "chemistry", "ann", "into", subscribe);
    tell(engine, "drawing", "ann", "into", subscribe);
    rush_for_seats(engine);
    return DAYBOOK_OK;
}

int main(int count, char **arguments) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_store *store = NULL;
    daybook_status status = daybook_open(count > 1 ? arguments[1] : ":memory:", NULL, &store, &error);
    if (status == DAYBOOK_OK) status = run(daybook_store_engine(store), &error);
    if (status != DAYBOOK_OK) fprintf(stderr, "%s: %s\n", daybook_status_name(status), error.message);
    daybook_status closed = daybook_close(store, NULL);
    return status == DAYBOOK_OK && closed == DAYBOOK_OK ? 0 : 1;
}
