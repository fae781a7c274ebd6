// SPDX-License-Identifier: Apache-2.0
#define _POSIX_C_SOURCE 200809L // clock_gettime
#include "lib/real_store.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/folder.h"

char real_path[64];
uint64_t real_seed;

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)fprintf(stderr, "\nFAILED (seed %" PRIu64 ", store kept in %s): ", real_seed, real_path);
    (void)vfprintf(stderr, format, arguments);
    (void)fprintf(stderr, "\n");
    va_end(arguments);
    abort();
}

int64_t now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint64_t number_from(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text == NULL || *text == '\0' ? otherwise : strtoull(text, NULL, 10);
}

void real_begin(const char *name) {
    if (!folder_make(name, real_path, sizeof real_path)) fail("no directory");
}

void real_end(void) {
    (void)folder_remove(real_path);
}

void real_options(daybook_open_options *options_out) {
    daybook_open_options_init(options_out);
    options_out->memory_budget_bytes = 16 << 20;
    options_out->memtable_bytes = 256 << 10;
    options_out->journal_max_bytes = 4 << 20;
}

daybook_store *real_open(const daybook_open_options *options) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_store *store;
    if (daybook_open(real_path, options, &store, &error) != DAYBOOK_OK) fail("open: %s", error.message);
    return store;
}
