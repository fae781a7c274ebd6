// SPDX-License-Identifier: Apache-2.0
// Memory runs out at every allocation of every public call, once and from then on.
//
// A store on the simulated disk holds a bit of everything: events in segments and in the memory table,
// removed ones, a stream with limits, a bucket, a snapshot. Each call of the API is made with its first
// allocation failing, then its second, and so on until one needs fewer. After each the store is read from
// end to end, and what it says must be
//   - what it said before, where the call gave ENOMEM or only reads (a call of several commits, as those of
//     the toolkit, may have got through some of them);
//   - the same after a power failure that drops everything unsynced, and after an orderly close.
// The call must give OK or ENOMEM, work when there is memory again, and leave nothing unreleased at close.
//
// Instrumented (lib/slow_build.h), behind the first of each call only every STRIDE_SLOW-th allocation fails,
// others on another day; without it each of them.
//
// DAYBOOK_SEED         which of them; default: the day's number, printed
// DAYBOOK_STRIDE       every how manyth; 1: all
// DAYBOOK_ALLOC_ONLY   only the call of that name
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "lib/fault_allocator.h"
#include "lib/ignore.h"
#include "lib/slow_build.h"

enum {
    STEP_COUNT_MAX = 20000,
    STRIDE_SLOW = 5,
    STEPS_TO_LOOK_AT_ALL = 24, // every one of the first; then every REOPEN_EVERY-th
    REOPEN_EVERY = 32,
    MAINTAIN_EVERY = 16,
    VICTIM_COUNT = 6,
};

typedef struct world {
    dbk_sim *sim;
    fault_allocator faults;
    daybook_open_options options;
    daybook_store *store;
    daybook_error error;
    unsigned number; // of the next thing to be named
    char name[32];
    bool has_purged; // `purged` is what the call said it removed of the victims
    uint64_t purged;
} world;

typedef struct call {
    const char *name;
    daybook_status (*act)(world *at);
    void (*prepare)(world *at); // with memory; may be NULL
    unsigned flags;
} call;

enum {
    READS = 1,    // changes nothing
    PARTIAL = 2,  // of several commits: ENOMEM may come behind some of them
    REOPENS = 4,  // closes the store, so that at->store may be NULL afterwards
    IN_PLACE = 8, // opens the store itself: it is closed before
};

// ---- The store --------------------------------------------------------------------------------------------

static daybook_store *open_with(world *at, unsigned flags) {
    daybook_open_options options = at->options;
    options.flags |= flags;
    daybook_store *store = NULL;
    daybook_status status = daybook_open("/s", &options, &store, &at->error);
    if (status != DAYBOOK_OK) fail_msg("open: %s: %s", daybook_status_name(status), at->error.message);
    return store;
}

static void append_named(world *at, const char *subject, const char *id, const char *causation,
                         const char *data) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.id = daybook_text(id);
    event.causation = daybook_text(causation);
    event.correlation = daybook_text("all");
    event.actor = daybook_text("ada");
    event.data = daybook_text(data);
    daybook_slice tag = daybook_text("tag");
    event.tags = &tag;
    event.tag_count = 1;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    daybook_status status = daybook_append(at->store, &event, 1, &options, NULL, &at->error);
    if (status != DAYBOOK_OK) fail_msg("append: %s: %s", daybook_status_name(status), at->error.message);
}

static void append_some(world *at, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        char subject[64];
        char id[64];
        (void)snprintf(subject, sizeof subject, "orders.%u.step", at->number % 5);
        (void)snprintf(id, sizeof id, "some-%u", at->number++);
        append_named(at, subject, id, "", "{\"a\":{\"b\":1},\"n\":\"x\"}");
    }
}

static daybook_stream_config limited_config(const daybook_slice *subjects) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text("LIMITED");
    config.subjects = subjects;
    config.subject_count = 1;
    config.max_msgs_per_subject = 2;
    config.flags = DAYBOOK_STREAM_ALLOW_ROLLUP;
    return config;
}

static void fill(world *at) {
    daybook_slice subject = daybook_text("limited.>");
    daybook_stream_config config = limited_config(&subject);
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    subject = daybook_text("capped.>");
    daybook_stream_config_init(&config);
    config.name = daybook_text("CAPPED");
    config.subjects = &subject;
    config.subject_count = 1;
    config.max_msgs = 6;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    subject = daybook_text("fleeting.>");
    config.name = daybook_text("FLEETING");
    config.storage = DAYBOOK_STORAGE_MEMORY;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    daybook_kv_config bucket;
    daybook_kv_config_init(&bucket);
    bucket.bucket = daybook_text("b");
    bucket.history = 3;
    assert_int_equal(daybook_kv_add(daybook_store_engine(at->store), &bucket, NULL), DAYBOOK_OK);
    append_named(at, "orders.1.placed", "one", "", "{\"a\":{\"b\":1,\"c\":[1,2.5]}}");
    append_named(at, "orders.1.paid", "two", "one", "{\"a\":{\"b\":2},\"n\":\"x\",\"gone\":null}");
    append_some(at, 12);
    append_named(at, "limited.a", "", "", "1");
    append_named(at, "fleeting.a", "", "", "1");
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    append_some(at, 6);
    append_named(at, "limited.a", "", "", "2");
    append_named(at, "limited.b", "", "", "3");
    assert_int_equal(daybook_kv_put(daybook_store_engine(at->store), daybook_text("b"), daybook_text("k"),
                                    daybook_text("v"), NULL, NULL),
                     DAYBOOK_OK);
    assert_int_equal(daybook_event_remove(at->store, daybook_text("ORDERS"), 4, 0, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_event_remove(at->store, daybook_text("ORDERS"), 5, 0, NULL), DAYBOOK_OK);
    assert_int_equal(
        daybook_snapshot_take(daybook_store_engine(at->store), daybook_text("orders.1"), NULL, NULL),
        DAYBOOK_OK);
    append_named(at, "fleeting.b", "", "", "1");
    append_some(at, 4);
}

static void begin(world *at, uint64_t seed) {
    memset(at, 0, sizeof *at);
    assert_int_equal(dbk_sim_new(seed, &at->sim), DAYBOOK_OK);
    fault_allocator_init(&at->faults);
    daybook_error_init(&at->error);
    daybook_open_options_init(&at->options);
    at->options.vfs = dbk_sim_vfs(at->sim);
    at->options.allocator = &at->faults.allocator;
    at->options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    at->options.memory_budget_bytes = 16 << 20;
    at->options.memtable_bytes = 256 << 10;
    at->options.journal_max_bytes = 4 << 20;
    at->store = open_with(at, 0);
    fill(at);
}

static void end(world *at) {
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    assert_int_equal(fault_allocator_live(&at->faults), 0);
    assert_int_equal(dbk_sim_open_files(at->sim), 0);
    assert_int_equal(dbk_sim_open_maps(at->sim), 0);
    dbk_sim_free(at->sim);
}

// ---- What a store says --------------------------------------------------------------------------------------

// FNV-1a: the order of everything hashed is part of what a store says.
static void mix(uint64_t *hash, const void *data, size_t size) {
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) *hash = (*hash ^ bytes[i]) * UINT64_C(1099511628211);
}

