// SPDX-License-Identifier: Apache-2.0
//
// XES event logs (IEEE 1849), plain or .gz, by expat, streaming.
//
//   log > ( attributes, extension, global, classifier )* trace*
//   trace > attributes event*        event > attributes        attribute = <string key="..." value="..."/>
//   ...
//
// One record per event: its attributes by key with their types, then those of its trace as `case:<key>`. In
// data string, date and id are strings; int and float numbers as they stand where JSON can say them; boolean
// true or false. Of two attributes of one key the last counts. Attributes in attributes are flattened:
//
//   <string key="a" value="1"><int key="b" value="2"/></string>     a = "1", a.b = 2
//   <container key="c"><int key="b" value="2"/></container>         c.b = 2
//   <list key="l"><int .../><container>..</container></list>        l = [2, {"b":2}]
//
// The parser is suspended behind each event, which turns expat's pushing into the pulling of a source.
//
// Hostile input: entity declarations are refused, so nothing expands; nesting, values per event, bytes per
// event and bytes per XML token are bounded. Memory: one event, one trace's attributes, one token.
#include "cli/import.h"

#include <expat.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define XES_DEPTH_MAX 64
#define XES_FIELD_COUNT_MAX 1024
#define XES_TOKEN_SIZE_MAX (16 * 1024 * 1024)

// Values as offsets into text that may still move.
typedef struct xes_field {
    size_t name_begin, name_size;
    size_t value_begin, value_size;
    cli_import_kind kind;
    cli_import_place place;
} xes_field;

typedef struct xes_fields {
    cli_output text;
    xes_field *items;
    size_t count;
} xes_fields;

typedef enum {
    FRAME_LOG,
    FRAME_TRACE,
    FRAME_EVENT,
    FRAME_FLAT,   // attribute whose children become fields of their own, named behind its own name
    FRAME_LIST,   // JSON array being written
    FRAME_OBJECT, // JSON object being written: a container in a list
    FRAME_BESIDE, // attribute with a value in a list or object: its children go beside it
    FRAME_VALUES, // <values> of a list: as if it were not there
    FRAME_SKIP    // extension, global, classifier and attributes of the log
} frame_kind;

typedef struct xes_frame {
    frame_kind kind;
    size_t prefix_size; // of `prefix`, for the children of this frame
    bool has_members;   // LIST, OBJECT: a comma is due
} xes_frame;

typedef struct xes_source {
    cli_import_source base;
    cli_import_input *input;
    XML_Parser parser;
    uint64_t fed_bytes;
    bool is_final;
    bool is_suspended;
    bool has_event;
    bool trace_has_event;

    xes_frame frames[XES_DEPTH_MAX];
    size_t depth;
    cli_output prefix; // names on the way to here, each with a dot behind it
    cli_output json;   // the outermost list being written
    size_t json_depth; // frames inside the list, 0 outside any
    cli_import_place list_place;

    xes_fields event, trace;
    cli_import_place event_place;
    cli_import_field *fields;
    cli_import_problem problem; // first failure inside a handler
    bool failed;
} xes_source;

static cli_import_place here(const xes_source *xes) {
    return (cli_import_place){XML_GetCurrentLineNumber(xes->parser),
                              XML_GetCurrentColumnNumber(xes->parser) + 1};
}

static void stop(xes_source *xes) {
    xes->failed = true;
    (void)XML_StopParser(xes->parser, XML_FALSE); // the failure is known already
}

#define XES_REFUSE(xes, ...)                                                              \
    do {                                                                                  \
        (void)cli_import_fail(&(xes)->problem, DAYBOOK_EINVALID, here(xes), __VA_ARGS__); \
        stop(xes);                                                                        \
    } while (0)

// --- Values ----------------------------------------------------------------------------------------------

