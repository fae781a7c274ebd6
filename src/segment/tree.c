// SPDX-License-Identifier: Apache-2.0
// Builds the dictionary, streaming.
//
// Pages of all levels are open at once, one per level. A leaf that is full is packed (pack.c), written as a
// chunk and named in the open page above it by the shortest separator between its first term and the last one
// before it; that page, when full, goes the same way. A lookup compares with separators only, so they need
// not be terms.
//
// Postings of a term are held back while they might fit the leaf (DBK_POSTINGS_INLINE_COUNT_MAX numbers);
// beyond, they go through the page encoder. The first page waits until there is a second: a list of one page
// needs no directory. Pages of one list lie one behind the other in the file, since nothing else is written
// while a term is open.
//
// A filter takes the hashes of up to 32 Ki terms in order; then it is built and written. Below 1000 terms
// there is none: the whole dictionary is a few pages.
//
// Memory: a page of 9 KiB for each level in use, 256 KiB of hashes, for building a filter 1.5 MiB, the parts'
// separators and the directory of the list at hand (12 bytes for some 4,000 postings). One thread.
#include "segment/tree.h"

#include "base/assert.h"
#include "index/filter.h"
#include "segment/pack.h"

struct dbk_tree_builder {
    const daybook_allocator *allocator;
    dbk_file_writer *file;
    dbk_term_page_builder *levels[DBK_TREE_LEVELS_MAX];
    uint32_t height; // levels in use
    uint64_t term_count;
    dbk_term previous; // the last term of all

    // The postings of the term at hand.
    uint64_t count;
    uint32_t last;
    uint32_t held[DBK_POSTINGS_INLINE_COUNT_MAX];
    bool is_paged;
    dbk_postings_encoder encoder;
    uint32_t page_count;
    uint8_t first_page[DBK_POSTINGS_PAGE_SIZE_MAX];
    size_t first_page_size;
    uint32_t first_page_first, first_page_last;
    uint64_t pages_offset;
    dbk_buf directory;

    dbk_packer *packer;
    dbk_buf packed; // a leaf

    // The filter at hand.
    uint64_t *hashes;
    size_t hash_count;
    dbk_buf filter;
    dbk_buf separators;
    dbk_buf parts;
    daybook_error *error; // of the call at hand, for the encoder's emit
};

daybook_status dbk_tree_builder_new(const daybook_allocator *allocator, dbk_file_writer *file,
                                    dbk_tree_builder **tree_out) {
    *tree_out = NULL;
    dbk_tree_builder *tree = dbk_alloc_zeroed(allocator, sizeof *tree);
    if (tree == NULL) return DAYBOOK_ENOMEM;
    tree->allocator = allocator;
    tree->file = file;
    dbk_buf_init(&tree->directory, allocator, UINT32_MAX / 2);
    dbk_buf_init(&tree->filter, allocator, DBK_FILTER_SIZE_MAX);
    dbk_buf_init(&tree->separators, allocator, UINT32_MAX / 2);
    dbk_buf_init(&tree->parts, allocator, UINT32_MAX / 2);
    dbk_buf_init(&tree->packed, allocator, UINT32_MAX / 2);
    tree->hashes = dbk_alloc(allocator, DBK_FILTER_KEYS_MAX * sizeof *tree->hashes);
    if (tree->hashes == NULL || dbk_packer_new(allocator, DBK_PACK_PAGES, &tree->packer) != DAYBOOK_OK) {
        dbk_tree_builder_free(tree);
        return DAYBOOK_ENOMEM;
    }
    *tree_out = tree;
    return DAYBOOK_OK;
}

void dbk_tree_builder_free(dbk_tree_builder *tree) {
    if (tree == NULL) return;
    for (size_t i = 0; i < DBK_TREE_LEVELS_MAX; i++) dbk_free(tree->allocator, tree->levels[i]);
    dbk_free(tree->allocator, tree->hashes);
    dbk_packer_free(tree->packer);
    dbk_buf_deinit(&tree->packed);
    dbk_buf_deinit(&tree->directory);
    dbk_buf_deinit(&tree->filter);
    dbk_buf_deinit(&tree->separators);
    dbk_buf_deinit(&tree->parts);
    dbk_free(tree->allocator, tree);
}

