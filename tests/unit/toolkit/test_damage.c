// SPDX-License-Identifier: Apache-2.0
// State from damaged files: whatever byte of a segment is flipped, a state is right or there is none; whatever
// byte of the manifest is, it is right.
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>

#include "fixture.h"

static const char expected[] = "{\"name\":\"ada\",\"n\":40}";

static void fill(fixture *store) {
    for (int n = 1; n <= 40; n++) {
        char data[64];
        (void)snprintf(data, sizeof data, "{\"name\":\"ada\",\"n\":%d}", n);
        fixture_append(store, "orders.1.step", data, NULL);
        if (n % 10 == 0)
            assert_ok(store, daybook_snapshot_take(daybook_store_engine(store->store),
                                                   daybook_text("orders.1"), NULL, &store->error));
    }
}

// 1 where the state is right, 0 where the store says that it is damaged.
static int check_state(const char *path) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.flags = DAYBOOK_OPEN_READ_ONLY;
    daybook_store *store = NULL;
    daybook_status status = daybook_open(path, &options, &store, &error);
    if (status != DAYBOOK_OK) {
        assert_true(strlen(error.message) > 0);
        return 0;
    }
    int is_right = 1;
    daybook_state *state = NULL;
    status = daybook_state_load(daybook_store_engine(store), daybook_text("orders.1"), NULL, &state, &error);
    if (status == DAYBOOK_OK) {
        assert_string_equal(state->json, expected);
        assert_int_equal(state->version, 40);
    } else {
        is_right = 0;
        if (status != DAYBOOK_EDAMAGED && status != DAYBOOK_EFORMAT && status != DAYBOOK_EFOREIGN)
            fail_msg("%s: %s", daybook_status_name(status), error.message);
    }
    daybook_state_release(state);
    (void)daybook_close(store, NULL);
    return is_right;
}

static void flip(FILE *file, long offset) {
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_true(byte != EOF);
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    assert_true(fputc(byte ^ 0x41, file) != EOF);
    assert_int_equal(fflush(file), 0);
}

typedef struct outcome {
    int right_count;
    int damaged_count;
} outcome;

static void check_file(const char *directory, const char *name, outcome *seen) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    for (long offset = 0; offset < size; offset += size / 150 + 1) {
        flip(file, offset);
        if (check_state(directory))
            seen->right_count++;
        else
            seen->damaged_count++;
        flip(file, offset);
    }
    (void)fclose(file);
}

static void a_state_from_damaged_files_is_right_or_refused(void **context) {
    fixture *store = *context;
    if (store->is_memory) skip();
    fill(store);
    assert_ok(store, daybook_flush(store->store, &store->error)); // segments in every kind of store
    fixture_reopen(store);
    assert_ok(store, daybook_close(store->store, &store->error));
    DIR *directory = opendir(store->path);
    assert_non_null(directory);
    outcome segments = {0};
    outcome manifests = {0};
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        if (strncmp(entry->d_name, "segment", 7) == 0) check_file(store->path, entry->d_name, &segments);
        if (strncmp(entry->d_name, "manifest", 8) == 0) check_file(store->path, entry->d_name, &manifests);
    }
    (void)closedir(directory);
    print_message("segments: %d right, %d refused; manifests: %d right, %d refused\n", segments.right_count,
                  segments.damaged_count, manifests.right_count, manifests.damaged_count);
    assert_true(segments.right_count > 0);
    assert_true(segments.damaged_count > 0);
    assert_true(manifests.right_count > 0);
    assert_int_equal(manifests.damaged_count, 0); // there are two copies of it
    assert_int_equal(check_state(store->path), 1);
    assert_ok(store, daybook_open(store->path, NULL, &store->store, &store->error));
}

int main(void) {
    const struct CMUnitTest tests[] = {FIXTURE_TEST(a_state_from_damaged_files_is_right_or_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
