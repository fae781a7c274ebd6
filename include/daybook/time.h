/* SPDX-License-Identifier: Apache-2.0 */
/** Times as text: RFC 3339 in, UTC with nine digits and Z out. Pure, any thread. */
#ifndef DAYBOOK_TIME_H
#define DAYBOOK_TIME_H

#include "daybook/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DAYBOOK_TIME_TEXT_SIZE 32 /* enough for daybook_time_format, NUL included */

/**
 * RFC 3339 with T or a space, up to nine fractional digits, any offset (none = UTC); a date alone;
 * "now"; or an offset from now such as "-90m", "+2h", "-1d" (units ns us ms s m h d w).
 * @param now_ns   what "now" means; since the Unix epoch
 * @return DAYBOOK_OK or DAYBOOK_EINVALID, also for years outside 1678 to 2261
 */
DAYBOOK_API daybook_status daybook_time_parse(daybook_slice text, int64_t now_ns, int64_t *time_ns_out);

/** "2026-11-21T03:41:00.000000000Z", NUL-terminated; returns its length. */
DAYBOOK_API size_t daybook_time_format(int64_t time_ns, char text_out[DAYBOOK_TIME_TEXT_SIZE]);

/** A duration: "90s", "1h30m", "250ms", "0"; EINVALID for anything else, also when negative. */
DAYBOOK_API daybook_status daybook_duration_parse(daybook_slice text, int64_t *duration_ns_out);

#ifdef __cplusplus
}
#endif
#endif
