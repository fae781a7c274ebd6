// SPDX-License-Identifier: Apache-2.0
#include "proto/headers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

// "503 No Responders|Name=value|…|malformed" of a block.
static void read_block(dbk_slice block, char *out, size_t capacity) {
    dbk_headers headers;
    dbk_slice name, value;
    size_t size = 0;
    out[0] = '\0';
    if (!dbk_headers_open(block, &headers)) {
        assert_true(headers.is_malformed);
        assert_false(dbk_headers_next(&headers, &name, &value));
        (void)snprintf(out, capacity, "none");
        return;
    }
    if (headers.status > 0)
        size += (size_t)snprintf(out, capacity, "%u %.*s|", headers.status, (int)headers.description.size,
                                 headers.description.size == 0 ? "" : (const char *)headers.description.data);
    while (dbk_headers_next(&headers, &name, &value)) {
        size += (size_t)snprintf(out + size, capacity - size, "%.*s=%.*s|", (int)name.size,
                                 (const char *)name.data, (int)value.size,
                                 value.size == 0 ? "" : (const char *)value.data);
        assert_true(size < capacity);
    }
    assert_false(dbk_headers_next(&headers, &name, &value)); // the end stays the end
    if (headers.is_malformed) (void)snprintf(out + size, capacity - size, "malformed");
}

