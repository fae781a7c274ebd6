// SPDX-License-Identifier: Apache-2.0
// Reads and checks every byte of a segment, and goes on after damage so that each is reported once.
//
//   frame    head, both tails, both footers, what they say of each other
//   digest   SHA-256 of everything before the footer: no byte escapes
//   parts    dictionaries (both copies), catalogue, pages of the block index, filters
//   blocks   decompressed, every body decoded, positions within range, counts as the index says
//   terms    every page from the root down; terms ascend and are in their filters; every posting walked and
//   counted
//
// It uses a small cache of its own, so that nothing comes from memory that was checked earlier. A file whose
// pages name each other in circles is stopped by a budget of pages, as many as fit the file. One thread.
#include "base/assert.h"
#include "index/filter.h"
#include "io/io.h"
#include "segment/reader.h"

enum { CACHE_SIZE = 4 * 1024 * 1024, READ_SIZE = 256 * 1024, MESSAGE_SIZE = 320 };

typedef struct segment_verifier {
    dbk_segment *segment;
    daybook_report report;
    void *context;
    uint64_t damage_count;
    dbk_term previous;
    uint64_t term_count;
    uint64_t page_budget;
    uint64_t event_count;
    uint64_t data_bytes;
} segment_verifier;

// ---- Reporting --------------------------------------------------------------------------------------------

static void report_damage(segment_verifier *verifier, uint64_t offset, uint64_t position_first,
                          uint64_t position_last, const char *message) {
    verifier->damage_count++;
    if (verifier->report == NULL) return;
    daybook_finding finding;
    memset(&finding, 0, sizeof finding);
    finding.size = sizeof finding;
    finding.is_damage = 1;
    finding.file = daybook_text(verifier->segment->path);
    finding.offset = offset;
    finding.position_first = position_first;
    finding.position_last = position_last;
    finding.message = daybook_text(message);
    verifier->report(verifier->context, &finding);
}

// DAYBOOK_OK where the status is damage, which is then reported; others stop the verification.
static daybook_status absorb(segment_verifier *verifier, daybook_status status, const daybook_error *detail,
                             uint64_t position_first, uint64_t position_last, daybook_error *error) {
    if (status == DAYBOOK_OK) return DAYBOOK_OK;
    if (status == DAYBOOK_EDAMAGED) {
        report_damage(verifier, detail->offset, position_first, position_last, detail->message);
        return DAYBOOK_OK;
    }
    if (error != NULL) *error = *detail;
    return status;
}

static void report_frame(void *context, uint64_t offset, const char *what) {
    char message[MESSAGE_SIZE];
    daybook_error text;
    daybook_error_init(&text);
    segment_verifier *verifier = context;
    (void)dbk_fail(&text, DAYBOOK_EDAMAGED, "%s of the segment is damaged; its copy serves", what);
    memcpy(message, text.message, sizeof message - 1);
    message[sizeof message - 1] = '\0';
    report_damage(verifier, offset, 0, 0, message);
}

// ---- Parts ------------------------------------------------------------------------------------------------

