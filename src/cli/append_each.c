// SPDX-License-Identifier: Apache-2.0
//
// `append --batch FILE --each`: every line is an append of its own. Two threads:
//
//   main      reads a line, parses it, submits it, goes on reading
//   printer   prints acknowledgements in order of lines, each as soon as it and all before it are durable
//
// between them a ring of slots, one per line under way, filled by the library's completion. Completions only
// mark their slot, so the commit thread never waits for a slow reader of standard output. The ring and a
// bound on bytes keep a fast producer from filling memory.
//
// The first error ends it: main stops reading (woken through a pipe where it waits for input), everything
// under way is awaited, acknowledgements end before the failed line, and the error names that line. The lines
// are one chain, so nothing behind it is stored; nothing is submitted after a line that could not be parsed.

#include "cli/append.h"
#include "cli/ndjson.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOT_COUNT 16384u
#define UNDER_WAY_BYTES_MAX (64u << 20)

typedef struct slot {
    struct each *work;
    uint64_t line;
    size_t bytes;
    daybook_receipt receipt;
    daybook_status status;
    daybook_error *error; // of a failed one; NULL where there was no memory for it
    char id[DAYBOOK_TEXT_SIZE_MAX + 1];
    size_t id_size;
    int done;
} slot;

typedef struct each {
    cli_context *context;
    const char *file;
    slot *slots;
    int wake[2]; // printer -> main

    pthread_mutex_t lock;
    pthread_cond_t printable; // the slot at head is done, or input ended
    pthread_cond_t room;
    // Guarded by lock.
    uint64_t head; // next to print
    uint64_t tail; // next to submit
    size_t bytes;  // of the slots between
    int input_ended;
    int stopped; // an append failed, or nobody reads the acknowledgements

    // Owned by the printer until joined.
    uint64_t acknowledged; // lines printed
    slot failed;           // copy of the first failed slot; line 0: none

    daybook_append_chain chain; // the library's while anything is under way
} each;

static slot *slot_at(each *work, uint64_t index) {
    return &work->slots[index % SLOT_COUNT];
}

// Called by the library's commit thread.
static void complete(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                     const daybook_error *error) {
    slot *done = context;
    each *work = done->work;
    if (count != 0) done->receipt = receipts[0];
    if (status != DAYBOOK_OK && error != NULL) {
        done->error = malloc(sizeof *done->error);
        if (done->error != NULL) *done->error = *error;
    }
    (void)pthread_mutex_lock(&work->lock);
    done->status = status;
    done->done = 1;
    if (done == slot_at(work, work->head)) (void)pthread_cond_signal(&work->printable);
    (void)pthread_mutex_unlock(&work->lock);
}

// --- The printer ---

// Waits for finished slots at the head; [head, end). 0 where all is done.
static int wait_finished(each *work, uint64_t *begin_out, uint64_t *end_out) {
    (void)pthread_mutex_lock(&work->lock);
    while (!(work->head < work->tail && slot_at(work, work->head)->done) &&
           !(work->head == work->tail && work->input_ended))
        (void)pthread_cond_wait(&work->printable, &work->lock);
    uint64_t end = work->head;
    while (end < work->tail && slot_at(work, end)->done) end++;
    *begin_out = work->head;
    *end_out = end;
    (void)pthread_mutex_unlock(&work->lock);
    return end != *begin_out;
}

static void stop(each *work) {
    (void)pthread_mutex_lock(&work->lock);
    work->stopped = 1;
    (void)pthread_cond_signal(&work->room);
    (void)pthread_mutex_unlock(&work->lock);
    // Full pipe: it is awake already.
    while (write(work->wake[1], "", 1) < 0 && errno == EINTR) {
    }
}

static void print_slot(each *work, slot *done) {
    if (work->failed.line != 0) {
        free(done->error);
    } else if (done->status != DAYBOOK_OK) {
        cli_note_stream(work->context, &done->receipt);
        work->failed = *done;
        stop(work);
    } else {
        cli_note_stream(work->context, &done->receipt);
        cli_put_receipt(work->context, work->context->out, &done->receipt,
                        daybook_bytes(done->id, done->id_size));
        work->acknowledged++;
    }
}

