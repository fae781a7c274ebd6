// SPDX-License-Identifier: Apache-2.0
#include "sim/workload.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BULK_EVENTS = 4, BULK_SIZE = 110000, HOUR_S = 3600 };
static const int64_t second_ns = INT64_C(1000000000);
static const int64_t first_time_ns = INT64_C(1700000000000000000);

_Noreturn void workload_fail(workload *work, const char *where, const char *format, ...) {
    va_list arguments;
    (void)fprintf(stderr, "\nFAILED: %s: ", where);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "\nlast error: %s %s\n", daybook_status_name(work->error.status),
                  work->error.message);
    (void)fflush(stderr);
    abort();
}

bool workload_is_operating_error(daybook_status status) {
    switch (status) {
    case DAYBOOK_EIO:
    case DAYBOOK_ENOSPC:
    case DAYBOOK_EMFILE:
    case DAYBOOK_ENOMEM:
    case DAYBOOK_EUNCERTAIN:
    case DAYBOOK_EPOISONED:
    case DAYBOOK_EDAMAGED: // what cannot be read is damage until it can
        return true;
    default:
        return false;
    }
}

uint64_t number_from(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text == NULL || *text == '\0' ? otherwise : strtoull(text, NULL, 10);
}

uint64_t chance_next(chance *source) {
    source->state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t value = source->state;
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

uint64_t chance_below(chance *source, uint64_t bound) {
    return chance_next(source) % bound;
}

// ---- Opening and closing --------------------------------------------------------------------------------

void workload_init(workload *work, dbk_sim *sim) {
    *work = (workload){.sim = sim, .vfs = dbk_sim_vfs(sim)};
    daybook_error_init(&work->error);
}

void workload_open_options(const workload *work, daybook_open_options *options_out) {
    daybook_open_options_init(options_out);
    options_out->flags = DAYBOOK_OPEN_NO_BACKGROUND;
    options_out->memory_budget_bytes = 16 << 20;
    options_out->memtable_bytes = 256 << 10;
    options_out->journal_max_bytes = 4 << 20;
    options_out->segment_max_bytes = 1 << 20;
    options_out->vfs = work->vfs;
}

daybook_status workload_open(workload *work) {
    daybook_open_options options;
    workload_open_options(work, &options);
    return daybook_open(WORKLOAD_PATH, &options, &work->store, &work->error);
}

daybook_status workload_close(workload *work) {
    daybook_status status = daybook_close(work->store, &work->error);
    work->store = NULL;
    return status;
}

static void tell_finding(void *context, const daybook_finding *finding) {
    (void)context;
    if (!finding->is_damage) return;
    (void)fprintf(stderr, "found: %.*s at %" PRIu64 ": %.*s\n", (int)finding->file.size,
                  (const char *)finding->file.data, finding->offset, (int)finding->message.size,
                  (const char *)finding->message.data);
}

void workload_verify(workload *work, const char *where) {
    daybook_open_options options;
    workload_open_options(work, &options);
    daybook_status status =
        daybook_verify(WORKLOAD_PATH, &options, tell_finding, NULL, NULL, NULL, &work->error);
    if (status != DAYBOOK_OK) workload_fail(work, where, "verify: %s", daybook_status_name(status));
}

// ---- Steps: streams -------------------------------------------------------------------------------------

static daybook_status run_open(workload *work, unsigned number) {
    (void)number;
    return workload_open(work);
}

static daybook_status run_reopen(workload *work, unsigned number) {
    (void)number;
    daybook_status status = DAYBOOK_OK;
    if (work->store != NULL) status = workload_close(work);
    return status == DAYBOOK_OK ? workload_open(work) : status;
}

static void configure(unsigned number, daybook_stream_config *config, daybook_slice *subject) {
    static const struct {
        const char *name, *subject;
    } names[] = {{"ORDERS", "orders.>"}, {"FEW", "few.>"},   {"LAST", "last.>"},  {"BULK", "bulk.>"},
                 {"AGED", "aged.>"},     {"GONE", "gone.>"}, {"SMALL", "small.>"}};
    daybook_stream_config_init(config);
    *subject = daybook_text(names[number].subject);
    config->name = daybook_text(names[number].name);
    config->subjects = subject;
    config->subject_count = 1;
    config->duplicate_window_ns = 2 * second_ns;
    switch (number) {
    case 1:
        config->max_msgs = 4;
        break;
    case 2:
        config->max_msgs_per_subject = 1;
        config->flags = DAYBOOK_STREAM_ALLOW_ROLLUP;
        break;
    case 3:
        config->max_msgs = 1;
        break;
    case 4:
        config->max_age_ns = HOUR_S * second_ns;
        break;
    case 6:
        config->max_bytes = 400;
        break;
    default:
        break;
    }
}

static daybook_status run_add(workload *work, unsigned number) {
    daybook_stream_config config;
    daybook_slice subject;
    configure(number, &config, &subject);
    return daybook_stream_add(work->store, &config, &work->error);
}

static daybook_status run_tighten(workload *work, unsigned number) {
    daybook_stream_config config;
    daybook_slice subject;
    configure(number, &config, &subject);
    config.max_msgs = 2;
    config.max_msgs_per_subject = 1;
    config.description = daybook_text("tightened");
    return daybook_stream_update(work->store, &config, &work->error);
}

static daybook_status run_remove(workload *work, unsigned number) {
    daybook_stream_config config;
    daybook_slice subject;
    configure(number, &config, &subject);
    return daybook_stream_remove(work->store, config.name, &work->error);
}

// ---- Steps: appending -----------------------------------------------------------------------------------

enum { TEXTS_MAX = 8 };

typedef struct draft {
    char subject[64], id[32], data[400], tag[32];
    daybook_slice tags[2];
    daybook_header header;
} draft;

static void write_event(draft *text, daybook_event *event, const char *category, unsigned number) {
    static const char *const verbs[] = {"placed", "paid", "shipped"};
    (void)snprintf(text->subject, sizeof text->subject, "%s.%u.%s", category, number % 5, verbs[number % 3]);
    (void)snprintf(text->id, sizeof text->id, "%s-%u", category, number);
    (void)snprintf(text->data, sizeof text->data, "{\"number\":%u,\"text\":\"%0*u\"}", number,
                   (int)(number * 37 % 200), number * 2654435761u);
    (void)snprintf(text->tag, sizeof text->tag, "course:%u", number % 3);
    daybook_event_init(event);
    event->subject = daybook_text(text->subject);
    event->data = daybook_text(text->data);
    event->time_ns = first_time_ns + (int64_t)number * second_ns;
    if (number % 2 == 0) event->id = daybook_text(text->id);
    if (number % 3 == 0) {
        text->tags[0] = daybook_text(text->tag);
        event->tags = text->tags;
        event->tag_count = 1;
        event->correlation = daybook_text("case-1");
        event->actor = daybook_text("actor");
    }
    if (number % 4 == 0) {
        text->header = (daybook_header){daybook_text("X-Trace"), daybook_text("trace")};
        event->headers = &text->header;
        event->header_count = 1;
    }
}

static daybook_status append(workload *work, const daybook_event *events, size_t count,
                             const daybook_append_options *options) {
    return daybook_append(work->store, events, count, options, NULL, &work->error);
}

static daybook_status run_append(workload *work, unsigned number) {
    static const char *const categories[] = {"orders", "few", "last", "aged", "gone", "small"};
    draft text;
    daybook_event event;
    write_event(&text, &event, categories[number / 1000], number % 1000);
    return append(work, &event, 1, NULL);
}

static daybook_status run_append_auto(workload *work, unsigned number) {
    draft text;
    daybook_event event;
    write_event(&text, &event, "made", number);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    return append(work, &event, 1, &options);
}

// Over streams with and without limits, several events of one aggregate.
static daybook_status run_batch(workload *work, unsigned number) {
    static const char *const categories[] = {"orders", "few",  "last", "orders",
                                             "small",  "last", "few",  "orders"};
    draft texts[TEXTS_MAX];
    daybook_event events[TEXTS_MAX];
    for (unsigned i = 0; i < TEXTS_MAX; i++)
        write_event(&texts[i], &events[i], categories[i], number + i * (i % 2 == 0 ? 1 : 5));
    return append(work, events, TEXTS_MAX, NULL);
}

static daybook_status run_append_under_conditions(workload *work, unsigned number) {
    draft text;
    daybook_event event;
    write_event(&text, &event, "orders", number);
    daybook_slice types = daybook_text("never");
    daybook_query_item item;
    daybook_query_item_init(&item);
    item.types = &types;
    item.type_count = 1;
    daybook_condition conditions[2];
    daybook_condition_init(&conditions[0], DAYBOOK_FAIL_IF_EVENTS_MATCH);
    conditions[0].items = &item;
    conditions[0].item_count = 1;
    daybook_condition_init(&conditions[1], DAYBOOK_EXPECT_SUBJECT_SEQ);
    conditions[1].filter = daybook_text("orders.never.>");
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = conditions;
    options.condition_count = 2;
    return append(work, &event, 1, &options);
}

static daybook_status run_roll_up(workload *work, unsigned number) {
    draft text;
    daybook_event event;
    write_event(&text, &event, "last", number);
    text.header = (daybook_header){daybook_text("Nats-Rollup"), daybook_text("all")};
    event.headers = &text.header;
    event.header_count = 1;
    return append(work, &event, 1, NULL);
}

// Half a MiB that does not compress, so that a few of them fill memory table and journal.
static daybook_status run_bulk(workload *work, unsigned number) {
    static uint8_t data[BULK_EVENTS][BULK_SIZE];
    daybook_event events[BULK_EVENTS];
    chance source = {.state = number};
    char subject[32];
    (void)snprintf(subject, sizeof subject, "bulk.%u.moved", number % 3);
    for (unsigned i = 0; i < BULK_EVENTS; i++) {
        for (size_t at = 0; at + 8 <= BULK_SIZE; at += 8) {
            uint64_t word = chance_next(&source);
            memcpy(&data[i][at], &word, 8);
        }
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text(subject);
        events[i].data = daybook_bytes(data[i], BULK_SIZE);
        events[i].time_ns = first_time_ns;
    }
    return append(work, events, BULK_EVENTS, NULL);
}

daybook_status workload_append_after(workload *work, unsigned number) {
    draft text;
    daybook_event event;
    write_event(&text, &event, "after", number);
    (void)snprintf(text.id, sizeof text.id, "after-the-crash-%u", number);
    event.id = daybook_text(text.id);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    return append(work, &event, 1, &options);
}

// ---- Steps: removing ------------------------------------------------------------------------------------

enum { DELETED_NUMBER = 4, DELETED_SEQ = 4 }; // orders-4

static daybook_status run_delete(workload *work, unsigned number) {
    return daybook_event_remove(work->store, daybook_text("ORDERS"), number % 1000, number >= 1000,
                                &work->error);
}

bool workload_remembers_deleted(workload *work) {
    draft text;
    daybook_event event;
    write_event(&text, &event, "orders", DELETED_NUMBER);
    daybook_receipt receipt = {.size = sizeof receipt};
    daybook_status status = daybook_append(work->store, &event, 1, NULL, &receipt, &work->error);
    const unsigned said = DAYBOOK_RECEIPT_DUPLICATE | DAYBOOK_RECEIPT_DELETED;
    return status == DAYBOOK_OK && (receipt.flags & said) == said;
}

static daybook_status run_purge(workload *work, unsigned number) {
    daybook_purge_options options;
    daybook_purge_options_init(&options);
    switch (number) {
    case 0:
        options.filter = daybook_text("orders.1.>");
        break;
    case 1:
        options.keep = 6;
        break;
    default:
        options.seq_to = 24;
        options.erase = number == 3;
        break;
    }
    uint64_t removed = 0;
    return daybook_stream_purge(work->store, daybook_text("ORDERS"), &options, &removed, &work->error);
}

static daybook_status run_expire(workload *work, unsigned number) {
    (void)number;
    static const int64_t pause_ns = 20 * 60 * INT64_C(1000000000);
    // In three parts: an hour at once is a jump of the clock, which expires nothing at first.
    for (int i = 0; i < 6; i++) {
        dbk_sim_advance_ns(work->sim, pause_ns);
        daybook_status status = daybook_maintain(work->store, &work->error);
        if (status != DAYBOOK_OK && status != DAYBOOK_END) return status;
    }
    return DAYBOOK_OK;
}

// ---- Steps: key-value, snapshots, background ------------------------------------------------------------

static daybook_status run_kv_add(workload *work, unsigned number) {
    daybook_kv_config config;
    daybook_kv_config_init(&config);
    config.bucket = daybook_text("B");
    config.history = number;
    return daybook_kv_add(daybook_store_engine(work->store), &config, &work->error);
}

static daybook_status run_kv(workload *work, unsigned number) {
    char key[16];
    char value[32];
    (void)snprintf(key, sizeof key, "key%u", number % 4);
    (void)snprintf(value, sizeof value, "value %u", number);
    daybook_slice bucket = daybook_text("B");
    if (number % 7 == 5)
        return daybook_kv_delete(daybook_store_engine(work->store), bucket, daybook_text(key),
                                 number % 2 == 0, 0, NULL, &work->error);
    return daybook_kv_put(daybook_store_engine(work->store), bucket, daybook_text(key), daybook_text(value),
                          NULL, &work->error);
}

static daybook_status run_snapshot(workload *work, unsigned number) {
    char aggregate[32];
    (void)snprintf(aggregate, sizeof aggregate, "orders.%u", number);
    return daybook_snapshot_take(daybook_store_engine(work->store), daybook_text(aggregate), NULL,
                                 &work->error);
}

// ---- Steps: consumers, machines, aggregates -------------------------------------------------------------

enum { MESSAGES = 2 };

static void configure_consumer(daybook_consumer_config *config) {
    daybook_consumer_config_init(config);
    config->name = daybook_text("mailer");
    config->ack_wait_ns = second_ns;
}

static daybook_status run_consumer_add(workload *work, unsigned number) {
    (void)number;
    daybook_consumer_config config;
    configure_consumer(&config);
    return daybook_consumer_add(work->store, daybook_text("ORDERS"), &config, NULL, &work->error);
}

static daybook_status run_consumer_remove(workload *work, unsigned number) {
    (void)number;
    return daybook_consumer_remove(work->store, daybook_text("ORDERS"), daybook_text("mailer"), &work->error);
}

static daybook_status run_consumer_pause(workload *work, unsigned number) {
    int64_t until_ns = number == 0 ? 0 : INT64_MAX / 2;
    return daybook_consumer_pause(work->store, daybook_text("ORDERS"), daybook_text("mailer"), until_ns,
                                  &work->error);
}

// What messages cause, and their acknowledgements, in one commit.
static daybook_status answer(workload *work, daybook_consumer *consumer, const daybook_batch *batch) {
    char subjects[MESSAGES][32], ids[MESSAGES][32];
    daybook_event events[MESSAGES];
    daybook_append_ack acks[MESSAGES];
    for (size_t i = 0; i < batch->count; i++) {
        unsigned long long seq = batch->messages[i].event.seq;
        (void)snprintf(subjects[i], sizeof subjects[i], "mails.%llu.sent", seq);
        (void)snprintf(ids[i], sizeof ids[i], "mail-%llu", seq);
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text(subjects[i]);
        events[i].id = daybook_text(ids[i]);
        acks[i] = (daybook_append_ack){.size = sizeof acks[i], .consumer = consumer, .seq = seq};
    }
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    options.acks = acks;
    options.ack_count = batch->count;
    return append(work, events, batch->count, &options);
}

static daybook_status run_consume(workload *work, unsigned number) {
    (void)number;
    dbk_sim_advance_ns(work->sim, 2 * second_ns); // what a try before this one took is due again
    daybook_consumer *consumer = NULL;
    daybook_status status = daybook_consumer_open(work->store, daybook_text("ORDERS"), daybook_text("mailer"),
                                                  &consumer, &work->error);
    if (status != DAYBOOK_OK) return status;
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.count = MESSAGES;
    options.timeout_ms = 0;
    daybook_batch *batch = NULL;
    status = daybook_consumer_fetch(consumer, &options, &batch, &work->error);
    if (status == DAYBOOK_OK) {
        status = answer(work, consumer, batch);
        daybook_batch_release(batch);
    }
    daybook_consumer_close(consumer);
    return status == DAYBOOK_TIMEOUT ? DAYBOOK_OK : status;
}

static daybook_status run_move(workload *work, unsigned number) {
    static const daybook_transition ways[] = {
        {DAYBOOK_TEXT("open"), DAYBOOK_TEXT("begun"), {NULL, 0}, {NULL, 0}},
        {DAYBOOK_TEXT("begun"), DAYBOOK_TEXT("closed"), {NULL, 0}, {NULL, 0}},
        {DAYBOOK_TEXT("closed"), DAYBOOK_TEXT("open"), {NULL, 0}, {NULL, 0}}};
    daybook_machine_config config;
    daybook_machine_config_init(&config);
    config.name = daybook_text("ticket");
    config.category = daybook_text("tickets");
    config.initial = ways[0].from;
    config.transitions = ways;
    config.transition_count = sizeof ways / sizeof *ways;
    daybook_machine *machine = NULL;
    daybook_status status = daybook_machine_new(&config, &machine, &work->error);
    if (status != DAYBOOK_OK) return status;
    daybook_move_options options;
    daybook_move_options_init(&options);
    options.auto_stream = 1;
    const daybook_transition *way = &ways[number % config.transition_count];
    status = daybook_machine_move(machine, daybook_store_engine(work->store), daybook_text("7"), way->from,
                                  way->to, &options, NULL, &work->error);
    daybook_machine_free(machine);
    return status;
}

static daybook_status evolve_cart(void *state, void *context, const daybook_recorded_event *event,
                                  daybook_error *error) {
    (void)context, (void)event, (void)error;
    ++*(uint64_t *)state;
    return DAYBOOK_OK;
}

// The number of the event is the state: what is decided shows whether all of it was loaded.
static daybook_status decide_cart(const void *state, const void *command, daybook_decision *decision,
                                  daybook_error *error) {
    (void)command;
    char data[32];
    (void)snprintf(data, sizeof data, "{\"number\":%llu}", (unsigned long long)*(const uint64_t *)state);
    return daybook_decision_add(decision, "filled", daybook_text(data), error);
}

static daybook_status run_execute(workload *work, unsigned number) {
    (void)number;
    daybook_aggregate_type type;
    daybook_aggregate_type_init(&type);
    type.category = daybook_text("carts");
    type.state_size = sizeof(uint64_t);
    type.evolve = evolve_cart;
    daybook_repository_options options;
    daybook_repository_options_init(&options);
    options.auto_stream = 1;
    daybook_repository *repository = NULL;
    daybook_status status =
        daybook_repository_new(daybook_store_engine(work->store), &type, &options, &repository, &work->error);
    if (status != DAYBOOK_OK) return status;
    status = daybook_execute(repository, daybook_text("1"), decide_cart, NULL, NULL, NULL, &work->error);
    daybook_repository_free(repository);
    return status;
}

static daybook_status run_flush(workload *work, unsigned number) {
    (void)number;
    return daybook_flush(work->store, &work->error);
}

static daybook_status run_maintain(workload *work, unsigned number) {
    (void)number;
    for (int i = 0; i < 30; i++) {
        daybook_status status = daybook_maintain(work->store, &work->error);
        if (status == DAYBOOK_END) return DAYBOOK_OK;
        if (status != DAYBOOK_OK) return status;
    }
    return DAYBOOK_OK;
}

#define BULK_ROUND(number)          \
    {"wrap", run_bulk, number}, {   \
        "maintain", run_maintain, 0 \
    }

const workload_step workload_steps[] = {
    {"create", run_open, 0},
    {"stream", run_add, 0},
    {"append", run_append, 1},
    {"stream", run_add, 1},
    {"stream", run_add, 2},
    {"stream", run_add, 3},
    {"stream", run_add, 4},
    {"stream", run_add, 5},
    {"stream", run_add, 6},
    {"kv", run_kv_add, 2},
    {"append", run_append, 2},
    {"append", run_append, 3},
    {"append", run_append, DELETED_NUMBER}, // ORDERS seq DELETED_SEQ
    {"batch", run_batch, 10},
    {"limits", run_append, 1001},
    {"limits", run_append, 2002},
    {"append", run_append, 3003}, // aged
    {"append", run_append, 4004}, // gone
    {"append", run_append_auto, 1},
    {"kv", run_kv, 1},
    {"kv", run_kv, 2},
    {"snapshot", run_snapshot, 1},
    {"consumer", run_consumer_add, 0},
    {"consume", run_consume, 0},
    {"machine", run_move, 0},
    {"execute", run_execute, 0},
    {"flush", run_flush, 0},
    {"batch", run_batch, 20},
    {"append", run_append_under_conditions, 31},
    {"kv", run_kv, 5}, // delete
    {"kv", run_kv, 6},
    {"kv", run_kv, 12}, // purge
    {"delete", run_delete, DELETED_SEQ},
    {"limits", run_append, 5006}, // small
    {"reopen", run_reopen, 0},
    {"delete", run_delete, 9},
    {"consume", run_consume, 0},
    {"machine", run_move, 1},
    {"execute", run_execute, 0},
    {"consumer", run_consumer_pause, 1},
    {"purge", run_purge, 0},
    {"snapshot", run_snapshot, 2},
    {"flush", run_flush, 0},
    {"limits", run_roll_up, 40},
    {"batch", run_batch, 50},
    {"stream", run_tighten, 1},
    {"merge", run_maintain, 0},
    BULK_ROUND(1),
    BULK_ROUND(2),
    {"delete", run_delete, 1010}, // erased
    BULK_ROUND(3),
    {"append", run_append, 60},
    BULK_ROUND(4),
    {"consumer", run_consumer_pause, 0},
    {"consume", run_consume, 0},
    {"stream", run_remove, 5},
    {"stream", run_add, 5},
    {"append", run_append, 4008},
    BULK_ROUND(5),
    BULK_ROUND(6),
    {"reopen", run_reopen, 0},
    {"batch", run_batch, 70},
    BULK_ROUND(7),
    {"purge", run_purge, 1},
    BULK_ROUND(8),
    {"batch", run_batch, 80},
    BULK_ROUND(9),
    BULK_ROUND(10),
    {"expire", run_expire, 0},
    {"kv", run_kv, 9},
    {"purge", run_purge, 3}, // erased
    {"batch", run_batch, 90},
    {"flush", run_flush, 0},
    {"merge", run_maintain, 0},
    {"reopen", run_reopen, 0},
    {"consume", run_consume, 0},
    {"consumer", run_consumer_remove, 0},
    {"consumer", run_consumer_add, 0},
    {"consume", run_consume, 0},
    {"execute", run_execute, 0},
    {"append", run_append, 100},
};
const size_t workload_step_count = sizeof workload_steps / sizeof *workload_steps;

const workload_step workload_later_steps[] = {
    {"upgrade", run_open, 0},          {"upgrade", run_append_auto, 201}, {"upgrade", run_maintain, 0},
    {"upgrade", run_append_auto, 202}, {"upgrade", run_flush, 0},         {"upgrade", run_append_auto, 203},
    {"upgrade", run_reopen, 0},        {"upgrade", run_append_auto, 204},
};
const size_t workload_later_step_count = sizeof workload_later_steps / sizeof *workload_later_steps;

// ---- What a store shows ---------------------------------------------------------------------------------

static uint64_t mix(uint64_t sum, uint64_t word) {
    sum = (sum ^ word) * UINT64_C(0x9fb21c651e98df25);
    return sum ^ sum >> 32;
}

static uint64_t mix_bytes(uint64_t sum, daybook_slice bytes) {
    const uint8_t *data = bytes.data;
    size_t at = 0;
    for (; at + 8 <= bytes.size; at += 8) {
        uint64_t word;
        memcpy(&word, data + at, 8);
        sum = mix(sum, word);
    }
    for (; at < bytes.size; at++) sum = mix(sum, data[at]);
    return mix(sum, bytes.size);
}

static bool begins_with(daybook_slice text, const char *prefix) {
    return text.size >= strlen(prefix) && memcmp(text.data, prefix, strlen(prefix)) == 0;
}

shown_event shown_event_of(const daybook_recorded_event *recorded) {
    const daybook_event *event = &recorded->event;
    uint64_t sum = mix_bytes(1, recorded->stream);
    sum = mix_bytes(mix_bytes(sum, recorded->aggregate), event->subject);
    sum = mix(mix(sum, recorded->seq), recorded->version);
    sum = mix_bytes(mix_bytes(mix_bytes(sum, event->type), event->schema), event->correlation);
    sum = mix_bytes(mix_bytes(sum, event->causation), event->actor);
    for (size_t i = 0; i < event->tag_count; i++) sum = mix_bytes(sum, event->tags[i]);
    for (size_t i = 0; i < event->header_count; i++)
        sum = mix_bytes(mix_bytes(sum, event->headers[i].name), event->headers[i].value);
    bool is_snapshot = begins_with(event->subject, "$KV.SNAPSHOTS");
    bool has_made_id = event->id.size == 36;
    uint64_t loose = sum;
    if (!is_snapshot) loose = mix_bytes(loose, event->data); // it names positions and times
    if (!has_made_id) loose = mix_bytes(loose, event->id);
    uint64_t exact = mix_bytes(mix_bytes(sum, event->data), event->id);
    exact =
        mix(mix(mix(exact, recorded->position), (uint64_t)recorded->recorded_ns), (uint64_t)event->time_ns);
    return (shown_event){.position = recorded->position, .exact = exact, .loose = loose};
}

static shown_event *add_event(shown *what) {
    if (what->count == what->capacity) {
        what->capacity = what->capacity == 0 ? 128 : what->capacity * 2;
        what->events = realloc(what->events, what->capacity * sizeof *what->events);
        if (what->events == NULL) abort();
    }
    return &what->events[what->count++];
}

typedef struct taking {
    workload *work;
    shown *what;
    const char *where;
    uint64_t counts[SHOWN_STREAMS_MAX]; // events read
    uint64_t last_seqs[SHOWN_STREAMS_MAX];
} taking;

static int take_stream(void *context, const daybook_stream_info *info) {
    taking *at = context;
    shown *what = at->what;
    if (what->stream_count == SHOWN_STREAMS_MAX) workload_fail(at->work, at->where, "too many streams");
    shown_stream *stream = &what->streams[what->stream_count++];
    *stream = (shown_stream){.count = info->message_count,
                             .first_seq = info->first_seq,
                             .last_seq = info->last_seq,
                             .bytes = info->byte_count,
                             .is_aged = info->config.max_age_ns != 0};
    (void)snprintf(stream->name, sizeof stream->name, "%.*s", (int)info->config.name.size,
                   (const char *)info->config.name.data);
    uint64_t sum = mix_bytes(mix_bytes(1, info->config.subjects[0]), info->config.description);
    sum =
        mix(mix(mix(sum, info->config.max_msgs), info->config.max_bytes), info->config.max_msgs_per_subject);
    stream->config = mix(mix(sum, (uint64_t)info->config.max_age_ns), info->config.flags);
    return 0;
}

// The streams in which consumers are saved: how is their business.
static bool is_of_consumers(const char *stream) {
    return stream[0] == '$';
}

static int take_consumer(void *context, const daybook_consumer_info *info) {
    taking *at = context;
    if (at->what->consumer_count == SHOWN_CONSUMERS_MAX)
        workload_fail(at->work, at->where, "too many consumers");
    shown_consumer *consumer = &at->what->consumers[at->what->consumer_count++];
    *consumer = (shown_consumer){.open_count = info->pending_count + info->ack_pending_count,
                                 .is_paused = info->is_paused != 0};
    (void)snprintf(consumer->name, sizeof consumer->name, "%.*s", (int)info->config.name.size,
                   (const char *)info->config.name.data);
    return 0;
}

static bool take_consumers(taking *at) {
    shown *what = at->what;
    size_t kept = 0;
    for (size_t i = 0; i < what->stream_count; i++) {
        if (!is_of_consumers(what->streams[i].name)) what->streams[kept++] = what->streams[i];
    }
    what->stream_count = kept;
    what->consumer_count = 0;
    return daybook_consumer_list(at->work->store, (daybook_slice){NULL, 0}, take_consumer, at,
                                 &at->work->error) == DAYBOOK_OK;
}

static size_t find_stream(const shown *what, daybook_slice name) {
    for (size_t i = 0; i < what->stream_count; i++) {
        if (strlen(what->streams[i].name) == name.size &&
            memcmp(what->streams[i].name, name.data, name.size) == 0)
            return i;
    }
    return SIZE_MAX;
}

static bool take_events(taking *at, daybook_cursor *cursor) {
    uint64_t last = 0;
    for (;;) {
        daybook_recorded_event event;
        daybook_status status = daybook_cursor_next(cursor, 0, &event, &at->work->error);
        if (status == DAYBOOK_END) return true;
        if (status != DAYBOOK_OK) return false;
        if (event.position <= last) workload_fail(at->work, at->where, "position %" PRIu64 " twice", last);
        last = event.position;
        size_t stream = find_stream(at->what, event.stream);
        if (stream == SIZE_MAX) workload_fail(at->work, at->where, "an event of a stream that is none");
        if (event.seq <= at->last_seqs[stream])
            workload_fail(at->work, at->where, "seq %" PRIu64 " again", event.seq);
        if (at->counts[stream]++ == 0 && event.seq != at->what->streams[stream].first_seq &&
            !at->what->streams[stream].is_aged)
            workload_fail(at->work, at->where, "%s begins at seq %" PRIu64 ", its info says %" PRIu64,
                          at->what->streams[stream].name, event.seq, at->what->streams[stream].first_seq);
        at->last_seqs[stream] = event.seq;
        if (is_of_consumers(at->what->streams[stream].name)) continue;
        *add_event(at->what) = shown_event_of(&event);
    }
}

static void check_counts(taking *at) {
    const shown *what = at->what;
    uint64_t total = 0, aged = 0;
    for (size_t i = 0; i < what->stream_count; i++) {
        const shown_stream *stream = &what->streams[i];
        bool agrees = stream->is_aged ? stream->count >= at->counts[i] : stream->count == at->counts[i];
        if (!agrees || at->last_seqs[i] > stream->last_seq)
            workload_fail(at->work, at->where,
                          "%s counts %" PRIu64 " events up to seq %" PRIu64 ", %" PRIu64
                          " are read up to %" PRIu64,
                          stream->name, stream->count, stream->last_seq, at->counts[i], at->last_seqs[i]);
        total += stream->count;
        aged += stream->count - at->counts[i];
    }
    daybook_store_info info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    if (daybook_info(at->work->store, &info, &at->work->error) != DAYBOOK_OK)
        workload_fail(at->work, at->where, "no info");
    if (info.event_count != total)
        workload_fail(at->work, at->where, "the store counts %" PRIu64 " events, its streams %" PRIu64,
                      info.event_count, total);
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_INTERNAL;
    uint64_t count = 0;
    if (daybook_count(at->work->store, &query, &count, &at->work->error) != DAYBOOK_OK) return;
    if (count != total - aged)
        workload_fail(at->work, at->where, "%" PRIu64 " events counted, %" PRIu64 " read", count,
                      total - aged);
}

bool shown_take(workload *work, shown *shown_out, const char *where) {
    taking at = {.work = work, .what = shown_out, .where = where};
    shown_out->count = 0;
    shown_out->stream_count = 0;
    if (daybook_stream_list(work->store, take_stream, &at, &work->error) != DAYBOOK_OK) return false;
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_INTERNAL;
    daybook_cursor *cursor = NULL;
    if (daybook_read(work->store, &query, &cursor, &work->error) != DAYBOOK_OK) return false;
    bool is_read = take_events(&at, cursor);
    daybook_cursor_close(cursor);
    if (!is_read) return false;
    check_counts(&at);
    return take_consumers(&at);
}

void shown_deinit(shown *what) {
    free(what->events);
    memset(what, 0, sizeof *what);
}

void shown_copy(shown *to, const shown *from) {
    to->count = 0;
    for (size_t i = 0; i < from->count; i++) *add_event(to) = from->events[i];
    memcpy(to->streams, from->streams, sizeof to->streams);
    to->stream_count = from->stream_count;
    memcpy(to->consumers, from->consumers, sizeof to->consumers);
    to->consumer_count = from->consumer_count;
}

static bool same_event(const shown_event *one, const shown_event *other, bool exactly) {
    return exactly ? one->exact == other->exact : one->loose == other->loose;
}

static bool same_stream(const shown_stream *one, const shown_stream *other) {
    return strcmp(one->name, other->name) == 0 && one->last_seq == other->last_seq &&
           one->config == other->config &&
           (one->is_aged || (one->count == other->count && one->first_seq == other->first_seq));
}

static bool same_consumers(const shown *one, const shown *other) {
    if (one->consumer_count != other->consumer_count) return false;
    for (size_t i = 0; i < one->consumer_count; i++) {
        const shown_consumer *a = &one->consumers[i], *b = &other->consumers[i];
        if (strcmp(a->name, b->name) != 0 || a->open_count != b->open_count || a->is_paused != b->is_paused)
            return false;
    }
    return true;
}

bool shown_same(const shown *one, const shown *other, bool exactly) {
    return same_consumers(one, other) && shown_same_events(one, other, exactly);
}

bool shown_same_events(const shown *one, const shown *other, bool exactly) {
    if (one->count != other->count || one->stream_count != other->stream_count) return false;
    for (size_t i = 0; i < one->count; i++) {
        if (!same_event(&one->events[i], &other->events[i], exactly)) return false;
    }
    for (size_t i = 0; i < one->stream_count; i++) {
        if (!same_stream(&one->streams[i], &other->streams[i])) return false;
        if (exactly && !one->streams[i].is_aged && one->streams[i].bytes != other->streams[i].bytes)
            return false;
    }
    return true;
}

bool shown_is_before(const shown *before, const shown *actual, bool exactly) {
    static shown old;
    shown_copy(&old, actual);
    size_t kept = 0;
    for (size_t i = 0; i < old.stream_count; i++) {
        bool is_old = old.streams[i].last_seq > 0;
        for (size_t j = 0; j < before->stream_count; j++)
            is_old = is_old || strcmp(before->streams[j].name, old.streams[i].name) == 0;
        if (is_old) old.streams[kept++] = old.streams[i];
    }
    old.stream_count = kept;
    return shown_same(before, &old, exactly);
}

void shown_explain(const shown *expected, const shown *actual, bool exactly) {
    (void)fprintf(stderr, "expected %zu events in %zu streams, there are %zu in %zu\n", expected->count,
                  expected->stream_count, actual->count, actual->stream_count);
    for (size_t i = 0; i < expected->count || i < actual->count; i++) {
        uint64_t wanted = i < expected->count ? expected->events[i].position : 0;
        uint64_t got = i < actual->count ? actual->events[i].position : 0;
        if (wanted != 0 && got != 0 && same_event(&expected->events[i], &actual->events[i], exactly))
            continue;
        (void)fprintf(stderr, "event %zu: expected position %" PRIu64 ", got %" PRIu64 "\n", i, wanted, got);
        break;
    }
    for (size_t i = 0; i < expected->consumer_count || i < actual->consumer_count; i++) {
        static const shown_consumer none = {.name = "-"};
        const shown_consumer *wanted = i < expected->consumer_count ? &expected->consumers[i] : &none;
        const shown_consumer *got = i < actual->consumer_count ? &actual->consumers[i] : &none;
        (void)fprintf(stderr, "consumer %s/%s: expected %" PRIu64 " open%s; got %" PRIu64 "%s\n",
                      wanted->name, got->name, wanted->open_count, wanted->is_paused ? ", paused" : "",
                      got->open_count, got->is_paused ? ", paused" : "");
    }
    for (size_t i = 0; i < expected->stream_count || i < actual->stream_count; i++) {
        static const shown_stream none = {.name = "-"};
        const shown_stream *wanted = i < expected->stream_count ? &expected->streams[i] : &none;
        const shown_stream *got = i < actual->stream_count ? &actual->streams[i] : &none;
        if (same_stream(wanted, got) && (!exactly || wanted->bytes == got->bytes)) continue;
        (void)fprintf(stderr,
                      "stream %s/%s: expected %" PRIu64 " events, seq %" PRIu64 "-%" PRIu64 ", %" PRIu64
                      " bytes; got %" PRIu64 ", %" PRIu64 "-%" PRIu64 ", %" PRIu64 "%s\n",
                      wanted->name, got->name, wanted->count, wanted->first_seq, wanted->last_seq,
                      wanted->bytes, got->count, got->first_seq, got->last_seq, got->bytes,
                      wanted->config == got->config ? "" : ", configured differently");
    }
}
