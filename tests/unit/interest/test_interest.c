// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "interest/cache.h"
#include "interest/interest.h"
#include "lib/fault_allocator.h"
#include "lib/slow_build.h"
#include "subject/subject.h"

static uint64_t random_state = 7;

static uint64_t random_below(uint64_t bound) {
    uint64_t mixed = random_state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (mixed ^ (mixed >> 31)) % bound;
}

static dbk_interest *new_interest(const daybook_allocator *allocator) {
    uint8_t seed[DBK_INTEREST_SEED_SIZE];
    for (size_t i = 0; i < sizeof seed; i++) seed[i] = (uint8_t)(i * 73 + 5);
    dbk_interest *interest;
    return dbk_interest_new(allocator, seed, &interest) == DAYBOOK_OK ? interest : NULL;
}

static void add(dbk_interest *interest, const char *filter, const char *queue, dbk_interest_entry *entry) {
    assert_int_equal(dbk_interest_add(interest, daybook_text(filter), daybook_text(queue), entry, entry),
                     DAYBOOK_OK);
    assert_ptr_equal(entry->subscriber, entry);
}

static const dbk_interest_matches *match(dbk_interest *interest, const char *subject) {
    const dbk_interest_matches *matches;
    assert_int_equal(dbk_interest_match(interest, daybook_text(subject), &matches), DAYBOOK_OK);
    return matches;
}

static dbk_interest_stats stats_of(const dbk_interest *interest) {
    dbk_interest_stats stats;
    dbk_interest_get_stats(interest, &stats);
    return stats;
}

// How many plain subscriptions, three times: collected, kept, from the cache.
static size_t plain_count(dbk_interest *interest, const char *subject) {
    size_t count = match(interest, subject)->plain_count;
    for (int i = 0; i < 2; i++) assert_int_equal(match(interest, subject)->plain_count, count);
    assert_int_equal(dbk_interest_has(interest, daybook_text(subject)), count > 0);
    return count;
}

static void filters_match_as_nats_has_them(void **state) {
    (void)state;
    static const struct {
        const char *filter, *matching, *others;
    } cases[] = {
        {"a", "a", "b a.b aa"},
        {"a.b", "a.b", "a b.a a.b.c a.bb"},
        {"*", "a b *", "a.b"},
        {"a.*", "a.b a.c a.*", "a b.a a.b.c"},
        {"*.b", "a.b b.b", "b a.c a.b.c"},
        {"a.>", "a.b a.b.c a.>", "a b.a"},
        {">", "a a.b a.b.c.d >", ""},
        {"a.*.c.>", "a.b.c.d a.x.c.d.e", "a.b.c a.b.d.e"},
        {"a*", "a*", "ab a"}, // a wildcard is a token of its own
        {"a>.b", "a>.b", "ab.b"},
        {"**", "**", "ab"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dbk_interest *interest = new_interest(dbk_allocator_default());
        dbk_interest_entry entry;
        add(interest, cases[i].filter, "", &entry);
        for (int expected = 1; expected >= 0; expected--) {
            char subjects[64];
            snprintf(subjects, sizeof subjects, "%s", expected ? cases[i].matching : cases[i].others);
            for (char *rest = subjects, *subject; (subject = rest) != NULL && *subject != '\0';) {
                rest = strchr(subject, ' ');
                if (rest != NULL) *rest++ = '\0';
                if (plain_count(interest, subject) != (size_t)expected) {
                    fail_msg("%s and %s: not as expected", cases[i].filter, subject);
                }
            }
        }
        dbk_interest_remove(interest, &entry);
        dbk_interest_free(interest);
    }
}

static void malformed_filters_are_refused(void **state) {
    (void)state;
    dbk_interest *interest = new_interest(dbk_allocator_default());
    dbk_interest_entry entry = {.subscriber = NULL};
    const char *bad[] = {"", ".", "a.", ".a", "a..b", ">.a", "a.>.b", ".."};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(dbk_interest_add(interest, daybook_text(bad[i]), daybook_text(""), &entry, &entry),
                         DAYBOOK_ESUBJECT);
    }
    char *large = malloc(DBK_INTEREST_FILTER_SIZE_MAX + 1);
    assert_non_null(large);
    memset(large, 'a', DBK_INTEREST_FILTER_SIZE_MAX + 1);
    daybook_slice filter = daybook_bytes(large, DBK_INTEREST_FILTER_SIZE_MAX + 1);
    assert_int_equal(dbk_interest_add(interest, filter, daybook_text(""), &entry, &entry), DAYBOOK_ESUBJECT);
    assert_int_equal(dbk_interest_add(interest, daybook_text("a"), filter, &entry, &entry), DAYBOOK_ESUBJECT);
    assert_null(entry.subscriber); // never written
    dbk_interest_remove(interest, &entry);
    filter.size--;
    assert_int_equal(dbk_interest_add(interest, filter, daybook_text(""), &entry, &entry), DAYBOOK_OK);
    assert_true(dbk_interest_has(interest, filter));
    const char *nothing[] = {"", ".", "a.", ".a", "a..b"};
    dbk_interest_entry all;
    add(interest, ">", "", &all);
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
        assert_int_equal(plain_count(interest, nothing[i]), 0);
    dbk_interest_free(interest);
    free(large);
}

