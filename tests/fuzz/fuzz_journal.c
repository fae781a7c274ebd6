// SPDX-License-Identifier: Apache-2.0
// Recovery of a journal from a hostile file. A random page never passes its checksum, so the input is a
// script that writes groups as the journal does and then spoils them, also with pages whose checksums are
// right; see `step`. Then: recovery ends, gives groups in order and within the map, and does the same a
// second time. Where it found no damage, the journal opens for writing, takes a group, and recovers with it.
#include "base/error.h"
#include "fuzz.h"
#include "io/memory.h"
#include "journal/journal_internal.h"

enum { PAGE_COUNT = DBK_JOURNAL_PIECE_PAGES, STEP_COUNT_MAX = 64, STEP_SIZE = 6 };

typedef struct fuzz_world {
    daybook_vfs *vfs;
    daybook_file *file;
    dbk_journal_config config;
    dbk_journal_map map;
    dbk_journal_identity identity;
    dbk_journal_group *group;
    uint64_t lsn;
    uint64_t last_checksum;
    uint32_t epoch;
} fuzz_world;

static const uint32_t pieces[1] = {0};

static void open_world(fuzz_world *world) {
    memset(world, 0, sizeof *world);
    FUZZ_CHECK(dbk_memory_vfs_new(dbk_allocator_default(), &world->vfs) == DAYBOOK_OK);
    world->config.allocator = dbk_allocator_default();
    world->config.vfs = world->vfs;
    world->config.path = "journal";
    memcpy(world->config.store_uuid.bytes, "0123456789abcdef", 16);
    world->config.incarnation = 7;
    world->map.first_lsn = DBK_JOURNAL_PIECE_PAGES;
    world->map.piece_count = 1;
    world->map.pieces = pieces;
    world->lsn = world->map.first_lsn;
    world->epoch = 1;
    dbk_journal_identity_init(&world->identity, &world->config.store_uuid, world->config.incarnation);
    FUZZ_CHECK(
        world->vfs->open(world->vfs, "journal", DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &world->file) == 0);
    FUZZ_CHECK(world->vfs->truncate(world->vfs, world->file, DBK_JOURNAL_PIECE_SIZE) == 0);
    FUZZ_CHECK(dbk_journal_group_new_with(dbk_allocator_default(), &world->group) == DAYBOOK_OK);
}

static void close_world(fuzz_world *world) {
    dbk_journal_group_free(world->group);
    world->vfs->close(world->vfs, world->file);
    dbk_memory_vfs_free(world->vfs);
}

static void write_pages(fuzz_world *world, const uint8_t *pages, uint64_t index, uint64_t count) {
    if (index >= PAGE_COUNT) return;
    if (count > PAGE_COUNT - index) count = PAGE_COUNT - index;
    size_t size = (size_t)count * DBK_JOURNAL_PAGE_SIZE;
    FUZZ_CHECK(world->vfs->write_at(world->vfs, world->file, pages, size, index * DBK_JOURNAL_PAGE_SIZE) ==
               (int64_t)size);
}

static void read_page(fuzz_world *world, uint8_t *page, uint64_t index) {
    FUZZ_CHECK(world->vfs->read_at(world->vfs, world->file, page, DBK_JOURNAL_PAGE_SIZE,
                                   index * DBK_JOURNAL_PAGE_SIZE) == DBK_JOURNAL_PAGE_SIZE);
}

static void write_group(fuzz_world *world, uint16_t flags, size_t payload_size, uint64_t skipped_pages) {
    static const uint8_t filler[1024] = {1, 2, 3};
    dbk_journal_group_reset(world->group);
    for (size_t left = payload_size; left > 0;) {
        size_t part = left < sizeof filler ? left : sizeof filler;
        FUZZ_CHECK(dbk_journal_group_append(world->group, filler, part) == DAYBOOK_OK);
        left -= part;
    }
    dbk_journal_seal seal = {.flags = flags,
                             .epoch = world->epoch,
                             .lsn = world->lsn,
                             .durable_lsn = world->lsn,
                             .previous_checksum = flags == DBK_JOURNAL_EPOCH_PAGE ? 0 : world->last_checksum};
    world->last_checksum = dbk_journal_group_seal(world->group, &world->identity, &seal);
    uint64_t count = dbk_journal_pages_for(payload_size);
    uint64_t index = world->lsn - world->map.first_lsn;
    if (skipped_pages < count)
        write_pages(world, world->group->pages + skipped_pages * DBK_JOURNAL_PAGE_SIZE, index + skipped_pages,
                    count - skipped_pages);
    world->lsn += count;
}

// A page with a right checksum and any head.
static void stamp_page(fuzz_world *world, const uint8_t *code, uint64_t index) {
    uint8_t page[DBK_JOURNAL_PAGE_SIZE];
    read_page(world, page, index);
    uint64_t lsn = world->map.first_lsn + index;
    dbk_journal_page head = {
        .flags = code[2] & 3,
        .payload_size = (uint16_t)(dbk_get_u16(code + 3) % (DBK_JOURNAL_PAGE_PAYLOAD + 2)),
        .epoch = world->epoch + code[2] / 64 - 1,
        .lsn = lsn,
        .group_lsn = lsn - code[5] % 4};
    page[DBK_JOURNAL_PAGE_HEAD_SIZE + code[5] % DBK_JOURNAL_GROUP_HEAD_SIZE] ^= code[2];
    (void)dbk_journal_page_encode(page, &world->identity, &head);
    write_pages(world, page, index, 1);
}

