// SPDX-License-Identifier: Apache-2.0
//
// QUERY of --fail-if: items joined by `;`, each with parts parted by white space:
//   type=a,b    one of the types           tag=x    the tag; given again: and that one
//   subject=f   the subject filter
// A value, or one of a list, may stand in double quotes, in which \" and \\ are written with a backslash, so
// that types and tags with blanks, commas and semicolons can be named.

#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#define ITEM_COUNT_MAX 64

typedef struct query_parser {
    cli_context *context;
    const char *at;
    const char *query; // for messages
    char *text;        // decoded values, room for the whole query
    size_t text_size;
    cli_query_items *items;
    size_t slice_count;
} query_parser;

static int fail(query_parser *parser, const char *why) {
    return cli_fail(
        parser->context, DAYBOOK_EINVALID,
        "cannot use the query '%s': %s; give parts such as type=a,b tag=x subject=orders.>, ';' between "
        "items, and values with blanks in double quotes",
        parser->query, why);
}

static int is_blank(char character) {
    return character == ' ' || character == '\t' || character == '\n';
}

static void skip_blanks(query_parser *parser) {
    while (is_blank(*parser->at)) parser->at++;
}

// One value up to a comma (in lists), blank, semicolon or the end.
static int take_value(query_parser *parser, int is_list, daybook_slice *value_out) {
    char *begin = parser->text + parser->text_size;
    char *out = begin;
    if (*parser->at == '"') {
        parser->at++;
        while (*parser->at != '"') {
            if (*parser->at == '\\' && parser->at[1] != '\0') parser->at++;
            if (*parser->at == '\0') return fail(parser, "a quote is not closed");
            *out++ = *parser->at++;
        }
        parser->at++;
    } else {
        while (*parser->at != '\0' && !is_blank(*parser->at) && *parser->at != ';' &&
               !(is_list && *parser->at == ','))
            *out++ = *parser->at++;
    }
    if (out == begin) return fail(parser, "a value is empty");
    parser->text_size += (size_t)(out - begin);
    *value_out = daybook_bytes(begin, (size_t)(out - begin));
    return CLI_FINE;
}

static int take_values(query_parser *parser, const daybook_slice **array, size_t *count, int is_list) {
    daybook_slice *slices = parser->items->slices;
    if (*count == 0) *array = slices + parser->slice_count;
    for (;;) {
        int status = take_value(parser, is_list, &slices[parser->slice_count]);
        if (status != CLI_FINE) return status;
        parser->slice_count++;
        (*count)++;
        if (!is_list || *parser->at != ',') return CLI_FINE;
        parser->at++;
    }
}

// Types and tags of one item must each be contiguous, so tags are gathered in a second pass over the item.
static int take_part(query_parser *parser, daybook_query_item *item, int tags_only) {
    daybook_slice ignored;
    if (strncmp(parser->at, "type=", 5) == 0) {
        parser->at += 5;
        if (!tags_only && item->type_count != 0) return fail(parser, "type= is given twice in one item");
        const daybook_slice *again = NULL;
        size_t again_count = 0, before = parser->slice_count;
        if (!tags_only) return take_values(parser, &item->types, &item->type_count, 1);
        int status = take_values(parser, &again, &again_count, 1);
        parser->slice_count = before;
        return status;
    }
    if (strncmp(parser->at, "tag=", 4) == 0) {
        parser->at += 4;
        if (tags_only) return take_values(parser, &item->tags, &item->tag_count, 0);
        return take_value(parser, 0, &ignored);
    }
    if (strncmp(parser->at, "subject=", 8) == 0) {
        parser->at += 8;
        if (!tags_only && item->filter.size != 0) return fail(parser, "subject= is given twice in one item");
        int status = take_value(parser, 0, &item->filter);
        if (status != CLI_FINE || daybook_filter_is_valid(item->filter)) return status;
        return fail(parser, "subject= is no subject filter");
    }
    return fail(parser, "a part is neither type=, tag= nor subject=");
}

static int take_item(query_parser *parser, daybook_query_item *item) {
    const char *begin = parser->at;
    for (int tags_only = 0; tags_only <= 1; tags_only++) {
        parser->at = begin;
        skip_blanks(parser);
        while (*parser->at != '\0' && *parser->at != ';') {
            int status = take_part(parser, item, tags_only);
            if (status != CLI_FINE) return status;
            if (*parser->at != '\0' && *parser->at != ';' && !is_blank(*parser->at))
                return fail(parser, "something follows a closing quote");
            skip_blanks(parser);
        }
    }
    if (item->type_count == 0 && item->tag_count == 0 && item->filter.size == 0)
        return fail(parser, "an item is empty");
    return CLI_FINE;
}

int cli_parse_query_items(cli_context *context, const char *text, cli_query_items *items_out) {
    size_t size = strlen(text);
    memset(items_out, 0, sizeof *items_out);
    items_out->items = calloc(ITEM_COUNT_MAX, sizeof *items_out->items);
    items_out->slices = calloc(size + 2, sizeof *items_out->slices); // a value has at least one byte
    items_out->text = malloc(2 * size + 1);                          // two passes
    if (items_out->items == NULL || items_out->slices == NULL || items_out->text == NULL)
        return cli_fail(context, DAYBOOK_ENOMEM, "out of memory while reading the query");
    query_parser parser = {
        .context = context, .at = text, .query = text, .text = items_out->text, .items = items_out};
    for (;;) {
        if (items_out->count == ITEM_COUNT_MAX) return fail(&parser, "it has more than 64 items");
        daybook_query_item *item = &items_out->items[items_out->count++];
        daybook_query_item_init(item);
        int status = take_item(&parser, item);
        if (status != CLI_FINE) return status;
        if (*parser.at == '\0') return CLI_FINE;
        parser.at++;
    }
}

void cli_query_items_release(cli_query_items *items) {
    free(items->items);
    free(items->slices);
    free(items->text);
    memset(items, 0, sizeof *items);
}
