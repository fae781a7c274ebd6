// SPDX-License-Identifier: Apache-2.0
// A stream's configuration: what a request becomes, what is refused and with which error, what the store
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

static int set_up(void **state) {
    (void)state;
    dbk_api_dial_init(&newest, "2.14.6");
    dbk_api_dial_init(&oldest, "2.9.10");
    return dbk_arena_new(dbk_allocator_default(), 1 << 16, &arena) == DAYBOOK_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    dbk_arena_free(arena);
    return 0;
}

static char *text_of(dbk_buf *out) {
    dbk_buf_append_u8(out, '\0');
    assert_int_equal(dbk_buf_status(out), DAYBOOK_OK);
    return (char *)out->data;
}

static dbk_api_stream_config read_config(const char *text) {
    dbk_api_stream_create_request request;
    dbk_api_error error;
    if (!dbk_api_read_stream_create(&newest, daybook_text(text), arena, &request, &error))
        fail_msg("%s: %s", text, error.description);
    return request.config;
}

static dbk_api_stream_config complete_config(const char *text) {
    dbk_api_stream_config config = read_config(text);
    dbk_api_error error;
    if (!dbk_api_stream_config_check(&newest, &config, NULL, false, arena, &error))
        fail_msg("%s: %s", text, error.description);
    return config;
}

static void check_written(const dbk_api_dial *dial, const dbk_api_stream_config *config,
                          const char *expected) {
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), 1 << 20);
    dbk_api_write_stream_config(&out, dial, config);
    assert_string_equal(text_of(&out), expected);
    dbk_buf_deinit(&out);
}

static const char everything[] =
    "{\"name\":\"S\",\"description\":\"d\",\"subjects\":[\"a\",\"b.*\"],\"retention\":\"interest\",\"max_"
    "consumers\":1,"
    "\"max_msgs\":2,\"max_bytes\":3,\"max_age\":4000000000,\"max_msgs_per_subject\":5,\"max_msg_size\":6,"
    "\"discard\":\"new\","
    "\"storage\":\"memory\",\"num_replicas\":1,\"no_ack\":true,\"duplicate_window\":1000000000,\"placement\":"
    "{\"cluster\":"
    "\"c\",\"tags\":[\"t\"]},\"compression\":\"s2\",\"first_seq\":9,\"subject_transform\":{\"src\":\"b.*\","
    "\"dest\":"
    "\"c.$1\"},\"republish\":{\"src\":\"a\",\"dest\":\"out\",\"headers_only\":true},\"allow_direct\":true,"
    "\"mirror_direct\":false,\"discard_new_per_subject\":true,\"sealed\":false,\"deny_delete\":true,\"deny_"
    "purge\":false,"
    "\"allow_rollup_hdrs\":true,\"consumer_limits\":{\"inactive_threshold\":10,\"max_ack_pending\":11},"
    "\"allow_msg_ttl\":true,\"subject_delete_marker_ttl\":12000000000,\"allow_atomic\":true,\"metadata\":{"
    "\"A\":\"3\","
    "\"_nats.level\":\"4\",\"_nats.req.level\":\"2\",\"_nats.ver\":\"2.14.6\",\"a\":\"1\"}}";

static void every_field_is_read_and_written(void **state) {
    (void)state;
    dbk_api_stream_config config = complete_config(everything);
    check_written(&newest, &config, everything);
    assert_int_equal(config.retention, DAYBOOK_RETENTION_INTEREST);
    assert_int_equal(config.storage, DAYBOOK_STORAGE_MEMORY);
    assert_int_equal(config.max_msg_size, 6);
    assert_int_equal(config.first_seq, 9);
    assert_int_equal(config.metadata.count, 5);
    assert_memory_equal(config.placement->tags.items[0].data, "t", 1);
}

static void fields_are_those_of_the_version(void **state) {
    (void)state;
    dbk_api_stream_config config = complete_config(everything);
    check_written(
        &oldest, &config,
        "{\"name\":\"S\",\"description\":\"d\",\"subjects\":[\"a\",\"b.*\"],\"retention\":\"interest\","
        "\"max_consumers\":1,\"max_msgs\":2,\"max_bytes\":3,\"max_age\":4000000000,\"max_msgs_per_subject\":"
        "5,"
        "\"max_msg_size\":6,\"discard\":\"new\",\"storage\":\"memory\",\"num_replicas\":1,\"no_ack\":true,"
        "\"duplicate_window\":1000000000,\"placement\":{\"cluster\":\"c\",\"tags\":[\"t\"]},\"republish\":{"
        "\"src\":\"a\",\"dest\":\"out\",\"headers_only\":true},\"allow_direct\":true,\"mirror_direct\":false,"
        "\"discard_new_per_subject\":true,\"sealed\":false,\"deny_delete\":true,\"deny_purge\":false,"
        "\"allow_rollup_hdrs\":true}");
    dbk_api_stream_create_request request;
    dbk_api_error error;
    assert_true(dbk_api_read_stream_create(&oldest, daybook_text(everything), arena, &request, &error));
    assert_false(request.config.allow_atomic);
    assert_int_equal(request.config.metadata.count, 0);
    assert_true(request.config.allow_direct);
}

