// SPDX-License-Identifier: Apache-2.0
// The smallest program that needs all libraries: append two events, fold them, print the state, and check the SQL of a
// read model.
#include <daybook/daybook.h>
#include <stdio.h>
#include <string.h>

static daybook_status append(daybook_store *store, const char *subject, const char *data,
                             daybook_error *error) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text(data);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    return daybook_append(store, &event, 1, &options, NULL, error);
}

int main(void) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_store *store = NULL;
    daybook_status status = daybook_open(":memory:", NULL, &store, &error);
    if (status == DAYBOOK_OK) status = append(store, "orders.1.placed", "{\"total\":10}", &error);
    if (status == DAYBOOK_OK) status = append(store, "orders.1.paid", "{\"paid\":true}", &error);
    daybook_state *state = NULL;
    if (status == DAYBOOK_OK) {
        status =
            daybook_state_load(daybook_store_engine(store), daybook_text("orders.1"), NULL, &state, &error);
    }
    if (status != DAYBOOK_OK) {
        fprintf(stderr, "%s: %s\n", daybook_status_name(status), error.message);
        return 1;
    }
    printf("%s %s\n", daybook_version(), state->json);
    int right = strcmp(state->json, "{\"total\":10,\"paid\":true}") == 0 ||
                strcmp(state->json, "{\"paid\":true,\"total\":10}") == 0;
    daybook_state_release(state);
    char name[64] = "";
    right = right && daybook_projection_check(
                         daybook_text("-- projection: orders\n-- version: 1\n-- events: orders.>\n"
                                      "-- [on orders.>]\nSELECT :id;\n"),
                         NULL, name, NULL) == DAYBOOK_OK;
    right = right && strcmp(name, "orders") == 0;
    return daybook_close(store, NULL) == DAYBOOK_OK && right ? 0 : 1;
}
