// SPDX-License-Identifier: Apache-2.0
// What verify and repair tell of: a finding, put together.
#ifndef DBK_STORE_FINDING_H
#define DBK_STORE_FINDING_H

#include <stdarg.h>
#include <stdbool.h>

#include "daybook/store.h"

enum { DBK_FINDING_MESSAGE_SIZE = 400 };

/// Where it is. Positions 0: of no events.
typedef struct dbk_finding_place {
    bool is_damage;
    const char *file;
    uint64_t offset;
    uint64_t position_first, position_last;
} dbk_finding_place;

/// A finding with the formatted message, which is kept in `message`. It borrows both.
daybook_finding dbk_finding_make(char message[DBK_FINDING_MESSAGE_SIZE], const dbk_finding_place *place,
                                 const char *format, va_list arguments) __attribute__((format(printf, 3, 0)));
/// The name of the file an error is about, without its directory; `fallback` where it names none.
const char *dbk_finding_file(const daybook_error *error, const char *fallback);

#endif
