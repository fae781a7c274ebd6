// SPDX-License-Identifier: Apache-2.0
// Loading what is compressed: blocks of events and pages of terms, read, verified, unpacked into the cache.
//
// A decompressed block, a page and a digested dictionary are each one piece of memory in the cache (under the
// offset of their chunk), so the cache's bound is the bound of all of them. Decompression works in scratch
// memory that the cache keeps for the next one. Blocks that one read does not fit into the scratch (events of
// more than about 60 KiB, stored) get a buffer of their own. Any thread; two that miss the same block both
// read it, and one result stays.
//
// Reads are few: dictionaries come with their neighbours, and a block comes with the page of the block index
// that lies behind it where that is near.
#include "base/assert.h"
#include "io/io.h"
#include "segment/reader.h"

enum {
    READ_SIZE = 64 * 1024,
    DICTIONARIES_FIRST = 8, // read for the first block that needs one, mostly the only one
    DICTIONARIES_MORE = 32, // and when others do
    NEAR_SIZE = 32 * 1024,  // read at most to get a block along with its page of the block index
};

// What the cache holds of a page of terms.
typedef struct cached_page {
    uint32_t stored_size; // two parents in a hostile file may say different things
    uint32_t size;
    uint8_t bytes[];
} cached_page;

static size_t scratch_size(void) {
    return dbk_unpack_scratch_size() + READ_SIZE;
}

static daybook_status out_of_memory(const dbk_segment *segment, daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory reading a block of %s", segment->path);
}

daybook_status dbk_block_damaged(dbk_segment *segment, uint64_t offset, daybook_error *error) {
    return dbk_chunk_damaged(&segment->reader, offset, "a block of events", error);
}

static daybook_status events_damaged(dbk_segment *segment, const dbk_block_place *place,
                                     daybook_error *error) {
    return dbk_fail_damaged(
        error, segment->path, place->file_offset,
        "the block of events at positions %llu to %llu is damaged (%s, byte %llu): its bytes are not "
        "those that were written; run daybook verify",
        (unsigned long long)place->position_first, (unsigned long long)place->position_last, segment->path,
        (unsigned long long)place->file_offset);
}

daybook_status dbk_block_is_unreadable(const dbk_segment *segment, const dbk_block_place *place,
                                       daybook_error *error) {
    return dbk_fail_damaged(error, segment->path, place->file_offset,
                            "the block of events at positions %llu to %llu cannot be read (%s, byte %llu): "
                            "input/output error; look "
                            "after the disk, and run daybook verify",
                            (unsigned long long)place->position_first,
                            (unsigned long long)place->position_last, segment->path,
                            (unsigned long long)place->file_offset);
}

bool dbk_block_head_matches(const dbk_block_head *head, const dbk_block_info *info) {
    return head->event_count == info->event_count && head->position_first == info->position_first &&
           head->position_last == info->position_last && head->recorded_first_ns == info->recorded_first_ns &&
           head->recorded_last_ns == info->recorded_last_ns && head->time_min_ns == info->time_min_ns &&
           head->time_max_ns == info->time_max_ns;
}

// ---- Dictionaries -----------------------------------------------------------------------------------------

daybook_status dbk_segment_read_dictionary(const dbk_segment *segment, uint32_t number, uint8_t *data_out,
                                           daybook_error *error) {
    const dbk_dictionary_place *place = &segment->footer.dictionaries[number - 1];
    daybook_status status =
        dbk_chunk_read(&segment->reader, place->offset, place->size, "a dictionary", data_out, error);
    if (status != DAYBOOK_EDAMAGED) return status;
    return dbk_chunk_read(&segment->reader, place->copy_offset, place->size, "a dictionary", data_out, error);
}

