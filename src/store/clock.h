// SPDX-License-Identifier: Apache-2.0
// The time by which events expire: the real clock, unless it jumped. See clock.c.
#ifndef DBK_STORE_CLOCK_H
#define DBK_STORE_CLOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "daybook/sys/vfs.h"

typedef struct dbk_store_clock {
    // What the real clock is ahead of the monotonic one: believed. Changed under lock, read without.
    atomic_int_fast64_t offset_ns;
    atomic_bool is_held;
    pthread_mutex_t lock;
    // Guarded by lock.
    int64_t held_offset_ns; // seen last while held
    int64_t held_since_ns;  // monotonic
} dbk_store_clock;

struct daybook_store;
struct dbk_event;
struct dbk_stream;
void dbk_clock_init(dbk_store_clock *clock);
/// The clock as it stands now is believed.
void dbk_clock_begin(dbk_store_clock *clock, daybook_vfs *vfs);
void dbk_clock_deinit(dbk_store_clock *clock);
/// The time for limits by age and windows. Any thread, no other lock needed or taken.
int64_t dbk_clock_expiry_ns(struct daybook_store *store);
/// Older than the stream's max_age or its own time to live: gone for reads, also where no writer has removed
/// it yet. Looks at no clock where nothing ages.
bool dbk_clock_has_expired(struct daybook_store *store, const struct dbk_stream *stream,
                           const struct dbk_event *event);
/// The same at a time that was looked up before; at 0 nothing has expired.
bool dbk_clock_has_expired_at(int64_t now_ns, const struct dbk_stream *stream, const struct dbk_event *event);
/// Older than max_age, were it not for its own time to live.
bool dbk_clock_has_aged_at(int64_t now_ns, const struct dbk_stream *stream, int64_t recorded_ns);
/// Has every event of the stream expired that was recorded then or before, whatever it says itself?
bool dbk_clock_have_all_expired_at(int64_t now_ns, const struct dbk_stream *stream, int64_t recorded_ns);
/// By how much the real clock is ahead of that time, 0 unless it jumped and is not confirmed.
int64_t dbk_clock_held_ns(struct daybook_store *store);

#endif
