// SPDX-License-Identifier: Apache-2.0
//
// `consumer add|ls|info|next|ack|edit|pause|resume|reset|rm`.
//
// The program ends after each verb, so whatever a verb changed is on disk when it returns: the store writes
// it when it is closed. On a served store, which stays open, that holds for acknowledgements; other answers
// follow within 100 ms, as the library says. `next` answers behind the output, so that what was printed may
// come again and nothing is lost.

#include "cli/event_text.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "cli/stream.h"
#include "cli/table.h"

#include <stdlib.h>
#include <string.h>

static daybook_slice stream_of(const cli_context *context) {
    return daybook_text(context->positionals[0]);
}

static daybook_slice name_of(const cli_context *context) {
    return daybook_text(context->positionals[1]);
}

static int finish(cli_context *context, daybook_status status, const daybook_error *error) {
    return status == DAYBOOK_OK ? CLI_FINE : cli_fail_error(context, status, error, NULL);
}

// --- Settings ---

static const char *const deliver_names[] = {"all",          "last",          "new",
                                            "by-start-seq", "by-start-time", "last-per-subject"};
static const char *const ack_names[] = {"explicit", "all", "none"};

static int index_of(const char *text, const char *const *names, int count) {
    for (int i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0) return i;
    }
    return 0; // the parser knows the choices
}

static void take_flag(const cli_context *context, daybook_consumer_config *config, const char *name,
                      unsigned flag) {
    if (cli_given(context, name)) config->flags |= flag;
}

// Where it begins.
static int take_start(cli_context *context, daybook_consumer_config *config) {
    int by_seq = cli_given(context, "start-seq"), by_time = cli_given(context, "start-time");
    if (by_seq + by_time + cli_given(context, "deliver") > 1)
        return cli_fail(
            context, DAYBOOK_EINVALID,
            "cannot use --deliver, --start-seq and --start-time together: each says where to begin; choose "
            "one");
    if (cli_given(context, "deliver"))
        config->deliver = index_of(cli_text(context, "deliver"), deliver_names, 6);
    if (by_seq) {
        config->deliver = DAYBOOK_DELIVER_BY_START_SEQ;
        config->start_seq = cli_number(context, "start-seq", 0);
    }
    if (by_time) {
        config->deliver = DAYBOOK_DELIVER_BY_START_TIME;
        config->start_time_ns = cli_time(context, "start-time", 0);
    }
    return CLI_FINE;
}

// What is said when a consumer is made, and stays.
static int take_fixed(cli_context *context, daybook_consumer_config *config) {
    int status = take_start(context, config);
    if (status != CLI_FINE) return status;
    if (cli_given(context, "ack")) config->ack = index_of(cli_text(context, "ack"), ack_names, 3);
    if (cli_given(context, "replay"))
        config->replay = strcmp(cli_text(context, "replay"), "original") == 0 ? DAYBOOK_REPLAY_ORIGINAL
                                                                              : DAYBOOK_REPLAY_INSTANT;
    take_flag(context, config, "in-order", DAYBOOK_CONSUMER_IN_ORDER);
    return CLI_FINE;
}

static int take_backoff(cli_context *context, daybook_consumer_config *config, int64_t **backoff_out) {
    size_t count = cli_value_count(context, "backoff");
    if (count == 0) return CLI_FINE;
    *backoff_out = calloc(count, sizeof **backoff_out);
    if (*backoff_out == NULL)
        return cli_fail(context, DAYBOOK_ENOMEM, "out of memory while reading the backoff");
    for (size_t i = 0; i < count; i++) {
        const char *text = cli_value_text(context, "backoff", i);
        if (daybook_duration_parse(daybook_text(text), &(*backoff_out)[i]) != DAYBOOK_OK)
            return cli_fail(context, DAYBOOK_EINVALID,
                            "cannot use --backoff %s: it is no duration; give one such as 500ms or 1m", text);
    }
    config->backoff_ns = *backoff_out;
    config->backoff_count = count;
    return CLI_FINE;
}

