/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Projections: read models in SQLite or PostgreSQL, kept up with the log, each event exactly once. Rows and
 * checkpoint change in one transaction, so a kill at any moment neither skips nor repeats an event. Part of
 * daybook-projection.
 *
 *     daybook_projection_definition definition;
 *     daybook_projection_definition_init(&definition);
 *     definition.sql = text of the file;                 // see docs/guide/read-models.md
 *     definition.file = "order_totals.sql";
 *     daybook_projection *projection;
 *     daybook_projection_new(daybook_store_engine(store), &definition, "sqlite:orders.db", NULL, &projection,
 *                            &error);
 *     daybook_projection_run(projection, DAYBOOK_PROJECTION_FOLLOW, &error);       // until interrupted
 *     daybook_projection_free(projection);
 *
 * The engine must give one order over all streams (POSITION) and types (EVENTS_MATCH).
 */
#ifndef DAYBOOK_PROJECTION_H
#define DAYBOOK_PROJECTION_H

#include "daybook/engine.h"
#include "daybook/sys/allocator.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DAYBOOK_PROJECTION_INSTANCE_MAX 64 /* bytes of the name of an instance, NUL included */

/* 1 where this build can write to it: "sqlite" or "postgresql". */
DAYBOOK_API int daybook_projection_can(const char *database);

/* What a projection is. */

typedef struct daybook_projection_transaction daybook_projection_transaction;

/** A value for a statement. */
enum daybook_value_kind {
    DAYBOOK_VALUE_NULL,
    DAYBOOK_VALUE_INTEGER, /* `integer` */
    DAYBOOK_VALUE_REAL,    /* `real` */
    DAYBOOK_VALUE_TEXT,    /* `bytes`, UTF-8 without NUL */
    DAYBOOK_VALUE_BYTES,   /* `bytes` */
    DAYBOOK_VALUE_TIME     /* `integer`: nanoseconds since the Unix epoch */
};

typedef struct daybook_value {
    int kind;
    int64_t integer;
    double real;
    daybook_slice bytes;
} daybook_value;

/**
 * Applies one event by daybook_projection_execute. What it returns counts: OK; EINVALID or EREFUSED: this
 * event cannot be applied and is parked; anything else stops the run. It may be called again for the same
 * event, after what it did was rolled back; so it must do nothing that cannot be undone.
 */
typedef daybook_status (*daybook_projection_handler)(void *context,
                                                     daybook_projection_transaction *transaction,
                                                     const daybook_recorded_event *event,
                                                     daybook_error *error);

/** Either an SQL file (`sql`), or a handler with name, version, filters and setup. Copied. */
typedef struct daybook_projection_definition {
    size_t size;
    daybook_slice sql;            /* the text of a file; the rest but `file` is then left empty */
    const char *file;             /* its name, for messages */
    const char *name;             /* a to z, 0 to 9 and '_', a letter first; up to 63 bytes */
    uint64_t version;             /* at least 1; another one asks for a rebuild */
    const daybook_slice *filters; /* none: all events */
    size_t filter_count;
    daybook_slice setup;    /* SQL that makes the tables, several statements */
    daybook_slice teardown; /* SQL that drops what would be left */
    daybook_projection_handler handler;
    void *context;
} daybook_projection_definition;

DAYBOOK_API void daybook_projection_definition_init(daybook_projection_definition *definition);

/** Read the file and say what is wrong with it, without a database. `name_out` gets its name,
 *  NUL-terminated. */
DAYBOOK_API daybook_status daybook_projection_check(daybook_slice sql, const char *file, char name_out[64],
                                                    daybook_error *error);

/**
 * For handlers: run one statement with $1, $2 … Prepared once and kept. `row_count_out` may be NULL.
 * @return OK; EINVALID: the database refuses these values, or the statement is wrong; ELIMIT: more than 100
 *         values; EMISUSE; what the database gives otherwise. A handler passes on what it cannot mend.
 */
DAYBOOK_API daybook_status daybook_projection_execute(daybook_projection_transaction *transaction,
                                                      const char *sql, const daybook_value *values,
                                                      size_t count, uint64_t *row_count_out,
                                                      daybook_error *error);

/* Running. */

enum daybook_projection_on_error {
    DAYBOOK_PROJECTION_PARK,       /* the event, and behind it the later ones of its aggregate */
    DAYBOOK_PROJECTION_PARK_EVENT, /* the event alone: the order within its aggregate does not matter */
    DAYBOOK_PROJECTION_STOP        /* the run ends before it */
};

