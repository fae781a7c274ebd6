// SPDX-License-Identifier: Apache-2.0
// A pattern becomes a list of items, matched one after the other by trying the longest first and going back. JSON is
// compared as text, value by value, without building anything.
#include "wire/match.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEM_COUNT_MAX = 64, DEPTH_MAX = 32, EXPANDED_SIZE_MAX = 1 << 27 };

typedef enum item_kind { ITEM_LITERAL, ITEM_ANY, ITEM_WORD, ITEM_NUMBER, ITEM_NAME, ITEM_CHOICE } item_kind;

typedef struct item {
    item_kind kind;
    char *data; // LITERAL: bytes, owned; NAME, CHOICE: what stands between the angles, owned
    size_t size;
} item;

typedef struct pattern {
    item items[ITEM_COUNT_MAX];
    size_t count;
} pattern;

// ---- names -------------------------------------------------------------------------------------------------------------------

static size_t find_name(const names *captured, const char *name, size_t size) {
    size_t i = 0;
    while (i < captured->count &&
           (strlen(captured->all[i].name) != size || memcmp(captured->all[i].name, name, size) != 0))
        i++;
    return i;
}

void names_set(names *captured, text name, text value) {
    size_t i = find_name(captured, name.data, name.size);
    if (i == NAME_COUNT_MAX || name.size >= NAME_SIZE_MAX || value.size > VALUE_SIZE_MAX) {
        fprintf(stderr, "too many captures, or one too long: <%.*s>\n", (int)name.size, name.data);
        exit(1);
    }
    if (i == captured->count) captured->count++;
    memcpy(captured->all[i].name, name.data, name.size);
    captured->all[i].name[name.size] = '\0';
    memcpy(captured->all[i].value, value.data, value.size);
    captured->all[i].size = value.size;
}

// ---- patterns ----------------------------------------------------------------------------------------------------------------

static void *need(void *memory) {
    if (memory != NULL) return memory;
    fprintf(stderr, "out of memory\n");
    exit(1);
}

static void add_item(pattern *all, item_kind kind, const char *data, size_t size) {
    if (all->count == ITEM_COUNT_MAX) {
        fprintf(stderr, "a pattern of more than %d parts\n", ITEM_COUNT_MAX);
        exit(1);
    }
    item *added = &all->items[all->count++];
    *added = (item){kind, need(malloc(size + 1)), size};
    memcpy(added->data, data, size);
    added->data[size] = '\0';
}

static void add_literal(pattern *all, const char *data, size_t size) {
    item *last = all->count == 0 ? NULL : &all->items[all->count - 1];
    if (last == NULL || last->kind != ITEM_LITERAL) {
        add_item(all, ITEM_LITERAL, data, size);
        return;
    }
    last->data = need(realloc(last->data, last->size + size + 1));
    memcpy(last->data + last->size, data, size);
    last->size += size;
}

