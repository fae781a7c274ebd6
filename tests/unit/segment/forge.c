// SPDX-License-Identifier: Apache-2.0
#include "forge.h"

#include <stdlib.h>

void forge_begin(forge *made, size_t count) {
    memset(made, 0, sizeof *made);
    test_world *world = &made->world;
    world_init(world, 71);
    world->large_percent = 0;
    world->stream_count = 1;
    world->aggregate_count = 2;
    world_add_events(world, count);
    made->base = world->events[0].event.position;
    dbk_segment_config config = world_config(world, 1);
    assert_ok(world, dbk_assembly_open(&made->assembly, &config, made->base,
                                       world->events[count - 1].event.position, &world->error));
    dbk_buf_init(&made->parts, world->allocator, 1 << 20);
    dbk_buf_init(&made->separators, world->allocator, 1 << 20);
    dbk_term_page_begin(&made->leaf, 0);
    dbk_segment_stream *stream = &made->streams[made->stream_count++];
    stream->stream_id = world->events[0].event.stream_id;
    stream->event_count = count;
    stream->first_seq = 1;
    stream->seq_max = stream->last_seq = count;
    stream->first_position = made->base;
    stream->last_position = world->events[count - 1].event.position;
    for (size_t i = 0; i < count; i++) stream->cost_bytes += dbk_event_cost(&world->events[i].event);
}

void forge_written(forge *made, size_t count) {
    forge_begin(made, count);
    dbk_assembly_abort(&made->assembly);
    memset(&made->assembly, 0, sizeof made->assembly);
    test_world *world = &made->world;
    assert_ok(world, world_write(world, 0, count, made->base, world->events[count - 1].event.position, 1));
}

void forge_end(forge *made) {
    if (made->assembly.allocator != NULL) dbk_assembly_abort(&made->assembly);
    dbk_buf_deinit(&made->parts);
    dbk_buf_deinit(&made->separators);
    world_deinit(&made->world);
}

void forge_blocks(forge *made, size_t count) {
    test_world *world = &made->world;
    dbk_block_builder *builder;
    assert_int_equal(dbk_block_builder_new(world->allocator, &builder), DAYBOOK_OK);
    for (size_t i = 0; i < world->count; i++) {
        assert_int_equal(dbk_block_builder_add(builder, &world->events[i].event), DAYBOOK_OK);
        if (dbk_block_builder_count(builder) < count && i + 1 < world->count) continue;
        dbk_block_head head;
        dbk_slice payload;
        assert_int_equal(dbk_block_builder_finish(builder, NULL, 0, &head, &payload), DAYBOOK_OK);
        assert_ok(world, dbk_assembly_add_block(&made->assembly, &head, payload, &world->error));
    }
    dbk_block_builder_free(builder);
    if (made->change_blocks != NULL)
        made->change_blocks(made->assembly.blocks, made->assembly.blocks_in_page);
    assert_ok(world, dbk_assembly_end_blocks(&made->assembly, &world->error));
}

uint64_t forge_chunk(forge *made, const void *bytes, size_t size) {
    uint64_t offset;
    assert_ok(&made->world, dbk_file_write_chunk(&made->assembly.file, daybook_bytes(bytes, size), &offset,
                                                 &made->world.error));
    return offset;
}

dbk_term_value forge_list_of(forge *made, const void *bytes, size_t size) {
    test_world *world = &made->world;
    dbk_term_value value;
    memset(&value, 0, sizeof value);
    value.form = DBK_POSTINGS_PAGE;
    value.count = world->count;
    value.first = 0;
    value.last = (uint32_t)(world->events[world->count - 1].event.position - made->base);
    value.last_seq = world->events[world->count - 1].event.seq;
    value.postings_size = (uint32_t)size;
    value.postings_offset = forge_chunk(made, bytes, size);
    return value;
}

typedef struct kept_page {
    uint8_t bytes[DBK_POSTINGS_PAGE_SIZE_MAX];
    size_t size;
} kept_page;

static daybook_status keep_page(void *context, dbk_slice page, uint32_t first, uint32_t last) {
    (void)first, (void)last;
    kept_page *kept = context;
    memcpy(kept->bytes, page.data, page.size);
    kept->size = page.size;
    return DAYBOOK_OK;
}

