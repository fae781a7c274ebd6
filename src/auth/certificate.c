// SPDX-License-Identifier: Apache-2.0
// Names of a certificate, and distinguished names in one form.
//
// The form, for comparing by bytes: the mark, then the parts (RDNs) in byte order; a part is its attributes
// in byte order joined by '+'; an attribute is "<dotted object identifier>=<size>:<value in UTF-8>"; a
// newline behind each part. Sizes keep a value that looks like another attribute from being taken for one,
// so equal forms mean equal sets of parts: each part as often, each with exactly its attributes. (Loose
// matching of parts with several attributes let the wrong certificates through elsewhere, advisory
// CVE-2026-33248.)
//
// Bounded: DN_PARTS_MAX attributes; a certificate's size is bounded by the handshake. Failure modes:
// memory. Pure but for OpenSSL; any thread.
#include "auth/certificate.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"

enum { DN_PARTS_MAX = 64, OID_SIZE_MAX = 80, TEXT_MAX = 1 << 20 };

// Distinguished names

typedef struct dn_attribute {
    char oid[OID_SIZE_MAX];
    dbk_slice value; // a place in the values' buffer: offset and size, until all are there
    size_t offset;
    unsigned part; // attributes of one part have the same number
} dn_attribute;

typedef struct dn {
    dn_attribute attributes[DN_PARTS_MAX];
    size_t count;
    dbk_buf values;
} dn;

static const struct {
    const char *name, *oid;
} attribute_names[] = {
    {"CN", "2.5.4.3"},
    {"SN", "2.5.4.4"},
    {"SERIALNUMBER", "2.5.4.5"},
    {"C", "2.5.4.6"},
    {"L", "2.5.4.7"},
    {"ST", "2.5.4.8"},
    {"S", "2.5.4.8"},
    {"STREET", "2.5.4.9"},
    {"O", "2.5.4.10"},
    {"OU", "2.5.4.11"},
    {"T", "2.5.4.12"},
    {"TITLE", "2.5.4.12"},
    {"POSTALCODE", "2.5.4.17"},
    {"GN", "2.5.4.42"},
    {"DC", "0.9.2342.19200300.100.1.25"},
    {"UID", "0.9.2342.19200300.100.1.1"},
    {"EMAILADDRESS", "1.2.840.113549.1.9.1"},
    {"E", "1.2.840.113549.1.9.1"},
};

static char upper(char letter) {
    return letter >= 'a' && letter <= 'z' ? (char)(letter - 'a' + 'A') : letter;
}

static bool is_named(dbk_slice text, const char *name) {
    const char *letters = text.data;
    if (text.size != strlen(name)) return false;
    for (size_t i = 0; i < text.size; i++) {
        if (upper(letters[i]) != name[i]) return false;
    }
    return true;
}

static bool is_dotted_number(dbk_slice text) {
    const char *at = text.data;
    bool wants_digit = true;
    for (size_t i = 0; i < text.size; i++) {
        bool is_digit = at[i] >= '0' && at[i] <= '9';
        if (!is_digit && (at[i] != '.' || wants_digit)) return false;
        wants_digit = !is_digit;
    }
    return text.size > 0 && !wants_digit;
}

static bool find_oid(dbk_slice type, char oid_out[OID_SIZE_MAX]) {
    if (is_dotted_number(type) && type.size < OID_SIZE_MAX) {
        snprintf(oid_out, OID_SIZE_MAX, "%.*s", (int)type.size, (const char *)type.data);
        return true;
    }
    for (size_t i = 0; i < sizeof attribute_names / sizeof *attribute_names; i++) {
        if (!is_named(type, attribute_names[i].name)) continue;
        snprintf(oid_out, OID_SIZE_MAX, "%s", attribute_names[i].oid);
        return true;
    }
    return false;
}

// Begins an attribute whose value is then appended to `values`; false where there are too many.
static bool begin_attribute(dn *name, unsigned part) {
    if (name->count == DN_PARTS_MAX) return false;
    name->attributes[name->count++] = (dn_attribute){.part = part, .offset = name->values.size};
    return true;
}

static void end_attribute(dn *name) {
    dn_attribute *attribute = &name->attributes[name->count - 1];
    attribute->value.size = name->values.size - attribute->offset;
}

