// SPDX-License-Identifier: Apache-2.0
// An engine that has the core and nothing else, over a store: what the toolkit finds where JetStream is below it.
#ifndef DBK_TESTS_CORE_ENGINE_H
#define DBK_TESTS_CORE_ENGINE_H

#include "daybook/engine.h"

/// NULL when memory is out. Lives until core_engine_free, which is before the store closes.
daybook_engine *core_engine_new(daybook_store *store);
void core_engine_free(daybook_engine *engine);

#endif
