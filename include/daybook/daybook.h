/* SPDX-License-Identifier: Apache-2.0 */
/** Everything: the store (libdaybook) and the toolkit (libdaybook-toolkit: aggregate.h, causation.h, kv.h,
 *  machine.h, snapshot.h, state.h, testkit.h), and projections (libdaybook-projection: projection.h). */
#ifndef DAYBOOK_DAYBOOK_H
#define DAYBOOK_DAYBOOK_H

#include "daybook/aggregate.h"
#include "daybook/append.h"
#include "daybook/causation.h"
#include "daybook/consumer.h"
#include "daybook/engine.h"
#include "daybook/event.h"
#include "daybook/id.h"
#include "daybook/kv.h"
#include "daybook/machine.h"
#include "daybook/projection.h"
#include "daybook/publish.h"
#include "daybook/read.h"
#include "daybook/slice.h"
#include "daybook/snapshot.h"
#include "daybook/state.h"
#include "daybook/status.h"
#include "daybook/store.h"
#include "daybook/stream.h"
#include "daybook/subject.h"
#include "daybook/testkit.h"
#include "daybook/time.h"
#include "daybook/version.h"

#endif
