#include "bench_mlperf.h"

#include <stdint.h>
#include <string.h>

#include "bench_console.h"
#include "bench_run.h"
#include "bench_time.h"
#include "bench_words.h"
#include "build_info.h"
#include "model.h"

static void text_line(const char *text) {
    console_text(text);
    console_line_end();
}

static void number_line(const char *prefix, uint32_t value, const char *suffix) {
    console_text(prefix);
    console_unsigned(value);
    text_line(suffix);
}

static void time_stamp(void) {
    number_line("m-lap-us-", bench_microseconds(), "");
}

/* A value as C's "%0.3f" has it, the exact tie to the even digit included; "inf" from 2^53 on. */
static void real(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t exponent = (bits >> 23) & 0xFFu;
    const uint32_t fraction = bits & 0x7FFFFFu;
    if (exponent == 255u && fraction != 0u) {
        console_text("nan");
        return;
    }
    /* The value is mantissa * 2^-shift. */
    const uint64_t mantissa = exponent == 0u ? fraction : fraction | 0x800000u;
    const int32_t shift = 150 - (int32_t)(exponent == 0u ? 1u : exponent);
    uint64_t thousandths = mantissa * 1000u; /* below 2^34 */
    if (shift > 36) {
        thousandths = 0;
    } else if (shift > 0) {
        const uint64_t half = (uint64_t)1 << (shift - 1);
        const uint64_t rest = thousandths & (2u * half - 1u);
        thousandths >>= shift;
        thousandths += (rest > half || (rest == half && (thousandths & 1u) != 0u)) ? 1u : 0u;
    } else if (shift >= -30) {
        thousandths <<= -shift;
    }
    console_text((bits >> 31) != 0u && thousandths != 0u ? "-" : "");
    if (shift < -30) {
        console_text("inf");
        return;
    }
    const uint32_t decimals = (uint32_t)(thousandths % 1000u);
    console_unsigned(thousandths / 1000u);
    console_text(decimals < 10u ? ".00" : decimals < 100u ? ".0" : ".");
    console_unsigned(decimals);
}

/* --- the buffer that `db` fills: the input's staging copy, or the window of 32-bit values --- */

static uint32_t buffer_bytes; /* that the last `db load` announced; 0 when it was refused */
static uint32_t buffer_used;
static bool buffer_is_input = true; /* false from `db load` until all bytes of an input came */
static bool window_is_there;

static bool takes_window(void) {
    return build_input_format == (uint32_t)BUILD_FP32;
}

static uint32_t capacity(void) {
    const uint32_t values = build_input_count == 0u ? 0u : build_inputs[0].bytes;
    return takes_window() ? values * (uint32_t)sizeof(float) : values;
}

static uint8_t *buffer_start(void) {
    const uint32_t behind = build_inputs[0].offset + build_inputs[0].bytes;
    return build_staging + (takes_window() ? (behind + 15u) & ~15u : build_inputs[0].offset);
}

/* Toggling the highest bit of a byte takes 128 from it. */
static uint8_t toggle(void) {
    return build_input_format == (uint32_t)BUILD_UINT8 ? 0x80u : 0u;
}

static float window_value(uint32_t i) {
    float value;
    memcpy(&value, buffer_start() + i * sizeof value, sizeof value);
    return value;
}

/* Nearest, halves away from zero, as the reference's round(). */
static int8_t quantised(float value, const build_tensor_t *tensor) {
    float quotient = value / tensor->scale;
    if (!(quotient > -1.0e6f)) {
        quotient = -1.0e6f;
    } else if (quotient > 1.0e6f) {
        quotient = 1.0e6f;
    }
    int32_t whole = (int32_t)quotient;
    const float rest = quotient - (float)whole;
    whole += (rest >= 0.5f ? 1 : rest <= -0.5f ? -1 : 0) + tensor->zero_point;
    return (int8_t)(whole < INT8_MIN ? INT8_MIN : whole > INT8_MAX ? INT8_MAX : whole);
}

static void quantise_window(void) {
    const build_tensor_t *const tensor = &build_inputs[0];
    for (uint32_t i = 0; i < tensor->bytes; i++) {
        build_staging[tensor->offset + i] = (uint8_t)quantised(window_value(i), tensor);
    }
}

static float dequantised(uint32_t i) {
    const build_tensor_t *const tensor = &build_outputs[0];
    const int8_t *const values = model_output(0);
    return (float)(values[i] - tensor->zero_point) * tensor->scale;
}

static float mean_squared_error(void) {
    float sum = 0.0f;
    const uint32_t count = build_outputs[0].bytes;
    for (uint32_t i = 0; i < count; i++) {
        const float difference = dequantised(i) - window_value(i);
        sum += difference * difference;
    }
    return sum / (float)count;
}

static void results(void) {
    if (takes_window() && !window_is_there) {
        text_line("e-[No window was loaded that the output could be compared with]");
        return;
    }
    console_text("m-results-[");
    if (run_is_ready() && takes_window()) {
        real(mean_squared_error());
    } else if (run_is_ready()) {
        for (uint32_t i = 0; i < build_outputs[0].bytes; i++) {
            console_text(i == 0u ? "" : ",");
            real(dequantised(i));
        }
    }
    text_line("]");
}

