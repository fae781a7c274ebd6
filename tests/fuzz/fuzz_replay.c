// SPDX-License-Identifier: Apache-2.0
// Opening a store whose journal holds a hostile group behind right checksums. The first byte of the input
// says what is put right in the rest before it is written as a group: 1 positions of events, 2 seqs, 4 stream
// ids. Then the store opens or says why not; what it holds can be counted, read, listed, appended to,
// flushed, and opened again.
#include "daybook/daybook.h"
#include "fuzz.h"
#include "io/memory.h"
#include "journal/journal.h"
#include "record/record.h"
#include "store/manifest.h"

static const char path[] = "/store";

static void fill_options(daybook_open_options *options, daybook_vfs *vfs) {
    daybook_open_options_init(options);
    options->flags = DAYBOOK_OPEN_NO_BACKGROUND;
    options->vfs = vfs;
    options->journal_max_bytes = 4 << 20;
    options->memtable_bytes = 256 << 10;
    options->memory_budget_bytes = 16 << 20;
}

static daybook_status open_store(daybook_vfs *vfs, daybook_store **store_out, daybook_error *error) {
    daybook_open_options options;
    fill_options(&options, vfs);
    return daybook_open(path, &options, store_out, error);
}

static daybook_status append(daybook_store *store, const char *subject, daybook_error *error) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text("{\"a\":1}");
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    return daybook_append(store, &event, 1, &options, NULL, error);
}

static void make_store(daybook_vfs *vfs) {
    daybook_store *store = NULL;
    FUZZ_CHECK(open_store(vfs, &store, NULL) == DAYBOOK_OK);
    FUZZ_CHECK(append(store, "orders.1.a", NULL) == DAYBOOK_OK);
    FUZZ_CHECK(append(store, "orders.1.b", NULL) == DAYBOOK_OK);
    FUZZ_CHECK(append(store, "users.1.a", NULL) == DAYBOOK_OK);
    FUZZ_CHECK(daybook_close(store, NULL) == DAYBOOK_OK);
}

// Events of two streams exist at positions 1 to 3, plus what the catalogue takes none of.
static void put_right(uint8_t *bytes, size_t size, uint8_t what) {
    uint64_t position = 4;
    uint64_t seqs[3] = {0, 3, 2};
    while (size > 0) {
        dbk_record_kind kind;
        size_t record_size = 0;
        if (dbk_record_peek(daybook_bytes(bytes, size), &kind, &record_size) != DAYBOOK_OK) return;
        if (record_size >= 8 && (what & 4) != 0 && kind != DBK_RECORD_CATALOGUE)
            dbk_put_u32(bytes + 4, 1 + dbk_get_u32(bytes + 4) % 2);
        if (kind == DBK_RECORD_EVENT && record_size >= DBK_EVENT_HEAD_SIZE) {
            uint32_t stream_id = dbk_get_u32(bytes + 4);
            if ((what & 1) != 0) dbk_put_u64(bytes + 8, position++);
            if ((what & 2) != 0 && stream_id < 3) dbk_put_u64(bytes + 16, seqs[stream_id]++);
        }
        bytes += record_size;
        size -= record_size;
    }
}

static daybook_status ignore_group(void *context, uint64_t first_lsn, uint64_t next_lsn, dbk_slice payload,
                                   daybook_error *error) {
    (void)context;
    (void)first_lsn;
    (void)next_lsn;
    (void)payload;
    (void)error;
    return DAYBOOK_OK;
}

