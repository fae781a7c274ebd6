// SPDX-License-Identifier: Apache-2.0
// The SQL file of a projection. Its lines are read by the lexer of sql.h, so that a header inside a string or
// a comment is none.
//
// What is easily misspelt is refused: a comment of its own line that begins with '[' is a section's header or
// an error; a section that none of the filters can feed is an error; name, version and events are required.
#include "projection/definition.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/number.h"
#include "daybook/subject.h"

enum { ARENA_CHUNK_SIZE = 8192 };

typedef enum part { PART_HEAD, PART_SETUP, PART_ON, PART_TEARDOWN } part;

/// An array that grows while the file is read, and is copied into the arena at the end.
typedef struct list {
    void *items;
    size_t count, capacity;
} list;

typedef struct parser {
    const daybook_allocator *allocator;
    dbk_definition *definition;
    dbk_arena *arena; // the definition's
    const char *file;
    daybook_error *error;
    dbk_sql_lexer lexer;
    part part;
    list filters;                 // dbk_slice
    list setup;                   // dbk_statement
    list teardown;                // dbk_statement
    list sections;                // dbk_section
    list statements;              // dbk_statement, of the section in hand
    list types;                   // dbk_slice, likewise
    dbk_parameter_set parameters; // likewise
    size_t statement_count;       // of the file
    bool has_version;
} parser;

// --- Failing ---

// Puts the place before what `error` says.
static daybook_status place_error(parser *parsed, dbk_place place, daybook_status status) {
    char prefix[320];
    (void)snprintf(prefix, sizeof prefix, "%.200s:%u:%u", parsed->file, place.line, place.column);
    dbk_error_prepend(parsed->error, prefix);
    return status;
}

static daybook_status fail_at(parser *parsed, dbk_place place, const char *what, dbk_slice which,
                              const char *advice) {
    daybook_status status =
        dbk_fail(parsed->error, DAYBOOK_EINVALID, "%s%.*s%s", what, DBK_SHOWN(which), advice);
    return place_error(parsed, place, status);
}

static daybook_status fail_limit(parser *parsed, dbk_place place, const char *what, size_t count_max) {
    daybook_status status =
        dbk_fail(parsed->error, DAYBOOK_ELIMIT, "more than %zu %s: divide the projection", count_max, what);
    return place_error(parsed, place, status);
}

static daybook_status out_of_memory(parser *parsed) {
    return dbk_fail(parsed->error, DAYBOOK_ENOMEM, "out of memory: projection not read");
}

static dbk_place place_of(const dbk_sql_token *token) {
    return (dbk_place){token->line, token->column};
}

static const dbk_slice nothing = {NULL, 0};

// --- Lists ---

static daybook_status add(parser *parsed, list *to, const void *item, size_t size) {
    void *grown = dbk_grow_array(parsed->allocator, to->items, &to->capacity, to->count + 1, size);
    if (grown == NULL) return out_of_memory(parsed);
    to->items = grown;
    memcpy((char *)to->items + to->count * size, item, size);
    to->count++;
    return DAYBOOK_OK;
}

// The items in the arena; the list is empty afterwards, and keeps its memory.
static daybook_status keep(parser *parsed, list *from, size_t size, const void **items_out) {
    void *copy = dbk_arena_alloc(parsed->arena, from->count * size);
    if (copy == NULL) return out_of_memory(parsed);
    if (from->count > 0) memcpy(copy, from->items, from->count * size);
    from->count = 0;
    *items_out = copy;
    return DAYBOOK_OK;
}

// --- Text ---

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t' || byte == '\r';
}

static dbk_slice trim(dbk_slice text) {
    const char *at = text.data;
    const char *end = at + text.size;
    while (at < end && is_blank(*at)) at++;
    while (end > at && is_blank(end[-1])) end--;
    return daybook_bytes(at, (size_t)(end - at));
}

