// SPDX-License-Identifier: Apache-2.0
//
// `info`: what is in the store and how it is doing; `info --build`: what the program is made of.

#include "cli/cli.h"
#include "cli/progress.h"
#include "daybook/projection.h"

// Verbs that are in the table and not in this program.
static void put_missing(cli_output *out, int json) {
    const char *separator = "", *quote = json ? "\"" : "";
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        if (command->run != NULL) continue;
        cli_put_format(out, "%s%s%s%s", separator, quote, command->name, quote);
        separator = json ? "," : ", ";
    }
}

// Databases that projections can write to.
static void put_databases(cli_output *out, int json) {
#ifdef CLI_HAVE_PROJECTION
    static const char *const names[] = {"sqlite", "postgresql"};
    const char *separator = "", *quote = json ? "\"" : "";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!daybook_projection_can(names[i])) continue;
        cli_put_format(out, "%s%s%s%s", separator, quote, names[i], quote);
        separator = json ? "," : ", ";
    }
#else
    (void)out;
    (void)json;
#endif
}

static int print_build(cli_context *context) {
    cli_output *out = context->out;
    if (context->json) {
        cli_puts(out, "{\"version\":");
        cli_put_json_string(out, daybook_text(daybook_version()));
        cli_puts(out, ",\"libraries\":");
        cli_put_json_string(out, daybook_text(daybook_build()));
        cli_puts(out, ",\"projections\":[");
        put_databases(out, 1);
        cli_puts(out, "],\"not_built_in\":[");
        put_missing(out, 1);
        cli_puts(out, "]}\n");
        return CLI_FINE;
    }
    cli_put_format(out, "daybook %s\nlibraries: %s\nprojections into: ", daybook_version(), daybook_build());
    put_databases(out, 0);
    cli_puts(out, "\nnot built in: ");
    put_missing(out, 0);
    cli_put_char(out, '\n');
    return CLI_FINE;
}

static void put_json(cli_context *context, const daybook_store_info *info) {
    cli_output *out = context->out;
    const struct {
        const char *name;
        uint64_t value;
    } members[] = {{"position", info->durable_position},
                   {"flushed_position", info->flushed_position},
                   {"events", info->event_count},
                   {"streams", info->stream_count},
                   {"segments", info->segment_count},
                   {"segment_bytes", info->segment_bytes},
                   {"block_bytes", info->block_bytes},
                   {"index_bytes", info->index_bytes},
                   {"journal_bytes", info->journal_bytes},
                   {"journal_used_bytes", info->journal_used_bytes},
                   {"memory_bytes", info->memory_bytes},
                   {"open_replayed_bytes", info->open_replayed_bytes},
                   {"open_torn_pages", info->open_torn_pages},
                   {"sync_interval_streams", info->sync_interval_streams}};
    cli_puts(out, "{\"store\":");
    cli_put_json_string(out, daybook_text(context->store_path));
    cli_put_format(out, ",\"uuid\":\"%s\"", info->uuid);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        cli_put_format(out, ",\"%s\":%llu", members[i].name, (unsigned long long)members[i].value);
    if (info->durable_position != 0) {
        cli_puts(out, ",\"last_recorded\":\"");
        cli_put_time(out, info->last_recorded_ns);
        cli_put_char(out, '"');
    }
    cli_puts(out, "}\n");
}

static void put_label(cli_output *out, const char *label) {
    cli_put_format(out, "  %-16s", label);
}

static void put_text(cli_context *context, const daybook_store_info *info) {
    cli_output *out = context->out;
    char a[32], b[32], c[32], d[32];
    cli_put_plain(out, daybook_text(context->store_path), 0);
    cli_put_format(out, "  %s events in %s streams\n", cli_grouped(info->event_count, a),
                   cli_grouped(info->stream_count, b));
    put_label(out, "uuid");
    cli_put_format(out, "%s\n", info->uuid);
    put_label(out, "position");
    cli_put_format(out, "%llu\n", (unsigned long long)info->durable_position);
    if (info->durable_position != 0) {
        put_label(out, "last recorded");
        cli_put_time(out, info->last_recorded_ns);
        cli_put_char(out, '\n');
    }
    put_label(out, "segments");
    cli_put_format(out, "%s, %s (events %s, index %s), up to position %llu\n",
                   cli_grouped(info->segment_count, a), cli_byte_text(info->segment_bytes, b),
                   cli_byte_text(info->block_bytes, c), cli_byte_text(info->index_bytes, d),
                   (unsigned long long)info->flushed_position);
    put_label(out, "journal");
    cli_put_format(out, "%s, %s to replay\n", cli_byte_text(info->journal_bytes, a),
                   cli_byte_text(info->journal_used_bytes, b));
    put_label(out, "opened with");
    cli_put_format(out, "%s replayed, %s torn pages cut, %s of memory\n",
                   cli_byte_text(info->open_replayed_bytes, a), cli_grouped(info->open_torn_pages, b),
                   cli_byte_text(info->memory_bytes, c));
    put_label(out, "sync");
    if (info->sync_interval_streams == 0)
        cli_puts(out, "every acknowledgement is on disk\n");
    else
        cli_put_format(out, "%u stream%s acknowledge%s BEFORE the sync; see daybook stream info\n",
                       info->sync_interval_streams, info->sync_interval_streams == 1 ? "" : "s",
                       info->sync_interval_streams == 1 ? "s" : "");
}

int cli_run_info(cli_context *context) {
    if (cli_given(context, "build")) return print_build(context);
    int status = cli_open_store(context, CLI_READ);
    if (status != CLI_FINE) return status;
    daybook_store_info info = {.size = sizeof info};
    daybook_error error;
    daybook_error_init(&error);
    daybook_status got = daybook_info(context->store, &info, &error);
    if (got != DAYBOOK_OK) return cli_fail_error(context, got, &error, NULL);
    if (context->json)
        put_json(context, &info);
    else
        put_text(context, &info);
    return CLI_FINE;
}