static void mix_slice(uint64_t *hash, daybook_slice slice) {
    mix(hash, &slice.size, sizeof slice.size);
    mix(hash, slice.data, slice.size);
}

// What limits have removed is no part of it: it is worked out again whenever there is memory. So of streams
// with limits only what those leave in any case counts.
static bool has_limits(const daybook_stream_config *config) {
    return config->max_msgs > 0 || config->max_msgs_per_subject > 0;
}

typedef struct print {
    world *at;
    daybook_store *store;
    uint64_t hash;
} print;

static void mix_events(print *of, daybook_slice stream, unsigned flags, uint64_t limit) {
    daybook_query query;
    daybook_query_init(&query);
    query.flags = flags;
    query.stream = stream;
    query.limit = limit;
    daybook_cursor *cursor = NULL;
    daybook_error *error = &of->at->error;
    assert_int_equal(daybook_read(of->store, &query, &cursor, error), DAYBOOK_OK);
    daybook_recorded_event event;
    daybook_status status;
    while ((status = daybook_cursor_next(cursor, 0, &event, error)) == DAYBOOK_OK) {
        mix_slice(&of->hash, event.event.subject);
        mix_slice(&of->hash, event.event.id);
        mix_slice(&of->hash, event.event.data);
        mix(&of->hash, &event.seq, sizeof event.seq);
        mix(&of->hash, &event.position, sizeof event.position);
        mix(&of->hash, &event.version, sizeof event.version);
    }
    if (status != DAYBOOK_END) fail_msg("read: %s: %s", daybook_status_name(status), error->message);
    daybook_cursor_close(cursor);
}

static int mix_stream(void *context, const daybook_stream_info *info) {
    print *of = context;
    const daybook_stream_config *config = &info->config;
    if (config->storage == DAYBOOK_STORAGE_MEMORY) return 0;
    mix_slice(&of->hash, config->name);
    mix_slice(&of->hash, config->description);
    mix(&of->hash, &config->max_msgs, sizeof config->max_msgs);
    mix(&of->hash, &config->max_msgs_per_subject, sizeof config->max_msgs_per_subject);
    mix(&of->hash, &info->last_seq, sizeof info->last_seq);
    if (!has_limits(config)) {
        mix(&of->hash, &info->message_count, sizeof info->message_count);
        mix(&of->hash, &info->byte_count, sizeof info->byte_count);
        mix_events(of, config->name, 0, 0);
    } else if (config->max_msgs > 0) {
        mix_events(of, config->name, DAYBOOK_QUERY_REVERSE, config->max_msgs);
    } else {
        mix_events(of, config->name, DAYBOOK_QUERY_LAST_PER_SUBJECT, 0);
    }
    return 0;
}

static uint64_t fingerprint(world *at, daybook_store *store) {
    print of = {.at = at, .store = store, .hash = UINT64_C(14695981039346656037)};
    assert_int_equal(daybook_stream_list(store, mix_stream, &of, NULL), DAYBOOK_OK);
    return of.hash;
}

static int check_subject(void *context, const daybook_list_entry *entry) {
    assert_true(entry->event_count <= *(uint64_t *)context);
    return 0;
}

static int check_stream_limits(void *context, const daybook_stream_info *info) {
    world *at = context;
    uint64_t per_subject = info->config.max_msgs_per_subject;
    if (info->config.max_msgs > 0) assert_true(info->message_count <= info->config.max_msgs);
    if (per_subject > 0)
        assert_int_equal(daybook_list(at->store, DAYBOOK_LIST_SUBJECTS, info->config.name, daybook_text(""),
                                      check_subject, &per_subject, NULL),
                         DAYBOOK_OK);
    return 0;
}

