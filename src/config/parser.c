// SPDX-License-Identifier: Apache-2.0
// Makes the tree of a configuration, by recursive descent.
//
//     file    := entries | '{' entries '}'
//     entries := { entry [ ',' | ';' ] }              each ends with its line, the comma or what closes the map
//     entry   := key [ ':' | '=' ] value | "include" path
//     value   := '{' entries '}' | '[' values ']' | '(' block ')' | text in quotes | word | '$' name
//
// A word is a number, a boolean or a text, judged as a whole: "4222", "64k", "on", "127.0.0.1:4222", "2s".
// A variable is what an entry of that name holds that stands above it in a map around it, or else the
// environment's, whose text is read as a value. It becomes a copy of that value; what is inside an array or a
// map is shared.
//
// Invariants: `depth` counts maps and arrays around the value being read, `scope` lists the maps; a shared
// value counts each time it is used (weight, height), so that walking the tree takes time in proportion to
// DBK_CONFIG_VALUES_MAX and a stack in proportion to DBK_CONFIG_DEPTH_MAX whatever the text says.
//
// Failure modes: EINVALID and ELIMIT with a place; ENOMEM. Nothing is handed out then.
#include <string.h>

#include "base/bytes.h"
#include "base/hash_map.h"
#include "config/lexer.h"
#include "config/path.h"

enum { ARENA_CHUNK_BYTES = 16 << 10, NUMBER_TEXT_MAX = 64 };

struct dbk_config {
    dbk_arena *arena;
    dbk_config_value *root;
};

// The maps around what is being read, innermost first.
typedef struct scope {
    dbk_config_value *map;
    dbk_config_entry *last; // of its entries
    struct scope *up;
} scope;

// The files being read, innermost first.
typedef struct open_file {
    const char *name;
    const struct open_file *up;
} open_file;

typedef struct owned_entry {
    const dbk_config_value *map;
    dbk_config_entry *entry;
} owned_entry;

typedef struct parser {
    const daybook_allocator *allocator;
    const dbk_config_source *source;
    daybook_error *error;
    dbk_arena *arena;
    dbk_lexer lexer;
    scope *scope;
    const open_file *file;
    unsigned depth;
    unsigned file_depth;
    unsigned variable_depth;
    size_t value_count;
    size_t bytes_left;
    dbk_buf text;           // what was taken last
    owned_entry *entries;   // all entries of all maps
    size_t entry_count;     //
    size_t entry_capacity;  //
    dbk_hash_map positions; // (map, key) -> index in entries
} parser;

static daybook_status parse_value(parser *state, dbk_config_value *value);
static daybook_status parse_entries(parser *state, const dbk_config_place *opened);

static daybook_status fail_here(parser *state, daybook_status status, const char *message) {
    dbk_config_place place = dbk_lexer_place(&state->lexer);
    return dbk_config_fail(&place, state->error, status, "%s", message);
}

static dbk_slice taken_text(const parser *state) {
    return daybook_bytes(state->text.data, state->text.size);
}

// NUL-terminated copy of what was taken last.
static daybook_status keep_text(parser *state, dbk_slice text, dbk_slice *kept_out) {
    char *copy = dbk_arena_alloc(state->arena, text.size + 1);
    if (copy == NULL) return DAYBOOK_ENOMEM;
    if (text.size > 0) memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    *kept_out = daybook_bytes(copy, text.size);
    return DAYBOOK_OK;
}

// Counts what is about to be part of the tree.
static daybook_status count_values(parser *state, size_t count) {
    state->value_count += count;
    if (state->value_count <= DBK_CONFIG_VALUES_MAX) return DAYBOOK_OK;
    return fail_here(state, DAYBOOK_ELIMIT, "more values than a configuration may have; shorten it");
}

// --- Keys of maps ---

static uint64_t position_hash(const dbk_config_value *map, dbk_slice key) {
    return dbk_checksum(key.data, key.size, (uint64_t)(uintptr_t)map);
}

static dbk_config_entry *find_entry(const parser *state, const dbk_config_value *map, dbk_slice key) {
    size_t step = 0;
    for (;;) {
        uint32_t index = dbk_hash_map_find(&state->positions, position_hash(map, key), &step);
        if (index == DBK_HASH_MAP_EMPTY) return NULL;
        const owned_entry *found = &state->entries[index];
        if (found->map == map && dbk_slice_equal(found->entry->key, key)) return found->entry;
    }
}

