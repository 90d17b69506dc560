"""Arena planner: greedy by size, as TensorFlow Lite Micro's GreedyMemoryPlanner.

Buffers are placed in order of size, largest first, each at the lowest offset that is free for its
whole lifetime. Sizes are rounded up to 16 bytes. The memory of an input is free after its last use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.models.graph import Graph
from harness.runtimes.aot.program import Program

ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class Buffer:
    """A piece of memory with a lifetime."""

    bytes: int
    first: int  # step that writes it first (-1: before the first step)
    last: int  # step that uses it last


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything is."""

    offsets: Mapping[int, int]  # arena offset by tensor index
    scratch: Mapping[int, int]  # arena offset of the scratch buffer by step number
    arena_bytes: int  # size of the arena


def plan(graph: Graph, program: Program) -> Plan:
    """Place all activations and scratch buffers of `program`."""
    owner = {t.index: program.aliases.get(t.index, t.index) for t in graph.tensors}
    end = len(program.steps)
    first: dict[int, int] = {owner[i]: -1 for i in graph.inputs}
    last: dict[int, int] = dict.fromkeys(first, -1)
    for number, step in enumerate(program.steps):
        for index in (*step.operator.outputs, *step.operator.inputs):
            if index >= 0 and not graph.tensors[index].is_constant:
                first.setdefault(owner[index], number)
                last[owner[index]] = number
    for index in graph.outputs:
        last[owner[index]] = end
    buffers = {
        (0, index): Buffer(_aligned(graph.tensors[index].bytes), first[index], last[index])
        for index in first
    }
    for number, step in enumerate(program.steps):
        if step.scratch_bytes:
            buffers[(1, number)] = Buffer(_aligned(step.scratch_bytes), number, number)
    keys = sorted(buffers)
    offsets, arena_bytes = place([buffers[key] for key in keys])
    placed = dict(zip(keys, offsets, strict=True))
    return Plan(
        offsets={i: placed[(0, owner[i])] for i in owner if (0, owner[i]) in placed},
        scratch={number: offset for (kind, number), offset in placed.items() if kind == 1},
        arena_bytes=max(arena_bytes, ALIGNMENT),
    )


def place(buffers: list[Buffer]) -> tuple[list[int], int]:
    """Return offsets at which no two buffers overlap in space and time, and the memory needed."""
    offsets = [0] * len(buffers)
    placed: list[int] = []
    for number in sorted(range(len(buffers)), key=lambda i: (-buffers[i].bytes, -i)):
        wanted = buffers[number]
        offset = 0
        # In order of offset: take the first gap that is wide enough.
        for other in placed:
            busy = buffers[other]
            if busy.first > wanted.last or wanted.first > busy.last:
                continue
            if offsets[other] - offset >= wanted.bytes:
                break
            offset = max(offset, offsets[other] + busy.bytes)
        offsets[number] = offset
        placed.append(number)
        placed.sort(key=lambda i: offsets[i])
    total = max((offsets[i] + buffers[i].bytes for i in range(len(buffers))), default=0)
    return offsets, total


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
