// SPDX-License-Identifier: Apache-2.0
// Making log lines and putting them away.
//
// A line is made on the caller's stack and written in one piece, under a lock: lines of several threads never
// mix. Line ends and other control characters within a text become blanks or '?', so that what a client said
// cannot forge a line. A line that cannot be written is lost; the next one that can says how many were. A
// file that has its size is put aside as <name>.<time>, and of those the oldest go where only so many are
// wanted.
//
// Threads: any. `level` is read without the lock, to decide cheaply.
#include "broker/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "base/error.h"
#include "base/time.h"

enum { REMOVED_AT_ONCE_MAX = 16 };

struct dbk_log {
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    void (*hook)(void *context, int level, daybook_slice line);
    void *hook_context;
    long process;

    atomic_int level_max; // the most talkative level that is written

    pthread_mutex_t lock; // of what follows
    bool time, time_utc;
    char *path; // NULL: the hook
    daybook_file *file;
    uint64_t file_size;
    uint64_t size_limit;     // 0: none
    uint64_t file_count_max; // 0: all are kept
    uint64_t lost_count;     // lines that could not be written
};

daybook_status dbk_log_new(const daybook_allocator *allocator, daybook_vfs *vfs,
                           void (*hook)(void *context, int level, daybook_slice line), void *hook_context,
                           dbk_log **log_out) {
    *log_out = NULL;
    dbk_log *log = dbk_alloc_zeroed(allocator, sizeof *log);
    if (log == NULL) return DAYBOOK_ENOMEM;
    log->allocator = allocator;
    log->vfs = vfs;
    log->hook = hook;
    log->hook_context = hook_context;
    log->process = (long)uv_os_getpid();
    log->time = true;
    atomic_init(&log->level_max, DAYBOOK_SERVER_LOG_INFO);
    if (pthread_mutex_init(&log->lock, NULL) != 0) {
        dbk_free(allocator, log);
        return DAYBOOK_ENOMEM;
    }
    *log_out = log;
    return DAYBOOK_OK;
}

static void close_file(dbk_log *log) {
    if (log->file != NULL) log->vfs->close(log->vfs, log->file);
    log->file = NULL;
}

void dbk_log_free(dbk_log *log) {
    if (log == NULL) return;
    close_file(log);
    dbk_free(log->allocator, log->path);
    pthread_mutex_destroy(&log->lock);
    dbk_free(log->allocator, log);
}

static daybook_status open_file(daybook_vfs *vfs, const char *path, daybook_file **file_out,
                                uint64_t *size_out, daybook_error *error) {
    daybook_file *file = NULL;
    int failure = vfs->open(vfs, path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file);
    if (failure != 0) return dbk_fail_system(error, failure, "open the log file", path, 0);
    failure = vfs->file_size(vfs, file, size_out);
    if (failure != 0) {
        vfs->close(vfs, file);
        return dbk_fail_system(error, failure, "find the size of the log file", path, 0);
    }
    *file_out = file;
    return DAYBOOK_OK;
}

