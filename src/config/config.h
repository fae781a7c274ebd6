// SPDX-License-Identifier: Apache-2.0
// The NATS configuration language: text in, a tree of values out, every key and value with its place.
//
//     port: 4222                          # key, then ':', '=' or blank, then a value
//     authorization { user = "a", password: $PASS }
//     include ./more.conf                 // its keys become keys of the map around it
//
// Pure: files and environment come through callbacks. Bounded: DBK_CONFIG_*_MAX below. The tree is made whole
// before it is handed out: variables are replaced by what they name, included files are merged in.
// A key given twice in one map: the later value counts, as in nats-server.
//
// Threads: a tree is constant once made; any number may read it, one frees it.
#ifndef DBK_CONFIG_CONFIG_H
#define DBK_CONFIG_CONFIG_H

#include "base/error.h"
#include "base/memory.h"

enum {
    DBK_CONFIG_BYTES_MAX = 16 << 20,  // of all files together
    DBK_CONFIG_VALUES_MAX = 1 << 20,  // values of the tree, scalars and containers
    DBK_CONFIG_DEPTH_MAX = 64,        // maps and arrays within each other
    DBK_CONFIG_INCLUDE_DEPTH_MAX = 8, // files within each other
    DBK_CONFIG_VARIABLE_DEPTH_MAX = 8 // environment variables whose value is a variable
};

/// Where a key or value stands. `file` is NUL-terminated and lives as long as the tree; line and column count
/// from 1, the column in bytes.
typedef struct dbk_config_place {
    const char *file;
    uint32_t line;
    uint32_t column;
} dbk_config_place;

typedef enum dbk_config_kind {
    DBK_CONFIG_STRING,
    DBK_CONFIG_INTEGER, // 4222, -1, 64k, 8MB
    DBK_CONFIG_FLOAT,   // 0.5
    DBK_CONFIG_BOOLEAN, // true yes on, false no off, unquoted, in any case
    DBK_CONFIG_ARRAY,
    DBK_CONFIG_MAP
} dbk_config_kind;

typedef struct dbk_config_entry dbk_config_entry;

/// A value. In an array its neighbours hang on `next`; in a map the entries do.
typedef struct dbk_config_value {
    dbk_config_kind kind;
    dbk_config_place place; // of a variable: where it is used
    dbk_slice text; // STRING: escapes resolved, NUL-terminated behind it; numbers, BOOLEAN: as written
    union {
        int64_t integer;
        double number;
        bool boolean;
        struct dbk_config_value *items; // ARRAY: the first, NULL when empty
        dbk_config_entry *entries;      // MAP: the first, NULL when empty; in the order of the text
    };
    size_t count;    // ARRAY, MAP
    uint32_t weight; // values in it, itself included: bounds what variables multiply
    uint32_t height; // of ARRAY and MAP: 1 more than the highest in it; of others 0
    struct dbk_config_value *next;
} dbk_config_value;

struct dbk_config_entry {
    dbk_slice key; // NUL-terminated behind its end
    dbk_config_place place;
    dbk_config_value *value;
    bool is_variable; // some $NAME used it: then it need not be a key anybody knows
    struct dbk_config_entry *next;
};

/// What a reading needs from outside. Both may be NULL: then there are no includes, no environment.
typedef struct dbk_config_source {
    void *context;
    /// Appends the bytes of the file to `bytes`; ELIMIT where they are more than bytes->size_max. `path` is
    /// joined to the folder of the including file already.
    daybook_status (*read_file)(void *context, const char *path, dbk_buf *bytes, daybook_error *error);
    /// The value of an environment variable, NULL when it is not set; borrowed until the reading ends.
    const char *(*get_variable)(void *context, const char *name);
} dbk_config_source;

typedef struct dbk_config dbk_config;

/// Parse `text`; `file_name` is what messages call it and what includes are relative to.
/// @return DAYBOOK_OK, EINVALID ("nats.conf:3:7: what; what to do"), ELIMIT (a bound above), ENOMEM, or what
///         read_file returned
daybook_status dbk_config_parse(dbk_slice text, const char *file_name, const dbk_config_source *source,
                                const daybook_allocator *allocator, dbk_config **config_out,
                                daybook_error *error);
/// The same for the file `path`, read through source->read_file.
daybook_status dbk_config_read(const char *path, const dbk_config_source *source,
                               const daybook_allocator *allocator, dbk_config **config_out,
                               daybook_error *error);
void dbk_config_free(dbk_config *config);
/// The map that is the file. Borrowed.
const dbk_config_value *dbk_config_root(const dbk_config *config);

/// The entry of `map` with this key (exactly, or in any case where `any_case`), NULL when there is none.
const dbk_config_entry *dbk_config_find(const dbk_config_value *map, const char *key, bool any_case);

/// "string", "integer", ... for messages.
const char *dbk_config_kind_name(dbk_config_kind kind);

/// Replaces what `error` says by "file:line:column: message". Returns `status`.
daybook_status dbk_config_fail(const dbk_config_place *place, daybook_error *error, daybook_status status,
                               const char *format, ...) __attribute__((format(printf, 4, 5)));

/// A size: digits and k m g t p e (powers of 1000) or the same with b, i or ib (powers of 1024). False where
/// it is none or does not fit.
bool dbk_config_parse_integer(dbk_slice text, int64_t *integer_out);

#endif
