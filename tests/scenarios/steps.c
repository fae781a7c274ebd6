// SPDX-License-Identifier: Apache-2.0
// What each step of a scenario does; README.md describes them. A step asks the driver and compares.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenarios/run.h"

// ---- The stream -------------------------------------------------------------------------------------------

static void step_stream(run *at) {
    static const char *const retentions[] = {"limits", "interest", "workqueue"};
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(at->stream);
    // Subjects are the scenario's own: those that run side by side share a server.
    char subject[80];
    (void)snprintf(subject, sizeof subject, "%s.>", at->stream);
    daybook_slice subjects = daybook_text(subject);
    config.subjects = &subjects;
    config.subject_count = 1;
    for (size_t i = 1; i < at->word_count; i++) {
        const char *value, *word = at->words[i];
        if ((value = run_value_of(word, "retention")) != NULL) {
            config.retention = run_index_of(at, value, retentions, 3);
        } else if ((value = run_value_of(word, "max_msgs")) != NULL) {
            config.max_msgs = run_number_of(at, value);
        } else if ((value = run_value_of(word, "max_msgs_per_subject")) != NULL) {
            config.max_msgs_per_subject = run_number_of(at, value);
        } else if ((value = run_value_of(word, "max_age")) != NULL) {
            config.max_age_ns = run_duration_of(at, value);
        } else if (strcmp(word, "memory") == 0) {
            config.storage = DAYBOOK_STORAGE_MEMORY;
        } else {
            run_fail(at, "'%s' is no setting of a stream", word);
        }
    }
    if (!at->failed) run_expect_outcome(at, at->driver->add_stream(at->session, &config, at->why));
}

static void make_data(char *data, size_t capacity, size_t number, uint64_t size) {
    int used = snprintf(data, capacity, "event %zu", number);
    for (size_t i = (size_t)used; i < size && i + 1 < capacity; i++) data[i] = 'x';
    if (size > (size_t)used) data[size < capacity ? size : capacity - 1] = '\0';
}

static void append_one(run *at, const char *subject, uint64_t size) {
    static const size_t capacity = 64 << 10;
    char *data = malloc(capacity);
    if (at->event_count == EVENTS_MAX || data == NULL) {
        run_fail(at, "more than %d events, or out of memory", EVENTS_MAX);
        free(data);
        return;
    }
    event *added = &at->events[at->event_count];
    (void)snprintf(added->subject, sizeof added->subject, "%s.%s", at->stream, subject);
    make_data(data, capacity, at->event_count + 1, size);
    added->size = strlen(data);
    added->before_ns = run_clock_ns(CLOCK_REALTIME);
    scenario_outcome outcome = at->driver->append(at->session, added->subject, data, at->why);
    added->after_ns = run_clock_ns(CLOCK_REALTIME);
    at->event_count++;
    free(data);
    if (outcome != OUTCOME_OK) run_fail(at, "not appended: %s", at->why);
}

// append s.1 s.2*3 size=100
static void step_append(run *at) {
    const char *said_size = run_find_value(at, "size");
    uint64_t size = said_size == NULL ? 0 : run_number_of(at, said_size);
    for (size_t i = 1; i < at->word_count && !at->failed; i++) {
        if (at->words[i] == said_size || run_value_of(at->words[i], "size") != NULL) continue;
        char *times = strchr(at->words[i], '*');
        uint64_t count = times == NULL ? 1 : run_number_of(at, times + 1);
        if (times != NULL) *times = '\0';
        for (uint64_t n = 0; n < count; n++) append_one(at, at->words[i], size);
    }
    // A server's consumers hear of it by and by.
    if (at->driver->settle_ms > 0) run_sleep_ns(5 * MILLISECOND_NS * at->scale);
    run_trace(at, "appended");
}

static void step_delete(run *at) {
    for (size_t i = 1; i < at->word_count && !at->failed; i++)
        run_expect_outcome(at,
                           at->driver->remove_event(at->session, run_number_of(at, at->words[i]), at->why));
}

