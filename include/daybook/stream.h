/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Streams: named logs that capture subjects, with limits and retention, as in JetStream.
 *
 *     daybook_stream_config config;
 *     daybook_stream_config_init(&config);
 *     daybook_slice subjects[] = {daybook_text("orders.>")};
 *     config.name = daybook_text("ORDERS");
 *     config.subjects = subjects;
 *     config.subject_count = 1;
 *     daybook_stream_add(store, &config, NULL);
 */
#ifndef DAYBOOK_STREAM_H
#define DAYBOOK_STREAM_H

#include "daybook/store.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DAYBOOK_STREAM_NAME_SIZE_MAX 255
#define DAYBOOK_STREAM_SUBJECT_COUNT_MAX 256
#define DAYBOOK_ATTRIBUTES_SIZE_MAX 196608

enum daybook_discard { DAYBOOK_DISCARD_OLD = 0, DAYBOOK_DISCARD_NEW = 1 };
/** When events go beside the limits. Fixed. */
enum daybook_retention {
    DAYBOOK_RETENTION_LIMITS = 0, /* never */
    DAYBOOK_RETENTION_INTEREST =
        1, /* when every consumer that wants them has settled them; at once where none does */
    DAYBOOK_RETENTION_WORKQUEUE = 2 /* when they are acknowledged; each is for one consumer */
};
enum daybook_storage { DAYBOOK_STORAGE_FILE = 0, DAYBOOK_STORAGE_MEMORY = 1 };

enum daybook_stream_flag {
    DAYBOOK_STREAM_ALLOW_ROLLUP = 1, /* header Nats-Rollup: sub|all removes what is older */
    DAYBOOK_STREAM_DENY_DELETE = 2,
    DAYBOOK_STREAM_DENY_PURGE = 4,
    DAYBOOK_STREAM_DISCARD_NEW_PER_SUBJECT = 8,
    DAYBOOK_STREAM_INTERNAL = 16, /* read only when named; names beginning with '$' or "KV_" */
    /** A supplied id is known for duplicate_window_ns from when its event was recorded, whatever becomes of
     *  the event, and may come again then, as in JetStream; 0: it is not known at all. Without this flag it
     *  is known as long as its event is stored, and the window counts for events that limits removed.
     *  Fixed. */
    DAYBOOK_STREAM_IDS_IN_WINDOW = 32,
    /** It also takes events whose subject it does not capture, where an append names it
     *  (daybook_append_options.stream), and so consumers of any filter. */
    DAYBOOK_STREAM_OTHER_SUBJECTS = 64,
    /** Its events may have a time to live of their own (daybook_event.ttl_s). Once given it stays. */
    DAYBOOK_STREAM_ALLOW_TTL = 128,
    /** Appends may say which seqs their events have (daybook_append_options.seqs), and pass some over. Once
     *  given it stays: what is read goes by it. */
    DAYBOOK_STREAM_GIVEN_SEQS = 256
};

/** Limits: 0 means none. Borrowed by the calls; in daybook_stream_info borrowed from it. */
typedef struct daybook_stream_config {
    size_t size;
    daybook_slice name;            /* 1 to 255 bytes, no white space, control, '.', '*', '>', '/', '\\' */
    const daybook_slice *subjects; /* filters; 1 to 256, none overlapping another stream's; with
                                      DAYBOOK_STREAM_OTHER_SUBJECTS also none */
    size_t subject_count;
    uint32_t aggregate_tokens; /* leading tokens that name the aggregate; default 2, 0 = none; fixed */
    uint32_t flags;
    int discard;
    int storage; /* fixed; events of a stream in memory are gone when the store is opened again, and their
                    positions are not given to others */
    uint64_t max_msgs;
    uint64_t max_bytes;
    uint64_t max_msgs_per_subject;
    uint64_t max_msg_size; /* bytes of data and headers */
    int64_t max_age_ns;
    int64_t duplicate_window_ns; /* default 2 minutes */
    int64_t sync_interval_ns;    /* 0: acknowledge when durable; else when queued, written within this */
    daybook_slice description;
    int retention;
    daybook_slice attributes; /* yours: kept and not looked at; at most DAYBOOK_ATTRIBUTES_SIZE_MAX */
    uint64_t first_seq;       /* of the first event; 0 is 1. Fixed */
    /** Seconds; 0: none. Where the last event of a subject expires, by max_age or its own time to live, an
     *  event without data takes its place, with the headers Nats-Marker-Reason: MaxAge, Nats-TTL and
     *  Nats-Rollup, that lives so long. None follows such an event itself, or one with KV-Operation: PURGE.
     *  With DAYBOOK_STREAM_ALLOW_TTL only, and at most DAYBOOK_TTL_S_MAX. */
    int64_t delete_marker_ttl_s;
} daybook_stream_config;