static void blocks_are_read(void **state) {
    (void)state;
    static const struct {
        const char *block;
        const char *expected;
    } cases[] = {
        {"NATS/1.0\r\n\r\n", ""},
        {"NATS/1.0\r\nA: b\r\n\r\n", "A=b|"},
        {"NATS/1.0\r\nA:b\r\nA:  c \t\r\nB:\r\n\r\n", "A=b|A=c|B=|"},
        {"NATS/1.0\r\nA: b: c\r\n\r\n", "A=b: c|"},
        {"NATS/1.0\r\na-B_c: \xc3\xbc\r\n\r\n", "a-B_c=\xc3\xbc|"},
        {"NATS/1.0 503\r\n\r\n", "503 |"},
        {"NATS/1.0 503 No Responders\r\nNats-Subject: a\r\n\r\n", "503 No Responders|Nats-Subject=a|"},
        {"NATS/1.0  404  No Messages  \r\n\r\n", "404 No Messages|"},
        {"NATS/1.0 \r\n\r\n", ""},
        {"", "none"},
        {"\r\n\r\n", "none"},
        {"NATS/1.0", "none"},
        {"NATS/1.0\r", "none"},
        {"NATS/1.0\n\n", "none"},
        {"NATS/2.0\r\n\r\n", "none"},
        {"nats/1.0\r\n\r\n", "none"},
        {"NATS/1.0x\r\n\r\n", "none"},
        {"NATS/1.0 50\r\n\r\n", "none"},
        {"NATS/1.0 5x3\r\n\r\n", "none"},
        {"NATS/1.0 5033\r\n\r\n", "none"},
        {"NATS/1.0 503x\r\n\r\n", "none"},
        {"A: b\r\n\r\n", "none"},
        // Lines that are none are passed over.
        {"NATS/1.0\r\n", "malformed"},
        {"NATS/1.0\r\nA: b\r\n", "A=b|malformed"},
        {"NATS/1.0\r\nA: b", "malformed"},
        {"NATS/1.0\r\nA: b\r", "malformed"},
        {"NATS/1.0\r\nA\r\nB: c\r\n\r\n", "B=c|malformed"},
        {"NATS/1.0\r\n: b\r\nB: c\r\n\r\n", "B=c|malformed"},
        {"NATS/1.0\r\nA: b\nNats-Rollup: all\r\nB: c\r\n\r\n",
         "B=c|malformed"}, // no header behind an LF alone
        {"NATS/1.0\r\nA: b\n\r\n\r\n", "malformed"},
        {"NATS/1.0\r\nA: b\r\n\r\nB: c\r\n\r\n", "A=b|malformed"},
        {"NATS/1.0\r\nA: b\r\n folded\r\n\r\n", "A=b|malformed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        size_t size = strlen(cases[i].block);
        char *copy = malloc(size + 1); // its end is where the block ends
        assert_non_null(copy);
        memcpy(copy + 1, cases[i].block, size);
        read_block(daybook_bytes(copy + 1, size), text, sizeof text);
        if (strcmp(text, cases[i].expected) != 0)
            fail_msg("case %zu gives '%s', not '%s'", i, text, cases[i].expected);
        free(copy);
    }
}

static void a_header_is_found_by_its_exact_name(void **state) {
    (void)state;
    dbk_slice block = daybook_text("NATS/1.0\r\nAb: 1\r\nA: 2\r\na: 3\r\nA: 4\r\n\r\n"), value = {0};
    assert_true(dbk_headers_find(block, daybook_text("A"), &value));
    assert_true(dbk_slice_equal(value, daybook_text("2")));
    assert_true(dbk_headers_find(block, daybook_text("a"), &value));
    assert_true(dbk_slice_equal(value, daybook_text("3")));
    assert_false(dbk_headers_find(block, daybook_text("AB"), &value));
    assert_true(dbk_slice_equal(value, daybook_text("3")));
    assert_false(dbk_headers_find(daybook_text("rubbish"), daybook_text("A"), &value));
}

static void publish_headers_are_found_in_one_pass(void **state) {
    (void)state;
    dbk_buf block;
    dbk_publish_headers headers;
    dbk_buf_init(&block, dbk_allocator_default(), 1 << 16);
    dbk_headers_begin(&block, 0, daybook_text(NULL));
    dbk_headers_add(&block, daybook_text("Nats-Msg-Idx"), daybook_text("no"));
    dbk_headers_add(&block, daybook_text("nats-msg-id"), daybook_text("no"));
    dbk_headers_add(&block, daybook_text("Nats-"), daybook_text("no"));
    for (int i = 0; i < DBK_PUBLISH_HEADER_COUNT; i++) {
        char value[16];
        (void)snprintf(value, sizeof value, "v%d", i);
        dbk_headers_add(&block, dbk_publish_header_name((dbk_publish_header)i), daybook_text(value));
        dbk_headers_add(&block, dbk_publish_header_name((dbk_publish_header)i), daybook_text("a second one"));
    }
    dbk_headers_end(&block);
    assert_int_equal(dbk_buf_status(&block), DAYBOOK_OK);
    dbk_publish_headers_read(daybook_bytes(block.data, block.size), &headers);
    assert_false(headers.is_malformed);
    for (int i = 0; i < DBK_PUBLISH_HEADER_COUNT; i++) {
        char value[16];
        (void)snprintf(value, sizeof value, "v%d", i);
        assert_true(dbk_publish_headers_have(&headers, (dbk_publish_header)i));
        assert_true(dbk_slice_equal(headers.values[i], daybook_text(value)));
    }
    dbk_buf_deinit(&block);
}

static void blocks_without_publish_headers_have_none(void **state) {
    (void)state;
    dbk_publish_headers headers;
    dbk_publish_headers_read(daybook_bytes(NULL, 0), &headers);
    assert_int_equal(headers.present, 0);
    assert_false(headers.is_malformed);
    dbk_publish_headers_read(daybook_text("NATS/1.0\r\nA: b\r\n\r\n"), &headers);
    assert_int_equal(headers.present, 0);
    assert_false(headers.is_malformed);
    dbk_publish_headers_read(daybook_text("Nats-Rollup: all\r\n\r\n"), &headers);
    assert_int_equal(headers.present, 0);
    assert_true(headers.is_malformed);
    dbk_publish_headers_read(daybook_text("NATS/1.0\r\nNats-TTL:\r\nNats-Rollup: all"), &headers);
    assert_int_equal(headers.present, UINT32_C(1) << DBK_PUBLISH_TTL);
    assert_int_equal(headers.values[DBK_PUBLISH_TTL].size, 0);
    assert_true(headers.is_malformed);
}

static void expect_buf(const dbk_buf *buf, const char *expected) {
    assert_int_equal(dbk_buf_status(buf), DAYBOOK_OK);
    assert_int_equal(buf->size, strlen(expected));
    assert_memory_equal(buf->data, expected, buf->size);
}

static void what_is_written_is_read_again(void **state) {
    (void)state;
    dbk_buf block;
    dbk_buf_init(&block, dbk_allocator_default(), 1 << 16);
    dbk_headers_begin(&block, 404, daybook_text("No Messages"));
    dbk_headers_add_number(&block, daybook_text("N"), UINT64_MAX);
    dbk_headers_end(&block);
    expect_buf(&block, "NATS/1.0 404 No Messages\r\nN: 18446744073709551615\r\n\r\n");
    dbk_buf_reset(&block);
    dbk_headers_begin(&block, 503, daybook_text(""));
    dbk_headers_end(&block);
    expect_buf(&block, "NATS/1.0 503\r\n\r\n");
    dbk_buf_deinit(&block);
}

// 100,000 headers, and as many lines that are none, take no longer than their bytes.
static void many_lines_are_read_once(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    dbk_buf block;
    dbk_publish_headers headers;
    dbk_buf_init(&block, dbk_allocator_default(), SIZE_MAX);
    dbk_headers_begin(&block, 0, daybook_text(NULL));
    for (int i = 0; i < COUNT; i++) dbk_headers_add(&block, daybook_text("N"), daybook_text(""));
    for (int i = 0; i < COUNT; i++) dbk_buf_append(&block, "N\n", 2);
    dbk_buf_append(&block, "\r\n", 2);
    dbk_headers_add(&block, daybook_text("Nats-Rollup"), daybook_text("sub"));
    dbk_headers_end(&block);
    assert_int_equal(dbk_buf_status(&block), DAYBOOK_OK);
    dbk_publish_headers_read(daybook_bytes(block.data, block.size), &headers);
    assert_true(headers.is_malformed);
    assert_true(dbk_slice_equal(headers.values[DBK_PUBLISH_ROLLUP], daybook_text("sub")));
    dbk_buf_deinit(&block);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_read),
        cmocka_unit_test(a_header_is_found_by_its_exact_name),
        cmocka_unit_test(publish_headers_are_found_in_one_pass),
        cmocka_unit_test(blocks_without_publish_headers_have_none),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(many_lines_are_read_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
