// SPDX-License-Identifier: Apache-2.0
//
// Every verb of daybook, once: what it is called, what it takes, what it does. The parser, `--help`, the man
// page and the bash completion are made from these rows (options.c, help.c, manual.c), in this order.
// To add a verb: a row here, a function declared in cli.h, a file that defines it.

#include "cli/cli.h"

// Verbs whose files need an optional library, or are not in this build, have no function.
#ifndef CLI_HAVE_XES
#define cli_run_import_xes NULL
#endif
#ifndef CLI_HAVE_CSV
#define cli_run_import_csv NULL
#endif
#ifndef CLI_HAVE_GIT
#define cli_run_import_git NULL
#endif
#ifndef CLI_HAVE_NDJSON
#define cli_run_import_ndjson NULL
#endif
#ifndef CLI_HAVE_EXPORT
#define cli_run_export NULL
#endif
#ifndef CLI_HAVE_DEMO
#define cli_run_demo NULL
#endif
#ifndef CLI_HAVE_PROJECTION
#define cli_run_projection_check NULL
#define cli_run_projection_run NULL
#define cli_run_projection_rebuild NULL
#define cli_run_projection_status NULL
#define cli_run_projection_pause NULL
#define cli_run_projection_resume NULL
#define cli_run_projection_parked NULL
#define cli_run_projection_rm NULL
#endif
#ifndef CLI_HAVE_BENCH
#define cli_run_bench NULL
#endif
#ifndef CLI_HAVE_SERVER
#define cli_run_serve NULL
#endif

#define FLAG(option_name, text) \
    { .name = option_name, .help = text, .kind = CLI_FLAG }
#define TEXT(option_name, metavar, text) \
    { .name = option_name, .argument = metavar, .help = text, .kind = CLI_TEXT }
#define TEXTS(option_name, metavar, text) \
    { .name = option_name, .argument = metavar, .help = text, .kind = CLI_TEXT, .repeats = 1 }
#define DESCRIPTION                                                                            \
    {                                                                                          \
        .name = "description", .argument = "TEXT", .help = "what it is for", .kind = CLI_TEXT, \
        .may_be_empty = 1                                                                      \
    }
#define NUMBER(option_name, metavar, text) \
    { .name = option_name, .argument = metavar, .help = text, .kind = CLI_NUMBER }
#define TIME(option_name, text) \
    { .name = option_name, .argument = "TIME", .help = text, .kind = CLI_TIME }
#define DURATION(option_name, text) \
    { .name = option_name, .argument = "DURATION", .help = text, .kind = CLI_DURATION }
#define BYTES(option_name, text) \
    { .name = option_name, .argument = "BYTES", .help = text, .kind = CLI_BYTES }
#define CHOICE(option_name, list, text) \
    { .name = option_name, .argument = list, .help = text, .choices = list, .kind = CLI_CHOICE }
#define FILTER(option_name, text) \
    { .name = option_name, .argument = "FILTER", .help = text, .kind = CLI_FILTER }
#define END \
    { .name = NULL }

const cli_option cli_global_options[] = {
    {.name = "store",
     .argument = "STORE",
     .kind = CLI_DIRECTORY,
     .letter = 's',
     .help = "directory of the store (default $DAYBOOK_STORE, else ./daybook-store)"},
    {.name = "wait",
     .argument = "DURATION",
     .kind = CLI_DURATION,
     .help = "how long to wait for another writer (default 5s)"},
    FLAG("read-only", "refuse to write anything"),
    FLAG("no-create", "refuse to create a store or a stream"),
    FLAG("json", "one JSON object per line, errors too"),
    FLAG("csv", "tables as comma-separated values"),
    {.name = "quiet", .kind = CLI_FLAG, .letter = 'q', .help = "no notes and no progress on stderr"},
    {.name = "help", .kind = CLI_FLAG, .letter = 'h', .help = "what the command takes, then stop"},
    END,
};

const cli_option cli_asking_options[] = {
    {.name = "force",
     .kind = CLI_FLAG,
     .letter = 'f',
     .help = "do not ask; needed where nobody can be asked"},
    {.name = "dry-run", .kind = CLI_FLAG, .letter = 'n', .help = "say what would be done, change nothing"},
    END,
};

static const cli_option append_options[] = {
    TEXT("id", "ID", "unique id of the event; the same id again adds nothing (default: a new UUIDv7)"),
    TEXT("type", "TYPE", "type (default: the tokens of the subject after the aggregate)"),
    TEXT("schema", "VERSION", "version of the event's schema, such as 1.2.0"),
    TEXTS("tag", "TAG", "tag for consistency boundaries, such as course:7"),
    TEXTS("header", "NAME:VALUE", "header"),
    TIME("time", "when it happened (default: now)"),
    DURATION("ttl",
             "it is gone so long after it was recorded, in whole seconds, where its stream allows that"),
    TEXT("correlation", "ID", "what it belongs to"),
    TEXT("causation", "ID", "the event that caused it"),
    TEXT("actor", "WHO", "who did it"),
    NUMBER("expect-seq", "N", "fail unless the stream's last seq is N"),
    TEXTS("expect-subject-seq", "[FILTER=]N",
          "fail unless the last event matching FILTER (default: the subject) has seq N; 0: there is none"),
    NUMBER("expect-version", "N", "fail unless the aggregate is at version N; 0: it is new"),
    TEXTS("fail-if", "QUERY",
          "fail if an event matches: type=a,b tag=x tag=y subject=f; items joined by ';', values with blanks "
          "in double quotes"),
    NUMBER("after", "POSITION", "with --fail-if: only events behind this position count"),
    {.name = "batch",
     .argument = "FILE|-",
     .kind = CLI_FILE,
     .help = "append the NDJSON events of FILE as one atomic batch"},
    FLAG("each", "with --batch: every line on its own, acknowledged in order as soon as durable"),
    END,
};

