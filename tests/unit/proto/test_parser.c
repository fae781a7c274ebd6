// SPDX-License-Identifier: Apache-2.0
#include "proto/parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

enum { LINE_SIZE_MAX = 64, PAYLOAD_SIZE_MAX = 100, TRANSCRIPT_SIZE_MAX = 4096 };

static const dbk_proto_limits limits = {LINE_SIZE_MAX, PAYLOAD_SIZE_MAX, false};

static const char *const verb_names[] = {"PUB",  "HPUB",    "SUB",  "UNSUB", "PING",
                                         "PONG", "CONNECT", "INFO", "+OK",   "-ERR"};
static const char *const result_names[] = {
    "",         "more",          "not connect",       "unknown",        "bad fields",
    "bad size", "line too long", "payload too large", "bad payload end"};

// What was understood, as a text to compare: operations parted by bars, at the end why it stopped.
typedef struct transcript {
    char text[TRANSCRIPT_SIZE_MAX];
    size_t size;
} transcript;

static void say(transcript *said, const char *name, dbk_slice value) {
    if (value.size == 0 && name[0] != '\0') return;
    int size = snprintf(said->text + said->size, sizeof said->text - said->size, "%s%.*s", name,
                        (int)value.size, value.size == 0 ? "" : (const char *)value.data);
    assert_true(size >= 0 && said->size + (size_t)size < sizeof said->text);
    said->size += (size_t)size;
}

static void say_operation(transcript *said, const dbk_proto_operation *operation) {
    char numbers[64] = "";
    say(said, "", daybook_text(verb_names[operation->verb]));
    say(said, " subject=", operation->subject);
    say(said, " reply=", operation->reply);
    say(said, " group=", operation->queue_group);
    say(said, " sid=", operation->sid);
    if (operation->max > 0)
        (void)snprintf(numbers, sizeof numbers, " max=%llu", (unsigned long long)operation->max);
    if (operation->header_size > 0)
        (void)snprintf(numbers, sizeof numbers, " headers=%zu", operation->header_size);
    say(said, "", daybook_text(numbers));
    if (operation->verb >= DBK_PROTO_PING) say(said, " text=", operation->text);
    if (operation->verb <= DBK_PROTO_HPUB) {
        say(said, " payload=", operation->payload);
        assert_true(operation->payload.data != NULL);
    }
    say(said, "", daybook_text("|"));
}

// All of `input` that has arrived is at the end of a block of its own, so that a sanitizer sees a read past it.
static dbk_proto_result read_all(const char *input, size_t size, size_t step, dbk_proto_limits with,
                                 transcript *said) {
    dbk_proto_parser parser = {.limits = with};
    dbk_proto_operation operation;
    dbk_proto_result result = DBK_PROTO_MORE;
    size_t taken = 0, arrived = 0;
    said->size = 0;
    said->text[0] = '\0';
    while (arrived < size) {
        arrived = arrived + step > size ? size : arrived + step;
        for (;;) {
            size_t left = arrived - taken;
            char *copy = malloc(left + 1);
            assert_non_null(copy);
            if (left > 0) memcpy(copy + 1, input + taken, left);
            result = dbk_proto_next(&parser, daybook_bytes(copy + 1, left), &operation);
            if (result == DBK_PROTO_OPERATION) say_operation(said, &operation);
            free(copy);
            if (result != DBK_PROTO_OPERATION) break;
            assert_true(operation.size > 0 && operation.size <= left);
            taken += operation.size;
        }
        if (result == DBK_PROTO_MORE && parser.wanted > 0) assert_true(parser.wanted > arrived - taken);
        if (result != DBK_PROTO_MORE) break;
    }
    // A whole number of operations leaves nothing.
    if (result != DBK_PROTO_MORE || taken < size) say(said, "", daybook_text(result_names[result]));
    return result;
}

static void expect(const char *input, size_t size, dbk_proto_limits with, const char *expected) {
    static transcript said;
    for (size_t step = 1; step <= size; step = step < 9 ? step + 1 : step * 2) {
        (void)read_all(input, size, step, with, &said);
        if (strcmp(said.text, expected) != 0)
            fail_msg("'%s' by %zu bytes gives '%s', not '%s'", input, step, said.text, expected);
    }
    (void)read_all(input, size, size, with, &said);
    assert_string_equal(said.text, expected);
}

typedef struct input_case {
    const char *input;
    const char *expected;
} input_case;

