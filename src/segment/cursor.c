// SPDX-License-Identifier: Apache-2.0
// Walking the postings of a term, either way, with skips.
//
// A list has up to three layers, each searched before the next is touched: the directory (first and last
// number of each page), the heads of a page's groups, the numbers of one group. One page stays pinned, its
// group heads parsed, one group decoded; a walk step is a search within that group, a skip is two or three
// short ones. Where the number asked for lies between pages or within a run, nothing is read at all.
//
// Small lists come decoded from the dictionary page. All numbers are relative to the segment's first
// position. Failure modes: EDAMAGED for pages that fail their checksum or contradict their directory. One
// thread per cursor.
#include "base/assert.h"
#include "segment/reader.h"

enum { NO_PAGE = UINT32_MAX, NO_GROUP = UINT32_MAX };

struct dbk_postings {
    dbk_segment *segment; // with a reference
    dbk_postings_form form;
    uint32_t first, last;
    uint64_t offset; // of the page or the directory
    uint32_t size;

    dbk_cache_entry *directory; // pinned while the cursor is open
    uint32_t page_count;

    dbk_cache_entry *page; // pinned
    uint32_t page_index;
    uint64_t page_offset;
    dbk_slice page_bytes;
    size_t group_count;
    dbk_postings_group groups[DBK_POSTINGS_PAGE_GROUPS_MAX];

    uint32_t group_index; // of the group decoded
    uint32_t number_count;
    uint32_t numbers[DBK_POSTINGS_GROUP_MAX];
};

_Static_assert(DBK_POSTINGS_GROUP_MAX >= DBK_POSTINGS_INLINE_COUNT_MAX,
               "inline lists are decoded into a group");

static daybook_status damaged(const dbk_postings *postings, uint64_t offset, daybook_error *error) {
    return dbk_chunk_damaged(&postings->segment->reader, offset, "a posting list", error);
}

// ---- Open -------------------------------------------------------------------------------------------------

static daybook_status open_inline(dbk_postings *postings, const dbk_term_entry *entry, daybook_error *error) {
    if (entry->count == 0 || entry->count > DBK_POSTINGS_INLINE_COUNT_MAX ||
        entry->postings_size > DBK_POSTINGS_INLINE_SIZE_MAX)
        return dbk_fail(error, DAYBOOK_EMISUSE, "the term entry does not come from dbk_segment_find_term");
    dbk_reader reader;
    dbk_reader_init(&reader, daybook_bytes(entry->postings_inline, entry->postings_size));
    dbk_postings_decode_inline(&reader, postings->first, (size_t)entry->count, postings->numbers);
    if (reader.failed)
        return dbk_fail(error, DAYBOOK_EMISUSE, "the term entry does not come from dbk_segment_find_term");
    postings->number_count = (uint32_t)entry->count;
    postings->last = postings->numbers[postings->number_count - 1];
    return DAYBOOK_OK;
}

static const uint8_t *directory_entry(const dbk_postings *postings, uint32_t index) {
    const uint8_t *data = dbk_cache_entry_data(postings->directory);
    return data + DBK_POSTINGS_DIRECTORY_HEAD + (size_t)index * DBK_POSTINGS_DIRECTORY_ENTRY;
}

static uint32_t page_first(const dbk_postings *postings, uint32_t index) {
    return dbk_get_u32(directory_entry(postings, index));
}

static uint32_t page_last(const dbk_postings *postings, uint32_t index) {
    return dbk_get_u32(directory_entry(postings, index) + 4);
}

static daybook_status open_directory(dbk_postings *postings, daybook_error *error) {
    if (postings->size < DBK_POSTINGS_DIRECTORY_HEAD + DBK_POSTINGS_DIRECTORY_ENTRY)
        return damaged(postings, postings->offset, error);
    DBK_TRY(dbk_segment_load(postings->segment, postings->offset, postings->size, "a posting list",
                             &postings->directory, error));
    const uint8_t *data = dbk_cache_entry_data(postings->directory);
    uint32_t count = dbk_get_u32(data + 8);
    if ((uint64_t)count * DBK_POSTINGS_DIRECTORY_ENTRY + DBK_POSTINGS_DIRECTORY_HEAD != postings->size)
        return damaged(postings, postings->offset, error);
    postings->page_count = count;
    return DAYBOOK_OK;
}

