// SPDX-License-Identifier: Apache-2.0
// See lexer.h. Bytes above 0x7f belong to words and are passed on as they are; a zero byte is refused
// wherever a text is taken, because texts of the tree are handed to functions that end at one.
//
// Invariants: `at` never passes `end`; every function that takes something moves on or fails, so that a loop
// over them ends. Pure, not thread-safe.
#include "config/lexer.h"

#include <stdio.h>
#include <string.h>

void dbk_lexer_init(dbk_lexer *lexer, const char *file, dbk_slice text) {
    const char *start = text.size == 0 ? "" : text.data;
    *lexer = (dbk_lexer){.file = file, .at = start, .end = start + text.size, .line_start = start, .line = 1};
    // A mark of the byte order, which some editors write.
    if (text.size >= 3 && memcmp(start, "\xef\xbb\xbf", 3) == 0) {
        lexer->at += 3;
        lexer->line_start += 3;
    }
}

dbk_config_place dbk_lexer_place(const dbk_lexer *lexer) {
    dbk_config_place place = {lexer->file, lexer->line, (uint32_t)(lexer->at - lexer->line_start) + 1};
    return place;
}

int dbk_lexer_peek(const dbk_lexer *lexer) {
    return lexer->at == lexer->end ? DBK_LEXER_END : (unsigned char)*lexer->at;
}

static void step(dbk_lexer *lexer) {
    bool is_line_end = *lexer->at == '\n';
    lexer->at++;
    if (!is_line_end) return;
    lexer->line++;
    lexer->line_start = lexer->at;
}

bool dbk_lexer_take(dbk_lexer *lexer, char wanted) {
    if (lexer->at == lexer->end || *lexer->at != wanted) return false;
    step(lexer);
    return true;
}

static bool is_blank(int byte) {
    return byte == ' ' || byte == '\t' || byte == '\v' || byte == '\f';
}

static bool is_line_end(int byte) {
    return byte == '\n' || byte == '\r';
}

bool dbk_lexer_is_comment(const dbk_lexer *lexer) {
    if (lexer->at == lexer->end) return false;
    return *lexer->at == '#' || (*lexer->at == '/' && lexer->end - lexer->at > 1 && lexer->at[1] == '/');
}

void dbk_lexer_skip_blanks(dbk_lexer *lexer) {
    while (is_blank(dbk_lexer_peek(lexer))) step(lexer);
}

void dbk_lexer_skip_lines(dbk_lexer *lexer) {
    for (int byte = dbk_lexer_peek(lexer); is_blank(byte) || is_line_end(byte); byte = dbk_lexer_peek(lexer))
        step(lexer);
}

void dbk_lexer_skip_space(dbk_lexer *lexer) {
    for (;;) {
        dbk_lexer_skip_lines(lexer);
        if (!dbk_lexer_is_comment(lexer)) return;
        while (lexer->at < lexer->end && *lexer->at != '\n') step(lexer);
    }
}

static void name_next(const dbk_lexer *lexer, char *name, size_t size) {
    int byte = dbk_lexer_peek(lexer);
    if (byte == DBK_LEXER_END) {
        (void)snprintf(name, size, "the end of the text");
    } else if (is_line_end(byte)) {
        (void)snprintf(name, size, "the end of the line");
    } else if (lexer->is_secret) {
        (void)snprintf(name, size, "something else");
    } else if (byte > ' ' && byte < 0x7f) {
        (void)snprintf(name, size, "'%c'", byte);
    } else {
        (void)snprintf(name, size, "the byte 0x%02x", (unsigned)byte);
    }
}

daybook_status dbk_lexer_fail_expected(const dbk_lexer *lexer, const char *wanted, const char *advice,
                                       daybook_error *error) {
    char found[32];
    name_next(lexer, found, sizeof found);
    dbk_config_place place = dbk_lexer_place(lexer);
    return dbk_config_fail(&place, error, DAYBOOK_EINVALID, "expected %s, found %s; %s", wanted, found,
                           advice);
}

// Appends the next byte.
static daybook_status take_byte(dbk_lexer *lexer, dbk_buf *text, daybook_error *error) {
    if (*lexer->at == '\0') {
        dbk_config_place place = dbk_lexer_place(lexer);
        return dbk_config_fail(&place, error, DAYBOOK_EINVALID, "a zero byte; save the file as plain text");
    }
    dbk_buf_append_u8(text, (uint8_t)*lexer->at);
    step(lexer);
    return DAYBOOK_OK;
}

static int digit_value(int byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
    return -1;
}

