// SPDX-License-Identifier: Apache-2.0
// INFO as clients parse it, and log lines as suites look for them.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <dirent.h>
#include <fcntl.h>

#include <cmocka.h>

#include "broker/info.h"
#include "broker/log.h"
#include "lib/fault_allocator.h"

static void info_holds_what_is_known(void **unused) {
    (void)unused;
    dbk_buf line;
    dbk_buf_init(&line, dbk_allocator_default(), 4096);
    dbk_info info = {.server_id = "NABC",
                     .server_name = "mine",
                     .version = "2.9.25",
                     .host = "0.0.0.0",
                     .port = 4222,
                     .headers = true,
                     .payload_max = 1048576,
                     .client_id = 7,
                     .client_ip = "127.0.0.1"};
    dbk_info_write(&line, &info);
    dbk_buf_append_u8(&line, 0);
    assert_string_equal(
        (char *)line.data,
        "INFO {\"server_id\":\"NABC\",\"server_name\":\"mine\",\"version\":\"2.9.25\",\"proto\":1,"
        "\"go\":\"none\",\"host\":\"0.0.0.0\",\"port\":4222,\"headers\":true,\"max_payload\":1048576,"
        "\"client_id\":7,\"client_ip\":\"127.0.0.1\"} \r\n");
    dbk_buf_reset(&line);
    info.auth_required = info.tls_required = info.tls_verify = info.jetstream = info.lame_duck = true;
    info.nonce = "n0nce";
    info.api_level = 2;
    dbk_info_write(&line, &info);
    dbk_buf_append_u8(&line, 0);
    assert_non_null(
        strstr((char *)line.data, "\"auth_required\":true,\"tls_required\":true,\"tls_verify\":true"));
    assert_non_null(strstr((char *)line.data, "\"jetstream\":true"));
    assert_non_null(strstr((char *)line.data, "\"nonce\":\"n0nce\",\"ldm\":true,\"api_lvl\":2} \r\n"));
    dbk_buf_deinit(&line);
}

static void texts_are_escaped(void **unused) {
    (void)unused;
    dbk_buf line;
    dbk_buf_init(&line, dbk_allocator_default(), 4096);
    dbk_info info = {.server_name = "a\"b<\xff"};
    dbk_info_write(&line, &info);
    dbk_buf_append_u8(&line, 0);
    assert_non_null(strstr((char *)line.data, "\"server_name\":\"a\\\"b\\u003c\\ufffd\","));
    dbk_buf_deinit(&line);
}

typedef struct lines {
    unsigned count;
    int level;
    char last[DBK_LOG_LINE_MAX];
} lines;

static void take(void *context, int level, daybook_slice line) {
    lines *l = context;
    l->count++;
    l->level = level;
    assert_true(line.size < sizeof l->last);
    memcpy(l->last, line.data, line.size);
    l->last[line.size] = '\0';
}

/// "[123] 2026/01/02 03:04:05.000000 [INF] text"
static void assert_line(const char *line, const char *level, const char *text) {
    long process;
    int year, month, day, hour, minute, second, fraction, end = 0;
    char word[4];
    int found = sscanf(line, "[%ld] %4d/%2d/%2d %2d:%2d:%2d.%6d [%3s] %n", &process, &year, &month, &day,
                       &hour, &minute, &second, &fraction, word, &end);
    assert_int_equal(found, 9);
    assert_string_equal(word, level);
    assert_string_equal(line + end, text);
}

static void lines_are_as_nats_writes_them(void **unused) {
    (void)unused;
    lines l = {0};
    dbk_log *log;
    assert_int_equal(dbk_log_new(dbk_allocator_default(), daybook_vfs_posix(), take, &l, &log), DAYBOOK_OK);
    dbk_log_write(log, DAYBOOK_SERVER_LOG_INFO, "Listening for client connections on %s:%d", "0.0.0.0", 4222);
    assert_line(l.last, "INF", "Listening for client connections on 0.0.0.0:4222");
    assert_int_equal(l.level, DAYBOOK_SERVER_LOG_INFO);
    dbk_log_write(log, DAYBOOK_SERVER_LOG_FATAL, "no");
    assert_line(l.last, "FTL", "no");
    dbk_log_write(log, DAYBOOK_SERVER_LOG_DEBUG, "not wanted");
    assert_int_equal(l.count, 2);
    dbk_log_options options = {.debug = true, .time = false};
    assert_int_equal(dbk_log_configure(log, &options, NULL), DAYBOOK_OK);
    dbk_log_write(log, DAYBOOK_SERVER_LOG_DEBUG, "wanted");
    assert_non_null(strstr(l.last, "] [DBG] wanted"));
    dbk_log_write(log, DAYBOOK_SERVER_LOG_TRACE, "not wanted");
    assert_int_equal(l.count, 3);
    dbk_log_free(log);
}