/** Defaults; name and subjects are left empty. */
DAYBOOK_API void daybook_stream_config_init(daybook_stream_config *config);

/** Durable when it returns. EEXISTS, EOVERLAP (message names the other stream), EINVALID. */
DAYBOOK_API daybook_status daybook_stream_add(daybook_store *store, const daybook_stream_config *config,
                                              daybook_error *error);

/**
 * Replace the changeable parts; what is said to be fixed must stay. Durable when it returns.
 * Applies limits at once; where that meets an error, the message says that the stream is changed and the
 * store tries again.
 */
DAYBOOK_API daybook_status daybook_stream_update(daybook_store *store, const daybook_stream_config *config,
                                                 daybook_error *error);

/** Delete the stream with all its events. A new stream of that name never meets them. */
DAYBOOK_API daybook_status daybook_stream_remove(daybook_store *store, daybook_slice name,
                                                 daybook_error *error);

typedef struct daybook_stream_info {
    size_t size;
    daybook_stream_config config;
    uint32_t stream_id;
    uint64_t message_count; /* live; in a reader without what reads hide because it has expired */
    uint64_t byte_count;    /* of live events: subject, headers, data */
    uint64_t first_seq;     /* of the oldest live event; last_seq + 1 when there is none */
    uint64_t last_seq;      /* assigned last, also when removed since; when none, the one before first_seq */
    int64_t first_recorded_ns;
    int64_t last_recorded_ns;
    int64_t created_ns;
    uint64_t deleted_count; /* of the seqs from first_seq to last_seq those whose events are gone */
} daybook_stream_info;

/** `*info_out` is owned by the caller until daybook_stream_info_release. ENOTFOUND. */
DAYBOOK_API daybook_status daybook_stream_get_info(daybook_store *store, daybook_slice name,
                                                   daybook_stream_info **info_out, daybook_error *error);
DAYBOOK_API void daybook_stream_info_release(daybook_store *store, daybook_stream_info *info);

/**
 * Visit the ranges of seqs between the stream's oldest live event and last_seq whose events are gone,
 * ascending, until a non-zero return. Goes by the index: an event is read for about each gap, not those
 * between. What is removed meanwhile may be told of or not. ENOTFOUND, EDAMAGED.
 */
DAYBOOK_API daybook_status daybook_stream_gaps(daybook_store *store, daybook_slice name,
                                               int (*visit)(void *context, uint64_t seq_first,
                                                            uint64_t seq_last),
                                               void *context, daybook_error *error);

/**
 * Be told which streams were added, changed or removed, by whomever, an append with auto_stream among them:
 * for a server, which captures subjects for them. `told` comes when the change is durable, with the name, one
 * at a time, in the thread that made it; it calls nothing of the store and takes no lock that anybody holds
 * while calling the store. One for a store, known by its `context`: nobody takes the place of another.
 * @param told  NULL: that of this `context` is told no more, and none of it runs when this returns; another's
 *              stays
 * @return OK; EEXISTS: one of another context is told; EREADONLY, EMISUSE
 */
DAYBOOK_API daybook_status daybook_stream_watch(daybook_store *store,
                                                void (*told)(void *context, daybook_slice name),
                                                void *context, daybook_error *error);

