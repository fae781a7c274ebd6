// SPDX-License-Identifier: Apache-2.0
// Makes the golden store of this format in an absent directory: the workload of tests/sim without what only
// fills the journal, left as a killed process leaves it. The clock and all randomness are simulated, so that
// the same program makes the same bytes. Behind the workload: segments with deletion files, consumers in the
// middle of their work, a work queue, a machine's history, a chain of causes. Called by tools/make-golden.
#include <stdio.h>
#include <string.h>

#include "daybook/consumer.h"
#include "daybook/machine.h"
#include "daybook/snapshot.h"
#include "sim/golden.h"
#include "sim/workload.h"

static void must(workload *work, daybook_status status, const char *what) {
    if (status != DAYBOOK_OK) workload_fail(work, "golden", "%s: %s", what, daybook_status_name(status));
}

// A second segment, deletion files beside both, and events in the journal.
static void add_segment(workload *work) {
    for (unsigned i = 100; i < 140; i++) must(work, workload_append_after(work, i), "append");
    must(work, daybook_flush(work->store, &work->error), "flush");
    must(work, daybook_event_remove(work->store, daybook_text("AFTER"), 7, 0, &work->error), "delete");
    must(work, daybook_event_remove(work->store, daybook_text("ORDERS"), 24, 0, &work->error), "delete");
    for (unsigned i = 140; i < 150; i++) must(work, workload_append_after(work, i), "append");
    must(work, daybook_flush(work->store, &work->error), "flush");
    for (unsigned i = 150; i < 160; i++) must(work, workload_append_after(work, i), "append");
    must(work, daybook_event_remove(work->store, daybook_text("AFTER"), 9, 0, &work->error), "delete");
    must(work, daybook_event_remove(work->store, daybook_text("AFTER"), 55, 0, &work->error), "delete");
}

// ---- Consumers --------------------------------------------------------------------------------------------

static const int64_t for_years_ns = INT64_C(1000000000) * 3600 * 24 * 365 * 50;

static daybook_consumer *add_consumer(workload *work, const char *stream, const char *name) {
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text(name);
    config.description = daybook_text("of the golden store");
    config.ack_wait_ns = for_years_ns; // what is in flight stays so
    config.max_deliver = 5;
    daybook_consumer *consumer = NULL;
    must(work, daybook_consumer_add(work->store, daybook_text(stream), &config, &consumer, &work->error),
         "consumer");
    return consumer;
}

static size_t take(workload *work, daybook_consumer *consumer, size_t count, uint64_t *seqs_out) {
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.count = count;
    options.timeout_ms = 0;
    daybook_batch *batch = NULL;
    must(work, daybook_consumer_fetch(consumer, &options, &batch, &work->error), "fetch");
    size_t taken = batch->count;
    for (size_t i = 0; i < taken; i++) seqs_out[i] = batch->messages[i].event.seq;
    daybook_batch_release(batch);
    return taken;
}

enum { TAKEN = 8 };

// Every kind of answer, one of them committed with what the message caused; the last are in flight.
static void consume(workload *work, daybook_consumer *consumer) {
    uint64_t seqs[TAKEN];
    if (take(work, consumer, TAKEN, seqs) != TAKEN) workload_fail(work, "golden", "too few messages");
    must(work, daybook_consumer_nak(consumer, seqs[0], 0, &work->error), "nak");
    must(work, daybook_consumer_nak(consumer, seqs[1], for_years_ns, &work->error), "nak");
    must(work, daybook_consumer_term(consumer, seqs[2], daybook_text("for good"), &work->error), "term");
    must(work, daybook_consumer_ack(consumer, seqs[3], 0, &work->error), "ack");
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("caused.1.done");
    event.id = daybook_text("caused-1");
    event.causation = daybook_text("after-the-crash-104");
    event.correlation = daybook_text("the-work");
    daybook_append_ack ack = {.size = sizeof ack, .consumer = consumer, .seq = seqs[4]};
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    options.acks = &ack;
    options.ack_count = 1;
    must(work, daybook_append(work->store, &event, 1, &options, NULL, &work->error), "append");
    must(work, daybook_consumer_ack(consumer, seqs[5], DAYBOOK_ACK_CONFIRMED, &work->error), "ack");
}

