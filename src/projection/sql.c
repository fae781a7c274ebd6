// SPDX-License-Identifier: Apache-2.0
// The lexer. What the databases read differently and a file could mean either way is refused rather than
// guessed: a comment inside a comment (PostgreSQL nests them, SQLite does not).
//
// Brackets are symbols: [name] is a name in SQLite, but a[1] an element in PostgreSQL, and nothing in them
// needs to be told from the rest unless it holds a quote or a colon.
//
// Invariants: tokens follow each other without gap, every byte belongs to one, and each but END has at least
// one byte.
#include "projection/sql.h"

#include <string.h>

#include "base/bytes.h"

void dbk_sql_lexer_init(dbk_sql_lexer *lexer, dbk_slice text) {
    memset(lexer, 0, sizeof *lexer);
    lexer->start = text.size == 0 ? "" : text.data;
    lexer->at = lexer->start;
    lexer->line_start = lexer->start;
    lexer->end = lexer->start + text.size;
    lexer->line = 1;
}

static bool is_space(char byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static bool is_digit(char byte) {
    return byte >= '0' && byte <= '9';
}

static bool is_word_start(char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_' ||
           (unsigned char)byte >= 0x80;
}

static bool is_word_part(char byte) {
    return is_word_start(byte) || is_digit(byte);
}

static size_t left(const dbk_sql_lexer *lexer) {
    return (size_t)(lexer->end - lexer->at);
}

static char peek(const dbk_sql_lexer *lexer, size_t offset) {
    return offset < left(lexer) ? lexer->at[offset] : '\0';
}

// Over a line's end as well.
static void step(dbk_sql_lexer *lexer) {
    if (*lexer->at == '\n') {
        lexer->line++;
        lexer->line_start = lexer->at + 1;
    }
    lexer->at++;
}

static dbk_sql_kind bad(dbk_sql_lexer *lexer, const char *problem) {
    lexer->problem = problem;
    lexer->at = lexer->end;
    return DBK_SQL_BAD;
}

static dbk_sql_kind take_space(dbk_sql_lexer *lexer) {
    while (left(lexer) > 0 && is_space(*lexer->at)) step(lexer);
    return DBK_SQL_SPACE;
}

static dbk_sql_kind take_line_comment(dbk_sql_lexer *lexer) {
    while (left(lexer) > 0 && *lexer->at != '\n') lexer->at++;
    return DBK_SQL_LINE_COMMENT;
}

static dbk_sql_kind take_block_comment(dbk_sql_lexer *lexer) {
    lexer->at += 2;
    while (left(lexer) >= 2) {
        if (lexer->at[0] == '*' && lexer->at[1] == '/') {
            lexer->at += 2;
            return DBK_SQL_BLOCK_COMMENT;
        }
        if (lexer->at[0] == '/' && lexer->at[1] == '*')
            return bad(lexer,
                       "a comment inside a comment: PostgreSQL nests them and SQLite does not; take the "
                       "inner one away");
        step(lexer);
    }
    return bad(lexer, "a comment without its end: close it with */");
}

// The quote doubled stands for itself.
static dbk_sql_kind take_quoted(dbk_sql_lexer *lexer, bool has_escapes, dbk_sql_kind kind) {
    char quote = *lexer->at++;
    while (left(lexer) > 0) {
        if (has_escapes && *lexer->at == '\\' && left(lexer) >= 2) {
            lexer->at++;
        } else if (*lexer->at == quote) {
            if (peek(lexer, 1) != quote) {
                lexer->at++;
                return kind;
            }
            lexer->at++;
        }
        step(lexer);
    }
    return bad(lexer, kind == DBK_SQL_STRING ? "a string without its end: close it with '"
                                             : "a quoted name without its end: close it with its quote");
}

// Bytes of $tag$ at the front, 0 where there is none.
static size_t dollar_tag_size(const dbk_sql_lexer *lexer) {
    size_t size = 1;
    if (is_digit(peek(lexer, 1))) return 0;
    while (is_word_part(peek(lexer, size))) size++;
    return peek(lexer, size) == '$' ? size + 1 : 0;
}

static dbk_sql_kind take_dollar_string(dbk_sql_lexer *lexer, size_t tag_size) {
    const char *tag = lexer->at;
    lexer->at += tag_size;
    while (left(lexer) >= tag_size) {
        if (*lexer->at == '$' && memcmp(lexer->at, tag, tag_size) == 0) {
            lexer->at += tag_size;
            return DBK_SQL_STRING;
        }
        step(lexer);
    }
    return bad(lexer, "a dollar-quoted string without its end: close it with the same $tag$");
}

// A '$' inside a word belongs to it, as PostgreSQL has it, so that a$b$ opens no string.
static dbk_sql_kind take_word(dbk_sql_lexer *lexer) {
    while (left(lexer) > 0 && (is_word_part(*lexer->at) || *lexer->at == '$')) lexer->at++;
    return DBK_SQL_WORD;
}

static dbk_sql_kind take_number(dbk_sql_lexer *lexer) {
    while (is_word_part(peek(lexer, 0)) || peek(lexer, 0) == '.') {
        bool is_exponent = (*lexer->at | 0x20) == 'e';
        lexer->at++;
        if (is_exponent && (peek(lexer, 0) == '+' || peek(lexer, 0) == '-') && is_digit(peek(lexer, 1)))
            lexer->at++;
    }
    return DBK_SQL_NUMBER;
}

static dbk_sql_kind take_symbol(dbk_sql_lexer *lexer) {
    bool is_pair = *lexer->at == ':' && (peek(lexer, 1) == ':' || peek(lexer, 1) == '=');
    lexer->at += is_pair ? 2 : 1;
    return DBK_SQL_SYMBOL;
}

static dbk_sql_kind take(dbk_sql_lexer *lexer) {
    char first = *lexer->at;
    char second = peek(lexer, 1);
    if (is_space(first)) return take_space(lexer);
    if (first == '-' && second == '-') return take_line_comment(lexer);
    if (first == '/' && second == '*') return take_block_comment(lexer);
    if (first == '\'') return take_quoted(lexer, false, DBK_SQL_STRING);
    if (first == '"' || first == '`') return take_quoted(lexer, false, DBK_SQL_NAME);
    if ((first | 0x20) == 'e' && second == '\'') {
        lexer->at++;
        return take_quoted(lexer, true, DBK_SQL_STRING);
    }
    size_t tag_size = first == '$' ? dollar_tag_size(lexer) : 0;
    if (tag_size > 0) return take_dollar_string(lexer, tag_size);
    if (is_word_start(first)) return take_word(lexer);
    if (is_digit(first) || (first == '.' && is_digit(second))) return take_number(lexer);
    if (first == ':' && is_word_start(second)) {
        lexer->at++;
        return DBK_SQL_PARAMETER;
    }
    return take_symbol(lexer);
}

dbk_sql_token dbk_sql_next(dbk_sql_lexer *lexer) {
    dbk_sql_token token = {.line = lexer->line, .column = (uint32_t)(lexer->at - lexer->line_start) + 1};
    const char *start = lexer->at;
    token.kind = left(lexer) == 0 ? DBK_SQL_END : take(lexer);
    token.text = daybook_bytes(start, (size_t)(lexer->at - start));
    return token;
}

dbk_sql_token dbk_sql_next_solid(dbk_sql_lexer *lexer) {
    for (;;) {
        dbk_sql_token token = dbk_sql_next(lexer);
        if (token.kind != DBK_SQL_SPACE && token.kind != DBK_SQL_LINE_COMMENT &&
            token.kind != DBK_SQL_BLOCK_COMMENT)
            return token;
    }
}

void dbk_sql_skip(dbk_sql_lexer *lexer, size_t size) {
    lexer->at += size;
}

void dbk_sql_place(const dbk_sql_token *token, uint32_t *line, uint32_t *column) {
    *column = token->line == 1 ? *column + token->column - 1 : token->column;
    *line += token->line - 1;
}

dbk_slice dbk_sql_comment_text(const dbk_sql_token *token) {
    const char *at = (const char *)token->text.data + 2;
    const char *end = (const char *)token->text.data + token->text.size;
    while (at < end && is_space(*at)) at++;
    while (end > at && is_space(end[-1])) end--;
    return daybook_bytes(at, (size_t)(end - at));
}

bool dbk_sql_is_section(const dbk_sql_token *token) {
    if (token->kind != DBK_SQL_LINE_COMMENT) return false;
    const char *before = (const char *)token->text.data - (token->column - 1);
    while (before < (const char *)token->text.data && is_space(*before)) before++;
    dbk_slice text = dbk_sql_comment_text(token);
    return before == token->text.data && text.size > 0 && *(const char *)text.data == '[';
}

bool dbk_sql_is_word(const dbk_sql_token *token, const char *word) {
    const char *text = token->text.data;
    if (token->kind != DBK_SQL_WORD || token->text.size != strlen(word)) return false;
    for (size_t i = 0; i < token->text.size; i++) {
        char upper = text[i] >= 'a' && text[i] <= 'z' ? (char)(text[i] - 'a' + 'A') : text[i];
        if (upper != word[i]) return false;
    }
    return true;
}

bool dbk_sql_is_symbol(const dbk_sql_token *token, char symbol) {
    return token->kind == DBK_SQL_SYMBOL && token->text.size == 1 &&
           *(const char *)token->text.data == symbol;
}