static daybook_status add_entry(parser *state, dbk_config_entry *entry) {
    scope *inner = state->scope;
    owned_entry *entries = dbk_grow_array(state->allocator, state->entries, &state->entry_capacity,
                                          state->entry_count + 1, sizeof *entries);
    if (entries == NULL) return DAYBOOK_ENOMEM;
    state->entries = entries;
    DBK_TRY(dbk_hash_map_insert(&state->positions, position_hash(inner->map, entry->key),
                                (uint32_t)state->entry_count));
    entries[state->entry_count++] = (owned_entry){inner->map, entry};
    if (inner->last == NULL) {
        inner->map->entries = entry;
    } else {
        inner->last->next = entry;
    }
    inner->last = entry;
    inner->map->count++;
    return DAYBOOK_OK;
}

// The later of two values for one key counts.
static daybook_status set_entry(parser *state, dbk_slice key, const dbk_config_place *place,
                                dbk_config_value *value) {
    dbk_config_entry *entry = find_entry(state, state->scope->map, key);
    if (entry == NULL) {
        entry = dbk_arena_alloc(state->arena, sizeof *entry);
        if (entry == NULL) return DAYBOOK_ENOMEM;
        *entry = (dbk_config_entry){.key = key};
        DBK_TRY(add_entry(state, entry));
    }
    entry->place = *place;
    entry->value = value;
    return DAYBOOK_OK;
}

// --- Words ---

static bool is_word(dbk_slice text, const char *word) {
    const char *bytes = text.data;
    size_t size = strlen(word);
    if (text.size != size) return false;
    for (size_t i = 0; i < size; i++) {
        char byte = bytes[i];
        if (byte >= 'A' && byte <= 'Z') byte = (char)(byte - 'A' + 'a');
        if (byte != word[i]) return false;
    }
    return true;
}

static bool take_boolean(dbk_config_value *value) {
    static const struct {
        const char *word;
        bool meaning;
    } words[] = {{"true", true},   {"yes", true}, {"on", true},
                 {"false", false}, {"no", false}, {"off", false}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!is_word(value->text, words[i].word)) continue;
        value->kind = DBK_CONFIG_BOOLEAN;
        value->boolean = words[i].meaning;
        return true;
    }
    return false;
}

// Length of the digits at the front.
static size_t digit_count(const char *text, size_t size) {
    size_t count = 0;
    while (count < size && text[count] >= '0' && text[count] <= '9') count++;
    return count;
}

// -12.5: digits, a dot, digits. What has more of them, as an address has, is no number.
static bool is_float(dbk_slice text) {
    const char *at = text.data;
    size_t size = text.size;
    if (size > 0 && at[0] == '-') at++, size--;
    size_t whole = digit_count(at, size);
    if (whole == 0 || whole == size || at[whole] != '.') return false;
    size_t fraction = digit_count(at + whole + 1, size - whole - 1);
    return fraction > 0 && whole + 1 + fraction == size;
}

// Without the locale's decimal comma: only digits, one dot and a sign are in it.
static double parse_float(dbk_slice text) {
    const char *bytes = text.data;
    bool is_negative = bytes[0] == '-';
    double value = 0;
    double scale = 0;
    for (size_t i = is_negative; i < text.size; i++) {
        if (bytes[i] == '.') {
            scale = 1;
            continue;
        }
        value = value * 10 + (bytes[i] - '0');
        scale *= 10;
    }
    value /= scale;
    return is_negative ? -value : value;
}

// Is it written as a whole number, with a suffix or not, whether or not it fits 64 bits?
static bool looks_like_integer(dbk_slice text) {
    const char *bytes = text.data;
    size_t start = text.size > 0 && bytes[0] == '-';
    size_t digits = digit_count(bytes + start, text.size - start);
    if (digits == 0) return false;
    char one[NUMBER_TEXT_MAX] = "1";
    size_t rest = text.size - start - digits;
    if (rest + 1 > sizeof one) return false;
    memcpy(one + 1, bytes + start + digits, rest);
    int64_t factor;
    return dbk_config_parse_integer(daybook_bytes(one, rest + 1), &factor);
}

