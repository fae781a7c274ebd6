// SPDX-License-Identifier: Apache-2.0
// Walking terms in order, for listing and for merging.
//
// A walk keeps the way from the root down to its leaf: higher pages pinned in the cache, the leaf in a window
// of its own, past the cache, so that listing a million aggregates does not push out what look-ups need.
// Leaves lie in the file in the order in which they are walked, so the window reads ahead.
//
// A source (for merging) is a walk over everything with a second window for the postings, which lie in order
// as well. It takes postings page by page; nothing of a long list is kept but its directory.
//
// Invariant: every level's cursor stands on the entry that leads to the page below it. One thread per walk.
#include "base/assert.h"
#include "segment/reader.h"

enum { LISTING_WINDOW = 32 * 1024 };

// ---- Walk -------------------------------------------------------------------------------------------------

// A page without entries.
static void empty_level(dbk_walk_level *level) {
    memset(&level->page, 0, sizeof level->page);
    dbk_term_cursor_init(&level->cursor, &level->page);
    level->cursor.next = 0;
}

static daybook_status enter_page(dbk_term_walk *walk, uint32_t level, uint64_t offset, uint32_t size,
                                 daybook_error *error) {
    dbk_walk_level *at = &walk->levels[level];
    dbk_cache_release(walk->segment->cache, at->entry);
    at->entry = NULL;
    empty_level(at); // Should the page be damaged, the walk may go on behind it.
    if (level == 0) {
        dbk_slice stored;
        DBK_TRY(dbk_file_window_chunk(&walk->window, offset, size, "a page of the index", &stored, error));
        walk->leaf_offset = offset;
        DBK_TRY(dbk_segment_open_page(walk->segment, level, offset, stored, walk->leaf, &at->page, error));
    } else {
        DBK_TRY(dbk_segment_load_page(walk->segment, level, offset, size, &at->entry, &at->page, error));
    }
    dbk_term_cursor_init(&at->cursor, &at->page);
    return DAYBOOK_OK;
}

static daybook_status check_page(dbk_term_walk *walk, daybook_status status, uint64_t offset,
                                 daybook_error *error) {
    return status == DAYBOOK_EDAMAGED ? dbk_segment_page_damaged(walk->segment, offset, error) : status;
}

// From the root to the leaf where the prefix belongs.
static daybook_status seek_prefix(dbk_term_walk *walk, daybook_error *error) {
    const dbk_tree_root *root = &walk->segment->footer.root;
    uint64_t offset = root->offset;
    uint32_t size = root->size;
    dbk_slice prefix = dbk_term_slice(&walk->prefix);
    for (uint32_t level = root->height - 1; level > 0; level--) {
        DBK_TRY(enter_page(walk, level, offset, size, error));
        dbk_term_cursor *cursor = &walk->levels[level].cursor;
        DBK_TRY(check_page(walk, dbk_term_cursor_seek_child(cursor, prefix, true), offset, error));
        offset = cursor->child_offset;
        size = cursor->child_size;
    }
    DBK_TRY(enter_page(walk, 0, offset, size, error));
    daybook_status status =
        check_page(walk, dbk_term_cursor_seek(&walk->levels[0].cursor, prefix), offset, error);
    walk->is_at_entry = status == DAYBOOK_OK;
    return status == DAYBOOK_END ? DAYBOOK_OK : status; // The first term may be the first of the next leaf.
}

// The next leaf, by the lowest level that has another child.
static daybook_status enter_next_leaf(dbk_term_walk *walk, daybook_error *error) {
    uint32_t height = walk->segment->footer.root.height, level = 1;
    for (; level < height; level++) {
        daybook_status status = dbk_term_cursor_next(&walk->levels[level].cursor);
        if (status == DAYBOOK_OK) break;
        if (status != DAYBOOK_EDAMAGED) continue;
        empty_level(&walk->levels[level]); // A walk that goes on goes past this page.
        return dbk_segment_page_damaged(walk->segment, walk->leaf_offset, error);
    }
    if (level >= height) return DAYBOOK_END;
    for (;; level--) {
        const dbk_term_cursor *above = &walk->levels[level].cursor;
        DBK_TRY(enter_page(walk, level - 1, above->child_offset, above->child_size, error));
        if (level == 1) return DAYBOOK_OK;
        daybook_status status = dbk_term_cursor_next(&walk->levels[level - 1].cursor);
        if (status != DAYBOOK_OK) return dbk_segment_page_damaged(walk->segment, above->child_offset, error);
    }
}

