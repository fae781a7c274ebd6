// SPDX-License-Identifier: Apache-2.0
// The table of streams: one array that only grows (a stream keeps its place for ever, so that pointers stay
// good), ascending by id, a map of the live ones by name, and the tree of their filters (filter_tree.c),
// which says who captures a subject and what a new filter overlaps, however many streams there are.
//
// Catalogue value of a stream, version 1, little-endian:
//   u8 1, u32 id, u32 aggregate_tokens, u32 flags, u8 discard, u8 storage, u64 max_msgs, max_bytes,
//   max_msgs_per_subject, max_msg_size, i64 max_age_ns, duplicate_window_ns, sync_interval_ns, created_ns,
//   text name, text description, varint subject count, text subjects
// Version 2, of a stream that retains otherwise than by limits: the same, and u8 retention (1, 2) behind it.
// Version 3, of one that has attributes or a first seq above 1, or knows ids in the window only: the same as
// version 1,
//   and behind it u8 retention (0 to 2), varint first seq (at least 1), text attributes.
// Version 4, of one whose events may have times to live: the same as version 3, and varint
// delete_marker_ttl_s. Version 5, of one whose seqs may be given, or that captures no subject: the same as
// version 4, where delete_marker_ttl_s is 0 in one without times to live.
#include "store/streams.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/hash_map.h"
#include "daybook/event.h"
#include "store/filter_tree.h"
#include "subject/subject.h"

enum {
    STREAM_VALUE_VERSION = 1,
    STREAM_VALUE_RETENTION = 2,
    STREAM_VALUE_ATTRIBUTES = 3,
    STREAM_VALUE_TTL = 4,
    STREAM_VALUE_GIVEN_SEQS = 5
};
#define DUPLICATE_WINDOW_DEFAULT_NS (INT64_C(120) * 1000 * 1000 * 1000)

struct dbk_stream_table {
    const daybook_allocator *allocator;
    pthread_rwlock_t lock;
    // All guarded by lock.
    dbk_stream **streams; // ascending by id
    size_t count;
    size_t capacity;
    dbk_filter_tree filters;               // of the live ones; they lie in configurations
    dbk_hash_map names;                    // hash of name -> index in streams
    const daybook_stream_config **retired; // configurations replaced, freed with the table
    size_t retired_count;
    size_t retired_capacity;
    uint32_t next_id;
    atomic_bool has_ages; // never taken back; read without lock
    atomic_bool has_ttls; // the same
    bool has_gap;         // what a lost record explains is no contradiction
};

void daybook_stream_config_init(daybook_stream_config *config) {
    *config = (daybook_stream_config){
        .size = sizeof *config, .aggregate_tokens = 2, .duplicate_window_ns = DUPLICATE_WINDOW_DEFAULT_NS};
}

daybook_status dbk_stream_table_new(const daybook_allocator *allocator, dbk_stream_table **table_out) {
    *table_out = NULL;
    dbk_stream_table *table = dbk_alloc_zeroed(allocator, sizeof *table);
    if (table == NULL) return DAYBOOK_ENOMEM;
    table->allocator = allocator;
    table->next_id = 1;
    dbk_hash_map_init(&table->names, allocator);
    dbk_filter_tree_init(&table->filters, allocator);
    pthread_rwlock_init(&table->lock, NULL);
    *table_out = table;
    return DAYBOOK_OK;
}

// Configurations never change once made, hence const; they are the table's own all the same.
static void free_config(const dbk_stream_table *table, const daybook_stream_config *config) {
    dbk_free(table->allocator, (void *)(uintptr_t)config);
}

static void free_stream(dbk_stream_table *table, dbk_stream *stream) {
    pthread_mutex_destroy(&stream->trim_lock);
    pthread_mutex_destroy(&stream->subjects_lock);
    free_config(table, atomic_load(&stream->config));
    dbk_seq_set_deinit(&stream->unwanted, table->allocator);
    dbk_free(table->allocator, stream);
}

void dbk_stream_table_free(dbk_stream_table *table) {
    if (table == NULL) return;
    for (size_t i = 0; i < table->count; i++) free_stream(table, table->streams[i]);
    for (size_t i = 0; i < table->retired_count; i++) free_config(table, table->retired[i]);
    dbk_free(table->allocator, table->retired);
    dbk_free(table->allocator, table->streams);
    dbk_hash_map_deinit(&table->names);
    dbk_filter_tree_deinit(&table->filters);
    pthread_rwlock_destroy(&table->lock);
    dbk_free(table->allocator, table);
}

// ---- Validation -------------------------------------------------------------------------------------------