static void subscriptions_of_one_filter_come_in_their_order(void **state) {
    (void)state;
    dbk_interest *interest = new_interest(dbk_allocator_default());
    dbk_interest_entry entries[5];
    for (int i = 0; i < 5; i++) add(interest, "a.b", "", &entries[i]);
    dbk_interest_remove(interest, &entries[0]);
    dbk_interest_remove(interest, &entries[3]);
    const dbk_interest_matches *matches = match(interest, "a.b");
    assert_int_equal(matches->plain_count, 3);
    assert_ptr_equal(matches->plain[0], &entries[1]);
    assert_ptr_equal(matches->plain[1], &entries[2]);
    assert_ptr_equal(matches->plain[2], &entries[4]);
    dbk_interest_remove(interest, &entries[3]); // a second time: nothing happens
    assert_int_equal(stats_of(interest).subscription_count, 3);
    dbk_interest_free(interest);
}

static void queue_groups_are_merged_by_name(void **state) {
    (void)state;
    dbk_interest *interest = new_interest(dbk_allocator_default());
    dbk_interest_entry entries[7];
    add(interest, "a.b", "workers", &entries[0]);
    add(interest, "a.*", "workers", &entries[1]);
    add(interest, "a.>", "workers", &entries[2]);
    add(interest, "a.b", "others", &entries[3]);
    add(interest, "a.b", "", &entries[4]);
    add(interest, "a.b", "workers", &entries[5]);
    add(interest, "b", "workers", &entries[6]);
    for (int round = 0; round < 3; round++) {
        const dbk_interest_matches *matches = match(interest, "a.b");
        assert_int_equal(matches->plain_count, 1);
        assert_int_equal(matches->group_count, 2);
        for (size_t i = 0; i < 2; i++) {
            const dbk_interest_group *group = &matches->groups[i];
            bool is_workers = dbk_slice_equal(group->name, daybook_text("workers"));
            assert_true(is_workers || dbk_slice_equal(group->name, daybook_text("others")));
            assert_int_equal(group->count, is_workers ? 4 : 1);
            unsigned seen = 0;
            for (size_t k = 0; k < group->count; k++) seen |= 1u << (group->members[k] - entries);
            assert_int_equal(seen, is_workers ? 0x27 : 0x08);
        }
        assert_true(match(interest, "a.b.c")->group_count == 1);
    }
    for (int i = 0; i < 6; i++) dbk_interest_remove(interest, &entries[i]);
    assert_int_equal(match(interest, "a.b")->group_count, 0);
    assert_int_equal(match(interest, "b")->group_count, 1);
    dbk_interest_free(interest);
}

// Random operations against a list that is searched from end to end.

enum { MODEL_MAX = 120, WATCHES = 24 };

typedef struct model_subscription {
    bool is_in;
    char filter[24];
    char queue[4];
    dbk_interest_entry entry;
} model_subscription;

static model_subscription model[MODEL_MAX];
static struct {
    dbk_interest_watch watch;
    char subject[24];
    bool told;
    unsigned calls;
} watches[WATCHES];

static void note_change(dbk_interest_watch *watch, bool has_interest) {
    bool *told = watch->context;
    assert_int_equal(*told, !has_interest); // told only of changes
    *told = has_interest;
}

