// SPDX-License-Identifier: Apache-2.0
// A store driven from outside, one command per line of standard input, one line of answer each: for tests
// that change the world under a living process. An answer is "<status name> <number> <message>".
//
//   open PATH rw|ro|sync [JOURNAL_MIB] [MEMTABLE_KIB]   sync: without background threads
//   append COUNT BYTES [WRITERS]   COUNT events by each of WRITERS threads, one by one, until one is refused;
//                                  the number says how many were acknowledged
//   batch COUNT BYTES              the same, in one atomic call
//   purge KEEP | delete SEQ | remove                of the stream of writer 0
//   flush | maintain | close
//   read                           all events, compared with what they must be; the number is their count.
//                                  "BROKEN" where one is wrong or missing between others
//   acknowledged                   the number is the last one of writer 0 that was acknowledged
//   purged                         the number is the last one of writer 0 whose removal was acknowledged
//   expect ACKNOWLEDGED PURGED     as another driver was told
//
// Events are numbered by their writer, from 1 on without gap; subject and content follow from both. A refused
// number is tried again by the next append; one that is in doubt (EUNCERTAIN) is not.
//
// DAYBOOK_TRACE: the store's log goes to standard error.
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daybook/daybook.h"

enum { WRITER_COUNT_MAX = 8, BYTES_MAX = 1 << 16, LINE_SIZE = 4096, BATCH_MAX = 512 };

typedef struct writer {
    unsigned number;
    uint64_t next; // event number
    uint64_t count;
    uint64_t bytes;
    uint64_t acknowledged; // in the last command
    uint64_t last_acknowledged;
    uint64_t purged; // all up to here
    daybook_status status;
    daybook_error error;
} writer;

static daybook_store *store;
static writer writers[WRITER_COUNT_MAX];

static void answer(const char *status, uint64_t number, const char *message) {
    printf("%s %" PRIu64 " %s\n", status, number, message);
    (void)fflush(stdout);
}

static void answer_status(daybook_status status, uint64_t number, const daybook_error *error) {
    answer(daybook_status_name(status), number, status == DAYBOOK_OK ? "" : error->message);
}

// ---- Events ---------------------------------------------------------------------------------------------

// Letters nobody can compress much, the same for the same event.
static size_t make_content(unsigned writer_number, uint64_t event_number, uint64_t bytes, char *content) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    int size = snprintf(content, 64, "%u:%" PRIu64 ":%" PRIu64 ":", writer_number, event_number, bytes);
    uint64_t state = (event_number + 1) * UINT64_C(0x9e3779b97f4a7c15) + writer_number;
    size_t at = (size_t)size;
    for (; at < bytes; at++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content[at] = letters[state >> 58];
    }
    return at;
}

static void make_event(unsigned writer_number, uint64_t event_number, uint64_t bytes, char *subject,
                       char *content, daybook_event *event) {
    daybook_event_init(event);
    (void)snprintf(subject, 64, "w%u.%" PRIu64 ".event", writer_number, event_number % 100);
    event->subject = daybook_text(subject);
    event->data = daybook_bytes(content, make_content(writer_number, event_number, bytes, content));
}

static void *append_all(void *context) {
    writer *self = context;
    char subject[64];
    char *content = malloc(BYTES_MAX + 64);
    if (content == NULL) abort();
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    self->acknowledged = 0;
    self->status = DAYBOOK_OK;
    daybook_error_init(&self->error);
    for (uint64_t i = 0; i < self->count && self->status == DAYBOOK_OK; i++) {
        daybook_event event;
        make_event(self->number, self->next, self->bytes, subject, content, &event);
        self->status = daybook_append(store, &event, 1, &options, NULL, &self->error);
        if (self->status == DAYBOOK_OK) {
            self->acknowledged++;
            self->last_acknowledged = self->next;
        }
        if (self->status == DAYBOOK_OK || self->status == DAYBOOK_EUNCERTAIN) self->next++;
    }
    free(content);
    return NULL;
}

