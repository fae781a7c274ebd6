// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <crypt.h>
#include <openssl/evp.h>

#include "auth/auth.h"
#include "auth/certificate.h"
#include "lib/fault_allocator.h"

static dbk_auth *new_auth(const dbk_auth_options *options, bool verify_and_map) {
    dbk_auth *auth;
    daybook_error error;
    daybook_error_init(&error);
    if (dbk_auth_new(dbk_allocator_default(), options, verify_and_map, &auth, &error) != DAYBOOK_OK) {
        fail_msg("%s", error.message);
    }
    return auth;
}

typedef struct outcome {
    dbk_auth_verdict verdict;
    bool was_slow;
    const char *name; // "" where nobody in particular
} outcome;

// Checks, runs what is slow, and says how it ended.
static outcome check(dbk_auth *auth, const dbk_credentials *said) {
    const dbk_user *user = NULL;
    dbk_auth_attempt attempt;
    outcome result = {.verdict = dbk_auth_check(auth, said, &user, &attempt)};
    if (result.verdict == DBK_AUTH_SLOW) {
        result.was_slow = true;
        dbk_auth_attempt_run(&attempt);
        result.verdict = dbk_auth_attempt_end(&attempt, &user);
        for (size_t i = 0; i < sizeof attempt.password; i++) assert_int_equal(attempt.password[i], 0);
    }
    if (result.verdict == DBK_AUTH_REFUSED) assert_null(user);
    result.name = user == NULL ? "" : user->name;
    return result;
}

static outcome say(dbk_auth *auth, const char *user, const char *password) {
    dbk_credentials said = {.user = daybook_text(user), .password = daybook_text(password)};
    return check(auth, &said);
}

static bool enters(dbk_auth *auth, const char *user, const char *password) {
    outcome result = say(auth, user, password);
    if (result.verdict == DBK_AUTH_ACCEPTED) assert_string_equal(result.name, user);
    return result.verdict == DBK_AUTH_ACCEPTED;
}

// A hash of cost 4, the cheapest there is.
static const char *bcrypt(const char *password, const char *kind, char hash_out[64]) {
    static struct crypt_data data;
    char setting[32];
    snprintf(setting, sizeof setting, "$%s$04$abcdefghijklmnopqrstuu", kind);
    const char *hash = crypt_r(password, setting, &data);
    assert_non_null(hash);
    assert_int_equal(strlen(hash), 60);
    return strcpy(hash_out, hash);
}

static void everybody_is_welcome_without_users(void **state) {
    (void)state;
    assert_true(say(NULL, "anybody", "x").verdict == DBK_AUTH_ACCEPTED);
    assert_false(dbk_auth_is_required(NULL));
    assert_false(dbk_auth_needs_nonce(NULL));
    dbk_auth_unref(NULL);
    dbk_auth_options options = {.is_set = false};
    dbk_auth *auth = new_auth(&options, false);
    assert_false(dbk_auth_is_required(auth));
    outcome result = say(auth, "anybody", "x");
    assert_int_equal(result.verdict, DBK_AUTH_ACCEPTED);
    assert_string_equal(result.name, "");
    dbk_auth_unref(auth);
    // Asked for, but with no users: nobody.
    options.is_set = true;
    auth = new_auth(&options, false);
    assert_true(dbk_auth_is_required(auth));
    assert_int_equal(say(auth, "", "").verdict, DBK_AUTH_REFUSED);
    dbk_auth_unref(auth);
}

