// SPDX-License-Identifier: Apache-2.0
// What decoders of events and records refuse, one contradiction after the other, in bytes made by hand; and
// each field by which events can differ.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daybook/append.h"
#include "record/event.h"
#include "record/record.h"

static const uint8_t made_id[16] = {1, 2, 3, 4, 5, 6, 0x70, 7, 0x80, 8, 9, 10, 11, 12, 13, 14};

static void sizes_and_kinds_of_no_event_are_damage(void **state) {
    (void)state;
    uint8_t bytes[DBK_EVENT_HEAD_SIZE + 7] = {0};
    dbk_event event = {0};
    memcpy(bytes + DBK_EVENT_HEAD_SIZE, "\0\2Tx\0\1a", 7);
    dbk_put_u32(bytes, (uint32_t)sizeof bytes | (uint32_t)DBK_RECORD_EVENT << 28);
    assert_int_equal(dbk_event_decode(daybook_bytes(bytes, sizeof bytes), &event), DAYBOOK_OK);
    assert_int_equal(dbk_event_decode(daybook_bytes(bytes, DBK_EVENT_HEAD_SIZE), &event), DAYBOOK_EDAMAGED);
    assert_int_equal(dbk_event_decode(daybook_bytes(bytes, sizeof bytes - 1), &event), DAYBOOK_EDAMAGED);
    dbk_put_u32(bytes, (uint32_t)sizeof bytes | (uint32_t)DBK_RECORD_REMOVE << 28);
    assert_int_equal(dbk_event_decode(daybook_bytes(bytes, sizeof bytes), &event), DAYBOOK_EDAMAGED);
    // Refused before a byte of it is looked at.
    dbk_slice huge = daybook_bytes(bytes, (size_t)DBK_EVENT_BODY_SIZE_MAX + 1);
    assert_int_equal(dbk_event_decode_body(huge, &event), DAYBOOK_EDAMAGED);
    assert_int_equal(dbk_event_decode_body(daybook_bytes(bytes, 0), &event), DAYBOOK_EDAMAGED);
}

static void texts_that_are_cut_end_a_list(void **state) {
    (void)state;
    dbk_slice cut = daybook_bytes("\5a", 2), text;
    assert_false(dbk_event_next_text(&cut, &text));
}

// flags; key; no aggregate; subject "a".
static void an_id_said_to_be_made_is_a_uuid_of_version_7(void **state) {
    (void)state;
    static const uint8_t made[2] = {(DBK_EVENT_ID_MADE & 0x7f) | 0x80, DBK_EVENT_ID_MADE >> 7};
    uint8_t text_key[] = {made[0], made[1], 2, 'T', 'x', 0, 1, 'a'};
    uint8_t uuid_key[2 + 2 + 16 + 3] = {made[0], made[1], 17, 'U'};
    memcpy(uuid_key + 4, made_id, sizeof made_id);
    memcpy(uuid_key + 20, "\0\1a", 3);
    dbk_event event = {0};
    assert_int_equal(dbk_event_decode_body(daybook_bytes(uuid_key, sizeof uuid_key), &event), DAYBOOK_OK);
    uuid_key[4 + 6] = 0x40;
    assert_int_equal(dbk_event_decode_body(daybook_bytes(uuid_key, sizeof uuid_key), &event),
                     DAYBOOK_EDAMAGED);
    assert_int_equal(dbk_event_decode_body(daybook_bytes(text_key, sizeof text_key), &event),
                     DAYBOOK_EDAMAGED);
    assert_int_equal(dbk_event_decode_body(daybook_bytes("\0\2Tx\0\1a", 7), &event), DAYBOOK_OK);
}

static void keys_that_begin_like_a_uuid_are_texts(void **state) {
    (void)state;
    char scratch[37];
    dbk_slice text = dbk_key_text(daybook_bytes("Uab", 3), scratch);
    assert_int_equal(text.size, 2);
    assert_memory_equal(text.data, "ab", 2);
}

static void times_before_1970_make_ids_of_1970(void **state) {
    (void)state;
    uint8_t body[32];
    memset(body, 0xff, sizeof body);
    dbk_event_set_id_time(body, 3, -5);
    for (size_t i = 0; i < 6; i++) assert_int_equal(body[4 + i], 0);
    assert_int_equal(body[10], 0xff);
}

static dbk_event encoded(const daybook_event *event, dbk_buf *buf) {
    dbk_event decoded = {0};
    dbk_buf_init(buf, dbk_allocator_default(), 1 << 16);
    assert_int_equal(dbk_event_encode_body(event, 0, made_id, buf, NULL), DAYBOOK_OK);
    assert_int_equal(dbk_event_decode_body(daybook_bytes(buf->data, buf->size), &decoded), DAYBOOK_OK);
    return decoded;
}

