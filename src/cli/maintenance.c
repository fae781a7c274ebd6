// SPDX-License-Identifier: Apache-2.0
//
// `verify`, `repair`, `rebuild`, `backup`, `restore`: the library does the work and reports; here it is
// shown. Findings go to standard output, because they are what was asked for; the verdict is the exit status.

#include "cli/progress.h"

typedef struct findings {
    cli_context *context;
    uint64_t damage_count;
} findings;

static void show_finding(void *context, const daybook_finding *finding) {
    findings *work = context;
    cli_output *out = work->context->out;
    if (finding->is_damage) work->damage_count++;
    if (work->context->json) {
        cli_put_format(out, "{\"damage\":%s,\"file\":", finding->is_damage ? "true" : "false");
        cli_put_json_string(out, finding->file);
        cli_put_format(out, ",\"offset\":%llu", (unsigned long long)finding->offset);
        if (finding->position_first != 0)
            cli_put_format(out, ",\"position_first\":%llu,\"position_last\":%llu",
                           (unsigned long long)finding->position_first,
                           (unsigned long long)finding->position_last);
        cli_puts(out, ",\"message\":");
        cli_put_json_string(out, finding->message);
        cli_puts(out, "}\n");
        return;
    }
    cli_puts(out, finding->is_damage ? "damage  " : "        ");
    if (finding->file.size != 0) {
        cli_put_plain(out, finding->file, 0);
        if (finding->is_damage || finding->offset != 0)
            cli_put_format(out, " at %llu", (unsigned long long)finding->offset);
        cli_puts(out, ": ");
    }
    cli_put_plain(out, finding->message, 0);
    if (finding->position_first != 0 && finding->position_last < finding->position_first)
        cli_put_format(out, " (positions from %llu)", (unsigned long long)finding->position_first);
    else if (finding->position_first != 0)
        cli_put_format(out, " (positions %llu to %llu)", (unsigned long long)finding->position_first,
                       (unsigned long long)finding->position_last);
    cli_put_char(out, '\n');
}

static int fail_missing(cli_context *context, daybook_status status, const daybook_error *error) {
    if (status == DAYBOOK_ENOTFOUND && error->message[0] == '\0')
        return cli_fail(context, status, "no store in %s: there is none; name another with -s",
                        context->store_path);
    return cli_fail_error(context, status, error, NULL);
}

int cli_run_verify(cli_context *context) {
    findings work = {.context = context};
    daybook_open_options options;
    cli_open_options(context, CLI_READ, &options);
    cli_progress progress;
    cli_progress_init(&progress, context, "verifying", "B");
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_verify(context->store_path, &options, show_finding, &work,
                                           cli_progress_hook, &progress, &error);
    cli_progress_end(&progress);
    if (status == DAYBOOK_EDAMAGED && work.damage_count != 0)
        return cli_fail(
            context, status, "%s is damaged: %llu finding%s; run daybook repair, or restore a backup",
            context->store_path, (unsigned long long)work.damage_count, work.damage_count == 1 ? "" : "s");
    if (status != DAYBOOK_OK) return fail_missing(context, status, &error);
    if (context->json)
        cli_put_format(context->out, "{\"damage\":false,\"message\":\"sound\",\"seconds\":%.3f}\n",
                       cli_progress_seconds(&progress));
    else
        cli_put_format(context->out, "sound: every byte of %s was read and checked in %.2f s\n",
                       context->store_path, cli_progress_seconds(&progress));
    return CLI_FINE;
}

typedef daybook_status mending(const char *path, const daybook_open_options *options, int dry_run,
                               daybook_report report, void *report_context, daybook_error *error);

