// SPDX-License-Identifier: Apache-2.0
// See copy_rules.h. All texts are copied into the arena; nothing is kept of what was given.
//
// Two copies with equal keys copy the same in the same way: the key is the index name, and what that does not
// say.
#include "jetstream/copy_rules.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/time.h"
#include "daybook/subject.h"

enum { REWRITTEN_SIZE_MAX = 64 << 10 };

// ---- What a copy is told ----------------------------------------------------------------------------------

static bool copy_text(dbk_arena *arena, dbk_slice text, dbk_slice *copy_out) {
    *copy_out = daybook_bytes(NULL, 0);
    if (text.size == 0) return true;
    *copy_out = dbk_arena_copy_text(arena, text);
    return copy_out->data != NULL;
}

static daybook_status compile(dbk_arena *arena, const dbk_api_subject_transform *said,
                              const dbk_api_transform **transform_out) {
    dbk_slice source, destination;
    *transform_out = NULL;
    if (said->destination.size == 0) return DAYBOOK_OK;
    if (!copy_text(arena, said->source, &source) || !copy_text(arena, said->destination, &destination))
        return DAYBOOK_ENOMEM;
    return dbk_api_transform_new(source, destination, arena, transform_out, NULL);
}

static daybook_status take_filters(dbk_js_copy_rules *rules, dbk_arena *arena, const dbk_api_source *said) {
    const dbk_api_subject_transform *transforms = said->subject_transforms.items;
    size_t count = said->subject_transforms.count;
    rules->filter_count = count > 0 ? count : said->filter_subject.size > 0;
    if (rules->filter_count == 0) return DAYBOOK_OK;
    rules->filters = dbk_arena_alloc(arena, rules->filter_count * sizeof *rules->filters);
    rules->transforms = dbk_arena_alloc(arena, rules->filter_count * sizeof *rules->transforms);
    if (rules->filters == NULL || rules->transforms == NULL) return DAYBOOK_ENOMEM;
    rules->transforms[0] = NULL;
    if (count == 0)
        return copy_text(arena, said->filter_subject, &rules->filters[0]) ? DAYBOOK_OK : DAYBOOK_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (!copy_text(arena, dbk_api_source_filter(said, i), &rules->filters[i])) return DAYBOOK_ENOMEM;
        DBK_TRY(compile(arena, &transforms[i], &rules->transforms[i]));
    }
    return DAYBOOK_OK;
}

// The index name and what it does not say.
static daybook_status make_key(dbk_js_copy_rules *rules, dbk_arena *arena,
                               const dbk_api_stream_config *config) {
    const dbk_api_subject_transform *own = config->subject_transform;
    dbk_slice none = daybook_bytes("", 0);
    dbk_slice source = own == NULL ? none : own->source, destination = own == NULL ? none : own->destination;
    size_t size = rules->index_name.size + source.size + destination.size + 128;
    char *text = dbk_arena_alloc(arena, size);
    if (text == NULL) return DAYBOOK_ENOMEM;
    int used = snprintf(text, size, "%.*s\n%d %d %d %llu %lld\n%d%.*s\n%.*s", (int)rules->index_name.size,
                        (const char *)rules->index_name.data, rules->is_mirror, rules->allow_rollup,
                        rules->allow_ttl, (unsigned long long)rules->start_seq,
                        (long long)rules->start_time_ns, own != NULL, (int)source.size,
                        (const char *)source.data, (int)destination.size, (const char *)destination.data);
    if (used < 0 || (size_t)used >= size) return DAYBOOK_EINVALID; // defensive: it has room
    rules->key = daybook_bytes(text, (size_t)used);
    return DAYBOOK_OK;
}

