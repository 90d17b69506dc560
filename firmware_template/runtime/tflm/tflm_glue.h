// What the generated resolver, the model's place in flash and the glue share.
#ifndef TFLM_GLUE_H
#define TFLM_GLUE_H

#include <stdint.h>

#include "tensorflow/lite/micro/micro_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

struct tflm_operator_t {
    tflite::BuiltinOperator code;
    const char *name;
};

// Generated: the operators of this image. A null resolver means that one could not be added.
const tflite::MicroOpResolver *tflm_resolver(void);
extern const tflm_operator_t tflm_operators[];
extern const uint32_t tflm_operator_count;
extern const char tflm_kernels[];

extern "C" {
// Generated: the .tflite, at an address that is a multiple of 16, and its check where it was not
// linked with the rest of the image: NULL when it is as it was written.
extern const uint8_t tflm_model[];
const char *tflm_model_check(void);

// The linker's: what no section took is the arena.
extern uint8_t _free_start[], _free_end[];
}

// TFLM's messages since the last tflm_log_clear(), without line ends; the first ones are kept.
void tflm_log_clear(void);
const char *tflm_log_text(void);

#endif
