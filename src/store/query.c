// SPDX-License-Identifier: Apache-2.0
// Queries: checked, copied, compiled to terms, matched against events. See query.h.
#include "store/query.h"

#include "base/assert.h"
#include "subject/subject.h"

enum {
    SCOPED_STREAMS_MAX = 8
}; // above it, subjects are looked up by their tokens instead of once per stream

void daybook_query_init(daybook_query *query) {
    *query = (daybook_query){.size = sizeof *query,
                             .recorded_since_ns = DAYBOOK_TIME_NONE,
                             .recorded_until_ns = DAYBOOK_TIME_NONE,
                             .time_since_ns = DAYBOOK_TIME_NONE,
                             .time_until_ns = DAYBOOK_TIME_NONE};
}

void daybook_query_item_init(daybook_query_item *item) {
    *item = (daybook_query_item){.size = sizeof *item};
}

static const daybook_query_item *item_at(const daybook_query_item *items, size_t index) {
    return (const daybook_query_item *)(const void *)((const char *)items + index * items[0].size);
}

// ---- Validation -------------------------------------------------------------------------------------------

static daybook_status check_filter(dbk_slice filter, daybook_error *error) {
    if (daybook_filter_is_valid(filter)) return DAYBOOK_OK;
    return dbk_fail(
        error, DAYBOOK_ESUBJECT,
        "'%.*s' is no subject filter: tokens joined by dots, with * for one and a final > for the rest",
        (int)(filter.size < 200 ? filter.size : 200), (const char *)filter.data);
}

static daybook_status check_text(dbk_slice text, const char *what, bool may_be_empty, daybook_error *error) {
    if (text.size == 0 && may_be_empty) return DAYBOOK_OK;
    if (text.size == 0 || text.size > DAYBOOK_TEXT_SIZE_MAX || !dbk_is_plain_text(text))
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "the %s to look for is not 1 to %d bytes of plain UTF-8 text", what,
                        DAYBOOK_TEXT_SIZE_MAX);
    return DAYBOOK_OK;
}

static daybook_status check_texts(const dbk_slice *texts, size_t count, const char *what,
                                  daybook_error *error) {
    for (size_t i = 0; i < count; i++) DBK_TRY(check_text(texts[i], what, false, error));
    return DAYBOOK_OK;
}

daybook_status dbk_query_items_validate(const daybook_query_item *items, size_t count, daybook_error *error) {
    // A size of 0 would make every item the first one, and the others would go unnoticed.
    if (count > 0 && items[0].size < sizeof items[0])
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "the query item was not initialised with daybook_query_item_init");
    for (size_t i = 0; i < count; i++) {
        const daybook_query_item *item = item_at(items, i);
        if (item->type_count == 0 && item->tag_count == 0 && item->filter.size == 0)
            return dbk_fail(error, DAYBOOK_EINVALID,
                            "item %zu of the query is empty: name a type, a tag or a subject", i + 1);
        if (item->filter.size > 0) DBK_TRY(check_filter(item->filter, error));
        DBK_TRY(check_texts(item->types, item->type_count, "type", error));
        DBK_TRY(check_texts(item->tags, item->tag_count, "tag", error));
    }
    return DAYBOOK_OK;
}

daybook_status dbk_query_validate(const daybook_query *query, daybook_error *error) {
    if (query->size < sizeof *query)
        return dbk_fail(error, DAYBOOK_EMISUSE, "the query was not initialised with daybook_query_init");
    if ((query->flags & DAYBOOK_QUERY_FOLLOW) != 0 && (query->flags & DAYBOOK_QUERY_REVERSE) != 0)
        return dbk_fail(error, DAYBOOK_EINVALID, "a query cannot follow backwards");
    for (size_t i = 0; i < query->filter_count; i++) DBK_TRY(check_filter(query->filters[i], error));
    DBK_TRY(check_texts(query->types, query->type_count, "type", error));
    DBK_TRY(check_texts(query->tags, query->tag_count, "tag", error));
    DBK_TRY(check_text(query->correlation, "correlation", true, error));
    DBK_TRY(check_text(query->causation, "causation", true, error));
    DBK_TRY(check_text(query->actor, "actor", true, error));
    DBK_TRY(check_text(query->id, "id", true, error));
    return dbk_query_items_validate(query->items, query->item_count, error);
}

// ---- Copying ----------------------------------------------------------------------------------------------

