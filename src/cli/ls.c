// SPDX-License-Identifier: Apache-2.0
//
// `ls`: aggregates with version and last time, subjects, or types. The library lists them from its index,
// which knows the position of the last event but not its time. Times are looked up afterwards: event by event
// where the list is short beside the store, else in one pass over the events, whichever reads less.

#include "cli/table.h"

#include <stdlib.h>

// A look-up by position costs about as much as reading so many events in a row.
#define EVENTS_PER_LOOKUP 16
#define ENTRY_COUNT_MAX (1u << 19)

typedef struct entry {
    size_t name_begin; // in the names buffer
    size_t name_size;
    size_t stream_begin;
    size_t stream_size;
    uint64_t event_count;
    uint64_t last_seq;
    uint64_t last_position;
    uint64_t last_version;
    int64_t last_time_ns;
} entry;

typedef struct listing {
    cli_context *context;
    int kind;
    daybook_slice filter;
    entry *entries;
    size_t count;
    size_t capacity;
    cli_output names;
    cli_table table;
    int out_of_memory;
    daybook_status status; // of looking up times
    daybook_error error;
} listing;

static int print_gathered(listing *work);

static int collect(void *context, const daybook_list_entry *found) {
    listing *work = context;
    if (work->count == ENTRY_COUNT_MAX && print_gathered(work) != 0) return 1;
    if (work->count == work->capacity) {
        size_t capacity = work->capacity == 0 ? 1024 : work->capacity * 2;
        entry *entries = realloc(work->entries, capacity * sizeof *entries);
        if (entries == NULL) return work->out_of_memory = 1;
        work->entries = entries;
        work->capacity = capacity;
    }
    entry *added = &work->entries[work->count++];
    *added = (entry){.name_begin = work->names.size,
                     .name_size = found->name.size,
                     .event_count = found->event_count,
                     .last_seq = found->last_seq,
                     .last_position = found->last_position,
                     .last_version = found->last_version,
                     .last_time_ns = DAYBOOK_TIME_NONE};
    cli_put_slice(&work->names, found->name);
    added->stream_begin = work->names.size;
    added->stream_size = found->stream.size;
    cli_put_slice(&work->names, found->stream);
    return work->out_of_memory = work->names.failed_errno != 0;
}

static int by_position(const void *a, const void *b) {
    const entry *const *left = a, *const *right = b;
    return ((*left)->last_position > (*right)->last_position) -
           ((*left)->last_position < (*right)->last_position);
}

