"""Lines of memory that a step misses: in the data cache, or in the flash accelerator."""

from __future__ import annotations

from dataclasses import dataclass

from harness.boards import Board
from harness.models.graph import Graph
from harness.runtimes.aot.planner import Plan
from harness.runtimes.aot.program import Pointer, Value

Counts = dict[str, float]

_LIMITS = (0.5, 1.0, 2.0)  # of what is kept: how sharply misses set in is for the fit to find


@dataclass(frozen=True, slots=True)
class Memory:
    """Where a model's data is, and what holds lines of it."""

    graph: Graph
    plan: Plan
    arena: int  # address of the arena
    cached_from: int | None  # first address of RAM behind the data cache; None without one
    kept_bytes: int  # that cache or accelerator hold
    line_bytes: int

    @classmethod
    def of(cls, board: Board, graph: Graph, plan: Plan, arena: int) -> Memory:
        """Return the memory of a board with its arena at an address."""
        caches = board.facts.caches
        if caches.dcache_bytes:  # tightly coupled memory comes first, and is not cached
            first = board.ram_regions[0].end
            return cls(graph, plan, arena, first, caches.dcache_bytes, caches.line_bytes)
        flash = caches.accelerator
        lines, line = (flash.data_lines, flash.line_bytes) if flash else (1, 32)
        return cls(graph, plan, arena, None, lines * line, line)

    def cached(self, pointer: Value | None) -> float:
        """Return the share of a tensor that lies in RAM behind the data cache."""
        offset = self.plan.offsets.get(pointer.tensor) if isinstance(pointer, Pointer) else None
        if self.cached_from is None or offset is None or not isinstance(pointer, Pointer):
            return 0.0
        begin, size = self.arena + offset, self.graph.tensors[pointer.tensor].bytes
        return min(1.0, max(0, begin + size - max(begin, self.cached_from)) / max(1, size))

    def scratch_cached(self, number: int) -> bool:
        """Return whether the scratch buffer of a step lies there."""
        offset = self.plan.scratch.get(number)
        return None not in (self.cached_from, offset) and (
            self.arena + (offset or 0) >= (self.cached_from or 0)
        )

    def lines(self, name: str, size: float, passes: float = 1, between: float = 0) -> Counts:
        """Return the lines of `size` bytes that are read or written `passes` times.

        From the second time on they are missed where the bytes in `between` do not fit.
        """
        lines, fill = size / self.line_bytes, between / self.kept_bytes
        again = lines * max(0.0, passes - 1)
        counts = {f"{name} lines": lines}
        for limit in _LIMITS:
            share = min(1.0, max(0.0, fill / limit - 0.6) / 0.8)
            counts[f"{name} again {limit:g}"] = again * share
        return {key: n for key, n in counts.items() if n}
