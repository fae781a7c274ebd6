// SPDX-License-Identifier: Apache-2.0
// Watches, and how those are found that an event concerns.
//
// Filters are entered by stream and by shape: how many tokens they name, which of these are `*`, and whether
// `>` follows. Filters of one shape differ in the literal tokens only, so that for each shape a hash of the
// subject's tokens at those places leads to the one filter of it that may match. An event costs a look-up for
// each shape that a stream's watches have, which are few, and wakes nobody it does not concern. Of a filter
// the first 32 tokens are entered; a filter that is found is compared with the subject.
//
//   set (a stream) --shapes--> node (a filter) --links--> owner (a consumer) --> watches (handles)
//
// A link is in its node's list while its owner has an armed watch, so that those who wait for nothing cost
// nothing. Arming and firing allocate nothing.
//
//   IDLE --arm--> ARMED --event, fire--> FIRED --call--> IDLE, while the callback runs
//
// A watch that is armed while it is FIRED stays so: its call is still to come, and is as good.
#include "store/watch.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "daybook/subject.h"

enum { TOKENS_MAX = 32, BUCKETS_MIN = 16 };

typedef struct shape {
    uint32_t token_count; // named, `*` among them
    uint32_t stars;       // bit i: token i is `*`
    bool goes_on;         // tokens may follow
    size_t node_count;
} shape;

typedef struct watch_node {
    struct watch_node *next; // of its bucket
    struct dbk_watch_set *set;
    uint64_t hash;
    uint32_t shape_at;
    size_t link_count;        // armed or not
    struct watch_link *armed; // those in its list
    size_t filter_size;
    char filter[];
} watch_node;

typedef struct dbk_watch_set {
    struct dbk_watch_set *next;
    dbk_stream *stream;
    shape *shapes; // one whose node_count is 0 is free
    size_t shape_count, shape_capacity;
    watch_node **buckets;
    size_t bucket_count; // a power of two
    size_t node_count;
} watch_set;

typedef struct watch_link {
    watch_node *node;
    dbk_watch_owner *owner; // NULL until they are its
    struct watch_link *next, **at;
} watch_link;

struct dbk_watch_links {
    watch_set *set;
    size_t count;
    watch_link links[];
};

typedef enum watch_state { IDLE, ARMED, FIRED } watch_state;

struct dbk_watch {
    dbk_watch *next; // of its owner
    dbk_watch_owner *owner;
    void (*callback)(void *context);
    void *context;
    watch_state state;
    dbk_watch *next_fired;
    unsigned call_count; // running
};

void dbk_watches_init(dbk_watches *watches, const daybook_allocator *allocator) {
    *watches = (dbk_watches){.allocator = allocator};
    watches->fired_end = &watches->fired;
    pthread_mutex_init(&watches->lock, NULL);
    pthread_cond_init(&watches->called, NULL);
}

void dbk_watches_deinit(dbk_watches *watches) {
    while (watches->sets != NULL) {
        watch_set *set = watches->sets;
        watches->sets = set->next;
        set->stream->watches = NULL;
        dbk_free(watches->allocator, set->shapes);
        dbk_free(watches->allocator, set->buckets);
        dbk_free(watches->allocator, set);
    }
    pthread_cond_destroy(&watches->called);
    pthread_mutex_destroy(&watches->lock);
}

// ---- Hashes -----------------------------------------------------------------------------------------------

// The tokens of a subject or filter, up to TOKENS_MAX of them; *count_out is how many there are, at most one
// more.
static void split(dbk_slice text, dbk_slice tokens[TOKENS_MAX], uint32_t *count_out) {
    const char *bytes = text.data;
    size_t begin = 0;
    *count_out = 0;
    for (size_t i = 0; i <= text.size && *count_out <= TOKENS_MAX; i++) {
        if (i < text.size && bytes[i] != '.') continue;
        if (*count_out < TOKENS_MAX) tokens[*count_out] = daybook_bytes(bytes + begin, i - begin);
        ++*count_out;
        begin = i + 1;
    }
}

static uint64_t token_hash(dbk_slice token, uint32_t at) {
    return dbk_checksum(token.data, token.size, at);
}

static uint64_t mix(const shape *of, uint64_t sum) {
    uint64_t words[2] = {(uint64_t)of->token_count << 33 | (uint64_t)of->goes_on << 32 | of->stars, sum};
    return dbk_checksum(words, sizeof words, 0);
}

static bool is_text(dbk_slice token, char text) {
    return token.size == 1 && *(const char *)token.data == text;
}

