// SPDX-License-Identifier: Apache-2.0
//
// From a record to an event, by the mapping the command line gives. Templates and columns are looked up by
// name; where a name stood last time is tried first, which finds it at once in everything but ragged XES.
//
// A missing or blank column gives no type, id, actor or tag. A missing part of the subject or a missing time
// is malformed input. Type, actor and tags take no control characters in the store, but logs have activities
// with line breaks: there they become spaces, which is counted, and the data keeps the value. Not in an id or
// a correlation, where two values must not become one. Data is the JSON object of the record's visible
// values; a source hides what it does not want there, as CSV does with empty cells.
//
// Results are borrowed from buffers of the map and last until the next call. One thread.
#include "cli/import.h"
#include "cli/template.h"

#include <stdio.h>
#include <stdlib.h>

// A column by name, with the index it was found at last.
typedef struct column {
    daybook_slice name; // empty: not mapped
    size_t hint;
} column;

typedef struct mapped_template {
    cli_template parsed;
    size_t hints[CLI_TEMPLATE_PART_COUNT_MAX];
} mapped_template;

struct cli_import_map {
    mapped_template subject;
    mapped_template *tags;
    size_t tag_count;
    column time, type, id, actor, correlation;
    // Built anew for each record.
    cli_output subject_text;
    cli_output data_text;
    cli_output tag_text;
    cli_output element_text;
    cli_output type_text; // only where the column's value had to be changed
    cli_output actor_text;
    uint64_t replaced_count;
    size_t tag_ends[DAYBOOK_TAG_COUNT_MAX];
    daybook_slice tag_slices[DAYBOOK_TAG_COUNT_MAX];
    size_t tag_slice_count;
};

static const cli_import_place nowhere;

// --- Columns ---------------------------------------------------------------------------------------------

static const cli_import_field *find_field(const cli_import_record *record, daybook_slice name, size_t *hint) {
    if (*hint < record->field_count && cli_slice_equals(record->fields[*hint].name, name))
        return &record->fields[*hint];
    for (size_t i = 0; i < record->field_count; i++) {
        if (!cli_slice_equals(record->fields[i].name, name)) continue;
        *hint = i;
        return &record->fields[i];
    }
    return NULL;
}

// NULL where the column is not mapped, not there or blank.
static const cli_import_field *find_column(const cli_import_record *record, column *wanted) {
    if (wanted->name.size == 0) return NULL;
    const cli_import_field *field = find_field(record, wanted->name, &wanted->hint);
    return field == NULL || cli_slice_is_blank(field->value) ? NULL : field;
}

static daybook_status check_known(daybook_slice name, const cli_import_source *source,
                                  cli_import_problem *problem) {
    if (source->columns == NULL) return DAYBOOK_OK;
    for (size_t i = 0; i < source->column_count; i++)
        if (cli_slice_equals(source->columns[i], name)) return DAYBOOK_OK;
    char list[400] = "";
    size_t used = 0;
    for (size_t i = 0; i < source->column_count; i++) {
        int size = snprintf(list + used, sizeof list - used, "%s%.*s", i == 0 ? "" : ", ",
                            (int)source->columns[i].size, (const char *)source->columns[i].data);
        if (size < 0 || (size_t)size >= sizeof list - used) {
            (void)snprintf(list + used, sizeof list - used, "%s", i == 0 ? "" : ", ...");
            break;
        }
        used += (size_t)size;
    }
    return cli_import_fail(problem, DAYBOOK_EINVALID, nowhere, "there is no column \"%.*s\"; there are: %s",
                           (int)name.size, (const char *)name.data, list);
}

static daybook_status map_column(const char *name, const cli_import_source *source, column *column_out,
                                 cli_import_problem *problem) {
    if (name == NULL) return DAYBOOK_OK;
    if (name[0] == '\0')
        return cli_import_fail(problem, DAYBOOK_EINVALID, nowhere, "the name of a column is empty");
    column_out->name = daybook_text(name);
    return check_known(column_out->name, source, problem);
}

