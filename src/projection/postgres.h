// SPDX-License-Identifier: Apache-2.0
// What the files of the PostgreSQL target share. postgres.c: the target and its transactions;
// postgres_connection.c: the session; postgres_failure.c: what failures mean; postgres_pipeline.c: sending
// and receiving; postgres_statement.c: prepared statements and their values; postgres_books.c: the
// bookkeeping tables and who is in charge; postgres_copy.c: loading in bulk; postgres_shadow.c: rebuilding
// side by side.
#ifndef DBK_PROJECTION_POSTGRES_H
#define DBK_PROJECTION_POSTGRES_H

#include <libpq-fe.h>

#include "projection/target.h"

enum { DBK_POSTGRES_NAME_SIZE = 64, DBK_POSTGRES_CACHE_COUNT = 64 };

/// Whatever the role's defaults are: the checkpoint's UPDATE must see what another instance committed.
#define DBK_POSTGRES_BEGIN "BEGIN ISOLATION LEVEL READ COMMITTED"

/// A statement of a section, prepared under `name`.
typedef struct dbk_postgres_statement {
    const dbk_statement *source;
    char name[24];
    const uint32_t *parameters; // of $1 first: index into the section's values
    const bool *is_bytes;       // of $1 first: a bytea, to be sent as it is
    size_t parameter_count;
} dbk_postgres_statement;

typedef struct dbk_postgres_section {
    dbk_postgres_statement *statements;
    size_t statement_count;
    struct dbk_postgres_load *load; // where its rows are gathered for COPY; NULL: by statements
} dbk_postgres_section;

/// A table that is loaded by COPY, and its rows that are not sent yet.
typedef struct dbk_postgres_load {
    struct dbk_postgres_load *next;
    const char *sql; // COPY … FROM STDIN
    const dbk_insert *insert;
    dbk_buf rows;
} dbk_postgres_load;

/// A statement of a callback.
typedef struct dbk_postgres_cached {
    char *text; // key; NULL: free
    size_t text_size;
    char name[24];
} dbk_postgres_cached;

/// What a result is for: a step (its number), or one of these.
enum {
    DBK_POSTGRES_SENT_PLAIN = UINT32_MAX,    // its failure is nobody's
    DBK_POSTGRES_SENT_SAVE = UINT32_MAX - 1, // division by zero says: fenced
    DBK_POSTGRES_SENT_SYNC = UINT32_MAX - 2,
    DBK_POSTGRES_SENT_CALL = UINT32_MAX - 3, // its result is wanted
    DBK_POSTGRES_STEP_MAX = UINT32_MAX - 16
};

typedef struct dbk_postgres_sent {
    uint32_t tag;
    const dbk_statement *source; // NULL: ours
} dbk_postgres_sent;

typedef struct dbk_postgres {
    dbk_target target;
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    char *conninfo;
    char label[128];                     // for messages: "PostgreSQL database shop on db.example.org"
    char schema[DBK_POSTGRES_NAME_SIZE]; // of a shadow; "" otherwise
    bool is_read_only;
    PGconn *connection;

    // In charge.
    char claimed[DBK_DEFINITION_NAME_SIZE_MAX + 1]; // "" while not
    char instance[DAYBOOK_PROJECTION_INSTANCE_MAX];

    // Of `prepare`.
    const dbk_definition *definition;
    dbk_arena *arena;
    dbk_postgres_section *sections; // one per section of the definition
    dbk_postgres_load *loads;
    dbk_postgres_load *copying; // whose COPY is open
    uint32_t statement_count;   // prepared ever, so that names are used once
    dbk_postgres_cached cache[DBK_POSTGRES_CACHE_COUNT];
    size_t cache_next; // the one to give way

    // Of one execution: as many as the statement with the most parameters has.
    const char **values;
    int *lengths;
    int *formats;
    size_t values_capacity;
    dbk_buf text; // values of callbacks

    // Of the transaction.
    bool is_in_transaction;  // `begin` to `commit` or `rollback`; in pipeline mode unless rows are loaded
    bool is_loading;         // steps are gathered, for COPY or for statements; not in pipeline mode
    bool is_load_open;       // they go by COPY, in a transaction that has begun
    bool has_failed;         // `failed` says how, target.failure of what kind
    bool is_head_answered;   // the first of `sent` has its result, its end has not come yet
    PGresult *called;        // of SENT_CALL
    bool is_load_repeated;   // COPY failed in this transaction, its steps went as statements
    bool is_load_refused;    // COPY failed where statements did not: no more of it
    uint32_t step;           // steps since `begin` or the last savepoint
    uint32_t unread_count;   // sent since the last look at what has come back
    dbk_postgres_sent *sent; // what is not answered yet, in order; a ring
    size_t sent_first, sent_count, sent_capacity;
    dbk_step *steps; // of the transaction, where rows are loaded: to be sent as statements if COPY refuses
    size_t step_count, step_capacity;
    daybook_error failed;
} dbk_postgres;