static void describe(dbk_slice filter, shape *shape_out, uint64_t *hash_out) {
    dbk_slice tokens[TOKENS_MAX];
    uint32_t count;
    split(filter, tokens, &count);
    *shape_out = (shape){.goes_on = count > TOKENS_MAX};
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count && i < TOKENS_MAX; i++) {
        if (is_text(tokens[i], '>')) {
            shape_out->goes_on = true;
            break;
        }
        if (is_text(tokens[i], '*')) {
            shape_out->stars |= UINT32_C(1) << i;
        } else {
            sum += token_hash(tokens[i], i);
        }
        shape_out->token_count++;
    }
    *hash_out = mix(shape_out, sum);
}

// ---- Filters ----------------------------------------------------------------------------------------------

// The lock is held, here and below.
static watch_set *set_of(dbk_watches *watches, dbk_stream *stream) {
    if (stream->watches != NULL) return stream->watches;
    watch_set *set = dbk_alloc_zeroed(watches->allocator, sizeof *set);
    watch_node **buckets = dbk_alloc_zeroed(watches->allocator, BUCKETS_MIN * sizeof(watch_node *));
    if (set == NULL || buckets == NULL) {
        dbk_free(watches->allocator, set);
        dbk_free(watches->allocator, buckets);
        return NULL;
    }
    set->stream = stream;
    set->buckets = buckets;
    set->bucket_count = BUCKETS_MIN;
    set->next = watches->sets;
    watches->sets = set;
    return stream->watches = set;
}

// As many buckets as nodes. Where memory is out the lists get longer.
static void grow(dbk_watches *watches, watch_set *set) {
    size_t count = set->bucket_count * 2;
    watch_node **buckets = dbk_alloc_zeroed(watches->allocator, count * sizeof(watch_node *));
    if (buckets == NULL) return;
    for (size_t i = 0; i < set->bucket_count; i++) {
        while (set->buckets[i] != NULL) {
            watch_node *node = set->buckets[i];
            set->buckets[i] = node->next;
            node->next = buckets[node->hash & (count - 1)];
            buckets[node->hash & (count - 1)] = node;
        }
    }
    dbk_free(watches->allocator, set->buckets);
    set->buckets = buckets;
    set->bucket_count = count;
}

// SIZE_MAX when memory is out.
static size_t enter_shape(dbk_watches *watches, watch_set *set, const shape *wanted) {
    size_t at = set->shape_count;
    for (size_t i = 0; i < set->shape_count; i++) {
        const shape *known = &set->shapes[i];
        if (known->node_count == 0) {
            at = i;
        } else if (known->token_count == wanted->token_count && known->stars == wanted->stars &&
                   known->goes_on == wanted->goes_on) {
            return i;
        }
    }
    if (at == set->shape_count) {
        shape *shapes =
            dbk_grow_array(watches->allocator, set->shapes, &set->shape_capacity, at + 1, sizeof *shapes);
        if (shapes == NULL) return SIZE_MAX;
        set->shapes = shapes;
        set->shape_count++;
    }
    set->shapes[at] = *wanted;
    return at;
}

static watch_node *find_node(const watch_set *set, uint64_t hash, dbk_slice filter) {
    watch_node *node = set->buckets[hash & (set->bucket_count - 1)];
    while (node != NULL &&
           (node->hash != hash || !dbk_slice_equal(daybook_bytes(node->filter, node->filter_size), filter)))
        node = node->next;
    return node;
}

// The node of a filter, with one link more. NULL when memory is out.
static watch_node *enter_filter(dbk_watches *watches, watch_set *set, dbk_slice filter) {
    shape wanted;
    uint64_t hash;
    describe(filter, &wanted, &hash);
    watch_node *node = find_node(set, hash, filter);
    if (node == NULL) {
        node = dbk_alloc_zeroed(watches->allocator, sizeof *node + filter.size);
        size_t shape_at = node == NULL ? SIZE_MAX : enter_shape(watches, set, &wanted);
        if (shape_at == SIZE_MAX) {
            dbk_free(watches->allocator, node);
            return NULL;
        }
        if (set->node_count >= set->bucket_count) grow(watches, set);
        set->shapes[shape_at].node_count++;
        set->node_count++;
        node->set = set;
        node->hash = hash;
        node->shape_at = (uint32_t)shape_at;
        node->filter_size = filter.size;
        memcpy(node->filter, filter.data, filter.size);
        node->next = set->buckets[hash & (set->bucket_count - 1)];
        set->buckets[hash & (set->bucket_count - 1)] = node;
    }
    node->link_count++;
    return node;
}

