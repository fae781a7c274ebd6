// SPDX-License-Identifier: Apache-2.0
#include "model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- Memory ----------------------------------------------------------------------------------------------

static void *grow(void *array, size_t *capacity, size_t count, size_t size) {
    if (count < *capacity) return array;
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    void *grown = realloc(array, *capacity * size);
    if (grown == NULL) abort();
    return grown;
}

void model_init(model *store) {
    memset(store, 0, sizeof *store);
}

void model_deinit(model *store) {
    for (size_t i = 0; i < store->kept_count; i++) free(store->kept[i]);
    free(store->kept);
    free(store->streams);
    free(store->events);
}

void *model_alloc(model *store, size_t size) {
    void *data = calloc(1, size + 1);
    if (data == NULL) abort();
    store->kept = grow(store->kept, &store->kept_capacity, store->kept_count, sizeof *store->kept);
    store->kept[store->kept_count++] = data;
    return data;
}

const char *model_text(model *store, const char *format, ...) {
    char text[1200];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size < 0) abort();
    char *kept = model_alloc(store, strlen(text));
    memcpy(kept, text, strlen(text));
    return kept;
}

static bool slice_is(daybook_slice slice, const char *text) {
    return slice.size == strlen(text) && (slice.size == 0 || memcmp(slice.data, text, slice.size) == 0);
}

// ---- Subjects --------------------------------------------------------------------------------------------

bool model_filter_matches(const char *filter, size_t filter_size, const char *subject) {
    const char *end = filter + filter_size;
    for (;;) {
        size_t filter_token = 0, subject_token = strcspn(subject, ".");
        while (filter + filter_token < end && filter[filter_token] != '.') filter_token++;
        if (filter_token == 1 && *filter == '>') return true;
        bool any = filter_token == 1 && *filter == '*';
        if (!any && (filter_token != subject_token || memcmp(filter, subject, filter_token) != 0))
            return false;
        filter += filter_token;
        subject += subject_token;
        if (filter == end || *subject == '\0') return filter == end && *subject == '\0';
        filter++;
        subject++;
    }
}

static bool filter_slice_matches(daybook_slice filter, const char *subject) {
    return model_filter_matches(filter.data, filter.size, subject);
}

// The leading tokens, "" where there are no further ones.
static void aggregate_of(const char *subject, uint32_t tokens, char aggregate_out[128]) {
    size_t size = 0;
    for (uint32_t i = 0; i < tokens; i++) {
        if (i > 0) size++;
        size += strcspn(subject + size, ".");
        if (subject[size] == '\0') {
            aggregate_out[0] = '\0';
            return;
        }
    }
    memcpy(aggregate_out, subject, size);
    aggregate_out[size] = '\0';
}

static const char *type_of(const model_said *said, const char *aggregate) {
    if (said->type[0] != '\0') return said->type;
    if (aggregate[0] != '\0') return said->subject + strlen(aggregate) + 1;
    const char *dot = strrchr(said->subject, '.');
    return dot == NULL ? said->subject : dot + 1;
}

// ---- Streams ---------------------------------------------------------------------------------------------

size_t model_find_stream(const model *store, daybook_slice name) {
    for (size_t i = 0; i < store->stream_count; i++) {
        if (!store->streams[i]->removed && slice_is(name, store->streams[i]->name)) return i;
    }
    return MODEL_NONE;
}

size_t model_capture(const model *store, daybook_slice subject) {
    char text[1100];
    memcpy(text, subject.data, subject.size);
    text[subject.size] = '\0';
    for (size_t i = 0; i < store->stream_count; i++) {
        const model_stream *stream = store->streams[i];
        for (size_t j = 0; !stream->removed && j < stream->config.subject_count; j++) {
            if (filter_slice_matches(stream->subject_slices[j], text)) return i;
        }
    }
    return MODEL_NONE;
}

