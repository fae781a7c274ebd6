// SPDX-License-Identifier: Apache-2.0
// Event ids from the real clock and the kernel's randomness: the one public maker of ids outside a store.
// Any thread.
#include "daybook/id.h"
#include "base/uuid.h"
#include "daybook/sys/vfs.h"

daybook_status daybook_id_make(char id_out[37]) {
    if (id_out == NULL) return DAYBOOK_EMISUSE;
    daybook_vfs *vfs = daybook_vfs_posix();
    uint8_t random[10];
    if (vfs->entropy(vfs, random, sizeof random) < 0) return DAYBOOK_EIO;
    dbk_uuid uuid;
    dbk_uuid_make_v7(vfs->clock_real_ns(vfs), random, &uuid);
    dbk_uuid_format(&uuid, id_out);
    return DAYBOOK_OK;
}
