// SPDX-License-Identifier: Apache-2.0
//
// `snapshot take|show|ls|rm|prune`. A snapshot is stored as JSON with aggregate, version, seq, position,
// schema, time, time_max, recorded and state; `show --json` prints it as it is.

#include "cli/event_text.h"
#include "cli/json.h"
#include "cli/table.h"

static int check_aggregate(cli_context *context) {
    if (daybook_subject_is_valid(daybook_text(context->positionals[0]))) return CLI_FINE;
    return cli_fail(
        context, DAYBOOK_ESUBJECT,
        "cannot use the aggregate '%s': it is not one; give its tokens joined by dots, such as orders.123",
        context->positionals[0]);
}

// The bucket comes with the first snapshot.
static int has_bucket(cli_context *context) {
    daybook_stream_info *info = NULL;
    if (daybook_stream_get_info(context->store, daybook_text("KV_SNAPSHOTS"), &info, NULL) != DAYBOOK_OK)
        return 0;
    daybook_stream_info_release(context->store, info);
    return 1;
}

int cli_run_snapshot_take(cli_context *context) {
    int status = check_aggregate(context);
    if (status == CLI_FINE) status = cli_open_store(context, CLI_WRITE);
    if (status != CLI_FINE) return status;
    int had_bucket = has_bucket(context);
    if (!had_bucket && context->no_create)
        return cli_fail(context, DAYBOOK_ENOSTREAM,
                        "no bucket SNAPSHOTS: it comes with the first snapshot, and --no-create is given; "
                        "leave that out");
    daybook_state *state = NULL;
    daybook_error error;
    daybook_error_init(&error);
    daybook_slice aggregate = daybook_text(context->positionals[0]);
    daybook_status taken = cli_given(context, "anew")
                               ? daybook_snapshot_force(cli_engine(context), aggregate, &state, &error)
                               : daybook_snapshot_take(cli_engine(context), aggregate, &state, &error);
    if (taken != DAYBOOK_OK) return cli_fail_error(context, taken, &error, NULL);
    if (!had_bucket) cli_note_created(context, "stream", daybook_text("KV_SNAPSHOTS"));
    cli_output *out = context->out;
    if (context->json) {
        cli_puts(out, "{\"aggregate\":");
        cli_put_json_string(out, daybook_text(context->positionals[0]));
        cli_put_format(out, ",\"version\":%llu,\"seq\":%llu,\"position\":%llu,\"bytes\":%zu}\n",
                       (unsigned long long)state->version, (unsigned long long)state->seq,
                       (unsigned long long)state->position, state->json_size);
    } else {
        cli_put_format(out, "snapshot of %s at version %llu, %zu bytes\n", context->positionals[0],
                       (unsigned long long)state->version, state->json_size);
    }
    daybook_state_release(state);
    return CLI_FINE;
}

int cli_run_snapshot_show(cli_context *context) {
    int status = check_aggregate(context);
    if (status == CLI_FINE) status = cli_open_store(context, CLI_READ);
    if (status != CLI_FINE) return status;
    char *json = NULL;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status found =
        daybook_snapshot_show(cli_engine(context), daybook_text(context->positionals[0]), &json, &error);
    if (found != DAYBOOK_OK) return cli_fail_error(context, found, &error, NULL);
    if (context->json)
        cli_puts(context->out, json);
    else
        cli_put_json_pretty(context->out, daybook_text(json));
    cli_put_char(context->out, '\n');
    daybook_text_release(json);
    return CLI_FINE;
}

// A member of the stored JSON, raw; strings without their quotes. Empty where it has none.
static daybook_slice member(daybook_slice json, const char *name) {
    cli_json_iterator iterator;
    daybook_slice key, value;
    size_t size = strlen(name);
    if (!cli_json_begin(json, '{', &iterator, NULL)) return daybook_bytes(NULL, 0);
    while (cli_json_next(&iterator, &key, &value, NULL) == 1) {
        if (key.size != size + 2 || memcmp((const char *)key.data + 1, name, size) != 0) continue;
        if (value.size >= 2 && *(const char *)value.data == '"')
            return daybook_bytes((const char *)value.data + 1, value.size - 2);
        return value;
    }
    return daybook_bytes(NULL, 0);
}

