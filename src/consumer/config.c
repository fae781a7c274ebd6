// SPDX-License-Identifier: Apache-2.0
// A consumer's configuration: what is allowed, copies, the record of config.h.
#include "consumer/config.h"

#include "base/bytes.h"
#include "base/error.h"
#include "daybook/subject.h"

enum { VERSION = 1, VERSION_ATTRIBUTES = 2, DESCRIPTION_SIZE_MAX = 4096, SHOWN_MAX = 200 };
#define SECOND_NS (INT64_C(1000) * 1000 * 1000)
#define FLAGS_ALL                                                                                      \
    ((unsigned)(DAYBOOK_CONSUMER_DURABLE | DAYBOOK_CONSUMER_HEADERS_ONLY | DAYBOOK_CONSUMER_IN_ORDER | \
                DAYBOOK_CONSUMER_OTHER_SUBJECTS))

void daybook_consumer_config_init(daybook_consumer_config *config) {
    *config = (daybook_consumer_config){.size = sizeof *config,
                                        .flags = DAYBOOK_CONSUMER_DURABLE,
                                        .ack_wait_ns = 30 * SECOND_NS,
                                        .max_ack_pending = 1000,
                                        .max_waiting = 512};
}

// ---- What is allowed --------------------------------------------------------------------------------------

static daybook_status validate_name(dbk_slice name, daybook_error *error) {
    if (name.size > DAYBOOK_CONSUMER_NAME_SIZE_MAX || !dbk_is_plain_text(name))
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "the consumer's name is no plain UTF-8 text of at most %d bytes; choose another name",
                        DAYBOOK_CONSUMER_NAME_SIZE_MAX);
    for (size_t i = 0; i < name.size; i++) {
        char byte = ((const char *)name.data)[i];
        if (byte == ' ' || byte == '.' || byte == '*' || byte == '>' || byte == '/' || byte == '\\')
            return dbk_fail(
                error, DAYBOOK_EINVALID,
                "the consumer's name '%.*s' contains '%c': white space . * > / \\ are not allowed; "
                "choose another name",
                (int)name.size, (const char *)name.data, byte);
    }
    return DAYBOOK_OK;
}

static daybook_status validate_filters(const daybook_consumer_config *config, daybook_error *error) {
    if (config->filter_count > DAYBOOK_CONSUMER_FILTER_COUNT_MAX)
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "the consumer has %zu filters: at most %d are allowed; use wildcards",
                        config->filter_count, DAYBOOK_CONSUMER_FILTER_COUNT_MAX);
    for (size_t i = 0; i < config->filter_count; i++) {
        dbk_slice filter = config->filters[i];
        if (!daybook_filter_is_valid(filter))
            return dbk_fail(
                error, DAYBOOK_ESUBJECT,
                "'%.*s' is no subject filter: join tokens by '.', where * is any one and > at the end any "
                "rest",
                (int)(filter.size < SHOWN_MAX ? filter.size : SHOWN_MAX), (const char *)filter.data);
        for (size_t j = 0; j < i; j++) {
            if (daybook_filters_overlap(filter, config->filters[j]))
                return dbk_fail(error, DAYBOOK_EINVALID,
                                "the consumer's filters '%.*s' and '%.*s' overlap: leave one of them out",
                                (int)config->filters[j].size, (const char *)config->filters[j].data,
                                (int)filter.size, (const char *)filter.data);
        }
    }
    return DAYBOOK_OK;
}

