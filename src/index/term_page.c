// SPDX-License-Identifier: Apache-2.0
// Codec of dictionary pages; the format stands in term_page.h.
//
// Building writes straight into the builder's page: an entry is at most ENTRY_SIZE_MAX, and a page that has
// reached its target takes no more, so the buffer cannot overflow. Reading trusts nothing: every length is
// checked against what is left, every number against its type. Pure; a builder or cursor belongs to one
// thread.
#include "index/term_page.h"

#include "base/assert.h"

enum {
    TABLE_SIZE_MAX = 2 * DBK_TERM_PAGE_TARGET / DBK_TERM_RESTART_INTERVAL + 2,
    ENTRY_SIZE_MAX = 2 * 2 + DBK_TERM_SIZE_MAX + 8 * DBK_VARINT_SIZE_MAX + DBK_POSTINGS_INLINE_SIZE_MAX,
};

_Static_assert(DBK_TERM_PAGE_TARGET + ENTRY_SIZE_MAX + TABLE_SIZE_MAX <= DBK_TERM_PAGE_SIZE_MAX,
               "an entry always fits");
_Static_assert(DBK_TERM_PAGE_SIZE_MAX <= UINT16_MAX, "restarts are u16");

// ---- Building ---------------------------------------------------------------------------------------------

void dbk_term_page_begin(dbk_term_page_builder *page, uint8_t level) {
    page->level = level;
    page->bytes[0] = level;
    page->size = 1;
    page->entry_count = 0;
    page->restart_count = 0;
    page->last.size = 0;
}

static void put(dbk_term_page_builder *page, uint64_t value) {
    page->size += dbk_put_varint(page->bytes + page->size, value);
}

static void put_difference(dbk_term_page_builder *page, uint64_t value, uint64_t base) {
    put(page, dbk_zigzag((int64_t)(value - base)));
}

static size_t common_prefix(dbk_slice a, dbk_slice b) {
    size_t limit = a.size < b.size ? a.size : b.size, i = 0;
    const uint8_t *left = a.data, *right = b.data;
    while (i < limit && left[i] == right[i]) i++;
    return i;
}

static void add_term(dbk_term_page_builder *page, dbk_slice term) {
    DBK_ASSERT(page->size < DBK_TERM_PAGE_TARGET && term.size <= DBK_TERM_SIZE_MAX);
    size_t shared = 0;
    if (page->entry_count % DBK_TERM_RESTART_INTERVAL == 0) {
        page->restarts[page->restart_count++] = (uint16_t)page->size;
        memset(&page->base, 0, sizeof page->base);
    } else {
        shared = common_prefix(dbk_term_slice(&page->last), term);
    }
    put(page, shared);
    put(page, term.size - shared);
    if (term.size > shared) {
        const uint8_t *rest = (const uint8_t *)term.data + shared;
        memcpy(page->bytes + page->size, rest, term.size - shared);
        memcpy(page->last.bytes + shared, rest, term.size - shared);
    }
    page->size += term.size - shared;
    page->last.size = term.size;
    if (page->entry_count++ == 0) page->first = page->last;
}

static void put_dead_id(dbk_term_page_builder *page, const dbk_term_value *value) {
    put(page, (uint64_t)value->dead_stream_id << 1 | (value->dead_for_ever ? 1 : 0));
    if (value->dead_for_ever) return;
    put_difference(page, (uint64_t)value->dead_removed_ns, (uint64_t)page->base.removed_ns);
    page->base.removed_ns = value->dead_removed_ns;
}

static void put_postings(dbk_term_page_builder *page, const dbk_term_value *value) {
    dbk_term_base *base = &page->base;
    if (value->form == DBK_POSTINGS_NONE) return;
    put_difference(page, value->first, base->last);
    if (value->form == DBK_POSTINGS_INLINE) {
        memcpy(page->bytes + page->size, value->inline_bytes, value->inline_size);
        page->size += value->inline_size;
    } else {
        put(page, value->last - value->first);
        put_difference(page, value->postings_offset, base->postings_end);
        put(page, value->postings_size);
        base->postings_end = value->postings_offset + value->postings_size + sizeof(uint64_t);
    }
    base->last = value->last;
}

