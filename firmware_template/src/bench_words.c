#include "bench_words.h"

#include <stddef.h>

char *words_next(char **rest) {
    char *at = *rest;
    while (*at == ' ') {
        at++;
    }
    if (*at == '\0') {
        *rest = at;
        return NULL;
    }
    char *const word = at;
    while (*at != ' ' && *at != '\0') {
        at++;
    }
    if (*at == ' ') {
        *at++ = '\0';
    }
    *rest = at;
    return word;
}

bool words_end(char **rest) {
    return words_next(rest) == NULL;
}

bool words_number(const char *word, uint32_t low, uint32_t high, uint32_t *value) {
    uint32_t number = 0;
    uint32_t count = 0;
    if (word == NULL) {
        return false;
    }
    for (; *word != '\0'; word++) {
        if (*word < '0' || *word > '9' || ++count > 9u) {
            return false;
        }
        number = number * 10u + (uint32_t)(*word - '0');
    }
    *value = number;
    return count != 0u && number >= low && number <= high;
}

static int32_t nibble(char digit) {
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    if (digit >= 'A' && digit <= 'F') {
        return digit - 'A' + 10;
    }
    return -1;
}

bool words_hex32(const char *word, uint32_t *value) {
    uint32_t number = 0;
    uint32_t count = 0;
    if (word == NULL) {
        return false;
    }
    for (; *word != '\0'; word++) {
        const int32_t digit = nibble(*word);
        if (digit < 0 || ++count > 8u) {
            return false;
        }
        number = (number << 4) | (uint32_t)digit;
    }
    *value = number;
    return count == 8u;
}

bool words_hex_count(const char *word, uint32_t *count) {
    uint32_t length = 0;
    if (word == NULL) {
        return false;
    }
    for (; word[length] != '\0'; length++) {
        if (nibble(word[length]) < 0) {
            return false;
        }
    }
    *count = length / 2u;
    return length != 0u && length % 2u == 0u;
}

void words_hex_bytes(const char *word, uint8_t *bytes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)((nibble(word[2u * i]) << 4) | nibble(word[2u * i + 1u]));
    }
}
