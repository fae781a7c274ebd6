// SPDX-License-Identifier: Apache-2.0
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

uint64_t world_random(test_world *world, uint64_t bound) { // splitmix64
    uint64_t mixed = world->random_state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (mixed ^ (mixed >> 31)) % bound;
}

void world_init(test_world *world, uint64_t seed) {
    memset(world, 0, sizeof *world);
    daybook_error_init(&world->error);
    world->random_state = seed;
    world->allocator = dbk_allocator_default();
    assert_int_equal(dbk_sim_new(seed, &world->sim), DAYBOOK_OK);
    world->vfs = dbk_sim_vfs(world->sim);
    world->directory = "/";
    assert_int_equal(dbk_cache_new(world->allocator, 8 << 20, &world->cache), DAYBOOK_OK);
    memset(world->store_uuid.bytes, 0x5a, sizeof world->store_uuid.bytes);
    world->next_segment_id = 1;
    world->with_dictionary = true;
    world->stream_count = 3;
    world->aggregate_count = 40;
    world->large_percent = 1;
    world->next_position = 1 + world_random(world, 1000);
    world->now_ns = INT64_C(1700000000000000000);
    world->versions = calloc(64 * 100000, sizeof *world->versions);
    assert_non_null(world->versions);
}

void world_deinit(test_world *world) {
    for (size_t i = 0; i < world->count; i++) free(world->events[i].body);
    free(world->events);
    free(world->versions);
    dbk_cache_free(world->cache);
    assert_int_equal(dbk_sim_open_files(world->sim), 0);
    dbk_sim_free(world->sim);
}

static void fill_data(test_world *world, char *data, size_t size) {
    static const char *words[] = {
        "order", "\"name\":", "customer", "{\"id\":", "shipped", "true", "Berlin", "},"};
    for (size_t i = 0; i < size;) {
        const char *word = words[world_random(world, 8)];
        for (; *word != '\0' && i < size; word++) data[i++] = *word;
        if (i < size) data[i++] = (char)('0' + world_random(world, 10));
    }
}

static void encode_event(test_world *world, model_event *model) {
    char subject[128], actor[32], correlation[64], causation[64], id[64], tags[3][32];
    uint32_t stream = (uint32_t)world_random(world, world->stream_count);
    uint32_t aggregate = (uint32_t)world_random(world, world->aggregate_count);
    static const char *types[] = {"placed", "paid", "shipped", "line.added", "closed"};
    bool has_aggregate = world_random(world, 20) != 0;
    uint32_t aggregate_size = 0;
    if (has_aggregate) {
        int size = snprintf(subject, sizeof subject, "orders%u.%u", stream, aggregate);
        aggregate_size = (uint32_t)size;
        (void)snprintf(subject + size, sizeof subject - (size_t)size, ".%s", types[world_random(world, 5)]);
    } else {
        (void)snprintf(subject, sizeof subject, "plain%u", stream);
    }
    static char data[200000];
    size_t data_size = world_random(world, 100) < world->large_percent ? world_random(world, sizeof data)
                                                                       : world_random(world, 400);
    fill_data(world, data, data_size);

    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_bytes(data, data_size);
    daybook_slice tag_slices[3];
    size_t tag_count = world_random(world, 4);
    for (size_t i = 0; i < tag_count; i++) {
        (void)snprintf(tags[i], sizeof tags[i], "tag%zu:%u", i, (unsigned)world_random(world, 30));
        tag_slices[i] = daybook_text(tags[i]);
    }
    event.tags = tag_slices;
    event.tag_count = tag_count;
    if (world_random(world, 2) == 0) {
        (void)snprintf(correlation, sizeof correlation, "%08x-0000-4000-8000-%012x",
                       (unsigned)world_random(world, 500), 7);
        event.correlation = daybook_text(correlation);
    }
    if (world_random(world, 3) == 0) {
        (void)snprintf(causation, sizeof causation, "cause-%u", (unsigned)world_random(world, 100000));
        event.causation = daybook_text(causation);
    }
    if (world_random(world, 2) == 0) {
        (void)snprintf(actor, sizeof actor, "actor%u", (unsigned)world_random(world, 5));
        event.actor = daybook_text(actor);
    }
    if (world_random(world, 3) == 0) event.type = daybook_text("explicit.type");
    if (world_random(world, 2) == 0) {
        (void)snprintf(id, sizeof id, "id-%llu", (unsigned long long)world->next_position);
        event.id = daybook_text(id);
    }
    if (world_random(world, 3) == 0)
        event.time_ns = world->now_ns - (int64_t)world_random(world, 1000000000000);

    uint8_t random[10];
    for (size_t i = 0; i < sizeof random; i++) random[i] = (uint8_t)world_random(world, 256);
    dbk_uuid made;
    dbk_uuid_make_v7(world->now_ns, random, &made);
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), DBK_EVENT_BODY_SIZE_MAX);
    assert_int_equal(dbk_event_encode_body(&event, aggregate_size, made.bytes, &buf, NULL), DAYBOOK_OK);
    model->body = malloc(buf.size);
    assert_non_null(model->body);
    memcpy(model->body, buf.data, buf.size);

    memset(&model->event, 0, sizeof model->event);
    model->event.stream_id = 7 + stream * 300;
    model->event.position = world->next_position;
    model->event.seq = ++world->seqs[stream];
    model->event.version = has_aggregate ? ++world->versions[stream * world->aggregate_count + aggregate] : 0;
    model->event.recorded_ns = world->now_ns;
    assert_int_equal(dbk_event_decode_body(daybook_bytes(model->body, buf.size), &model->event), DAYBOOK_OK);
    dbk_buf_deinit(&buf);
}