static daybook_status out_of_memory(const dbk_tree_builder *tree, daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory building the index of %s", tree->file->path);
}

// ---- Postings ---------------------------------------------------------------------------------------------

static daybook_status write_page(dbk_tree_builder *tree, dbk_slice page, uint32_t first, uint32_t last) {
    uint64_t offset;
    DBK_TRY(dbk_file_write_chunk(tree->file, page, &offset, tree->error));
    if (tree->directory.size == 0) tree->pages_offset = offset;
    if (offset - tree->pages_offset > UINT32_MAX - DBK_POSTINGS_PAGE_SIZE_MAX - DBK_CHUNK_CHECKSUM_SIZE)
        return dbk_fail(tree->error, DAYBOOK_ELIMIT, "a posting list of %s exceeds 4 GiB", tree->file->path);
    dbk_buf_append_u32(&tree->directory, first);
    dbk_buf_append_u32(&tree->directory, last);
    dbk_buf_append_u32(&tree->directory, (uint32_t)(offset - tree->pages_offset));
    if (dbk_buf_status(&tree->directory) != DAYBOOK_OK) return out_of_memory(tree, tree->error);
    return DAYBOOK_OK;
}

static daybook_status emit_page(void *context, dbk_slice page, uint32_t first, uint32_t last) {
    dbk_tree_builder *tree = context;
    if (tree->page_count++ == 0) {
        memcpy(tree->first_page, page.data, page.size);
        tree->first_page_size = page.size;
        tree->first_page_first = first;
        tree->first_page_last = last;
        return DAYBOOK_OK;
    }
    if (tree->page_count == 2) {
        dbk_slice first_page = daybook_bytes(tree->first_page, tree->first_page_size);
        DBK_TRY(write_page(tree, first_page, tree->first_page_first, tree->first_page_last));
    }
    return write_page(tree, page, first, last);
}

void dbk_tree_begin_term(dbk_tree_builder *tree) {
    tree->count = 0;
    tree->last = 0;
    tree->is_paged = false;
}

// What was held is less than a page and writes none.
static void begin_pages(dbk_tree_builder *tree) {
    tree->is_paged = true;
    tree->page_count = 0;
    dbk_buf_reset(&tree->directory);
    dbk_postings_encoder_init(&tree->encoder, emit_page, tree);
    daybook_status status = DAYBOOK_OK;
    for (uint64_t i = 0; i < tree->count; i++)
        status = dbk_postings_encoder_add(&tree->encoder, tree->held[i]);
    DBK_ASSERT(status == DAYBOOK_OK);
}

daybook_status dbk_tree_add_postings(dbk_tree_builder *tree, const uint32_t *numbers, size_t count,
                                     daybook_error *error) {
    if (count == 0) return DAYBOOK_OK;
    tree->error = error;
    if (!tree->is_paged && tree->count + count <= DBK_POSTINGS_INLINE_COUNT_MAX) {
        memcpy(tree->held + tree->count, numbers, count * sizeof *numbers);
    } else {
        if (!tree->is_paged) begin_pages(tree);
        for (size_t i = 0; i < count; i++) DBK_TRY(dbk_postings_encoder_add(&tree->encoder, numbers[i]));
    }
    tree->count += count;
    tree->last = numbers[count - 1];
    return DAYBOOK_OK;
}

uint64_t dbk_tree_posting_count(const dbk_tree_builder *tree) {
    return tree->count;
}

uint32_t dbk_tree_posting_last(const dbk_tree_builder *tree) {
    return tree->last;
}

static daybook_status write_directory(dbk_tree_builder *tree, dbk_term_value *value) {
    uint64_t end = tree->file->offset;
    dbk_buf *directory = &tree->directory;
    size_t size = directory->size;
    if (dbk_buf_reserve(directory, DBK_POSTINGS_DIRECTORY_HEAD) == NULL)
        return out_of_memory(tree, tree->error);
    memmove(directory->data + DBK_POSTINGS_DIRECTORY_HEAD, directory->data, size);
    directory->size += DBK_POSTINGS_DIRECTORY_HEAD;
    dbk_put_u64(directory->data, tree->pages_offset);
    dbk_put_u32(directory->data + 8, tree->page_count);
    dbk_put_u32(directory->data + 12, (uint32_t)(end - tree->pages_offset));
    value->form = DBK_POSTINGS_DIRECTORY;
    value->postings_size = (uint32_t)directory->size;
    return dbk_file_write_chunk(tree->file, daybook_bytes(directory->data, directory->size),
                                &value->postings_offset, tree->error);
}

