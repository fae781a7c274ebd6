// SPDX-License-Identifier: Apache-2.0
// Moving along a state machine: a command on an aggregate whose state is the name that its last move gave it.
//
// The machine is an aggregate type of its own beside whatever the application makes of the same events: its
// evolve looks at the events of the machine's types only, and of these at "to". So a move and any other
// command on the aggregate see each other's events and never pass one another unseen (execute.c).
//
// What an event says counts, whether the machine of today would allow it: history is not refused.
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "toolkit/machine.h"
#include "toolkit/typed.h"
#include "json/json.h"

enum { RETRY_COUNT = 8 };

typedef struct machine_state {
    char name[DAYBOOK_TEXT_SIZE_MAX + 1];
    size_t size;
} machine_state;

static daybook_slice name_of(const machine_state *state) {
    return daybook_bytes(state->name, state->size);
}

static void set_name(machine_state *state, daybook_slice name) {
    memcpy(state->name, name.data, name.size);
    state->name[name.size] = '\0';
    state->size = name.size;
}

static daybook_slice text_of(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    return json_is_string(value) ? daybook_bytes(json_string_value(value), json_string_length(value))
                                 : daybook_bytes(NULL, 0);
}

// What a move's event says. `*data_out` is NULL where the event is none, or says nothing that can be
// followed.
static daybook_status read_move(const daybook_machine *machine, const daybook_recorded_event *event,
                                json_t **data_out, daybook_error *error) {
    *data_out = NULL;
    if (!dbk_machine_knows_event(machine, event->event.type) || event->event.data.size == 0)
        return DAYBOOK_OK;
    json_t *data = NULL;
    daybook_status status = dbk_json_parse(event->event.data, &data, NULL);
    if (status == DAYBOOK_EINVALID) return DAYBOOK_OK;
    if (status != DAYBOOK_OK)
        return dbk_fail(error, status, "out of memory: a move of machine '%.*s'", DBK_TEXT(machine->name));
    daybook_slice to = text_of(data, "to");
    if (to.size > 0 && to.size <= DAYBOOK_TEXT_SIZE_MAX)
        *data_out = data;
    else
        json_decref(data);
    return DAYBOOK_OK;
}

static daybook_status init(void *state, void *context, daybook_error *error) {
    (void)error;
    const daybook_machine *machine = context;
    set_name(state, machine->states[0]);
    return DAYBOOK_OK;
}

static daybook_status evolve(void *state, void *context, const daybook_recorded_event *event,
                             daybook_error *error) {
    json_t *data = NULL;
    DBK_TRY(read_move(context, event, &data, error));
    if (data != NULL) set_name(state, text_of(data, "to"));
    json_decref(data);
    return DAYBOOK_OK;
}

static void make_type(const daybook_machine *machine, daybook_aggregate_type *type_out) {
    daybook_aggregate_type_init(type_out);
    type_out->category = machine->category;
    type_out->state_size = sizeof(machine_state);
    type_out->init = init;
    type_out->evolve = evolve;
    type_out->context = (void *)(uintptr_t)machine; // Only read.
}

// Moving.

void daybook_move_options_init(daybook_move_options *options) {
    memset(options, 0, sizeof *options);
    options->size = sizeof *options;
}

daybook_status daybook_machine_set_guard(daybook_machine *machine, const char *name, daybook_guard guard,
                                         void *context, daybook_error *error) {
    bool is_found = false;
    for (size_t i = 0; i < machine->transition_count; i++) {
        if (!dbk_slice_equal(machine->transitions[i].guard, daybook_text(name))) continue;
        machine->guards[i] = (dbk_guard){.ask = guard, .context = context};
        is_found = true;
    }
    if (is_found && name[0] != '\0') return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ENOTFOUND, "no transition of machine '%.*s' names a guard '%s'",
                    DBK_TEXT(machine->name), name);
}

typedef struct move_command {
    const daybook_machine *machine;
    const daybook_move *move;
    const daybook_move_options *options;
    const json_t *data; // members that join the event's; may be NULL
} move_command;