void world_add_events(test_world *world, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (world->count == world->capacity) {
            world->capacity = world->capacity * 2 + 1000;
            world->events = realloc(world->events, world->capacity * sizeof *world->events);
            assert_non_null(world->events);
        }
        model_event *model = &world->events[world->count];
        memset(model, 0, sizeof *model);
        encode_event(world, model);
        model->liveness = DBK_LIVE;
        world->count++;
        world->next_position += world_random(world, 30) == 0 ? 1 + world_random(world, 50) : 1;
        if (world_random(world, 3) != 0) world->now_ns += (int64_t)world_random(world, 3000000);
    }
}

dbk_segment_config world_config(test_world *world, uint64_t segment_id) {
    dbk_segment_config config;
    memset(&config, 0, sizeof config);
    config.allocator = world->allocator;
    config.vfs = world->vfs;
    config.directory = world->directory;
    config.store_uuid = world->store_uuid;
    config.incarnation = 42;
    config.segment_id = segment_id;
    config.memory_max = world->memory_max;
    return config;
}

static daybook_status train(test_world *world, dbk_segment_writer *writer, size_t first, size_t end) {
    if (!world->with_dictionary || end == first) return DAYBOOK_OK;
    dbk_slice *bodies = malloc((end - first) * sizeof *bodies);
    assert_non_null(bodies);
    for (size_t i = first; i < end; i++) bodies[i - first] = world->events[i].event.body;
    daybook_status status = dbk_segment_writer_train(writer, bodies, end - first, &world->error);
    free(bodies);
    return status;
}

daybook_status world_write(test_world *world, size_t first, size_t end, uint64_t position_first,
                           uint64_t position_last, uint64_t segment_id) {
    dbk_segment_config config = world_config(world, segment_id);
    dbk_segment_writer *writer;
    daybook_status status =
        dbk_segment_writer_new(&config, position_first, position_last, &writer, &world->error);
    if (status != DAYBOOK_OK) return status;
    status = train(world, writer, first, end);
    for (size_t i = first; i < end && status == DAYBOOK_OK; i++) {
        const model_event *model = &world->events[i];
        if (model->liveness == DBK_STREAM_GONE) continue;
        if (model->liveness == DBK_LIVE)
            status = dbk_segment_writer_add(writer, &model->event, &world->error);
        else
            status = dbk_segment_writer_add_removed(writer, &model->event,
                                                    model->liveness == DBK_REMOVED_FOR_EVER,
                                                    model->removed_ns, &world->error);
    }
    if (status != DAYBOOK_OK) {
        dbk_segment_writer_abort(writer);
        return status;
    }
    dbk_segment_summary summary;
    return dbk_segment_writer_finish(writer, daybook_text("the catalogue"), &summary, &world->error);
}

