// SPDX-License-Identifier: Apache-2.0
// The simulated side of the vfs seam: one disk in memory with a page cache in front of it, clocks that stand
// still until told, randomness from a seed, and every way to fail that tests ask for. Same seed, same calls
// in the same order: same disk after the crash.
//
//     dbk_sim *sim;
//     dbk_sim_new(seed, &sim);
//     daybook_vfs *vfs = dbk_sim_vfs(sim);
//     dbk_sim_stop_after(sim, n);             // the n-th change of the disk from now is the last, half done
//     ... work on vfs until it fails with -EIO, close everything ...
//     dbk_sim_crash(sim, DBK_SIM_POWER_LOSS); // what was not synced is kept, dropped, torn or garbage
//     ... open again on the same vfs and look ...
//     dbk_sim_free(sim);
//
// What is durable: writes, truncations and sizes of a file after its sync, or at once where it was opened
// with DAYBOOK_VFS_SYNC; names (create, rename, link, unlink, directories) after sync_directory of their
// directory. A file's sync does not make its name durable. A rename is one change: kept or lost as a whole.
//
// A sync that fails (by dbk_sim_fail) loses what it should have written: reads go on showing it (direct ones
// do not, nor any after dbk_sim_evict), a later sync succeeds, and a crash takes it away (PostgreSQL's
// "fsyncgate"; ext4 and XFS do this). A write that fails with EIO may have arrived wholly, in part or not at
// all, and what arrived is not durable.
//
// Not part of the library: module io_sim, for tests. Every function may be called from any thread; one mutex.
// Memory running out in the simulation itself is -ENOMEM.
#ifndef DBK_IO_SIM_SIM_H
#define DBK_IO_SIM_SIM_H

#include <stdbool.h>

#include "base/memory.h"
#include "daybook/sys/vfs.h"

typedef struct dbk_sim dbk_sim;

/// An empty disk with the root directory, and no limit. The real clock begins at 2026-01-01T00:00:00Z.
daybook_status dbk_sim_new(uint64_t seed, dbk_sim **sim_out);
/// NULL is fine. Frees files still open, too: their handles are invalid from then on.
void dbk_sim_free(dbk_sim *sim);

/// The vfs of process 0. Borrowed from the simulation.
daybook_vfs *dbk_sim_vfs(dbk_sim *sim);
/// Further processes on the same disk, clocks and memory maps; `number` below DBK_SIM_PROCESS_COUNT_MAX.
enum { DBK_SIM_PROCESS_COUNT_MAX = 16 };
daybook_vfs *dbk_sim_process(dbk_sim *sim, unsigned number);

// Crashes.

typedef enum dbk_sim_crash_kind {
    DBK_SIM_POWER_LOSS,          // each unsynced change by chance: kept, dropped, torn, garbage
    DBK_SIM_POWER_LOSS_KEEP_ALL, // every unsynced change happened to arrive
    DBK_SIM_POWER_LOSS_DROP_ALL, // none did
    DBK_SIM_KILL                 // all processes die, the machine runs on: the page cache stays, unsynced
} dbk_sim_crash_kind;

/// All handles are invalid (-EIO; close them all the same), locks are released, faults and the stop forgotten
/// and sleepers woken. Then the disk may be opened again. A mapping stays readable memory until unmapped.
/// How a power loss treats unsynced changes: each crash first draws a mood (all ways alike, mostly kept,
/// mostly dropped, or a prefix kept and the rest dropped), then each change its fate. A torn write keeps some
/// of its 512 byte or 4 KiB sectors; garbage puts random bytes or zeros into some.
void dbk_sim_crash(dbk_sim *sim, dbk_sim_crash_kind kind);
/// One process dies: its handles are invalid, its locks released. The disk stays as it is.
void dbk_sim_kill(dbk_sim *sim, unsigned process_number);

/// Counts every call that changes the disk: write_at, sync, truncate, a creating open, rename, link, unlink,
/// make_directory, remove_directory, sync_directory. From 0, never reset.
uint64_t dbk_sim_steps(dbk_sim *sim);
/// The `steps`-th of these from now (1: the next) fails with -EIO after having had its effect in the page
/// cache only; every later call but close, unmap, clocks, entropy, wait and wake fails with -EIO until
/// dbk_sim_crash. 0 cancels.
void dbk_sim_stop_after(dbk_sim *sim, uint64_t steps);
/// Stops at once, as if the last step had been reached.
void dbk_sim_stop_now(dbk_sim *sim);
bool dbk_sim_is_stopped(dbk_sim *sim);

/// A machine of its own whose disk shows, holds and still has to write what this one's does at this moment:
/// all handles, locks, maps, faults and counters of this one are unknown to it; clocks and settings are the
/// same. Copies no bytes, so that a crash at each step of one run can be tried many times over.
daybook_status dbk_sim_clone(dbk_sim *sim, uint64_t seed, dbk_sim **clone_out);
/// `observe` is called in the middle of each step, when its effect is in the page cache only: a clone taken
/// there and made to crash is what a crash at this step leaves. It may call nothing but dbk_sim_clone here.
/// `step` is what dbk_sim_steps says from then on. NULL ends it.
typedef void dbk_sim_observe(void *context, uint64_t step);
void dbk_sim_set_observer(dbk_sim *sim, dbk_sim_observe *observe, void *context);

