// SPDX-License-Identifier: Apache-2.0
// State machines as declared: from a table or a JSON file, checked once, so that whoever moves has only to
// look up.
//
// All names live in one arena. Machines are small (a table one can draw), so look-ups are linear.
#include "toolkit/machine.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "daybook/subject.h"
#include "json/json.h"

enum { ARENA_CHUNK_SIZE = 1024, STATE_COUNT_MAX = 4096, TRANSITION_COUNT_MAX = 65536 };

void daybook_machine_config_init(daybook_machine_config *config) {
    memset(config, 0, sizeof *config);
    config->size = sizeof *config;
}

// Looking up.

size_t dbk_machine_find_state(const daybook_machine *machine, daybook_slice name) {
    size_t at = 0;
    while (at < machine->state_count && !dbk_slice_equal(machine->states[at], name)) at++;
    return at;
}

const daybook_transition *dbk_machine_find_transition(const daybook_machine *machine, daybook_slice from,
                                                      daybook_slice to) {
    for (size_t i = 0; i < machine->transition_count; i++) {
        const daybook_transition *way = &machine->transitions[i];
        if (dbk_slice_equal(way->from, from) && dbk_slice_equal(way->to, to)) return way;
    }
    return NULL;
}

bool dbk_machine_knows_event(const daybook_machine *machine, daybook_slice type) {
    if (dbk_slice_equal(type, machine->event)) return true;
    for (size_t i = 0; i < machine->transition_count; i++)
        if (dbk_slice_equal(machine->transitions[i].event, type)) return true;
    return false;
}

daybook_slice daybook_machine_name(const daybook_machine *machine) {
    return machine->name;
}

daybook_slice daybook_machine_category(const daybook_machine *machine) {
    return machine->category;
}

size_t daybook_machine_state_count(const daybook_machine *machine) {
    return machine->state_count;
}

size_t daybook_machine_transition_count(const daybook_machine *machine) {
    return machine->transition_count;
}

const daybook_transition *daybook_machine_transition(const daybook_machine *machine, size_t index) {
    return index < machine->transition_count ? &machine->transitions[index] : NULL;
}

// Declaring.

static daybook_status out_of_memory(daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: state machine not made");
}

static daybook_status copy(daybook_machine *machine, daybook_slice text, daybook_slice *copy_out,
                           daybook_error *error) {
    *copy_out = dbk_arena_copy_text(machine->arena, text);
    return copy_out->data == NULL ? out_of_memory(error) : DAYBOOK_OK;
}

static daybook_status check_name(const char *what, daybook_slice name, daybook_error *error) {
    if (name.size == 0) return dbk_fail(error, DAYBOOK_EINVALID, "a machine without %s: give one", what);
    if (name.size > DAYBOOK_TEXT_SIZE_MAX || !dbk_is_plain_text(name))
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "bad %s '%.*s': it is 1 to %d bytes of UTF-8 without control characters", what,
                        DBK_TEXT(name), DAYBOOK_TEXT_SIZE_MAX);
    return DAYBOOK_OK;
}

// What becomes part of a subject.
static daybook_status check_tokens(const char *what, daybook_slice name, daybook_error *error) {
    DBK_TRY(check_name(what, name, error));
    if (daybook_subject_is_valid(name)) return DAYBOOK_OK;
    return dbk_fail(
        error, DAYBOOK_EINVALID,
        "bad %s '%.*s': it is part of a subject, so it is tokens joined by dots without white space, "
        "'*' and '>'",
        what, DBK_TEXT(name));
}

static daybook_status add_state(daybook_machine *machine, daybook_slice name, bool may_repeat,
                                daybook_error *error) {
    DBK_TRY(check_name("state", name, error));
    if (dbk_machine_find_state(machine, name) < machine->state_count)
        return may_repeat
                   ? DAYBOOK_OK
                   : dbk_fail(error, DAYBOOK_EINVALID, "state '%.*s' is declared twice", DBK_TEXT(name));
    DBK_TRY(copy(machine, name, &machine->states[machine->state_count], error));
    machine->state_count++;
    return DAYBOOK_OK;
}

