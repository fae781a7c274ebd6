// SPDX-License-Identifier: Apache-2.0
// Options of a server as a whole: defaults, the order in which file, text, command line and calls are laid
// over each other, and what can only be checked at the end.
#include "options/options.h"

#include <string.h>

#include "base/time.h"
#include "daybook/server.h"
#include "options/reader.h"

enum { ARENA_CHUNK_BYTES = 8 << 10, LARGE_PAYLOAD = 8 << 20 };

// What clients take for the version of nats-server: the one whose answers ours are compared with.
#define ANNOUNCED_VERSION "2.12.1"

const char *daybook_server_announced_version(void) {
    return ANNOUNCED_VERSION;
}

static const char called[] = "the caller's options";

static void set_defaults(dbk_options *options) {
    options->announced_version = ANNOUNCED_VERSION;
    options->client = (dbk_listen_options){"0.0.0.0", 4222};
    options->limits = (dbk_limit_options){
        .control_line_max = 4096,
        .payload_max = 1 << 20,
        .pending_max = 64 << 20,
        .connections_max = 65536,
        .write_deadline_ns = 10 * DBK_SECOND_NS,
        .ping_interval_ns = 120 * DBK_SECOND_NS,
        .pings_out_max = 2,
        .closed_clients_max = 10000,
    };
    options->tls.timeout_ns = 2 * DBK_SECOND_NS;
    options->tls.min_version = 0x0303;
    options->websocket.tls = options->tls;
    options->auth.timeout_ns = 2 * DBK_SECOND_NS;
    options->auth.account_name = "$G";
    options->jetstream = (dbk_jetstream_options){
        .memory_max = -1,
        .file_max = -1,
        .account_memory_max = -1,
        .account_file_max = -1,
        .strict = true,
        .batch_inflight_per_stream = 50,
        .batch_inflight_total = 1000,
        .batch_size_max = 1000,
        .batch_timeout_ns = 10 * DBK_SECOND_NS,
        .request_queue_limit = 10000,
        .streams_max = -1,
        .consumers_max = -1,
    };
    options->log.time = true;
    options->lame_duck_duration_ns = 120 * DBK_SECOND_NS;
    options->lame_duck_grace_ns = 10 * DBK_SECOND_NS;
}

daybook_status dbk_options_new(const daybook_allocator *allocator, dbk_options **options_out) {
    *options_out = NULL;
    dbk_arena *arena;
    DBK_TRY(dbk_arena_new(allocator, ARENA_CHUNK_BYTES, &arena));
    dbk_options *options = dbk_arena_alloc(arena, sizeof *options);
    struct dbk_options_memory *memory = dbk_arena_alloc(arena, sizeof *memory);
    if (options == NULL || memory == NULL) {
        dbk_arena_free(arena);
        return DAYBOOK_ENOMEM;
    }
    *memory = (struct dbk_options_memory){.arena = arena};
    *options = (dbk_options){.memory = memory};
    set_defaults(options);
    *options_out = options;
    return DAYBOOK_OK;
}

void dbk_options_free(dbk_options *options) {
    if (options != NULL) dbk_arena_free(options->memory->arena);
}

const char *dbk_options_origin(const dbk_options *options, const char *key) {
    for (const dbk_option_origin *at = options->memory->origins; at != NULL; at = at->next) {
        if (strcmp(at->key, key) == 0) return at->text;
    }
    return "default";
}

bool dbk_password_is_bcrypt(const char *password) {
    static const char *const prefixes[] = {"$2a$", "$2b$", "$2x$", "$2y$"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        if (strncmp(password, prefixes[i], 4) == 0) return true;
    }
    return false;
}

// --- Reading ---

daybook_status dbk_options_read_config(dbk_options *options, const dbk_config_value *root,
                                       daybook_error *error) {
    dbk_option_reader reader = {.options = options, .memory = options->memory, .error = error};
    // Pointers to names of another tree mean nothing here.
    options->memory->file_given = NULL;
    daybook_status status = dbk_option_read_block(&reader, dbk_option_top_keys, NULL, root, options);
    return status == DAYBOOK_OK ? dbk_option_finish_auth(&reader) : status;
}

static daybook_status read_tree(dbk_options *options, daybook_status parsed, dbk_config *config,
                                daybook_error *error) {
    if (parsed != DAYBOOK_OK) return parsed;
    daybook_status status = dbk_options_read_config(options, dbk_config_root(config), error);
    dbk_config_free(config);
    return status;
}

static daybook_status read_trees(dbk_options *options, const daybook_server_options *given,
                                 const dbk_config_source *files, const daybook_allocator *allocator,
                                 daybook_error *error) {
    dbk_config *config = NULL;
    if (given->config_file != NULL && given->config_file[0] != '\0') {
        daybook_status parsed = dbk_config_read(given->config_file, files, allocator, &config, error);
        DBK_TRY(read_tree(options, parsed, config, error));
    }
    if (given->config_text.size > 0) {
        daybook_status parsed =
            dbk_config_parse(given->config_text, "configuration", files, allocator, &config, error);
        DBK_TRY(read_tree(options, parsed, config, error));
    }
    if (given->overrides.size > 0) {
        daybook_status parsed =
            dbk_config_parse(given->overrides, DBK_OPTIONS_COMMAND_LINE, NULL, allocator, &config, error);
        DBK_TRY(read_tree(options, parsed, config, error));
    }
    return DAYBOOK_OK;
}

// --- What the caller says itself ---