static daybook_status check_chunk(segment_verifier *verifier, uint64_t offset, uint64_t size,
                                  const char *what, daybook_error *error) {
    dbk_segment *segment = verifier->segment;
    daybook_error detail;
    daybook_error_init(&detail);
    if (size > segment->reader.size) {
        (void)dbk_chunk_damaged(&segment->reader, offset, what, &detail);
        return absorb(verifier, DAYBOOK_EDAMAGED, &detail, 0, 0, error);
    }
    uint8_t *bytes = dbk_alloc(segment->allocator, (size_t)size + DBK_CHUNK_CHECKSUM_SIZE);
    if (bytes == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory verifying %s", segment->path);
    daybook_status status = dbk_chunk_read(&segment->reader, offset, (size_t)size, what, bytes, &detail);
    dbk_free(segment->allocator, bytes);
    return absorb(verifier, status, &detail, 0, 0, error);
}

static daybook_status check_digest(segment_verifier *verifier, daybook_error *error) {
    const dbk_file_reader *reader = &verifier->segment->reader;
    uint8_t *bytes = dbk_alloc(verifier->segment->allocator, READ_SIZE);
    if (bytes == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory verifying %s", reader->path);
    dbk_sha256 digest;
    dbk_sha256_init(&digest);
    uint64_t end = verifier->segment->tail.footer_offset;
    daybook_status status = DAYBOOK_OK;
    for (uint64_t offset = 0; offset < end;) {
        size_t size = end - offset < READ_SIZE ? (size_t)(end - offset) : READ_SIZE;
        status = dbk_read_exactly(reader->vfs, reader->file, reader->path, bytes, size, offset, error);
        if (status != DAYBOOK_OK) break;
        dbk_sha256_update(&digest, bytes, size);
        offset += size;
    }
    dbk_free(verifier->segment->allocator, bytes);
    if (status != DAYBOOK_OK) return status;
    uint8_t actual[32];
    dbk_sha256_final(&digest, actual);
    if (memcmp(actual, verifier->segment->footer.summary.sha256, sizeof actual) != 0)
        report_damage(verifier, 0, 0, 0, "the SHA-256 of the segment is not the one in its footer");
    return DAYBOOK_OK;
}

static daybook_status check_parts(segment_verifier *verifier, daybook_error *error) {
    const dbk_segment *segment = verifier->segment;
    const dbk_footer *footer = &segment->footer;
    const dbk_segment_tail *tail = &segment->tail;
    // A damaged first footer has been reported when it was opened.
    DBK_TRY(
        check_chunk(verifier, tail->footer_copy_offset, tail->footer_size, "the copy of the footer", error));
    for (uint32_t i = 0; i < footer->dictionary_count; i++) {
        const dbk_dictionary_place *place = &footer->dictionaries[i];
        DBK_TRY(check_chunk(verifier, place->offset, place->size, "a dictionary", error));
        DBK_TRY(check_chunk(verifier, place->copy_offset, place->size, "the copy of a dictionary", error));
    }
    DBK_TRY(check_chunk(verifier, footer->catalogue_offset, footer->catalogue_size, "the catalogue", error));
    for (uint32_t i = 0; i < footer->filter_part_count; i++)
        DBK_TRY(check_chunk(verifier, footer->filter_parts[i].offset, footer->filter_parts[i].size,
                            "a filter of the index", error));
    return DAYBOOK_OK;
}

// ---- Blocks -----------------------------------------------------------------------------------------------

static daybook_status check_events(segment_verifier *verifier, const dbk_block_view *view,
                                   daybook_error *detail) {
    for (uint32_t i = 0; i < view->event_count; i++) {
        dbk_event event;
        DBK_TRY(dbk_block_event(view, i, &event, detail));
        verifier->event_count++;
        verifier->data_bytes += event.body.size;
    }
    return DAYBOOK_OK;
}

static daybook_status check_block(segment_verifier *verifier, uint32_t number, dbk_block_view *view,
                                  daybook_error *error) {
    daybook_error detail;
    daybook_error_init(&detail);
    dbk_block_info info;
    memset(&info, 0, sizeof info);
    daybook_status status = dbk_segment_block_info(verifier->segment, number, &info, &detail);
    if (status == DAYBOOK_EDAMAGED) return DAYBOOK_OK; // Reported with its page.
    if (status == DAYBOOK_OK) status = dbk_block_load(verifier->segment, number, view, &detail);
    // Reading by position does not look at the rest of what the index says.
    if (status == DAYBOOK_OK && !dbk_block_head_matches(&view->memory->head, &info))
        status = dbk_block_damaged(verifier->segment, info.file_offset, &detail);
    if (status == DAYBOOK_OK) status = check_events(verifier, view, &detail);
    return absorb(verifier, status, &detail, info.position_first, info.position_last, error);
}

static daybook_status check_block_page(segment_verifier *verifier, uint32_t page_index,
                                       uint64_t *position_last, daybook_error *error) {
    dbk_block_info blocks[DBK_BLOCK_PAGE_COUNT];
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = dbk_segment_read_block_page(verifier->segment, page_index, blocks, &detail);
    const dbk_footer *footer = &verifier->segment->footer;
    if (status == DAYBOOK_OK && page_index > 0 && blocks[0].position_first <= *position_last)
        status = dbk_chunk_damaged(&verifier->segment->reader, footer->block_pages[page_index].offset,
                                   "a page of the block index", &detail);
    uint64_t first = page_index == 0 ? footer->summary.position_first : *position_last + 1;
    *position_last = footer->block_pages[page_index].position_last;
    return absorb(verifier, status, &detail, first, *position_last, error);
}

static daybook_status check_blocks(segment_verifier *verifier, daybook_error *error) {
    const dbk_footer *footer = &verifier->segment->footer;
    uint64_t position_last = 0, damages = verifier->damage_count;
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    daybook_status status = DAYBOOK_OK;
    for (uint32_t i = 0; i < footer->block_page_count && status == DAYBOOK_OK; i++)
        status = check_block_page(verifier, i, &position_last, error);
    for (uint32_t i = 0; i < footer->block_count && status == DAYBOOK_OK; i++)
        status = check_block(verifier, i, &view, error);
    dbk_block_release(&view);
    bool agrees = verifier->event_count == footer->summary.event_count &&
                  verifier->data_bytes == footer->summary.data_bytes;
    if (status == DAYBOOK_OK && damages == verifier->damage_count && !agrees)
        report_damage(verifier, verifier->segment->tail.footer_offset, footer->summary.position_first,
                      footer->summary.position_last, "the blocks hold other events than the footer says");
    return status;
}

// ---- Terms ------------------------------------------------------------------------------------------------

static daybook_status check_postings(segment_verifier *verifier, const dbk_term_entry *entry,
                                     daybook_error *detail) {
    dbk_segment *segment = verifier->segment;
    if (entry->count == 0) return DAYBOOK_OK;
    dbk_postings *postings;
    DBK_TRY(dbk_postings_open(segment, entry, &postings, detail));
    uint64_t position = segment->footer.summary.position_first, count = 0, last = 0;
    daybook_status status;
    while ((status = dbk_postings_seek(postings, position, &position, detail)) == DAYBOOK_OK) {
        count++;
        last = position++;
        if (count > entry->count) break;
    }
    dbk_postings_close(postings);
    if (status != DAYBOOK_OK && status != DAYBOOK_END) return status;
    if (count == entry->count && last == entry->last_position) return DAYBOOK_OK;
    return dbk_chunk_damaged(&segment->reader, entry->postings_offset, "a posting list", detail);
}

static daybook_status check_filter(segment_verifier *verifier, dbk_slice term, daybook_error *detail) {
    dbk_segment *segment = verifier->segment;
    const dbk_filter_part *part = dbk_segment_filter_part(segment, term);
    if (part == NULL) return DAYBOOK_OK;
    dbk_cache_entry *entry;
    daybook_status status =
        dbk_segment_load(segment, part->offset, part->size, "a filter of the index", &entry, detail);
    if (status == DAYBOOK_EDAMAGED) return DAYBOOK_OK; // Reported with the parts.
    if (status != DAYBOOK_OK) return status;
    dbk_slice filter = daybook_bytes(dbk_cache_entry_data(entry), part->size);
    bool is_in = dbk_filter_check(filter) && dbk_filter_may_contain(filter, dbk_term_hash(term));
    dbk_cache_release(segment->cache, entry);
    return is_in ? DAYBOOK_OK
                 : dbk_chunk_damaged(&segment->reader, part->offset, "a filter of the index", detail);
}

static daybook_status check_term(segment_verifier *verifier, const dbk_term_cursor *cursor,
                                 uint64_t page_offset, daybook_error *error) {
    dbk_slice term = dbk_term_slice(&cursor->term);
    daybook_error detail;
    daybook_error_init(&detail);
    const dbk_segment_summary *summary = &verifier->segment->footer.summary;
    daybook_status status = DAYBOOK_OK;
    if (dbk_slice_compare(dbk_term_slice(&verifier->previous), term) >= 0 ||
        cursor->value.last > summary->position_last - summary->position_first ||
        cursor->value.count > summary->event_count)
        status = dbk_segment_page_damaged(verifier->segment, page_offset, &detail);
    verifier->previous = cursor->term;
    verifier->term_count++;
    if (status != DAYBOOK_OK) return absorb(verifier, status, &detail, 0, 0, error);
    DBK_TRY(absorb(verifier, check_filter(verifier, term, &detail), &detail, 0, 0, error));
    dbk_term_entry entry;
    dbk_segment_value_to_entry(verifier->segment, &cursor->value, &entry);
    return absorb(verifier, check_postings(verifier, &entry, &detail), &detail, 0, 0, error);
}

static daybook_status check_page(segment_verifier *verifier, uint32_t level, uint64_t offset, uint32_t size,
                                 daybook_error *error) {
    dbk_segment *segment = verifier->segment;
    daybook_error detail;
    daybook_error_init(&detail);
    dbk_cache_entry *entry = NULL;
    if (verifier->page_budget == 0) return DAYBOOK_OK; // Circles; their terms have been reported.
    verifier->page_budget--;
    dbk_term_page page;
    daybook_status status = dbk_segment_load_page(segment, level, offset, size, &entry, &page, &detail);
    if (status != DAYBOOK_OK) return absorb(verifier, status, &detail, 0, 0, error);
    dbk_term_cursor *cursor = dbk_alloc(segment->allocator, sizeof *cursor);
    if (cursor == NULL) {
        dbk_cache_release(segment->cache, entry);
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory verifying %s", segment->path);
    }
    dbk_term_cursor_init(cursor, &page);
    while (status == DAYBOOK_OK && (status = dbk_term_cursor_next(cursor)) == DAYBOOK_OK) {
        if (level == 0)
            status = check_term(verifier, cursor, offset, error);
        else
            status = check_page(verifier, level - 1, cursor->child_offset, cursor->child_size, error);
    }
    if (status == DAYBOOK_EDAMAGED) {
        (void)dbk_segment_page_damaged(segment, offset, &detail);
        status = absorb(verifier, status, &detail, 0, 0, error);
    }
    dbk_free(segment->allocator, cursor);
    dbk_cache_release(segment->cache, entry);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status check_terms(segment_verifier *verifier, daybook_error *error) {
    const dbk_tree_root *root = &verifier->segment->footer.root;
    uint64_t damages = verifier->damage_count;
    verifier->page_budget = verifier->segment->reader.size / DBK_CHUNK_CHECKSUM_SIZE;
    if (root->size > 0) DBK_TRY(check_page(verifier, root->height - 1, root->offset, root->size, error));
    if (damages == verifier->damage_count && verifier->term_count != root->term_count)
        report_damage(verifier, root->offset, 0, 0, "the index holds other terms than the footer says");
    return DAYBOOK_OK;
}

// ---- All of it --------------------------------------------------------------------------------------------

static daybook_status verify_open(segment_verifier *verifier, daybook_error *error) {
    DBK_TRY(check_parts(verifier, error));
    DBK_TRY(check_blocks(verifier, error));
    DBK_TRY(check_terms(verifier, error));
    // Last, since it names no place: interesting alone when nothing else was found.
    return check_digest(verifier, error);
}

daybook_status dbk_segment_verify(const dbk_segment_config *config, daybook_report report, void *context,
                                  daybook_error *error) {
    segment_verifier verifier;
    memset(&verifier, 0, sizeof verifier);
    verifier.report = report;
    verifier.context = context;
    dbk_segment *segment = dbk_alloc_zeroed(config->allocator, sizeof *segment);
    if (segment == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory verifying a segment");
    segment->allocator = config->allocator;
    atomic_init(&segment->references, 1);
    atomic_init(&segment->has_dictionaries, false);
    verifier.segment = segment;
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = dbk_cache_new(config->allocator, CACHE_SIZE, &segment->cache);
    if (status != DAYBOOK_OK) (void)dbk_fail(&detail, status, "out of memory verifying a segment");
    if (status == DAYBOOK_OK)
        status = dbk_segment_read_frame(config, segment, report_frame, &verifier, &detail);
    if (status == DAYBOOK_OK) {
        status = verify_open(&verifier, error);
    } else {
        status = absorb(&verifier, status, &detail, 0, 0, error);
    }
    if (status == DAYBOOK_OK && verifier.damage_count > 0)
        status = dbk_fail_damaged(error, segment->path, 0, "%s has %llu damaged places", segment->path,
                                  (unsigned long long)verifier.damage_count);
    dbk_segment_close_frame(segment);
    dbk_cache_free(segment->cache);
    dbk_free(config->allocator, segment);
    return status;
}
