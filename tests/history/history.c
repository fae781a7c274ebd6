// SPDX-License-Identifier: Apache-2.0
#include "history/history.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct moment {
    int64_t ns;
    uint64_t position; // of the last event; after sorting: the highest up to here
} moment;

typedef struct place {
    uint64_t id;
    size_t index; // in the log
} place;

typedef struct checker {
    const history *history;
    const history_log_event *log;
    size_t log_count;
    place *places;   // by id
    moment *settled; // by return
    size_t settled_count;
    moment *possible; // by invocation
    size_t possible_count;
    const history_entry **owners; // of each event of the log
    char *message;
    size_t message_size;
} checker;

__attribute__((format(printf, 2, 3))) static bool violated(const checker *own, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(own->message, own->message_size, format, arguments);
    va_end(arguments);
    return false;
}

uint64_t history_hash(uint64_t hash, uint64_t position) {
    return (hash ^ position) * 0x9E3779B97F4A7C15u + 0x632BE59BD9B4E019u;
}

// ---- Preparing --------------------------------------------------------------------------------------------

static int compare_places(const void *left, const void *right) {
    const place *a = left, *b = right;
    return a->id < b->id ? -1 : a->id > b->id;
}

static int compare_moments(const void *left, const void *right) {
    const moment *a = left, *b = right;
    return a->ns < b->ns ? -1 : a->ns > b->ns;
}

static const history_log_event *find(const checker *own, uint64_t id) {
    place key = {.id = id};
    const place *found = bsearch(&key, own->places, own->log_count, sizeof key, compare_places);
    return found == NULL ? NULL : &own->log[found->index];
}

static void sort_moments(moment *moments, size_t count) {
    qsort(moments, count, sizeof *moments, compare_moments);
    for (size_t i = 1; i < count; i++)
        if (moments[i].position < moments[i - 1].position) moments[i].position = moments[i - 1].position;
}

// The highest position of moments before `ns`, or 0.
static uint64_t highest_before(const moment *moments, size_t count, int64_t ns) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (moments[middle].ns < ns) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? 0 : moments[low - 1].position;
}

static uint64_t settled(const checker *own, int64_t ns) {
    return highest_before(own->settled, own->settled_count, ns);
}

static uint64_t possible(const checker *own, int64_t ns) {
    return highest_before(own->possible, own->possible_count, ns);
}

static void collect_moments(checker *own) {
    for (size_t i = 0; i < own->history->entry_count; i++) {
        const history_entry *entry = &own->history->entries[i];
        if (entry->kind != HISTORY_APPEND) continue;
        uint64_t last = 0;
        for (size_t n = 0; n < entry->event_count; n++) {
            const history_log_event *found = find(own, entry->events[n].id);
            if (found != NULL && found->position > last) last = found->position;
        }
        if (last == 0) continue;
        own->possible[own->possible_count++] = (moment){entry->invoked_ns, last};
        if (entry->returned_ns != 0 && entry->outcome == HISTORY_DONE)
            own->settled[own->settled_count++] = (moment){entry->returned_ns, last};
    }
    sort_moments(own->possible, own->possible_count);
    sort_moments(own->settled, own->settled_count);
}

// ---- 1: the log -------------------------------------------------------------------------------------------

static bool check_log(checker *own) {
    uint32_t aggregate_max = 0;
    for (size_t i = 0; i < own->log_count; i++)
        if (own->log[i].event.aggregate > aggregate_max) aggregate_max = own->log[i].event.aggregate;
    uint64_t *versions = calloc((size_t)aggregate_max + 1, sizeof *versions);
    uint64_t seqs[HISTORY_STREAMS] = {0};
    bool holds = versions != NULL || violated(own, "out of memory");
    for (size_t i = 0; i < own->log_count && holds; i++) {
        const history_log_event *event = &own->log[i];
        uint64_t *seq = &seqs[event->event.aggregate % HISTORY_STREAMS];
        uint64_t *version = &versions[event->event.aggregate];
        if (i > 0 && event->position <= own->log[i - 1].position) {
            holds = violated(own, "log: position %" PRIu64 " comes after %" PRIu64, event->position,
                             own->log[i - 1].position);
        } else if (i > 0 && event->recorded_ns < own->log[i - 1].recorded_ns) {
            holds = violated(own, "log: recorded goes back at position %" PRIu64, event->position);
        } else if (event->seq != ++*seq) {
            holds = violated(own, "log: seq %" PRIu64 " at position %" PRIu64 " where %" PRIu64 " was due",
                             event->seq, event->position, *seq);
        } else if (event->version != ++*version) {
            holds = violated(own, "log: version %" PRIu64 " of aggregate %u where %" PRIu64 " was due",
                             event->version, event->event.aggregate, *version);
        }
    }
    free(versions);
    return holds;
}

