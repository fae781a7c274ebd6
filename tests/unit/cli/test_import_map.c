// SPDX-License-Identifier: Apache-2.0
#include "import_testing.h"

#define COLUMN_COUNT_MAX 8

// One row of columns a, b, c ... as a record.
static void fill_record(cli_import_record *record, cli_import_field *fields, const char *const *values) {
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    size_t count = 0;
    for (; values[count] != NULL; count++) {
        fields[count] = (cli_import_field){.name = daybook_text(names[count]),
                                           .value = daybook_text(values[count]),
                                           .hidden = values[count][0] == '\0',
                                           .place = {3, 10 * count + 1}};
    }
    *record = (cli_import_record){.fields = fields, .field_count = count, .place = {3, 1}};
}

static void assert_event(const cli_import_mapping *mapping, const char *const *values, const char *expected) {
    static const cli_import_source source = {.columns = NULL};
    cli_import_problem problem;
    cli_import_map *map;
    assert_int_equal(cli_import_map_new(mapping, &source, &map, &problem), DAYBOOK_OK);
    cli_import_field fields[COLUMN_COUNT_MAX];
    cli_import_record record;
    fill_record(&record, fields, values);
    cli_output out;
    cli_output_init(&out, -1);
    // Twice: nothing of the first round may show in the second.
    for (int round = 0; round < 2; round++) {
        out.size = 0;
        daybook_event event;
        daybook_status status = cli_import_map_apply(map, &record, &event, &problem);
        if (status != DAYBOOK_OK) {
            cli_put_format(&out, "%llu:%llu %s", (unsigned long long)problem.place.line,
                           (unsigned long long)problem.place.column, problem.message);
            if (strlen(expected) < out.size) out.size = strlen(expected);
            continue;
        }
        cli_put_slice(&out, event.subject);
        if (event.time_ns != DAYBOOK_TIME_NONE) cli_put_format(&out, " %lld", (long long)event.time_ns);
        if (event.type.size > 0) cli_puts(&out, " type=");
        cli_put_slice(&out, event.type);
        if (event.id.size > 0) cli_puts(&out, " id=");
        cli_put_slice(&out, event.id);
        if (event.actor.size > 0) cli_puts(&out, " actor=");
        cli_put_slice(&out, event.actor);
        for (size_t i = 0; i < event.tag_count; i++) {
            cli_puts(&out, " #");
            cli_put_slice(&out, event.tags[i]);
        }
        cli_put_char(&out, ' ');
        cli_put_slice(&out, event.data);
    }
    assert_text(&out, expected);
    cli_output_deinit(&out);
    cli_import_map_free(map);
}

#define VALUES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void columns_become_the_parts_of_an_event(void **state) {
    (void)state;
    cli_import_mapping mapping = {
        .subject = "p.{a}.{b|slug}", .time = "c", .type = "b", .id = "d", .actor = "e"};
    assert_event(
        &mapping, VALUES("c.1", "Do It", "1970-01-01 01:00:01.5+01:00", "i", "me"),
        "p.c%2E1.do_it 1500000000 type=Do It id=i actor=me "
        "{\"a\":\"c.1\",\"b\":\"Do It\",\"c\":\"1970-01-01 01:00:01.5+01:00\",\"d\":\"i\",\"e\":\"me\"}");
    assert_event(&mapping, VALUES("1", "x", "1970-01-01", "", " "),
                 "p.1.x 0 type=x {\"a\":\"1\",\"b\":\"x\",\"c\":\"1970-01-01\",\"e\":\" \"}");
}

static void tags_are_made_by_element_and_missing_ones_are_absent(void **state) {
    (void)state;
    const char *tags[] = {"i:{b|each}", "o:{c}", "{a}-{b|each|slug}"};
    cli_import_mapping mapping = {.subject = "p.{a}", .tags = tags, .tag_count = 3};
    assert_event(&mapping, VALUES("x", "['A 1','B']", "7"),
                 "p.x #i:A 1 #i:B #o:7 #x-a_1 #x-b {\"a\":\"x\",\"b\":\"['A 1','B']\",\"c\":\"7\"}");
    assert_event(&mapping, VALUES("x", " ", ""), "p.x {\"a\":\"x\",\"b\":\" \"}");
    assert_event(&mapping, VALUES("x", "[1,1]", " "),
                 "p.x #i:1 #x-1 {\"a\":\"x\",\"b\":\"[1,1]\",\"c\":\" \"}");
    assert_event(&mapping, VALUES("x"), "p.x {\"a\":\"x\"}");
}

