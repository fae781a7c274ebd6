// SPDX-License-Identifier: Apache-2.0
//
// The framework of the command line: what a verb is, how its options are declared and read, how it opens
// the store, reports failures and ends. Every verb is one row in commands.c and one function of the type
// `int run(cli_context *)` in a file of its own. The same rows make the option parser, `--help`, the man
// page and the bash completion, so none of them can forget what another knows.
//
// Rules for a verb:
//   1. check the arguments (cli_fail with DAYBOOK_EINVALID -> exit 2) before opening anything;
//   2. cli_open_store; work; print through context->out only; notes and progress go to stderr;
//   3. return an exit status. A function that reports a failure returns the exit status to pass on, so
//      `return cli_fail(...)` is the usual way out. main flushes the output and closes the store.
//
// Threads: a context belongs to the main thread. Names across files of this program begin with cli_.
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "cli/output.h"
#include "daybook/daybook.h"

#if defined(__GNUC__)
#define CLI_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define CLI_PRINTF(text, first)
#endif

// Exit statuses: part of the contract.
enum cli_exit {
    CLI_FINE = 0,
    CLI_ERROR = 1,      // operating error: disk full, I/O, a limit, a malformed input file
    CLI_USAGE = 2,      // malformed argument, subject or time
    CLI_CONFLICT = 3,   // condition failed or ids mixed
    CLI_NOT_FOUND = 4,  // no such store, stream, aggregate, version, key
    CLI_DAMAGED = 5,    // damage found
    CLI_UNAVAILABLE = 6 // locked, unreachable, poisoned, not built in
};

// What the argument of an option is; checked while parsing, so a verb never sees a malformed number or time.
enum cli_kind {
    CLI_FLAG,     // no argument
    CLI_TEXT,     // anything, not empty unless `may_be_empty`
    CLI_NUMBER,   // 0 to 2^64-1
    CLI_TIME,     // TIME as daybook_time_parse
    CLI_DURATION, // "90s", "1h30m", "30d"; 0 is none
    CLI_BYTES,    // "1048576", "64MiB", "1G"
    CLI_CHOICE,   // one of `choices`
    CLI_FILTER,   // subject filter
    CLI_FILE,     // path of a file (for completion)
    CLI_DIRECTORY // path of a directory (for completion)
};

typedef struct cli_option {
    const char *name;     // long name without dashes; NULL ends a list
    const char *argument; // as shown in help, "N"; NULL for flags
    const char *help;     // one line, no full stop
    const char *choices;  // CLI_CHOICE: "time|file"
    int kind;
    int repeats;      // may be given more than once
    int may_be_empty; // CLI_TEXT that says nothing when empty, such as a description
    char letter;      // short form, 0 for none
} cli_option;

// Properties of a verb.
enum cli_command_flag {
    CLI_WITHOUT_STORE = 1, // never opens STORE
    CLI_ASKS = 2,          // destructive: has --force and --dry-run, asks on a terminal
    CLI_TABLE = 4,         // has --csv
    CLI_HIDDEN = 8,        // not shown in help
    // On a directory that a server has, a command runs in that server, unless it is one of these:
    CLI_READS = 16,             // it only reads: this process can do it where the server cannot
    CLI_HERE = 32,              // it is for this process, beside the server
    CLI_ALONE = 64,             // it cannot be while there is one (but for a trial, --dry-run)
    CLI_STORE_IS_ARGUMENT = 128 // the first positional names the store
};

// Not an exit status: a server took the store while the command waited for it, and is to run the command.
#define CLI_HAND_OVER (-1)

struct cli_context;

