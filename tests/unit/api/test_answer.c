// SPDX-License-Identifier: Apache-2.0
// Answers that no recorded one covers (test_golden.c): what later versions have, failures of every kind,
// acknowledgements.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/answer.h"
#include "json/json.h"

static dbk_api_dial newest, oldest;
static dbk_buf out;

static int set_up(void **state) {
    (void)state;
    dbk_api_dial_init(&newest, "2.14.6");
    dbk_api_dial_init(&oldest, "2.9.10");
    dbk_buf_init(&out, dbk_allocator_default(), 1 << 20);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    dbk_buf_deinit(&out);
    return 0;
}

static void check(const char *expected) {
    dbk_buf_append_u8(&out, '\0');
    assert_int_equal(dbk_buf_status(&out), DAYBOOK_OK);
    assert_string_equal((const char *)out.data, expected);
    dbk_buf_reset(&out);
}

#define TYPE(name) "{\"type\":\"io.nats.jetstream.api.v1." name "_response\""

static void failures_have_what_go_leaves_in(void **state) {
    (void)state;
    dbk_api_error error;
    (void)dbk_api_fail(&error, DBK_API_ERR_STREAM_NOT_FOUND);
#define FAILURE ",\"error\":{\"code\":404,\"err_code\":10059,\"description\":\"stream not found\"}"
    dbk_api_write_failure(&out, DBK_API_STREAM_DELETE, &error);
    check(TYPE("stream_delete") FAILURE "}");
    dbk_api_write_failure(&out, DBK_API_STREAM_INFO, &error);
    check(TYPE("stream_info") FAILURE ",\"total\":0,\"offset\":0,\"limit\":0}");
    dbk_api_write_failure(&out, DBK_API_STREAM_PURGE, &error);
    check(TYPE("stream_purge") FAILURE ",\"purged\":0}");
    dbk_api_write_failure(&out, DBK_API_CONSUMER_LIST, &error);
    check(TYPE("consumer_list") FAILURE ",\"total\":0,\"offset\":0,\"limit\":0,\"consumers\":[]}");
    for (int kind = 0; kind < DBK_API_ANSWER_COUNT; kind++) {
        json_t *value = NULL;
        dbk_api_write_failure(&out, (dbk_api_answer)kind, &error);
        assert_int_equal(dbk_json_parse(daybook_bytes(out.data, out.size), &value, NULL), DAYBOOK_OK);
        assert_non_null(json_object_get(json_object_get(value, "error"), "err_code"));
        json_decref(value);
        dbk_buf_reset(&out);
    }
}

static void successes_are_short(void **state) {
    (void)state;
    dbk_api_write_success(&out, DBK_API_CONSUMER_DELETE);
    check(TYPE("consumer_delete") ",\"success\":true}");
    dbk_api_write_success(&out, DBK_API_CONSUMER_UNPIN);
    check(TYPE("consumer_unpin") "}");
    dbk_api_write_purged(&out, 7);
    check(TYPE("stream_purge") ",\"success\":true,\"purged\":7}");
    dbk_api_write_consumer_paused(&out, true, 4102444800000000000, 5);
    check(TYPE(
        "consumer_pause") ",\"paused\":true,\"pause_until\":\"2100-01-01T00:00:00Z\",\"pause_remaining\":5}");
    dbk_api_write_consumer_paused(&out, false, 0, 0);
    check(TYPE("consumer_pause") ",\"paused\":false,\"pause_until\":\"0001-01-01T00:00:00Z\"}");
}

