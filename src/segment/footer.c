// SPDX-License-Identifier: Apache-2.0
// Head, footer, tail and block index pages as bytes; the formats stand at the head of writer.c. Pure but for
// the arrays of a decoded footer. Decoding checks every count against the bytes that are left before memory
// is taken.
#include "segment/footer.h"

static const char HEAD_MAGIC[8] = {'d', 'a', 'y', 'b', 'k', 's', 'e', 'g'};
static const char TAIL_MAGIC[8] = {'d', 'a', 'y', 'b', 'k', 'e', 'n', 'd'};

// ---- Head and tail ----------------------------------------------------------------------------------------

void dbk_segment_head_encode(const dbk_segment_head *head, uint8_t bytes[DBK_SEGMENT_HEAD_SIZE]) {
    memset(bytes, 0, DBK_SEGMENT_HEAD_SIZE);
    memcpy(bytes, HEAD_MAGIC, 8);
    dbk_put_u32(bytes + 8, DBK_SEGMENT_FORMAT);
    dbk_put_u32(bytes + 12, DBK_SEGMENT_HEAD_SIZE);
    memcpy(bytes + 16, head->store_uuid.bytes, 16);
    dbk_put_u64(bytes + 32, head->incarnation);
    dbk_put_u64(bytes + 40, head->segment_id);
    dbk_put_u64(bytes + 48, head->position_first);
    dbk_put_u64(bytes + 56, head->position_last);
    dbk_put_u64(bytes + 72, dbk_checksum(bytes, 72, 0));
}

daybook_status dbk_segment_head_decode(const uint8_t bytes[DBK_SEGMENT_HEAD_SIZE],
                                       dbk_segment_head *head_out) {
    if (memcmp(bytes, HEAD_MAGIC, 8) != 0) return DAYBOOK_EDAMAGED;
    if (dbk_checksum(bytes, 72, 0) != dbk_get_u64(bytes + 72)) return DAYBOOK_EDAMAGED;
    head_out->format = dbk_get_u32(bytes + 8);
    if (head_out->format != DBK_SEGMENT_FORMAT) return DAYBOOK_EFORMAT;
    memcpy(head_out->store_uuid.bytes, bytes + 16, 16);
    head_out->incarnation = dbk_get_u64(bytes + 32);
    head_out->segment_id = dbk_get_u64(bytes + 40);
    head_out->position_first = dbk_get_u64(bytes + 48);
    head_out->position_last = dbk_get_u64(bytes + 56);
    return DAYBOOK_OK;
}

void dbk_segment_tail_encode(const dbk_segment_tail *tail, uint64_t offset,
                             uint8_t bytes[DBK_SEGMENT_TAIL_SIZE]) {
    memcpy(bytes, TAIL_MAGIC, 8);
    dbk_put_u32(bytes + 8, DBK_SEGMENT_FORMAT);
    dbk_put_u32(bytes + 12, DBK_SEGMENT_TAIL_SIZE);
    dbk_put_u64(bytes + 16, tail->seed);
    dbk_put_u64(bytes + 24, tail->footer_offset);
    dbk_put_u64(bytes + 32, tail->footer_copy_offset);
    dbk_put_u64(bytes + 40, tail->footer_size);
    dbk_put_u64(bytes + 48, tail->file_size);
    dbk_put_u64(bytes + 56, dbk_checksum(bytes, 56, offset));
}

daybook_status dbk_segment_tail_decode(const uint8_t bytes[DBK_SEGMENT_TAIL_SIZE], uint64_t offset,
                                       dbk_segment_tail *tail_out) {
    if (memcmp(bytes, TAIL_MAGIC, 8) != 0) return DAYBOOK_EDAMAGED;
    if (dbk_checksum(bytes, 56, offset) != dbk_get_u64(bytes + 56)) return DAYBOOK_EDAMAGED;
    tail_out->format = dbk_get_u32(bytes + 8);
    if (tail_out->format != DBK_SEGMENT_FORMAT) return DAYBOOK_EFORMAT;
    tail_out->seed = dbk_get_u64(bytes + 16);
    tail_out->footer_offset = dbk_get_u64(bytes + 24);
    tail_out->footer_copy_offset = dbk_get_u64(bytes + 32);
    tail_out->footer_size = dbk_get_u64(bytes + 40);
    tail_out->file_size = dbk_get_u64(bytes + 48);
    return DAYBOOK_OK;
}

