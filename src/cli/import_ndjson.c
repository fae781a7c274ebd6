// SPDX-License-Identifier: Apache-2.0
//
// NDJSON: a JSON object per line, in one of two readings. Without --subject a line is an event in the names
// `read --json` and `export` print (cli/ndjson.h). With --subject it is any object: its members are the
// columns, its bytes the data, kept as they stand. Blank lines are skipped. Memory: one line. One thread.
#include "cli/import.h"
#include "cli/json.h"
#include "cli/ndjson.h"

#include <errno.h>
#include <stdlib.h>

typedef struct ndjson_source {
    cli_import_source base;
    bool as_events;
    cli_input input;
    uint64_t total_bytes;
    cli_line_reader lines;
    cli_ndjson parser;
    cli_import_field *fields;
    size_t field_capacity;
    char *scratch; // decoded names and strings; never larger than the line
    size_t scratch_capacity;
} ndjson_source;

static const cli_import_place nowhere;

static daybook_status fail_reading(ndjson_source *ndjson, cli_import_problem *problem) {
    cli_import_place place = {ndjson->lines.line_number, 0};
    int code = ndjson->lines.failed_errno;
    if (code == ENOMEM) return cli_import_no_memory(problem);
    if (code == EFBIG)
        return cli_import_fail(problem, DAYBOOK_EINVALID, place, "the line is longer than %u MiB",
                               CLI_LINE_SIZE_MAX >> 20);
    return cli_import_fail(problem, DAYBOOK_EIO, place, "cannot read it: %s", strerror(code));
}

static daybook_status fail_json(ndjson_source *ndjson, daybook_slice line, const cli_json_error *error,
                                cli_import_problem *problem) {
    size_t offset = error->offset < line.size ? error->offset : line.size;
    size_t valid = cli_utf8_valid_size((daybook_slice){line.data, offset});
    cli_import_place place = {ndjson->lines.line_number,
                              cli_utf8_count((daybook_slice){line.data, valid}) + 1};
    return cli_import_fail(problem, DAYBOOK_EINVALID, place, "malformed JSON: %s", error->message);
}

static daybook_status reserve(ndjson_source *ndjson, size_t field_count, size_t scratch_size,
                              cli_import_problem *problem) {
    if (field_count > ndjson->field_capacity) {
        size_t capacity = ndjson->field_capacity == 0 ? 32 : ndjson->field_capacity * 2;
        cli_import_field *fields = realloc(ndjson->fields, capacity * sizeof *fields);
        if (fields == NULL) return cli_import_no_memory(problem);
        ndjson->fields = fields;
        ndjson->field_capacity = capacity;
    }
    if (scratch_size > ndjson->scratch_capacity) {
        char *scratch = realloc(ndjson->scratch, scratch_size);
        if (scratch == NULL) return cli_import_no_memory(problem);
        ndjson->scratch = scratch;
        ndjson->scratch_capacity = scratch_size;
    }
    return DAYBOOK_OK;
}

// The members of the line's object as fields; strings are decoded, the rest stays JSON, null is empty.
static daybook_status read_members(ndjson_source *ndjson, daybook_slice line, cli_import_record *record_out,
                                   cli_import_problem *problem) {
    cli_json_error error = {0, "an object was expected"};
    cli_json_iterator iterator;
    if (!cli_json_is_valid(line, &error) || !cli_json_begin(line, '{', &iterator, &error))
        return fail_json(ndjson, line, &error, problem);
    daybook_status status = reserve(ndjson, 0, line.size, problem);
    if (status != DAYBOOK_OK) return status;
    size_t count = 0, used = 0;
    daybook_slice key, value;
    while (cli_json_next(&iterator, &key, &value, &error) == 1) {
        const char *text = value.data;
        if (count == CLI_IMPORT_FIELD_COUNT_MAX)
            return cli_import_fail(problem, DAYBOOK_EINVALID,
                                   (cli_import_place){ndjson->lines.line_number, 0},
                                   "the object has more than %d members", CLI_IMPORT_FIELD_COUNT_MAX);
        status = reserve(ndjson, count + 1, 0, problem);
        if (status != DAYBOOK_OK) return status;
        cli_import_field *field = &ndjson->fields[count++];
        size_t column = cli_utf8_count((daybook_slice){line.data, (size_t)(text - (const char *)line.data)}) +
                        1;
        *field = (cli_import_field){
            .value = value, .kind = CLI_IMPORT_LITERAL, .place = {ndjson->lines.line_number, column}};
        size_t size = cli_json_unescape(key, ndjson->scratch + used);
        if (size == SIZE_MAX) size = 0; // no template can name it
        field->name = (daybook_slice){ndjson->scratch + used, size};
        used += size;
        if (cli_slice_equals(value, daybook_text("null"))) field->value.size = 0;
        if (text[0] != '"') continue;
        size = cli_json_unescape(value, ndjson->scratch + used);
        if (size == SIZE_MAX)
            return cli_import_fail(problem, DAYBOOK_EINVALID, field->place,
                                   "the string has half a surrogate pair");
        field->value = (daybook_slice){ndjson->scratch + used, size};
        field->kind = CLI_IMPORT_STRING;
        used += size;
    }
    *record_out = (cli_import_record){.fields = ndjson->fields,
                                      .field_count = count,
                                      .place = {ndjson->lines.line_number, 0},
                                      .has_data = true,
                                      .data = line};
    return DAYBOOK_OK;
}

