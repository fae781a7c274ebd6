// SPDX-License-Identifier: Apache-2.0
// An edit of the manifest: records of what changes, as bytes, and applying them to a manifest in memory.
//
// Records follow each other without a gap, each a type byte and varints; signed times are zigzag varints,
// texts a length and bytes, the digest of a segment 32 bytes as they are: see record_type and the functions
// that write them. The same bytes are an edit, a snapshot (all records needed to begin from nothing), and the
// copy of the catalogue in a segment.
//
// Applying is done in two steps, so that an edit that has been made durable cannot fail: first everything is
// checked, counted and copied (dbk_manifest_prepare), then it is put in (dbk_manifest_take). Within an edit
// the last word about a thing counts.
//
// Failure modes: EDAMAGED for bytes that are no records; ENOMEM. Either leaves the manifest as it was.
//
// Threads: none of its own.
#include "store/manifest_edit.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

typedef enum record_type {
    RECORD_FLUSHED = 1,     // flushed_position, last_recorded_ns
    RECORD_NEXT_IDS = 2,    // next_segment_id, next_stream_id
    RECORD_JOURNAL = 3,     // start_lsn, durable_lsn, first_lsn, count, pieces...
    RECORD_INCARNATION = 4, // incarnation
    RECORD_CLOSED = 5,      // 0 or 1
    RECORD_SEGMENT = 6,     // summary, generation of its deletions
    RECORD_NO_SEGMENT = 7,  // segment id
    RECORD_DELETIONS = 8,   // segment id, generation
    RECORD_STREAM = 9,      // state
    RECORD_NO_STREAM = 10,  // stream id
    RECORD_ENTRY = 11,      // kind, key, value
    RECORD_NO_ENTRY = 12,   // kind, key
    RECORD_TRIM_FROM = 13,  // position
    RECORD_POSITIONS = 14,  // positions_end
} record_type;

// ---- Edits ----------------------------------------------------------------------------------------------

void dbk_manifest_edit_init(dbk_manifest_edit *edit, const daybook_allocator *allocator) {
    dbk_buf_init(&edit->records, allocator, DBK_MANIFEST_EDIT_SIZE_MAX);
}

void dbk_manifest_edit_deinit(dbk_manifest_edit *edit) {
    dbk_buf_deinit(&edit->records);
}

static void write_varints(dbk_buf *buf, record_type type, const uint64_t *values, size_t count) {
    dbk_buf_append_u8(buf, (uint8_t)type);
    for (size_t i = 0; i < count; i++) dbk_buf_append_varint(buf, values[i]);
}

void dbk_manifest_edit_set_flushed(dbk_manifest_edit *edit, uint64_t flushed_position,
                                   int64_t last_recorded_ns) {
    uint64_t values[] = {flushed_position, dbk_zigzag(last_recorded_ns)};
    write_varints(&edit->records, RECORD_FLUSHED, values, 2);
}

void dbk_manifest_edit_set_trim_from(dbk_manifest_edit *edit, uint64_t position) {
    write_varints(&edit->records, RECORD_TRIM_FROM, &position, 1);
}

void dbk_manifest_edit_set_positions_end(dbk_manifest_edit *edit, uint64_t position) {
    write_varints(&edit->records, RECORD_POSITIONS, &position, 1);
}

void dbk_manifest_edit_set_next_ids(dbk_manifest_edit *edit, uint64_t next_segment_id,
                                    uint32_t next_stream_id) {
    uint64_t values[] = {next_segment_id, next_stream_id};
    write_varints(&edit->records, RECORD_NEXT_IDS, values, 2);
}

void dbk_manifest_edit_set_journal(dbk_manifest_edit *edit, uint64_t start_lsn, uint64_t durable_lsn,
                                   const dbk_journal_map *map) {
    uint64_t values[] = {start_lsn, durable_lsn, map->first_lsn, map->piece_count};
    write_varints(&edit->records, RECORD_JOURNAL, values, 4);
    for (uint32_t i = 0; i < map->piece_count; i++) dbk_buf_append_varint(&edit->records, map->pieces[i]);
}

