// SPDX-License-Identifier: Apache-2.0
// What the runner sees of a database: one table of calls, implemented by sqlite.c and postgres.c.
//
// A target is one connection, used by one thread at a time. It keeps tables of its own beside the read
// models, in the same database so that they change in the same transaction:
//
//   daybook_projection   name (primary key), version, hash, position, event_count, state, updated_ns,
//                        instance, error, store, mark_position, mark_id
//   daybook_parked       projection, position (primary key both), stream, subject, aggregate, error,
//                        attempt_count, parked_ns, behind, request
//
// one that says what each [setup] made, and daybook_projection_books with the version of these tables
// (DBK_BOOKS_VERSION). Tables of an earlier version are brought to it by `ensure`, those of a later one are
// refused there. Version 1, which had no daybook_projection_books, lacked the last three columns; who only
// looks finds them empty there.
//
// Every call that fails says why in `error`, in the database's own words, and in target->failure what kind of
// failure it is and what would help. A failed call between begin and commit leaves the transaction to be
// ended by `rollback`.
//
// Late results. `apply`, `park`, `unpark` and `save` may only queue their work (PostgreSQL's pipeline): a
// failure of theirs comes then from the next `savepoint_release` or `commit`, with failure.step set where it
// is known.
#ifndef DBK_PROJECTION_TARGET_H
#define DBK_PROJECTION_TARGET_H

#include "daybook/projection.h"
#include "daybook/sys/allocator.h"
#include "daybook/sys/vfs.h"
#include "projection/definition.h"

typedef struct dbk_target dbk_target;

typedef enum dbk_failure_kind {
    DBK_FAILURE_NONE,
    DBK_FAILURE_TRANSIENT, // the same again, later, may work: locked, connection lost, serialization,
                           // deadlock, disk full, the server shutting down. The transaction is gone.
    DBK_FAILURE_EVENT,     // this event cannot be applied: constraint, type, range, missing value
    DBK_FAILURE_FENCED,    // `save` found the checkpoint elsewhere, or another instance in charge
    DBK_FAILURE_FATAL // a person is needed: wrong statement, table gone, permission, damage, not a database
} dbk_failure_kind;

enum { DBK_FAILURE_STEP_NONE = UINT32_MAX };

typedef struct dbk_failure {
    dbk_failure_kind kind;
    char code[16]; // the database's: "SQLITE_BUSY" is "5", extended codes likewise; SQLSTATE "40001"
    /// Index into the steps of `apply` since `begin` or the last savepoint; DBK_FAILURE_STEP_NONE: not known.
    uint32_t step;
    bool is_lost; // the connection is gone: the target is to be closed and opened anew
} dbk_failure;

/// A section whose statements are to be run, in their order, with the values of one event.
typedef struct dbk_step {
    const dbk_section *section; // of the definition that was prepared
    const dbk_value *values;    // section->parameter_count of them; valid until commit or rollback
} dbk_step;

/// An event that was seen in the store: where it is another one, the store is not the same any more.
typedef struct dbk_mark {
    uint64_t position; // 0: none
    char id[DAYBOOK_TEXT_SIZE_MAX + 1];
} dbk_mark;

typedef struct dbk_progress {
    char name[DBK_DEFINITION_NAME_SIZE_MAX + 1];
    uint64_t version;
    char hash[DBK_DEFINITION_HASH_SIZE];
    uint64_t position;    // everything up to here is applied, parked, or of no interest
    uint64_t event_count; // applied since the tables were made
    int state;            // daybook_projection_state
    int64_t updated_ns;
    char instance[DAYBOOK_PROJECTION_INSTANCE_MAX]; // who is or was in charge
    char error[DAYBOOK_ERROR_MESSAGE_MAX];          // why it stands still, "" where it does not
    char store[37];                                 // UUID of the store, "" where it is not known
    dbk_mark mark;                                  // at `position`, or the last one known before it
} dbk_progress;

/// The columns of daybook_projection in the order of dbk_progress, for SQL; and as version 1 had them.
#define DBK_PROGRESS_COLUMNS_1 \
    "name, version, hash, position, event_count, state, updated_ns, instance, error"
#define DBK_PROGRESS_COLUMNS DBK_PROGRESS_COLUMNS_1 ", store, mark_position, mark_id"

