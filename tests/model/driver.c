// SPDX-License-Identifier: Apache-2.0
#include "driver.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// ---- Failures --------------------------------------------------------------------------------------------

void driver_fail(driver *driven, const char *format, ...) {
    va_list arguments;
    (void)fprintf(stderr, "\nFAILED: seed %" PRIu64 ", operation %" PRIu64 " (%s): ", driven->options.seed,
                  driven->counts.operations, driven->operation);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "\nlast error: %s %s\nrepeat: %s\n", daybook_status_name(driven->error.status),
                  driven->error.message, driven->options.repeat);
    (void)fflush(stderr);
    abort();
}

static bool is_stopped(const driver *driven) {
    return driven->options.sim != NULL && dbk_sim_is_stopped(driven->options.sim);
}

static bool has_struck(const driver *driven) {
    return driven->is_faulty && dbk_sim_fault_hits(driven->options.sim) > driven->hits_before;
}

static bool is_operating_error(daybook_status status) {
    return status == DAYBOOK_EIO || status == DAYBOOK_ENOSPC || status == DAYBOOK_EMFILE ||
           status == DAYBOOK_ENOMEM || status == DAYBOOK_EUNCERTAIN || status == DAYBOOK_EPOISONED ||
           status == DAYBOOK_EDAMAGED;
}

// Nothing fails any more: what is asked now must be answered.
static void calm(driver *driven) {
    if (!driven->is_faulty) return;
    dbk_sim_clear_faults(driven->options.sim);
    dbk_sim_set_capacity(driven->options.sim, 0);
}

// Did the call fail because the disk stopped? Then nothing more can be asked until the crash is over. Or because of
// a fault? Then it is to be looked at what that did.
static bool breaks(driver *driven, daybook_status status) {
    if (has_struck(driven) && is_operating_error(status)) {
        if (driven->error.status != status || driven->error.message[0] == '\0')
            driver_fail(driven, "%s without a message", daybook_status_name(status));
        driven->broken = true;
        return true;
    }
    if (status == DAYBOOK_OK || !is_stopped(driven)) return false;
    if (status != DAYBOOK_EIO && status != DAYBOOK_EUNCERTAIN && status != DAYBOOK_EPOISONED &&
        status != DAYBOOK_EDAMAGED) // of what cannot be read
        return false;
    driven->broken = true;
    return true;
}

static int64_t now_ns(const driver *driven) {
    return driven->vfs->clock_real_ns(driven->vfs);
}

void driver_print_counts(const driver_counts *counts, const char *title) {
    printf("%s: %" PRIu64 " operations, %" PRIu64 " events, %" PRIu64 " duplicates, %" PRIu64
           " conflicts, %" PRIu64 " mixed, %" PRIu64 " limits, %" PRIu64 " removed, %" PRIu64
           " reads, %" PRIu64 " full checks, %" PRIu64 " restarts, %" PRIu64 " kills, %" PRIu64
           " flushes, %" PRIu64 " merges, half done %" PRIu64 " there %" PRIu64 " not there, %" PRIu64
           " acknowledged before the sync, %" PRIu64 " of them lost, %" PRIu64 " chains, %" PRIu64
           " skipped in them, %" PRIu64 " met a fault, %" PRIu64 " of them refused, %" PRIu64 " poisoned\n",
           title, counts->operations, counts->appended, counts->duplicates, counts->conflicts, counts->mixed,
           counts->limits, counts->removed, counts->reads, counts->checks, counts->restarts, counts->kills,
           counts->flushes, counts->merges, counts->pending_done, counts->pending_undone, counts->deferred,
           counts->lost, counts->chains, counts->skipped, counts->struck, counts->refused, counts->poisoned);
    (void)fflush(stdout);
}

void driver_add_counts(driver_counts *sum, const driver_counts *counts) {
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)counts;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++) to[i] += from[i];
}

// What one operation after the other does, where DAYBOOK_TRACE is set.
static void trace(const driver *driven, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void trace(const driver *driven, const char *format, ...) {
    if (getenv("DAYBOOK_TRACE") == NULL) return;
    (void)fprintf(stderr, "%" PRIu64 " %s: ", driven->counts.operations, driven->operation);
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "\n");
}

// ---- Life ------------------------------------------------------------------------------------------------

void driver_init(driver *driven, const driver_options *options) {
    memset(driven, 0, sizeof *driven);
    driven->options = *options;
    driven->operation = "start";
    random_init(&driven->random, options->seed);
    model_init(&driven->model);
    daybook_error_init(&driven->error);
    driven->vfs = options->sim != NULL ? dbk_sim_vfs(options->sim) : daybook_vfs_posix();
}

void driver_deinit(driver *driven) {
    model_deinit(&driven->model);
}

static void log_message(void *context, int level, daybook_slice message) {
    (void)context;
    if (getenv("DAYBOOK_TEST_LOG") != NULL)
        (void)fprintf(stderr, "log %d: %.*s\n", level, (int)message.size, (const char *)message.data);
}

bool driver_open(driver *driven) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.flags = driven->options.open_flags;
    options.memory_budget_bytes = 16 << 20;
    options.memtable_bytes = driven->options.memtable_bytes;
    options.journal_max_bytes = driven->options.journal_max_bytes;
    options.segment_max_bytes = driven->options.segment_max_bytes;
    options.vfs = driven->vfs;
    options.log = log_message;
    driven->broken = false;
    daybook_status status = daybook_open(driven->options.path, &options, &driven->store, &driven->error);
    if (status == DAYBOOK_OK) {
        daybook_store_info info;
        memset(&info, 0, sizeof info);
        info.size = sizeof info;
        if (daybook_info(driven->store, &info, &driven->error) == DAYBOOK_OK)
            trace(driven,
                  "opened %s, durable position %" PRIu64 ", flushed %" PRIu64 ", replayed %" PRIu64
                  " bytes, cut %" PRIu64 " pages",
                  info.uuid, info.durable_position, info.flushed_position, info.open_replayed_bytes,
                  info.open_torn_pages);
        return true;
    }
    driven->store = NULL;
    if (!is_stopped(driven) && !breaks(driven, status))
        driver_fail(driven, "the store does not open: %s", daybook_status_name(status));
    return false;
}

static void count_background(driver *driven) {
    daybook_store_info info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    if (daybook_info(driven->store, &info, &driven->error) != DAYBOOK_OK) return;
    driven->counts.flushes += info.flush_count;
    driven->counts.merges += info.merge_count;
}

static void close_cursors(driver *driven) {
    for (size_t i = 0; i < DRIVER_CURSORS_MAX; i++) {
        daybook_cursor_close(driven->cursors[i].cursor);
        driven->cursors[i].cursor = NULL;
    }
}

void driver_close(driver *driven) {
    close_cursors(driven);
    if (driven->store == NULL) return;
    if (!is_stopped(driven)) count_background(driven);
    daybook_status status = daybook_close(driven->store, &driven->error);
    driven->store = NULL;
    driven->is_closed_badly = status != DAYBOOK_OK;
    if (status != DAYBOOK_OK && !is_stopped(driven) && !driven->broken && !breaks(driven, status))
        driver_fail(driven, "closing gives %s", daybook_status_name(status));
}

// ---- Events said -----------------------------------------------------------------------------------------

static const char *const verbs[] = {"placed",    "paid",       "shipped",
                                    "cancelled", "item.added", "item.removed.late"};