static void defaults_are_those_of_nats(void **state) {
    (void)state;
    dbk_api_stream_config config = complete_config("{\"name\":\"S\"}");
    check_written(
        &newest, &config,
        "{\"name\":\"S\",\"subjects\":[\"S\"],\"retention\":\"limits\",\"max_consumers\":-1,\"max_msgs\":-1,"
        "\"max_bytes\":-1,\"max_age\":0,\"max_msgs_per_subject\":-1,\"max_msg_size\":-1,\"discard\":\"old\","
        "\"storage\":\"file\",\"num_replicas\":1,\"duplicate_window\":120000000000,\"compression\":\"none\","
        "\"allow_direct\":false,\"mirror_direct\":false,\"sealed\":false,\"deny_delete\":false,"
        "\"deny_purge\":false,\"allow_rollup_hdrs\":false,\"consumer_limits\":{},\"allow_msg_ttl\":false,"
        "\"metadata\":{\"_nats.level\":\"4\",\"_nats.req.level\":\"0\",\"_nats.ver\":\"2.14.6\"}}");
    config = complete_config(
        "{\"name\":\"S\",\"max_age\":1000000000,\"max_msgs\":-7,\"subject_delete_marker_ttl\":1000000000,"
        "\"placement\":{}}");
    assert_int_equal(config.duplicate_window_ns, 1000000000);
    assert_int_equal(config.max_msgs, -1);
    assert_true(config.allow_msg_ttl && config.allow_rollup_hdrs);
    assert_null(config.placement);
    config = complete_config("{\"name\":\"S\",\"subjects\":[\"a\"],\"republish\":{\"dest\":\"out.>\"}}");
    assert_memory_equal(config.republish->source.data, ">", 1);
}

// What nats-server says to it; 0: nothing.
typedef struct refusal {
    const char *request;
    int error_code;
    const char *description;
} refusal;

static void check_refusal(const dbk_api_dial *dial, const refusal *expected,
                          const dbk_api_stream_limits *limits, bool is_pedantic) {
    dbk_api_stream_create_request request;
    dbk_api_error error;
    bool is_taken =
        dbk_api_read_stream_create(dial, daybook_text(expected->request), arena, &request, &error) &&
        dbk_api_stream_config_check(dial, &request.config, limits, is_pedantic, arena, &error);
    if (is_taken) fail_msg("%s was taken", expected->request);
    if (error.error_code != expected->error_code || strcmp(error.description, expected->description) != 0)
        fail_msg("%s: %d %s", expected->request, error.error_code, error.description);
}