static daybook_status validate_name(dbk_slice name, daybook_error *error) {
    if (name.size == 0)
        return dbk_fail(error, DAYBOOK_EINVALID, "the stream has no name: it needs 1 to %d bytes",
                        DAYBOOK_STREAM_NAME_SIZE_MAX);
    if (name.size > DAYBOOK_STREAM_NAME_SIZE_MAX)
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "the stream's name has %zu bytes: at most %d are allowed; shorten it", name.size,
                        DAYBOOK_STREAM_NAME_SIZE_MAX);
    if (!dbk_is_plain_text(name))
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "the stream's name is not plain UTF-8 text; choose another name");
    for (size_t i = 0; i < name.size; i++) {
        char byte = ((const char *)name.data)[i];
        if (byte == ' ' || byte == '.' || byte == '*' || byte == '>' || byte == '/' || byte == '\\')
            return dbk_fail(error, DAYBOOK_EINVALID,
                            "the stream's name '%.*s' contains '%c': white space . * > / \\ are not allowed; "
                            "choose another name",
                            (int)name.size, (const char *)name.data, byte);
    }
    return DAYBOOK_OK;
}

static daybook_status validate_subjects(const daybook_stream_config *config, daybook_error *error) {
    if (config->subject_count == 0 && (config->flags & DAYBOOK_STREAM_OTHER_SUBJECTS) == 0)
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "the stream captures no subject: name at least one, such as 'orders.>'");
    if (config->subject_count > DAYBOOK_STREAM_SUBJECT_COUNT_MAX)
        return dbk_fail(
            error, DAYBOOK_EINVALID,
            "the stream names %zu subjects: at most %d are allowed; use wildcards, or two streams",
            config->subject_count, DAYBOOK_STREAM_SUBJECT_COUNT_MAX);
    for (size_t i = 0; i < config->subject_count; i++) {
        dbk_slice filter = config->subjects[i];
        if (!daybook_filter_is_valid(filter))
            return dbk_fail(error, DAYBOOK_ESUBJECT,
                            "'%.*s' is no subject filter: join tokens by '.', where * is any one and > at "
                            "the end any rest",
                            (int)(filter.size < 200 ? filter.size : 200), (const char *)filter.data);
        for (size_t j = 0; j < i; j++) {
            if (daybook_filters_overlap(filter, config->subjects[j]))
                return dbk_fail(error, DAYBOOK_EINVALID,
                                "the stream's subjects '%.*s' and '%.*s' overlap: leave one of them out",
                                (int)config->subjects[j].size, (const char *)config->subjects[j].data,
                                (int)filter.size, (const char *)filter.data);
        }
    }
    return DAYBOOK_OK;
}

daybook_status dbk_stream_config_validate(const daybook_stream_config *config, daybook_error *error) {
    DBK_TRY(validate_name(config->name, error));
    DBK_TRY(validate_subjects(config, error));
    if (config->aggregate_tokens > 32)
        return dbk_fail(error, DAYBOOK_EINVALID, "aggregate_tokens is %u: use 0 (no aggregates) to 32",
                        config->aggregate_tokens);
    if (config->discard != DAYBOOK_DISCARD_OLD && config->discard != DAYBOOK_DISCARD_NEW)
        return dbk_fail(error, DAYBOOK_EINVALID, "discard is %d: use old (0) or new (1)", config->discard);
    if (config->retention < DAYBOOK_RETENTION_LIMITS || config->retention > DAYBOOK_RETENTION_WORKQUEUE)
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "retention is %d: use limits (0), interest (1) or workqueue (2)", config->retention);
    if (config->storage != DAYBOOK_STORAGE_FILE && config->storage != DAYBOOK_STORAGE_MEMORY)
        return dbk_fail(error, DAYBOOK_EINVALID, "storage is %d: use file (0) or memory (1)",
                        config->storage);
    if (config->max_age_ns < 0 || config->duplicate_window_ns < 0 || config->sync_interval_ns < 0)
        return dbk_fail(error, DAYBOOK_EINVALID, "a duration of the stream is negative: use 0 for none");
    if ((config->flags & DAYBOOK_STREAM_DISCARD_NEW_PER_SUBJECT) != 0 &&
        (config->discard != DAYBOOK_DISCARD_NEW || config->max_msgs_per_subject == 0))
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "discard new per subject needs discard new and max_msgs_per_subject: give both");
    if (config->description.size > 4096 || !dbk_is_plain_text(config->description))
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "the description is no plain UTF-8 text of at most 4096 bytes: shorten or change it");
    if (config->attributes.size > DAYBOOK_ATTRIBUTES_SIZE_MAX)
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "the attributes have %zu bytes: at most %d are allowed; shorten them",
                        config->attributes.size, DAYBOOK_ATTRIBUTES_SIZE_MAX);
    if (config->delete_marker_ttl_s < 0 || config->delete_marker_ttl_s > DAYBOOK_TTL_S_MAX ||
        (config->delete_marker_ttl_s > 0 && (config->flags & DAYBOOK_STREAM_ALLOW_TTL) == 0))
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "delete_marker_ttl_s is %lld: give 1 to %d and DAYBOOK_STREAM_ALLOW_TTL, or 0",
                        (long long)config->delete_marker_ttl_s, DAYBOOK_TTL_S_MAX);
    if (config->first_seq > DBK_SEQ_GIVEN_MAX)
        return dbk_fail(error, DAYBOOK_EINVALID, "the first seq is too great: use one below 2^62");
    return DAYBOOK_OK;
}

