// SPDX-License-Identifier: Apache-2.0
// Queries of a store whose events lie in two segments and the memory table, some of them removed. Input: a
// byte of flags, two of bounds, then texts separated by zero bytes, each with a first byte that says what it
// is: a filter, type, tag, correlation, actor, id, stream, or the begin of a further item. A query is refused
// with a message, or gives what a naive walk over all events gives, in both directions, and counts as many.
#include "daybook/daybook.h"
#include "fuzz.h"
#include "io/memory.h"

enum { EVENTS = 240, FILTERS_MAX = 4, ITEMS_MAX = 3 };

typedef struct wish {
    daybook_query query;
    dbk_slice filters[FILTERS_MAX], types[FILTERS_MAX], tags[FILTERS_MAX];
    daybook_query_item items[ITEMS_MAX];
    dbk_slice item_types[ITEMS_MAX][FILTERS_MAX], item_tags[ITEMS_MAX][FILTERS_MAX];
} wish;

static daybook_store *store;
static daybook_recorded_event all[EVENTS]; // what is not removed; their memory is never given back
static size_t all_count;

// ---- The store --------------------------------------------------------------------------------------------

static dbk_slice keep(dbk_slice text) {
    char *copy = malloc(text.size + 1);
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, text.data, text.size);
    return daybook_bytes(copy, text.size);
}

static void append_event(unsigned number) {
    static const char *const streams[] = {"a", "b"};
    char subject[64], type[16], tags[3][16], text[3][16];
    (void)snprintf(subject, sizeof subject, "%s.%u.%c.%u", streams[number % 2], number % 7, 'x' + number % 3,
                   number % 5);
    (void)snprintf(type, sizeof type, "t%u", number % 4);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.type = daybook_text(type);
    dbk_slice slices[3];
    event.tag_count = number % 4;
    for (unsigned i = 0; i < number % 4; i++) {
        (void)snprintf(tags[i], sizeof tags[i], "k%u:%u", i, number % (3 + i));
        slices[i] = daybook_text(tags[i]);
    }
    event.tags = slices;
    (void)snprintf(text[0], sizeof text[0], "c%u", number % 11);
    (void)snprintf(text[1], sizeof text[1], "u%u", number % 3);
    (void)snprintf(text[2], sizeof text[2], "i%u", number);
    event.correlation = daybook_text(text[0]);
    event.actor = daybook_text(text[1]);
    if (number % 3 == 0) event.id = daybook_text(text[2]);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    FUZZ_CHECK(daybook_append(store, &event, 1, &options, NULL, NULL) == DAYBOOK_OK);
    if (number % 100 == 99) FUZZ_CHECK(daybook_flush(store, NULL) == DAYBOOK_OK);
}

static void make_store(void) {
    daybook_vfs *vfs = NULL;
    FUZZ_CHECK(dbk_memory_vfs_new(dbk_allocator_default(), &vfs) == DAYBOOK_OK);
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    options.vfs = vfs;
    options.journal_max_bytes = 4 << 20;
    FUZZ_CHECK(daybook_open("/store", &options, &store, NULL) == DAYBOOK_OK);
    for (unsigned number = 0; number < EVENTS; number++) append_event(number);
    for (uint64_t seq = 1; seq < EVENTS / 2; seq += 9)
        FUZZ_CHECK(daybook_event_remove(store, daybook_text("A"), seq, false, NULL) == DAYBOOK_OK);
    daybook_query query;
    daybook_query_init(&query);
    daybook_cursor *cursor;
    FUZZ_CHECK(daybook_read(store, &query, &cursor, NULL) == DAYBOOK_OK);
    daybook_recorded_event event = {.size = sizeof event};
    while (daybook_cursor_next(cursor, 0, &event, NULL) == DAYBOOK_OK) {
        daybook_recorded_event *kept = &all[all_count++];
        *kept = event;
        dbk_slice *tags = malloc(sizeof *tags * 4);
        FUZZ_CHECK(tags != NULL);
        for (size_t i = 0; i < event.event.tag_count; i++) tags[i] = keep(event.event.tags[i]);
        kept->event.tags = tags;
        kept->event.subject = keep(event.event.subject);
        kept->event.type = keep(event.event.type);
        kept->event.correlation = keep(event.event.correlation);
        kept->event.actor = keep(event.event.actor);
        kept->event.id = keep(event.event.id);
        kept->stream = keep(event.stream);
    }
    daybook_cursor_close(cursor);
    FUZZ_CHECK(all_count > EVENTS / 2);
}

// ---- The naive answer -------------------------------------------------------------------------------------

static bool is_among(dbk_slice text, const dbk_slice *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (dbk_slice_equal(list[i], text)) return true;
    return false;
}

static bool has_all(const daybook_event *event, const dbk_slice *tags, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!is_among(tags[i], event->tags, event->tag_count)) return false;
    return true;
}

