// SPDX-License-Identifier: Apache-2.0
// States of an application's own type: begun, evolved, put into snapshots and taken out of them.
//
// A snapshot of another schema is brought to the codec's by migrations, one after the other, each from the
// schema the last one led to; where none leads on, or the decoder does not take the bytes, the snapshot is
// passed over and the events are folded: never is a state read as what it is not.
#include "toolkit/typed.h"

#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "json/json.h"

void daybook_aggregate_type_init(daybook_aggregate_type *type) {
    memset(type, 0, sizeof *type);
    type->size = sizeof *type;
}

void daybook_snapshot_codec_init(daybook_snapshot_codec *codec) {
    memset(codec, 0, sizeof *codec);
    codec->size = sizeof *codec;
}

int daybook_type_is(const daybook_recorded_event *event, const char *type) {
    return dbk_slice_equal(event->event.type, daybook_text(type));
}

void daybook_writer_put(daybook_writer *writer, const void *data, size_t size) {
    dbk_buf_append(writer->buf, data, size);
}

static daybook_status check_codec(const daybook_snapshot_codec *codec, daybook_error *error) {
    if (codec == NULL) return DAYBOOK_OK;
    if (codec->size < sizeof *codec || codec->encode == NULL || codec->decode == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "codec not made by daybook_snapshot_codec_init, or without encode or decode");
    if (codec->schema.size == 0)
        return dbk_fail(
            error, DAYBOOK_EINVALID,
            "a codec without schema: snapshots could not be told from older ones; name it, such as "
            "order/1");
    return DAYBOOK_OK;
}

daybook_status dbk_type_check(const daybook_aggregate_type *type, bool needs_category, daybook_error *error) {
    if (type == NULL || type->size < sizeof *type || type->evolve == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "aggregate type not made by daybook_aggregate_type_init, or without evolve");
    if (needs_category && type->category.size == 0)
        return dbk_fail(
            error, DAYBOOK_EINVALID,
            "an aggregate type without category: its events could not be found; give one, such as "
            "orders");
    return check_codec(type->codec, error);
}

daybook_status dbk_type_find(daybook_engine *engine, const daybook_aggregate_type *type, daybook_slice id,
                             dbk_aggregate *aggregate_out, daybook_error *error) {
    char name[DAYBOOK_SUBJECT_SIZE_MAX];
    if (id.size == 0 || memchr(id.data, '.', id.size) != NULL || type->category.size >= sizeof name ||
        id.size >= sizeof name - type->category.size)
        return dbk_fail(
            error, DAYBOOK_ESUBJECT,
            "bad id '%.*s' of category '%.*s': an id is one token of a subject, without dots; correct it",
            DBK_TEXT(id), DBK_TEXT(type->category));
    memcpy(name, type->category.data, type->category.size);
    name[type->category.size] = '.';
    memcpy(name + type->category.size + 1, id.data, id.size);
    daybook_status status = dbk_aggregate_find(engine, daybook_bytes(name, type->category.size + 1 + id.size),
                                               aggregate_out, error);
    return status == DAYBOOK_ENOTFOUND ? DAYBOOK_OK : status;
}

daybook_status dbk_typed_init(dbk_typed *typed, const daybook_aggregate_type *type, daybook_error *error) {
    typed->type = type;
    typed->is_begun = false;
    typed->state = dbk_alloc(dbk_allocator_default(), type->state_size);
    return typed->state != NULL
               ? DAYBOOK_OK
               : dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: a state of %zu bytes", type->state_size);
}

static void end(dbk_typed *typed) {
    if (typed->is_begun && typed->type->deinit != NULL)
        typed->type->deinit(typed->state, typed->type->context);
    typed->is_begun = false;
}

void dbk_typed_deinit(dbk_typed *typed) {
    if (typed->state == NULL) return;
    end(typed);
    dbk_free(dbk_allocator_default(), typed->state);
    typed->state = NULL;
}

daybook_status dbk_typed_begin(dbk_typed *typed, daybook_error *error) {
    end(typed);
    memset(typed->state, 0, typed->type->state_size);
    if (typed->type->init != NULL) DBK_TRY(typed->type->init(typed->state, typed->type->context, error));
    typed->is_begun = true;
    return DAYBOOK_OK;
}