// ---- Configuration values ---------------------------------------------------------------------------------

size_t dbk_stream_config_room(const daybook_stream_config *config) {
    size_t size = config->subject_count * sizeof(dbk_slice) + config->name.size + config->description.size +
                  config->attributes.size;
    for (size_t i = 0; i < config->subject_count; i++) size += config->subjects[i].size;
    return size;
}

void dbk_stream_config_copy(const daybook_stream_config *config, void *room,
                            daybook_stream_config *copy_out) {
    dbk_slice *subjects = room;
    uint8_t *at = (uint8_t *)(subjects + config->subject_count);
    *copy_out = *config;
    copy_out->size = sizeof *copy_out;
    for (size_t i = 0; i < config->subject_count; i++) subjects[i] = dbk_slice_put(&at, config->subjects[i]);
    copy_out->subjects = subjects;
    copy_out->name = dbk_slice_put(&at, config->name);
    copy_out->description = dbk_slice_put(&at, config->description);
    copy_out->attributes = dbk_slice_put(&at, config->attributes);
}

// One allocation that holds the structure, the array of subjects and all texts.
static daybook_stream_config *new_config(const daybook_allocator *allocator,
                                         const daybook_stream_config *config) {
    daybook_stream_config *copy = dbk_alloc(allocator, sizeof *copy + dbk_stream_config_room(config));
    if (copy != NULL) dbk_stream_config_copy(config, copy + 1, copy);
    return copy;
}

dbk_slice dbk_stream_key(uint32_t id, char text[16]) {
    int size = snprintf(text, 16, "%010u", (unsigned)id);
    return daybook_bytes(text, (size_t)size);
}

static uint64_t first_seq_of(const daybook_stream_config *config) {
    return config->first_seq > 1 ? config->first_seq : 1;
}

// The least that says it all, so that older programs refuse what they do not know, and only that.
static uint8_t value_version(const daybook_stream_config *config) {
    if ((config->flags & DAYBOOK_STREAM_GIVEN_SEQS) != 0 || config->subject_count == 0)
        return STREAM_VALUE_GIVEN_SEQS;
    if ((config->flags & DAYBOOK_STREAM_ALLOW_TTL) != 0) return STREAM_VALUE_TTL;
    if (config->attributes.size > 0 || first_seq_of(config) > 1 ||
        (config->flags & DAYBOOK_STREAM_IDS_IN_WINDOW) != 0)
        return STREAM_VALUE_ATTRIBUTES;
    return config->retention == DAYBOOK_RETENTION_LIMITS ? STREAM_VALUE_VERSION : STREAM_VALUE_RETENTION;
}

daybook_status dbk_stream_encode(uint32_t id, const daybook_stream_config *config, int64_t created_ns,
                                 dbk_buf *buf) {
    uint8_t version = value_version(config);
    dbk_buf_append_u8(buf, version);
    dbk_buf_append_u32(buf, id);
    dbk_buf_append_u32(buf, config->aggregate_tokens);
    dbk_buf_append_u32(buf, config->flags);
    dbk_buf_append_u8(buf, (uint8_t)config->discard);
    dbk_buf_append_u8(buf, (uint8_t)config->storage);
    dbk_buf_append_u64(buf, config->max_msgs);
    dbk_buf_append_u64(buf, config->max_bytes);
    dbk_buf_append_u64(buf, config->max_msgs_per_subject);
    dbk_buf_append_u64(buf, config->max_msg_size);
    dbk_buf_append_u64(buf, (uint64_t)config->max_age_ns);
    dbk_buf_append_u64(buf, (uint64_t)config->duplicate_window_ns);
    dbk_buf_append_u64(buf, (uint64_t)config->sync_interval_ns);
    dbk_buf_append_u64(buf, (uint64_t)created_ns);
    dbk_buf_append_text(buf, config->name);
    dbk_buf_append_text(buf, config->description);
    dbk_buf_append_varint(buf, config->subject_count);
    for (size_t i = 0; i < config->subject_count; i++) dbk_buf_append_text(buf, config->subjects[i]);
    if (version != STREAM_VALUE_VERSION) dbk_buf_append_u8(buf, (uint8_t)config->retention);
    if (version >= STREAM_VALUE_ATTRIBUTES) {
        dbk_buf_append_varint(buf, first_seq_of(config));
        dbk_buf_append_text(buf, config->attributes);
    }
    if (version >= STREAM_VALUE_TTL) dbk_buf_append_varint(buf, (uint64_t)config->delete_marker_ttl_s);
    return dbk_buf_status(buf);
}