static daybook_status add_states(daybook_machine *machine, const daybook_machine_config *config,
                                 daybook_error *error) {
    size_t room = 1 + config->state_count + 2 * config->transition_count;
    machine->states = dbk_arena_alloc(machine->arena, room * sizeof *machine->states);
    if (machine->states == NULL) return out_of_memory(error);
    if (config->initial.size == 0)
        return dbk_fail(error, DAYBOOK_EINVALID, "machine '%.*s' has no initial state: name it",
                        DBK_TEXT(config->name));
    DBK_TRY(add_state(machine, config->initial, false, error));
    bool has_initial = config->state_count == 0;
    for (size_t i = 0; i < config->state_count; i++) {
        bool is_initial = dbk_slice_equal(config->states[i], config->initial);
        DBK_TRY(add_state(machine, config->states[i], is_initial && !has_initial, error));
        has_initial |= is_initial;
    }
    if (!has_initial)
        return dbk_fail(error, DAYBOOK_EINVALID, "the initial state '%.*s' is not among the states",
                        DBK_TEXT(config->initial));
    for (size_t i = 0; config->state_count == 0 && i < config->transition_count; i++) {
        DBK_TRY(add_state(machine, config->transitions[i].from, true, error));
        DBK_TRY(add_state(machine, config->transitions[i].to, true, error));
    }
    return DAYBOOK_OK;
}

static daybook_status check_state(const daybook_machine *machine, size_t index, const char *end,
                                  daybook_slice state, daybook_error *error) {
    if (state.size > 0 && dbk_machine_find_state(machine, state) < machine->state_count) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EINVALID, "transition %zu goes %s '%.*s', which is no declared state",
                    index + 1, end, DBK_TEXT(state));
}

static daybook_status add_transition(daybook_machine *machine, const daybook_transition *given,
                                     daybook_error *error) {
    size_t index = machine->transition_count;
    DBK_TRY(check_state(machine, index, "from", given->from, error));
    DBK_TRY(check_state(machine, index, "to", given->to, error));
    if (dbk_machine_find_transition(machine, given->from, given->to) != NULL)
        return dbk_fail(error, DAYBOOK_EINVALID, "the way from '%.*s' to '%.*s' is declared twice",
                        DBK_TEXT(given->from), DBK_TEXT(given->to));
    daybook_transition *way = &machine->transitions[index];
    DBK_TRY(copy(machine, given->from, &way->from, error));
    DBK_TRY(copy(machine, given->to, &way->to, error));
    DBK_TRY(copy(machine, given->guard, &way->guard, error));
    if (given->guard.size > 0) DBK_TRY(check_name("guard", given->guard, error));
    way->event = machine->event;
    if (given->event.size > 0) {
        DBK_TRY(check_tokens("event type", given->event, error));
        DBK_TRY(copy(machine, given->event, &way->event, error));
    }
    machine->transition_count++;
    return DAYBOOK_OK;
}

static daybook_status add_transitions(daybook_machine *machine, const daybook_machine_config *config,
                                      daybook_error *error) {
    size_t count = config->transition_count;
    machine->transitions = dbk_arena_alloc(machine->arena, (count + 1) * sizeof *machine->transitions);
    machine->guards = dbk_arena_alloc(machine->arena, (count + 1) * sizeof *machine->guards);
    if (machine->transitions == NULL || machine->guards == NULL) return out_of_memory(error);
    memset(machine->guards, 0, (count + 1) * sizeof *machine->guards);
    for (size_t i = 0; i < count; i++) DBK_TRY(add_transition(machine, &config->transitions[i], error));
    return DAYBOOK_OK;
}

static daybook_status name_event(daybook_machine *machine, const daybook_machine_config *config,
                                 daybook_error *error) {
    char text[DAYBOOK_TEXT_SIZE_MAX + 16];
    daybook_slice event = config->event;
    if (event.size == 0) {
        int size = snprintf(text, sizeof text, "%.*s.state.changed", DBK_TEXT(config->name));
        event = daybook_bytes(text, (size_t)size);
    }
    DBK_TRY(check_tokens("event type", event, error));
    return copy(machine, event, &machine->event, error);
}

