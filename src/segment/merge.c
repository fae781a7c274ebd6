// SPDX-License-Identifier: Apache-2.0
// Merges neighbouring segments into one, streaming.
//
//   1. Liveness. The stream terms of the inputs say which stream each position belongs to; every event is
//      asked for once, without reading a block, and the answers are kept in two sparse bitmaps. Later
//      questions are answered from there, so that the result is of one piece even where the answers change
//      meanwhile.
//   2. Blocks, input by input. A block without removed events goes over as it is, under a new checksum and
//      with the new number of its dictionary; other blocks are decoded and their live events added to an open
//      block, compressed with the dictionary they had. Small leftovers (below a quarter of a block) are
//      packed again as well. Ids of removed events go to the gatherer (gather.c), which keeps to its memory.
//   3. Terms, all inputs and the gatherer at once (terms.c), straight into the new dictionary.
//
// Memory: the bitmaps (8 KiB for each 65,536 positions with a removal), the union of the stream directories,
// the inputs' dictionaries, read-ahead windows and the gatherer within config->memory_max.
//
// At the end the live events counted in step 1 must be those written in step 2: index and blocks agree or
// nothing is written. Other failure modes: damage of an input (EDAMAGED, naming it), the vfs's, ENOMEM,
// ECLOSED when interrupted. In every case the new file is removed. One thread; inputs may be read by others
// meanwhile.
#include "base/assert.h"
#include "segment/assembly.h"
#include "segment/gather.h"
#include "segment/reader.h"

enum {
    BITS_PER_PAGE = 65536,
    INTERRUPT_BLOCKS = 64,
    WINDOW_MIN = 16 * 1024,
    WINDOW_MAX = 256 * 1024,
    PACKED_SIZE_MAX = DBK_BLOCK_TARGET / 4,
};

// A set of u32 numbers below a limit, pages of it made as needed.
typedef struct sparse_set {
    uint64_t **pages;
    size_t page_count;
    bool is_empty;
} sparse_set;

typedef struct merged_stream {
    dbk_segment_stream stream;
    bool is_gone;
    bool ids_age; // known in the window from when they were recorded
    // Seqs of the ends are looked up where the events that had them are gone.
    bool knows_first_seq, knows_last_seq;
} merged_stream;

typedef struct segment_merger {
    const dbk_segment_config *config;
    const daybook_allocator *allocator;
    dbk_segment *const *inputs;
    size_t input_count;
    uint64_t position_first;
    dbk_segment_is_live is_live;
    void *is_live_context;
    int64_t now_ns;
    bool (*interrupted)(void *context);
    void *interrupted_context;
    daybook_error *error;

    sparse_set removed, for_ever;
    merged_stream *streams; // ascending by id
    size_t stream_count;
    uint64_t live_count;
    uint64_t next_position; // blocks begin there or later

    uint32_t **dictionary_numbers; // per input, of the new file, by old number (0 stays 0)
    dbk_dictionary_encoder *encoder;
    uint32_t encoder_dictionary;

    dbk_block_builder *builder;
    uint32_t builder_dictionary;
    dbk_gather *gather;
    dbk_buf payload;
    size_t window_size;
    dbk_assembly assembly;
} segment_merger;

static daybook_status out_of_memory(const segment_merger *merger) {
    return dbk_fail(merger->error, DAYBOOK_ENOMEM, "out of memory merging segments into %s",
                    merger->assembly.path);
}

static daybook_status check_interrupt(const segment_merger *merger) {
    if (merger->interrupted == NULL || !merger->interrupted(merger->interrupted_context)) return DAYBOOK_OK;
    return dbk_fail(merger->error, DAYBOOK_ECLOSED, "the merge was stopped");
}

// ---- Sparse set -------------------------------------------------------------------------------------------

static daybook_status set_init(sparse_set *set, const daybook_allocator *allocator, uint64_t limit) {
    set->page_count = (size_t)(limit / BITS_PER_PAGE) + 1;
    set->pages = dbk_alloc_zeroed(allocator, set->page_count * sizeof *set->pages);
    set->is_empty = true;
    return set->pages == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
}