// What may be changed later. *filters_out and *backoff_out are released with free.
static int take_config(cli_context *context, daybook_consumer_config *config, daybook_slice **filters_out,
                       int64_t **backoff_out) {
    size_t count = 0;
    int status = cli_value_slices(context, "filter", filters_out, &count);
    if (status != CLI_FINE) return status;
    if (count > 0) {
        config->filters = *filters_out;
        config->filter_count = count;
    }
    config->ack_wait_ns = cli_time(context, "ack-wait", config->ack_wait_ns);
    config->max_deliver = cli_number(context, "max-deliver", config->max_deliver);
    config->max_ack_pending = cli_number(context, "max-ack-pending", config->max_ack_pending);
    config->max_waiting = cli_number(context, "max-waiting", config->max_waiting);
    config->inactive_threshold_ns = cli_time(context, "inactive-threshold", config->inactive_threshold_ns);
    if (cli_given(context, "description")) config->description = cli_slice(context, "description");
    take_flag(context, config, "headers-only", DAYBOOK_CONSUMER_HEADERS_ONLY);
    return take_backoff(context, config, backoff_out);
}

int cli_run_consumer_add(cli_context *context) {
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = name_of(context);
    daybook_slice *filters = NULL;
    int64_t *backoff_ns = NULL;
    int status = take_fixed(context, &config);
    if (status == CLI_FINE) status = take_config(context, &config, &filters, &backoff_ns);
    if (status == CLI_FINE) status = cli_open_store(context, CLI_WRITE);
    if (status == CLI_FINE) {
        daybook_error error;
        daybook_error_init(&error);
        daybook_status added =
            daybook_consumer_add(context->store, stream_of(context), &config, NULL, &error);
        status = finish(context, added, &error);
    }
    free(filters);
    free(backoff_ns);
    return status;
}

// What the store says of the consumer that the arguments name; the caller's where it is fine.
static int get_info(cli_context *context, daybook_consumer_info **info_out) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status =
        daybook_consumer_get_info(context->store, stream_of(context), name_of(context), info_out, &error);
    return status == DAYBOOK_OK ? CLI_FINE : cli_fail_error(context, status, &error, NULL);
}

int cli_run_consumer_edit(cli_context *context) {
    daybook_consumer_info *info = NULL;
    int status = cli_open_store(context, CLI_WRITE);
    if (status == CLI_FINE) status = get_info(context, &info);
    if (status != CLI_FINE) return status;
    daybook_error error;
    daybook_error_init(&error);
    daybook_consumer_config config = info->config; // borrows from info
    daybook_slice *filters = NULL;
    int64_t *backoff_ns = NULL;
    if (cli_given(context, "no-headers-only")) config.flags &= ~(unsigned)DAYBOOK_CONSUMER_HEADERS_ONLY;
    if (cli_given(context, "no-filter")) config.filter_count = 0;
    if (cli_given(context, "no-backoff")) config.backoff_count = 0;
    status = take_config(context, &config, &filters, &backoff_ns);
    if (status == CLI_FINE)
        status = finish(context, daybook_consumer_update(context->store, stream_of(context), &config, &error),
                        &error);
    daybook_consumer_info_release(context->store, info);
    free(filters);
    free(backoff_ns);
    return status;
}

// --- Shown ---

static void put_member(cli_output *out, const char *name, uint64_t number) {
    cli_put_format(out, ",\"%s\":%llu", name, (unsigned long long)number);
}

static void put_time_member(cli_output *out, const char *name, int64_t time_ns) {
    if (time_ns == 0) return;
    cli_put_format(out, ",\"%s\":\"", name);
    cli_put_time(out, time_ns);
    cli_put_char(out, '"');
}

static void put_duration_member(cli_output *out, const char *name, int64_t duration_ns) {
    char text[48];
    cli_put_format(out, ",\"%s\":\"%s\"", name, cli_duration_text(duration_ns, text));
}

