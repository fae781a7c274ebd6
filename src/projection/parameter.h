// SPDX-License-Identifier: Apache-2.0
// The values a projection takes from an event: metadata, headers, tags, and members of its JSON data.
//
// A section of a projection wants a set of parameters; they are compiled once into a plan, and evaluating
// the plan is one pass over the event: the data is scanned once, however many of its members are wanted.
//
// Pure. A plan is read-only once made: any number of threads may evaluate it.
#ifndef DBK_PROJECTION_PARAMETER_H
#define DBK_PROJECTION_PARAMETER_H

#include "base/memory.h"
#include "daybook/event.h"

enum {
    DBK_PARAMETER_COUNT_MAX = 1024,    // different ones in one section
    DBK_PARAMETER_NAME_SIZE_MAX = 255, // bytes of a name in a path, of a header, of a tag's prefix
    DBK_PARAMETER_STEP_COUNT_MAX = 32, // names and indices of one JSON path
    DBK_PARAMETER_INDEX_MAX = 1000000, // [N] of a JSON path
    DBK_DATA_DEPTH_MAX = 2048          // nesting of the data, as everywhere in daybook
};

typedef enum dbk_value_kind {
    DBK_VALUE_NULL,
    DBK_VALUE_BOOLEAN, // integer 0 or 1; text "false" or "true"
    DBK_VALUE_INTEGER, // integer; text: the digits
    DBK_VALUE_REAL,    // real, finite; text: the number exactly as the event has it, so that no digit is lost
    DBK_VALUE_TEXT,    // text: UTF-8 without NUL (\u0000 in the data fails the event: no database takes it)
    DBK_VALUE_JSON,    // text: an object or array (the whole data: any value) as the event has it
    DBK_VALUE_BLOB     // text: any bytes
} dbk_value_kind;

/// All kinds but NULL have `text`, with a NUL behind it that is not counted.
typedef struct dbk_value {
    dbk_value_kind kind;
    union {
        int64_t integer;
        double real;
    };
    dbk_slice text;
} dbk_value;

/* X(NAME, name, text): parameters without a path. Text but for the first three. */
#define DBK_PARAMETER_MAP(X)                                                          \
    X(POSITION, "position", "in the store: an integer")                               \
    X(SEQ, "seq", "in the stream: an integer")                                        \
    X(VERSION, "version", "in the aggregate: an integer; NULL without aggregate")     \
    X(STREAM, "stream", "name of the stream")                                         \
    X(SUBJECT, "subject", "the whole subject")                                        \
    X(AGGREGATE, "aggregate", "leading tokens of the subject, orders.7")              \
    X(AGGREGATE_ID, "aggregate_id", "the last token of the aggregate, 7")             \
    X(CATEGORY, "category", "the aggregate without its last token, orders")           \
    X(ID, "id", "of the event")                                                       \
    X(TYPE, "type", "of the event")                                                   \
    X(TIME, "time", "when it happened: RFC 3339, UTC, nine digits")                   \
    X(RECORDED, "recorded", "when the store wrote it, likewise")                      \
    X(SCHEMA, "schema", "version of the event's schema")                              \
    X(ACTOR, "actor", "who")                                                          \
    X(CORRELATION, "correlation", "what it belongs to")                               \
    X(CAUSATION, "causation", "id of the event that caused it")                       \
    X(DATA, "data", "the whole data, which must be JSON; .name and [N] lead into it") \
    X(TEXT, "text", "the whole data, which must be UTF-8")                            \
    X(BYTES, "bytes", "the whole data as it is")                                      \
    X(HEADER, "header", "with .NAME: value of the first header of that name")         \
    X(TAG, "tag", "with .PREFIX: what follows PREFIX: in the first tag that begins with it")

typedef enum dbk_parameter_source {
#define DBK_PARAMETER_ENUM(name, text, help) DBK_PARAMETER_##name,
    DBK_PARAMETER_MAP(DBK_PARAMETER_ENUM)
#undef DBK_PARAMETER_ENUM
} dbk_parameter_source;

/// A step of a JSON path: a member's name, or with `name.data` NULL an index into an array.
typedef struct dbk_path_step {
    dbk_slice name;
    uint32_t index;
} dbk_path_step;

/// As written in SQL: `:data.items[0].price!`. Text is borrowed or lies in the arena given to the parser.
typedef struct dbk_parameter {
    dbk_parameter_source source;
    bool is_required;           // written with '!': NULL is an error of the event
    dbk_slice text;             // as first written, ':' included
    dbk_slice name;             // HEADER: the header's name; TAG: the prefix without ':'
    const dbk_path_step *steps; // DATA: the way into it
    size_t step_count;
} dbk_parameter;

/**
 * The parameter at the front of `text`, which begins with ':' and a letter.
 * Names of members, headers and tags are letters, digits, '_' and bytes from 0x80 up; any other is written in
 * double quotes (a quote inside doubled): :data."unit price", :header."X-Trace".
 * @param size_out  bytes taken
 * @return OK; EINVALID (unknown parameter, malformed or too long path; the message begins with the parameter
 *         and has no place); ENOMEM
 */
daybook_status dbk_parameter_parse(dbk_slice text, dbk_arena *arena, dbk_parameter *parameter_out,
                                   size_t *size_out, daybook_error *error);
/// The same value: all but `is_required` and the writing.
bool dbk_parameter_equal(const dbk_parameter *a, const dbk_parameter *b);

typedef struct dbk_parameter_plan dbk_parameter_plan;

/// `parameters` (borrowed for the plan's life) in the order in which their values will come. The plan lies in
/// `arena`. ENOMEM.
daybook_status dbk_parameter_plan_new(const dbk_parameter *parameters, size_t count, dbk_arena *arena,
                                      dbk_parameter_plan **plan_out);

/**
 * The values of an event, one for each parameter of the plan, copied into `arena`: they outlive the event.
 * Absent metadata, headers, tags and members, and JSON's null are NULL. Empty data has no members.
 * Of members named twice the last counts.
 * @return OK; EINVALID: the event is not what the projection expects (data that is no JSON, a required
 *         value absent, a number beyond a double, a string with a NUL): the message says which parameter
 *         and why; ENOMEM
 */
daybook_status dbk_parameter_plan_evaluate(const dbk_parameter_plan *plan,
                                           const daybook_recorded_event *event, dbk_arena *arena,
                                           dbk_value *values_out, daybook_error *error);

#endif
