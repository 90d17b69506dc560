/* The runtime's side of the firmware: what a generated model offers to the bench.
 *
 * A runtime (aot, tflm, ...) implements it once per model; the bench calls nothing else. */
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *name; /* name of the tensor that the layer writes */
    const char *op;   /* TFLite builtin name, e.g. CONV_2D */
} model_layer_t;

/* Bytes. planned: by the memory planner; used: what the runtime reports after set-up. */
typedef struct {
    uint32_t planned, used, capacity;
} model_arena_t;

const char *model_runtime(void); /* "aot" */
const char *model_kernels(void); /* "cmsis_nn" or "portable" */

int model_setup(void);         /* 0, or a code that model_error() explains */
const char *model_error(void); /* "" when there is none */

uint32_t model_input_count(void);
void *model_input(uint32_t i);
uint32_t model_input_bytes(uint32_t i);

uint32_t model_output_count(void);
const void *model_output(uint32_t i);
uint32_t model_output_bytes(uint32_t i);

/* 0 when done. Write the inputs again before each call: the planner reuses their memory. */
int model_invoke(void);

uint32_t model_layer_count(void);
const model_layer_t *model_layer(uint32_t i);

/* As model_invoke(), with the cycles of each of the first n layers, by bench_cycles(). */
int model_invoke_profiled(uint64_t *cycles, uint32_t n);

model_arena_t model_arena(void);

/* Set up with an arena of only `bytes` (up to the capacity); 0, or a code that model_error()
 * explains. Any size, any number of times, in any order: the device stays responsive. A runtime
 * with a static plan returns 0 exactly when bytes >= planned. model_setup() gives the whole arena
 * back. */
int model_setup_in(uint32_t bytes);

/* Where the arena goes. Kinds have no spaces: "nonpersistent" (activations and scratch, planned
 * over time) and "persistent" (for the life of the model) first and always; then, where the runtime
 * keeps records, its own categories such as "tensors", which are shares of these two. */
typedef struct {
    const char *kind;
    uint32_t used, requested, count; /* bytes taken and requested, allocations */
} model_arena_part_t;
uint32_t model_arena_part_count(void);
const model_arena_part_t *model_arena_part(uint32_t i);

/* NULL when the planner writes to unused parts: a paint mark would be wrong. */
void *model_arena_base(void);

#ifdef __cplusplus
}
#endif

#endif
