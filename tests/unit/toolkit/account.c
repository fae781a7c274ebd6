// SPDX-License-Identifier: Apache-2.0
#include "account.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

daybook_aggregate_type account_type;
daybook_snapshot_codec account_codec;
daybook_snapshot_codec account_json;
static daybook_snapshot_migration migrations[1];

static char *copy_text(daybook_slice text) {
    char *copy = malloc(text.size + 1);
    if (copy == NULL) return NULL;
    if (text.size > 0) memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return copy;
}

static int64_t amount_of(daybook_slice data) {
    char text[32] = "";
    memcpy(text, data.data, data.size < sizeof text ? data.size : sizeof text - 1);
    return strtoll(text, NULL, 10);
}

static daybook_status init(void *state, void *context, daybook_error *error) {
    (void)context;
    (void)error;
    account *of = state;
    of->owner = copy_text(daybook_text("nobody"));
    return of->owner == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
}

static void deinit(void *state, void *context) {
    (void)context;
    free(((account *)state)->owner);
}

static daybook_status evolve(void *state, void *context, const daybook_recorded_event *event,
                             daybook_error *error) {
    (void)context;
    account *of = state;
    if (daybook_type_is(event, "opened")) {
        free(of->owner);
        of->owner = copy_text(event->event.data);
        return of->owner == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
    }
    if (daybook_type_is(event, "poison")) return daybook_refuse(error, "poisoned");
    if (daybook_type_is(event, "strange")) return DAYBOOK_END;
    if (!daybook_type_is(event, "paid")) return DAYBOOK_OK;
    of->balance += amount_of(event->event.data);
    of->payment_count++;
    return DAYBOOK_OK;
}

// Binary: balance, payments, owner.
static daybook_status encode(const void *state, void *context, daybook_writer *writer, daybook_error *error) {
    (void)context;
    (void)error;
    const account *of = state;
    daybook_writer_put(writer, &of->balance, sizeof of->balance);
    daybook_writer_put(writer, &of->payment_count, sizeof of->payment_count);
    daybook_writer_put(writer, of->owner, strlen(of->owner));
    return DAYBOOK_OK;
}

static daybook_status decode(void *state, void *context, daybook_slice bytes, daybook_error *error) {
    (void)context;
    (void)error;
    account *of = state;
    if (bytes.size < 16) return DAYBOOK_EINVALID;
    memcpy(&of->balance, bytes.data, 8);
    memcpy(&of->payment_count, (const char *)bytes.data + 8, 8);
    free(of->owner);
    of->owner = copy_text(daybook_bytes((const char *)bytes.data + 16, bytes.size - 16));
    return of->owner == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
}

// Schema account/1 kept the balance in whole units of 100, and no payments.
static daybook_status from_1(void *context, daybook_slice state, daybook_writer *writer,
                             daybook_error *error) {
    (void)context;
    (void)error;
    int64_t units;
    uint64_t count = 0;
    if (state.size < 8) return DAYBOOK_EINVALID;
    memcpy(&units, state.data, 8);
    units *= 100;
    daybook_writer_put(writer, &units, 8);
    daybook_writer_put(writer, &count, 8);
    daybook_writer_put(writer, (const char *)state.data + 8, state.size - 8);
    return DAYBOOK_OK;
}

static daybook_status encode_json(const void *state, void *context, daybook_writer *writer,
                                  daybook_error *error) {
    (void)context;
    (void)error;
    const account *of = state;
    char text[256];
    int size = snprintf(text, sizeof text, "{\"balance\":%" PRId64 ",\"payments\":%" PRIu64 "}", of->balance,
                        of->payment_count);
    daybook_writer_put(writer, text, (size_t)size);
    return DAYBOOK_OK;
}

static daybook_status decode_json(void *state, void *context, daybook_slice bytes, daybook_error *error) {
    (void)context;
    (void)error;
    account *of = state;
    char text[256] = "";
    memcpy(text, bytes.data, bytes.size < sizeof text ? bytes.size : sizeof text - 1);
    return sscanf(text, "{\"balance\":%" SCNd64 ",\"payments\":%" SCNu64 "}", &of->balance,
                  &of->payment_count) == 2
               ? DAYBOOK_OK
               : DAYBOOK_EINVALID;
}

void account_types_init(void) {
    daybook_snapshot_codec_init(&account_codec);
    account_codec.schema = daybook_text("account/2");
    account_codec.encode = encode;
    account_codec.decode = decode;
    migrations[0].from = daybook_text("account/1");
    migrations[0].to = daybook_text("account/2");
    migrations[0].migrate = from_1;
    account_codec.migrations = migrations;
    account_codec.migration_count = 1;
    daybook_snapshot_codec_init(&account_json);
    account_json.schema = daybook_text("account-json/1");
    account_json.is_json = 1;
    account_json.encode = encode_json;
    account_json.decode = decode_json;
    daybook_aggregate_type_init(&account_type);
    account_type.category = daybook_text("accounts");
    account_type.state_size = sizeof(account);
    account_type.init = init;
    account_type.evolve = evolve;
    account_type.deinit = deinit;
    account_type.codec = &account_codec;
}

static void note_decision(const account_command *command) {
    if (command->decision_count == NULL) return;
    ++*command->decision_count;
    if (command->before != NULL) command->before(command->context, *command->decision_count);
}

daybook_status account_open(const void *state, const void *given, daybook_decision *decision,
                            daybook_error *error) {
    (void)state;
    const account_command *command = given;
    note_decision(command);
    if (daybook_decision_version(decision) > 0) return daybook_refuse(error, "the account is open already");
    return daybook_decision_add(decision, "opened", daybook_text(command->owner), error);
}

daybook_status account_pay(const void *state, const void *given, daybook_decision *decision,
                           daybook_error *error) {
    const account_command *command = given;
    const account *of = state;
    note_decision(command);
    if (daybook_decision_version(decision) == 0) return daybook_refuse(error, "there is no such account");
    if (of->balance + command->amount < 0) return daybook_refuse(error, "not enough on the account");
    if (command->amount == 0) return DAYBOOK_OK;
    int count = command->event_count == 0 ? 1 : command->event_count;
    for (int i = 0; i < count; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "%" PRId64, command->amount);
        daybook_status status = daybook_decision_add(decision, "paid", daybook_text(text), error);
        if (status != DAYBOOK_OK) return status;
    }
    return DAYBOOK_OK;
}
