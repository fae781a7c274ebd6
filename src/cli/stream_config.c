// SPDX-License-Identifier: Apache-2.0
//
// Settings of a stream: from options, and shown. Names are those of JetStream with minus signs.

#include "cli/progress.h"
#include "cli/stream.h"

#include <stdio.h>
#include <stdlib.h>

#define SECOND_NS INT64_C(1000000000)

// --- From options ---

static size_t count_parts(const char *text) {
    size_t count = 1;
    for (; *text != '\0'; text++) count += *text == ',';
    return count;
}

static int add_subject(cli_context *context, daybook_slice *subjects, size_t *count, const char *text,
                       size_t size) {
    daybook_slice subject = daybook_bytes(text, size);
    if (!daybook_filter_is_valid(subject))
        return cli_fail(context, DAYBOOK_ESUBJECT,
                        "cannot capture '%.*s': it is not a subject filter; give tokens joined by dots, * "
                        "for one, a final > for "
                        "the rest",
                        (int)size, text);
    subjects[(*count)++] = subject;
    return CLI_FINE;
}

static int take_subjects(cli_context *context, daybook_stream_config *config, daybook_slice **subjects_out) {
    size_t room = context->positional_count, count = 0;
    size_t given = cli_value_count(context, "subjects");
    for (size_t i = 0; i < given; i++) room += count_parts(cli_value_text(context, "subjects", i));
    if (room <= 1) return CLI_FINE;
    daybook_slice *subjects = calloc(room, sizeof *subjects);
    *subjects_out = subjects;
    if (subjects == NULL)
        return cli_fail(context, DAYBOOK_ENOMEM, "out of memory while reading the subjects");
    int status = CLI_FINE;
    for (size_t i = 1; i < context->positional_count && status == CLI_FINE; i++)
        status =
            add_subject(context, subjects, &count, context->positionals[i], strlen(context->positionals[i]));
    for (size_t i = 0; i < given && status == CLI_FINE; i++) {
        const char *text = cli_value_text(context, "subjects", i);
        while (status == CLI_FINE) {
            size_t size = strcspn(text, ",");
            status = add_subject(context, subjects, &count, text, size);
            if (text[size] == '\0') break;
            text += size + 1;
        }
    }
    config->subjects = subjects;
    config->subject_count = count;
    return status;
}

static int is_adding(const cli_context *context) {
    return strcmp(context->command->name, "stream add") == 0;
}

static void take_flag(const cli_context *context, daybook_stream_config *config, const char *name,
                      uint32_t flag) {
    char lifting[64];
    (void)snprintf(lifting, sizeof lifting, "no-%s", name);
    if (!is_adding(context) && cli_given(context, lifting)) config->flags &= ~flag;
    if (cli_given(context, name)) config->flags |= flag;
}

