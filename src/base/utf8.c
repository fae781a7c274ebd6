// SPDX-License-Identifier: Apache-2.0
// Checks of text. Well-formed UTF-8 as in the Unicode standard, table 3-7: no overlong forms, no surrogates,
// nothing above U+10FFFF, no truncated sequence. ASCII, the common case, goes eight bytes at a time.
// Pure, any thread.
#include "base/bytes.h"

static const uint64_t every_byte = UINT64_C(0x0101010101010101);
static const uint64_t high_bits = UINT64_C(0x8080808080808080);

static bool is_continuation(uint8_t byte) {
    return (byte & 0xc0) == 0x80;
}

// Bytes of the well-formed sequence at `at`, which begins with a byte >= 0x80; 0 where it is malformed.
static size_t sequence_size(const uint8_t *at, size_t left) {
    uint8_t lead = at[0];
    if (lead < 0xc2) return 0; // continuation byte or overlong
    if (lead < 0xe0) return left >= 2 && is_continuation(at[1]) ? 2 : 0;
    if (lead < 0xf0) {
        if (left < 3 || !is_continuation(at[1]) || !is_continuation(at[2])) return 0;
        if (lead == 0xe0 && at[1] < 0xa0) return 0; // overlong
        if (lead == 0xed && at[1] > 0x9f) return 0; // surrogate
        return 3;
    }
    if (lead > 0xf4) return 0;
    if (left < 4 || !is_continuation(at[1]) || !is_continuation(at[2]) || !is_continuation(at[3])) return 0;
    if (lead == 0xf0 && at[1] < 0x90) return 0; // overlong
    if (lead == 0xf4 && at[1] > 0x8f) return 0; // above U+10FFFF
    return 4;
}

size_t dbk_utf8_size(const void *text, size_t left) {
    const uint8_t *at = text;
    return left == 0 ? 0 : at[0] < 0x80 ? 1 : sequence_size(at, left);
}

bool dbk_is_utf8(dbk_slice text) {
    const uint8_t *at = text.data;
    size_t left = text.size;
    while (left > 0) {
        if (left >= 8 && (dbk_get_u64(at) & high_bits) == 0) {
            at += 8;
            left -= 8;
            continue;
        }
        size_t size = at[0] < 0x80 ? 1 : sequence_size(at, left);
        if (size == 0) return false;
        at += size;
        left -= size;
    }
    return true;
}

// Eight ASCII bytes without a control character. Each byte is below 0x80, so neither the addition nor the
// subtraction from a set high bit carries into its neighbour.
static bool is_plain_word(uint64_t word) {
    if ((word & high_bits) != 0) return false;
    uint64_t at_least_space = (word | high_bits) - every_byte * 0x20; // high bit stays where byte >= 0x20
    uint64_t is_delete = word + every_byte;                           // high bit set where byte == 0x7f
    return (at_least_space & high_bits) == high_bits && (is_delete & high_bits) == 0;
}

bool dbk_is_plain_text(dbk_slice text) {
    const uint8_t *at = text.data;
    size_t left = text.size;
    while (left > 0) {
        if (left >= 8 && is_plain_word(dbk_get_u64(at))) {
            at += 8;
            left -= 8;
            continue;
        }
        if (at[0] < 0x20 || at[0] == 0x7f) return false;
        size_t size = at[0] < 0x80 ? 1 : sequence_size(at, left);
        if (size == 0) return false;
        at += size;
        left -= size;
    }
    return true;
}
