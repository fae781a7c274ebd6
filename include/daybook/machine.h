/* SPDX-License-Identifier: Apache-2.0 */
/**
 * State machines: which states a thing can be in, and which ways lead from one to another. A move that is not
 * declared is refused, so is one from a state the thing has left meanwhile; each move is an event. Part of
 * daybook-toolkit.
 *
 *     static const daybook_transition ways[] = {
 *         {DAYBOOK_TEXT("open"), DAYBOOK_TEXT("in_progress")},
 *         {DAYBOOK_TEXT("in_progress"), DAYBOOK_TEXT("closed"), {NULL, 0}, DAYBOOK_TEXT("is_tested")},
 *     };
 *     daybook_machine_config config;
 *     daybook_machine_config_init(&config);
 *     config.name = daybook_text("issue");
 *     config.category = daybook_text("issues");
 *     config.initial = daybook_text("open");
 *     config.transitions = ways;
 *     config.transition_count = 2;
 *     daybook_machine_new(&config, &machine, &error);
 *     daybook_machine_move(machine, engine, daybook_text("7"), daybook_text("open"),
 *                          daybook_text("in_progress"), NULL, NULL, &error);
 *
 * A move of aggregate issues.7 is an event issues.7.issue.state.changed with the data
 * {"from":"open","to":"in_progress","reason":"..."}. The state is what the newest such event says, and the
 * initial one where there is none; other events of the aggregate do not change it.
 */
#ifndef DAYBOOK_MACHINE_H
#define DAYBOOK_MACHINE_H

#include "daybook/aggregate.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A slice over a string literal, for tables. */
#define DAYBOOK_TEXT(literal) \
    { (literal), sizeof(literal) - 1 }

typedef struct daybook_transition {
    daybook_slice from;
    daybook_slice to;
    daybook_slice event; /* type of its event; empty: the machine's */
    daybook_slice guard; /* name of a guard that must agree; empty: none */
} daybook_transition;

typedef struct daybook_machine_config {
    size_t size;
    daybook_slice name;     /* "issue" */
    daybook_slice category; /* "issues": its aggregates are issues.<id> */
    daybook_slice initial;
    daybook_slice event; /* type of events where a transition names none; empty: <name>.state.changed */
    const daybook_slice *states; /* all of them; none: those that the transitions name, and the initial one */
    size_t state_count;
    const daybook_transition *transitions;
    size_t transition_count;
} daybook_machine_config;

DAYBOOK_API void daybook_machine_config_init(daybook_machine_config *config);

typedef struct daybook_machine daybook_machine;

/** Everything is copied. EINVALID: an unknown state, a way given twice, no initial state. */
DAYBOOK_API daybook_status daybook_machine_new(const daybook_machine_config *config,
                                               daybook_machine **machine_out, daybook_error *error);
/**
 * The same from JSON:
 *
 *     {"machine":"issue","category":"issues","initial":"open","states":["open","closed"],
 *      "transitions":[{"from":"open","to":"closed","event":"issue.closed","guard":"is_tested"}]}
 *
 * "states", "event" (also beside "machine") and "guard" may be left out. `file` goes before messages.
 */
DAYBOOK_API daybook_status daybook_machine_parse(daybook_slice json, const char *file,
                                                 daybook_machine **machine_out, daybook_error *error);
DAYBOOK_API void daybook_machine_free(daybook_machine *machine);

/** Visit what is allowed but probably not meant, such as a state that cannot be reached. */
DAYBOOK_API void daybook_machine_check(const daybook_machine *machine,
                                       void (*visit)(void *context, daybook_slice warning), void *context);

DAYBOOK_API daybook_slice daybook_machine_name(const daybook_machine *machine);
DAYBOOK_API daybook_slice daybook_machine_category(const daybook_machine *machine);
DAYBOOK_API size_t daybook_machine_state_count(const daybook_machine *machine);
DAYBOOK_API size_t daybook_machine_transition_count(const daybook_machine *machine);
/** The index-th in order of declaration; borrowed. */
DAYBOOK_API const daybook_transition *daybook_machine_transition(const daybook_machine *machine,
                                                                 size_t index);

enum daybook_drawing { DAYBOOK_DRAWING_MERMAID, DAYBOOK_DRAWING_DOT };

/** Released with daybook_text_release. */
DAYBOOK_API daybook_status daybook_machine_draw(const daybook_machine *machine, int drawing, char **text_out,
                                                daybook_error *error);

/** What a guard is asked. Borrowed during the call. */
typedef struct daybook_move {
    size_t size;
    daybook_slice id; /* of the aggregate, without its category */
    daybook_slice from;
    daybook_slice to;
    daybook_slice actor;
    daybook_slice reason;
    daybook_slice data;
} daybook_move;

/** OK to let it pass; anything else refuses the move with the error's message. It may be asked several
 *  times. */
typedef daybook_status (*daybook_guard)(void *context, const daybook_move *move, daybook_error *error);

/** Before the first move; not while others move. ENOTFOUND where no transition names it. */
DAYBOOK_API daybook_status daybook_machine_set_guard(daybook_machine *machine, const char *name,
                                                     daybook_guard guard, void *context,
                                                     daybook_error *error);

typedef struct daybook_move_options {
    size_t size;
    daybook_slice actor;
    daybook_slice correlation;
    daybook_slice causation;
    daybook_slice reason;
    daybook_slice data; /* a JSON object whose members join the event's; not from, to, reason */
    int skip_guards;    /* guards are code of a program; who has not got it may say so */
    int auto_stream;
} daybook_move_options;

DAYBOOK_API void daybook_move_options_init(daybook_move_options *options);

/**
 * Move aggregate `<category>.<id>` from one state to another.
 * @param from  empty: whatever it is in
 * @return OK
 *         EREFUSED   not declared (the message names what is allowed from there), or a guard's refusal
 *         ECONFLICT  it is not in `from` (any more), or others kept moving it
 *         EINVALID   a guard that was not set; data that is no JSON object; a state that is none
 * An aggregate without events is in the initial state. Any thread, once guards are set.
 */
DAYBOOK_API daybook_status daybook_machine_move(const daybook_machine *machine, daybook_engine *engine,
                                                daybook_slice id, daybook_slice from, daybook_slice to,
                                                const daybook_move_options *options,
                                                daybook_execute_result *result_out, daybook_error *error);

/** The state at a moment (NULL: now), NUL-terminated; `version_out` may be NULL. ENOTFOUND without events. */
DAYBOOK_API daybook_status daybook_machine_state(const daybook_machine *machine, daybook_engine *engine,
                                                 daybook_slice id, const daybook_moment *moment,
                                                 char state_out[DAYBOOK_TEXT_SIZE_MAX + 1],
                                                 uint64_t *version_out, daybook_error *error);

typedef struct daybook_change {
    size_t size;
    daybook_slice from;
    daybook_slice to;
    daybook_slice reason;
    int is_declared; /* 0: the machine does not know this way (any more) */
    const daybook_recorded_event *event;
} daybook_change;

/** Visit the moves, oldest first; non-zero ends it. Borrowed during the visit. ENOTFOUND without events. */
DAYBOOK_API daybook_status daybook_machine_history(const daybook_machine *machine, daybook_engine *engine,
                                                   daybook_slice id,
                                                   int (*visit)(void *context, const daybook_change *change),
                                                   void *context, daybook_error *error);

#ifdef __cplusplus
}
#endif
#endif