// A password that bcrypt made looks like a variable.
static bool is_bcrypt(dbk_slice text) {
    static const char *const prefixes[] = {"$2a$", "$2b$", "$2x$", "$2y$"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        if (text.size > 4 && memcmp(text.data, prefixes[i], 4) == 0) return true;
    }
    return false;
}

static daybook_status parse_variable(parser *state, dbk_slice name, dbk_config_value *value);

// Gives the word in value->text its kind.
static daybook_status judge_word(parser *state, dbk_config_value *value) {
    const char *bytes = value->text.data;
    if (value->text.size > 0 && bytes[0] == '$' && !is_bcrypt(value->text)) {
        return parse_variable(state, daybook_bytes(bytes + 1, value->text.size - 1), value);
    }
    if (take_boolean(value)) return DAYBOOK_OK;
    if (dbk_config_parse_integer(value->text, &value->integer)) {
        value->kind = DBK_CONFIG_INTEGER;
    } else if (looks_like_integer(value->text)) {
        return dbk_config_fail(&value->place, state->error, DAYBOOK_EINVALID,
                               "the number does not fit 64 bits; make it smaller, or put it in quotes");
    } else if (is_float(value->text)) {
        value->kind = DBK_CONFIG_FLOAT;
        value->number = parse_float(value->text);
    }
    return DAYBOOK_OK;
}

static daybook_status parse_word(parser *state, dbk_config_value *value) {
    bool has_escapes;
    DBK_TRY(dbk_lexer_take_word(&state->lexer, &state->text, &has_escapes, state->error));
    if (state->text.size == 0)
        return dbk_lexer_fail_expected(&state->lexer, "a value", "write `key: value`", state->error);
    DBK_TRY(keep_text(state, taken_text(state), &value->text));
    return has_escapes ? DAYBOOK_OK : judge_word(state, value);
}

// --- Variables ---

static void copy_value(dbk_config_value *to, const dbk_config_value *from) {
    dbk_config_place place = to->place;
    *to = *from;
    to->place = place;
    to->next = NULL;
}

// What stands above, in the maps around.
static const dbk_config_value *find_variable(parser *state, dbk_slice name) {
    for (const scope *at = state->scope; at != NULL; at = at->up) {
        dbk_config_entry *entry = find_entry(state, at->map, name);
        if (entry == NULL) continue;
        entry->is_variable = true;
        return entry->value;
    }
    return NULL;
}

static daybook_status parse_environment_text(parser *state, dbk_config_value *value) {
    dbk_lexer_skip_blanks(&state->lexer);
    if (dbk_lexer_peek(&state->lexer) == DBK_LEXER_END)
        return keep_text(state, daybook_bytes("", 0), &value->text);
    DBK_TRY(parse_value(state, value));
    dbk_lexer_skip_lines(&state->lexer);
    if (dbk_lexer_peek(&state->lexer) == DBK_LEXER_END) return DAYBOOK_OK;
    return dbk_lexer_fail_expected(&state->lexer, "one value in the environment variable",
                                   "put quotes around it there", state->error);
}

// The variable's text is read as if it stood in a file of its own, in which only the environment is around.
static daybook_status parse_environment(parser *state, const char *name, const char *text,
                                        dbk_config_value *value) {
    if (state->variable_depth == DBK_CONFIG_VARIABLE_DEPTH_MAX)
        return dbk_config_fail(&value->place, state->error, DAYBOOK_EINVALID,
                               "environment variables that name each other, %s among them; give one a value",
                               name);
    dbk_lexer lexer = state->lexer;
    scope *around = state->scope;
    dbk_config_place place = value->place;
    dbk_lexer_init(&state->lexer, name, daybook_text(text));
    state->lexer.is_secret = true;
    state->scope = NULL;
    state->variable_depth++;
    daybook_status status = parse_environment_text(state, value);
    state->variable_depth--;
    state->scope = around;
    state->lexer = lexer;
    value->place = place;
    return status;
}

