// SPDX-License-Identifier: Apache-2.0
// An account, the aggregate of the toolkit's tests: events `opened` (data: the owner), `paid` (data: an amount,
// negative for what goes out) and others that it does not know.
#ifndef DBK_TESTS_ACCOUNT_H
#define DBK_TESTS_ACCOUNT_H

#include "daybook/aggregate.h"

typedef struct account {
    int64_t balance;
    uint64_t payment_count;
    char *owner; // owned
} account;

extern daybook_aggregate_type account_type;  // category "accounts", codec account_codec
extern daybook_snapshot_codec account_codec; // schema "account/2", binary; migrates from "account/1"
extern daybook_snapshot_codec account_json;  // schema "account-json/1"

/// Fills the three above; call it before each test.
void account_types_init(void);

/// Deciders. The command is an account_command.
typedef struct account_command {
    int64_t amount;
    const char *owner;
    int event_count;                          // of a payment: in how many events; 0: one
    void (*before)(void *context, int count); // called by each decision, counted from 1
    void *context;
    int *decision_count;
} account_command;

daybook_status account_open(const void *state, const void *command, daybook_decision *decision,
                            daybook_error *error);
/// Refuses to go below 0, and accounts not opened.
daybook_status account_pay(const void *state, const void *command, daybook_decision *decision,
                           daybook_error *error);

#endif
