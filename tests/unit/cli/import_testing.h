// SPDX-License-Identifier: Apache-2.0
//
// Shared by the tests of `import`: sources from text, and records as text to compare with.
#ifndef IMPORT_TESTING_H
#define IMPORT_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/import.h"

// A file with these bytes; its name is static and good until the next call.
static inline const char *file_of(const void *data, size_t size) {
    static char path[64];
    (void)snprintf(path, sizeof path, "/tmp/daybook-test-XXXXXX");
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    FILE *file = fdopen(descriptor, "wb");
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

// Records as "name=value|name=value\n"; literals in <>, hidden ones left out.
static inline void put_record(cli_output *out, const cli_import_record *record) {
    for (size_t i = 0; i < record->field_count; i++) {
        const cli_import_field *field = &record->fields[i];
        if (field->hidden) continue;
        if (out->size > 0 && out->data[out->size - 1] != '\n') cli_put_char(out, '|');
        cli_put_slice(out, field->name);
        cli_put_char(out, '=');
        if (field->kind == CLI_IMPORT_LITERAL) cli_put_char(out, '<');
        cli_put_slice(out, field->value);
        if (field->kind == CLI_IMPORT_LITERAL) cli_put_char(out, '>');
    }
    cli_put_char(out, '\n');
}

static inline void assert_text(const cli_output *out, const char *expected) {
    char *text = malloc(out->size + 1);
    if (out->size > 0) memcpy(text, out->data, out->size);
    text[out->size] = '\0';
    assert_string_equal(text, expected);
    free(text);
}

#endif