static daybook_status map_template(const char *text, cli_template_kind kind, const cli_import_source *source,
                                   mapped_template *template_out, cli_import_problem *problem) {
    daybook_error error;
    daybook_status status = cli_template_parse(text, kind, &template_out->parsed, &error);
    if (status != DAYBOOK_OK)
        return cli_import_fail(problem, status, nowhere, "malformed template \"%s\": %s", text,
                               error.message);
    for (size_t i = 0; i < template_out->parsed.part_count && status == DAYBOOK_OK; i++) {
        const cli_template_part *part = &template_out->parsed.parts[i];
        if (part->is_column) status = check_known(part->text, source, problem);
    }
    return status;
}

// --- Life ------------------------------------------------------------------------------------------------

daybook_status cli_import_map_new(const cli_import_mapping *mapping, const cli_import_source *source,
                                  cli_import_map **map_out, cli_import_problem *problem) {
    *map_out = NULL;
    cli_import_map *map = calloc(1, sizeof *map);
    if (map == NULL) return cli_import_no_memory(problem);
    cli_output_init(&map->subject_text, -1);
    cli_output_init(&map->data_text, -1);
    cli_output_init(&map->tag_text, -1);
    cli_output_init(&map->element_text, -1);
    cli_output_init(&map->type_text, -1);
    cli_output_init(&map->actor_text, -1);
    daybook_status status = DAYBOOK_OK;
    if (mapping->tag_count > 0) {
        map->tags = calloc(mapping->tag_count, sizeof *map->tags);
        if (map->tags == NULL) status = cli_import_no_memory(problem);
    }
    if (status == DAYBOOK_OK && mapping->subject != NULL)
        status = map_template(mapping->subject, CLI_TEMPLATE_SUBJECT, source, &map->subject, problem);
    for (size_t i = 0; i < mapping->tag_count && status == DAYBOOK_OK; i++) {
        status = map_template(mapping->tags[i], CLI_TEMPLATE_TAG, source, &map->tags[i], problem);
        map->tag_count = i + 1;
    }
    if (status == DAYBOOK_OK) status = map_column(mapping->time, source, &map->time, problem);
    if (status == DAYBOOK_OK) status = map_column(mapping->type, source, &map->type, problem);
    if (status == DAYBOOK_OK) status = map_column(mapping->id, source, &map->id, problem);
    if (status == DAYBOOK_OK) status = map_column(mapping->actor, source, &map->actor, problem);
    if (status == DAYBOOK_OK) status = map_column(mapping->correlation, source, &map->correlation, problem);
    if (status != DAYBOOK_OK) {
        cli_import_map_free(map);
        return status;
    }
    *map_out = map;
    return DAYBOOK_OK;
}

void cli_import_map_free(cli_import_map *map) {
    if (map == NULL) return;
    cli_template_deinit(&map->subject.parsed);
    for (size_t i = 0; i < map->tag_count; i++) cli_template_deinit(&map->tags[i].parsed);
    free(map->tags);
    cli_output_deinit(&map->subject_text);
    cli_output_deinit(&map->data_text);
    cli_output_deinit(&map->tag_text);
    cli_output_deinit(&map->element_text);
    cli_output_deinit(&map->type_text);
    cli_output_deinit(&map->actor_text);
    free(map);
}

uint64_t cli_import_map_replaced_count(const cli_import_map *map) {
    return map->replaced_count;
}

// --- Parts of an event -----------------------------------------------------------------------------------

static daybook_status make_subject(cli_import_map *map, const cli_import_record *record, daybook_slice *out,
                                   cli_import_place *place_out, cli_import_problem *problem) {
    map->subject_text.size = 0;
    const cli_template *parsed = &map->subject.parsed;
    *place_out = record->place;
    for (size_t i = 0; i < parsed->part_count; i++) {
        const cli_template_part *part = &parsed->parts[i];
        const cli_import_field *field = NULL;
        if (part->is_column) {
            field = find_field(record, part->text, &map->subject.hints[i]);
            if (field != NULL && place_out->column == record->place.column) *place_out = field->place;
        }
        if (cli_template_put(parsed, part, field == NULL ? (daybook_slice){NULL, 0} : field->value,
                             &map->subject_text))
            continue;
        if (map->subject_text.failed_errno) return cli_import_no_memory(problem);
        cli_import_place place = field == NULL ? record->place : field->place;
        const char *why = field == NULL            ? "is missing"
                          : field->value.size == 0 ? "is empty"
                                                   : "leaves nothing as a slug";
        return cli_import_fail(problem, DAYBOOK_EINVALID, place, "\"%.*s\" %s, and the subject needs it",
                               (int)part->text.size, (const char *)part->text.data, why);
    }
    *out = (daybook_slice){map->subject_text.data, map->subject_text.size};
    return DAYBOOK_OK;
}

