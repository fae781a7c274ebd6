/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Consumers: who reads a stream, and how far it got. A consumer gives each message to one of those that fetch
 * from it, remembers what was answered, and gives again what was not. JetStream's rules and words.
 *
 *     daybook_consumer_config config;
 *     daybook_consumer_config_init(&config);
 *     config.name = daybook_text("mailer");
 *     daybook_consumer *consumer;
 *     daybook_consumer_add(store, daybook_text("ORDERS"), &config, &consumer, NULL);
 *     daybook_fetch_options options;
 *     daybook_fetch_options_init(&options);
 *     daybook_batch *batch;
 *     while (daybook_consumer_fetch(consumer, &options, &batch, NULL) == DAYBOOK_OK) {
 *         for (size_t i = 0; i < batch->count; i++) {
 *             send(&batch->messages[i].event);
 *             daybook_consumer_ack(consumer, batch->messages[i].event.seq, 0, NULL);
 *         }
 *         daybook_batch_release(batch);
 *     }
 *     daybook_consumer_close(consumer);
 *
 * A message is answered by its seq. What is not answered within `ack_wait_ns` is delivered again, so that
 * each is delivered at least once. An acknowledgement is durable within 100 ms; a confirmed one when it
 * returns; one given to daybook_append (daybook_append_options.acks) in the same atomic commit as the events,
 * so that what a message causes in the store happens exactly once.
 *
 * Threads: any thread may use a consumer; several that fetch compete. Consumers are closed before their
 * store.
 */
#ifndef DAYBOOK_CONSUMER_H
#define DAYBOOK_CONSUMER_H

#include "daybook/append.h"
#include "daybook/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DAYBOOK_CONSUMER_NAME_SIZE_MAX 255
#define DAYBOOK_CONSUMER_FILTER_COUNT_MAX 64
#define DAYBOOK_CONSUMER_BACKOFF_COUNT_MAX 64
#define DAYBOOK_FETCH_COUNT_MAX 65535
#define DAYBOOK_CONSUME_WORKERS_MAX 256

/** Where a new consumer begins. */
enum daybook_consumer_deliver {
    DAYBOOK_DELIVER_ALL = 0,
    DAYBOOK_DELIVER_LAST = 1,            /* at the newest matching event; where there is none at the oldest */
    DAYBOOK_DELIVER_NEW = 2,             /* at what is appended from now on */
    DAYBOOK_DELIVER_BY_START_SEQ = 3,    /* at `start_seq` */
    DAYBOOK_DELIVER_BY_START_TIME = 4,   /* at the first event recorded at or after `start_time_ns` */
    DAYBOOK_DELIVER_LAST_PER_SUBJECT = 5 /* the newest of each subject, then what is appended from now on */
};

enum daybook_consumer_ack_policy {
    DAYBOOK_ACK_EXPLICIT = 0, /* each message */
    DAYBOOK_ACK_ALL = 1,      /* an acknowledgement is for all before it, too */
    DAYBOOK_ACK_NONE = 2      /* delivered is acknowledged */
};

enum daybook_consumer_replay {
    DAYBOOK_REPLAY_INSTANT = 0,
    DAYBOOK_REPLAY_ORIGINAL = 1 /* at the pace at which the events were recorded */
};

enum daybook_consumer_flag {
    DAYBOOK_CONSUMER_DURABLE = 1,      /* kept until removed; else until the store is closed */
    DAYBOOK_CONSUMER_HEADERS_ONLY = 2, /* messages have no data; `data_size` says how much there is */
    /** Of one aggregate at most one message is in flight; the next comes when it is settled. Explicit
     *  acknowledgement only. */
    DAYBOOK_CONSUMER_IN_ORDER = 4,
    /** Of daybook_consumer_add and _update only, not kept: a filter that matches nothing the stream captures
     *  is no slip (EINVALID), because the stream is to capture it later. */
    DAYBOOK_CONSUMER_OTHER_SUBJECTS = 8
};