daybook_status dbk_term_walk_skip_damage(dbk_term_walk *walk) {
    if (walk->segment->footer.root.height < 2) {
        walk->is_at_end = true;
        return DAYBOOK_END;
    }
    daybook_status status;
    // Each try uses up a child or a page. In a hostile file pages may have many parents; the number of tries
    // ends it there.
    uint64_t tries_max = walk->segment->reader.size / DBK_CHUNK_CHECKSUM_SIZE;
    do {
        status = walk->skip_count++ < tries_max ? enter_next_leaf(walk, NULL) : DAYBOOK_END;
    } while (status == DAYBOOK_EDAMAGED);
    walk->is_at_end = status != DAYBOOK_OK;
    return status;
}

daybook_status dbk_term_walk_open_window(dbk_segment *segment, dbk_slice prefix, size_t window_size,
                                         bool *lost_out, dbk_term_walk **walk_out, daybook_error *error) {
    *walk_out = NULL;
    if (prefix.size > DBK_TERM_SIZE_MAX)
        return dbk_fail(error, DAYBOOK_EMISUSE, "the prefix is longer than any term");
    dbk_term_walk *walk = dbk_alloc_zeroed(segment->allocator, sizeof *walk);
    if (walk == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory reading %s", segment->path);
    walk->segment = dbk_segment_ref(segment);
    if (prefix.size > 0) memcpy(walk->prefix.bytes, prefix.data, prefix.size);
    walk->prefix.size = prefix.size;
    uint32_t height = segment->footer.root.height;
    walk->levels = dbk_alloc_zeroed(segment->allocator, height * sizeof *walk->levels);
    daybook_status status =
        dbk_file_window_init(&walk->window, segment->allocator, &segment->reader, window_size);
    if (walk->levels == NULL || status != DAYBOOK_OK)
        status = dbk_fail(error, DAYBOOK_ENOMEM, "out of memory reading %s", segment->path);
    for (uint32_t i = 0; status == DAYBOOK_OK && i < height; i++) empty_level(&walk->levels[i]);
    if (status == DAYBOOK_OK && height == 0)
        walk->is_at_end = true;
    else if (status == DAYBOOK_OK)
        status = seek_prefix(walk, error);
    if (status == DAYBOOK_EDAMAGED && lost_out != NULL) {
        *lost_out = true;
        status = dbk_term_walk_skip_damage(walk);
        if (status == DAYBOOK_END) status = DAYBOOK_OK; // is_at_end says so
    }
    if (status != DAYBOOK_OK) {
        dbk_term_walk_close(walk);
        return status;
    }
    *walk_out = walk;
    return DAYBOOK_OK;
}

daybook_status dbk_term_walk_open(dbk_segment *segment, dbk_slice prefix, dbk_term_walk **walk_out,
                                  daybook_error *error) {
    return dbk_term_walk_open_window(segment, prefix, LISTING_WINDOW, NULL, walk_out, error);
}

static bool has_prefix(dbk_slice term, dbk_slice prefix) {
    return term.size >= prefix.size && (prefix.size == 0 || memcmp(term.data, prefix.data, prefix.size) == 0);
}

daybook_status dbk_term_walk_open_from(dbk_segment *segment, dbk_slice prefix, dbk_slice from,
                                       dbk_term_walk **walk_out, daybook_error *error) {
    DBK_ASSERT(has_prefix(from, prefix));
    DBK_TRY(dbk_term_walk_open(segment, from, walk_out, error));
    (*walk_out)->prefix.size = prefix.size; // it stands where `from` belongs, and ends behind the prefix
    return DAYBOOK_OK;
}

void dbk_term_walk_close(dbk_term_walk *walk) {
    if (walk == NULL) return;
    dbk_segment *segment = walk->segment;
    for (uint32_t i = 0; walk->levels != NULL && i < segment->footer.root.height; i++)
        dbk_cache_release(segment->cache, walk->levels[i].entry);
    dbk_free(segment->allocator, walk->levels);
    dbk_file_window_deinit(&walk->window);
    dbk_free(segment->allocator, walk);
    dbk_segment_unref(segment);
}

static daybook_status step(dbk_term_walk *walk, daybook_error *error) {
    if (walk->is_at_entry) {
        walk->is_at_entry = false;
        return DAYBOOK_OK;
    }
    for (;;) {
        daybook_status status = dbk_term_cursor_next(&walk->levels[0].cursor);
        if (status != DAYBOOK_END) return check_page(walk, status, walk->leaf_offset, error);
        DBK_TRY(enter_next_leaf(walk, error));
    }
}

// What a sound file promises and a hostile one may break: terms ascend (which also ends every walk), and
// numbers stay within the segment's positions.
static daybook_status check_value(dbk_term_walk *walk, dbk_slice term, const dbk_term_value *value,
                                  daybook_error *error) {
    const dbk_segment_summary *summary = &walk->segment->footer.summary;
    bool is_sound = dbk_slice_compare(dbk_term_slice(&walk->previous), term) < 0 &&
                    value->last <= summary->position_last - summary->position_first &&
                    value->count <= summary->event_count;
    return is_sound ? DAYBOOK_OK : dbk_segment_page_damaged(walk->segment, walk->leaf_offset, error);
}

daybook_status dbk_term_walk_next_value(dbk_term_walk *walk, dbk_slice *term_out,
                                        const dbk_term_value **value_out, daybook_error *error) {
    if (walk->is_at_end) return DAYBOOK_END;
    daybook_status status = step(walk, error);
    const dbk_term_cursor *cursor = &walk->levels[0].cursor;
    dbk_slice term = dbk_term_slice(&cursor->term);
    if (status == DAYBOOK_OK && !has_prefix(term, dbk_term_slice(&walk->prefix))) status = DAYBOOK_END;
    if (status == DAYBOOK_OK) status = check_value(walk, term, &cursor->value, error);
    if (status != DAYBOOK_OK) {
        walk->is_at_end = true;
        return status;
    }
    memcpy(walk->previous.bytes, term.data, term.size);
    walk->previous.size = term.size;
    *term_out = term;
    *value_out = &cursor->value;
    return DAYBOOK_OK;
}

daybook_status dbk_term_walk_next(dbk_term_walk *walk, dbk_slice *term_out, dbk_term_entry *entry_out,
                                  daybook_error *error) {
    const dbk_term_value *value;
    DBK_TRY(dbk_term_walk_next_value(walk, term_out, &value, error));
    dbk_segment_value_to_entry(walk->segment, value, entry_out);
    return DAYBOOK_OK;
}

// ---- Source -----------------------------------------------------------------------------------------------

typedef struct segment_source {
    dbk_term_source base;
    dbk_segment *segment; // the walk's
    dbk_term_walk *walk;
    dbk_file_window window;
    dbk_buf directory; // of the list at hand, payload

    // Of the current term.
    uint64_t left; // numbers not taken
    uint32_t last_taken;
    uint32_t page_count, page_index; // page_index: the next to be read
    dbk_slice page;
    dbk_postings_group groups[DBK_POSTINGS_PAGE_GROUPS_MAX];
    size_t group_count, group_index; // group_index: the next to be decoded
    uint32_t run_next, run_left;
    size_t number_count, number_index;
    uint32_t numbers[DBK_POSTINGS_GROUP_MAX];
} segment_source;

static daybook_status list_damaged(const segment_source *source, daybook_error *error) {
    return dbk_chunk_damaged(&source->segment->reader, source->base.value.postings_offset, "a posting list",
                             error);
}

static daybook_status next_in_segment(dbk_term_source *base, daybook_error *error) {
    segment_source *source = (segment_source *)(void *)base;
    const dbk_term_value *value;
    DBK_TRY(dbk_term_walk_next_value(source->walk, &base->term, &value, error));
    base->value = *value;
    source->left = value->count;
    source->page_count = value->form == DBK_POSTINGS_PAGE ? 1 : 0;
    source->page_index = 0;
    source->group_count = source->group_index = 0;
    source->run_left = 0;
    source->number_count = source->number_index = 0;
    return DAYBOOK_OK;
}

static daybook_status read_directory(segment_source *source, daybook_error *error) {
    const dbk_term_value *value = &source->base.value;
    dbk_slice payload;
    DBK_TRY(dbk_file_window_chunk(&source->window, value->postings_offset, value->postings_size,
                                  "a posting list", &payload, error));
    if (payload.size < DBK_POSTINGS_DIRECTORY_HEAD) return list_damaged(source, error);
    uint32_t count = dbk_get_u32((const uint8_t *)payload.data + 8);
    if ((uint64_t)count * DBK_POSTINGS_DIRECTORY_ENTRY + DBK_POSTINGS_DIRECTORY_HEAD != payload.size)
        return list_damaged(source, error);
    dbk_buf_reset(&source->directory);
    dbk_buf_append_slice(&source->directory, payload);
    if (source->directory.failed)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory reading %s", source->segment->path);
    source->page_count = count;
    return DAYBOOK_OK;
}

static daybook_status read_page(segment_source *source, daybook_error *error) {
    const dbk_term_value *value = &source->base.value;
    uint64_t offset = value->postings_offset;
    uint32_t size = value->postings_size, index = source->page_index++;
    if (value->form == DBK_POSTINGS_DIRECTORY) {
        const uint8_t *data = source->directory.data;
        const uint8_t *entry = data + DBK_POSTINGS_DIRECTORY_HEAD +
                               (size_t)index * DBK_POSTINGS_DIRECTORY_ENTRY;
        uint32_t begin = dbk_get_u32(entry + 8);
        bool is_last = index + 1 == source->page_count;
        uint32_t end = is_last ? dbk_get_u32(data + 12)
                               : dbk_get_u32(entry + DBK_POSTINGS_DIRECTORY_ENTRY + 8);
        if (end <= begin || end - begin <= DBK_CHUNK_CHECKSUM_SIZE) return list_damaged(source, error);
        offset = dbk_get_u64(data) + begin;
        size = end - begin - DBK_CHUNK_CHECKSUM_SIZE;
    }
    if (size > DBK_POSTINGS_PAGE_SIZE_MAX) return list_damaged(source, error);
    DBK_TRY(dbk_file_window_chunk(&source->window, offset, size, "a posting list", &source->page, error));
    source->group_index = 0;
    if (!dbk_postings_parse_page(source->page, source->groups, &source->group_count))
        return list_damaged(source, error);
    return DAYBOOK_OK;
}

// The cursor that read the term has read its numbers once: they decode.
static void decode_inline(segment_source *source) {
    const dbk_term_value *value = &source->base.value;
    dbk_reader reader;
    dbk_reader_init(&reader, daybook_bytes(value->inline_bytes, value->inline_size));
    dbk_postings_decode_inline(&reader, value->first, (size_t)value->count, source->numbers);
    DBK_ASSERT(!reader.failed);
    source->number_count = (size_t)value->count;
    source->number_index = 0;
}

// More numbers into `numbers` or the run.
static daybook_status refill(segment_source *source, daybook_error *error) {
    if (source->base.value.form == DBK_POSTINGS_INLINE) {
        decode_inline(source);
        return DAYBOOK_OK;
    }
    if (source->group_index == source->group_count) {
        if (source->base.value.form == DBK_POSTINGS_DIRECTORY && source->page_count == 0)
            DBK_TRY(read_directory(source, error));
        if (source->page_index == source->page_count)
            return list_damaged(source, error); // numbers are missing
        DBK_TRY(read_page(source, error));
    }
    const dbk_postings_group *group = &source->groups[source->group_index++];
    if (group->is_run) {
        source->run_next = group->first;
        source->run_left = group->count;
        return DAYBOOK_OK;
    }
    if (!dbk_postings_decode_group(source->page, group, source->numbers)) return list_damaged(source, error);
    source->number_count = group->count;
    source->number_index = 0;
    return DAYBOOK_OK;
}

// Across groups and pages, too, numbers ascend, and they begin and end where the dictionary says.
static bool check_order(segment_source *source, const uint32_t *numbers, size_t count) {
    const dbk_term_value *value = &source->base.value;
    bool is_first = source->left + count == value->count;
    if (is_first ? numbers[0] != value->first : numbers[0] <= source->last_taken) return false;
    for (size_t i = 1; i < count; i++)
        if (numbers[i] <= numbers[i - 1]) return false;
    source->last_taken = numbers[count - 1];
    return source->left == 0 ? source->last_taken == value->last : source->last_taken < value->last;
}

static daybook_status take_from_segment(dbk_term_source *base, uint32_t *numbers_out, size_t capacity,
                                        size_t *count_out, daybook_error *error) {
    segment_source *source = (segment_source *)(void *)base;
    size_t count = 0;
    while (count < capacity && source->left > 0) {
        if (source->number_index == source->number_count && source->run_left == 0)
            DBK_TRY(refill(source, error));
        size_t wanted = capacity - count;
        if (wanted > source->left) wanted = (size_t)source->left;
        size_t taken = 0;
        if (source->run_left > 0) {
            taken = wanted < source->run_left ? wanted : source->run_left;
            for (size_t i = 0; i < taken; i++) numbers_out[count + i] = source->run_next++;
            source->run_left -= (uint32_t)taken;
        } else {
            taken = source->number_count - source->number_index;
            if (taken > wanted) taken = wanted;
            memcpy(numbers_out + count, source->numbers + source->number_index, taken * sizeof *numbers_out);
            source->number_index += taken;
        }
        count += taken;
        source->left -= taken;
    }
    if (count > 0 && !check_order(source, numbers_out, count)) return list_damaged(source, error);
    *count_out = count;
    return DAYBOOK_OK;
}

static void close_source(dbk_term_source *base) {
    segment_source *source = (segment_source *)(void *)base;
    dbk_segment *segment = source->segment;
    const daybook_allocator *allocator = segment->allocator;
    dbk_file_window_deinit(&source->window);
    dbk_buf_deinit(&source->directory);
    dbk_term_walk_close(source->walk); // May close the segment.
    dbk_free(allocator, source);
}

daybook_status dbk_segment_source_open(dbk_segment *segment, dbk_slice prefix, size_t window_size,
                                       dbk_term_source **source_out, daybook_error *error) {
    *source_out = NULL;
    segment_source *source = dbk_alloc_zeroed(segment->allocator, sizeof *source);
    if (source == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory reading %s", segment->path);
    source->segment = segment;
    source->base.next = next_in_segment;
    source->base.take = take_from_segment;
    source->base.close = close_source;
    dbk_buf_init(&source->directory, segment->allocator, UINT32_MAX / 2);
    daybook_status status =
        dbk_file_window_init(&source->window, segment->allocator, &segment->reader, window_size);
    if (status != DAYBOOK_OK)
        status = dbk_fail(error, status, "out of memory reading %s", segment->path);
    else
        status = dbk_term_walk_open_window(segment, prefix, window_size, NULL, &source->walk, error);
    if (status != DAYBOOK_OK) {
        close_source(&source->base);
        return status;
    }
    *source_out = &source->base;
    return DAYBOOK_OK;
}
