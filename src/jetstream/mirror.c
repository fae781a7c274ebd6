// SPDX-License-Identifier: Apache-2.0
// Mirrors and sources: streams that copy what others store (docs/design/mirrors.md).
//
//     commit   an event of the source became visible: its watch fires
//     loop     the copy's job is submitted, one at a time for each copy
//     worker   the watch is armed, and then what there is is read and appended, in batches
//
// A mirror appends with the seqs of its source, so its own last seq says how far it is, and nothing comes
// twice: the store refuses a seq that was given before. A source appends with an event elsewhere that says
// how far it is, on the condition that nobody has moved on since: both are one commit, so neither a crash nor
// another copy of the same source stores a message twice or leaves one out. These places are events of a
// stream of the server's own:
//
//     $sources  subject $sources.<id of the stream>.<sha-256 of the source's index name>
//               data    "<id of the source> <seq>"
//
// A source that was removed and made again is another one (its id says so) and is copied from its beginning.
//
// What is copied, and how an event looks in the copy, is said by copy_rules.h.
//
// Failure: what the store does not take because the stream is full, or for lack of room, is tried again each
// second; what it can never take (too large, no subject left) is passed over and told to the log.
//
// Threads: a copy's lists are changed by the loop under jetstream->lock, as its `state` by the worker; what
// else it has is the worker's while it runs, and the loop's between.
#include "jetstream/mirror.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/time.h"
#include "daybook/append.h"
#include "daybook/read.h"
#include "jetstream/copy_rules.h"

enum {
    BATCH_COUNT = 256,
    BATCH_BYTES = 1 << 20,
    BATCHES_OF_A_RUN = 8,
    ARENA_CHUNK = 4 << 10,
    BATCH_ARENA_CHUNK = 64 << 10,
    PLACE_SUBJECT_SIZE_MAX = 96,
    PLACE_SIZE_MAX = 48,
    DIGEST_SIZE = 32,
};
#define AGAIN_NS DBK_SECOND_NS // when something failed, or there is no source
#define PLACES_NAME "$sources"

typedef enum outcome {
    CAUGHT_UP, // the watch tells of more
    HAS_MORE,
    TRY_AGAIN, // later
    IS_GONE    // the stream itself
} outcome;

struct dbk_js_copy {
    dbk_js_copy *next;                          // of its stream
    dbk_js_copy *next_of_all, *previous_of_all; // of jetstream
    dbk_js_stream *stream;                      // a reference
    dbk_arena *arena;
    dbk_js_copy_rules rules; // in the arena
    // The loop's.
    dbk_job job;
    dbk_timer timer;
    atomic_bool is_ended; // read by its worker: it stores no more
    bool runs, runs_again;
    dbk_job woken;
    atomic_bool is_woken; // that job is under way
    // The worker's.
    outcome outcome;
    daybook_event_watch *watch; // NULL: none
    bool has_begun;
    uint32_t source_id, own_id;
    uint64_t next_seq;     // of the source
    uint64_t own_last_seq; // a mirror's
    char place_subject[PLACE_SUBJECT_SIZE_MAX];
    uint64_t place_seq;   // of its last event; 0: none
    bool place_is_behind; // next_seq is further, of what needs no copy
    bool has_complained;
    dbk_js_copy_state state; // under jetstream->lock
};

// Of one run.
typedef struct batch {
    dbk_arena *arena;
    size_t count, bytes;
    daybook_event events[BATCH_COUNT + 1]; // room for a place
    uint64_t seqs[BATCH_COUNT];            // in the source
    daybook_receipt receipts[BATCH_COUNT + 1];
} batch;

// ---- Where it is: the worker ------------------------------------------------------------------------------

static daybook_store *store_of(const dbk_js_copy *copy) {
    return copy->stream->jetstream->store;
}

static void make_place_subject(dbk_js_copy *copy, uint32_t own_id) {
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[DIGEST_SIZE];
    dbk_sha256 hash;
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, copy->rules.index_name.data, copy->rules.index_name.size);
    dbk_sha256_final(&hash, digest);
    int used =
        snprintf(copy->place_subject, sizeof copy->place_subject, PLACES_NAME ".%u.", (unsigned)own_id);
    char *at = copy->place_subject + used;
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        *at++ = digits[digest[i] >> 4];
        *at++ = digits[digest[i] & 15];
    }
    *at = '\0';
}

