// SPDX-License-Identifier: Apache-2.0
// Pages of names. See page.h.
#include "jetstream/page.h"

daybook_status dbk_js_page_init(dbk_js_page *page, dbk_js_call *call, int64_t offset, int64_t limit) {
    *page = (dbk_js_page){.arena = call->arena, .said = {.offset = offset < 0 ? 0 : offset, .limit = limit}};
    page->names = dbk_arena_alloc(call->arena, (size_t)limit * sizeof *page->names);
    return page->names == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
}

int dbk_js_page_add(dbk_js_page *page, dbk_slice name) {
    if (page->said.total++ < page->said.offset || page->count == (size_t)page->said.limit) return 0;
    dbk_slice copy = dbk_arena_copy_text(page->arena, name);
    page->is_short_of_memory = copy.data == NULL;
    if (!page->is_short_of_memory) page->names[page->count++] = copy;
    return page->is_short_of_memory;
}

bool dbk_js_page_end(dbk_js_page *page, dbk_js_call *call, daybook_status status,
                     const daybook_error *cause) {
    if (page->said.offset > page->said.total) page->said.offset = page->said.total;
    if (page->is_short_of_memory) status = DAYBOOK_ENOMEM;
    if (status == DAYBOOK_OK) return true;
    dbk_js_call_fail_status(call, status, cause, DBK_API_ERR_STREAM_GENERAL);
    return false;
}

void dbk_js_page_answer(const dbk_js_page *page, dbk_js_call *call) {
    dbk_api_write_names(&call->answer, call->kind, &page->said, page->names, page->count);
}
