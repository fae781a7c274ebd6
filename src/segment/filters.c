// SPDX-License-Identifier: Apache-2.0
// Asking the filters of a segment's index whether it has a term: what ends most look-ups, since a term that
// few segments have is asked of all.
//
// A filter is found by binary search over the separators, and lies in the cache. There it costs a lock, a
// search and the lists of the cache, all of it cold to the processor where there are many segments: a
// microsecond or two each. So a filter that is asked a second time is *kept* (index/cache.h): it stays, and a
// table of the segment points at it. Asking takes the table's row and three cells then, which
// dbk_segment_probe_begin has fetched for many segments at once.
//
// Bounded: filters are kept up to a quarter of the cache, first come first served, and go with their segment,
// whose time merging ends. Those beyond are asked through the cache like any other chunk, at its price.
//
// Invariants: an open segment with filters has the table. A kept filter has passed its checksum and
// dbk_filter_check. A row is written once; the entry's pointer, stored last, publishes it. Any thread.
#include "segment/reader.h"

static dbk_slice separator_of(const dbk_segment *segment, uint32_t index) {
    const dbk_filter_part *part = &segment->footer.filter_parts[index];
    return daybook_bytes(segment->footer.separators + part->separator_offset, part->separator_size);
}

const dbk_filter_part *dbk_segment_filter_part(const dbk_segment *segment, dbk_slice term) {
    uint32_t low = 0,
             high = segment->footer.filter_part_count; // The last separator at or below is in [low, high).
    if (high == 0) return NULL;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (dbk_slice_compare(separator_of(segment, middle), term) <= 0)
            low = middle;
        else
            high = middle;
    }
    return &segment->footer.filter_parts[low];
}

// ---- Kept filters -----------------------------------------------------------------------------------------

daybook_status dbk_segment_init_kept_filters(dbk_segment *segment) {
    uint32_t count = segment->footer.filter_part_count;
    if (count == 0) return DAYBOOK_OK;
    segment->kept_filters = dbk_alloc_zeroed(segment->allocator, count * sizeof *segment->kept_filters);
    return segment->kept_filters == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
}

void dbk_segment_drop_kept_filters(dbk_segment *segment) {
    for (uint32_t i = 0; segment->kept_filters != NULL && i < segment->footer.filter_part_count; i++) {
        dbk_cache_entry *entry = atomic_load_explicit(&segment->kept_filters[i].entry, memory_order_acquire);
        if (entry != NULL) dbk_cache_unkeep(segment->cache, entry);
    }
    dbk_free(segment->allocator, segment->kept_filters);
    segment->kept_filters = NULL;
}

// The caller holds the entry. Of two threads that come here with it, the one whose pointer is stored keeps
// it.
static void keep(dbk_segment *segment, dbk_kept_filter *row, dbk_slice filter, dbk_cache_entry *entry) {
    if (!dbk_cache_keep(segment->cache, entry)) return;
    dbk_filter_shape shape;
    dbk_filter_get_shape(filter, &shape);
    atomic_store_explicit(&row->seed, shape.seed, memory_order_relaxed);
    atomic_store_explicit(&row->segment_size, shape.segment_size, memory_order_relaxed);
    atomic_store_explicit(&row->segment_count, shape.segment_count, memory_order_relaxed);
    dbk_cache_entry *nobody = NULL;
    if (!atomic_compare_exchange_strong_explicit(&row->entry, &nobody, entry, memory_order_release,
                                                 memory_order_relaxed))
        dbk_cache_unkeep(segment->cache, entry);
}

// False where the filter is not kept.
static bool begin_kept(dbk_kept_filter *row, uint64_t hash, dbk_filter_probe *probe_out) {
    dbk_cache_entry *entry = atomic_load_explicit(&row->entry, memory_order_acquire);
    if (entry == NULL) return false;
    dbk_filter_shape shape = {
        .seed = atomic_load_explicit(&row->seed, memory_order_relaxed),
        .segment_size = atomic_load_explicit(&row->segment_size, memory_order_relaxed),
        .segment_count = atomic_load_explicit(&row->segment_count, memory_order_relaxed),
    };
    dbk_filter_probe_begin(dbk_cache_entry_data(entry), &shape, hash, probe_out);
    return true;
}

// ---- Asking -----------------------------------------------------------------------------------------------

void dbk_segment_probe_begin(dbk_segment *segment, dbk_slice term, uint64_t hash,
                             dbk_filter_probe *probe_out) {
    *probe_out = (dbk_filter_probe){.fingerprint = 0};
    const dbk_filter_part *part = dbk_segment_filter_part(segment, term);
    if (part == NULL) return;
    (void)begin_kept(&segment->kept_filters[part - segment->footer.filter_parts], hash, probe_out);
}

static daybook_status ask_cached(dbk_segment *segment, const dbk_filter_part *part, uint64_t hash,
                                 daybook_error *error) {
    dbk_cache_entry *entry;
    DBK_TRY(dbk_segment_load(segment, part->offset, part->size, "a filter of the index", &entry, error));
    dbk_slice filter = daybook_bytes(dbk_cache_entry_data(entry), part->size);
    daybook_status status = DAYBOOK_OK;
    if (!dbk_filter_check(filter)) {
        status = dbk_chunk_damaged(&segment->reader, part->offset, "a filter of the index", error);
    } else {
        if (!dbk_filter_may_contain(filter, hash)) status = DAYBOOK_ENOTFOUND;
        keep(segment, &segment->kept_filters[part - segment->footer.filter_parts], filter, entry);
    }
    dbk_cache_release(segment->cache, entry);
    return status;
}

daybook_status dbk_segment_ask_filter(dbk_segment *segment, dbk_slice term, daybook_error *error) {
    const dbk_filter_part *part = dbk_segment_filter_part(segment, term);
    if (part == NULL) return DAYBOOK_OK;
    uint64_t hash = dbk_term_hash(term);
    dbk_filter_probe probe;
    if (!begin_kept(&segment->kept_filters[part - segment->footer.filter_parts], hash, &probe))
        return ask_cached(segment, part, hash, error);
    return dbk_filter_probe_end(&probe) ? DAYBOOK_OK : DAYBOOK_ENOTFOUND;
}
