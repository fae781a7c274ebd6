// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "auth/nkey.h"

// The user key of the NATS documentation, and the 32 bytes inside its seed,
// SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6U….
static const char user_text[] = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
static const uint8_t user_seed[32] = {0x29, 0x49, 0x7b, 0xa0, 0x0f, 0x41, 0xdd, 0x45, 0x93, 0x6b, 0x4c,
                                      0xc4, 0xbd, 0xa1, 0xde, 0xcb, 0x67, 0xc1, 0x28, 0xe6, 0x9f, 0xb3,
                                      0xd4, 0x90, 0xee, 0x82, 0x0d, 0xaf, 0x7c, 0x31, 0x8c, 0x0a};

static EVP_PKEY *private_key(const uint8_t seed[32]) {
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    assert_non_null(key);
    return key;
}

static void sign(const uint8_t seed[32], const char *nonce, uint8_t signature_out[64]) {
    EVP_PKEY *key = private_key(seed);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t size = 64;
    assert_int_equal(EVP_DigestSignInit(context, NULL, NULL, NULL, key), 1);
    assert_int_equal(EVP_DigestSign(context, signature_out, &size, (const uint8_t *)nonce, strlen(nonce)), 1);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
}

// Base64 as OpenSSL writes it, turned into what clients send.
static void base64(const uint8_t *data, size_t size, bool is_url, char *text_out) {
    EVP_EncodeBlock((uint8_t *)text_out, data, (int)size);
    for (char *at = text_out; is_url && *at != '\0'; at++) {
        if (*at == '+') *at = '-';
        if (*at == '/') *at = '_';
        if (*at == '=') *at = '\0';
    }
}

static void a_key_of_the_documentation_is_read(void **state) {
    (void)state;
    uint8_t key[32], expected[32];
    size_t size = sizeof expected;
    EVP_PKEY *private = private_key(user_seed);
    assert_int_equal(EVP_PKEY_get_raw_public_key(private, expected, &size), 1);
    EVP_PKEY_free(private);
    assert_true(dbk_nkey_decode(daybook_text(user_text), DBK_NKEY_USER, key));
    assert_memory_equal(key, expected, 32);
    char text[DBK_NKEY_TEXT_SIZE + 1];
    dbk_nkey_encode(key, DBK_NKEY_USER, text);
    assert_string_equal(text, user_text);
}

static void what_is_no_user_key_is_refused(void **state) {
    (void)state;
    uint8_t key[32];
    char text[64];
    const size_t size = strlen(user_text);
    for (size_t i = 0; i < size; i++) {
        for (const char *other = "A2Z7Ba018=. \n-"; *other != '\0'; other++) {
            memcpy(text, user_text, size + 1);
            if (text[i] == *other) continue;
            text[i] = *other;
            assert_false(dbk_nkey_decode(daybook_text(text), DBK_NKEY_USER, key));
        }
    }
    for (size_t cut = 0; cut < size; cut++) {
        assert_false(dbk_nkey_decode(daybook_bytes(user_text, cut), DBK_NKEY_USER, key));
    }
    assert_false(dbk_nkey_decode(daybook_bytes(NULL, 0), DBK_NKEY_USER, key));
    snprintf(text, sizeof text, "%sA", user_text);
    assert_false(dbk_nkey_decode(daybook_text(text), DBK_NKEY_USER, key));
    text[0] = '\0';
    memset(text, 0, sizeof text);
    assert_false(dbk_nkey_decode(daybook_bytes(text, size), DBK_NKEY_USER, key));
    // A sound key of another kind: an account's.
    memset(key, 7, sizeof key);
    dbk_nkey_encode(key, 0, text);
    assert_int_equal(text[0], 'A');
    assert_true(dbk_nkey_decode(daybook_text(text), 0, key));
    assert_false(dbk_nkey_decode(daybook_text(text), DBK_NKEY_USER, key));
}