// Digest a dictionary and keep it in the cache, pinned.
static daybook_status cache_decoder(dbk_segment *segment, const dbk_dictionary_place *place,
                                    const uint8_t *bytes, dbk_cache_entry **entry_out, daybook_error *error) {
    size_t size = dbk_dictionary_decoder_size(place->size);
    dbk_cache_entry *entry = dbk_cache_entry_new(segment->cache, size);
    if (entry == NULL) return out_of_memory(segment, error);
    if (dbk_dictionary_decoder_init(dbk_cache_entry_data(entry), size, daybook_bytes(bytes, place->size)) ==
        NULL) {
        dbk_cache_release(segment->cache, entry);
        return dbk_chunk_damaged(&segment->reader, place->offset, "a dictionary", error);
    }
    *entry_out = dbk_cache_put(segment->cache, segment->footer.summary.segment_id,
                               place->offset | DBK_CACHED_DICTIONARY, entry);
    return DAYBOOK_OK;
}

static dbk_cache_entry *keep_bytes(dbk_segment *segment, uint64_t offset, const uint8_t *bytes,
                                   uint32_t size) {
    dbk_cache_entry *entry = dbk_cache_entry_new(segment->cache, size);
    if (entry == NULL) return NULL;
    memcpy(dbk_cache_entry_data(entry), bytes, size);
    return dbk_cache_put(segment->cache, segment->footer.summary.segment_id,
                         offset | DBK_CACHED_DICTIONARY_BYTES, entry);
}

// A merged segment has many dictionaries, and an aggregate spread over it needs several: their copies lie
// side by side, so one read fetches a few. They are kept as they are, to be digested when asked for. Whatever
// is not as it should be is left to reading one alone (NULL).
static dbk_cache_entry *read_neighbours(dbk_segment *segment, uint32_t number) {
    const dbk_footer *footer = &segment->footer;
    const dbk_file_reader *reader = &segment->reader;
    bool is_first = atomic_exchange_explicit(&segment->has_dictionaries, true, memory_order_relaxed) == false;
    uint32_t at_once = is_first ? DICTIONARIES_FIRST : DICTIONARIES_MORE;
    uint32_t first = (number - 1) / at_once * at_once, end = first + 1;
    uint64_t begin = footer->dictionaries[first].copy_offset, offset = begin;
    for (uint32_t i = first; i < footer->dictionary_count && i < first + at_once; i++) {
        const dbk_dictionary_place *place = &footer->dictionaries[i];
        if (place->copy_offset != offset) break;
        offset += place->size + DBK_CHUNK_CHECKSUM_SIZE;
        end = i + 1;
    }
    if (end < number || end - first < 2 || begin > reader->size || offset - begin > reader->size - begin)
        return NULL;
    uint8_t *bytes = dbk_alloc(segment->allocator, (size_t)(offset - begin));
    bool is_there = bytes != NULL && dbk_read_exactly(reader->vfs, reader->file, reader->path, bytes,
                                                      (size_t)(offset - begin), begin, NULL) == DAYBOOK_OK;
    dbk_cache_entry *found = NULL;
    for (uint32_t i = first; is_there && i < end; i++) {
        const dbk_dictionary_place *place = &footer->dictionaries[i];
        const uint8_t *data = bytes + (place->copy_offset - begin);
        if (dbk_chunk_checksum(reader->seed, place->copy_offset, data, place->size) !=
            dbk_get_u64(data + place->size))
            continue;
        dbk_cache_entry *entry = keep_bytes(segment, place->copy_offset, data, place->size);
        if (i + 1 == number)
            found = entry;
        else
            dbk_cache_release(segment->cache, entry);
    }
    dbk_free(segment->allocator, bytes);
    return found;
}

// From bytes that came with those of a neighbour, or come now; false where there are none.
static bool digest_kept(dbk_segment *segment, uint32_t number, dbk_cache_entry **entry_out) {
    const dbk_dictionary_place *place = &segment->footer.dictionaries[number - 1];
    dbk_cache_entry *bytes = dbk_cache_get(segment->cache, segment->footer.summary.segment_id,
                                           place->copy_offset | DBK_CACHED_DICTIONARY_BYTES);
    if (bytes == NULL) bytes = read_neighbours(segment, number);
    // In a hostile file two dictionaries of different sizes may claim one place.
    bool is_digested = bytes != NULL && dbk_cache_entry_size(bytes) == place->size &&
                       cache_decoder(segment, place, dbk_cache_entry_data(bytes), entry_out, NULL) ==
                           DAYBOOK_OK;
    dbk_cache_release(segment->cache, bytes);
    return is_digested;
}