// What versions added; false where it cannot be so.
static bool read_added(dbk_reader *reader, uint8_t version, daybook_stream_config *config) {
    bool has_ttl_flag = (config->flags & DAYBOOK_STREAM_ALLOW_TTL) != 0;
    if (version < STREAM_VALUE_GIVEN_SEQS && has_ttl_flag != (version >= STREAM_VALUE_TTL)) return false;
    bool is_newest = (config->flags & DAYBOOK_STREAM_GIVEN_SEQS) != 0 || config->subject_count == 0;
    if (is_newest != (version >= STREAM_VALUE_GIVEN_SEQS)) return false;
    if (version == STREAM_VALUE_VERSION) return true;
    config->retention = dbk_read_u8(reader);
    if (version == STREAM_VALUE_RETENTION) return config->retention != DAYBOOK_RETENTION_LIMITS;
    config->first_seq = dbk_read_varint(reader);
    config->attributes = dbk_read_text(reader);
    uint64_t ttl_s = version >= STREAM_VALUE_TTL ? dbk_read_varint(reader) : 0;
    if (ttl_s > DAYBOOK_TTL_S_MAX) return false;
    config->delete_marker_ttl_s = (int64_t)ttl_s;
    return config->first_seq > 0;
}

daybook_status dbk_stream_decode(dbk_slice value, uint32_t *id_out, daybook_stream_config *config_out,
                                 int64_t *created_ns_out, dbk_slice *subjects) {
    dbk_reader reader;
    dbk_reader_init(&reader, value);
    uint8_t version = dbk_read_u8(&reader);
    if (version < STREAM_VALUE_VERSION || version > STREAM_VALUE_GIVEN_SEQS)
        return reader.failed ? DAYBOOK_EDAMAGED : DAYBOOK_EFORMAT;
    daybook_stream_config config = {.size = sizeof config};
    uint32_t id = dbk_read_u32(&reader);
    config.aggregate_tokens = dbk_read_u32(&reader);
    config.flags = dbk_read_u32(&reader);
    config.discard = dbk_read_u8(&reader);
    config.storage = dbk_read_u8(&reader);
    config.max_msgs = dbk_read_u64(&reader);
    config.max_bytes = dbk_read_u64(&reader);
    config.max_msgs_per_subject = dbk_read_u64(&reader);
    config.max_msg_size = dbk_read_u64(&reader);
    config.max_age_ns = (int64_t)dbk_read_u64(&reader);
    config.duplicate_window_ns = (int64_t)dbk_read_u64(&reader);
    config.sync_interval_ns = (int64_t)dbk_read_u64(&reader);
    int64_t created_ns = (int64_t)dbk_read_u64(&reader);
    config.name = dbk_read_text(&reader);
    config.description = dbk_read_text(&reader);
    uint64_t count = dbk_read_varint(&reader);
    if (reader.failed || count > DAYBOOK_STREAM_SUBJECT_COUNT_MAX) return DAYBOOK_EDAMAGED;
    for (uint64_t i = 0; i < count; i++) subjects[i] = dbk_read_text(&reader);
    config.subject_count = (size_t)count;
    if (!read_added(&reader, version, &config) || reader.failed || dbk_reader_left(&reader) != 0)
        return DAYBOOK_EDAMAGED;
    config.subjects = subjects;
    if (dbk_stream_config_validate(&config, NULL) != DAYBOOK_OK) return DAYBOOK_EDAMAGED;
    *id_out = id;
    *config_out = config;
    *created_ns_out = created_ns;
    return DAYBOOK_OK;
}

// ---- Maps -------------------------------------------------------------------------------------------------

