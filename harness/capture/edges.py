"""Unaligned accesses across the boundaries between a chip's memories.

An arena may lie across DTCM and SRAM1 of a Cortex-M7, and kernels read words at any address.
Accesses that cross "memory map boundaries are architecturally unpredictable" (Cortex-M7 TRM 2.4.2),
so the device is asked to make them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from harness import protocol
from harness.boards import Board
from harness.capture.console import Console, first
from harness.errors import CaptureError, DeviceError


@dataclass(frozen=True, slots=True)
class EdgeReading:
    """Result at one boundary; None where no memory around it is free to be used."""

    edge: str  # names of the memories
    address: int
    tried: int | None
    wrong: int | None


def read_edges(console: Console, board: Board) -> Iterator[EdgeReading]:
    """Yield what the device finds at each boundary within its RAM; CaptureError without answer."""
    for low, high in pairwise(board.arena_ram):
        name = f"{low.name}|{high.name}"
        try:
            found = console.ask(
                protocol.encode_edge(high.origin),
                lambda records: first(records, protocol.Edge),
                what=f"accesses across {name}",
                tries=2,
            )
        except DeviceError as refused:
            if "fault" in refused.data:
                raise
            yield EdgeReading(name, high.origin, None, None)
            continue
        yield EdgeReading(name, high.origin, found.tried, found.wrong)


def check_edges(console: Console, board: Board) -> None:
    """Raise `CaptureError` if an access across a boundary went wrong."""
    for found in read_edges(console, board):
        if found.wrong:
            raise wrong_edge(console, found)


def wrong_edge(console: Console, found: EdgeReading) -> CaptureError:
    """Return the error for accesses that went wrong."""
    return console.failure(
        CaptureError,
        f"{found.wrong} of {found.tried} unaligned accesses across {found.edge} "
        f"(0x{found.address:08X}) went wrong",
        expected="none: an arena may lie across that boundary",
        fix="report it with the file of `harness bench prove`; until then measure networks whose "
        f"arena ends below 0x{found.address:08X}",
    )