static daybook_status make_places(daybook_store *store, daybook_error *error) {
    dbk_slice subject = daybook_text(PLACES_NAME ".>");
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(PLACES_NAME);
    config.subjects = &subject;
    config.subject_count = 1;
    config.aggregate_tokens = 0;
    config.flags = DAYBOOK_STREAM_INTERNAL;
    config.max_msgs_per_subject = 1;
    config.duplicate_window_ns = 0;
    config.description = daybook_text("how far streams have copied their sources");
    daybook_status status = daybook_stream_add(store, &config, error);
    return status == DAYBOOK_EEXISTS ? DAYBOOK_OK : status;
}

// "<id> <seq>"; false: it is not of this source.
static bool parse_place(dbk_slice data, uint32_t source_id, uint64_t *seq_out) {
    char text[PLACE_SIZE_MAX];
    char *end;
    if (data.size == 0 || data.size >= sizeof text) return false;
    memcpy(text, data.data, data.size);
    text[data.size] = '\0';
    unsigned long id = strtoul(text, &end, 10);
    if (*end != ' ' || id != source_id) return false;
    *seq_out = strtoull(end + 1, &end, 10);
    return *end == '\0' && *seq_out > 0;
}

static uint64_t first_wanted(const dbk_js_copy *copy) {
    return copy->rules.start_seq > 0 ? copy->rules.start_seq : 1;
}

static daybook_status read_place(dbk_js_copy *copy, daybook_error *error) {
    daybook_query query;
    daybook_cursor *cursor;
    daybook_recorded_event event;
    dbk_slice subject = daybook_text(copy->place_subject);
    copy->place_seq = 0;
    copy->next_seq = first_wanted(copy);
    DBK_TRY(make_places(store_of(copy), error));
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_REVERSE;
    query.stream = daybook_text(PLACES_NAME);
    query.filters = &subject;
    query.filter_count = 1;
    query.limit = 1;
    DBK_TRY(daybook_read(store_of(copy), &query, &cursor, error));
    daybook_status status = daybook_cursor_next(cursor, 0, &event, error);
    if (status == DAYBOOK_OK) {
        copy->place_seq = event.seq;
        if (!parse_place(event.event.data, copy->source_id, &copy->next_seq))
            copy->next_seq = first_wanted(copy);
    }
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status begin(dbk_js_copy *copy, uint32_t source_id, daybook_error *error) {
    daybook_stream_info *own;
    daybook_status status = daybook_stream_get_info(store_of(copy), copy->stream->name, &own, error);
    if (status == DAYBOOK_ENOTFOUND) return DAYBOOK_ENOSTREAM;
    if (status != DAYBOOK_OK) return status;
    copy->source_id = source_id;
    copy->own_id = own->stream_id;
    copy->own_last_seq = own->last_seq;
    copy->next_seq = own->last_seq > 0 ? own->last_seq + 1 : first_wanted(copy);
    if (!copy->rules.is_mirror) {
        make_place_subject(copy, own->stream_id);
        status = read_place(copy, error);
    }
    daybook_stream_info_release(store_of(copy), own);
    copy->place_is_behind = false;
    copy->has_begun = status == DAYBOOK_OK;
    return status;
}

void dbk_js_forget_places(dbk_jetstream *jetstream, uint32_t stream_id) {
    char filter[PLACE_SUBJECT_SIZE_MAX];
    daybook_purge_options options;
    uint64_t count;
    (void)snprintf(filter, sizeof filter, PLACES_NAME ".%u.>", (unsigned)stream_id);
    daybook_purge_options_init(&options);
    options.filter = daybook_text(filter);
    // Without sources there is no such stream. What is left behind is never read again: no id is given twice.
    (void)daybook_stream_purge(jetstream->store, daybook_text(PLACES_NAME), &options, &count, NULL);
}

// ---- Appending: the worker --------------------------------------------------------------------------------

static void complain(dbk_js_copy *copy, const char *what, uint64_t seq, const daybook_error *error) {
    dbk_slice to = copy->stream->name;
    if (copy->has_complained) return; // once, until it got on
    copy->has_complained = true;
    dbk_broker_log(copy->stream->jetstream->broker, ERROR,
                   "JetStream stream '%.*s' %s of '%.*s' from seq %llu on: %s", (int)to.size,
                   (const char *)to.data, what, (int)copy->rules.source.size,
                   (const char *)copy->rules.source.data, (unsigned long long)seq, error->message);
}

// With the place behind the events, which then is as far as the last of them.
static daybook_status append_with_place(dbk_js_copy *copy, batch *of, size_t first, size_t count,
                                        uint64_t next_seq, daybook_error *error) {
    char text[PLACE_SIZE_MAX];
    daybook_append_options options;
    daybook_condition condition;
    daybook_event *place = &of->events[first + count];
    daybook_event aside = *place;
    (void)snprintf(text, sizeof text, "%u %llu", (unsigned)copy->source_id, (unsigned long long)next_seq);
    daybook_event_init(place);
    place->subject = daybook_text(copy->place_subject);
    place->data = daybook_text(text);
    daybook_condition_init(&condition, DAYBOOK_EXPECT_SUBJECT_SEQ);
    condition.stream = daybook_text(PLACES_NAME);
    condition.filter = place->subject;
    condition.expected = copy->place_seq;
    daybook_append_options_init(&options);
    options.stream = count > 0 ? copy->stream->name : daybook_text(PLACES_NAME);
    options.elsewhere_count = count > 0;
    options.conditions = &condition;
    options.condition_count = 1;
    daybook_status status =
        daybook_append(store_of(copy), &of->events[first], count + 1, &options, of->receipts, error);
    *place = aside;
    if (status != DAYBOOK_OK) return status;
    copy->place_is_behind = count > 0 && (of->receipts[0].flags & DAYBOOK_RECEIPT_DUPLICATE) != 0;
    if (!copy->place_is_behind) copy->place_seq = of->receipts[count].seq;
    return DAYBOOK_OK;
}

// On the condition that nobody else has stored there, or made it anew.
static daybook_status append_with_seqs(dbk_js_copy *copy, const batch *of, size_t first, size_t count,
                                       daybook_error *error) {
    daybook_append_options options;
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_EXPECT_STREAM_SEQ);
    condition.expected = copy->own_last_seq;
    daybook_append_options_init(&options);
    options.stream = copy->stream->name;
    options.seqs = &of->seqs[first];
    options.conditions = &condition;
    options.condition_count = 1;
    DBK_TRY(daybook_append(store_of(copy), &of->events[first], count, &options, NULL, error));
    copy->own_last_seq = of->seqs[first + count - 1];
    return DAYBOOK_OK;
}

