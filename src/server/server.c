// SPDX-License-Identifier: Apache-2.0
// The public functions, and the making of a server from its parts.
//
// A server is made in the caller's thread, part by part, each noted in `made`, so that a failure anywhere
// takes down what exists and nothing else; the loop's thread begins when all else stands. What must not fail
// later (ports file, pid file) is done before.
//
// Threads: public functions from any. They wish (atomic bits), wake the loop, and wait on `changed` where
// they need an answer.
#include "server/server.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/time.h"
#include "broker/tls.h"
#include "broker/user_info.h"
#include "jetstream/denied.h"
#include "options/files.h"
#include "server/files.h"

enum {
    MADE_LOCK = 1,
    MADE_THREAD = 2,
};

// What the embedder gave, kept for reloads.

typedef struct dbk_given {
    daybook_server_options options; // its texts point into `texts`
    char *texts[8];
    size_t count;
} dbk_given;

void daybook_server_options_init(daybook_server_options *options) {
    *options = (daybook_server_options){.size = sizeof *options};
}

static bool keep_text(const daybook_allocator *allocator, dbk_given *given, const char **text) {
    if (*text == NULL) return true;
    char *copy = dbk_copy_text(allocator, daybook_text(*text));
    if (copy == NULL) return false;
    given->texts[given->count++] = copy;
    *text = copy;
    return true;
}

static bool keep_slice(const daybook_allocator *allocator, dbk_given *given, daybook_slice *slice) {
    if (slice->size == 0) return true;
    char *copy = dbk_copy_text(allocator, *slice);
    if (copy == NULL) return false;
    given->texts[given->count++] = copy;
    slice->data = copy;
    return true;
}

void dbk_server_say_closing(const dbk_server *server) {
    const daybook_server_options *options = &server->given->options;
    if (options->closing != NULL) options->closing(options->closing_context);
}

static void free_given(const daybook_allocator *allocator, dbk_given *given) {
    if (given == NULL) return;
    for (size_t i = 0; i < given->count; i++) dbk_free(allocator, given->texts[i]);
    dbk_free(allocator, given);
}

static daybook_status keep_given(const daybook_allocator *allocator, const daybook_server_options *options,
                                 dbk_given **given_out) {
    dbk_given *given = dbk_alloc_zeroed(allocator, sizeof *given);
    if (given == NULL) return DAYBOOK_ENOMEM;
    daybook_server_options *kept = &given->options;
    *kept = *options;
    if (!keep_text(allocator, given, &kept->config_file) ||
        !keep_slice(allocator, given, &kept->config_text) ||
        !keep_slice(allocator, given, &kept->overrides) || !keep_text(allocator, given, &kept->host) ||
        !keep_text(allocator, given, &kept->name) || !keep_text(allocator, given, &kept->store_dir) ||
        !keep_text(allocator, given, &kept->program)) {
        free_given(allocator, given);
        return DAYBOOK_ENOMEM;
    }
    *given_out = given;
    return DAYBOOK_OK;
}

/// The options with all fields there, defaults for what a caller of an older version does not know. False:
/// misuse.
static bool complete(const daybook_server_options *options, daybook_server_options *whole_out) {
    daybook_server_options_init(whole_out);
    if (options != NULL) {
        if (options->size < offsetof(daybook_server_options, config_text)) return false;
        size_t size = options->size < sizeof *options ? options->size : sizeof *options;
        memcpy(whole_out, options, size);
        whole_out->size = sizeof *whole_out;
    }
    if (whole_out->allocator == NULL) whole_out->allocator = dbk_allocator_default();
    if (whole_out->vfs == NULL) whole_out->vfs = daybook_vfs_posix();
    return whole_out->port >= -1 && whole_out->port <= 65535;
}

static daybook_status load_options(const daybook_server_options *given, dbk_options **options_out,
                                   daybook_error *error) {
    dbk_config_source source = {given->vfs, dbk_options_read_file, dbk_options_get_variable};
    return dbk_options_load(given, &source, given->allocator, options_out, error);
}

