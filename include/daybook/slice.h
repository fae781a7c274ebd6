/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Borrowed bytes: a pointer and a length. Text and data alike; never NUL-terminated by promise.
 * An empty slice has size 0; its pointer may be NULL.
 */
#ifndef DAYBOOK_SLICE_H
#define DAYBOOK_SLICE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef DAYBOOK_API
#if defined(__GNUC__)
#define DAYBOOK_API __attribute__((visibility("default")))
#else
#define DAYBOOK_API
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct daybook_slice {
    const void *data;
    size_t size;
} daybook_slice;

/** A slice over a NUL-terminated string; NULL gives the empty slice. */
static inline daybook_slice daybook_text(const char *text) {
    daybook_slice slice;
    slice.data = text;
    slice.size = text == NULL ? 0 : strlen(text);
    return slice;
}

/** A slice over `size` bytes at `data`. */
static inline daybook_slice daybook_bytes(const void *data, size_t size) {
    daybook_slice slice;
    slice.data = data;
    slice.size = size;
    return slice;
}

#ifdef __cplusplus
}
#endif
#endif