static void consumers_tell_what_later_versions_know(void **state) {
    (void)state;
    static const dbk_api_priority_state groups[] = {
        {{"A", 1}, {"pin", 3}, 1000000000},
        {{"B", 1}, {NULL, 0}, 0},
    };
    dbk_api_consumer_info info;
    memset(&info, 0, sizeof info);
    info.stream_name = daybook_text("S");
    info.name = daybook_text("c");
    info.delivered.last_active_ns = 1000000000;
    info.push_bound = info.paused = true;
    info.pause_remaining_ns = 6;
    info.now_ns = 2000000000;
    info.priority_groups = (dbk_api_objects){groups, 2};
#define CONFIG                                                                                            \
    "\"config\":{\"deliver_policy\":\"all\",\"ack_policy\":\"none\",\"replay_policy\":\"instant\",\"num_" \
    "replicas\":0"
#define HEAD ",\"stream_name\":\"S\",\"name\":\"c\",\"created\":\"0001-01-01T00:00:00Z\","
#define COUNTS                                                                                             \
    ",\"delivered\":{\"consumer_seq\":0,\"stream_seq\":0,\"last_active\":\"1970-01-01T00:00:01Z\"},\"ack_" \
    "floor\":{"                                                                                            \
    "\"consumer_seq\":0,\"stream_seq\":0},\"num_ack_pending\":0,\"num_redelivered\":0,\"num_waiting\":0,"  \
    "\"num_pending\":0,"                                                                                   \
    "\"push_bound\":true"
#define METADATA ",\"metadata\":{\"_nats.level\":\"4\",\"_nats.req.level\":\"0\",\"_nats.ver\":\"2.14.6\"}}"
#define TAIL                                                                                               \
    ",\"paused\":true,\"pause_remaining\":6,\"ts\":\"1970-01-01T00:00:02Z\",\"priority_groups\":[{"        \
    "\"group\":\"A\","                                                                                     \
    "\"pinned_client_id\":\"pin\",\"pinned_ts\":\"1970-01-01T00:00:01Z\"},{\"group\":\"B\",\"pinned_ts\":" \
    "\"0001-01-01T"                                                                                        \
    "00:00:00Z\"}]"
    dbk_api_write_consumer(&out, &newest, DBK_API_CONSUMER_INFO, &info);
    check(TYPE("consumer_info") HEAD CONFIG METADATA COUNTS TAIL "}");
    dbk_api_write_consumer(&out, &oldest, DBK_API_CONSUMER_CREATE, &info);
    check(TYPE("consumer_create") HEAD CONFIG "}" COUNTS "}");
    dbk_api_write_consumer_reset(&out, &newest, &info, 9);
    check(TYPE("consumer_reset") HEAD CONFIG METADATA COUNTS TAIL ",\"reset_seq\":9}");
}

static void streams_tell_subjects_and_what_is_deleted(void **state) {
    (void)state;
    static const dbk_api_count subjects[] = {{{"a.>", 3}, 1}, {{"b", 1}, 2}};
    static const uint64_t deleted[] = {3, 5};
    static const dbk_api_cluster cluster = {{"C", 1}, {"n", 1}};
    dbk_api_stream_info info;
    memset(&info, 0, sizeof info);
    info.config.name = daybook_text("S");
    info.state.subject_count = 2;
    info.state.subjects = (dbk_api_counts){subjects, 2};
    info.state.deleted_count = 2;
    info.state.deleted = (dbk_api_numbers){deleted, 2};
    info.domain = daybook_text("D");
    info.cluster = &cluster;
    dbk_api_write_stream_info(&out, &oldest, &info, &(dbk_api_page){2, 0, 100000});
    check(TYPE(
        "stream_info") ",\"total\":2,\"offset\":0,\"limit\":100000,\"config\":{\"name\":\"S\",\"retention\":"
                       "\"limits\",\"max_consumers\":0,\"max_msgs\":0,\"max_bytes\":0,\"max_age\":0,\"max_"
                       "msgs_per_subject\":0,"
                       "\"discard\":\"old\",\"storage\":\"file\",\"num_replicas\":0,\"allow_direct\":false,"
                       "\"mirror_direct\":false,"
                       "\"sealed\":false,\"deny_delete\":false,\"deny_purge\":false,\"allow_rollup_hdrs\":"
                       "false},\"created\":"
                       "\"0001-01-01T00:00:00Z\",\"state\":{\"messages\":0,\"bytes\":0,\"first_seq\":0,"
                       "\"first_ts\":"
                       "\"0001-01-01T00:00:00Z\",\"last_seq\":0,\"last_ts\":\"0001-01-01T00:00:00Z\",\"num_"
                       "subjects\":2,\"subjects\":{"
                       "\"a.\\u003e\":1,\"b\":2},\"num_deleted\":2,\"deleted\":[3,5],\"consumer_count\":0},"
                       "\"domain\":\"D\",\"cluster\":{"
                       "\"name\":\"C\",\"leader\":\"n\"}}");
}

