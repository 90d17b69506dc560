// One firmware, many models: the model is what the host wrote to the model region.
#include "runtime/region/model_region.h"
#include "runtime/tflm/tflm_glue.h"

const char *tflm_model_check(void) {
    return model_region_error();
}
