// SPDX-License-Identifier: Apache-2.0
//
// Aligned columns. Width is counted in code points, which is right for nearly all names; what it gets wrong
// (wide and combining characters) shifts a column and loses nothing.

#include "cli/table.h"

#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>

static size_t code_points(daybook_slice text) {
    const unsigned char *bytes = text.data;
    size_t count = 0;
    for (size_t i = 0; i < text.size; i++) count += (bytes[i] & 0xC0) != 0x80;
    return count;
}

static void end_cell(cli_table *table, size_t begin) {
    if (table->cell_count == table->cell_capacity) {
        size_t capacity = table->cell_capacity == 0 ? 256 : table->cell_capacity * 2;
        size_t *ends = realloc(table->ends, capacity * sizeof *ends);
        if (ends == NULL) {
            table->failed = 1;
            return;
        }
        table->ends = ends;
        table->cell_capacity = capacity;
    }
    size_t width = code_points(daybook_bytes(table->text.data + begin, table->text.size - begin));
    if (width > table->widths[table->at]) table->widths[table->at] = width;
    table->ends[table->cell_count++] = table->text.size;
}

static void put_upper(cli_output *out, const char *name) {
    for (; *name != '\0'; name++)
        cli_put_char(out, *name >= 'a' && *name <= 'z' ? (char)(*name - 32) : *name);
}

void cli_table_init(cli_table *table, cli_context *context, const cli_column *columns, size_t column_count) {
    *table = (cli_table){.context = context, .columns = columns, .column_count = column_count};
    cli_output_init(&table->text, -1);
    table->widths = calloc(column_count, sizeof *table->widths);
    if (table->widths == NULL) {
        table->failed = 1;
        return;
    }
    if (context->csv) {
        for (size_t i = 0; i < column_count; i++)
            cli_put_format(context->out, "%s%s", columns[i].name, i + 1 == column_count ? "\n" : ",");
        return;
    }
    for (; table->at < column_count && !table->failed; table->at++) {
        size_t begin = table->text.size;
        put_upper(&table->text, columns[table->at].name);
        end_cell(table, begin);
    }
    table->at = 0;
}

void cli_table_slice(cli_table *table, daybook_slice text) {
    if (table->failed) return;
    if (table->context->csv) {
        cli_put_csv_field(table->context->out, text);
        cli_put_char(table->context->out, table->at + 1 == table->column_count ? '\n' : ',');
    } else {
        size_t begin = table->text.size;
        cli_put_plain(&table->text, text, 0);
        end_cell(table, begin);
    }
    table->at = (table->at + 1) % table->column_count;
    if (table->at == 0) table->row_count++;
}

void cli_table_text(cli_table *table, const char *text) {
    cli_table_slice(table, daybook_text(text));
}

void cli_table_number(cli_table *table, uint64_t number) {
    char text[32];
    if (table->context->csv)
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    else
        (void)cli_grouped(number, text);
    cli_table_text(table, text);
}

void cli_table_bytes(cli_table *table, uint64_t bytes) {
    char text[32];
    if (table->context->csv)
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
    else
        (void)cli_byte_text(bytes, text);
    cli_table_text(table, text);
}

void cli_table_time(cli_table *table, int64_t time_ns) {
    char text[DAYBOOK_TIME_TEXT_SIZE] = "";
    if (time_ns != DAYBOOK_TIME_NONE) (void)daybook_time_format(time_ns, text);
    cli_table_text(table, text);
}

static void print_cell(cli_table *table, size_t column, daybook_slice text) {
    cli_output *out = table->context->out;
    size_t width = code_points(text);
    size_t pad = table->widths[column] > width ? table->widths[column] - width : 0;
    int is_last = column + 1 == table->column_count;
    if (table->columns[column].is_number) cli_put_spaces(out, pad);
    cli_put_slice(out, text);
    if (!table->columns[column].is_number && !is_last) cli_put_spaces(out, pad);
    if (is_last)
        cli_put_char(out, '\n');
    else
        cli_put(out, "  ", 2);
}

void cli_table_flush(cli_table *table) {
    if (table->failed || table->context->csv || table->row_count == 0) return;
    int color = table->context->color;
    size_t begin = 0;
    for (size_t i = 0; i < table->cell_count; i++) {
        int is_header = !table->header_printed && i < table->column_count;
        if (color && is_header && i == 0) cli_puts(table->context->out, "\033[1m");
        print_cell(table, i % table->column_count,
                   daybook_bytes(table->text.data + begin, table->ends[i] - begin));
        if (color && is_header && i + 1 == table->column_count) cli_puts(table->context->out, "\033[0m");
        begin = table->ends[i];
    }
    table->header_printed = 1;
    table->cell_count = 0;
    table->text.size = 0;
}

int cli_table_end(cli_table *table, const char *nothing) {
    int status = CLI_FINE;
    if (table->failed || table->text.failed_errno != 0)
        status = cli_fail(table->context, DAYBOOK_ENOMEM,
                          "out of memory while building a table; use --csv or --json");
    else if (table->row_count != 0)
        cli_table_flush(table);
    else if (!table->context->csv && nothing != NULL)
        cli_note(table->context, "%s", nothing);
    free(table->widths);
    free(table->ends);
    cli_output_deinit(&table->text);
    return status;
}