static daybook_status act_maintain(world *at) {
    daybook_status status;
    while ((status = daybook_maintain(at->store, &at->error)) == DAYBOOK_OK) {
    }
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

// What a purge says it removed is gone, and nothing else, whatever its status.
static void check_purged(world *at, const call *what, uint64_t step) {
    if (!at->has_purged) return;
    at->has_purged = false;
    daybook_stream_info *info = NULL;
    assert_int_equal(daybook_stream_get_info(at->store, daybook_text(at->name), &info, NULL), DAYBOOK_OK);
    uint64_t left = info->message_count;
    daybook_stream_info_release(at->store, info);
    if (left != VICTIM_COUNT - at->purged)
        fail_msg("%s, step %d: says it removed %d of %d events, and %d are left", what->name, (int)step,
                 (int)at->purged, VICTIM_COUNT, (int)left);
}

// ---- The loop -----------------------------------------------------------------------------------------------

static void check_reopened(world *at, const call *what, uint64_t step, uint64_t said) {
    if (step % 2 == 0) {
        dbk_sim_crash(at->sim, DBK_SIM_POWER_LOSS_DROP_ALL);
        (void)daybook_close(at->store, NULL);
    } else {
        assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    }
    if (fault_allocator_live(&at->faults) != 0)
        fail_msg("%s, step %d: %d allocations are left", what->name, (int)step,
                 (int)fault_allocator_live(&at->faults));
    at->store = open_with(at, 0);
    if (fingerprint(at, at->store) != said)
        fail_msg("%s, step %d: reopened, the store says something else", what->name, (int)step);
    assert_int_equal(daybook_stream_list(at->store, check_stream_limits, at, NULL), DAYBOOK_OK);
}

// One call with its `step`-th allocation failing, the `tried`-th that does. True where it needed that many.
static bool try_step(world *at, const call *what, uint64_t step, uint64_t tried, bool is_forever) {
    // Nobody else does it, and each opening takes a page of the journal.
    if (tried % MAINTAIN_EVERY == 0) {
        assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
        assert_int_equal(act_maintain(at), DAYBOOK_OK);
    }
    if (what->prepare != NULL) what->prepare(at);
    bool is_looked_at = (what->flags & READS) == 0 || tried <= STEPS_TO_LOOK_AT_ALL ||
                        tried % REOPEN_EVERY == 0;
    uint64_t before = is_looked_at ? fingerprint(at, at->store) : 0;
    if ((what->flags & IN_PLACE) != 0) {
        assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
        at->store = NULL;
    }
    daybook_error_init(&at->error);
    fault_allocator_fail(&at->faults, step, is_forever);
    daybook_status status = what->act(at);
    bool has_failed = fault_allocator_has_failed(&at->faults);
    fault_allocator_fail(&at->faults, 0, false);
    if (status != DAYBOOK_OK && (status != DAYBOOK_ENOMEM || !has_failed))
        fail_msg("%s, step %d%s: %s: %s", what->name, (int)step, is_forever ? " and later" : "",
                 daybook_status_name(status), at->error.message);
    if (at->store == NULL) at->store = open_with(at, 0);
    check_purged(at, what, step);
    uint64_t after = is_looked_at || !has_failed ? fingerprint(at, at->store) : 0;
    if (!is_looked_at) before = after;
    bool stays = (what->flags & READS) != 0 || (status != DAYBOOK_OK && (what->flags & PARTIAL) == 0);
    if (stays && after != before)
        fail_msg("%s, step %d%s: gave %s and changed the store", what->name, (int)step,
                 is_forever ? " and later" : "", daybook_status_name(status));
    bool looks = (what->flags & READS) == 0 && (tried <= STEPS_TO_LOOK_AT_ALL || tried % REOPEN_EVERY == 0);
    if (looks || !has_failed) check_reopened(at, what, step, after);
    return has_failed;
}

static uint64_t seed, stride;

// The first few all, then every stride-th.
static uint64_t next_step(uint64_t step) {
    if (step < STEPS_TO_LOOK_AT_ALL) return step + 1;
    return step == STEPS_TO_LOOK_AT_ALL ? step + 1 + seed % stride : step + stride;
}

static void check_call(const call *what, bool is_forever) {
    world at;
    begin(&at, 1);
    uint64_t step = 1;
    for (uint64_t tried = 1; step < STEP_COUNT_MAX && try_step(&at, what, step, tried, is_forever); tried++)
        step = next_step(step);
    if (step >= STEP_COUNT_MAX) fail_msg("%s: does not end", what->name);
    // With memory it works. (The last step may have been one of a call that had nothing left to do.)
    if (what->prepare != NULL) what->prepare(&at);
    if ((what->flags & IN_PLACE) != 0) {
        assert_int_equal(daybook_close(at.store, NULL), DAYBOOK_OK);
        at.store = NULL;
    }
    daybook_status status = what->act(&at);
    if (status != DAYBOOK_OK)
        fail_msg("%s, with memory again: %s: %s", what->name, daybook_status_name(status), at.error.message);
    if (at.store == NULL) at.store = open_with(&at, 0);
    if (getenv("DAYBOOK_TRACE") != NULL) print_message("%-28s %d\n", what->name, (int)step);
    end(&at);
}

static void check_calls(const call *calls, size_t count) {
    const char *only = getenv("DAYBOOK_ALLOC_ONLY");
    for (size_t i = 0; i < count; i++) {
        if (only != NULL && strcmp(calls[i].name, only) != 0) continue;
        check_call(&calls[i], false);
        check_call(&calls[i], true);
    }
}

#define CHECK_CALLS(calls) check_calls(calls, sizeof(calls) / sizeof(calls)[0])

// ---- Opening, closing ---------------------------------------------------------------------------------------

static daybook_status try_open(world *at, const char *path, unsigned flags, daybook_vfs *vfs,
                               daybook_store **store_out) {
    daybook_open_options options = at->options;
    options.flags |= flags;
    options.vfs = vfs;
    daybook_status status = daybook_open(path, &options, store_out, &at->error);
    assert_true((*store_out != NULL) == (status == DAYBOOK_OK));
    return status;
}

static daybook_status open_and_close(world *at, const char *path, unsigned flags, daybook_vfs *vfs) {
    daybook_store *store = NULL;
    daybook_status status = try_open(at, path, flags, vfs, &store);
    if (status == DAYBOOK_OK) status = daybook_close(store, &at->error);
    return status;
}

static daybook_status act_create(world *at) {
    char path[32];
    (void)snprintf(path, sizeof path, "/new-%u", at->number++);
    daybook_status status = open_and_close(at, path, 0, at->options.vfs);
    if (status == DAYBOOK_OK) return status;
    // What the failure left is no hindrance.
    fault_allocator_fail(&at->faults, 0, false);
    at->faults.failures = 1;
    assert_int_equal(open_and_close(at, path, 0, at->options.vfs), DAYBOOK_OK);
    return status;
}

static daybook_status act_create_in_memory(world *at) {
    return open_and_close(at, ":memory:", 0, NULL);
}

static daybook_status act_open(world *at) {
    return try_open(at, "/s", DAYBOOK_OPEN_MUST_EXIST, at->options.vfs, &at->store);
}

static daybook_status act_close(world *at) {
    daybook_status status = daybook_close(at->store, &at->error);
    at->store = NULL;
    return status;
}

static daybook_status act_open_to_read(world *at) {
    daybook_store *store = NULL;
    daybook_status status = try_open(at, "/s", DAYBOOK_OPEN_READ_ONLY, at->options.vfs, &store);
    if (status == DAYBOOK_OK) (void)daybook_close(store, NULL);
    return status;
}

// As IN_PLACE, but nothing was closed in an orderly way: the journal is replayed.
static daybook_status act_recover(world *at) {
    dbk_sim_crash(at->sim, DBK_SIM_KILL);
    (void)daybook_close(at->store, NULL);
    at->store = NULL;
    return try_open(at, "/s", DAYBOOK_OPEN_MUST_EXIST, at->options.vfs, &at->store);
}

static void prepare_events(world *at) {
    append_some(at, 2);
    append_named(at, "limited.c", "", "", "4");
}

// A reader in another process beside the writer.
static daybook_status act_open_beside(world *at) {
    return open_and_close(at, "/s", DAYBOOK_OPEN_READ_ONLY, dbk_sim_process(at->sim, 1));
}

static daybook_status act_info(world *at) {
    daybook_store_info info = {.size = sizeof info};
    return daybook_info(at->store, &info, &at->error);
}

static daybook_status act_flush(world *at) {
    return daybook_flush(at->store, &at->error);
}

// Enough segments of like size for a merge, and a memory table that is due.
static void prepare_merge(world *at) {
    for (unsigned i = 0; i < 8; i++) {
        append_some(at, 1);
        assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    }
}

static void report_nothing(void *context, const daybook_finding *finding) {
    (void)context;
    (void)finding;
}

static daybook_status act_verify(world *at) {
    return daybook_verify("/s", &at->options, report_nothing, NULL, NULL, NULL, &at->error);
}

static daybook_status act_repair(world *at) {
    return daybook_repair("/s", &at->options, 0, report_nothing, NULL, &at->error);
}

static daybook_status act_rebuild(world *at) {
    return daybook_rebuild("/s", &at->options, 0, report_nothing, NULL, &at->error);
}

static daybook_status act_confirm_clock(world *at) {
    return daybook_confirm_clock(at->store, &at->error);
}

static daybook_status act_backup(world *at) {
    char path[32];
    (void)snprintf(path, sizeof path, "/backup-%u", at->number++);
    return daybook_backup(at->store, path, NULL, NULL, &at->error);
}

static void prepare_restore(world *at) {
    (void)snprintf(at->name, sizeof at->name, "/kept-%u", at->number++);
    assert_int_equal(daybook_backup(at->store, at->name, NULL, NULL, NULL), DAYBOOK_OK);
}

static daybook_status act_restore(world *at) {
    char path[32];
    (void)snprintf(path, sizeof path, "/restored-%u", at->number++);
    return daybook_restore(at->name, path, &at->options, NULL, NULL, &at->error);
}

static const call store_calls[] = {
    {"create", act_create, NULL, READS},
    {"create in memory", act_create_in_memory, NULL, READS},
    {"open", act_open, prepare_events, IN_PLACE},
    {"open to read", act_open_to_read, NULL, IN_PLACE},
    {"open beside a writer", act_open_beside, NULL, READS},
    {"close", act_close, prepare_events, PARTIAL},
    {"recover", act_recover, prepare_events, PARTIAL},
    {"info", act_info, NULL, READS},
    {"flush", act_flush, prepare_events, READS},
    {"maintain", act_maintain, prepare_merge, READS},
    {"verify", act_verify, NULL, READS},
    {"repair", act_repair, NULL, IN_PLACE},
    {"rebuild", act_rebuild, NULL, IN_PLACE},
    {"confirm clock", act_confirm_clock, NULL, READS},
    {"backup", act_backup, NULL, READS},
    {"restore", act_restore, prepare_restore, READS},
};

// ---- Appending ----------------------------------------------------------------------------------------------

static daybook_event event_of(const char *subject, const char *data) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text(data);
    return event;
}

