// SPDX-License-Identifier: Apache-2.0
// JetStream's JSON objects as structs: one table of fields drives reading, writing and comparing.
//
//     static const dbk_api_field fields[] = {
//         DBK_API_FIELD(INT64, "max_msgs", dbk_api_stream_config, max_msgs),
//         DBK_API_FIELD(TEXT, "description", dbk_api_stream_config, description, .is_omitted = true),
//     };
//     static const dbk_api_object object = DBK_API_OBJECT("StreamConfig", dbk_api_stream_config, fields);
//
// Written are the fields of the dial's version in the order of the table. Read is what Go's encoding/json
// would; see request.h. Structs are read into memory of zeros, so that absent is 0, false or empty.
//
// Inside this module only. Pure but for the arena of a reader.
#ifndef DBK_API_OBJECT_H
#define DBK_API_OBJECT_H

#include <stddef.h>

#include "api/dial.h"
#include "api/error.h"
#include "api/value.h"

typedef enum dbk_api_kind {
    DBK_API_BOOL,      // bool
    DBK_API_INT,       // int64_t, Go's int
    DBK_API_INT64,     // int64_t
    DBK_API_INT32,     // int64_t, within 32 bits
    DBK_API_UINT,      // uint64_t
    DBK_API_DURATION,  // int64_t, nanoseconds
    DBK_API_TIME,      // int64_t since the epoch; 0: Go's zero time
    DBK_API_TEXT,      // dbk_slice
    DBK_API_BASE64,    // dbk_slice; written only
    DBK_API_CHOICE,    // int, index of a dbk_api_choice
    DBK_API_TEXTS,     // dbk_api_texts
    DBK_API_NUMBERS,   // dbk_api_numbers
    DBK_API_DURATIONS, // dbk_api_durations
    DBK_API_METADATA,  // dbk_api_metadata
    DBK_API_COUNTS,    // dbk_api_counts; written only
    DBK_API_STRUCT,    // the struct itself
    DBK_API_OPTIONAL,  // pointer to a struct, NULL: absent
    DBK_API_STRUCTS,   // dbk_api_objects
    DBK_API_EMBEDDED   // the struct itself, its fields beside ours
} dbk_api_kind;

typedef struct dbk_api_object dbk_api_object;

typedef struct dbk_api_choice {
    const char *const *names; // ended by NULL
    const char *unknown;      // what an unknown one is called
    bool is_quoted;           // the unknown one, once more, as Go's %q does
} dbk_api_choice;

typedef struct dbk_api_field {
    const char *name;
    size_t offset;
    dbk_api_kind kind;
    bool is_omitted;   // where 0, false or empty
    bool is_attribute; // not known to the store: kept in the attributes
    int since;         // version that has it; 0: all
    int until;         // last version that has it; 0: all
    const char *owner; // Go's name of the struct embedded in the request, for error texts; NULL: none
    const dbk_api_choice *choice;
    const dbk_api_object *object;
} dbk_api_field;

struct dbk_api_object {
    const char *name; // Go's, for error texts
    size_t size;
    const dbk_api_field *fields;
    size_t field_count;
    int (*level)(const void *item); // of a configuration: the API level it needs; its metadata tells it
};

// NOLINTNEXTLINE(bugprone-macro-parentheses)
#define DBK_API_FIELD(kind_name, field_name, type, member, ...) \
    { .kind = DBK_API_##kind_name, .name = (field_name), .offset = offsetof(type, member), __VA_ARGS__ }
#define DBK_API_OBJECT(go_name, type, field_table)                        \
    {                                                                     \
        .name = (go_name), .size = sizeof(type), .fields = (field_table), \
        .field_count = sizeof(field_table) / sizeof *(field_table)        \
    }

// Reading.

/// @param text      nothing or white space: all absent
/// @param item_out  a struct of `object`, overwritten; borrows from `arena`
bool dbk_api_read_object(const dbk_api_dial *dial, const dbk_api_object *object, dbk_slice text,
                         dbk_arena *arena, void *item_out, dbk_api_error *error_out);
/// Attributes as dbk_api_make_attributes made them, perhaps that of a later version: fields unknown here are
/// passed over, and choices unknown here are the first.
bool dbk_api_read_attributes(const dbk_api_object *object, dbk_slice text, dbk_arena *arena, void *item_out,
                             dbk_api_error *error_out);

// Writing.

/// One object with its braces.
void dbk_api_write_object(dbk_buf *out, const dbk_api_dial *dial, const dbk_api_object *object,
                          const void *item);
/// The same as one of a list, where a configuration's metadata tells the level it needs only.
void dbk_api_write_listed(dbk_buf *out, const dbk_api_dial *dial, const dbk_api_object *object,
                          const void *item);
/// The members alone, each with a comma before it.
void dbk_api_write_members(dbk_buf *out, const dbk_api_dial *dial, const dbk_api_object *object,
                           const void *item);
/// The fields that are attributes and not 0, false or empty, as JSON in `arena`; empty where there is none.
bool dbk_api_make_attributes(const dbk_api_object *object, const void *item, dbk_arena *arena,
                             dbk_slice *attributes_out, dbk_api_error *error_out);

/// Whether two structs of `object` say the same, but for the metadata a server adds.
bool dbk_api_objects_equal(const dbk_api_object *object, const void *a, const void *b);

/// Metadata a server adds to configurations: _nats.level, _nats.req.level, _nats.ver.
bool dbk_api_is_server_metadata(dbk_slice name);

#endif