static daybook_status declare(daybook_machine *machine, const daybook_machine_config *config,
                              daybook_error *error) {
    DBK_TRY(check_name("name", config->name, error));
    DBK_TRY(check_tokens("category", config->category, error));
    if (config->state_count > STATE_COUNT_MAX || config->transition_count > TRANSITION_COUNT_MAX)
        return dbk_fail(error, DAYBOOK_ELIMIT,
                        "machine '%.*s' has too many states or transitions: at most %d and %d",
                        DBK_TEXT(config->name), STATE_COUNT_MAX, TRANSITION_COUNT_MAX);
    DBK_TRY(copy(machine, config->name, &machine->name, error));
    DBK_TRY(copy(machine, config->category, &machine->category, error));
    DBK_TRY(name_event(machine, config, error));
    DBK_TRY(add_states(machine, config, error));
    return add_transitions(machine, config, error);
}

daybook_status daybook_machine_new(const daybook_machine_config *config, daybook_machine **machine_out,
                                   daybook_error *error) {
    if (machine_out == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no room for the machine given");
    *machine_out = NULL;
    if (config == NULL || config->size < sizeof *config)
        return dbk_fail(error, DAYBOOK_EMISUSE, "machine not made by daybook_machine_config_init");
    daybook_machine *machine = dbk_alloc_zeroed(dbk_allocator_default(), sizeof *machine);
    if (machine == NULL) return out_of_memory(error);
    daybook_status status = dbk_arena_new(dbk_allocator_default(), ARENA_CHUNK_SIZE, &machine->arena);
    status = status == DAYBOOK_OK ? declare(machine, config, error) : out_of_memory(error);
    if (status == DAYBOOK_OK)
        *machine_out = machine;
    else
        daybook_machine_free(machine);
    return status;
}

void daybook_machine_free(daybook_machine *machine) {
    if (machine == NULL) return;
    dbk_arena_free(machine->arena);
    dbk_free(dbk_allocator_default(), machine);
}

// From JSON.

static daybook_slice text_of(const json_t *value) {
    return json_is_string(value) ? daybook_bytes(json_string_value(value), json_string_length(value))
                                 : daybook_bytes(NULL, 0);
}

// The members must be among `names` and texts; those beginning with '[' are arrays.
static daybook_status check_members(const json_t *object, const char *const *names, const char *where,
                                    daybook_error *error) {
    if (!json_is_object(object)) return dbk_fail(error, DAYBOOK_EINVALID, "%s is no JSON object", where);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        const char *const *name = names;
        while (*name != NULL && strcmp(**name == '[' ? *name + 1 : *name, key) != 0) name++;
        if (*name == NULL)
            return dbk_fail(error, DAYBOOK_EINVALID, "%s has a member '%.100s', which is none of a machine's",
                            where, key);
        if (**name == '[' ? !json_is_array(value) : !json_is_string(value))
            return dbk_fail(error, DAYBOOK_EINVALID, "member '%s' of %s is no %s", key, where,
                            **name == '[' ? "array" : "text");
    }
    return DAYBOOK_OK;
}

static daybook_status read_states(const json_t *list, daybook_slice *states, daybook_error *error) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *state = json_array_get(list, i);
        if (!json_is_string(state)) return dbk_fail(error, DAYBOOK_EINVALID, "state %zu is no text", i + 1);
        states[i] = text_of(state);
    }
    return DAYBOOK_OK;
}

static daybook_status read_transitions(const json_t *list, daybook_transition *transitions,
                                       daybook_error *error) {
    static const char *const names[] = {"from", "to", "event", "guard", NULL};
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *way = json_array_get(list, i);
        char where[32];
        (void)snprintf(where, sizeof where, "transition %zu", i + 1);
        DBK_TRY(check_members(way, names, where, error));
        transitions[i].from = text_of(json_object_get(way, "from"));
        transitions[i].to = text_of(json_object_get(way, "to"));
        transitions[i].event = text_of(json_object_get(way, "event"));
        transitions[i].guard = text_of(json_object_get(way, "guard"));
    }
    return DAYBOOK_OK;
}

