"""Compiled hook that watches branches, instruction fetches and data accesses of the core.

It counts *events* per basic block (mispredictions, cache misses); what each costs is decided later,
in `harness.virtual.time`. Data accesses are not hooked, as that would cost 60 ns each: a block's
addresses are computed at its start from the core's registers, by a short program that
`harness.virtual.time.addresses` derives once per block.

All state is integer and depends only on what the core executed, so that every run gives the same
counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]  # ships no stubs
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic

from harness.virtual.time import native
from harness.virtual.time.events import (
    BRANCH_CONDITIONAL,
    BRANCH_INDIRECT,
    DCACHE_FLASH,
    DCACHE_RAM,
    ENTERED,
    EVENTS,
    FETCH_JUMP,
    FETCH_NEXT,
    MISPREDICTED,
    ODD,
    SPLIT_LOAD,
    STORE_MISS,
    TAKEN,
    UNALIGNED,
    WRITE_BACK,
)
from harness.virtual.time.native import _pointer, _uc_emu_stop

# Header of the state, in 64-bit words.
BLOCKS, REGISTERS, CALL_NEW, LAST, LAST_END, LAST_LINE = range(6)
ICACHE, DCACHE, ART, CLOCK, VICTIM = range(6, 11)
I_SETS, D_SETS, D_WAYS, CODE_USED, EPOCH, COLD, CODE_CACHED = range(11, 18)
# The accelerator: log2 of the bytes of a line, lines kept of code and data, whether it prefetches.
ART_SHIFT, ART_CODE_KEPT, ART_DATA_KEPT, ART_PREFETCH = range(18, 22)
REGION = 32  # their number is before; of each: first address, bytes, class, host address
MAX_REGIONS = 8
REGION_WORDS = 4

# What a region of memory is to a data access.
NOTHING, TCM, CACHED_RAM, CACHED_FLASH, ART_FLASH, PLAIN_RAM = range(6)

VALUES = 64  # 16 registers, then what the block's address program has loaded
I_TAGS = 96  # two ways, interleaved; up to 16 KiB of 32-byte lines
I_RECENT = I_TAGS + 512
D_TAGS = I_RECENT + 256  # up to four ways
D_DIRTY = D_TAGS + 512
ART_CODE = D_DIRTY + 512  # lines held, then when each was used
ART_CODE_LINES = 128  # at most
ART_DATA = ART_CODE + 2 * ART_CODE_LINES
ART_DATA_LINES = 32  # at most
HEADER_WORDS = ART_DATA + 2 * ART_DATA_LINES
# Per slot: kind of branch, prediction counter and its first value, last target, when these were
# last set up, address program.
KIND, PREDICTION, INITIAL, TARGET, SEEN, PROGRAM = (
    HEADER_WORDS + n * native.MAX_SLOTS for n in range(6)
)
COUNTS = HEADER_WORDS + 6 * native.MAX_SLOTS
CODE = COUNTS + EVENTS * native.MAX_SLOTS
CODE_WORDS = 1 << 20
ART_MAP = CODE + CODE_WORDS  # way + 1 of each line of flash, of 8 bytes or more
ART_MAP_WORDS = (2 << 20) >> 3
STATE_WORDS = ART_MAP + ART_MAP_WORDS

LINE_SHIFT = 5  # the Cortex-M7's caches
FETCH_SHIFT = 3  # a fetch without a cache, 64 bits

# An access of an address program: this word, the constant part, then one word a term.
STORE_BIT = 1
CHAINED_BIT = 2  # a load that follows a load closely enough to be pipelined
ELEMENT_SHIFT, TERMS_SHIFT, BYTES_SHIFT, KEEP_SHIFT, ELEMENTS_SHIFT = 2, 4, 8, 16, 24
_MASK = 0xFFFF_FFFF
_RAM = 0x2000_0000


@njit(inline="always")
def _find_block(words: Any, at: Any, size: Any) -> Any:  # pragma: no cover
    """Return the slot of a block, negative if it is new, 0 if there is no room."""
    page = native.PAGES + ((at >> 12) & 0xFFFFF)
    chunk = words[page]
    if chunk == 0:
        if words[native.CHUNKS_USED] == native.MAX_CHUNKS:
            words[native.OVERFLOW] = 1
            return np.int64(0)
        words[native.CHUNKS_USED] += 1
        chunk = words[native.CHUNKS_USED]
        words[page] = chunk
    cell = native.CHUNKS + (np.int64(chunk) - 1) * native.CHUNK + ((at & 0xFFF) >> 1)
    slot = np.int64(words[cell])
    while slot != 0 and words[native.SIZE + slot] != size:
        slot = np.int64(words[native.NEXT + slot])
    if slot != 0:
        return slot
    slot = np.int64(words[native.SLOTS_USED]) + 1
    if slot >= native.MAX_SLOTS:
        words[native.OVERFLOW] = 1
        return np.int64(0)
    words[native.SLOTS_USED] = slot
    words[native.ADDRESS + slot] = at
    words[native.SIZE + slot] = size
    words[native.NEXT + slot] = words[cell]
    words[cell] = slot
    return -slot


@njit
def _forget_history(state: Any) -> None:  # pragma: no cover
    """Empty caches and predictors."""
    state[COLD] = 0
    for n in range(I_TAGS, HEADER_WORDS):
        state[n] = 0
    for n in range(I_TAGS, I_RECENT):
        state[n] = -1
    for n in range(D_TAGS, D_DIRTY):
        state[n] = -1
    for n in range(ART_CODE_LINES):
        state[ART_CODE + n] = -1
    for n in range(ART_DATA_LINES):
        state[ART_DATA + n] = -1
    state[CLOCK] = 0
    state[VICTIM] = 0
    state[LAST_LINE] = -2
    state[EPOCH] += 1


@njit(inline="always")
def _predict(state: Any, last: Any, at: Any, jumped: Any) -> None:  # pragma: no cover
    """Score the prediction of the block that ran before."""
    kind = state[KIND + last]
    if state[SEEN + last] != state[EPOCH]:
        state[SEEN + last] = state[EPOCH]
        state[PREDICTION + last] = state[INITIAL + last]
        state[TARGET + last] = 0
    if kind == BRANCH_CONDITIONAL:
        counter = state[PREDICTION + last]  # two bits; the static prediction when first seen
        if (counter >= 2) != jumped:
            state[COUNTS + last * EVENTS + MISPREDICTED] += 1
        state[PREDICTION + last] = min(counter + 1, 3) if jumped else max(counter - 1, 0)
    elif kind == BRANCH_INDIRECT:
        if state[TARGET + last] != at:
            state[COUNTS + last * EVENTS + MISPREDICTED] += 1
        state[TARGET + last] = at


@njit(inline="always")
def _fetch_cached(
    state: Any, at: Any, end: Any, jumped: Any, counts: Any
) -> None:  # pragma: no cover
    """Look up the lines of a block in the instruction cache (two ways, least recently used)."""
    if state[ICACHE] == 0:
        # Each aligned 64 bits are one access of the bus; code that follows shares its first.
        fetched = ((end - 1) >> FETCH_SHIFT) - (at >> FETCH_SHIFT) + 1
        if not jumped and state[LAST_LINE] == at >> FETCH_SHIFT:
            fetched -= 1
        state[counts + FETCH_JUMP] += fetched
        state[LAST_LINE] = (end - 1) >> FETCH_SHIFT
        return
    sets = state[I_SETS]
    line = at >> LINE_SHIFT
    first = True
    while line <= (end - 1) >> LINE_SHIFT:
        if line != state[LAST_LINE]:
            index = line & (sets - 1)
            tag = I_TAGS + 2 * index
            if state[tag] == line:
                state[I_RECENT + index] = 0
            elif state[tag + 1] == line:
                state[I_RECENT + index] = 1
            else:
                way = 1 - state[I_RECENT + index]
                state[tag + way] = line
                state[I_RECENT + index] = way
                if first and jumped:
                    state[counts + FETCH_JUMP] += 1
                else:
                    state[counts + FETCH_NEXT] += 1
            state[LAST_LINE] = line
        first = False
        line += 1


@njit(inline="always")
def _fetch_art(state: Any, at: Any, end: Any, counts: Any) -> None:  # pragma: no cover
    """Look up the lines of a block in the flash accelerator of an STM32F4 or L4.

    RM0390 3.4.2: one current line, one prefetched line (the next one, where prefetch is on), and
    lines that keep what missed both, least recently used out first.
    """
    shift = state[ART_SHIFT]
    line = at >> shift
    while line <= (end - 1) >> shift:
        if line != state[LAST_LINE]:
            state[CLOCK] += 1
            way = state[ART_MAP + (line & (ART_MAP_WORDS - 1))] - 1
            if way >= 0 and state[ART_CODE + way] == line:
                state[ART_CODE + ART_CODE_LINES + way] = state[CLOCK]
            elif state[ART_PREFETCH] != 0 and line == state[LAST_LINE] + 1:
                state[counts + FETCH_NEXT] += 1
            else:
                if line == state[LAST_LINE] + 1:
                    state[counts + FETCH_NEXT] += 1
                else:
                    state[counts + FETCH_JUMP] += 1
                oldest = 0
                for n in range(1, state[ART_CODE_KEPT]):
                    if (
                        state[ART_CODE + ART_CODE_LINES + n]
                        < state[ART_CODE + ART_CODE_LINES + oldest]
                    ):
                        oldest = n
                state[ART_CODE + oldest] = line
                state[ART_CODE + ART_CODE_LINES + oldest] = state[CLOCK]
                state[ART_MAP + (line & (ART_MAP_WORDS - 1))] = oldest + 1
            state[LAST_LINE] = line
        line += 1


@njit(inline="always")
def _data_art(state: Any, line: Any, counts: Any) -> None:  # pragma: no cover
    """Look up one line in the accelerator's data cache: least recently used out first."""
    state[CLOCK] += 1
    oldest = 0
    for n in range(state[ART_DATA_KEPT]):
        if state[ART_DATA + n] == line:
            state[ART_DATA + ART_DATA_LINES + n] = state[CLOCK]
            return
        if state[ART_DATA + ART_DATA_LINES + n] < state[ART_DATA + ART_DATA_LINES + oldest]:
            oldest = n
    state[counts + DCACHE_FLASH] += 1
    state[ART_DATA + oldest] = line
    state[ART_DATA + ART_DATA_LINES + oldest] = state[CLOCK]


