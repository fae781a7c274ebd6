// SPDX-License-Identifier: Apache-2.0
// Statements: taken from a file, written for a database, and recognized where they are plain inserts.
//
// A ';' ends a statement, but not within parentheses (CREATE RULE of PostgreSQL), nor in the body of a
// trigger (SQLite) or of a function (PostgreSQL's BEGIN ATOMIC), which goes on to the END that follows a
// ';'. Bodies in strings and dollar quotes are strings.
//
// Statements that begin or end transactions are refused: rows and checkpoint change in one, which is the
// runner's. So are those that write to the bookkeeping tables of projections (target.h), which their runs
// alone may move; bodies in strings are not looked into.
#include "projection/statement.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/number.h"

static daybook_status out_of_memory(daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: statement not taken");
}

// --- Taking ---

typedef struct taker {
    dbk_sql_lexer *lexer;
    dbk_arena *arena;
    dbk_parameter_set *parameters;
    dbk_statement *statement;
    dbk_place *place;
    daybook_error *error;
    const char *start;
    const char *solid_end; // behind the last token that is neither space nor comment
    dbk_placeholder *placeholders;
    size_t placeholder_count;
    size_t placeholder_capacity;
    unsigned parenthesis_count;
    dbk_place parenthesis; // the outermost that is open
    bool is_create;
    bool may_have_body; // CREATE ... TRIGGER, FUNCTION or PROCEDURE
    bool is_in_body;
    enum { AFTER_OTHER, AFTER_BREAK, AFTER_END } after; // in a body: a ';' or BEGIN; the END behind one
} taker;

static daybook_status refuse(taker *taken, const dbk_sql_token *token, const char *why) {
    *taken->place = (dbk_place){token->line, token->column};
    return dbk_fail(taken->error, DAYBOOK_EINVALID, "%s", why);
}

static daybook_status check_first(taker *taken, const dbk_sql_token *first) {
    static const char *const words[] = {"BEGIN",  "START",     "COMMIT",  "END",    "ROLLBACK",
                                        "ABORT",  "SAVEPOINT", "RELEASE", "ATTACH", "DETACH",
                                        "VACUUM", "PRAGMA",    "COPY"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!dbk_sql_is_word(first, words[i])) continue;
        *taken->place = (dbk_place){first->line, first->column};
        return dbk_fail(
            taken->error, DAYBOOK_EINVALID,
            "%s has no place in a projection: its statements run inside a transaction that also moves "
            "the checkpoint; take it out",
            words[i]);
    }
    taken->is_create = dbk_sql_is_word(first, "CREATE");
    return DAYBOOK_OK;
}

static daybook_status find_or_add(taker *taken, const dbk_parameter *parameter, uint32_t *index_out) {
    dbk_parameter_set *set = taken->parameters;
    size_t index = 0;
    while (index < set->count && !dbk_parameter_equal(&set->items[index], parameter)) index++;
    *index_out = (uint32_t)index;
    if (index < set->count) {
        set->items[index].is_required |= parameter->is_required;
        return DAYBOOK_OK;
    }
    if (set->count == DBK_PARAMETER_COUNT_MAX)
        return dbk_fail(taken->error, DAYBOOK_ELIMIT,
                        "more than %d different parameters in one section: divide it",
                        DBK_PARAMETER_COUNT_MAX);
    dbk_parameter *grown =
        dbk_grow_array(set->allocator, set->items, &set->capacity, set->count + 1, sizeof *grown);
    if (grown == NULL) return out_of_memory(taken->error);
    set->items = grown;
    set->items[set->count++] = *parameter;
    return DAYBOOK_OK;
}