/** 0 means no limit where a limit is meant. Borrowed by the calls; in daybook_consumer_info from it. */
typedef struct daybook_consumer_config {
    size_t size;
    daybook_slice name; /* as a stream's; empty for an ephemeral one: it is made */
    daybook_slice description;
    unsigned flags;
    int deliver;           /* fixed, as start_seq, start_time_ns, ack, replay, DURABLE and IN_ORDER */
    uint64_t start_seq;    /* BY_START_SEQ */
    int64_t start_time_ns; /* BY_START_TIME */
    int ack;
    int replay;
    const daybook_slice *filters; /* subjects wanted, none overlapping another; none: all of the stream */
    size_t filter_count;
    int64_t ack_wait_ns;       /* default 30 s */
    uint64_t max_deliver;      /* then the message is given up */
    const int64_t *backoff_ns; /* instead of ack_wait_ns, by number of deliveries; the last for all later */
    size_t backoff_count;      /* at most max_deliver, where that is set */
    uint64_t max_ack_pending;  /* default 1,000; nothing new is delivered while so many wait for an answer */
    uint64_t max_waiting;      /* fetches that wait at the same time; default 512 */
    int64_t
        inactive_threshold_ns; /* without a handle so long, it is removed; default 5 s for an ephemeral one */
    int64_t pause_until_ns;    /* nothing is delivered before; answers are taken */
    daybook_slice attributes;  /* yours: kept and not looked at; at most DAYBOOK_ATTRIBUTES_SIZE_MAX */
} daybook_consumer_config;

/** Defaults: DURABLE, deliver all, acknowledge explicitly. */
DAYBOOK_API void daybook_consumer_config_init(daybook_consumer_config *config);

/* daybook_consumer is declared in append.h. */

/**
 * Make a consumer of `stream`. The same name with the same configuration is fine and changes nothing. A
 * durable one is durable when it returns; one of a stream in memory ends with the store, as its events do.
 * @param consumer_out  opened, to be closed with daybook_consumer_close; NULL: not wanted
 * @return OK; EEXISTS: there is one of that name, of another configuration; ENOTFOUND (stream), EINVALID,
 *         ESUBJECT, EREADONLY, and what an append gives
 */
DAYBOOK_API daybook_status daybook_consumer_add(daybook_store *store, daybook_slice stream,
                                                const daybook_consumer_config *config,
                                                daybook_consumer **consumer_out, daybook_error *error);
/** Replace the changeable parts, for what is delivered from then on; messages in flight keep their
 *  deadlines. Durable when it returns. ENOTFOUND, EINVALID (also where a fixed part differs), EREADONLY, and
 *  what an append gives. */
DAYBOOK_API daybook_status daybook_consumer_update(daybook_store *store, daybook_slice stream,
                                                   const daybook_consumer_config *config,
                                                   daybook_error *error);
/** Deliver nothing before `until_ns`, also after the store was opened again; 0: go on. As an update. */
DAYBOOK_API daybook_status daybook_consumer_pause(daybook_store *store, daybook_slice stream,
                                                  daybook_slice name, int64_t until_ns, daybook_error *error);
/**
 * Take it back, or forward: the next message is the first that matches at `seq` or behind it; 0: behind
 * everything that is settled. Nothing is in flight any more, and deliveries of a message count anew. Answers
 * to messages of before get ENOTFOUND, unless they were delivered again. What was removed stays removed, also
 * where this consumer's having settled it removed it. Durable when it returns.
 *
 * @param seq_out     where it begins; 0: it was not reset; NULL: not wanted
 * @param number_out  deliveries of before have this number or a smaller one; NULL: not wanted
 * @return OK; ENOTFOUND; EINVALID: below where it once began, by start_seq or start_time_ns; ELIMIT: behind
 *         the next seq of the stream (and of where it once began); EPERMISSION: a seq, and it began at none
 *         of its own choice (LAST, LAST_PER_SUBJECT, NEW); EREADONLY, EDAMAGED, and what an append gives:
 *         then, with *seq_out above 0, it is reset, and saved later
 */
DAYBOOK_API daybook_status daybook_consumer_reset(daybook_store *store, daybook_slice stream,
                                                  daybook_slice name, uint64_t seq, uint64_t *seq_out,
                                                  uint64_t *number_out, daybook_error *error);
/** Durable when it returns. Handles of it get ENOTFOUND from then on, fetches that wait at once. ENOTFOUND,
 *  EREADONLY, and what an append gives. */
DAYBOOK_API daybook_status daybook_consumer_remove(daybook_store *store, daybook_slice stream,
                                                   daybook_slice name, daybook_error *error);

