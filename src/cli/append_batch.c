// SPDX-License-Identifier: Apache-2.0
//
// `append --batch`: all lines of a file as one atomic batch. Lines are read and checked one after the other
// and kept as events in one block of memory each; the first bad line ends it before anything is written.

#include "cli/append.h"
#include "cli/ndjson.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// Far above what a batch may hold encoded: the library says exactly where the limit is, this bounds memory.
#define KEPT_BYTES_MAX (4u * DAYBOOK_BATCH_SIZE_MAX)

typedef struct batch {
    cli_context *context;
    const char *file;
    daybook_event *events;
    uint64_t *lines; // number of the line of each event
    void **blocks;   // memory of each event
    size_t count;
    size_t capacity;
    size_t kept_bytes;
} batch;

static daybook_slice copy_slice(char **room, daybook_slice from) {
    if (from.size == 0) return daybook_bytes(NULL, 0);
    memcpy(*room, from.data, from.size);
    daybook_slice copy = daybook_bytes(*room, from.size);
    *room += from.size;
    return copy;
}

static size_t block_size(const daybook_event *event) {
    size_t size = event->tag_count * sizeof(daybook_slice) + event->header_count * sizeof(daybook_header);
    size += event->subject.size + event->data.size + event->id.size + event->type.size + event->schema.size +
            event->correlation.size + event->causation.size + event->actor.size;
    for (size_t i = 0; i < event->tag_count; i++) size += event->tags[i].size;
    for (size_t i = 0; i < event->header_count; i++)
        size += event->headers[i].name.size + event->headers[i].value.size;
    return size;
}

// A copy of the event in one block: arrays first, for their alignment, then text.
static void *copy_event(const daybook_event *from, daybook_event *to, size_t size) {
    void *block = malloc(size == 0 ? 1 : size);
    if (block == NULL) return NULL;
    daybook_header *headers = block;
    daybook_slice *tags = (daybook_slice *)(void *)(headers + from->header_count);
    char *room = (char *)(tags + from->tag_count);
    *to = *from;
    to->headers = headers;
    to->tags = tags;
    for (size_t i = 0; i < from->header_count; i++) {
        headers[i].name = copy_slice(&room, from->headers[i].name);
        headers[i].value = copy_slice(&room, from->headers[i].value);
    }
    for (size_t i = 0; i < from->tag_count; i++) tags[i] = copy_slice(&room, from->tags[i]);
    to->subject = copy_slice(&room, from->subject);
    to->data = copy_slice(&room, from->data);
    to->id = copy_slice(&room, from->id);
    to->type = copy_slice(&room, from->type);
    to->schema = copy_slice(&room, from->schema);
    to->correlation = copy_slice(&room, from->correlation);
    to->causation = copy_slice(&room, from->causation);
    to->actor = copy_slice(&room, from->actor);
    return block;
}

static int grow(batch *work) {
    if (work->count < work->capacity) return 1;
    size_t capacity = work->capacity == 0 ? 256 : work->capacity * 2;
    daybook_event *events = realloc(work->events, capacity * sizeof *events);
    if (events != NULL) work->events = events;
    uint64_t *lines = realloc(work->lines, capacity * sizeof *lines);
    if (lines != NULL) work->lines = lines;
    void **blocks = realloc(work->blocks, capacity * sizeof *blocks);
    if (blocks != NULL) work->blocks = blocks;
    if (events == NULL || lines == NULL || blocks == NULL) return 0;
    work->capacity = capacity;
    return 1;
}

static int fail_memory(batch *work) {
    return cli_fail(work->context, DAYBOOK_ENOMEM,
                    "out of memory while reading the batch; nothing was appended");
}

static int add_event(batch *work, const daybook_event *event, uint64_t line) {
    if (work->count == DAYBOOK_BATCH_COUNT_MAX)
        return cli_fail(work->context, DAYBOOK_ELIMIT,
                        "the batch is too large: line %llu is the %dth event, a batch has at most %d; append "
                        "several batches, "
                        "or use --each",
                        (unsigned long long)line, DAYBOOK_BATCH_COUNT_MAX + 1, DAYBOOK_BATCH_COUNT_MAX);
    size_t size = block_size(event);
    work->kept_bytes += size;
    if (work->kept_bytes > KEPT_BYTES_MAX)
        return cli_fail(work->context, DAYBOOK_ELIMIT,
                        "the batch is too large: at line %llu it is above %d bytes; append several batches, "
                        "or use --each",
                        (unsigned long long)line, DAYBOOK_BATCH_SIZE_MAX);
    if (!grow(work)) return fail_memory(work);
    void *block = copy_event(event, &work->events[work->count], size);
    if (block == NULL) return fail_memory(work);
    work->blocks[work->count] = block;
    work->lines[work->count++] = line;
    return CLI_FINE;
}