enum daybook_projection_state {
    DAYBOOK_PROJECTION_LIVE,
    DAYBOOK_PROJECTION_PAUSED,
    DAYBOOK_PROJECTION_BUILDING /* the shadow of a rebuild */
};

/** How it is doing; see daybook_projection_get_info and daybook_read_model_list. */
typedef struct daybook_projection_info {
    size_t size;
    const char *name; /* borrowed */
    uint64_t version;
    int state;            /* daybook_projection_state, as the database has it */
    int is_active;        /* this instance is in charge (get_info only) */
    int is_caught_up;     /* it has seen everything that was durable when it looked last (get_info only) */
    uint64_t position;    /* checkpoint */
    uint64_t event_count; /* applied since the tables were made */
    uint64_t parked_count;
    uint64_t retry_count; /* transient failures met in this run (get_info only) */
    int64_t updated_ns;   /* when the checkpoint moved last */
    int64_t recorded_ns;  /* `recorded` of the last event applied in this run; 0: none yet (get_info only) */
    const char *instance; /* who is or was in charge; borrowed */
    const char *error;    /* why it stands still, "" where it does not; borrowed */
    uint64_t rebuilt_position; /* up to where a rebuild of this handle has come (get_info only) */
} daybook_projection_info;

typedef struct daybook_projection_options {
    size_t size;
    const daybook_allocator *allocator; /* NULL: malloc */
    uint32_t batch_count;               /* events of a transaction at most; default 1000 */
    int64_t batch_wait_ns;              /* how long a batch waits for more events; default 20 ms */
    int on_error;                       /* daybook_projection_on_error; default PARK */
    int64_t retry_wait_ns; /* before a transient failure is tried again; doubled each time; default 50 ms */
    int64_t retry_wait_max_ns; /* default 10 s */
    uint32_t retry_count;      /* how often in a row; 0: for ever (default) */
    const char *instance; /* name of this instance, for people, 48 bytes of it; a random end is added. Default
                             "daybook" */
    /** Called where something is retried, parked, paused, taken over; any thread of the run. May be NULL. */
    void (*report)(void *context, const char *message);
    void *report_context;
} daybook_projection_options;

DAYBOOK_API void daybook_projection_options_init(daybook_projection_options *options);

typedef struct daybook_projection daybook_projection;

/**
 * @param database  "sqlite:PATH", or a connection string "postgresql://…"
 * @param options   may be NULL
 * @return OK; EINVALID: the definition or the URL is wrong, with file and line; EUNSUPPORTED: the engine or
 *         this build lacks something; ENOMEM. The database is not opened yet.
 */
DAYBOOK_API daybook_status daybook_projection_new(daybook_engine *engine,
                                                  const daybook_projection_definition *definition,
                                                  const char *database,
                                                  const daybook_projection_options *options,
                                                  daybook_projection **projection_out, daybook_error *error);
/** Not while it runs. NULL is fine. */
DAYBOOK_API void daybook_projection_free(daybook_projection *projection);

enum daybook_projection_run_flag {
    DAYBOOK_PROJECTION_FOLLOW =
        1, /* go on with what comes; else END the run where everything durable at its begin is in */
    DAYBOOK_PROJECTION_WAIT = 2 /* where another instance is active: wait for its place; else ELOCKED */
};

/**
 * Make the tables where there are none, go on from the checkpoint otherwise. One run at a time per handle.
 * @return OK: caught up (without FOLLOW) or interrupted; ELOCKED: another instance is active; ECONFLICT:
 *         the database has another version of the definition, or was filled from another store or a later
 *         state of this one: rebuild; EREFUSED: an event could not be applied and on_error is STOP, `error`
 *         names it; EINVALID: a statement is wrong, with file and line; EUNSUPPORTED: the database was used
 *         by a later daybook; what reading the store and the database gives otherwise. What was committed
 *         stays.
 */
DAYBOOK_API daybook_status daybook_projection_run(daybook_projection *projection, unsigned flags,
                                                  daybook_error *error);
/** End a run, or the next one to begin, after the batch in hand. Any thread, also a signal handler's. */
DAYBOOK_API void daybook_projection_interrupt(daybook_projection *projection);
/** Any thread, also during a run. Texts are valid until the next call by the same thread of control on this
 *  handle. */
DAYBOOK_API void daybook_projection_get_info(daybook_projection *projection,
                                             daybook_projection_info *info_out);

