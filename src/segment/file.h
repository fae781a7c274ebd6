// SPDX-License-Identifier: Apache-2.0
// Chunks of a segment file: bytes behind which 8 bytes of checksum stand, seeded with the identity of the
// segment and the offset, so that a chunk from elsewhere never passes. Written in one go, front to back; read
// anywhere.
#ifndef DBK_SEGMENT_FILE_H
#define DBK_SEGMENT_FILE_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/uuid.h"
#include "daybook/sys/vfs.h"

enum { DBK_CHUNK_CHECKSUM_SIZE = 8 };

/// What all checksums of a segment begin with.
uint64_t dbk_segment_seed(const dbk_uuid *store_uuid, uint64_t incarnation, uint64_t segment_id);
uint64_t dbk_chunk_checksum(uint64_t seed, uint64_t offset, const void *data, size_t size);

// ---- Writing ----------------------------------------------------------------------------------------------

/// A file being written from its begin to its end.
typedef struct dbk_file_writer {
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    daybook_file *file;
    const char *path; // borrowed
    uint64_t seed;
    uint8_t *buffer;
    size_t buffer_size;
    size_t buffered;
    uint64_t offset;       // of the next byte to be written, buffered ones counted
    uint64_t synced_bytes; // written and already on their way to the device
    bool with_digest;
    dbk_sha256 digest; // of everything flushed
} dbk_file_writer;

/// Create `path` (replacing a leftover of that name). Collects at most `memory_max` bytes (at least 1) before
/// each write.
daybook_status dbk_file_writer_open(dbk_file_writer *writer, const daybook_allocator *allocator,
                                    daybook_vfs *vfs, const char *path, bool with_digest, size_t memory_max,
                                    daybook_error *error);
daybook_status dbk_file_write(dbk_file_writer *writer, const void *data, size_t size, daybook_error *error);
/// Write a chunk; its offset into offset_out (may be NULL).
daybook_status dbk_file_write_chunk(dbk_file_writer *writer, dbk_slice payload, uint64_t *offset_out,
                                    daybook_error *error);
daybook_status dbk_file_writer_flush(dbk_file_writer *writer, daybook_error *error);
daybook_status dbk_file_writer_sync(dbk_file_writer *writer, daybook_error *error);
/// Close; the file stays. A zeroed writer is fine.
void dbk_file_writer_close(dbk_file_writer *writer);

// ---- Reading ----------------------------------------------------------------------------------------------

/// An open file to read chunks from. Any thread.
typedef struct dbk_file_reader {
    daybook_vfs *vfs;
    daybook_file *file;
    const char *path; // borrowed
    uint64_t seed;
    uint64_t size;
} dbk_file_reader;

/// Read a chunk of `size` payload bytes into `data`, which has room for DBK_CHUNK_CHECKSUM_SIZE more.
/// EDAMAGED where it lies outside of the file or fails its checksum; `what` names it for people.
daybook_status dbk_chunk_read(const dbk_file_reader *reader, uint64_t offset, size_t size, const char *what,
                              void *data, daybook_error *error);
daybook_status dbk_chunk_damaged(const dbk_file_reader *reader, uint64_t offset, const char *what,
                                 daybook_error *error);

/// Reads chunks that mostly ascend, a large piece of the file at once.
typedef struct dbk_file_window {
    const daybook_allocator *allocator;
    const dbk_file_reader *reader;
    uint8_t *bytes;
    size_t capacity;
    uint64_t offset;
    size_t size;
} dbk_file_window;

/// ENOMEM. Close with dbk_file_window_deinit, also after a failure.
daybook_status dbk_file_window_init(dbk_file_window *window, const daybook_allocator *allocator,
                                    const dbk_file_reader *reader, size_t capacity);
void dbk_file_window_deinit(dbk_file_window *window);
/// The payload of a chunk, borrowed until the next call.
daybook_status dbk_file_window_chunk(dbk_file_window *window, uint64_t offset, size_t size, const char *what,
                                     dbk_slice *payload_out, daybook_error *error);

#endif