daybook_status dbk_segment_load_decoder(dbk_segment *segment, uint32_t number, dbk_cache_entry **entry_out,
                                        daybook_error *error) {
    *entry_out = NULL;
    if (number == 0) return DAYBOOK_OK;
    const dbk_dictionary_place *place = &segment->footer.dictionaries[number - 1];
    uint64_t file_id = segment->footer.summary.segment_id;
    *entry_out = dbk_cache_get(segment->cache, file_id, place->offset | DBK_CACHED_DICTIONARY);
    if (*entry_out != NULL) return DAYBOOK_OK;

    if (digest_kept(segment, number, entry_out)) return DAYBOOK_OK;
    uint8_t bytes[DBK_DICTIONARY_SIZE_MAX + DBK_CHUNK_CHECKSUM_SIZE];
    DBK_TRY(dbk_segment_read_dictionary(segment, number, bytes, error));
    return cache_decoder(segment, place, bytes, entry_out, error);
}

// ---- Blocks -----------------------------------------------------------------------------------------------

static bool is_at(const dbk_block_head *head, const dbk_block_place *place) {
    return head->position_first == place->position_first && head->position_last == place->position_last;
}

bool dbk_block_open_payload(const dbk_segment *segment, const dbk_block_place *place, dbk_slice payload,
                            dbk_block_head *head_out, dbk_slice *stored_out) {
    return dbk_block_head_decode(payload, head_out, stored_out) && is_at(head_out, place) &&
           head_out->dictionary <= segment->footer.dictionary_count;
}

static daybook_status decode_block(dbk_segment *segment, const dbk_block_place *place, dbk_slice payload,
                                   void *scratch, dbk_cache_entry **entry_out, daybook_error *error) {
    dbk_block_head head;
    dbk_slice stored;
    if (!dbk_block_open_payload(segment, place, payload, &head, &stored))
        return events_damaged(segment, place, error);
    dbk_cache_entry *decoder_entry;
    DBK_TRY(dbk_segment_load_decoder(segment, head.dictionary, &decoder_entry, error));
    // initStatic puts the digested dictionary at the begin of its memory.
    const void *decoder = decoder_entry == NULL ? NULL : dbk_cache_entry_data(decoder_entry);
    daybook_status status = DAYBOOK_OK;
    dbk_cache_entry *entry = dbk_cache_entry_new(segment->cache, dbk_block_memory_size(&head));
    if (entry == NULL) {
        status = out_of_memory(segment, error);
    } else if (!dbk_block_decode(&head, stored, decoder, scratch, dbk_cache_entry_data(entry))) {
        dbk_cache_release(segment->cache, entry);
        status = events_damaged(segment, place, error);
    }
    dbk_cache_release(segment->cache, decoder_entry);
    if (status == DAYBOOK_OK) *entry_out = entry;
    return status;
}

bool dbk_block_decode_with_scratch(dbk_segment *segment, const dbk_block_head *head, dbk_slice stored,
                                   const void *decoder, void *memory) {
    size_t scratch_size = dbk_unpack_scratch_size() + READ_SIZE; // the same size as below, to share them
    void *scratch = dbk_cache_take_scratch(segment->cache, scratch_size);
    bool is_decoded = scratch != NULL && dbk_block_decode(head, stored, decoder, scratch, memory);
    dbk_cache_give_scratch(segment->cache, scratch, scratch_size);
    return is_decoded;
}

