// SPDX-License-Identifier: Apache-2.0
// zstd for blocks of events and pages of terms.
//
// Everything is a zstd frame without magic, size, checksum or dictionary id: who stores it knows them. Blocks
// with level 3: an eighth slower than level 1, but smaller by a twentieth and faster to read again. Pages
// with level 1, which does as well for them. Contexts are kept: setting one up costs more than using it once.
//
// A page of terms (index/term_page.h) is stored as it is, beginning with its level, or packed:
//
//   u8      255
//   varint  size of the page
//   bytes   frame
//
// Leaves pack to a third or less: neighbours differ in a counter, and their values in little more.
//
// Unpacking expects anything, writes nothing outside of `size` bytes, and takes no memory but the scratch.
// Threads: a packer and a scratch belong to one at a time; digested dictionaries to any.
#define ZSTD_STATIC_LINKING_ONLY // memory through our allocator, and contexts in memory we own
#define ZDICT_STATIC_LINKING_ONLY
#include "segment/pack.h"

#include <zdict.h>
#include <zstd.h>

enum {
    INPUT_SIZE = 4096, // of a block or page, mostly
    // Tables of the digested dictionary: as many places as it has bytes, so that they stay in the processor's
    // cache beside everything else the writer works on. Larger ones find hardly more.
    HASH_LOG = 14,
    CHAIN_LOG = 13,
    TRAIN_BYTES_MAX = 1536 * 1024,
    TRAIN_BYTES_MIN = 32 * 1024,
    TRAIN_BODY_MAX = 4096,
    DICTIONARY_SHARE = 64, // a dictionary has at most this part of the bytes it was trained on
    PACKED_PAGE = 255,
};

static size_t align8(size_t size) {
    return (size + 7) & ~(size_t)7;
}

// ---- zstd with our memory ---------------------------------------------------------------------------------

static void *zstd_alloc(void *opaque, size_t size) {
    const daybook_allocator *allocator = opaque;
    return dbk_alloc(allocator, size);
}

static void zstd_free(void *opaque, void *data) {
    const daybook_allocator *allocator = opaque;
    dbk_free(allocator, data);
}

static ZSTD_customMem zstd_memory(const daybook_allocator *allocator) {
    // zstd hands the pointer back untouched.
    ZSTD_customMem memory = {zstd_alloc, zstd_free, (void *)(uintptr_t)allocator};
    return memory;
}

// ---- Packing ----------------------------------------------------------------------------------------------

struct dbk_packer {
    const daybook_allocator *allocator;
    ZSTD_CCtx *context;
};

struct dbk_dictionary_encoder {
    const ZSTD_CDict *digested; // in the memory behind
};

static bool set_up(ZSTD_CCtx *context, int level) {
    static const struct {
        ZSTD_cParameter name;
        int value;
    } fixed[] = {{ZSTD_c_format, ZSTD_f_zstd1_magicless},
                 {ZSTD_c_contentSizeFlag, 0},
                 {ZSTD_c_checksumFlag, 0},
                 {ZSTD_c_dictIDFlag, 0}};
    size_t failures = ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level));
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        failures += ZSTD_isError(ZSTD_CCtx_setParameter(context, fixed[i].name, fixed[i].value));
    return failures == 0;
}

daybook_status dbk_packer_new(const daybook_allocator *allocator, int level, dbk_packer **packer_out) {
    *packer_out = NULL;
    dbk_packer *packer = dbk_alloc_zeroed(allocator, sizeof *packer);
    if (packer == NULL) return DAYBOOK_ENOMEM;
    packer->allocator = allocator;
    packer->context = ZSTD_createCCtx_advanced(zstd_memory(allocator));
    // defensive: a zstd that does not know these parameters
    if (packer->context == NULL || !set_up(packer->context, level)) {
        dbk_packer_free(packer);
        return DAYBOOK_ENOMEM;
    }
    *packer_out = packer;
    return DAYBOOK_OK;
}

void dbk_packer_free(dbk_packer *packer) {
    if (packer == NULL) return;
    ZSTD_freeCCtx(packer->context);
    dbk_free(packer->allocator, packer);
}

size_t dbk_pack_bound(size_t size) {
    return ZSTD_compressBound(size);
}

