// SPDX-License-Identifier: Apache-2.0
// A driver for fuzz targets in builds without libFuzzer: runs the target once over each file named, or over
// each file of a folder named, so that a corpus is an ordinary test of every compiler and sanitizer.
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "cannot open %s: %s\n", path, strerror(errno));
        return 1;
    }
    // A fresh heap block of exactly the input's size lets the address sanitizer see a read past its end.
    uint8_t *data = NULL;
    size_t size = 0;
    size_t got = 0;
    uint8_t chunk[65536];
    while ((got = fread(chunk, 1, sizeof chunk, file)) > 0) {
        uint8_t *larger = realloc(data, size + got);
        if (larger == NULL) {
            free(data);
            (void)fclose(file);
            return 1;
        }
        data = larger;
        memcpy(data + size, chunk, got);
        size += got;
    }
    int failed = ferror(file);
    (void)fclose(file);
    if (failed) {
        fprintf(stderr, "cannot read %s\n", path);
    } else {
        LLVMFuzzerTestOneInput(data == NULL ? chunk : data, size);
    }
    free(data);
    return failed ? 1 : 0;
}

static int run_folder(const char *path, int *count) {
    DIR *folder = opendir(path);
    if (folder == NULL) {
        fprintf(stderr, "cannot open %s: %s\n", path, strerror(errno));
        return 1;
    }
    int failed = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] == '.') continue;
        char file[4096];
        if (snprintf(file, sizeof file, "%s/%s", path, entry->d_name) >= (int)sizeof file) continue;
        failed |= run_file(file);
        (*count)++;
    }
    (void)closedir(folder);
    return failed;
}

int main(int argc, char **argv) {
    int failed = 0;
    int count = 0;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        struct stat facts;
        if (stat(argv[i], &facts) == 0 && S_ISDIR(facts.st_mode)) {
            failed |= run_folder(argv[i], &count);
        } else {
            failed |= run_file(argv[i]);
            count++;
        }
    }
    printf("%d inputs\n", count);
    return failed;
}