static void set_deinit(sparse_set *set, const daybook_allocator *allocator) {
    for (size_t i = 0; set->pages != NULL && i < set->page_count; i++) dbk_free(allocator, set->pages[i]);
    dbk_free(allocator, set->pages);
}

static daybook_status set_add(sparse_set *set, const daybook_allocator *allocator, uint32_t number) {
    uint64_t **page = &set->pages[number / BITS_PER_PAGE];
    if (*page == NULL) *page = dbk_alloc_zeroed(allocator, BITS_PER_PAGE / 8);
    if (*page == NULL) return DAYBOOK_ENOMEM;
    uint32_t bit = number % BITS_PER_PAGE;
    (*page)[bit / 64] |= UINT64_C(1) << bit % 64;
    set->is_empty = false;
    return DAYBOOK_OK;
}

static bool set_has(const sparse_set *set, uint32_t number) {
    const uint64_t *page = set->pages[number / BITS_PER_PAGE];
    uint32_t bit = number % BITS_PER_PAGE;
    return page != NULL && (page[bit / 64] >> bit % 64 & 1) != 0;
}

static bool set_has_any(const sparse_set *set, uint32_t first, uint32_t last) {
    if (set->is_empty) return false;
    for (uint64_t number = first; number <= last;) {
        uint32_t bit = number % BITS_PER_PAGE;
        const uint64_t *page = set->pages[number / BITS_PER_PAGE];
        if (page == NULL) {
            number += BITS_PER_PAGE - bit;
            continue;
        }
        uint64_t word = page[bit / 64] >> bit % 64;
        if (word == 0) {
            number += 64 - bit % 64;
            continue;
        }
        return number + (uint64_t)__builtin_ctzll(word) <= last;
    }
    return false;
}

// ---- Streams and liveness ---------------------------------------------------------------------------------

static merged_stream *find_stream(const segment_merger *merger, uint32_t stream_id) {
    size_t low = 0, high = merger->stream_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (merger->streams[middle].stream.stream_id < stream_id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == merger->stream_count || merger->streams[low].stream.stream_id != stream_id) return NULL;
    return &merger->streams[low];
}

static int compare_streams(const void *a, const void *b) {
    uint32_t left = ((const merged_stream *)a)->stream.stream_id,
             right = ((const merged_stream *)b)->stream.stream_id;
    return (left > right) - (left < right);
}

// The union of the directories: cost and highest seq only, the rest comes from the events that live.
static daybook_status unite_streams(segment_merger *merger) {
    size_t total = 0, count = 0;
    for (size_t i = 0; i < merger->input_count; i++) total += merger->inputs[i]->footer.summary.stream_count;
    merger->streams = dbk_alloc_zeroed(merger->allocator, total * sizeof *merger->streams);
    if (merger->streams == NULL) return out_of_memory(merger);
    for (size_t i = 0; i < merger->input_count; i++) {
        const dbk_footer *footer = &merger->inputs[i]->footer;
        for (uint32_t j = 0; j < footer->summary.stream_count; j++) {
            merged_stream *stream = &merger->streams[count++];
            stream->stream.stream_id = footer->streams[j].stream_id;
            stream->stream.cost_bytes = footer->streams[j].cost_bytes;
            stream->stream.seq_max = footer->streams[j].seq_max;
        }
    }
    if (count > 1) qsort(merger->streams, count, sizeof *merger->streams, compare_streams);
    for (size_t i = 0; i < count; i++) {
        merged_stream *last = merger->stream_count == 0 ? NULL : &merger->streams[merger->stream_count - 1];
        const merged_stream *added = &merger->streams[i];
        if (last == NULL || last->stream.stream_id != added->stream.stream_id) {
            merger->streams[merger->stream_count++] = *added;
            continue;
        }
        last->stream.cost_bytes += added->stream.cost_bytes;
        if (added->stream.seq_max > last->stream.seq_max) last->stream.seq_max = added->stream.seq_max;
    }
    for (size_t i = 0; i < merger->stream_count; i++) {
        merged_stream *stream = &merger->streams[i];
        stream->is_gone = merger->is_live(merger->is_live_context, stream->stream.stream_id,
                                          merger->position_first) == DBK_STREAM_GONE;
    }
    return DAYBOOK_OK;
}