static daybook_status validate_times(const daybook_consumer_config *config, daybook_error *error) {
    if (config->ack_wait_ns <= 0)
        return dbk_fail(error, DAYBOOK_EINVALID, "ack_wait is not above 0: how long may an answer take?");
    if (config->inactive_threshold_ns < 0 || config->pause_until_ns < 0)
        return dbk_fail(error, DAYBOOK_EINVALID, "a time of the consumer is negative: use 0 for none");
    if (config->backoff_count > DAYBOOK_CONSUMER_BACKOFF_COUNT_MAX)
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "the backoff has %zu steps: at most %d are allowed; shorten it",
                        config->backoff_count, DAYBOOK_CONSUMER_BACKOFF_COUNT_MAX);
    for (size_t i = 0; i < config->backoff_count; i++) {
        if (config->backoff_ns[i] <= 0)
            return dbk_fail(error, DAYBOOK_EINVALID, "a step of the backoff is not above 0; change it");
    }
    if (config->max_deliver > 0 && config->backoff_count > config->max_deliver)
        return dbk_fail(
            error, DAYBOOK_EINVALID,
            "the backoff has more steps (%zu) than max_deliver (%llu): shorten it, or raise max_deliver",
            config->backoff_count, (unsigned long long)config->max_deliver);
    return DAYBOOK_OK;
}

static daybook_status validate_start(const daybook_consumer_config *config, daybook_error *error) {
    if (config->deliver < DAYBOOK_DELIVER_ALL || config->deliver > DAYBOOK_DELIVER_LAST_PER_SUBJECT)
        return dbk_fail(error, DAYBOOK_EINVALID, "the consumer's deliver policy %d is unknown: use 0 to 5",
                        config->deliver);
    bool by_seq = config->deliver == DAYBOOK_DELIVER_BY_START_SEQ;
    if (by_seq ? config->start_seq == 0 : config->start_seq != 0)
        return dbk_fail(
            error, DAYBOOK_EINVALID,
            "a start seq and delivery by start seq belong together: give both or neither; seqs begin at 1");
    if (config->deliver != DAYBOOK_DELIVER_BY_START_TIME && config->start_time_ns != 0)
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "a start time and delivery by start time belong together: give both or neither");
    return DAYBOOK_OK;
}

daybook_status dbk_consumer_config_validate(const daybook_consumer_config *config, daybook_error *error) {
    DBK_TRY(validate_name(config->name, error));
    if (config->description.size > DESCRIPTION_SIZE_MAX || !dbk_is_plain_text(config->description))
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "the description is no plain UTF-8 text of at most 4096 bytes: shorten or change it");
    if (config->attributes.size > DAYBOOK_ATTRIBUTES_SIZE_MAX)
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "the attributes have %zu bytes: at most %d are allowed; shorten them",
                        config->attributes.size, DAYBOOK_ATTRIBUTES_SIZE_MAX);
    if ((config->flags & ~FLAGS_ALL) != 0)
        return dbk_fail(error, DAYBOOK_EINVALID, "the consumer has unknown flags: %#x",
                        config->flags & ~FLAGS_ALL);
    if ((config->flags & DAYBOOK_CONSUMER_DURABLE) != 0 && config->name.size == 0)
        return dbk_fail(error, DAYBOOK_EINVALID, "a durable consumer needs a name: give it one");
    if (config->ack < DAYBOOK_ACK_EXPLICIT || config->ack > DAYBOOK_ACK_NONE ||
        config->replay < DAYBOOK_REPLAY_INSTANT || config->replay > DAYBOOK_REPLAY_ORIGINAL)
        return dbk_fail(error, DAYBOOK_EINVALID, "the consumer's ack or replay policy is unknown (%d, %d)",
                        config->ack, config->replay);
    if ((config->flags & DAYBOOK_CONSUMER_IN_ORDER) != 0 && config->ack != DAYBOOK_ACK_EXPLICIT)
        return dbk_fail(
            error, DAYBOOK_EINVALID,
            "order per aggregate needs explicit acknowledgement: without it nothing says when the next may "
            "come; change either");
    DBK_TRY(validate_start(config, error));
    DBK_TRY(validate_times(config, error));
    return validate_filters(config, error);
}

// ---- Copies -----------------------------------------------------------------------------------------------

