// SPDX-License-Identifier: Apache-2.0
// Templates of `import`, and the lists in its columns. Input: a template, then values, separated by zero
// bytes. What parses puts in what is a subject's token and can be undone; lists come to an end.
#include "cli/template.h"
#include "fuzz.h"

#include "daybook/subject.h"

enum { VALUES_MAX = 8 };

static void check_token(dbk_slice value) {
    cli_output out;
    cli_output_init(&out, -1);
    cli_put_subject_token(&out, value);
    FUZZ_CHECK(out.failed_errno == 0);
    for (size_t i = 0; i < out.size; i++)
        FUZZ_CHECK((unsigned char)out.data[i] > ' ' && strchr(".*>\x7f", out.data[i]) == NULL);
    char *back = malloc(out.size + 1);
    FUZZ_CHECK(back != NULL);
    size_t size = cli_subject_token_decode(daybook_bytes(out.data, out.size), back);
    FUZZ_CHECK(size == value.size && memcmp(back, value.data, size) == 0);
    free(back);
    cli_output_deinit(&out);
}

static void check_list(dbk_slice value) {
    cli_list list;
    cli_list_begin(&list, value);
    cli_output out;
    cli_output_init(&out, -1);
    size_t count = 0;
    while (cli_list_next(&list, &out) == 1) FUZZ_CHECK(++count <= value.size + 1);
    fuzz_touch(daybook_bytes(out.data, out.size));
    cli_output_deinit(&out);
}

static void check_template(const char *text, cli_template_kind kind, const dbk_slice *values,
                           size_t value_count) {
    cli_template parsed;
    daybook_error error;
    daybook_error_init(&error);
    if (cli_template_parse(text, kind, &parsed, &error) != DAYBOOK_OK) {
        FUZZ_CHECK(error.message[0] != '\0');
        return;
    }
    FUZZ_CHECK(parsed.part_count <= CLI_TEMPLATE_PART_COUNT_MAX && parsed.each_part <= parsed.part_count);
    FUZZ_CHECK(kind == CLI_TEMPLATE_TAG || parsed.each_part == parsed.part_count);
    cli_output out;
    cli_output_init(&out, -1);
    for (size_t i = 0; i < parsed.part_count; i++) {
        fuzz_touch(parsed.parts[i].text);
        if (!parsed.parts[i].is_column || value_count == 0) continue;
        size_t before = out.size;
        int came = cli_template_put(&parsed, &parsed.parts[i], values[i % value_count], &out);
        FUZZ_CHECK(came || out.size == before);
        if (came && kind == CLI_TEMPLATE_SUBJECT)
            FUZZ_CHECK(memchr(out.data + before, '.', out.size - before) == NULL);
    }
    cli_output_deinit(&out);
    cli_template_deinit(&parsed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dbk_slice input = daybook_bytes(data, size);
    dbk_slice first = fuzz_take_text(&input);
    char *text = malloc(first.size + 1);
    FUZZ_CHECK(text != NULL);
    memcpy(text, first.data, first.size);
    text[first.size] = '\0';
    dbk_slice values[VALUES_MAX];
    size_t count = 0;
    while (input.size > 0 && count < VALUES_MAX) {
        values[count] = fuzz_take_text(&input);
        check_token(values[count]);
        check_list(values[count++]);
    }
    check_template(text, CLI_TEMPLATE_SUBJECT, values, count);
    check_template(text, CLI_TEMPLATE_TAG, values, count);
    free(text);
    return 0;
}