static const refusal refusals[] = {
    {"{", 10025, "invalid JSON: unexpected EOF"},
    {"{\"name\":x}", 10025, "invalid JSON: invalid character 'x' looking for beginning of value"},
    {"[]", 10025,
     "invalid JSON: json: cannot unmarshal array into Go value of type server.StreamConfigRequest"},
    {"{\"colour\":1}", 10025, "invalid JSON: json: unknown field \"colour\""},
    {"{\"max_msgs\":\"1\"}", 10025,
     "invalid JSON: json: cannot unmarshal string into Go struct field "
     "StreamConfigRequest.StreamConfig.max_msgs of type int64"},
    {"{\"max_msgs\":1.5}", 10025,
     "invalid JSON: json: cannot unmarshal number 1.5 into Go struct field "
     "StreamConfigRequest.StreamConfig.max_msgs of type "
     "int64"},
    {"{\"max_msgs\":9223372036854775808}", 10025,
     "invalid JSON: json: cannot unmarshal number 9.223372036854776e+18 into Go struct field "
     "StreamConfigRequest.StreamConfig.max_msgs of "
     "type int64"},
    {"{\"max_msg_size\":2147483648}", 10025,
     "invalid JSON: json: cannot unmarshal number 2147483648 into Go struct field "
     "StreamConfigRequest.StreamConfig.max_msg_size "
     "of type "
     "int32"},
    {"{\"first_seq\":-1}", 10025,
     "invalid JSON: json: cannot unmarshal number -1 into Go struct field "
     "StreamConfigRequest.StreamConfig.first_seq of type "
     "uint64"},
    {"{\"sealed\":1}", 10025,
     "invalid JSON: json: cannot unmarshal number 1 into Go struct field "
     "StreamConfigRequest.StreamConfig.sealed of type bool"},
    {"{\"subjects\":\"a\"}", 10025,
     "invalid JSON: json: cannot unmarshal string into Go struct field "
     "StreamConfigRequest.StreamConfig.subjects of type "
     "[]string"},
    {"{\"subjects\":[1]}", 10025,
     "invalid JSON: json: cannot unmarshal number 1 into Go struct field "
     "StreamConfigRequest.StreamConfig.subjects of type "
     "[]string"},
    {"{\"metadata\":{\"a\":1}}", 10025,
     "invalid JSON: json: cannot unmarshal number 1 into Go struct field "
     "StreamConfigRequest.StreamConfig.metadata of type "
     "map[string]string"},
    {"{\"placement\":true}", 10025,
     "invalid JSON: json: cannot unmarshal bool into Go struct field "
     "StreamConfigRequest.StreamConfig.placement of type "
     "server.Placement"},
    {"{\"placement\":{\"cluster\":{}}}", 10025,
     "invalid JSON: json: cannot unmarshal object into Go struct field "
     "Placement.StreamConfig.placement.cluster of type string"},
    {"{\"retention\":\"x\"}", 10025, "invalid JSON: can not unmarshal \"\\\"x\\\"\""},
    {"{\"discard\":null}", 10025, "invalid JSON: can not unmarshal \"null\""},
    {"{\"sources\":[{\"opt_start_time\":\"x\"}]}", 10025,
     "invalid JSON: parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\""},
    {"{}", 10052, "stream name is required and can not contain '.', '*', '>', '\\', '/'"},
    {"{\"name\":\"a.b\"}", 10052, "stream name is required and can not contain '.', '*', '>', '\\', '/'"},
    {"{\"name\":\"S\",\"num_replicas\":6}", 10052, "maximum replicas is 5"},
    {"{\"name\":\"S\",\"num_replicas\":-1}", 10133, "replicas count cannot be negative"},
    {"{\"name\":\"S\",\"num_replicas\":3}", 10074, "replicas > 1 not supported in non-clustered mode"},
    {"{\"name\":\"S\",\"max_age\":-1}", 10052, "max age can not be negative"},
    {"{\"name\":\"S\",\"max_age\":1}", 10052, "max age needs to be >= 100ms"},
    {"{\"name\":\"S\",\"duplicate_window\":-1}", 10052, "duplicates window can not be negative"},
    {"{\"name\":\"S\",\"duplicate_window\":1}", 10052, "duplicates window needs to be >= 100ms"},
    {"{\"name\":\"S\",\"duplicate_window\":2000000000,\"max_age\":1000000000}", 10052,
     "duplicates window can not be larger then max age"},
    {"{\"name\":\"S\",\"deny_purge\":true,\"allow_rollup_hdrs\":true}", 10052,
     "roll-ups require the purge permission"},
    {"{\"name\":\"S\",\"allow_msg_counter\":true,\"discard\":\"new\"}", 10052,
     "counter stream cannot use discard new"},
    {"{\"name\":\"S\",\"allow_msg_counter\":true,\"allow_msg_ttl\":true}", 10052,
     "counter stream cannot use message TTLs"},
    {"{\"name\":\"S\",\"allow_msg_counter\":true,\"allow_msg_schedules\":true}", 10052,
     "counter stream cannot use message schedules"},
    {"{\"name\":\"S\",\"allow_msg_counter\":true,\"retention\":\"interest\"}", 10052,
     "counter stream can only use limits retention"},
    {"{\"name\":\"S\",\"allow_msg_counter\":true}", 10052,
     "message counters are not supported by this server"},
    {"{\"name\":\"S\",\"discard_new_per_subject\":true}", 10052,
     "discard new per subject requires discard new policy to be set"},
    {"{\"name\":\"S\",\"discard_new_per_subject\":true,\"discard\":\"new\"}", 10052,
     "discard new per subject requires max msgs per subject > 0"},
    {"{\"name\":\"S\",\"subject_delete_marker_ttl\":-1}", 10052,
     "subject delete marker TTL must not be negative"},
    {"{\"name\":\"S\",\"subject_delete_marker_ttl\":1}", 10052,
     "subject delete marker TTL must be at least 1 second"},
    {"{\"name\":\"S\",\"allow_msg_schedules\":true,\"discard\":\"new\"}", 10052,
     "message scheduling cannot use discard new"},
    {"{\"name\":\"S\",\"allow_msg_schedules\":true}", 10052,
     "message schedules are not supported by this server"},
    {"{\"name\":\"S\",\"allow_batched\":true}", 10052,
     "fast batch publishing is not supported by this server"},
    {"{\"name\":\"S\",\"persist_mode\":\"async\",\"storage\":\"memory\"}", 10052,
     "async persist mode is only supported on file storage"},
    {"{\"name\":\"S\",\"persist_mode\":\"async\",\"num_replicas\":2}", 10052,
     "async persist mode is not supported on replicated streams"},
    {"{\"name\":\"S\",\"persist_mode\":\"async\",\"allow_atomic\":true}", 10052,
     "async persist mode is not supported with atomic batch publish"},
    {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\"},\"first_seq\":2}", 10143,
     "stream mirrors can not have first sequence configured"},
    {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\"},\"subjects\":[\"a\"]}", 10034,
     "stream mirrors can not contain subjects"},
    {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\"},\"sources\":[{}]}", 10031,
     "stream mirrors can not also contain other sources"},
    {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\"},\"allow_msg_counter\":true}", 10173,
     "stream mirrors can not also calculate counters"},
    {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\"},\"allow_atomic\":true}", 10198,
     "stream mirrors can not also use atomic publishing"},
    {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\"},\"allow_batched\":true}", 10209,
     "stream mirrors can not also use batch publishing"},
    {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\"},\"allow_msg_schedules\":true}", 10186,
     "stream mirrors can not also schedule messages"},
    {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\",\"filter_subject\":\"a\",\"subject_transforms\":[{}]}}",
     10150, "mirror with multiple subject transforms cannot also have a single subject filter"},
    {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\"},\"subject_delete_marker_ttl\":1000000000}", 10052,
     "subject delete markers forbidden on mirrors"},
    {"{\"name\":\"S\",\"mirror\":{\"name\":\"\"}}", 10142, "mirrored stream name is invalid"},
    {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\",\"subject_transforms\":[{\"src\":\"a..b\"}]}}", 10151,
     "mirror transform source: invalid subject a..b"},
    {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\",\"subject_transforms\":[{\"src\":\"a\",\"dest\":\"$1\"}]}}",
     10154, "mirror transform: invalid mapping destination: wildcard index out of range in $1: [1]"},
    {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\",\"subject_transforms\":[{\"src\":\"a.*\"},{\"src\":\"a.b\"}]"
     "}}",
     10152, "mirror subject filters can not overlap"},
    {"{\"name\":\"S\",\"mirror\":{\"name\":\"S\"}}", 10052, "detected cycle"},
    {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\",\"external\":{\"api\":\"$JS.x.API\",\"deliver\":\"\"}}}",
     10052, "mirrors of external streams are not supported by this server"},
    {"{\"name\":\"S\",\"sources\":[{\"name\":\"O\"}],\"allow_msg_schedules\":true}", 10187,
     "stream source can not also schedule messages"},
    {"{\"name\":\"S\",\"sources\":[null]}", 10141, "sourced stream name is invalid"},
    {"{\"name\":\"S\",\"sources\":[{\"name\":\"O\",\"filter_subject\":\"a\",\"subject_transforms\":[{}]}]}",
     10144, "source with multiple subject transforms cannot also have a single subject filter"},
    {"{\"name\":\"S\",\"sources\":[{\"name\":\"O\"},{\"name\":\"O\"}]}", 10140,
     "duplicate source configuration detected"},
    {"{\"name\":\"S\",\"sources\":[{\"name\":\"O\"},{\"name\":\"O\",\"filter_subject\":\">\"}]}", 10140,
     "duplicate source configuration detected"},
    {"{\"name\":\"S\",\"sources\":[{\"name\":\"O\",\"subject_transforms\":[{\"src\":\"a..b\"}]}]}", 10145,
     "source transform source: invalid subject a..b"},
    {"{\"name\":\"S\",\"sources\":[{\"name\":\"O\",\"subject_transforms\":[{\"src\":\"a\",\"dest\":\"$1\"}]}]"
     "}",
     10146, "source transform: invalid mapping destination: wildcard index out of range in $1: [1]"},
    {"{\"name\":\"S\",\"sources\":[{\"name\":\"O\",\"subject_transforms\":[{\"src\":\"a.*\"},{\"src\":\"a."
     "b\"}]}]}",
     10147, "source filters can not overlap"},
    {"{\"name\":\"S\",\"sources\":[{\"name\":\"S\"}]}", 10052, "detected cycle"},
    {"{\"name\":\"S\",\"sources\":[{\"name\":\"O\",\"external\":{\"api\":\"$JS.x.API\",\"deliver\":\"\"}}]}",
     10052, "sources that are external streams are not supported by this server"},
    {"{\"name\":\"S\",\"subjects\":[\"a..b\"]}", 10052, "invalid subject"},
    {"{\"name\":\"S\",\"subjects\":[\"a\",\"a\"]}", 10052, "duplicate subjects detected"},
    {"{\"name\":\"S\",\"subjects\":[\">\"]}", 10052, "capturing all subjects requires no-ack to be true"},
    {"{\"name\":\"S\",\"subjects\":[\">\"],\"no_ack\":true,\"num_replicas\":2}", 10052,
     "capturing all subjects requires replicas of 1"},
    {"{\"name\":\"S\",\"subjects\":[\"$JS.>\"]}", 10052,
     "subjects that overlap with jetstream api require no-ack to be true"},
    {"{\"name\":\"S\",\"subjects\":[\"*.API.INFO\"]}", 10052,
     "subjects that overlap with jetstream api require no-ack to be true"},
    {"{\"name\":\"S\",\"subjects\":[\"$SYS.x\"]}", 10052,
     "subjects that overlap with system api require no-ack to be true"},
    {"{\"name\":\"S\",\"subjects\":[\"a.*\",\"a.b\"]}", 10052, "subject \"a.*\" overlaps with \"a.b\""},
    {"{\"name\":\"S\",\"subject_transform\":{\"src\":\"a..b\",\"dest\":\"x\"}}", 10155,
     "stream transform source: invalid subject a..b"},
    {"{\"name\":\"S\",\"subject_transform\":{\"src\":\"a\",\"dest\":\"$1\"}}", 10156,
     "stream transform: invalid mapping destination: wildcard index out of range in $1: [1]"},
    {"{\"name\":\"S\",\"subjects\":[\"a.>\"],\"republish\":{\"src\":\"a.>\",\"dest\":\"a.b.>\"}}", 10052,
     "stream configuration for republish destination forms a cycle"},
    {"{\"name\":\"S\",\"subjects\":[\"a.>\"],\"republish\":{\"src\":\"a.>\",\"dest\":\"b\"}}", 10052,
     "stream configuration for republish with transform from 'a.>' to 'b' not valid"},
    {"{\"name\":\"S\",\"placement\":{\"preferred\":\"x\"}}", 10052,
     "preferred server not permitted in placement"},
    {"{\"name\":\"S\",\"mirror_direct\":true}", 10052, "stream has no mirror but does have mirror direct"},
    {"{\"name\":\"S\",\"sealed\":true}", 10052, "stream configuration for create can not be sealed"},
};