// At the token of the ':'.
static daybook_status take_parameter(taker *taken, const dbk_sql_token *token) {
    *taken->place = (dbk_place){token->line, token->column};
    dbk_slice rest =
        daybook_bytes(token->text.data, (size_t)(taken->lexer->end - (const char *)token->text.data));
    dbk_parameter parameter;
    size_t size = 0;
    DBK_TRY(dbk_parameter_parse(rest, taken->arena, &parameter, &size, taken->error));
    dbk_sql_skip(taken->lexer, size - token->text.size);
    if (taken->placeholder_count == DBK_STATEMENT_PARAMETER_COUNT_MAX)
        return dbk_fail(taken->error, DAYBOOK_ELIMIT, "more than %d parameters in one statement: divide it",
                        DBK_STATEMENT_PARAMETER_COUNT_MAX);
    dbk_placeholder *grown = dbk_grow_array(taken->parameters->allocator, taken->placeholders,
                                            &taken->placeholder_capacity, taken->placeholder_count + 1,
                                            sizeof *grown);
    if (grown == NULL) return out_of_memory(taken->error);
    taken->placeholders = grown;
    dbk_placeholder *placeholder = &grown[taken->placeholder_count++];
    placeholder->offset = (uint32_t)((const char *)token->text.data - taken->start);
    placeholder->size = (uint32_t)size;
    return find_or_add(taken, &parameter, &placeholder->parameter);
}

static void follow_body(taker *taken, const dbk_sql_token *token) {
    if (taken->is_create && !taken->is_in_body)
        taken->may_have_body |= dbk_sql_is_word(token, "TRIGGER") || dbk_sql_is_word(token, "FUNCTION") ||
                                dbk_sql_is_word(token, "PROCEDURE");
    bool is_begin = taken->may_have_body && dbk_sql_is_word(token, "BEGIN");
    taken->is_in_body |= is_begin;
    if (is_begin || dbk_sql_is_symbol(token, ';') || dbk_sql_is_word(token, "ATOMIC"))
        taken->after = AFTER_BREAK;
    else if (taken->after == AFTER_BREAK && dbk_sql_is_word(token, "END"))
        taken->after = AFTER_END;
    else
        taken->after = AFTER_OTHER;
}

static void follow_parentheses(taker *taken, const dbk_sql_token *token) {
    if (dbk_sql_is_symbol(token, '(')) {
        if (taken->parenthesis_count++ == 0) taken->parenthesis = (dbk_place){token->line, token->column};
    } else if (dbk_sql_is_symbol(token, ')') && taken->parenthesis_count > 0) {
        taken->parenthesis_count--;
    }
}

static bool is_end(const taker *taken, const dbk_sql_token *token) {
    if (!dbk_sql_is_symbol(token, ';') || taken->parenthesis_count > 0) return false;
    return !taken->is_in_body || taken->after == AFTER_END;
}

static daybook_status check_end(taker *taken) {
    dbk_statement *statement = taken->statement;
    *taken->place = (dbk_place){statement->line, statement->column};
    if (taken->is_in_body && taken->after != AFTER_END)
        return dbk_fail(taken->error, DAYBOOK_EINVALID,
                        "the body of the statement has no end: write END; behind it");
    if (taken->parenthesis_count > 0) {
        *taken->place = taken->parenthesis;
        return dbk_fail(taken->error, DAYBOOK_EINVALID, "a parenthesis is not closed: write the missing )");
    }
    if ((size_t)(taken->solid_end - taken->start) > DBK_STATEMENT_SIZE_MAX)
        return dbk_fail(taken->error, DAYBOOK_ELIMIT, "a statement is longer than %d bytes: divide it",
                        DBK_STATEMENT_SIZE_MAX);
    return DAYBOOK_OK;
}

static daybook_status take_tokens(taker *taken, const dbk_sql_token *first) {
    dbk_sql_token token = *first;
    for (;;) {
        bool is_solid = token.kind != DBK_SQL_SPACE && token.kind != DBK_SQL_LINE_COMMENT &&
                        token.kind != DBK_SQL_BLOCK_COMMENT;
        if (token.kind == DBK_SQL_BAD) return refuse(taken, &token, taken->lexer->problem);
        if (token.kind == DBK_SQL_END || is_end(taken, &token)) return DAYBOOK_OK;
        if (token.kind == DBK_SQL_PARAMETER) DBK_TRY(take_parameter(taken, &token));
        if (is_solid) {
            follow_parentheses(taken, &token);
            follow_body(taken, &token);
            taken->solid_end = taken->lexer->at;
        }
        dbk_sql_lexer before = *taken->lexer;
        token = dbk_sql_next(taken->lexer);
        if (!dbk_sql_is_section(&token)) continue;
        *taken->lexer = before;
        return DAYBOOK_OK;
    }
}

