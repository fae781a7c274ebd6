/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Subjects and filters, exactly as NATS: tokens joined by dots; in filters `*` stands for one token
 * and a final `>` for one or more. Pure functions, no allocation, any thread.
 */
#ifndef DAYBOOK_SUBJECT_H
#define DAYBOOK_SUBJECT_H

#include "daybook/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** 1 to 1024 bytes of UTF-8, no empty token, no white space or control character, no wildcards. */
DAYBOOK_API int daybook_subject_is_valid(daybook_slice subject);

/** A subject or one with wildcards. */
DAYBOOK_API int daybook_filter_is_valid(daybook_slice filter);

/** 1 where the valid filter captures the valid subject. */
DAYBOOK_API int daybook_filter_matches(daybook_slice filter, daybook_slice subject);

/** 1 where some subject matches both valid filters. */
DAYBOOK_API int daybook_filters_overlap(daybook_slice a, daybook_slice b);

/** 1 where every subject of `narrow` also matches `wide`. */
DAYBOOK_API int daybook_filter_covers(daybook_slice wide, daybook_slice narrow);

#ifdef __cplusplus
}
#endif
#endif