static void step_purge(run *at) {
    daybook_purge_options options;
    daybook_purge_options_init(&options);
    const char *filter = run_find_value(at, "filter"), *keep = run_find_value(at, "keep"),
               *below = run_find_value(at, "below");
    char text[128];
    if (filter != NULL) {
        (void)snprintf(text, sizeof text, "%s.%s", at->stream, filter);
        options.filter = daybook_text(text);
    }
    if (keep != NULL) options.keep = run_number_of(at, keep);
    if (below != NULL) options.seq_to = run_number_of(at, below);
    run_expect_outcome(at, at->driver->purge(at->session, &options, at->why));
}

static void list_stored(run *at, char *text, size_t capacity) {
    size_t used = 0;
    text[0] = '\0';
    for (uint64_t seq = 1; seq <= at->event_count; seq++) {
        scenario_outcome outcome = at->driver->has_event(at->session, seq, at->why);
        if (outcome == OUTCOME_OK && used < capacity)
            used += (size_t)snprintf(text + used, capacity - used, "%s%" PRIu64, used > 0 ? " " : "", seq);
        if (outcome != OUTCOME_OK && outcome != OUTCOME_ABSENT) run_fail(at, "%s", at->why);
    }
}

static void join_expected(const run *at, char *text, size_t capacity) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < at->expected_count && used < capacity; i++) {
        if (strcmp(at->expected[i], "nothing") == 0) continue;
        used += (size_t)snprintf(text + used, capacity - used, "%s%s", used > 0 ? " " : "", at->expected[i]);
    }
}

// stored -> 1 2 5: soon, because what is settled goes by and by
static void step_stored(run *at) {
    char expected[TEXT_SIZE], got[TEXT_SIZE];
    join_expected(at, expected, sizeof expected);
    int64_t until_ns = run_clock_ns(CLOCK_MONOTONIC) + 3 * SECOND_NS;
    for (;;) {
        list_stored(at, got, sizeof got);
        if (at->failed || run_expects_anything(at) || strcmp(got, expected) == 0) break;
        if (run_clock_ns(CLOCK_MONOTONIC) >= until_ns) {
            run_fail(at, "expected '%s', got '%s'", expected, got);
            break;
        }
        run_sleep_ns(10 * MILLISECOND_NS);
    }
    run_trace(at, got);
}

// ---- Consumers --------------------------------------------------------------------------------------------

static consumer *find_consumer(run *at, const char *name) {
    for (size_t i = 0; i < at->consumer_count; i++) {
        if (strcmp(at->consumers[i].name, name) == 0) return &at->consumers[i];
    }
    if (at->consumer_count == CONSUMERS_MAX) {
        run_fail(at, "more than %d consumers", CONSUMERS_MAX);
        return &at->consumers[0];
    }
    consumer *made = &at->consumers[at->consumer_count++];
    (void)snprintf(made->name, sizeof made->name, "%s", name);
    daybook_consumer_config_init(&made->config);
    return made;
}

static void set_filters(run *at, consumer *of, char *list) {
    of->config.filter_count = 0;
    of->config.filters = of->filters;
    for (char *text = list; text != NULL && *text != '\0' && of->config.filter_count < LISTS_MAX;) {
        char *comma = strchr(text, ',');
        if (comma != NULL) *comma = '\0';
        size_t i = of->config.filter_count++;
        (void)snprintf(of->filter_text[i], sizeof of->filter_text[i], "%s.%s", at->stream, text);
        of->filters[i] = daybook_text(of->filter_text[i]);
        text = comma == NULL ? NULL : comma + 1;
    }
}

static void set_backoff(run *at, consumer *of, char *list) {
    of->config.backoff_count = 0;
    of->config.backoff_ns = of->backoff_ns;
    for (char *text = list; text != NULL && *text != '\0' && of->config.backoff_count < LISTS_MAX;) {
        char *comma = strchr(text, ',');
        if (comma != NULL) *comma = '\0';
        of->backoff_ns[of->config.backoff_count++] = run_duration_of(at, text);
        text = comma == NULL ? NULL : comma + 1;
    }
}

// start_time=3: just before event 3 was appended.
static int64_t time_before(run *at, const char *value) {
    uint64_t seq = run_number_of(at, value);
    if (seq == 0 || seq > at->event_count) {
        run_fail(at, "there is no event %s yet", value);
        return 0;
    }
    return at->events[seq - 1].before_ns;
}

static void set_flag(consumer *of, unsigned flag, bool is_set) {
    of->config.flags = is_set ? of->config.flags | flag : of->config.flags & ~flag;
}

