// The model is linked into the image, and verified with it.
#include "runtime/tflm/tflm_glue.h"

const char *tflm_model_check(void) {
    return nullptr;
}