dbk_term_value forge_list(forge *made) {
    static dbk_postings_encoder encoder;
    kept_page kept = {.size = 0};
    dbk_postings_encoder_init(&encoder, keep_page, &kept);
    for (size_t i = 0; i < made->world.count; i++)
        assert_int_equal(
            dbk_postings_encoder_add(&encoder, (uint32_t)(made->world.events[i].event.position - made->base)),
            DAYBOOK_OK);
    assert_int_equal(dbk_postings_encoder_finish(&encoder), DAYBOOK_OK);
    return forge_list_of(made, kept.bytes, kept.size);
}

void forge_term(forge *made, dbk_term_kind kind, const char *text, const dbk_term_value *value) {
    dbk_term term;
    dbk_term_make(&term, kind, made->streams[0].stream_id, daybook_text(text));
    dbk_term_page_add_leaf(&made->leaf, dbk_term_slice(&term), value);
}

void forge_finish(forge *made) {
    test_world *world = &made->world;
    if (made->root.size == 0) {
        dbk_slice page = dbk_term_page_finish(&made->leaf);
        made->root.term_count += made->leaf.entry_count;
        made->root.height = 1;
        made->root.size = (uint32_t)page.size;
        made->root.offset = forge_chunk(made, page.data, page.size);
    }
    dbk_segment_summary summary;
    assert_ok(world, dbk_assembly_finish(&made->assembly, &made->root, &made->parts, &made->separators,
                                         made->streams, made->stream_count, daybook_text("the catalogue"),
                                         &summary, &world->error));
}

// ---- Changing it ------------------------------------------------------------------------------------------

static daybook_file *open_forged(forge *made, uint64_t *size_out) {
    daybook_file *file;
    daybook_vfs *vfs = made->world.vfs;
    assert_int_equal(vfs->open(vfs, WORLD_SEGMENT_PATH, DAYBOOK_VFS_WRITE, &file), 0);
    assert_int_equal(vfs->file_size(vfs, file, size_out), 0);
    return file;
}

void forge_read(forge *made, uint64_t offset, void *bytes_out, size_t size) {
    uint64_t file_size;
    daybook_file *file = open_forged(made, &file_size);
    assert_ok(&made->world, dbk_read_exactly(made->world.vfs, file, WORLD_SEGMENT_PATH, bytes_out, size,
                                             offset, &made->world.error));
    made->world.vfs->close(made->world.vfs, file);
}

void forge_write(forge *made, uint64_t offset, const void *bytes, size_t size, bool is_chunk) {
    uint64_t file_size;
    daybook_file *file = open_forged(made, &file_size);
    assert_ok(&made->world, dbk_write_exactly(made->world.vfs, file, WORLD_SEGMENT_PATH, bytes, size, offset,
                                              &made->world.error));
    uint8_t checksum[DBK_CHUNK_CHECKSUM_SIZE];
    dbk_put_u64(checksum, dbk_chunk_checksum(made->assembly.file.seed, offset, bytes, size));
    if (is_chunk)
        assert_ok(&made->world, dbk_write_exactly(made->world.vfs, file, WORLD_SEGMENT_PATH, checksum,
                                                  sizeof checksum, offset + size, &made->world.error));
    made->world.vfs->close(made->world.vfs, file);
}

