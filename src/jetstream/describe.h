// SPDX-License-Identifier: Apache-2.0
// What streams and consumers are like, for those who show them. Any thread but the loop: what is asked may
// touch the disk.
//
// A description is what a request of the API is answered with (STREAM.INFO, CONSUMER.INFO), as JSON.
#ifndef DBK_JETSTREAM_DESCRIBE_H
#define DBK_JETSTREAM_DESCRIBE_H

#include "daybook/store.h"
#include "jetstream/jetstream.h"
#include "jetstream/settings.h"

/// The description is appended to `answer`. False: there is none of that name, or it could not be told.
bool dbk_jetstream_describe_stream(dbk_jetstream *jetstream, const dbk_js_settings *settings,
                                   dbk_slice stream, dbk_buf *answer);
bool dbk_jetstream_describe_consumer(dbk_jetstream *jetstream, const dbk_js_settings *settings,
                                     dbk_slice stream, dbk_slice consumer, dbk_buf *answer);

#endif