static daybook_status read_event(ndjson_source *ndjson, daybook_slice line, cli_import_record *record_out,
                                 cli_import_problem *problem) {
    daybook_status status = cli_ndjson_parse(&ndjson->parser, line);
    if (status == DAYBOOK_ENOMEM) return cli_import_no_memory(problem);
    cli_import_place place = {ndjson->lines.line_number, 0};
    if (status != DAYBOOK_OK) {
        place.column = ndjson->parser.column;
        return cli_import_fail(problem, DAYBOOK_EINVALID, place, "%s", ndjson->parser.message);
    }
    *record_out = (cli_import_record){.place = place, .event = &ndjson->parser.event};
    return DAYBOOK_OK;
}

static daybook_status ndjson_next(cli_import_source *source, cli_import_record *record_out,
                                  cli_import_problem *problem) {
    ndjson_source *ndjson = (ndjson_source *)source;
    daybook_slice line;
    do {
        int more = cli_line_reader_next(&ndjson->lines, &line);
        if (more == 0) return DAYBOOK_END;
        if (more < 0) return fail_reading(ndjson, problem);
    } while (cli_slice_is_blank(line));
    return ndjson->as_events ? read_event(ndjson, line, record_out, problem)
                             : read_members(ndjson, line, record_out, problem);
}

static void ndjson_progress(cli_import_source *source, uint64_t *done_out, uint64_t *total_out) {
    const ndjson_source *ndjson = (const ndjson_source *)source;
    *done_out = ndjson->lines.read_bytes;
    *total_out = ndjson->total_bytes;
}

static void ndjson_close(cli_import_source *source) {
    ndjson_source *ndjson = (ndjson_source *)source;
    cli_input_close(&ndjson->input);
    cli_line_reader_deinit(&ndjson->lines);
    cli_ndjson_deinit(&ndjson->parser);
    free(ndjson->fields);
    free(ndjson->scratch);
    free(ndjson);
}

daybook_status cli_import_ndjson_open(cli_context *context, const char *path, bool as_events, int64_t now_ns,
                                      cli_import_source **source_out, cli_import_problem *problem) {
    *source_out = NULL;
    cli_input input;
    int failed = cli_input_open(context, path, &input);
    if (failed != 0) {
        return cli_import_fail(problem, failed == ENOENT ? DAYBOOK_ENOTFOUND : DAYBOOK_EIO, nowhere,
                               "cannot open it: %s", strerror(failed));
    }
    ndjson_source *ndjson = calloc(1, sizeof *ndjson);
    if (ndjson == NULL) {
        cli_input_close(&input);
        return cli_import_no_memory(problem);
    }
    ndjson->base =
        (cli_import_source){.next = ndjson_next, .progress = ndjson_progress, .close = ndjson_close};
    ndjson->as_events = as_events;
    ndjson->input = input;
    ndjson->total_bytes = input.size;
    cli_line_reader_init(&ndjson->lines, input.descriptor, CLI_LINE_SIZE_MAX);
    ndjson->lines.input = &ndjson->input;
    cli_ndjson_init(&ndjson->parser, now_ns);
    *source_out = &ndjson->base;
    return DAYBOOK_OK;
}
