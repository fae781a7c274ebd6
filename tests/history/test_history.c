// SPDX-License-Identifier: Apache-2.0
// Concurrent clients on a store that is killed again and again; what they asked and were told lies in memory
// shared with the processes that are killed, and is held against the log in the end (history.h has the
// rules).
//
// Each round is a process: it opens the store, its clients append (plainly, under each kind of condition,
// once more with the same ids), read and follow, until it is killed with SIGKILL in the middle; the last one
// ends in peace. Memory table and journal are small, so that flushes, merges and laps happen all the while.
//
// DAYBOOK_SECONDS  all rounds together; default 6
// DAYBOOK_SEED     printed; the schedule of threads is the machine's all the same
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE // MAP_ANONYMOUS, usleep

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daybook/daybook.h"
#include "history/history.h"
#include "lib/real_store.h"
#include "model/random.h"

enum {
    APPENDERS = 4,
    READERS = 2,
    FOLLOWERS = 2,
    CLIENTS = APPENDERS + READERS,
    AGGREGATES = 24,
    TAGS = 12,
    ENTRIES_MAX = 60000, // per client and run
    FOLLOWED_MAX = 1000000,
    LOG_MAX = 1000000,
    WAIT_MS = 50
};

// Shared with the processes of the rounds.
typedef struct shared {
    atomic_size_t entry_counts[CLIENTS]; // an entry counts from its invocation on
    history_entry entries[CLIENTS][ENTRIES_MAX];
    atomic_size_t followed_counts[FOLLOWERS];
    uint64_t followed[FOLLOWERS][FOLLOWED_MAX];
    int64_t stopped_ns[FOLLOWERS];
    uint64_t next_ids[CLIENTS];
    _Atomic uint64_t versions[AGGREGATES], seqs[AGGREGATES], tag_positions[TAGS]; // what clients believe
    atomic_bool is_over;
} shared;

static shared *all;

// ---- The store --------------------------------------------------------------------------------------------

static daybook_store *open_store(void) {
    daybook_open_options options;
    real_options(&options);
    options.lock_wait_ms = 5000;
    return real_open(&options);
}

static void add_streams(void) {
    daybook_store *store = open_store();
    daybook_error error;
    daybook_error_init(&error);
    for (int i = 0; i < HISTORY_STREAMS; i++) {
        char name[8], subject[8];
        (void)snprintf(name, sizeof name, "S%d", i);
        (void)snprintf(subject, sizeof subject, "s%d.>", i);
        daybook_stream_config config;
        daybook_stream_config_init(&config);
        daybook_slice subjects = daybook_text(subject);
        config.name = daybook_text(name);
        config.subjects = &subjects;
        config.subject_count = 1;
        if (daybook_stream_add(store, &config, &error) != DAYBOOK_OK) fail("stream: %s", error.message);
    }
    (void)daybook_close(store, NULL);
}

static void name_subject(uint32_t aggregate, char out[32]) {
    (void)snprintf(out, 32, "s%u.%u.done", aggregate % HISTORY_STREAMS, aggregate);
}

static uint64_t number_in(daybook_slice text, size_t skip, int base) {
    char digits[32] = "";
    if (text.size <= skip || text.size - skip >= sizeof digits) fail("a strange name came back");
    memcpy(digits, (const char *)text.data + skip, text.size - skip);
    return strtoull(digits, NULL, base);
}

static history_log_event to_log(const daybook_recorded_event *event) {
    history_log_event out = {.position = event->position,
                             .seq = event->seq,
                             .version = event->version,
                             .recorded_ns = event->recorded_ns};
    out.event.id = number_in(event->event.id, 2, 16);
    out.event.aggregate = (uint32_t)number_in(event->event.subject, 3, 10); // up to the dot
    out.event.tag = event->event.tag_count == 0 ? HISTORY_NO_TAG
                                                : (uint32_t)number_in(event->event.tags[0], 2, 10);
    return out;
}