static void put_config_json(cli_output *out, const daybook_consumer_config *config) {
    char text[48];
    cli_puts(out, ",\"filters\":[");
    for (size_t i = 0; i < config->filter_count; i++) {
        if (i != 0) cli_put_char(out, ',');
        cli_put_json_string(out, config->filters[i]);
    }
    cli_put_format(out, "],\"deliver\":\"%s\"", deliver_names[config->deliver]);
    if (config->start_seq != 0) put_member(out, "start_seq", config->start_seq);
    put_time_member(out, "start_time", config->start_time_ns);
    cli_put_format(out, ",\"ack\":\"%s\"", ack_names[config->ack]);
    cli_put_format(out, ",\"replay\":\"%s\"",
                   config->replay == DAYBOOK_REPLAY_ORIGINAL ? "original" : "instant");
    put_duration_member(out, "ack_wait", config->ack_wait_ns);
    put_member(out, "max_deliver", config->max_deliver);
    cli_puts(out, ",\"backoff\":[");
    for (size_t i = 0; i < config->backoff_count; i++)
        cli_put_format(out, "%s\"%s\"", i == 0 ? "" : ",", cli_duration_text(config->backoff_ns[i], text));
    cli_put_char(out, ']');
    put_member(out, "max_ack_pending", config->max_ack_pending);
    put_member(out, "max_waiting", config->max_waiting);
    put_duration_member(out, "inactive_threshold", config->inactive_threshold_ns);
    cli_put_format(out, ",\"in_order\":%s",
                   (config->flags & DAYBOOK_CONSUMER_IN_ORDER) != 0 ? "true" : "false");
    cli_put_format(out, ",\"headers_only\":%s",
                   (config->flags & DAYBOOK_CONSUMER_HEADERS_ONLY) != 0 ? "true" : "false");
    if (config->description.size == 0) return;
    cli_puts(out, ",\"description\":");
    cli_put_json_string(out, config->description);
}

static void put_json(cli_output *out, const daybook_consumer_info *info) {
    cli_puts(out, "{\"stream\":");
    cli_put_json_string(out, info->stream);
    cli_puts(out, ",\"consumer\":");
    cli_put_json_string(out, info->config.name);
    put_member(out, "delivered", info->delivered_number);
    put_member(out, "delivered_seq", info->delivered_seq);
    put_member(out, "floor", info->floor_number);
    put_member(out, "floor_seq", info->floor_seq);
    put_member(out, "ack_pending", info->ack_pending_count);
    put_member(out, "redelivered", info->redelivered_count);
    put_member(out, "pending", info->pending_count);
    put_member(out, "given_up", info->given_up_count);
    cli_put_format(out, ",\"paused\":%s", info->is_paused ? "true" : "false");
    if (info->is_paused) put_time_member(out, "pause_until", info->config.pause_until_ns);
    put_time_member(out, "last_delivered", info->delivered_ns);
    put_time_member(out, "last_acked", info->acked_ns);
    put_time_member(out, "created", info->created_ns);
    put_config_json(out, &info->config);
    cli_puts(out, "}\n");
}

static void put_label(cli_output *out, const char *label) {
    cli_put_format(out, "  %-22s", label);
}

static void put_count(cli_output *out, const char *label, uint64_t count) {
    char text[32];
    put_label(out, label);
    cli_put_format(out, "%s\n", cli_grouped(count, text));
}

static void put_config_text(cli_output *out, const daybook_consumer_config *config) {
    char text[48];
    put_label(out, "filters");
    if (config->filter_count == 0) cli_puts(out, "none: all of the stream");
    for (size_t i = 0; i < config->filter_count; i++) {
        if (i != 0) cli_puts(out, ", ");
        cli_put_plain(out, config->filters[i], 0);
    }
    cli_put_char(out, '\n');
    put_label(out, "deliver");
    cli_put_format(out, "%s\n", deliver_names[config->deliver]);
    put_label(out, "acknowledgement");
    cli_put_format(out, "%s, within %s\n", ack_names[config->ack],
                   cli_duration_text(config->ack_wait_ns, text));
    if (config->backoff_count > 0) put_label(out, "backoff");
    for (size_t i = 0; i < config->backoff_count; i++)
        cli_put_format(out, "%s%s", cli_duration_text(config->backoff_ns[i], text),
                       i + 1 < config->backoff_count ? ", " : "\n");
    if (config->max_deliver != 0) put_count(out, "max deliver", config->max_deliver);
    put_count(out, "max ack pending", config->max_ack_pending);
    if ((config->flags & DAYBOOK_CONSUMER_IN_ORDER) != 0) {
        put_label(out, "order");
        cli_puts(out, "kept per aggregate\n");
    }
    if (config->inactive_threshold_ns == 0) return;
    put_label(out, "removed when unused");
    cli_put_format(out, "for %s\n", cli_duration_text(config->inactive_threshold_ns, text));
}

