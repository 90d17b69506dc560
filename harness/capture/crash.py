"""Explain a crash of the device: the kind of fault, the function and the line."""

from __future__ import annotations

from collections.abc import Callable

from harness import protocol
from harness.errors import AssertionFailed, CoreFault, StackOverflow

PlaceOf = Callable[[int], object | None]

_EXCEPTIONS = {2: "NMI", 3: "HardFault", 4: "MemManage", 5: "BusFault", 6: "UsageFault"}
# ARMv7-M ARM B3.2.15: MMFSR, BFSR and UFSR side by side.
_CFSR = {
    0: "instruction fetch from where no code may be",
    1: "access that the MPU forbids",
    3: "MPU fault while leaving an exception",
    4: "MPU fault while entering an exception",
    5: "MPU fault while floating-point state was saved",
    8: "instruction fetch from an address where nothing is",
    9: "access to an address where nothing is",
    10: "store to an address that takes none",
    11: "bus error while leaving an exception",
    12: "bus error while entering an exception (is the stack in RAM?)",
    13: "bus error while floating-point state was saved",
    16: "undefined instruction",
    17: "branch to an address without the Thumb bit",
    18: "wrong exception return",
    19: "floating point while the FPU is off",
    24: "unaligned access",
    25: "division by zero",
}
_MMARVALID, _BFARVALID = 1 << 7, 1 << 15
_HFSR_VECTTBL, _HFSR_DEBUGEVT = 1 << 1, 1 << 31


def fault_error(
    fault: protocol.Fault, *, where: str, raw_log: str, place_of: PlaceOf = lambda _: None
) -> CoreFault:
    """Return the typed error for a fault report; `place_of` names what is at an address."""
    overflow = fault.stack == "overflow"
    pc, caller = _place(fault.pc, place_of), _place(fault.lr, place_of)
    causes = ", ".join(_causes(fault)) or "no cause in its status registers"
    text = f"the core took a {_exception(fault.exc)}: {causes}"
    if overflow:
        text = f"the stack overflowed: {text}"
    # Where the stack had no room for the frame either, PC and LR are zero and no place is known.
    text += f", in {pc}" if pc else ""
    text += f", called from {caller}" if pc and caller else ""
    names = ("pc", "lr", "sp", "cfsr", "hfsr", "bfar")
    registers = ", ".join(f"{name}={getattr(fault, name)}" for name in names)
    fix = "the place above is where it crashed; the raw log has all registers"
    return (StackOverflow if overflow else CoreFault)(
        f"{text} ({registers})",
        where=where,
        fix="give it a larger stack" if overflow else fix,
        raw_log=raw_log,
        fault=fault,
        function=str(pc) if pc else None,
    )


def assertion_error(record: protocol.Assertion, *, where: str, raw_log: str) -> AssertionFailed:
    """Return the typed error for an assertion that does not hold."""
    text = protocol.decode_message
    return AssertionFailed(
        f"an assertion does not hold in {text(record.func)} "
        f"({text(record.file)}:{record.line}): {text(record.expr)}",
        where=where,
        fix="a library refuses what it was given: see the line above in its source",
        raw_log=raw_log,
        fault=record,
    )


def _exception(number: str) -> str:
    return _EXCEPTIONS.get(int(number), f"exception {number}") if number.isdecimal() else number


def _causes(fault: protocol.Fault) -> list[str]:
    cfsr, hfsr = _hex(fault.cfsr) or 0, _hex(fault.hfsr) or 0
    causes = [text for bit, text in _CFSR.items() if cfsr >> bit & 1]
    if cfsr & (_BFARVALID | _MMARVALID):
        causes[-1:] = [f"{causes[-1] if causes else 'bus error'} (address 0x{fault.bfar})"]
    if hfsr & _HFSR_VECTTBL:
        causes.append("a vector that cannot be read")
    if hfsr & _HFSR_DEBUGEVT:
        causes.append("a breakpoint instruction with no debugger")
    return causes


def _place(text: str, place_of: PlaceOf) -> object | None:
    address = _hex(text)
    return None if address is None else place_of(address)


def _hex(text: str) -> int | None:
    try:
        return int(text, 16)
    except ValueError:
        return None