static bool is_json_number(const char *text) {
    if (*text == '-') text++;
    if (*text == '0')
        text++;
    else if (*text >= '1' && *text <= '9')
        while (*text >= '0' && *text <= '9') text++;
    else
        return false;
    if (*text == '.') {
        text++;
        if (*text < '0' || *text > '9') return false;
        while (*text >= '0' && *text <= '9') text++;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        if (*text == '+' || *text == '-') text++;
        if (*text < '0' || *text > '9') return false;
        while (*text >= '0' && *text <= '9') text++;
    }
    return *text == '\0';
}

// Digits with a sign and leading zeros as JSON has them; false where it is no integer.
static bool put_integer(cli_output *out, const char *text) {
    bool is_negative = *text == '-';
    if (*text == '-' || *text == '+') text++;
    size_t size = strspn(text, "0123456789");
    if (size == 0 || text[size] != '\0') return false;
    while (size > 1 && *text == '0') {
        text++;
        size--;
    }
    if (is_negative && !(size == 1 && *text == '0')) cli_put_char(out, '-');
    cli_put(out, text, size);
    return true;
}

// The value of an attribute into `out`, and how it is to be read. False where the type does not allow it.
static bool put_value(cli_output *out, const char *type, const char *value, cli_import_kind *kind_out) {
    *kind_out = CLI_IMPORT_LITERAL;
    if (strcmp(type, "int") == 0) return put_integer(out, value);
    if (strcmp(type, "boolean") == 0) {
        bool is_true = strcmp(value, "true") == 0 || strcmp(value, "1") == 0 || strcmp(value, "True") == 0;
        bool is_false = strcmp(value, "false") == 0 || strcmp(value, "0") == 0 || strcmp(value, "False") == 0;
        cli_puts(out, is_true ? "true" : "false");
        return is_true || is_false;
    }
    if (strcmp(type, "float") == 0) {
        if (is_json_number(value)) {
            cli_puts(out, value);
            return true;
        }
        char *end;
        double number = strtod(value, &end);
        if (end == value || *end != '\0') return false;
        if (isfinite(number)) {
            cli_put_format(out, "%.17g", number);
            return true;
        } // JSON has no NaN and no infinity: as text
    }
    *kind_out = CLI_IMPORT_STRING;
    cli_puts(out, value);
    return true;
}

static bool is_elementary(const char *name) {
    static const char *const types[] = {"string", "date", "int", "float", "boolean", "id"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(name, types[i]) == 0) return true;
    return false;
}

// --- Fields ----------------------------------------------------------------------------------------------

static xes_fields *current_fields(xes_source *xes) {
    for (size_t i = xes->depth; i-- > 0;) {
        if (xes->frames[i].kind == FRAME_EVENT) return &xes->event;
        if (xes->frames[i].kind == FRAME_TRACE) return &xes->trace;
    }
    return NULL;
}

// A new field named prefix + key, or the one of that name with its value forgotten. Its value comes next.
static xes_field *add_field(xes_source *xes, xes_fields *fields, const char *key) {
    size_t begin = fields->text.size;
    if (fields == &xes->trace) cli_puts(&fields->text, "case:");
    cli_put(&fields->text, xes->prefix.data, xes->prefix.size);
    cli_puts(&fields->text, key);
    if (fields->text.failed_errno) {
        (void)cli_import_no_memory(&xes->problem);
        stop(xes);
        return NULL;
    }
    daybook_slice name = {fields->text.data + begin, fields->text.size - begin};
    xes_field *field = NULL;
    for (size_t i = 0; i < fields->count && field == NULL; i++) {
        xes_field *other = &fields->items[i];
        if (cli_slice_equals((daybook_slice){fields->text.data + other->name_begin, other->name_size}, name))
            field = other;
    }
    if (field == NULL) {
        if (fields->count == XES_FIELD_COUNT_MAX) {
            XES_REFUSE(xes, "more than %d attributes in one event or trace", XES_FIELD_COUNT_MAX);
            return NULL;
        }
        field = &fields->items[fields->count++];
    }
    *field = (xes_field){.name_begin = begin, .name_size = name.size, .place = here(xes)};
    field->value_begin = fields->text.size;
    return field;
}