static daybook_status keep_placeholders(taker *taken) {
    size_t count = taken->placeholder_count;
    if (count == 0) return DAYBOOK_OK;
    dbk_placeholder *copy = dbk_arena_alloc(taken->arena, count * sizeof *copy);
    if (copy == NULL) return out_of_memory(taken->error);
    memcpy(copy, taken->placeholders, count * sizeof *copy);
    taken->statement->placeholders = copy;
    taken->statement->placeholder_count = count;
    return DAYBOOK_OK;
}

static daybook_status check_books(taker *taken);
static daybook_status find_insert(dbk_statement *statement, dbk_arena *arena, daybook_error *error);

static daybook_status take_statement(taker *taken, const dbk_sql_token *first) {
    DBK_TRY(check_first(taken, first));
    DBK_TRY(take_tokens(taken, first));
    DBK_TRY(check_end(taken));
    DBK_TRY(keep_placeholders(taken));
    taken->statement->text = daybook_bytes(taken->start, (size_t)(taken->solid_end - taken->start));
    DBK_TRY(check_books(taken));
    return find_insert(taken->statement, taken->arena, taken->error);
}

daybook_status dbk_statement_take(dbk_sql_lexer *lexer, const dbk_sql_token *first, dbk_arena *arena,
                                  dbk_parameter_set *parameters, dbk_statement *statement_out,
                                  dbk_place *place_out, daybook_error *error) {
    taker taken;
    memset(&taken, 0, sizeof taken);
    memset(statement_out, 0, sizeof *statement_out);
    statement_out->line = first->line;
    statement_out->column = first->column;
    taken.lexer = lexer;
    taken.arena = arena;
    taken.parameters = parameters;
    taken.statement = statement_out;
    taken.place = place_out;
    taken.error = error;
    taken.start = first->text.data;
    daybook_status status = take_statement(&taken, first);
    dbk_free(parameters->allocator, taken.placeholders);
    return status;
}

// --- Walking over a statement ---

/// Solid tokens of a statement; behind a parameter's ':' the rest of it is skipped.
typedef struct walker {
    dbk_sql_lexer lexer;
    const dbk_statement *statement;
    size_t placeholder; // the next one
    dbk_sql_token token;
} walker;

static void walk_on(walker *walk) {
    walk->token = dbk_sql_next_solid(&walk->lexer);
    if (walk->token.kind == DBK_SQL_PARAMETER)
        dbk_sql_skip(&walk->lexer,
                     walk->statement->placeholders[walk->placeholder++].size - walk->token.text.size);
}

static void walk_init(walker *walk, const dbk_statement *statement) {
    *walk = (walker){.statement = statement};
    dbk_sql_lexer_init(&walk->lexer, statement->text);
    walk_on(walk);
}

static bool walk_word(walker *walk, const char *word) {
    if (!dbk_sql_is_word(&walk->token, word)) return false;
    walk_on(walk);
    return true;
}

static bool walk_symbol(walker *walk, char symbol) {
    if (!dbk_sql_is_symbol(&walk->token, symbol)) return false;
    walk_on(walk);
    return true;
}

static bool walk_name(walker *walk, dbk_slice *name_out) {
    if (walk->token.kind != DBK_SQL_WORD && walk->token.kind != DBK_SQL_NAME) return false;
    *name_out = walk->token.text;
    walk_on(walk);
    return true;
}

// --- The bookkeeping tables ---

static bool is_one_of(const dbk_sql_token *token, const char *const *words) {
    for (; *words != NULL; words++)
        if (dbk_sql_is_word(token, *words)) return true;
    return false;
}

// A name that begins as those of daybook_projection and daybook_parked do, whatever its case and quotes.
static bool is_book(const dbk_sql_token *token) {
    static const char *const beginnings[] = {"daybook_projection", "daybook_parked"};
    const char *text = token->text.data;
    size_t size = token->text.size;
    if (token->kind != DBK_SQL_WORD && token->kind != DBK_SQL_NAME) return false;
    if (token->kind == DBK_SQL_NAME) text++, size--;
    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++) {
        size_t at = 0;
        while (beginnings[i][at] != '\0' && at < size && (text[at] | 0x20) == (beginnings[i][at] | 0x20))
            at++;
        if (beginnings[i][at] == '\0') return true;
    }
    return false;
}

