// SPDX-License-Identifier: Apache-2.0
// A stream's configuration in the catalogue: what decodes and is valid encodes to the same bytes.
#include "fuzz.h"
#include "store/streams.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static dbk_slice subjects[DAYBOOK_STREAM_SUBJECT_COUNT_MAX];
    daybook_stream_config config;
    uint32_t id = 0;
    int64_t created_ns = 0;
    if (dbk_stream_decode(daybook_bytes(data, size), &id, &config, &created_ns, subjects) != DAYBOOK_OK)
        return 0;
    FUZZ_CHECK(config.subject_count <= DAYBOOK_STREAM_SUBJECT_COUNT_MAX);
    fuzz_touch(config.name);
    fuzz_touch(config.description);
    for (size_t i = 0; i < config.subject_count; i++) fuzz_touch(config.subjects[i]);
    if (dbk_stream_config_validate(&config, NULL) != DAYBOOK_OK) return 0;
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 1 << 24);
    FUZZ_CHECK(dbk_stream_encode(id, &config, created_ns, &buf) == DAYBOOK_OK);
    FUZZ_CHECK(dbk_slice_equal(daybook_bytes(buf.data, buf.size), daybook_bytes(data, size)));
    dbk_buf_deinit(&buf);
    return 0;
}
