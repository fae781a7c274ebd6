// SPDX-License-Identifier: Apache-2.0
// A consumer's configuration: what a request becomes, what is refused and with which error, what the store
// keeps.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/answer.h"
#include "api/request.h"
#include "lib/fault_allocator.h"

static dbk_arena *arena;
static dbk_api_dial newest, oldest;
static dbk_api_stream_config stream, work_queue;

static void make_stream(dbk_api_stream_config *config_out, const char *text) {
    dbk_api_stream_create_request request;
    dbk_api_error error;
    assert_true(dbk_api_read_stream_create(&newest, daybook_text(text), arena, &request, &error));
    assert_true(dbk_api_stream_config_check(&newest, &request.config, NULL, false, arena, &error));
    *config_out = request.config;
}

static int set_up(void **state) {
    (void)state;
    dbk_api_dial_init(&newest, "2.14.6");
    dbk_api_dial_init(&oldest, "2.9.10");
    if (dbk_arena_new(dbk_allocator_default(), 1 << 16, &arena) != DAYBOOK_OK) return -1;
    make_stream(&stream, "{\"name\":\"S\",\"subjects\":[\"orders.>\"]}");
    make_stream(&work_queue, "{\"name\":\"W\",\"subjects\":[\"work.>\"],\"retention\":\"workqueue\"}");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    dbk_arena_free(arena);
    return 0;
}

// The configuration alone, as the request for a consumer of S has it.
static bool read_config(const dbk_api_dial *dial, const char *config,
                        dbk_api_consumer_create_request *request_out, dbk_api_error *error) {
    static char text[1 << 18];
    int size = snprintf(text, sizeof text, "{\"stream_name\":\"S\",\"config\":%s}", config);
    assert_in_range(size, 1, sizeof text - 1);
    return dbk_api_read_consumer_create(dial, daybook_text(text), arena, request_out, error);
}

static dbk_api_consumer_config complete_config(const char *text) {
    dbk_api_consumer_create_request request;
    dbk_api_error error;
    if (!read_config(&newest, text, &request, &error) ||
        !dbk_api_consumer_config_check(&newest, &stream, &request.config, NULL, false, &error))
        fail_msg("%s: %s", text, error.description);
    return request.config;
}

// The configuration within the answer.
static void check_written(const dbk_api_dial *dial, const dbk_api_consumer_config *config,
                          const char *expected) {
    dbk_buf out;
    dbk_api_consumer_info info;
    memset(&info, 0, sizeof info);
    info.config = *config;
    dbk_buf_init(&out, dbk_allocator_default(), 1 << 20);
    dbk_api_write_consumer(&out, dial, DBK_API_CONSUMER_INFO, &info);
    dbk_buf_append_u8(&out, '\0');
    assert_int_equal(dbk_buf_status(&out), DAYBOOK_OK);
    char *from = strstr((char *)out.data, "\"config\":");
    char *to = strstr((char *)out.data, ",\"delivered\":");
    assert_non_null(from);
    assert_non_null(to);
    *to = '\0';
    assert_string_equal(from + strlen("\"config\":"), expected);
    dbk_buf_deinit(&out);
}

#define STAMP(level) "\"_nats.level\":\"4\",\"_nats.req.level\":\"" level "\",\"_nats.ver\":\"2.14.6\""

static const char pull[] =
    "{\"durable_name\":\"c\",\"name\":\"c\",\"description\":\"d\",\"deliver_policy\":\"by_start_sequence\","
    "\"opt_start_seq\":7,\"ack_policy\":\"explicit\",\"ack_wait\":1000000000,\"max_deliver\":9,\"backoff\":["
    "1000000000,"
    "2000000000],\"filter_subjects\":[\"orders.a\",\"orders.b.*\"],\"replay_policy\":\"original\",\"sample_"
    "freq\":\"30%\","
    "\"max_waiting\":3,\"max_ack_pending\":4,\"headers_only\":true,\"max_batch\":5,\"max_expires\":6000000,"
    "\"max_bytes\":7,"
    "\"inactive_threshold\":8,\"num_replicas\":1,\"mem_storage\":true,\"metadata\":{" STAMP(
        "1") ",\"a\":\"b\"},"
             "\"pause_until\":\"2100-01-01T00:00:00Z\",\"priority_groups\":[\"A\"],\"priority_policy\":"
             "\"pinned_client\","
             "\"priority_timeout\":9}";
