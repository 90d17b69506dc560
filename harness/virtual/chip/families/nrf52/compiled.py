"""Compiled callbacks of the console's UARTE, where it moves one byte at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types

from harness.virtual.native import inlined
from harness.virtual.native.callbacks import PAGE_CALLS, READ, WRITE, call, callback, pointer
from harness.virtual.native.console import (
    CONSOLE,
    SLOW_POLLS,
    put_byte,
    take_byte,
    wait_for_input,
)

STARTRX, STARTTX = 0x000, 0x008
RXDRDY, ENDRX, TXDRDY, ENDTX, ERROR = 0x108, 0x110, 0x11C, 0x120, 0x124
UARTE = np.dtype(
    [
        *PAGE_CALLS,
        ("console", np.int64),  # host address of the console's record; its `fast` is for here
        ("receiving", np.int64),  # whether a buffer waits to be filled
        ("received", np.int64),  # bytes in it
        ("amount", np.int64),  # bytes of the one before, once that has ended
        ("endrx", np.int64),  # events
        ("endtx", np.int64),
        # Where the byte comes from and goes to while `fast`.
        ("rx_to", np.int64),  # host addresses
        ("tx_from", np.int64),
    ]
)


@inlined
def _deliver(uarte: Any, console: Any) -> None:  # pragma: no cover
    """Move a byte into the buffer of one byte; the firmware has taken the one before."""
    if uarte.receiving != 0 and uarte.endrx == 0 and console.rx_head != console.rx_tail:
        carray(pointer(uarte.rx_to), (1,), dtype=np.uint8)[0] = take_byte(console)
        uarte.receiving = 0
        uarte.received = uarte.amount = 1
        uarte.endrx = 1


@callback(READ)
def uarte_read(engine: Any, offset: Any, size: Any, user: Any) -> Any:  # pragma: no cover
    """Read ENDRX and ENDTX; wait where the firmware polls for input."""
    uarte = carray(user, (1,), dtype=UARTE)[0]
    console = carray(pointer(uarte.console), (1,), dtype=CONSOLE)[0]
    at = np.int64(offset)
    if at == ENDRX:
        if uarte.endrx != 0 or console.rx_head != console.rx_tail:
            console.polls = 0
        else:
            console.polls += 1
            polls = 1 if console.fast != 0 else SLOW_POLLS
            if console.polls > polls and console.interrupted == 0 and console.wait_ms > 0:
                wait_for_input(console)
        if console.fast != 0:
            _deliver(uarte, console)
            return np.uint64(uarte.endrx)
    if console.fast != 0:
        if at == ENDTX:
            return np.uint64(uarte.endtx)
        if at == ERROR:
            return np.uint64(0)
    return call(uarte.call_read, types.uint64, (engine, at, size, 0))


@callback(WRITE)
def uarte_write(
    engine: Any, offset: Any, size: Any, value: Any, user: Any
) -> None:  # pragma: no cover
    """Clear ENDRX and ENDTX, and start a byte in either direction."""
    uarte = carray(user, (1,), dtype=UARTE)[0]
    console = carray(pointer(uarte.console), (1,), dtype=CONSOLE)[0]
    at, new = np.int64(offset), np.int64(value) & 1
    if console.fast != 0 and size == 4:
        if at == ENDRX:
            uarte.endrx = new
            return
        if at == ENDTX:
            uarte.endtx = new
            return
        if at == STARTRX and new != 0:
            uarte.receiving = 1
            uarte.received = 0
            return
        if at == STARTTX and new != 0:
            console.polls = 0
            put_byte(console, carray(pointer(uarte.tx_from), (1,), dtype=np.uint8)[0])
            uarte.endtx = 1
            return
    call(uarte.call_write, types.int64, (engine, at, size, np.int64(value), 0))
