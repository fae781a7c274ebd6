// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "auth/permissions.h"
#include "base/time.h"
#include "daybook/subject.h"
#include "lib/fault_allocator.h"

static uint64_t random_state = 11;

static uint64_t random_below(uint64_t bound) {
    uint64_t mixed = random_state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (mixed ^ (mixed >> 31)) % bound;
}

enum { RULES_MAX = 12 };

// Rules as a text: separated by commas; NULL: none given.
typedef struct rule_texts {
    char text[512];
    const char *items[RULES_MAX];
} rule_texts;

static dbk_text_list list_of(const char *rules, rule_texts *texts) {
    dbk_text_list list = {.items = texts->items, .count = 0};
    snprintf(texts->text, sizeof texts->text, "%s", rules == NULL ? "" : rules);
    for (char *at = texts->text; *at != '\0';) {
        assert_true(list.count < RULES_MAX);
        texts->items[list.count++] = at;
        at += strcspn(at, ",");
        if (*at != '\0') *at++ = '\0';
    }
    return list;
}

static dbk_permissions *permissions_of(const char *publish_allow, const char *publish_deny,
                                       const char *subscribe_allow, const char *subscribe_deny) {
    static rule_texts texts[4];
    dbk_permission_options options = {
        .publish = {.has_allow = publish_allow != NULL,
                    .allow = list_of(publish_allow, &texts[0]),
                    .deny = list_of(publish_deny, &texts[1])},
        .subscribe = {.has_allow = subscribe_allow != NULL,
                      .allow = list_of(subscribe_allow, &texts[2]),
                      .deny = list_of(subscribe_deny, &texts[3])},
    };
    dbk_permissions *permissions;
    daybook_error error;
    daybook_error_init(&error);
    if (dbk_permissions_new(dbk_allocator_default(), &options, &permissions, &error) != DAYBOOK_OK) {
        fail_msg("%s", error.message);
    }
    memset(texts, 'x', sizeof texts); // rules are copied
    return permissions;
}

static void who_has_no_permissions_may_do_everything(void **state) {
    (void)state;
    assert_true(dbk_permissions_may_publish(NULL, daybook_text("a")));
    assert_int_equal(dbk_permissions_may_subscribe(NULL, daybook_text(">"), daybook_text("q")),
                     DBK_PERMITTED_ALL);
    assert_true(dbk_permissions_may_deliver(NULL, daybook_text("a"), daybook_text("")));
    assert_false(dbk_permissions_tracks_responses(NULL));
    assert_null(dbk_permissions_ref(NULL));
    dbk_permissions_unref(NULL);
}

