// SPDX-License-Identifier: Apache-2.0
//
// `read`: the query the options make, and events printed as they come.
//
// --last N is two reads: one backwards that finds where the newest N begin, one forwards from there, so that
// memory does not depend on N. With --follow the second is the follower, so nothing falls in between.
// A follower prints what is there in large writes and flushes when it is caught up, before it sleeps.
// Damage is reported where it is met; what lies behind it is still printed; the exit status is 5.

#include "cli/event_text.h"

#include <stdlib.h>

typedef struct reading {
    cli_context *context;
    daybook_query query;
    daybook_slice *filters;
    daybook_slice *types;
    daybook_slice *tags;
    int is_empty; // a bound that nothing satisfies, such as --to 0
    int follow;
    uint64_t damage_count;
} reading;

// An upper bound of 0 is given and excludes all; in a query 0 means no bound.
static uint64_t upper_bound(reading *work, const char *name) {
    if (!cli_given(work->context, name)) return 0;
    uint64_t number = cli_number(work->context, name, 0);
    if (number == 0) work->is_empty = 1;
    return number;
}

static int take_filters(reading *work) {
    cli_context *context = work->context;
    if (context->positional_count == 0) return CLI_FINE;
    work->filters = calloc(context->positional_count, sizeof *work->filters);
    if (work->filters == NULL)
        return cli_fail(context, DAYBOOK_ENOMEM, "out of memory while reading the arguments");
    for (size_t i = 0; i < context->positional_count; i++) {
        work->filters[i] = daybook_text(context->positionals[i]);
        if (!daybook_filter_is_valid(work->filters[i]))
            return cli_fail(context, DAYBOOK_ESUBJECT,
                            "cannot use the filter '%s': it is not a subject filter; give tokens joined by "
                            "dots, * for one, "
                            "a final > for the rest",
                            context->positionals[i]);
        if (context->positionals[i][0] == '$') work->query.flags |= DAYBOOK_QUERY_INTERNAL;
    }
    work->query.filters = work->filters;
    work->query.filter_count = context->positional_count;
    return CLI_FINE;
}

static void take_positions(reading *work) {
    cli_context *context = work->context;
    daybook_query *query = &work->query;
    query->position_from = cli_number(context, "from", 0);
    query->position_to = upper_bound(work, "to");
    if (cli_given(context, "after")) {
        uint64_t after = cli_number(context, "after", 0);
        if (after == UINT64_MAX)
            work->is_empty = 1;
        else if (after + 1 > query->position_from)
            query->position_from = after + 1;
    }
    query->seq_from = cli_number(context, "from-seq", 0);
    query->seq_to = upper_bound(work, "to-seq");
    query->version_from = cli_number(context, "from-version", 0);
    query->version_to = upper_bound(work, "to-version");
    query->recorded_since_ns = cli_time(context, "since", DAYBOOK_TIME_NONE);
    query->recorded_until_ns = cli_time(context, "until", DAYBOOK_TIME_NONE);
    query->time_since_ns = cli_time(context, "time-since", DAYBOOK_TIME_NONE);
    query->time_until_ns = cli_time(context, "time-until", DAYBOOK_TIME_NONE);
    query->limit = upper_bound(work, "limit");
}

static int check_combination(reading *work) {
    cli_context *context = work->context;
    if (work->follow && cli_given(context, "reverse"))
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot use --follow with --reverse: what comes is newest; choose one");
    if (work->follow && cli_given(context, "count"))
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot use --follow with --count: there is no end to count to; choose one");
    if (work->follow && cli_given(context, "last-per-subject"))
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot use --follow with --last-per-subject: which is last is not known before the "
                        "end; choose one");
    if (cli_given(context, "data") && (context->json || context->csv))
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot use --data with --json or --csv: it prints bare data; choose one");
    return CLI_FINE;
}

