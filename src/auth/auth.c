// SPDX-License-Identifier: Apache-2.0
// The users of a configuration, and checking a client's credentials against them.
//
// In this order, the first that applies decides:
//     a JWT                        refused: there is no operator mode
//     an nkey                      a user has it, and the nonce is signed with it
//     users by certificate         the first name of the certificate that a user has
//     nothing said                 no_auth_user, where there is one
//     a token is configured        it is that
//     a name                       it is a user's, with that user's password
//
// Plain passwords are kept and compared as SHA-256 digests in constant time, so that neither their length
// nor how much of them was right shows. For a name nobody has, a digest is compared too. Where any password
// is a bcrypt hash, everyone who is wrong waits for one bcrypt: the user's own, or for unknown users, plain
// passwords and impossible input the costliest one there is.
//
// Passwords a configuration does not give (a user of verify_and_map) match nothing, not even none.
//
// Lifetime: counted references, changed on the loop only. dbk_auth_attempt_run works on the attempt alone,
// and on the hash in the auth, which the attempt holds. Failure modes: memory; a configuration that makes
// no sense is refused when it is read.
#include "auth/auth.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "auth/certificate.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/hash_map.h"

enum { DIGEST_SIZE = 32, BCRYPT_SIZE = 60, BCRYPT_COST_MIN = 4, BCRYPT_COST_MAX = 31, FORM_MAX = 1 << 16 };

typedef struct secret {
    bool is_set;
    uint8_t digest[DIGEST_SIZE]; // of a plain one
    char *bcrypt;                // NULL: plain
} secret;

typedef struct account_user {
    dbk_user user; // the first, so that one leads to the other
    char *name;
    char *distinguished; // the name in the form of dbk_distinguished_name where it is one; NULL
    bool is_nkey;
    uint8_t key[DBK_NKEY_SIZE];
    secret password;
} account_user;

struct dbk_auth {
    const daybook_allocator *allocator;
    uint32_t reference_count;
    bool is_set;
    bool verify_and_map;
    bool has_nkeys;
    secret token;
    account_user *users;
    size_t user_count;
    dbk_hash_map by_name; // names, distinguished forms and keys, by checksum; values are indexes of users
    dbk_user anonymous;   // no_auth_user; name NULL: none
    dbk_user bearer;      // who has the token
    const char *slowest;  // the costliest bcrypt hash, NULL: none
};

// Making

static void digest_of(dbk_slice text, uint8_t digest_out[DIGEST_SIZE]) {
    dbk_sha256 hash;
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, text.data, text.size);
    dbk_sha256_final(&hash, digest_out);
}

static int bcrypt_cost(const char *hash) {
    return (hash[4] - '0') * 10 + hash[5] - '0';
}

// "$2b$11$" and 53 characters of its alphabet.
static bool is_bcrypt_hash(const char *hash) {
    if (strlen(hash) != BCRYPT_SIZE) return false;
    for (int i = 4; i <= 5; i++) {
        if (hash[i] < '0' || hash[i] > '9') return false;
    }
    int cost = bcrypt_cost(hash);
    static const char alphabet[] = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    return hash[6] == '$' && cost >= BCRYPT_COST_MIN && cost <= BCRYPT_COST_MAX &&
           strspn(hash + 7, alphabet) == BCRYPT_SIZE - 7;
}

// `whose`: for the message, which must not show the secret.
static daybook_status make_secret(dbk_auth *auth, const char *text, const char *whose, secret *secret_out,
                                  daybook_error *error) {
    if (text == NULL) return DAYBOOK_OK;
    secret_out->is_set = true;
    if (!dbk_password_is_bcrypt(text)) {
        digest_of(daybook_text(text), secret_out->digest);
        return DAYBOOK_OK;
    }
    if (!is_bcrypt_hash(text)) {
        return dbk_fail(
            error, DAYBOOK_EINVALID,
            "%s begins like a bcrypt hash and is none: it must have 60 characters, as in $2a$11$…", whose);
    }
    secret_out->bcrypt = dbk_copy_text(auth->allocator, daybook_text(text));
    if (secret_out->bcrypt == NULL) return DAYBOOK_ENOMEM;
    if (auth->slowest == NULL || bcrypt_cost(text) > bcrypt_cost(auth->slowest))
        auth->slowest = secret_out->bcrypt;
    return DAYBOOK_OK;
}

static uint64_t name_hash(dbk_slice name) {
    return dbk_checksum(name.data, name.size, 0);
}

static bool is_called(const account_user *user, dbk_slice name) {
    return dbk_slice_equal(daybook_text(user->name), name) ||
           (user->distinguished != NULL && dbk_slice_equal(daybook_text(user->distinguished), name));
}