static daybook_status read_machine(const json_t *root, daybook_machine **machine_out, daybook_error *error) {
    static const char *const names[] = {"machine", "category",     "initial", "event",
                                        "[states", "[transitions", NULL};
    DBK_TRY(check_members(root, names, "the file", error));
    const json_t *states = json_object_get(root, "states");
    const json_t *transitions = json_object_get(root, "transitions");
    daybook_machine_config config;
    daybook_machine_config_init(&config);
    config.name = text_of(json_object_get(root, "machine"));
    config.category = text_of(json_object_get(root, "category"));
    config.initial = text_of(json_object_get(root, "initial"));
    config.event = text_of(json_object_get(root, "event"));
    config.state_count = json_array_size(states);
    config.transition_count = json_array_size(transitions);
    daybook_slice *names_of_states =
        dbk_alloc_zeroed(dbk_allocator_default(), config.state_count * sizeof *names_of_states);
    daybook_transition *ways =
        dbk_alloc_zeroed(dbk_allocator_default(), config.transition_count * sizeof *ways);
    config.states = names_of_states;
    config.transitions = ways;
    daybook_status status = names_of_states == NULL || ways == NULL ? out_of_memory(error) : DAYBOOK_OK;
    if (status == DAYBOOK_OK) status = read_states(states, names_of_states, error);
    if (status == DAYBOOK_OK) status = read_transitions(transitions, ways, error);
    if (status == DAYBOOK_OK) status = daybook_machine_new(&config, machine_out, error);
    dbk_free(dbk_allocator_default(), ways);
    dbk_free(dbk_allocator_default(), names_of_states);
    return status;
}

static daybook_status not_json(daybook_slice json, size_t offset, daybook_error *error) {
    const char *text = json.data;
    size_t line = 1, column = 1;
    for (size_t i = 0; i < offset && i < json.size; i++) {
        column = text[i] == '\n' ? 1 : column + 1;
        line += text[i] == '\n';
    }
    return dbk_fail(error, DAYBOOK_EINVALID, "line %zu, column %zu: this is no JSON", line, column);
}

daybook_status daybook_machine_parse(daybook_slice json, const char *file, daybook_machine **machine_out,
                                     daybook_error *error) {
    if (machine_out == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no room for the machine given");
    *machine_out = NULL;
    json_t *root = NULL;
    size_t offset = 0;
    daybook_status status = dbk_json_parse(json, &root, &offset);
    if (status == DAYBOOK_EINVALID)
        status = not_json(json, offset, error);
    else if (status != DAYBOOK_OK)
        status = out_of_memory(error);
    if (status == DAYBOOK_OK) status = read_machine(root, machine_out, error);
    json_decref(root);
    if (status != DAYBOOK_OK && file != NULL) dbk_error_prepend(error, file);
    return status;
}

// Looking for what is probably not meant.

static void mark_reachable(const daybook_machine *machine, bool *is_reached) {
    is_reached[0] = true;
    for (bool has_changed = true; has_changed;) {
        has_changed = false;
        for (size_t i = 0; i < machine->transition_count; i++) {
            size_t from = dbk_machine_find_state(machine, machine->transitions[i].from);
            size_t to = dbk_machine_find_state(machine, machine->transitions[i].to);
            if (!is_reached[from] || is_reached[to]) continue;
            is_reached[to] = has_changed = true;
        }
    }
}

void daybook_machine_check(const daybook_machine *machine,
                           void (*visit)(void *context, daybook_slice warning), void *context) {
    bool *is_reached = dbk_alloc_zeroed(dbk_allocator_default(), machine->state_count * sizeof *is_reached);
    char text[400];
    if (is_reached == NULL) {
        visit(context, daybook_text("not looked for unreachable states: out of memory"));
        return;
    }
    mark_reachable(machine, is_reached);
    for (size_t i = 0; i < machine->state_count; i++) {
        if (is_reached[i]) continue;
        (void)snprintf(text, sizeof text, "state '%.*s' cannot be reached from '%.*s'",
                       DBK_TEXT(machine->states[i]),
                       dbk_text_width(machine->states[0]) > 80 ? 80 : dbk_text_width(machine->states[0]),
                       (const char *)machine->states[0].data);
        visit(context, daybook_text(text));
    }
    if (machine->transition_count == 0) visit(context, daybook_text("no transitions: nothing can ever move"));
    dbk_free(dbk_allocator_default(), is_reached);
}