static void run_append(uint64_t count, uint64_t bytes, unsigned writer_count) {
    pthread_t threads[WRITER_COUNT_MAX];
    for (unsigned i = 0; i < writer_count; i++) {
        writers[i].count = count;
        writers[i].bytes = bytes < BYTES_MAX ? bytes : BYTES_MAX;
        if (i > 0 && pthread_create(&threads[i], NULL, append_all, &writers[i]) != 0) abort();
    }
    (void)append_all(&writers[0]);
    uint64_t acknowledged = writers[0].acknowledged;
    const writer *told = &writers[0];
    for (unsigned i = 1; i < writer_count; i++) {
        (void)pthread_join(threads[i], NULL);
        acknowledged += writers[i].acknowledged;
        if (told->status == DAYBOOK_OK || writers[i].status == DAYBOOK_EUNCERTAIN) told = &writers[i];
    }
    answer_status(told->status, acknowledged, &told->error);
}

static void run_batch(uint64_t count, uint64_t bytes) {
    writer *self = &writers[0];
    daybook_event events[BATCH_MAX];
    char(*subjects)[64] = malloc(BATCH_MAX * sizeof *subjects);
    char *contents = malloc(count * (bytes + 64));
    if (subjects == NULL || contents == NULL || count > BATCH_MAX) abort();
    for (uint64_t i = 0; i < count; i++) {
        make_event(0, self->next + i, bytes, subjects[i], contents + i * (bytes + 64), &events[i]);
    }
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    daybook_error_init(&self->error);
    daybook_status status = daybook_append(store, events, count, &options, NULL, &self->error);
    if (status == DAYBOOK_OK || status == DAYBOOK_EUNCERTAIN) self->next += count;
    if (status == DAYBOOK_OK) self->last_acknowledged = self->next - 1;
    answer_status(status, status == DAYBOOK_OK ? count : 0, &self->error);
    free(subjects);
    free(contents);
}

// ---- Reading --------------------------------------------------------------------------------------------

// What is wrong with the event, NULL when nothing is. Moves the writer's last number on.
static const char *check_event(const daybook_event *event, uint64_t *last_of) {
    static char content[BYTES_MAX + 64];
    unsigned writer_number = 0;
    uint64_t number = 0;
    uint64_t bytes = 0;
    char head[64] = {0};
    memcpy(head, event->data.data, event->data.size < 63 ? event->data.size : 63);
    if (sscanf(head, "%u:%" SCNu64 ":%" SCNu64 ":", &writer_number, &number, &bytes) != 3 ||
        writer_number >= WRITER_COUNT_MAX || bytes > BYTES_MAX) {
        return "content of nobody";
    }
    size_t size = make_content(writer_number, number, bytes, content);
    if (size != event->data.size || memcmp(content, event->data.data, size) != 0) return "content is changed";
    if (number <= writers[writer_number].purged) return "removed event is back";
    uint64_t last = last_of[writer_number];
    if (last != 0 && number != last + 1) return number <= last ? "number comes again" : "number is missing";
    last_of[writer_number] = number;
    return NULL;
}

static void run_read(void) {
    uint64_t last_of[WRITER_COUNT_MAX] = {0};
    daybook_query query;
    daybook_query_init(&query);
    daybook_cursor *cursor = NULL;
    daybook_error error;
    daybook_error_init(&error);
    uint64_t count = 0;
    const char *broken = NULL;
    daybook_recorded_event event;
    daybook_status status = daybook_read(store, &query, &cursor, &error);
    while (status == DAYBOOK_OK && broken == NULL) {
        status = daybook_cursor_next(cursor, 0, &event, &error);
        if (status != DAYBOOK_OK) break;
        count++;
        broken = check_event(&event.event, last_of);
    }
    daybook_cursor_close(cursor);
    for (unsigned i = 0; broken == NULL && status == DAYBOOK_END && i < WRITER_COUNT_MAX; i++) {
        if (last_of[i] < writers[i].last_acknowledged && writers[i].purged < writers[i].last_acknowledged)
            broken = "acknowledged event is gone";
        // One in doubt may have vanished: its number is free again.
        if (last_of[i] > 0) writers[i].next = last_of[i] + 1;
    }
    if (broken != NULL) {
        answer("BROKEN", count, broken);
    } else {
        answer_status(status == DAYBOOK_END ? DAYBOOK_OK : status, count, &error);
    }
}

// ---- Commands -------------------------------------------------------------------------------------------

static void print_log(void *context, int level, daybook_slice message) {
    (void)context;
    (void)fprintf(stderr, "log %d: %.*s\n", level, (int)message.size, (const char *)message.data);
}