static void free_slots(each *work, uint64_t begin, uint64_t end) {
    (void)pthread_mutex_lock(&work->lock);
    for (; begin < end; begin++) {
        slot_at(work, begin)->done = 0;
        work->bytes -= slot_at(work, begin)->bytes;
    }
    work->head = end;
    (void)pthread_cond_signal(&work->room);
    (void)pthread_mutex_unlock(&work->lock);
}

static void *print_all(void *context) {
    each *work = context;
    uint64_t begin, end;
    int output_failed = 0;
    while (wait_finished(work, &begin, &end)) {
        for (uint64_t i = begin; i < end; i++) print_slot(work, slot_at(work, i));
        int failed = cli_output_flush(work->context->out) != 0;
        if (failed && !output_failed) stop(work);
        output_failed = failed;
        free_slots(work, begin, end);
    }
    return NULL;
}

// --- Main ---

// A free slot; NULL where it stopped.
static slot *take_slot(each *work, size_t bytes) {
    (void)pthread_mutex_lock(&work->lock);
    while (!work->stopped && work->head != work->tail &&
           (work->tail - work->head == SLOT_COUNT || work->bytes + bytes > UNDER_WAY_BYTES_MAX))
        (void)pthread_cond_wait(&work->room, &work->lock);
    slot *taken = work->stopped ? NULL : slot_at(work, work->tail);
    if (taken != NULL) {
        // It counts as under way before the library has it: the completion may come first.
        work->tail++;
        work->bytes += bytes;
    }
    (void)pthread_mutex_unlock(&work->lock);
    return taken;
}

// The library did not take the line: finish its slot here, so that the printer reports it in order.
static void refuse(slot *refused, daybook_status status, const daybook_error *error) {
    complete(refused, status, NULL, 0, error);
}

static int submit(each *work, const daybook_event *event, uint64_t line, size_t bytes) {
    slot *taken = take_slot(work, bytes);
    if (taken == NULL) return 0;
    taken->line = line;
    taken->bytes = bytes;
    taken->error = NULL;
    taken->receipt = (daybook_receipt){.size = sizeof taken->receipt};
    taken->id_size = event->id.size <= DAYBOOK_TEXT_SIZE_MAX ? event->id.size : 0;
    if (taken->id_size != 0) memcpy(taken->id, event->id.data, taken->id_size);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = !work->context->no_create;
    options.chain = &work->chain;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status =
        daybook_append_submit(work->context->store, event, 1, &options, complete, taken, &error);
    if (status == DAYBOOK_OK) return 1;
    refuse(taken, status, &error);
    return 0;
}

static int is_blank(daybook_slice line) {
    const char *text = line.data;
    for (size_t i = 0; i < line.size; i++)
        if (text[i] != ' ' && text[i] != '\t') return 0;
    return 1;
}

// What ended the reading, besides a failed append.
typedef struct input_fault {
    uint64_t line;
    size_t column;
    int failed_errno;
    char message[256];
} input_fault;

static void submit_lines(each *work, cli_line_reader *reader, cli_ndjson *parser, input_fault *fault) {
    daybook_slice line;
    int more;
    while ((more = cli_line_reader_next(reader, &line)) == 1) {
        if (is_blank(line)) continue;
        daybook_status status = cli_ndjson_parse(parser, line);
        if (status != DAYBOOK_OK) {
            fault->line = reader->line_number;
            fault->column = parser->column;
            fault->failed_errno = status == DAYBOOK_ENOMEM ? ENOMEM : 0;
            (void)snprintf(fault->message, sizeof fault->message, "%s", parser->message);
            return;
        }
        if (!submit(work, &parser->event, reader->line_number, line.size)) return;
    }
    if (more < 0 && reader->failed_errno != ECANCELED) {
        fault->failed_errno = reader->failed_errno;
        fault->line = reader->line_number;
    }
}

static int report_failed_append(each *work) {
    char about[40];
    slot *failed = &work->failed;
    (void)snprintf(about, sizeof about, "line %llu", (unsigned long long)failed->line);
    daybook_error none;
    daybook_error_init(&none);
    const daybook_error *error = failed->error != NULL ? failed->error : &none;
    int status;
    if (failed->status == DAYBOOK_EINVALID || failed->status == DAYBOOK_ESUBJECT)
        status =
            cli_fail_input(work->context, work->file, failed->line, 0, "%s; %llu lines before it are stored",
                           error->message[0] != '\0' ? error->message : daybook_status_text(failed->status),
                           (unsigned long long)work->acknowledged);
    else
        status = cli_fail_error(work->context, failed->status, error, about);
    free(failed->error);
    return status;
}