void dbk_term_page_add_leaf(dbk_term_page_builder *page, dbk_slice term, const dbk_term_value *value) {
    DBK_ASSERT(term.size > 0 && (value->count == 0) == (value->form == DBK_POSTINGS_NONE));
    add_term(page, term);
    uint8_t kind = *(const uint8_t *)term.data;
    if (kind == DBK_TERM_DEAD_ID) {
        put_dead_id(page, value);
        return;
    }
    put(page, value->count << 2 | value->form);
    put_postings(page, value);
    if (value->count > 0 && kind != DBK_TERM_ID) {
        uint64_t lead = value->last_seq - value->last;
        put_difference(page, lead, page->base.seq_lead);
        page->base.seq_lead = lead;
    }
    if (kind == DBK_TERM_AGGREGATE) put(page, value->last_version);
}

void dbk_term_page_add_child(dbk_term_page_builder *page, dbk_slice separator, uint64_t offset,
                             uint32_t size) {
    add_term(page, separator);
    put(page, offset);
    put(page, size);
}

bool dbk_term_page_is_full(const dbk_term_page_builder *page) {
    return page->size >= DBK_TERM_PAGE_TARGET - 64;
}

dbk_slice dbk_term_page_finish(dbk_term_page_builder *page) {
    for (size_t i = 0; i < page->restart_count; i++) {
        dbk_put_u16(page->bytes + page->size, page->restarts[i]);
        page->size += 2;
    }
    dbk_put_u16(page->bytes + page->size, (uint16_t)page->restart_count);
    page->size += 2;
    return daybook_bytes(page->bytes, page->size);
}

dbk_slice dbk_term_separator(dbk_slice before, dbk_slice term) {
    return daybook_bytes(term.data, common_prefix(before, term) + 1);
}

// ---- Reading ----------------------------------------------------------------------------------------------

bool dbk_term_page_open(dbk_slice bytes, dbk_term_page *page_out) {
    if (bytes.size < 5 || bytes.size > DBK_TERM_PAGE_SIZE_MAX) return false;
    const uint8_t *data = bytes.data;
    uint32_t count = dbk_get_u16(data + bytes.size - 2);
    if (count == 0 || (size_t)count * 2 + 3 > bytes.size) return false;
    page_out->bytes = bytes;
    page_out->level = data[0];
    page_out->restart_count = count;
    page_out->entries_end = bytes.size - 2 - (size_t)count * 2;
    return true;
}

static size_t restart_offset(const dbk_term_page *page, uint32_t index) {
    return dbk_get_u16((const uint8_t *)page->bytes.data + page->entries_end + (size_t)index * 2);
}

void dbk_term_cursor_init(dbk_term_cursor *cursor, const dbk_term_page *page) {
    cursor->page = page;
    cursor->next = 1;
    cursor->entry_index = 0;
    cursor->term.size = 0;
}

static uint64_t read_difference(dbk_reader *reader, uint64_t base) {
    return base + (uint64_t)dbk_unzigzag(dbk_read_varint(reader));
}

static void fail(dbk_reader *reader) {
    reader->failed = true;
    reader->at = reader->end;
}

static uint32_t read_u32_difference(dbk_reader *reader, uint32_t base) {
    uint64_t value = read_difference(reader, base);
    if (value > UINT32_MAX) fail(reader);
    return (uint32_t)value;
}

static void read_dead_id(dbk_term_cursor *cursor, dbk_reader *reader) {
    dbk_term_value *value = &cursor->value;
    uint64_t head = dbk_read_varint(reader);
    if (head >> 1 > UINT32_MAX) fail(reader);
    value->dead_stream_id = (uint32_t)(head >> 1);
    value->dead_for_ever = (head & 1) != 0;
    value->dead_removed_ns = 0;
    if (value->dead_for_ever) return;
    value->dead_removed_ns = (int64_t)read_difference(reader, (uint64_t)cursor->base.removed_ns);
    cursor->base.removed_ns = value->dead_removed_ns;
}

