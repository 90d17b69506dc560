"""Why the core stopped, and how Unicorn says it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from unicorn import unicorn_const as uc


class StopKind(Enum):
    """Why the core stopped."""

    REQUESTED = "stop requested"
    BREAKPOINT = "a comparator of the breakpoint unit matched"
    WATCHPOINT = "a comparator of the watchpoint unit matched"
    BKPT = "BKPT instruction"
    SVC = "SVC instruction"
    UNDEFINED = "undefined instruction"
    NO_COPROCESSOR = "instruction of a coprocessor that is absent or disabled"
    INVALID_STATE = "branch to an address without the Thumb bit"
    EXCEPTION_RETURN = "exception return"
    READ_FAULT = "read from an unmapped address"
    WRITE_FAULT = "write to an unmapped or read-only address"
    FETCH_FAULT = "instruction fetch from an unmapped address"
    SLEEP = "WFI or WFE with nothing to wake the core"
    UNKNOWN = "the emulator gave up"


@dataclass(frozen=True, slots=True)
class Stop:
    """The end of a run: kind, the address that a fault concerns, the emulator's own message."""

    kind: StopKind
    address: int = 0
    detail: str = ""


#: QEMU's exception numbers (target/arm/cpu.h).
INTERRUPTS = {
    1: StopKind.UNDEFINED,
    2: StopKind.SVC,
    3: StopKind.FETCH_FAULT,
    4: StopKind.READ_FAULT,
    7: StopKind.BKPT,
    8: StopKind.EXCEPTION_RETURN,
    17: StopKind.NO_COPROCESSOR,
    18: StopKind.INVALID_STATE,
}
#: Unicorn's errors.
ERRORS = {
    uc.UC_ERR_READ_UNMAPPED: StopKind.READ_FAULT,
    uc.UC_ERR_READ_PROT: StopKind.READ_FAULT,
    uc.UC_ERR_WRITE_UNMAPPED: StopKind.WRITE_FAULT,
    uc.UC_ERR_WRITE_PROT: StopKind.WRITE_FAULT,
    uc.UC_ERR_FETCH_UNMAPPED: StopKind.FETCH_FAULT,
    uc.UC_ERR_FETCH_PROT: StopKind.FETCH_FAULT,
    uc.UC_ERR_INSN_INVALID: StopKind.UNDEFINED,
    uc.UC_ERR_EXCEPTION: StopKind.FETCH_FAULT,  # `native.pages` forbids nothing else
}
