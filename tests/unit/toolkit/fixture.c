// SPDX-License-Identifier: Apache-2.0
#include "fixture.h"

#include "lib/folder.h"

char fixture_directory[] = "directory";
char fixture_segments[] = "segments";

static void open_store(fixture *store, unsigned flags) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.flags = flags;
    options.memtable_bytes = 1 << 20;
    options.journal_max_bytes = 4 << 20;
    assert_ok(store, daybook_open(store->path, &options, &store->store, &store->error));
}

int fixture_open(void **context) {
    fixture *store = calloc(1, sizeof *store);
    if (store == NULL) return -1;
    store->is_memory = *context == NULL;
    store->is_flushed = *context == fixture_segments;
    daybook_error_init(&store->error);
    strcpy(store->path, ":memory:");
    if (!store->is_memory && !folder_make("toolkit-test", store->path, sizeof store->path)) return -1;
    open_store(store, 0);
    fixture_add_stream(store, "ORDERS", "orders.>");
    *context = store;
    return 0;
}

int fixture_close(void **context) {
    fixture *store = *context;
    daybook_status status = daybook_close(store->store, &store->error);
    if (!store->is_memory) (void)folder_remove(store->path);
    free(store);
    return status == DAYBOOK_OK ? 0 : -1;
}

static void reopen(fixture *store, unsigned flags) {
    if (store->is_memory) return;
    if (store->is_flushed) assert_ok(store, daybook_flush(store->store, &store->error));
    assert_ok(store, daybook_close(store->store, &store->error));
    store->store = NULL;
    open_store(store, flags);
}

void fixture_reopen(fixture *store) {
    reopen(store, 0);
}

void fixture_reopen_read_only(fixture *store) {
    reopen(store, DAYBOOK_OPEN_READ_ONLY);
}

void fixture_add_stream(fixture *store, const char *name, const char *subjects) {
    daybook_slice filter = daybook_text(subjects);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &filter;
    config.subject_count = 1;
    assert_ok(store, daybook_stream_add(store->store, &config, &store->error));
}

int64_t fixture_time(const char *text) {
    int64_t time_ns = 0;
    assert_int_equal(daybook_time_parse(daybook_text(text), 0, &time_ns), DAYBOOK_OK);
    return time_ns;
}

daybook_receipt fixture_append_event(fixture *store, const daybook_event *event) {
    daybook_receipt receipt;
    memset(&receipt, 0, sizeof receipt);
    receipt.size = sizeof receipt;
    assert_ok(store, daybook_append(store->store, event, 1, NULL, &receipt, &store->error));
    return receipt;
}

daybook_receipt fixture_append(fixture *store, const char *subject, const char *data, const char *time) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text(data);
    if (time != NULL) event.time_ns = fixture_time(time);
    return fixture_append_event(store, &event);
}

void fixture_check(fixture *store, daybook_status status, daybook_status expected, const char *file,
                   int line) {
    if (status == expected) return;
    print_error("%s:%d: %s instead of %s: %s\n", file, line, daybook_status_name(status),
                daybook_status_name(expected), store->error.message);
    _fail(file, line);
}

void fixture_check_slice(daybook_slice slice, const char *text, const char *file, int line) {
    if (slice.size == strlen(text) && memcmp(slice.data, text, slice.size) == 0) return;
    print_error("%s:%d: '%.*s' instead of '%s'\n", file, line, (int)slice.size,
                slice.size == 0 ? "" : (const char *)slice.data, text);
    _fail(file, line);
}
