// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "index/term.h"

typedef struct seen_terms {
    char texts[40][80];
    size_t count;
    size_t stop_at;
} seen_terms;

// "kind/stream/value"
static daybook_status note(void *context, dbk_slice term) {
    seen_terms *seen = context;
    const uint8_t *bytes = term.data;
    if (seen->stop_at != 0 && seen->count + 1 == seen->stop_at) return DAYBOOK_ENOMEM;
    bool is_scoped = bytes[0] <= DBK_TERM_AGGREGATE;
    size_t head = is_scoped ? 5 : 1;
    unsigned stream = is_scoped ? (unsigned)bytes[1] << 24 | (unsigned)bytes[2] << 16 |
                                      (unsigned)bytes[3] << 8 | bytes[4]
                                : 0;
    int size = (int)(term.size - head);
    (void)snprintf(seen->texts[seen->count++], 80, "%u/%u/%.*s", bytes[0], stream, size,
                   (const char *)bytes + head);
    return DAYBOOK_OK;
}

static void decode(const daybook_event *event, uint32_t aggregate_size, dbk_buf *buf, dbk_event *event_out) {
    uint8_t made[16] = {0};
    made[6] = 0x70;
    made[8] = 0x80;
    dbk_buf_init(buf, dbk_allocator_default(), 100000);
    assert_int_equal(dbk_event_encode_body(event, aggregate_size, made, buf, NULL), DAYBOOK_OK);
    memset(event_out, 0, sizeof *event_out);
    event_out->stream_id = 0x01020304;
    assert_int_equal(dbk_event_decode_body(daybook_bytes(buf->data, buf->size), event_out), DAYBOOK_OK);
}

static void an_event_has_all_its_terms_once(void **state) {
    (void)state;
    daybook_slice tags[] = {daybook_text("course:7"), daybook_text("student:3")};
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.v1.123.line.added");
    event.tags = tags;
    event.tag_count = 2;
    event.correlation = daybook_text("c");
    event.causation = daybook_text("d");
    event.actor = daybook_text("ann");
    dbk_buf buf;
    dbk_event decoded;
    decode(&event, 13, &buf, &decoded);
    seen_terms seen = {.count = 0};
    assert_int_equal(dbk_event_visit_terms(&decoded, note, &seen), DAYBOOK_OK);
    static const char *expected[] = {
        "1/16909060/",
        "2/16909060/orders.v1.123.line.added",
        "3/16909060/orders.v1.123",
        "4/0/orders",
        "5/0/v1",
        "6/0/123",
        "7/0/line",
        "8/0/line.added",
        "9/0/course:7",
        "9/0/student:3",
        "10/0/Tc",
        "11/0/Td",
        "12/0/ann",
    };
    assert_int_equal(seen.count, sizeof expected / sizeof expected[0]);
    for (size_t i = 0; i < seen.count; i++) assert_string_equal(seen.texts[i], expected[i]);
    dbk_buf_deinit(&buf);
}

static void absent_fields_have_no_terms(void **state) {
    (void)state;
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("x");
    dbk_buf buf;
    dbk_event decoded;
    decode(&event, 0, &buf, &decoded);
    seen_terms seen = {.count = 0};
    assert_int_equal(dbk_event_visit_terms(&decoded, note, &seen), DAYBOOK_OK);
    assert_int_equal(seen.count, 4); // stream, subject, its token, and the type, which is the last token
    assert_string_equal(seen.texts[3], "8/0/x");
    dbk_buf_deinit(&buf);
}

// 2,000,000,000 and a half seconds after 1970, and 3 seconds: whole ones, rounded up.
static void a_time_to_live_is_a_term_by_its_second(void **state) {
    (void)state;
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("x");
    for (event.ttl_s = DAYBOOK_TTL_NEVER; event.ttl_s <= 3; event.ttl_s += 4) {
        dbk_buf buf;
        dbk_event decoded;
        decode(&event, 0, &buf, &decoded);
        decoded.recorded_ns = INT64_C(2000000000500000000);
        seen_terms seen = {.count = 0};
        assert_int_equal(dbk_event_visit_terms(&decoded, note, &seen), DAYBOOK_OK);
        assert_int_equal(seen.count, event.ttl_s == 3 ? 5 : 4);
        dbk_buf_deinit(&buf);
    }
    assert_true(dbk_expiry_second(0) == 0 && dbk_expiry_second(-1) == 0 && dbk_expiry_second(1) == 1);
    assert_true(dbk_expiry_second(1000000000) == 1 && dbk_expiry_second(1000000001) == 2);
    assert_true(dbk_expiry_second(INT64_MAX) == 9223372037);
    dbk_term lower, upper;
    uint64_t second;
    uint32_t stream_id;
    dbk_term_make_expiry(&lower, 255, UINT32_MAX);
    dbk_term_make_expiry(&upper, 256, 1);
    assert_true(dbk_slice_compare(dbk_term_slice(&lower), dbk_term_slice(&upper)) < 0);
    assert_true(dbk_term_read_expiry(dbk_term_slice(&upper), &second, &stream_id) && second == 256 &&
                stream_id == 1);
    assert_false(dbk_term_read_expiry(daybook_bytes(upper.bytes, upper.size - 1), &second, &stream_id));
    upper.bytes[0] = 14;
    assert_false(dbk_term_read_expiry(dbk_term_slice(&upper), &second, &stream_id));
}

static void a_failing_visit_stops(void **state) {
    (void)state;
    daybook_event event;
    daybook_event_init(&event);
    daybook_slice tags[] = {daybook_text("s"), daybook_text("t")};
    event.subject = daybook_text("a.b.c");
    event.tags = tags;
    event.tag_count = 2;
    event.correlation = daybook_text("x");
    event.causation = daybook_text("y");
    event.actor = daybook_text("ann");
    dbk_buf buf;
    dbk_event decoded;
    decode(&event, 3, &buf, &decoded);
    for (size_t stop_at = 1; stop_at <= 12; stop_at++) {
        seen_terms seen = {.stop_at = stop_at};
        assert_int_equal(dbk_event_visit_terms(&decoded, note, &seen), DAYBOOK_ENOMEM);
        assert_int_equal(seen.count, stop_at - 1);
    }
    dbk_buf_deinit(&buf);
}

// Decoding an event does not ask whether its subject is one; a hostile segment may hold this.
static void a_subject_that_ends_in_a_dot_has_no_empty_token(void **state) {
    (void)state;
    dbk_event event = {.subject = daybook_text("a.")};
    seen_terms seen = {.count = 0};
    assert_int_equal(dbk_event_visit_terms(&event, note, &seen), DAYBOOK_OK);
    assert_true(seen.count >= 3);
    assert_string_equal(seen.texts[2], "4/0/a");
    for (size_t i = 3; i < seen.count; i++) assert_true(seen.texts[i][0] != '5');
}

static void terms_of_a_stream_sort_together(void **state) {
    (void)state;
    dbk_term low, high;
    dbk_term_make(&low, DBK_TERM_SUBJECT, 255, daybook_text("zzz"));
    dbk_term_make(&high, DBK_TERM_SUBJECT, 256, daybook_text("aaa"));
    assert_true(dbk_slice_compare(dbk_term_slice(&low), dbk_term_slice(&high)) < 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_has_all_its_terms_once),
        cmocka_unit_test(absent_fields_have_no_terms),
        cmocka_unit_test(a_time_to_live_is_a_term_by_its_second),
        cmocka_unit_test(a_failing_visit_stops),
        cmocka_unit_test(a_subject_that_ends_in_a_dot_has_no_empty_token),
        cmocka_unit_test(terms_of_a_stream_sort_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
