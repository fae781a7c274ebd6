// SPDX-License-Identifier: Apache-2.0
// Real processes killed at random under load. A child opens the store and writes from several threads; each
// acknowledgement goes into a pipe. The parent kills the child with SIGKILL at some moment, reads what was
// acknowledged, opens the store and compares. A writer has one operation in flight, the submitting one up to
// SUBMITTED_MAX; so beyond what was acknowledged only those may be there, each batch whole, and of submitted
// ones a prefix. The next child goes on where the last one ended.
//
// What operation n of a writer does follows from n alone:
//   n % 8 == 0   one event on w.<writer>.event without id; removed again by operation n + 7
//   n % 8 == 3   a put into a bucket, key <writer>
//   n % 8 == 5   a batch of six over two streams, with ids
//   n % 8 == 7   removal of the event of operation n - 7
//   else         one event with id
//
// Now and then the child is stopped for a while (SIGSTOP) before its end.
//
// DAYBOOK_SEED, DAYBOOK_CYCLES (default: as many as fit into DAYBOOK_SECONDS, default 20)
#define _DEFAULT_SOURCE // usleep

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daybook/daybook.h"
#include "lib/real_store.h"
#include "model/random.h"

enum {
    WRITER_COUNT = 6, // the last one submits
    SUBMITTER = WRITER_COUNT - 1,
    SUBMITTED_MAX = 32,
    BATCH = 6,
    FILLER_MAX = 1500,
    OPERATIONS_MAX = 200000,
    STORE_CYCLES = 40, // then a fresh store
};

// One acknowledgement; written in one piece.
typedef struct acknowledgement {
    uint32_t writer;
    int32_t status;
    uint64_t number, seq, position;
} acknowledgement;

typedef struct operation {
    bool acknowledged, found;
    uint32_t parts; // bit i: event i of the batch was found
    uint64_t seq, position;
} operation;

typedef struct writer {
    uint64_t next; // first operation not known to be done
    operation *operations;
} writer;

static writer writers[WRITER_COUNT];
#define DIRECTORY_NAME "kill-test"
static int acknowledgements = -1; // the child's end

static daybook_store *open_store(void) {
    daybook_open_options options;
    real_options(&options);
    options.lock_wait_ms = 5000;
    return real_open(&options);
}

// ---- The child -------------------------------------------------------------------------------------------

static size_t operation_size(uint64_t number) {
    return number % 8 == 5 ? BATCH : 1;
}

// "writer number part filler": everything that can be checked when it is read again.
static size_t make_data(unsigned index, uint64_t number, unsigned part, char data[FILLER_MAX + 64]) {
    int size = snprintf(data, 64, "%u %" PRIu64 " %u ", index, number, part);
    size_t filler = (size_t)((number * 7919 + part * 131 + index) % FILLER_MAX);
    memset(data + size, (int)('a' + number % 26), filler);
    return (size_t)size + filler;
}

typedef struct prepared {
    daybook_event events[BATCH];
    char subjects[BATCH][64], ids[BATCH][64], data[BATCH][FILLER_MAX + 64];
} prepared;

static void prepare(unsigned index, uint64_t number, prepared *made) {
    bool is_put = number % 8 == 3;
    for (unsigned i = 0; i < operation_size(number); i++) {
        daybook_event *event = &made->events[i];
        daybook_event_init(event);
        const char *stream = is_put ? "$KV.K" : i % 2 == 0 ? "w" : "b";
        (void)snprintf(made->subjects[i], sizeof made->subjects[i], "%s.%u%s", stream, index,
                       is_put ? "" : ".event");
        event->subject = daybook_text(made->subjects[i]);
        event->data = daybook_bytes(made->data[i], make_data(index, number, i, made->data[i]));
        if (number % 8 == 0) continue;
        (void)snprintf(made->ids[i], sizeof made->ids[i], "%u-%" PRIu64 "-%u", index, number, i);
        event->id = daybook_text(made->ids[i]);
    }
}