// Of what all streams may take together.
static daybook_status take_room(dbk_js_copy *copy, const batch *of, size_t first, size_t count,
                                daybook_error *error) {
    dbk_js_storage storage = copy->rules.in_memory ? DBK_JS_MEMORY : DBK_JS_FILES;
    dbk_api_error_kind kind;
    dbk_api_error refused;
    uint64_t size = 0;
    for (size_t i = first; i < first + count; i++)
        size += of->events[i].subject.size + of->events[i].data.size;
    if (dbk_js_usage_take(&copy->stream->jetstream->usage, storage, size, &kind)) return DAYBOOK_OK;
    (void)dbk_api_fail(&refused, kind);
    return dbk_fail(error, DAYBOOK_ELIMIT, "%s", refused.description);
}

static daybook_status append_some(dbk_js_copy *copy, batch *of, size_t first, size_t count,
                                  daybook_error *error) {
    uint64_t next_seq = of->seqs[first + count - 1] + 1;
    DBK_TRY(take_room(copy, of, first, count, error));
    daybook_status status = copy->rules.is_mirror
                                ? append_with_seqs(copy, of, first, count, error)
                                : append_with_place(copy, of, first, count, next_seq, error);
    if (status == DAYBOOK_OK) copy->next_seq = next_seq;
    return status;
}

// It may be the fault of one of them.
static bool may_be_of_one(daybook_status status) {
    return status == DAYBOOK_EMIXED || status == DAYBOOK_EINVALID || status == DAYBOOK_ESUBJECT ||
           status == DAYBOOK_ELIMIT;
}

// It can never be stored there. One that there is no room for now can.
static bool is_for_ever(daybook_status status, const daybook_error *error) {
    if (status != DAYBOOK_ELIMIT) return status == DAYBOOK_EINVALID || status == DAYBOOK_ESUBJECT;
    return error->limit == DAYBOOK_LIMIT_MAX_MSG_SIZE || error->limit == DAYBOOK_LIMIT_EVENT_SIZE ||
           error->limit == DAYBOOK_LIMIT_BATCH_SIZE;
}