static void set_one(run *at, consumer *of, const char *key, char *value) {
    static const char *const policies[] = {"all",       "last",       "new",
                                           "start_seq", "start_time", "last_per_subject"};
    static const char *const acks[] = {"explicit", "all", "none"};
    static const char *const replays[] = {"instant", "original"};
    daybook_consumer_config *config = &of->config;
    if (strcmp(key, "deliver") == 0) {
        config->deliver = run_index_of(at, value, policies, 6);
    } else if (strcmp(key, "start_seq") == 0) {
        config->deliver = DAYBOOK_DELIVER_BY_START_SEQ;
        config->start_seq = run_number_of(at, value);
    } else if (strcmp(key, "start_time") == 0) {
        config->deliver = DAYBOOK_DELIVER_BY_START_TIME;
        config->start_time_ns = time_before(at, value);
    } else if (strcmp(key, "ack") == 0) {
        config->ack = run_index_of(at, value, acks, 3);
    } else if (strcmp(key, "replay") == 0) {
        config->replay = run_index_of(at, value, replays, 2);
    } else if (strcmp(key, "filter") == 0) {
        set_filters(at, of, value);
    } else if (strcmp(key, "backoff") == 0) {
        set_backoff(at, of, value);
    } else if (strcmp(key, "ack_wait") == 0) {
        config->ack_wait_ns = run_duration_of(at, value);
    } else if (strcmp(key, "max_deliver") == 0) {
        config->max_deliver = run_number_of(at, value);
    } else if (strcmp(key, "max_ack_pending") == 0) {
        config->max_ack_pending = run_number_of(at, value);
    } else if (strcmp(key, "max_waiting") == 0) {
        config->max_waiting = run_number_of(at, value);
    } else if (strcmp(key, "inactive_threshold") == 0) {
        config->inactive_threshold_ns = run_duration_of(at, value);
    } else {
        run_fail(at, "'%s' is no setting of a consumer", key);
    }
}

static void configure(run *at, consumer *of) {
    for (size_t i = 2; i < at->word_count && !at->failed; i++) {
        char *word = at->words[i];
        char *value = strchr(word, '=');
        if (value != NULL) {
            *value = '\0';
            set_one(at, of, word, value + 1);
            *value = '=';
        } else if (strcmp(word, "headers_only") == 0) {
            set_flag(of, DAYBOOK_CONSUMER_HEADERS_ONLY, true);
        } else if (strcmp(word, "with_data") == 0) {
            set_flag(of, DAYBOOK_CONSUMER_HEADERS_ONLY, false);
        } else if (strcmp(word, "ephemeral") == 0) {
            set_flag(of, DAYBOOK_CONSUMER_DURABLE, false);
        } else {
            run_fail(at, "'%s' is no setting of a consumer", word);
        }
    }
    of->config.name = daybook_text(of->name);
    if (of->config.filter_count > 0) of->config.filters = of->filters;
    for (size_t i = 0; i < of->config.filter_count; i++) of->filters[i] = daybook_text(of->filter_text[i]);
    if (of->config.backoff_count > 0) of->config.backoff_ns = of->backoff_ns;
}

// A configuration that is refused is forgotten.
static void make_or_change(run *at, bool is_update) {
    consumer *of = find_consumer(at, run_name_at(at, 1));
    consumer before = *of;
    if (!is_update) { // all is said anew
        consumer fresh = {0};
        memcpy(fresh.name, of->name, sizeof fresh.name);
        daybook_consumer_config_init(&fresh.config);
        *of = fresh;
    }
    configure(at, of);
    if (at->failed) return;
    scenario_outcome outcome = is_update ? at->driver->update(at->session, &of->config, at->why)
                                         : at->driver->add(at->session, &of->config, at->why);
    run_expect_outcome(at, outcome);
    if (outcome == OUTCOME_OK) return;
    *of = before;
    if (of->config.filter_count > 0) of->config.filters = of->filters;
    if (of->config.backoff_count > 0) of->config.backoff_ns = of->backoff_ns;
}

static void step_consumer(run *at) {
    make_or_change(at, false);
}

static void step_update(run *at) {
    make_or_change(at, true);
}