enum { DBK_BOOKS_VERSION = 2 };

typedef enum dbk_parked_request { DBK_REQUEST_NONE, DBK_REQUEST_RETRY, DBK_REQUEST_SKIP } dbk_parked_request;

typedef struct dbk_parked {
    uint64_t position;
    daybook_slice stream;
    daybook_slice subject;
    daybook_slice aggregate;
    daybook_slice error;
    uint64_t attempt_count;
    int64_t parked_ns;
    uint64_t behind; // position of the parked event of its aggregate that it waits for; 0: it failed itself
    dbk_parked_request request;
} dbk_parked;

/// The columns of daybook_parked in the order of dbk_parked.
#define DBK_PARKED_COLUMNS \
    "position, stream, subject, aggregate, error, attempt_count, parked_ns, behind, request"

typedef struct dbk_target_calls {
    const char *name; // "sqlite", "postgresql"

    void (*close)(dbk_target *target);

    // Bookkeeping, each in a transaction of its own.

    /** Make the bookkeeping tables where they do not exist, and bring those of an earlier version to this
     *  one. EUNSUPPORTED where they are of a later one. */
    daybook_status (*ensure)(dbk_target *target, daybook_error *error);
    /** ENOTFOUND where the projection, or the bookkeeping, is not there. Cheap: asked once a second. */
    daybook_status (*load)(dbk_target *target, const char *name, dbk_progress *progress_out,
                           daybook_error *error);
    /** In order of name; `visit` stops by returning non-zero. Without the tables: none. */
    daybook_status (*list)(dbk_target *target, int (*visit)(void *context, const dbk_progress *progress),
                           void *context, daybook_error *error);
    /** Run the definition's [setup] and add the row; remember which tables, views, indexes, triggers and so
     *  on came into being. EEXISTS where the row is there. All in one transaction. */
    daybook_status (*create)(dbk_target *target, const dbk_definition *definition,
                             const dbk_progress *progress, daybook_error *error);
    /** Run [teardown], drop what is left of the remembered objects, and remove row and parked events.
     *  `definition` may be NULL. ENOTFOUND. */
    daybook_status (*drop)(dbk_target *target, const char *name, const dbk_definition *definition,
                           daybook_error *error);
    /** ENOTFOUND. */
    daybook_status (*set_state)(dbk_target *target, const char *name, int state, const char *reason,
                                int64_t now_ns, daybook_error *error);

    // One active instance.

    /** Take charge of `name` until `release` or `close`, or until the process or connection dies. ELOCKED
     *  where somebody else has it. Writes `instance` into the row, if there is one. */
    daybook_status (*claim)(dbk_target *target, const char *name, const char *instance, int64_t now_ns,
                            daybook_error *error);
    void (*release)(dbk_target *target);

    // Applying. The statements of `definition` are prepared; EINVALID and FATAL with file, line and the
    // database's message where one is wrong. `definition` must outlive the use.
    daybook_status (*prepare)(dbk_target *target, const dbk_definition *definition, daybook_error *error);

    daybook_status (*begin)(dbk_target *target, daybook_error *error);
    daybook_status (*apply)(dbk_target *target, const dbk_step *steps, size_t count, daybook_error *error);
    /** Any SQL with values, for callbacks: `$1` `$2` … in `sql`. Settled at once. `row_count_out` may be
     *  NULL. */
    daybook_status (*execute)(dbk_target *target, daybook_slice sql, const dbk_value *values, size_t count,
                              uint64_t *row_count_out, daybook_error *error);
    /** One savepoint at a time. `release` settles what was queued since; after `rollback` the transaction
     *  goes on. */
    daybook_status (*savepoint)(dbk_target *target, daybook_error *error);
    daybook_status (*savepoint_release)(dbk_target *target, daybook_error *error);
    daybook_status (*savepoint_rollback)(dbk_target *target, daybook_error *error);
    /** Insert the parked event, or replace what is there of it. */
    daybook_status (*park)(dbk_target *target, const char *name, const dbk_parked *parked,
                           daybook_error *error);
    daybook_status (*unpark)(dbk_target *target, const char *name, uint64_t position, daybook_error *error);
    /** Advance the checkpoint: position, event_count, updated_ns, error, store and mark of `progress`, where
     *  the row still stands at `previous_position` under `instance`; else FENCED and ECONFLICT. */
    daybook_status (*save)(dbk_target *target, const dbk_progress *progress, uint64_t previous_position,
                           daybook_error *error);
    daybook_status (*commit)(dbk_target *target, daybook_error *error);
    /** target->failure stays what it was: why the work is undone is what counts. */
    void (*rollback)(dbk_target *target);

    // Parked events.

    /** In order of position, of one aggregate where `aggregate` is not empty. Slices are borrowed during the
     *  visit. */
    daybook_status (*parked)(dbk_target *target, const char *name, daybook_slice aggregate,
                             int (*visit)(void *context, const dbk_parked *parked), void *context,
                             daybook_error *error);
    /** Ask whoever is in charge to retry or skip a parked event (position 0: all). ENOTFOUND. */
    daybook_status (*request)(dbk_target *target, const char *name, uint64_t position,
                              dbk_parked_request request, daybook_error *error);
    /** Whether any request waits. Cheap. */
    daybook_status (*has_request)(dbk_target *target, const char *name, bool *has_request_out,
                                  daybook_error *error);

    // Rebuilding side by side.

    /** A second connection to a place in which the same SQL makes the same tables without touching the live
     *  ones. What is left of an earlier rebuild is dropped. Nothing in it is promised to survive a crash of
     *  the machine; then the rebuild begins anew. */
    daybook_status (*shadow_open)(dbk_target *target, const char *name, dbk_target **shadow_out,
                                  daybook_error *error);
    /** Called once everything is in the shadow, before `shadow_switch`: make durable what was written without
     *  care, add what was left out. May be NULL. */
    daybook_status (*shadow_finish)(dbk_target *shadow, daybook_error *error);
    /** Begin the transaction of the switch: from now on the live row of `name` cannot be moved, so that the
     *  shadow can be brought to where it stands while others go on reading. Ended by `shadow_switch`, or by
     *  `shadow_unfence` in its place. May be NULL, both: then `shadow_switch` is fast enough to find the
     *  shadow ahead sooner or later. */
    daybook_status (*shadow_fence)(dbk_target *target, const char *name, daybook_error *error);
    void (*shadow_unfence)(dbk_target *target);
    /** In one transaction of the live database: the live objects of `name` go, the shadow's take their place,
     *  row and parked events become the shadow's, but the state and instance of the live row stay. Without
     *  `shadow_fence` ECONFLICT and FENCED where the live checkpoint is beyond the shadow's: catch up and try
     *  again. Behind the fence the shadow holds all there is, and the checkpoint may go back: to where the
     *  newest events were purged, or a restored store ends. Where there is no live row, the shadow's becomes
     *  it. */
    daybook_status (*shadow_switch)(dbk_target *target, dbk_target *shadow, const char *name, int64_t now_ns,
                                    daybook_error *error);
    /** Close the shadow and remove what is left of it. */
    void (*shadow_close)(dbk_target *shadow, bool is_removed);
} dbk_target_calls;

