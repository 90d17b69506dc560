"""The table of executed basic blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.virtual.native import inlined
from harness.virtual.time.events import EVENTS

CHUNK = 2048  # halfwords of a page of 4 KiB
MAX_CHUNKS = 1536  # 6 MiB of code pages
MAX_SLOTS = 1 << 17

BLOCK = np.dtype(
    [
        ("address", np.uint32),
        ("bytes", np.uint32),
        ("next", np.uint32),  # slot of a block of another size at the same address; 0 for none
        ("count", np.int64),  # executions
        ("followers", np.uint32, 2),  # slots of what was executed next: behind it, by a jump
        # From here on for `hooks.watch_block` alone.
        ("branch", np.int64),  # what ends it, one of `events.BRANCH_*`
        ("initial", np.int64),  # first state of its branch's prediction
        ("prediction", np.int64),
        ("target", np.int64),  # where an indirect branch went last
        ("epoch", np.int64),  # when prediction and target were last set up
        ("access", np.int64),  # first of its accesses
        ("access_count", np.int64),
        ("planned", np.uint32),  # whether `plan` has sorted them, into:
        ("groups", np.uint32),
        ("loads", np.uint32),  # first steps, of groups: only what they load is to be kept
        ("steps", np.uint32),
        ("split", np.int64),  # what each execution adds to `events.SPLIT_LOAD`
        ("fills", np.int64),  # `caches.icache_fills` when all its code was in the cache
        ("recent_word", np.int64),  # what fetching it then does to `caches.icache_recent`
        ("recent_mask", np.int64, 2),
        ("recent_ways", np.int64, 2),
        ("events", np.int64, EVENTS),
    ],
    align=True,
)
#: A slot is a block's index in `blocks`; slot 0 stays empty.
TABLE = np.dtype(
    [
        ("stop", np.uint32),  # set to stop the core before its next block
        ("stopped", np.uint32),  # set when a hook did so
        ("used", np.uint32),  # slots
        ("chunks_used", np.uint32),
        ("overflow", np.uint32),  # set when there was no room
        # For `deadline` alone.
        ("spent", np.int64),  # modelled cycles since power-on
        ("until", np.int64),  # stop the core when so many are spent
        ("masked", np.int64),  # whether an interrupt waits that only a mask register holds back
        ("priority", np.int64),  # of that interrupt: a BASEPRI of it, or below, masks it
        ("fresh", np.int64),  # whether the core has yet to execute a block since it was started
        ("price", np.int64),  # address of the Python callback that prices new blocks
        ("cycles_at", np.int64),  # host addresses: cycles of each slot
        ("event_cycles_at", np.int64),  # cycles of each event of each slot
        ("priced_at", np.int64),  # what the events of each slot have added to `spent`
        ("register", np.uint32, (2,)),
        ("pages", np.uint32, 1 << 20),  # chunk (from 1) of every page of 4 KiB
        ("slots", np.uint32, (1 + MAX_CHUNKS, CHUNK)),  # of the blocks by halfword of a chunk
        ("blocks", BLOCK, MAX_SLOTS),
    ],
    align=True,
)


@inlined
def _chunk_of(table: Any, at: Any) -> Any:
    """Return the chunk of the page that an address is in, 0 if there is no room."""
    page = (at >> 12) & 0xFFFFF
    chunk = np.int64(table.pages[page])
    if chunk == 0:
        if table.chunks_used == MAX_CHUNKS:
            table.overflow = 1
            return np.int64(0)
        chunk = np.int64(table.chunks_used) + 1
        table.chunks_used = chunk
        table.pages[page] = chunk
    return chunk


@inlined
def stop_before(table: Any, at: Any) -> None:
    """Note a stop before a block, which the emulator has translated all the same."""
    table.stopped = 1
    _chunk_of(table, at)


@inlined
def find_block(table: Any, at: Any, size: Any) -> Any:
    """Return the slot of a block, the negative slot if it is new, 0 if there is no room."""
    chunk = _chunk_of(table, at)
    if chunk == 0:
        return np.int64(0)
    halfword = (at & 0xFFF) >> 1
    first = table.slots[chunk, halfword]
    slot = np.int64(first)
    while slot != 0 and table.blocks[slot].bytes != size:
        slot = np.int64(table.blocks[slot].next)
    if slot != 0:
        return slot
    slot = np.int64(table.used) + 1
    if slot >= MAX_SLOTS:
        table.overflow = 1
        return np.int64(0)
    table.used = slot
    block = table.blocks[slot]
    block.address = at
    block.bytes = size
    block.next = first
    table.slots[chunk, halfword] = slot
    return -slot


def drop_blocks(table: Any, pages: slice) -> None:
    """Take the blocks that lie in some pages of 4 KiB, or reach into them, out of the table.

    Their slots and chunks stay unused until `clear_blocks`.
    """
    used = table["blocks"][: int(table["used"]) + 1]
    address, size = used["address"].astype(np.int64), used["bytes"].astype(np.int64)
    inside = (address < pages.stop << 12) & (address + size > pages.start << 12) & (size > 0)
    for slot in np.nonzero(inside)[0]:
        chunk, halfword = table["pages"][address[slot] >> 12], (address[slot] & 0xFFF) >> 1
        after = int(used["next"][slot])
        before = int(table["slots"][chunk, halfword])
        if before == slot:
            table["slots"][chunk, halfword] = after
        else:
            while used["next"][before] != slot:
                before = int(used["next"][before])
            used["next"][before] = after
    used["bytes"][inside] = 0  # no block follows it any more, whoever remembers it
    table["pages"][pages] = 0


def clear_blocks(table: Any) -> None:
    """Take all blocks out of the table."""
    table["pages"] = 0
    table["slots"][: 1 + int(table["chunks_used"])] = 0
    table["blocks"][: int(table["used"]) + 1] = 0
    table["used"] = table["chunks_used"] = 0