static void step_remove(run *at) {
    run_expect_outcome(at, at->driver->remove(at->session, run_name_at(at, 1), at->why));
}

static void step_remove_stream(run *at) {
    run_expect_outcome(at, at->driver->remove_stream(at->session, at->why));
}

static void step_pause(run *at) {
    int64_t until_ns = run_clock_ns(CLOCK_REALTIME) + run_duration_of(at, run_name_at(at, 2));
    if (!at->failed)
        run_expect_outcome(at, at->driver->pause(at->session, run_name_at(at, 1), until_ns, at->why));
}

static void step_resume(run *at) {
    run_expect_outcome(at, at->driver->pause(at->session, run_name_at(at, 1), 0, at->why));
}

static void step_release(run *at) {
    at->driver->release(at->session, run_name_at(at, 1));
}

// "3/2": number and seq.
static void check_pair(run *at, char *wrong, size_t capacity, const char *word, const char *key,
                       uint64_t number, uint64_t seq) {
    const char *value = run_value_of(word, key);
    char got[64];
    (void)snprintf(got, sizeof got, "%" PRIu64 "/%" PRIu64, number, seq);
    if (value == NULL || strcmp(value, got) == 0) return;
    size_t used = strlen(wrong);
    (void)snprintf(wrong + used, capacity - used, " %s=%s", key, got);
    (void)at;
}

static void check_count(run *at, char *wrong, size_t capacity, const char *word, const char *key,
                        uint64_t count) {
    const char *value = run_value_of(word, key);
    if (value == NULL || run_number_of(at, value) == count) return;
    size_t used = strlen(wrong);
    (void)snprintf(wrong + used, capacity - used, " %s=%" PRIu64, key, count);
}

static void compare_info(run *at, const scenario_info *info, char *wrong, size_t capacity) {
    wrong[0] = '\0';
    for (size_t i = 0; i < at->expected_count; i++) {
        const char *word = at->expected[i];
        check_pair(at, wrong, capacity, word, "delivered", info->delivered_number, info->delivered_seq);
        check_pair(at, wrong, capacity, word, "floor", info->floor_number, info->floor_seq);
        check_count(at, wrong, capacity, word, "ack_pending", info->ack_pending);
        check_count(at, wrong, capacity, word, "redelivered", info->redelivered);
        check_count(at, wrong, capacity, word, "waiting", info->waiting);
        check_count(at, wrong, capacity, word, "pending", info->pending);
    }
}

static void trace_info(const run *at, const scenario_info *info) {
    char text[256];
    (void)snprintf(text, sizeof text,
                   "delivered=%" PRIu64 "/%" PRIu64 " floor=%" PRIu64 "/%" PRIu64 " ack_pending=%" PRIu64
                   " redelivered=%" PRIu64 " waiting=%" PRIu64 " pending=%" PRIu64,
                   info->delivered_number, info->delivered_seq, info->floor_number, info->floor_seq,
                   info->ack_pending, info->redelivered, info->waiting, info->pending);
    run_trace(at, text);
}

static bool is_setting(const char *word) {
    static const char *const known[] = {"delivered",   "floor",   "ack_pending",
                                        "redelivered", "waiting", "pending"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (run_value_of(word, known[i]) != NULL) return true;
    }
    return strcmp(word, "absent") == 0;
}

static bool expects(const run *at, const char *key) {
    for (size_t i = 0; i < at->expected_count; i++) {
        if (run_value_of(at->expected[i], key) != NULL) return true;
    }
    return false;
}