static daybook_status append_one(world *at, const char *subject, const char *id, int auto_stream) {
    daybook_event event = event_of(subject, "{\"data\":1}");
    event.id = daybook_text(id);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = auto_stream;
    daybook_receipt receipt = {.size = sizeof receipt};
    return daybook_append(at->store, &event, 1, &options, &receipt, &at->error);
}

static daybook_status act_append(world *at) {
    return append_one(at, "orders.1.step", "", 0);
}

static daybook_status act_append_with_id(world *at) {
    char id[32];
    (void)snprintf(id, sizeof id, "id-%u", at->number++);
    return append_one(at, "orders.2.step", id, 0);
}

static daybook_status act_append_duplicate(world *at) {
    return append_one(at, "orders.1.placed", "one", 0);
}

static daybook_status act_append_new_stream(world *at) {
    char subject[32];
    (void)snprintf(subject, sizeof subject, "fresh%u.a.b", at->number++);
    return append_one(at, subject, "", 1);
}

static daybook_status act_append_limited(world *at) {
    char subject[32];
    (void)snprintf(subject, sizeof subject, "limited.%u", at->number++ % 3);
    return append_one(at, subject, "", 0);
}

static daybook_status act_append_capped(world *at) {
    return append_one(at, "capped.a", "", 0);
}

static daybook_status act_append_in_memory(world *at) {
    return append_one(at, "fleeting.a", "", 0);
}

static daybook_status roll_up(world *at, const char *subject, const char *extent) {
    daybook_event event = event_of(subject, "{}");
    daybook_header header = {daybook_text("Nats-Rollup"), daybook_text(extent)};
    event.headers = &header;
    event.header_count = 1;
    return daybook_append(at->store, &event, 1, NULL, NULL, &at->error);
}

static daybook_status act_roll_up_subject(world *at) {
    return roll_up(at, "limited.a", "sub");
}

static daybook_status act_roll_up_all(world *at) {
    return roll_up(at, "limited.b", "all");
}

enum { BATCH_COUNT = 12 };

static size_t make_batch(daybook_event events[BATCH_COUNT], char subjects[BATCH_COUNT][32]) {
    for (unsigned i = 0; i < BATCH_COUNT; i++) {
        (void)snprintf(subjects[i], sizeof subjects[i], "%s.%u.batch", i % 3 == 0 ? "limited" : "orders",
                       i % 4);
        events[i] = event_of(subjects[i], "{\"batch\":true}");
    }
    return BATCH_COUNT;
}

static daybook_status act_append_batch(world *at) {
    daybook_event events[BATCH_COUNT];
    char subjects[BATCH_COUNT][32];
    daybook_receipt receipts[BATCH_COUNT];
    for (unsigned i = 0; i < BATCH_COUNT; i++) receipts[i].size = sizeof receipts[i];
    return daybook_append(at->store, events, make_batch(events, subjects), NULL, receipts, &at->error);
}

static uint64_t last_of(world *at, daybook_slice filter, bool is_version) {
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_REVERSE;
    query.filters = &filter;
    query.filter_count = 1;
    query.limit = 1;
    daybook_cursor *cursor = NULL;
    daybook_recorded_event event;
    assert_int_equal(daybook_read(at->store, &query, &cursor, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_cursor_next(cursor, 0, &event, NULL), DAYBOOK_OK);
    uint64_t value = is_version ? event.version : event.seq;
    daybook_cursor_close(cursor);
    return value;
}

typedef struct conditions {
    daybook_condition list[4];
    daybook_query_item item;
    daybook_slice type;
    daybook_slice tag;
} conditions;

static void make_conditions(world *at, conditions *made) {
    daybook_condition_init(&made->list[0], DAYBOOK_EXPECT_VERSION);
    made->list[0].aggregate = daybook_text("orders.3");
    made->list[0].expected = last_of(at, daybook_text("orders.3.>"), true);
    daybook_condition_init(&made->list[1], DAYBOOK_EXPECT_STREAM_SEQ);
    made->list[1].expected = last_of(at, daybook_text("orders.>"), false);
    daybook_condition_init(&made->list[2], DAYBOOK_EXPECT_SUBJECT_SEQ);
    made->list[2].filter = daybook_text("orders.1.placed");
    made->list[2].expected = last_of(at, daybook_text("orders.1.placed"), false);
    daybook_condition_init(&made->list[3], DAYBOOK_FAIL_IF_EVENTS_MATCH);
    daybook_query_item_init(&made->item);
    made->type = daybook_text("placed");
    made->tag = daybook_text("never");
    made->item.types = &made->type;
    made->item.type_count = 1;
    made->item.tags = &made->tag;
    made->item.tag_count = 1;
    made->list[3].items = &made->item;
    made->list[3].item_count = 1;
}

static conditions prepared;

static void prepare_conditions(world *at) {
    make_conditions(at, &prepared);
}

static daybook_status act_append_conditions(world *at) {
    daybook_event event = event_of("orders.3.step", "{}");
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = prepared.list;
    options.condition_count = 4;
    return daybook_append(at->store, &event, 1, &options, NULL, &at->error);
}

// A condition that does not hold: ECONFLICT with memory.
static daybook_status act_append_conflict(world *at) {
    daybook_event event = event_of("orders.3.step", "{}");
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_FAIL_IF_EVENTS_MATCH);
    daybook_query_item item;
    daybook_query_item_init(&item);
    daybook_slice tag = daybook_text("tag");
    item.tags = &tag;
    item.tag_count = 1;
    condition.items = &item;
    condition.item_count = 1;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = &condition;
    options.condition_count = 1;
    daybook_status status = daybook_append(at->store, &event, 1, &options, NULL, &at->error);
    assert_int_not_equal(status, DAYBOOK_OK);
    return status == DAYBOOK_ECONFLICT ? DAYBOOK_OK : status;
}

