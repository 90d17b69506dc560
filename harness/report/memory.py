"""Split SRAM and flash into their uses, as Figure 2 of MicroNets (Banbury et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from harness.boards import load_board
from harness.errors import BoardError
from harness.results.record import Measurement

INTERMEDIATE = "intermediate tensors"
TEMPORARY = "only while allocating"
PERSISTENT = "persistent buffers"
ARENA = "arena, not split"
RUNTIME_RAM = "runtime and bench"
STACK = "stack"
WEIGHTS = "weights"
GRAPH = "graph and quantisation"
CODE = "runtime and kernels"
PORT = "port"
FREE = "free"


@dataclass(frozen=True, slots=True)
class MemorySplit:
    """Bytes by part, in the order of drawing, without parts of zero bytes."""

    sram: Mapping[str, int]  # empty when the row lacks a figure
    flash: Mapping[str, int]  # empty when the row lacks a figure
    sram_capacity: int | None  # RAM of the board, None when the board is not known here
    flash_capacity: int | None  # the same for flash


def split_memory(row: Measurement) -> MemorySplit:
    """Return the use of SRAM and flash by a row.

    The arena counts with its verified minimum where there is one, else with the size that the
    runtime reports; the stack counts with its high-water mark, not with its reserved size. The rest
    of the board's memory is free.
    """
    ram = flash = None
    with suppress(BoardError):
        board = load_board(row.board)
        ram, flash = board.ram_bytes, board.flash.bytes
    return MemorySplit(_rest(_sram(row), ram), _rest(_flash(row), flash), ram, flash)


def _sram(row: Measurement) -> dict[str, int]:
    arena, other, stack = row.arena_bytes, row.ram_other_bytes, row.stack_bytes
    if arena is None or other is None or stack is None:
        return {}
    known = row.arena_parts or {}
    parts: dict[str, int] = {}
    if "persistent" in known and "nonpersistent" in known:
        # The verified minimum may be a little less than a roomier arena takes.
        persistent = min(known["persistent"]["used"], arena)
        parts[INTERMEDIATE] = min(known["nonpersistent"]["used"], arena - persistent)
        parts[PERSISTENT] = persistent
        parts[TEMPORARY] = arena - persistent - parts[INTERMEDIATE]
    else:
        parts[ARENA] = arena
    return {**parts, RUNTIME_RAM: other, STACK: stack}


def _flash(row: Measurement) -> dict[str, int]:
    weights, graph, port = row.flash_weights_bytes, row.flash_graph_bytes, row.flash_port_bytes
    kernels, runtime = row.flash_kernels_bytes, row.flash_runtime_bytes
    if weights is None or graph is None or port is None or kernels is None or runtime is None:
        return {}
    return {WEIGHTS: weights, GRAPH: graph, CODE: kernels + runtime, PORT: port}


def _rest(parts: dict[str, int], capacity: int | None) -> dict[str, int]:
    if parts and capacity is not None:
        parts[FREE] = max(0, capacity - sum(parts.values()))
    return {name: size for name, size in parts.items() if size}
