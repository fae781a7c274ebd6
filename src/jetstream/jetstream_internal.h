// SPDX-License-Identifier: Apache-2.0
// What the files of JetStream share: its streams and consumers as the loop knows them.
//
//   jetstream.c      start, stop, the tables of streams and consumers
//   capture.c        publishes on captured subjects -> appends -> acknowledgements
//   rewrite.c        subjects transformed, messages republished
//   mirror.c         streams that copy others
//   copy_rules.c     what they copy, and an event as the copy has it; cycle.c: whether they do so in a circle
//   batch.c          several publishes that are stored all or none
//   order.c          requests wait for what their connection published before
//   api_call.c       requests on $JS.API.>: which handler, its job, its answer
//   stream_api.c consumer_api.c message_api.c direct.c    the handlers; page.c: lists of names for them
//   usage.c          what all streams take, against the bounds of the server and the account
//   catalogue.c      streams that are added, changed or removed beside the API
//   group.c          priority groups: which pull may have messages
//   delivery.c       from a consumer of the store to whoever asked (pull.c) or listens (push.c)
//   ack.c            $JS.ACK.>
//   advisory.c       $JS.EVENT.ADVISORY.>, what was asked of the API included
//   denied.c         the API of an account without JetStream
//   event_message.c  an event as the payload of a message
//   describe.c       what the monitor asks
//
// A stream or consumer here has a count of references: of the table, and of each job, publish and consumer
// that belongs to it. What is removed leaves the table at once and is freed with its last reference.
#ifndef DBK_JETSTREAM_JETSTREAM_INTERNAL_H
#define DBK_JETSTREAM_JETSTREAM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "api/consumer_config.h"
#include "api/error.h"
#include "api/stream_config.h"
#include "base/link_table.h"
#include "base/number.h"
#include "broker/broker.h"
#include "daybook/consumer.h"
#include "jetstream/jetstream.h"
#include "jetstream/settings.h"
#include "jetstream/usage.h"

typedef struct dbk_js_stream dbk_js_stream;
typedef struct dbk_js_consumer dbk_js_consumer;
typedef struct dbk_js_publish dbk_js_publish;
typedef struct dbk_js_waiting dbk_js_waiting;
typedef struct dbk_js_rewrite dbk_js_rewrite;
typedef struct dbk_js_last dbk_js_last;
typedef struct dbk_js_pull dbk_js_pull;
typedef struct dbk_js_push dbk_js_push;
typedef struct dbk_js_delivery dbk_js_delivery;
typedef struct dbk_js_copy dbk_js_copy;

struct dbk_jetstream {
    dbk_broker *broker;
    daybook_store *store;
    const daybook_allocator *allocator;
    // Constant: what no reload changes of the options.
    char *server_name;
    dbk_slice domain;         // empty: none
    dbk_js_settings settings; // the loop's
    dbk_js_usage usage;

    atomic_bool is_stopping; // read by workers: what was not begun yet is not done any more
    size_t job_count;        // jobs and publishes under way
    size_t early_count;      // messages kept for consumers that are being opened
    size_t batch_count;      // atomic batches that wait for more
    uint64_t batch_bytes;
    uint64_t direct_count, opening_count;
    // order.c: publishes are numbered; those under way, and requests that wait for some of them, of all
    // streams.
    uint64_t publish_number, under_way_count, waiting_count;

    dbk_service *api, *domain_api, *acks, *flow;
    // Calls run one after the other: the next begins when the loop is done with the one before, its effects
    // included.
    dbk_job *first_call, *last_call;
    bool call_runs;
    uint64_t api_total, api_errors, api_in_flight;
    uint64_t ack_total;
    atomic_int_fast64_t complain_next_ns; // any thread: not before is a failing store told to the log again

    // Workers look up consumers under `lock` for numbers only the loop knows; the loop changes the tables
    // under it.
    pthread_mutex_t lock;
    dbk_link_table streams;   // of dbk_js_stream.link
    dbk_link_table consumers; // of dbk_js_consumer.link
    dbk_js_copy *first_copy;  // of all streams; the loop's