void dbk_manifest_edit_set_incarnation(dbk_manifest_edit *edit, uint64_t incarnation) {
    write_varints(&edit->records, RECORD_INCARNATION, &incarnation, 1);
}

void dbk_manifest_edit_set_closed_clean(dbk_manifest_edit *edit, bool closed_clean) {
    uint64_t value = closed_clean;
    write_varints(&edit->records, RECORD_CLOSED, &value, 1);
}

void dbk_manifest_edit_add_segment(dbk_manifest_edit *edit, const dbk_manifest_segment *segment) {
    const dbk_segment_summary *summary = &segment->summary;
    uint64_t values[] = {
        summary->segment_id,
        summary->position_first,
        summary->position_last,
        summary->event_count,
        summary->file_bytes,
        summary->data_bytes,
        dbk_zigzag(summary->recorded_first_ns),
        dbk_zigzag(summary->recorded_last_ns),
        dbk_zigzag(summary->time_min_ns),
        dbk_zigzag(summary->time_max_ns),
        summary->stream_count,
        segment->deletion_generation,
    };
    write_varints(&edit->records, RECORD_SEGMENT, values, sizeof values / sizeof values[0]);
    dbk_buf_append(&edit->records, summary->sha256, sizeof summary->sha256);
}

void dbk_manifest_edit_remove_segment(dbk_manifest_edit *edit, uint64_t segment_id) {
    write_varints(&edit->records, RECORD_NO_SEGMENT, &segment_id, 1);
}

void dbk_manifest_edit_set_deletions(dbk_manifest_edit *edit, uint64_t segment_id, uint64_t generation) {
    uint64_t values[] = {segment_id, generation};
    write_varints(&edit->records, RECORD_DELETIONS, values, 2);
}

void dbk_manifest_edit_put_stream(dbk_manifest_edit *edit, const dbk_manifest_stream *stream) {
    uint64_t values[] = {stream->id,
                         stream->last_seq,
                         stream->first_seq,
                         stream->first_position,
                         stream->message_count,
                         stream->byte_count,
                         dbk_zigzag(stream->last_recorded_ns),
                         stream->purged_position};
    write_varints(&edit->records, RECORD_STREAM, values, sizeof values / sizeof values[0]);
}

void dbk_manifest_edit_remove_stream(dbk_manifest_edit *edit, uint32_t stream_id) {
    uint64_t value = stream_id;
    write_varints(&edit->records, RECORD_NO_STREAM, &value, 1);
}

void dbk_manifest_edit_put_entry(dbk_manifest_edit *edit, dbk_catalogue_kind kind, dbk_slice key,
                                 dbk_slice value) {
    uint64_t number = (uint64_t)kind;
    write_varints(&edit->records, RECORD_ENTRY, &number, 1);
    dbk_buf_append_text(&edit->records, key);
    dbk_buf_append_text(&edit->records, value);
}

void dbk_manifest_edit_remove_entry(dbk_manifest_edit *edit, dbk_catalogue_kind kind, dbk_slice key) {
    uint64_t number = (uint64_t)kind;
    write_varints(&edit->records, RECORD_NO_ENTRY, &number, 1);
    dbk_buf_append_text(&edit->records, key);
}

