/* What the code generator writes for one model, and aot_model.c executes. */
#ifndef AOT_GRAPH_H
#define AOT_GRAPH_H

#include <stdint.h>

#include "aot_kernels.h"
#include "model.h"

typedef struct {
    int (*run)(const void *block);
    int32_t (*scratch)(const void *block); /* or NULL when it needs none */
    const void *block;
    int32_t scratch_bytes; /* planned */
} aot_step_t;

typedef struct {
    uint32_t offset, bytes; /* in the arena */
} aot_io_t;

typedef struct {
    const aot_step_t *steps;
    const model_layer_t *layers;
    const aot_io_t *inputs, *outputs;
    uint8_t *arena;
    uint32_t step_count, input_count, output_count, arena_bytes;
} aot_graph_t;

/* The graph to run. With one firmware for many models it is what the host wrote, or an empty one
 * when aot_graph_error() says what is wrong with that; else it was linked in, and there is no
 * error. */
const aot_graph_t *aot_graph(void);
const char *aot_graph_error(void);

#endif
