// SPDX-License-Identifier: Apache-2.0
//
// `demo`: a shop to play with. Customers place orders, pay (sometimes at the third attempt), change their
// address, add items; the warehouse runs short and restocks; parcels are late; some orders are cancelled and
// some come back. About five events per order, in five streams, with correlation, causation, actors, tags and
// headers.
//
// The shop is a simulation: every living order waits in a heap for its next event, so lives overlap as in a
// real log, and events are appended in the order of what happens. An order draws its life from a generator
// seeded by (seed, order number), so the same seed gives the same shop, and more orders only add to it.
// Lengths are skewed: most orders take four or five events, a few dozens.
//
// Events carry ids of their own (they look like UUIDv7 of the simulated time), because a cause must be named
// before it is stored. They go out as atomic batches of BATCH_COUNT events. Memory: the living orders, a bit
// per customer, one batch. One thread.
#include "cli/cli.h"

#include "cli/progress.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCH_COUNT 2000u
#define BATCH_TEXT_SIZE (4u * 1024 * 1024) // room for the texts of a batch: 2 KiB per event
#define EVENT_TEXT_SIZE_MAX 2048u
#define SECOND_NS INT64_C(1000000000)
#define MINUTE_NS (60 * SECOND_NS)
#define HOUR_NS (60 * MINUTE_NS)
#define DAY_NS (24 * HOUR_NS)
#define SHOP_OPENS_NS (INT64_C(1767592800) * SECOND_NS) // 2026-01-05T06:00:00Z, a Monday
#define SKU_COUNT 240u
#define ORDER_COUNT_MAX UINT64_C(100000000)

// What an order does next. Each step emits an event or two and names the next step and when it comes.
typedef enum step {
    PLACE,
    ADD_ITEM,
    MOVE,
    PAY,
    PAID,
    SHIP,
    LATE,
    DELIVER,
    GIVE_BACK,
    REFUND,
    CANCEL,
    DONE
} step;

typedef struct order {
    int64_t due_ns; // of the next step
    uint64_t number;
    uint64_t random;
    uint64_t total_cents;
    uint32_t customer;
    uint16_t sku;
    uint8_t step;
    uint8_t payment_attempts;
    uint8_t items_to_add;
    uint8_t delays_to_come;
    bool will_move;
    uint32_t version; // events of the order itself so far
    char cause[37];   // id of the last event of its life
} order;

typedef struct demo_shop {
    cli_context *context;
    uint64_t seed;
    uint64_t order_count;
    uint64_t customer_count;
    uint8_t *is_registered; // a bit per customer
    uint32_t sold[SKU_COUNT];

    order *heap; // least due time first
    size_t heap_size, heap_capacity;

    daybook_event *events;
    daybook_slice *tags;     // 4 per event
    daybook_header *headers; // 1 per event
    size_t event_count;
    char *text;
    size_t text_size;
    uint64_t appended;
    int outcome;

    // For what to try next.
    uint64_t show_order;
    uint32_t show_version;
    char coupon[32];
    cli_progress progress;
} demo_shop;

// --- Chance ----------------------------------------------------------------------------------------------