daybook_status dbk_postings_open(dbk_segment *segment, const dbk_term_entry *entry,
                                 dbk_postings **postings_out, daybook_error *error) {
    *postings_out = NULL;
    dbk_postings *postings = dbk_alloc(segment->allocator, sizeof *postings);
    if (postings == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory reading %s", segment->path);
    memset(postings, 0, offsetof(dbk_postings, groups));
    postings->segment = dbk_segment_ref(segment);
    postings->form = (dbk_postings_form)entry->postings_form;
    postings->first = entry->postings_first;
    postings->offset = entry->postings_offset;
    postings->size = entry->postings_size;
    postings->page_index = NO_PAGE;
    postings->group_index = NO_GROUP;
    postings->number_count = 0;
    if (entry->count > 0)
        postings->last = (uint32_t)(entry->last_position - segment->footer.summary.position_first);

    daybook_status status = DAYBOOK_OK;
    if (postings->form == DBK_POSTINGS_INLINE) status = open_inline(postings, entry, error);
    if (postings->form == DBK_POSTINGS_DIRECTORY) status = open_directory(postings, error);
    if (status != DAYBOOK_OK) {
        dbk_postings_close(postings);
        return status;
    }
    *postings_out = postings;
    return DAYBOOK_OK;
}

void dbk_postings_close(dbk_postings *postings) {
    if (postings == NULL) return;
    dbk_segment *segment = postings->segment;
    dbk_cache_release(segment->cache, postings->page);
    dbk_cache_release(segment->cache, postings->directory);
    dbk_free(segment->allocator, postings);
    dbk_segment_unref(segment);
}

// ---- Loading ----------------------------------------------------------------------------------------------

static daybook_status place_of_page(const dbk_postings *postings, uint32_t index, uint64_t *offset_out,
                                    uint32_t *size_out, daybook_error *error) {
    if (postings->form == DBK_POSTINGS_PAGE) {
        *offset_out = postings->offset;
        *size_out = postings->size;
        return DAYBOOK_OK;
    }
    const uint8_t *data = dbk_cache_entry_data(postings->directory);
    uint32_t begin = dbk_get_u32(directory_entry(postings, index) + 8);
    uint32_t end = index + 1 == postings->page_count ? dbk_get_u32(data + 12)
                                                     : dbk_get_u32(directory_entry(postings, index + 1) + 8);
    *offset_out = dbk_get_u64(data) + begin;
    if (end <= begin || end - begin <= DBK_CHUNK_CHECKSUM_SIZE)
        return damaged(postings, postings->offset, error);
    *size_out = end - begin - DBK_CHUNK_CHECKSUM_SIZE;
    return DAYBOOK_OK;
}

static daybook_status load_page(dbk_postings *postings, uint32_t index, daybook_error *error) {
    if (postings->page_index == index) return DAYBOOK_OK;
    uint64_t offset = 0;
    uint32_t size = 0;
    DBK_TRY(place_of_page(postings, index, &offset, &size, error));
    dbk_segment *segment = postings->segment;
    dbk_cache_release(segment->cache, postings->page);
    postings->page = NULL;
    postings->page_index = NO_PAGE;
    postings->group_index = NO_GROUP;
    if (size > DBK_POSTINGS_PAGE_SIZE_MAX) return damaged(postings, offset, error);
    DBK_TRY(dbk_segment_load(segment, offset, size, "a posting list", &postings->page, error));
    postings->page_bytes = daybook_bytes(dbk_cache_entry_data(postings->page), size);
    postings->page_offset = offset;
    uint32_t first = postings->form == DBK_POSTINGS_PAGE ? postings->first : page_first(postings, index);
    if (!dbk_postings_parse_page(postings->page_bytes, postings->groups, &postings->group_count) ||
        postings->groups[0].first != first)
        return damaged(postings, offset, error);
    postings->page_index = index;
    return DAYBOOK_OK;
}

static daybook_status load_group(dbk_postings *postings, uint32_t index, daybook_error *error) {
    if (postings->group_index == index) return DAYBOOK_OK;
    postings->group_index = NO_GROUP;
    const dbk_postings_group *group = &postings->groups[index];
    if (!dbk_postings_decode_group(postings->page_bytes, group, postings->numbers))
        return damaged(postings, postings->page_offset, error);
    postings->number_count = group->count;
    postings->group_index = index;
    return DAYBOOK_OK;
}

// The last group of the page that begins at or below `number`; the first where none does.
static uint32_t find_group(const dbk_postings *postings, uint32_t number) {
    uint32_t low = 0, high = (uint32_t)postings->group_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (postings->groups[middle].first <= number)
            low = middle;
        else
            high = middle;
    }
    return low;
}

