"""Cortex-M7: two instructions a cycle, in order.

Sources, cited by letter at each constant:

- [J] jnk0le, *random*, "pipeline cycle test", ``doc/cortex_m7.md``: measured with DWT on STM32H743.
- [L] LLVM ``ARMScheduleM7.td``, written by Arm.
- [G] GCC ``config/arm/cortex-m7.md``.

Stages ([L]): EX1 address generation and early shifter, EX2 ALU and fast load data, EX3 slow load
data and multiplier result, EX4 store data. An instruction issued in cycle *t* has its ALU operands
by *t* (EX2), early operands by *t - 1* (EX1), accumulators by *t + 1* and store data by *t + 2*.

Left out, all making the model cheaper than silicon: mispredicted branches (8 cycles, [J]; a block
does not know its successor), memory beyond TCM and cache hits, unaligned loads (+3/+4), a full
store buffer, fetch alignment. Left out, making it dearer: pairing a taken branch with its target.
"""

from __future__ import annotations

from harness.virtual.time.instruction import FLAGS, PC, Instruction
from harness.virtual.time.mnemonics import ADDITIVE, EARLY_BITS, PACK, SATURATE, XTA
from harness.virtual.time.model import TimingModel

# When operands are needed, relative to the cycle of issue ([L] ReadAdvance; [J] text).
EARLY = -1  # addresses, inline-shifted and extracted operands: EX1 [L], [J]
NORMAL = 0  # everything else in the ALU: EX2 [L]
ACCUMULATE = 1  # "accumulate dependency is consumed a cycle later" [J]; ReadMAC 1 [L]
STORE_DATA = 2  # "can store any result in same cycle, including ldr, ldrh, ldrb" [J]

# When results are there for a NORMAL reader, relative to the cycle of issue.
EARLY_ALU = 0  # add, sub, mov in the early ALU: to the late ALU in 0 cycles [J]
ALU = 1  # any other result of the ALU: WriteALU [L]
BASE_UPDATE = 0  # write-back of an address: "bypassable out of EX1" [L], [J]
LOAD_WORD = 1  # word load, fast path [J], WriteLd [L]
LOAD_PART = 2  # byte and half word: one more [J], M7SlowLoad [L]
MULTIPLY = 2  # "1 additional cycle of result latency" [J], WriteMUL/WriteMAC [L]
SATURATED = 2  # ssat, usat, q(d)add, q(d)sub, usad8: M7WriteSIMD2, M7WriteShSIMD2 [L]
SYSTEM = 3  # mrs, msr and the like: M7NonGeneralPurpose [L]
FP = 3  # single-precision add, multiply, convert, vmov to the FPU [J], [L]
FP_MAC = 5  # vfma as operand of another operation [J]
FP_MAC_CHAIN = 3  # "at least 3 independent accumulations must be interleaved" [J]
FP_LOAD = 1  # vldr [J]
FP_TO_CORE = 1  # vmov r, s [J]

# Cycles for which an instruction holds the issue stage.
DIVIDE = 7  # WriteDIV [L]
FP_DIVIDE = {1: 16, 2: 30}  # vdiv; by 32-bit words [J]
FP_SQUARE_ROOT = {1: 14, 2: 30}  # vsqrt [J], [L]
FP_DOUBLE = {"fp": 2, "fp-mac": 7}  # vadd.d with different exponents, first vfma.d [J]
FP_DOUBLE_MULTIPLY = 5  # vmul.d [J]
TABLE_BRANCH = 2  # tbb, tbh: "takes two cycles to issue" [L]
BARRIER = 3  # dmb, dsb, isb: latency 3 and single issue [L]
DEFAULT = 1  # anything unknown, alone in its cycle: assumed

_SETTLED = -8  # ready time of a register that the block has not written: long ago

_ALONE = frozenset(
    # "cannot dual issue with preceding or following": multiples and pairs [J], [L]; divides,
    # barriers, system instructions SingleIssue [L].
    {"load-multiple", "store-multiple", "div", "barrier", "system", "unknown"}
)
_EARLY_FROM_OLDER = ADDITIVE | {"mov", "movw"}  # [J]
# "can't be dual issued with operand2 inline_shifted_reg/shifted_constant" [J]
_EARLY_SHIFTER = EARLY_BITS | PACK | XTA | {"bfi", "bfc"}
_NO_FAST_LOAD = PACK | XTA | {"bfi"}  # one operand early, so none by the fast path [J]
_SATURATING = SATURATE | {"qadd", "qsub", "usad8", "usada8"}  # [L]
_FP_UNITS = frozenset({"fp", "fp-mac", "fp-div"})