static int make_query(reading *work) {
    cli_context *context = work->context;
    daybook_query *query = &work->query;
    daybook_query_init(query);
    if (cli_given(context, "all")) query->flags |= DAYBOOK_QUERY_INTERNAL;
    if (cli_given(context, "reverse")) query->flags |= DAYBOOK_QUERY_REVERSE;
    if (cli_given(context, "last-per-subject")) query->flags |= DAYBOOK_QUERY_LAST_PER_SUBJECT;
    query->stream = cli_slice(context, "stream");
    query->correlation = cli_slice(context, "correlation");
    query->causation = cli_slice(context, "causation");
    query->actor = cli_slice(context, "actor");
    query->id = cli_slice(context, "id");
    work->follow = cli_given(context, "follow");
    int status = take_filters(work);
    if (status == CLI_FINE) status = cli_value_slices(context, "type", &work->types, &query->type_count);
    if (status == CLI_FINE) status = cli_value_slices(context, "tag", &work->tags, &query->tag_count);
    if (status != CLI_FINE) return status;
    query->types = work->types;
    query->tags = work->tags;
    take_positions(work);
    return check_combination(work);
}

static void print_event(cli_context *context, const daybook_recorded_event *event, int data_only) {
    cli_output *out = context->out;
    if (data_only) {
        cli_put_slice(out, event->event.data);
        cli_put_char(out, '\n');
    } else if (context->json) {
        cli_put_event_json(out, event, CLI_DATA_COMPACT);
        cli_put_char(out, '\n');
    } else if (context->csv) {
        cli_put_event_csv(out, event);
    } else {
        cli_put_event_line(context, out, event);
    }
}

// Report a damaged block and go on behind it. Reports are bounded: one damaged disk could have millions.
static void report_damage(reading *work, const daybook_error *error) {
    if (work->damage_count++ < 100) (void)cli_fail_error(work->context, DAYBOOK_EDAMAGED, error, NULL);
}

static int print_all(reading *work, daybook_cursor *cursor) {
    cli_context *context = work->context;
    daybook_recorded_event event;
    daybook_error error;
    int data_only = cli_given(context, "data");
    int timeout_ms = 0;
    for (;;) {
        daybook_error_init(&error);
        daybook_status status = daybook_cursor_next(cursor, timeout_ms, &event, &error);
        if (status == DAYBOOK_OK) {
            timeout_ms = 0;
            print_event(context, &event, data_only);
            if (context->out->failed_errno != 0) return CLI_ERROR; // main says why
        } else if (status == DAYBOOK_TIMEOUT) {
            if (cli_output_flush(context->out) != 0) return CLI_ERROR;
            timeout_ms = -1;
        } else if (status == DAYBOOK_EDAMAGED) {
            report_damage(work, &error);
        } else if (status == DAYBOOK_END || (status == DAYBOOK_ECLOSED && work->follow)) {
            return work->damage_count == 0 ? CLI_FINE : CLI_DAMAGED;
        } else {
            return cli_fail_error(context, status, &error, NULL);
        }
    }
}

static int open_cursor(reading *work, const daybook_query *query, daybook_cursor **cursor_out) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_read(work->context->store, query, cursor_out, &error);
    return status == DAYBOOK_OK ? CLI_FINE : cli_fail_error(work->context, status, &error, NULL);
}

// Narrow the query to the newest `count` events. Sets is_empty where there is none and nobody follows.
static int find_last(reading *work, uint64_t count) {
    daybook_query backwards = work->query;
    backwards.flags |= DAYBOOK_QUERY_REVERSE;
    backwards.limit = count;
    daybook_cursor *cursor;
    int status = open_cursor(work, &backwards, &cursor);
    if (status != CLI_FINE) return status;
    uint64_t oldest = 0, newest = 0;
    daybook_recorded_event event;
    daybook_error error;
    daybook_status got;
    daybook_error_init(&error);
    while ((got = daybook_cursor_next(cursor, 0, &event, &error)) == DAYBOOK_OK || got == DAYBOOK_EDAMAGED) {
        // Damage is reported by the read that prints.
        if (got == DAYBOOK_EDAMAGED) continue;
        oldest = event.position;
        if (newest == 0) newest = event.position;
    }
    daybook_cursor_close(cursor);
    if (got != DAYBOOK_END) return cli_fail_error(work->context, got, &error, NULL);
    if (oldest == 0) {
        work->is_empty = !work->follow;
        return CLI_FINE;
    }
    work->query.position_from = oldest;
    if (!work->follow) work->query.position_to = newest;
    return CLI_FINE;
}

