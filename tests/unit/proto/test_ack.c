// SPDX-License-Identifier: Apache-2.0
#include "proto/ack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

static void expect_slice(dbk_slice slice, const char *expected) {
    if (!dbk_slice_equal(slice, daybook_text(expected)))
        fail_msg("'%.*s', not '%s'", (int)slice.size, slice.size == 0 ? "" : (const char *)slice.data,
                 expected);
}

static size_t encode(const dbk_ack_subject *ack, char out[DBK_ACK_SUBJECT_SIZE_MAX]) {
    size_t size = dbk_ack_prefix_encode(ack, out);
    assert_in_range(size, 1, DBK_ACK_PREFIX_SIZE_MAX);
    size_t numbers = dbk_ack_numbers_encode(ack, out + size);
    assert_in_range(numbers, 9, DBK_ACK_NUMBERS_SIZE_MAX);
    return size + numbers;
}

static void reply_subjects_are_written_and_read(void **state) {
    (void)state;
    static const struct {
        const char *domain;
        const char *account_hash;
        uint64_t numbers[4];
        int64_t time_ns;
        const char *subject;
    } cases[] = {
        {"", "", {1, 2, 3, 0}, 5, "$JS.ACK.ORDERS.mail.1.2.3.5.0"},
        {"",
         "",
         {10, 99, 100, 12345},
         1700000000000000000,
         "$JS.ACK.ORDERS.mail.10.99.100.1700000000000000000.12345"},
        {"",
         "",
         {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX},
         INT64_MAX,
         "$JS.ACK.ORDERS.mail.18446744073709551615.18446744073709551615.18446744073709551615."
         "9223372036854775807.18446744073709551615"},
        {"", "HASH", {1, 2, 3, 4}, 5, "$JS.ACK._.HASH.ORDERS.mail.1.2.3.5.4"},
        {"hub", "HASH", {1, 2, 3, 4}, 5, "$JS.ACK.hub.HASH.ORDERS.mail.1.2.3.5.4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char subject[DBK_ACK_SUBJECT_SIZE_MAX];
        dbk_ack_subject ack = {.domain = daybook_text(cases[i].domain),
                               .account_hash = daybook_text(cases[i].account_hash),
                               .stream = daybook_text("ORDERS"),
                               .consumer = daybook_text("mail"),
                               .delivered = cases[i].numbers[0],
                               .stream_sequence = cases[i].numbers[1],
                               .consumer_sequence = cases[i].numbers[2],
                               .time_ns = cases[i].time_ns,
                               .pending = cases[i].numbers[3]};
        dbk_ack_subject read = {0};
        dbk_slice text = daybook_bytes(subject, encode(&ack, subject));
        expect_slice(text, cases[i].subject);
        assert_true(dbk_ack_subject_decode(text, &read));
        expect_slice(read.domain, cases[i].domain);
        expect_slice(read.account_hash, cases[i].account_hash);
        expect_slice(read.stream, "ORDERS");
        expect_slice(read.consumer, "mail");
        assert_int_equal(read.is_v2, cases[i].account_hash[0] != '\0');
        assert_true(read.delivered == ack.delivered && read.stream_sequence == ack.stream_sequence &&
                    read.consumer_sequence == ack.consumer_sequence && read.time_ns == ack.time_ns &&
                    read.pending == ack.pending);
    }
}

static void the_longest_names_fit(void **state) {
    (void)state;
    char name[DBK_ACK_NAME_SIZE_MAX + 1], subject[DBK_ACK_SUBJECT_SIZE_MAX];
    memset(name, 'n', sizeof name);
    dbk_slice longest = daybook_bytes(name, DBK_ACK_NAME_SIZE_MAX), longer = daybook_bytes(name, sizeof name);
    dbk_ack_subject ack = {longest,    longest,    longest,   longest,    UINT64_MAX,
                           UINT64_MAX, UINT64_MAX, INT64_MAX, UINT64_MAX, true};
    dbk_ack_subject read;
    assert_true(dbk_ack_subject_decode(daybook_bytes(subject, encode(&ack, subject)), &read));
    assert_true(dbk_slice_equal(read.consumer, longest));
    dbk_slice *const names[] = {&ack.domain, &ack.account_hash, &ack.stream, &ack.consumer};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *names[i] = longer;
        assert_int_equal(dbk_ack_prefix_encode(&ack, subject), 0);
        *names[i] = longest;
    }
    ack.time_ns = -1; // before 1970: there is no way to say it
    assert_true(dbk_ack_subject_decode(daybook_bytes(subject, encode(&ack, subject)), &read));
    assert_int_equal(read.time_ns, 0);
}