// info C -> delivered=3/3 floor=1/1 ack_pending=2 redelivered=0 waiting=0 pending=4, or absent
static void step_info(run *at) {
    bool gone = at->expected_count > 0 && strcmp(at->expected[0], "absent") == 0;
    for (size_t i = 0; i < at->expected_count && !run_expects_anything(at); i++) {
        if (!is_setting(at->expected[i])) run_fail(at, "'%s' is no number of a consumer", at->expected[i]);
    }
    // What is gone by itself goes soon; a request waits soon after it was made.
    int64_t settle_ns = gone                     ? 5 * SECOND_NS
                        : expects(at, "waiting") ? 2 * SECOND_NS
                                                 : at->driver->settle_ms * MILLISECOND_NS;
    int64_t until_ns = run_clock_ns(CLOCK_MONOTONIC) + settle_ns;
    while (!at->failed) {
        scenario_info info = {0};
        char wrong[512] = "";
        scenario_outcome outcome = at->driver->info(at->session, run_name_at(at, 1), &info, at->why);
        if (outcome == OUTCOME_OK) compare_info(at, &info, wrong, sizeof wrong);
        bool right = gone ? outcome == OUTCOME_ABSENT : outcome == OUTCOME_OK && wrong[0] == '\0';
        if (!right && run_clock_ns(CLOCK_MONOTONIC) < until_ns) {
            run_sleep_ns(10 * MILLISECOND_NS);
            continue;
        }
        trace_info(at, &info);
        if (!right && outcome == OUTCOME_OK) run_fail(at, "got%s", gone ? " it" : wrong);
        if (!right) run_fail(at, "%s: %s", run_name_of(outcome), at->why);
        break;
    }
}

// ---- Messages ---------------------------------------------------------------------------------------------

// What must hold of every message.
static void check_message(run *at, const consumer *of, const scenario_message *message) {
    if (message->seq == 0 || message->seq > at->event_count) {
        run_fail(at, "message %" PRIu64 " was never appended", message->seq);
        return;
    }
    const event *said = &at->events[message->seq - 1];
    char data[DATA_SIZE_SHOWN + 1];
    make_data(data, sizeof data, message->seq, said->size);
    bool headers_only = (of->config.flags & DAYBOOK_CONSUMER_HEADERS_ONLY) != 0;
    if (strcmp(message->subject, said->subject) != 0)
        run_fail(at, "message %" PRIu64 ": subject %s, not %s", message->seq, message->subject,
                 said->subject);
    if (headers_only && (message->data_size != 0 || message->said_size != said->size))
        run_fail(at, "message %" PRIu64 ": %" PRIu64 " bytes of data, %" PRIu64 " said, of %" PRIu64,
                 message->seq, message->data_size, message->said_size, said->size);
    if (!headers_only && (message->data_size != said->size || strcmp(message->data, data) != 0))
        run_fail(at, "message %" PRIu64 ": data '%s' of %" PRIu64 " bytes, not '%s' of %" PRIu64,
                 message->seq, message->data, message->data_size, data, said->size);
    // Clocks of two processes: a millisecond.
    if (message->recorded_ns < said->before_ns - MILLISECOND_NS ||
        message->recorded_ns > said->after_ns + MILLISECOND_NS)
        run_fail(at, "message %" PRIu64 ": its time is not that of its append", message->seq);
}

// "3", "3x2": delivered the second time, "3#7": the seventh delivery, "3+4": four are still to come.
static bool matches(run *at, const char *word, const scenario_message *message) {
    char *end;
    uint64_t deliveries = 1;
    if (strtoull(word, &end, 10) != message->seq) return false;
    while (*end != '\0') {
        char sign = *end;
        const char *from = end + 1;
        uint64_t number = strtoull(from, &end, 10);
        if (end == from) {
            run_fail(at, "'%s' cannot be read", word);
            return false;
        }
        if (sign == 'x') deliveries = number;
        if (sign == '#' && number != message->number) return false;
        if (sign == '+' && number != message->pending_count) return false;
        if (strchr("x#+", sign) == NULL) run_fail(at, "'%s' cannot be read", word);
    }
    return deliveries == message->delivery_count;
}

static void show_messages(const scenario_messages *messages, char *text, size_t capacity) {
    size_t used = 0;
    (void)snprintf(text, capacity, "nothing");
    for (size_t i = 0; i < messages->count && used < capacity; i++) {
        const scenario_message *message = &messages->items[i];
        used += (size_t)snprintf(text + used, capacity - used, "%s%" PRIu64, i > 0 ? " " : "", message->seq);
        if (message->delivery_count != 1 && used < capacity)
            used += (size_t)snprintf(text + used, capacity - used, "x%" PRIu64, message->delivery_count);
        if (used < capacity)
            used += (size_t)snprintf(text + used, capacity - used, "#%" PRIu64 "+%" PRIu64, message->number,
                                     message->pending_count);
    }
}