void forge_footer(forge *made, void (*change)(dbk_footer *footer)) {
    uint64_t file_size;
    daybook_vfs *vfs = made->world.vfs;
    daybook_file *file = open_forged(made, &file_size);
    uint8_t bytes[DBK_SEGMENT_TAIL_SIZE];
    uint64_t at = file_size - sizeof bytes;
    dbk_segment_tail tail;
    forge_read(made, at, bytes, sizeof bytes);
    assert_int_equal(dbk_segment_tail_decode(bytes, at, &tail), DAYBOOK_OK);
    uint8_t *payload = malloc((size_t)tail.footer_size);
    assert_non_null(payload);
    forge_read(made, tail.footer_offset, payload, (size_t)tail.footer_size);
    dbk_footer footer;
    assert_int_equal(
        dbk_footer_decode(dbk_allocator_default(), daybook_bytes(payload, (size_t)tail.footer_size), &footer),
        DAYBOOK_OK);
    free(payload);
    change(&footer);
    dbk_buf encoded;
    dbk_buf_init(&encoded, dbk_allocator_default(), 1 << 20);
    dbk_footer_encode(&footer, &encoded);
    assert_int_equal(vfs->truncate(vfs, file, tail.footer_offset), 0);
    vfs->close(vfs, file);
    if (made->is_reseeded) tail.seed = made->assembly.file.seed;
    tail.footer_size = encoded.size;
    tail.footer_copy_offset = tail.footer_offset + encoded.size + DBK_CHUNK_CHECKSUM_SIZE;
    forge_write(made, tail.footer_offset, encoded.data, encoded.size, true);
    forge_write(made, tail.footer_copy_offset, encoded.data, encoded.size, true);
    at = tail.footer_copy_offset + encoded.size + DBK_CHUNK_CHECKSUM_SIZE;
    tail.file_size = at + 2 * sizeof bytes;
    for (int i = 0; i < 2; i++, at += sizeof bytes) {
        dbk_segment_tail_encode(&tail, at, bytes);
        forge_write(made, at, bytes, sizeof bytes, false);
    }
    dbk_buf_deinit(&encoded);
    dbk_footer_deinit(&footer);
}

// ---- Using it ---------------------------------------------------------------------------------------------

static daybook_status expect(const forge *made, daybook_status status) {
    if (made->is_failing && (status == DAYBOOK_ENOMEM || status == DAYBOOK_EIO)) return status;
    if (status != DAYBOOK_OK && status != DAYBOOK_END && status != DAYBOOK_ENOTFOUND &&
        status != DAYBOOK_EDAMAGED && status != DAYBOOK_EFOREIGN)
        fail_msg("%s", daybook_status_name(status));
    return status;
}

static void seek_everywhere(forge *made, dbk_segment *segment, const dbk_term_entry *entry) {
    dbk_postings *postings;
    daybook_error *error = &made->world.error;
    if (expect(made, dbk_postings_open(segment, entry, &postings, error)) != DAYBOOK_OK) return;
    uint64_t end = made->world.next_position + 3, found;
    for (uint64_t at = made->base - 1; at < end; at++) {
        (void)expect(made, dbk_postings_seek(postings, at, &found, error));
        (void)expect(made, dbk_postings_seek_back(postings, end - (at - made->base), &found, error));
    }
    dbk_postings_close(postings);
}

static void use_terms(forge *made, dbk_segment *segment) {
    dbk_term_walk *walk;
    dbk_slice term;
    dbk_term_entry entry;
    daybook_error *error = &made->world.error;
    if (expect(made, dbk_term_walk_open(segment, daybook_text(""), &walk, error)) != DAYBOOK_OK) return;
    while (expect(made, dbk_term_walk_next(walk, &term, &entry, error)) == DAYBOOK_OK)
        seek_everywhere(made, segment, &entry);
    dbk_term_walk_close(walk);
}