static daybook_status fail_memory(daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while starting the server");
}

// Parts.

static void warn_of_certificate(dbk_server *server, const dbk_tls_context *tls) {
    const char *warning = tls != NULL ? dbk_tls_context_warning(tls) : NULL;
    if (warning != NULL) dbk_broker_log(&server->broker, WARNING, "%s", warning);
}

static daybook_status make_security(dbk_server *server, daybook_error *error) {
    dbk_broker *broker = &server->broker;
    const dbk_options *options = broker->options;
    DBK_TRY(
        dbk_auth_new(broker->allocator, &options->auth, options->tls.verify_and_map, &broker->auth, error));
    if (!options->tls.is_set) return DAYBOOK_OK;
    DBK_TRY(dbk_tls_context_new(&options->tls, broker->allocator, &broker->tls, error));
    warn_of_certificate(server, broker->tls);
    return DAYBOOK_OK;
}

// The store.

static void log_of_store(void *context, int level, daybook_slice message) {
    dbk_server *server = context;
    dbk_log_write(server->broker.log, level, "%.*s", (int)message.size, (const char *)message.data);
}

/// Where an own store lies: what the caller named is the store itself; what a configuration names is a folder
/// for several things, as with NATS.
static daybook_status find_store_path(dbk_server *server, const daybook_server_options *given,
                                      daybook_error *error) {
    dbk_broker *broker = &server->broker;
    char path[4096];
    int length;
    if (given->store_dir != NULL && given->store_dir[0] != '\0') {
        length = snprintf(path, sizeof path, "%s", given->store_dir);
    } else if (broker->options->jetstream.store_dir != NULL) {
        length = snprintf(path, sizeof path, "%s/jetstream", broker->options->jetstream.store_dir);
    } else {
        char temporary[2048];
        size_t size = sizeof temporary;
        if (uv_os_tmpdir(temporary, &size) != 0) {
            return dbk_fail(error, DAYBOOK_ENOTFOUND, "there is no temporary folder; name a store_dir");
        }
        length = snprintf(path, sizeof path, "%s/nats/jetstream", temporary);
    }
    if (length < 0 || (size_t)length >= sizeof path) {
        return dbk_fail(error, DAYBOOK_ELIMIT, "the name of store_dir is too long");
    }
    server->store_path = dbk_copy_text(broker->allocator, daybook_text(path));
    return server->store_path != NULL ? DAYBOOK_OK : fail_memory(error);
}

static daybook_status open_store(dbk_server *server, const daybook_server_options *given,
                                 daybook_error *error) {
    dbk_broker *broker = &server->broker;
    if (given->store != NULL) {
        server->store = given->store;
        return DAYBOOK_OK;
    }
    DBK_TRY(find_store_path(server, given, error));
    if (strcmp(server->store_path, ":memory:") != 0) {
        DBK_TRY(dbk_make_directories(broker->vfs, broker->allocator, server->store_path, error));
    }
    daybook_open_options open;
    daybook_open_options_init(&open);
    open.allocator = broker->allocator;
    open.vfs = broker->vfs;
    open.log = log_of_store;
    open.log_context = server;
    DBK_TRY(daybook_open(server->store_path, &open, &server->store, error));
    server->owns_store = true;
    return DAYBOOK_OK;
}

static daybook_status start_jetstream(dbk_server *server, const daybook_server_options *given,
                                      daybook_error *error) {
    dbk_broker *broker = &server->broker;
    broker->has_jetstream = given->store != NULL || broker->options->jetstream.enabled ||
                            broker->options->jetstream.is_denied;
    if (broker->options->jetstream.is_denied)
        return dbk_js_denied_start(broker, &server->denied) == DAYBOOK_OK ? DAYBOOK_OK : fail_memory(error);
    if (!broker->has_jetstream) return DAYBOOK_OK;
    dbk_broker_log(broker, INFO, "Starting JetStream");
    DBK_TRY(open_store(server, given, error));
    dbk_broker_log(broker, INFO, "  Store Directory: \"%s\"", daybook_store_path(server->store));
    return dbk_jetstream_start(broker, server->store, &server->jetstream, error);
}

