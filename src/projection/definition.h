// SPDX-License-Identifier: Apache-2.0
// A projection as its author writes it: one plain SQL file, whose comments say what belongs to what.
//
//     -- projection: order_totals           a to z, 0 to 9 and '_', 1 to 63, a letter first; not daybook…
//     -- version: 3                         a whole number from 1; raise it when the tables change
//     -- events: orders.>                   filters; several with white space between, and several lines
//
//     -- [setup]                            once, in the transaction that makes the read model
//     CREATE TABLE order_totals (order_id TEXT PRIMARY KEY, customer TEXT, total NUMERIC, state TEXT);
//
//     -- [on orders.*.placed]               events whose subject matches; or:
//     INSERT INTO order_totals VALUES (:aggregate_id, :data.customer, :data.total, 'placed');
//     -- [on type paid, settled]            events of these types
//     UPDATE order_totals SET state = :type WHERE order_id = :aggregate_id;
//
//     -- [teardown]                         when the read model is removed
//     DROP TABLE order_totals;
//
// A file may have no [on ...] section: that is for projections whose events go to a callback.
// The file is UTF-8, with or without a byte order mark. To editors and databases it is SQL with comments.
// Sections may come in any order and more than once; an event goes through all sections that match it, in the
// order of the file. Parameters: parameter.h.
//
// Pure. Everything is copied at parsing and lies in one arena; read-only afterwards, any thread.
#ifndef DBK_PROJECTION_DEFINITION_H
#define DBK_PROJECTION_DEFINITION_H

#include "projection/statement.h"

enum {
    DBK_DEFINITION_SIZE_MAX = 4 << 20, // bytes of the file
    DBK_DEFINITION_NAME_SIZE_MAX = 63,
    DBK_DEFINITION_HASH_SIZE = 65, // SHA-256 in hex and a NUL
    DBK_DEFINITION_FILTER_COUNT_MAX = 256,
    DBK_DEFINITION_SECTION_COUNT_MAX = 1024,
    DBK_DEFINITION_STATEMENT_COUNT_MAX = 10000
};

typedef struct dbk_section {
    dbk_place place;        // of its header
    dbk_slice text;         // "on orders.*.placed", for messages
    dbk_slice pattern;      // of subjects; empty where it goes by type
    const dbk_slice *types; // one of them
    size_t type_count;
    const dbk_statement *statements;
    size_t statement_count;
    const dbk_parameter *parameters; // of all its statements, each once
    size_t parameter_count;
    const dbk_parameter_plan *plan;
    uint32_t index; // in the definition
} dbk_section;

typedef struct dbk_definition {
    dbk_slice file; // as given, NUL-terminated
    dbk_slice name; // NUL-terminated
    uint64_t version;
    const dbk_slice *filters; // what it wants to see
    size_t filter_count;
    const dbk_statement *setup; // of all [setup] sections
    size_t setup_count;
    const dbk_statement *teardown;
    size_t teardown_count;
    const dbk_section *sections; // [on ...], in the order of the file
    size_t section_count;
    bool is_insert_only; // every section is one plain INSERT: a rebuild may load in bulk
    /// Of all that has a meaning: not of comments and of white space between statements. A file that changed
    /// without a new version can be told.
    char hash[DBK_DEFINITION_HASH_SIZE];
    dbk_arena *arena; // owned
} dbk_definition;

/**
 * @param text  the file's content
 * @param file  its name for messages
 * @return OK; EINVALID and ELIMIT with a message "file:line:column: what is wrong: why; what to do"; ENOMEM
 */
daybook_status dbk_definition_parse(const daybook_allocator *allocator, dbk_slice text, const char *file,
                                    dbk_definition **definition_out, daybook_error *error);
void dbk_definition_free(dbk_definition *definition);

/// Whether an event (of one of the filters) goes through the section.
bool dbk_section_matches(const dbk_section *section, const daybook_event *event);

#endif