static int hex_value(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    digit = upper(digit);
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

// A value up to an unescaped comma, semicolon or plus. *at is left there. False: malformed.
static bool parse_value(dn *name, const char **at, const char *end) {
    size_t kept = name->values.size;            // up to the last byte that is not a blank for looks
    if (*at < end && **at == '#') return false; // the encoded form: nobody writes it
    while (*at < end && **at != ',' && **at != ';' && **at != '+') {
        char byte = *(*at)++;
        bool is_escaped = byte == '\\';
        if (byte == '"' || byte == '<' || byte == '>' || byte == '\0') return false;
        if (is_escaped) {
            if (*at == end) return false;
            byte = *(*at)++;
            int high = hex_value(byte), low = *at < end ? hex_value(**at) : -1;
            if (high >= 0 && low >= 0) {
                byte = (char)(high << 4 | low);
                ++*at;
            } else if (strchr(" \"#+,;<=>\\", byte) == NULL || byte == '\0') {
                return false;
            }
        }
        dbk_buf_append_u8(&name->values, (uint8_t)byte);
        if (is_escaped || byte != ' ') kept = name->values.size;
    }
    if (!name->values.failed) name->values.size = kept;
    return true;
}

static void skip_blanks(const char **at, const char *end) {
    while (*at < end && **at == ' ') ++*at;
}

static bool parse_attribute(dn *name, const char **at, const char *end, unsigned part) {
    skip_blanks(at, end);
    const char *start = *at;
    while (*at < end && **at != '=' && **at != ' ') ++*at;
    dbk_slice type = daybook_bytes(start, (size_t)(*at - start));
    skip_blanks(at, end);
    if (*at == end || **at != '=') return false;
    ++*at;
    skip_blanks(at, end);
    if (!begin_attribute(name, part)) return false;
    if (!find_oid(type, name->attributes[name->count - 1].oid) || !parse_value(name, at, end)) return false;
    end_attribute(name);
    return true;
}

static bool parse_name(dn *name, dbk_slice text) {
    if (text.size == 0) return false;
    const char *at = text.data, *end = at + text.size;
    for (unsigned part = 0;;) {
        if (!parse_attribute(name, &at, end, part)) return false;
        if (at == end) return true;
        part += *at++ != '+';
    }
}

static int compare_attributes(const dn_attribute *a, const dn_attribute *b) {
    int order = strcmp(a->oid, b->oid);
    return order != 0 ? order : dbk_slice_compare(a->value, b->value);
}

static void sort_attributes(dn_attribute **items, size_t count) {
    for (size_t i = 1; i < count; i++) {
        dn_attribute *moved = items[i];
        size_t k = i;
        for (; k > 0 && compare_attributes(items[k - 1], moved) > 0; k--) items[k] = items[k - 1];
        items[k] = moved;
    }
}

// Attributes of each part are together; parts [*start_a, …) and so on are compared as wholes.
typedef struct dn_part {
    dn_attribute **items;
    size_t count;
} dn_part;

static int compare_parts(const dn_part *a, const dn_part *b) {
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        int order = compare_attributes(a->items[i], b->items[i]);
        if (order != 0) return order;
    }
    return a->count < b->count ? -1 : a->count > b->count;
}

static size_t gather_parts(dn *name, dn_attribute **items, dn_part *parts) {
    size_t count = 0;
    for (size_t i = 0; i < name->count; i++) {
        dn_attribute *attribute = &name->attributes[i];
        attribute->value.data = name->values.data == NULL ? NULL : name->values.data + attribute->offset;
        items[i] = attribute;
        bool is_new = i == 0 || name->attributes[i - 1].part != attribute->part;
        if (is_new) parts[count++] = (dn_part){.items = &items[i]};
        parts[count - 1].count++;
    }
    for (size_t i = 0; i < count; i++) sort_attributes(parts[i].items, parts[i].count);
    for (size_t i = 1; i < count; i++) {
        dn_part moved = parts[i];
        size_t k = i;
        for (; k > 0 && compare_parts(&parts[k - 1], &moved) > 0; k--) parts[k] = parts[k - 1];
        parts[k] = moved;
    }
    return count;
}

static daybook_status write_form(dn *name, dbk_buf *form) {
    dn_attribute *items[DN_PARTS_MAX];
    dn_part parts[DN_PARTS_MAX];
    size_t count = gather_parts(name, items, parts);
    dbk_buf_append_u8(form, DBK_DISTINGUISHED_MARK);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < parts[i].count; k++) {
            const dn_attribute *attribute = parts[i].items[k];
            char head[OID_SIZE_MAX + 32];
            int size = snprintf(head, sizeof head, "%s%s=%zu:", k > 0 ? "+" : "", attribute->oid,
                                attribute->value.size);
            dbk_buf_append(form, head, (size_t)size);
            dbk_buf_append_slice(form, attribute->value);
        }
        dbk_buf_append_u8(form, '\n');
    }
    return dbk_buf_status(form);
}

daybook_status dbk_distinguished_name(dbk_slice text, dbk_buf *form_out) {
    dn name = {.count = 0};
    dbk_buf_init(&name.values, form_out->allocator, TEXT_MAX);
    daybook_status status = DAYBOOK_EINVALID;
    if (parse_name(&name, text)) status = dbk_buf_status(&name.values);
    if (status == DAYBOOK_OK) status = write_form(&name, form_out);
    dbk_buf_deinit(&name.values);
    return status;
}

// Certificates