// Who has this name, nkey (as text), or distinguished name (in its form). NULL: nobody.
static const account_user *find(const dbk_auth *auth, dbk_slice name, bool is_nkey) {
    size_t step = 0;
    for (;;) {
        uint32_t index = dbk_hash_map_find(&auth->by_name, name_hash(name), &step);
        if (index == DBK_HASH_MAP_EMPTY) return NULL;
        const account_user *user = &auth->users[index];
        if (user->is_nkey == is_nkey && is_called(user, name)) return user;
    }
}

static daybook_status enter(dbk_auth *auth, const char *name, size_t index) {
    return dbk_hash_map_insert(&auth->by_name, name_hash(daybook_text(name)), (uint32_t)index);
}

// Puts place and name before what is wrong with a user.
static daybook_status name_user(daybook_error *error, const dbk_user_options *options,
                                daybook_status status) {
    const dbk_config_place *place = &options->place;
    const char *name = options->nkey != NULL ? options->nkey : options->user;
    char prefix[256] = "";
    int size = 0;
    if (place->file != NULL)
        size = snprintf(prefix, sizeof prefix, "%.128s:%u:%u: ", place->file, place->line, place->column);
    snprintf(prefix + size, sizeof prefix - (size_t)size, "user \"%.64s\"", name == NULL ? "" : name);
    if (status == DAYBOOK_EINVALID && error != NULL) dbk_error_prepend(error, prefix);
    return status;
}

// Where the name is a distinguished one, certificates are compared with its form.
static daybook_status enter_distinguished(dbk_auth *auth, account_user *user, size_t index) {
    dbk_buf form;
    dbk_buf_init(&form, auth->allocator, FORM_MAX);
    daybook_status status = dbk_distinguished_name(daybook_text(user->name), &form);
    if (status == DAYBOOK_OK) {
        user->distinguished = dbk_copy_text(auth->allocator, daybook_bytes(form.data, form.size));
        status = user->distinguished == NULL ? DAYBOOK_ENOMEM : enter(auth, user->distinguished, index);
    } else if (status == DAYBOOK_EINVALID) {
        status = DAYBOOK_OK; // an ordinary name
    }
    dbk_buf_deinit(&form);
    return status;
}

static daybook_status make_user(dbk_auth *auth, const dbk_user_options *options, size_t index,
                                daybook_error *error) {
    account_user *user = &auth->users[index];
    user->is_nkey = options->nkey != NULL;
    const char *name = user->is_nkey ? options->nkey : options->user;
    if (name == NULL || *name == '\0' || *name == DBK_DISTINGUISHED_MARK) {
        return dbk_fail(error, DAYBOOK_EINVALID, "a user needs a name or an nkey");
    }
    if (find(auth, daybook_text(name), user->is_nkey) != NULL) {
        return dbk_fail(error, DAYBOOK_EINVALID, "is there twice; remove one");
    }
    if (user->is_nkey && !dbk_nkey_decode(daybook_text(name), DBK_NKEY_USER, user->key)) {
        return dbk_fail(
            error, DAYBOOK_EINVALID,
            "is no nkey of a user: it must have 56 characters, begin with a U and have a right checksum");
    }
    user->name = dbk_copy_text(auth->allocator, daybook_text(name));
    if (user->name == NULL) return DAYBOOK_ENOMEM;
    user->user = (dbk_user){.auth = auth, .name = user->name, .connection_types = options->connection_types};
    DBK_TRY(enter(auth, user->name, index));
    auth->has_nkeys = auth->has_nkeys || user->is_nkey;
    if (!user->is_nkey) {
        DBK_TRY(make_secret(auth, options->password, "the password", &user->password, error));
        if (auth->verify_and_map) DBK_TRY(enter_distinguished(auth, user, index));
    }
    if (!options->has_permissions) return DAYBOOK_OK;
    return dbk_permissions_new(auth->allocator, &options->permissions, &user->user.permissions, error);
}

static daybook_status make_users(dbk_auth *auth, const dbk_auth_options *options, daybook_error *error) {
    if (options->user_count >= UINT32_MAX) return DAYBOOK_ENOMEM;
    dbk_hash_map_init(&auth->by_name, auth->allocator);
    if (options->user_count == 0) return DAYBOOK_OK;
    auth->users = dbk_resize_array(auth->allocator, NULL, options->user_count, sizeof *auth->users);
    if (auth->users == NULL) return DAYBOOK_ENOMEM;
    memset(auth->users, 0, options->user_count * sizeof *auth->users);
    auth->user_count = options->user_count;
    for (size_t i = 0; i < options->user_count; i++) {
        const dbk_user_options *user = &options->users[i];
        DBK_TRY(name_user(error, user, make_user(auth, user, i, error)));
    }
    if (options->no_auth_user == NULL) return DAYBOOK_OK;
    for (size_t i = 0; i < options->user_count; i++) {
        if (options->no_auth_user == &options->users[i]) auth->anonymous = auth->users[i].user;
    }
    if (auth->anonymous.name == NULL) {
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "no_auth_user names nobody: it must be the name of one of the users");
    }
    auth->anonymous.is_anonymous = true;
    return DAYBOOK_OK;
}