static void publishing_follows_the_rules(void **state) {
    (void)state;
    static const struct {
        const char *allow, *deny, *yes, *no;
    } cases[] = {
        {NULL, NULL, "a,a.b,$SYS.x", ""},
        {"", NULL, "", "a,a.b"}, // allowed is given, and empty: nothing
        {"a.*,b", NULL, "a.b,b", "a,a.b.c,c"},
        {NULL, "a.>", "a,b.a", "a.b,a.b.c"},
        {"a.>", "a.secret.>", "a.b,a.secret", "a.secret.x,b"},
        {"a.b", "a.b", "", "a.b"},                                    // deny wins
        {"a,b,c,d,e,f.>", "f.g,f.h.*", "a,e,f.x,f.h", "f.g,f.h.i,g"}, // enough rules for answers to be kept
        {">", "*", "a.b", "a,*,>"},
        // A subject with wildcards stands for all it matches: a filter of a consumer, say.
        {"c.O.*.>", "c.O.*.orders.secret", "c.O.x.orders.y,c.O.x.o.*",
         "c.O.x.orders.secret,c.O.x.orders.*,c.O.x.orders.>,c.O.x.>,c.O.x.*.secret,c.O.*.orders.secret"},
        {"g.*", NULL, "g.a,g.*", "g.>,g.*.a,*.a,>"},
        {NULL, "d.x", "d.y,d.>.x", "d.x,d.*,d.>,>,*.x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dbk_permissions *permissions = permissions_of(cases[i].allow, cases[i].deny, NULL, NULL);
        for (int round = 0; round < 3; round++) {
            for (int is_yes = 0; is_yes < 2; is_yes++) {
                rule_texts texts;
                dbk_text_list subjects = list_of(is_yes ? cases[i].yes : cases[i].no, &texts);
                for (size_t k = 0; k < subjects.count; k++) {
                    bool may = dbk_permissions_may_publish(permissions, daybook_text(subjects.items[k]));
                    if (may != is_yes) fail_msg("case %zu: %s", i, subjects.items[k]);
                }
            }
        }
        dbk_permissions_unref(permissions);
    }
}

static void subscribing_follows_the_rules(void **state) {
    (void)state;
    static const struct {
        const char *allow, *deny, *filter, *queue;
        dbk_permitted permitted;
    } cases[] = {
        {NULL, NULL, ">", "", DBK_PERMITTED_ALL},
        {"", NULL, "a", "", DBK_PERMITTED_NO},
        {"a.*", NULL, "a.b", "", DBK_PERMITTED_ALL},
        {"a.*", NULL, "a.*", "", DBK_PERMITTED_ALL},
        {"a.*", NULL, "a.>", "", DBK_PERMITTED_NO}, // wider than what is allowed
        {"a.*", NULL, ">", "", DBK_PERMITTED_NO},
        {"a.*", NULL, "*.b", "", DBK_PERMITTED_NO},
        {"a.b,a.c", NULL, "a.*", "", DBK_PERMITTED_NO},
        {NULL, "a.b", "a.b", "", DBK_PERMITTED_NO},
        {NULL, "a.b", "a.c", "", DBK_PERMITTED_ALL},
        {NULL, "a.b", "a.*", "", DBK_PERMITTED_PARTLY},
        {NULL, "a.b", ">", "", DBK_PERMITTED_PARTLY},
        {NULL, "a.>", "a.*", "", DBK_PERMITTED_NO},
        {NULL, "a.*", "a.>", "", DBK_PERMITTED_PARTLY},
        {NULL, "a.*.c", "a.b.*", "", DBK_PERMITTED_PARTLY}, // neither covers the other
        {NULL, "*.b", "a.*", "", DBK_PERMITTED_PARTLY},
        {"a.>", "a.b", "a.*", "", DBK_PERMITTED_PARTLY},
        // Queues.
        {"a", NULL, "a", "q", DBK_PERMITTED_ALL}, // a rule without queue is for groups too
        {"a q", NULL, "a", "q", DBK_PERMITTED_ALL},
        {"a q", NULL, "a", "r", DBK_PERMITTED_NO},
        {"a q", NULL, "a", "", DBK_PERMITTED_NO},
        {"a,a v1", NULL, "a", "", DBK_PERMITTED_ALL},
        {"a,a v1", NULL, "a", "v1", DBK_PERMITTED_ALL},
        {"a,a v1", NULL, "a", "v2", DBK_PERMITTED_NO}, // rules with a queue decide where there are some
        {"a v1.>,a *.dev", NULL, "a", "v1.x.y", DBK_PERMITTED_ALL},
        {"a v1.>,a *.dev", NULL, "a", "v2.dev", DBK_PERMITTED_ALL},
        {"a v1.>,a *.dev", NULL, "a", "v2.prod", DBK_PERMITTED_NO},
        {"a.> q", NULL, "a.*", "q", DBK_PERMITTED_ALL},
        {"a.>,a.b v1", NULL, "a.*", "v2", DBK_PERMITTED_PARTLY}, // not a.b
        {NULL, "a q", "a", "q", DBK_PERMITTED_NO},
        {NULL, "a q", "a", "r", DBK_PERMITTED_ALL},
        {NULL, "a q", "a", "", DBK_PERMITTED_ALL},
        {NULL, "> *.prod", "a.b", "v1.prod", DBK_PERMITTED_NO},
        {NULL, "> *.prod", "a.b", "v1.dev", DBK_PERMITTED_ALL},
        {NULL, "a", "a", "q", DBK_PERMITTED_NO},     // a plain deny rule is for groups too,
        {NULL, "a,a q", "a", "r", DBK_PERMITTED_NO}, // also where another names a queue,
        {NULL, "a,> q", "a", "r", DBK_PERMITTED_NO}, // (advisory 2026-18)
        {NULL, "a.b q", "a.*", "q", DBK_PERMITTED_PARTLY},
        {NULL, "a.b q", "a.*", "r", DBK_PERMITTED_ALL},
        {NULL, "a.b", "a.*", "q", DBK_PERMITTED_PARTLY}, // CVE-2022-29946
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dbk_permissions *permissions = permissions_of(NULL, NULL, cases[i].allow, cases[i].deny);
        dbk_permitted permitted = dbk_permissions_may_subscribe(permissions, daybook_text(cases[i].filter),
                                                                daybook_text(cases[i].queue));
        if (permitted != cases[i].permitted) {
            fail_msg("allow %s deny %s: %s %s: %d", cases[i].allow, cases[i].deny, cases[i].filter,
                     cases[i].queue, permitted);
        }
        dbk_permissions_unref(permissions);
    }
}

static void deliveries_are_what_could_be_subscribed_to(void **state) {
    (void)state;
    dbk_permissions *permissions =
        permissions_of(NULL, NULL, "a.>,a.b v1,_INBOX.>", "a.secret.>,a.*.hidden,a.x q");
    static const struct {
        const char *subject, *queue;
        bool may;
    } cases[] = {
        {"a.c", "", true},         {"a.c", "v2", true},         {"a.b", "", true},
        {"a.b", "v1", true},       {"a.b", "v2", false},        {"a.secret", "", true},
        {"a.secret.x", "", false}, {"a.secret.x", "v1", false}, {"a.c.hidden", "", false},
        {"a.x", "", true},         {"a.x", "q", false},         {"a.x", "r", true},
        {"b", "", false},          {"_INBOX.x.1", "", true},
    };
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            bool may = dbk_permissions_may_deliver(permissions, daybook_text(cases[i].subject),
                                                   daybook_text(cases[i].queue));
            if (may != cases[i].may) fail_msg("%s %s", cases[i].subject, cases[i].queue);
        }
    }
    dbk_permissions_unref(permissions);
}

