// SPDX-License-Identifier: Apache-2.0
// JetStream's requests: input is a text, and before it one byte for the version and one for the request. What
// is read and checked is kept and read again, and is the same; what is written reads back as the same.
#include "api/answer.h"
#include "api/request.h"
#include "api/transform.h"
#include "daybook/subject.h"
#include "fuzz.h"
#include "json/json.h"

static dbk_arena *arena;
static dbk_api_dial dial;

static void check_json(const dbk_buf *out) {
    json_t *value = NULL;
    FUZZ_CHECK(dbk_buf_status(out) == DAYBOOK_OK);
    FUZZ_CHECK(dbk_json_parse(daybook_bytes(out->data, out->size), &value, NULL) == DAYBOOK_OK);
    json_decref(value);
}

static void check_failure(const dbk_api_error *error) {
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), 1 << 20);
    FUZZ_CHECK(error->error_code > 10000 && strlen(error->description) < sizeof error->description);
    dbk_api_write_failure(&out, DBK_API_STREAM_CREATE, error);
    check_json(&out);
    dbk_buf_deinit(&out);
}

static void check_written_stream(const dbk_api_stream_config *config) {
    dbk_api_stream_create_request again;
    dbk_api_error error;
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), 1 << 26);
    dbk_api_write_stream_config(&out, &dial, config);
    check_json(&out);
    FUZZ_CHECK(dbk_api_read_stream_create(&dial, daybook_bytes(out.data, out.size), arena, &again, &error));
    FUZZ_CHECK(dbk_api_stream_configs_equal(config, &again.config));
    dbk_buf_deinit(&out);
}

static void check_stream(dbk_slice text) {
    dbk_api_stream_create_request request;
    dbk_api_stream_config kept;
    daybook_stream_config stored;
    dbk_api_error error;
    if (!dbk_api_read_stream_create(&dial, text, arena, &request, &error) ||
        !dbk_api_stream_config_check(&dial, &request.config, NULL, request.is_pedantic, arena, &error)) {
        check_failure(&error);
        return;
    }
    check_written_stream(&request.config);
    dbk_api_stream_config twice = request.config;
    FUZZ_CHECK(dbk_api_stream_config_check(&dial, &twice, NULL, request.is_pedantic, arena, &error));
    FUZZ_CHECK(dbk_api_stream_configs_equal(&twice, &request.config));
    if (!dbk_api_stream_config_to_store(&request.config, NULL, arena, &stored, &error)) {
        check_failure(&error);
        return;
    }
    FUZZ_CHECK(dbk_api_stream_config_from_store(&stored, arena, &kept, &error));
    FUZZ_CHECK(dbk_api_stream_configs_equal(&kept, &request.config));
    twice = request.config;
    twice.sealed = false;
    FUZZ_CHECK(dbk_api_stream_config_check_update(&dial, &kept, &twice, NULL, false, arena, &error));
}

static void check_consumer(dbk_slice text) {
    dbk_api_consumer_create_request request;
    dbk_api_stream_create_request stream;
    dbk_api_consumer_config kept;
    daybook_consumer_config stored;
    dbk_api_error error;
    FUZZ_CHECK(dbk_api_read_stream_create(&dial, daybook_text("{\"name\":\"S\",\"subjects\":[\"a.>\"]}"),
                                          arena, &stream, &error));
    FUZZ_CHECK(dbk_api_stream_config_check(&dial, &stream.config, NULL, false, arena, &error));
    if (!dbk_api_read_consumer_create(&dial, text, arena, &request, &error) ||
        !dbk_api_consumer_config_check(&dial, &stream.config, &request.config, NULL, request.is_pedantic,
                                       &error)) {
        check_failure(&error);
        return;
    }
    FUZZ_CHECK(dbk_api_consumer_config_check_update(&request.config, &request.config, &error));
    dbk_buf out;
    dbk_api_consumer_info info;
    memset(&info, 0, sizeof info);
    info.config = request.config;
    dbk_buf_init(&out, dbk_allocator_default(), 1 << 26);
    dbk_api_write_consumer(&out, &dial, DBK_API_CONSUMER_CREATE, &info);
    check_json(&out);
    dbk_buf_deinit(&out);
    if (!dbk_api_consumer_config_to_store(&request.config, NULL, arena, &stored, &error)) {
        check_failure(&error);
        return;
    }
    FUZZ_CHECK(dbk_api_consumer_config_from_store(&stored, arena, &kept, &error));
    FUZZ_CHECK(dbk_api_consumer_configs_equal(&kept, &request.config));
}

static void check_attributes(dbk_slice text) {
    dbk_api_error error;
    daybook_stream_config stream;
    daybook_consumer_config consumer;
    dbk_api_stream_config stream_read;
    dbk_api_consumer_config consumer_read;
    daybook_stream_config_init(&stream);
    daybook_consumer_config_init(&consumer);
    stream.attributes = consumer.attributes = text;
    if (dbk_api_stream_config_from_store(&stream, arena, &stream_read, &error)) {
        dbk_buf out;
        dbk_buf_init(&out, dbk_allocator_default(), 1 << 26);
        dbk_api_write_stream_config(&out, &dial, &stream_read);
        check_json(&out);
        dbk_buf_deinit(&out);
    }
    (void)dbk_api_consumer_config_from_store(&consumer, arena, &consumer_read, &error);
}

// Source, destination, subject.
static void check_transform(dbk_slice text) {
    const dbk_api_transform *transform;
    char reason[DBK_API_TRANSFORM_REASON_SIZE] = "";
    dbk_slice source = fuzz_take_text(&text);
    dbk_slice destination = fuzz_take_text(&text);
    if (dbk_api_transform_new(source, destination, arena, &transform, reason) != DAYBOOK_OK) {
        FUZZ_CHECK(*reason != '\0');
        return;
    }
    if (!daybook_subject_is_valid(text)) return;
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), 1 << 20);
    bool matches = dbk_api_transform_apply(transform, text, &out);
    FUZZ_CHECK(matches || out.size == 0);
    dbk_buf_deinit(&out);
}

static void check_small(dbk_slice text) {
    dbk_api_error error;
    dbk_api_pull_request pull;
    dbk_api_message_get_request get;
    dbk_api_page_request page;
    dbk_api_pause_request pause;
    int64_t number;
    (void)dbk_api_is_empty(text);
    if (!dbk_api_read_pull(&dial, text, arena, &pull, &error)) FUZZ_CHECK(error.description[0] != '\0');
    if (!dbk_api_read_message_get(&dial, text, arena, &get, &error)) check_failure(&error);
    if (!dbk_api_read_stream_page(&dial, text, arena, &page, &error)) check_failure(&error);
    if (!dbk_api_read_consumer_pause(&dial, text, arena, &pause, &error)) check_failure(&error);
    if (dbk_api_parse_ttl(text, &number)) FUZZ_CHECK(number == -1 || number % 1000000000 == 0);
    (void)dbk_api_parse_time(text, &number);
    (void)dbk_api_name_is_valid(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const versions[] = {"2.9.10", "2.10.0", "2.11.0", "2.12.0", "2.14.0"};
    static void (*const checks[])(dbk_slice) = {check_stream, check_consumer, check_attributes,
                                                check_transform, check_small};
    if (size < 2) return 0;
    dbk_api_dial_init(&dial, versions[data[0] % 5]);
    FUZZ_CHECK(dbk_arena_new(dbk_allocator_default(), 4096, &arena) == DAYBOOK_OK);
    checks[data[1] % 5](daybook_bytes(data + 2, size - 2));
    dbk_arena_free(arena);
    return 0;
}