// Starting.

static void log_notices(dbk_server *server, const dbk_options *options) {
    for (size_t i = 0; i < options->notices.count; i++)
        dbk_broker_log(&server->broker, WARNING, "%s", options->notices.items[i]);
}

static void greet_in_log(dbk_server *server) {
    dbk_broker *broker = &server->broker;
    const dbk_options *options = broker->options;
    dbk_broker_log(broker, INFO, "Starting daybook-server");
    dbk_broker_log(broker, INFO, "  Version:  %s", options->announced_version);
    dbk_broker_log(broker, INFO, "  Name:     %s",
                   options->server_name != NULL ? options->server_name : broker->id);
    dbk_broker_log(broker, INFO, "  ID:       %s", broker->id);
    if (options->config_file != NULL) {
        dbk_broker_log(broker, INFO, "Using configuration file: %s", options->config_file);
    }
    log_notices(server, options);
}

// Files for others.

/// Takes one away, unless it is `kept` by that name.
static void remove_file(dbk_server *server, char **path, const char *kept) {
    dbk_broker *broker = &server->broker;
    bool is_kept = *path != NULL && kept != NULL && strcmp(*path, kept) == 0;
    if (*path != NULL && !is_kept) (void)broker->vfs->unlink(broker->vfs, *path); // somebody else may have
    dbk_free(broker->allocator, *path);
    *path = NULL;
}

static void remove_files(dbk_server *server, dbk_left_files *files, const dbk_left_files *kept) {
    remove_file(server, &files->pid_path, kept->pid_path);
    remove_file(server, &files->ports_path, kept->ports_path);
}

/// What `options` name; where one cannot be written, none that was not there before.
static daybook_status write_files(dbk_server *server, const dbk_options *options, dbk_left_files *files,
                                  daybook_error *error) {
    dbk_broker *broker = &server->broker;
    *files = (dbk_left_files){0};
    daybook_status status = DAYBOOK_OK;
    if (options->pid_file != NULL) {
        files->pid_path = dbk_copy_text(broker->allocator, daybook_text(options->pid_file));
        if (files->pid_path == NULL) return fail_memory(error);
        status = dbk_pid_file_write(broker->vfs, options->pid_file, error);
    }
    if (status == DAYBOOK_OK && options->ports_file_dir != NULL)
        status = dbk_ports_file_write(broker->vfs, broker->allocator, options->ports_file_dir,
                                      server->program, broker->url, dbk_monitor_url(server->monitor),
                                      &files->ports_path, error);
    if (status != DAYBOOK_OK) remove_files(server, files, &server->left);
    return status;
}

static daybook_status start_thread(dbk_server *server, daybook_error *error) {
    int failure = pthread_create(&server->thread, NULL, dbk_server_run, server);
    if (failure != 0) return dbk_fail_system(error, -failure, "start the server's thread", NULL, 0);
    server->made |= MADE_THREAD;
    return DAYBOOK_OK;
}

static daybook_status set_up(dbk_server *server, const daybook_server_options *given, daybook_error *error) {
    dbk_broker *broker = &server->broker;
    if (pthread_mutex_init(&server->lock, NULL) != 0 || pthread_mutex_init(&server->reload_lock, NULL) != 0) {
        return fail_memory(error);
    }
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&server->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    server->made |= MADE_LOCK;
    daybook_status status =
        dbk_log_new(broker->allocator, broker->vfs, given->log, given->log_context, &broker->log);
    if (status != DAYBOOK_OK) return fail_memory(error);
    if (keep_given(broker->allocator, given, &server->given) != DAYBOOK_OK) return fail_memory(error);
    DBK_TRY(load_options(given, &broker->options, error));
    DBK_TRY(dbk_log_configure(broker->log, &broker->options->log, error));
    broker->is_tracing = broker->options->log.trace;
    broker->announced_version =
        dbk_copy_text(broker->allocator, daybook_text(broker->options->announced_version));
    if (broker->announced_version == NULL) return fail_memory(error);
    dbk_api_dial_init(&broker->dial, broker->announced_version);
    broker->start_real_ns = broker->options_real_ns = dbk_broker_clock_ns(broker);
    DBK_TRY(dbk_broker_draw(broker, error));
    greet_in_log(server);
    DBK_TRY(make_security(server, error));
    dbk_server_prepare(server);
    DBK_TRY(dbk_broker_make(broker, error));
    DBK_TRY(start_jetstream(server, given, error));
    if (dbk_user_info_start(broker, &server->user_info) != DAYBOOK_OK) return fail_memory(error);
    DBK_TRY(dbk_monitor_start(broker, server->jetstream, server->store, &server->monitor, error));
    DBK_TRY(dbk_broker_listen(broker, error));
    DBK_TRY(write_files(server, broker->options, &server->left, error));
    return start_thread(server, error);
}