typedef struct completion {
    unsigned count;
    daybook_status status;
} completion;

static void completed(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                      const daybook_error *error) {
    (void)receipts;
    (void)count;
    (void)error;
    completion *done = context;
    done->status = status;
    __atomic_add_fetch(&done->count, 1, __ATOMIC_SEQ_CST);
}

// The close waits for what was submitted, so the completion is there whatever happens.
static daybook_status act_submit(world *at) {
    daybook_event events[BATCH_COUNT];
    char subjects[BATCH_COUNT][32];
    size_t count = make_batch(events, subjects);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = prepared.list;
    options.condition_count = 1;
    completion done = {0};
    daybook_status status =
        daybook_append_submit(at->store, events, count, &options, completed, &done, &at->error);
    daybook_status closed = daybook_close(at->store, NULL);
    at->store = NULL;
    assert_true(closed == DAYBOOK_OK || closed == DAYBOOK_ENOMEM);
    assert_int_equal(done.count, status == DAYBOOK_OK ? 1 : 0);
    return status == DAYBOOK_OK ? done.status : status;
}

static const call append_calls[] = {
    {"append", act_append, NULL, 0},
    {"append with id", act_append_with_id, NULL, 0},
    {"append duplicate", act_append_duplicate, NULL, READS},
    {"append to a new stream", act_append_new_stream, NULL, PARTIAL},
    {"append limited", act_append_limited, NULL, 0},
    {"append capped", act_append_capped, NULL, 0},
    {"append in memory", act_append_in_memory, NULL, READS},
    {"append batch", act_append_batch, NULL, 0},
    {"append conditions", act_append_conditions, prepare_conditions, 0},
    {"append conflict", act_append_conflict, NULL, READS},
    {"submit", act_submit, prepare_conditions, 0},
    {"roll up subject", act_roll_up_subject, NULL, 0},
    {"roll up all", act_roll_up_all, NULL, 0},
};

// ---- Reading ------------------------------------------------------------------------------------------------

static daybook_status read_all(world *at, daybook_store *store, const daybook_query *query) {
    daybook_cursor *cursor = NULL;
    daybook_status status = daybook_read(store, query, &cursor, &at->error);
    assert_true((cursor != NULL) == (status == DAYBOOK_OK));
    if (status != DAYBOOK_OK) return status;
    uint64_t last = 0;
    unsigned failures = 0;
    daybook_recorded_event event;
    for (;;) {
        status = daybook_cursor_next(cursor, 0, &event, &at->error);
        // A cursor that ran out of memory goes on where it was.
        if (status == DAYBOOK_ENOMEM && ++failures < 3) continue;
        if (status != DAYBOOK_OK) break;
        bool is_next = last == 0 || ((query->flags & DAYBOOK_QUERY_REVERSE) != 0 ? event.position < last
                                                                                 : event.position > last);
        assert_true(is_next);
        last = event.position;
    }
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END || status == DAYBOOK_TIMEOUT ? DAYBOOK_OK : status;
}

static daybook_status act_read_all(world *at) {
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_INTERNAL;
    return read_all(at, at->store, &query);
}

static daybook_status act_read_reverse(world *at) {
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_REVERSE;
    daybook_slice filters[] = {daybook_text("orders.1.>"), daybook_text("limited.*")};
    query.filters = filters;
    query.filter_count = 2;
    return read_all(at, at->store, &query);
}

static daybook_status act_read_last(world *at) {
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_LAST_PER_SUBJECT;
    query.stream = daybook_text("ORDERS");
    return read_all(at, at->store, &query);
}

static daybook_status act_read_terms(world *at) {
    daybook_query query;
    daybook_query_init(&query);
    daybook_slice tag = daybook_text("tag");
    daybook_slice types[] = {daybook_text("step"), daybook_text("placed")};
    query.tags = &tag;
    query.tag_count = 1;
    query.types = types;
    query.type_count = 2;
    query.correlation = daybook_text("all");
    query.actor = daybook_text("ada");
    daybook_query_item item;
    daybook_query_item_init(&item);
    item.filter = daybook_text("orders.>");
    query.items = &item;
    query.item_count = 1;
    return read_all(at, at->store, &query);
}

static daybook_status act_read_id(world *at) {
    daybook_query query;
    daybook_query_init(&query);
    query.id = daybook_text("one");
    return read_all(at, at->store, &query);
}

static daybook_status act_read_follow(world *at) {
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    query.stream = daybook_text("ORDERS");
    return read_all(at, at->store, &query);
}

// A reader in another process that hears of events, of a flush and of a merge.
static daybook_status act_follow_beside(world *at) {
    fault_allocator *faults = &at->faults;
    uint64_t from = faults->fail_from;
    uint64_t to = faults->fail_to;
    uint64_t calls = faults->calls;
    fault_allocator_fail(faults, 0, false);
    daybook_store *reader = NULL;
    assert_int_equal(try_open(at, "/s", DAYBOOK_OPEN_READ_ONLY, dbk_sim_process(at->sim, 1), &reader),
                     DAYBOOK_OK);
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    daybook_cursor *cursor = NULL;
    assert_int_equal(daybook_read(reader, &query, &cursor, NULL), DAYBOOK_OK);
    append_some(at, 3);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    append_some(at, 3);
    uint64_t durable = 0;
    daybook_store_info info = {.size = sizeof info};
    assert_int_equal(daybook_info(at->store, &info, NULL), DAYBOOK_OK);
    durable = info.durable_position;
    // From here on, what the reader takes.
    faults->calls = calls;
    faults->failures = 0;
    faults->fail_from = from;
    faults->fail_to = to;
    daybook_recorded_event event;
    daybook_status first = DAYBOOK_OK;
    daybook_status status = DAYBOOK_OK;
    uint64_t last = 0;
    for (unsigned failures = 0; failures < 4;) {
        status = daybook_cursor_next(cursor, 0, &event, &at->error);
        if (status == DAYBOOK_OK) {
            assert_true(event.position > last);
            last = event.position;
            continue;
        }
        if (status != DAYBOOK_ENOMEM) break;
        first = status;
        failures++;
    }
    bool has_failed = fault_allocator_has_failed(faults);
    fault_allocator_fail(faults, 0, false);
    while ((status = daybook_cursor_next(cursor, 0, &event, &at->error)) == DAYBOOK_OK) {
        assert_true(event.position > last);
        last = event.position;
    }
    assert_int_equal(status, DAYBOOK_TIMEOUT);
    assert_int_equal(last, durable); // nothing was skipped at the end
    daybook_cursor_close(cursor);
    assert_int_equal(daybook_close(reader, NULL), DAYBOOK_OK);
    faults->failures = has_failed;
    return first;
}

