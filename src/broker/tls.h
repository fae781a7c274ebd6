// SPDX-License-Identifier: Apache-2.0
// TLS as a filter between a socket's bytes and a connection's: ciphertext goes in and comes out through
// memory, nothing here knows of sockets. Loop thread only, but for dbk_tls_context_new.
#ifndef DBK_BROKER_TLS_H
#define DBK_BROKER_TLS_H

#include "broker/outbox.h"
#include "options/options.h"

typedef struct dbk_tls_context dbk_tls_context;
typedef struct dbk_tls dbk_tls;

/// Reads certificate, key and authorities. The message names key and file. ENOTFOUND, EPERMISSION, EIO,
/// EMFILE: a file cannot be read; EINVALID: it holds something else, or they do not belong together;
/// EUNSUPPORTED: a key with a passphrase; ELIMIT, ENOMEM.
daybook_status dbk_tls_context_new(const dbk_tls_options *options, const daybook_allocator *allocator,
                                   dbk_tls_context **context_out, daybook_error *error);
/// Connections that use it go on. NULL is fine.
void dbk_tls_context_free(dbk_tls_context *context);
/// What is wrong with its certificate, though it is served: it ran out, or is not valid yet. NULL: nothing.
/// Borrowed.
const char *dbk_tls_context_warning(const dbk_tls_context *context);

/// The server's side of one connection. Its ciphertext goes to `out`. ENOMEM.
daybook_status dbk_tls_new(dbk_tls_context *context, const daybook_allocator *allocator,
                           dbk_outbox_pool *pool, dbk_tls **tls_out);
void dbk_tls_free(dbk_tls *tls);

/// Ciphertext that wants to be sent.
dbk_outbox *dbk_tls_outbox(dbk_tls *tls);
/// Takes received ciphertext: all of it, or none and ENOMEM.
daybook_status dbk_tls_feed(dbk_tls *tls, const void *data, size_t size);
/// What was received, deciphered, up to `size` bytes; advances the handshake as far as it goes. *size_out 0:
/// more ciphertext is needed. END: the other side ended it properly. EINVALID: it is broken; dbk_tls_failure
/// says why.
daybook_status dbk_tls_read(dbk_tls *tls, void *data, size_t size, size_t *size_out);
/// Enciphers up to what is sensible of `from` and consumes it there. EINVALID, ENOMEM.
daybook_status dbk_tls_write(dbk_tls *tls, dbk_outbox *from);
/// Says goodbye into the outbox.
void dbk_tls_end(dbk_tls *tls);

/// The handshake is over, and the other side was found to be who it says.
bool dbk_tls_is_done(const dbk_tls *tls);
/// Why it failed, for the log. Static or owned by `tls`.
const char *dbk_tls_failure(const dbk_tls *tls);
/// The certificate the client showed, verified: an X509 of OpenSSL, for dbk_auth. NULL: none. Borrowed.
struct x509_st *dbk_tls_peer(const dbk_tls *tls);
/// "TLS 1.3", "TLS_AES_128_GCM_SHA256". Static.
const char *dbk_tls_version(const dbk_tls *tls);
const char *dbk_tls_cipher(const dbk_tls *tls);

#endif
