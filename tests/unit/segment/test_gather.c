// SPDX-License-Identifier: Apache-2.0
// Runs of terms in the temporary file: written in chunks, and refused where they are not what was written,
// also under right checksums.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fixture.h"
#include "lib/fault_allocator.h"
#include "segment/file.h"
#include "segment/gather.h"

#define TERMS_PATH "/terms.tmp"

enum { RUN_CHUNK = 32 * 1024, TAGS = 128, TAG_SIZE = 255 };

static int no_entropy(daybook_vfs *vfs, void *bytes, size_t size) {
    (void)vfs;
    memset(bytes, 0, size); // the seed of the chunks is known: 0
    return 0;
}

static int failing_entropy(daybook_vfs *vfs, void *bytes, size_t size) {
    (void)vfs, (void)bytes, (void)size;
    return -EIO;
}

typedef struct run {
    test_world world;
    daybook_vfs vfs;
    dbk_gather *gather;
    dbk_buf body;
    dbk_event event;
    dbk_term_source *const *sources;
    size_t source_count;
} run;

// An event with this many long tags.
static void begin_with(run *made, size_t memory_max, size_t tag_count) {
    test_world *world = &made->world;
    world_init(world, 61);
    made->vfs = *world->vfs;
    made->vfs.entropy = no_entropy;
    static char text[TAGS][TAG_SIZE + 1];
    daybook_slice tags[TAGS];
    for (size_t i = 0; i < tag_count; i++) {
        memset(text[i], 't', TAG_SIZE);
        assert_int_equal(snprintf(text[i], 8, "%05zu", i), 5);
        text[i][5] = 't';
        tags[i] = daybook_bytes(text[i], TAG_SIZE);
    }
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.7.placed");
    event.id = daybook_text("an id");
    event.tags = tags;
    event.tag_count = tag_count;
    dbk_buf_init(&made->body, world->allocator, 1 << 20);
    assert_int_equal(dbk_event_encode_body(&event, 8, (const uint8_t *)"0123456789abcdef", &made->body, NULL),
                     DAYBOOK_OK);
    memset(&made->event, 0, sizeof made->event);
    made->event.stream_id = 7;
    made->event.version = 5;
    made->event.seq = 3;
    assert_int_equal(dbk_event_decode_body(daybook_bytes(made->body.data, made->body.size), &made->event),
                     DAYBOOK_OK);
    assert_int_equal(dbk_gather_new(world->allocator, &made->vfs, TERMS_PATH, memory_max, &made->gather),
                     DAYBOOK_OK);
}

// Its terms take more than a chunk.
static void begin(run *made, size_t memory_max) {
    begin_with(made, memory_max, TAGS);
}

static daybook_status add(run *made, uint32_t number) {
    return dbk_gather_event(made->gather, &made->event, number, 1, &made->world.error);
}

// Dead ids end the batch; the next one writes it as a run.
static daybook_status add_dead(run *made, uint8_t name, int64_t removed_ns, bool for_ever) {
    dbk_dead_id dead = {.stream_id = 7, .removed_ns = removed_ns, .for_ever = for_ever};
    memset(dead.hash, name, sizeof dead.hash);
    return dbk_gather_dead_id(made->gather, &dead, &made->world.error);
}

static void end(run *made) {
    dbk_gather_free(made->gather);
    dbk_buf_deinit(&made->body);
    world_deinit(&made->world);
}

static void finish(run *made) {
    assert_ok(&made->world,
              dbk_gather_finish(made->gather, &made->sources, &made->source_count, &made->world.error));
}

static daybook_status read_source(run *made, size_t index, size_t *terms_out) {
    dbk_term_source *source = made->sources[index];
    daybook_status status;
    *terms_out = 0;
    while ((status = source->next(source, &made->world.error)) == DAYBOOK_OK) {
        size_t count;
        uint32_t numbers[DBK_TERM_TAKE_MAX];
        do {
            status = source->take(source, numbers, DBK_TERM_TAKE_MAX, &count, &made->world.error);
        } while (status == DAYBOOK_OK && count > 0);
        if (status != DAYBOOK_OK) return status;
        ++*terms_out;
    }
    return status;
}

static void make_run(run *made) {
    begin(made, 4096);
    assert_int_equal(add(made, 0), DAYBOOK_OK);
    assert_int_equal(add(made, 0), DAYBOOK_OK); // counts once for each term
    assert_int_equal(add(made, 9), DAYBOOK_OK);
    assert_int_equal(add_dead(made, 1, 5, false), DAYBOOK_OK);
    assert_int_equal(add_dead(made, 2, 5, false), DAYBOOK_OK);
    finish(made);
}

