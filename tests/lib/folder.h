// SPDX-License-Identifier: Apache-2.0
// Directories of tests, made in the one the test runs in.
#ifndef DBK_TESTS_FOLDER_H
#define DBK_TESTS_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

/// A new one, "<name>-XXXXXX". False: it could not be made, or its path has no room.
bool folder_make(const char *name, char *path_out, size_t capacity);
/// Removes it with all that is in it. False: something of it stays.
bool folder_remove(const char *path);

#endif