static void plain_passwords_are_compared_whole(void **state) {
    (void)state;
    dbk_user_options users[] = {{.user = "ada", .password = "lovelace"},
                                {.user = "bob", .password = "builder"},
                                {.user = "nil", .password = ""},
                                {.user = "map", .password = NULL}};
    dbk_auth_options options = {.is_set = true, .users = users, .user_count = 4};
    dbk_auth *auth = new_auth(&options, false);
    assert_true(dbk_auth_is_required(auth));
    assert_false(dbk_auth_needs_nonce(auth));
    assert_true(enters(auth, "ada", "lovelace"));
    assert_true(enters(auth, "bob", "builder"));
    assert_true(enters(auth, "nil", ""));
    static const char *wrong[][2] = {{"ada", "builder"},  {"ada", "lovelac"}, {"ada", "lovelacee"},
                                     {"ada", "Lovelace"}, {"ada", ""},        {"ada", NULL},
                                     {"Ada", "lovelace"}, {"ad", "lovelace"}, {"adaa", "lovelace"},
                                     {"", "lovelace"},    {NULL, "lovelace"}, {"", ""},
                                     {NULL, NULL},        {"nil", "x"},       {"map", ""},
                                     {"map", NULL},       {"map", "x"},       {"nobody", ""}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        outcome result = say(auth, wrong[i][0], wrong[i][1]);
        if (result.verdict != DBK_AUTH_REFUSED || result.was_slow)
            fail_msg("%s %s", wrong[i][0], wrong[i][1]);
    }
    dbk_credentials said = {.user = daybook_text("ada"), .password = daybook_bytes("lovelace\0", 9)};
    assert_int_equal(check(auth, &said).verdict, DBK_AUTH_REFUSED);
    said = (dbk_credentials){.token = daybook_text("lovelace")};
    assert_int_equal(check(auth, &said).verdict, DBK_AUTH_REFUSED);
    said = (dbk_credentials){
        .user = daybook_text("ada"), .password = daybook_text("lovelace"), .jwt = daybook_text("ey.x.y")};
    assert_int_equal(check(auth, &said).verdict, DBK_AUTH_REFUSED);
    char long_name[5000];
    memset(long_name, 'a', sizeof long_name);
    said = (dbk_credentials){.user = daybook_bytes(long_name, sizeof long_name),
                             .password = daybook_bytes(long_name, sizeof long_name)};
    assert_int_equal(check(auth, &said).verdict, DBK_AUTH_REFUSED);
    dbk_auth_unref(auth);
}

