// SPDX-License-Identifier: Apache-2.0
// Room on the disk that appends may not use: what a full store needs to write out what it accepted, to
// remove, and to be opened again.
#ifndef DBK_STORE_RESERVE_H
#define DBK_STORE_RESERVE_H

#include "store/store_internal.h"

/// Take over the reserve of an earlier writer, or make one as large as the disk allows. No space and no inode
/// are no failures: appends then hear of it. Under the lock.
daybook_status dbk_reserve_open(daybook_store *store, daybook_error *error);
/// Leave on the disk what the journal's events will need. NULL reserve is fine.
void dbk_reserve_close(daybook_store *store);

/// Before an append of `bytes` is accepted: room for writing it out, with everything accepted before. ENOSPC
/// where the disk does not have it. By the leader.
daybook_status dbk_reserve_for(daybook_store *store, size_t bytes, daybook_error *error);
/// Something that must be written met ENOSPC: the reserve is lent to it. False where there was none: trying
/// again makes no sense. Until dbk_reserve_restore no append and no growth of the journal may take of it.
bool dbk_reserve_lend(daybook_store *store);
bool dbk_reserve_is_lent(const daybook_store *store);
/// What was lent has been used, or was of no use: take from the disk again what is missing, or as much as
/// there is.
void dbk_reserve_restore(daybook_store *store);
/// The journal could not grow: what frees space should be done now.
void dbk_reserve_note_full(daybook_store *store);
/// The disk is full: an append was refused for want of space, or less is held than an empty store should
/// have.
bool dbk_reserve_is_short(const daybook_store *store);
/// The same, or nearly: less is free than is held and may be accepted while a table is written out.
bool dbk_reserve_is_tight(const daybook_store *store);

#endif
