// SPDX-License-Identifier: Apache-2.0
// TLS by OpenSSL over two BIOs of our own: one reads from the ciphertext that was fed, the other writes into
// an outbox, so that ciphertext is copied once and no BIO grows without a bound.
//
// Fed bytes are copied to a buffer, which goes when it was read empty: an idle connection has none.
//
// Certificate files are read by OpenSSL itself, past the vfs: it takes names, and knows the formats. A key
// behind a passphrase is refused: nobody is there to be asked.
//
// Errors of OpenSSL are taken from its queue at once, as text, and the queue is emptied: it is one per
// thread, and connections share the thread.
#include "broker/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"

enum {
    RECORD_SIZE = 16 * 1024,
    FED_MAX = 256 * 1024,
};

/// Shared by its connections, which may outlive a reload: counted, on the loop.
struct dbk_tls_context {
    const daybook_allocator *allocator;
    uint32_t reference_count;
    SSL_CTX *ssl;
    BIO_METHOD *method;
    // SHA-256 of public keys that are let in; NULL: any.
    uint8_t (*pins)[32];
    size_t pin_count;
    char warning[512]; // "": none
};

struct dbk_tls {
    const daybook_allocator *allocator;
    SSL *ssl;
    dbk_outbox outbox;
    dbk_buf fed;      // ciphertext not read yet
    size_t fed_taken; // of it
    bool is_done;     // the handshake
    bool is_failed;
    bool out_of_memory; // the outbox could not take it
    char failure[256];
    dbk_tls_context *context; // a reference
};

// The BIO.

static int bio_write(BIO *bio, const char *data, int size) {
    dbk_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (size <= 0) return 0;
    if (dbk_outbox_append(&tls->outbox, data, (size_t)size) != DAYBOOK_OK) {
        tls->out_of_memory = true;
        return -1;
    }
    return size;
}

static int bio_read(BIO *bio, char *data, int size) {
    dbk_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    size_t left = tls->fed.size - tls->fed_taken;
    if (left == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (size <= 0) return 0;
    size_t taken = left < (size_t)size ? left : (size_t)size;
    memcpy(data, tls->fed.data + tls->fed_taken, taken);
    tls->fed_taken += taken;
    return (int)taken;
}

static long bio_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int bio_create(BIO *bio) {
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *make_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "daybook");
    if (method == NULL) return NULL;
    if (BIO_meth_set_write(method, bio_write) == 1 && BIO_meth_set_read(method, bio_read) == 1 &&
        BIO_meth_set_ctrl(method, bio_control) == 1 && BIO_meth_set_create(method, bio_create) == 1) {
        return method;
    }
    BIO_meth_free(method);
    return NULL;
}

// The context.

/// The oldest error of OpenSSL's queue as text; empties it.
static void take_error(char *text, size_t size, const char *otherwise) {
    unsigned long code = ERR_get_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    (void)snprintf(text, size, "%s", reason != NULL ? reason : otherwise);
    ERR_clear_error();
}

static daybook_status fail_with(daybook_error *error, const char *what, const char *name) {
    char text[200];
    take_error(text, sizeof text, "OpenSSL does not say why");
    return dbk_fail(error, DAYBOOK_EINVALID, "%s %s cannot be used: %s", what, name, text);
}

/// A file of the block tls: `key` names it there, `holds` is what should be in it.
static daybook_status fail_file(daybook_error *error, const char *key, const char *path, const char *holds) {
    unsigned long code = ERR_peek_error();
    if (ERR_SYSTEM_ERROR(code)) { // of which OpenSSL has no text
        ERR_clear_error();
        char action[64];
        (void)snprintf(action, sizeof action, "read tls.%s,", key);
        return dbk_fail_system(error, -ERR_GET_REASON(code), action, path, 0);
    }
    if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) {
        ERR_clear_error();
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for TLS");
    }
    char text[200];
    take_error(text, sizeof text, "OpenSSL does not say why");
    return dbk_fail(error, DAYBOOK_EINVALID, "tls.%s, %s, holds no %s that can be used: %s; give one in PEM",
                    key, path, holds, text);
}

/// Nobody is there to be asked, and OpenSSL would ask on the terminal. `context` learns that there was a
/// question.
static int refuse_passphrase(char *text, int size, int is_writing, void *context) {
    (void)text;
    (void)size;
    (void)is_writing;
    *(bool *)context = true;
    return -1;
}