@njit(inline="always")
def _data_cached(
    state: Any, line: Any, store: Any, flash: Any, counts: Any
) -> None:  # pragma: no cover
    """Look up one line in the data cache (pseudo-random replacement: a counter over the ways)."""
    if state[DCACHE] == 0:
        if store:
            state[counts + STORE_MISS] += 1
        elif flash:
            state[counts + DCACHE_FLASH] += 1
        else:
            state[counts + DCACHE_RAM] += 1
        return
    ways = state[D_WAYS]
    base = D_TAGS + ways * (line & (state[D_SETS] - 1))
    for n in range(ways):
        if state[base + n] == line:
            if store:
                state[base + n + (D_DIRTY - D_TAGS)] = 1
            return
    if store:
        state[counts + STORE_MISS] += 1
        if flash:
            return
    elif flash:
        state[counts + DCACHE_FLASH] += 1
    else:
        state[counts + DCACHE_RAM] += 1
    way = np.int64(0)
    while way < ways and state[base + way] >= 0:
        way += 1
    if way == ways:
        way = state[VICTIM] & (ways - 1)
        state[VICTIM] += 1
    if state[base + way + (D_DIRTY - D_TAGS)] != 0:
        state[counts + WRITE_BACK] += 1
    state[base + way] = line
    state[base + way + (D_DIRTY - D_TAGS)] = 1 if store else 0


