"""Cortex-M4: one instruction at a time, with pipelined loads.

Sources, cited by letter at each constant:

- [T] Arm, *Cortex-M4 Processor Technical Reference Manual* (100166), 3.3.1 "Table of processor
  instructions", 3.3.2 "Load/store timings", and 7.2.3 for the FPU; the same table is TI SWCU192
  Table 3-25.
- [J] jnk0le, *random*, "pipeline cycle test", ``doc/cortex_m3m4.md``: measured with DWT on
  STM32F407.

Where the documented cost is a range, its middle is taken and the comment says so. A backward
conditional branch counts as taken (a loop), a forward one as not taken: a block does not know its
successor. Left out: flash wait states and the ART accelerator, bus contention, unaligned accesses.
"""

from __future__ import annotations

from harness.virtual.time.instruction import Instruction
from harness.virtual.time.model import TimingModel

ALU = 1  # data processing, DSP and every multiply, long ones included [T]
LOAD = 2  # [T]; one less where the next instruction is a load or store (pipelined)
STORE = 1  # "STR Rx,[Ry,#imm] is always one cycle" [T]
STORE_INDEXED = 2  # register offset [T], [J]
STORE_BEFORE_LOAD = 1  # "stores cannot be pipelined with following load": one more [J]
ADDRESS_WAIT = 1  # "base address and offset must be available 1 cycle earlier" [J]
REFILL = 2  # P, pipeline refill after a taken branch: 1 to 3 [T]; the middle
DIVIDE = 7  # 2 to 12 by operands [T]; the middle
TABLE_BRANCH = 2  # tbb, tbh: 2 + P [T]
SYSTEM = 1  # mrs, msr, cps [T] (mrs and msr may stall longer)
BARRIER = 1  # 1 + B; B is 0 for dsb, dmb at rest, a refill for isb [T]
DEFAULT = 1  # anything unknown: assumed
FP = 1  # vadd, vmul, vcvt, vcmp, vmov [T]
FP_MAC = 3  # vmla, vfma [T]
FP_DIVIDE = 14  # vdiv, vsqrt [T]
FP_MOVE_TWO = 2  # vmov between two core registers and two singles [T]
FP_RESULT_WAIT = 1  # one more when the next instruction uses an FP arithmetic result [T] 7.2.3

_COSTS = {
    "load": LOAD,
    "store": STORE,
    "div": DIVIDE,
    "fp": FP,
    "fp-move": FP,
    "fp-mac": FP_MAC,
    "fp-div": FP_DIVIDE,
    "system": SYSTEM,
    "barrier": BARRIER,
    "unknown": DEFAULT,
}
_MEMORY = frozenset({"load", "store"})
_FP_ARITHMETIC = frozenset({"fp", "fp-mac", "fp-div"})


class CortexM4(TimingModel):
    """Costs of a Cortex-M4's basic blocks from the reference manual's table."""

    name = "cortex-m4-issue"
    version = "2"

    def issue(self, block: list[Instruction]) -> int:
        """Return the modelled cycles of one execution."""
        return issue_cycles(block) + sum(_refill(instruction) for instruction in block)


def issue_cycles(block: list[Instruction]) -> int:
    """Return the cycles of `block` without the refill after a taken branch."""
    following: list[Instruction | None] = [*block[1:], None]
    return sum(_cost(one, then) for one, then in zip(block, following, strict=True))


def _cost(instruction: Instruction, then: Instruction | None) -> int:
    """Return the cycles of `instruction`, given the one after it in the block."""
    unit = instruction.unit
    cost = _base(instruction)
    if unit == "load" and _pipelined(instruction, then):
        cost -= 1
    elif unit == "store" and then is not None and then.unit == "load":
        cost += STORE_BEFORE_LOAD
    elif unit not in ("load", "load-multiple") and then is not None and then.unit in _MEMORY:
        written = set(instruction.writes)
        if written.intersection(then.early):
            cost += ADDRESS_WAIT
    if unit in _FP_ARITHMETIC and then is not None:
        used = {*then.normal, *then.late}
        if used.intersection(instruction.writes):
            cost += FP_RESULT_WAIT
    return cost


def _pipelined(load: Instruction, then: Instruction | None) -> bool:
    """Tell whether the data phase of `load` overlaps the next address phase ([T] 3.3.2)."""
    if then is None or then.unit not in _MEMORY or load.branch:
        return False
    if set(load.writes).intersection(then.early):
        return False
    # [J]: pre- and post-indexed accesses do not chain on the same base register.
    return not set(load.updates).intersection(then.updates)


def _base(instruction: Instruction) -> int:
    unit, address = instruction.unit, instruction.address
    if unit in ("load-multiple", "store-multiple"):
        return 1 + max(1, instruction.count)  # 1 + N: ldm, stm, push, pop, ldrd, strd, vldm [T]
    if unit == "store" and address is not None and address.index >= 0:
        return STORE_INDEXED
    if unit == "fp-move" and instruction.count > 1:
        return FP_MOVE_TWO
    if instruction.name in ("tbb", "tbh"):
        return TABLE_BRANCH
    if instruction.name == "isb":
        return BARRIER + REFILL
    return _COSTS.get(unit, ALU)


def _refill(instruction: Instruction) -> int:
    """Return the refill cycles where the branch is taken, or assumed to be."""
    if instruction.branch == "conditional":
        backward = instruction.displacement is not None and instruction.displacement < 0
        return REFILL if backward else 0
    return REFILL if instruction.branch else 0
