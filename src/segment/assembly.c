// SPDX-License-Identifier: Apache-2.0
// Puts a segment file together; the format stands at the head of writer.c.
//
// The file grows under a temporary name and gets its own only when all of it is on the device. Whatever fails
// before, the temporary file is removed; what fails after the rename (the directory's sync) removes the
// renamed one, so that a caller who is told of a failure finds no file. A segment that is there already is
// never overwritten: it may hold the only copy of its events, whatever metadata says.
//
// Memory: what the footer will hold, the dictionaries and one page of block infos. One thread.
#include "segment/assembly.h"

#include <errno.h>
#include <stdio.h>

void dbk_segment_name(uint64_t segment_id, char name_out[40]) {
    (void)snprintf(name_out, 40, "segment-%016llx.dbs", (unsigned long long)segment_id);
}

static daybook_status out_of_memory(const dbk_assembly *assembly, daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory writing %s", assembly->path);
}

static daybook_status name_files(dbk_assembly *assembly, const dbk_segment_config *config,
                                 daybook_error *error) {
    char name[40];
    (void)snprintf(name, sizeof name, "segment-%016llx-t.tmp", (unsigned long long)config->segment_id);
    DBK_TRY(dbk_path_join(config->directory, name, assembly->terms_path, error));
    // The others are shorter.
    (void)snprintf(name, sizeof name, "segment-%016llx.tmp", (unsigned long long)config->segment_id);
    (void)dbk_path_join(config->directory, name, assembly->path, error);
    dbk_segment_name(config->segment_id, name);
    (void)dbk_path_join(config->directory, name, assembly->final_path, error);
    memcpy(assembly->directory, config->directory, strlen(config->directory) + 1); // shorter than the paths
    return DAYBOOK_OK;
}

static daybook_status refuse_existing(const dbk_assembly *assembly, daybook_error *error) {
    daybook_file *file = NULL;
    int result = assembly->vfs->open(assembly->vfs, assembly->final_path, DAYBOOK_VFS_READ, &file);
    if (result == -ENOENT) return DAYBOOK_OK;
    if (result < 0) return dbk_fail_system(error, result, "open", assembly->final_path, 0);
    assembly->vfs->close(assembly->vfs, file);
    return dbk_fail(error, DAYBOOK_EEXISTS,
                    "%s exists already: a segment is never overwritten; run daybook verify",
                    assembly->final_path);
}

static daybook_status write_head(dbk_assembly *assembly, daybook_error *error) {
    dbk_segment_head head;
    memset(&head, 0, sizeof head);
    head.store_uuid = assembly->store_uuid;
    head.incarnation = assembly->incarnation;
    head.segment_id = assembly->summary.segment_id;
    head.position_first = assembly->summary.position_first;
    head.position_last = assembly->summary.position_last;
    uint8_t bytes[DBK_SEGMENT_HEAD_SIZE];
    dbk_segment_head_encode(&head, bytes);
    return dbk_file_write(&assembly->file, bytes, sizeof bytes, error);
}