static const char push[] =
    "{\"name\":\"p\",\"deliver_policy\":\"by_start_time\",\"opt_start_time\":\"2024-"
    "01-02T03:04:05.6Z\",\"ack_policy\":"
    "\"all\",\"ack_wait\":30000000000,\"max_deliver\":-1,\"filter_subject\":\"orders.\\u003e"
    "\",\"replay_policy\":\"instant\","
    "\"rate_limit_bps\":1000,\"max_ack_pending\":-1,\"flow_control\":true,\"deliver_"
    "subject\":\"to.me\",\"deliver_group\":"
    "\"g\",\"idle_heartbeat\":1000000000,\"inactive_threshold\":5000000000,\"num_"
    "replicas\":0,\"metadata\":{" STAMP("0") "}}";

static void every_field_is_read_and_written(void **state) {
    (void)state;
    dbk_api_consumer_config config = complete_config(pull);
    check_written(&newest, &config, pull);
    config = complete_config(push);
    check_written(&newest, &config, push);
}

static void fields_are_those_of_the_version(void **state) {
    (void)state;
    dbk_api_consumer_config config = complete_config(pull);
    check_written(
        &oldest, &config,
        "{\"durable_name\":\"c\",\"name\":\"c\",\"description\":\"d\",\"deliver_policy\":\"by_start_"
        "sequence\","
        "\"opt_start_seq\":7,\"ack_policy\":\"explicit\",\"ack_wait\":1000000000,\"max_deliver\":9,"
        "\"backoff\":"
        "[1000000000,2000000000],\"replay_policy\":\"original\",\"sample_freq\":\"30%\",\"max_waiting\":3,"
        "\"max_ack_pending\":4,\"headers_only\":true,\"max_batch\":5,\"max_expires\":6000000,\"max_bytes\":7,"
        "\"inactive_threshold\":8,\"num_replicas\":1,\"mem_storage\":true}");
}

static void defaults_are_those_of_nats(void **state) {
    (void)state;
    dbk_api_consumer_config config = complete_config("{\"durable_name\":\"c\",\"ack_policy\":\"explicit\"}");
    check_written(
        &newest, &config,
        "{\"durable_name\":\"c\",\"deliver_policy\":\"all\",\"ack_policy\":\"explicit\",\"ack_wait\":"
        "30000000000,"
        "\"max_deliver\":-1,\"replay_policy\":\"instant\",\"max_waiting\":512,\"max_ack_pending\":1000,"
        "\"num_replicas\":0,\"metadata\":{" STAMP("0") "}}");
    config = complete_config("{}");
    check_written(
        &newest, &config,
        "{\"deliver_policy\":\"all\",\"ack_policy\":\"none\",\"max_deliver\":-1,\"replay_policy\":"
        "\"instant\","
        "\"max_waiting\":512,\"inactive_threshold\":5000000000,\"num_replicas\":0,\"metadata\":{" STAMP(
            "0") "}}");
    config = complete_config(
        "{\"max_deliver\":-5,\"max_waiting\":-1,\"max_ack_pending\":-9,\"max_batch\":-1,\"max_expires\":-1,"
        "\"max_bytes\":-1,\"idle_heartbeat\":-1,\"inactive_threshold\":-1,\"priority_timeout\":-1}");
    assert_int_equal(config.max_deliver, -1);
    assert_int_equal(config.max_ack_pending, -1);
    assert_int_equal(config.max_batch + config.max_expires_ns + config.max_bytes + config.idle_heartbeat_ns,
                     0);
    config = complete_config("{\"priority_policy\":\"pinned_client\",\"priority_groups\":[\"A\"]}");
    assert_int_equal(config.priority_timeout_ns, 120000000000);
    make_stream(
        &stream,
        "{\"name\":\"S\",\"consumer_limits\":{\"inactive_threshold\":7000000000,\"max_ack_pending\":8}}");
    config = complete_config("{\"ack_policy\":\"explicit\"}");
    assert_int_equal(config.inactive_threshold_ns, 7000000000);
    assert_int_equal(config.max_ack_pending, 8);
}

