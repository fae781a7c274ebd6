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
// Bytes lie in pages that images share until written, and zeros take none: a clone of the disk costs a list
// of pointers, so that thousands of crashes can be tried from one run.
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

static void page_unref(dbk_sim_page *page) {
    if (page != NULL && __atomic_sub_fetch(&page->references, 1, __ATOMIC_ACQ_REL) == 0)
        dbk_free(heap(), page);
}

static size_t page_count_of(uint64_t size) {
    return (size_t)((size + PAGE_SIZE - 1) / PAGE_SIZE);
}

// The page at an index, to be written: a copy where it is shared, a new one where it was zeros.
static int own_page(dbk_sim_image *image, size_t index, dbk_sim_page **page_out) {
    dbk_sim_page *page = image->pages[index];
    if (page != NULL && __atomic_load_n(&page->references, __ATOMIC_ACQUIRE) == 1) {
        *page_out = page;
        return 0;
    }
    dbk_sim_page *own = page == NULL ? dbk_alloc_zeroed(heap(), sizeof *own) : dbk_alloc(heap(), sizeof *own);
    if (own == NULL) return -ENOMEM;
    if (page != NULL) memcpy(own->data, page->data, PAGE_SIZE);
    own->references = 1;
    page_unref(page);
    image->pages[index] = own;
    *page_out = own;
    return 0;
}

static int reserve_pages(dbk_sim_image *image, size_t count) {
    if (count <= image->page_capacity) return 0;
    size_t capacity = image->page_capacity == 0 ? 4 : image->page_capacity;
    while (capacity < count) capacity *= 2;
    dbk_sim_page **pages = dbk_resize_array(heap(), image->pages, capacity, sizeof *pages);
    if (pages == NULL) return -ENOMEM;
    memset(pages + image->page_capacity, 0, (capacity - image->page_capacity) * sizeof *pages);
    image->pages = pages;
    image->page_capacity = capacity;
    return 0;
}

static int image_resize(dbk_sim_image *image, uint64_t size) {
    if (size > SIZE_MAX / 2) return -EFBIG;
    size_t count = page_count_of(size);
    int result = reserve_pages(image, count);
    if (result < 0) return result;
    if (size < image->size && size % PAGE_SIZE != 0 && image->pages[count - 1] != NULL) {
        dbk_sim_page *last = NULL;
        result = own_page(image, count - 1, &last);
        if (result < 0) return result;
        memset(last->data + size % PAGE_SIZE, 0, PAGE_SIZE - size % PAGE_SIZE);
    }
    for (size_t i = count; i < page_count_of(image->size); i++) {
        page_unref(image->pages[i]);
        image->pages[i] = NULL;
    }
    image->size = size;
    return 0;
}

static bool is_zero_page(const uint8_t *data) {
    return data[0] == 0 && memcmp(data, data + 1, PAGE_SIZE - 1) == 0;
}

static int write_page(dbk_sim_image *image, size_t index, size_t at, const uint8_t *data, size_t size) {
    if (size == PAGE_SIZE && is_zero_page(data)) {
        page_unref(image->pages[index]);
        image->pages[index] = NULL;
        return 0;
    }
    dbk_sim_page *page = NULL;
    int result = own_page(image, index, &page);
    if (result == 0) memcpy(page->data + at, data, size);
    return result;
}

static int image_write(dbk_sim_image *image, const void *data, size_t size, uint64_t offset) {
    const uint8_t *bytes = data;
    if (size == 0) return 0;
    if (offset > SIZE_MAX / 2 - size) return -EFBIG;
    if (offset + size > image->size) {
        int result = image_resize(image, offset + size);
        if (result < 0) return result;
    }
    for (size_t done = 0; done < size;) {
        size_t at = (size_t)((offset + done) % PAGE_SIZE);
        size_t part = PAGE_SIZE - at < size - done ? PAGE_SIZE - at : size - done;
        int result = write_page(image, (size_t)((offset + done) / PAGE_SIZE), at, bytes + done, part);
        if (result < 0) return result;
        done += part;
    }
    return 0;
}

