/* The facts that build_info.h declares are copied from the region's header before main() runs: an
 * empty or half-written region makes a device without inputs that answers, not one that faults.
 * This file defines them without that header, which calls them const. */
#include "runtime/region/model_region.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "bench_crc.h"

enum { MAX_TENSORS = 8 };

static const uint32_t MAGIC = 0x314D4854u; /* "THM1" */

typedef struct {
    uint32_t bytes;
    uint32_t offset;
    float scale;
    int32_t zero_point;
} tensor_t;

/* As harness/runtimes/region.py packs it. */
typedef struct {
    uint32_t magic;
    uint32_t content_bytes;
    uint32_t content_crc;
    uint32_t input_count;
    uint32_t output_count;
    char id[20];
    char name[40];
    tensor_t inputs[MAX_TENSORS];
    tensor_t outputs[MAX_TENSORS];
    uint32_t input_format;
    uint8_t unused[508 - 84 - 2 * MAX_TENSORS * sizeof(tensor_t)];
    uint32_t header_crc;
} header_t;
_Static_assert(sizeof(header_t) == 512, "the host writes the content behind 512 bytes");

extern const header_t model_region;

char build_model_id[20];
char build_model_name[40];
uint32_t build_input_format;
uint32_t build_input_count;
uint32_t build_output_count;
tensor_t build_inputs[MAX_TENSORS];
tensor_t build_outputs[MAX_TENSORS];

static bool header_is_whole;

__attribute__((constructor)) static void read_header(void) {
    const header_t *const header = &model_region;
    header_is_whole = header->magic == MAGIC &&
                      header->header_crc == bench_crc32(header, offsetof(header_t, header_crc)) &&
                      header->input_count <= MAX_TENSORS && header->output_count <= MAX_TENSORS;
    if (!header_is_whole) {
        return;
    }
    memcpy(build_model_id, header->id, sizeof build_model_id);
    memcpy(build_model_name, header->name, sizeof build_model_name);
    memcpy(build_inputs, header->inputs, sizeof build_inputs);
    memcpy(build_outputs, header->outputs, sizeof build_outputs);
    build_input_format = header->input_format;
    build_input_count = header->input_count;
    build_output_count = header->output_count;
}

const char *model_region_error(void) {
    if (!header_is_whole) {
        return "model-region-has-no-model";
    }
    const uint32_t crc = bench_crc32(model_content, model_region.content_bytes);
    return crc == model_region.content_crc ? NULL : "model-region-is-damaged";
}
