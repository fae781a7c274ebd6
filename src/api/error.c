// SPDX-License-Identifier: Apache-2.0
// The table of errors at work: numbers and texts, what stands for a text's `{…}`, and statuses of the store.
#include "api/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "json/json.h"

typedef struct entry {
    int error_code;
    int code;
    const char *text;
} entry;

static const entry entries[DBK_API_ERROR_COUNT] = {
#define DBK_API_ERROR_ENTRY(name, error_code, code, text) {error_code, code, text},
    DBK_API_ERROR_MAP(DBK_API_ERROR_ENTRY)
#undef DBK_API_ERROR_ENTRY
};

// Cut to what fits, and not within a character.
static void append(dbk_api_error *error, size_t *size, const char *text, size_t text_size) {
    size_t room = sizeof error->description - 1 - *size;
    if (text_size > room) {
        text_size = room;
        while (text_size > 0 && ((unsigned char)text[text_size] & 0xc0) == 0x80) text_size--;
    }
    memcpy(error->description + *size, text, text_size);
    *size += text_size;
    error->description[*size] = '\0';
}

static void fill(dbk_api_error *error, dbk_api_error_kind kind, const char *value) {
    const char *text = entries[kind].text;
    const char *open = strchr(text, '{');
    const char *close = open == NULL ? NULL : strchr(open, '}');
    size_t size = 0;
    error->code = entries[kind].code;
    error->error_code = entries[kind].error_code;
    if (close == NULL) {
        append(error, &size, text, strlen(text));
        return;
    }
    append(error, &size, text, (size_t)(open - text));
    append(error, &size, value, strlen(value));
    append(error, &size, close + 1, strlen(close + 1));
}

bool dbk_api_fail(dbk_api_error *error, dbk_api_error_kind kind) {
    if (error != NULL) fill(error, kind, "");
    return false;
}

bool dbk_api_fail_with(dbk_api_error *error, dbk_api_error_kind kind, const char *format, ...) {
    char value[DBK_API_ERROR_TEXT_SIZE + 8]; // Longer, so that the cut falls behind where it is seen.
    va_list arguments;
    if (error == NULL) return false;
    va_start(arguments, format);
    int size = vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    fill(error, kind, size < 0 ? "" : value);
    return false;
}

bool dbk_api_fail_memory(dbk_api_error *error) {
    return dbk_api_fail(error, DBK_API_ERR_INSUFFICIENT_RESOURCES);
}

bool dbk_api_fail_status(dbk_api_error *error, daybook_status status, const daybook_error *cause,
                         dbk_api_error_kind otherwise) {
    switch (status) {
    case DAYBOOK_ENOMEM:
        return dbk_api_fail_memory(error);
    case DAYBOOK_ENOSPC:
        return dbk_api_fail(error, DBK_API_ERR_STORAGE_RESOURCES_EXCEEDED);
    case DAYBOOK_EOVERLAP:
        return dbk_api_fail(error, DBK_API_ERR_STREAM_SUBJECT_OVERLAP);
    case DAYBOOK_ENOSTREAM:
        return dbk_api_fail(error, DBK_API_ERR_STREAM_NOT_FOUND);
    default:
        break;
    }
    bool has_message = cause != NULL && cause->message[0] != '\0';
    return dbk_api_fail_with(error, otherwise, "%s",
                             has_message ? cause->message : daybook_status_text(status));
}

void dbk_api_write_error_object(dbk_buf *out, const dbk_api_error *error) {
    dbk_buf_append_slice(out, daybook_text("{\"code\":"));
    dbk_decimal_append_signed(out, error->code);
    dbk_buf_append_slice(out, daybook_text(",\"err_code\":"));
    dbk_decimal_append_signed(out, error->error_code);
    if (error->description[0] != '\0') {
        dbk_buf_append_slice(out, daybook_text(",\"description\":"));
        dbk_json_write_go_string(out, daybook_text(error->description));
    }
    dbk_buf_append_u8(out, '}');
}
