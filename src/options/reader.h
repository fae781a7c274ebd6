// SPDX-License-Identifier: Apache-2.0
// Reading blocks of a configuration by tables: a row for each key says what kind of value it takes and where
// that goes. Only for the files of this folder.
#ifndef DBK_OPTIONS_READER_H
#define DBK_OPTIONS_READER_H

#include "options/options.h"

typedef struct dbk_option_origin {
    const char *key; // "port", "tls.cert_file"
    const char *text;
    struct dbk_option_origin *next;
} dbk_option_origin;

/// Behind dbk_options.memory: all of it lies in the arena, the options too.
struct dbk_options_memory {
    dbk_arena *arena;
    dbk_option_origin *origins;
    const char **notices; // room for notice_capacity
    size_t notice_capacity;
    const char *file_given; // the last name of a file that was copied, and the copy
    const char *file_kept;
    const char *jetstream_denied; // the notice, where the account served may not have it
    bool auth_timeout_is_set;
};

/// The name of the tree that flags make: its places are said without line and column.
#define DBK_OPTIONS_COMMAND_LINE "command line"

typedef struct dbk_option_reader {
    dbk_options *options;
    struct dbk_options_memory *memory;
    daybook_error *error;
    const dbk_config_entry *store_dir; // seen in this tree
    const dbk_config_entry *accounts;  // the same
    const dbk_config_entry *authorization;
    const char *system_account;
} dbk_option_reader;

typedef enum dbk_option_kind {
    DBK_OPTION_TEXT,       // const char *; "" becomes NULL
    DBK_OPTION_BOOLEAN,    // bool
    DBK_OPTION_INTEGER,    // int64_t, minimum to maximum
    DBK_OPTION_SIZE,       // the same, also as a text: "1G" is 1024^3
    DBK_OPTION_DURATION,   // int64_t nanoseconds; a bare number is seconds, with a notice
    DBK_OPTION_SECONDS,    // the same without the notice, and fractions
    DBK_OPTION_PORT,       // int32_t: -1 to 65535
    DBK_OPTION_TEXTS,      // dbk_text_list, from a text or an array of them
    DBK_OPTION_CUSTOM,     // `handle` does it
    DBK_OPTION_IGNORED,    // means nothing here, and nobody misses it
    DBK_OPTION_NOT_SERVED, // the same with a notice, where it asks for something
    DBK_OPTION_REFUSED     // EUNSUPPORTED where it asks for something; `text` says what to do
} dbk_option_kind;

enum {
    DBK_OPTION_ZERO_IS_DEFAULT = 1 // 0 leaves the value as it is by default
};

typedef struct dbk_option_key dbk_option_key;

/// `target` is the struct that `offset` counts in.
typedef daybook_status (*dbk_option_handler)(dbk_option_reader *reader, const dbk_option_key *key,
                                             const dbk_config_entry *entry, void *target);

struct dbk_option_key {
    const char *names; // the name, then others for the same, separated by blanks; NULL ends a table
    dbk_option_kind kind;
    size_t offset;
    int64_t minimum; // INTEGER, SIZE; DURATION and SECONDS in nanoseconds
    int64_t maximum; // 0: as large as the type
    unsigned flags;
    unsigned changed; // DBK_CHANGED_…: a reload may change it; 0: it needs a restart
    dbk_option_handler handle;
    const char *text;
};

/// Every entry of `map` by its row. `block` is what messages and origins call it, NULL for the file itself.
daybook_status dbk_option_read_block(dbk_option_reader *reader, const dbk_option_key *keys, const char *block,
                                     const dbk_config_value *map, void *target);
/// The same for a value that must be a map.
daybook_status dbk_option_read_map(dbk_option_reader *reader, const dbk_option_key *keys, const char *block,
                                   const dbk_config_entry *entry, void *target);
/// One entry by one row.
daybook_status dbk_option_read(dbk_option_reader *reader, const dbk_option_key *key,
                               const dbk_config_entry *entry, void *target);
