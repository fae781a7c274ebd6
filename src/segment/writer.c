// SPDX-License-Identifier: Apache-2.0
// Writes a segment from events in order of position. This head describes the file, format 1.
//
//   head          80 bytes
//   dictionaries  for compression; writing makes at most one, merging keeps those of its inputs
//   blocks        and, behind each 128 of them, a page of the block index
//   index         pages of terms, pages of postings, filters, in the order in which they filled
//   catalogue     opaque copy of the store's stream configurations
//   dictionaries  once more
//   footer        twice
//   tail          twice, 64 bytes each
//
// Everything between head and tail consists of *chunks*: a payload and 8 bytes of checksum, XXH3-64 of the
// payload with a seed made of the identity of the segment (store UUID, incarnation, segment id) and the
// chunk's offset. A chunk names neither its kind nor its size: who points to it knows both. There are no
// gaps, so every byte of the file is under a checksum. Integers are little-endian, positions of the index
// relative to the segment's first (u32).
//
//   head    "daybkseg", u32 format, u32 80, UUID of the store (16 bytes), u64 incarnation, u64 segment id,
//           u64 first and u64 last position of its range, 8 bytes 0, u64 XXH3 of the 72 bytes
//   tail    "daybkend", u32 format, u32 64, u64 seed of the checksums, u64 offset of the footer, u64 of its
//           copy, u64 size of its payload, u64 size of the file, u64 XXH3 of the 56 bytes seeded with the
//           tail's offset
//   footer  u32 format, UUID, u64 incarnation, u64 segment id, u64 first and last position, u64 events,
//           u64 bytes of bodies, i64 recorded first, last, i64 time min, max, SHA-256 of the file up to the
//           (first) footer; varints from here, D a zigzag difference to the one before:
//             dictionary count; each offset, offset of its copy, size
//             offset of the first block; block count; per page of the block index: D offset, D offset of its
//               first block, D last position, D greatest recorded, size
//             root page offset, size, height (levels), term count
//             filter count; each D offset, size, text separator (it covers the terms from there up to the
//               next one's)
//             catalogue offset, size
//             stream count; each stream id less the one before, event count, cost, highest seq ever; with
//               events: first seq, last less first, first position relative, last less first
//   block   see block.c
//   page of the block index, per block: varint gap behind the block before, its bytes with checksum, event
//           count, first position less the last before (absolute in the first), last less first, D recorded
//           first, last less first, zigzag time min less recorded first, time max less min
//   pages of terms: index/term_page.h, leaves packed (pack.c); postings: index/postings.h; their directories:
//           tree.h; filters: index/filter.c
//
// Single damages stay local: of what everything depends on (dictionaries, footer, tail) there is a second
// copy far from the first; a page of the block index can be made again from the heads of its blocks; the head
// repeats the footer. A damaged block loses its events, a damaged page of the index the answers that need it,
// nothing else.
//
// A segment is written in one pass, front to back, under a temporary name (assembly.c). Events go into the
// open block and their terms into memory (gather.c); at the end the terms are sorted and become the
// dictionary (tree.c).
//
// Failure modes: any status of the vfs, ENOMEM, EMISUSE for events out of order. The first failure sticks;
// finish then returns it and removes the file. One thread.
#include "base/assert.h"
#include "base/hash_map.h"
#include "segment/assembly.h"
#include "segment/gather.h"
#include "segment/reader.h"

enum { CARRY_WINDOW = 64 * 1024 };

struct dbk_segment_writer {
    dbk_assembly assembly;
    const daybook_allocator *allocator;
    uint64_t id_seed;
    daybook_status status; // the first failure
    bool has_events;
    uint64_t position_last; // of the last event
    dbk_block_builder *builder;
    dbk_dictionary_encoder *encoder;
    uint32_t dictionary;
    dbk_gather *gather;
    dbk_hash_map stream_map; // to places in streams
    dbk_buf streams;         // dbk_segment_stream
    uint32_t last_stream;    // place used last
};

static daybook_status out_of_memory(const dbk_segment_writer *writer, daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory writing %s", writer->assembly.path);
}

void dbk_segment_writer_abort(dbk_segment_writer *writer) {
    if (writer == NULL) return;
    dbk_gather_free(writer->gather);
    dbk_block_builder_free(writer->builder);
    dbk_dictionary_encoder_free(writer->allocator, writer->encoder);
    dbk_hash_map_deinit(&writer->stream_map);
    dbk_buf_deinit(&writer->streams);
    dbk_assembly_abort(&writer->assembly);
    dbk_free(writer->allocator, writer);
}