static void what_is_missing_or_malformed_is_told_with_its_place(void **state) {
    (void)state;
    const char *tags[] = {"i:{c|each}"};
    cli_import_mapping mapping = {.subject = "p.{a}.{b|slug}", .time = "d", .tags = tags, .tag_count = 1};
    assert_event(&mapping, VALUES("", "x", "y", "2020-01-01"),
                 "3:1 \"a\" is empty, and the subject needs it");
    assert_event(&mapping, VALUES("a", "--", "y", "2020-01-01"), "3:11 \"b\" leaves nothing as a slug");
    assert_event(&mapping, VALUES("a"), "3:1 \"b\" is missing, and the subject needs it");
    assert_event(&mapping, VALUES("a", "b", "c"), "3:1 \"d\" is missing, and an event needs a time");
    assert_event(&mapping, VALUES("a", "b", "c", ""), "3:31 \"d\" is empty, and an event needs a time");
    assert_event(&mapping, VALUES("a", "b", "c", "yesterday"), "3:31 \"yesterday\" is no time");
    assert_event(&mapping, VALUES("a", "b", "c", "-90m"), "3:31 \"-90m\" is no time");
    assert_event(&mapping, VALUES("a", "b", "c", "2020-13-01"), "3:31 \"2020-13-01\" is no time");
    assert_event(&mapping, VALUES("a", "b", "[1", "2020-01-01"), "3:21 \"c\" is no list");
}

