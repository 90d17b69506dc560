/* CRC-32 as zlib computes it. */
#ifndef BENCH_CRC_H
#define BENCH_CRC_H

#include <stddef.h>
#include <stdint.h>

uint32_t bench_crc32(const char *text, size_t length);

#endif
