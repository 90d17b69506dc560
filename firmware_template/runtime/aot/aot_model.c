/* model.h over the generated graph: a list of steps, run in order. */
#include "aot_graph.h"
#include "bench_time.h"
#include "model.h"

#include <stddef.h>

static const char *error_text = "";
static const aot_graph_t *found;

enum { ERROR_SCRATCH = 1, ERROR_KERNEL = 2, ERROR_ARENA = 3, ERROR_GRAPH = 4 };

static const aot_graph_t *graph(void) {
    if (found == NULL) {
        found = aot_graph();
    }
    return found;
}

const char *model_runtime(void) {
    return "aot";
}

const char *model_kernels(void) {
    return aot_kernel_set;
}

const char *model_error(void) {
    return error_text;
}

int model_setup(void) {
    const char *const wrong = aot_graph_error();
    if (wrong != NULL) {
        error_text = wrong;
        return ERROR_GRAPH;
    }
    /* The generator computed scratch sizes for these kernels; were it wrong, an activation would be
     * overwritten without a trace. */
    for (uint32_t i = 0; i < graph()->step_count; i++) {
        const aot_step_t *step = &graph()->steps[i];
        if (step->scratch != NULL && step->scratch(step->block) > step->scratch_bytes) {
            error_text = "kernel-needs-more-scratch-than-planned";
            return ERROR_SCRATCH;
        }
    }
    error_text = "";
    return 0;
}

uint32_t model_input_count(void) {
    return graph()->input_count;
}

void *model_input(uint32_t i) {
    return i < graph()->input_count ? graph()->arena + graph()->inputs[i].offset : NULL;
}

uint32_t model_input_bytes(uint32_t i) {
    return i < graph()->input_count ? graph()->inputs[i].bytes : 0;
}

uint32_t model_output_count(void) {
    return graph()->output_count;
}

const void *model_output(uint32_t i) {
    return i < graph()->output_count ? graph()->arena + graph()->outputs[i].offset : NULL;
}

uint32_t model_output_bytes(uint32_t i) {
    return i < graph()->output_count ? graph()->outputs[i].bytes : 0;
}

int model_invoke(void) {
    const aot_step_t *step = found->steps;
    for (uint32_t left = found->step_count; left != 0; left--, step++) {
        if (step->run(step->block) != 0) {
            error_text = "kernel-refused-its-arguments";
            return ERROR_KERNEL;
        }
    }
    return 0;
}

uint32_t model_layer_count(void) {
    return graph()->step_count;
}

const model_layer_t *model_layer(uint32_t i) {
    return i < graph()->step_count ? &graph()->layers[i] : NULL;
}

int model_invoke_profiled(uint64_t *cycles, uint32_t n) {
    for (uint32_t i = 0; i < graph()->step_count; i++) {
        const aot_step_t *step = &graph()->steps[i];
        const uint64_t start = bench_cycles();
        const int code = step->run(step->block);
        const uint64_t stop = bench_cycles();
        if (i < n) {
            cycles[i] = stop - start;
        }
        if (code != 0) {
            error_text = "kernel-refused-its-arguments";
            return ERROR_KERNEL;
        }
    }
    return 0;
}

model_arena_t model_arena(void) {
    const model_arena_t arena = {graph()->arena_bytes, graph()->arena_bytes,
                                 graph()->arena_bytes};
    return arena;
}

/* The plan is static: the whole arena is needed, and is enough. */
int model_setup_in(uint32_t bytes) {
    if (bytes < graph()->arena_bytes) {
        error_text = "arena smaller than the static plan";
        return ERROR_ARENA;
    }
    return model_setup();
}

uint32_t model_arena_part_count(void) {
    return 2;
}

const model_arena_part_t *model_arena_part(uint32_t i) {
    /* Everything persistent is constant, and in flash. */
    static model_arena_part_t parts[] = {{"nonpersistent", 0, 0, 1}, {"persistent", 0, 0, 0}};
    parts[0].used = graph()->arena_bytes;
    parts[0].requested = graph()->arena_bytes;
    return i < model_arena_part_count() ? &parts[i] : NULL;
}

void *model_arena_base(void) {
    return graph()->arena;
}
