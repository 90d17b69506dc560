"""Plan how the data accesses of a block are looked up, from what their last look-ups found.

Memories without a cache keep no state, so that their accesses may be checked in any order: those
that differ in a constant alone are a *group*, which one comparison of addresses checks. All others
are looked up one by one, in order, as each may change what the next one finds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.virtual.native import called, inlined
from harness.virtual.native.watch import NOTHING, PLAIN_RAM, TCM

_MAX_SPAN = 1 << 10  # bytes of a group, so that most addresses of a memory suit it


@called
def plan_singly(block: Any, steps: Any) -> None:
    """Let each access of `block` be looked up by itself."""
    block.groups = block.loads = 0
    block.steps = block.access_count
    for n in range(block.access, block.access + block.access_count):
        steps[n] = n


@called
def plan(watch: Any, block: Any) -> None:
    """Sort the accesses of `block` by the regions that they were in last."""
    first, end = block.access, block.access + block.access_count
    groups = np.int64(0)
    count = np.int64(0)
    split = np.int64(0)
    previous = np.int64(NOTHING)
    for n in range(first, end):
        access = watch.accesses[n]
        split += (access.chained != 0) & (access.kind != previous)
        previous = np.int64(access.kind)
        if _any_order(access):
            groups = _join(watch, first, groups, access)
            if access.keep != 0:
                watch.steps[first + count] = n
                count += 1
    block.loads = count
    for n in range(first, end):
        if not _any_order(watch.accesses[n]):
            watch.steps[first + count] = n
            count += 1
    block.steps = count
    for n in range(first, first + groups):
        group = watch.groups[n]
        region = watch.regions[group.region]
        group.constant -= region.start
        group.width = max(region.bytes - group.span + 1, 0)
    block.groups = groups
    block.split = split
    block.planned = 1


@inlined
def _any_order(access: Any) -> Any:
    """Tell whether an access meets no state, at an address that depends on registers alone."""
    stateless = (access.kind == TCM) | (access.kind == PLAIN_RAM)
    return stateless & (access.dependent == 0) & (access.summed == 0) & (access.unaligned == 0)


@inlined
def _join(watch: Any, first: Any, groups: Any, access: Any) -> Any:
    """Add an access to the group that it suits, or to a new one; return how many there are."""
    for n in range(first, first + groups):
        group = watch.groups[n]
        if (group.one, group.two, group.region) != (access.one, access.two, access.region):
            continue
        above = np.int64(np.int32(access.constant - group.constant))
        low = min(above, 0)
        span = max(group.span, above + access.bytes) - low
        # Aligned with each other, so that an aligned group has aligned members.
        if span <= _MAX_SPAN and above & (group.alignment | access.alignment) == 0:
            group.constant += low
            group.span = span
            group.alignment |= access.alignment
            return groups
    group = watch.groups[first + groups]
    group.constant, group.span = access.constant, access.bytes
    group.one, group.two = access.one, access.two
    group.region, group.alignment = access.region, access.alignment
    return groups + 1