// What stands before the first `separator` (or blank, where that is ' '), trimmed; `*text` is what follows.
static dbk_slice take_item(dbk_slice *text, char separator) {
    const char *at = text->data;
    size_t size = 0;
    while (size < text->size && !(at[size] == separator || (separator == ' ' && is_blank(at[size])))) size++;
    size_t step = size < text->size ? size + 1 : size;
    *text = daybook_bytes(at + step, text->size - step);
    return trim(daybook_bytes(at, size));
}

static bool take_prefix(dbk_slice *text, const char *prefix) {
    size_t size = strlen(prefix);
    if (text->size < size || memcmp(text->data, prefix, size) != 0) return false;
    *text = daybook_bytes((const char *)text->data + size, text->size - size);
    return true;
}

static daybook_status copy_text(parser *parsed, dbk_slice text, dbk_slice *copy_out) {
    *copy_out = dbk_arena_copy_text(parsed->arena, text);
    return copy_out->data == NULL ? out_of_memory(parsed) : DAYBOOK_OK;
}

// --- Headers ---

static bool is_name(dbk_slice name) {
    const char *at = name.data;
    if (name.size == 0 || name.size > DBK_DEFINITION_NAME_SIZE_MAX || at[0] < 'a' || at[0] > 'z')
        return false;
    for (size_t i = 0; i < name.size; i++) {
        bool is_part = (at[i] >= 'a' && at[i] <= 'z') || (at[i] >= '0' && at[i] <= '9') || at[i] == '_';
        if (!is_part) return false;
    }
    return true;
}

static daybook_status take_projection(parser *parsed, dbk_slice name, dbk_place place) {
    dbk_slice rest = name;
    if (parsed->definition->name.size > 0)
        return fail_at(parsed, place, "the name is given twice", nothing, "");
    if (!is_name(name))
        return fail_at(parsed, place, "bad name '", name,
                       "': it is 1 to 63 of a to z, 0 to 9 and '_', a letter first");
    if (take_prefix(&rest, "daybook"))
        return fail_at(parsed, place, "bad name '", name,
                       "': names that begin with daybook are taken; choose another");
    return copy_text(parsed, name, &parsed->definition->name);
}

static daybook_status take_version(parser *parsed, dbk_slice text, dbk_place place) {
    uint64_t version;
    bool is_sound = text.size <= 18 && dbk_decimal_parse(text, &version);
    if (parsed->has_version) return fail_at(parsed, place, "the version is given twice", nothing, "");
    if (!is_sound || version == 0)
        return fail_at(parsed, place, "bad version '", text, "': it is a whole number from 1");
    parsed->definition->version = version;
    parsed->has_version = true;
    return DAYBOOK_OK;
}

static daybook_status take_events(parser *parsed, dbk_slice text, dbk_place place) {
    if (text.size == 0)
        return fail_at(parsed, place, "no filter", nothing, ": name the subjects, such as orders.> (all: >)");
    while (text.size > 0) {
        dbk_slice filter = take_item(&text, ' ');
        text = trim(text);
        if (!daybook_filter_is_valid(filter))
            return fail_at(
                parsed, place, "bad filter '", filter,
                "': it is tokens joined by dots, * for one and > for the rest; several have spaces "
                "between them");
        if (parsed->filters.count == DBK_DEFINITION_FILTER_COUNT_MAX)
            return fail_limit(parsed, place, "filters", DBK_DEFINITION_FILTER_COUNT_MAX);
        DBK_TRY(copy_text(parsed, filter, &filter));
        DBK_TRY(add(parsed, &parsed->filters, &filter, sizeof filter));
    }
    return DAYBOOK_OK;
}

static daybook_status take_header(parser *parsed, dbk_slice text, dbk_place place) {
    static const struct header {
        const char *prefix;
        daybook_status (*take)(parser *parsed, dbk_slice value, dbk_place place);
    } headers[] = {{"projection:", take_projection}, {"version:", take_version}, {"events:", take_events}};
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        if (!take_prefix(&text, headers[i].prefix)) continue;
        if (parsed->part == PART_HEAD) return headers[i].take(parsed, trim(text), place);
        return fail_at(parsed, place, headers[i].prefix, nothing,
                       " stands before the first section: move it to the head of the file");
    }
    return DAYBOOK_OK; // A comment.
}

