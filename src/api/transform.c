// SPDX-License-Identifier: Apache-2.0
// Subject transforms, compiled to one step per token of the destination.
//
// Rules and functions as nats-server has them (ADR-30, ADR-36); partition() is FNV-1a of 32 bits over the
// tokens named, so that both put a subject into the same partition.
#include "api/transform.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/value.h"
#include "base/bytes.h"
#include "base/number.h"
#include "subject/subject.h"

enum { TOKEN_MAX = 64, ARGUMENT_MAX = 32, SUBJECT_SIZE_MAX = 4096 };

typedef enum step_kind {
    STEP_LITERAL,
    STEP_REST,
    STEP_WILDCARD,
    STEP_PARTITION,
    STEP_SPLIT,
    STEP_SPLIT_FROM_LEFT,
    STEP_SPLIT_FROM_RIGHT,
    STEP_SLICE_FROM_LEFT,
    STEP_SLICE_FROM_RIGHT,
    STEP_LEFT,
    STEP_RIGHT
} step_kind;

typedef struct step {
    step_kind kind;
    dbk_slice text;                // literal, or separator of a split
    uint64_t number;               // partitions, or a size
    uint32_t tokens[ARGUMENT_MAX]; // positions in the subject
    uint32_t token_count;
} step;

struct dbk_api_transform {
    dbk_slice source;
    uint32_t rest_from; // token where the source's > stands
    uint32_t step_count;
    step steps[];
};

// How a function is called and what it takes: `wildcards` of them at least, then a number or a separator.
typedef struct function {
    const char *name;
    step_kind kind;
    bool has_number;
    bool has_separator;
} function;

static const function functions[] = {
    {"wildcard", STEP_WILDCARD, false, false},
    {"partition", STEP_PARTITION, true, false},
    {"split", STEP_SPLIT, false, true},
    {"splitfromleft", STEP_SPLIT_FROM_LEFT, true, false},
    {"splitfromright", STEP_SPLIT_FROM_RIGHT, true, false},
    {"slicefromleft", STEP_SLICE_FROM_LEFT, true, false},
    {"slicefromright", STEP_SLICE_FROM_RIGHT, true, false},
    {"left", STEP_LEFT, true, false},
    {"right", STEP_RIGHT, true, false},
};

typedef struct compiler {
    uint32_t wildcards[TOKEN_MAX]; // token of the n-th * of the source
    uint32_t wildcard_count;
    bool has_rest;
    char *reason;
} compiler;

static bool refuse(compiler *c, const char *why, dbk_slice token) {
    if (c->reason == NULL) return false;
    if (token.size == 0)
        (void)snprintf(c->reason, DBK_API_TRANSFORM_REASON_SIZE, "%s", why);
    else
        (void)snprintf(c->reason, DBK_API_TRANSFORM_REASON_SIZE, "%s in %.*s", why,
                       token.size < 64 ? (int)token.size : 64, (const char *)token.data);
    return false;
}

static const char bad_subject[] = "invalid subject";
static const char bad_function[] = "invalid mapping destination: unknown function";
static const char bad_index[] = "invalid mapping destination: wildcard index out of range";
static const char bad_argument[] =
    "invalid mapping destination: function argument is invalid or in the wrong format";
static const char few_arguments[] =
    "invalid mapping destination: not enough arguments passed to the function";
static const char many_arguments[] = "invalid mapping destination: too many arguments passed to the function";

static bool refuse_index(compiler *c, dbk_slice token, uint64_t index) {
    (void)refuse(c, bad_index, token);
    if (c->reason == NULL) return false;
    size_t size = strlen(c->reason);
    (void)snprintf(c->reason + size, DBK_API_TRANSFORM_REASON_SIZE - size, ": [%" PRIu64 "]", index);
    return false;
}

static dbk_slice trim(dbk_slice text) {
    const char *at = text.data;
    size_t size = text.size;
    while (size > 0 && (*at == ' ' || *at == '\t')) at++, size--;
    while (size > 0 && (at[size - 1] == ' ' || at[size - 1] == '\t')) size--;
    return daybook_bytes(at, size);
}