static const daybook_stream_config *config_of(const dbk_stream *stream) {
    return atomic_load_explicit(&((dbk_stream *)(uintptr_t)stream)->config, memory_order_acquire);
}

bool dbk_stream_is_asked_for(const dbk_stream *stream, const dbk_stream *only, bool includes_internal) {
    if (stream == NULL) return false;
    if (atomic_load_explicit(&((dbk_stream *)(uintptr_t)stream)->removed, memory_order_acquire)) return false;
    if (only != NULL) return stream == only;
    return includes_internal || (config_of(stream)->flags & DAYBOOK_STREAM_INTERNAL) == 0;
}

int64_t dbk_stream_max_age_ns(const dbk_stream *stream) {
    return config_of(stream)->max_age_ns;
}

bool dbk_stream_table_has_ages(const dbk_stream_table *table) {
    return atomic_load_explicit(&((dbk_stream_table *)(uintptr_t)table)->has_ages, memory_order_relaxed);
}

bool dbk_stream_allows_ttl(const dbk_stream *stream) {
    return (config_of(stream)->flags & DAYBOOK_STREAM_ALLOW_TTL) != 0;
}

bool dbk_stream_has_given_seqs(const dbk_stream *stream) {
    return (config_of(stream)->flags & DAYBOOK_STREAM_GIVEN_SEQS) != 0;
}

bool dbk_stream_table_has_ttls(const dbk_stream_table *table) {
    return atomic_load_explicit(&((dbk_stream_table *)(uintptr_t)table)->has_ttls, memory_order_relaxed);
}

static void note_age(dbk_stream_table *table, const daybook_stream_config *config) {
    bool allows_ttl = (config->flags & DAYBOOK_STREAM_ALLOW_TTL) != 0;
    if (allows_ttl) atomic_store_explicit(&table->has_ttls, true, memory_order_relaxed);
    if (config->max_age_ns > 0 || allows_ttl)
        atomic_store_explicit(&table->has_ages, true, memory_order_relaxed);
}

static uint64_t text_hash(dbk_slice text) {
    return dbk_checksum(text.data, text.size, 0);
}

static dbk_stream *find_name(dbk_stream_table *table, dbk_slice name) {
    uint64_t hash = text_hash(name);
    for (size_t step = 0;;) {
        uint32_t at = dbk_hash_map_find(&table->names, hash, &step);
        if (at == DBK_HASH_MAP_EMPTY) return NULL;
        dbk_stream *stream = table->streams[at];
        if (!atomic_load(&stream->removed) && dbk_slice_equal(stream->name, name)) return stream;
    }
}

dbk_stream *dbk_stream_table_capture(dbk_stream_table *table, dbk_slice subject) {
    pthread_rwlock_rdlock(&table->lock);
    dbk_stream *stream = dbk_filter_tree_match(&table->filters, subject);
    pthread_rwlock_unlock(&table->lock);
    return stream;
}

dbk_stream *dbk_stream_table_find(dbk_stream_table *table, dbk_slice name) {
    pthread_rwlock_rdlock(&table->lock);
    dbk_stream *stream = find_name(table, name);
    pthread_rwlock_unlock(&table->lock);
    return stream;
}