static void random_text(bool is_filter, char text_out[24]) {
    static const char *tokens[] = {"a", "b", "c", "long-token", "*", ">"};
    size_t count = 1 + random_below(4), size = 0;
    for (size_t i = 0; i < count; i++) {
        const char *token = tokens[random_below(is_filter ? 5 + (i + 1 == count) : 4)];
        if (strlen(token) > 1 && i > 0) token = "a";
        size += (size_t)snprintf(text_out + size, 24 - size, "%s%s", i > 0 ? "." : "", token);
    }
}

static bool model_matches(const model_subscription *subscription, const char *subject) {
    return subscription->is_in &&
           daybook_filter_matches(daybook_text(subscription->filter), daybook_text(subject));
}

static void compare_with_model(dbk_interest *interest, const char *subject) {
    const dbk_interest_matches *matches = match(interest, subject);
    bool seen[MODEL_MAX] = {false};
    for (size_t i = 0; i < matches->plain_count; i++) {
        model_subscription *found = matches->plain[i]->subscriber;
        assert_string_equal(found->queue, "");
        assert_false(seen[found - model]);
        seen[found - model] = true;
    }
    for (size_t i = 0; i < matches->group_count; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_false(dbk_slice_equal(matches->groups[i].name, matches->groups[k].name));
        }
        for (size_t k = 0; k < matches->groups[i].count; k++) {
            model_subscription *found = matches->groups[i].members[k]->subscriber;
            assert_true(dbk_slice_equal(matches->groups[i].name, daybook_text(found->queue)));
            assert_false(seen[found - model]);
            seen[found - model] = true;
        }
    }
    bool has = false;
    for (size_t i = 0; i < MODEL_MAX; i++) {
        if (seen[i] != model_matches(&model[i], subject)) {
            fail_msg("%s and %s: not as the list has it", model[i].filter, subject);
        }
        has = has || seen[i];
    }
    assert_int_equal(dbk_interest_has(interest, daybook_text(subject)), has);
}

static bool model_is(const model_subscription *subscription, const char *subject) {
    return subscription->is_in && strcmp(subscription->filter, subject) == 0;
}

static void check_watches(void) {
    for (int i = 0; i < WATCHES; i++) {
        if (!watches[i].watch.is_watching) continue;
        bool has = false;
        for (size_t k = 0; k < MODEL_MAX; k++) has = has || model_is(&model[k], watches[i].subject);
        assert_int_equal(watches[i].told, has);
    }
}

static void change_model(dbk_interest *interest) {
    model_subscription *subscription = &model[random_below(MODEL_MAX)];
    if (subscription->is_in) {
        subscription->is_in = false;
        dbk_interest_remove(interest, &subscription->entry);
        return;
    }
    static const char *queues[] = {"", "", "q", "r"};
    random_text(true, subscription->filter);
    snprintf(subscription->queue, sizeof subscription->queue, "%s", queues[random_below(4)]);
    assert_int_equal(dbk_interest_add(interest, daybook_text(subscription->filter),
                                      daybook_text(subscription->queue), subscription, &subscription->entry),
                     DAYBOOK_OK);
    subscription->is_in = true;
}

static void change_watches(dbk_interest *interest) {
    uint64_t i = random_below(WATCHES);
    if (watches[i].watch.is_watching) {
        dbk_interest_watch_stop(interest, &watches[i].watch);
        return;
    }
    random_text(false, watches[i].subject);
    watches[i].watch = (dbk_interest_watch){.changed = note_change, .context = &watches[i].told};
    watches[i].told = dbk_interest_watch_start(interest, daybook_text(watches[i].subject), &watches[i].watch);
}

static void random_changes_agree_with_a_list(void **state) {
    (void)state;
    uint64_t rounds = IS_SLOW_BUILD ? 20000 : 100000;
    dbk_interest *interest = new_interest(dbk_allocator_default());
    for (uint64_t round = 0; round < rounds; round++) {
        // Now and then many changes in a row, so that the trie is nearly empty at times and nearly full.
        if (random_below(4) == 0 || round / 500 % 5 == 0) change_model(interest);
        if (random_below(20) == 0) change_watches(interest);
        if (round % 16 == 0) check_watches();
        char subject[24];
        random_text(false, subject);
        compare_with_model(interest, subject);
    }
    for (int i = 0; i < MODEL_MAX; i++) {
        dbk_interest_remove(interest, &model[i].entry);
        model[i].is_in = false;
    }
    check_watches();
    dbk_interest_stats stats = stats_of(interest);
    assert_int_equal(stats.subscription_count, 0);
    assert_int_equal(stats.node_count, 0);
    assert_int_equal(stats.insert_count, stats.remove_count);
    assert_true(stats.cache_hit_count > 0 && stats.cache_hit_count < stats.match_count);
    for (int i = 0; i < WATCHES; i++) dbk_interest_watch_stop(interest, &watches[i].watch);
    assert_int_equal(stats_of(interest).watch_count, 0);
    dbk_interest_free(interest);
}