static daybook_status read_block(dbk_segment *segment, const dbk_block_place *place,
                                 dbk_cache_entry **entry_out, daybook_error *error) {
    uint8_t *scratch = dbk_cache_take_scratch(segment->cache, scratch_size());
    uint8_t *own = NULL, *bytes = scratch + dbk_unpack_scratch_size();
    daybook_status status = DAYBOOK_OK;
    if (scratch != NULL && place->file_bytes > READ_SIZE) {
        if (place->file_bytes <= segment->reader.size)
            bytes = own = dbk_alloc(segment->allocator, place->file_bytes);
        else
            status = events_damaged(segment, place, error);
    }
    if (scratch == NULL || bytes == NULL) status = out_of_memory(segment, error);
    size_t size = place->file_bytes - DBK_CHUNK_CHECKSUM_SIZE;
    if (status == DAYBOOK_OK)
        status =
            dbk_chunk_read(&segment->reader, place->file_offset, size, "a block of events", bytes, error);
    if (status == DAYBOOK_OK)
        status = decode_block(segment, place, daybook_bytes(bytes, size), scratch, entry_out, error);
    else if (status == DAYBOOK_EDAMAGED)
        status = events_damaged(segment, place, error);
    dbk_free(segment->allocator, own);
    dbk_cache_give_scratch(segment->cache, scratch, scratch_size());
    return status;
}

// ---- A block with its page --------------------------------------------------------------------------------

// From where on to read so that the block for `position` is there when the page's end is; the page's own
// offset where it is too far in front. Blocks hold about as many positions each, so the place is guessed.
static uint64_t guess_begin(const dbk_segment *segment, uint32_t page_index, uint64_t position) {
    const dbk_block_page *page = &segment->footer.block_pages[page_index];
    uint64_t base = segment->footer.summary.position_first, begin = page->first_block_offset;
    uint64_t first = page_index == 0 ? base : segment->footer.block_pages[page_index - 1].position_last + 1;
    uint64_t end = page->offset + page->size + DBK_CHUNK_CHECKSUM_SIZE;
    // Also a hostile file.
    if (begin >= page->offset || end > segment->reader.size || position < first) return page->offset;
    if (end - begin <= NEAR_SIZE) return begin;
    // Sizes differ; an eighth of the page's blocks is read in front of the guess.
    uint64_t size = page->offset - begin, span = page->position_last - first + 1;
    uint64_t guess = (uint64_t)((double)(position - first) / (double)span * (double)size);
    begin += guess < size / 8 ? 0 : guess - size / 8;
    return end - begin <= NEAR_SIZE ? begin : page->offset;
}

// Decode the block for `position` into the cache where all of it was read. What is wrong with it is said to
// who reads it alone.
static void keep_block(dbk_segment *segment, const dbk_block_info *blocks, uint32_t count, uint64_t position,
                       const uint8_t *bytes, uint64_t begin, uint64_t end, void *scratch) {
    uint32_t i = 0;
    while (blocks[i].position_last < position) i++; // the page ends at or behind it
    DBK_ASSERT(i < count);
    if (blocks[i].file_offset < begin || blocks[i].file_offset > end ||
        blocks[i].file_bytes > end - blocks[i].file_offset)
        return;
    const dbk_block_info *block = &blocks[i];
    uint64_t file_id = segment->footer.summary.segment_id, key = block->file_offset | DBK_CACHED_BLOCK;
    const uint8_t *data = bytes + (block->file_offset - begin);
    size_t size = block->file_bytes - DBK_CHUNK_CHECKSUM_SIZE;
    if (dbk_chunk_checksum(segment->reader.seed, block->file_offset, data, size) != dbk_get_u64(data + size))
        return;
    dbk_block_place place = {.file_offset = block->file_offset,
                             .position_first = block->position_first,
                             .position_last = block->position_last,
                             .file_bytes = block->file_bytes,
                             .block_number = block->block_number};
    dbk_cache_entry *entry = dbk_cache_get(segment->cache, file_id, key);
    if (entry == NULL &&
        decode_block(segment, &place, daybook_bytes(data, size), scratch, &entry, NULL) == DAYBOOK_OK)
        entry = dbk_cache_put(segment->cache, file_id, key, entry);
    dbk_cache_release(segment->cache, entry);
}