// Of six jobs one is done and gone, two are being worked on.
static void add_work_queue(workload *work) {
    daybook_slice subject = daybook_text("jobs.>");
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text("JOBS");
    config.subjects = &subject;
    config.subject_count = 1;
    config.retention = DAYBOOK_RETENTION_WORKQUEUE;
    must(work, daybook_stream_add(work->store, &config, &work->error), "stream");
    daybook_consumer *consumer = add_consumer(work, "JOBS", "worker");
    for (unsigned i = 1; i <= 6; i++) {
        char subject_of_job[32];
        (void)snprintf(subject_of_job, sizeof subject_of_job, "jobs.%u.asked", i);
        daybook_event event;
        daybook_event_init(&event);
        event.subject = daybook_text(subject_of_job);
        event.actor = daybook_text("ada");
        must(work, daybook_append(work->store, &event, 1, NULL, NULL, &work->error), "append");
    }
    uint64_t seqs[3];
    if (take(work, consumer, 3, seqs) != 3) workload_fail(work, "golden", "too few jobs");
    must(work, daybook_consumer_ack(consumer, seqs[0], DAYBOOK_ACK_CONFIRMED, &work->error), "ack");
    daybook_consumer_close(consumer);
}

// ---- A machine --------------------------------------------------------------------------------------------

// As issue.json beside this file has it.
static void add_machine(workload *work) {
    static const daybook_transition ways[] = {
        {DAYBOOK_TEXT("open"), DAYBOOK_TEXT("begun"), {NULL, 0}, {NULL, 0}},
        {DAYBOOK_TEXT("begun"), DAYBOOK_TEXT("closed"), {NULL, 0}, {NULL, 0}},
        {DAYBOOK_TEXT("closed"), DAYBOOK_TEXT("open"), {NULL, 0}, {NULL, 0}}};
    daybook_machine_config config;
    daybook_machine_config_init(&config);
    config.name = daybook_text("issue");
    config.category = daybook_text("issues");
    config.initial = ways[0].from;
    config.transitions = ways;
    config.transition_count = sizeof ways / sizeof *ways;
    daybook_machine *machine = NULL;
    must(work, daybook_machine_new(&config, &machine, &work->error), "machine");
    for (size_t i = 0; i < 4; i++) {
        const daybook_transition *way = &ways[i % config.transition_count];
        daybook_move_options options;
        daybook_move_options_init(&options);
        options.auto_stream = 1;
        must(work,
             daybook_machine_move(machine, daybook_store_engine(work->store), daybook_text("9"), way->from,
                                  way->to, &options, NULL, &work->error),
             "move");
    }
    daybook_machine_free(machine);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        (void)fprintf(stderr, "usage: make_golden DIRECTORY\n");
        return 2;
    }
    dbk_sim *sim = NULL;
    if (dbk_sim_new(1, &sim) != DAYBOOK_OK) return 1;
    workload work;
    workload_init(&work, sim);
    for (size_t i = 0; i < workload_step_count; i++) {
        const workload_step *step = &workload_steps[i];
        if (strcmp(step->kind, "wrap") == 0 || strcmp(step->kind, "maintain") == 0) continue;
        daybook_status status = step->run(&work, step->number);
        if (status != DAYBOOK_OK)
            workload_fail(&work, step->kind, "step %zu: %s", i, daybook_status_name(status));
    }
    add_segment(&work);
    daybook_consumer *consumer = add_consumer(&work, "AFTER", "golden");
    add_machine(&work);
    must(&work,
         daybook_snapshot_take(daybook_store_engine(work.store), daybook_text("after.4"), NULL, &work.error),
         "snapshot");
    must(&work, daybook_flush(work.store, &work.error), "flush");
    consume(&work, consumer);
    daybook_consumer_close(consumer);
    add_work_queue(&work);
    dbk_sim_stop_now(sim);
    (void)workload_close(&work);
    dbk_sim_crash(sim, DBK_SIM_KILL);
    golden_save(sim, WORKLOAD_PATH, argv[1]);
    dbk_sim_free(sim);
    return 0;
}
