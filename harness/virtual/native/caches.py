"""Look up code and data in the caches of a Cortex-M7 or the flash accelerator of an STM32F4 or L4.

`events` are the counts of the block that is looked up for, by the numbers in `time.events`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.virtual.native import inlined
from harness.virtual.time.events import (
    DCACHE_FLASH,
    DCACHE_RAM,
    FETCH_JUMP,
    FETCH_NEXT,
    STORE_MISS,
    WRITE_BACK,
)

LINE_SHIFT = 5  # the Cortex-M7's caches
FETCH_SHIFT = 3  # a fetch without a cache, 64 bits
_FLASH_LINES = (2 << 20) >> 3  # of 8 bytes or more
_WAYS = 4  # of the data cache, at most
_SETS = 128
_WORD = 6  # log2 of the sets that share a word of `icache_recent`
_WORDS = 4
MEMORY_END = 0x4000_0000  # of code and SRAM (ARMv7-M ARM B3.1)

# Bits of `lines`: in the data cache, changed there (both are set where no cache is needed), and in
# the first region of memory (others follow).
KEPT, CHANGED, REGION = 1, 2, 4
_GONE = 0xFFFF & ~(KEPT | CHANGED)

_KEPT = np.dtype([("line", np.int64), ("used", np.int64)])  # -1 for none, and when it was used last
CACHES = np.dtype(
    [
        ("fetched", np.int64),  # the line of code that was fetched last
        ("icache_on", np.int64),
        ("icache_sets", np.int64),
        ("icache_lines", np.int64, (256, 2)),  # by set and way; up to 16 KiB
        ("icache_recent", np.int64, _WORDS),  # way that was used last, a bit a set
        ("icache_fills", np.int64),  # counts changes of `icache_lines`
        ("dcache_on", np.int64),
        ("dcache_sets", np.int64),
        ("dcache_ways", np.int64),
        ("dcache_lines", np.int32, (_SETS, _WAYS)),
        ("dcache_filled", np.uint8, _SETS),  # ways that hold a line
        ("victim", np.int64),  # counts over the ways of the data cache
        # The accelerator.
        ("line_shift", np.int64),  # log2 of the bytes of a line
        ("prefetch", np.int64),
        ("clock", np.int64),  # counts look-ups
        ("code_kept", np.int64),  # lines of `code_lines` that this chip has
        ("data_kept", np.int64),
        ("code_lines", _KEPT, 128),
        ("data_lines", _KEPT, 32),
        ("place", np.int64, _FLASH_LINES),  # index in `code_lines` (from 1) by line of flash
        ("lines", np.uint16, MEMORY_END >> LINE_SHIFT),  # pages without memory cost none
    ],
    align=True,
)


@inlined
def empty(caches: Any) -> None:
    """Forget what the caches hold; which ones there are stays."""
    caches.fetched = -2
    caches.victim = 0
    caches.clock = 0
    caches.icache_lines[:] = -1
    caches.icache_recent[:] = 0
    caches.icache_fills += 1
    for n in range(_SETS):
        for way in range(caches.dcache_filled[n]):
            caches.lines[caches.dcache_lines[n, way]] &= _GONE
        caches.dcache_filled[n] = 0
    for n in range(len(caches.code_lines)):
        caches.code_lines[n].line = -1
        caches.code_lines[n].used = 0
    for n in range(len(caches.data_lines)):
        caches.data_lines[n].line = -1
        caches.data_lines[n].used = 0


@inlined
def _use(caches: Any, word: Any, mask: Any, ways: Any) -> None:
    """Note the ways that were used last, of the sets that `mask` has a bit for."""
    word = np.uint64(word)
    caches.icache_recent[word] = caches.icache_recent[word] & ~mask | ways


@inlined
def fetch(caches: Any, at: Any, end: Any, jumped: Any, events: Any) -> None:
    """Fetch the block [at, end) by the M7's instruction cache (two ways, least recently used)."""
    if caches.icache_on == 0:
        # Each aligned 64 bits are one access of the bus; code that follows shares its first.
        last = (end - 1) >> FETCH_SHIFT
        fetched = last - (at >> FETCH_SHIFT) + 1
        if not jumped and caches.fetched == at >> FETCH_SHIFT:
            fetched -= 1
        events[FETCH_JUMP] += fetched
        caches.fetched = last
        return
    line = at >> LINE_SHIFT
    first = True
    while line <= (end - 1) >> LINE_SHIFT:
        if line != caches.fetched:
            index = line & (caches.icache_sets - 1)
            word, bit = index >> _WORD, index & ((1 << _WORD) - 1)
            way = np.int64(0)
            if caches.icache_lines[index, 1] == line:
                way = np.int64(1)
            elif caches.icache_lines[index, 0] != line:
                way = 1 - (caches.icache_recent[word] >> bit & 1)
                caches.icache_lines[index, way] = line
                caches.icache_fills += 1
                events[FETCH_JUMP if first and jumped else FETCH_NEXT] += 1
            _use(caches, word, np.int64(1) << bit, way << bit)
            caches.fetched = line
        first = False
        line += 1