// The library stops counting at damage; what is readable is counted here.
static int count_readable(reading *work, uint64_t *count_out) {
    daybook_cursor *cursor;
    daybook_recorded_event event;
    daybook_error error;
    int status = open_cursor(work, &work->query, &cursor);
    *count_out = 0;
    if (status != CLI_FINE) return status;
    for (;;) {
        daybook_error_init(&error);
        daybook_status got = daybook_cursor_next(cursor, 0, &event, &error);
        if (got == DAYBOOK_OK)
            ++*count_out;
        else if (got == DAYBOOK_EDAMAGED)
            report_damage(work, &error);
        else if (got == DAYBOOK_END)
            break;
        else {
            daybook_cursor_close(cursor);
            return cli_fail_error(work->context, got, &error, NULL);
        }
    }
    daybook_cursor_close(cursor);
    return work->damage_count == 0 ? CLI_FINE : CLI_DAMAGED;
}

static int print_count(reading *work) {
    cli_context *context = work->context;
    uint64_t count = 0, last = cli_number(context, "last", UINT64_MAX);
    int status = CLI_FINE;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status got = work->is_empty ? DAYBOOK_OK
                                        : daybook_count(context->store, &work->query, &count, &error);
    if (got == DAYBOOK_EDAMAGED)
        status = count_readable(work, &count);
    else if (got != DAYBOOK_OK)
        return cli_fail_error(context, got, &error, NULL);
    if (status != CLI_FINE && status != CLI_DAMAGED) return status;
    if (count > last) count = last;
    if (context->json)
        cli_put_format(context->out, "{\"count\":%llu}\n", (unsigned long long)count);
    else if (context->csv)
        cli_put_format(context->out, "count\n%llu\n", (unsigned long long)count);
    else
        cli_put_format(context->out, "%llu\n", (unsigned long long)count);
    return status;
}

static void interrupt(void *cursor) {
    daybook_cursor_interrupt(cursor);
}

static int print_events(reading *work) {
    cli_context *context = work->context;
    int status = CLI_FINE;
    // Without a stream of that name an empty read is a mistake too: let the library look.
    if (cli_given(context, "last")) {
        uint64_t count = cli_number(context, "last", 0);
        if (count == 0 && !work->follow) work->is_empty = 1;
        if (count == 0 && work->follow) {
            daybook_store_info info = {.size = sizeof info};
            daybook_error error;
            daybook_error_init(&error);
            daybook_status got = daybook_info(context->store, &info, &error);
            if (got != DAYBOOK_OK) return cli_fail_error(context, got, &error, NULL);
            if (info.durable_position + 1 > work->query.position_from)
                work->query.position_from = info.durable_position + 1;
        } else if ((work->query.flags & DAYBOOK_QUERY_REVERSE) != 0) {
            if (work->query.limit == 0 || work->query.limit > count) work->query.limit = count;
        } else if (!work->is_empty) {
            status = find_last(work, count);
        }
    }
    if (status != CLI_FINE) return status;
    if (context->csv) cli_put_event_csv_header(context->out);
    if (work->is_empty) return CLI_FINE;
    if (work->follow) work->query.flags |= DAYBOOK_QUERY_FOLLOW;
    daybook_cursor *cursor;
    status = open_cursor(work, &work->query, &cursor);
    if (status != CLI_FINE) return status;
    if (work->follow) status = cli_interrupts_begin(context, interrupt, cursor);
    if (status == CLI_FINE) status = print_all(work, cursor);
    if (work->follow) (void)cli_interrupts_end(context);
    daybook_cursor_close(cursor);
    return status;
}

int cli_run_read(cli_context *context) {
    reading work = {.context = context};
    int status = make_query(&work);
    if (status == CLI_FINE && work.follow) cli_interrupts_prepare(context);
    if (status == CLI_FINE) status = cli_open_store(context, CLI_READ);
    if (status == CLI_FINE) status = cli_given(context, "count") ? print_count(&work) : print_events(&work);
    free(work.filters);
    free(work.types);
    free(work.tags);
    return status;
}
