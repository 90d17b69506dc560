/* Cut a command into words and read numbers; every function says whether it could. */
#ifndef BENCH_WORDS_H
#define BENCH_WORDS_H

#include <stdbool.h>
#include <stdint.h>

/* The next word of *rest (ended in place), or NULL when there is none. */
char *words_next(char **rest);
bool words_end(char **rest);

/* Decimal, at most nine digits, in [low, high]. */
bool words_number(const char *word, uint32_t low, uint32_t high, uint32_t *value);
bool words_hex32(const char *word, uint32_t *value);

/* Pairs of hex digits; *count is how many bytes there are. Checks before it writes anything. */
bool words_hex_count(const char *word, uint32_t *count);
void words_hex_bytes(const char *word, uint8_t *bytes, uint32_t count);

#endif
