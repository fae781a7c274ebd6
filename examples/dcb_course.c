// SPDX-License-Identifier: Apache-2.0
// A dynamic consistency boundary: a rule that spans two kinds of things (a course has a capacity, a student
// takes at most two courses) and so fits no single aggregate. The decision is made from the events that carry
// either tag, and the append fails if any such event came after the position it was made from. Source:
// https://dcb.events
#include <daybook/daybook.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { CAPACITY = 2, COURSES_PER_STUDENT = 2 };

typedef struct seen {
    unsigned seats_taken;
    unsigned courses_taken;
    uint64_t position; // up to here everything has been seen
} seen;

static void item_init(daybook_query_item *item, const daybook_slice *type, const daybook_slice *tag) {
    daybook_query_item_init(item);
    item->types = type;
    item->type_count = 1;
    item->tags = tag;
    item->tag_count = 1;
}

static int has_tag(const daybook_event *event, daybook_slice tag) {
    for (size_t i = 0; i < event->tag_count; i++) {
        if (event->tags[i].size == tag.size && memcmp(event->tags[i].data, tag.data, tag.size) == 0) return 1;
    }
    return 0;
}

// Read what the decision rests on: subscriptions of this course, or of this student.
static daybook_status look(daybook_store *store, const daybook_query_item items[2], daybook_slice course,
                           daybook_slice student, seen *seen_out, daybook_error *error) {
    daybook_query query;
    daybook_query_init(&query);
    query.items = items;
    query.item_count = 2;
    daybook_cursor *cursor = NULL;
    daybook_status status = daybook_read(store, &query, &cursor, error);
    if (status != DAYBOOK_OK) return status;
    seen all = {0, 0, 0};
    daybook_recorded_event event = {.size = sizeof event};
    while ((status = daybook_cursor_next(cursor, 0, &event, error)) == DAYBOOK_OK) {
        if (has_tag(&event.event, course)) all.seats_taken++;
        if (has_tag(&event.event, student)) all.courses_taken++;
    }
    all.position = daybook_cursor_position(cursor);
    daybook_cursor_close(cursor);
    if (status != DAYBOOK_END) return status;
    *seen_out = all;
    return DAYBOOK_OK;
}

static daybook_status subscribe(daybook_store *store, const char *student_name, const char *course_name,
                                const char **answer_out, daybook_error *error) {
    daybook_slice type = daybook_text("subscribed");
    daybook_slice tags[2] = {daybook_text(course_name), daybook_text(student_name)};
    daybook_query_item items[2];
    item_init(&items[0], &type, &tags[0]);
    item_init(&items[1], &type, &tags[1]);

    for (int attempt = 0; attempt < 10; attempt++) {
        seen decision;
        daybook_status status = look(store, items, tags[0], tags[1], &decision, error);
        if (status != DAYBOOK_OK) return status;
        if (decision.seats_taken >= CAPACITY) {
            *answer_out = "the course is full";
            return DAYBOOK_OK;
        }
        if (decision.courses_taken >= COURSES_PER_STUDENT) {
            *answer_out = "the student has two courses already";
            return DAYBOOK_OK;
        }

        daybook_event event;
        daybook_event_init(&event);
        event.subject = daybook_text("courses.all.subscribed");
        event.tags = tags;
        event.tag_count = 2;
        daybook_condition condition;
        daybook_condition_init(&condition, DAYBOOK_FAIL_IF_EVENTS_MATCH);
        condition.items = items;
        condition.item_count = 2;
        condition.after = decision.position;
        daybook_append_options options;
        daybook_append_options_init(&options);
        options.conditions = &condition;
        options.condition_count = 1;
        options.auto_stream = 1;
        status = daybook_append(store, &event, 1, &options, NULL, error);
        if (status == DAYBOOK_ECONFLICT) continue; // somebody was faster: look again, decide again
        *answer_out = "subscribed";
        return status;
    }
    *answer_out = "too many others at the same time; try again";
    return DAYBOOK_OK;
}

int main(int argc, char **argv) {
    static const char *const wishes[][2] = {
        {"student:ann", "course:c"},   {"student:bob", "course:c"},    {"student:cem", "course:c"},
        {"student:ann", "course:sql"}, {"student:ann", "course:lisp"},
    };
    daybook_error error;
    daybook_error_init(&error);
    daybook_store *store = NULL;
    daybook_status status = daybook_open(argc > 1 ? argv[1] : ":memory:", NULL, &store, &error);
    for (size_t i = 0; status == DAYBOOK_OK && i < sizeof wishes / sizeof wishes[0]; i++) {
        const char *answer = "";
        status = subscribe(store, wishes[i][0], wishes[i][1], &answer, &error);
        if (status == DAYBOOK_OK) printf("%s %s: %s\n", wishes[i][0], wishes[i][1], answer);
    }
    if (status != DAYBOOK_OK) fprintf(stderr, "%s: %s\n", daybook_status_name(status), error.message);
    (void)daybook_close(store, NULL);
    return status == DAYBOOK_OK ? 0 : 1;
}
