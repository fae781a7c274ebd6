// SPDX-License-Identifier: Apache-2.0
// Who may connect: a client's credentials against the users of the configuration.
//
//     switch (dbk_auth_check(auth, &said, &user, &attempt)) {
//     case DBK_AUTH_ACCEPTED: ... user is NULL where everybody may connect
//     case DBK_AUTH_REFUSED:  ... -ERR 'Authorization Violation', close
//     case DBK_AUTH_SLOW:     ... on a worker: dbk_auth_attempt_run(&attempt);
//                             ... on the loop: dbk_auth_attempt_end(&attempt, &user) says which
//     }
//
// bcrypt takes 0.1 to 0.3 s of a processor. Anybody who can connect can ask for it: run attempts one after
// the other in a lane of their own (dbk_job's is_check), so that they hold one worker at most and nothing
// else waits for them, and end an attempt without running it where the client is gone. The same is asked for
// an unknown user as for a wrong password, and takes as long.
//
// Every way in goes through dbk_auth_check: a client that never says CONNECT, or one on another kind of
// connection, too (empty credentials); nothing else maps a client to no_auth_user.
//
// Loop thread, but dbk_auth_attempt_run. A reload makes a new dbk_auth; who is connected holds on to the
// old one by its user.
#ifndef DBK_AUTH_AUTH_H
#define DBK_AUTH_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "auth/nkey.h"
#include "auth/permissions.h"
#include "base/memory.h"
#include "options/options.h"

typedef struct dbk_auth dbk_auth;

/// A user of the configuration.
typedef struct dbk_user {
    dbk_auth *auth;               // whose it is
    const char *name;             // the user's name, or its nkey; for the log, /connz
    dbk_permissions *permissions; // NULL: everything
    uint32_t connection_types;    // bits DBK_CONNECTION_…; 0: all
    bool is_anonymous;            // who said nothing and became no_auth_user
} dbk_user;

/// What a client says of itself, and what is known of its connection. Borrowed; `data` NULL: not said (an
/// empty text is something else).
typedef struct dbk_credentials {
    dbk_slice user;
    dbk_slice password;
    dbk_slice token;
    dbk_slice nkey;
    dbk_slice signature;
    dbk_slice jwt;                      // there is no operator mode: whoever shows one is refused
    dbk_slice nonce;                    // the characters sent to this connection in INFO
    uint32_t connection_type;           // one bit of DBK_CONNECTION_…
    const dbk_slice *certificate_names; // of its verified certificate, see certificate.h
    size_t certificate_name_count;
} dbk_credentials;

typedef enum dbk_auth_verdict { DBK_AUTH_REFUSED, DBK_AUTH_ACCEPTED, DBK_AUTH_SLOW } dbk_auth_verdict;

enum { DBK_BCRYPT_PASSWORD_MAX = 72 }; // bcrypt looks at no more

/// A check that takes long. Filled by dbk_auth_check, owned by the caller; must not move while it runs.
typedef struct dbk_auth_attempt {
    // Private.
    dbk_auth *auth;       // holds a reference; NULL: there is no attempt
    const dbk_user *user; // who it is if it succeeds
    const char *hash;     // of the user, the token, or of nobody
    bool is_hopeless;     // only time passes
    bool is_right;
    char password[DBK_BCRYPT_PASSWORD_MAX + 1];
} dbk_auth_attempt;

/// Copies what it needs of `options`. `verify_and_map`: users are found by certificate. One reference is the
/// caller's.
/// @return OK, ENOMEM, EINVALID: a rule, an nkey or a bcrypt hash is malformed, or a user is there twice;
/// `error` names place and user, never a password.
daybook_status dbk_auth_new(const daybook_allocator *allocator, const dbk_auth_options *options,
                            bool verify_and_map, dbk_auth **auth_out, daybook_error *error);
dbk_auth *dbk_auth_ref(dbk_auth *auth);
void dbk_auth_unref(dbk_auth *auth); // NULL is fine

/// INFO's auth_required: who says nothing is not let in. False with no_auth_user. NULL: false.
bool dbk_auth_is_required(const dbk_auth *auth);
/// INFO needs a nonce: there are users with nkeys. NULL: false.
bool dbk_auth_needs_nonce(const dbk_auth *auth);

/// user_out is written on ACCEPTED (NULL where everybody is welcome), attempt_out on SLOW. A user lives as
/// long as its auth: a client takes a reference. `auth` NULL: everybody is welcome.
dbk_auth_verdict dbk_auth_check(dbk_auth *auth, const dbk_credentials *said, const dbk_user **user_out,
                                dbk_auth_attempt *attempt_out);
/// The long part, on a worker. Uses the allocator of the auth. ENOMEM counts as refused.
void dbk_auth_attempt_run(dbk_auth_attempt *attempt);
/// On the loop, after running or instead of it (then REFUSED): wipes the password and gives up the
/// attempt's reference to the auth; whoever wants the user holds one. After a reload meanwhile the auth is
/// not the current one any more: the answer is to an old question. An attempt that is all zero is fine:
/// REFUSED.
dbk_auth_verdict dbk_auth_attempt_end(dbk_auth_attempt *attempt, const dbk_user **user_out);

/// After a reload: the user of `auth` that `old` still is: same name, same password or key, still allowed
/// on this kind of connection; no_auth_user again for who was that without saying so. NULL: close its
/// clients. Its permissions may be others. For `old` NULL (everybody was welcome) NULL, too.
const dbk_user *dbk_auth_find_same(const dbk_auth *auth, const dbk_user *old, uint32_t connection_type);

#endif
