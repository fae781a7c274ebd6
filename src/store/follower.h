// SPDX-License-Identifier: Apache-2.0
// A store open for reading only: opened, refreshed and freed here.
#ifndef DBK_STORE_FOLLOWER_H
#define DBK_STORE_FOLLOWER_H

#include "store/store_internal.h"

/// Load the store in store->path for reading: up to what a live writer says is durable, or, without one, as
/// recovery would find it. Writes nothing, takes no lock for longer than a look.
daybook_status dbk_follower_open(daybook_store *store, daybook_error *error);
void dbk_follower_free(daybook_store *store);

/// Keep the store as it is while something consistent is copied from it.
void dbk_follower_hold(daybook_store *store);
void dbk_follower_let_go(daybook_store *store);

#endif
