// SPDX-License-Identifier: Apache-2.0
//
// TEMPLATE of `import`: text with placeholders, `permits.{case:concept:name}.{concept:name|slug}`.
//
//   {column}        the value; in a subject every byte that may not stand in a token is written %XX, and
//                   so is %, which makes it reversible
//   {column|slug}   ASCII letters lowered, ASCII digits and bytes >= 0x80 kept, any other run one `_`, none
//                   at the ends
//   {column|each}   once per element of a list: a JSON array, or one as Python prints it; tags only, once
//   {{ and }}       a brace
//
// Pure but for memory; a template is immutable after parsing and may be used by one thread at a time.
#ifndef CLI_TEMPLATE_H
#define CLI_TEMPLATE_H

#include "cli/output.h"
#include "daybook/daybook.h"

#define CLI_TEMPLATE_PART_COUNT_MAX 32

typedef enum cli_template_kind {
    CLI_TEMPLATE_SUBJECT, // placeholders are percent-encoded, `each` is refused
    CLI_TEMPLATE_TAG      // placeholders are put in as they are
} cli_template_kind;

typedef struct cli_template_part {
    daybook_slice text; // literal text or name of the column; in the template's own memory
    int is_column;
    int slug;
    int each;
} cli_template_part;

typedef struct cli_template {
    cli_template_kind kind;
    cli_template_part parts[CLI_TEMPLATE_PART_COUNT_MAX];
    size_t part_count;
    size_t each_part; // index of the part with `each`; part_count where there is none
    char *memory;
} cli_template;

// EINVALID with error->message (not naming the template), also where no values could make a subject of it;
// ENOMEM. Release with cli_template_deinit.
daybook_status cli_template_parse(const char *text, cli_template_kind kind, cli_template *template_out,
                                  daybook_error *error);
void cli_template_deinit(cli_template *parsed);

// Add the value to `out` as the part wants it. 0 where nothing comes out of it: the value is missing (empty,
// in tags also blank), or its slug is empty.
int cli_template_put(const cli_template *parsed, const cli_template_part *part, daybook_slice value,
                     cli_output *out);

// Percent-encode for one token of a subject; valid UTF-8 comes out whatever goes in.
void cli_put_subject_token(cli_output *out, daybook_slice text);
// Undo it. `out` has room for text.size bytes; returns the size, or SIZE_MAX for a bad %XX.
size_t cli_subject_token_decode(daybook_slice text, char *out);
void cli_put_slug(cli_output *out, daybook_slice text);

// Elements of a list, one per call. A value that does not begin with [ is a list of itself; a blank one, and
// null and None in a list, give nothing.
typedef struct cli_list {
    daybook_slice text;
    size_t offset;
    int state;
} cli_list;

void cli_list_begin(cli_list *list, daybook_slice text);
// 1: the element, decoded, was added to `out`; 0: the end; -1: malformed at list->offset.
int cli_list_next(cli_list *list, cli_output *out);

#endif