static void bcrypt_passwords_are_checked_slowly(void **state) {
    (void)state;
    char hashes[4][64], long_password[100];
    memset(long_password, 'p', sizeof long_password);
    long_password[99] = '\0';
    dbk_user_options users[] = {{.user = "a", .password = bcrypt("one", "2a", hashes[0])},
                                {.user = "b", .password = bcrypt("two", "2b", hashes[1])},
                                {.user = "y", .password = bcrypt("three", "2y", hashes[2])},
                                {.user = "long", .password = bcrypt(long_password, "2b", hashes[3])},
                                {.user = "plain", .password = "four"}};
    dbk_auth_options options = {.is_set = true, .users = users, .user_count = 5};
    dbk_auth *auth = new_auth(&options, false);
    static const struct {
        const char *user, *password;
        bool enters, is_slow;
    } cases[] = {
        {"a", "one", true, true},       {"b", "two", true, true},       {"y", "three", true, true},
        {"a", "two", false, true},      {"a", "", false, true},         {"a", "oneone", false, true},
        {"plain", "four", true, false}, {"plain", "five", false, true}, // as slow as the others
        {"nobody", "one", false, true}, {"", "", false, true},          {NULL, NULL, false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        outcome result = say(auth, cases[i].user, cases[i].password);
        bool is_right = (result.verdict == DBK_AUTH_ACCEPTED) == cases[i].enters &&
                        result.was_slow == cases[i].is_slow;
        if (!is_right) fail_msg("%s %s", cases[i].user, cases[i].password);
    }
    // The hash itself is no password.
    assert_false(enters(auth, "a", hashes[0]));
    // bcrypt ends at a NUL: "one\0x" is another password all the same.
    dbk_credentials said = {.user = daybook_text("a"), .password = daybook_bytes("one\0x", 5)};
    assert_int_equal(check(auth, &said).verdict, DBK_AUTH_REFUSED);
    said.password = daybook_bytes("one\0", 4);
    assert_int_equal(check(auth, &said).verdict, DBK_AUTH_REFUSED);
    // It looks at 72 bytes, as everywhere.
    said = (dbk_credentials){.user = daybook_text("long"), .password = daybook_bytes(long_password, 72)};
    assert_int_equal(check(auth, &said).verdict, DBK_AUTH_ACCEPTED);
    said.password.size = 71;
    assert_int_equal(check(auth, &said).verdict, DBK_AUTH_REFUSED);
    dbk_auth_unref(auth);
}

static void unknown_users_wait_for_the_costliest_hash(void **state) {
    (void)state;
    char cheap[64];
    char costly[] = "$2b$11$abcdefghijklmnopqrstuuXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX";
    dbk_user_options users[] = {{.user = "a", .password = bcrypt("one", "2a", cheap)},
                                {.user = "b", .password = costly}};
    dbk_auth_options options = {.is_set = true, .users = users, .user_count = 2};
    dbk_auth *auth = new_auth(&options, false);
    const dbk_user *user = NULL;
    dbk_auth_attempt attempt;
    dbk_credentials said = {.user = daybook_text("nobody"), .password = daybook_text("x")};
    assert_int_equal(dbk_auth_check(auth, &said, &user, &attempt), DBK_AUTH_SLOW);
    assert_string_equal(attempt.hash, costly);
    assert_true(attempt.is_hopeless);
    assert_int_equal(dbk_auth_attempt_end(&attempt, &user), DBK_AUTH_REFUSED); // not run: the client is gone
    assert_int_equal(dbk_auth_attempt_end(&attempt, &user), DBK_AUTH_REFUSED);
    said.user = daybook_text("a");
    said.password = daybook_text("one");
    assert_int_equal(dbk_auth_check(auth, &said, &user, &attempt), DBK_AUTH_SLOW);
    assert_string_equal(attempt.hash, cheap);
    dbk_auth_unref(auth); // a reload: the attempt holds on
    dbk_auth_attempt_run(&attempt);
    dbk_auth_ref(auth);
    assert_int_equal(dbk_auth_attempt_end(&attempt, &user), DBK_AUTH_ACCEPTED);
    assert_string_equal(user->name, "a");
    dbk_auth_unref(auth);
}

static void a_token_lets_in_who_has_it(void **state) {
    (void)state;
    char hash[64];
    for (int is_bcrypt = 0; is_bcrypt < 2; is_bcrypt++) {
        dbk_auth_options options = {.is_set = true,
                                    .token = is_bcrypt ? bcrypt("s3cret", "2a", hash) : "s3cret"};
        dbk_auth *auth = new_auth(&options, false);
        assert_true(dbk_auth_is_required(auth));
        static const char *tokens[] = {"s3cret", "s3cre", "s3cret1", "", NULL};
        for (size_t i = 0; i < 5; i++) {
            dbk_credentials said = {.token = daybook_text(tokens[i])};
            outcome result = check(auth, &said);
            assert_int_equal(result.verdict, i == 0 ? DBK_AUTH_ACCEPTED : DBK_AUTH_REFUSED);
            assert_int_equal(result.was_slow, is_bcrypt);
        }
        assert_int_equal(say(auth, "s3cret", "s3cret").verdict, DBK_AUTH_REFUSED);
        dbk_auth_unref(auth);
    }
}

// nkeys

typedef struct key_pair {
    uint8_t private[32];
    char public_text[DBK_NKEY_TEXT_SIZE + 1];
} key_pair;

static key_pair make_keys(uint8_t number) {
    key_pair keys;
    memset(keys.private, number, 32);
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, keys.private, 32);
    uint8_t raw[32];
    size_t size = 32;
    assert_int_equal(EVP_PKEY_get_raw_public_key(key, raw, &size), 1);
    EVP_PKEY_free(key);
    dbk_nkey_encode(raw, DBK_NKEY_USER, keys.public_text);
    return keys;
}