typedef struct cli_command {
    const char *name;                        // "append", "stream add"
    const char *usage;                       // positional arguments, "SUBJECT [DATA|-]"
    const char *summary;                     // one line, no full stop
    const char *description;                 // paragraphs for --help and the manual, may be NULL
    const char *examples;                    // lines, each a command; may be NULL
    const cli_option *options;               // NULL-name ended; may be NULL
    int (*run)(struct cli_context *context); // NULL: not built in, exit 6
    unsigned flags;
    unsigned positional_min;
    unsigned positional_max; // CLI_ANY for no limit
    unsigned data_index;     // of the positional that is data and so may be empty; 0: none
} cli_command;

#define CLI_ANY 0xffffffffu

// All verbs, in order of the manual; the last row has name NULL.
extern const cli_command cli_commands[];
// Options every verb takes: -s/--store --wait --read-only --no-create --json --csv --quiet --help.
extern const cli_option cli_global_options[];
// --force and --dry-run, of verbs flagged CLI_ASKS.
extern const cli_option cli_asking_options[];

typedef struct cli_value {
    const cli_option *option;
    const char *text;
    uint64_t number; // CLI_NUMBER, CLI_BYTES
    int64_t time_ns; // CLI_TIME, CLI_DURATION
} cli_value;

typedef struct cli_context {
    const cli_command *command;
    const char **positionals;
    size_t positional_count;
    cli_value *values;
    size_t value_count;
    const char *store_path; // -s, else $DAYBOOK_STORE, else ./daybook-store
    int64_t now_ns;         // one "now" for all times of a run
    unsigned wait_ms;
    int json;
    int csv;
    int quiet;
    int read_only;
    int no_create;
    int force;
    int dry_run;
    int terminal_in;  // stdin is a terminal
    int terminal_out; // stdout is a terminal
    int terminal_err;
    int color;   // stdout takes colour
    int columns; // width of the terminal, 0 when stdout is none
    int output_failure_said;
    cli_output *out;
    daybook_store *store; // NULL until cli_open_store
    // NULL: the command is one of this process. Else this process serves the store, and the command's
    // terminal, descriptors and files are those of the process that the session is with.
    struct cli_session *session;
    int has_input; // some was opened: what was read cannot be read again
} cli_context;

// --- Options. `name` must be an option of the running verb (asserted). The last one given wins. ---

int cli_given(const cli_context *context, const char *name);
// NULL where it was not given.
const char *cli_text(const cli_context *context, const char *name);
// Empty where it was not given.
daybook_slice cli_slice(const cli_context *context, const char *name);
uint64_t cli_number(const cli_context *context, const char *name, uint64_t otherwise);
int64_t cli_time(const cli_context *context, const char *name, int64_t otherwise);
// For options that repeat: how often given, and the index-th one.
size_t cli_value_count(const cli_context *context, const char *name);
const char *cli_value_text(const cli_context *context, const char *name, size_t index);
// All values of a repeating option as slices; `*slices_out` is released with free. 0 or exit status.
int cli_value_slices(cli_context *context, const char *name, daybook_slice **slices_out, size_t *count_out);

// Text to number. 0 where it is no number from 0 to 2^64-1.
int cli_parse_number(daybook_slice text, uint64_t *number_out);

// QUERY of --fail-if: `type=a,b tag=x tag=y subject=f`, `;` between items; values may be "quoted".
typedef struct cli_query_items {
    daybook_query_item *items;
    size_t count;
    daybook_slice *slices; // backing of the items
    char *text;
} cli_query_items;
// 0 or the exit status of the failure it reported. Release with cli_query_items_release in both cases.
int cli_parse_query_items(cli_context *context, const char *text, cli_query_items *items_out);
void cli_query_items_release(cli_query_items *items);

// --- Failures: `daybook: what happened: why; what to do` on stderr, or with --json one object. ---

int cli_exit_of(daybook_status status);
// Report and return the exit status that belongs to `status`. The format makes the whole message.
int cli_fail(cli_context *context, daybook_status status, const char *format, ...) CLI_PRINTF(3, 4);
// Report what the library said. `about` (may be NULL) goes before its message: "line 7".
int cli_fail_error(cli_context *context, daybook_status status, const daybook_error *error,
                   const char *about);
