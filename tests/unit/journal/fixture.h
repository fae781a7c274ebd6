// SPDX-License-Identifier: Apache-2.0
// A journal on the simulated disk beside a model of it: what was acknowledged, what is in doubt, and the part
// of the manifest that the journal relies on (map and start), which the model treats as durable at once.
//
// Every group has an id of its own, never used again, and content that follows from it; so a replayed group
// that was torn, cut or recycled before is noticed as such.
#ifndef DBK_TESTS_JOURNAL_FIXTURE_H
#define DBK_TESTS_JOURNAL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/sim/sim.h"
#include "journal/journal_internal.h"

enum { LOG_PIECES_MAX = 64, LOG_GROUPS_MAX = 20000 };

typedef struct log_group {
    uint64_t id;
    uint32_t size;
    uint64_t first_lsn;
    uint64_t next_lsn;
} log_group;

typedef struct test_log {
    dbk_sim *sim;
    daybook_vfs *vfs;
    dbk_journal_config config;
    // The manifest's part.
    dbk_journal_map map;
    uint32_t pieces[LOG_PIECES_MAX];
    uint64_t start_lsn;
    // The journal while open.
    dbk_journal *journal;
    dbk_journal_group *group;
    // The model: groups[first] to groups[count - 1] must be replayed; then perhaps the one in doubt.
    log_group *groups;
    size_t first;
    size_t count;
    log_group doubt; // id 0: none
    uint64_t next_id;
    uint64_t known_durable_lsn;
    // Of the last replay.
    size_t replayed;
    bool saw_doubt;
    dbk_journal_recovery recovery;
    daybook_error error;
    uint64_t random_state;
} test_log;

uint64_t log_random(test_log *log);
uint64_t log_random_below(test_log *log, uint64_t bound);

/// A simulated disk with a journal of piece_count zeroed pieces.
void log_init(test_log *log, uint64_t seed, uint32_t piece_count);
void log_deinit(test_log *log);
void log_create(test_log *log);
/// Only the disk.
void log_init_disk(test_log *log, uint64_t seed, uint32_t piece_count);

/// Fill the group with the content of `id`.
daybook_status log_fill(dbk_journal_group *group, uint64_t id, size_t size);
/// Recover and compare with the model up to the first bad group; a group in doubt found there becomes one of
/// the model, else it is forgotten. Must not be called with the journal open.
daybook_status log_recover_with(test_log *log, uint64_t stop_lsn, uint64_t known_durable_lsn);
/// As above; asserts OK, no damage and that everything acknowledged was replayed.
void log_recover(test_log *log);
/// As above without assertions on the status; where OK, those on the content hold.
daybook_status log_try_recover(test_log *log);
daybook_status log_try_open(test_log *log);
void log_open(test_log *log);
void log_reopen(test_log *log); // close, recover, open
/// Without asserting; handles are freed.
daybook_status log_try_close(test_log *log);
void log_close(test_log *log);

/// Append a group of `size` bytes; the model follows the status.
daybook_status log_try_append(test_log *log, size_t size);
void log_append(test_log *log, size_t size);
/// Give up all groups but the last `kept`.
daybook_status log_try_recycle(test_log *log, size_t kept);
void log_recycle(test_log *log, size_t kept);
daybook_status log_try_grow(test_log *log, uint32_t piece_count);
void log_grow(test_log *log, uint32_t piece_count);
/// Append, recycling where the room runs out: all groups but `kept`, or all where that is not enough.
void log_append_round(test_log *log, size_t size, size_t kept);

uint64_t log_offset(const test_log *log, uint64_t lsn);
void log_read_page(test_log *log, uint64_t lsn, uint8_t *page);
void log_put_page(test_log *log, uint64_t lsn, const uint8_t *page);
void log_flip(test_log *log, uint64_t lsn, size_t at, uint8_t mask);

#define log_assert_ok(log, status)                                                     \
    do {                                                                               \
        daybook_status log_status = (status);                                          \
        if (log_status != DAYBOOK_OK) {                                                \
            fail_msg("%s: %s", daybook_status_name(log_status), (log)->error.message); \
        }                                                                              \
    } while (0)

#endif
