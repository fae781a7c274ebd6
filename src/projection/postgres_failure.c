// SPDX-License-Identifier: Apache-2.0
// What PostgreSQL's failures mean, by SQLSTATE: what may pass (connection, locks, serialization, resources),
// what is of the event (data, constraints, RAISE), and the rest, which needs a person. A lost connection is
// said, not mended: the runner opens anew. A failure to connect carries no SQLSTATE in libpq's interface; it
// is read from the message in its verbose form. Connection strings hold passwords and are never repeated in
// messages.
//
// No state but the target's; the thread of the connection.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "projection/postgres.h"

enum { CONNECTION_WORDS_MAX = 300 };

typedef struct meaning {
    const char *sqlstate; // or its beginning
    dbk_failure_kind kind;
    daybook_status status;
    const char *advice;
} meaning;

#define TRANSIENT DBK_FAILURE_TRANSIENT
#define EVENT DBK_FAILURE_EVENT
#define FATAL DBK_FAILURE_FATAL

// The first that fits.
static const meaning meanings[] = {
    {"08P01", FATAL, DAYBOOK_EIO, ""},
    {"08", TRANSIENT, DAYBOOK_EIO, ""},
    {"25006", FATAL, DAYBOOK_EREADONLY, "; write to the primary (target_session_attrs=read-write)"},
    {"25P03", TRANSIENT, DAYBOOK_EIO, ""},
    {"26000", FATAL, DAYBOOK_EINVALID,
     "; a prepared statement vanished: connect to the server itself, not to a pooler of transactions"},
    {"28", FATAL, DAYBOOK_EPERMISSION, "; check user and password"},
    {"3D000", FATAL, DAYBOOK_ENOTFOUND, "; create it"},
    {"40002", EVENT, DAYBOOK_EINVALID, ""},
    {"40", TRANSIENT, DAYBOOK_ELOCKED, ""},
    {"42501", FATAL, DAYBOOK_EPERMISSION, "; grant it to the role"},
    {"42P18", FATAL, DAYBOOK_EINVALID, "; write its type behind it: :data.total::numeric"},
    {"53100", TRANSIENT, DAYBOOK_ENOSPC, "; make room on the server's disk"},
    {"53200", TRANSIENT, DAYBOOK_ENOMEM, ""},
    {"53", TRANSIENT, DAYBOOK_EMFILE, ""},
    {"54", EVENT, DAYBOOK_EINVALID, ""},
    {"55006", TRANSIENT, DAYBOOK_ELOCKED, ""},
    {"55P03", TRANSIENT, DAYBOOK_ELOCKED, "; another session holds a lock on the table"},
    {"57P04", FATAL, DAYBOOK_ENOTFOUND, ""},
    {"57P", TRANSIENT, DAYBOOK_EIO, ""},
    {"57014", TRANSIENT, DAYBOOK_ELOCKED, ""},
    {"57", TRANSIENT, DAYBOOK_EIO, ""},
    {"58", FATAL, DAYBOOK_EIO, ""},
    {"XX001", FATAL, DAYBOOK_EDAMAGED, ""},
    {"XX002", FATAL, DAYBOOK_EDAMAGED, ""},
    {"XX", FATAL, DAYBOOK_EIO, ""},
    {"09", EVENT, DAYBOOK_EINVALID, ""},
    {"21", EVENT, DAYBOOK_EINVALID, ""},
    {"22", EVENT, DAYBOOK_EINVALID, ""},
    {"23", EVENT, DAYBOOK_EINVALID, ""},
    {"27", EVENT, DAYBOOK_EINVALID, ""},
    {"2F", EVENT, DAYBOOK_EINVALID, ""},
    {"38", EVENT, DAYBOOK_EINVALID, ""},
    {"39", EVENT, DAYBOOK_EINVALID, ""},
    {"44", EVENT, DAYBOOK_EINVALID, ""},
    {"P0", EVENT, DAYBOOK_EINVALID, ""},
    {"", FATAL, DAYBOOK_EINVALID, ""},
};