static void infer(char **rest) {
    uint32_t repeats = 1;
    uint32_t warmups = 10;
    const char *word = words_next(rest);
    if (word != NULL && !words_number(word, 1, 999999999u, &repeats)) {
        text_line("e-[Inference iterations must be >0]");
        return;
    }
    word = words_next(rest);
    if (word != NULL && !words_number(word, 0, 999999999u, &warmups)) {
        text_line("e-[Inference warmup must be >=0]");
        return;
    }
    if (!buffer_is_input) {
        console_text("e-[The input was not loaded: ");
        console_unsigned(buffer_used);
        number_line(" of its ", capacity(), " bytes came]");
        return;
    }
    if (run_setup() != 0) {
        console_text("e-[Model set-up failed: ");
        console_text(run_error());
        text_line("]");
        return;
    }
    if (window_is_there) {
        quantise_window();
    }
    int rc = 0;
    number_line("m-warmup-start-", warmups, "");
    for (uint32_t i = 0; i < warmups && rc == 0; i++) {
        rc = run_once();
    }
    text_line("m-warmup-done");
    number_line("m-infer-start-", repeats, "");
    time_stamp();
    for (uint32_t i = 0; i < repeats && rc == 0; i++) {
        rc = run_once();
    }
    time_stamp();
    if (rc != 0) {
        text_line("e-[Inference failed]");
        return;
    }
    text_line("m-infer-done");
    results();
}

static void buffer_load(char **rest) {
    uint32_t bytes;
    const char *const word = words_next(rest);
    /* Whatever is wrong with it, the bytes that follow are not for what was loaded before. */
    buffer_bytes = 0;
    buffer_used = 0;
    buffer_is_input = false;
    window_is_there = false;
    if (word == NULL) {
        text_line("e-[Command 'db load' requires the # of bytes]");
    } else if (!words_number(word, 1, 999999999u, &bytes)) {
        text_line("e-[Command 'db load' must be >0 bytes]");
    } else if (bytes > capacity()) {
        console_text("e-[An input of ");
        console_text(build_model_name);
        number_line(" has ", capacity(), " bytes]");
    } else {
        buffer_bytes = bytes;
        number_line("m-[Expecting ", bytes, " bytes]");
    }
}

static void buffer_print(void) {
    static const char digits[] = "0123456789abcdef";
    for (uint32_t i = 0; i < buffer_bytes; i++) {
        const uint8_t byte = buffer_start()[i] ^ toggle();
        const char pair[3] = {digits[byte >> 4], digits[byte & 15u], '\0'};
        console_text(i % 8u == 0u ? "m-buffer-" : "-");
        console_text(pair);
        if (i % 8u == 7u || i + 1u == buffer_bytes) {
            console_line_end();
        }
    }
}

static void buffer_add(const char *word) {
    uint32_t count;
    if (buffer_used == buffer_bytes) {
        text_line("e-[No bytes are expected: 'db load' comes first]");
        return;
    }
    if (!words_hex_count(word, &count)) {
        text_line("e-[Insufficent number of hex digits, or an invalid one]");
        return;
    }
    const uint32_t room = buffer_bytes - buffer_used;
    if (count > room) {
        count = room; /* the monitor ignores what is too much */
    }
    uint8_t *const at = buffer_start() + buffer_used;
    words_hex_bytes(word, at, count);
    for (uint32_t i = 0; i < count; i++) {
        at[i] ^= toggle();
    }
    buffer_used += count;
    if (buffer_used == buffer_bytes) {
        buffer_is_input = buffer_bytes == capacity();
        window_is_there = buffer_is_input && takes_window();
        text_line("m-load-done");
    }
}

static void buffer(char **rest) {
    const char *const word = words_next(rest);
    if (word == NULL) {
        text_line("e-[Command 'db' requires a subcommand]");
    } else if (strcmp(word, "load") == 0) {
        buffer_load(rest);
    } else if (strcmp(word, "print") == 0) {
        buffer_print();
    } else {
        buffer_add(word);
    }
}

static void help(void) {
    text_line("TinyML Harness");
    text_line("name, profile, timestamp, help");
    text_line("db load N, db HH[HH]*, db print");
    text_line("infer N [W=10]");
    text_line("results");
    text_line(
        "hil-id, hil-io, hil-setup, hil-in, hil-run, hil-cycles, hil-layers, hil-out, hil-mem");
}

bool mlperf_execute(const char *command, char **rest) {
    if (strcmp(command, "name") == 0) {
        text_line("m-name-dut-[tinyml-harness]");
    } else if (strcmp(command, "timestamp") == 0) {
        time_stamp();
    } else if (strcmp(command, "profile") == 0) {
        text_line("m-profile-[ULPMark for tinyML Firmware V0.0.1]");
        console_text("m-model-[");
        console_text(build_model_name);
        text_line("]");
    } else if (strcmp(command, "help") == 0) {
        help();
    } else if (strcmp(command, "db") == 0) {
        buffer(rest);
    } else if (strcmp(command, "infer") == 0) {
        infer(rest);
    } else if (strcmp(command, "results") == 0) {
        results();
    } else {
        return false;
    }
    return true;
}