    // Of the loop: answers being written, one for each level of routing, as an answer may be routed to a
    // service.
    dbk_buf scratch[DBK_ROUTE_DEPTH_MAX + 2];
    size_t scratch_depth;
};

/// From 2.12 on a request may say which level of the API it needs.
bool dbk_js_level_suffices(const dbk_jetstream *jetstream, dbk_slice headers);

/// An empty buffer until dbk_js_end_answer. They nest.
dbk_buf *dbk_js_begin_answer(dbk_jetstream *jetstream);
/// Sends what is in the innermost one to `subject`, as data, or as headers without data, and gives it back.
/// Where memory was out while it was written nothing is sent.
void dbk_js_end_answer(dbk_jetstream *jetstream, dbk_slice subject, bool as_headers);
/// The same for what nobody asked for: also to streams that keep it. See dbk_broker_announce.
void dbk_js_end_announcement(dbk_jetstream *jetstream, dbk_slice subject);
/// As an announcement, as the headers of `data`.
void dbk_js_end_republished(dbk_jetstream *jetstream, dbk_slice subject, dbk_slice data);

/// What is kept here for a client until it is done counts against its connection, as its publishes do: so
/// nobody has more than DBK_CLIENT_HELD_MAX of it. Zeroed: nothing is held. `from` may be NULL: nobody's.
typedef struct dbk_js_share {
    dbk_client *from; // a reference
    size_t size;
} dbk_js_share;
void dbk_js_hold(dbk_js_share *share, dbk_client *from, size_t size);
/// Once or more often.
void dbk_js_release(dbk_js_share *share);

// ---- Streams ----------------------------------------------------------------------------------------------

/// What a publish is checked against before the store sees it. Copied to each round of publishes.
typedef struct dbk_js_rules {
    bool no_ack;
    bool is_sealed;
    bool in_memory;
    bool allow_rollup; // and purging is not denied
    bool allow_ttl;
    int64_t marker_ttl_s; // no message lives shorter by its own time to live; and as text
    char marker_ttl[DBK_DECIMAL_SIZE_MAX];
    size_t marker_ttl_size;
    bool allow_atomic;
    bool subjects_overlap;     // of this stream, with one another
    uint64_t message_size_max; // 0: no limit
    dbk_js_rewrite *rewrite;   // a reference; NULL: subjects stay, nothing is republished
} dbk_js_rules;

struct dbk_js_stream {
    dbk_table_link link;
    dbk_jetstream *jetstream;
    uint32_t reference_count;
    bool is_removed;
    dbk_slice name; // behind the struct

    struct dbk_js_subject *first_subject; // what it captures
    dbk_js_rules rules;
    bool allow_direct;
    bool mirror_direct; // it also answers for the stream it mirrors
    dbk_js_consumer *first_consumer;
    dbk_js_copy *first_copy; // its mirror or sources; changed under jetstream->lock

    // Publishing. While a round is with a worker, what comes waits for the next.
    dbk_job round;
    bool round_runs;
    dbk_js_publish *first_waiting, *last_waiting; // the loop's
    dbk_js_publish *taken;                        // the worker's, while the round runs
    dbk_js_rules round_rules;
    dbk_js_publish *first_under_way, *last_under_way; // order.c: of those not told yet, by number
    dbk_js_waiting *first_request, *last_request;     // order.c: requests that wait for them
    dbk_link_table lasts; // of dbk_js_last.link: subjects of what is republished soon; under jetstream->lock

    struct dbk_js_batch *first_batch; // atomic batches that wait for more
    size_t batch_count;
};

/// A captured subject, and the service that listens on it.
typedef struct dbk_js_subject {
    struct dbk_js_subject *next;
    dbk_js_stream *stream;
    dbk_service *service;
    size_t filter_size;
    uint8_t filter[];
} dbk_js_subject;

