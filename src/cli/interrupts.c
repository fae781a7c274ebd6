// SPDX-License-Identifier: Apache-2.0
//
// SIGINT and SIGTERM while a cursor follows or a projection runs. The library may not be called from a signal
// handler, so the signals are blocked in every thread and one small thread waits for them and interrupts; the
// main thread then gets ECLOSED from it and ends as at the end of any read. They have to be blocked before
// the store is opened, because its threads inherit the mask; until the cursor exists they stay pending. A
// second signal ends the program at once: the main thread may be stuck writing into a pipe that nobody
// empties.
//
// A command that runs in a server has no signals: its session tells it what became of its caller.

#include "cli/cli.h"
#include "cli/session.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static struct {
    pthread_t thread;
    void (*interrupt)(void *what);
    void *what;
    sigset_t signals;
    sigset_t before;
    atomic_int came; // a signal that ends the work
    int running;
} interrupts;

static void *wait_for_signal(void *unused) {
    (void)unused;
    for (;;) {
        int number = 0;
        if (sigwait(&interrupts.signals, &number) != 0) continue;
        if (number == SIGUSR1) return NULL; // cli_interrupts_end
        if (atomic_exchange(&interrupts.came, 1)) _exit(CLI_ERROR);
        interrupts.interrupt(interrupts.what);
    }
}

int cli_is_cut(const cli_context *context) {
    return context->session != NULL && cli_session_is_cut(context->session);
}

void cli_interrupts_prepare(cli_context *context) {
    if (context->session != NULL) {
        cli_session_prepare(context->session);
        return;
    }
    (void)sigemptyset(&interrupts.signals);
    (void)sigaddset(&interrupts.signals, SIGINT);
    (void)sigaddset(&interrupts.signals, SIGTERM);
    (void)sigaddset(&interrupts.signals, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &interrupts.signals, &interrupts.before);
}

int cli_interrupts_begin(cli_context *context, void (*interrupt)(void *what), void *what) {
    if (context->session != NULL) {
        cli_session_begin(context->session, interrupt, what);
        return CLI_FINE;
    }
    interrupts.interrupt = interrupt;
    interrupts.what = what;
    atomic_store(&interrupts.came, 0);
    int failed = pthread_create(&interrupts.thread, NULL, wait_for_signal, NULL);
    if (failed != 0)
        return cli_fail(context, DAYBOOK_EIO, "cannot wait for signals: %s; try again", strerror(failed));
    interrupts.running = 1;
    return CLI_FINE;
}

int cli_interrupts_end(cli_context *context) {
    if (context->session != NULL) return cli_session_end(context->session);
    if (!interrupts.running) return 0;
    interrupts.running = 0;
    (void)pthread_kill(interrupts.thread, SIGUSR1);
    (void)pthread_join(interrupts.thread, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &interrupts.before, NULL);
    return atomic_load(&interrupts.came);
}
