/* One firmware, many models: what the host wrote to the model region of the flash. */
#ifndef MODEL_REGION_H
#define MODEL_REGION_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The linker's: what lies 512 bytes behind the header, on an address that is a multiple of 16. */
extern const uint8_t model_content[];

/* NULL when header and content are as the host wrote them, else what is wrong. */
const char *model_region_error(void);

#ifdef __cplusplus
}
#endif

#endif
