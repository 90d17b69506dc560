"""The hook that watches branches, instruction fetches and data accesses of the core.

It counts *events* per basic block (mispredictions, cache misses); what each costs is decided later,
by the timing model. Data accesses are not hooked, as that would cost 60 ns each: their addresses
are computed at the block's start from the core's registers, by the sums that
`harness.virtual.time.addresses` derives once per block.

All state is integer and depends only on what the core executed, so that every run gives the same
counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types
from unicorn import arm_const as arm

from harness.virtual.native import call, callback, inlined, pointer
from harness.virtual.native.blocks import BLOCK_HOOK, TABLE, emu_stop, find_block
from harness.virtual.native.caches import (
    CACHES,
    LINE_SHIFT,
    empty,
    fetch,
    fetch_accelerated,
    load_accelerated,
    load_or_store,
)
from harness.virtual.time.events import (
    BRANCH_CONDITIONAL,
    BRANCH_INDIRECT,
    ENTERED,
    MISPREDICTED,
    ODD,
    SPLIT_LOAD,
    TAKEN,
    UNALIGNED,
)

MAX_REGIONS = 8
MAX_ACCESSES = 1 << 18  # of all blocks
MAX_TERMS = 6
FIRST_KEPT = 16  # values from here on are what the block itself has loaded
VALUES = 32

# What a region of memory is to a data access.
NOTHING, TCM, CACHED_RAM, CACHED_FLASH, ACCELERATED, PLAIN_RAM = range(6)
_REGION = np.dtype(
    [
        ("start", np.int64),
        ("bytes", np.int64),
        ("kind", np.int64),
        ("content", np.int64),  # host address
    ]
)
#: An access of a block: its address is `constant` plus values times factors.
ACCESS = np.dtype(
    [
        ("constant", np.int64),
        ("terms", np.uint8),
        ("values", np.uint8, MAX_TERMS),
        ("factors", np.int32, MAX_TERMS),
        ("bytes", np.uint8),
        ("element_bytes", np.uint8),  # of aligned units; 0 where alignment costs nothing
        ("elements", np.uint8),
        ("store", np.uint8),
        ("chained", np.uint8),  # a load that the core pipelines with the load before it
        ("keep", np.uint8),  # index of the value that it loads; 0 for none
    ],
    align=True,
)
WATCH = np.dtype(
    [
        ("table", np.int64),  # host address of the block table
        ("describe", np.int64),  # address of the Python callback for a new block's slot
        ("cold", np.int64),  # set to empty caches and predictors before the next block
        ("epoch", np.int64),  # counts how often that was done
        ("last", np.int64),  # slot of the block before
        ("last_end", np.int64),
        ("accelerator", np.int64),  # whether code below RAM goes through it
        ("cached_from", np.int64),  # else: first address of code that does not come from TCM
        ("caches", CACHES),
        ("region_count", np.int64),
        ("regions", _REGION, MAX_REGIONS),
        ("values", np.uint32, VALUES),  # registers, then what was loaded
        ("access_count", np.int64),
        ("accesses", ACCESS, MAX_ACCESSES),
    ],
    align=True,
)
COLD_AT: int = WATCH.fields["cold"][1]  # type: ignore[index]  # None for dtypes without fields

_RAM = 0x2000_0000
_REGISTERS = np.array(
    [*(getattr(arm, f"UC_ARM_REG_R{n}") for n in range(13)), arm.UC_ARM_REG_SP, arm.UC_ARM_REG_LR],
    dtype=np.int32,
)
_reg_read = types.ExternalFunction(
    "uc_reg_read", types.int32(types.voidptr, types.int32, types.voidptr)
)


@inlined
def predict(watch: Any, block: Any, at: Any, jumped: Any) -> None:
    """Compare the prediction of the branch that ends `block` with where it went."""
    if block.epoch != watch.epoch:
        block.epoch = watch.epoch
        block.prediction = block.initial
        block.target = 0
    if block.branch == BRANCH_CONDITIONAL:
        counter = block.prediction  # two bits; the static prediction when first seen
        if (counter >= 2) != jumped:
            block.events[MISPREDICTED] += 1
        block.prediction = min(counter + 1, 3) if jumped else max(counter - 1, 0)
    elif block.branch == BRANCH_INDIRECT:
        if block.target != at:
            block.events[MISPREDICTED] += 1
        block.target = at


@inlined
def find_region(watch: Any, address: Any) -> Any:
    """Return the index of the region that `address` is in, -1 for none."""
    for n in range(watch.region_count):
        region = watch.regions[n]
        if 0 <= address - region.start < region.bytes:
            return n
    return -1


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
def look_up(watch: Any, access: Any, address: Any, kind: Any, events: Any) -> None:
    """Count what an access at `address`, in a region of `kind`, meets."""
    if access.element_bytes != 0 and address & (access.element_bytes - 1) != 0:
        events[UNALIGNED] += access.elements
        if access.element_bytes == 4 and address & 1 != 0:
            events[ODD] += access.elements
    if kind in (CACHED_FLASH, CACHED_RAM):
        line = address >> LINE_SHIFT
        while line <= (address + access.bytes - 1) >> LINE_SHIFT:
            load_or_store(watch.caches, line, access.store != 0, kind == CACHED_FLASH, events)
            line += 1
    elif kind == ACCELERATED:
        line = address >> watch.caches.line_shift
        while line <= (address + access.bytes - 1) >> watch.caches.line_shift:
            load_accelerated(watch.caches, line, events)
            line += 1


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


@callback(BLOCK_HOOK)
def watch_block(engine: Any, address: Any, size: Any, user: Any) -> None:  # pragma: no cover
    """Count a basic block and its events, or stop the core before it."""
    watch = carray(user, (1,), dtype=WATCH)[0]
    table = carray(pointer(watch.table), (1,), dtype=TABLE)[0]
    if table.stop != 0:
        emu_stop(engine)
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
