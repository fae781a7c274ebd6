// SPDX-License-Identifier: Apache-2.0
// Events to bytes and back: chosen cases, random ones, and decoders given mutated bytes.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/uuid.h"
#include "record/record.h"
#include "subject/subject.h"

static uint64_t random_state;

static uint64_t next_random(void) { // splitmix64
    uint64_t mixed = random_state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

static uint64_t random_below(uint64_t bound) {
    return next_random() % bound;
}

static const uint8_t made_id[16] = {1, 2, 3, 4, 5, 6, 0x70, 7, 0x80, 8, 9, 10, 11, 12, 13, 14};
static const char uuid_text[] = "0190163d-8694-739b-aea5-966c26f8ad90";

static dbk_event decoded(const dbk_buf *buf) {
    dbk_event event = {.recorded_ns = 1234};
    assert_int_equal(dbk_event_decode_body(daybook_bytes(buf->data, buf->size), &event), DAYBOOK_OK);
    return event;
}

static void assert_text(dbk_slice slice, const char *text) {
    assert_int_equal(slice.size, strlen(text));
    if (slice.size > 0) assert_memory_equal(slice.data, text, slice.size);
}

static void encode(const daybook_event *event, dbk_buf *buf, size_t *id_offset) {
    uint32_t aggregate_size = (uint32_t)dbk_subject_aggregate_size(event->subject, 2);
    size_t before = buf->size;
    dbk_event_layout layout;
    assert_int_equal(dbk_event_validate(event, 0, NULL), DAYBOOK_OK);
    assert_int_equal(dbk_event_encode_body(event, aggregate_size, made_id, buf, &layout), DAYBOOK_OK);
    // What the layout says is what decoding finds.
    dbk_event back = {.recorded_ns = 1234};
    const uint8_t *body = buf->data + before;
    assert_int_equal(dbk_event_decode_body(daybook_bytes(body, buf->size - before), &back), DAYBOOK_OK);
    assert_ptr_equal(back.id_key.data, body + layout.id_offset);
    assert_int_equal(back.id_key.size, layout.id_size);
    assert_ptr_equal(back.subject.data, body + layout.subject_offset);
    assert_int_equal(dbk_event_cost(&back), layout.cost);
    if (id_offset != NULL) *id_offset = layout.id_offset;
    assert_true(buf->size - before <= dbk_event_body_size_bound(event));
}

static void key_of_a_uuid_has_17_bytes_and_gives_its_text_back(void **state) {
    (void)state;
    uint8_t scratch[DBK_KEY_SIZE_MAX];
    char text[37];
    dbk_slice key = dbk_key_encode(daybook_text(uuid_text), scratch);
    assert_int_equal(key.size, 17);
    assert_text(dbk_key_text(key, text), uuid_text);
}

static void key_of_other_texts_is_the_text(void **state) {
    (void)state;
    static const char *const texts[] = {
        "x",
        "order-17",
        "0190163D-8694-739b-aea5-966c26f8ad90",
        "0190163d-8694-739b-aea5-966c26f8ad9g",
        "0190163d08694-739b-aea5-966c26f8ad90",
        "ünï",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        uint8_t scratch[DBK_KEY_SIZE_MAX];
        char text[37];
        dbk_slice key = dbk_key_encode(daybook_text(texts[i]), scratch);
        assert_int_equal(key.size, 1 + strlen(texts[i]));
        assert_text(dbk_key_text(key, text), texts[i]);
    }
    uint8_t scratch[DBK_KEY_SIZE_MAX];
    assert_int_equal(dbk_key_encode(daybook_text(""), scratch).size, 0);
}

static void key_agrees_with_the_uuid_parser_on_every_changed_character(void **state) {
    (void)state;
    for (size_t at = 0; at < 36; at++) {
        for (int character = 0; character < 256; character++) {
            char text[37];
            memcpy(text, uuid_text, sizeof text);
            text[at] = (char)character;
            uint8_t scratch[DBK_KEY_SIZE_MAX];
            dbk_uuid uuid;
            bool is_uuid = dbk_uuid_parse(daybook_bytes(text, 36), &uuid);
            dbk_slice key = dbk_key_encode(daybook_bytes(text, 36), scratch);
            assert_int_equal(key.size, is_uuid ? 17 : 37);
            if (is_uuid) assert_memory_equal(scratch + 1, uuid.bytes, 16);
        }
    }
}

static void smallest_event_round_trips(void **state) {
    (void)state;
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 1 << 20);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("a");
    size_t id_offset = 0;
    encode(&event, &buf, &id_offset);
    dbk_event back = decoded(&buf);
    assert_text(back.subject, "a");
    assert_int_equal(back.aggregate_size, 0);
    assert_int_equal(back.flags, DBK_EVENT_ID_MADE);
    assert_int_equal(back.id_key.size, 17);
    assert_memory_equal((const uint8_t *)back.id_key.data + 1, made_id, 16);
    assert_ptr_equal(back.id_key.data, buf.data + id_offset);
    assert_int_equal(back.time_ns, 1234);
    assert_int_equal(back.data.size, 0);
    assert_int_equal(back.body.size, buf.size);
    assert_text(dbk_event_type(&back), "a");
    assert_int_equal(dbk_event_cost(&back), 41);
    dbk_buf_deinit(&buf);
}

