"""Set up the compiled hook that watches memory and branches, and tell it about new blocks."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import HarnessError, VirtualError
from harness.virtual.chip.memory import Memory, MemoryMap
from harness.virtual.time import dynamics, native
from harness.virtual.time.addresses import Access, derive
from harness.virtual.time.decode import FLAGS, Instruction, decode_block
from harness.virtual.time.events import (
    BRANCH_CONDITIONAL,
    BRANCH_DIRECT,
    BRANCH_INDIRECT,
    BRANCH_NONE,
    BRANCH_RETURN,
    EVENTS,
)
from harness.virtual.time.registers import find_registers

if TYPE_CHECKING:
    from harness.boards import Board

_NEW_BLOCK = ctypes.CFUNCTYPE(None, ctypes.c_int64)
_WEAKLY_TAKEN, _WEAKLY_NOT = 2, 1
_FLASH_AXI = 0x0800_0000
_LINE_BYTES = 32
_REMEMBERED = 1 << 16  # address programs, some 50 MB


class Observer:
    """Events of the executed blocks, for timing models that price them.

    Args:
        board: Its caches and memory regions.
        memory: The memories that address programs read.
        blocks: Host address of the block counter's state.
        locate: Returns address and size of the block in a slot.
    """

    def __init__(
        self,
        board: Board,
        memory: MemoryMap,
        blocks: int,
        locate: Callable[[int], tuple[int, int]],
    ) -> None:
        self._memory = memory
        self._locate = locate
        self._cortex_m7 = board.facts.core.cpu == "cortex-m7"
        self.state = np.zeros(dynamics.STATE_WORDS, dtype=np.int64)
        end = dynamics.COUNTS + EVENTS * native.MAX_SLOTS
        self._counts = self.state[dynamics.COUNTS : end].reshape(native.MAX_SLOTS, EVENTS)
        self._callback = _NEW_BLOCK(self._on_new_block)
        self._programs: dict[tuple[int, bytes], tuple[int, int, list[int]]] = {}
        self.error: HarnessError | None = None
        #: Accesses whose address could not be derived, and all, over the distinct blocks.
        self.unknown = self.accesses = 0
        state = self.state
        state[dynamics.BLOCKS] = blocks
        state[dynamics.CALL_NEW] = ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        state[dynamics.COLD] = 1
        state[dynamics.CODE_USED] = 1
        caches = board.facts.caches
        if self._cortex_m7:
            state[dynamics.I_SETS] = caches.icache_bytes // (caches.icache_ways * _LINE_BYTES)
            state[dynamics.D_SETS] = caches.dcache_bytes // (caches.dcache_ways * _LINE_BYTES)
            state[dynamics.D_WAYS] = caches.dcache_ways
            state[dynamics.CODE_CACHED] = _FLASH_AXI
        else:
            self._keep_lines(board)
        self._add_regions()

    def _keep_lines(self, board: Board) -> None:
        """Set up the flash accelerator."""
        kept = board.facts.caches.accelerator
        if kept is None:
            raise VirtualError(
                f"the timing of '{board.id}' depends on its flash accelerator",
                where=board.manifest,
                expected="harness.caches.accelerator in its manifest",
                fix="add it, or use a timing model without memory: HARNESS_TIMING=issue",
            )
        state = self.state
        state[dynamics.ART] = 1
        state[dynamics.ART_SHIFT] = kept.line_bytes.bit_length() - 1
        state[dynamics.ART_CODE_KEPT] = kept.code_lines
        state[dynamics.ART_DATA_KEPT] = kept.data_lines
        state[dynamics.ART_PREFETCH] = int(kept.prefetch)

    def _add_regions(self) -> None:
        regions = [(origin, m) for m in self._memory.memories for origin in m.origins]
        if len(regions) > dynamics.MAX_REGIONS:
            raise VirtualError(f"more than {dynamics.MAX_REGIONS} regions of memory")
        self.state[dynamics.REGION - 1] = len(regions)
        # RAM first, as most accesses go there.
        for n, (origin, memory) in enumerate(sorted(regions, key=lambda r: -r[0])):
            at = dynamics.REGION + n * dynamics.REGION_WORDS
            self.state[at : at + dynamics.REGION_WORDS] = (
                origin,
                memory.bytes,
                self._kind(origin, memory),
                memory.address,
            )

    def _kind(self, origin: int, memory: Memory) -> int:
        """Return what a data access to `memory` at `origin` goes through."""
        if not self._cortex_m7:
            return dynamics.ART_FLASH if memory.kind == "flash" else dynamics.PLAIN_RAM
        if memory.kind == "flash":
            return dynamics.CACHED_FLASH if origin >= _FLASH_AXI else dynamics.TCM
        if memory.kind == "itcm" or memory.name == "DTCM":
            return dynamics.TCM
        return dynamics.CACHED_RAM

    @property
    def counts(self) -> Any:
        """Counts of events, slots by `EVENTS`."""
        return self._counts

    @property
    def cold_address(self) -> int:
        """Host address of the word that, set to one, empties caches and predictors."""
        return int(self.state.ctypes.data) + 8 * dynamics.COLD

    def attach(self, engine: Any) -> None:
        """Find the registers of `engine`."""
        self.state[dynamics.REGISTERS] = find_registers(engine)

    def enable_caches(self, *, instruction: bool, data: bool) -> None:
        """Follow the core's cache enables; a cache that is switched on is empty."""
        new = int(instruction and self._cortex_m7), int(data and self._cortex_m7)
        if new != (self.state[dynamics.ICACHE], self.state[dynamics.DCACHE]):
            self.state[dynamics.ICACHE], self.state[dynamics.DCACHE] = new
            self.forget_history()

    def forget_history(self) -> None:
        """Empty caches and predictors before the next block."""
        self.state[dynamics.COLD] = 1

    def forget(self, used: int) -> None:
        """Drop what is known of the blocks in the first `used` slots."""
        state = self.state
        self._counts[: used + 1] = 0
        for table in (dynamics.KIND, dynamics.SEEN, dynamics.PROGRAM):
            state[table : table + used + 1] = 0
        state[dynamics.LAST] = 0
        state[dynamics.CODE_USED] = 1

    def _on_new_block(self, slot: int) -> None:
        try:
            self._describe(slot)
        except HarnessError as error:
            self.error = error
        except Exception as error:
            self.error = VirtualError(f"bug in the timing of a block: {error!r}")

    def _describe(self, slot: int) -> None:
        address, size = self._locate(slot)
        code = self._memory.read(address, size) or b""
        known = self._programs.get((address, code))
        if known is None:
            if len(self._programs) >= _REMEMBERED:
                self._programs.clear()  # many firmware images have been through here
            known = self._programs[address, code] = self._derive(code, address)
        kind, initial, program = known
        state = self.state
        state[dynamics.KIND + slot] = kind
        state[dynamics.INITIAL + slot] = initial
        state[dynamics.SEEN + slot] = 0
        used = int(state[dynamics.CODE_USED])
        if len(program) == 1:
            state[dynamics.PROGRAM + slot] = 0
            return
        if used + len(program) > dynamics.CODE_WORDS:
            raise VirtualError("more code was executed than the memory model has room for")
        at = dynamics.CODE + used
        state[at : at + len(program)] = program
        state[dynamics.PROGRAM + slot] = used
        state[dynamics.CODE_USED] = used + len(program)

    def _derive(self, code: bytes, address: int) -> tuple[int, int, list[int]]:
        kind, initial = branch_of(list(decode_block(code)))
        derived = derive(code, address, merge=self._cortex_m7)
        self.unknown += derived.unknown
        self.accesses += derived.unknown + sum(a.elements for a in derived.accesses)
        program = [len(derived.accesses)]
        for access in derived.accesses:
            program += _encode(access)
        return kind, initial, program


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


def _encode(access: Access) -> list[int]:
    what = dynamics.STORE_BIT if access.store else 0
    what |= dynamics.CHAINED_BIT if access.chained else 0
    what |= {0: 0, 1: 0, 2: 1, 4: 2}[access.element_bytes] << dynamics.ELEMENT_SHIFT
    what |= len(access.address.terms) << dynamics.TERMS_SHIFT
    what |= min(access.bytes, 0xFF) << dynamics.BYTES_SHIFT
    what |= access.keep << dynamics.KEEP_SHIFT
    what |= access.elements << dynamics.ELEMENTS_SHIFT
    terms = [register | factor << 8 for register, factor in access.address.terms]
    return [what, access.address.constant, *terms]
