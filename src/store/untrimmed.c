// SPDX-License-Identifier: Apache-2.0
// Appends that are decided and whose limits per subject are not enforced yet, oldest first.
//
// A flush may cut the journal behind such an append. The manifest remembers the oldest such position, and
// recovery enforces limits from there on. Guarded by state_lock.
#include "store/commit_internal.h"

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
    if (commit == NULL || commit->oldest_untrimmed == NULL) return store->next_position;
    return commit->oldest_untrimmed->events[0].position;
}