// Random rules: a subscription that is permitted wholly, in part or not at all gets exactly the subjects
// that could be subscribed to by name in that group.

static void random_tokens(bool is_filter, size_t count_max, char *text_out, size_t size_max) {
    static const char *tokens[] = {"a", "b", "c", "*", ">"};
    size_t count = 1 + random_below(count_max), size = 0;
    for (size_t i = 0; i < count; i++) {
        const char *token = tokens[random_below(is_filter ? 4 + (i + 1 == count) : 3)];
        size += (size_t)snprintf(text_out + size, size_max - size, "%s%s", i > 0 ? "." : "", token);
    }
}

static void random_rules(char text_out[256]) {
    size_t count = random_below(4), size = 0;
    text_out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        char filter[16], queue[16] = "";
        random_tokens(true, 3, filter, sizeof filter);
        if (random_below(3) == 0) random_tokens(true, 2, queue, sizeof queue);
        size += (size_t)snprintf(text_out + size, 256 - size, "%s%s%s%s", i > 0 ? "," : "", filter,
                                 queue[0] == '\0' ? "" : " ", queue);
    }
}

static void what_is_delivered_agrees_with_what_may_be_subscribed(void **state) {
    (void)state;
    unsigned counts[3] = {0}, delivered = 0, withheld = 0;
    for (int round = 0; round < 4000; round++) {
        char allow[256], deny[256];
        random_rules(allow);
        random_rules(deny);
        dbk_permissions *permissions = permissions_of(NULL, NULL, random_below(3) == 0 ? NULL : allow, deny);
        for (int k = 0; k < 20; k++) {
            char filter[16], queue[16] = "", subject[16];
            random_tokens(true, 3, filter, sizeof filter);
            if (random_below(2) == 0) random_tokens(false, 2, queue, sizeof queue);
            dbk_permitted permitted =
                dbk_permissions_may_subscribe(permissions, daybook_text(filter), daybook_text(queue));
            counts[permitted]++;
            for (int s = 0; s < 10; s++) {
                random_tokens(false, 3, subject, sizeof subject);
                if (!daybook_filter_matches(daybook_text(filter), daybook_text(subject))) continue;
                bool may =
                    dbk_permissions_may_deliver(permissions, daybook_text(subject), daybook_text(queue));
                dbk_permitted alone =
                    dbk_permissions_may_subscribe(permissions, daybook_text(subject), daybook_text(queue));
                assert_true(alone != DBK_PERMITTED_PARTLY);
                assert_int_equal(may, alone == DBK_PERMITTED_ALL);
                if (permitted == DBK_PERMITTED_ALL && !may) {
                    fail_msg("allow %s deny %s: %s %s is granted but %s is not", allow, deny, filter, queue,
                             subject);
                }
                delivered += may;
                withheld += !may;
            }
        }
        dbk_permissions_unref(permissions);
    }
    assert_true(counts[0] > 1000 && counts[1] > 1000 && counts[2] > 1000 && delivered > 1000 &&
                withheld > 1000);
}

