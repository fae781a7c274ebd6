// SPDX-License-Identifier: Apache-2.0
#include "fixture.h"

uint64_t log_random(test_log *log) { // splitmix64
    uint64_t mixed = log->random_state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

uint64_t log_random_below(test_log *log, uint64_t bound) {
    return log_random(log) % bound;
}

void log_init_disk(test_log *log, uint64_t seed, uint32_t piece_count) {
    memset(log, 0, sizeof *log);
    daybook_error_init(&log->error);
    log->random_state = seed;
    log_assert_ok(log, dbk_sim_new(seed, &log->sim));
    log->vfs = dbk_sim_vfs(log->sim);
    log->config = (dbk_journal_config){
        .allocator = dbk_allocator_default(), .vfs = log->vfs, .path = "/journal", .incarnation = 99};
    memset(log->config.store_uuid.bytes, 0x5a, sizeof log->config.store_uuid.bytes);
    for (uint32_t i = 0; i < piece_count; i++) log->pieces[i] = i;
    log->map = (dbk_journal_map){
        .first_lsn = DBK_JOURNAL_PIECE_PAGES, .piece_count = piece_count, .pieces = log->pieces};
    log->start_lsn = log->map.first_lsn;
    log->groups = calloc(LOG_GROUPS_MAX, sizeof *log->groups);
    assert_non_null(log->groups);
    log->next_id = 1;
}

void log_create(test_log *log) {
    log_assert_ok(log, dbk_journal_create(&log->config, log->map.piece_count, &log->error));
    assert_int_equal(log->vfs->sync_directory(log->vfs, "/"), 0);
}

void log_init(test_log *log, uint64_t seed, uint32_t piece_count) {
    log_init_disk(log, seed, piece_count);
    log_create(log);
}

void log_deinit(test_log *log) {
    if (log->journal != NULL) (void)log_try_close(log);
    free(log->groups);
    dbk_sim_free(log->sim);
}

// ---- Content ----

// 8 bytes id, then a pattern that depends on id and place.
static uint8_t content_at(uint64_t id, size_t at) {
    if (at < 8) return (uint8_t)(id >> (8 * at));
    return (uint8_t)((id * UINT64_C(0x9e3779b97f4a7c15) + at * 0x51) >> 24);
}

daybook_status log_fill(dbk_journal_group *group, uint64_t id, size_t size) {
    uint8_t part[1000];
    dbk_journal_group_reset(group);
    for (size_t done = 0; done < size;) {
        size_t part_size = size - done < sizeof part ? size - done : sizeof part;
        for (size_t i = 0; i < part_size; i++) part[i] = content_at(id, done + i);
        DBK_TRY(dbk_journal_group_append(group, part, part_size));
        done += part_size;
    }
    return DAYBOOK_OK;
}

static bool is_content_of(const log_group *group, dbk_slice payload) {
    const uint8_t *bytes = payload.data;
    if (payload.size != group->size) return false;
    for (size_t i = 0; i < payload.size; i++) {
        if (bytes[i] != content_at(group->id, i)) return false;
    }
    return true;
}

static daybook_status check_group(void *context, uint64_t first_lsn, uint64_t next_lsn, dbk_slice payload,
                                  daybook_error *error) {
    (void)error;
    test_log *log = context;
    assert_true(payload.size >= 8);
    assert_false(log->saw_doubt); // nothing comes behind it
    const log_group *expected = NULL;
    if (log->first + log->replayed < log->count) {
        expected = &log->groups[log->first + log->replayed];
        assert_true(expected->first_lsn == first_lsn);
        assert_true(expected->next_lsn == next_lsn);
    } else {
        assert_true(log->doubt.id != 0); // else a group from nowhere
        expected = &log->doubt;
        log->saw_doubt = true;
        log->doubt.first_lsn = first_lsn;
        log->doubt.next_lsn = next_lsn;
    }
    if (!is_content_of(expected, payload)) {
        fail_msg("group %llu expected, found %llu of %zu bytes", (unsigned long long)expected->id,
                 (unsigned long long)dbk_get_u64(payload.data), payload.size);
    }
    if (!log->saw_doubt) log->replayed++;
    return DAYBOOK_OK;
}

// ---- Recovering, opening, closing ----

daybook_status log_recover_with(test_log *log, uint64_t stop_lsn, uint64_t known_durable_lsn) {
    assert_null(log->journal);
    log->replayed = 0;
    log->saw_doubt = false;
    return dbk_journal_recover(&log->config, &log->map, log->start_lsn, stop_lsn, known_durable_lsn,
                               check_group, log, &log->recovery, &log->error);
}

static void settle_doubt(test_log *log) {
    if (log->saw_doubt) {
        assert_true(log->count < LOG_GROUPS_MAX);
        log->groups[log->count++] = log->doubt;
        log->replayed++;
    }
    log->doubt.id = 0;
}

daybook_status log_try_recover(test_log *log) {
    DBK_TRY(log_recover_with(log, 0, log_random_below(log, 2) ? log->known_durable_lsn : 0));
    // A stopped disk cannot be read: that is reported as damage, and is none once it runs again.
    if (dbk_sim_is_stopped(log->sim)) return DAYBOOK_EIO;
    if (log->recovery.damaged) {
        fail_msg("damaged at LSN %llu: %s", (unsigned long long)log->recovery.damage_lsn,
                 log->recovery.damage_text);
    }
    assert_int_equal(log->replayed, log->count - log->first);
    settle_doubt(log);
    return DAYBOOK_OK;
}

void log_recover(test_log *log) {
    log_assert_ok(log, log_try_recover(log));
}

daybook_status log_try_open(test_log *log) {
    DBK_TRY(dbk_journal_open(&log->config, &log->map, &log->recovery, log->start_lsn, &log->journal,
                             &log->error));
    log_assert_ok(log, dbk_journal_group_new(log->journal, &log->group));
    return DAYBOOK_OK;
}

void log_open(test_log *log) {
    log_assert_ok(log, log_try_open(log));
}

daybook_status log_try_close(test_log *log) {
    dbk_journal_group_free(log->group);
    daybook_status status = dbk_journal_close(log->journal, &log->error);
    log->group = NULL;
    log->journal = NULL;
    return status;
}

void log_close(test_log *log) {
    log_assert_ok(log, log_try_close(log));
}

void log_reopen(test_log *log) {
    if (log->journal != NULL) log_close(log);
    log_recover(log);
    log_open(log);
}

// ---- Working ----

daybook_status log_try_append(test_log *log, size_t size) {
    log_group written = {.id = log->next_id++, .size = (uint32_t)size};
    DBK_TRY(log_fill(log->group, written.id, size));
    uint64_t before = dbk_journal_durable_lsn(log->journal);
    uint64_t next_lsn = 0;
    daybook_status status = dbk_journal_write_group(log->journal, log->group, &next_lsn, &log->error);
    if (status == DAYBOOK_EUNCERTAIN) log->doubt = written;
    if (status != DAYBOOK_OK) return status;
    assert_true(next_lsn == dbk_journal_durable_lsn(log->journal));
    written.next_lsn = next_lsn;
    written.first_lsn = next_lsn - dbk_journal_pages_for(size);
    assert_true(written.first_lsn == before || written.first_lsn == before + 1); // an epoch that was due
    assert_true(log->count < LOG_GROUPS_MAX);
    log->groups[log->count++] = written;
    log->known_durable_lsn = next_lsn;
    return DAYBOOK_OK;
}

void log_append(test_log *log, size_t size) {
    log_assert_ok(log, log_try_append(log, size));
}

static daybook_status adopt(test_log *log, uint32_t *pieces, uint64_t first_lsn, uint32_t piece_count,
                            uint64_t start_lsn) {
    assert_true(piece_count <= LOG_PIECES_MAX);
    memcpy(log->pieces, pieces, piece_count * sizeof *pieces);
    log->map.first_lsn = first_lsn;
    log->map.piece_count = piece_count;
    log->start_lsn = start_lsn;
    dbk_free(log->config.allocator, pieces);
    return dbk_journal_set_map(log->journal, &log->map, start_lsn, &log->error);
}

daybook_status log_try_recycle(test_log *log, size_t kept) {
    size_t first = log->count - log->first > kept ? log->count - kept : log->first;
    uint64_t start_lsn = first > log->first ? log->groups[first - 1].next_lsn : log->start_lsn;
    if (kept == 0) start_lsn = dbk_journal_durable_lsn(log->journal);
    uint32_t *pieces = NULL;
    uint64_t first_lsn = 0;
    uint32_t piece_count = 0;
    DBK_TRY(
        dbk_journal_plan_recycle(log->journal, start_lsn, &pieces, &first_lsn, &piece_count, &log->error));
    log->first = first;
    return adopt(log, pieces, first_lsn, piece_count, start_lsn);
}

void log_recycle(test_log *log, size_t kept) {
    log_assert_ok(log, log_try_recycle(log, kept));
}

daybook_status log_try_grow(test_log *log, uint32_t piece_count) {
    uint32_t *pieces = NULL;
    uint64_t first_lsn = 0;
    uint32_t count = 0;
    DBK_TRY(dbk_journal_grow(log->journal, piece_count, &pieces, &first_lsn, &count, &log->error));
    return adopt(log, pieces, first_lsn, count, log->start_lsn);
}

void log_grow(test_log *log, uint32_t piece_count) {
    log_assert_ok(log, log_try_grow(log, piece_count));
}

void log_append_round(test_log *log, size_t size, size_t kept) {
    uint64_t page_count = dbk_journal_pages_for(size);
    if (dbk_journal_room_pages(log->journal) < page_count) log_recycle(log, kept);
    if (dbk_journal_room_pages(log->journal) < page_count) log_recycle(log, 0);
    log_append(log, size);
}

// ---- The file ----

uint64_t log_offset(const test_log *log, uint64_t lsn) {
    return dbk_journal_map_offset(&log->map, lsn);
}

void log_read_page(test_log *log, uint64_t lsn, uint8_t *page) {
    daybook_file *file = NULL;
    assert_int_equal(log->vfs->open(log->vfs, log->config.path, DAYBOOK_VFS_READ, &file), 0);
    log_assert_ok(log, dbk_read_exactly(log->vfs, file, log->config.path, page, DBK_JOURNAL_PAGE_SIZE,
                                        log_offset(log, lsn), &log->error));
    log->vfs->close(log->vfs, file);
}

void log_put_page(test_log *log, uint64_t lsn, const uint8_t *page) {
    log_assert_ok(log, dbk_sim_overwrite(log->sim, log->config.path, log_offset(log, lsn), page,
                                         DBK_JOURNAL_PAGE_SIZE));
}

void log_flip(test_log *log, uint64_t lsn, size_t at, uint8_t mask) {
    log_assert_ok(log, dbk_sim_flip(log->sim, log->config.path, log_offset(log, lsn) + at, mask));
}