void dbk_manifest_write_snapshot(const dbk_manifest *manifest, dbk_manifest_edit *edit) {
    dbk_journal_map map = dbk_manifest_journal_map(manifest);
    dbk_manifest_edit_set_incarnation(edit, manifest->incarnation);
    dbk_manifest_edit_set_flushed(edit, manifest->flushed_position, manifest->last_recorded_ns);
    dbk_manifest_edit_set_trim_from(edit, manifest->trim_from);
    if (manifest->positions_end > 0) dbk_manifest_edit_set_positions_end(edit, manifest->positions_end);
    dbk_manifest_edit_set_next_ids(edit, manifest->next_segment_id, manifest->next_stream_id);
    dbk_manifest_edit_set_journal(edit, manifest->journal_start_lsn, manifest->journal_durable_lsn, &map);
    dbk_manifest_edit_set_closed_clean(edit, manifest->closed_clean);
    for (size_t i = 0; i < manifest->segment_count; i++)
        dbk_manifest_edit_add_segment(edit, &manifest->segments[i]);
    for (size_t i = 0; i < manifest->stream_count; i++)
        dbk_manifest_edit_put_stream(edit, &manifest->streams[i]);
    for (size_t i = 0; i < manifest->entry_count; i++) {
        const dbk_manifest_entry *entry = &manifest->entries[i];
        dbk_manifest_edit_put_entry(edit, entry->kind, entry->key, entry->value);
    }
}

// ---- Applying -------------------------------------------------------------------------------------------

static bool read_segment(dbk_reader *reader, dbk_manifest_segment *segment) {
    *segment = (dbk_manifest_segment){0};
    dbk_segment_summary *summary = &segment->summary;
    summary->segment_id = dbk_read_varint(reader);
    summary->position_first = dbk_read_varint(reader);
    summary->position_last = dbk_read_varint(reader);
    summary->event_count = dbk_read_varint(reader);
    summary->file_bytes = dbk_read_varint(reader);
    summary->data_bytes = dbk_read_varint(reader);
    summary->recorded_first_ns = dbk_unzigzag(dbk_read_varint(reader));
    summary->recorded_last_ns = dbk_unzigzag(dbk_read_varint(reader));
    summary->time_min_ns = dbk_unzigzag(dbk_read_varint(reader));
    summary->time_max_ns = dbk_unzigzag(dbk_read_varint(reader));
    uint64_t stream_count = dbk_read_varint(reader);
    segment->deletion_generation = dbk_read_varint(reader);
    dbk_slice digest = dbk_read_bytes(reader, sizeof summary->sha256);
    if (reader->failed || stream_count > UINT32_MAX || summary->position_first > summary->position_last)
        return false;
    summary->stream_count = (uint32_t)stream_count;
    memcpy(summary->sha256, digest.data, sizeof summary->sha256);
    return true;
}

static bool read_stream(dbk_reader *reader, dbk_manifest_stream *stream) {
    uint64_t id = dbk_read_varint(reader);
    stream->last_seq = dbk_read_varint(reader);
    stream->first_seq = dbk_read_varint(reader);
    stream->first_position = dbk_read_varint(reader);
    stream->message_count = dbk_read_varint(reader);
    stream->byte_count = dbk_read_varint(reader);
    stream->last_recorded_ns = dbk_unzigzag(dbk_read_varint(reader));
    stream->purged_position = dbk_read_varint(reader);
    stream->id = (uint32_t)id;
    return !reader->failed && id <= UINT32_MAX;
}

static bool read_kind(dbk_reader *reader, dbk_catalogue_kind *kind) {
    uint64_t number = dbk_read_varint(reader);
    *kind = (dbk_catalogue_kind)number;
    return !reader->failed && number >= 1 && number <= 255;
}

int dbk_manifest_compare_entries(const void *a, const void *b) {
    const dbk_manifest_entry *left = a;
    const dbk_manifest_entry *right = b;
    if (left->kind != right->kind) return left->kind < right->kind ? -1 : 1;
    return dbk_slice_compare(left->key, right->key);
}

int dbk_manifest_compare_streams(const void *a, const void *b) {
    uint32_t left = ((const dbk_manifest_stream *)a)->id;
    uint32_t right = ((const dbk_manifest_stream *)b)->id;
    return left < right ? -1 : left > right;
}

static int compare_segments(const void *a, const void *b) {
    uint64_t left = ((const dbk_manifest_segment *)a)->summary.position_first;
    uint64_t right = ((const dbk_manifest_segment *)b)->summary.position_first;
    return left < right ? -1 : left > right;
}

