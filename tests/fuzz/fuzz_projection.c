// SPDX-License-Identifier: Apache-2.0
// Projections: an SQL file, a zero byte, the data of an event. A file is refused with its place, or makes
// statements that are written for both databases; their parameters take values from whatever the data is; and
// the scanner over the data agrees with the parser on what is JSON.
#include "fuzz.h"
#include "projection/definition.h"
#include "json/json.h"

static void check_value(const dbk_value *value) {
    if (value->kind == DBK_VALUE_NULL) return;
    FUZZ_CHECK(((const char *)value->text.data)[value->text.size] == '\0');
    (void)fuzz_touch(value->text);
    if (value->kind == DBK_VALUE_TEXT) FUZZ_CHECK(strlen(value->text.data) == value->text.size);
}

static void check_insert(const dbk_insert *insert, const dbk_section *section) {
    FUZZ_CHECK(insert->table.size > 0 && insert->value_count > 0);
    FUZZ_CHECK(insert->column_count == 0 || insert->column_count == insert->value_count);
    for (size_t i = 0; i < insert->column_count; i++) (void)fuzz_touch(insert->columns[i]);
    for (size_t i = 0; i < insert->value_count; i++) {
        if (insert->values[i].is_constant)
            check_value(&insert->values[i].constant);
        else
            FUZZ_CHECK(insert->values[i].parameter < section->parameter_count);
    }
}

static void check_statement(const dbk_statement *statement, const dbk_section *section, dbk_arena *arena) {
    FUZZ_CHECK(statement->text.size > 0);
    if (statement->insert != NULL) check_insert(statement->insert, section);
    for (int dialect = DBK_DIALECT_SQLITE; dialect <= DBK_DIALECT_POSTGRES; dialect++) {
        dbk_compiled compiled;
        if (dbk_statement_compile(statement, (dbk_dialect)dialect, "f", arena, &compiled, NULL) != DAYBOOK_OK)
            continue;
        FUZZ_CHECK(strlen(compiled.text) == compiled.text_size);
        FUZZ_CHECK(compiled.parameter_count <= statement->placeholder_count);
        for (size_t i = 0; i < compiled.parameter_count; i++)
            FUZZ_CHECK(compiled.parameters[i] < section->parameter_count);
        dbk_place last = {1, 1};
        for (size_t offset = 0; offset <= compiled.text_size; offset += 1 + compiled.text_size / 8) {
            dbk_place place = dbk_statement_place(statement, (dbk_dialect)dialect, offset);
            FUZZ_CHECK(place.line > last.line || (place.line == last.line && place.column >= last.column));
            last = place;
        }
    }
}

static void check_section(const dbk_section *section, const daybook_recorded_event *event, dbk_arena *arena) {
    dbk_value *values = dbk_arena_alloc(arena, section->parameter_count * sizeof *values);
    FUZZ_CHECK(values != NULL);
    for (size_t i = 0; i < section->statement_count; i++)
        check_statement(&section->statements[i], section, arena);
    (void)dbk_section_matches(section, &event->event);
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = dbk_parameter_plan_evaluate(section->plan, event, arena, values, &error);
    FUZZ_CHECK(status == DAYBOOK_OK || (status == DAYBOOK_EINVALID && error.message[0] != '\0'));
    for (size_t i = 0; status == DAYBOOK_OK && i < section->parameter_count; i++) check_value(&values[i]);
}

// A number beyond a double, and a NUL in a name, which the parser refuses and the scanner passes over.
static int may_differ(dbk_slice data) {
    static const char escape[] = "\\u0000";
    const char *text = data.data;
    for (size_t i = 0; i + 6 <= data.size; i++)
        if (memcmp(text + i, escape, 6) == 0) return 1;
    return memchr(text, 'e', data.size) != NULL || memchr(text, 'E', data.size) != NULL || data.size > 300;
}

static void check_data(const daybook_recorded_event *event, dbk_arena *arena) {
    dbk_parameter parameters[2];
    size_t size = 0;
    dbk_parameter_plan *plan = NULL;
    dbk_value values[2];
    if (event->event.data.size == 0) return;
    FUZZ_CHECK(dbk_parameter_parse(daybook_text(":data"), arena, &parameters[0], &size, NULL) == DAYBOOK_OK);
    FUZZ_CHECK(dbk_parameter_parse(daybook_text(":data.a[0]"), arena, &parameters[1], &size, NULL) ==
               DAYBOOK_OK);
    FUZZ_CHECK(dbk_parameter_plan_new(parameters, 2, arena, &plan) == DAYBOOK_OK);
    daybook_status scanned = dbk_parameter_plan_evaluate(plan, event, arena, values, NULL);
    json_t *value = NULL;
    daybook_status parsed = dbk_json_parse(event->event.data, &value, NULL);
    FUZZ_CHECK(scanned == parsed || may_differ(event->event.data));
    if (scanned == DAYBOOK_OK && parsed == DAYBOOK_OK && !may_differ(event->event.data)) {
        const json_t *member = json_array_get(json_object_get(value, "a"), 0);
        FUZZ_CHECK((values[1].kind == DBK_VALUE_NULL) == (member == NULL || json_is_null(member)));
        if (json_is_string(member)) FUZZ_CHECK(values[1].text.size == json_string_length(member));
        if (json_is_integer(member)) FUZZ_CHECK(values[1].integer == json_integer_value(member));
        if (json_is_real(member)) FUZZ_CHECK(values[1].real == json_real_value(member));
    }
    json_decref(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dbk_slice input = daybook_bytes(data, size);
    dbk_slice text = fuzz_take_text(&input);
    dbk_arena *arena = NULL;
    FUZZ_CHECK(dbk_arena_new(dbk_allocator_default(), 4096, &arena) == DAYBOOK_OK);
    daybook_recorded_event event;
    memset(&event, 0, sizeof event);
    daybook_event_init(&event.event);
    event.event.subject = daybook_text("orders.7.placed");
    event.event.type = daybook_text("placed");
    event.aggregate = daybook_text("orders.7");
    event.event.data = input;
    check_data(&event, arena);

    dbk_definition *definition = NULL;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = dbk_definition_parse(dbk_allocator_default(), text, "file", &definition, &error);
    FUZZ_CHECK((definition != NULL) == (status == DAYBOOK_OK));
    if (status != DAYBOOK_OK) {
        FUZZ_CHECK(status == DAYBOOK_EINVALID || status == DAYBOOK_ELIMIT);
        FUZZ_CHECK(strncmp(error.message, "file:", 5) == 0);
    } else {
        for (size_t i = 0; i < definition->section_count; i++)
            check_section(&definition->sections[i], &event, arena);
        FUZZ_CHECK(strlen(definition->hash) == 64 && definition->filter_count > 0);
    }
    dbk_definition_free(definition);
    dbk_arena_free(arena);
    return 0;
}
