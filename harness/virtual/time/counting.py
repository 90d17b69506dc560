"""Turn the natively counted basic blocks into modelled cycles.

Counts are kept per (address, size), so that a block entered in its middle counts as its own.

Unicorn ends a block at the end of a page of 1 KiB; a core does not. A block that was cut there is
priced as what its cutting adds up to, ``price(block and rest) - price(rest)``: rests are counted as
blocks of their own, so the sum is the price of the whole, wherever the linker placed it.

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
import unicorn.unicorn_py3.unicorn as unicorn_api
from unicorn.unicorn_const import UC_ERR_OK, UC_HOOK_BLOCK

from harness.errors import VirtualError
from harness.virtual.time import native
from harness.virtual.time.events import EVENTS

if TYPE_CHECKING:
    from harness.virtual.time.observer import Observer

_REMEMBERED = 1 << 16  # prices, some 10 MB
_PAGE = 1 << 10  # of its Arm cores
# An instruction never crosses into another page inside a block, so a cut is at the page's end, or
# before or behind an instruction that lies across it.
_CUT_AT = (0, 2, _PAGE - 2)
_REST_BYTES = 512  # at most, of what follows a cut; a block longer than that is cheap to cut
# Units whose instructions end a block without a branch: what follows is another block anywhere.
_ENDING = frozenset({"barrier", "system", "unknown"})

PriceBlock = Callable[[bytes, int], int]
PriceEvents = Callable[[bytes, int], tuple[int, ...]]
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
        prices: Cycles of each event.
    """

    address: int
    size: int
    count: int
    cycles: int
    events: tuple[int, ...] = ()
    prices: tuple[int, ...] = ()