daybook_status dbk_auth_new(const daybook_allocator *allocator, const dbk_auth_options *options,
                            bool verify_and_map, dbk_auth **auth_out, daybook_error *error) {
    *auth_out = NULL;
    dbk_auth *auth = dbk_alloc_zeroed(allocator, sizeof *auth);
    if (auth == NULL) return DAYBOOK_ENOMEM;
    auth->allocator = allocator;
    auth->reference_count = 1;
    auth->is_set = options->is_set || verify_and_map;
    auth->verify_and_map = verify_and_map;
    auth->bearer = (dbk_user){.auth = auth, .name = "[token]"};
    daybook_status status = make_secret(auth, options->token, "the token", &auth->token, error);
    if (status == DAYBOOK_OK) status = make_users(auth, options, error);
    if (status != DAYBOOK_OK) {
        dbk_auth_unref(auth);
        return status;
    }
    *auth_out = auth;
    return DAYBOOK_OK;
}

dbk_auth *dbk_auth_ref(dbk_auth *auth) {
    if (auth != NULL) auth->reference_count++;
    return auth;
}

void dbk_auth_unref(dbk_auth *auth) {
    if (auth == NULL || --auth->reference_count > 0) return;
    for (size_t i = 0; i < auth->user_count; i++) {
        dbk_permissions_unref(auth->users[i].user.permissions);
        dbk_free(auth->allocator, auth->users[i].name);
        dbk_free(auth->allocator, auth->users[i].distinguished);
        dbk_free(auth->allocator, auth->users[i].password.bcrypt);
    }
    dbk_free(auth->allocator, auth->users);
    dbk_free(auth->allocator, auth->token.bcrypt);
    dbk_hash_map_deinit(&auth->by_name);
    dbk_free(auth->allocator, auth);
}

bool dbk_auth_is_required(const dbk_auth *auth) {
    return auth != NULL && auth->is_set && auth->anonymous.name == NULL;
}

bool dbk_auth_needs_nonce(const dbk_auth *auth) {
    return auth != NULL && auth->has_nkeys;
}

// Checking

static bool may_connect(const dbk_user *user, uint32_t connection_type) {
    return user->connection_types == 0 || (user->connection_types & connection_type) != 0;
}

static dbk_auth_verdict accept(const dbk_user *user, const dbk_user **user_out) {
    *user_out = user;
    return DBK_AUTH_ACCEPTED;
}

static dbk_auth_verdict check_nkey(const dbk_auth *auth, const dbk_credentials *said,
                                   const dbk_user **user_out) {
    uint8_t key[DBK_NKEY_SIZE];
    if (!dbk_nkey_decode(said->nkey, DBK_NKEY_USER, key)) return DBK_AUTH_REFUSED;
    const account_user *user = find(auth, said->nkey, true);
    // Verified for a key nobody has, too.
    bool is_right = dbk_nkey_verify(key, said->nonce, said->signature);
    if (user == NULL || !is_right || !may_connect(&user->user, said->connection_type))
        return DBK_AUTH_REFUSED;
    return accept(&user->user, user_out);
}

static dbk_auth_verdict check_certificate(const dbk_auth *auth, const dbk_credentials *said,
                                          const dbk_user **user_out) {
    for (size_t i = 0; i < said->certificate_name_count; i++) {
        const account_user *user = find(auth, said->certificate_names[i], false);
        if (user == NULL) continue;
        if (!may_connect(&user->user, said->connection_type)) return DBK_AUTH_REFUSED;
        return accept(&user->user, user_out);
    }
    return DBK_AUTH_REFUSED;
}

static bool is_equal_secret(const secret *expected, dbk_slice said) {
    uint8_t digest[DIGEST_SIZE];
    digest_of(said, digest);
    bool is_equal = CRYPTO_memcmp(digest, expected->digest, DIGEST_SIZE) == 0;
    return is_equal && expected->is_set && expected->bcrypt == NULL;
}

static dbk_auth_verdict check_slowly(dbk_auth *auth, const dbk_user *user, const char *hash, dbk_slice said,
                                     dbk_auth_attempt *attempt_out) {
    *attempt_out = (dbk_auth_attempt){.auth = dbk_auth_ref(auth), .user = user};
    attempt_out->hash = hash == NULL ? auth->slowest : hash;
    // A NUL would end the password early for crypt, and make another one of it.
    attempt_out->is_hopeless = hash == NULL || (said.size > 0 && memchr(said.data, '\0', said.size) != NULL);
    size_t size = said.size < DBK_BCRYPT_PASSWORD_MAX ? said.size : DBK_BCRYPT_PASSWORD_MAX;
    if (size > 0) memcpy(attempt_out->password, said.data, size);
    return DBK_AUTH_SLOW;
}