typedef struct refusal {
    const char *config;
    int error_code;
    const char *description;
} refusal;

static void check_refusal(const dbk_api_dial *dial, const dbk_api_stream_config *of, const refusal *expected,
                          const dbk_api_consumer_caps *caps, bool is_pedantic) {
    dbk_api_consumer_create_request request;
    dbk_api_error error;
    if (read_config(dial, expected->config, &request, &error) &&
        dbk_api_consumer_config_check(dial, of, &request.config, caps, is_pedantic, &error))
        fail_msg("%s was taken", expected->config);
    if (error.error_code != expected->error_code || strcmp(error.description, expected->description) != 0)
        fail_msg("%s: %d %s", expected->config, error.error_code, error.description);
}

static const refusal refusals[] = {
    {"1", 10025,
     "invalid JSON: json: cannot unmarshal number 1 into Go struct field CreateConsumerRequest.config of "
     "type "
     "server.ConsumerConfig"},
    {"{\"x\":1}", 10025, "invalid JSON: json: unknown field \"x\""},
    {"{\"ack_policy\":\"x\"}", 10025, "invalid JSON: can not unmarshal \"\\\"x\\\"\""},
    {"{\"priority_policy\":\"x\"}", 10025, "invalid JSON: unknown priority policy: \"x\""},
    {"{\"backoff\":[\"1s\"]}", 10025,
     "invalid JSON: json: cannot unmarshal string into Go struct field ConsumerConfig.config.backoff of type "
     "[]time.Duration"},
    {"{\"opt_start_time\":5}", 10025,
     "invalid JSON: json: cannot unmarshal number 5 into Go struct field "
     "ConsumerConfig.config.opt_start_time of "
     "type "
     "time.Time"},
    {"{\"name\":\"a.b\"}", 10052, "consumer name can not contain '.', '*', '>', '\\', '/'"},
    {"{\"durable_name\":\"a b\"}", 10052, "consumer durable name can not contain '.', '*', '>', '\\', '/'"},
    {"{\"num_replicas\":3}", 10074, "replicas > 1 not supported in non-clustered mode"},
    {"{\"num_replicas\":-1}", 10133, "replicas count cannot be negative"},
    {"{\"ack_policy\":\"flow_control\"}", 10181, "consumer ack policy invalid"},
    {"{\"backoff\":[-1]}", 10184, "consumer backoff needs to be positive"},
    {"{\"ack_wait\":-1}", 10183, "consumer ack wait needs to be positive"},
    {"{\"backoff\":[1,2,3],\"max_deliver\":2}", 10116,
     "max deliver is required to be > length of backoff values"},
    {"{\"deliver_subject\":\"a.*\"}", 10079, "consumer deliver subject has wildcards"},
    {"{\"deliver_subject\":\"a..b\"}", 10112, "invalid push consumer deliver subject"},
    {"{\"deliver_subject\":\"orders.x\"}", 10081, "consumer deliver subject forms a cycle"},
    {"{\"deliver_subject\":\"d\",\"max_waiting\":1}", 10080, "consumer in push mode can not set max waiting"},
    {"{\"deliver_subject\":\"d\",\"max_ack_pending\":1}", 10082,
     "consumer requires ack policy for max ack pending"},
    {"{\"deliver_subject\":\"d\",\"idle_heartbeat\":1}", 10083,
     "consumer idle heartbeat needs to be >= 100ms"},
    {"{\"rate_limit_bps\":1}", 10086, "consumer in pull mode can not have rate limit set"},
    {"{\"idle_heartbeat\":1000000000}", 10088, "consumer idle heartbeat requires a push based consumer"},
    {"{\"flow_control\":true}", 10089, "consumer flow control requires a push based consumer"},
    {"{\"max_expires\":1}", 10115, "consumer max request expires needs to be >= 1ms"},
    {"{\"direct\":true}", 10090, "consumer direct requires a push based consumer"},
    {"{\"direct\":true,\"deliver_subject\":\"d\",\"durable_name\":\"x\"}", 10091,
     "consumer direct requires an ephemeral consumer"},
    {"{\"filter_subject\":\"orders.a\",\"filter_subjects\":[\"orders.b\"]}", 10136,
     "consumer cannot have both FilterSubject and FilterSubjects specified"},
    {"{\"filter_subject\":\"a..b\"}", 10052, "invalid subject"},
    {"{\"filter_subjects\":[\"\"]}", 10139, "consumer filter in FilterSubjects cannot be empty"},
    {"{\"filter_subjects\":[null]}", 10139, "consumer filter in FilterSubjects cannot be empty"},
    {"{\"filter_subjects\":[\"orders.*\",\"orders.a\"]}", 10138, "consumer subject filters cannot overlap"},
    {"{\"opt_start_seq\":1}", 10094,
     "consumer delivery policy is deliver all, but optional start sequence is also set"},
    {"{\"deliver_policy\":\"last\",\"opt_start_seq\":1}", 10094,
     "consumer delivery policy is deliver last, but optional start sequence is also set"},
    {"{\"deliver_policy\":\"new\",\"opt_start_time\":\"1970-01-01T00:00:00Z\"}", 10094,
     "consumer delivery policy is deliver new, but optional start time is also set"},
    {"{\"deliver_policy\":\"last_per_subject\"}", 10094,
     "consumer delivery policy is deliver last per subject, but optional filter subject is not set"},
    {"{\"deliver_policy\":\"last_per_subject\",\"opt_start_seq\":1}", 10094,
     "consumer delivery policy is deliver last per subject, but optional start sequence is also set"},
    {"{\"deliver_policy\":\"by_start_sequence\"}", 10094,
     "consumer delivery policy is deliver by start sequence, but optional start sequence is not set"},
    {"{\"deliver_policy\":\"by_start_sequence\",\"opt_start_seq\":1,\"opt_start_time\":\"2024-01-01T00:00:"
     "00Z\"}",
     10094, "consumer delivery policy is deliver by start sequence, but optional start time is also set"},
    {"{\"deliver_policy\":\"by_start_time\"}", 10094,
     "consumer delivery policy is deliver by start time, but optional start time is not set"},
    {"{\"deliver_policy\":\"by_start_time\",\"opt_start_seq\":1,\"opt_start_time\":\"2024-01-01T00:00:00Z\"}",
     10094,
     "consumer delivery policy is deliver by start time, but optional start start sequence is also set"},
    {"{\"sample_freq\":\"x%\"}", 10095,
     "failed to parse consumer sampling configuration: strconv.Atoi: parsing \"x\": invalid syntax"},
    {"{\"deliver_subject\":\"d\",\"flow_control\":true}", 10108,
     "consumer with flow control also needs heartbeats"},
    {"{\"name\":\"a\",\"durable_name\":\"b\"}", 10132,
     "Consumer Durable and Name have to be equal if both are provided"},
    {"{\"priority_groups\":[\"A\"]}", 10196, "consumer can not have priority groups when policy is none"},
    {"{\"priority_timeout\":1}", 10197, "PinnedTTL cannot be set when PriorityPolicy is none"},
    {"{\"priority_policy\":\"overflow\"}", 10159,
     "Setting PriorityPolicy requires at least one PriorityGroup to be set"},
    {"{\"priority_policy\":\"overflow\",\"deliver_subject\":\"d\",\"priority_groups\":[\"A\"]}", 10178,
     "priority groups can not be used with push consumers"},
    {"{\"priority_policy\":\"overflow\",\"priority_groups\":[\"\"]}", 10161,
     "Group name cannot be an empty string"},
    {"{\"priority_policy\":\"overflow\",\"priority_groups\":[\"a b\"]}", 10162,
     "Valid priority group name must match A-Z, a-z, 0-9, -_/=)+ and may not exceed 16 characters"},
    {"{\"priority_policy\":\"overflow\",\"priority_groups\":[\"12345678901234567\"]}", 10162,
     "Valid priority group name must match A-Z, a-z, 0-9, -_/=)+ and may not exceed 16 characters"},
};