static void full_event_round_trips_with_tags_sorted_and_single(void **state) {
    (void)state;
    static const daybook_header headers[] = {
        {{"Traceparent", 11}, {"00-abc", 6}}, {{"x", 1}, {NULL, 0}}, {{"X", 1}, {"second", 6}}};
    daybook_slice tags[] = {daybook_text("course:7"), daybook_text("a"), daybook_text("course:7"),
                            daybook_text("aa"), daybook_text("a")};
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 1 << 20);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.123.item.added");
    event.data = daybook_text("{\"n\":1}");
    event.id = daybook_text("my-id");
    event.type = daybook_text("ItemAdded");
    event.schema = daybook_text("1.2.0");
    event.correlation = daybook_text(uuid_text);
    event.causation = daybook_text("cause");
    event.actor = daybook_text("ann");
    event.time_ns = -5;
    event.tags = tags;
    event.tag_count = 5;
    event.headers = headers;
    event.header_count = 3;
    encode(&event, &buf, NULL);
    dbk_event back = decoded(&buf);
    char scratch[37];
    assert_text(back.subject, "orders.123.item.added");
    assert_text(dbk_event_aggregate(&back), "orders.123");
    assert_text(dbk_event_type(&back), "ItemAdded");
    assert_text(back.schema, "1.2.0");
    assert_text(back.actor, "ann");
    assert_text(dbk_key_text(back.id_key, scratch), "my-id");
    assert_text(dbk_key_text(back.causation_key, scratch), "cause");
    assert_text(dbk_key_text(back.correlation_key, scratch), uuid_text);
    assert_int_equal(back.time_ns, -5);
    assert_text(back.data, "{\"n\":1}");
    assert_int_equal(back.tag_count, 3);
    dbk_slice left = back.tags;
    dbk_slice text;
    static const char *const sorted[] = {"a", "aa", "course:7"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(dbk_event_next_text(&left, &text));
        assert_text(text, sorted[i]);
    }
    assert_false(dbk_event_next_text(&left, &text));
    assert_true(dbk_event_has_tag(&back, daybook_text("aa")));
    assert_false(dbk_event_has_tag(&back, daybook_text("course")));
    left = back.headers;
    for (size_t i = 0; i < event.header_count; i++) {
        assert_true(dbk_event_next_text(&left, &text));
        assert_true(dbk_slice_equal(text, headers[i].name));
        assert_true(dbk_event_next_text(&left, &text));
        assert_true(dbk_slice_equal(text, headers[i].value));
    }
    assert_false(dbk_event_next_text(&left, &text));
    dbk_buf_deinit(&buf);
}

static void derived_type_is_what_follows_the_aggregate(void **state) {
    (void)state;
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 1 << 20);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("issues.7.issue.state.changed");
    encode(&event, &buf, NULL);
    dbk_event back = decoded(&buf);
    assert_text(dbk_event_type(&back), "issue.state.changed");
    dbk_buf_deinit(&buf);
}