typedef struct daybook_consumer_info {
    size_t size;
    daybook_slice stream;
    daybook_consumer_config config;
    int64_t created_ns;
    uint64_t delivered_number; /* deliveries so far, repeated ones too */
    uint64_t delivered_seq;    /* greatest delivered, or passed over: before its start, or stored no more */
    int64_t delivered_ns;      /* when last; 0: never */
    uint64_t floor_number;     /* everything up to here is settled */
    uint64_t floor_seq;
    int64_t acked_ns;           /* last acknowledgement; 0: never */
    uint64_t ack_pending_count; /* delivered and not settled */
    uint64_t redelivered_count; /* of these, delivered more than once */
    uint64_t pending_count;     /* matching events not delivered yet: exact, but in daybook_consumer_look */
    uint64_t given_up_count;    /* delivered max_deliver times without an answer, ever */
    uint64_t waiting_count;     /* fetches that wait now */
    int is_paused;
} daybook_consumer_info;

/** `*info_out` is owned by the caller until daybook_consumer_info_release. ENOTFOUND. Also in readers. */
DAYBOOK_API daybook_status daybook_consumer_get_info(daybook_store *store, daybook_slice stream,
                                                     daybook_slice name, daybook_consumer_info **info_out,
                                                     daybook_error *error);
/**
 * The same for who asks again and again: pending_count is what the store knows. Where events ahead are
 * removed all the time, counting anew may take long; this does so only after it has done without for 20 times
 * as long as that took, as fetches do, and says what was known before. It is exact otherwise. Errors, threads
 * and whose the info is are the same, too.
 */
DAYBOOK_API daybook_status daybook_consumer_look(daybook_store *store, daybook_slice stream,
                                                 daybook_slice name, daybook_consumer_info **info_out,
                                                 daybook_error *error);
DAYBOOK_API void daybook_consumer_info_release(daybook_store *store, daybook_consumer_info *info);
/** Each consumer of `stream` (empty: of all) in order of stream and name; a non-zero return stops it. */
DAYBOOK_API daybook_status daybook_consumer_list(daybook_store *store, daybook_slice stream,
                                                 int (*visit)(void *context,
                                                              const daybook_consumer_info *info),
                                                 void *context, daybook_error *error);

/** The same with names only: nothing is counted. */
DAYBOOK_API daybook_status daybook_consumer_names(daybook_store *store, daybook_slice stream,
                                                  int (*visit)(void *context, daybook_slice of_stream,
                                                               daybook_slice name),
                                                  void *context, daybook_error *error);
/** How many consumers `stream` has. ENOTFOUND. */
DAYBOOK_API daybook_status daybook_consumer_count(daybook_store *store, daybook_slice stream,
                                                  uint64_t *count_out, daybook_error *error);

/** ENOTFOUND, EREADONLY. */
DAYBOOK_API daybook_status daybook_consumer_open(daybook_store *store, daybook_slice stream,
                                                 daybook_slice name, daybook_consumer **consumer_out,
                                                 daybook_error *error);
/** NULL is fine. No call on it may be running. */
DAYBOOK_API void daybook_consumer_close(daybook_consumer *consumer);
/** Its name, made where it was empty. Valid until closed. */
DAYBOOK_API daybook_slice daybook_consumer_name(const daybook_consumer *consumer);
/** Make running and coming fetches on this handle return ECLOSED; any thread. */
DAYBOOK_API void daybook_consumer_interrupt(daybook_consumer *consumer);

enum daybook_fetch_flag {
    DAYBOOK_FETCH_FILL = 1, /* wait for a full batch, not for the first message only */
    /** A first message larger than max_bytes is not given: ELIMIT, and it stays where it is. */
    DAYBOOK_FETCH_STRICT_BYTES = 2
};

typedef struct daybook_fetch_options {
    size_t size;
    size_t count;       /* at most so many; default 1 */
    uint64_t max_bytes; /* of data, headers and subjects; a first message is given whatever its size, unless
                           STRICT_BYTES */
    int timeout_ms;     /* 0: do not wait; negative (default): for ever */
    unsigned flags;
} daybook_fetch_options;

DAYBOOK_API void daybook_fetch_options_init(daybook_fetch_options *options);

typedef struct daybook_message {
    size_t size;
    daybook_recorded_event event; /* answer by event.seq */
    uint64_t delivery;            /* number of this delivery */
    uint64_t delivery_count;      /* how often this message was delivered, this time included */
    /** Matching events that were not delivered yet after this one. Where events ahead are removed again and
     *  again, or cannot be read, it may be an earlier count: daybook_consumer_info has the exact one. */
    uint64_t pending_count;
    uint64_t data_size;
} daybook_message;

/** Everything in it is borrowed until it is released. */
typedef struct daybook_batch {
    size_t size;
    const daybook_message *messages;
    size_t count;
} daybook_batch;