static bool item_wants(const daybook_query_item *item, const daybook_event *event) {
    return (item->type_count == 0 || is_among(event->type, item->types, item->type_count)) &&
           has_all(event, item->tags, item->tag_count) &&
           (item->filter.size == 0 || daybook_filter_matches(item->filter, event->subject));
}

static bool is_wanted(const daybook_query *query, const daybook_recorded_event *recorded) {
    const daybook_event *event = &recorded->event;
    bool matches = query->filter_count == 0;
    for (size_t i = 0; i < query->filter_count && !matches; i++)
        matches = daybook_filter_matches(query->filters[i], event->subject);
    bool is_item = query->item_count == 0;
    for (size_t i = 0; i < query->item_count && !is_item; i++) is_item = item_wants(&query->items[i], event);
    return matches && is_item &&
           (query->type_count == 0 || is_among(event->type, query->types, query->type_count)) &&
           has_all(event, query->tags, query->tag_count) &&
           (query->stream.size == 0 || dbk_slice_equal(query->stream, recorded->stream)) &&
           (query->correlation.size == 0 || dbk_slice_equal(query->correlation, event->correlation)) &&
           (query->actor.size == 0 || dbk_slice_equal(query->actor, event->actor)) &&
           (query->id.size == 0 || dbk_slice_equal(query->id, event->id)) &&
           recorded->position >= query->position_from &&
           (query->position_to == 0 || recorded->position <= query->position_to);
}

// ---- Comparing --------------------------------------------------------------------------------------------

static void compare(const daybook_query *query) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_cursor *cursor;
    if (daybook_read(store, query, &cursor, &error) != DAYBOOK_OK) {
        FUZZ_CHECK(error.message[0] != '\0');
        return;
    }
    bool is_reverse = (query->flags & DAYBOOK_QUERY_REVERSE) != 0;
    daybook_recorded_event event = {.size = sizeof event};
    uint64_t count = 0;
    for (size_t i = 0; i < all_count; i++) {
        const daybook_recorded_event *due = &all[is_reverse ? all_count - 1 - i : i];
        if (!is_wanted(query, due) || (query->limit > 0 && count == query->limit)) continue;
        FUZZ_CHECK(daybook_cursor_next(cursor, 0, &event, &error) == DAYBOOK_OK);
        FUZZ_CHECK(event.position == due->position);
        FUZZ_CHECK(dbk_slice_equal(event.event.subject, due->event.subject));
        count++;
    }
    FUZZ_CHECK(daybook_cursor_next(cursor, 0, &event, &error) == DAYBOOK_END);
    daybook_cursor_close(cursor);
    uint64_t counted = 0;
    FUZZ_CHECK(daybook_count(store, query, &counted, NULL) == DAYBOOK_OK && counted == count);
}

static void add_text(wish *out, uint8_t what, dbk_slice text) {
    daybook_query *query = &out->query;
    daybook_query_item *item = query->item_count == 0 ? NULL : &out->items[query->item_count - 1];
    switch (what % 10) {
    case 0:
        if (query->filter_count < FILTERS_MAX) out->filters[query->filter_count++] = text;
        break;
    case 1:
        if (query->type_count < FILTERS_MAX) out->types[query->type_count++] = text;
        break;
    case 2:
        if (query->tag_count < FILTERS_MAX) out->tags[query->tag_count++] = text;
        break;
    case 3:
        query->correlation = text;
        break;
    case 4:
        query->actor = text;
        break;
    case 5:
        query->id = text;
        break;
    case 6:
        query->stream = text;
        break;
    case 7:
        if (query->item_count == ITEMS_MAX) break;
        item = &out->items[query->item_count];
        daybook_query_item_init(item);
        item->types = out->item_types[query->item_count];
        item->tags = out->item_tags[query->item_count++];
        item->filter = text;
        break;
    case 8:
        if (item != NULL && item->type_count < FILTERS_MAX)
            out->item_types[query->item_count - 1][item->type_count++] = text;
        break;
    default:
        if (item != NULL && item->tag_count < FILTERS_MAX)
            out->item_tags[query->item_count - 1][item->tag_count++] = text;
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) return 0;
    if (store == NULL) make_store();
    wish asked;
    memset(&asked, 0, sizeof asked);
    daybook_query_init(&asked.query);
    asked.query.filters = asked.filters;
    asked.query.types = asked.types;
    asked.query.tags = asked.tags;
    asked.query.items = asked.items;
    if ((data[0] & 1) != 0) asked.query.position_from = data[1];
    if ((data[0] & 2) != 0) asked.query.position_to = data[2];
    if ((data[0] & 4) != 0) asked.query.limit = data[1] % 16;
    dbk_slice input = daybook_bytes(data + 3, size - 3);
    while (input.size > 1) {
        dbk_slice text = fuzz_take_text(&input);
        if (text.size == 0) continue;
        const uint8_t *bytes = text.data;
        add_text(&asked, bytes[0], daybook_bytes(bytes + 1, text.size - 1));
    }
    compare(&asked.query);
    asked.query.flags |= DAYBOOK_QUERY_REVERSE;
    compare(&asked.query);
    return 0;
}