static void time_of_a_made_id_is_set_in_place(void **state) {
    (void)state;
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 1 << 20);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("a.b.c");
    size_t id_offset = 0;
    encode(&event, &buf, &id_offset);
    dbk_event_set_id_time(buf.data, id_offset, INT64_C(1700000000123456789));
    dbk_event back = decoded(&buf);
    dbk_uuid uuid;
    memcpy(uuid.bytes, (const uint8_t *)back.id_key.data + 1, 16);
    int64_t time_ns = 0;
    assert_true(dbk_uuid_v7_time_ns(&uuid, &time_ns));
    assert_true(time_ns == INT64_C(1700000000123000000));
    dbk_buf_deinit(&buf);
}

static void stored_form_round_trips(void **state) {
    (void)state;
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 1 << 20);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("a.b.c");
    event.data = daybook_text("data");
    uint8_t *head = dbk_buf_reserve(&buf, DBK_EVENT_HEAD_SIZE);
    assert_non_null(head);
    buf.size += DBK_EVENT_HEAD_SIZE;
    encode(&event, &buf, NULL);
    dbk_event assigned = {.stream_id = 7,
                          .position = UINT64_MAX,
                          .seq = 9,
                          .version = 10,
                          .recorded_ns = INT64_C(1700000000000000000)};
    dbk_event_encode_head(buf.data, &assigned, buf.size - DBK_EVENT_HEAD_SIZE);
    dbk_event back;
    assert_int_equal(dbk_event_decode(daybook_bytes(buf.data, buf.size), &back), DAYBOOK_OK);
    assert_int_equal(back.stream_id, 7);
    assert_true(back.position == UINT64_MAX);
    assert_int_equal(back.seq, 9);
    assert_int_equal(back.version, 10);
    assert_true(back.recorded_ns == assigned.recorded_ns);
    assert_true(back.time_ns == assigned.recorded_ns);
    assert_text(back.data, "data");
    dbk_record_kind kind;
    size_t size = 0;
    assert_int_equal(dbk_record_peek(daybook_bytes(buf.data, buf.size), &kind, &size), DAYBOOK_OK);
    assert_int_equal(kind, DBK_RECORD_EVENT);
    assert_int_equal(size, buf.size);
    assert_int_equal(dbk_event_decode(daybook_bytes(buf.data, buf.size - 1), &back), DAYBOOK_EDAMAGED);
    dbk_buf_deinit(&buf);
}

static void same_content_ignores_id_and_a_missing_time(void **state) {
    (void)state;
    dbk_buf a;
    dbk_buf b;
    dbk_buf_init(&a, dbk_allocator_default(), 1 << 20);
    dbk_buf_init(&b, dbk_allocator_default(), 1 << 20);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("a.b.c");
    event.data = daybook_text("data");
    encode(&event, &a, NULL);
    event.id = daybook_text("x");
    event.time_ns = 5;
    encode(&event, &b, NULL);
    dbk_event event_a = decoded(&a);
    dbk_event event_b = decoded(&b);
    assert_true(dbk_event_same_content(&event_a, &event_b));
    dbk_buf_reset(&a);
    event.time_ns = 6;
    encode(&event, &a, NULL);
    event_a = decoded(&a);
    assert_false(dbk_event_same_content(&event_a, &event_b));
    dbk_buf_reset(&a);
    event.time_ns = 5;
    encode(&event, &a, NULL);
    event_a = decoded(&a);
    assert_true(dbk_event_same_content(&event_a, &event_b));
    dbk_buf_reset(&a);
    event.data = daybook_text("datb");
    encode(&event, &a, NULL);
    event_a = decoded(&a);
    assert_false(dbk_event_same_content(&event_a, &event_b));
    dbk_buf_deinit(&a);
    dbk_buf_deinit(&b);
}

// ---- Random events ----

typedef struct random_event {
    daybook_event event;
    daybook_slice tags[DAYBOOK_TAG_COUNT_MAX];
    daybook_header headers[DAYBOOK_HEADER_COUNT_MAX];
    char text[1 << 20];
    size_t used;
} random_event;

static daybook_slice random_text(random_event *made, size_t size_min, size_t size_max) {
    size_t size = size_min + random_below(random_below(8) == 0 ? size_max - size_min + 1 : 12);
    if (size > size_max) size = size_max;
    char *text = made->text + made->used;
    for (size_t i = 0; i < size; i++) text[i] = (char)('a' + random_below(26));
    made->used += size;
    return daybook_bytes(text, size);
}

