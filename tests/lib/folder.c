// SPDX-License-Identifier: Apache-2.0
#define _XOPEN_SOURCE 700 // mkdtemp, nftw
#include "lib/folder.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

bool folder_make(const char *name, char *path_out, size_t capacity) {
    int size = snprintf(path_out, capacity, "%s-XXXXXX", name);
    return size >= 0 && (size_t)size < capacity && mkdtemp(path_out) != NULL;
}

static int remove_entry(const char *path, const struct stat *facts, int kind, struct FTW *place) {
    (void)facts, (void)kind, (void)place;
    return remove(path);
}

bool folder_remove(const char *path) {
    enum { OPEN_MAX_COUNT = 16 };
    return nftw(path, remove_entry, OPEN_MAX_COUNT, FTW_DEPTH | FTW_PHYS) == 0;
}
