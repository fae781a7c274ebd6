// SPDX-License-Identifier: Apache-2.0
//
// Ids for events of sources that have none. An id depends on everything the event says and on how many equal
// events came before it in this import, so that the same source gives the same ids again, and two equal rows
// give two events.
//
// Counting equals: a table from 64 bits of the content's id to a count. In order of time equal events stand
// among those of the same time, so the table is emptied (by a new generation) whenever time moves and stays
// small. In order of the file it grows by one slot of 24 bytes per event without id. Two contents that share
// their 64 bits only skip a number, the same one in every import; their ids differ all the same.
#include "cli/import.h"

#include <stdlib.h>

typedef struct id_slot {
    uint64_t key;
    uint64_t generation; // the slot is free unless it is the table's
    uint64_t count;
} id_slot;

struct cli_import_ids {
    bool ordered_by_time;
    int64_t time_ns;
    uint64_t generation;
    id_slot *slots;
    size_t capacity; // power of two
    size_t used;
    cli_output content;
    char id[37];
};

static const cli_import_place nowhere;

cli_import_ids *cli_import_ids_new(bool ordered_by_time) {
    cli_import_ids *ids = calloc(1, sizeof *ids);
    if (ids == NULL) return NULL;
    ids->ordered_by_time = ordered_by_time;
    ids->generation = 1;
    ids->capacity = 1024;
    ids->slots = calloc(ids->capacity, sizeof *ids->slots);
    cli_output_init(&ids->content, -1);
    if (ids->slots == NULL) {
        cli_import_ids_free(ids);
        return NULL;
    }
    return ids;
}

void cli_import_ids_free(cli_import_ids *ids) {
    if (ids == NULL) return;
    free(ids->slots);
    cli_output_deinit(&ids->content);
    free(ids);
}

static size_t part_size(daybook_slice part) {
    return sizeof(uint64_t) + part.size;
}

static size_t content_size(const daybook_event *event) {
    size_t size = 3 * sizeof(uint64_t) + part_size(event->subject) + part_size(event->data) +
                  part_size(event->type) + part_size(event->schema) + part_size(event->correlation) +
                  part_size(event->causation) + part_size(event->actor);
    for (size_t i = 0; i < event->tag_count; i++) size += part_size(event->tags[i]);
    for (size_t i = 0; i < event->header_count; i++)
        size += part_size(event->headers[i].name) + part_size(event->headers[i].value);
    return size;
}

// Little-endian on every machine.
static char *write_size(char *to, uint64_t size) {
    for (unsigned i = 0; i < 8; i++) to[i] = (char)(size >> (8 * i) & 0xff);
    return to + 8;
}

// Length first, so that no two contents can run together.
static char *write_part(char *to, daybook_slice part) {
    to = write_size(to, part.size);
    if (part.size > 0) memcpy(to, part.data, part.size);
    return to + part.size;
}

// The canonical content. Its layout is part of the promise that a source imported again adds nothing, also
// by a later daybook: it must not change. False: out of memory.
static bool make_content(cli_output *out, const daybook_event *event) {
    size_t size = content_size(event);
    out->size = 0;
    char *to = cli_output_reserve(out, size);
    if (to == NULL) return false;
    to = write_part(to, event->subject);
    to = write_part(to, event->data);
    to = write_part(to, event->type);
    to = write_part(to, event->schema);
    to = write_part(to, event->correlation);
    to = write_part(to, event->causation);
    to = write_part(to, event->actor);
    to = write_size(to, (uint64_t)event->time_ns);
    to = write_size(to, event->tag_count);
    for (size_t i = 0; i < event->tag_count; i++) to = write_part(to, event->tags[i]);
    to = write_size(to, event->header_count);
    for (size_t i = 0; i < event->header_count; i++) {
        to = write_part(to, event->headers[i].name);
        to = write_part(to, event->headers[i].value);
    }
    out->size = size;
    return true;
}

static uint64_t key_of(const char id[37]) {
    uint64_t key = 0;
    for (const char *at = id; *at != '\0'; at++) {
        if (*at == '-') continue;
        unsigned digit = *at <= '9' ? (unsigned)(*at - '0') : (unsigned)((*at | 0x20) - 'a' + 10);
        key = (key << 4 | key >> 60) ^ digit;
    }
    return key * UINT64_C(0x9E3779B97F4A7C15);
}

static id_slot *find_slot(id_slot *slots, size_t capacity, uint64_t generation, uint64_t key) {
    size_t index = (size_t)(key >> 20) & (capacity - 1);
    while (slots[index].generation == generation && slots[index].key != key)
        index = (index + 1) & (capacity - 1);
    return &slots[index];
}

static daybook_status grow(cli_import_ids *ids, cli_import_problem *problem) {
    size_t capacity = ids->capacity * 2;
    id_slot *slots = calloc(capacity, sizeof *slots);
    if (slots == NULL) {
        return cli_import_fail(problem, DAYBOOK_ENOMEM, nowhere,
                               "out of memory, telling %zu events without id apart; give --id", ids->used);
    }
    for (size_t i = 0; i < ids->capacity; i++) {
        if (ids->slots[i].generation != ids->generation) continue;
        *find_slot(slots, capacity, ids->generation, ids->slots[i].key) = ids->slots[i];
    }
    free(ids->slots);
    ids->slots = slots;
    ids->capacity = capacity;
    return DAYBOOK_OK;
}

daybook_status cli_import_ids_apply(cli_import_ids *ids, daybook_event *event, cli_import_problem *problem) {
    if (event->id.size > 0) return DAYBOOK_OK;
    if (ids->ordered_by_time && event->time_ns != ids->time_ns) {
        ids->time_ns = event->time_ns;
        ids->generation++;
        ids->used = 0;
    }
    if (ids->used >= ids->capacity / 4 * 3) {
        daybook_status status = grow(ids, problem);
        if (status != DAYBOOK_OK) return status;
    }
    if (!make_content(&ids->content, event)) return cli_import_no_memory(problem);
    daybook_slice content = {ids->content.data, ids->content.size};
    daybook_id_from_content(content, 0, ids->id);
    uint64_t key = key_of(ids->id);
    id_slot *slot = find_slot(ids->slots, ids->capacity, ids->generation, key);
    if (slot->generation != ids->generation) {
        *slot = (id_slot){.key = key, .generation = ids->generation};
        ids->used++;
    }
    if (slot->count > 0) daybook_id_from_content(content, slot->count, ids->id);
    slot->count++;
    event->id = daybook_text(ids->id);
    return DAYBOOK_OK;
}