int cli_take_stream_config(cli_context *context, daybook_stream_config *config,
                           daybook_slice **subjects_out) {
    *subjects_out = NULL;
    config->max_msgs = cli_number(context, "max-msgs", config->max_msgs);
    config->max_bytes = cli_number(context, "max-bytes", config->max_bytes);
    config->max_age_ns = cli_time(context, "max-age", config->max_age_ns);
    config->max_msgs_per_subject = cli_number(context, "max-msgs-per-subject", config->max_msgs_per_subject);
    config->max_msg_size = cli_number(context, "max-msg-size", config->max_msg_size);
    config->duplicate_window_ns = cli_time(context, "duplicate-window", config->duplicate_window_ns);
    config->sync_interval_ns = cli_time(context, "sync-interval", config->sync_interval_ns);
    if (cli_given(context, "discard"))
        config->discard = strcmp(cli_text(context, "discard"), "new") == 0 ? DAYBOOK_DISCARD_NEW
                                                                           : DAYBOOK_DISCARD_OLD;
    if (cli_given(context, "description")) config->description = cli_slice(context, "description");
    if (is_adding(context)) {
        uint64_t tokens = cli_number(context, "aggregate", config->aggregate_tokens);
        if (tokens > 64)
            return cli_fail(context, DAYBOOK_EINVALID,
                            "cannot use --aggregate %llu: it is more than 64 tokens; give 0 to 64",
                            (unsigned long long)tokens);
        config->aggregate_tokens = (uint32_t)tokens;
        if (cli_given(context, "retention"))
            config->retention = strcmp(cli_text(context, "retention"), "interest") == 0
                                    ? DAYBOOK_RETENTION_INTEREST
                                : strcmp(cli_text(context, "retention"), "limits") == 0
                                    ? DAYBOOK_RETENTION_LIMITS
                                    : DAYBOOK_RETENTION_WORKQUEUE;
        if (cli_given(context, "storage"))
            config->storage = strcmp(cli_text(context, "storage"), "memory") == 0 ? DAYBOOK_STORAGE_MEMORY
                                                                                  : DAYBOOK_STORAGE_FILE;
    }
    take_flag(context, config, "discard-new-per-subject", DAYBOOK_STREAM_DISCARD_NEW_PER_SUBJECT);
    take_flag(context, config, "allow-rollup", DAYBOOK_STREAM_ALLOW_ROLLUP);
    if (cli_given(context, "allow-ttl")) config->flags |= DAYBOOK_STREAM_ALLOW_TTL;
    if (cli_given(context, "marker-ttl"))
        config->delete_marker_ttl_s = cli_time(context, "marker-ttl", 0) / SECOND_NS;
    take_flag(context, config, "deny-delete", DAYBOOK_STREAM_DENY_DELETE);
    take_flag(context, config, "deny-purge", DAYBOOK_STREAM_DENY_PURGE);
    return take_subjects(context, config, subjects_out);
}

// --- Shown ---

static const char *const retention_names[] = {"limits", "interest", "workqueue"};

const char *cli_duration_text(int64_t duration_ns, char out[48]) {
    static const struct {
        int64_t ns;
        const char *name;
    } units[] = {{86400 * SECOND_NS, "d"},
                 {3600 * SECOND_NS, "h"},
                 {60 * SECOND_NS, "m"},
                 {SECOND_NS, "s"},
                 {1000000, "ms"},
                 {1000, "us"},
                 {1, "ns"}};
    size_t size = 0;
    out[0] = '0';
    out[1] = '\0';
    for (size_t i = 0; i < sizeof units / sizeof units[0] && duration_ns > 0; i++) {
        int64_t count = duration_ns / units[i].ns;
        duration_ns %= units[i].ns;
        if (count == 0 || size >= 40) continue;
        int added = snprintf(out + size, 48 - size, "%lld%s", (long long)count, units[i].name);
        if (added > 0) size += (size_t)added;
    }
    return out;
}

static void put_member(cli_output *out, const char *name, uint64_t number) {
    cli_put_format(out, ",\"%s\":%llu", name, (unsigned long long)number);
}

static void put_duration_member(cli_output *out, const char *name, int64_t duration_ns) {
    char text[48];
    cli_put_format(out, ",\"%s\":\"%s\"", name, cli_duration_text(duration_ns, text));
}

static void put_flag_member(cli_output *out, const char *name, const daybook_stream_config *config,
                            uint32_t flag) {
    cli_put_format(out, ",\"%s\":%s", name, (config->flags & flag) != 0 ? "true" : "false");
}

static void put_time_member(cli_output *out, const char *name, int64_t time_ns) {
    if (time_ns == 0 || time_ns == DAYBOOK_TIME_NONE) return;
    cli_put_format(out, ",\"%s\":\"", name);
    cli_put_time(out, time_ns);
    cli_put_char(out, '"');
}

