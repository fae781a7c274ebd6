// SPDX-License-Identifier: Apache-2.0
// Why an event happened (the chain of causation, backwards) and what belongs together (the tree of a
// correlation).
//
// A causation names an id, and an id is unique within its stream only. Where several streams hold it, the
// cause is the newest event of that id before the effect, else the oldest one behind it (imports may bring
// effects first).
//
// The tree is built over small nodes (position and 128-bit digests of id and causation), at most
// TRACE_EVENT_COUNT_MAX of them, and the events are read a second time while it is walked, so that no event
// is kept in memory. Walking is mostly in order of position, so a cursor is reopened only where the tree
// jumps. An event whose cause is not in the correlation is a root; a loop is cut at its event of lowest
// position.
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash_map.h"
#include "base/number.h"
#include "daybook/causation.h"
#include "daybook/subject.h"
#include "toolkit/replay.h"

enum {
    WHY_STEP_COUNT_MAX = 1000,
    TRACE_EVENT_COUNT_MAX = 1000000,
    TRACE_SKIP_COUNT_MAX = 16, // Events read over before a cursor is opened anew.
};

// The one event a query gives; no cursor is left unless OK.
static daybook_status read_one(daybook_engine *engine, const daybook_query *query,
                               daybook_recorded_event *event_out, daybook_engine_cursor **cursor_out,
                               daybook_error *error) {
    daybook_engine_cursor *cursor = NULL;
    DBK_TRY(daybook_engine_read(engine, query, &cursor, error));
    daybook_status status = daybook_engine_next(cursor, 0, event_out, error);
    if (status == DAYBOOK_OK)
        *cursor_out = cursor;
    else
        daybook_engine_cursor_close(cursor);
    return status;
}

// Why.

// END where the reference does not read as AGGREGATE@VERSION or there is no such event.
static daybook_status find_by_version(daybook_engine *engine, daybook_slice reference,
                                      daybook_recorded_event *event_out, daybook_engine_cursor **cursor_out,
                                      daybook_error *error) {
    const char *text = reference.data;
    size_t at = reference.size;
    while (at > 0 && text[at - 1] != '@') at--;
    uint64_t version = 0;
    if (at < 2 || !dbk_decimal_parse(daybook_bytes(text + at, reference.size - at), &version) || version == 0)
        return DAYBOOK_END;
    daybook_slice name = daybook_bytes(text, at - 1);
    if (!daybook_subject_is_valid(name)) return DAYBOOK_END;
    dbk_aggregate aggregate;
    daybook_status status = dbk_aggregate_find(engine, name, &aggregate, error);
    if (status == DAYBOOK_ENOTFOUND || status == DAYBOOK_ESUBJECT) return DAYBOOK_END;
    DBK_TRY(status);
    daybook_query query;
    dbk_moment_query(&aggregate, NULL, &query);
    query.version_from = query.version_to = version;
    query.limit = 1;
    status = read_one(engine, &query, event_out, cursor_out, error);
    if (status != DAYBOOK_OK || dbk_slice_equal(event_out->aggregate, name)) return status;
    daybook_engine_cursor_close(*cursor_out);
    *cursor_out = NULL;
    return DAYBOOK_END;
}

// The event of an id: the newest before position `before`, else the oldest. END.
static daybook_status find_by_id(daybook_engine *engine, daybook_slice id, uint64_t before,
                                 daybook_recorded_event *event_out, daybook_engine_cursor **cursor_out,
                                 daybook_error *error) {
    if (id.size == 0 || id.size > DAYBOOK_TEXT_SIZE_MAX) return DAYBOOK_END;
    daybook_query query;
    daybook_query_init(&query);
    query.id = id;
    query.limit = 1;
    if (before > 1) {
        query.flags = DAYBOOK_QUERY_REVERSE;
        query.position_to = before - 1;
        daybook_status status = read_one(engine, &query, event_out, cursor_out, error);
        if (status != DAYBOOK_END) return status;
    }
    query.flags = 0;
    query.position_to = 0;
    return read_one(engine, &query, event_out, cursor_out, error);
}

