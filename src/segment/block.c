// SPDX-License-Identifier: Apache-2.0
// The block codec. A block is a chunk (checksum behind it) whose payload is a head and the stored bytes:
//
//   u8      codec            0 stored as they are, 1 zstd frame without magic
//   varint  dictionary       number from 1 in the footer's table, 0 for none
//   varint  event_count      1 to 1024
//   varint  bodies_size, columns_size, stored_size
//   varint  position_first, position_last - position_first
//   varint  zigzag recorded_first, recorded_last - recorded_first
//   varint  zigzag (time_min - recorded_first), time_max - time_min
//   bytes   stored
//
// Stored bytes, uncompressed: the bodies one behind the other (record/event.h), then what the store assigned,
// by columns, because neighbours in a column are alike and compress to almost nothing:
//
//   position   varint gap to the one before, less one     (the first is the head's)
//   stream id  varint zigzag difference to the one before (the first: to 0)
//   seq        varint zigzag difference to the guess: one more than the last of its stream in this block,
//              found in a table of 64 places by stream id & 63, else 0
//   version    varint
//   recorded   varint zigzag difference to the one before (the first: to the head's)
//   body size  varint
//
// Compression (pack.c) is with the segment's dictionary; bytes it cannot shrink by a thirty-second are stored
// as they are. Blocks above DICTIONARY_RAW_MAX do without the dictionary, whose parameters are made for small
// inputs.
//
// Decoding expects anything: sizes are bounded by the head before memory is taken, columns must use up their
// bytes exactly, positions ascend, and the ranges of the head must be those of the rows. Bodies are checked
// when read. Threads: builders belong to one; a digested dictionary and decoded blocks to any.
#include "segment/block.h"

#include "base/assert.h"

enum {
    PREDICTION_COUNT = 64,
    DICTIONARY_RAW_MAX = 64 * 1024,
};

// ---- Head -------------------------------------------------------------------------------------------------

void dbk_block_head_encode(const dbk_block_head *head, dbk_buf *buf) {
    dbk_buf_append_u8(buf, head->is_compressed ? 1 : 0);
    dbk_buf_append_varint(buf, head->dictionary);
    dbk_buf_append_varint(buf, head->event_count);
    dbk_buf_append_varint(buf, head->bodies_size);
    dbk_buf_append_varint(buf, head->columns_size);
    dbk_buf_append_varint(buf, head->stored_size);
    dbk_buf_append_varint(buf, head->position_first);
    dbk_buf_append_varint(buf, head->position_last - head->position_first);
    dbk_buf_append_varint(buf, dbk_zigzag(head->recorded_first_ns));
    dbk_buf_append_varint(buf, (uint64_t)head->recorded_last_ns - (uint64_t)head->recorded_first_ns);
    dbk_buf_append_varint(
        buf, dbk_zigzag((int64_t)((uint64_t)head->time_min_ns - (uint64_t)head->recorded_first_ns)));
    dbk_buf_append_varint(buf, (uint64_t)head->time_max_ns - (uint64_t)head->time_min_ns);
}

static uint32_t read_u32(dbk_reader *reader, uint32_t max) {
    uint64_t value = dbk_read_varint(reader);
    if (value <= max) return (uint32_t)value;
    reader->failed = true;
    reader->at = reader->end;
    return 0;
}

bool dbk_block_head_peek(dbk_slice bytes, dbk_block_head *head, size_t *head_size_out) {
    dbk_reader reader;
    dbk_reader_init(&reader, bytes);
    uint8_t codec = dbk_read_u8(&reader);
    head->is_compressed = codec == 1;
    head->dictionary = read_u32(&reader, DBK_DICTIONARIES_MAX);
    head->event_count = read_u32(&reader, DBK_BLOCK_EVENTS_MAX);
    head->bodies_size = read_u32(&reader, DBK_EVENT_BODY_SIZE_MAX + DBK_BLOCK_TARGET);
    head->columns_size = read_u32(&reader, DBK_BLOCK_COLUMNS_SIZE_MAX);
    head->stored_size = read_u32(&reader, DBK_BLOCK_RAW_SIZE_MAX);
    head->position_first = dbk_read_varint(&reader);
    uint64_t span = dbk_read_varint(&reader);
    head->position_last = head->position_first + span;
    head->recorded_first_ns = dbk_unzigzag(dbk_read_varint(&reader));
    head->recorded_last_ns = (int64_t)((uint64_t)head->recorded_first_ns + dbk_read_varint(&reader));
    head->time_min_ns =
        (int64_t)((uint64_t)head->recorded_first_ns + (uint64_t)dbk_unzigzag(dbk_read_varint(&reader)));
    head->time_max_ns = (int64_t)((uint64_t)head->time_min_ns + dbk_read_varint(&reader));
    if (reader.failed || codec > 1 || head->event_count == 0 || span > UINT64_MAX - head->position_first)
        return false;
    uint32_t raw_size = head->bodies_size + head->columns_size;
    if (head->is_compressed ? head->stored_size >= raw_size : head->stored_size != raw_size) return false;
    *head_size_out = (size_t)(reader.at - (const uint8_t *)bytes.data);
    return true;
}