// `size` bytes that exist.
static void image_read(const dbk_sim_image *image, void *data, size_t size, uint64_t offset) {
    uint8_t *bytes = data;
    for (size_t done = 0; done < size;) {
        size_t at = (size_t)((offset + done) % PAGE_SIZE);
        size_t part = PAGE_SIZE - at < size - done ? PAGE_SIZE - at : size - done;
        const dbk_sim_page *page = image->pages[(offset + done) / PAGE_SIZE];
        if (page == NULL) {
            memset(bytes + done, 0, part);
        } else {
            memcpy(bytes + done, page->data + at, part);
        }
        done += part;
    }
}

static void image_clear(dbk_sim_image *image) {
    for (size_t i = 0; i < page_count_of(image->size); i++) page_unref(image->pages[i]);
    dbk_free(heap(), image->pages);
    *image = (dbk_sim_image){0};
}

// `to` becomes the same, sharing all pages.
static int image_copy(dbk_sim_image *to, const dbk_sim_image *from) {
    size_t count = page_count_of(from->size);
    int result = image_resize(to, 0);
    if (result == 0) result = reserve_pages(to, count);
    if (result < 0) return result;
    for (size_t i = 0; i < count; i++) {
        dbk_sim_page *page = from->pages[i];
        if (page != NULL) (void)__atomic_add_fetch(&page->references, 1, __ATOMIC_RELAXED);
        to->pages[i] = page;
    }
    to->size = from->size;
    return 0;
}

// Maps.

// The part of a mapped file that both map and file have.
static size_t mapped_size(const dbk_sim_node *node) {
    return node->map->size < node->view.size ? node->map->size : (size_t)node->view.size;
}

static void refresh_from_map(dbk_sim_node *node) {
    dbk_sim_map *map = node->map;
    if (map == NULL) return;
    size_t size = mapped_size(node);
    uint64_t seen[PAGE_SIZE / sizeof(uint64_t)];
    for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
        size_t index = at % PAGE_SIZE / sizeof(uint64_t);
        if (index == 0) {
            image_read(&node->view, seen, size - at < PAGE_SIZE ? size - at : PAGE_SIZE, at);
        }
        uint64_t word = __atomic_load_n(&map->data[at / sizeof word], __ATOMIC_RELAXED);
        size_t part = size - at < sizeof word ? size - at : sizeof word;
        if (memcmp(&seen[index], &word, part) == 0) continue;
        // Without memory the change is seen at the next look.
        if (image_write(&node->view, &word, part, at) < 0) return;
        map->is_dirty = true;
    }
}