static void check_size(xes_source *xes, size_t size) {
    if (size > CLI_IMPORT_RECORD_SIZE_MAX)
        XES_REFUSE(xes, "one event or trace has more than %u MiB of attributes",
                   CLI_IMPORT_RECORD_SIZE_MAX >> 20);
}

static void add_prefix(xes_source *xes, const char *key) {
    cli_puts(&xes->prefix, key);
    cli_put_char(&xes->prefix, '.');
    check_size(xes, xes->prefix.size);
}

// --- Attributes ------------------------------------------------------------------------------------------

static void push(xes_source *xes, frame_kind kind, size_t prefix_size) {
    if (xes->depth == XES_DEPTH_MAX) {
        XES_REFUSE(xes, "elements are nested more than %d deep", XES_DEPTH_MAX);
        return;
    }
    xes->frames[xes->depth++] = (xes_frame){.kind = kind, .prefix_size = prefix_size};
    if (xes->json_depth > 0) xes->json_depth++;
}

// The frame JSON members go to: that of the innermost array or object.
static xes_frame *json_frame(xes_source *xes) {
    size_t index = xes->depth - 1;
    while (xes->frames[index].kind == FRAME_BESIDE || xes->frames[index].kind == FRAME_VALUES) index--;
    return &xes->frames[index];
}

// Comma and, in an object, the key of a member.
static void begin_member(xes_source *xes, const char *key) {
    xes_frame *frame = json_frame(xes);
    if (frame->has_members) cli_put_char(&xes->json, ',');
    frame->has_members = true;
    if (frame->kind == FRAME_LIST) return;
    size_t before = xes->prefix.size;
    cli_puts(&xes->prefix, key);
    // Only what was pushed inside this object belongs to the member's name.
    size_t begin = frame->prefix_size;
    cli_put_json_string(&xes->json, (daybook_slice){xes->prefix.data + begin, xes->prefix.size - begin});
    cli_put_char(&xes->json, ':');
    xes->prefix.size = before;
}

static void start_in_json(xes_source *xes, const char *type, const char *key, const char *value) {
    size_t prefix_size = xes->prefix.size;
    if (strcmp(type, "list") == 0) {
        begin_member(xes, key);
        cli_put_char(&xes->json, '[');
        push(xes, FRAME_LIST, prefix_size);
        return;
    }
    if (strcmp(type, "container") == 0) {
        begin_member(xes, key);
        cli_put_char(&xes->json, '{');
        push(xes, FRAME_OBJECT, prefix_size);
        return;
    }
    begin_member(xes, key);
    size_t begin = xes->json.size;
    cli_import_kind kind;
    if (!put_value(&xes->json, type, value, &kind)) {
        XES_REFUSE(xes, "\"%.100s\" is no %s", value, type);
        return;
    }
    if (kind == CLI_IMPORT_STRING) {
        xes->json.size = begin;
        cli_put_json_string(&xes->json, daybook_text(value));
    }
    push(xes, FRAME_BESIDE, prefix_size);
    add_prefix(xes, key);
    check_size(xes, xes->json.size);
}

static void start_attribute(xes_source *xes, const char *type, const char **attributes) {
    const char *key = NULL, *value = NULL;
    for (size_t i = 0; attributes[i] != NULL; i += 2) {
        if (strcmp(attributes[i], "key") == 0) key = attributes[i + 1];
        if (strcmp(attributes[i], "value") == 0) value = attributes[i + 1];
    }
    bool is_list = strcmp(type, "list") == 0, is_container = strcmp(type, "container") == 0;
    bool needs_value = is_elementary(type);
    if (!needs_value && !is_list && !is_container) {
        XES_REFUSE(xes, "an element <%.60s> is no part of an event or trace", type);
        return;
    }
    if (key == NULL || (needs_value && value == NULL)) {
        XES_REFUSE(xes, "<%s> has no %s", type, key == NULL ? "key" : "value");
        return;
    }
    if (xes->json_depth > 0) {
        start_in_json(xes, type, key, value);
        return;
    }
    size_t prefix_size = xes->prefix.size;
    if (is_list) {
        xes->json.size = 0;
        xes->list_place = here(xes);
        add_prefix(xes, key); // with a dot behind it, which end_list takes off again
        cli_put_char(&xes->json, '[');
        push(xes, FRAME_LIST, prefix_size);
        xes->json_depth = 1;
        return;
    }
    if (needs_value) {
        xes_fields *fields = current_fields(xes);
        xes_field *field = add_field(xes, fields, key);
        if (field == NULL) return;
        if (!put_value(&fields->text, type, value, &field->kind)) {
            XES_REFUSE(xes, "\"%.100s\" is no %s", value, type);
            return;
        }
        field->value_size = fields->text.size - field->value_begin;
        check_size(xes, fields->text.size);
    }
    push(xes, FRAME_FLAT, prefix_size);
    add_prefix(xes, key);
}

