// SPDX-License-Identifier: Apache-2.0
// The names of a client's certificate, for users that are found by it (tls.verify_and_map).
#ifndef DBK_AUTH_CERTIFICATE_H
#define DBK_AUTH_CERTIFICATE_H

#include <stdbool.h>

#include "base/memory.h"

struct x509_st; // OpenSSL's X509

/// In the order in which users are looked for, as in nats-server: e-mail addresses, DNS names, URIs of the
/// subject's alternative names, then its distinguished name in the form of dbk_distinguished_name. Names
/// with control characters or that are no UTF-8 are left out.
typedef struct dbk_certificate_names {
    const dbk_slice *items;
    size_t count;
    // Private.
    const daybook_allocator *allocator;
    dbk_buf text;
    dbk_slice *owned;
    size_t capacity;
} dbk_certificate_names;

/// The certificate was verified by the handshake. NULL: no names. ENOMEM: none.
daybook_status dbk_certificate_names_read(struct x509_st *certificate, const daybook_allocator *allocator,
                                          dbk_certificate_names *names_out);
void dbk_certificate_names_free(dbk_certificate_names *names);

/// A distinguished name as people write it (RFC 4514: "CN=app,OU=x\, y+L=z", blanks around commas allowed)
/// in one form for all ways to write it, in any order of its parts; begins with DBK_DISTINGUISHED_MARK,
/// with which no other name does. EINVALID: it is none, or has attributes nobody knows.
daybook_status dbk_distinguished_name(dbk_slice text, dbk_buf *form_out);
#define DBK_DISTINGUISHED_MARK '\1'

#endif