/// Everything but the thread, which is over or never was.
static void destroy(dbk_server *server) {
    const daybook_allocator *allocator = server->broker.allocator;
    remove_files(server, &server->left, &(dbk_left_files){0});
    dbk_monitor_free(server->monitor);
    dbk_service_remove(server->user_info);
    dbk_js_denied_free(server->denied);
    dbk_free(allocator, server->store_path);
    free_given(allocator, server->given);
    dbk_broker_deinit(&server->broker);
    if ((server->made & MADE_LOCK) != 0) {
        (void)pthread_cond_destroy(&server->changed);
        (void)pthread_mutex_destroy(&server->lock);
        (void)pthread_mutex_destroy(&server->reload_lock);
    }
    dbk_free(allocator, server);
}

/// Threads made meanwhile take no signals: those are the embedder's. A write to a connection that is gone
/// would otherwise end the process with SIGPIPE; blocked, it is an error like others.
static void block_signals(sigset_t *before_out) {
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, before_out);
}

daybook_status daybook_server_start(const daybook_server_options *options, daybook_server **server_out,
                                    daybook_error *error) {
    *server_out = NULL;
    daybook_server_options given;
    if (!complete(options, &given)) {
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "the options are malformed: begin with daybook_server_options_init");
    }
    dbk_server *server = dbk_alloc_zeroed(given.allocator, sizeof *server);
    if (server == NULL) return fail_memory(error);
    dbk_broker *broker = &server->broker;
    broker->allocator = given.allocator;
    broker->vfs = given.vfs;
    (void)snprintf(server->program, sizeof server->program, "%s",
                   given.program != NULL && given.program[0] != '\0' ? given.program : "nats-server");
    atomic_init(&server->wishes, 0);
    daybook_error local;
    if (error == NULL) {
        daybook_error_init(&local);
        error = &local;
    }
    sigset_t before;
    block_signals(&before);
    daybook_status status = set_up(server, &given, error);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != DAYBOOK_OK) {
        dbk_log_write(broker->log, DAYBOOK_SERVER_LOG_FATAL, "%s", error->message);
        if (broker->has_loop) dbk_server_unmake(server);
        destroy(server);
        return status;
    }
    dbk_broker_log(broker, INFO, "Server is ready");
    *server_out = server;
    return DAYBOOK_OK;
}

// Is the folder there that `path` names, or its file would lie in? Room for files is what folders have.
static daybook_status check_folder(const daybook_server_options *given, const char *key, const char *path,
                                   bool is_file, daybook_error *error) {
    uint64_t unused;
    if (path == NULL) return DAYBOOK_OK;
    const char *slash = is_file ? strrchr(path, '/') : path + strlen(path);
    dbk_slice name = slash == NULL   ? daybook_text(".")
                     : slash == path ? daybook_text("/")
                                     : daybook_bytes(path, (size_t)(slash - path));
    char *folder = dbk_copy_text(given->allocator, name);
    if (folder == NULL) return fail_memory(error);
    int failure = given->vfs->free_bytes(given->vfs, folder, &unused);
    daybook_status status = failure == 0 ? DAYBOOK_OK : dbk_fail_system(error, failure, key, folder, 0);
    dbk_free(given->allocator, folder);
    return status;
}