static void a_client_cannot_forge_a_line(void **unused) {
    (void)unused;
    lines l = {0};
    dbk_log *log;
    assert_int_equal(dbk_log_new(dbk_allocator_default(), daybook_vfs_posix(), take, &l, &log), DAYBOOK_OK);
    dbk_log_write(log, DAYBOOK_SERVER_LOG_ERROR, "%s", "a\r\n[1] [INF] b\x1b[31m");
    assert_line(l.last, "ERR", "a  [1] [INF] b?[31m");

    char *large = malloc(2 * DBK_LOG_LINE_MAX);
    assert_non_null(large);
    memset(large, 'x', 2 * DBK_LOG_LINE_MAX - 1);
    large[2 * DBK_LOG_LINE_MAX - 1] = '\0';
    dbk_log_write(log, DAYBOOK_SERVER_LOG_ERROR, "%s", large);
    assert_in_range(strlen(l.last), DBK_LOG_LINE_MAX - 10, DBK_LOG_LINE_MAX - 1);
    free(large);
    dbk_log_free(log);
}

static size_t read_back(const char *path, char *out, size_t size) {
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0;
    size_t got = fread(out, 1, size - 1, file);
    out[got] = '\0';
    fclose(file);
    return got;
}

static void a_log_file_is_appended_to_and_reopened(void **unused) {
    (void)unused;
    char path[] = "server-log-XXXXXX", aside[64], text[8192];
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    (void)snprintf(aside, sizeof aside, "%s.1", path);
    lines l = {0};
    dbk_log *log;
    assert_int_equal(dbk_log_new(dbk_allocator_default(), daybook_vfs_posix(), take, &l, &log), DAYBOOK_OK);
    dbk_log_options options = {.time = true, .file = path};
    assert_int_equal(dbk_log_configure(log, &options, NULL), DAYBOOK_OK);
    dbk_log_write(log, DAYBOOK_SERVER_LOG_INFO, "one");
    dbk_log_write(log, DAYBOOK_SERVER_LOG_INFO, "two");
    assert_int_equal(rename(path, aside), 0);
    dbk_log_write(log, DAYBOOK_SERVER_LOG_INFO, "three");
    dbk_log_reopen(log);
    dbk_log_write(log, DAYBOOK_SERVER_LOG_INFO, "four");
    dbk_log_free(log);
    assert_int_equal(l.count, 0);
    assert_true(read_back(aside, text, sizeof text) > 0);
    assert_non_null(strstr(text, "[INF] one\n"));
    assert_non_null(strstr(text, "[INF] three\n"));
    assert_null(strstr(text, "four"));
    assert_true(read_back(path, text, sizeof text) > 0);
    assert_non_null(strstr(text, "[INF] four\n"));
    (void)remove(path);
    (void)remove(aside);
}

/// Counts files in a folder whose names begin so, and removes them where that is wanted.
static unsigned count_files(const char *folder, const char *name, bool remove_them) {
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    unsigned count = 0;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        if (strncmp(entry->d_name, name, strlen(name)) != 0) continue;
        count++;
        if (remove_them) assert_int_equal(unlinkat(dirfd(directory), entry->d_name, 0), 0);
    }
    closedir(directory);
    return count;
}

static void old_log_files_go(void **unused) {
    (void)unused;
    char folder[] = "server-logs-XXXXXX", path[64], other[64], text[8192];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/a.log", folder);
    (void)snprintf(other, sizeof other, "%s/a.log.2026.01.02.notes", folder); // not one of ours
    fclose(fopen(other, "w"));
    lines l = {0};
    dbk_log *log;
    assert_int_equal(dbk_log_new(dbk_allocator_default(), daybook_vfs_posix(), take, &l, &log), DAYBOOK_OK);
    dbk_log_options options = {.time = true, .file = path, .file_bytes_max = 60};
    assert_int_equal(dbk_log_configure(log, &options, NULL), DAYBOOK_OK);
    for (int i = 0; i < 30; i++) dbk_log_write(log, DAYBOOK_SERVER_LOG_INFO, "line %d", i);
    assert_int_equal(count_files(folder, "a.log", false), 31); // each line is a file
    // With a bound what is too much goes, little by little, the oldest first.
    options.file_count_max = 3;
    assert_int_equal(dbk_log_configure(log, &options, NULL), DAYBOOK_OK);
    for (int i = 30; i < 34; i++) dbk_log_write(log, DAYBOOK_SERVER_LOG_INFO, "line %d", i);
    assert_int_equal(count_files(folder, "a.log", false), 3 + 1);
    dbk_log_free(log);
    assert_true(read_back(path, text, sizeof text) > 0);
    assert_non_null(strstr(text, "line 33\n"));
    assert_int_equal(count_files(folder, "a.log", true), 4);
    assert_int_equal(rmdir(folder), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(info_holds_what_is_known),
        cmocka_unit_test(texts_are_escaped),
        cmocka_unit_test(lines_are_as_nats_writes_them),
        cmocka_unit_test(a_client_cannot_forge_a_line),
        cmocka_unit_test(a_log_file_is_appended_to_and_reopened),
        cmocka_unit_test(old_log_files_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