// ---- Footer -----------------------------------------------------------------------------------------------

static void append_difference(dbk_buf *buf, uint64_t value, uint64_t base) {
    dbk_buf_append_varint(buf, dbk_zigzag((int64_t)(value - base)));
}

static void encode_summary(const dbk_footer *footer, dbk_buf *buf) {
    const dbk_segment_summary *summary = &footer->summary;
    dbk_buf_append_u32(buf, DBK_SEGMENT_FORMAT);
    dbk_buf_append(buf, footer->store_uuid.bytes, 16);
    dbk_buf_append_u64(buf, footer->incarnation);
    dbk_buf_append_u64(buf, summary->segment_id);
    dbk_buf_append_u64(buf, summary->position_first);
    dbk_buf_append_u64(buf, summary->position_last);
    dbk_buf_append_u64(buf, summary->event_count);
    dbk_buf_append_u64(buf, summary->data_bytes);
    dbk_buf_append_u64(buf, (uint64_t)summary->recorded_first_ns);
    dbk_buf_append_u64(buf, (uint64_t)summary->recorded_last_ns);
    dbk_buf_append_u64(buf, (uint64_t)summary->time_min_ns);
    dbk_buf_append_u64(buf, (uint64_t)summary->time_max_ns);
    dbk_buf_append(buf, summary->sha256, sizeof summary->sha256);
}

static void encode_places(const dbk_footer *footer, dbk_buf *buf) {
    dbk_buf_append_varint(buf, footer->dictionary_count);
    for (uint32_t i = 0; i < footer->dictionary_count; i++) {
        dbk_buf_append_varint(buf, footer->dictionaries[i].offset);
        dbk_buf_append_varint(buf, footer->dictionaries[i].copy_offset);
        dbk_buf_append_varint(buf, footer->dictionaries[i].size);
    }
    dbk_buf_append_varint(buf, footer->blocks_begin);
    dbk_buf_append_varint(buf, footer->block_count);
    uint64_t offset = 0, block_offset = 0, position = footer->summary.position_first;
    uint64_t recorded = (uint64_t)footer->summary.recorded_first_ns;
    for (uint32_t i = 0; i < footer->block_page_count; i++) {
        const dbk_block_page *page = &footer->block_pages[i];
        append_difference(buf, page->offset, offset);
        append_difference(buf, page->first_block_offset, block_offset);
        append_difference(buf, page->position_last, position);
        append_difference(buf, (uint64_t)page->recorded_last_ns, recorded);
        dbk_buf_append_varint(buf, page->size);
        offset = page->offset;
        block_offset = page->first_block_offset;
        position = page->position_last;
        recorded = (uint64_t)page->recorded_last_ns;
    }
    dbk_buf_append_varint(buf, footer->root.offset);
    dbk_buf_append_varint(buf, footer->root.size);
    dbk_buf_append_varint(buf, footer->root.height);
    dbk_buf_append_varint(buf, footer->root.term_count);
    dbk_buf_append_varint(buf, footer->filter_part_count);
    offset = 0;
    for (uint32_t i = 0; i < footer->filter_part_count; i++) {
        const dbk_filter_part *part = &footer->filter_parts[i];
        append_difference(buf, part->offset, offset);
        dbk_buf_append_varint(buf, part->size);
        dbk_buf_append_text(buf,
                            daybook_bytes(footer->separators + part->separator_offset, part->separator_size));
        offset = part->offset;
    }
    dbk_buf_append_varint(buf, footer->catalogue_offset);
    dbk_buf_append_varint(buf, footer->catalogue_size);
}

static void encode_streams(const dbk_footer *footer, dbk_buf *buf) {
    const dbk_segment_summary *summary = &footer->summary;
    dbk_buf_append_varint(buf, summary->stream_count);
    uint64_t stream_id = 0;
    for (uint32_t i = 0; i < summary->stream_count; i++) {
        const dbk_segment_stream *stream = &footer->streams[i];
        dbk_buf_append_varint(buf, stream->stream_id - stream_id);
        dbk_buf_append_varint(buf, stream->event_count);
        dbk_buf_append_varint(buf, stream->cost_bytes);
        dbk_buf_append_varint(buf, stream->seq_max);
        stream_id = stream->stream_id;
        if (stream->event_count == 0) continue;
        dbk_buf_append_varint(buf, stream->first_seq);
        dbk_buf_append_varint(buf, stream->last_seq - stream->first_seq);
        dbk_buf_append_varint(buf, stream->first_position - summary->position_first);
        dbk_buf_append_varint(buf, stream->last_position - stream->first_position);
    }
}