// The cache

static bool is_cached(dbk_interest *interest, const char *subject) {
    uint64_t before = stats_of(interest).cache_hit_count;
    match(interest, subject);
    return stats_of(interest).cache_hit_count > before;
}

static void a_subject_is_kept_when_asked_for_twice(void **state) {
    (void)state;
    dbk_interest *interest = new_interest(dbk_allocator_default());
    assert_false(is_cached(interest, "a.b"));
    assert_int_equal(stats_of(interest).cache_count, 0);
    assert_false(is_cached(interest, "a.b"));
    assert_true(is_cached(interest, "a.b"));
    assert_int_equal(stats_of(interest).cache_count, 1);
    dbk_interest_free(interest);
}

static void warm(dbk_interest *interest, const char *subject) {
    for (int i = 0; i < 3; i++) match(interest, subject);
    assert_true(is_cached(interest, subject));
}

// What a filter that comes or goes throws out: all it matches, and not everything.
static void changes_leave_other_subjects_cached(void **state) {
    (void)state;
    static const char *subjects[] = {"a.b.c", "a.b", "a.x.c", "b.b.c", "a"};
    static const struct {
        const char *filter;
        bool stays[5];
    } cases[] = {
        {"a.b.c", {false, true, true, true, true}}, // literal: its own
        {"a.b.*", {false, true, true, true, true}}, // "a.b" too is thrown out, which is as good
        {"a.*.c", {false, true, false, true, true}}, {"a.>", {false, false, false, true, true}},
        {"b.>", {true, true, true, false, true}},    {"nobody.x.>", {true, true, true, true, true}},
        {"*.b.c", {false, true, true, false, true}}, {">", {false, false, false, false, false}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dbk_interest *interest = new_interest(dbk_allocator_default());
        for (int is_removal = 0; is_removal < 2; is_removal++) {
            dbk_interest_entry entry;
            if (is_removal) add(interest, cases[i].filter, "", &entry);
            for (int k = 0; k < 5; k++) warm(interest, subjects[k]);
            if (is_removal) {
                dbk_interest_remove(interest, &entry);
            } else {
                add(interest, cases[i].filter, "", &entry);
            }
            for (int k = 0; k < 5; k++) {
                bool is_hit = is_cached(interest, subjects[k]);
                if (is_hit && !cases[i].stays[k])
                    fail_msg("%s: %s is still cached", cases[i].filter, subjects[k]);
                // Elsewhere: where the first tokens say that it cannot match.
                bool is_elsewhere = cases[i].filter[0] != '*' && cases[i].filter[0] != '>' &&
                                    cases[i].filter[0] != subjects[k][0];
                if (is_elsewhere && !is_hit) fail_msg("%s: %s is not cached", cases[i].filter, subjects[k]);
            }
            if (!is_removal) dbk_interest_remove(interest, &entry);
        }
        dbk_interest_free(interest);
    }
}

static void an_inbox_comes_and_goes_beside_cached_subjects(void **state) {
    (void)state;
    dbk_interest *interest = new_interest(dbk_allocator_default());
    dbk_interest_entry mine, theirs;
    add(interest, "orders.*", "", &mine);
    warm(interest, "orders.7");
    warm(interest, "_INBOX.mine.1");
    for (int i = 0; i < 50; i++) {
        char inbox[32];
        snprintf(inbox, sizeof inbox, "_INBOX.%d.*", i);
        add(interest, inbox, "", &theirs);
        dbk_interest_remove(interest, &theirs);
        snprintf(inbox, sizeof inbox, "_INBOX.%d", i);
        add(interest, inbox, "", &theirs);
        dbk_interest_remove(interest, &theirs);
        assert_true(is_cached(interest, "orders.7"));
    }
    assert_true(
        is_cached(interest, "_INBOX.mine.1")); // with this seed; 1 in 20 seeds has one of the 50 in its place
    dbk_interest_free(interest);
}

static void the_cache_is_bounded(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_interest *interest = new_interest(&faults.allocator);
    enum { MANY = 3000 };
    static dbk_interest_entry entries[MANY];
    for (int i = 0; i < MANY; i++) add(interest, ">", i % 2 ? "" : "q", &entries[i]);
    for (int i = 0; i < 3 * DBK_INTEREST_CACHE_ENTRIES; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "s.%d", i);
        for (int k = 0; k < 2; k++) match(interest, subject);
        if (i % 1000 > 0) continue;
        dbk_interest_stats stats = stats_of(interest);
        assert_true(stats.cache_bytes <= DBK_INTEREST_CACHE_BYTES);
        assert_true(stats.cache_count <= DBK_INTEREST_CACHE_ENTRIES);
    }
    assert_true(stats_of(interest).cache_bytes > DBK_INTEREST_CACHE_BYTES / 2); // it was the bytes that bound
    assert_int_equal(stats_of(interest).fanout_max, MANY / 2 + 1);
    for (int i = 0; i < MANY; i++) dbk_interest_remove(interest, &entries[i]);
    assert_int_equal(stats_of(interest).fresh_count, 0);
    for (int i = 0; i < 3 * DBK_INTEREST_CACHE_ENTRIES; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "s.%d", i);
        for (int k = 0; k < 2; k++) match(interest, subject);
    }
    dbk_interest_stats stats = stats_of(interest);
    assert_true(stats.cache_count > DBK_INTEREST_CACHE_ENTRIES / 2);
    assert_true(stats.cache_count <= DBK_INTEREST_CACHE_ENTRIES);
    assert_int_equal(stats.fanout_max, 0);
    dbk_interest_free(interest);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

