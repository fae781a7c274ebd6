// SPDX-License-Identifier: Apache-2.0
// What the parts of `daybook import` share: places in a source, records, and the pipeline
//
//     input (file, .gz, pipe) -> source (csv, ndjson, xes, git) -> record -> map -> event -> sort -> append
//
// A source cuts its input into records: flat lists of named values with the place each came from. The map
// turns a record into an event by the options of the command line. The sorter puts events into order of
// time within a memory budget; the appender keeps thousands of single appends in flight.
//
// Every stage is bounded by a named limit and reports trouble as a cli_import_problem, which carries line
// and column where the trouble has a place. One thread runs all stages; only the appender's completions
// arrive on another one.
#ifndef CLI_IMPORT_H
#define CLI_IMPORT_H

#include "cli/cli.h"

#include <stdbool.h>

// --- Text ------------------------------------------------------------------------------------------------

bool cli_slice_equals(daybook_slice a, daybook_slice b);
// Bytes of the UTF-8 sequence at `data`: 1 to 4; 0 where it is none (surrogates and overlong forms are none).
size_t cli_utf8_sequence_size(const unsigned char *data, size_t size);
// The number of leading bytes that are valid UTF-8; `text.size` when all are.
size_t cli_utf8_valid_size(daybook_slice text);
// Code points in valid UTF-8.
size_t cli_utf8_count(daybook_slice text);
// Only spaces and tabs, or nothing.
bool cli_slice_is_blank(daybook_slice text);
// A byte below space, or DEL.
bool cli_slice_has_control(daybook_slice text);
// In place: a run of spaces and control characters that holds one of the latter becomes one space, at an end
// nothing; other spaces stay. Returns the new size, which is `size` where there is no control character.
size_t cli_flatten(char *text, size_t size);

// --- Trouble ---------------------------------------------------------------------------------------------

typedef struct cli_import_place {
    uint64_t line;   // 1-based; 0: no place
    uint64_t column; // 1-based, in code points; 0: the whole line
} cli_import_place;

// Why an import stops. Status EINVALID stands for malformed input.
typedef struct cli_import_problem {
    daybook_status status;
    cli_import_place place;
    char message[768]; // without the place
} cli_import_problem;

// Fill `problem` and return `status`. A message that does not fit is cut.
daybook_status cli_import_fail(cli_import_problem *problem, daybook_status status, cli_import_place place,
                               const char *format, ...) __attribute__((format(printf, 4, 5)));

// ENOMEM in `problem`.
daybook_status cli_import_no_memory(cli_import_problem *problem);

// --- Input -----------------------------------------------------------------------------------------------

#define CLI_IMPORT_CHUNK_SIZE (256 * 1024)

// Bytes of a file or, for "-", of standard input; gunzipped where they are gzip.
typedef struct cli_import_input cli_import_input;

// `context`: whose file it is; NULL: this process's.
daybook_status cli_import_input_open(cli_context *context, const char *path, cli_import_input **input_out,
                                     cli_import_problem *problem);
// Up to `size` bytes; 0 at the end. EIO also for a damaged or cut .gz.
daybook_status cli_import_input_read(cli_import_input *input, void *data, size_t size, size_t *size_out,
                                     cli_import_problem *problem);
// Bytes taken from the file so far and its size, 0 where unknown: for progress.
void cli_import_input_progress(cli_import_input *input, uint64_t *done_out, uint64_t *total_out);
void cli_import_input_close(cli_import_input *input);

// --- Records ---------------------------------------------------------------------------------------------

#define CLI_IMPORT_RECORD_SIZE_MAX (16 * 1024 * 1024) // bytes of one record
#define CLI_IMPORT_FIELD_COUNT_MAX 16384              // values of one record

// How a value is written into the event's data.
typedef enum cli_import_kind {
    CLI_IMPORT_STRING, // a JSON string
    CLI_IMPORT_LITERAL // JSON already: number, true, false, null, array, object
} cli_import_kind;

typedef struct cli_import_field {
    daybook_slice name;
    daybook_slice value; // UTF-8
    cli_import_kind kind;
    bool hidden; // for templates only, not part of the data
    cli_import_place place;
} cli_import_field;

// Borrowed from its source until the next record.
typedef struct cli_import_record {
    const cli_import_field *fields;
    size_t field_count;
    cli_import_place place;
    bool has_data; // `data` is the event's data; else the fields make it
    daybook_slice data;
    const daybook_event *event; // ndjson in the names of `read`: the event itself, the map is passed by
} cli_import_record;

// What every source can do.
typedef struct cli_import_source cli_import_source;
struct cli_import_source {
    // OK, END, or a failure in `problem`.
    daybook_status (*next)(cli_import_source *source, cli_import_record *record_out,
                           cli_import_problem *problem);
    void (*progress)(cli_import_source *source, uint64_t *done_out, uint64_t *total_out);
    void (*close)(cli_import_source *source);
    // The names of the columns where they are known before the first record; NULL otherwise.
    const daybook_slice *columns;
    size_t column_count;
};

