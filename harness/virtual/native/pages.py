"""What the emulator may do with each page of its address space.

Left to itself, Unicorn lets every page of RAM be executed, and therefore looks at each store
whether it changes translated code, which takes longer than the store. So a page of RAM can be
executed only from its first instruction fetch on; stores to all others are plain.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types
from unicorn import unicorn_const as uc

from harness.virtual.native.caches import MEMORY_END
from harness.virtual.native.callbacks import callback

SHIFT = 10  # of Unicorn's Arm cores
PAGES = np.dtype([("executed", np.uint8, MEMORY_END >> SHIFT)])
_ENTRY = np.dtype([("physical", np.uint64), ("access", np.uint32)], align=True)
_FILL = types.uint8(types.voidptr, types.uint64, types.int32, types.voidptr, types.voidptr)
_NEVER = ((0x4000_0000, 0x6000_0000), (0xA000_0000, 1 << 32))  # executed (ARMv7-M ARM table B3-1)
_FETCH, _DATA, _ALL = uc.UC_MEM_FETCH, uc.UC_PROT_READ | uc.UC_PROT_WRITE, uc.UC_PROT_ALL


@callback(_FILL)
def fill_entry(
    _engine: Any, address: Any, kind: Any, result: Any, user: Any
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
    elif at < MEMORY_END and pages.executed[at >> SHIFT] != 0:
        entry.access = _ALL
    return np.uint8(1)