static void any_key_survives_being_text(void **state) {
    (void)state;
    for (unsigned i = 0; i < 256; i++) {
        uint8_t key[32], back[32];
        for (unsigned k = 0; k < 32; k++) key[k] = (uint8_t)(i * 31 + k * k * 7 + (i >> 3));
        char text[DBK_NKEY_TEXT_SIZE + 1];
        dbk_nkey_encode(key, DBK_NKEY_USER, text);
        assert_int_equal(strlen(text), DBK_NKEY_TEXT_SIZE);
        assert_int_equal(text[0], 'U');
        assert_true(dbk_nkey_decode(daybook_text(text), DBK_NKEY_USER, back));
        assert_memory_equal(key, back, 32);
    }
}

static void a_nonce_is_base64url_of_its_bytes(void **state) {
    (void)state;
    for (unsigned i = 0; i < 256; i++) {
        uint8_t random[DBK_NONCE_RANDOM_SIZE];
        for (unsigned k = 0; k < sizeof random; k++) random[k] = (uint8_t)(i * 17 + k * 89);
        char nonce[DBK_NONCE_SIZE + 1], expected[32];
        dbk_nonce_make(random, nonce);
        base64(random, sizeof random, true, expected);
        assert_string_equal(nonce, expected);
        assert_int_equal(strlen(nonce), DBK_NONCE_SIZE);
    }
}

static void a_right_signature_is_taken(void **state) {
    (void)state;
    uint8_t key[32], signature[64];
    assert_true(dbk_nkey_decode(daybook_text(user_text), DBK_NKEY_USER, key));
    sign(user_seed, "PXoWU7zWAMt75FY", signature);
    for (int is_url = 0; is_url < 2; is_url++) {
        char text[96];
        base64(signature, 64, is_url, text);
        assert_true(dbk_nkey_verify(key, daybook_text("PXoWU7zWAMt75FY"), daybook_text(text)));
        assert_false(dbk_nkey_verify(key, daybook_text("PXoWU7zWAMt75FZ"),
                                     daybook_text(text))); // another connection's
        assert_false(dbk_nkey_verify(key, daybook_text(""), daybook_text(text)));
        key[5] ^= 1;
        assert_false(dbk_nkey_verify(key, daybook_text("PXoWU7zWAMt75FY"), daybook_text(text)));
        key[5] ^= 1;
    }
}

static void a_wrong_signature_is_refused(void **state) {
    (void)state;
    uint8_t key[32], signature[64];
    assert_true(dbk_nkey_decode(daybook_text(user_text), DBK_NKEY_USER, key));
    daybook_slice nonce = daybook_text("PXoWU7zWAMt75FY");
    sign(user_seed, "PXoWU7zWAMt75FY", signature);
    char text[128];
    for (size_t bit = 0; bit < 64 * 8; bit += 3) {
        signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
        base64(signature, 64, true, text);
        assert_false(dbk_nkey_verify(key, nonce, daybook_text(text)));
        signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    base64(signature, 64, true, text);
    for (size_t cut = 0; cut < 86; cut++) assert_false(dbk_nkey_verify(key, nonce, daybook_bytes(text, cut)));
    assert_false(dbk_nkey_verify(key, nonce, daybook_bytes(NULL, 0)));
    const char *endings[] = {"A", "=", "==", "\n", "AA", "=A"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(text + 86, sizeof text - 86, "%s", endings[i]);
        assert_int_equal(dbk_nkey_verify(key, nonce, daybook_text(text)), strcmp(endings[i], "==") == 0);
    }
    text[86] = '\0';
    for (size_t i = 0; i < 86; i += 5) {
        char kept = text[i];
        text[i] = '\xc3';
        assert_false(dbk_nkey_verify(key, nonce, daybook_text(text)));
        text[i] = '\0';
        assert_false(dbk_nkey_verify(key, nonce, daybook_bytes(text, 86)));
        text[i] = kept;
    }
    // The last character has bits that belong to no byte.
    text[85]++;
    assert_false(dbk_nkey_verify(key, nonce, daybook_text(text)));
    // No trace is left that TLS on the same thread would trip over.
    assert_int_equal(ERR_peek_error(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_of_the_documentation_is_read),
        cmocka_unit_test(what_is_no_user_key_is_refused),
        cmocka_unit_test(any_key_survives_being_text),
        cmocka_unit_test(a_nonce_is_base64url_of_its_bytes),
        cmocka_unit_test(a_right_signature_is_taken),
        cmocka_unit_test(a_wrong_signature_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