// The count is above 0.
static void read_inline(dbk_term_value *value, dbk_reader *reader) {
    uint32_t numbers[DBK_POSTINGS_INLINE_COUNT_MAX];
    const uint8_t *begin = reader->at;
    if (value->count > DBK_POSTINGS_INLINE_COUNT_MAX) {
        fail(reader);
        return;
    }
    dbk_postings_decode_inline(reader, value->first, (size_t)value->count, numbers);
    if (reader->failed) return;
    size_t size = (size_t)(reader->at - begin);
    if (size > DBK_POSTINGS_INLINE_SIZE_MAX) {
        fail(reader);
        return;
    }
    memcpy(value->inline_bytes, begin, size);
    value->inline_size = (uint8_t)size;
    value->last = numbers[value->count - 1];
}

static void read_postings(dbk_term_cursor *cursor, dbk_reader *reader) {
    dbk_term_value *value = &cursor->value;
    dbk_term_base *base = &cursor->base;
    value->first = read_u32_difference(reader, base->last);
    if (value->form == DBK_POSTINGS_INLINE) {
        read_inline(value, reader);
    } else {
        uint64_t span = dbk_read_varint(reader);
        value->postings_offset = read_difference(reader, base->postings_end);
        uint64_t size = dbk_read_varint(reader);
        if (span > UINT32_MAX - value->first || value->count > span + 1 || size == 0 ||
            size > UINT32_MAX / 2) {
            fail(reader);
            return;
        }
        value->last = value->first + (uint32_t)span;
        value->postings_size = (uint32_t)size;
        base->postings_end = value->postings_offset + size + sizeof(uint64_t);
    }
    base->last = value->last;
}

static void read_leaf_value(dbk_term_cursor *cursor, dbk_reader *reader) {
    dbk_term_value *value = &cursor->value;
    uint8_t kind = cursor->term.bytes[0];
    value->last_seq = value->last_version = 0;
    value->first = value->last = 0;
    value->inline_size = 0;
    value->postings_offset = 0;
    value->postings_size = 0;
    value->count = 0;
    value->form = DBK_POSTINGS_NONE;
    if (kind == DBK_TERM_DEAD_ID) {
        read_dead_id(cursor, reader);
        return;
    }
    uint64_t head = dbk_read_varint(reader);
    value->count = head >> 2;
    value->form = (dbk_postings_form)(head & 3);
    if ((value->count == 0) != (value->form == DBK_POSTINGS_NONE)) fail(reader);
    if (value->count > 0) read_postings(cursor, reader);
    if (value->count > 0 && kind != DBK_TERM_ID) {
        cursor->base.seq_lead = read_difference(reader, cursor->base.seq_lead);
        value->last_seq = cursor->base.seq_lead + value->last;
    }
    if (kind == DBK_TERM_AGGREGATE) value->last_version = dbk_read_varint(reader);
}

static void read_child(dbk_term_cursor *cursor, dbk_reader *reader) {
    cursor->child_offset = dbk_read_varint(reader);
    uint64_t size = dbk_read_varint(reader);
    if (size == 0 || size > DBK_TERM_PAGE_SIZE_MAX) fail(reader);
    cursor->child_size = (uint32_t)size;
}

static void read_term(dbk_term_cursor *cursor, dbk_reader *reader) {
    uint64_t shared = dbk_read_varint(reader);
    uint64_t unshared = dbk_read_varint(reader);
    bool is_restart = cursor->entry_index % DBK_TERM_RESTART_INTERVAL == 0;
    if (is_restart) memset(&cursor->base, 0, sizeof cursor->base);
    if (shared > (is_restart ? 0 : cursor->term.size) || unshared > DBK_TERM_SIZE_MAX - shared) {
        fail(reader);
        return;
    }
    dbk_slice rest = dbk_read_bytes(reader, (size_t)unshared);
    if (reader->failed) return;
    if (rest.size > 0) memcpy(cursor->term.bytes + shared, rest.data, rest.size);
    cursor->term.size = (size_t)(shared + unshared);
}

