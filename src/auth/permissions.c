// SPDX-License-Identifier: Apache-2.0
// Permissions of a user: how allow and deny rules are read, and remembering what they said.
//
// Publish rules are filters. Subscribe rules are filters, or a filter and a queue: "orders.* v1.>", where
// the second part is itself a pattern of queue group names. What may happen, for a subject or filter and,
// with subscribe, a queue group:
//
//     allow  absent: yes. Else some rule must cover it. Where rules with a queue cover it, a member of a
//            queue group must be in one of their queues; a rule without queue is for plain subscriptions,
//            and for groups where no rule with a queue is concerned.
//     deny   no rule may cover it; one with a queue concerns only members of groups it matches. Deny wins
//            over allow.
//
// nats-server lets the answer about the queue alone decide once a rule with a queue is there, which was the
// way around a plain deny (advisory 2026-18); here each deny rule counts for itself.
//
// A filter with wildcards can be allowed though some of the subjects it matches are denied, or allowed to
// other queues only. Such a subscription is PARTLY permitted, and the whole question is asked again for the
// subject of every message. So no overlap of wildcards, no queue and no replay leads around a deny rule:
// what counts in the end is whether the user could have subscribed to this very subject in this very group.
// "Overlap" is decided token by token both ways (a deny rule "a.*.c" and a subscription "a.b.*" overlap,
// though neither covers the other).
//
// allow_responses alone means: nothing else may be published. A reply subject may then be published to even
// where a deny rule says no, as in nats-server: who asks chooses it.
//
// Answers about subjects are kept for each user in 128 places of fixed size, where there are enough rules
// for that to pay; longer subjects are worked out each time. Reply subjects: a table and a list from old to
// new; since all of a user expire after the same time, the oldest is the first to go. Failure mode: memory;
// then nothing is kept.
#include "auth/permissions.h"

#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/keyed_hash.h"
#include "base/link_table.h"
#include "daybook/subject.h"

enum { ANSWERS = 128, ANSWER_TEXT_MAX = 108, RULES_WORTH_KEEPING = 4 };

typedef struct permission_rule {
    dbk_slice filter;
    dbk_slice queue; // empty: none
} permission_rule;

typedef struct rule_list {
    permission_rule *rules;
    size_t count;
} rule_list;

typedef struct rule_set {
    bool has_allow;
    rule_list allow;
    rule_list deny;
} rule_set;

enum question { QUESTION_NONE, QUESTION_PUBLISH, QUESTION_DELIVER };

typedef struct answer {
    uint64_t hash;
    uint8_t question;
    bool is_yes;
    uint8_t subject_size;
    uint8_t queue_size;
    char text[ANSWER_TEXT_MAX]; // the subject, then the queue group
} answer;

struct dbk_permissions {
    const daybook_allocator *allocator;
    uint32_t reference_count;
    rule_set publish;
    rule_set subscribe;
    bool tracks_responses;
    int64_t responses_max;
    int64_t responses_expire_ns;
    answer *answers; // NULL until asked
};

// Making

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t';
}

// The next word of the text, which it is taken from; empty at its end.
static dbk_slice take_word(const char **at) {
    while (is_blank(**at)) ++*at;
    const char *start = *at;
    while (**at != '\0' && !is_blank(**at)) ++*at;
    return daybook_bytes(start, (size_t)(*at - start));
}

static daybook_status parse_rule(const char *text, bool may_have_queue, permission_rule *rule_out,
                                 daybook_error *error) {
    const char *at = text;
    permission_rule parsed = {.filter = take_word(&at)};
    parsed.queue = take_word(&at);
    if (!daybook_filter_is_valid(parsed.filter) ||
        (parsed.queue.size > 0 && !daybook_filter_is_valid(parsed.queue)) || take_word(&at).size > 0) {
        return dbk_fail(error, DAYBOOK_EINVALID, "permission \"%s\" is no subject with wildcards%s", text,
                        may_have_queue ? ", nor one followed by a queue" : "");
    }
    if (parsed.queue.size > 0 && !may_have_queue) {
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "permission \"%s\" names a queue: only those of subscribe may", text);
    }
    *rule_out = parsed;
    return DAYBOOK_OK;
}

