"""What a running core can do that a block's code alone does not tell, counted per block."""

from __future__ import annotations

(
    MISPREDICTED,  # the branch at the block's end went elsewhere than predicted
    TAKEN,  # the block was left by a jump
    ENTERED,  # the block was entered by a jump
    FETCH_JUMP,  # a line of code was fetched from memory after a jump
    FETCH_NEXT,  # a line of code was fetched from memory in sequence (or had been prefetched)
    DCACHE_FLASH,  # a load missed, and flash answered
    DCACHE_RAM,  # a load missed, and RAM answered
    STORE_MISS,  # a store missed
    WRITE_BACK,  # a changed line was evicted
    UNALIGNED,  # a load of a word or half word that is not aligned
    SPLIT_LOAD,  # a pipelined load from another memory than the load before
    ODD,  # an unaligned load of a word from an odd address
) = range(12)
NAMES = (
    "branch mispredicted",
    "branch taken",
    "branch target",
    "code from memory, after a jump",
    "code from memory, in sequence",
    "load miss, flash",
    "load miss, RAM",
    "store miss",
    "write-back",
    "unaligned load",
    "loads from two memories",
    "unaligned load, odd address",
)
EVENTS = len(NAMES)

# How the block ends, for the branch predictor.
BRANCH_NONE, BRANCH_CONDITIONAL, BRANCH_DIRECT, BRANCH_INDIRECT, BRANCH_RETURN = range(5)