static void free_pattern(pattern *all) {
    for (size_t i = 0; i < all->count; i++) free(all->items[i].data);
    all->count = 0;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// The byte an escape means, from behind the backslash; -1: none.
static int take_escape(const char **at) {
    static const char letters[] = "rnt0\\<", meanings[] = "\r\n\t\0\\<";
    char c = **at;
    if (c == 'x' && hex_digit((*at)[1]) >= 0 && hex_digit((*at)[2]) >= 0) {
        int byte = hex_digit((*at)[1]) * 16 + hex_digit((*at)[2]);
        *at += 3;
        return byte;
    }
    const char *found = c == '\0' ? NULL : strchr(letters, c);
    if (found == NULL) return -1;
    (*at)++;
    return (unsigned char)meanings[found - letters];
}

static bool undo_escapes(const char *from, const char *end, char *out, size_t *size_out) {
    size_t size = 0;
    while (from < end) {
        int byte = (unsigned char)*from++;
        if (byte == '\\' && (byte = take_escape(&from)) < 0) return false;
        out[size++] = (char)byte;
    }
    *size_out = size;
    return true;
}

// "x*500": the text before the last star, as often as said. false: it is none.
static bool add_repetition(pattern *all, const char *inner, size_t size) {
    char piece[256], *end;
    size_t star = size, piece_size;
    while (star > 0 && inner[star - 1] != '*') star--;
    if (star < 2 || star == size || star > sizeof piece) return false;
    unsigned long count = strtoul(inner + star, &end, 10);
    if (end != inner + size || !undo_escapes(inner, inner + star - 1, piece, &piece_size)) return false;
    if (count * piece_size > EXPANDED_SIZE_MAX) return false;
    char *bytes = need(malloc(count * piece_size + 1));
    for (unsigned long i = 0; i < count; i++) memcpy(bytes + i * piece_size, piece, piece_size);
    add_literal(all, bytes, count * piece_size);
    free(bytes);
    return true;
}

static bool is_name(const char *inner, size_t size) {
    if (size == 0 || size >= NAME_SIZE_MAX) return false;
    for (size_t i = 0; i < size; i++) {
        if (!isalnum((unsigned char)inner[i]) && inner[i] != '_') return false;
    }
    return true;
}

static bool add_angles(pattern *all, const char *inner, size_t size, const names *captured) {
    size_t known = find_name(captured, inner, size);
    if (known < captured->count) {
        add_literal(all, captured->all[known].value, captured->all[known].size);
    } else if (size == 3 && memcmp(inner, "any", 3) == 0) {
        add_item(all, ITEM_ANY, inner, size);
    } else if (size == 4 && memcmp(inner, "word", 4) == 0) {
        add_item(all, ITEM_WORD, inner, size);
    } else if (size == 6 && memcmp(inner, "number", 6) == 0) {
        add_item(all, ITEM_NUMBER, inner, size);
    } else if (memchr(inner, '|', size) != NULL) {
        add_item(all, ITEM_CHOICE, inner, size);
    } else if (is_name(inner, size)) {
        add_item(all, ITEM_NAME, inner, size);
    } else {
        return add_repetition(all, inner, size);
    }
    return true;
}

static const char *find_angle_end(const char *at) {
    while (*at != '\0' && *at != '>') at += *at == '\\' && at[1] != '\0' ? 2 : 1;
    return *at == '>' ? at : NULL;
}

static bool read_pattern(const char *at, const names *captured, pattern *all, char *why, size_t capacity) {
    all->count = 0;
    while (*at != '\0') {
        const char *start = at;
        if (*at == '<') {
            const char *end = find_angle_end(at);
            if (end != NULL && add_angles(all, at + 1, (size_t)(end - at - 1), captured)) {
                at = end + 1;
                continue;
            }
        } else {
            int byte = (unsigned char)*at++;
            if (byte == '\\') byte = take_escape(&at);
            if (byte >= 0) {
                char c = (char)byte;
                add_literal(all, &c, 1);
                continue;
            }
        }
        (void)snprintf(why, capacity, "the script's text cannot be understood from here on: %s", start);
        free_pattern(all);
        return false;
    }
    return true;
}

char *expand(const char *script_text, const names *captured, size_t *size_out, char *why, size_t capacity) {
    pattern all;
    if (!read_pattern(script_text, captured, &all, why, capacity)) return NULL;
    if (all.count > 1 || (all.count == 1 && all.items[0].kind != ITEM_LITERAL)) {
        (void)snprintf(why, capacity, "a name in what is sent was not captured before: %s", script_text);
        free_pattern(&all);
        return NULL;
    }
    *size_out = all.count == 0 ? 0 : all.items[0].size;
    return all.count == 0 ? need(calloc(1, 1)) : all.items[0].data;
}

static bool match_items(const item *items, size_t count, text said, names *captured);

// Up to `longest` bytes of `said` for the first item, the longest first.
static bool match_span(const item *items, size_t count, text said, size_t shortest, size_t longest,
                       names *captured) {
    size_t known = captured->count;
    for (size_t size = longest + 1; size-- > shortest;) {
        text rest = {said.data + size, said.size - size};
        if (items[0].kind == ITEM_NAME) {
            size_t before = find_name(captured, items[0].data, items[0].size);
            if (before < known) { // it stands twice in this pattern
                if (captured->all[before].size != size ||
                    memcmp(captured->all[before].value, said.data, size) != 0)
                    continue;
            } else {
                names_set(captured, (text){items[0].data, items[0].size}, (text){said.data, size});
            }
        }
        if (match_items(items + 1, count - 1, rest, captured)) return true;
        captured->count = known;
    }
    return false;
}

static bool match_choice(const item *items, size_t count, text said, names *captured) {
    const char *at = items[0].data, *end = at + items[0].size;
    for (;;) {
        const char *bar = memchr(at, '|', (size_t)(end - at));
        size_t size = (size_t)((bar == NULL ? end : bar) - at);
        text rest = {said.data + size, said.size - size};
        if (size <= said.size && memcmp(at, said.data, size) == 0 &&
            match_items(items + 1, count - 1, rest, captured))
            return true;
        if (bar == NULL) return false;
        at = bar + 1;
    }
}

static size_t span(text said, bool (*belongs)(char c)) {
    size_t size = 0;
    while (size < said.size && size < VALUE_SIZE_MAX && belongs(said.data[size])) size++;
    return size;
}

static bool is_word_byte(char c) {
    return c != ' ' && c != '\t' && c != '\r' && c != '\n';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool match_items(const item *items, size_t count, text said, names *captured) {
    if (count == 0) return said.size == 0;
    switch (items[0].kind) {
    case ITEM_LITERAL:
        if (said.size < items[0].size || memcmp(said.data, items[0].data, items[0].size) != 0) return false;
        return match_items(items + 1, count - 1, (text){said.data + items[0].size, said.size - items[0].size},
                           captured);
    case ITEM_ANY:
        return match_span(items, count, said, 0, said.size, captured);
    case ITEM_CHOICE:
        return match_choice(items, count, said, captured);
    default: {
        size_t longest = span(said, items[0].kind == ITEM_NUMBER ? is_digit : is_word_byte);
        return longest > 0 && match_span(items, count, said, 1, longest, captured);
    }
    }
}

bool match_text(const char *script_text, text said, names *captured, char *why, size_t capacity) {
    pattern all;
    if (!read_pattern(script_text, captured, &all, why, capacity)) return false;
    bool matches = match_items(all.items, all.count, said, captured);
    free_pattern(&all);
    if (!matches) (void)snprintf(why, capacity, "it does not match");
    return matches;
}

// ---- JSON --------------------------------------------------------------------------------------------------------------------

typedef struct place {
    char *why;
    size_t capacity;
    names *captured;
    int depth;
} place;

static void skip_blanks(text *json) {
    while (json->size > 0 && isspace((unsigned char)*json->data)) json->data++, json->size--;
}

static bool take_byte(text *json, char c) {
    skip_blanks(json);
    if (json->size == 0 || *json->data != c) return false;
    json->data++, json->size--;
    return true;
}

// A string's content, escapes as they are.
static bool take_string(text *json, text *content_out) {
    if (!take_byte(json, '"')) return false;
    const char *start = json->data;
    while (json->size > 0 && *json->data != '"') {
        size_t step = *json->data == '\\' && json->size > 1 ? 2 : 1;
        json->data += step, json->size -= step;
    }
    *content_out = (text){start, (size_t)(json->data - start)};
    return take_byte(json, '"');
}

// One value of any kind; in expectations also a word, or <something>.
static bool take_value(text *json, text *value_out) {
    skip_blanks(json);
    const char *start = json->data;
    text unused;
    int depth = 0;
    while (json->size > 0) {
        char c = *json->data;
        if (depth == 0 && json->data > start && (c == ',' || c == '}' || c == ']' || c == ':')) break;
        if (c == '"') {
            if (!take_string(json, &unused)) return false;
        } else {
            if (c == '{' || c == '[') depth++;
            if (c == '}' || c == ']') depth--;
            if (depth < 0) return false;
            json->data++, json->size--;
        }
    }
    const char *end = json->data;
    while (end > start && isspace((unsigned char)end[-1])) end--;
    *value_out = (text){start, (size_t)(end - start)};
    return depth == 0 && end > start;
}

static bool is_word(text value, const char *word) {
    return value.size == strlen(word) && memcmp(value.data, word, value.size) == 0;
}

static bool complain(place *at, const char *what, text name, text value) {
    (void)snprintf(at->why, at->capacity, "%s: %.*s %.*s", what, (int)name.size,
                   name.data == NULL ? "" : name.data, (int)(value.size < 500 ? value.size : 500),
                   value.data == NULL ? "" : value.data);
    return false;
}

// The member's value; false: there is none (or no object).
static bool find_member(text object, text name, text *value_out) {
    text key;
    if (!take_byte(&object, '{')) return false;
    while (take_string(&object, &key) && take_byte(&object, ':') && take_value(&object, value_out)) {
        if (key.size == name.size && memcmp(key.data, name.data, key.size) == 0) return true;
        if (!take_byte(&object, ',')) break;
    }
    return false;
}

static bool compare_values(place *at, text name, text expected, text said);

static bool compare_objects(place *at, text expected, text said) {
    text key, wanted, found;
    (void)take_byte(&expected, '{');
    bool is_exact = take_byte(&expected, '=');
    text all = expected;
    if (!take_byte(&(text){said.data, said.size}, '{')) return complain(at, "no object", (text){0}, said);
    while (take_string(&expected, &key)) {
        if (!take_byte(&expected, ':') || !take_value(&expected, &wanted))
            return complain(at, "the script's JSON is broken behind", key, (text){0});
        bool is_there = find_member(said, key, &found);
        if (is_word(wanted, "absent") ? is_there : !is_there)
            return complain(at, is_there ? "there should be no" : "there is no", key, (text){0});
        if (is_there && !compare_values(at, key, wanted, found)) return false;
        if (!take_byte(&expected, ',')) break;
    }
    if (!take_byte(&expected, '}'))
        return complain(at, "the script's JSON is broken at", (text){0}, expected);
    if (!is_exact) return true;
    (void)take_byte(&said, '{');
    while (take_string(&said, &key) && take_byte(&said, ':') && take_value(&said, &found)) {
        text again = all;
        bool is_known = false;
        while (take_string(&again, &wanted) && !is_known) {
            text unused;
            is_known = wanted.size == key.size && memcmp(wanted.data, key.data, key.size) == 0;
            if (!take_byte(&again, ':') || !take_value(&again, &unused) || !take_byte(&again, ',')) break;
        }
        if (!is_known) return complain(at, "there is also", key, found);
        if (!take_byte(&said, ',')) break;
    }
    return true;
}

static bool compare_arrays(place *at, text expected, text said) {
    text wanted, found;
    (void)take_byte(&expected, '[');
    if (!take_byte(&said, '[')) return complain(at, "no array", (text){0}, said);
    for (bool is_first = true; !take_byte(&expected, ']'); is_first = false) {
        if (!is_first && (!take_byte(&expected, ',') || !take_byte(&said, ',')))
            return complain(at, "too few elements", (text){0}, said);
        if (!take_value(&expected, &wanted) || !take_value(&said, &found))
            return complain(at, "too few elements", (text){0}, said);
        if (!compare_values(at, (text){0}, wanted, found)) return false;
    }
    return take_byte(&said, ']') || complain(at, "more elements", (text){0}, said);
}

// The angles and the ampersand, which the Go language writes as \u003e and so on.
static text undo_unicode(text said, char *out, size_t capacity) {
    static const struct {
        const char *escape;
        char meaning;
    } escapes[] = {{"\\u003c", '<'}, {"\\u003e", '>'}, {"\\u0026", '&'}};
    size_t size = 0;
    if (said.size > capacity) return said;
    for (size_t i = 0; i < said.size; i++) {
        out[size++] = said.data[i];
        for (size_t j = 0; j < sizeof escapes / sizeof *escapes; j++) {
            if (said.size - i < 6 || memcmp(said.data + i, escapes[j].escape, 6) != 0) continue;
            out[size - 1] = escapes[j].meaning;
            i += 5;
            break;
        }
    }
    return (text){out, size};
}

static bool compare_pattern(place *at, text name, text expected, text said) {
    char script_text[2048], plain[2048];
    if (expected.size >= sizeof script_text) return complain(at, "too long", name, (text){0});
    memcpy(script_text, expected.data, expected.size);
    script_text[expected.size] = '\0';
    said = undo_unicode(said, plain, sizeof plain);
    return match_text(script_text, said, at->captured, at->why, at->capacity) ||
           complain(at, "differs", name, said);
}

static bool compare_values(place *at, text name, text expected, text said) {
    if (++at->depth > DEPTH_MAX) return complain(at, "too deep", name, said);
    bool matches;
    if (expected.data[0] == '{') {
        matches = compare_objects(at, expected, said);
    } else if (expected.data[0] == '[') {
        matches = compare_arrays(at, expected, said);
    } else {
        // With the quotation marks of a string: <any> may be any value, "<any>" is any string.
        matches = compare_pattern(at, name, expected, said);
    }
    at->depth--;
    return matches;
}

bool match_json(const char *script_text, text said, names *captured, char *why, size_t capacity) {
    char head[1024];
    size_t expected_at = strcspn(script_text, "{["), said_at = 0;
    place at = {why, capacity, captured, 0};
    while (said_at < said.size && said.data[said_at] != '{' && said.data[said_at] != '[') said_at++;
    if (script_text[expected_at] == '\0' || expected_at >= sizeof head) {
        (void)snprintf(why, capacity, "the script has no JSON here");
        return false;
    }
    (void)snprintf(head, sizeof head, "%.*s", (int)expected_at, script_text);
    if (!match_text(head, (text){said.data, said_at}, captured, why, capacity)) return false;
    text expected = {script_text + expected_at, strlen(script_text + expected_at)};
    text rest = {said.data + said_at, said.size - said_at}, value;
    if (!take_value(&rest, &value)) return complain(&at, "no JSON", (text){0}, rest);
    return compare_values(&at, (text){0}, expected, value);
}