static daybook_status append_each(dbk_js_copy *copy, batch *of, daybook_error *error) {
    for (size_t i = 0; i < of->count; i++) {
        daybook_status status = append_some(copy, of, i, 1, error);
        if (status != DAYBOOK_OK && !is_for_ever(status, error)) return status;
        if (status == DAYBOOK_OK) continue;
        complain(copy, "leaves out a message", of->seqs[i], error);
        copy->next_seq = of->seqs[i] + 1;
        copy->place_is_behind = !copy->rules.is_mirror;
    }
    return DAYBOOK_OK;
}

static daybook_status append_batch(dbk_js_copy *copy, batch *of, daybook_error *error) {
    daybook_status status = of->count == 0 ? DAYBOOK_OK : append_some(copy, of, 0, of->count, error);
    if (status == DAYBOOK_OK && of->count > 0) copy->has_complained = false;
    if (may_be_of_one(status)) status = append_each(copy, of, error);
    of->count = of->bytes = 0;
    dbk_arena_reset(of->arena);
    return status;
}

// ---- A run: the worker ------------------------------------------------------------------------------------

static void tell(dbk_js_copy *copy, const dbk_js_copy_state *state) {
    pthread_mutex_t *lock = &copy->stream->jetstream->lock;
    pthread_mutex_lock(lock);
    copy->state = *state;
    pthread_mutex_unlock(lock);
}

static void wake(void *context);

static void close_watch(dbk_js_copy *copy) {
    daybook_event_watch_close(copy->watch);
    copy->watch = NULL;
}

static daybook_status open_cursor(dbk_js_copy *copy, daybook_cursor **cursor_out, daybook_error *error) {
    daybook_query query;
    if (copy->watch == NULL)
        DBK_TRY(daybook_event_watch_open(store_of(copy), copy->rules.source, copy->rules.filters,
                                         copy->rules.filter_count, wake, copy, &copy->watch, error));
    daybook_event_watch_arm(copy->watch); // then reading: nothing comes unseen in between
    daybook_query_init(&query);
    query.stream = copy->rules.source;
    query.filters = copy->rules.filters;
    query.filter_count = copy->rules.filter_count;
    query.seq_from = copy->next_seq;
    if (copy->rules.start_time_ns != 0) query.recorded_since_ns = copy->rules.start_time_ns;
    return daybook_read(store_of(copy), &query, cursor_out, error);
}

static daybook_status take_event(const dbk_js_copy *copy, batch *into, const daybook_recorded_event *from) {
    const dbk_jetstream *jetstream = copy->stream->jetstream;
    daybook_event *event = &into->events[into->count];
    DBK_TRY(dbk_js_copy_event(&copy->rules, from, dbk_broker_clock_ns(jetstream->broker), into->arena,
                              jetstream->allocator, event));
    into->seqs[into->count++] = from->seq;
    into->bytes += from->event.data.size + from->event.subject.size + sizeof *event;
    return DAYBOOK_OK;
}

static bool is_full(const batch *of) {
    return of->count == BATCH_COUNT || of->bytes >= BATCH_BYTES;
}

// END: all there was is copied; OK: there may be more.
static daybook_status copy_from(dbk_js_copy *copy, daybook_cursor *cursor, batch *of, daybook_error *error) {
    daybook_status status = DAYBOOK_OK;
    for (int i = 0; i < BATCHES_OF_A_RUN && status == DAYBOOK_OK; i++) {
        daybook_recorded_event event;
        while (status == DAYBOOK_OK && !is_full(of)) {
            status = daybook_cursor_next(cursor, 0, &event, error);
            if (status == DAYBOOK_OK) status = take_event(copy, of, &event);
        }
        if (atomic_load(&copy->is_ended)) return DAYBOOK_OK; // another goes on, or nobody
        if (status == DAYBOOK_OK || status == DAYBOOK_END) {
            daybook_status stored = append_batch(copy, of, error);
            if (stored != DAYBOOK_OK) return stored;
        }
    }
    return status;
}

static daybook_status new_batch(const dbk_js_copy *copy, batch **batch_out) {
    const daybook_allocator *allocator = copy->stream->jetstream->allocator;
    batch *made = dbk_alloc_zeroed(allocator, sizeof *made);
    *batch_out = NULL;
    if (made == NULL) return DAYBOOK_ENOMEM;
    if (dbk_arena_new(allocator, BATCH_ARENA_CHUNK, &made->arena) != DAYBOOK_OK) {
        dbk_free(allocator, made);
        return DAYBOOK_ENOMEM;
    }
    *batch_out = made;
    return DAYBOOK_OK;
}

