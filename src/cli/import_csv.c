// SPDX-License-Identifier: Apache-2.0
//
// CSV as RFC 4180 describes it, streaming: a header row names the columns, then one record per row.
//
//   row   = field *( delimiter field ) ( CRLF | LF | CR | end )
//   field = *( any but delimiter, quote, CR, LF )  |  '"' *( any but '"' | '""' ) '"'
//
// Stricter than many readers, because a log that is misread is worse than one that is refused: every row has
// as many fields as the header, a quote stands only at the two ends of a field, text is UTF-8. A byte order
// mark is skipped, blank lines too. Lines count by LF, also inside quotes; columns in code points.
//
// Memory: one chunk of input and one row, the row bounded by CLI_IMPORT_RECORD_SIZE_MAX. One thread.
#include "cli/import.h"

#include <stdlib.h>

typedef struct csv_source {
    cli_import_source base;
    cli_import_input *input;
    char delimiter;
    bool is_special[256]; // ends a run of an unquoted field

    // The chunk being read.
    char *chunk;
    size_t begin, end;
    bool at_end;
    uint64_t line, column; // of the byte at `begin`

    // The row being read. Values are kept as offsets while the text may still move.
    char *text;
    size_t text_size, text_capacity;
    cli_import_field *fields;
    size_t *offsets;
    size_t field_count, field_capacity;

    daybook_slice *names;
    size_t name_count;
    char *name_text;
} csv_source;

typedef enum { CSV_FIELD, CSV_ROW, CSV_END } csv_stop; // what ended a field

static cli_import_place here(const csv_source *csv) {
    return (cli_import_place){csv->line, csv->column};
}

static daybook_status refill(csv_source *csv, cli_import_problem *problem) {
    if (csv->at_end || csv->begin < csv->end) return DAYBOOK_OK;
    size_t size = 0;
    daybook_status status =
        cli_import_input_read(csv->input, csv->chunk, CLI_IMPORT_CHUNK_SIZE, &size, problem);
    if (status != DAYBOOK_OK) {
        problem->place = here(csv);
        return status;
    }
    csv->begin = 0;
    csv->end = size;
    csv->at_end = size == 0;
    return DAYBOOK_OK;
}

static daybook_status keep(csv_source *csv, const char *data, size_t size, cli_import_problem *problem) {
    if (size == 0) return DAYBOOK_OK; // There may be no buffer yet.
    if (size > CLI_IMPORT_RECORD_SIZE_MAX - csv->text_size) {
        return cli_import_fail(problem, DAYBOOK_EINVALID, here(csv),
                               "the row is longer than %u MiB; is a closing quote missing above?",
                               CLI_IMPORT_RECORD_SIZE_MAX >> 20);
    }
    if (size > csv->text_capacity - csv->text_size) {
        size_t capacity = csv->text_capacity == 0 ? 4096 : csv->text_capacity;
        while (capacity - csv->text_size < size) capacity *= 2;
        char *text = realloc(csv->text, capacity);
        if (text == NULL) return cli_import_no_memory(problem);
        csv->text = text;
        csv->text_capacity = capacity;
    }
    memcpy(csv->text + csv->text_size, data, size);
    csv->text_size += size;
    return DAYBOOK_OK;
}

static daybook_status begin_field(csv_source *csv, cli_import_problem *problem) {
    if (csv->field_count == CLI_IMPORT_FIELD_COUNT_MAX) {
        return cli_import_fail(problem, DAYBOOK_EINVALID, here(csv), "the row has more than %d fields",
                               CLI_IMPORT_FIELD_COUNT_MAX);
    }
    if (csv->field_count == csv->field_capacity) {
        size_t capacity = csv->field_capacity == 0 ? 32 : csv->field_capacity * 2;
        cli_import_field *fields = realloc(csv->fields, capacity * sizeof *fields);
        if (fields != NULL) csv->fields = fields;
        size_t *offsets = realloc(csv->offsets, capacity * sizeof *offsets);
        if (offsets != NULL) csv->offsets = offsets;
        if (fields == NULL || offsets == NULL) return cli_import_no_memory(problem);
        csv->field_capacity = capacity;
    }
    csv->fields[csv->field_count] = (cli_import_field){.place = here(csv)};
    csv->offsets[csv->field_count] = csv->text_size;
    return DAYBOOK_OK;
}

