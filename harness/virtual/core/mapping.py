"""Connect register pages and flash to Unicorn, straight to its library."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import unicorn.unicorn_py3.unicorn as unicorn_api
from unicorn import unicorn_const as uc

from harness.virtual.core.accesses import CoreAccesses
from harness.virtual.native import shared
from harness.virtual.native.callbacks import Page, add_hook, call_unicorn
from harness.virtual.native.flash import flash_store
from harness.virtual.native.pages import PAGES, SHIFT, fill_entry

_WRITE = uc.UC_CTL_IO_WRITE << 30  # the binding has no method for what has no arguments
_STORE = ctypes.CFUNCTYPE(
    ctypes.c_bool,
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_uint64,
    ctypes.c_int,
    ctypes.c_int64,
    ctypes.c_void_p,
)


def map_registers(engine: Any, page: range, bus: CoreAccesses, fast: Page | None) -> object:
    """Map addresses that hold registers, with their compiled callbacks if they have any.

    Returns:
        What must live as long as the engine.
    """

    def read(_engine: Any, offset: int, size: int, _data: Any) -> int:
        return bus.read(page.start + offset, size)

    def write(_engine: Any, offset: int, size: int, value: int, _data: Any) -> None:
        bus.write(page.start + offset, size, value)

    slow = unicorn_api.MMIO_READ_CFUNC(read), unicorn_api.MMIO_WRITE_CFUNC(write)
    callbacks = tuple(ctypes.cast(c, ctypes.c_void_p) for c in slow)
    state = None
    if fast is not None:
        fast.state["call_read"] = callbacks[0].value
        fast.state["call_write"] = callbacks[1].value
        callbacks = ctypes.c_void_p(fast.read), ctypes.c_void_p(fast.write)
        state = ctypes.c_void_p(fast.state.ctypes.data)
    call_unicorn(
        "uc_mmio_map", engine, ctypes.c_uint64(page.start), ctypes.c_size_t(len(page)),
        callbacks[0], state, callbacks[1], state,
    )  # fmt: skip
    return slow


def hook_flash(
    engine: Any, store: Callable[..., bool], state: Any, ranges: Iterable[range]
) -> object:
    """Let stores to flash go through the compiled callback, and to `store` where it says so.

    Returns:
        What must live as long as the engine.
    """
    callback = _STORE(store)
    state["call_store"] = ctypes.cast(callback, ctypes.c_void_p).value
    for at in ranges:
        add_hook(engine, uc.UC_HOOK_MEM_WRITE_PROT, flash_store.address, state.ctypes.data, at)
    return callback


class Pages:
    """Lets RAM be written without a look at what may be executed (`native.pages`).

    That takes, too, that no hook for memory is at its addresses.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._state = shared(PAGES)
        engine.ctl_set_tlb_mode(uc.UC_TLB_VIRTUAL)
        add_hook(engine, uc.UC_HOOK_TLB_FILL, fill_entry.address, self._state.ctypes.data)

    def forget(self, start: int, end: int) -> None:
        """Note that no translated code is in [start, end) any more."""
        self._state[0]["executed"][start >> SHIFT : end >> SHIFT] = 0
        call_unicorn("uc_ctl", self._engine, ctypes.c_int(uc.UC_CTL_TLB_FLUSH | _WRITE))


def gaps(memory: Iterable[range]) -> Iterator[range]:
    """Return the ranges of addresses between memories."""
    start = 0
    for at in sorted(memory, key=lambda at: at.start):
        if at.start > start:
            yield range(start, at.start)
        start = max(start, at.stop)
    yield range(start, 1 << 32)
