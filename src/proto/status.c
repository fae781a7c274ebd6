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

enum { BEFORE_TEXT = sizeof "-ERR '" - 1, BEHIND_TEXT = sizeof "'\r\n" - 1 };

static const struct {
    fixed_text line;
    bool closes;
} errors[] = {
#define ERROR_LINE(name, text, closes) {{"-ERR '" text "'\r\n", sizeof("-ERR '" text "'\r\n") - 1}, closes},
    DBK_PROTO_ERRORS(ERROR_LINE)
#undef ERROR_LINE
};

dbk_slice dbk_proto_error_line(dbk_proto_error error) {
    return daybook_bytes(errors[error].line.text, errors[error].line.size);
}

dbk_slice dbk_proto_error_text(dbk_proto_error error) {
    dbk_slice line = dbk_proto_error_line(error);
    return daybook_bytes((const char *)line.data + BEFORE_TEXT, line.size - BEFORE_TEXT - BEHIND_TEXT);
}

bool dbk_proto_error_closes(dbk_proto_error error) {
    return errors[error].closes;
}