bool dbk_block_head_decode(dbk_slice payload, dbk_block_head *head_out, dbk_slice *stored_out) {
    size_t head_size;
    if (!dbk_block_head_peek(payload, head_out, &head_size)) return false;
    if (payload.size - head_size != head_out->stored_size) return false;
    *stored_out = daybook_bytes((const uint8_t *)payload.data + head_size, payload.size - head_size);
    return true;
}

// ---- Guessing seqs ----------------------------------------------------------------------------------------

typedef struct seq_guess {
    uint32_t stream_id[PREDICTION_COUNT];
    uint64_t next_seq[PREDICTION_COUNT]; // 0: nothing known
} seq_guess;

static uint64_t predict(const seq_guess *guess, uint32_t stream_id) {
    uint32_t place = stream_id % PREDICTION_COUNT;
    return guess->stream_id[place] == stream_id ? guess->next_seq[place] : 0;
}

static void learn(seq_guess *guess, uint32_t stream_id, uint64_t seq) {
    uint32_t place = stream_id % PREDICTION_COUNT;
    guess->stream_id[place] = stream_id;
    guess->next_seq[place] = seq + 1;
}

static size_t align8(size_t size) {
    return (size + 7) & ~(size_t)7;
}

// ---- Building ---------------------------------------------------------------------------------------------

struct dbk_block_builder {
    const daybook_allocator *allocator;
    dbk_packer *packer;
    dbk_buf raw; // bodies; the columns are added at the end
    dbk_buf out;
    uint32_t count;
    dbk_block_head head; // ranges so far
    dbk_block_row rows[DBK_BLOCK_EVENTS_MAX];
    uint32_t body_sizes[DBK_BLOCK_EVENTS_MAX];
};

daybook_status dbk_block_builder_new(const daybook_allocator *allocator, dbk_block_builder **builder_out) {
    *builder_out = NULL;
    dbk_block_builder *builder = dbk_alloc_zeroed(allocator, sizeof *builder);
    if (builder == NULL) return DAYBOOK_ENOMEM;
    builder->allocator = allocator;
    dbk_buf_init(&builder->raw, allocator, DBK_BLOCK_RAW_SIZE_MAX);
    dbk_buf_init(&builder->out, allocator, DBK_BLOCK_HEAD_SIZE_MAX + dbk_pack_bound(DBK_BLOCK_RAW_SIZE_MAX));
    if (dbk_packer_new(allocator, DBK_PACK_BLOCKS, &builder->packer) != DAYBOOK_OK) {
        dbk_block_builder_free(builder);
        return DAYBOOK_ENOMEM;
    }
    *builder_out = builder;
    return DAYBOOK_OK;
}

void dbk_block_builder_free(dbk_block_builder *builder) {
    if (builder == NULL) return;
    dbk_packer_free(builder->packer);
    dbk_buf_deinit(&builder->raw);
    dbk_buf_deinit(&builder->out);
    dbk_free(builder->allocator, builder);
}

uint32_t dbk_block_builder_count(const dbk_block_builder *builder) {
    return builder->count;
}

// Flags, key, aggregate and subject of an event take at least so much.
enum { BODY_SIZE_MIN = 6 };
_Static_assert((int)DBK_BLOCK_TARGET / (int)BODY_SIZE_MIN < (int)DBK_BLOCK_EVENTS_MAX,
               "a block is full by its bytes first");

bool dbk_block_builder_is_full(const dbk_block_builder *builder, size_t body_size) {
    if (builder->count == 0) return false;
    return builder->raw.size + body_size > DBK_BLOCK_TARGET;
}

static void widen_ranges(dbk_block_head *head, const dbk_event *event, bool is_first) {
    head->position_last = event->position;
    if (is_first) {
        head->position_first = event->position;
        head->recorded_first_ns = head->recorded_last_ns = event->recorded_ns;
        head->time_min_ns = head->time_max_ns = event->time_ns;
        return;
    }
    if (event->recorded_ns < head->recorded_first_ns) head->recorded_first_ns = event->recorded_ns;
    if (event->recorded_ns > head->recorded_last_ns) head->recorded_last_ns = event->recorded_ns;
    if (event->time_ns < head->time_min_ns) head->time_min_ns = event->time_ns;
    if (event->time_ns > head->time_max_ns) head->time_max_ns = event->time_ns;
}