// A malformed input file: exit 1 whatever the status. line and column count from 1, 0 = not known.
int cli_fail_input(cli_context *context, const char *file, uint64_t line, uint64_t column, const char *format,
                   ...) CLI_PRINTF(5, 6);

typedef struct cli_failure {
    daybook_status status;
    int exit_status;
    const char *message;
    int has_values; // expected and actual are meant
    uint64_t expected;
    uint64_t actual;
    uint64_t line;
    uint64_t column;
    daybook_slice missed; // JSON array; empty: []
} cli_failure;
// The general form; prints one line or one object. Returns failure->exit_status.
int cli_report(cli_context *context, const cli_failure *failure);

// A failed condition with the events that were missed, which `query` finds (NULL: nothing can be asked).
int cli_fail_missed(cli_context *context, const char *what, uint64_t expected, uint64_t actual,
                    const daybook_query *query);

// One line on stderr; nothing with --quiet. With --json `{"note":"..."}`.
void cli_note(cli_context *context, const char *format, ...) CLI_PRINTF(2, 3);
// The notes the contract asks for, also with --quiet: `kind` is "store" or "stream".
void cli_note_created(cli_context *context, const char *kind, daybook_slice name);

// --- The store. ---

enum cli_access {
    CLI_READ,  // never waits for a writer
    CLI_WRITE, // must exist
    CLI_CREATE // made where absent, said on stderr; --no-create refuses
};
// 0 with context->store open (in a session: the one that is served), else the exit status of the failure it
// reported, or CLI_HAND_OVER.
int cli_open_store(cli_context *context, int access);
// The open store as the toolkit takes it.
daybook_engine *cli_engine(const cli_context *context);
// The options cli_open_store would use, for calls that take a path (verify, repair, restore).
void cli_open_options(const cli_context *context, int access, daybook_open_options *options_out);
// Refuses nats:// with exit 6; 0 where store_path is a directory's name.
int cli_check_store_path(cli_context *context);
// 0 to go on; else the exit status. The question is "<what>? [y/N]"; --force answers it.
int cli_confirm(cli_context *context, const char *format, ...) CLI_PRINTF(2, 3);

// --- Interruption: SIGINT and SIGTERM end a follower cleanly. ---

// Before opening the store: the signals wait until a cursor is there.
void cli_interrupts_prepare(cli_context *context);
// From now on the first of those signals calls `interrupt`, in a thread of its own. 0 or exit status.
int cli_interrupts_begin(cli_context *context, void (*interrupt)(void *what), void *what);
// Before `what` goes. Returns 1 where a signal came.
int cli_interrupts_end(cli_context *context);
// Nobody waits for the rest of a command that another process handed over: for long work that neither reads
// input nor prints.
int cli_is_cut(const cli_context *context);

// --- Reading an argument that may be `-` (stdin); owned by the caller, released with free. ---
int cli_read_data(cli_context *context, const char *argument, char **data_out, size_t *size_out);

// --- A whole file that was named; `*text_out` is released with free. 0 or exit status. ---
int cli_read_file(cli_context *context, const char *path, char **text_out, size_t *size_out);

// --- Entry points of the verbs. ---