// The outermost list is complete: it becomes one field. Its name is the prefix without the last dot.
static void end_list(xes_source *xes, size_t prefix_size) {
    xes_fields *fields = current_fields(xes);
    cli_put_char(&xes->json, ']');
    cli_put_char(&xes->prefix, '\0');
    if (xes->prefix.failed_errno || xes->json.failed_errno) {
        (void)cli_import_no_memory(&xes->problem);
        stop(xes);
        return;
    }
    xes->prefix.data[xes->prefix.size - 2] = '\0';
    char *key = strdup(xes->prefix.data + prefix_size);
    xes->prefix.size = prefix_size;
    xes_field *field = key == NULL ? NULL : add_field(xes, fields, key);
    if (key == NULL) {
        (void)cli_import_no_memory(&xes->problem);
        stop(xes);
    }
    free(key);
    if (field == NULL) return;
    cli_put(&fields->text, xes->json.data, xes->json.size);
    field->value_size = fields->text.size - field->value_begin;
    field->kind = CLI_IMPORT_LITERAL;
    field->place = xes->list_place;
    check_size(xes, fields->text.size);
}

// --- Expat's handlers ------------------------------------------------------------------------------------

static const char *local_name(const char *name) {
    const char *colon = strrchr(name, ':');
    return colon == NULL ? name : colon + 1;
}

static void start_in_log(xes_source *xes, const char *name) {
    if (strcmp(name, "trace") == 0) {
        xes->trace.count = 0;
        xes->trace.text.size = 0;
        xes->trace_has_event = false;
        push(xes, FRAME_TRACE, 0);
    } else if (strcmp(name, "event") == 0) { // an event of no trace
        xes->trace.count = 0;
        xes->event.count = 0;
        xes->event.text.size = 0;
        xes->event_place = here(xes);
        push(xes, FRAME_EVENT, 0);
    } else {
        push(xes, FRAME_SKIP, 0);
    }
}

static void start_in_trace(xes_source *xes, const char *name, const char **attributes) {
    if (strcmp(name, "event") == 0) {
        xes->event.count = 0;
        xes->event.text.size = 0;
        xes->event_place = here(xes);
        xes->trace_has_event = true;
        push(xes, FRAME_EVENT, 0);
    } else if (xes->trace_has_event) {
        XES_REFUSE(xes, "an attribute of the trace stands behind its events; the standard puts them first");
    } else {
        start_attribute(xes, name, attributes);
    }
}

static void on_start(void *context, const XML_Char *full_name, const XML_Char **attributes) {
    xes_source *xes = context;
    if (xes->failed) return;
    const char *name = local_name(full_name);
    if (xes->depth == 0) {
        if (strcmp(name, "log") != 0) {
            XES_REFUSE(xes, "the file is no XES: it begins with <%.60s>, not <log>", full_name);
            return;
        }
        push(xes, FRAME_LOG, 0);
        return;
    }
    switch (xes->frames[xes->depth - 1].kind) {
    case FRAME_LOG:
        start_in_log(xes, name);
        break;
    case FRAME_TRACE:
        start_in_trace(xes, name, attributes);
        break;
    case FRAME_SKIP:
        push(xes, FRAME_SKIP, 0);
        break;
    case FRAME_LIST:
        if (strcmp(name, "values") == 0) {
            push(xes, FRAME_VALUES, xes->prefix.size);
            break;
        }
        start_attribute(xes, name, attributes);
        break;
    case FRAME_EVENT:
    case FRAME_FLAT:
    case FRAME_OBJECT:
    case FRAME_BESIDE:
    case FRAME_VALUES:
        start_attribute(xes, name, attributes);
        break;
    }
}

