// SPDX-License-Identifier: Apache-2.0
//
// `append`: one event from the command line, the conditions of all appends, and what is said when one of them
// does not hold: which, what the current value is, and the events that were missed, which is what the caller
// needs to decide again.

#include "cli/append.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// --- Conditions ---

static daybook_condition *add_condition(cli_conditions *conditions, int kind) {
    daybook_condition *condition = &conditions->conditions[conditions->count++];
    daybook_condition_init(condition, kind);
    return condition;
}

// "[FILTER=]N": a subject may hold '=' itself, so the last one parts them.
static int take_subject_seq(cli_context *context, cli_conditions *conditions, const char *text) {
    const char *equals = strrchr(text, '=');
    const char *number = equals == NULL ? text : equals + 1;
    uint64_t expected;
    if (!cli_parse_number(daybook_text(number), &expected))
        return cli_fail(
            context, DAYBOOK_EINVALID,
            "cannot use --expect-subject-seq '%s': '%s' is no number from 0 to 18446744073709551615; give "
            "[FILTER=]N",
            text, number);
    daybook_condition *condition = add_condition(conditions, DAYBOOK_EXPECT_SUBJECT_SEQ);
    condition->expected = expected;
    if (equals == NULL) return CLI_FINE;
    condition->filter = daybook_bytes(text, (size_t)(equals - text));
    if (daybook_filter_is_valid(condition->filter)) return CLI_FINE;
    return cli_fail(
        context, DAYBOOK_ESUBJECT,
        "cannot use --expect-subject-seq '%s': what stands before '=' is no subject filter; give [FILTER=]N",
        text);
}

static int take_queries(cli_context *context, cli_conditions *conditions) {
    size_t count = cli_value_count(context, "fail-if");
    if (count == 0 && cli_given(context, "after"))
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot use --after alone: it says what --fail-if looks at; give --fail-if QUERY");
    if (count == 0) return CLI_FINE;
    conditions->queries = calloc(count, sizeof *conditions->queries);
    if (conditions->queries == NULL)
        return cli_fail(context, DAYBOOK_ENOMEM, "out of memory while reading the conditions");
    for (size_t i = 0; i < count; i++) {
        conditions->query_count++;
        int status =
            cli_parse_query_items(context, cli_value_text(context, "fail-if", i), &conditions->queries[i]);
        if (status != CLI_FINE) return status;
        daybook_condition *condition = add_condition(conditions, DAYBOOK_FAIL_IF_EVENTS_MATCH);
        condition->items = conditions->queries[i].items;
        condition->item_count = conditions->queries[i].count;
        condition->after = cli_number(context, "after", 0);
    }
    return CLI_FINE;
}

int cli_conditions_take(cli_context *context, cli_conditions *conditions) {
    memset(conditions, 0, sizeof *conditions);
    size_t subject_count = cli_value_count(context, "expect-subject-seq");
    if (subject_count + cli_value_count(context, "fail-if") + 2 > DAYBOOK_CONDITION_COUNT_MAX)
        return cli_fail(context, DAYBOOK_EINVALID,
                        "too many conditions: an append takes at most %d; give fewer",
                        DAYBOOK_CONDITION_COUNT_MAX);
    if (cli_given(context, "expect-seq"))
        add_condition(conditions, DAYBOOK_EXPECT_STREAM_SEQ)->expected = cli_number(context, "expect-seq", 0);
    if (cli_given(context, "expect-version"))
        add_condition(conditions, DAYBOOK_EXPECT_VERSION)->expected =
            cli_number(context, "expect-version", 0);
    for (size_t i = 0; i < subject_count; i++) {
        int status = take_subject_seq(context, conditions, cli_value_text(context, "expect-subject-seq", i));
        if (status != CLI_FINE) return status;
    }
    return take_queries(context, conditions);
}

void cli_conditions_release(cli_conditions *conditions) {
    for (size_t i = 0; i < conditions->query_count; i++) cli_query_items_release(&conditions->queries[i]);
    free(conditions->queries);
    memset(conditions, 0, sizeof *conditions);
}

// --- The missed events ---

// The tokens of the subject that name its aggregate in the stream; empty where it has none.
static daybook_slice aggregate_of(cli_context *context, daybook_slice stream, daybook_slice subject) {
    daybook_stream_info *info = NULL;
    daybook_slice none = {NULL, 0};
    if (daybook_stream_get_info(context->store, stream, &info, NULL) != DAYBOOK_OK) return none;
    uint32_t tokens = info->config.aggregate_tokens;
    daybook_stream_info_release(context->store, info);
    const char *text = subject.data;
    for (size_t i = 0; i < subject.size && tokens != 0; i++)
        if (text[i] == '.' && --tokens == 0) return daybook_bytes(text, i);
    return none;
}

