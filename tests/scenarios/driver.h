// SPDX-License-Identifier: Apache-2.0
// What a scenario is run against: the library or a nats-server. The words of the library's headers serve
// both.
//
// A session is one scenario's: a stream of its own, its consumers, its requests. One thread uses it.
#ifndef DBK_TESTS_SCENARIOS_DRIVER_H
#define DBK_TESTS_SCENARIOS_DRIVER_H

#include <stdbool.h>

#include "daybook/daybook.h"

typedef enum scenario_outcome {
    OUTCOME_OK,
    OUTCOME_NOTHING,     // no message came
    OUTCOME_REFUSED,     // the request contradicts itself or what is there
    OUTCOME_LIMIT,       // max_waiting
    OUTCOME_ABSENT,      // no such consumer, event, stream
    OUTCOME_NOT_PENDING, // answer to a message that waits for none
    OUTCOME_BROKEN       // anything else: the scenario fails, `why` says what
} scenario_outcome;

typedef enum scenario_answer { SAYS_ACK, SAYS_NAK, SAYS_PROGRESS, SAYS_TERM } scenario_answer;

enum { MESSAGES_MAX = 64, DATA_SIZE_SHOWN = 32, WHY_SIZE = 1024, ADVISORY_SIZE = 256 };

typedef struct scenario_message {
    uint64_t seq;
    uint64_t number; // of the delivery
    uint64_t delivery_count;
    uint64_t pending_count;
    int64_t recorded_ns;
    char subject[128];
    char data[DATA_SIZE_SHOWN + 1]; // its beginning
    uint64_t data_size;             // as delivered
    uint64_t said_size;             // where headers only are delivered: how much there is
} scenario_message;

typedef struct scenario_messages {
    size_t count;
    scenario_message items[MESSAGES_MAX];
} scenario_messages;

typedef struct scenario_info {
    uint64_t delivered_number, delivered_seq;
    uint64_t floor_number, floor_seq;
    uint64_t ack_pending, redelivered, waiting, pending;
} scenario_info;

typedef struct scenario_reply {
    scenario_answer kind;
    uint64_t seq;
    int64_t delay_ns;
    const char *reason;
    bool confirmed;
    bool of_first; // answers the first delivery, however often it was delivered since
} scenario_reply;

typedef struct scenario_session scenario_session; // of the driver
typedef struct scenario_request scenario_request;

typedef struct scenario_driver {
    const char *name;
    unsigned version;   // 2009 is 2.9; UINT_MAX has everything
    unsigned settle_ms; // how long what is asked may still show what was before
    bool tells_not_pending;
    void *context;

    /// `lane` is which of those that run side by side this is. NULL, and why.
    scenario_session *(*begin)(struct scenario_driver *driver, unsigned lane, const char *stream, char *why);
    void (*end)(scenario_session *session);
    scenario_outcome (*restart)(scenario_session *session, char *why);

    scenario_outcome (*add_stream)(scenario_session *session, const daybook_stream_config *config, char *why);
    scenario_outcome (*remove_stream)(scenario_session *session, char *why);
    scenario_outcome (*append)(scenario_session *session, const char *subject, const char *data, char *why);
    scenario_outcome (*has_event)(scenario_session *session, uint64_t seq, char *why);
    scenario_outcome (*remove_event)(scenario_session *session, uint64_t seq, char *why);
    scenario_outcome (*purge)(scenario_session *session, const daybook_purge_options *options, char *why);

    scenario_outcome (*add)(scenario_session *session, const daybook_consumer_config *config, char *why);
    scenario_outcome (*update)(scenario_session *session, const daybook_consumer_config *config, char *why);
    scenario_outcome (*remove)(scenario_session *session, const char *consumer, char *why);
    scenario_outcome (*pause)(scenario_session *session, const char *consumer, int64_t until_ns, char *why);
    scenario_outcome (*info)(scenario_session *session, const char *consumer, scenario_info *info, char *why);
    /// Nobody uses the consumer for now.
    void (*release)(scenario_session *session, const char *consumer);

    /// Ask for messages; `collect` waits for them. timeout_ms 0: what is there at once.
    scenario_outcome (*request)(scenario_session *session, const char *consumer,
                                const daybook_fetch_options *options, scenario_request **request_out,
                                char *why);
    scenario_outcome (*collect)(scenario_session *session, scenario_request *request,
                                scenario_messages *messages, char *why);
    scenario_outcome (*answer)(scenario_session *session, const char *consumer, const scenario_reply *reply,
                               char *why);
    /// The next advisory, as "max_deliver <consumer> <seq> <deliveries>" or "terminated …". NOTHING.
    scenario_outcome (*next_advisory)(scenario_session *session, int timeout_ms, char text[ADVISORY_SIZE],
                                      char *why);
} scenario_driver;

/// The library, each scenario with a store of its own below the working directory.
void scenario_driver_library(scenario_driver *driver_out);
/// Starts a nats-server. By the thread that runs lane 0. False where there is none or it cannot run: why says
/// it.
bool scenario_driver_nats(scenario_driver *driver_out, char why[WHY_SIZE]);
void scenario_driver_nats_stop(scenario_driver *driver);

#endif
