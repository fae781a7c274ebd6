// SPDX-License-Identifier: Apache-2.0
// SQL taken apart into tokens: as much of it as SQLite and PostgreSQL have in common, and of each what the
// other does not have where it does no harm (dollar quotes, E'strings', `names`).
//
// Pure, no allocation. Tokens are slices of the text.
#ifndef DBK_PROJECTION_SQL_H
#define DBK_PROJECTION_SQL_H

#include "base/memory.h"

/// For messages: TEXT arguments of "%.*s", cut to what an error can show.
static inline int dbk_shown_width(dbk_slice text) {
    return text.size > 120 ? 120 : (int)text.size;
}
#define DBK_SHOWN(slice) dbk_shown_width(slice), (slice).size == 0 ? "" : (const char *)(slice).data

typedef enum dbk_sql_kind {
    DBK_SQL_END,
    DBK_SQL_SPACE,
    DBK_SQL_LINE_COMMENT,  // from "--" to before the line's end
    DBK_SQL_BLOCK_COMMENT, // with its marks; not nested
    DBK_SQL_STRING,        // 'text', E'text', $tag$text$tag$
    DBK_SQL_NAME,          // "name" or `name`
    DBK_SQL_WORD,          // keyword or name without quotes
    DBK_SQL_NUMBER,
    DBK_SQL_PARAMETER, // the ':' before a letter; what belongs to it dbk_sql_skip takes
    DBK_SQL_SYMBOL,    // one byte; "::" and ":=" are two
    DBK_SQL_BAD        // not closed, or nested comments: `problem` says what
} dbk_sql_kind;

typedef struct dbk_sql_token {
    dbk_sql_kind kind;
    dbk_slice text;
    uint32_t line, column; // of its first byte, from 1; the column counts bytes
} dbk_sql_token;

typedef struct dbk_sql_lexer {
    const char *at;
    const char *start;
    const char *end;
    const char *line_start;
    uint32_t line;
    const char *problem; // of a DBK_SQL_BAD token: "'...' without its end: close it"
} dbk_sql_lexer;

void dbk_sql_lexer_init(dbk_sql_lexer *lexer, dbk_slice text);
/// DBK_SQL_END at the end, and again; DBK_SQL_BAD goes to the end.
dbk_sql_token dbk_sql_next(dbk_sql_lexer *lexer);
/// Likewise, but neither space nor comments.
dbk_sql_token dbk_sql_next_solid(dbk_sql_lexer *lexer);
/// The lexer goes on `size` bytes further; none of them is a line's end.
void dbk_sql_skip(dbk_sql_lexer *lexer, size_t size);
/// Where a token of a text stands that itself begins at `line` and `column` of a file.
void dbk_sql_place(const dbk_sql_token *token, uint32_t *line, uint32_t *column);
/// A comment of its own line that begins with '[': the header of a section.
bool dbk_sql_is_section(const dbk_sql_token *token);
/// What a comment says, without "--" and the space around it.
dbk_slice dbk_sql_comment_text(const dbk_sql_token *token);
/// The token is this keyword, whatever its case. `word` in capitals.
bool dbk_sql_is_word(const dbk_sql_token *token, const char *word);
bool dbk_sql_is_symbol(const dbk_sql_token *token, char symbol);

#endif