static daybook_status make_time(cli_import_map *map, const cli_import_record *record, int64_t *time_out,
                                cli_import_problem *problem) {
    const cli_import_field *field = find_column(record, &map->time);
    if (field == NULL) {
        field = find_field(record, map->time.name, &map->time.hint);
        return cli_import_fail(problem, DAYBOOK_EINVALID, field == NULL ? record->place : field->place,
                               "\"%.*s\" is %s, and an event needs a time", (int)map->time.name.size,
                               (const char *)map->time.name.data, field == NULL ? "missing" : "empty");
    }
    const char *text = field->value.data;
    // Relative times are for people at a prompt; in a log they would change with every import.
    bool is_absolute = text[0] >= '0' && text[0] <= '9';
    if (is_absolute && daybook_time_parse(field->value, 0, time_out) == DAYBOOK_OK) return DAYBOOK_OK;
    return cli_import_fail(
        problem, DAYBOOK_EINVALID, field->place,
        "\"%.*s\" is no time; RFC 3339 is understood, 2026-11-21T03:41:00.5+01:00, also with a "
        "space",
        (int)(field->value.size > 100 ? 100 : field->value.size), text);
}

static void make_data(cli_import_map *map, const cli_import_record *record, daybook_slice *out) {
    if (record->has_data) {
        *out = record->data;
        return;
    }
    cli_output *text = &map->data_text;
    text->size = 0;
    char before = '{';
    for (size_t i = 0; i < record->field_count; i++) {
        const cli_import_field *field = &record->fields[i];
        if (field->hidden) continue;
        cli_put_char(text, before);
        before = ',';
        cli_put_json_string(text, field->name);
        cli_put_char(text, ':');
        if (field->kind == CLI_IMPORT_STRING) {
            cli_put_json_string(text, field->value);
        } else {
            cli_put_slice(text, field->value);
        }
    }
    if (before == '{') cli_put_char(text, '{');
    cli_put_char(text, '}');
    *out = (daybook_slice){text->data, text->size};
}

static daybook_status check_text(const char *what, daybook_slice text, cli_import_place place,
                                 cli_import_problem *problem) {
    if (text.size > DAYBOOK_TEXT_SIZE_MAX) {
        return cli_import_fail(problem, DAYBOOK_EINVALID, place,
                               "the %s has %zu bytes, and at most %d can be kept", what, text.size,
                               DAYBOOK_TEXT_SIZE_MAX);
    }
    if (cli_slice_has_control(text))
        return cli_import_fail(problem, DAYBOOK_EINVALID, place, "the %s has a control character", what);
    if (cli_utf8_valid_size(text) < text.size)
        return cli_import_fail(problem, DAYBOOK_EINVALID, place, "the %s is no UTF-8", what);
    return DAYBOOK_OK;
}

static daybook_status add_tag(cli_import_map *map, cli_import_place place, cli_import_problem *problem) {
    size_t begin = map->tag_slice_count == 0 ? 0 : map->tag_ends[map->tag_slice_count - 1];
    // The same tag twice is one tag.
    daybook_slice made = {map->tag_text.data + begin, map->tag_text.size - begin};
    for (size_t i = 0, at = 0; i < map->tag_slice_count; at = map->tag_ends[i++]) {
        if (!cli_slice_equals((daybook_slice){map->tag_text.data + at, map->tag_ends[i] - at}, made))
            continue;
        map->tag_text.size = begin;
        return DAYBOOK_OK;
    }
    if (map->tag_slice_count == DAYBOOK_TAG_COUNT_MAX) {
        return cli_import_fail(problem, DAYBOOK_EINVALID, place, "the row makes more than %d tags",
                               DAYBOOK_TAG_COUNT_MAX);
    }
    map->tag_ends[map->tag_slice_count++] = map->tag_text.size;
    return check_text("tag", made, place, problem);
}

