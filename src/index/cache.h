// SPDX-License-Identifier: Apache-2.0
// A bounded cache of verified file chunks (index pages, filters, decompressed blocks), shared by all segments
// of a store. Sharded, least recently used out first; any thread. Entries are pinned while referenced.
#ifndef DBK_INDEX_CACHE_H
#define DBK_INDEX_CACHE_H

#include "base/memory.h"

typedef struct dbk_cache dbk_cache;
typedef struct dbk_cache_entry dbk_cache_entry;

daybook_status dbk_cache_new(const daybook_allocator *allocator, size_t bytes_max, dbk_cache **cache_out);
void dbk_cache_free(dbk_cache *cache);
/// The chunk (file id, offset), pinned; NULL when absent.
dbk_cache_entry *dbk_cache_get(dbk_cache *cache, uint64_t file_id, uint64_t offset);
/// A new unattached entry of `size` bytes to be filled, pinned; NULL when memory is out.
dbk_cache_entry *dbk_cache_entry_new(dbk_cache *cache, size_t size);
/// Insert a filled entry; stays pinned. Where another thread was faster, its entry wins and is returned
/// instead.
dbk_cache_entry *dbk_cache_put(dbk_cache *cache, uint64_t file_id, uint64_t offset, dbk_cache_entry *entry);
void dbk_cache_release(dbk_cache *cache, dbk_cache_entry *entry);
/// Keep an entry one holds: a reference of its own, until dbk_cache_unkeep. For what nearly every look-up
/// asks, and would have to be looked up itself. False where it was not asked for twice, or where what is kept
/// would exceed a quarter of the cache.
bool dbk_cache_keep(dbk_cache *cache, dbk_cache_entry *entry);
void dbk_cache_unkeep(dbk_cache *cache, dbk_cache_entry *entry);
void *dbk_cache_entry_data(dbk_cache_entry *entry);
size_t dbk_cache_entry_size(const dbk_cache_entry *entry);
/// Drop every chunk of a file (pinned ones go when released).
void dbk_cache_forget(dbk_cache *cache, uint64_t file_id);
size_t dbk_cache_bytes(const dbk_cache *cache);
size_t dbk_cache_bytes_max(const dbk_cache *cache);

/// Working memory of `size` bytes (decompression contexts, read buffers) that outlives the call: given back,
/// it serves the next taker of the same size, with the content it was given back with (zeros when new), so
/// that what is costly to set up stays set up. A few idle pieces are kept. NULL when memory is out.
void *dbk_cache_take_scratch(dbk_cache *cache, size_t size);
void dbk_cache_give_scratch(dbk_cache *cache, void *scratch, size_t size);

#endif