// What stands before `byte`, taken off the front of `text` with it; all of it where there is none.
static dbk_slice take_until(dbk_slice *text, char byte) {
    const char *at = text->data;
    const char *found = text->size == 0 ? NULL : memchr(at, byte, text->size);
    size_t size = found == NULL ? text->size : (size_t)(found - at);
    dbk_slice taken = daybook_bytes(at, size);
    *text = found == NULL ? daybook_bytes(at + size, 0) : daybook_bytes(found + 1, text->size - size - 1);
    return taken;
}

static bool names_equal(dbk_slice said, const char *name) {
    const char *at = said.data;
    if (said.size != strlen(name)) return false;
    for (size_t i = 0; i < said.size; i++) {
        char byte = at[i] >= 'A' && at[i] <= 'Z' ? (char)(at[i] | 0x20) : at[i];
        if (byte != name[i]) return false;
    }
    return true;
}

static const function *find_function(dbk_slice name) {
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (names_equal(name, functions[i].name)) return &functions[i];
    }
    return NULL;
}

static bool add_wildcard(compiler *c, step *made, dbk_slice argument, dbk_slice token) {
    uint64_t index;
    if (!dbk_decimal_parse(trim(argument), &index)) return refuse(c, bad_argument, token);
    if (index == 0 || index > c->wildcard_count) return refuse_index(c, token, index);
    if (made->token_count == ARGUMENT_MAX) return refuse(c, many_arguments, token);
    made->tokens[made->token_count++] = c->wildcards[index - 1];
    return true;
}

static bool take_number(compiler *c, step *made, dbk_slice argument, dbk_slice token) {
    if (!dbk_decimal_parse(trim(argument), &made->number) || made->number > INT32_MAX)
        return refuse(c, bad_argument, token);
    return made->number > 0 || refuse(c, bad_argument, token);
}

// partition(count, n, …): the number first, then as many wildcards as there are; none: the whole subject.
static bool compile_partition(compiler *c, step *made, dbk_slice arguments, dbk_slice token) {
    if (!take_number(c, made, take_until(&arguments, ','), token)) return false;
    while (arguments.size > 0) {
        if (!add_wildcard(c, made, take_until(&arguments, ','), token)) return false;
    }
    return true;
}

static bool compile_call(compiler *c, const function *called, step *made, dbk_slice arguments,
                         dbk_slice token) {
    made->kind = called->kind;
    if (called->kind == STEP_PARTITION) return compile_partition(c, made, arguments, token);
    if (!add_wildcard(c, made, take_until(&arguments, ','), token)) return false;
    bool has_second = called->has_number || called->has_separator;
    if (has_second != (arguments.size > 0))
        return refuse(c, has_second ? few_arguments : many_arguments, token);
    if (called->has_number) return take_number(c, made, arguments, token);
    if (!called->has_separator) return true;
    made->text = trim(arguments);
    bool is_separator = made->text.size > 0 && memchr(made->text.data, '.', made->text.size) == NULL;
    return is_separator || refuse(c, bad_argument, token);
}

// {{name(arguments)}}
static bool compile_function(compiler *c, dbk_slice token, step *made) {
    dbk_slice inside = trim(daybook_bytes((const char *)token.data + 2, token.size - 4));
    const char *at = inside.data;
    if (inside.size == 0 || at[inside.size - 1] != ')') return refuse(c, bad_function, token);
    inside.size--;
    size_t whole = inside.size;
    dbk_slice name = take_until(&inside, '(');
    const function *called = name.size == whole ? NULL : find_function(trim(name));
    if (called == NULL) return refuse(c, bad_function, token);
    return compile_call(c, called, made, inside, token);
}

static bool is_function(dbk_slice token) {
    const char *at = token.data;
    return token.size > 4 && at[0] == '{' && at[1] == '{' && at[token.size - 2] == '}' &&
           at[token.size - 1] == '}';
}