static bool copy_entry(const daybook_allocator *allocator, const dbk_manifest_entry *from,
                       dbk_manifest_entry *to) {
    uint8_t *bytes = dbk_alloc(allocator, from->key.size + from->value.size);
    if (bytes == NULL) return false;
    if (from->key.size > 0) memcpy(bytes, from->key.data, from->key.size);
    if (from->value.size > 0) memcpy(bytes + from->key.size, from->value.data, from->value.size);
    to->kind = from->kind;
    to->key = daybook_bytes(bytes, from->key.size);
    to->value = daybook_bytes(bytes + from->key.size, from->value.size);
    return true;
}

void dbk_manifest_free_entry(const daybook_allocator *allocator, dbk_manifest_entry *entry) {
    dbk_free(allocator, (void *)(uintptr_t)entry->key.data);
}

// What one record says, of whichever type.
typedef struct record_value {
    record_type type;
    uint64_t numbers[2];
    int64_t time_ns;
    bool flag;
    dbk_manifest_segment segment;
    dbk_manifest_stream stream;
    dbk_manifest_entry entry;
    uint64_t start_lsn, durable_lsn, first_lsn;
    uint32_t piece_count;
    dbk_reader pieces; // at the first of them
} record_value;

static bool read_journal(dbk_reader *reader, record_value *value) {
    value->start_lsn = dbk_read_varint(reader);
    value->durable_lsn = dbk_read_varint(reader);
    value->first_lsn = dbk_read_varint(reader);
    uint64_t count = dbk_read_varint(reader);
    if (reader->failed || count > DBK_JOURNAL_PIECES_MAX) return false;
    value->piece_count = (uint32_t)count;
    value->pieces = *reader;
    for (uint64_t i = 0; i < count; i++) {
        if (dbk_read_varint(reader) >= DBK_JOURNAL_PIECES_MAX) return false;
    }
    return !reader->failed && value->first_lsn % DBK_JOURNAL_PIECE_PAGES == 0;
}

static bool read_record(dbk_reader *reader, record_value *value) {
    value->type = (record_type)dbk_read_u8(reader);
    switch (value->type) {
    case RECORD_FLUSHED:
        value->numbers[0] = dbk_read_varint(reader);
        value->time_ns = dbk_unzigzag(dbk_read_varint(reader));
        break;
    case RECORD_NEXT_IDS:
        value->numbers[0] = dbk_read_varint(reader);
        value->numbers[1] = dbk_read_varint(reader);
        return !reader->failed && value->numbers[1] <= UINT32_MAX;
    case RECORD_DELETIONS:
        value->numbers[0] = dbk_read_varint(reader);
        value->numbers[1] = dbk_read_varint(reader);
        break;
    case RECORD_JOURNAL:
        return read_journal(reader, value);
    case RECORD_TRIM_FROM:
    case RECORD_INCARNATION:
    case RECORD_CLOSED:
    case RECORD_NO_SEGMENT:
        value->numbers[0] = dbk_read_varint(reader);
        break;
    case RECORD_NO_STREAM:
        value->numbers[0] = dbk_read_varint(reader);
        return !reader->failed && value->numbers[0] <= UINT32_MAX;
    case RECORD_POSITIONS:
        value->numbers[0] = dbk_read_varint(reader);
        return !reader->failed && value->numbers[0] <= INT64_MAX;
    case RECORD_SEGMENT:
        return read_segment(reader, &value->segment);
    case RECORD_STREAM:
        return read_stream(reader, &value->stream);
    case RECORD_ENTRY:
    case RECORD_NO_ENTRY:
        if (!read_kind(reader, &value->entry.kind)) return false;
        value->entry.key = dbk_read_text(reader);
        value->entry.value = value->type == RECORD_ENTRY ? dbk_read_text(reader) : daybook_bytes(NULL, 0);
        break;
    default:
        return false;
    }
    return !reader->failed;
}

void dbk_manifest_plan_deinit(const daybook_allocator *allocator, dbk_manifest_plan *plan) {
    for (size_t i = 0; i < plan->entries_made; i++) dbk_manifest_free_entry(allocator, &plan->entries[i]);
    dbk_free(allocator, plan->entries);
    dbk_free(allocator, plan->pieces);
}

