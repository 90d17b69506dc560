#include "bench_command.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bench_check.h"
#include "bench_crc.h"
#include "bench_mlperf.h"
#include "bench_run.h"
#include "bench_time.h"
#include "bench_words.h"
#include "board_config.h"
#include "build_info.h"
#include "model.h"
#include "port.h"

enum { OUTPUT_CHUNK = 64 /* protocol.MAX_OUTPUT_CHUNK */ };

/* Each handler answers fully and returns NULL, or returns a code for m-hil-err. */
typedef const char *(*handler_t)(char *rest);

static const char SYNTAX[] = "syntax";
static const char RANGE[] = "range";
static const char SETUP[] = "setup";

static const char *hil_id(char *rest) {
    uint32_t id[3];
    if (!words_end(&rest)) {
        return SYNTAX;
    }
    port_unique_id(id);
    hil_begin("id");
    hil_text("build", build_id);
    hil_text("board", BOARD_ID);
    hil_hex32("uid", id, BOARD_UID_WORDS);
    hil_text("model", build_model_id);
    hil_text("runtime", model_runtime());
    hil_text("kernels", model_kernels());
    hil_unsigned("clock", port_clock()->core_hz);
    hil_text("src", port_clock()->source);
    hil_unsigned("icache", (port_caches() & PORT_ICACHE) != 0u);
    hil_unsigned("dcache", (port_caches() & PORT_DCACHE) != 0u);
    hil_signed("art", port_art());
    hil_text("counter", port_counter());
    hil_unsigned("baud", BOARD_CONSOLE_BAUD);
    hil_unsigned("version", 4); /* protocol.VERSION */
    hil_end();
    return NULL;
}

static const char *hil_time(char *rest) {
    if (!words_end(&rest)) {
        return SYNTAX;
    }
    const uint32_t state = port_lock();
    const uint64_t cycles = bench_cycles();
    const uint32_t ticks = port_ticks();
    const uint32_t counter = port_cycles();
    port_unlock(state);
    hil_begin("time");
    hil_unsigned("cycles", cycles);
    hil_unsigned("ticks", ticks);
    hil_unsigned("counter", counter);
    hil_end();
    return NULL;
}

/* CRC-32 of flash as the core reads it, to be compared with what was programmed. */
static const char *hil_crc(char *rest) {
    uint32_t address;
    uint32_t bytes;
    if (!words_number(words_next(&rest), 0, 999999999u, &address) ||
        !words_number(words_next(&rest), 1, 999999999u, &bytes)) {
        return RANGE;
    }
    if (!words_end(&rest)) {
        return SYNTAX;
    }
    const uint32_t offset = address - BOARD_FLASH_ORIGIN; /* below the origin it wraps */
    if (offset > BOARD_FLASH_BYTES || bytes > BOARD_FLASH_BYTES - offset) {
        return RANGE;
    }
    const uint32_t crc = bench_crc32((const void *)(uintptr_t)address, bytes);
    hil_begin("crc");
    hil_unsigned("address", address);
    hil_unsigned("bytes", bytes);
    hil_hex32("crc", &crc, 1);
    hil_end();
    return NULL;
}

/* The answer comes at the old rate, m-ready at the one that is agreed upon. */
static const char *hil_baud(char *rest) {
    uint32_t rate;
    if (!words_number(words_next(&rest), 9600, 9999999u, &rate)) {
        return RANGE;
    }
    if (!words_end(&rest)) {
        return SYNTAX;
    }
    hil_begin("baud");
    hil_unsigned("rate", rate);
    hil_end();
    console_rate(rate);
    return NULL;
}

static const char *hil_edge(char *rest) {
    uint32_t address;
    uint32_t tried;
    if (!words_number(words_next(&rest), 0, 999999999u, &address) || !check_edge_is_ram(address)) {
        return RANGE;
    }
    if (!words_end(&rest)) {
        return SYNTAX;
    }
    const uint32_t wrong = check_edge(address, &tried);
    hil_begin("edge");
    hil_unsigned("address", address);
    hil_unsigned("tried", tried);
    hil_unsigned("wrong", wrong);
    hil_end();
    return NULL;
}

/* Answers only where nothing guards the stack: otherwise the fault is reported. */
static const char *hil_guard(char *rest) {
    /* The word is there so that noise on the line cannot ask for it. */
    const char *const word = words_next(&rest);
    if (word == NULL || strcmp(word, "fault") != 0 || !words_end(&rest)) {
        return SYNTAX;
    }
    check_guard();
    hil_begin("guard");
    hil_unsigned("held", 0);
    hil_end();
    return NULL;
}

