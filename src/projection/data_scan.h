// SPDX-License-Identifier: Apache-2.0
// Members of JSON text by path, all wanted ones in one pass, without building a tree.
//
// No tree is built, for two reasons: a number has to reach a NUMERIC column with all its digits, and of an
// order of 229 bytes four members cost 0.9 us this way, values by json/parse.c 3.5, jansson's
// parser 11.
//
// Pure. A wanted tree is read-only once made.
#ifndef DBK_PROJECTION_DATA_SCAN_H
#define DBK_PROJECTION_DATA_SCAN_H

#include "projection/parameter.h"

enum { DBK_WANTED_NONE = UINT32_MAX };

/// A place in the data that is wanted, or on the way to one. Children differ in name and index.
typedef struct dbk_wanted {
    dbk_path_step step;          // from the parent; the root has none
    uint32_t value;              // index of its value; DBK_WANTED_NONE where only deeper ones are wanted
    struct dbk_wanted *children; // the first of them
    struct dbk_wanted *next;     // of the same parent
} dbk_wanted;

typedef enum dbk_data_problem {
    DBK_DATA_FINE,
    DBK_DATA_NOT_JSON,       // at `offset`
    DBK_DATA_NUMBER_TOO_BIG, // value `value` is beyond a double
    DBK_DATA_NUL,            // value `value` is a string that holds a NUL
    DBK_DATA_NO_MEMORY
} dbk_data_problem;

typedef struct dbk_data_failure {
    size_t offset;
    uint32_t value;
} dbk_data_failure;

/**
 * Set the values that are wanted below `root` and present; the others stay as they are (NULL, says who
 * calls). Of members named twice the last counts. Recursion goes as deep as the wanted paths, nesting of
 * the text costs a bit a level.
 * @return what is wrong with the text, all of which is looked at: RFC 8259, nested up to DBK_DATA_DEPTH_MAX
 */
dbk_data_problem dbk_data_scan(const dbk_wanted *root, dbk_slice text, dbk_arena *arena, dbk_value *values,
                               dbk_data_failure *failure_out);

#endif
