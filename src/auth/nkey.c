// SPDX-License-Identifier: Apache-2.0
// nkeys as text, nonces, and signatures. Formats: nkey.h; https://github.com/nats-io/nkeys documents the
// keys.
//
// Everything a client sends is of one fixed length once decoded; anything else is refused before OpenSSL
// sees it. Bits that belong to no byte must be zero, so that a key has one text. Failure modes: none but
// "no". Pure, any thread.
#include "auth/nkey.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

enum {
    CHECKSUM_SIZE = 2,
    RAW_SIZE = 1 + DBK_NKEY_SIZE + CHECKSUM_SIZE,
    SIGNATURE_SIZE = 64,
    SIGNATURE_TEXT_SIZE = 86,       // base64 without padding
    SIGNATURE_PADDED_TEXT_SIZE = 88 // with
};

static const char base32_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
static const char base64url_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

// CRC-16 with polynomial 0x1021 from 0, as XMODEM has it.
static uint16_t checksum(const uint8_t *data, size_t size) {
    uint32_t crc = 0;
    for (size_t i = 0; i < size; i++) {
        crc ^= (uint32_t)data[i] << 8;
        for (int bit = 0; bit < 8; bit++) crc = (crc << 1) ^ (crc & 0x8000 ? 0x1021u : 0);
        crc &= 0xffff;
    }
    return (uint16_t)crc;
}

static int base32_value(char digit) {
    if (digit >= 'A' && digit <= 'Z') return digit - 'A';
    if (digit >= '2' && digit <= '7') return digit - '2' + 26;
    return -1;
}

// Of both alphabets of base64.
static int base64_value(char digit) {
    if (digit >= 'A' && digit <= 'Z') return digit - 'A';
    if (digit >= 'a' && digit <= 'z') return digit - 'a' + 26;
    if (digit >= '0' && digit <= '9') return digit - '0' + 52;
    if (digit == '-' || digit == '+') return 62;
    if (digit == '_' || digit == '/') return 63;
    return -1;
}

// `size` characters of `bits` each, into as many whole bytes as they make; false where one is none, or bits
// are left that are not zero.
static bool decode(const char *text, size_t size, int bits, int (*value_of)(char digit), uint8_t *data_out) {
    uint32_t held = 0;
    int held_bits = 0;
    for (size_t i = 0; i < size; i++) {
        int value = value_of(text[i]);
        if (value < 0) return false;
        held = held << bits | (uint32_t)value;
        held_bits += bits;
        if (held_bits < 8) continue;
        held_bits -= 8;
        *data_out++ = (uint8_t)(held >> held_bits);
        held &= (1u << held_bits) - 1;
    }
    return held == 0;
}

static void encode(const uint8_t *data, size_t size, int bits, const char *digits, char *text_out) {
    uint32_t held = 0;
    int held_bits = 0;
    for (size_t i = 0; i < size; i++) {
        held = held << 8 | data[i];
        for (held_bits += 8; held_bits >= bits;) {
            held_bits -= bits;
            *text_out++ = digits[held >> held_bits];
            held &= (1u << held_bits) - 1;
        }
    }
    if (held_bits > 0) *text_out++ = digits[held << (bits - held_bits)];
    *text_out = '\0';
}

bool dbk_nkey_decode(dbk_slice text, uint8_t kind, uint8_t key_out[DBK_NKEY_SIZE]) {
    uint8_t raw[RAW_SIZE];
    if (text.size != DBK_NKEY_TEXT_SIZE || !decode(text.data, text.size, 5, base32_value, raw)) return false;
    uint16_t expected = checksum(raw, RAW_SIZE - CHECKSUM_SIZE);
    bool is_intact = raw[RAW_SIZE - 2] == (expected & 0xff) && raw[RAW_SIZE - 1] == expected >> 8;
    if (raw[0] != kind || !is_intact) return false;
    memcpy(key_out, raw + 1, DBK_NKEY_SIZE);
    return true;
}

void dbk_nkey_encode(const uint8_t key[DBK_NKEY_SIZE], uint8_t kind, char text_out[DBK_NKEY_TEXT_SIZE + 1]) {
    uint8_t raw[RAW_SIZE] = {kind};
    memcpy(raw + 1, key, DBK_NKEY_SIZE);
    uint16_t crc = checksum(raw, RAW_SIZE - CHECKSUM_SIZE);
    raw[RAW_SIZE - 2] = (uint8_t)(crc & 0xff);
    raw[RAW_SIZE - 1] = (uint8_t)(crc >> 8);
    encode(raw, sizeof raw, 5, base32_digits, text_out);
}

void dbk_nonce_make(const uint8_t random[DBK_NONCE_RANDOM_SIZE], char text_out[DBK_NONCE_SIZE + 1]) {
    encode(random, DBK_NONCE_RANDOM_SIZE, 6, base64url_digits, text_out);
}

static bool decode_signature(dbk_slice text, uint8_t signature_out[SIGNATURE_SIZE]) {
    const char *digits = text.data;
    if (text.size == SIGNATURE_PADDED_TEXT_SIZE && memcmp(digits + SIGNATURE_TEXT_SIZE, "==", 2) == 0) {
        text.size = SIGNATURE_TEXT_SIZE;
    }
    return text.size == SIGNATURE_TEXT_SIZE && decode(digits, text.size, 6, base64_value, signature_out);
}

bool dbk_nkey_verify(const uint8_t key[DBK_NKEY_SIZE], dbk_slice nonce, dbk_slice signature) {
    uint8_t raw[SIGNATURE_SIZE];
    if (nonce.size == 0 || !decode_signature(signature, raw)) return false;
    EVP_PKEY *public_key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, DBK_NKEY_SIZE);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool is_right = public_key != NULL && context != NULL &&
                    EVP_DigestVerifyInit(context, NULL, NULL, NULL, public_key) == 1 &&
                    EVP_DigestVerify(context, raw, sizeof raw, nonce.data, nonce.size) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(public_key);
    // What is left there would be taken for a failure of the next TLS connection of this thread.
    ERR_clear_error();
    return is_right;
}
