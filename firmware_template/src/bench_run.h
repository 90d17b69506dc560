/* Inference under measurement. */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <stdbool.h>
#include <stdint.h>

enum {
    RUN_REPEATS = 64,   /* protocol.MAX_REPEATS */
    RUN_WARMUPS = 1000, /* protocol.MAX_WARMUPS */
    RUN_LAYERS = 256,   /* protocol.MAX_LAYERS */
};

typedef struct {
    uint32_t warmups;
    uint32_t count; /* timed inferences that were done */
    int rc;         /* of the last inference */
    uint64_t cycles[RUN_REPEATS];
} run_result_t;

typedef struct {
    uint32_t count;
    int rc;
    uint64_t total; /* the same pass from end to end */
    uint64_t cycles[RUN_LAYERS];
} layers_result_t;

/* 0 when the model is ready; else a code that run_error() explains. Repeating it is harmless. */
int run_setup(void);
const char *run_error(void);
bool run_is_ready(void);

/* Set up in only `bytes` of the arena and run once; 0, or a code that run_error() explains. The
 * model stays as this leaves it until run_setup(), which gives it its whole arena again. */
int run_in_arena(uint32_t bytes);

/* One inference, not timed, on fresh inputs. */
int run_once(void);
const run_result_t *run_timed(uint32_t warmups, uint32_t repeats);
const run_result_t *run_last(void);
const layers_result_t *run_layers(uint32_t passes);

/* High-water mark of the arena in bytes, or -1 where paint would lie. */
int32_t run_arena_painted(void);

#endif