dbk_segment *world_open(test_world *world, uint64_t segment_id) {
    dbk_segment_config config = world_config(world, segment_id);
    dbk_segment *segment;
    assert_ok(world, dbk_segment_open(&config, world->cache, &segment, &world->error));
    return segment;
}

dbk_segment *world_segment(test_world *world, size_t first, size_t end) {
    uint64_t segment_id = world->next_segment_id++;
    assert_ok(world, world_write(world, first, end, world->events[first].event.position,
                                 world->events[end - 1].event.position, segment_id));
    return world_open(world, segment_id);
}

// ---- Events -----------------------------------------------------------------------------------------------

static void check_same_event(const dbk_event *a, const dbk_event *b) {
    assert_int_equal(a->stream_id, b->stream_id);
    assert_int_equal(a->position, b->position);
    assert_int_equal(a->seq, b->seq);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->recorded_ns, b->recorded_ns);
    assert_int_equal(a->time_ns, b->time_ns);
    assert_true(dbk_slice_equal(a->body, b->body));
    assert_true(dbk_slice_equal(a->subject, b->subject));
}

static void check_blocks(test_world *world, dbk_segment *segment, size_t first, size_t end) {
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    size_t at = first;
    uint64_t bytes = 0, count = 0, file_bytes = 0;
    for (uint32_t number = 0; number < dbk_segment_block_count(segment); number++) {
        dbk_block_info info;
        assert_ok(world, dbk_segment_block_info(segment, number, &info, &world->error));
        file_bytes += info.file_bytes;
        assert_ok(world, dbk_block_load(segment, number, &view, &world->error));
        assert_int_equal(view.event_count, info.event_count);
        assert_int_equal(view.block_number, number);
        for (uint32_t i = 0; i < view.event_count; i++) {
            while (at < end && world->events[at].liveness != DBK_LIVE) at++;
            assert_true(at < end);
            const dbk_event *expected = &world->events[at++].event;
            dbk_event event;
            assert_ok(world, dbk_block_event(&view, i, &event, &world->error));
            check_same_event(&event, expected);
            assert_int_equal(dbk_block_find(&view, event.position), i);
            if (i == 0) assert_int_equal(event.position, info.position_first);
            if (i + 1 == view.event_count) assert_int_equal(event.position, info.position_last);
            assert_true(event.recorded_ns >= info.recorded_first_ns &&
                        event.recorded_ns <= info.recorded_last_ns);
            assert_true(event.time_ns >= info.time_min_ns && event.time_ns <= info.time_max_ns);
            bytes += event.body.size;
            count++;
        }
    }
    while (at < end && world->events[at].liveness != DBK_LIVE) at++;
    assert_int_equal(at, end);
    dbk_block_release(&view);
    const dbk_segment_summary *summary = dbk_segment_get_summary(segment);
    assert_int_equal(summary->event_count, count);
    assert_int_equal(summary->data_bytes, bytes);
    dbk_segment_sizes sizes;
    dbk_segment_get_sizes(segment, &sizes);
    assert_true(sizes.blocks == file_bytes);
    assert_true(sizes.blocks + sizes.block_index + sizes.terms + sizes.filters + sizes.dictionaries +
                    sizes.frame ==
                dbk_segment_get_summary(segment)->file_bytes);
    assert_true(sizes.terms <= dbk_segment_get_summary(segment)->file_bytes); // nothing wrapped
}

static void check_stream(test_world *world, dbk_segment *segment, uint32_t stream_id, size_t first,
                         size_t end) {
    dbk_segment_stream expected, stream;
    memset(&expected, 0, sizeof expected);
    bool is_known = false;
    for (size_t i = first; i < end; i++) {
        const model_event *model = &world->events[i];
        if (model->event.stream_id != stream_id || model->liveness == DBK_STREAM_GONE) continue;
        is_known = true;
        if (model->event.seq > expected.seq_max) expected.seq_max = model->event.seq;
        if (model->liveness != DBK_LIVE) continue;
        if (expected.event_count++ == 0) {
            expected.first_seq = model->event.seq;
            expected.first_position = model->event.position;
        }
        expected.last_seq = model->event.seq;
        expected.last_position = model->event.position;
        expected.cost_bytes += dbk_event_cost(&model->event);
    }
    assert_int_equal(dbk_segment_find_stream(segment, stream_id, &stream), is_known);
    if (!is_known) return;
    assert_int_equal(stream.stream_id, stream_id);
    assert_int_equal(stream.event_count, expected.event_count);
    assert_int_equal(stream.cost_bytes, expected.cost_bytes);
    assert_int_equal(stream.seq_max, expected.seq_max);
    assert_int_equal(stream.first_seq, expected.first_seq);
    assert_int_equal(stream.last_seq, expected.last_seq);
    assert_int_equal(stream.first_position, expected.first_position);
    assert_int_equal(stream.last_position, expected.last_position);
}