// The caller's fields are read as entries of a file would be, so that the same rules hold.
static daybook_status read_call(dbk_option_reader *reader, const char *name, dbk_config_value value) {
    const dbk_config_place place = {called, 0, 0};
    value.place = place;
    dbk_config_entry entry = {.key = daybook_text(name), .place = place, .value = &value};
    const dbk_option_key *key = dbk_option_find(dbk_option_top_keys, entry.key);
    DBK_TRY(dbk_option_read(reader, key, &entry, reader->options));
    return dbk_option_set_origin(reader, NULL, daybook_bytes(key->names, dbk_option_name_size(key)), &place);
}

static daybook_status read_called_text(dbk_option_reader *reader, const char *name, const char *text) {
    if (text == NULL || text[0] == '\0') return DAYBOOK_OK;
    return read_call(reader, name, (dbk_config_value){.kind = DBK_CONFIG_STRING, .text = daybook_text(text)});
}

static daybook_status read_called(dbk_options *options, const daybook_server_options *given,
                                  daybook_error *error) {
    dbk_option_reader reader = {.options = options, .memory = options->memory, .error = error};
    options->memory->file_given = NULL;
    DBK_TRY(read_called_text(&reader, "host", given->host));
    DBK_TRY(read_called_text(&reader, "server_name", given->name));
    DBK_TRY(read_called_text(&reader, "store_dir", given->store_dir));
    if (given->port != 0)
        DBK_TRY(read_call(&reader, "port",
                          (dbk_config_value){.kind = DBK_CONFIG_INTEGER, .integer = given->port}));
    bool has_store_dir = given->store_dir != NULL && given->store_dir[0] != '\0';
    if (has_store_dir || given->store != NULL) options->jetstream.enabled = true;
    if (given->config_file == NULL || given->config_file[0] == '\0') return DAYBOOK_OK;
    return dbk_option_keep_text(&reader, daybook_text(given->config_file), &options->config_file);
}

// --- Checking the whole ---

static daybook_status check_limits(dbk_options *options, daybook_error *error) {
    const dbk_limit_options *limits = &options->limits;
    if (limits->payload_max > limits->pending_max) {
        const char *origin = dbk_options_origin(options, "max_payload");
        if (strcmp(origin, "default") == 0) origin = dbk_options_origin(options, "max_pending");
        return dbk_fail(
            error, DAYBOOK_EINVALID,
            "%s: max_payload is %lld, more than max_pending, %lld; make it smaller, or the other larger",
            origin, (long long)limits->payload_max, (long long)limits->pending_max);
    }
    if (limits->payload_max <= LARGE_PAYLOAD) return DAYBOOK_OK;
    dbk_option_reader reader = {.options = options, .memory = options->memory, .error = error};
    return dbk_option_notice(&reader, NULL, "%s: max_payload is over 8 MiB: large messages make others wait",
                             dbk_options_origin(options, "max_payload"));
}

static daybook_status check_lame_duck(const dbk_options *options, daybook_error *error) {
    if (options->lame_duck_grace_ns < options->lame_duck_duration_ns) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EINVALID,
                    "%s: lame_duck_grace_period must be shorter than lame_duck_duration; make it so",
                    dbk_options_origin(options, "lame_duck_grace_period"));
}

static daybook_status check_monitor(const dbk_options *options, daybook_error *error) {
    if (options->http.port > 0 && options->http.port == options->client.port &&
        strcmp(options->http.host, options->client.host) == 0)
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "%s: the monitor's port is %d, which is the clients'; give it another one",
                        dbk_options_origin(options, options->http_tls ? "https_port" : "http_port"),
                        (int)options->http.port);
    if (!options->http_tls || options->tls.is_set) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EINVALID, "%s: https needs a certificate; name it in tls",
                    dbk_options_origin(options, "https"));
}

static daybook_status check_jetstream(dbk_options *options, daybook_error *error) {
    const char *reason = options->memory->jetstream_denied;
    if (reason == NULL || !options->jetstream.enabled) return DAYBOOK_OK;
    options->jetstream.enabled = false;
    options->jetstream.is_denied = true;
    dbk_option_reader reader = {.options = options, .memory = options->memory, .error = error};
    return dbk_option_notice(&reader, NULL, "%s", reason);
}

daybook_status dbk_options_check(dbk_options *options, daybook_error *error) {
    if (options->client.host == NULL) options->client.host = "0.0.0.0";
    if (options->client.port == DBK_PORT_NONE) options->client.port = 4222;
    if (options->dont_listen) options->client.port = DBK_PORT_NONE;
    if (options->http.host == NULL) options->http.host = options->client.host;
    DBK_TRY(check_limits(options, error));
    DBK_TRY(check_lame_duck(options, error));
    DBK_TRY(check_monitor(options, error));
    DBK_TRY(check_jetstream(options, error));
    return dbk_option_check_auth(options, error);
}

daybook_status dbk_options_load(const struct daybook_server_options *given, const dbk_config_source *source,
                                const daybook_allocator *allocator, dbk_options **options_out,
                                daybook_error *error) {
    static const daybook_server_options nothing = {0};
    static const dbk_config_source no_files = {0};
    if (given == NULL) given = &nothing;
    if (source == NULL) source = &no_files;
    *options_out = NULL;
    dbk_options *options = NULL;
    daybook_status status = dbk_options_new(allocator, &options);
    if (status == DAYBOOK_OK) status = read_trees(options, given, source, allocator, error);
    if (status == DAYBOOK_OK) status = read_called(options, given, error);
    if (status == DAYBOOK_OK) status = dbk_options_check(options, error);
    if (status == DAYBOOK_OK) {
        *options_out = options;
        return DAYBOOK_OK;
    }
    dbk_options_free(options);
    if (status == DAYBOOK_ENOMEM)
        (void)dbk_fail(error, status, "out of memory while reading the configuration");
    return status;
}