static daybook_status note_removed(segment_merger *merger, uint32_t number, bool for_ever) {
    if (set_add(&merger->removed, merger->allocator, number) != DAYBOOK_OK) return out_of_memory(merger);
    if (for_ever && set_add(&merger->for_ever, merger->allocator, number) != DAYBOOK_OK)
        return out_of_memory(merger);
    return DAYBOOK_OK;
}

static void note_live(segment_merger *merger, const dbk_segment *input, merged_stream *stream,
                      uint64_t position) {
    dbk_segment_stream *merged = &stream->stream, known;
    bool is_known = dbk_segment_find_stream(input, merged->stream_id, &known);
    if (merged->event_count++ == 0) {
        merged->first_position = position;
        stream->knows_first_seq = is_known && known.first_position == position;
        if (stream->knows_first_seq) merged->first_seq = known.first_seq;
    }
    merged->last_position = position;
    stream->knows_last_seq = is_known && known.last_position == position;
    if (stream->knows_last_seq) merged->last_seq = known.last_seq;
    merger->live_count++;
}

static daybook_status ask_stream(segment_merger *merger, const dbk_segment *input, dbk_term_source *source,
                                 merged_stream *stream) {
    uint64_t base = input->footer.summary.position_first;
    uint64_t first_live = 0, last_live = 0, live = 0;
    for (;;) {
        uint32_t numbers[DBK_TERM_TAKE_MAX];
        size_t count;
        DBK_TRY(source->take(source, numbers, DBK_TERM_TAKE_MAX, &count, merger->error));
        if (count == 0) break;
        for (size_t i = 0; i < count; i++) {
            uint64_t position = base + numbers[i];
            dbk_liveness liveness = DBK_STREAM_GONE;
            if (!stream->is_gone)
                liveness = merger->is_live(merger->is_live_context, stream->stream.stream_id, position);
            if (liveness != DBK_LIVE) {
                uint32_t number = (uint32_t)(position - merger->position_first);
                if (liveness == DBK_REMOVED_BY_AGE_OF_ID) stream->ids_age = true;
                DBK_TRY(note_removed(merger, number, liveness == DBK_REMOVED_FOR_EVER));
                continue;
            }
            if (live++ == 0) first_live = position;
            last_live = position;
        }
    }
    if (live == 0) return DAYBOOK_OK;
    note_live(merger, input, stream, first_live);
    if (live > 1) note_live(merger, input, stream, last_live);
    stream->stream.event_count += live > 1 ? live - 2 : 0;
    merger->live_count += live > 1 ? live - 2 : 0;
    return DAYBOOK_OK;
}

