// SPDX-License-Identifier: Apache-2.0
// JSON merge patch (RFC 7396).
//
//     merge(target, patch):  patch not an object   -> the patch
//                            target not an object  -> target becomes {}
//                            member null           -> removed from target
//                            else                  -> target[member] = merge(target[member], value)
//
// An object of the patch is never shared with the target, because its nulls must not survive and because
// later patches change objects in place; arrays and scalars are never changed in place and are shared.
#include "base/error.h"
#include "json/json.h"

static daybook_status merge_member(json_t *target, const char *name, json_t *value) {
    if (json_is_null(value)) {
        (void)json_object_del(target, name); // Absent already is as good.
        return DAYBOOK_OK;
    }
    if (!json_is_object(value))
        return json_object_set(target, name, value) == 0 ? DAYBOOK_OK : DAYBOOK_ENOMEM;
    json_t *member = json_object_get(target, name);
    if (json_is_object(member)) return dbk_json_merge(member, value);
    member = json_object();
    if (member == NULL || json_object_set_new(target, name, member) != 0) return DAYBOOK_ENOMEM;
    return dbk_json_merge(member, value);
}

daybook_status dbk_json_merge(json_t *target, const json_t *patch) {
    json_t *members = (json_t *)(uintptr_t)patch; // Iterated, not changed.
    for (void *at = json_object_iter(members); at != NULL; at = json_object_iter_next(members, at))
        DBK_TRY(merge_member(target, json_object_iter_key(at), json_object_iter_value(at)));
    return DAYBOOK_OK;
}

daybook_status dbk_json_merge_any(const json_t *target, const json_t *patch, json_t **result_out) {
    *result_out = NULL;
    if (!json_is_object(patch)) {
        *result_out = json_deep_copy(patch);
        return *result_out == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
    }
    json_t *result = json_is_object(target) ? json_deep_copy(target) : json_object();
    if (result == NULL) return DAYBOOK_ENOMEM;
    daybook_status status = dbk_json_merge(result, patch);
    if (status == DAYBOOK_OK)
        *result_out = result;
    else
        json_decref(result);
    return status;
}
