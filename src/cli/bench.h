// SPDX-License-Identifier: Apache-2.0
//
// What the parts of `bench` share. A row is measured by a function in a process of its own (so that its
// memory is its own and a crash costs one row); it fills a cli_bench_result, which travels back over a pipe
// and therefore holds no pointers.
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "cli/cli.h"
#include "cli/latencies.h"

#include <stdbool.h>

#define CLI_BENCH_PATH_SIZE 4096
#define CLI_BENCH_NAME_SIZE 48

typedef struct cli_bench {
    cli_context *context;
    char directory[CLI_BENCH_PATH_SIZE]; // the fresh folder
    const char *kept;                    // where the stores of orders stay, or NULL: in the fresh folder
    uint64_t event_count;                // --events
    double scale;                        // 1 for full measuring time, less for small --events
} cli_bench;

typedef struct cli_bench_result {
    double value;
    double floor; // 0: none
    bool has_percentiles;
    double p50, p99, p999; // us; of rows whose unit is ms, ms
} cli_bench_result;

typedef struct cli_bench_row {
    const char *name;
    const char *unit;
    const char *target;     // for people
    uint64_t events_needed; // below this many --events nothing is said about the target
    bool (*is_met)(const cli_bench_result *result);
    // 0 or the exit status of the failure it reported.
    int (*run)(cli_bench *bench, cli_bench_result *result_out);
} cli_bench_row;

// In bench_append.c.
int cli_bench_append_1(cli_bench *bench, cli_bench_result *result_out);
int cli_bench_append_64(cli_bench *bench, cli_bench_result *result_out);
int cli_bench_append_batch(cli_bench *bench, cli_bench_result *result_out);
int cli_bench_append_sustained(cli_bench *bench, cli_bench_result *result_out);
int cli_bench_condition(cli_bench *bench, cli_bench_result *result_out);
int cli_bench_memory(cli_bench *bench, cli_bench_result *result_out);
// In bench_read.c.
int cli_bench_load(cli_bench *bench, cli_bench_result *result_out);
int cli_bench_load_spread(cli_bench *bench, cli_bench_result *result_out);
int cli_bench_replay(cli_bench *bench, cli_bench_result *result_out);
int cli_bench_open_clean(cli_bench *bench, cli_bench_result *result_out);
int cli_bench_open_killed(cli_bench *bench, cli_bench_result *result_out);
int cli_bench_disk(cli_bench *bench, cli_bench_result *result_out);

// --- Latencies ---

// p50, p99 and p99.9 into the result.
void cli_latencies_report(const cli_latencies *latencies, cli_bench_result *result_out);

// --- Stores and events of the rows (bench_store.c). ---

typedef struct cli_bench_random {
    uint64_t state;
} cli_bench_random;

uint64_t cli_bench_draw(cli_bench_random *random);

// "<folder>/<name>" into `out`: the kept folder for stores of orders, the fresh one for all else.
void cli_bench_path(const cli_bench *bench, const char *name, char out[CLI_BENCH_PATH_SIZE]);
// Open the store of that name in the folder, made if absent. 0 or exit status.
int cli_bench_open(cli_bench *bench, const char *name, daybook_store **store_out);
int cli_bench_close(cli_bench *bench, daybook_store *store);
int cli_bench_add_stream(cli_bench *bench, daybook_store *store, const char *name, const char *subjects);
// Remove a folder with all in it. 0 or errno.
int cli_bench_remove_tree(const char *path);

// A pool of events with 256 bytes of JSON-like data under bench.<n>.measured.
typedef struct cli_bench_pool {
    daybook_event *events;
    size_t count;
    char *text;
} cli_bench_pool;

#define CLI_BENCH_BATCH_COUNT 1000u
#define CLI_BENCH_DATA_SIZE 256u

int cli_bench_pool_make(cli_bench *bench, size_t count, cli_bench_pool *pool_out);
void cli_bench_pool_free(cli_bench_pool *pool);

// An order's event with three tags, about 376 bytes as JSON; the same numbers give the same event.
#define CLI_BENCH_ORDER_EVENT_COUNT 10u // events of an aggregate
#define CLI_BENCH_ORDER_TEXT_SIZE 640u

typedef struct cli_bench_order_event {
    daybook_event event;
    daybook_slice tags[4];
    char text[CLI_BENCH_ORDER_TEXT_SIZE];
    size_t json_size; // of {"subject":..,"tags":[..],"data":..}
} cli_bench_order_event;

void cli_bench_make_order_event(uint64_t order, unsigned step, uint64_t rare_every,
                                cli_bench_order_event *out);

// The store of event_count order events, orders.1 to orders.<event_count / 10>, stream ORDERS. Built when
// asked for first, kept for the rows behind. `spread`: the events of an order lie far apart.
int cli_bench_orders(cli_bench *bench, bool spread, char name_out[CLI_BENCH_NAME_SIZE]);
uint64_t cli_bench_order_count(const cli_bench *bench);
// Every how many events one carries the tag `rare:yes`.
uint64_t cli_bench_rare_every(const cli_bench *bench);

// --- Floors (bench_floor.c): what the machine gives to a program that does nothing else. ---

// Synchronous direct overwrites of a preallocated, written file; writes per second.
int cli_bench_floor_overwrites(cli_bench *bench, size_t write_bytes, double seconds, double *per_second_out);
// Copies of so many bytes in memory; copies per second.
int cli_bench_floor_copy(cli_bench *bench, size_t bytes, double *per_second_out);
// Decompression of blocks of about 4 KiB of order events with a 16 KiB dictionary; events per second, and
// microseconds to read and decompress one block from a cached file.
int cli_bench_floor_blocks(cli_bench *bench, double *events_per_second_out, double *block_us_out);
// zstd level 1 over large blocks of order events as JSON: compressed / raw.
int cli_bench_floor_disk(cli_bench *bench, double *ratio_out);
// Read that many bytes of the files in a folder; ms.
int cli_bench_floor_read(cli_bench *bench, const char *path, uint64_t bytes, double *ms_out);

#endif
