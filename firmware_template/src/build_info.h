/* What the host generates for one image: identity, tensor sizes, staging memory. */
#ifndef BUILD_INFO_H
#define BUILD_INFO_H

#include <stdint.h>

typedef struct {
    uint32_t bytes;  /* size of the tensor */
    uint32_t offset; /* inputs: where its staging copy begins in build_staging */
    float scale;     /* real value = (q - zero_point) * scale */
    int32_t zero_point;
} build_tensor_t;

extern const char build_id[];         /* 16 hex digits over everything that went into the image */
extern const char build_model_id[];   /* first 16 hex digits of the .tflite's SHA-256 */
extern const char build_model_name[]; /* MLPerf Tiny's benchmark where it is for one of them */

/* What the bytes are that MLPerf Tiny's runner loads (harness/models/mlperf.py). */
typedef enum {
    BUILD_INT8,  /* the model's input as it is */
    BUILD_UINT8, /* pixels: the input is 128 less */
    BUILD_FP32,  /* to be quantised; the result is one mean squared error */
} build_format_t;
extern const uint32_t build_input_format;

extern const uint32_t build_input_count;
extern const build_tensor_t build_inputs[];
extern const uint32_t build_output_count;
extern const build_tensor_t build_outputs[];

/* Copies of the inputs, outside the arena: an inference destroys the model's own. With BUILD_FP32
 * the 32-bit values follow, at the next multiple of 16. */
extern uint8_t build_staging[];

#endif
