#include "bench_mlperf.h"

#include <stdint.h>
#include <string.h>

#include "bench_console.h"
#include "bench_run.h"
#include "bench_time.h"
#include "bench_words.h"
#include "build_info.h"
#include "model.h"

static uint32_t buffer_bytes;
static uint32_t buffer_used;

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

/* A value with three decimals, as the monitor's own "%0.3f". */
static void real(float value) {
    const bool negative = value < 0.0f;
    const float thousandths = (negative ? -value : value) * 1000.0f + 0.5f;
    const uint32_t fixed = thousandths < 4.0e9f ? (uint32_t)thousandths : 4000000000u;
    console_text(negative && fixed != 0u ? "-" : "");
    console_unsigned(fixed / 1000u);
    console_text(fixed % 1000u < 10u ? ".00" : fixed % 1000u < 100u ? ".0" : ".");
    console_unsigned(fixed % 1000u);
}

static void results(void) {
    const build_tensor_t *const tensor = &build_outputs[0];
    console_text("m-results-[");
    if (run_is_ready()) {
        const int8_t *const values = model_output(0);
        for (uint32_t i = 0; i < tensor->bytes; i++) {
            console_text(i == 0u ? "" : ",");
            real((float)(values[i] - tensor->zero_point) * tensor->scale);
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
    if (run_setup() != 0) {
        console_text("e-[Model set-up failed: ");
        console_text(run_error());
        text_line("]");
        return;
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
    if (word == NULL) {
        text_line("e-[Command 'db load' requires the # of bytes]");
    } else if (!words_number(word, 1, 999999999u, &bytes)) {
        text_line("e-[Command 'db load' must be >0 bytes]");
    } else if (bytes > build_inputs[0].bytes) {
        number_line("e-[The input has only ", build_inputs[0].bytes, " bytes]");
    } else {
        buffer_bytes = bytes;
        buffer_used = 0;
        number_line("m-[Expecting ", bytes, " bytes]");
    }
}

static void buffer_print(void) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *const bytes = build_staging + build_inputs[0].offset;
    for (uint32_t i = 0; i < buffer_bytes; i++) {
        const char pair[3] = {digits[bytes[i] >> 4], digits[bytes[i] & 15u], '\0'};
        console_text(i % 8u == 0u ? "m-buffer-" : "-");
        console_text(pair);
        if (i % 8u == 7u || i + 1u == buffer_bytes) {
            console_line_end();
        }
    }
}

static void buffer_add(const char *word) {
    uint32_t count;
    if (!words_hex_count(word, &count)) {
        text_line("e-[Insufficent number of hex digits, or an invalid one]");
        return;
    }
    const uint32_t room = buffer_bytes - buffer_used;
    if (count > room) {
        count = room; /* the monitor ignores what is too much */
    }
    words_hex_bytes(word, build_staging + build_inputs[0].offset + buffer_used, count);
    buffer_used += count;
    if (buffer_used == buffer_bytes && buffer_bytes != 0u) {
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
