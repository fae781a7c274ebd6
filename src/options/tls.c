// SPDX-License-Identifier: Apache-2.0
// The block tls. Files are named here and read by tls.c.
#include <stddef.h>
#include <string.h>

#include "base/number.h"
#include "base/time.h"
#include "options/reader.h"

#define FIELD(member) offsetof(dbk_tls_options, member)

enum { TLS_1_2 = 0x0303, TLS_1_3 = 0x0304, PINNED_CERT_SIZE = 64 };

static daybook_status read_verify_and_map(dbk_option_reader *reader, const dbk_option_key *key,
                                          const dbk_config_entry *entry, void *target) {
    dbk_tls_options *tls = target;
    (void)key;
    if (entry->value->kind != DBK_CONFIG_BOOLEAN)
        return dbk_option_fail_kind(reader, entry, "give true or false");
    tls->verify_and_map = entry->value->boolean;
    return DAYBOOK_OK;
}

static daybook_status read_handshake_first(dbk_option_reader *reader, const dbk_option_key *key,
                                           const dbk_config_entry *entry, void *target) {
    dbk_tls_options *tls = target;
    (void)key;
    const dbk_config_value *value = entry->value;
    tls->handshake_first_wait_ns = 0;
    if (value->kind == DBK_CONFIG_BOOLEAN) {
        tls->handshake_first = value->boolean;
        return DAYBOOK_OK;
    }
    tls->handshake_first = true;
    if (value->kind == DBK_CONFIG_STRING && strcmp(value->text.data, "auto") == 0) {
        tls->handshake_first_wait_ns = 50 * DBK_MILLISECOND_NS;
        return DAYBOOK_OK;
    }
    if (value->kind == DBK_CONFIG_STRING &&
        dbk_go_duration_parse(value->text, &tls->handshake_first_wait_ns) && tls->handshake_first_wait_ns > 0)
        return DAYBOOK_OK;
    return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                           "%s is none of true, false, auto and a duration; give one of them",
                           (const char *)entry->key.data);
}

static daybook_status read_min_version(dbk_option_reader *reader, const dbk_option_key *key,
                                       const dbk_config_entry *entry, void *target) {
    dbk_tls_options *tls = target;
    (void)key;
    const dbk_config_value *value = entry->value;
    bool has_text = value->kind == DBK_CONFIG_STRING || value->kind == DBK_CONFIG_FLOAT;
    if (has_text && strcmp(value->text.data, "1.2") == 0) {
        tls->min_version = TLS_1_2;
    } else if (has_text && strcmp(value->text.data, "1.3") == 0) {
        tls->min_version = TLS_1_3;
    } else {
        return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                               "%s is no version this server speaks; give \"1.2\" or \"1.3\"",
                               (const char *)entry->key.data);
    }
    return DAYBOOK_OK;
}

static daybook_status read_names(dbk_option_reader *reader, const dbk_option_key *key,
                                 const dbk_config_entry *entry, void *target) {
    if (entry->value->kind != DBK_CONFIG_ARRAY || entry->value->count == 0)
        return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                               "%s is no array of names; name at least one, or leave it out",
                               (const char *)entry->key.data);
    return dbk_option_take_texts(reader, entry, (dbk_text_list *)((char *)target + key->offset));
}

// 64 hexadecimal digits, made lower case in place.
static bool normalize_digest(char *text) {
    if (strlen(text) != PINNED_CERT_SIZE) return false;
    for (; *text != '\0'; text++) {
        if (*text >= 'A' && *text <= 'F') *text = (char)(*text - 'A' + 'a');
        if (!((*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'f'))) return false;
    }
    return true;
}