static daybook_status check_head(parser *parsed, dbk_place place) {
    if (parsed->definition->name.size == 0)
        return fail_at(parsed, place, "the projection has no name", nothing,
                       ": begin the file with a line such as -- projection: order_totals");
    if (!parsed->has_version)
        return fail_at(parsed, place, "the projection has no version", nothing,
                       ": add a line -- version: 1 at the head, and raise it when the tables change");
    if (parsed->filters.count == 0)
        return fail_at(parsed, place, "the projection does not say which events it wants", nothing,
                       ": add a line such as -- events: orders.> at the head (all: >)");
    return DAYBOOK_OK;
}

// --- Sections ---

static daybook_status end_section(parser *parsed) {
    if (parsed->part != PART_ON) return DAYBOOK_OK;
    dbk_section *section = (dbk_section *)parsed->sections.items + (parsed->sections.count - 1);
    const void *items = NULL;
    section->statement_count = parsed->statements.count;
    DBK_TRY(keep(parsed, &parsed->statements, sizeof(dbk_statement), &items));
    section->statements = items;
    if (section->statement_count == 0)
        return fail_at(parsed, section->place, "section [", section->text,
                       "] has no statement: write one, or take the section away");
    size_t count = parsed->parameters.count;
    dbk_parameter *parameters = dbk_arena_alloc(parsed->arena, count * sizeof *parameters);
    if (parameters == NULL) return out_of_memory(parsed);
    if (count > 0) memcpy(parameters, parsed->parameters.items, count * sizeof *parameters);
    parsed->parameters.count = 0;
    section->parameters = parameters;
    section->parameter_count = count;
    dbk_parameter_plan *plan = NULL;
    if (dbk_parameter_plan_new(parameters, count, parsed->arena, &plan) != DAYBOOK_OK)
        return out_of_memory(parsed);
    section->plan = plan;
    return DAYBOOK_OK;
}

static daybook_status take_types(parser *parsed, dbk_section *section, dbk_slice text) {
    const void *items = NULL;
    while (text.size > 0) {
        dbk_slice type = take_item(&text, ',');
        if (type.size == 0 || type.size > DAYBOOK_TEXT_SIZE_MAX || !dbk_is_plain_text(type))
            return fail_at(
                parsed, section->place, "bad type '", type,
                "': write one, or several with commas between them, such as [on type paid, settled]");
        DBK_TRY(copy_text(parsed, type, &type));
        DBK_TRY(add(parsed, &parsed->types, &type, sizeof type));
    }
    section->type_count = parsed->types.count;
    DBK_TRY(keep(parsed, &parsed->types, sizeof(dbk_slice), &items));
    section->types = items;
    return DAYBOOK_OK;
}

static daybook_status take_pattern(parser *parsed, dbk_section *section, dbk_slice pattern) {
    if (!daybook_filter_is_valid(pattern))
        return fail_at(
            parsed, section->place, "bad subject pattern '", pattern,
            "': it is tokens joined by dots, * for one and > for the rest; for types write [on type T]");
    const dbk_slice *filters = parsed->filters.items;
    size_t fed = 0;
    while (fed < parsed->filters.count && !daybook_filters_overlap(filters[fed], pattern)) fed++;
    if (fed == parsed->filters.count)
        return fail_at(parsed, section->place, "no event can match '", pattern,
                       "': none of the filters in the head lets it in; correct one of the two");
    return copy_text(parsed, pattern, &section->pattern);
}

