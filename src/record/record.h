// SPDX-License-Identifier: Apache-2.0
// Journal records other than events. A group's payload is a sequence of records; each begins with a u32: low
// 28 bits bytes of the whole record, high 4 bits its kind. Pure, like record/event.h.
//
//   DBK_RECORD_EVENT      record/event.h, stored form
//   DBK_RECORD_REMOVE     u32 head, u32 stream id, u8 reason, u8 flags (0), u16 0, varint removed_count,
//                         varint removed_bytes, varint first_seq, varint first_position, varint range_count,
//                         then per range varint gap from the end of the one before, varint length - 1
//                         (positions removed one by one; all events of the stream below first_position are
//                         removed as well; first_seq, first_position 0: no such mark)
//   DBK_RECORD_CATALOGUE  u32 head, u8 catalogue kind, u8[3] 0, text key, u8 present, value bytes (the rest)
//   DBK_RECORD_POSITIONS  u32 head, u64 end: positions below it may have been given to events that are in no
//                         journal; after a crash none of them is given again
#ifndef DBK_RECORD_RECORD_H
#define DBK_RECORD_RECORD_H

#include "record/event.h"

typedef enum dbk_record_kind {
    DBK_RECORD_EVENT = 1,
    DBK_RECORD_REMOVE = 2,
    DBK_RECORD_CATALOGUE = 3,
    DBK_RECORD_POSITIONS = 4,
} dbk_record_kind;

enum { DBK_RECORD_SIZE_MAX = (1 << 28) - 1, DBK_POSITIONS_SIZE = 12 };

typedef enum dbk_remove_reason {
    DBK_REMOVE_DELETE = 1, // one event, by a user; its id is remembered for ever
    DBK_REMOVE_PURGE = 2,  // by a user; ids remembered for ever
    DBK_REMOVE_LIMIT = 3,  // age, count, bytes, per subject; ids for the duplicate window
    DBK_REMOVE_ROLLUP = 4, // ids for the duplicate window
} dbk_remove_reason;

typedef struct dbk_position_range {
    uint64_t first;
    uint64_t last;
} dbk_position_range;

typedef struct dbk_remove {
    uint32_t stream_id;
    dbk_remove_reason reason;
    uint64_t removed_count; // live events this removes
    uint64_t removed_bytes; // their cost (dbk_event_cost)
    uint64_t first_seq;
    uint64_t first_position;
    uint64_t range_count;
    dbk_slice ranges; // encoded; iterate with dbk_remove_next_range
} dbk_remove;

typedef enum dbk_catalogue_kind {
    DBK_CATALOGUE_STREAM = 1,
    DBK_CATALOGUE_CONSUMER = 2,
    DBK_CATALOGUE_SCHEMA = 3
} dbk_catalogue_kind;

typedef struct dbk_catalogue_entry {
    dbk_catalogue_kind kind;
    bool present; // false: the key is removed
    dbk_slice key;
    dbk_slice value;
} dbk_catalogue_entry;

/// Kind and whole size of the record at the begin of `bytes`; EDAMAGED where it does not fit or has size < 4.
/// EFORMAT for an unknown kind.
daybook_status dbk_record_peek(dbk_slice bytes, dbk_record_kind *kind_out, size_t *size_out);

/// `ranges` ascending, not touching; remove->ranges and range_count are ignored.
daybook_status dbk_remove_encode(const dbk_remove *remove, const dbk_position_range *ranges,
                                 size_t range_count, dbk_buf *buf);
/// Checks all ranges (ascending, no overflow), so that iterating cannot fail.
daybook_status dbk_remove_decode(dbk_slice record, dbk_remove *remove_out);
/// Begin with `cursor` = remove->ranges and *end = 0; false at the end.
bool dbk_remove_next_range(dbk_slice *cursor, uint64_t *end, dbk_position_range *range_out);

daybook_status dbk_catalogue_encode(const dbk_catalogue_entry *entry, dbk_buf *buf);
daybook_status dbk_catalogue_decode(dbk_slice record, dbk_catalogue_entry *entry_out);

void dbk_positions_encode(uint64_t end, uint8_t record_out[DBK_POSITIONS_SIZE]);
/// EDAMAGED where the size is wrong or `end` is 0 or above INT64_MAX / 2.
daybook_status dbk_positions_decode(dbk_slice record, uint64_t *end_out);

#endif
