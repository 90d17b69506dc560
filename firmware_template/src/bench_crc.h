/* CRC-32 as zlib computes it. */
#ifndef BENCH_CRC_H
#define BENCH_CRC_H

#include <stddef.h>
#include <stdint.h>

uint32_t bench_crc32(const void *bytes, size_t length);

/* The CRC of what `crc` is the CRC of (0: of nothing), followed by these bytes. */
uint32_t bench_crc32_more(uint32_t crc, const void *bytes, size_t length);

#endif