// Check the records, count what they add and copy what must be copied. EDAMAGED, ENOMEM.
static daybook_status plan_records(const daybook_allocator *allocator, dbk_slice records,
                                   dbk_manifest_plan *plan) {
    dbk_reader reader;
    dbk_reader_init(&reader, records);
    record_value value;
    while (dbk_reader_left(&reader) > 0) {
        if (!read_record(&reader, &value)) return DAYBOOK_EDAMAGED;
        plan->segment_count += value.type == RECORD_SEGMENT;
        plan->stream_count += value.type == RECORD_STREAM;
        plan->entry_count += value.type == RECORD_ENTRY;
        if (value.type != RECORD_JOURNAL) continue;
        if (plan->has_journal) return DAYBOOK_EDAMAGED; // the plan has one array of pieces
        plan->has_journal = true;
        plan->piece_count = value.piece_count;
    }
    if (plan->piece_count > 0) {
        plan->pieces = dbk_resize_array(allocator, NULL, plan->piece_count, sizeof *plan->pieces);
        if (plan->pieces == NULL) return DAYBOOK_ENOMEM;
    }
    if (plan->entry_count == 0) return DAYBOOK_OK;
    plan->entries = dbk_resize_array(allocator, NULL, plan->entry_count, sizeof *plan->entries);
    if (plan->entries == NULL) return DAYBOOK_ENOMEM;
    dbk_reader_init(&reader, records);
    while (dbk_reader_left(&reader) > 0) {
        (void)read_record(&reader, &value); // checked above
        if (value.type != RECORD_ENTRY) continue;
        if (!copy_entry(allocator, &value.entry, &plan->entries[plan->entries_made])) return DAYBOOK_ENOMEM;
        plan->entries_made++;
    }
    return DAYBOOK_OK;
}

static daybook_status reserve_array(const daybook_allocator *allocator, void **array, size_t count,
                                    size_t size) {
    void *grown = dbk_resize_array(allocator, *array, count, size);
    if (grown == NULL) return DAYBOOK_ENOMEM;
    *array = grown;
    return DAYBOOK_OK;
}

static daybook_status reserve(dbk_manifest *manifest, const dbk_manifest_plan *plan) {
    const daybook_allocator *allocator = manifest->allocator;
    void *array = manifest->segments;
    if (plan->segment_count > 0) {
        DBK_TRY(reserve_array(allocator, &array, manifest->segment_count + plan->segment_count,
                              sizeof *manifest->segments));
        manifest->segments = array;
    }
    if (plan->stream_count > 0) {
        array = manifest->streams;
        DBK_TRY(reserve_array(allocator, &array, manifest->stream_count + plan->stream_count,
                              sizeof *manifest->streams));
        manifest->streams = array;
    }
    if (plan->entry_count > 0) {
        array = manifest->entries;
        DBK_TRY(reserve_array(allocator, &array, manifest->entry_count + plan->entry_count,
                              sizeof *manifest->entries));
        manifest->entries = array;
    }
    return DAYBOOK_OK;
}

// The arrays are sorted up to these counts; what is new is put behind and sorted in at the end, so that a
// snapshot of many thousand streams costs one sort at most.
typedef struct sorted_counts {
    size_t streams;
    size_t entries;
} sorted_counts;

static dbk_manifest_segment *find_segment(const dbk_manifest *manifest, uint64_t segment_id) {
    for (size_t i = 0; i < manifest->segment_count; i++) {
        if (manifest->segments[i].summary.segment_id == segment_id) return &manifest->segments[i];
    }
    return NULL;
}

static void apply_segment(dbk_manifest *manifest, const dbk_manifest_segment *segment) {
    dbk_manifest_segment *old = find_segment(manifest, segment->summary.segment_id);
    if (old == NULL) old = &manifest->segments[manifest->segment_count++];
    *old = *segment;
}

