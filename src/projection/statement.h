// SPDX-License-Identifier: Apache-2.0
// SQL as far as a projection has to understand it: where statements end, where :parameters stand, how they
// are written for a database, and whether a statement is a plain INSERT.
//
// Pure. Texts are borrowed: a statement is valid as long as the text it was taken from, and what hangs on it
// lies in the arena it was given. One statement may be read by several threads.
#ifndef DBK_PROJECTION_STATEMENT_H
#define DBK_PROJECTION_STATEMENT_H

#include "projection/parameter.h"
#include "projection/sql.h"

enum {
    DBK_STATEMENT_SIZE_MAX = 262144,         // bytes of one statement
    DBK_STATEMENT_PARAMETER_COUNT_MAX = 2048 // parameters written in one statement, repetitions counted
};

typedef enum dbk_dialect { DBK_DIALECT_SQLITE, DBK_DIALECT_POSTGRES } dbk_dialect;

/// One place in a statement where a parameter is written.
typedef struct dbk_placeholder {
    uint32_t parameter; // index into the section's parameters and values
    uint32_t offset;    // of its ':' in the statement's text
    uint32_t size;      // bytes as written
} dbk_placeholder;

/// A value of a plain INSERT: a parameter, or a constant (number, 'string' or NULL).
typedef struct dbk_insert_value {
    bool is_constant;
    uint32_t parameter; // index into the section's values
    dbk_value constant;
} dbk_insert_value;

/// INSERT INTO table [(columns)] VALUES (values), nothing else: what a bulk loader can do as well.
typedef struct dbk_insert {
    dbk_slice table;          // as written: quotes and schema included
    const dbk_slice *columns; // as written, quotes included
    size_t column_count;      // 0: all of the table in their order; else as many as values
    const dbk_insert_value *values;
    size_t value_count;
} dbk_insert;

typedef struct dbk_statement {
    dbk_slice text;                      // without the comments before it and without the ';' behind it
    uint32_t line;                       // of its first byte in the file, 1 first
    uint32_t column;                     // likewise; counts bytes, 1 first
    const dbk_placeholder *placeholders; // in the order of the text
    size_t placeholder_count;
    const dbk_insert *insert; // NULL where it is no plain INSERT
} dbk_statement;

/// Where in a file, for messages. line and column count from 1; the column counts bytes.
typedef struct dbk_place {
    uint32_t line, column;
} dbk_place;

/// A statement as a database takes it.
typedef struct dbk_compiled {
    char *text; // NUL-terminated
    size_t text_size;
    uint32_t *parameters; // of placeholder ?1 or $1 first: index into the section's values
    size_t parameter_count;
} dbk_compiled;

/**
 * Write the statement for a database. SQLite: ?N, a parameter written twice has one number. PostgreSQL: $N,
 * every writing has a number of its own, because the server infers one type for each.
 * @param file  named in messages
 * @return OK: `compiled_out` lies in `arena`; EINVALID: the statement holds a parameter in the database's own
 *         writing (?1, @x, $x; $1), which would be taken for one of ours: the message says where; ENOMEM
 */
daybook_status dbk_statement_compile(const dbk_statement *statement, dbk_dialect dialect, const char *file,
                                     dbk_arena *arena, dbk_compiled *compiled_out, daybook_error *error);

/// Where byte `offset` of the compiled text stands in the file: for the positions databases report.
dbk_place dbk_statement_place(const dbk_statement *statement, dbk_dialect dialect, size_t offset);

// For definition.c.

/// The parameters of a section while it is read, each once; grows.
typedef struct dbk_parameter_set {
    const daybook_allocator *allocator;
    dbk_parameter *items;
    size_t count, capacity;
} dbk_parameter_set;

/**
 * The statement that begins with `first`, which the lexer has just given: up to its ';' (taken), the end, or
 * a section's header (not taken). What hangs on it lies in `arena`, its parameters are added to `parameters`.
 * @param place_out  on EINVALID and ELIMIT: where the trouble is; the message has no place
 */
daybook_status dbk_statement_take(dbk_sql_lexer *lexer, const dbk_sql_token *first, dbk_arena *arena,
                                  dbk_parameter_set *parameters, dbk_statement *statement_out,
                                  dbk_place *place_out, daybook_error *error);

#endif