static daybook_slice random_id(random_event *made) {
    if (random_below(3) == 0) return random_text(made, 1, DAYBOOK_TEXT_SIZE_MAX);
    dbk_uuid uuid;
    uint64_t half[2] = {next_random(), next_random()};
    memcpy(uuid.bytes, half, 16);
    char *text = made->text + made->used;
    dbk_uuid_format(&uuid, text);
    made->used += 37;
    return daybook_bytes(text, 36);
}

static daybook_slice random_subject(random_event *made) {
    daybook_slice subject = random_text(made, 1, DAYBOOK_SUBJECT_SIZE_MAX);
    char *text = made->text + made->used - subject.size;
    for (size_t i = 1; i + 1 < subject.size; i++) {
        if (text[i - 1] != '.' && random_below(4) == 0) text[i] = '.';
    }
    return subject;
}

static void make_random_event(random_event *made) {
    made->used = 0;
    daybook_event *event = &made->event;
    daybook_event_init(event);
    event->subject = random_subject(made);
    event->data = random_text(made, 0, 5000);
    if (random_below(2)) event->id = random_id(made);
    if (random_below(2)) event->type = random_text(made, 1, DAYBOOK_TEXT_SIZE_MAX);
    if (random_below(2)) event->schema = random_text(made, 1, DAYBOOK_TEXT_SIZE_MAX);
    if (random_below(2)) event->correlation = random_id(made);
    if (random_below(2)) event->causation = random_id(made);
    if (random_below(2)) event->actor = random_text(made, 1, DAYBOOK_TEXT_SIZE_MAX);
    if (random_below(2)) event->time_ns = (int64_t)next_random() >> random_below(40) >> 1;
    if (random_below(2)) event->ttl_s = (int64_t)random_below(3) - 1;
    if (random_below(4) == 0) event->ttl_s = (int64_t)(next_random() % DAYBOOK_TTL_S_MAX) + 1;
    event->tags = made->tags;
    event->tag_count = random_below(2) ? random_below(random_below(4) == 0 ? DAYBOOK_TAG_COUNT_MAX + 1 : 6)
                                       : 0;
    for (size_t i = 0; i < event->tag_count; i++) {
        made->tags[i] = i > 0 && random_below(4) == 0 ? made->tags[random_below(i)]
                                                      : random_text(made, 1, DAYBOOK_TEXT_SIZE_MAX);
    }
    event->headers = made->headers;
    event->header_count = random_below(2) ? random_below(random_below(8) == 0 ? 40 : 6) : 0;
    for (size_t i = 0; i < event->header_count; i++) {
        made->headers[i].name = random_text(made, 1, DAYBOOK_TEXT_SIZE_MAX);
        made->headers[i].value = random_text(made, 0, random_below(50) == 0 ? DAYBOOK_HEADER_SIZE_MAX : 4096);
    }
}

static void assert_slice(dbk_slice a, dbk_slice b) {
    assert_true(dbk_slice_equal(a, b));
}

static void assert_key(dbk_slice key, dbk_slice text) {
    char scratch[37];
    assert_slice(dbk_key_text(key, scratch), text);
}

static void assert_same_tags(const daybook_event *event, const dbk_event *back) {
    dbk_slice left = back->tags;
    dbk_slice text;
    dbk_slice before = {NULL, 0};
    uint32_t count = 0;
    while (dbk_event_next_text(&left, &text)) {
        assert_true(dbk_slice_compare(before, text) < 0);
        before = text;
        bool was_given = false;
        for (size_t i = 0; i < event->tag_count; i++) was_given |= dbk_slice_equal(event->tags[i], text);
        assert_true(was_given);
        count++;
    }
    assert_int_equal(count, back->tag_count);
    for (size_t i = 0; i < event->tag_count; i++) assert_true(dbk_event_has_tag(back, event->tags[i]));
}