static void on_end(void *context, const XML_Char *name) {
    (void)name;
    xes_source *xes = context;
    if (xes->failed) return;
    xes_frame frame = xes->frames[--xes->depth];
    bool ends_list = xes->json_depth == 1;
    if (xes->json_depth > 0) xes->json_depth--;
    if (ends_list) {
        end_list(xes, frame.prefix_size);
        return;
    }
    if (frame.kind == FRAME_LIST) cli_put_char(&xes->json, ']');
    if (frame.kind == FRAME_OBJECT) cli_put_char(&xes->json, '}');
    if (frame.kind != FRAME_LOG) xes->prefix.size = frame.prefix_size;
    if (frame.kind == FRAME_EVENT) {
        xes->has_event = true;
        (void)XML_StopParser(xes->parser, XML_TRUE); // cannot fail inside a handler of a running parser
    }
}

static void on_entity(void *context, const XML_Char *name, int is_parameter, const XML_Char *value, int size,
                      const XML_Char *base, const XML_Char *system_id, const XML_Char *public_id,
                      const XML_Char *notation) {
    (void)is_parameter, (void)value, (void)size, (void)base, (void)system_id, (void)public_id, (void)notation;
    xes_source *xes = context;
    if (!xes->failed)
        XES_REFUSE(xes, "it declares the entity \"%.60s\"; a log needs none, and they can be made to explode",
                   name);
}

// --- The source ------------------------------------------------------------------------------------------

static daybook_status parse_more(xes_source *xes, cli_import_problem *problem) {
    enum XML_Status outcome;
    if (xes->is_suspended) {
        outcome = XML_ResumeParser(xes->parser);
    } else {
        void *chunk = XML_GetBuffer(xes->parser, CLI_IMPORT_CHUNK_SIZE);
        if (chunk == NULL) return cli_import_no_memory(problem);
        size_t size = 0;
        daybook_status status =
            cli_import_input_read(xes->input, chunk, CLI_IMPORT_CHUNK_SIZE, &size, problem);
        if (status != DAYBOOK_OK) {
            problem->place = here(xes);
            return status;
        }
        xes->fed_bytes += size;
        xes->is_final = size == 0;
        outcome = XML_ParseBuffer(xes->parser, (int)size, xes->is_final);
    }
    xes->is_suspended = outcome == XML_STATUS_SUSPENDED;
    if (xes->failed) {
        *problem = xes->problem;
        return problem->status;
    }
    if (outcome == XML_STATUS_ERROR) {
        enum XML_Error code = XML_GetErrorCode(xes->parser);
        if (code == XML_ERROR_NO_MEMORY) return cli_import_no_memory(problem);
        return cli_import_fail(problem, DAYBOOK_EINVALID, here(xes), "malformed XML: %s",
                               XML_ErrorString(code));
    }
    XML_Index done = XML_GetCurrentByteIndex(xes->parser);
    if (!xes->is_suspended && xes->fed_bytes - (done < 0 ? 0 : (uint64_t)done) > XES_TOKEN_SIZE_MAX) {
        return cli_import_fail(problem, DAYBOOK_EINVALID, here(xes),
                               "one XML tag or text is longer than %u MiB", XES_TOKEN_SIZE_MAX >> 20);
    }
    return DAYBOOK_OK;
}

static size_t give_fields(const xes_fields *from, cli_import_field *to) {
    for (size_t i = 0; i < from->count; i++) {
        const xes_field *field = &from->items[i];
        to[i] = (cli_import_field){
            .name = {from->text.data + field->name_begin, field->name_size},
            .value = {from->text.data + field->value_begin, field->value_size},
            .kind = field->kind,
            .place = field->place,
        };
    }
    return from->count;
}