/// Every target begins with this.
struct dbk_target {
    const dbk_target_calls *calls;
    dbk_failure failure; // of the last call that failed
};

typedef struct dbk_target_options {
    const daybook_allocator *allocator; // never NULL
    daybook_vfs *vfs;                   // never NULL
    bool is_read_only;                  // for list and status: nothing is written
    bool must_exist;                    // ENOTFOUND where there is no such database
    dbk_failure *failure;               // what kind it was where opening fails; may be NULL
} dbk_target_options;

/// By scheme: "sqlite:PATH" (or a plain path), "postgresql://…", "postgres://…" or
/// "postgresql:KEY=VALUE …". EINVALID; EUNSUPPORTED where that database is not built in.
daybook_status dbk_target_open(const char *url, const dbk_target_options *options, dbk_target **target_out,
                               daybook_error *error);

daybook_status dbk_sqlite_open(const char *path, const dbk_target_options *options, dbk_target **target_out,
                               daybook_error *error);
daybook_status dbk_postgres_open(const char *conninfo, const dbk_target_options *options,
                                 dbk_target **target_out, daybook_error *error);

/// Clears target->failure to (kind, code), step unknown; returns `status`. For implementations.
daybook_status dbk_target_fail(dbk_target *target, dbk_failure_kind kind, const char *code,
                               daybook_status status);

#endif