static daybook_status load_key(SSL_CTX *ssl, const dbk_tls_options *options, daybook_error *error) {
    bool was_asked = false;
    SSL_CTX_set_default_passwd_cb(ssl, refuse_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(ssl, &was_asked);
    bool is_loaded = SSL_CTX_use_PrivateKey_file(ssl, options->key_file, SSL_FILETYPE_PEM) == 1;
    SSL_CTX_set_default_passwd_cb_userdata(ssl, NULL);
    // A key of another kind than the certificate's is loaded beside it.
    if (is_loaded && SSL_CTX_check_private_key(ssl) == 1) return DAYBOOK_OK;
    if (was_asked) {
        ERR_clear_error();
        return dbk_fail(error, DAYBOOK_EUNSUPPORTED,
                        "tls.key_file, %s, is locked with a passphrase; give one without (openssl pkey)",
                        options->key_file);
    }
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_REASON(code);
    if (is_loaded || (ERR_GET_LIB(code) == ERR_LIB_X509 &&
                      (reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH))) {
        ERR_clear_error();
        return dbk_fail(
            error, DAYBOOK_EINVALID,
            "tls.key_file, %s, is not the key of tls.cert_file, %s; name two that belong together",
            options->key_file, options->cert_file);
    }
    return fail_file(error, "key_file", options->key_file, "private key");
}

static daybook_status load_authorities(SSL_CTX *ssl, const dbk_tls_options *options, daybook_error *error) {
    if (options->ca_file != NULL) {
        if (SSL_CTX_load_verify_locations(ssl, options->ca_file, NULL) != 1)
            return fail_file(error, "ca_file", options->ca_file, "certificate");
        // Names sent to clients, so that they know which of their certificates to show.
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(options->ca_file);
        if (names != NULL) SSL_CTX_set_client_CA_list(ssl, names);
        ERR_clear_error();
    } else if (options->verify || options->verify_and_map) {
        if (SSL_CTX_set_default_verify_paths(ssl) != 1)
            return fail_with(error, "the system's", "certificate authorities");
    }
    return DAYBOOK_OK;
}

static daybook_status load_files(SSL_CTX *ssl, const dbk_tls_options *options, daybook_error *error) {
    if (options->cert_file == NULL || options->key_file == NULL) {
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "TLS needs a certificate and its key: set cert_file and key_file");
    }
    if (SSL_CTX_use_certificate_chain_file(ssl, options->cert_file) != 1)
        return fail_file(error, "cert_file", options->cert_file, "certificate");
    DBK_TRY(load_key(ssl, options, error));
    return load_authorities(ssl, options, error);
}

/// A certificate out of its time is served all the same: clients say no, and nothing is gained by a server
/// that is down.
static void look_at_time(dbk_tls_context *context, const char *path) {
    const X509 *certificate = SSL_CTX_get0_certificate(context->ssl);
    const ASN1_TIME *begin = X509_get0_notBefore(certificate), *end = X509_get0_notAfter(certificate);
    bool is_over = X509_cmp_current_time(end)<0, is_early = X509_cmp_current_time(begin)> 0;
    if (!is_over && !is_early) return;
    char when[64] = "an unknown day";
    BIO *memory = BIO_new(BIO_s_mem());
    if (memory != NULL && ASN1_TIME_print(memory, is_over ? end : begin) == 1) {
        int size = BIO_read(memory, when, sizeof when - 1);
        if (size > 0) when[size] = '\0';
    }
    BIO_free(memory);
    (void)snprintf(context->warning, sizeof context->warning,
                   "tls.cert_file, %s, %s %s: clients refuse it; put another there and reload", path,
                   is_over ? "ran out on" : "is not valid before", when);
}