static void put_text(cli_context *context, const daybook_consumer_info *info) {
    cli_output *out = context->out;
    char count[32];
    if (context->color) cli_puts(out, "\033[1m");
    cli_put_plain(out, info->config.name, 0);
    if (context->color) cli_puts(out, "\033[0m");
    cli_puts(out, " of stream ");
    cli_put_plain(out, info->stream, 0);
    cli_put_format(out, "  %s to come\n", cli_grouped(info->pending_count, count));
    if (info->config.description.size != 0) {
        put_label(out, "description");
        cli_put_plain(out, info->config.description, 0);
        cli_put_char(out, '\n');
    }
    put_label(out, "delivered");
    cli_put_format(out, "%llu, up to seq %llu\n", (unsigned long long)info->delivered_number,
                   (unsigned long long)info->delivered_seq);
    put_label(out, "settled");
    cli_put_format(out, "%llu, up to seq %llu\n", (unsigned long long)info->floor_number,
                   (unsigned long long)info->floor_seq);
    put_count(out, "unanswered", info->ack_pending_count);
    if (info->redelivered_count != 0) put_count(out, "delivered again", info->redelivered_count);
    if (info->given_up_count != 0) put_count(out, "given up", info->given_up_count);
    if (info->is_paused) {
        put_label(out, "PAUSED until");
        cli_put_time(out, info->config.pause_until_ns);
        cli_put_char(out, '\n');
    }
    put_config_text(out, &info->config);
}

int cli_run_consumer_info(cli_context *context) {
    daybook_consumer_info *info = NULL;
    int status = cli_open_store(context, CLI_READ);
    if (status == CLI_FINE) status = get_info(context, &info);
    if (status != CLI_FINE) return status;
    if (context->json) {
        put_json(context->out, info);
    } else {
        put_text(context, info);
    }
    daybook_consumer_info_release(context->store, info);
    return CLI_FINE;
}

static int show_consumer(void *context, const daybook_consumer_info *info) {
    cli_table *table = context;
    if (table->context->json) {
        put_json(table->context->out, info);
        return table->context->out->failed_errno != 0;
    }
    cli_table_slice(table, info->stream);
    cli_table_slice(table, info->config.name);
    cli_table_number(table, info->pending_count);
    cli_table_number(table, info->ack_pending_count);
    cli_table_number(table, info->delivered_seq);
    cli_table_number(table, info->floor_seq);
    cli_table_time(table, info->delivered_ns == 0 ? DAYBOOK_TIME_NONE : info->delivered_ns);
    return table->failed;
}

int cli_run_consumer_ls(cli_context *context) {
    static const cli_column columns[] = {{"stream", 0},        {"consumer", 0},      {"pending", 1},
                                         {"ack_pending", 1},   {"delivered_seq", 1}, {"floor_seq", 1},
                                         {"last_delivered", 0}};
    int status = cli_open_store(context, CLI_READ);
    if (status != CLI_FINE) return status;
    cli_table table = {.context = context};
    if (!context->json) cli_table_init(&table, context, columns, sizeof columns / sizeof columns[0]);
    daybook_error error;
    daybook_error_init(&error);
    daybook_slice stream = daybook_text(context->positional_count > 0 ? context->positionals[0] : NULL);
    daybook_status listed = daybook_consumer_list(context->store, stream, show_consumer, &table, &error);
    if (!context->json) status = cli_table_end(&table, "no consumers");
    return listed == DAYBOOK_OK ? status : cli_fail_error(context, listed, &error, NULL);
}