void world_check_events(test_world *world, dbk_segment *segment, size_t first, size_t end) {
    check_blocks(world, segment, first, end);
    for (uint32_t stream = 0; stream < world->stream_count + 1; stream++)
        check_stream(world, segment, 7 + stream * 300, first, end);
    dbk_buf catalogue;
    dbk_buf_init(&catalogue, dbk_allocator_default(), 1000);
    assert_ok(world, dbk_segment_read_catalogue(segment, &catalogue, &world->error));
    assert_int_equal(catalogue.size, 13);
    assert_memory_equal(catalogue.data, "the catalogue", 13);
    dbk_buf_deinit(&catalogue);
}

// ---- Terms ------------------------------------------------------------------------------------------------

typedef struct term_pair {
    size_t size;
    uint8_t *bytes;
    size_t event_index;
} term_pair;

typedef struct pair_list {
    term_pair *pairs;
    size_t count, capacity;
    size_t event_index;
} pair_list;

static daybook_status add_pair(void *context, dbk_slice term) {
    pair_list *list = context;
    if (list->count == list->capacity) {
        list->capacity = list->capacity * 2 + 1000;
        list->pairs = realloc(list->pairs, list->capacity * sizeof *list->pairs);
        assert_non_null(list->pairs);
    }
    term_pair *pair = &list->pairs[list->count++];
    pair->size = term.size;
    pair->bytes = malloc(term.size);
    assert_non_null(pair->bytes);
    memcpy(pair->bytes, term.data, term.size);
    pair->event_index = list->event_index;
    return DAYBOOK_OK;
}

static int compare_pairs(const void *a, const void *b) {
    const term_pair *left = a, *right = b;
    int order =
        dbk_slice_compare(daybook_bytes(left->bytes, left->size), daybook_bytes(right->bytes, right->size));
    if (order != 0) return order;
    return (left->event_index > right->event_index) - (left->event_index < right->event_index);
}

// Pairs [begin, end) share a term. Events that are not live count for versions only.
static bool check_term(test_world *world, dbk_segment *segment, const term_pair *begin,
                       const term_pair *end) {
    dbk_slice term = daybook_bytes(begin->bytes, begin->size);
    uint64_t count = 0, last_version = 0, last = 0, last_seq = 0;
    uint64_t *positions = malloc((size_t)(end - begin) * sizeof *positions);
    bool is_gone = true;
    for (const term_pair *at = begin; at < end; at++) {
        const model_event *model = &world->events[at->event_index];
        if (model->liveness == DBK_STREAM_GONE) continue;
        is_gone = false;
        if (begin->bytes[0] == DBK_TERM_AGGREGATE && model->event.version > last_version)
            last_version = model->event.version;
        if (model->liveness != DBK_LIVE) continue;
        positions[count++] = last = model->event.position;
        last_seq = model->event.seq;
    }
    dbk_term_entry entry;
    daybook_status status = dbk_segment_find_term(segment, term, &entry, &world->error);
    if (count == 0 && (is_gone || begin->bytes[0] != DBK_TERM_AGGREGATE)) {
        assert_int_equal(status, DAYBOOK_ENOTFOUND);
        free(positions);
        return false;
    }
    assert_ok(world, status);
    assert_int_equal(entry.count, count);
    assert_int_equal(entry.last_position, last);
    assert_int_equal(entry.last_seq, last_seq);
    assert_int_equal(entry.last_version, last_version);

    dbk_postings *postings;
    assert_ok(world, dbk_postings_open(segment, &entry, &postings, &world->error));
    uint64_t position = 0, found;
    for (uint64_t i = 0; i < count; i++) {
        assert_ok(world, dbk_postings_seek(postings, position, &found, &world->error));
        assert_int_equal(found, positions[i]);
        position = found + 1;
    }
    assert_int_equal(dbk_postings_seek(postings, position, &found, &world->error), DAYBOOK_END);
    position = UINT64_MAX;
    for (uint64_t i = count; i-- > 0;) {
        assert_ok(world, dbk_postings_seek_back(postings, position, &found, &world->error));
        assert_int_equal(found, positions[i]);
        position = found - 1;
    }
    assert_int_equal(dbk_postings_seek_back(postings, position, &found, &world->error), DAYBOOK_END);
    for (unsigned i = 0; i < 20 && count > 0; i++) {
        uint64_t target = positions[world_random(world, count)] + world_random(world, 5) - 2;
        uint64_t at = 0;
        while (at < count && positions[at] < target) at++;
        status = dbk_postings_seek(postings, target, &found, &world->error);
        assert_int_equal(status, at < count ? DAYBOOK_OK : DAYBOOK_END);
        if (at < count) assert_int_equal(found, positions[at]);
        if (at == count || positions[at] > target) at--; // UINT64_MAX: none
        status = dbk_postings_seek_back(postings, target, &found, &world->error);
        assert_int_equal(status, at < count ? DAYBOOK_OK : DAYBOOK_END);
        if (at < count) assert_int_equal(found, positions[at]);
    }
    dbk_postings_close(postings);
    free(positions);
    return true;
}