static const char *make_subject(driver *driven) {
    random_source *random = &driven->random;
    unsigned aggregate = (unsigned)random_skewed(random, 40) + 1;
    const char *verb = verbs[random_below(random, sizeof verbs / sizeof *verbs)];
    switch (random_below(random, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        return model_text(&driven->model, "orders.%u.%s", aggregate, verb);
    case 4:
    case 5:
        return model_text(&driven->model, "users.%u.%s", aggregate, verb);
    case 6:
        return model_text(&driven->model, "deep.v%u.%u.%s", aggregate % 3, aggregate, verb);
    case 7:
        return model_text(&driven->model, "flat.%u", aggregate);
    case 8:
        return model_text(&driven->model, "lim.%u.%s", aggregate, verb);
    case 9:
        return model_text(&driven->model, "new.%u.%s", aggregate % 8, verb);
    case 10:
        return model_text(&driven->model, "$KV.B.%u", aggregate);
    case 11:
        return model_text(&driven->model, "$KV.SNAPSHOTS.%s.%u", aggregate % 2 == 0 ? "orders" : "users",
                          aggregate);
    case 12:
        return model_text(&driven->model, "wild.%u.%s", aggregate, aggregate % 2 == 0 ? "a" : "b");
    case 13:
        return model_text(&driven->model, "mem.%u.%s", aggregate % 8, verb);
    case 14:
        return model_text(&driven->model, "auto%u.%u.x", aggregate % 4, aggregate);
    default:
        return aggregate % 2 == 0 ? model_text(&driven->model, "orders.%u", aggregate)
                                  : "users.\xc3\xa4.gr\xc3\xbc\xc3\x9f";
    }
}

static const char *make_id(driver *driven) {
    random_source *random = &driven->random;
    uint64_t kind = random_below(random, 100);
    if (kind < 60) return "";
    if (kind < 68 && driven->model.event_count > 0) {
        const char *id = driven->model.events[random_below(random, driven->model.event_count)].id;
        if (random_percent(random, 50)) id = driven->model.events[driven->model.event_count - 1].id;
        return id;
    }
    uint64_t number = ++driven->id_count;
    if (kind < 85) return model_text(&driven->model, "id-%" PRIu64, number);
    return model_text(&driven->model, "%08" PRIx64 "-1234-7123-9123-%012" PRIx64, number * 7919 & 0xffffffff,
                      number);
}

static const char *maybe(driver *driven, unsigned percent, const char *format, unsigned bound) {
    random_source *random = &driven->random;
    if (!random_percent(random, percent)) return "";
    char text[64];
    unsigned number = (unsigned)random_skewed(random, bound);
    (void)snprintf(text, sizeof text, "%u", number);
    const char *place = strchr(format, '#');
    return model_text(&driven->model, "%.*s%s%s", (int)(place - format), format, text, place + 1);
}

static size_t data_size(driver *driven) {
    random_source *random = &driven->random;
    uint64_t kind = random_below(random, 1000);
    if (kind < 50) return 0;
    if (kind < 900) return random_below(random, 300);
    if (kind < (driven->options.heavy ? 985u : 998u)) return random_below(random, 8000);
    return random_below(random, 100000);
}

static void add_headers(driver *driven, model_said *said) {
    random_source *random = &driven->random;
    if (random_percent(random, 15)) {
        said->header_names[said->header_count] = "Content-Type";
        said->header_values[said->header_count++] = random_percent(random, 50) ? "application/json" : "";
    }
    if (random_percent(random, 10)) {
        said->header_names[said->header_count] = "X-Trace";
        said->header_values[said->header_count++] = maybe(driven, 100, "trace-#", 1000);
    }
    bool may_roll = strncmp(said->subject, "$KV", 3) == 0 || strncmp(said->subject, "lim", 3) == 0;
    if (random_percent(random, may_roll ? 12 : 1) && said->header_count < MODEL_HEADERS_MAX) {
        said->header_names[said->header_count] = random_percent(random, 50) ? "Nats-Rollup" : "nats-rollup";
        said->header_values[said->header_count++] = random_percent(random, 80) ? "sub" : "all";
    }
}

static const model_said *make_said(driver *driven) {
    random_source *random = &driven->random;
    model_said *said = model_alloc(&driven->model, sizeof *said);
    said->subject = make_subject(driven);
    said->id = make_id(driven);
    said->type = maybe(driven, 20, "Type#", 12);
    said->schema = maybe(driven, 10, "1.#.0", 5);
    said->correlation = random_percent(random, 20) ? "01890a5d-ac96-774b-bcce-b302099a8057"
                                                   : maybe(driven, 40, "case-#", 60);
    said->causation = maybe(driven, 20, "id-#", 200);
    said->actor = maybe(driven, 50, "actor #", 9);
    said->time_ns = random_percent(random, 40)
                        ? (int64_t)(random_below(random, 4000) * UINT64_C(1000000000)) +
                              INT64_C(1700000000000000000)
                        : DAYBOOK_TIME_NONE;
    if (random_percent(random, 50)) {
        said->tag_count = random_below(random, MODEL_TAGS_MAX) + 1;
        for (size_t i = 0; i < said->tag_count; i++)
            said->tags[i] = maybe(driven, 100, i % 2 == 0 ? "course:#" : "student:#", 15);
    }
    add_headers(driven, said);
    said->data_size = data_size(driven);
    uint8_t *data = model_alloc(&driven->model, said->data_size);
    uint64_t pattern = random_next(random);
    for (size_t i = 0; i < said->data_size; i++) {
        if (i % 64 == 0) pattern = random_next(random);
        data[i] = (uint8_t)(pattern >> (i % 8 * 8));
    }
    said->data = data;
    return said;
}

typedef struct event_texts {
    daybook_slice tags[MODEL_TAGS_MAX];
    daybook_header headers[MODEL_HEADERS_MAX];
} event_texts;

static void to_event(const model_said *said, event_texts *texts, daybook_event *event) {
    daybook_event_init(event);
    event->subject = daybook_text(said->subject);
    event->data = daybook_bytes(said->data, said->data_size);
    event->id = daybook_text(said->id);
    event->type = daybook_text(said->type);
    event->schema = daybook_text(said->schema);
    event->correlation = daybook_text(said->correlation);
    event->causation = daybook_text(said->causation);
    event->actor = daybook_text(said->actor);
    event->time_ns = said->time_ns;
    for (size_t i = 0; i < said->tag_count; i++) texts->tags[i] = daybook_text(said->tags[i]);
    for (size_t i = 0; i < said->header_count; i++) {
        texts->headers[i].name = daybook_text(said->header_names[i]);
        texts->headers[i].value = daybook_text(said->header_values[i]);
    }
    event->tags = texts->tags;
    event->tag_count = said->tag_count;
    event->headers = texts->headers;
    event->header_count = said->header_count;
}

// ---- Comparing events ------------------------------------------------------------------------------------

static bool same(daybook_slice slice, const char *text) {
    return slice.size == strlen(text) && (slice.size == 0 || memcmp(slice.data, text, slice.size) == 0);
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *different_tags(const model_said *said, const daybook_event *event) {
    const char *sorted[MODEL_TAGS_MAX];
    size_t count = 0;
    memcpy(sorted, said->tags, sizeof sorted);
    if (said->tag_count > 0) qsort(sorted, said->tag_count, sizeof *sorted, compare_texts);
    for (size_t i = 0; i < said->tag_count; i++) {
        if (i > 0 && strcmp(sorted[i], sorted[i - 1]) == 0) continue;
        if (count >= event->tag_count || !same(event->tags[count], sorted[i])) return "tags";
        count++;
    }
    return count == event->tag_count ? NULL : "tags";
}

// The name of the first field that differs, NULL where none does.
static const char *different(driver *driven, const model_event *expected,
                             const daybook_recorded_event *actual) {
    const model_said *said = expected->said;
    const daybook_event *event = &actual->event;
    if (actual->position != expected->position) return "position";
    if (actual->seq != expected->seq) return "seq";
    if (actual->version != expected->version) return "version";
    if (actual->recorded_ns != expected->recorded_ns) return "recorded";
    if (!same(actual->stream, driven->model.streams[expected->stream]->name)) return "stream";
    if (!same(actual->aggregate, expected->aggregate)) return "aggregate";
    if (!same(event->subject, said->subject)) return "subject";
    if (event->data.size != said->data_size ||
        (said->data_size > 0 && memcmp(event->data.data, said->data, said->data_size) != 0))
        return "data";
    if (!same(event->id, expected->id)) return "id";
    if (!same(event->type, expected->type)) return "type";
    if (!same(event->schema, said->schema)) return "schema";
    if (!same(event->correlation, said->correlation)) return "correlation";
    if (!same(event->causation, said->causation)) return "causation";
    if (!same(event->actor, said->actor)) return "actor";
    if (event->time_ns != (said->time_ns == DAYBOOK_TIME_NONE ? expected->recorded_ns : said->time_ns))
        return "time";
    if (event->header_count != said->header_count) return "header count";
    for (size_t i = 0; i < said->header_count; i++) {
        if (!same(event->headers[i].name, said->header_names[i]) ||
            !same(event->headers[i].value, said->header_values[i]))
            return "header";
    }
    return different_tags(said, event);
}

static void check_event(driver *driven, const model_event *expected, const daybook_recorded_event *actual) {
    const char *field = different(driven, expected, actual);
    if (field == NULL) return;
    driver_fail(
        driven,
        "an event differs in its %s: expected %s position %" PRIu64 " seq %" PRIu64 " version %" PRIu64
        " id %s, got %.*s position %" PRIu64 " seq %" PRIu64 " version %" PRIu64 " id %.*s",
        field, expected->said->subject, expected->position, expected->seq, expected->version, expected->id,
        (int)actual->event.subject.size, (const char *)actual->event.subject.data, actual->position,
        actual->seq, actual->version, (int)actual->event.id.size, (const char *)actual->event.id.data);
}

// ---- What depends on the clock ---------------------------------------------------------------------------

// Events that have reached their stream's age may or may not be there: the store says.
static void settle_ages(driver *driven) {
    if (driven->options.has_ages) driven->model.read_ns = now_ns(driven);
    for (size_t i = 0; driven->options.has_ages && !driven->broken && i < driven->model.stream_count; i++) {
        const model_stream *stream = driven->model.streams[i];
        if (stream->removed || stream->config.max_age_ns == 0) continue;
        size_t first = model_first_live(&driven->model, i);
        if (first == MODEL_NONE || !model_is_expired(&driven->model, first, now_ns(driven))) continue;
        daybook_stream_info *info;
        daybook_status status =
            daybook_stream_get_info(driven->store, daybook_text(stream->name), &info, &driven->error);
        if (breaks(driven, status)) return;
        if (status != DAYBOOK_OK)
            driver_fail(driven, "no info on %s: %s", stream->name, daybook_status_name(status));
        uint64_t seq = info->first_seq;
        daybook_stream_info_release(driven->store, info);
        trace(driven, "%s begins at seq %" PRIu64 " by age", stream->name, seq);
        for (size_t j = first; j < driven->model.event_count; j++) {
            const model_event *event = &driven->model.events[j];
            if (event->stream == i && event->state == MODEL_LIVE && event->seq < seq &&
                !model_is_expired(&driven->model, j, now_ns(driven)))
                driver_fail(driven, "%s lost seq %" PRIu64 " before its time", stream->name, event->seq);
        }
        model_expire_before(&driven->model, i, seq);
    }
}

// ---- What is durable -------------------------------------------------------------------------------------

static bool has_background(const driver *driven) {
    return (driven->options.open_flags & DAYBOOK_OPEN_NO_BACKGROUND) == 0;
}

// False where the disk stopped.
static bool ask_durable(driver *driven, uint64_t *position_out) {
    daybook_store_info info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    daybook_status status = daybook_info(driven->store, &info, &driven->error);
    if (breaks(driven, status)) return false;
    if (status != DAYBOOK_OK) driver_fail(driven, "info: %s", daybook_status_name(status));
    *position_out = info.durable_position;
    return true;
}

// By a fault: whoever has one under way looks.
static bool is_poisoned(driver *driven) {
    daybook_store_info info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    return driven->is_faulty && daybook_info(driven->store, &info, NULL) == DAYBOOK_OK && info.poisoned != 0;
}

static void pause_ms(unsigned count) {
    struct timespec time = {.tv_nsec = (long)count * 1000000};
    (void)nanosleep(&time, NULL);
}

// The background threads have the time they need, and not more.
enum { PATIENCE_MS = 20000 };

static bool wait_until_durable(driver *driven, uint64_t *durable) {
    for (unsigned waited = 0; *durable < driven->last_position; waited++) {
        if (is_stopped(driven) || is_poisoned(driven)) {
            driven->broken = true;
            return false;
        }
        if (waited == PATIENCE_MS)
            driver_fail(driven, "position %" PRIu64 " is acknowledged, and durable is %" PRIu64,
                        driven->last_position, *durable);
        pause_ms(1);
        if (!ask_durable(driven, durable)) return false;
    }
    return true;
}

// The limits of a stream apply soon after what broke them has become durable.
static void wait_for_limits(driver *driven, size_t stream) {
    for (unsigned waited = 0; waited < PATIENCE_MS && !driven->broken; waited++) {
        daybook_stream_info *info;
        const char *name = driven->model.streams[stream]->name;
        daybook_status status =
            daybook_stream_get_info(driven->store, daybook_text(name), &info, &driven->error);
        if (breaks(driven, status)) return;
        if (status != DAYBOOK_OK) driver_fail(driven, "no info on %s: %s", name, daybook_status_name(status));
        bool done = info->message_count == model_message_count(&driven->model, stream);
        daybook_stream_info_release(driven->store, info);
        if (done) return;
        pause_ms(1);
        if (is_stopped(driven) || is_poisoned(driven)) driven->broken = true;
    }
}

static void step_maintain(driver *driven);

// What has become durable is seen from now on, and limits apply to it.
static void settle_durable(driver *driven) {
    uint64_t durable, before = driven->settled_position;
    if (driven->broken || !ask_durable(driven, &durable)) return;
    if (durable < driven->model.visible_position)
        driver_fail(driven, "durable is position %" PRIu64 ", it was %" PRIu64, durable, before);
    if (has_background(driven) && !wait_until_durable(driven, &durable)) return;
    if (durable >= driven->last_position) driven->deferred_until_ns = 0;
    model_publish(&driven->model, durable);
    driven->settled_position = durable;
    bool maintained = has_background(driven);
    for (size_t i = driven->model.event_count; i-- > 0 && !driven->broken;) {
        const model_event *event = &driven->model.events[i];
        const model_stream *stream = driven->model.streams[event->stream];
        if (event->position <= before) break;
        bool is_limited =
            stream->config.max_msgs + stream->config.max_bytes + stream->config.max_msgs_per_subject > 0;
        if (event->position > durable || !is_limited || stream->removed) continue;
        if (!maintained) step_maintain(driven);
        maintained = true;
        if (has_background(driven)) wait_for_limits(driven, event->stream);
    }
    // Maintenance may have made more of it durable.
    if (maintained && !has_background(driven)) settle_durable(driven);
}

// The acknowledged append is durable, whatever its streams' sync_interval.
static void check_durable(driver *driven, uint64_t position) {
    uint64_t durable;
    if (!ask_durable(driven, &durable)) return;
    if (durable < position)
        driver_fail(driven, "position %" PRIu64 " is acknowledged, durable is %" PRIu64, position, durable);
}

// ---- Appending -------------------------------------------------------------------------------------------

typedef struct conditions {
    daybook_condition list[3];
    daybook_query_item items[3][3];
    daybook_slice types[3][3][2], tags[3][3][2];
    char texts[3][3][128];
} conditions;

static const model_event *any_event(driver *driven) {
    const model *store = &driven->model;
    if (store->event_count == 0) return NULL;
    size_t back = random_percent(&driven->random, 50) ? random_skewed(&driven->random, store->event_count)
                                                      : random_below(&driven->random, store->event_count);
    return &store->events[store->event_count - 1 - back];
}

// A filter that has something to do with the subject.
static void make_filter(driver *driven, const char *subject, char filter_out[128]) {
    (void)snprintf(filter_out, 128, "%s", subject);
    uint64_t kind = random_below(&driven->random, 10);
    if (kind < 3) return;
    char *first_dot = strchr(filter_out, '.');
    char *second_dot = first_dot == NULL ? NULL : strchr(first_dot + 1, '.');
    if (kind < 6 && second_dot != NULL) {
        strcpy(second_dot, ".>");
    } else if (kind < 7 && second_dot != NULL) {
        char rest[128];
        strcpy(rest, second_dot);
        strcpy(first_dot, ".*");
        strcat(filter_out, rest);
    } else if (kind < 9 && first_dot != NULL) {
        strcpy(first_dot, ".>");
    } else if (second_dot != NULL) {
        char rest[128];
        strcpy(rest, first_dot);
        strcpy(filter_out, "*");
        strcat(filter_out, rest);
    } else {
        strcpy(filter_out, ">");
    }
}

static void make_item(driver *driven, conditions *made, size_t condition, size_t index) {
    random_source *random = &driven->random;
    daybook_query_item *item = &made->items[condition][index];
    daybook_query_item_init(item);
    item->types = made->types[condition][index];
    item->tags = made->tags[condition][index];
    const model_event *event = any_event(driven);
    if (event == NULL || random_percent(random, 10)) {
        made->types[condition][index][item->type_count++] = daybook_text("Type3");
        return;
    }
    if (random_percent(random, 60)) {
        made->types[condition][index][item->type_count++] = daybook_text(event->type);
        if (random_percent(random, 30))
            made->types[condition][index][item->type_count++] = daybook_text("placed");
    }
    if (event->said->tag_count > 0 && random_percent(random, 60)) {
        made->tags[condition][index][item->tag_count++] = daybook_text(event->said->tags[0]);
        if (event->said->tag_count > 1 && random_percent(random, 50))
            made->tags[condition][index][item->tag_count++] = daybook_text(event->said->tags[1]);
    }
    if (item->type_count + item->tag_count == 0 || random_percent(random, 30)) {
        make_filter(driven, event->said->subject, made->texts[condition][index]);
        item->filter = daybook_text(made->texts[condition][index]);
    }
}

static const char *any_stream_name(driver *driven) {
    const model *store = &driven->model;
    if (store->stream_count == 0) return "";
    return store->streams[random_below(&driven->random, store->stream_count)]->name;
}

static void make_condition(driver *driven, conditions *made, size_t index) {
    random_source *random = &driven->random;
    const model *store = &driven->model;
    daybook_condition *condition = &made->list[index];
    daybook_condition_init(condition, (int)random_below(random, 4) + 1);
    const model_event *event = any_event(driven);
    if (random_percent(random, condition->kind == DAYBOOK_EXPECT_VERSION ? 10 : 30))
        condition->stream = daybook_text(any_stream_name(driven));
    if (condition->kind == DAYBOOK_EXPECT_SUBJECT_SEQ && event != NULL && random_percent(random, 60)) {
        make_filter(driven, event->said->subject, made->texts[index][0]);
        condition->filter = daybook_text(made->texts[index][0]);
    }
    if (condition->kind == DAYBOOK_EXPECT_VERSION && event != NULL && event->aggregate[0] != '\0' &&
        random_percent(random, 40)) {
        (void)snprintf(made->texts[index][0], sizeof made->texts[index][0], "%s", event->aggregate);
        condition->aggregate = daybook_text(made->texts[index][0]);
    }
    if (condition->kind == DAYBOOK_FAIL_IF_EVENTS_MATCH) {
        condition->item_count = random_below(random, 3) + 1;
        condition->items = made->items[index];
        for (size_t i = 0; i < condition->item_count; i++) make_item(driven, made, index, i);
        uint64_t kind = random_below(random, 6);
        uint64_t last = store->event_count == 0 ? 0 : store->events[store->event_count - 1].position;
        condition->after = kind == 0   ? 0
                           : kind == 1 ? UINT64_MAX
                           : kind <= 3 ? last
                                       : random_below(random, last + 2);
    }
}

// Mostly what the store will find, so that something is appended at all.
static void set_expected(driver *driven, daybook_append_options *options, conditions *made) {
    for (size_t i = 0; i < options->condition_count; i++) {
        model_decision decision;
        daybook_append_options one = *options;
        one.conditions = &made->list[i];
        one.condition_count = 1;
        made->list[i].expected = UINT64_MAX;
        model_decide(&driven->model, driven->batch, driven->batch_count, &one, 0, true, &decision);
        made->list[i].expected = decision.status == DAYBOOK_ECONFLICT ? decision.actual : 0;
        if (random_percent(&driven->random, 15)) made->list[i].expected += random_below(&driven->random, 3);
        if (made->list[i].kind == DAYBOOK_FAIL_IF_EVENTS_MATCH && decision.status == DAYBOOK_ECONFLICT &&
            random_percent(&driven->random, 70))
            made->list[i].after = decision.actual;
    }
}

// Streams the append has made.
static void settle_auto_streams(driver *driven) {
    for (size_t i = 0; i < driven->batch_count && !driven->broken; i++) {
        const char *subject = driven->batch[i]->subject;
        if (model_capture(&driven->model, daybook_text(subject)) != MODEL_NONE) continue;
        daybook_slice found;
        daybook_status status =
            daybook_stream_find(driven->store, daybook_text(subject), &found, &driven->error);
        if (status == DAYBOOK_ENOSTREAM || breaks(driven, status)) continue;
        if (status != DAYBOOK_OK)
            driver_fail(driven, "who captures %s? %s", subject, daybook_status_name(status));
        size_t size = strcspn(subject, ".");
        char name[64], filter[64];
        for (size_t j = 0; j < size; j++)
            name[j] = (char)(subject[j] >= 'a' && subject[j] <= 'z' ? subject[j] - 32 : subject[j]);
        name[size] = '\0';
        (void)snprintf(filter, sizeof filter, "%.*s.>", (int)size, subject);
        if (!same(found, name))
            driver_fail(driven, "the stream made for %s is %.*s", subject, (int)found.size,
                        (const char *)found.data);
        daybook_stream_config config;
        daybook_stream_config_init(&config);
        daybook_slice subjects = daybook_text(filter);
        config.name = daybook_text(name);
        config.subjects = &subjects;
        config.subject_count = 1;
        (void)model_add_stream(&driven->model, &config);
        trace(driven, "stream %s was made", name);
    }
}

static void check_receipt(driver *driven, size_t index, const daybook_receipt *receipt,
                          const model_event *event) {
    if (!same(receipt->stream, driven->model.streams[event->stream]->name))
        driver_fail(driven, "receipt %zu: stream %.*s", index, (int)receipt->stream.size,
                    (const char *)receipt->stream.data);
    if (receipt->seq != event->seq || receipt->version != event->version)
        driver_fail(driven,
                    "receipt %zu of %s: seq %" PRIu64 " version %" PRIu64 ", expected %" PRIu64 " %" PRIu64,
                    index, event->said->subject, receipt->seq, receipt->version, event->seq, event->version);
    bool made = event->said->id[0] == '\0';
    if (made ? strlen(receipt->id) != 36 : receipt->id[0] != '\0')
        driver_fail(driven, "receipt %zu: id '%s'", index, receipt->id);
    if ((receipt->flags & ~(unsigned)DAYBOOK_RECEIPT_STREAM_CREATED) != 0)
        driver_fail(driven, "receipt %zu: flags %u", index, receipt->flags);
}

static void check_positions(driver *driven, const daybook_receipt *receipts) {
    for (size_t i = 0; i < driven->batch_count; i++) {
        if (i == 0 ? receipts[0].position <= driven->last_position
                   : receipts[i].position != receipts[i - 1].position + 1)
            driver_fail(driven, "position %" PRIu64 " of event %zu behind %" PRIu64, receipts[i].position, i,
                        driven->last_position);
        if (receipts[i].recorded_ns < driven->last_recorded_ns ||
            receipts[i].recorded_ns != receipts[0].recorded_ns)
            driver_fail(driven, "recorded time goes back");
    }
    driven->last_position = receipts[driven->batch_count - 1].position;
    driven->last_recorded_ns = receipts[0].recorded_ns;
}

static void check_duplicates(driver *driven, const model_decision *decision,
                             const daybook_receipt *receipts) {
    for (size_t i = 0; i < driven->batch_count; i++) {
        const daybook_receipt *receipt = &receipts[i];
        if ((receipt->flags & DAYBOOK_RECEIPT_DUPLICATE) == 0)
            driver_fail(driven, "event %zu is not called a duplicate", i);
        if (decision->ids[i].event == MODEL_NONE) continue;
        const model_event *event = &driven->model.events[decision->ids[i].event];
        bool live = event->state == MODEL_LIVE &&
                    !model_is_expired(&driven->model, decision->ids[i].event, now_ns(driven));
        if (live == ((receipt->flags & DAYBOOK_RECEIPT_DELETED) != 0))
            driver_fail(driven, "the stored event of %s is %s, the receipt says otherwise", event->id,
                        live ? "live" : "removed");
        bool known = receipt->seq == event->seq && receipt->position == event->position &&
                     receipt->version == event->version;
        if (!known && (live || receipt->position != 0))
            driver_fail(driven,
                        "duplicate of %s: position %" PRIu64 " seq %" PRIu64 ", expected %" PRIu64
                        " %" PRIu64,
                        event->id, receipt->position, receipt->seq, event->position, event->seq);
        bool differs = !model_same_content(driven->batch[i], event->said, event);
        if (live && differs != ((receipt->flags & DAYBOOK_RECEIPT_DIFFERS) != 0))
            driver_fail(driven, "duplicate of %s: differs is %d", event->id, !differs);
    }
}

static bool all_duplicate(const daybook_receipt *receipts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if ((receipts[i].flags & DAYBOOK_RECEIPT_DUPLICATE) == 0) return false;
    }
    return true;
}

static void count_status(driver *driven, daybook_status status) {
    driven->counts.conflicts += status == DAYBOOK_ECONFLICT;
    driven->counts.mixed += status == DAYBOOK_EMIXED;
    driven->counts.limits += status == DAYBOOK_ELIMIT;
}

static void make_batch(driver *driven) {
    random_source *random = &driven->random;
    driven->batch_count = 1;
    if (random_percent(random, 35))
        driven->batch_count = random_skewed(random, driven->options.heavy ? 200 : 40) + 1;
    for (size_t i = 0; i < driven->batch_count; i++) driven->batch[i] = make_said(driven);
    // The same events once more.
    if (random_percent(random, 5) && driven->model.event_count > 20) {
        size_t first = random_below(random, driven->model.event_count - 5);
        driven->batch_count = random_below(random, 5) + 1;
        for (size_t i = 0; i < driven->batch_count; i++) {
            model_said *again = model_alloc(&driven->model, sizeof *again);
            *again = *driven->model.events[first + i].said;
            again->id = driven->model.events[first + i].id;
            if (random_percent(random, 20)) again->actor = "somebody else";
            driven->batch[i] = again;
        }
    }
}

static void describe(const daybook_query *query) {
    (void)fprintf(stderr, "\nquery: flags %u stream '%.*s'", query->flags, (int)query->stream.size,
                  (const char *)query->stream.data);
    for (size_t i = 0; i < query->filter_count; i++)
        (void)fprintf(stderr, " filter '%.*s'", (int)query->filters[i].size,
                      (const char *)query->filters[i].data);
    for (size_t i = 0; i < query->type_count; i++)
        (void)fprintf(stderr, " type '%.*s'", (int)query->types[i].size, (const char *)query->types[i].data);
    for (size_t i = 0; i < query->tag_count; i++)
        (void)fprintf(stderr, " tag '%.*s'", (int)query->tags[i].size, (const char *)query->tags[i].data);
    (void)fprintf(stderr, " correlation '%.*s' causation '%.*s' actor '%.*s' id '%.*s'",
                  (int)query->correlation.size, (const char *)query->correlation.data,
                  (int)query->causation.size, (const char *)query->causation.data, (int)query->actor.size,
                  (const char *)query->actor.data, (int)query->id.size, (const char *)query->id.data);
    for (size_t i = 0; i < query->item_count; i++) {
        const daybook_query_item *item = &query->items[i];
        (void)fprintf(stderr, " item(filter '%.*s'", (int)item->filter.size, (const char *)item->filter.data);
        for (size_t j = 0; j < item->type_count; j++)
            (void)fprintf(stderr, " type '%.*s'", (int)item->types[j].size,
                          (const char *)item->types[j].data);
        for (size_t j = 0; j < item->tag_count; j++)
            (void)fprintf(stderr, " tag '%.*s'", (int)item->tags[j].size, (const char *)item->tags[j].data);
        (void)fprintf(stderr, ")");
    }
    (void)fprintf(stderr,
                  " position %" PRIu64 "-%" PRIu64 " seq %" PRIu64 "-%" PRIu64 " version %" PRIu64 "-%" PRIu64
                  " recorded %" PRId64 "-%" PRId64 " time %" PRId64 "-%" PRId64 " limit %" PRIu64 "\n",
                  query->position_from, query->position_to, query->seq_from, query->seq_to,
                  query->version_from, query->version_to, query->recorded_since_ns, query->recorded_until_ns,
                  query->time_since_ns, query->time_until_ns, query->limit);
}

static void describe_conditions(const daybook_append_options *options) {
    for (size_t i = 0; i < options->condition_count; i++) {
        const daybook_condition *condition = &options->conditions[i];
        (void)fprintf(
            stderr,
            "\ncondition %zu: kind %d stream '%.*s' filter '%.*s' aggregate '%.*s' expected %" PRIu64
            " after %" PRIu64,
            i, condition->kind, (int)condition->stream.size, (const char *)condition->stream.data,
            (int)condition->filter.size, (const char *)condition->filter.data, (int)condition->aggregate.size,
            (const char *)condition->aggregate.data, condition->expected, condition->after);
        daybook_query query;
        daybook_query_init(&query);
        query.items = condition->items;
        query.item_count = condition->item_count;
        if (query.item_count > 0) describe(&query);
    }
}

// May it be acknowledged before the sync? Then by when it has to be durable after the call, else 0.
static int64_t deferral_ns(driver *driven, const daybook_append_options *options) {
    int64_t least_ns = INT64_MAX;
    if (options->durable) return 0;
    for (size_t i = 0; i < driven->batch_count; i++) {
        const model_said *said = driven->batch[i];
        size_t stream = model_capture(&driven->model, daybook_text(said->subject));
        if (stream == MODEL_NONE || driven->model.streams[stream]->config.sync_interval_ns == 0) return 0;
        int64_t interval_ns = driven->model.streams[stream]->config.sync_interval_ns;
        if (interval_ns < least_ns) least_ns = interval_ns;
        for (size_t j = 0; j < said->header_count; j++) {
            if (said->header_names[j][0] == 'N' || said->header_names[j][0] == 'n') return 0; // a roll-up
        }
    }
    return least_ns;
}

// An append was acknowledged; its last event has this position.
static void note_acknowledged(driver *driven, int64_t interval_ns, uint64_t position) {
    if (interval_ns == 0) {
        check_durable(driven, position);
        if (!driven->broken) model_publish(&driven->model, position);
        driven->deferred_until_ns = 0; // with it what was acknowledged before
        return;
    }
    int64_t until_ns = driven->vfs->clock_monotonic_ns(driven->vfs) + interval_ns;
    if (driven->deferred_until_ns == 0 || until_ns < driven->deferred_until_ns)
        driven->deferred_until_ns = until_ns;
    driven->counts.deferred += driven->batch_count;
}

static void append_batch(driver *driven) {
    random_source *random = &driven->random;
    static daybook_event events[MODEL_BATCH_MAX];
    static event_texts texts[MODEL_BATCH_MAX];
    static daybook_receipt receipts[MODEL_BATCH_MAX];
    conditions made;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = random_percent(random, 70);
    options.durable = random_percent(random, 15);
    settle_ages(driven);
    if (random_percent(random, 40)) options.condition_count = random_below(random, 3) + 1;
    options.conditions = made.list;
    for (size_t i = 0; i < options.condition_count; i++) make_condition(driven, &made, i);
    set_expected(driven, &options, &made);
    for (size_t i = 0; i < driven->batch_count; i++) to_event(driven->batch[i], &texts[i], &events[i]);
    memset(receipts, 0, sizeof *receipts * driven->batch_count);
    for (size_t i = 0; i < driven->batch_count; i++) receipts[i].size = sizeof *receipts;
    if (driven->broken) return;
    driven->pending = PENDING_APPEND;
    int64_t interval_ns = deferral_ns(driven, &options);
    daybook_status status =
        daybook_append(driven->store, events, driven->batch_count, &options, receipts, &driven->error);
    if (breaks(driven, status)) return;
    if (status == DAYBOOK_ENOSPC && !has_background(driven)) {
        // The journal is full: nobody but us writes it out.
        step_maintain(driven);
        settle_durable(driven);
        if (driven->broken) return;
        status =
            daybook_append(driven->store, events, driven->batch_count, &options, receipts, &driven->error);
        if (breaks(driven, status)) return;
    }
    settle_auto_streams(driven);
    if (driven->broken && status != DAYBOOK_OK) return;
    driven->pending = PENDING_NOTHING;
    model_decision decision;
    model_decide(&driven->model, driven->batch, driven->batch_count, &options, now_ns(driven), true,
                 &decision);
    bool was_duplicate = status == DAYBOOK_OK && all_duplicate(receipts, driven->batch_count);
    if (decision.uncertain && status == DAYBOOK_EMIXED) return;
    if (decision.uncertain && !was_duplicate)
        model_decide(&driven->model, driven->batch, driven->batch_count, &options, now_ns(driven), false,
                     &decision);
    bool differs = status != decision.status || (status == DAYBOOK_OK && was_duplicate != decision.duplicate);
    if (differs) describe_conditions(&options);
    for (size_t i = 0; differs && status == DAYBOOK_ECONFLICT && i < driven->model.event_count; i++) {
        const model_event *event = &driven->model.events[i];
        if (event->position != driven->error.actual) continue;
        (void)fprintf(stderr,
                      "the model has there: state %d %s type %s seq %" PRIu64 ", stream %sremoved, tags",
                      (int)event->state, event->said->subject, event->type, event->seq,
                      driven->model.streams[event->stream]->removed ? "" : "not ");
        for (size_t j = 0; j < event->said->tag_count; j++)
            (void)fprintf(stderr, " %s", event->said->tags[j]);
    }
    if (differs)
        driver_fail(driven,
                    "append of %zu events (%s ...): %s%s, expected %s%s (condition %u, actual %" PRIu64 ")",
                    driven->batch_count, driven->batch[0]->subject, daybook_status_name(status),
                    was_duplicate ? " duplicate" : "", daybook_status_name(decision.status),
                    decision.duplicate ? " duplicate" : "", decision.condition, decision.actual);
    count_status(driven, status);
    if (status == DAYBOOK_ECONFLICT &&
        (driven->error.condition != decision.condition || driven->error.actual != decision.actual))
        driver_fail(driven,
                    "conflict of condition %u, actual %" PRIu64 "; expected condition %u, actual %" PRIu64,
                    driven->error.condition, driven->error.actual, decision.condition, decision.actual);
    if (status != DAYBOOK_OK) return;
    if (decision.duplicate) {
        driven->counts.duplicates += driven->batch_count;
        check_duplicates(driven, &decision, receipts);
        for (size_t i = 0; interval_ns == 0 && i < driven->batch_count; i++)
            check_durable(driven, receipts[i].position);
        return;
    }
    check_positions(driven, receipts);
    model_append(&driven->model, driven->batch, driven->batch_count, receipts);
    note_acknowledged(driven, interval_ns, driven->last_position);
    driven->counts.appended += driven->batch_count;
    for (size_t i = 0; i < driven->batch_count; i++)
        trace(driven, "position %" PRIu64 " seq %" PRIu64 " %s id %s roll-up %s", receipts[i].position,
              receipts[i].seq, driven->batch[i]->subject,
              driven->batch[i]->id[0] == '\0' ? receipts[i].id : driven->batch[i]->id,
              driven->batch[i]->header_count == 0
                  ? ""
                  : driven->batch[i]->header_names[driven->batch[i]->header_count - 1]);
    for (size_t i = 0; i < driven->batch_count; i++)
        check_receipt(driven, i, &receipts[i],
                      &driven->model.events[driven->model.event_count - driven->batch_count + i]);
}

static void step_append(driver *driven) {
    driven->operation = "append";
    make_batch(driven);
    append_batch(driven);
}

// ---- Chains of submitted appends -------------------------------------------------------------------------

// One append of a chain. The commit thread writes what it answers.
typedef struct chain_link {
    const model_said *said;
    daybook_condition condition;
    daybook_append_options options;
    bool is_submitted;
    daybook_status status;
    daybook_receipt receipt;
    atomic_uint *done_count;
    unsigned turn; // 1 for what was told first
} chain_link;

static void link_done(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                      const daybook_error *error) {
    (void)error;
    chain_link *told = context;
    told->status = status;
    if (count == 1) told->receipt = receipts[0];
    told->turn = atomic_fetch_add(told->done_count, 1) + 1;
}

static void make_link(driver *driven, daybook_append_chain *chain, atomic_uint *done_count,
                      chain_link *made) {
    memset(made, 0, sizeof *made);
    model_said *said = model_alloc(&driven->model, sizeof *said);
    *said = *make_said(driven);
    said->header_count = 0; // roll-ups cannot be submitted
    made->said = said;
    made->done_count = done_count;
    daybook_append_options_init(&made->options);
    made->options.chain = chain;
    made->options.durable = random_percent(&driven->random, 15);
    if (!random_percent(&driven->random, 25)) return;
    size_t stream = model_capture(&driven->model, daybook_text(said->subject));
    daybook_condition_init(&made->condition, DAYBOOK_EXPECT_STREAM_SEQ);
    made->condition.expected = stream == MODEL_NONE ? 0 : driven->model.streams[stream]->last_seq;
    made->options.conditions = &made->condition;
    made->options.condition_count = 1;
}

// What a link must answer where nothing before it in the chain was refused; appends it to the model.
static daybook_status settle_link(driver *driven, const chain_link *told, daybook_status refused_before) {
    driven->batch[0] = told->said;
    driven->batch_count = 1;
    model_decision decision;
    bool is_duplicate = told->status == DAYBOOK_OK && (told->receipt.flags & DAYBOOK_RECEIPT_DUPLICATE) != 0;
    model_decide(&driven->model, driven->batch, 1, &told->options, now_ns(driven), true, &decision);
    if (decision.uncertain && !is_duplicate)
        model_decide(&driven->model, driven->batch, 1, &told->options, now_ns(driven), false, &decision);
    daybook_status expected = decision.status;
    if (told->is_submitted && refused_before != DAYBOOK_OK) expected = DAYBOOK_ESKIPPED;
    if (has_struck(driven) && is_operating_error(told->status)) expected = told->status;
    // One of a group whose write failed was refused before that.
    if (refused_before == DAYBOOK_EUNCERTAIN && told->status != DAYBOOK_OK) expected = told->status;
    if (told->status != expected || (expected == DAYBOOK_OK && is_duplicate != decision.duplicate))
        driver_fail(driven, "%s in a chain (%ssubmitted, before it %s): %s%s, expected %s%s",
                    told->said->subject, told->is_submitted ? "" : "not ",
                    daybook_status_name(refused_before), daybook_status_name(told->status),
                    is_duplicate ? " duplicate" : "", daybook_status_name(expected),
                    decision.duplicate ? " duplicate" : "");
    driven->counts.skipped += expected == DAYBOOK_ESKIPPED;
    if (expected != DAYBOOK_OK || decision.duplicate) return expected;
    int64_t interval_ns = deferral_ns(driven, &told->options);
    check_positions(driven, &told->receipt);
    model_append(&driven->model, driven->batch, 1, &told->receipt);
    check_receipt(driven, 0, &told->receipt, &driven->model.events[driven->model.event_count - 1]);
    note_acknowledged(driven, interval_ns, driven->last_position);
    driven->counts.appended++;
    trace(driven, "position %" PRIu64 " seq %" PRIu64 " %s", told->receipt.position, told->receipt.seq,
          told->said->subject);
    return DAYBOOK_OK;
}

static void step_chain(driver *driven) {
    driven->operation = "chain";
    settle_ages(driven);
    if (driven->broken) return;
    static chain_link links[DRIVER_CHAIN_MAX];
    daybook_append_chain chain = {0};
    atomic_uint done_count = 0;
    unsigned submitted = 0;
    size_t count = random_below(&driven->random, DRIVER_CHAIN_MAX) + 1;
    for (size_t i = 0; i < count; i++) {
        make_link(driven, &chain, &done_count, &links[i]);
        event_texts texts;
        daybook_event event;
        to_event(links[i].said, &texts, &event);
        daybook_status status = daybook_append_submit(driven->store, &event, 1, &links[i].options, link_done,
                                                      &links[i], &driven->error);
        // Its completion may have come before.
        if (status != DAYBOOK_OK) links[i].status = status;
        links[i].is_submitted = status == DAYBOOK_OK;
        submitted += links[i].is_submitted;
    }
    for (unsigned waited = 0; atomic_load(&done_count) < submitted; waited++) {
        if (waited == PATIENCE_MS)
            driver_fail(driven, "%u of %u answered", atomic_load(&done_count), submitted);
        pause_ms(1);
    }
    driven->counts.chains++;
    driven->chain_count = 0;
    daybook_status refused = DAYBOOK_OK;
    unsigned turn = 0;
    for (size_t i = 0; i < count; i++) {
        daybook_status status = settle_link(driven, &links[i], refused);
        if (status == DAYBOOK_EUNCERTAIN) {
            driven->pending = PENDING_CHAIN;
            driven->chain[driven->chain_count++] = links[i].said;
        }
        if (!links[i].is_submitted) continue;
        if (links[i].turn != ++turn)
            driver_fail(driven, "append %zu was answered as number %u", i, links[i].turn);
        if (refused == DAYBOOK_OK) refused = status;
    }
    if ((chain.is_broken != 0) != (refused != DAYBOOK_OK))
        driver_fail(driven, "the chain says broken: %d, refused is %s", chain.is_broken,
                    daybook_status_name(refused));
}

// ---- Removing --------------------------------------------------------------------------------------------

static bool is_in_memory(const driver *driven, size_t stream) {
    return driven->model.streams[stream]->config.storage == DAYBOOK_STORAGE_MEMORY;
}

static void step_delete(driver *driven) {
    driven->operation = "delete";
    settle_ages(driven);
    const model_event *event = any_event(driven);
    if (driven->broken || event == NULL || driven->model.streams[event->stream]->removed) return;
    model_stream *stream = driven->model.streams[event->stream];
    bool denied = (stream->config.flags & DAYBOOK_STREAM_DENY_DELETE) != 0;
    bool erase = random_percent(&driven->random, 10);
    bool is_seen = model_is_visible(&driven->model, event);
    bool is_live = event->state == MODEL_LIVE && is_seen;
    // The bytes of what was removed before can still be erased. (Unless its stream began anew since.)
    daybook_status expected = denied                          ? DAYBOOK_EPERMISSION
                              : is_live || (erase && is_seen) ? DAYBOOK_OK
                                                              : DAYBOOK_ENOTFOUND;
    size_t index = (size_t)(event - driven->model.events);
    driven->pending = is_live && !denied ? PENDING_DELETE : PENDING_NOTHING;
    driven->pending_event = index;
    daybook_status status =
        daybook_event_remove(driven->store, daybook_text(stream->name), event->seq, erase, &driven->error);
    if (breaks(driven, status)) return;
    driven->pending = PENDING_NOTHING;
    if (status == DAYBOOK_ENOTFOUND && !is_live && is_in_memory(driven, event->stream)) return;
    if (status != expected)
        driver_fail(driven, "delete of seq %" PRIu64 " in %s: %s, expected %s", event->seq, stream->name,
                    daybook_status_name(status), daybook_status_name(expected));
    if (status != DAYBOOK_OK || !is_live) return;
    trace(driven, "position %" PRIu64 " seq %" PRIu64 " of %s%s", event->position, event->seq, stream->name,
          erase ? ", erased" : "");
    driven->counts.removed++;
    model_delete(&driven->model, index);
}

static size_t any_stream(driver *driven) {
    size_t stream = model_find_stream(&driven->model, daybook_text(any_stream_name(driven)));
    return stream;
}

static void step_purge(driver *driven) {
    random_source *random = &driven->random;
    driven->operation = "purge";
    settle_ages(driven);
    size_t index = any_stream(driven);
    if (driven->broken || index == MODEL_NONE) return;
    const model_stream *stream = driven->model.streams[index];
    daybook_purge_options *purge = &driven->purge;
    daybook_purge_options_init(purge);
    const model_event *event = any_event(driven);
    if (event != NULL && random_percent(random, 60)) {
        make_filter(driven, event->said->subject, driven->purge_filter);
        purge->filter = daybook_text(driven->purge_filter);
        index = event->stream;
        stream = driven->model.streams[index];
        if (stream->removed) return;
    }
    if (random_percent(random, 30)) {
        purge->keep = random_below(random, 10) + 1;
    } else if (random_percent(random, 50)) {
        purge->seq_to = random_below(random, stream->last_seq + 2);
    }
    purge->erase = random_percent(random, 10);
    daybook_status expected = (stream->config.flags & DAYBOOK_STREAM_DENY_PURGE) != 0 ? DAYBOOK_EPERMISSION
                                                                                      : DAYBOOK_OK;
    driven->pending = PENDING_PURGE;
    driven->pending_stream = index;
    trace(driven, "%s filter '%.*s' seq_to %" PRIu64 " keep %" PRIu64, stream->name, (int)purge->filter.size,
          (const char *)purge->filter.data, purge->seq_to, purge->keep);
    uint64_t removed = 0;
    daybook_status status =
        daybook_stream_purge(driven->store, daybook_text(stream->name), purge, &removed, &driven->error);
    if (breaks(driven, status)) return;
    driven->pending = PENDING_NOTHING;
    if (status != expected)
        driver_fail(driven, "purge of %s: %s, expected %s", stream->name, daybook_status_name(status),
                    daybook_status_name(expected));
    if (status != DAYBOOK_OK) return;
    uint64_t count = model_purge(&driven->model, index, purge, false);
    trace(driven, "%s filter '%.*s' seq_to %" PRIu64 " keep %" PRIu64 " removes %" PRIu64, stream->name,
          (int)purge->filter.size, (const char *)purge->filter.data, purge->seq_to, purge->keep, count);
    driven->counts.removed += count;
    if (count != removed)
        driver_fail(driven,
                    "purge of %s (filter '%.*s' seq_to %" PRIu64 " keep %" PRIu64 "): %" PRIu64
                    " removed, expected %" PRIu64,
                    stream->name, (int)purge->filter.size, (const char *)purge->filter.data, purge->seq_to,
                    purge->keep, removed, count);
}

// ---- Streams ---------------------------------------------------------------------------------------------

static const struct {
    const char *name, *subject, *other;
    uint32_t tokens;
} known_streams[] = {
    {"ORDERS", "orders.>", NULL, 2},
    {"USERS", "users.>", NULL, 2},
    {"DEEP", "deep.>", NULL, 3},
    {"FLAT", "flat.>", NULL, 0},
    {"LIM", "lim.>", NULL, 2},
    {"NEW", "new.>", NULL, 2},
    {"KV_B", "$KV.B.>", NULL, 0},
    {"KV_SNAPSHOTS", "$KV.SNAPSHOTS.>", NULL, 0},
    {"WILDA", "wild.*.a", "wild.*.c", 2},
    {"WILDB", "wild.*.b", NULL, 2},
    {"MEM", "mem.>", NULL, 2},
};
enum { KNOWN_STREAM_COUNT = sizeof known_streams / sizeof *known_streams, MEMORY_STREAM = 10 };
// Made before anything else happens.
static const size_t first_streams[] = {0, 1, 2, 3, 4, 5, MEMORY_STREAM};
enum { FIRST_STREAM_COUNT = sizeof first_streams / sizeof *first_streams };

static void set_limits(driver *driven, daybook_stream_config *config, size_t known) {
    random_source *random = &driven->random;
    const char *name = known_streams[known].name;
    if (strcmp(name, "LIM") == 0) {
        config->flags = random_percent(random, 60) ? DAYBOOK_STREAM_ALLOW_ROLLUP : 0;
        uint64_t kind = random_below(random, 4);
        if (kind == 0) config->max_msgs = random_below(random, 40) + 1;
        if (kind == 1) config->max_bytes = random_below(random, 20000) + 500;
        if (kind == 2 && driven->options.has_subject_limits)
            config->max_msgs_per_subject = random_below(random, 4) + 1;
        if (driven->options.has_ages && random_percent(random, 60)) config->max_age_ns = INT64_C(30000000000);
        config->max_msg_size = random_percent(random, 20) ? 2000 : 0;
    } else if (strcmp(name, "NEW") == 0) {
        config->discard = DAYBOOK_DISCARD_NEW;
        if (random_percent(random, 40)) config->max_msgs = random_below(random, 50) + 1;
        if (random_percent(random, 30)) config->max_bytes = random_below(random, 30000) + 500;
        if (random_percent(random, 50)) {
            config->max_msgs_per_subject = random_below(random, 4) + 1;
            config->flags |= DAYBOOK_STREAM_DISCARD_NEW_PER_SUBJECT;
        }
        if (random_percent(random, 20)) config->flags |= DAYBOOK_STREAM_DENY_PURGE;
    } else if (strcmp(name, "MEM") == 0) {
        config->storage = DAYBOOK_STORAGE_MEMORY;
        if (random_percent(random, 40)) config->max_msgs = random_below(random, 40) + 1;
        if (random_percent(random, 30)) config->max_msgs_per_subject = random_below(random, 4) + 1;
    } else if (strncmp(name, "KV_", 3) == 0) {
        config->discard = DAYBOOK_DISCARD_NEW;
        config->flags = DAYBOOK_STREAM_ALLOW_ROLLUP | DAYBOOK_STREAM_DENY_DELETE | DAYBOOK_STREAM_INTERNAL;
        if (driven->options.has_subject_limits)
            config->max_msgs_per_subject = known == 7 ? 1 : random_below(random, 5) + 1;
        if (driven->options.has_ages && random_percent(random, 30)) config->max_age_ns = INT64_C(60000000000);
    }
    static const int64_t intervals_ns[] = {1000000, 10000000, INT64_C(5000000000), INT64_C(3600000000000)};
    // With background threads the driver waits for the sync.
    if (config->storage != DAYBOOK_STORAGE_MEMORY && random_percent(random, 35))
        config->sync_interval_ns = intervals_ns[random_below(random, has_background(driven) ? 2 : 4)];
    if (strcmp(name, "FLAT") != 0 && random_percent(random, 30))
        config->duplicate_window_ns = INT64_C(5000000000);
}

static void make_config(driver *driven, size_t known) {
    daybook_stream_config *config = &driven->config;
    daybook_stream_config_init(config);
    (void)snprintf(driven->config_texts[0], sizeof driven->config_texts[0], "%s", known_streams[known].name);
    (void)snprintf(driven->config_texts[1], sizeof driven->config_texts[1], "version %" PRIu64,
                   ++driven->description_count);
    config->name = daybook_text(driven->config_texts[0]);
    config->description = daybook_text(driven->config_texts[1]);
    config->subjects = driven->config_subjects;
    driven->config_subjects[config->subject_count++] = daybook_text(known_streams[known].subject);
    if (known_streams[known].other != NULL)
        driven->config_subjects[config->subject_count++] = daybook_text(known_streams[known].other);
    config->aggregate_tokens = known_streams[known].tokens;
    set_limits(driven, config, known);
}

static void add_stream(driver *driven, size_t known) {
    driven->operation = "stream add";
    make_config(driven, known);
    driven->pending = PENDING_ADD;
    daybook_status status = daybook_stream_add(driven->store, &driven->config, &driven->error);
    if (breaks(driven, status)) return;
    driven->pending = PENDING_NOTHING;
    daybook_status expected = model_check_add(&driven->model, &driven->config);
    if (status != expected)
        driver_fail(driven, "adding %s: %s, expected %s", known_streams[known].name,
                    daybook_status_name(status), daybook_status_name(expected));
    if (status == DAYBOOK_OK) (void)model_add_stream(&driven->model, &driven->config);
    trace(driven, "%s: %s", known_streams[known].name, daybook_status_name(status));
}

static void update_stream(driver *driven, size_t known) {
    driven->operation = "stream update";
    settle_ages(driven);
    if (driven->broken) return;
    make_config(driven, known);
    size_t stream = model_find_stream(&driven->model, driven->config.name);
    // The window stays: what a longer one remembers after a shorter one is not said.
    if (stream != MODEL_NONE)
        driven->config.duplicate_window_ns = driven->model.streams[stream]->config.duplicate_window_ns;
    driven->pending = stream == MODEL_NONE ? PENDING_NOTHING : PENDING_UPDATE;
    driven->pending_stream = stream;
    daybook_status status = daybook_stream_update(driven->store, &driven->config, &driven->error);
    if (breaks(driven, status)) return;
    driven->pending = PENDING_NOTHING;
    daybook_status expected = stream == MODEL_NONE ? DAYBOOK_ENOTFOUND : DAYBOOK_OK;
    if (stream != MODEL_NONE &&
        (driven->model.streams[stream]->config.aggregate_tokens != driven->config.aggregate_tokens ||
         driven->model.streams[stream]->config.storage != driven->config.storage))
        expected = DAYBOOK_EINVALID;
    if (status != expected)
        driver_fail(driven, "updating %s: %s, expected %s", known_streams[known].name,
                    daybook_status_name(status), daybook_status_name(expected));
    if (status == DAYBOOK_OK) model_update_stream(&driven->model, stream, &driven->config);
    trace(driven,
          "%s max_msgs %" PRIu64 " max_bytes %" PRIu64 " per subject %" PRIu64 " max_age %" PRId64
          " flags %u",
          known_streams[known].name, driven->config.max_msgs, driven->config.max_bytes,
          driven->config.max_msgs_per_subject, driven->config.max_age_ns, driven->config.flags);
}

static void remove_stream(driver *driven, size_t stream) {
    driven->operation = "stream remove";
    settle_ages(driven);
    if (driven->broken) return;
    driven->pending = PENDING_REMOVE;
    driven->pending_stream = stream;
    daybook_status status = daybook_stream_remove(
        driven->store, daybook_text(driven->model.streams[stream]->name), &driven->error);
    if (breaks(driven, status)) return;
    driven->pending = PENDING_NOTHING;
    if (status != DAYBOOK_OK)
        driver_fail(driven, "removing %s: %s", driven->model.streams[stream]->name,
                    daybook_status_name(status));
    model_remove_stream(&driven->model, stream);
    trace(driven, "%s", driven->model.streams[stream]->name);
}

static void step_stream(driver *driven) {
    random_source *random = &driven->random;
    size_t known = random_below(random, KNOWN_STREAM_COUNT);
    if (driven->model.stream_count == 0 || random_percent(random, 40)) {
        add_stream(driven, known);
    } else if (random_percent(random, 60)) {
        update_stream(driven, known);
    } else {
        size_t stream = any_stream(driven);
        if (stream != MODEL_NONE) remove_stream(driven, stream);
    }
}

// ---- Reading ---------------------------------------------------------------------------------------------

typedef struct query_texts {
    char filters[2][128];
    daybook_slice filter_slices[2], types[2], tags[2];
    conditions items;
} query_texts;

static uint64_t near(driver *driven, uint64_t value) {
    uint64_t away = random_skewed(&driven->random, 50);
    if (random_percent(&driven->random, 50)) return value + away;
    return value > away ? value - away : 0;
}

static void bound(driver *driven, uint64_t value, uint64_t *from, uint64_t *to) {
    if (random_percent(&driven->random, 60)) *from = near(driven, value);
    if (random_percent(&driven->random, 60)) *to = near(driven, value + 10);
}

static void bound_time(driver *driven, int64_t value, int64_t *since, int64_t *until) {
    if (random_percent(&driven->random, 60))
        *since = value - (int64_t)random_below(&driven->random, 3) * 1000000;
    if (random_percent(&driven->random, 60))
        *until = value + (int64_t)random_below(&driven->random, 3) * 1000000000;
}

static void make_query(driver *driven, query_texts *texts, daybook_query *query) {
    random_source *random = &driven->random;
    daybook_query_init(query);
    const model_event *event = any_event(driven);
    if (event == NULL) return;
    const model_said *said = event->said;
    if (random_percent(random, 25)) query->stream = daybook_text(driven->model.streams[event->stream]->name);
    if (random_percent(random, 40)) {
        query->filters = texts->filter_slices;
        query->filter_count = random_percent(random, 80) ? 1 : 2;
        make_filter(driven, said->subject, texts->filters[0]);
        make_filter(driven, any_event(driven)->said->subject, texts->filters[1]);
        for (size_t i = 0; i < 2; i++) texts->filter_slices[i] = daybook_text(texts->filters[i]);
    }
    if (random_percent(random, 20)) {
        query->types = texts->types;
        texts->types[query->type_count++] = daybook_text(event->type);
        if (random_percent(random, 40))
            texts->types[query->type_count++] = daybook_text(any_event(driven)->type);
    }
    if (said->tag_count > 0 && random_percent(random, 25)) {
        query->tags = texts->tags;
        texts->tags[query->tag_count++] = daybook_text(said->tags[0]);
        if (said->tag_count > 1 && random_percent(random, 40))
            texts->tags[query->tag_count++] = daybook_text(said->tags[1]);
    }
    if (random_percent(random, 12)) query->correlation = daybook_text(said->correlation);
    if (random_percent(random, 8)) query->causation = daybook_text(said->causation);
    if (random_percent(random, 12)) query->actor = daybook_text(said->actor);
    if (random_percent(random, 10)) query->id = daybook_text(event->id);
    if (random_percent(random, 12)) {
        query->items = texts->items.items[0];
        query->item_count = random_below(random, 3) + 1;
        for (size_t i = 0; i < query->item_count; i++) make_item(driven, &texts->items, 0, i);
    }
    if (random_percent(random, 20))
        bound(driven, event->position, &query->position_from, &query->position_to);
    if (random_percent(random, 15)) bound(driven, event->seq, &query->seq_from, &query->seq_to);
    if (random_percent(random, 15)) bound(driven, event->version, &query->version_from, &query->version_to);
    if (random_percent(random, 10))
        bound_time(driven, event->recorded_ns, &query->recorded_since_ns, &query->recorded_until_ns);
    if (random_percent(random, 10))
        bound_time(driven, INT64_C(1700000000000000000) + INT64_C(2000000000000), &query->time_since_ns,
                   &query->time_until_ns);
    if (random_percent(random, 30)) query->limit = random_skewed(random, 30) + 1;
    if (random_percent(random, 30)) query->flags |= DAYBOOK_QUERY_REVERSE;
    if (random_percent(random, 15)) query->flags |= DAYBOOK_QUERY_LAST_PER_SUBJECT;
    if (random_percent(random, 25)) query->flags |= DAYBOOK_QUERY_INTERNAL;
}

// A query that names a stream that is not there.
static bool names_nobody(const driver *driven, const daybook_query *query) {
    return query->stream.size > 0 && model_find_stream(&driven->model, query->stream) == MODEL_NONE;
}

static void compare_read(driver *driven, const daybook_query *query) {
    daybook_cursor *cursor = NULL;
    daybook_status status = daybook_read(driven->store, query, &cursor, &driven->error);
    if (breaks(driven, status)) return;
    daybook_status expected = names_nobody(driven, query) ? DAYBOOK_ENOTFOUND : DAYBOOK_OK;
    if (status != expected) {
        describe(query);
        driver_fail(driven, "read: %s, expected %s", daybook_status_name(status),
                    daybook_status_name(expected));
    }
    if (status != DAYBOOK_OK) return;
    size_t count;
    size_t *found = model_read(&driven->model, query, &count);
    daybook_recorded_event event;
    for (size_t i = 0; i <= count; i++) {
        status = daybook_cursor_next(cursor, 0, &event, &driven->error);
        if (breaks(driven, status)) break;
        if (status != (i < count ? DAYBOOK_OK : DAYBOOK_END)) {
            describe(query);
            const model_event *missed = i < count ? &driven->model.events[found[i]] : NULL;
            driver_fail(driven, "event %zu of %zu: %s (%s position %" PRIu64 ")", i, count,
                        daybook_status_name(status),
                        missed != NULL         ? missed->said->subject
                        : status == DAYBOOK_OK ? "invented"
                                               : "",
                        missed != NULL ? missed->position : event.position);
        }
        if (i < count && different(driven, &driven->model.events[found[i]], &event) != NULL) describe(query);
        if (i < count) check_event(driven, &driven->model.events[found[i]], &event);
    }
    daybook_cursor_close(cursor);
    free(found);
}

static void step_read(driver *driven) {
    driven->operation = "read";
    settle_ages(driven);
    query_texts texts;
    daybook_query query;
    make_query(driven, &texts, &query);
    if (driven->broken) return;
    driven->counts.reads++;
    compare_read(driven, &query);
}

static void step_count(driver *driven) {
    driven->operation = "count";
    settle_ages(driven);
    query_texts texts;
    daybook_query query;
    make_query(driven, &texts, &query);
    if (driven->broken) return;
    driven->counts.reads++;
    uint64_t actual = 0;
    daybook_status status = daybook_count(driven->store, &query, &actual, &driven->error);
    if (breaks(driven, status)) return;
    daybook_status expected = names_nobody(driven, &query) ? DAYBOOK_ENOTFOUND : DAYBOOK_OK;
    size_t count;
    size_t *found = model_read(&driven->model, &query, &count);
    free(found);
    if (status == expected && (status != DAYBOOK_OK || actual == count)) return;
    compare_read(driven, &query); // says where
    describe(&query);
    driver_fail(driven, "count: %s %" PRIu64 ", expected %s %zu", daybook_status_name(status), actual,
                daybook_status_name(expected), count);
}

// ---- Lists -----------------------------------------------------------------------------------------------

typedef struct listing {
    driver *driven;
    int kind;
    daybook_slice stream, filter;
    uint64_t count;
    size_t last_stream;
    char last_name[128];
} listing;

static bool is_listed(const listing *listed, const model_event *event, const char **name_out) {
    const model *store = &listed->driven->model;
    if (!model_is_readable(store, event) || !model_is_visible(store, event)) return false;
    bool internal = (store->streams[event->stream]->config.flags & DAYBOOK_STREAM_INTERNAL) != 0;
    if (listed->stream.size > 0 ? !same(listed->stream, store->streams[event->stream]->name) : internal)
        return false;
    *name_out = listed->kind == DAYBOOK_LIST_TYPES      ? event->type
                : listed->kind == DAYBOOK_LIST_SUBJECTS ? event->said->subject
                                                        : event->aggregate;
    if (**name_out == '\0') return false;
    if (listed->filter.size == 0 || listed->kind == DAYBOOK_LIST_TYPES) return true;
    if (model_filter_matches(listed->filter.data, listed->filter.size, *name_out)) return true;
    if (listed->kind == DAYBOOK_LIST_SUBJECTS) return false;
    char further[160];
    (void)snprintf(further, sizeof further, "%s.>", *name_out);
    return daybook_filters_overlap(listed->filter, daybook_text(further));
}

static int check_entry(void *context, const daybook_list_entry *entry) {
    listing *listed = context;
    driver *driven = listed->driven;
    const model *store = &driven->model;
    char text[128];
    (void)snprintf(text, sizeof text, "%.*s", (int)entry->name.size, (const char *)entry->name.data);
    bool is_types = listed->kind == DAYBOOK_LIST_TYPES;
    size_t stream = is_types ? 0 : model_find_stream(store, entry->stream);
    uint64_t count = 0;
    const model_event *last = NULL;
    for (size_t i = 0; i < store->event_count; i++) {
        const char *name;
        if ((!is_types && store->events[i].stream != stream) ||
            !is_listed(listed, &store->events[i], &name) || strcmp(name, text) != 0)
            continue;
        count++;
        last = &store->events[i];
    }
    if (count != entry->event_count || last == NULL || entry->last_position != last->position ||
        (!is_types && entry->last_seq != last->seq))
        driver_fail(driven,
                    "list of kind %d: %s has %" PRIu64 " events, last seq %" PRIu64 " position %" PRIu64
                    "; expected %" PRIu64 " %" PRIu64 " %" PRIu64,
                    listed->kind, text, entry->event_count, entry->last_seq, entry->last_position, count,
                    last == NULL ? 0 : last->seq, last == NULL ? 0 : last->position);
    uint64_t version = is_types ? 0 : model_version(store, stream, text, store->visible_position);
    if (listed->kind == DAYBOOK_LIST_AGGREGATES && entry->last_version != version)
        driver_fail(driven, "list: %s is at version %" PRIu64 ", expected %" PRIu64, text,
                    entry->last_version, version);
    if (listed->count > 0 && (stream < listed->last_stream ||
                              (stream == listed->last_stream && strcmp(listed->last_name, text) >= 0)))
        driver_fail(driven, "list: %s behind %s", text, listed->last_name);
    listed->last_stream = stream;
    strcpy(listed->last_name, text);
    listed->count++;
    return 0;
}

// Distinct names the model would list.
static uint64_t count_names(const listing *listed) {
    const model *store = &listed->driven->model;
    uint64_t count = 0;
    for (size_t i = 0; i < store->event_count; i++) {
        const char *name, *other;
        if (!is_listed(listed, &store->events[i], &name)) continue;
        bool seen = false;
        for (size_t j = i; j-- > 0 && !seen;) {
            seen = is_listed(listed, &store->events[j], &other) && strcmp(name, other) == 0 &&
                   (listed->kind == DAYBOOK_LIST_TYPES || store->events[i].stream == store->events[j].stream);
        }
        count += !seen;
    }
    return count;
}

static void step_list(driver *driven) {
    driven->operation = "list";
    settle_ages(driven);
    if (driven->broken) return;
    random_source *random = &driven->random;
    listing listed = {.driven = driven, .kind = (int)random_below(random, 3)};
    const model_event *event = any_event(driven);
    char filter[128];
    if (event != NULL && random_percent(random, 40))
        listed.stream = daybook_text(driven->model.streams[event->stream]->name);
    if (event != NULL && random_percent(random, 50)) {
        make_filter(driven, event->said->subject, filter);
        listed.filter = daybook_text(filter);
    }
    daybook_status status = daybook_list(driven->store, listed.kind, listed.stream, listed.filter,
                                         check_entry, &listed, &driven->error);
    if (breaks(driven, status)) return;
    bool nobody = listed.stream.size > 0 && model_find_stream(&driven->model, listed.stream) == MODEL_NONE;
    if (status != (nobody ? DAYBOOK_ENOTFOUND : DAYBOOK_OK))
        driver_fail(driven, "list: %s", daybook_status_name(status));
    if (nobody) return;
    uint64_t expected = count_names(&listed);
    if (listed.count != expected)
        driver_fail(driven,
                    "list of kind %d stream '%.*s' filter '%.*s': %" PRIu64 " entries, expected %" PRIu64,
                    listed.kind, (int)listed.stream.size, (const char *)listed.stream.data,
                    (int)listed.filter.size, (const char *)listed.filter.data, listed.count, expected);
}

// ---- Looking at streams ----------------------------------------------------------------------------------

// What both say is there, where counts differ.
static void describe_stream(driver *driven, size_t index) {
    const model *store = &driven->model;
    for (size_t i = 0; i < store->event_count; i++) {
        const model_event *event = &store->events[i];
        if (event->stream == index && event->state == MODEL_LIVE)
            (void)fprintf(stderr, "expected position %" PRIu64 " seq %" PRIu64 " %s\n", event->position,
                          event->seq, event->said->subject);
    }
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text(store->streams[index]->name);
    daybook_cursor *cursor;
    if (daybook_read(driven->store, &query, &cursor, NULL) != DAYBOOK_OK) return;
    daybook_recorded_event event;
    while (daybook_cursor_next(cursor, 0, &event, NULL) == DAYBOOK_OK)
        (void)fprintf(stderr, "there is position %" PRIu64 " seq %" PRIu64 " %.*s\n", event.position,
                      event.seq, (int)event.event.subject.size, (const char *)event.event.subject.data);
    daybook_cursor_close(cursor);
}

static void check_info(driver *driven, size_t index, const daybook_stream_info *info) {
    const model *store = &driven->model;
    const model_stream *stream = store->streams[index];
    const daybook_stream_config *a = &info->config, *b = &stream->config;
    if (a->subject_count != b->subject_count || a->aggregate_tokens != b->aggregate_tokens ||
        a->flags != b->flags || a->discard != b->discard || a->storage != b->storage ||
        a->max_msgs != b->max_msgs || a->max_bytes != b->max_bytes ||
        a->max_msgs_per_subject != b->max_msgs_per_subject || a->max_msg_size != b->max_msg_size ||
        a->max_age_ns != b->max_age_ns || a->duplicate_window_ns != b->duplicate_window_ns ||
        a->sync_interval_ns != b->sync_interval_ns || a->description.size != b->description.size)
        driver_fail(driven, "the configuration of %s differs", stream->name);
    size_t first = model_first_live(store, index);
    uint64_t last_seq = model_last_seq(store, index);
    uint64_t first_seq = first == MODEL_NONE ? last_seq + 1 : store->events[first].seq;
    uint64_t count = model_message_count(store, index), bytes = model_byte_count(store, index);
    if (info->last_seq != last_seq || info->first_seq != first_seq)
        driver_fail(driven,
                    "%s: first %" PRIu64 " last %" PRIu64 " count %" PRIu64 " bytes %" PRIu64
                    ", expected %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " (max_msgs %" PRIu64
                    " max_bytes %" PRIu64 ")",
                    stream->name, info->first_seq, info->last_seq, info->message_count, info->byte_count,
                    first_seq, last_seq, count, bytes, stream->config.max_msgs, stream->config.max_bytes);
    bool differs = info->message_count != count || info->byte_count != bytes;
    if (differs) describe_stream(driven, index);
    if (differs)
        driver_fail(driven, "%s: %" PRIu64 " messages %" PRIu64 " bytes, expected %" PRIu64 " %" PRIu64,
                    stream->name, info->message_count, info->byte_count, count, bytes);
}

static void check_streams(driver *driven) {
    settle_ages(driven);
    for (size_t i = 0; i < driven->model.stream_count && !driven->broken; i++) {
        const model_stream *stream = driven->model.streams[i];
        if (stream->removed) continue;
        daybook_stream_info *info;
        daybook_status status =
            daybook_stream_get_info(driven->store, daybook_text(stream->name), &info, &driven->error);
        if (breaks(driven, status)) return;
        if (status != DAYBOOK_OK)
            driver_fail(driven, "no stream %s: %s", stream->name, daybook_status_name(status));
        check_info(driven, i, info);
        daybook_stream_info_release(driven->store, info);
    }
}

static int count_stream(void *context, const daybook_stream_info *info) {
    (void)info;
    ++*(size_t *)context;
    return 0;
}

void driver_check_all(driver *driven) {
    driven->operation = "check of everything";
    driven->counts.checks++;
    check_streams(driven);
    if (driven->broken) return;
    size_t listed = 0, expected = 0;
    daybook_status status = daybook_stream_list(driven->store, count_stream, &listed, &driven->error);
    if (breaks(driven, status)) return;
    for (size_t i = 0; i < driven->model.stream_count; i++) expected += !driven->model.streams[i]->removed;
    if (status != DAYBOOK_OK || listed != expected)
        driver_fail(driven, "%zu streams, expected %zu", listed, expected);
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_INTERNAL;
    compare_read(driven, &query);
    query.flags |= DAYBOOK_QUERY_REVERSE;
    if (!driven->broken) compare_read(driven, &query);
}

// ---- Cursors that stay open ------------------------------------------------------------------------------

static void open_cursor(driver *driven, driver_cursor *held) {
    random_source *random = &driven->random;
    memset(held, 0, sizeof *held);
    daybook_query *query = &held->query;
    daybook_query_init(query);
    if (random_percent(random, 70)) query->flags |= DAYBOOK_QUERY_FOLLOW;
    if (random_percent(random, 40)) query->flags |= DAYBOOK_QUERY_INTERNAL;
    const model_event *event = any_event(driven);
    if (event != NULL && random_percent(random, 40)) {
        make_filter(driven, event->said->subject, held->filter);
        held->filter_slice = daybook_text(held->filter);
        query->filters = &held->filter_slice;
        query->filter_count = 1;
    }
    if (event != NULL && random_percent(random, 20)) {
        (void)snprintf(held->type, sizeof held->type, "%s", event->type);
        held->type_slice = daybook_text(held->type);
        query->types = &held->type_slice;
        query->type_count = 1;
    }
    if (event != NULL && event->said->tag_count > 0 && random_percent(random, 20)) {
        (void)snprintf(held->tag, sizeof held->tag, "%s", event->said->tags[0]);
        held->tag_slice = daybook_text(held->tag);
        query->tags = &held->tag_slice;
        query->tag_count = 1;
    }
    held->last = (query->flags & DAYBOOK_QUERY_FOLLOW) != 0 ? UINT64_MAX : driven->model.visible_position;
    daybook_status status = daybook_read(driven->store, query, &held->cursor, &driven->error);
    if (breaks(driven, status)) return;
    if (status != DAYBOOK_OK) driver_fail(driven, "opening a cursor: %s", daybook_status_name(status));
}

// A few of the events to come, or all.
static void advance_cursor(driver *driven, driver_cursor *held) {
    bool follows = (held->query.flags & DAYBOOK_QUERY_FOLLOW) != 0;
    uint64_t most = random_percent(&driven->random, 50) ? UINT64_MAX : random_below(&driven->random, 30);
    const model *store = &driven->model;
    size_t i = 0;
    for (uint64_t given = 0; given < most; given++) {
        while (i < store->event_count && (store->events[i].position <= held->seen ||
                                          !model_matches(store, &held->query, &store->events[i])))
            i++;
        bool more = i < store->event_count && store->events[i].position <= held->last;
        daybook_recorded_event event;
        daybook_status status = daybook_cursor_next(held->cursor, 0, &event, &driven->error);
        if (breaks(driven, status)) {
            if (status != DAYBOOK_EDAMAGED) return; // the same is given by the next call
            daybook_cursor_close(held->cursor);
            held->cursor = NULL;
            return;
        }
        daybook_status expected = more ? DAYBOOK_OK : follows ? DAYBOOK_TIMEOUT : DAYBOOK_END;
        if (status != expected) {
            describe(&held->query);
            driver_fail(driven,
                        "a %s behind position %" PRIu64 " gives %s (position %" PRIu64
                        "), expected %s (position %" PRIu64 ")",
                        follows ? "follower" : "cursor", held->seen, daybook_status_name(status),
                        status == DAYBOOK_OK ? event.position : 0, daybook_status_name(expected),
                        more ? store->events[i].position : 0);
        }
        if (!more) break;
        check_event(driven, &store->events[i], &event);
        held->seen = event.position;
    }
}

static void step_cursor(driver *driven) {
    driven->operation = "cursor";
    settle_ages(driven);
    driver_cursor *held = &driven->cursors[random_below(&driven->random, DRIVER_CURSORS_MAX)];
    if (driven->broken) return;
    driven->counts.reads++;
    if (held->cursor == NULL) {
        open_cursor(driven, held);
    } else if (random_percent(&driven->random, 10)) {
        daybook_cursor_close(held->cursor);
        held->cursor = NULL;
    } else {
        advance_cursor(driven, held);
    }
}

// ---- Background and restarts -----------------------------------------------------------------------------

static void step_maintain(driver *driven) {
    driven->operation = "maintain";
    trace(driven, "until done");
    bool is_due = driven->deferred_until_ns != 0 && !has_background(driven) &&
                  driven->vfs->clock_monotonic_ns(driven->vfs) > driven->deferred_until_ns;
    for (int i = 0; i < 20; i++) {
        daybook_status status = daybook_maintain(driven->store, &driven->error);
        if (breaks(driven, status)) return;
        if (status != DAYBOOK_OK && status != DAYBOOK_END)
            driver_fail(driven, "maintenance: %s", daybook_status_name(status));
        if (i == 0 && is_due) check_durable(driven, driven->last_position);
        if (driven->broken || status == DAYBOOK_END) return;
    }
}

static void step_flush(driver *driven) {
    driven->operation = "flush";
    trace(driven, "now");
    daybook_status status = daybook_flush(driven->store, &driven->error);
    if (breaks(driven, status)) return;
    if (status != DAYBOOK_OK) driver_fail(driven, "flush: %s", daybook_status_name(status));
}

// Without background threads nobody makes room but us.
static void keep_room(driver *driven) {
    if ((driven->options.open_flags & DAYBOOK_OPEN_NO_BACKGROUND) == 0 || driven->counts.operations % 8 != 0)
        return;
    daybook_store_info info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    daybook_status status = daybook_info(driven->store, &info, &driven->error);
    if (breaks(driven, status)) return;
    if (status != DAYBOOK_OK) driver_fail(driven, "info: %s", daybook_status_name(status));
    if (info.journal_used_bytes > driven->options.journal_max_bytes / 2) step_maintain(driven);
}

// What streams in memory held is gone, and they are made anew. Their positions stay given.
static void renew_memory_streams(driver *driven) {
    model *store = &driven->model;
    size_t stream_count = store->stream_count;
    for (size_t i = 0; i < stream_count; i++) {
        model_stream *stream = store->streams[i];
        if (stream->removed || stream->config.storage != DAYBOOK_STORAGE_MEMORY) continue;
        daybook_stream_config config = stream->config;
        stream->removed = true;
        (void)model_add_stream(store, &config);
    }
}

static daybook_stream_info *info_of(driver *driven, const char *stream);

// Of what was acknowledged before its sync a crash leaves a beginning; a clean close (`is_whole`) all. Returns how
// much is lost. Opening made durable what is there: driver_recover or the caller says so to the model.
static uint64_t settle_survivors(driver *driven, bool is_whole) {
    model *store = &driven->model;
    uint64_t last = store->visible_position, lost = 0;
    for (size_t i = 0; i < store->event_count; i++) {
        const model_event *event = &store->events[i];
        if (event->position <= store->visible_position) continue;
        const model_stream *stream = store->streams[event->stream];
        daybook_stream_info *info = info_of(driven, stream->name);
        // The stream may have been removed by what was under way, and that comes behind.
        bool is_there = info == NULL ? driven->pending == PENDING_REMOVE : info->last_seq >= event->seq;
        daybook_stream_info_release(driven->store, info);
        if (is_there && lost > 0)
            driver_fail(driven, "position %" PRIu64 " of %s is there, and what came before it is not",
                        event->position, stream->name);
        if (is_there) last = event->position;
        lost += !is_there;
    }
    if (lost > 0 && is_whole)
        driver_fail(driven, "%" PRIu64 " events behind position %" PRIu64 " are lost by closing", lost, last);
    trace(driven, "%" PRIu64 " events behind position %" PRIu64 " are lost", lost, last);
    model_cut(store, last);
    driven->counts.lost += lost;
    driven->deferred_until_ns = 0;
    if (lost > 0) driven->last_position = last;
    return lost;
}

static void step_restart(driver *driven) {
    bool is_killed = false;
    driven->operation = "restart";
    trace(driven, "at random");
    settle_ages(driven);
    if (driven->broken) return;
    if (driven->options.sim != NULL && random_percent(&driven->random, 50)) {
        driven->operation = "kill";
        trace(driven, "now");
        driven->counts.kills++;
        is_killed = true;
        count_background(driven);
        dbk_sim_stop_now(driven->options.sim);
        driver_close(driven);
        dbk_sim_crash(driven->options.sim,
                      random_percent(&driven->random, 50) ? DBK_SIM_KILL : DBK_SIM_POWER_LOSS);
    } else {
        driven->counts.restarts++;
        driver_close(driven);
        if (is_stopped(driven)) {
            driven->broken = true;
            return;
        }
        if (random_percent(&driven->random, 20)) driver_verify(driven);
    }
    if (!driver_open(driven)) {
        driven->broken = true;
        return;
    }
    calm(driven);
    (void)settle_survivors(driven, !is_killed && !driven->is_closed_badly);
    model_publish(&driven->model, driven->last_position);
    renew_memory_streams(driven);
    settle_durable(driven);
    if (!driven->broken) driver_check_all(driven);
}

static void report(void *context, const daybook_finding *finding) {
    (void)context;
    if (!finding->is_damage) return;
    (void)fprintf(stderr, "finding: %.*s at %" PRIu64 ": %.*s\n", (int)finding->file.size,
                  (const char *)finding->file.data, finding->offset, (int)finding->message.size,
                  (const char *)finding->message.data);
}

void driver_verify(driver *driven) {
    driven->operation = "verify";
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = driven->vfs;
    daybook_status status =
        daybook_verify(driven->options.path, &options, report, NULL, NULL, NULL, &driven->error);
    if (breaks(driven, status) || status == DAYBOOK_EUNSUPPORTED) return;
    if (status != DAYBOOK_OK) driver_fail(driven, "verify of a sound store: %s", daybook_status_name(status));
}

// ---- Steps -----------------------------------------------------------------------------------------------

void driver_change(driver *driven) {
    uint64_t kind = random_below(&driven->random, 100);
    driven->counts.operations++;
    driven->pending = PENDING_NOTHING;
    if (driven->model.stream_count < FIRST_STREAM_COUNT) {
        add_stream(driven, first_streams[driven->model.stream_count]);
    } else if (kind < 74) {
        step_append(driven);
    } else if (kind < 82) {
        step_delete(driven);
    } else if (kind < 86) {
        step_purge(driven);
    } else if (kind < 90) {
        step_stream(driven);
    } else if (kind < 94) {
        step_flush(driven);
    } else {
        step_maintain(driven);
    }
    settle_durable(driven);
    if (!driven->broken) keep_room(driven);
    settle_durable(driven);
}

void driver_step(driver *driven) {
    uint64_t kind = random_below(&driven->random, 1000);
    if (driven->model.stream_count < FIRST_STREAM_COUNT || kind < 620) {
        driver_change(driven);
        return;
    }
    driven->counts.operations++;
    driven->pending = PENDING_NOTHING;
    if (kind < 660) {
        step_chain(driven);
    } else if (kind < 800) {
        step_read(driven);
    } else if (kind < 850) {
        step_count(driven);
    } else if (kind < 875) {
        step_list(driven);
    } else if (kind < 950) {
        step_cursor(driven);
    } else if (kind < 970) {
        driven->operation = "stream info";
        check_streams(driven);
    } else if (kind < 985) {
        if (driven->options.sim != NULL)
            dbk_sim_advance_ns(driven->options.sim, (int64_t)random_below(&driven->random, 8) * 1000000000);
    } else if (kind < 992) {
        driver_check_all(driven);
    } else {
        step_restart(driven);
    }
    settle_durable(driven);
}

// ---- After a crash ---------------------------------------------------------------------------------------

// Did it happen? `seq` is then there and lies behind what the model knows.
static bool read_one(driver *driven, const char *stream, uint64_t seq, daybook_receipt *receipt_out) {
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text(stream);
    query.seq_from = query.seq_to = seq;
    daybook_cursor *cursor;
    daybook_status status = daybook_read(driven->store, &query, &cursor, &driven->error);
    if (status != DAYBOOK_OK)
        driver_fail(driven, "reading seq %" PRIu64 " of %s: %s", seq, stream, daybook_status_name(status));
    daybook_recorded_event event;
    status = daybook_cursor_next(cursor, 0, &event, &driven->error);
    if (status != DAYBOOK_OK && status != DAYBOOK_END)
        driver_fail(driven, "reading: %s", daybook_status_name(status));
    if (status == DAYBOOK_OK) {
        receipt_out->position = event.position;
        receipt_out->recorded_ns = event.recorded_ns;
        (void)snprintf(receipt_out->id, sizeof receipt_out->id, "%.*s",
                       (int)(event.event.id.size < 39 ? event.event.id.size : 39),
                       (const char *)event.event.id.data);
    }
    daybook_cursor_close(cursor);
    return status == DAYBOOK_OK;
}

static daybook_stream_info *info_of(driver *driven, const char *stream) {
    daybook_stream_info *info;
    daybook_status status =
        daybook_stream_get_info(driven->store, daybook_text(stream), &info, &driven->error);
    if (status == DAYBOOK_ENOTFOUND) return NULL;
    if (status != DAYBOOK_OK) driver_fail(driven, "info of %s: %s", stream, daybook_status_name(status));
    return info;
}

static bool settle_append(driver *driven) {
    static daybook_receipt receipts[MODEL_BATCH_MAX];
    uint64_t added[64] = {0};
    size_t in_files = 0;
    settle_auto_streams(driven);
    for (size_t i = 0; i < driven->batch_count; i++) {
        size_t stream = model_capture(&driven->model, daybook_text(driven->batch[i]->subject));
        if (stream == MODEL_NONE) return false;
        if (is_in_memory(driven, stream)) continue;
        in_files++;
        daybook_stream_info *info = info_of(driven, driven->model.streams[stream]->name);
        if (info == NULL) driver_fail(driven, "stream %s is gone", driven->model.streams[stream]->name);
        bool there = info->last_seq > driven->model.streams[stream]->last_seq;
        daybook_stream_info_release(driven->store, info);
        if (!there) return false; // a batch that is there in part is found by the full check
    }
    if (in_files == 0) return false; // whatever it was
    memset(receipts, 0, sizeof receipts);
    bool known = false;
    for (size_t i = 0; i < driven->batch_count; i++) {
        size_t stream = model_capture(&driven->model, daybook_text(driven->batch[i]->subject));
        uint64_t seq = driven->model.streams[stream]->last_seq + ++added[stream % 64];
        if (is_in_memory(driven, stream) ||
            !read_one(driven, driven->model.streams[stream]->name, seq, &receipts[i]) || known)
            continue;
        known = true;
        for (size_t j = 0; j < driven->batch_count; j++) {
            receipts[j].position = receipts[i].position + j - i;
            receipts[j].recorded_ns = receipts[i].recorded_ns;
        }
    }
    for (size_t i = 0; !known && i < driven->batch_count; i++) {
        receipts[i].position = driven->last_position + 1 + i;
        receipts[i].recorded_ns = driven->last_recorded_ns;
    }
    check_positions(driven, receipts);
    model_append(&driven->model, driven->batch, driven->batch_count, receipts);
    driven->counts.appended += driven->batch_count;
    return true;
}

// Of a chain a beginning is there.
static bool settle_chain(driver *driven) {
    bool is_behind = false, is_any_there = false;
    size_t count = driven->chain_count;
    for (size_t i = 0; i < count; i++) {
        driven->batch[0] = driven->chain[i];
        driven->batch_count = 1;
        size_t stream = model_capture(&driven->model, daybook_text(driven->chain[i]->subject));
        if (stream != MODEL_NONE && is_in_memory(driven, stream)) continue; // nobody can tell
        daybook_append_options options;
        daybook_append_options_init(&options);
        model_decision decision;
        model_decide(&driven->model, driven->batch, 1, &options, now_ns(driven), true, &decision);
        if (decision.duplicate || decision.uncertain) continue; // it may have had nothing to store
        bool is_there = settle_append(driven);
        if (is_there && is_behind)
            driver_fail(driven,
                        "append %zu of what is uncertain of a chain is there, and the one before it is not",
                        i);
        is_behind = is_behind || !is_there;
        is_any_there = is_any_there || is_there;
    }
    return is_any_there;
}

static void restore_states(model *store, const model_state *states) {
    for (size_t i = 0; i < store->event_count; i++) store->events[i].state = states[i];
}

static model_state *copy_states(const model *store) {
    model_state *states = malloc((store->event_count + 1) * sizeof *states);
    if (states == NULL) abort();
    for (size_t i = 0; i < store->event_count; i++) states[i] = store->events[i].state;
    return states;
}

// An event that tells the two outcomes apart; MODEL_NONE: nothing does.
static size_t telling_event(driver *driven, const model_state *undone) {
    const model *store = &driven->model;
    for (size_t i = 0; i < store->event_count; i++) {
        const model_event *event = &store->events[i];
        bool differs = (event->state == MODEL_LIVE) != (undone[i] == MODEL_LIVE);
        if (differs && !store->streams[event->stream]->removed && !is_in_memory(driven, event->stream) &&
            !model_is_expired(store, i, now_ns(driven)))
            return i;
    }
    return MODEL_NONE;
}

// Did the removal happen? It worked on what was visible then; what was acknowledged before its sync is durable
// since, and limits apply to it, either way.
static bool settle_removal(driver *driven, void (*apply)(driver *driven)) {
    model *store = &driven->model;
    uint64_t visible = store->visible_position;
    model_state *before = copy_states(store);
    model_publish(store, driven->last_position);
    model_state *undone = copy_states(store);
    restore_states(store, before);
    store->visible_position = visible;
    apply(driven);
    model_publish(store, driven->last_position);
    size_t telling = telling_event(driven, undone);
    bool done = false;
    if (telling != MODEL_NONE) {
        const model_event *event = &store->events[telling];
        daybook_receipt receipt;
        bool is_there = read_one(driven, store->streams[event->stream]->name, event->seq, &receipt);
        done = is_there == (event->state == MODEL_LIVE);
    }
    if (!done) restore_states(store, undone);
    free(before);
    free(undone);
    return done;
}

static void apply_delete(driver *driven) {
    model_delete(&driven->model, driven->pending_event);
}

static void apply_purge(driver *driven) {
    (void)model_purge(&driven->model, driven->pending_stream, &driven->purge, false);
}

// Of a stream that is being removed the snapshots go in a commit of their own, before.
static void apply_forgetting(driver *driven) {
    model_remove_stream(&driven->model, driven->pending_stream);
    driven->model.streams[driven->pending_stream]->removed = false;
}

static bool settle_stream(driver *driven) {
    if (driven->pending == PENDING_REMOVE) {
        daybook_stream_info *info = info_of(driven, driven->model.streams[driven->pending_stream]->name);
        if (info == NULL) {
            model_remove_stream(&driven->model, driven->pending_stream);
            return true;
        }
        daybook_stream_info_release(driven->store, info);
        (void)settle_removal(driven, apply_forgetting);
        return false;
    }
    char name[64];
    (void)snprintf(name, sizeof name, "%.*s", (int)driven->config.name.size,
                   (const char *)driven->config.name.data);
    daybook_stream_info *info = info_of(driven, name);
    bool done = info != NULL && info->config.description.size == driven->config.description.size &&
                memcmp(info->config.description.data, driven->config.description.data,
                       info->config.description.size) == 0;
    daybook_stream_info_release(driven->store, info);
    if (!done) return false;
    if (driven->pending == PENDING_ADD) {
        (void)model_add_stream(&driven->model, &driven->config);
    } else {
        model_update_stream(&driven->model, driven->pending_stream, &driven->config);
    }
    return true;
}

void driver_recover(driver *driven) {
    driven->operation = "recovery";
    trace(driven, "pending %d, %zu events", (int)driven->pending, driven->batch_count);
    uint64_t lost = settle_survivors(driven, false);
    bool done = false;
    switch (driven->pending) {
    case PENDING_NOTHING:
        break;
    case PENDING_APPEND:
        done = settle_append(driven);
        break;
    case PENDING_CHAIN:
        done = settle_chain(driven);
        break;
    case PENDING_DELETE:
        done = settle_removal(driven, apply_delete);
        break;
    case PENDING_PURGE:
        done = settle_removal(driven, apply_purge);
        break;
    case PENDING_ADD:
    case PENDING_UPDATE:
    case PENDING_REMOVE:
        done = settle_stream(driven);
        break;
    }
    trace(driven, "it is %s", done ? "done" : "not done");
    if (done && lost > 0)
        driver_fail(driven,
                    "what was under way is there, and %" PRIu64 " events acknowledged before it are not",
                    lost);
    model_publish(&driven->model, driven->last_position);
    if (driven->pending != PENDING_NOTHING) {
        driven->counts.pending_done += done;
        driven->counts.pending_undone += !done;
    }
    driven->pending = PENDING_NOTHING;
    renew_memory_streams(driven);
    settle_durable(driven);
    if (!driven->broken) driver_check_all(driven);
}

// ---- After a fault ---------------------------------------------------------------------------------------

// Of a stream whose removal was refused the snapshots may be gone already.
static void look_at_snapshots(driver *driven) {
    model *store = &driven->model;
    model_state *before = copy_states(store);
    apply_forgetting(driven);
    size_t telling = telling_event(driven, before);
    daybook_receipt receipt;
    if (telling != MODEL_NONE && read_one(driven, store->streams[store->events[telling].stream]->name,
                                          store->events[telling].seq, &receipt))
        restore_states(store, before);
    free(before);
}

static bool says(const driver *driven, const char *text) {
    return strstr(driven->error.message, text) != NULL;
}

void driver_resume(driver *driven) {
    trace(driven, "refused with %s: %s", daybook_status_name(driven->error.status), driven->error.message);
    driver_pending pending = driven->pending;
    driven->pending = PENDING_NOTHING;
    switch (pending) {
    case PENDING_APPEND:
        if (settle_append(driven)) driver_fail(driven, "what was refused is there");
        break;
    case PENDING_DELETE: // then only their bytes could not be erased
        if (says(driven, "are removed")) apply_delete(driven);
        break;
    case PENDING_PURGE:
        if (says(driven, "are removed")) apply_purge(driven);
        break;
    case PENDING_UPDATE:
        if (says(driven, "is changed"))
            model_update_stream(&driven->model, driven->pending_stream, &driven->config);
        break;
    case PENDING_REMOVE:
        look_at_snapshots(driven);
        break;
    case PENDING_CHAIN:
        driver_fail(driven, "an append of a chain is uncertain, and the store is not poisoned");
    case PENDING_NOTHING:
    case PENDING_ADD:
        break;
    }
    // What was given up half way is made good by whoever does the background's work, some time later.
    if (has_background(driven)) {
        dbk_sim_advance_ns(driven->options.sim, INT64_C(10000000000));
        step_flush(driven);
    } else {
        step_maintain(driven);
    }
    settle_durable(driven);
    driver_check_all(driven);
}