// in any order: "-> any 1 2 3"
static bool matches_any(run *at, const scenario_messages *messages) {
    bool used[MESSAGES_MAX] = {false};
    for (size_t i = 1; i < at->expected_count; i++) {
        size_t found = 0;
        while (found < messages->count &&
               (used[found] || !matches(at, at->expected[i], &messages->items[found])))
            found++;
        if (found == messages->count) return false;
        used[found] = true;
    }
    return messages->count == at->expected_count - 1;
}

static bool matches_all(run *at, const scenario_messages *messages) {
    if (strcmp(at->expected[0], "any") == 0) return matches_any(at, messages);
    if (messages->count != at->expected_count) return false;
    for (size_t i = 0; i < messages->count; i++) {
        if (!matches(at, at->expected[i], &messages->items[i])) return false;
    }
    return true;
}

static void check_messages(run *at, const consumer *of, scenario_outcome outcome,
                           const scenario_messages *messages) {
    char got[TEXT_SIZE];
    show_messages(messages, got, sizeof got);
    run_trace(at, outcome == OUTCOME_OK ? got : at->why[0] == '\0' ? run_name_of(outcome) : at->why);
    for (size_t i = 0; i < messages->count; i++) check_message(at, of, &messages->items[i]);
    if (run_expects_anything(at)) return;
    if (at->expected_count == 0) {
        if (outcome != OUTCOME_OK) run_fail(at, "%s (%s)", run_name_of(outcome), at->why);
        return;
    }
    if (outcome != OUTCOME_OK) {
        if (strcmp(at->expected[0], run_name_of(outcome)) != 0)
            run_fail(at, "expected %s, got %s (%s)", at->expected[0], run_name_of(outcome), at->why);
    } else if (!matches_all(at, messages)) {
        run_fail(at, "got %s", got);
    }
}

static void read_fetch_options(run *at, size_t count_at, daybook_fetch_options *options) {
    daybook_fetch_options_init(options);
    options->count = (size_t)run_number_of(at, run_name_at(at, count_at));
    if (options->count > MESSAGES_MAX) run_fail(at, "at most %d messages", MESSAGES_MAX);
    const char *expires = run_find_value(at, "expires"), *max_bytes = run_find_value(at, "max_bytes");
    options->timeout_ms = expires == NULL ? 0 : (int)(run_duration_of(at, expires) / MILLISECOND_NS);
    options->flags = DAYBOOK_FETCH_FILL; // as JetStream: until the batch is full
    if (max_bytes != NULL) options->max_bytes = run_number_of(at, max_bytes);
}

// Does the table say that messages come?
static bool expects_messages(const run *at) {
    static const char *const none[] = {"nothing", "limit", "absent", "refused", "?"};
    if (at->expected_count == 0) return false;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        if (strcmp(at->expected[0], none[i]) == 0) return false;
    }
    return true;
}

static void collect(run *at, const char *consumer_name, scenario_request *request, int64_t until_ns,
                    bool at_once) {
    scenario_messages *messages = calloc(1, sizeof *messages);
    if (messages == NULL) {
        run_fail(at, "out of memory");
        return;
    }
    scenario_outcome outcome = at->driver->collect(at->session, request, messages, at->why);
    int64_t late_ns = run_clock_ns(CLOCK_MONOTONIC) - until_ns;
    if (late_ns > 0) at->late_ns += late_ns;
    // A server tells its consumers of events by and by: nothing was delivered yet, so ask again.
    at->is_early = at_once && outcome == OUTCOME_NOTHING && expects_messages(at) &&
                   run_clock_ns(CLOCK_MONOTONIC) < at->settled_ns;
    if (at->is_early) {
        run_sleep_ns(10 * MILLISECOND_NS);
        free(messages);
        return;
    }
    check_messages(at, find_consumer(at, consumer_name), outcome, messages);
    free(messages);
}

static void fetch_once(run *at) {
    daybook_fetch_options options;
    read_fetch_options(at, 2, &options);
    if (at->failed) return;
    scenario_request *request = NULL;
    int64_t until_ns = run_clock_ns(CLOCK_MONOTONIC) + options.timeout_ms * MILLISECOND_NS;
    scenario_outcome outcome = at->driver->request(at->session, at->words[1], &options, &request, at->why);
    if (outcome == OUTCOME_OK) {
        collect(at, at->words[1], request, until_ns, options.timeout_ms == 0);
    } else {
        scenario_messages none = {0};
        check_messages(at, find_consumer(at, at->words[1]), outcome, &none);
    }
}

