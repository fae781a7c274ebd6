// SPDX-License-Identifier: Apache-2.0
// Which store the files of a directory say they are of.
#ifndef DBK_STORE_IDENTITY_H
#define DBK_STORE_IDENTITY_H

#include "base/error.h"
#include "base/uuid.h"
#include "daybook/sys/vfs.h"
#include "segment/footer.h"

/// How well the other files vouch for a manifest of this store and incarnation.
typedef enum dbk_identity_evidence {
    DBK_IDENTITY_UNKNOWN = 0, // nothing speaks of it
    DBK_IDENTITY_SEGMENTS,    // a segment is of this store
    DBK_IDENTITY_JOURNAL,     // pages of the journal are of this store and incarnation
} dbk_identity_evidence;

/// The head of a segment file, whether or not the rest of it can be read. Any failure is false.
bool dbk_identity_read_segment_head(daybook_vfs *vfs, const char *directory, uint64_t segment_id,
                                    dbk_segment_head *head_out);
/// Looks at heads of segments and at one page of each piece of the journal; what cannot be read says nothing.
dbk_identity_evidence dbk_identity_look(daybook_vfs *vfs, const char *directory, const dbk_uuid *store_uuid,
                                        uint64_t incarnation);

#endif