static void acknowledge(unsigned index, uint64_t number, daybook_status status,
                        const daybook_receipt *receipt) {
    acknowledgement told = {.writer = index, .status = status, .number = number};
    if (receipt != NULL) {
        told.seq = receipt->seq;
        told.position = receipt->position;
    }
    ssize_t written = write(acknowledgements, &told, sizeof told);
    if (written != (ssize_t)sizeof told) _exit(3);
}

typedef struct child {
    daybook_store *store;
    unsigned index;
    atomic_uint in_flight;
} child;

static daybook_status run_operation(child *of, uint64_t number, daybook_receipt *receipts) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status;
    if (number % 8 == 7) {
        uint64_t seq = writers[of->index].operations[number - 7].seq;
        if (seq == 0) return DAYBOOK_ENOTFOUND;
        status = daybook_event_remove(of->store, daybook_text("W"), seq, 0, &error);
    } else {
        prepared *made = malloc(sizeof *made);
        if (made == NULL) abort();
        prepare(of->index, number, made);
        status = daybook_append(of->store, made->events, operation_size(number), NULL, receipts, &error);
        free(made);
    }
    if (status != DAYBOOK_OK && status != DAYBOOK_ENOTFOUND)
        (void)fprintf(stderr, "writer %u operation %" PRIu64 ": %s %s\n", of->index, number,
                      daybook_status_name(status), error.message);
    return status;
}

static void *write_blocking(void *context) {
    child *of = context;
    writer *own = &writers[of->index];
    for (uint64_t number = own->next; number < OPERATIONS_MAX; number++) {
        daybook_receipt receipts[BATCH];
        memset(receipts, 0, sizeof receipts);
        for (size_t i = 0; i < BATCH; i++) receipts[i].size = sizeof *receipts;
        daybook_status status = run_operation(of, number, receipts);
        own->operations[number].seq = receipts[0].seq;
        acknowledge(of->index, number, status, receipts);
    }
    return NULL;
}

typedef struct submitted {
    child *of;
    uint64_t number;
    prepared made;
} submitted;

static void completed(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                      const daybook_error *error) {
    submitted *one = context;
    (void)count;
    if (status != DAYBOOK_OK)
        (void)fprintf(stderr, "submitted %" PRIu64 ": %s %s\n", one->number, daybook_status_name(status),
                      error == NULL ? "" : error->message);
    acknowledge(SUBMITTER, one->number, status, receipts);
    atomic_fetch_sub(&one->of->in_flight, 1);
    free(one);
}

// Never removes: operation n % 8 == 7 is one event more.
static void *write_submitting(void *context) {
    child *of = context;
    for (uint64_t number = writers[SUBMITTER].next; number < OPERATIONS_MAX; number++) {
        while (atomic_load(&of->in_flight) >= SUBMITTED_MAX) (void)usleep(50);
        submitted *one = malloc(sizeof *one);
        if (one == NULL) abort();
        one->of = of;
        one->number = number;
        prepare(SUBMITTER, number, &one->made);
        atomic_fetch_add(&of->in_flight, 1);
        daybook_error error;
        daybook_error_init(&error);
        daybook_status status = daybook_append_submit(of->store, one->made.events, operation_size(number),
                                                      NULL, completed, one, &error);
        if (status != DAYBOOK_OK) {
            (void)fprintf(stderr, "submit: %s\n", error.message);
            _exit(4);
        }
    }
    return NULL;
}

static void run_child(void) {
    static child children[WRITER_COUNT];
    daybook_store *store = open_store();
    pthread_t threads[WRITER_COUNT];
    for (unsigned i = 0; i < WRITER_COUNT; i++) {
        children[i].store = store;
        children[i].index = i;
        if (pthread_create(&threads[i], NULL, i == SUBMITTER ? write_submitting : write_blocking,
                           &children[i]) != 0)
            _exit(5);
    }
    for (unsigned i = 0; i < WRITER_COUNT; i++) (void)pthread_join(threads[i], NULL);
    _exit(0);
}

