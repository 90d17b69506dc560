#include "bench_console.h"

#include "bench_crc.h"
#include "board_config.h"
#include "port.h"

enum { PATIENCE_US = 500000 };

static const char digits[] = "0123456789abcdef";

/* --- in ---------------------------------------------------------------------------------- */

char *console_command(command_state_t *state) {
    static char command[CONSOLE_COMMAND_BYTES + 1];
    uint32_t length = 0;
    *state = COMMAND_OK;
    for (;;) {
        const uint32_t got = port_console_read();
        const char byte = (char)(got & 0xFFu);
        if ((got & PORT_RX_ERROR) != 0u) {
            *state = COMMAND_GARBLED;
            continue;
        }
        if (byte == '%') {
            command[length] = '\0';
            return command;
        }
        if (byte == '\r' || byte == '\n') {
            continue; /* a person at a terminal */
        }
        if (byte < ' ' || byte > '~') {
            *state = COMMAND_GARBLED;
            continue;
        }
        if (length == CONSOLE_COMMAND_BYTES) {
            *state = COMMAND_OVERLONG;
            continue;
        }
        command[length++] = byte;
    }
}

void console_rate(uint32_t baud) {
    static uint32_t current = BOARD_CONSOLE_BAUD;
    const uint32_t since = port_ticks();
    if (!port_console_rate(baud)) {
        return;
    }
    while (port_ticks() - since < PATIENCE_US) {
        if (port_console_waiting() && port_console_read() == '%') {
            current = baud;
            return;
        }
    }
    (void)port_console_rate(current);
}

/* --- out --------------------------------------------------------------------------------- */

void console_text(const char *text) {
    while (*text != '\0') {
        port_console_write((uint8_t)*text++);
    }
}

static const char *decimal(uint64_t value, char *end) {
    *end = '\0';
    do {
        *--end = digits[value % 10u];
        value /= 10u;
    } while (value != 0u);
    return end;
}

void console_unsigned(uint64_t value) {
    char buffer[21];
    console_text(decimal(value, buffer + 20));
}

void console_line_end(void) {
    console_text("\r\n");
}

static char line[CONSOLE_LINE_BYTES];
static uint32_t used;
static uint32_t sequence;

static void put(char byte) {
    /* Room is kept for " #", the CRC and the line end. */
    if (used < sizeof line - 13u) {
        line[used++] = byte;
    }
}

static void put_text(const char *text) {
    while (*text != '\0') {
        put(*text++);
    }
}

static void put_key(const char *key) {
    put(' ');
    put_text(key);
    put('=');
}

static void put_hex(uint32_t value, uint32_t count) {
    while (count-- != 0u) {
        put(digits[(value >> (4u * count)) & 15u]);
    }
}

void hil_begin(const char *kind) {
    char buffer[21];
    used = 0;
    put_text("m-hil-");
    put_text(kind);
    put(' ');
    put_text(decimal(sequence++, buffer + 20));
}

void hil_text(const char *key, const char *value) {
    put_key(key);
    for (uint32_t i = 0; value[i] != '\0' && i < 48u; i++) {
        const char byte = value[i];
        put(byte > ' ' && byte <= '~' ? byte : '_');
    }
}

void hil_message(const char *key, const char *value) {
    put_key(key);
    for (; *value != '\0' && used < sizeof line - 16u; value++) {
        const uint8_t byte = (uint8_t)*value;
        if (byte > ' ' && byte <= '~' && byte != '%') {
            put(*value);
        } else {
            put('%');
            put_hex(byte, 2);
        }
    }
}

void hil_unsigned(const char *key, uint64_t value) {
    char buffer[21];
    put_key(key);
    put_text(decimal(value, buffer + 20));
}

void hil_signed(const char *key, int32_t value) {
    char buffer[21];
    put_key(key);
    if (value < 0) {
        put('-');
    }
    put_text(decimal(value < 0 ? 0u - (uint32_t)value : (uint32_t)value, buffer + 20));
}

void hil_hex32(const char *key, const uint32_t *words, uint32_t count) {
    put_key(key);
    for (uint32_t i = 0; i < count; i++) {
        put_hex(words[i], 8);
    }
}

void hil_bytes(const char *key, const uint8_t *bytes, uint32_t count) {
    put_key(key);
    for (uint32_t i = 0; i < count; i++) {
        put_hex(bytes[i], 2);
    }
}

void hil_end(void) {
    const uint32_t crc = bench_crc32(line, used);
    line[used++] = ' ';
    line[used++] = '#';
    for (uint32_t shift = 32; shift != 0u; shift -= 4u) {
        line[used++] = digits[(crc >> (shift - 4u)) & 15u];
    }
    line[used++] = '\r';
    line[used++] = '\n';
    for (uint32_t i = 0; i < used; i++) {
        port_console_write((uint8_t)line[i]);
    }
}