static void expect_cases(const input_case *cases, size_t count) {
    for (size_t i = 0; i < count; i++)
        expect(cases[i].input, strlen(cases[i].input), limits, cases[i].expected);
}
#define EXPECT_CASES(cases) expect_cases(cases, sizeof(cases) / sizeof(cases)[0])

static void operations_are_understood(void **state) {
    (void)state;
    static const input_case cases[] = {
        {"PING\r\n", "PING|"},
        {"PONG\r\n", "PONG|"},
        {"ping\n", "PING|"},
        {"PiNg\r\n", "PING|"},
        {"PINGPONG\r\n", "PING text=PONG|"}, // passed over, as nats-server does
        {"PING  x y \r\n", "PING text=x y|"},
        {"+OK\r\n", "+OK|"},
        {"-ERR 'Stale Connection'\r\n", "-ERR text='Stale Connection'|"},
        {"INFO {\"a\":1}\r\n", "INFO text={\"a\":1}|"},
        {"CONNECT {\"a\": 1}\r\n", "CONNECT text={\"a\": 1}|"},
        {"connect\t {\"a\": 1} \t\r\n", "CONNECT text={\"a\": 1}|"},
        {"CONNECT{}\n", "CONNECT text={}|"},
        {"CONNECT\r\n", "CONNECT|"},
        {"SUB a.b 1\r\n", "SUB subject=a.b sid=1|"},
        {"sub \t a.*  q \t x7 \r\n", "SUB subject=a.* group=q sid=x7|"},
        {"SUB a\r1\r\n", "SUB subject=a sid=1|"}, // a CR never gets into a field
        {"UNSUB 1\r\n", "UNSUB sid=1|"},
        {"UNSUB 1 5\r\n", "UNSUB sid=1 max=5|"},
        {"UNSUB 1 007\r\n", "UNSUB sid=1 max=7|"},
        {"UNSUB 1 -5\r\n", "UNSUB sid=1|"},
        {"UNSUB 1 x\r\n", "UNSUB sid=1|"},
        {"UNSUB 1 999999999999999999\r\n", "UNSUB sid=1 max=999999999999999999|"},
        {"UNSUB 1 9999999999999999999\r\n", "UNSUB sid=1|"},
        {"PUB a 2\r\nhi\r\n", "PUB subject=a payload=hi|"},
        {"PUB a 0\r\n\r\n", "PUB subject=a|"},
        {"PUB a r.1 2\r\nhi\r\n", "PUB subject=a reply=r.1 payload=hi|"},
        {"pub\ta\tr.1\t0002\nhi\r\n", "PUB subject=a reply=r.1 payload=hi|"},
        {"PUB a 4\r\n\r\n\r\n\r\n", "PUB subject=a payload=\r\n\r\n|"},
        {"HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", "HPUB subject=a headers=12 payload=NATS/1.0\r\n\r\nhi|"},
        {"HPUB a r 12 12\r\nNATS/1.0\r\n\r\n\r\n",
         "HPUB subject=a reply=r headers=12 payload=NATS/1.0\r\n\r\n|"},
        {"hpub a 0 2\r\nhi\r\n", "HPUB subject=a payload=hi|"},
        {"PUB a 1\r\nx\r\nPUB b 1\r\ny\r\nPING\r\nUNSUB 3\r\n",
         "PUB subject=a payload=x|PUB subject=b payload=y|PING|UNSUB sid=3|"},
        {"PUB  a..b 1\r\nx\r\n", "PUB subject=a..b payload=x|"}, // subjects are judged elsewhere
        {"SUB \xff\xfe 1\r\n", "SUB subject=\xff\xfe sid=1|"},
    };
    EXPECT_CASES(cases);
}

static void what_is_cut_off_waits(void **state) {
    (void)state;
    static const input_case cases[] = {
        {"", ""},
        {"P", "more"},
        {"CONNEC", "more"},
        {"CONNECT", "more"},
        {"PING", "more"},
        {"PING\r", "more"},
        {"PUB", "more"},
        {"PUB a 1", "more"},
        {"-ER", "more"},
        {"PUB a 1\r", "more"},
        {"PUB a 1\r\n", "more"},
        {"PUB a 1\r\nx", "more"},
        {"+O", "more"},
        {"PUB a 1\r\nx\r", "more"},
        {"PUB a 0\r\n", "more"},
        {"PUB a 0\r\n\r", "more"},
        {"PING\r\nSU", "PING|more"},
    };
    EXPECT_CASES(cases);
}