static void answers_are_not_mixed_up(void **state) {
    (void)state;
    // Publish and deliver, subjects and queues that join to the same bytes, and subjects too long to be kept.
    dbk_permissions *permissions = permissions_of("p,p1,p2,p3", "x.>,y,z", ">,a q,b q,c q", "ab,d.*.e.>");
    for (int round = 0; round < 3; round++) {
        assert_true(dbk_permissions_may_publish(permissions, daybook_text("p")));
        assert_false(dbk_permissions_may_publish(permissions, daybook_text("ab1")));
        assert_true(dbk_permissions_may_deliver(permissions, daybook_text("ab1"), daybook_text("")));
        assert_true(dbk_permissions_may_deliver(permissions, daybook_text("a"), daybook_text("")));
        assert_false(dbk_permissions_may_deliver(permissions, daybook_text("ab"), daybook_text("")));
        assert_false(dbk_permissions_may_deliver(permissions, daybook_text("a"), daybook_text("b")));
        assert_true(dbk_permissions_may_deliver(permissions, daybook_text("a"), daybook_text("q")));
        char subject[1025];
        memset(subject, 's', sizeof subject);
        for (size_t size = 90; size <= 1024; size += 7) {
            memcpy(subject, "d.1.e.", 6);
            assert_false(
                dbk_permissions_may_deliver(permissions, daybook_bytes(subject, size), daybook_text("")));
            subject[4] = 'f';
            assert_true(
                dbk_permissions_may_deliver(permissions, daybook_bytes(subject, size), daybook_text("")));
        }
    }
    char subject[16];
    for (int i = 0; i < 5000; i++) {
        snprintf(subject, sizeof subject, "%s.%d", i % 3 ? "p4" : "x", i % 700);
        assert_false(dbk_permissions_may_publish(permissions, daybook_text(subject)));
        snprintf(subject, sizeof subject, "p%d", i % 5);
        assert_int_equal(dbk_permissions_may_publish(permissions, daybook_text(subject)),
                         i % 5 >= 1 && i % 5 <= 3);
    }
    dbk_permissions_unref(permissions);
}