class BlockCounter:
    """Counts of executed basic blocks, priced when cycles are asked for.

    Args:
        price: Cycles of one execution of a block, from its bytes and address.
        read_code: Returns code bytes at an address.
    """

    def __init__(self, price: PriceBlock, read_code: ReadCode) -> None:
        self._price = price
        self._read_code = read_code
        self._observer: Observer | None = None
        self._price_events: PriceEvents = lambda _code, _address: (0,) * EVENTS
        self._words = np.zeros(native.COUNTER_WORDS, dtype=np.uint32)
        self._counts = self._words[native.COUNT :].view(np.int64)
        # Signed: what a cut leaves in front may be nothing, or pair with its rest.
        self._prices = np.zeros(native.MAX_SLOTS, dtype=np.int64)
        self._priced = 0
        self._known: dict[tuple[int, bytes], int] = {}
        self._before = 0
        self._zero = 0
        self._frozen = 0
        self._running = False
        #: Returns cycles that passed without instructions since it was last called.
        self.idle: Callable[[], int] = lambda: 0

    @property
    def address(self) -> int:
        """Host address of the counter's state."""
        return int(self._words.ctypes.data)

    def observe(self, observer: Observer, price_events: PriceEvents) -> None:
        """Count events of the blocks too, from the next `attach` on, and price them."""
        self._observer = observer
        self._price_events = price_events
        self._event_prices = np.zeros((native.MAX_SLOTS, EVENTS), dtype=np.int64)
        self._known_events: dict[tuple[int, bytes], tuple[int, ...]] = {}

    def place(self, slot: int) -> tuple[int, int]:
        """Return address and size of the block in `slot`."""
        words = self._words
        return int(words[native.ADDRESS + slot]), int(words[native.SIZE + slot])

    def attach(self, engine: Any) -> None:
        """Register the hook with a Unicorn engine for every address."""
        hook, state = native.on_block.address, self.address
        if self._observer is not None:
            from harness.virtual.time import dynamics

            self._observer.attach(engine)
            hook, state = dynamics.on_block.address, int(self._observer.state.ctypes.data)
        handle = ctypes.c_size_t()
        status = unicorn_api.uclib.uc_hook_add(
            engine._uch,
            ctypes.byref(handle),
            UC_HOOK_BLOCK,
            ctypes.c_void_p(hook),
            ctypes.c_void_p(state),
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
        )
        if status != UC_ERR_OK:
            raise VirtualError(f"Unicorn refused the block hook (status {status})")

    def request_stop(self) -> None:
        """Make the core stop before its next block. Safe from any thread."""
        self._words[native.STOP] = 1

    def clear_stop(self) -> None:
        """Let the core run again."""
        self._words[native.STOP] = 0

    @property
    def stop_requested(self) -> bool:
        """Whether a stop is pending."""
        return bool(self._words[native.STOP])

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

    def elapsed(self) -> int:
        """Return the modelled cycles since power-on."""
        used = self._price_new()
        self._before += self.idle()
        cycles = int(np.dot(self._counts[: used + 1], self._prices[: used + 1]))
        if self._observer is not None:
            # 64-bit integers, so that the order of the sum does not matter.
            events = self._observer.counts[: used + 1] * self._event_prices[: used + 1]
            cycles += int(events.sum())
        return self._before + cycles

    def counts(self) -> tuple[Any, Any]:
        """Return copies of the counts and events of every slot in use, slot 0 first."""
        used = int(self._words[native.SLOTS_USED]) + 1
        events = np.zeros((used, EVENTS), dtype=np.int64)
        if self._observer is not None:
            events = self._observer.counts[:used].copy()
        return self._counts[:used].astype(np.int64), events

    def prices(self, slot: int) -> tuple[int, tuple[int, ...]]:
        """Return the cycles of one execution of the block in `slot`, and of each of its events."""
        self._price_new()
        events = (0,) * EVENTS
        if self._observer is not None:
            events = tuple(int(n) for n in self._event_prices[slot])
        return int(self._prices[slot]), events

    def snapshot(self) -> list[BlockCost]:
        """Return what every block has cost since the code last changed."""
        used = self._price_new()
        found = []
        for slot in range(1, used + 1):
            count = int(self._counts[slot])
            if count == 0:
                continue
            address, size = self.place(slot)
            events: tuple[int, ...] = ()
            prices: tuple[int, ...] = ()
            if self._observer is not None:
                events = tuple(int(n) for n in self._observer.counts[slot])
                prices = tuple(int(n) for n in self._event_prices[slot])
            found.append(BlockCost(address, size, count, int(self._prices[slot]), events, prices))
        return found

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
        chunk = int(self._words[native.PAGES + (address >> 12)])
        if chunk == 0:
            return 0
        slot = int(
            self._words[native.CHUNKS + (chunk - 1) * native.CHUNK + ((address & 0xFFF) >> 1)]
        )
        return int(self._words[native.SIZE + slot]) if slot else 0

    def has_code(self, start: int, end: int) -> bool:
        """Return whether any block in the pages of [start, end) has run."""
        return bool(
            self._words[native.PAGES + (start >> 12) : native.PAGES + ((end + 0xFFF) >> 12)].any()
        )

    def forget(self, start: int, end: int) -> None:
        """Drop blocks in [start, end), whose code is about to change; their cycles are kept."""
        if not self.has_code(start, end):
            return
        # Dropping all blocks is simple, and cheap as prices are remembered by content.
        self._before = self.elapsed()
        used, chunks = int(self._words[native.SLOTS_USED]), int(self._words[native.CHUNKS_USED])
        pages = np.unique(self._words[native.ADDRESS + 1 : native.ADDRESS + 1 + used] >> 12)
        self._words[native.PAGES + pages.astype(np.int64)] = 0
        self._words[native.CHUNKS : native.CHUNKS + chunks * native.CHUNK] = 0
        self._words[native.SLOTS_USED] = self._words[native.CHUNKS_USED] = 0
        self._counts[: used + 1] = 0
        if self._observer is not None:
            self._observer.forget(used)
        self._priced = 0

    def _price_new(self) -> int:
        if self._words[native.OVERFLOW]:
            raise VirtualError(
                "more basic blocks were executed than the cycle counter has room for",
                expected=f"at most {native.MAX_SLOTS} blocks in {native.MAX_CHUNKS} pages of 4 KiB",
            )
        if self._observer is not None and self._observer.error is not None:
            raise self._observer.error
        used = int(self._words[native.SLOTS_USED])
        for slot in range(self._priced + 1, used + 1):
            address, size = self.place(slot)
            code = self._read_code(address, size)
            if code is None:
                raise VirtualError(f"no memory behind the executed block at {address:#010x}")
            rest = self._rest(address, code)
            whole = self._price_of(address, code + rest)
            self._prices[slot] = whole - self._price_of(address + size, rest) if rest else whole
            if self._observer is not None:
                self._event_prices[slot] = self._events_of(address, code + rest)
        self._priced = used
        return used

    def _price_of(self, address: int, code: bytes) -> int:
        cycles = self._known.get((address, code))
        if cycles is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()  # many firmware images have been through here
            cycles = self._known[address, code] = self._price(code, address)
        return cycles

    def _events_of(self, address: int, code: bytes) -> tuple[int, ...]:
        events = self._known_events.get((address, code))
        if events is None:
            if len(self._known_events) >= _REMEMBERED:
                self._known_events.clear()
            events = self._known_events[address, code] = self._price_events(code, address)
        return events

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


def _ends(code: bytes) -> int | None:
    """Return the offset behind the first instruction that ends a block, None without one."""
    from harness.virtual.time.decode import decode_block

    at = 0
    for instruction in decode_block(code):
        at += 2 * instruction.halfwords
        if instruction.branch or instruction.unit in _ENDING:
            return at
    return None