// What stands behind "\x": two digits, not 00.
static daybook_status take_hexadecimal(dbk_lexer *lexer, dbk_buf *text, daybook_error *error) {
    int value = 0;
    for (int i = 0; i < 2; i++) {
        int digit = digit_value(dbk_lexer_peek(lexer));
        if (digit < 0)
            return dbk_lexer_fail_expected(lexer, "two hexadecimal digits behind \\x", "write \\x41 for A",
                                           error);
        value = value * 16 + digit;
        step(lexer);
    }
    if (value == 0) {
        dbk_config_place place = dbk_lexer_place(lexer);
        return dbk_config_fail(&place, error, DAYBOOK_EINVALID,
                               "a zero byte cannot be part of a text; remove \\x00");
    }
    dbk_buf_append_u8(text, (uint8_t)value);
    return DAYBOOK_OK;
}

// A backslash and what it stands for.
static daybook_status take_escape(dbk_lexer *lexer, dbk_buf *text, daybook_error *error) {
    static const char meanings[][2] = {{'t', '\t'}, {'n', '\n'}, {'r', '\r'}, {'"', '"'}, {'\\', '\\'}};
    step(lexer);
    if (dbk_lexer_take(lexer, 'x')) return take_hexadecimal(lexer, text, error);
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (!dbk_lexer_take(lexer, meanings[i][0])) continue;
        dbk_buf_append_u8(text, (uint8_t)meanings[i][1]);
        return DAYBOOK_OK;
    }
    return dbk_lexer_fail_expected(lexer, "x, t, n, r, \" or \\ behind a backslash",
                                   "write \\\\ for a backslash, or use single quotes", error);
}

daybook_status dbk_lexer_take_key(dbk_lexer *lexer, dbk_buf *text, daybook_error *error) {
    dbk_buf_reset(text);
    for (int byte = dbk_lexer_peek(lexer); byte != DBK_LEXER_END; byte = dbk_lexer_peek(lexer)) {
        if (is_blank(byte) || is_line_end(byte)) break;
        if (byte != '\0' && strchr(":={}[],;", byte) != NULL) break;
        DBK_TRY(take_byte(lexer, text, error));
    }
    DBK_TRY(dbk_buf_status(text)); // or nothing is there because memory is out
    if (text->size == 0) return dbk_lexer_fail_expected(lexer, "a key", "write `key: value`", error);
    return DAYBOOK_OK;
}

daybook_status dbk_lexer_take_word(dbk_lexer *lexer, dbk_buf *text, bool *has_escapes_out,
                                   daybook_error *error) {
    dbk_buf_reset(text);
    *has_escapes_out = false;
    for (int byte = dbk_lexer_peek(lexer); byte != DBK_LEXER_END; byte = dbk_lexer_peek(lexer)) {
        if (is_blank(byte) || is_line_end(byte)) break;
        if (byte == ',' || byte == ';' || byte == ']' || byte == '}') break;
        if (byte == '\\') {
            *has_escapes_out = true;
            DBK_TRY(take_escape(lexer, text, error));
        } else {
            DBK_TRY(take_byte(lexer, text, error));
        }
    }
    return dbk_buf_status(text);
}

daybook_status dbk_lexer_take_quoted(dbk_lexer *lexer, bool has_escapes, dbk_buf *text,
                                     daybook_error *error) {
    dbk_buf_reset(text);
    dbk_config_place start = dbk_lexer_place(lexer);
    char quote = *lexer->at;
    step(lexer);
    while (!dbk_lexer_take(lexer, quote)) {
        int byte = dbk_lexer_peek(lexer);
        if (byte == DBK_LEXER_END)
            return dbk_config_fail(&start, error, DAYBOOK_EINVALID,
                                   "the text that begins here has no end; close it with %c", quote);
        if (byte == '\\' && has_escapes) {
            DBK_TRY(take_escape(lexer, text, error));
        } else {
            DBK_TRY(take_byte(lexer, text, error));
        }
    }
    return dbk_buf_status(text);
}

// A closing parenthesis alone on its line, at the place the lexer is at?
static bool is_block_end(const dbk_lexer *lexer) {
    if (*lexer->at != ')' || lexer->at != lexer->line_start) return false;
    return lexer->end - lexer->at == 1 || is_line_end((unsigned char)lexer->at[1]);
}

daybook_status dbk_lexer_take_block(dbk_lexer *lexer, dbk_buf *text, daybook_error *error) {
    dbk_buf_reset(text);
    dbk_config_place start = dbk_lexer_place(lexer);
    step(lexer);
    for (;;) {
        if (lexer->at == lexer->end)
            return dbk_config_fail(&start, error, DAYBOOK_EINVALID,
                                   "the block that begins here has no end; close it with ) alone on a line");
        if (is_block_end(lexer)) break;
        DBK_TRY(take_byte(lexer, text, error));
    }
    step(lexer);
    return dbk_buf_status(text);
}