daybook_consumer_config *dbk_consumer_config_copy(const daybook_allocator *allocator,
                                                  const daybook_consumer_config *config) {
    size_t size = sizeof *config + config->filter_count * sizeof(dbk_slice) +
                  config->backoff_count * sizeof(int64_t) + config->name.size + config->description.size +
                  config->attributes.size;
    for (size_t i = 0; i < config->filter_count; i++) size += config->filters[i].size;
    daybook_consumer_config *copy = dbk_alloc(allocator, size);
    if (copy == NULL) return NULL;
    *copy = *config;
    copy->size = sizeof *copy;
    dbk_slice *filters = (dbk_slice *)(void *)(copy + 1);
    int64_t *backoff_ns = (int64_t *)(void *)(filters + config->filter_count);
    uint8_t *at = (uint8_t *)(backoff_ns + config->backoff_count);
    for (size_t i = 0; i < config->backoff_count; i++) backoff_ns[i] = config->backoff_ns[i];
    for (size_t i = 0; i < config->filter_count; i++) filters[i] = dbk_slice_put(&at, config->filters[i]);
    copy->filters = filters;
    copy->backoff_ns = backoff_ns;
    copy->name = dbk_slice_put(&at, config->name);
    copy->description = dbk_slice_put(&at, config->description);
    copy->attributes = dbk_slice_put(&at, config->attributes);
    return copy;
}

static bool same_lists(const daybook_consumer_config *a, const daybook_consumer_config *b) {
    if (a->filter_count != b->filter_count || a->backoff_count != b->backoff_count) return false;
    for (size_t i = 0; i < a->filter_count; i++) {
        if (!dbk_slice_equal(a->filters[i], b->filters[i])) return false;
    }
    for (size_t i = 0; i < a->backoff_count; i++) {
        if (a->backoff_ns[i] != b->backoff_ns[i]) return false;
    }
    return true;
}

bool dbk_consumer_config_equal(const daybook_consumer_config *a, const daybook_consumer_config *b) {
    const char *what;
    return dbk_consumer_config_may_become(a, b, &what) && dbk_slice_equal(a->description, b->description) &&
           dbk_slice_equal(a->attributes, b->attributes) && a->flags == b->flags &&
           a->ack_wait_ns == b->ack_wait_ns && a->max_deliver == b->max_deliver &&
           a->max_ack_pending == b->max_ack_pending && a->max_waiting == b->max_waiting &&
           a->inactive_threshold_ns == b->inactive_threshold_ns && a->pause_until_ns == b->pause_until_ns &&
           same_lists(a, b);
}

bool dbk_consumer_config_may_become(const daybook_consumer_config *from, const daybook_consumer_config *to,
                                    const char **what_out) {
    unsigned fixed = DAYBOOK_CONSUMER_DURABLE | DAYBOOK_CONSUMER_IN_ORDER;
    *what_out = from->deliver != to->deliver || from->start_seq != to->start_seq ||
                        from->start_time_ns != to->start_time_ns
                    ? "where it begins"
                : from->ack != to->ack                         ? "its ack policy"
                : from->replay != to->replay                   ? "its replay policy"
                : (from->flags & fixed) != (to->flags & fixed) ? "whether it is durable or in order"
                                                               : NULL;
    return *what_out == NULL;
}

// ---- The record -------------------------------------------------------------------------------------------

daybook_status dbk_consumer_config_encode(const daybook_consumer_config *config, int64_t created_ns,
                                          dbk_buf *buf) {
    dbk_buf_append_u8(buf, config->attributes.size > 0 ? VERSION_ATTRIBUTES : VERSION);
    dbk_buf_append_u32(buf, config->flags);
    dbk_buf_append_u8(buf, (uint8_t)config->deliver);
    dbk_buf_append_u8(buf, (uint8_t)config->ack);
    dbk_buf_append_u8(buf, (uint8_t)config->replay);
    dbk_buf_append_u64(buf, config->start_seq);
    dbk_buf_append_u64(buf, (uint64_t)config->start_time_ns);
    dbk_buf_append_u64(buf, (uint64_t)config->ack_wait_ns);
    dbk_buf_append_u64(buf, (uint64_t)config->inactive_threshold_ns);
    dbk_buf_append_u64(buf, (uint64_t)config->pause_until_ns);
    dbk_buf_append_u64(buf, (uint64_t)created_ns);
    dbk_buf_append_u64(buf, config->max_deliver);
    dbk_buf_append_u64(buf, config->max_ack_pending);
    dbk_buf_append_u64(buf, config->max_waiting);
    dbk_buf_append_text(buf, config->name);
    dbk_buf_append_text(buf, config->description);
    dbk_buf_append_varint(buf, config->backoff_count);
    for (size_t i = 0; i < config->backoff_count; i++)
        dbk_buf_append_u64(buf, (uint64_t)config->backoff_ns[i]);
    dbk_buf_append_varint(buf, config->filter_count);
    for (size_t i = 0; i < config->filter_count; i++) dbk_buf_append_text(buf, config->filters[i]);
    if (config->attributes.size > 0) dbk_buf_append_text(buf, config->attributes);
    return dbk_buf_status(buf);
}

