// SPDX-License-Identifier: Apache-2.0
// JSON: text in, RFC 7396 merge patch, changes as JSON Pointers, compact text out.
//
// Values are jansson's. Members keep the order in which they were first set, so the same events always give
// the same bytes. Integers of 64 bits are exact; others become doubles and are printed with the fewest digits
// that read back as the same double.
// Pure: no I/O. A value belongs to one thread at a time. Memory comes from jansson's allocator (malloc).
#ifndef DBK_JSON_JSON_H
#define DBK_JSON_JSON_H

#include <jansson.h>

#include "base/memory.h"

enum { DBK_JSON_DEPTH_MAX = 2048 };

/// Parse one JSON text (RFC 8259; of duplicate names the last value wins).
/// @param offset_out  on EINVALID: the byte at which the text stops being JSON. May be NULL.
/// @return OK; EINVALID where it is not JSON, nests deeper than DBK_JSON_DEPTH_MAX, or holds a NUL in a name
/// or a
///         number beyond a double; ENOMEM
daybook_status dbk_json_parse(dbk_slice text, json_t **value_out, size_t *offset_out);

/// Append the compact text of `value`; failures stay in `out` (dbk_buf_status).
void dbk_json_write(dbk_buf *out, const json_t *value);
/// Append `text`, valid UTF-8, as a JSON string with its quotes.
void dbk_json_write_string(dbk_buf *out, dbk_slice text);
/// Append any bytes as Go's encoding/json writes a string: < > & and U+2028, U+2029 are escaped too, and what
/// is no UTF-8 is U+FFFD.
void dbk_json_write_go_string(dbk_buf *out, dbk_slice text);

/// Apply the object `patch` to the object `target` in place, as RFC 7396 says. Arrays and scalars are shared
/// with `patch`, so neither may be changed by other means afterwards. ENOMEM leaves `target` partly patched.
daybook_status dbk_json_merge(json_t *target, const json_t *patch);
/// The general form: any `target` (NULL: absent) and any `patch`; `target` is not changed.
daybook_status dbk_json_merge_any(const json_t *target, const json_t *patch, json_t **result_out);

// Changes: a JSON array of {"path","from","to"}. `path` is a JSON Pointer (RFC 6901); "from" is absent where
// the member was not there before, "to" where it is not there after. Objects on both sides are descended
// into; anything else (arrays, scalars, a change of kind) is one change of the whole value.

/// Append the changes from object `from` to object `to`, in order of `from`'s members, new ones after.
daybook_status dbk_json_write_changes(dbk_buf *out, const json_t *from, const json_t *to);
/// Append the changes that merging `patch` into `target` would make, in order of the patch: O(patch), not
/// O(target). Same set as dbk_json_write_changes over before and after.
daybook_status dbk_json_write_patch_changes(dbk_buf *out, const json_t *target, const json_t *patch);

#endif