class CortexM7(TimingModel):
    """Costs of a Cortex-M7's basic blocks by the dual-issue rules in the module's text.

    A block that branches back to its own start costs one iteration in the steady state, so
    that dependencies carried round a loop count.
    """

    name = "cortex-m7-issue"
    version = "2"

    def issue(self, block: list[Instruction]) -> int:
        """Return the modelled cycles of one execution."""
        if not block:
            return 0
        pipeline = _Pipeline()
        once = pipeline.run(block)
        if not loops_to_itself(block):
            return once
        # Two more rounds: the first settles what the loop carries, the second is the steady state.
        settled = pipeline.run(block)
        return pipeline.run(block) - settled


def issue_cycles(block: list[Instruction]) -> int:
    """Return the cycles to issue `block` once, from a fresh cycle."""
    return _Pipeline().run(block)


def loops_to_itself(block: list[Instruction]) -> bool:
    """Tell whether the last instruction branches back to the first."""
    last = block[-1]
    if last.displacement is None or last.branch == "call":
        return False
    return last.displacement == -2 * sum(i.halfwords for i in block[:-1])


class _Pipeline:
    """Issue state that is carried from instruction to instruction (and round a loop)."""

    def __init__(self) -> None:
        self.next_cycle = 0  # first cycle in which nothing has been issued
        self.ready: dict[int, int] = {}  # register -> cycle for a NORMAL reader
        self.fast_load: set[int] = set()  # registers last written by a word load
        self.fp_accumulator: dict[int, int] = {}  # register -> cycle for an accumulating reader
        self.undecided_banks = 0

    def run(self, block: list[Instruction]) -> int:
        """Issue `block`, starting in a fresh cycle; return the first cycle after it."""
        older: Instruction | None = None
        for instruction in block:
            earliest = self._operands_ready(instruction)
            current = self.next_cycle - 1
            if older is not None and earliest <= current and self._pairs(older, instruction):
                self._complete(instruction, current, younger=True)
                older = None
                continue
            cycle = max(self.next_cycle, earliest)
            held = _held(instruction)
            self.next_cycle = cycle + held
            self._complete(instruction, cycle, younger=False)
            older = instruction if instruction.unit not in _ALONE and held == 1 else None
        return self.next_cycle

    def _operands_ready(self, instruction: Instruction) -> int:
        """Return the first cycle in which every operand is there in time."""
        ready = self.ready
        cycle = 0
        slow_load = instruction.unit == "mac" or (
            instruction.operand2 == "shifted-register" or instruction.name in _NO_FAST_LOAD
        )
        for register in instruction.early:
            cycle = max(cycle, ready.get(register, _SETTLED) - EARLY)
        for register in instruction.normal:
            if register == FLAGS and instruction.branch == "conditional":
                continue  # predicted: the branch does not wait for its flags
            # Multiplicands and the fellow operands of early ones do not take a word load that was
            # issued in the cycle before [J].
            wait = 1 if slow_load and register in self.fast_load else 0
            cycle = max(cycle, ready.get(register, _SETTLED) + wait)
        late = STORE_DATA if instruction.unit in ("store", "store-multiple") else ACCUMULATE
        for register in instruction.late:
            if instruction.unit == "fp-mac":
                at = self.fp_accumulator.get(register, ready.get(register, _SETTLED))
                cycle = max(cycle, at)
            else:
                cycle = max(cycle, ready.get(register, _SETTLED) - late)
        return cycle

    def _pairs(self, older: Instruction, younger: Instruction) -> bool:
        """Tell whether `younger` may issue in the same cycle as `older`, operands apart."""
        one, two = older.unit, younger.unit
        if two in _ALONE or older.branch or _held(younger) > 1:
            return False
        if two == "dsp":
            return False  # bitfield and DSP operations go in the older slot, never two [J], [L]
        if "mac" in (one, two) and ("store" in (one, two) or one == two):
            return False  # one MAC, and no MAC beside a store [J]
        if one == two == "store":
            return False
        if one == two == "load":
            return self._banks_differ(older, younger)
        shifted = ("shifted-register", "shifted-constant")
        if younger.operand2 in shifted and (
            older.operand2 in shifted or older.name in _EARLY_SHIFTER
        ):
            return False  # one early shifter [J]
        if one in _FP_UNITS and two in _FP_UNITS:
            return False  # "arithmetic instructions cannot be dual issued" [J]
        moves = ("fp-move", "load", "store")
        if "fp-mac" in (one, two) and (one in moves or two in moves):
            fp = younger if one == "fp-mac" else older
            if fp.unit == "fp-move" or fp.name in ("vldr", "vstr"):
                return False  # no vldr, vstr or vmov beside a multiply-accumulate [J]
        return not (one == two == "fp-move")

    def _banks_differ(self, older: Instruction, younger: Instruction) -> bool:
        """Tell whether two loads go to different (even and odd word) banks [J].

        Known when both have the same base register and an immediate offset. Otherwise it is even
        odds, so every other such pair of the block issues together.
        """
        one, two = older.address, younger.address
        if (
            one is not None
            and two is not None
            and one.base == two.base != PC
            and one.index == two.index == -1
            and one.update is None
        ):
            return (one.offset ^ two.offset) & 4 != 0
        self.undecided_banks += 1
        return self.undecided_banks % 2 == 0

    def _complete(self, instruction: Instruction, cycle: int, *, younger: bool) -> None:
        """Note when the results of `instruction` can be used."""
        latency = self._latency(instruction, cycle, younger=younger)
        word_load = instruction.unit in ("load", "load-multiple") and instruction.width == 4
        for register in instruction.writes:
            # Flags are set by the late ALU even where the result is early [J].
            self.ready[register] = cycle + (max(latency, ALU) if register == FLAGS else latency)
            self.fast_load.discard(register)
            self.fp_accumulator.pop(register, None)
            if word_load:
                self.fast_load.add(register)
            if instruction.unit == "fp-mac":
                self.fp_accumulator[register] = cycle + FP_MAC_CHAIN
        for register in instruction.updates:
            self.ready[register] = cycle + BASE_UPDATE
            self.fast_load.discard(register)

    def _latency(self, instruction: Instruction, cycle: int, *, younger: bool) -> int:
        unit = instruction.unit
        if unit in ("alu", "shift"):
            return EARLY_ALU if self._runs_early(instruction, cycle, younger=younger) else ALU
        if unit == "dsp":
            return SATURATED if instruction.name in _SATURATING else ALU
        if unit == "load":
            if instruction.name == "vldr":
                return FP_LOAD
            return LOAD_WORD if instruction.width == 4 else LOAD_PART
        if unit == "fp-move":
            to_core = all(register < FLAGS for register in instruction.writes)
            return FP_TO_CORE if to_core else FP
        if unit == "load-multiple":
            return _held(instruction) - 1 + LOAD_WORD
        if unit in ("div", "fp-div"):
            return _held(instruction)
        return {"mac": MULTIPLY, "fp": FP, "fp-mac": FP_MAC, "system": SYSTEM}.get(unit, ALU)

    def _runs_early(self, instruction: Instruction, cycle: int, *, younger: bool) -> bool:
        """Tell whether the early ALU takes it: simple enough, in the right slot, operands early."""
        if instruction.unit == "alu" and (younger or instruction.name not in _EARLY_FROM_OLDER):
            return False
        if instruction.operand2 != "simple" or instruction.name == "rrx":
            return False
        return all(
            self.ready.get(register, _SETTLED) <= cycle + EARLY for register in instruction.normal
        )


def _held(instruction: Instruction) -> int:
    """Return for how many cycles `instruction` keeps others from issuing."""
    unit = instruction.unit
    if unit in ("load-multiple", "store-multiple"):
        return max(1, (instruction.count + 1) // 2)  # ceil(n/2) [J]
    if unit == "div":
        return DIVIDE
    if unit == "fp-div":
        table = FP_SQUARE_ROOT if instruction.name == "vsqrt" else FP_DIVIDE
        return table[instruction.count]
    if unit in FP_DOUBLE and instruction.count == 2:
        return FP_DOUBLE_MULTIPLY if instruction.name in ("vmul", "vnmul") else FP_DOUBLE[unit]
    if unit == "barrier":
        return BARRIER
    if instruction.name in ("tbb", "tbh"):
        return TABLE_BRANCH
    return DEFAULT