static void what_the_store_would_refuse_is_told_with_its_place(void **state) {
    (void)state;
    char longer[2000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    cli_import_mapping mapping = {.subject = "p.{a}", .actor = "b", .id = "c"};
    assert_event(&mapping, VALUES(longer), "3:1 the subject has 2001 bytes");
    longer[256] = '\0';
    assert_event(&mapping, VALUES("a", longer), "3:11 the actor has 256 bytes");
    assert_event(&mapping, VALUES("a", "b\xff"), "3:11 the actor is no UTF-8");
    assert_event(&mapping, VALUES("a", "b", "c\nd"), "3:21 the id has a control character");
}

static void control_characters_of_type_actor_and_tags_become_spaces(void **state) {
    (void)state;
    const char *tags[] = {"t:{b}", "e:{c|each}", "s:{b|slug}"};
    cli_import_mapping mapping = {
        .subject = "p.{a}", .type = "b", .actor = "d", .tags = tags, .tag_count = 3};
    // Runs that hold one become one space, none is left at the ends; other spaces and the data stay.
    assert_event(&mapping, VALUES("x\n", "Do \r\n\t it  now\n", "['\\tu\\x01 v\\n','w']", "\x7fme\n\nyou"),
                 "p.x%0A type=Do it  now actor=me you #t:Do it  now #e:u v #e:w #s:do_it_now "
                 "{\"a\":\"x\\n\",\"b\":\"Do \\r\\n\\t it  now\\n\",\"c\":\"['\\\\tu\\\\x01 v\\\\n','w']\","
                 "\"d\":\"\\u007fme\\n\\nyou\"}");
    // Nothing but them is blank.
    assert_event(&mapping, VALUES("x", "\n", "['\\n']", " \r "),
                 "p.x {\"a\":\"x\",\"b\":\"\\n\",\"c\":\"['\\\\n']\",\"d\":\" \\r \"}");
}

static void changed_values_are_counted(void **state) {
    (void)state;
    static const cli_import_source source = {.columns = NULL};
    const char *tags[] = {"t:{b}{c}", "e:{d|each}"};
    cli_import_mapping mapping = {
        .subject = "p.{a}", .type = "b", .actor = "c", .tags = tags, .tag_count = 2};
    cli_import_problem problem;
    cli_import_map *map;
    assert_int_equal(cli_import_map_new(&mapping, &source, &map, &problem), DAYBOOK_OK);
    cli_import_field fields[COLUMN_COUNT_MAX];
    cli_import_record record;
    daybook_event event;
    assert_int_equal(cli_import_map_replaced_count(map), 0);
    fill_record(&record, fields, VALUES("x", "plain", "me too", "['y']"));
    assert_int_equal(cli_import_map_apply(map, &record, &event, &problem), DAYBOOK_OK);
    assert_int_equal(cli_import_map_replaced_count(map), 0);
    fill_record(&record, fields, VALUES("x", "a\nb\nc", "d\te", "['f\\n','g','\\n']"));
    assert_int_equal(cli_import_map_apply(map, &record, &event, &problem), DAYBOOK_OK);
    assert_int_equal(cli_import_map_replaced_count(map),
                     5); // type, actor, one tag of two values, two elements
    cli_import_map_free(map);
}

static void unknown_columns_and_malformed_templates_are_refused_before_reading(void **state) {
    (void)state;
    daybook_slice columns[] = {daybook_text("a"), daybook_text("b")};
    cli_import_source source = {.columns = columns, .column_count = 2};
    cli_import_problem problem;
    cli_import_map *map;
    cli_import_mapping mapping = {.subject = "p.{a}", .time = "when"};
    assert_int_equal(cli_import_map_new(&mapping, &source, &map, &problem), DAYBOOK_EINVALID);
    assert_string_equal(problem.message, "there is no column \"when\"; there are: a, b");
    mapping.time = NULL;
    mapping.subject = "p.{x}";
    assert_int_equal(cli_import_map_new(&mapping, &source, &map, &problem), DAYBOOK_EINVALID);
    mapping.subject = "p.{a";
    assert_int_equal(cli_import_map_new(&mapping, &source, &map, &problem), DAYBOOK_EINVALID);
    mapping.subject = "p..{a}";
    assert_int_equal(cli_import_map_new(&mapping, &source, &map, &problem), DAYBOOK_EINVALID);
}

// Gives the ids of events with these data and times, joined; equal ids show as equal letters.
static void assert_ids(bool by_time, const char *data, const char *times, const char *expected) {
    cli_import_ids *ids = cli_import_ids_new(by_time);
    cli_import_problem problem;
    char seen[64][37], letters[65];
    size_t seen_count = 0, count = strlen(data);
    for (size_t i = 0; i < count; i++) {
        daybook_event event;
        daybook_event_init(&event);
        event.subject = daybook_text("a.b.c");
        event.data = (daybook_slice){data + i, 1};
        event.time_ns = times[i];
        assert_int_equal(cli_import_ids_apply(ids, &event, &problem), DAYBOOK_OK);
        assert_int_equal(event.id.size, 36);
        size_t k = 0;
        while (k < seen_count && memcmp(seen[k], event.id.data, 37) != 0) k++;
        if (k == seen_count) memcpy(seen[seen_count++], event.id.data, 37);
        letters[i] = (char)('A' + k);
    }
    letters[count] = '\0';
    assert_string_equal(letters, expected);
    cli_import_ids_free(ids);
}

static void equal_events_get_ids_of_their_own_and_the_same_each_time(void **state) {
    (void)state;
    assert_ids(true, "xyxx", "1111", "ABCD");
    assert_ids(false, "xyxx", "1111", "ABCD");
    assert_ids(true, "xxx", "123", "ABC");
    cli_import_problem problem;
    char first[2][37];
    for (int round = 0; round < 2; round++) {
        cli_import_ids *ids = cli_import_ids_new(round == 0);
        daybook_event event;
        for (int i = 0; i < 3; i++) {
            daybook_event_init(&event);
            event.subject = daybook_text("a.b.c");
            event.time_ns = 5;
            assert_int_equal(cli_import_ids_apply(ids, &event, &problem), DAYBOOK_OK);
        }
        memcpy(first[round], event.id.data, 37);
        cli_import_ids_free(ids);
    }
    assert_string_equal(first[0], first[1]);
}

static void ids_are_those_of_earlier_versions(void **state) {
    (void)state;
    cli_import_ids *ids = cli_import_ids_new(true);
    cli_import_problem problem;
    daybook_slice tags[] = {daybook_text("t:1")};
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("a.b.c");
    event.data = daybook_text("{\"a\":\"x\"}");
    event.actor = daybook_text("me");
    event.time_ns = 1500000000;
    event.tags = tags;
    event.tag_count = 1;
    daybook_event same = event;
    assert_int_equal(cli_import_ids_apply(ids, &event, &problem), DAYBOOK_OK);
    assert_string_equal(event.id.data, "73d2808b-b578-8e09-8432-e45338fb5cab");
    assert_int_equal(cli_import_ids_apply(ids, &same, &problem), DAYBOOK_OK);
    assert_string_equal(same.id.data, "07440f33-56ef-8d59-b6eb-43404cd8be4a");
    cli_import_ids_free(ids);
}

static void many_different_events_are_told_apart(void **state) {
    (void)state;
    cli_import_ids *ids = cli_import_ids_new(false);
    cli_import_problem problem;
    char first[37] = "", again[37];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 20000; i++) {
            char data[32];
            (void)snprintf(data, sizeof data, "%d", i);
            daybook_event event;
            daybook_event_init(&event);
            event.subject = daybook_text("a.b");
            event.data = daybook_text(data);
            assert_int_equal(cli_import_ids_apply(ids, &event, &problem), DAYBOOK_OK);
            if (i == 7) memcpy(round == 0 ? first : again, event.id.data, 37);
        }
    }
    assert_string_not_equal(first, again);
    cli_import_ids_free(ids);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_become_the_parts_of_an_event),
        cmocka_unit_test(tags_are_made_by_element_and_missing_ones_are_absent),
        cmocka_unit_test(what_is_missing_or_malformed_is_told_with_its_place),
        cmocka_unit_test(what_the_store_would_refuse_is_told_with_its_place),
        cmocka_unit_test(control_characters_of_type_actor_and_tags_become_spaces),
        cmocka_unit_test(changed_values_are_counted),
        cmocka_unit_test(unknown_columns_and_malformed_templates_are_refused_before_reading),
        cmocka_unit_test(equal_events_get_ids_of_their_own_and_the_same_each_time),
        cmocka_unit_test(ids_are_those_of_earlier_versions),
        cmocka_unit_test(many_different_events_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