daybook_status dbk_assembly_open(dbk_assembly *assembly, const dbk_segment_config *config,
                                 uint64_t position_first, uint64_t position_last, daybook_error *error) {
    memset(assembly, 0, sizeof *assembly);
    assembly->allocator = config->allocator;
    assembly->vfs = config->vfs;
    assembly->store_uuid = config->store_uuid;
    assembly->incarnation = config->incarnation;
    assembly->summary.segment_id = config->segment_id;
    assembly->summary.position_first = position_first;
    assembly->summary.position_last = position_last;
    assembly->file.allocator = config->allocator;
    dbk_buf_init(&assembly->block_pages, config->allocator, SIZE_MAX / 2);
    dbk_buf_init(&assembly->dictionaries, config->allocator, SIZE_MAX / 2);
    dbk_buf_init(&assembly->dictionary_bytes, config->allocator, SIZE_MAX / 2);
    dbk_buf_init(&assembly->scratch, config->allocator, SIZE_MAX / 2);
    if (position_last < position_first || position_last - position_first > UINT32_MAX)
        return dbk_fail(error, DAYBOOK_EMISUSE, "a segment cannot hold positions %llu to %llu",
                        (unsigned long long)position_first, (unsigned long long)position_last);
    DBK_TRY(name_files(assembly, config, error));
    DBK_TRY(refuse_existing(assembly, error));
    DBK_TRY(dbk_file_writer_open(&assembly->file, config->allocator, config->vfs, assembly->path, true,
                                 dbk_segment_memory_max(config), error));
    assembly->file.seed = dbk_segment_seed(&config->store_uuid, config->incarnation, config->segment_id);
    DBK_TRY(write_head(assembly, error));
    assembly->blocks_begin = assembly->file.offset;
    return DAYBOOK_OK;
}

daybook_status dbk_assembly_add_dictionary(dbk_assembly *assembly, dbk_slice dictionary, uint32_t *number_out,
                                           daybook_error *error) {
    const dbk_dictionary_place *places = (const void *)assembly->dictionaries.data;
    size_t count = assembly->dictionaries.size / sizeof *places, at = 0;
    for (size_t i = 0; i < count; at += places[i++].size) {
        dbk_slice known = daybook_bytes(assembly->dictionary_bytes.data + at, places[i].size);
        if (!dbk_slice_equal(known, dictionary)) continue;
        *number_out = (uint32_t)i + 1;
        return DAYBOOK_OK;
    }
    if (count == DBK_DICTIONARIES_MAX)
        return dbk_fail(error, DAYBOOK_ELIMIT, "%s would need more than %d dictionaries", assembly->path,
                        DBK_DICTIONARIES_MAX);
    dbk_dictionary_place place;
    memset(&place, 0, sizeof place);
    place.size = (uint32_t)dictionary.size;
    DBK_TRY(dbk_file_write_chunk(&assembly->file, dictionary, &place.offset, error));
    assembly->blocks_begin = assembly->file.offset;
    dbk_buf_append(&assembly->dictionaries, &place, sizeof place);
    dbk_buf_append_slice(&assembly->dictionary_bytes, dictionary);
    if (assembly->dictionaries.failed || assembly->dictionary_bytes.failed)
        return out_of_memory(assembly, error);
    *number_out = (uint32_t)count + 1;
    return DAYBOOK_OK;
}

// ---- Blocks -----------------------------------------------------------------------------------------------

static daybook_status write_block_page(dbk_assembly *assembly, daybook_error *error) {
    uint32_t count = assembly->blocks_in_page;
    if (count == 0) return DAYBOOK_OK;
    dbk_block_page page;
    memset(&page, 0, sizeof page);
    page.first_block_offset = assembly->blocks[0].file_offset;
    page.position_last = assembly->blocks[count - 1].position_last;
    page.recorded_last_ns = assembly->blocks[0].recorded_last_ns;
    for (uint32_t i = 1; i < count; i++)
        if (assembly->blocks[i].recorded_last_ns > page.recorded_last_ns)
            page.recorded_last_ns = assembly->blocks[i].recorded_last_ns;
    dbk_buf_reset(&assembly->scratch);
    dbk_block_page_encode(assembly->blocks, count, &page, &assembly->scratch);
    if (assembly->scratch.failed) return out_of_memory(assembly, error);
    page.size = (uint32_t)assembly->scratch.size;
    dbk_slice payload = daybook_bytes(assembly->scratch.data, assembly->scratch.size);
    DBK_TRY(dbk_file_write_chunk(&assembly->file, payload, &page.offset, error));
    dbk_buf_append(&assembly->block_pages, &page, sizeof page);
    assembly->blocks_in_page = 0;
    return assembly->block_pages.failed ? out_of_memory(assembly, error) : DAYBOOK_OK;
}

