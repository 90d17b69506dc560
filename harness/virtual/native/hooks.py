"""The hooks that Unicorn calls before each basic block.

`watch_block` counts *events* per basic block (mispredictions, cache misses); what each costs is
decided later, by the timing model. Data accesses are not hooked, as that would cost 60 ns each:
their addresses are computed at the block's start from the core's registers, by the sums that
`harness.virtual.time.addresses` derives once per block.

All state is integer and depends only on what the core executed, so that every run gives the same
counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types
from unicorn import arm_const as arm

from harness.virtual.native import inlined
from harness.virtual.native.blocks import TABLE, find_block
from harness.virtual.native.caches import empty, fetch, fetch_accelerated
from harness.virtual.native.callbacks import BLOCK, call, callback, pointer
from harness.virtual.native.watch import NOTHING, WATCH, find_region, look_up, predict
from harness.virtual.time.events import ENTERED, SPLIT_LOAD, TAKEN

_RAM = 0x2000_0000
_REGISTERS = np.array(
    [*(getattr(arm, f"UC_ARM_REG_R{n}") for n in range(13)), arm.UC_ARM_REG_SP, arm.UC_ARM_REG_LR],
    dtype=np.int32,
)
_emu_stop = types.ExternalFunction("uc_emu_stop", types.int32(types.voidptr))
_reg_read = types.ExternalFunction(
    "uc_reg_read", types.int32(types.voidptr, types.int32, types.voidptr)
)


@callback(BLOCK)
def count_block(engine: Any, address: Any, size: Any, user: Any) -> None:  # pragma: no cover
    """Count a basic block, or stop the core before it."""
    table = carray(user, (1,), dtype=TABLE)[0]
    if table.stop != 0:
        _emu_stop(engine)
        return
    slot = find_block(table, np.int64(address), size)
    if slot != 0:
        table.blocks[abs(slot)].count += 1


@inlined
def _keep(watch: Any, access: Any, region: Any, address: Any) -> None:  # pragma: no cover
    """Keep the word that an access loads, as later addresses of the block depend on it."""
    value = np.uint32(0)
    if region >= 0 and address & 3 == 0:
        found = watch.regions[region]
        content = carray(pointer(found.content + address - found.start), (1,), dtype=np.uint32)
        value = content[0]
    watch.values[access.keep] = value


@inlined
def _run_accesses(engine: Any, watch: Any, block: Any) -> None:  # pragma: no cover
    """Compute the addresses of a block and look each up."""
    for n in range(block.register_count):
        register = np.int64(block.registers[n])
        _reg_read(engine, _REGISTERS[register], pointer(watch.values.ctypes.data + 4 * register))
    previous = np.int64(NOTHING)
    for n in range(block.access, block.access + block.access_count):
        access = watch.accesses[n]
        address = access.constant
        for t in range(access.terms):
            address += np.int64(watch.values[access.values[t]]) * access.factors[t]
        address &= 0xFFFF_FFFF
        region = find_region(watch, address)
        kind = np.int64(NOTHING)
        if region >= 0:
            kind = watch.regions[region].kind
        if access.keep != 0:
            _keep(watch, access, region, address)
        if access.chained != 0 and kind != previous:
            block.events[SPLIT_LOAD] += 1
        previous = kind
        look_up(watch, access, address, kind, block.events)


@callback(BLOCK)
def watch_block(engine: Any, address: Any, size: Any, user: Any) -> None:  # pragma: no cover
    """Count a basic block and its events, or stop the core before it."""
    watch = carray(user, (1,), dtype=WATCH)[0]
    table = carray(pointer(watch.table), (1,), dtype=TABLE)[0]
    if table.stop != 0:
        _emu_stop(engine)
        return
    at = np.int64(address)
    slot = find_block(table, at, size)
    if slot == 0:
        return
    if slot < 0:
        slot = -slot
        call(watch.describe, types.int64, (slot,))
    block = table.blocks[slot]
    block.count += 1
    last = watch.last
    end = at + np.int64(size)
    if watch.cold != 0:
        watch.cold = 0
        watch.epoch += 1
        empty(watch.caches)
        last = np.int64(0)
    jumped = at != watch.last_end
    if last != 0:
        before = table.blocks[last]
        predict(watch, before, at, jumped)
        if jumped:
            before.events[TAKEN] += 1
            block.events[ENTERED] += 1
    watch.last = slot
    watch.last_end = end
    if watch.accelerator != 0:
        if at < _RAM:
            fetch_accelerated(watch.caches, at, end, block.events)
    elif at >= watch.cached_from:
        fetch(watch.caches, at, end, jumped, block.events)
    if block.access_count != 0:
        _run_accesses(engine, watch, block)