static void spoil_page(fuzz_world *world, const uint8_t *code, uint64_t index) {
    uint8_t page[DBK_JOURNAL_PAGE_SIZE];
    read_page(world, page, index);
    page[dbk_get_u16(code + 2) % DBK_JOURNAL_PAGE_SIZE] ^= code[4];
    write_pages(world, page, index, 1);
}

static void step(fuzz_world *world, const uint8_t *code) {
    uint8_t page[DBK_JOURNAL_PAGE_SIZE] = {0};
    uint64_t index = code[1];
    switch (code[0] % 8) {
    case 0:
        write_group(world, 0, dbk_get_u16(code + 2), code[4] % 16 == 0 ? code[5] % 4 : 0);
        break;
    case 1:
        world->epoch++;
        write_group(world, DBK_JOURNAL_EPOCH_PAGE, 0, 0);
        break;
    case 2:
        write_group(world, DBK_JOURNAL_WITNESS_PAGE, 0, 0);
        break;
    case 3: // A page never written.
        write_pages(world, page, index, 1);
        break;
    case 4:
        spoil_page(world, code, index);
        break;
    case 5: // Back, as after a crash; what lies there stays until it is overwritten.
        world->lsn = world->map.first_lsn + index;
        break;
    case 6: // To another place.
        read_page(world, page, code[2]);
        write_pages(world, page, index, 1);
        break;
    default:
        stamp_page(world, code, index);
        break;
    }
}

typedef struct visited {
    uint64_t next_lsn;
    uint64_t group_count;
    uint64_t bytes;
} visited;

static daybook_status visit(void *context, uint64_t first_lsn, uint64_t next_lsn, dbk_slice payload,
                            daybook_error *error) {
    (void)error;
    visited *groups = context;
    FUZZ_CHECK(first_lsn >= groups->next_lsn && next_lsn > first_lsn);
    FUZZ_CHECK(payload.size > 0);
    fuzz_touch(payload);
    groups->next_lsn = next_lsn;
    groups->group_count++;
    groups->bytes += payload.size;
    return DAYBOOK_OK;
}

static daybook_status recover(fuzz_world *world, uint64_t durable_lsn, visited *groups_out,
                              dbk_journal_recovery *recovery_out) {
    daybook_error error;
    daybook_error_init(&error);
    memset(groups_out, 0, sizeof *groups_out);
    memset(recovery_out, 0, sizeof *recovery_out);
    daybook_status status = dbk_journal_recover(&world->config, &world->map, world->map.first_lsn, 0,
                                                durable_lsn, visit, groups_out, recovery_out, &error);
    if (status != DAYBOOK_OK) {
        FUZZ_CHECK(error.message[0] != '\0');
        return status;
    }
    FUZZ_CHECK(recovery_out->end_lsn >= world->map.first_lsn);
    FUZZ_CHECK(recovery_out->end_lsn <= dbk_journal_map_end(&world->map));
    FUZZ_CHECK(groups_out->next_lsn <= recovery_out->end_lsn);
    if (recovery_out->damaged) FUZZ_CHECK(recovery_out->damage_text[0] != '\0');
    return DAYBOOK_OK;
}

// The journal goes on where recovery ended.
static void write_on(fuzz_world *world, const dbk_journal_recovery *recovery, const visited *before) {
    dbk_journal *journal = NULL;
    if (dbk_journal_open(&world->config, &world->map, recovery, world->map.first_lsn, &journal, NULL) !=
        DAYBOOK_OK)
        return; // Such as an epoch that cannot grow.
    uint64_t written = 0;
    dbk_journal_group_reset(world->group);
    FUZZ_CHECK(dbk_journal_group_append(world->group, "one more", 8) == DAYBOOK_OK);
    uint64_t next_lsn = 0;
    if (dbk_journal_room_pages(journal) > 2)
        written = dbk_journal_write_group(journal, world->group, &next_lsn, NULL) == DAYBOOK_OK;
    FUZZ_CHECK(dbk_journal_close(journal, NULL) == DAYBOOK_OK);
    visited after;
    dbk_journal_recovery again;
    FUZZ_CHECK(recover(world, next_lsn, &after, &again) == DAYBOOK_OK);
    FUZZ_CHECK(!again.damaged);
    FUZZ_CHECK(after.group_count == before->group_count + written);
    FUZZ_CHECK(after.bytes == before->bytes + 8 * written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_world world;
    open_world(&world);
    for (size_t i = 0; i < STEP_COUNT_MAX && size >= STEP_SIZE; i++, data += STEP_SIZE, size -= STEP_SIZE)
        step(&world, data);
    uint64_t durable_lsn = size > 0 && data[0] < 128 ? world.map.first_lsn + data[0] : 0;
    visited first;
    visited second;
    dbk_journal_recovery recovery;
    dbk_journal_recovery again;
    daybook_status status = recover(&world, durable_lsn, &first, &recovery);
    FUZZ_CHECK(recover(&world, durable_lsn, &second, &again) == status);
    FUZZ_CHECK(first.group_count == second.group_count && first.bytes == second.bytes);
    FUZZ_CHECK(recovery.end_lsn == again.end_lsn && recovery.damaged == again.damaged);
    if (status == DAYBOOK_OK && !recovery.damaged) write_on(&world, &recovery, &first);
    close_world(&world);
    return 0;
}