static void what_nats_refuses_is_refused_in_its_words(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        check_refusal(&newest, &refusals[i], NULL, false);
}

static void what_is_too_long_is_refused(void **state) {
    (void)state;
    enum { SIZE = 1 << 18 };
    static char text[SIZE];
    static const struct {
        const char *format;
        int size;
        const char *description;
    } cases[] = {
        {"{\"name\":\"%0*d\"}", 256, "stream name is too long, maximum allowed is 255"},
        {"{\"name\":\"S\",\"description\":\"%0*d\"}", 4097,
         "stream description is too long, maximum allowed is 4096"},
        {"{\"name\":\"S\",\"metadata\":{\"k\":\"%0*d\"}}", 131072,
         "stream metadata exceeds maximum size of 131072 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *percent = strchr(cases[i].format, '%');
        size_t before = (size_t)(percent - cases[i].format);
        memcpy(text, cases[i].format, before);
        memset(text + before, 'x', (size_t)cases[i].size);
        memcpy(text + before + cases[i].size, percent + 4, strlen(percent + 4) + 1);
        check_refusal(&newest, &(refusal){text, 10052, cases[i].description}, NULL, false);
    }
    size_t size = (size_t)snprintf(text, sizeof text, "{\"name\":\"S\",\"subjects\":[\"s\"");
    for (int i = 0; i < 256; i++) size += (size_t)snprintf(text + size, sizeof text - size, ",\"s%d\"", i);
    (void)snprintf(text + size, sizeof text - size, "]}");
    check_refusal(&newest, &(refusal){text, 10052, "too many subjects, maximum allowed is 256"}, NULL, false);
}

static void older_versions_have_other_words(void **state) {
    (void)state;
    static const refusal old[] = {
        {"{", 10025, "invalid JSON"},
        {"{\"max_msgs\":\"1\"}", 10025, "invalid JSON"},
        {"{}", 10052, "stream name is required and can not contain '.', '*', '>'"},
        {"{\"name\":\"a/b\"}", 10128, "Stream name can not contain path separators"},
        {"{\"name\":\"a\\\\b\"}", 10128, "Stream name can not contain path separators"},
        {"{\"name\":\"S\",\"template_owner\":\"t\"}", 10052,
         "stream configuration update can not be owned by a template"},
    };
    for (size_t i = 0; i < sizeof old / sizeof *old; i++) check_refusal(&oldest, &old[i], NULL, false);
}

static void pedantic_requests_are_not_corrected(void **state) {
    (void)state;
    static const refusal pedantic[] = {
        {"{\"name\":\"S\",\"max_msgs\":-2}", 10157, "pedantic mode: max_msgs must be set to -1"},
        {"{\"name\":\"S\",\"max_bytes\":-2}", 10157, "pedantic mode: max_bytes must be set to -1"},
        {"{\"name\":\"S\",\"max_consumers\":-2}", 10157, "pedantic mode: max_consumers must be set to -1"},
        {"{\"name\":\"S\",\"max_age\":1000000000}", 10157,
         "pedantic mode: duplicate window cannot be bigger than max age"},
        {"{\"name\":\"S\",\"republish\":{\"dest\":\"out.>\"}}", 10157,
         "pedantic mode: republish source can not be empty"},
        {"{\"name\":\"S\",\"subject_delete_marker_ttl\":1000000000}", 10052,
         "subject delete marker cannot be set if message TTLs are disabled"},
        {"{\"name\":\"S\",\"subject_delete_marker_ttl\":1000000000,\"allow_msg_ttl\":true}", 10052,
         "subject delete marker cannot be set if roll-ups are disabled"},
        {"{\"name\":\"S\",\"allow_msg_schedules\":true}", 10052,
         "message scheduling cannot be set if roll-ups are disabled"},
    };
    for (size_t i = 0; i < sizeof pedantic / sizeof *pedantic; i++)
        check_refusal(&newest, &pedantic[i], NULL, true);
    dbk_api_stream_create_request request;
    dbk_api_error error;
    assert_true(
        dbk_api_read_stream_create(&newest, daybook_text("{\"pedantic\":true}"), arena, &request, &error));
    assert_true(request.is_pedantic);
}

static void limits_of_the_server_hold(void **state) {
    (void)state;
    const dbk_api_stream_limits limits = {.duplicate_window_max_ns = 60000000000,
                                          .max_bytes_required = true,
                                          .stream_bytes_max_file = 1000,
                                          .stream_bytes_max_memory = 100};
    static const refusal beyond[] = {
        {"{\"name\":\"S\",\"duplicate_window\":61000000000}", 10052,
         "duplicates window can not be larger then server limit of 1m0s"},
        {"{\"name\":\"S\"}", 10113, "account requires a stream config to have max bytes set"},
        {"{\"name\":\"S\",\"max_bytes\":1001}", 10122,
         "stream max bytes exceeds account limit max stream bytes"},
        {"{\"name\":\"S\",\"max_bytes\":101,\"storage\":\"memory\"}", 10122,
         "stream max bytes exceeds account limit max stream bytes"},
    };
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++)
        check_refusal(&newest, &beyond[i], &limits, false);
    check_refusal(&newest,
                  &(refusal){"{\"name\":\"S\",\"max_bytes\":1}", 10157,
                             "pedantic mode: duplicate window limits are higher than current limits"},
                  &limits, true);
    dbk_api_stream_config config = read_config("{\"name\":\"S\",\"max_bytes\":1000}");
    dbk_api_error error;
    assert_true(dbk_api_stream_config_check(&newest, &config, &limits, false, arena, &error));
    assert_int_equal(config.duplicate_window_ns, 60000000000);
}