static void a_very_large_result_is_not_kept(void **state) {
    (void)state;
    enum { MANY = DBK_INTEREST_CACHE_RESULT_BYTES / sizeof(void *) + 1 };
    dbk_interest *interest = new_interest(dbk_allocator_default());
    dbk_interest_entry *entries = calloc(MANY, sizeof *entries);
    assert_non_null(entries);
    for (size_t i = 0; i < MANY; i++) add(interest, "a", "", &entries[i]);
    for (int i = 0; i < 4; i++) assert_int_equal(match(interest, "a")->plain_count, MANY);
    assert_int_equal(stats_of(interest).cache_count, 0);
    for (size_t i = 0; i < MANY; i++) dbk_interest_remove(interest, &entries[i]);
    assert_int_equal(match(interest, "a")->plain_count, 0);
    dbk_interest_free(interest);
    free(entries);
}

// Cost, counted in nodes looked at.

// Of 200 subjects, each asked for once, so that none is cached; half of them have a subscription.
static uint64_t visits_of_matches(size_t subscriptions, const char *queue) {
    dbk_interest *interest = new_interest(dbk_allocator_default());
    dbk_interest_entry *entries = calloc(subscriptions, sizeof *entries), watcher;
    assert_non_null(entries);
    char text[48];
    for (size_t i = 0; i < subscriptions; i++) {
        snprintf(text, sizeof text, "orders.%zu.placed", i);
        add(interest, text, queue, &entries[i]);
    }
    add(interest, "orders.*.paid", "", &watcher);
    uint64_t before = stats_of(interest).visit_count;
    for (size_t i = 0; i < 200; i++) {
        size_t order = i % 2 * subscriptions + i / 2 * (subscriptions / 100);
        snprintf(text, sizeof text, "orders.%zu.placed", order);
        assert_int_equal(dbk_interest_has(interest, daybook_text(text)), i % 2 == 0);
        const dbk_interest_matches *matches = match(interest, text);
        assert_int_equal(matches->plain_count + matches->group_count, i % 2 == 0);
    }
    uint64_t visits = stats_of(interest).visit_count - before;
    for (size_t i = 0; i < subscriptions; i++) dbk_interest_remove(interest, &entries[i]);
    dbk_interest_remove(interest, &watcher);
    assert_int_equal(stats_of(interest).node_count, 0);
    dbk_interest_free(interest);
    free(entries);
    return visits;
}