/**
 * Take messages: first what is due again, then what is new.
 * @return OK: at least one message; TIMEOUT; ELIMIT: max_waiting, or a message larger than max_bytes with
 *         STRICT_BYTES; ENOTFOUND: consumer or stream was removed; ECLOSED: interrupted; EDAMAGED: the next
 *         event cannot be read, and the consumer stays before it
 */
DAYBOOK_API daybook_status daybook_consumer_fetch(daybook_consumer *consumer,
                                                  const daybook_fetch_options *options,
                                                  daybook_batch **batch_out, daybook_error *error);
DAYBOOK_API void daybook_batch_release(daybook_batch *batch);

/**
 * Be told when a fetch may give something again: for those who keep thousands of consumers and wait in none.
 * A handle has one watch at a time.
 *
 *     daybook_consumer_watch(consumer, wake, mine, NULL);
 *     for (;;) { // whenever `wake` was called, and once to begin with
 *         options.timeout_ms = 0;
 *         status = daybook_consumer_fetch(consumer, &options, &batch, NULL);
 *         if (status == DAYBOOK_TIMEOUT) break; // `wake` will be called
 *         ...
 *     }
 *     start_timer(mine, daybook_consumer_next_due_ns(consumer));
 *
 * After a fetch on this handle with timeout_ms 0 that gave TIMEOUT, `callback` is called once when there may
 * be something: a matching event became visible, a message was given back, there is room
 * below max_ack_pending, the consumer was changed, resumed, interrupted or removed, or its stream was. It may
 * come without cause. It does not tell of what comes by time alone: daybook_consumer_next_due_ns. However
 * many are watched, an event wakes those only whose filters match it.
 *
 * `callback` is called in any thread, the one that commits or that answers a message among them, and perhaps
 * before that fetch has returned. It returns at once, calls nothing of the store, and takes no lock that
 * anybody holds while calling the store.
 * @param callback  NULL: end the watch; when this returns none runs. No fetch on the handle may be running.
 *                  Closing the handle does the same
 * @return OK; ENOMEM; EMISUSE: no consumer, or it is watched already
 */
DAYBOOK_API daybook_status daybook_consumer_watch(daybook_consumer *consumer, void (*callback)(void *context),
                                                  void *context, daybook_error *error);

/**
 * In how many nanoseconds a fetch may give something by time alone: a message falls due again, a pause ends,
 * the pace of the original has come. As the last fetch on this handle with timeout_ms 0 found it that gave
 * TIMEOUT. 0: now; INT64_MAX: never, as far as is known. Any thread.
 */
DAYBOOK_API int64_t daybook_consumer_next_due_ns(const daybook_consumer *consumer);

/*
 * Answers, for each of the calls that follow.
 *
 * Threads: any, at the same time; of two answers to one message the first counts. Durability: an answer
 * counts at once for everybody, and is written within 100 ms, without a sync of its own. Power lost before
 * that takes it back, and the message comes again. Only a confirmed acknowledgement waits, and what is
 * submitted is told of when it is on disk. They return OK; ENOTFOUND: the message is not pending (it was
 * answered, given up or removed, or never delivered, or is being acknowledged by an append), and nothing
 * changed, or the consumer was removed; EINVALID; ENOMEM; EMISUSE without a consumer. In a stream that
 * retains by interest an acknowledgement and a termination are taken for a message that was given up, too: it
 * stays until then, or until it is deleted.
 */

enum daybook_ack_flag {
    DAYBOOK_ACK_CONFIRMED = 1 /* durable when it returns; many at the same time share one commit */
};

/**
 * Done. With policy ALL: with everything before it. A confirmed one returns when it is on disk; where it
 * could not be saved it gives what an append gives (EUNCERTAIN, EPOISONED, ENOSPC) or ENOMEM, and the message
 * is settled all the same and saved later: called again it gives ENOTFOUND, and what was settled is durable
 * then.
 */
DAYBOOK_API daybook_status daybook_consumer_ack(daybook_consumer *consumer, uint64_t seq, unsigned flags,
                                                daybook_error *error);
/**
 * Called once when a submitted answer is on disk, or could not be saved, with what daybook_consumer_ack would
 * have returned for a confirmed one. In any thread that uses the store, and perhaps before the call that
 * submitted it has returned. It must not block, append or wait; it may submit.
 */
typedef void (*daybook_ack_done)(void *context, daybook_status status, const daybook_error *error);

