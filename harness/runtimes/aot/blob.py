"""Write a lowered program as bytes for a firmware that takes any model.

The same data as `emit` writes as C, laid out as the compiler would lay it out: every parameter
block as `firmware_template/runtime/aot/aot_kernels.h` declares it, at addresses of the model
region, with pointers to the kernels and the arena of the image that it is for.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import cache

from harness.models.graph import TFLiteModel
from harness.paths import data_dir
from harness.runtimes.aot.emit import collect_weights
from harness.runtimes.aot.planner import Plan
from harness.runtimes.aot.program import Braces, Pointer, Program, Scratch, Step, Table, Value

_ALIGNMENT = 16
_GRAPH = struct.Struct("<11I")  # aot_graph_t, then the rest of content_t in aot_shared.c
_TYPEDEF = re.compile(r"typedef struct \{(.*?)\} aot_(\w+)_t;", re.DOTALL)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_WORDS = {"shape": 4, "pair": 2}


def write_blob(
    model: TFLiteModel, program: Program, plan: Plan, origin: int, symbols: Mapping[str, int]
) -> bytes:
    """Return the content of a model region.

    Args:
        model: The model.
        program: What it was lowered to.
        plan: Places in the arena.
        origin: Address of the first byte.
        symbols: Addresses in the image: the arena (``_free_start``), ``aot_kernels`` and each
            kernel.
    """
    return _Blob(model, program, plan, origin, symbols).content()


def kernel_names() -> tuple[str, ...]:
    """Return the kernels of the image in the order of its table."""
    path = data_dir("firmware_template") / "runtime" / "aot" / "aot_shared.c"
    return tuple(re.findall(r"^ +KERNEL\((\w+)\),", path.read_text("utf-8"), re.MULTILINE))


@cache
def _layouts() -> Mapping[str, tuple[tuple[str, int], ...]]:
    """Return, by block type, the name and the number of words of each field, in order."""
    path = data_dir("firmware_template") / "runtime" / "aot" / "aot_kernels.h"
    text = _COMMENT.sub("", path.read_text("utf-8"))
    return {name: tuple(_fields(body)) for body, name in _TYPEDEF.findall(text)}


def _fields(body: str) -> Sequence[tuple[str, int]]:
    found = []
    for line in body.split(";"):
        declaration = line.strip()
        if not declaration:
            continue
        kind = re.match(r"(?:const )?(?:aot_)?(\w+?)(?:_t)?\b", declaration)
        words = _WORDS.get(kind[1], 1) if kind else 1
        for part in declaration.split(","):
            name = re.search(r"(\w+)(?:\[(\d+)\])?$", part.strip())
            if name is not None:
                found.append((name[1], int(name[2] or words)))
    return found


class _Blob:
    def __init__(
        self,
        model: TFLiteModel,
        program: Program,
        plan: Plan,
        origin: int,
        symbols: Mapping[str, int],
    ) -> None:
        self._graph, self._program, self._plan = model.graph, program, plan
        self._origin, self._symbols = origin, symbols
        self._arena = symbols["_free_start"]
        weights, self._places = collect_weights(model.graph, program)
        # Weights first: their addresses do not depend on the graph, and they are aligned as in an
        # image of one model.
        self._data = bytearray(_GRAPH.size)
        self._weights = self._append(weights, align=32)

    def content(self) -> bytes:
        program, graph = self._program, self._graph
        steps, layers = [], []
        for number, step in enumerate(program.steps):
            kernel = self._symbols[f"aot_{step.kernel}"]
            check = self._symbols[f"aot_{step.kernel}_scratch"] if step.checks_scratch else 0
            block = self._block(number, step) if step.block else 0
            steps.append(struct.pack("<IIIi", kernel, check, block, step.scratch_bytes))
            layer = graph.layer(step.operator)
            layers += [self._text(layer.name), self._text(layer.operator)]
        io = (self._words(self._io(indices)) for indices in (graph.inputs, graph.outputs))
        inputs, outputs = io
        names = kernel_names()
        table = struct.pack(f"<{len(names)}I", *(self._symbols[name] for name in names))
        head = (
            self._append(b"".join(steps)),
            self._words(layers),
            inputs,
            outputs,
            self._arena,
            len(program.steps),
            len(graph.inputs),
            len(graph.outputs),
            self._plan.arena_bytes,
            self._symbols["aot_kernels"],
            zlib.crc32(table),
        )
        self._data[: _GRAPH.size] = _GRAPH.pack(*head)
        return bytes(self._data)

    def _io(self, indices: Sequence[int]) -> list[int]:
        return [
            word
            for index in indices
            for word in (self._plan.offsets[index], self._graph.tensors[index].bytes)
        ]

    def _block(self, number: int, step: Step) -> int:
        data = bytearray()
        for name, words in _layouts()[step.block]:
            data += self._value(number, step, step.fields.get(name, 0)).ljust(4 * words, b"\0")
        return self._append(bytes(data))

    def _value(self, number: int, step: Step, value: Value) -> bytes:
        if isinstance(value, Braces):
            return struct.pack(f"<{len(value.values)}i", *value.values)
        if isinstance(value, float):
            return struct.pack("<f", value)
        if isinstance(value, Scratch):
            address = self._arena + self._plan.scratch[number] if step.scratch_bytes else 0
            return address.to_bytes(4, "little")
        if isinstance(value, Table):
            return self._words([self._number(item) for item in value.values]).to_bytes(4, "little")
        return (self._number(value) & 0xFFFF_FFFF).to_bytes(4, "little")

    def _number(self, value: int | Pointer) -> int:
        if not isinstance(value, Pointer):
            return value
        if value.tensor < 0:
            return 0
        if value.tensor in self._places:
            return self._weights + self._places[value.tensor]
        return self._arena + self._plan.offsets[value.tensor]

    def _words(self, values: Sequence[int]) -> int:
        words = (value & 0xFFFF_FFFF for value in values)
        return self._append(struct.pack(f"<{len(values)}I", *words))

    def _text(self, text: str) -> int:
        return self._append(text.encode() + b"\0")

    def _append(self, data: bytes, align: int = 4) -> int:
        """Append data and return its address."""
        self._data += b"\0" * (-(self._origin + len(self._data)) % align)
        address = self._origin + len(self._data)
        self._data += data
        return address