// The rules point into `texts`, which is copied into the same memory.
static daybook_status make_list(const daybook_allocator *allocator, const dbk_text_list *texts,
                                bool may_have_queue, rule_list *list_out, daybook_error *error) {
    if (texts->count == 0) return DAYBOOK_OK;
    size_t text_size = 0;
    for (size_t i = 0; i < texts->count; i++) text_size += strlen(texts->items[i]) + 1;
    if (texts->count > (SIZE_MAX - text_size) / sizeof(permission_rule)) return DAYBOOK_ENOMEM;
    permission_rule *rules = dbk_alloc(allocator, texts->count * sizeof *rules + text_size);
    if (rules == NULL) return DAYBOOK_ENOMEM;
    list_out->rules = rules; // freed with the permissions
    char *to = (char *)(rules + texts->count);
    for (size_t i = 0; i < texts->count; i++) {
        size_t size = strlen(texts->items[i]) + 1;
        memcpy(to, texts->items[i], size);
        DBK_TRY(parse_rule(to, may_have_queue, &rules[i], error));
        to += size;
    }
    list_out->count = texts->count;
    return DAYBOOK_OK;
}

static daybook_status make_set(const daybook_allocator *allocator, const dbk_subject_rules *rules,
                               bool may_have_queue, rule_set *set_out, daybook_error *error) {
    set_out->has_allow = rules->has_allow;
    DBK_TRY(make_list(allocator, &rules->allow, may_have_queue, &set_out->allow, error));
    return make_list(allocator, &rules->deny, may_have_queue, &set_out->deny, error);
}

daybook_status dbk_permissions_new(const daybook_allocator *allocator, const dbk_permission_options *options,
                                   dbk_permissions **permissions_out, daybook_error *error) {
    *permissions_out = NULL;
    dbk_permissions *permissions = dbk_alloc_zeroed(allocator, sizeof *permissions);
    if (permissions == NULL) return DAYBOOK_ENOMEM;
    permissions->allocator = allocator;
    permissions->reference_count = 1;
    permissions->tracks_responses = options->allow_responses;
    permissions->responses_max = options->responses_max;
    permissions->responses_expire_ns = options->responses_expire_ns;
    daybook_status status = make_set(allocator, &options->publish, false, &permissions->publish, error);
    if (status == DAYBOOK_OK)
        status = make_set(allocator, &options->subscribe, true, &permissions->subscribe, error);
    if (status != DAYBOOK_OK) {
        dbk_permissions_unref(permissions);
        return status;
    }
    if (options->allow_responses) permissions->publish.has_allow = true;
    *permissions_out = permissions;
    return DAYBOOK_OK;
}

dbk_permissions *dbk_permissions_ref(dbk_permissions *permissions) {
    if (permissions != NULL) permissions->reference_count++;
    return permissions;
}

void dbk_permissions_unref(dbk_permissions *permissions) {
    if (permissions == NULL || --permissions->reference_count > 0) return;
    dbk_free(permissions->allocator, permissions->publish.allow.rules);
    dbk_free(permissions->allocator, permissions->publish.deny.rules);
    dbk_free(permissions->allocator, permissions->subscribe.allow.rules);
    dbk_free(permissions->allocator, permissions->subscribe.deny.rules);
    dbk_free(permissions->allocator, permissions->answers);
    dbk_free(permissions->allocator, permissions);
}

// Asking

// A rule against what is asked about: daybook_filter_matches, _covers, or _overlap.
typedef int relation(daybook_slice rule, daybook_slice asked);

static bool queue_matches(const permission_rule *rule, dbk_slice queue_group) {
    return queue_group.size > 0 && daybook_filter_matches(rule->queue, queue_group);
}

static bool is_allowed(const rule_set *set, relation *concerns, dbk_slice asked, dbk_slice queue_group) {
    if (!set->has_allow) return true;
    bool is_plain = false, is_for_queues = false, is_for_this = false;
    for (size_t i = 0; i < set->allow.count; i++) {
        const permission_rule *rule = &set->allow.rules[i];
        if (rule->queue.size > 0 && queue_group.size == 0) continue;
        if (!concerns(rule->filter, asked)) continue;
        if (rule->queue.size == 0) {
            is_plain = true;
        } else {
            is_for_queues = true;
            is_for_this = is_for_this || queue_matches(rule, queue_group);
        }
    }
    return is_for_queues ? is_for_this : is_plain;
}

