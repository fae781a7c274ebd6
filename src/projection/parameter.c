// SPDX-License-Identifier: Apache-2.0
// Parameters: their writing, and their values. A plan holds the tree of places in the data that are wanted
// (data_scan.h); everything else is copied from the event's fields one by one.
#include "projection/parameter.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/number.h"
#include "daybook/time.h"
#include "projection/data_scan.h"
#include "projection/sql.h"

// --- Writing ---

static const struct source_name {
    const char *name;
    dbk_parameter_source source;
} source_names[] = {
#define SOURCE_NAME(source, name, help) {name, DBK_PARAMETER_##source},
    DBK_PARAMETER_MAP(SOURCE_NAME)
#undef SOURCE_NAME
};

typedef struct writing {
    const char *at;
    const char *start;
    const char *end;
    dbk_arena *arena;
    daybook_error *error;
} writing;

static dbk_slice taken(const writing *text) {
    return daybook_bytes(text->start, (size_t)(text->at - text->start));
}

static daybook_status out_of_memory(daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: parameters not taken");
}

static char peek(const writing *text, size_t offset) {
    return offset < (size_t)(text->end - text->at) ? text->at[offset] : '\0';
}

static bool is_name_part(char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '_' || (unsigned char)byte >= 0x80;
}

static daybook_status refuse(writing *text, const char *why) {
    return dbk_fail(text->error, DAYBOOK_EINVALID, "%.*s: %s", DBK_SHOWN(taken(text)), why);
}

static daybook_status check_name_size(writing *text, dbk_slice name) {
    if (name.size == 0)
        return refuse(text, "a name is missing: write letters, digits and '_', or any name in double quotes");
    if (name.size > DBK_PARAMETER_NAME_SIZE_MAX) return refuse(text, "the name is longer than 255 bytes");
    return DAYBOOK_OK;
}

// Behind the opening quote. A doubled one stands for itself.
static daybook_status take_quoted_name(writing *text, dbk_slice *name_out) {
    char *copy = dbk_arena_alloc(text->arena, DBK_PARAMETER_NAME_SIZE_MAX + 1);
    size_t size = 0;
    if (copy == NULL) return out_of_memory(text->error);
    for (;;) {
        if (text->at == text->end) return refuse(text, "the quoted name has no end: close it with \"");
        char byte = *text->at++;
        if (byte == '"' && peek(text, 0) != '"') break;
        if (byte == '"') text->at++;
        if ((unsigned char)byte < ' ') return refuse(text, "a name holds no control characters");
        if (size <= DBK_PARAMETER_NAME_SIZE_MAX) copy[size++] = byte;
    }
    *name_out = daybook_bytes(copy, size);
    return check_name_size(text, *name_out);
}

static daybook_status take_name(writing *text, dbk_slice *name_out) {
    if (peek(text, 0) == '"') {
        text->at++;
        return take_quoted_name(text, name_out);
    }
    const char *start = text->at;
    while (is_name_part(peek(text, 0))) text->at++;
    *name_out = daybook_bytes(start, (size_t)(text->at - start));
    return check_name_size(text, *name_out);
}

// At a digit.
static daybook_status take_index(writing *text, uint32_t *index_out) {
    uint32_t index = 0;
    for (; peek(text, 0) >= '0' && peek(text, 0) <= '9'; text->at++) {
        index = index * 10 + (uint32_t)(*text->at - '0');
        if (index > DBK_PARAMETER_INDEX_MAX) return refuse(text, "an index is at most 1000000");
    }
    if (peek(text, 0) != ']') return refuse(text, "the index has no end: close it with ]");
    text->at++;
    *index_out = index;
    return DAYBOOK_OK;
}

static bool is_digit(char byte) {
    return byte >= '0' && byte <= '9';
}

// Whether a step of a path follows, and not a dot or bracket of SQL's own.
static bool has_step(const writing *text) {
    char first = peek(text, 0);
    char second = peek(text, 1);
    return first == '.' ? is_name_part(second) || second == '"' : first == '[' && is_digit(second);
}

