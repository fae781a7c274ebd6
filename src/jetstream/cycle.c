// SPDX-License-Identifier: Apache-2.0
// Cycles among mirrors and sources, looked for against the way that messages take:
//
//     X --filter f, transform--> ... --> the stream     step: what leaves X and may come there matches f
//
// A step back, to what X copies itself, is made where what comes in there may match f. What a transform makes
// is taken as its destination up to the first token that depends on the subject, and anything behind; of a
// stream with a transform of its own as anything. So a cycle may be seen where there is none, but none is
// passed over. When a step arrives at the stream itself, what comes in there must match, too, to go round
// again.
//
// Each filter of each stream is a step once, so this ends, and costs no more than the filters there are.
#include "jetstream/cycle.h"

#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "daybook/stream.h"
#include "daybook/subject.h"

typedef struct step {
    struct step *next;
    dbk_slice stream; // that is copied
    dbk_slice demand; // what of it
} step;

typedef struct visited {
    struct visited *next;
    daybook_stream_info *info;    // a reference
    dbk_api_stream_config config; // borrows from it
    bool *is_done;                // of all filters of its sources, one behind another
} visited;

typedef struct walk {
    daybook_store *store;
    dbk_arena *arena;
    const dbk_api_stream_config *begin;
    visited *first_visited;
    step *first_step;
} walk;

// "a.$1.b" -> "a.>". ENOMEM.
static daybook_status widen(dbk_slice destination, dbk_arena *arena, dbk_slice *subjects_out) {
    const char *text = destination.data;
    size_t begin = 0, end = 0; // of a token
    *subjects_out = destination;
    for (; begin < destination.size; begin = end + 1) {
        end = begin;
        bool depends = false;
        for (; end < destination.size && text[end] != '.'; end++)
            depends |= text[end] == '$' || text[end] == '{';
        if (!depends) continue;
        char *wide = dbk_arena_alloc(arena, begin + 1);
        if (wide == NULL) return DAYBOOK_ENOMEM;
        if (begin > 0) memcpy(wide, text, begin);
        wide[begin] = '>';
        *subjects_out = daybook_bytes(wide, begin + 1);
        return DAYBOOK_OK;
    }
    return DAYBOOK_OK;
}

// What comes into a stream by a filter of its source.
static daybook_status find_subjects(const dbk_api_stream_config *config, const dbk_api_source *source,
                                    size_t index, dbk_arena *arena, dbk_slice *subjects_out) {
    const dbk_api_subject_transform *transforms = source->subject_transforms.items;
    *subjects_out = dbk_api_source_filter(source, index);
    if (config->subject_transform != NULL) {
        *subjects_out = daybook_text(">");
    } else if (source->subject_transforms.count > 0 && transforms[index].destination.size > 0) {
        return widen(transforms[index].destination, arena, subjects_out);
    }
    return DAYBOOK_OK;
}

static daybook_status push(walk *of, const dbk_api_source *source, size_t index) {
    step *made = dbk_arena_alloc(of->arena, sizeof *made);
    if (made == NULL) return DAYBOOK_ENOMEM;
    *made = (step){
        .next = of->first_step, .stream = source->name, .demand = dbk_api_source_filter(source, index)};
    of->first_step = made;
    return DAYBOOK_OK;
}