static int report(each *work, const input_fault *fault) {
    if (work->failed.line != 0) return report_failed_append(work);
    if (fault->failed_errno == EFBIG)
        return cli_fail_input(work->context, work->file, fault->line, 0,
                              "the line is longer than %u bytes; %llu lines before it are stored",
                              CLI_LINE_SIZE_MAX, (unsigned long long)work->acknowledged);
    if (fault->failed_errno != 0)
        return cli_fail(work->context, fault->failed_errno == ENOMEM ? DAYBOOK_ENOMEM : DAYBOOK_EIO,
                        "cannot read %s behind line %llu: %s; %llu lines before it are stored", work->file,
                        (unsigned long long)fault->line, strerror(fault->failed_errno),
                        (unsigned long long)work->acknowledged);
    if (fault->line != 0)
        return cli_fail_input(work->context, work->file, fault->line, fault->column,
                              "%s; %llu lines before it are stored", fault->message,
                              (unsigned long long)work->acknowledged);
    return CLI_FINE; // also where the output failed: main says so
}

static int append_lines(each *work, const cli_input *input) {
    pthread_t printer;
    int failed = pthread_create(&printer, NULL, print_all, work);
    if (failed != 0)
        return cli_fail(work->context, DAYBOOK_EIO, "cannot start a thread: %s; nothing was appended",
                        strerror(failed));
    cli_line_reader reader;
    cli_ndjson parser;
    input_fault fault = {.line = 0};
    cli_line_reader_init(&reader, input->descriptor, CLI_LINE_SIZE_MAX);
    reader.input = input;
    reader.wake_descriptor = work->wake[0];
    cli_ndjson_init(&parser, work->context->now_ns);
    submit_lines(work, &reader, &parser, &fault);
    (void)pthread_mutex_lock(&work->lock);
    work->input_ended = 1;
    (void)pthread_cond_signal(&work->printable);
    (void)pthread_mutex_unlock(&work->lock);
    (void)pthread_join(printer, NULL);
    cli_ndjson_deinit(&parser);
    cli_line_reader_deinit(&reader);
    return report(work, &fault);
}

static int open_wake(each *work) {
    if (pipe(work->wake) != 0)
        return cli_fail(work->context, DAYBOOK_EMFILE, "cannot make a pipe: %s; nothing was appended",
                        strerror(errno));
    for (int i = 0; i < 2; i++) (void)fcntl(work->wake[i], F_SETFD, FD_CLOEXEC);
    return CLI_FINE;
}

int cli_run_append_each(cli_context *context) {
    each work = {.context = context, .file = cli_text(context, "batch"), .wake = {-1, -1}};
    cli_input input = {.descriptor = -1};
    (void)pthread_mutex_init(&work.lock, NULL);
    (void)pthread_cond_init(&work.printable, NULL);
    (void)pthread_cond_init(&work.room, NULL);
    int status = cli_open_input(context, work.file, &input);
    if (status == CLI_FINE) status = cli_open_store(context, CLI_CREATE);
    if (status == CLI_FINE) status = open_wake(&work);
    if (status == CLI_FINE) {
        work.slots = calloc(SLOT_COUNT, sizeof *work.slots);
        if (work.slots == NULL)
            status = cli_fail(context, DAYBOOK_ENOMEM, "out of memory; nothing was appended");
    }
    if (status == CLI_FINE) {
        for (size_t i = 0; i < SLOT_COUNT; i++) work.slots[i].work = &work;
        status = append_lines(&work, &input);
    }
    for (int i = 0; i < 2; i++)
        if (work.wake[i] >= 0) (void)close(work.wake[i]);
    cli_input_close(&input);
    free(work.slots);
    (void)pthread_mutex_destroy(&work.lock);
    (void)pthread_cond_destroy(&work.printable);
    (void)pthread_cond_destroy(&work.room);
    return status;
}