static const cli_option read_options[] = {
    TEXT("stream", "NAME", "only this stream"),
    NUMBER("from", "POSITION", "from this position on"),
    NUMBER("to", "POSITION", "up to this position"),
    NUMBER("after", "POSITION", "behind this position"),
    NUMBER("from-seq", "N", "from this seq of the stream on"),
    NUMBER("to-seq", "N", "up to this seq of the stream"),
    NUMBER("from-version", "N", "from this version of the aggregate on"),
    NUMBER("to-version", "N", "up to this version of the aggregate"),
    TIME("since", "recorded at or after this time"),
    TIME("until", "recorded before this time"),
    TIME("time-since", "happened at or after this time"),
    TIME("time-until", "happened before this time"),
    TEXTS("type", "TYPE", "of this type; given again: or of that"),
    TEXTS("tag", "TAG", "with this tag; given again: and with that"),
    TEXT("correlation", "ID", "of this correlation"),
    TEXT("causation", "ID", "caused by this event"),
    TEXT("actor", "WHO", "by this actor"),
    TEXT("id", "ID", "the event of this id"),
    FLAG("reverse", "newest first"),
    NUMBER("last", "N", "only the newest N, oldest of them first"),
    FLAG("last-per-subject", "only the newest event of each subject"),
    NUMBER("limit", "N", "stop after N events"),
    {.name = "follow", .kind = CLI_FLAG, .letter = 'F', .help = "go on with what comes"},
    FLAG("count", "print how many, not the events"),
    FLAG("data", "print the data only, a newline behind each"),
    FLAG("all", "buckets and internal streams too"),
    END,
};

static const cli_option ls_options[] = {
    TEXT("stream", "NAME", "only this stream"),
    FLAG("types", "types instead of aggregates"),
    FLAG("subjects", "subjects instead of aggregates"),
    FLAG("all", "buckets and internal streams too"),
    END,
};

static const cli_option state_options[] = {
    NUMBER("at", "VERSION", "as of this version"),
    NUMBER("at-seq", "SEQ", "as of this seq of the stream"),
    TIME("at-time", "of the events that had happened by then, in order of version"),
    TIME("known-at", "of the events the store had recorded by then"),
    FLAG("history", "one line per event with what it changed"),
    END,
};

static const cli_option snapshot_take_options[] = {
    FLAG("anew", "fold every event that is stored, whatever snapshots there are"),
    END,
};

static const cli_option snapshot_prune_options[] = {
    NUMBER("keep", "N", "leave the newest N of each aggregate (default 1)"),
    END,
};

static const cli_option machine_draw_options[] = {
    CHOICE("format", "mermaid|dot", "language of the drawing (default mermaid)"),
    END,
};

static const cli_option machine_state_options[] = {
    NUMBER("at", "VERSION", "as of this version"),
    TIME("at-time", "of the events that had happened by then"),
    TIME("known-at", "of the events the store had recorded by then"),
    END,
};

static const cli_option machine_move_options[] = {
    TEXT("from", "STATE", "fail unless it is in this state"),
    TEXT("actor", "WHO", "who did it"),
    TEXT("reason", "TEXT", "why"),
    TEXT("correlation", "ID", "what it belongs to"),
    TEXT("causation", "ID", "the event that caused it"),
    TEXT("data", "JSON", "an object whose members join the event's"),
    FLAG("skip-guards", "move although a guard, which is code of a program, cannot be asked here"),
    END,
};

#define DATABASE_OPTION TEXT("to", "DATABASE", "sqlite:PATH or postgresql://HOST/DATABASE")

#define PROJECTION_OPTIONS                                                                                  \
    DATABASE_OPTION, NUMBER("batch", "N", "events of one transaction at most (default 1000)"),              \
        CHOICE(                                                                                             \
            "on-error", "park|park-event|stop",                                                             \
            "an event that cannot be applied: park it and hold the later ones of its aggregate (default), " \
            "park it alone, or stop before it"),                                                            \
        NUMBER("retries", "N", "give up after N tries when the database cannot be used (0: never)")

static const cli_option projection_run_options[] = {
    PROJECTION_OPTIONS,
    FLAG("once", "end when what was stored at the beginning is applied; without: go on with what comes"),
    FLAG("standby", "where another instance runs it: wait, and take over when that ends"),
    END,
};

static const cli_option projection_rebuild_options[] = {
    PROJECTION_OPTIONS,
    END,
};

static const cli_option projection_options[] = {
    DATABASE_OPTION,
    END,
};

static const cli_option projection_parked_options[] = {
    DATABASE_OPTION,
    TEXT("retry", "POSITION", "apply this event again, or all"),
    TEXT("skip", "POSITION", "leave this event out for ever, or all"),
    END,
};

#define STREAM_OPTIONS                                                                                      \
    TEXTS("subjects", "FILTER", "subjects it captures; several: again, or joined by commas"),               \
        NUMBER("max-msgs", "N", "keep at most N events"), BYTES("max-bytes", "keep at most so many bytes"), \
        DURATION("max-age", "keep events no longer than this"),                                             \
        NUMBER("max-msgs-per-subject", "N", "keep at most N events of each subject"),                       \
        BYTES("max-msg-size", "refuse larger events"),                                                      \
        CHOICE("discard", "old|new", "at a limit remove the oldest, or refuse the new"),                    \
        FLAG("discard-new-per-subject", "refuse at the limit of the subject"),                              \
        DURATION("duplicate-window", "how long ids of removed events are remembered (default 2m)"),         \
        DURATION("sync-interval",                                                                           \
                 "acknowledge before the sync, which comes within this; 0: only when durable"),             \
        FLAG("allow-rollup", "the header Nats-Rollup may remove what is older"),                            \
        FLAG("allow-ttl", "events may have a time to live of their own; never taken back"),                 \
        DURATION("marker-ttl",                                                                              \
                 "with --allow-ttl: a marker follows a subject's last event and lives so long"),            \
        FLAG("deny-delete", "events cannot be deleted"), FLAG("deny-purge", "the stream cannot be purged"), \
        DESCRIPTION

static const cli_option stream_add_options[] = {
    STREAM_OPTIONS,
    NUMBER("aggregate", "TOKENS", "leading tokens that name the aggregate; 0: none (default 2)"),
    CHOICE("storage", "file|memory", "where events are kept (default file)"),
    CHOICE("retention", "limits|interest|workqueue",
           "what removes events beside the limits (default limits)"),
    END,
};

