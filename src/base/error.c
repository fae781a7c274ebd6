// SPDX-License-Identifier: Apache-2.0
// Statuses as text, and the caller-owned error. Messages are cut at the buffer's end, never overrun, and cut
// at a character, so that a message is valid UTF-8 when its parts are. Pure but for strerror_r, any thread.
#define _POSIX_C_SOURCE 200809L // strerror_r

#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *daybook_status_name(daybook_status status) {
    switch (status) {
#define DBK_STATUS_NAME(name, number, text) \
    case DAYBOOK_##name:                    \
        return #name;
        DAYBOOK_STATUS_MAP(DBK_STATUS_NAME)
#undef DBK_STATUS_NAME
    }
    return "UNKNOWN";
}

const char *daybook_status_text(daybook_status status) {
    switch (status) {
#define DBK_STATUS_TEXT(name, number, text) \
    case DAYBOOK_##name:                    \
        return text;
        DAYBOOK_STATUS_MAP(DBK_STATUS_TEXT)
#undef DBK_STATUS_TEXT
    }
    return "unknown status";
}

void daybook_error_init(daybook_error *error) {
    if (error == NULL) return;
    memset(error, 0, sizeof *error);
    error->size = sizeof *error;
}

// Takes back a character that was cut in the middle at the end of a full buffer.
static void trim_cut_character(char *text, size_t capacity) {
    size_t size = strlen(text);
    if (size + 1 < capacity) return;
    size_t lead = size;
    while (lead > 0 && ((unsigned char)text[lead - 1] & 0xc0) == 0x80) lead--;
    if (lead == 0 || (unsigned char)text[lead - 1] < 0xc0) return;
    unsigned char byte = (unsigned char)text[lead - 1];
    size_t wanted = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    if (size - (lead - 1) < wanted) text[lead - 1] = '\0';
}

static void set_message(daybook_error *error, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void set_message(daybook_error *error, const char *format, va_list arguments) {
    if (vsnprintf(error->message, sizeof error->message, format, arguments) < 0) error->message[0] = '\0';
    trim_cut_character(error->message, sizeof error->message);
}

static void set_file(daybook_error *error, const char *path, uint64_t offset) {
    // The end of a long path says more than its beginning.
    size_t size = strlen(path);
    if (size >= sizeof error->file) path += size - (sizeof error->file - 1);
    (void)snprintf(error->file, sizeof error->file, "%s", path);
    error->offset = offset;
}

daybook_status dbk_fail(daybook_error *error, daybook_status status, const char *format, ...) {
    if (error == NULL) return status;
    daybook_error_init(error);
    error->status = status;
    va_list arguments;
    va_start(arguments, format);
    set_message(error, format, arguments);
    va_end(arguments);
    return status;
}

daybook_status dbk_fail_limit(daybook_error *error, daybook_limit limit, uint64_t allowed, uint64_t actual,
                              const char *format, ...) {
    if (error == NULL) return DAYBOOK_ELIMIT;
    daybook_error_init(error);
    error->status = DAYBOOK_ELIMIT;
    error->limit = (uint32_t)limit;
    error->expected = allowed;
    error->actual = actual;
    va_list arguments;
    va_start(arguments, format);
    set_message(error, format, arguments);
    va_end(arguments);
    return DAYBOOK_ELIMIT;
}

typedef struct errno_case {
    int number;
    daybook_status status;
    const char *remedy; // NULL: nothing better to say than the operating system does
} errno_case;

static const errno_case errno_cases[] = {
    {ENOSPC, DAYBOOK_ENOSPC, "free some space and try again"},
    {EDQUOT, DAYBOOK_ENOSPC, "free some space or raise the quota"},
    {EFBIG, DAYBOOK_ENOSPC, "raise the file size limit"},
    {EMFILE, DAYBOOK_EMFILE, "raise the limit of open files (ulimit -n)"},
    {ENFILE, DAYBOOK_EMFILE, "raise the system's limit of open files"},
    {EACCES, DAYBOOK_EPERMISSION, "check owner and permissions"},
    {EPERM, DAYBOOK_EPERMISSION, "check owner and permissions"},
    {ENOLCK, DAYBOOK_EIO, "use a file system that has locks"},
    {EROFS, DAYBOOK_EREADONLY, "make it writable or choose another place"},
    {ENOENT, DAYBOOK_ENOTFOUND, NULL},
    {EEXIST, DAYBOOK_EEXISTS, NULL},
    {ENOMEM, DAYBOOK_ENOMEM, "free some memory and try again"},
    {EIO, DAYBOOK_EIO, "see what the system's log says of the disk"},
};

daybook_status dbk_fail_system(daybook_error *error, int negative_errno, const char *action, const char *path,
                               uint64_t offset) {
    int number = negative_errno < 0 ? -negative_errno : negative_errno;
    daybook_status status = DAYBOOK_EIO;
    const char *remedy = NULL;
    for (size_t i = 0; i < sizeof errno_cases / sizeof errno_cases[0]; i++) {
        if (errno_cases[i].number != number) continue;
        status = errno_cases[i].status;
        remedy = errno_cases[i].remedy;
        break;
    }
    if (error == NULL) return status;

    char reason[128];
    if (strerror_r(number, reason, sizeof reason) != 0)
        (void)snprintf(reason, sizeof reason, "errno %d", number);
    const char *semicolon = remedy == NULL ? "" : "; ";
    if (remedy == NULL) remedy = "";
    if (path == NULL) {
        (void)dbk_fail(error, status, "cannot %s: %s%s%s", action, reason, semicolon, remedy);
    } else if (offset != 0) {
        (void)dbk_fail(error, status, "cannot %s %s at byte %llu: %s%s%s", action, path,
                       (unsigned long long)offset, reason, semicolon, remedy);
    } else {
        (void)dbk_fail(error, status, "cannot %s %s: %s%s%s", action, path, reason, semicolon, remedy);
    }
    if (path != NULL) set_file(error, path, offset);
    error->system_errno = number;
    return status;
}

daybook_status dbk_fail_damaged(daybook_error *error, const char *path, uint64_t offset, const char *format,
                                ...) {
    if (error == NULL) return DAYBOOK_EDAMAGED;
    daybook_error_init(error);
    error->status = DAYBOOK_EDAMAGED;
    va_list arguments;
    va_start(arguments, format);
    set_message(error, format, arguments);
    va_end(arguments);
    if (path != NULL) set_file(error, path, offset);
    return DAYBOOK_EDAMAGED;
}

void dbk_error_prepend(daybook_error *error, const char *prefix) {
    if (error == NULL) return;
    char rest[DAYBOOK_ERROR_MESSAGE_MAX];
    memcpy(rest, error->message, sizeof rest);
    rest[sizeof rest - 1] = '\0';
    int size = snprintf(error->message, sizeof error->message, "%s: ", prefix);
    if (size < 0) return;
    size_t used = strlen(error->message);
    size_t room = sizeof error->message - 1 - used;
    size_t kept = strlen(rest) < room ? strlen(rest) : room;
    memcpy(error->message + used, rest, kept);
    error->message[used + kept] = '\0';
    trim_cut_character(error->message, sizeof error->message);
}