static void malformed_rules_are_refused_by_name(void **state) {
    (void)state;
    static const char *bad[] = {"", " ", "\t", "a..b", ".a", "a.", ">.a", "a b c", "a b..c", "a\nb", "\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (int list = 0; list < 4; list++) {
            const char *good_and_bad[] = {"good", bad[i]};
            dbk_text_list texts = {.items = good_and_bad, .count = 2};
            dbk_permission_options options = {.allow_responses = false};
            *(list == 0   ? &options.publish.allow
              : list == 1 ? &options.publish.deny
              : list == 2 ? &options.subscribe.allow
                          : &options.subscribe.deny) = texts;
            dbk_permissions *permissions;
            daybook_error error;
            daybook_error_init(&error);
            assert_int_equal(dbk_permissions_new(dbk_allocator_default(), &options, &permissions, &error),
                             DAYBOOK_EINVALID);
            assert_null(permissions);
            assert_non_null(strstr(error.message, bad[i]));
        }
    }
    const char *queue_rule[] = {"a q"};
    dbk_permission_options options = {.publish = {.deny = {.items = queue_rule, .count = 1}}};
    dbk_permissions *permissions;
    assert_int_equal(dbk_permissions_new(dbk_allocator_default(), &options, &permissions, NULL),
                     DAYBOOK_EINVALID);
    options = (dbk_permission_options){.subscribe = {.deny = {.items = queue_rule, .count = 1}}};
    assert_int_equal(dbk_permissions_new(dbk_allocator_default(), &options, &permissions, NULL), DAYBOOK_OK);
    dbk_permissions_unref(permissions);
}

static void texts_are_those_clients_know(void **state) {
    (void)state;
    dbk_buf text;
    dbk_buf_init(&text, dbk_allocator_default(), 4096);
    dbk_permissions_publish_text(&text, daybook_text("a.b"));
    dbk_buf_append_u8(&text, '\n');
    dbk_permissions_reply_text(&text, daybook_text("r"));
    dbk_buf_append_u8(&text, '\n');
    dbk_permissions_subscribe_text(&text, daybook_text("a.>"), daybook_text(""));
    dbk_buf_append_u8(&text, '\n');
    dbk_permissions_subscribe_text(&text, daybook_text("a.>"), daybook_text("q"));
    dbk_buf_append_u8(&text, '\0');
    assert_string_equal((char *)text.data,
                        "Permissions Violation for Publish to \"a.b\"\n"
                        "Permissions Violation for Publish with Reply of \"r\"\n"
                        "Permissions Violation for Subscription to \"a.>\"\n"
                        "Permissions Violation for Subscription to \"a.>\" using queue \"q\"");
    dbk_buf_deinit(&text);
}

// Reply subjects

static const uint8_t seed[32] = {3, 1, 4, 1, 5, 9, 2, 6};

static dbk_permissions *answering(int64_t max, int64_t expire_ns) {
    const char *allowed[] = {"a"}, *denied[] = {"r.denied"};
    dbk_permission_options options = {.publish = {.has_allow = true,
                                                  .allow = {.items = allowed, .count = 1},
                                                  .deny = {.items = denied, .count = 1}},
                                      .allow_responses = true,
                                      .responses_max = max,
                                      .responses_expire_ns = expire_ns};
    dbk_permissions *permissions;
    assert_int_equal(dbk_permissions_new(dbk_allocator_default(), &options, &permissions, NULL), DAYBOOK_OK);
    assert_true(dbk_permissions_tracks_responses(permissions));
    return permissions;
}

static dbk_responses *new_responses(const dbk_permissions *permissions) {
    dbk_responses *responses;
    assert_int_equal(dbk_responses_new(dbk_allocator_default(), seed, permissions, &responses), DAYBOOK_OK);
    return responses;
}

static void note(dbk_responses *responses, const char *reply, int64_t now_ns) {
    assert_int_equal(dbk_responses_note(responses, daybook_text(reply), now_ns), DAYBOOK_OK);
}

static bool use(dbk_responses *responses, const char *subject, int64_t now_ns) {
    return dbk_responses_use(responses, daybook_text(subject), now_ns);
}

