/* SPDX-License-Identifier: Apache-2.0 */
/** Event ids: UUID version 7 (RFC 9562). */
#ifndef DAYBOOK_ID_H
#define DAYBOOK_ID_H

#include "daybook/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** 36 characters and a NUL. Made from the real clock and random bytes. Any thread. */
DAYBOOK_API daybook_status daybook_id_make(char id_out[37]);

/**
 * A UUID (version 8, RFC 9562 section 5.8) that depends on `content` and `count` only: the same input
 * gives the same id everywhere. For imports of sources that have no ids. Not a secret.
 */
DAYBOOK_API void daybook_id_from_content(daybook_slice content, uint64_t count, char id_out[37]);

#ifdef __cplusplus
}
#endif
#endif