@njit(inline="always")
def _run_program(state: Any, program: Any, counts: Any) -> None:  # pragma: no cover
    """Compute the addresses of a block and look each up."""
    registers = carray(_pointer(state[REGISTERS]), (16,), dtype=np.uint32)
    for n in range(15):
        state[VALUES + n] = np.int64(registers[n])
    position = CODE + program
    left = state[position]
    position += 1
    previous = np.int64(NOTHING)
    while left > 0:
        left -= 1
        what = state[position]
        address = state[position + 1]
        position += 2
        for _ in range((what >> TERMS_SHIFT) & 0xF):
            term = state[position]
            address += state[VALUES + (term & 0xFF)] * (term >> 8)
            position += 1
        address &= _MASK
        size = (what >> BYTES_SHIFT) & 0xFF
        kind = np.int64(NOTHING)
        region = REGION
        for _ in range(state[REGION - 1]):
            if 0 <= address - state[region] < state[region + 1]:
                kind = state[region + 2]
                break
            region += REGION_WORDS
        store = (what & STORE_BIT) != 0
        keep = (what >> KEEP_SHIFT) & 0xFF
        if keep != 0:
            value = np.int64(0)
            inside = address - state[region]
            if kind != NOTHING and inside <= state[region + 1] - 4 and inside & 3 == 0:
                content = carray(_pointer(state[region + 3] + inside), (1,), dtype=np.uint32)
                value = np.int64(content[0])
            state[VALUES + 15 + keep] = value
        element = (what >> ELEMENT_SHIFT) & 3
        if element != 0 and address & ((1 << element) - 1) != 0:
            elements = (what >> ELEMENTS_SHIFT) & 0xFF
            state[counts + UNALIGNED] += elements
            if element == 2 and address & 1 != 0:
                state[counts + ODD] += elements
        if (what & CHAINED_BIT) != 0 and kind != previous:
            state[counts + SPLIT_LOAD] += 1
        previous = kind
        flash = kind == CACHED_FLASH
        if flash or kind == CACHED_RAM:
            line = address >> LINE_SHIFT
            last = (address + size - 1) >> LINE_SHIFT
            while line <= last:
                _data_cached(state, line, store, flash, counts)
                line += 1
        elif kind == ART_FLASH:
            line = address >> state[ART_SHIFT]
            last = (address + size - 1) >> state[ART_SHIFT]
            while line <= last:
                _data_art(state, line, counts)
                line += 1