static void set_config(model *store, model_stream *stream, const daybook_stream_config *config) {
    stream->config = *config;
    stream->config.name = daybook_text(stream->name);
    for (size_t i = 0; i < config->subject_count; i++) {
        stream->subjects[i] =
            model_text(store, "%.*s", (int)config->subjects[i].size, (const char *)config->subjects[i].data);
        stream->subject_slices[i] = daybook_text(stream->subjects[i]);
    }
    stream->config.subjects = stream->subject_slices;
    stream->config.description =
        daybook_text(model_text(store, "%.*s", (int)config->description.size,
                                config->description.size == 0 ? "" : (const char *)config->description.data));
    bool internal = stream->name[0] == '$' || strncmp(stream->name, "KV_", 3) == 0;
    if (internal) stream->config.flags |= DAYBOOK_STREAM_INTERNAL;
}

size_t model_add_stream(model *store, const daybook_stream_config *config) {
    model_stream *stream = model_alloc(store, sizeof *stream);
    stream->name = model_text(store, "%.*s", (int)config->name.size, (const char *)config->name.data);
    set_config(store, stream, config);
    store->streams =
        grow(store->streams, &store->stream_capacity, store->stream_count, sizeof *store->streams);
    store->streams[store->stream_count] = stream;
    return store->stream_count++;
}

daybook_status model_check_add(const model *store, const daybook_stream_config *config) {
    if (model_find_stream(store, config->name) != MODEL_NONE) return DAYBOOK_EEXISTS;
    for (size_t i = 0; i < store->stream_count; i++) {
        const model_stream *stream = store->streams[i];
        for (size_t j = 0; !stream->removed && j < stream->config.subject_count; j++) {
            for (size_t k = 0; k < config->subject_count; k++) {
                if (daybook_filters_overlap(stream->subject_slices[j], config->subjects[k]))
                    return DAYBOOK_EOVERLAP;
            }
        }
    }
    return DAYBOOK_OK;
}

static uint64_t cost_of(const model_said *said) {
    uint64_t cost = 40 + strlen(said->subject) + said->data_size;
    for (size_t i = 0; i < said->header_count; i++) {
        size_t name = strlen(said->header_names[i]), value = strlen(said->header_values[i]);
        cost += name + value + (name < 128 ? 1 : 2) + (value < 128 ? 1 : 2);
    }
    return cost;
}

bool model_is_visible(const model *store, const model_event *event) {
    return event->position <= store->visible_position;
}

// Live and visible.
static bool counts_for(const model *store, size_t stream, const model_event *event) {
    return event->stream == stream && event->state == MODEL_LIVE && model_is_visible(store, event);
}

uint64_t model_message_count(const model *store, size_t stream) {
    uint64_t count = 0;
    for (size_t i = 0; i < store->event_count; i++) count += counts_for(store, stream, &store->events[i]);
    return count;
}

uint64_t model_last_seq(const model *store, size_t stream) {
    for (size_t i = store->event_count; i-- > 0;) {
        const model_event *event = &store->events[i];
        if (event->stream == stream && model_is_visible(store, event)) return event->seq;
    }
    return 0;
}

uint64_t model_byte_count(const model *store, size_t stream) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < store->event_count; i++) {
        if (counts_for(store, stream, &store->events[i])) bytes += cost_of(store->events[i].said);
    }
    return bytes;
}

size_t model_first_live(const model *store, size_t stream) {
    for (size_t i = 0; i < store->event_count; i++) {
        if (counts_for(store, stream, &store->events[i])) return i;
    }
    return MODEL_NONE;
}

bool model_is_expired(const model *store, size_t event, int64_t now_ns) {
    int64_t max_age_ns = store->streams[store->events[event].stream]->config.max_age_ns;
    return max_age_ns > 0 && store->events[event].recorded_ns <= now_ns - max_age_ns;
}

void model_expire_before(model *store, size_t stream, uint64_t seq) {
    for (size_t i = 0; i < store->event_count; i++) {
        model_event *event = &store->events[i];
        if (event->stream == stream && event->state == MODEL_LIVE && event->seq < seq)
            event->state = MODEL_GONE_BY_LIMIT;
    }
}

// ---- Limits ----------------------------------------------------------------------------------------------