// What a placeholder put at the end of the tags, without control characters. False where nothing is left.
static bool flatten_tag(cli_import_map *map, size_t begin, bool *replaced) {
    cli_output *text = &map->tag_text;
    size_t size = text->size - begin;
    if (!cli_slice_has_control((daybook_slice){text->data + begin, size})) return true;
    *replaced = true;
    text->size = begin + cli_flatten(text->data + begin, size);
    return text->size > begin;
}

// One tag from the template, with `element` in the place of the `each` part; nothing where a part is missing.
static daybook_status make_tag(cli_import_map *map, mapped_template *tag, const cli_import_record *record,
                               const cli_import_field *element_field, daybook_slice element,
                               cli_import_problem *problem) {
    const cli_template *parsed = &tag->parsed;
    size_t begin = map->tag_text.size;
    cli_import_place place = record->place;
    bool is_there = true, replaced = false;
    for (size_t i = 0; i < parsed->part_count && is_there; i++) {
        const cli_template_part *part = &parsed->parts[i];
        daybook_slice value = {NULL, 0};
        if (i == parsed->each_part) {
            value = element;
            place = element_field->place;
        } else if (part->is_column) {
            const cli_import_field *field = find_field(record, part->text, &tag->hints[i]);
            if (field != NULL) value = field->value;
            if (field != NULL) place = field->place;
        }
        size_t part_begin = map->tag_text.size;
        is_there = cli_template_put(parsed, part, value, &map->tag_text);
        if (map->tag_text.failed_errno) return cli_import_no_memory(problem);
        if (is_there && part->is_column) is_there = flatten_tag(map, part_begin, &replaced);
    }
    map->replaced_count += replaced;
    if (is_there) return add_tag(map, place, problem);
    map->tag_text.size = begin;
    return DAYBOOK_OK;
}

static daybook_status make_each(cli_import_map *map, mapped_template *tag, const cli_import_record *record,
                                cli_import_problem *problem) {
    const cli_template_part *part = &tag->parsed.parts[tag->parsed.each_part];
    const cli_import_field *field = find_field(record, part->text, &tag->hints[tag->parsed.each_part]);
    if (field == NULL) return DAYBOOK_OK;
    cli_list list;
    cli_list_begin(&list, field->value);
    for (;;) {
        map->element_text.size = 0;
        int more = cli_list_next(&list, &map->element_text);
        if (more == 0) return DAYBOOK_OK;
        if (more < 0) {
            return cli_import_fail(problem, DAYBOOK_EINVALID, field->place,
                                   "\"%.*s\" is no list from its character %zu on: %.*s",
                                   (int)part->text.size, (const char *)part->text.data, list.offset + 1,
                                   (int)(field->value.size > 100 ? 100 : field->value.size),
                                   (const char *)field->value.data);
        }
        daybook_slice element = {map->element_text.data, map->element_text.size};
        daybook_status status = make_tag(map, tag, record, field, element, problem);
        if (status != DAYBOOK_OK) return status;
    }
}

static daybook_status make_tags(cli_import_map *map, const cli_import_record *record,
                                cli_import_problem *problem) {
    map->tag_text.size = 0;
    map->tag_slice_count = 0;
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; i < map->tag_count && status == DAYBOOK_OK; i++) {
        mapped_template *tag = &map->tags[i];
        bool has_each = tag->parsed.each_part < tag->parsed.part_count;
        status = has_each ? make_each(map, tag, record, problem)
                          : make_tag(map, tag, record, NULL, (daybook_slice){NULL, 0}, problem);
    }
    for (size_t i = 0, at = 0; i < map->tag_slice_count; at = map->tag_ends[i++])
        map->tag_slices[i] = (daybook_slice){map->tag_text.data + at, map->tag_ends[i] - at};
    return status;
}

// Checked where it stands, so that the message points at it and not at the subject.
static daybook_status take_text(const cli_import_record *record, column *wanted, const char *what,
                                daybook_slice *out, cli_import_problem *problem) {
    const cli_import_field *field = find_column(record, wanted);
    *out = field == NULL ? (daybook_slice){NULL, 0} : field->value;
    return field == NULL ? DAYBOOK_OK : check_text(what, *out, field->place, problem);
}