void dbk_footer_encode(const dbk_footer *footer, dbk_buf *buf) {
    encode_summary(footer, buf);
    encode_places(footer, buf);
    encode_streams(footer, buf);
}

static void fail(dbk_reader *reader) {
    reader->failed = true;
    reader->at = reader->end;
}

// A count of records that take at least `record_size` bytes each.
static uint32_t read_count(dbk_reader *reader, uint64_t max, size_t record_size) {
    uint64_t count = dbk_read_varint(reader);
    if (count > max || count > dbk_reader_left(reader) / record_size) fail(reader);
    return reader->failed ? 0 : (uint32_t)count;
}

static uint32_t read_size(dbk_reader *reader, uint64_t max) {
    uint64_t size = dbk_read_varint(reader);
    if (size > max) fail(reader);
    return (uint32_t)size;
}

static uint64_t read_difference(dbk_reader *reader, uint64_t base) {
    return base + (uint64_t)dbk_unzigzag(dbk_read_varint(reader));
}

static void decode_summary(dbk_reader *reader, dbk_footer *footer) {
    dbk_segment_summary *summary = &footer->summary;
    if (dbk_read_u32(reader) != DBK_SEGMENT_FORMAT) fail(reader);
    dbk_slice uuid = dbk_read_bytes(reader, 16);
    if (!reader->failed) memcpy(footer->store_uuid.bytes, uuid.data, 16);
    footer->incarnation = dbk_read_u64(reader);
    summary->segment_id = dbk_read_u64(reader);
    summary->position_first = dbk_read_u64(reader);
    summary->position_last = dbk_read_u64(reader);
    summary->event_count = dbk_read_u64(reader);
    summary->data_bytes = dbk_read_u64(reader);
    summary->recorded_first_ns = (int64_t)dbk_read_u64(reader);
    summary->recorded_last_ns = (int64_t)dbk_read_u64(reader);
    summary->time_min_ns = (int64_t)dbk_read_u64(reader);
    summary->time_max_ns = (int64_t)dbk_read_u64(reader);
    dbk_slice digest = dbk_read_bytes(reader, sizeof summary->sha256);
    if (!reader->failed) memcpy(summary->sha256, digest.data, digest.size);
    if (summary->position_last < summary->position_first) fail(reader);
    // Relative positions are u32.
    if (summary->position_last - summary->position_first > UINT32_MAX) fail(reader);
}

static daybook_status decode_dictionaries(dbk_reader *reader, dbk_footer *footer) {
    footer->dictionary_count = read_count(reader, DBK_DICTIONARIES_MAX, 3);
    footer->dictionaries =
        dbk_resize_array(footer->allocator, NULL, footer->dictionary_count + 1, sizeof *footer->dictionaries);
    if (footer->dictionaries == NULL) return DAYBOOK_ENOMEM;
    for (uint32_t i = 0; i < footer->dictionary_count; i++) {
        footer->dictionaries[i].offset = dbk_read_varint(reader);
        footer->dictionaries[i].copy_offset = dbk_read_varint(reader);
        footer->dictionaries[i].size = read_size(reader, DBK_DICTIONARY_SIZE_MAX);
    }
    return DAYBOOK_OK;
}

static daybook_status decode_block_pages(dbk_reader *reader, dbk_footer *footer) {
    footer->blocks_begin = dbk_read_varint(reader);
    footer->block_count = read_size(reader, UINT32_MAX - DBK_BLOCK_PAGE_COUNT);
    footer->block_page_count = (footer->block_count + DBK_BLOCK_PAGE_COUNT - 1) / DBK_BLOCK_PAGE_COUNT;
    if (footer->block_page_count > dbk_reader_left(reader) / 5) fail(reader);
    if (reader->failed) return DAYBOOK_EDAMAGED;
    footer->block_pages = dbk_resize_array(footer->allocator, NULL, (size_t)footer->block_page_count + 1,
                                           sizeof *footer->block_pages);
    if (footer->block_pages == NULL) return DAYBOOK_ENOMEM;
    dbk_block_page previous;
    memset(&previous, 0, sizeof previous);
    previous.position_last = footer->summary.position_first;
    previous.recorded_last_ns = footer->summary.recorded_first_ns;
    for (uint32_t i = 0; i < footer->block_page_count; i++) {
        dbk_block_page *page = &footer->block_pages[i];
        page->offset = read_difference(reader, previous.offset);
        page->first_block_offset = read_difference(reader, previous.first_block_offset);
        page->position_last = read_difference(reader, previous.position_last);
        page->recorded_last_ns = (int64_t)read_difference(reader, (uint64_t)previous.recorded_last_ns);
        page->size = read_size(reader, DBK_BLOCK_PAGE_SIZE_MAX);
        if (i > 0 && page->position_last <= previous.position_last) fail(reader);
        previous = *page;
    }
    return DAYBOOK_OK;
}

