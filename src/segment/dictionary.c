// SPDX-License-Identifier: Apache-2.0
// Which dictionary a segment compresses its blocks with: one of an earlier segment as long as that does
// nearly as well as a new one would.
//
// A digested dictionary takes 40 KiB when read, most of it tables that every block goes through. With one for
// each segment that was ever flushed, loading an aggregate spread over the store meets others in each block,
// and the more there are the fewer stay in the processor's caches: unpacking a block of 2 KiB takes 3.4 us
// with one dictionary, 4.4 with eleven in turn, 6.5 with a hundred and ten (measured alone, blocks from all
// over 95 MB). Training also costs more than trying the one at hand.
//
// "Nearly as well" is measured on pieces of the bodies, as large as blocks. Where the one at hand packs them
// as well as it packed those it was trained on, nothing is trained. Else one is trained and both are
// measured, because it may be the data that packs worse; the new one is taken where it gains more than a
// fiftieth.
//
// A dictionary consists of pieces of events. So after USES_MAX segments there is a new one: erasing an event
// means to rewrite all segments that share a dictionary made of it (store/merge.c).
//
// One thread at a time; no state but the caller's.
#include "base/error.h"
#include "segment/pack.h"
#include "segment/reader.h"

enum {
    USES_MAX = 32,
    PIECES_MAX = 64, // measured
    PIECE_SIZE_MIN = 2048,
    PIECE_SIZE_MAX = 8192,
    SLACK = 50, // a fiftieth more is as well
};

void dbk_dictionary_init(dbk_dictionary *dictionary, const daybook_allocator *allocator) {
    *dictionary = (dbk_dictionary){.uses = 0};
    dbk_buf_init(&dictionary->bytes, allocator, DBK_DICTIONARY_SIZE_MAX);
}

void dbk_dictionary_deinit(dbk_dictionary *dictionary) {
    dbk_buf_deinit(&dictionary->bytes);
}

void dbk_dictionary_forget(dbk_dictionary *dictionary) {
    dbk_buf_reset(&dictionary->bytes);
    dictionary->uses = 0;
}

// Packed bytes of a million, of pieces spread evenly over the bodies. 0: nothing could be measured.
static daybook_status measure(const daybook_allocator *allocator, dbk_slice dictionary,
                              const dbk_slice *bodies, size_t count, uint64_t *packed_out) {
    *packed_out = 0;
    dbk_packer *packer = NULL;
    dbk_dictionary_encoder *encoder = NULL;
    uint8_t *memory = dbk_alloc(allocator, PIECE_SIZE_MAX + dbk_pack_bound(PIECE_SIZE_MAX));
    daybook_status status = memory == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
    if (status == DAYBOOK_OK) status = dbk_packer_new(allocator, DBK_PACK_BLOCKS, &packer);
    if (status == DAYBOOK_OK) status = dbk_dictionary_encoder_new(allocator, dictionary, &encoder);
    uint64_t raw = 0, packed = 0;
    size_t stride = count / PIECES_MAX + 1;
    for (size_t first = 0; status == DAYBOOK_OK && first < count; first += stride) {
        size_t size = 0;
        for (size_t i = first; i < count && size < PIECE_SIZE_MIN; i++) {
            if (bodies[i].size > PIECE_SIZE_MAX - size) continue;
            memcpy(memory + size, bodies[i].data, bodies[i].size);
            size += bodies[i].size;
        }
        if (size == 0) continue;
        size_t gained = dbk_pack(packer, encoder, daybook_bytes(memory, size), memory + PIECE_SIZE_MAX);
        if (gained == SIZE_MAX) status = DAYBOOK_ENOMEM;
        raw += size;
        packed += gained == 0 ? size : gained;
    }
    dbk_dictionary_encoder_free(allocator, encoder);
    dbk_packer_free(packer);
    dbk_free(allocator, memory);
    if (raw > 0) *packed_out = packed * 1000000 / raw;
    return status;
}

static bool is_as_good(uint64_t packed, uint64_t other) {
    return packed <= other + other / SLACK;
}

// Much larger it would take more of the segment than it saves, much smaller a new one could do more.
static bool has_right_size(const dbk_dictionary *dictionary, const dbk_slice *bodies, size_t count) {
    size_t size = dictionary->bytes.size, wanted = dbk_dictionary_trained_size(bodies, count);
    return size > 0 && size / 2 <= wanted && wanted / 2 <= size;
}

daybook_status dbk_dictionary_choose(const daybook_allocator *allocator, const dbk_slice *bodies,
                                     size_t count, dbk_dictionary *dictionary, bool *is_used_out) {
    *is_used_out = false;
    dbk_slice known = daybook_bytes(dictionary->bytes.data, dictionary->bytes.size);
    uint64_t known_packed = 0, packed = 0;
    bool may_stay = dictionary->uses < USES_MAX && has_right_size(dictionary, bodies, count);
    if (may_stay) DBK_TRY(measure(allocator, known, bodies, count, &known_packed));
    bool stays = may_stay && is_as_good(known_packed, dictionary->packed);
    if (!stays) {
        dbk_buf fresh;
        dbk_buf_init(&fresh, allocator, DBK_DICTIONARY_SIZE_MAX);
        daybook_status status = dbk_dictionary_train(allocator, bodies, count, &fresh);
        if (status == DAYBOOK_OK && fresh.size > 0)
            status = measure(allocator, daybook_bytes(fresh.data, fresh.size), bodies, count, &packed);
        stays = may_stay && fresh.size > 0 && is_as_good(known_packed, packed);
        if (status != DAYBOOK_OK || fresh.size == 0) { // nothing to learn from
            dbk_buf_deinit(&fresh);
            return status;
        }
        if (stays) {
            dictionary->packed = known_packed;
            dbk_buf_deinit(&fresh);
        } else {
            dbk_buf_deinit(&dictionary->bytes);
            *dictionary = (dbk_dictionary){.bytes = fresh, .packed = packed};
        }
    }
    dictionary->uses++;
    *is_used_out = true;
    return DAYBOOK_OK;
}

// ---- Which segments share one ---------------------------------------------------------------------------

uint32_t dbk_segment_dictionary_count(const dbk_segment *segment) {
    return segment->footer.dictionary_count;
}

daybook_status dbk_segment_hash_dictionaries(const dbk_segment *segment, uint64_t *hashes_out,
                                             daybook_error *error) {
    uint8_t bytes[DBK_DICTIONARY_SIZE_MAX + DBK_CHUNK_CHECKSUM_SIZE];
    for (uint32_t i = 0; i < segment->footer.dictionary_count; i++) {
        DBK_TRY(dbk_segment_read_dictionary(segment, i + 1, bytes, error));
        hashes_out[i] = dbk_checksum(bytes, segment->footer.dictionaries[i].size, 0);
    }
    return DAYBOOK_OK;
}