static daybook_status take_steps(writing *text, dbk_parameter *parameter) {
    dbk_path_step steps[DBK_PARAMETER_STEP_COUNT_MAX];
    size_t count = 0;
    for (; has_step(text); count++) {
        if (count == DBK_PARAMETER_STEP_COUNT_MAX) return refuse(text, "a path has at most 32 steps");
        dbk_path_step *step = &steps[count];
        *step = (dbk_path_step){.index = 0};
        bool is_index = *text->at++ == '[';
        DBK_TRY(is_index ? take_index(text, &step->index) : take_name(text, &step->name));
    }
    if (count == 0) return DAYBOOK_OK;
    dbk_path_step *copy = dbk_arena_alloc(text->arena, count * sizeof *copy);
    if (copy == NULL) return out_of_memory(text->error);
    memcpy(copy, steps, count * sizeof *copy);
    parameter->steps = copy;
    parameter->step_count = count;
    return DAYBOOK_OK;
}

static daybook_status take_source(writing *text, dbk_parameter *parameter) {
    const char *start = ++text->at;
    while (is_name_part(peek(text, 0))) text->at++;
    dbk_slice name = daybook_bytes(start, (size_t)(text->at - start));
    for (size_t i = 0; i < sizeof source_names / sizeof source_names[0]; i++) {
        if (!dbk_slice_equal(name, daybook_text(source_names[i].name))) continue;
        parameter->source = source_names[i].source;
        return DAYBOOK_OK;
    }
    return refuse(
        text, "no such parameter: use :data.NAME, :header.NAME, :tag.PREFIX or one of position seq version "
              "stream subject aggregate aggregate_id category id type time recorded schema actor "
              "correlation causation data text bytes; a colon of SQL's own wants a space behind it");
}

static daybook_status take_rest(writing *text, dbk_parameter *parameter) {
    bool is_named = parameter->source == DBK_PARAMETER_HEADER || parameter->source == DBK_PARAMETER_TAG;
    if (is_named) {
        if (peek(text, 0) != '.') return refuse(text, "which one? write :header.NAME or :tag.PREFIX");
        text->at++;
        return take_name(text, &parameter->name);
    }
    if (parameter->source == DBK_PARAMETER_DATA) return take_steps(text, parameter);
    if (has_step(text)) {
        text->at++;
        return refuse(text, "nothing is inside it: only :data has members");
    }
    return DAYBOOK_OK;
}

daybook_status dbk_parameter_parse(dbk_slice text, dbk_arena *arena, dbk_parameter *parameter_out,
                                   size_t *size_out, daybook_error *error) {
    writing written = {.start = text.data, .at = text.data, .arena = arena, .error = error};
    written.end = written.start + text.size;
    memset(parameter_out, 0, sizeof *parameter_out);
    DBK_TRY(take_source(&written, parameter_out));
    DBK_TRY(take_rest(&written, parameter_out));
    parameter_out->is_required = peek(&written, 0) == '!' && peek(&written, 1) != '='; // `!=` is SQL's
    written.at += parameter_out->is_required;
    // It would run into the number that takes its place.
    if (is_name_part(peek(&written, 0))) return refuse(&written, "a space is missing behind it");
    parameter_out->text = taken(&written);
    *size_out = parameter_out->text.size;
    return DAYBOOK_OK;
}

static bool is_same_step(const dbk_path_step *a, const dbk_path_step *b) {
    if ((a->name.data == NULL) != (b->name.data == NULL)) return false;
    return a->name.data == NULL ? a->index == b->index : dbk_slice_equal(a->name, b->name);
}

bool dbk_parameter_equal(const dbk_parameter *a, const dbk_parameter *b) {
    if (a->source != b->source || a->step_count != b->step_count || !dbk_slice_equal(a->name, b->name))
        return false;
    for (size_t i = 0; i < a->step_count; i++)
        if (!is_same_step(&a->steps[i], &b->steps[i])) return false;
    return true;
}

// --- The plan ---

struct dbk_parameter_plan {
    const dbk_parameter *parameters;
    size_t count;
    dbk_wanted *root; // NULL where nothing of the data is wanted as JSON
};

static dbk_wanted *new_wanted(dbk_arena *arena, const dbk_path_step *step) {
    dbk_wanted *wanted = dbk_arena_alloc(arena, sizeof *wanted);
    if (wanted == NULL) return NULL;
    *wanted = (dbk_wanted){.value = DBK_WANTED_NONE};
    if (step != NULL) wanted->step = *step;
    return wanted;
}

static dbk_wanted *reach(dbk_wanted *parent, const dbk_path_step *step, dbk_arena *arena) {
    dbk_wanted **last = &parent->children;
    for (; *last != NULL; last = &(*last)->next)
        if (is_same_step(&(*last)->step, step)) return *last;
    return *last = new_wanted(arena, step);
}