static void assert_same_event(const daybook_event *event, const dbk_event *back) {
    assert_slice(back->subject, event->subject);
    assert_slice(back->data, event->data);
    assert_slice(back->type, event->type);
    assert_slice(back->schema, event->schema);
    assert_slice(back->actor, event->actor);
    assert_key(back->correlation_key, event->correlation);
    assert_key(back->causation_key, event->causation);
    if (event->id.size > 0) assert_key(back->id_key, event->id);
    assert_int_equal((back->flags & DBK_EVENT_ID_MADE) != 0, event->id.size == 0);
    assert_true(back->time_ns == (event->time_ns == DAYBOOK_TIME_NONE ? 1234 : event->time_ns));
    assert_true(back->ttl_s == event->ttl_s);
    assert_same_tags(event, back);
    dbk_slice left = back->headers;
    dbk_slice text;
    assert_int_equal(back->header_count, event->header_count);
    for (size_t i = 0; i < event->header_count; i++) {
        assert_true(dbk_event_next_text(&left, &text));
        assert_slice(text, event->headers[i].name);
        assert_true(dbk_event_next_text(&left, &text));
        assert_slice(text, event->headers[i].value);
    }
    assert_false(dbk_event_next_text(&left, &text));
}

static void random_events_round_trip(void **state) {
    (void)state;
    random_event *made = malloc(sizeof *made);
    assert_non_null(made);
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), DBK_EVENT_BODY_SIZE_MAX);
    for (uint64_t seed = 1; seed <= 5000; seed++) {
        random_state = seed;
        make_random_event(made);
        dbk_buf_reset(&buf);
        encode(&made->event, &buf, NULL);
        dbk_event back = decoded(&buf);
        assert_same_event(&made->event, &back);
    }
    dbk_buf_deinit(&buf);
    free(made);
}

// A decoder may refuse or accept mutated bytes; what it accepts lies within them and can be walked.
static void check_bounds(dbk_slice slice, const uint8_t *begin, size_t size) {
    const uint8_t *data = slice.data;
    if (slice.size > 0) assert_true(data >= begin && data + slice.size <= begin + size);
}

static void check_accepted(const dbk_event *event, const uint8_t *begin, size_t size) {
    const dbk_slice slices[] = {
        event->subject,         event->type,          event->schema, event->actor,   event->id_key,
        event->correlation_key, event->causation_key, event->tags,   event->headers, event->data};
    for (size_t i = 0; i < sizeof slices / sizeof slices[0]; i++) check_bounds(slices[i], begin, size);
    dbk_slice left = event->tags;
    dbk_slice text;
    uint32_t count = 0;
    while (dbk_event_next_text(&left, &text)) count++;
    assert_int_equal(count, event->tag_count);
    left = event->headers;
    count = 0;
    while (dbk_event_next_text(&left, &text)) count++;
    assert_int_equal(count, 2 * event->header_count);
    (void)dbk_event_type(event);
    char scratch[37];
    (void)dbk_key_text(event->id_key, scratch);
}

static void mutated_bytes_never_lead_outside(void **state) {
    (void)state;
    random_event *made = malloc(sizeof *made);
    assert_non_null(made);
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), DBK_EVENT_BODY_SIZE_MAX);
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        random_state = seed;
        make_random_event(made);
        dbk_buf_reset(&buf);
        encode(&made->event, &buf, NULL);
        for (int round = 0; round < 10; round++) {
            size_t size = random_below(4) == 0 ? random_below(buf.size + 1) : buf.size;
            uint8_t *copy = malloc(size + 1); // exact, so that the sanitizer sees a read behind it
            assert_non_null(copy);
            uint8_t *bytes = realloc(copy, size > 0 ? size : 1);
            assert_non_null(bytes);
            memcpy(bytes, buf.data, size);
            for (uint64_t i = random_below(4); i > 0 && size > 0; i--) {
                size_t at = random_below(2) ? random_below(size < 64 ? size : 64) : random_below(size);
                bytes[at] = (uint8_t)next_random();
            }
            dbk_event event = {0};
            if (dbk_event_decode_body(daybook_bytes(bytes, size), &event) == DAYBOOK_OK) {
                check_accepted(&event, bytes, size);
            }
            free(bytes);
        }
    }
    dbk_buf_deinit(&buf);
    free(made);
}

static void every_cut_of_the_fixed_part_is_damage(void **state) {
    (void)state;
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 1 << 20);
    daybook_slice tags[] = {daybook_text("t1"), daybook_text("t2")};
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.123.shipped");
    event.correlation = daybook_text(uuid_text);
    event.tags = tags;
    event.tag_count = 2;
    event.time_ns = 1;
    encode(&event, &buf, NULL);
    for (size_t size = 0; size < buf.size; size++) {
        dbk_event back = {0};
        assert_int_equal(dbk_event_decode_body(daybook_bytes(buf.data, size), &back), DAYBOOK_EDAMAGED);
    }
    dbk_buf_deinit(&buf);
}

