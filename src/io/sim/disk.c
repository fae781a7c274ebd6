// SPDX-License-Identifier: Apache-2.0
// The simulated disk: see disk.h for what it is, sim.h for what it promises.
//
// A file has two images, `view` (the page cache: what reads give) and `durable` (the platter), and an ordered
// list of changes that lead from one to the other. sync replays the list onto `durable`; it does not copy
// `view`, so that what an earlier failed sync threw away stays lost. A durable write (O_DSYNC) behind older
// unsynced changes waits in the list, marked, so that those, should they survive, do not overwrite it.
//
// Names are the same one level up: directories have entries seen and durable, and one list for the whole disk
// holds the changes, a rename being one change of two names.
//
// Power loss: every change meets its fate in order, unmarked ones by chance, and `durable` becomes what is
// seen. Any subset of overlapping writes may survive, which gives every outcome that reordering them could.
//
// A mapped page is the truth for its bytes while mapped: it is copied into `view` before anything looks at
// that, word by word with atomic loads, because other threads write there. Nobody syncs it, so at a power
// loss it is one more unsynced write.
//
// Nodes are counted references. Running out of memory in the middle of a power loss is the one failure that
// leaves a mixture; the caller reports it and the run is void.
#include "io/sim/disk.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

enum { SECTOR_SIZE = 512, PAGE_SIZE = 4096, MAP_SIZE_MAX = 1 << 20 };

static const daybook_allocator *heap(void) {
    return dbk_allocator_default();
}

// Chance.

uint64_t dbk_sim_random_next(dbk_sim_random *random) {
    random->state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t value = random->state;
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

uint64_t dbk_sim_random_below(dbk_sim_random *random, uint64_t bound) {
    return dbk_sim_random_next(random) % bound; // the bias is far below what a test can see
}

bool dbk_sim_random_chance(dbk_sim_random *random, unsigned percent) {
    return dbk_sim_random_below(random, 100) < percent;
}

// Images.

static int image_resize(dbk_sim_image *image, uint64_t size) {
    if (size > SIZE_MAX / 2) return -EFBIG;
    if (size > image->capacity) {
        size_t capacity = image->capacity < PAGE_SIZE ? PAGE_SIZE : image->capacity;
        while (capacity < size) capacity *= 2;
        uint8_t *data = dbk_resize_array(heap(), image->data, capacity, 1);
        if (data == NULL) return -ENOMEM;
        image->data = data;
        image->capacity = capacity;
    }
    if (size > image->size) memset(image->data + image->size, 0, (size_t)size - image->size);
    image->size = (size_t)size;
    return 0;
}

static int image_write(dbk_sim_image *image, const void *data, size_t size, uint64_t offset) {
    if (size == 0) return 0;
    if (offset > SIZE_MAX / 2 - size) return -EFBIG;
    if (offset + size > image->size) {
        int result = image_resize(image, offset + size);
        if (result < 0) return result;
    }
    if (image->data + offset != data) memcpy(image->data + offset, data, size);
    return 0;
}

static int image_copy(dbk_sim_image *to, const dbk_sim_image *from) {
    int result = image_resize(to, from->size);
    if (result == 0 && from->size > 0) memcpy(to->data, from->data, from->size);
    return result;
}

// Maps.

static void refresh_from_map(dbk_sim_node *node) {
    dbk_sim_map *map = node->map;
    if (map == NULL) return;
    size_t size = map->size < node->view.size ? map->size : node->view.size;
    for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
        uint64_t word = __atomic_load_n(&map->data[at / sizeof word], __ATOMIC_RELAXED);
        size_t part = size - at < sizeof word ? size - at : sizeof word;
        if (memcmp(node->view.data + at, &word, part) == 0) continue;
        memcpy(node->view.data + at, &word, part);
        map->is_dirty = true;
    }
}

// The other way, for bytes changed through the file. Byte by byte, not to touch neighbours others write.
static void refresh_map(dbk_sim_node *node, uint64_t offset, size_t size) {
    if (node->map == NULL) return;
    uint8_t *mapped = (uint8_t *)node->map->data;
    for (uint64_t at = offset; at < offset + size && at < node->map->size; at++) {
        uint8_t byte = at < node->view.size ? node->view.data[at] : 0;
        __atomic_store_n(&mapped[at], byte, __ATOMIC_RELAXED);
    }
}