@inlined
def fetch_block(caches: Any, block: Any, at: Any, end: Any, jumped: Any) -> None:
    """Fetch a block, in a few steps if no line was replaced since it was fetched last."""
    if block.fills == caches.icache_fills:
        _use(caches, block.recent_word, block.recent_mask[0], block.recent_ways[0])
        if block.recent_mask[1] != 0:
            word = (block.recent_word + 1) & (_WORDS - 1)
            _use(caches, word, block.recent_mask[1], block.recent_ways[1])
        caches.fetched = (end - 1) >> LINE_SHIFT
        return
    fetch(caches, at, end, jumped, block.events)
    first, last = at >> LINE_SHIFT, (end - 1) >> LINE_SHIFT
    if caches.icache_on == 0 or last - first >= min(1 << _WORD, caches.icache_sets):
        return
    block.fills = caches.icache_fills
    block.recent_word = (first & (caches.icache_sets - 1)) >> _WORD
    block.recent_mask[:] = 0
    block.recent_ways[:] = 0
    for line in range(first, last + 1):
        index = line & (caches.icache_sets - 1)
        n = 0 if index >> _WORD == block.recent_word else 1
        bit = index & ((1 << _WORD) - 1)
        block.recent_mask[n] |= np.int64(1) << bit
        block.recent_ways[n] |= np.int64(caches.icache_lines[index, 1] == line) << bit


@inlined
def load_or_store(caches: Any, line: Any, store: Any, flash: Any, events: Any) -> None:
    """Look up a line in the M7's data cache (replacement: a counter over the ways)."""
    miss = STORE_MISS if store else (DCACHE_FLASH if flash else DCACHE_RAM)
    if caches.dcache_on == 0:
        events[miss] += 1
        return
    line = np.uint64(line)
    if caches.lines[line] & KEPT != 0:
        if store:
            caches.lines[line] |= CHANGED
        return
    events[miss] += 1
    if store and flash:
        return
    index = line & np.uint64(caches.dcache_sets - 1)
    way = np.int64(caches.dcache_filled[index])
    if way < caches.dcache_ways:
        caches.dcache_filled[index] += 1
    else:
        way = caches.victim & (caches.dcache_ways - 1)
        caches.victim += 1
        old = np.uint64(caches.dcache_lines[index, np.uint64(way)])
        events[WRITE_BACK] += caches.lines[old] & CHANGED != 0
        caches.lines[old] &= _GONE
    caches.dcache_lines[index, np.uint64(way)] = line
    caches.lines[line] |= KEPT | CHANGED if store else KEPT


@inlined
def _oldest(kept: Any, count: Any) -> Any:
    """Return the index of the line that was not used for longest."""
    oldest = 0
    for n in range(1, count):
        if kept[n].used < kept[oldest].used:
            oldest = n
    return oldest


@inlined
def fetch_accelerated(caches: Any, at: Any, end: Any, events: Any) -> None:
    """Fetch the block [at, end) by the flash accelerator.

    RM0390 3.4.2: one current line, one prefetched line (the next one, where prefetch is on), and
    lines that keep what missed both, least recently used out first.
    """
    line = at >> caches.line_shift
    while line <= (end - 1) >> caches.line_shift:
        if line != caches.fetched:
            caches.clock += 1
            place = line & (_FLASH_LINES - 1)
            way = caches.place[place] - 1
            if way >= 0 and caches.code_lines[way].line == line:
                caches.code_lines[way].used = caches.clock
            else:
                next_line = line == caches.fetched + 1
                events[FETCH_NEXT if next_line else FETCH_JUMP] += 1
                if not next_line or caches.prefetch == 0:
                    way = _oldest(caches.code_lines, caches.code_kept)
                    caches.code_lines[way].line = line
                    caches.code_lines[way].used = caches.clock
                    caches.place[place] = way + 1
            caches.fetched = line
        line += 1


@inlined
def load_accelerated(caches: Any, line: Any, events: Any) -> None:
    """Look up a line in the accelerator's data cache: least recently used out first."""
    caches.clock += 1
    for n in range(caches.data_kept):
        if caches.data_lines[n].line == line:
            caches.data_lines[n].used = caches.clock
            return
    events[DCACHE_FLASH] += 1
    way = _oldest(caches.data_lines, caches.data_kept)
    caches.data_lines[way].line = line
    caches.data_lines[way].used = caches.clock