static bool is_denied(const rule_set *set, relation *concerns, dbk_slice asked, dbk_slice queue_group) {
    for (size_t i = 0; i < set->deny.count; i++) {
        const permission_rule *rule = &set->deny.rules[i];
        if (rule->queue.size > 0 && !queue_matches(rule, queue_group)) continue;
        if (concerns(rule->filter, asked)) return true;
    }
    return false;
}

// Could an allow rule with a queue say otherwise of some subject of the filter than of the whole filter?
static bool depends_on_subject(const rule_set *set, dbk_slice filter, dbk_slice queue_group) {
    for (size_t i = 0; set->has_allow && queue_group.size > 0 && i < set->allow.count; i++) {
        const permission_rule *rule = &set->allow.rules[i];
        if (rule->queue.size > 0 && daybook_filters_overlap(rule->filter, filter) &&
            !daybook_filter_covers(rule->filter, filter))
            return true;
    }
    return false;
}

dbk_permitted dbk_permissions_may_subscribe(const dbk_permissions *permissions, dbk_slice filter,
                                            dbk_slice queue_group) {
    if (permissions == NULL) return DBK_PERMITTED_ALL;
    const rule_set *set = &permissions->subscribe;
    if (!is_allowed(set, daybook_filter_covers, filter, queue_group) ||
        is_denied(set, daybook_filter_covers, filter, queue_group))
        return DBK_PERMITTED_NO;
    bool is_partly = is_denied(set, daybook_filters_overlap, filter, queue_group) ||
                     depends_on_subject(set, filter, queue_group);
    return is_partly ? DBK_PERMITTED_PARTLY : DBK_PERMITTED_ALL;
}

static bool has_wildcard(dbk_slice subject) {
    return (memchr(subject.data, '*', subject.size) != NULL ||
            memchr(subject.data, '>', subject.size) != NULL) &&
           daybook_filter_is_valid(subject) && !daybook_subject_is_valid(subject);
}

// Of a filter: all of it. The rules would be walked around by who asks for more than what they name.
static bool is_wholly_permitted(const rule_set *set, dbk_slice filter) {
    dbk_slice none = daybook_bytes(NULL, 0);
    return is_allowed(set, daybook_filter_covers, filter, none) &&
           !is_denied(set, daybook_filters_overlap, filter, none);
}

static bool is_permitted(const rule_set *set, dbk_slice subject, dbk_slice queue_group) {
    return is_allowed(set, daybook_filter_matches, subject, queue_group) &&
           !is_denied(set, daybook_filter_matches, subject, queue_group);
}

// The place for the answer; NULL where none is kept.
static answer *place_of(dbk_permissions *permissions, enum question question, dbk_slice subject,
                        dbk_slice queue_group, uint64_t *hash_out) {
    if (subject.size > ANSWER_TEXT_MAX || queue_group.size > ANSWER_TEXT_MAX - subject.size) return NULL;
    if (permissions->answers == NULL) {
        permissions->answers = dbk_alloc_zeroed(permissions->allocator, ANSWERS * sizeof(answer));
        if (permissions->answers == NULL) return NULL;
    }
    uint64_t hash = dbk_checksum(subject.data, subject.size, (uint64_t)question);
    if (queue_group.size > 0) hash = dbk_checksum(queue_group.data, queue_group.size, hash);
    *hash_out = hash;
    return &permissions->answers[hash % ANSWERS];
}

static bool answers_it(const answer *kept, uint64_t hash, enum question question, dbk_slice subject,
                       dbk_slice queue_group) {
    return kept->hash == hash && kept->question == question &&
           dbk_slice_equal(daybook_bytes(kept->text, kept->subject_size), subject) &&
           dbk_slice_equal(daybook_bytes(kept->text + kept->subject_size, kept->queue_size), queue_group);
}