daybook_status dbk_segment_writer_new(const dbk_segment_config *config, uint64_t position_first,
                                      uint64_t position_last, dbk_segment_writer **writer_out,
                                      daybook_error *error) {
    *writer_out = NULL;
    dbk_segment_writer *writer = dbk_alloc_zeroed(config->allocator, sizeof *writer);
    if (writer == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory beginning a segment");
    writer->allocator = config->allocator;
    writer->id_seed = dbk_get_u64(config->store_uuid.bytes);
    dbk_hash_map_init(&writer->stream_map, config->allocator);
    dbk_buf_init(&writer->streams, config->allocator, SIZE_MAX / 2);
    size_t memory_max = dbk_segment_memory_max(config);

    daybook_status status =
        dbk_assembly_open(&writer->assembly, config, position_first, position_last, error);
    if (status != DAYBOOK_OK) goto fail;
    status = dbk_block_builder_new(config->allocator, &writer->builder);
    if (status == DAYBOOK_OK)
        status = dbk_gather_new(config->allocator, config->vfs, writer->assembly.terms_path, memory_max,
                                &writer->gather);
    if (status != DAYBOOK_OK) {
        status = out_of_memory(writer, error);
        goto fail;
    }
    *writer_out = writer;
    return DAYBOOK_OK;
fail:
    dbk_segment_writer_abort(writer);
    return status;
}

static bool may_have_dictionary(dbk_segment_writer *writer) {
    return !writer->has_events && writer->encoder == NULL;
}

static daybook_status use_dictionary(dbk_segment_writer *writer, dbk_slice dictionary, daybook_error *error) {
    daybook_status status = dbk_dictionary_encoder_new(writer->allocator, dictionary, &writer->encoder);
    if (status == DAYBOOK_EDAMAGED)
        return dbk_fail(error, status, "the dictionary for %s is none: zstd cannot read it",
                        writer->assembly.path);
    if (status != DAYBOOK_OK) return out_of_memory(writer, error);
    return dbk_assembly_add_dictionary(&writer->assembly, dictionary, &writer->dictionary, error);
}

daybook_status dbk_segment_writer_use_dictionary(dbk_segment_writer *writer, dbk_slice dictionary,
                                                 daybook_error *error) {
    if (writer->status != DAYBOOK_OK) return writer->status;
    DBK_ASSERT(may_have_dictionary(writer));
    writer->status = use_dictionary(writer, dictionary, error);
    return writer->status;
}

daybook_status dbk_segment_writer_train(dbk_segment_writer *writer, const dbk_slice *bodies, size_t count,
                                        daybook_error *error) {
    if (writer->status != DAYBOOK_OK) return writer->status;
    if (!may_have_dictionary(writer))
        return dbk_fail(error, DAYBOOK_EMISUSE, "a dictionary is trained once, before the first event");
    dbk_buf dictionary;
    dbk_buf_init(&dictionary, writer->allocator, DBK_DICTIONARY_SIZE_MAX);
    daybook_status status = dbk_dictionary_train(writer->allocator, bodies, count, &dictionary);
    if (status != DAYBOOK_OK)
        status = out_of_memory(writer, error);
    else if (dictionary.size > 0)
        status = use_dictionary(writer, daybook_bytes(dictionary.data, dictionary.size), error);
    dbk_buf_deinit(&dictionary);
    writer->status = status;
    return status;
}

// ---- Streams ----------------------------------------------------------------------------------------------

static uint64_t stream_hash(uint32_t stream_id) {
    uint64_t hash = stream_id * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

// The stream's entry, made where absent; NULL when memory is out.
static dbk_segment_stream *find_stream(dbk_segment_writer *writer, uint32_t stream_id) {
    dbk_segment_stream *streams = (void *)writer->streams.data;
    size_t count = writer->streams.size / sizeof *streams;
    if (count > 0 && streams[writer->last_stream].stream_id == stream_id)
        return &streams[writer->last_stream];
    size_t step = 0;
    uint32_t place;
    while ((place = dbk_hash_map_find(&writer->stream_map, stream_hash(stream_id), &step)) !=
           DBK_HASH_MAP_EMPTY) {
        if (streams[place].stream_id != stream_id) continue;
        writer->last_stream = place;
        return &streams[place];
    }
    dbk_segment_stream stream;
    memset(&stream, 0, sizeof stream);
    stream.stream_id = stream_id;
    dbk_buf_append(&writer->streams, &stream, sizeof stream);
    if (writer->streams.failed) return NULL;
    streams = (void *)writer->streams.data;
    writer->last_stream = (uint32_t)count;
    if (dbk_hash_map_insert(&writer->stream_map, stream_hash(stream_id), (uint32_t)count) != DAYBOOK_OK)
        return NULL;
    return &streams[count];
}

static int compare_streams(const void *a, const void *b) {
    uint32_t left = ((const dbk_segment_stream *)a)->stream_id,
             right = ((const dbk_segment_stream *)b)->stream_id;
    return (left > right) - (left < right);
}

static daybook_status count_event(dbk_segment_writer *writer, const dbk_event *event, daybook_error *error) {
    dbk_segment_stream *stream = find_stream(writer, event->stream_id);
    if (stream == NULL) return out_of_memory(writer, error);
    if (stream->event_count++ == 0) {
        stream->first_seq = event->seq;
        stream->first_position = event->position;
    }
    stream->last_seq = event->seq;
    stream->last_position = event->position;
    stream->cost_bytes += dbk_event_cost(event);
    if (event->seq > stream->seq_max) stream->seq_max = event->seq;
    return DAYBOOK_OK;
}

// ---- Adding -----------------------------------------------------------------------------------------------

static daybook_status close_block(dbk_segment_writer *writer, daybook_error *error) {
    if (dbk_block_builder_count(writer->builder) == 0) return DAYBOOK_OK;
    dbk_block_head head;
    dbk_slice payload;
    if (dbk_block_builder_finish(writer->builder, writer->encoder, writer->dictionary, &head, &payload) !=
        DAYBOOK_OK)
        return out_of_memory(writer, error);
    return dbk_assembly_add_block(&writer->assembly, &head, payload, error);
}

static daybook_status check_order(dbk_segment_writer *writer, const dbk_event *event, daybook_error *error) {
    const dbk_segment_summary *summary = &writer->assembly.summary;
    bool is_inside = event->position >= summary->position_first && event->position <= summary->position_last;
    if (is_inside && (!writer->has_events || event->position > writer->position_last)) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EMISUSE,
                    "event %llu does not belong behind %llu in a segment of %llu to %llu",
                    (unsigned long long)event->position, (unsigned long long)writer->position_last,
                    (unsigned long long)summary->position_first, (unsigned long long)summary->position_last);
}

static daybook_status add(dbk_segment_writer *writer, const dbk_event *event, daybook_error *error) {
    DBK_TRY(check_order(writer, event, error));
    if (dbk_block_builder_is_full(writer->builder, event->body.size)) DBK_TRY(close_block(writer, error));
    if (dbk_block_builder_add(writer->builder, event) != DAYBOOK_OK) return out_of_memory(writer, error);
    writer->has_events = true;
    writer->position_last = event->position;
    DBK_TRY(count_event(writer, event, error));
    uint32_t number = (uint32_t)(event->position - writer->assembly.summary.position_first);
    return dbk_gather_event(writer->gather, event, number, writer->id_seed, error);
}

daybook_status dbk_segment_writer_add(dbk_segment_writer *writer, const dbk_event *event,
                                      daybook_error *error) {
    if (writer->status == DAYBOOK_OK) writer->status = add(writer, event, error);
    return writer->status;
}

static daybook_status add_removed(dbk_segment_writer *writer, const dbk_event *event, bool for_ever,
                                  int64_t removed_ns, daybook_error *error) {
    dbk_segment_stream *stream = find_stream(writer, event->stream_id);
    if (stream == NULL) return out_of_memory(writer, error);
    if (event->seq > stream->seq_max) stream->seq_max = event->seq;
    DBK_TRY(dbk_gather_version(writer->gather, event, error));
    dbk_dead_id dead;
    memset(&dead, 0, sizeof dead);
    dbk_id_hash(writer->id_seed, event->stream_id, event->id_key, dead.hash);
    dead.stream_id = event->stream_id;
    dead.for_ever = for_ever;
    dead.removed_ns = removed_ns;
    return dbk_gather_dead_id(writer->gather, &dead, error);
}

daybook_status dbk_segment_writer_add_removed(dbk_segment_writer *writer, const dbk_event *event,
                                              bool for_ever, int64_t removed_ns, daybook_error *error) {
    if (writer->status == DAYBOOK_OK)
        writer->status = add_removed(writer, event, for_ever, removed_ns, error);
    return writer->status;
}

static daybook_status carry_term(dbk_segment_writer *writer, dbk_slice term, const dbk_term_value *value,
                                 daybook_error *error) {
    uint8_t kind = *(const uint8_t *)term.data;
    if (kind == DBK_TERM_AGGREGATE && value->last_version > 0)
        return dbk_gather_term_version(writer->gather, term, value->last_version, error);
    if (kind != DBK_TERM_DEAD_ID || term.size != 1 + sizeof(((dbk_dead_id *)0)->hash)) return DAYBOOK_OK;
    dbk_dead_id dead;
    memset(&dead, 0, sizeof dead);
    memcpy(dead.hash, (const uint8_t *)term.data + 1, sizeof dead.hash);
    dead.stream_id = value->dead_stream_id;
    dead.for_ever = value->dead_for_ever;
    dead.removed_ns = value->dead_removed_ns;
    return dbk_gather_dead_id(writer->gather, &dead, error);
}

static daybook_status carry_terms(dbk_segment_writer *writer, dbk_segment *from, bool *lost_out,
                                  daybook_error *error) {
    dbk_term_walk *walk;
    daybook_status status;
    DBK_TRY(dbk_term_walk_open_window(from, daybook_bytes(NULL, 0), CARRY_WINDOW, lost_out, &walk, error));
    for (;;) {
        dbk_slice term;
        const dbk_term_value *value;
        status = dbk_term_walk_next_value(walk, &term, &value, error);
        if (status == DAYBOOK_OK) status = carry_term(writer, term, value, error);
        if (status == DAYBOOK_EDAMAGED) {
            *lost_out = true;
            status = dbk_term_walk_skip_damage(walk);
        }
        if (status != DAYBOOK_OK) break;
    }
    dbk_term_walk_close(walk);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status carry_streams(dbk_segment_writer *writer, const dbk_segment *from,
                                    daybook_error *error) {
    dbk_segment_stream known;
    for (uint32_t i = 0; dbk_segment_get_stream(from, i, &known); i++) {
        dbk_segment_stream *stream = find_stream(writer, known.stream_id);
        if (stream == NULL) return out_of_memory(writer, error);
        if (known.seq_max > stream->seq_max) stream->seq_max = known.seq_max;
    }
    return DAYBOOK_OK;
}

daybook_status dbk_segment_writer_carry(dbk_segment_writer *writer, dbk_segment *from, bool *lost_out,
                                        daybook_error *error) {
    bool lost = false;
    if (writer->status == DAYBOOK_OK) writer->status = carry_streams(writer, from, error);
    if (writer->status == DAYBOOK_OK) writer->status = carry_terms(writer, from, &lost, error);
    if (lost_out != NULL) *lost_out = lost;
    return writer->status;
}

// ---- Finishing --------------------------------------------------------------------------------------------

static daybook_status write_terms(dbk_segment_writer *writer, dbk_tree_root *root_out, dbk_buf *parts,
                                  dbk_buf *separators, daybook_error *error) {
    dbk_term_source *const *sources;
    size_t source_count;
    DBK_TRY(dbk_gather_finish(writer->gather, &sources, &source_count, error));
    dbk_tree_builder *tree;
    if (dbk_tree_builder_new(writer->allocator, &writer->assembly.file, &tree) != DAYBOOK_OK)
        return out_of_memory(writer, error);
    daybook_status status = dbk_terms_merge(writer->allocator, sources, source_count, NULL, tree, error);
    if (status == DAYBOOK_OK) status = dbk_tree_builder_finish(tree, root_out, parts, separators, error);
    dbk_tree_builder_free(tree);
    return status;
}

static daybook_status finish(dbk_segment_writer *writer, dbk_slice catalogue,
                             dbk_segment_summary *summary_out, daybook_error *error) {
    DBK_TRY(close_block(writer, error));
    DBK_TRY(dbk_assembly_end_blocks(&writer->assembly, error));
    dbk_buf parts, separators;
    dbk_buf_init(&parts, writer->allocator, SIZE_MAX / 2);
    dbk_buf_init(&separators, writer->allocator, SIZE_MAX / 2);
    dbk_tree_root root;
    daybook_status status = write_terms(writer, &root, &parts, &separators, error);
    if (status == DAYBOOK_OK) {
        dbk_segment_stream *streams = (void *)writer->streams.data;
        size_t count = writer->streams.size / sizeof *streams;
        if (count > 1) qsort(streams, count, sizeof *streams, compare_streams);
        status = dbk_assembly_finish(&writer->assembly, &root, &parts, &separators, streams, (uint32_t)count,
                                     catalogue, summary_out, error);
    }
    dbk_buf_deinit(&parts);
    dbk_buf_deinit(&separators);
    return status;
}

daybook_status dbk_segment_writer_finish(dbk_segment_writer *writer, dbk_slice catalogue,
                                         dbk_segment_summary *summary_out, daybook_error *error) {
    daybook_status status = writer->status;
    if (status == DAYBOOK_OK)
        status = finish(writer, catalogue, summary_out, error);
    else
        (void)dbk_fail(error, status, "the segment was not written: an earlier step of it failed");
    dbk_segment_writer_abort(writer); // After success nothing is left to be removed.
    return status;
}
