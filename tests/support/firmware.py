"""A model that is no model: its output is its input with every bit 0 flipped."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.models.graph import Layer
from harness.runtimes import GeneratedSources

INPUT_BYTES = 100
ARENA_NEEDS = 150

MODEL_C = """
#include "model.h"

#include "bench_time.h"
#include "kernel.h"

#define BYTES @BYTES@u
static uint8_t arena[2 * BYTES] __attribute__((section(".bss.model_arena"), aligned(16)));
static const model_layer_t layers[] = {{"flip", "CUSTOM"}};
__attribute__((section(".rodata.model_weights"))) static const uint8_t weights[@WEIGHTS@] = {1};

const char *model_runtime(void) { return "aot"; }
const char *model_kernels(void) { return "portable"; }
int model_setup(void) { return 0; }
static const char *error = "";
const char *model_error(void) { return error; }
int model_setup_in(uint32_t bytes) {
    error = bytes < @NEEDS@ ? "100% full: more, please" : "";
    return bytes < @NEEDS@ ? 7 : 0;
}
uint32_t model_arena_part_count(void) { return 1; }
const model_arena_part_t *model_arena_part(uint32_t i) {
    static const model_arena_part_t part = {"nonpersistent", 2 * BYTES, BYTES, 2};
    return i == 0u ? &part : 0;
}
uint32_t model_input_count(void) { return 1; }
void *model_input(uint32_t i) { return i == 0u ? arena : 0; }
uint32_t model_input_bytes(uint32_t i) { return i == 0u ? BYTES : 0u; }
uint32_t model_output_count(void) { return 1; }
const void *model_output(uint32_t i) { return i == 0u ? arena + BYTES : 0; }
uint32_t model_output_bytes(uint32_t i) { return i == 0u ? BYTES : 0u; }
int model_invoke(void) {
    kernel_flip(arena + BYTES, arena, BYTES, weights[0]);
    for (uint32_t i = 0; i < BYTES; i++) {
        arena[i] = 0; /* the input is dead afterwards */
    }
    return 0;
}
uint32_t model_layer_count(void) { return 1; }
const model_layer_t *model_layer(uint32_t i) { return &layers[i]; }
int model_invoke_profiled(uint64_t *cycles, uint32_t n) {
    const uint64_t start = bench_cycles();
    const int rc = model_invoke();
    if (n != 0u) {
        cycles[0] = bench_cycles() - start;
    }
    return rc;
}
model_arena_t model_arena(void) {
    const model_arena_t sizes = {sizeof arena, sizeof arena, sizeof arena};
    return sizes;
}
void *model_arena_base(void) { return arena; }
"""
KERNEL_H = """
#include <stdint.h>
void kernel_flip(uint8_t *to, const uint8_t *from, uint32_t n, uint8_t with);
"""
KERNEL_C = """
#include "kernel.h"
void kernel_flip(uint8_t *to, const uint8_t *from, uint32_t n, uint8_t with) {
    for (uint32_t i = 0; i < n; i++) {
        to[i] = from[i] ^ with;
    }
}
"""


def fake_model(
    name: str = "flip",
    content: bytes = b"flip",
    shape: tuple[int, ...] = (INPUT_BYTES,),
    outputs: int = 0,
    scale: float = 0.5,
) -> Any:
    """Return what `build` reads of a TFLiteModel; by default one tensor is input and output."""
    import hashlib

    def tensor(*shape: int) -> Any:
        return SimpleNamespace(scales=(scale,), zero_points=(-128,), shape=shape, dtype="int8")

    tensors = (tensor(1, *shape), tensor(1, outputs))
    graph = SimpleNamespace(inputs=(0,), outputs=(1 if outputs else 0,), tensors=tensors)
    digest = hashlib.sha256(content).hexdigest()
    return SimpleNamespace(name=name, content=content, sha256=digest, graph=graph)


def fake_sources(
    folder: Path, *, size: int = INPUT_BYTES, weights: int = 64, model_c: str = MODEL_C
) -> GeneratedSources:
    """Write a kernel library to `folder` and return sources that use it."""
    include = folder / "Include"
    include.mkdir(parents=True, exist_ok=True)
    (include / "kernel.h").write_text(KERNEL_H)
    (folder / "kernel.c").write_text(KERNEL_C)
    text = model_c.replace("@BYTES@", str(size)).replace("@WEIGHTS@", str(weights))
    text = text.replace("@NEEDS@", str(ARENA_NEEDS))
    return GeneratedSources(
        files={"model/model.c": text},
        library_sources=(folder / "kernel.c",),
        include_dirs=(include,),
        defines=("FAKE=1",),
        arena_planned_bytes=2 * size,
        weights_bytes=weights,
        input_bytes=(size,),
        output_bytes=(size,),
        layers=(Layer(0, "flip", "CUSTOM", 0),),
        runtime="aot",
        runtime_version="0",
        kernels="portable",
        kernels_version="0",
    )