static void sign(const key_pair *keys, const char *nonce, char text_out[96]) {
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, keys->private, 32);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    uint8_t signature[64];
    size_t size = sizeof signature;
    assert_int_equal(EVP_DigestSignInit(context, NULL, NULL, NULL, key), 1);
    assert_int_equal(EVP_DigestSign(context, signature, &size, (const uint8_t *)nonce, strlen(nonce)), 1);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    EVP_EncodeBlock((uint8_t *)text_out, signature, sizeof signature);
}

static outcome show(dbk_auth *auth, const char *key, const char *nonce, const char *signature) {
    dbk_credentials said = {
        .nkey = daybook_text(key), .nonce = daybook_text(nonce), .signature = daybook_text(signature)};
    return check(auth, &said);
}

static void an_nkey_must_sign_this_nonce(void **state) {
    (void)state;
    key_pair mine = make_keys(1), other = make_keys(2), stranger = make_keys(3);
    dbk_user_options users[] = {
        {.nkey = mine.public_text}, {.nkey = other.public_text}, {.user = "ada", .password = "x"}};
    dbk_auth_options options = {.is_set = true, .users = users, .user_count = 3};
    dbk_auth *auth = new_auth(&options, false);
    assert_true(dbk_auth_needs_nonce(auth));
    char signature[96];
    sign(&mine, "nonce-1", signature);
    outcome result = show(auth, mine.public_text, "nonce-1", signature);
    assert_int_equal(result.verdict, DBK_AUTH_ACCEPTED);
    assert_string_equal(result.name, mine.public_text);
    assert_int_equal(show(auth, mine.public_text, "nonce-2", signature).verdict,
                     DBK_AUTH_REFUSED); // replayed
    assert_int_equal(show(auth, mine.public_text, "", signature).verdict, DBK_AUTH_REFUSED);
    assert_int_equal(show(auth, mine.public_text, NULL, signature).verdict, DBK_AUTH_REFUSED);
    assert_int_equal(show(auth, other.public_text, "nonce-1", signature).verdict, DBK_AUTH_REFUSED);
    assert_int_equal(show(auth, mine.public_text, "nonce-1", "").verdict, DBK_AUTH_REFUSED);
    assert_int_equal(show(auth, mine.public_text, "nonce-1", NULL).verdict, DBK_AUTH_REFUSED);
    assert_int_equal(show(auth, "UABC", "nonce-1", signature).verdict, DBK_AUTH_REFUSED);
    assert_int_equal(show(auth, "ada", "nonce-1", signature).verdict, DBK_AUTH_REFUSED);
    sign(&stranger, "nonce-1", signature);
    assert_int_equal(show(auth, stranger.public_text, "nonce-1", signature).verdict, DBK_AUTH_REFUSED);
    // A key is no name: it has no password.
    assert_false(enters(auth, mine.public_text, ""));
    // Nor does a right password help where an nkey is shown.
    dbk_credentials said = {.user = daybook_text("ada"),
                            .password = daybook_text("x"),
                            .nkey = daybook_text(mine.public_text),
                            .nonce = daybook_text("nonce-1")};
    assert_int_equal(check(auth, &said).verdict, DBK_AUTH_REFUSED);
    dbk_auth_unref(auth);
}

// Others