static void what_a_server_lacks_is_refused(void **state) {
    (void)state;
    const dbk_api_stream_limits lacking = {.lacks = DBK_API_LACKS_REPUBLISH |
                                                    DBK_API_LACKS_SUBJECT_TRANSFORM};
    static const refusal lacks[] = {
        {"{\"name\":\"S\",\"republish\":{\"src\":\">\",\"dest\":\"out.>\"}}", 10052,
         "republish is not supported by this server"},
        {"{\"name\":\"S\",\"subject_transform\":{\"src\":\"S\",\"dest\":\"T\"}}", 10052,
         "subject transforms are not supported by this server"},
    };
    for (size_t i = 0; i < sizeof lacks / sizeof *lacks; i++) {
        check_refusal(&newest, &lacks[i], &lacking, false);
        (void)complete_config(lacks[i].request);
    }
}

static void updates_change_what_may_be_changed(void **state) {
    (void)state;
    static const struct {
        const char *old, *request;
        const char *description; // NULL: taken
    } cases[] = {
        {"{\"name\":\"S\"}", "{\"name\":\"S\",\"subjects\":[\"x\"],\"max_msgs\":5,\"description\":\"d\"}",
         NULL},
        {"{\"name\":\"S\"}", "{\"name\":\"T\"}", "stream configuration name must match original"},
        {"{\"name\":\"S\"}", "{\"name\":\"S\",\"storage\":\"memory\"}",
         "stream configuration update can not change storage type"},
        {"{\"name\":\"S\"}", "{\"name\":\"S\",\"retention\":\"workqueue\"}",
         "stream configuration update can not change retention policy to/from workqueue"},
        {"{\"name\":\"S\"}", "{\"name\":\"S\",\"retention\":\"interest\"}", NULL},
        {"{\"name\":\"S\"}", "{\"name\":\"S\",\"max_consumers\":4}", NULL},
        {"{\"name\":\"S\",\"deny_delete\":true}", "{\"name\":\"S\"}",
         "stream configuration update can not cancel deny message deletes"},
        {"{\"name\":\"S\",\"deny_purge\":true}", "{\"name\":\"S\"}",
         "stream configuration update can not cancel deny purge"},
        {"{\"name\":\"S\",\"allow_msg_ttl\":true}", "{\"name\":\"S\"}",
         "message TTL status can not be disabled"},
        {"{\"name\":\"S\",\"persist_mode\":\"async\"}", "{\"name\":\"S\"}",
         "stream configuration update can not change persist mode"},
        {"{\"name\":\"S\"}", "{\"name\":\"S\",\"max_age\":1}", "max age needs to be >= 100ms"},
        {"{\"name\":\"S\"}", "{\"name\":\"S\",\"num_replicas\":3}",
         "replicas > 1 not supported in non-clustered mode"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dbk_api_stream_config old = complete_config(cases[i].old);
        dbk_api_stream_config config = read_config(cases[i].request);
        dbk_api_error error;
        bool is_taken =
            dbk_api_stream_config_check_update(&newest, &old, &config, NULL, false, arena, &error);
        if (is_taken != (cases[i].description == NULL)) fail_msg("%s", cases[i].request);
        if (!is_taken) assert_string_equal(error.description, cases[i].description);
    }
    dbk_api_stream_config old = complete_config("{\"name\":\"S\"}");
    dbk_api_stream_config config = read_config("{\"name\":\"S\",\"max_consumers\":4}");
    dbk_api_error error;
    assert_false(dbk_api_stream_config_check_update(&oldest, &old, &config, NULL, false, arena, &error));
    assert_string_equal(error.description, "stream configuration update can not change MaxConsumers");
    config = read_config("{\"name\":\"S\",\"retention\":\"interest\"}");
    assert_false(dbk_api_stream_config_check_update(&oldest, &old, &config, NULL, false, arena, &error));
    assert_string_equal(error.description, "stream configuration update can not change retention policy");
}

static void a_stream_is_sealed_for_ever(void **state) {
    (void)state;
    dbk_api_error error;
    dbk_api_stream_config old =
        complete_config("{\"name\":\"S\",\"max_age\":1000000000,\"allow_rollup_hdrs\":true}");
    dbk_api_stream_config config = read_config("{\"name\":\"S\",\"max_age\":1000000000,\"sealed\":true,"
                                               "\"allow_rollup_hdrs\":true}");
    assert_true(dbk_api_stream_config_check_update(&newest, &old, &config, NULL, false, arena, &error));
    assert_true(config.sealed && config.deny_delete && config.deny_purge && !config.allow_rollup_hdrs);
    assert_int_equal(config.max_age_ns, 0);
    assert_int_equal(config.discard, DAYBOOK_DISCARD_NEW);
    dbk_api_stream_config again = read_config("{\"name\":\"S\"}");
    assert_false(dbk_api_stream_config_check_update(&newest, &config, &again, NULL, false, arena, &error));
    assert_string_equal(error.description, "stream configuration update can not unseal a sealed stream");
}

static void equal_configurations_are_equal(void **state) {
    (void)state;
    dbk_api_stream_config a = complete_config(everything);
    dbk_api_stream_config b = complete_config(everything);
    assert_true(dbk_api_stream_configs_equal(&a, &b));
    static const char *const others[] = {
        "{\"name\":\"S\"}",
        "{\"name\":\"S\",\"subjects\":[\"a\"]}",
        "{\"name\":\"S\",\"metadata\":{\"a\":\"b\"}}",
        "{\"name\":\"S\",\"republish\":{\"src\":\"x\",\"dest\":\"y\"}}",
        "{\"name\":\"S\",\"republish\":{\"src\":\"x\",\"dest\":\"z\"}}",
        "{\"name\":\"S\",\"no_ack\":true}",
        "{\"name\":\"S\",\"storage\":\"memory\"}",
        "{\"name\":\"S\",\"max_msgs\":3}",
        "{\"name\":\"S\",\"first_seq\":3}",
        "{\"name\":\"S\",\"consumer_limits\":{\"max_ack_pending\":1}}",
        "{\"name\":\"S\",\"placement\":{\"tags\":[\"a\"]}}",
        "{\"name\":\"S\",\"metadata\":{\"a\":\"c\"}}",
        "{\"name\":\"S\",\"metadata\":{\"a\":\"c\",\"d\":\"e\"}}",
    };
    enum { COUNT = sizeof others / sizeof *others };
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < COUNT; k++) {
            a = complete_config(others[i]);
            b = complete_config(others[k]);
            assert_int_equal(dbk_api_stream_configs_equal(&a, &b), i == k);
        }
    }
    a = complete_config("{\"name\":\"S\",\"metadata\":{\"a\":\"c\"}}");
    b = complete_config(
        "{\"name\":\"S\",\"metadata\":{\"a\":\"c\",\"_nats.ver\":\"1\",\"_nats.level\":\"9\"}}");
    assert_true(dbk_api_stream_configs_equal(&a, &b));
}