// --- Messages ---

typedef enum answer { ACK, NAK, TERM, PROGRESS, NOTHING } answer;

// At most one of the flags that say what to answer.
static int take_answer(cli_context *context, answer *answer_out) {
    static const struct {
        const char *name;
        answer meaning;
    } names[] = {{"nak", NAK}, {"term", TERM}, {"progress", PROGRESS}, {"no-ack", NOTHING}};
    int given = 0;
    *answer_out = ACK;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (cli_find_option(context->command, names[i].name, strlen(names[i].name)) == NULL ||
            !cli_given(context, names[i].name))
            continue;
        *answer_out = names[i].meaning;
        given++;
    }
    if (given > 1)
        return cli_fail(context, DAYBOOK_EINVALID, "cannot give several answers: choose one of them");
    if (cli_given(context, "delay") && *answer_out != NAK)
        return cli_fail(context, DAYBOOK_EINVALID, "cannot use --delay without --nak: give that too");
    return CLI_FINE;
}

static daybook_status give_answer(const cli_context *context, daybook_consumer *consumer, answer what,
                                  uint64_t seq, daybook_error *error) {
    switch (what) {
    case ACK:
        return daybook_consumer_ack(consumer, seq, DAYBOOK_ACK_CONFIRMED, error);
    case NAK:
        return daybook_consumer_nak(consumer, seq, cli_time(context, "delay", 0), error);
    case TERM:
        return daybook_consumer_term(consumer, seq, cli_slice(context, "reason"), error);
    case PROGRESS:
        return daybook_consumer_progress(consumer, seq, error);
    default:
        return DAYBOOK_OK;
    }
}

static int open_consumer(cli_context *context, daybook_consumer **consumer_out) {
    *consumer_out = NULL;
    int status = cli_open_store(context, CLI_WRITE);
    if (status != CLI_FINE) return status;
    daybook_error error;
    daybook_error_init(&error);
    return finish(
        context,
        daybook_consumer_open(context->store, stream_of(context), name_of(context), consumer_out, &error),
        &error);
}

// Without a name: a consumer that ends with the program, and nothing to answer.
static int open_own(cli_context *context, daybook_consumer **consumer_out) {
    *consumer_out = NULL;
    static const char *const answers[] = {"nak", "delay", "term", "reason", "no-ack"};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        if (cli_given(context, answers[i]))
            return cli_fail(
                context, DAYBOOK_EINVALID,
                "cannot use --%s without the name of a consumer: there is nobody to answer; name one",
                answers[i]);
    }
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.flags = 0;
    config.ack = DAYBOOK_ACK_NONE;
    daybook_slice *filters = NULL;
    int status = take_start(context, &config);
    if (status == CLI_FINE) status = cli_value_slices(context, "filter", &filters, &config.filter_count);
    config.filters = filters;
    if (status == CLI_FINE) status = cli_open_store(context, CLI_WRITE);
    if (status == CLI_FINE) {
        daybook_error error;
        daybook_error_init(&error);
        status = finish(
            context, daybook_consumer_add(context->store, stream_of(context), &config, consumer_out, &error),
            &error);
    }
    free(filters);
    return status;
}

// The consumer that is named; where it begins is settled.
static int open_named(cli_context *context, daybook_consumer **consumer_out) {
    *consumer_out = NULL;
    static const char *const starts[] = {"deliver", "start-seq", "start-time", "filter"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        if (cli_given(context, starts[i]))
            return cli_fail(
                context, DAYBOOK_EINVALID,
                "cannot use --%s with the consumer %s: it was said when that was added; leave out the "
                "option, or the name",
                starts[i], context->positionals[1]);
    }
    return open_consumer(context, consumer_out);
}