static void put_json(cli_output *out, const daybook_stream_info *info) {
    const daybook_stream_config *config = &info->config;
    cli_puts(out, "{\"stream\":");
    cli_put_json_string(out, config->name);
    cli_puts(out, ",\"subjects\":[");
    for (size_t i = 0; i < config->subject_count; i++) {
        if (i != 0) cli_put_char(out, ',');
        cli_put_json_string(out, config->subjects[i]);
    }
    cli_put_char(out, ']');
    put_member(out, "messages", info->message_count);
    put_member(out, "bytes", info->byte_count);
    put_member(out, "first_seq", info->first_seq);
    put_member(out, "last_seq", info->last_seq);
    put_time_member(out, "first_recorded", info->message_count == 0 ? 0 : info->first_recorded_ns);
    put_time_member(out, "last_recorded", info->last_seq == 0 ? 0 : info->last_recorded_ns);
    put_time_member(out, "created", info->created_ns);
    put_member(out, "aggregate", config->aggregate_tokens);
    cli_puts(out,
             config->storage == DAYBOOK_STORAGE_MEMORY ? ",\"storage\":\"memory\"" : ",\"storage\":\"file\"");
    cli_puts(out, config->discard == DAYBOOK_DISCARD_NEW ? ",\"discard\":\"new\"" : ",\"discard\":\"old\"");
    cli_put_format(out, ",\"retention\":\"%s\"", retention_names[config->retention]);
    put_member(out, "max_msgs", config->max_msgs);
    put_member(out, "max_bytes", config->max_bytes);
    put_duration_member(out, "max_age", config->max_age_ns);
    put_member(out, "max_msgs_per_subject", config->max_msgs_per_subject);
    put_member(out, "max_msg_size", config->max_msg_size);
    put_duration_member(out, "duplicate_window", config->duplicate_window_ns);
    put_duration_member(out, "sync_interval", config->sync_interval_ns);
    put_flag_member(out, "discard_new_per_subject", config, DAYBOOK_STREAM_DISCARD_NEW_PER_SUBJECT);
    put_flag_member(out, "allow_rollup", config, DAYBOOK_STREAM_ALLOW_ROLLUP);
    put_flag_member(out, "deny_delete", config, DAYBOOK_STREAM_DENY_DELETE);
    put_flag_member(out, "deny_purge", config, DAYBOOK_STREAM_DENY_PURGE);
    if ((config->flags & DAYBOOK_STREAM_ALLOW_TTL) != 0) {
        put_flag_member(out, "allow_ttl", config, DAYBOOK_STREAM_ALLOW_TTL);
        put_duration_member(out, "marker_ttl", config->delete_marker_ttl_s * SECOND_NS);
    }
    if ((config->flags & DAYBOOK_STREAM_IDS_IN_WINDOW) != 0)
        put_flag_member(out, "ids_in_window", config, DAYBOOK_STREAM_IDS_IN_WINDOW);
    if ((config->flags & DAYBOOK_STREAM_OTHER_SUBJECTS) != 0)
        put_flag_member(out, "other_subjects", config, DAYBOOK_STREAM_OTHER_SUBJECTS);
    if ((config->flags & DAYBOOK_STREAM_GIVEN_SEQS) != 0)
        put_flag_member(out, "given_seqs", config, DAYBOOK_STREAM_GIVEN_SEQS);
    put_flag_member(out, "internal", config, DAYBOOK_STREAM_INTERNAL);
    if (config->description.size != 0) {
        cli_puts(out, ",\"description\":");
        cli_put_json_string(out, config->description);
    }
    cli_puts(out, "}\n");
}

static void put_label(cli_output *out, const char *label) {
    cli_put_format(out, "  %-22s", label);
}

static void put_limit(cli_output *out, const char *label, uint64_t number, int is_bytes) {
    char text[32];
    if (number == 0) return;
    put_label(out, label);
    cli_put_format(out, "%s\n", is_bytes ? cli_byte_text(number, text) : cli_grouped(number, text));
}

static void put_duration(cli_output *out, const char *label, int64_t duration_ns) {
    char text[48];
    if (duration_ns == 0) return;
    put_label(out, label);
    cli_put_format(out, "%s\n", cli_duration_text(duration_ns, text));
}

