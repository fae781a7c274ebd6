// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "auth/certificate.h"
#include "base/bytes.h"
#include "lib/fault_allocator.h"

// The form of a name, "" where it is none.
static const char *form_of(const char *text, char form_out[512]) {
    dbk_buf form;
    dbk_buf_init(&form, dbk_allocator_default(), 511);
    daybook_status status = dbk_distinguished_name(daybook_text(text), &form);
    if (status != DAYBOOK_OK) assert_int_equal(status, DAYBOOK_EINVALID);
    snprintf(form_out, 512, "%.*s", status == DAYBOOK_OK ? (int)form.size : 0,
             form.data == NULL ? "" : (char *)form.data);
    dbk_buf_deinit(&form);
    return form_out;
}

static void a_name_has_one_form_however_written(void **state) {
    (void)state;
    static const char *same[][2] = {
        {"CN=app,OU=x", "CN=app, OU=x"},
        {"CN=app,OU=x", "OU=x,CN=app"},
        {"CN=app,OU=x", "  cn = app ; Ou=x  "},
        {"CN=app,OU=x", "2.5.4.3=app,OU=x"},
        {"CN=a\\,b", "CN=a\\2Cb"},
        {"CN=a+OU=b,O=c", "O=c,OU=b+CN=a"},
        {"CN=\\ a ", "CN=\\20a"},
        {"ST=Bavaria", "S=Bavaria"},
        {"CN=", "cn="},
        {"emailAddress=a@b.example", "E=a@b.example"},
    };
    static const char *different[][2] = {
        {"CN=app,OU=x", "CN=app"},
        {"CN=app,OU=x", "CN=app,OU=x,OU=x"},
        {"CN=app,OU=x", "CN=app+OU=x"},
        {"CN=a+OU=b,O=c", "CN=a,OU=b+O=c"},
        {"CN=app", "CN=App"},
        {"CN=app", "CN=app\\ "},
        {"CN=a\\,OU=b", "CN=a,OU=b"},
        {"CN=a+OU=b", "CN=a\\+OU=b"},
        {"CN=1", "CN=1\\0A2.5.4.3=1:1"}, // looks like two in the form
    };
    char a[512], b[512];
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        assert_true(form_of(same[i][0], a)[0] == DBK_DISTINGUISHED_MARK);
        assert_string_equal(a, form_of(same[i][1], b));
    }
    for (size_t i = 0; i < sizeof different / sizeof *different; i++) {
        assert_true(form_of(different[i][0], a)[0] == DBK_DISTINGUISHED_MARK);
        assert_true(form_of(different[i][1], b)[0] == DBK_DISTINGUISHED_MARK);
        assert_string_not_equal(a, b);
    }
}

static void what_is_no_distinguished_name_has_no_form(void **state) {
    (void)state;
    static const char *bad[] = {
        "",       "app",      "CN",       "=app",   "CN=a,",         "CN=a,,OU=b", "CN=a+",
        "XX=a",   "CN=#04ff", "CN=\"a\"", "CN=a\\", "CN=a\\zz",      "C N=a",      ",",
        "2.5.=a", ".2.5=a",   "2..5=a",   "CN=a<b", "app@b.example", "CN=a\\0"};
    char form[512];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (form_of(bad[i], form)[0] != '\0') fail_msg("%s has a form", bad[i]);
    }
    // More attributes than anybody has.
    char many[2000];
    size_t size = 0;
    for (int i = 0; i < 65; i++)
        size += (size_t)snprintf(many + size, sizeof many - size, "%sOU=%d", i > 0 ? "," : "", i);
    assert_string_equal(form_of(many, form), "");
}

static X509 *new_certificate(const char *alternatives) {
    X509 *certificate = X509_new();
    assert_non_null(certificate);
    if (alternatives == NULL) return certificate;
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, alternatives);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
    return certificate;
}

static void add_attribute(X509 *certificate, const char *type, const void *value, int size, int set) {
    X509_NAME *subject = X509_get_subject_name(certificate);
    assert_int_equal(X509_NAME_add_entry_by_txt(subject, type, MBSTRING_UTF8, value, size, -1, set), 1);
}