int dbk_sim_node_map(dbk_sim_disk *disk, dbk_sim_node *node, size_t size, void **data_out) {
    // Touching a page behind the end of the file would be SIGBUS in reality: refused here to be found early.
    if (size == 0 || size > node->view.size || size > MAP_SIZE_MAX) return -EINVAL;
    if (node->map != NULL && node->map->size < size) return -EINVAL; // one size for all who share it
    if (node->map == NULL) {
        size_t rounded = (size + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
        dbk_sim_map *map = dbk_alloc_zeroed(heap(), sizeof *map);
        void *raw = dbk_alloc_zeroed(heap(), rounded + PAGE_SIZE);
        if (map == NULL || raw == NULL) {
            dbk_free(heap(), map);
            dbk_free(heap(), raw);
            return -ENOMEM;
        }
        uintptr_t aligned = ((uintptr_t)raw + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
        *map = (dbk_sim_map){
            .next = disk->maps, .node = node, .size = rounded, .raw = raw, .data = (uint64_t *)aligned};
        memcpy(map->data, node->view.data, node->view.size < rounded ? node->view.size : rounded);
        disk->maps = map;
        node->map = map;
    }
    node->map->users++;
    *data_out = node->map->data;
    return 0;
}

static void detach_map(dbk_sim_map *map) {
    if (map->node == NULL) return;
    map->node->map = NULL;
    map->node = NULL;
}

// Ends the mapping of a file; what was written through it becomes one unsynced write.
static int settle_map(dbk_sim_disk *disk, dbk_sim_node *node) {
    dbk_sim_map *map = node->map;
    refresh_from_map(node);
    detach_map(map);
    if (!map->is_dirty) return 0;
    size_t size = map->size < node->view.size ? map->size : node->view.size;
    return dbk_sim_node_write(disk, node, node->view.data, size, 0, false);
}

void dbk_sim_unmap(dbk_sim_disk *disk, const void *data) {
    for (dbk_sim_map **at = &disk->maps; *at != NULL; at = &(*at)->next) {
        dbk_sim_map *map = *at;
        if (map->data != data) continue;
        if (--map->users > 0) return;
        // Without memory for the write the bytes stay seen only, as after a failed sync.
        if (map->node != NULL) (void)settle_map(disk, map->node);
        *at = map->next;
        dbk_free(heap(), map->raw);
        dbk_free(heap(), map);
        return;
    }
    DBK_UNREACHABLE(); // unmapping what is not mapped is a bug of the code under test
}

// Nodes.

dbk_sim_node *dbk_sim_node_new(bool is_directory) {
    dbk_sim_node *node = dbk_alloc_zeroed(heap(), sizeof *node);
    if (node == NULL) return NULL;
    node->references = 1;
    node->is_directory = is_directory;
    node->last_next = &node->first;
    return node;
}

dbk_sim_node *dbk_sim_node_ref(dbk_sim_node *node) {
    node->references++;
    return node;
}

static void free_changes(dbk_sim_node *node) {
    while (node->first != NULL) {
        dbk_sim_change *next = node->first->next;
        dbk_free(heap(), node->first);
        node->first = next;
    }
    node->last_next = &node->first;
}

static void clear_entries(dbk_sim_disk *disk, dbk_sim_entries *entries) {
    // Emptied first: letting go of a directory leads back here for its own entries, not for these.
    dbk_sim_entries old = *entries;
    *entries = (dbk_sim_entries){0};
    for (size_t i = 0; i < old.count; i++) {
        dbk_free(heap(), old.items[i].name);
        dbk_sim_node_unref(disk, old.items[i].node);
    }
    dbk_free(heap(), old.items);
}

void dbk_sim_node_unref(dbk_sim_disk *disk, dbk_sim_node *node) {
    if (node == NULL || --node->references > 0) return;
    if (node->map != NULL) detach_map(node->map);
    disk->used_bytes -= node->view.size;
    free_changes(node);
    dbk_free(heap(), node->view.data);
    dbk_free(heap(), node->durable.data);
    clear_entries(disk, &node->view_entries);
    clear_entries(disk, &node->durable_entries);
    dbk_free(heap(), node);
}

// Files.

static int apply(dbk_sim_node *node, const dbk_sim_change *change) {
    if (change->is_truncate) return image_resize(&node->durable, change->offset);
    return image_write(&node->durable, change->data, change->size, change->offset);
}

static void append_change(dbk_sim_node *node, dbk_sim_change *change) {
    *node->last_next = change;
    node->last_next = &change->next;
}

static dbk_sim_change *new_change(const void *data, size_t size, uint64_t offset, bool is_durable) {
    dbk_sim_change *change = dbk_alloc(heap(), sizeof *change + size);
    if (change == NULL) return NULL;
    *change = (dbk_sim_change){.is_durable = is_durable, .offset = offset, .size = size};
    if (size > 0) memcpy(change->data, data, size);
    return change;
}

int dbk_sim_node_write(dbk_sim_disk *disk, dbk_sim_node *node, const void *data, size_t size, uint64_t offset,
                       bool is_durable) {
    refresh_from_map(node);
    dbk_sim_change *change = NULL;
    bool is_direct = is_durable && node->first == NULL; // nothing older: straight to the platter
    if (!is_direct) {
        change = new_change(data, size, offset, is_durable);
        if (change == NULL) return -ENOMEM;
    }
    size_t size_before = node->view.size;
    int result = image_write(&node->view, data, size, offset);
    if (result == 0 && is_direct) result = image_write(&node->durable, data, size, offset);
    disk->used_bytes += node->view.size - size_before;
    if (result < 0) {
        dbk_free(heap(), change);
        return result;
    }
    if (change != NULL) append_change(node, change);
    refresh_map(node, offset, size);
    return 0;
}

int dbk_sim_node_truncate(dbk_sim_disk *disk, dbk_sim_node *node, uint64_t size, bool is_durable) {
    refresh_from_map(node);
    dbk_sim_change *change = new_change(NULL, 0, size, is_durable);
    if (change == NULL) return -ENOMEM;
    change->is_truncate = true;
    size_t size_before = node->view.size;
    int result = image_resize(&node->view, size);
    if (result < 0) {
        dbk_free(heap(), change);
        return result;
    }
    disk->used_bytes = disk->used_bytes - size_before + node->view.size;
    append_change(node, change);
    if (node->map != NULL) refresh_map(node, 0, node->map->size);
    return 0;
}

size_t dbk_sim_node_read(dbk_sim_node *node, void *data, size_t size, uint64_t offset) {
    refresh_from_map(node);
    if (offset >= node->view.size) return 0;
    size_t left = node->view.size - (size_t)offset;
    size_t moved = size < left ? size : left;
    if (moved > 0) memcpy(data, node->view.data + offset, moved);
    return moved;
}

int dbk_sim_node_sync(dbk_sim_node *node) {
    while (node->first != NULL) {
        dbk_sim_change *change = node->first;
        int result = apply(node, change);
        if (result < 0) return result;
        node->first = change->next;
        if (node->first == NULL) node->last_next = &node->first;
        dbk_free(heap(), change);
    }
    if (node->map == NULL) return 0;
    refresh_from_map(node);
    size_t size = node->map->size < node->view.size ? node->map->size : node->view.size;
    node->map->is_dirty = false;
    return image_write(&node->durable, node->view.data, size, 0);
}

// The parts of a write that lie in one sector each, with the chance to do something to them.
typedef enum sector_fate { SECTOR_KEPT, SECTOR_DROPPED, SECTOR_RANDOM, SECTOR_ZEROS } sector_fate;

static int write_sector(dbk_sim_disk *disk, dbk_sim_node *node, const uint8_t *data, size_t size,
                        uint64_t offset, sector_fate fate) {
    uint8_t garbage[PAGE_SIZE] = {0};
    switch (fate) {
    case SECTOR_DROPPED:
        return 0;
    case SECTOR_KEPT:
        return image_write(&node->durable, data, size, offset);
    case SECTOR_RANDOM:
        for (size_t i = 0; i < size; i++) garbage[i] = (uint8_t)dbk_sim_random_next(&disk->random);
        return image_write(&node->durable, garbage, size, offset);
    case SECTOR_ZEROS:
        return image_write(&node->durable, garbage, size, offset);
    }
    return 0;
}

typedef sector_fate draw_sector(dbk_sim_disk *disk, const void *context);

static int apply_by_sector(dbk_sim_disk *disk, dbk_sim_node *node, const dbk_sim_change *change,
                           size_t sector_size, draw_sector *draw, const void *context) {
    for (size_t done = 0; done < change->size;) {
        uint64_t offset = change->offset + done;
        size_t part = sector_size - (size_t)(offset % sector_size);
        if (part > change->size - done) part = change->size - done;
        int result = write_sector(disk, node, change->data + done, part, offset, draw(disk, context));
        if (result < 0) return result;
        done += part;
    }
    return 0;
}

static sector_fate draw_torn(dbk_sim_disk *disk, const void *context) {
    (void)context;
    return dbk_sim_random_chance(&disk->random, 50) ? SECTOR_KEPT : SECTOR_DROPPED;
}

static sector_fate draw_garbage(dbk_sim_disk *disk, const void *context) {
    (void)context;
    static const sector_fate fates[] = {SECTOR_KEPT, SECTOR_DROPPED, SECTOR_RANDOM, SECTOR_ZEROS};
    return fates[dbk_sim_random_below(&disk->random, 4)];
}

static sector_fate draw_by_percent(dbk_sim_disk *disk, const void *context) {
    return dbk_sim_random_chance(&disk->random, *(const unsigned *)context) ? SECTOR_KEPT : SECTOR_DROPPED;
}

void dbk_sim_node_sync_failed(dbk_sim_disk *disk, dbk_sim_node *node, unsigned kept_percent) {
    for (dbk_sim_change *change = node->first; change != NULL; change = change->next) {
        // Best effort: it failed anyway, and memory running out only loses more.
        if (change->is_durable) {
            (void)apply(node, change);
        } else if (!change->is_truncate) {
            (void)apply_by_sector(disk, node, change, PAGE_SIZE, draw_by_percent, &kept_percent);
        }
    }
    free_changes(node);
}

void dbk_sim_node_overwrite(dbk_sim_node *node, uint64_t offset, const void *data, size_t size) {
    const uint8_t *bytes = data;
    refresh_from_map(node);
    memcpy(node->view.data + offset, data, size);
    for (size_t i = 0; i < size && offset + i < node->durable.size; i++)
        node->durable.data[offset + i] = bytes[i];
    for (dbk_sim_change *change = node->first; change != NULL; change = change->next) {
        for (size_t i = 0; i < size; i++) {
            uint64_t at = offset + i;
            if (at >= change->offset && at - change->offset < change->size) {
                change->data[at - change->offset] = bytes[i];
            }
        }
    }
    refresh_map(node, offset, size);
}

// Names.

static dbk_sim_entry *find_in(const dbk_sim_entries *entries, dbk_slice name) {
    for (size_t i = 0; i < entries->count; i++) {
        const char *other = entries->items[i].name;
        if (strlen(other) == name.size && memcmp(other, name.data, name.size) == 0) return &entries->items[i];
    }
    return NULL;
}

static int reserve_entry(dbk_sim_entries *entries) {
    if (entries->count < entries->capacity) return 0;
    size_t capacity = entries->capacity == 0 ? 8 : entries->capacity * 2;
    dbk_sim_entry *items = dbk_resize_array(heap(), entries->items, capacity, sizeof *items);
    if (items == NULL) return -ENOMEM;
    entries->items = items;
    entries->capacity = capacity;
    return 0;
}

static int set_in(dbk_sim_disk *disk, dbk_sim_entries *entries, dbk_slice name, dbk_sim_node *node) {
    dbk_sim_entry *entry = find_in(entries, name);
    if (entry == NULL && node == NULL) return 0;
    if (entry == NULL) {
        int result = reserve_entry(entries);
        if (result < 0) return result;
        char *copy = dbk_copy_text(heap(), name);
        if (copy == NULL) return -ENOMEM;
        entries->items[entries->count++] = (dbk_sim_entry){.name = copy, .node = dbk_sim_node_ref(node)};
        return 0;
    }
    dbk_sim_node *old = entry->node;
    if (node != NULL) {
        entry->node = dbk_sim_node_ref(node);
    } else {
        dbk_free(heap(), entry->name);
        *entry = entries->items[--entries->count];
    }
    dbk_sim_node_unref(disk, old);
    return 0;
}

// The next part of a path between slashes, "." left out; empty at the end.
static dbk_slice next_part(const char **path) {
    for (;;) {
        while (**path == '/') (*path)++;
        size_t size = strcspn(*path, "/");
        dbk_slice part = daybook_bytes(*path, size);
        *path += size;
        if (size != 1 || *(const char *)part.data != '.') return part;
    }
}

int dbk_sim_find_parent(dbk_sim_disk *disk, const char *path, dbk_sim_node **directory_out,
                        dbk_slice *name_out) {
    if (*path == '\0') return -ENOENT;
    dbk_sim_node *directory = disk->root;
    dbk_slice name = next_part(&path);
    for (;;) {
        if (name.size >= sizeof((daybook_vfs_entry *)NULL)->name) return -ENAMETOOLONG;
        if (name.size == 2 && memcmp(name.data, "..", 2) == 0) return -EINVAL; // not simulated
        dbk_slice next = next_part(&path);
        if (next.size == 0) break;
        directory = dbk_sim_find_entry(directory, name);
        if (directory == NULL) return -ENOENT;
        if (!directory->is_directory) return -ENOTDIR;
        name = next;
    }
    *directory_out = directory;
    *name_out = name;
    return 0;
}

dbk_sim_node *dbk_sim_find_entry(const dbk_sim_node *directory, dbk_slice name) {
    const dbk_sim_entry *entry = find_in(&directory->view_entries, name);
    return entry == NULL ? NULL : entry->node;
}

int dbk_sim_find(dbk_sim_disk *disk, const char *path, dbk_sim_node **node_out) {
    dbk_sim_node *directory = NULL;
    dbk_slice name;
    int result = dbk_sim_find_parent(disk, path, &directory, &name);
    if (result < 0) return result;
    *node_out = name.size == 0 ? directory : dbk_sim_find_entry(directory, name);
    return *node_out == NULL ? -ENOENT : 0;
}

static void free_name_change(dbk_sim_disk *disk, dbk_sim_name_change *change) {
    for (unsigned i = 0; i < change->part_count; i++) {
        dbk_free(heap(), change->parts[i].name);
        dbk_sim_node_unref(disk, change->parts[i].node);
        dbk_sim_node_unref(disk, change->parts[i].directory);
    }
    dbk_free(heap(), change);
}

static int add_part(dbk_sim_name_change *change, dbk_sim_node *directory, dbk_slice name,
                    dbk_sim_node *node) {
    char *copy = dbk_copy_text(heap(), name);
    if (copy == NULL) return -ENOMEM;
    change->parts[change->part_count++] =
        (dbk_sim_name_part){.directory = dbk_sim_node_ref(directory),
                            .name = copy,
                            .node = node == NULL ? NULL : dbk_sim_node_ref(node)};
    return 0;
}

// Shows the change at once and takes it over.
static int show(dbk_sim_disk *disk, dbk_sim_name_change *change) {
    for (unsigned i = 0; i < change->part_count; i++) {
        const dbk_sim_name_part *part = &change->parts[i];
        int result = set_in(disk, &part->directory->view_entries, daybook_text(part->name), part->node);
        if (result < 0) return result;
    }
    *disk->last_next = change;
    disk->last_next = &change->next;
    return 0;
}

int dbk_sim_set_entry(dbk_sim_disk *disk, dbk_sim_node *directory, dbk_slice name, dbk_sim_node *node) {
    dbk_sim_name_change *change = dbk_alloc_zeroed(heap(), sizeof *change);
    if (change == NULL) return -ENOMEM;
    int result = add_part(change, directory, name, node);
    if (result == 0) result = show(disk, change);
    if (result < 0) free_name_change(disk, change);
    return result;
}

int dbk_sim_move_entry(dbk_sim_disk *disk, dbk_sim_node *from_directory, dbk_slice from_name,
                       dbk_sim_node *to_directory, dbk_slice to_name) {
    dbk_sim_node *node = dbk_sim_find_entry(from_directory, from_name);
    DBK_ASSERT(node != NULL);
    dbk_sim_name_change *change = dbk_alloc_zeroed(heap(), sizeof *change);
    if (change == NULL) return -ENOMEM;
    // The new name first: it is the part that can fail when shown.
    int result = add_part(change, to_directory, to_name, node);
    if (result == 0) result = add_part(change, from_directory, from_name, NULL);
    if (result == 0) result = show(disk, change);
    if (result < 0) free_name_change(disk, change);
    return result;
}

static int apply_names(dbk_sim_disk *disk, const dbk_sim_name_change *change) {
    for (unsigned i = 0; i < change->part_count; i++) {
        const dbk_sim_name_part *part = &change->parts[i];
        int result = set_in(disk, &part->directory->durable_entries, daybook_text(part->name), part->node);
        if (result < 0) return result;
    }
    return 0;
}

static dbk_sim_name_change *take_first_name_change(dbk_sim_disk *disk) {
    dbk_sim_name_change *change = disk->first;
    disk->first = change->next;
    if (disk->first == NULL) disk->last_next = &disk->first;
    return change;
}

// Marks the changes of this directory durable; those at the head of the list, with nothing older before them,
// are applied. The others wait for their turn.
void dbk_sim_sync_names(dbk_sim_disk *disk, dbk_sim_node *directory) {
    for (dbk_sim_name_change *change = disk->first; change != NULL; change = change->next) {
        for (unsigned i = 0; i < change->part_count; i++) {
            if (change->parts[i].directory == directory) change->is_durable = true;
        }
    }
    while (disk->first != NULL && disk->first->is_durable) {
        if (apply_names(disk, disk->first) < 0) return; // memory: it stays marked and is tried again
        free_name_change(disk, take_first_name_change(disk));
    }
}

// Power loss.

typedef struct fate {
    dbk_sim_crash_kind kind;
    unsigned keep, drop, tear, garbage; // weights
    bool is_prefix;                     // everything before a point is kept, the rest dropped
    uint64_t prefix_left;
} fate;

static fate draw_mood(dbk_sim_disk *disk, dbk_sim_crash_kind kind, uint64_t change_count) {
    static const fate moods[] = {
        {.keep = 3, .drop = 3, .tear = 2, .garbage = 2},
        {.keep = 8, .drop = 1, .tear = 1, .garbage = 0},
        {.keep = 1, .drop = 8, .tear = 1, .garbage = 1},
        {.is_prefix = true},
    };
    fate mood = moods[dbk_sim_random_below(&disk->random, sizeof moods / sizeof moods[0])];
    mood.kind = kind;
    mood.prefix_left = dbk_sim_random_below(&disk->random, change_count + 1);
    return mood;
}

typedef enum change_fate { CHANGE_KEPT, CHANGE_DROPPED, CHANGE_TORN, CHANGE_GARBAGE } change_fate;

static change_fate draw_change(dbk_sim_disk *disk, fate *mood) {
    if (mood->kind == DBK_SIM_POWER_LOSS_KEEP_ALL) return CHANGE_KEPT;
    if (mood->kind == DBK_SIM_POWER_LOSS_DROP_ALL) return CHANGE_DROPPED;
    if (mood->is_prefix) {
        if (mood->prefix_left == 0) return CHANGE_DROPPED;
        return --mood->prefix_left == 0 ? CHANGE_TORN : CHANGE_KEPT;
    }
    uint64_t drawn =
        dbk_sim_random_below(&disk->random, mood->keep + mood->drop + mood->tear + mood->garbage);
    if (drawn < mood->keep) return CHANGE_KEPT;
    if (drawn < mood->keep + mood->drop) return CHANGE_DROPPED;
    return drawn < mood->keep + mood->drop + mood->tear ? CHANGE_TORN : CHANGE_GARBAGE;
}

static int meet_fate(dbk_sim_disk *disk, dbk_sim_node *node, const dbk_sim_change *change, fate *mood) {
    if (change->is_durable) return apply(node, change);
    change_fate drawn = draw_change(disk, mood);
    if (drawn == CHANGE_DROPPED) return 0;
    if (drawn == CHANGE_KEPT || change->is_truncate) return apply(node, change);
    size_t sector_size = dbk_sim_random_chance(&disk->random, 50) ? SECTOR_SIZE : PAGE_SIZE;
    return apply_by_sector(disk, node, change, sector_size, drawn == CHANGE_TORN ? draw_torn : draw_garbage,
                           NULL);
}

static uint64_t count_changes(const dbk_sim_node *node) {
    uint64_t count = 0;
    for (const dbk_sim_change *change = node->first; change != NULL; change = change->next) count++;
    return count;
}

static int lose_file(dbk_sim_disk *disk, dbk_sim_node *node, dbk_sim_crash_kind kind) {
    int result = node->map == NULL ? 0 : settle_map(disk, node);
    if (result < 0) return result;
    fate mood = draw_mood(disk, kind, count_changes(node));
    for (const dbk_sim_change *change = node->first; change != NULL; change = change->next) {
        result = meet_fate(disk, node, change, &mood);
        if (result < 0) return result;
    }
    free_changes(node);
    node->lock_holder = NULL;
    size_t size_before = node->view.size;
    result = image_copy(&node->view, &node->durable);
    disk->used_bytes = disk->used_bytes - size_before + node->view.size;
    return result;
}

static int lose_names(dbk_sim_disk *disk, dbk_sim_crash_kind kind) {
    uint64_t count = 0;
    for (const dbk_sim_name_change *change = disk->first; change != NULL; change = change->next) count++;
    fate mood = draw_mood(disk, kind, count);
    while (disk->first != NULL) {
        dbk_sim_name_change *change = take_first_name_change(disk);
        change_fate drawn = change->is_durable ? CHANGE_KEPT : draw_change(disk, &mood);
        // A name has no sectors: torn and garbage fall to one side or the other.
        bool is_kept = drawn == CHANGE_KEPT ||
                       (drawn == CHANGE_TORN && dbk_sim_random_chance(&disk->random, 50));
        int result = is_kept ? apply_names(disk, change) : 0;
        free_name_change(disk, change);
        if (result < 0) return result;
    }
    return 0;
}

// What is seen of a directory becomes what is durable, and so on down. A node may be reached by two names
// (one of two renames in a row was dropped); the second time there is nothing left to lose.
static int lose_tree(dbk_sim_disk *disk, dbk_sim_node *directory, dbk_sim_crash_kind kind) {
    clear_entries(disk, &directory->view_entries);
    for (size_t i = 0; i < directory->durable_entries.count; i++) {
        const dbk_sim_entry *entry = &directory->durable_entries.items[i];
        int result = set_in(disk, &directory->view_entries, daybook_text(entry->name), entry->node);
        if (result < 0) return result;
        result = entry->node->is_directory ? lose_tree(disk, entry->node, kind)
                                           : lose_file(disk, entry->node, kind);
        if (result < 0) return result;
    }
    return 0;
}

int dbk_sim_disk_lose_power(dbk_sim_disk *disk, dbk_sim_crash_kind kind) {
    int result = lose_names(disk, kind);
    return result < 0 ? result : lose_tree(disk, disk->root, kind);
}

int dbk_sim_disk_init(dbk_sim_disk *disk, uint64_t seed) {
    *disk = (dbk_sim_disk){.random = {.state = seed}};
    disk->last_next = &disk->first;
    disk->root = dbk_sim_node_new(true);
    return disk->root == NULL ? -ENOMEM : 0;
}

void dbk_sim_disk_deinit(dbk_sim_disk *disk) {
    if (disk->root == NULL) return;
    while (disk->first != NULL) free_name_change(disk, take_first_name_change(disk));
    dbk_sim_node_unref(disk, disk->root);
    disk->root = NULL;
    while (disk->maps != NULL) {
        dbk_sim_map *next = disk->maps->next;
        detach_map(disk->maps);
        dbk_free(heap(), disk->maps->raw);
        dbk_free(heap(), disk->maps);
        disk->maps = next;
    }
}