static daybook_status decode_index(dbk_reader *reader, dbk_footer *footer) {
    footer->root.offset = dbk_read_varint(reader);
    footer->root.size = read_size(reader, DBK_TERM_PAGE_SIZE_MAX);
    footer->root.height = read_size(reader, DBK_TREE_LEVELS_MAX);
    footer->root.term_count = dbk_read_varint(reader);
    if ((footer->root.size == 0) != (footer->root.height == 0)) fail(reader);
    footer->filter_part_count = read_count(reader, UINT32_MAX / 64, 3);
    size_t count = footer->filter_part_count;
    footer->filter_parts = dbk_resize_array(footer->allocator, NULL, count + 1, sizeof *footer->filter_parts);
    // The separators together are part of what is left.
    footer->separators = dbk_alloc(footer->allocator, count == 0 ? 1 : dbk_reader_left(reader));
    if (footer->filter_parts == NULL || footer->separators == NULL) return DAYBOOK_ENOMEM;
    uint64_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        dbk_filter_part *part = &footer->filter_parts[i];
        part->offset = offset = read_difference(reader, offset);
        part->size = read_size(reader, 1 << 16);
        dbk_slice separator = dbk_read_text(reader);
        part->separator_offset = footer->separators_size;
        part->separator_size = (uint32_t)separator.size;
        if (separator.size > DBK_TERM_SIZE_MAX || (i == 0 && separator.size > 0)) fail(reader);
        if (reader->failed) return DAYBOOK_EDAMAGED;
        if (separator.size > 0)
            memcpy(footer->separators + footer->separators_size, separator.data, separator.size);
        footer->separators_size += (uint32_t)separator.size;
    }
    if (count > 0) {
        uint8_t *trimmed =
            dbk_resize_array(footer->allocator, footer->separators, footer->separators_size + 1, 1);
        if (trimmed != NULL) footer->separators = trimmed;
    }
    footer->catalogue_offset = dbk_read_varint(reader);
    footer->catalogue_size = dbk_read_varint(reader);
    return DAYBOOK_OK;
}

static daybook_status decode_streams(dbk_reader *reader, dbk_footer *footer) {
    dbk_segment_summary *summary = &footer->summary;
    summary->stream_count = read_count(reader, UINT32_MAX, 4);
    footer->streams =
        dbk_resize_array(footer->allocator, NULL, (size_t)summary->stream_count + 1, sizeof *footer->streams);
    if (footer->streams == NULL) return DAYBOOK_ENOMEM;
    uint64_t stream_id = 0, span = summary->position_last - summary->position_first;
    for (uint32_t i = 0; i < summary->stream_count; i++) {
        dbk_segment_stream *stream = &footer->streams[i];
        memset(stream, 0, sizeof *stream);
        uint64_t distance = dbk_read_varint(reader);
        if (distance > UINT32_MAX - stream_id || (i > 0 && distance == 0)) fail(reader);
        stream_id += distance;
        stream->stream_id = (uint32_t)stream_id;
        stream->event_count = dbk_read_varint(reader);
        stream->cost_bytes = dbk_read_varint(reader);
        stream->seq_max = dbk_read_varint(reader);
        if (stream->event_count == 0) continue;
        stream->first_seq = dbk_read_varint(reader);
        stream->last_seq = stream->first_seq + dbk_read_varint(reader);
        uint64_t first = dbk_read_varint(reader), distance_to_last = dbk_read_varint(reader);
        if (first > span || distance_to_last > span - first) fail(reader);
        stream->first_position = summary->position_first + first;
        stream->last_position = stream->first_position + distance_to_last;
    }
    return DAYBOOK_OK;
}