static void put_message(cli_context *context, const daybook_message *message) {
    cli_output *out = context->out;
    if (cli_given(context, "data")) {
        cli_put_slice(out, message->event.event.data);
        cli_put_char(out, '\n');
    } else if (context->json) {
        cli_put_char(out, '{');
        cli_put_event_members(out, &message->event, CLI_DATA_COMPACT);
        put_member(out, "delivery", message->delivery);
        put_member(out, "delivery_count", message->delivery_count);
        put_member(out, "pending", message->pending_count);
        cli_puts(out, "}\n");
    } else {
        cli_put_format(out, "seq %-8llu", (unsigned long long)message->event.seq);
        if (message->delivery_count > 1)
            cli_put_format(out, " (time %llu)", (unsigned long long)message->delivery_count);
        cli_put_event_line(context, out, &message->event);
    }
}

// Behind the output: what could not be printed is not answered.
static int answer_batch(cli_context *context, daybook_consumer *consumer, const daybook_batch *batch,
                        answer what) {
    if (cli_output_flush(context->out) != 0) return CLI_FINE; // told by main
    daybook_error error;
    daybook_error_init(&error);
    for (size_t i = 0; i < batch->count; i++) {
        uint64_t seq = batch->messages[i].event.seq;
        // One sync for all: the last is confirmed, and the others come before it.
        daybook_status status = what == ACK && i + 1 < batch->count
                                    ? daybook_consumer_ack(consumer, seq, 0, &error)
                                    : give_answer(context, consumer, what, seq, &error);
        if (status != DAYBOOK_OK && status != DAYBOOK_ENOTFOUND)
            return cli_fail_error(context, status, &error, NULL);
    }
    return CLI_FINE;
}

static int policy_of(cli_context *context, int *ack_out) {
    daybook_consumer_info *info = NULL;
    int status = get_info(context, &info);
    if (status != CLI_FINE) return status;
    *ack_out = info->config.ack;
    daybook_consumer_info_release(context->store, info);
    return CLI_FINE;
}

// It ends with the command. Where the process goes on, the store would keep it until it was idle for long
// enough.
static void remove_own(cli_context *context, daybook_consumer *consumer) {
    if (context->session == NULL) return;
    daybook_slice name = daybook_consumer_name(consumer);
    (void)daybook_consumer_remove(context->store, stream_of(context), name, NULL); // else it ends by itself
}

static void interrupt(void *consumer) {
    daybook_consumer_interrupt(consumer);
}

int cli_run_consumer_next(cli_context *context) {
    answer what;
    int status = take_answer(context, &what);
    uint64_t count = cli_number(context, "batch", 1);
    if (status == CLI_FINE && (count == 0 || count > DAYBOOK_FETCH_COUNT_MAX))
        status = cli_fail(context, DAYBOOK_EINVALID, "cannot fetch %llu messages: give --batch 1 to %d",
                          (unsigned long long)count, DAYBOOK_FETCH_COUNT_MAX);
    daybook_consumer *consumer = NULL;
    int policy = DAYBOOK_ACK_NONE;
    int is_named = context->positional_count > 1;
    if (status == CLI_FINE) status = is_named ? open_named(context, &consumer) : open_own(context, &consumer);
    if (status == CLI_FINE && is_named) status = policy_of(context, &policy);
    if (status == CLI_FINE) {
        daybook_fetch_options options;
        daybook_fetch_options_init(&options);
        options.count = (size_t)count;
        int64_t timeout_ms = cli_time(context, "timeout", 0) / 1000000;
        options.timeout_ms = timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms;
        options.flags = DAYBOOK_FETCH_FILL;
        daybook_error error;
        daybook_error_init(&error);
        daybook_batch *batch = NULL;
        // In a server nobody else ends the wait when the caller has gone.
        if (context->session != NULL) cli_session_begin(context->session, interrupt, consumer);
        daybook_status fetched = daybook_consumer_fetch(consumer, &options, &batch, &error);
        if (context->session != NULL) (void)cli_session_end(context->session);
        for (size_t i = 0; batch != NULL && i < batch->count; i++) put_message(context, &batch->messages[i]);
        if (fetched == DAYBOOK_OK && policy != DAYBOOK_ACK_NONE)
            status = answer_batch(context, consumer, batch, what);
        if (fetched != DAYBOOK_OK && fetched != DAYBOOK_TIMEOUT)
            status = cli_fail_error(context, fetched, &error, NULL);
        daybook_batch_release(batch);
    }
    if (consumer != NULL && !is_named) remove_own(context, consumer);
    daybook_consumer_close(consumer);
    return status;
}

