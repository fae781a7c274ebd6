// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

// ---- Dictionaries -----------------------------------------------------------------------------------------

static void bytes_that_are_no_dictionary_are_refused(void **state) {
    (void)state;
    // zstd takes what begins so for a dictionary of its own making, and finds none.
    uint8_t bad[64] = {0x37, 0xa4, 0x30, 0xec};
    dbk_dictionary_encoder *encoder;
    assert_int_equal(
        dbk_dictionary_encoder_new(dbk_allocator_default(), daybook_bytes(bad, sizeof bad), &encoder),
        DAYBOOK_EDAMAGED);
    assert_null(encoder);
}

// Trained on `count` bodies of which `size_of` says how large they are.
static size_t train(size_t count, size_t (*size_of)(size_t index)) {
    enum { SIZE_MAX_OF_ONE = 5000 };
    static char text[SIZE_MAX_OF_ONE + 4096];
    for (size_t i = 0; i + 16 <= sizeof text; i += 16) {
        char word[40];
        (void)snprintf(word, sizeof word, "word %zu of many, ", i / 7);
        memcpy(text + i, word, 16);
    }
    dbk_slice *bodies = calloc(count, sizeof *bodies);
    assert_non_null(bodies);
    for (size_t i = 0; i < count; i++) bodies[i] = daybook_bytes(text + i * 7 % 4096, size_of(i));
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), DBK_DICTIONARY_SIZE_MAX);
    assert_int_equal(dbk_dictionary_train(dbk_allocator_default(), bodies, count, &buf), DAYBOOK_OK);
    size_t size = buf.size;
    dbk_buf_deinit(&buf);
    free(bodies);
    return size;
}

static size_t large(size_t index) {
    (void)index;
    return 4000;
}

static size_t tiny_or_too_large(size_t index) {
    return index % 2 == 0 ? 7 : 4097;
}

// Every third one, of which the samples are taken, is large.
static size_t large_where_it_is_looked(size_t index) {
    return index % 3 == 0 ? 4000 : 1000;
}

static void dictionaries_are_trained_on_bodies_of_a_fair_size(void **state) {
    (void)state;
    assert_int_equal(train(15, large), 0); // too few
    assert_true(train(40, large) > 0);
    assert_int_equal(train(1000, tiny_or_too_large), 0);
    assert_true(train(2000, large_where_it_is_looked) > 0); // and no more than is needed
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leaf_packs_and_comes_back),
        cmocka_unit_test(what_does_not_shrink_stays_as_it_is),
        cmocka_unit_test(a_size_beyond_a_page_is_refused),
        cmocka_unit_test(memory_may_be_out_at_any_step),
        cmocka_unit_test(bytes_that_are_no_dictionary_are_refused),
        cmocka_unit_test(dictionaries_are_trained_on_bodies_of_a_fair_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