typedef struct why_chain {
    uint64_t positions[WHY_STEP_COUNT_MAX];
    unsigned count;
    int (*visit)(void *context, unsigned depth, const daybook_recorded_event *event);
    void *context;
} why_chain;

static bool was_visited(const why_chain *chain, uint64_t position) {
    for (unsigned i = 0; i < chain->count; i++)
        if (chain->positions[i] == position) return true;
    return false;
}

// Visits the event under the cursor and its causes; closes every cursor.
static daybook_status walk_chain(daybook_engine *engine, why_chain *chain, daybook_recorded_event *event,
                                 daybook_engine_cursor *cursor, daybook_error *error) {
    for (;;) {
        chain->positions[chain->count] = event->position;
        if (chain->visit(chain->context, chain->count, event)) break;
        if (++chain->count == WHY_STEP_COUNT_MAX) break;
        char id[DAYBOOK_TEXT_SIZE_MAX];
        daybook_slice causation = event->event.causation;
        if (causation.size == 0 || causation.size > sizeof id) break;
        memcpy(id, causation.data, causation.size);
        uint64_t position = event->position;
        daybook_engine_cursor_close(cursor);
        cursor = NULL;
        daybook_status status =
            find_by_id(engine, daybook_bytes(id, causation.size), position, event, &cursor, error);
        if (status == DAYBOOK_END) return DAYBOOK_OK; // The cause is not in this store: the chain ends here.
        if (status != DAYBOOK_OK) return status;
        if (was_visited(chain, event->position)) break;
    }
    daybook_engine_cursor_close(cursor);
    return DAYBOOK_OK;
}

daybook_status daybook_why(daybook_engine *engine, daybook_slice reference,
                           int (*visit)(void *context, unsigned depth, const daybook_recorded_event *event),
                           void *context, daybook_error *error) {
    if (engine == NULL || visit == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no engine or no visitor given");
    if (reference.size == 0)
        return dbk_fail(error, DAYBOOK_EINVALID, "empty reference: give AGGREGATE@VERSION or an event id");
    daybook_recorded_event event;
    daybook_engine_cursor *cursor = NULL;
    daybook_status status = find_by_version(engine, reference, &event, &cursor, error);
    if (status == DAYBOOK_END) status = find_by_id(engine, reference, 0, &event, &cursor, error);
    if (status == DAYBOOK_END)
        return dbk_fail(
            error, DAYBOOK_ENOTFOUND,
            "no event '%.*s': it is neither the id of a stored event nor AGGREGATE@VERSION of one",
            DBK_TEXT(reference));
    DBK_TRY(status);
    why_chain chain;
    chain.count = 0;
    chain.visit = visit;
    chain.context = context;
    return walk_chain(engine, &chain, &event, cursor, error);
}

// Trace.

#define NO_NODE UINT32_MAX

typedef struct digest {
    uint64_t low, high;
} digest;

typedef struct trace_node {
    uint64_t position;
    digest id;
    digest causation; // all zero: none
    uint32_t parent;
    uint32_t first_child;
    uint32_t next_sibling;
    uint32_t mark; // the walk that met it while looking for loops, 0 before
} trace_node;

typedef struct trace {
    daybook_engine *engine;
    daybook_slice correlation;
    trace_node *nodes; // in order of position
    uint32_t count;
    uint32_t capacity;
    dbk_hash_map by_id;
    daybook_engine_cursor *cursor;
    int (*visit)(void *context, unsigned depth, const daybook_recorded_event *event);
    void *context;
} trace;

// SHA-256 cut short: ids come from producers, and equal digests must mean equal ids also when they are
// chosen.
static digest digest_of(daybook_slice text) {
    digest result = {0, 0};
    if (text.size == 0) return result;
    uint8_t bytes[32];
    dbk_sha256 hash;
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, text.data, text.size);
    dbk_sha256_final(&hash, bytes);
    result.low = dbk_get_u64(bytes);
    result.high = dbk_get_u64(bytes + 8);
    return result;
}

