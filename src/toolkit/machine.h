// SPDX-License-Identifier: Apache-2.0
// A declared machine inside the toolkit: what its files share.
#ifndef DBK_TOOLKIT_MACHINE_H
#define DBK_TOOLKIT_MACHINE_H

#include "daybook/machine.h"
#include "toolkit/replay.h"

typedef struct dbk_guard {
    daybook_guard ask; // NULL: not set
    void *context;
} dbk_guard;

/// Constant after it was made but for the guards. All slices are in the arena.
struct daybook_machine {
    dbk_arena *arena;
    daybook_slice name, category, event;
    daybook_slice *states; // the initial one first
    size_t state_count;
    daybook_transition *transitions; // `event` is filled in
    dbk_guard *guards;               // one per transition
    size_t transition_count;
};

/// state_count where there is none of that name.
size_t dbk_machine_find_state(const daybook_machine *machine, daybook_slice name);
/// NULL where the way is not declared.
const daybook_transition *dbk_machine_find_transition(const daybook_machine *machine, daybook_slice from,
                                                      daybook_slice to);
/// Is this the type of one of the machine's events?
bool dbk_machine_knows_event(const daybook_machine *machine, daybook_slice type);

#endif