static void check_terms(test_world *world, dbk_segment *segment, size_t first, size_t end) {
    pair_list list;
    memset(&list, 0, sizeof list);
    for (size_t i = first; i < end; i++) {
        list.event_index = i;
        assert_int_equal(dbk_event_visit_terms(&world->events[i].event, add_pair, &list), DAYBOOK_OK);
    }
    qsort(list.pairs, list.count, sizeof *list.pairs, compare_pairs);
    dbk_term_walk *walk = NULL;
    uint8_t kind = 0;
    for (size_t i = 0, next; i < list.count; i = next) {
        dbk_slice term = daybook_bytes(list.pairs[i].bytes, list.pairs[i].size), walked;
        for (next = i + 1; next < list.count; next++)
            if (!dbk_slice_equal(daybook_bytes(list.pairs[next].bytes, list.pairs[next].size), term)) break;
        bool is_there = check_term(world, segment, &list.pairs[i], &list.pairs[next]);
        // Walking the terms of this kind meets exactly those that are there.
        dbk_term_entry entry;
        if (kind != list.pairs[i].bytes[0]) {
            if (walk != NULL)
                assert_int_equal(dbk_term_walk_next(walk, &walked, &entry, &world->error), DAYBOOK_END);
            dbk_term_walk_close(walk);
            kind = list.pairs[i].bytes[0];
            assert_ok(world, dbk_term_walk_open(segment, daybook_bytes(&kind, 1), &walk, &world->error));
        }
        if (!is_there) continue;
        assert_ok(world, dbk_term_walk_next(walk, &walked, &entry, &world->error));
        assert_true(dbk_slice_equal(walked, term));
        // Absent neighbours.
        dbk_term absent;
        memcpy(absent.bytes, term.data, term.size);
        absent.bytes[term.size] = 1;
        assert_int_equal(
            dbk_segment_find_term(segment, daybook_bytes(absent.bytes, term.size + 1), &entry, &world->error),
            DAYBOOK_ENOTFOUND);
    }
    dbk_slice walked;
    dbk_term_entry entry;
    if (walk != NULL) assert_int_equal(dbk_term_walk_next(walk, &walked, &entry, &world->error), DAYBOOK_END);
    dbk_term_walk_close(walk);
    for (size_t i = 0; i < list.count; i++) free(list.pairs[i].bytes);
    free(list.pairs);
}

// ---- Ids and times ----------------------------------------------------------------------------------------

