"""Compiled callbacks of the emulator: block counting, console bytes, flash programming.

As Python functions these would cost a factor of ten in speed, and each call would wait for the
interpreter lock whenever another thread computes. They are numba cfuncs, registered by address, and
hand anything that is not the everyday case to the Python model (`_call_*`).

A callback gets one pointer, so each has its state in one array of 64-bit words; the constants below
are indices into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import unicorn.unicorn_py3.unicorn as unicorn_api
from llvmlite import binding, ir  # type: ignore[import-untyped]  # ships no stubs
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic

# Block counting: a header, a table from 4 KiB page to chunk, chunks from halfword to slot, and per
# slot its address, size, next variant of the same address, and count.
STOP, SLOTS_USED, CHUNKS_USED, OVERFLOW = range(4)
CHUNK = 2048
MAX_CHUNKS = 1536  # 6 MiB of code pages
MAX_SLOTS = 1 << 17
PAGES = 16
CHUNKS = PAGES + (1 << 20)
SLOTS = CHUNKS + MAX_CHUNKS * CHUNK
ADDRESS, SIZE, NEXT = SLOTS, SLOTS + MAX_SLOTS, SLOTS + 2 * MAX_SLOTS
COUNT = SLOTS + 3 * MAX_SLOTS  # two of these 32-bit words each
COUNTER_WORDS = SLOTS + 5 * MAX_SLOTS

# Every register page: the Python model's callbacks, and where the block of interest is in the page.
CALL_READ, CALL_WRITE, OFFSET = range(3)

# Flash interface.
SR, CR, PENDING, CONTENT, CONTENT_BYTES, COUNTER, CALL_STORE, ORIGINS, ORIGIN = range(3, 12)
FLASH_WORDS = ORIGIN + 4
_FLASH_SR, _FLASH_CR = 0x0C, 0x10
_PG, _LOCK, _PSIZE = 0x1, 0x8000_0000, 8
_CR_ERASE = 0x8006  # SER, MER, MER2
_CR_PLAIN = 0x3F9  # PG, SNB, PSIZE: nothing that starts or locks anything

# Console USART.
FAST, STATUS_AT, RX_AT, TX_AT, STATUS, POLLS, INTERRUPTED, LISTENING = range(3, 11)
RX_HEAD, RX_TAIL, TX_HEAD, TX_TAIL, RX_RING, TX_RING, LOST = range(11, 18)
RX_EVENT, TX_EVENT, READER_WAITS, IDLE_NS, SELF, RECEIVED = range(18, 24)
_SCRATCH = 24
CONSOLE_WORDS = 32
RX_BYTES, TX_BYTES = 1 << 16, 1 << 20
_RXNE = 1 << 5
_POLLIN = 1
_WAIT_MS = 50
_SLOW_POLLS = 16  # while every access goes through the Python model, which is not only for waiting
_MONOTONIC = 1

binding.load_library_permanently(unicorn_api.uclib._name)
_uc_emu_stop = types.ExternalFunction("uc_emu_stop", types.int32(types.voidptr))
_poll = types.ExternalFunction("poll", types.int32(types.voidptr, types.uint64, types.int32))
_os_read = types.ExternalFunction("read", types.int64(types.int32, types.voidptr, types.uint64))
_os_write = types.ExternalFunction("write", types.int64(types.int32, types.voidptr, types.uint64))
_clock = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.voidptr))


@intrinsic
def _pointer(_typing: Any, address: Any) -> Any:
    """Turn an address into a pointer."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(address), generate


@dataclass(frozen=True, slots=True)
class Page:
    """A register page with compiled callbacks.

    Attributes:
        address: First address.
        read: Address of the read callback.
        write: Address of the write callback.
        state: Words that the callbacks get.
    """

    address: int
    read: int
    write: int
    state: Any


def state_words(count: int) -> Any:
    """Return zeroed state for callbacks."""
    return np.zeros(count, dtype=np.int64)


def ring(count: int) -> Any:
    """Return memory for a ring of bytes."""
    return np.zeros(count, dtype=np.uint8)


def _call(builder: Any, result: Any, args: Any) -> Any:
    """Call the C function whose address is `args[0]`."""
    kind = ir.FunctionType(result, [value.type for value in args[1:]])
    return builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])


