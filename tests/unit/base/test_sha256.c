// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void to_hex(const uint8_t digest[32], char text_out[65]) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 32; i++) {
        text_out[2 * i] = digits[digest[i] >> 4];
        text_out[2 * i + 1] = digits[digest[i] & 15];
    }
    text_out[64] = '\0';
}

static void assert_digest(const void *data, size_t size, const char *expected) {
    dbk_sha256 hash;
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, data, size);
    uint8_t digest[32];
    dbk_sha256_final(&hash, digest);
    char text[65];
    to_hex(digest, text);
    assert_string_equal(text, expected);
}

static void fips_examples_match(void **state) {
    (void)state;
    assert_digest("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_digest("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    assert_digest(two_blocks, 56, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    static const char longer[] = "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
                                 "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";
    assert_digest(longer, 112, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
}

static void a_million_times_a_matches(void **state) {
    (void)state;
    char *text = malloc(1000000);
    assert_non_null(text);
    memset(text, 'a', 1000000);
    assert_digest(text, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(text);
}

static void pieces_of_any_size_give_the_same_digest(void **state) {
    (void)state;
    uint8_t data[300];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7);
    for (size_t size = 0; size <= sizeof data; size += size < 130 ? 1 : 13) {
        dbk_sha256 whole;
        uint8_t expected[32];
        dbk_sha256_init(&whole);
        dbk_sha256_update(&whole, data, size);
        dbk_sha256_final(&whole, expected);
        for (size_t piece = 1; piece <= 129; piece += piece < 66 ? 1 : 21) {
            dbk_sha256 hash;
            uint8_t digest[32];
            dbk_sha256_init(&hash);
            for (size_t at = 0; at < size; at += piece) {
                dbk_sha256_update(&hash, data + at, size - at < piece ? size - at : piece);
            }
            dbk_sha256_final(&hash, digest);
            assert_memory_equal(digest, expected, sizeof digest);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fips_examples_match),
        cmocka_unit_test(a_million_times_a_matches),
        cmocka_unit_test(pieces_of_any_size_give_the_same_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