daybook_status dbk_js_copy_rules_make(const dbk_api_stream_config *config, const dbk_api_source *said,
                                      dbk_arena *arena, dbk_js_copy_rules *rules_out) {
    dbk_js_copy_rules *rules = rules_out;
    *rules = (dbk_js_copy_rules){.is_mirror = said == config->mirror,
                                 .allow_rollup = config->allow_rollup_hdrs,
                                 .allow_ttl = config->allow_msg_ttl,
                                 .in_memory = config->storage == DAYBOOK_STORAGE_MEMORY,
                                 .start_seq = said->start_seq,
                                 .start_time_ns = said->start_time_ns};
    if (!copy_text(arena, said->name, &rules->source) ||
        !dbk_api_source_index_name(said, arena, &rules->index_name))
        return DAYBOOK_ENOMEM;
    DBK_TRY(take_filters(rules, arena, said));
    if (config->subject_transform != NULL)
        DBK_TRY(compile(arena, config->subject_transform, &rules->own_transform));
    return make_key(rules, arena, config);
}

// ---- An event copied --------------------------------------------------------------------------------------

static bool begins_with(dbk_slice text, const char *beginning) {
    size_t size = strlen(beginning);
    return text.size >= size && memcmp(text.data, beginning, size) == 0;
}

static bool equals_ignoring_case(dbk_slice text, const char *lower) {
    const char *at = text.data;
    if (text.size != strlen(lower)) return false;
    for (size_t i = 0; i < text.size; i++)
        if ((at[i] >= 'A' && at[i] <= 'Z' ? at[i] - 'A' + 'a' : at[i]) != lower[i]) return false;
    return true;
}

// Headers that told the other stream what to do.
static bool is_left_out(const dbk_js_copy_rules *rules, dbk_slice name) {
    if (!rules->allow_rollup && equals_ignoring_case(name, "nats-rollup")) return true;
    return begins_with(name, "Nats-Expected-") || begins_with(name, "Nats-Batch-") ||
           (!rules->is_mirror && dbk_slice_equal(name, daybook_text("Nats-Stream-Source")));
}

// "ORDERS 7 orders.> > orders.1"; empty: out of memory.
static dbk_slice make_source_header(const dbk_js_copy_rules *rules, dbk_arena *arena, uint64_t seq,
                                    dbk_slice subject) {
    size_t size = rules->index_name.size + subject.size + 32;
    char *text = dbk_arena_alloc(arena, size);
    if (text == NULL) return daybook_bytes(NULL, 0);
    dbk_slice filters = rules->index_name; // behind the name, its blank included
    filters.data = (const char *)filters.data + rules->source.size;
    filters.size -= rules->source.size;
    int used = snprintf(text, size, "%.*s %llu%.*s %.*s", (int)rules->source.size,
                        (const char *)rules->source.data, (unsigned long long)seq, (int)filters.size,
                        (const char *)filters.data, (int)subject.size, (const char *)subject.data);
    return used < 0 || (size_t)used >= size ? daybook_bytes(NULL, 0) : daybook_bytes(text, (size_t)used);
}

static bool copy_headers(const dbk_js_copy_rules *rules, dbk_arena *arena, const daybook_recorded_event *from,
                         daybook_event *event) {
    daybook_header *headers = dbk_arena_alloc(arena, (from->event.header_count + 1) * sizeof *headers);
    if (headers == NULL) return false;
    size_t count = 0;
    for (size_t i = 0; i < from->event.header_count; i++) {
        const daybook_header *said = &from->event.headers[i];
        if (is_left_out(rules, said->name)) continue;
        if (!copy_text(arena, said->name, &headers[count].name) ||
            !copy_text(arena, said->value, &headers[count].value))
            return false;
        if (!rules->is_mirror && dbk_slice_equal(said->name, daybook_text("Nats-Msg-Id")))
            event->id = headers[count].value;
        count++;
    }
    if (!rules->is_mirror && count < DAYBOOK_HEADER_COUNT_MAX) {
        headers[count].name = daybook_text("Nats-Stream-Source");
        headers[count].value = make_source_header(rules, arena, from->seq, from->event.subject);
        if (headers[count].value.size == 0) return false;
        count++;
    }
    event->headers = headers;
    event->header_count = count;
    return true;
}