/**
 * A confirmed acknowledgement without waiting: the message is settled when this returns, and `done` comes
 * when that is durable. Those that are under way at the same time, of one consumer or of many, share a
 * commit. The handle may be closed meanwhile; each `done` comes before daybook_close returns. With
 * OPEN_NO_BACKGROUND it may take a daybook_maintain.
 * @return OK: `done` will be called, also where the message is not pending (ENOTFOUND) or cannot be saved;
 *         ENOTFOUND: the consumer was removed; ENOMEM, EMISUSE: nothing changed
 */
DAYBOOK_API daybook_status daybook_consumer_ack_submit(daybook_consumer *consumer, uint64_t seq,
                                                       daybook_ack_done done, void *context,
                                                       daybook_error *error);
/** Not done: deliver again, at once or after `delay_ns`; max_deliver counts each time. EINVALID: negative. */
DAYBOOK_API daybook_status daybook_consumer_nak(daybook_consumer *consumer, uint64_t seq, int64_t delay_ns,
                                                daybook_error *error);
/** Being worked on: its time (ack_wait_ns, or the step of the backoff) begins anew. */
DAYBOOK_API daybook_status daybook_consumer_progress(daybook_consumer *consumer, uint64_t seq,
                                                     daybook_error *error);
/**
 * Never deliver it again; with policy ALL nor what came before it. The advisory
 * `$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.<stream>.<consumer>`, with `reason`, follows within 100 ms.
 * EINVALID: the reason is no plain UTF-8 text of at most 255 bytes; ENOMEM: nothing changed.
 */
DAYBOOK_API daybook_status daybook_consumer_term(daybook_consumer *consumer, uint64_t seq,
                                                 daybook_slice reason, daybook_error *error);
/**
 * The same, told of when it is durable: as daybook_consumer_ack_submit is for an acknowledgement.
 * @return as daybook_consumer_ack_submit; EINVALID as daybook_consumer_term, and nothing changed
 */
DAYBOOK_API daybook_status daybook_consumer_term_submit(daybook_consumer *consumer, uint64_t seq,
                                                        daybook_slice reason, daybook_ack_done done,
                                                        void *context, daybook_error *error);

/**
 * Be told of advisories (a message was given up, or terminated): `told` gets what would else be appended as
 * an event, subject and JSON, within 100 ms. For a server, whose streams capture what it publishes. One for a
 * store, known by its `context`: nobody takes the place of another. It is called one at a time, from a thread
 * of the store or one that uses it, calls nothing of the store, and takes no lock that anybody holds while
 * calling the store. What was not told when the store is closed is lost.
 * @param told  NULL: where that of this `context` is told, it is no more, none of it runs when this returns,
 *              and they are appended again; another's stays
 * @return OK; EEXISTS: one of another context is told; EREADONLY, EMISUSE, and what opening a consumer gives
 */
DAYBOOK_API daybook_status daybook_advisory_watch(daybook_store *store,
                                                  void (*told)(void *context, daybook_slice subject,
                                                               daybook_slice json),
                                                  void *context, daybook_error *error);

/* Consuming: messages come to a handler, in one thread or several. */

/** What a handler says of a message. */
enum daybook_verdict {
    DAYBOOK_VERDICT_ACK = 0,
    DAYBOOK_VERDICT_ACK_CONFIRMED = 1,
    DAYBOOK_VERDICT_NAK = 2, /* again, after nak_delay_ns */
    DAYBOOK_VERDICT_TERM = 3,
    DAYBOOK_VERDICT_NONE = 4 /* the handler has answered, or will */
};

typedef struct daybook_consume_options {
    size_t size;
    unsigned worker_count; /* threads that call the handler, the caller's among them; default 1, at most
                             DAYBOOK_CONSUME_WORKERS_MAX */
    size_t fetch_count;    /* messages a worker takes at a time; default 16 */
    int64_t nak_delay_ns;  /* default 0 */
} daybook_consume_options;

DAYBOOK_API void daybook_consume_options_init(daybook_consume_options *options);

/**
 * Call `handler` for each message until daybook_consumer_interrupt, which the handler may call. Messages that
 * were taken and not handled by then are given back at once. With several workers messages are handled side
 * by side; with IN_ORDER never two of one aggregate, and those of an aggregate in order.
 * @return OK when interrupted; what a fetch or an answer failed with, after all workers have ended. An answer
 *         to what is not pending any more is no failure. EINVALID; ENOMEM, where no thread could be started.
 */
DAYBOOK_API daybook_status daybook_consumer_consume(
    daybook_consumer *consumer, const daybook_consume_options *options,
    int (*handler)(void *context, const daybook_message *message), void *context, daybook_error *error);

#ifdef __cplusplus
}
#endif
#endif