static void trim_subject(model *store, size_t stream, const char *subject) {
    const daybook_stream_config *config = &store->streams[stream]->config;
    if (config->max_msgs_per_subject == 0 || (config->flags & DAYBOOK_STREAM_DISCARD_NEW_PER_SUBJECT) != 0)
        return;
    uint64_t kept = 0;
    for (size_t i = store->event_count; i-- > 0;) {
        model_event *event = &store->events[i];
        if (!counts_for(store, stream, event) || strcmp(event->said->subject, subject) != 0) continue;
        if (kept++ >= config->max_msgs_per_subject) event->state = MODEL_GONE_BY_LIMIT;
    }
}

static void trim_oldest(model *store, size_t stream) {
    const daybook_stream_config *config = &store->streams[stream]->config;
    if (config->discard != DAYBOOK_DISCARD_OLD || (config->max_msgs == 0 && config->max_bytes == 0)) return;
    uint64_t count = model_message_count(store, stream), bytes = model_byte_count(store, stream);
    for (size_t i = 0; i < store->event_count; i++) {
        model_event *event = &store->events[i];
        if (!counts_for(store, stream, event)) continue;
        bool over = (config->max_msgs > 0 && count > config->max_msgs) ||
                    (config->max_bytes > 0 && bytes > config->max_bytes);
        if (!over) break;
        event->state = MODEL_GONE_BY_LIMIT;
        count--;
        bytes -= cost_of(event->said);
    }
}

void model_update_stream(model *store, size_t stream, const daybook_stream_config *config) {
    set_config(store, store->streams[stream], config);
    for (size_t i = 0; config->max_msgs_per_subject > 0 && i < store->event_count; i++) {
        if (store->events[i].stream == stream && store->events[i].state == MODEL_LIVE)
            trim_subject(store, stream, store->events[i].said->subject);
    }
    trim_oldest(store, stream);
}

// ---- Snapshots -------------------------------------------------------------------------------------------

static const char snapshots_prefix[] = "$KV.SNAPSHOTS.";

// Snapshots of aggregates whose events the filter could match go.
static void forget_snapshots(model *store, size_t stream, daybook_slice filter) {
    size_t snapshots = model_find_stream(store, daybook_text("KV_SNAPSHOTS"));
    if (snapshots == MODEL_NONE || snapshots == stream) return;
    for (size_t i = 0; i < store->event_count; i++) {
        model_event *event = &store->events[i];
        size_t prefix = sizeof snapshots_prefix - 1;
        if (event->stream != snapshots || event->state != MODEL_LIVE) continue;
        if (strncmp(event->said->subject, snapshots_prefix, prefix) != 0) continue;
        char pattern[1200];
        (void)snprintf(pattern, sizeof pattern, "%s.>", event->said->subject + prefix);
        bool concerned = filter.size > 0 && daybook_filters_overlap(filter, daybook_text(pattern));
        for (size_t j = 0; filter.size == 0 && j < store->streams[stream]->config.subject_count; j++)
            concerned = concerned || daybook_filters_overlap(store->streams[stream]->subject_slices[j],
                                                             daybook_text(pattern));
        if (concerned) event->state = MODEL_GONE_FOR_EVER;
    }
}

void model_remove_stream(model *store, size_t stream) {
    forget_snapshots(store, stream, daybook_text(""));
    store->streams[stream]->removed = true;
}

// ---- Ids -------------------------------------------------------------------------------------------------