daybook_status dbk_copy_slice(dbk_arena *arena, dbk_slice *slice) {
    if (slice->size == 0) return DAYBOOK_OK;
    void *copy = dbk_arena_alloc(arena, slice->size);
    if (copy == NULL) return DAYBOOK_ENOMEM;
    memcpy(copy, slice->data, slice->size);
    slice->data = copy;
    return DAYBOOK_OK;
}

static daybook_status copy_slices(dbk_arena *arena, const dbk_slice **slices, size_t count) {
    if (count == 0) return DAYBOOK_OK;
    dbk_slice *copies = dbk_arena_alloc(arena, count * sizeof *copies);
    if (copies == NULL) return DAYBOOK_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        copies[i] = (*slices)[i];
        DBK_TRY(dbk_copy_slice(arena, &copies[i]));
    }
    *slices = copies;
    return DAYBOOK_OK;
}

daybook_status dbk_query_items_copy(const daybook_query_item *items, size_t count, dbk_arena *arena,
                                    const daybook_query_item **copies_out) {
    *copies_out = NULL;
    if (count == 0) return DAYBOOK_OK;
    daybook_query_item *copies = dbk_arena_alloc(arena, count * sizeof *copies);
    if (copies == NULL) return DAYBOOK_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        copies[i] = *item_at(items, i);
        copies[i].size = sizeof *copies;
        DBK_TRY(copy_slices(arena, &copies[i].types, copies[i].type_count));
        DBK_TRY(copy_slices(arena, &copies[i].tags, copies[i].tag_count));
        DBK_TRY(dbk_copy_slice(arena, &copies[i].filter));
    }
    *copies_out = copies;
    return DAYBOOK_OK;
}

daybook_status dbk_query_copy(const daybook_query *query, dbk_arena *arena, daybook_query *copy_out) {
    daybook_query copy = *query;
    DBK_TRY(dbk_copy_slice(arena, &copy.stream));
    DBK_TRY(copy_slices(arena, &copy.filters, copy.filter_count));
    DBK_TRY(copy_slices(arena, &copy.types, copy.type_count));
    DBK_TRY(copy_slices(arena, &copy.tags, copy.tag_count));
    DBK_TRY(dbk_copy_slice(arena, &copy.correlation));
    DBK_TRY(dbk_copy_slice(arena, &copy.causation));
    DBK_TRY(dbk_copy_slice(arena, &copy.actor));
    DBK_TRY(dbk_copy_slice(arena, &copy.id));
    DBK_TRY(dbk_query_items_copy(query->items, query->item_count, arena, &copy.items));
    *copy_out = copy;
    return DAYBOOK_OK;
}

// ---- Matching ---------------------------------------------------------------------------------------------

static bool one_of(const dbk_slice *texts, size_t count, dbk_slice text) {
    for (size_t i = 0; i < count; i++) {
        if (dbk_slice_equal(texts[i], text)) return true;
    }
    return false;
}

static bool has_tags(const dbk_event *event, const dbk_slice *tags, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!dbk_event_has_tag(event, tags[i])) return false;
    }
    return true;
}

bool dbk_item_matches(const daybook_query_item *item, const dbk_event *event) {
    if (item->type_count > 0 && !one_of(item->types, item->type_count, dbk_event_type(event))) return false;
    if (!has_tags(event, item->tags, item->tag_count)) return false;
    return item->filter.size == 0 || daybook_filter_matches(item->filter, event->subject);
}

static bool key_equals(dbk_slice key, dbk_slice text) {
    if (text.size == 0) return true;
    char scratch[37];
    return key.size > 0 && dbk_slice_equal(dbk_key_text(key, scratch), text);
}

static bool matches_filters(const daybook_query *query, const dbk_event *event) {
    if (query->filter_count == 0) return true;
    for (size_t i = 0; i < query->filter_count; i++) {
        if (daybook_filter_matches(query->filters[i], event->subject)) return true;
    }
    return false;
}

static bool in_time(int64_t time_ns, int64_t since_ns, int64_t until_ns) {
    return (since_ns == DAYBOOK_TIME_NONE || time_ns >= since_ns) &&
           (until_ns == DAYBOOK_TIME_NONE || time_ns < until_ns);
}

static bool in_range(uint64_t value, uint64_t from, uint64_t to) {
    return value >= from && (to == 0 || value <= to);
}