// Behind "on".
static daybook_status begin_on(parser *parsed, dbk_section *section, dbk_slice text) {
    dbk_slice rest = text;
    bool is_type = take_prefix(&rest, "type") && (rest.size == 0 || is_blank(*(const char *)rest.data));
    if (parsed->sections.count == DBK_DEFINITION_SECTION_COUNT_MAX)
        return fail_limit(parsed, section->place, "sections", DBK_DEFINITION_SECTION_COUNT_MAX);
    rest = trim(rest);
    if (is_type && rest.size == 0)
        return fail_at(parsed, section->place, "no type", nothing, ": write one, as in [on type paid]");
    DBK_TRY(is_type ? take_types(parsed, section, rest) : take_pattern(parsed, section, trim(text)));
    section->index = (uint32_t)parsed->sections.count;
    parsed->part = PART_ON;
    return add(parsed, &parsed->sections, section, sizeof *section);
}

static daybook_status begin_section(parser *parsed, const dbk_sql_token *comment) {
    dbk_section section;
    memset(&section, 0, sizeof section);
    section.place = place_of(comment);
    dbk_slice text = dbk_sql_comment_text(comment);
    if (parsed->part == PART_HEAD) DBK_TRY(check_head(parsed, section.place));
    DBK_TRY(end_section(parsed));
    if (((const char *)text.data)[text.size - 1] != ']')
        return fail_at(parsed, section.place, "the header ", text,
                       " of a section has no end: close it with ]");
    text = trim(daybook_bytes((const char *)text.data + 1, text.size < 2 ? 0 : text.size - 2));
    DBK_TRY(copy_text(parsed, text, &section.text));
    if (dbk_slice_equal(text, daybook_text("setup"))) {
        parsed->part = PART_SETUP;
        return DAYBOOK_OK;
    }
    if (dbk_slice_equal(text, daybook_text("teardown"))) {
        parsed->part = PART_TEARDOWN;
        return DAYBOOK_OK;
    }
    if (take_prefix(&text, "on") && text.size > 0 && is_blank(*(const char *)text.data))
        return begin_on(parsed, &section, trim(text));
    return fail_at(parsed, section.place, "unknown section [", section.text,
                   "]: there are [setup], [on SUBJECT-PATTERN], [on type T, T2] and [teardown]");
}

// --- Statements ---

static daybook_status check_statement(parser *parsed, const dbk_statement *statement) {
    if (parsed->part == PART_ON || statement->placeholder_count == 0) return DAYBOOK_OK;
    const dbk_placeholder *first = &statement->placeholders[0];
    dbk_slice text = daybook_bytes((const char *)statement->text.data + first->offset, first->size);
    return fail_at(parsed, dbk_statement_place(statement, DBK_DIALECT_SQLITE, first->offset), "parameter ",
                   text, " in a section that no event goes through: only [on ...] sections have parameters");
}

static daybook_status take_statement(parser *parsed, const dbk_sql_token *first) {
    dbk_statement statement;
    dbk_place place = place_of(first);
    if (parsed->part == PART_HEAD)
        return fail_at(parsed, place, "a statement before the first section", nothing,
                       ": write -- [setup] or -- [on SUBJECT-PATTERN] before it");
    if (parsed->statement_count++ == DBK_DEFINITION_STATEMENT_COUNT_MAX)
        return fail_limit(parsed, place, "statements", DBK_DEFINITION_STATEMENT_COUNT_MAX);
    daybook_status status = dbk_statement_take(&parsed->lexer, first, parsed->arena, &parsed->parameters,
                                               &statement, &place, parsed->error);
    if (status == DAYBOOK_ENOMEM) return status;
    if (status != DAYBOOK_OK) return place_error(parsed, place, status);
    DBK_TRY(check_statement(parsed, &statement));
    list *to = parsed->part == PART_ON      ? &parsed->statements
               : parsed->part == PART_SETUP ? &parsed->setup
                                            : &parsed->teardown;
    return add(parsed, to, &statement, sizeof statement);
}

// --- The file ---

