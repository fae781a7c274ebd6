// SPDX-License-Identifier: Apache-2.0
// Lines of events as `append --batch` and `import ndjson` read them, and the scanner below: input is lines.
// The scanner accepts what the toolkit's parser accepts, and compacting does not change what a text says.
#include "cli/json.h"
#include "cli/ndjson.h"
#include "fuzz.h"
#include "json/json.h"

static void check_scanner(dbk_slice line) {
    cli_json_error error = {0, NULL};
    json_t *value = NULL;
    int is_valid = cli_json_is_valid(line, &error);
    if (dbk_json_parse(line, &value, NULL) == DAYBOOK_OK) FUZZ_CHECK(is_valid);
    char *compact = malloc(line.size + 1);
    FUZZ_CHECK(compact != NULL);
    size_t size = cli_json_compact(line, compact);
    FUZZ_CHECK((size != SIZE_MAX) == (is_valid != 0));
    if (value != NULL) {
        json_t *again = NULL;
        FUZZ_CHECK(dbk_json_parse(daybook_bytes(compact, size), &again, NULL) == DAYBOOK_OK);
        FUZZ_CHECK(json_equal(value, again) == 1);
        json_decref(again);
    }
    free(compact);
    json_decref(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cli_ndjson parser;
    cli_ndjson_init(&parser, INT64_C(1700000000000000000));
    dbk_slice input = daybook_bytes(data, size);
    while (input.size > 0) {
        const uint8_t *bytes = input.data;
        const uint8_t *newline = memchr(bytes, '\n', input.size);
        size_t line_size = newline == NULL ? input.size : (size_t)(newline - bytes);
        dbk_slice line = daybook_bytes(bytes, line_size);
        input =
            daybook_bytes(bytes + line_size + (newline != NULL), input.size - line_size - (newline != NULL));
        check_scanner(line);
        if (cli_ndjson_parse(&parser, line) == DAYBOOK_OK) {
            fuzz_touch(parser.event.subject);
            fuzz_touch(parser.event.data);
            fuzz_touch(parser.event.id);
            for (size_t i = 0; i < parser.event.tag_count; i++) fuzz_touch(parser.event.tags[i]);
            for (size_t i = 0; i < parser.event.header_count; i++) fuzz_touch(parser.event.headers[i].value);
        } else {
            FUZZ_CHECK(parser.message[0] != '\0' && parser.column >= 1);
        }
    }
    cli_ndjson_deinit(&parser);
    return 0;
}