static void run_open(char *arguments) {
    char path[LINE_SIZE];
    char mode[8];
    unsigned journal_mib = 0;
    unsigned memtable_kib = 0;
    if (sscanf(arguments, "%4095s %7s %u %u", path, mode, &journal_mib, &memtable_kib) < 2) abort();
    daybook_open_options options;
    daybook_open_options_init(&options);
    if (getenv("DAYBOOK_TRACE") != NULL) options.log = print_log;
    if (strcmp(mode, "ro") == 0) options.flags = DAYBOOK_OPEN_READ_ONLY;
    if (strcmp(mode, "sync") == 0) options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    if (journal_mib > 0) options.journal_max_bytes = (uint64_t)journal_mib << 20;
    if (memtable_kib > 0) options.memtable_bytes = (uint64_t)memtable_kib << 10;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_open(path, &options, &store, &error);
    for (unsigned i = 0; i < WRITER_COUNT_MAX; i++) {
        writers[i].number = i;
        if (writers[i].next == 0) writers[i].next = 1;
    }
    answer_status(status, 0, &error);
}

static void run_purge(uint64_t keep) {
    daybook_purge_options options;
    daybook_purge_options_init(&options);
    options.keep = keep;
    uint64_t removed = 0;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_stream_purge(store, daybook_text("W0"), &options, &removed, &error);
    writer *self = &writers[0];
    if (status == DAYBOOK_OK && self->last_acknowledged > keep) self->purged = self->last_acknowledged - keep;
    answer_status(status, removed, &error);
}

static void run_command(const char *command, char *arguments) {
    uint64_t numbers[3] = {0, 0, 1};
    daybook_error error;
    daybook_error_init(&error);
    (void)sscanf(arguments, "%" SCNu64 " %" SCNu64 " %" SCNu64, &numbers[0], &numbers[1], &numbers[2]);
    if (strcmp(command, "open") == 0) {
        run_open(arguments);
    } else if (strcmp(command, "acknowledged") == 0) {
        answer("OK", writers[0].last_acknowledged, "");
    } else if (strcmp(command, "purged") == 0) {
        answer("OK", writers[0].purged, "");
    } else if (strcmp(command, "expect") == 0) {
        writers[0].last_acknowledged = numbers[0];
        writers[0].purged = numbers[1];
        writers[0].next = numbers[0] + 1;
        answer("OK", 0, "");
    } else if (store == NULL) {
        answer("EMISUSE", 0, "no store is open");
    } else if (strcmp(command, "append") == 0) {
        run_append(numbers[0], numbers[1], (unsigned)numbers[2]);
    } else if (strcmp(command, "batch") == 0) {
        run_batch(numbers[0], numbers[1]);
    } else if (strcmp(command, "purge") == 0) {
        run_purge(numbers[0]);
    } else if (strcmp(command, "delete") == 0) {
        answer_status(daybook_event_remove(store, daybook_text("W0"), numbers[0], 0, &error), 0, &error);
    } else if (strcmp(command, "remove") == 0) {
        daybook_status status = daybook_stream_remove(store, daybook_text("W0"), &error);
        if (status == DAYBOOK_OK) writers[0].purged = writers[0].last_acknowledged;
        answer_status(status, 0, &error);
    } else if (strcmp(command, "flush") == 0) {
        answer_status(daybook_flush(store, &error), 0, &error);
    } else if (strcmp(command, "maintain") == 0) {
        answer_status(daybook_maintain(store, &error), 0, &error);
    } else if (strcmp(command, "read") == 0) {
        run_read();
    } else if (strcmp(command, "close") == 0) {
        daybook_status status = daybook_close(store, &error);
        store = NULL;
        answer_status(status, 0, &error);
    } else {
        answer("EMISUSE", 0, command);
    }
}

int main(void) {
    char line[LINE_SIZE];
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *end = strchr(line, '\n');
        if (end != NULL) *end = '\0';
        char *arguments = strchr(line, ' ');
        if (arguments != NULL) *arguments++ = '\0';
        run_command(line, arguments != NULL ? arguments : line + strlen(line));
    }
    if (store != NULL) (void)daybook_close(store, NULL);
    return 0;
}
