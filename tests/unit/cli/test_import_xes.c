// SPDX-License-Identifier: Apache-2.0
#include "import_testing.h"

static void assert_events_of(const void *text, size_t size, const char *expected) {
    const char *path = file_of(text, size);
    cli_import_source *source;
    cli_import_problem problem = {.status = DAYBOOK_OK};
    cli_output out;
    cli_output_init(&out, -1);
    daybook_status status = cli_import_xes_open(NULL, path, &source, &problem);
    while (status == DAYBOOK_OK) {
        cli_import_record record;
        status = source->next(source, &record, &problem);
        if (status == DAYBOOK_OK) put_record(&out, &record);
    }
    (void)unlink(path);
    if (status != DAYBOOK_END) {
        cli_put_format(&out, "%llu:%llu %s", (unsigned long long)problem.place.line,
                       (unsigned long long)problem.place.column, problem.message);
    }
    if (source != NULL) source->close(source);
    if (status != DAYBOOK_END && strlen(expected) < out.size) out.size = strlen(expected);
    assert_text(&out, expected);
    cli_output_deinit(&out);
}

static void assert_events(const char *text, const char *expected) {
    assert_events_of(text, strlen(text), expected);
}

static void events_carry_their_attributes_and_those_of_their_trace(void **state) {
    (void)state;
    assert_events("<?xml version='1.0' encoding='UTF-8'?>\n<log xes.version='1.0'><extension name='Concept'/>"
                  "<global scope='event'><string key='concept:name' value='x'/></global>"
                  "<string key='concept:name' value='of the log'/>"
                  "<trace><string key='concept:name' value='c1'/>"
                  "<event><string key='concept:name' value='A &amp; B'/><int key='n' value='7'/></event>"
                  "<event><string key='concept:name' value='C'/></event></trace>"
                  "<trace><string key='concept:name' value='c2'/>"
                  "<event><date key='time:timestamp' value='2011-10-11T13:45:40.276+02:00'/></event></trace>"
                  "<event><string key='concept:name' value='alone'/></event></log>",
                  "concept:name=A & B|n=<7>|case:concept:name=c1\n"
                  "concept:name=C|case:concept:name=c1\n"
                  "time:timestamp=2011-10-11T13:45:40.276+02:00|case:concept:name=c2\n"
                  "concept:name=alone\n");
}

#define EVENT(attributes) "<log><trace><event>" attributes "</event></trace></log>"

static void values_keep_their_types(void **state) {
    (void)state;
    assert_events(EVENT("<int key='a' value='+007'/><int key='b' value='-0'/><int key='c' value='-12'/>"),
                  "a=<7>|b=<0>|c=<-12>\n");
    assert_events(
        EVENT("<float key='a' value='1.50'/><float key='b' value='.5'/><float key='c' value='NaN'/>"),
        "a=<1.50>|b=<0.5>|c=NaN\n");
    assert_events(
        EVENT("<boolean key='a' value='true'/><boolean key='b' value='false'/><id key='c' value='u-1'/>"),
        "a=<true>|b=<false>|c=u-1\n");
    assert_events(EVENT("<string key='a' value=''/>"), "a=\n");
}

static void nested_attributes_are_flattened(void **state) {
    (void)state;
    assert_events(
        EVENT("<string key='a' value='1'><int key='b' value='2'><int key='c' value='3'/></int></string>"
              "<int key='z' value='0'/>"),
        "a=1|a.b=<2>|a.b.c=<3>|z=<0>\n");
    assert_events(EVENT("<container key='c'><int key='b' value='2'/><string key='d' value='x'/></container>"),
                  "c.b=<2>|c.d=x\n");
    assert_events(
        EVENT(
            "<list key='l'><values><string key='i' value='a&quot;'/><int key='i' value='2'/></values></list>"
            "<int key='z' value='0'/>"),
        "l=<[\"a\\\"\",2]>|z=<0>\n");
    assert_events(
        EVENT("<list key='l'><container key='c'><int key='a' value='1'><int key='m' value='9'/></int>"
              "<list key='k'><int key='x' value='5'/></list></container><list key='e'/></list>"),
        "l=<[{\"a\":1,\"a.m\":9,\"k\":[5]},[]]>\n");
    assert_events("<log><trace><container key='c'><int key='b' value='2'/></container><event/></trace></log>",
                  "case:c.b=<2>\n");
}