daybook_status dbk_block_builder_add(dbk_block_builder *builder, const dbk_event *event) {
    DBK_ASSERT(builder->count < DBK_BLOCK_EVENTS_MAX);
    uint32_t index = builder->count;
    DBK_ASSERT(index == 0 || event->position > builder->head.position_last);
    dbk_buf_append_slice(&builder->raw, event->body);
    DBK_TRY(dbk_buf_status(&builder->raw));
    builder->rows[index] =
        (dbk_block_row){event->position, event->seq, event->version, event->recorded_ns, event->stream_id};
    builder->body_sizes[index] = (uint32_t)event->body.size;
    widen_ranges(&builder->head, event, index == 0);
    builder->count++;
    return DAYBOOK_OK;
}

static void append_columns(dbk_block_builder *builder) {
    const dbk_block_row *rows = builder->rows;
    uint32_t count = builder->count;
    uint8_t *begin = dbk_buf_reserve(&builder->raw, (size_t)count * 60);
    if (begin == NULL) return;
    uint8_t *at = begin;
    for (uint32_t i = 1; i < count; i++)
        at += dbk_put_varint(at, rows[i].position - rows[i - 1].position - 1);
    int64_t stream_id = 0;
    for (uint32_t i = 0; i < count; i++) {
        at += dbk_put_varint(at, dbk_zigzag((int64_t)rows[i].stream_id - stream_id));
        stream_id = rows[i].stream_id;
    }
    seq_guess guesses = {{0}, {0}};
    for (uint32_t i = 0; i < count; i++) {
        uint64_t guess = predict(&guesses, rows[i].stream_id);
        at += dbk_put_varint(at, dbk_zigzag((int64_t)(rows[i].seq - guess)));
        learn(&guesses, rows[i].stream_id, rows[i].seq);
    }
    for (uint32_t i = 0; i < count; i++) at += dbk_put_varint(at, rows[i].version);
    uint64_t recorded = (uint64_t)builder->head.recorded_first_ns;
    for (uint32_t i = 0; i < count; i++) {
        at += dbk_put_varint(at, dbk_zigzag((int64_t)((uint64_t)rows[i].recorded_ns - recorded)));
        recorded = (uint64_t)rows[i].recorded_ns;
    }
    for (uint32_t i = 0; i < count; i++) at += dbk_put_varint(at, builder->body_sizes[i]);
    builder->raw.size += (size_t)(at - begin);
}

// The compressed bytes behind a gap for the head; 0 where they are no gain. SIZE_MAX: out of memory.
static size_t compress(dbk_block_builder *builder, const dbk_dictionary_encoder *encoder) {
    dbk_slice raw = daybook_bytes(builder->raw.data, builder->raw.size);
    uint8_t *out = dbk_buf_reserve(&builder->out, DBK_BLOCK_HEAD_SIZE_MAX + dbk_pack_bound(raw.size));
    if (out == NULL) return SIZE_MAX;
    return dbk_pack(builder->packer, encoder, raw, out + DBK_BLOCK_HEAD_SIZE_MAX);
}

daybook_status dbk_block_builder_finish(dbk_block_builder *builder, const dbk_dictionary_encoder *encoder,
                                        uint32_t dictionary, dbk_block_head *head_out,
                                        dbk_slice *payload_out) {
    DBK_ASSERT(builder->count > 0);
    dbk_block_head *head = &builder->head;
    size_t bodies_size = builder->raw.size;
    append_columns(builder);
    DBK_TRY(dbk_buf_status(&builder->raw));
    dbk_buf_reset(&builder->out);
    if (builder->raw.size > DICTIONARY_RAW_MAX) encoder = NULL;
    size_t compressed = compress(builder, encoder);
    if (compressed == SIZE_MAX) return DAYBOOK_ENOMEM;

    head->is_compressed = compressed > 0;
    head->dictionary = compressed > 0 && encoder != NULL ? dictionary : 0;
    head->event_count = builder->count;
    head->bodies_size = (uint32_t)bodies_size;
    head->columns_size = (uint32_t)(builder->raw.size - bodies_size);
    head->stored_size = (uint32_t)(compressed > 0 ? compressed : builder->raw.size);

    // The head is written in front of the compressed bytes, so that they need not move far.
    const uint8_t *stored = compressed > 0 ? builder->out.data + DBK_BLOCK_HEAD_SIZE_MAX : builder->raw.data;
    dbk_block_head_encode(head, &builder->out);
    // compress() has made the room.
    memmove(builder->out.data + builder->out.size, stored, head->stored_size);
    *payload_out = daybook_bytes(builder->out.data, builder->out.size + head->stored_size);
    *head_out = *head;
    dbk_buf_reset(&builder->raw);
    builder->count = 0;
    return DAYBOOK_OK;
}

// ---- Reading ----------------------------------------------------------------------------------------------

