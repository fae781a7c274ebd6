// SPDX-License-Identifier: Apache-2.0
// The smallest program with a server in it: two calls, and an event of its own store in between.
#include <daybook/daybook.h>
#include <daybook/server.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_store *store = NULL;
    daybook_status status = daybook_open(":memory:", NULL, &store, &error);
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.host = "127.0.0.1";
    options.port = -1;
    options.store = store;
    daybook_server *server = NULL;
    if (status == DAYBOOK_OK) status = daybook_server_start(&options, &server, &error);
    if (status != DAYBOOK_OK) {
        fprintf(stderr, "%s: %s\n", daybook_status_name(status), error.message);
        return 1;
    }
    printf("%s\n", daybook_server_url(server));
    int right = strncmp(daybook_server_url(server), "nats://127.0.0.1:", 17) == 0 &&
                daybook_server_store(server) == store;
    right = daybook_server_stop(server, &error) == DAYBOOK_OK && right;
    return daybook_close(store, NULL) == DAYBOOK_OK && right ? 0 : 1;
}