// Times of the entries in `sorted` [begin, end) with one cursor over their range of positions.
static daybook_status scan_times(listing *work, entry **sorted, size_t begin, size_t end,
                                 daybook_error *error) {
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_INTERNAL;
    query.position_from = sorted[begin]->last_position;
    query.position_to = sorted[end - 1]->last_position;
    daybook_cursor *cursor;
    daybook_status status = daybook_read(work->context->store, &query, &cursor, error);
    if (status != DAYBOOK_OK) return status;
    daybook_recorded_event event;
    while (begin < end && (status = daybook_cursor_next(cursor, 0, &event, error)) == DAYBOOK_OK) {
        while (begin < end && sorted[begin]->last_position < event.position) begin++;
        while (begin < end && sorted[begin]->last_position == event.position)
            sorted[begin++]->last_time_ns = event.event.time_ns;
    }
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status find_times(listing *work, daybook_error *error) {
    if (work->count == 0) return DAYBOOK_OK;
    entry **sorted = calloc(work->count, sizeof(entry *));
    if (sorted == NULL) return DAYBOOK_ENOMEM;
    for (size_t i = 0; i < work->count; i++) sorted[i] = &work->entries[i];
    qsort(sorted, work->count, sizeof(entry *), by_position);
    daybook_status status = DAYBOOK_OK;
    // Neighbours close enough are read in one go.
    for (size_t begin = 0; begin < work->count && status == DAYBOOK_OK;) {
        size_t end = begin + 1;
        while (end < work->count &&
               sorted[end]->last_position - sorted[end - 1]->last_position <= EVENTS_PER_LOOKUP)
            end++;
        status = scan_times(work, sorted, begin, end, error);
        begin = end;
    }
    free(sorted);
    return status;
}

static daybook_slice name_of(const listing *work, const entry *shown) {
    return daybook_bytes(work->names.data + shown->name_begin, shown->name_size);
}

static daybook_slice stream_of(const listing *work, const entry *shown) {
    return daybook_bytes(work->names.data + shown->stream_begin, shown->stream_size);
}

static const char *const kind_names[] = {[DAYBOOK_LIST_AGGREGATES] = "aggregate",
                                         [DAYBOOK_LIST_SUBJECTS] = "subject",
                                         [DAYBOOK_LIST_TYPES] = "type"};

static void put_json(listing *work, const entry *shown) {
    cli_output *out = work->context->out;
    cli_put_char(out, '{');
    if (work->kind != DAYBOOK_LIST_TYPES) {
        cli_puts(out, "\"stream\":");
        cli_put_json_string(out, stream_of(work, shown));
        cli_put_char(out, ',');
    }
    cli_put_format(out, "\"%s\":", kind_names[work->kind]);
    cli_put_json_string(out, name_of(work, shown));
    if (work->kind == DAYBOOK_LIST_AGGREGATES)
        cli_put_format(out, ",\"version\":%llu", (unsigned long long)shown->last_version);
    cli_put_format(out, ",\"events\":%llu", (unsigned long long)shown->event_count);
    if (work->kind != DAYBOOK_LIST_TYPES)
        cli_put_format(out, ",\"seq\":%llu", (unsigned long long)shown->last_seq);
    cli_put_format(out, ",\"position\":%llu", (unsigned long long)shown->last_position);
    if (shown->last_time_ns != DAYBOOK_TIME_NONE) {
        cli_puts(out, ",\"time\":\"");
        cli_put_time(out, shown->last_time_ns);
        cli_put_char(out, '"');
    }
    cli_puts(out, "}\n");
}

static void init_table(listing *work) {
    static const cli_column aggregate_columns[] = {{"aggregate", 0}, {"version", 1},  {"events", 1},
                                                   {"stream", 0},    {"position", 1}, {"time", 0}};
    static const cli_column subject_columns[] = {{"subject", 0}, {"events", 1},   {"stream", 0},
                                                 {"seq", 1},     {"position", 1}, {"time", 0}};
    static const cli_column type_columns[] = {{"type", 0}, {"events", 1}, {"position", 1}, {"time", 0}};
    if (work->kind == DAYBOOK_LIST_AGGREGATES)
        cli_table_init(&work->table, work->context, aggregate_columns, 6);
    else if (work->kind == DAYBOOK_LIST_SUBJECTS)
        cli_table_init(&work->table, work->context, subject_columns, 6);
    else
        cli_table_init(&work->table, work->context, type_columns, 4);
}

static void put_row(listing *work, const entry *shown) {
    cli_table *table = &work->table;
    cli_table_slice(table, name_of(work, shown));
    if (work->kind == DAYBOOK_LIST_AGGREGATES) cli_table_number(table, shown->last_version);
    cli_table_number(table, shown->event_count);
    if (work->kind != DAYBOOK_LIST_TYPES) cli_table_slice(table, stream_of(work, shown));
    if (work->kind == DAYBOOK_LIST_SUBJECTS) cli_table_number(table, shown->last_seq);
    cli_table_number(table, shown->last_position);
    cli_table_time(table, shown->last_time_ns);
}

// Print what is gathered and begin anew. Non-zero ends the listing.
static int print_gathered(listing *work) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = find_times(work, &error);
    // Damage hides times, not names.
    if (status != DAYBOOK_OK && (work->status == DAYBOOK_OK || work->status == DAYBOOK_EDAMAGED)) {
        work->status = status;
        work->error = error;
    }
    if (status != DAYBOOK_OK && status != DAYBOOK_EDAMAGED) return 1;
    for (size_t i = 0; i < work->count; i++) {
        if (work->context->json)
            put_json(work, &work->entries[i]);
        else
            put_row(work, &work->entries[i]);
    }
    if (!work->context->json) cli_table_flush(&work->table);
    work->count = 0;
    work->names.size = 0;
    return work->context->out->failed_errno != 0;
}