// ---- The parent ------------------------------------------------------------------------------------------

static void take(const acknowledgement *told) {
    operation *done = &writers[told->writer].operations[told->number];
    bool is_removal = told->number % 8 == 7 && told->writer != SUBMITTER;
    if (told->status != DAYBOOK_OK && !(is_removal && told->status == DAYBOOK_ENOTFOUND))
        fail("writer %u operation %" PRIu64 " gives %d", told->writer, told->number, told->status);
    done->acknowledged = true;
    done->seq = told->seq;
    done->position = told->position;
    if (told->number >= writers[told->writer].next) writers[told->writer].next = told->number + 1;
}

// Until the child is dead and the pipe empty.
static uint64_t read_acknowledgements(int pipe_end) {
    uint64_t count = 0;
    acknowledgement told[64];
    size_t held = 0;
    for (;;) {
        ssize_t size = read(pipe_end, (char *)told + held, sizeof told - held);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) fail("the pipe cannot be read");
        if (size == 0 && held > 0) fail("half an acknowledgement");
        if (size == 0) return count;
        held += (size_t)size;
        size_t whole = held / sizeof *told;
        for (size_t i = 0; i < whole; i++) take(&told[i]);
        count += whole;
        held -= whole * sizeof *told;
        memmove(told, (char *)told + whole * sizeof *told, held);
    }
}

typedef struct scan {
    uint64_t last_position, event_count;
    uint64_t puts[WRITER_COUNT];
} scan;

static void check_event(const daybook_recorded_event *event, scan *scanned) {
    unsigned index, part;
    uint64_t number;
    char text[FILLER_MAX + 64 + 1], expected[FILLER_MAX + 64];
    if (event->event.data.size >= sizeof text)
        fail("position %" PRIu64 " has %zu bytes", event->position, event->event.data.size);
    memcpy(text, event->event.data.data, event->event.data.size);
    text[event->event.data.size] = '\0';
    if (sscanf(text, "%u %" SCNu64 " %u ", &index, &number, &part) != 3 || index >= WRITER_COUNT ||
        part >= BATCH || number >= OPERATIONS_MAX)
        fail("position %" PRIu64 " holds something else: %.60s", event->position, text);
    size_t size = make_data(index, number, part, expected);
    if (size != event->event.data.size || memcmp(expected, text, size) != 0)
        fail("position %" PRIu64 " has other data", event->position);
    if (event->position <= scanned->last_position)
        fail("position %" PRIu64 " behind %" PRIu64, event->position, scanned->last_position);
    scanned->last_position = event->position;
    scanned->event_count++;
    operation *done = &writers[index].operations[number];
    if ((done->parts & 1u << part) != 0)
        fail("writer %u operation %" PRIu64 " part %u is there twice", index, number, part);
    done->parts |= 1u << part;
    done->found = true;
    if (done->acknowledged && part == 0 && (event->seq != done->seq || event->position != done->position))
        fail("writer %u operation %" PRIu64 ": acknowledged seq %" PRIu64 " position %" PRIu64
             ", stored %" PRIu64 " %" PRIu64,
             index, number, done->seq, done->position, event->seq, event->position);
    if (!done->acknowledged && part == 0) {
        done->seq = event->seq;
        done->position = event->position;
    }
    if (number % 8 == 3) scanned->puts[index] = number;
}

static void check_seqs(daybook_store *store, const char *name, bool removals) {
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text(name);
    daybook_cursor *cursor;
    if (daybook_read(store, &query, &cursor, NULL) != DAYBOOK_OK) fail("reading %s", name);
    daybook_recorded_event event;
    uint64_t seq = 0;
    while (daybook_cursor_next(cursor, 0, &event, NULL) == DAYBOOK_OK) {
        if (removals ? event.seq <= seq : event.seq != seq + 1)
            fail("%s: seq %" PRIu64 " behind %" PRIu64, name, event.seq, seq);
        seq = event.seq;
    }
    daybook_cursor_close(cursor);
}