daybook_status dbk_log_configure(dbk_log *log, const dbk_log_options *options, daybook_error *error) {
    char *path = NULL;
    daybook_file *file = NULL;
    uint64_t size = 0;
    if (options->file != NULL) {
        path = dbk_copy_text(log->allocator, daybook_text(options->file));
        if (path == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for the log file's name");
        daybook_status status = open_file(log->vfs, path, &file, &size, error);
        if (status != DAYBOOK_OK) {
            dbk_free(log->allocator, path);
            return status;
        }
    }
    pthread_mutex_lock(&log->lock);
    close_file(log);
    dbk_free(log->allocator, log->path);
    log->path = path;
    log->file = file;
    log->file_size = size;
    log->size_limit = (uint64_t)options->file_bytes_max;
    log->file_count_max = (uint64_t)options->file_count_max;
    log->time = options->time;
    log->time_utc = options->time_utc;
    pthread_mutex_unlock(&log->lock);
    atomic_store_explicit(&log->level_max,
                          options->trace   ? DAYBOOK_SERVER_LOG_TRACE
                          : options->debug ? DAYBOOK_SERVER_LOG_DEBUG
                                           : DAYBOOK_SERVER_LOG_INFO,
                          memory_order_relaxed);
    return DAYBOOK_OK;
}

/// Under the lock. Where the new file cannot be opened the old one stays.
static void reopen(dbk_log *log) {
    if (log->path == NULL) return;
    daybook_file *file = NULL;
    uint64_t size = 0;
    if (open_file(log->vfs, log->path, &file, &size, NULL) != DAYBOOK_OK) {
        log->lost_count++;
        return;
    }
    close_file(log);
    log->file = file;
    log->file_size = size;
}

void dbk_log_reopen(dbk_log *log) {
    pthread_mutex_lock(&log->lock);
    reopen(log);
    pthread_mutex_unlock(&log->lock);
}

bool dbk_log_wants(const dbk_log *log, int level) {
    if (level == DAYBOOK_SERVER_LOG_FATAL) return true;
    // DEBUG and TRACE are switched apart in NATS, where -V alone means trace without debug; here trace
    // includes debug.
    return level <= atomic_load_explicit(&((dbk_log *)(uintptr_t)log)->level_max, memory_order_relaxed);
}

static const char *level_text(int level) {
    static const char *const texts[] = {"ERR", "WRN", "INF", "DBG", "TRC", "FTL"};
    return level >= 0 && level < (int)(sizeof texts / sizeof *texts) ? texts[level] : "INF";
}

/// "[1234] 2026/02/28 12:00:00.000001 [INF] ", how many bytes.
static size_t write_head(const dbk_log *log, int level, char *out, size_t size) {
    int length;
    if (log->time) {
        int64_t now_ns = log->vfs->clock_real_ns(log->vfs);
        time_t seconds = (time_t)(now_ns / DBK_SECOND_NS);
        struct tm parts;
        char time[64] = "";
        if ((log->time_utc ? gmtime_r(&seconds, &parts) : localtime_r(&seconds, &parts)) != NULL) {
            (void)strftime(time, sizeof time, "%Y/%m/%d %H:%M:%S", &parts);
        }
        length = snprintf(out, size, "[%ld] %s.%06" PRId64 " [%s] ", log->process, time,
                          now_ns % DBK_SECOND_NS / 1000, level_text(level));
    } else {
        length = snprintf(out, size, "[%ld] [%s] ", log->process, level_text(level));
    }
    return length < 0 ? 0 : (size_t)length < size ? (size_t)length : size - 1;
}

/// No control character leaves. Bytes above 127 stay: names may be in any language.
static void make_harmless(char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte == '\n' || byte == '\r' || byte == '\t') {
            text[i] = ' ';
        } else if (byte < 0x20 || byte == 0x7f) {
            text[i] = '?';
        }
    }
}

/// What comes behind the name of a file that was put aside, '0' for any digit. Its order is that of time.
static const char stamp_form[] = ".0000.00.00.00.00.00.000000000";

/// Looking for what was put aside.
typedef struct dbk_aside_search {
    const char *name; // of the file itself
    size_t count;
    char oldest[256];
} dbk_aside_search;

static bool is_aside(const char *name, const char *own) {
    size_t size = strlen(own);
    if (strncmp(name, own, size) != 0 || strlen(name) != size + sizeof stamp_form - 1) return false;
    for (size_t i = 0; i < sizeof stamp_form - 1; i++) {
        char byte = name[size + i];
        if (stamp_form[i] == '.' ? byte != '.' : byte < '0' || byte > '9') return false;
    }
    return true;
}

static int look_at_aside(void *context, const daybook_vfs_entry *entry) {
    dbk_aside_search *search = context;
    if (entry->is_directory || !is_aside(entry->name, search->name)) return 0;
    if (search->count == 0 || strcmp(entry->name, search->oldest) < 0)
        (void)snprintf(search->oldest, sizeof search->oldest, "%s", entry->name);
    search->count++;
    return 0;
}

