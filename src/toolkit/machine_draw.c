// SPDX-License-Identifier: Apache-2.0
// State machines as pictures: text for Mermaid (stateDiagram-v2) and for Graphviz (DOT). States are named s0,
// s1 ... in both, with their own names as labels, so that any name can be drawn.
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/number.h"
#include "toolkit/machine.h"

static void put(dbk_buf *out, const char *text) {
    dbk_buf_append_slice(out, daybook_text(text));
}

static void put_state(dbk_buf *out, const char *before, size_t number) {
    put(out, before);
    dbk_buf_append_u8(out, 's');
    dbk_decimal_append(out, number);
}

// In both languages a label ends at a quote. Mermaid has entities, DOT has backslashes.
static void put_label(dbk_buf *out, daybook_slice name, bool is_dot) {
    const char *text = name.data;
    for (size_t i = 0; i < name.size; i++) {
        if (text[i] == '"')
            put(out, is_dot ? "\\\"" : "#quot;");
        else if (text[i] == '\\')
            put(out, is_dot ? "\\\\" : "\\");
        else if (!is_dot && (text[i] == '#' || text[i] == ';' || text[i] == ':'))
            put(out, text[i] == '#' ? "#35;" : text[i] == ';' ? "#59;" : "#58;");
        else
            dbk_buf_append(out, &text[i], 1);
    }
}

static bool is_final(const daybook_machine *machine, daybook_slice state) {
    for (size_t i = 0; i < machine->transition_count; i++)
        if (dbk_slice_equal(machine->transitions[i].from, state)) return false;
    return true;
}

static void put_way(dbk_buf *out, const daybook_transition *way, bool is_dot) {
    put_label(out, way->event, is_dot);
    if (way->guard.size == 0) return;
    put(out, " [");
    put_label(out, way->guard, is_dot);
    put(out, "]");
}

static void draw_mermaid(const daybook_machine *machine, dbk_buf *out) {
    put(out, "stateDiagram-v2\n");
    for (size_t i = 0; i < machine->state_count; i++) {
        put(out, "    state \"");
        put_label(out, machine->states[i], false);
        put_state(out, "\" as ", i);
        put(out, "\n");
    }
    put(out, "    [*] --> s0\n");
    for (size_t i = 0; i < machine->transition_count; i++) {
        const daybook_transition *way = &machine->transitions[i];
        put_state(out, "    ", dbk_machine_find_state(machine, way->from));
        put_state(out, " --> ", dbk_machine_find_state(machine, way->to));
        put(out, ": ");
        put_way(out, way, false);
        put(out, "\n");
    }
    for (size_t i = 0; i < machine->state_count; i++) {
        if (!is_final(machine, machine->states[i])) continue;
        put_state(out, "    ", i);
        put(out, " --> [*]\n");
    }
}

static void draw_dot(const daybook_machine *machine, dbk_buf *out) {
    put(out, "digraph \"");
    put_label(out, machine->name, true);
    put(out, "\" {\n    rankdir=LR;\n    node [shape=box, style=rounded];\n    start [shape=point];\n");
    for (size_t i = 0; i < machine->state_count; i++) {
        put_state(out, "    ", i);
        put(out, " [label=\"");
        put_label(out, machine->states[i], true);
        put(out, is_final(machine, machine->states[i]) ? "\", peripheries=2];\n" : "\"];\n");
    }
    put(out, "    start -> s0;\n");
    for (size_t i = 0; i < machine->transition_count; i++) {
        const daybook_transition *way = &machine->transitions[i];
        put_state(out, "    ", dbk_machine_find_state(machine, way->from));
        put_state(out, " -> ", dbk_machine_find_state(machine, way->to));
        put(out, " [label=\"");
        put_way(out, way, true);
        put(out, "\"];\n");
    }
    put(out, "}\n");
}

daybook_status daybook_machine_draw(const daybook_machine *machine, int drawing, char **text_out,
                                    daybook_error *error) {
    if (text_out == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no room for the drawing given");
    *text_out = NULL;
    if (drawing != DAYBOOK_DRAWING_MERMAID && drawing != DAYBOOK_DRAWING_DOT)
        return dbk_fail(error, DAYBOOK_EINVALID, "drawing %d is none", drawing);
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), DBK_STATE_TEXT_SIZE_MAX);
    if (drawing == DAYBOOK_DRAWING_DOT)
        draw_dot(machine, &out);
    else
        draw_mermaid(machine, &out);
    dbk_buf_append_u8(&out, '\0');
    daybook_status status = dbk_buf_status(&out);
    if (status == DAYBOOK_OK) {
        *text_out = (char *)out.data; // Its memory is that of every text given out.
        return DAYBOOK_OK;
    }
    dbk_buf_deinit(&out);
    return dbk_fail(error, status, "out of memory: drawing of machine '%.*s'", DBK_TEXT(machine->name));
}