bool dbk_query_matches(const daybook_query *query, const dbk_event *event) {
    if (!in_range(event->seq, query->seq_from, query->seq_to)) return false;
    if (!in_range(event->version, query->version_from, query->version_to)) return false;
    if (!in_time(event->recorded_ns, query->recorded_since_ns, query->recorded_until_ns)) return false;
    if (!in_time(event->time_ns, query->time_since_ns, query->time_until_ns)) return false;
    if (!matches_filters(query, event)) return false;
    if (query->type_count > 0 && !one_of(query->types, query->type_count, dbk_event_type(event)))
        return false;
    if (!has_tags(event, query->tags, query->tag_count)) return false;
    if (query->actor.size > 0 && !dbk_slice_equal(query->actor, event->actor)) return false;
    if (!key_equals(event->correlation_key, query->correlation)) return false;
    if (!key_equals(event->causation_key, query->causation)) return false;
    if (!key_equals(event->id_key, query->id)) return false;
    for (size_t i = 0; i < query->item_count; i++) {
        if (dbk_item_matches(&query->items[i], event)) return true;
    }
    return query->item_count == 0;
}

// ---- Compiling --------------------------------------------------------------------------------------------

typedef struct compiler {
    daybook_store *store;
    dbk_arena *arena;
    const dbk_stream *stream; // the only one, or NULL
    dbk_stream **streams;     // scope of literal subjects where there are few; else NULL
    size_t stream_count;
} compiler;

static daybook_status new_clause(compiler *compiling, size_t term_capacity, dbk_clause *clause_out) {
    clause_out->terms = dbk_arena_alloc(compiling->arena, (term_capacity + 1) * sizeof *clause_out->terms);
    clause_out->term_count = 0;
    clause_out->exact = true;
    return clause_out->terms == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
}

static daybook_status add_term(compiler *compiling, dbk_clause *clause, dbk_term_kind kind,
                               uint32_t stream_id, dbk_slice value) {
    dbk_term term;
    dbk_term_make(&term, kind, stream_id, value);
    dbk_slice copy = dbk_term_slice(&term);
    DBK_TRY(dbk_copy_slice(compiling->arena, &copy));
    clause->terms[clause->term_count++] = copy;
    return DAYBOOK_OK;
}

// The literal tokens among the first four.
static daybook_status add_tokens(compiler *compiling, dbk_clause *clause, dbk_slice filter) {
    for (uint32_t i = 0; i < 4; i++) {
        dbk_slice token = dbk_subject_token(filter, i);
        if (token.size == 0 || dbk_slice_equal(token, daybook_text(">"))) break;
        if (dbk_slice_equal(token, daybook_text("*"))) continue;
        DBK_TRY(add_term(compiling, clause, (dbk_term_kind)(DBK_TERM_TOKEN_0 + i), 0, token));
    }
    if (!dbk_slice_equal(filter, daybook_text(">"))) clause->exact = false;
    return DAYBOOK_OK;
}

// Terms of a filter within one stream.
static daybook_status add_scoped_filter(compiler *compiling, dbk_clause *clause, const dbk_stream *stream,
                                        dbk_slice filter) {
    if (dbk_filter_is_literal(filter))
        return add_term(compiling, clause, DBK_TERM_SUBJECT, stream->id, filter);
    size_t prefix_size = dbk_filter_prefix_size(filter);
    dbk_slice prefix = daybook_bytes(filter.data, prefix_size);
    if (prefix_size > 0 && stream->aggregate_tokens > 0 &&
        dbk_subject_token_count(prefix) == stream->aggregate_tokens)
        return add_term(compiling, clause, DBK_TERM_AGGREGATE, stream->id, prefix);
    return add_tokens(compiling, clause, filter);
}

// Would looking it up per stream help?
static bool is_scopable(dbk_slice filter) {
    return dbk_filter_is_literal(filter) || dbk_filter_prefix_size(filter) > 0;
}

// Clauses of a filter, `extra` more terms of room in each.
static daybook_status add_filter_clauses(compiler *compiling, dbk_slice filter, size_t extra,
                                         dbk_clause *clauses, size_t *count) {
    if (compiling->stream == NULL && compiling->streams != NULL && is_scopable(filter)) {
        for (size_t i = 0; i < compiling->stream_count; i++) {
            dbk_clause *clause = &clauses[(*count)++];
            DBK_TRY(new_clause(compiling, 4 + extra, clause));
            DBK_TRY(add_scoped_filter(compiling, clause, compiling->streams[i], filter));
        }
        return DAYBOOK_OK;
    }
    dbk_clause *clause = &clauses[(*count)++];
    DBK_TRY(new_clause(compiling, 4 + extra, clause));
    if (compiling->stream != NULL) return add_scoped_filter(compiling, clause, compiling->stream, filter);
    return add_tokens(compiling, clause, filter);
}