static void widen_summary(dbk_segment_summary *summary, const dbk_block_head *head) {
    bool is_first = summary->event_count == 0;
    summary->event_count += head->event_count;
    summary->data_bytes += head->bodies_size;
    if (is_first || head->recorded_first_ns < summary->recorded_first_ns)
        summary->recorded_first_ns = head->recorded_first_ns;
    if (is_first || head->recorded_last_ns > summary->recorded_last_ns)
        summary->recorded_last_ns = head->recorded_last_ns;
    if (is_first || head->time_min_ns < summary->time_min_ns) summary->time_min_ns = head->time_min_ns;
    if (is_first || head->time_max_ns > summary->time_max_ns) summary->time_max_ns = head->time_max_ns;
}

daybook_status dbk_assembly_add_block(dbk_assembly *assembly, const dbk_block_head *head, dbk_slice payload,
                                      daybook_error *error) {
    if (assembly->block_count == UINT32_MAX - DBK_BLOCK_PAGE_COUNT)
        return dbk_fail(error, DAYBOOK_ELIMIT, "%s would have too many blocks", assembly->path);
    dbk_block_info *block = &assembly->blocks[assembly->blocks_in_page];
    block->block_number = assembly->block_count;
    block->file_bytes = (uint32_t)payload.size + DBK_CHUNK_CHECKSUM_SIZE;
    block->event_count = head->event_count;
    block->position_first = head->position_first;
    block->position_last = head->position_last;
    block->recorded_first_ns = head->recorded_first_ns;
    block->recorded_last_ns = head->recorded_last_ns;
    block->time_min_ns = head->time_min_ns;
    block->time_max_ns = head->time_max_ns;
    DBK_TRY(dbk_file_write_chunk(&assembly->file, payload, &block->file_offset, error));
    widen_summary(&assembly->summary, head);
    assembly->block_count++;
    if (++assembly->blocks_in_page < DBK_BLOCK_PAGE_COUNT) return DAYBOOK_OK;
    return write_block_page(assembly, error);
}

daybook_status dbk_assembly_end_blocks(dbk_assembly *assembly, daybook_error *error) {
    return write_block_page(assembly, error);
}

// ---- The end ----------------------------------------------------------------------------------------------

static daybook_status write_dictionary_copies(dbk_assembly *assembly, daybook_error *error) {
    dbk_dictionary_place *places = (void *)assembly->dictionaries.data;
    size_t count = assembly->dictionaries.size / sizeof *places, at = 0;
    for (size_t i = 0; i < count; at += places[i++].size) {
        dbk_slice bytes = daybook_bytes(assembly->dictionary_bytes.data + at, places[i].size);
        DBK_TRY(dbk_file_write_chunk(&assembly->file, bytes, &places[i].copy_offset, error));
    }
    return DAYBOOK_OK;
}

static daybook_status write_footers_and_tails(dbk_assembly *assembly, const dbk_footer *footer,
                                              daybook_error *error) {
    dbk_buf_reset(&assembly->scratch);
    dbk_footer_encode(footer, &assembly->scratch);
    if (assembly->scratch.failed) return out_of_memory(assembly, error);
    dbk_slice payload = daybook_bytes(assembly->scratch.data, assembly->scratch.size);
    dbk_segment_tail tail;
    memset(&tail, 0, sizeof tail);
    tail.seed = assembly->file.seed;
    tail.footer_size = payload.size;
    DBK_TRY(dbk_file_write_chunk(&assembly->file, payload, &tail.footer_offset, error));
    DBK_TRY(dbk_file_write_chunk(&assembly->file, payload, &tail.footer_copy_offset, error));
    tail.file_size = assembly->file.offset + 2 * DBK_SEGMENT_TAIL_SIZE;
    for (int i = 0; i < 2; i++) {
        uint8_t bytes[DBK_SEGMENT_TAIL_SIZE];
        dbk_segment_tail_encode(&tail, assembly->file.offset, bytes);
        DBK_TRY(dbk_file_write(&assembly->file, bytes, sizeof bytes, error));
    }
    assembly->summary.file_bytes = tail.file_size;
    return dbk_file_writer_flush(&assembly->file, error);
}

