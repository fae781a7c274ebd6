// SPDX-License-Identifier: Apache-2.0
// Times as numbers: the pure part of daybook/time.h lives in base/time.c.
#ifndef DBK_BASE_TIME_H
#define DBK_BASE_TIME_H

#include "daybook/time.h"

#define DBK_SECOND_NS INT64_C(1000000000)
#define DBK_MILLISECOND_NS INT64_C(1000000)

#endif