static void of_two_attributes_of_one_key_the_last_counts(void **state) {
    (void)state;
    assert_events(EVENT("<int key='a' value='1'/><int key='b' value='1'/><string key='a' value='x'/>"),
                  "a=x|b=<1>\n");
    assert_events("<log><trace><string key='a' value='t'/><event><string key='case:a' "
                  "value='e'/></event></trace></log>",
                  "case:a=e\n");
}

static void malformed_logs_are_told_with_line_and_column(void **state) {
    (void)state;
    assert_events("", "1:1 malformed XML: no element found");
    assert_events("a,b\n1,2\n", "1:1 malformed XML");
    assert_events("<html/>", "1:1 the file is no XES");
    assert_events("<log><trace><event>\n</trace></log>", "2:3 malformed XML: mismatched tag");
    assert_events("<log><trace><event/>\n<string key='a' value='b'/></trace></log>",
                  "\n2:1 an attribute of the trace");
    assert_events("<log><trace>\n <event><int key='a' value='1.5'/></event></trace></log>",
                  "2:9 \"1.5\" is no int");
    assert_events(EVENT("<float key='a' value='x'/>"), "1:20 \"x\" is no float");
    assert_events(EVENT("<boolean key='a' value='maybe'/>"), "1:20 \"maybe\" is no boolean");
    assert_events(EVENT("<string key='a'/>"), "1:20 <string> has no value");
    assert_events(EVENT("<string value='a'/>"), "1:20 <string> has no key");
    assert_events(EVENT("<thing key='a' value='a'/>"), "1:20 an element <thing>");
    assert_events("<log><trace><event/></trace>", "\n1:29 malformed XML: no element found");
}

static void bombs_are_refused(void **state) {
    (void)state;
    assert_events("<!DOCTYPE log [<!ENTITY a 'xxxxxxxxxx'>\n<!ENTITY b '&a;&a;&a;'>]>"
                  "<log><trace><event><string key='k' value='&b;'/></event></trace></log>",
                  "1:27 it declares the entity");
    cli_output text;
    cli_output_init(&text, -1);
    cli_puts(&text, "<log><trace><event>");
    for (int i = 0; i < 100000; i++) cli_puts(&text, "<container key='c'>");
    assert_events_of(text.data, text.size, "1:1");
    text.size = 0;
    cli_puts(&text, "<log><trace><event>");
    for (int i = 0; i < 5000; i++) cli_put_format(&text, "<int key='%d' value='1'/>", i);
    assert_events_of(text.data, text.size, "1:");
    text.size = 0;
    cli_puts(&text, "<log><trace><event><string key='a' value='");
    char *room = cli_output_reserve(&text, 40 * 1024 * 1024);
    memset(room, 'x', 40 * 1024 * 1024);
    text.size += 40 * 1024 * 1024;
    assert_events_of(text.data, text.size, "1:20 one XML tag or text is longer");
    cli_output_deinit(&text);
}

static void many_events_stream_over_chunks(void **state) {
    (void)state;
    cli_output text, expected;
    cli_output_init(&text, -1);
    cli_output_init(&expected, -1);
    cli_puts(&text, "<log>");
    for (unsigned t = 0; text.size < 2 * CLI_IMPORT_CHUNK_SIZE; t++) {
        cli_put_format(&text, "<trace><string key='n' value='%u'/>\n", t);
        for (unsigned e = 0; e < t % 7; e++) {
            cli_put_format(&text, "<event><int key='e' value='%u'/></event>", e);
            cli_put_format(&expected, "e=<%u>|case:n=%u\n", e, t);
        }
        cli_puts(&text, "</trace>");
    }
    cli_puts(&text, "</log>\n");
    cli_put_char(&expected, '\0');
    assert_events_of(text.data, text.size, expected.data);
    cli_output_deinit(&text);
    cli_output_deinit(&expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_carry_their_attributes_and_those_of_their_trace),
        cmocka_unit_test(values_keep_their_types),
        cmocka_unit_test(nested_attributes_are_flattened),
        cmocka_unit_test(of_two_attributes_of_one_key_the_last_counts),
        cmocka_unit_test(malformed_logs_are_told_with_line_and_column),
        cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(many_events_stream_over_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
