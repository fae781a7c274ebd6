// SPDX-License-Identifier: Apache-2.0
// What this library is and what it runs with. The text is composed once, under pthread_once: any thread.
#include "daybook/version.h"

#include <pthread.h>
#include <roaring/roaring.h>
#include <stdio.h>
#include <xxhash.h>
#include <zstd.h>

static char build_text[128];
static pthread_once_t build_text_once = PTHREAD_ONCE_INIT;

// zstd and xxhash say what is loaded now; roaring knows only what it was compiled against.
static void compose(void) {
    unsigned xxhash = XXH_versionNumber();
    (void)snprintf(build_text, sizeof build_text, "zstd %s, xxhash %u.%u.%u, roaring %d.%d.%d",
                   ZSTD_versionString(), xxhash / 10000, xxhash / 100 % 100, xxhash % 100,
                   ROARING_VERSION_MAJOR, ROARING_VERSION_MINOR, ROARING_VERSION_REVISION);
}

const char *daybook_version(void) {
    return DAYBOOK_VERSION;
}

const char *daybook_build(void) {
    (void)pthread_once(&build_text_once, compose);
    return build_text;
}