// Index of the first stream with an id >= id.
static size_t id_index(const dbk_stream_table *table, uint32_t id) {
    size_t low = 0;
    for (size_t high = table->count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (table->streams[middle]->id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

dbk_stream *dbk_stream_table_find_id(dbk_stream_table *table, uint32_t id) {
    pthread_rwlock_rdlock(&table->lock);
    size_t at = id_index(table, id);
    dbk_stream *stream = at < table->count && table->streams[at]->id == id ? table->streams[at] : NULL;
    pthread_rwlock_unlock(&table->lock);
    return stream;
}

daybook_status dbk_stream_table_all(dbk_stream_table *table, dbk_stream ***streams_out, size_t *count_out) {
    *streams_out = NULL;
    *count_out = 0;
    pthread_rwlock_rdlock(&table->lock);
    dbk_stream **streams = dbk_alloc(table->allocator, (table->count + 1) * sizeof *streams);
    size_t count = 0;
    for (size_t i = 0; streams != NULL && i < table->count; i++) {
        if (!atomic_load(&table->streams[i]->removed)) streams[count++] = table->streams[i];
    }
    pthread_rwlock_unlock(&table->lock);
    if (streams == NULL) return DAYBOOK_ENOMEM;
    *streams_out = streams;
    *count_out = count;
    return DAYBOOK_OK;
}

typedef struct stream_list {
    const daybook_allocator *allocator;
    dbk_stream **streams;
    size_t count, capacity;
    bool is_out_of_memory;
} stream_list;

static int add_to_list(void *context, dbk_slice filter, dbk_stream *stream) {
    stream_list *list = context;
    (void)filter;
    for (size_t i = list->count; i-- > 0;)
        if (list->streams[i] == stream) return 0;
    dbk_stream **streams =
        dbk_grow_array(list->allocator, list->streams, &list->capacity, list->count + 1, sizeof *streams);
    list->is_out_of_memory = streams == NULL;
    if (streams == NULL) return 1;
    list->streams = streams;
    list->streams[list->count++] = stream;
    return 0;
}

daybook_status dbk_stream_table_overlapping(dbk_stream_table *table, dbk_slice filter,
                                            dbk_stream ***streams_out, size_t *count_out) {
    stream_list list = {.allocator = table->allocator};
    pthread_rwlock_rdlock(&table->lock);
    (void)dbk_filter_tree_overlaps(&table->filters, filter, add_to_list, &list);
    pthread_rwlock_unlock(&table->lock);
    if (list.is_out_of_memory) {
        dbk_free(table->allocator, list.streams);
        list = (stream_list){.is_out_of_memory = true};
    }
    *streams_out = list.streams;
    *count_out = list.count;
    return list.is_out_of_memory ? DAYBOOK_ENOMEM : DAYBOOK_OK;
}

uint32_t dbk_stream_table_next_id(dbk_stream_table *table) {
    pthread_rwlock_rdlock(&table->lock);
    uint32_t next_id = table->next_id;
    pthread_rwlock_unlock(&table->lock);
    return next_id;
}

void dbk_stream_table_set_next_id(dbk_stream_table *table, uint32_t next_id) {
    pthread_rwlock_wrlock(&table->lock);
    if (next_id > table->next_id) table->next_id = next_id;
    pthread_rwlock_unlock(&table->lock);
}

// ---- Changes ----------------------------------------------------------------------------------------------

typedef struct overlap {
    const dbk_stream *except; // NULL: nobody
    dbk_slice filter;
    const dbk_stream *stream; // NULL: none found
} overlap;

static int note_overlap(void *context, dbk_slice filter, dbk_stream *stream) {
    overlap *found = context;
    if (stream == found->except) return 0;
    found->filter = filter;
    found->stream = stream;
    return 1;
}

static daybook_status check_overlap(dbk_stream_table *table, const dbk_stream *stream,
                                    const daybook_stream_config *config, daybook_error *error) {
    for (size_t i = 0; i < config->subject_count; i++) {
        dbk_slice filter = config->subjects[i];
        overlap found = {.except = stream};
        (void)dbk_filter_tree_overlaps(&table->filters, filter, note_overlap, &found);
        if (found.stream == NULL) continue;
        return dbk_fail(
            error, DAYBOOK_EOVERLAP,
            "subject '%.*s' overlaps '%.*s' of stream %.*s: an event belongs to one stream only; name other "
            "subjects, or edit that stream first",
            (int)filter.size, (const char *)filter.data, (int)found.filter.size,
            (const char *)found.filter.data, (int)found.stream->name.size,
            (const char *)found.stream->name.data);
    }
    return DAYBOOK_OK;
}

static bool may_become(const daybook_stream_config *from, const daybook_stream_config *to) {
    return from->aggregate_tokens == to->aggregate_tokens && from->storage == to->storage &&
           from->retention == to->retention && first_seq_of(from) == first_seq_of(to) &&
           ((from->flags ^ to->flags) & DAYBOOK_STREAM_IDS_IN_WINDOW) == 0;
}

static daybook_status check(dbk_stream_table *table, const dbk_stream *stream,
                            const daybook_stream_config *config, daybook_error *error) {
    DBK_TRY(dbk_stream_config_validate(config, error));
    if (table->has_gap) return DAYBOOK_OK;
    if (stream == NULL && find_name(table, config->name) != NULL)
        return dbk_fail(error, DAYBOOK_EEXISTS, "stream %.*s exists already; edit it, or choose another name",
                        (int)config->name.size, (const char *)config->name.data);
    if (stream != NULL && !may_become(config_of(stream), config))
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "aggregate, storage, retention, the first seq and how long ids of stream %.*s are "
                        "known are fixed at "
                        "creation; make another stream",
                        (int)config->name.size, (const char *)config->name.data);
    if (stream != NULL && dbk_stream_allows_ttl(stream) && (config->flags & DAYBOOK_STREAM_ALLOW_TTL) == 0)
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "stream %.*s allows times to live, and may hold events that have one: keep "
                        "DAYBOOK_STREAM_ALLOW_TTL",
                        (int)config->name.size, (const char *)config->name.data);
    if (stream != NULL && dbk_stream_has_given_seqs(stream) &&
        (config->flags & DAYBOOK_STREAM_GIVEN_SEQS) == 0)
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "stream %.*s takes given seqs, and may have gaps between them: keep "
                        "DAYBOOK_STREAM_GIVEN_SEQS",
                        (int)config->name.size, (const char *)config->name.data);
    return check_overlap(table, stream, config, error);
}