static void apply_no_segment(dbk_manifest *manifest, uint64_t segment_id) {
    dbk_manifest_segment *old = find_segment(manifest, segment_id);
    if (old == NULL) return;
    size_t behind = (size_t)(manifest->segments + manifest->segment_count - (old + 1));
    memmove(old, old + 1, behind * sizeof *old);
    manifest->segment_count--;
}

static void apply_stream(dbk_manifest *manifest, const dbk_manifest_stream *stream,
                         const sorted_counts *sorted) {
    dbk_manifest_stream *old = NULL;
    if (sorted->streams > 0) {
        old =
            bsearch(stream, manifest->streams, sorted->streams, sizeof *stream, dbk_manifest_compare_streams);
    }
    if (old == NULL) old = &manifest->streams[manifest->stream_count++];
    *old = *stream;
}

static void apply_no_stream(dbk_manifest *manifest, uint32_t id, sorted_counts *sorted) {
    for (size_t i = 0; i < manifest->stream_count; i++) {
        if (manifest->streams[i].id != id) continue;
        memmove(&manifest->streams[i], &manifest->streams[i + 1],
                (manifest->stream_count - i - 1) * sizeof *manifest->streams);
        manifest->stream_count--;
        if (i < sorted->streams) sorted->streams--;
        return;
    }
}

static void apply_entry(dbk_manifest *manifest, const dbk_manifest_entry *entry,
                        const sorted_counts *sorted) {
    dbk_manifest_entry *old = NULL;
    if (sorted->entries > 0) {
        old = bsearch(entry, manifest->entries, sorted->entries, sizeof *entry, dbk_manifest_compare_entries);
    }
    if (old != NULL) {
        dbk_manifest_free_entry(manifest->allocator, old);
    } else {
        old = &manifest->entries[manifest->entry_count++];
    }
    *old = *entry;
}

static void apply_no_entry(dbk_manifest *manifest, const dbk_manifest_entry *key, sorted_counts *sorted) {
    for (size_t i = 0; i < manifest->entry_count; i++) {
        if (dbk_manifest_compare_entries(&manifest->entries[i], key) != 0) continue;
        dbk_manifest_free_entry(manifest->allocator, &manifest->entries[i]);
        memmove(&manifest->entries[i], &manifest->entries[i + 1],
                (manifest->entry_count - i - 1) * sizeof *manifest->entries);
        manifest->entry_count--;
        if (i < sorted->entries) sorted->entries--;
        return;
    }
}

static void apply_journal(dbk_manifest *manifest, record_value *value, dbk_manifest_plan *plan) {
    for (uint32_t i = 0; i < value->piece_count; i++)
        plan->pieces[i] = (uint32_t)dbk_read_varint(&value->pieces);
    manifest->journal_start_lsn = value->start_lsn;
    manifest->journal_durable_lsn = value->durable_lsn;
    manifest->journal_first_lsn = value->first_lsn;
    manifest->journal_piece_count = value->piece_count;
    dbk_free(manifest->allocator, manifest->journal_pieces);
    manifest->journal_pieces = plan->pieces;
    plan->pieces = NULL;
}