// splitmix64 (Steele, Lea, Flood 2014): every seed gives a good sequence.
static uint64_t draw(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static uint64_t below(order *from, uint64_t bound) {
    return draw(&from->random) % bound;
}

static bool chance(order *from, unsigned percent) {
    return below(from, 100) < percent;
}

static int64_t between(order *from, int64_t low, int64_t high) {
    return low + (int64_t)below(from, (uint64_t)(high - low));
}

// Few are large: each further one has the chance `percent`.
static uint8_t tail(order *from, unsigned percent, uint8_t most) {
    uint8_t count = 0;
    while (count < most && chance(from, percent)) count++;
    return count;
}

// Low numbers are drawn far more often than high ones, as with customers and goods.
static uint64_t skewed(order *from, uint64_t bound) {
    uint64_t a = below(from, bound), b = below(from, bound), c = below(from, bound);
    uint64_t least = a < b ? a : b;
    return least < c ? least : c;
}

// --- The batch -------------------------------------------------------------------------------------------

static void flush_batch(demo_shop *shop) {
    if (shop->event_count == 0 || shop->outcome != CLI_FINE) return;
    daybook_error error;
    daybook_error_init(&error);
    daybook_append_options options;
    daybook_append_options_init(&options);
    daybook_status status =
        daybook_append(shop->context->store, shop->events, shop->event_count, &options, NULL, &error);
    if (status != DAYBOOK_OK) shop->outcome = cli_fail_error(shop->context, status, &error, NULL);
    shop->appended += shop->event_count;
    shop->event_count = 0;
    shop->text_size = 0;
}

// Text that lives until the batch is flushed. The texts of one event fit EVENT_TEXT_SIZE_MAX by construction,
// and a batch is flushed before there is less room than that.
static daybook_slice text_of(demo_shop *shop, const char *format, ...) CLI_PRINTF(2, 3);

static daybook_slice text_of(demo_shop *shop, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *to = shop->text + shop->text_size;
    int size = vsnprintf(to, BATCH_TEXT_SIZE - shop->text_size, format, arguments);
    va_end(arguments);
    if (size < 0 || (size_t)size >= BATCH_TEXT_SIZE - shop->text_size) size = 0;
    shop->text_size += (size_t)size + 1;
    return (daybook_slice){to, (size_t)size};
}

// UUIDv7 of the simulated time, from the order's own chance.
static daybook_slice make_id(demo_shop *shop, order *from) {
    uint64_t ms = (uint64_t)(from->due_ns / 1000000), a = draw(&from->random), b = draw(&from->random);
    return text_of(shop, "%08llx-%04llx-7%03llx-%04llx-%012llx", (unsigned long long)(ms >> 16),
                   (unsigned long long)(ms & 0xFFFF), (unsigned long long)(a & 0xFFF),
                   (unsigned long long)(0x8000 | (b >> 48 & 0x3FFF)),
                   (unsigned long long)(b & 0xFFFFFFFFFFFF));
}

// A new event of the order's life, caused by the one before. Subject and data are the caller's.
static daybook_event *begin_event(demo_shop *shop, order *from, const char *actor) {
    if (shop->event_count == BATCH_COUNT || BATCH_TEXT_SIZE - shop->text_size < EVENT_TEXT_SIZE_MAX)
        flush_batch(shop);
    size_t index = shop->event_count++;
    daybook_event *event = &shop->events[index];
    daybook_event_init(event);
    event->time_ns = from->due_ns;
    event->id = make_id(shop, from);
    event->correlation = text_of(shop, "order-%llu", (unsigned long long)from->number);
    if (from->cause[0] != '\0') event->causation = text_of(shop, "%s", from->cause);
    event->actor = daybook_text(actor);
    event->tags = &shop->tags[4 * index];
    event->headers = &shop->headers[index];
    memcpy(from->cause, event->id.data, sizeof from->cause); // with its NUL
    shop->tags[4 * index] = text_of(shop, "order:%llu", (unsigned long long)from->number);
    shop->tags[4 * index + 1] = text_of(shop, "customer:c%u", from->customer);
    event->tag_count = 2;
    return event;
}

static void add_tag(demo_shop *shop, daybook_event *event, daybook_slice tag) {
    shop->tags[(size_t)(event->tags - shop->tags) + event->tag_count++] = tag;
}

static void add_header(demo_shop *shop, daybook_event *event, const char *name, const char *value) {
    shop->headers[event->headers - shop->headers] = (daybook_header){daybook_text(name), daybook_text(value)};
    event->header_count = 1;
}

static daybook_event *order_event(demo_shop *shop, order *from, const char *type, const char *actor) {
    daybook_event *event = begin_event(shop, from, actor);
    event->subject = text_of(shop, "orders.%llu.%s", (unsigned long long)from->number, type);
    from->version++;
    return event;
}

#define MONEY "%llu.%02llu"
#define CENTS(amount) (unsigned long long)((amount) / 100), (unsigned long long)((amount) % 100)

// --- The life of an order --------------------------------------------------------------------------------

static void then(order *from, step next, int64_t least_ns, int64_t most_ns) {
    from->step = (uint8_t)next;
    from->due_ns += between(from, least_ns, most_ns);
}

static void register_customer(demo_shop *shop, order *from) {
    static const char *const first[] = {"Ada",     "Grace",     "Edsger", "Barbara", "Donald", "Margaret",
                                        "Niklaus", "Frances",   "Tony",   "Radia",   "Ken",    "Hedy",
                                        "Alan",    "Katherine", "Dennis", "Sophie"};
    static const char *const last[] = {"Byron",    "Murray", "Wybe",     "Huberman", "Ervin", "Heafield",
                                       "Emil",     "Allen",  "Hoare",    "Perl",     "Lane",  "Kiesler",
                                       "Mathison", "Goble",  "Alistair", "Wilson"};
    static const char *const towns[] = {"Lisbon", "Zürich", "Oslo", "Kraków",
                                        "Ghent",  "Turin",  "Cork", "Malmö"};
    if (shop->is_registered[from->customer / 8] >> (from->customer % 8) & 1) return;
    shop->is_registered[from->customer / 8] |= (uint8_t)(1u << (from->customer % 8));
    uint64_t who = from->customer * UINT64_C(2654435761) >> 3;
    daybook_event *event = begin_event(shop, from, "website");
    event->subject = text_of(shop, "customers.c%u.registered", from->customer);
    event->data = text_of(shop, "{\"name\":\"%s %s\",\"city\":\"%s\",\"since\":%u}", first[who % 16],
                          last[who / 16 % 16], towns[who / 256 % 8], 2026u);
    from->due_ns += between(from, 20 * SECOND_NS, 5 * MINUTE_NS);
}

static unsigned price_cents(unsigned sku) {
    return 499 + (sku * 2654435761u >> 8) % 24000;
}

static void place(demo_shop *shop, order *from) {
    static const char *const channels[] = {"web", "web", "web", "app", "app", "phone"};
    register_customer(shop, from);
    from->sku = (uint16_t)skewed(from, SKU_COUNT);
    unsigned quantity = 1 + tail(from, 25, 9);
    from->total_cents = (uint64_t)quantity * price_cents(from->sku);
    daybook_event *event = order_event(shop, from, "placed", "website");
    event->actor = text_of(shop, "c%u", from->customer);
    event->data =
        text_of(shop,
                "{\"status\":\"placed\",\"customer\":\"c%u\",\"items\":{\"sku-%u\":{\"quantity\":%u,"
                "\"price\":" MONEY "}},\"total\":" MONEY ",\"currency\":\"EUR\"}",
                from->customer, from->sku, quantity, CENTS(price_cents(from->sku)), CENTS(from->total_cents));
    add_tag(shop, event, text_of(shop, "sku:%u", from->sku));
    add_header(shop, event, "channel", channels[below(from, 6)]);
    if (chance(from, 3)) { // a welcome coupon may be used once: made for a dynamic consistency boundary
        daybook_slice tag = text_of(shop, "coupon:WELCOME-%llu", (unsigned long long)from->number);
        add_tag(shop, event, tag);
        (void)snprintf(shop->coupon, sizeof shop->coupon, "%s", (const char *)tag.data);
    }
    from->items_to_add = chance(from, 7) ? (uint8_t)(1 + tail(from, 55, 40)) : 0;
    from->delays_to_come = chance(from, 7) ? (uint8_t)(1 + tail(from, 45, 12)) : 0;
    from->will_move = chance(from, 6);
    if (from->items_to_add > 0) {
        then(from, ADD_ITEM, MINUTE_NS, 20 * MINUTE_NS);
    } else if (chance(from, 11)) {
        then(from, CANCEL, 10 * MINUTE_NS, 2 * DAY_NS);
    } else {
        then(from, PAY, 30 * SECOND_NS, 40 * MINUTE_NS);
    }
}

static void add_item(demo_shop *shop, order *from) {
    unsigned sku = (unsigned)skewed(from, SKU_COUNT);
    from->total_cents += price_cents(sku);
    daybook_event *event = order_event(shop, from, "item.added", "website");
    event->actor = text_of(shop, "c%u", from->customer);
    event->data = text_of(shop,
                          "{\"items\":{\"sku-%u\":{\"quantity\":1,\"price\":" MONEY "}},\"total\":" MONEY "}",
                          sku, CENTS(price_cents(sku)), CENTS(from->total_cents));
    add_tag(shop, event, text_of(shop, "sku:%u", sku));
    then(from, --from->items_to_add > 0 ? ADD_ITEM : PAY, MINUTE_NS, 30 * MINUTE_NS);
}

static void move(demo_shop *shop, order *from) {
    static const char *const streets[] = {
        "Rua Augusta", "Bahnhofstrasse", "Karl Johans gate",       "Floriańska",
        "Veldstraat",  "Via Po",         "Oliver Plunkett Street", "Södra Förstadsgatan"};
    daybook_event *event = order_event(shop, from, "address.changed", "website");
    event->actor = text_of(shop, "c%u", from->customer);
    event->data = text_of(shop, "{\"address\":{\"street\":\"%s %u\",\"note\":null}}", streets[below(from, 8)],
                          (unsigned)below(from, 180) + 1);
    then(from, SHIP, HOUR_NS, 20 * HOUR_NS);
}

static void pay(demo_shop *shop, order *from) {
    static const char *const methods[] = {"card", "card", "card", "transfer", "wallet"};
    const char *method = methods[below(from, 5)];
    bool is_declined = chance(from, 8);
    from->payment_attempts++;
    daybook_event *event = begin_event(shop, from, "payments");
    event->subject = text_of(shop, "payments.%llu.%s", (unsigned long long)from->number,
                             is_declined ? "declined" : "received");
    event->data = text_of(shop,
                          "{\"order\":\"%llu\",\"method\":\"%s\",\"amount\":" MONEY ",\"attempt\":%u%s}",
                          (unsigned long long)from->number, method, CENTS(from->total_cents),
                          from->payment_attempts, is_declined ? ",\"reason\":\"refused by the bank\"" : "");
    add_header(shop, event, "gateway", chance(from, 70) ? "north" : "south");
    if (!is_declined) {
        then(from, PAID, 200 * (SECOND_NS / 1000), 3 * SECOND_NS);
    } else if (from->payment_attempts < 3) {
        then(from, PAY, 5 * MINUTE_NS, 9 * HOUR_NS);
    } else {
        then(from, CANCEL, HOUR_NS, 2 * DAY_NS);
    }
}

// Stock is counted by the shop as a whole; the sale that empties a shelf brings new goods.
static void sell(demo_shop *shop, order *from) {
    if (++shop->sold[from->sku] % 30 != 0) return;
    daybook_event *event = begin_event(shop, from, "warehouse");
    event->subject = text_of(shop, "inventory.sku-%u.restocked", from->sku);
    event->data = text_of(shop, "{\"quantity\":%u,\"sold\":%u,\"shelf\":\"%c%u\"}", 30u,
                          shop->sold[from->sku], (char)('A' + from->sku % 8), (unsigned)from->sku / 8 + 1);
    add_tag(shop, event, text_of(shop, "sku:%u", from->sku));
}

static void paid(demo_shop *shop, order *from) {
    daybook_event *event = order_event(shop, from, "paid", "payments");
    event->data = text_of(shop, "{\"status\":\"paid\",\"paid\":" MONEY "}", CENTS(from->total_cents));
    if (chance(from, 8)) {
        from->due_ns += between(from, SECOND_NS, MINUTE_NS);
        daybook_event *reserved = begin_event(shop, from, "warehouse");
        reserved->subject = text_of(shop, "inventory.sku-%u.reserved", from->sku);
        reserved->data = text_of(shop, "{\"order\":\"%llu\",\"last_reserved\":\"%llu\"}",
                                 (unsigned long long)from->number, (unsigned long long)from->number);
        add_tag(shop, reserved, text_of(shop, "sku:%u", from->sku));
    }
    sell(shop, from);
    if (from->will_move) {
        then(from, MOVE, 10 * MINUTE_NS, 10 * HOUR_NS);
    } else if (chance(from, 3)) {
        then(from, CANCEL, 10 * MINUTE_NS, 10 * HOUR_NS);
    } else {
        then(from, SHIP, 2 * HOUR_NS, 40 * HOUR_NS);
    }
}

static void ship(demo_shop *shop, order *from) {
    static const char *const carriers[] = {"Postal", "Swift", "Bike"};
    const char *carrier = carriers[below(from, 3)];
    daybook_event *event = order_event(shop, from, "shipped", "warehouse");
    event->data = text_of(shop, "{\"status\":\"shipped\",\"carrier\":\"%s\",\"parcel\":\"p%llu\"}", carrier,
                          (unsigned long long)from->number);
    if (from->delays_to_come > 0) {
        then(from, LATE, 10 * HOUR_NS, 2 * DAY_NS);
    } else {
        then(from, DELIVER, 18 * HOUR_NS, 4 * DAY_NS);
    }
}

static void late(demo_shop *shop, order *from) {
    static const char *const reasons[] = {"weather", "nobody at home", "wrong depot", "customs"};
    daybook_event *event = begin_event(shop, from, "carrier");
    event->subject = text_of(shop, "shipments.p%llu.delayed", (unsigned long long)from->number);
    event->data = text_of(shop, "{\"order\":\"%llu\",\"reason\":\"%s\"}", (unsigned long long)from->number,
                          reasons[below(from, 4)]);
    then(from, --from->delays_to_come > 0 ? LATE : DELIVER, 6 * HOUR_NS, 2 * DAY_NS);
}

static void deliver(demo_shop *shop, order *from) {
    daybook_event *event = order_event(shop, from, "delivered", "carrier");
    event->data = text_of(shop, "{\"status\":\"delivered\"}");
    if (chance(from, 8)) {
        from->due_ns += SECOND_NS;
        daybook_event *parcel = begin_event(shop, from, "carrier");
        parcel->subject = text_of(shop, "shipments.p%llu.signed", (unsigned long long)from->number);
        parcel->data = text_of(shop, "{\"order\":\"%llu\",\"by\":\"%s\"}", (unsigned long long)from->number,
                               chance(from, 80) ? "customer" : "neighbour");
    }
    then(from, chance(from, 6) ? GIVE_BACK : DONE, DAY_NS, 12 * DAY_NS);
}

static void give_back(demo_shop *shop, order *from) {
    static const char *const reasons[] = {"does not fit", "damaged", "not as described", "changed my mind"};
    daybook_event *event = order_event(shop, from, "returned", "warehouse");
    event->data = text_of(shop, "{\"status\":\"returned\",\"reason\":\"%s\"}", reasons[below(from, 4)]);
    then(from, REFUND, HOUR_NS, 3 * DAY_NS);
}

static void refund(demo_shop *shop, order *from) {
    daybook_event *event = begin_event(shop, from, "payments");
    event->subject = text_of(shop, "payments.%llu.refunded", (unsigned long long)from->number);
    event->data = text_of(shop, "{\"order\":\"%llu\",\"refunded\":" MONEY "}",
                          (unsigned long long)from->number, CENTS(from->total_cents));
    from->step = DONE;
}

static void cancel(demo_shop *shop, order *from) {
    daybook_event *event = order_event(shop, from, "cancelled", "support");
    event->data = text_of(shop, "{\"status\":\"cancelled\"}");
    from->step = DONE;
}

static void live(demo_shop *shop, order *from) {
    static void (*const steps[])(demo_shop *, order *) = {
        [PLACE] = place,         [ADD_ITEM] = add_item, [MOVE] = move,     [PAY] = pay,
        [PAID] = paid,           [SHIP] = ship,         [LATE] = late,     [DELIVER] = deliver,
        [GIVE_BACK] = give_back, [REFUND] = refund,     [CANCEL] = cancel,
    };
    steps[from->step](shop, from);
    // A good one to look at: a short story with a turn in it.
    bool has_turn = from->step == REFUND || (from->will_move && from->step == DONE);
    if (has_turn && shop->show_version == 0 && from->version >= 5 && from->version <= 9) {
        shop->show_order = from->number;
        shop->show_version = from->version;
    }
}

// --- The heap of living orders ---------------------------------------------------------------------------

static bool is_sooner(const order *a, const order *b) {
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->number < b->number;
}

static void sink(demo_shop *shop, size_t at) {
    order moving = shop->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= shop->heap_size) break;
        if (child + 1 < shop->heap_size && is_sooner(&shop->heap[child + 1], &shop->heap[child])) child++;
        if (!is_sooner(&shop->heap[child], &moving)) break;
        shop->heap[at] = shop->heap[child];
        at = child;
    }
    shop->heap[at] = moving;
}