static int show_snapshot(void *context, daybook_slice aggregate, daybook_slice json) {
    cli_table *table = context;
    cli_output *out = table->context->out;
    daybook_slice state = member(json, "state");
    if (table->context->json) {
        cli_puts(out, "{\"aggregate\":");
        cli_put_json_string(out, aggregate);
        static const char *const names[] = {"version", "seq", "position"};
        for (size_t i = 0; i < 3; i++) {
            daybook_slice value = member(json, names[i]);
            if (value.size == 0) continue;
            cli_put_format(out, ",\"%s\":", names[i]);
            cli_put_slice(out, value);
        }
        cli_puts(out, ",\"time\":\"");
        cli_put_slice(out, member(json, "time"));
        cli_put_format(out, "\",\"bytes\":%zu}\n", state.size);
        return out->failed_errno != 0;
    }
    cli_table_slice(table, aggregate);
    cli_table_slice(table, member(json, "version"));
    cli_table_slice(table, member(json, "position"));
    cli_table_slice(table, member(json, "time"));
    cli_table_number(table, state.size);
    return table->failed;
}

int cli_run_snapshot_ls(cli_context *context) {
    static const cli_column columns[] = {
        {"aggregate", 0}, {"version", 1}, {"position", 1}, {"time", 0}, {"bytes", 1}};
    daybook_slice filter = {NULL, 0};
    if (context->positional_count != 0) {
        filter = daybook_text(context->positionals[0]);
        if (!daybook_filter_is_valid(filter))
            return cli_fail(
                context, DAYBOOK_ESUBJECT,
                "cannot use the filter '%s': it is not a subject filter; give tokens joined by dots",
                context->positionals[0]);
    }
    int status = cli_open_store(context, CLI_READ);
    if (status != CLI_FINE) return status;
    cli_table table = {.context = context};
    if (!context->json) cli_table_init(&table, context, columns, sizeof columns / sizeof columns[0]);
    daybook_error error;
    daybook_error_init(&error);
    daybook_status listed = daybook_snapshot_list(cli_engine(context), filter, show_snapshot, &table, &error);
    if (!context->json) status = cli_table_end(&table, "no snapshots");
    return listed == DAYBOOK_OK ? status : cli_fail_error(context, listed, &error, NULL);
}

int cli_run_snapshot_rm(cli_context *context) {
    int status = check_aggregate(context);
    if (status == CLI_FINE)
        status = cli_confirm(context, "remove the snapshot of %s", context->positionals[0]);
    if (status == CLI_FINE) status = cli_open_store(context, context->dry_run ? CLI_READ : CLI_WRITE);
    if (status != CLI_FINE) return status;
    daybook_slice aggregate = daybook_text(context->positionals[0]);
    daybook_error error;
    daybook_error_init(&error);
    daybook_status done;
    if (context->dry_run) {
        char *json = NULL;
        done = daybook_snapshot_show(cli_engine(context), aggregate, &json, &error);
        daybook_text_release(json);
    } else {
        done = daybook_snapshot_remove(cli_engine(context), aggregate, &error);
    }
    if (done != DAYBOOK_OK) return cli_fail_error(context, done, &error, NULL);
    cli_note(context, "%s the snapshot of %s", context->dry_run ? "would remove" : "removed",
             context->positionals[0]);
    return CLI_FINE;
}

int cli_run_snapshot_prune(cli_context *context) {
    daybook_slice filter = {NULL, 0};
    if (context->positional_count != 0) filter = daybook_text(context->positionals[0]);
    if (filter.size != 0 && !daybook_filter_is_valid(filter))
        return cli_fail(context, DAYBOOK_ESUBJECT,
                        "cannot use the filter '%s': it is not a subject filter; give tokens joined by dots",
                        context->positionals[0]);
    uint64_t keep = cli_number(context, "keep", 1);
    int status = cli_confirm(context, "remove all but the newest %llu snapshots of each aggregate",
                             (unsigned long long)keep);
    if (status == CLI_FINE) status = cli_open_store(context, context->dry_run ? CLI_READ : CLI_WRITE);
    if (status != CLI_FINE) return status;
    uint64_t removed_count = 0;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status pruned =
        daybook_snapshot_prune(cli_engine(context), filter, keep, context->dry_run, &removed_count, &error);
    if (pruned != DAYBOOK_OK) return cli_fail_error(context, pruned, &error, NULL);
    if (context->json)
        cli_put_format(context->out, "{\"%s\":%llu}\n", context->dry_run ? "would_remove" : "removed",
                       (unsigned long long)removed_count);
    else
        cli_put_format(context->out, "%s %llu snapshots\n", context->dry_run ? "would remove" : "removed",
                       (unsigned long long)removed_count);
    return CLI_FINE;
}
