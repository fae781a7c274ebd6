// SPDX-License-Identifier: Apache-2.0
// Files of the block tls: what is served, and what is said of those that cannot be.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "broker/tls.h"

static char folder[] = "tls-files-XXXXXX";

static const char *in_folder(const char *name) {
    static char paths[4][96];
    static unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static FILE *create(const char *name) {
    FILE *file = fopen(in_folder(name), "w");
    assert_non_null(file);
    return file;
}

static void write_key(const char *name, EVP_PKEY *key, const char *passphrase) {
    FILE *file = create(name);
    const EVP_CIPHER *cipher = passphrase != NULL ? EVP_aes_128_cbc() : NULL;
    assert_int_equal(PEM_write_PKCS8PrivateKey(file, key, cipher, passphrase,
                                               passphrase != NULL ? (int)strlen(passphrase) : 0, NULL, NULL),
                     1);
    assert_int_equal(fclose(file), 0);
}

/// Valid from `from` to `to`, in seconds from now.
static void write_certificate(const char *name, EVP_PKEY *key, long from, long to) {
    X509 *certificate = X509_new();
    assert_non_null(certificate);
    (void)X509_set_version(certificate, 2);
    (void)X509_gmtime_adj(X509_getm_notBefore(certificate), from);
    (void)X509_gmtime_adj(X509_getm_notAfter(certificate), to);
    (void)X509_set_pubkey(certificate, key);
    X509_NAME *subject = X509_get_subject_name(certificate);
    (void)X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1,
                                     0);
    (void)X509_set_issuer_name(certificate, subject);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    FILE *file = create(name);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    assert_int_equal(fclose(file), 0);
    X509_free(certificate);
}

