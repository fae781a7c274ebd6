// SPDX-License-Identifier: Apache-2.0
// Compression of what a segment stores: zstd with our memory, dictionaries, and packed pages of the index.
// The formats stand at the heads of pack.c (pages) and block.c.
#ifndef DBK_SEGMENT_PACK_H
#define DBK_SEGMENT_PACK_H

#include "base/bytes.h"
#include "index/term_page.h"

enum { DBK_DICTIONARY_SIZE_MAX = 16 * 1024 };

// ---- Packing ----------------------------------------------------------------------------------------------

typedef struct dbk_packer dbk_packer;                         // a context, for one thread
typedef struct dbk_dictionary_encoder dbk_dictionary_encoder; // a digested dictionary, for any

enum { DBK_PACK_BLOCKS = 3, DBK_PACK_PAGES = 1 }; // levels

daybook_status dbk_packer_new(const daybook_allocator *allocator, int level, dbk_packer **packer_out);
void dbk_packer_free(dbk_packer *packer);
/// Room that packing so many bytes needs.
size_t dbk_pack_bound(size_t size);
/// Bytes written to `out`, which has room for the bound; 0 where they are no gain (less than a
/// thirty-second), SIZE_MAX where memory is out. `encoder` NULL: without dictionary.
size_t dbk_pack(dbk_packer *packer, const dbk_dictionary_encoder *encoder, dbk_slice raw, uint8_t *out);
/// A page of terms as it is stored, appended to `buf`. ENOMEM.
daybook_status dbk_pack_page(dbk_packer *packer, dbk_slice page, dbk_buf *buf);

/// ENOMEM; EDAMAGED where the bytes are no dictionary.
daybook_status dbk_dictionary_encoder_new(const daybook_allocator *allocator, dbk_slice dictionary,
                                          dbk_dictionary_encoder **encoder_out);
void dbk_dictionary_encoder_free(const daybook_allocator *allocator, dbk_dictionary_encoder *encoder);
/// How large a dictionary trained on such bodies may be.
size_t dbk_dictionary_trained_size(const dbk_slice *bodies, size_t count);
/// A dictionary for blocks of such bodies into `buf`; left empty where it would not pay. ENOMEM.
daybook_status dbk_dictionary_train(const daybook_allocator *allocator, const dbk_slice *bodies, size_t count,
                                    dbk_buf *buf);

// ---- Unpacking --------------------------------------------------------------------------------------------

/// Working memory for unpacking: zeros, or what an earlier call left there. It must not move.
size_t dbk_unpack_scratch_size(void);
/// A dictionary digested for decoding into `memory` of dbk_dictionary_decoder_size bytes, aligned to 8.
size_t dbk_dictionary_decoder_size(size_t dictionary_size);
const void *dbk_dictionary_decoder_init(void *memory, size_t memory_size, dbk_slice dictionary);
/// Exactly `size` bytes into `out`; false where `packed` is malformed. `decoder` is NULL without dictionary.
bool dbk_unpack(dbk_slice packed, const void *decoder, void *scratch, void *out, size_t size);
/// A page of terms from what is stored: borrowed from `stored` where that is the page, else from `out`. False
/// where malformed; the page itself is not looked at.
bool dbk_unpack_page(dbk_slice stored, void *scratch, uint8_t out[DBK_TERM_PAGE_SIZE_MAX],
                     dbk_slice *page_out);

#endif
