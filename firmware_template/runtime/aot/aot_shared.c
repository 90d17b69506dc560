/* One firmware, many models: the graph is what the host wrote to the model region. It points to the
 * kernels and to the arena of this image, whose symbols the host read. */
#include "aot_graph.h"
#include "bench_crc.h"
#include "runtime/region/model_region.h"

#include <stddef.h>

typedef struct {
    aot_graph_t graph;
    const void *const *kernels; /* aot_kernels of the image that the graph was written for */
    uint32_t kernels_crc;       /* of what it holds: another image has its kernels elsewhere */
} content_t;

#define KERNEL(name) (const void *)(uintptr_t) & name

/* Every kernel and its twin: what is not named here the linker leaves out. */
const void *const aot_kernels[] = {
    KERNEL(aot_conv),
    KERNEL(aot_conv_scratch),
    KERNEL(aot_depthwise),
    KERNEL(aot_depthwise_scratch),
    KERNEL(aot_fully_connected),
    KERNEL(aot_fully_connected_channels),
    KERNEL(aot_average_pool),
    KERNEL(aot_average_pool_scratch),
    KERNEL(aot_max_pool),
    KERNEL(aot_add),
    KERNEL(aot_mul),
    KERNEL(aot_softmax),
    KERNEL(aot_mean),
    KERNEL(aot_rescale),
    KERNEL(aot_clamp),
    KERNEL(aot_logistic),
    KERNEL(aot_quantize),
    KERNEL(aot_dequantize),
    KERNEL(aot_pad),
    KERNEL(aot_concat),
    KERNEL(aot_copy),
    KERNEL(aot_alias),
};

const char *aot_graph_error(void) {
    const char *const wrong = model_region_error();
    if (wrong != NULL) {
        return wrong;
    }
    const content_t *const content = (const void *)model_content;
    return content->kernels == aot_kernels &&
                   content->kernels_crc == bench_crc32(aot_kernels, sizeof aot_kernels)
               ? NULL
               : "model-is-for-another-firmware";
}

const aot_graph_t *aot_graph(void) {
    static const aot_graph_t none;
    return aot_graph_error() == NULL ? &((const content_t *)(const void *)model_content)->graph
                                     : &none;
}
