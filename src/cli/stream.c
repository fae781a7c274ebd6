// SPDX-License-Identifier: Apache-2.0
//
// `stream ls|add|info|edit|rm|purge|delete`.

#include "cli/stream.h"

#include "cli/progress.h"
#include "cli/table.h"

#include <stdlib.h>
#include <string.h>

static daybook_slice name_of(const cli_context *context) {
    return daybook_text(context->positionals[0]);
}

// Where consumers are kept, and how far streams of the server have copied their sources. Without it the former
// are gone, and the latter copy all of it again.
static int refuse_own(cli_context *context) {
    static const char *const own[] = {"$CONSUMERS", "$sources"};
    const char *name = context->positionals[0];
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (strcmp(name, own[i]) == 0)
            return cli_fail(
                context, DAYBOOK_EINVALID,
                "cannot change stream %s: consumers and copies of streams go by it; remove those instead",
                name);
    return CLI_FINE;
}

// A destructive verb only looks with --dry-run.
static int open_for_change(cli_context *context) {
    return cli_open_store(context, context->dry_run ? CLI_READ : CLI_WRITE);
}

static int get_info(cli_context *context, daybook_stream_info **info_out) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_stream_get_info(context->store, name_of(context), info_out, &error);
    return status == DAYBOOK_OK ? CLI_FINE : cli_fail_error(context, status, &error, NULL);
}

// --- ls, info ---

static int show_stream(void *context, const daybook_stream_info *info) {
    cli_table *table = context;
    if (table->context->json) {
        cli_put_stream(table->context, info);
        return table->context->out->failed_errno != 0;
    }
    cli_table_slice(table, info->config.name);
    cli_output subjects;
    cli_output_init(&subjects, -1);
    for (size_t i = 0; i < info->config.subject_count; i++) {
        if (i != 0) cli_put_char(&subjects, ' ');
        cli_put_slice(&subjects, info->config.subjects[i]);
    }
    cli_table_slice(table, daybook_bytes(subjects.data, subjects.size));
    table->failed |= subjects.failed_errno != 0;
    cli_output_deinit(&subjects);
    cli_table_number(table, info->message_count);
    cli_table_bytes(table, info->byte_count);
    cli_table_number(table, info->last_seq);
    cli_table_time(table, info->last_seq == 0 ? DAYBOOK_TIME_NONE : info->last_recorded_ns);
    return table->failed;
}

int cli_run_stream_ls(cli_context *context) {
    static const cli_column columns[] = {{"stream", 0}, {"subjects", 0}, {"events", 1},
                                         {"bytes", 1},  {"last_seq", 1}, {"last_recorded", 0}};
    int status = cli_open_store(context, CLI_READ);
    if (status != CLI_FINE) return status;
    cli_table table = {.context = context};
    if (!context->json) cli_table_init(&table, context, columns, sizeof columns / sizeof columns[0]);
    daybook_error error;
    daybook_error_init(&error);
    daybook_status listed = daybook_stream_list(context->store, show_stream, &table, &error);
    if (!context->json) status = cli_table_end(&table, "no streams");
    return listed == DAYBOOK_OK ? status : cli_fail_error(context, listed, &error, NULL);
}

int cli_run_stream_info(cli_context *context) {
    daybook_stream_info *info = NULL;
    int status = cli_open_store(context, CLI_READ);
    if (status == CLI_FINE) status = get_info(context, &info);
    if (status != CLI_FINE) return status;
    cli_put_stream(context, info);
    daybook_stream_info_release(context->store, info);
    return CLI_FINE;
}

// --- add, edit ---

int cli_run_stream_add(cli_context *context) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = name_of(context);
    daybook_slice *subjects = NULL;
    int status = cli_take_stream_config(context, &config, &subjects);
    if (status == CLI_FINE && config.subject_count == 0)
        status = cli_fail(
            context, DAYBOOK_EINVALID,
            "no subjects: a stream captures some; give filters, such as daybook stream add %s 'orders.>'",
            context->positionals[0]);
    if (status == CLI_FINE && context->no_create)
        status =
            cli_fail(context, DAYBOOK_EINVALID, "cannot add a stream: --no-create is given; leave that out");
    if (status == CLI_FINE) status = cli_open_store(context, CLI_WRITE);
    if (status == CLI_FINE) {
        daybook_error error;
        daybook_error_init(&error);
        daybook_status added = daybook_stream_add(context->store, &config, &error);
        if (added != DAYBOOK_OK)
            status = cli_fail_error(context, added, &error, NULL);
        else
            cli_note_created(context, "stream", config.name);
    }
    free(subjects);
    return status;
}

int cli_run_stream_edit(cli_context *context) {
    daybook_stream_info *info = NULL;
    daybook_slice *subjects = NULL;
    int status = refuse_own(context);
    if (status == CLI_FINE)
        status = cli_confirm(context, "change stream %s; a lower limit removes events at once",
                             context->positionals[0]);
    if (status == CLI_FINE) status = open_for_change(context);
    if (status == CLI_FINE) status = get_info(context, &info);
    if (status != CLI_FINE) return status;
    daybook_stream_info changed = *info; // borrows from info
    status = cli_take_stream_config(context, &changed.config, &subjects);
    if (status == CLI_FINE && context->dry_run) {
        cli_note(context, "would change stream %s to:", context->positionals[0]);
        cli_put_stream(context, &changed);
    } else if (status == CLI_FINE) {
        daybook_error error;
        daybook_error_init(&error);
        daybook_status updated = daybook_stream_update(context->store, &changed.config, &error);
        if (updated != DAYBOOK_OK)
            status = cli_fail_error(context, updated, &error, NULL);
        else
            cli_note(context, "changed stream %s", context->positionals[0]);
    }
    daybook_stream_info_release(context->store, info);
    free(subjects);
    return status;
}