static model_id_answer find_id(const model *store, size_t stream, const char *id, int64_t now_ns,
                               bool remembers) {
    model_id_answer answer = {.event = MODEL_NONE};
    for (size_t i = store->event_count; id[0] != '\0' && i-- > 0;) {
        const model_event *event = &store->events[i];
        if (event->stream != stream || strcmp(event->id, id) != 0) continue;
        answer.event = i;
        int64_t window_ns = store->streams[stream]->config.duplicate_window_ns;
        bool by_limit = event->state == MODEL_GONE_BY_LIMIT ||
                        (event->state == MODEL_LIVE && model_is_expired(store, i, now_ns));
        if (by_limit && event->recorded_ns + window_ns < now_ns) {
            answer.uncertain = true;
            if (!remembers) answer.event = MODEL_NONE;
        }
        // An older event of this id was forgotten, or this one could not have been stored.
        return answer;
    }
    return answer;
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Sorted, without doubles; returns how many.
static size_t tag_set(const model_said *said, const char *set_out[MODEL_TAGS_MAX]) {
    memcpy(set_out, said->tags, sizeof said->tags);
    if (said->tag_count > 0) qsort(set_out, said->tag_count, sizeof *set_out, compare_texts);
    size_t count = 0;
    for (size_t i = 0; i < said->tag_count; i++) {
        if (i == 0 || strcmp(set_out[count - 1], set_out[i]) != 0) set_out[count++] = set_out[i];
    }
    return count;
}

bool model_same_content(const model_said *a, const model_said *b, const model_event *stored) {
    const char *tags_a[MODEL_TAGS_MAX], *tags_b[MODEL_TAGS_MAX];
    size_t tag_count = tag_set(a, tags_a);
    if (tag_set(b, tags_b) != tag_count || a->header_count != b->header_count || a->data_size != b->data_size)
        return false;
    for (size_t i = 0; i < tag_count; i++) {
        if (strcmp(tags_a[i], tags_b[i]) != 0) return false;
    }
    for (size_t i = 0; i < a->header_count; i++) {
        if (strcmp(a->header_names[i], b->header_names[i]) != 0 ||
            strcmp(a->header_values[i], b->header_values[i]) != 0)
            return false;
    }
    return strcmp(a->subject, b->subject) == 0 && strcmp(type_of(a, stored->aggregate), stored->type) == 0 &&
           strcmp(a->schema, b->schema) == 0 && strcmp(a->correlation, b->correlation) == 0 &&
           strcmp(a->causation, b->causation) == 0 && strcmp(a->actor, b->actor) == 0 &&
           (a->data_size == 0 || memcmp(a->data, b->data, a->data_size) == 0) &&
           (a->time_ns == DAYBOOK_TIME_NONE || b->time_ns == DAYBOOK_TIME_NONE || a->time_ns == b->time_ns);
}

// ---- Conditions ------------------------------------------------------------------------------------------

uint64_t model_version(const model *store, size_t stream, const char *aggregate, uint64_t position) {
    for (size_t i = store->event_count; i-- > 0;) {
        const model_event *event = &store->events[i];
        if (event->position <= position && event->stream == stream &&
            strcmp(event->aggregate, aggregate) == 0)
            return event->version;
    }
    return 0;
}

static bool one_of(const daybook_slice *texts, size_t count, const char *text) {
    for (size_t i = 0; i < count; i++) {
        if (slice_is(texts[i], text)) return true;
    }
    return false;
}

static bool has_tags(const daybook_slice *tags, size_t count, const model_said *said) {
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        for (size_t j = 0; j < said->tag_count; j++) found = found || slice_is(tags[i], said->tags[j]);
        if (!found) return false;
    }
    return true;
}

static bool item_matches(const daybook_query_item *item, const model_event *event) {
    return (item->type_count == 0 || one_of(item->types, item->type_count, event->type)) &&
           has_tags(item->tags, item->tag_count, event->said) &&
           (item->filter.size == 0 || filter_slice_matches(item->filter, event->said->subject));
}

bool model_is_readable(const model *store, const model_event *event) {
    return event->state == MODEL_LIVE && !store->streams[event->stream]->removed;
}

static bool is_internal(const model *store, size_t stream) {
    return (store->streams[stream]->config.flags & DAYBOOK_STREAM_INTERNAL) != 0;
}

// The greatest version any stream has that may capture events of the aggregate.
static uint64_t version_anywhere(const model *store, const char *aggregate) {
    char filter[160];
    uint64_t greatest = 0;
    (void)snprintf(filter, sizeof filter, "%s.>", aggregate);
    for (size_t i = 0; i < store->stream_count; i++) {
        const model_stream *stream = store->streams[i];
        bool captures = false;
        for (size_t j = 0; !stream->removed && j < stream->config.subject_count; j++)
            captures |= daybook_filters_overlap(stream->config.subjects[j], daybook_text(filter)) != 0;
        uint64_t version = captures ? model_version(store, i, aggregate, UINT64_MAX) : 0;
        if (version > greatest) greatest = version;
    }
    return greatest;
}