/// Names as Go and IANA write them to OpenSSL's two lists: TLS 1.3's have the same names, older ones have
/// others.
static daybook_status set_ciphers(SSL_CTX *ssl, const dbk_text_list *names, daybook_error *error) {
    if (names->count == 0) return DAYBOOK_OK;
    char old[2048] = "", new[512] = "";
    size_t old_size = 0, new_size = 0;
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->items[i];
        bool is_new = strncmp(name, "TLS_AES_", 8) == 0 || strncmp(name, "TLS_CHACHA20_", 13) == 0;
        const char *known = is_new ? name : OPENSSL_cipher_name(name);
        if (known == NULL || strcmp(known, "(NONE)") == 0) {
            return dbk_fail(error, DAYBOOK_EINVALID,
                            "cipher suite %s is not known to OpenSSL; leave it out of tls.cipher_suites",
                            name);
        }
        char *list = is_new ? new : old;
        size_t *size = is_new ? &new_size : &old_size, capacity = is_new ? sizeof new : sizeof old;
        int length = snprintf(list + *size, capacity - *size, "%s%s", *size > 0 ? ":" : "", known);
        if (length < 0 || (size_t)length >= capacity - *size) {
            return dbk_fail(error, DAYBOOK_ELIMIT, "too many cipher suites; name fewer in tls.cipher_suites");
        }
        *size += (size_t)length;
    }
    if (old_size > 0 && SSL_CTX_set_cipher_list(ssl, old) != 1)
        return fail_with(error, "tls.cipher_suites", old);
    if (new_size > 0 && SSL_CTX_set_ciphersuites(ssl, new) != 1)
        return fail_with(error, "tls.cipher_suites", new);
    return DAYBOOK_OK;
}

static daybook_status set_curves(SSL_CTX *ssl, const dbk_text_list *names, daybook_error *error) {
    if (names->count == 0) return DAYBOOK_OK;
    char list[512] = "";
    size_t size = 0;
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->items[i];
        // As Go writes them, as OpenSSL does.
        if (strcmp(name, "CurveP256") == 0) name = "P-256";
        if (strcmp(name, "CurveP384") == 0) name = "P-384";
        if (strcmp(name, "CurveP521") == 0) name = "P-521";
        int length = snprintf(list + size, sizeof list - size, "%s%s", size > 0 ? ":" : "", name);
        if (length < 0 || (size_t)length >= sizeof list - size)
            return dbk_fail(error, DAYBOOK_ELIMIT, "too many curves; name fewer in tls.curve_preferences");
        size += (size_t)length;
    }
    return SSL_CTX_set1_groups_list(ssl, list) == 1 ? DAYBOOK_OK
                                                    : fail_with(error, "tls.curve_preferences", list);
}