static daybook_status end_postings(dbk_tree_builder *tree, dbk_term_value *value) {
    value->count = tree->count;
    value->form = DBK_POSTINGS_NONE;
    if (tree->count == 0) return DAYBOOK_OK;
    value->last = tree->last;
    if (!tree->is_paged) {
        value->first = tree->held[0];
        size_t size = dbk_postings_encode_inline(tree->held, (size_t)tree->count, value->inline_bytes);
        if (size != SIZE_MAX) {
            value->form = DBK_POSTINGS_INLINE;
            value->inline_size = (uint8_t)size;
            return DAYBOOK_OK;
        }
        begin_pages(tree);
    }
    DBK_TRY(dbk_postings_encoder_finish(&tree->encoder));
    value->first = tree->first_page_first;
    if (tree->page_count > 1) return write_directory(tree, value);
    value->form = DBK_POSTINGS_PAGE;
    value->postings_size = (uint32_t)tree->first_page_size;
    return dbk_file_write_chunk(tree->file, daybook_bytes(tree->first_page, tree->first_page_size),
                                &value->postings_offset, tree->error);
}

// ---- Filters ----------------------------------------------------------------------------------------------

// At least one term has come since the last.
static daybook_status write_filter(dbk_tree_builder *tree, daybook_error *error) {
    DBK_ASSERT(tree->hash_count > 0);
    dbk_buf_reset(&tree->filter);
    if (dbk_filter_build(tree->allocator, tree->hashes, tree->hash_count, &tree->filter) != DAYBOOK_OK)
        return out_of_memory(tree, error);
    // The part was begun with its separator; offset and size are known only now.
    dbk_filter_part *part = (dbk_filter_part *)(void *)(tree->parts.data + tree->parts.size) - 1;
    part->size = (uint32_t)tree->filter.size;
    tree->hash_count = 0;
    return dbk_file_write_chunk(tree->file, daybook_bytes(tree->filter.data, tree->filter.size),
                                &part->offset, error);
}

static daybook_status add_to_filter(dbk_tree_builder *tree, dbk_slice term, daybook_error *error) {
    if (tree->hash_count == DBK_FILTER_KEYS_MAX) DBK_TRY(write_filter(tree, error));
    if (tree->hash_count == 0) {
        dbk_slice separator = daybook_bytes(NULL, 0);
        if (tree->term_count > 0) separator = dbk_term_separator(dbk_term_slice(&tree->previous), term);
        dbk_filter_part part;
        memset(&part, 0, sizeof part);
        part.separator_offset = (uint32_t)tree->separators.size;
        part.separator_size = (uint32_t)separator.size;
        dbk_buf_append_slice(&tree->separators, separator);
        dbk_buf_append(&tree->parts, &part, sizeof part);
        if (tree->separators.failed || tree->parts.failed) return out_of_memory(tree, error);
    }
    tree->hashes[tree->hash_count++] = dbk_term_hash(term);
    return DAYBOOK_OK;
}

// ---- Pages ------------------------------------------------------------------------------------------------

static daybook_status open_level(dbk_tree_builder *tree, uint32_t level, daybook_error *error) {
    if (level < tree->height) return DAYBOOK_OK;
    if (level == DBK_TREE_LEVELS_MAX) // defensive: at least four children each, millions of pages of 4 KiB
        return dbk_fail(error, DAYBOOK_ELIMIT, "the index of %s exceeds %d levels", tree->file->path,
                        DBK_TREE_LEVELS_MAX);
    tree->levels[level] = dbk_alloc(tree->allocator, sizeof *tree->levels[level]);
    if (tree->levels[level] == NULL) return out_of_memory(tree, error);
    dbk_term_page_begin(tree->levels[level], (uint8_t)level);
    tree->height = level + 1;
    return DAYBOOK_OK;
}