// ---- Clients ----------------------------------------------------------------------------------------------

typedef struct client {
    daybook_store *store;
    unsigned number;
    random_source random;
    pthread_t thread;
} client;

static void raise_to(_Atomic uint64_t *number, uint64_t value) {
    uint64_t before = atomic_load(number);
    while (before < value && !atomic_compare_exchange_weak(number, &before, value)) {
    }
}

static history_entry *begin_entry(client *own) {
    size_t count = atomic_load(&all->entry_counts[own->number]);
    if (count == ENTRIES_MAX) return NULL;
    history_entry *entry = &all->entries[own->number][count];
    memset(entry, 0, sizeof *entry);
    return entry;
}

static void invoke(client *own, history_entry *entry) {
    entry->invoked_ns = now_ns();
    atomic_fetch_add(&all->entry_counts[own->number], 1);
}

static void finish(history_entry *entry, int outcome) {
    entry->outcome = outcome;
    atomic_thread_fence(memory_order_release);
    entry->returned_ns = now_ns();
}

static void choose_events(client *own, history_entry *entry) {
    entry->event_count = random_below(&own->random, 4) == 0 ? (uint32_t)random_below(&own->random, 3) + 2 : 1;
    for (uint32_t n = 0; n < entry->event_count; n++) {
        bool has_tag = random_below(&own->random, 3) == 0;
        entry->events[n] = (history_event){
            .id = (uint64_t)(own->number + 1) << 40 | ++all->next_ids[own->number],
            .aggregate = (uint32_t)random_below(&own->random, AGGREGATES),
            .tag = has_tag ? (uint32_t)random_below(&own->random, TAGS) : HISTORY_NO_TAG,
        };
    }
}

// What others believe is the best guess at what will hold; a little off now and then.
static void choose_condition(client *own, history_entry *entry) {
    entry->condition = (int)random_below(&own->random, 4);
    entry->on = entry->events[0].aggregate;
    if (entry->condition == HISTORY_NO_TAG_AFTER) {
        entry->on = (uint32_t)random_below(&own->random, TAGS);
        entry->expected = atomic_load(&all->tag_positions[entry->on]);
    } else if (entry->condition != HISTORY_ANY) {
        entry->expected = atomic_load(entry->condition == HISTORY_VERSION ? &all->versions[entry->on]
                                                                          : &all->seqs[entry->on]);
    }
    if (random_below(&own->random, 10) == 0 && entry->expected > 0) entry->expected--;
}

static daybook_status append(client *own, history_entry *entry, daybook_error *error) {
    daybook_event events[HISTORY_EVENTS_MAX];
    char subjects[HISTORY_EVENTS_MAX][32], ids[HISTORY_EVENTS_MAX][32], tags[HISTORY_EVENTS_MAX][16],
        data[300];
    daybook_slice tag_slices[HISTORY_EVENTS_MAX];
    memset(data, 'h', sizeof data);
    for (uint32_t n = 0; n < entry->event_count; n++) {
        name_subject(entry->events[n].aggregate, subjects[n]);
        (void)snprintf(ids[n], sizeof ids[n], "h-%" PRIx64, entry->events[n].id);
        daybook_event_init(&events[n]);
        events[n].subject = daybook_text(subjects[n]);
        events[n].id = daybook_text(ids[n]);
        events[n].data = daybook_bytes(data, (size_t)(entry->events[n].id % sizeof data));
        if (entry->events[n].tag == HISTORY_NO_TAG) continue;
        (void)snprintf(tags[n], sizeof tags[n], "t:%u", entry->events[n].tag);
        tag_slices[n] = daybook_text(tags[n]);
        events[n].tags = &tag_slices[n];
        events[n].tag_count = 1;
    }
    static const int kinds[] = {0, DAYBOOK_EXPECT_VERSION, DAYBOOK_EXPECT_SUBJECT_SEQ,
                                DAYBOOK_FAIL_IF_EVENTS_MATCH};
    daybook_append_options options;
    daybook_append_options_init(&options);
    daybook_condition condition;
    daybook_query_item item;
    char tag[16];
    (void)snprintf(tag, sizeof tag, "t:%u", entry->on);
    daybook_slice wanted = daybook_text(tag);
    if (entry->condition != HISTORY_ANY) {
        daybook_condition_init(&condition, kinds[entry->condition]);
        condition.expected = entry->expected;
        if (entry->condition == HISTORY_NO_TAG_AFTER) {
            daybook_query_item_init(&item);
            item.tags = &wanted;
            item.tag_count = 1;
            condition.items = &item;
            condition.item_count = 1;
            condition.after = entry->expected;
        }
        options.conditions = &condition;
        options.condition_count = 1;
    }
    daybook_receipt receipts[HISTORY_EVENTS_MAX];
    memset(receipts, 0, sizeof receipts);
    for (uint32_t n = 0; n < entry->event_count; n++) receipts[n].size = sizeof receipts[n];
    daybook_status status = daybook_append(own->store, events, entry->event_count, &options, receipts, error);
    for (uint32_t n = 0; status == DAYBOOK_OK && n < entry->event_count; n++) {
        entry->positions[n] = receipts[n].position;
        entry->seqs[n] = receipts[n].seq;
        entry->versions[n] = receipts[n].version;
    }
    return status;
}

