/* What a bench is proved with besides measurements (`harness bench prove`). */
#ifndef BENCH_CHECK_H
#define BENCH_CHECK_H

#include <stdbool.h>
#include <stdint.h>

/* Whether `edge` lies in the RAM above the stack, eight bytes or more from its ends. */
bool check_edge_is_ram(uint32_t edge);
/* Load and store words and halfwords across an address, a multiple of four, at every alignment;
 * returns how many went wrong. The memory keeps its content. */
uint32_t check_edge(uint32_t edge, uint32_t *tried);
/* Touch the guard below the stack; returns only if nothing guards it. */
void check_guard(void);

#endif