bool dbk_segment_read_page_and_block(dbk_segment *segment, uint32_t page_index, uint64_t position,
                                     dbk_block_info blocks_out[DBK_BLOCK_PAGE_COUNT]) {
    const dbk_block_page *page = &segment->footer.block_pages[page_index];
    const dbk_file_reader *reader = &segment->reader;
    uint64_t begin = guess_begin(segment, page_index, position);
    if (begin == page->offset) return false;
    size_t size = (size_t)(page->offset - begin);
    size_t end = size + page->size + DBK_CHUNK_CHECKSUM_SIZE;
    uint8_t *scratch = dbk_cache_take_scratch(segment->cache, scratch_size());
    if (scratch == NULL) return false;
    uint8_t *bytes = scratch + dbk_unpack_scratch_size();
    uint32_t first = page_index * DBK_BLOCK_PAGE_COUNT,
             count = dbk_segment_blocks_in_page(segment, page_index);
    bool is_sound =
        dbk_read_exactly(reader->vfs, reader->file, reader->path, bytes, end, begin, NULL) == DAYBOOK_OK &&
        dbk_chunk_checksum(reader->seed, page->offset, bytes + size, page->size) ==
            dbk_get_u64(bytes + size + page->size) &&
        dbk_block_page_decode(daybook_bytes(bytes + size, page->size), page, first, count, blocks_out);
    if (is_sound) keep_block(segment, blocks_out, count, position, bytes, begin, page->offset, scratch);
    dbk_cache_give_scratch(segment->cache, scratch, scratch_size());
    return is_sound;
}

void dbk_block_show(dbk_segment *segment, dbk_cache_entry *entry, const dbk_block_memory *block,
                    const dbk_block_place *place, dbk_block_view *view) {
    view->segment = segment;
    view->memory = block;
    view->entry = entry;
    view->bytes = daybook_bytes(block->bodies, block->head.bodies_size);
    view->file_offset = place->file_offset;
    view->position_first = place->position_first;
    view->position_last = place->position_last;
    view->event_count = block->head.event_count;
    view->block_number = place->block_number;
    view->offsets = block->offsets;
}

bool dbk_block_is_loaded(const dbk_block_view *view, const dbk_segment *segment, uint32_t block_number) {
    return view->memory != NULL && view->segment == segment && view->block_number == block_number;
}

daybook_status dbk_block_load_at(dbk_segment *segment, const dbk_block_place *place, dbk_block_view *view,
                                 daybook_error *error) {
    if (dbk_block_is_loaded(view, segment, place->block_number)) return DAYBOOK_OK;
    dbk_block_release(view);
    uint64_t file_id = segment->footer.summary.segment_id;
    uint64_t key = place->file_offset | DBK_CACHED_BLOCK;
    dbk_cache_entry *entry = dbk_cache_get(segment->cache, file_id, key);
    if (entry == NULL) {
        DBK_TRY(read_block(segment, place, &entry, error));
        entry = dbk_cache_put(segment->cache, file_id, key, entry);
    }
    const dbk_block_memory *block = dbk_cache_entry_data(entry);
    if (!is_at(&block->head, place)) { // A hostile file: two entries name one block.
        dbk_cache_release(segment->cache, entry);
        return events_damaged(segment, place, error);
    }
    dbk_block_show(segment, entry, block, place, view);
    return DAYBOOK_OK;
}

daybook_status dbk_block_load(dbk_segment *segment, uint32_t block_number, dbk_block_view *view,
                              daybook_error *error) {
    if (dbk_block_is_loaded(view, segment, block_number)) return DAYBOOK_OK;
    dbk_block_release(view);
    dbk_block_place place;
    DBK_TRY(dbk_segment_block_place(segment, block_number, &place, error));
    return dbk_block_load_at(segment, &place, view, error);
}

void dbk_block_release(dbk_block_view *view) {
    if (view->entry != NULL) dbk_cache_release(view->segment->cache, view->entry);
    memset(view, 0, sizeof *view);
}

daybook_status dbk_block_event(const dbk_block_view *view, uint32_t index, dbk_event *event_out,
                               daybook_error *error) {
    DBK_ASSERT(view->memory != NULL && index < view->event_count);
    if (dbk_block_memory_event(view->memory, index, event_out) == DAYBOOK_OK) return DAYBOOK_OK;
    return dbk_block_damaged(view->segment, view->file_offset, error);
}