static int list(listing *work) {
    cli_context *context = work->context;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_list(context->store, work->kind, cli_slice(context, "stream"),
                                         work->filter, collect, work, &error);
    if (work->out_of_memory)
        return cli_fail(context, DAYBOOK_ENOMEM, "out of memory while listing; give a filter");
    if (status != DAYBOOK_OK) return cli_fail_error(context, status, &error, NULL);
    (void)print_gathered(work);
    if (work->status == DAYBOOK_EDAMAGED)
        return cli_fail_error(context, work->status, &work->error, "not all times are known");
    if (work->status != DAYBOOK_OK) return cli_fail_error(context, work->status, &work->error, NULL);
    return CLI_FINE;
}

// Names of internal streams, for --all: the library lists them only by name.
typedef struct internal_streams {
    char (*names)[DAYBOOK_STREAM_NAME_SIZE_MAX + 1];
    size_t count;
    int out_of_memory;
} internal_streams;

static int note_internal(void *context, const daybook_stream_info *info) {
    internal_streams *streams = context;
    if ((info->config.flags & DAYBOOK_STREAM_INTERNAL) == 0 ||
        info->config.name.size > DAYBOOK_STREAM_NAME_SIZE_MAX)
        return 0;
    void *names = realloc(streams->names, (streams->count + 1) * sizeof *streams->names);
    if (names == NULL) return streams->out_of_memory = 1;
    streams->names = names;
    memcpy(streams->names[streams->count], info->config.name.data, info->config.name.size);
    streams->names[streams->count++][info->config.name.size] = '\0';
    return 0;
}

static int collect_internal(listing *work) {
    cli_context *context = work->context;
    internal_streams streams = {.names = NULL};
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_stream_list(context->store, note_internal, &streams, &error);
    for (size_t i = 0; i < streams.count && status == DAYBOOK_OK; i++)
        status = daybook_list(context->store, work->kind, daybook_text(streams.names[i]), work->filter,
                              collect, work, &error);
    free(streams.names);
    if (streams.out_of_memory || work->out_of_memory)
        return cli_fail(context, DAYBOOK_ENOMEM, "out of memory while listing");
    return status == DAYBOOK_OK ? CLI_FINE : cli_fail_error(context, status, &error, NULL);
}

int cli_run_ls(cli_context *context) {
    listing work = {.context = context, .kind = DAYBOOK_LIST_AGGREGATES};
    if (cli_given(context, "types") && cli_given(context, "subjects"))
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot use --types with --subjects: one list at a time; choose one");
    if (cli_given(context, "types")) work.kind = DAYBOOK_LIST_TYPES;
    if (cli_given(context, "subjects")) work.kind = DAYBOOK_LIST_SUBJECTS;
    if (context->positional_count != 0) {
        work.filter = daybook_text(context->positionals[0]);
        if (!daybook_filter_is_valid(work.filter))
            return cli_fail(
                context, DAYBOOK_ESUBJECT,
                "cannot use the filter '%s': it is not a subject filter; give tokens joined by dots",
                context->positionals[0]);
        if (work.kind == DAYBOOK_LIST_TYPES)
            return cli_fail(context, DAYBOOK_EINVALID,
                            "cannot use a filter with --types: types have no subject; leave one of them out");
    }
    int status = cli_open_store(context, CLI_READ);
    if (status != CLI_FINE) return status;
    cli_output_init(&work.names, -1);
    if (!context->json) init_table(&work);
    if (cli_given(context, "all") && !cli_given(context, "stream")) status = collect_internal(&work);
    if (status == CLI_FINE) status = list(&work);
    if (!context->json) {
        int ended = cli_table_end(&work.table, status == CLI_FINE ? "nothing to list" : NULL);
        if (status == CLI_FINE) status = ended;
    }
    free(work.entries);
    cli_output_deinit(&work.names);
    return status;
}
