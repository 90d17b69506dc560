/* What the host generates for one image: identity, tensor sizes, staging memory. */
#ifndef BUILD_INFO_H
#define BUILD_INFO_H

#include <stdint.h>

typedef struct {
    uint32_t bytes;  /* size of the tensor */
    uint32_t offset; /* inputs: where its staging copy begins in build_staging */
    float scale;     /* outputs: real value = (q - zero_point) * scale */
    int32_t zero_point;
} build_tensor_t;

extern const char build_id[];         /* 16 hex digits over everything that went into the image */
extern const char build_model_id[];   /* first 16 hex digits of the .tflite's SHA-256 */
extern const char build_model_name[]; /* MLPerf Tiny's name where it is one of its models */

extern const uint32_t build_input_count;
extern const build_tensor_t build_inputs[];
extern const uint32_t build_output_count;
extern const build_tensor_t build_outputs[];

/* Copies of the inputs, outside the arena: an inference destroys the model's own. */
extern uint8_t build_staging[];

#endif
