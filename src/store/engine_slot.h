// SPDX-License-Identifier: Apache-2.0
// Room in a store and in its cursors for what the engine interface needs, so that a store is an engine
// without a second object to allocate and to free. The store itself knows nothing of engines but this room.
//
// A daybook_cursor begins with a daybook_engine_cursor, a daybook_consumer with a daybook_engine_consumer, so
// each two are converted by a cast.
#ifndef DBK_STORE_ENGINE_SLOT_H
#define DBK_STORE_ENGINE_SLOT_H

#include "daybook/engine.h"

/// The store's engine, which is a copy of `head` made by the first call, with what the store knows
/// (read_only). Every call gives an equal `head`. Any thread.
daybook_engine *dbk_store_engine_slot(daybook_store *store, const daybook_engine *head);
/// The store in which the engine lies.
daybook_store *dbk_store_of_engine(daybook_engine *engine);
daybook_engine_cursor *dbk_cursor_head(daybook_cursor *cursor);
daybook_engine_consumer *dbk_consumer_head(daybook_consumer *consumer);

#endif