static void note_beliefs(const history_entry *entry) {
    if (entry->outcome == HISTORY_CONFLICT) {
        raise_to(entry->condition == HISTORY_VERSION       ? &all->versions[entry->on]
                 : entry->condition == HISTORY_SUBJECT_SEQ ? &all->seqs[entry->on]
                                                           : &all->tag_positions[entry->on],
                 entry->actual);
        return;
    }
    for (uint32_t n = 0; n < entry->event_count; n++) {
        raise_to(&all->versions[entry->events[n].aggregate], entry->versions[n]);
        raise_to(&all->seqs[entry->events[n].aggregate], entry->seqs[n]);
        if (entry->events[n].tag != HISTORY_NO_TAG)
            raise_to(&all->tag_positions[entry->events[n].tag], entry->positions[n]);
    }
}

// `again`: an entry whose ids are asked for once more.
static bool run_append(client *own, const history_entry *again) {
    history_entry *entry = begin_entry(own);
    if (entry == NULL) return false;
    if (again != NULL) {
        entry->event_count = again->event_count;
        memcpy(entry->events, again->events, sizeof entry->events);
        entry->is_retry = true;
    } else {
        choose_events(own, entry);
        choose_condition(own, entry);
    }
    entry->kind = HISTORY_APPEND;
    invoke(own, entry);
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = append(own, entry, &error);
    if (status == DAYBOOK_ECONFLICT) {
        entry->actual = error.actual;
    } else if (status != DAYBOOK_OK) {
        fail("append: %s", error.message);
    }
    finish(entry, status == DAYBOOK_OK ? HISTORY_DONE : HISTORY_CONFLICT);
    note_beliefs(entry);
    return true;
}

static void *run_appender(void *context) {
    client *own = context;
    size_t count = atomic_load(&all->entry_counts[own->number]);
    const history_entry *last = count == 0 ? NULL : &all->entries[own->number][count - 1];
    // What the last process was killed in is asked for again, as a careful client does.
    bool goes_on = last == NULL || last->returned_ns != 0 || run_append(own, last);
    while (goes_on && !atomic_load(&all->is_over)) {
        count = atomic_load(&all->entry_counts[own->number]);
        last = count == 0 ? NULL : &all->entries[own->number][count - 1];
        bool repeats = last != NULL && last->outcome == HISTORY_DONE && random_below(&own->random, 20) == 0;
        goes_on = run_append(own, repeats ? last : NULL);
    }
    return NULL;
}