static daybook_status act_count(world *at) {
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text("ORDERS");
    uint64_t count = 0;
    return daybook_count(at->store, &query, &count, &at->error);
}

static int ignore_entry(void *context, const daybook_list_entry *entry) {
    (void)context;
    (void)entry;
    return 0;
}

static daybook_status list_kind(world *at, int kind, const char *filter) {
    return daybook_list(at->store, kind, daybook_text(""), daybook_text(filter), ignore_entry, NULL,
                        &at->error);
}

static daybook_status act_list_aggregates(world *at) {
    return list_kind(at, DAYBOOK_LIST_AGGREGATES, "orders.>");
}

static daybook_status act_list_subjects(world *at) {
    return list_kind(at, DAYBOOK_LIST_SUBJECTS, "");
}

static daybook_status act_list_types(world *at) {
    return list_kind(at, DAYBOOK_LIST_TYPES, "");
}

static daybook_status act_subjects(world *at) {
    daybook_subjects_options options;
    daybook_subjects_options_init(&options);
    options.filter = daybook_text("orders.*.>");
    options.offset = 1;
    options.limit = 2;
    uint64_t total;
    return daybook_subjects(at->store, daybook_text("ORDERS"), &options, ignore_entry, NULL, &total,
                            &at->error);
}

static daybook_status act_stream_count(world *at) {
    const daybook_slice filters[] = {daybook_text("orders.*.placed"), daybook_text("orders.1.>")};
    uint64_t count;
    daybook_status status =
        daybook_stream_count(at->store, daybook_text("ORDERS"), filters, 1, 2, &count, &at->error);
    if (status != DAYBOOK_OK) return status;
    return daybook_stream_count(at->store, daybook_text("ORDERS"), filters, 2, 1, &count, &at->error);
}

static int ignore_gap(void *context, uint64_t seq_first, uint64_t seq_last) {
    (void)context;
    (void)seq_first;
    (void)seq_last;
    return 0;
}

static daybook_status act_gaps(world *at) {
    return daybook_stream_gaps(at->store, daybook_text("ORDERS"), ignore_gap, NULL, &at->error);
}

static const call read_calls[] = {
    {"read all", act_read_all, NULL, READS},
    {"read reverse", act_read_reverse, NULL, READS},
    {"read last per subject", act_read_last, NULL, READS},
    {"read terms", act_read_terms, NULL, READS},
    {"read id", act_read_id, NULL, READS},
    {"read follow", act_read_follow, NULL, READS},
    {"follow beside", act_follow_beside, NULL, PARTIAL},
    {"count", act_count, NULL, READS},
    {"list aggregates", act_list_aggregates, NULL, READS},
    {"list subjects", act_list_subjects, NULL, READS},
    {"list types", act_list_types, NULL, READS},
    {"subjects", act_subjects, NULL, READS},
    {"stream_count", act_stream_count, NULL, READS},
    {"gaps", act_gaps, NULL, READS},
};

// ---- Streams and removal ------------------------------------------------------------------------------------

static daybook_status add_stream(world *at, const char *name, daybook_error *error) {
    char subject[48];
    (void)snprintf(subject, sizeof subject, "%s.>", name);
    daybook_slice subjects = daybook_text(subject);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &subjects;
    config.subject_count = 1;
    return daybook_stream_add(at->store, &config, error);
}

static daybook_status act_stream_add(world *at) {
    char name[32];
    (void)snprintf(name, sizeof name, "added%u", at->number++);
    return add_stream(at, name, &at->error);
}

static daybook_status act_stream_update(world *at) {
    daybook_slice subject = daybook_text("limited.>");
    daybook_stream_config config = limited_config(&subject);
    char description[32];
    (void)snprintf(description, sizeof description, "update %u", at->number++);
    config.description = daybook_text(description);
    config.max_msgs_per_subject = 1 + at->number % 2;
    return daybook_stream_update(at->store, &config, &at->error);
}

static void prepare_limited(world *at) {
    for (unsigned i = 0; i < 4; i++) append_named(at, i % 2 == 0 ? "limited.a" : "limited.b", "", "", "{}");
}

static void prepare_victim(world *at) {
    (void)snprintf(at->name, sizeof at->name, "victim%u", at->number++);
    assert_int_equal(add_stream(at, at->name, NULL), DAYBOOK_OK);
    for (unsigned i = 0; i < VICTIM_COUNT; i++) {
        char subject[64];
        (void)snprintf(subject, sizeof subject, "%s.%u", at->name, i % 2);
        append_named(at, subject, "", "", "{}");
        if (i == 3) assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    }
}

static daybook_status act_stream_remove(world *at) {
    return daybook_stream_remove(at->store, daybook_text(at->name), &at->error);
}

static daybook_status purge(world *at, const char *filter, uint64_t seq_to, uint64_t keep, int erase) {
    daybook_purge_options options;
    daybook_purge_options_init(&options);
    options.filter = daybook_text(filter);
    options.seq_to = seq_to;
    options.keep = keep;
    options.erase = erase;
    at->has_purged = true;
    return daybook_stream_purge(at->store, daybook_text(at->name), &options, &at->purged, &at->error);
}

static daybook_status act_purge(world *at) {
    return purge(at, "", 0, 0, 0);
}

static daybook_status act_purge_filter(world *at) {
    char filter[64];
    (void)snprintf(filter, sizeof filter, "%s.1", at->name);
    return purge(at, filter, 0, 1, 0);
}

static daybook_status act_purge_seq(world *at) {
    return purge(at, "", 3, 0, 0);
}

static daybook_status act_purge_erase(world *at) {
    return purge(at, "", 0, 2, 1);
}

static daybook_status act_remove_event(world *at) {
    return daybook_event_remove(at->store, daybook_text(at->name), 1, 0, &at->error);
}

static daybook_status act_erase_event(world *at) {
    return daybook_event_remove(at->store, daybook_text(at->name), 6, 1, &at->error);
}

static uint64_t last_folded;

// Removing an event that a snapshot has folded removes the snapshot in the same commit.
static void prepare_folded(world *at) {
    append_named(at, "orders.1.step", "", "", "{\"n\":\"y\"}");
    assert_int_equal(
        daybook_snapshot_take(daybook_store_engine(at->store), daybook_text("orders.1"), NULL, NULL),
        DAYBOOK_OK);
    last_folded = last_of(at, daybook_text("orders.1.>"), false);
}