static daybook_status want(dbk_parameter_plan *plan, uint32_t value, dbk_arena *arena) {
    const dbk_parameter *parameter = &plan->parameters[value];
    if (plan->root == NULL) plan->root = new_wanted(arena, NULL);
    dbk_wanted *place = plan->root;
    for (size_t i = 0; place != NULL && i < parameter->step_count; i++)
        place = reach(place, &parameter->steps[i], arena);
    if (place == NULL) return DAYBOOK_ENOMEM;
    place->value = value;
    return DAYBOOK_OK;
}

daybook_status dbk_parameter_plan_new(const dbk_parameter *parameters, size_t count, dbk_arena *arena,
                                      dbk_parameter_plan **plan_out) {
    dbk_parameter_plan *plan = dbk_arena_alloc(arena, sizeof *plan);
    if (plan == NULL) return DAYBOOK_ENOMEM;
    *plan = (dbk_parameter_plan){.parameters = parameters, .count = count};
    for (size_t i = 0; i < count; i++)
        if (parameters[i].source == DBK_PARAMETER_DATA) DBK_TRY(want(plan, (uint32_t)i, arena));
    *plan_out = plan;
    return DAYBOOK_OK;
}

// --- Values ---

static bool give_bytes(dbk_value *value, dbk_value_kind kind, dbk_slice bytes, dbk_arena *arena) {
    value->kind = kind;
    value->text = dbk_arena_copy_text(arena, bytes);
    return value->text.data != NULL;
}

static bool give_text(dbk_value *value, dbk_slice text, dbk_arena *arena) {
    return text.size == 0 || give_bytes(value, DBK_VALUE_TEXT, text, arena);
}

static bool give_number(dbk_value *value, uint64_t number, dbk_arena *arena) {
    char *digits = dbk_arena_alloc(arena, DBK_DECIMAL_SIZE_MAX + 1);
    if (digits == NULL) return false;
    size_t size = dbk_decimal_format(number, digits);
    digits[size] = '\0';
    value->kind = DBK_VALUE_INTEGER;
    value->integer = (int64_t)number; // Positions and the like stay below 2^63.
    value->text = daybook_bytes(digits, size);
    return true;
}

static bool give_time(dbk_value *value, int64_t time_ns, dbk_arena *arena) {
    char *text = dbk_arena_alloc(arena, DAYBOOK_TIME_TEXT_SIZE);
    if (text == NULL) return false;
    value->kind = DBK_VALUE_TEXT;
    value->text = daybook_bytes(text, daybook_time_format(time_ns, text));
    return true;
}

// The last token of the aggregate is its id.
static dbk_slice split_aggregate(dbk_slice aggregate, bool is_id) {
    const char *text = aggregate.data;
    size_t dot = aggregate.size;
    while (dot > 0 && text[dot - 1] != '.') dot--;
    if (is_id) return daybook_bytes(text == NULL ? NULL : text + dot, aggregate.size - dot);
    return daybook_bytes(text, dot == 0 ? 0 : dot - 1);
}

static bool give_header(dbk_value *value, dbk_slice name, const daybook_event *event, dbk_arena *arena) {
    for (size_t i = 0; i < event->header_count; i++)
        if (dbk_slice_equal(event->headers[i].name, name))
            return give_bytes(value, DBK_VALUE_TEXT, event->headers[i].value, arena);
    return true;
}

static bool give_tag(dbk_value *value, dbk_slice prefix, const daybook_event *event, dbk_arena *arena) {
    for (size_t i = 0; i < event->tag_count; i++) {
        dbk_slice tag = event->tags[i];
        const char *text = tag.data;
        if (tag.size > prefix.size && text[prefix.size] == ':' && memcmp(text, prefix.data, prefix.size) == 0)
            return give_bytes(value, DBK_VALUE_TEXT,
                              daybook_bytes(text + prefix.size + 1, tag.size - prefix.size - 1), arena);
    }
    return true;
}

