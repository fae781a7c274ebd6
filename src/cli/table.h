// SPDX-License-Identifier: Apache-2.0
//
// Tables: cells come row by row; people get aligned columns when all rows (or the first of very many) are
// known, --csv gets lines as they come. Numbers stand right. With --json a verb writes objects itself and
// uses no table.
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include "cli/cli.h"

typedef struct cli_column {
    const char *name; // lower case, as in CSV; shown in capitals to people
    int is_number;
} cli_column;

typedef struct cli_table {
    cli_context *context;
    const cli_column *columns;
    size_t column_count;
    size_t *widths;
    cli_output text; // cells one behind the other
    size_t *ends;    // end of each cell in text
    size_t cell_count;
    size_t cell_capacity;
    size_t at; // column of the next cell
    uint64_t row_count;
    int header_printed;
    int failed;
} cli_table;

void cli_table_init(cli_table *table, cli_context *context, const cli_column *columns, size_t column_count);
void cli_table_slice(cli_table *table, daybook_slice text);
void cli_table_text(cli_table *table, const char *text);
void cli_table_number(cli_table *table, uint64_t number); // grouped for people
void cli_table_bytes(cli_table *table, uint64_t bytes);   // "3.4 MiB" for people
void cli_table_time(cli_table *table, int64_t time_ns);   // DAYBOOK_TIME_NONE: empty
// Print the rows so far, so that memory does not grow with the table; later rows keep the widths found by
// now.
void cli_table_flush(cli_table *table);
// Print what is left and release. `nothing` is said on stderr where there was no row (NULL: say nothing).
// 0 or exit status.
int cli_table_end(cli_table *table, const char *nothing);

#endif
