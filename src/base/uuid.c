// SPDX-License-Identifier: Apache-2.0
// UUIDs as RFC 9562 defines them. Version 7 sorts by its milliseconds; version 8 here is the first 122 free
// bits of SHA-256 over content and count, so that importing a source again makes the same ids. Pure.
#include "base/uuid.h"

#include <string.h>

#include "base/bytes.h"
#include "base/time.h"
#include "daybook/id.h"

static void set_version(dbk_uuid *uuid, uint8_t version) {
    uuid->bytes[6] = (uint8_t)(version << 4 | (uuid->bytes[6] & 0x0f));
    uuid->bytes[8] = (uint8_t)(0x80 | (uuid->bytes[8] & 0x3f)); // the RFC's variant
}

static bool is_dash(size_t at) {
    return at == 8 || at == 13 || at == 18 || at == 23;
}

void dbk_uuid_format(const dbk_uuid *uuid, char text_out[37]) {
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < sizeof uuid->bytes; i++) {
        if (is_dash(at)) text_out[at++] = '-';
        text_out[at++] = digits[uuid->bytes[i] >> 4];
        text_out[at++] = digits[uuid->bytes[i] & 0x0f];
    }
    text_out[at] = '\0';
}

static int digit_value(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    return -1;
}

bool dbk_uuid_parse(dbk_slice text, dbk_uuid *uuid_out) {
    if (text.size != 36) return false;
    const char *characters = text.data;
    dbk_uuid uuid;
    size_t nibble = 0;
    for (size_t at = 0; at < 36; at++) {
        if (is_dash(at)) {
            if (characters[at] != '-') return false;
            continue;
        }
        int value = digit_value(characters[at]);
        if (value < 0) return false;
        uint8_t *byte = &uuid.bytes[nibble / 2];
        *byte = (uint8_t)(nibble % 2 == 0 ? value << 4 : *byte | value);
        nibble++;
    }
    *uuid_out = uuid;
    return true;
}

void dbk_uuid_make_v7(int64_t time_ns, const uint8_t random[10], dbk_uuid *uuid_out) {
    uint64_t milliseconds = time_ns < 0 ? 0 : (uint64_t)(time_ns / DBK_MILLISECOND_NS);
    for (size_t i = 0; i < 6; i++) uuid_out->bytes[i] = (uint8_t)(milliseconds >> (40 - 8 * i));
    memcpy(uuid_out->bytes + 6, random, 10);
    set_version(uuid_out, 7);
}

void dbk_uuid_series_at(const uint8_t base[10], uint64_t count, uint8_t random_out[10]) {
    memcpy(random_out, base, 10);
    uint64_t value = count;
    for (size_t i = 0; i < 8; i++) value += (uint64_t)base[2 + i] << (56 - 8 * i);
    for (size_t i = 0; i < 8; i++) random_out[2 + i] = (uint8_t)(value >> (56 - 8 * i));
}

bool dbk_uuid_v7_time_ns(const dbk_uuid *uuid, int64_t *time_ns_out) {
    if (uuid->bytes[6] >> 4 != 7 || (uuid->bytes[8] & 0xc0) != 0x80) return false;
    uint64_t milliseconds = 0;
    for (size_t i = 0; i < 6; i++) milliseconds = milliseconds << 8 | uuid->bytes[i];
    if (milliseconds > (uint64_t)(INT64_MAX / DBK_MILLISECOND_NS)) return false; // beyond the year 2262
    *time_ns_out = (int64_t)milliseconds * DBK_MILLISECOND_NS;
    return true;
}

void daybook_id_from_content(daybook_slice content, uint64_t count, char id_out[37]) {
    // The count comes last and has a fixed size, so no two inputs give the same bytes to the hash.
    uint8_t count_bytes[8];
    dbk_put_u64(count_bytes, count);
    dbk_sha256 hash;
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, content.data, content.size);
    dbk_sha256_update(&hash, count_bytes, sizeof count_bytes);
    uint8_t digest[32];
    dbk_sha256_final(&hash, digest);
    dbk_uuid uuid;
    memcpy(uuid.bytes, digest, sizeof uuid.bytes);
    set_version(&uuid, 8);
    dbk_uuid_format(&uuid, id_out);
}