static size_t clauses_per_filter(const compiler *compiling) {
    return compiling->stream == NULL && compiling->streams != NULL ? compiling->stream_count + 1 : 1;
}

static daybook_status compile_filters(compiler *compiling, const dbk_slice *filters, size_t count,
                                      dbk_group *group) {
    group->clauses =
        dbk_arena_alloc(compiling->arena, count * clauses_per_filter(compiling) * sizeof *group->clauses + 1);
    if (group->clauses == NULL) return DAYBOOK_ENOMEM;
    group->clause_count = 0;
    for (size_t i = 0; i < count; i++)
        DBK_TRY(add_filter_clauses(compiling, filters[i], 0, group->clauses, &group->clause_count));
    return DAYBOOK_OK;
}

static daybook_status compile_texts(compiler *compiling, dbk_term_kind kind, const dbk_slice *texts,
                                    size_t count, dbk_group *group) {
    group->clauses = dbk_arena_alloc(compiling->arena, count * sizeof *group->clauses);
    if (group->clauses == NULL) return DAYBOOK_ENOMEM;
    group->clause_count = count;
    for (size_t i = 0; i < count; i++) {
        DBK_TRY(new_clause(compiling, 1, &group->clauses[i]));
        DBK_TRY(add_term(compiling, &group->clauses[i], kind, 0, texts[i]));
    }
    return DAYBOOK_OK;
}

static daybook_status compile_stream(compiler *compiling, dbk_group *group) {
    group->clauses = dbk_arena_alloc(compiling->arena, sizeof *group->clauses);
    if (group->clauses == NULL) return DAYBOOK_ENOMEM;
    group->clause_count = 1;
    DBK_TRY(new_clause(compiling, 1, &group->clauses[0]));
    return add_term(compiling, &group->clauses[0], DBK_TERM_STREAM, compiling->stream->id,
                    daybook_bytes(NULL, 0));
}

// Subjects and aggregates are terms of one stream: what has them is of it.
static bool names_its_stream(const dbk_group *group) {
    for (size_t i = 0; i < group->clause_count; i++) {
        const dbk_clause *clause = &group->clauses[i];
        if (clause->term_count == 0) return false;
        uint8_t kind = *(const uint8_t *)clause->terms[0].data;
        if (kind != DBK_TERM_SUBJECT && kind != DBK_TERM_AGGREGATE) return false;
    }
    return true;
}

static daybook_status compile_key(compiler *compiling, dbk_term_kind kind, dbk_slice text, dbk_group *group) {
    uint8_t scratch[DBK_KEY_SIZE_MAX];
    dbk_slice key = dbk_key_encode(text, scratch);
    return compile_texts(compiling, kind, &key, 1, group);
}

// One item: its filter's clauses, each with all tags, once per type.
static daybook_status compile_item(compiler *compiling, const daybook_query_item *item, dbk_group *group) {
    size_t base = group->clause_count;
    size_t extra = item->tag_count + 1;
    if (item->filter.size > 0) {
        DBK_TRY(add_filter_clauses(compiling, item->filter, extra, group->clauses, &group->clause_count));
    } else {
        DBK_TRY(new_clause(compiling, extra, &group->clauses[group->clause_count++]));
    }
    for (size_t i = base; i < group->clause_count; i++) {
        for (size_t j = 0; j < item->tag_count; j++)
            DBK_TRY(add_term(compiling, &group->clauses[i], DBK_TERM_TAG, 0, item->tags[j]));
    }
    size_t end = group->clause_count;
    for (size_t type = 1; type < item->type_count; type++) {
        for (size_t i = base; i < end; i++) {
            dbk_clause *copy = &group->clauses[group->clause_count++];
            DBK_TRY(new_clause(compiling, group->clauses[i].term_count + 1, copy));
            memcpy(copy->terms, group->clauses[i].terms, group->clauses[i].term_count * sizeof *copy->terms);
            copy->term_count = group->clauses[i].term_count;
            copy->exact = group->clauses[i].exact;
            DBK_TRY(add_term(compiling, copy, DBK_TERM_TYPE, 0, item->types[type]));
        }
    }
    for (size_t i = base; item->type_count > 0 && i < end; i++)
        DBK_TRY(add_term(compiling, &group->clauses[i], DBK_TERM_TYPE, 0, item->types[0]));
    return DAYBOOK_OK;
}