// Whether a table that stands behind these two words is written to, or something is made of its name or on
// it.
static bool is_written_behind(const dbk_sql_token *earlier, const dbk_sql_token *before, bool is_create) {
    static const char *const words[] = {"INTO",    "UPDATE", "TABLE",    "VIEW", "INDEX", "TRIGGER", "EXISTS",
                                        "REPLACE", "IGNORE", "ROLLBACK", "FAIL", "ABORT", NULL};
    if (dbk_sql_is_word(before, "FROM")) return dbk_sql_is_word(earlier, "DELETE");
    return is_one_of(before, words) || (is_create && dbk_sql_is_word(before, "ON"));
}

static daybook_status refuse_book(taker *taken, const dbk_sql_token *token) {
    *taken->place = (dbk_place){taken->statement->line, taken->statement->column};
    dbk_sql_place(token, &taken->place->line, &taken->place->column);
    return dbk_fail(taken->error, DAYBOOK_EINVALID,
                    "%.*s has no place here: it is the bookkeeping of projections, which their runs alone "
                    "change; take the statement out, or choose another name",
                    DBK_SHOWN(token->text));
}

// Reading them is fine, for a view that tells how far a projection is.
static daybook_status check_books(taker *taken) {
    static const char *const changing[] = {"DROP", "ALTER", "TRUNCATE", NULL};
    walker walk;
    walk_init(&walk, taken->statement);
    bool is_change = is_one_of(&walk.token, changing);
    dbk_sql_token earlier = walk.token;
    dbk_sql_token before = walk.token;
    while (walk.token.kind != DBK_SQL_END) {
        dbk_sql_token token = walk.token;
        walk_on(&walk);
        bool is_qualifier = dbk_sql_is_symbol(&walk.token, '.');
        if (is_book(&token) &&
            (is_change || (!is_qualifier && is_written_behind(&earlier, &before, taken->is_create))))
            return refuse_book(taken, &token);
        // What a table's name may have in front of it: a schema, and ONLY.
        if (is_qualifier) {
            walk_on(&walk);
        } else if (!dbk_sql_is_word(&token, "ONLY")) {
            earlier = before;
            before = token;
        }
    }
    return DAYBOOK_OK;
}

// --- Plain inserts ---

// The text from the first name to the last: comments between the parts of a.b make it no plain insert.
static bool walk_table(walker *walk, dbk_slice *table_out) {
    dbk_slice part;
    if (!walk_name(walk, table_out)) return false;
    while (walk_symbol(walk, '.')) {
        if (!walk_name(walk, &part)) return false;
        const char *start = table_out->data;
        *table_out = daybook_bytes(start, (size_t)((const char *)part.data + part.size - start));
    }
    return memchr(table_out->data, '/', table_out->size) == NULL &&
           memchr(table_out->data, '-', table_out->size) == NULL;
}

// A whole number of up to 18 digits.
static bool read_constant_number(const walker *walk, dbk_value *value) {
    int64_t number;
    if (walk->token.kind != DBK_SQL_NUMBER || walk->token.text.size > 18 ||
        !dbk_decimal_parse_signed(walk->token.text, &number))
        return false;
    value->kind = DBK_VALUE_INTEGER;
    value->integer = number;
    value->text = walk->token.text;
    return true;
}

// 'text' without a doubled quote, which would want a copy.
static bool read_constant_string(const walker *walk, dbk_value *value) {
    const char *text = walk->token.text.data;
    size_t size = walk->token.text.size;
    if (walk->token.kind != DBK_SQL_STRING || text[0] != '\'' || memchr(text + 1, '\'', size - 2) != NULL)
        return false;
    value->kind = DBK_VALUE_TEXT;
    value->text = daybook_bytes(text + 1, size - 2);
    return true;
}

static bool walk_value(walker *walk, dbk_insert_value *value) {
    *value = (dbk_insert_value){.is_constant = walk->token.kind != DBK_SQL_PARAMETER};
    if (value->is_constant) {
        bool is_null = dbk_sql_is_word(&walk->token, "NULL");
        if (!is_null && !read_constant_number(walk, &value->constant) &&
            !read_constant_string(walk, &value->constant))
            return false;
    } else {
        value->parameter = walk->statement->placeholders[walk->placeholder - 1].parameter;
    }
    walk_on(walk);
    return true;
}