int cli_run_append(cli_context *context);
int cli_run_append_each(cli_context *context); // `append --batch FILE --each`
int cli_run_read(cli_context *context);
int cli_run_ls(cli_context *context);
int cli_run_state(cli_context *context);
int cli_run_diff(cli_context *context);
int cli_run_why(cli_context *context);
int cli_run_trace(cli_context *context);
int cli_run_snapshot_take(cli_context *context);
int cli_run_snapshot_show(cli_context *context);
int cli_run_snapshot_ls(cli_context *context);
int cli_run_snapshot_rm(cli_context *context);
int cli_run_snapshot_prune(cli_context *context);
int cli_run_machine_check(cli_context *context);
int cli_run_machine_draw(cli_context *context);
int cli_run_machine_state(cli_context *context);
int cli_run_machine_history(cli_context *context);
int cli_run_machine_move(cli_context *context);
int cli_run_projection_check(cli_context *context);
int cli_run_projection_run(cli_context *context);
int cli_run_projection_rebuild(cli_context *context);
int cli_run_projection_status(cli_context *context);
int cli_run_projection_pause(cli_context *context);
int cli_run_projection_resume(cli_context *context);
int cli_run_projection_parked(cli_context *context);
int cli_run_projection_rm(cli_context *context);
int cli_run_stream_ls(cli_context *context);
int cli_run_stream_add(cli_context *context);
int cli_run_stream_info(cli_context *context);
int cli_run_stream_edit(cli_context *context);
int cli_run_stream_rm(cli_context *context);
int cli_run_stream_purge(cli_context *context);
int cli_run_stream_delete(cli_context *context);
int cli_run_consumer_add(cli_context *context);
int cli_run_consumer_ls(cli_context *context);
int cli_run_consumer_info(cli_context *context);
int cli_run_consumer_next(cli_context *context);
int cli_run_consumer_ack(cli_context *context);
int cli_run_consumer_edit(cli_context *context);
int cli_run_consumer_pause(cli_context *context);
int cli_run_consumer_resume(cli_context *context);
int cli_run_consumer_reset(cli_context *context);
int cli_run_consumer_rm(cli_context *context);
int cli_run_kv_add(cli_context *context);
int cli_run_kv_ls(cli_context *context);
int cli_run_kv_put(cli_context *context);
int cli_run_kv_get(cli_context *context);
int cli_run_kv_create(cli_context *context);
int cli_run_kv_update(cli_context *context);
int cli_run_kv_del(cli_context *context);
int cli_run_kv_purge(cli_context *context);
int cli_run_kv_keys(cli_context *context);
int cli_run_kv_history(cli_context *context);
int cli_run_kv_watch(cli_context *context);
int cli_run_kv_rm(cli_context *context);
int cli_run_info(cli_context *context);
int cli_run_verify(cli_context *context);
int cli_run_repair(cli_context *context);
int cli_run_rebuild(cli_context *context);
int cli_run_backup(cli_context *context);
int cli_run_restore(cli_context *context);
int cli_run_help(cli_context *context);
// In import_*.c, export.c, demo.c, bench*.c.
int cli_run_import_csv(cli_context *context);
int cli_run_import_ndjson(cli_context *context);
int cli_run_import_xes(cli_context *context);
int cli_run_import_git(cli_context *context);
int cli_run_export(cli_context *context);
int cli_run_demo(cli_context *context);
int cli_run_bench(cli_context *context);
int cli_run_serve(cli_context *context);

// --- Running, used by main and by a server for others. ---

// Parse, check, run. An exit status.
int cli_run(cli_context *context, int count, char **arguments);
// Write out what was printed, close the store; the exit status in the end.
int cli_finish(cli_context *context, int status);

// --- Parsing and help. ---

void cli_context_init(cli_context *context, cli_output *out);
void cli_context_deinit(cli_context *context);

// Fills command, positionals, values and the global fields. 0 or exit status; a verb asked for --help has
// `*help_out` set to 1.
int cli_parse(cli_context *context, int argument_count, char **arguments, int *help_out);
// The option of that name of the verb (its own, global, asking); NULL when there is none.
const cli_option *cli_find_option(const cli_command *command, const char *name, size_t name_size);
const cli_command *cli_find_command(const char *first, const char *second);
// Does a verb of two words begin so ("stream")?
int cli_is_group(const char *first);
void cli_print_help(cli_context *context, const cli_command *command);
void cli_print_overview(cli_context *context);
void cli_print_group(cli_context *context, const char *group);

#endif