// The group goes where the writer would have put it.
static void add_group(daybook_vfs *vfs, dbk_slice payload) {
    dbk_manifest manifest;
    dbk_manifest_init(&manifest, dbk_allocator_default(), vfs, path);
    FUZZ_CHECK(dbk_manifest_load(&manifest, true, NULL) == DAYBOOK_OK);
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, dbk_allocator_default());
    dbk_manifest_edit_set_closed_clean(&edit, false);
    FUZZ_CHECK(dbk_manifest_commit(&manifest, &edit, NULL) == DAYBOOK_OK);
    dbk_manifest_edit_deinit(&edit);

    dbk_journal_config config = {.allocator = dbk_allocator_default(),
                                 .vfs = vfs,
                                 .path = "/store/journal",
                                 .store_uuid = manifest.store_uuid,
                                 .incarnation = manifest.incarnation};
    dbk_journal_map map = dbk_manifest_journal_map(&manifest);
    dbk_journal_recovery recovery;
    FUZZ_CHECK(dbk_journal_recover(&config, &map, manifest.journal_start_lsn, 0, manifest.journal_durable_lsn,
                                   ignore_group, NULL, &recovery, NULL) == DAYBOOK_OK);
    dbk_journal *journal = NULL;
    FUZZ_CHECK(dbk_journal_open(&config, &map, &recovery, manifest.journal_start_lsn, &journal, NULL) ==
               DAYBOOK_OK);
    dbk_journal_group *group = NULL;
    FUZZ_CHECK(dbk_journal_group_new(journal, &group) == DAYBOOK_OK);
    FUZZ_CHECK(dbk_journal_group_append(group, payload.data, payload.size) == DAYBOOK_OK);
    uint64_t next_lsn = 0;
    FUZZ_CHECK(dbk_journal_write_group(journal, group, &next_lsn, NULL) == DAYBOOK_OK);
    dbk_journal_group_free(group);
    FUZZ_CHECK(dbk_journal_close(journal, NULL) == DAYBOOK_OK);
    dbk_manifest_deinit(&manifest);
}

static int visit_entry(void *context, const daybook_list_entry *entry) {
    (void)context;
    fuzz_touch(entry->name);
    return 0;
}

static int visit_stream(void *context, const daybook_stream_info *info) {
    (void)context;
    fuzz_touch(info->config.name);
    return 0;
}

static uint64_t read_all(daybook_store *store, unsigned flags) {
    daybook_query query;
    daybook_query_init(&query);
    query.flags = flags | DAYBOOK_QUERY_INTERNAL;
    daybook_cursor *cursor = NULL;
    FUZZ_CHECK(daybook_read(store, &query, &cursor, NULL) == DAYBOOK_OK);
    daybook_recorded_event event;
    uint64_t count = 0;
    uint64_t last = flags == 0 ? 0 : UINT64_MAX;
    while (daybook_cursor_next(cursor, 0, &event, NULL) == DAYBOOK_OK) {
        FUZZ_CHECK(flags == 0 ? event.position > last : event.position < last);
        last = event.position;
        fuzz_touch(event.event.subject);
        fuzz_touch(event.event.data);
        count++;
    }
    daybook_cursor_close(cursor);
    return count;
}

static void use_store(daybook_store *store) {
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_INTERNAL;
    uint64_t counted = 0;
    FUZZ_CHECK(daybook_count(store, &query, &counted, NULL) == DAYBOOK_OK);
    FUZZ_CHECK(read_all(store, 0) == counted);
    FUZZ_CHECK(read_all(store, DAYBOOK_QUERY_REVERSE) == counted);
    for (int kind = DAYBOOK_LIST_AGGREGATES; kind <= DAYBOOK_LIST_TYPES; kind++)
        FUZZ_CHECK(daybook_list(store, kind, daybook_text(""), daybook_text(""), visit_entry, NULL, NULL) ==
                   DAYBOOK_OK);
    (void)daybook_stream_list(store, visit_stream, NULL, NULL);
    daybook_error error;
    daybook_error_init(&error);
    if (append(store, "orders.1.more", &error) != DAYBOOK_OK) FUZZ_CHECK(error.message[0] != '\0');
    if (daybook_flush(store, &error) != DAYBOOK_OK) FUZZ_CHECK(error.message[0] != '\0');
    (void)read_all(store, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    daybook_vfs *vfs = NULL;
    FUZZ_CHECK(dbk_memory_vfs_new(dbk_allocator_default(), &vfs) == DAYBOOK_OK);
    make_store(vfs);
    uint8_t *payload = malloc(size - 1);
    FUZZ_CHECK(payload != NULL);
    memcpy(payload, data + 1, size - 1);
    put_right(payload, size - 1, data[0]);
    add_group(vfs, daybook_bytes(payload, size - 1));
    free(payload);
    for (int round = 0; round < 2; round++) {
        daybook_store *store = NULL;
        daybook_error error;
        daybook_error_init(&error);
        if (open_store(vfs, &store, &error) != DAYBOOK_OK) {
            FUZZ_CHECK(error.message[0] != '\0');
            break;
        }
        use_store(store);
        (void)daybook_close(store, NULL);
    }
    dbk_memory_vfs_free(vfs);
    return 0;
}
