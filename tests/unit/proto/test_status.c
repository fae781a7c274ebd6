// SPDX-License-Identifier: Apache-2.0
#include "proto/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "proto/headers.h"

static void statuses_are_header_blocks(void **state) {
    (void)state;
    for (int i = 0; i < DBK_STATUS_COUNT; i++) {
        dbk_headers headers;
        dbk_slice block = dbk_status_block((dbk_status)i), line = dbk_status_line((dbk_status)i);
        dbk_slice name, value;
        assert_true(dbk_headers_open(block, &headers));
        assert_false(dbk_headers_next(&headers, &name, &value));
        assert_false(headers.is_malformed);
        assert_in_range(headers.status, 100, 599);
        assert_int_equal(line.size, block.size - 2);
        assert_memory_equal(line.data, block.data, line.size);
    }
    assert_true(dbk_slice_equal(dbk_status_block(DBK_STATUS_NO_MESSAGES),
                                daybook_text("NATS/1.0 404 No Messages\r\n\r\n")));
    assert_true(
        dbk_slice_equal(dbk_status_block(DBK_STATUS_NO_RESPONDERS), daybook_text("NATS/1.0 503\r\n\r\n")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_are_header_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
