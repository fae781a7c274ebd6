// SPDX-License-Identifier: Apache-2.0
//
// `kv ...`: buckets. A bucket B is the stream KV_B; a value's revision is its seq there.

#include "cli/progress.h"
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static daybook_slice bucket_of(const cli_context *context) {
    return daybook_text(context->positionals[0]);
}

static daybook_slice key_of(const cli_context *context) {
    return daybook_text(context->positionals[1]);
}

static const char *operation_name(int operation) {
    return operation == DAYBOOK_KV_DELETE ? "delete" : operation == DAYBOOK_KV_PURGE ? "purge" : "put";
}

// --- add, ls, rm ---

int cli_run_kv_add(cli_context *context) {
    daybook_kv_config config;
    daybook_kv_config_init(&config);
    config.bucket = bucket_of(context);
    uint64_t history = cli_number(context, "history", config.history);
    if (history < 1 || history > 64)
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot use --history %llu: a bucket keeps 1 to 64 values per key; give one of those",
                        (unsigned long long)history);
    config.history = (uint32_t)history;
    config.ttl_ns = cli_time(context, "ttl", 0);
    config.max_bytes = cli_number(context, "max-bytes", 0);
    config.max_value_size = cli_number(context, "max-value-size", 0);
    config.description = cli_slice(context, "description");
    if (cli_given(context, "storage") && strcmp(cli_text(context, "storage"), "memory") == 0)
        config.storage = DAYBOOK_STORAGE_MEMORY;
    if (context->no_create)
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot add a bucket: --no-create is given; leave that out");
    int status = cli_open_store(context, CLI_WRITE);
    if (status != CLI_FINE) return status;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status added = daybook_kv_add(cli_engine(context), &config, &error);
    if (added != DAYBOOK_OK) return cli_fail_error(context, added, &error, NULL);
    char name[2 * DAYBOOK_STREAM_NAME_SIZE_MAX + 64];
    (void)snprintf(name, sizeof name, "KV_%s for bucket %s", context->positionals[0],
                   context->positionals[0]);
    cli_note_created(context, "stream", daybook_text(name));
    return CLI_FINE;
}

static int is_bucket(daybook_slice name) {
    return name.size > 3 && memcmp(name.data, "KV_", 3) == 0;
}

static int show_bucket(void *context, const daybook_stream_info *info) {
    cli_table *table = context;
    if (!is_bucket(info->config.name)) return 0;
    daybook_slice bucket =
        daybook_bytes((const char *)info->config.name.data + 3, info->config.name.size - 3);
    if (table->context->json) {
        cli_output *out = table->context->out;
        cli_puts(out, "{\"bucket\":");
        cli_put_json_string(out, bucket);
        cli_put_format(out, ",\"values\":%llu,\"bytes\":%llu,\"history\":%llu,\"revision\":%llu}\n",
                       (unsigned long long)info->message_count, (unsigned long long)info->byte_count,
                       (unsigned long long)info->config.max_msgs_per_subject,
                       (unsigned long long)info->last_seq);
        return out->failed_errno != 0;
    }
    cli_table_slice(table, bucket);
    cli_table_number(table, info->message_count);
    cli_table_bytes(table, info->byte_count);
    cli_table_number(table, info->config.max_msgs_per_subject);
    cli_table_number(table, info->last_seq);
    cli_table_slice(table, info->config.description);
    return table->failed;
}

int cli_run_kv_ls(cli_context *context) {
    static const cli_column columns[] = {{"bucket", 0},  {"values", 1},   {"bytes", 1},
                                         {"history", 1}, {"revision", 1}, {"description", 0}};
    int status = cli_open_store(context, CLI_READ);
    if (status != CLI_FINE) return status;
    cli_table table = {.context = context};
    if (!context->json) cli_table_init(&table, context, columns, sizeof columns / sizeof columns[0]);
    daybook_error error;
    daybook_error_init(&error);
    daybook_status listed = daybook_stream_list(context->store, show_bucket, &table, &error);
    if (!context->json) status = cli_table_end(&table, "no buckets");
    return listed == DAYBOOK_OK ? status : cli_fail_error(context, listed, &error, NULL);
}

// Is the bucket there? ENOTFOUND with a message.
static daybook_status find_bucket(cli_context *context, daybook_error *error) {
    daybook_engine_cursor *cursor = NULL;
    daybook_status status = daybook_kv_read(cli_engine(context), bucket_of(context), daybook_bytes(NULL, 0),
                                            0, 0, &cursor, error);
    if (status == DAYBOOK_OK) daybook_engine_cursor_close(cursor);
    return status;
}

