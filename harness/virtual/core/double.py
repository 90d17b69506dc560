"""Double precision of an FPv5, which Unicorn's Cortex-M7 takes for undefined instructions.

ARMv7-M Architecture Reference Manual (DDI 0403E), A5.6 and A7.7: the encodings with size 64 of data
processing, comparison and conversion. Loads, stores and moves between registers are Unicorn's own.
Left out: the cumulative exception flags of FPSCR, half precision, and roundings by FPSCR other than
to nearest, which are refused.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction

from harness.errors import VirtualError
from harness.virtual.chip.memory import MemoryMap
from harness.virtual.core.cpu import XPSR, Cpu

_S0, _FPSCR, _SPECIAL = 64, 33, 20
_ROUNDING = 3 << 22
_FPCA = 1 << 26
_REGISTERS = 16
_QUIET = 1 << 51
_DEFAULT_NAN = 0x7FF8_0000_0000_0000
_SIGN = 1 << 63
_WHOLE = 2.0**52  # from here on every double is an integer
_WHOLES: dict[str, Callable[[float], int]] = {
    "even": round,
    "zero": math.trunc,
    "up": math.ceil,
    "down": math.floor,
}
_CONDITIONAL, _UNCONDITIONAL = 0xEE, 0xFE
_LESS, _EQUAL, _GREATER, _UNORDERED = 8, 6, 2, 3  # NZCV of a comparison


class DoubleUnit:
    """Executes what Unicorn left of the FPU, one instruction at a time, with the core stopped.

    Args:
        cpu: The core.
        memory: Where its code is.
    """

    def __init__(self, cpu: Cpu, memory: MemoryMap) -> None:
        self._cpu = cpu
        self._memory = memory

    def execute(self) -> bool:
        """Execute the instruction at PC and go on behind it; False if it is none of these.

        Raises:
            VirtualError: It is one that is left out.
        """
        code = self._memory.read(self._cpu.pc, 4)
        if code is None or not self._cpu.fpu_enabled:
            return False
        first, second = struct.unpack("<2H", code)
        word = first << 16 | second
        if word >> 9 & 7 != 5 or word & 0x10:
            return False
        if word >> 24 == _CONDITIONAL:
            done = self._conditional(word)
        elif word >> 24 == _UNCONDITIONAL and word & 0x100:
            done = self._unconditional(word)
        else:
            return False
        if not done:
            raise self._refused(f"{word:#010x}")
        self._go_on()
        return True

    def _refused(self, what: str) -> VirtualError:
        return VirtualError(
            f"a double-precision instruction is not modelled: {what}",
            where=f"PC {self._cpu.pc:#010x}",
            expected="arithmetic, comparisons and conversions of d0 to d15, rounded to nearest",
            pc=self._cpu.pc,
        )

    # Instructions.

    def _conditional(self, word: int) -> bool:
        operation, negated = word >> 20 & 0xB, bool(word & 0x40)
        if operation == 0xB:
            if not negated:
                self._write(_d(word), _immediate((word >> 12 & 0xF0) | (word & 0xF)))
                return True
            return self._one_operand(word)
        if not word & 0x100 or self._cpu.read_register(_FPSCR) & _ROUNDING:
            return False
        first, second = self._read(_n(word)), self._read(_m(word))
        n, m, d = _value(first), _value(second), _value(self._read(_d(word)))
        operands = [first, second]
        if operation in (0, 1, 9, 10):
            operands.insert(0, self._read(_d(word)))
        minus = -1.0 if negated else 1.0
        if operation == 0:  # VMLA, VMLS
            result = d + minus * (n * m)
        elif operation == 1:  # VNMLS, VNMLA
            result = -d + minus * (n * m)
        elif operation == 2:  # VMUL, VNMUL
            result = minus * (n * m)
        elif operation == 3:  # VADD, VSUB
            result = n + minus * m
        elif operation == 8 and not negated:
            result = _divide(n, m)
        elif operation == 9:  # VFNMS, VFNMA
            result = _fused(minus * n, m, -d)
        elif operation == 10:  # VFMA, VFMS
            result = _fused(minus * n, m, d)
        else:
            return False
        self._write(_d(word), _bits(result, *operands))
        return True

    def _one_operand(self, word: int) -> bool:
        kind, high = word >> 16 & 0xF, bool(word & 0x80)
        if not word & 0x100:
            if kind != 7 or not high:
                return False
            single = self._cpu.read_register(_S0 + _single_m(word))
            self._write(_d(word), _widened(single))
            return True
        # The others have no second operand, or one that is no double.
        bits = 0 if kind in (5, 8, 10, 11, 14, 15) else self._read(_m(word))
        nearest = not self._cpu.read_register(_FPSCR) & _ROUNDING
        if kind == 0:  # VMOV, VABS
            self._write(_d(word), bits & ~_SIGN if high else bits)
        elif kind == 1 and not high:  # VNEG
            self._write(_d(word), bits ^ _SIGN)
        elif kind == 1 and nearest:  # VSQRT
            value = _value(bits)
            self._write(_d(word), _bits(math.sqrt(value) if value >= 0 else math.nan, bits))
        elif kind in (4, 5):  # VCMP with a register, with zero
            self._compare(_value(self._read(_d(word))), 0.0 if kind == 5 else _value(bits))
        elif kind == 6 and high:  # VRINTZ
            self._write(_d(word), _bits(_integral(_value(bits), "zero"), bits))
        elif kind in (6, 7) and not high and nearest:  # VRINTR, VRINTX
            self._write(_d(word), _bits(_integral(_value(bits), "even"), bits))
        elif kind == 7 and high and nearest:  # VCVT.F32.F64
            self._cpu.write_register(_S0 + _single_d(word), _narrowed(bits))
        elif kind == 8:  # VCVT.F64.S32, .U32
            number = self._cpu.read_register(_S0 + _single_m(word))
            signed = number - (1 << 32) if high and number >> 31 else number
            self._write(_d(word), _bits(float(signed)))
        elif kind in (12, 13) and (high or nearest):  # VCVT.U32.F64, .S32
            mode = "zero" if high else "even"
            self._to_integer(word, bits, mode, signed=kind == 13)
        elif kind in (10, 11, 14, 15) and nearest:
            self._fixed_point(word)
        else:
            return False
        return True

    def _unconditional(self, word: int) -> bool:
        operation, second = word >> 20 & 0xB, self._read(_m(word))
        if operation < 4 and not word & 0x40:  # VSEL
            first = self._read(_n(word))
            self._write(_d(word), first if self._holds(operation) else second)
        elif operation == 8:  # VMAXNM, VMINNM
            first = self._read(_n(word))
            self._write(_d(word), _extreme(first, second, least=bool(word & 0x40)))
        elif operation == 0xB and word & 0x40:
            mode = ("away", "even", "up", "down")[word >> 16 & 3]
            if word >> 18 & 3 == 2 and not word & 0x80:  # VRINTA, N, P, M
                self._write(_d(word), _bits(_integral(_value(second), mode), second))
            elif word >> 18 & 3 == 3:  # VCVTA, N, P, M
                self._to_integer(word, second, mode, signed=bool(word & 0x80))
            else:
                return False
        else:
            return False
        return True

    def _compare(self, left: float, right: float) -> None:
        if math.isnan(left) or math.isnan(right):
            flags = _UNORDERED
        else:
            flags = _EQUAL if left == right else _LESS if left < right else _GREATER
        status = self._cpu.read_register(_FPSCR)
        self._cpu.write_register(_FPSCR, status & 0x0FFF_FFFF | flags << 28)

    def _holds(self, condition: int) -> bool:
        """Return whether EQ, VS, GE or GT holds."""
        flags = self._cpu.read_register(XPSR) >> 28
        negative, zero, overflow = bool(flags & 8), bool(flags & 4), bool(flags & 1)
        same = negative == overflow
        return (zero, overflow, same, same and not zero)[condition]

    def _to_integer(self, word: int, bits: int, mode: str, *, signed: bool) -> None:
        number = _saturated(_integral(_value(bits), mode), 32, signed=signed)
        self._cpu.write_register(_S0 + _single_d(word), number & 0xFFFF_FFFF)

    def _fixed_point(self, word: int) -> None:
        size = 32 if word & 0x80 else 16
        signed, scale = not word & 1 << 16, 2.0 ** (size - _single_m(word))
        bits = self._read(_d(word))
        if word & 1 << 18:
            number = _saturated(_integral(_value(bits) * scale, "zero"), size, signed=signed)
            self._write(_d(word), number & (1 << 64) - 1)
            return
        number = bits & (1 << size) - 1
        if signed and number >> (size - 1):
            number -= 1 << size
        self._write(_d(word), _bits(number / scale))

    # Registers.

    def _read(self, number: int) -> int:
        if number >= _REGISTERS:
            raise self._refused(f"register d{number}")
        low, high = (self._cpu.read_register(_S0 + 2 * number + part) for part in (0, 1))
        return high << 32 | low

    def _write(self, number: int, bits: int) -> None:
        if number >= _REGISTERS:
            raise self._refused(f"register d{number}")
        self._cpu.write_register(_S0 + 2 * number, bits & 0xFFFF_FFFF)
        self._cpu.write_register(_S0 + 2 * number + 1, bits >> 32)

    def _go_on(self) -> None:
        special = self._cpu.read_register(_SPECIAL)
        if not special & _FPCA:
            self._cpu.write_register(_SPECIAL, special | _FPCA)
        status = self._cpu.read_register(XPSR)
        block = (status >> 25 & 3) | (status >> 8 & 0xFC)
        if block:  # one instruction of an IT block is done (DDI 0403E, A7.3.3)
            block = 0 if not block & 7 else block & 0xE0 | block << 1 & 0x1F
            status = status & ~(3 << 25 | 0xFC << 8) | (block & 3) << 25 | (block & 0xFC) << 8
            self._cpu.write_register(XPSR, status)
        self._cpu.pc += 4


def _d(word: int) -> int:
    return (word >> 12 & 0xF) | (word >> 18 & 0x10)


def _n(word: int) -> int:
    return (word >> 16 & 0xF) | (word >> 3 & 0x10)


def _m(word: int) -> int:
    return (word & 0xF) | (word >> 1 & 0x10)


def _single_d(word: int) -> int:
    return (word >> 11 & 0x1E) | (word >> 22 & 1)


def _single_m(word: int) -> int:
    return (word << 1 & 0x1E) | (word >> 5 & 1)


def _value(bits: int) -> float:
    return float(struct.unpack("<d", bits.to_bytes(8, "little"))[0])


def _bits(result: float, *operands: int) -> int:
    """Return the encoding of a result: the first operand that is NaN made quiet, if one is."""
    if not math.isnan(result):
        return int.from_bytes(struct.pack("<d", result), "little")
    return next((bits | _QUIET for bits in operands if math.isnan(_value(bits))), _DEFAULT_NAN)


def _immediate(imm8: int) -> int:
    """Return VFPExpandImm(imm8, 64)."""
    exponent = 0x3FC if imm8 & 0x40 else 0x400
    return (imm8 >> 7) << 63 | (exponent | (imm8 >> 4 & 3)) << 52 | (imm8 & 0xF) << 48


def _divide(n: float, m: float) -> float:
    if m:
        return n / m
    if n == 0 or math.isnan(n) or math.isnan(m):
        return math.nan
    return math.copysign(math.inf, n) * math.copysign(1.0, m)


def _fused(n: float, m: float, d: float) -> float:
    """Return n · m + d, rounded once."""
    if math.isinf(d) and math.isfinite(n) and math.isfinite(m):
        return d
    if not (math.isfinite(n) and math.isfinite(m) and math.isfinite(d)):
        return n * m + d
    exact = Fraction(n) * Fraction(m) + Fraction(d)
    if not exact:
        return n * m + d  # the sign of a zero follows the same rules
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def _integral(value: float, mode: str) -> float:
    """Return `value` as a whole number: to ``even``, ``away``, ``zero``, ``up`` or ``down``."""
    if not abs(value) < _WHOLE:  # NaN and infinity too
        return value
    if mode == "away":
        whole = math.floor(abs(value)) + (abs(value) % 1 >= 0.5)
    else:
        whole = _WHOLES[mode](value)
    return math.copysign(float(whole), value)


def _saturated(value: float, size: int, *, signed: bool) -> int:
    if math.isnan(value):
        return 0
    low = -(1 << size - 1) if signed else 0
    high = (1 << size - signed) - 1
    return high if value > high else low if value < low else int(value)


def _extreme(first: int, second: int, *, least: bool) -> int:
    """Return the larger or smaller of two numbers; a number rather than a quiet NaN."""
    left, right = _value(first), _value(second)
    for bits, value, other in ((first, left, second), (second, right, first)):
        if math.isnan(value):
            signalling = not bits & _QUIET
            return bits | _QUIET if signalling or math.isnan(_value(other)) else other
    if left == right:
        return first | second if least else first & second  # the zeros differ in their sign
    return first if (left < right) == least else second


def _widened(single: int) -> int:
    """Return a single-precision encoding in double precision."""
    value = struct.unpack("<f", single.to_bytes(4, "little"))[0]
    if not math.isnan(value):
        return _bits(value)
    return (single >> 31) << 63 | 0x7FF << 52 | _QUIET | (single & 0x3F_FFFF) << 29


def _narrowed(bits: int) -> int:
    """Return a double-precision encoding in single precision, rounded to nearest."""
    value = _value(bits)
    if math.isnan(value):
        return (bits >> 63) << 31 | 0x7FC0_0000 | (bits >> 29 & 0x3F_FFFF)
    try:
        return int.from_bytes(struct.pack("<f", value), "little")
    except OverflowError:
        return (bits >> 63) << 31 | 0x7F80_0000
