// SPDX-License-Identifier: Apache-2.0
// What a machine gives to group commit at most: THREADS callers that block until what they queued is on the
// disk, one thread that writes and syncs for all of them, and nothing else. Not a test.
//
//     group_commit FILE [THREADS [SECONDS [WORK [dry]]]]
//
// A commit is 300 bytes of a group that is overwritten directly and synchronously, as the journal does it;
// WORK is how many steps of arithmetic (a few ns each) its caller does before. With `dry` nothing is written:
// what is left is the scheduler. Callers sleep on a condition variable of their round, woken by one
// broadcast.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // O_DIRECT
#endif

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { PAGE_SIZE = 4096, FILE_SIZE = 16 << 20, COMMIT_SIZE = 300, THREADS_MAX = 1024, ROUNDS = 2 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wanted;         // by the writer
    pthread_cond_t served[ROUNDS]; // by callers
    uint64_t round;                // that queues now
    uint64_t served_end;           // rounds before it are on the disk
    size_t queue_count;
    bool is_over;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER,
           .wanted = PTHREAD_COND_INITIALIZER,
           .served = {PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER}};

static int file = -1;
static uint8_t *pages;
static unsigned long work_steps;
static bool is_dry;
static atomic_uint_fast64_t commit_count;
static uint64_t group_count;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void overwrite(size_t size, off_t *at) {
    if (*at + (off_t)size > FILE_SIZE) *at = 0;
    memcpy(pages, at, sizeof *at);
    if (pwrite(file, pages, size, *at) != (ssize_t)size) fail("overwrite");
    *at += (off_t)size;
}

static void make_file(const char *path) {
    if (posix_memalign((void **)&pages, PAGE_SIZE, 1 << 20) != 0) fail("memory");
    memset(pages, 'g', 1 << 20);
    file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (off_t at = 0; file >= 0 && at < FILE_SIZE; at += 1 << 20) {
        if (pwrite(file, pages, 1 << 20, at) != 1 << 20) fail("write");
    }
    if (file < 0 || fdatasync(file) != 0) fail(path);
    (void)close(file);
    file = open(path, O_RDWR | O_DSYNC | O_DIRECT | O_CLOEXEC);
    if (file < 0) fail(path);
}

static void *append(void *unused) {
    (void)unused;
    volatile uint64_t result = 1;
    uint64_t own_count = 0;
    for (;; own_count++) {
        for (unsigned long i = 0; i < work_steps; i++) result = result * 3 + 1;
        pthread_mutex_lock(&queue.lock);
        uint64_t round = queue.round;
        if (queue.queue_count++ == 0) pthread_cond_signal(&queue.wanted);
        while (queue.served_end <= round && !queue.is_over)
            pthread_cond_wait(&queue.served[round % ROUNDS], &queue.lock);
        bool is_over = queue.is_over;
        pthread_mutex_unlock(&queue.lock);
        if (is_over) break;
    }
    atomic_fetch_add(&commit_count, own_count);
    return NULL;
}

static void *write_groups(void *unused) {
    (void)unused;
    off_t at = 0;
    for (;;) {
        pthread_mutex_lock(&queue.lock);
        while (queue.queue_count == 0 && !queue.is_over) pthread_cond_wait(&queue.wanted, &queue.lock);
        size_t count = queue.queue_count;
        uint64_t round = queue.round++;
        queue.queue_count = 0;
        bool is_over = queue.is_over;
        pthread_mutex_unlock(&queue.lock);
        if (is_over) return NULL;
        if (!is_dry) overwrite((count * COMMIT_SIZE / PAGE_SIZE + 1) * PAGE_SIZE, &at);
        group_count++;
        pthread_mutex_lock(&queue.lock);
        queue.served_end = round + 1;
        pthread_mutex_unlock(&queue.lock);
        pthread_cond_broadcast(&queue.served[round % ROUNDS]);
    }
}

static double measure_floor(void) {
    double begin = now(), end = begin;
    off_t at = 0;
    uint64_t count = 0;
    for (; end - begin < 1; count++, end = now()) overwrite(PAGE_SIZE, &at);
    return (double)count / (end - begin);
}

static double processor_seconds(void) {
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

int main(int count, char **arguments) {
    if (count < 2) {
        (void)fprintf(stderr, "group_commit FILE [THREADS [SECONDS [WORK [dry]]]]\n");
        return 2;
    }
    unsigned threads = count > 2 ? (unsigned)strtoul(arguments[2], NULL, 10) : 64;
    unsigned seconds = count > 3 ? (unsigned)strtoul(arguments[3], NULL, 10) : 3;
    work_steps = count > 4 ? strtoul(arguments[4], NULL, 10) : 0;
    is_dry = count > 5;
    if (threads == 0 || threads > THREADS_MAX) return 2;
    make_file(arguments[1]);
    double floor = measure_floor();
    pthread_t writer, callers[THREADS_MAX];
    double begin = now(), busy = processor_seconds();
    if (pthread_create(&writer, NULL, write_groups, NULL) != 0) fail("thread");
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&callers[i], NULL, append, NULL) != 0) fail("thread");
    }
    (void)sleep(seconds);
    pthread_mutex_lock(&queue.lock);
    queue.is_over = true;
    pthread_mutex_unlock(&queue.lock);
    double took = now() - begin;
    busy = processor_seconds() - busy;
    pthread_cond_broadcast(&queue.wanted);
    for (unsigned i = 0; i < ROUNDS; i++) pthread_cond_broadcast(&queue.served[i]);
    pthread_join(writer, NULL);
    for (unsigned i = 0; i < threads; i++) pthread_join(callers[i], NULL);
    double commits = (double)atomic_load(&commit_count);
    printf(
        "floor %.0f writes/s; %.0f commits/s (%.1f x), %.1f a group, %.2f us of processor each, %.2f cores\n",
        floor, commits / took, commits / took / floor, commits / (double)group_count, busy * 1e6 / commits,
        busy / took);
    (void)close(file);
    (void)unlink(arguments[1]);
    free(pages);
    return 0;
}