// Faults.

typedef enum dbk_sim_kind {
    DBK_SIM_ANY, // any of those below; in counters: all of them
    DBK_SIM_OPEN,
    DBK_SIM_READ,
    DBK_SIM_WRITE,
    DBK_SIM_SYNC,
    DBK_SIM_TRUNCATE,
    DBK_SIM_FILE_SIZE,
    DBK_SIM_LOCK,
    DBK_SIM_MAP,
    DBK_SIM_RENAME,
    DBK_SIM_LINK,
    DBK_SIM_UNLINK,
    DBK_SIM_MAKE_DIRECTORY,
    DBK_SIM_REMOVE_DIRECTORY,
    DBK_SIM_SYNC_DIRECTORY,
    DBK_SIM_LIST,
    DBK_SIM_FREE_BYTES,
    DBK_SIM_KIND_COUNT
} dbk_sim_kind;

/// From the `nth` matching call from now (1: the next), once or for ever, the call returns -error.
typedef struct dbk_sim_fault {
    dbk_sim_kind kind;
    const char *suffix; // only files whose name ends so; NULL: all. Must outlive the fault. For names: `to`
    uint64_t nth;
    bool is_forever;
    int error; // positive errno: EIO, ENOSPC, EMFILE, EINTR ...
} dbk_sim_fault;

enum { DBK_SIM_FAULT_COUNT_MAX = 16 };
/// ELIMIT where there are DBK_SIM_FAULT_COUNT_MAX, EMISUSE for nth = 0 or error <= 0.
daybook_status dbk_sim_fail(dbk_sim *sim, const dbk_sim_fault *fault);
void dbk_sim_clear_faults(dbk_sim *sim);
/// Calls that failed by dbk_sim_fail, ever. A loop over N ends when a run does not raise it.
uint64_t dbk_sim_fault_hits(dbk_sim *sim);
/// Chance in percent that read_at or write_at moves less than asked (at least a byte; whole 512 byte sectors
/// where the file is direct).
void dbk_sim_set_short_transfers(dbk_sim *sim, unsigned percent);
/// -ENOSPC where all files together would have more bytes; a write takes what fits. 0: no limit.
void dbk_sim_set_capacity(dbk_sim *sim, uint64_t bytes);
/// -EMFILE beyond this many open files. 0: no limit.
void dbk_sim_set_open_files_max(dbk_sim *sim, unsigned count);
/// Whether DAYBOOK_VFS_DIRECT is honoured by later opens (default) or dropped. Direct files refuse offsets,
/// sizes and addresses that are not multiples of 4096 with -EINVAL.
void dbk_sim_set_direct(dbk_sim *sim, bool is_supported);
/// The page cache forgets all it need not write: what failed syncs lost is no longer shown to anybody, as
/// when memory got short before the files were opened again. A file mapped at the time is left out.
void dbk_sim_evict(dbk_sim *sim);
/// What a failed sync leaves durable of each 4 KiB sector, as a chance in percent. Default 0: it all is lost.
void dbk_sim_set_failed_sync_kept(dbk_sim *sim, unsigned percent);

/// Damage at rest: `size` bytes of a file are changed on disk and in the page cache, as if they always had
/// been so. ENOTFOUND; EINVALID beyond the file's end.
daybook_status dbk_sim_overwrite(dbk_sim *sim, const char *path, uint64_t offset, const void *data,
                                 size_t size);
/// One byte XOR `mask`.
daybook_status dbk_sim_flip(dbk_sim *sim, const char *path, uint64_t offset, uint8_t mask);

// Counters.

typedef struct dbk_sim_counts {
    uint64_t calls; // also those that failed
    uint64_t bytes; // moved by read_at and write_at
} dbk_sim_counts;

/// Calls since the last reset on files whose name (last part of the path; of a rename or link: the new one)
/// ends in `suffix`; NULL: all.
dbk_sim_counts dbk_sim_count(dbk_sim *sim, dbk_sim_kind kind, const char *suffix);
void dbk_sim_reset_counts(dbk_sim *sim);
/// Handles not yet closed, of all processes.
unsigned dbk_sim_open_files(dbk_sim *sim);
/// Mappings not yet unmapped.
unsigned dbk_sim_open_maps(dbk_sim *sim);
/// Bytes of all files.
uint64_t dbk_sim_used_bytes(dbk_sim *sim);

// Clocks. Each reading moves both on by the tick (default 1 us), so that no two are alike and loops end.

void dbk_sim_set_tick_ns(dbk_sim *sim, int64_t tick_ns);
void dbk_sim_set_real_ns(dbk_sim *sim, int64_t real_ns);
/// Moves both clocks and wakes all sleepers to look again.
void dbk_sim_advance_ns(dbk_sim *sim, int64_t duration_ns);
/// wait() sleeps in real time, and when it times out, moves both clocks on by the timeout. With a limit it
/// sleeps at most this long for any finite timeout and moves the clocks by the whole: time then runs as fast
/// as it can. Negative (default): no limit.
void dbk_sim_set_wait_limit_ns(dbk_sim *sim, int64_t limit_ns);

#endif