static bool copy_tags(dbk_arena *arena, const daybook_event *from, daybook_event *event) {
    if (from->tag_count == 0) return true;
    dbk_slice *tags = dbk_arena_alloc(arena, from->tag_count * sizeof *tags);
    if (tags == NULL) return false;
    for (size_t i = 0; i < from->tag_count; i++)
        if (!copy_text(arena, from->tags[i], &tags[i])) return false;
    event->tags = tags;
    event->tag_count = from->tag_count;
    return true;
}

// False: out of memory.
static bool transform(dbk_arena *arena, const daybook_allocator *allocator, const dbk_api_transform *by,
                      dbk_slice *subject) {
    dbk_buf text;
    if (by == NULL) return true;
    dbk_buf_init(&text, allocator, REWRITTEN_SIZE_MAX);
    bool is_matched = dbk_api_transform_apply(by, *subject, &text);
    bool is_whole = dbk_buf_status(&text) == DAYBOOK_OK;
    if (is_matched && is_whole) is_whole = copy_text(arena, daybook_bytes(text.data, text.size), subject);
    dbk_buf_deinit(&text);
    return is_whole;
}

static bool copy_subject(const dbk_js_copy_rules *rules, dbk_arena *arena, const daybook_allocator *allocator,
                         dbk_slice from, dbk_slice *subject_out) {
    if (!copy_text(arena, from, subject_out)) return false;
    size_t at = 0;
    while (at < rules->filter_count && !daybook_filter_matches(rules->filters[at], from)) at++;
    if (at < rules->filter_count && !transform(arena, allocator, rules->transforms[at], subject_out))
        return false;
    return transform(arena, allocator, rules->own_transform, subject_out);
}

// A type that is the end of the subject was derived from it, and will be again.
static bool is_derived(dbk_slice type, dbk_slice subject) {
    if (type.size >= subject.size) return dbk_slice_equal(type, subject);
    const char *end = (const char *)subject.data + (subject.size - type.size);
    return end[-1] == '.' && memcmp(end, type.data, type.size) == 0;
}

// What is left of it, at least a second: what has outlived its time is not read.
static int64_t left_ttl_s(const dbk_js_copy_rules *rules, const daybook_recorded_event *from,
                          int64_t now_ns) {
    if (!rules->allow_ttl || from->event.ttl_s <= 0) return rules->allow_ttl ? from->event.ttl_s : 0;
    int64_t age_ns = now_ns - from->recorded_ns;
    int64_t left_s = from->event.ttl_s - (age_ns > 0 ? age_ns / DBK_SECOND_NS : 0);
    return left_s > 0 ? left_s : 1;
}

daybook_status dbk_js_copy_event(const dbk_js_copy_rules *rules, const daybook_recorded_event *from,
                                 int64_t now_ns, dbk_arena *arena, const daybook_allocator *allocator,
                                 daybook_event *event_out) {
    const daybook_event *said = &from->event;
    daybook_event *event = event_out;
    daybook_event_init(event);
    dbk_slice type = is_derived(said->type, said->subject) ? daybook_bytes(NULL, 0) : said->type;
    bool is_copied = copy_subject(rules, arena, allocator, said->subject, &event->subject) &&
                     copy_text(arena, said->data, &event->data) && copy_text(arena, type, &event->type) &&
                     copy_text(arena, said->schema, &event->schema) &&
                     copy_text(arena, said->correlation, &event->correlation) &&
                     copy_text(arena, said->causation, &event->causation) &&
                     copy_text(arena, said->actor, &event->actor) && copy_tags(arena, said, event) &&
                     copy_headers(rules, arena, from, event);
    if (!is_copied) return DAYBOOK_ENOMEM;
    event->time_ns = said->time_ns;
    event->ttl_s = left_ttl_s(rules, from, now_ns);
    return DAYBOOK_OK;
}