int cli_run_kv_rm(cli_context *context) {
    int status = cli_confirm(context, "remove bucket %s with all its values", context->positionals[0]);
    if (status == CLI_FINE) status = cli_open_store(context, context->dry_run ? CLI_READ : CLI_WRITE);
    if (status != CLI_FINE) return status;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status removed = context->dry_run
                                 ? find_bucket(context, &error)
                                 : daybook_kv_remove(cli_engine(context), bucket_of(context), &error);
    if (removed != DAYBOOK_OK) return cli_fail_error(context, removed, &error, NULL);
    cli_note(context, "%s bucket %s", context->dry_run ? "would remove" : "removed", context->positionals[0]);
    return CLI_FINE;
}

// --- Writing values ---

static void put_revision(cli_context *context, uint64_t revision) {
    cli_output *out = context->out;
    if (!context->json) {
        cli_put_format(out, "revision %llu\n", (unsigned long long)revision);
        return;
    }
    cli_puts(out, "{\"bucket\":");
    cli_put_json_string(out, bucket_of(context));
    cli_puts(out, ",\"key\":");
    cli_put_json_string(out, key_of(context));
    cli_put_format(out, ",\"revision\":%llu}\n", (unsigned long long)revision);
}

// The values that came since the revision the caller knew.
static int fail_conflict(cli_context *context, const daybook_error *error) {
    char stream[DAYBOOK_STREAM_NAME_SIZE_MAX + 1], subject[2 * DAYBOOK_SUBJECT_SIZE_MAX], what[256];
    (void)snprintf(stream, sizeof stream, "KV_%s", context->positionals[0]);
    (void)snprintf(subject, sizeof subject, "$KV.%s.%s", context->positionals[0], context->positionals[1]);
    (void)snprintf(what, sizeof what, "not written: the key's last revision is %llu, expected %llu",
                   (unsigned long long)error->actual, (unsigned long long)error->expected);
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text(stream);
    daybook_slice filter = daybook_text(subject);
    query.filters = &filter;
    query.filter_count = 1;
    query.seq_from = error->expected + 1;
    return cli_fail_missed(context, what, error->expected, error->actual,
                           error->expected == UINT64_MAX ? NULL : &query);
}

static int finish_write(cli_context *context, daybook_status status, const daybook_error *error,
                        uint64_t revision) {
    if (status == DAYBOOK_ECONFLICT) return fail_conflict(context, error);
    if (status != DAYBOOK_OK) return cli_fail_error(context, status, error, NULL);
    put_revision(context, revision);
    return CLI_FINE;
}

enum write_kind { PUT, CREATE, UPDATE };

static int write_value(cli_context *context, int kind, uint64_t expected) {
    char *value = NULL;
    size_t size = 0;
    const char *argument = context->positional_count > 2 ? context->positionals[2] : NULL;
    int status = cli_read_data(context, argument, &value, &size);
    if (status == CLI_FINE) status = cli_open_store(context, CLI_WRITE);
    if (status == CLI_FINE) {
        daybook_slice bucket = bucket_of(context), key = key_of(context), bytes = daybook_bytes(value, size);
        uint64_t revision = 0;
        daybook_error error;
        daybook_error_init(&error);
        daybook_status written;
        if (kind == PUT)
            written = daybook_kv_put(cli_engine(context), bucket, key, bytes, &revision, &error);
        else if (kind == CREATE)
            written = daybook_kv_create(cli_engine(context), bucket, key, bytes, &revision, &error);
        else
            written = daybook_kv_update(cli_engine(context), bucket, key, bytes, expected, &revision, &error);
        status = finish_write(context, written, &error, revision);
    }
    free(value);
    return status;
}

int cli_run_kv_put(cli_context *context) {
    return write_value(context, PUT, 0);
}

int cli_run_kv_create(cli_context *context) {
    return write_value(context, CREATE, 0);
}

int cli_run_kv_update(cli_context *context) {
    uint64_t expected;
    const char *text = context->positionals[3];
    if (!cli_parse_number(daybook_text(text), &expected))
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot use the revision '%s': it is no whole number; give the key's last revision",
                        text);
    return write_value(context, UPDATE, expected);
}

static int delete_key(cli_context *context, int purge) {
    daybook_error error;
    daybook_error_init(&error);
    uint64_t revision = 0;
    uint64_t expected = cli_number(context, "revision", 0);
    daybook_status deleted = daybook_kv_delete(cli_engine(context), bucket_of(context), key_of(context),
                                               purge, expected, &revision, &error);
    return finish_write(context, deleted, &error, revision);
}

int cli_run_kv_del(cli_context *context) {
    int status = cli_open_store(context, CLI_WRITE);
    return status == CLI_FINE ? delete_key(context, 0) : status;
}