typedef struct missed_query {
    daybook_query query;
    daybook_slice filter;
    char filter_text[DAYBOOK_SUBJECT_SIZE_MAX + 4];
} missed_query;

// What was missed is what is behind the place the caller had expected. 0 where nothing can be asked.
static int make_missed_query(cli_context *context, const daybook_condition *condition,
                             const daybook_event *first, missed_query *missed) {
    daybook_query *query = &missed->query;
    daybook_slice stream = condition->stream;
    daybook_query_init(query);
    if (stream.size == 0 && condition->kind != DAYBOOK_FAIL_IF_EVENTS_MATCH &&
        daybook_stream_find(context->store, first->subject, &stream, NULL) != DAYBOOK_OK)
        return 0;
    query->stream = stream;
    if (condition->kind == DAYBOOK_FAIL_IF_EVENTS_MATCH) {
        if (condition->after == UINT64_MAX) return 0;
        query->items = condition->items;
        query->item_count = condition->item_count;
        query->position_from = condition->after + 1;
        return 1;
    }
    if (condition->expected == UINT64_MAX) return 0;
    if (condition->kind == DAYBOOK_EXPECT_VERSION) {
        daybook_slice aggregate = condition->aggregate;
        if (aggregate.size == 0) aggregate = aggregate_of(context, stream, first->subject);
        if (aggregate.size == 0 || aggregate.size > DAYBOOK_SUBJECT_SIZE_MAX) return 0;
        memcpy(missed->filter_text, aggregate.data, aggregate.size);
        memcpy(missed->filter_text + aggregate.size, ".>", 2);
        missed->filter = daybook_bytes(missed->filter_text, aggregate.size + 2);
        query->version_from = condition->expected + 1;
    } else {
        missed->filter = condition->filter;
        if (condition->kind == DAYBOOK_EXPECT_SUBJECT_SEQ && missed->filter.size == 0)
            missed->filter = first->subject;
        query->seq_from = condition->expected + 1;
    }
    if (missed->filter.size != 0) {
        query->filters = &missed->filter;
        query->filter_count = 1;
    }
    return 1;
}

// What a condition says of itself, for people.
static void describe(const daybook_condition *condition, const daybook_error *error, char *text,
                     size_t size) {
    unsigned long long expected = error->expected, actual = error->actual;
    switch (condition->kind) {
    case DAYBOOK_EXPECT_STREAM_SEQ:
        (void)snprintf(text, size, "the stream is at seq %llu, expected %llu", actual, expected);
        return;
    case DAYBOOK_EXPECT_SUBJECT_SEQ:
        (void)snprintf(text, size, "the last matching event has seq %llu, expected %llu", actual, expected);
        return;
    case DAYBOOK_EXPECT_VERSION:
        (void)snprintf(text, size, "the aggregate is at version %llu, expected %llu", actual, expected);
        return;
    default:
        (void)snprintf(text, size,
                       "an event at position %llu matches the query, none behind position %llu was to",
                       actual, (unsigned long long)condition->after);
        return;
    }
}

static int fail_condition(cli_context *context, const daybook_error *error,
                          const daybook_condition *condition, const daybook_event *first, const char *about) {
    missed_query missed = {.filter = {NULL, 0}};
    int can_ask = make_missed_query(context, condition, first, &missed);
    char what[256], message[512];
    describe(condition, error, what, sizeof what);
    (void)snprintf(message, sizeof message, "%s%snot appended: %s", about == NULL ? "" : about,
                   about == NULL ? "" : ": ", what);
    uint64_t expected = condition->kind == DAYBOOK_FAIL_IF_EVENTS_MATCH ? condition->after : error->expected;
    return cli_fail_missed(context, message, expected, error->actual, can_ask ? &missed.query : NULL);
}

int cli_fail_append(cli_context *context, daybook_status status, const daybook_error *error,
                    const cli_conditions *conditions, const daybook_event *first, const char *about) {
    if (status == DAYBOOK_ECONFLICT && conditions != NULL && error->condition < conditions->count)
        return fail_condition(context, error, &conditions->conditions[error->condition], first, about);
    if (status == DAYBOOK_ENOSTREAM && context->no_create && error->message[0] == '\0')
        return cli_fail(context, status,
                        "no stream captures %.*s: --no-create is given; make one with daybook stream add",
                        (int)first->subject.size, (const char *)first->subject.data);
    return cli_fail_error(context, status, error, about);
}

// --- Receipts ---