static void leave_node(dbk_watches *watches, watch_node *node) {
    if (--node->link_count > 0) return;
    watch_set *set = node->set;
    watch_node **at = &set->buckets[node->hash & (set->bucket_count - 1)];
    while (*at != node) at = &(*at)->next;
    *at = node->next;
    set->shapes[node->shape_at].node_count--;
    set->node_count--;
    dbk_free(watches->allocator, node);
}

static void unlink_all(dbk_watch_links *links) {
    for (size_t i = 0; i < links->count; i++) {
        watch_link *link = &links->links[i];
        if (link->at == NULL) continue;
        *link->at = link->next;
        if (link->next != NULL) link->next->at = link->at;
        link->at = NULL;
    }
}

static void link_all(dbk_watch_links *links) {
    for (size_t i = 0; i < links->count; i++) {
        watch_link *link = &links->links[i];
        link->next = link->node->armed;
        link->at = &link->node->armed;
        if (link->next != NULL) link->next->at = &link->next;
        link->node->armed = link;
    }
}

static void drop_links(dbk_watches *watches, dbk_watch_links *links) {
    if (links == NULL) return;
    unlink_all(links);
    for (size_t i = 0; i < links->count; i++) leave_node(watches, links->links[i].node);
    dbk_free(watches->allocator, links);
}

static dbk_watch_links *new_links(dbk_watches *watches, dbk_stream *stream, const dbk_slice *filters,
                                  size_t count) {
    watch_set *set = set_of(watches, stream);
    dbk_watch_links *links =
        set == NULL ? NULL : dbk_alloc_zeroed(watches->allocator, sizeof *links + count * sizeof(watch_link));
    if (links == NULL) return NULL;
    links->set = set;
    for (; links->count < count; links->count++) {
        links->links[links->count].node = enter_filter(watches, set, filters[links->count]);
        if (links->links[links->count].node == NULL) {
            drop_links(watches, links);
            return NULL;
        }
    }
    return links;
}

dbk_watch_links *dbk_watch_links_new(dbk_watches *watches, dbk_stream *stream, const dbk_slice *filters,
                                     size_t count) {
    dbk_slice everything = daybook_text(">");
    pthread_mutex_lock(&watches->lock);
    dbk_watch_links *links =
        new_links(watches, stream, count == 0 ? &everything : filters, count == 0 ? 1 : count);
    pthread_mutex_unlock(&watches->lock);
    return links;
}

void dbk_watch_links_drop(dbk_watches *watches, dbk_watch_links *links) {
    pthread_mutex_lock(&watches->lock);
    drop_links(watches, links);
    pthread_mutex_unlock(&watches->lock);
}

// ---- Watches ----------------------------------------------------------------------------------------------

static bool is_armed(dbk_watch_owner *owner) {
    return atomic_load_explicit(&owner->armed_count, memory_order_relaxed) > 0;
}

static void take_links(dbk_watch_owner *owner, dbk_watch_links *links) {
    for (size_t i = 0; i < links->count; i++) links->links[i].owner = owner;
    owner->links = links;
}

void dbk_watch_owner_set_links(dbk_watches *watches, dbk_watch_owner *owner, dbk_watch_links *links) {
    pthread_mutex_lock(&watches->lock);
    dbk_watch_links *old = links;
    if (owner->links != NULL) {
        old = owner->links;
        take_links(owner, links);
        if (is_armed(owner)) link_all(links);
    }
    drop_links(watches, old);
    pthread_mutex_unlock(&watches->lock);
}

dbk_watch *dbk_watch_new(dbk_watches *watches, dbk_watch_owner *owner, dbk_watch_links *links,
                         void (*callback)(void *context), void *context) {
    dbk_watch *watch = dbk_alloc_zeroed(watches->allocator, sizeof *watch);
    pthread_mutex_lock(&watches->lock);
    if (watch != NULL) {
        *watch = (dbk_watch){.next = owner->first, .owner = owner, .callback = callback, .context = context};
        owner->first = watch;
    }
    if (watch != NULL && owner->links == NULL) {
        take_links(owner, links);
    } else {
        drop_links(watches, links);
    }
    pthread_mutex_unlock(&watches->lock);
    return watch;
}

// It no longer waits for an event.
static void disarm(dbk_watch *watch, watch_state state) {
    dbk_watch_owner *owner = watch->owner;
    watch->state = state;
    if (atomic_fetch_sub(&owner->armed_count, 1) > 1) return;
    unlink_all(owner->links);
    atomic_fetch_sub(&owner->links->set->stream->watched_count, 1);
}

