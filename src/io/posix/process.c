// SPDX-License-Identifier: Apache-2.0
// Who we are to other processes: the number a lock file names. Any thread.
#include <unistd.h>

#include "io/io.h"

uint64_t dbk_process_id(void) {
    return (uint64_t)getpid();
}