static void tensors(const char *dir, const build_tensor_t *list, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        hil_begin("io");
        hil_text("dir", dir);
        hil_unsigned("idx", i);
        hil_unsigned("bytes", list[i].bytes);
        hil_end();
    }
}

static const char *hil_io(char *rest) {
    if (!words_end(&rest)) {
        return SYNTAX;
    }
    tensors("in", build_inputs, build_input_count);
    tensors("out", build_outputs, build_output_count);
    hil_begin("io-end");
    hil_unsigned("n", build_input_count + build_output_count);
    hil_end();
    return NULL;
}

static const char *hil_setup(char *rest) {
    if (!words_end(&rest)) {
        return SYNTAX;
    }
    const int rc = run_setup();
    hil_begin("setup");
    hil_signed("rc", rc);
    hil_message("err", run_error());
    hil_end();
    return NULL;
}

static const char *hil_arena(char *rest) {
    uint32_t bytes;
    if (!words_number(words_next(&rest), 0, 999999999u, &bytes)) {
        return RANGE;
    }
    if (!words_end(&rest)) {
        return SYNTAX;
    }
    if (bytes > model_arena().capacity) {
        return RANGE;
    }
    const int rc = run_in_arena(bytes);
    uint32_t crc = 0;
    for (uint32_t i = 0; rc == 0 && i < build_output_count; i++) {
        crc = bench_crc32_more(crc, model_output(i), build_outputs[i].bytes);
    }
    hil_begin("arena");
    hil_unsigned("bytes", bytes);
    hil_signed("rc", rc);
    hil_hex32("out", &crc, 1);
    hil_message("err", run_error());
    hil_end();
    return NULL;
}

static const char *hil_arena_parts(char *rest) {
    if (!words_end(&rest)) {
        return SYNTAX;
    }
    if (!run_is_ready()) {
        return SETUP;
    }
    const uint32_t count = model_arena_part_count();
    for (uint32_t i = 0; i < count; i++) {
        const model_arena_part_t *const part = model_arena_part(i);
        hil_begin("arena-part");
        hil_unsigned("i", i);
        hil_text("kind", part->kind);
        hil_unsigned("used", part->used);
        hil_unsigned("requested", part->requested);
        hil_unsigned("count", part->count);
        hil_end();
    }
    hil_begin("arena-parts-end");
    hil_unsigned("n", count);
    hil_end();
    return NULL;
}

static const char *hil_in(char *rest) {
    /* The CRC is over everything between the command's name and itself, so find it first. */
    char *const mark = strrchr(rest, ' ');
    uint32_t crc;
    if (mark == NULL || !words_hex32(mark + 1, &crc)) {
        return SYNTAX;
    }
    if (bench_crc32(rest, (size_t)(mark - rest)) != crc) {
        return "crc";
    }
    *mark = '\0';
    uint32_t index;
    uint32_t offset;
    uint32_t count;
    if (!words_number(words_next(&rest), 0, 999999999u, &index) ||
        !words_number(words_next(&rest), 0, 999999999u, &offset)) {
        return SYNTAX;
    }
    const char *const hex = words_next(&rest);
    if (!words_hex_count(hex, &count) || !words_end(&rest)) {
        return SYNTAX;
    }
    if (index >= build_input_count || offset > build_inputs[index].bytes ||
        count > build_inputs[index].bytes - offset) {
        return RANGE;
    }
    words_hex_bytes(hex, build_staging + build_inputs[index].offset + offset, count);
    hil_begin("in");
    hil_unsigned("idx", index);
    hil_unsigned("off", offset);
    hil_unsigned("n", count);
    hil_end();
    return NULL;
}

static const char *report_run(void) {
    const run_result_t *const result = run_last();
    for (uint32_t i = 0; i < result->count; i++) {
        hil_begin("cycle");
        hil_unsigned("i", i);
        hil_unsigned("cycles", result->cycles[i]);
        hil_end();
    }
    hil_begin("run-end");
    hil_unsigned("w", result->warmups);
    hil_unsigned("n", result->count);
    hil_signed("rc", result->rc);
    hil_end();
    return NULL;
}

static const char *hil_run(char *rest) {
    uint32_t warmups;
    uint32_t repeats;
    if (!words_number(words_next(&rest), 0, RUN_WARMUPS, &warmups) ||
        !words_number(words_next(&rest), 1, RUN_REPEATS, &repeats)) {
        return RANGE;
    }
    if (!words_end(&rest)) {
        return SYNTAX;
    }
    if (!run_is_ready()) {
        return SETUP;
    }
    run_timed(warmups, repeats);
    return report_run();
}

