// SPDX-License-Identifier: Apache-2.0
// Events as payloads of messages: headers as they were and those a server adds, and room enough for them.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "jetstream/event_message.h"

static void check(const daybook_recorded_event *event, const dbk_event_extras *extras, const char *headers,
                  const char *data) {
    size_t bound = dbk_event_message_bound(event, extras);
    uint8_t *out = malloc(bound);
    assert_non_null(out);
    size_t header_size = 12345;
    size_t size = dbk_event_message_write(event, extras, out, &header_size);
    assert_true(size <= bound);
    assert_int_equal(header_size, strlen(headers));
    assert_int_equal(size, strlen(headers) + strlen(data));
    assert_memory_equal(out, headers, strlen(headers));
    assert_memory_equal(out + header_size, data, strlen(data));
    free(out);
}

static daybook_recorded_event make_event(void) {
    daybook_recorded_event event = {.size = sizeof event, .stream = daybook_text("S"), .seq = 7};
    daybook_event_init(&event.event);
    event.event.subject = daybook_text("s.1");
    event.event.data = daybook_text("hello");
    event.recorded_ns = INT64_C(1700000000250000000);
    return event;
}

static void plain_ones_have_no_headers(void **state) {
    (void)state;
    daybook_recorded_event event = make_event();
    check(&event, &(dbk_event_extras){0}, "", "hello");
    event.event.data = daybook_text("");
    check(&event, &(dbk_event_extras){0}, "", "");
}

static void headers_come_as_they_were(void **state) {
    (void)state;
    const daybook_header headers[] = {{daybook_text("b"), daybook_text("2")},
                                      {daybook_text("A"), daybook_text("")},
                                      {daybook_text("b"), daybook_text("1")}};
    daybook_recorded_event event = make_event();
    event.event.headers = headers;
    event.event.header_count = 3;
    check(&event, &(dbk_event_extras){0}, "NATS/1.0\r\nb: 2\r\nA: \r\nb: 1\r\n\r\n", "hello");
    check(&event, &(dbk_event_extras){.headers_only = true, .data_size = 5},
          "NATS/1.0\r\nb: 2\r\nA: \r\nb: 1\r\nNats-Msg-Size: 5\r\n\r\n", "");
    check(&event, &(dbk_event_extras){.no_headers = true}, "", "hello");
}

static void direct_ones_say_where_they_are_from(void **state) {
    (void)state;
    daybook_recorded_event event = make_event();
    const char *said = "NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: s.1\r\nNats-Sequence: 7\r\n"
                       "Nats-Time-Stamp: 2023-11-14T22:13:20.25Z\r\n\r\n";
    check(&event, &(dbk_event_extras){.is_direct = true}, said, "hello");
    event.recorded_ns = INT64_C(1700000000000000000);
    said = "NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: s.1\r\nNats-Sequence: 7\r\n"
           "Nats-Time-Stamp: 2023-11-14T22:13:20Z\r\nNats-Num-Pending: 18446744073709551615\r\n"
           "Nats-Last-Sequence: 3\r\n\r\n";
    check(&event,
          &(dbk_event_extras){
              .is_direct = true, .is_one_of_many = true, .pending_count = UINT64_MAX, .last_seq = 3},
          said, "hello");
}