@intrinsic
def _call_read(_typing: Any, _function: Any, _engine: Any, _offset: Any, _size: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        null = ir.Constant(ir.IntType(8).as_pointer(), None)
        return _call(builder, ir.IntType(64), [*args, null])

    return types.uint64(types.int64, types.voidptr, types.int64, types.uint32), generate


@intrinsic
def _call_write(
    _typing: Any, _function: Any, _engine: Any, _offset: Any, _size: Any, _value: Any
) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        null = ir.Constant(ir.IntType(8).as_pointer(), None)
        _call(builder, ir.VoidType(), [*args, null])
        return ir.Constant(ir.IntType(64), 0)

    signature = types.uint64(types.int64, types.voidptr, types.int64, types.uint32, types.int64)
    return signature, generate


@intrinsic
def _call_store(
    _typing: Any, _function: Any, _engine: Any, _kind: Any, _at: Any, _size: Any, _value: Any
) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        null = ir.Constant(ir.IntType(8).as_pointer(), None)
        return _call(builder, ir.IntType(8), [*args, null])

    signature = types.uint8(
        types.int64, types.voidptr, types.int32, types.int64, types.int32, types.int64
    )
    return signature, generate


_READ = types.uint64(types.voidptr, types.uint64, types.uint32, types.voidptr)
_WRITE = types.void(types.voidptr, types.uint64, types.uint32, types.uint64, types.voidptr)
_STORE = types.uint8(
    types.voidptr, types.int32, types.uint64, types.int32, types.int64, types.voidptr
)


@cfunc(types.void(types.voidptr, types.uint64, types.uint32, types.voidptr), cache=True)
def on_block(engine: Any, address: Any, size: Any, state: Any) -> None:  # pragma: no cover
    """Count a basic block, or stop the core before it."""
    words = carray(state, (COUNTER_WORDS,), dtype=np.uint32)
    if words[STOP] != 0:
        _uc_emu_stop(engine)
        return
    at = np.int64(address)
    page = PAGES + ((at >> 12) & 0xFFFFF)
    chunk = words[page]
    if chunk == 0:
        if words[CHUNKS_USED] == MAX_CHUNKS:
            words[OVERFLOW] = 1
            return
        words[CHUNKS_USED] += 1
        chunk = words[CHUNKS_USED]
        words[page] = chunk
    cell = CHUNKS + (np.int64(chunk) - 1) * CHUNK + ((at & 0xFFF) >> 1)
    slot = np.int64(words[cell])
    while slot != 0 and words[SIZE + slot] != size:
        slot = np.int64(words[NEXT + slot])
    if slot == 0:
        slot = np.int64(words[SLOTS_USED]) + 1
        if slot >= MAX_SLOTS:
            words[OVERFLOW] = 1
            return
        words[SLOTS_USED] = slot
        words[ADDRESS + slot] = at
        words[SIZE + slot] = size
        words[NEXT + slot] = words[cell]
        words[cell] = slot
    longs = carray(state, (COUNTER_WORDS // 2,), dtype=np.uint64)
    longs[COUNT // 2 + slot] += 1


@cfunc(_READ, cache=True)
def flash_read(engine: Any, offset: Any, size: Any, state: Any) -> Any:  # pragma: no cover
    """Read SR and CR of the flash interface."""
    words = carray(state, (FLASH_WORDS,), dtype=np.int64)
    at = np.int64(offset)
    if size == 4 and words[PENDING] == 0:
        if at == words[OFFSET] + _FLASH_SR:
            return np.uint64(words[SR])
        if at == words[OFFSET] + _FLASH_CR:
            return np.uint64(words[CR])
    return _call_read(words[CALL_READ], engine, at, size)


@cfunc(_WRITE, cache=True)
def flash_write(
    engine: Any, offset: Any, size: Any, value: Any, state: Any
) -> None:  # pragma: no cover
    """Write CR of the flash interface where it only prepares programming."""
    words = carray(state, (FLASH_WORDS,), dtype=np.int64)
    at, new = np.int64(offset), np.int64(value)
    if (
        size == 4
        and at == words[OFFSET] + _FLASH_CR
        and words[PENDING] == 0
        and words[CR] & _LOCK == 0
        and new & ~_CR_PLAIN == 0
    ):
        words[CR] = new
        return
    _call_write(words[CALL_WRITE], engine, at, size, new)


@cfunc(_STORE, cache=True)
def flash_store(
    engine: Any, kind: Any, address: Any, size: Any, value: Any, state: Any
) -> Any:  # pragma: no cover
    """Take a store to flash that only clears bits where no code has run."""
    words = carray(state, (FLASH_WORDS,), dtype=np.int64)
    at, control = np.int64(address), words[CR]
    width = 1 << ((control >> _PSIZE) & 3)
    plain = control & (_LOCK | _CR_ERASE | _PG) == _PG and size == width and at & (width - 1) == 0
    offset = np.int64(-1)
    for n in range(words[ORIGINS]):
        if 0 <= at - words[ORIGIN + n] < words[CONTENT_BYTES]:
            offset = at - words[ORIGIN + n]
    if plain and offset >= 0:
        counted = carray(_pointer(words[COUNTER]), (COUNTER_WORDS,), dtype=np.uint32)
        for n in range(words[ORIGINS]):
            if counted[PAGES + (((words[ORIGIN + n] + offset) >> 12) & 0xFFFFF)] != 0:
                plain = False
        content = carray(_pointer(words[CONTENT] + offset), (4,), dtype=np.uint8)
        for n in range(size):
            byte = (value >> (8 * n)) & 0xFF
            if np.int64(content[n]) & byte != byte:
                plain = False
        if plain:
            return np.uint8(1)
    return _call_store(words[CALL_STORE], engine, kind, at, size, value)


@njit(inline="always")
def _wait_for_input(words: Any) -> None:  # pragma: no cover
    """Wait a while for a byte, and count it as time that passes."""
    scratch = _pointer(words[SELF] + 8 * _SCRATCH)
    _clock(_MONOTONIC, scratch)
    began = words[_SCRATCH] * 1_000_000_000 + words[_SCRATCH + 1]
    words[_SCRATCH] = words[RX_EVENT] | (_POLLIN << 32)
    if _poll(scratch, 1, _WAIT_MS) > 0:
        _os_read(np.int32(words[RX_EVENT]), scratch, 8)
    _clock(_MONOTONIC, scratch)
    words[IDLE_NS] += words[_SCRATCH] * 1_000_000_000 + words[_SCRATCH + 1] - began
    if words[RX_HEAD] != words[RX_TAIL]:
        words[POLLS] = 0


@cfunc(_READ, cache=True)
def console_read(engine: Any, offset: Any, size: Any, state: Any) -> Any:  # pragma: no cover
    """Read the console USART's status and data; wait where the firmware polls for input."""
    words = carray(state, (CONSOLE_WORDS,), dtype=np.int64)
    at = np.int64(offset)
    if at == words[STATUS_AT]:
        if words[RX_HEAD] != words[RX_TAIL]:
            words[POLLS] = 0
        else:
            # Status reads with no byte in between are a wait for input: two of the everyday kind.
            words[POLLS] += 1
            if words[POLLS] > (1 if words[FAST] != 0 else _SLOW_POLLS) and words[INTERRUPTED] == 0:
                _wait_for_input(words)
        if words[FAST] != 0:
            received = _RXNE if words[RX_HEAD] != words[RX_TAIL] else 0
            return np.uint64(words[STATUS] | received)
    if words[FAST] != 0 and at == words[RX_AT]:
        words[POLLS] = 0
        if words[RX_HEAD] == words[RX_TAIL]:
            return np.uint64(0)
        ring = carray(_pointer(words[RX_RING]), (RX_BYTES,), dtype=np.uint8)
        byte = ring[words[RX_TAIL] & (RX_BYTES - 1)]
        words[RX_TAIL] += 1
        if words[RECEIVED] != 0:
            carray(_pointer(words[RECEIVED]), (1,), dtype=np.int64)[0] = 1
        return np.uint64(byte)
    return _call_read(words[CALL_READ], engine, at, size)


@cfunc(_WRITE, cache=True)
def console_write(
    engine: Any, offset: Any, size: Any, value: Any, state: Any
) -> None:  # pragma: no cover
    """Write the console USART's data."""
    words = carray(state, (CONSOLE_WORDS,), dtype=np.int64)
    at = np.int64(offset)
    if at == words[TX_AT]:
        words[POLLS] = 0
    if words[FAST] == 0 or at != words[TX_AT]:
        _call_write(words[CALL_WRITE], engine, at, size, np.int64(value))
        return
    if words[LISTENING] == 0:
        return
    if words[TX_HEAD] - words[TX_TAIL] >= TX_BYTES:
        words[LOST] += 1
        return
    ring = carray(_pointer(words[TX_RING]), (TX_BYTES,), dtype=np.uint8)
    ring[words[TX_HEAD] & (TX_BYTES - 1)] = np.uint8(value & 0xFF)
    words[TX_HEAD] += 1
    if words[READER_WAITS] != 0:
        words[READER_WAITS] = 0
        words[_SCRATCH] = 1
        _os_write(np.int32(words[TX_EVENT]), _pointer(words[SELF] + 8 * _SCRATCH), 8)
