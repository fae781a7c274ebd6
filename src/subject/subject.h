// SPDX-License-Identifier: Apache-2.0
// Subjects and filters as token sequences. The public pure functions (daybook/subject.h) live in subject.c.
#ifndef DBK_SUBJECT_SUBJECT_H
#define DBK_SUBJECT_SUBJECT_H

#include <stdbool.h>

#include "base/memory.h"
#include "daybook/subject.h"

/// Bytes of the leading `tokens` tokens of a valid subject (without the dot behind them); 0 where tokens is 0
/// or the subject has no further token behind them (then it has no aggregate).
size_t dbk_subject_aggregate_size(dbk_slice subject, uint32_t tokens);
/// The default type: what follows the aggregate; without aggregate, the last token. Borrowed from subject.
dbk_slice dbk_subject_type(dbk_slice subject, size_t aggregate_size);
/// Of any bytes: no token is empty or a wildcard.
bool dbk_subject_is_literal(dbk_slice subject);
/// Number of tokens.
uint32_t dbk_subject_token_count(dbk_slice subject);
/// Token number `index` (0 first) of a valid subject or filter; empty where there is none.
dbk_slice dbk_subject_token(dbk_slice subject, uint32_t index);
/// Bytes of the literal tokens a filter begins with, `token_count_max` of them at most, without the dot
/// behind them: "a.b.*.c" gives 3, or 1 for one token, ">" gives 0, a filter without wildcards all of it.
size_t dbk_filter_literal_size(dbk_slice filter, uint32_t token_count_max);
/// No `*` or `>` token.
bool dbk_filter_is_literal(dbk_slice filter);
/// Bytes of the literal leading part of a filter that ends in ".>" and has no other wildcard ("a.b.>" gives
/// 3); 0 for other filters.
size_t dbk_filter_prefix_size(dbk_slice filter);

#endif