/// The row for a key, in any case; NULL when there is none.
const dbk_option_key *dbk_option_find(const dbk_option_key *keys, dbk_slice name);
/// The length of the first of its names.
size_t dbk_option_name_size(const dbk_option_key *key);
/// Does the value ask for anything: not false, no empty map or array?
bool dbk_option_is_asking(const dbk_config_value *value);

/// "file:line:column"; without line and column for the command line and where line is 0.
void dbk_option_format_place(const dbk_config_place *place, char *text, size_t size);
/// "place: message".
daybook_status dbk_option_fail(dbk_option_reader *reader, const dbk_config_place *place,
                               daybook_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/// "place: key is a <kind>; advice".
daybook_status dbk_option_fail_kind(dbk_option_reader *reader, const dbk_config_entry *entry,
                                    const char *advice);
/// A line for the log, with the place where that is not NULL. ENOMEM.
daybook_status dbk_option_notice(dbk_option_reader *reader, const dbk_config_place *place, const char *format,
                                 ...) __attribute__((format(printf, 3, 4)));

/// Copies into the options. ENOMEM.
daybook_status dbk_option_keep_text(dbk_option_reader *reader, dbk_slice text, const char **text_out);
daybook_status dbk_option_keep_place(dbk_option_reader *reader, const dbk_config_place *place,
                                     dbk_config_place *place_out);
void *dbk_option_alloc(dbk_option_reader *reader, size_t count, size_t size); // zeroed; NULL: memory is out
/// Remembers where "block.key" came from. ENOMEM.
daybook_status dbk_option_set_origin(dbk_option_reader *reader, const char *block, dbk_slice key,
                                     const dbk_config_place *place);

/// Values by themselves; each fails with a message that names the entry.
daybook_status dbk_option_take_text(dbk_option_reader *reader, const dbk_config_entry *entry,
                                    dbk_slice *text_out);
daybook_status dbk_option_take_texts(dbk_option_reader *reader, const dbk_config_entry *entry,
                                     dbk_text_list *texts_out);
daybook_status dbk_option_take_duration(dbk_option_reader *reader, const dbk_config_entry *entry,
                                        bool seconds_are_fine, int64_t *nanoseconds_out);
/// "host:port", ":port", a port.
/// "[::1]:4222", "host:4222", ":4222". False: no such thing.
bool dbk_option_split_address(dbk_slice text, dbk_slice *host_out, dbk_slice *port_out);
daybook_status dbk_option_take_listen(dbk_option_reader *reader, const dbk_config_entry *entry,
                                      dbk_listen_options *listen_out);

/// The blocks, each in its file.
daybook_status dbk_option_read_authorization(dbk_option_reader *reader, const dbk_option_key *key,
                                             const dbk_config_entry *entry, void *target);
daybook_status dbk_option_read_accounts(dbk_option_reader *reader, const dbk_option_key *key,
                                        const dbk_config_entry *entry, void *target);
/// Once a tree was read: what authorization and accounts say together.
daybook_status dbk_option_finish_auth(dbk_option_reader *reader);
daybook_status dbk_option_check_auth(dbk_options *options, daybook_error *error);
daybook_status dbk_option_read_tls(dbk_option_reader *reader, const dbk_option_key *key,
                                   const dbk_config_entry *entry, void *target);
daybook_status dbk_option_read_jetstream(dbk_option_reader *reader, const dbk_option_key *key,
                                         const dbk_config_entry *entry, void *target);
daybook_status dbk_option_read_store_dir(dbk_option_reader *reader, const dbk_option_key *key,
                                         const dbk_config_entry *entry, void *target);
daybook_status dbk_option_read_neighbours(dbk_option_reader *reader, const dbk_option_key *key,
                                          const dbk_config_entry *entry, void *target);
daybook_status dbk_option_read_websocket(dbk_option_reader *reader, const dbk_option_key *key,
                                         const dbk_config_entry *entry, void *target);

/// The tables that a comparison walks along, too.
extern const dbk_option_key dbk_option_top_keys[];
extern const dbk_option_key dbk_option_tls_keys[];
extern const dbk_option_key dbk_option_jetstream_keys[];
extern const dbk_option_key dbk_option_jetstream_limit_keys[];

#endif