static void runs_of_several_chunks_come_back(void **state) {
    (void)state;
    run made;
    make_run(&made);
    assert_true(made.source_count >= 2);
    size_t terms, total = 0;
    for (size_t i = 0; i < made.source_count; i++) {
        assert_int_equal(read_source(&made, i, &terms), DAYBOOK_END);
        total += terms;
    }
    assert_true(total >= TAGS + 8);
    end(&made);
}

// The terms of one event leave no room for another's bytes in the batch, though for their number.
static void a_batch_ends_where_its_bytes_do(void **state) {
    (void)state;
    run made;
    begin_with(&made, 1 << 20, TAGS / 2);
    for (uint32_t number = 0; number < 3; number++) assert_int_equal(add(&made, number), DAYBOOK_OK);
    finish(&made);
    size_t terms;
    assert_int_equal(made.source_count, 1);
    assert_int_equal(read_source(&made, 0, &terms), DAYBOOK_END);
    assert_true(terms > TAGS / 2);
    end(&made);
}

// The first chunk of the first run becomes a term without numbers, then zeros up to `at`, then `bytes`, then
// zeros. Its checksum is right: the term in front is given before anything is refused.
static daybook_status read_forged(const uint8_t *bytes, size_t size, size_t at) {
    static const uint8_t sound[] = {1, 9, 0, 0, 0};
    run made;
    make_run(&made);
    static uint8_t chunk[RUN_CHUNK + 8];
    memset(chunk, 0, sizeof chunk);
    memcpy(chunk, sound, sizeof sound);
    if (at > sizeof sound) { // a term with more numbers, all of distance 0, than there are bytes
        static const uint8_t many[] = {1, 10, 0xff, 0xff, 0x7f, 0, 0};
        memcpy(chunk + sizeof sound, many, sizeof many);
    }
    memcpy(chunk + at, bytes, size);
    dbk_put_u64(chunk + RUN_CHUNK, dbk_chunk_checksum(0, 0, chunk, RUN_CHUNK));
    assert_int_equal(dbk_sim_overwrite(made.world.sim, TERMS_PATH, 0, chunk, sizeof chunk), DAYBOOK_OK);
    dbk_term_source *source = made.sources[0];
    assert_int_equal(source->next(source, &made.world.error), DAYBOOK_OK);
    assert_int_equal(source->term.size, 1);
    size_t terms;
    daybook_status status = read_source(&made, 0, &terms);
    end(&made);
    return status;
}