int cli_run_consumer_ack(cli_context *context) {
    answer what;
    int status = take_answer(context, &what);
    for (size_t i = 2; status == CLI_FINE && i < context->positional_count; i++) {
        uint64_t seq = 0;
        if (!cli_parse_number(daybook_text(context->positionals[i]), &seq))
            status = cli_fail(context, DAYBOOK_EINVALID,
                              "cannot use the seq '%s': it is no whole number; give the seq of a message",
                              context->positionals[i]);
    }
    daybook_consumer *consumer = NULL;
    if (status == CLI_FINE) status = open_consumer(context, &consumer);
    for (size_t i = 2; status == CLI_FINE && i < context->positional_count; i++) {
        uint64_t seq = 0;
        (void)cli_parse_number(daybook_text(context->positionals[i]), &seq);
        daybook_error error;
        daybook_error_init(&error);
        status = finish(context, give_answer(context, consumer, what, seq, &error), &error);
    }
    daybook_consumer_close(consumer);
    return status;
}

// --- pause, resume, reset, rm ---

static int pause_until(cli_context *context, int64_t until_ns) {
    int status = cli_open_store(context, CLI_WRITE);
    if (status != CLI_FINE) return status;
    daybook_error error;
    daybook_error_init(&error);
    return finish(
        context,
        daybook_consumer_pause(context->store, stream_of(context), name_of(context), until_ns, &error),
        &error);
}

int cli_run_consumer_pause(cli_context *context) {
    int64_t until_ns = 0;
    const char *text = context->positionals[2];
    if (daybook_time_parse(daybook_text(text), context->now_ns, &until_ns) != DAYBOOK_OK ||
        until_ns <= context->now_ns)
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot pause until '%s': it is no time to come; give one such as +1h or 2030-01-01",
                        text);
    return pause_until(context, until_ns);
}

int cli_run_consumer_resume(cli_context *context) {
    return pause_until(context, 0);
}

int cli_run_consumer_reset(cli_context *context) {
    int status = cli_open_store(context, CLI_WRITE);
    if (status != CLI_FINE) return status;
    daybook_error error;
    daybook_error_init(&error);
    uint64_t seq = cli_number(context, "seq", 0);
    daybook_status reset =
        daybook_consumer_reset(context->store, stream_of(context), name_of(context), seq, &seq, NULL, &error);
    if (reset != DAYBOOK_OK) return cli_fail_error(context, reset, &error, NULL);
    cli_note(context, "consumer %s of stream %s goes on at seq %llu", context->positionals[1],
             context->positionals[0], (unsigned long long)seq);
    return CLI_FINE;
}

int cli_run_consumer_rm(cli_context *context) {
    int status = cli_confirm(context, "remove consumer %s of stream %s", context->positionals[1],
                             context->positionals[0]);
    if (status == CLI_FINE) status = cli_open_store(context, context->dry_run ? CLI_READ : CLI_WRITE);
    if (status != CLI_FINE) return status;
    daybook_error error;
    daybook_error_init(&error);
    daybook_consumer_info *info = NULL;
    daybook_status found =
        daybook_consumer_get_info(context->store, stream_of(context), name_of(context), &info, &error);
    // One whose state cannot be used is removed all the same.
    if (found != DAYBOOK_OK && found != DAYBOOK_EDAMAGED) return cli_fail_error(context, found, &error, NULL);
    daybook_consumer_info_release(context->store, info);
    daybook_status removed = context->dry_run ? DAYBOOK_OK
                                              : daybook_consumer_remove(context->store, stream_of(context),
                                                                        name_of(context), &error);
    if (removed != DAYBOOK_OK) return cli_fail_error(context, removed, &error, NULL);
    cli_note(context, "%s consumer %s of stream %s", context->dry_run ? "would remove" : "removed",
             context->positionals[1], context->positionals[0]);
    return CLI_FINE;
}
