"""Compiled callbacks of the console's USART: two rings of bytes, and waiting for input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types

from harness.virtual.native import inlined
from harness.virtual.native.callbacks import PAGE_CALLS, READ, WRITE, call, callback, pointer

RX_BYTES, TX_BYTES = 1 << 16, 1 << 20
CONSOLE = np.dtype(
    [
        *PAGE_CALLS,
        ("status_at", np.int64),  # offsets of the registers in their page
        ("rx_at", np.int64),
        ("tx_at", np.int64),
        ("fast", np.int64),  # whether bytes may be moved here: Python has checked everything
        ("status", np.int64),  # the status register but RXNE
        ("polls", np.int64),  # status reads since anything else happened
        ("interrupted", np.int64),  # whether the core must not wait for input
        ("wait_ms", np.int64),  # longest wait at once
        ("stop", np.int64),  # host address of a word to set to one after a wait; 0 for none
        ("listening", np.int64),  # whether the host has the console open
        ("rx_head", np.int64),  # count of bytes put in, and of bytes taken out
        ("rx_tail", np.int64),
        ("tx_head", np.int64),
        ("tx_tail", np.int64),
        ("lost", np.int64),  # bytes that found the ring to the host full
        ("rx_event", np.int64),  # file descriptors of the wake-ups
        ("tx_event", np.int64),
        ("reader_waits", np.int64),
        ("idle_ns", np.int64),  # how long the core has waited
        ("received", np.int64),  # host address of a word to set when a byte is taken; 0 for none
        ("poll", [("fd", np.int32), ("events", np.int16), ("returned", np.int16)], (1,)),
        ("time", np.int64, 2),  # seconds, nanoseconds
        ("event", np.int64, (1,)),
        ("rx", np.uint8, RX_BYTES),
        ("tx", np.uint8, TX_BYTES),
    ],
    align=True,
)
_RXNE = 1 << 5
_POLLIN = 1
SLOW_POLLS = 16  # while every access goes through the Python model, which is not only for waiting
_MONOTONIC = 1

_poll = types.ExternalFunction("poll", types.int32(types.voidptr, types.uint64, types.int32))
_os_read = types.ExternalFunction("read", types.int64(types.int32, types.voidptr, types.uint64))
_os_write = types.ExternalFunction("write", types.int64(types.int32, types.voidptr, types.uint64))
_clock = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.voidptr))


@inlined
def _now_ns(console: Any) -> Any:  # pragma: no cover
    _clock(_MONOTONIC, pointer(console.time.ctypes.data))
    return console.time[0] * 1_000_000_000 + console.time[1]


@inlined
def wait_for_input(console: Any) -> None:  # pragma: no cover
    """Wait a while for a byte, and count it as time that passes."""
    began = _now_ns(console)
    console.poll[0].fd = console.rx_event
    console.poll[0].events = _POLLIN
    if _poll(pointer(console.poll.ctypes.data), 1, np.int32(console.wait_ms)) > 0:
        _os_read(np.int32(console.rx_event), pointer(console.event.ctypes.data), 8)
    console.idle_ns += _now_ns(console) - began
    if console.stop != 0:
        carray(pointer(console.stop), (1,), dtype=np.uint32)[0] = 1
    if console.rx_head != console.rx_tail:
        console.polls = 0


@inlined
def take_byte(console: Any) -> Any:  # pragma: no cover
    """Take the next byte for the core; there is one."""
    byte = console.rx[console.rx_tail & (RX_BYTES - 1)]
    console.rx_tail += 1
    if console.received != 0:
        carray(pointer(console.received), (1,), dtype=np.int64)[0] = 1
    return byte


@inlined
def put_byte(console: Any, value: Any) -> None:  # pragma: no cover
    """Send a byte to the host; without a reader it is lost, as in the probe's bridge."""
    if console.listening == 0:
        return
    if console.tx_head - console.tx_tail >= TX_BYTES:
        console.lost += 1
        return
    console.tx[console.tx_head & (TX_BYTES - 1)] = np.uint8(value & 0xFF)
    console.tx_head += 1
    if console.reader_waits != 0:
        console.reader_waits = 0
        console.event[0] = 1
        _os_write(np.int32(console.tx_event), pointer(console.event.ctypes.data), 8)


@callback(READ)
def console_read(engine: Any, offset: Any, size: Any, user: Any) -> Any:  # pragma: no cover
    """Read the console USART's status and data; wait where the firmware polls for input."""
    console = carray(user, (1,), dtype=CONSOLE)[0]
    at = np.int64(offset)
    if at == console.status_at:
        if console.rx_head != console.rx_tail:
            console.polls = 0
        else:
            # Status reads with no byte in between are a wait for input: two of the everyday kind.
            console.polls += 1
            polls = 1 if console.fast != 0 else SLOW_POLLS
            if console.polls > polls and console.interrupted == 0 and console.wait_ms > 0:
                wait_for_input(console)
        if console.fast != 0:
            received = _RXNE if console.rx_head != console.rx_tail else 0
            return np.uint64(console.status | received)
    if console.fast != 0 and at == console.rx_at:
        console.polls = 0
        if console.rx_head == console.rx_tail:
            return np.uint64(0)
        return np.uint64(take_byte(console))
    return call(console.call_read, types.uint64, (engine, at, size, 0))


@callback(WRITE)
def console_write(
    engine: Any, offset: Any, size: Any, value: Any, user: Any
) -> None:  # pragma: no cover
    """Write the console USART's data."""
    console = carray(user, (1,), dtype=CONSOLE)[0]
    at = np.int64(offset)
    if at == console.tx_at:
        console.polls = 0
    if console.fast == 0 or at != console.tx_at:
        call(console.call_write, types.int64, (engine, at, size, np.int64(value), 0))
        return
    put_byte(console, value)