static void runs_that_are_no_terms_are_damage(void **state) {
    (void)state;
    enum { BEHIND = 5 };
    static const uint8_t nothing[] = {0}, huge_term[] = {0xff, 0xff, 0x7f},
                         endless[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
                         many[] = {1, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0},
                         bad_number[] = {1,    9,    3,    0,    0,    0xff, 0xff, 0xff,
                                         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    assert_int_equal(read_forged(nothing, sizeof nothing, BEHIND), DAYBOOK_EDAMAGED);
    assert_int_equal(read_forged(huge_term, sizeof huge_term, BEHIND), DAYBOOK_EDAMAGED);
    assert_int_equal(read_forged(endless, sizeof endless, BEHIND), DAYBOOK_EDAMAGED);
    assert_int_equal(read_forged(many, sizeof many, BEHIND), DAYBOOK_EDAMAGED);
    assert_int_equal(read_forged(bad_number, sizeof bad_number, BEHIND), DAYBOOK_EDAMAGED);
    // Numbers that go on in the next chunk, and a run that ends among them.
    assert_int_equal(read_forged(endless, 5, RUN_CHUNK - 5), DAYBOOK_EDAMAGED);
    assert_int_equal(read_forged(nothing, 1, RUN_CHUNK - 5), DAYBOOK_EDAMAGED);
}

static void changed_runs_are_damage(void **state) {
    (void)state;
    run made;
    make_run(&made);
    assert_int_equal(dbk_sim_flip(made.world.sim, TERMS_PATH, 100, 1), DAYBOOK_OK);
    size_t terms;
    assert_int_equal(read_source(&made, 0, &terms), DAYBOOK_EDAMAGED);
    end(&made);
}

static void numbers_left_behind_are_told(void **state) {
    (void)state;
    run made;
    make_run(&made);
    dbk_term_source *source = made.sources[0];
    assert_int_equal(source->next(source, &made.world.error), DAYBOOK_OK);
    assert_int_equal(source->next(source, &made.world.error), DAYBOOK_EDAMAGED);
    end(&made);
}

// A number whose bytes begin at the end of a chunk and do not end in the next.
static void numbers_that_do_not_end_across_chunks_are_damage(void **state) {
    (void)state;
    run made;
    make_run(&made);
    static uint8_t chunk[RUN_CHUNK + 8];
    memset(chunk, 0, sizeof chunk);
    static const uint8_t many[] = {1, 9, 0xff, 0xff, 0x7f, 0, 0};
    memcpy(chunk, many, sizeof many);
    memset(chunk + RUN_CHUNK - 5, 0xff, 5);
    dbk_put_u64(chunk + RUN_CHUNK, dbk_chunk_checksum(0, 0, chunk, RUN_CHUNK));
    assert_int_equal(dbk_sim_overwrite(made.world.sim, TERMS_PATH, 0, chunk, sizeof chunk), DAYBOOK_OK);
    // What follows is the next chunk as it was written, but for its first bytes.
    dbk_file_reader reader = {.vfs = made.world.vfs, .path = TERMS_PATH};
    assert_int_equal(reader.vfs->open(reader.vfs, TERMS_PATH, DAYBOOK_VFS_READ, &reader.file), 0);
    assert_int_equal(reader.vfs->file_size(reader.vfs, reader.file, &reader.size), 0);
    reader.vfs->close(reader.vfs, reader.file);
    uint64_t next = RUN_CHUNK + 8;
    assert_true(reader.size > next + 8);
    size_t size = 0;
    for (size_t try = 1; try <= RUN_CHUNK && size == 0;
         try++) { // the run's last chunk ends where its term does
        static uint8_t bytes[RUN_CHUNK + 8];
        if (reader.size - next < try + 8) break;
        assert_int_equal(reader.vfs->open(reader.vfs, TERMS_PATH, DAYBOOK_VFS_READ, &reader.file), 0);
        if (dbk_chunk_read(&reader, next, try, "a chunk", bytes, NULL) == DAYBOOK_OK) size = try;
        reader.vfs->close(reader.vfs, reader.file);
    }
    assert_true(size > 12);
    memset(chunk, 0xff, size);
    dbk_put_u64(chunk + size, dbk_chunk_checksum(0, next, chunk, size));
    assert_int_equal(dbk_sim_overwrite(made.world.sim, TERMS_PATH, next, chunk, size + 8), DAYBOOK_OK);
    size_t terms;
    assert_int_equal(read_source(&made, 0, &terms), DAYBOOK_EDAMAGED);
    end(&made);
}

// Terms of which 128 fill a chunk: nothing is left for a second one.
static void a_run_may_end_with_its_chunk(void **state) {
    (void)state;
    enum { SIZE = 251, COUNT = 128 };
    run made;
    begin(&made, 256 * 1024 + 1024 * 8 + COUNT * 16 - 1);
    uint8_t term[SIZE];
    memset(term, 'a', sizeof term);
    term[0] = DBK_TERM_AGGREGATE;
    for (uint32_t i = 0; i < COUNT + 1; i++) { // size 2, term, count, seq, version
        dbk_put_u32(term + 1, i);
        assert_ok(&made.world,
                  dbk_gather_term_version(made.gather, daybook_bytes(term, SIZE), 5, &made.world.error));
    }
    finish(&made);
    assert_int_equal(made.source_count, 2);
    size_t terms;
    assert_int_equal(read_source(&made, 0, &terms), DAYBOOK_END);
    assert_int_equal(terms, COUNT);
    end(&made);
}

// Long tags fill a batch before its events do; and an event counts once for a term.
static void long_terms_end_a_batch(void **state) {
    (void)state;
    run made;
    begin(&made, 1 << 30);
    assert_int_equal(add(&made, 4), DAYBOOK_OK);
    assert_int_equal(add(&made, 4), DAYBOOK_OK);
    assert_int_equal(add(&made, 5), DAYBOOK_OK);
    finish(&made);
    dbk_term_source *source = made.sources[0];
    while (source->next(source, &made.world.error) == DAYBOOK_OK) assert_int_equal(source->value.count, 2);
    end(&made);
}

static daybook_status gather_all(run *made) {
    DBK_TRY(add(made, 0));
    DBK_TRY(add_dead(made, 1, 5, false));
    DBK_TRY(add(made, 3));
    DBK_TRY(dbk_gather_version(made->gather, &made->event, &made->world.error));
    DBK_TRY(add(made, 7));
    return dbk_gather_finish(made->gather, &made->sources, &made->source_count, &made->world.error);
}

static void each_allocation_and_write_of_gathering_may_fail(void **state) {
    (void)state;
    static const size_t memories[] = {64, 1 << 30};
    for (size_t i = 0; i < 4; i++) {
        bool is_write = i >= 2;
        for (uint64_t nth = 1;; nth++) {
            run made;
            begin(&made, memories[i % 2]);
            dbk_gather_free(made.gather);
            fault_allocator faults;
            fault_allocator_init(&faults);
            assert_int_equal(
                dbk_gather_new(&faults.allocator, &made.vfs, TERMS_PATH, memories[i % 2], &made.gather),
                DAYBOOK_OK);
            dbk_sim_fault fault = {.kind = DBK_SIM_WRITE, .nth = nth, .error = EIO};
            if (is_write)
                assert_int_equal(dbk_sim_fail(made.world.sim, &fault), DAYBOOK_OK);
            else
                fault_allocator_fail(&faults, nth, false);
            daybook_status status = gather_all(&made);
            bool has_failed = is_write ? dbk_sim_fault_hits(made.world.sim) > 0
                                       : fault_allocator_has_failed(&faults);
            dbk_sim_clear_faults(made.world.sim);
            assert_int_equal(status, !has_failed ? DAYBOOK_OK : is_write ? DAYBOOK_EIO : DAYBOOK_ENOMEM);
            dbk_gather_free(made.gather);
            made.gather = NULL;
            assert_int_equal(fault_allocator_live(&faults), 0);
            end(&made);
            if (!has_failed) break;
        }
    }
}

static void without_random_bytes_there_is_no_run(void **state) {
    (void)state;
    run made;
    begin(&made, 4096);
    made.vfs.entropy = failing_entropy;
    assert_int_equal(add(&made, 0), DAYBOOK_OK);
    assert_int_equal(add_dead(&made, 1, 5, false), DAYBOOK_EIO);
    end(&made);
}

static void of_equal_dead_ids_the_strongest_stays(void **state) {
    (void)state;
    run made;
    begin(&made, 1 << 30);
    assert_int_equal(add_dead(&made, 1, 5, true), DAYBOOK_OK);
    assert_int_equal(add_dead(&made, 1, 9, false), DAYBOOK_OK);
    assert_int_equal(add_dead(&made, 1, 7, false), DAYBOOK_OK);
    // The same of an aggregate's version: the greatest.
    assert_int_equal(dbk_gather_version(made.gather, &made.event, &made.world.error), DAYBOOK_OK);
    made.event.version = 3;
    assert_int_equal(dbk_gather_version(made.gather, &made.event, &made.world.error), DAYBOOK_OK);
    assert_int_equal(add(&made, 0), DAYBOOK_OK); // of version 3: 5 stays
    finish(&made);
    dbk_term_source *source = made.sources[0];
    bool has_dead = false, has_version = false;
    while (source->next(source, &made.world.error) == DAYBOOK_OK) {
        uint8_t kind = *(const uint8_t *)source->term.data;
        has_dead = has_dead || (kind == DBK_TERM_DEAD_ID && source->value.dead_for_ever &&
                                source->value.dead_removed_ns == 9);
        has_version = has_version || (kind == DBK_TERM_AGGREGATE && source->value.last_version == 5);
    }
    assert_true(has_dead && has_version);
    end(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_of_several_chunks_come_back),
        cmocka_unit_test(a_batch_ends_where_its_bytes_do),
        cmocka_unit_test(runs_that_are_no_terms_are_damage),
        cmocka_unit_test(changed_runs_are_damage),
        cmocka_unit_test(numbers_left_behind_are_told),
        cmocka_unit_test(without_random_bytes_there_is_no_run),
        cmocka_unit_test(of_equal_dead_ids_the_strongest_stays),
        cmocka_unit_test(numbers_that_do_not_end_across_chunks_are_damage),
        cmocka_unit_test(a_run_may_end_with_its_chunk),
        cmocka_unit_test(long_terms_end_a_batch),
        cmocka_unit_test(each_allocation_and_write_of_gathering_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
