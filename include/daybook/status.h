/* SPDX-License-Identifier: Apache-2.0 */
/**
 * How every call of daybook reports: a status, and for people a caller-owned error.
 *
 *     daybook_error error;
 *     daybook_error_init(&error);
 *     if (daybook_append(store, &event, 1, NULL, NULL, &error) != DAYBOOK_OK)
 *         fprintf(stderr, "%s\n", error.message);
 *
 * 0 is success, everything else is negative. Numbers are part of the ABI and never change.
 */
#ifndef DAYBOOK_STATUS_H
#define DAYBOOK_STATUS_H

#include "daybook/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, number, text): the single list of statuses. */
#define DAYBOOK_STATUS_MAP(X)                                                      \
    X(OK, 0, "fine")                                                               \
    X(EMISUSE, -1, "the call breaks the contract of the function")                 \
    X(ENOMEM, -2, "out of memory")                                                 \
    X(EIO, -3, "input/output error")                                               \
    X(ENOSPC, -4, "no space left on the device")                                   \
    X(EMFILE, -5, "too many open files")                                           \
    X(ELOCKED, -6, "the store is in use by another writer")                        \
    X(EPOISONED, -7, "an earlier sync failed; reopen the store")                   \
    X(EUNCERTAIN, -8, "the sync failed; whether the events are stored is unknown") \
    X(EREADONLY, -9, "the store is open for reading only")                         \
    X(ENOTFOUND, -10, "not found")                                                 \
    X(EEXISTS, -11, "exists already")                                              \
    X(ECONFLICT, -12, "an append condition does not hold")                         \
    X(EMIXED, -13, "the batch mixes stored and new event ids, or names one twice") \
    X(EINVALID, -14, "malformed argument")                                         \
    X(ESUBJECT, -15, "malformed subject or filter")                                \
    X(ELIMIT, -16, "a limit of the stream or the store is reached")                \
    X(EDAMAGED, -17, "stored data is damaged")                                     \
    X(EFORMAT, -18, "the store has a newer or unknown format")                     \
    X(EFOREIGN, -19, "a file belongs to another store")                            \
    X(EOVERLAP, -20, "the subjects overlap those of another stream")               \
    X(ENOSTREAM, -21, "no stream captures the subject")                            \
    X(END, -22, "no more")                                                         \
    X(TIMEOUT, -23, "nothing arrived in time")                                     \
    X(EUNSUPPORTED, -24, "not supported by this build or engine")                  \
    X(EPERMISSION, -25, "permission denied")                                       \
    X(ECLOSED, -26, "the store is closing")                                        \
    X(ESKIPPED, -27, "an earlier append of its chain was refused")                 \
    X(EREFUSED, -28, "a rule of the domain says no")

typedef enum daybook_status {
#define DAYBOOK_STATUS_ENUM(name, number, text) DAYBOOK_##name = number,
    DAYBOOK_STATUS_MAP(DAYBOOK_STATUS_ENUM)
#undef DAYBOOK_STATUS_ENUM
} daybook_status;

/** The name of a status, "ECONFLICT"; "UNKNOWN" for a number that is none. Static storage. */
DAYBOOK_API const char *daybook_status_name(daybook_status status);

/** One sentence on a status. Static storage. */
DAYBOOK_API const char *daybook_status_text(daybook_status status);

/** Which limit it was that refused (daybook_error.limit). Numbers never change. */
typedef enum daybook_limit {
    DAYBOOK_LIMIT_OTHER = 0,                /* one without a name here, or none */
    DAYBOOK_LIMIT_MAX_MSGS = 1,             /* of a stream that discards new events */
    DAYBOOK_LIMIT_MAX_BYTES = 2,            /* ... */
    DAYBOOK_LIMIT_MAX_MSGS_PER_SUBJECT = 3, /* ... per subject */
    DAYBOOK_LIMIT_MAX_MSG_SIZE = 4,         /* of a stream, for data and headers of one event */
    DAYBOOK_LIMIT_EVENT_SIZE = 5,           /* of any event, with all its fields */
    DAYBOOK_LIMIT_BATCH_COUNT = 6,          /* DAYBOOK_BATCH_COUNT_MAX */
    DAYBOOK_LIMIT_BATCH_SIZE = 7,           /* DAYBOOK_BATCH_SIZE_MAX */
    DAYBOOK_LIMIT_JOURNAL_SIZE = 8          /* the batch does not fit journal_max_bytes */
} daybook_limit;

#define DAYBOOK_ERROR_MESSAGE_MAX 512
#define DAYBOOK_ERROR_FILE_MAX 256

/** Detail of a failure, for people and for retries. Caller-owned; every call takes NULL instead. */
typedef struct daybook_error {
    size_t size; /* set by daybook_error_init */
    daybook_status status;
    int system_errno;                  /* errno of the failed system call, 0 when none failed */
    uint32_t condition;                /* ECONFLICT: index of the append condition that failed */
    uint32_t event;                    /* index of the event in the batch the failure is about */
    uint32_t limit;                    /* ELIMIT of an append: which one, daybook_limit */
    uint64_t expected;                 /* ECONFLICT: what the condition named; with `limit`: what it allows */
    uint64_t actual;                   /* ECONFLICT: the current value; with `limit`: what it would be */
    uint64_t offset;                   /* EDAMAGED, EIO: byte offset in `file` */
    char file[DAYBOOK_ERROR_FILE_MAX]; /* the file concerned, "" when none */
    char message[DAYBOOK_ERROR_MESSAGE_MAX]; /* what happened: why; what to do. NUL-terminated */
} daybook_error;

DAYBOOK_API void daybook_error_init(daybook_error *error);

#ifdef __cplusplus
}
#endif
#endif