@intrinsic
def _call_new(_typing: Any, _function: Any, _slot: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        native._call(builder, ir.VoidType(), list(args))
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(types.int64, types.int64), generate


@cfunc(types.void(types.voidptr, types.uint64, types.uint32, types.voidptr), cache=True)
def on_block(engine: Any, address: Any, size: Any, user: Any) -> None:  # pragma: no cover
    """Count a basic block and its events, or stop the core before it."""
    state = carray(user, (STATE_WORDS,), dtype=np.int64)
    words = carray(_pointer(state[BLOCKS]), (native.COUNTER_WORDS,), dtype=np.uint32)
    if words[native.STOP] != 0:
        _uc_emu_stop(engine)
        return
    at = np.int64(address)
    slot = _find_block(words, at, size)
    if slot == 0:
        return
    if slot < 0:
        slot = -slot
        _call_new(state[CALL_NEW], slot)
    longs = carray(_pointer(state[BLOCKS]), (native.COUNTER_WORDS // 2,), dtype=np.uint64)
    longs[native.COUNT // 2 + slot] += 1
    last = state[LAST]
    counts = COUNTS + slot * EVENTS
    end = at + np.int64(size)
    if state[COLD] != 0:
        _forget_history(state)
        last = np.int64(0)
    jumped = at != state[LAST_END]
    if last != 0:
        _predict(state, last, at, jumped)
        if jumped:
            state[COUNTS + last * EVENTS + TAKEN] += 1
            state[counts + ENTERED] += 1
    state[LAST] = slot
    state[LAST_END] = end
    if state[ART] != 0 and at < _RAM:
        _fetch_art(state, at, end, counts)
    elif state[ART] == 0 and at >= state[CODE_CACHED]:
        _fetch_cached(state, at, end, jumped, counts)
    if state[PROGRAM + slot] != 0:
        _run_program(state, state[PROGRAM + slot], counts)