static void forget_fired(dbk_watches *watches, const dbk_watch *watch) {
    dbk_watch **at = &watches->fired;
    while (*at != watch) at = &(*at)->next_fired;
    *at = watch->next_fired;
    if (*at == NULL) watches->fired_end = at;
}

void dbk_watch_end(dbk_watches *watches, dbk_watch *watch) {
    pthread_mutex_lock(&watches->lock);
    dbk_watch_owner *owner = watch->owner;
    if (watch->state == ARMED) disarm(watch, IDLE);
    if (watch->state == FIRED) forget_fired(watches, watch);
    dbk_watch **at = &owner->first;
    while (*at != watch) at = &(*at)->next;
    *at = watch->next;
    while (watch->call_count > 0) pthread_cond_wait(&watches->called, &watches->lock);
    if (owner->first == NULL) {
        drop_links(watches, owner->links);
        owner->links = NULL;
    }
    pthread_mutex_unlock(&watches->lock);
    dbk_free(watches->allocator, watch);
}

void dbk_watch_arm(dbk_watches *watches, dbk_watch *watch) {
    pthread_mutex_lock(&watches->lock);
    if (watch->state == IDLE) {
        dbk_watch_owner *owner = watch->owner;
        watch->state = ARMED;
        if (atomic_fetch_add(&owner->armed_count, 1) == 0) {
            link_all(owner->links);
            atomic_fetch_add(&owner->links->set->stream->watched_count, 1);
        }
    }
    pthread_mutex_unlock(&watches->lock);
    // In one order with who publishes: it makes an event visible and then looks for watches.
    atomic_thread_fence(memory_order_seq_cst);
}

// ---- Firing -----------------------------------------------------------------------------------------------

static void fire(dbk_watches *watches, dbk_watch_owner *owner) {
    for (dbk_watch *watch = owner->first; watch != NULL; watch = watch->next) {
        if (watch->state != ARMED) continue;
        disarm(watch, FIRED);
        watch->next_fired = NULL;
        *watches->fired_end = watch;
        watches->fired_end = &watch->next_fired;
    }
}

void dbk_watches_fire(dbk_watches *watches, dbk_watch_owner *owner) {
    if (atomic_load(&owner->armed_count) == 0) return;
    pthread_mutex_lock(&watches->lock);
    fire(watches, owner);
    pthread_mutex_unlock(&watches->lock);
}

static void fire_node(dbk_watches *watches, const watch_node *node) {
    while (node->armed != NULL) fire(watches, node->armed->owner); // takes its links out of all lists
}

static void match(dbk_watches *watches, const watch_set *set, dbk_slice subject) {
    dbk_slice tokens[TOKENS_MAX];
    uint64_t hashes[TOKENS_MAX];
    uint32_t count;
    split(subject, tokens, &count);
    for (uint32_t i = 0; i < count && i < TOKENS_MAX; i++) hashes[i] = token_hash(tokens[i], i);
    for (size_t i = 0; i < set->shape_count; i++) {
        const shape *of = &set->shapes[i];
        if (of->node_count == 0 || (of->goes_on ? count < of->token_count : count != of->token_count))
            continue;
        uint64_t sum = 0;
        for (uint32_t at = 0; at < of->token_count; at++)
            if ((of->stars >> at & 1) == 0) sum += hashes[at];
        uint64_t hash = mix(of, sum);
        for (const watch_node *node = set->buckets[hash & (set->bucket_count - 1)]; node != NULL;
             node = node->next) {
            if (node->hash == hash && node->armed != NULL &&
                daybook_filter_matches(daybook_bytes(node->filter, node->filter_size), subject))
                fire_node(watches, node);
        }
    }
}

void dbk_watches_note_event(dbk_watches *watches, dbk_stream *stream, dbk_slice subject) {
    pthread_mutex_lock(&watches->lock);
    if (stream->watches != NULL) match(watches, stream->watches, subject);
    pthread_mutex_unlock(&watches->lock);
}

void dbk_watches_call(dbk_watches *watches) {
    pthread_mutex_lock(&watches->lock);
    while (watches->fired != NULL) {
        dbk_watch *watch = watches->fired;
        watches->fired = watch->next_fired;
        if (watches->fired == NULL) watches->fired_end = &watches->fired;
        watch->state = IDLE;
        watch->call_count++;
        pthread_mutex_unlock(&watches->lock);
        watch->callback(watch->context);
        pthread_mutex_lock(&watches->lock);
        if (--watch->call_count == 0) pthread_cond_broadcast(&watches->called);
    }
    pthread_mutex_unlock(&watches->lock);
}