static daybook_status parse_variable(parser *state, dbk_slice name, dbk_config_value *value) {
    if (name.size == 0)
        return dbk_config_fail(&value->place, state->error, DAYBOOK_EINVALID,
                               "no name behind $; write it, or put the text in quotes");
    const dbk_config_value *found = find_variable(state, name);
    if (found != NULL) {
        if (state->depth + found->height > DBK_CONFIG_DEPTH_MAX)
            return dbk_config_fail(&value->place, state->error, DAYBOOK_ELIMIT,
                                   "more than %d maps and arrays within each other; take some apart",
                                   DBK_CONFIG_DEPTH_MAX);
        DBK_TRY(count_values(state, found->weight - 1));
        copy_value(value, found);
        return DAYBOOK_OK;
    }
    const char *text = NULL;
    if (state->source->get_variable != NULL)
        text = state->source->get_variable(state->source->context, name.data);
    if (text != NULL) return parse_environment(state, (const char *)name.data - 1, text, value);
    return dbk_config_fail(&value->place, state->error, DAYBOOK_EINVALID,
                           "no value for $%s: no such key stands above it, and the environment has none; "
                           "set it, or put the text in quotes",
                           (const char *)name.data);
}

// --- Containers ---

static daybook_status enter(parser *state) {
    if (state->depth == DBK_CONFIG_DEPTH_MAX)
        return fail_here(state, DAYBOOK_ELIMIT,
                         "too many maps and arrays within each other; take some apart");
    state->depth++;
    return DAYBOOK_OK;
}

static void add_measure(dbk_config_value *container, const dbk_config_value *child) {
    container->weight += child->weight;
    if (container->height < child->height + 1) container->height = child->height + 1;
}

static daybook_status parse_map(parser *state, dbk_config_value *map) {
    DBK_TRY(enter(state));
    map->kind = DBK_CONFIG_MAP;
    map->height = 1;
    map->entries = NULL;
    (void)dbk_lexer_take(&state->lexer, '{');
    scope inner = {.map = map, .up = state->scope};
    state->scope = &inner;
    daybook_status status = parse_entries(state, &map->place);
    state->scope = inner.up;
    state->depth--;
    if (status != DAYBOOK_OK) return status;
    // At the end: a value that is replaced by a later one does not count.
    for (const dbk_config_entry *entry = map->entries; entry != NULL; entry = entry->next)
        add_measure(map, entry->value);
    return DAYBOOK_OK;
}

// Behind an item: a comma or the end of the line, more of those and comments, or the end of the array.
static daybook_status end_item(parser *state) {
    dbk_lexer_skip_blanks(&state->lexer);
    if (dbk_lexer_take(&state->lexer, ',')) return DAYBOOK_OK;
    int next = dbk_lexer_peek(&state->lexer);
    if (next == '\n' || next == '\r' || next == ']' || next == DBK_LEXER_END) return DAYBOOK_OK;
    if (dbk_lexer_is_comment(&state->lexer)) return DAYBOOK_OK;
    return dbk_lexer_fail_expected(&state->lexer, "the end of the value or of the array",
                                   "put a comma between values, or quotes around one", state->error);
}

static daybook_status parse_items(parser *state, dbk_config_value *array) {
    dbk_config_value *last = NULL;
    for (;;) {
        dbk_lexer_skip_space(&state->lexer);
        if (dbk_lexer_take(&state->lexer, ']')) return DAYBOOK_OK;
        if (dbk_lexer_peek(&state->lexer) == DBK_LEXER_END)
            return dbk_config_fail(&array->place, state->error, DAYBOOK_EINVALID,
                                   "the array that begins here has no end; close it with ]");
        dbk_config_value *item = dbk_arena_alloc(state->arena, sizeof *item);
        if (item == NULL) return DAYBOOK_ENOMEM;
        DBK_TRY(parse_value(state, item));
        if (last == NULL) {
            array->items = item;
        } else {
            last->next = item;
        }
        last = item;
        array->count++;
        add_measure(array, item);
        DBK_TRY(end_item(state));
    }
}

static daybook_status parse_array(parser *state, dbk_config_value *array) {
    DBK_TRY(enter(state));
    array->kind = DBK_CONFIG_ARRAY;
    array->height = 1;
    array->items = NULL;
    (void)dbk_lexer_take(&state->lexer, '[');
    daybook_status status = parse_items(state, array);
    state->depth--;
    return status;
}