static int is_blank(daybook_slice line) {
    const char *text = line.data;
    for (size_t i = 0; i < line.size; i++)
        if (text[i] != ' ' && text[i] != '\t') return 0;
    return 1;
}

static int fail_reading(batch *work, const cli_line_reader *reader) {
    if (reader->failed_errno == EFBIG)
        return cli_fail_input(work->context, work->file, reader->line_number, 0,
                              "the line is longer than %zu bytes; nothing was appended",
                              reader->line_size_max);
    return cli_fail(work->context, reader->failed_errno == ENOMEM ? DAYBOOK_ENOMEM : DAYBOOK_EIO,
                    "cannot read %s: %s; nothing was appended", work->file, strerror(reader->failed_errno));
}

static int read_events(batch *work, cli_line_reader *reader, cli_ndjson *parser) {
    daybook_slice line;
    int more;
    while ((more = cli_line_reader_next(reader, &line)) == 1) {
        if (is_blank(line)) continue;
        daybook_status parsed = cli_ndjson_parse(parser, line);
        if (parsed == DAYBOOK_ENOMEM) return fail_memory(work);
        if (parsed != DAYBOOK_OK)
            return cli_fail_input(work->context, work->file, reader->line_number, parser->column,
                                  "%s; nothing was appended", parser->message);
        daybook_error error;
        daybook_error_init(&error);
        parsed = daybook_event_check(&parser->event, &error);
        if (parsed != DAYBOOK_OK)
            return cli_fail_input(work->context, work->file, reader->line_number, 0,
                                  "%s; nothing was appended", error.message);
        int status = add_event(work, &parser->event, reader->line_number);
        if (status != CLI_FINE) return status;
    }
    return more == 0 ? CLI_FINE : fail_reading(work, reader);
}

static int read_file(batch *work) {
    cli_input input;
    int status = cli_open_input(work->context, work->file, &input);
    if (status != CLI_FINE) return status;
    cli_line_reader reader;
    cli_ndjson parser;
    cli_line_reader_init(&reader, input.descriptor, CLI_LINE_SIZE_MAX);
    reader.input = &input;
    cli_ndjson_init(&parser, work->context->now_ns);
    status = read_events(work, &reader, &parser);
    cli_ndjson_deinit(&parser);
    cli_line_reader_deinit(&reader);
    cli_input_close(&input);
    return status;
}

static int fail_batch(batch *work, daybook_status status, const daybook_error *error,
                      const cli_conditions *conditions) {
    uint64_t line = error->event < work->count ? work->lines[error->event] : 0;
    if ((status == DAYBOOK_EINVALID || status == DAYBOOK_ESUBJECT) && line != 0)
        return cli_fail_input(work->context, work->file, line, 0, "%s; nothing was appended", error->message);
    char about[64] = "";
    if ((status == DAYBOOK_ELIMIT || status == DAYBOOK_ENOSTREAM) && line != 0)
        (void)snprintf(about, sizeof about, "line %llu", (unsigned long long)line);
    return cli_fail_append(work->context, status, error, conditions, &work->events[0],
                           about[0] == '\0' ? NULL : about);
}

static int append_events(batch *work, const cli_conditions *conditions) {
    cli_context *context = work->context;
    int status = cli_open_store(context, CLI_CREATE);
    if (status != CLI_FINE) return status;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = conditions->conditions;
    options.condition_count = conditions->count;
    options.auto_stream = !context->no_create;
    daybook_receipt *receipts = calloc(work->count, sizeof *receipts);
    if (receipts == NULL) return fail_memory(work);
    for (size_t i = 0; i < work->count; i++) receipts[i].size = sizeof receipts[i];
    daybook_error error;
    daybook_error_init(&error);
    daybook_status appended =
        daybook_append(context->store, work->events, work->count, &options, receipts, &error);
    for (size_t i = 0; i < work->count; i++) cli_note_stream(context, &receipts[i]);
    if (appended != DAYBOOK_OK) status = fail_batch(work, appended, &error, conditions);
    for (size_t i = 0; appended == DAYBOOK_OK && i < work->count; i++)
        cli_put_receipt(context, context->out, &receipts[i], work->events[i].id);
    free(receipts);
    return status;
}

int cli_run_append_batch(cli_context *context) {
    batch work = {.context = context, .file = cli_text(context, "batch")};
    cli_conditions conditions;
    int status = cli_conditions_take(context, &conditions);
    if (status == CLI_FINE) status = read_file(&work);
    if (status == CLI_FINE && work.count == 0)
        cli_note(context, "no events in %s: nothing was appended", work.file);
    else if (status == CLI_FINE)
        status = append_events(&work, &conditions);
    cli_conditions_release(&conditions);
    for (size_t i = 0; i < work.count; i++) free(work.blocks[i]);
    free(work.blocks);
    free(work.lines);
    free(work.events);
    return status;
}