static void write_text(const char *name, const char *text) {
    FILE *file = create(name);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int make_files(void **state) {
    (void)state;
    assert_non_null(mkdtemp(folder));
    EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256"), *small = EVP_RSA_gen(2048);
    assert_true(key != NULL && other != NULL && small != NULL);
    write_certificate("good.pem", key, -3600, 3600);
    write_certificate("old.pem", key, -7200, -3600);
    write_certificate("early.pem", key, 3600, 7200);
    write_key("good.key", key, NULL);
    write_key("locked.key", key, "secret");
    write_key("other.key", other, NULL);
    write_key("rsa.key", small, NULL);
    write_text("empty", "");
    write_text("garbled", "-----BEGIN CERTIFICATE-----\nno base 64 at all !\n-----END CERTIFICATE-----\n");
    write_text("garbled.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    write_certificate("closed.pem", key, -3600, 3600);
    assert_int_equal(chmod(in_folder("closed.pem"), 0), 0);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    EVP_PKEY_free(small);
    return 0;
}

static int remove_files(void **state) {
    (void)state;
    static const char *const names[] = {"good.pem",   "old.pem",     "early.pem", "good.key",
                                        "locked.key", "other.key",   "rsa.key",   "empty",
                                        "garbled",    "garbled.key", "closed.pem"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) (void)remove(in_folder(names[i]));
    return rmdir(folder);
}

typedef struct attempt {
    const char *certificate, *key, *authority;
    daybook_status status;
    const char *says[3];
} attempt;

static void try_one(const attempt *tried) {
    dbk_tls_options options = {
        .is_set = true,
        .cert_file = in_folder(tried->certificate),
        .key_file = in_folder(tried->key),
        .ca_file = tried->authority != NULL ? in_folder(tried->authority) : NULL,
    };
    daybook_error error;
    daybook_error_init(&error);
    dbk_tls_context *context = NULL;
    daybook_status status = dbk_tls_context_new(&options, dbk_allocator_default(), &context, &error);
    if (status != tried->status) print_error("%s, %s: %s\n", tried->certificate, tried->key, error.message);
    assert_int_equal(status, tried->status);
    if (status == DAYBOOK_OK) {
        dbk_tls_context_free(context);
        return;
    }
    assert_null(context);
    assert_int_equal(error.status, status);
    for (size_t i = 0; i < 3 && tried->says[i] != NULL; i++) {
        if (strstr(error.message, tried->says[i]) == NULL)
            print_error("'%s' is not in: %s\n", tried->says[i], error.message);
        assert_non_null(strstr(error.message, tried->says[i]));
    }
}

static void files_that_cannot_be_used_are_named(void **state) {
    (void)state;
    static const attempt attempts[] = {
        {"good.pem", "good.key", NULL, DAYBOOK_OK, {0}},
        {"good.pem", "good.key", "good.pem", DAYBOOK_OK, {0}},
        {"no.pem", "good.key", NULL, DAYBOOK_ENOTFOUND, {"tls.cert_file", "no.pem", "No such file"}},
        {"good.pem", "no.key", NULL, DAYBOOK_ENOTFOUND, {"tls.key_file", "no.key", "No such file"}},
        {"good.pem", "good.key", "no.ca", DAYBOOK_ENOTFOUND, {"tls.ca_file", "no.ca", "No such file"}},
        {"good.pem/x", "good.key", NULL, DAYBOOK_EIO, {"tls.cert_file", "good.pem/x", "Not a directory"}},
        {"", "good.key", NULL, DAYBOOK_EINVALID, {"tls.cert_file", "no certificate"}},
        {"empty", "good.key", NULL, DAYBOOK_EINVALID, {"tls.cert_file", "empty", "no certificate"}},
        {"garbled", "good.key", NULL, DAYBOOK_EINVALID, {"tls.cert_file", "garbled", "no certificate"}},
        {"good.key", "good.key", NULL, DAYBOOK_EINVALID, {"tls.cert_file", "good.key", "no certificate"}},
        {"good.pem", "empty", NULL, DAYBOOK_EINVALID, {"tls.key_file", "empty", "no private key"}},
        {"good.pem",
         "garbled.key",
         NULL,
         DAYBOOK_EINVALID,
         {"tls.key_file", "garbled.key", "no private key"}},
        {"good.pem", "good.key", "empty", DAYBOOK_EINVALID, {"tls.ca_file", "empty", "no certificate"}},
        {"good.pem", "other.key", NULL, DAYBOOK_EINVALID, {"other.key", "is not the key of", "good.pem"}},
        {"good.pem", "rsa.key", NULL, DAYBOOK_EINVALID, {"rsa.key", "is not the key of", "good.pem"}},
        {"good.pem", "locked.key", NULL, DAYBOOK_EUNSUPPORTED, {"locked.key", "passphrase"}},
    };
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) try_one(&attempts[i]);
}

static void a_file_of_others_is_named(void **state) {
    (void)state;
    uid_t self = geteuid();
    if (self == 0 && seteuid(65534) != 0) skip(); // who may read everything, and must
    static const attempt closed = {"closed.pem",
                                   "good.key",
                                   NULL,
                                   DAYBOOK_EPERMISSION,
                                   {"tls.cert_file", "closed.pem", "Permission denied"}};
    try_one(&closed);
    assert_int_equal(seteuid(self), 0);
}

static void a_certificate_out_of_its_time_is_a_warning(void **state) {
    (void)state;
    static const struct {
        const char *certificate, *says;
    } cases[] = {{"good.pem", NULL}, {"old.pem", "ran out on"}, {"early.pem", "is not valid before"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dbk_tls_options options = {
            .is_set = true, .cert_file = in_folder(cases[i].certificate), .key_file = in_folder("good.key")};
        dbk_tls_context *context;
        assert_int_equal(dbk_tls_context_new(&options, dbk_allocator_default(), &context, NULL), DAYBOOK_OK);
        const char *warning = dbk_tls_context_warning(context);
        if (cases[i].says == NULL) {
            assert_null(warning);
        } else {
            assert_non_null(warning);
            assert_non_null(strstr(warning, cases[i].says));
            assert_non_null(strstr(warning, " GMT"));
        }
        dbk_tls_context_free(context);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_cannot_be_used_are_named),
        cmocka_unit_test(a_file_of_others_is_named),
        cmocka_unit_test(a_certificate_out_of_its_time_is_a_warning),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