// Editors of some systems begin a UTF-8 file with it; to SQL it would be a word.
static dbk_slice without_byte_order_mark(dbk_slice text) {
    (void)take_prefix(&text, "\xef\xbb\xbf");
    return text;
}

static dbk_place place_at(dbk_slice text, const char *at) {
    dbk_place place = {1, 1};
    for (const char *before = text.data; before < at; before++) {
        place.column = *before == '\n' ? 1 : place.column + 1;
        place.line += *before == '\n';
    }
    return place;
}

static daybook_status check_text(parser *parsed, dbk_slice text) {
    dbk_place start = {1, 1};
    if (text.size > DBK_DEFINITION_SIZE_MAX)
        return place_error(parsed, start,
                           dbk_fail(parsed->error, DAYBOOK_ELIMIT,
                                    "the file is longer than %d bytes: divide it", DBK_DEFINITION_SIZE_MAX));
    if (!dbk_is_utf8(text))
        return fail_at(parsed, start, "the file is no UTF-8 text", nothing, ": save it as UTF-8");
    const char *nul = text.size == 0 ? NULL : memchr(text.data, '\0', text.size);
    if (nul == NULL) return DAYBOOK_OK;
    return fail_at(parsed, place_at(text, nul), "the file holds a NUL byte, which no text has", nothing,
                   ": save it as UTF-8, or take the byte out");
}

static daybook_status take_token(parser *parsed, const dbk_sql_token *token) {
    switch (token->kind) {
    case DBK_SQL_SPACE:
    case DBK_SQL_BLOCK_COMMENT:
        return DAYBOOK_OK;
    case DBK_SQL_LINE_COMMENT:
        return dbk_sql_is_section(token) ? begin_section(parsed, token)
                                         : take_header(parsed, dbk_sql_comment_text(token), place_of(token));
    case DBK_SQL_BAD:
        return fail_at(parsed, place_of(token), parsed->lexer.problem, nothing, "");
    default:
        return dbk_sql_is_symbol(token, ';') ? DAYBOOK_OK : take_statement(parsed, token);
    }
}

static daybook_status take_file(parser *parsed) {
    dbk_sql_token token = dbk_sql_next(&parsed->lexer);
    for (; token.kind != DBK_SQL_END; token = dbk_sql_next(&parsed->lexer))
        DBK_TRY(take_token(parsed, &token));
    if (parsed->part == PART_HEAD) DBK_TRY(check_head(parsed, place_of(&token)));
    return end_section(parsed);
}

static void hash_text(dbk_sha256 *hash, dbk_slice text) {
    uint8_t size[8];
    dbk_put_u64(size, text.size);
    dbk_sha256_update(hash, size, sizeof size);
    if (text.size > 0) dbk_sha256_update(hash, text.data, text.size);
}

static void hash_statements(dbk_sha256 *hash, const char *part_name, const dbk_statement *statements,
                            size_t count) {
    hash_text(hash, daybook_text(part_name));
    for (size_t i = 0; i < count; i++) hash_text(hash, statements[i].text);
}

static void hash_section(dbk_sha256 *hash, const dbk_section *section) {
    hash_text(hash, section->pattern);
    for (size_t i = 0; i < section->type_count; i++) hash_text(hash, section->types[i]);
    hash_statements(hash, "on", section->statements, section->statement_count);
}