// An event's own attribute named like one of the trace (`case:...`) counts; two members of one name would be
// no good data.
static size_t drop_shadowed(cli_import_field *fields, size_t event_count, size_t count) {
    size_t kept = event_count;
    for (size_t i = event_count; i < count; i++) {
        bool is_shadowed = false;
        for (size_t k = 0; k < event_count && !is_shadowed; k++)
            is_shadowed = cli_slice_equals(fields[k].name, fields[i].name);
        if (!is_shadowed) fields[kept++] = fields[i];
    }
    return kept;
}

static daybook_status xes_next(cli_import_source *source, cli_import_record *record_out,
                               cli_import_problem *problem) {
    xes_source *xes = (xes_source *)source;
    xes->has_event = false;
    while (!xes->has_event) {
        if (xes->is_final && !xes->is_suspended) return DAYBOOK_END;
        daybook_status status = parse_more(xes, problem);
        if (status != DAYBOOK_OK) return status;
    }
    if (xes->event.text.failed_errno || xes->trace.text.failed_errno || xes->prefix.failed_errno ||
        xes->json.failed_errno)
        return cli_import_no_memory(problem);
    size_t event_count = give_fields(&xes->event, xes->fields);
    size_t count = event_count + give_fields(&xes->trace, xes->fields + event_count);
    count = drop_shadowed(xes->fields, event_count, count);
    *record_out = (cli_import_record){.fields = xes->fields, .field_count = count, .place = xes->event_place};
    return DAYBOOK_OK;
}

static void xes_progress(cli_import_source *source, uint64_t *done_out, uint64_t *total_out) {
    cli_import_input_progress(((xes_source *)source)->input, done_out, total_out);
}

static void xes_close(cli_import_source *source) {
    xes_source *xes = (xes_source *)source;
    if (xes == NULL) return;
    if (xes->parser != NULL) XML_ParserFree(xes->parser);
    cli_import_input_close(xes->input);
    cli_output_deinit(&xes->prefix);
    cli_output_deinit(&xes->json);
    cli_output_deinit(&xes->event.text);
    cli_output_deinit(&xes->trace.text);
    free(xes->event.items);
    free(xes->trace.items);
    free(xes->fields);
    free(xes);
}

daybook_status cli_import_xes_open(cli_context *context, const char *path, cli_import_source **source_out,
                                   cli_import_problem *problem) {
    *source_out = NULL;
    xes_source *xes = calloc(1, sizeof *xes);
    if (xes == NULL) return cli_import_no_memory(problem);
    xes->base = (cli_import_source){.next = xes_next, .progress = xes_progress, .close = xes_close};
    cli_output_init(&xes->prefix, -1);
    cli_output_init(&xes->json, -1);
    cli_output_init(&xes->event.text, -1);
    cli_output_init(&xes->trace.text, -1);
    xes->event.items = calloc(XES_FIELD_COUNT_MAX, sizeof *xes->event.items);
    xes->trace.items = calloc(XES_FIELD_COUNT_MAX, sizeof *xes->trace.items);
    xes->fields = calloc((size_t)2 * XES_FIELD_COUNT_MAX, sizeof *xes->fields);
    xes->parser = XML_ParserCreate(NULL);
    daybook_status status = DAYBOOK_OK;
    if (xes->event.items == NULL || xes->trace.items == NULL || xes->fields == NULL || xes->parser == NULL) {
        status = cli_import_no_memory(problem);
    } else {
        XML_SetUserData(xes->parser, xes);
        XML_SetElementHandler(xes->parser, on_start, on_end);
        XML_SetEntityDeclHandler(xes->parser, on_entity);
        status = cli_import_input_open(context, path, &xes->input, problem);
    }
    if (status != DAYBOOK_OK) {
        xes_close(&xes->base);
        return status;
    }
    *source_out = &xes->base;
    return DAYBOOK_OK;
}
