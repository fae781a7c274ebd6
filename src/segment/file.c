// SPDX-License-Identifier: Apache-2.0
// Writing a segment file front to back, and reading its chunks.
//
// The writer collects 256 KiB before each write (less where its memory is less), and has each written out at
// once, in the background; after every SYNC_INTERVAL it syncs. So neither a sync nor the end of a merge of
// gigabytes finds much to write, which would hold up the journal on the same device. The SHA-256 runs along;
// it covers exactly the bytes handed to the file.
//
// Failure modes: errors of the vfs come back as statuses naming path and offset; the writer is then useless
// and its owner removes the file. Reading: a chunk is bounded by the file's size before anything is read or
// allocated. Threads: a writer or window belongs to one; a reader to any.
#include "segment/file.h"

#include <errno.h>

#include "base/assert.h"
#include "io/io.h"

enum { BUFFER_SIZE = 256 * 1024, SYNC_INTERVAL = 16 * 1024 * 1024 };

uint64_t dbk_segment_seed(const dbk_uuid *store_uuid, uint64_t incarnation, uint64_t segment_id) {
    uint8_t identity[32];
    memcpy(identity, store_uuid->bytes, 16);
    dbk_put_u64(identity + 16, incarnation);
    dbk_put_u64(identity + 24, segment_id);
    return dbk_checksum(identity, sizeof identity, 0);
}

uint64_t dbk_chunk_checksum(uint64_t seed, uint64_t offset, const void *data, size_t size) {
    return dbk_checksum(data, size, seed ^ (offset * UINT64_C(0x9e3779b97f4a7c15)));
}

// ---- Writing ----------------------------------------------------------------------------------------------

