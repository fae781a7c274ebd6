// SPDX-License-Identifier: Apache-2.0
// What clients send: the first byte says in which steps the rest arrives and how. Taken in one piece and in steps it must
// mean the same, and end with the same complaint; header blocks, reply subjects and acknowledgement bodies are read wherever
// they might be, and what is read must come out again as it was.
#include "fuzz.h"
#include "proto/ack.h"
#include "proto/headers.h"
#include "proto/parser.h"

enum { LINE_SIZE_MAX = 200, PAYLOAD_SIZE_MAX = 1000, SIZE_MAX_HERE = 8192 };

static void check_block(dbk_slice block) {
    dbk_headers headers;
    dbk_publish_headers publish;
    dbk_slice name, value, first;
    dbk_publish_headers_read(block, &publish);
    if (!dbk_headers_open(block, &headers)) {
        FUZZ_CHECK(publish.present == 0 && publish.is_malformed == (block.size > 0));
        return;
    }
    fuzz_touch(headers.description);
    size_t seen = 0;
    while (dbk_headers_next(&headers, &name, &value)) {
        FUZZ_CHECK(name.size > 0 && ++seen <= block.size);
        fuzz_touch(value);
        FUZZ_CHECK(memchr(value.size > 0 ? value.data : "", '\n', value.size) == NULL);
        if (seen <= 8) FUZZ_CHECK(dbk_headers_find(block, name, &first)); // each is a pass
    }
    FUZZ_CHECK(headers.is_malformed == publish.is_malformed);
    for (int i = 0; i < DBK_PUBLISH_HEADER_COUNT; i++) {
        bool is_there = dbk_headers_find(block, dbk_publish_header_name((dbk_publish_header)i), &value);
        FUZZ_CHECK(is_there == dbk_publish_headers_have(&publish, (dbk_publish_header)i));
        if (is_there) FUZZ_CHECK(dbk_slice_equal(value, publish.values[i]));
    }
}

static void check_subject(dbk_slice subject) {
    char again[DBK_ACK_SUBJECT_SIZE_MAX];
    dbk_ack_subject ack, second;
    if (!dbk_ack_subject_decode(subject, &ack)) return;
    FUZZ_CHECK(ack.stream.size > 0 && ack.consumer.size > 0 && ack.time_ns >= 0);
    size_t size = dbk_ack_prefix_encode(&ack, again);
    if (size == 0) return; // a long name
    size += dbk_ack_numbers_encode(&ack, again + size);
    FUZZ_CHECK(size <= sizeof again && dbk_ack_subject_decode(daybook_bytes(again, size), &second));
    FUZZ_CHECK(dbk_slice_equal(ack.stream, second.stream) && dbk_slice_equal(ack.consumer, second.consumer));
    FUZZ_CHECK(ack.delivered == second.delivered && ack.stream_sequence == second.stream_sequence &&
               ack.consumer_sequence == second.consumer_sequence && ack.time_ns == second.time_ns &&
               ack.pending == second.pending);
}

static void check_body(dbk_slice body) {
    dbk_ack_body ack = dbk_ack_body_read(body);
    fuzz_touch(ack.text);
    FUZZ_CHECK(!ack.is_delay_garbled || (ack.kind == DBK_ACK_AGAIN && ack.delay_ns == 0));
}

static void check_operation(const dbk_proto_operation *operation) {
    const char *header = operation->payload.data;
    size_t data_size = operation->payload.size - operation->header_size;
    FUZZ_CHECK(operation->header_size <= operation->payload.size &&
               operation->payload.size <= PAYLOAD_SIZE_MAX);
    FUZZ_CHECK(operation->text.size <= LINE_SIZE_MAX + 1);
    if (operation->verb == DBK_PROTO_HPUB) check_block(daybook_bytes(header, operation->header_size));
    if (operation->verb > DBK_PROTO_HPUB) return;
    FUZZ_CHECK(operation->subject.size > 0);
    check_subject(operation->subject);
    check_body(daybook_bytes(header + operation->header_size, data_size));
}

typedef struct reading {
    dbk_proto_result end;
    size_t taken;
    uint64_t digest; // of what was understood
} reading;

static void digest(reading *read, dbk_slice bytes) {
    read->digest = dbk_checksum(bytes.size > 0 ? bytes.data : "", bytes.size, read->digest + bytes.size);
}

static void digest_operation(reading *read, const dbk_proto_operation *operation) {
    const uint64_t numbers[] = {operation->verb, operation->size, operation->header_size, operation->max};
    digest(read, daybook_bytes(numbers, sizeof numbers));
    digest(read, operation->subject);
    digest(read, operation->reply);
    digest(read, operation->queue_group);
    digest(read, operation->sid);
    digest(read, operation->text);
    digest(read, operation->payload);
}

static reading read_in_steps(const uint8_t *data, size_t size, size_t step, dbk_proto_limits limits) {
    dbk_proto_parser parser = {.limits = limits};
    dbk_proto_operation operation;
    reading read = {DBK_PROTO_MORE, 0, 0};
    for (size_t arrived = 0; arrived < size && read.end == DBK_PROTO_MORE;) {
        arrived = step > size - arrived ? size : arrived + step;
        while ((read.end = dbk_proto_next(&parser, daybook_bytes(data + read.taken, arrived - read.taken),
                                          &operation)) == DBK_PROTO_OPERATION) {
            FUZZ_CHECK(operation.size > 0 && operation.size <= arrived - read.taken);
            read.taken += operation.size;
            check_operation(&operation);
            digest_operation(&read, &operation);
        }
        if (read.end == DBK_PROTO_MORE && parser.wanted == 0)
            FUZZ_CHECK(arrived - read.taken <= dbk_proto_line_bytes_max(&limits));
    }
    return read;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0 || size > SIZE_MAX_HERE) return 0;
    size_t step = (size_t)(data[0] & 31) + 1;
    dbk_proto_limits limits = {LINE_SIZE_MAX, PAYLOAD_SIZE_MAX, data[0] >= 0xc0};
    reading whole = read_in_steps(data + 1, size - 1, SIZE_MAX_HERE, limits);
    reading parts = read_in_steps(data + 1, size - 1, step, limits);
    FUZZ_CHECK(whole.end == parts.end && whole.taken == parts.taken && whole.digest == parts.digest);
    dbk_slice rest = daybook_bytes(data + 1, size - 1);
    check_block(rest);
    check_subject(rest);
    check_body(rest);
    return 0;
}