size_t dbk_block_memory_size(const dbk_block_head *head) {
    return align8(sizeof(dbk_block_memory)) + head->event_count * sizeof(dbk_block_row) +
           align8((head->event_count + 1) * sizeof(uint32_t)) + head->bodies_size + head->columns_size;
}

static bool decompress(const dbk_block_head *head, dbk_slice stored, const void *decoder, void *scratch,
                       uint8_t *out) {
    size_t raw_size = (size_t)head->bodies_size + head->columns_size;
    if (!head->is_compressed) {
        memcpy(out, stored.data, raw_size);
        return true;
    }
    return dbk_unpack(stored, decoder, scratch, out, raw_size);
}

static bool decode_positions(dbk_reader *reader, const dbk_block_head *head, dbk_block_row *rows) {
    uint64_t position = head->position_first;
    rows[0].position = position;
    for (uint32_t i = 1; i < head->event_count; i++) {
        uint64_t gap = dbk_read_varint(reader);
        if (gap >= head->position_last - position) return false;
        position += gap + 1;
        rows[i].position = position;
    }
    return position == head->position_last;
}

static bool decode_streams_and_seqs(dbk_reader *reader, uint32_t count, dbk_block_row *rows) {
    uint64_t stream_id = 0;
    for (uint32_t i = 0; i < count; i++) {
        stream_id += (uint64_t)dbk_unzigzag(dbk_read_varint(reader));
        if (stream_id > UINT32_MAX) return false;
        rows[i].stream_id = (uint32_t)stream_id;
    }
    seq_guess guesses = {{0}, {0}};
    for (uint32_t i = 0; i < count; i++) {
        uint64_t guess = predict(&guesses, rows[i].stream_id);
        rows[i].seq = guess + (uint64_t)dbk_unzigzag(dbk_read_varint(reader));
        learn(&guesses, rows[i].stream_id, rows[i].seq);
    }
    return true;
}

static bool decode_recorded(dbk_reader *reader, const dbk_block_head *head, dbk_block_row *rows) {
    uint64_t recorded = (uint64_t)head->recorded_first_ns;
    for (uint32_t i = 0; i < head->event_count; i++) {
        recorded += (uint64_t)dbk_unzigzag(dbk_read_varint(reader));
        rows[i].recorded_ns = (int64_t)recorded;
        if (rows[i].recorded_ns < head->recorded_first_ns || rows[i].recorded_ns > head->recorded_last_ns)
            return false;
    }
    return true;
}

static bool decode_offsets(dbk_reader *reader, const dbk_block_head *head, uint32_t *offsets) {
    uint64_t offset = 0;
    for (uint32_t i = 0; i < head->event_count; i++) {
        offsets[i] = (uint32_t)offset;
        uint64_t size = dbk_read_varint(reader);
        if (size > head->bodies_size - offset) return false;
        offset += size;
    }
    offsets[head->event_count] = (uint32_t)offset;
    return offset == head->bodies_size;
}

bool dbk_block_decode(const dbk_block_head *head, dbk_slice stored, const void *decoder, void *scratch,
                      void *memory) {
    dbk_block_memory *block = memory;
    uint8_t *at = (uint8_t *)memory + align8(sizeof *block);
    block->head = *head;
    block->rows = (dbk_block_row *)(void *)at;
    at += head->event_count * sizeof(dbk_block_row);
    block->offsets = (uint32_t *)(void *)at;
    at += align8((head->event_count + 1) * sizeof(uint32_t));
    block->bodies = at;
    if (!decompress(head, stored, decoder, scratch, at)) return false;

    dbk_reader reader;
    dbk_reader_init(&reader, daybook_bytes(at + head->bodies_size, head->columns_size));
    if (!decode_positions(&reader, head, block->rows)) return false;
    if (!decode_streams_and_seqs(&reader, head->event_count, block->rows)) return false;
    for (uint32_t i = 0; i < head->event_count; i++) block->rows[i].version = dbk_read_varint(&reader);
    if (!decode_recorded(&reader, head, block->rows)) return false;
    if (!decode_offsets(&reader, head, block->offsets)) return false;
    return !reader.failed && dbk_reader_left(&reader) == 0;
}

daybook_status dbk_block_memory_event(const dbk_block_memory *block, uint32_t index, dbk_event *event_out) {
    DBK_ASSERT(index < block->head.event_count);
    const dbk_block_row *row = &block->rows[index];
    memset(event_out, 0, sizeof *event_out);
    event_out->stream_id = row->stream_id;
    event_out->position = row->position;
    event_out->seq = row->seq;
    event_out->version = row->version;
    event_out->recorded_ns = row->recorded_ns;
    uint32_t begin = block->offsets[index];
    return dbk_event_decode_body(daybook_bytes(block->bodies + begin, block->offsets[index + 1] - begin),
                                 event_out);
}
