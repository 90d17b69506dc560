/* The device's side of the wire grammar: lines out, commands in. See harness/protocol.py. */
#ifndef BENCH_CONSOLE_H
#define BENCH_CONSOLE_H

#include <stdint.h>

enum {
    CONSOLE_COMMAND_BYTES = 1152, /* protocol.MAX_COMMAND_BYTES */
    CONSOLE_LINE_BYTES = 384,
};

typedef enum {
    COMMAND_OK,
    COMMAND_OVERLONG, /* more than CONSOLE_COMMAND_BYTES came before the terminator */
    COMMAND_GARBLED,  /* a byte outside printable ASCII, or one that the UART flagged */
} command_state_t;

/* Wait for one command; returns its text without terminator, in memory that may be changed. */
char *console_command(command_state_t *state);

/* Change the rate, and wait for the host's `%` at the new one. Without it the old rate is back
 * after half a second; the host then finds the device where it was. */
void console_rate(uint32_t baud);

/* Plain text as it is, for MLPerf Tiny's lines. */
void console_text(const char *text);
void console_unsigned(uint64_t value);
void console_line_end(void);

/* One m-hil- line: begin, fields, end. A value loses spaces and what is not printable. */
void hil_begin(const char *kind);
void hil_text(const char *key, const char *value);
void hil_message(const char *key, const char *value); /* a sentence, percent-encoded */
void hil_unsigned(const char *key, uint64_t value);
void hil_signed(const char *key, int32_t value);
void hil_hex32(const char *key, const uint32_t *words, uint32_t count);
void hil_bytes(const char *key, const uint8_t *bytes, uint32_t count);
void hil_end(void);

#endif
