// SPDX-License-Identifier: Apache-2.0
// The disk under the simulation: nodes (files and directories) with what is seen and what is durable, and the
// lists of changes between the two. No faults, clocks or threads here; sim.c holds the mutex. Only sim/
// includes it.
#ifndef DBK_IO_SIM_DISK_H
#define DBK_IO_SIM_DISK_H

#include <stdbool.h>

#include "base/memory.h"
#include "io/sim/sim.h"

// splitmix64: one word of state, every seed is good.
typedef struct dbk_sim_random {
    uint64_t state;
} dbk_sim_random;

uint64_t dbk_sim_random_next(dbk_sim_random *random);
/// 0 to bound - 1; bound > 0.
uint64_t dbk_sim_random_below(dbk_sim_random *random, uint64_t bound);
bool dbk_sim_random_chance(dbk_sim_random *random, unsigned percent);

// Bytes of a file, in pages that images share until one of them writes. A page that is NULL is all zeros, as
// are the bytes behind the size.
typedef struct dbk_sim_page {
    unsigned references; // atomic: images of a clone may belong to another thread
    uint8_t data[4096];
} dbk_sim_page;

typedef struct dbk_sim_image {
    dbk_sim_page **pages;
    size_t page_capacity;
    uint64_t size;
} dbk_sim_image;

// Memory mapped by at least one handle. Outlives a crash until the last unmap; then `node` is NULL.
typedef struct dbk_sim_map {
    struct dbk_sim_map *next;
    struct dbk_sim_node *node;
    unsigned users;
    bool is_dirty; // written through, not yet synced
    size_t size;
    void *raw;
    uint64_t *data; // page-aligned
} dbk_sim_map;

typedef struct dbk_sim_entry {
    char *name;
    struct dbk_sim_node *node;
} dbk_sim_entry;

typedef struct dbk_sim_entries {
    dbk_sim_entry *items;
    size_t count;
    size_t capacity;
} dbk_sim_entries;

// What was written, shared with clones.
typedef struct dbk_sim_bytes {
    unsigned references; // atomic
    uint8_t data[];
} dbk_sim_bytes;

// A change of a file's bytes or size that is not yet known to be durable.
typedef struct dbk_sim_change {
    struct dbk_sim_change *next;
    bool is_durable; // waits only for older changes, so that they do not overwrite it
    bool is_truncate;
    uint64_t offset;      // truncate: the size
    size_t size;          // of bytes
    dbk_sim_bytes *bytes; // NULL for a truncate
} dbk_sim_change;

typedef struct dbk_sim_node {
    unsigned references; // entries seen and durable, name changes, handles, the root
    bool is_directory;
    // Files.
    dbk_sim_image view;
    dbk_sim_image durable;
    dbk_sim_change *first;
    dbk_sim_change **last_next;
    dbk_sim_map *map;
    const void *lock_holder;
    bool is_split; // a failed sync lost changes that `view` still shows
    // While the disk is cloned: this node's copy, and the node cloned before.
    struct dbk_sim_node *twin;
    struct dbk_sim_node *cloned_before;
    // Directories.
    dbk_sim_entries view_entries;
    dbk_sim_entries durable_entries;
} dbk_sim_node;

// A change of one or two names (a rename has two) that is not yet known to be durable.
typedef struct dbk_sim_name_part {
    dbk_sim_node *directory;
    char *name;
    dbk_sim_node *node; // NULL: the name goes
} dbk_sim_name_part;

typedef struct dbk_sim_name_change {
    struct dbk_sim_name_change *next;
    bool is_durable;
    unsigned part_count;
    dbk_sim_name_part parts[2];
} dbk_sim_name_change;

typedef struct dbk_sim_disk {
    dbk_sim_node *root;
    dbk_sim_name_change *first;
    dbk_sim_name_change **last_next;
    dbk_sim_map *maps;
    uint64_t used_bytes; // of all files as seen
    dbk_sim_random random;
} dbk_sim_disk;

// All int results are 0 or a negative errno.

int dbk_sim_disk_init(dbk_sim_disk *disk, uint64_t seed);
void dbk_sim_disk_deinit(dbk_sim_disk *disk);
/// Another disk with what this one shows, what is durable and the changes between; deinit it also on failure.
/// Nothing is open, locked or mapped there: what was written through a map is one more unsynced write. Costs
/// no copy of bytes.
int dbk_sim_disk_clone(dbk_sim_disk *disk, uint64_t seed, dbk_sim_disk *clone_out);

dbk_sim_node *dbk_sim_node_ref(dbk_sim_node *node);
void dbk_sim_node_unref(dbk_sim_disk *disk, dbk_sim_node *node);
/// A node with one reference; NULL when memory is out.
dbk_sim_node *dbk_sim_node_new(bool is_directory);

// Files.

int dbk_sim_node_write(dbk_sim_disk *disk, dbk_sim_node *node, const void *data, size_t size, uint64_t offset,
                       bool is_durable);
int dbk_sim_node_truncate(dbk_sim_disk *disk, dbk_sim_node *node, uint64_t size, bool is_durable);
/// Makes the write just done durable, as if it had been written so.
int dbk_sim_node_settle_write(dbk_sim_node *node);
/// As dbk_sim_node_read, past the page cache: what the disk will hold once all there is to write is written.
/// Negative errno where memory is out.
int64_t dbk_sim_node_read_direct(dbk_sim_node *node, void *data, size_t size, uint64_t offset);
/// The page cache forgets what need not be written: what a failed sync lost is no longer shown.
int dbk_sim_disk_evict(dbk_sim_disk *disk);
size_t dbk_sim_node_read(dbk_sim_node *node, void *data, size_t size, uint64_t offset);
int dbk_sim_node_sync(dbk_sim_node *node);
/// A sync that fails: keeps each 4 KiB sector with the given chance and forgets the rest of the changes.
void dbk_sim_node_sync_failed(dbk_sim_disk *disk, dbk_sim_node *node, unsigned kept_percent);
/// Changes bytes on disk and in the cache; they must exist in the cache.
int dbk_sim_node_overwrite(dbk_sim_node *node, uint64_t offset, const void *data, size_t size);
int dbk_sim_node_map(dbk_sim_disk *disk, dbk_sim_node *node, size_t size, void **data_out);
void dbk_sim_unmap(dbk_sim_disk *disk, const void *data);

// Names.

/// Walks to the directory of `path` and gives its last part, borrowed from path; "/" gives the root and "".
int dbk_sim_find_parent(dbk_sim_disk *disk, const char *path, dbk_sim_node **directory_out,
                        dbk_slice *name_out);
/// NULL where there is none. Borrowed.
dbk_sim_node *dbk_sim_find_entry(const dbk_sim_node *directory, dbk_slice name);
int dbk_sim_find(dbk_sim_disk *disk, const char *path, dbk_sim_node **node_out);
/// Sets (or, for node NULL, removes) one name, seen at once, durable later.
int dbk_sim_set_entry(dbk_sim_disk *disk, dbk_sim_node *directory, dbk_slice name, dbk_sim_node *node);
/// Both at once, as one change.
int dbk_sim_move_entry(dbk_sim_disk *disk, dbk_sim_node *from_directory, dbk_slice from_name,
                       dbk_sim_node *to_directory, dbk_slice to_name);
void dbk_sim_sync_names(dbk_sim_disk *disk, dbk_sim_node *directory);

/// What survives becomes what is seen.
int dbk_sim_disk_lose_power(dbk_sim_disk *disk, dbk_sim_crash_kind kind);

#endif
