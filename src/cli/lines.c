// SPDX-License-Identifier: Apache-2.0
//
// Lines from a descriptor. Reads take what is there and a line is given as soon as its newline is in the
// buffer, so that a producer on a pipe is served at once; nothing is read ahead of need beyond the buffer.
// The buffer grows to the longest line, at most line_size_max.

#include "cli/ndjson.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_SIZE (256u * 1024)

void cli_line_reader_init(cli_line_reader *reader, int descriptor, size_t line_size_max) {
    memset(reader, 0, sizeof *reader);
    reader->descriptor = descriptor;
    reader->wake_descriptor = -1;
    reader->line_size_max = line_size_max;
}

void cli_line_reader_deinit(cli_line_reader *reader) {
    free(reader->data);
    reader->data = NULL;
}

static const char *find_newline(cli_line_reader *reader) {
    if (reader->begin + reader->scanned >= reader->end) return NULL;
    const char *from = reader->data + reader->begin + reader->scanned;
    const char *found = memchr(from, '\n', (size_t)(reader->data + reader->end - from));
    reader->scanned = (size_t)((found != NULL ? found : reader->data + reader->end) - reader->data) -
                      reader->begin;
    return found;
}

int cli_line_reader_is_ready(cli_line_reader *reader) {
    return reader->data != NULL && find_newline(reader) != NULL;
}

// Make room behind what is buffered. 0 or errno.
static int make_room(cli_line_reader *reader) {
    size_t size = reader->end - reader->begin;
    if (size > reader->line_size_max) return EFBIG;
    if (reader->begin != 0 && reader->capacity - reader->end < READ_SIZE) {
        memmove(reader->data, reader->data + reader->begin, size);
        reader->begin = 0;
        reader->end = size;
    }
    if (reader->capacity - reader->end >= READ_SIZE) return 0;
    size_t capacity = reader->capacity == 0 ? 2 * READ_SIZE : reader->capacity * 2;
    char *data = realloc(reader->data, capacity);
    if (data == NULL) return ENOMEM;
    reader->data = data;
    reader->capacity = capacity;
    return 0;
}

// Until there is input. 0, or errno (ECANCELED: woken).
static int wait_readable(cli_line_reader *reader) {
    struct pollfd waiting[2] = {{.fd = reader->descriptor, .events = POLLIN},
                                {.fd = reader->wake_descriptor, .events = POLLIN}};
    if (reader->wake_descriptor < 0) return 0;
    while (poll(waiting, 2, -1) < 0)
        if (errno != EINTR) return errno;
    return waiting[1].revents != 0 ? ECANCELED : 0;
}

static int give(cli_line_reader *reader, size_t size, size_t skipped, daybook_slice *line_out) {
    const char *line = reader->data + reader->begin;
    reader->begin += size + skipped;
    reader->scanned = 0;
    reader->line_number++;
    if (size != 0 && line[size - 1] == '\r') size--;
    *line_out = daybook_bytes(line, size);
    return 1;
}

int cli_line_reader_next(cli_line_reader *reader, daybook_slice *line_out) {
    if (reader->failed_errno != 0) return -1;
    for (;;) {
        const char *newline = reader->data == NULL ? NULL : find_newline(reader);
        if (newline != NULL)
            return give(reader, (size_t)(newline - reader->data) - reader->begin, 1, line_out);
        if (reader->at_end)
            return reader->end == reader->begin ? 0 : give(reader, reader->end - reader->begin, 0, line_out);
        reader->failed_errno = make_room(reader);
        if (reader->failed_errno != 0) {
            reader->line_number++; // the line it is about
            return -1;
        }
        reader->failed_errno = wait_readable(reader);
        if (reader->failed_errno != 0) return -1;
        ssize_t count = read(reader->descriptor, reader->data + reader->end, READ_SIZE);
        if (count > 0) {
            reader->end += (size_t)count;
            reader->read_bytes += (uint64_t)count;
        } else if (count == 0) {
            reader->at_end = 1;
        } else if (errno != EINTR) {
            reader->failed_errno = reader->input == NULL ? errno : cli_input_errno(reader->input, errno);
            return -1;
        }
    }
}