static inline dbk_postgres *dbk_postgres_of(dbk_target *target) {
    return (dbk_postgres *)target;
}

// postgres_failure.c
daybook_status dbk_postgres_fail_memory(dbk_postgres *postgres, daybook_error *error);
/// A failure of our own kind, in words that begin with the label.
daybook_status dbk_postgres_fail(dbk_postgres *postgres, dbk_failure_kind kind, const char *sqlstate,
                                 daybook_status status, daybook_error *error, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/// What a result says went wrong. `where` may be NULL: "order_totals.sql:12".
daybook_status dbk_postgres_fail_result(dbk_postgres *postgres, const PGresult *result, const char *where,
                                        daybook_error *error);
/// The connection is gone, or refuses.
daybook_status dbk_postgres_fail_connection(dbk_postgres *postgres, daybook_error *error);
/// Where in the file a result says it went wrong: "order_totals.sql:12:8". `text` is what `source` was
/// written as for the server, NULL where that does not matter.
void dbk_postgres_find_place(const dbk_postgres *postgres, const PGresult *result,
                             const dbk_statement *source, const char *text, char *where, size_t size);

// postgres_connection.c
/// Connects as `conninfo` says, and sets the session up.
daybook_status dbk_postgres_connect(dbk_postgres *postgres, daybook_error *error);
/// Until there is something to read, which is taken in, or room to write where something waits for it. False:
/// the connection is lost.
bool dbk_postgres_wait(dbk_postgres *postgres, bool is_write_wanted);
/// Sleep, then look again.
void dbk_postgres_pause(dbk_postgres *postgres, int64_t wait_ns);

// postgres_pipeline.c
/// The transaction has failed; every later call repeats that.
daybook_status dbk_postgres_remember_failure(dbk_postgres *postgres, daybook_status status);
daybook_status dbk_postgres_repeat_failure(const dbk_postgres *postgres, daybook_error *error);
/// Something was handed to libpq: remember it, and keep both directions moving.
daybook_status dbk_postgres_sent_one(dbk_postgres *postgres, int is_taken, uint32_t tag,
                                     const dbk_statement *source);
/// Until everything sent is answered.
daybook_status dbk_postgres_settle(dbk_postgres *postgres);
/// Queue a statement of ours; in a transaction.
daybook_status dbk_postgres_send(dbk_postgres *postgres, const char *sql, const char *const *values,
                                 int count, uint32_t tag, daybook_error *error);
/// One statement, settled at once, after everything queued; as dbk_postgres_query.
daybook_status dbk_postgres_call(dbk_postgres *postgres, const char *sql, const char *const *values,
                                 int count, PGresult **result_out, daybook_error *error);

// postgres_statement.c
daybook_status dbk_postgres_prepare(dbk_target *target, const dbk_definition *definition,
                                    daybook_error *error);
daybook_status dbk_postgres_apply(dbk_target *target, const dbk_step *steps, size_t count,
                                  daybook_error *error);
/// The section's statements with these values, queued.
daybook_status dbk_postgres_apply_step(dbk_postgres *postgres, const dbk_step *step, uint32_t number,
                                       daybook_error *error);
daybook_status dbk_postgres_execute(dbk_target *target, daybook_slice sql, const dbk_value *values,
                                    size_t count, uint64_t *row_count_out, daybook_error *error);
/// A statement of the file at once, without values.
daybook_status dbk_postgres_exec_statement(dbk_postgres *postgres, const dbk_definition *definition,
                                           const dbk_statement *statement, daybook_error *error);
/// Two hexadecimal digits for each byte, as bytea reads them behind "\x".
void dbk_postgres_write_hex(dbk_buf *text, daybook_slice bytes);
void dbk_postgres_free_statements(dbk_postgres *postgres);

// postgres.c
/// No failure. NULL is one.
bool dbk_postgres_is_fine(const PGresult *result);
/**
 * One statement with values as text (NULL: null), settled at once; in a transaction after everything queued.
 * @param result_out  may be NULL; else to be cleared by the caller, NULL on failure
 */
daybook_status dbk_postgres_query(dbk_postgres *postgres, const char *sql, const char *const *values,
                                  int count, PGresult **result_out, daybook_error *error);
/// SQL without values or results; not in a transaction of `begin`. Several statements.
daybook_status dbk_postgres_exec(dbk_postgres *postgres, const char *sql, daybook_error *error);
/// BEGIN for work of our own, outside `begin`; ended by conclude, as `status` says.
daybook_status dbk_postgres_start(dbk_postgres *postgres, daybook_error *error);
daybook_status dbk_postgres_conclude(dbk_postgres *postgres, daybook_status status, daybook_error *error);
/// BEGIN in pipeline mode, with the lock on the live row.
daybook_status dbk_postgres_begin_pipeline(dbk_postgres *postgres, daybook_error *error);
daybook_status dbk_postgres_open_with(const char *conninfo, const dbk_target_options *options,
                                      dbk_postgres **postgres_out, daybook_error *error);
void dbk_postgres_close(dbk_target *target);

// postgres_books.c
daybook_status dbk_postgres_ensure(dbk_target *target, daybook_error *error);
daybook_status dbk_postgres_load_progress(dbk_target *target, const char *name, dbk_progress *progress_out,
                                          daybook_error *error);
daybook_status dbk_postgres_list(dbk_target *target,
                                 int (*visit)(void *context, const dbk_progress *progress), void *context,
                                 daybook_error *error);
daybook_status dbk_postgres_create(dbk_target *target, const dbk_definition *definition,
                                   const dbk_progress *progress, daybook_error *error);
daybook_status dbk_postgres_drop(dbk_target *target, const char *name, const dbk_definition *definition,
                                 daybook_error *error);
/// Drops what `name` is remembered to have made, within a transaction, and forgets it.
daybook_status dbk_postgres_drop_objects(dbk_postgres *postgres, const char *name, daybook_error *error);
/// Each row of a query is one statement: run it.
daybook_status dbk_postgres_exec_each(dbk_postgres *postgres, const char *sql, const char *const *values,
                                      int count, daybook_error *error);
daybook_status dbk_postgres_set_state(dbk_target *target, const char *name, int state, const char *reason,
                                      int64_t now_ns, daybook_error *error);
/// The advisory lock of a kind ("projection", "rebuild") and name in this connection's schema. ELOCKED.
daybook_status dbk_postgres_lock(dbk_postgres *postgres, const char *kind, const char *name,
                                 daybook_error *error);
daybook_status dbk_postgres_claim(dbk_target *target, const char *name, const char *instance, int64_t now_ns,
                                  daybook_error *error);
void dbk_postgres_release(dbk_target *target);
daybook_status dbk_postgres_park(dbk_target *target, const char *name, const dbk_parked *parked,
                                 daybook_error *error);
daybook_status dbk_postgres_unpark(dbk_target *target, const char *name, uint64_t position,
                                   daybook_error *error);
daybook_status dbk_postgres_save(dbk_target *target, const dbk_progress *progress, uint64_t previous_position,
                                 daybook_error *error);
daybook_status dbk_postgres_parked(dbk_target *target, const char *name, daybook_slice aggregate,
                                   int (*visit)(void *context, const dbk_parked *parked), void *context,
                                   daybook_error *error);
daybook_status dbk_postgres_request(dbk_target *target, const char *name, uint64_t position,
                                    dbk_parked_request request, daybook_error *error);
daybook_status dbk_postgres_has_request(dbk_target *target, const char *name, bool *has_request_out,
                                        daybook_error *error);

// postgres_copy.c
/// Which sections of the definition can be loaded by COPY: made ready at `prepare`.
daybook_status dbk_postgres_prepare_loads(dbk_postgres *postgres, daybook_error *error);
/// Gather steps; from a number on that is worth it their rows go by COPY, the others as statements, at
/// `finish` at the latest.
daybook_status dbk_postgres_load_steps(dbk_postgres *postgres, const dbk_step *steps, size_t count,
                                       daybook_error *error);
daybook_status dbk_postgres_load_finish(dbk_postgres *postgres, daybook_error *error);
void dbk_postgres_load_reset(dbk_postgres *postgres);
void dbk_postgres_load_deinit(dbk_postgres *postgres);

// postgres_shadow.c
daybook_status dbk_postgres_shadow_open(dbk_target *target, const char *name, dbk_target **shadow_out,
                                        daybook_error *error);
daybook_status dbk_postgres_shadow_finish(dbk_target *shadow, daybook_error *error);
daybook_status dbk_postgres_shadow_fence(dbk_target *target, const char *name, daybook_error *error);
void dbk_postgres_shadow_unfence(dbk_target *target);
daybook_status dbk_postgres_shadow_switch(dbk_target *target, dbk_target *shadow, const char *name,
                                          int64_t now_ns, daybook_error *error);
void dbk_postgres_shadow_close(dbk_target *shadow, bool is_removed);

#endif