static void what_nats_refuses_is_refused_in_its_words(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        check_refusal(&newest, &stream, &refusals[i], NULL, false);
    static const refusal of_work[] = {
        {"{}", 10084, "consumer in pull mode requires explicit ack policy on workqueue stream"},
        {"{\"ack_policy\":\"all\"}", 10098, "workqueue stream requires explicit ack"},
        {"{\"ack_policy\":\"explicit\",\"deliver_policy\":\"new\"}", 10101,
         "consumer must be deliver all on workqueue stream"},
    };
    for (size_t i = 0; i < sizeof of_work / sizeof *of_work; i++)
        check_refusal(&newest, &work_queue, &of_work[i], NULL, false);
}

static void what_is_too_long_is_refused(void **state) {
    (void)state;
    enum { SIZE = 1 << 18 };
    static char text[SIZE];
    static const struct {
        const char *before, *behind;
        size_t size;
        int error_code;
        const char *description;
    } cases[] = {
        {"{\"name\":\"", "\"}", 256, 10102, "consumer name is too long, maximum allowed is 255"},
        {"{\"description\":\"", "\"}", 4097, 10107,
         "consumer description is too long, maximum allowed is 4096"},
        {"{\"metadata\":{\"k\":\"", "\"}}", 131072, 10135, "consumer metadata exceeds maximum size of 128KB"},
    };
    size_t size = (size_t)snprintf(text, sizeof text, "{\"filter_subjects\":[\"s\"");
    for (int i = 0; i < 64; i++) size += (size_t)snprintf(text + size, sizeof text - size, ",\"s%d\"", i);
    (void)snprintf(text + size, sizeof text - size, "]}");
    check_refusal(&newest, &stream,
                  &(refusal){text, 10012, "too many subject filters, maximum allowed is 64"}, NULL, false);
    size = (size_t)snprintf(text, sizeof text, "{\"backoff\":[1");
    for (int i = 0; i < 64; i++) size += (size_t)snprintf(text + size, sizeof text - size, ",1");
    (void)snprintf(text + size, sizeof text - size, "]}");
    check_refusal(&newest, &stream, &(refusal){text, 10012, "too many backoff values, maximum allowed is 64"},
                  NULL, false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t before = strlen(cases[i].before);
        memcpy(text, cases[i].before, before);
        memset(text + before, 'x', cases[i].size);
        memcpy(text + before + cases[i].size, cases[i].behind, strlen(cases[i].behind) + 1);
        check_refusal(&newest, &stream, &(refusal){text, cases[i].error_code, cases[i].description}, NULL,
                      false);
    }
}