daybook_status cli_import_csv_open(cli_context *context, const char *path, char delimiter,
                                   cli_import_source **source_out, cli_import_problem *problem);
daybook_status cli_import_xes_open(cli_context *context, const char *path, cli_import_source **source_out,
                                   cli_import_problem *problem);
// `as_events`: lines are events in the names of `read`; else any JSON objects, mapped by their members.
daybook_status cli_import_ndjson_open(cli_context *context, const char *path, bool as_events, int64_t now_ns,
                                      cli_import_source **source_out, cli_import_problem *problem);
daybook_status cli_import_git_open(cli_context *context, const char *path, cli_import_source **source_out,
                                   cli_import_problem *problem);

// --- Map -------------------------------------------------------------------------------------------------

// Which column feeds what; NULL: nothing does.
typedef struct cli_import_mapping {
    const char *subject; // template
    const char *time;
    const char *type;
    const char *id;
    const char *actor;
    const char *correlation;
    const char *const *tags; // templates
    size_t tag_count;
} cli_import_mapping;

typedef struct cli_import_map cli_import_map;

// EINVALID (exit 2) for a malformed template or a column `source` is known not to have.
daybook_status cli_import_map_new(const cli_import_mapping *mapping, const cli_import_source *source,
                                  cli_import_map **map_out, cli_import_problem *problem);
// Turn a record into an event, borrowed until the next call. EINVALID with a place for malformed input.
daybook_status cli_import_map_apply(cli_import_map *map, const cli_import_record *record,
                                    daybook_event *event_out, cli_import_problem *problem);
// Values of type, actor or tag whose control characters were replaced, over all records.
uint64_t cli_import_map_replaced_count(const cli_import_map *map);
void cli_import_map_free(cli_import_map *map);

// Refuse what the store would refuse, so that the place in the source can be named.
daybook_status cli_import_event_check(const daybook_event *event, cli_import_place place,
                                      cli_import_problem *problem);

// --- Ids -------------------------------------------------------------------------------------------------

// Gives events without an id one that depends on their content and on how many equal ones came before.
typedef struct cli_import_ids cli_import_ids;

cli_import_ids *cli_import_ids_new(bool ordered_by_time); // NULL: out of memory
// Sets `event->id`, borrowed until the next call, unless it has one. ENOMEM.
daybook_status cli_import_ids_apply(cli_import_ids *ids, daybook_event *event, cli_import_problem *problem);
void cli_import_ids_free(cli_import_ids *ids);

// --- Sort ------------------------------------------------------------------------------------------------

#define CLI_IMPORT_SORT_BYTES (32 * 1024 * 1024) // beside what the store takes

// A stable external merge sort of events by time.
typedef struct cli_import_sorter cli_import_sorter;

// @param directory  where the spill file goes, in use only above the budget; it has no name there
daybook_status cli_import_sorter_new(size_t budget_bytes, const char *directory,
                                     cli_import_sorter **sorter_out, cli_import_problem *problem);
// Copies the event. ENOSPC, EIO, ENOMEM.
daybook_status cli_import_sorter_add(cli_import_sorter *sorter, const daybook_event *event,
                                     cli_import_place place, cli_import_problem *problem);
// No more will be added; reading may begin.
daybook_status cli_import_sorter_finish(cli_import_sorter *sorter, cli_import_problem *problem);
// OK or END; the event is borrowed until the next call.
daybook_status cli_import_sorter_next(cli_import_sorter *sorter, daybook_event *event_out,
                                      cli_import_place *place_out, cli_import_problem *problem);
size_t cli_import_sorter_run_count(const cli_import_sorter *sorter);
void cli_import_sorter_free(cli_import_sorter *sorter);

// --- Append ----------------------------------------------------------------------------------------------

typedef struct cli_import_counts {
    uint64_t stored;
    uint64_t duplicate; // an event of this id was stored already
    uint64_t differs;   // ... with other content
} cli_import_counts;

// Keeps single appends in flight, so that they share syncs, and counts how they ended.
typedef struct cli_import_appender cli_import_appender;

// @param may_create  subjects nobody captures create the stream of their first token
daybook_status cli_import_appender_new(daybook_store *store, bool may_create,
                                       cli_import_appender **appender_out, cli_import_problem *problem);
// Copies the event; waits only while too many are in flight. Fails once any earlier append failed.
daybook_status cli_import_appender_add(cli_import_appender *appender, const daybook_event *event,
                                       cli_import_place place, cli_import_problem *problem);
// Wait for all in flight. The first failure, also when adding went well.
daybook_status cli_import_appender_finish(cli_import_appender *appender, cli_import_problem *problem);
// What is acknowledged now.
cli_import_counts cli_import_appender_counts(cli_import_appender *appender);
// Names of streams created and not yet taken, one per call into `name_out`; false when there is none.
bool cli_import_appender_take_created(cli_import_appender *appender, char name_out[256]);
// Waits for all in flight.
void cli_import_appender_free(cli_import_appender *appender);

#endif
