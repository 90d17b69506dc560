"""Write a lowered program as C data and the weights as assembler, under fixed file names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from harness.models.graph import Graph, TFLiteModel
from harness.runtimes.aot.planner import Plan
from harness.runtimes.aot.program import Braces, Pointer, Program, Scratch, Step, Table, Value

_ALIGNMENT = 16  # as in a .tflite, so that kernels see the same alignment as under TFLM


def emit(model: TFLiteModel, program: Program, plan: Plan) -> tuple[dict[str, str | bytes], int]:
    """Return the files of one model by name, and the bytes of its weights without alignment."""
    weights, places = collect_weights(model.graph, program)
    writer = _Writer(model.graph, program, plan, places)
    files: dict[str, str | bytes] = {
        "model/model.c": "\n".join([*writer.lines(), ""]),
        "model/model_weights.S": _weights_text(weights),
    }
    return files, sum(model.graph.tensors[index].bytes for index in places)


@dataclass(frozen=True, slots=True)
class _Writer:
    """Formats the C file."""

    graph: Graph
    program: Program
    plan: Plan
    places: Mapping[int, int]  # offsets of constants in the weights

    def lines(self) -> Iterator[str]:
        yield "/* Generated for one model; not to be edited. */"
        yield '#include "aot_graph.h"'
        yield ""
        yield "#include <stddef.h>"
        yield ""
        yield "extern const uint8_t model_weights[];"
        yield (
            f"static uint8_t arena[{self.plan.arena_bytes}] "
            '__attribute__((aligned(16), section(".bss.model_arena")));'
        )
        for number, step in enumerate(self.program.steps):
            yield from self._block(number, step)
        yield ""
        yield "static const aot_step_t steps[] = {"
        for number, step in enumerate(self.program.steps):
            check = f"aot_{step.kernel}_scratch" if step.checks_scratch else "NULL"
            block = f"&block_{number}" if step.block else "NULL"
            yield f"    {{aot_{step.kernel}, {check}, {block}, {step.scratch_bytes}}},"
        yield "};"
        yield "static const model_layer_t layers[] = {"
        for step in self.program.steps:
            layer = self.graph.layer(step.operator)
            yield f'    {{"{layer.name}", "{layer.operator}"}},'
        yield "};"
        for kind, indices in (("inputs", self.graph.inputs), ("outputs", self.graph.outputs)):
            rows = (f"{{{self.plan.offsets[i]}, {self.graph.tensors[i].bytes}}}" for i in indices)
            yield f"static const aot_io_t {kind}[] = {{{', '.join(rows)}}};"
        yield ""
        yield "static const aot_graph_t linked_graph = {"
        yield "    steps, layers, inputs, outputs, arena,"
        yield (
            f"    {len(self.program.steps)}, {len(self.graph.inputs)}, "
            f"{len(self.graph.outputs)}, {self.plan.arena_bytes},"
        )
        yield "};"
        yield ""
        yield "const aot_graph_t *aot_graph(void) { return &linked_graph; }"
        yield "const char *aot_graph_error(void) { return NULL; }"

    def _block(self, number: int, step: Step) -> Iterator[str]:
        if not step.block:
            return
        yield ""
        for name, value in step.fields.items():
            if isinstance(value, Table):
                yield self._table(f"{name}_{number}", value)
        yield f"static const aot_{step.block}_t block_{number} = {{"
        for name, value in step.fields.items():
            yield f"    .{name} = {self._value(number, step, name, value)},"
        yield "};"

    def _table(self, name: str, table: Table) -> str:
        if any(isinstance(value, Pointer) for value in table.values):
            ctype = "int8_t *const"
            items = (self._pointer(v) for v in table.values if isinstance(v, Pointer))
        else:
            ctype = "int32_t"
            items = (str(value) for value in table.values)
        return f"static const {ctype} {name}[] = {{{', '.join(items)}}};"

    def _value(self, number: int, step: Step, name: str, value: Value) -> str:
        if isinstance(value, Pointer):
            return self._pointer(value)
        if isinstance(value, Scratch):
            if not step.scratch_bytes:
                return "NULL"
            return f"({value.ctype} *)(arena + {self.plan.scratch[number]})"
        if isinstance(value, Table):
            return f"{name}_{number}"
        if isinstance(value, Braces):
            return f"{{{', '.join(map(str, value.values))}}}"
        if isinstance(value, float):
            return f"{value.hex()}f"
        return str(value)

    def _pointer(self, pointer: Pointer) -> str:
        index = pointer.tensor
        if index < 0:
            return "NULL"
        if index in self.places:
            return f"(const {pointer.ctype} *)(model_weights + {self.places[index]})"
        return f"({pointer.ctype} *)(arena + {self.plan.offsets[index]})"


def collect_weights(graph: Graph, program: Program) -> tuple[bytes, dict[int, int]]:
    """Concatenate the constants that the program points to, in order of first use."""
    blob = bytearray()
    places: dict[int, int] = {}
    for step in program.steps:
        for index in _pointers(step):
            data = graph.tensors[index].data if index >= 0 else None
            if data is None or index in places:
                continue
            blob += b"\0" * (-len(blob) % _ALIGNMENT)
            places[index] = len(blob)
            blob += data.tobytes()
    return bytes(blob), places


def _pointers(step: Step) -> Iterator[int]:
    for value in step.fields.values():
        values = value.values if isinstance(value, Table) else (value,)
        for item in values:
            if isinstance(item, Pointer):
                yield item.tensor


def _weights_text(weights: bytes) -> str:
    """Write the weights as 64-bit words: assembles ten times as fast as a C array."""
    padded = weights + b"\0" * (-len(weights) % 64)
    words = np.frombuffer(padded, dtype="<u8").reshape(-1, 8)
    rows = "".join(f".quad {','.join(map(hex, row))}\n" for row in words.tolist())
    return f"""/* Generated: weights and biases of one model. */
.section .rodata.model_weights,"a",%progbits
.balign 16
.global model_weights
.type model_weights, %object
model_weights:
{rows}.size model_weights, . - model_weights
.section .note.GNU-stack,"",%progbits
"""