daybook_status dbk_typed_evolve(dbk_typed *typed, const daybook_recorded_event *event, daybook_error *error) {
    daybook_status status = typed->type->evolve(typed->state, typed->type->context, event, error);
    // These end a replay quietly, or make a snapshot be passed over; from here they would be taken for ours.
    if (status != DAYBOOK_END && status != DAYBOOK_TIMEOUT) return status;
    return dbk_fail(error, DAYBOOK_EMISUSE, "evolve of category '%.*s' returned %s: it gives OK or a failure",
                    DBK_TEXT(typed->type->category), daybook_status_name(status));
}

// The folder.

static daybook_status begin(void *context, daybook_error *error) {
    return dbk_typed_begin(context, error);
}

static daybook_status add(void *context, const daybook_recorded_event *event, daybook_error *error) {
    return dbk_typed_evolve(context, event, error);
}

static const daybook_snapshot_migration *find_migration(const daybook_snapshot_codec *codec,
                                                        daybook_slice from) {
    for (size_t i = 0; i < codec->migration_count; i++)
        if (dbk_slice_equal(codec->migrations[i].from, from)) return &codec->migrations[i];
    return NULL;
}

// `bytes` of `schema` to the codec's schema, through one buffer and the other. EINVALID where no way leads
// there.
static daybook_status migrate(const daybook_aggregate_type *type, daybook_slice schema, daybook_slice *bytes,
                              dbk_buf buffers[2], daybook_error *error) {
    const daybook_snapshot_codec *codec = type->codec;
    for (size_t step = 0; !dbk_slice_equal(schema, codec->schema); step++) {
        const daybook_snapshot_migration *migration = find_migration(codec, schema);
        // More steps than migrations is a circle.
        if (migration == NULL || step == codec->migration_count) return DAYBOOK_EINVALID;
        dbk_buf *out = &buffers[step % 2];
        dbk_buf_reset(out);
        daybook_writer writer = {.buf = out};
        DBK_TRY(migration->migrate(type->context, *bytes, &writer, error));
        DBK_TRY(dbk_buf_status(out));
        *bytes = daybook_bytes(out->data, out->size);
        schema = migration->to;
    }
    return DAYBOOK_OK;
}

static daybook_status restore_bytes(dbk_typed *typed, daybook_slice schema, daybook_slice bytes,
                                    daybook_error *error) {
    dbk_buf buffers[2];
    for (int i = 0; i < 2; i++) dbk_buf_init(&buffers[i], dbk_allocator_default(), DBK_STATE_TEXT_SIZE_MAX);
    daybook_status status = migrate(typed->type, schema, &bytes, buffers, error);
    if (status == DAYBOOK_OK) status = dbk_typed_begin(typed, error);
    if (status == DAYBOOK_OK)
        status = typed->type->codec->decode(typed->state, typed->type->context, bytes, error);
    for (int i = 0; i < 2; i++) dbk_buf_deinit(&buffers[i]);
    return status;
}

static daybook_status restore(void *context, daybook_slice schema, json_t *state, daybook_slice bytes,
                              daybook_error *error) {
    if (state == NULL) return restore_bytes(context, schema, bytes, error);
    dbk_buf text;
    dbk_buf_init(&text, dbk_allocator_default(), DBK_STATE_TEXT_SIZE_MAX);
    dbk_json_write(&text, state);
    daybook_status status = dbk_buf_status(&text);
    if (status == DAYBOOK_OK)
        status = restore_bytes(context, schema, daybook_bytes(text.data, text.size), error);
    dbk_buf_deinit(&text);
    return status;
}

static daybook_status write_state(void *context, dbk_buf *out, daybook_error *error) {
    dbk_typed *typed = context;
    daybook_writer writer = {.buf = out};
    return typed->type->codec->encode(typed->state, typed->type->context, &writer, error);
}

void dbk_typed_folder(dbk_typed *typed, dbk_folder *folder_out) {
    const daybook_snapshot_codec *codec = typed->type->codec;
    *folder_out = (dbk_folder){
        .context = typed,
        .schema = codec == NULL ? daybook_bytes(NULL, 0) : codec->schema,
        .is_json = codec != NULL && codec->is_json,
        .begin = begin,
        .add = add,
        .restore = restore,
        .write = write_state,
    };
}