// `last_seq` of the source was there before it is read.
static daybook_status copy_some(dbk_js_copy *copy, uint64_t last_seq, daybook_error *error) {
    batch *of;
    daybook_cursor *cursor = NULL;
    DBK_TRY(new_batch(copy, &of));
    daybook_status status = open_cursor(copy, &cursor, error);
    if (status == DAYBOOK_OK) status = copy_from(copy, cursor, of, error);
    daybook_cursor_close(cursor);
    if (status == DAYBOOK_END && copy->next_seq <= last_seq) copy->next_seq = last_seq + 1;
    if (status == DAYBOOK_END && copy->place_is_behind) {
        daybook_status placed = append_with_place(copy, of, 0, 0, copy->next_seq, error);
        if (placed != DAYBOOK_OK) status = placed;
    }
    dbk_arena_free(of->arena);
    dbk_free(copy->stream->jetstream->allocator, of);
    return status;
}

// A stream of the same name may have been made meanwhile: its places are others.
static daybook_status check_own(dbk_js_copy *copy, daybook_error *error) {
    daybook_stream_info *own;
    daybook_status status = daybook_stream_get_info(store_of(copy), copy->stream->name, &own, error);
    if (status == DAYBOOK_ENOTFOUND) return DAYBOOK_ENOSTREAM;
    if (status != DAYBOOK_OK) return status;
    copy->has_begun = own->stream_id == copy->own_id;
    daybook_stream_info_release(store_of(copy), own);
    return DAYBOOK_OK;
}

static daybook_status look(dbk_js_copy *copy, dbk_js_copy_state *state, daybook_error *error) {
    daybook_stream_info *source;
    daybook_status status = daybook_stream_get_info(store_of(copy), copy->rules.source, &source, error);
    state->has_error = status != DAYBOOK_OK;
    state->error = DBK_API_ERR_STREAM_NOT_FOUND;
    if (status != DAYBOOK_OK) {
        close_watch(copy);
        copy->has_begun = false;
        return status;
    }
    uint32_t id = source->stream_id;
    uint64_t last_seq = source->last_seq;
    daybook_stream_info_release(store_of(copy), source);
    if (copy->has_begun && !copy->rules.is_mirror) DBK_TRY(check_own(copy, error));
    if (!copy->has_begun || copy->source_id != id) {
        close_watch(copy);
        DBK_TRY(begin(copy, id, error));
    }
    status = copy_some(copy, last_seq, error);
    state->was_seen = true;
    state->lag = last_seq >= copy->next_seq ? last_seq - copy->next_seq + 1 : 0;
    if (status == DAYBOOK_ECONFLICT) copy->has_begun = false; // somebody else was there
    return status;
}

static void run_copy(dbk_job *job) {
    dbk_js_copy *copy = DBK_OWNER(job, dbk_js_copy, job);
    daybook_error error;
    daybook_error_init(&error);
    copy->outcome = IS_GONE;
    if (atomic_load(&copy->stream->jetstream->is_stopping)) return;
    dbk_js_copy_state state = copy->state; // written by this job alone
    daybook_status status = look(copy, &state, &error);
    switch (status) {
    case DAYBOOK_OK:
        copy->outcome = HAS_MORE;
        break;
    case DAYBOOK_END:
        copy->outcome = CAUGHT_UP;
        break;
    case DAYBOOK_ENOSTREAM: // it was removed; the loop will hear of it
        copy->has_begun = false;
        break;
    default:
        copy->outcome = TRY_AGAIN;
        if (status != DAYBOOK_ENOTFOUND && status != DAYBOOK_ECONFLICT)
            complain(copy, "does not get the messages", copy->next_seq, &error);
    }
    bool is_in_touch = copy->outcome == CAUGHT_UP || copy->outcome == HAS_MORE;
    if (is_in_touch) {
        state.seen_ns = INT64_MAX;
    } else if (state.seen_ns == INT64_MAX) {
        state.seen_ns = dbk_broker_clock_ns(copy->stream->jetstream->broker);
    }
    tell(copy, &state);
}

// ---- Running: the loop ------------------------------------------------------------------------------------

