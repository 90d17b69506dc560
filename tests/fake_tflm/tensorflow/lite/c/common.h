#ifndef FAKE_COMMON_H
#define FAKE_COMMON_H

#include <stddef.h>
#include <stdint.h>

#ifndef TF_LITE_STATIC_MEMORY
#error library and application must agree on TF_LITE_STATIC_MEMORY
#endif

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };

struct TfLiteTensor {
    union {
        char *raw;
        int8_t *int8;
    } data;
    size_t bytes;
    const int32_t *dims;  // four at most, as in the file
    uint32_t rank;
};

#endif
