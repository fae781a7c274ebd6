// SPDX-License-Identifier: Apache-2.0
// Opening a segment, finding terms and blocks in it.
//
// Opening reads head, tail and footer, and keeps the footer: for each 128 blocks and each 32 Ki terms one
// small record, and the streams. The root of the index goes into the cache. Of a page of the block index
// the cache keeps 16 bytes for each block, where it lies; times are decoded again for who asks for them.
// Everything else is read when needed, through the cache, chunk by chunk; the first block of a page comes
// with the page, and dictionaries with their neighbours (load.c).
//
// A term is looked up in its filter (which mostly ends the matter), then from the root page down. A block is
// found by position or recorded time in the footer's records, then in its page of the block index.
//
// Damage: what has a second copy is taken from there, silently here; verify tells of it. A damaged page of
// the block index is made again from the heads of its blocks. All else is EDAMAGED with file and offset, and
// says nothing about the rest of the segment.
//
// Invariants: after open no field changes but the reference count, a hint, and filters that are kept
// (filters.c), so any thread may read. Each reference keeps the file open. The cache's entries of this
// segment are forgotten with the last reference.
#include "segment/reader.h"

#include <errno.h>

#include "base/assert.h"
#include "io/io.h"

#define NO_POSITION UINT64_MAX

enum {
    FRAME_SIZE_MIN = DBK_SEGMENT_HEAD_SIZE + 2 * DBK_SEGMENT_TAIL_SIZE,
    TAIL_SEARCH_SIZE = 1 << 20,
    BLOCK_FILE_SIZE_MIN = 12 + DBK_CHUNK_CHECKSUM_SIZE, // a head of one-byte numbers
};

// ---- Open -------------------------------------------------------------------------------------------------

static daybook_status out_of_memory(const dbk_segment *segment, daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory reading %s", segment->path);
}

static void tell(dbk_segment_on_damage on_damage, void *context, uint64_t offset, const char *what) {
    if (on_damage != NULL) on_damage(context, offset, what);
}

static bool is_any_store(const dbk_uuid *uuid) {
    static const dbk_uuid zero;
    return memcmp(uuid, &zero, sizeof zero) == 0;
}

static daybook_status check_identity(const dbk_segment_config *config, const dbk_segment *segment,
                                     const dbk_uuid *store_uuid, uint64_t segment_id, daybook_error *error) {
    if (!is_any_store(&config->store_uuid) &&
        memcmp(&config->store_uuid, store_uuid, sizeof *store_uuid) != 0) {
        char theirs[37];
        dbk_uuid_format(store_uuid, theirs);
        return dbk_fail(error, DAYBOOK_EFOREIGN,
                        "%s belongs to another store (%s): move it out of this directory", segment->path,
                        theirs);
    }
    if (segment_id == config->segment_id) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EFOREIGN,
                    "%s holds segment %016llx: it was renamed; give it its own name again", segment->path,
                    (unsigned long long)segment_id);
}

static daybook_status newer_format(const dbk_segment *segment, uint32_t format, daybook_error *error) {
    return dbk_fail(error, DAYBOOK_EFORMAT,
                    "%s has format %u: this program knows format %d; use a newer daybook", segment->path,
                    (unsigned)format, DBK_SEGMENT_FORMAT);
}