/// Borrowed; NULL: none.
dbk_js_stream *dbk_js_find_stream(const dbk_jetstream *jetstream, dbk_slice name);
/// The loop's picture of a stream that was made or changed. ENOMEM, EINVALID (what is kept of a transform is
/// none): its subjects are not captured, or those of before.
daybook_status dbk_js_set_stream(dbk_jetstream *jetstream, const dbk_api_stream_config *config);
/// It was removed: no service, no consumer any more. None of that name is fine.
void dbk_js_remove_stream(dbk_jetstream *jetstream, dbk_slice name);
static inline dbk_js_stream *dbk_js_stream_ref(dbk_js_stream *stream) {
    stream->reference_count++;
    return stream;
}
void dbk_js_stream_unref(dbk_js_stream *stream);

// capture.c
/// A service's handler; the context is a dbk_js_subject.
void dbk_js_capture(void *context, dbk_client *from, const dbk_message *message);

// ---- Consumers --------------------------------------------------------------------------------------------

typedef enum dbk_js_consumer_state {
    DBK_JS_CONSUMER_CLOSED,  // nobody used it yet
    DBK_JS_CONSUMER_OPENING, // a job opens it; what comes meanwhile waits
    DBK_JS_CONSUMER_OPEN
} dbk_js_consumer_state;

/// What the loop needs to know of a consumer's configuration.
typedef struct dbk_js_consumer_rules {
    int ack_policy; // enum dbk_api_ack_policy
    bool is_ephemeral;
    bool headers_only;
    bool flow_control;
    uint64_t max_waiting;          // 0: no limit
    uint64_t max_batch;            // of a pull; 0: no limit
    int64_t max_expires_ns;        // of a pull; 0: no limit
    uint64_t max_bytes;            // of a pull; 0: no limit
    int64_t inactive_threshold_ns; // 0: it stays
    int64_t idle_heartbeat_ns;     // push
    uint64_t rate_limit_bps;       // push
    int sample_percent;
    int priority_policy; // enum dbk_api_priority_policy
    int64_t priority_timeout_ns;
} dbk_js_consumer_rules;

enum { DBK_JS_PIN_ID_SIZE = 22, DBK_JS_GROUP_SIZE_MAX = 16 };

/// Who a consumer with the policy pinned_client is for at the moment (group.c).
typedef struct dbk_js_pin {
    char id[DBK_JS_PIN_ID_SIZE + 1]; // "": nobody
    char group[DBK_JS_GROUP_SIZE_MAX + 1];
    int64_t pinned_ns;   // by the clock
    uint64_t generation; // counts up when somebody loses the pin
} dbk_js_pin;

/// A request or an acknowledgement that came before the consumer was open.
typedef struct dbk_js_early {
    struct dbk_js_early *next;
    dbk_js_share share;
    dbk_message message; // in the bytes behind
    uint8_t bytes[];
} dbk_js_early;

struct dbk_js_consumer {
    dbk_table_link link;
    dbk_js_stream *stream; // a reference
    dbk_js_consumer *next_of_stream, *previous_of_stream;
    uint32_t reference_count;
    bool is_removed;
    dbk_js_consumer_state state;
    dbk_slice name;       // behind the struct
    dbk_slice ack_prefix; // behind the struct: $JS.ACK.ORDERS.mail.
    dbk_js_consumer_rules rules;
    char *deliver_subject;    // NULL: a pull consumer
    char *deliver_group;      // NULL: none
    char *groups;             // priority groups, "A B"; NULL: none
    daybook_consumer *handle; // OPEN

    dbk_js_early *first_early, *last_early;

    // The store says there may be something: from any thread.
    dbk_job woken;
    atomic_bool is_woken; // the job is under way
    bool is_watched;
    dbk_timer due_timer; // something may be due by then; or another attempt after a failure

    // Delivering.
    dbk_js_delivery *delivery; // with a worker; NULL: none
    bool may_have_more;        // the store did not say yet that there is nothing
    bool woken_meanwhile;      // while the delivery was under way
    uint64_t delivered_number; // of the last message
    uint64_t delivered_seq;
    uint64_t void_number; // deliveries up to this one are of before the last reset

    // Pulling.
    dbk_js_pull *first_pull, *last_pull;
    uint64_t pull_number_last;
    atomic_uint pull_count; // read by workers
    int64_t sweep_after_ns; // no look at their inboxes before, where they are many
    dbk_timer pull_timer;
    bool pulls_are_due; // it fired, and they were not all looked at since: a delivery was under way