static void end_field(csv_source *csv) {
    csv->fields[csv->field_count].value.size = csv->text_size - csv->offsets[csv->field_count];
    csv->field_count++;
}

// Move over `size` bytes without a line end.
static void advance(csv_source *csv, size_t size) {
    csv->column += cli_utf8_count((daybook_slice){csv->chunk + csv->begin, size});
    csv->begin += size;
}

// Behind a field: the delimiter, a line end or the end of the file.
static daybook_status read_stop(csv_source *csv, csv_stop *stop_out, cli_import_problem *problem) {
    daybook_status status = refill(csv, problem);
    if (status != DAYBOOK_OK) return status;
    if (csv->at_end) {
        *stop_out = CSV_END;
        return DAYBOOK_OK;
    }
    char c = csv->chunk[csv->begin];
    if (c == csv->delimiter) {
        advance(csv, 1);
        *stop_out = CSV_FIELD;
        return DAYBOOK_OK;
    }
    if (c != '\r' && c != '\n') {
        return cli_import_fail(
            problem, DAYBOOK_EINVALID, here(csv),
            "there is text behind a closing quote; a quote inside a quoted field is doubled");
    }
    csv->begin++;
    if (c == '\r') {
        status = refill(csv, problem);
        if (status != DAYBOOK_OK) return status;
        if (!csv->at_end && csv->chunk[csv->begin] == '\n') csv->begin++;
    }
    csv->line++;
    csv->column = 1;
    *stop_out = CSV_ROW;
    return DAYBOOK_OK;
}

static daybook_status read_quoted(csv_source *csv, cli_import_problem *problem) {
    cli_import_place opened = here(csv);
    advance(csv, 1);
    for (;;) {
        daybook_status status = refill(csv, problem);
        if (status != DAYBOOK_OK) return status;
        if (csv->at_end)
            return cli_import_fail(problem, DAYBOOK_EINVALID, opened,
                                   "the quote opened here is never closed");
        const char *data = csv->chunk + csv->begin;
        size_t left = csv->end - csv->begin;
        const char *quote = memchr(data, '"', left);
        size_t run = quote == NULL ? left : (size_t)(quote - data);
        status = keep(csv, data, run, problem);
        if (status != DAYBOOK_OK) return status;
        const char *newline;
        while (run > 0 && (newline = memchr(data, '\n', run)) != NULL) {
            size_t size = (size_t)(newline - data) + 1;
            csv->begin += size;
            csv->line++;
            csv->column = 1;
            data += size;
            run -= size;
        }
        advance(csv, run);
        if (quote == NULL) continue;
        advance(csv, 1);
        status = refill(csv, problem);
        if (status != DAYBOOK_OK) return status;
        if (csv->at_end || csv->chunk[csv->begin] != '"') return DAYBOOK_OK;
        status = keep(csv, "\"", 1, problem);
        if (status != DAYBOOK_OK) return status;
        advance(csv, 1);
    }
}

static daybook_status read_unquoted(csv_source *csv, cli_import_problem *problem) {
    for (;;) {
        daybook_status status = refill(csv, problem);
        if (status != DAYBOOK_OK || csv->at_end) return status;
        size_t at = csv->begin;
        while (at < csv->end && !csv->is_special[(unsigned char)csv->chunk[at]]) at++;
        size_t run = at - csv->begin;
        status = keep(csv, csv->chunk + csv->begin, run, problem);
        if (status != DAYBOOK_OK) return status;
        advance(csv, run);
        if (csv->begin == csv->end) continue;
        if (csv->chunk[csv->begin] != '"') return DAYBOOK_OK;
        return cli_import_fail(
            problem, DAYBOOK_EINVALID, here(csv),
            "a quote inside a field that does not begin with one; quote the whole field and "
            "double the quotes in it");
    }
}