static void errors_are_told(void **state) {
    (void)state;
    static const input_case cases[] = {
        {"X", "unknown"}, // at once: nobody sends a line end after rubbish
        {"\r\n", "unknown"},
        {"\n", "unknown"},
        {" PING\r\n", "unknown"},
        {"GET / HTTP/1.1\r\n", "unknown"},
        {"\x16\x03\x01", "unknown"}, // a TLS handshake
        {"PUBX", "unknown"},
        {"PUB\r\n", "unknown"},
        {"PUB\n", "unknown"},
        {"SUB\r\n", "unknown"},
        {"UNSUB\n", "unknown"},
        {"HPUB\r", "unknown"},
        {"-ERR\r\n", "unknown"},
        {"PIN\r\n", "unknown"},
        {"MSG a 1 1\r\nx\r\n", "unknown"},
        {"HMSG a 1 1 1\r\nx\r\n", "unknown"},
        {"CONNEXT", "unknown"},
        {"PING\r\nrubbish", "PING|unknown"},
        {"PUB \r\n", "bad fields"},
        {"PUB a\r\n", "bad fields"},
        {"PUB a b c 1\r\n", "bad fields"},
        {"PUB a b c d e f g 1\r\n", "bad fields"},
        {"HPUB a 1\r\n", "bad fields"},
        {"HPUB a b c 1 1\r\n", "bad fields"},
        {"SUB \r\n", "bad fields"},
        {"SUB a\r\n", "bad fields"},
        {"SUB a b c d\r\n", "bad fields"},
        {"UNSUB \r\n", "bad fields"},
        {"UNSUB 1 2 3\r\n", "bad fields"},
        {"PUB a b\r\n", "bad size"},
        {"PUB a -1\r\n", "bad size"},
        {"PUB a +5\r\n", "bad size"},
        {"PUB a 1x\r\n", "bad size"},
        {"PUB a 0x1\r\n", "bad size"},
        {"PUB a 1.0\r\n", "bad size"},
        {"PUB a 2147483648\r\n", "bad size"}, // ten digits
        {"PUB a 9223372036854775808\r\n", "bad size"},
        {"PUB a 18446744073709551616\r\n", "bad size"},
        {"PUB a 1111111111111111111111111111111111111111111111111111\r\n", "bad size"},
        {"HPUB a x 5\r\n", "bad size"},
        {"HPUB a 5 x\r\n", "bad size"},
        {"HPUB a -1 5\r\n", "bad size"},
        {"HPUB a 6 5\r\n", "bad size"},
        {"PUB a 101\r\n", "payload too large"},
        {"PUB a 999999999\r\n", "payload too large"},
        {"HPUB a 12 101\r\n", "payload too large"},
        {"PUB a 1\r\nxy", "bad payload end"},
        {"PUB a 1\r\nx\n", "bad payload end"},
        {"PUB a 1\r\nx\rPING\r\n", "bad payload end"},
        {"PUB a 0\r\nPING\r\n", "bad payload end"},
        {"PUB a 5\r\nhi\r\nPING\r\n", "bad payload end"},
        {"PUB a 2\r\nhello\r\n", "bad payload end"},
    };
    EXPECT_CASES(cases);
}

static void bytes_of_any_value_are_payload(void **state) {
    (void)state;
    static const char input[] = "PUB a 3\r\n\0\r\n\r\nPUB a 1\r\n\0\r\n";
    static transcript said;
    dbk_proto_parser parser = {.limits = limits};
    dbk_proto_operation operation;
    assert_int_equal(dbk_proto_next(&parser, daybook_bytes(input, sizeof input - 1), &operation),
                     DBK_PROTO_OPERATION);
    assert_int_equal(operation.payload.size, 3);
    assert_memory_equal(operation.payload.data, "\0\r\n", 3);
    for (size_t step = 1; step < sizeof input; step++)
        assert_int_equal(read_all(input, sizeof input - 1, step, limits, &said), DBK_PROTO_MORE);
    // NUL in a line is a byte like others here.
    static const char line[] = "SUB a\0b 1\r\n";
    parser = (dbk_proto_parser){.limits = limits};
    assert_int_equal(dbk_proto_next(&parser, daybook_bytes(line, sizeof line - 1), &operation),
                     DBK_PROTO_OPERATION);
    assert_int_equal(operation.subject.size, 3);
}

