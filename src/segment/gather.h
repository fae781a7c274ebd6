// SPDX-License-Identifier: Apache-2.0
// Gathers the terms of events in memory, within a bound; what exceeds it goes sorted into a temporary file.
#ifndef DBK_SEGMENT_GATHER_H
#define DBK_SEGMENT_GATHER_H

#include "record/event.h"
#include "segment/segment.h"
#include "segment/terms.h"

typedef struct dbk_gather dbk_gather;

/// `temporary_path` is borrowed; the file exists only where memory_max was exceeded, and until the gather is
/// freed.
daybook_status dbk_gather_new(const daybook_allocator *allocator, daybook_vfs *vfs,
                              const char *temporary_path, size_t memory_max, dbk_gather **gather_out);
/// Removes the temporary file.
void dbk_gather_free(dbk_gather *gather);

/// All terms of an event, its supplied id included. Numbers ascend.
daybook_status dbk_gather_event(dbk_gather *gather, const dbk_event *event, uint32_t number, uint64_t id_seed,
                                daybook_error *error);
/// The last version of an aggregate, without an event.
daybook_status dbk_gather_version(dbk_gather *gather, const dbk_event *event, daybook_error *error);
/// The same, given the aggregate's term.
daybook_status dbk_gather_term_version(dbk_gather *gather, dbk_slice term, uint64_t version,
                                       daybook_error *error);
daybook_status dbk_gather_dead_id(dbk_gather *gather, const dbk_dead_id *dead, daybook_error *error);

/// No more is added. The sources, in order, owned by the gather; close them before it is freed.
daybook_status dbk_gather_finish(dbk_gather *gather, dbk_term_source *const **sources_out, size_t *count_out,
                                 daybook_error *error);

/// Terms of ids (segment/ids.c).
void dbk_id_hash(uint64_t id_seed, uint32_t stream_id, dbk_slice id_key, uint8_t hash_out[16]);
void dbk_id_term(dbk_term *term, const uint8_t hash[16]);
void dbk_dead_id_term(dbk_term *term, const uint8_t hash[16]);
/// Whether the event's id is found by its time (made by the store) and so is in no table.
bool dbk_id_is_by_time(const dbk_event *event);

#endif