static daybook_status decide_condition(const model *store, const daybook_condition *said,
                                       const model_said *first, size_t first_stream, int64_t now_ns,
                                       uint64_t *actual_out) {
    size_t stream = said->stream.size > 0 ? model_find_stream(store, said->stream) : first_stream;
    if (stream == MODEL_NONE && said->stream.size > 0) return DAYBOOK_ENOTFOUND;
    if (said->kind == DAYBOOK_EXPECT_STREAM_SEQ) {
        *actual_out = stream == MODEL_NONE ? 0 : store->streams[stream]->last_seq;
        return *actual_out == said->expected ? DAYBOOK_OK : DAYBOOK_ECONFLICT;
    }
    if (said->kind == DAYBOOK_EXPECT_VERSION) {
        char aggregate[128];
        aggregate_of(first->subject,
                     first_stream == MODEL_NONE ? 2 : store->streams[first_stream]->config.aggregate_tokens,
                     aggregate);
        if (said->aggregate.size == 0 && aggregate[0] == '\0') return DAYBOOK_EINVALID;
        if (said->aggregate.size > 0 && !slice_is(said->aggregate, aggregate)) {
            (void)snprintf(aggregate, sizeof aggregate, "%.*s", (int)said->aggregate.size,
                           (const char *)said->aggregate.data);
            if (said->stream.size == 0) {
                *actual_out = version_anywhere(store, aggregate);
                return *actual_out == said->expected ? DAYBOOK_OK : DAYBOOK_ECONFLICT;
            }
        }
        *actual_out = stream == MODEL_NONE ? 0 : model_version(store, stream, aggregate, UINT64_MAX);
        return *actual_out == said->expected ? DAYBOOK_OK : DAYBOOK_ECONFLICT;
    }
    bool is_dcb = said->kind == DAYBOOK_FAIL_IF_EVENTS_MATCH;
    for (size_t i = store->event_count; i-- > 0;) {
        const model_event *event = &store->events[i];
        if (!model_is_readable(store, event) || model_is_expired(store, i, now_ns)) continue;
        if (is_dcb && event->position <= said->after) break;
        if (is_dcb && said->stream.size == 0 && is_internal(store, event->stream)) continue;
        if ((!is_dcb || said->stream.size > 0) && event->stream != stream) continue;
        bool matches = false;
        if (is_dcb) {
            for (size_t j = 0; j < said->item_count; j++)
                matches = matches || item_matches(&said->items[j], event);
        } else {
            matches = filter_slice_matches(
                said->filter.size > 0 ? said->filter : daybook_text(first->subject), event->said->subject);
        }
        if (!matches) continue;
        *actual_out = is_dcb ? event->position : event->seq;
        return !is_dcb && *actual_out == said->expected ? DAYBOOK_OK : DAYBOOK_ECONFLICT;
    }
    *actual_out = 0;
    return is_dcb || said->expected == 0 ? DAYBOOK_OK : DAYBOOK_ECONFLICT;
}

// ---- Appending -------------------------------------------------------------------------------------------

static bool equals_ignoring_case(const char *text, const char *lower) {
    for (; *text != '\0' && *lower != '\0'; text++, lower++) {
        char byte = *text >= 'A' && *text <= 'Z' ? (char)(*text - 'A' + 'a') : *text;
        if (byte != *lower) return false;
    }
    return *text == *lower;
}

static const char *roll_up_of(const model_said *said) {
    for (size_t i = 0; i < said->header_count; i++) {
        if (equals_ignoring_case(said->header_names[i], "nats-rollup")) return said->header_values[i];
    }
    return NULL;
}

static uint64_t live_of_subject(const model *store, size_t stream, const char *subject, int64_t now_ns) {
    uint64_t live = 0;
    for (size_t i = 0; i < store->event_count; i++) {
        const model_event *event = &store->events[i];
        live += event->stream == stream && event->state == MODEL_LIVE &&
                !model_is_expired(store, i, now_ns) && strcmp(event->said->subject, subject) == 0;
    }
    return live;
}