static daybook_status parse_value(parser *state, dbk_config_value *value) {
    DBK_TRY(count_values(state, 1));
    *value =
        (dbk_config_value){.kind = DBK_CONFIG_STRING, .place = dbk_lexer_place(&state->lexer), .weight = 1};
    switch (dbk_lexer_peek(&state->lexer)) {
    case '{':
        return parse_map(state, value);
    case '[':
        return parse_array(state, value);
    case '(':
        DBK_TRY(dbk_lexer_take_block(&state->lexer, &state->text, state->error));
        return keep_text(state, taken_text(state), &value->text);
    case '"':
        DBK_TRY(dbk_lexer_take_quoted(&state->lexer, true, &state->text, state->error));
        return keep_text(state, taken_text(state), &value->text);
    case '\'':
        DBK_TRY(dbk_lexer_take_quoted(&state->lexer, false, &state->text, state->error));
        return keep_text(state, taken_text(state), &value->text);
    default:
        return parse_word(state, value);
    }
}

// --- Includes ---

static daybook_status check_include(parser *state, const char *path, const dbk_config_place *place) {
    for (const open_file *at = state->file; at != NULL; at = at->up) {
        if (strcmp(at->name, path) != 0) continue;
        return dbk_config_fail(
            place, state->error, DAYBOOK_EINVALID,
            "a circle of includes: %s is being read already, and leads here through %s; take one out", path,
            state->file->name);
    }
    if (state->file_depth < DBK_CONFIG_INCLUDE_DEPTH_MAX) return DAYBOOK_OK;
    return dbk_config_fail(place, state->error, DAYBOOK_ELIMIT,
                           "more than %d files that include each other; include %s further up",
                           DBK_CONFIG_INCLUDE_DEPTH_MAX, path);
}

// The entries of `text` become entries of the map around.
static daybook_status parse_file(parser *state, const char *name, dbk_slice text) {
    open_file file = {name, state->file};
    dbk_lexer lexer = state->lexer;
    state->file = &file;
    state->file_depth++;
    dbk_lexer_init(&state->lexer, name, text);
    dbk_lexer_skip_space(&state->lexer);
    dbk_config_place start = dbk_lexer_place(&state->lexer);
    bool has_braces = dbk_lexer_take(&state->lexer, '{');
    daybook_status status = parse_entries(state, has_braces ? &start : NULL);
    if (status == DAYBOOK_OK) {
        dbk_lexer_skip_space(&state->lexer);
        if (dbk_lexer_peek(&state->lexer) != DBK_LEXER_END)
            status = dbk_lexer_fail_expected(&state->lexer, "nothing behind the last }", "remove it",
                                             state->error);
    }
    state->lexer = lexer;
    state->file_depth--;
    state->file = file.up;
    return status;
}

// `place`: of the include, NULL for the first file.
static daybook_status read_file(parser *state, const char *path, const dbk_config_place *place) {
    if (state->source->read_file == NULL)
        return dbk_config_fail(place, state->error, DAYBOOK_EUNSUPPORTED,
                               "no file can be read here; give its text instead");
    dbk_buf bytes;
    dbk_buf_init(&bytes, state->allocator, state->bytes_left);
    daybook_status status = state->source->read_file(state->source->context, path, &bytes, state->error);
    if (status == DAYBOOK_OK) status = dbk_buf_status(&bytes);
    if (status == DAYBOOK_OK) {
        state->bytes_left -= bytes.size;
        status = parse_file(state, path, daybook_bytes(bytes.data, bytes.size));
    } else if (place != NULL && state->error != NULL) {
        char reason[DAYBOOK_ERROR_MESSAGE_MAX];
        memcpy(reason, state->error->message, sizeof reason);
        (void)dbk_config_fail(place, state->error, status, "cannot include it: %s", reason);
    }
    dbk_buf_deinit(&bytes);
    return status;
}

// What stands behind "include " on its line.
static daybook_status parse_include(parser *state, const dbk_config_place *place) {
    int quote = dbk_lexer_peek(&state->lexer);
    if (quote == '"' || quote == '\'') {
        DBK_TRY(dbk_lexer_take_quoted(&state->lexer, false, &state->text, state->error));
    } else {
        bool has_escapes;
        DBK_TRY(dbk_lexer_take_word(&state->lexer, &state->text, &has_escapes, state->error));
    }
    if (state->text.size == 0)
        return dbk_lexer_fail_expected(&state->lexer, "a file name behind include",
                                       "write include ./name.conf", state->error);
    const char *path = dbk_config_join_path(state->arena, state->file->name, taken_text(state));
    if (path == NULL) return DAYBOOK_ENOMEM;
    DBK_TRY(check_include(state, path, place));
    return read_file(state, path, place);
}

