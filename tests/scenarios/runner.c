// SPDX-License-Identifier: Apache-2.0
#include "scenarios/runner.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenarios/run.h"

enum { SCALE_MAX = 8, LANES_MAX = 16 };
// Times in the tables differ by at least twice this.
#define LATE_NS (60 * MILLISECOND_NS)

static void run_scenario(run *at, unsigned lane) {
    static atomic_uint stream_count;
    at->line = at->scenario->lines;
    (void)snprintf(at->stream, sizeof at->stream, "s%u", atomic_fetch_add(&stream_count, 1));
    if (run_is_traced) printf("%s (%s)\n", at->scenario->title, at->driver->name);
    at->session = at->driver->begin(at->driver, lane, at->stream, at->why);
    if (at->session == NULL) {
        run_fail(at, "%s", at->why);
        return;
    }
    for (size_t i = 0; i < at->scenario->line_count && !at->failed; i++) {
        at->line = &at->scenario->lines[i];
        run_take_step(at);
    }
    run_end_requests(at);
    at->driver->end(at->session);
}

// ---- Lanes ------------------------------------------------------------------------------------------------

typedef struct result {
    int failed;
    bool done;
    bool again; // it failed, and was late
    char said[TEXT_SIZE * 2];
} result;

typedef struct lanes {
    const scenario_set *set;
    scenario_driver *driver;
    result *results;
    atomic_size_t next;
    unsigned count;
} lanes;

static void run_one(lanes *of, size_t index, unsigned lane, int64_t scale) {
    run *at = calloc(1, sizeof *at);
    result *into = &of->results[index];
    if (at == NULL) {
        into->failed = 1;
        return;
    }
    at->scenario = &of->set->items[index];
    at->driver = of->driver;
    at->scale = scale;
    run_scenario(at, lane);
    into->failed = at->failed;
    // A server does much by and by: what it says may be old, without anything being late.
    bool may_be_slow = at->late_ns > LATE_NS * scale || of->driver->settle_ms > 0;
    into->again = at->failed == 1 && may_be_slow && scale < SCALE_MAX;
    into->done = true;
    memcpy(into->said, at->said, sizeof into->said);
    free(at);
}

typedef struct lane {
    lanes *of;
    unsigned number;
    pthread_t thread;
} lane;

// The first lane runs what restarts the server, and then like the others.
static void *run_lane(void *context) {
    lane *mine = context;
    lanes *of = mine->of;
    for (size_t i = 0; mine->number == 0 && i < of->set->count; i++) {
        if (of->set->items[i].restarts && !of->results[i].done) run_one(of, i, 0, 1);
    }
    for (;;) {
        size_t i = atomic_fetch_add(&of->next, 1);
        if (i >= of->set->count) return NULL;
        if (!of->set->items[i].restarts && !of->results[i].done) run_one(of, i, mine->number, 1);
    }
}

// Not wanted by DAYBOOK_SCENARIO.
static void leave_out(lanes *of) {
    const char *wanted = getenv("DAYBOOK_SCENARIO");
    for (size_t i = 0; wanted != NULL && i < of->set->count; i++) {
        const scenario *item = &of->set->items[i];
        if (strstr(item->title, wanted) != NULL || strstr(item->file, wanted) != NULL) continue;
        of->results[i].done = true;
        of->results[i].failed = -1;
    }
}

static int summarise(const lanes *of) {
    size_t counts[4] = {0};
    for (size_t i = 0; i < of->set->count; i++) {
        const result *got = &of->results[i];
        counts[got->failed + 1]++;
        if (got->failed == 1) printf("FAILED %s\n\n", got->said);
        if (got->failed == 2) printf("left out: %s (%s)\n", of->set->items[i].title, got->said);
    }
    printf("%s: %zu scenarios passed, %zu left out, %zu failed\n", of->driver->name, counts[1], counts[3],
           counts[2]);
    return counts[2] > 0 || counts[1] == 0 ? 1 : 0;
}

int scenarios_run(const scenario_set *set, scenario_driver *driver, unsigned count) {
    lanes of = {.set = set, .driver = driver, .count = count < LANES_MAX ? count : LANES_MAX};
    lane threads[LANES_MAX];
    run_is_traced = getenv("DAYBOOK_TRACE") != NULL;
    if (run_is_traced) of.count = 1;
    of.results = calloc(set->count + 1, sizeof *of.results);
    if (of.results == NULL) return 1;
    leave_out(&of);
    threads[0] = (lane){.of = &of}; // this thread: a server it starts lives as long
    for (unsigned i = 1; i < of.count; i++) {
        threads[i] = (lane){.of = &of, .number = i};
        if (pthread_create(&threads[i].thread, NULL, run_lane, &threads[i]) != 0) {
            (void)fprintf(stderr, "no thread can be started\n");
            exit(1);
        }
    }
    (void)run_lane(&threads[0]);
    for (unsigned i = 1; i < of.count; i++) (void)pthread_join(threads[i].thread, NULL);
    for (int64_t scale = 2; scale <= SCALE_MAX; scale *= 2) {
        for (size_t i = 0; i < set->count; i++) {
            if (!of.results[i].again) continue;
            printf("again, %" PRId64 " times as slow: %s\n", scale, set->items[i].title);
            run_one(&of, i, 0, scale);
        }
    }
    int status = summarise(&of);
    free(of.results);
    return status;
}