static daybook_status reserve_stream(dbk_stream_table *table) {
    dbk_stream **streams =
        dbk_grow_array(table->allocator, table->streams, &table->capacity, table->count + 1, sizeof *streams);
    if (streams == NULL) return DAYBOOK_ENOMEM;
    table->streams = streams;
    return dbk_hash_map_reserve(&table->names, 1);
}

static daybook_status reserve_retired(dbk_stream_table *table) {
    const daybook_stream_config **retired = dbk_grow_array(table->allocator, table->retired,
                                                           &table->retired_capacity, table->retired_count + 1,
                                                           sizeof *retired);
    if (retired == NULL) return DAYBOOK_ENOMEM;
    table->retired = retired;
    return DAYBOOK_OK;
}

// Room was reserved.
static void insert_filters(dbk_stream_table *table, dbk_stream *stream, const daybook_stream_config *config) {
    for (size_t i = 0; i < config->subject_count; i++)
        dbk_filter_tree_add(&table->filters, config->subjects[i], stream);
}

static void drop_filters(dbk_stream_table *table, const dbk_stream *stream) {
    const daybook_stream_config *config = config_of(stream);
    for (size_t i = 0; i < config->subject_count; i++)
        dbk_filter_tree_remove(&table->filters, config->subjects[i], stream);
}

static daybook_status new_stream(dbk_stream_table *table, uint32_t id, const daybook_stream_config *config,
                                 int64_t created_ns, dbk_stream **stream_out) {
    dbk_stream *stream = dbk_alloc_zeroed(table->allocator, sizeof *stream);
    const daybook_stream_config *copy = new_config(table->allocator, config);
    if (stream == NULL || copy == NULL) {
        dbk_free(table->allocator, stream);
        free_config(table, copy);
        return DAYBOOK_ENOMEM;
    }
    stream->id = id;
    stream->name = copy->name;
    stream->aggregate_tokens = copy->aggregate_tokens;
    stream->storage = copy->storage;
    stream->created_ns = created_ns;
    atomic_init(&stream->config, copy);
    stream->last_seq = first_seq_of(copy) - 1;
    atomic_init(&stream->published_seq, stream->last_seq);
    atomic_init(&stream->first_seq, stream->last_seq + 1);
    pthread_mutex_init(&stream->trim_lock, NULL);
    pthread_mutex_init(&stream->subjects_lock, NULL);
    *stream_out = stream;
    return DAYBOOK_OK;
}

static daybook_status prepare(dbk_stream_table *table, uint32_t id, const daybook_stream_config *config,
                              int64_t created_ns, dbk_stream **stream_out, daybook_error *error) {
    DBK_TRY(check(table, NULL, config, error));
    DBK_TRY(reserve_stream(table));
    DBK_TRY(dbk_filter_tree_reserve(&table->filters, config->subjects, config->subject_count));
    return new_stream(table, id, config, created_ns, stream_out);
}

daybook_status dbk_stream_table_prepare(dbk_stream_table *table, uint32_t id,
                                        const daybook_stream_config *config, int64_t created_ns,
                                        dbk_stream **stream_out, daybook_error *error) {
    *stream_out = NULL;
    pthread_rwlock_wrlock(&table->lock);
    daybook_status status = prepare(table, id, config, created_ns, stream_out, error);
    pthread_rwlock_unlock(&table->lock);
    if (status == DAYBOOK_ENOMEM)
        return dbk_fail(error, status, "out of memory adding a stream; free some and try again");
    return status;
}

// Room was reserved.
static void insert_name(dbk_stream_table *table, size_t at) {
    daybook_status status =
        dbk_hash_map_insert(&table->names, text_hash(table->streams[at]->name), (uint32_t)at);
    DBK_ASSERT(status == DAYBOOK_OK);
}

static void remove_stream(dbk_stream_table *table, dbk_stream *stream) {
    if (!atomic_exchange(&stream->removed, true)) drop_filters(table, stream);
}