// The same, but with control characters replaced, in `text`.
static daybook_status take_plain_text(cli_import_map *map, const cli_import_record *record, column *wanted,
                                      const char *what, cli_output *text, daybook_slice *out,
                                      cli_import_problem *problem) {
    const cli_import_field *field = find_column(record, wanted);
    *out = field == NULL ? (daybook_slice){NULL, 0} : field->value;
    if (cli_slice_has_control(*out)) {
        text->size = 0;
        cli_put_slice(text, *out);
        if (text->failed_errno) return cli_import_no_memory(problem);
        *out = (daybook_slice){text->data, cli_flatten(text->data, text->size)};
        map->replaced_count++;
    }
    return out->size == 0 ? DAYBOOK_OK : check_text(what, *out, field->place, problem);
}

daybook_status cli_import_map_apply(cli_import_map *map, const cli_import_record *record,
                                    daybook_event *event_out, cli_import_problem *problem) {
    if (record->event != NULL) {
        *event_out = *record->event;
        return cli_import_event_check(event_out, record->place, problem);
    }
    daybook_event_init(event_out);
    cli_import_place subject_place;
    daybook_status status = make_subject(map, record, &event_out->subject, &subject_place, problem);
    if (status == DAYBOOK_OK && map->time.name.size > 0)
        status = make_time(map, record, &event_out->time_ns, problem);
    if (status == DAYBOOK_OK) status = make_tags(map, record, problem);
    if (status != DAYBOOK_OK) return status;
    make_data(map, record, &event_out->data);
    status = take_plain_text(map, record, &map->type, "type", &map->type_text, &event_out->type, problem);
    if (status == DAYBOOK_OK) status = take_text(record, &map->id, "id", &event_out->id, problem);
    if (status == DAYBOOK_OK)
        status =
            take_plain_text(map, record, &map->actor, "actor", &map->actor_text, &event_out->actor, problem);
    if (status == DAYBOOK_OK)
        status = take_text(record, &map->correlation, "correlation", &event_out->correlation, problem);
    if (status != DAYBOOK_OK) return status;
    event_out->tags = map->tag_slices;
    event_out->tag_count = map->tag_slice_count;
    if (map->subject_text.failed_errno || map->data_text.failed_errno || map->tag_text.failed_errno ||
        map->element_text.failed_errno)
        return cli_import_no_memory(problem);
    return cli_import_event_check(event_out, subject_place, problem);
}

// --- What the store would refuse -------------------------------------------------------------------------

daybook_status cli_import_event_check(const daybook_event *event, cli_import_place place,
                                      cli_import_problem *problem) {
    if (!daybook_subject_is_valid(event->subject)) {
        int shown = (int)(event->subject.size > 200 ? 200 : event->subject.size);
        if (event->subject.size > DAYBOOK_SUBJECT_SIZE_MAX) {
            return cli_import_fail(problem, DAYBOOK_ESUBJECT, place,
                                   "the subject has %zu bytes, and at most %d can be kept: %.*s...",
                                   event->subject.size, DAYBOOK_SUBJECT_SIZE_MAX, shown,
                                   (const char *)event->subject.data);
        }
        return cli_import_fail(
            problem, DAYBOOK_ESUBJECT, place,
            "malformed subject \"%.*s\": tokens joined by dots, none empty, no space, no * or >", shown,
            shown == 0 ? "" : (const char *)event->subject.data);
    }
    daybook_status status = check_text("id", event->id, place, problem);
    if (status == DAYBOOK_OK) status = check_text("type", event->type, place, problem);
    if (status == DAYBOOK_OK) status = check_text("actor", event->actor, place, problem);
    if (status == DAYBOOK_OK) status = check_text("schema", event->schema, place, problem);
    if (status == DAYBOOK_OK) status = check_text("correlation", event->correlation, place, problem);
    if (status == DAYBOOK_OK) status = check_text("causation", event->causation, place, problem);
    if (status == DAYBOOK_OK && event->tag_count > DAYBOOK_TAG_COUNT_MAX) {
        status = cli_import_fail(problem, DAYBOOK_EINVALID, place,
                                 "there are %zu tags, and at most %d can be kept", event->tag_count,
                                 DAYBOOK_TAG_COUNT_MAX);
    }
    for (size_t i = 0; i < event->tag_count && status == DAYBOOK_OK; i++)
        status = check_text("tag", event->tags[i], place, problem);
    return status;
}