daybook_status dbk_file_writer_open(dbk_file_writer *writer, const daybook_allocator *allocator,
                                    daybook_vfs *vfs, const char *path, bool with_digest, size_t memory_max,
                                    daybook_error *error) {
    memset(writer, 0, sizeof *writer);
    writer->allocator = allocator;
    writer->vfs = vfs;
    writer->path = path;
    writer->with_digest = with_digest;
    dbk_sha256_init(&writer->digest);
    writer->buffer_size = memory_max < BUFFER_SIZE ? memory_max : BUFFER_SIZE;
    writer->buffer = dbk_alloc(allocator, writer->buffer_size);
    if (writer->buffer == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory writing %s", path);

    int result = vfs->unlink(vfs, path); // A leftover of a process that died.
    if (result < 0 && result != -ENOENT) return dbk_fail_system(error, result, "remove", path, 0);
    result =
        vfs->open(vfs, path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE | DAYBOOK_VFS_EXCLUSIVE, &writer->file);
    if (result < 0) {
        writer->file = NULL;
        return dbk_fail_system(error, result, "create", path, 0);
    }
    return DAYBOOK_OK;
}

daybook_status dbk_file_writer_flush(dbk_file_writer *writer, daybook_error *error) {
    if (writer->buffered == 0) return DAYBOOK_OK;
    uint64_t offset = writer->offset - writer->buffered;
    DBK_TRY(dbk_write_exactly(writer->vfs, writer->file, writer->path, writer->buffer, writer->buffered,
                              offset, error));
    if (writer->with_digest) dbk_sha256_update(&writer->digest, writer->buffer, writer->buffered);
    dbk_start_writing(writer->vfs, writer->file, offset, writer->buffered);
    writer->buffered = 0;
    if (writer->offset - writer->synced_bytes < SYNC_INTERVAL) return DAYBOOK_OK;
    return dbk_file_writer_sync(writer, error);
}

daybook_status dbk_file_writer_sync(dbk_file_writer *writer, daybook_error *error) {
    DBK_ASSERT(writer->buffered == 0);
    int result = writer->vfs->sync(writer->vfs, writer->file);
    if (result < 0) return dbk_fail_system(error, result, "sync", writer->path, writer->synced_bytes);
    writer->synced_bytes = writer->offset;
    return DAYBOOK_OK;
}

daybook_status dbk_file_write(dbk_file_writer *writer, const void *data, size_t size, daybook_error *error) {
    const uint8_t *at = data;
    while (size > 0) {
        size_t part = writer->buffer_size - writer->buffered;
        if (part > size) part = size;
        memcpy(writer->buffer + writer->buffered, at, part);
        writer->buffered += part;
        writer->offset += part;
        at += part;
        size -= part;
        if (writer->buffered == writer->buffer_size) DBK_TRY(dbk_file_writer_flush(writer, error));
    }
    return DAYBOOK_OK;
}

daybook_status dbk_file_write_chunk(dbk_file_writer *writer, dbk_slice payload, uint64_t *offset_out,
                                    daybook_error *error) {
    uint64_t offset = writer->offset;
    uint8_t checksum[DBK_CHUNK_CHECKSUM_SIZE];
    dbk_put_u64(checksum, dbk_chunk_checksum(writer->seed, offset, payload.data, payload.size));
    DBK_TRY(dbk_file_write(writer, payload.data, payload.size, error));
    DBK_TRY(dbk_file_write(writer, checksum, sizeof checksum, error));
    if (offset_out != NULL) *offset_out = offset;
    return DAYBOOK_OK;
}

void dbk_file_writer_close(dbk_file_writer *writer) {
    if (writer->allocator == NULL) return; // Never opened.
    if (writer->file != NULL) writer->vfs->close(writer->vfs, writer->file);
    writer->file = NULL;
    dbk_free(writer->allocator, writer->buffer);
    writer->buffer = NULL;
}

// ---- Reading ----------------------------------------------------------------------------------------------

daybook_status dbk_chunk_damaged(const dbk_file_reader *reader, uint64_t offset, const char *what,
                                 daybook_error *error) {
    return dbk_fail_damaged(error, reader->path, offset,
                            "%s of %s at byte %llu is damaged: its bytes are not those that were written; "
                            "run daybook verify",
                            what, reader->path, (unsigned long long)offset);
}

static daybook_status check_range(const dbk_file_reader *reader, uint64_t offset, size_t size,
                                  const char *what, daybook_error *error) {
    if (offset <= reader->size && reader->size - offset >= DBK_CHUNK_CHECKSUM_SIZE &&
        size <= reader->size - offset - DBK_CHUNK_CHECKSUM_SIZE)
        return DAYBOOK_OK;
    return dbk_fail_damaged(error, reader->path, offset,
                            "%s of %s is said to lie at byte %llu, outside of the file; run daybook verify",
                            what, reader->path, (unsigned long long)offset);
}

daybook_status dbk_chunk_read(const dbk_file_reader *reader, uint64_t offset, size_t size, const char *what,
                              void *data, daybook_error *error) {
    DBK_TRY(check_range(reader, offset, size, what, error));
    DBK_TRY(dbk_read_exactly(reader->vfs, reader->file, reader->path, data, size + DBK_CHUNK_CHECKSUM_SIZE,
                             offset, error));
    uint64_t expected = dbk_get_u64((const uint8_t *)data + size);
    if (dbk_chunk_checksum(reader->seed, offset, data, size) != expected)
        return dbk_chunk_damaged(reader, offset, what, error);
    return DAYBOOK_OK;
}

daybook_status dbk_file_window_init(dbk_file_window *window, const daybook_allocator *allocator,
                                    const dbk_file_reader *reader, size_t capacity) {
    memset(window, 0, sizeof *window);
    window->allocator = allocator;
    window->reader = reader;
    window->bytes = dbk_alloc(allocator, capacity);
    if (window->bytes == NULL) return DAYBOOK_ENOMEM;
    window->capacity = capacity;
    return DAYBOOK_OK;
}

void dbk_file_window_deinit(dbk_file_window *window) {
    dbk_free(window->allocator, window->bytes);
    window->bytes = NULL;
}

static daybook_status fill(dbk_file_window *window, uint64_t offset, size_t needed, daybook_error *error) {
    const dbk_file_reader *reader = window->reader;
    window->size = 0;
    if (needed > window->capacity) {
        uint8_t *bytes = dbk_resize_array(window->allocator, window->bytes, needed, 1);
        if (bytes == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory reading %s", reader->path);
        window->bytes = bytes;
        window->capacity = needed;
    }
    uint64_t left = reader->size - offset;
    size_t size = left < window->capacity ? (size_t)left : window->capacity;
    DBK_TRY(dbk_read_exactly(reader->vfs, reader->file, reader->path, window->bytes, size, offset, error));
    window->offset = offset;
    window->size = size;
    return DAYBOOK_OK;
}

daybook_status dbk_file_window_chunk(dbk_file_window *window, uint64_t offset, size_t size, const char *what,
                                     dbk_slice *payload_out, daybook_error *error) {
    const dbk_file_reader *reader = window->reader;
    DBK_TRY(check_range(reader, offset, size, what, error));
    size_t needed = size + DBK_CHUNK_CHECKSUM_SIZE;
    bool is_inside = offset >= window->offset && needed <= window->size &&
                     offset - window->offset <= window->size - needed;
    if (!is_inside) DBK_TRY(fill(window, offset, needed, error));
    const uint8_t *data = window->bytes + (offset - window->offset);
    if (dbk_chunk_checksum(reader->seed, offset, data, size) != dbk_get_u64(data + size))
        return dbk_chunk_damaged(reader, offset, what, error);
    *payload_out = daybook_bytes(data, size);
    return DAYBOOK_OK;
}