static void hash_definition(dbk_definition *definition) {
    dbk_sha256 hash;
    uint8_t digest[32];
    uint8_t version[8];
    dbk_sha256_init(&hash);
    hash_text(&hash, definition->name);
    dbk_put_u64(version, definition->version);
    dbk_sha256_update(&hash, version, sizeof version);
    for (size_t i = 0; i < definition->filter_count; i++) hash_text(&hash, definition->filters[i]);
    hash_statements(&hash, "setup", definition->setup, definition->setup_count);
    for (size_t i = 0; i < definition->section_count; i++) hash_section(&hash, &definition->sections[i]);
    hash_statements(&hash, "teardown", definition->teardown, definition->teardown_count);
    dbk_sha256_final(&hash, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        (void)snprintf(definition->hash + 2 * i, 3, "%02x", (unsigned)digest[i]);
}

static daybook_status finish(parser *parsed) {
    dbk_definition *definition = parsed->definition;
    const void *items = NULL;
    definition->filter_count = parsed->filters.count;
    DBK_TRY(keep(parsed, &parsed->filters, sizeof(dbk_slice), &items));
    definition->filters = items;
    definition->setup_count = parsed->setup.count;
    DBK_TRY(keep(parsed, &parsed->setup, sizeof(dbk_statement), &items));
    definition->setup = items;
    definition->teardown_count = parsed->teardown.count;
    DBK_TRY(keep(parsed, &parsed->teardown, sizeof(dbk_statement), &items));
    definition->teardown = items;
    definition->section_count = parsed->sections.count;
    DBK_TRY(keep(parsed, &parsed->sections, sizeof(dbk_section), &items));
    definition->sections = items;
    definition->is_insert_only = true;
    for (size_t i = 0; i < definition->section_count; i++) {
        const dbk_section *section = &definition->sections[i];
        definition->is_insert_only &= section->statement_count == 1 && section->statements[0].insert != NULL;
    }
    hash_definition(definition);
    return DAYBOOK_OK;
}

static daybook_status parse(parser *parsed, dbk_slice text) {
    text = without_byte_order_mark(text);
    DBK_TRY(check_text(parsed, text));
    DBK_TRY(copy_text(parsed, daybook_text(parsed->file), &parsed->definition->file));
    parsed->file = parsed->definition->file.data;
    DBK_TRY(copy_text(parsed, text, &text));
    dbk_sql_lexer_init(&parsed->lexer, text);
    DBK_TRY(take_file(parsed));
    return finish(parsed);
}

static daybook_status new_definition(const daybook_allocator *allocator, dbk_definition **definition_out) {
    dbk_arena *arena = NULL;
    DBK_TRY(dbk_arena_new(allocator, ARENA_CHUNK_SIZE, &arena));
    dbk_definition *definition = dbk_arena_alloc(arena, sizeof *definition);
    if (definition == NULL) {
        dbk_arena_free(arena);
        return DAYBOOK_ENOMEM;
    }
    memset(definition, 0, sizeof *definition);
    definition->arena = arena;
    *definition_out = definition;
    return DAYBOOK_OK;
}

daybook_status dbk_definition_parse(const daybook_allocator *allocator, dbk_slice text, const char *file,
                                    dbk_definition **definition_out, daybook_error *error) {
    *definition_out = NULL;
    parser parsed;
    memset(&parsed, 0, sizeof parsed);
    parsed.allocator = allocator;
    parsed.file = file;
    parsed.error = error;
    parsed.parameters.allocator = allocator;
    if (new_definition(allocator, &parsed.definition) != DAYBOOK_OK) return out_of_memory(&parsed);
    parsed.arena = parsed.definition->arena;
    daybook_status status = parse(&parsed, text);
    list *lists[] = {&parsed.filters,  &parsed.setup,      &parsed.teardown,
                     &parsed.sections, &parsed.statements, &parsed.types};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) dbk_free(allocator, lists[i]->items);
    dbk_free(allocator, parsed.parameters.items);
    if (status == DAYBOOK_OK)
        *definition_out = parsed.definition;
    else
        dbk_definition_free(parsed.definition);
    return status;
}

void dbk_definition_free(dbk_definition *definition) {
    if (definition != NULL) dbk_arena_free(definition->arena); // The definition itself lies in it.
}

bool dbk_section_matches(const dbk_section *section, const daybook_event *event) {
    if (section->type_count == 0) return daybook_filter_matches(section->pattern, event->subject);
    for (size_t i = 0; i < section->type_count; i++)
        if (dbk_slice_equal(section->types[i], event->type)) return true;
    return false;
}