static void use_events(forge *made, dbk_segment *segment) {
    test_world *world = &made->world;
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    dbk_event event;
    dbk_block_place place;
    for (uint32_t i = 0; i <= dbk_segment_block_count(segment) && i < 1000; i++) {
        dbk_block_info info;
        (void)expect(made, dbk_segment_block_info(segment, i, &info, &world->error));
        if (expect(made, dbk_block_load(segment, i, &view, &world->error)) != DAYBOOK_OK) continue;
        for (uint32_t j = 0; j < view.event_count; j++)
            (void)expect(made, dbk_block_event(&view, j, &event, &world->error));
    }
    for (uint64_t at = made->base; at < world->next_position; at++)
        if (expect(made, dbk_segment_find_block(segment, at, &place, &world->error)) == DAYBOOK_OK)
            (void)expect(made, dbk_block_load_at(segment, &place, &view, &world->error));
    dbk_block_release(&view);
    dbk_buf catalogue;
    dbk_buf_init(&catalogue, world->allocator, 1 << 20);
    (void)expect(made, dbk_segment_read_catalogue(segment, &catalogue, &world->error));
    dbk_buf_deinit(&catalogue);
    dbk_block_scan *scan;
    if (expect(made, dbk_block_scan_new(segment, &scan, &world->error)) != DAYBOOK_OK) return;
    for (uint64_t at = made->base; at < world->next_position; at++)
        if (expect(made, dbk_block_scan_find(scan, at, &place, &world->error)) == DAYBOOK_OK)
            (void)expect(made, dbk_block_scan_load(scan, &place, &view, &world->error));
    dbk_block_release(&view);
    dbk_block_scan_free(scan);
    for (size_t i = 0; i < world->count; i += 3) {
        dbk_id_lookup lookup;
        const dbk_event *of = &world->events[i].event;
        uint32_t number;
        (void)expect(made, dbk_segment_find_id(segment, of->stream_id, of->id_key, &lookup, &world->error));
        (void)expect(made, dbk_segment_find_block_recorded(segment, of->recorded_ns, &number, &world->error));
    }
}

static dbk_liveness every_fifth_is_removed(void *context, uint32_t stream_id, uint64_t position) {
    (void)context, (void)stream_id;
    return position % 5 == 0 ? DBK_REMOVED : DBK_LIVE;
}

static void drop_second(forge *made) {
    (void)made->world.vfs->unlink(made->world.vfs, "/segment-0000000000000002.dbs");
}

static daybook_status merge_it(forge *made, dbk_segment *segment, dbk_segment_is_live is_live) {
    test_world *world = &made->world;
    dbk_segment_config config = world_config(world, 2);
    const dbk_segment_summary *summary = dbk_segment_get_summary(segment);
    dbk_segment_summary merged;
    daybook_status status = dbk_segment_merge(&config, &segment, 1, summary->position_first,
                                              summary->position_last, is_live, NULL, 0, 0, NULL, NULL,
                                              daybook_text(""), &merged, &world->error);
    drop_second(made);
    return expect(made, status);
}

static dbk_liveness all_live(void *context, uint32_t stream_id, uint64_t position) {
    (void)context, (void)stream_id, (void)position;
    return DBK_LIVE;
}

static void carry_it(forge *made, dbk_segment *segment) {
    test_world *world = &made->world;
    dbk_segment_config config = world_config(world, 2);
    const dbk_segment_summary *summary = dbk_segment_get_summary(segment);
    dbk_segment_writer *writer;
    dbk_segment_summary written;
    if (expect(made, dbk_segment_writer_new(&config, summary->position_first, summary->position_last, &writer,
                                            &world->error)) != DAYBOOK_OK)
        return;
    (void)expect(made, dbk_segment_writer_carry(writer, segment, NULL, &world->error));
    (void)expect(made, dbk_segment_writer_finish(writer, daybook_text(""), &written, &world->error));
    drop_second(made);
}

static daybook_status use_segment(forge *made, const dbk_segment_config *config) {
    test_world *world = &made->world;
    daybook_status verified = expect(made, dbk_segment_verify(config, NULL, NULL, &world->error));
    dbk_segment *segment;
    daybook_status status = expect(made, dbk_segment_open(config, world->cache, &segment, &world->error));
    if (status != DAYBOOK_OK) return status;
    use_terms(made, segment);
    use_events(made, segment);
    (void)merge_it(made, segment, every_fifth_is_removed);
    status = merge_it(made, segment, all_live);
    carry_it(made, segment);
    dbk_segment_unref(segment);
    return status == DAYBOOK_OK ? verified : status;
}

daybook_status forge_use(forge *made) {
    test_world *world = &made->world;
    dbk_segment_config config = world_config(world, 1);
    // A cache of its own: what was read before hides no failure.
    dbk_cache *shared = world->cache;
    daybook_status status = expect(made, dbk_cache_new(world->allocator, 1 << 20, &world->cache));
    if (status == DAYBOOK_OK) status = use_segment(made, &config);
    dbk_cache_free(world->cache);
    world->cache = shared;
    return status;
}