static daybook_status act_remove_folded(world *at) {
    return daybook_event_remove(at->store, daybook_text("ORDERS"), last_folded, 0, &at->error);
}

static daybook_status act_stream_info(world *at) {
    daybook_stream_info *info = NULL;
    daybook_status status = daybook_stream_get_info(at->store, daybook_text("LIMITED"), &info, &at->error);
    assert_true((info != NULL) == (status == DAYBOOK_OK));
    daybook_stream_info_release(at->store, info);
    return status;
}

static int ignore_stream(void *context, const daybook_stream_info *info) {
    (void)context;
    (void)info;
    return 0;
}

static daybook_status act_stream_list(world *at) {
    return daybook_stream_list(at->store, ignore_stream, NULL, &at->error);
}

static daybook_status act_stream_find(world *at) {
    daybook_slice name;
    return daybook_stream_find(at->store, daybook_text("orders.1.step"), &name, &at->error);
}

// Behind a removal snapshots are looked for once more: one may have been stored meanwhile.
static const call stream_calls[] = {
    {"stream add", act_stream_add, NULL, 0},
    {"stream update", act_stream_update, prepare_limited, PARTIAL},
    {"stream remove", act_stream_remove, prepare_victim, 0},
    {"purge", act_purge, prepare_victim, 0},
    {"purge filter", act_purge_filter, prepare_victim, 0},
    {"purge seq", act_purge_seq, prepare_victim, 0},
    {"purge erase", act_purge_erase, prepare_victim, PARTIAL},
    {"remove event", act_remove_event, prepare_victim, 0},
    {"erase event", act_erase_event, prepare_victim, PARTIAL},
    {"remove folded event", act_remove_folded, prepare_folded, 0},
    {"stream info", act_stream_info, NULL, READS},
    {"stream list", act_stream_list, NULL, READS},
    {"stream find", act_stream_find, NULL, READS},
};

// ---- Buckets ------------------------------------------------------------------------------------------------

#define BUCKET daybook_text("b")
#define KEY daybook_text("k")
#define VALUE daybook_text("a value")

static daybook_status act_kv_add(world *at) {
    char name[32];
    (void)snprintf(name, sizeof name, "more%u", at->number++);
    daybook_kv_config config;
    daybook_kv_config_init(&config);
    config.bucket = daybook_text(name);
    return daybook_kv_add(daybook_store_engine(at->store), &config, &at->error);
}

static void prepare_bucket(world *at) {
    (void)snprintf(at->name, sizeof at->name, "gone%u", at->number++);
    daybook_kv_config config;
    daybook_kv_config_init(&config);
    config.bucket = daybook_text(at->name);
    assert_int_equal(daybook_kv_add(daybook_store_engine(at->store), &config, NULL), DAYBOOK_OK);
    assert_int_equal(
        daybook_kv_put(daybook_store_engine(at->store), daybook_text(at->name), KEY, VALUE, NULL, NULL),
        DAYBOOK_OK);
}

static daybook_status act_kv_remove(world *at) {
    return daybook_kv_remove(daybook_store_engine(at->store), daybook_text(at->name), &at->error);
}

static daybook_status act_kv_put(world *at) {
    uint64_t revision = 0;
    return daybook_kv_put(daybook_store_engine(at->store), BUCKET, KEY, VALUE, &revision, &at->error);
}

static daybook_status act_kv_create(world *at) {
    char key[32];
    (void)snprintf(key, sizeof key, "key%u", at->number++);
    uint64_t revision = 0;
    return daybook_kv_create(daybook_store_engine(at->store), BUCKET, daybook_text(key), VALUE, &revision,
                             &at->error);
}

static uint64_t last_revision;

static void prepare_key(world *at) {
    (void)snprintf(at->name, sizeof at->name, "own%u", at->number++);
    assert_int_equal(daybook_kv_put(daybook_store_engine(at->store), BUCKET, daybook_text(at->name), VALUE,
                                    &last_revision, NULL),
                     DAYBOOK_OK);
    assert_int_equal(daybook_kv_put(daybook_store_engine(at->store), BUCKET, daybook_text(at->name), VALUE,
                                    &last_revision, NULL),
                     DAYBOOK_OK);
}

static daybook_status act_kv_update(world *at) {
    return daybook_kv_update(daybook_store_engine(at->store), BUCKET, daybook_text(at->name), VALUE,
                             last_revision, NULL, &at->error);
}

static daybook_status act_kv_delete(world *at) {
    return daybook_kv_delete(daybook_store_engine(at->store), BUCKET, daybook_text(at->name), 0,
                             last_revision, NULL, &at->error);
}

static daybook_status act_kv_purge(world *at) {
    return daybook_kv_delete(daybook_store_engine(at->store), BUCKET, daybook_text(at->name), 1, 0, NULL,
                             &at->error);
}

static daybook_status act_kv_get(world *at) {
    daybook_kv_entry entry;
    daybook_engine_cursor *cursor = NULL;
    daybook_status status =
        daybook_kv_get(daybook_store_engine(at->store), BUCKET, KEY, 0, &entry, &cursor, &at->error);
    assert_true((cursor != NULL) == (status == DAYBOOK_OK));
    daybook_engine_cursor_close(cursor);
    return status;
}