// "'in_progress', 'rejected'", cut where a message ends.
static void list_ways(const daybook_machine *machine, daybook_slice from, dbk_buf *out) {
    for (size_t i = 0; i < machine->transition_count; i++) {
        if (!dbk_slice_equal(machine->transitions[i].from, from)) continue;
        if (out->size > 0) dbk_buf_append(out, ", ", 2);
        dbk_buf_append(out, "'", 1);
        dbk_buf_append_slice(out, machine->transitions[i].to);
        dbk_buf_append(out, "'", 1);
    }
}

static daybook_status refuse_way(const move_command *command, daybook_slice from, daybook_error *error) {
    const daybook_machine *machine = command->machine;
    dbk_buf ways;
    dbk_buf_init(&ways, dbk_allocator_default(), DBK_STATE_TEXT_SIZE_MAX);
    list_ways(machine, from, &ways);
    daybook_status status = dbk_buf_status(&ways);
    if (status != DAYBOOK_OK)
        (void)dbk_fail(error, status, "out of memory: ways of machine '%.*s'", DBK_TEXT(machine->name));
    else if (dbk_machine_find_state(machine, from) == machine->state_count)
        status =
            dbk_fail(error, DAYBOOK_EREFUSED,
                     "%.*s.%.*s cannot go to '%.*s': it is in '%.*s', which machine '%.*s' does not know",
                     DBK_TEXT(machine->category), DBK_TEXT(command->move->id), DBK_TEXT(command->move->to),
                     DBK_TEXT(from), DBK_TEXT(machine->name));
    else if (ways.size == 0)
        status = dbk_fail(error, DAYBOOK_EREFUSED,
                          "%.*s.%.*s cannot go from '%.*s' to '%.*s': nothing leads on from '%.*s'",
                          DBK_TEXT(machine->category), DBK_TEXT(command->move->id), DBK_TEXT(from),
                          DBK_TEXT(command->move->to), DBK_TEXT(from));
    else
        status = dbk_fail(
            error, DAYBOOK_EREFUSED, "%.*s.%.*s cannot go from '%.*s' to '%.*s': from '%.*s' only to %.*s",
            DBK_TEXT(machine->category), DBK_TEXT(command->move->id), DBK_TEXT(from),
            DBK_TEXT(command->move->to), DBK_TEXT(from), DBK_TEXT(daybook_bytes(ways.data, ways.size)));
    dbk_buf_deinit(&ways);
    return status;
}

static daybook_status ask_guard(const move_command *command, const daybook_transition *way,
                                const daybook_move *move, daybook_error *error) {
    if (way->guard.size == 0 || command->options->skip_guards) return DAYBOOK_OK;
    const dbk_guard *guard = &command->machine->guards[way - command->machine->transitions];
    if (guard->ask == NULL)
        return dbk_fail(
            error, DAYBOOK_EINVALID,
            "the way from '%.*s' to '%.*s' has a guard '%.*s', which is code that is not here: set it "
            "with daybook_machine_set_guard, or skip guards",
            DBK_TEXT(way->from), DBK_TEXT(way->to), DBK_TEXT(way->guard));
    daybook_error words;
    daybook_error_init(&words);
    if (guard->ask(guard->context, move, &words) == DAYBOOK_OK) return DAYBOOK_OK;
    if (words.message[0] != '\0') return dbk_fail(error, DAYBOOK_EREFUSED, "%s", words.message);
    return dbk_fail(error, DAYBOOK_EREFUSED, "guard '%.*s' refuses the way from '%.*s' to '%.*s'",
                    DBK_TEXT(way->guard), DBK_TEXT(way->from), DBK_TEXT(way->to));
}

static void write_member(dbk_buf *out, const char *name, daybook_slice text) {
    dbk_buf_append_u8(out, out->size == 0 ? '{' : ',');
    dbk_json_write_string(out, daybook_text(name));
    dbk_buf_append_u8(out, ':');
    dbk_json_write_string(out, text);
}