static void free_copy(dbk_js_copy *copy) {
    dbk_js_stream *stream = copy->stream;
    const daybook_allocator *allocator = stream->jetstream->allocator;
    dbk_arena_free(copy->arena);
    dbk_free(allocator, copy);
    dbk_js_stream_unref(stream);
}

static void start(dbk_js_copy *copy) {
    dbk_jetstream *jetstream = copy->stream->jetstream;
    copy->runs_again = copy->runs;
    if (copy->runs) return;
    dbk_broker_stop_timer(jetstream->broker, &copy->timer);
    copy->runs = true;
    dbk_js_begin_job(jetstream);
    dbk_jobs_submit(jetstream->broker->jobs, &copy->job);
}

// It does not run. What its watch has sent meanwhile frees it when it is here.
static void end_idle(dbk_js_copy *copy) {
    close_watch(copy);
    if (!atomic_load(&copy->is_woken)) free_copy(copy);
}

static void ran(dbk_job *job) {
    dbk_js_copy *copy = DBK_OWNER(job, dbk_js_copy, job);
    dbk_jetstream *jetstream = copy->stream->jetstream;
    bool runs_again = copy->runs_again;
    copy->runs = copy->runs_again = false;
    if (atomic_load(&copy->is_ended)) {
        end_idle(copy);
    } else if (!atomic_load(&jetstream->is_stopping)) {
        if (copy->outcome == HAS_MORE || (runs_again && copy->outcome != TRY_AGAIN)) {
            start(copy);
        } else if (copy->outcome == TRY_AGAIN) {
            dbk_broker_start_timer(jetstream->broker, &copy->timer, runs_again ? 0 : AGAIN_NS);
        }
    }
    dbk_js_end_job(jetstream);
}

static void try_again(dbk_timer *timer) {
    start(DBK_OWNER(timer, dbk_js_copy, timer));
}

// From any thread: the source has more.
static void wake(void *context) {
    dbk_js_copy *copy = context;
    if (atomic_exchange(&copy->is_woken, true)) return; // it is on its way already
    dbk_jobs_finish(copy->stream->jetstream->broker->jobs, &copy->woken);
}

static void woken(dbk_job *job) {
    dbk_js_copy *copy = DBK_OWNER(job, dbk_js_copy, woken);
    atomic_store(&copy->is_woken, false);
    if (!atomic_load(&copy->is_ended)) {
        if (!atomic_load(&copy->stream->jetstream->is_stopping)) start(copy);
    } else if (!copy->runs) {
        free_copy(copy);
    }
}

static daybook_status new_copy(dbk_js_stream *stream, const dbk_api_stream_config *config,
                               const dbk_api_source *said, dbk_js_copy **copy_out) {
    const daybook_allocator *allocator = stream->jetstream->allocator;
    dbk_js_copy *copy = dbk_alloc_zeroed(allocator, sizeof *copy);
    *copy_out = NULL;
    if (copy == NULL) return DAYBOOK_ENOMEM;
    copy->stream = dbk_js_stream_ref(stream);
    copy->job = (dbk_job){.run = run_copy, .done = ran, .is_slow = true};
    copy->woken.done = woken;
    dbk_timer_init(&copy->timer, try_again);
    daybook_status status = dbk_arena_new(allocator, ARENA_CHUNK, &copy->arena);
    if (status == DAYBOOK_OK) status = dbk_js_copy_rules_make(config, said, copy->arena, &copy->rules);
    if (status != DAYBOOK_OK) {
        free_copy(copy);
        return status;
    }
    *copy_out = copy;
    return DAYBOOK_OK;
}

// It is in its stream's list no more.
static void end_copy(dbk_js_copy *copy) {
    dbk_jetstream *jetstream = copy->stream->jetstream;
    if (copy->previous_of_all != NULL) {
        copy->previous_of_all->next_of_all = copy->next_of_all;
    } else {
        jetstream->first_copy = copy->next_of_all;
    }
    if (copy->next_of_all != NULL) copy->next_of_all->previous_of_all = copy->previous_of_all;
    atomic_store(&copy->is_ended, true);
    dbk_broker_stop_timer(jetstream->broker, &copy->timer);
    if (!copy->runs) end_idle(copy);
}

static void begin_copy(dbk_js_copy *copy) {
    dbk_jetstream *jetstream = copy->stream->jetstream;
    copy->next_of_all = jetstream->first_copy;
    if (copy->next_of_all != NULL) copy->next_of_all->previous_of_all = copy;
    jetstream->first_copy = copy;
    start(copy);
}

