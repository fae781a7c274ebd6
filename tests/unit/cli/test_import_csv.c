// SPDX-License-Identifier: Apache-2.0
#include "import_testing.h"

static void assert_rows_of(const void *text, size_t size, char delimiter, const char *expected) {
    const char *path = file_of(text, size);
    cli_import_source *source;
    cli_import_problem problem = {.status = DAYBOOK_OK};
    cli_output out;
    cli_output_init(&out, -1);
    daybook_status status = cli_import_csv_open(NULL, path, delimiter, &source, &problem);
    (void)unlink(path);
    while (status == DAYBOOK_OK) {
        cli_import_record record;
        status = source->next(source, &record, &problem);
        if (status == DAYBOOK_OK) put_record(&out, &record);
    }
    if (status != DAYBOOK_END) {
        cli_put_format(&out, "%llu:%llu %s", (unsigned long long)problem.place.line,
                       (unsigned long long)problem.place.column, problem.message);
        out.size = out.size > 400 ? 400 : out.size;
    }
    if (source != NULL) source->close(source);
    // A failure is compared by its beginning: place and first words.
    if (status != DAYBOOK_END && strlen(expected) < out.size) out.size = strlen(expected);
    assert_text(&out, expected);
    cli_output_deinit(&out);
}

static void assert_rows(const char *text, const char *expected) {
    assert_rows_of(text, strlen(text), ',', expected);
}

static void rows_end_with_any_line_end_or_the_file(void **state) {
    (void)state;
    assert_rows("a,b\n1,2\n3,4\n", "a=1|b=2\na=3|b=4\n");
    assert_rows("a,b\r\n1,2\r\n3,4", "a=1|b=2\na=3|b=4\n");
    assert_rows("a,b\r1,2\r3,4\r", "a=1|b=2\na=3|b=4\n");
    assert_rows("a,b\n", "");
    assert_rows("a,b", "");
}

static void quoted_fields_hold_delimiters_quotes_and_line_ends(void **state) {
    (void)state;
    assert_rows("a,b\n\"1,1\",\"say \"\"hi\"\"\"\n", "a=1,1|b=say \"hi\"\n");
    assert_rows("a,b\n\"x\ny\r\nz\",2\n", "a=x\ny\r\nz|b=2\n");
    assert_rows("\"a\",\"b,c\"\n1,2\n", "a=1|b,c=2\n");
}

static void empty_fields_are_hidden_and_blank_lines_skipped(void **state) {
    (void)state;
    assert_rows("a,b\n,2\n\n1,\n\"\",\"\"\n\n", "b=2\na=1\n\n");
    assert_rows("a,b\n , \n", "a= |b= \n");
}

static void byte_order_mark_and_other_delimiters_are_understood(void **state) {
    (void)state;
    assert_rows("\xEF\xBB\xBF"
                "a,b\n1,2\n",
                "a=1|b=2\n");
    assert_rows_of("a;b\n1,5;2\n", 10, ';', "a=1,5|b=2\n");
    assert_rows_of("a\tb\n1\t2\n", 8, '\t', "a=1|b=2\n");
}

static void malformed_rows_are_told_with_line_and_column(void **state) {
    (void)state;
    assert_rows("", "1:1 the file is empty");
    assert_rows("a,b\n1,2\n3\n", "a=1|b=2\n3:1 the row ends after 1 fields");
    assert_rows("a,b\n1,2,3\n", "2:5 the row goes on");
    assert_rows("a,b\n1,\"2\n3,4\n", "2:3 the quote opened here is never closed");
    assert_rows("a,b\n1,\"2\"x\n", "2:6 there is text behind a closing quote");
    assert_rows("a,b\n1,2\"x\n", "2:4 a quote inside a field");
    assert_rows("a,b,a\n", "1:5 the header names the column \"a\" twice");
    assert_rows("a,b\n\"x\ny\",é\"\n", "3:5 a quote inside a field");
}

static void bytes_that_are_no_utf8_are_told_with_line_and_column(void **state) {
    (void)state;
    assert_rows("a,b\n1,é\xFFx\n", "2:4 the byte 0xff is no UTF-8");
    assert_rows("a,b\n\"x\nyz\xC3\",2\n", "3:3 the byte 0xc3 is no UTF-8");
    // Halves of a sequence in neighbouring fields do not make one.
    assert_rows("a,b\n\xC3,\xA9\n", "2:1 the byte 0xc3");
    assert_rows("a,b\n\xED\xA0\x80,2\n", "2:1 the byte 0xed");
}

static void a_row_beyond_the_limit_is_refused(void **state) {
    (void)state;
    size_t size = CLI_IMPORT_RECORD_SIZE_MAX + 100;
    char *text = malloc(size);
    memset(text, 'x', size);
    memcpy(text, "a,b\n\"", 5);
    assert_rows_of(text, size, ',', "2:");
    free(text);
}

static void chunks_may_cut_anywhere(void **state) {
    (void)state;
    // Rows of every length drift over the chunk boundary, quotes and line ends included.
    cli_output text, expected;
    cli_output_init(&text, -1);
    cli_output_init(&expected, -1);
    cli_puts(&text, "n,v\r\n");
    for (unsigned i = 0; text.size < 3 * CLI_IMPORT_CHUNK_SIZE; i++) {
        cli_put_format(&text, "%u,\"%.*s\"\"é\r\n\"\r\n", i, (int)(i % 97),
                       "0123456789012345678901234567890123456789"
                       "012345678901234567890123456789012345678901234567890123456789");
        cli_put_format(&expected, "n=%u|v=%.*s\"é\r\n\n", i, (int)(i % 97),
                       "0123456789012345678901234567890123456789"
                       "012345678901234567890123456789012345678901234567890123456789");
    }
    cli_put_char(&expected, '\0');
    assert_rows_of(text.data, text.size, ',', expected.data);
    cli_output_deinit(&text);
    cli_output_deinit(&expected);
}

static void files_that_are_not_there_are_told(void **state) {
    (void)state;
    cli_import_source *source;
    cli_import_problem problem;
    assert_int_equal(cli_import_csv_open(NULL, "/nonexistent/x.csv", ',', &source, &problem),
                     DAYBOOK_ENOTFOUND);
    assert_int_equal(cli_import_csv_open(NULL, "/tmp", ',', &source, &problem), DAYBOOK_EIO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_end_with_any_line_end_or_the_file),
        cmocka_unit_test(quoted_fields_hold_delimiters_quotes_and_line_ends),
        cmocka_unit_test(empty_fields_are_hidden_and_blank_lines_skipped),
        cmocka_unit_test(byte_order_mark_and_other_delimiters_are_understood),
        cmocka_unit_test(malformed_rows_are_told_with_line_and_column),
        cmocka_unit_test(bytes_that_are_no_utf8_are_told_with_line_and_column),
        cmocka_unit_test(a_row_beyond_the_limit_is_refused),
        cmocka_unit_test(chunks_may_cut_anywhere),
        cmocka_unit_test(files_that_are_not_there_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