// fetch C 3 [expires=1s] [max_bytes=100] -> 1 2x2 3#4+1, nothing, limit, absent
static void step_fetch(run *at) {
    at->settled_ns = run_clock_ns(CLOCK_MONOTONIC) + at->driver->settle_ms * MILLISECOND_NS;
    do {
        at->is_early = false;
        fetch_once(at);
    } while (at->is_early && !at->failed);
}

// request R C 3 expires=1s
static void step_request(run *at) {
    daybook_fetch_options options;
    read_fetch_options(at, 3, &options);
    if (at->request_count == REQUESTS_MAX) run_fail(at, "more than %d requests", REQUESTS_MAX);
    if (at->failed) return;
    size_t i = at->request_count;
    int64_t until_ns = run_clock_ns(CLOCK_MONOTONIC) + options.timeout_ms * MILLISECOND_NS;
    scenario_outcome outcome =
        at->driver->request(at->session, at->words[2], &options, &at->requests[i].request, at->why);
    run_expect_outcome(at, outcome);
    if (outcome != OUTCOME_OK) return;
    at->requests[i].until_ns = until_ns;
    (void)snprintf(at->requests[i].name, sizeof at->requests[i].name, "%s", at->words[1]);
    (void)snprintf(at->requests[i].consumer, sizeof at->requests[i].consumer, "%s", at->words[2]);
    at->request_count++;
}

// collect R -> 1 2
static void step_collect(run *at) {
    for (size_t i = 0; i < at->request_count; i++) {
        if (at->requests[i].request == NULL || strcmp(at->requests[i].name, run_name_at(at, 1)) != 0)
            continue;
        scenario_request *request = at->requests[i].request;
        at->requests[i].request = NULL;
        collect(at, at->requests[i].consumer, request, at->requests[i].until_ns, false);
        return;
    }
    run_fail(at, "there is no such request");
}

static void answer(run *at, scenario_answer kind) {
    scenario_reply reply = {.kind = kind,
                            .reason = run_find_value(at, "reason"),
                            .confirmed = run_has_word(at, "confirmed"),
                            .of_first = run_has_word(at, "of_first")};
    const char *delay = run_find_value(at, "delay");
    if (delay != NULL) reply.delay_ns = run_duration_of(at, delay);
    bool expects_none = at->expected_count > 0 && strcmp(at->expected[0], "not_pending") == 0;
    for (size_t i = 2; i < at->word_count && !at->failed; i++) {
        if (strspn(at->words[i], "0123456789") != strlen(at->words[i])) continue;
        reply.seq = run_number_of(at, at->words[i]);
        scenario_outcome outcome = at->driver->answer(at->session, at->words[1], &reply, at->why);
        if (outcome == OUTCOME_OK && expects_none && !at->driver->tells_not_pending) {
            run_trace(at, "sent");
        } else {
            run_expect_outcome(at, outcome);
        }
    }
}

static void step_ack(run *at) {
    answer(at, SAYS_ACK);
}
static void step_nak(run *at) {
    answer(at, SAYS_NAK);
}
static void step_progress(run *at) {
    answer(at, SAYS_PROGRESS);
}
static void step_term(run *at) {
    answer(at, SAYS_TERM);
}

// advisory C max_deliver 1 deliveries=3 | advisory C terminated 4
static void step_advisory(run *at) {
    char wanted[ADVISORY_SIZE], got[ADVISORY_SIZE];
    const char *deliveries = run_find_value(at, "deliveries");
    (void)snprintf(wanted, sizeof wanted, "%s %s %s %s", run_name_at(at, 2), run_name_at(at, 1),
                   run_name_at(at, 3), deliveries == NULL ? "" : deliveries);
    int64_t until_ns = run_clock_ns(CLOCK_MONOTONIC) + 3 * SECOND_NS;
    while (!at->failed && run_clock_ns(CLOCK_MONOTONIC) < until_ns) {
        scenario_outcome outcome = at->driver->next_advisory(at->session, 100, got, at->why);
        if (outcome == OUTCOME_OK) {
            run_trace(at, got);
            if (strncmp(got, wanted, strlen(wanted)) == 0) return;
        } else if (outcome != OUTCOME_NOTHING) {
            run_fail(at, "%s", at->why);
        }
    }
    run_fail(at, "no advisory '%s'", wanted);
}