static const char *hil_cycles(char *rest) {
    return words_end(&rest) ? report_run() : SYNTAX;
}

static const char *hil_layers(char *rest) {
    uint32_t passes;
    if (!words_number(words_next(&rest), 1, RUN_REPEATS, &passes)) {
        return RANGE;
    }
    if (!words_end(&rest)) {
        return SYNTAX;
    }
    if (!run_is_ready()) {
        return SETUP;
    }
    const layers_result_t *const layers = run_layers(passes);
    for (uint32_t i = 0; i < layers->count; i++) {
        const model_layer_t *const layer = model_layer(i);
        hil_begin("layer");
        hil_unsigned("i", i);
        hil_unsigned("cycles", layers->cycles[i]);
        hil_text("op", layer->op);
        hil_text("name", layer->name);
        hil_end();
    }
    hil_begin("layers-end");
    hil_unsigned("n", layers->count);
    hil_unsigned("total", layers->total);
    hil_signed("rc", layers->rc);
    hil_end();
    return NULL;
}

static const char *hil_out(char *rest) {
    uint32_t index;
    uint32_t offset;
    uint32_t length;
    if (!words_number(words_next(&rest), 0, 999999999u, &index) ||
        !words_number(words_next(&rest), 0, 999999999u, &offset) ||
        !words_number(words_next(&rest), 1, 999999999u, &length) || !words_end(&rest)) {
        return SYNTAX;
    }
    if (index >= build_output_count || offset > build_outputs[index].bytes ||
        length > build_outputs[index].bytes - offset) {
        return RANGE;
    }
    if (!run_is_ready()) {
        return SETUP;
    }
    const uint8_t *const bytes = model_output(index);
    for (uint32_t done = 0; done < length;) {
        const uint32_t left = length - done;
        const uint32_t chunk = left < OUTPUT_CHUNK ? left : (uint32_t)OUTPUT_CHUNK;
        hil_begin("out");
        hil_unsigned("idx", index);
        hil_unsigned("off", offset + done);
        hil_bytes("hex", bytes + offset + done, chunk);
        hil_end();
        done += chunk;
    }
    hil_begin("out-end");
    hil_unsigned("idx", index);
    hil_unsigned("n", length);
    hil_end();
    return NULL;
}

static const char *hil_mem(char *rest) {
    if (!words_end(&rest)) {
        return SYNTAX;
    }
    const model_arena_t arena = model_arena();
    hil_begin("mem");
    hil_unsigned("arena_planned", arena.planned);
    hil_unsigned("arena_used", arena.used);
    hil_unsigned("arena_capacity", arena.capacity);
    hil_signed("arena_paint", run_arena_painted());
    hil_unsigned("stack_used", port_stack_used());
    hil_unsigned("stack_size", port_stack_bytes());
    hil_end();
    return NULL;
}

static const struct {
    const char *name;
    handler_t handler;
} commands[] = {
    {"hil-id", hil_id},
    {"hil-io", hil_io},
    {"hil-setup", hil_setup},
    {"hil-in", hil_in},
    {"hil-run", hil_run},
    {"hil-cycles", hil_cycles},
    {"hil-layers", hil_layers},
    {"hil-out", hil_out},
    {"hil-mem", hil_mem},
    {"hil-arena", hil_arena},
    {"hil-arena-parts", hil_arena_parts},
    {"hil-time", hil_time},
    {"hil-crc", hil_crc},
    {"hil-baud", hil_baud},
    {"hil-edge", hil_edge},
    {"hil-guard", hil_guard},
};

static void refuse(const char *code, const char *command) {
    char shown[25];
    uint32_t length = 0;
    while (command[length] != '\0' && length < sizeof shown - 1u) {
        shown[length] = command[length];
        length++;
    }
    shown[length] = '\0';
    hil_begin("err");
    hil_text("code", code);
    hil_text("cmd", shown);
    hil_end();
}

void command_execute(char *text, command_state_t state) {
    if (state != COMMAND_OK) {
        refuse(state == COMMAND_OVERLONG ? "long" : "garbled", text);
        return;
    }
    char *rest = text;
    const char *const name = words_next(&rest);
    if (name == NULL) {
        return; /* an empty command only asks for m-ready */
    }
    for (uint32_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            const char *const code = commands[i].handler(rest);
            if (code != NULL) {
                refuse(code, name);
            }
            return;
        }
    }
    if (mlperf_execute(name, &rest)) {
        return;
    }
    if (strncmp(name, "hil-", 4) != 0) {
        console_text("e-[Unknown command]\r\n"); /* what MLPerf Tiny's runner understands */
    }
    refuse("unknown", name);
}
