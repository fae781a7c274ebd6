// SPDX-License-Identifier: Apache-2.0
// Which database a URL names.
#include "projection/target.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

daybook_status dbk_target_fail(dbk_target *target, dbk_failure_kind kind, const char *code,
                               daybook_status status) {
    target->failure.kind = kind;
    target->failure.step = DBK_FAILURE_STEP_NONE;
    target->failure.is_lost = false;
    snprintf(target->failure.code, sizeof target->failure.code, "%s", code);
    return status;
}

int daybook_projection_can(const char *database) {
#ifdef DBK_HAS_SQLITE
    if (database != NULL && strcmp(database, "sqlite") == 0) return 1;
#endif
#ifdef DBK_HAS_POSTGRES
    if (database != NULL && strcmp(database, "postgresql") == 0) return 1;
#endif
    (void)database;
    return 0;
}

static bool begins_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static daybook_status open_sqlite(const char *path, const dbk_target_options *options,
                                  dbk_target **target_out, daybook_error *error) {
#ifdef DBK_HAS_SQLITE
    return dbk_sqlite_open(path, options, target_out, error);
#else
    (void)options;
    (void)target_out;
    return dbk_fail(
        error, DAYBOOK_EUNSUPPORTED,
        "no way to '%s': this build is without SQLite; build it again where its library and headers are",
        path);
#endif
}

static daybook_status open_postgres(const char *conninfo, const dbk_target_options *options,
                                    dbk_target **target_out, daybook_error *error) {
#ifdef DBK_HAS_POSTGRES
    return dbk_postgres_open(conninfo, options, target_out, error);
#else
    (void)conninfo;
    (void)options;
    (void)target_out;
    return dbk_fail(
        error, DAYBOOK_EUNSUPPORTED,
        "no way to PostgreSQL: this build is without libpq; build it again where its library and headers "
        "are");
#endif
}

daybook_status dbk_target_open(const char *url, const dbk_target_options *options, dbk_target **target_out,
                               daybook_error *error) {
    *target_out = NULL;
    if (options->failure != NULL)
        *options->failure = (dbk_failure){.kind = DBK_FAILURE_FATAL, .step = DBK_FAILURE_STEP_NONE};
    if (begins_with(url, "postgresql://") || begins_with(url, "postgres://"))
        return open_postgres(url, options, target_out, error);
    if (begins_with(url, "postgresql:"))
        return open_postgres(url + strlen("postgresql:"), options, target_out, error);
    if (begins_with(url, "sqlite:"))
        url += strlen("sqlite:");
    else if (strstr(url, "://") != NULL) // Shown without what is behind it, which may hold a password.
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "no database '%.*s://…': unknown scheme; give sqlite:PATH or postgresql://HOST/NAME",
                        (int)(strstr(url, "://") - url), url);
    if (*url == '\0')
        return dbk_fail(error, DAYBOOK_EINVALID, "no database: the path is empty; give sqlite:PATH");
    return open_sqlite(url, options, target_out, error);
}