static bool is_same(digest a, digest b) {
    return a.low == b.low && a.high == b.high;
}

static daybook_status out_of_memory(daybook_error *error, const trace *tree) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: tree of correlation '%.*s'",
                    DBK_TEXT(tree->correlation));
}

static daybook_status open_cursor(trace *tree, uint64_t position_from, daybook_error *error) {
    daybook_engine_cursor_close(tree->cursor);
    tree->cursor = NULL;
    daybook_query query;
    daybook_query_init(&query);
    query.correlation = tree->correlation;
    query.position_from = position_from;
    return daybook_engine_read(tree->engine, &query, &tree->cursor, error);
}

static daybook_status add_node(trace *tree, const daybook_recorded_event *event, daybook_error *error) {
    if (tree->count == TRACE_EVENT_COUNT_MAX)
        return dbk_fail(
            error, DAYBOOK_ELIMIT,
            "correlation '%.*s' has more than %d events: too many for a tree; read it with a limit instead",
            DBK_TEXT(tree->correlation), TRACE_EVENT_COUNT_MAX);
    if (tree->count == tree->capacity) {
        uint32_t capacity = tree->capacity == 0 ? 64 : tree->capacity * 2;
        trace_node *nodes = dbk_resize_array(dbk_allocator_default(), tree->nodes, capacity, sizeof *nodes);
        if (nodes == NULL) return out_of_memory(error, tree);
        tree->nodes = nodes;
        tree->capacity = capacity;
    }
    trace_node *node = &tree->nodes[tree->count];
    memset(node, 0, sizeof *node);
    node->position = event->position;
    node->id = digest_of(event->event.id);
    node->causation = digest_of(event->event.causation);
    node->parent = node->first_child = node->next_sibling = NO_NODE;
    tree->count++;
    if (dbk_hash_map_insert(&tree->by_id, node->id.low, tree->count - 1) != DAYBOOK_OK)
        return out_of_memory(error, tree);
    return DAYBOOK_OK;
}

static daybook_status read_nodes(trace *tree, daybook_error *error) {
    DBK_TRY(open_cursor(tree, 0, error));
    for (;;) {
        daybook_recorded_event event;
        daybook_status status = daybook_engine_next(tree->cursor, 0, &event, error);
        if (status == DAYBOOK_END) break;
        DBK_TRY(status);
        DBK_TRY(add_node(tree, &event, error));
    }
    if (tree->count > 0) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ENOTFOUND, "no event of correlation '%.*s'", DBK_TEXT(tree->correlation));
}

// The newest node of the id before `effect`, else the oldest behind it; never itself.
static uint32_t find_cause(const trace *tree, uint32_t effect) {
    digest id = tree->nodes[effect].causation;
    if (id.low == 0 && id.high == 0) return NO_NODE;
    uint32_t before = NO_NODE;
    uint32_t after = NO_NODE;
    size_t step = 0;
    for (;;) {
        uint32_t node = dbk_hash_map_find(&tree->by_id, id.low, &step);
        if (node == DBK_HASH_MAP_EMPTY) break;
        if (node == effect || !is_same(tree->nodes[node].id, id)) continue;
        if (node < effect && (before == NO_NODE || node > before)) before = node;
        if (node > effect && (after == NO_NODE || node < after)) after = node;
    }
    return before != NO_NODE ? before : after;
}

// Follows the parents of each node once; a walk that meets its own mark has found a loop.
static void cut_loops(trace *tree) {
    for (uint32_t start = 0; start < tree->count; start++) {
        uint32_t at = start;
        while (at != NO_NODE && tree->nodes[at].mark == 0) {
            tree->nodes[at].mark = start + 1;
            at = tree->nodes[at].parent;
        }
        if (at == NO_NODE || tree->nodes[at].mark != start + 1) continue;
        uint32_t lowest = at;
        for (uint32_t on = tree->nodes[at].parent; on != at; on = tree->nodes[on].parent)
            if (on < lowest) lowest = on;
        tree->nodes[lowest].parent = NO_NODE;
    }
}