// ---- 2 to 4: origin, receipts, batches --------------------------------------------------------------------

static bool check_receipt(const checker *own, const history_entry *entry, size_t n) {
    const history_log_event *found = find(own, entry->events[n].id);
    if (found == NULL)
        return violated(own, "receipts: the acknowledged event %" PRIx64 " at position %" PRIu64 " is lost",
                        entry->events[n].id, entry->positions[n]);
    if (found->position != entry->positions[n] || found->seq != entry->seqs[n] ||
        found->version != entry->versions[n])
        return violated(own,
                        "receipts: event %" PRIx64 " is position %" PRIu64 " seq %" PRIu64 " version %" PRIu64
                        ", its receipt said %" PRIu64 ", %" PRIu64 ", %" PRIu64,
                        found->event.id, found->position, found->seq, found->version, entry->positions[n],
                        entry->seqs[n], entry->versions[n]);
    return true;
}

static bool own_event(checker *own, const history_entry *entry, size_t n, size_t *found_count) {
    const history_log_event *found = find(own, entry->events[n].id);
    if (found == NULL) return true;
    size_t at = (size_t)(found - own->log);
    if (found->event.aggregate != entry->events[n].aggregate || found->event.tag != entry->events[n].tag)
        return violated(own, "origin: event %" PRIx64 " is not what was appended", found->event.id);
    if (own->owners[at] != NULL && !entry->is_retry)
        return violated(own, "origin: event %" PRIx64 " was asked for twice", found->event.id);
    if (own->owners[at] == NULL && entry->returned_ns != 0 && entry->outcome == HISTORY_CONFLICT)
        return violated(own, "origin: event %" PRIx64 " is stored although it was refused", found->event.id);
    if (own->owners[at] == NULL) own->owners[at] = entry;
    if (n > 0 && found[-1].event.id != entry->events[n - 1].id)
        return violated(own, "whole: event %" PRIx64 " is not beside the one before it", found->event.id);
    ++*found_count;
    return true;
}

static bool check_origins(checker *own) {
    for (size_t i = 0; i < own->history->entry_count; i++) {
        const history_entry *entry = &own->history->entries[i];
        if (entry->kind != HISTORY_APPEND) continue;
        bool is_done = entry->returned_ns != 0 && entry->outcome == HISTORY_DONE;
        for (size_t n = 0; is_done && n < entry->event_count; n++)
            if (!check_receipt(own, entry, n)) return false;
        size_t found_count = 0;
        for (size_t n = 0; n < entry->event_count; n++)
            if (!own_event(own, entry, n, &found_count)) return false;
        if (found_count != 0 && found_count != entry->event_count)
            return violated(own, "whole: %zu of %u events of the batch of event %" PRIx64 " are stored",
                            found_count, entry->event_count, entry->events[0].id);
    }
    for (size_t i = 0; i < own->log_count; i++)
        if (own->owners[i] == NULL)
            return violated(own, "origin: nobody appended event %" PRIx64, own->log[i].event.id);
    return true;
}

// ---- 5: time ----------------------------------------------------------------------------------------------

static bool check_time(const checker *own) {
    int64_t latest_invoked_ns = 0;
    for (size_t i = 0; i < own->log_count; i++) {
        const history_entry *entry = own->owners[i];
        if (entry->returned_ns != 0 && entry->returned_ns < latest_invoked_ns)
            return violated(own, "time: position %" PRIu64 " returned before one in front of it was invoked",
                            own->log[i].position);
        if (entry->invoked_ns > latest_invoked_ns) latest_invoked_ns = entry->invoked_ns;
    }
    return true;
}

