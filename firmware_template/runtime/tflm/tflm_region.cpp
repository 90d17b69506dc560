// One firmware, many models: the model and its facts are what the host wrote to the model region.
//
// The facts that build_info.h declares are copied from the region's header before main() runs, so
// that an empty or half-written region is a device without inputs that answers, not one that faults.
// This file defines them without that header, which calls them const.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "runtime/tflm/tflm_glue.h"

extern "C" {
#include "bench_crc.h"
}

namespace {

constexpr uint32_t magic = 0x314D4854; // "THM1"
constexpr uint32_t max_tensors = 8;

struct Tensor {
    uint32_t bytes;
    uint32_t offset;
    float scale;
    int32_t zero_point;
};

// As harness/runtimes/tflm/region.py packs it.
struct Header {
    uint32_t magic;
    uint32_t model_bytes;
    uint32_t model_crc;
    uint32_t input_count;
    uint32_t output_count;
    char id[20];
    char name[40];
    Tensor inputs[max_tensors];
    Tensor outputs[max_tensors];
    uint8_t unused[508 - 80 - 2 * max_tensors * sizeof(Tensor)];
    uint32_t header_crc;
};
static_assert(sizeof(Header) == 512, "the host writes the model behind 512 bytes");

bool header_is_whole;

} // namespace

extern "C" {
extern const Header tflm_region;

char build_model_id[20];
char build_model_name[40];
uint32_t build_input_count;
uint32_t build_output_count;
Tensor build_inputs[max_tensors];
Tensor build_outputs[max_tensors];

__attribute__((constructor)) void tflm_region_read(void) {
    const Header &header = tflm_region;
    const uint32_t crc = bench_crc32(&header, offsetof(Header, header_crc));
    header_is_whole = header.magic == magic && crc == header.header_crc &&
                      header.input_count <= max_tensors && header.output_count <= max_tensors;
    if (!header_is_whole) {
        return;
    }
    memcpy(build_model_id, header.id, sizeof build_model_id);
    memcpy(build_model_name, header.name, sizeof build_model_name);
    memcpy(build_inputs, header.inputs, sizeof build_inputs);
    memcpy(build_outputs, header.outputs, sizeof build_outputs);
    build_input_count = header.input_count;
    build_output_count = header.output_count;
}

const char *tflm_model_check(void) {
    if (!header_is_whole) {
        return "model-region-has-no-model";
    }
    const uint32_t crc = bench_crc32(tflm_model, tflm_region.model_bytes);
    return crc == tflm_region.model_crc ? nullptr : "model-region-is-damaged";
}
}