static const meaning *meaning_of(const char *sqlstate) {
    size_t at = 0;
    while (strncmp(sqlstate, meanings[at].sqlstate, strlen(meanings[at].sqlstate)) != 0) at++;
    return &meanings[at];
}

// The server closes the connection behind these.
static bool ends_connection(const char *sqlstate) {
    return strncmp(sqlstate, "08", 2) == 0 || strncmp(sqlstate, "57P", 3) == 0 ||
           strcmp(sqlstate, "25P03") == 0;
}

daybook_status dbk_postgres_fail(dbk_postgres *postgres, dbk_failure_kind kind, const char *sqlstate,
                                 daybook_status status, daybook_error *error, const char *format, ...) {
    char words[DAYBOOK_ERROR_MESSAGE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    (void)dbk_target_fail(&postgres->target, kind, sqlstate, status);
    return dbk_fail(error, status, "%s: %s", postgres->label, words);
}

daybook_status dbk_postgres_fail_memory(dbk_postgres *postgres, daybook_error *error) {
    return dbk_postgres_fail(postgres, TRANSIENT, "53200", DAYBOOK_ENOMEM, error, "out of memory");
}

daybook_status dbk_postgres_fail_result(dbk_postgres *postgres, const PGresult *result, const char *where,
                                        daybook_error *error) {
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (sqlstate == NULL) return dbk_postgres_fail_connection(postgres, error);
    const meaning *known = meaning_of(sqlstate);
    const char *words = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    (void)dbk_target_fail(&postgres->target, known->kind, sqlstate, known->status);
    postgres->target.failure.is_lost = ends_connection(sqlstate);
    return dbk_fail(error, known->status, "%s%s%s: %s%s%s%s (%s)%s", where == NULL ? "" : where,
                    where == NULL ? "" : ": ", postgres->label, words == NULL ? "failed" : words,
                    detail == NULL ? "" : " (", detail == NULL ? "" : detail, detail == NULL ? "" : ")",
                    sqlstate, known->advice);
}

// libpq's words up to the end of the line, where `FATAL:  28P01: words` carries a code (PQERRORS_VERBOSE).
static void connection_words(const char *message, char *sqlstate, char *words) {
    size_t size = strcspn(message, "\n");
    (void)snprintf(words, CONNECTION_WORDS_MAX, "%.*s", (int)size, message);
    for (char *at = words; (at = strstr(at, ":  ")) != NULL; at++) {
        const char *code = at + 3;
        if (strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") < 5 || code[5] != ':') continue;
        (void)snprintf(sqlstate, 6, "%s", code);
        memmove(at + 2, code + 6, strlen(code + 6) + 1);
    }
}

daybook_status dbk_postgres_fail_connection(dbk_postgres *postgres, daybook_error *error) {
    char sqlstate[6] = "08006";
    char words[CONNECTION_WORDS_MAX] = "";
    connection_words(PQerrorMessage(postgres->connection), sqlstate, words);
    const meaning *known = meaning_of(sqlstate);
    if (PQconnectionNeedsPassword(postgres->connection)) known = meaning_of("28");
    daybook_status status = dbk_postgres_fail(postgres, known->kind, sqlstate, known->status, error, "%s%s",
                                              *words == '\0' ? "the connection is lost" : words,
                                              known->advice);
    postgres->target.failure.is_lost = true;
    return status;
}

// The server counts characters from 1.
void dbk_postgres_find_place(const dbk_postgres *postgres, const PGresult *result,
                             const dbk_statement *source, const char *text, char *where, size_t size) {
    const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
    dbk_place place = {source->line, source->column};
    uint64_t character = 0;
    for (; position != NULL && *position >= '0' && *position <= '9'; position++)
        character = character * 10 + (uint64_t)(*position - '0');
    if (character > 0 && text != NULL) {
        const char *at = text;
        for (uint64_t i = 1; i < character && *at != '\0'; i++) do
                at++;
            while (((unsigned char)*at & 0xc0) == 0x80);
        place = dbk_statement_place(source, DBK_DIALECT_POSTGRES, (size_t)(at - text));
    }
    (void)snprintf(where, size, "%s:%u:%u", (const char *)postgres->definition->file.data, place.line,
                   place.column);
}
