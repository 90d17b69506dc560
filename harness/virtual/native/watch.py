"""What is watched: branches, instruction fetches and data accesses, and the events they meet."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.virtual.native import inlined
from harness.virtual.native.caches import (
    CACHES,
    CHANGED,
    KEPT,
    LINE_SHIFT,
    REGION,
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

MAX_REGIONS = 8  # as many as `caches.lines` has bits for
MAX_ACCESSES = 1 << 18  # of all blocks
MAX_TERMS = 6
FIRST_KEPT = 16  # values from here on are what the block itself has loaded
MAX_KEPT = 8
ZERO = FIRST_KEPT + MAX_KEPT  # the value that is always zero
NEVER = 0xFFFF  # more than any line has
_LINE = 1 << LINE_SHIFT
NUMBERS = range(ZERO + 1)  # of all values

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
#: Addresses that are not plainly `constant` plus two values.
SUM = np.dtype(
    [
        ("terms", np.uint8),
        ("values", np.int64, MAX_TERMS),
        ("factors", np.int32, MAX_TERMS),
    ],
    align=True,
)
#: An access of a block: its address is `constant` plus the values at `one` and `two`, which are
#: host addresses of registers, of the zero or of what the block itself has loaded.
ACCESS = np.dtype(
    [
        ("one", np.int64),
        ("two", np.int64),
        ("constant", np.uint32),
        ("clear", np.uint32),  # mask of the address bits that are zero in a hit
        ("needed", np.uint16),  # bits of `caches.lines` that its lines have in a hit
        ("dependent", np.uint8),  # whether its address depends on what the block has loaded
        ("summed", np.uint8),  # whether its address is `constant` plus what its SUM says instead
        ("chained", np.uint8),  # a load that the core pipelines with the load before it
        ("keep", np.uint8),  # index of the value that it loads; 0 for none
        ("store", np.uint8),
        ("bytes", np.uint8),
        ("element_bytes", np.uint8),  # of aligned units; 0 where alignment costs nothing
        ("elements", np.uint8),
        ("alignment", np.uint8),  # mask of the address bits that are zero if it is aligned
        # What its last look-up found: the region that it was in.
        ("kind", np.uint8),
        ("region", np.uint8),
        ("unaligned", np.uint8),  # whether it ever was
        ("offset", np.int64),  # from an address to the host's
    ],
    align=True,
)
#: Accesses whose addresses differ in a constant, all in one region without a cache.
GROUP = np.dtype(
    [
        ("one", np.int64),
        ("two", np.int64),
        ("constant", np.uint32),  # lowest address = start of the region + `one` + `two` + this
        ("width", np.uint32),  # offsets in the region that the lowest address may have
        ("span", np.uint32),  # bytes from there to the end of the highest
        ("alignment", np.uint8),  # mask of the address bits that are zero if all are aligned
        ("region", np.uint8),
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
        ("registers", np.int64),  # host address of the core's, r0 first
        ("values", np.uint32, ZERO + 1),  # registers, then what was loaded
        ("access_count", np.int64),
        ("accesses", ACCESS, MAX_ACCESSES),
        ("sums", SUM, MAX_ACCESSES),
        # How the accesses of each block are looked up (`plan`), at the indices of its accesses.
        ("groups", GROUP, MAX_ACCESSES),
        ("steps", np.uint32, MAX_ACCESSES),  # indices of accesses
        ("changed", np.int64),  # whether the plan of the block no longer holds
    ],
    align=True,
)
# Offsets in it; `fields` is None for dtypes without.
COLD_AT: int = WATCH.fields["cold"][1]  # type: ignore[index]
VALUES_AT: int = WATCH.fields["values"][1]  # type: ignore[index]


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
def hits(watch: Any, access: Any, address: Any) -> Any:
    """Tell whether an access at `address` meets nothing: no event, no change of the cache."""
    if address & access.clear != 0:
        return False
    first, last = np.uint64(address), np.uint64(address + access.bytes - 1)
    lines = watch.caches.lines
    found = lines[first >> np.uint64(LINE_SHIFT)] & lines[last >> np.uint64(LINE_SHIFT)]
    return found & access.needed == access.needed


@inlined
def look_up(watch: Any, access: Any, address: Any, events: Any) -> Any:
    """Count what an access at `address` meets, and return its region (-1 for none)."""
    if access.alignment & address != 0:
        watch.changed |= access.unaligned == 0
        access.unaligned = 1
        events[UNALIGNED] += access.elements
        if access.element_bytes == 4 and address & 1 != 0:
            events[ODD] += access.elements
    index = np.int64(access.region)  # most often the one it was in
    region = watch.regions[index]
    if access.kind == NOTHING or not 0 <= address - region.start < region.bytes:
        index = find_region(watch, address)
        if index < 0:
            watch.changed |= access.kind != NOTHING
            access.kind, access.needed = NOTHING, NEVER
            return index
        _remember(watch, access, index)
    kind = watch.regions[index].kind
    if kind in (CACHED_FLASH, CACHED_RAM):
        for line in range(address >> LINE_SHIFT, (address + access.bytes - 1 >> LINE_SHIFT) + 1):
            flash = kind == CACHED_FLASH
            load_or_store(watch.caches, line, access.store != 0, flash, events)
    elif kind == ACCELERATED:
        line = address >> watch.caches.line_shift
        while line <= (address + access.bytes - 1) >> watch.caches.line_shift:
            load_accelerated(watch.caches, line, events)
            line += 1
    return index


@inlined
def _remember(watch: Any, access: Any, index: Any) -> None:
    """Note the region of an access."""
    region = watch.regions[index]
    watch.changed = 1
    access.region, access.kind = index, region.kind
    access.needed = REGION << index | (KEPT | CHANGED if access.store else KEPT)
    if access.bytes > _LINE and region.kind in (CACHED_RAM, CACHED_FLASH):
        access.needed = NEVER  # it may have a line between its first and its last
    access.offset = region.content - region.start
