// SPDX-License-Identifier: Apache-2.0
// Subject transforms: from a filter to a destination whose tokens take tokens of the subject.
//
//     orders.*.*  ->  by_kind.{{wildcard(2)}}.$1        orders.7.placed becomes by_kind.placed.7
//
// In a destination: $n and {{wildcard(n)}} the n-th wildcard's token; {{partition(count,n,…)}},
// {{split(n,sep)}}, {{splitFromLeft(n,size)}}, {{splitFromRight}}, {{sliceFromLeft(n,size)}},
// {{sliceFromRight}}, {{left(n,size)}}, {{right(n,size)}}; a final > the rest, where the source ends with >
// too. An empty source is ">". Pure but for memory. A transform is not changed by being applied: any thread.
#ifndef DBK_API_TRANSFORM_H
#define DBK_API_TRANSFORM_H

#include "base/memory.h"

typedef struct dbk_api_transform dbk_api_transform;

enum { DBK_API_TRANSFORM_REASON_SIZE = 160 };

/// @param transform_out  in `arena`, NULL where it returns anything but OK
/// @param reason_out     on EINVALID why, in nats-server's words; DBK_API_TRANSFORM_REASON_SIZE bytes; may be
/// NULL
/// @return OK; EINVALID; ENOMEM
daybook_status dbk_api_transform_new(dbk_slice source, dbk_slice destination, dbk_arena *arena,
                                     const dbk_api_transform **transform_out, char *reason_out);
/// Append what `subject` becomes.
/// @return false: the source does not match it; nothing was appended
bool dbk_api_transform_apply(const dbk_api_transform *transform, dbk_slice subject, dbk_buf *out);

#endif