static daybook_status add_move(const move_command *command, const daybook_transition *way,
                               daybook_decision *decision, daybook_error *error) {
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), DBK_STATE_TEXT_SIZE_MAX);
    write_member(&out, "from", way->from);
    write_member(&out, "to", way->to);
    if (command->options->reason.size > 0) write_member(&out, "reason", command->options->reason);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)command->data, key, value) {
        dbk_buf_append_u8(&out, ',');
        dbk_json_write_string(&out, daybook_text(key));
        dbk_buf_append_u8(&out, ':');
        dbk_json_write(&out, value);
    }
    dbk_buf_append_u8(&out, '}');
    daybook_event event;
    daybook_event_init(&event);
    event.type = way->event;
    event.data = daybook_bytes(out.data, out.size);
    daybook_status status = dbk_buf_status(&out);
    status = status == DAYBOOK_OK ? daybook_decision_add_event(decision, &event, error)
                                  : dbk_fail(error, status, "out of memory: a move of machine '%.*s'",
                                             DBK_TEXT(command->machine->name));
    dbk_buf_deinit(&out);
    return status;
}

static daybook_status decide(const void *state, const void *given, daybook_decision *decision,
                             daybook_error *error) {
    const move_command *command = given;
    daybook_move move = *command->move;
    daybook_slice current = name_of(state);
    if (move.from.size > 0 && !dbk_slice_equal(move.from, current))
        return dbk_fail(
            error, DAYBOOK_ECONFLICT, "%.*s.%.*s is in '%.*s', not in '%.*s': look again and decide anew",
            DBK_TEXT(command->machine->category), DBK_TEXT(move.id), DBK_TEXT(current), DBK_TEXT(move.from));
    move.from = current;
    const daybook_transition *way = dbk_machine_find_transition(command->machine, current, move.to);
    if (way == NULL) return refuse_way(command, current, error);
    DBK_TRY(ask_guard(command, way, &move, error));
    return add_move(command, way, decision, error);
}

static daybook_status check_state(const daybook_machine *machine, daybook_slice state, daybook_error *error) {
    if (dbk_machine_find_state(machine, state) < machine->state_count) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EINVALID, "'%.*s' is no state of machine '%.*s'", DBK_TEXT(state),
                    DBK_TEXT(machine->name));
}

static daybook_status read_data(daybook_slice text, json_t **data_out, daybook_error *error) {
    *data_out = NULL;
    if (text.size == 0) return DAYBOOK_OK;
    daybook_status status = dbk_json_parse(text, data_out, NULL);
    if (status == DAYBOOK_ENOMEM) return dbk_fail(error, status, "out of memory: data of a move");
    static const char *const own[] = {"from", "to", "reason"};
    bool is_fit = status == DAYBOOK_OK && json_is_object(*data_out);
    for (size_t i = 0; is_fit && i < 3; i++) is_fit = json_object_get(*data_out, own[i]) == NULL;
    if (is_fit) return DAYBOOK_OK;
    json_decref(*data_out);
    *data_out = NULL;
    return dbk_fail(
        error, DAYBOOK_EINVALID,
        "data of a move is a JSON object without members from, to and reason: those are the move's own");
}

daybook_status daybook_machine_move(const daybook_machine *machine, daybook_engine *engine, daybook_slice id,
                                    daybook_slice from, daybook_slice to, const daybook_move_options *options,
                                    daybook_execute_result *result_out, daybook_error *error) {
    daybook_move_options defaults;
    daybook_move_options_init(&defaults);
    if (options == NULL) options = &defaults;
    if (machine == NULL || options->size < sizeof *options)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "no machine, or options not made by daybook_move_options_init");
    DBK_TRY(check_state(machine, to, error));
    if (from.size > 0) DBK_TRY(check_state(machine, from, error));
    json_t *data = NULL;
    DBK_TRY(read_data(options->data, &data, error));
    const daybook_move move = {.size = sizeof move,
                               .id = id,
                               .from = from,
                               .to = to,
                               .actor = options->actor,
                               .reason = options->reason,
                               .data = options->data};
    const move_command command = {.machine = machine, .move = &move, .options = options, .data = data};
    daybook_execute_options metadata;
    daybook_execute_options_init(&metadata);
    metadata.actor = options->actor;
    metadata.correlation = options->correlation;
    metadata.causation = options->causation;
    daybook_aggregate_type type;
    make_type(machine, &type);
    const dbk_command work = {.engine = engine,
                              .type = &type,
                              .id = id,
                              .decide = decide,
                              .command = &command,
                              .options = &metadata,
                              .retry_count = RETRY_COUNT,
                              .auto_stream = options->auto_stream};
    dbk_place place;
    daybook_execute_result result;
    daybook_status status = dbk_execute(&work, &place, NULL, &result, error);
    json_decref(data);
    if (result_out != NULL) *result_out = result;
    return status;
}