static daybook_status check_folders(const daybook_server_options *given, const dbk_options *options,
                                    daybook_error *error) {
    DBK_TRY(check_folder(given, "use the folder of log_file", options->log.file, true, error));
    DBK_TRY(check_folder(given, "use the folder of pid_file", options->pid_file, true, error));
    return check_folder(given, "use ports_file_dir", options->ports_file_dir, false, error);
}

daybook_status daybook_server_check(const daybook_server_options *options, daybook_error *error) {
    daybook_server_options given;
    if (!complete(options, &given)) {
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "the options are malformed: begin with daybook_server_options_init");
    }
    dbk_options *loaded;
    DBK_TRY(load_options(&given, &loaded, error));
    dbk_auth *auth = NULL;
    dbk_tls_context *tls = NULL;
    daybook_status status =
        dbk_auth_new(given.allocator, &loaded->auth, loaded->tls.verify_and_map, &auth, error);
    if (status == DAYBOOK_OK && loaded->tls.is_set) {
        status = dbk_tls_context_new(&loaded->tls, given.allocator, &tls, error);
    }
    if (status == DAYBOOK_OK) status = check_folders(&given, loaded, error);
    dbk_tls_context_free(tls);
    dbk_auth_unref(auth);
    dbk_options_free(loaded);
    return status;
}

// Ending.

static void wish(dbk_server *server, unsigned bit) {
    // Under the lock, because the loop's thread closes the handle that wakes it.
    pthread_mutex_lock(&server->lock);
    if (!server->has_ended) {
        (void)atomic_fetch_or_explicit(&server->wishes, bit, memory_order_acq_rel);
        if (!server->is_deaf) dbk_broker_wake(&server->broker);
    }
    pthread_mutex_unlock(&server->lock);
}

void daybook_server_interrupt(daybook_server *server) {
    if (server != NULL) wish(server, DBK_WISH_STOP);
}

void daybook_server_lame_duck(daybook_server *server) {
    wish(server, DBK_WISH_LAME_DUCK);
}

daybook_status daybook_server_stop(daybook_server *server, daybook_error *error) {
    if (server == NULL) return DAYBOOK_OK;
    wish(server, DBK_WISH_STOP);
    pthread_join(server->thread, NULL);
    daybook_status status = server->end_status;
    if (status != DAYBOOK_OK && error != NULL) {
        size_t size = error->size;
        *error = server->end_error;
        error->size = size;
    }
    destroy(server);
    return status;
}

daybook_status daybook_server_wait(daybook_server *server, int64_t timeout_ns) {
    struct timespec due = {0};
    if (timeout_ns >= 0) {
        int64_t now_ns = server->broker.vfs->clock_monotonic_ns(server->broker.vfs);
        int64_t due_ns = timeout_ns > INT64_MAX - now_ns ? INT64_MAX : now_ns + timeout_ns;
        due.tv_sec = (time_t)(due_ns / DBK_SECOND_NS);
        due.tv_nsec = (long)(due_ns % DBK_SECOND_NS);
    }
    int failure = 0;
    pthread_mutex_lock(&server->lock);
    while (!server->has_ended && failure != ETIMEDOUT) {
        failure = timeout_ns < 0 ? pthread_cond_wait(&server->changed, &server->lock)
                                 : pthread_cond_timedwait(&server->changed, &server->lock, &due);
    }
    bool has_ended = server->has_ended;
    pthread_mutex_unlock(&server->lock);
    return has_ended ? DAYBOOK_OK : DAYBOOK_TIMEOUT;
}

// Reloads.

static void free_reload(dbk_reload *reload) {
    dbk_auth_unref(reload->auth);
    dbk_tls_context_free(reload->tls);
    dbk_options_free(reload->options);
}

