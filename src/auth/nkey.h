// SPDX-License-Identifier: Apache-2.0
// NATS nkeys: a client proves that it has the private half of an Ed25519 key by signing the server's nonce.
//
// An nkey as text is base32 (RFC 4648, no padding, upper case) of: 1 byte of kind, 32 bytes of key, CRC-16
// of these 33 bytes in little-endian: 56 characters. The kind makes the first character: U for users. The
// server holds public keys only. Pure but for OpenSSL; any thread.
#ifndef DBK_AUTH_NKEY_H
#define DBK_AUTH_NKEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

enum {
    DBK_NKEY_SIZE = 32,      // of the key
    DBK_NKEY_TEXT_SIZE = 56, // as text, without NUL
    DBK_NKEY_USER = 20 << 3, // 'U'
    DBK_NONCE_RANDOM_SIZE = 11,
    DBK_NONCE_SIZE = 15 // as text, without NUL
};

/// The public key in `text` of kind `kind`; false where it is none: length, characters, checksum, kind.
bool dbk_nkey_decode(dbk_slice text, uint8_t kind, uint8_t key_out[DBK_NKEY_SIZE]);
void dbk_nkey_encode(const uint8_t key[DBK_NKEY_SIZE], uint8_t kind, char text_out[DBK_NKEY_TEXT_SIZE + 1]);

/// The nonce of INFO, new for each connection: base64url of random bytes.
void dbk_nonce_make(const uint8_t random[DBK_NONCE_RANDOM_SIZE], char text_out[DBK_NONCE_SIZE + 1]);

/// Is `signature` (base64url without padding, as clients send it, or padded base64) that of `key` over the
/// characters of `nonce`? About 0.1 ms.
bool dbk_nkey_verify(const uint8_t key[DBK_NKEY_SIZE], dbk_slice nonce, dbk_slice signature);

#endif
