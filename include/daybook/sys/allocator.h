/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Bring your own memory. All memory of a store comes through one allocator, so that a host can
 * account for it and tests can make the N-th allocation fail. Running out is a status, no abort.
 */
#ifndef DAYBOOK_SYS_ALLOCATOR_H
#define DAYBOOK_SYS_ALLOCATOR_H

#include "daybook/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Any thread may call; both functions must be thread-safe. */
typedef struct daybook_allocator {
    void *context;
    /** Like realloc: `data` NULL allocates; NULL on failure, leaving `data` as it was. size > 0. */
    void *(*resize)(void *context, void *data, size_t size);
    /** Like free: NULL is fine. */
    void (*release)(void *context, void *data);
} daybook_allocator;

#ifdef __cplusplus
}
#endif
#endif