static daybook_status publish(dbk_assembly *assembly, daybook_error *error) {
    daybook_vfs *vfs = assembly->vfs;
    DBK_TRY(dbk_file_writer_sync(&assembly->file, error));
    dbk_file_writer_close(&assembly->file);
    int result = vfs->rename(vfs, assembly->path, assembly->final_path);
    if (result < 0) return dbk_fail_system(error, result, "rename", assembly->path, 0);
    result = vfs->sync_directory(vfs, assembly->directory);
    if (result == 0) {
        assembly->path[0] = '\0'; // Nothing is left to be removed.
        return DAYBOOK_OK;
    }
    memcpy(assembly->path, assembly->final_path, sizeof assembly->path); // To be removed.
    return dbk_fail_system(error, result, "sync the directory", assembly->directory, 0);
}

daybook_status dbk_assembly_finish(dbk_assembly *assembly, const dbk_tree_root *root,
                                   const dbk_buf *filter_parts, const dbk_buf *separators,
                                   const dbk_segment_stream *streams, uint32_t stream_count,
                                   dbk_slice catalogue, dbk_segment_summary *summary_out,
                                   daybook_error *error) {
    dbk_footer footer; // Borrows all arrays; never deinitialized.
    memset(&footer, 0, sizeof footer);
    DBK_TRY(dbk_file_write_chunk(&assembly->file, catalogue, &footer.catalogue_offset, error));
    footer.catalogue_size = catalogue.size;
    DBK_TRY(write_dictionary_copies(assembly, error));
    DBK_TRY(dbk_file_writer_flush(&assembly->file, error));
    dbk_sha256_final(&assembly->file.digest, assembly->summary.sha256);
    assembly->file.with_digest = false;

    assembly->summary.stream_count = stream_count;
    footer.store_uuid = assembly->store_uuid;
    footer.incarnation = assembly->incarnation;
    footer.summary = assembly->summary;
    footer.blocks_begin = assembly->blocks_begin;
    footer.block_count = assembly->block_count;
    footer.block_pages = (void *)assembly->block_pages.data;
    footer.block_page_count = (uint32_t)(assembly->block_pages.size / sizeof(dbk_block_page));
    footer.dictionaries = (void *)assembly->dictionaries.data;
    footer.dictionary_count = (uint32_t)(assembly->dictionaries.size / sizeof(dbk_dictionary_place));
    footer.root = *root;
    footer.filter_parts = (void *)filter_parts->data;
    footer.filter_part_count = (uint32_t)(filter_parts->size / sizeof(dbk_filter_part));
    footer.separators = separators->data;
    footer.streams = (dbk_segment_stream *)(uintptr_t)streams;
    DBK_TRY(write_footers_and_tails(assembly, &footer, error));
    DBK_TRY(publish(assembly, error));
    *summary_out = assembly->summary;
    return DAYBOOK_OK;
}

void dbk_assembly_abort(dbk_assembly *assembly) {
    bool was_created = assembly->file.buffer != NULL || assembly->file.synced_bytes > 0;
    dbk_file_writer_close(&assembly->file);
    // What cannot be removed is replaced by the next writer of this id, or swept by the store when it opens.
    if (was_created && assembly->path[0] != '\0') (void)assembly->vfs->unlink(assembly->vfs, assembly->path);
    dbk_buf_deinit(&assembly->block_pages);
    dbk_buf_deinit(&assembly->dictionaries);
    dbk_buf_deinit(&assembly->dictionary_bytes);
    dbk_buf_deinit(&assembly->scratch);
}