static dbk_certificate_names names_of(X509 *certificate) {
    dbk_certificate_names names;
    assert_int_equal(dbk_certificate_names_read(certificate, dbk_allocator_default(), &names), DAYBOOK_OK);
    assert_int_equal(ERR_peek_error(), 0);
    return names;
}

static void names_come_in_their_order(void **state) {
    (void)state;
    X509 *certificate = new_certificate(
        "DNS:app.example,URI:spiffe://a.example/app,email:app@a.example,IP:127.0.0.1,email:b@a.example");
    add_attribute(certificate, "O", "NATS", -1, 0);
    add_attribute(certificate, "CN", "app", -1, 0);
    add_attribute(certificate, "OU", "x, y", -1, -1); // the same part as CN
    dbk_certificate_names names = names_of(certificate);
    static const char *expected[] = {"app@a.example", "b@a.example", "app.example", "spiffe://a.example/app"};
    assert_int_equal(names.count, 5);
    for (size_t i = 0; i < 4; i++) assert_true(dbk_slice_equal(names.items[i], daybook_text(expected[i])));
    char form[512];
    assert_true(dbk_slice_equal(names.items[4], daybook_text(form_of("CN=app+OU=x\\, y, O=NATS", form))));
    dbk_certificate_names_free(&names);
    X509_free(certificate);
}

static void a_certificate_may_have_no_names(void **state) {
    (void)state;
    X509 *certificate = new_certificate(NULL);
    dbk_certificate_names names = names_of(certificate);
    assert_int_equal(names.count, 0);
    dbk_certificate_names_free(&names);
    X509_free(certificate);
    names = names_of(NULL);
    assert_int_equal(names.count, 0);
    dbk_certificate_names_free(&names);
    dbk_certificate_names_free(&names);
}

static void names_with_control_characters_are_left_out(void **state) {
    (void)state;
    X509 *certificate = X509_new();
    static const char *hostile[] = {"admin\0.example",
                                    "\1"
                                    "2.5.4.3=5:admin\n",
                                    "admin\n", "\xff\xfe", ""};
    static const int sizes[] = {14, 17, 6, 2, 0};
    GENERAL_NAMES *alternatives = sk_GENERAL_NAME_new_null();
    for (size_t i = 0; i < 5; i++) {
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();
        assert_int_equal(ASN1_STRING_set(text, hostile[i], sizes[i]), 1);
        GENERAL_NAME_set0_value(name, i % 2 ? GEN_EMAIL : GEN_DNS, text);
        assert_true(sk_GENERAL_NAME_push(alternatives, name) > 0);
    }
    assert_int_equal(
        X509_add1_ext_i2d(certificate, NID_subject_alt_name, alternatives, 0, X509V3_ADD_DEFAULT), 1);
    GENERAL_NAMES_free(alternatives);
    add_attribute(certificate, "CN", "admin\0x", 7, 0);
    dbk_certificate_names names = names_of(certificate);
    assert_int_equal(names.count, 0);
    dbk_certificate_names_free(&names);
    X509_free(certificate);
}

static void memory_that_runs_out_gives_no_names(void **state) {
    (void)state;
    X509 *certificate = new_certificate("DNS:app.example,email:app@a.example");
    add_attribute(certificate, "CN", "app", -1, 0);
    fault_allocator faults;
    fault_allocator_init(&faults);
    for (uint64_t n = 1;; n++) {
        fault_allocator_fail(&faults, n, false);
        dbk_certificate_names names;
        daybook_status status = dbk_certificate_names_read(certificate, &faults.allocator, &names);
        if (status == DAYBOOK_OK) assert_int_equal(names.count, 3);
        dbk_certificate_names_free(&names);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!fault_allocator_has_failed(&faults)) break;
        assert_int_equal(status, DAYBOOK_ENOMEM);
    }
    X509_free(certificate);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_has_one_form_however_written),
        cmocka_unit_test(what_is_no_distinguished_name_has_no_form),
        cmocka_unit_test(names_come_in_their_order),
        cmocka_unit_test(a_certificate_may_have_no_names),
        cmocka_unit_test(names_with_control_characters_are_left_out),
        cmocka_unit_test(memory_that_runs_out_gives_no_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