static void other_subjects_are_none(void **state) {
    (void)state;
    static const char *const subjects[] = {
        "",
        "$",
        "$JS.ACK",
        "$JS.ACK.S.C.1.2.3.4",
        "$JS.ACK.S.C.1.2.3.4.5.6",
        "$JS.ACK._.H.S.C.1.2.3.4",
        "$JS.ACK..C.1.2.3.4.5",
        "$JS.ACK.S..1.2.3.4.5",
        "$JS.ACK.S.C..2.3.4.5",
        "$JS.ACK.S.C.1.2.3.4.",
        "$JS.ACK.S.C.1.2.3.4.x",
        "$JS.ACK.S.C.-1.2.3.4.5",
        "$JS.ACK.S.C.+1.2.3.4.5",
        "$JS.ACK.S.C.1.2.3.9223372036854775808.5",
        "$JS.ACK.S.C.1.18446744073709551616.3.4.5",
        "$JS.ACK.S.C.1.999999999999999999999999999999.3.4.5",
        "$JS.NAK.S.C.1.2.3.4.5",
        "$js.ack.S.C.1.2.3.4.5",
        "x$JS.ACK.S.C.1.2.3.4.5",
        "........",
        "..........",
        "............................",
        "$JS.ACK.d.h.S.C.1.2.3.x.5",
    };
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        dbk_ack_subject ack;
        if (dbk_ack_subject_decode(daybook_text(subjects[i]), &ack)) fail_msg("'%s'", subjects[i]);
    }
}

static void tokens_behind_the_second_form_are_passed_over(void **state) {
    (void)state;
    static const char *const subjects[] = {"$JS.ACK.d.h.S.C.1.2.3.4.5", "$JS.ACK.d.h.S.C.1.2.3.4.5.token",
                                           "$JS.ACK.d.h.S.C.1.2.3.4.5.a.b.c", "$JS.ACK.d..S.C.1.2.3.4.5"};
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        dbk_ack_subject ack;
        assert_true(dbk_ack_subject_decode(daybook_text(subjects[i]), &ack));
        expect_slice(ack.domain, "d");
        expect_slice(ack.consumer, "C");
        assert_true(ack.is_v2);
        assert_int_equal(ack.pending, 5);
    }
}