// Find the field the first invalid byte is in. Between fields the row text holds a line feed, so that no
// sequence can reach from one into the next.
static daybook_status check_text(csv_source *csv, cli_import_problem *problem) {
    size_t valid = cli_utf8_valid_size((daybook_slice){csv->text, csv->text_size});
    if (valid == csv->text_size) return DAYBOOK_OK;
    size_t index = csv->field_count - 1;
    while (csv->offsets[index] > valid) index--;
    cli_import_place place = csv->fields[index].place;
    const char *begin = csv->text + csv->offsets[index];
    const char *bad = csv->text + valid;
    for (const char *at = begin; at < bad; at++) {
        if (*at != '\n') continue;
        place.line++;
        place.column = 1;
        begin = at + 1;
    }
    place.column += cli_utf8_count((daybook_slice){begin, (size_t)(bad - begin)});
    return cli_import_fail(problem, DAYBOOK_EINVALID, place, "the byte 0x%02x is no UTF-8; convert the file",
                           (unsigned)(unsigned char)*bad);
}

// One row into text, fields and offsets. END when there is none left.
static daybook_status read_row(csv_source *csv, cli_import_problem *problem) {
    csv_stop stop = CSV_FIELD;
    do {
        csv->text_size = 0;
        csv->field_count = 0;
        bool is_quoted = false;
        do {
            daybook_status status = refill(csv, problem);
            if (status == DAYBOOK_OK) status = begin_field(csv, problem);
            if (status != DAYBOOK_OK) return status;
            is_quoted = !csv->at_end && csv->chunk[csv->begin] == '"';
            status = is_quoted ? read_quoted(csv, problem) : read_unquoted(csv, problem);
            if (status != DAYBOOK_OK) return status;
            end_field(csv);
            status = keep(csv, "\n", 1, problem);
            if (status == DAYBOOK_OK) status = read_stop(csv, &stop, problem);
            if (status != DAYBOOK_OK) return status;
        } while (stop == CSV_FIELD);
        bool is_blank = csv->field_count == 1 && csv->fields[0].value.size == 0 && !is_quoted;
        if (!is_blank) return check_text(csv, problem);
    } while (stop != CSV_END);
    return DAYBOOK_END;
}

static void set_values(csv_source *csv) {
    for (size_t i = 0; i < csv->field_count; i++) csv->fields[i].value.data = csv->text + csv->offsets[i];
}

static daybook_status csv_next(cli_import_source *source, cli_import_record *record_out,
                               cli_import_problem *problem) {
    csv_source *csv = (csv_source *)source;
    daybook_status status = read_row(csv, problem);
    if (status != DAYBOOK_OK) return status;
    cli_import_place place = csv->fields[0].place;
    if (csv->field_count != csv->name_count) {
        bool is_short = csv->field_count < csv->name_count;
        const cli_import_field *at = is_short ? &csv->fields[csv->field_count - 1]
                                              : &csv->fields[csv->name_count];
        return cli_import_fail(
            problem, DAYBOOK_EINVALID, at->place,
            "the row %s after %zu fields and the header names %zu columns; quote fields that "
            "contain the delimiter",
            is_short ? "ends" : "goes on to a field more, it ends", csv->field_count, csv->name_count);
    }
    set_values(csv);
    for (size_t i = 0; i < csv->field_count; i++) {
        csv->fields[i].name = csv->names[i];
        csv->fields[i].hidden = csv->fields[i].value.size == 0;
    }
    *record_out = (cli_import_record){.fields = csv->fields, .field_count = csv->field_count, .place = place};
    return DAYBOOK_OK;
}