static const cli_option stream_edit_options[] = {
    STREAM_OPTIONS,
    FLAG("no-discard-new-per-subject", "lift --discard-new-per-subject"),
    FLAG("no-allow-rollup", "lift --allow-rollup"),
    FLAG("no-deny-delete", "lift --deny-delete"),
    FLAG("no-deny-purge", "lift --deny-purge"),
    END,
};

static const cli_option stream_purge_options[] = {
    FILTER("subject", "only matching events"),
    NUMBER("seq", "N", "only events below this seq"),
    NUMBER("keep", "N", "leave the newest N"),
    FLAG("erase", "return only when no byte of them is left in the store"),
    END,
};

static const cli_option stream_delete_options[] = {
    FLAG("erase", "return only when no byte of it is left in the store"),
    END,
};

static const cli_option kv_add_options[] = {
    NUMBER("history", "N", "values kept per key, 1 to 64 (default 1)"),
    DURATION("ttl", "how long values live (default: for ever)"),
    BYTES("max-bytes", "size of the bucket"),
    BYTES("max-value-size", "size of one value"),
    CHOICE("storage", "file|memory", "where values are kept (default file)"),
    DESCRIPTION,
    END,
};

static const cli_option kv_get_options[] = {
    NUMBER("revision", "N", "the value of this revision"),
    FLAG("raw", "the bytes of the value, no newline behind them"),
    END,
};

static const cli_option kv_revision_options[] = {
    NUMBER("revision", "N", "fail unless this is the key's last revision"),
    END,
};

static const cli_option kv_watch_options[] = {
    NUMBER("limit", "N", "end after N changes"),
    FLAG("updates-only", "no values from before the start"),
    END,
};

static const cli_option info_options[] = {
    FLAG("build", "the program and the libraries it is made of"),
    END,
};

static const cli_option help_options[] = {
    FLAG("man", "the manual page, as troff"),
    FLAG("bash-completion", "the completion script for bash"),
    END,
};

// What every import takes.
#define IMPORT_OPTIONS                                                                           \
    TEXT("subject", "TEMPLATE", "subject, such as 'orders.{order}.{activity|slug}'"),            \
        TEXT("time", "COLUMN", "when it happened"), TEXT("type", "COLUMN", "type of the event"), \
        TEXT("id", "COLUMN", "unique id (default: made from the content)"),                      \
        TEXT("actor", "COLUMN", "who did it"),                                                   \
        TEXTS("tag", "TEMPLATE", "tag; '{column|each}' makes one per element of a list")

static const cli_option import_csv_options[] = {
    IMPORT_OPTIONS,
    TEXT("delimiter", "CHARACTER", "between fields (default ,)"),
    CHOICE("order", "time|file", "order of the events (default time)"),
    END,
};

static const cli_option import_xes_options[] = {
    IMPORT_OPTIONS,
    CHOICE("order", "time|file", "order of the events (default time)"),
    END,
};

static const cli_option import_ndjson_options[] = {
    IMPORT_OPTIONS,
    CHOICE("order", "time|file", "order of the events (default file)"),
    END,
};

static const cli_option import_git_options[] = {
    IMPORT_OPTIONS,
    CHOICE("order", "time|file", "order of the events (default time)"),
    END,
};

static const cli_option export_options[] = {
    TEXT("stream", "NAME", "only this stream"),
    FLAG("all", "buckets and internal streams too"),
    END,
};

static const cli_option demo_options[] = {
    NUMBER("orders", "N", "how many orders (default 1000)"),
    NUMBER("seed", "N", "another shop for another number (default 1)"),
    END,
};

static const cli_option bench_options[] = {
    {.name = "dir",
     .argument = "DIR",
     .kind = CLI_DIRECTORY,
     .help = "where to make the fresh folder it works in (default .)"},
    {.name = "keep",
     .argument = "DIR",
     .kind = CLI_DIRECTORY,
     .help = "make the big stores in DIR, leave them there and use them again"},
    NUMBER("events", "N", "events of the big store, and length of the measurements (default 1000000)"),
    TEXTS("only", "ROW", "only this row; again for more"),
    END,
};

#define TEMPLATE_TEXT                                                                                        \
    "TEMPLATE is text with placeholders {column}. In a subject a value is percent-encoded where a token "    \
    "needs it, which can be undone; {column|slug} makes it readable instead: ASCII letters lowered, digits " \
    "and other letters kept, any other run one underscore.\n\n"                                              \
    "Line breaks and control characters in the value of a type, an actor or a tag become one space; how "    \
    "many values "                                                                                           \
    "were changed is said at the end, and the data keeps them.\n\n"                                          \
    "An id that is not given is made from the content, so importing the same source again adds nothing."

#define CONSUMER_OPTIONS                                                                                     \
    {.name = "filter",                                                                                       \
     .argument = "FILTER",                                                                                   \
     .help = "only these subjects; given again: or those",                                                   \
     .kind = CLI_FILTER,                                                                                     \
     .repeats = 1},                                                                                          \
        DURATION("ack-wait", "deliver again what is not answered within this (default 30s)"),                \
        NUMBER("max-deliver", "N", "give a message up after N deliveries"),                                  \
        TEXTS("backoff", "DURATION", "wait so long instead of --ack-wait; again for the second, third ..."), \
        NUMBER("max-ack-pending", "N", "deliver nothing new while N wait for an answer (default 1000)"),     \
        NUMBER("max-waiting", "N", "fetches that may wait at the same time (default 512)"),                  \
        DURATION("inactive-threshold", "remove it when nobody uses it for so long"),                         \
        FLAG("headers-only", "deliver messages without their data"), DESCRIPTION

static const cli_option consumer_add_options[] = {
    CHOICE("deliver", "all|last|new|last-per-subject", "where it begins (default all)"),
    NUMBER("start-seq", "N", "begin at this seq of the stream"),
    TIME("start-time", "begin at the first event recorded at or after this time"),
    CHOICE("ack", "explicit|all|none", "what an acknowledgement is for (default explicit)"),
    CHOICE("replay", "instant|original", "at once, or at the pace of recording (default instant)"),
    FLAG("in-order", "of an aggregate one message at a time, in order"),
    CONSUMER_OPTIONS,
    END,
};