/// Names or values of a plain insert; counted first, kept the second time.
typedef struct insert_parts {
    dbk_insert insert;
    dbk_slice *columns;
    dbk_insert_value *values;
} insert_parts;

static bool walk_columns(walker *walk, insert_parts *parts) {
    parts->insert.column_count = 0;
    if (!walk_symbol(walk, '(')) return true;
    do {
        dbk_slice name;
        if (!walk_name(walk, &name)) return false;
        if (parts->columns != NULL) parts->columns[parts->insert.column_count] = name;
        parts->insert.column_count++;
    } while (walk_symbol(walk, ','));
    return walk_symbol(walk, ')');
}

static bool walk_values(walker *walk, insert_parts *parts) {
    parts->insert.value_count = 0;
    if (!walk_word(walk, "VALUES") || !walk_symbol(walk, '(')) return false;
    do {
        dbk_insert_value value;
        if (!walk_value(walk, &value)) return false;
        if (parts->values != NULL) parts->values[parts->insert.value_count] = value;
        parts->insert.value_count++;
    } while (walk_symbol(walk, ','));
    return walk_symbol(walk, ')');
}

static bool walk_insert(const dbk_statement *statement, insert_parts *parts) {
    walker walk;
    walk_init(&walk, statement);
    if (!walk_word(&walk, "INSERT") || !walk_word(&walk, "INTO") ||
        !walk_table(&walk, &parts->insert.table) || !walk_columns(&walk, parts) ||
        !walk_values(&walk, parts) || walk.token.kind != DBK_SQL_END)
        return false;
    return parts->insert.column_count == 0 || parts->insert.column_count == parts->insert.value_count;
}

// Texts of values have a NUL behind them (parameter.h).
static bool close_constants(insert_parts *parts, dbk_arena *arena) {
    for (size_t i = 0; i < parts->insert.value_count; i++) {
        dbk_slice *text = &parts->values[i].constant.text;
        *text = dbk_arena_copy_text(arena, *text);
        if (text->data == NULL) return false;
    }
    return true;
}

static daybook_status find_insert(dbk_statement *statement, dbk_arena *arena, daybook_error *error) {
    insert_parts parts;
    memset(&parts, 0, sizeof parts);
    if (!walk_insert(statement, &parts)) return DAYBOOK_OK;
    parts.columns = dbk_arena_alloc(arena, parts.insert.column_count * sizeof *parts.columns);
    parts.values = dbk_arena_alloc(arena, parts.insert.value_count * sizeof *parts.values);
    dbk_insert *insert = dbk_arena_alloc(arena, sizeof *insert);
    if (parts.columns == NULL || parts.values == NULL || insert == NULL) return out_of_memory(error);
    (void)walk_insert(statement, &parts); // The same walk as before.
    if (!close_constants(&parts, arena)) return out_of_memory(error);
    *insert = parts.insert;
    insert->columns = parts.columns;
    insert->values = parts.values;
    statement->insert = insert;
    return DAYBOOK_OK;
}

// --- Writing for a database ---

static bool is_foreign_parameter(const walker *walk, dbk_dialect dialect) {
    char next = walk->lexer.at < walk->lexer.end ? *walk->lexer.at : '\0';
    bool is_digit_next = next >= '0' && next <= '9';
    if (dbk_sql_is_symbol(&walk->token, '$')) return dialect == DBK_DIALECT_SQLITE || is_digit_next;
    return dialect == DBK_DIALECT_SQLITE &&
           (dbk_sql_is_symbol(&walk->token, '?') || dbk_sql_is_symbol(&walk->token, '@'));
}

static daybook_status check_foreign(const dbk_statement *statement, dbk_dialect dialect, const char *file,
                                    daybook_error *error) {
    walker walk;
    for (walk_init(&walk, statement); walk.token.kind != DBK_SQL_END; walk_on(&walk)) {
        if (!is_foreign_parameter(&walk, dialect)) continue;
        dbk_place place = {statement->line, statement->column};
        dbk_sql_place(&walk.token, &place.line, &place.column);
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "%s:%u:%u: a parameter in the writing of %s: projections write them :name, as in "
                        ":aggregate_id or :data.total",
                        file, place.line, place.column,
                        dialect == DBK_DIALECT_SQLITE ? "SQLite" : "PostgreSQL");
    }
    return DAYBOOK_OK;
}

