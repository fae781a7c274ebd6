// SPDX-License-Identifier: Apache-2.0
// Findings. Pure: a struct filled, a message formatted. A message that is too long is cut.
#include "store/finding.h"

#include <stdio.h>
#include <string.h>

daybook_finding dbk_finding_make(char message[DBK_FINDING_MESSAGE_SIZE], const dbk_finding_place *place,
                                 const char *format, va_list arguments) {
    if (vsnprintf(message, DBK_FINDING_MESSAGE_SIZE, format, arguments) < 0) message[0] = '\0';
    return (daybook_finding){.size = sizeof(daybook_finding),
                             .is_damage = place->is_damage,
                             .file = daybook_text(place->file),
                             .offset = place->offset,
                             .position_first = place->position_first,
                             .position_last = place->position_last,
                             .message = daybook_text(message)};
}

const char *dbk_finding_file(const daybook_error *error, const char *fallback) {
    const char *slash = strrchr(error->file, '/');
    const char *name = slash == NULL ? error->file : slash + 1;
    return name[0] == '\0' ? fallback : name;
}
