"""What the emulator may do with each page of its address space.

Left to itself, Unicorn lets every page of RAM be executed, and therefore looks at each store
whether it changes translated code, which takes longer than the store. So a page of RAM can be
executed only from its first instruction fetch on; stores to all others are plain.

Unicorn 2.1 looks up where in the code it is before it asks, and keeps the IT state of that place as
the core's. The code that runs has its own; the next block would take what is left of it for itself,
and skip its first instructions. So the core's is cleared, as it is throughout a block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types
from unicorn import arm_const as arm
from unicorn import unicorn_const as uc

from harness.virtual.native import called
from harness.virtual.native.caches import MEMORY_END
from harness.virtual.native.callbacks import callback, pointer
from harness.virtual.native.hooks import reg_read

SHIFT = 10  # of Unicorn's Arm cores
PAGES = np.dtype([("xpsr", np.uint32, (1,)), ("executed", np.uint8, MEMORY_END >> SHIFT)])
_XPSR, _IT_STATE = np.int32(arm.UC_ARM_REG_XPSR), 0x0600_FC00  # ARMv7-M ARM B1.4.2
_reg_write = types.ExternalFunction(
    "uc_reg_write", types.int32(types.voidptr, types.int32, types.voidptr)
)
_ENTRY = np.dtype([("physical", np.uint64), ("access", np.uint32)], align=True)
_FILL = types.uint8(types.voidptr, types.uint64, types.int32, types.voidptr, types.voidptr)
_NEVER = ((0x4000_0000, 0x6000_0000), (0xA000_0000, 1 << 32))  # executed (ARMv7-M ARM table B3-1)
_FETCH, _DATA, _ALL = uc.UC_MEM_FETCH, uc.UC_PROT_READ | uc.UC_PROT_WRITE, uc.UC_PROT_ALL


@called
def _clear_it_state(engine: Any, value: Any) -> None:  # pragma: no cover
    reg_read(engine, _XPSR, pointer(value.ctypes.data))
    if value[0] & _IT_STATE != 0:
        value[0] &= ~_IT_STATE & 0xFFFF_FFFF
        _reg_write(engine, _XPSR, pointer(value.ctypes.data))


@callback(_FILL)
def fill_entry(
    engine: Any, address: Any, kind: Any, result: Any, user: Any
) -> Any:  # pragma: no cover
    """Say where an address leads, and what may be done there; 0 where no code may be."""
    pages = carray(user, (1,), dtype=PAGES)[0]
    entry = carray(result, (1,), dtype=_ENTRY)[0]
    at = np.int64(address)
    entry.physical = address
    entry.access = _DATA
    if kind == _FETCH:
        for low, high in _NEVER:
            if low <= at < high:
                return np.uint8(0)
        entry.access = _ALL
        if at < MEMORY_END:
            pages.executed[at >> SHIFT] = 1
        return np.uint8(1)
    if at < MEMORY_END and pages.executed[at >> SHIFT] != 0:
        entry.access = _ALL
    _clear_it_state(engine, pages.xpsr)
    return np.uint8(1)