// A line of exactly `size` bytes behind the verb and a blank.
static size_t make_line(char *out, const char *verb, size_t size, const char *end) {
    size_t verb_size = strlen(verb);
    memcpy(out, verb, verb_size);
    out[verb_size] = ' ';
    memset(out + verb_size + 1, 's', size);
    out[verb_size + 1 + size / 2] = ' ';
    memcpy(out + verb_size + 1 + size, end, strlen(end) + 1);
    return verb_size + 1 + size + strlen(end);
}

static void long_lines_are_refused_however_they_arrive(void **state) {
    (void)state;
    static const char *const verbs[] = {"SUB", "CONNECT", "INFO", "-ERR", "PING", "UNSUB"};
    static const char *const ends[] = {"\r\n", "\n"};
    static transcript said;
    char line[2 * LINE_SIZE_MAX + 32];
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        for (size_t j = 0; j < sizeof ends / sizeof *ends; j++) {
            for (size_t step = 1; step < sizeof line; step++) {
                size_t size = make_line(line, verbs[i], LINE_SIZE_MAX, ends[j]);
                assert_int_equal(read_all(line, size, step, limits, &said), DBK_PROTO_MORE);
                size = make_line(line, verbs[i], LINE_SIZE_MAX + 1, ends[j]);
                assert_int_equal(read_all(line, size, step, limits, &said), DBK_PROTO_LINE_TOO_LONG);
                size = make_line(line, verbs[i], 2 * LINE_SIZE_MAX, ends[j]);
                assert_int_equal(read_all(line, size, step, limits, &said), DBK_PROTO_LINE_TOO_LONG);
            }
        }
    }
    // Blanks count, so that nobody can send them for ever; and no more is kept than was said.
    memcpy(line, "SUB", 3);
    memset(line + 3, ' ', sizeof line - 3);
    dbk_proto_parser parser = {.limits = limits};
    dbk_proto_operation operation;
    size_t size = 1;
    while (dbk_proto_next(&parser, daybook_bytes(line, size), &operation) == DBK_PROTO_MORE) size++;
    assert_in_range(size, LINE_SIZE_MAX, dbk_proto_line_bytes_max(&limits) + 1);
}

static void before_it_is_known_who_is_there_only_connect_is_taken(void **state) {
    (void)state;
    dbk_proto_limits strict = limits;
    strict.connect_only = true;
    static const input_case cases[] = {
        {"CONNECT {}\r\n", "CONNECT text={}|"},
        {"c", "more"},
        {"PING\r\n", "not connect"},
        {"PUB a 100\r\n", "not connect"},
        {"rubbish", "not connect"},
        {"CONNEXT", "unknown"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(cases[i].input, strlen(cases[i].input), strict, cases[i].expected);
}

static void wanted_is_what_a_payload_needs(void **state) {
    (void)state;
    static const char input[] = "PUB a 50\r\n";
    dbk_proto_parser parser = {.limits = limits};
    dbk_proto_operation operation;
    assert_int_equal(dbk_proto_next(&parser, daybook_bytes(input, 4), &operation), DBK_PROTO_MORE);
    assert_int_equal(parser.wanted, 0);
    assert_int_equal(dbk_proto_next(&parser, daybook_bytes(input, sizeof input - 1), &operation),
                     DBK_PROTO_MORE);
    assert_int_equal(parser.wanted, sizeof input - 1 + 50 + 2);
}

static void too_large_a_payload_is_told_with_its_subject(void **state) {
    (void)state;
    static const char input[] = "PUB a.b r 101\r\n";
    dbk_proto_parser parser = {.limits = limits};
    dbk_proto_operation operation;
    assert_int_equal(dbk_proto_next(&parser, daybook_bytes(input, sizeof input - 1), &operation),
                     DBK_PROTO_PAYLOAD_TOO_LARGE);
    assert_true(dbk_slice_equal(operation.subject, daybook_text("a.b")));
    assert_true(dbk_slice_equal(operation.reply, daybook_text("r")));
    assert_true(dbk_slice_equal(operation.text, daybook_text("a.b r 101")));
    assert_int_equal(operation.verb, DBK_PROTO_PUB);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_are_understood),
        cmocka_unit_test(what_is_cut_off_waits),
        cmocka_unit_test(errors_are_told),
        cmocka_unit_test(bytes_of_any_value_are_payload),
        cmocka_unit_test(long_lines_are_refused_however_they_arrive),
        cmocka_unit_test(before_it_is_known_who_is_there_only_connect_is_taken),
        cmocka_unit_test(wanted_is_what_a_payload_needs),
        cmocka_unit_test(too_large_a_payload_is_told_with_its_subject),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
