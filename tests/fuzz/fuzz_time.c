// SPDX-License-Identifier: Apache-2.0
// Times, durations, numbers and UUIDs as text: what is parsed prints as something that parses to the same.
#include "base/number.h"
#include "base/uuid.h"
#include "daybook/time.h"
#include "fuzz.h"

static void check_time(dbk_slice text) {
    int64_t time_ns = 0;
    if (daybook_time_parse(text, INT64_C(1700000000000000000), &time_ns) != DAYBOOK_OK) return;
    char printed[DAYBOOK_TIME_TEXT_SIZE];
    size_t size = daybook_time_format(time_ns, printed);
    FUZZ_CHECK(size == strlen(printed) && size == 30);
    int64_t again_ns = 0;
    FUZZ_CHECK(daybook_time_parse(daybook_bytes(printed, size), 0, &again_ns) == DAYBOOK_OK);
    FUZZ_CHECK(again_ns == time_ns);
}

static void check_uuid(dbk_slice text) {
    dbk_uuid uuid;
    if (!dbk_uuid_parse(text, &uuid)) return;
    char printed[37];
    dbk_uuid_format(&uuid, printed);
    FUZZ_CHECK(dbk_slice_equal(text, daybook_text(printed)));
    int64_t time_ns = 0;
    (void)dbk_uuid_v7_time_ns(&uuid, &time_ns);
}

static void check_go_duration(dbk_slice text) {
    int64_t duration_ns, again_ns;
    if (!dbk_go_duration_parse(text, &duration_ns)) return;
    char printed[DBK_GO_DURATION_TEXT_SIZE];
    size_t size = dbk_go_duration_format(duration_ns, printed);
    FUZZ_CHECK(size < sizeof printed && size == strlen(printed));
    FUZZ_CHECK(dbk_go_duration_parse(daybook_bytes(printed, size), &again_ns) && again_ns == duration_ns);
}

static void check_decimal(dbk_slice text) {
    uint64_t number, again;
    int64_t signed_number;
    char printed[DBK_DECIMAL_SIZE_MAX];
    if (dbk_decimal_parse(text, &number)) {
        size_t size = dbk_decimal_format(number, printed);
        FUZZ_CHECK(size <= text.size && dbk_decimal_parse(daybook_bytes(printed, size), &again) &&
                   again == number);
        FUZZ_CHECK(dbk_decimal_parse_signed(text, &signed_number) == (number <= INT64_MAX));
    } else if (dbk_decimal_parse_signed(text, &signed_number)) {
        FUZZ_CHECK(*(const char *)text.data == '-' && signed_number <= 0);
    }
}

static void check_number(const uint8_t *data, size_t size) {
    if (size < sizeof(int64_t)) return;
    int64_t time_ns = (int64_t)dbk_get_u64(data);
    char printed[DAYBOOK_TIME_TEXT_SIZE];
    FUZZ_CHECK(daybook_time_format(time_ns, printed) == strlen(printed));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dbk_slice text = daybook_bytes(data, size);
    check_time(text);
    check_uuid(text);
    check_go_duration(text);
    check_decimal(text);
    check_number(data, size);
    int64_t duration_ns = -1;
    if (daybook_duration_parse(text, &duration_ns) == DAYBOOK_OK) FUZZ_CHECK(duration_ns >= 0);
    (void)dbk_is_utf8(text);
    (void)dbk_is_plain_text(text);
    return 0;
}