static void apply_record(dbk_manifest *manifest, record_value *value, dbk_manifest_plan *plan,
                         size_t *entries_used, sorted_counts *sorted) {
    dbk_manifest_segment *segment = NULL;
    switch (value->type) {
    case RECORD_FLUSHED:
        manifest->flushed_position = value->numbers[0];
        manifest->last_recorded_ns = value->time_ns;
        break;
    case RECORD_TRIM_FROM:
        manifest->trim_from = value->numbers[0];
        break;
    case RECORD_POSITIONS:
        manifest->positions_end = value->numbers[0];
        break;
    case RECORD_NEXT_IDS:
        manifest->next_segment_id = value->numbers[0];
        manifest->next_stream_id = (uint32_t)value->numbers[1];
        break;
    case RECORD_JOURNAL:
        apply_journal(manifest, value, plan);
        break;
    case RECORD_INCARNATION:
        manifest->incarnation = value->numbers[0];
        break;
    case RECORD_CLOSED:
        manifest->closed_clean = value->numbers[0] != 0;
        break;
    case RECORD_SEGMENT:
        apply_segment(manifest, &value->segment);
        break;
    case RECORD_NO_SEGMENT:
        apply_no_segment(manifest, value->numbers[0]);
        break;
    case RECORD_DELETIONS:
        segment = find_segment(manifest, value->numbers[0]);
        if (segment != NULL) segment->deletion_generation = value->numbers[1];
        break;
    case RECORD_STREAM:
        apply_stream(manifest, &value->stream, sorted);
        break;
    case RECORD_NO_STREAM:
        apply_no_stream(manifest, (uint32_t)value->numbers[0], sorted);
        break;
    case RECORD_ENTRY:
        apply_entry(manifest, &plan->entries[(*entries_used)++], sorted);
        break;
    default: // RECORD_NO_ENTRY: nothing else passes read_record
        apply_no_entry(manifest, &value->entry, sorted);
        break;
    }
}

static void sort_arrays(dbk_manifest *manifest, const sorted_counts *sorted) {
    if (manifest->segment_count > 1) {
        qsort(manifest->segments, manifest->segment_count, sizeof *manifest->segments, compare_segments);
    }
    if (manifest->stream_count > sorted->streams) {
        qsort(manifest->streams, manifest->stream_count, sizeof *manifest->streams,
              dbk_manifest_compare_streams);
    }
    if (manifest->entry_count > sorted->entries) {
        qsort(manifest->entries, manifest->entry_count, sizeof *manifest->entries,
              dbk_manifest_compare_entries);
    }
}

void dbk_manifest_take(dbk_manifest *manifest, dbk_slice records, dbk_manifest_plan *plan) {
    sorted_counts sorted = {manifest->stream_count, manifest->entry_count};
    size_t entries_used = 0;
    dbk_reader reader;
    dbk_reader_init(&reader, records);
    record_value value;
    while (dbk_reader_left(&reader) > 0) {
        (void)read_record(&reader, &value);
        apply_record(manifest, &value, plan, &entries_used, &sorted);
    }
    sort_arrays(manifest, &sorted);
    plan->entries_made = 0; // all given away
}

daybook_status dbk_manifest_prepare(dbk_manifest *manifest, dbk_slice records, dbk_manifest_plan *plan) {
    DBK_TRY(plan_records(manifest->allocator, records, plan));
    return reserve(manifest, plan);
}

daybook_status dbk_manifest_apply_records(dbk_manifest *manifest, dbk_slice records) {
    dbk_manifest_plan plan = {0};
    daybook_status status = dbk_manifest_prepare(manifest, records, &plan);
    if (status == DAYBOOK_OK) dbk_manifest_take(manifest, records, &plan);
    dbk_manifest_plan_deinit(manifest->allocator, &plan);
    return status;
}

daybook_status dbk_manifest_apply(dbk_manifest *manifest, const dbk_manifest_edit *edit) {
    DBK_TRY(dbk_buf_status(&edit->records));
    return dbk_manifest_apply_records(manifest, daybook_bytes(edit->records.data, edit->records.size));
}

bool dbk_manifest_is_consistent(const dbk_manifest *manifest) {
    for (size_t i = 1; i < manifest->segment_count; i++) {
        const dbk_segment_summary *before = &manifest->segments[i - 1].summary;
        if (manifest->segments[i].summary.position_first <= before->position_last) return false;
    }
    for (size_t i = 1; i < manifest->stream_count; i++) {
        if (manifest->streams[i].id == manifest->streams[i - 1].id) return false;
    }
    for (size_t i = 1; i < manifest->entry_count; i++) {
        if (dbk_manifest_compare_entries(&manifest->entries[i - 1], &manifest->entries[i]) == 0) return false;
    }
    return manifest->segment_count == 0 ||
           manifest->segments[manifest->segment_count - 1].summary.position_last <=
               manifest->flushed_position;
}