static void csv_progress(cli_import_source *source, uint64_t *done_out, uint64_t *total_out) {
    cli_import_input_progress(((csv_source *)source)->input, done_out, total_out);
}

static void csv_close(cli_import_source *source) {
    csv_source *csv = (csv_source *)source;
    if (csv == NULL) return;
    cli_import_input_close(csv->input);
    free(csv->chunk);
    free(csv->text);
    free(csv->fields);
    free(csv->offsets);
    free(csv->names);
    free(csv->name_text);
    free(csv);
}

static int compare_names(const void *left, const void *right) {
    const daybook_slice *a = left, *b = right;
    int order = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

static daybook_status check_names(csv_source *csv, cli_import_problem *problem) {
    daybook_slice *sorted = malloc(csv->name_count * sizeof *sorted);
    if (sorted == NULL) return cli_import_no_memory(problem);
    memcpy(sorted, csv->names, csv->name_count * sizeof *sorted);
    qsort(sorted, csv->name_count, sizeof *sorted, compare_names);
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 1; i < csv->name_count && status == DAYBOOK_OK; i++) {
        if (!cli_slice_equals(sorted[i - 1], sorted[i])) continue;
        // The place of the second one of that name.
        size_t index = csv->name_count - 1;
        while (!cli_slice_equals(csv->names[index], sorted[i])) index--;
        status = cli_import_fail(problem, DAYBOOK_EINVALID, csv->fields[index].place,
                                 "the header names the column \"%.*s\" twice", (int)sorted[i].size,
                                 (const char *)sorted[i].data);
    }
    free(sorted);
    return status;
}

// The header row: its text moves into memory of its own, because rows reuse theirs.
static daybook_status read_header(csv_source *csv, cli_import_problem *problem) {
    daybook_status status = refill(csv, problem);
    if (status != DAYBOOK_OK) return status;
    if (csv->end - csv->begin >= 3 && memcmp(csv->chunk + csv->begin, "\xEF\xBB\xBF", 3) == 0)
        csv->begin += 3;
    status = read_row(csv, problem);
    if (status == DAYBOOK_END)
        return cli_import_fail(problem, DAYBOOK_EINVALID, here(csv),
                               "the file is empty; a header row is needed");
    if (status != DAYBOOK_OK) return status;
    csv->name_text = malloc(csv->text_size);
    csv->names = malloc(csv->field_count * sizeof *csv->names);
    if (csv->name_text == NULL || csv->names == NULL) return cli_import_no_memory(problem);
    memcpy(csv->name_text, csv->text, csv->text_size);
    csv->name_count = csv->field_count;
    for (size_t i = 0; i < csv->name_count; i++)
        csv->names[i] = (daybook_slice){csv->name_text + csv->offsets[i], csv->fields[i].value.size};
    csv->base.columns = csv->names;
    csv->base.column_count = csv->name_count;
    return check_names(csv, problem);
}

daybook_status cli_import_csv_open(cli_context *context, const char *path, char delimiter,
                                   cli_import_source **source_out, cli_import_problem *problem) {
    *source_out = NULL;
    csv_source *csv = calloc(1, sizeof *csv);
    if (csv == NULL) return cli_import_no_memory(problem);
    csv->base = (cli_import_source){.next = csv_next, .progress = csv_progress, .close = csv_close};
    csv->delimiter = delimiter;
    csv->line = csv->column = 1;
    csv->is_special[(unsigned char)delimiter] = csv->is_special['"'] = true;
    csv->is_special['\r'] = csv->is_special['\n'] = true;
    csv->chunk = malloc(CLI_IMPORT_CHUNK_SIZE);
    daybook_status status = csv->chunk == NULL ? cli_import_no_memory(problem)
                                               : cli_import_input_open(context, path, &csv->input, problem);
    if (status == DAYBOOK_OK) status = read_header(csv, problem);
    if (status != DAYBOOK_OK) {
        csv_close(&csv->base);
        return status;
    }
    *source_out = &csv->base;
    return DAYBOOK_OK;
}
