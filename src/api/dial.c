// SPDX-License-Identifier: Apache-2.0
// The announced version as a number, and what follows from it.
#include "api/dial.h"

#include <stddef.h>

enum { VERSION_FIRST = 209, VERSION_PART_MAX = 99 };

// A number of one or two digits and the dot behind it; -1 where there is none.
static int take_part(const char **at) {
    int part = 0;
    const char *start = *at;
    while (**at >= '0' && **at <= '9' && part <= VERSION_PART_MAX) part = part * 10 + (*(*at)++ - '0');
    if (*at == start || part > VERSION_PART_MAX || **at != '.') return -1;
    (*at)++;
    return part;
}

void dbk_api_dial_init(dbk_api_dial *dial, const char *announced) {
    const char *at = announced == NULL ? "" : announced;
    int major = take_part(&at);
    int minor = major < 0 ? -1 : take_part(&at);
    int version = minor < 0 ? VERSION_FIRST : major * 100 + minor;
    dial->version = version < VERSION_FIRST ? VERSION_FIRST : version;
    dial->is_strict = dial->version >= 212;
    dial->announced = announced == NULL ? "" : announced;
}

int dbk_api_dial_level(const dbk_api_dial *dial) {
    enum { LEVEL_MAX = 4, VERSION_BEFORE_LEVELS = 210 };
    int level = dial->version - VERSION_BEFORE_LEVELS;
    return level < 0 ? 0 : level > LEVEL_MAX ? LEVEL_MAX : level;
}
