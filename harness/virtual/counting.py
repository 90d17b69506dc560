"""Count executed basic blocks natively and turn the counts into modelled cycles.

Unicorn calls a block hook before every basic block. As a Python function it would cost a factor of
ten, so it is compiled (numba cfunc) and registered by address. Counts are kept per (address, size).

The same hook stops the core: when the stop word is set it asks Unicorn to stop and does *not* count
the block, which is then not executed either. Unicorn's own stop from another thread takes effect
after the hook has run, so the block would be counted once more at the restart.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numpy as np
import unicorn.unicorn_py3.unicorn as unicorn_api
from numba import carray, cfunc, types

from harness.errors import VirtualError

# The state is one array of 32-bit words, since a hook gets a single pointer: a header, a table from
# 4 KiB page to chunk, chunks from halfword to slot, and per slot address, size, next variant, count.
_STOP = 0
_SLOTS_USED = 1
_CHUNKS_USED = 2
_OVERFLOW = 3
_HEADER = 16
_PAGES = _HEADER
_MAX_CHUNKS = 1536  # 6 MiB of code pages
_CHUNK = 2048
_CHUNKS = _PAGES + (1 << 20)
_MAX_SLOTS = 1 << 17
_ADDRESS = _CHUNKS + _MAX_CHUNKS * _CHUNK
_SIZE = _ADDRESS + _MAX_SLOTS
_NEXT = _SIZE + _MAX_SLOTS
_COUNT = _NEXT + _MAX_SLOTS  # 64-bit each
_WORDS = _COUNT + 2 * _MAX_SLOTS

llvmlite.binding.load_library_permanently(unicorn_api.uclib._name)
_uc_emu_stop = types.ExternalFunction("uc_emu_stop", types.int32(types.voidptr))


@cfunc(types.void(types.voidptr, types.uint64, types.uint32, types.voidptr), cache=True)
def _on_block(engine: Any, address: Any, size: Any, state: Any) -> None:  # pragma: no cover
    words = carray(state, (_WORDS,), dtype=np.uint32)
    if words[_STOP] != 0:
        _uc_emu_stop(engine)
        return
    page = _PAGES + np.int64((address >> 12) & 0xFFFFF)
    chunk = words[page]
    if chunk == 0:
        if words[_CHUNKS_USED] == _MAX_CHUNKS:
            words[_OVERFLOW] = 1
            return
        words[_CHUNKS_USED] += 1
        chunk = words[_CHUNKS_USED]
        words[page] = chunk
    cell = _CHUNKS + (np.int64(chunk) - 1) * _CHUNK + np.int64((address & 0xFFF) >> 1)
    slot = np.int64(words[cell])
    while slot != 0 and words[_SIZE + slot] != size:
        slot = np.int64(words[_NEXT + slot])
    if slot == 0:
        slot = np.int64(words[_SLOTS_USED]) + 1
        if slot >= _MAX_SLOTS:
            words[_OVERFLOW] = 1
            return
        words[_SLOTS_USED] = slot
        words[_ADDRESS + slot] = address
        words[_SIZE + slot] = size
        words[_NEXT + slot] = words[cell]
        words[cell] = slot
    longs = carray(state, (_WORDS // 2,), dtype=np.uint64)
    longs[_COUNT // 2 + slot] += 1


PriceBlock = Callable[[bytes, int], int]
ReadCode = Callable[[int, int], "bytes | None"]


class BlockCounter:
    """Counts of executed basic blocks, priced when cycles are asked for.

    Args:
        price: Cycles of one execution of a block, from its bytes and address.
        read_code: Returns code bytes at an address.
    """

    def __init__(self, price: PriceBlock, read_code: ReadCode) -> None:
        self._price = price
        self._read_code = read_code
        self._words = np.zeros(_WORDS, dtype=np.uint32)
        self._counts = self._words[_COUNT:].view(np.uint64)
        self._prices = np.zeros(_MAX_SLOTS, dtype=np.uint64)
        self._priced = 0
        self._known: dict[tuple[int, bytes], int] = {}
        self._before = 0
        self._shifted = 0
        self._running = False

    def attach(self, engine: Any) -> None:
        """Register the hook with a Unicorn engine for every address."""
        from unicorn.unicorn_const import UC_ERR_OK, UC_HOOK_BLOCK

        handle = ctypes.c_size_t()
        status = unicorn_api.uclib.uc_hook_add(
            engine._uch,
            ctypes.byref(handle),
            UC_HOOK_BLOCK,
            ctypes.c_void_p(_on_block.address),
            ctypes.c_void_p(self._words.ctypes.data),
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
        )
        if status != UC_ERR_OK:
            raise VirtualError(f"Unicorn refused the block hook (status {status})")

    def request_stop(self) -> None:
        """Make the core stop before its next block. Safe from any thread."""
        self._words[_STOP] = 1

    def clear_stop(self) -> None:
        """Let the core run again."""
        self._words[_STOP] = 0

    @property
    def stop_requested(self) -> bool:
        """Whether a stop is pending."""
        return bool(self._words[_STOP])

    @property
    def running(self) -> bool:
        """Whether executed blocks add to `cycles`."""
        return self._running

    @running.setter
    def running(self, value: bool) -> None:
        if value and not self._running:
            self._counts[:] = 0
        elif self._running and not value:
            self._before = self.cycles()
        self._running = value

    def cycles(self) -> int:
        """Return the modelled cycles executed while running, as a 64-bit number."""
        if not self._running:
            return self._before
        used = self._price_new()
        live = int(np.dot(self._counts[: used + 1], self._prices[: used + 1]))
        return (self._before + live) & 0xFFFF_FFFF_FFFF_FFFF

    def set_cycles(self, value: int) -> None:
        """Continue counting from `value`."""
        self._shifted += self.cycles() - value
        self._counts[:] = 0
        self._before = value

    def elapsed(self) -> int:
        """Return the cycles since the counter was made, whatever it was set to meanwhile."""
        return self.cycles() + self._shifted

    def add(self, cycles: int) -> None:
        """Add cycles that passed without instructions (waiting for input)."""
        if self._running:
            self._before = (self._before + cycles) & 0xFFFF_FFFF_FFFF_FFFF

    def executed(self, address: int) -> int:
        """Return the size in bytes of the block at `address`, 0 if none ran."""
        chunk = int(self._words[_PAGES + (address >> 12)])
        if chunk == 0:
            return 0
        slot = int(self._words[_CHUNKS + (chunk - 1) * _CHUNK + ((address & 0xFFF) >> 1)])
        return int(self._words[_SIZE + slot]) if slot else 0

    def has_code(self, start: int, end: int) -> bool:
        """Return whether any block in the pages of [start, end) has run."""
        return bool(self._words[_PAGES + (start >> 12) : _PAGES + ((end + 0xFFF) >> 12)].any())

    def forget(self, start: int, end: int) -> None:
        """Drop blocks in [start, end), whose code is about to change; their cycles are kept."""
        if not self.has_code(start, end):
            return
        # Dropping all blocks is simple, and cheap as prices are remembered by content.
        if self._running:
            self._before = self.cycles()
        used, chunks = int(self._words[_SLOTS_USED]), int(self._words[_CHUNKS_USED])
        pages = np.unique(self._words[_ADDRESS + 1 : _ADDRESS + 1 + used] >> 12)
        self._words[_PAGES + pages.astype(np.int64)] = 0
        self._words[_CHUNKS : _CHUNKS + chunks * _CHUNK] = 0
        self._words[_SLOTS_USED] = self._words[_CHUNKS_USED] = 0
        self._counts[: used + 1] = 0
        self._priced = 0

    def _price_new(self) -> int:
        if self._words[_OVERFLOW]:
            raise VirtualError(
                "more basic blocks were executed than the cycle counter has room for",
                expected=f"at most {_MAX_SLOTS} blocks in {_MAX_CHUNKS} pages of 4 KiB",
            )
        used = int(self._words[_SLOTS_USED])
        for slot in range(self._priced + 1, used + 1):
            address, size = int(self._words[_ADDRESS + slot]), int(self._words[_SIZE + slot])
            code = self._read_code(address, size)
            if code is None:
                raise VirtualError(f"no memory behind the executed block at {address:#010x}")
            cycles = self._known.get((address, code))
            if cycles is None:
                cycles = self._known[address, code] = self._price(code, address)
            self._prices[slot] = cycles
        self._priced = used
        return used