static bool ask(dbk_permissions *permissions, const rule_set *set, enum question question, dbk_slice subject,
                dbk_slice queue_group) {
    if (set->allow.count + set->deny.count < RULES_WORTH_KEEPING)
        return is_permitted(set, subject, queue_group);
    uint64_t hash;
    answer *kept = place_of(permissions, question, subject, queue_group, &hash);
    if (kept != NULL && answers_it(kept, hash, question, subject, queue_group)) return kept->is_yes;
    bool is_yes = is_permitted(set, subject, queue_group);
    if (kept == NULL) return is_yes;
    kept->hash = hash;
    kept->question = (uint8_t)question;
    kept->is_yes = is_yes;
    kept->subject_size = (uint8_t)subject.size;
    kept->queue_size = (uint8_t)queue_group.size;
    if (subject.size > 0) memcpy(kept->text, subject.data, subject.size);
    if (queue_group.size > 0) memcpy(kept->text + subject.size, queue_group.data, queue_group.size);
    return is_yes;
}

bool dbk_permissions_may_publish(dbk_permissions *permissions, dbk_slice subject) {
    if (permissions == NULL) return true;
    if (subject.size > 0 && has_wildcard(subject)) return is_wholly_permitted(&permissions->publish, subject);
    return ask(permissions, &permissions->publish, QUESTION_PUBLISH, subject, daybook_bytes(NULL, 0));
}

bool dbk_permissions_may_deliver(dbk_permissions *permissions, dbk_slice subject, dbk_slice queue_group) {
    if (permissions == NULL) return true;
    return ask(permissions, &permissions->subscribe, QUESTION_DELIVER, subject, queue_group);
}

// Texts

static void append(dbk_buf *text, const char *words) {
    dbk_buf_append(text, words, strlen(words));
}

static void append_quoted(dbk_buf *text, const char *words, dbk_slice quoted) {
    append(text, words);
    append(text, "\"");
    dbk_buf_append_slice(text, quoted);
    append(text, "\"");
}

void dbk_permissions_publish_text(dbk_buf *text, dbk_slice subject) {
    append_quoted(text, "Permissions Violation for Publish to ", subject);
}

void dbk_permissions_reply_text(dbk_buf *text, dbk_slice reply) {
    append_quoted(text, "Permissions Violation for Publish with Reply of ", reply);
}

void dbk_permissions_subscribe_text(dbk_buf *text, dbk_slice filter, dbk_slice queue_group) {
    append_quoted(text, "Permissions Violation for Subscription to ", filter);
    if (queue_group.size > 0) append_quoted(text, " using queue ", queue_group);
}

dbk_slice dbk_permissions_rule(const dbk_permissions *permissions, dbk_permission_list list, size_t index) {
    const rule_list *lists[] = {&permissions->publish.allow, &permissions->publish.deny,
                                &permissions->subscribe.allow, &permissions->subscribe.deny};
    return index < lists[list]->count ? lists[list]->rules[index].filter : daybook_bytes(NULL, 0);
}

bool dbk_permissions_get_responses(const dbk_permissions *permissions, int64_t *max_out,
                                   int64_t *expire_ns_out) {
    *max_out = permissions->responses_max;
    *expire_ns_out = permissions->responses_expire_ns;
    return permissions->tracks_responses;
}

// Reply subjects

typedef struct response {
    dbk_table_link link; // size: of the reply subject
    struct response *older;
    struct response *newer;
    int64_t delivered_ns;
    int64_t left_count; // answers; negative: any number
    char reply[];
} response;

struct dbk_responses {
    const daybook_allocator *allocator;
    dbk_hash_key key;
    dbk_link_table table;
    response *oldest;
    response *newest;
    size_t bytes;
    int64_t max;
    int64_t expire_ns;
};

bool dbk_permissions_tracks_responses(const dbk_permissions *permissions) {
    return permissions != NULL && permissions->tracks_responses;
}

daybook_status dbk_responses_new(const daybook_allocator *allocator, const uint8_t seed[32],
                                 const dbk_permissions *permissions, dbk_responses **responses_out) {
    *responses_out = NULL;
    dbk_responses *responses = dbk_alloc_zeroed(allocator, sizeof *responses);
    if (responses == NULL) return DAYBOOK_ENOMEM;
    responses->allocator = allocator;
    dbk_hash_key_init(&responses->key, seed);
    dbk_link_table_init(&responses->table);
    responses->max = permissions->responses_max;
    responses->expire_ns = permissions->responses_expire_ns;
    *responses_out = responses;
    return DAYBOOK_OK;
}