// ---- A stream's: the loop ---------------------------------------------------------------------------------

static dbk_js_copy *take_same(dbk_js_copy **first, const dbk_js_copy *as) {
    for (dbk_js_copy **at = first; *at != NULL; at = &(*at)->next) {
        dbk_js_copy *found = *at;
        if (!dbk_slice_equal(found->rules.key, as->rules.key)) continue;
        *at = found->next;
        return found;
    }
    return NULL;
}

static dbk_js_copy *replace_list(dbk_js_stream *stream, dbk_js_copy *first) {
    pthread_mutex_t *lock = &stream->jetstream->lock;
    pthread_mutex_lock(lock);
    dbk_js_copy *old = stream->first_copy;
    stream->first_copy = first;
    pthread_mutex_unlock(lock);
    return old;
}

static void free_new(dbk_js_copy *first) {
    while (first != NULL) {
        dbk_js_copy *next = first->next;
        free_copy(first);
        first = next;
    }
}

static daybook_status make_all(dbk_js_stream *stream, const dbk_api_stream_config *config,
                               dbk_js_copy **first_out) {
    size_t count = dbk_api_source_count(config);
    *first_out = NULL;
    for (size_t i = config->sealed ? 0 : count; i-- > 0;) {
        dbk_js_copy *copy;
        daybook_status status = new_copy(stream, config, dbk_api_source_at(config, i), &copy);
        if (status != DAYBOOK_OK) {
            free_new(*first_out);
            *first_out = NULL;
            return status;
        }
        copy->next = *first_out;
        *first_out = copy;
    }
    return DAYBOOK_OK;
}

daybook_status dbk_js_set_copies(dbk_js_stream *stream, const dbk_api_stream_config *config) {
    dbk_js_copy *made;
    DBK_TRY(make_all(stream, config, &made));
    dbk_js_copy *old = replace_list(stream, NULL), *list = NULL, **last = &list;
    dbk_js_copy *begun = NULL; // linked by next_of_all until they begin
    while (made != NULL) {
        dbk_js_copy *next = made->next;
        dbk_js_copy *same = take_same(&old, made);
        if (same != NULL) {
            free_copy(made);
            made = same;
            start(made); // the stream may have been made anew
        } else {
            made->next_of_all = begun;
            begun = made;
        }
        made->next = NULL;
        *last = made;
        last = &made->next;
        made = next;
    }
    (void)replace_list(stream, list);
    while (old != NULL) {
        dbk_js_copy *next = old->next;
        end_copy(old);
        old = next;
    }
    while (begun != NULL) {
        dbk_js_copy *next = begun->next_of_all;
        begin_copy(begun);
        begun = next;
    }
    return DAYBOOK_OK;
}

void dbk_js_drop_copies(dbk_js_stream *stream) {
    dbk_js_copy *old = replace_list(stream, NULL);
    while (old != NULL) {
        dbk_js_copy *next = old->next;
        end_copy(old);
        old = next;
    }
}

void dbk_js_note_source(dbk_jetstream *jetstream, dbk_slice name) {
    if (atomic_load(&jetstream->is_stopping)) return;
    for (dbk_js_copy *copy = jetstream->first_copy; copy != NULL; copy = copy->next_of_all)
        if (dbk_slice_equal(copy->rules.source, name)) start(copy);
}

dbk_js_stream *dbk_js_find_direct_mirror(const dbk_jetstream *jetstream, dbk_slice source) {
    for (dbk_js_copy *copy = jetstream->first_copy; copy != NULL; copy = copy->next_of_all)
        if (copy->rules.is_mirror && copy->stream->mirror_direct &&
            dbk_slice_equal(copy->rules.source, source))
            return copy->stream;
    return NULL;
}

void dbk_js_get_copy_state(dbk_jetstream *jetstream, dbk_slice stream, dbk_slice index_name,
                           dbk_js_copy_state *state_out) {
    *state_out = (dbk_js_copy_state){0};
    pthread_mutex_lock(&jetstream->lock);
    const dbk_js_stream *of = dbk_js_find_stream(jetstream, stream);
    const dbk_js_copy *copy = of == NULL ? NULL : of->first_copy;
    while (copy != NULL && !dbk_slice_equal(copy->rules.index_name, index_name)) copy = copy->next;
    if (copy != NULL) *state_out = copy->state;
    pthread_mutex_unlock(&jetstream->lock);
}