static daybook_status check_limits(const model *store, const model_said *const *said,
                                   const model_decision *decision, size_t index, int64_t now_ns) {
    size_t at = decision->streams[index];
    if (at == MODEL_NONE) return DAYBOOK_OK;
    const daybook_stream_config *config = &store->streams[at]->config;
    if (config->discard != DAYBOOK_DISCARD_NEW) return DAYBOOK_OK;
    uint64_t count = 0, bytes = 0;
    for (size_t i = 0; i < store->event_count; i++) { // what aged takes no room
        const model_event *event = &store->events[i];
        if (event->stream != at || event->state != MODEL_LIVE || model_is_expired(store, i, now_ns)) continue;
        count++;
        bytes += cost_of(event->said);
    }
    uint64_t of_subject = live_of_subject(store, at, said[index]->subject, now_ns);
    for (size_t i = 0; i <= index; i++) {
        if (decision->streams[i] != at) continue;
        count++;
        bytes += cost_of(said[i]);
        of_subject += strcmp(said[i]->subject, said[index]->subject) == 0;
    }
    if (config->max_msgs > 0 && count > config->max_msgs) return DAYBOOK_ELIMIT;
    if (config->max_bytes > 0 && bytes > config->max_bytes) return DAYBOOK_ELIMIT;
    bool per_subject = (config->flags & DAYBOOK_STREAM_DISCARD_NEW_PER_SUBJECT) != 0;
    return per_subject && of_subject > config->max_msgs_per_subject ? DAYBOOK_ELIMIT : DAYBOOK_OK;
}

static daybook_status check_event(const model *store, const model_said *said, size_t stream) {
    uint64_t size = said->data_size;
    for (size_t i = 0; i < said->header_count; i++)
        size += strlen(said->header_names[i]) + strlen(said->header_values[i]);
    if (stream == MODEL_NONE) return roll_up_of(said) != NULL ? DAYBOOK_EINVALID : DAYBOOK_OK;
    const daybook_stream_config *config = &store->streams[stream]->config;
    if (config->max_msg_size > 0 && size > config->max_msg_size) return DAYBOOK_ELIMIT;
    if (roll_up_of(said) != NULL && (config->flags & DAYBOOK_STREAM_ALLOW_ROLLUP) == 0)
        return DAYBOOK_EINVALID;
    return DAYBOOK_OK;
}

// Whoever drives has added the streams that were made: this one could not be.
static daybook_status check_auto_stream(const model *store, const char *subject) {
    if (subject[0] == '$') return DAYBOOK_ENOSTREAM;
    char name[128], filter[128];
    size_t size = strcspn(subject, ".");
    for (size_t i = 0; i < size; i++)
        name[i] = (char)(subject[i] >= 'a' && subject[i] <= 'z' ? subject[i] - 32 : subject[i]);
    name[size] = '\0';
    (void)snprintf(filter, sizeof filter, "%.*s.>", (int)size, subject);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    daybook_slice subjects = daybook_text(filter);
    config.name = daybook_text(name);
    config.subjects = &subjects;
    config.subject_count = 1;
    return model_check_add(store, &config);
}

void model_decide(const model *store, const model_said *const *said, size_t count,
                  const daybook_append_options *options, int64_t now_ns, bool remembers,
                  model_decision *decision_out) {
    memset(decision_out, 0, sizeof *decision_out);
    daybook_status *status = &decision_out->status;
    for (size_t i = 0; i < count; i++) {
        decision_out->streams[i] = model_capture(store, daybook_text(said[i]->subject));
        if (decision_out->streams[i] == MODEL_NONE)
            *status = options->auto_stream ? check_auto_stream(store, said[i]->subject) : DAYBOOK_ENOSTREAM;
        if (*status == DAYBOOK_OK) *status = check_event(store, said[i], decision_out->streams[i]);
        if (*status != DAYBOOK_OK) return;
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (said[i]->id[0] != '\0' && strcmp(said[i]->id, said[j]->id) == 0 &&
                decision_out->streams[i] == decision_out->streams[j]) {
                *status = DAYBOOK_EMIXED;
                return;
            }
        }
    }
    // What is wrong with a condition itself comes before everything that depends on the state.
    for (size_t i = 0; i < options->condition_count; i++) {
        *status = decide_condition(store, &options->conditions[i], said[0], decision_out->streams[0], now_ns,
                                   &decision_out->actual);
        if (*status != DAYBOOK_OK && *status != DAYBOOK_ECONFLICT) return;
    }
    *status = DAYBOOK_OK;
    size_t stored = 0;
    for (size_t i = 0; i < count; i++) {
        decision_out->ids[i] = find_id(store, decision_out->streams[i], said[i]->id, now_ns, remembers);
        stored += decision_out->ids[i].event != MODEL_NONE;
        decision_out->uncertain = decision_out->uncertain || decision_out->ids[i].uncertain;
    }
    decision_out->duplicate = stored == count;
    if (stored > 0 && stored < count) *status = DAYBOOK_EMIXED;
    if (stored > 0) return;
    for (size_t i = 0; i < options->condition_count; i++) {
        *status = decide_condition(store, &options->conditions[i], said[0], decision_out->streams[0], now_ns,
                                   &decision_out->actual);
        decision_out->condition = (uint32_t)i;
        if (*status != DAYBOOK_OK) return;
    }
    for (size_t i = 0; i < count && *status == DAYBOOK_OK; i++)
        *status = check_limits(store, said, decision_out, i, now_ns);
}