static void take_out(dbk_responses *responses, response *old) {
    *(old->older != NULL ? &old->older->newer : &responses->oldest) = old->newer;
    *(old->newer != NULL ? &old->newer->older : &responses->newest) = old->older;
}

static void put_newest(dbk_responses *responses, response *fresh) {
    fresh->newer = NULL;
    fresh->older = responses->newest;
    *(fresh->older != NULL ? &fresh->older->newer : &responses->oldest) = fresh;
    responses->newest = fresh;
}

static void forget(dbk_responses *responses, response *old) {
    take_out(responses, old);
    dbk_link_table_remove(&responses->table, responses->allocator, &old->link);
    responses->bytes -= old->link.size;
    dbk_free(responses->allocator, old);
}

static void forget_expired(dbk_responses *responses, int64_t now_ns) {
    if (responses->expire_ns < 0) return;
    while (responses->oldest != NULL && now_ns - responses->oldest->delivered_ns > responses->expire_ns) {
        forget(responses, responses->oldest);
    }
}

void dbk_responses_free(dbk_responses *responses) {
    if (responses == NULL) return;
    while (responses->oldest != NULL) forget(responses, responses->oldest);
    dbk_free(responses->allocator, responses);
}

static response *find(const dbk_responses *responses, dbk_slice reply, uint32_t hash) {
    dbk_table_link *link = dbk_link_table_find(&responses->table, hash);
    for (; link != NULL; link = dbk_link_table_find_next(link)) {
        response *kept = (response *)link;
        if (dbk_slice_equal(daybook_bytes(kept->reply, link->size), reply)) return kept;
    }
    return NULL;
}

static response *remember(dbk_responses *responses, dbk_slice reply, uint32_t hash) {
    while (responses->table.count >= DBK_RESPONSES_MAX ||
           responses->bytes > DBK_RESPONSES_BYTES_MAX - reply.size) {
        forget(responses, responses->oldest);
    }
    if (dbk_link_table_reserve(&responses->table, responses->allocator) != DAYBOOK_OK) return NULL;
    response *fresh = dbk_alloc(responses->allocator, sizeof *fresh + reply.size);
    if (fresh == NULL) return NULL;
    fresh->link = (dbk_table_link){.hash = hash, .size = (uint32_t)reply.size};
    memcpy(fresh->reply, reply.data, reply.size);
    dbk_link_table_add(&responses->table, &fresh->link);
    responses->bytes += reply.size;
    return fresh;
}

daybook_status dbk_responses_note(dbk_responses *responses, dbk_slice reply, int64_t now_ns) {
    if (reply.size == 0) return DAYBOOK_OK;
    if (reply.size > DBK_RESPONSES_BYTES_MAX) return DAYBOOK_ELIMIT;
    forget_expired(responses, now_ns);
    uint32_t hash = (uint32_t)dbk_hash_bytes(&responses->key, reply.data, reply.size);
    response *kept = find(responses, reply, hash);
    if (kept != NULL) {
        take_out(responses, kept);
    } else {
        kept = remember(responses, reply, hash);
        if (kept == NULL) return DAYBOOK_ENOMEM;
    }
    kept->delivered_ns = now_ns;
    kept->left_count = responses->max;
    put_newest(responses, kept);
    return DAYBOOK_OK;
}

bool dbk_responses_use(dbk_responses *responses, dbk_slice subject, int64_t now_ns) {
    if (responses == NULL || responses->table.count == 0) return false;
    forget_expired(responses, now_ns);
    uint32_t hash = (uint32_t)dbk_hash_bytes(&responses->key, subject.data, subject.size);
    response *kept = find(responses, subject, hash);
    if (kept == NULL || kept->left_count == 0) return false;
    if (kept->left_count > 0 && --kept->left_count == 0) forget(responses, kept);
    return true;
}

size_t dbk_responses_count(const dbk_responses *responses) {
    return responses->table.count;
}