void cli_put_receipt(cli_context *context, cli_output *out, const daybook_receipt *receipt,
                     daybook_slice id) {
    if (id.size == 0) id = daybook_text(receipt->id);
    int duplicate = (receipt->flags & DAYBOOK_RECEIPT_DUPLICATE) != 0;
    if (context->json) {
        cli_puts(out, "{\"stream\":");
        cli_put_json_string(out, receipt->stream);
        cli_puts(out, ",\"seq\":");
        cli_put_number(out, receipt->seq);
        cli_puts(out, ",\"position\":");
        cli_put_number(out, receipt->position);
        cli_puts(out, ",\"version\":");
        cli_put_number(out, receipt->version);
        cli_puts(out, ",\"id\":");
        cli_put_json_string(out, id);
        cli_puts(out, duplicate ? ",\"duplicate\":true" : ",\"duplicate\":false");
        if ((receipt->flags & DAYBOOK_RECEIPT_DIFFERS) != 0) cli_puts(out, ",\"differs\":true");
        if ((receipt->flags & DAYBOOK_RECEIPT_DELETED) != 0) cli_puts(out, ",\"deleted\":true");
        cli_puts(out, "}\n");
        return;
    }
    cli_put_slice(out, receipt->stream);
    cli_put_format(out, " seq %llu, position %llu", (unsigned long long)receipt->seq,
                   (unsigned long long)receipt->position);
    if (receipt->version != 0) cli_put_format(out, ", version %llu", (unsigned long long)receipt->version);
    cli_puts(out, ", id ");
    cli_put_plain(out, id, 0);
    if (duplicate) cli_puts(out, " (duplicate");
    if (duplicate && (receipt->flags & DAYBOOK_RECEIPT_DIFFERS) != 0) cli_puts(out, " with other content");
    if (duplicate && (receipt->flags & DAYBOOK_RECEIPT_DELETED) != 0) cli_puts(out, " of a deleted event");
    cli_puts(out, duplicate ? ": nothing was added)\n" : "\n");
}

void cli_note_stream(cli_context *context, const daybook_receipt *receipt) {
    if ((receipt->flags & DAYBOOK_RECEIPT_STREAM_CREATED) != 0)
        cli_note_created(context, "stream", receipt->stream);
}

// --- One event ---

static int take_headers(cli_context *context, daybook_header **headers_out, size_t *count_out) {
    size_t count = cli_value_count(context, "header");
    *headers_out = NULL;
    *count_out = count;
    if (count == 0) return CLI_FINE;
    daybook_header *headers = calloc(count, sizeof *headers);
    *headers_out = headers;
    if (headers == NULL) return cli_fail(context, DAYBOOK_ENOMEM, "out of memory while reading --header");
    size_t found = 0;
    for (size_t i = 0; i < context->value_count; i++) {
        if (strcmp(context->values[i].option->name, "header") != 0) continue;
        const char *text = context->values[i].text;
        const char *colon = strchr(text, ':');
        if (colon == NULL || colon == text)
            return cli_fail(context, DAYBOOK_EINVALID,
                            "cannot use --header '%s': there is no name before a colon; give NAME:VALUE",
                            text);
        const char *value = colon + 1;
        while (*value == ' ') value++;
        headers[found].name = daybook_bytes(text, (size_t)(colon - text));
        headers[found++].value = daybook_text(value);
    }
    return CLI_FINE;
}

static int check_subject(cli_context *context, const char *subject) {
    if (daybook_subject_is_valid(daybook_text(subject))) return CLI_FINE;
    if (daybook_filter_is_valid(daybook_text(subject)))
        return cli_fail(context, DAYBOOK_ESUBJECT,
                        "cannot append to '%s': a subject takes no wildcards; name one subject", subject);
    if (strlen(subject) > DAYBOOK_SUBJECT_SIZE_MAX)
        return cli_fail(
            context, DAYBOOK_ESUBJECT,
            "cannot append to '%.40s...': a subject has at most %d bytes, this one %zu; give a shorter one",
            subject, DAYBOOK_SUBJECT_SIZE_MAX, strlen(subject));
    return cli_fail(context, DAYBOOK_ESUBJECT,
                    "cannot append to '%s': it is not a subject; give tokens joined by dots, without blanks "
                    "or empty tokens, "
                    "such as orders.123.placed",
                    subject);
}

// Before a store is opened, let alone made.
static int check_event(cli_context *context, const daybook_event *event) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_event_check(event, &error);
    return status == DAYBOOK_OK ? CLI_FINE : cli_fail_error(context, status, &error, "cannot append");
}

