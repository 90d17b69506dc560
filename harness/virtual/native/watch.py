"""What is watched: branches, instruction fetches and data accesses, and the events they meet."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.virtual.native import inlined
from harness.virtual.native.caches import (
    CACHES,
    LINE_SHIFT,
    load_accelerated,
    load_or_store,
)
from harness.virtual.time.events import (
    BRANCH_CONDITIONAL,
    BRANCH_INDIRECT,
    MISPREDICTED,
    ODD,
    UNALIGNED,
)

MAX_REGIONS = 8
MAX_ACCESSES = 1 << 18  # of all blocks
MAX_TERMS = 6
FIRST_KEPT = 16  # values from here on are what the block itself has loaded
MAX_KEPT = 8

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
        ("values", np.uint32, FIRST_KEPT + MAX_KEPT),  # registers, then what was loaded
        ("access_count", np.int64),
        ("accesses", ACCESS, MAX_ACCESSES),
    ],
    align=True,
)
COLD_AT: int = WATCH.fields["cold"][1]  # type: ignore[index]  # None for dtypes without fields


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