static void roll_up(model *store, size_t index) {
    const model_event *rolling = &store->events[index];
    const char *what = roll_up_of(rolling->said);
    if (what == NULL) return;
    for (size_t i = 0; i < index; i++) {
        model_event *event = &store->events[i];
        if (event->stream != rolling->stream || event->state != MODEL_LIVE) continue;
        if (equals_ignoring_case(what, "all") || strcmp(event->said->subject, rolling->said->subject) == 0)
            event->state = MODEL_GONE_BY_LIMIT;
    }
}

void model_append(model *store, const model_said *const *said, size_t count,
                  const daybook_receipt *receipts) {
    size_t first = store->event_count;
    for (size_t i = 0; i < count; i++) {
        size_t stream = model_capture(store, daybook_text(said[i]->subject));
        store->events =
            grow(store->events, &store->event_capacity, store->event_count, sizeof *store->events);
        model_event *event = &store->events[store->event_count];
        memset(event, 0, sizeof *event);
        event->said = said[i];
        event->stream = stream;
        event->id = said[i]->id[0] != '\0' ? said[i]->id : model_text(store, "%s", receipts[i].id);
        aggregate_of(said[i]->subject, store->streams[stream]->config.aggregate_tokens, event->aggregate);
        event->type = type_of(said[i], event->aggregate);
        event->seq = ++store->streams[stream]->last_seq;
        event->position = receipts[i].position;
        event->version =
            event->aggregate[0] == '\0' ? 0 : model_version(store, stream, event->aggregate, UINT64_MAX) + 1;
        event->recorded_ns = receipts[i].recorded_ns;
        store->event_count++;
    }
    for (size_t i = 0; i < count; i++) roll_up(store, first + i);
}

void model_publish(model *store, uint64_t position) {
    uint64_t before = store->visible_position;
    if (position <= before) return;
    store->visible_position = position;
    size_t first = store->event_count;
    while (first > 0 && store->events[first - 1].position > before) first--;
    size_t end = first;
    for (; end < store->event_count && store->events[end].position <= position; end++)
        trim_subject(store, store->events[end].stream, store->events[end].said->subject);
    for (size_t i = first; i < end; i++) trim_oldest(store, store->events[i].stream);
}

void model_cut(model *store, uint64_t position) {
    while (store->event_count > 0 && store->events[store->event_count - 1].position > position) {
        const model_event *lost = &store->events[--store->event_count];
        store->streams[lost->stream]->last_seq = lost->seq - 1;
    }
}

// ---- Removing --------------------------------------------------------------------------------------------

size_t model_find_event(const model *store, size_t stream, uint64_t seq) {
    for (size_t i = 0; i < store->event_count; i++) {
        const model_event *event = &store->events[i];
        if (event->seq == seq && counts_for(store, stream, event)) return i;
    }
    return MODEL_NONE;
}

void model_delete(model *store, size_t event) {
    store->events[event].state = MODEL_GONE_FOR_EVER;
    if (store->events[event].aggregate[0] != '\0')
        forget_snapshots(store, store->events[event].stream,
                         daybook_text(store->events[event].said->subject));
}