static void older_versions_have_other_words(void **state) {
    (void)state;
    static const refusal old[] = {
        {"{\"name\":\"a/b\"}", 10127, "Consumer name can not contain path separators"},
        {"{\"durable_name\":\"a.b\"}", 10103, "durable name can not contain '.', '*', '>'"},
        {"{\"filter_subject\":\"elsewhere\"}", 10093,
         "consumer filter subject is not a valid subset of the interest subjects"},
    };
    for (size_t i = 0; i < sizeof old / sizeof *old; i++)
        check_refusal(&oldest, &stream, &old[i], NULL, false);
    dbk_api_consumer_config config = complete_config("{\"filter_subject\":\"elsewhere\"}");
    assert_int_equal(config.filter_subject.size, 9);
}

static void pedantic_requests_are_not_corrected(void **state) {
    (void)state;
    static const refusal pedantic[] = {
        {"{\"max_deliver\":-2}", 10157, "pedantic mode: max_deliver must be set to -1"},
        {"{\"max_waiting\":-1}", 10157, "pedantic mode: max_waiting must not be negative"},
        {"{\"backoff\":[2],\"ack_wait\":1}", 10157,
         "pedantic mode: first backoff value has to equal batch AckWait"},
    };
    for (size_t i = 0; i < sizeof pedantic / sizeof *pedantic; i++)
        check_refusal(&newest, &stream, &pedantic[i], NULL, true);
    make_stream(
        &stream,
        "{\"name\":\"S\",\"consumer_limits\":{\"inactive_threshold\":7000000000,\"max_ack_pending\":8}}");
    check_refusal(
        &newest, &stream,
        &(refusal){"{}", 10157,
                   "pedantic mode: max_ack_pending must be set if it's configured in stream limits"},
        NULL, true);
    check_refusal(
        &newest, &stream,
        &(refusal){"{\"max_ack_pending\":1}", 10157,
                   "pedantic mode: inactive_threshold must be set if it's configured in stream limits"},
        NULL, true);
}

