"""Compiled callbacks of the STM32F's flash interface: programming, where nothing depends on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types

from harness.virtual.native.blocks import TABLE
from harness.virtual.native.callbacks import PAGE_CALLS, READ, WRITE, call, callback, pointer

FLASH = np.dtype(
    [
        *PAGE_CALLS,
        ("call_store", np.int64),  # the Python callback of a store to flash
        ("sr_at", np.int64),  # offset of SR in its page, negative to hand on every access
        ("cr_at", np.int64),
        ("sr", np.int64),
        ("cr", np.int64),
        ("programmed", np.int64),  # bytes, since power-on
        ("pending", np.int64),  # whether programmed bytes have yet to be put right
        ("content", np.int64),  # host address
        ("content_bytes", np.int64),
        ("origin_count", np.int64),
        ("origins", np.int64, 4),  # addresses that the content appears at
        ("table", np.int64),  # host address of the block table
    ]
)
_PG, _LOCK, _PSIZE = 0x1, 0x8000_0000, 8
_CR_ERASE = 0x8006  # SER, MER, MER2
_CR_PLAIN = 0x3F9  # PG, SNB, PSIZE: nothing that starts or locks anything
_STORE = types.uint8(
    types.voidptr, types.int32, types.uint64, types.int32, types.int64, types.voidptr
)


@callback(READ)
def flash_read(engine: Any, offset: Any, size: Any, user: Any) -> Any:  # pragma: no cover
    """Read SR and CR of the flash interface."""
    flash = carray(user, (1,), dtype=FLASH)[0]
    at = np.int64(offset)
    if size == 4 and flash.pending == 0:
        if at == flash.sr_at:
            return np.uint64(flash.sr)
        if at == flash.cr_at:
            return np.uint64(flash.cr)
    return call(flash.call_read, types.uint64, (engine, at, size, 0))


@callback(WRITE)
def flash_write(
    engine: Any, offset: Any, size: Any, value: Any, user: Any
) -> None:  # pragma: no cover
    """Write CR of the flash interface where it only prepares programming."""
    flash = carray(user, (1,), dtype=FLASH)[0]
    at, new = np.int64(offset), np.int64(value)
    if (
        size == 4
        and at == flash.cr_at
        and flash.pending == 0
        and flash.cr & _LOCK == 0
        and new & ~_CR_PLAIN == 0
    ):
        flash.cr = new
        return
    call(flash.call_write, types.int64, (engine, at, size, new, 0))


@callback(_STORE)
def flash_store(
    engine: Any, kind: Any, address: Any, size: Any, value: Any, user: Any
) -> Any:  # pragma: no cover
    """Take a store to flash that only clears bits where no code has run."""
    flash = carray(user, (1,), dtype=FLASH)[0]
    at, control = np.int64(address), flash.cr
    width = 1 << ((control >> _PSIZE) & 3)
    plain = control & (_LOCK | _CR_ERASE | _PG) == _PG and size == width and at & (width - 1) == 0
    offset = np.int64(-1)
    for n in range(flash.origin_count):
        if 0 <= at - flash.origins[n] < flash.content_bytes:
            offset = at - flash.origins[n]
    if plain and offset >= 0:
        table = carray(pointer(flash.table), (1,), dtype=TABLE)[0]
        for n in range(flash.origin_count):
            if table.pages[((flash.origins[n] + offset) >> 12) & 0xFFFFF] != 0:
                plain = False
        content = carray(pointer(flash.content + offset), (4,), dtype=np.uint8)
        for n in range(size):
            byte = (value >> (8 * n)) & 0xFF
            if np.int64(content[n]) & byte != byte:
                plain = False
        if plain:
            flash.programmed += size
            return np.uint8(1)
    return call(flash.call_store, types.uint8, (engine, kind, at, size, value, 0))
