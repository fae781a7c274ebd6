// SPDX-License-Identifier: Apache-2.0
// A page of names, of streams or consumers: all are offered in order, those of the page are kept. A worker's;
// memory is the call's arena, bounded by the page's limit.
#ifndef DBK_JETSTREAM_PAGE_H
#define DBK_JETSTREAM_PAGE_H

#include "api/answer.h"
#include "jetstream/api_call.h"

typedef struct dbk_js_page {
    dbk_arena *arena;
    dbk_api_page said; // total: how many were offered
    dbk_slice *names;
    size_t count;
    bool is_short_of_memory;
} dbk_js_page;

/// An offset below 0 is 0. ENOMEM.
daybook_status dbk_js_page_init(dbk_js_page *page, dbk_js_call *call, int64_t offset, int64_t limit);
/// As a callback of a list: 0, or 1 where it has to end because memory is out.
int dbk_js_page_add(dbk_js_page *page, dbk_slice name);
/// When all were offered. False: memory was out, or `status` of the list says what failed; the call has
/// failed by it.
bool dbk_js_page_end(dbk_js_page *page, dbk_js_call *call, daybook_status status, const daybook_error *cause);
/// The answer that tells the names alone.
void dbk_js_page_answer(const dbk_js_page *page, dbk_js_call *call);

#endif