// Which of a writer's operations must, may and must not be there.
static void check_writer(unsigned index, const scan *scanned) {
    writer *own = &writers[index];
    uint64_t in_flight = index == SUBMITTER ? SUBMITTED_MAX : 1;
    uint64_t reached = own->next; // operations below are acknowledged
    bool hole = false;
    for (uint64_t number = 0; number < own->next + SUBMITTED_MAX + 2 && number < OPERATIONS_MAX; number++) {
        operation *done = &own->operations[number];
        bool is_removal = number % 8 == 7 && index != SUBMITTER;
        uint32_t whole = (1u << operation_size(number)) - 1;
        if (done->parts != 0 && done->parts != whole && number % 8 != 3)
            fail("writer %u operation %" PRIu64 ": a batch in parts (%x)", index, number, done->parts);
        bool may_be_gone = index != SUBMITTER && number % 8 == 0 && number + 7 <= own->next;
        bool must_be_gone = index != SUBMITTER && number % 8 == 0 && own->operations[number + 7].acknowledged;
        if (done->found && must_be_gone)
            fail("writer %u: the removed event of operation %" PRIu64 " is back", index, number);
        if (number % 8 == 3 || is_removal) {
            if (number >= own->next && done->found) reached = number + 1;
            continue;
        }
        if (number < own->next && !done->found && !may_be_gone)
            fail("writer %u: acknowledged operation %" PRIu64 " is lost", index, number);
        if (number >= own->next + in_flight && done->found)
            fail("writer %u: operation %" PRIu64 " was never asked for", index, number);
        if (number >= own->next && !done->found) hole = true;
        if (number >= own->next && done->found) {
            if (hole) fail("writer %u: operation %" PRIu64 " survives one before it", index, number);
            reached = number + 1;
        }
    }
    // The bucket keeps one value: the last acknowledged or one in flight.
    uint64_t last_put = 0;
    for (uint64_t number = 3; number < own->next; number += 8) last_put = number;
    if (last_put > 0 && scanned->puts[index] < last_put)
        fail("writer %u: put %" PRIu64 " is lost, %" PRIu64 " is there", index, last_put,
             scanned->puts[index]);
    // What survived unacknowledged counts as done from now on, so that it stays.
    for (uint64_t number = own->next; number < reached; number++) own->operations[number].acknowledged = true;
    own->next = reached;
}

static void verify_store(uint64_t *event_count_out) {
    for (unsigned i = 0; i < WRITER_COUNT; i++) {
        for (uint64_t number = 0; number < OPERATIONS_MAX; number++) {
            if (!writers[i].operations[number].found && number > writers[i].next + 64) break;
            writers[i].operations[number].found = false;
            writers[i].operations[number].parts = 0;
        }
    }
    daybook_store *store = open_store();
    daybook_error error;
    daybook_error_init(&error);
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_INTERNAL;
    daybook_cursor *cursor;
    if (daybook_read(store, &query, &cursor, &error) != DAYBOOK_OK) fail("read: %s", error.message);
    scan scanned;
    memset(&scanned, 0, sizeof scanned);
    daybook_recorded_event event;
    daybook_status status;
    while ((status = daybook_cursor_next(cursor, 0, &event, &error)) == DAYBOOK_OK)
        check_event(&event, &scanned);
    if (status != DAYBOOK_END) fail("read: %s", error.message);
    daybook_cursor_close(cursor);
    for (unsigned i = 0; i < WRITER_COUNT; i++) check_writer(i, &scanned);
    check_seqs(store, "W", true);
    check_seqs(store, "B", false);
    *event_count_out = scanned.event_count;
    if (daybook_close(store, &error) != DAYBOOK_OK) fail("close: %s", error.message);
}

