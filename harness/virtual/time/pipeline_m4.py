"""Cortex-M4 with branches as they went, and the flash accelerator of its chip.

Sources as in `cortex_m4`, and:

- [A] "Instruction alignment", compendium.i-0.nl: measured with DWT, code in flash, data in SRAM2.
- [RM] ST RM0390 3.4: flash lines of 128 bits; with the accelerator 64 lines of code and 8 of data
  are kept, least recently used out first, and the next line of code is prefetched. Code that the
  prefetch brought is not kept. A read of flash takes wait states + 1 cycles.
- [L4] The STM32L4 reads 64 bits at a time in two banks, and keeps 32 lines of 4 x 64 bits of code
  and 8 of data (ST, heads of ``stm32l4xx_hal_flash.c``; RM0351 3.3.5). How such a line is filled is
  not said: here each 64 bits is read and replaced by itself. Its prefetch stays off, as at reset
  and in ST's HAL (``PREFETCH_ENABLE 0``); then every line that missed is kept.

- [N] The nRF52's NVMC keeps code alone: every load from flash waits (nRF52840 Product Specification
  v1.7, NVMC and CPU: 2 wait states without its cache, up to 3 with it). That it reads lines of 128
  bits, keeps 128 of them (2 KiB) and replaces the least recently used is assumed.

Left out: contention between code and data reads of flash, and on the bus matrix; the data-dependent
time of divides (the middle of the range is taken).
"""

from __future__ import annotations

from harness.virtual.time import events
from harness.virtual.time.cortex_m4 import REFILL, CortexM4, issue_cycles
from harness.virtual.time.decode import decode_block
from harness.virtual.time.instruction import Instruction

TARGET_UNALIGNED = 1  # "branches to unaligned wide instructions take one extra cycle" [A]
RUN_UNALIGNED = 1  # "groups of three or more unaligned wide instructions take one extra" [A]
RUN = 3  # how many make such a group [A]
SPLIT_LOAD = 1  # pipelining "only when targeting the same memory block" [J]
UNALIGNED = 1  # as two accesses [T] 3.3.2
ODD = 1  # a word from an odd address: as three accesses [T] 3.3.2


class PipelineM4(CortexM4):
    """Costs of blocks and their events on a Cortex-M4 that runs from flash."""

    name = "cortex-m4-pipeline"
    version = "1"
    observes = True

    def issue(self, block: list[Instruction]) -> int:
        """Return the cycles of one execution whose branch is not taken."""
        return issue_cycles(block)

    def block_cycles(self, code: bytes, address: int) -> int:
        """Return the cycles of one execution whose branch is not taken."""
        runs = _unaligned_runs(list(decode_block(code)), address)
        return super().block_cycles(code, address) + RUN_UNALIGNED * runs

    def event_cycles(self, code: bytes, address: int) -> tuple[int, ...]:
        """Return the cycles of each kind of event."""
        wait_states = self.board.facts.clock.flash_wait_states
        accelerator = self.board.facts.caches.accelerator
        block = list(decode_block(code))
        cycles = [0] * events.EVENTS
        cycles[events.TAKEN] = REFILL
        wide = bool(block) and block[0].halfwords == 2 and address % 4 != 0
        cycles[events.ENTERED] = TARGET_UNALIGNED if wide else 0
        missed = accelerator.miss_wait_states if accelerator is not None else None
        missed = wait_states if missed is None else missed
        cycles[events.FETCH_JUMP] = cycles[events.FETCH_NEXT] = missed
        if accelerator is not None and accelerator.prefetch:
            # The next line is on its way while the core works through the one before.
            covered = issue_cycles(block) * accelerator.line_bytes // max(1, len(code))
            cycles[events.FETCH_NEXT] = max(0, wait_states + 1 - covered)
        cycles[events.DCACHE_FLASH] = wait_states
        cycles[events.SPLIT_LOAD] = SPLIT_LOAD
        cycles[events.UNALIGNED] = UNALIGNED
        cycles[events.ODD] = ODD
        return tuple(cycles)


def _unaligned_runs(block: list[Instruction], address: int) -> int:
    """Return how many runs of `RUN` or more wide instructions are not aligned to a word."""
    runs = length = 0
    at = address
    for instruction in block:
        length = length + 1 if instruction.halfwords == 2 and at % 4 else 0
        runs += length == RUN
        at += 2 * instruction.halfwords
    return runs