// What another stream copies, kept for the walk; *visited_out is NULL where there is no such stream.
static daybook_status visit(walk *of, dbk_slice name, visited **visited_out, daybook_error *error) {
    dbk_api_error refused;
    for (*visited_out = of->first_visited; *visited_out != NULL; *visited_out = (*visited_out)->next)
        if (dbk_slice_equal((*visited_out)->info->config.name, name)) return DAYBOOK_OK;
    daybook_stream_info *info;
    daybook_status status = daybook_stream_get_info(of->store, name, &info, error);
    if (status != DAYBOOK_OK) return status == DAYBOOK_ENOTFOUND ? DAYBOOK_OK : status;
    visited *made = dbk_arena_alloc(of->arena, sizeof *made);
    if (made == NULL) {
        daybook_stream_info_release(of->store, info);
        return DAYBOOK_ENOMEM;
    }
    *made = (visited){.next = of->first_visited, .info = info};
    of->first_visited = made;
    if (!dbk_api_stream_config_from_store(&info->config, of->arena, &made->config, &refused))
        return DAYBOOK_EDAMAGED;
    size_t count = 0;
    for (size_t i = 0; i < dbk_api_source_count(&made->config); i++)
        count += dbk_api_source_filter_count(dbk_api_source_at(&made->config, i));
    made->is_done = dbk_arena_alloc(of->arena, count * sizeof *made->is_done);
    if (made->is_done == NULL) return DAYBOOK_ENOMEM;
    memset(made->is_done, 0, count * sizeof *made->is_done);
    *visited_out = made;
    return DAYBOOK_OK;
}

// From a stream back to what it copies.
static daybook_status step_back(walk *of, visited *from, dbk_slice demand) {
    bool *is_done = from->is_done;
    for (size_t i = 0; i < dbk_api_source_count(&from->config); i++) {
        const dbk_api_source *source = dbk_api_source_at(&from->config, i);
        for (size_t j = 0; j < dbk_api_source_filter_count(source); j++, is_done++) {
            dbk_slice subjects;
            DBK_TRY(find_subjects(&from->config, source, j, of->arena, &subjects));
            if (*is_done || !daybook_filters_overlap(subjects, demand)) continue;
            *is_done = true;
            DBK_TRY(push(of, source, j));
        }
    }
    return DAYBOOK_OK;
}

// Back at the stream: can what comes in there be what was asked for?
static daybook_status arrive(const walk *of, dbk_slice demand, bool *has_cycle_out) {
    for (size_t i = 0; i < dbk_api_source_count(of->begin); i++) {
        const dbk_api_source *source = dbk_api_source_at(of->begin, i);
        for (size_t j = 0; j < dbk_api_source_filter_count(source); j++) {
            dbk_slice subjects;
            DBK_TRY(find_subjects(of->begin, source, j, of->arena, &subjects));
            if (daybook_filters_overlap(subjects, demand)) *has_cycle_out = true;
        }
    }
    return DAYBOOK_OK;
}

static daybook_status take_step(walk *of, const step *taken, bool *has_cycle_out, daybook_error *error) {
    visited *from = NULL;
    if (dbk_slice_equal(taken->stream, of->begin->name)) return arrive(of, taken->demand, has_cycle_out);
    DBK_TRY(visit(of, taken->stream, &from, error));
    return from == NULL ? DAYBOOK_OK : step_back(of, from, taken->demand);
}

static daybook_status walk_all(walk *of, bool *has_cycle_out, daybook_error *error) {
    for (size_t i = 0; i < dbk_api_source_count(of->begin); i++) {
        const dbk_api_source *source = dbk_api_source_at(of->begin, i);
        for (size_t j = 0; j < dbk_api_source_filter_count(source); j++) DBK_TRY(push(of, source, j));
    }
    while (of->first_step != NULL && !*has_cycle_out) {
        const step *taken = of->first_step;
        of->first_step = taken->next;
        DBK_TRY(take_step(of, taken, has_cycle_out, error));
    }
    return DAYBOOK_OK;
}

daybook_status dbk_js_find_cycle(daybook_store *store, const dbk_api_stream_config *config, dbk_arena *arena,
                                 bool *has_cycle_out, daybook_error *error) {
    walk of = {.store = store, .arena = arena, .begin = config};
    *has_cycle_out = false;
    daybook_status status = walk_all(&of, has_cycle_out, error);
    for (visited *at = of.first_visited; at != NULL; at = at->next)
        daybook_stream_info_release(store, at->info);
    return status;
}