// The number of placeholder `index`; `*count` is how many numbers are given before it.
static size_t number_of(const uint32_t *given, size_t *count, uint32_t parameter, dbk_dialect dialect) {
    size_t number = 0;
    if (dialect == DBK_DIALECT_SQLITE)
        while (number < *count && given[number] != parameter) number++;
    else
        number = *count;
    return number;
}

enum { NUMBER_SIZE_MAX = 12 }; // "$2048" and a NUL

static size_t write_number(char out[NUMBER_SIZE_MAX], dbk_dialect dialect, size_t number) {
    return (size_t)snprintf(out, NUMBER_SIZE_MAX, "%c%u", dialect == DBK_DIALECT_SQLITE ? '?' : '$',
                            (unsigned)number + 1);
}

static void write_text(const dbk_statement *statement, dbk_dialect dialect, dbk_compiled *compiled) {
    const char *text = statement->text.data;
    size_t at = 0;
    char number_text[NUMBER_SIZE_MAX];
    for (size_t i = 0; i < statement->placeholder_count; i++) {
        const dbk_placeholder *placeholder = &statement->placeholders[i];
        memcpy(compiled->text + compiled->text_size, text + at, placeholder->offset - at);
        compiled->text_size += placeholder->offset - at;
        at = placeholder->offset + placeholder->size;
        size_t number =
            number_of(compiled->parameters, &compiled->parameter_count, placeholder->parameter, dialect);
        if (number == compiled->parameter_count)
            compiled->parameters[compiled->parameter_count++] = placeholder->parameter;
        size_t size = write_number(number_text, dialect, number);
        memcpy(compiled->text + compiled->text_size, number_text, size);
        compiled->text_size += size;
    }
    memcpy(compiled->text + compiled->text_size, text + at, statement->text.size - at);
    compiled->text_size += statement->text.size - at;
    compiled->text[compiled->text_size] = '\0';
}

daybook_status dbk_statement_compile(const dbk_statement *statement, dbk_dialect dialect, const char *file,
                                     dbk_arena *arena, dbk_compiled *compiled_out, daybook_error *error) {
    DBK_TRY(check_foreign(statement, dialect, file, error));
    size_t count = statement->placeholder_count;
    dbk_compiled compiled = {.text_size = 0};
    compiled.text = dbk_arena_alloc(arena, statement->text.size + count * NUMBER_SIZE_MAX + 1);
    compiled.parameters = dbk_arena_alloc(arena, count * sizeof *compiled.parameters);
    if (compiled.text == NULL || compiled.parameters == NULL) return out_of_memory(error);
    write_text(statement, dialect, &compiled);
    *compiled_out = compiled;
    return DAYBOOK_OK;
}

static dbk_place place_of(const dbk_statement *statement, size_t offset) {
    dbk_place place = {statement->line, statement->column};
    const char *text = statement->text.data;
    for (size_t i = 0; i < offset && i < statement->text.size; i++) {
        place.column++;
        if (text[i] == '\n') place = (dbk_place){place.line + 1, 1};
    }
    return place;
}

dbk_place dbk_statement_place(const dbk_statement *statement, dbk_dialect dialect, size_t offset) {
    uint32_t given[DBK_STATEMENT_PARAMETER_COUNT_MAX];
    size_t given_count = 0;
    size_t source = 0;  // in the statement's text
    size_t written = 0; // in the compiled one
    char number_text[NUMBER_SIZE_MAX];
    for (size_t i = 0; i < statement->placeholder_count; i++) {
        const dbk_placeholder *placeholder = &statement->placeholders[i];
        size_t plain = placeholder->offset - source;
        if (offset < written + plain) break;
        size_t number = number_of(given, &given_count, placeholder->parameter, dialect);
        if (number == given_count) given[given_count++] = placeholder->parameter;
        size_t size = write_number(number_text, dialect, number);
        if (offset < written + plain + size) return place_of(statement, placeholder->offset);
        written += plain + size;
        source = placeholder->offset + placeholder->size;
    }
    return place_of(statement, source + (offset - written));
}
