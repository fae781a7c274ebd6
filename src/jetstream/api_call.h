// SPDX-License-Identifier: Apache-2.0
// A request on $JS.API.>: found in a table, run on a worker, answered on the loop.
//
// Calls that change or ask for streams and consumers run one after the other (dbk_js_begin_call), as
// their order matters to whoever sends them; reading messages runs beside. Pulls never leave the loop.
#ifndef DBK_JETSTREAM_API_CALL_H
#define DBK_JETSTREAM_API_CALL_H

#include "api/answer.h"
#include "api/request.h"
#include "jetstream/jetstream_internal.h"

typedef struct dbk_js_call dbk_js_call;

/// What the loop does when the worker is done, before the answer is sent.
typedef void (*dbk_js_effect)(dbk_js_call *call);

struct dbk_js_call {
    dbk_job job;
    dbk_jetstream *jetstream;
    dbk_api_answer kind;
    dbk_js_settings settings;       // as they were when the call came
    void (*run)(dbk_js_call *call); // on a worker: fills `answer`
    dbk_slice asked;                // the whole subject
    dbk_slice subject; // "STREAM.INFO.ORDERS": without the prefix; borrowed from bytes, as those below
    dbk_slice reply;
    dbk_slice headers;
    dbk_slice body;
    dbk_js_share share;
    dbk_arena *arena; // what `run` makes lives as long as the call
    dbk_buf answer;
    bool has_failed;
    uint64_t api_total, api_errors, api_in_flight; // when the call came
    // CONSUMER.INFO: of the consumer named, when the call came. Not noted: it was not there, or nobody
    // looked; then what the loop knows when the call runs is told.
    bool is_noted, push_bound;
    uint64_t waiting_count;
    dbk_slice listened; // CONSUMER.CREATE: the deliver_subject `body` seems to have, if somebody listens
    uint64_t random;    // for a name

    dbk_js_effect effect;                // NULL: none
    const dbk_api_stream_config *stream; // of dbk_js_effect_set_stream
    dbk_slice stream_name, consumer_name;
    uint64_t reset_seq, reset_number; // of dbk_js_consumer_reset
    uint64_t passed_seq;              // of dbk_js_stream_purge: nothing up to it is stored any more
    dbk_js_opened opened;             // of dbk_js_effect_set_consumer
    dbk_js_delivery *first; // what the effect took over of `opened`: handed over behind the answer; or NULL
    const char *advisory;   // "STREAM.CREATED" ...; NULL: none is sent. See advisory.h
    const char *action;     // "create", ...

    uint8_t bytes[];
};

/// Token `index` of its subject: token 2 of STREAM.INFO.ORDERS is ORDERS.
static inline dbk_slice dbk_js_call_token(const dbk_js_call *call, size_t index) {
    return dbk_js_token(call->subject, index);
}
/// Answer with an error.
void dbk_js_call_fail(dbk_js_call *call, const dbk_api_error *error);
void dbk_js_call_refuse(dbk_js_call *call, dbk_api_error_kind kind);
/// What the store said, where no more fitting error is known.
void dbk_js_call_fail_status(dbk_js_call *call, daybook_status status, const daybook_error *cause,
                             dbk_api_error_kind otherwise);

/// Handler of $JS.API.> and $JS.<domain>.API.>; the context is a dbk_jetstream.
void dbk_js_serve_api(void *context, dbk_client *from, const dbk_message *message);

/// The calls that are answered by a worker, one after the other: their subjects behind the prefix and what an
/// answer is of. False: there are no more.
bool dbk_js_call_kind(size_t index, const char **filter_out, dbk_api_answer *kind_out);

/// A request that was kept (order.h) is served now. Its subject was found good when it came.
void dbk_js_go_on(dbk_jetstream *jetstream, dbk_client *from, const dbk_message *message);

// stream_api.c
void dbk_js_stream_create(dbk_js_call *call);
void dbk_js_stream_update(dbk_js_call *call);
void dbk_js_stream_info(dbk_js_call *call);
void dbk_js_stream_names(dbk_js_call *call);
void dbk_js_stream_list(dbk_js_call *call);
void dbk_js_stream_delete(dbk_js_call *call);
void dbk_js_stream_purge(dbk_js_call *call);
void dbk_js_account_info(dbk_js_call *call);
/// The configuration of a stream of the store, and its info to be released; else the call has failed.
bool dbk_js_call_stream(dbk_js_call *call, dbk_slice name, dbk_api_stream_config *config_out,
                        daybook_stream_info **info_out);

// message_api.c
void dbk_js_message_get(dbk_js_call *call);
void dbk_js_message_delete(dbk_js_call *call);

// consumer_api.c
void dbk_js_consumer_create(dbk_js_call *call);
void dbk_js_consumer_create_durable(dbk_js_call *call);
void dbk_js_consumer_info(dbk_js_call *call);
void dbk_js_consumer_names(dbk_js_call *call);
void dbk_js_consumer_list(dbk_js_call *call);
void dbk_js_consumer_delete(dbk_js_call *call);
void dbk_js_consumer_pause(dbk_js_call *call);
void dbk_js_consumer_reset(dbk_js_call *call);
void dbk_js_consumer_unpin(dbk_js_call *call);

// direct.c: on the loop
void dbk_js_serve_direct(dbk_jetstream *jetstream, dbk_client *from, dbk_slice subject,
                         const dbk_message *message);

#endif