// Looking.

static daybook_status find(const daybook_machine *machine, daybook_engine *engine, daybook_slice id,
                           daybook_aggregate_type *type, dbk_aggregate *aggregate, daybook_error *error) {
    if (machine == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no machine given");
    make_type(machine, type);
    DBK_TRY(dbk_type_find(engine, type, id, aggregate, error));
    if (aggregate->stream_slice.size > 0) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ENOTFOUND, "no aggregate '%.*s': no stream captures its subjects",
                    DBK_TEXT(aggregate->name_slice));
}

daybook_status daybook_machine_state(const daybook_machine *machine, daybook_engine *engine, daybook_slice id,
                                     const daybook_moment *moment, char state_out[DAYBOOK_TEXT_SIZE_MAX + 1],
                                     uint64_t *version_out, daybook_error *error) {
    daybook_aggregate_type type;
    dbk_aggregate aggregate;
    dbk_typed typed;
    dbk_folder folder;
    dbk_place place;
    DBK_TRY(dbk_moment_check(moment, error));
    DBK_TRY(find(machine, engine, id, &type, &aggregate, error));
    DBK_TRY(dbk_typed_init(&typed, &type, error));
    dbk_typed_folder(&typed, &folder);
    daybook_status status = dbk_replay(engine, &aggregate, moment, &folder, &place, error);
    if (status == DAYBOOK_OK && place.version == 0) status = dbk_moment_not_found(&aggregate, moment, error);
    if (status == DAYBOOK_OK) {
        const machine_state *state = typed.state;
        memcpy(state_out, state->name, state->size + 1);
        if (version_out != NULL) *version_out = place.version;
    }
    dbk_typed_deinit(&typed);
    return status;
}

typedef struct history {
    const daybook_machine *machine;
    int (*visit)(void *context, const daybook_change *change);
    void *context;
} history;

static daybook_status begin_nothing(void *context, daybook_error *error) {
    (void)context; // A history has no state of its own.
    (void)error;
    return DAYBOOK_OK;
}

static daybook_status visit_move(void *context, const daybook_recorded_event *event, daybook_error *error) {
    const history *work = context;
    json_t *data = NULL;
    DBK_TRY(read_move(work->machine, event, &data, error));
    if (data == NULL) return DAYBOOK_OK;
    daybook_change change = {.size = sizeof change, .event = event};
    change.from = text_of(data, "from");
    change.to = text_of(data, "to");
    change.reason = text_of(data, "reason");
    change.is_declared = dbk_machine_find_transition(work->machine, change.from, change.to) != NULL;
    int stop = work->visit(work->context, &change);
    json_decref(data);
    return stop ? DAYBOOK_END : DAYBOOK_OK;
}

daybook_status daybook_machine_history(const daybook_machine *machine, daybook_engine *engine,
                                       daybook_slice id,
                                       int (*visit)(void *context, const daybook_change *change),
                                       void *context, daybook_error *error) {
    if (visit == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no visitor given");
    daybook_aggregate_type type;
    dbk_aggregate aggregate;
    dbk_place place;
    history work = {.machine = machine, .visit = visit, .context = context};
    DBK_TRY(find(machine, engine, id, &type, &aggregate, error));
    const dbk_folder folder = {.context = &work, .begin = begin_nothing, .add = visit_move};
    DBK_TRY(dbk_replay(engine, &aggregate, NULL, &folder, &place, error));
    return place.version == 0 ? dbk_moment_not_found(&aggregate, NULL, error) : DAYBOOK_OK;
}