daybook_status dbk_footer_decode(const daybook_allocator *allocator, dbk_slice payload, dbk_footer *footer) {
    memset(footer, 0, sizeof *footer);
    footer->allocator = allocator;
    dbk_reader reader;
    dbk_reader_init(&reader, payload);
    decode_summary(&reader, footer);
    daybook_status status = reader.failed ? DAYBOOK_EDAMAGED : DAYBOOK_OK;
    if (status == DAYBOOK_OK) status = decode_dictionaries(&reader, footer);
    if (status == DAYBOOK_OK) status = decode_block_pages(&reader, footer);
    if (status == DAYBOOK_OK) status = decode_index(&reader, footer);
    if (status == DAYBOOK_OK) status = decode_streams(&reader, footer);
    if (status == DAYBOOK_OK && (reader.failed || dbk_reader_left(&reader) > 0)) status = DAYBOOK_EDAMAGED;
    if (status != DAYBOOK_OK) dbk_footer_deinit(footer);
    return status;
}

void dbk_footer_deinit(dbk_footer *footer) {
    if (footer->allocator == NULL) return;
    dbk_free(footer->allocator, footer->block_pages);
    dbk_free(footer->allocator, footer->dictionaries);
    dbk_free(footer->allocator, footer->filter_parts);
    dbk_free(footer->allocator, footer->separators);
    dbk_free(footer->allocator, footer->streams);
    memset(footer, 0, sizeof *footer);
}

// ---- Block index ------------------------------------------------------------------------------------------

void dbk_block_page_encode(const dbk_block_info *blocks, size_t count, const dbk_block_page *page,
                           dbk_buf *buf) {
    uint64_t end = page->first_block_offset, position = 0, recorded = 0;
    for (size_t i = 0; i < count; i++) {
        const dbk_block_info *block = &blocks[i];
        dbk_buf_append_varint(buf, block->file_offset - end);
        dbk_buf_append_varint(buf, block->file_bytes);
        dbk_buf_append_varint(buf, block->event_count);
        dbk_buf_append_varint(buf, block->position_first - position);
        dbk_buf_append_varint(buf, block->position_last - block->position_first);
        append_difference(buf, (uint64_t)block->recorded_first_ns, recorded);
        dbk_buf_append_varint(buf, (uint64_t)block->recorded_last_ns - (uint64_t)block->recorded_first_ns);
        append_difference(buf, (uint64_t)block->time_min_ns, (uint64_t)block->recorded_first_ns);
        dbk_buf_append_varint(buf, (uint64_t)block->time_max_ns - (uint64_t)block->time_min_ns);
        end = block->file_offset + block->file_bytes;
        position = block->position_last;
        recorded = (uint64_t)block->recorded_last_ns;
    }
}

bool dbk_block_page_decode(dbk_slice payload, const dbk_block_page *page, uint32_t first_number, size_t count,
                           dbk_block_info *blocks_out) {
    dbk_reader reader;
    dbk_reader_init(&reader, payload);
    uint64_t end = page->first_block_offset, position = 0, recorded = 0;
    for (size_t i = 0; i < count; i++) {
        dbk_block_info *block = &blocks_out[i];
        memset(block, 0, sizeof *block);
        block->block_number = first_number + (uint32_t)i;
        block->file_offset = end + dbk_read_varint(&reader);
        block->file_bytes = read_size(&reader, DBK_BLOCK_FILE_SIZE_MAX);
        block->event_count = read_size(&reader, DBK_BLOCK_EVENTS_MAX);
        block->position_first = position + dbk_read_varint(&reader);
        block->position_last = block->position_first + dbk_read_varint(&reader);
        block->recorded_first_ns = (int64_t)read_difference(&reader, recorded);
        block->recorded_last_ns = (int64_t)((uint64_t)block->recorded_first_ns + dbk_read_varint(&reader));
        block->time_min_ns = (int64_t)read_difference(&reader, (uint64_t)block->recorded_first_ns);
        block->time_max_ns = (int64_t)((uint64_t)block->time_min_ns + dbk_read_varint(&reader));
        if (block->file_offset < end || block->position_first < position || block->event_count == 0 ||
            block->position_last < block->position_first || block->file_bytes <= DBK_CHUNK_CHECKSUM_SIZE)
            return false;
        end = block->file_offset + block->file_bytes;
        position = block->position_last;
        recorded = (uint64_t)block->recorded_last_ns;
    }
    return !reader.failed && dbk_reader_left(&reader) == 0 && position == page->position_last;
}
