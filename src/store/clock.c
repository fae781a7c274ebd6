// SPDX-License-Identifier: Apache-2.0
// The time by which events expire.
//
// A clock that jumps a year ahead by mistake must not make every limit by age remove everything: what is
// removed does not come back when the clock is set right. So what the real clock is ahead of the monotonic
// one is remembered from the opening of the store on, and looked at with every question:
//
//                         ahead by more than JUMP_NS
//      believed  ------------------------------------------>  held
//         ^                                                     |
//         +--- daybook_confirm_clock; the clock came back; -----+
//              it stayed as it is for CONFIRM_NS by the monotonic clock
//
// While held, time for expiry goes on from where it was, at the pace of the monotonic clock: events go on
// expiring as if nothing had happened, and duplicates are recognised for as long. `recorded` is not touched
// by this: it is the real clock, and never goes back. A clock set back is believed at once: it only makes
// events live longer. Smaller jumps are believed, too.
//
// A machine that slept shows the same jump, because the monotonic clock stood still; then the hour, or the
// call, makes the store catch up. What the clock said before the store was opened is not known: a process
// that starts with a wrong clock believes it.
//
// Threads: any. The common case takes no lock.
#include "store/clock.h"

#include "base/time.h"
#include "store/store_internal.h"

#define JUMP_NS (3600 * DBK_SECOND_NS)
#define CONFIRM_NS (3600 * DBK_SECOND_NS)
#define STEADY_NS (60 * DBK_SECOND_NS) // what a clock that is being corrected may move meanwhile

void dbk_clock_init(dbk_store_clock *clock) {
    atomic_init(&clock->offset_ns, 0);
    atomic_init(&clock->is_held, false);
    pthread_mutex_init(&clock->lock, NULL);
}

void dbk_clock_begin(dbk_store_clock *clock, daybook_vfs *vfs) {
    atomic_store(&clock->offset_ns, vfs->clock_real_ns(vfs) - vfs->clock_monotonic_ns(vfs));
}

void dbk_clock_deinit(dbk_store_clock *clock) {
    pthread_mutex_destroy(&clock->lock);
}

typedef enum verdict { NOTHING_NEW, CLOCK_HELD, CLOCK_BACK, CLOCK_CONFIRMED } verdict;

// The clock is not where it was believed to be, or is held. lock is held.
static verdict judge(dbk_store_clock *clock, int64_t offset_ns, int64_t monotonic_ns) {
    bool is_held = atomic_load(&clock->is_held);
    bool is_ahead = offset_ns - atomic_load(&clock->offset_ns) > JUMP_NS;
    if (is_ahead) {
        int64_t moved_ns = is_held ? offset_ns - clock->held_offset_ns : 0;
        clock->held_offset_ns = offset_ns;
        if (!is_held || moved_ns > STEADY_NS || moved_ns < -STEADY_NS) {
            clock->held_since_ns = monotonic_ns;
            atomic_store(&clock->is_held, true);
            return CLOCK_HELD;
        }
        if (monotonic_ns - clock->held_since_ns < CONFIRM_NS) return NOTHING_NEW;
    }
    atomic_store(&clock->offset_ns, offset_ns);
    atomic_store(&clock->is_held, false);
    if (!is_held) return NOTHING_NEW;
    return is_ahead ? CLOCK_CONFIRMED : CLOCK_BACK;
}

static void tell(daybook_store *store, verdict what, int64_t ahead_ns) {
    long long hours = (long long)(ahead_ns / JUMP_NS);
    if (what == CLOCK_HELD) {
        dbk_store_log(store, DAYBOOK_LOG_WARNING,
                      "the clock jumped %lld hours ahead: no event expires by that until "
                      "daybook_confirm_clock is called or the clock has stayed so for an hour",
                      hours);
    } else if (what == CLOCK_CONFIRMED) {
        dbk_store_log(store, DAYBOOK_LOG_INFO,
                      "the clock stayed %lld hours ahead for an hour: events expire by it now", hours);
    } else if (what == CLOCK_BACK) {
        dbk_store_log(store, DAYBOOK_LOG_INFO, "the clock is back: events expire by it again");
    }
}

int64_t dbk_clock_expiry_ns(daybook_store *store) {
    dbk_store_clock *clock = &store->clock;
    int64_t monotonic_ns = store->vfs->clock_monotonic_ns(store->vfs);
    int64_t real_ns = store->vfs->clock_real_ns(store->vfs);
    int64_t offset_ns = real_ns - monotonic_ns;
    int64_t ahead_ns = offset_ns - atomic_load(&clock->offset_ns);
    bool is_steady = ahead_ns <= STEADY_NS && ahead_ns >= -STEADY_NS;
    if (is_steady && !atomic_load(&clock->is_held)) return real_ns;
    pthread_mutex_lock(&clock->lock);
    verdict what = judge(clock, offset_ns, monotonic_ns);
    int64_t now_ns = monotonic_ns + atomic_load(&clock->offset_ns);
    pthread_mutex_unlock(&clock->lock);
    tell(store, what, ahead_ns);
    return now_ns;
}

bool dbk_clock_has_aged_at(int64_t now_ns, const dbk_stream *stream, int64_t recorded_ns) {
    int64_t max_age_ns = dbk_stream_max_age_ns(stream);
    return max_age_ns > 0 && now_ns > 0 && recorded_ns <= now_ns - max_age_ns;
}

bool dbk_clock_have_all_expired_at(int64_t now_ns, const dbk_stream *stream, int64_t recorded_ns) {
    return !dbk_stream_allows_ttl(stream) && dbk_clock_has_aged_at(now_ns, stream, recorded_ns);
}

bool dbk_clock_has_expired_at(int64_t now_ns, const dbk_stream *stream, const dbk_event *event) {
    if (event->ttl_s == DAYBOOK_TTL_NEVER) return false;
    if (event->ttl_s > 0 && now_ns > 0 && dbk_event_expiry_ns(event) <= now_ns) return true;
    return dbk_clock_has_aged_at(now_ns, stream, event->recorded_ns);
}

bool dbk_clock_has_expired(daybook_store *store, const dbk_stream *stream, const dbk_event *event) {
    return (event->ttl_s > 0 || dbk_stream_max_age_ns(stream) > 0) &&
           dbk_clock_has_expired_at(dbk_clock_expiry_ns(store), stream, event);
}

int64_t dbk_clock_held_ns(daybook_store *store) {
    int64_t now_ns = dbk_clock_expiry_ns(store);
    if (!atomic_load(&store->clock.is_held)) return 0;
    int64_t ahead_ns = store->vfs->clock_real_ns(store->vfs) - now_ns;
    return ahead_ns > 0 ? ahead_ns : 0;
}

daybook_status daybook_confirm_clock(daybook_store *store, daybook_error *error) {
    if (store == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "daybook_confirm_clock without a store");
    dbk_store_clock *clock = &store->clock;
    pthread_mutex_lock(&clock->lock);
    int64_t monotonic_ns = store->vfs->clock_monotonic_ns(store->vfs);
    atomic_store(&clock->offset_ns, store->vfs->clock_real_ns(store->vfs) - monotonic_ns);
    atomic_store(&clock->is_held, false);
    pthread_mutex_unlock(&clock->lock);
    return DAYBOOK_OK;
}