static void allow_responses_alone_denies_the_rest(void **state) {
    (void)state;
    dbk_permission_options options = {.allow_responses = true, .responses_max = 1};
    dbk_permissions *permissions;
    assert_int_equal(dbk_permissions_new(dbk_allocator_default(), &options, &permissions, NULL), DAYBOOK_OK);
    assert_false(dbk_permissions_may_publish(permissions, daybook_text("a")));
    dbk_permissions_unref(permissions);
    permissions = permissions_of(NULL, "x", NULL, NULL);
    assert_false(dbk_permissions_tracks_responses(permissions));
    dbk_permissions_unref(permissions);
}

static void a_reply_may_be_answered_as_often_as_said(void **state) {
    (void)state;
    assert_false(dbk_responses_use(NULL, daybook_text("r"), 0));
    for (int64_t max = -1; max <= 3; max++) {
        dbk_permissions *permissions = answering(max, 10 * DBK_SECOND_NS);
        dbk_responses *responses = new_responses(permissions);
        assert_false(use(responses, "r.1", 0));
        note(responses, "", 0);
        assert_int_equal(dbk_responses_count(responses), 0);
        note(responses, "r.1", 0);
        note(responses, "r.2", 0);
        assert_false(use(responses, "r.3", 0));
        assert_false(use(responses, "r", 0));
        for (int64_t i = 0; i < 10; i++) assert_int_equal(use(responses, "r.1", i), max < 0 || i < max);
        assert_int_equal(use(responses, "r.2", 5), max != 0); // counted for itself
        note(responses, "r.1", 6);                            // asked again
        assert_int_equal(use(responses, "r.1", 7), max != 0);
        dbk_responses_free(responses);
        dbk_permissions_unref(permissions);
    }
}

static void a_reply_may_be_answered_as_long_as_said(void **state) {
    (void)state;
    dbk_permissions *permissions = answering(-1, 10);
    dbk_responses *responses = new_responses(permissions);
    note(responses, "r.1", 100);
    note(responses, "r.2", 105);
    assert_true(use(responses, "r.1", 110));
    assert_false(use(responses, "r.1", 111));
    assert_int_equal(dbk_responses_count(responses), 1);
    note(responses, "r.2", 112); // it is the newest now
    note(responses, "r.3", 114);
    assert_true(use(responses, "r.2", 122));
    assert_false(use(responses, "r.2", 123));
    assert_true(use(responses, "r.3", 124));
    note(responses, "r.4", 200);
    assert_int_equal(dbk_responses_count(responses), 1);
    dbk_responses_free(responses);
    dbk_permissions_unref(permissions);
    permissions = answering(-1, -1);
    responses = new_responses(permissions);
    note(responses, "r.1", 0);
    assert_true(use(responses, "r.1", INT64_MAX));
    dbk_responses_free(responses);
    dbk_permissions_unref(permissions);
}

static void replies_remembered_are_bounded(void **state) {
    (void)state;
    dbk_permissions *permissions = answering(-1, -1);
    dbk_responses *responses = new_responses(permissions);
    char reply[5000];
    for (int i = 0; i < DBK_RESPONSES_MAX + 1000; i++) {
        snprintf(reply, sizeof reply, "r.%d", i);
        note(responses, reply, i);
    }
    assert_int_equal(dbk_responses_count(responses), DBK_RESPONSES_MAX);
    assert_false(use(responses, "r.999", 0));
    assert_true(use(responses, "r.1000", 0));
    memset(reply, 'r', sizeof reply);
    for (int i = 0; i < 3000; i++) {
        char number[16];
        snprintf(number, sizeof number, "%07d", i);
        memcpy(reply, number, 7);
        assert_int_equal(dbk_responses_note(responses, daybook_bytes(reply, 4000), i), DAYBOOK_OK);
    }
    assert_true(dbk_responses_count(responses) <= DBK_RESPONSES_BYTES_MAX / 4000);
    assert_true(dbk_responses_count(responses) >= DBK_RESPONSES_BYTES_MAX / 4000 - 1);
    char *large = calloc(1, DBK_RESPONSES_BYTES_MAX + 1);
    assert_non_null(large);
    assert_int_equal(dbk_responses_note(responses, daybook_bytes(large, DBK_RESPONSES_BYTES_MAX + 1), 0),
                     DAYBOOK_ELIMIT);
    assert_int_equal(dbk_responses_note(responses, daybook_bytes(large, DBK_RESPONSES_BYTES_MAX), 0),
                     DAYBOOK_OK);
    assert_int_equal(dbk_responses_count(responses), 1);
    free(large);
    dbk_responses_free(responses);
    dbk_permissions_unref(permissions);
}