// ---- 6 and 7: conditions ----------------------------------------------------------------------------------

// What a condition looks at, in the state just before log index `end`: last version or seq of an aggregate,
// or the newest position of a tag. The first index of that state goes to *since_out.
static uint64_t value_before(const checker *own, const history_entry *entry, size_t end, size_t *since_out) {
    for (size_t i = end; i-- > 0;) {
        const history_log_event *event = &own->log[i];
        bool matches = entry->condition == HISTORY_NO_TAG_AFTER ? event->event.tag == entry->on
                                                                : event->event.aggregate == entry->on;
        if (!matches) continue;
        *since_out = i;
        if (entry->condition == HISTORY_VERSION) return event->version;
        return entry->condition == HISTORY_SUBJECT_SEQ ? event->seq : event->position;
    }
    *since_out = 0;
    return 0;
}

static bool holds(const history_entry *entry, uint64_t value) {
    return entry->condition == HISTORY_NO_TAG_AFTER ? value <= entry->expected : value == entry->expected;
}

// The index behind the last event at or before `position`.
static size_t index_behind(const checker *own, uint64_t position) {
    size_t low = 0, high = own->log_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (own->log[middle].position <= position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

// Was an entry that was cut off asked for again? Then it may be the retry, without the condition, that did
// it.
static bool was_repeated(const checker *own, const history_entry *entry) {
    const history_entry *next = entry + 1;
    return entry->returned_ns == 0 && next < own->history->entries + own->history->entry_count &&
           next->is_retry && next->events[0].id == entry->events[0].id;
}

static bool check_success(const checker *own, const history_entry *entry) {
    const history_log_event *first = find(own, entry->events[0].id);
    if (first == NULL || entry->is_retry || was_repeated(own, entry)) return true;
    size_t since;
    uint64_t value = value_before(own, entry, (size_t)(first - own->log), &since);
    if (holds(entry, value)) return true;
    return violated(own,
                    "success: the append at position %" PRIu64 " expected %" PRIu64 " and found %" PRIu64,
                    first->position, entry->expected, value);
}

static bool check_conflict(const checker *own, const history_entry *entry) {
    if (holds(entry, entry->actual))
        return violated(own, "conflict: the actual value %" PRIu64 " is the expected one", entry->actual);
    size_t end = index_behind(own, possible(own, entry->returned_ns));
    size_t begin = index_behind(own, settled(own, entry->invoked_ns));
    for (;;) { // states from the newest possible to the one that was settled before
        size_t since;
        uint64_t value = value_before(own, entry, end, &since);
        if (value == entry->actual) return true;
        if (value == 0 || since < begin) break;
        end = since;
    }
    return violated(own,
                    "conflict: the actual value %" PRIu64 " (expected %" PRIu64
                    ") was not current at any moment of the operation",
                    entry->actual, entry->expected);
}

static bool check_conditions(const checker *own) {
    for (size_t i = 0; i < own->history->entry_count; i++) {
        const history_entry *entry = &own->history->entries[i];
        if (entry->kind != HISTORY_APPEND || entry->condition == HISTORY_ANY) continue;
        bool is_conflict = entry->returned_ns != 0 && entry->outcome == HISTORY_CONFLICT;
        // One of unknown outcome that is in the log has succeeded. A retry is answered by its ids alone.
        if (is_conflict ? !check_conflict(own, entry) : !check_success(own, entry)) return false;
    }
    return true;
}

// ---- 8: reads ---------------------------------------------------------------------------------------------

static bool check_read(const checker *own, const history_entry *entry) {
    uint64_t hash = 0, count = 0, last = 0;
    uint64_t least = settled(own, entry->invoked_ns);
    for (size_t i = 0; i < own->log_count; i++) {
        const history_log_event *event = &own->log[i];
        if (entry->aggregate != HISTORY_ALL && event->event.aggregate != entry->aggregate) continue;
        if (count == entry->count) {
            if (event->position <= least)
                return violated(own,
                                "reads: a read misses position %" PRIu64 ", acknowledged before it began",
                                event->position);
            break;
        }
        hash = history_hash(hash, event->position);
        last = event->position;
        count++;
    }
    if (count != entry->count || hash != entry->hash || last != entry->last_position)
        return violated(
            own, "reads: a read of %" PRIu64 " events up to position %" PRIu64 " is no prefix of the log",
            entry->count, entry->last_position);
    if (last > possible(own, entry->returned_ns))
        return violated(own, "reads: position %" PRIu64 " was read before anybody appended it", last);
    return true;
}

// A read that begins when another has ended sees no less of the same: a moment for each end of a read of all.
static bool check_reads(const checker *own) {
    moment *ends = calloc(own->history->entry_count + 1, sizeof *ends);
    if (ends == NULL) return violated(own, "out of memory");
    size_t end_count = 0;
    bool result = true;
    for (size_t i = 0; i < own->history->entry_count && result; i++) {
        const history_entry *entry = &own->history->entries[i];
        if (entry->kind != HISTORY_READ || entry->returned_ns == 0) continue;
        result = check_read(own, entry);
        if (entry->aggregate == HISTORY_ALL)
            ends[end_count++] = (moment){entry->returned_ns, entry->last_position};
    }
    sort_moments(ends, end_count);
    for (size_t i = 0; i < own->history->entry_count && result; i++) {
        const history_entry *entry = &own->history->entries[i];
        if (entry->kind != HISTORY_READ || entry->returned_ns == 0 || entry->aggregate != HISTORY_ALL)
            continue;
        if (entry->last_position < highest_before(ends, end_count, entry->invoked_ns))
            result = violated(own, "reads: a read up to position %" PRIu64 " saw less than one before it",
                              entry->last_position);
    }
    free(ends);
    return result;
}

// ---- 9: followers -----------------------------------------------------------------------------------------

static bool check_follower(const checker *own, const history_follower *follower) {
    if (follower->count > own->log_count) return violated(own, "follower: it saw more than the log holds");
    for (size_t i = 0; i < follower->count; i++)
        if (follower->positions[i] != own->log[i].position)
            return violated(own, "follower: event number %zu was position %" PRIu64 ", the log has %" PRIu64,
                            i + 1, follower->positions[i], own->log[i].position);
    uint64_t least = follower->stopped_ns == 0 ? 0 : settled(own, follower->stopped_ns);
    if (follower->count < own->log_count && own->log[follower->count].position <= least)
        return violated(own, "follower: position %" PRIu64 " was acknowledged before it stopped and not seen",
                        own->log[follower->count].position);
    return true;
}

// ---- All --------------------------------------------------------------------------------------------------

static bool check_all(checker *own) {
    for (size_t i = 0; i < own->log_count; i++) own->places[i] = (place){own->log[i].event.id, i};
    qsort(own->places, own->log_count, sizeof *own->places, compare_places);
    for (size_t i = 1; i < own->log_count; i++)
        if (own->places[i].id == own->places[i - 1].id)
            return violated(own, "origin: event %" PRIx64 " is stored twice", own->places[i].id);
    collect_moments(own);
    if (!check_log(own) || !check_origins(own) || !check_time(own) || !check_conditions(own) ||
        !check_reads(own))
        return false;
    for (size_t i = 0; i < own->history->follower_count; i++)
        if (!check_follower(own, &own->history->followers[i])) return false;
    return true;
}

bool history_check(const history *checked, char *message_out, size_t message_size) {
    checker own = {.history = checked,
                   .log = checked->log,
                   .log_count = checked->log_count,
                   .message = message_out,
                   .message_size = message_size};
    *message_out = '\0';
    own.places = calloc(checked->log_count + 1, sizeof *own.places);
    own.owners = calloc(checked->log_count + 1, sizeof *own.owners);
    own.settled = calloc(checked->entry_count + 1, sizeof *own.settled);
    own.possible = calloc(checked->entry_count + 1, sizeof *own.possible);
    bool result;
    if (own.places == NULL || own.owners == NULL || own.settled == NULL || own.possible == NULL) {
        result = violated(&own, "out of memory");
    } else {
        result = check_all(&own);
    }
    free(own.places);
    free((void *)own.owners);
    free(own.settled);
    free(own.possible);
    return result;
}