// --- Entries ---

// From a key to its value: a separator or none. Without one, the value begins on the same line, or with a
// bracket.
static daybook_status skip_to_value(parser *state, dbk_slice key, bool may_break_line) {
    dbk_lexer *lexer = &state->lexer;
    dbk_lexer_skip_blanks(lexer);
    dbk_config_place key_end = dbk_lexer_place(lexer);
    dbk_lexer_skip_lines(lexer);
    bool has_separator = dbk_lexer_take(lexer, ':') || dbk_lexer_take(lexer, '=');
    if (has_separator) {
        dbk_lexer_skip_blanks(lexer);
        key_end = dbk_lexer_place(lexer);
        dbk_lexer_skip_lines(lexer);
    }
    int next = dbk_lexer_peek(lexer);
    bool is_same_line = lexer->line == key_end.line;
    if (next == '{' || next == '[' || next == '(') return DAYBOOK_OK;
    bool has_value = next != DBK_LEXER_END && next != '}' && next != ']' && next != ',' && next != ';';
    if (has_value && (is_same_line || (has_separator && may_break_line))) return DAYBOOK_OK;
    return dbk_config_fail(&key_end, state->error, DAYBOOK_EINVALID,
                           "%s has no value; write it behind the key on the same line",
                           (const char *)key.data);
}

static bool is_include(const parser *state, bool is_quoted) {
    if (is_quoted || !is_word(taken_text(state), "include")) return false;
    dbk_lexer ahead = state->lexer;
    int next = dbk_lexer_peek(&ahead);
    if (next == ':' || next == '=') return false;
    dbk_lexer_skip_blanks(&ahead);
    next = dbk_lexer_peek(&ahead);
    return next != ':' && next != '=' && next != '{';
}

static daybook_status parse_entry(parser *state, bool may_break_line) {
    dbk_config_place place = dbk_lexer_place(&state->lexer);
    int first = dbk_lexer_peek(&state->lexer);
    bool is_quoted = first == '"' || first == '\'';
    if (is_quoted) {
        DBK_TRY(dbk_lexer_take_quoted(&state->lexer, false, &state->text, state->error));
        if (state->text.size == 0)
            return dbk_config_fail(&place, state->error, DAYBOOK_EINVALID, "a key without a name; write one");
    } else {
        DBK_TRY(dbk_lexer_take_key(&state->lexer, &state->text, state->error));
    }
    if (is_include(state, is_quoted)) {
        dbk_lexer_skip_blanks(&state->lexer);
        return parse_include(state, &place);
    }
    dbk_slice key;
    DBK_TRY(keep_text(state, taken_text(state), &key));
    DBK_TRY(skip_to_value(state, key, may_break_line));
    dbk_config_value *value = dbk_arena_alloc(state->arena, sizeof *value);
    if (value == NULL) return DAYBOOK_ENOMEM;
    DBK_TRY(parse_value(state, value));
    return set_entry(state, key, &place, value);
}

// Behind an entry: a comma or semicolon, the end of the line or of the map.
static daybook_status end_entry(parser *state) {
    dbk_lexer_skip_blanks(&state->lexer);
    if (dbk_lexer_take(&state->lexer, ',') || dbk_lexer_take(&state->lexer, ';')) return DAYBOOK_OK;
    int next = dbk_lexer_peek(&state->lexer);
    if (next == '\n' || next == '\r' || next == '}' || next == DBK_LEXER_END) return DAYBOOK_OK;
    if (dbk_lexer_is_comment(&state->lexer)) return DAYBOOK_OK;
    return dbk_lexer_fail_expected(&state->lexer, "the end of the line",
                                   "put each key on its own line, or quotes around a value with blanks",
                                   state->error);
}