static int append_event(cli_context *context, const daybook_event *event, const cli_conditions *conditions) {
    int status = cli_open_store(context, CLI_CREATE);
    if (status != CLI_FINE) return status;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = conditions->conditions;
    options.condition_count = conditions->count;
    options.auto_stream = !context->no_create;
    daybook_receipt receipt = {.size = sizeof receipt};
    daybook_error error;
    daybook_error_init(&error);
    daybook_status appended = daybook_append(context->store, event, 1, &options, &receipt, &error);
    cli_note_stream(context, &receipt);
    if (appended != DAYBOOK_OK) return cli_fail_append(context, appended, &error, conditions, event, NULL);
    cli_put_receipt(context, context->out, &receipt, event->id);
    return CLI_FINE;
}

static int append_one(cli_context *context) {
    daybook_event event;
    daybook_event_init(&event);
    daybook_slice *tags = NULL;
    daybook_header *headers = NULL;
    cli_conditions conditions = {.count = 0};
    char *data = NULL;
    size_t data_size = 0;
    if (context->positional_count == 0)
        return cli_fail(context, DAYBOOK_EINVALID,
                        "missing argument: daybook append takes SUBJECT [DATA|-] or --batch FILE; see "
                        "daybook append --help");
    int status = check_subject(context, context->positionals[0]);
    if (status != CLI_FINE) return status;
    event.subject = daybook_text(context->positionals[0]);
    event.id = cli_slice(context, "id");
    event.type = cli_slice(context, "type");
    event.schema = cli_slice(context, "schema");
    event.correlation = cli_slice(context, "correlation");
    event.causation = cli_slice(context, "causation");
    event.actor = cli_slice(context, "actor");
    event.time_ns = cli_time(context, "time", DAYBOOK_TIME_NONE);
    event.ttl_s = cli_time(context, "ttl", 0) / INT64_C(1000000000);
    if (cli_given(context, "ttl") && event.ttl_s == 0)
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot use --ttl %s: it is less than a second; give 1s or more",
                        cli_text(context, "ttl"));
    status = cli_conditions_take(context, &conditions);
    if (status == CLI_FINE) status = cli_value_slices(context, "tag", &tags, &event.tag_count);
    if (status == CLI_FINE) status = take_headers(context, &headers, &event.header_count);
    if (status == CLI_FINE)
        status = cli_read_data(context, context->positional_count > 1 ? context->positionals[1] : NULL, &data,
                               &data_size);
    if (status == CLI_FINE) {
        event.tags = tags;
        event.headers = headers;
        event.data = daybook_bytes(data, data_size);
        status = check_event(context, &event);
    }
    if (status == CLI_FINE) status = append_event(context, &event, &conditions);
    cli_conditions_release(&conditions);
    free(tags);
    free(headers);
    free(data);
    return status;
}

// --- Which way ---

int cli_open_input(cli_context *context, const char *file, cli_input *input_out) {
    int failed = cli_input_open(context, file, input_out);
    if (failed == 0) return CLI_FINE;
    return cli_fail(context, DAYBOOK_EIO, "cannot open %s: %s; nothing was appended", file, strerror(failed));
}

// With --batch the lines say what an event is, so nothing of one may be given beside it.
static int check_batch(cli_context *context) {
    static const char *const of_an_event[] = {"id",   "type",        "schema",    "tag",  "header",
                                              "time", "correlation", "causation", "actor"};
    static const char *const of_a_call[] = {"expect-seq", "expect-subject-seq", "expect-version", "fail-if",
                                            "after"};
    if (context->positional_count != 0)
        return cli_fail(context, DAYBOOK_EINVALID,
                        "unexpected argument '%s': with --batch the events come from the file; leave it out",
                        context->positionals[0]);
    for (size_t i = 0; i < sizeof of_an_event / sizeof of_an_event[0]; i++)
        if (cli_given(context, of_an_event[i]))
            return cli_fail(context, DAYBOOK_EINVALID,
                            "cannot use --%s with --batch: the lines of the file say it; leave it out",
                            of_an_event[i]);
    for (size_t i = 0; i < sizeof of_a_call / sizeof of_a_call[0] && cli_given(context, "each"); i++)
        if (cli_given(context, of_a_call[i]))
            return cli_fail(
                context, DAYBOOK_EINVALID,
                "cannot use --%s with --each: a condition belongs to one append; leave one of them out",
                of_a_call[i]);
    return CLI_FINE;
}

int cli_run_append(cli_context *context) {
    if (!cli_given(context, "batch")) {
        if (cli_given(context, "each"))
            return cli_fail(context, DAYBOOK_EINVALID,
                            "cannot use --each alone: it says how --batch works; give --batch FILE");
        return append_one(context);
    }
    int status = check_batch(context);
    if (status != CLI_FINE) return status;
    return cli_given(context, "each") ? cli_run_append_each(context) : cli_run_append_batch(context);
}
