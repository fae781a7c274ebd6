// SPDX-License-Identifier: Apache-2.0
// Options of a server. Input: the text of a configuration, a zero byte, the text of the command line. What is taken keeps
// its bounds and does not differ from itself; what is refused says why.
#include "fuzz.h"

#include "daybook/server.h"
#include "options/options.h"

static void check_texts(const dbk_text_list *texts) {
    for (size_t i = 0; i < texts->count; i++) (void)fuzz_touch(daybook_text(texts->items[i]));
}

static void check_listen(const dbk_listen_options *listen) {
    FUZZ_CHECK(listen->port >= DBK_PORT_RANDOM && listen->port <= 65535);
    (void)fuzz_touch(daybook_text(listen->host));
}

static void check_users(const dbk_auth_options *auth) {
    FUZZ_CHECK(!auth->is_set || auth->token != NULL || auth->user_count > 0);
    for (size_t i = 0; i < auth->user_count; i++) {
        const dbk_user_options *user = &auth->users[i];
        FUZZ_CHECK((user->user != NULL) != (user->nkey != NULL) &&
                   (user->user == NULL || user->password != NULL));
        check_texts(&user->permissions.publish.allow);
        check_texts(&user->permissions.publish.deny);
        check_texts(&user->permissions.subscribe.allow);
        check_texts(&user->permissions.subscribe.deny);
    }
}

static void check_options(const dbk_options *options) {
    check_listen(&options->client);
    check_listen(&options->http);
    check_users(&options->auth);
    check_texts(&options->notices);
    check_texts(&options->tags);
    FUZZ_CHECK(options->limits.payload_max > 0 && options->limits.payload_max <= options->limits.pending_max);
    FUZZ_CHECK(options->limits.control_line_max > 0 && options->limits.ping_interval_ns > 0);
    FUZZ_CHECK(options->lame_duck_grace_ns < options->lame_duck_duration_ns && options->auth.timeout_ns > 0);
    FUZZ_CHECK(!options->tls.is_set || (options->tls.cert_file != NULL && options->tls.key_file != NULL));
    uint32_t changed;
    FUZZ_CHECK(dbk_options_diff(options, options, &changed, NULL) == DAYBOOK_OK && changed == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dbk_slice input = daybook_bytes(data, size);
    daybook_server_options given;
    memset(&given, 0, sizeof given);
    given.config_text = fuzz_take_text(&input);
    given.overrides = fuzz_take_text(&input);
    dbk_options *options;
    daybook_error error;
    daybook_status status = dbk_options_load(&given, NULL, dbk_allocator_default(), &options, &error);
    if (status == DAYBOOK_OK) {
        check_options(options);
    } else {
        FUZZ_CHECK(options == NULL && error.message[0] != '\0' && error.status == status);
    }
    dbk_options_free(options);
    return 0;
}
