// SPDX-License-Identifier: Apache-2.0
// Events as bytes: input is a body as it would stand in a journal or segment. What decodes has slices within
// the body, and what is also valid for a producer encodes to an event that says the same.
#include "fuzz.h"
#include "record/event.h"

static dbk_slice walk_texts(dbk_slice encoded, uint32_t count, dbk_slice *texts_out, uint32_t capacity) {
    dbk_slice text;
    uint32_t seen = 0;
    while (dbk_event_next_text(&encoded, &text)) {
        fuzz_touch(text);
        if (seen < capacity) texts_out[seen] = text;
        seen++;
    }
    FUZZ_CHECK(seen == count);
    return encoded;
}

static dbk_slice text_of(dbk_slice key, char scratch[37]) {
    dbk_slice text = dbk_key_text(key, scratch);
    uint8_t again[DBK_KEY_SIZE_MAX];
    fuzz_touch(text);
    if (text.size >= 1 && text.size <= DAYBOOK_TEXT_SIZE_MAX)
        FUZZ_CHECK(dbk_slice_equal(dbk_key_encode(text, again), key));
    return text;
}

static void check_encoding(const dbk_event *decoded, const daybook_event *event) {
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), DBK_EVENT_BODY_SIZE_MAX);
    FUZZ_CHECK(dbk_event_body_size_bound(event) <= DBK_EVENT_BODY_SIZE_MAX);
    daybook_status status = dbk_event_encode_body(event, decoded->aggregate_size,
                                                  (const uint8_t *)"0123456789abcdef", &buf, NULL);
    FUZZ_CHECK(status == DAYBOOK_OK);
    FUZZ_CHECK(buf.size <= dbk_event_body_size_bound(event));
    dbk_event again = *decoded;
    FUZZ_CHECK(dbk_event_decode_body(daybook_bytes(buf.data, buf.size), &again) == DAYBOOK_OK);
    FUZZ_CHECK(dbk_event_same_content(decoded, &again));
    FUZZ_CHECK(dbk_event_cost(decoded) == dbk_event_cost(&again));
    dbk_buf_deinit(&buf);
}

static void check_event(const dbk_event *decoded) {
    static dbk_slice tags[DAYBOOK_TAG_COUNT_MAX];
    static dbk_slice texts[2 * DAYBOOK_HEADER_COUNT_MAX];
    static daybook_header headers[DAYBOOK_HEADER_COUNT_MAX];
    char scratch[3][37];
    daybook_event event;
    daybook_event_init(&event);
    event.subject = decoded->subject;
    event.data = decoded->data;
    event.type = decoded->type;
    event.schema = decoded->schema;
    event.actor = decoded->actor;
    event.id = text_of(decoded->id_key, scratch[0]);
    event.correlation = text_of(decoded->correlation_key, scratch[1]);
    event.causation = text_of(decoded->causation_key, scratch[2]);
    event.time_ns = decoded->time_ns;
    walk_texts(decoded->tags, decoded->tag_count, tags, DAYBOOK_TAG_COUNT_MAX);
    walk_texts(decoded->headers, 2 * decoded->header_count, texts, 2 * DAYBOOK_HEADER_COUNT_MAX);
    fuzz_touch(dbk_event_type(decoded));
    fuzz_touch(dbk_event_aggregate(decoded));
    fuzz_touch(decoded->data);
    FUZZ_CHECK(dbk_event_same_content(decoded, decoded));
    if (decoded->tag_count > DAYBOOK_TAG_COUNT_MAX || decoded->header_count > DAYBOOK_HEADER_COUNT_MAX)
        return;
    for (uint32_t i = 0; i < decoded->tag_count; i++) FUZZ_CHECK(dbk_event_has_tag(decoded, tags[i]));
    for (uint32_t i = 0; i < decoded->header_count; i++) {
        headers[i].name = texts[2 * i];
        headers[i].value = texts[2 * i + 1];
    }
    event.tags = tags;
    event.tag_count = decoded->tag_count;
    event.headers = headers;
    event.header_count = decoded->header_count;
    daybook_error error;
    daybook_error_init(&error);
    if (dbk_event_validate(&event, 0, &error) == DAYBOOK_OK)
        check_encoding(decoded, &event);
    else
        FUZZ_CHECK(error.message[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dbk_event event;
    memset(&event, 0, sizeof event);
    event.recorded_ns = INT64_C(1700000000000000000);
    event.stream_id = 1;
    event.position = event.seq = event.version = 1;
    if (dbk_event_decode_body(daybook_bytes(data, size), &event) == DAYBOOK_OK) check_event(&event);
    return 0;
}