typedef struct daybook_event_watch daybook_event_watch;

/**
 * Be told that a stream has a matching event more, whoever appended it: for those who follow many streams and
 * wait in none. Not armed at first.
 *
 *     daybook_event_watch_arm(watch);
 *     read(what there is);       // behind arming, so that nothing comes unseen in between
 *
 * Once armed, `callback` is called once, when a matching event became visible; then it is to be armed again.
 * It is called in the thread that commits, perhaps before arming has returned. It returns at once, calls
 * nothing of the store, and takes no lock that anybody holds while calling the store. A stream that is
 * removed tells nothing any more, also where one of its name is made again: daybook_stream_watch does. A
 * commit pays for a watch as for a consumer that waits: a look at each subject, however many watch, and a
 * call of those only whose filters match. Threads: any; one watch is one thread's at a time.
 * @param filters    none: every event of the stream. Copied
 * @param context    of the callback; kept until the watch is closed
 * @param watch_out  to be closed before the store is
 * @return OK; ENOTFOUND: no such stream; ESUBJECT: a filter is none; EREADONLY: no commit is seen by who only
 *         reads; ENOMEM; EMISUSE, and what opening a consumer gives
 */
DAYBOOK_API daybook_status daybook_event_watch_open(daybook_store *store, daybook_slice stream,
                                                    const daybook_slice *filters, size_t filter_count,
                                                    void (*callback)(void *context), void *context,
                                                    daybook_event_watch **watch_out, daybook_error *error);
DAYBOOK_API void daybook_event_watch_arm(daybook_event_watch *watch);
/** When this returns none runs. NULL is fine. */
DAYBOOK_API void daybook_event_watch_close(daybook_event_watch *watch);

/** Calls `visit` for every stream in order of name; stops at the first non-zero return. */
DAYBOOK_API daybook_status daybook_stream_list(daybook_store *store,
                                               int (*visit)(void *context, const daybook_stream_info *info),
                                               void *context, daybook_error *error);

/** The name of the stream that captures the subject. ENOSTREAM. Valid until the store closes. */
DAYBOOK_API daybook_status daybook_stream_find(daybook_store *store, daybook_slice subject,
                                               daybook_slice *name_out, daybook_error *error);

typedef struct daybook_purge_options {
    size_t size;
    daybook_slice filter; /* only matching events; empty: all */
    uint64_t seq_to;      /* only events below this seq; 0: all. Not with `keep` */
    uint64_t keep;        /* leave the newest this many of the matching */
    int erase;            /* also overwrite the bytes before returning; see daybook_event_remove */
} daybook_purge_options;

DAYBOOK_API void daybook_purge_options_init(daybook_purge_options *options);

/**
 * Remove events; durable when it returns, and then no read returns them.
 *
 * Snapshots that may have folded any of them are removed in the same commit. A purge of tens of thousands of
 * events that do not lie together takes several commits. `*removed_count_out` is what was removed, also where
 * a status other than OK is returned; 0: nothing was. With `erase` an error may come behind the removal: the
 * message says so, and the same call again erases what is left of the bytes.
 */
DAYBOOK_API daybook_status daybook_stream_purge(daybook_store *store, daybook_slice name,
                                                const daybook_purge_options *options,
                                                uint64_t *removed_count_out, daybook_error *error);

/**
 * Remove one event. With `erase` it returns once no segment, journal page or snapshot of the store
 * holds its bytes (the device may keep old copies of its own). Snapshots that folded the event are
 * removed in the same commit. An error says that the event is still there, or, with `erase`, that it is
 * removed and not all its bytes are overwritten: the message tells, and the same call again erases them.
 * ENOTFOUND where there is no such event; with `erase` only if there never was.
 */
DAYBOOK_API daybook_status daybook_event_remove(daybook_store *store, daybook_slice stream, uint64_t seq,
                                                int erase, daybook_error *error);

#ifdef __cplusplus
}
#endif
#endif
