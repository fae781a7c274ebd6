// SPDX-License-Identifier: Apache-2.0
// Faults of the system under the driver: at a random call of an operation open, read, write, sync or another call
// fails, once or for as long as the operation lasts, transfers move less than asked, or the disk is full. Whatever
// comes of it:
//
//   - the operation says that it is done, and it shows, as ever
//   - or it is refused with a status for operating errors and a message, and nothing has changed
//   - or the store is poisoned: it refuses what comes, goes on being read, and opened again holds everything
//     acknowledged and of the operation all or nothing
//
// A failed sync leaves in the page cache what the disk lacks: it is emptied in half of the cases before the store is
// opened again, and in some power is lost.
#include <errno.h>
#include <string.h>
#include <time.h>

#include "model/driver.h"

static const struct {
    dbk_sim_kind kind;
    int error;
} faults[] = {
    {DBK_SIM_ANY, EIO},
    {DBK_SIM_ANY, EIO},
    {DBK_SIM_ANY, EIO},
    {DBK_SIM_WRITE, EIO},
    {DBK_SIM_WRITE, EIO},
    {DBK_SIM_READ, EIO},
    {DBK_SIM_OPEN, EIO},
    {DBK_SIM_OPEN, EMFILE},
    {DBK_SIM_OPEN, ENOSPC},
    {DBK_SIM_READ, EIO},
    {DBK_SIM_READ, EINTR},
    {DBK_SIM_WRITE, EIO},
    {DBK_SIM_WRITE, ENOSPC},
    {DBK_SIM_WRITE, EINTR},
    {DBK_SIM_SYNC, EIO},
    {DBK_SIM_SYNC, ENOSPC},
    {DBK_SIM_SYNC, EINTR},
    {DBK_SIM_TRUNCATE, EIO},
    {DBK_SIM_TRUNCATE, ENOSPC},
    {DBK_SIM_FILE_SIZE, EIO},
    {DBK_SIM_RENAME, EIO},
    {DBK_SIM_RENAME, ENOSPC},
    {DBK_SIM_UNLINK, EIO},
    {DBK_SIM_SYNC_DIRECTORY, EIO},
    {DBK_SIM_LIST, EIO},
    {DBK_SIM_FREE_BYTES, EIO},
    {DBK_SIM_LOCK, EIO},
    {DBK_SIM_MAP, ENOMEM},
    {DBK_SIM_SYNC_DIRECTORY, ENOSPC},
};

static void begin_fault(driver *driven) {
    random_source *random = &driven->random;
    dbk_sim *sim = driven->options.sim;
    driven->is_faulty = true;
    driven->hits_before = dbk_sim_fault_hits(sim);
    dbk_sim_set_short_transfers(sim, random_percent(random, 20) ? 30 : 0);
    dbk_sim_set_failed_sync_kept(sim, (unsigned)random_below(random, 3) * 50);
    size_t which = random_below(random, sizeof faults / sizeof *faults);
    dbk_sim_fault fault = {.kind = faults[which].kind,
                           .error = faults[which].error,
                           .nth = random_percent(random, 60) ? 1 : random_skewed(random, 60) + 1,
                           .is_forever = faults[which].error != EINTR && random_percent(random, 25)};
    if (dbk_sim_fail(sim, &fault) != DAYBOOK_OK) driver_fail(driven, "no room for a fault");
}

static void end_fault(driver *driven) {
    dbk_sim_clear_faults(driven->options.sim);
    dbk_sim_set_short_transfers(driven->options.sim, 0);
    driven->is_faulty = false;
}

static bool is_poisoned(driver *driven) {
    daybook_store_info info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    daybook_status status = daybook_info(driven->store, &info, &driven->error);
    if (status != DAYBOOK_OK) driver_fail(driven, "info: %s", daybook_status_name(status));
    return info.poisoned != 0;
}

// A poisoned store takes nothing, and can be read.
static void look_at_poisoned(driver *driven) {
    driven->counts.poisoned++;
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.1.placed");
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    daybook_status status = daybook_append(driven->store, &event, 1, &options, NULL, &driven->error);
    if (status != DAYBOOK_EPOISONED)
        driver_fail(driven, "a poisoned store answers an append with %s", daybook_status_name(status));
    daybook_query query;
    daybook_query_init(&query);
    uint64_t count = 0;
    status = daybook_count(driven->store, &query, &count, &driven->error);
    if (status != DAYBOOK_OK)
        driver_fail(driven, "a poisoned store cannot be read: %s", daybook_status_name(status));
}

static void open_again(driver *driven) {
    random_source *random = &driven->random;
    dbk_sim *sim = driven->options.sim;
    bool loses_power = random_percent(random, 25);
    driven->broken = true; // closing may tell of it
    if (loses_power) dbk_sim_stop_now(sim);
    driver_close(driven);
    if (loses_power)
        dbk_sim_crash(sim, random_percent(random, 50) ? DBK_SIM_POWER_LOSS : DBK_SIM_POWER_LOSS_DROP_ALL);
    else if (random_percent(random, 50))
        dbk_sim_evict(sim);
    if (!driver_open(driven)) driver_fail(driven, "the store does not open after a fault");
    driver_recover(driven);
}

void driver_step_with_fault(driver *driven) {
    begin_fault(driven);
    driver_step(driven);
    bool has_struck = dbk_sim_fault_hits(driven->options.sim) > driven->hits_before;
    end_fault(driven);
    // A background thread that met it says so a little later.
    bool has_background = (driven->options.open_flags & DAYBOOK_OPEN_NO_BACKGROUND) == 0;
    if (has_struck && has_background) (void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    driven->counts.struck += has_struck;
    bool is_refused = driven->broken;
    driven->broken = false;
    if (driven->store == NULL) {
        open_again(driven);
    } else if (is_poisoned(driven)) {
        look_at_poisoned(driven);
        open_again(driven);
    } else if (has_struck) {
        driven->counts.refused += is_refused;
        driver_resume(driven);
    }
}