// Children in order of position: linked from the last to the first. Returns the first root.
static uint32_t link_children(trace *tree) {
    uint32_t first_root = NO_NODE;
    for (uint32_t i = tree->count; i-- > 0;) {
        trace_node *node = &tree->nodes[i];
        uint32_t *list = node->parent == NO_NODE ? &first_root : &tree->nodes[node->parent].first_child;
        node->next_sibling = *list;
        *list = i;
    }
    return first_root;
}

// The event at a position: the next ones of the open cursor, or of a new one.
static daybook_status fetch(trace *tree, uint64_t position, daybook_recorded_event *event_out,
                            daybook_error *error) {
    for (int skipped = 0; tree->cursor != NULL && skipped < TRACE_SKIP_COUNT_MAX; skipped++) {
        daybook_status status = daybook_engine_next(tree->cursor, 0, event_out, error);
        if (status == DAYBOOK_END) break;
        DBK_TRY(status);
        if (event_out->position == position) return DAYBOOK_OK;
        if (event_out->position > position) break;
    }
    DBK_TRY(open_cursor(tree, position, error));
    daybook_status status = daybook_engine_next(tree->cursor, 0, event_out, error);
    if (status == DAYBOOK_OK && event_out->position != position) status = DAYBOOK_END;
    return status;
}

static daybook_status visit_node(trace *tree, uint32_t node, unsigned depth, int *stop_out,
                                 daybook_error *error) {
    daybook_recorded_event event;
    daybook_status status = fetch(tree, tree->nodes[node].position, &event, error);
    if (status == DAYBOOK_END) return DAYBOOK_OK; // Removed since the tree was built.
    DBK_TRY(status);
    *stop_out = tree->visit(tree->context, depth, &event);
    return DAYBOOK_OK;
}

static daybook_status walk_tree(trace *tree, uint32_t root, daybook_error *error) {
    DBK_TRY(open_cursor(tree, 0, error));
    unsigned depth = 0;
    int stop = 0;
    uint32_t at = root;
    while (at != NO_NODE) {
        DBK_TRY(visit_node(tree, at, depth, &stop, error));
        if (stop) return DAYBOOK_OK;
        if (tree->nodes[at].first_child != NO_NODE) {
            at = tree->nodes[at].first_child;
            depth++;
            continue;
        }
        while (tree->nodes[at].next_sibling == NO_NODE && tree->nodes[at].parent != NO_NODE) {
            at = tree->nodes[at].parent;
            depth--;
        }
        at = tree->nodes[at].next_sibling;
    }
    return DAYBOOK_OK;
}

static daybook_status run_trace(trace *tree, daybook_error *error) {
    DBK_TRY(read_nodes(tree, error));
    for (uint32_t i = 0; i < tree->count; i++) tree->nodes[i].parent = find_cause(tree, i);
    cut_loops(tree);
    return walk_tree(tree, link_children(tree), error);
}

daybook_status daybook_trace(daybook_engine *engine, daybook_slice correlation,
                             int (*visit)(void *context, unsigned depth, const daybook_recorded_event *event),
                             void *context, daybook_error *error) {
    if (engine == NULL || visit == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no engine or no visitor given");
    if (correlation.size == 0 || correlation.size > DAYBOOK_TEXT_SIZE_MAX)
        return dbk_fail(error, DAYBOOK_EINVALID, "correlation of %zu bytes: it has 1 to %d", correlation.size,
                        DAYBOOK_TEXT_SIZE_MAX);
    trace tree;
    memset(&tree, 0, sizeof tree);
    tree.engine = engine;
    tree.correlation = correlation;
    tree.visit = visit;
    tree.context = context;
    dbk_hash_map_init(&tree.by_id, dbk_allocator_default());
    daybook_status status = run_trace(&tree, error);
    daybook_engine_cursor_close(tree.cursor);
    dbk_hash_map_deinit(&tree.by_id);
    dbk_free(dbk_allocator_default(), tree.nodes);
    return status;
}
