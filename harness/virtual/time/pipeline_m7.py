"""Cortex-M7 with its fetch unit, branches, caches and the memories of the STM32F7 and H7.

The issue rules are those of `cortex_m7`; sources as there, and:

- [TRM] Arm, *Cortex-M7 Processor Technical Reference Manual* (DDI 0489F): 1.2.3 (prefetch unit),
  5.9 (caches: critical word first, streaming), 5.9.2 (store buffer of four 64-bit entries that
  merge).
- [RM] ST RM0385 and RM0410, 3.3 (flash read: wait states + 1 cycles for 256 bits on AXI, which is
  a whole cache line; the ART accelerator serves the ITCM interface only).
- [H7] ST RM0433: on the STM32H743 AXI, its RAM and the flash run at HCLK, half of the core's clock
  at the maximum (chapter RCC, HPRE); flash words have 256 bits, again a whole cache line, and a
  read takes wait states + 1 of these cycles (chapter FLASH, table 17).

Assumed, as no public measurement was found; `docs/fidelity.md` shows how much each matters:
`BUS_FLASH`, `BUS_RAM` and `BUS_AXI_RAM`, the predictor (a two-bit counter per branch, the return
stack always right), and the caches' replacement (least recently used of two ways for code, a
counter over the ways for data). Left out: a full store buffer and write-backs (both go on beside
the core), the overlap of a line fill with later instructions, contention between code and data on
the bus. On the STM32H743 all cached RAM counts as AXI SRAM; that of the domains D2 and D3, which
the firmware does not use, is slower.
"""

from __future__ import annotations

from harness.virtual.time import events
from harness.virtual.time.cortex_m7 import CortexM7, issue_cycles, loops_to_itself
from harness.virtual.time.decode import decode_block
from harness.virtual.time.instruction import FLAGS, Instruction

FETCH_BYTES = 8  # "64-bit instruction fetch bandwidth" [TRM] 1.2.3
QUEUE_BYTES = 32  # "4x64-bit pre-fetch queue" [TRM] 1.2.3
MISPREDICTED = 8  # a branch that went the other way [J]
MISPREDICTED_EARLY = 6  # "flags have to be placed at least 3 cycles before branch" [J]
EARLY_FLAGS = 3  # cycles between flags and branch for that [J]
UNALIGNED = 3  # "+3 cycles as older op, +4 as younger op" [J]
BUS_FLASH = 6  # from the miss to the flash interface and back: assumed
BUS_RAM = 8  # the same to SRAM1 and SRAM2, behind the AXI-to-AHB bridge: assumed
BUS_AXI_RAM = 6  # the same to the AXI SRAM of the STM32H743, behind no bridge: assumed


class PipelineM7(CortexM7):
    """Costs of blocks and their events on a Cortex-M7 of an STM32F7 or H7."""

    name = "cortex-m7-pipeline"
    version = "1"
    observes = True

    def block_cycles(self, code: bytes, address: int) -> int:
        """Return the cycles to issue the block, or to fetch it where that takes longer."""
        return max(super().block_cycles(code, address), fetch_cycles(code, address))

    def event_cycles(self, code: bytes, address: int) -> tuple[int, ...]:
        """Return the cycles of each kind of event."""
        clock = self.board.facts.clock
        flash = clock.bus_divider * (clock.flash_wait_states + 1 + BUS_FLASH)
        bus_ram = BUS_AXI_RAM if self.board.family == "stm32h7" else BUS_RAM
        cycles = [0] * events.EVENTS
        cycles[events.MISPREDICTED] = _mispredicted(list(decode_block(code)))
        cycles[events.FETCH_JUMP] = flash
        # The queue covers for the fetch while the core works through what is in it.
        covered = self.block_cycles(code, address) * QUEUE_BYTES // max(1, len(code))
        cycles[events.FETCH_NEXT] = max(0, flash - covered)
        cycles[events.DCACHE_FLASH] = flash
        cycles[events.DCACHE_RAM] = clock.bus_divider * (1 + bus_ram)
        cycles[events.UNALIGNED] = UNALIGNED
        return tuple(cycles)


def fetch_cycles(code: bytes, address: int) -> int:
    """Return the cycles to fetch a block, 64 aligned bits each.

    A block that loops to itself starts anew in each round; any other shares its first 64 bits with
    what comes before it.
    """
    if not code:
        return 0
    windows = (address + len(code) - 1) // FETCH_BYTES - address // FETCH_BYTES
    block = list(decode_block(code))
    return windows + 1 if loops_to_itself(block) else windows


def _mispredicted(block: list[Instruction]) -> int:
    """Return the cost of a wrong prediction of the branch that ends the block."""
    if not block or block[-1].branch != "conditional" or FLAGS not in block[-1].normal:
        return MISPREDICTED
    setters = [n for n, i in enumerate(block[:-1]) if FLAGS in i.writes]
    if not setters:
        return MISPREDICTED_EARLY  # by an earlier block
    since = issue_cycles(block) - issue_cycles(block[: setters[-1] + 1])
    return MISPREDICTED_EARLY if since >= EARLY_FLAGS else MISPREDICTED
