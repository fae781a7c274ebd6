// SPDX-License-Identifier: Apache-2.0
//
// `diff`: how the state of an aggregate changed between two versions; 0 is the empty state.

#include "cli/event_text.h"

static int take_version(cli_context *context, const char *text, uint64_t *version_out) {
    if (cli_parse_number(daybook_text(text), version_out)) return CLI_FINE;
    return cli_fail(context, DAYBOOK_EINVALID,
                    "cannot use the version '%s': it is no whole number from 0; give one such as 3", text);
}

int cli_run_diff(cli_context *context) {
    uint64_t from = 0, to = 0;
    daybook_slice aggregate = daybook_text(context->positionals[0]);
    if (!daybook_subject_is_valid(aggregate))
        return cli_fail(context, DAYBOOK_ESUBJECT,
                        "cannot use the aggregate '%s': it is not one; give its tokens joined by dots, such "
                        "as orders.123",
                        context->positionals[0]);
    int status = take_version(context, context->positionals[1], &from);
    if (status == CLI_FINE) status = take_version(context, context->positionals[2], &to);
    if (status == CLI_FINE) status = cli_open_store(context, CLI_READ);
    if (status != CLI_FINE) return status;
    char *changes = NULL;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status found = daybook_state_diff(cli_engine(context), aggregate, from, to, &changes, &error);
    if (found != DAYBOOK_OK) return cli_fail_error(context, found, &error, NULL);
    cli_output *out = context->out;
    if (context->json) {
        cli_puts(out, "{\"aggregate\":");
        cli_put_json_string(out, aggregate);
        cli_put_format(out, ",\"from\":%llu,\"to\":%llu,\"changes\":", (unsigned long long)from,
                       (unsigned long long)to);
        cli_puts(out, changes);
        cli_puts(out, "}\n");
    } else {
        uint64_t before = out->written_bytes + out->size;
        if (cli_put_changes(context, out, daybook_text(changes), "\n") != 0)
            status = cli_fail(context, DAYBOOK_EIO,
                              "the changes could not be shown: they are not as expected; use --json");
        if (out->written_bytes + out->size != before)
            cli_put_char(out, '\n');
        else
            cli_note(context, "the state did not change");
    }
    daybook_text_release(changes);
    return status;
}
