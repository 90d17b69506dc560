#include "bench_run.h"

#include <string.h>

#include "bench_time.h"
#include "build_info.h"
#include "model.h"
#include "port.h"

static const uint32_t PAINT = 0xA5C3965Au;

static bool ready;
static bool confined; /* set up in a part of its arena */
static bool painted;
static const char *error = "";
static run_result_t result;
static layers_result_t layers;

static void paint_arena(void) {
    uint32_t *const base = model_arena_base();
    const uint32_t words = model_arena().capacity / 4u;
    painted = base != NULL;
    for (uint32_t i = 0; painted && i < words; i++) {
        base[i] = PAINT;
    }
}

int32_t run_arena_painted(void) {
    const uint32_t *const base = model_arena_base();
    uint32_t words = model_arena().capacity / 4u;
    if (!painted || base == NULL) {
        return -1;
    }
    while (words != 0u && base[words - 1u] == PAINT) {
        words--;
    }
    return (int32_t)(words * 4u);
}

/* The sizes that the host knows and those of the runtime differ when library and application
 * were compiled with different ABI switches; going on would fault later. */
static const char *check_tensors(void) {
    if (model_input_count() != build_input_count || model_output_count() != build_output_count) {
        return "tensor-count";
    }
    for (uint32_t i = 0; i < build_input_count; i++) {
        if (model_input_bytes(i) != build_inputs[i].bytes) {
            return "input-bytes";
        }
    }
    for (uint32_t i = 0; i < build_output_count; i++) {
        if (model_output_bytes(i) != build_outputs[i].bytes) {
            return "output-bytes";
        }
    }
    return NULL;
}

static int finish_setup(int rc) {
    const char *const wrong = rc == 0 ? check_tensors() : NULL;
    if (wrong != NULL) {
        rc = -1;
    }
    ready = rc == 0;
    error = wrong != NULL ? wrong : rc != 0 ? model_error() : "";
    return rc;
}

int run_setup(void) {
    if (ready && !confined) {
        return 0;
    }
    confined = false;
    paint_arena();
    return finish_setup(model_setup());
}

int run_in_arena(uint32_t bytes) {
    confined = true;
    int rc = finish_setup(model_setup_in(bytes));
    if (rc == 0) {
        rc = run_once();
        if (rc != 0) {
            ready = false;
            error = model_error();
        }
    }
    return rc;
}

const char *run_error(void) {
    return error;
}

bool run_is_ready(void) {
    return ready;
}

/* The memory planner reuses the inputs' memory, so each inference gets them anew. */
static void load_inputs(void) {
    for (uint32_t i = 0; i < build_input_count; i++) {
        memcpy(model_input(i), build_staging + build_inputs[i].offset, build_inputs[i].bytes);
    }
}

int run_once(void) {
    load_inputs();
    return model_invoke();
}

/* The timed region: no interrupt, no output, nothing but the inference between the marks. */
static int invoke_timed(uint64_t *cycles) {
    load_inputs();
    const uint32_t state = port_lock();
    const bench_mark_t start = bench_mark_start();
    const int rc = model_invoke();
    const bench_mark_t stop = bench_mark_stop();
    port_unlock(state);
    *cycles = bench_elapsed(start, stop);
    return rc;
}

const run_result_t *run_timed(uint32_t warmups, uint32_t repeats) {
    result.count = 0;
    result.rc = 0;
    port_counter_ensure();
    for (result.warmups = 0; result.warmups < warmups && result.rc == 0; result.warmups++) {
        result.rc = run_once();
    }
    while (result.count < repeats && result.rc == 0) {
        result.rc = invoke_timed(&result.cycles[result.count]);
        if (result.rc == 0) {
            result.count++;
        }
    }
    return &result;
}

const run_result_t *run_last(void) {
    return &result;
}

const layers_result_t *run_layers(uint32_t passes) {
    const uint32_t count = model_layer_count();
    layers.count = count < RUN_LAYERS ? count : RUN_LAYERS;
    layers.rc = 0;
    port_counter_ensure();
    /* All passes but the last warm the caches up; the last is what is reported. */
    for (uint32_t pass = 0; pass < passes && layers.rc == 0; pass++) {
        load_inputs();
        const uint32_t state = port_lock();
        const bench_mark_t start = bench_mark_start();
        layers.rc = model_invoke_profiled(layers.cycles, layers.count);
        const bench_mark_t stop = bench_mark_stop();
        port_unlock(state);
        layers.total = bench_elapsed(start, stop);
    }
    return &layers;
}