static void a_match_costs_the_same_with_100000_subscriptions(void **state) {
    (void)state;
    uint64_t few = visits_of_matches(100, "");
    assert_true(few <= 200 * 2 * 5); // two walks, at most five nodes each
    assert_int_equal(visits_of_matches(100000, ""), few);
    assert_int_equal(visits_of_matches(100000, "q"), few);
}

static void a_forest_of_wildcards_costs_no_more_than_its_nodes(void **state) {
    (void)state;
    enum { DEPTH = 10, FILTERS = 1 << DEPTH };
    static dbk_interest_entry entries[FILTERS];
    dbk_interest *interest = new_interest(dbk_allocator_default());
    for (unsigned i = 0; i < FILTERS; i++) {
        char filter[4 * DEPTH];
        size_t size = 0;
        for (int k = 0; k < DEPTH; k++) {
            filter[size++] = i >> k & 1 ? '*' : 'a';
            filter[size++] = '.';
        }
        snprintf(filter + size, sizeof filter - size, "end");
        add(interest, filter, "", &entries[i]);
    }
    dbk_interest_stats before = stats_of(interest);
    match(interest, "a.a.a.a.a.a.a.a.a.a.other");
    dbk_interest_stats after = stats_of(interest);
    assert_true(after.visit_count - before.visit_count <= after.node_count + 1);
    assert_int_equal(match(interest, "a.a.a.a.a.a.a.a.a.a.end")->plain_count, FILTERS);
    assert_int_equal(match(interest, "b.a.a.a.a.a.a.a.a.a.end")->plain_count, FILTERS / 2);
    dbk_interest_free(interest);
}

static void deep_filters_are_no_recursion(void **state) {
    (void)state;
    enum { TOKENS = 100000 };
    char *text = malloc(2 * TOKENS);
    assert_non_null(text);
    for (int i = 0; i < TOKENS; i++) memcpy(text + 2 * (size_t)i, i % 3 ? "a." : "*.", 2);
    dbk_interest *interest = new_interest(dbk_allocator_default());
    dbk_interest_entry deep, other;
    daybook_slice filter = daybook_bytes(text, 2 * TOKENS - 1);
    assert_int_equal(dbk_interest_add(interest, filter, daybook_text(""), NULL, &deep), DAYBOOK_OK);
    add(interest, "a.>", "", &other);
    assert_true(dbk_interest_has(interest, filter));
    for (int i = 0; i < TOKENS; i++) text[2 * (size_t)i] = 'a';
    const dbk_interest_matches *matches;
    assert_int_equal(dbk_interest_match(interest, filter, &matches), DAYBOOK_OK);
    assert_int_equal(matches->plain_count, 2);
    filter.size -= 2;
    assert_int_equal(dbk_interest_match(interest, filter, &matches), DAYBOOK_OK);
    assert_int_equal(matches->plain_count, 1);
    dbk_interest_remove(interest, &deep);
    assert_int_equal(stats_of(interest).node_count, 2);
    assert_int_equal(dbk_interest_add(interest, filter, daybook_text(""), NULL, &deep), DAYBOOK_OK);
    dbk_interest_free(interest); // with all its nodes
    free(text);
}

// Watches

static unsigned change_count;

static void count_change(dbk_interest_watch *watch, bool has_interest) {
    (void)watch, (void)has_interest;
    change_count++;
}

static void a_watch_tells_of_the_first_and_the_last(void **state) {
    (void)state;
    dbk_interest *interest = new_interest(dbk_allocator_default());
    dbk_interest_entry entries[4];
    dbk_interest_watch watch = {.changed = count_change};
    change_count = 0;
    assert_false(dbk_interest_watch_start(interest, daybook_text("deliver.to.me"), &watch));
    add(interest, "deliver.to.you", "", &entries[0]);
    add(interest, "deliver.to", "", &entries[1]);
    assert_int_equal(change_count, 0);
    add(interest, "deliver.to.me", "q", &entries[2]);
    assert_int_equal(change_count, 1);
    add(interest, "deliver.to.me", "", &entries[3]);
    dbk_interest_remove(interest, &entries[2]);
    assert_int_equal(change_count, 1);
    dbk_interest_remove(interest, &entries[3]);
    assert_int_equal(change_count, 2);
    add(interest, "deliver.to.me", "", &entries[2]);
    assert_int_equal(change_count, 3);
    dbk_interest_watch_stop(interest, &watch);
    dbk_interest_remove(interest, &entries[2]);
    assert_int_equal(change_count, 3);
    dbk_interest_watch_stop(interest, &watch);
    assert_int_equal(stats_of(interest).watch_count, 0);
    add(interest, "deliver.to.me", "q", &entries[3]);
    assert_true(dbk_interest_watch_start(interest, daybook_text("deliver.to.me"), &watch));
    dbk_interest_free(interest);
}