static bool add_order(demo_shop *shop, const order *added) {
    if (shop->heap_size == shop->heap_capacity) {
        size_t capacity = shop->heap_capacity == 0 ? 1024 : shop->heap_capacity * 2;
        order *heap = realloc(shop->heap, capacity * sizeof *heap);
        if (heap == NULL) return false;
        shop->heap = heap;
        shop->heap_capacity = capacity;
    }
    size_t at = shop->heap_size++;
    while (at > 0 && is_sooner(added, &shop->heap[(at - 1) / 2])) {
        shop->heap[at] = shop->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    shop->heap[at] = *added;
    return true;
}

static order new_order(const demo_shop *shop, uint64_t number, int64_t arrival_ns) {
    order added = {.due_ns = arrival_ns, .number = number, .step = PLACE};
    added.random = shop->seed * UINT64_C(0xD1342543DE82EF95) + number;
    (void)draw(&added.random);
    added.customer = (uint32_t)skewed(&added, shop->customer_count) + 1;
    return added;
}

// Quiet nights, busy evenings: seconds between two orders, by hour of the day.
static int64_t next_gap_ns(order *from, int64_t now_ns) {
    static const uint8_t mean_seconds[24] = {200, 240, 240, 240, 200, 160, 120, 90, 70, 60, 60, 60,
                                             55,  60,  65,  65,  60,  55,  45,  40, 40, 50, 80, 130};
    int64_t mean_ns = mean_seconds[now_ns / HOUR_NS % 24] * SECOND_NS;
    return between(from, 0, mean_ns) + between(from, 0, mean_ns);
}

// Run the shop: the next thing to happen is the next arrival or the next step of a living order.
static int simulate(demo_shop *shop) {
    order arrivals = {.random = shop->seed ^ UINT64_C(0x5DEECE66D)};
    uint64_t arrived = 0;
    int64_t arrival_ns = SHOP_OPENS_NS;
    while (shop->outcome == CLI_FINE && !cli_is_cut(shop->context) &&
           (arrived < shop->order_count || shop->heap_size > 0)) {
        bool is_arrival = arrived < shop->order_count &&
                          (shop->heap_size == 0 || arrival_ns <= shop->heap[0].due_ns);
        if (is_arrival) {
            order added = new_order(shop, ++arrived, arrival_ns);
            if (!add_order(shop, &added)) return cli_fail(shop->context, DAYBOOK_ENOMEM, "out of memory");
            arrival_ns += next_gap_ns(&arrivals, arrival_ns);
            if (arrived % 256 == 0) cli_progress_update(&shop->progress, arrived, shop->order_count);
            continue;
        }
        live(shop, &shop->heap[0]);
        if (shop->heap[0].step == DONE) shop->heap[0] = shop->heap[--shop->heap_size];
        if (shop->heap_size > 0) sink(shop, 0);
    }
    flush_batch(shop);
    return cli_is_cut(shop->context) ? CLI_ERROR : shop->outcome; // nobody is there to be told
}

// --- The verb --------------------------------------------------------------------------------------------

static int add_streams(cli_context *context) {
    static const struct {
        const char *name, *subjects, *description;
    } streams[] = {
        {"ORDERS", "orders.>", "what customers ordered and what became of it"},
        {"CUSTOMERS", "customers.>", "who they are"},
        {"PAYMENTS", "payments.>", "what the payment gateways said"},
        {"INVENTORY", "inventory.>", "what lies on the shelves"},
        {"SHIPMENTS", "shipments.>", "what the carriers reported"},
    };
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        daybook_stream_config config;
        daybook_stream_config_init(&config);
        daybook_slice subjects = daybook_text(streams[i].subjects);
        config.name = daybook_text(streams[i].name);
        config.subjects = &subjects;
        config.subject_count = 1;
        config.description = daybook_text(streams[i].description);
        daybook_error error;
        daybook_error_init(&error);
        daybook_status status = daybook_stream_add(context->store, &config, &error);
        if (status != DAYBOOK_OK) return cli_fail_error(context, status, &error, NULL);
        cli_note_created(context, "stream", config.name);
    }
    return CLI_FINE;
}

