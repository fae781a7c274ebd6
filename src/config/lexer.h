// SPDX-License-Identifier: Apache-2.0
// Text of the configuration language in pieces. The language has no tokens of its own: where a word ends
// depends on whether a key or a value is expected (`a:b` is one value, but a key and a value). So the parser
// asks for what it expects.
#ifndef DBK_CONFIG_LEXER_H
#define DBK_CONFIG_LEXER_H

#include "config/config.h"

enum { DBK_LEXER_END = -1 };

typedef struct dbk_lexer {
    const char *file; // what messages call it
    const char *at;   // what is left of the text
    const char *end;
    const char *line_start;
    uint32_t line;
    bool is_secret; // an environment variable: messages repeat nothing of it
} dbk_lexer;

void dbk_lexer_init(dbk_lexer *lexer, const char *file, dbk_slice text);
dbk_config_place dbk_lexer_place(const dbk_lexer *lexer);

/// The next byte, DBK_LEXER_END where there is none.
int dbk_lexer_peek(const dbk_lexer *lexer);
/// Takes the next byte where it is `wanted`.
bool dbk_lexer_take(dbk_lexer *lexer, char wanted);
/// Is a comment next, `#` or `//`?
bool dbk_lexer_is_comment(const dbk_lexer *lexer);
void dbk_lexer_skip_blanks(dbk_lexer *lexer);
/// Blanks and ends of lines.
void dbk_lexer_skip_lines(dbk_lexer *lexer);
/// Blanks, ends of lines and comments.
void dbk_lexer_skip_space(dbk_lexer *lexer);

/// Each replaces the content of `text` by what it took, escapes resolved. EINVALID with a message, ENOMEM.

/// A word that is a key: up to a blank, `:`, `=` or what opens, closes or ends something. Not quoted.
daybook_status dbk_lexer_take_key(dbk_lexer *lexer, dbk_buf *text, daybook_error *error);
/// A word that is a value: up to a blank, a line's end, `,` `;` `]` `}`. May be empty where none is there.
daybook_status dbk_lexer_take_word(dbk_lexer *lexer, dbk_buf *text, bool *has_escapes_out,
                                   daybook_error *error);
/// A text in the quotes that are next. `has_escapes`: a backslash means something (in double quotes of
/// values).
daybook_status dbk_lexer_take_quoted(dbk_lexer *lexer, bool has_escapes, dbk_buf *text, daybook_error *error);
/// `( ... )`, the closing one alone on its line: what is between them, the lines' ends too.
daybook_status dbk_lexer_take_block(dbk_lexer *lexer, dbk_buf *text, daybook_error *error);

/// EINVALID: "expected <wanted>, found <what is next>; <advice>", at the place of what is next.
daybook_status dbk_lexer_fail_expected(const dbk_lexer *lexer, const char *wanted, const char *advice,
                                       daybook_error *error);

#endif