static void limits_hold(void **state) {
    (void)state;
    const dbk_api_consumer_caps caps = {.max_ack_pending = 100, .max_request_batch = 10};
    const dbk_api_consumer_caps lacking = {.lacks = DBK_API_LACKS_PRIORITY_GROUPS};
    check_refusal(&newest, &stream,
                  &(refusal){"{\"priority_policy\":\"overflow\",\"priority_groups\":[\"A\"]}", 10012,
                             "priority groups are not supported by this server"},
                  &lacking, false);
    check_refusal(&newest, &stream,
                  &(refusal){"{\"ack_policy\":\"explicit\",\"max_ack_pending\":101}", 10121,
                             "consumer max ack pending exceeds system limit of 100"},
                  &caps, false);
    check_refusal(
        &newest, &stream,
        &(refusal){"{\"max_batch\":11}", 10125, "consumer max request batch exceeds server limit of 10"},
        &caps, false);
    dbk_api_consumer_create_request request;
    dbk_api_error error;
    assert_true(read_config(&newest, "{\"ack_policy\":\"explicit\"}", &request, &error));
    assert_true(dbk_api_consumer_config_check(&newest, &stream, &request.config, &caps, false, &error));
    assert_int_equal(request.config.max_ack_pending, 100);
    assert_int_equal(request.config.max_batch, 10);
    make_stream(
        &stream,
        "{\"name\":\"S\",\"consumer_limits\":{\"inactive_threshold\":7000000000,\"max_ack_pending\":8}}");
    check_refusal(
        &newest, &stream,
        &(refusal){"{\"max_ack_pending\":9}", 10121, "consumer max ack pending exceeds system limit of 8"},
        NULL, false);
    check_refusal(&newest, &stream,
                  &(refusal){"{\"inactive_threshold\":8000000000}", 10153,
                             "consumer inactive threshold exceeds system limit of 7s"},
                  NULL, false);
}