// --- rm, purge, delete ---

int cli_run_stream_rm(cli_context *context) {
    daybook_stream_info *info = NULL;
    char count[32];
    int status = refuse_own(context);
    if (status == CLI_FINE)
        status = cli_confirm(context, "remove stream %s with all its events", context->positionals[0]);
    if (status == CLI_FINE) status = open_for_change(context);
    if (status == CLI_FINE) status = get_info(context, &info);
    if (status != CLI_FINE) return status;
    uint64_t message_count = info->message_count;
    daybook_stream_info_release(context->store, info);
    daybook_error error;
    daybook_error_init(&error);
    daybook_status removed =
        context->dry_run ? DAYBOOK_OK : daybook_stream_remove(context->store, name_of(context), &error);
    if (removed != DAYBOOK_OK) return cli_fail_error(context, removed, &error, NULL);
    cli_note(context, "%s stream %s with %s events", context->dry_run ? "would remove" : "removed",
             context->positionals[0], cli_grouped(message_count, count));
    return CLI_FINE;
}

static void put_removed(cli_context *context, uint64_t count) {
    char text[32];
    if (context->json)
        cli_put_format(context->out, "{\"%s\":%llu}\n", context->dry_run ? "would_remove" : "removed",
                       (unsigned long long)count);
    else
        cli_put_format(context->out, "%s %s event%s\n", context->dry_run ? "would remove" : "removed",
                       cli_grouped(count, text), count == 1 ? "" : "s");
}

// What a purge would remove.
static daybook_status count_purged(cli_context *context, const daybook_purge_options *options,
                                   uint64_t *count_out, daybook_error *error) {
    daybook_query query;
    daybook_query_init(&query);
    query.stream = name_of(context);
    query.filters = &options->filter;
    query.filter_count = options->filter.size == 0 ? 0 : 1;
    *count_out = 0;
    if (options->seq_to == 1) return DAYBOOK_OK;
    if (options->seq_to != 0) query.seq_to = options->seq_to - 1;
    daybook_status status = daybook_count(context->store, &query, count_out, error);
    *count_out -= options->keep < *count_out ? options->keep : *count_out;
    return status;
}

int cli_run_stream_purge(cli_context *context) {
    daybook_purge_options options;
    daybook_purge_options_init(&options);
    options.filter = cli_slice(context, "subject");
    options.seq_to = cli_number(context, "seq", 0);
    options.keep = cli_number(context, "keep", 0);
    options.erase = cli_given(context, "erase");
    if (cli_given(context, "seq") && cli_given(context, "keep"))
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot use --seq with --keep: each says how far to go; choose one");
    int status = refuse_own(context);
    if (status == CLI_FINE)
        status = cli_confirm(context, "remove events of stream %s%s%s", context->positionals[0],
                             options.filter.size == 0 ? "" : " that match ",
                             options.filter.size == 0 ? "" : cli_text(context, "subject"));
    daybook_stream_info *info = NULL;
    if (status == CLI_FINE) status = open_for_change(context);
    if (status == CLI_FINE) status = get_info(context, &info);
    if (status != CLI_FINE) return status;
    daybook_stream_info_release(context->store, info);
    uint64_t count = 0;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status purged = DAYBOOK_OK;
    // Below seq 0 there is nothing; to the library 0 means no such bound.
    if (!(cli_given(context, "seq") && options.seq_to == 0))
        purged = context->dry_run
                     ? count_purged(context, &options, &count, &error)
                     : daybook_stream_purge(context->store, name_of(context), &options, &count, &error);
    if (purged != DAYBOOK_OK) return cli_fail_error(context, purged, &error, NULL);
    put_removed(context, count);
    return CLI_FINE;
}

// Is the event there?
static daybook_status find_event(cli_context *context, uint64_t seq, daybook_error *error) {
    daybook_query query;
    daybook_query_init(&query);
    query.stream = name_of(context);
    query.seq_from = query.seq_to = seq;
    uint64_t count = 0;
    daybook_status status = daybook_count(context->store, &query, &count, error);
    return status == DAYBOOK_OK && count == 0 ? DAYBOOK_ENOTFOUND : status;
}

int cli_run_stream_delete(cli_context *context) {
    uint64_t seq = 0;
    const char *text = context->positionals[1];
    if (!cli_parse_number(daybook_text(text), &seq))
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot use the seq '%s': it is no whole number; give the seq of an event", text);
    int status = refuse_own(context);
    if (status == CLI_FINE)
        status = cli_confirm(context, "remove event %s of stream %s", text, context->positionals[0]);
    if (status == CLI_FINE) status = open_for_change(context);
    if (status != CLI_FINE) return status;
    if (seq == 0)
        return cli_fail(context, DAYBOOK_ENOTFOUND,
                        "no event with seq 0 in stream %s: seqs begin at 1; give another",
                        context->positionals[0]);
    daybook_error error;
    daybook_error_init(&error);
    daybook_status removed = context->dry_run ? find_event(context, seq, &error)
                                              : daybook_event_remove(context->store, name_of(context), seq,
                                                                     cli_given(context, "erase"), &error);
    if (removed == DAYBOOK_ENOTFOUND && error.message[0] == '\0')
        return cli_fail(context, removed,
                        "no event with seq %s in stream %s: there is none, or it is removed; see daybook "
                        "read --stream %s",
                        text, context->positionals[0], context->positionals[0]);
    if (removed != DAYBOOK_OK) return cli_fail_error(context, removed, &error, NULL);
    put_removed(context, 1);
    return CLI_FINE;
}
