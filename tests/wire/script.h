// SPDX-License-Identifier: Apache-2.0
// Reading a wire script: lines become steps, those that are not for this server are left out when it runs. README.md has the
// grammar.
#ifndef DBK_TESTS_WIRE_SCRIPT_H
#define DBK_TESTS_WIRE_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

typedef enum step_kind {
    STEP_SEND_LINE,   // NAME> TEXT
    STEP_SEND_BYTES,  // NAME>> TEXT
    STEP_EXPECT,      // NAME< PATTERN
    STEP_EXPECT_JSON, // NAME<~ PATTERN
    STEP_WORD         // a word and what follows it
} step_kind;

/// Where a step counts.
typedef struct gate {
    enum { EVERYWHERE, ON_DAYBOOK, ON_NATS } server;
    enum { ANY_VERSION, BELOW_VERSION, FROM_VERSION } comparison;
    unsigned version; // 2.10 is 2010
} gate;

enum { CONNECTION_NAME_SIZE = 32 };

typedef struct step {
    step_kind kind;
    unsigned line;
    gate gate;
    char name[CONNECTION_NAME_SIZE]; // of a connection, or the word; "": the one without a name
    const char *text;                // owned
    size_t block_end;                // of repeat and unordered: the step behind their `end`
} step;

typedef struct script {
    const char *path;
    step *steps;
    size_t count, capacity;
    // Of the head, before the first step.
    unsigned needed_version; // 0: any
    char *needed_why;
    char *config; // "": an empty file
    char *flags;
    bool with_jetstream;
} script;

/// Ends the program where the script cannot be read, and says why.
void script_read(script *read_out, const char *path);
void script_free(script *read);
/// "2.9.10" as 2009; 0: it is none.
unsigned parse_version(const char *version_text);
bool gate_is_open(const gate *at, bool is_daybook, unsigned version);

#endif