static daybook_status add_name(dbk_certificate_names *names, size_t offset, size_t size) {
    DBK_TRY(dbk_buf_status(&names->text));
    dbk_slice *owned =
        dbk_grow_array(names->allocator, names->owned, &names->capacity, names->count + 1, sizeof *owned);
    if (owned == NULL) return DAYBOOK_ENOMEM;
    names->owned = owned;
    // The buffer may move still: offsets for now.
    owned[names->count++] = daybook_bytes((const void *)(uintptr_t)offset, size);
    return DAYBOOK_OK;
}

static daybook_status add_alternative(dbk_certificate_names *names, const ASN1_IA5STRING *text) {
    int size = ASN1_STRING_length(text);
    dbk_slice name = daybook_bytes(ASN1_STRING_get0_data(text), size > 0 ? (size_t)size : 0);
    // A NUL or another control character in a name is somebody's attempt at being two.
    if (name.size == 0 || !dbk_is_plain_text(name)) return DAYBOOK_OK;
    size_t offset = names->text.size;
    dbk_buf_append_slice(&names->text, name);
    return add_name(names, offset, name.size);
}

static daybook_status read_alternatives(dbk_certificate_names *names, const GENERAL_NAMES *alternatives) {
    static const int kinds[] = {GEN_EMAIL, GEN_DNS, GEN_URI};
    for (size_t k = 0; alternatives != NULL && k < sizeof kinds / sizeof *kinds; k++) {
        for (int i = 0; i < sk_GENERAL_NAME_num(alternatives); i++) {
            const GENERAL_NAME *name = sk_GENERAL_NAME_value(alternatives, i);
            if (name->type == kinds[k]) DBK_TRY(add_alternative(names, name->d.ia5));
        }
    }
    return DAYBOOK_OK;
}

// False: not a name we can compare.
static bool read_attribute(dn *name, const X509_NAME_ENTRY *entry) {
    if (!begin_attribute(name, (unsigned)X509_NAME_ENTRY_set(entry))) return false;
    char *oid = name->attributes[name->count - 1].oid;
    int oid_size = OBJ_obj2txt(oid, OID_SIZE_MAX, X509_NAME_ENTRY_get_object(entry), 1);
    if (oid_size <= 0 || oid_size >= OID_SIZE_MAX) return false;
    unsigned char *value = NULL;
    int size = ASN1_STRING_to_UTF8(&value, X509_NAME_ENTRY_get_data(entry));
    if (size < 0) return false;
    dbk_slice text = daybook_bytes(value, (size_t)size);
    bool is_plain = dbk_is_plain_text(text);
    dbk_buf_append_slice(&name->values, text);
    OPENSSL_free(value);
    end_attribute(name);
    return is_plain;
}

static daybook_status read_subject(dbk_certificate_names *names, X509_NAME *subject) {
    int count = X509_NAME_entry_count(subject);
    if (count <= 0) return DAYBOOK_OK;
    dn name = {.count = 0};
    dbk_buf_init(&name.values, names->allocator, TEXT_MAX);
    bool is_usable = true;
    for (int i = 0; is_usable && i < count; i++)
        is_usable = read_attribute(&name, X509_NAME_get_entry(subject, i));
    daybook_status status = dbk_buf_status(&name.values);
    size_t offset = names->text.size;
    if (status == DAYBOOK_OK && is_usable) status = write_form(&name, &names->text);
    if (status == DAYBOOK_OK && is_usable) status = add_name(names, offset, names->text.size - offset);
    dbk_buf_deinit(&name.values);
    return status;
}

daybook_status dbk_certificate_names_read(struct x509_st *certificate, const daybook_allocator *allocator,
                                          dbk_certificate_names *names_out) {
    *names_out = (dbk_certificate_names){.allocator = allocator};
    dbk_buf_init(&names_out->text, allocator, TEXT_MAX);
    if (certificate == NULL) return DAYBOOK_OK;
    GENERAL_NAMES *alternatives = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    daybook_status status = read_alternatives(names_out, alternatives);
    if (status == DAYBOOK_OK) status = read_subject(names_out, X509_get_subject_name(certificate));
    GENERAL_NAMES_free(alternatives);
    ERR_clear_error(); // see dbk_nkey_verify
    if (status != DAYBOOK_OK) {
        dbk_certificate_names_free(names_out);
        return status;
    }
    for (size_t i = 0; i < names_out->count; i++) {
        size_t offset = (size_t)(uintptr_t)names_out->owned[i].data;
        names_out->owned[i].data = names_out->text.data + offset;
    }
    names_out->items = names_out->owned;
    return DAYBOOK_OK;
}

void dbk_certificate_names_free(dbk_certificate_names *names) {
    if (names->allocator == NULL) return;
    dbk_buf_deinit(&names->text);
    dbk_free(names->allocator, names->owned);
    *names = (dbk_certificate_names){.allocator = NULL};
}