size_t dbk_pack(dbk_packer *packer, const dbk_dictionary_encoder *encoder, dbk_slice raw, uint8_t *out) {
    ZSTD_CCtx *context = packer->context;
    const ZSTD_CDict *dictionary = encoder == NULL ? NULL : encoder->digested;
    // defensive: a context between two calls takes this
    if (ZSTD_isError(ZSTD_CCtx_reset(context, ZSTD_reset_session_only))) return SIZE_MAX;
    // defensive: and this
    if (ZSTD_isError(ZSTD_CCtx_refCDict(context, dictionary))) return SIZE_MAX;
    size_t size = ZSTD_compress2(context, out, ZSTD_compressBound(raw.size), raw.data, raw.size);
    if (ZSTD_isError(size)) return SIZE_MAX; // With room for the bound only memory can be missing.
    return size < raw.size - raw.size / 32 ? size : 0;
}

daybook_status dbk_pack_page(dbk_packer *packer, dbk_slice page, dbk_buf *buf) {
    uint8_t *out = dbk_buf_reserve(buf, 1 + DBK_VARINT_SIZE_MAX + dbk_pack_bound(page.size));
    if (out == NULL) return DAYBOOK_ENOMEM;
    size_t head = 1 + dbk_put_varint(out + 1, page.size);
    out[0] = PACKED_PAGE;
    size_t size = dbk_pack(packer, NULL, page, out + head);
    if (size == SIZE_MAX) return DAYBOOK_ENOMEM;
    if (size == 0)
        dbk_buf_append_slice(buf, page);
    else
        buf->size += head + size;
    return dbk_buf_status(buf);
}

// ---- Dictionaries -----------------------------------------------------------------------------------------

daybook_status dbk_dictionary_encoder_new(const daybook_allocator *allocator, dbk_slice dictionary,
                                          dbk_dictionary_encoder **encoder_out) {
    *encoder_out = NULL;
    ZSTD_compressionParameters parameters = ZSTD_getCParams(DBK_PACK_BLOCKS, INPUT_SIZE, dictionary.size);
    parameters.hashLog = HASH_LOG;
    parameters.chainLog = CHAIN_LOG;
    // In memory of ours, because ZSTD_createCDict_advanced of zstd 1.5.4 crashes where memory is out.
    size_t size = ZSTD_estimateCDictSize_advanced(dictionary.size, parameters, ZSTD_dlm_byCopy);
    dbk_dictionary_encoder *encoder = dbk_alloc(allocator, align8(sizeof *encoder) + size);
    if (encoder == NULL) return DAYBOOK_ENOMEM;
    void *memory = (uint8_t *)encoder + align8(sizeof *encoder);
    encoder->digested = ZSTD_initStaticCDict(memory, size, dictionary.data, dictionary.size, ZSTD_dlm_byCopy,
                                             ZSTD_dct_auto, parameters);
    if (encoder->digested == NULL) {
        dbk_free(allocator, encoder);
        return DAYBOOK_EDAMAGED;
    }
    *encoder_out = encoder;
    return DAYBOOK_OK;
}

void dbk_dictionary_encoder_free(const daybook_allocator *allocator, dbk_dictionary_encoder *encoder) {
    dbk_free(allocator, encoder);
}

// Bodies spread evenly over all given, up to TRAIN_BYTES_MAX, one behind the other.
static daybook_status collect_samples(const dbk_slice *bodies, size_t count, dbk_buf *samples,
                                      size_t *sizes_out, size_t *sample_count_out) {
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) total += bodies[i].size;
    size_t step = (size_t)(total / TRAIN_BYTES_MAX) + 1, taken = 0;
    for (size_t i = 0; i < count; i += step) {
        if (bodies[i].size < 8 || bodies[i].size > TRAIN_BODY_MAX) continue; // zstd asks for 8
        if (samples->size + bodies[i].size > TRAIN_BYTES_MAX) break;
        dbk_buf_append_slice(samples, bodies[i]);
        sizes_out[taken++] = bodies[i].size;
    }
    *sample_count_out = taken;
    return dbk_buf_status(samples);
}

size_t dbk_dictionary_trained_size(const dbk_slice *bodies, size_t count) {
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) total += bodies[i].size;
    uint64_t size = total / DICTIONARY_SHARE;
    return size < DBK_DICTIONARY_SIZE_MAX ? (size_t)size : DBK_DICTIONARY_SIZE_MAX;
}

