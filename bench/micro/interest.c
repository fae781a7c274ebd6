// SPDX-License-Identifier: Apache-2.0
// What matching subjects with subscriptions costs. Not a test.
//
//     bench_interest [SUBSCRIPTIONS]
//
// SUBSCRIPTIONS (100,000) literal ones under one token, ten with wildcards over them. Prints processor time
// of one thread: to add, to remove, to match a cached subject, one that is not cached and one nobody wants,
// to ask whether there is interest, to come and go with an inbox; and the memory.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "interest/interest.h"

static uint64_t live_bytes;

// Counts what is asked for; the size is kept in front.
static void *count_resize(void *context, void *data, size_t size) {
    (void)context;
    size_t *old = data == NULL ? NULL : (size_t *)data - 2;
    if (old != NULL) live_bytes -= *old;
    size_t *head = realloc(old, size + 2 * sizeof *head);
    if (head == NULL) exit(1);
    *head = size;
    live_bytes += size;
    return head + 2;
}

static void count_release(void *context, void *data) {
    (void)context;
    if (data == NULL) return;
    size_t *head = (size_t *)data - 2;
    live_bytes -= *head;
    free(head);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void say(const char *what, double since, size_t count) {
    printf("%-34s %7.1f ns\n", what, (now() - since) * 1e9 / (double)count);
}

static void check(daybook_status status) {
    if (status == DAYBOOK_OK) return;
    fprintf(stderr, "%s\n", daybook_status_name(status));
    exit(1);
}

enum { TEXT_SIZE = 40 };

static size_t match_all(dbk_interest *interest, const char *texts, size_t count, size_t rounds) {
    size_t found = 0;
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < count; i++) {
            const dbk_interest_matches *matches;
            check(dbk_interest_match(interest, daybook_text(texts + i * TEXT_SIZE), &matches));
            found += matches->plain_count;
        }
    }
    return found;
}

int main(int argc, char **argv) {
    size_t count = argc > 1 ? (size_t)strtoull(argv[1], NULL, 10) : 100000;
    if (count == 0) return 1;
    daybook_allocator allocator = {NULL, count_resize, count_release};
    uint8_t seed[DBK_INTEREST_SEED_SIZE] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    dbk_interest *interest;
    check(dbk_interest_new(&allocator, seed, &interest));
    uint64_t empty_bytes = live_bytes;
    dbk_interest_entry *entries = calloc(count, sizeof *entries), wild[10];
    char *texts = calloc(count, TEXT_SIZE), *unwanted = calloc(count, TEXT_SIZE);
    if (entries == NULL || texts == NULL || unwanted == NULL) return 1;
    for (size_t i = 0; i < count; i++) {
        snprintf(texts + i * TEXT_SIZE, TEXT_SIZE, "orders.eu.%zu", i * 7919);
        snprintf(unwanted + i * TEXT_SIZE, TEXT_SIZE, "parcels.us.%zu", i * 7919);
    }
    double since = now();
    for (size_t i = 0; i < count; i++) {
        check(dbk_interest_add(interest, daybook_text(texts + i * TEXT_SIZE), daybook_text(""), NULL,
                               &entries[i]));
    }
    say("add", since, count);
    printf("%-34s %7.1f B (and %zu B in the subscription)\n", "memory of one",
           (double)(live_bytes - empty_bytes) / (double)count, sizeof(dbk_interest_entry));
    for (size_t i = 0; i < 10; i++) {
        char filter[TEXT_SIZE];
        snprintf(filter, sizeof filter, "orders.%s.%s", i % 2 ? "*" : "eu", i % 3 ? "paid.*" : ">");
        check(dbk_interest_add(interest, daybook_text(filter), daybook_text(""), NULL, &wild[i]));
    }
    enum { FEW = 64, ROUNDS = 20000 };
    size_t few = count < FEW ? count : FEW, found = 0;
    found += match_all(interest, texts, few, 3);
    since = now();
    found += match_all(interest, texts, few, ROUNDS);
    say("match, cached", since, few * ROUNDS);
    since = now();
    found += match_all(interest, texts, count, 1);
    say("match, not cached", since, count);
    since = now();
    found += match_all(interest, unwanted, count, 1);
    say("match, nobody wants it", since, count);
    since = now();
    for (size_t i = 0; i < count; i++)
        found += dbk_interest_has(interest, daybook_text(texts + i * TEXT_SIZE));
    say("has", since, count);
    dbk_interest_entry client;
    since = now();
    for (size_t i = 0; i < count; i++) {
        char inbox[TEXT_SIZE];
        int size = snprintf(inbox, sizeof inbox, "_INBOX.%zu.*", i);
        check(
            dbk_interest_add(interest, daybook_bytes(inbox, (size_t)size), daybook_text(""), NULL, &client));
        dbk_interest_remove(interest, &client);
    }
    say("an inbox comes and goes", since, count);
    since = now();
    for (size_t i = 0; i < count; i++) dbk_interest_remove(interest, &entries[i]);
    say("remove", since, count);
    dbk_interest_free(interest);
    printf("%zu found, %" PRIu64 " B left\n", found, live_bytes);
    free(entries);
    free(texts);
    free(unwanted);
    return live_bytes != 0;
}
