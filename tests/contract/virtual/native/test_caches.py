"""Caches, accelerator, predictor and block table, run as plain Python: no emulator, no compiler."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest

from harness.virtual.native import shared
from harness.virtual.native.blocks import BLOCK, TABLE, find_block
from harness.virtual.native.caches import (
    CACHES,
    CHANGED,
    KEPT,
    REGION,
    empty,
    fetch,
    fetch_accelerated,
    fetch_block,
    load_accelerated,
    load_or_store,
)
from harness.virtual.native.watch import (
    ACCESS,
    CACHED_RAM,
    NEVER,
    TCM,
    WATCH,
    find_region,
    hits,
    look_up,
    predict,
)
from harness.virtual.time import events
from harness.virtual.time.events import EVENTS

FLASH = 0x0800_0000


@pytest.fixture
def counts() -> Any:
    return np.zeros(EVENTS, dtype=np.int64)


def record(kind: Any) -> Any:
    """Return a record whose fields are attributes, as compiled code has them."""
    return shared(kind).view(np.recarray)[0]


def caches(**facts: int) -> Any:
    found = record(CACHES)
    for name, value in facts.items():
        setattr(found, name, value)
    _empty(found)
    return found


def _empty(found: Any) -> None:
    empty.py_func(found)


def named(counts: Any) -> dict[str, int]:
    return {name: int(n) for name, n in zip(events.NAMES, counts, strict=True) if n}


# The Cortex-M7's caches.


def test_code_is_fetched_by_lines_of_32_bytes(counts: Any) -> None:
    cache = caches(icache_on=1, icache_sets=2)
    fetch.py_func(cache, FLASH, FLASH + 64, True, counts)
    assert named(counts) == {
        "code from memory, after a jump": 1,
        "code from memory, in sequence": 1,
    }
    fetch.py_func(cache, FLASH, FLASH + 64, True, counts)
    assert counts.sum() == 2  # both lines were kept


def test_the_line_of_a_set_that_was_not_used_last_is_replaced(counts: Any) -> None:
    cache = caches(icache_on=1, icache_sets=2)
    first, second, third = (FLASH + n * 2 * 32 for n in range(3))  # one set
    for at in (first, second, first, third, first, second):
        fetch.py_func(cache, at, at + 2, True, counts)
    # `third` took the place of `second`, and `second` in the end that of `third`.
    assert counts[events.FETCH_JUMP] == 4


def test_without_an_instruction_cache_each_64_bits_come_from_memory(counts: Any) -> None:
    cache = caches()
    fetch.py_func(cache, FLASH + 4, FLASH + 20, True, counts)
    assert counts[events.FETCH_JUMP] == 3
    fetch.py_func(cache, FLASH + 20, FLASH + 24, False, counts)  # in the 64 bits fetched last
    assert counts[events.FETCH_JUMP] == 3


def test_a_changed_line_is_written_back_when_it_is_evicted(counts: Any) -> None:
    cache = caches(dcache_on=1, dcache_sets=1, dcache_ways=4)
    load_or_store.py_func(cache, 0, True, False, counts)
    for line in (1, 2, 3, 4):
        load_or_store.py_func(cache, line, False, False, counts)
    assert named(counts) == {"store miss": 1, "load miss, RAM": 4, "write-back": 1}
    load_or_store.py_func(cache, 4, False, False, counts)
    assert counts.sum() == 6


@pytest.mark.parametrize(
    ("store", "flash", "event"),
    [
        (False, True, events.DCACHE_FLASH),
        (False, False, events.DCACHE_RAM),
        (True, False, events.STORE_MISS),
    ],
)
def test_without_a_data_cache_every_access_misses(
    store: bool, flash: bool, event: int, counts: Any
) -> None:
    cache = caches()
    for _ in range(3):
        load_or_store.py_func(cache, 7, store, flash, counts)
    assert counts[event] == counts.sum() == 3


def test_an_emptied_cache_holds_nothing(counts: Any) -> None:
    cache = caches(dcache_on=1, dcache_sets=1, dcache_ways=4)
    load_or_store.py_func(cache, 0, False, True, counts)
    _empty(cache)
    load_or_store.py_func(cache, 0, False, True, counts)
    assert counts[events.DCACHE_FLASH] == 2


# The flash accelerator.


def test_a_prefetched_line_is_not_kept(counts: Any) -> None:
    cache = caches(line_shift=4, code_kept=2, prefetch=1)
    for _ in range(2):
        fetch_accelerated.py_func(cache, FLASH, FLASH + 32, counts)
    # The first line missed and was kept; the second one came by prefetch each time.
    assert named(counts) == {
        "code from memory, after a jump": 1,
        "code from memory, in sequence": 2,
    }


def test_without_prefetch_every_line_that_missed_is_kept(counts: Any) -> None:
    cache = caches(line_shift=3, code_kept=2)
    for _ in range(2):
        fetch_accelerated.py_func(cache, FLASH, FLASH + 16, counts)
    assert counts.sum() == 2


def test_the_line_of_the_accelerator_that_was_unused_for_longest_goes(counts: Any) -> None:
    cache = caches(line_shift=4, data_kept=2)
    for line in (1, 2, 1, 3, 1, 2):
        load_accelerated.py_func(cache, line, counts)
    assert counts[events.DCACHE_FLASH] == 4  # 1, 2, 3 in the place of 2, 2 again


# Branches.


def test_a_two_bit_counter_predicts_a_loop() -> None:
    watch, block = record(WATCH), record(BLOCK)
    watch.epoch, block.branch, block.initial = 1, events.BRANCH_CONDITIONAL, 2
    for jumped in (*[True] * 9, False, True, True):
        predict.py_func(watch, block, FLASH, jumped)
    assert block.events[events.MISPREDICTED] == 1  # the end of the loop, not its next start


def test_an_indirect_branch_is_expected_where_it_went_last() -> None:
    watch, block = record(WATCH), record(BLOCK)
    watch.epoch, block.branch = 1, events.BRANCH_INDIRECT
    for at in (FLASH, FLASH, FLASH + 8, FLASH):
        predict.py_func(watch, block, at, True)
    assert block.events[events.MISPREDICTED] == 3


def test_a_prediction_starts_anew_with_the_history() -> None:
    watch, block = record(WATCH), record(BLOCK)
    watch.epoch, block.branch, block.initial = 1, events.BRANCH_CONDITIONAL, 1
    predict.py_func(watch, block, FLASH, True)
    predict.py_func(watch, block, FLASH, True)
    watch.epoch = 2
    predict.py_func(watch, block, FLASH, False)
    assert block.events[events.MISPREDICTED] == 1


# Accesses and blocks.


def ram() -> Any:
    """Watch 4 KiB of cached RAM and 4 KiB of DTCM."""
    watch = record(WATCH)
    watch.region_count = 2
    watch.regions[0] = (0x2002_0000, 0x1000, CACHED_RAM, 0)
    watch.regions[1] = (0x2000_0000, 0x1000, TCM, 0)
    watch.caches.lines[0x2002_0000 >> 5 : 0x2002_1000 >> 5] = REGION
    watch.caches.lines[0x2000_0000 >> 5 : 0x2000_1000 >> 5] = REGION << 1 | KEPT | CHANGED
    return watch


def test_what_is_said_to_meet_nothing_meets_nothing() -> None:
    watch, random = ram(), Random(0)
    watch.caches.dcache_on, watch.caches.dcache_sets, watch.caches.dcache_ways = 1, 2, 4
    _empty(watch.caches)
    accesses, lines = [], slice(0x2002_0000 >> 5, 0x2002_1000 >> 5)
    for size, alignment, store in ((1, 0, 0), (4, 3, 0), (4, 0, 1), (16, 3, 0), (40, 3, 0)):
        access = record(ACCESS)
        access.bytes, access.element_bytes, access.elements = size, alignment + 1, 1
        access.alignment, access.clear = alignment, alignment
        access.store, access.needed = store, NEVER
        accesses.append(access)
    said = 0
    for _ in range(3000):
        access, start = (
            random.choice(accesses),
            random.choice((0x2002_0000, 0x2002_0000, 0x2000_0000)),
        )
        address = np.int64(start + random.randrange(0x180))
        nothing, kept = hits.py_func(watch, access, address), watch.caches.lines[lines]
        before = kept.copy()
        counts = np.zeros(EVENTS, dtype=np.int64)
        look_up.py_func(watch, access, address, counts)
        changed = counts.any() or not np.array_equal(kept, before)
        assert not (nothing and changed)
        said += bool(nothing)
    assert said > 500


def test_a_block_fetched_again_leaves_the_cache_as_line_by_line() -> None:
    """Blocks whose lines stay and blocks that evict each other, in any order."""
    random = Random(0)
    quick, slow = (caches(icache_on=1, icache_sets=64) for _ in range(2))
    blocks = [(FLASH + 32 * random.randrange(300), random.randrange(2, 300)) for _ in range(12)]
    records = {block: record(BLOCK) for block in blocks}
    counts = np.zeros(EVENTS, dtype=np.int64)
    for n in range(1500):
        if n == 900:
            _empty(quick)
            _empty(slow)
        # Mostly the first few, so that these stay.
        at, size = block = blocks[random.choice((0, 1, 2, 2, random.randrange(len(blocks))))]
        fetch_block.py_func(quick, records[block], at, at + size, True)
        fetch.py_func(slow, at, at + size, True, counts)
        for name in ("icache_lines", "icache_recent", "icache_fills", "fetched"):
            assert np.array_equal(quick[name], slow[name])
    assert np.array_equal(sum(block.events for block in records.values()), counts)


def test_an_unaligned_word_at_an_odd_address_counts_twice(counts: Any) -> None:
    watch, access = record(WATCH), record(ACCESS)
    access.bytes, access.element_bytes, access.elements = 4, 4, 1
    access.alignment = 3
    for address in (0x2000_0000, 0x2000_0002, 0x2000_0001):
        look_up.py_func(watch, access, np.int64(address), counts)
    assert named(counts) == {"unaligned load": 2, "unaligned load, odd address": 1}


def test_an_access_across_two_lines_looks_both_up(counts: Any) -> None:
    watch, access = ram(), record(ACCESS)
    access.bytes = 8
    look_up.py_func(watch, access, np.int64(0x2002_001C), counts)
    assert counts[events.DCACHE_RAM] == 2


def test_a_region_ends_before_its_end() -> None:
    watch = record(WATCH)
    watch.region_count = 1
    watch.regions[0] = (0x2000_0000, 0x100, TCM, 0)
    found = [
        find_region.py_func(watch, a) for a in (0x1FFF_FFFF, 0x2000_0000, 0x2000_00FF, 0x2000_0100)
    ]
    assert found == [-1, 0, 0, -1]


@pytest.mark.parametrize("find", [find_block, find_block.py_func], ids=["compiled", "python"])
def test_a_block_is_its_address_and_size(find: Any) -> None:
    table = record(TABLE)
    assert find(table, FLASH, 8) == -1  # negative: it is new
    assert find(table, FLASH, 4) == -2
    assert find(table, FLASH + 2, 8) == -3
    assert [find(table, *b) for b in ((FLASH, 8), (FLASH, 4), (FLASH + 2, 8))] == [1, 2, 3]
    assert table.chunks_used == 1 and not table.overflow


def test_a_full_table_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(find_block.py_func.__globals__, "MAX_SLOTS", 2)
    table = record(TABLE)
    assert find_block.py_func(table, FLASH, 8) == -1
    assert find_block.py_func(table, FLASH + 8, 8) == 0
    assert table.overflow