/// Reads everything anew; nothing of the server changes.
static daybook_status read_reload(dbk_server *server, dbk_reload *reload, daybook_error *error) {
    dbk_broker *broker = &server->broker;
    DBK_TRY(load_options(&server->given->options, &reload->options, error));
    DBK_TRY(dbk_options_diff(broker->options, reload->options, &reload->changed, error));
    const dbk_options *options = reload->options;
    if ((reload->changed & (DBK_CHANGED_AUTH | DBK_CHANGED_TLS)) != 0) {
        DBK_TRY(dbk_auth_new(broker->allocator, &options->auth, options->tls.verify_and_map, &reload->auth,
                             error));
    }
    if (options->tls.is_set) // files of the same name may hold new certificates
        DBK_TRY(dbk_tls_context_new(&options->tls, broker->allocator, &reload->tls, error));
    return DAYBOOK_OK;
}

/// Hands it to the loop and waits until it is taken over. ECLOSED: it was not.
static daybook_status hand_over(dbk_server *server, dbk_reload *reload, daybook_error *error) {
    pthread_mutex_lock(&server->lock);
    server->reload = reload;
    pthread_mutex_unlock(&server->lock);
    wish(server, DBK_WISH_RELOAD);
    pthread_mutex_lock(&server->lock);
    while (server->reload != NULL && !server->has_ended && !server->is_deaf)
        pthread_cond_wait(&server->changed, &server->lock);
    bool is_taken = server->reload == NULL;
    server->reload = NULL;
    pthread_mutex_unlock(&server->lock);
    return is_taken ? DAYBOOK_OK : dbk_fail(error, DAYBOOK_ECLOSED, "the server ends; nothing was reloaded");
}

/// What comes before the loop is asked: everything that can fail.
static daybook_status prepare_reload(dbk_server *server, dbk_reload *reload, dbk_left_files *left,
                                     daybook_error *error) {
    DBK_TRY(read_reload(server, reload, error));
    DBK_TRY(write_files(server, reload->options, left, error));
    return dbk_log_configure(server->broker.log, &reload->options->log, error);
}

/// In the new log: what is taken and not served, what is served and not good.
static void tell_doubts(dbk_server *server, const dbk_reload *reload) {
    log_notices(server, reload->options);
    warn_of_certificate(server, reload->tls);
}

/// Under reload_lock: nobody else swaps options, log and files.
static daybook_status reload_alone(dbk_server *server, daybook_error *error) {
    dbk_broker *broker = &server->broker;
    dbk_reload reload = {0};
    dbk_left_files left = {0};
    dbk_options *old = broker->options;
    daybook_status status = prepare_reload(server, &reload, &left, error);
    if (status == DAYBOOK_OK) {
        tell_doubts(server, &reload);
        status = hand_over(server, &reload, error);
        if (status != DAYBOOK_OK)
            (void)dbk_log_configure(broker->log, &old->log, NULL); // as it was, if it can be
    }
    if (status != DAYBOOK_OK) {
        dbk_broker_log(broker, ERROR, "Failed to reload server configuration: %s", error->message);
        remove_files(server, &left, &server->left);
        free_reload(&reload);
        return status;
    }
    remove_files(server, &server->left, &left);
    server->left = left;
    dbk_options_free(old); // the loop has let go of them, and nobody else looks
    return DAYBOOK_OK;
}

daybook_status daybook_server_reload(daybook_server *server, daybook_error *error) {
    daybook_error local;
    if (error == NULL) error = &local; // the log says it, too
    daybook_error_init(error);
    pthread_mutex_lock(&server->reload_lock);
    daybook_status status = reload_alone(server, error);
    pthread_mutex_unlock(&server->reload_lock);
    return status;
}

void daybook_server_reopen_log(daybook_server *server) {
    dbk_log_reopen(server->broker.log);
}

// Questions.

const char *daybook_server_url(const daybook_server *server) {
    return server->broker.url;
}

int daybook_server_port(const daybook_server *server) {
    return server->broker.port;
}

int daybook_server_monitor_port(const daybook_server *server) {
    return dbk_monitor_port(server->monitor);
}

daybook_store *daybook_server_store(const daybook_server *server) {
    return server->store;
}
