// SPDX-License-Identifier: Apache-2.0
// Files given to `import`: the first byte of the input says csv (and its delimiter), xes or ndjson, the rest
// is the file, plain or gzip. Records come within their limits, and what stops an import has a message and,
// in CSV and NDJSON, a place.
#include <unistd.h>

#include "cli/import.h"
#include "fuzz.h"

enum { RECORD_COUNT_MAX = 10000 };

static void check_record(const cli_import_record *record) {
    FUZZ_CHECK(record->field_count <= CLI_IMPORT_FIELD_COUNT_MAX);
    size_t size = 0;
    for (size_t i = 0; i < record->field_count; i++) {
        fuzz_touch(record->fields[i].name);
        fuzz_touch(record->fields[i].value);
        FUZZ_CHECK(dbk_is_utf8(record->fields[i].value));
        size += record->fields[i].value.size;
    }
    FUZZ_CHECK(size <= 2 * (size_t)CLI_IMPORT_RECORD_SIZE_MAX);
    if (record->has_data) fuzz_touch(record->data);
    if (record->event != NULL) fuzz_touch(record->event->subject);
}

static void read_source(cli_import_source *source, bool has_places) {
    cli_import_problem problem;
    for (int i = 0; i < RECORD_COUNT_MAX; i++) {
        cli_import_record record;
        memset(&record, 0, sizeof record);
        memset(&problem, 0, sizeof problem);
        daybook_status status = source->next(source, &record, &problem);
        if (status == DAYBOOK_OK) {
            check_record(&record);
            continue;
        }
        if (status != DAYBOOK_END) {
            FUZZ_CHECK(problem.message[0] != '\0');
            if (status == DAYBOOK_EINVALID && has_places) FUZZ_CHECK(problem.place.line > 0);
        }
        break;
    }
    source->close(source);
}

static void import_file(const char *path, uint8_t kind) {
    cli_import_source *source = NULL;
    cli_import_problem problem;
    memset(&problem, 0, sizeof problem);
    daybook_status status;
    switch (kind % 6) {
    case 0:
    case 1:
        status = cli_import_csv_open(NULL, path, kind % 6 == 0 ? ',' : ';', &source, &problem);
        break;
    case 2:
    case 3:
        status = cli_import_ndjson_open(NULL, path, kind % 6 == 2, INT64_C(1700000000000000000), &source,
                                        &problem);
        break;
    default:
        status = cli_import_xes_open(NULL, path, &source, &problem);
        break;
    }
    if (status == DAYBOOK_OK)
        read_source(source, kind % 6 < 4);
    else
        FUZZ_CHECK(problem.message[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static FILE *file; // One for all runs, without a name.
    if (size == 0) return 0;
    if (file == NULL) file = tmpfile();
    FUZZ_CHECK(file != NULL);
    int descriptor = fileno(file);
    FUZZ_CHECK(ftruncate(descriptor, 0) == 0);
    FUZZ_CHECK(pwrite(descriptor, data + 1, size - 1, 0) == (ssize_t)(size - 1));
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    import_file(path, data[0]);
    return 0;
}
