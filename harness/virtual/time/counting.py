"""Turn the natively counted basic blocks into modelled cycles.

Counts are kept per (address, size), so that a block entered in its middle counts as its own.

Unicorn ends a block at the end of a page of 1 KiB; a core does not. A block that was cut there
costs ``cost(block and rest) - cost(rest)``: rests are counted as blocks of their own, so the sum is
the cost of the whole, wherever the linker placed it.

The block hook also stops the core: when the stop word is set it asks Unicorn to stop and does *not*
count the block, which is then not executed either. Unicorn's own stop from another thread takes
effect after the hook has run, so the block would be counted once more at the restart.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from unicorn.unicorn_const import UC_HOOK_BLOCK

from harness.errors import HarnessError, VirtualError
from harness.virtual.native import blocks, hooks, shared
from harness.virtual.native.callbacks import add_hook, remove_hook
from harness.virtual.time.events import EVENTS

if TYPE_CHECKING:
    from harness.virtual.time.observer import Observer

_REMEMBERED = 1 << 16  # block costs, some 10 MB
_PAGE = 1 << 10  # of its Arm cores
# An instruction never crosses into another page inside a block, so a cut is at the page's end, or
# before or behind an instruction that lies across it.
_CUT_AT = (0, 2, _PAGE - 2)
_REST_BYTES = 512  # at most, of what follows a cut; a block longer than that is cheap to cut
# Units whose instructions end a block without a branch: what follows is another block anywhere.
_ENDING = frozenset({"barrier", "system", "unknown"})

_PRICE = ctypes.CFUNCTYPE(None, ctypes.c_int64)
_NEVER = (1 << 63) - 1

BlockCycles = Callable[[bytes, int], int]
EventCycles = Callable[[bytes, int], tuple[int, ...]]
ReadCode = Callable[[int, int], "bytes | None"]


@dataclass(frozen=True, slots=True)
class BlockCost:
    """What a basic block has cost.

    Attributes:
        address: Of its first instruction.
        size: Bytes of code.
        count: Executions.
        cycles: Modelled cycles of one execution.
        events: Counts of what happened beyond that (`harness.virtual.time.events`).
        event_cycles: Modelled cycles of each such event.
    """

    address: int
    size: int
    count: int
    cycles: int
    events: tuple[int, ...] = ()
    event_cycles: tuple[int, ...] = ()


class BlockCounter:
    """Counts of executed basic blocks, turned into cycles when these are asked for.

    Args:
        block_cycles: Cycles of one execution of a block, from its bytes and address.
        read_code: Returns code bytes at an address.
        idle: Returns the cycles that passed without instructions since it was last called.
    """

    def __init__(
        self, block_cycles: BlockCycles, read_code: ReadCode, idle: Callable[[], int]
    ) -> None:
        self._block_cycles = block_cycles
        self._read_code = read_code
        self._observer: Observer | None = None
        self._event_cycles: EventCycles = lambda _code, _address: ()
        self._state = shared(blocks.TABLE)
        self._table = self._state[0]
        self._blocks = self._table["blocks"]
        # Signed: what a cut leaves in front may be nothing, or pair with its rest.
        self._cycles = np.zeros(blocks.MAX_SLOTS, dtype=np.int64)
        self._cycles_of_events = np.zeros((blocks.MAX_SLOTS, EVENTS), dtype=np.int64)
        self._costed = 0  # slots whose costs are known
        self._known: dict[tuple[int, bytes], tuple[int, tuple[int, ...]]] = {}
        self._before = 0
        self._zero = 0
        self._frozen = 0
        self._running = False
        self.idle = idle
        self._engine: Any = None
        self._hook = self._hook_state = 0
        #: Whether the hooks know the time (`native.deadline`).
        self.timed = False
        self._priced = np.zeros(blocks.MAX_SLOTS, dtype=np.int64)
        self._callback = _PRICE(self._on_new_block)
        self._error: HarnessError | None = None
        table = self._table
        table["price"] = ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        table["cycles_at"] = self._cycles.ctypes.data
        table["event_cycles_at"] = self._cycles_of_events.ctypes.data
        table["priced_at"] = self._priced.ctypes.data

    @property
    def address(self) -> int:
        """Host address of the block table."""
        return int(self._state.ctypes.data)

    def observe(self, observer: Observer, event_cycles: EventCycles) -> None:
        """Count events of the blocks too, from the next `attach` on, with these costs."""
        self._observer = observer
        self._event_cycles = event_cycles
        observer.watch(self.address, self._blocks)

    def attach(self, engine: Any) -> None:
        """Register the hook with a Unicorn engine for every address."""
        self._engine = engine
        observer = self._observer
        self._hook_state = self.address if observer is None else observer.attach(engine)
        hook = hooks.count_block if observer is None else hooks.watch_block
        self._hook = add_hook(engine, UC_HOOK_BLOCK, hook.address, self._hook_state)

    def request_stop(self) -> None:
        """Make the core stop before its next block. Safe from any thread."""
        self._table["stop"] = 1

    def clear_stop(self) -> None:
        """Let the core run again."""
        self._table["stop"] = 0

    def start(self) -> None:
        """Note that the core starts to run."""
        self._table["stopped"] = 0

    @property
    def stopped(self) -> bool:
        """Whether a requested stop has ended the run."""
        return bool(self._table["stopped"])

    @property
    def running(self) -> bool:
        """Whether executed blocks add to `cycles`."""
        return self._running

    @running.setter
    def running(self, value: bool) -> None:
        if value and not self._running:
            self._zero = self.elapsed() - self._frozen
        elif self._running and not value:
            self._frozen = self.cycles()
        self._running = value

    # Deadlines.

    def watch_time(self, on: bool) -> None:
        """Let the hooks sum up the time, which costs some, or no longer; the core stands still."""
        if on == self.timed:
            return
        from harness.virtual.native import deadline  # compiled only where it is needed

        if on:
            self._table["spent"], self._table["until"] = self.elapsed(), _NEVER
            used = self._find_costs() + 1
            costs = self._blocks["events"][:used] * self._cycles_of_events[:used]
            self._priced[:used] = costs.sum(axis=1)
        else:
            spent, self.timed, self._before = self.elapsed(), False, 0
            self._before = spent - self.elapsed()
            self._table["masked"] = 0
        self.timed = on
        if self._observer is not None:
            hook = deadline.watch_until if on else hooks.watch_block
        else:
            hook = deadline.count_until if on else hooks.count_block
        remove_hook(self._engine, self._hook)
        self._hook = add_hook(self._engine, UC_HOOK_BLOCK, hook.address, self._hook_state)
        self._engine.ctl_flush_tb()

    def stop_at(self, cycles: int | None, masked: int | None) -> None:
        """Set when the core is to stop, None for never.

        Args:
            cycles: Stop before the first block from this time on.
            masked: Stop when the mask registers let an interrupt of this priority through.
        """
        self._table["until"] = _NEVER if cycles is None else cycles
        self._table["masked"], self._table["priority"] = masked is not None, masked or 0
        self._table["fresh"] = 1

    def let_pass(self, cycles: int, *, asleep: bool = False) -> None:
        """Let time pass without instructions; CYCCNT does not count it while the core sleeps."""
        self._table["spent"] += cycles
        self._before += cycles
        if asleep and self._running:
            self._zero += cycles

    def interrupt(self) -> None:
        """Let the next block follow none, as an interrupt comes between."""
        if self._observer is not None:
            self._observer.interrupt()

    def _on_new_block(self, _slot: int) -> None:
        try:
            self._find_costs()
        except HarnessError as error:
            self._error = error
        except Exception as error:
            self._error = VirtualError(f"bug in the timing of a block: {error!r}")

    def elapsed(self) -> int:
        """Return the modelled cycles since power-on."""
        if self.timed:
            if self._error is not None:
                raise self._error
            self._table["spent"] += self.idle()
            return int(self._table["spent"])
        end = self._find_costs() + 1
        self._before += self.idle()
        cycles = int(np.dot(self._blocks["count"][:end], self._cycles[:end]))
        if self._observer is not None:
            # 64-bit integers, so that the order of the sum does not matter.
            cycles += int((self._blocks["events"][:end] * self._cycles_of_events[:end]).sum())
        return self._before + cycles

    def counts(self) -> tuple[Any, Any]:
        """Return copies of the counts and events of every slot in use, slot 0 first."""
        used = self._blocks[: int(self._table["used"]) + 1]
        return used["count"].copy(), used["events"].copy()

    def cost(self, slot: int) -> BlockCost:
        """Return what the block in `slot` has cost."""
        self._find_costs()
        block = self._blocks[slot]
        return BlockCost(
            int(block["address"]),
            int(block["bytes"]),
            int(block["count"]),
            int(self._cycles[slot]),
            tuple(block["events"].tolist()),
            tuple(self._cycles_of_events[slot].tolist()),
        )

    def snapshot(self) -> list[BlockCost]:
        """Return what every block has cost since the code last changed."""
        counts = self._blocks["count"][: self._find_costs() + 1]
        return [self.cost(int(slot)) for slot in np.nonzero(counts)[0]]

    def cycles(self) -> int:
        """Return the modelled cycles executed while running, as a 64-bit number."""
        if not self._running:
            return self._frozen
        return (self.elapsed() - self._zero) & 0xFFFF_FFFF_FFFF_FFFF

    def set_cycles(self, value: int) -> None:
        """Continue counting from `value`."""
        if self._running:
            self._zero = self.elapsed() - value
        else:
            self._frozen = value

    def executed(self, address: int) -> int:
        """Return the size in bytes of the block at `address`, 0 if none ran."""
        chunk = self._table["pages"][address >> 12]  # 0, where no block is, for none
        slot = self._table["slots"][chunk, (address & 0xFFF) >> 1]
        return int(self._blocks[slot]["bytes"])

    def has_code(self, start: int, end: int) -> bool:
        """Return whether any block in the pages of [start, end) has run."""
        return bool(self._table["pages"][_pages(start, end)].any())

    def forget(self, start: int, end: int) -> None:
        """Drop the blocks in the pages of [start, end), whose code is about to change.

        What all blocks have cost is kept as a sum.
        """
        if not self.has_code(start, end):
            return
        self._before = self.elapsed()
        table, used = self._table, int(self._table["used"])
        full = used > blocks.MAX_SLOTS // 2 or table["chunks_used"] > blocks.MAX_CHUNKS // 2
        self._blocks["count"][: used + 1] = 0
        self._blocks["events"][: used + 1] = 0
        self._priced[: used + 1] = 0
        blocks.drop_blocks(table, _pages(start, end))
        if self._observer is not None:
            self._observer.forget()
            full = full or self._observer.is_filling
        if full:
            blocks.clear_blocks(table)
            self._costed = 0
            if self._observer is not None:
                self._observer.clear()

    def _find_costs(self) -> int:
        """Ask the timing model about the blocks that are new; return how many there are."""
        if self._table["overflow"]:
            raise VirtualError(
                "more basic blocks were executed than the cycle counter has room for",
                expected=f"at most {blocks.MAX_SLOTS} blocks in {blocks.MAX_CHUNKS} pages of 4 KiB",
            )
        if self._observer is not None and self._observer.error is not None:
            raise self._observer.error
        used = int(self._table["used"])
        for slot in range(self._costed + 1, used + 1):
            block = self._blocks[slot]
            address, size = int(block["address"]), int(block["bytes"])
            code = self._read_code(address, size)
            if code is None:
                raise VirtualError(f"no memory behind the executed block at {address:#010x}")
            rest = self._rest(address, code)
            cycles, events = self._cost_of(address, code + rest)
            self._cycles[slot] = cycles - (self._cost_of(address + size, rest)[0] if rest else 0)
            self._cycles_of_events[slot, : len(events)] = events
        self._costed = used
        return used

    def _cost_of(self, address: int, code: bytes) -> tuple[int, tuple[int, ...]]:
        found = self._known.get((address, code))
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()  # many firmware images have been through here
            found = self._block_cycles(code, address), self._event_cycles(code, address)
            self._known[address, code] = found
        return found

    def _rest(self, address: int, code: bytes) -> bytes:
        """Return the code that belongs to a block but lies behind a cut; empty where none was."""
        end = address + len(code)
        if end % _PAGE not in _CUT_AT or _ends(code) is not None:
            return b""
        for size in (_REST_BYTES, _PAGE - end % _PAGE):  # memory may end with the page
            following = self._read_code(end, size)
            if following is not None:
                return following[: _ends(following) or 0]
        return b""


def _pages(start: int, end: int) -> slice:
    return slice(start >> 12, (end + 0xFFF) >> 12)


def _ends(code: bytes) -> int | None:
    """Return the offset behind the first instruction that ends a block, None without one."""
    from harness.virtual.time.decode import decode_block

    at = 0
    for instruction in decode_block(code):
        at += 2 * instruction.halfwords
        if instruction.branch or instruction.unit in _ENDING:
            return at
    return None