static void who_says_nothing_is_no_auth_user(void **state) {
    (void)state;
    const char *allowed[] = {"public.>"};
    dbk_user_options users[] = {
        {.user = "ada", .password = "x"},
        {.user = "guest",
         .password = "g",
         .has_permissions = true,
         .permissions = {.publish = {.has_allow = true, .allow = {.items = allowed, .count = 1}}}},
    };
    dbk_auth_options options = {.is_set = true, .users = users, .user_count = 2, .no_auth_user = &users[1]};
    dbk_auth *auth = new_auth(&options, false);
    assert_false(dbk_auth_is_required(auth));
    dbk_credentials said = {.connection_type = DBK_CONNECTION_STANDARD};
    const dbk_user *user = NULL;
    dbk_auth_attempt attempt;
    assert_int_equal(dbk_auth_check(auth, &said, &user, &attempt), DBK_AUTH_ACCEPTED);
    assert_string_equal(user->name, "guest");
    assert_true(user->is_anonymous);
    assert_false(dbk_permissions_may_publish(user->permissions, daybook_text("secret")));
    // With its own password it is the same user, but not for having said nothing.
    assert_true(enters(auth, "guest", "g"));
    // Whoever says something wrong is not let in for it.
    assert_false(enters(auth, "ada", "y"));
    assert_false(enters(auth, "nobody", ""));
    assert_false(enters(auth, NULL, "y"));
    said.token = daybook_text("t");
    assert_int_equal(check(auth, &said).verdict, DBK_AUTH_REFUSED);
    said = (dbk_credentials){.jwt = daybook_text("j")};
    assert_int_equal(check(auth, &said).verdict, DBK_AUTH_REFUSED);
    said = (dbk_credentials){.nkey = daybook_text("k")};
    assert_int_equal(check(auth, &said).verdict, DBK_AUTH_REFUSED);
    dbk_auth_unref(auth);
    users[1].connection_types = DBK_CONNECTION_WEBSOCKET;
    auth = new_auth(&options, false);
    said = (dbk_credentials){.connection_type = DBK_CONNECTION_STANDARD};
    assert_int_equal(check(auth, &said).verdict, DBK_AUTH_REFUSED);
    dbk_auth_unref(auth);
}

static void connection_types_bind_every_kind_of_user(void **state) {
    (void)state;
    key_pair keys = make_keys(9);
    dbk_user_options users[] = {
        {.user = "web", .password = "x", .connection_types = DBK_CONNECTION_WEBSOCKET},
        {.user = "both",
         .password = "x",
         .connection_types = DBK_CONNECTION_WEBSOCKET | DBK_CONNECTION_STANDARD},
        {.nkey = keys.public_text, .connection_types = DBK_CONNECTION_WEBSOCKET}};
    dbk_auth_options options = {.is_set = true, .users = users, .user_count = 3};
    for (int maps = 0; maps < 2; maps++) {
        dbk_auth *auth = new_auth(&options, maps);
        for (uint32_t type = DBK_CONNECTION_STANDARD; type <= DBK_CONNECTION_WEBSOCKET; type *= 2) {
            for (int i = 0; i < 3; i++) {
                char signature[96];
                sign(&keys, "n", signature);
                dbk_slice name = daybook_text(i == 2 ? keys.public_text : users[i].user);
                dbk_credentials said = {.connection_type = type, .nonce = daybook_text("n")};
                if (i == 2) {
                    said.nkey = name, said.signature = daybook_text(signature);
                } else if (maps) {
                    said.certificate_names = &name, said.certificate_name_count = 1;
                } else {
                    said.user = name, said.password = daybook_text("x");
                }
                bool may = i == 1 || type == DBK_CONNECTION_WEBSOCKET;
                assert_int_equal(check(auth, &said).verdict, may ? DBK_AUTH_ACCEPTED : DBK_AUTH_REFUSED);
            }
        }
        dbk_auth_unref(auth);
    }
}

static outcome show_names(dbk_auth *auth, const char *const *names, size_t count) {
    dbk_slice slices[4];
    for (size_t i = 0; i < count; i++) slices[i] = daybook_text(names[i]);
    dbk_credentials said = {.user = daybook_text("ada"),
                            .password = daybook_text("x"), // counts for nothing
                            .certificate_names = slices,
                            .certificate_name_count = count};
    return check(auth, &said);
}

