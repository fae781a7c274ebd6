// SPDX-License-Identifier: Apache-2.0
// What repair knows of streams that an opening need not ask for. An opening begins where the manifest says,
// with the catalogue of that point; repair may begin earlier, where the manifest was rebuilt from
// catalogues that are younger than parts of the journal, and goes on behind damage, where the record that
// made room for a stream may be lost. So the whole journal is first asked for its catalogue, and replayed
// under what came of it.
#ifndef DBK_STORE_SALVAGE_H
#define DBK_STORE_SALVAGE_H

#include "store/store_internal.h"

/// Events of the journal whose stream nobody knows any more.
typedef struct dbk_salvage_lost {
    uint32_t stream_id;
    uint64_t count;
    uint64_t position_first, position_last;
} dbk_salvage_lost;

/// store->salvage while repair replays: see dbk_store_replay.
typedef struct dbk_salvage {
    uint32_t *removed; // numbers of streams the journal removed
    size_t removed_count, removed_capacity;
    dbk_salvage_lost *lost;
    size_t lost_count, lost_capacity;
    bool is_cut_short; // reading the catalogue records failed with EIO
} dbk_salvage;

void dbk_salvage_deinit(dbk_salvage *salvage, const daybook_allocator *allocator);
/// Apply the catalogue records of the whole journal to `manifest` (a copy of the store's), over damage. Where
/// two streams claim one name or subject afterwards, that with the greater number stays.
daybook_status dbk_salvage_catalogue(daybook_store *store, dbk_salvage *salvage, dbk_manifest *manifest,
                                     daybook_error *error);
/// Drop streams that cannot live beside one with a greater number: what it replaced. next_stream_id becomes
/// greater than every number met. ENOMEM.
daybook_status dbk_salvage_drop_replaced(dbk_manifest *manifest);
/// A replayed event has no stream. ENOMEM.
daybook_status dbk_salvage_note_event(dbk_salvage *salvage, const daybook_allocator *allocator,
                                      const dbk_event *event);

#endif
