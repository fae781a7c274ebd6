// SPDX-License-Identifier: Apache-2.0
// What the three files of the SQLite target share. sqlite.c: connection, statements, transactions;
// sqlite_books.c: the bookkeeping tables and who is in charge; sqlite_shadow.c: rebuilding side by side.
#ifndef DBK_PROJECTION_SQLITE_H
#define DBK_PROJECTION_SQLITE_H

#include <sqlite3.h>

#include "projection/target.h"

/// A prepared statement of a section, or of a callback.
typedef struct dbk_sqlite_statement {
    sqlite3_stmt *statement;
    const dbk_statement *source; // NULL: a callback's or our own
    const uint32_t *parameters;  // of ?1 first: index into the values
    size_t parameter_count;
    char *text; // key of the cache of other statements; NULL for a section's
    size_t text_size;
} dbk_sqlite_statement;

typedef struct dbk_sqlite_section {
    dbk_sqlite_statement *statements;
    size_t statement_count;
    dbk_sqlite_statement bulk; // of one plain INSERT: DBK_SQLITE_BULK_COUNT rows; parameters are one row's
} dbk_sqlite_section;

enum { DBK_SQLITE_BULK_COUNT = 16 };

enum { DBK_SQLITE_CACHE_COUNT = 64 };

typedef struct dbk_sqlite {
    dbk_target target;
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    char *path;
    bool is_shadow;
    bool is_in_memory;
    bool is_read_only;
    bool must_exist;
    sqlite3 *connection;   // all writes
    sqlite3 *checkpointer; // checkpoints only, opened with the first; see the head of sqlite.c
    int wal_page_count;    // after the last commit
    daybook_file *lock;    // while in charge, or of a shadow
    char instance[DAYBOOK_PROJECTION_INSTANCE_MAX];

    // Of `prepare`.
    const dbk_definition *definition;
    dbk_arena *arena;
    dbk_sqlite_section *sections; // one per section of the definition
    size_t section_count;

    dbk_sqlite_statement cache[DBK_SQLITE_CACHE_COUNT];
    size_t cache_count;
    size_t cache_next; // the one to give way
    uint32_t step;     // steps applied since begin or the last savepoint
} dbk_sqlite;

static inline dbk_sqlite *dbk_sqlite_of(dbk_target *target) {
    return (dbk_sqlite *)target;
}

/// The connection's last error as status, message and failure. `where` may be NULL: "order_totals.sql:12".
daybook_status dbk_sqlite_fail(dbk_sqlite *sqlite, const char *where, daybook_error *error);
daybook_status dbk_sqlite_fail_memory(dbk_sqlite *sqlite, daybook_error *error);
/// SQL without values or results, several statements.
daybook_status dbk_sqlite_exec(dbk_sqlite *sqlite, const char *sql, daybook_error *error);
/// The prepared statement of this text, from the cache; to be reset by its user.
daybook_status dbk_sqlite_statement_of(dbk_sqlite *sqlite, daybook_slice sql,
                                       dbk_sqlite_statement **statement_out, daybook_error *error);
/// Runs it to its end and resets it.
daybook_status dbk_sqlite_finish(dbk_sqlite *sqlite, sqlite3_stmt *statement, daybook_error *error);
daybook_status dbk_sqlite_begin(dbk_target *target, daybook_error *error);
daybook_status dbk_sqlite_commit(dbk_target *target, daybook_error *error);
void dbk_sqlite_rollback(dbk_target *target);
void dbk_sqlite_close(dbk_target *target);
/// The exclusive lock on "PATH-KIND-NAME", which dies with the process. ELOCKED where another process has it;
/// what the system gives where it cannot be taken.
daybook_status dbk_sqlite_lock(dbk_sqlite *sqlite, const char *kind, const char *name,
                               daybook_file **lock_out, daybook_error *error);

// sqlite_books.c
daybook_status dbk_sqlite_ensure(dbk_target *target, daybook_error *error);
daybook_status dbk_sqlite_load(dbk_target *target, const char *name, dbk_progress *progress_out,
                               daybook_error *error);
daybook_status dbk_sqlite_list(dbk_target *target, int (*visit)(void *context, const dbk_progress *progress),
                               void *context, daybook_error *error);
daybook_status dbk_sqlite_create(dbk_target *target, const dbk_definition *definition,
                                 const dbk_progress *progress, daybook_error *error);
daybook_status dbk_sqlite_drop(dbk_target *target, const char *name, const dbk_definition *definition,
                               daybook_error *error);
/// Drops what `name` is remembered to have made, within a transaction.
daybook_status dbk_sqlite_drop_objects(dbk_sqlite *sqlite, const char *name, daybook_error *error);
daybook_status dbk_sqlite_set_state(dbk_target *target, const char *name, int state, const char *reason,
                                    int64_t now_ns, daybook_error *error);
daybook_status dbk_sqlite_claim(dbk_target *target, const char *name, const char *instance, int64_t now_ns,
                                daybook_error *error);
void dbk_sqlite_release(dbk_target *target);
daybook_status dbk_sqlite_park(dbk_target *target, const char *name, const dbk_parked *parked,
                               daybook_error *error);
daybook_status dbk_sqlite_unpark(dbk_target *target, const char *name, uint64_t position,
                                 daybook_error *error);
daybook_status dbk_sqlite_save(dbk_target *target, const dbk_progress *progress, uint64_t previous_position,
                               daybook_error *error);
daybook_status dbk_sqlite_parked(dbk_target *target, const char *name, daybook_slice aggregate,
                                 int (*visit)(void *context, const dbk_parked *parked), void *context,
                                 daybook_error *error);
daybook_status dbk_sqlite_request(dbk_target *target, const char *name, uint64_t position,
                                  dbk_parked_request request, daybook_error *error);
daybook_status dbk_sqlite_has_request(dbk_target *target, const char *name, bool *has_request_out,
                                      daybook_error *error);

// sqlite_shadow.c
daybook_status dbk_sqlite_shadow_open(dbk_target *target, const char *name, dbk_target **shadow_out,
                                      daybook_error *error);
daybook_status dbk_sqlite_shadow_fence(dbk_target *target, const char *name, daybook_error *error);
void dbk_sqlite_shadow_unfence(dbk_target *target);
daybook_status dbk_sqlite_shadow_switch(dbk_target *target, dbk_target *shadow, const char *name,
                                        int64_t now_ns, daybook_error *error);
void dbk_sqlite_shadow_close(dbk_target *shadow, bool is_removed);
/// As dbk_sqlite_open, for the file of a shadow. Takes `lock` over, also when it fails.
daybook_status dbk_sqlite_open_file(const char *path, const dbk_target_options *options, bool is_shadow,
                                    daybook_file *lock, dbk_sqlite **sqlite_out, daybook_error *error);

#endif