static void step_wait(run *at) {
    int64_t duration_ns = run_duration_of(at, run_name_at(at, 1));
    if (at->failed) return;
    int64_t began_ns = run_clock_ns(CLOCK_MONOTONIC);
    run_sleep_ns(duration_ns);
    at->late_ns += run_clock_ns(CLOCK_MONOTONIC) - began_ns - duration_ns;
}

static void step_restart(run *at) {
    run_expect_outcome(at, at->driver->restart(at->session, at->why));
}

// ---- The verbs --------------------------------------------------------------------------------------------

static const struct verb {
    const char *name;
    void (*run)(run *at);
    bool takes_time; // by itself: it counts what is too much
} verbs[] = {
    {"stream", step_stream, false},     {"append", step_append, false},
    {"delete", step_delete, false},     {"purge", step_purge, false},
    {"stored", step_stored, true},      {"remove_stream", step_remove_stream, false},
    {"consumer", step_consumer, false}, {"update", step_update, false},
    {"remove", step_remove, false},     {"pause", step_pause, false},
    {"resume", step_resume, false},     {"release", step_release, false},
    {"info", step_info, true},          {"fetch", step_fetch, true},
    {"request", step_request, false},   {"collect", step_collect, true},
    {"ack", step_ack, false},           {"nak", step_nak, false},
    {"term", step_term, false},         {"progress", step_progress, false},
    {"advisory", step_advisory, true},  {"wait", step_wait, true},
    {"restart", step_restart, false},
};

// "2.11" as 2011.
static unsigned version_of(run *at, const char *text) {
    char *end;
    unsigned long major = strtoul(text, &end, 10), minor = 0;
    if (*end == '.') minor = strtoul(end + 1, &end, 10);
    if (*end != '\0') run_fail(at, "'%s' is no version", text);
    return (unsigned)(major * 1000 + minor);
}

// "@daybook", "@nats", "@nats<2.11", "@nats>=2.11" before a line: only there.
static bool applies(run *at, const char *word) {
    size_t size = strcspn(word + 1, "<>");
    const char *rest = word + 1 + size;
    if (strlen(at->driver->name) != size || strncmp(word + 1, at->driver->name, size) != 0) return false;
    if (*rest == '<') return at->driver->version < version_of(at, rest + 1);
    if (strncmp(rest, ">=", 2) == 0) return at->driver->version >= version_of(at, rest + 2);
    if (*rest != '\0') run_fail(at, "'%s' cannot be read", word);
    return true;
}

// needs 2.10 several filters
static void step_needs(run *at) {
    if (at->driver->version >= version_of(at, run_name_at(at, 1)) || at->failed) return;
    at->failed = 2;
    (void)snprintf(at->said, sizeof at->said, "needs %s", at->line->text + strlen("needs "));
}

void run_take_step(run *at) {
    run_split(at);
    if (at->failed || at->word_count == 0) return;
    if (at->words[0][0] == '@') {
        if (!applies(at, at->words[0])) return;
        memmove(at->words, at->words + 1, (at->word_count - 1) * sizeof *at->words);
        if (--at->word_count == 0) return;
    }
    if (strcmp(at->words[0], "needs") == 0) {
        step_needs(at);
        return;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(at->words[0], verbs[i].name) != 0) continue;
        int64_t began_ns = run_clock_ns(CLOCK_MONOTONIC);
        at->why[0] = '\0';
        verbs[i].run(at);
        if (!verbs[i].takes_time) at->late_ns += run_clock_ns(CLOCK_MONOTONIC) - began_ns;
        return;
    }
    run_fail(at, "'%s' is no step", at->words[0]);
}

void run_end_requests(run *at) {
    scenario_messages *messages = calloc(1, sizeof *messages);
    for (size_t i = 0; messages != NULL && i < at->request_count; i++) {
        if (at->requests[i].request == NULL) continue;
        run_fail(at, "request %s was not collected", at->requests[i].name);
        (void)at->driver->collect(at->session, at->requests[i].request, messages, at->why);
    }
    free(messages);
}