    // Priority groups.
    dbk_js_pin pin; // written under jetstream->lock: workers read it for infos
    dbk_timer pin_timer;
    bool counts_are_fresh; // the two below are of now
    uint64_t pending_count, ack_pending_count;

    // Pushing.
    dbk_js_push *push;    // NULL: a pull consumer
    atomic_bool is_bound; // somebody listens, as of the last look; read by workers

    // Inactivity.
    dbk_timer idle_timer;
    int64_t used_ns; // when last
};

static inline dbk_broker *dbk_js_broker_of(const dbk_js_consumer *consumer) {
    return consumer->stream->jetstream->broker;
}

/// Borrowed; NULL: it has no place here, which says nothing about the store.
dbk_js_consumer *dbk_js_find_consumer(const dbk_jetstream *jetstream, dbk_slice stream, dbk_slice name);
/// The same, and it gets a place where it has none: CLOSED. NULL: memory is out.
dbk_js_consumer *dbk_js_get_consumer(dbk_js_stream *stream, dbk_slice name);
/// The same for a message to it; NULL also where it has no place and too many are being opened.
dbk_js_consumer *dbk_js_reach_consumer(dbk_js_stream *stream, dbk_slice name);
/// A consumer of the store, opened, with what its configuration says. Made on a worker, taken over on the
/// loop.
typedef struct dbk_js_opened {
    daybook_consumer *handle;
    dbk_js_consumer_rules rules;
    char *deliver_subject, *deliver_group, *groups; // NULL: none
    uint64_t delivered_number, delivered_seq;
    dbk_js_delivery *first; // NULL: nothing was fetched for it yet (delivery.h)
} dbk_js_opened;

/// Any thread. `config` was made by dbk_api_consumer_config_from_store. ENOMEM: nothing is held.
daybook_status dbk_js_read_rules(const daybook_allocator *allocator, const dbk_api_consumer_config *config,
                                 dbk_js_opened *opened_out);
void dbk_js_opened_deinit(const daybook_allocator *allocator, dbk_js_opened *opened);
/// The loop's picture of a consumer that was made, changed or opened; what `opened` has is taken over.
void dbk_js_set_consumer(dbk_js_consumer *consumer, dbk_js_opened *opened);
/// Let a worker open it, where it is closed.
void dbk_js_open_consumer(dbk_js_consumer *consumer);
/// It was removed, or could not be opened: whoever waits is told `status_block`, a whole header block.
void dbk_js_drop_consumer(dbk_js_consumer *consumer, dbk_slice status_block);
static inline dbk_js_consumer *dbk_js_consumer_ref(dbk_js_consumer *consumer) {
    consumer->reference_count++;
    return consumer;
}
void dbk_js_consumer_unref(dbk_js_consumer *consumer);
/// Keep a message for when it is open. False: memory is out, or too many are kept.
bool dbk_js_keep_early(dbk_js_consumer *consumer, dbk_client *from, const dbk_message *message);

// ---- Small things -----------------------------------------------------------------------------------------

/// A job is under way: counted until dbk_js_end_job.
static inline void dbk_js_begin_job(dbk_jetstream *jetstream) {
    jetstream->job_count++;
}
static inline void dbk_js_end_job(dbk_jetstream *jetstream) {
    jetstream->job_count--;
}
/// A job that makes, changes or asks for streams or consumers. Its `done` calls dbk_js_end_call, at its end.
/// Thousands may wait: a `run` that comes when JetStream is_stopping does nothing. A `done` that comes then
/// makes no stream or consumer here, since nobody would take it away again.
void dbk_js_begin_call(dbk_jetstream *jetstream, dbk_job *job);
void dbk_js_end_call(dbk_jetstream *jetstream);
/// Token `index` of a subject; empty where there are fewer.
dbk_slice dbk_js_token(dbk_slice subject, size_t index);
/// What follows the first `count` tokens and their dots; empty: nothing does.
dbk_slice dbk_js_tokens_from(dbk_slice subject, size_t count);
uint32_t dbk_js_hash(const dbk_jetstream *jetstream, dbk_slice first, dbk_slice second);

#endif