uint64_t model_purge(model *store, size_t stream, const daybook_purge_options *options, bool dry_run) {
    uint64_t kept = 0, removed = 0;
    for (size_t i = store->event_count; i-- > 0;) {
        model_event *event = &store->events[i];
        if (!counts_for(store, stream, event)) continue;
        if (options->filter.size > 0 && !filter_slice_matches(options->filter, event->said->subject))
            continue;
        if (options->seq_to > 0 && event->seq >= options->seq_to) continue;
        if (kept < options->keep) {
            kept++;
            continue;
        }
        removed++;
        if (!dry_run) event->state = MODEL_GONE_FOR_EVER;
    }
    if (removed > 0 && !dry_run) forget_snapshots(store, stream, options->filter);
    return removed;
}

// ---- Reading ---------------------------------------------------------------------------------------------

static bool in_range(uint64_t value, uint64_t from, uint64_t to) {
    return value >= from && (to == 0 || value <= to);
}

static bool in_time(int64_t time_ns, int64_t since_ns, int64_t until_ns) {
    return (since_ns == DAYBOOK_TIME_NONE || time_ns >= since_ns) &&
           (until_ns == DAYBOOK_TIME_NONE || time_ns < until_ns);
}

static bool text_is(daybook_slice wanted, const char *text) {
    return wanted.size == 0 || slice_is(wanted, text);
}

bool model_matches(const model *store, const daybook_query *query, const model_event *event) {
    const model_said *said = event->said;
    if (!model_is_readable(store, event) || !model_is_visible(store, event)) return false;
    if (model_is_expired(store, (size_t)(event - store->events), store->read_ns)) return false;
    if (query->stream.size > 0
            ? !slice_is(query->stream, store->streams[event->stream]->name)
            : is_internal(store, event->stream) && (query->flags & DAYBOOK_QUERY_INTERNAL) == 0)
        return false;
    bool matches = query->filter_count == 0;
    for (size_t i = 0; i < query->filter_count; i++)
        matches = matches || filter_slice_matches(query->filters[i], said->subject);
    if (!matches || (query->type_count > 0 && !one_of(query->types, query->type_count, event->type)))
        return false;
    if (!has_tags(query->tags, query->tag_count, said)) return false;
    if (!text_is(query->correlation, said->correlation) || !text_is(query->causation, said->causation))
        return false;
    if (!text_is(query->actor, said->actor) || !text_is(query->id, event->id)) return false;
    matches = query->item_count == 0;
    for (size_t i = 0; i < query->item_count; i++) matches = matches || item_matches(&query->items[i], event);
    int64_t time_ns = said->time_ns == DAYBOOK_TIME_NONE ? event->recorded_ns : said->time_ns;
    return matches && in_range(event->position, query->position_from, query->position_to) &&
           in_range(event->seq, query->seq_from, query->seq_to) &&
           in_range(event->version, query->version_from, query->version_to) &&
           in_time(event->recorded_ns, query->recorded_since_ns, query->recorded_until_ns) &&
           in_time(time_ns, query->time_since_ns, query->time_until_ns);
}

// Is there a later match of the same subject?
static bool is_superseded(const model *store, const daybook_query *query, size_t index) {
    const model_event *event = &store->events[index];
    for (size_t i = index + 1; i < store->event_count; i++) {
        const model_event *later = &store->events[i];
        if (later->stream == event->stream && strcmp(later->said->subject, event->said->subject) == 0 &&
            model_matches(store, query, later))
            return true;
    }
    return false;
}

size_t *model_read(const model *store, const daybook_query *query, size_t *count_out) {
    size_t *found = malloc((store->event_count + 1) * sizeof *found);
    if (found == NULL) abort();
    size_t count = 0;
    bool backwards = (query->flags & DAYBOOK_QUERY_REVERSE) != 0;
    for (size_t i = 0; i < store->event_count && (query->limit == 0 || count < query->limit); i++) {
        size_t index = backwards ? store->event_count - 1 - i : i;
        if (!model_matches(store, query, &store->events[index])) continue;
        if ((query->flags & DAYBOOK_QUERY_LAST_PER_SUBJECT) != 0 && is_superseded(store, query, index))
            continue;
        found[count++] = index;
    }
    *count_out = count;
    return found;
}