static void a_certificate_is_its_user(void **state) {
    (void)state;
    dbk_user_options users[] = {{.user = "ada", .password = "x"},
                                {.user = "app@a.example"},
                                {.user = "app.example"},
                                {.user = "OU=dev, CN=app"}};
    dbk_auth_options options = {.is_set = false, .users = users, .user_count = 4, .no_auth_user = &users[0]};
    dbk_auth *auth = new_auth(&options, true);
    dbk_buf form;
    dbk_buf_init(&form, dbk_allocator_default(), 1000);
    assert_int_equal(dbk_distinguished_name(daybook_text("CN=app,OU=dev"), &form), DAYBOOK_OK);
    dbk_buf_append_u8(&form, '\0');
    const char *distinguished = (char *)form.data;
    assert_string_equal(
        show_names(auth, (const char *[]){"b@a.example", "app@a.example", "app.example"}, 3).name,
        "app@a.example");
    assert_string_equal(show_names(auth, (const char *[]){"app.example", distinguished}, 2).name,
                        "app.example");
    assert_string_equal(show_names(auth, (const char *[]){"other.example", distinguished}, 2).name,
                        "OU=dev, CN=app");
    assert_int_equal(show_names(auth, (const char *[]){"other.example", "CN=app,OU=dev"}, 2).verdict,
                     DBK_AUTH_REFUSED);
    assert_int_equal(show_names(auth, NULL, 0).verdict, DBK_AUTH_REFUSED); // a password does not help
    dbk_credentials nothing = {.connection_type = DBK_CONNECTION_STANDARD};
    assert_int_equal(check(auth, &nothing).verdict, DBK_AUTH_REFUSED);
    dbk_buf_deinit(&form);
    dbk_auth_unref(auth);
    // Without verify_and_map a certificate is nobody.
    options.is_set = true;
    options.no_auth_user = NULL;
    auth = new_auth(&options, false);
    dbk_slice name = daybook_text("app.example");
    dbk_credentials said = {.certificate_names = &name, .certificate_name_count = 1};
    assert_int_equal(check(auth, &said).verdict, DBK_AUTH_REFUSED);
    dbk_auth_unref(auth);
}