static bool run_read(client *own) {
    history_entry *entry = begin_entry(own);
    if (entry == NULL) return false;
    entry->kind = HISTORY_READ;
    entry->aggregate = random_below(&own->random, 8) == 0 ? HISTORY_ALL
                                                          : (uint32_t)random_below(&own->random, AGGREGATES);
    char subject[32];
    name_subject(entry->aggregate, subject);
    daybook_slice filter = daybook_text(subject);
    daybook_query query;
    daybook_query_init(&query);
    if (entry->aggregate != HISTORY_ALL) {
        query.filters = &filter;
        query.filter_count = 1;
    }
    daybook_error error;
    daybook_error_init(&error);
    invoke(own, entry);
    daybook_cursor *cursor;
    if (daybook_read(own->store, &query, &cursor, &error) != DAYBOOK_OK) fail("read: %s", error.message);
    daybook_recorded_event event = {.size = sizeof event};
    daybook_status status;
    while ((status = daybook_cursor_next(cursor, 0, &event, &error)) == DAYBOOK_OK) {
        entry->count++;
        entry->last_position = event.position;
        entry->hash = history_hash(entry->hash, event.position);
    }
    if (status != DAYBOOK_END) fail("read: %s", error.message);
    daybook_cursor_close(cursor);
    finish(entry, HISTORY_DONE);
    return true;
}

static void *run_reader(void *context) {
    client *own = context;
    while (!atomic_load(&all->is_over) && run_read(own)) (void)usleep(2000);
    return NULL;
}

static void *run_follower(void *context) {
    client *own = context;
    atomic_size_t *count = &all->followed_counts[own->number];
    size_t seen = atomic_load(count);
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    query.position_from = seen == 0 ? 0 : all->followed[own->number][seen - 1] + 1;
    daybook_error error;
    daybook_error_init(&error);
    daybook_cursor *cursor;
    if (daybook_read(own->store, &query, &cursor, &error) != DAYBOOK_OK) fail("follow: %s", error.message);
    daybook_recorded_event event = {.size = sizeof event};
    bool is_last = false;
    while (seen < FOLLOWED_MAX) {
        daybook_status status = daybook_cursor_next(cursor, is_last ? 0 : WAIT_MS, &event, &error);
        if (status == DAYBOOK_TIMEOUT && is_last) break;
        if (status != DAYBOOK_OK && status != DAYBOOK_TIMEOUT) fail("follow: %s", error.message);
        if (status == DAYBOOK_OK) {
            all->followed[own->number][seen++] = event.position;
            atomic_store(count, seen);
        } else if (atomic_load(&all->is_over)) { // drains what was acknowledged before now
            all->stopped_ns[own->number] = now_ns();
            is_last = true;
        }
    }
    daybook_cursor_close(cursor);
    return NULL;
}

// ---- Rounds -----------------------------------------------------------------------------------------------

static void run_round(uint64_t round) {
    daybook_store *store = open_store();
    client clients[CLIENTS + FOLLOWERS];
    for (unsigned i = 0; i < CLIENTS + FOLLOWERS; i++) {
        clients[i] = (client){.store = store, .number = i < CLIENTS ? i : i - CLIENTS};
        random_init(&clients[i].random, real_seed * 1000003 + round * 101 + i);
        void *(*run)(void *) = i < APPENDERS ? run_appender : i < CLIENTS ? run_reader : run_follower;
        if (pthread_create(&clients[i].thread, NULL, run, &clients[i]) != 0) fail("no thread");
    }
    for (unsigned i = 0; i < CLIENTS + FOLLOWERS; i++) (void)pthread_join(clients[i].thread, NULL);
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_close(store, &error) != DAYBOOK_OK) fail("close: %s", error.message);
}