static int hex_digit(char digit) {
    return digit >= '0' && digit <= '9' ? digit - '0' : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static daybook_status set_pins(dbk_tls_context *context, const dbk_text_list *pins, daybook_error *error) {
    if (pins->count == 0) return DAYBOOK_OK;
    context->pins = dbk_alloc(context->allocator, pins->count * sizeof *context->pins);
    if (context->pins == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for pinned certificates");
    for (size_t i = 0; i < pins->count; i++) {
        const char *text = pins->items[i];
        if (strlen(text) != 64)
            return dbk_fail(error, DAYBOOK_EINVALID, "pinned certificate %s is not 64 hex digits", text);
        for (size_t byte = 0; byte < 32; byte++) {
            int high = hex_digit(text[2 * byte]), low = hex_digit(text[2 * byte + 1]);
            if (high < 0 || low < 0) {
                return dbk_fail(error, DAYBOOK_EINVALID,
                                "pinned certificate %s is not 64 hex digits in lower case", text);
            }
            context->pins[i][byte] = (uint8_t)(high << 4 | low);
        }
    }
    context->pin_count = pins->count;
    return DAYBOOK_OK;
}

static daybook_status set_up(dbk_tls_context *context, const dbk_tls_options *options, daybook_error *error) {
    SSL_CTX *ssl = context->ssl;
    int version = options->min_version != 0 ? options->min_version : TLS1_2_VERSION;
    if (SSL_CTX_set_min_proto_version(ssl, version) != 1) return fail_with(error, "tls.min_version", "");
    SSL_CTX_set_options(ssl,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    // Idle connections keep no buffers of OpenSSL's.
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    DBK_TRY(load_files(ssl, options, error));
    look_at_time(context, options->cert_file);
    DBK_TRY(set_ciphers(ssl, &options->cipher_suites, error));
    DBK_TRY(set_curves(ssl, &options->curve_preferences, error));
    DBK_TRY(set_pins(context, &options->pinned_certs, error));
    if (options->verify || options->verify_and_map || context->pin_count > 0) {
        SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    static const unsigned char session_context[] = "daybook";
    (void)SSL_CTX_set_session_id_context(ssl, session_context, sizeof session_context - 1);
    return DAYBOOK_OK;
}

daybook_status dbk_tls_context_new(const dbk_tls_options *options, const daybook_allocator *allocator,
                                   dbk_tls_context **context_out, daybook_error *error) {
    *context_out = NULL;
    dbk_tls_context *context = dbk_alloc_zeroed(allocator, sizeof *context);
    if (context == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for TLS");
    context->allocator = allocator;
    context->reference_count = 1;
    context->ssl = SSL_CTX_new(TLS_server_method());
    context->method = make_method();
    daybook_status status = context->ssl != NULL && context->method != NULL
                                ? set_up(context, options, error)
                                : dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for TLS");
    ERR_clear_error();
    if (status != DAYBOOK_OK) {
        dbk_tls_context_free(context);
        return status;
    }
    *context_out = context;
    return DAYBOOK_OK;
}

void dbk_tls_context_free(dbk_tls_context *context) {
    if (context == NULL || --context->reference_count > 0) return;
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->method);
    dbk_free(context->allocator, context->pins);
    dbk_free(context->allocator, context);
}

const char *dbk_tls_context_warning(const dbk_tls_context *context) {
    return context->warning[0] != '\0' ? context->warning : NULL;
}

// A connection.

daybook_status dbk_tls_new(dbk_tls_context *context, const daybook_allocator *allocator,
                           dbk_outbox_pool *pool, dbk_tls **tls_out) {
    *tls_out = NULL;
    dbk_tls *tls = dbk_alloc_zeroed(allocator, sizeof *tls);
    if (tls == NULL) return DAYBOOK_ENOMEM;
    tls->allocator = allocator;
    dbk_outbox_init(&tls->outbox, pool);
    dbk_buf_init(&tls->fed, allocator, FED_MAX);
    tls->context = context;
    context->reference_count++;
    tls->ssl = SSL_new(context->ssl);
    BIO *bio = tls->ssl != NULL ? BIO_new(context->method) : NULL;
    if (bio == NULL) {
        ERR_clear_error();
        dbk_tls_free(tls);
        return DAYBOOK_ENOMEM;
    }
    BIO_set_data(bio, tls);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_accept_state(tls->ssl);
    *tls_out = tls;
    return DAYBOOK_OK;
}

void dbk_tls_free(dbk_tls *tls) {
    if (tls == NULL) return;
    SSL_free(tls->ssl); // with its BIO
    dbk_outbox_reset(&tls->outbox);
    dbk_buf_deinit(&tls->fed);
    dbk_tls_context_free(tls->context);
    dbk_free(tls->allocator, tls);
}

dbk_outbox *dbk_tls_outbox(dbk_tls *tls) {
    return &tls->outbox;
}

daybook_status dbk_tls_feed(dbk_tls *tls, const void *data, size_t size) {
    size_t left = tls->fed.size - tls->fed_taken;
    if (left > 0 && tls->fed_taken > 0) memmove(tls->fed.data, tls->fed.data + tls->fed_taken, left);
    if (left == 0) {
        dbk_buf_reset(&tls->fed);
    } else {
        tls->fed.size = left;
    }
    tls->fed_taken = 0;
    dbk_buf_append(&tls->fed, data, size);
    return dbk_buf_status(&tls->fed);
}

/// An idle connection has no buffer.
static void release_fed(dbk_tls *tls) {
    if (tls->fed_taken < tls->fed.size || tls->fed.capacity == 0) return;
    dbk_buf_deinit(&tls->fed);
    dbk_buf_init(&tls->fed, tls->allocator, FED_MAX);
    tls->fed_taken = 0;
}

static daybook_status fail(dbk_tls *tls, const char *otherwise) {
    tls->is_failed = true;
    take_error(tls->failure, sizeof tls->failure, otherwise);
    return tls->out_of_memory ? DAYBOOK_ENOMEM : DAYBOOK_EINVALID;
}

/// Is the certificate it showed one of those that are let in?
static bool is_pinned(dbk_tls *tls) {
    const dbk_tls_context *context = tls->context;
    if (context->pin_count == 0) return true;
    X509 *peer = SSL_get0_peer_certificate(tls->ssl);
    unsigned char *key = NULL;
    int size = peer != NULL ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(peer), &key) : -1;
    if (size <= 0) return false;
    uint8_t digest[32];
    dbk_sha256 hash;
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, key, (size_t)size);
    dbk_sha256_final(&hash, digest);
    OPENSSL_free(key);
    bool is_found = false;
    for (size_t i = 0; i < context->pin_count; i++) {
        is_found = is_found || memcmp(context->pins[i], digest, sizeof digest) == 0;
    }
    return is_found;
}

/// What a call of OpenSSL that moved nothing means.
static daybook_status explain(dbk_tls *tls, int result, const char *otherwise) {
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return tls->out_of_memory ? fail(tls, "out of memory") : DAYBOOK_OK;
    case SSL_ERROR_ZERO_RETURN:
        return DAYBOOK_END;
    default:
        return fail(tls, otherwise);
    }
}

static daybook_status shake_hands(dbk_tls *tls) {
    int result = SSL_do_handshake(tls->ssl);
    if (result != 1) return explain(tls, result, "the other side broke off");
    tls->is_done = true;
    if (is_pinned(tls)) return DAYBOOK_OK;
    tls->is_failed = true;
    (void)snprintf(tls->failure, sizeof tls->failure,
                   "the client's certificate is not among the pinned ones");
    return DAYBOOK_EINVALID;
}

daybook_status dbk_tls_read(dbk_tls *tls, void *data, size_t size, size_t *size_out) {
    *size_out = 0;
    if (tls->is_failed) return DAYBOOK_EINVALID;
    ERR_clear_error();
    if (!tls->is_done) {
        DBK_TRY(shake_hands(tls));
        if (!tls->is_done) return DAYBOOK_OK;
    }
    int result = SSL_read_ex(tls->ssl, data, size, size_out);
    if (result == 1) return DAYBOOK_OK;
    *size_out = 0;
    daybook_status status = explain(tls, result, "the connection broke off");
    if (status == DAYBOOK_OK) release_fed(tls);
    return status;
}

daybook_status dbk_tls_write(dbk_tls *tls, dbk_outbox *from) {
    if (tls->is_failed) return DAYBOOK_EINVALID;
    ERR_clear_error();
    // Small pieces are put together: a record costs more than a copy.
    uint8_t gathered[RECORD_SIZE];
    dbk_span spans[16];
    size_t count = dbk_outbox_gather(from, spans, 16, RECORD_SIZE), size = 0;
    const uint8_t *data = gathered;
    if (count > 0 && spans[0].size >= RECORD_SIZE) {
        data = spans[0].data;
        size = RECORD_SIZE;
    } else {
        for (size_t i = 0; i < count; i++) {
            size_t part = spans[i].size < RECORD_SIZE - size ? spans[i].size : RECORD_SIZE - size;
            memcpy(gathered + size, spans[i].data, part);
            size += part;
        }
    }
    if (size == 0) return DAYBOOK_OK;
    size_t written = 0;
    int result = SSL_write_ex(tls->ssl, data, size, &written);
    if (result == 1) {
        dbk_outbox_consume(from, written);
        return DAYBOOK_OK;
    }
    daybook_status status = explain(tls, result, "enciphering failed");
    return status == DAYBOOK_OK ? fail(tls, "enciphering did not go on") : status;
}

void dbk_tls_end(dbk_tls *tls) {
    if (tls->is_failed || !tls->is_done) return;
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl); // the other side's answer is not waited for
    ERR_clear_error();
}

bool dbk_tls_is_done(const dbk_tls *tls) {
    return tls->is_done && !tls->is_failed;
}

const char *dbk_tls_failure(const dbk_tls *tls) {
    return tls->failure;
}

struct x509_st *dbk_tls_peer(const dbk_tls *tls) {
    if (!tls->is_done || SSL_get_verify_result(tls->ssl) != X509_V_OK) return NULL;
    return SSL_get_verify_mode(tls->ssl) == SSL_VERIFY_NONE ? NULL : SSL_get0_peer_certificate(tls->ssl);
}

const char *dbk_tls_version(const dbk_tls *tls) {
    return SSL_get_version(tls->ssl);
}

const char *dbk_tls_cipher(const dbk_tls *tls) {
    return SSL_get_cipher_name(tls->ssl);
}