static void what_the_server_says_is_not_forged(void **state) {
    (void)state;
    const daybook_header headers[] = {
        {daybook_text("Nats-Sequence"), daybook_text("1")},
        {daybook_text("Nats-Stream"), daybook_text("T")},
        {daybook_text("Nats-Time-Stamp"), daybook_text("t")},
        {daybook_text("Nats-Subject"), daybook_text("t.1")},
        {daybook_text("Nats-Num-Pending"), daybook_text("9")},
        {daybook_text("Nats-Last-Sequence"), daybook_text("9")},
        {daybook_text("Nats-UpTo-Sequence"), daybook_text("9")},
        {daybook_text("Nats-Msg-Size"), daybook_text("9")},
        {daybook_text("Nats-Pin-Id"), daybook_text("p")},
        {daybook_text("Nats-"), daybook_text("x")},
    };
    daybook_recorded_event event = make_event();
    event.event.headers = headers;
    event.event.header_count = 10;
    check(&event, &(dbk_event_extras){0},
          "NATS/1.0\r\nNats-Sequence: 1\r\nNats-Stream: T\r\nNats-Time-Stamp: t\r\nNats-Subject: t.1\r\n"
          "Nats-Num-Pending: 9\r\nNats-Last-Sequence: 9\r\nNats-UpTo-Sequence: 9\r\nNats-Msg-Size: 9\r\n"
          "Nats-Pin-Id: p\r\nNats-: x\r\n\r\n",
          "hello");
    check(&event,
          &(dbk_event_extras){.is_direct = true,
                              .is_one_of_many = true,
                              .headers_only = true,
                              .data_size = 5,
                              .pin_id = daybook_text("q")},
          "NATS/1.0\r\nNats-: x\r\nNats-Msg-Size: 5\r\nNats-Pin-Id: q\r\nNats-Stream: S\r\nNats-Subject: "
          "s.1\r\n"
          "Nats-Sequence: 7\r\nNats-Time-Stamp: 2023-11-14T22:13:20.25Z\r\nNats-Num-Pending: 0\r\n"
          "Nats-Last-Sequence: 0\r\n\r\n",
          "");
}

static void the_number_left_can_be_put_right(void **state) {
    (void)state;
    static const uint64_t numbers[] = {0, 9, 10, 4321, UINT64_MAX - 1, UINT64_MAX};
    daybook_recorded_event event = make_event();
    for (int variant = 0; variant < 4; variant++) {
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
            dbk_event_extras extras = {.is_direct = true,
                                       .is_one_of_many = true,
                                       .no_headers = variant % 2 != 0,
                                       .pending_count = UINT64_MAX,
                                       .last_seq = variant * 1000,
                                       .up_to_seq = variant / 2 * 77};
            event.event.data = daybook_text(variant == 3 ? "" : "hello");
            size_t bound = dbk_event_message_bound(&event, &extras);
            uint8_t *changed = malloc(bound), *expected = malloc(bound);
            assert_non_null(changed);
            assert_non_null(expected);
            size_t header_size, expected_header_size;
            size_t size = dbk_event_message_write(&event, &extras, changed, &header_size);
            size = dbk_event_message_change_pending(changed, size, &extras, numbers[i], &header_size);
            extras.pending_count = numbers[i];
            size_t expected_size = dbk_event_message_write(&event, &extras, expected, &expected_header_size);
            assert_int_equal(header_size, expected_header_size);
            assert_int_equal(size, expected_size);
            assert_memory_equal(changed, expected, size);
            free(changed);
            free(expected);
        }
    }
}

static void the_largest_fit(void **state) {
    (void)state;
    char subject[DAYBOOK_SUBJECT_SIZE_MAX], stream[255];
    memset(subject, 's', sizeof subject);
    memset(stream, 'S', sizeof stream);
    daybook_recorded_event event = make_event();
    event.event.subject = daybook_bytes(subject, sizeof subject);
    event.stream = daybook_bytes(stream, sizeof stream);
    event.seq = UINT64_MAX;
    event.recorded_ns = INT64_C(1700000000123456789);
    dbk_event_extras extras = {.headers_only = true,
                               .data_size = UINT64_MAX,
                               .is_direct = true,
                               .is_one_of_many = true,
                               .pending_count = UINT64_MAX,
                               .last_seq = UINT64_MAX,
                               .up_to_seq = UINT64_MAX};
    size_t bound = dbk_event_message_bound(&event, &extras);
    uint8_t *out = malloc(bound);
    size_t header_size;
    assert_non_null(out);
    assert_true(dbk_event_message_write(&event, &extras, out, &header_size) <= bound);
    free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_ones_have_no_headers),
        cmocka_unit_test(headers_come_as_they_were),
        cmocka_unit_test(direct_ones_say_where_they_are_from),
        cmocka_unit_test(what_the_server_says_is_not_forged),
        cmocka_unit_test(the_number_left_can_be_put_right),
        cmocka_unit_test(the_largest_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