static void play(double seconds, uint64_t *rounds_out) {
    random_source random;
    random_init(&random, real_seed);
    int64_t end_ns = now_ns() + (int64_t)(seconds * 1e9);
    for (uint64_t round = 1;; round++) {
        pid_t child = fork();
        if (child < 0) fail("no process");
        if (child == 0) {
            run_round(round);
            _exit(0);
        }
        bool is_last = now_ns() >= end_ns;
        (void)usleep((useconds_t)(20000 + random_below(&random, 500000)));
        if (is_last) {
            atomic_store(&all->is_over, true);
        } else {
            (void)kill(child, SIGKILL);
        }
        int state;
        (void)waitpid(child, &state, 0);
        if (WIFEXITED(state) ? WEXITSTATUS(state) != 0 : WTERMSIG(state) != SIGKILL)
            fail("round %" PRIu64 " ended with %d", round, state);
        *rounds_out = round;
        if (is_last) return;
    }
}

static size_t read_log(history_log_event *log) {
    daybook_store *store = open_store();
    daybook_error error;
    daybook_error_init(&error);
    daybook_query query;
    daybook_query_init(&query);
    daybook_cursor *cursor;
    if (daybook_read(store, &query, &cursor, &error) != DAYBOOK_OK) fail("read: %s", error.message);
    daybook_recorded_event event = {.size = sizeof event};
    size_t count = 0;
    daybook_status status;
    while (count < LOG_MAX && (status = daybook_cursor_next(cursor, 0, &event, &error)) == DAYBOOK_OK)
        log[count++] = to_log(&event);
    if (status != DAYBOOK_END) fail("read: %s", error.message);
    daybook_cursor_close(cursor);
    (void)daybook_close(store, NULL);
    return count;
}

static void check(uint64_t rounds) {
    history_log_event *log = calloc(LOG_MAX, sizeof *log);
    history_entry *entries = calloc((size_t)CLIENTS * ENTRIES_MAX, sizeof *entries);
    if (log == NULL || entries == NULL) fail("out of memory");
    history played = {.entries = entries, .log = log, .log_count = read_log(log)};
    size_t conflicts = 0, unknown = 0, reads = 0, retries = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        size_t count = atomic_load(&all->entry_counts[i]);
        memcpy(entries + played.entry_count, all->entries[i], count * sizeof *entries);
        played.entry_count += count;
    }
    for (size_t i = 0; i < played.entry_count; i++) {
        conflicts += entries[i].outcome == HISTORY_CONFLICT;
        unknown += entries[i].returned_ns == 0;
        reads += entries[i].kind == HISTORY_READ;
        retries += entries[i].is_retry;
    }
    history_follower followers[FOLLOWERS];
    for (unsigned i = 0; i < FOLLOWERS; i++)
        followers[i] =
            (history_follower){all->followed[i], atomic_load(&all->followed_counts[i]), all->stopped_ns[i]};
    played.followers = followers;
    played.follower_count = FOLLOWERS;
    char message[512];
    if (!history_check(&played, message, sizeof message)) fail("%s", message);
    if (conflicts == 0 || reads == 0 || retries == 0 || followers[0].count == 0)
        fail("the history is too poor to say anything");
    (void)printf("%" PRIu64
                 " processes, all but one killed: %zu operations (%zu reads, %zu conflicts, %zu retries, "
                 "%zu cut off), %zu events, followers saw %zu and %zu\n",
                 rounds, played.entry_count, reads, conflicts, retries, unknown, played.log_count,
                 followers[0].count, followers[1].count);
    free(entries);
    free(log);
}

int main(void) {
    const char *seconds = getenv("DAYBOOK_SECONDS");
    real_seed = number_from("DAYBOOK_SEED", (uint64_t)now_ns() % 1000000);
    (void)printf("seed %" PRIu64 "\n", real_seed);
    (void)fflush(stdout);
    all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED) fail("no memory");
    real_begin("history-test");
    add_streams();
    uint64_t rounds = 0;
    play(seconds != NULL ? strtod(seconds, NULL) : 6, &rounds);
    check(rounds);
    real_end();
    return 0;
}