static void a_watch_counts_no_wildcards(void **state) {
    (void)state;
    const char *const filters[] = {">",           "*.to.me", "deliver.>", "deliver.*.me", "deliver.to.*",
                                   "deliver.to.>"};
    dbk_interest *interest = new_interest(dbk_allocator_default());
    dbk_interest_entry entries[6], own;
    dbk_interest_watch watch = {.changed = count_change};
    change_count = 0;
    add(interest, ">", "", &own);
    assert_false(dbk_interest_watch_start(interest, daybook_text("deliver.to.me"), &watch));
    dbk_interest_remove(interest, &own);
    for (int i = 0; i < 6; i++) add(interest, filters[i], i % 2 == 0 ? "" : "q", &entries[i]);
    assert_int_equal(change_count, 0);
    add(interest, "deliver.to.me", "", &own);
    assert_int_equal(change_count, 1);
    dbk_interest_remove(interest, &own);
    assert_int_equal(change_count, 2);
    for (int i = 0; i < 6; i++) dbk_interest_remove(interest, &entries[i]);
    assert_int_equal(change_count, 2);
    assert_false(watch.has_interest);
    dbk_interest_watch_stop(interest, &watch);
    dbk_interest_free(interest);
}

// A callback that changes what it is called about.
typedef struct meddler {
    dbk_interest *interest;
    dbk_interest_watch watch, other;
    dbk_interest_entry own;
    unsigned calls;
} meddler;

static void meddle(dbk_interest_watch *watch, bool has_interest) {
    meddler *self = watch->context;
    self->calls++;
    if (!has_interest || self->calls > 1) return;
    dbk_interest_watch_stop(self->interest, &self->other); // pending itself just now
    add(self->interest, "b", "", &self->own);
    dbk_interest_watch_stop(self->interest, watch);
    dbk_interest_remove(self->interest, &self->own);
    dbk_interest_watch_start(self->interest, daybook_text("b"), watch);
    add(self->interest, "b", "", &self->own);
    assert_int_equal(self->calls, 1); // not told while it is being told
}

static void a_watch_may_change_things_when_told(void **state) {
    (void)state;
    dbk_interest *interest = new_interest(dbk_allocator_default());
    meddler self = {.interest = interest};
    change_count = 0;
    self.watch = (dbk_interest_watch){.changed = meddle, .context = &self};
    self.other = (dbk_interest_watch){.changed = count_change, .context = &self};
    dbk_interest_watch third = {.changed = count_change};
    // Lists give the newest first: `watch` is told before `other`.
    dbk_interest_watch_start(interest, daybook_text("a"), &third);
    dbk_interest_watch_start(interest, daybook_text("a"), &self.other);
    dbk_interest_watch_start(interest, daybook_text("a"), &self.watch);
    dbk_interest_entry entry;
    add(interest, "a", "", &entry);
    assert_int_equal(self.calls, 2);
    assert_int_equal(change_count, 1); // `third`, but not `other`
    dbk_interest_watch_stop(interest, &self.watch);
    dbk_interest_watch_stop(interest, &third);
    dbk_interest_free(interest);
}

// Memory