static void pages_may_be_empty(void **state) {
    (void)state;
    dbk_api_list_writer list;
    dbk_api_page page = {7, 7, DBK_API_PAGE_LIST};
    dbk_api_list_begin(&list, &out, &newest, DBK_API_STREAM_LIST, &page);
    dbk_api_list_end(&list);
    check(TYPE("stream_list") ",\"total\":7,\"offset\":7,\"limit\":256,\"streams\":[]}");
    dbk_api_write_names(&out, DBK_API_STREAM_NAMES, &page, NULL, 0);
    check(TYPE("stream_names") ",\"total\":7,\"offset\":7,\"limit\":256,\"streams\":null}");
    dbk_api_write_names(&out, DBK_API_CONSUMER_NAMES, &page, NULL, 0);
    check(TYPE("consumer_names") ",\"total\":7,\"offset\":7,\"limit\":256,\"consumers\":[]}");
}

static void accounts_tell_their_api_level(void **state) {
    (void)state;
    dbk_api_account_info info;
    memset(&info, 0, sizeof info);
    info.reserved_storage = 3;
    info.limits.max_memory = -1;
    info.domain = daybook_text("D");
    info.api_total = 1;
    info.api_inflight = 2;
#define LIMITS                                                                                               \
    "\"streams\":0,\"consumers\":0,\"limits\":{\"max_memory\":-1,\"max_storage\":0,\"max_streams\":0,\"max_" \
    "consumers\":0,"                                                                                         \
    "\"max_ack_pending\":0,\"memory_max_stream_bytes\":0,\"storage_max_stream_bytes\":0,\"max_bytes_"        \
    "required\":false},"                                                                                     \
    "\"domain\":\"D\",\"api\":{"
    dbk_api_write_account_info(&out, &newest, &info);
    check(TYPE(
        "account_info") ",\"memory\":0,\"storage\":0,\"reserved_memory\":0,\"reserved_storage\":3," LIMITS
                        "\"level\":4,\"total\":1,\"errors\":0,\"inflight\":2}}");
}

static void acknowledgements_are_those_of_nats(void **state) {
    (void)state;
    dbk_api_pub_ack ack = {.stream = daybook_text("S"), .seq = 3};
    dbk_api_write_pub_ack(&out, &ack);
    check("{\"stream\":\"S\",\"seq\":3}");
    ack.is_duplicate = true;
    ack.domain = daybook_text("D");
    dbk_api_write_pub_ack(&out, &ack);
    check("{\"stream\":\"S\",\"domain\":\"D\",\"seq\":3,\"duplicate\": true}");
    ack = (dbk_api_pub_ack){
        .stream = daybook_text("S"), .seq = 3, .batch = daybook_text("id"), .batch_count = 2};
    dbk_api_write_pub_ack(&out, &ack);
    check("{\"stream\":\"S\",\"seq\":3,\"batch\":\"id\",\"count\":2}");
    ack = (dbk_api_pub_ack){.stream = daybook_text("S"), .seq = 3, .counter = daybook_text("-7")};
    dbk_api_write_pub_ack(&out, &ack);
    check("{\"stream\":\"S\",\"seq\":3,\"val\":\"-7\"}");
    dbk_api_error error;
    (void)dbk_api_fail_with(&error, DBK_API_ERR_STREAM_WRONG_LAST_SEQUENCE, "%d", 7);
    dbk_api_write_pub_failure(&out, &error, daybook_text("S"), 0);
    check("{\"error\":{\"code\":400,\"err_code\":10071,\"description\":\"wrong last sequence: "
          "7\"},\"stream\":\"S\","
          "\"seq\":0}");
}

static void a_buffer_that_is_full_fails(void **state) {
    (void)state;
    dbk_api_stream_info info;
    memset(&info, 0, sizeof info);
    dbk_buf_deinit(&out);
    dbk_buf_init(&out, dbk_allocator_default(), 100);
    dbk_api_write_stream(&out, &newest, DBK_API_STREAM_CREATE, &info, true);
    assert_int_equal(dbk_buf_status(&out), DAYBOOK_ENOMEM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(failures_have_what_go_leaves_in),
        TEST(successes_are_short),
        TEST(consumers_tell_what_later_versions_know),
        TEST(streams_tell_subjects_and_what_is_deleted),
        TEST(pages_may_be_empty),
        TEST(accounts_tell_their_api_level),
        TEST(acknowledgements_are_those_of_nats),
        TEST(a_buffer_that_is_full_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