static const cli_option consumer_edit_options[] = {
    CONSUMER_OPTIONS,
    FLAG("no-headers-only", "deliver data again"),
    FLAG("no-filter", "all of the stream"),
    FLAG("no-backoff", "--ack-wait counts again"),
    END,
};

static const cli_option consumer_next_options[] = {
    NUMBER("batch", "N", "up to N messages (default 1)"),
    DURATION("timeout", "wait so long for them (default 0)"),
    FLAG("no-ack", "do not answer: they come again when their time is over"),
    FLAG("nak", "answer that they are not done, so that they come again"),
    DURATION("delay", "with --nak: not before this"),
    FLAG("term", "answer that they are never to come again"),
    TEXT("reason", "TEXT", "with --term: why"),
    FLAG("data", "print the data only, a newline behind each"),
    CHOICE("deliver", "all|last|new|last-per-subject", "without NAME: where to begin (default all)"),
    NUMBER("start-seq", "N", "without NAME: begin at this seq of the stream"),
    TIME("start-time", "without NAME: begin at the first event recorded at or after this time"),
    {.name = "filter",
     .argument = "FILTER",
     .help = "without NAME: only these subjects; given again: or those",
     .kind = CLI_FILTER,
     .repeats = 1},
    END,
};

static const cli_option consumer_reset_options[] = {
    NUMBER("seq", "N",
           "the next message is the first at N or behind (default: behind all that is acknowledged)"),
    END,
};

static const cli_option consumer_ack_options[] = {
    FLAG("nak", "not done: deliver again"),
    DURATION("delay", "with --nak: not before this"),
    FLAG("term", "never deliver again"),
    TEXT("reason", "TEXT", "with --term: why"),
    FLAG("progress", "being worked on: its time begins anew"),
    END,
};

static const cli_option serve_options[] = {
    {.name = "config",
     .argument = "FILE",
     .kind = CLI_FILE,
     .letter = 'c',
     .help = "configuration as nats-server reads it; options count more"},
    TEXT("host", "ADDRESS", "listen here (default 127.0.0.1; with --config 0.0.0.0)"),
    {.name = "port",
     .argument = "N",
     .kind = CLI_NUMBER,
     .letter = 'p',
     .help = "port for clients (default 4222; 0: any free one)"},
    {.name = "http-port",
     .argument = "N",
     .kind = CLI_NUMBER,
     .letter = 'm',
     .help =
         "port of the HTTP monitor: /varz /connz /jsz /healthz, /metrics (0: any free one; default none)"},
    TEXT("name", "NAME", "name of the server (default its id)"),
    {.name = "log",
     .argument = "FILE",
     .kind = CLI_FILE,
     .letter = 'l',
     .help = "log into FILE (default stderr)"},
    {.name = "debug", .kind = CLI_FLAG, .letter = 'D', .help = "more log lines"},
    {.name = "trace", .kind = CLI_FLAG, .letter = 'V', .help = "lines of the protocol in the log"},
    {.name = "pid",
     .argument = "FILE",
     .kind = CLI_FILE,
     .letter = 'P',
     .help = "write the process id into FILE"},
    {.name = "ports-dir",
     .argument = "DIR",
     .kind = CLI_DIRECTORY,
     .help = "write a file that names the ports into DIR"},
    TEXTS("set", "KEY=VALUE", "a line of the configuration, such as max_payload=2MB"),
    {.name = "check", .kind = CLI_FLAG, .letter = 't', .help = "check the configuration, then stop"},
    END,
};