static void add_stream(daybook_store *store, const char *name, const char *subject) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    daybook_slice subjects = daybook_text(subject);
    config.name = daybook_text(name);
    config.subjects = &subjects;
    config.subject_count = 1;
    if (strncmp(name, "KV_", 3) == 0) {
        config.aggregate_tokens = 0;
        config.max_msgs_per_subject = 1;
        config.discard = DAYBOOK_DISCARD_NEW;
    }
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_stream_add(store, &config, &error) != DAYBOOK_OK) fail("stream: %s", error.message);
}

// A fresh store and fresh counts: what is checked after each kill stays small.
static void begin_store(void) {
    real_begin(DIRECTORY_NAME);
    for (unsigned i = 0; i < WRITER_COUNT; i++) {
        free(writers[i].operations);
        writers[i].next = 0;
        writers[i].operations = calloc(OPERATIONS_MAX + 64, sizeof(operation));
        if (writers[i].operations == NULL) abort();
    }
    daybook_store *store = open_store();
    add_stream(store, "W", "w.>");
    add_stream(store, "B", "b.>");
    add_stream(store, "KV_K", "$KV.K.>");
    if (daybook_close(store, NULL) != DAYBOOK_OK) fail("close");
}

static void end_store(void) {
    real_end();
}

static void pause_ms(uint64_t ms) {
    struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};
    (void)nanosleep(&pause, NULL);
}

// In a process of its own, because the parent must read the acknowledgements all the while.
static void kill_later(pid_t process, random_source *random) {
    // The first kills come while the store opens; long lives see flushes and merges.
    uint64_t life_ms = random_percent(random, 10)   ? random_below(random, 500)
                       : random_percent(random, 30) ? random_below(random, 15)
                                                    : random_below(random, 80) + 5;
    bool stops = random_percent(random, 3);
    uint64_t stopped_ms = random_below(random, 300);
    pause_ms(life_ms);
    if (stops) {
        (void)kill(process, SIGSTOP);
        pause_ms(stopped_ms);
        (void)kill(process, SIGCONT);
        pause_ms(stopped_ms / 4);
    }
    (void)kill(process, SIGKILL);
}

static uint64_t run_cycle(random_source *random) {
    int ends[2];
    if (pipe(ends) != 0) fail("no pipe");
    pid_t process = fork();
    if (process < 0) fail("no process");
    if (process == 0) {
        (void)close(ends[0]);
        acknowledgements = ends[1];
        run_child();
    }
    (void)close(ends[1]);
    random_source schedule = {.state = random_next(random)};
    pid_t killer = fork();
    if (killer < 0) fail("no process");
    if (killer == 0) {
        (void)close(ends[0]);
        kill_later(process, &schedule);
        _exit(0);
    }
    uint64_t acknowledged = read_acknowledgements(ends[0]);
    (void)close(ends[0]);
    int how;
    (void)waitpid(killer, NULL, 0);
    if (waitpid(process, &how, 0) != process) fail("the child is gone");
    if (!WIFSIGNALED(how) || WTERMSIG(how) != SIGKILL) fail("the child ended by itself: %x", (unsigned)how);
    return acknowledged;
}

int main(void) {
    real_seed = number_from("DAYBOOK_SEED", (uint64_t)time(NULL));
    uint64_t cycles = number_from("DAYBOOK_CYCLES", 0), seconds = number_from("DAYBOOK_SECONDS", 20);
    random_source random;
    random_init(&random, real_seed);
    printf("seed %" PRIu64 "\n", real_seed);
    (void)fflush(stdout);
    uint64_t done = 0, acknowledged = 0, event_count = 0, stored = 0;
    time_t end = time(NULL) + (time_t)seconds;
    for (; cycles > 0 ? done < cycles : time(NULL) < end; done++) {
        if (done % STORE_CYCLES == 0) {
            if (done > 0) end_store();
            stored += event_count;
            event_count = 0;
            begin_store();
        }
        acknowledged += run_cycle(&random);
        verify_store(&event_count);
    }
    printf("kill: %" PRIu64 " kills, %" PRIu64 " acknowledged, %" PRIu64 " events stored, none lost\n", done,
           acknowledged, stored + event_count);
    end_store();
    return 0;
}