// False where memory is out.
static bool give(const dbk_parameter *parameter, const daybook_recorded_event *event, dbk_arena *arena,
                 dbk_value *value) {
    switch (parameter->source) {
    case DBK_PARAMETER_POSITION:
        return give_number(value, event->position, arena);
    case DBK_PARAMETER_SEQ:
        return give_number(value, event->seq, arena);
    case DBK_PARAMETER_VERSION:
        return event->version == 0 || give_number(value, event->version, arena);
    case DBK_PARAMETER_STREAM:
        return give_text(value, event->stream, arena);
    case DBK_PARAMETER_SUBJECT:
        return give_text(value, event->event.subject, arena);
    case DBK_PARAMETER_AGGREGATE:
        return give_text(value, event->aggregate, arena);
    case DBK_PARAMETER_AGGREGATE_ID:
        return give_text(value, split_aggregate(event->aggregate, true), arena);
    case DBK_PARAMETER_CATEGORY:
        return give_text(value, split_aggregate(event->aggregate, false), arena);
    case DBK_PARAMETER_ID:
        return give_text(value, event->event.id, arena);
    case DBK_PARAMETER_TYPE:
        return give_text(value, event->event.type, arena);
    case DBK_PARAMETER_TIME:
        return give_time(value, event->event.time_ns, arena);
    case DBK_PARAMETER_RECORDED:
        return give_time(value, event->recorded_ns, arena);
    case DBK_PARAMETER_SCHEMA:
        return give_text(value, event->event.schema, arena);
    case DBK_PARAMETER_ACTOR:
        return give_text(value, event->event.actor, arena);
    case DBK_PARAMETER_CORRELATION:
        return give_text(value, event->event.correlation, arena);
    case DBK_PARAMETER_CAUSATION:
        return give_text(value, event->event.causation, arena);
    case DBK_PARAMETER_TEXT:
        return give_bytes(value, DBK_VALUE_TEXT, event->event.data, arena);
    case DBK_PARAMETER_BYTES:
        return give_bytes(value, DBK_VALUE_BLOB, event->event.data, arena);
    case DBK_PARAMETER_HEADER:
        return give_header(value, parameter->name, &event->event, arena);
    case DBK_PARAMETER_TAG:
        return give_tag(value, parameter->name, &event->event, arena);
    case DBK_PARAMETER_DATA:
        return true; // The scan gives it.
    }
    return true;
}

static daybook_status fail_value(const dbk_parameter *parameter, const char *why, daybook_error *error) {
    return dbk_fail(error, DAYBOOK_EINVALID, "%.*s: %s", DBK_SHOWN(parameter->text), why);
}

static daybook_status scan_data(const dbk_parameter_plan *plan, dbk_slice data, dbk_arena *arena,
                                dbk_value *values, daybook_error *error) {
    dbk_data_failure failure;
    switch (dbk_data_scan(plan->root, data, arena, values, &failure)) {
    case DBK_DATA_FINE:
        return DAYBOOK_OK;
    case DBK_DATA_NO_MEMORY:
        return out_of_memory(error);
    case DBK_DATA_NUMBER_TOO_BIG:
        return fail_value(&plan->parameters[failure.value], "the number is beyond what a double holds",
                          error);
    case DBK_DATA_NUL:
        return fail_value(&plan->parameters[failure.value],
                          "the string holds a NUL, which no database takes in a text", error);
    case DBK_DATA_NOT_JSON:
        break;
    }
    return dbk_fail(
        error, DAYBOOK_EINVALID,
        "the data is no JSON from byte %zu on: a projection that uses :data needs events whose data "
        "is JSON; take others with :text or :bytes",
        failure.offset);
}

static daybook_status check_value(const dbk_parameter *parameter, const dbk_value *value,
                                  daybook_error *error) {
    if (parameter->is_required && value->kind == DBK_VALUE_NULL)
        return fail_value(parameter, "the event has no such value, and '!' asks for one", error);
    if (parameter->source != DBK_PARAMETER_TEXT) return DAYBOOK_OK;
    if (!dbk_is_utf8(value->text)) return fail_value(parameter, "the data is no UTF-8: use :bytes", error);
    if (memchr(value->text.data, '\0', value->text.size) != NULL)
        return fail_value(parameter, "the data holds a NUL, which no database takes in a text: use :bytes",
                          error);
    return DAYBOOK_OK;
}

daybook_status dbk_parameter_plan_evaluate(const dbk_parameter_plan *plan,
                                           const daybook_recorded_event *event, dbk_arena *arena,
                                           dbk_value *values_out, daybook_error *error) {
    for (size_t i = 0; i < plan->count; i++) {
        values_out[i] = (dbk_value){.kind = DBK_VALUE_NULL};
        if (!give(&plan->parameters[i], event, arena, &values_out[i])) return out_of_memory(error);
    }
    if (plan->root != NULL && event->event.data.size > 0)
        DBK_TRY(scan_data(plan, event->event.data, arena, values_out, error));
    for (size_t i = 0; i < plan->count; i++)
        DBK_TRY(check_value(&plan->parameters[i], &values_out[i], error));
    return DAYBOOK_OK;
}