int cli_run_kv_purge(cli_context *context) {
    int status = cli_confirm(context, "delete key %s of bucket %s with its history", context->positionals[1],
                             context->positionals[0]);
    if (status == CLI_FINE) status = cli_open_store(context, context->dry_run ? CLI_READ : CLI_WRITE);
    if (status != CLI_FINE) return status;
    if (!context->dry_run) return delete_key(context, 1);
    daybook_error error;
    daybook_error_init(&error);
    daybook_status found = find_bucket(context, &error);
    if (found != DAYBOOK_OK) return cli_fail_error(context, found, &error, NULL);
    cli_note(context, "would delete key %s of bucket %s with its history", context->positionals[1],
             context->positionals[0]);
    return CLI_FINE;
}

// --- Reading values ---

static void put_entry_json(cli_output *out, const daybook_kv_entry *entry) {
    cli_puts(out, "{\"bucket\":");
    cli_put_json_string(out, entry->bucket);
    cli_puts(out, ",\"key\":");
    cli_put_json_string(out, entry->key);
    cli_put_format(out, ",\"revision\":%llu,\"position\":%llu,\"created\":\"",
                   (unsigned long long)entry->revision, (unsigned long long)entry->position);
    cli_put_time(out, entry->created_ns);
    cli_put_format(out, "\",\"operation\":\"%s\"", operation_name(entry->operation));
    if (entry->operation == DAYBOOK_KV_PUT) {
        cli_put_char(out, ',');
        cli_put_json_data(out, entry->value, CLI_DATA_COMPACT);
    }
    cli_puts(out, "}\n");
}

static void put_entry_text(cli_output *out, const daybook_kv_entry *entry) {
    cli_put_format(out, "%8llu  ", (unsigned long long)entry->revision);
    cli_put_time(out, entry->created_ns);
    cli_puts(out, "  ");
    cli_put_plain(out, entry->key, 0);
    if (entry->operation != DAYBOOK_KV_PUT) {
        cli_put_format(out, "  (%sd)\n", entry->operation == DAYBOOK_KV_DELETE ? "delete" : "purge");
        return;
    }
    cli_puts(out, "  ");
    if (cli_is_utf8(entry->value))
        cli_put_plain(out, entry->value, 0);
    else
        cli_put_format(out, "(%zu bytes)", entry->value.size);
    cli_put_char(out, '\n');
}

int cli_run_kv_get(cli_context *context) {
    int status = cli_open_store(context, CLI_READ);
    if (status != CLI_FINE) return status;
    if (cli_given(context, "revision") && cli_number(context, "revision", 0) == 0)
        return cli_fail(context, DAYBOOK_ENOTFOUND, "no revision 0 of %s: revisions begin at 1; give another",
                        context->positionals[1]);
    daybook_kv_entry entry = {.size = sizeof entry};
    daybook_engine_cursor *cursor = NULL;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status got = daybook_kv_get(cli_engine(context), bucket_of(context), key_of(context),
                                        cli_number(context, "revision", 0), &entry, &cursor, &error);
    if (got != DAYBOOK_OK) return cli_fail_error(context, got, &error, NULL);
    if (context->json) {
        put_entry_json(context->out, &entry);
    } else {
        cli_put_slice(context->out, entry.value);
        if (!cli_given(context, "raw")) cli_put_char(context->out, '\n');
    }
    daybook_engine_cursor_close(cursor);
    return CLI_FINE;
}

typedef struct visiting {
    cli_context *context;
    cli_table table; // keys and history, off --json
    int keys_only;
    int follow;
    uint64_t position_after;
    uint64_t limit; // 0: none
    uint64_t shown;
} visiting;

static void show_entry(visiting *work, const daybook_kv_entry *entry) {
    cli_context *context = work->context;
    if (work->keys_only && context->json) {
        cli_puts(context->out, "{\"key\":");
        cli_put_json_string(context->out, entry->key);
        cli_put_format(context->out, ",\"revision\":%llu}\n", (unsigned long long)entry->revision);
    } else if (work->keys_only && !context->csv) {
        cli_put_plain(context->out, entry->key, 0);
        cli_put_char(context->out, '\n');
    } else if (context->json) {
        put_entry_json(context->out, entry);
    } else if (context->csv) {
        cli_table_slice(&work->table, entry->key);
        cli_table_number(&work->table, entry->revision);
        cli_table_time(&work->table, entry->created_ns);
        if (work->keys_only) return;
        cli_table_text(&work->table, operation_name(entry->operation));
        cli_table_slice(&work->table, entry->value);
    } else {
        put_entry_text(context->out, entry);
    }
}