/// Takes the oldest away, until there are so many as are wanted. A few at a time: somebody waits for the log.
/// What cannot be taken away stays; the next time it is tried again.
static void remove_oldest(dbk_log *log) {
    const char *slash = strrchr(log->path, '/');
    char folder[4096];
    int size = slash == NULL
                   ? snprintf(folder, sizeof folder, ".")
                   : snprintf(folder, sizeof folder, "%.*s", (int)(slash - log->path + 1), log->path);
    if (size < 0 || (size_t)size >= sizeof folder - sizeof(daybook_vfs_entry)) return;
    for (int i = 0; i < REMOVED_AT_ONCE_MAX; i++) {
        dbk_aside_search search = {.name = slash == NULL ? log->path : slash + 1};
        if (log->vfs->list(log->vfs, folder, look_at_aside, &search) != 0) return;
        if (search.count + 1 <= log->file_count_max) return;
        (void)snprintf(folder + size, sizeof folder - (size_t)size, "%s%s", slash == NULL ? "/" : "",
                       search.oldest);
        int failure = log->vfs->unlink(log->vfs, folder);
        folder[size] = '\0';
        if (failure != 0) return;
    }
}

/// `path`.<time>, and a new file begins.
static void rotate(dbk_log *log) {
    char aside[4096];
    int64_t now_ns = log->vfs->clock_real_ns(log->vfs);
    time_t seconds = (time_t)(now_ns / DBK_SECOND_NS);
    struct tm parts;
    char time[64];
    if (localtime_r(&seconds, &parts) == NULL ||
        strftime(time, sizeof time, "%Y.%m.%d.%H.%M.%S", &parts) == 0)
        return;
    int length = snprintf(aside, sizeof aside, "%s.%s.%09" PRId64, log->path, time, now_ns % DBK_SECOND_NS);
    if (length < 0 || (size_t)length >= sizeof aside) return;
    if (log->vfs->rename(log->vfs, log->path, aside) != 0) return;
    reopen(log);
    if (log->file_count_max != 0) remove_oldest(log);
}

/// The whole line, its end included. Under the lock.
static bool write_file(dbk_log *log, const char *line, size_t size) {
    if (log->size_limit != 0 && log->file_size + size > log->size_limit && log->file_size > 0) rotate(log);
    size_t done = 0;
    while (done < size) {
        int64_t written =
            log->vfs->write_at(log->vfs, log->file, line + done, size - done, log->file_size + done);
        if (written <= 0) return false; // the next line goes over what was written of this one
        done += (size_t)written;
    }
    log->file_size += size;
    return true;
}

static void put(dbk_log *log, int level, const char *line, size_t size) {
    if (log->file == NULL) {
        if (log->hook != NULL) log->hook(log->hook_context, level, daybook_bytes(line, size - 1));
        return;
    }
    if (!write_file(log, line, size)) log->lost_count++;
}

/// After lines were lost: how many, once writing works again.
static void tell_lost(dbk_log *log) {
    if (log->lost_count == 0 || log->file == NULL) return;
    char line[256];
    size_t head = write_head(log, DAYBOOK_SERVER_LOG_WARNING, line, sizeof line);
    int length = snprintf(line + head, sizeof line - head, "%" PRIu64 " log lines could not be written\n",
                          log->lost_count);
    if (length > 0 && write_file(log, line, head + (size_t)length)) log->lost_count = 0;
}

void dbk_log_write(dbk_log *log, int level, const char *format, ...) {
    if (log == NULL || !dbk_log_wants(log, level)) return;
    char line[DBK_LOG_LINE_MAX];
    pthread_mutex_lock(&log->lock);
    size_t head = write_head(log, level, line, sizeof line - 1);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line + head, sizeof line - 1 - head, format, arguments);
    va_end(arguments);
    size_t size = head;
    if (length > 0) size += (size_t)length < sizeof line - 1 - head ? (size_t)length : sizeof line - 2 - head;
    make_harmless(line + head, size - head);
    line[size++] = '\n';
    tell_lost(log);
    put(log, level, line, size);
    pthread_mutex_unlock(&log->lock);
}