// Against one secret, and who it is then; NULL both: nobody's.
static dbk_auth_verdict check_secret(dbk_auth *auth, const dbk_user *user, const secret *expected,
                                     dbk_slice said, const dbk_user **user_out,
                                     dbk_auth_attempt *attempt_out) {
    static const secret nobodys;
    bool is_equal = is_equal_secret(expected == NULL ? &nobodys : expected, said);
    if (is_equal) return accept(user, user_out);
    if (auth->slowest == NULL) return DBK_AUTH_REFUSED;
    return check_slowly(auth, user, expected == NULL ? NULL : expected->bcrypt, said, attempt_out);
}

static bool is_silent(const dbk_credentials *said) {
    return said->user.size == 0 && said->password.size == 0 && said->token.size == 0;
}

dbk_auth_verdict dbk_auth_check(dbk_auth *auth, const dbk_credentials *said, const dbk_user **user_out,
                                dbk_auth_attempt *attempt_out) {
    if (auth == NULL || !auth->is_set) return accept(NULL, user_out);
    if (said->jwt.size > 0) return DBK_AUTH_REFUSED;
    if (said->nkey.size > 0) return check_nkey(auth, said, user_out);
    if (auth->verify_and_map) return check_certificate(auth, said, user_out);
    if (is_silent(said) && auth->anonymous.name != NULL) {
        return may_connect(&auth->anonymous, said->connection_type) ? accept(&auth->anonymous, user_out)
                                                                    : DBK_AUTH_REFUSED;
    }
    if (auth->token.is_set)
        return check_secret(auth, &auth->bearer, &auth->token, said->token, user_out, attempt_out);
    const account_user *user = find(auth, said->user, false);
    if (user == NULL || !may_connect(&user->user, said->connection_type)) {
        return check_secret(auth, NULL, NULL, said->password, user_out, attempt_out);
    }
    return check_secret(auth, &user->user, &user->password, said->password, user_out, attempt_out);
}

void dbk_auth_attempt_run(dbk_auth_attempt *attempt) {
    const daybook_allocator *allocator = attempt->auth->allocator;
    struct crypt_data *data = dbk_alloc_zeroed(allocator, sizeof *data); // 32 KiB
    if (data == NULL) return;
    const char *hash = crypt_r(attempt->password, attempt->hash, data);
    bool is_equal = hash != NULL && strlen(hash) == BCRYPT_SIZE &&
                    CRYPTO_memcmp(hash, attempt->hash, BCRYPT_SIZE) == 0;
    attempt->is_right = is_equal && !attempt->is_hopeless;
    OPENSSL_cleanse(data, sizeof *data);
    OPENSSL_cleanse(attempt->password, sizeof attempt->password);
    dbk_free(allocator, data);
}

dbk_auth_verdict dbk_auth_attempt_end(dbk_auth_attempt *attempt, const dbk_user **user_out) {
    dbk_auth_verdict verdict = attempt->is_right ? accept(attempt->user, user_out) : DBK_AUTH_REFUSED;
    OPENSSL_cleanse(attempt->password, sizeof attempt->password);
    dbk_auth_unref(attempt->auth);
    *attempt = (dbk_auth_attempt){.auth = NULL};
    return verdict;
}

// After a reload

static bool is_same_secret(const secret *a, const secret *b) {
    if (a->is_set != b->is_set || (a->bcrypt == NULL) != (b->bcrypt == NULL)) return false;
    return a->bcrypt != NULL ? strcmp(a->bcrypt, b->bcrypt) == 0
                             : memcmp(a->digest, b->digest, DIGEST_SIZE) == 0;
}

static const dbk_user *find_same(const dbk_auth *auth, const dbk_user *old) {
    const dbk_auth *before = old->auth;
    if (old == &before->bearer) return is_same_secret(&before->token, &auth->token) ? &auth->bearer : NULL;
    if (old->is_anonymous) {
        bool is_same = auth->anonymous.name != NULL && strcmp(auth->anonymous.name, old->name) == 0;
        return is_same ? &auth->anonymous : NULL;
    }
    const account_user *was = (const account_user *)old;
    const account_user *is = find(auth, daybook_text(old->name), was->is_nkey);
    return is != NULL && is_same_secret(&was->password, &is->password) ? &is->user : NULL;
}

const dbk_user *dbk_auth_find_same(const dbk_auth *auth, const dbk_user *old, uint32_t connection_type) {
    if (old == NULL || auth == NULL || !auth->is_set) return NULL;
    if (auth->verify_and_map != old->auth->verify_and_map) return NULL;
    const dbk_user *same = find_same(auth, old);
    return same != NULL && may_connect(same, connection_type) ? same : NULL;
}