const cli_command cli_commands[] = {
    {.name = "append",
     .usage = "SUBJECT [DATA|-]",
     .summary = "append an event, or an atomic batch",
     .description =
         "Appends one event and returns when it is on disk. DATA is any bytes, '-' reads them from standard "
         "input, none means empty. A subject that no stream captures gets a stream named after its first "
         "token in capitals.\n\n"
         "All conditions given must hold at once, else nothing is written, the exit status is 3 and the "
         "events that were missed are shown.\n\n"
         "With --batch the events come as NDJSON, one object per line with the names `read --json` prints "
         "(subject, data or text or data_base64, id, type, schema, tags, headers, time, correlation, "
         "causation, actor, ttl; what the store makes itself is ignored), and are appended all or none. With "
         "--each every line stands for itself: it is acted on when its newline arrives, many are under way "
         "at a time, each is acknowledged on standard output in order as soon as it is durable; the first "
         "error ends it.",
     .examples = "daybook append orders.123.placed '{\"total\":42}'\n"
                 "daybook append orders.123.paid --expect-version 1 --actor alice\n"
                 "daybook append courses.7.booked --tag course:7 --fail-if 'tag=course:7' --after 120\n"
                 "daybook append --batch events.ndjson",
     .options = append_options,
     .run = cli_run_append,
     .positional_min = 0,
     .positional_max = 2,
     .data_index = 1},
    {.name = "read",
     .usage = "[FILTER...]",
     .summary = "print events, in order of position",
     .description =
         "FILTER is a subject, `*` standing for one token and a final `>` for the rest; several mean any of "
         "them. Bounds include both ends, --until and --time-until are excluded. Buckets and internal "
         "streams are left out unless named by --stream or a filter that begins with $, or with --all.\n\n"
         "With --json an event is one object: stream seq position aggregate version subject id type time "
         "recorded schema correlation causation actor tags headers ttl (seconds, or \"never\") and exactly "
         "one of data (JSON, its bytes "
         "kept but for white space between tokens), text (other UTF-8) and data_base64.",
     .examples = "daybook read 'orders.123.>'\n"
                 "daybook read --since -1h --type paid --json\n"
                 "daybook read --last 10 --follow",
     .options = read_options,
     .run = cli_run_read,
     .flags = CLI_TABLE | CLI_READS,
     .positional_max = CLI_ANY},
    {.name = "ls",
     .usage = "[FILTER]",
     .summary = "list aggregates, subjects or types",
     .examples = "daybook ls\ndaybook ls 'orders.>'\ndaybook ls --types",
     .options = ls_options,
     .run = cli_run_ls,
     .flags = CLI_TABLE | CLI_READS,
     .positional_max = 1},
    {.name = "state",
     .usage = "AGGREGATE",
     .summary = "the state of an aggregate, now or at any time",
     .description =
         "Folds the aggregate's events with JSON merge patch (RFC 7396); a snapshot shortens it. Give at "
         "most one of --at, --at-seq, --at-time and --known-at.",
     .examples = "daybook state orders.123\ndaybook state orders.123 --at 3\n"
                 "daybook state orders.123 --known-at -2d\ndaybook state orders.123 --history",
     .options = state_options,
     .run = cli_run_state,
     .flags = CLI_READS,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "diff",
     .usage = "AGGREGATE V1 V2",
     .summary = "how the state changed between two versions",
     .examples = "daybook diff orders.123 3 5",
     .run = cli_run_diff,
     .flags = CLI_READS,
     .positional_min = 3,
     .positional_max = 3},
    {.name = "why",
     .usage = "AGGREGATE@VERSION|ID",
     .summary = "the chain of causes of an event",
     .examples = "daybook why orders.123@5",
     .run = cli_run_why,
     .flags = CLI_READS,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "trace",
     .usage = "CORRELATION",
     .summary = "the events of a correlation, as a tree of causes",
     .run = cli_run_trace,
     .flags = CLI_READS,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "snapshot take",
     .usage = "AGGREGATE",
     .summary = "store the state, so that later folds are short",
     .options = snapshot_take_options,
     .run = cli_run_snapshot_take,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "snapshot show",
     .usage = "AGGREGATE",
     .summary = "the newest snapshot",
     .run = cli_run_snapshot_show,
     .flags = CLI_READS,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "snapshot ls",
     .usage = "[FILTER]",
     .summary = "list snapshots",
     .run = cli_run_snapshot_ls,
     .flags = CLI_TABLE | CLI_READS,
     .positional_max = 1},
    {.name = "snapshot rm",
     .usage = "AGGREGATE",
     .summary = "remove a snapshot",
     .run = cli_run_snapshot_rm,
     .flags = CLI_ASKS,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "snapshot prune",
     .usage = "[FILTER]",
     .summary = "remove older snapshots",
     .description =
         "Leaves the newest of each aggregate, or the newest N with --keep. Nothing is lost by it but time: "
         "what a snapshot held is folded from the events. At most 5 of each aggregate are kept anyhow.",
     .options = snapshot_prune_options,
     .run = cli_run_snapshot_prune,
     .flags = CLI_ASKS,
     .positional_max = 1},
    {.name = "machine check",
     .usage = "FILE",
     .summary = "check the state machine that a JSON file declares",
     .description =
         "FILE holds one object: {\"machine\": NAME, \"category\": CATEGORY, \"initial\": STATE, "
         "\"states\": [STATE...], \"transitions\": [{\"from\": STATE, \"to\": STATE, \"event\": TYPE, "
         "\"guard\": NAME}...]}. States may be left out, then they are those of the transitions; so may "
         "event (default: NAME.state.changed) and guard.\n\n"
         "Says what is allowed but probably not meant, such as a state that cannot be reached.",
     .run = cli_run_machine_check,
     .flags = CLI_WITHOUT_STORE,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "machine draw",
     .usage = "FILE",
     .summary = "draw a state machine as text for Mermaid or Graphviz",
     .examples = "daybook machine draw issue.json --format dot | dot -Tsvg >issue.svg",
     .options = machine_draw_options,
     .run = cli_run_machine_draw,
     .flags = CLI_WITHOUT_STORE,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "machine state",
     .usage = "FILE ID",
     .summary = "the state of one, now or as of a moment",
     .examples = "daybook machine state issue.json 7",
     .options = machine_state_options,
     .run = cli_run_machine_state,
     .flags = CLI_READS,
     .positional_min = 2,
     .positional_max = 2},
    {.name = "machine history",
     .usage = "FILE ID",
     .summary = "the moves of one",
     .run = cli_run_machine_history,
     .flags = CLI_TABLE | CLI_READS,
     .positional_min = 2,
     .positional_max = 2},
    {.name = "machine move",
     .usage = "FILE ID TO",
     .summary = "move one to another state",
     .description =
         "Appends the event of the transition from the present state to TO. A move that is not declared is "
         "refused, naming what is allowed; so is one from a state it is not in (--from). Both exit with 3.",
     .examples =
         "daybook machine move issue.json 7 in_progress --from open --actor alice --reason 'it is mine'",
     .options = machine_move_options,
     .run = cli_run_machine_move,
     .positional_min = 3,
     .positional_max = 3},
    {.name = "projection check",
     .usage = "FILE",
     .summary = "read the SQL file of a projection and say what is wrong with it",
     .description = "FILE is plain SQL whose comments say what belongs to what: -- projection: NAME, -- "
                    "version: N and -- events: "
                    "FILTER at its head, then sections -- [setup], -- [on SUBJECT-PATTERN] or -- [on type T, "
                    "T2], and -- "
                    "[teardown]. In [on] sections :position, :aggregate_id, :type, :time, :data.total, "
                    ":data.items[0].sku, "
                    ":header.NAME, :tag.PREFIX and others stand for values of the event; a ! behind one "
                    "(:data.total!) makes an "
                    "event without it an error.",
     .run = cli_run_projection_check,
     .flags = CLI_WITHOUT_STORE | CLI_HERE,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "projection run",
     .usage = "FILE --to DATABASE",
     .summary = "keep a read model in SQLite or PostgreSQL up with the log",
     .description = "Makes the tables of FILE ([setup]) where there are none, and applies each event exactly "
                    "once: its rows and the "
                    "checkpoint change in one transaction, so that it may be stopped or killed at any "
                    "moment. Goes on with what "
                    "comes until it is interrupted, or ends with --once. Several instances may be started; "
                    "one is active.\n\n"
                    "An event that the database refuses is parked (projection parked), and by default the "
                    "later ones of its aggregate "
                    "behind it; the others go on. A database that is locked, full or away is tried again: "
                    "without end, or with "
                    "--once 8 times.",
     .examples = "daybook projection run order_totals.sql --to sqlite:shop.db --once\n"
                 "daybook projection run order_totals.sql --to postgresql://localhost/shop",
     .options = projection_run_options,
     .run = cli_run_projection_run,
     .flags = CLI_HERE,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "projection rebuild",
     .usage = "FILE --to DATABASE",
     .summary = "build the tables anew beside those in use, and switch in one transaction",
     .description = "For a new version of FILE, or tables that were changed by hand. The read model in use "
                    "serves, and its run goes on, until the new one has caught up. A database that cannot be "
                    "used is tried again 30 times.",
     .examples = "daybook projection rebuild order_totals.sql --to sqlite:shop.db",
     .options = projection_rebuild_options,
     .run = cli_run_projection_rebuild,
     .flags = CLI_HERE,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "projection status",
     .usage = "[FILE] --to DATABASE",
     .summary = "how far the read models of a database are",
     .description =
         "With FILE that one alone, and how many events and seconds it is behind the store, or why it "
         "cannot go on with it.",
     .examples = "daybook projection status order_totals.sql --to sqlite:shop.db",
     .options = projection_options,
     .run = cli_run_projection_status,
     .flags = CLI_TABLE | CLI_HERE,
     .positional_max = 1},
    {.name = "projection pause",
     .usage = "NAME --to DATABASE",
     .summary = "let the run of a projection wait, within a second",
     .options = projection_options,
     .run = cli_run_projection_pause,
     .flags = CLI_WITHOUT_STORE | CLI_HERE,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "projection resume",
     .usage = "NAME --to DATABASE",
     .summary = "let it go on",
     .options = projection_options,
     .run = cli_run_projection_resume,
     .flags = CLI_WITHOUT_STORE | CLI_HERE,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "projection parked",
     .usage = "NAME --to DATABASE",
     .summary = "events that could not be applied: show, retry or skip them",
     .description = "A retry or skip is asked for; the run does it within a second, or the next run where "
                    "none is active. Those that "
                    "wait behind a parked event follow it in their order.",
     .examples = "daybook projection parked order_totals --to sqlite:shop.db --retry all",
     .options = projection_parked_options,
     .run = cli_run_projection_parked,
     .flags = CLI_WITHOUT_STORE | CLI_TABLE | CLI_HERE,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "projection rm",
     .usage = "NAME --to DATABASE",
     .summary = "drop the tables and the checkpoint of a projection",
     .description = "Drops what its [setup] made. Its file is not needed, and so its [teardown] is not run.",
     .options = projection_options,
     .run = cli_run_projection_rm,
     .flags = CLI_WITHOUT_STORE | CLI_ASKS | CLI_HERE,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "stream ls",
     .usage = "",
     .summary = "list streams",
     .run = cli_run_stream_ls,
     .flags = CLI_TABLE | CLI_READS},
    {.name = "stream add",
     .usage = "NAME [FILTER...]",
     .summary = "make a stream that captures subjects",
     .examples = "daybook stream add ORDERS 'orders.>' --max-age 365d",
     .options = stream_add_options,
     .run = cli_run_stream_add,
     .positional_min = 1,
     .positional_max = CLI_ANY},
    {.name = "stream info",
     .usage = "NAME",
     .summary = "settings and size of a stream",
     .run = cli_run_stream_info,
     .flags = CLI_READS,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "stream edit",
     .usage = "NAME",
     .summary = "change settings of a stream",
     .description = "What is not given stays. 0 lifts a limit. A new limit is applied at once.",
     .options = stream_edit_options,
     .run = cli_run_stream_edit,
     .flags = CLI_ASKS,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "stream rm",
     .usage = "NAME",
     .summary = "remove a stream with all its events",
     .run = cli_run_stream_rm,
     .flags = CLI_ASKS,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "stream purge",
     .usage = "NAME",
     .summary = "remove events of a stream",
     .examples = "daybook stream purge ORDERS --subject 'orders.123.>' --erase",
     .options = stream_purge_options,
     .run = cli_run_stream_purge,
     .flags = CLI_ASKS,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "stream delete",
     .usage = "NAME SEQ",
     .summary = "remove one event",
     .options = stream_delete_options,
     .run = cli_run_stream_delete,
     .flags = CLI_ASKS,
     .positional_min = 2,
     .positional_max = 2},
    {.name = "consumer ls",
     .usage = "[STREAM]",
     .summary = "list consumers: how far they are, what is to come",
     .run = cli_run_consumer_ls,
     .flags = CLI_TABLE | CLI_READS,
     .positional_max = 1},
    {.name = "consumer add",
     .usage = "STREAM NAME",
     .summary = "add a durable consumer",
     .description =
         "A consumer remembers which messages of a stream were delivered and answered. Those that fetch from "
         "it share its messages; what is not answered in time is delivered again. The same name with the "
         "same "
         "settings is fine and changes nothing. Where it begins, --ack, --replay and --in-order stay as they "
         "are.",
     .examples = "daybook consumer add ORDERS mailer --filter 'orders.*.placed' --max-deliver 5\n"
                 "daybook consumer add ORDERS audit --deliver new --in-order",
     .options = consumer_add_options,
     .run = cli_run_consumer_add,
     .positional_min = 2,
     .positional_max = 2},
    {.name = "consumer info",
     .usage = "STREAM NAME",
     .summary = "show a consumer",
     .run = cli_run_consumer_info,
     .flags = CLI_READS,
     .positional_min = 2,
     .positional_max = 2},
    {.name = "consumer next",
     .usage = "STREAM [NAME]",
     .summary = "fetch messages, print and acknowledge them",
     .description =
         "Prints first what is due again, then what is new, and answers when it is printed: with an "
         "acknowledgement unless told otherwise. Prints nothing where there is no message; the exit status "
         "is "
         "0 all the same. Without a NAME the consumer is one of its own that ends with the program: nothing "
         "is "
         "answered or kept, and the next call begins where this one did.",
     .examples =
         "daybook consumer next ORDERS mailer --batch 10 --timeout 5s --json\n"
         "daybook consumer next ORDERS mailer --no-ack\n"
         "daybook consumer next ORDERS --deliver last-per-subject --filter 'orders.*.placed' --batch 100",
     .options = consumer_next_options,
     .run = cli_run_consumer_next,
     .positional_min = 1,
     .positional_max = 2},
    {.name = "consumer ack",
     .usage = "STREAM NAME SEQ...",
     .summary = "answer messages that were fetched",
     .examples = "daybook consumer ack ORDERS mailer 17 18\n"
                 "daybook consumer ack ORDERS mailer 19 --nak --delay 1m",
     .options = consumer_ack_options,
     .run = cli_run_consumer_ack,
     .positional_min = 3,
     .positional_max = CLI_ANY},
    {.name = "consumer edit",
     .usage = "STREAM NAME",
     .summary = "change settings of a consumer",
     .options = consumer_edit_options,
     .run = cli_run_consumer_edit,
     .positional_min = 2,
     .positional_max = 2},
    {.name = "consumer pause",
     .usage = "STREAM NAME TIME",
     .summary = "deliver nothing before a time",
     .examples = "daybook consumer pause ORDERS mailer +1h",
     .run = cli_run_consumer_pause,
     .positional_min = 3,
     .positional_max = 3},
    {.name = "consumer resume",
     .usage = "STREAM NAME",
     .summary = "go on before the pause is over",
     .run = cli_run_consumer_resume,
     .positional_min = 2,
     .positional_max = 2},
    {.name = "consumer reset",
     .usage = "STREAM NAME",
     .summary = "take a consumer back, or forward; what is in flight is forgotten",
     .examples = "daybook consumer reset ORDERS mailer --seq 17",
     .options = consumer_reset_options,
     .run = cli_run_consumer_reset,
     .positional_min = 2,
     .positional_max = 2},
    {.name = "consumer rm",
     .usage = "STREAM NAME",
     .summary = "remove a consumer; the stream's events stay",
     .run = cli_run_consumer_rm,
     .flags = CLI_ASKS,
     .positional_min = 2,
     .positional_max = 2},
    {.name = "kv add",
     .usage = "BUCKET",
     .summary = "make a key-value bucket",
     .options = kv_add_options,
     .run = cli_run_kv_add,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "kv ls",
     .usage = "",
     .summary = "list buckets",
     .run = cli_run_kv_ls,
     .flags = CLI_TABLE | CLI_READS},
    {.name = "kv put",
     .usage = "BUCKET KEY [VALUE|-]",
     .summary = "set a value",
     .run = cli_run_kv_put,
     .positional_min = 2,
     .positional_max = 3,
     .data_index = 2},
    {.name = "kv get",
     .usage = "BUCKET KEY",
     .summary = "print a value",
     .options = kv_get_options,
     .run = cli_run_kv_get,
     .flags = CLI_READS,
     .positional_min = 2,
     .positional_max = 2},
    {.name = "kv create",
     .usage = "BUCKET KEY [VALUE|-]",
     .summary = "set a value where there is none",
     .run = cli_run_kv_create,
     .positional_min = 2,
     .positional_max = 3,
     .data_index = 2},
    {.name = "kv update",
     .usage = "BUCKET KEY VALUE|- REVISION",
     .summary = "set a value where REVISION is the last",
     .run = cli_run_kv_update,
     .positional_min = 4,
     .positional_max = 4,
     .data_index = 2},
    {.name = "kv del",
     .usage = "BUCKET KEY",
     .summary = "mark a key as deleted, keep its history",
     .options = kv_revision_options,
     .run = cli_run_kv_del,
     .positional_min = 2,
     .positional_max = 2},
    {.name = "kv purge",
     .usage = "BUCKET KEY",
     .summary = "delete a key with its history",
     .options = kv_revision_options,
     .run = cli_run_kv_purge,
     .flags = CLI_ASKS,
     .positional_min = 2,
     .positional_max = 2},
    {.name = "kv keys",
     .usage = "BUCKET [FILTER]",
     .summary = "list keys",
     .run = cli_run_kv_keys,
     .flags = CLI_TABLE | CLI_READS,
     .positional_min = 1,
     .positional_max = 2},
    {.name = "kv history",
     .usage = "BUCKET KEY",
     .summary = "all kept values of a key",
     .run = cli_run_kv_history,
     .flags = CLI_TABLE | CLI_READS,
     .positional_min = 2,
     .positional_max = 2},
    {.name = "kv watch",
     .usage = "BUCKET [FILTER]",
     .summary = "print values, then changes as they come",
     .options = kv_watch_options,
     .run = cli_run_kv_watch,
     .flags = CLI_READS,
     .positional_min = 1,
     .positional_max = 2},
    {.name = "kv rm",
     .usage = "BUCKET",
     .summary = "remove a bucket with all its values",
     .run = cli_run_kv_rm,
     .flags = CLI_ASKS,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "import csv",
     .usage = "FILE|-",
     .summary = "append the rows of a CSV file",
     .description = "RFC 4180, UTF-8, plain or gzipped. The first row names the columns; data is an object "
                    "of all non-empty "
                    "columns, as strings. --subject and --time are needed. A malformed row ends the import "
                    "with its line and "
                    "column; in order of time nothing is imported then.\n\n" TEMPLATE_TEXT,
     .examples =
         "daybook import csv permits.csv --subject 'permits.{case}.{activity|slug}' --time timestamp\n"
         "daybook import csv orders.csv --subject 'orders.{order}.{what|slug}' --time at --tag "
         "'item:{items|each}'",
     .options = import_csv_options,
     .run = cli_run_import_csv,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "import ndjson",
     .usage = "FILE|-",
     .summary = "append the events of an NDJSON file",
     .description =
         "One object per line with the names `read --json` and `export` print. With --subject lines are any "
         "objects: their members are the columns, their bytes the data.\n\n" TEMPLATE_TEXT,
     .examples = "daybook export | daybook -s copy import ndjson -\n"
                 "daybook import ndjson log.ndjson --subject 'web.{session}.{action|slug}' --time at",
     .options = import_ndjson_options,
     .run = cli_run_import_ndjson,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "import xes",
     .usage = "FILE",
     .summary = "append the events of an XES log (plain or .gz)",
     .description =
         "Event attributes go by their key with their types, trace attributes by case:<key>. --subject is "
         "needed; the time is that of time:timestamp unless --time says otherwise.\n\n" TEMPLATE_TEXT,
     .examples =
         "daybook import xes log.xes.gz --subject 'cases.{case:concept:name}.{concept:name|slug}' --actor "
         "org:resource",
     .options = import_xes_options,
     .run = cli_run_import_xes,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "import git",
     .usage = "DIRECTORY",
     .summary = "append the history of a git repository",
     .description =
         "One event per file changed in a commit of the first-parent history: git.<path>.added, modified or "
         "deleted, with commit, blob, mode and summary; the actor is the author, the correlation the commit. "
         "Columns: path change commit blob mode summary author email time.\n\n" TEMPLATE_TEXT,
     .examples = "daybook import git .\ndaybook state 'git.README%2Emd'",
     .options = import_git_options,
     .run = cli_run_import_git,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "export",
     .usage = "[FILTER]",
     .summary = "write events as NDJSON, byte for byte",
     .description =
         "One object per line, in order of position. Imported again with `import ndjson`, events are equal "
         "in "
         "all but the time they were recorded (and in seq, position and version where there were gaps).",
     .examples = "daybook export >all.ndjson\ndaybook export 'orders.>' | daybook -s copy import ndjson -",
     .options = export_options,
     .run = cli_run_export,
     .flags = CLI_READS,
     .positional_max = CLI_ANY},
    {.name = "demo",
     .usage = "DIR",
     .summary = "make a shop to play with",
     .description = "A store in DIR with customers, orders, payments, stock and parcels, about five events "
                    "per order. The "
                    "same seed gives the same shop. Says what to try next.",
     .examples = "daybook demo shop\ndaybook demo big-shop --orders 100000 --seed 7",
     .options = demo_options,
     .run = cli_run_demo,
     .flags = CLI_STORE_IS_ARGUMENT,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "info",
     .usage = "",
     .summary = "what is in the store, and what the program is made of",
     .options = info_options,
     .run = cli_run_info,
     .flags = CLI_READS},
    {.name = "verify",
     .usage = "",
     .summary = "read and check every byte of the store",
     .run = cli_run_verify,
     .flags = CLI_HERE},
    {.name = "repair",
     .usage = "",
     .summary = "make a damaged store writable again",
     .description = "Leaves out what cannot be read and says so; the original bytes are kept aside.",
     .run = cli_run_repair,
     .flags = CLI_ASKS | CLI_ALONE},
    {.name = "rebuild",
     .usage = "",
     .summary = "make the manifest again from segments and journal",
     .description =
         "For a manifest that does not belong here or is suspected; repair does it by itself where there is "
         "none or it is damaged. The present one is kept aside. What only it knew is lost: events "
         "removed lately may show again.",
     .run = cli_run_rebuild,
     .flags = CLI_ASKS | CLI_ALONE},
    {.name = "backup",
     .usage = "DIR",
     .summary = "copy the store, consistently, while it is in use",
     .run = cli_run_backup,
     .flags = CLI_HERE,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "restore",
     .usage = "DIR",
     .summary = "make the store from the backup in DIR",
     .run = cli_run_restore,
     .flags = CLI_ASKS | CLI_ALONE,
     .positional_min = 1,
     .positional_max = 1},
    {.name = "bench",
     .usage = "",
     .summary = "measure, in a fresh folder, each figure beside its floor",
     .description =
         "Rows: append_1 append_64 append_batch append_sustained disk load load_spread replay open_clean "
         "condition "
         "open_killed memory. Each stands beside its floor: what the device, the memory or the decompressor "
         "gives to a program that does nothing else. No store of yours is touched, and the folder is "
         "removed, "
         "also after an interruption. With --keep the stores that the rows disk, load, load_spread, replay, "
         "open_clean, condition and open_killed work on stay in DIR: filling one with a hundred million "
         "events takes a quarter of an hour. condition and open_killed add a little to theirs.",
     .examples = "daybook bench\ndaybook bench --dir /mnt/fast --events 10000000\ndaybook bench --only "
                 "append_1 --json",
     .options = bench_options,
     .run = cli_run_bench,
     .flags = CLI_WITHOUT_STORE},
    {.name = "serve",
     .usage = "[DIR]",
     .summary = "serve the store in DIR to clients of NATS",
     .description =
         "Clients of NATS publish, subscribe and use JetStream; a publish into a stream is "
         "acknowledged when it is on "
         "disk. Without DIR the store is that of -s, or the one the configuration names. SIGINT "
         "and SIGTERM stop, "
         "SIGHUP reads the configuration again, SIGUSR1 opens the log file again, SIGUSR2 lets "
         "clients go little by "
         "little (lame duck). Commands of this program on DIR, by the same user or root, run in the server "
         "meanwhile. Under the name nats-server this program takes nats-server's flags.",
     .examples = "daybook serve shop\n"
                 "daybook serve shop --host 0.0.0.0 --config server.conf\n"
                 "daybook serve shop --port 0 --json\n"
                 "daybook serve --config server.conf --check",
     .options = serve_options,
     .run = cli_run_serve,
     .flags = CLI_HERE,
     .positional_max = 1},
    {.name = "schema",
     .usage = "",
     .summary = "schema registry",
     .run = NULL,
     .flags = CLI_HIDDEN,
     .positional_max = CLI_ANY},
    {.name = "help",
     .usage = "[COMMAND]",
     .summary = "what a command takes",
     .options = help_options,
     .run = cli_run_help,
     .flags = CLI_WITHOUT_STORE,
     .positional_max = 2},
    {.name = NULL},
};