static void updates_change_what_may_be_changed(void **state) {
    (void)state;
    static const struct {
        const char *old, *config;
        const char *description; // NULL: taken
    } cases[] = {
        {"{\"ack_policy\":\"explicit\"}",
         "{\"ack_policy\":\"explicit\",\"max_ack_pending\":5,\"filter_subject\":\"orders.a\"}", NULL},
        {"{}", "{\"deliver_policy\":\"new\"}", "deliver policy can not be updated"},
        {"{}", "{\"mem_storage\":true}", "storage type can not be updated"},
        {"{\"deliver_policy\":\"by_start_sequence\",\"opt_start_seq\":1}",
         "{\"deliver_policy\":\"by_start_sequence\",\"opt_start_seq\":2}",
         "start sequence can not be updated"},
        {"{\"deliver_policy\":\"by_start_time\",\"opt_start_time\":\"2024-01-01T00:00:00Z\"}",
         "{\"deliver_policy\":\"by_start_time\",\"opt_start_time\":\"2025-01-01T00:00:00Z\"}",
         "start time can not be updated"},
        {"{}", "{\"ack_policy\":\"all\"}", "ack policy can not be updated"},
        {"{}", "{\"replay_policy\":\"original\"}", "replay policy can not be updated"},
        {"{\"deliver_subject\":\"d\"}", "{\"deliver_subject\":\"d\",\"idle_heartbeat\":1000000000}",
         "heart beats can not be updated"},
        {"{\"deliver_subject\":\"d\",\"idle_heartbeat\":1000000000}",
         "{\"deliver_subject\":\"d\",\"idle_heartbeat\":1000000000,\"flow_control\":true}",
         "flow control can not be updated"},
        {"{}", "{\"deliver_subject\":\"d\"}", "can not update pull consumer to push based"},
        {"{\"deliver_subject\":\"d\"}", "{}", "can not update push consumer to pull based"},
        {"{\"deliver_subject\":\"d\"}", "{\"deliver_subject\":\"e\"}", NULL},
        {"{}", "{\"max_waiting\":7}", "max waiting can not be updated"},
        {"{}", "{\"sourcing\":true}", "sourcing can not be updated"},
        {"{\"deliver_subject\":\"d\"}", "{\"deliver_subject\":\"d\",\"direct\":true}",
         "direct can not be updated"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dbk_api_consumer_config old = complete_config(cases[i].old);
        dbk_api_consumer_config config = complete_config(cases[i].config);
        dbk_api_error error;
        bool is_taken = dbk_api_consumer_config_check_update(&old, &config, &error);
        if (is_taken != (cases[i].description == NULL)) fail_msg("%s", cases[i].config);
        if (is_taken) continue;
        assert_int_equal(error.error_code, 10012);
        assert_string_equal(error.description, cases[i].description);
    }
}

static void the_store_keeps_all_of_it(void **state) {
    (void)state;
    static const char *const texts[] = {
        pull,
        push,
        "{\"durable_name\":\"c\"}",
        "{\"name\":\"n\",\"ack_policy\":\"all\"}",
        "{\"name\":\"n\",\"filter_subjects\":[\"orders.a\"]}",
        "{\"name\":\"n\",\"max_ack_pending\":-1}",
        "{\"name\":\"n\",\"ack_policy\":\"explicit\",\"max_ack_pending\":-1}",
        "{\"name\":\"n\",\"max_ack_pending\":5}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        dbk_api_consumer_config config = complete_config(texts[i]);
        dbk_api_consumer_config again;
        daybook_consumer_config stored;
        dbk_api_error error;
        assert_true(dbk_api_consumer_config_to_store(&config, NULL, arena, &stored, &error));
        assert_int_equal(stored.size, sizeof stored);
        assert_true(dbk_api_consumer_config_from_store(&stored, arena, &again, &error));
        if (!dbk_api_consumer_configs_equal(&config, &again)) fail_msg("%s", texts[i]);
    }
}

static void what_the_store_says_counts(void **state) {
    (void)state;
    dbk_api_error error;
    daybook_consumer_config stored;
    dbk_api_consumer_config config = complete_config(pull);
    assert_true(dbk_api_consumer_config_to_store(&config, NULL, arena, &stored, &error));
    assert_int_equal(stored.flags, DAYBOOK_CONSUMER_DURABLE | DAYBOOK_CONSUMER_HEADERS_ONLY);
    assert_int_equal(stored.ack, DAYBOOK_ACK_EXPLICIT);
    assert_int_equal(stored.filter_count, 2);
    daybook_slice filters[] = {daybook_text("orders.c")};
    stored.filters = filters;
    stored.filter_count = 1;
    stored.max_deliver = 0;
    stored.max_ack_pending = 0;
    stored.ack_wait_ns = 5;
    stored.pause_until_ns = 0;
    assert_true(dbk_api_consumer_config_from_store(&stored, arena, &config, &error));
    assert_int_equal(config.filter_subject.size, 8);
    assert_int_equal(config.filter_subjects.count, 0);
    assert_int_equal(config.max_deliver, -1);
    assert_int_equal(config.max_ack_pending, -1);
    assert_int_equal(config.ack_wait_ns, 5);
    assert_int_equal(config.pause_until_ns, 0);
    assert_int_equal(config.max_batch, 5);
}

// Made through the library: nothing but what the store knows.
static void consumers_without_attributes_have_defaults(void **state) {
    (void)state;
    dbk_api_error error;
    daybook_consumer_config stored, again;
    dbk_api_consumer_config config;
    daybook_consumer_config_init(&stored);
    stored.name = daybook_text("c");
    stored.flags |= DAYBOOK_CONSUMER_IN_ORDER;
    assert_true(dbk_api_consumer_config_from_store(&stored, arena, &config, &error));
    check_written(
        &oldest, &config,
        "{\"durable_name\":\"c\",\"deliver_policy\":\"all\",\"ack_policy\":\"explicit\",\"ack_wait\":"
        "30000000000,"
        "\"max_deliver\":-1,\"replay_policy\":\"instant\",\"max_waiting\":512,\"max_ack_pending\":1000,"
        "\"num_replicas\":0}");
    assert_true(dbk_api_consumer_config_to_store(&config, &stored, arena, &again, &error));
    assert_int_equal(again.flags, DAYBOOK_CONSUMER_DURABLE | DAYBOOK_CONSUMER_IN_ORDER);
    assert_true(dbk_api_consumer_config_to_store(&config, NULL, arena, &again, &error));
    assert_int_equal(again.flags, DAYBOOK_CONSUMER_DURABLE);
}

static void samples_are_percent(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int percent;
    } cases[] = {{"", 0}, {"30%", 30}, {"30", 30}, {"500%", 100}, {"%", 0}, {"x", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dbk_api_consumer_config config;
        memset(&config, 0, sizeof config);
        config.sample_freq = daybook_text(cases[i].text);
        assert_int_equal(dbk_api_consumer_config_sample(&config), cases[i].percent);
    }
}

static void levels_follow_what_is_used(void **state) {
    (void)state;
    dbk_api_consumer_config config = complete_config("{\"name\":\"c\"}");
    assert_int_equal(dbk_api_consumer_config_level(&config), 0);
    config.pause_until_ns = 1;
    assert_int_equal(dbk_api_consumer_config_level(&config), 1);
    config.priority_policy = DBK_API_PRIORITY_PRIORITIZED;
    assert_int_equal(dbk_api_consumer_config_level(&config), 2);
    config.ack_policy = DBK_API_ACK_FLOW_CONTROL;
    assert_int_equal(dbk_api_consumer_config_level(&config), 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(every_field_is_read_and_written),
        TEST(fields_are_those_of_the_version),
        TEST(defaults_are_those_of_nats),
        TEST(what_nats_refuses_is_refused_in_its_words),
        TEST(what_is_too_long_is_refused),
        TEST(older_versions_have_other_words),
        TEST(pedantic_requests_are_not_corrected),
        TEST(limits_hold),
        TEST(updates_change_what_may_be_changed),
        TEST(the_store_keeps_all_of_it),
        TEST(what_the_store_says_counts),
        TEST(consumers_without_attributes_have_defaults),
        TEST(samples_are_percent),
        TEST(levels_follow_what_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
