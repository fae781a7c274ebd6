// SPDX-License-Identifier: Apache-2.0
// Texts as constants, put together by the compiler.
#include "proto/status.h"

typedef struct fixed_text {
    const char *text;
    size_t size;
} fixed_text;

static const fixed_text status_blocks[] = {
#define STATUS_BLOCK(name, text) {"NATS/1.0 " text "\r\n\r\n", sizeof("NATS/1.0 " text "\r\n\r\n") - 1},
    DBK_STATUSES(STATUS_BLOCK)
#undef STATUS_BLOCK
};

dbk_slice dbk_status_block(dbk_status status) {
    return daybook_bytes(status_blocks[status].text, status_blocks[status].size);
}

dbk_slice dbk_status_line(dbk_status status) {
    return daybook_bytes(status_blocks[status].text, status_blocks[status].size - 2);
}
