/* Operators that only move data: PAD, CONCATENATION, RESHAPE. */
#include "aot_kernels.h"

#include <string.h>

int aot_pad(const void *block) {
    const aot_pad_t *p = block;
    const int8_t *input = p->input;
    int8_t *output = p->output;
    const int32_t *in = p->in, *before = p->before, *out = p->out;

    for (int32_t n = 0; n < out[0]; n++) {
        for (int32_t h = 0; h < out[1]; h++) {
            for (int32_t w = 0; w < out[2]; w++, output += out[3]) {
                memset(output, p->value, (size_t)out[3]);
                if (n >= before[0] && n < before[0] + in[0] && h >= before[1] &&
                    h < before[1] + in[1] && w >= before[2] && w < before[2] + in[2]) {
                    memcpy(output + before[3], input, (size_t)in[3]);
                    input += in[3];
                }
            }
        }
    }
    return 0;
}

int aot_concat(const void *block) {
    const aot_concat_t *p = block;
    int8_t *output = p->output;

    for (int32_t outer = 0; outer < p->outer; outer++) {
        for (int32_t i = 0; i < p->count; i++) {
            memcpy(output, p->inputs[i] + outer * p->bytes[i], (size_t)p->bytes[i]);
            output += p->bytes[i];
        }
    }
    return 0;
}

int aot_copy(const void *block) {
    const aot_copy_t *p = block;

    memmove(p->output, p->input, (size_t)p->bytes);
    return 0;
}

int aot_alias(const void *block) {
    (void)block;
    return 0;
}
