"""Set up the compiled hook that watches memory and branches, and describe new blocks to it."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import HarnessError, VirtualError
from harness.virtual.chip.memory import Memory, MemoryMap
from harness.virtual.native import shared, watch
from harness.virtual.native.caches import CHANGED, KEPT, MEMORY_END, REGION
from harness.virtual.native.registers import find_registers
from harness.virtual.time.addresses import Access, derive
from harness.virtual.time.decode import decode_block
from harness.virtual.time.events import (
    BRANCH_CONDITIONAL,
    BRANCH_DIRECT,
    BRANCH_INDIRECT,
    BRANCH_NONE,
    BRANCH_RETURN,
)
from harness.virtual.time.instruction import FLAGS, Instruction

if TYPE_CHECKING:
    from harness.boards import Board

_DESCRIBE = ctypes.CFUNCTYPE(None, ctypes.c_int64)
_WEAKLY_TAKEN, _WEAKLY_NOT = 2, 1
_FLASH_AXI = 0x0800_0000
_LINE_BYTES = 32
_REMEMBERED = 1 << 16  # descriptions of blocks, some 50 MB


class Observer:
    """Events of the executed blocks, for timing models that give them a cost.

    Args:
        board: Its caches and memory regions.
        memory: The memories that the addresses of blocks may depend on.
    """

    def __init__(self, board: Board, memory: MemoryMap) -> None:
        self._memory = memory
        self._cortex_m7 = board.facts.core.cpu == "cortex-m7"
        self._state = shared(watch.WATCH)
        self._watch = self._state[0]
        self._callback = _DESCRIBE(self._on_new_block)
        self._known: dict[tuple[int, bytes], tuple[int, int, Any, Any]] = {}
        self._blocks: Any = None
        self.error: HarnessError | None = None
        self._watch["describe"] = ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        self._watch["cold"] = 1
        self._code_kept = 0
        lines, facts = self._watch["caches"], board.facts.caches
        if self._cortex_m7:
            lines["icache_sets"] = facts.icache_bytes // (facts.icache_ways * _LINE_BYTES)
            lines["dcache_sets"] = facts.dcache_bytes // (facts.dcache_ways * _LINE_BYTES)
            lines["dcache_ways"] = facts.dcache_ways
            self._watch["cached_from"] = _FLASH_AXI
        elif facts.accelerator is None:
            raise VirtualError(
                f"the timing of '{board.id}' depends on its flash accelerator",
                where=board.manifest,
                expected="harness.caches.accelerator in its manifest",
                fix="add it, or use a timing model without memory: HARNESS_TIMING=issue",
            )
        else:
            self._watch["accelerator"] = 1
            lines["dcache_sets"] = 1  # of which nothing is cached
            lines["line_shift"] = facts.accelerator.line_bytes.bit_length() - 1
            lines["code_kept"] = self._code_kept = facts.accelerator.code_lines
            lines["data_kept"] = facts.accelerator.data_lines
            lines["prefetch"] = facts.accelerator.prefetch
        self._add_regions()

    def _add_regions(self) -> None:
        regions = [(origin, m) for m in self._memory.memories for origin in m.origins]
        if len(regions) > watch.MAX_REGIONS:
            raise VirtualError(f"more than {watch.MAX_REGIONS} regions of memory")
        if any(origin + m.bytes > MEMORY_END for origin, m in regions):
            raise VirtualError(f"the timing models know no memory from {MEMORY_END:#x} on")
        self._watch["region_count"] = len(regions)
        # RAM first, as most accesses go there.
        for n, (origin, memory) in enumerate(sorted(regions, key=lambda r: -r[0])):
            kind = self._kind(origin, memory)
            self._watch["regions"][n] = (origin, memory.bytes, kind, memory.address)
            lines = slice(origin // _LINE_BYTES, (origin + memory.bytes) // _LINE_BYTES)
            uncached = KEPT | CHANGED if kind in (watch.TCM, watch.PLAIN_RAM) else 0
            self._watch["caches"]["lines"][lines] = REGION << n | uncached

    def _kind(self, origin: int, memory: Memory) -> int:
        """Return what a data access to `memory` at `origin` goes through."""
        if not self._cortex_m7:
            return watch.ACCELERATED if memory.kind == "flash" else watch.PLAIN_RAM
        if memory.kind == "flash":
            return watch.CACHED_FLASH if origin >= _FLASH_AXI else watch.TCM
        if memory.kind == "itcm" or memory.name == "DTCM":
            return watch.TCM
        return watch.CACHED_RAM

    def watch(self, table: int, blocks: Any) -> None:
        """Use the block table at host address `table`, whose blocks are `blocks`."""
        self._watch["table"] = table
        self._blocks = blocks

    def attach(self, engine: Any) -> int:
        """Learn where a Unicorn engine has its registers; return the record for its hook."""
        self._watch["registers"] = find_registers(engine)
        return int(self._state.ctypes.data)

    def interrupt(self) -> None:
        """Let the next block follow none, as an interrupt comes between."""
        self._watch["last"] = 0

    @property
    def cold_address(self) -> int:
        """Host address of the word that, set to one, empties caches and predictors."""
        return int(self._state.ctypes.data) + watch.COLD_AT

    def enable_caches(self, *, instruction: bool, data: bool) -> None:
        """Follow the core's cache enables; a cache that is switched on is empty."""
        caches = self._watch["caches"]
        new = instruction and self._cortex_m7, data and self._cortex_m7
        if new != (caches["icache_on"], caches["dcache_on"]):
            caches["icache_on"], caches["dcache_on"] = new
            self.forget_history()

    def enable_accelerator(self, on: bool) -> None:
        """Follow the switch of the accelerator's code lines; off, the line just read is left."""
        kept = self._code_kept if on else min(1, self._code_kept)
        if kept != self._watch["caches"]["code_kept"]:
            self._watch["caches"]["code_kept"] = kept
            self.forget_history()

    def forget_history(self) -> None:
        """Empty caches and predictors before the next block."""
        self._watch["cold"] = 1

    def forget(self) -> None:
        """Set predictors up again, and let the next block follow none."""
        self._watch["last"] = 0
        self._watch["epoch"] += 1

    @property
    def is_filling(self) -> bool:
        """Whether half the room for the accesses of blocks is used."""
        return bool(self._watch["access_count"] > watch.MAX_ACCESSES // 2)

    def clear(self) -> None:
        """Drop the accesses of all blocks, as the block table did with these."""
        self._watch["access_count"] = 0

    def _on_new_block(self, slot: int) -> None:
        try:
            self._describe(slot)
        except HarnessError as error:
            self.error = error
        except Exception as error:
            self.error = VirtualError(f"bug in the timing of a block: {error!r}")

    def _describe(self, slot: int) -> None:
        block = self._blocks[slot]
        address = int(block["address"])
        code = self._memory.read(address, int(block["bytes"])) or b""
        known = self._known.get((address, code))
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()  # many firmware images have been through here
            known = self._known[address, code] = self._derive(code, address)
        block["branch"], block["initial"], accesses, sums = known
        first = int(self._watch["access_count"])
        if first + len(accesses) > watch.MAX_ACCESSES:
            raise VirtualError("more code was executed than the memory model has room for")
        self._watch["accesses"][first : first + len(accesses)] = accesses
        self._watch["sums"][first : first + len(accesses)] = sums
        self._watch["access_count"] = first + len(accesses)
        block["access"], block["access_count"] = first, len(accesses)

    def _derive(self, code: bytes, address: int) -> tuple[int, int, Any, Any]:
        """Return kind and prediction of the branch, and accesses."""
        accesses = derive(code, address, merge=self._cortex_m7)
        packed = np.zeros(len(accesses), dtype=watch.ACCESS)
        sums = np.zeros(len(accesses), dtype=watch.SUM)
        values = int(self._state.ctypes.data) + watch.VALUES_AT
        registers = int(self._watch["registers"]) or values
        places = [(registers if n < watch.FIRST_KEPT else values) + 4 * n for n in watch.NUMBERS]
        for each in zip(accesses, packed, sums, strict=True):
            _pack(*each, places)
        return *branch_of(list(decode_block(code))), packed, sums


def branch_of(block: list[Instruction]) -> tuple[int, int]:
    """Return the kind of branch that ends `block`, and the first state of its predictor."""
    last = block[-1] if block else None
    if last is None or not last.branch:
        return BRANCH_NONE, 0
    if last.branch == "conditional" or FLAGS in last.normal:
        backward = last.displacement is not None and last.displacement < 0
        return BRANCH_CONDITIONAL, _WEAKLY_TAKEN if backward else _WEAKLY_NOT
    if last.branch in ("direct", "call"):
        return BRANCH_DIRECT, 0
    # Returns come from a stack of return addresses: bx lr, and loads of PC from the stack.
    if (last.name == "bx" and last.early == (14,)) or last.unit == "load-multiple":
        return BRANCH_RETURN, 0
    return BRANCH_INDIRECT, 0


def _pack(access: Access, record: Any, total: Any, places: list[int]) -> None:
    """Fill in the records of the compiled code, with the host addresses of the values."""
    terms = access.address.terms
    total["terms"] = len(terms)
    for n, (value, factor) in enumerate(terms):
        total["values"][n], total["factors"][n] = places[value], factor
    record["summed"] = len(terms) > 2 or any(factor != 1 for _, factor in terms)
    for name, (value, _) in zip(("one", "two"), [*terms, *[(watch.ZERO, 1)] * 2], strict=False):
        record[name] = places[value]
    record["dependent"] = any(value >= watch.FIRST_KEPT for value, _ in terms)
    record["constant"] = access.address.constant & 0xFFFF_FFFF
    record["bytes"] = min(access.bytes, 0xFF)
    record["element_bytes"], record["elements"] = access.element_bytes, access.elements
    record["alignment"] = max(access.element_bytes - 1, 0)
    record["store"], record["chained"] = access.store, access.chained
    record["clear"] = int(record["alignment"]) | ~(MEMORY_END - 1) & 0xFFFF_FFFF
    record["needed"] = watch.NEVER
    record["keep"] = access.keep