static daybook_status act_kv_read(world *at) {
    daybook_engine_cursor *cursor = NULL;
    daybook_status status =
        daybook_kv_read(daybook_store_engine(at->store), BUCKET, daybook_text(""), 1, 0, &cursor, &at->error);
    assert_true((cursor != NULL) == (status == DAYBOOK_OK));
    daybook_kv_entry entry;
    while (status == DAYBOOK_OK) status = daybook_kv_next(cursor, 0, &entry, &at->error);
    daybook_engine_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static const call kv_calls[] = {
    {"kv add", act_kv_add, NULL, 0},
    {"kv remove", act_kv_remove, prepare_bucket, 0},
    {"kv put", act_kv_put, NULL, 0},
    {"kv create", act_kv_create, NULL, 0},
    {"kv update", act_kv_update, prepare_key, 0},
    {"kv delete", act_kv_delete, prepare_key, 0},
    {"kv purge", act_kv_purge, prepare_key, PARTIAL},
    {"kv get", act_kv_get, NULL, READS},
    {"kv read", act_kv_read, NULL, READS},
};

// ---- State --------------------------------------------------------------------------------------------------

#define ORDER daybook_text("orders.1")

static daybook_status act_state_load(world *at) {
    daybook_state *state = NULL;
    daybook_status status =
        daybook_state_load(daybook_store_engine(at->store), ORDER, NULL, &state, &at->error);
    assert_true((state != NULL) == (status == DAYBOOK_OK));
    if (state != NULL) assert_string_equal(state->json, "{\"a\":{\"b\":1,\"c\":[1,2.5]},\"n\":\"x\"}");
    daybook_state_release(state);
    return status;
}

static daybook_status act_state_history(world *at) {
    return daybook_state_history(daybook_store_engine(at->store), ORDER, NULL, ignore_history, NULL,
                                 &at->error);
}

static daybook_status act_state_diff(world *at) {
    char *changes = NULL;
    daybook_status status =
        daybook_state_diff(daybook_store_engine(at->store), ORDER, 1, 2, &changes, &at->error);
    assert_true((changes != NULL) == (status == DAYBOOK_OK));
    daybook_text_release(changes);
    return status;
}

static daybook_status act_snapshot_take(world *at) {
    return daybook_snapshot_take(daybook_store_engine(at->store), daybook_text("orders.2"), NULL, &at->error);
}

static daybook_status act_snapshot_show(world *at) {
    char *json = NULL;
    daybook_status status = daybook_snapshot_show(daybook_store_engine(at->store), ORDER, &json, &at->error);
    assert_true((json != NULL) == (status == DAYBOOK_OK));
    daybook_text_release(json);
    return status;
}

static daybook_status act_snapshot_list(world *at) {
    return daybook_snapshot_list(daybook_store_engine(at->store), daybook_text(""), ignore_snapshot, NULL,
                                 &at->error);
}

static void prepare_snapshot(world *at) {
    assert_int_equal(
        daybook_snapshot_take(daybook_store_engine(at->store), daybook_text("orders.2"), NULL, NULL),
        DAYBOOK_OK);
}

static daybook_status act_snapshot_remove(world *at) {
    return daybook_snapshot_remove(daybook_store_engine(at->store), daybook_text("orders.2"), &at->error);
}

static daybook_status act_why(world *at) {
    return daybook_why(daybook_store_engine(at->store), daybook_text("two"), ignore_step, NULL, &at->error);
}

static daybook_status act_why_version(world *at) {
    return daybook_why(daybook_store_engine(at->store), daybook_text("orders.1@2"), ignore_step, NULL,
                       &at->error);
}

static daybook_status act_trace(world *at) {
    return daybook_trace(daybook_store_engine(at->store), daybook_text("all"), ignore_step, NULL, &at->error);
}

static const call state_calls[] = {
    {"state", act_state_load, NULL, READS},
    {"state history", act_state_history, NULL, READS},
    {"state diff", act_state_diff, NULL, READS},
    {"snapshot take", act_snapshot_take, NULL, PARTIAL},
    {"snapshot show", act_snapshot_show, NULL, READS},
    {"snapshot list", act_snapshot_list, NULL, READS},
    {"snapshot remove", act_snapshot_remove, prepare_snapshot, PARTIAL},
    {"why", act_why, NULL, READS},
    {"why version", act_why_version, NULL, READS},
    {"trace", act_trace, NULL, READS},
};

// ---- With threads -------------------------------------------------------------------------------------------

enum { ROUND_COUNT = 60, ROUND_APPENDS = 12 };

// Flushes and merges in the background meet the failures, wherever they are at that moment.
static void check_background(world *at, unsigned round, uint64_t *acknowledged) {
    static char data[3000];
    memset(data, 'x', sizeof data - 1);
    for (unsigned i = 0; i < ROUND_APPENDS; i++) {
        fault_allocator_fail(&at->faults, (round * 7 + i * 13) % 90 + 1, round % 2 == 1);
        daybook_event event = event_of("orders.9.large", data);
        daybook_status status = daybook_append(at->store, &event, 1, NULL, NULL, &at->error);
        // Where no flush succeeds an append may be told that instead of waiting.
        if (status != DAYBOOK_OK && status != DAYBOOK_ENOMEM)
            fail_msg("round %u: %s: %s", round, daybook_status_name(status), at->error.message);
        *acknowledged += status == DAYBOOK_OK;
        fault_allocator_fail(&at->faults, 0, false);
    }
    if (round % 8 == 7) assert_int_equal(daybook_flush(at->store, &at->error), DAYBOOK_OK);
}

static void work_in_the_background_survives(void **state) {
    (void)state;
    world at;
    begin(&at, 2);
    assert_int_equal(daybook_close(at.store, NULL), DAYBOOK_OK);
    at.options.flags = 0;
    at.store = open_with(&at, 0);
    daybook_query query;
    daybook_query_init(&query);
    daybook_slice filter = daybook_text("orders.9.large");
    query.filters = &filter;
    query.filter_count = 1;
    uint64_t acknowledged = 0;
    uint64_t found = 0;
    for (unsigned round = 0; round < ROUND_COUNT; round++) {
        check_background(&at, round, &acknowledged);
        assert_int_equal(daybook_count(at.store, &query, &found, NULL), DAYBOOK_OK);
        assert_int_equal(found, acknowledged);
        if (round % 16 != 15) continue;
        dbk_sim_crash(at.sim, DBK_SIM_POWER_LOSS_DROP_ALL);
        (void)daybook_close(at.store, NULL);
        assert_int_equal(fault_allocator_live(&at.faults), 0);
        at.store = open_with(&at, 0);
        assert_int_equal(daybook_count(at.store, &query, &found, NULL), DAYBOOK_OK);
        assert_int_equal(found, acknowledged);
    }
    assert_true(acknowledged > ROUND_COUNT);
    end(&at);
}

// ---- The tests ----------------------------------------------------------------------------------------------

static void opening_closing_and_care_survive(void **state) {
    (void)state;
    CHECK_CALLS(store_calls);
}

static void appends_are_whole_or_not_at_all(void **state) {
    (void)state;
    CHECK_CALLS(append_calls);
}

static void reads_go_on_where_they_were(void **state) {
    (void)state;
    CHECK_CALLS(read_calls);
}

static void streams_and_removals_are_whole_or_not_at_all(void **state) {
    (void)state;
    CHECK_CALLS(stream_calls);
}

static void buckets_are_whole_or_not_at_all(void **state) {
    (void)state;
    CHECK_CALLS(kv_calls);
}

static void states_and_traces_survive(void **state) {
    (void)state;
    CHECK_CALLS(state_calls);
}

static uint64_t number_from(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

int main(void) {
    seed = number_from("DAYBOOK_SEED", (uint64_t)time(NULL) / 86400);
    stride = number_from("DAYBOOK_STRIDE", IS_SLOW_BUILD ? STRIDE_SLOW : 1);
    if (stride == 0) stride = 1;
    print_message("DAYBOOK_SEED=%llu DAYBOOK_STRIDE=%llu\n", (unsigned long long)seed,
                  (unsigned long long)stride);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_closing_and_care_survive),
        cmocka_unit_test(appends_are_whole_or_not_at_all),
        cmocka_unit_test(reads_go_on_where_they_were),
        cmocka_unit_test(streams_and_removals_are_whole_or_not_at_all),
        cmocka_unit_test(buckets_are_whole_or_not_at_all),
        cmocka_unit_test(states_and_traces_survive),
        cmocka_unit_test(work_in_the_background_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