static void the_store_keeps_all_of_it(void **state) {
    (void)state;
    static const char *const requests[] = {
        everything, "{\"name\":\"S\"}", "{\"name\":\"S\",\"max_consumers\":3}",
        "{\"name\":\"S\",\"mirror\":{\"name\":\"O\",\"opt_start_seq\":5,"
        "\"filter_subject\":\"a.>\"},\"mirror_direct\":true}",
        "{\"name\":\"S\",\"subjects\":[\"x\"],\"sources\":[{\"name\":\"O\"},"
        "{\"name\":\"P\",\"subject_transforms\":[{\"src\":\"a.*\",\"dest\":\"b.$1\"}]}]}"};
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        dbk_api_stream_config config = complete_config(requests[i]);
        dbk_api_stream_config again;
        daybook_stream_config stored;
        dbk_api_error error;
        assert_true(dbk_api_stream_config_to_store(&config, NULL, arena, &stored, &error));
        assert_int_equal(stored.size, sizeof stored);
        assert_true(dbk_api_stream_config_from_store(&stored, arena, &again, &error));
        assert_true(dbk_api_stream_configs_equal(&config, &again));
    }
}

static void copies_are_marked_in_the_store(void **state) {
    (void)state;
    static const struct {
        const char *request;
        uint32_t flags;
        size_t subject_count;
    } cases[] = {
        {"{\"name\":\"S\"}", 0, 1},
        {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\"}}",
         DAYBOOK_STREAM_OTHER_SUBJECTS | DAYBOOK_STREAM_GIVEN_SEQS | DAYBOOK_STREAM_INTERNAL, 0},
        {"{\"name\":\"S\",\"sources\":[{\"name\":\"O\"}]}",
         DAYBOOK_STREAM_OTHER_SUBJECTS | DAYBOOK_STREAM_INTERNAL, 0},
        {"{\"name\":\"S\",\"subjects\":[\"s\"],\"sources\":[{\"name\":\"O\"}]}",
         DAYBOOK_STREAM_OTHER_SUBJECTS, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dbk_api_stream_config config = complete_config(cases[i].request);
        daybook_stream_config stored;
        dbk_api_error error;
        assert_true(dbk_api_stream_config_to_store(&config, NULL, arena, &stored, &error));
        assert_int_equal(stored.flags, cases[i].flags);
        assert_int_equal(stored.subject_count, cases[i].subject_count);
    }
}

static void a_mirror_is_promoted_or_stays(void **state) {
    (void)state;
    static const struct {
        const char *before, *after;
        int error_code; // 0: taken
    } cases[] = {
        {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\"}}",
         "{\"name\":\"S\",\"mirror\":{\"name\":\"O\"},\"max_msgs\":3}", 0},
        {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\"}}", "{\"name\":\"S\",\"mirror\":{\"name\":\"P\"}}",
         10055},
        {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\"}}",
         "{\"name\":\"S\",\"mirror\":{\"name\":\"O\",\"filter_subject\":\"a\"}}", 10055},
        {"{\"name\":\"S\"}", "{\"name\":\"S\",\"mirror\":{\"name\":\"O\"}}", 10055},
        {"{\"name\":\"S\",\"mirror\":{\"name\":\"O\"}}", "{\"name\":\"S\",\"subjects\":[\"a\"]}", 0},
        {"{\"name\":\"S\"}", "{\"name\":\"S\",\"sources\":[{\"name\":\"O\"}]}", 0},
        {"{\"name\":\"S\",\"sources\":[{\"name\":\"O\"}]}", "{\"name\":\"S\"}", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dbk_api_error error = {0};
        dbk_api_stream_config old = complete_config(cases[i].before);
        dbk_api_stream_config config = read_config(cases[i].after);
        bool is_taken =
            dbk_api_stream_config_check_update(&newest, &old, &config, NULL, false, arena, &error);
        assert_int_equal(is_taken, cases[i].error_code == 0);
        if (!is_taken) assert_int_equal(error.error_code, cases[i].error_code);
    }
    dbk_api_error error;
    dbk_api_stream_config old = complete_config("{\"name\":\"S\",\"mirror\":{\"name\":\"O\"}}");
    dbk_api_stream_config config = read_config("{\"name\":\"S\"}");
    assert_false(dbk_api_stream_config_check_update(&oldest, &old, &config, NULL, false, arena, &error));
    assert_int_equal(error.error_code, 10055);
}

static void sources_have_names_of_what_they_give(void **state) {
    (void)state;
    static const struct {
        const char *request, *name;
    } cases[] = {
        {"{\"name\":\"S\",\"sources\":[{\"name\":\"O\"}]}", "O > >"},
        {"{\"name\":\"S\",\"sources\":[{\"name\":\"O\",\"filter_subject\":\"a.*\"}]}", "O a.* >"},
        {"{\"name\":\"S\",\"sources\":[{\"name\":\"O\",\"subject_transforms\":[{\"src\":\"a\",\"dest\":\"b\"}"
         ","
         "{\"src\":\"c\"}]}]}",
         "O a\fc b\f>"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dbk_api_stream_config config = complete_config(cases[i].request);
        dbk_slice name;
        assert_true(dbk_api_source_index_name(config.sources.items, arena, &name));
        assert_int_equal(name.size, strlen(cases[i].name));
        assert_memory_equal(name.data, cases[i].name, name.size);
    }
}

static void what_the_store_says_counts(void **state) {
    (void)state;
    dbk_api_error error;
    dbk_api_stream_config config = complete_config(everything);
    daybook_stream_config stored;
    assert_true(dbk_api_stream_config_to_store(&config, NULL, arena, &stored, &error));
    assert_int_equal(stored.max_msgs, 2);
    assert_int_equal(stored.flags, DAYBOOK_STREAM_ALLOW_ROLLUP | DAYBOOK_STREAM_DENY_DELETE |
                                       DAYBOOK_STREAM_DISCARD_NEW_PER_SUBJECT | DAYBOOK_STREAM_ALLOW_TTL |
                                       DAYBOOK_STREAM_OTHER_SUBJECTS); // it has a transform
    assert_int_equal(stored.delete_marker_ttl_s, 12);
    stored.max_msgs = 0;
    stored.flags = DAYBOOK_STREAM_INTERNAL | DAYBOOK_STREAM_DENY_PURGE;
    assert_true(dbk_api_stream_config_from_store(&stored, arena, &config, &error));
    assert_int_equal(config.max_msgs, -1);
    assert_true(config.deny_purge && !config.deny_delete && config.allow_atomic);
}

static void settings_of_the_store_alone_stay(void **state) {
    (void)state;
    dbk_api_error error;
    daybook_stream_config current, stored;
    dbk_api_stream_config config = complete_config("{\"name\":\"S\",\"deny_purge\":true}");
    daybook_stream_config_init(&current);
    current.aggregate_tokens = 3;
    current.sync_interval_ns = 5;
    current.flags = DAYBOOK_STREAM_INTERNAL | DAYBOOK_STREAM_DENY_DELETE;
    assert_true(dbk_api_stream_config_to_store(&config, &current, arena, &stored, &error));
    assert_int_equal(stored.aggregate_tokens, 3);
    assert_int_equal(stored.sync_interval_ns, 5);
    assert_int_equal(stored.flags, DAYBOOK_STREAM_INTERNAL | DAYBOOK_STREAM_DENY_PURGE);
    assert_true(dbk_api_stream_config_to_store(&config, NULL, arena, &stored, &error));
    assert_int_equal(stored.aggregate_tokens, 2);
}

static void attributes_of_later_versions_are_read(void **state) {
    (void)state;
    dbk_api_error error;
    dbk_api_stream_config config;
    daybook_stream_config stored;
    daybook_stream_config_init(&stored);
    stored.name = daybook_text("S");
    stored.attributes = daybook_text("{\"no_ack\":true,\"of_2030\":{\"a\":[1]},\"compression\":\"zstd\"}");
    assert_true(dbk_api_stream_config_from_store(&stored, arena, &config, &error));
    assert_true(config.no_ack);
    assert_int_equal(config.compression, DBK_API_COMPRESSION_NONE);
    stored.attributes = daybook_text("{\"no_ack\":tru");
    assert_false(dbk_api_stream_config_from_store(&stored, arena, &config, &error));
    assert_int_equal(error.error_code, 10025);
}

static void levels_follow_what_is_used(void **state) {
    (void)state;
    static const struct {
        const char *member;
        int level;
    } cases[] = {
        {"\"max_msgs\":1", 0},
        {"\"allow_msg_ttl\":true", 1},
        {"\"subject_delete_marker_ttl\":1000000000", 1},
        {"\"allow_atomic\":true", 2},
        {"\"persist_mode\":\"async\"", 2},
        {"\"allow_batched\":true", 4},
        {"\"allow_msg_counter\":true", 2},
        {"\"allow_msg_schedules\":true", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[100];
        (void)snprintf(text, sizeof text, "{\"name\":\"S\",%s}", cases[i].member);
        dbk_api_stream_config config = read_config(text);
        assert_int_equal(dbk_api_stream_config_level(&config), cases[i].level);
    }
}

// Reading, checking, keeping, with every allocation of the arena failing.
static bool work(const daybook_allocator *allocator, dbk_api_error *error) {
    dbk_arena *own = NULL;
    dbk_api_stream_create_request request;
    dbk_api_stream_config again;
    daybook_stream_config stored;
    if (dbk_arena_new(allocator, 64, &own) != DAYBOOK_OK) return dbk_api_fail_memory(error);
    bool is_done = dbk_api_read_stream_create(&newest, daybook_text(everything), own, &request, error) &&
                   dbk_api_stream_config_check(&newest, &request.config, NULL, false, own, error) &&
                   dbk_api_stream_config_to_store(&request.config, NULL, own, &stored, error) &&
                   dbk_api_stream_config_from_store(&stored, own, &again, error);
    dbk_arena_free(own);
    return is_done;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    for (uint64_t n = 1;; n++) {
        dbk_api_error error;
        fault_allocator_fail(&faults, n, false);
        bool is_done = work(&faults.allocator, &error);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!fault_allocator_has_failed(&faults)) {
            assert_true(is_done && n > 2);
            break;
        }
        assert_false(is_done);
        assert_int_equal(error.error_code, 10023);
    }
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
        TEST(limits_of_the_server_hold),
        TEST(what_a_server_lacks_is_refused),
        TEST(updates_change_what_may_be_changed),
        TEST(a_stream_is_sealed_for_ever),
        TEST(equal_configurations_are_equal),
        TEST(copies_are_marked_in_the_store),
        TEST(a_mirror_is_promoted_or_stays),
        TEST(sources_have_names_of_what_they_give),
        TEST(the_store_keeps_all_of_it),
        TEST(what_the_store_says_counts),
        TEST(settings_of_the_store_alone_stay),
        TEST(attributes_of_later_versions_are_read),
        TEST(levels_follow_what_is_used),
        TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