daybook_status dbk_consumer_config_decode(dbk_slice bytes, const daybook_allocator *allocator,
                                          daybook_consumer_config **config_out, int64_t *created_ns_out) {
    dbk_reader reader;
    dbk_reader_init(&reader, bytes);
    uint8_t version = dbk_read_u8(&reader);
    if (version != VERSION && version != VERSION_ATTRIBUTES)
        return reader.failed ? DAYBOOK_EDAMAGED : DAYBOOK_EFORMAT;
    daybook_consumer_config config = {.size = sizeof config};
    dbk_slice filters[DAYBOOK_CONSUMER_FILTER_COUNT_MAX];
    int64_t backoff_ns[DAYBOOK_CONSUMER_BACKOFF_COUNT_MAX];
    config.flags = dbk_read_u32(&reader);
    config.deliver = dbk_read_u8(&reader);
    config.ack = dbk_read_u8(&reader);
    config.replay = dbk_read_u8(&reader);
    config.start_seq = dbk_read_u64(&reader);
    config.start_time_ns = (int64_t)dbk_read_u64(&reader);
    config.ack_wait_ns = (int64_t)dbk_read_u64(&reader);
    config.inactive_threshold_ns = (int64_t)dbk_read_u64(&reader);
    config.pause_until_ns = (int64_t)dbk_read_u64(&reader);
    *created_ns_out = (int64_t)dbk_read_u64(&reader);
    config.max_deliver = dbk_read_u64(&reader);
    config.max_ack_pending = dbk_read_u64(&reader);
    config.max_waiting = dbk_read_u64(&reader);
    config.name = dbk_read_text(&reader);
    config.description = dbk_read_text(&reader);
    uint64_t backoff_count = dbk_read_varint(&reader);
    if (reader.failed || backoff_count > DAYBOOK_CONSUMER_BACKOFF_COUNT_MAX) return DAYBOOK_EDAMAGED;
    for (uint64_t i = 0; i < backoff_count; i++) backoff_ns[i] = (int64_t)dbk_read_u64(&reader);
    uint64_t filter_count = dbk_read_varint(&reader);
    if (reader.failed || filter_count > DAYBOOK_CONSUMER_FILTER_COUNT_MAX) return DAYBOOK_EDAMAGED;
    for (uint64_t i = 0; i < filter_count; i++) filters[i] = dbk_read_text(&reader);
    if (version == VERSION_ATTRIBUTES) config.attributes = dbk_read_text(&reader);
    if (version == VERSION_ATTRIBUTES && config.attributes.size == 0) return DAYBOOK_EDAMAGED;
    if (reader.failed || dbk_reader_left(&reader) != 0) return DAYBOOK_EDAMAGED;
    config.backoff_ns = backoff_ns;
    config.backoff_count = (size_t)backoff_count;
    config.filters = filters;
    config.filter_count = (size_t)filter_count;
    if (config.name.size == 0 || dbk_consumer_config_validate(&config, NULL) != DAYBOOK_OK)
        return DAYBOOK_EDAMAGED;
    *config_out = dbk_consumer_config_copy(allocator, &config);
    return *config_out == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
}
