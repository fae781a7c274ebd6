// SPDX-License-Identifier: Apache-2.0
// What callers keep with a stream and a consumer, and streams that begin at a seq of their own: over every way a
// configuration takes: updates, opening, power loss, readers, rebuilding from segments. The bytes in which they are
// stored are those of the format.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "consumer/config.h"
#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "store/streams.h"

enum { FIRST_SEQ = 1000 };

typedef struct world {
    dbk_sim *sim;
    daybook_store *store;
} world;

static const daybook_slice s = {"S", 1}, c = {"c", 1};
static const daybook_slice some = {"{\"k\":\"\0\xff\"}", 10};
static daybook_slice subjects[] = {{"s.>", 3}};

static daybook_open_options options_of(world *at, unsigned flags) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(at->sim);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND | flags;
    return options;
}

static void open_store(world *at, unsigned flags) {
    daybook_open_options options = options_of(at, flags);
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_open("/s", &options, &at->store, &error) != DAYBOOK_OK) fail_msg("%s", error.message);
}

static void reopen(world *at, unsigned flags) {
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    open_store(at, flags);
}

static int set_up(void **state) {
    static world at;
    memset(&at, 0, sizeof at);
    if (dbk_sim_new(23, &at.sim) != DAYBOOK_OK) return -1;
    open_store(&at, 0);
    *state = &at;
    return 0;
}

static int tear_down(void **state) {
    world *at = *state;
    daybook_status status = daybook_close(at->store, NULL);
    dbk_sim_free(at->sim);
    return status == DAYBOOK_OK ? 0 : -1;
}

static daybook_stream_config stream_config(void) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = s;
    config.subjects = subjects;
    config.subject_count = 1;
    return config;
}

static uint64_t append(world *at) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("s.1.x");
    daybook_receipt receipt;
    assert_int_equal(daybook_append(at->store, &event, 1, NULL, &receipt, NULL), DAYBOOK_OK);
    return receipt.seq;
}