// Behind a gap the record that made a stream may be lost, and the first that names it come behind those of
// younger streams; and the one that removed a stream may be, whose name another has now.
static void insert_over_gap(dbk_stream_table *table, dbk_stream *stream) {
    dbk_stream *same_name = find_name(table, stream->name);
    if (same_name != NULL) remove_stream(table, same_name);
    size_t at = id_index(table, stream->id);
    memmove(&table->streams[at + 1], &table->streams[at], (table->count - at) * sizeof *table->streams);
    table->streams[at] = stream;
    table->count++;
    dbk_hash_map_reset(&table->names);
    for (size_t i = 0; i < table->count; i++) insert_name(table, i);
}

void dbk_stream_table_insert(dbk_stream_table *table, dbk_stream *stream) {
    pthread_rwlock_wrlock(&table->lock);
    if (table->has_gap) {
        insert_over_gap(table, stream);
    } else {
        DBK_ASSERT(table->count == 0 || table->streams[table->count - 1]->id < stream->id);
        table->streams[table->count] = stream;
        insert_name(table, table->count++);
    }
    note_age(table, config_of(stream));
    insert_filters(table, stream, config_of(stream));
    if (stream->id >= table->next_id) table->next_id = stream->id + 1;
    pthread_rwlock_unlock(&table->lock);
}

void dbk_stream_table_discard(dbk_stream_table *table, dbk_stream *stream) {
    if (stream != NULL) free_stream(table, stream);
}

daybook_status dbk_stream_table_add(dbk_stream_table *table, uint32_t id, const daybook_stream_config *config,
                                    int64_t created_ns, dbk_stream **stream_out, daybook_error *error) {
    DBK_TRY(dbk_stream_table_prepare(table, id, config, created_ns, stream_out, error));
    dbk_stream_table_insert(table, *stream_out);
    return DAYBOOK_OK;
}

static daybook_status prepare_update(dbk_stream_table *table, const dbk_stream *stream,
                                     const daybook_stream_config *config,
                                     const daybook_stream_config **copy_out, daybook_error *error) {
    DBK_TRY(check(table, stream, config, error));
    DBK_TRY(dbk_filter_tree_reserve(&table->filters, config->subjects, config->subject_count));
    DBK_TRY(reserve_retired(table));
    *copy_out = new_config(table->allocator, config);
    return *copy_out == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
}

daybook_status dbk_stream_table_prepare_update(dbk_stream_table *table, const dbk_stream *stream,
                                               const daybook_stream_config *config,
                                               const daybook_stream_config **copy_out, daybook_error *error) {
    *copy_out = NULL;
    pthread_rwlock_wrlock(&table->lock);
    daybook_status status = prepare_update(table, stream, config, copy_out, error);
    pthread_rwlock_unlock(&table->lock);
    if (status == DAYBOOK_ENOMEM)
        return dbk_fail(error, status, "out of memory updating a stream; free some and try again");
    return status;
}

void dbk_stream_table_replace(dbk_stream_table *table, dbk_stream *stream,
                              const daybook_stream_config *copy) {
    pthread_rwlock_wrlock(&table->lock);
    // Kept: others may be reading it, and stream->name points into the first one.
    table->retired[table->retired_count++] = config_of(stream);
    bool is_live = !atomic_load(&stream->removed);
    if (is_live) drop_filters(table, stream);
    note_age(table, copy);
    atomic_store_explicit(&stream->config, copy, memory_order_release);
    if (is_live) insert_filters(table, stream, copy);
    pthread_rwlock_unlock(&table->lock);
}

void dbk_stream_table_discard_update(dbk_stream_table *table, const daybook_stream_config *copy) {
    free_config(table, copy);
}

daybook_status dbk_stream_table_update(dbk_stream_table *table, dbk_stream *stream,
                                       const daybook_stream_config *config, daybook_error *error) {
    const daybook_stream_config *copy;
    DBK_TRY(dbk_stream_table_prepare_update(table, stream, config, &copy, error));
    dbk_stream_table_replace(table, stream, copy);
    return DAYBOOK_OK;
}

void dbk_stream_table_remove(dbk_stream_table *table, dbk_stream *stream) {
    pthread_rwlock_wrlock(&table->lock);
    remove_stream(table, stream);
    pthread_rwlock_unlock(&table->lock);
}

void dbk_stream_table_note_gap(dbk_stream_table *table) {
    pthread_rwlock_wrlock(&table->lock);
    table->has_gap = true;
    pthread_rwlock_unlock(&table->lock);
}

bool dbk_stream_table_has_gap(dbk_stream_table *table) {
    pthread_rwlock_rdlock(&table->lock);
    bool has_gap = table->has_gap;
    pthread_rwlock_unlock(&table->lock);
    return has_gap;
}
