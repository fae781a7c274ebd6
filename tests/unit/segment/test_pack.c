// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/fault_allocator.h"
#include "segment/pack.h"

static void make_page(dbk_term_page_builder *page, uint32_t first) {
    dbk_term_page_begin(page, 0);
    for (uint32_t i = 0; !dbk_term_page_is_full(page); i++) {
        dbk_term term;
        term.bytes[0] = DBK_TERM_TAG;
        term.size = 1 + (size_t)snprintf((char *)term.bytes + 1, 32, "customer:%08u", first + i);
        dbk_term_value value = {
            .form = DBK_POSTINGS_INLINE, .count = 1, .first = i, .last = i, .last_seq = i};
        dbk_term_page_add_leaf(page, dbk_term_slice(&term), &value);
    }
}

static void a_leaf_packs_and_comes_back(void **state) {
    (void)state;
    dbk_packer *packer;
    assert_int_equal(dbk_packer_new(dbk_allocator_default(), DBK_PACK_PAGES, &packer), DAYBOOK_OK);
    void *scratch = calloc(1, dbk_unpack_scratch_size());
    for (uint32_t i = 0; i < 50; i++) {
        static dbk_term_page_builder builder;
        make_page(&builder, i * 1000);
        dbk_slice page = dbk_term_page_finish(&builder), back;
        dbk_buf buf;
        dbk_buf_init(&buf, dbk_allocator_default(), SIZE_MAX / 2);
        assert_int_equal(dbk_pack_page(packer, page, &buf), DAYBOOK_OK);
        assert_true(buf.size < page.size / 2);
        assert_int_equal(buf.data[0], 255);
        uint8_t out[DBK_TERM_PAGE_SIZE_MAX];
        assert_true(dbk_unpack_page(daybook_bytes(buf.data, buf.size), scratch, out, &back));
        assert_true(dbk_slice_equal(page, back));
        // Cut anywhere it is no page; so is one whose size is wrong.
        for (size_t size = 1; size < buf.size; size++)
            assert_false(dbk_unpack_page(daybook_bytes(buf.data, size), scratch, out, &back));
        buf.data[1] ^= 1;
        assert_false(dbk_unpack_page(daybook_bytes(buf.data, buf.size), scratch, out, &back));
        dbk_buf_deinit(&buf);
    }
    free(scratch);
    dbk_packer_free(packer);
}

static void what_does_not_shrink_stays_as_it_is(void **state) {
    (void)state;
    dbk_packer *packer;
    assert_int_equal(dbk_packer_new(dbk_allocator_default(), DBK_PACK_PAGES, &packer), DAYBOOK_OK);
    uint8_t page[4000], out[DBK_TERM_PAGE_SIZE_MAX];
    uint64_t random = 7;
    for (size_t i = 0; i < sizeof page; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        page[i] = (uint8_t)(random >> 33);
    }
    page[0] = 0; // a leaf's level
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), SIZE_MAX / 2);
    assert_int_equal(dbk_pack_page(packer, daybook_bytes(page, sizeof page), &buf), DAYBOOK_OK);
    assert_int_equal(buf.size, sizeof page);
    assert_memory_equal(buf.data, page, sizeof page);
    dbk_slice back;
    void *scratch = calloc(1, dbk_unpack_scratch_size());
    assert_true(dbk_unpack_page(daybook_bytes(buf.data, buf.size), scratch, out, &back));
    assert_ptr_equal(back.data, buf.data);
    assert_int_equal(back.size, sizeof page);
    free(scratch);
    dbk_buf_deinit(&buf);
    dbk_packer_free(packer);
}

static void a_size_beyond_a_page_is_refused(void **state) {
    (void)state;
    uint8_t stored[16] = {255}, out[DBK_TERM_PAGE_SIZE_MAX];
    (void)dbk_put_varint(stored + 1, DBK_TERM_PAGE_SIZE_MAX + 1);
    void *scratch = calloc(1, dbk_unpack_scratch_size());
    dbk_slice page;
    assert_false(dbk_unpack_page(daybook_bytes(stored, sizeof stored), scratch, out, &page));
    stored[1] = 0;
    assert_false(dbk_unpack_page(daybook_bytes(stored, sizeof stored), scratch, out, &page));
    free(scratch);
}

static void memory_may_be_out_at_any_step(void **state) {
    (void)state;
    static dbk_term_page_builder builder;
    make_page(&builder, 5);
    dbk_slice page = dbk_term_page_finish(&builder);
    fault_allocator faults;
    fault_allocator_init(&faults);
    for (uint64_t n = 1;; n++) {
        assert_true(n < 100);
        fault_allocator_fail(&faults, n, true);
        dbk_packer *packer = NULL;
        dbk_buf buf;
        dbk_buf_init(&buf, &faults.allocator, SIZE_MAX / 2);
        daybook_status status = dbk_packer_new(&faults.allocator, DBK_PACK_PAGES, &packer);
        if (status == DAYBOOK_OK) status = dbk_pack_page(packer, page, &buf);
        dbk_buf_deinit(&buf);
        dbk_packer_free(packer);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!fault_allocator_has_failed(&faults)) break;
        assert_int_equal(status, DAYBOOK_ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leaf_packs_and_comes_back),
        cmocka_unit_test(what_does_not_shrink_stays_as_it_is),
        cmocka_unit_test(a_size_beyond_a_page_is_refused),
        cmocka_unit_test(memory_may_be_out_at_any_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
