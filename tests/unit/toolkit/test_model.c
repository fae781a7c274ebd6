// SPDX-License-Identifier: Apache-2.0
// State against a naive fold: random events with random times, removals, snapshots, flushes and restarts;
// then states at random moments must be those of a list kept by the test.
#include <jansson.h>

#include "fixture.h"
#include "json/json.h"

enum { AGGREGATE_COUNT = 3, EVENT_COUNT_MAX = 400, OPERATION_COUNT = 700 };

typedef struct told {
    uint64_t version, seq;
    int64_t time_ns, recorded_ns;
    json_t *patch; // NULL: no JSON object
    int is_removed;
} told;

typedef struct naive_model {
    fixture *store;
    told events[AGGREGATE_COUNT][EVENT_COUNT_MAX];
    unsigned counts[AGGREGATE_COUNT];
    uint64_t seed;
    unsigned from_snapshot_count;
} naive_model;

static unsigned pick(naive_model *model, unsigned count) {
    model->seed = model->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(model->seed >> 33) % count;
}

static json_t *random_patch(naive_model *model, int depth) {
    json_t *patch = json_object();
    for (unsigned i = 1 + pick(model, 3); i > 0; i--) {
        char name[2] = {(char)('a' + pick(model, 5)), '\0'};
        unsigned kind = pick(model, 6);
        json_t *value = kind == 0               ? json_null()
                        : kind == 1             ? json_real(pick(model, 1000) / 7.0)
                        : kind < 4 && depth > 0 ? random_patch(model, depth - 1)
                                                : json_integer((json_int_t)pick(model, 100));
        assert_int_equal(json_object_set_new(patch, name, value), 0);
    }
    return patch;
}

static void name_of(unsigned aggregate, char name_out[32]) {
    (void)snprintf(name_out, 32, "orders.%u", aggregate);
}

static void tell(naive_model *model, unsigned aggregate) {
    if (model->counts[aggregate] == EVENT_COUNT_MAX) return;
    told *event = &model->events[aggregate][model->counts[aggregate]++];
    char subject[48];
    (void)snprintf(subject, sizeof subject, "orders.%u.step", aggregate);
    daybook_event said;
    daybook_event_init(&said);
    said.subject = daybook_text(subject);
    said.time_ns = (int64_t)pick(model, 1000);
    char *text = NULL;
    event->patch = pick(model, 8) == 0 ? NULL : random_patch(model, 2);
    if (event->patch != NULL) text = json_dumps(event->patch, JSON_COMPACT);
    said.data = daybook_text(text == NULL ? "no json" : text);
    daybook_receipt receipt = fixture_append_event(model->store, &said);
    event->version = receipt.version;
    event->seq = receipt.seq;
    event->time_ns = said.time_ns;
    event->recorded_ns = receipt.recorded_ns;
    assert_int_equal(event->version, model->counts[aggregate]);
    free(text);
}

static void remove_event(naive_model *model, unsigned aggregate) {
    if (model->counts[aggregate] == 0) return;
    told *event = &model->events[aggregate][pick(model, model->counts[aggregate])];
    if (event->is_removed) return;
    assert_ok(model->store, daybook_event_remove(model->store->store, daybook_text("ORDERS"), event->seq, 0,
                                                 &model->store->error));
    event->is_removed = 1;
}

static int is_in(const told *event, const daybook_moment *moment) {
    if (event->is_removed) return 0;
    if (moment->version != 0) return event->version <= moment->version;
    if (moment->seq != 0) return event->seq <= moment->seq;
    if (moment->time_ns != DAYBOOK_TIME_NONE) return event->time_ns <= moment->time_ns;
    return moment->known_at_ns == DAYBOOK_TIME_NONE || event->recorded_ns <= moment->known_at_ns;
}

static void random_moment(naive_model *model, unsigned aggregate, daybook_moment *moment) {
    unsigned count = model->counts[aggregate];
    const told *event = &model->events[aggregate][count == 0 ? 0 : pick(model, count)];
    daybook_moment_init(moment);
    switch (count == 0 ? 0 : pick(model, 5)) {
    case 1:
        moment->version = 1 + pick(model, count);
        break;
    case 2:
        moment->seq = event->seq + pick(model, 2);
        break;
    case 3:
        moment->time_ns = (int64_t)pick(model, 1100);
        break;
    case 4:
        moment->known_at_ns = event->recorded_ns - (int64_t)pick(model, 2);
        break;
    default:
        break;
    }
}

static void check(naive_model *model, unsigned aggregate) {
    daybook_moment moment;
    random_moment(model, aggregate, &moment);
    json_t *expected = json_object();
    uint64_t version = 0;
    for (unsigned i = 0; i < model->counts[aggregate]; i++) {
        const told *event = &model->events[aggregate][i];
        if (!is_in(event, &moment)) continue;
        version = event->version;
        if (event->patch != NULL) assert_int_equal(dbk_json_merge(expected, event->patch), DAYBOOK_OK);
    }
    char name[32];
    name_of(aggregate, name);
    daybook_state *state = NULL;
    daybook_status status = daybook_state_load(daybook_store_engine(model->store->store), daybook_text(name),
                                               &moment, &state, &model->store->error);
    assert_status(model->store, status, version == 0 ? DAYBOOK_ENOTFOUND : DAYBOOK_OK);
    if (version > 0) {
        json_t *got = NULL;
        assert_int_equal(dbk_json_parse(daybook_text(state->json), &got, NULL), DAYBOOK_OK);
        if (!json_equal(got, expected) || state->version != version)
            fail_msg("%s: version %d (from snapshot %d) instead of %d: %s", name, (int)state->version,
                     (int)state->snapshot_version, (int)version, state->json);
        model->from_snapshot_count += state->snapshot_version > 0;
        json_decref(got);
    }
    daybook_state_release(state);
    json_decref(expected);
}

static void operate(naive_model *model) {
    unsigned aggregate = pick(model, AGGREGATE_COUNT);
    char name[32];
    name_of(aggregate, name);
    switch (pick(model, 20)) {
    case 0:
        remove_event(model, aggregate);
        break;
    case 1:
    case 2: {
        daybook_status status = daybook_snapshot_take(daybook_store_engine(model->store->store),
                                                      daybook_text(name), NULL, &model->store->error);
        if (status != DAYBOOK_ENOTFOUND) assert_ok(model->store, status);
        break;
    }
    case 3:
        if (pick(model, 5) == 0) fixture_reopen(model->store);
        break;
    default:
        tell(model, aggregate);
        break;
    }
    check(model, pick(model, AGGREGATE_COUNT));
}

static void states_are_those_of_a_naive_fold(void **context) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        if (seed > 1) {
            // A store of its own for each seed; the state of cmocka says which kind.
            void *kind = ((fixture *)*context)->is_memory    ? NULL
                         : ((fixture *)*context)->is_flushed ? fixture_segments
                                                             : fixture_directory;
            assert_int_equal(fixture_close(context), 0);
            *context = kind;
            assert_int_equal(fixture_open(context), 0);
        }
        naive_model *model = calloc(1, sizeof *model);
        assert_non_null(model);
        model->store = *context;
        model->seed = seed;
        for (int i = 0; i < OPERATION_COUNT; i++) operate(model);
        assert_true(model->from_snapshot_count > 50);
        for (unsigned i = 0; i < AGGREGATE_COUNT; i++)
            for (unsigned j = 0; j < model->counts[i]; j++) json_decref(model->events[i][j].patch);
        free(model);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {FIXTURE_TEST(states_are_those_of_a_naive_fold)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