static void events_that_differ_in_one_field_are_not_the_same(void **state) {
    (void)state;
    daybook_slice tag = daybook_text("t"), other_tag = daybook_text("u");
    daybook_header header = {daybook_text("n"), daybook_text("v")},
                   other_header = {daybook_text("n"), daybook_text("w")};
    daybook_event sound;
    daybook_event_init(&sound);
    sound.subject = daybook_text("a.b.c");
    sound.type = daybook_text("type");
    sound.schema = daybook_text("schema");
    sound.actor = daybook_text("actor");
    sound.correlation = daybook_text("correlation");
    sound.causation = daybook_text("causation");
    sound.data = daybook_text("data");
    sound.tags = &tag;
    sound.tag_count = 1;
    sound.headers = &header;
    sound.header_count = 1;
    dbk_buf buf, other_buf;
    dbk_event a = encoded(&sound, &buf);
    assert_true(dbk_event_same_content(&a, &a));
    for (unsigned field = 0; field < 9; field++) {
        daybook_event changed = sound;
        daybook_slice *const texts[] = {&changed.subject, &changed.type,        &changed.schema,
                                        &changed.actor,   &changed.correlation, &changed.causation,
                                        &changed.data};
        if (field < 7) *texts[field] = daybook_text("x.y.z");
        if (field == 7) changed.tags = &other_tag;
        if (field == 8) changed.headers = &other_header;
        dbk_event b = encoded(&changed, &other_buf);
        if (dbk_event_same_content(&a, &b)) fail_msg("field %u", field);
        dbk_buf_deinit(&other_buf);
    }
    dbk_buf_deinit(&buf);
}

static void records_of_another_kind_or_size_are_damage(void **state) {
    (void)state;
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 1 << 16);
    dbk_remove remove = {.stream_id = 1, .reason = DBK_REMOVE_DELETE};
    assert_int_equal(dbk_remove_encode(&remove, NULL, 0, &buf), DAYBOOK_OK);
    size_t size = buf.size;
    dbk_catalogue_entry entry;
    assert_int_equal(dbk_catalogue_decode(daybook_bytes(buf.data, size), &entry), DAYBOOK_EDAMAGED);
    dbk_buf_append_u8(&buf, 0); // more bytes than the record has
    assert_int_equal(dbk_remove_decode(daybook_bytes(buf.data, size + 1), &remove), DAYBOOK_EDAMAGED);
    assert_int_equal(dbk_catalogue_decode(daybook_bytes(buf.data, 2), &entry), DAYBOOK_EDAMAGED);
    dbk_buf_deinit(&buf);
    dbk_slice cut = daybook_bytes("\200", 1);
    uint64_t end = 0;
    dbk_position_range range;
    assert_false(dbk_remove_next_range(&cut, &end, &range));
}

static void a_record_beyond_its_size_is_refused_and_leaves_the_buffer(void **state) {
    (void)state;
    uint8_t *value = calloc(1, DBK_RECORD_SIZE_MAX);
    assert_non_null(value);
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), (size_t)DBK_RECORD_SIZE_MAX * 2);
    dbk_catalogue_entry entry = {DBK_CATALOGUE_STREAM, true, {"k", 1}, {NULL, 0}};
    entry.value = daybook_bytes(value, DBK_RECORD_SIZE_MAX);
    dbk_buf_append_u8(&buf, 7);
    assert_int_equal(dbk_catalogue_encode(&entry, &buf), DAYBOOK_ELIMIT);
    assert_int_equal(buf.size, 1);
    dbk_buf_deinit(&buf);
    free(value);
}

static void records_without_memory_are_refused(void **state) {
    (void)state;
    dbk_buf buf;
    dbk_catalogue_entry entry = {DBK_CATALOGUE_STREAM, true, {"k", 1}, {"v", 1}};
    for (size_t size_max = 0; size_max < 12; size_max++) {
        dbk_buf_init(&buf, dbk_allocator_default(), size_max);
        assert_int_not_equal(dbk_catalogue_encode(&entry, &buf), DAYBOOK_OK);
        dbk_buf_deinit(&buf);
    }
}

static void an_event_is_checked_without_a_store(void **state) {
    (void)state;
    assert_int_equal(daybook_event_check(NULL, NULL), DAYBOOK_EMISUSE);
    daybook_event event;
    daybook_event_init(&event);
    assert_int_equal(daybook_event_check(&event, NULL), DAYBOOK_ESUBJECT);
    event.subject = daybook_text("a.b");
    assert_int_equal(daybook_event_check(&event, NULL), DAYBOOK_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_and_kinds_of_no_event_are_damage),
        cmocka_unit_test(texts_that_are_cut_end_a_list),
        cmocka_unit_test(an_id_said_to_be_made_is_a_uuid_of_version_7),
        cmocka_unit_test(keys_that_begin_like_a_uuid_are_texts),
        cmocka_unit_test(times_before_1970_make_ids_of_1970),
        cmocka_unit_test(events_that_differ_in_one_field_are_not_the_same),
        cmocka_unit_test(records_of_another_kind_or_size_are_damage),
        cmocka_unit_test(a_record_beyond_its_size_is_refused_and_leaves_the_buffer),
        cmocka_unit_test(records_without_memory_are_refused),
        cmocka_unit_test(an_event_is_checked_without_a_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