// Memory

static daybook_status use_all(const daybook_allocator *allocator) {
    const char *rules[] = {"a.>", "b", "c q", "d"};
    dbk_text_list some = {.items = rules, .count = 2}, queues = {.items = rules, .count = 4};
    dbk_permission_options options = {.publish = {.has_allow = true, .allow = some, .deny = some},
                                      .subscribe = {.has_allow = true, .allow = queues, .deny = some},
                                      .allow_responses = true,
                                      .responses_max = 1,
                                      .responses_expire_ns = 5};
    dbk_permissions *permissions;
    daybook_status status = dbk_permissions_new(allocator, &options, &permissions, NULL);
    if (status != DAYBOOK_OK) return status;
    // Without room for answers they are worked out.
    for (int i = 0; i < 3; i++) {
        assert_false(dbk_permissions_may_publish(permissions, daybook_text("a.b")));
        assert_true(dbk_permissions_may_deliver(permissions, daybook_text("c"), daybook_text("q")));
        assert_true(dbk_permissions_may_deliver(permissions, daybook_text("d"), daybook_text("")));
    }
    dbk_responses *responses;
    status = dbk_responses_new(allocator, seed, permissions, &responses);
    for (int i = 0; status == DAYBOOK_OK && i < 20; i++) {
        char reply[16];
        snprintf(reply, sizeof reply, "r.%d", i);
        status = dbk_responses_note(responses, daybook_text(reply), 0);
        assert_int_equal(use(responses, reply, 0), status == DAYBOOK_OK);
        note(responses, "", 0);
    }
    for (int i = 0; status == DAYBOOK_OK && i < 20; i++) {
        char reply[16];
        snprintf(reply, sizeof reply, "r.%d", i);
        status = dbk_responses_note(responses, daybook_text(reply), 0);
    }
    dbk_responses_free(responses);
    dbk_permissions_unref(dbk_permissions_ref(permissions));
    dbk_permissions_unref(permissions);
    return status;
}

static void memory_that_runs_out_permits_nothing_more(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    for (uint64_t n = 1;; n++) {
        fault_allocator_fail(&faults, n, false);
        daybook_status status = use_all(&faults.allocator);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!fault_allocator_has_failed(&faults)) {
            assert_int_equal(status, DAYBOOK_OK);
            break;
        }
        assert_true(status == DAYBOOK_OK || status == DAYBOOK_ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_no_permissions_may_do_everything),
        cmocka_unit_test(publishing_follows_the_rules),
        cmocka_unit_test(subscribing_follows_the_rules),
        cmocka_unit_test(deliveries_are_what_could_be_subscribed_to),
        cmocka_unit_test(what_is_delivered_agrees_with_what_may_be_subscribed),
        cmocka_unit_test(answers_are_not_mixed_up),
        cmocka_unit_test(malformed_rules_are_refused_by_name),
        cmocka_unit_test(texts_are_those_clients_know),
        cmocka_unit_test(allow_responses_alone_denies_the_rest),
        cmocka_unit_test(a_reply_may_be_answered_as_often_as_said),
        cmocka_unit_test(a_reply_may_be_answered_as_long_as_said),
        cmocka_unit_test(replies_remembered_are_bounded),
        cmocka_unit_test(memory_that_runs_out_permits_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