// The page of `level` is complete: write it and name it above. Pages on higher levels are closed lazily, when
// the next child needs room, so that the topmost open page can become the root.
static daybook_status close_page(dbk_tree_builder *tree, uint32_t level, dbk_slice separator,
                                 daybook_error *error) {
    uint64_t offset;
    dbk_slice page = dbk_term_page_finish(tree->levels[level]);
    if (level == 0) {
        dbk_buf_reset(&tree->packed);
        if (dbk_pack_page(tree->packer, page, &tree->packed) != DAYBOOK_OK) return out_of_memory(tree, error);
        page = daybook_bytes(tree->packed.data, tree->packed.size);
    }
    DBK_TRY(dbk_file_write_chunk(tree->file, page, &offset, error));
    uint32_t above = level + 1;
    DBK_TRY(open_level(tree, above, error));
    if (dbk_term_page_is_full(tree->levels[above])) {
        dbk_term first = tree->levels[above]->first;
        DBK_TRY(close_page(tree, above, dbk_term_slice(&first), error));
    }
    dbk_term_page_add_child(tree->levels[above], separator, offset, (uint32_t)page.size);
    dbk_term_page_begin(tree->levels[level], (uint8_t)level);
    return DAYBOOK_OK;
}

static daybook_status add_to_leaf(dbk_tree_builder *tree, dbk_slice term, const dbk_term_value *value,
                                  daybook_error *error) {
    DBK_TRY(open_level(tree, 0, error));
    dbk_term_page_builder *leaf = tree->levels[0];
    if (dbk_term_page_is_full(leaf)) {
        dbk_term first = leaf->first;
        DBK_TRY(close_page(tree, 0, dbk_term_slice(&first), error));
    }
    if (leaf->entry_count == 0) {
        // Remembered as this page's name above.
        dbk_slice separator = daybook_bytes(NULL, 0);
        if (tree->term_count > 0) separator = dbk_term_separator(dbk_term_slice(&tree->previous), term);
        dbk_term_page_add_leaf(leaf, term, value);
        leaf->first.size = separator.size;
        if (separator.size > 0) memcpy(leaf->first.bytes, separator.data, separator.size);
        return DAYBOOK_OK;
    }
    dbk_term_page_add_leaf(leaf, term, value);
    return DAYBOOK_OK;
}

daybook_status dbk_tree_end_term(dbk_tree_builder *tree, dbk_slice term, dbk_term_value *value,
                                 daybook_error *error) {
    tree->error = error;
    DBK_ASSERT(tree->term_count == 0 || dbk_slice_compare(dbk_term_slice(&tree->previous), term) < 0);
    DBK_TRY(end_postings(tree, value));
    DBK_TRY(add_to_filter(tree, term, error));
    DBK_TRY(add_to_leaf(tree, term, value, error));
    memcpy(tree->previous.bytes, term.data, term.size);
    tree->previous.size = term.size;
    tree->term_count++;
    return DAYBOOK_OK;
}

daybook_status dbk_tree_builder_finish(dbk_tree_builder *tree, dbk_tree_root *root_out, dbk_buf *parts,
                                       dbk_buf *separators, daybook_error *error) {
    memset(root_out, 0, sizeof *root_out);
    root_out->term_count = tree->term_count;
    if (tree->term_count == 0) return DAYBOOK_OK;
    if (tree->term_count >= DBK_TREE_FILTER_TERMS_MIN) {
        DBK_TRY(write_filter(tree, error));
        dbk_buf_append(parts, tree->parts.data, tree->parts.size);
        dbk_buf_append(separators, tree->separators.data, tree->separators.size);
        if (parts->failed || separators->failed) return out_of_memory(tree, error);
    }
    // Closing a page may open a level above; the last level alone, never closed before, is the root.
    for (uint32_t level = 0; level + 1 < tree->height; level++) {
        dbk_term first = tree->levels[level]->first;
        DBK_TRY(close_page(tree, level, dbk_term_slice(&first), error));
    }
    dbk_slice root = dbk_term_page_finish(tree->levels[tree->height - 1]);
    root_out->size = (uint32_t)root.size;
    root_out->height = tree->height;
    return dbk_file_write_chunk(tree->file, root, &root_out->offset, error);
}