// Entries into the innermost map, up to the brace that closes what was opened there, or to the end of the
// text.
static daybook_status parse_entries(parser *state, const dbk_config_place *opened) {
    for (;;) {
        dbk_lexer_skip_space(&state->lexer);
        int next = dbk_lexer_peek(&state->lexer);
        if (next == DBK_LEXER_END) {
            if (opened == NULL) return DAYBOOK_OK;
            return dbk_config_fail(opened, state->error, DAYBOOK_EINVALID,
                                   "the map that begins here has no end; close it with }");
        }
        if (next == '}' && opened != NULL) {
            (void)dbk_lexer_take(&state->lexer, '}');
            return DAYBOOK_OK;
        }
        if (next == '}')
            return fail_here(state, DAYBOOK_EINVALID,
                             "this } closes nothing; remove it, or open a map before");
        DBK_TRY(parse_entry(state, opened != NULL));
        DBK_TRY(end_entry(state));
    }
}

// --- The whole ---

static daybook_status init_parser(parser *state, const dbk_config_source *source,
                                  const daybook_allocator *allocator, daybook_error *error) {
    static const dbk_config_source nothing = {0};
    *state = (parser){.allocator = allocator,
                      .source = source == NULL ? &nothing : source,
                      .error = error,
                      .bytes_left = DBK_CONFIG_BYTES_MAX};
    dbk_buf_init(&state->text, allocator, DBK_CONFIG_BYTES_MAX);
    dbk_hash_map_init(&state->positions, allocator);
    return dbk_arena_new(allocator, ARENA_CHUNK_BYTES, &state->arena);
}

static void deinit_parser(parser *state) {
    dbk_buf_deinit(&state->text);
    dbk_hash_map_deinit(&state->positions);
    dbk_free(state->allocator, state->entries);
    dbk_arena_free(state->arena);
}

static daybook_status parse_root(parser *state, const char *name, const dbk_slice *text,
                                 dbk_config_value **root_out) {
    dbk_slice kept_name;
    DBK_TRY(keep_text(state, daybook_text(name), &kept_name));
    dbk_config_value *root = dbk_arena_alloc(state->arena, sizeof *root);
    if (root == NULL) return DAYBOOK_ENOMEM;
    *root =
        (dbk_config_value){.kind = DBK_CONFIG_MAP, .place = {kept_name.data, 1, 1}, .weight = 1, .height = 1};
    scope outermost = {.map = root};
    state->scope = &outermost;
    daybook_status status = text == NULL ? read_file(state, kept_name.data, NULL)
                                         : parse_file(state, kept_name.data, *text);
    *root_out = root;
    return status;
}

static daybook_status parse(const char *name, const dbk_slice *text, const dbk_config_source *source,
                            const daybook_allocator *allocator, dbk_config **config_out,
                            daybook_error *error) {
    *config_out = NULL;
    daybook_error_init(error);
    parser state;
    dbk_config_value *root = NULL;
    daybook_status status = init_parser(&state, source, allocator, error);
    if (status == DAYBOOK_OK) status = parse_root(&state, name, text, &root);
    dbk_config *config = NULL;
    if (status == DAYBOOK_OK) {
        config = dbk_arena_alloc(state.arena, sizeof *config);
        if (config == NULL) status = DAYBOOK_ENOMEM;
    }
    if (status == DAYBOOK_OK) {
        *config = (dbk_config){state.arena, root};
        state.arena = NULL;
        *config_out = config;
    }
    if (status == DAYBOOK_ENOMEM) (void)dbk_fail(error, status, "out of memory while reading %s", name);
    deinit_parser(&state);
    return status;
}

daybook_status dbk_config_parse(dbk_slice text, const char *file_name, const dbk_config_source *source,
                                const daybook_allocator *allocator, dbk_config **config_out,
                                daybook_error *error) {
    if (text.size > DBK_CONFIG_BYTES_MAX) {
        *config_out = NULL;
        return dbk_fail(error, DAYBOOK_ELIMIT, "%s: %zu bytes; a configuration may have %d", file_name,
                        text.size, DBK_CONFIG_BYTES_MAX);
    }
    return parse(file_name, &text, source, allocator, config_out, error);
}

daybook_status dbk_config_read(const char *path, const dbk_config_source *source,
                               const daybook_allocator *allocator, dbk_config **config_out,
                               daybook_error *error) {
    return parse(path, NULL, source, allocator, config_out, error);
}

void dbk_config_free(dbk_config *config) {
    if (config != NULL) dbk_arena_free(config->arena);
}

const dbk_config_value *dbk_config_root(const dbk_config *config) {
    return config->root;
}