static void expect_stream(world *at, daybook_slice attributes, uint64_t first_seq, uint64_t last_seq) {
    daybook_stream_info *info;
    assert_int_equal(daybook_stream_get_info(at->store, s, &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->config.attributes.size, attributes.size);
    if (attributes.size > 0)
        assert_memory_equal(info->config.attributes.data, attributes.data, attributes.size);
    assert_int_equal(info->first_seq, first_seq);
    assert_int_equal(info->last_seq, last_seq);
    daybook_stream_info_release(at->store, info);
}

static void expect_consumer(world *at, daybook_slice attributes) {
    daybook_consumer_info *info;
    assert_int_equal(daybook_consumer_get_info(at->store, s, c, &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->config.attributes.size, attributes.size);
    if (attributes.size > 0)
        assert_memory_equal(info->config.attributes.data, attributes.data, attributes.size);
    daybook_consumer_info_release(at->store, info);
}

// ---- Attributes -------------------------------------------------------------------------------------------

static void attributes_are_kept(void **state) {
    world *at = *state;
    daybook_stream_config config = stream_config();
    config.attributes = some;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    daybook_consumer_config of;
    daybook_consumer_config_init(&of);
    of.name = c;
    of.attributes = some;
    assert_int_equal(daybook_consumer_add(at->store, s, &of, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_add(at->store, s, &of, NULL, NULL), DAYBOOK_OK);
    of.attributes.size--;
    assert_int_equal(daybook_consumer_add(at->store, s, &of, NULL, NULL), DAYBOOK_EEXISTS);
    expect_stream(at, some, 1, 0);
    expect_consumer(at, some);
    reopen(at, 0);
    expect_stream(at, some, 1, 0);
    expect_consumer(at, some);
    append(at);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    reopen(at, 0);
    expect_stream(at, some, 1, 1);
    expect_consumer(at, some);
    // The greatest, and none.
    char *much = malloc(DAYBOOK_ATTRIBUTES_SIZE_MAX + 1);
    assert_non_null(much);
    memset(much, 'x', DAYBOOK_ATTRIBUTES_SIZE_MAX + 1);
    config.attributes = of.attributes = daybook_bytes(much, DAYBOOK_ATTRIBUTES_SIZE_MAX + 1);
    assert_int_equal(daybook_stream_update(at->store, &config, NULL), DAYBOOK_EINVALID);
    assert_int_equal(daybook_consumer_update(at->store, s, &of, NULL), DAYBOOK_EINVALID);
    config.attributes.size = of.attributes.size = DAYBOOK_ATTRIBUTES_SIZE_MAX;
    assert_int_equal(daybook_stream_update(at->store, &config, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_update(at->store, s, &of, NULL), DAYBOOK_OK);
    dbk_sim_stop_now(at->sim);
    (void)daybook_close(at->store, NULL);
    dbk_sim_crash(at->sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    open_store(at, 0);
    expect_stream(at, config.attributes, 1, 1);
    expect_consumer(at, of.attributes);
    free(much);
    config.attributes = of.attributes = daybook_bytes(NULL, 0);
    assert_int_equal(daybook_stream_update(at->store, &config, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_update(at->store, s, &of, NULL), DAYBOOK_OK);
    reopen(at, 0);
    expect_stream(at, config.attributes, 1, 1);
    expect_consumer(at, of.attributes);
    // Pausing changes nothing of it.
    of.attributes = some;
    assert_int_equal(daybook_consumer_update(at->store, s, &of, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_pause(at->store, s, c, 1, NULL), DAYBOOK_OK);
    expect_consumer(at, some);
}

// ---- The first seq ----------------------------------------------------------------------------------------

static uint64_t pending_of(world *at) {
    daybook_consumer_info *info;
    assert_int_equal(daybook_consumer_get_info(at->store, s, c, &info, NULL), DAYBOOK_OK);
    uint64_t pending = info->pending_count;
    daybook_consumer_info_release(at->store, info);
    return pending;
}

static void a_stream_begins_where_it_was_told(void **state) {
    world *at = *state;
    daybook_stream_config config = stream_config();
    config.first_seq = UINT64_MAX;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_EINVALID);
    config.first_seq = FIRST_SEQ;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    daybook_consumer_config of;
    daybook_consumer_config_init(&of);
    of.name = c;
    assert_int_equal(daybook_consumer_add(at->store, s, &of, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(pending_of(at), 0);
    expect_stream(at, daybook_bytes(NULL, 0), FIRST_SEQ, FIRST_SEQ - 1);
    reopen(at, 0);
    expect_stream(at, daybook_bytes(NULL, 0), FIRST_SEQ, FIRST_SEQ - 1);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    reopen(at, DAYBOOK_OPEN_READ_ONLY);
    expect_stream(at, daybook_bytes(NULL, 0), FIRST_SEQ, FIRST_SEQ - 1);
    reopen(at, 0);
    // A condition on it, as for any.
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_EXPECT_STREAM_SEQ);
    condition.expected = FIRST_SEQ - 1;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = &condition;
    options.condition_count = 1;
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("s.1.x");
    daybook_receipt receipt;
    assert_int_equal(daybook_append(at->store, &event, 1, &options, &receipt, NULL), DAYBOOK_OK);
    assert_int_equal(receipt.seq, FIRST_SEQ);
    assert_int_equal(append(at), FIRST_SEQ + 1);
    assert_int_equal(pending_of(at), 2);
    reopen(at, 0);
    assert_int_equal(append(at), FIRST_SEQ + 2);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    expect_stream(at, daybook_bytes(NULL, 0), FIRST_SEQ, FIRST_SEQ + 2);
    reopen(at, 0);
    expect_stream(at, daybook_bytes(NULL, 0), FIRST_SEQ, FIRST_SEQ + 2);
    assert_int_equal(pending_of(at), 3);
    // Fixed; 0 is 1.
    config.first_seq = 0;
    assert_int_equal(daybook_stream_update(at->store, &config, NULL), DAYBOOK_EINVALID);
    config.first_seq = FIRST_SEQ;
    config.max_msgs = 2;
    assert_int_equal(daybook_stream_update(at->store, &config, NULL), DAYBOOK_OK);
    expect_stream(at, daybook_bytes(NULL, 0), FIRST_SEQ + 1, FIRST_SEQ + 2);
    // By what segments say alone.
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    daybook_open_options open_options = options_of(at, 0);
    assert_int_equal(daybook_verify("/s", &open_options, NULL, NULL, NULL, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_rebuild("/s", &open_options, 0, NULL, NULL, NULL), DAYBOOK_OK);
    open_store(at, 0);
    assert_int_equal(append(at), FIRST_SEQ + 3);
    // In memory it begins there each time.
    assert_int_equal(daybook_stream_remove(at->store, s, NULL), DAYBOOK_OK);
    config.storage = DAYBOOK_STORAGE_MEMORY;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    assert_int_equal(append(at), FIRST_SEQ);
    reopen(at, 0);
    expect_stream(at, daybook_bytes(NULL, 0), FIRST_SEQ, FIRST_SEQ - 1);
    assert_int_equal(append(at), FIRST_SEQ);
}

// ---- Bytes ------------------------------------------------------------------------------------------------

static void check_value(const daybook_stream_config *config, const uint8_t *expected, size_t size) {
    dbk_buf value;
    dbk_buf_init(&value, dbk_allocator_default(), 1 << 20);
    assert_int_equal(dbk_stream_encode(7, config, 9, &value), DAYBOOK_OK);
    assert_int_equal(value.size, size);
    assert_memory_equal(value.data, expected, size);
    daybook_slice read[DAYBOOK_STREAM_SUBJECT_COUNT_MAX];
    daybook_stream_config decoded;
    uint32_t id;
    int64_t created_ns;
    assert_int_equal(
        dbk_stream_decode(daybook_bytes(value.data, value.size), &id, &decoded, &created_ns, read),
        DAYBOOK_OK);
    assert_int_equal(id, 7);
    assert_int_equal(created_ns, 9);
    assert_int_equal(decoded.flags, config->flags);
    assert_int_equal(decoded.retention, config->retention);
    assert_int_equal(decoded.attributes.size, config->attributes.size);
    assert_true(decoded.first_seq == config->first_seq || config->first_seq <= 1);
    // Cut short, it is refused wherever it ends; so is more.
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(dbk_stream_decode(daybook_bytes(value.data, cut), &id, &decoded, &created_ns, read),
                         DAYBOOK_EDAMAGED);
    dbk_buf_append_u8(&value, 0);
    assert_int_equal(
        dbk_stream_decode(daybook_bytes(value.data, value.size), &id, &decoded, &created_ns, read),
        DAYBOOK_EDAMAGED);
    dbk_buf_deinit(&value);
}

static void the_format_is_what_it_was(void **state) {
    (void)state;
    daybook_stream_config config = stream_config();
    config.duplicate_window_ns = 5;
    static const uint8_t tail[] = {
        0, 0,                                                  // discard, storage
        0, 0,   0, 0, 0, 0,   0,   0,  0, 0, 0, 0, 0, 0, 0, 0, // max_msgs, max_bytes
        0, 0,   0, 0, 0, 0,   0,   0,  0, 0, 0, 0, 0, 0, 0, 0, // per subject, size
        0, 0,   0, 0, 0, 0,   0,   0,  5, 0, 0, 0, 0, 0, 0, 0, // age, window
        0, 0,   0, 0, 0, 0,   0,   0,  9, 0, 0, 0, 0, 0, 0, 0, // sync interval, created
        1, 'S', 0, 1, 3, 's', '.', '>'};
    uint8_t value[256] = {1, 7, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0};
    memcpy(value + 13, tail, sizeof tail);
    size_t size = 13 + sizeof tail;
    check_value(&config, value, size);
    config.first_seq = 1;
    check_value(&config, value, size);
    config.retention = DAYBOOK_RETENTION_WORKQUEUE;
    value[0] = 2;
    value[size] = 2;
    check_value(&config, value, size + 1);
    config.attributes = daybook_text("ab");
    value[0] = 3;
    memcpy(value + size + 1, "\1\2ab", 4);
    check_value(&config, value, size + 5);
    config.attributes = daybook_bytes(NULL, 0);
    config.retention = DAYBOOK_RETENTION_LIMITS;
    config.first_seq = 300;
    memcpy(value + size, "\0\xac\2\0", 4);
    check_value(&config, value, size + 4);
    config.first_seq = 0;
    config.flags = DAYBOOK_STREAM_IDS_IN_WINDOW;
    value[9] = DAYBOOK_STREAM_IDS_IN_WINDOW;
    memcpy(value + size, "\0\1\0", 3);
    check_value(&config, value, size + 3);
    config.flags = DAYBOOK_STREAM_ALLOW_TTL;
    config.delete_marker_ttl_s = 300;
    value[0] = 4;
    value[9] = DAYBOOK_STREAM_ALLOW_TTL;
    memcpy(value + size, "\0\1\0\xac\2", 5);
    check_value(&config, value, size + 5);
    config.delete_marker_ttl_s = 0;
    memcpy(value + size, "\0\1\0\0", 4);
    check_value(&config, value, size + 4);
    config.flags = DAYBOOK_STREAM_GIVEN_SEQS; // 256: the second byte of the flags
    value[0] = 5;
    value[9] = 0;
    value[10] = 1;
    check_value(&config, value, size + 4);
    // Flags that the version has not, or that do not need it, a first seq of 0, and a version not known yet.
    daybook_slice read[DAYBOOK_STREAM_SUBJECT_COUNT_MAX];
    daybook_stream_config decoded;
    uint32_t id;
    int64_t created_ns;
    value[0] = 4;
    assert_int_equal(dbk_stream_decode(daybook_bytes(value, size + 4), &id, &decoded, &created_ns, read),
                     DAYBOOK_EDAMAGED);
    value[9] = DAYBOOK_STREAM_ALLOW_TTL;
    value[10] = 0;
    value[0] = 5;
    assert_int_equal(dbk_stream_decode(daybook_bytes(value, size + 4), &id, &decoded, &created_ns, read),
                     DAYBOOK_EDAMAGED);
    value[0] = 3;
    assert_int_equal(dbk_stream_decode(daybook_bytes(value, size + 3), &id, &decoded, &created_ns, read),
                     DAYBOOK_EDAMAGED);
    value[9] = 0;
    value[size + 1] = 0;
    assert_int_equal(dbk_stream_decode(daybook_bytes(value, size + 3), &id, &decoded, &created_ns, read),
                     DAYBOOK_EDAMAGED);
    value[0] = 6;
    assert_int_equal(dbk_stream_decode(daybook_bytes(value, size + 3), &id, &decoded, &created_ns, read),
                     DAYBOOK_EFORMAT);
}

static void check_record(const daybook_consumer_config *config, const uint8_t *expected, size_t size) {
    const daybook_allocator *allocator = dbk_allocator_default();
    dbk_buf record;
    dbk_buf_init(&record, allocator, 1 << 20);
    assert_int_equal(dbk_consumer_config_encode(config, 9, &record), DAYBOOK_OK);
    assert_int_equal(record.size, size);
    assert_memory_equal(record.data, expected, size);
    daybook_consumer_config *decoded;
    int64_t created_ns;
    assert_int_equal(
        dbk_consumer_config_decode(daybook_bytes(record.data, size), allocator, &decoded, &created_ns),
        DAYBOOK_OK);
    assert_int_equal(created_ns, 9);
    assert_true(dbk_consumer_config_equal(config, decoded));
    assert_int_equal(decoded->attributes.size, config->attributes.size);
    dbk_free(allocator, decoded);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(
            dbk_consumer_config_decode(daybook_bytes(record.data, cut), allocator, &decoded, &created_ns),
            DAYBOOK_EDAMAGED);
    dbk_buf_append_u8(&record, 0);
    assert_int_equal(
        dbk_consumer_config_decode(daybook_bytes(record.data, record.size), allocator, &decoded, &created_ns),
        DAYBOOK_EDAMAGED);
    dbk_buf_deinit(&record);
}

static void the_record_of_a_consumer_is_what_it_was(void **state) {
    (void)state;
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = c;
    config.ack_wait_ns = 1;
    uint8_t record[256] = {1, 1, 0, 0, 0, 0, 0, 0}; // version, flags, deliver, ack, replay
    size_t size = 8 + 2 * 8;                        // start seq and time
    record[size] = 1;                               // ack wait
    size += 3 * 8;                                  // inactive threshold, pause
    record[size] = 9;                               // created
    size += 2 * 8;                                  // max deliver
    memcpy(record + size, "\xe8\3", 2);             // max ack pending
    size += 8;
    memcpy(record + size, "\0\2", 2); // max waiting
    size += 8;
    memcpy(record + size, "\1c\0\0\0", 5); // name, description, backoff, filters
    size += 5;
    check_record(&config, record, size);
    config.attributes = daybook_text("ab");
    record[0] = 2;
    memcpy(record + size, "\2ab", 3);
    check_record(&config, record, size + 3);
    daybook_consumer_config *decoded;
    int64_t created_ns;
    record[0] = 3;
    assert_int_equal(dbk_consumer_config_decode(daybook_bytes(record, size + 3), dbk_allocator_default(),
                                                &decoded, &created_ns),
                     DAYBOOK_EFORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(attributes_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stream_begins_where_it_was_told, set_up, tear_down),
        cmocka_unit_test(the_format_is_what_it_was),
        cmocka_unit_test(the_record_of_a_consumer_is_what_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