static void bodies_are_understood(void **state) {
    (void)state;
    static const struct {
        const char *body;
        dbk_ack_kind kind;
        const char *text;
        int64_t delay_ns;
        bool is_delay_garbled;
    } cases[] = {
        {"", DBK_ACK_DONE, "", 0, false},
        {"+ACK", DBK_ACK_DONE, "", 0, false},
        {"+OK", DBK_ACK_DONE, "", 0, false},
        {"+WPI", DBK_ACK_PROGRESS, "", 0, false},
        {"+TERM", DBK_ACK_TERM, "", 0, false},
        {"+TERM  broken for good \r\n", DBK_ACK_TERM, "broken for good", 0, false},
        {"+NXT", DBK_ACK_NEXT, "", 0, false},
        {"+NXT 5", DBK_ACK_NEXT, "5", 0, false},
        {"+NXT {\"batch\":5}", DBK_ACK_NEXT, "{\"batch\":5}", 0, false},
        {"-NAK", DBK_ACK_AGAIN, "", 0, false},
        {"-NAK ", DBK_ACK_AGAIN, "", 0, false},
        {"-NAK 5s", DBK_ACK_AGAIN, "5s", 5000000000, false},
        {"-NAK {\"delay\": 5000}", DBK_ACK_AGAIN, "{\"delay\": 5000}", 5000, false},
        {"-NAK {\"delay\":-1}", DBK_ACK_AGAIN, "{\"delay\":-1}", -1, false},
        {"-NAK {\"Delay\" : 7 }", DBK_ACK_AGAIN, "{\"Delay\" : 7 }", 7, false},
        {"-NAK {}", DBK_ACK_AGAIN, "{}", 0, false},
        {"-NAK{\"delay\":5}", DBK_ACK_AGAIN, "{\"delay\":5}", 5, false},
        {"-NAK {\"x\":{\"delay\":3},\"y\":[1,\"}\\\"\"],\"delay\":5}", DBK_ACK_AGAIN,
         "{\"x\":{\"delay\":3},\"y\":[1,\"}\\\"\"],\"delay\":5}", 5, false},
        {"-NAK {\"delay\":9223372036854775807}", DBK_ACK_AGAIN, "{\"delay\":9223372036854775807}", INT64_MAX,
         false},
        {"-NAK {\"delay\":9223372036854775808}", DBK_ACK_AGAIN, "{\"delay\":9223372036854775808}", 0, true},
        {"-NAK {\"delay\":\"5s\"}", DBK_ACK_AGAIN, "{\"delay\":\"5s\"}", 0, true},
        {"-NAK {\"delay\":1.5}", DBK_ACK_AGAIN, "{\"delay\":1.5}", 0, true},
        {"-NAK {\"delay\":}", DBK_ACK_AGAIN, "{\"delay\":}", 0, true},
        {"-NAK {\"delay\":5", DBK_ACK_AGAIN, "{\"delay\":5", 0, true},
        {"-NAK {\"delay\":5}}", DBK_ACK_AGAIN, "{\"delay\":5}}", 0, true},
        {"-NAK {\"delay\"", DBK_ACK_AGAIN, "{\"delay\"", 0, true},
        {"-NAK {\"delay", DBK_ACK_AGAIN, "{\"delay", 0, true},
        {"-NAK {\"a\":\"\\", DBK_ACK_AGAIN, "{\"a\":\"\\", 0, true},
        {"-NAK {\"a\":]}", DBK_ACK_AGAIN, "{\"a\":]}", 0, true},
        {"-NAK {delay:5}", DBK_ACK_AGAIN, "{delay:5}", 0, true},
        {"-NAK {", DBK_ACK_AGAIN, "{", 0, true},
        {"-NAK soon", DBK_ACK_AGAIN, "soon", 0, true},
        {"-NAK 5", DBK_ACK_AGAIN, "5", 0, true},
        {"+ACK ", DBK_ACK_UNKNOWN, "", 0, false},
        {"+ACKx", DBK_ACK_UNKNOWN, "", 0, false},
        {"+ack", DBK_ACK_UNKNOWN, "", 0, false},
        {"+WPI 1", DBK_ACK_UNKNOWN, "", 0, false},
        {"+", DBK_ACK_UNKNOWN, "", 0, false},
        {"hello", DBK_ACK_UNKNOWN, "", 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dbk_ack_body ack = dbk_ack_body_read(daybook_text(cases[i].body));
        if (ack.kind != cases[i].kind || ack.delay_ns != cases[i].delay_ns ||
            ack.is_delay_garbled != cases[i].is_delay_garbled)
            fail_msg("'%s' is %d, %lld, %d", cases[i].body, (int)ack.kind, (long long)ack.delay_ns,
                     ack.is_delay_garbled);
        expect_slice(ack.text, cases[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reply_subjects_are_written_and_read),
        cmocka_unit_test(the_longest_names_fit),
        cmocka_unit_test(other_subjects_are_none),
        cmocka_unit_test(tokens_behind_the_second_form_are_passed_over),
        cmocka_unit_test(bodies_are_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
