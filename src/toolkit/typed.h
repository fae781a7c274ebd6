// SPDX-License-Identifier: Apache-2.0
// Typed states inside the toolkit: a state of an application's type while it is folded, decisions while they
// are taken, and what a repository's files share.
#ifndef DBK_TOOLKIT_TYPED_H
#define DBK_TOOLKIT_TYPED_H

#include "daybook/aggregate.h"
#include "toolkit/replay.h"

struct daybook_writer {
    dbk_buf *buf;
};

/// A state of the type. `state` has room for it; between init and deinit of the type `is_begun`.
typedef struct dbk_typed {
    const daybook_aggregate_type *type;
    void *state;
    bool is_begun;
} dbk_typed;

/// ENOMEM. On OK released with dbk_typed_deinit; no state is begun yet.
daybook_status dbk_typed_init(dbk_typed *typed, const daybook_aggregate_type *type, daybook_error *error);
void dbk_typed_deinit(dbk_typed *typed);
/// The state before the first event.
daybook_status dbk_typed_begin(dbk_typed *typed, daybook_error *error);
daybook_status dbk_typed_evolve(dbk_typed *typed, const daybook_recorded_event *event, daybook_error *error);
void dbk_typed_folder(dbk_typed *typed, dbk_folder *folder_out);

/// EMISUSE where the type cannot be used; `needs_category` for repositories.
daybook_status dbk_type_check(const daybook_aggregate_type *type, bool needs_category, daybook_error *error);
/// `<category>.<id>`, found in its stream; the stream is left empty where none captures it. ESUBJECT.
daybook_status dbk_type_find(daybook_engine *engine, const daybook_aggregate_type *type, daybook_slice id,
                             dbk_aggregate *aggregate_out, daybook_error *error);

struct daybook_decision {
    dbk_arena *arena; // the events' bytes
    daybook_event *events;
    size_t count;
    size_t capacity;
    daybook_slice name; // of the aggregate; empty over query items
    uint64_t version;
    const daybook_execute_options *options; // may be NULL
    daybook_status failed;                  // an event that could not be added
};

daybook_status dbk_decision_init(daybook_decision *decision, const daybook_execute_options *options,
                                 daybook_error *error);
void dbk_decision_deinit(daybook_decision *decision);
/// Empty again, on a state of this version.
void dbk_decision_reset(daybook_decision *decision, uint64_t version);

/// What one command asks for; see daybook_execute.
typedef struct dbk_command {
    daybook_engine *engine;
    const daybook_aggregate_type *type;
    daybook_slice id;
    daybook_decide decide;
    const void *command;
    const daybook_execute_options *options;
    uint32_t retry_count;
    int auto_stream;
} dbk_command;

/// The whole of a command on an aggregate, without waiting for others on it. `place_out` is where the state
/// was that was decided on, `receipt_out` (may be NULL) is of the last event.
daybook_status dbk_execute(const dbk_command *command, dbk_place *place_out, daybook_receipt *receipt_out,
                           daybook_execute_result *result_out, daybook_error *error);

#endif
