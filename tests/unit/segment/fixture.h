// SPDX-License-Identifier: Apache-2.0
// Random events, segments written from them on a simulated disk, and a naive model that says what a segment
// must answer.
#ifndef DBK_TESTS_SEGMENT_FIXTURE_H
#define DBK_TESTS_SEGMENT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/sim/sim.h"
#include "segment/segment.h"

typedef struct model_event {
    dbk_event event; // slices into body
    uint8_t *body;
    dbk_liveness liveness;
    int64_t removed_ns; // when it went
} model_event;

typedef struct test_world {
    dbk_sim *sim;
    daybook_vfs *vfs;      // the simulated disk, unless changed
    const char *directory; // "/", unless changed
    dbk_cache *cache;
    const daybook_allocator *allocator;
    uint64_t random_state;
    dbk_uuid store_uuid;
    uint64_t next_segment_id;
    size_t memory_max;
    bool with_dictionary;
    uint32_t stream_count;
    uint32_t aggregate_count; // per stream
    unsigned large_percent;   // events above a block's size

    model_event *events; // ascending by position
    size_t count, capacity;
    uint64_t next_position;
    int64_t now_ns;
    uint64_t seqs[64];
    uint64_t *versions; // [stream][aggregate]
    daybook_error error;
} test_world;

void world_init(test_world *world, uint64_t seed);
void world_deinit(test_world *world);
uint64_t world_random(test_world *world, uint64_t bound);
#define assert_ok(world, expression)                                                           \
    do {                                                                                       \
        daybook_status assert_ok_status = (expression);                                        \
        if (assert_ok_status != DAYBOOK_OK)                                                    \
            fail_msg("%s: %s", daybook_status_name(assert_ok_status), (world)->error.message); \
    } while (0)

/// Adds random events behind the last; sometimes leaves positions out.
void world_add_events(test_world *world, size_t count);
dbk_segment_config world_config(test_world *world, uint64_t segment_id);
/// Writes model events [first, end) as a segment over [position_first, position_last]; those not live as
/// removed.
daybook_status world_write(test_world *world, size_t first, size_t end, uint64_t position_first,
                           uint64_t position_last, uint64_t segment_id);
/// The same over exactly the events' positions; returns it open.
dbk_segment *world_segment(test_world *world, size_t first, size_t end);
dbk_segment *world_open(test_world *world, uint64_t segment_id);

/// The file of the first segment, which is cut or extended at will.
#define WORLD_SEGMENT_PATH "/segment-0000000000000001.dbs"
uint64_t world_file_size(test_world *world);
void world_resize_file(test_world *world, uint64_t size);

/// Compares everything a segment says with model events [first, end).
void world_check(test_world *world, dbk_segment *segment, size_t first, size_t end);
/// Only blocks, streams and summary.
void world_check_events(test_world *world, dbk_segment *segment, size_t first, size_t end);
void world_check_verify(test_world *world, uint64_t segment_id);

#endif