static daybook_status read_pinned_certs(dbk_option_reader *reader, const dbk_option_key *key,
                                        const dbk_config_entry *entry, void *target) {
    dbk_text_list *digests = (dbk_text_list *)((char *)target + key->offset);
    DBK_TRY(dbk_option_take_texts(reader, entry, digests));
    for (size_t i = 0; i < digests->count; i++) {
        // A copy of our own: dbk_option_take_texts made it.
        if (normalize_digest((char *)(uintptr_t)digests->items[i])) continue;
        return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                               "%s holds '%s', not the SHA-256 of a public key; give 64 hexadecimal digits",
                               (const char *)entry->key.data, digests->items[i]);
    }
    return DAYBOOK_OK;
}

const dbk_option_key dbk_option_tls_keys[] = {
    {.names = "cert_file", .kind = DBK_OPTION_TEXT, .offset = FIELD(cert_file)},
    {.names = "key_file", .kind = DBK_OPTION_TEXT, .offset = FIELD(key_file)},
    {.names = "ca_file", .kind = DBK_OPTION_TEXT, .offset = FIELD(ca_file)},
    {.names = "verify", .kind = DBK_OPTION_BOOLEAN, .offset = FIELD(verify)},
    {.names = "verify_and_map",
     .kind = DBK_OPTION_CUSTOM,
     .handle = read_verify_and_map,
     .offset = FIELD(verify_and_map)},
    {.names = "timeout",
     .kind = DBK_OPTION_SECONDS,
     .offset = FIELD(timeout_ns),
     .minimum = DBK_MILLISECOND_NS,
     .flags = DBK_OPTION_ZERO_IS_DEFAULT},
    {.names = "handshake_first first immediate",
     .kind = DBK_OPTION_CUSTOM,
     .handle = read_handshake_first,
     .offset = FIELD(handshake_first)},
    {.names = "min_version minimum_version",
     .kind = DBK_OPTION_CUSTOM,
     .handle = read_min_version,
     .offset = FIELD(min_version)},
    {.names = "cipher_suites",
     .kind = DBK_OPTION_CUSTOM,
     .handle = read_names,
     .offset = FIELD(cipher_suites)},
    {.names = "curve_preferences",
     .kind = DBK_OPTION_CUSTOM,
     .handle = read_names,
     .offset = FIELD(curve_preferences)},
    {.names = "pinned_certs",
     .kind = DBK_OPTION_CUSTOM,
     .handle = read_pinned_certs,
     .offset = FIELD(pinned_certs)},
    {.names = "connection_rate_limit", .kind = DBK_OPTION_NOT_SERVED},
    {.names = "insecure allow_insecure_cipher_suites", .kind = DBK_OPTION_IGNORED},
    {.names = "verify_cert_and_check_known_urls",
     .kind = DBK_OPTION_REFUSED,
     .text = "it is for clusters; remove it"},
    {.names = "certs",
     .kind = DBK_OPTION_REFUSED,
     .text = "one certificate; name it with cert_file and key_file"},
    {.names = "cert_store cert_match cert_match_by cert_match_skip_invalid ca_certs_match",
     .kind = DBK_OPTION_REFUSED,
     .text = "certificates are read from files; use cert_file and key_file"},
    {.names = NULL},
};

daybook_status dbk_option_read_tls(dbk_option_reader *reader, const dbk_option_key *key,
                                   const dbk_config_entry *entry, void *target) {
    dbk_tls_options *tls = (dbk_tls_options *)((char *)target + key->offset);
    // `--tls=false` on the command line takes back what a file says.
    if (entry->value->kind == DBK_CONFIG_BOOLEAN && !entry->value->boolean) {
        tls->is_set = false;
        return DAYBOOK_OK;
    }
    tls->is_set = true;
    DBK_TRY(dbk_option_keep_place(reader, &entry->place, &tls->place));
    const char *block = tls == &reader->options->tls ? "tls" : "websocket.tls";
    DBK_TRY(dbk_option_read_map(reader, dbk_option_tls_keys, block, entry, tls));
    tls->verify = tls->verify || tls->verify_and_map;
    if (tls->cert_file != NULL && tls->key_file != NULL) return DAYBOOK_OK;
    return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID, "%s has no %s; name the file",
                           (const char *)entry->key.data, tls->cert_file == NULL ? "cert_file" : "key_file");
}