static int count_stream(void *count, const daybook_stream_info *info) {
    (void)info;
    ++*(unsigned *)count;
    return 0;
}

// The shop wants a store of its own: mixed with other events nothing in it would add up.
static int check_empty(cli_context *context) {
    unsigned count = 0;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_stream_list(context->store, count_stream, &count, &error);
    if (status != DAYBOOK_OK) return cli_fail_error(context, status, &error, NULL);
    if (count == 0) return CLI_FINE;
    return cli_fail(context, DAYBOOK_EEXISTS,
                    "cannot open a shop in %s: it holds a store with %u streams already; name another folder",
                    context->store_path, count);
}

// A path a shell takes as one word.
static void put_quoted(cli_output *out, const char *path) {
    if (path[strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,:@%")] ==
        '\0') {
        cli_puts(out, path);
        return;
    }
    cli_put_char(out, '\'');
    for (; *path != '\0'; path++) {
        if (*path == '\'') cli_puts(out, "'\\'");
        cli_put_char(out, *path);
    }
    cli_put_char(out, '\'');
}

static void put_hint(demo_shop *shop, const char *comment, const char *format, ...) CLI_PRINTF(3, 4);

static void put_hint(demo_shop *shop, const char *comment, const char *format, ...) {
    cli_output *out = shop->context->out;
    char command[300];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    cli_puts(out, "  daybook -s ");
    put_quoted(out, shop->context->store_path);
    cli_put_format(out, " %-38s  # %s\n", command, comment);
}

static void report(demo_shop *shop, double seconds) {
    cli_output *out = shop->context->out;
    uint64_t rate = seconds > 0 ? (uint64_t)((double)shop->appended / seconds) : 0;
    if (shop->context->json) {
        cli_put_format(out, "{\"orders\":%llu,\"events\":%llu,\"seconds\":%.3f,\"rate\":%llu}\n",
                       (unsigned long long)shop->order_count, (unsigned long long)shop->appended, seconds,
                       (unsigned long long)rate);
        return;
    }
    char orders[32], events[32], rate_text[32];
    cli_put_format(out, "A shop with %s order%s: %s events in %s, %.2f s, %s events/s\n\n",
                   cli_grouped(shop->order_count, orders), shop->order_count == 1 ? "" : "s",
                   cli_grouped(shop->appended, events), shop->context->store_path, seconds,
                   cli_grouped(rate, rate_text));
    unsigned long long number = shop->show_version == 0 ? 1 : shop->show_order;
    cli_puts(out, "Try next:\n");
    put_hint(shop, "what happened to one order", "read 'orders.%llu.>'", number);
    put_hint(shop, "its state, folded from these events", "state orders.%llu", number);
    put_hint(shop, "as it was at its second event", "state orders.%llu --at 2", number);
    put_hint(shop, "what each event changed", "state orders.%llu --history", number);
    put_hint(shop, "its whole story, over all streams", "trace order-%llu", number);
    put_hint(shop, "how it came to this", "why orders.%llu@2", number);
    put_hint(shop, "what is going on", "read --last 5");
    if (shop->coupon[0] != '\0') {
        char command[200];
        (void)snprintf(command, sizeof command,
                       "append orders.new.placed --tag %s --fail-if 'tag=%s' --after 0", shop->coupon,
                       shop->coupon);
        put_hint(shop, "a coupon works once: refused", "%s", command);
    }
}

int cli_run_demo(cli_context *context) {
    demo_shop shop = {.context = context, .outcome = CLI_FINE};
    context->store_path = context->positionals[0];
    shop.order_count = cli_number(context, "orders", 1000);
    shop.seed = cli_number(context, "seed", 1);
    if (shop.order_count == 0 || shop.order_count > ORDER_COUNT_MAX)
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot run a shop with %llu orders: give --orders 1 to %llu",
                        (unsigned long long)shop.order_count, (unsigned long long)ORDER_COUNT_MAX);
    int outcome = cli_check_store_path(context);
    if (outcome == CLI_FINE) outcome = cli_open_store(context, CLI_CREATE);
    if (outcome == CLI_FINE) outcome = check_empty(context);
    if (outcome == CLI_FINE) outcome = add_streams(context);
    if (outcome != CLI_FINE) return outcome;

    shop.customer_count = shop.order_count / 3 + 1;
    shop.is_registered = calloc(shop.customer_count / 8 + 1, 1);
    shop.events = calloc(BATCH_COUNT, sizeof *shop.events);
    shop.tags = calloc((size_t)4 * BATCH_COUNT, sizeof *shop.tags);
    shop.headers = calloc(BATCH_COUNT, sizeof *shop.headers);
    shop.text = malloc(BATCH_TEXT_SIZE);
    cli_progress_init(&shop.progress, context, "selling", "orders");
    if (shop.is_registered == NULL || shop.events == NULL || shop.tags == NULL || shop.headers == NULL ||
        shop.text == NULL) {
        outcome = cli_fail(context, DAYBOOK_ENOMEM, "out of memory");
    } else {
        outcome = simulate(&shop);
    }
    cli_progress_end(&shop.progress);
    if (outcome == CLI_FINE) report(&shop, cli_progress_seconds(&shop.progress));
    free(shop.is_registered);
    free(shop.events);
    free(shop.tags);
    free(shop.headers);
    free(shop.text);
    free(shop.heap);
    return outcome;
}