static void put_flags(cli_output *out, const daybook_stream_config *config) {
    static const struct {
        uint32_t flag;
        const char *name;
    } names[] = {{DAYBOOK_STREAM_ALLOW_ROLLUP, "allow-rollup"},
                 {DAYBOOK_STREAM_ALLOW_TTL, "allow-ttl"},
                 {DAYBOOK_STREAM_DENY_DELETE, "deny-delete"},
                 {DAYBOOK_STREAM_DENY_PURGE, "deny-purge"},
                 {DAYBOOK_STREAM_DISCARD_NEW_PER_SUBJECT, "discard-new-per-subject"},
                 {DAYBOOK_STREAM_IDS_IN_WINDOW, "ids-in-window"},
                 {DAYBOOK_STREAM_INTERNAL, "internal"},
                 {DAYBOOK_STREAM_OTHER_SUBJECTS, "other-subjects"}};
    if (config->flags == 0) return;
    put_label(out, "flags");
    const char *separator = "";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if ((config->flags & names[i].flag) == 0) continue;
        cli_put_format(out, "%s%s", separator, names[i].name);
        separator = ", ";
    }
    cli_put_char(out, '\n');
}

static void put_text(cli_context *context, const daybook_stream_info *info) {
    cli_output *out = context->out;
    const daybook_stream_config *config = &info->config;
    char count[32], bytes[32];
    if (context->color) cli_puts(out, "\033[1m");
    cli_put_plain(out, config->name, 0);
    if (context->color) cli_puts(out, "\033[0m");
    cli_put_format(out, "  %s events, %s\n", cli_grouped(info->message_count, count),
                   cli_byte_text(info->byte_count, bytes));
    if (config->description.size != 0) {
        put_label(out, "description");
        cli_put_plain(out, config->description, 0);
        cli_put_char(out, '\n');
    }
    put_label(out, "subjects");
    for (size_t i = 0; i < config->subject_count; i++) {
        if (i != 0) cli_puts(out, ", ");
        cli_put_plain(out, config->subjects[i], 0);
    }
    cli_put_char(out, '\n');
    put_label(out, "seq");
    cli_put_format(out, "%llu to %llu\n", (unsigned long long)info->first_seq,
                   (unsigned long long)info->last_seq);
    if (info->last_seq != 0) {
        put_label(out, "last recorded");
        cli_put_time(out, info->last_recorded_ns);
        cli_put_char(out, '\n');
    }
    put_label(out, "created");
    cli_put_time(out, info->created_ns);
    cli_put_char(out, '\n');
    put_label(out, "aggregate");
    if (config->aggregate_tokens == 0)
        cli_puts(out, "none\n");
    else
        cli_put_format(out, "the first %u tokens\n", config->aggregate_tokens);
    put_label(out, "storage");
    cli_puts(out, config->storage == DAYBOOK_STORAGE_MEMORY ? "memory\n" : "file\n");
    if (config->retention != DAYBOOK_RETENTION_LIMITS) {
        put_label(out, "retention");
        cli_put_format(out, "%s\n", retention_names[config->retention]);
    }
    put_label(out, "discard");
    cli_puts(out, config->discard == DAYBOOK_DISCARD_NEW ? "new\n" : "old\n");
    put_limit(out, "max msgs", config->max_msgs, 0);
    put_limit(out, "max bytes", config->max_bytes, 1);
    put_duration(out, "max age", config->max_age_ns);
    put_duration(out, "marker ttl", config->delete_marker_ttl_s * SECOND_NS);
    put_limit(out, "max msgs per subject", config->max_msgs_per_subject, 0);
    put_limit(out, "max msg size", config->max_msg_size, 1);
    put_duration(out, "duplicate window", config->duplicate_window_ns);
    put_label(out, "sync");
    if (config->sync_interval_ns == 0) {
        cli_puts(out, "before every acknowledgement\n");
    } else {
        char text[48];
        cli_put_format(out, "within %s AFTER the acknowledgement: a crash may lose acknowledged events\n",
                       cli_duration_text(config->sync_interval_ns, text));
    }
    put_flags(out, config);
}

void cli_put_stream(cli_context *context, const daybook_stream_info *info) {
    if (context->json)
        put_json(context->out, info);
    else
        put_text(context, info);
}
