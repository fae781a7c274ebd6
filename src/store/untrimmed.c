// SPDX-License-Identifier: Apache-2.0
// Appends that are decided and whose limits per subject are not enforced yet, oldest first.
//
// A flush may cut the journal behind such an append. The manifest remembers the oldest such position, and
// recovery enforces limits from there on. Where enforcing them fails, for want of memory, that position is
// owed: it counts as the oldest until the background work, which tries again, or the next opening gets
// through. Where the device does not give what is to be looked at, the background work leaves what is owed
// alone for RETRY_S: everything else it does goes on. So are limits that an append acknowledged before its
// sync may have broken: they apply to what is durable. A position is held where limits are enforced on many
// events outside an append: while the store is opened, and after an update of a stream. Guarded by
// state_lock.
#include "store/commit_internal.h"

#include "base/time.h"

enum { RETRY_S = 60 };

void dbk_commit_note_untrimmed(struct dbk_commit *commit, dbk_append *append) {
    bool limited = false;
    for (size_t i = 0; i < append->count && !limited; i++) {
        const daybook_stream_config *config = atomic_load(&append->events[i].stream->config);
        limited = config->max_msgs_per_subject > 0;
    }
    if (!limited) return;
    append->is_untrimmed = true;
    append->older_untrimmed = commit->newest_untrimmed;
    append->newer_untrimmed = NULL;
    if (commit->newest_untrimmed != NULL) {
        commit->newest_untrimmed->newer_untrimmed = append;
    } else {
        commit->oldest_untrimmed = append;
    }
    commit->newest_untrimmed = append;
}

void dbk_commit_trimmed(daybook_store *store, dbk_append *append) {
    struct dbk_commit *commit = store->commit;
    if (!append->is_untrimmed) return; // set by the leader before it woke this thread
    pthread_mutex_lock(&store->state_lock);
    dbk_append *older = append->older_untrimmed;
    dbk_append *newer = append->newer_untrimmed;
    *(older != NULL ? &older->newer_untrimmed : &commit->oldest_untrimmed) = newer;
    *(newer != NULL ? &newer->older_untrimmed : &commit->newest_untrimmed) = older;
    append->is_untrimmed = false;
    pthread_mutex_unlock(&store->state_lock);
}

uint64_t dbk_commit_trim_from(daybook_store *store) {
    const struct dbk_commit *commit = store->commit;
    if (commit == NULL) return store->next_position;
    uint64_t from = store->next_position;
    if (commit->oldest_untrimmed != NULL) from = commit->oldest_untrimmed->events[0].position;
    for (const dbk_trim_hold *hold = commit->trim_holds; hold != NULL; hold = hold->next) {
        if (hold->position_from < from) from = hold->position_from;
    }
    return commit->owed_from != 0 && commit->owed_from < from ? commit->owed_from : from;
}

uint64_t dbk_commit_closed_trim_from(daybook_store *store) {
    return store->commit->lazy.size > 0 ? 1 : dbk_commit_trim_from(store);
}

void dbk_commit_hold_trim(daybook_store *store, dbk_trim_hold *hold, uint64_t position_from) {
    hold->position_from = position_from;
    pthread_mutex_lock(&store->state_lock);
    hold->next = store->commit->trim_holds;
    store->commit->trim_holds = hold;
    pthread_mutex_unlock(&store->state_lock);
}

void dbk_commit_release_trim(daybook_store *store, dbk_trim_hold *hold) {
    pthread_mutex_lock(&store->state_lock);
    dbk_trim_hold **at = &store->commit->trim_holds;
    while (*at != hold) at = &(*at)->next;
    *at = hold->next;
    pthread_mutex_unlock(&store->state_lock);
}

static bool owe(daybook_store *store, uint64_t position_from, uint64_t position_last) {
    struct dbk_commit *commit = store->commit;
    pthread_mutex_lock(&store->state_lock);
    bool is_first = commit->owed_from == 0;
    if (position_last > commit->owed_last) commit->owed_last = position_last;
    if (is_first || position_from < commit->owed_from) commit->owed_from = position_from;
    commit->owed_count++;
    pthread_mutex_unlock(&store->state_lock);
    return is_first;
}

void dbk_commit_owe_trim(daybook_store *store, uint64_t position_from) {
    (void)owe(store, position_from, position_from);
}

void dbk_commit_owe_trim_until(daybook_store *store, uint64_t position_from, uint64_t position_last) {
    (void)owe(store, position_from, position_last);
}

void dbk_commit_owe_failed_trim(daybook_store *store, uint64_t position_from, const daybook_error *cause) {
    if (owe(store, position_from, position_from))
        dbk_store_log(store, DAYBOOK_LOG_WARNING, "limits of a stream: %s", cause->message);
}

static daybook_status put_off(daybook_store *store, int64_t now_ns, const daybook_error *detail) {
    pthread_mutex_lock(&store->state_lock);
    store->commit->owed_retry_ns = now_ns + RETRY_S * DBK_SECOND_NS;
    pthread_mutex_unlock(&store->state_lock);
    dbk_store_log(
        store, DAYBOOK_LOG_WARNING,
        "limits of a stream: %s; what they would remove stays, and is looked at again in %d seconds",
        detail->message, RETRY_S);
    return DAYBOOK_OK;
}

daybook_status dbk_commit_trim_owed(daybook_store *store, daybook_error *error) {
    struct dbk_commit *commit = store->commit;
    if (commit == NULL) return DAYBOOK_OK; // opening: everything is looked at anyway
    int64_t now_ns = store->vfs->clock_monotonic_ns(store->vfs);
    pthread_mutex_lock(&store->state_lock);
    uint64_t from = commit->owed_from;
    uint64_t count = commit->owed_count;
    uint64_t published = store->published_position;
    bool is_put_off = now_ns < commit->owed_retry_ns;
    pthread_mutex_unlock(&store->state_lock);
    if (from == 0 || from > published || is_put_off) return DAYBOOK_OK;
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = dbk_store_trim_recovered(store, from, &detail);
    if (dbk_is_unreadable(status)) return put_off(store, now_ns, &detail);
    if (status != DAYBOOK_OK) {
        if (error != NULL) *error = detail;
        return status;
    }
    pthread_mutex_lock(&store->state_lock);
    if (commit->owed_count == count) commit->owed_from = commit->owed_last > published ? published + 1 : 0;
    pthread_mutex_unlock(&store->state_lock);
    return DAYBOOK_OK;
}
