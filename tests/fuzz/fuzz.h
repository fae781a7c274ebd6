// SPDX-License-Identifier: Apache-2.0
// What fuzz targets share: the entry point, a check that stays in every build, and taking input apart.
#ifndef DBK_TESTS_FUZZ_H
#define DBK_TESTS_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(expression) \
    ((expression)              \
         ? (void)0             \
         : (fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #expression), abort()))

/// Takes what precedes the next zero byte (or the rest) from the front of the input.
static inline dbk_slice fuzz_take_text(dbk_slice *input) {
    const uint8_t *bytes = input->data;
    size_t size = 0;
    while (size < input->size && bytes[size] != 0) size++;
    size_t step = size < input->size ? size + 1 : size;
    dbk_slice text = daybook_bytes(bytes, size);
    *input = daybook_bytes(bytes + step, input->size - step);
    return text;
}

/// Touches every byte, so that a sanitizer sees a slice that points elsewhere.
static inline unsigned fuzz_touch(dbk_slice slice) {
    const volatile uint8_t *bytes = slice.data;
    unsigned sum = 0;
    for (size_t i = 0; i < slice.size; i++) sum += bytes[i];
    return sum;
}

#endif