static daybook_status compile_items(compiler *compiling, const daybook_query_item *items, size_t count,
                                    dbk_group *group) {
    size_t clauses = 0;
    for (size_t i = 0; i < count; i++) {
        const daybook_query_item *item = item_at(items, i);
        clauses += (item->filter.size > 0 ? clauses_per_filter(compiling) : 1) *
                   (item->type_count > 0 ? item->type_count : 1);
    }
    group->clauses = dbk_arena_alloc(compiling->arena, clauses * sizeof *group->clauses + 1);
    if (group->clauses == NULL) return DAYBOOK_ENOMEM;
    group->clause_count = 0;
    for (size_t i = 0; i < count; i++) DBK_TRY(compile_item(compiling, item_at(items, i), group));
    return DAYBOOK_OK;
}

// The streams a query without stream reads, where they are few: then subjects can be looked up in each.
static daybook_status find_scope(compiler *compiling, uint32_t flags) {
    if (compiling->stream != NULL) return DAYBOOK_OK;
    dbk_stream **streams;
    size_t count, kept = 0;
    DBK_TRY(dbk_stream_table_all(compiling->store->streams, &streams, &count));
    dbk_stream **scope = dbk_arena_alloc(compiling->arena, (SCOPED_STREAMS_MAX + 1) * sizeof *scope);
    for (size_t i = 0; scope != NULL && i < count && kept <= SCOPED_STREAMS_MAX; i++) {
        const daybook_stream_config *config = atomic_load(&streams[i]->config);
        if ((config->flags & DAYBOOK_STREAM_INTERNAL) != 0 && (flags & DAYBOOK_QUERY_INTERNAL) == 0) continue;
        scope[kept++] = streams[i];
    }
    dbk_free(compiling->store->allocator, streams);
    if (scope == NULL) return DAYBOOK_ENOMEM;
    // A follower must also find events of streams that are added later.
    if (kept <= SCOPED_STREAMS_MAX && (flags & DAYBOOK_QUERY_FOLLOW) == 0) {
        compiling->streams = scope;
        compiling->stream_count = kept;
    }
    return DAYBOOK_OK;
}

daybook_status dbk_query_compile_items(daybook_store *store, const daybook_query_item *items,
                                       size_t item_count, const dbk_stream *stream, uint32_t flags,
                                       dbk_arena *arena, dbk_group *group_out) {
    compiler compiling = {.store = store, .arena = arena, .stream = stream};
    DBK_TRY(find_scope(&compiling, flags));
    return compile_items(&compiling, items, item_count, group_out);
}

daybook_status dbk_query_compile(daybook_store *store, const daybook_query *query, const dbk_stream *stream,
                                 dbk_arena *arena, dbk_compiled *compiled_out) {
    compiler compiling = {.store = store, .arena = arena, .stream = stream};
    DBK_TRY(find_scope(&compiling, query->flags));
    size_t groups_max = 8 + query->tag_count;
    dbk_group *groups = dbk_arena_alloc(arena, groups_max * sizeof *groups);
    if (groups == NULL) return DAYBOOK_ENOMEM;
    size_t count = 0;
    if (query->filter_count > 0)
        DBK_TRY(compile_filters(&compiling, query->filters, query->filter_count, &groups[count++]));
    // Its list is the longest of all, and each source would look it up for nothing.
    bool is_said = count > 0 && names_its_stream(&groups[0]);
    if (stream != NULL && !is_said) DBK_TRY(compile_stream(&compiling, &groups[count++]));
    if (query->type_count > 0)
        DBK_TRY(compile_texts(&compiling, DBK_TERM_TYPE, query->types, query->type_count, &groups[count++]));
    for (size_t i = 0; i < query->tag_count; i++)
        DBK_TRY(compile_texts(&compiling, DBK_TERM_TAG, &query->tags[i], 1, &groups[count++]));
    if (query->correlation.size > 0)
        DBK_TRY(compile_key(&compiling, DBK_TERM_CORRELATION, query->correlation, &groups[count++]));
    if (query->causation.size > 0)
        DBK_TRY(compile_key(&compiling, DBK_TERM_CAUSATION, query->causation, &groups[count++]));
    if (query->actor.size > 0)
        DBK_TRY(compile_texts(&compiling, DBK_TERM_ACTOR, &query->actor, 1, &groups[count++]));
    if (query->item_count > 0)
        DBK_TRY(compile_items(&compiling, query->items, query->item_count, &groups[count++]));
    compiled_out->groups = groups;
    compiled_out->group_count = count;
    return DAYBOOK_OK;
}