static void check_ids(test_world *world, dbk_segment *segment, size_t first, size_t end) {
    for (size_t i = first; i < end; i++) {
        const model_event *model = &world->events[i];
        dbk_id_lookup lookup;
        assert_ok(world, dbk_segment_find_id(segment, model->event.stream_id, model->event.id_key, &lookup,
                                             &world->error));
        bool is_removed = model->liveness == DBK_REMOVED || model->liveness == DBK_REMOVED_FOR_EVER;
        bool is_found = false;
        for (size_t j = 0; j < lookup.count; j++) is_found |= lookup.positions[j] == model->event.position;
        assert_int_equal(is_found, model->liveness == DBK_LIVE);
        assert_int_equal(lookup.dead, is_removed);
        if (is_removed) {
            assert_int_equal(lookup.dead_for_ever, model->liveness == DBK_REMOVED_FOR_EVER);
            if (!lookup.dead_for_ever) assert_int_equal(lookup.dead_removed_ns, model->removed_ns);
        }
        // Nobody else's.
        assert_ok(world, dbk_segment_find_id(segment, model->event.stream_id + 1, model->event.id_key,
                                             &lookup, &world->error));
        assert_int_equal(lookup.count, 0);
        assert_false(lookup.dead);
    }
}

static void check_recorded(test_world *world, dbk_segment *segment, size_t first, size_t end) {
    for (unsigned i = 0; i < 200; i++) {
        const model_event *model = &world->events[first + world_random(world, end - first)];
        int64_t time_ns = model->event.recorded_ns + (int64_t)world_random(world, 3) - 1;
        uint64_t position = model->event.position + world_random(world, 3) - 1;
        uint64_t first_at_time = 0, first_at_position = 0;
        for (size_t j = end; j-- > first;) {
            if (world->events[j].liveness != DBK_LIVE) continue;
            if (world->events[j].event.recorded_ns >= time_ns)
                first_at_time = world->events[j].event.position;
            if (world->events[j].event.position >= position)
                first_at_position = world->events[j].event.position;
        }
        uint32_t number;
        dbk_block_info info;
        daybook_status status = dbk_segment_find_block_recorded(segment, time_ns, &number, &world->error);
        assert_int_equal(status, first_at_time == 0 ? DAYBOOK_END : DAYBOOK_OK);
        if (status == DAYBOOK_OK) {
            assert_ok(world, dbk_segment_block_info(segment, number, &info, &world->error));
            assert_true(info.position_first <= first_at_time && info.position_last >= first_at_time);
        }
        dbk_block_place place = {0};
        status = dbk_segment_find_block(segment, position, &place, &world->error);
        assert_int_equal(status, first_at_position == 0 ? DAYBOOK_END : DAYBOOK_OK);
        if (status == DAYBOOK_OK) {
            assert_true(place.position_first <= first_at_position &&
                        place.position_last >= first_at_position);
        }
    }
}

void world_check(test_world *world, dbk_segment *segment, size_t first, size_t end) {
    world_check_events(world, segment, first, end);
    check_terms(world, segment, first, end);
    check_ids(world, segment, first, end);
    check_recorded(world, segment, first, end);
}

static void print_finding(void *context, const daybook_finding *finding) {
    (void)context;
    print_message("%.*s at %llu: %.*s\n", (int)finding->file.size, (const char *)finding->file.data,
                  (unsigned long long)finding->offset, (int)finding->message.size,
                  (const char *)finding->message.data);
}

void world_check_verify(test_world *world, uint64_t segment_id) {
    dbk_segment_config config = world_config(world, segment_id);
    assert_ok(world, dbk_segment_verify(&config, print_finding, NULL, &world->error));
}

uint64_t world_file_size(test_world *world) {
    daybook_file *file;
    uint64_t size;
    assert_int_equal(world->vfs->open(world->vfs, WORLD_SEGMENT_PATH, DAYBOOK_VFS_READ, &file), 0);
    assert_int_equal(world->vfs->file_size(world->vfs, file, &size), 0);
    world->vfs->close(world->vfs, file);
    return size;
}

void world_resize_file(test_world *world, uint64_t size) {
    daybook_file *file;
    assert_int_equal(world->vfs->open(world->vfs, WORLD_SEGMENT_PATH, DAYBOOK_VFS_WRITE, &file), 0);
    assert_int_equal(world->vfs->truncate(world->vfs, file, size), 0);
    world->vfs->close(world->vfs, file);
}
