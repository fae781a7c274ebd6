// SPDX-License-Identifier: Apache-2.0
// The naive store: arrays and linear search, written from the contract alone, to say what the real one must
// answer. It keeps every event for ever and knows of each whether it is still there and, if not, whether its
// id is remembered for ever.
//
// What is acknowledged before its sync (streams with sync_interval) counts for appends at once, for reads, limits
// and removals only up to visible_position: whoever drives both asks the real store what is durable and says so
// (model_publish).
//
// An event that has reached its stream's max_age (model_is_expired) counts for reads and appends no longer. It
// may or may not have been removed yet: whoever drives both asks the real store and says so
// (model_expire_before). An id whose event a limit removed is remembered for at least the duplicate window
// since it was recorded; later both answers are right.
//
// Out of memory ends the test program. One thread.
#ifndef DBK_TESTS_MODEL_H
#define DBK_TESTS_MODEL_H

#include <stdbool.h>

#include "daybook/daybook.h"

enum { MODEL_TAGS_MAX = 6, MODEL_HEADERS_MAX = 3, MODEL_SUBJECTS_MAX = 4, MODEL_BATCH_MAX = 400 };

/// What a producer said. Texts are NUL-terminated, "" for absent, and live as long as the model.
typedef struct model_said {
    const char *subject, *id, *type, *schema, *correlation, *causation, *actor;
    int64_t time_ns;
    const char *tags[MODEL_TAGS_MAX];
    size_t tag_count;
    const char *header_names[MODEL_HEADERS_MAX], *header_values[MODEL_HEADERS_MAX];
    size_t header_count;
    const uint8_t *data;
    size_t data_size;
} model_said;

typedef struct model_stream {
    const char *name;
    const char *subjects[MODEL_SUBJECTS_MAX];
    daybook_stream_config config; // name, subjects and description point to this stream's texts
    daybook_slice subject_slices[MODEL_SUBJECTS_MAX];
    bool removed;
    uint64_t last_seq;
} model_stream;

typedef enum model_state { MODEL_LIVE, MODEL_GONE_BY_LIMIT, MODEL_GONE_FOR_EVER } model_state;

typedef struct model_event {
    const model_said *said;
    const char *id;      // also where the store made it; "" unknown
    char aggregate[128]; // "" for none
    const char *type;    // also where derived
    size_t stream;       // index in model->streams
    uint64_t seq, position, version;
    int64_t recorded_ns;
    model_state state;
} model_event;

typedef struct model {
    model_stream **streams;
    size_t stream_count, stream_capacity;
    model_event *events; // ascending by position
    size_t event_count, event_capacity;
    void **kept; // memory that lives as long as the model
    size_t kept_count, kept_capacity;
    uint64_t visible_position; // what lies behind is not durable yet
    int64_t read_ns;           // reads at this time do not give what is past its stream's age, trimmed or not
} model;

void model_init(model *store);
void model_deinit(model *store);
void *model_alloc(model *store, size_t size);
const char *model_text(model *store, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Streams.

#define MODEL_NONE SIZE_MAX
/// Index of the stream of that name, MODEL_NONE.
size_t model_find_stream(const model *store, daybook_slice name);
/// Index of the stream that captures the subject, MODEL_NONE.
size_t model_capture(const model *store, daybook_slice subject);
size_t model_add_stream(model *store, const daybook_stream_config *config);
void model_update_stream(model *store, size_t stream, const daybook_stream_config *config);
void model_remove_stream(model *store, size_t stream);
/// What daybook_stream_add would answer as to names and overlaps.
daybook_status model_check_add(const model *store, const daybook_stream_config *config);
/// Of visible events, as are the next three.
uint64_t model_message_count(const model *store, size_t stream);
uint64_t model_byte_count(const model *store, size_t stream);
/// The seq assigned last; 0 where there is none.
uint64_t model_last_seq(const model *store, size_t stream);
/// Index of the oldest live event, MODEL_NONE.
size_t model_first_live(const model *store, size_t stream);
bool model_is_expired(const model *store, size_t event, int64_t now_ns);
/// The store has removed what is older than `seq` by age.
void model_expire_before(model *store, size_t stream, uint64_t seq);

// Appending.

typedef struct model_id_answer {
    size_t event;   // stored under this id, MODEL_NONE
    bool uncertain; // removed by a limit before the duplicate window: may be forgotten
} model_id_answer;

typedef struct model_decision {
    daybook_status status;
    bool duplicate;
    bool uncertain; // an id may be remembered or forgotten; decided as if `remembers` said
    uint32_t condition;
    uint64_t actual;
    model_id_answer ids[MODEL_BATCH_MAX];
    size_t streams[MODEL_BATCH_MAX]; // MODEL_NONE: to be created
} model_decision;

/// What an append must answer in the present state. `remembers`: what to take uncertain ids for.
void model_decide(const model *store, const model_said *const *said, size_t count,
                  const daybook_append_options *options, int64_t now_ns, bool remembers,
                  model_decision *decision_out);
/// Append what has been decided. `receipts` says the positions, ids made and recorded times.
void model_append(model *store, const model_said *const *said, size_t count, const daybook_receipt *receipts);
/// Everything up to this position is durable: it becomes visible, and limits apply to it.
void model_publish(model *store, uint64_t position);
/// Everything behind this position is lost: as if it had never been appended.
void model_cut(model *store, uint64_t position);
/// Last assigned up to `position`.
uint64_t model_version(const model *store, size_t stream, const char *aggregate, uint64_t position);
bool model_same_content(const model_said *a, const model_said *b, const model_event *stored);

// Removing.

/// Index of the live event, MODEL_NONE.
size_t model_find_event(const model *store, size_t stream, uint64_t seq);
void model_delete(model *store, size_t event);
/// Marks what a purge removes and returns how many; with dry_run only counts.
uint64_t model_purge(model *store, size_t stream, const daybook_purge_options *options, bool dry_run);

// Reading.

bool model_filter_matches(const char *filter, size_t filter_size, const char *subject);
bool model_is_visible(const model *store, const model_event *event);
/// Live, in a stream that is there; visible or not.
bool model_is_readable(const model *store, const model_event *event);
/// Indices of what the query gives, in order; the caller frees. FOLLOW is ignored.
size_t *model_read(const model *store, const daybook_query *query, size_t *count_out);
bool model_matches(const model *store, const daybook_query *query, const model_event *event);

#endif
