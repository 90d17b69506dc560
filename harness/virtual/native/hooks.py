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

from harness.virtual.native import called, inlined
from harness.virtual.native.blocks import TABLE, find_block, stop_before
from harness.virtual.native.caches import empty, fetch_accelerated, fetch_block
from harness.virtual.native.callbacks import BLOCK, call, callback, pointer
from harness.virtual.native.plan import plan, plan_singly
from harness.virtual.native.watch import (
    WATCH,
    hits,
    look_up,
    predict,
)
from harness.virtual.time.events import ENTERED, SPLIT_LOAD, TAKEN

_RAM = 0x2000_0000
_REGISTERS = np.array(
    [*(getattr(arm, f"UC_ARM_REG_R{n}") for n in range(13)), arm.UC_ARM_REG_SP, arm.UC_ARM_REG_LR],
    dtype=np.int32,
)
emu_stop = types.ExternalFunction("uc_emu_stop", types.int32(types.voidptr))
reg_read = types.ExternalFunction(
    "uc_reg_read", types.int32(types.voidptr, types.int32, types.voidptr)
)


@callback(BLOCK)
def count_block(engine: Any, address: Any, size: Any, user: Any) -> None:  # pragma: no cover
    """Count a basic block, or stop the core before it."""
    table = carray(user, (1,), dtype=TABLE)[0]
    if table.stop != 0:
        stop_before(table, np.int64(address))
        emu_stop(engine)
        return
    slot = find_block(table, np.int64(address), size)
    if slot != 0:
        table.blocks[abs(slot)].count += 1


@called
def _read_registers(engine: Any, watch: Any) -> None:  # pragma: no cover
    for n in range(len(_REGISTERS)):
        reg_read(engine, _REGISTERS[n], pointer(watch.values.ctypes.data + 4 * n))


@inlined
def _load(at: Any) -> Any:  # pragma: no cover
    return carray(pointer(at), (1,), dtype=np.uint32)[0]


@called
def _look_up_slowly(watch: Any, access: Any, address: Any, block: Any) -> None:  # pragma: no cover
    """Look up an access and keep what it loads."""
    index = look_up(watch, access, address, block.events)
    if access.keep != 0:
        watch.values[access.keep] = 0
        if index >= 0 and address & 3 == 0:
            region = watch.regions[index]
            watch.values[access.keep] = _load(address + region.content - region.start)


@inlined
def _plain_sum(what: Any) -> Any:  # pragma: no cover
    return np.int64(what.constant) + _load(what.one) + _load(what.two) & 0xFFFF_FFFF


@inlined
def _sum(watch: Any, access: Any, n: Any) -> Any:  # pragma: no cover
    if access.summed == 0:
        return _plain_sum(access)
    address = np.int64(access.constant)
    found = watch.sums[n]
    for t in range(found.terms):
        address += np.int64(_load(found.values[t])) * found.factors[t]
    return address & 0xFFFF_FFFF


@inlined
def _groups_hold(watch: Any, block: Any) -> Any:  # pragma: no cover
    """Tell whether the groups of a block are where its plan has them, and aligned."""
    n, end = np.uint64(block.access), np.uint64(block.access + block.groups)
    while n < end:
        group = watch.groups[n]
        offset = _plain_sum(group)
        if offset >= group.width or offset & group.alignment != 0:
            return False
        n += np.uint64(1)
    return block.planned != 0


@inlined
def _run_accesses(engine: Any, watch: Any, block: Any) -> None:  # pragma: no cover
    """Compute the addresses of a block and look each up."""
    if watch.registers == 0:
        _read_registers(engine, watch)
    if not _groups_hold(watch, block):
        plan_singly(block, watch.steps)
        watch.changed = 1
    step = np.uint64(block.access)
    ordered = np.uint64(block.access + block.loads)
    while step < ordered:
        access = watch.accesses[watch.steps[step]]
        watch.values[access.keep] = _load(_plain_sum(access) + access.offset)
        step += np.uint64(1)
    end = np.uint64(block.access + block.steps)
    while step < end:
        n = watch.steps[step]
        access = watch.accesses[n]
        address = _sum(watch, access, n)
        if not hits(watch, access, address):
            _look_up_slowly(watch, access, address, block)
        elif access.keep != 0:  # as later addresses of the block depend on it
            watch.values[access.keep] = _load(address + access.offset)
        step += np.uint64(1)
    if watch.changed != 0:
        watch.changed = 0
        plan(watch, block)
    if block.split != 0:  # mostly not, and the count is on a line of memory of its own
        block.events[SPLIT_LOAD] += block.split


@inlined
def watch_next(engine: Any, watch: Any, table: Any, address: Any, size: Any) -> Any:
    """Count a basic block and its events."""  # pragma: no cover
    at = np.int64(address)
    end = at + np.int64(size)
    jumped = at != watch.last_end
    last = watch.last
    before = table.blocks[np.uint64(last)]
    slot = np.int64(before.followers[np.uint64(jumped)])  # most often what followed last time
    block = table.blocks[np.uint64(slot)]
    if block.address != at or block.bytes != size:
        slot = find_block(table, at, size)
        if slot == 0:
            return
        if slot < 0:
            slot = -slot
            call(watch.describe, types.int64, (slot,))
        before.followers[np.uint64(jumped)] = slot
        block = table.blocks[np.uint64(slot)]
    block.count += 1
    if watch.cold != 0:
        watch.cold = 0
        watch.epoch += 1
        empty(watch.caches)
        last = np.int64(0)
    if last != 0:
        predict(watch, before, at, jumped)
        if jumped:
            before.events[TAKEN] += 1
            block.events[ENTERED] += 1
    watch.last = slot
    watch.last_end = end
    if watch.accelerator != 0:
        if at < _RAM:
            fetch_accelerated(watch.caches, at, end, block.events)
    elif at >= watch.cached_from and (slot != last or block.fills != watch.caches.icache_fills):
        # A block that repeats itself leaves the cache as its last turn did.
        fetch_block(watch.caches, block, at, end, jumped)
    if block.access_count != 0:
        _run_accesses(engine, watch, block)


@callback(BLOCK)
def watch_block(engine: Any, address: Any, size: Any, user: Any) -> None:  # pragma: no cover
    """Count a basic block and its events, or stop the core before it."""
    watch = carray(user, (1,), dtype=WATCH)[0]
    table = carray(pointer(watch.table), (1,), dtype=TABLE)[0]
    if table.stop != 0:
        stop_before(table, np.int64(address))
        emu_stop(engine)
        return
    watch_next(engine, watch, table, address, size)