static daybook_status ask_input(segment_merger *merger, dbk_segment *input) {
    uint8_t kind = DBK_TERM_STREAM;
    dbk_term_source *source;
    DBK_TRY(
        dbk_segment_source_open(input, daybook_bytes(&kind, 1), merger->window_size, &source, merger->error));
    daybook_status status;
    while ((status = source->next(source, merger->error)) == DAYBOOK_OK) {
        status = check_interrupt(merger);
        if (status != DAYBOOK_OK) break;
        const uint8_t *term = source->term.data;
        merged_stream *stream = NULL;
        if (source->term.size == 5)
            stream = find_stream(merger, (uint32_t)term[1] << 24 | (uint32_t)term[2] << 16 |
                                             (uint32_t)term[3] << 8 | term[4]);
        if (stream == NULL)
            status = dbk_segment_page_damaged(input, input->footer.root.offset, merger->error);
        else
            status = ask_stream(merger, input, source, stream);
        if (status != DAYBOOK_OK) break;
    }
    source->close(source);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

// ---- Dictionaries -----------------------------------------------------------------------------------------

static daybook_status take_dictionaries(segment_merger *merger) {
    merger->dictionary_numbers =
        dbk_alloc_zeroed(merger->allocator, merger->input_count * sizeof *merger->dictionary_numbers);
    if (merger->dictionary_numbers == NULL) return out_of_memory(merger);
    for (size_t i = 0; i < merger->input_count; i++) {
        const dbk_segment *input = merger->inputs[i];
        uint32_t count = input->footer.dictionary_count;
        uint32_t *numbers = dbk_alloc_zeroed(merger->allocator, (size_t)(count + 1) * sizeof *numbers);
        if (numbers == NULL) return out_of_memory(merger);
        merger->dictionary_numbers[i] = numbers;
        for (uint32_t number = 1; number <= count; number++) {
            uint8_t bytes[DBK_DICTIONARY_SIZE_MAX + DBK_CHUNK_CHECKSUM_SIZE];
            DBK_TRY(dbk_segment_read_dictionary(input, number, bytes, merger->error));
            dbk_slice dictionary = daybook_bytes(bytes, input->footer.dictionaries[number - 1].size);
            DBK_TRY(
                dbk_assembly_add_dictionary(&merger->assembly, dictionary, &numbers[number], merger->error));
        }
    }
    return DAYBOOK_OK;
}

// The encoder for a dictionary of the new file; events of one input mostly have the same.
static daybook_status use_encoder(segment_merger *merger, uint32_t dictionary) {
    if (merger->encoder_dictionary == dictionary) return DAYBOOK_OK;
    dbk_dictionary_encoder_free(merger->allocator, merger->encoder);
    merger->encoder = NULL;
    merger->encoder_dictionary = 0;
    if (dictionary == 0) return DAYBOOK_OK;
    const dbk_dictionary_place *places = (const void *)merger->assembly.dictionaries.data;
    size_t offset = 0;
    for (uint32_t i = 0; i + 1 < dictionary; i++) offset += places[i].size;
    dbk_slice bytes =
        daybook_bytes(merger->assembly.dictionary_bytes.data + offset, places[dictionary - 1].size);
    daybook_status status = dbk_dictionary_encoder_new(merger->allocator, bytes, &merger->encoder);
    if (status == DAYBOOK_EDAMAGED)
        return dbk_fail_damaged(merger->error, merger->inputs[0]->path, 0,
                                "a dictionary of the segments from %s on is damaged; run daybook verify",
                                merger->inputs[0]->path);
    if (status != DAYBOOK_OK) return out_of_memory(merger);
    merger->encoder_dictionary = dictionary;
    return DAYBOOK_OK;
}

// ---- Blocks -----------------------------------------------------------------------------------------------

static daybook_status close_block(segment_merger *merger) {
    if (dbk_block_builder_count(merger->builder) == 0) return DAYBOOK_OK;
    DBK_TRY(use_encoder(merger, merger->builder_dictionary));
    dbk_block_head head;
    dbk_slice payload;
    if (dbk_block_builder_finish(merger->builder, merger->encoder, merger->builder_dictionary, &head,
                                 &payload) != DAYBOOK_OK)
        return out_of_memory(merger);
    return dbk_assembly_add_block(&merger->assembly, &head, payload, merger->error);
}

static daybook_status keep_event(segment_merger *merger, const dbk_event *event, uint32_t dictionary) {
    // The events of a block may come from several; the dictionary of the first is as good as any.
    if (dbk_block_builder_is_full(merger->builder, event->body.size)) DBK_TRY(close_block(merger));
    if (dbk_block_builder_count(merger->builder) == 0) merger->builder_dictionary = dictionary;
    if (dbk_block_builder_add(merger->builder, event) != DAYBOOK_OK) return out_of_memory(merger);
    return DAYBOOK_OK;
}

static daybook_status drop_event(segment_merger *merger, const dbk_event *event, bool for_ever) {
    merged_stream *stream = find_stream(merger, event->stream_id);
    if (stream == NULL || stream->is_gone) return DAYBOOK_OK;
    uint64_t cost = dbk_event_cost(event);
    stream->stream.cost_bytes -= cost < stream->stream.cost_bytes ? cost : stream->stream.cost_bytes;
    dbk_dead_id dead;
    memset(&dead, 0, sizeof dead);
    dbk_id_hash(dbk_get_u64(merger->config->store_uuid.bytes), event->stream_id, event->id_key, dead.hash);
    dead.stream_id = event->stream_id;
    dead.for_ever = for_ever;
    dead.removed_ns = stream->ids_age ? event->recorded_ns : merger->now_ns;
    return dbk_gather_dead_id(merger->gather, &dead, merger->error);
}

static daybook_status rewrite_block(segment_merger *merger, dbk_segment *input, uint32_t block_number,
                                    uint32_t dictionary, dbk_block_view *view) {
    DBK_TRY(dbk_block_load(input, block_number, view, merger->error));
    for (uint32_t i = 0; i < view->event_count; i++) {
        dbk_event event;
        DBK_TRY(dbk_block_event(view, i, &event, merger->error));
        uint32_t number = (uint32_t)(event.position - merger->position_first);
        if (set_has(&merger->removed, number))
            DBK_TRY(drop_event(merger, &event, set_has(&merger->for_ever, number)));
        else
            DBK_TRY(keep_event(merger, &event, dictionary));
    }
    return DAYBOOK_OK;
}

static daybook_status copy_block(segment_merger *merger, dbk_block_head *head, dbk_slice stored,
                                 uint32_t dictionary) {
    DBK_TRY(close_block(merger));
    head->dictionary = dictionary;
    dbk_buf_reset(&merger->payload);
    dbk_block_head_encode(head, &merger->payload);
    dbk_buf_append_slice(&merger->payload, stored);
    if (merger->payload.failed) return out_of_memory(merger);
    dbk_slice payload = daybook_bytes(merger->payload.data, merger->payload.size);
    return dbk_assembly_add_block(&merger->assembly, head, payload, merger->error);
}

static daybook_status merge_block(segment_merger *merger, size_t input_index, const dbk_block_info *info,
                                  dbk_file_window *window, dbk_block_view *view) {
    dbk_segment *input = merger->inputs[input_index];
    uint64_t base = merger->position_first;
    // A hostile index may name positions in front of the segment's range, or twice.
    if (info->position_first < input->footer.summary.position_first ||
        info->position_first < merger->next_position)
        return dbk_block_damaged(input, info->file_offset, merger->error);
    merger->next_position = info->position_last + 1;
    dbk_slice payload, stored;
    DBK_TRY(dbk_file_window_chunk(window, info->file_offset, info->file_bytes - DBK_CHUNK_CHECKSUM_SIZE,
                                  "a block of events", &payload, merger->error));
    dbk_block_head head;
    if (!dbk_block_head_decode(payload, &head, &stored) || !dbk_block_head_matches(&head, info) ||
        head.dictionary > input->footer.dictionary_count)
        return dbk_block_damaged(input, info->file_offset, merger->error);
    uint32_t dictionary = merger->dictionary_numbers[input_index][head.dictionary];
    bool has_removed = set_has_any(&merger->removed, (uint32_t)(info->position_first - base),
                                   (uint32_t)(info->position_last - base));
    if (!has_removed && head.bodies_size > PACKED_SIZE_MAX)
        return copy_block(merger, &head, stored, dictionary);
    return rewrite_block(merger, input, info->block_number, dictionary, view);
}

static daybook_status merge_blocks_of(segment_merger *merger, size_t input_index) {
    dbk_segment *input = merger->inputs[input_index];
    dbk_file_window window;
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    daybook_status status =
        dbk_file_window_init(&window, merger->allocator, &input->reader, merger->window_size);
    if (status != DAYBOOK_OK) status = out_of_memory(merger);
    for (uint32_t number = 0; status == DAYBOOK_OK && number < dbk_segment_block_count(input); number++) {
        dbk_block_info info;
        if (number % INTERRUPT_BLOCKS == 0) status = check_interrupt(merger);
        if (status == DAYBOOK_OK) status = dbk_segment_block_info(input, number, &info, merger->error);
        if (status == DAYBOOK_OK) status = merge_block(merger, input_index, &info, &window, &view);
    }
    dbk_block_release(&view);
    dbk_file_window_deinit(&window);
    return status;
}

// ---- Terms ------------------------------------------------------------------------------------------------

static bool is_removed(void *context, uint32_t number) {
    const segment_merger *merger = context;
    return set_has(&merger->removed, number);
}

static bool is_stream_gone(void *context, uint32_t stream_id) {
    const segment_merger *merger = context;
    const merged_stream *stream = find_stream(merger, stream_id);
    if (stream != NULL) return stream->is_gone;
    // Known only from dead ids or versions of an earlier merge.
    return merger->is_live(merger->is_live_context, stream_id, merger->position_first) == DBK_STREAM_GONE;
}

static daybook_status read_seq(segment_merger *merger, uint64_t position, uint64_t *seq_out,
                               daybook_error *error) {
    size_t i = 0; // Numbers of terms were compared with their segment's range: one of the inputs has it.
    while (position > merger->inputs[i]->footer.summary.position_last) i++;
    DBK_ASSERT(i < merger->input_count);
    dbk_segment *input = merger->inputs[i];
    dbk_block_place place;
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    daybook_status status = dbk_segment_find_block(input, position, &place, error);
    if (status == DAYBOOK_OK) status = dbk_block_load_at(input, &place, &view, error);
    bool is_found = false;
    if (status == DAYBOOK_OK) {
        const dbk_block_row *row = &view.memory->rows[dbk_block_find(&view, position)];
        is_found = row->position == position;
        *seq_out = row->seq;
    }
    dbk_block_release(&view);
    if (is_found || (status != DAYBOOK_OK && status != DAYBOOK_END)) return status;
    return dbk_fail_damaged(error, input->path, 0,
                            "the index of %s names position %llu, which no block has; run "
                            "daybook verify",
                            input->path, (unsigned long long)position);
}

static daybook_status seq_of(void *context, uint32_t number, uint64_t *seq_out, daybook_error *error) {
    segment_merger *merger = context;
    return read_seq(merger, merger->position_first + number, seq_out, error);
}

static daybook_status merge_sources(segment_merger *merger, dbk_term_source *const *sources, size_t count,
                                    int64_t forget_before_ns, dbk_tree_root *root_out, dbk_buf *parts,
                                    dbk_buf *separators) {
    dbk_term_filter filter;
    memset(&filter, 0, sizeof filter);
    filter.context = merger;
    filter.is_removed = merger->removed.is_empty ? NULL : is_removed;
    filter.is_stream_gone = is_stream_gone;
    filter.seq_of = seq_of;
    filter.forget_before_ns = forget_before_ns;
    filter.interrupted = merger->interrupted;
    filter.interrupted_context = merger->interrupted_context;
    dbk_tree_builder *tree;
    if (dbk_tree_builder_new(merger->allocator, &merger->assembly.file, &tree) != DAYBOOK_OK)
        return out_of_memory(merger);
    daybook_status status = dbk_terms_merge(merger->allocator, sources, count, &filter, tree, merger->error);
    if (status == DAYBOOK_OK)
        status = dbk_tree_builder_finish(tree, root_out, parts, separators, merger->error);
    dbk_tree_builder_free(tree);
    return status;
}

static daybook_status merge_terms(segment_merger *merger, int64_t forget_before_ns, dbk_tree_root *root_out,
                                  dbk_buf *parts, dbk_buf *separators) {
    dbk_term_source *const *gathered;
    size_t gathered_count, opened = 0;
    DBK_TRY(dbk_gather_finish(merger->gather, &gathered, &gathered_count, merger->error));
    size_t count = merger->input_count + gathered_count;
    dbk_term_source **sources = dbk_resize_array(merger->allocator, NULL, count, sizeof *sources);
    if (sources == NULL) return out_of_memory(merger);
    daybook_status status = DAYBOOK_OK;
    for (; opened < merger->input_count; opened++) {
        dbk_segment *input = merger->inputs[opened];
        status = dbk_segment_source_open(input, daybook_bytes(NULL, 0), merger->window_size, &sources[opened],
                                         merger->error);
        if (status != DAYBOOK_OK) break;
        sources[opened]->rebase = (uint32_t)(input->footer.summary.position_first - merger->position_first);
    }
    memcpy(sources + merger->input_count, gathered, gathered_count * sizeof *sources);
    if (status == DAYBOOK_OK)
        status = merge_sources(merger, sources, count, forget_before_ns, root_out, parts, separators);
    for (size_t i = 0; i < opened; i++) sources[i]->close(sources[i]);
    dbk_free(merger->allocator, sources);
    return status;
}

// ---- All of it --------------------------------------------------------------------------------------------

static daybook_status check_inputs(const segment_merger *merger, uint64_t position_last) {
    uint64_t next = merger->position_first;
    for (size_t i = 0; i < merger->input_count; i++) {
        const dbk_segment_summary *summary = &merger->inputs[i]->footer.summary;
        if (summary->position_first < next || summary->position_last > position_last)
            return dbk_fail(merger->error, DAYBOOK_EMISUSE,
                            "the segments to be merged are not neighbours in order");
        if (memcmp(&merger->inputs[i]->footer.store_uuid, &merger->config->store_uuid, sizeof(dbk_uuid)) != 0)
            return dbk_fail(merger->error, DAYBOOK_EFOREIGN, "%s belongs to another store",
                            merger->inputs[i]->path);
        next = summary->position_last + 1;
    }
    return DAYBOOK_OK;
}

static daybook_status begin(segment_merger *merger, uint64_t position_last) {
    if (merger->input_count == 0)
        return dbk_fail(merger->error, DAYBOOK_EMISUSE, "there is nothing to merge");
    size_t memory_max = dbk_segment_memory_max(merger->config);
    // Half of the memory for gathered ids, a quarter for windows: two for each input and one for blocks.
    merger->window_size = memory_max / 4 / (2 * merger->input_count + 1);
    if (merger->window_size < WINDOW_MIN) merger->window_size = WINDOW_MIN;
    if (merger->window_size > WINDOW_MAX) merger->window_size = WINDOW_MAX;
    DBK_TRY(dbk_assembly_open(&merger->assembly, merger->config, merger->position_first, position_last,
                              merger->error));
    DBK_TRY(check_inputs(merger, position_last));
    uint64_t limit = position_last - merger->position_first;
    dbk_buf_init(&merger->payload, merger->allocator, DBK_BLOCK_FILE_SIZE_MAX);
    if (set_init(&merger->removed, merger->allocator, limit) != DAYBOOK_OK ||
        set_init(&merger->for_ever, merger->allocator, limit) != DAYBOOK_OK ||
        dbk_block_builder_new(merger->allocator, &merger->builder) != DAYBOOK_OK ||
        dbk_gather_new(merger->allocator, merger->config->vfs, merger->assembly.terms_path, memory_max / 2,
                       &merger->gather) != DAYBOOK_OK)
        return out_of_memory(merger);
    return DAYBOOK_OK;
}

static daybook_status merge_blocks(segment_merger *merger) {
    DBK_TRY(take_dictionaries(merger));
    DBK_TRY(unite_streams(merger));
    for (size_t i = 0; i < merger->input_count; i++) DBK_TRY(ask_input(merger, merger->inputs[i]));
    for (size_t i = 0; i < merger->input_count; i++) DBK_TRY(merge_blocks_of(merger, i));
    DBK_TRY(close_block(merger));
    DBK_TRY(dbk_assembly_end_blocks(&merger->assembly, merger->error));
    if (merger->assembly.summary.event_count == merger->live_count) return DAYBOOK_OK;
    return dbk_fail_damaged(
        merger->error, merger->inputs[0]->path, 0,
        "index and blocks of the segments from %s on disagree on how many events there are; run "
        "daybook verify",
        merger->inputs[0]->path);
}

// What is left of the streams, in place as plain records.
static daybook_status finish_streams(segment_merger *merger, dbk_segment_stream **streams_out,
                                     uint32_t *count_out) {
    dbk_segment_stream *streams =
        dbk_resize_array(merger->allocator, NULL, merger->stream_count + 1, sizeof *streams);
    if (streams == NULL) return out_of_memory(merger);
    *streams_out = streams; // Freed by the caller, also after a failure.
    uint32_t count = 0;
    for (size_t i = 0; i < merger->stream_count; i++) {
        merged_stream *stream = &merger->streams[i];
        dbk_segment_stream *merged = &stream->stream;
        if (stream->is_gone) continue;
        if (merged->event_count == 0) merged->cost_bytes = 0;
        if (merged->event_count > 0 && !stream->knows_first_seq)
            DBK_TRY(read_seq(merger, merged->first_position, &merged->first_seq, merger->error));
        if (merged->event_count > 0 && !stream->knows_last_seq)
            DBK_TRY(read_seq(merger, merged->last_position, &merged->last_seq, merger->error));
        streams[count++] = *merged;
    }
    *count_out = count;
    return DAYBOOK_OK;
}

static void end(segment_merger *merger) {
    dbk_gather_free(merger->gather);
    dbk_block_builder_free(merger->builder);
    dbk_dictionary_encoder_free(merger->allocator, merger->encoder);
    for (size_t i = 0; merger->dictionary_numbers != NULL && i < merger->input_count; i++)
        dbk_free(merger->allocator, merger->dictionary_numbers[i]);
    dbk_free(merger->allocator, merger->dictionary_numbers);
    dbk_free(merger->allocator, merger->streams);
    set_deinit(&merger->removed, merger->allocator);
    set_deinit(&merger->for_ever, merger->allocator);
    if (merger->payload.allocator != NULL) dbk_buf_deinit(&merger->payload);
    if (merger->assembly.allocator != NULL) dbk_assembly_abort(&merger->assembly);
    dbk_free(merger->allocator, merger);
}

daybook_status dbk_segment_merge(const dbk_segment_config *config, dbk_segment *const *inputs,
                                 size_t input_count, uint64_t position_first, uint64_t position_last,
                                 dbk_segment_is_live is_live, void *is_live_context, int64_t now_ns,
                                 int64_t forget_before_ns, bool (*interrupted)(void *context),
                                 void *interrupted_context, dbk_slice catalogue,
                                 dbk_segment_summary *summary_out, daybook_error *error) {
    segment_merger *merger = dbk_alloc_zeroed(config->allocator, sizeof *merger);
    if (merger == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory beginning a merge");
    merger->config = config;
    merger->allocator = config->allocator;
    merger->inputs = inputs;
    merger->input_count = input_count;
    merger->position_first = position_first;
    merger->is_live = is_live;
    merger->is_live_context = is_live_context;
    merger->now_ns = now_ns;
    merger->interrupted = interrupted;
    merger->interrupted_context = interrupted_context;
    merger->error = error;

    dbk_buf parts, separators;
    dbk_buf_init(&parts, config->allocator, SIZE_MAX / 2);
    dbk_buf_init(&separators, config->allocator, SIZE_MAX / 2);
    dbk_segment_stream *streams = NULL;
    uint32_t stream_count = 0;
    dbk_tree_root root;
    daybook_status status = begin(merger, position_last);
    if (status == DAYBOOK_OK) status = merge_blocks(merger);
    if (status == DAYBOOK_OK) status = merge_terms(merger, forget_before_ns, &root, &parts, &separators);
    if (status == DAYBOOK_OK) status = finish_streams(merger, &streams, &stream_count);
    if (status == DAYBOOK_OK)
        status = dbk_assembly_finish(&merger->assembly, &root, &parts, &separators, streams, stream_count,
                                     catalogue, summary_out, error);
    dbk_free(config->allocator, streams);
    dbk_buf_deinit(&parts);
    dbk_buf_deinit(&separators);
    end(merger);
    return status;
}
