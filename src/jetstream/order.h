// SPDX-License-Identifier: Apache-2.0
// Who publishes and then asks on the same connection is told of what it published: a request that names a
// stream waits until what its connection published into it before is stored or refused.
//
//     dbk_js_order_begin(publish);   // it joins a round of its stream
//     stream = dbk_js_order_find(jetstream, from, scope, stream_name, &number);   // a request comes
//     if (stream != NULL) dbk_js_order_keep(stream, from, message, number);
//     dbk_js_order_end(publish);     // what became of it was told: requests go on
//
// By connection, not by stream: somebody who only reads a stream that others fill never waits for their disk.
// And of a connection's own publishes those for which it wants an acknowledgement hold up only requests about
// the stream itself: who shares a connection between many, some appending, some loading, would else load at
// the pace of the disk, and whoever wants to see its message can wait for the acknowledgement.
//
// Publishes are numbered as they come, over all streams, and a stream knows which of its own are under way,
// oldest first; a connection knows the number of its last one. So what a request waits for is one number, and
// where nothing is under way, as for who waits for acknowledgements, it costs one comparison. Requests wait
// in their stream in the order of coming, and each goes on once nothing as old as its number is under way. A
// number that is smaller than that of the request before counts as that one: of what others published some
// may be waited for, too, but nothing that came behind the requests.
//
// Where the stream is removed, and where JetStream stops, they go on at once: they are told what all are told
// then.
//
// Loop thread only.
#ifndef DBK_JETSTREAM_ORDER_H
#define DBK_JETSTREAM_ORDER_H

#include "jetstream/publish.h"

/// What a request waits for.
typedef enum dbk_js_order_scope {
    DBK_JS_ORDER_NONE,
    DBK_JS_ORDER_UNTOLD, // publishes without an acknowledgement: there is no other way to know of them
    DBK_JS_ORDER_ALL
} dbk_js_order_scope;

/// It is under way, until dbk_js_order_end.
void dbk_js_order_begin(dbk_js_publish *publish);
/// Requests that waited for it go on, by dbk_js_go_on. Does nothing for one that was not begun.
void dbk_js_order_end(dbk_js_publish *publish);
/// NULL: nothing is to be waited for. Else the stream, and for what number.
dbk_js_stream *dbk_js_order_find(const dbk_jetstream *jetstream, const dbk_client *from,
                                 dbk_js_order_scope scope, dbk_slice stream_name, uint64_t *number_out);
/// Keeps a request until then, its bytes held against its connection. False: memory is out, or too many wait.
bool dbk_js_order_keep(dbk_js_stream *stream, dbk_client *from, const dbk_message *message, uint64_t number);
/// All that wait go on, whatever is under way.
void dbk_js_order_let_all_go_on(dbk_js_stream *stream);

#endif