uint32_t dbk_block_find(const dbk_block_view *view, uint64_t position) {
    DBK_ASSERT(view->memory != NULL);
    const dbk_block_memory *block = view->memory;
    uint32_t low = 0, high = view->event_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (block->rows[middle].position < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// ---- Pages of terms ---------------------------------------------------------------------------------------

// The page's bytes: borrowed from `stored` or `out`.
static daybook_status unpack_page(dbk_segment *segment, uint64_t offset, dbk_slice stored,
                                  uint8_t out[DBK_TERM_PAGE_SIZE_MAX], dbk_slice *page_out,
                                  daybook_error *error) {
    void *scratch = dbk_cache_take_scratch(segment->cache, scratch_size());
    if (scratch == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory reading the index of %s", segment->path);
    bool is_sound = dbk_unpack_page(stored, scratch, out, page_out);
    dbk_cache_give_scratch(segment->cache, scratch, scratch_size());
    return is_sound ? DAYBOOK_OK : dbk_segment_page_damaged(segment, offset, error);
}

static daybook_status open_page(dbk_segment *segment, uint32_t level, uint64_t offset, dbk_slice bytes,
                                dbk_term_page *page_out, daybook_error *error) {
    if (dbk_term_page_open(bytes, page_out) && page_out->level == level) return DAYBOOK_OK;
    return dbk_segment_page_damaged(segment, offset, error);
}

daybook_status dbk_segment_open_page(dbk_segment *segment, uint32_t level, uint64_t offset, dbk_slice stored,
                                     uint8_t out[DBK_TERM_PAGE_SIZE_MAX], dbk_term_page *page_out,
                                     daybook_error *error) {
    dbk_slice bytes;
    DBK_TRY(unpack_page(segment, offset, stored, out, &bytes, error));
    return open_page(segment, level, offset, bytes, page_out, error);
}

static daybook_status read_page(dbk_segment *segment, uint64_t offset, uint32_t size,
                                dbk_cache_entry **entry_out, daybook_error *error) {
    uint8_t stored[DBK_TERM_PAGE_SIZE_MAX + DBK_CHUNK_CHECKSUM_SIZE], unpacked[DBK_TERM_PAGE_SIZE_MAX];
    if (size > DBK_TERM_PAGE_SIZE_MAX) return dbk_segment_page_damaged(segment, offset, error);
    DBK_TRY(dbk_chunk_read(&segment->reader, offset, size, "a page of the index", stored, error));
    dbk_slice bytes;
    DBK_TRY(unpack_page(segment, offset, daybook_bytes(stored, size), unpacked, &bytes, error));
    dbk_cache_entry *entry = dbk_cache_entry_new(segment->cache, sizeof(cached_page) + bytes.size);
    if (entry == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory reading the index of %s", segment->path);
    cached_page *page = dbk_cache_entry_data(entry);
    page->stored_size = size;
    page->size = (uint32_t)bytes.size;
    memcpy(page->bytes, bytes.data, bytes.size);
    *entry_out = entry;
    return DAYBOOK_OK;
}

daybook_status dbk_segment_load_page(dbk_segment *segment, uint32_t level, uint64_t offset, uint32_t size,
                                     dbk_cache_entry **entry_out, dbk_term_page *page_out,
                                     daybook_error *error) {
    uint64_t file_id = segment->footer.summary.segment_id;
    dbk_cache_entry *entry = dbk_cache_get(segment->cache, file_id, offset | DBK_CACHED_TERM_PAGE);
    if (entry == NULL) {
        DBK_TRY(read_page(segment, offset, size, &entry, error));
        entry = dbk_cache_put(segment->cache, file_id, offset | DBK_CACHED_TERM_PAGE, entry);
    }
    const cached_page *page = dbk_cache_entry_data(entry);
    daybook_status status = DAYBOOK_OK;
    if (page->stored_size != size)
        status = dbk_segment_page_damaged(segment, offset, error);
    else
        status = open_page(segment, level, offset, daybook_bytes(page->bytes, page->size), page_out, error);
    if (status == DAYBOOK_OK)
        *entry_out = entry;
    else
        dbk_cache_release(segment->cache, entry);
    return status;
}
