"""The hooks of `hooks`, while something may interrupt the core: they know the time.

They sum up the modelled cycles as blocks are executed and stop the core before the first block
that begins at or behind a deadline, or once the mask registers let a waiting interrupt through.
That costs some time, so they are in use from the first deadline on, until the chip is reset.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types
from unicorn import arm_const as arm

from harness.virtual.native import inlined
from harness.virtual.native.blocks import MAX_SLOTS, TABLE, find_block, stop_before
from harness.virtual.native.callbacks import BLOCK, call, callback, pointer
from harness.virtual.native.hooks import emu_stop, reg_read, watch_next
from harness.virtual.native.watch import WATCH
from harness.virtual.time.events import EVENTS

_PRIMASK = np.int32(arm.UC_ARM_REG_PRIMASK)
_BASEPRI = np.int32(arm.UC_ARM_REG_BASEPRI)
_FAULTMASK = np.int32(arm.UC_ARM_REG_FAULTMASK)


@inlined
def _register(engine: Any, table: Any, number: Any) -> Any:  # pragma: no cover
    reg_read(engine, number, pointer(table.register.ctypes.data))
    return np.int64(table.register[0])


@inlined
def _unmasked(engine: Any, table: Any) -> Any:  # pragma: no cover
    """Tell whether the mask registers let an interrupt of `table.priority` through."""
    if _register(engine, table, _PRIMASK) & 1 != 0 or _register(engine, table, _FAULTMASK) & 1 != 0:
        return False
    least = _register(engine, table, _BASEPRI) & 0xF0
    return least == 0 or least > table.priority


@inlined
def _ends(engine: Any, table: Any, address: Any) -> Any:  # pragma: no cover
    """Tell whether the core is to stop before this block, and stop it."""
    if table.stop == 0:
        if table.spent >= table.until:
            table.stop = 1
        elif table.masked != 0:
            if table.fresh != 0:
                table.fresh = 0
            elif _unmasked(engine, table):
                table.stop = 1
    if table.stop != 0:
        stop_before(table, np.int64(address))
        emu_stop(engine)
        return True
    return False


@inlined
def _spend(table: Any, slot: Any) -> Any:  # pragma: no cover
    """Add what the events of a block have cost since this was last done."""
    costs = carray(pointer(table.event_cycles_at), (MAX_SLOTS, EVENTS), dtype=np.int64)
    priced = carray(pointer(table.priced_at), (MAX_SLOTS,), dtype=np.int64)
    total = np.int64(0)
    for n in range(EVENTS):
        total += table.blocks[slot].events[n] * costs[slot, n]
    table.spent += total - priced[slot]
    priced[slot] = total


@inlined
def _spend_cycles(table: Any, slot: Any) -> Any:  # pragma: no cover
    cycles = carray(pointer(table.cycles_at), (MAX_SLOTS,), dtype=np.int64)
    table.spent += cycles[slot]


@callback(BLOCK)
def count_until(engine: Any, address: Any, size: Any, user: Any) -> None:  # pragma: no cover
    """Count a basic block, or stop the core before it."""
    table = carray(user, (1,), dtype=TABLE)[0]
    if _ends(engine, table, address):
        return
    slot = find_block(table, np.int64(address), size)
    if slot < 0:
        slot = -slot
        call(table.price, types.int64, (slot,))
    if slot != 0:
        table.blocks[np.uint64(slot)].count += 1
        _spend_cycles(table, np.uint64(slot))


@callback(BLOCK)
def watch_until(engine: Any, address: Any, size: Any, user: Any) -> None:  # pragma: no cover
    """Count a basic block and its events, or stop the core before it."""
    watch = carray(user, (1,), dtype=WATCH)[0]
    table = carray(pointer(watch.table), (1,), dtype=TABLE)[0]
    if _ends(engine, table, address):
        return
    before, used = watch.last, table.used
    watch_next(engine, watch, table, address, size)
    if table.used != used:
        call(table.price, types.int64, (np.int64(table.used),))
    _spend(table, np.uint64(before))
    _spend(table, np.uint64(watch.last))
    _spend_cycles(table, np.uint64(watch.last))