// How many of the decoded numbers are below `number`.
static uint32_t count_below(const dbk_postings *postings, uint32_t number) {
    uint32_t low = 0, high = postings->number_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (postings->numbers[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// ---- Seeking ----------------------------------------------------------------------------------------------

// Forwards within the loaded page, which ends at or behind `number`.
static daybook_status seek_in_page(dbk_postings *postings, uint32_t number, uint32_t *number_out,
                                   daybook_error *error) {
    uint32_t index = find_group(postings, number);
    const dbk_postings_group *group = &postings->groups[index];
    if (number <= group->first) {
        *number_out = group->first;
        return DAYBOOK_OK;
    }
    if (group->is_run) {
        if (number - group->first < group->count) {
            *number_out = number;
            return DAYBOOK_OK;
        }
    } else {
        DBK_TRY(load_group(postings, index, error));
        uint32_t at = count_below(postings, number);
        if (at < postings->number_count) {
            *number_out = postings->numbers[at];
            return DAYBOOK_OK;
        }
    }
    // Between two groups.
    if (index + 1 == postings->group_count) return damaged(postings, postings->page_offset, error);
    *number_out = postings->groups[index + 1].first;
    return DAYBOOK_OK;
}

// The first page of the directory that ends at or behind `number`.
static uint32_t find_page(const dbk_postings *postings, uint32_t number) {
    uint32_t low = 0, high = postings->page_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (page_last(postings, middle) < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static daybook_status seek_in_directory(dbk_postings *postings, uint32_t number, uint32_t *number_out,
                                        daybook_error *error) {
    uint32_t low = find_page(postings, number);
    if (low == postings->page_count) return damaged(postings, postings->offset, error);
    if (number <= page_first(postings, low)) {
        *number_out = page_first(postings, low);
        return DAYBOOK_OK;
    }
    DBK_TRY(load_page(postings, low, error));
    return seek_in_page(postings, number, number_out, error);
}

static daybook_status seek_number(dbk_postings *postings, uint32_t number, uint32_t *number_out,
                                  daybook_error *error) {
    if (number <= postings->first) {
        *number_out = postings->first;
        return DAYBOOK_OK;
    }
    if (postings->form == DBK_POSTINGS_DIRECTORY)
        return seek_in_directory(postings, number, number_out, error);
    if (postings->form == DBK_POSTINGS_PAGE) {
        DBK_TRY(load_page(postings, 0, error));
        return seek_in_page(postings, number, number_out, error);
    }
    *number_out = postings->numbers[count_below(postings, number)];
    return DAYBOOK_OK;
}

// Backwards within the loaded page, which begins at or before `number`.
static daybook_status seek_back_in_page(dbk_postings *postings, uint32_t number, uint32_t *number_out,
                                        daybook_error *error) {
    uint32_t index = find_group(postings, number);
    const dbk_postings_group *group = &postings->groups[index];
    if (number < group->first) return damaged(postings, postings->page_offset, error);
    if (group->is_run) {
        *number_out = number - group->first < group->count ? number : group->first + group->count - 1;
        return DAYBOOK_OK;
    }
    DBK_TRY(load_group(postings, index, error));
    uint32_t at = count_below(postings, number);
    bool is_hit = at < postings->number_count && postings->numbers[at] == number;
    *number_out = postings->numbers[is_hit ? at : at - 1]; // at > 0: the group begins below.
    return DAYBOOK_OK;
}

static daybook_status seek_back_in_directory(dbk_postings *postings, uint32_t number, uint32_t *number_out,
                                             daybook_error *error) {
    uint32_t low = 0, high = postings->page_count; // The last page that begins at or before it.
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (page_first(postings, middle) <= number)
            low = middle;
        else
            high = middle;
    }
    if (number >= page_last(postings, low)) {
        *number_out = page_last(postings, low);
        return DAYBOOK_OK;
    }
    DBK_TRY(load_page(postings, low, error));
    return seek_back_in_page(postings, number, number_out, error);
}

static daybook_status seek_number_back(dbk_postings *postings, uint32_t number, uint32_t *number_out,
                                       daybook_error *error) {
    if (number >= postings->last) {
        *number_out = postings->last;
        return DAYBOOK_OK;
    }
    if (postings->form == DBK_POSTINGS_DIRECTORY)
        return seek_back_in_directory(postings, number, number_out, error);
    if (postings->form == DBK_POSTINGS_PAGE) {
        DBK_TRY(load_page(postings, 0, error));
        return seek_back_in_page(postings, number, number_out, error);
    }
    uint32_t at = count_below(postings, number);
    *number_out = postings->numbers[postings->numbers[at] == number ? at : at - 1];
    return DAYBOOK_OK;
}

daybook_status dbk_postings_seek(dbk_postings *postings, uint64_t position, uint64_t *position_out,
                                 daybook_error *error) {
    uint64_t base = postings->segment->footer.summary.position_first;
    uint64_t number = position < base ? 0 : position - base;
    if (postings->form == DBK_POSTINGS_NONE || number > postings->last) return DAYBOOK_END;
    uint32_t found;
    DBK_TRY(seek_number(postings, (uint32_t)number, &found, error));
    *position_out = base + found;
    return DAYBOOK_OK;
}

daybook_status dbk_postings_seek_back(dbk_postings *postings, uint64_t position, uint64_t *position_out,
                                      daybook_error *error) {
    uint64_t base = postings->segment->footer.summary.position_first;
    if (postings->form == DBK_POSTINGS_NONE || position < base || position - base < postings->first)
        return DAYBOOK_END;
    uint64_t number = position - base > UINT32_MAX ? UINT32_MAX : position - base;
    uint32_t found;
    DBK_TRY(seek_number_back(postings, (uint32_t)number, &found, error));
    *position_out = base + found;
    return DAYBOOK_OK;
}

// ---- Counting ---------------------------------------------------------------------------------------------

static daybook_status count_in_page(dbk_postings *postings, uint32_t number, uint64_t *count,
                                    daybook_error *error) {
    for (uint32_t i = find_group(postings, number); i < postings->group_count; i++) {
        const dbk_postings_group *group = &postings->groups[i];
        if (group->first >= number) {
            *count += group->count;
        } else if (group->is_run) {
            uint32_t before = number - group->first;
            *count += before < group->count ? group->count - before : 0;
        } else {
            DBK_TRY(load_group(postings, i, error));
            *count += postings->number_count - count_below(postings, number);
        }
    }
    return DAYBOOK_OK;
}

daybook_status dbk_postings_count(dbk_postings *postings, uint64_t position, uint64_t *count_out,
                                  daybook_error *error) {
    uint64_t base = postings->segment->footer.summary.position_first;
    uint64_t above = position < base ? 0 : position - base;
    *count_out = 0;
    if (postings->form == DBK_POSTINGS_NONE || above > postings->last) return DAYBOOK_OK;
    uint32_t number = (uint32_t)above;
    if (postings->form == DBK_POSTINGS_INLINE) {
        *count_out = postings->number_count - count_below(postings, number);
        return DAYBOOK_OK;
    }
    bool has_directory = postings->form == DBK_POSTINGS_DIRECTORY;
    uint32_t page_count = has_directory ? postings->page_count : 1;
    for (uint32_t page = has_directory ? find_page(postings, number) : 0; page < page_count; page++) {
        DBK_TRY(load_page(postings, page, error));
        DBK_TRY(count_in_page(postings, number, count_out, error));
    }
    return DAYBOOK_OK;
}