static void a_configuration_without_sense_is_refused(void **state) {
    (void)state;
    key_pair keys = make_keys(4);
    char broken_key[64];
    snprintf(broken_key, sizeof broken_key, "%s", keys.public_text);
    broken_key[20] = broken_key[20] == 'A' ? 'B' : 'A';
    const char *bad_rule[] = {"a..b"};
    dbk_config_place place = {.file = "nats.conf", .line = 3, .column = 7};
    const struct {
        dbk_user_options users[2];
        size_t count;
        const char *says;
    } cases[] = {
        {{{.user = "ada", .password = "secret1"}, {.user = "ada", .password = "secret2", .place = place}},
         2,
         "nats.conf:3:7"},
        {{{.nkey = keys.public_text}, {.nkey = keys.public_text}}, 2, "twice"},
        {{{.nkey = broken_key, .place = place}}, 1, "nats.conf:3:7"},
        {{{.nkey = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"}}, 1, "nkey"},
        {{{.user = "ada", .password = "$2a$11$secret"}}, 1, "ada"},
        {{{.user = "ada", .password = "$2a$99$abcdefghijklmnopqrstuusecretecretsecretecretsecretecr"}},
         1,
         "bcrypt"},
        {{{.user = "ada", .password = "$2a$xx$abcdefghijklmnopqrstuusecretecretsecretecretsecretecr"}},
         1,
         "bcrypt"},
        {{{.user = "ada", .password = "$2a$11$abcdefghijklmnopqrstuusecret!cretsecretecretsecretecr"}},
         1,
         "bcrypt"},
        {{{.user = "", .password = "secret", .place = place}}, 1, "nats.conf:3:7"},
        {{{.user = NULL, .password = "secret"}}, 1, "name"},
        {{{.user = "\1x", .password = "secret"}}, 1, "name"},
        {{{.user = "ada",
           .password = "secret",
           .has_permissions = true,
           .permissions = {.publish = {.deny = {.items = bad_rule, .count = 1}}}}},
         1,
         "a..b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dbk_auth_options options = {.is_set = true, .users = cases[i].users, .user_count = cases[i].count};
        dbk_auth *auth;
        daybook_error error;
        daybook_error_init(&error);
        assert_int_equal(dbk_auth_new(dbk_allocator_default(), &options, false, &auth, &error),
                         DAYBOOK_EINVALID);
        assert_null(auth);
        if (strstr(error.message, cases[i].says) == NULL)
            fail_msg("%s: not in: %s", cases[i].says, error.message);
        assert_null(strstr(error.message, "secret"));
    }
    dbk_user_options somebody = {.user = "x", .password = "y"};
    dbk_auth_options options = {
        .is_set = true, .no_auth_user = &somebody, .users = &cases[0].users[0], .user_count = 1};
    dbk_auth *auth;
    assert_int_equal(dbk_auth_new(dbk_allocator_default(), &options, false, &auth, NULL), DAYBOOK_EINVALID);
    options = (dbk_auth_options){.is_set = true, .token = "$2a$11$short"};
    assert_int_equal(dbk_auth_new(dbk_allocator_default(), &options, false, &auth, NULL), DAYBOOK_EINVALID);
}

static const dbk_user *user_of(dbk_auth *auth, const char *name, const char *password) {
    dbk_credentials said = {.user = daybook_text(name), .password = daybook_text(password)};
    const dbk_user *user = NULL;
    dbk_auth_attempt attempt;
    if (dbk_auth_check(auth, &said, &user, &attempt) == DBK_AUTH_SLOW) {
        dbk_auth_attempt_run(&attempt);
        dbk_auth_attempt_end(&attempt, &user);
    }
    return user;
}

static void a_reload_keeps_who_is_the_same(void **state) {
    (void)state;
    char hash[64], other_hash[64];
    bcrypt("h", "2a", hash);
    bcrypt("i", "2a", other_hash);
    dbk_user_options users[] = {{.user = "ada", .password = "x"},
                                {.user = "bob", .password = hash},
                                {.user = "guest", .password = "g"}};
    dbk_auth_options options = {.is_set = true, .users = users, .user_count = 3, .no_auth_user = &users[2]};
    dbk_auth *before = new_auth(&options, false);
    const dbk_user *ada = user_of(before, "ada", "x"), *bob = user_of(before, "bob", "h");
    const dbk_user *guest = user_of(before, "guest", "g"), *silent = user_of(before, NULL, NULL);
    assert_true(ada != NULL && bob != NULL && guest != NULL && silent != NULL);
    uint32_t type = DBK_CONNECTION_STANDARD;

    dbk_auth *same = new_auth(&options, false);
    assert_string_equal(dbk_auth_find_same(same, ada, type)->name, "ada");
    assert_ptr_equal(dbk_auth_find_same(same, ada, type)->auth, same);
    assert_string_equal(dbk_auth_find_same(same, bob, type)->name, "bob");
    assert_false(dbk_auth_find_same(same, guest, type)->is_anonymous);
    assert_true(dbk_auth_find_same(same, silent, type)->is_anonymous);
    assert_null(dbk_auth_find_same(same, NULL, type));
    assert_null(dbk_auth_find_same(NULL, ada, type));
    dbk_auth_unref(same);

    // Passwords changed; nobody is let in without saying so; ada may come by web socket only.
    users[0].connection_types = DBK_CONNECTION_WEBSOCKET;
    users[1].password = other_hash;
    options.no_auth_user = NULL;
    dbk_auth *after = new_auth(&options, false);
    assert_null(dbk_auth_find_same(after, ada, type));
    assert_string_equal(dbk_auth_find_same(after, ada, DBK_CONNECTION_WEBSOCKET)->name, "ada");
    assert_null(dbk_auth_find_same(after, bob, type));
    assert_non_null(dbk_auth_find_same(after, guest, type));
    assert_null(dbk_auth_find_same(after, silent, type));
    dbk_auth_unref(after);

    // No users at all any more, or found by certificate.
    options = (dbk_auth_options){.is_set = false};
    after = new_auth(&options, false);
    assert_null(dbk_auth_find_same(after, ada, type));
    dbk_auth_unref(after);
    options = (dbk_auth_options){.is_set = true, .users = users, .user_count = 3};
    after = new_auth(&options, true);
    assert_null(dbk_auth_find_same(after, guest, type));
    dbk_auth_unref(after);
    dbk_auth_unref(before);
}

static void a_reload_keeps_who_has_the_token(void **state) {
    (void)state;
    dbk_auth_options options = {.is_set = true, .token = "t"};
    dbk_auth *before = new_auth(&options, false), *same = new_auth(&options, false);
    dbk_credentials said = {.token = daybook_text("t")};
    const dbk_user *user = NULL;
    dbk_auth_attempt attempt;
    assert_int_equal(dbk_auth_check(before, &said, &user, &attempt), DBK_AUTH_ACCEPTED);
    assert_non_null(user);
    assert_ptr_equal(dbk_auth_find_same(same, user, DBK_CONNECTION_STANDARD)->auth, same);
    options.token = "u";
    dbk_auth *after = new_auth(&options, false);
    assert_null(dbk_auth_find_same(after, user, DBK_CONNECTION_STANDARD));
    dbk_auth_unref(before);
    dbk_auth_unref(same);
    dbk_auth_unref(after);
}

static void memory_that_runs_out_lets_nobody_in(void **state) {
    (void)state;
    char hash[64];
    const char *rules[] = {"a.>"};
    key_pair keys = make_keys(5);
    dbk_user_options users[] = {
        {.user = "CN=ada",
         .password = bcrypt("x", "2a", hash),
         .has_permissions = true,
         .permissions = {.publish = {.deny = {.items = rules, .count = 1}}}},
        {.nkey = keys.public_text},
    };
    dbk_auth_options options = {
        .is_set = true, .users = users, .user_count = 2, .token = "t", .no_auth_user = &users[0]};
    fault_allocator faults;
    fault_allocator_init(&faults);
    for (int maps = 0; maps < 2; maps++) {
        for (uint64_t n = 1;; n++) {
            fault_allocator_fail(&faults, n, false);
            dbk_auth *auth;
            daybook_status status = dbk_auth_new(&faults.allocator, &options, maps, &auth, NULL);
            dbk_auth_unref(auth);
            assert_int_equal(fault_allocator_live(&faults), 0);
            if (!fault_allocator_has_failed(&faults)) break;
            assert_int_equal(status, DAYBOOK_ENOMEM);
            assert_null(auth);
        }
    }
    fault_allocator_fail(&faults, 0, false);
    options = (dbk_auth_options){.is_set = true, .users = users, .user_count = 1};
    dbk_auth *auth;
    assert_int_equal(dbk_auth_new(&faults.allocator, &options, false, &auth, NULL), DAYBOOK_OK);
    assert_true(enters(auth, "CN=ada", "x"));
    fault_allocator_fail(&faults, 1, true);
    assert_false(enters(auth, "CN=ada", "x"));
    dbk_auth_unref(auth);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_is_welcome_without_users),
        cmocka_unit_test(plain_passwords_are_compared_whole),
        cmocka_unit_test(bcrypt_passwords_are_checked_slowly),
        cmocka_unit_test(unknown_users_wait_for_the_costliest_hash),
        cmocka_unit_test(a_token_lets_in_who_has_it),
        cmocka_unit_test(an_nkey_must_sign_this_nonce),
        cmocka_unit_test(who_says_nothing_is_no_auth_user),
        cmocka_unit_test(connection_types_bind_every_kind_of_user),
        cmocka_unit_test(a_certificate_is_its_user),
        cmocka_unit_test(a_configuration_without_sense_is_refused),
        cmocka_unit_test(a_reload_keeps_who_is_the_same),
        cmocka_unit_test(a_reload_keeps_who_has_the_token),
        cmocka_unit_test(memory_that_runs_out_lets_nobody_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