static void unknown_flags_keys_and_orders_are_damage(void **state) {
    (void)state;
    dbk_buf buf;
    dbk_event back = {0};
    dbk_buf_init(&buf, dbk_allocator_default(), 1 << 20);
    // Flag 512.
    static const uint8_t unknown_flag[] = {0x80, 0x04, 2, 'T', 'x', 0, 1, 'a'};
    assert_int_equal(dbk_event_decode_body(daybook_bytes(unknown_flag, sizeof unknown_flag), &back),
                     DAYBOOK_EDAMAGED);
    static const uint8_t known[] = {0, 2, 'T', 'x', 0, 1, 'a'};
    assert_int_equal(dbk_event_decode_body(daybook_bytes(known, sizeof known), &back), DAYBOOK_OK);
    static const uint8_t unknown_key[] = {0, 2, 'X', 'x', 0, 1, 'a'};
    assert_int_equal(dbk_event_decode_body(daybook_bytes(unknown_key, sizeof unknown_key), &back),
                     DAYBOOK_EDAMAGED);
    static const uint8_t wrong_aggregate[] = {0, 2, 'T', 'x', 2, 5, 'a', '.', 'b', '.', 'c'};
    assert_int_equal(dbk_event_decode_body(daybook_bytes(wrong_aggregate, sizeof wrong_aggregate), &back),
                     DAYBOOK_EDAMAGED);
    static const uint8_t tags_out_of_order[] = {32, 2, 'T', 'x', 0, 1, 'a', 2, 1, 'b', 1, 'a'};
    assert_int_equal(dbk_event_decode_body(daybook_bytes(tags_out_of_order, sizeof tags_out_of_order), &back),
                     DAYBOOK_EDAMAGED);
    static const uint8_t many_tags[] = {32, 2, 'T', 'x', 0, 1, 'a', 0xff, 0xff, 0xff, 0x7f, 1, 'a'};
    assert_int_equal(dbk_event_decode_body(daybook_bytes(many_tags, sizeof many_tags), &back),
                     DAYBOOK_EDAMAGED);
    // A UUID written as text: a second key of the same text.
    dbk_buf_append_u8(&buf, 0);
    dbk_buf_append_u8(&buf, 37);
    dbk_buf_append_u8(&buf, 'T');
    dbk_buf_append(&buf, uuid_text, 36);
    dbk_buf_append(&buf, "\0\1a", 3);
    assert_int_equal(dbk_event_decode_body(daybook_bytes(buf.data, buf.size), &back), DAYBOOK_EDAMAGED);
    dbk_buf_deinit(&buf);
}

static void encoding_out_of_memory_leaves_the_buffer(void **state) {
    (void)state;
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 16);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("a.b.c");
    assert_int_equal(dbk_event_encode_body(&event, 3, made_id, &buf, NULL), DAYBOOK_ENOMEM);
    assert_int_equal(buf.size, 0);
    dbk_buf_deinit(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_of_a_uuid_has_17_bytes_and_gives_its_text_back),
        cmocka_unit_test(key_of_other_texts_is_the_text),
        cmocka_unit_test(key_agrees_with_the_uuid_parser_on_every_changed_character),
        cmocka_unit_test(smallest_event_round_trips),
        cmocka_unit_test(full_event_round_trips_with_tags_sorted_and_single),
        cmocka_unit_test(derived_type_is_what_follows_the_aggregate),
        cmocka_unit_test(time_of_a_made_id_is_set_in_place),
        cmocka_unit_test(stored_form_round_trips),
        cmocka_unit_test(same_content_ignores_id_and_a_missing_time),
        cmocka_unit_test(random_events_round_trip),
        cmocka_unit_test(mutated_bytes_never_lead_outside),
        cmocka_unit_test(every_cut_of_the_fixed_part_is_damage),
        cmocka_unit_test(unknown_flags_keys_and_orders_are_damage),
        cmocka_unit_test(encoding_out_of_memory_leaves_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