daybook_status dbk_dictionary_train(const daybook_allocator *allocator, const dbk_slice *bodies, size_t count,
                                    dbk_buf *buf) {
    if (count == 0) return DAYBOOK_OK;
    dbk_buf samples;
    dbk_buf_init(&samples, allocator, TRAIN_BYTES_MAX);
    size_t *sizes = dbk_resize_array(allocator, NULL, count, sizeof *sizes);
    size_t sample_count = 0;
    daybook_status status = sizes == NULL ? DAYBOOK_ENOMEM
                                          : collect_samples(bodies, count, &samples, sizes, &sample_count);
    if (status != DAYBOOK_OK || samples.size < TRAIN_BYTES_MIN || sample_count < 16) goto done;

    size_t capacity = samples.size / DICTIONARY_SHARE;
    if (capacity > DBK_DICTIONARY_SIZE_MAX) capacity = DBK_DICTIONARY_SIZE_MAX;
    uint8_t *out = dbk_buf_reserve(buf, capacity);
    if (out == NULL) {
        status = DAYBOOK_ENOMEM;
        goto done;
    }
    // Fixed parameters instead of a search for the best: one pass, a twentieth of the time, hardly worse.
    ZDICT_fastCover_params_t parameters;
    memset(&parameters, 0, sizeof parameters);
    parameters.k = 200;
    parameters.d = 8;
    parameters.f = 18;
    parameters.accel = 5;
    parameters.zParams.compressionLevel = DBK_PACK_BLOCKS;
    size_t size = ZDICT_trainFromBuffer_fastCover(out, capacity, samples.data, sizes, (unsigned)sample_count,
                                                  parameters);
    // No dictionary is no failure.
    // defensive: there are samples enough; only memory that zstd itself asks for can be out
    if (!ZDICT_isError(size)) buf->size += size;
done:
    dbk_free(allocator, sizes);
    dbk_buf_deinit(&samples);
    return status;
}

size_t dbk_dictionary_decoder_size(size_t dictionary_size) {
    return align8(ZSTD_estimateDDictSize(dictionary_size, ZSTD_dlm_byCopy));
}

const void *dbk_dictionary_decoder_init(void *memory, size_t memory_size, dbk_slice dictionary) {
    return ZSTD_initStaticDDict(memory, memory_size, dictionary.data, dictionary.size, ZSTD_dlm_byCopy,
                                ZSTD_dct_auto);
}

// ---- Unpacking --------------------------------------------------------------------------------------------

// A context in scratch memory, set up once: doing so asks the processor for its features, which costs a
// microsecond or more on a virtual machine, a sixth of opening a block.
typedef struct unpack_scratch {
    ZSTD_DCtx *context; // in the memory behind; NULL: not set up yet
} unpack_scratch;

size_t dbk_unpack_scratch_size(void) {
    return align8(sizeof(unpack_scratch)) + align8(ZSTD_estimateDCtxSize());
}

// NULL never happens with memory of that size, short of another version of zstd.
static ZSTD_DCtx *use_context(void *memory) {
    unpack_scratch *scratch = memory;
    if (scratch->context != NULL) return scratch->context;
    ZSTD_DCtx *context =
        ZSTD_initStaticDCtx((uint8_t *)memory + align8(sizeof *scratch), align8(ZSTD_estimateDCtxSize()));
    // defensive: the memory is of the size that zstd asked for, and zstd knows the parameter
    if (context == NULL ||
        ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_format, ZSTD_f_zstd1_magicless)))
        return NULL;
    scratch->context = context;
    return context;
}

bool dbk_unpack(dbk_slice packed, const void *decoder, void *scratch, void *out, size_t size) {
    ZSTD_DCtx *context = use_context(scratch);
    if (context == NULL) return false; // defensive: use_context says why
    // defensive: a context between two calls takes this
    if (ZSTD_isError(ZSTD_DCtx_reset(context, ZSTD_reset_session_only))) return false;
    // defensive: and this
    if (ZSTD_isError(ZSTD_DCtx_refDDict(context, decoder))) return false;
    size_t got = ZSTD_decompressDCtx(context, out, size, packed.data, packed.size);
    (void)ZSTD_DCtx_refDDict(context, NULL); // The dictionary may leave the cache; removing it cannot fail.
    return got == size;
}

bool dbk_unpack_page(dbk_slice stored, void *scratch, uint8_t out[DBK_TERM_PAGE_SIZE_MAX],
                     dbk_slice *page_out) {
    *page_out = stored;
    if (stored.size == 0 || *(const uint8_t *)stored.data != PACKED_PAGE) return true;
    dbk_reader reader;
    dbk_reader_init(&reader, stored);
    (void)dbk_read_u8(&reader);
    uint64_t size = dbk_read_varint(&reader);
    if (reader.failed || size == 0 || size > DBK_TERM_PAGE_SIZE_MAX) return false;
    *page_out = daybook_bytes(out, (size_t)size);
    return dbk_unpack(daybook_bytes(reader.at, dbk_reader_left(&reader)), NULL, scratch, out, (size_t)size);
}