daybook_status dbk_term_cursor_next(dbk_term_cursor *cursor) {
    const dbk_term_page *page = cursor->page;
    if (cursor->next == page->entries_end) return DAYBOOK_END;
    if (cursor->next > page->entries_end) return DAYBOOK_EDAMAGED;
    const uint8_t *data = page->bytes.data;
    dbk_reader reader;
    dbk_reader_init(&reader, daybook_bytes(data + cursor->next, page->entries_end - cursor->next));
    read_term(cursor, &reader);
    if (page->level > 0)
        read_child(cursor, &reader);
    else if (cursor->term.size == 0)
        fail(&reader);
    else
        read_leaf_value(cursor, &reader);
    if (reader.failed) return DAYBOOK_EDAMAGED;
    cursor->next = (size_t)(reader.at - data);
    cursor->entry_index++;
    return DAYBOOK_OK;
}

// The full term at a restart, borrowed from the page.
static bool restart_term(const dbk_term_page *page, uint32_t index, dbk_slice *term_out) {
    size_t offset = restart_offset(page, index);
    if (offset == 0 || offset >= page->entries_end) return false;
    dbk_reader reader;
    dbk_reader_init(&reader,
                    daybook_bytes((const uint8_t *)page->bytes.data + offset, page->entries_end - offset));
    uint64_t shared = dbk_read_varint(&reader);
    *term_out = dbk_read_text(&reader);
    return !reader.failed && shared == 0;
}

// Stand before the entry of the last restart at or below `term`, or the first.
static daybook_status seek_restart(dbk_term_cursor *cursor, dbk_slice term) {
    const dbk_term_page *page = cursor->page;
    uint32_t low = 0, high = page->restart_count; // The answer is in [low, high).
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        dbk_slice at;
        if (!restart_term(page, middle, &at)) return DAYBOOK_EDAMAGED;
        if (dbk_slice_compare(at, term) <= 0)
            low = middle;
        else
            high = middle;
    }
    cursor->next = restart_offset(page, low);
    cursor->entry_index = low * DBK_TERM_RESTART_INTERVAL;
    cursor->term.size = 0;
    return cursor->next == 0 || cursor->next > page->entries_end ? DAYBOOK_EDAMAGED : DAYBOOK_OK;
}

daybook_status dbk_term_cursor_seek(dbk_term_cursor *cursor, dbk_slice term) {
    DBK_TRY(seek_restart(cursor, term));
    for (;;) {
        DBK_TRY(dbk_term_cursor_next(cursor));
        if (dbk_slice_compare(dbk_term_slice(&cursor->term), term) >= 0) return DAYBOOK_OK;
    }
}

daybook_status dbk_term_cursor_seek_child(dbk_term_cursor *cursor, dbk_slice term, bool to_walk_on) {
    DBK_TRY(seek_restart(cursor, term));
    DBK_TRY(dbk_term_cursor_next(cursor));
    // The next entry is looked at before it is taken: what is wanted is the last one not above.
    uint64_t offset;
    uint32_t size, steps = 0;
    daybook_status status;
    do {
        offset = cursor->child_offset;
        size = cursor->child_size;
        steps++;
        status = dbk_term_cursor_next(cursor);
        if (status == DAYBOOK_EDAMAGED) return status;
    } while (status == DAYBOOK_OK && dbk_slice_compare(dbk_term_slice(&cursor->term), term) <= 0);
    cursor->child_offset = offset;
    cursor->child_size = size;
    if (!to_walk_on) return DAYBOOK_OK;
    // The same way once more, which held above.
    daybook_status again = seek_restart(cursor, term);
    while (steps-- > 0) again = dbk_term_cursor_next(cursor);
    return again;
}
