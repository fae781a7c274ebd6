// SPDX-License-Identifier: Apache-2.0
// The configuration language. Input: the file's text, a zero byte, the text of a file that any include reads, a
// zero byte, the text of any variable of the environment. A tree that comes out keeps its bounds, and all its
// texts can be read; a refusal says where and what.
#include "config/config.h"
#include "fuzz.h"

typedef struct world {
    dbk_slice included;
    char *variable; // NULL: not set
} world;

static daybook_status read_file(void *context, const char *path, dbk_buf *bytes, daybook_error *error) {
    const world *around = context;
    (void)fuzz_touch(daybook_text(path));
    if (around->included.size > bytes->size_max)
        return dbk_fail(error, DAYBOOK_ELIMIT, "%s is too large", path);
    dbk_buf_append_slice(bytes, around->included);
    return dbk_buf_status(bytes);
}

static const char *get_variable(void *context, const char *name) {
    (void)fuzz_touch(daybook_text(name));
    return ((const world *)context)->variable;
}

static size_t value_count;

static void check_place(const dbk_config_place *place) {
    FUZZ_CHECK(place->file != NULL && place->line >= 1 && place->column >= 1);
}

static void check_text(dbk_slice text) {
    (void)fuzz_touch(text);
    FUZZ_CHECK(text.data != NULL && strlen(text.data) == text.size);
}

static void check_value(const dbk_config_value *value, unsigned depth);

static void check_entries(const dbk_config_value *map, unsigned depth) {
    size_t count = 0;
    for (const dbk_config_entry *entry = map->entries; entry != NULL; entry = entry->next, count++) {
        check_place(&entry->place);
        check_text(entry->key);
        check_value(entry->value, depth + 1);
    }
    FUZZ_CHECK(count == map->count);
}

static void check_items(const dbk_config_value *array, unsigned depth) {
    size_t count = 0;
    for (const dbk_config_value *item = array->items; item != NULL; item = item->next, count++)
        check_value(item, depth + 1);
    FUZZ_CHECK(count == array->count);
}

static void check_value(const dbk_config_value *value, unsigned depth) {
    FUZZ_CHECK(++value_count <= DBK_CONFIG_VALUES_MAX + 1 && depth <= DBK_CONFIG_DEPTH_MAX + 1);
    check_place(&value->place);
    if (value->kind == DBK_CONFIG_MAP) {
        check_entries(value, depth);
    } else if (value->kind == DBK_CONFIG_ARRAY) {
        check_items(value, depth);
    } else {
        check_text(value->text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dbk_slice input = daybook_bytes(data, size);
    dbk_slice text = fuzz_take_text(&input);
    world around = {.included = fuzz_take_text(&input)};
    if (input.size > 0) {
        around.variable = dbk_copy_text(dbk_allocator_default(), fuzz_take_text(&input));
        FUZZ_CHECK(around.variable != NULL);
    }
    dbk_config_source source = {&around, read_file, get_variable};
    dbk_config *config;
    daybook_error error;
    daybook_status status =
        dbk_config_parse(text, "nats.conf", &source, dbk_allocator_default(), &config, &error);
    if (status == DAYBOOK_OK) {
        value_count = 0;
        check_value(dbk_config_root(config), 0);
    } else {
        FUZZ_CHECK(config == NULL && error.message[0] != '\0' && error.status == status);
    }
    dbk_config_free(config);
    dbk_free(dbk_allocator_default(), around.variable);
    int64_t number;
    (void)dbk_config_parse_integer(text, &number);
    return 0;
}