static daybook_status use_all(const daybook_allocator *allocator) {
    dbk_interest *interest = new_interest(allocator);
    if (interest == NULL) return DAYBOOK_ENOMEM;
    static const char *filters[] = {"a.b.c", "a.*", "a.>", "x.y.z.*.>", "a.b", "c.1", "c.2", "c.3",
                                    "c.4",   "c.5", "c.6", "c.7",       "c.8", "a.b", "a.b"};
    enum { FILTERS = sizeof filters / sizeof *filters };
    dbk_interest_entry entries[2 * FILTERS];
    memset(entries, 0, sizeof entries);
    daybook_status first_failure = DAYBOOK_OK;
    size_t expected = 0;
    for (size_t i = 0; i < 2 * FILTERS; i++) {
        static const char *queues[] = {"", "q", "r"};
        dbk_interest_stats before = stats_of(interest);
        daybook_slice queue = daybook_text(queues[i % 3]);
        daybook_status status =
            dbk_interest_add(interest, daybook_text(filters[i % FILTERS]), queue, &entries[i], &entries[i]);
        if (status != DAYBOOK_OK) {
            if (first_failure == DAYBOOK_OK) first_failure = status;
            assert_null(entries[i].node);
            assert_int_equal(stats_of(interest).node_count, before.node_count); // nothing has changed
        }
        expected += status == DAYBOOK_OK;
        assert_int_equal(stats_of(interest).subscription_count, expected);
        const dbk_interest_matches *matches;
        for (int k = 0; k < 3; k++) {
            status = dbk_interest_match(interest, daybook_text("a.b"), &matches);
            if (status != DAYBOOK_OK && first_failure == DAYBOOK_OK) first_failure = status;
            if (status == DAYBOOK_OK) {
                assert_int_equal(dbk_interest_has(interest, daybook_text("a.b")),
                                 matches->plain_count + matches->group_count > 0);
            }
        }
    }
    for (size_t i = 0; i < 2 * FILTERS; i++) dbk_interest_remove(interest, &entries[i]);
    assert_int_equal(stats_of(interest).node_count, 0);
    dbk_interest_free(interest);
    return first_failure;
}

static void memory_that_runs_out_changes_nothing(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    bool can_be_hidden = false;
    for (uint64_t n = 1;; n++) {
        fault_allocator_fail(&faults, n, false);
        daybook_status status = use_all(&faults.allocator);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!fault_allocator_has_failed(&faults)) break;
        // A result that could not be kept is given all the same.
        if (status == DAYBOOK_OK) can_be_hidden = true;
        if (status != DAYBOOK_OK) assert_int_equal(status, DAYBOOK_ENOMEM);
    }
    assert_true(can_be_hidden);
    fault_allocator_fail(&faults, 1, true);
    assert_int_equal(use_all(&faults.allocator), DAYBOOK_ENOMEM);
}

static void memory_comes_back(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_interest *interest = new_interest(&faults.allocator);
    enum { MANY = 20000 };
    dbk_interest_entry *entries = calloc(MANY, sizeof *entries);
    assert_non_null(entries);
    uint64_t settled = 0, told = 0;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < MANY; i++) {
            char filter[32];
            snprintf(filter, sizeof filter, "%s%zu.x", i % 2 ? "s." : "t.*.", i);
            add(interest, filter, i % 3 ? "" : "q", &entries[i]);
        }
        // Per subscription: nodes, and its share of tables.
        assert_true(fault_allocator_live_bytes(&faults) / MANY < 400);
        for (size_t i = 0; i < MANY; i++) dbk_interest_remove(interest, &entries[(i * 7919) % MANY]);
        if (round == 0) settled = fault_allocator_live_bytes(&faults), told = stats_of(interest).bytes;
        assert_int_equal(fault_allocator_live_bytes(&faults), settled);
        assert_int_equal(stats_of(interest).bytes, told);
    }
    dbk_interest_free(interest);
    assert_int_equal(fault_allocator_live(&faults), 0);
    free(entries);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_match_as_nats_has_them),
        cmocka_unit_test(malformed_filters_are_refused),
        cmocka_unit_test(subscriptions_of_one_filter_come_in_their_order),
        cmocka_unit_test(queue_groups_are_merged_by_name),
        cmocka_unit_test(random_changes_agree_with_a_list),
        cmocka_unit_test(a_subject_is_kept_when_asked_for_twice),
        cmocka_unit_test(changes_leave_other_subjects_cached),
        cmocka_unit_test(an_inbox_comes_and_goes_beside_cached_subjects),
        cmocka_unit_test(the_cache_is_bounded),
        cmocka_unit_test(a_very_large_result_is_not_kept),
        cmocka_unit_test(a_match_costs_the_same_with_100000_subscriptions),
        cmocka_unit_test(a_forest_of_wildcards_costs_no_more_than_its_nodes),
        cmocka_unit_test(deep_filters_are_no_recursion),
        cmocka_unit_test(a_watch_tells_of_the_first_and_the_last),
        cmocka_unit_test(a_watch_counts_no_wildcards),
        cmocka_unit_test(a_watch_may_change_things_when_told),
        cmocka_unit_test(memory_that_runs_out_changes_nothing),
        cmocka_unit_test(memory_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
