/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A NATS server in a thread of this process: clients of NATS connect to it, publish and subscribe, and, where
 * it has a store, use its streams and consumers by the JetStream API. Part of daybook-server.
 *
 *     daybook_server *server;
 *     daybook_server_start(NULL, &server, &error);       // port 4222, no store
 *     ...
 *     daybook_server_stop(server, &error);
 *
 * With a configuration as NATS writes it, or a store this program uses itself at the same time:
 *
 *     daybook_server_options options;
 *     daybook_server_options_init(&options);
 *     options.config_file = "/etc/daybook/server.conf";
 *     options.port = -1;                                 // any free port; daybook_server_url says which
 *     options.store = store;
 *
 * A NULL server is fine for daybook_server_stop and daybook_server_interrupt only.
 *
 * Threads: any thread may call, but nothing during or after daybook_server_stop. No signal handler is
 * installed, nothing is printed: log lines go to `log` or to the file the configuration names. A server does
 * not survive fork().
 */
#ifndef DAYBOOK_SERVER_H
#define DAYBOOK_SERVER_H

#include "daybook/status.h"
#include "daybook/store.h"
#include "daybook/sys/allocator.h"
#include "daybook/sys/vfs.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct daybook_server daybook_server;

/** What a log line is; the numbers of daybook_log_level and two more. */
enum daybook_server_log_level {
    DAYBOOK_SERVER_LOG_ERROR,
    DAYBOOK_SERVER_LOG_WARNING,
    DAYBOOK_SERVER_LOG_INFO,
    DAYBOOK_SERVER_LOG_DEBUG,
    DAYBOOK_SERVER_LOG_TRACE,
    DAYBOOK_SERVER_LOG_FATAL /* the server does not start, or ends by itself */
};

/** All borrowed during daybook_server_start, but allocator, vfs, store and the contexts, which must outlive
 *  the server. What is set here counts more than `overrides`, that more than `config_text`, that more than
 *  `config_file`. */
typedef struct daybook_server_options {
    size_t size;             /* set by daybook_server_options_init */
    const char *config_file; /* NATS configuration language; read again by a reload. NULL: none */
    daybook_slice config_text;
    /* In the same language, laid over both, again after a reload: for command lines. */
    daybook_slice overrides;
    const char *host;      /* address or name to listen on; NULL: as configured, else "0.0.0.0" */
    int port;              /* -1: any free one; 0: as configured, else 4222 */
    const char *name;      /* of the server; NULL: as configured, else its id */
    const char *store_dir; /* directory of the store; switches JetStream on. NULL: as configured */
    /* An open store to serve: switches JetStream on; it stays the caller's. One server serves it, which
     * watches its streams and advisories (daybook_stream_watch, daybook_advisory_watch). May be NULL. */
    daybook_store *store;
    const char *program;                /* the ports file is named after it; NULL: "nats-server" */
    const daybook_allocator *allocator; /* NULL: malloc */
    daybook_vfs *vfs;                   /* NULL: daybook_vfs_posix() */
    /** Each line as NATS writes it, "[pid] date time [INF] text", without line end; any thread, one at a
     *  time. NULL: silent. Not called where the configuration names a log file. */
    void (*log)(void *context, int level, daybook_slice line);
    void *log_context;
    /** The server has ended and is about to close the store that it opened itself: whoever uses
     *  daybook_server_store lets go of it before this returns. In the server's thread; it calls nothing of
     *  the server. Not called for `store`. NULL: none. */
    void (*closing)(void *context);
    void *closing_context;
} daybook_server_options;

DAYBOOK_API void daybook_server_options_init(daybook_server_options *options);

/** The version of nats-server that clients are told, unless the configuration says another. Static
 *  storage. */
DAYBOOK_API const char *daybook_server_announced_version(void);

/**
 * Read configuration, open the store, listen, and serve in threads of its own. When this returns OK clients
 * can connect. `options` NULL: the defaults.
 * @return OK; EINVALID: the configuration is wrong, error->message says file and line, or a certificate is
 *         none; EUNSUPPORTED: it asks for what this server does not do; EMISUSE: `options` were not made by
 *         daybook_server_options_init; ELIMIT: a bound of the configuration; EEXISTS: the address is in use,
 *         or another watches `store`; EPERMISSION, ENOTFOUND, EIO, EREADONLY, ENOSPC: address, certificate,
 *         file or directory cannot be used; EMFILE: no more descriptors or threads; what daybook_open gives;
 *         ENOMEM
 */
DAYBOOK_API daybook_status daybook_server_start(const daybook_server_options *options,
                                                daybook_server **server_out, daybook_error *error);

/** Read and check the configuration, its certificates and the folders of its files only, as `nats-server -t`
 *  does. What daybook_server_start gives of them. */
DAYBOOK_API daybook_status daybook_server_check(const daybook_server_options *options, daybook_error *error);

/**
 * Stop: no new connections, what was published is stored and answered, connections are closed, the store (if
 * the server opened it) too. The server is gone whatever is returned: what daybook_close gives. NULL is fine.
 */
DAYBOOK_API daybook_status daybook_server_stop(daybook_server *server, daybook_error *error);

/**
 * Ask it to end without waiting for it; daybook_server_wait then returns, daybook_server_stop is still to be
 * called. NULL is fine.
 */
DAYBOOK_API void daybook_server_interrupt(daybook_server *server);

/** Wait until it has ended: interrupted, after a lame duck's time, or by a failure of its own. A negative
 *  `timeout_ns` waits for ever. OK or TIMEOUT. */
DAYBOOK_API daybook_status daybook_server_wait(daybook_server *server, int64_t timeout_ns);

/**
 * Read the configuration again and take over what may change while serving: users, permissions, limits,
 * certificates, log, files for others. On failure everything stays as it was. What is taken over holds when
 * this returns, also for connections that are there. It costs reading the files, and asks the permissions of
 * every connection and subscription again where those changed; nothing of what was before is kept.
 * @return OK; EINVALID: message says file and line; EUNSUPPORTED: it wants what needs a restart, or what
 *         this server does not do; ECLOSED: it ends already; what daybook_server_start gives of
 *         configuration, certificates and files; ENOMEM
 */
DAYBOOK_API daybook_status daybook_server_reload(daybook_server *server, daybook_error *error);

/** Close the log file and open it again by its name; where that fails it goes on with the one it has. */
DAYBOOK_API void daybook_server_reopen_log(daybook_server *server);

/** Lame duck: take no new connections, tell clients, close them little by little over the configured time,
 *  end. Returns at once. */
DAYBOOK_API void daybook_server_lame_duck(daybook_server *server);

/** Where clients connect, "nats://127.0.0.1:4222". Borrowed from the server. */
DAYBOOK_API const char *daybook_server_url(const daybook_server *server);
/** The port it listens on. */
DAYBOOK_API int daybook_server_port(const daybook_server *server);
/** The port of the HTTP monitor, 0 where there is none. */
DAYBOOK_API int daybook_server_monitor_port(const daybook_server *server);
/** The store it serves: the caller's, or its own, which is open until `closing` is called; NULL without
 *  JetStream. */
DAYBOOK_API daybook_store *daybook_server_store(const daybook_server *server);

#ifdef __cplusplus
}
#endif
#endif