static int visit_all(visiting *work, daybook_engine_cursor *cursor) {
    cli_context *context = work->context;
    int timeout_ms = 0;
    for (;;) {
        daybook_kv_entry entry = {.size = sizeof entry};
        daybook_error error;
        daybook_error_init(&error);
        daybook_status status = daybook_kv_next(cursor, timeout_ms, &entry, &error);
        if (status == DAYBOOK_TIMEOUT) {
            if (cli_output_flush(context->out) != 0) return CLI_ERROR;
            timeout_ms = -1;
            continue;
        }
        if (status == DAYBOOK_END || (status == DAYBOOK_ECLOSED && work->follow)) return CLI_FINE;
        if (status != DAYBOOK_OK) return cli_fail_error(context, status, &error, NULL);
        timeout_ms = 0;
        if (work->keys_only && entry.operation != DAYBOOK_KV_PUT) continue;
        if (entry.position <= work->position_after) continue;
        show_entry(work, &entry);
        if (context->out->failed_errno != 0) return CLI_ERROR;
        if (++work->shown == work->limit) return CLI_FINE;
    }
}

static void interrupt(void *cursor) {
    daybook_engine_interrupt(cursor);
}

static int visit(visiting *work, daybook_slice filter, int history) {
    static const cli_column columns[] = {
        {"key", 0}, {"revision", 1}, {"created", 0}, {"operation", 0}, {"value", 0}};
    cli_context *context = work->context;
    daybook_engine_cursor *cursor = NULL;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status opened = daybook_kv_read(cli_engine(context), bucket_of(context), filter, history,
                                            work->follow, &cursor, &error);
    if (opened != DAYBOOK_OK) return cli_fail_error(context, opened, &error, NULL);
    if (context->csv) cli_table_init(&work->table, context, columns, work->keys_only ? 3 : 5);
    int status = work->follow ? cli_interrupts_begin(context, interrupt, cursor) : CLI_FINE;
    if (status == CLI_FINE) status = visit_all(work, cursor);
    if (work->follow) (void)cli_interrupts_end(context);
    if (context->csv) (void)cli_table_end(&work->table, NULL);
    daybook_engine_cursor_close(cursor);
    return status;
}

static int take_filter(cli_context *context, daybook_slice *filter_out) {
    *filter_out = context->positional_count > 1 ? key_of(context) : daybook_bytes(NULL, 0);
    if (filter_out->size == 0 || daybook_filter_is_valid(*filter_out)) return CLI_FINE;
    return cli_fail(
        context, DAYBOOK_ESUBJECT,
        "cannot use the filter '%s': it is not one; give keys with * for one token, a final > for the rest",
        context->positionals[1]);
}

int cli_run_kv_keys(cli_context *context) {
    visiting work = {.context = context, .keys_only = 1};
    daybook_slice filter;
    int status = take_filter(context, &filter);
    if (status == CLI_FINE) status = cli_open_store(context, CLI_READ);
    return status == CLI_FINE ? visit(&work, filter, 0) : status;
}

int cli_run_kv_history(cli_context *context) {
    visiting work = {.context = context};
    if (!daybook_subject_is_valid(key_of(context)))
        return cli_fail(context, DAYBOOK_ESUBJECT,
                        "cannot use the key '%s': it is not one; give tokens joined by dots",
                        context->positionals[1]);
    int status = cli_open_store(context, CLI_READ);
    if (status == CLI_FINE) status = visit(&work, key_of(context), 1);
    if (status != CLI_FINE || work.shown != 0) return status;
    return cli_fail(context, DAYBOOK_ENOTFOUND,
                    "no key %s in bucket %s: it never had a value, or it is gone; see daybook kv keys %s",
                    context->positionals[1], context->positionals[0], context->positionals[0]);
}

int cli_run_kv_watch(cli_context *context) {
    visiting work = {.context = context, .follow = 1, .limit = cli_number(context, "limit", 0)};
    daybook_slice filter;
    int status = take_filter(context, &filter);
    cli_interrupts_prepare(context);
    if (status == CLI_FINE) status = cli_open_store(context, CLI_READ);
    if (status != CLI_FINE || (cli_given(context, "limit") && work.limit == 0)) return status;
    if (cli_given(context, "updates-only")) {
        daybook_store_info info = {.size = sizeof info};
        daybook_error error;
        daybook_error_init(&error);
        daybook_status got = daybook_info(context->store, &info, &error);
        if (got != DAYBOOK_OK) return cli_fail_error(context, got, &error, NULL);
        work.position_after = info.durable_position;
    }
    return visit(&work, filter, 0);
}