// `did`: repaired, rebuilt; `would`: repair, rebuild.
static int mend(cli_context *context, mending *run, const char *would, const char *did, const char *effect) {
    findings work = {.context = context};
    if (context->read_only && !context->dry_run)
        return cli_fail(
            context, DAYBOOK_EREADONLY,
            "daybook %s refused: it writes, and --read-only is given; give --dry-run or leave that out",
            would);
    int status = cli_confirm(context, "%s %s, %s", would, context->store_path, effect);
    if (status != CLI_FINE) return status;
    daybook_open_options options;
    cli_open_options(context, context->dry_run ? CLI_READ : CLI_WRITE, &options);
    daybook_error error;
    daybook_error_init(&error);
    daybook_status mended = run(context->store_path, &options, context->dry_run, show_finding, &work, &error);
    const char *plural = work.damage_count == 1 ? "" : "s";
    if (mended == DAYBOOK_EDAMAGED && context->dry_run) {
        cli_note(context, "would %s %s: %llu damaged place%s; nothing was changed", would,
                 context->store_path, (unsigned long long)work.damage_count, plural);
        return CLI_DAMAGED;
    }
    if (mended != DAYBOOK_OK) return fail_missing(context, mended, &error);
    if (work.damage_count == 0 && run == daybook_repair) {
        cli_note(context, "nothing to repair in %s", context->store_path);
    } else {
        cli_note(context, "%s%s %s: %llu damaged place%s", context->dry_run ? "would " : "",
                 context->dry_run ? would : did, context->store_path, (unsigned long long)work.damage_count,
                 plural);
    }
    return CLI_FINE;
}

int cli_run_repair(cli_context *context) {
    return mend(context, daybook_repair, "repair", "repaired", "leaving out what cannot be read");
}

int cli_run_rebuild(cli_context *context) {
    return mend(context, daybook_rebuild, "rebuild", "rebuilt",
                "making its manifest anew: events removed lately may show again");
}

int cli_run_backup(cli_context *context) {
    const char *directory = context->positionals[0];
    if (directory[0] == '\0')
        return cli_fail(context, DAYBOOK_EINVALID,
                        "no directory for the backup: the argument is empty; give one");
    int status = cli_open_store(context, CLI_READ);
    if (status != CLI_FINE) return status;
    cli_progress progress;
    cli_progress_init(&progress, context, "copying", "B");
    daybook_error error;
    daybook_error_init(&error);
    daybook_status copied = daybook_backup(context->store, directory, cli_progress_hook, &progress, &error);
    cli_progress_end(&progress);
    if (copied != DAYBOOK_OK) return cli_fail_error(context, copied, &error, NULL);
    char bytes[32];
    cli_note(context, "backup of %s in %s: %s in %.2f s", context->store_path, directory,
             cli_byte_text(progress.done, bytes), cli_progress_seconds(&progress));
    return CLI_FINE;
}

// --dry-run: is the backup sound?
static int check_backup(cli_context *context, const char *directory) {
    findings work = {.context = context};
    daybook_open_options options;
    cli_open_options(context, CLI_READ, &options);
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_verify(directory, &options, show_finding, &work, NULL, NULL, &error);
    if (status != DAYBOOK_OK) return cli_fail_error(context, status, &error, NULL);
    cli_note(context, "would make %s from the backup in %s, which is sound", context->store_path, directory);
    return CLI_FINE;
}

int cli_run_restore(cli_context *context) {
    const char *directory = context->positionals[0];
    if (context->read_only && !context->dry_run)
        return cli_fail(context, DAYBOOK_EREADONLY,
                        "daybook restore refused: it writes, and --read-only is given; leave that out");
    if (context->no_create && !context->dry_run)
        return cli_fail(
            context, DAYBOOK_ENOTFOUND,
            "daybook restore refused: it makes a store, and --no-create is given; leave that out");
    int status =
        cli_confirm(context, "make the store %s from the backup in %s", context->store_path, directory);
    if (status != CLI_FINE) return status;
    if (context->dry_run) return check_backup(context, directory);
    daybook_open_options options;
    cli_open_options(context, CLI_CREATE, &options);
    cli_progress progress;
    cli_progress_init(&progress, context, "restoring", "B");
    daybook_error error;
    daybook_error_init(&error);
    daybook_status restored =
        daybook_restore(directory, context->store_path, &options, cli_progress_hook, &progress, &error);
    cli_progress_end(&progress);
    if (restored != DAYBOOK_OK) return cli_fail_error(context, restored, &error, NULL);
    cli_note_created(context, "store", daybook_text(context->store_path));
    return CLI_FINE;
}
