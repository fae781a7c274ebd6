/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAYBOOK_VERSION_H
#define DAYBOOK_VERSION_H

#include "daybook/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DAYBOOK_VERSION_MAJOR 0
#define DAYBOOK_VERSION_MINOR 1
#define DAYBOOK_VERSION_PATCH 0
#define DAYBOOK_VERSION "0.1.0"

/** The version of the library at run time, "0.1.0". Static storage. */
DAYBOOK_API const char *daybook_version(void);

/** Names and versions of the libraries it runs with, "zstd 1.5.4, xxhash 0.8.1, ...". Static storage. */
DAYBOOK_API const char *daybook_build(void);

#ifdef __cplusplus
}
#endif
#endif