/**
 * Build the tables anew from the first event beside those in use, and put them in their place in one
 * transaction once they have caught up. The running projection of the same name goes on meanwhile;
 * afterwards it continues from where the new tables are if its definition is the same, and ends with
 * ECONFLICT if not. Interruptible: nothing is changed then.
 * @return OK; ELOCKED: another rebuild of it is under way; ECLOSED: interrupted; else as
 *         daybook_projection_run
 */
DAYBOOK_API daybook_status daybook_projection_rebuild(daybook_projection *projection, daybook_error *error);

/**
 * Run [teardown] and remove tables, checkpoint and parked events, in one transaction.
 * daybook_read_model_drop does the same without a definition, so without [teardown]. ENOTFOUND; ELOCKED
 * while it runs.
 */
DAYBOOK_API daybook_status daybook_projection_drop(daybook_projection *projection, daybook_error *error);

/**
 * Events the projection asks for behind its checkpoint, counted in the store, and how long ago the first of
 * them was recorded (0: there is none). While it is not in charge the checkpoint is asked from the database.
 * Any thread, also during a run; as a call of daybook_projection_get_info for the texts that gave out.
 * @return OK, also where the database has no such projection yet; ECONFLICT: its row says what no store has;
 *         EMISUSE; what reading the store and the database gives
 */
DAYBOOK_API daybook_status daybook_projection_lag(daybook_projection *projection, uint64_t *event_count_out,
                                                  int64_t *age_ns_out, daybook_error *error);
/**
 * Whether the store is the one that the read model was made from and has not gone back since, as a run asks
 * at its begin: by the store's UUID, its end, and the last event that was seen. Any thread, also during a
 * run.
 * @return OK, also where the database has no such projection yet; ECONFLICT: another store, or one that was
 *         restored from an older backup, in words: rebuild; EMISUSE; what reading the store and the database
 *         gives
 */
DAYBOOK_API daybook_status daybook_projection_check_store(daybook_projection *projection,
                                                          daybook_error *error);

/*
 * A database with read models, without a definition. One thread at a time uses a handle. What is asked for is
 * committed when a call returns. Besides what is named: EMISUSE, ENOMEM, and what the database gives.
 */

typedef struct daybook_read_model daybook_read_model;

/** ENOTFOUND where there is no such database. */
DAYBOOK_API daybook_status daybook_read_model_open(const char *database, const daybook_allocator *allocator,
                                                   daybook_read_model **model_out, daybook_error *error);
DAYBOOK_API void daybook_read_model_close(daybook_read_model *model);
/** In order of name; `visit` ends it by returning non-zero. Borrowed during the visit. */
DAYBOOK_API daybook_status daybook_read_model_list(daybook_read_model *model,
                                                   int (*visit)(void *context,
                                                                const daybook_projection_info *info),
                                                   void *context, daybook_error *error);
/** A run stops after the batch in hand, within a second, and waits; a rebuild is not touched. ENOTFOUND. */
DAYBOOK_API daybook_status daybook_read_model_pause(daybook_read_model *model, const char *name,
                                                    daybook_error *error);
DAYBOOK_API daybook_status daybook_read_model_resume(daybook_read_model *model, const char *name,
                                                     daybook_error *error);
/** Drop the tables that its [setup] made, and its checkpoint; [teardown] is not known here. ELOCKED while it
 *  runs. */
DAYBOOK_API daybook_status daybook_read_model_drop(daybook_read_model *model, const char *name,
                                                   daybook_error *error);

typedef struct daybook_parked_event {
    size_t size;
    uint64_t position;
    daybook_slice stream;
    daybook_slice subject;
    daybook_slice error; /* the database's words */
    uint64_t attempt_count;
    int64_t parked_ns;
    uint64_t behind; /* position of the event of its aggregate that it waits for; 0: it failed itself */
    int request;     /* 1: retry was asked for, 2: skip */
} daybook_parked_event;

/** In order of position, as daybook_read_model_list. ENOTFOUND: no such projection. */
DAYBOOK_API daybook_status daybook_read_model_parked(daybook_read_model *model, const char *name,
                                                     int (*visit)(void *context,
                                                                  const daybook_parked_event *event),
                                                     void *context, daybook_error *error);
/**
 * Ask for a parked event (position 0: all) to be applied again, or to be left out for ever; those behind it
 * follow. The active run does so within a second; without one, the next does. ENOTFOUND.
 */
DAYBOOK_API daybook_status daybook_read_model_retry(daybook_read_model *model, const char *name,
                                                    uint64_t position, daybook_error *error);
DAYBOOK_API daybook_status daybook_read_model_skip(daybook_read_model *model, const char *name,
                                                   uint64_t position, daybook_error *error);

#ifdef __cplusplus
}
#endif
#endif
