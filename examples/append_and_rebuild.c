// SPDX-License-Identifier: Apache-2.0
// The main job in one page: append events, guard an append with the version you know, and rebuild state from
// what happened, now and as of any version.
//
//     cc append_and_rebuild.c $(pkg-config --cflags --libs daybook-toolkit)
//     ./a.out shop        (a directory; it is created)
#include <daybook/daybook.h>
#include <inttypes.h>
#include <stdio.h>

static int fail(const char *what, daybook_status status, const daybook_error *error) {
    fprintf(stderr, "%s: %s: %s\n", what, daybook_status_name(status), error->message);
    return 1;
}

// Append one event if the aggregate is still at `expected_version`; its new version comes back.
static daybook_status append(daybook_store *store, const char *subject, const char *data,
                             uint64_t expected_version, uint64_t *version_out, daybook_error *error) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text(data);
    event.actor = daybook_text("example");

    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_EXPECT_VERSION);
    condition.expected = expected_version;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = &condition;
    options.condition_count = 1;
    options.auto_stream = 1; // "orders.…" goes into stream ORDERS, made when it is first needed

    daybook_receipt receipt = {.size = sizeof receipt};
    daybook_status status = daybook_append(store, &event, 1, &options, &receipt, error);
    if (status == DAYBOOK_OK) *version_out = receipt.version;
    return status;
}

static daybook_status print_state(daybook_store *store, const char *aggregate, uint64_t version,
                                  daybook_error *error) {
    daybook_moment moment;
    daybook_moment_init(&moment);
    moment.version = version; // 0: now
    daybook_state *state = NULL;
    daybook_status status =
        daybook_state_load(daybook_store_engine(store), daybook_text(aggregate), &moment, &state, error);
    if (status != DAYBOOK_OK) return status;
    printf("version %" PRIu64 ": %s\n", state->version, state->json);
    daybook_state_release(state);
    return DAYBOOK_OK;
}

int main(int argc, char **argv) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_store *store = NULL;
    daybook_status status = daybook_open(argc > 1 ? argv[1] : ":memory:", NULL, &store, &error);
    if (status != DAYBOOK_OK) return fail("open", status, &error);

    uint64_t version = 0;
    status = append(store, "orders.17.placed", "{\"status\":\"placed\",\"total\":42}", 0, &version, &error);
    if (status == DAYBOOK_OK) {
        status = append(store, "orders.17.paid", "{\"status\":\"paid\"}", version, &version, &error);
    }
    if (status == DAYBOOK_OK) {
        status = append(store, "orders.17.shipped", "{\"status\":\"shipped\",\"carrier\":\"DHL\"}", version,
                        &version, &error);
    }
    if (status != DAYBOOK_OK) {
        (void)daybook_close(store, NULL);
        return fail("append", status, &error);
    }

    // Somebody who still believes in version 1 is told what is true now, and nothing is written.
    status = append(store, "orders.17.cancelled", "{\"status\":\"cancelled\"}", 1, &version, &error);
    if (status == DAYBOOK_ECONFLICT) {
        printf("refused: expected version %" PRIu64 ", it is %" PRIu64 "\n", error.expected, error.actual);
    }

    for (uint64_t at = 1; at <= version; at++) {
        status = print_state(store, "orders.17", at, &error);
        if (status != DAYBOOK_OK) break;
    }
    daybook_status closed = daybook_close(store, &error);
    if (status == DAYBOOK_OK) status = closed;
    return status == DAYBOOK_OK ? 0 : fail("state", status, &error);
}