// The other way, for bytes changed through the file. Byte by byte, not to touch neighbours others write.
static void refresh_map(dbk_sim_node *node, uint64_t offset, size_t size) {
    if (node->map == NULL) return;
    uint8_t *mapped = (uint8_t *)node->map->data;
    for (uint64_t at = offset; at < offset + size && at < node->map->size; at++) {
        uint8_t byte = 0;
        if (at < node->view.size) image_read(&node->view, &byte, 1, at);
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
        image_read(&node->view, map->data, node->view.size < rounded ? (size_t)node->view.size : rounded, 0);
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

// What was written through the map of `from` becomes one unsynced write of `to`, the same node or its clone.
static int write_mapped(dbk_sim_disk *disk, const dbk_sim_node *from, size_t size, dbk_sim_node *to) {
    uint8_t *bytes = dbk_alloc(heap(), size);
    if (bytes == NULL) return -ENOMEM;
    image_read(&from->view, bytes, size, 0);
    int result = dbk_sim_node_write(disk, to, bytes, size, 0, false);
    dbk_free(heap(), bytes);
    return result;
}

// Ends the mapping of a file.
static int settle_map(dbk_sim_disk *disk, dbk_sim_node *node) {
    dbk_sim_map *map = node->map;
    refresh_from_map(node);
    size_t size = mapped_size(node);
    detach_map(map);
    return map->is_dirty && size > 0 ? write_mapped(disk, node, size, node) : 0;
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

static void free_change(dbk_sim_change *change) {
    if (change == NULL) return;
    dbk_sim_bytes *bytes = change->bytes;
    if (bytes != NULL && __atomic_sub_fetch(&bytes->references, 1, __ATOMIC_ACQ_REL) == 0)
        dbk_free(heap(), bytes);
    dbk_free(heap(), change);
}

static void free_changes(dbk_sim_node *node) {
    while (node->first != NULL) {
        dbk_sim_change *next = node->first->next;
        free_change(node->first);
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
    image_clear(&node->view);
    image_clear(&node->durable);
    clear_entries(disk, &node->view_entries);
    clear_entries(disk, &node->durable_entries);
    dbk_free(heap(), node);
}

// Files.

static int apply(dbk_sim_node *node, const dbk_sim_change *change) {
    if (change->is_truncate) return image_resize(&node->durable, change->offset);
    return image_write(&node->durable, change->bytes->data, change->size, change->offset);
}

static void append_change(dbk_sim_node *node, dbk_sim_change *change) {
    *node->last_next = change;
    node->last_next = &change->next;
}

static dbk_sim_bytes *new_bytes(const void *data, size_t size) {
    dbk_sim_bytes *bytes = dbk_alloc(heap(), sizeof *bytes + size);
    if (bytes == NULL) return NULL;
    bytes->references = 1;
    if (size > 0) memcpy(bytes->data, data, size);
    return bytes;
}

static dbk_sim_change *new_change(const void *data, size_t size, uint64_t offset, bool is_durable) {
    dbk_sim_change *change = dbk_alloc(heap(), sizeof *change);
    dbk_sim_bytes *bytes = data == NULL ? NULL : new_bytes(data, size);
    if (change == NULL || (data != NULL && bytes == NULL)) {
        dbk_free(heap(), change);
        dbk_free(heap(), bytes);
        return NULL;
    }
    *change = (dbk_sim_change){.is_durable = is_durable, .offset = offset, .size = size, .bytes = bytes};
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
    uint64_t size_before = node->view.size;
    int result = image_write(&node->view, data, size, offset);
    if (result == 0 && is_direct) result = image_write(&node->durable, data, size, offset);
    disk->used_bytes += node->view.size - size_before;
    if (result < 0) {
        free_change(change);
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
    uint64_t size_before = node->view.size;
    int result = image_resize(&node->view, size);
    if (result < 0) {
        free_change(change);
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
    uint64_t left = node->view.size - offset;
    size_t moved = size < left ? size : (size_t)left;
    image_read(&node->view, data, moved, offset);
    return moved;
}

static int apply_first(dbk_sim_node *node) {
    dbk_sim_change *change = node->first;
    int result = apply(node, change);
    if (result < 0) return result;
    node->first = change->next;
    if (node->first == NULL) node->last_next = &node->first;
    free_change(change);
    return 0;
}

int dbk_sim_node_settle_write(dbk_sim_node *node) {
    dbk_sim_change *last = node->first;
    while (last != NULL && last->next != NULL) last = last->next;
    if (last == NULL) return 0;
    last->is_durable = true;
    return node->first == last ? apply_first(node) : 0;
}

int dbk_sim_node_sync(dbk_sim_node *node) {
    while (node->first != NULL) {
        int result = apply_first(node);
        if (result < 0) return result;
    }
    if (node->map == NULL) return 0;
    refresh_from_map(node);
    node->map->is_dirty = false;
    uint8_t page[PAGE_SIZE];
    for (size_t at = 0, size = mapped_size(node); at < size; at += PAGE_SIZE) {
        size_t part = size - at < PAGE_SIZE ? size - at : PAGE_SIZE;
        image_read(&node->view, page, part, at);
        int result = image_write(&node->durable, page, part, at);
        if (result < 0) return result;
    }
    return 0;
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
        int result = write_sector(disk, node, change->bytes->data + done, part, offset, draw(disk, context));
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
    node->is_split = node->is_split || node->first != NULL;
    free_changes(node);
}

// What will be on the disk when everything that waits has been written.
static int settled_image(const dbk_sim_node *node, dbk_sim_image *image_out) {
    int result = image_copy(image_out, &node->durable);
    for (const dbk_sim_change *change = node->first; change != NULL && result == 0; change = change->next)
        result = change->is_truncate
                     ? image_resize(image_out, change->offset)
                     : image_write(image_out, change->bytes->data, change->size, change->offset);
    return result;
}

int64_t dbk_sim_node_read_direct(dbk_sim_node *node, void *data, size_t size, uint64_t offset) {
    if (!node->is_split || offset >= node->view.size)
        return (int64_t)dbk_sim_node_read(node, data, size, offset);
    refresh_from_map(node);
    dbk_sim_image settled = {0};
    int result = settled_image(node, &settled);
    if (result == 0) result = image_resize(&settled, node->view.size); // sizes are metadata, not cached bytes
    uint64_t left = node->view.size - offset;
    size_t moved = size < left ? size : (size_t)left;
    if (result == 0) image_read(&settled, data, moved, offset);
    image_clear(&settled);
    return result < 0 ? result : (int64_t)moved;
}

static int evict_file(dbk_sim_node *node) {
    if (!node->is_split || node->map != NULL) return 0;
    uint64_t size = node->view.size;
    int result = settled_image(node, &node->view);
    if (result == 0) result = image_resize(&node->view, size);
    node->is_split = result < 0;
    return result;
}

static int evict_tree(const dbk_sim_node *directory) {
    int result = 0;
    for (size_t i = 0; i < directory->view_entries.count && result == 0; i++) {
        dbk_sim_node *node = directory->view_entries.items[i].node;
        result = node->is_directory ? evict_tree(node) : evict_file(node);
    }
    return result;
}

int dbk_sim_disk_evict(dbk_sim_disk *disk) {
    return evict_tree(disk->root);
}

// Bytes of a change not yet durable; a copy of its own where a clone has the same.
static int overwrite_change(dbk_sim_change *change, uint64_t offset, const uint8_t *data, size_t size) {
    if (change->bytes == NULL || offset >= change->offset + change->size || offset + size <= change->offset)
        return 0;
    if (__atomic_load_n(&change->bytes->references, __ATOMIC_ACQUIRE) > 1) {
        dbk_sim_bytes *own = new_bytes(change->bytes->data, change->size);
        if (own == NULL) return -ENOMEM;
        if (__atomic_sub_fetch(&change->bytes->references, 1, __ATOMIC_ACQ_REL) == 0)
            dbk_free(heap(), change->bytes);
        change->bytes = own;
    }
    for (size_t i = 0; i < size; i++) {
        uint64_t at = offset + i;
        if (at >= change->offset && at - change->offset < change->size)
            change->bytes->data[at - change->offset] = data[i];
    }
    return 0;
}

int dbk_sim_node_overwrite(dbk_sim_node *node, uint64_t offset, const void *data, size_t size) {
    refresh_from_map(node);
    int result = image_write(&node->view, data, size, offset);
    if (result == 0 && offset < node->durable.size) {
        uint64_t left = node->durable.size - offset;
        result = image_write(&node->durable, data, size < left ? size : (size_t)left, offset);
    }
    for (dbk_sim_change *change = node->first; change != NULL && result == 0; change = change->next)
        result = overwrite_change(change, offset, data, size);
    refresh_map(node, offset, size);
    return result;
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
    node->is_split = false;
    uint64_t size_before = node->view.size;
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

// Cloning.

static int clone_node(dbk_sim_disk *disk, dbk_sim_node *node, dbk_sim_disk *clone, dbk_sim_node **cloned,
                      dbk_sim_node **twin_out);

static int clone_changes(const dbk_sim_node *node, dbk_sim_node *twin) {
    for (const dbk_sim_change *change = node->first; change != NULL; change = change->next) {
        dbk_sim_change *copy = dbk_alloc(heap(), sizeof *copy);
        if (copy == NULL) return -ENOMEM;
        *copy = *change;
        copy->next = NULL;
        if (copy->bytes != NULL) (void)__atomic_add_fetch(&copy->bytes->references, 1, __ATOMIC_RELAXED);
        append_change(twin, copy);
    }
    return 0;
}

static int clone_file(dbk_sim_node *node, dbk_sim_disk *clone, dbk_sim_node *twin) {
    refresh_from_map(node);
    twin->is_split = node->is_split;
    int result = image_copy(&twin->view, &node->view);
    clone->used_bytes += twin->view.size;
    if (result == 0) result = image_copy(&twin->durable, &node->durable);
    if (result == 0) result = clone_changes(node, twin);
    bool is_dirty = node->map != NULL && node->map->is_dirty && mapped_size(node) > 0;
    return result == 0 && is_dirty ? write_mapped(clone, node, mapped_size(node), twin) : result;
}

static int clone_entries(dbk_sim_disk *disk, const dbk_sim_entries *from, dbk_sim_disk *clone,
                         dbk_sim_node **cloned, dbk_sim_entries *to) {
    for (size_t i = 0; i < from->count; i++) {
        dbk_sim_node *twin = NULL;
        int result = clone_node(disk, from->items[i].node, clone, cloned, &twin);
        if (result == 0) result = set_in(clone, to, daybook_text(from->items[i].name), twin);
        dbk_sim_node_unref(clone, twin);
        if (result < 0) return result;
    }
    return 0;
}

// The copy of a node, with one reference more; made at the first call.
static int clone_node(dbk_sim_disk *disk, dbk_sim_node *node, dbk_sim_disk *clone, dbk_sim_node **cloned,
                      dbk_sim_node **twin_out) {
    if (node->twin != NULL) {
        *twin_out = dbk_sim_node_ref(node->twin);
        return 0;
    }
    dbk_sim_node *twin = dbk_sim_node_new(node->is_directory);
    if (twin == NULL) return -ENOMEM;
    node->twin = twin;
    node->cloned_before = *cloned;
    *cloned = node;
    *twin_out = twin;
    if (!node->is_directory) return clone_file(node, clone, twin);
    int result = clone_entries(disk, &node->view_entries, clone, cloned, &twin->view_entries);
    if (result == 0)
        result = clone_entries(disk, &node->durable_entries, clone, cloned, &twin->durable_entries);
    return result;
}

static int clone_part(dbk_sim_disk *disk, const dbk_sim_name_part *part, dbk_sim_disk *clone,
                      dbk_sim_node **cloned, dbk_sim_name_change *copy) {
    dbk_sim_node *directory = NULL;
    dbk_sim_node *node = NULL;
    int result = clone_node(disk, part->directory, clone, cloned, &directory);
    if (result == 0 && part->node != NULL) result = clone_node(disk, part->node, clone, cloned, &node);
    if (result == 0) result = add_part(copy, directory, daybook_text(part->name), node);
    dbk_sim_node_unref(clone, directory);
    dbk_sim_node_unref(clone, node);
    return result;
}

static int clone_names(dbk_sim_disk *disk, dbk_sim_disk *clone, dbk_sim_node **cloned) {
    for (const dbk_sim_name_change *change = disk->first; change != NULL; change = change->next) {
        dbk_sim_name_change *copy = dbk_alloc_zeroed(heap(), sizeof *copy);
        if (copy == NULL) return -ENOMEM;
        copy->is_durable = change->is_durable;
        *clone->last_next = copy;
        clone->last_next = &copy->next;
        for (unsigned i = 0; i < change->part_count; i++) {
            int result = clone_part(disk, &change->parts[i], clone, cloned, copy);
            if (result < 0) return result;
        }
    }
    return 0;
}

int dbk_sim_disk_clone(dbk_sim_disk *disk, uint64_t seed, dbk_sim_disk *clone_out) {
    *clone_out = (dbk_sim_disk){.random = {.state = seed}};
    clone_out->last_next = &clone_out->first;
    dbk_sim_node *cloned = NULL;
    int result = clone_node(disk, disk->root, clone_out, &cloned, &clone_out->root);
    if (result == 0) result = clone_names(disk, clone_out, &cloned);
    while (cloned != NULL) {
        dbk_sim_node *before = cloned->cloned_before;
        cloned->twin = NULL;
        cloned->cloned_before = NULL;
        cloned = before;
    }
    return result;
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