static daybook_status open_file(const dbk_segment_config *config, dbk_segment *segment,
                                daybook_error *error) {
    char name[40], path[DBK_PATH_SIZE_MAX];
    dbk_segment_name(config->segment_id, name);
    DBK_TRY(dbk_path_join(config->directory, name, path, error));
    segment->path = dbk_copy_text(config->allocator, daybook_text(path));
    if (segment->path == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory opening %s", path);
    dbk_file_reader *reader = &segment->reader;
    reader->vfs = config->vfs;
    reader->path = segment->path;
    int result = reader->vfs->open(reader->vfs, segment->path, DAYBOOK_VFS_READ, &reader->file);
    if (result < 0) {
        reader->file = NULL;
        return dbk_fail_system(error, result, "open", segment->path, 0);
    }
    result = reader->vfs->file_size(reader->vfs, reader->file, &reader->size);
    if (result < 0) return dbk_fail_system(error, result, "read the size of", segment->path, 0);
    if (reader->size >= FRAME_SIZE_MIN) return DAYBOOK_OK;
    return dbk_fail_damaged(error, segment->path, 0, "%s has %llu bytes, too few for a segment: it was cut",
                            segment->path, (unsigned long long)reader->size);
}

// A damaged head is made up for by the footer, which repeats it.
static daybook_status read_head(const dbk_segment_config *config, dbk_segment *segment,
                                dbk_segment_head *head, bool *is_sound_out, daybook_error *error) {
    uint8_t bytes[DBK_SEGMENT_HEAD_SIZE];
    const dbk_file_reader *reader = &segment->reader;
    DBK_TRY(dbk_read_exactly(reader->vfs, reader->file, reader->path, bytes, sizeof bytes, 0, error));
    daybook_status status = dbk_segment_head_decode(bytes, head);
    *is_sound_out = status == DAYBOOK_OK;
    if (status == DAYBOOK_EFORMAT) return newer_format(segment, head->format, error);
    if (status != DAYBOOK_OK) return DAYBOOK_OK;
    return check_identity(config, segment, &head->store_uuid, head->segment_id, error);
}

// A file that was made longer, or lost a few bytes at its end, still has a tail near it.
static daybook_status search_tail(dbk_segment *segment, dbk_segment_tail *tail_out, bool *is_found_out,
                                  daybook_error *error) {
    const dbk_file_reader *reader = &segment->reader;
    uint64_t size = reader->size < TAIL_SEARCH_SIZE ? reader->size : TAIL_SEARCH_SIZE;
    uint64_t first = reader->size - size;
    uint8_t *bytes = dbk_alloc(segment->allocator, (size_t)size);
    if (bytes == NULL) return out_of_memory(segment, error);
    daybook_status status =
        dbk_read_exactly(reader->vfs, reader->file, reader->path, bytes, (size_t)size, first, error);
    for (uint64_t at = size - DBK_SEGMENT_TAIL_SIZE + 1; status == DAYBOOK_OK && !*is_found_out && at > 0;
         at--) {
        uint64_t offset = first + at - 1;
        if (dbk_segment_tail_decode(bytes + at - 1, offset, tail_out) != DAYBOOK_OK) continue;
        *is_found_out = tail_out->file_size == offset + DBK_SEGMENT_TAIL_SIZE ||
                        tail_out->file_size == offset + 2 * DBK_SEGMENT_TAIL_SIZE;
    }
    dbk_free(segment->allocator, bytes);
    return status;
}

static daybook_status read_tail(dbk_segment *segment, dbk_segment_tail *tail_out,
                                dbk_segment_on_damage on_damage, void *context, daybook_error *error) {
    const dbk_file_reader *reader = &segment->reader;
    uint8_t bytes[2 * DBK_SEGMENT_TAIL_SIZE];
    uint64_t offset = reader->size - sizeof bytes;
    DBK_TRY(dbk_read_exactly(reader->vfs, reader->file, reader->path, bytes, sizeof bytes, offset, error));
    bool is_found = false;
    for (int i = 0; i < 2; i++) {
        dbk_segment_tail tail;
        uint64_t at = offset + (uint64_t)i * DBK_SEGMENT_TAIL_SIZE;
        daybook_status status = dbk_segment_tail_decode(bytes + i * DBK_SEGMENT_TAIL_SIZE, at, &tail);
        if (status == DAYBOOK_EFORMAT) return newer_format(segment, tail.format, error);
        if (status != DAYBOOK_OK || tail.file_size != reader->size)
            tell(on_damage, context, at, "a tail");
        else if (!is_found) {
            *tail_out = tail;
            is_found = true;
        }
    }
    if (is_found) return DAYBOOK_OK;
    DBK_TRY(search_tail(segment, tail_out, &is_found, error));
    // What lies behind the end is of no consequence.
    if (is_found && tail_out->file_size < reader->size) segment->reader.size = tail_out->file_size;
    if (is_found) return DAYBOOK_OK;
    return dbk_fail_damaged(error, segment->path, offset,
                            "the end of %s is damaged, or the file was cut or extended; run daybook verify",
                            segment->path);
}

static daybook_status read_footer_at(dbk_segment *segment, uint64_t offset, uint64_t size,
                                     daybook_error *error) {
    if (size > segment->reader.size) return dbk_chunk_damaged(&segment->reader, offset, "the footer", error);
    uint8_t *bytes = dbk_alloc(segment->allocator, (size_t)size + DBK_CHUNK_CHECKSUM_SIZE);
    if (bytes == NULL) return out_of_memory(segment, error);
    daybook_status status =
        dbk_chunk_read(&segment->reader, offset, (size_t)size, "the footer", bytes, error);
    if (status == DAYBOOK_OK) {
        status = dbk_footer_decode(segment->allocator, daybook_bytes(bytes, (size_t)size), &segment->footer);
        if (status == DAYBOOK_EDAMAGED)
            status = dbk_chunk_damaged(&segment->reader, offset, "the footer", error);
        else if (status != DAYBOOK_OK)
            status = out_of_memory(segment, error);
    }
    dbk_free(segment->allocator, bytes);
    return status;
}

static daybook_status read_footer(dbk_segment *segment, const dbk_segment_tail *tail,
                                  dbk_segment_on_damage on_damage, void *context, daybook_error *error) {
    segment->reader.seed = tail->seed;
    daybook_status status = read_footer_at(segment, tail->footer_offset, tail->footer_size, error);
    if (status != DAYBOOK_EDAMAGED) return status;
    tell(on_damage, context, tail->footer_offset, "the footer");
    return read_footer_at(segment, tail->footer_copy_offset, tail->footer_size, error);
}

static daybook_status check_footer(const dbk_segment_config *config, dbk_segment *segment,
                                   const dbk_segment_head *head, bool is_head_sound, daybook_error *error) {
    const dbk_footer *footer = &segment->footer;
    const dbk_segment_summary *summary = &footer->summary;
    DBK_TRY(check_identity(config, segment, &footer->store_uuid, summary->segment_id, error));
    uint64_t seed = dbk_segment_seed(&footer->store_uuid, footer->incarnation, summary->segment_id);
    bool agrees = seed == segment->reader.seed;
    if (is_head_sound)
        agrees = agrees && head->incarnation == footer->incarnation &&
                 memcmp(&head->store_uuid, &footer->store_uuid, sizeof head->store_uuid) == 0 &&
                 head->position_first == summary->position_first &&
                 head->position_last == summary->position_last;
    // What a file of this size can hold; later work is bounded by it.
    agrees = agrees && footer->block_count <= segment->reader.size / BLOCK_FILE_SIZE_MIN &&
             summary->event_count <= (uint64_t)footer->block_count * DBK_BLOCK_EVENTS_MAX;
    // Pages of the block index ascend.
    if (footer->block_page_count > 0)
        agrees = agrees && footer->block_pages[0].position_last >= summary->position_first &&
                 footer->block_pages[footer->block_page_count - 1].position_last <= summary->position_last;
    if (agrees) return DAYBOOK_OK;
    return dbk_fail_damaged(error, segment->path, 0,
                            "head and footer of %s contradict each other; run daybook verify", segment->path);
}

// Side by side they take a tenth of the memory that looking through the footer's records would touch.
static daybook_status keep_page_lasts(dbk_segment *segment, daybook_error *error) {
    const dbk_footer *footer = &segment->footer;
    if (footer->block_page_count == 0) return DAYBOOK_OK;
    segment->page_lasts =
        dbk_resize_array(segment->allocator, NULL, footer->block_page_count, sizeof *segment->page_lasts);
    if (segment->page_lasts == NULL) return out_of_memory(segment, error);
    for (uint32_t i = 0; i < footer->block_page_count; i++)
        segment->page_lasts[i] =
            (uint32_t)(footer->block_pages[i].position_last - footer->summary.position_first);
    return DAYBOOK_OK;
}

daybook_status dbk_segment_read_frame(const dbk_segment_config *config, dbk_segment *segment,
                                      dbk_segment_on_damage on_damage, void *context, daybook_error *error) {
    segment->allocator = config->allocator;
    DBK_TRY(open_file(config, segment, error));
    dbk_segment_head head;
    bool is_head_sound;
    DBK_TRY(read_head(config, segment, &head, &is_head_sound, error));
    if (!is_head_sound) tell(on_damage, context, 0, "the head");
    DBK_TRY(read_tail(segment, &segment->tail, on_damage, context, error));
    DBK_TRY(read_footer(segment, &segment->tail, on_damage, context, error));
    DBK_TRY(check_footer(config, segment, &head, is_head_sound, error));
    segment->footer.summary.file_bytes = segment->tail.file_size;
    segment->id_seed = dbk_get_u64(segment->footer.store_uuid.bytes);
    return keep_page_lasts(segment, error);
}

void dbk_segment_close_frame(dbk_segment *segment) {
    dbk_file_reader *reader = &segment->reader;
    if (reader->file != NULL) reader->vfs->close(reader->vfs, reader->file);
    reader->file = NULL;
    dbk_footer_deinit(&segment->footer);
    dbk_free(segment->allocator, segment->page_lasts);
    segment->page_lasts = NULL;
    dbk_free(segment->allocator, segment->path);
    segment->path = NULL;
}

// Each look-up begins there, so it is read along. What is wrong with it is said to who looks something up:
// events can be read without it.
static void warm_root(dbk_segment *segment) {
    const dbk_tree_root *root = &segment->footer.root;
    dbk_cache_entry *entry = NULL;
    dbk_term_page page;
    if (root->size == 0 || dbk_segment_load_page(segment, root->height - 1, root->offset, root->size, &entry,
                                                 &page, NULL) != DAYBOOK_OK)
        return;
    dbk_cache_release(segment->cache, entry);
}

daybook_status dbk_segment_open(const dbk_segment_config *config, dbk_cache *cache, dbk_segment **segment_out,
                                daybook_error *error) {
    *segment_out = NULL;
    dbk_segment *segment = dbk_alloc_zeroed(config->allocator, sizeof *segment);
    if (segment == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory opening a segment");
    segment->cache = cache;
    atomic_init(&segment->references, 1);
    atomic_init(&segment->has_dictionaries, false);
    daybook_status status = dbk_segment_read_frame(config, segment, NULL, NULL, error);
    if (status == DAYBOOK_OK && dbk_segment_init_kept_filters(segment) != DAYBOOK_OK)
        status = out_of_memory(segment, error);
    if (status != DAYBOOK_OK) {
        dbk_segment_close_frame(segment);
        dbk_free(config->allocator, segment);
        return status;
    }
    warm_root(segment);
    *segment_out = segment;
    return DAYBOOK_OK;
}

dbk_segment *dbk_segment_ref(dbk_segment *segment) {
    atomic_fetch_add_explicit(&segment->references, 1, memory_order_relaxed);
    return segment;
}

void dbk_segment_unref(dbk_segment *segment) {
    if (segment == NULL) return;
    if (atomic_fetch_sub_explicit(&segment->references, 1, memory_order_acq_rel) != 1) return;
    dbk_segment_drop_kept_filters(segment);
    dbk_cache_forget(segment->cache, segment->footer.summary.segment_id);
    dbk_segment_close_frame(segment);
    dbk_free(segment->allocator, segment);
}

const dbk_segment_summary *dbk_segment_get_summary(const dbk_segment *segment) {
    return &segment->footer.summary;
}

uint64_t dbk_segment_id_seed(const dbk_segment *segment) {
    return segment->id_seed;
}

daybook_status dbk_segment_read_catalogue(dbk_segment *segment, dbk_buf *buf, daybook_error *error) {
    const dbk_footer *footer = &segment->footer;
    if (footer->catalogue_size > segment->reader.size)
        return dbk_chunk_damaged(&segment->reader, footer->catalogue_offset, "the catalogue", error);
    size_t size = (size_t)footer->catalogue_size;
    uint8_t *out = dbk_buf_reserve(buf, size + DBK_CHUNK_CHECKSUM_SIZE);
    if (out == NULL) return out_of_memory(segment, error);
    DBK_TRY(dbk_chunk_read(&segment->reader, footer->catalogue_offset, size, "the catalogue", out, error));
    buf->size += size;
    return DAYBOOK_OK;
}

// ---- Streams ----------------------------------------------------------------------------------------------

bool dbk_segment_get_stream(const dbk_segment *segment, uint32_t index, dbk_segment_stream *stream_out) {
    if (index >= segment->footer.summary.stream_count) return false;
    *stream_out = segment->footer.streams[index];
    return true;
}

bool dbk_segment_find_stream(const dbk_segment *segment, uint32_t stream_id, dbk_segment_stream *stream_out) {
    uint32_t low = 0, high = segment->footer.summary.stream_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (segment->footer.streams[middle].stream_id < stream_id)
            low = middle + 1;
        else
            high = middle;
    }
    if (!dbk_segment_get_stream(segment, low, stream_out)) return false;
    return stream_out->stream_id == stream_id;
}

// ---- Chunks -----------------------------------------------------------------------------------------------

daybook_status dbk_segment_load(dbk_segment *segment, uint64_t offset, size_t size, const char *what,
                                dbk_cache_entry **entry_out, daybook_error *error) {
    uint64_t file_id = segment->footer.summary.segment_id;
    dbk_cache_entry *entry = dbk_cache_get(segment->cache, file_id, offset);
    if (entry == NULL) {
        if (size > segment->reader.size) return dbk_chunk_damaged(&segment->reader, offset, what, error);
        entry = dbk_cache_entry_new(segment->cache, size + DBK_CHUNK_CHECKSUM_SIZE);
        if (entry == NULL) return out_of_memory(segment, error);
        daybook_status status =
            dbk_chunk_read(&segment->reader, offset, size, what, dbk_cache_entry_data(entry), error);
        if (status != DAYBOOK_OK) {
            dbk_cache_release(segment->cache, entry);
            return status;
        }
        entry = dbk_cache_put(segment->cache, file_id, offset, entry);
    }
    // Two parts of a hostile file may claim one place with different sizes or meanings.
    if (dbk_cache_entry_size(entry) != size + DBK_CHUNK_CHECKSUM_SIZE) {
        dbk_cache_release(segment->cache, entry);
        return dbk_chunk_damaged(&segment->reader, offset, what, error);
    }
    *entry_out = entry;
    return DAYBOOK_OK;
}

// ---- Terms ------------------------------------------------------------------------------------------------

daybook_status dbk_segment_page_damaged(const dbk_segment *segment, uint64_t offset, daybook_error *error) {
    return dbk_chunk_damaged(&segment->reader, offset, "a page of the index", error);
}

// One page of the way down. On a higher level the child's place replaces the page's; in the leaf the value is
// found.
static daybook_status search_page(dbk_segment *segment, dbk_slice term, uint32_t level, uint64_t *offset,
                                  uint32_t *size, dbk_term_value *value_out, daybook_error *error) {
    dbk_cache_entry *entry = NULL;
    dbk_term_page page;
    DBK_TRY(dbk_segment_load_page(segment, level, *offset, *size, &entry, &page, error));
    dbk_term_cursor cursor;
    daybook_status status;
    uint64_t page_offset = *offset;
    dbk_term_cursor_init(&cursor, &page);
    if (level > 0) {
        status = dbk_term_cursor_seek_child(&cursor, term, false);
        *offset = cursor.child_offset;
        *size = cursor.child_size;
    } else {
        status = dbk_term_cursor_seek(&cursor, term);
        bool is_there = status == DAYBOOK_OK && dbk_slice_equal(dbk_term_slice(&cursor.term), term);
        if (is_there)
            *value_out = cursor.value;
        else if (status == DAYBOOK_OK || status == DAYBOOK_END)
            status = DAYBOOK_ENOTFOUND;
    }
    dbk_cache_release(segment->cache, entry);
    return status == DAYBOOK_EDAMAGED ? dbk_segment_page_damaged(segment, page_offset, error) : status;
}

daybook_status dbk_segment_find_value(dbk_segment *segment, dbk_slice term, dbk_term_value *value_out,
                                      daybook_error *error) {
    const dbk_tree_root *root = &segment->footer.root;
    if (root->size == 0 || term.size == 0 || term.size > DBK_TERM_SIZE_MAX) return DAYBOOK_ENOTFOUND;
    DBK_TRY(dbk_segment_ask_filter(segment, term, error));
    uint64_t offset = root->offset;
    uint32_t size = root->size;
    for (uint32_t level = root->height; level-- > 0;)
        DBK_TRY(search_page(segment, term, level, &offset, &size, value_out, error));
    return DAYBOOK_OK;
}

void dbk_segment_value_to_entry(const dbk_segment *segment, const dbk_term_value *value,
                                dbk_term_entry *entry_out) {
    memset(entry_out, 0, sizeof *entry_out);
    entry_out->count = value->count;
    entry_out->last_version = value->last_version;
    entry_out->postings_form = (uint8_t)value->form;
    if (value->count == 0) return;
    entry_out->last_position = segment->footer.summary.position_first + value->last;
    entry_out->last_seq = value->last_seq;
    entry_out->postings_first = value->first;
    entry_out->postings_offset = value->postings_offset;
    entry_out->postings_size = value->form == DBK_POSTINGS_INLINE ? value->inline_size : value->postings_size;
    memcpy(entry_out->postings_inline, value->inline_bytes, value->inline_size);
}

daybook_status dbk_segment_find_term(dbk_segment *segment, dbk_slice term, dbk_term_entry *entry_out,
                                     daybook_error *error) {
    dbk_term_value value;
    DBK_TRY(dbk_segment_find_value(segment, term, &value, error));
    dbk_segment_value_to_entry(segment, &value, entry_out);
    return DAYBOOK_OK;
}

// ---- Block index ------------------------------------------------------------------------------------------

uint32_t dbk_segment_block_count(const dbk_segment *segment) {
    return segment->footer.block_count;
}

uint32_t dbk_segment_blocks_in_page(const dbk_segment *segment, uint32_t page_index) {
    uint32_t left = segment->footer.block_count - page_index * DBK_BLOCK_PAGE_COUNT;
    return left < DBK_BLOCK_PAGE_COUNT ? left : DBK_BLOCK_PAGE_COUNT;
}

daybook_status dbk_segment_read_block_page(dbk_segment *segment, uint32_t page_index,
                                           dbk_block_info blocks_out[DBK_BLOCK_PAGE_COUNT],
                                           daybook_error *error) {
    const dbk_block_page *page = &segment->footer.block_pages[page_index];
    uint8_t *bytes = dbk_alloc(segment->allocator, (size_t)page->size + DBK_CHUNK_CHECKSUM_SIZE);
    if (bytes == NULL) return out_of_memory(segment, error);
    daybook_status status =
        dbk_chunk_read(&segment->reader, page->offset, page->size, "a page of the block index", bytes, error);
    uint32_t first = page_index * DBK_BLOCK_PAGE_COUNT,
             count = dbk_segment_blocks_in_page(segment, page_index);
    if (status == DAYBOOK_OK &&
        !dbk_block_page_decode(daybook_bytes(bytes, page->size), page, first, count, blocks_out))
        status = dbk_chunk_damaged(&segment->reader, page->offset, "a page of the block index", error);
    dbk_free(segment->allocator, bytes);
    return status;
}

// The info of the block at `offset` from its own head, once its checksum is verified.
static daybook_status read_info_from_block(dbk_segment *segment, uint64_t offset, dbk_block_info *info,
                                           daybook_error *error) {
    const dbk_file_reader *reader = &segment->reader;
    if (offset >= reader->size) return dbk_block_damaged(segment, offset, error);
    uint8_t bytes[DBK_BLOCK_HEAD_SIZE_MAX];
    uint64_t left = reader->size - offset;
    size_t size = left < sizeof bytes ? (size_t)left : sizeof bytes, head_size;
    DBK_TRY(dbk_read_exactly(reader->vfs, reader->file, reader->path, bytes, size, offset, error));
    dbk_block_head head;
    // The head tells how far the checksum reaches; it is believed only when that holds.
    if (!dbk_block_head_peek(daybook_bytes(bytes, size), &head, &head_size) || head.stored_size > left)
        return dbk_block_damaged(segment, offset, error);
    size_t payload_size = head_size + head.stored_size;
    uint8_t *block = dbk_alloc(segment->allocator, payload_size + DBK_CHUNK_CHECKSUM_SIZE);
    if (block == NULL) return out_of_memory(segment, error);
    daybook_status status = dbk_chunk_read(reader, offset, payload_size, "a block of events", block, error);
    dbk_free(segment->allocator, block);
    if (status != DAYBOOK_OK) return status;
    info->file_offset = offset;
    info->file_bytes = (uint32_t)payload_size + DBK_CHUNK_CHECKSUM_SIZE;
    info->event_count = head.event_count;
    info->position_first = head.position_first;
    info->position_last = head.position_last;
    info->recorded_first_ns = head.recorded_first_ns;
    info->recorded_last_ns = head.recorded_last_ns;
    info->time_min_ns = head.time_min_ns;
    info->time_max_ns = head.time_max_ns;
    return DAYBOOK_OK;
}

// Blocks of one page lie one behind the other.
static daybook_status remake_block_page(dbk_segment *segment, uint32_t page_index, dbk_block_info *blocks,
                                        daybook_error *error) {
    const dbk_block_page *page = &segment->footer.block_pages[page_index];
    uint64_t offset = page->first_block_offset;
    uint32_t count = dbk_segment_blocks_in_page(segment, page_index);
    for (uint32_t i = 0; i < count; i++) {
        memset(&blocks[i], 0, sizeof blocks[i]);
        blocks[i].block_number = page_index * DBK_BLOCK_PAGE_COUNT + i;
        DBK_TRY(read_info_from_block(segment, offset, &blocks[i], error));
        if (i > 0 && blocks[i].position_first <= blocks[i - 1].position_last)
            return dbk_block_damaged(segment, offset, error);
        offset += blocks[i].file_bytes;
    }
    if (blocks[count - 1].position_last == page->position_last) return DAYBOOK_OK;
    return dbk_chunk_damaged(&segment->reader, page->offset, "a page of the block index", error);
}

// What is known of a page's blocks; made again from the blocks where the page is damaged.
static daybook_status read_infos(dbk_segment *segment, uint32_t page_index, dbk_block_info *blocks,
                                 daybook_error *error) {
    daybook_status status = dbk_segment_read_block_page(segment, page_index, blocks, error);
    if (status == DAYBOOK_EDAMAGED && remake_block_page(segment, page_index, blocks, NULL) == DAYBOOK_OK)
        status = DAYBOOK_OK;
    return status;
}

// False in a hostile file, where positions or offsets do not fit.
static bool make_rows(const dbk_segment *segment, uint32_t page_index, const dbk_block_info *blocks,
                      dbk_page_row *rows) {
    const dbk_segment_summary *summary = &segment->footer.summary;
    uint64_t begin = segment->footer.block_pages[page_index].first_block_offset;
    for (uint32_t i = 0; i < dbk_segment_blocks_in_page(segment, page_index); i++) {
        const dbk_block_info *block = &blocks[i];
        // None ends behind the page, and no page behind the segment.
        if (block->position_first < summary->position_first || block->file_offset - begin > UINT32_MAX)
            return false;
        rows[i] =
            (dbk_page_row){.position_first = (uint32_t)(block->position_first - summary->position_first),
                           .position_last = (uint32_t)(block->position_last - summary->position_first),
                           .offset = (uint32_t)(block->file_offset - begin),
                           .file_bytes = block->file_bytes};
    }
    return true;
}

static daybook_status page_damaged(const dbk_segment *segment, uint32_t page_index, daybook_error *error) {
    return dbk_chunk_damaged(&segment->reader, segment->footer.block_pages[page_index].offset,
                             "a page of the block index", error);
}

static daybook_status new_page(dbk_segment *segment, uint32_t page_index, uint64_t position,
                               dbk_cache_entry *entry, daybook_error *error) {
    dbk_block_info blocks[DBK_BLOCK_PAGE_COUNT];
    if (position == NO_POSITION || !dbk_segment_read_page_and_block(segment, page_index, position, blocks))
        DBK_TRY(read_infos(segment, page_index, blocks, error));
    bool is_made = make_rows(segment, page_index, blocks, dbk_cache_entry_data(entry));
    return is_made ? DAYBOOK_OK : page_damaged(segment, page_index, error);
}

static daybook_status new_infos(dbk_segment *segment, uint32_t page_index, uint64_t position,
                                dbk_cache_entry *entry, daybook_error *error) {
    (void)position;
    return read_infos(segment, page_index, dbk_cache_entry_data(entry), error);
}

typedef daybook_status make_from_page(dbk_segment *segment, uint32_t page_index, uint64_t position,
                                      dbk_cache_entry *entry, daybook_error *error);

// Something made of a page, `row_size` bytes for each block, pinned in the cache under `kind`. `position` is
// what the caller will read next, or NO_POSITION.
static daybook_status load_from_page(dbk_segment *segment, uint32_t page_index, uint64_t position,
                                     uint64_t kind, size_t row_size, make_from_page *make,
                                     dbk_cache_entry **entry_out, daybook_error *error) {
    uint64_t file_id = segment->footer.summary.segment_id;
    uint64_t key = segment->footer.block_pages[page_index].offset | kind;
    size_t size = dbk_segment_blocks_in_page(segment, page_index) * row_size;
    dbk_cache_entry *entry = dbk_cache_get(segment->cache, file_id, key);
    if (entry == NULL) {
        entry = dbk_cache_entry_new(segment->cache, size);
        if (entry == NULL) return out_of_memory(segment, error);
        daybook_status status = make(segment, page_index, position, entry, error);
        if (status != DAYBOOK_OK) {
            dbk_cache_release(segment->cache, entry);
            return status;
        }
        entry = dbk_cache_put(segment->cache, file_id, key, entry);
    }
    if (dbk_cache_entry_size(entry) != size) { // A hostile file: two pages at one place.
        dbk_cache_release(segment->cache, entry);
        return page_damaged(segment, page_index, error);
    }
    *entry_out = entry;
    return DAYBOOK_OK;
}

daybook_status dbk_segment_load_block_page(dbk_segment *segment, uint32_t page_index,
                                           dbk_cache_entry **entry_out, daybook_error *error) {
    return load_from_page(segment, page_index, NO_POSITION, DBK_CACHED_BLOCK_PAGE, sizeof(dbk_page_row),
                          new_page, entry_out, error);
}

static daybook_status load_infos(dbk_segment *segment, uint32_t page_index, dbk_cache_entry **entry_out,
                                 daybook_error *error) {
    return load_from_page(segment, page_index, NO_POSITION, DBK_CACHED_BLOCK_INFOS, sizeof(dbk_block_info),
                          new_infos, entry_out, error);
}

daybook_status dbk_segment_block_info(dbk_segment *segment, uint32_t block_number, dbk_block_info *info_out,
                                      daybook_error *error) {
    if (block_number >= segment->footer.block_count) return DAYBOOK_END;
    dbk_cache_entry *entry = NULL;
    DBK_TRY(load_infos(segment, block_number / DBK_BLOCK_PAGE_COUNT, &entry, error));
    const dbk_block_info *blocks = dbk_cache_entry_data(entry);
    *info_out = blocks[block_number % DBK_BLOCK_PAGE_COUNT];
    dbk_cache_release(segment->cache, entry);
    return DAYBOOK_OK;
}

void dbk_segment_row_place(const dbk_segment *segment, uint32_t page_index, const dbk_page_row *rows,
                           uint32_t index, dbk_block_place *place_out) {
    const dbk_page_row *row = &rows[index];
    uint64_t base = segment->footer.summary.position_first;
    place_out->file_offset = segment->footer.block_pages[page_index].first_block_offset + row->offset;
    place_out->position_first = base + row->position_first;
    place_out->position_last = base + row->position_last;
    place_out->file_bytes = row->file_bytes;
    place_out->block_number = page_index * DBK_BLOCK_PAGE_COUNT + index;
}

daybook_status dbk_segment_block_place(dbk_segment *segment, uint32_t block_number,
                                       dbk_block_place *place_out, daybook_error *error) {
    if (block_number >= segment->footer.block_count) return DAYBOOK_END;
    dbk_cache_entry *entry = NULL;
    uint32_t page_index = block_number / DBK_BLOCK_PAGE_COUNT;
    DBK_TRY(dbk_segment_load_block_page(segment, page_index, &entry, error));
    dbk_segment_row_place(segment, page_index, dbk_cache_entry_data(entry),
                          block_number % DBK_BLOCK_PAGE_COUNT, place_out);
    dbk_cache_release(segment->cache, entry);
    return DAYBOOK_OK;
}

// The first of `count` rows whose last position is at or behind `position`; the last row's is. Rows hold
// about as many positions each, beginning at `begin`, so the place is guessed and looked for from there:
// mostly two or three rows are touched, where halving would touch seven and miss the processor's caches
// each time.
static uint32_t search_rows(const uint32_t *lasts, size_t stride, uint32_t count, uint32_t begin,
                            uint32_t position) {
    uint32_t low = 0, high = count - 1; // The answer is one of these and those between.
    uint32_t last = lasts[high * stride];
    DBK_ASSERT(begin <= last && begin <= position); // pages ascend, and each ends where the footer says
    uint64_t span = (uint64_t)last - begin + 1, behind = position - begin;
    uint32_t probe = (uint32_t)(behind * count / span);
    for (uint32_t step = 0; low < high; step = step * 2 + 1) {
        if (probe >= high) probe = high - 1;
        bool is_before = lasts[probe * stride] < position;
        if (is_before)
            low = probe + 1;
        else
            high = probe;
        uint32_t left = high - low;
        if (step >= left / 2)
            probe = low + left / 2;
        else
            probe = is_before ? low + step : high - 1 - step;
    }
    return low;
}

static uint32_t relative(const dbk_segment *segment, uint64_t position) {
    uint64_t base = segment->footer.summary.position_first;
    return position < base ? 0 : (uint32_t)(position - base);
}

daybook_status dbk_segment_find_block_page(const dbk_segment *segment, uint64_t position,
                                           uint32_t *page_index_out) {
    const dbk_footer *footer = &segment->footer;
    uint32_t count = footer->block_page_count;
    if (count == 0 || footer->block_pages[count - 1].position_last < position) return DAYBOOK_END;
    *page_index_out = search_rows(segment->page_lasts, 1, count, 0, relative(segment, position));
    return DAYBOOK_OK;
}

uint32_t dbk_segment_search_block_page(const dbk_segment *segment, uint32_t page_index,
                                       const dbk_page_row *rows, uint64_t position) {
    uint32_t begin = page_index == 0 ? 0 : segment->page_lasts[page_index - 1] + 1;
    _Static_assert(sizeof(dbk_page_row) == 4 * sizeof(uint32_t), "rows are searched as numbers");
    return search_rows(&rows[0].position_last, 4, dbk_segment_blocks_in_page(segment, page_index), begin,
                       relative(segment, position));
}

daybook_status dbk_segment_find_block(dbk_segment *segment, uint64_t position, dbk_block_place *place_out,
                                      daybook_error *error) {
    uint32_t page_index;
    DBK_TRY(dbk_segment_find_block_page(segment, position, &page_index));
    dbk_cache_entry *entry = NULL;
    DBK_TRY(load_from_page(segment, page_index, position, DBK_CACHED_BLOCK_PAGE, sizeof(dbk_page_row),
                           new_page, &entry, error));
    const dbk_page_row *rows = dbk_cache_entry_data(entry);
    dbk_segment_row_place(segment, page_index, rows,
                          dbk_segment_search_block_page(segment, page_index, rows, position), place_out);
    dbk_cache_release(segment->cache, entry);
    return DAYBOOK_OK;
}

daybook_status dbk_segment_find_block_recorded(dbk_segment *segment, int64_t recorded_ns,
                                               uint32_t *block_number_out, daybook_error *error) {
    const dbk_footer *footer = &segment->footer;
    uint32_t low = 0, high = footer->block_page_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (footer->block_pages[middle].recorded_last_ns < recorded_ns)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == footer->block_page_count) return DAYBOOK_END;
    uint32_t page_index = low;
    dbk_cache_entry *entry = NULL;
    DBK_TRY(load_infos(segment, page_index, &entry, error));
    const dbk_block_info *blocks = dbk_cache_entry_data(entry);
    low = 0;
    high = dbk_segment_blocks_in_page(segment, page_index) - 1; // The page's last block is not before.
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (blocks[middle].recorded_last_ns < recorded_ns)
            low = middle + 1;
        else
            high = middle;
    }
    dbk_cache_release(segment->cache, entry);
    *block_number_out = page_index * DBK_BLOCK_PAGE_COUNT + low;
    return DAYBOOK_OK;
}