static bool compile_token(compiler *c, dbk_slice token, step *made) {
    const char *at = token.data;
    uint64_t index;
    if (token.size == 0) return refuse(c, bad_subject, token);
    if (is_function(token)) return compile_function(c, token, made);
    if (memchr(at, '*', token.size) != NULL && token.size == 1)
        return refuse(c, bad_subject, daybook_text(""));
    for (size_t i = 0; i < token.size; i++) {
        if ((unsigned char)at[i] <= ' ' || at[i] == 0x7f) return refuse(c, bad_subject, daybook_text(""));
    }
    if (*at == '$' && dbk_decimal_parse(daybook_bytes(at + 1, token.size - 1), &index)) {
        made->kind = STEP_WILDCARD;
        return add_wildcard(c, made, daybook_bytes(at + 1, token.size - 1), token);
    }
    made->kind = token.size == 1 && *at == '>' ? STEP_REST : STEP_LITERAL;
    made->text = token;
    return true;
}

// Tokens of the destination, dots between braces not counted: a separator may not be one, an argument has
// none.
static uint32_t count_tokens(dbk_slice text) {
    const char *at = text.data;
    uint32_t count = 1;
    for (size_t i = 0; i < text.size; i++) count += at[i] == '.';
    return count;
}

static bool read_source(compiler *c, dbk_api_transform *made) {
    if (!daybook_filter_is_valid(made->source)) return refuse(c, bad_subject, daybook_text(""));
    uint32_t count = dbk_subject_token_count(made->source);
    for (uint32_t i = 0; i < count; i++) {
        dbk_slice token = dbk_subject_token(made->source, i);
        if (dbk_slice_equal(token, daybook_text("*"))) {
            if (c->wildcard_count == TOKEN_MAX) return refuse(c, many_arguments, token);
            c->wildcards[c->wildcard_count++] = i;
        }
        if (dbk_slice_equal(token, daybook_text(">"))) {
            c->has_rest = true;
            made->rest_from = i;
        }
    }
    return true;
}

static bool read_destination(compiler *c, dbk_api_transform *made, dbk_slice destination) {
    bool has_rest = false;
    dbk_slice left = destination;
    for (uint32_t i = 0; i < made->step_count; i++) {
        step *next = &made->steps[i];
        memset(next, 0, sizeof *next);
        if (has_rest || !compile_token(c, take_until(&left, '.'), next))
            return has_rest ? refuse(c, bad_subject, daybook_text("")) : false;
        has_rest = next->kind == STEP_REST;
    }
    // No destination: the subject as it is.
    return destination.size == 0 || has_rest == c->has_rest || refuse(c, bad_subject, daybook_text(""));
}

daybook_status dbk_api_transform_new(dbk_slice source, dbk_slice destination, dbk_arena *arena,
                                     const dbk_api_transform **transform_out, char *reason_out) {
    compiler c;
    memset(&c, 0, sizeof c);
    c.reason = reason_out;
    *transform_out = NULL;
    uint32_t count = destination.size == 0 ? 0 : count_tokens(destination);
    if (destination.size > SUBJECT_SIZE_MAX || count > TOKEN_MAX) {
        (void)refuse(&c, bad_subject, daybook_text(""));
        return DAYBOOK_EINVALID;
    }
    dbk_api_transform *made = dbk_arena_alloc(arena, sizeof *made + count * sizeof(step));
    if (made == NULL) return DAYBOOK_ENOMEM;
    memset(made, 0, sizeof *made);
    made->source = source.size == 0 ? daybook_text(">") : source;
    made->step_count = count;
    if (!read_source(&c, made) || !read_destination(&c, made, destination)) return DAYBOOK_EINVALID;
    *transform_out = made;
    return DAYBOOK_OK;
}

// Applying.

static void append_partition(const step *at, dbk_slice subject, dbk_buf *out) {
    uint32_t hash = UINT32_C(2166136261);
    for (uint32_t i = 0; i < at->token_count || (i == 0 && at->token_count == 0); i++) {
        dbk_slice token = at->token_count == 0 ? subject : dbk_subject_token(subject, at->tokens[i]);
        const unsigned char *bytes = token.data;
        for (size_t k = 0; k < token.size; k++) hash = (hash ^ bytes[k]) * UINT32_C(16777619);
    }
    dbk_decimal_append(out, hash % (uint32_t)at->number);
}

static void append_split(const step *at, dbk_slice token, dbk_buf *out) {
    const char *bytes = token.data;
    size_t start = out->size;
    for (size_t i = 0, from = 0; i <= token.size;) {
        bool is_end = i == token.size;
        bool is_separator = !is_end && token.size - i >= at->text.size &&
                            memcmp(bytes + i, at->text.data, at->text.size) == 0;
        if (!is_end && !is_separator) {
            i++;
            continue;
        }
        if (i > from) {
            if (out->size > start) dbk_buf_append_u8(out, '.');
            dbk_buf_append(out, bytes + from, i - from);
        }
        i += is_end ? 1 : at->text.size;
        from = i;
    }
}

static void append_cut(dbk_slice token, size_t at, dbk_buf *out) {
    dbk_buf_append(out, token.data, at);
    if (at > 0 && at < token.size) dbk_buf_append_u8(out, '.');
    dbk_buf_append(out, (const char *)token.data + at, token.size - at);
}

// Pieces of `size` bytes, the first of `first` bytes.
static void append_slices(dbk_slice token, size_t first, size_t size, dbk_buf *out) {
    for (size_t from = 0, to = first == 0 ? size : first; from < token.size; from = to, to += size) {
        if (to > token.size) to = token.size;
        if (from > 0) dbk_buf_append_u8(out, '.');
        dbk_buf_append(out, (const char *)token.data + from, to - from);
    }
}

static void append_of_token(const step *at, dbk_slice token, dbk_buf *out) {
    size_t number = (size_t)at->number;
    size_t size = token.size;
    switch (at->kind) {
    case STEP_SPLIT:
        append_split(at, token, out);
        break;
    case STEP_SPLIT_FROM_LEFT:
        append_cut(token, number < size ? number : size, out);
        break;
    case STEP_SPLIT_FROM_RIGHT:
        append_cut(token, number < size ? size - number : 0, out);
        break;
    case STEP_SLICE_FROM_LEFT:
        append_slices(token, 0, number < size ? number : size, out);
        break;
    case STEP_SLICE_FROM_RIGHT:
        append_slices(token, number < size ? size % number : 0, number < size ? number : size, out);
        break;
    case STEP_LEFT:
        dbk_buf_append(out, token.data, number < size ? number : size);
        break;
    case STEP_RIGHT:
        dbk_buf_append(out, (const char *)token.data + (number < size ? size - number : 0),
                       number < size ? number : size);
        break;
    default:
        dbk_buf_append_slice(out, token);
    }
}

static dbk_slice rest_of(dbk_slice subject, uint32_t from) {
    dbk_slice first = dbk_subject_token(subject, from);
    size_t skipped = (size_t)((const char *)first.data - (const char *)subject.data);
    return daybook_bytes(first.data, subject.size - skipped);
}

static void append_step(const dbk_api_transform *transform, const step *at, dbk_slice subject, dbk_buf *out) {
    switch (at->kind) {
    case STEP_LITERAL:
        dbk_buf_append_slice(out, at->text);
        break;
    case STEP_REST:
        dbk_buf_append_slice(out, rest_of(subject, transform->rest_from));
        break;
    case STEP_PARTITION:
        append_partition(at, subject, out);
        break;
    default:
        append_of_token(at, dbk_subject_token(subject, at->tokens[0]), out);
    }
}

bool dbk_api_transform_apply(const dbk_api_transform *transform, dbk_slice subject, dbk_buf *out) {
    if (!daybook_filter_matches(transform->source, subject)) return false;
    if (transform->step_count == 0) dbk_buf_append_slice(out, subject);
    for (uint32_t i = 0; i < transform->step_count; i++) {
        if (i > 0) dbk_buf_append_u8(out, '.');
        append_step(transform, &transform->steps[i], subject, out);
    }
    return true;
}
