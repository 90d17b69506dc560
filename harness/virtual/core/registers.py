"""The core's registers, by the numbers that a debugger uses (DCRSR.REGSEL, ARMv7-M ARM C1.6.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from unicorn import arm_const as arm

_GENERAL = (
    *(getattr(arm, f"UC_ARM_REG_R{n}") for n in range(13)),
    arm.UC_ARM_REG_SP,
    arm.UC_ARM_REG_LR,
)
SP, LR, PC, XPSR, MSP, PSP, SPECIAL, FPSCR, S0 = 13, 14, 15, 16, 17, 18, 20, 33, 64
_NUMBERS = {
    **dict(enumerate(_GENERAL)),
    MSP: arm.UC_ARM_REG_MSP,
    PSP: arm.UC_ARM_REG_PSP,
    FPSCR: arm.UC_ARM_REG_FPSCR,
    **{S0 + n: getattr(arm, f"UC_ARM_REG_S{n}") for n in range(32)},
}
_SPECIAL = (  # byte lanes of number 20
    arm.UC_ARM_REG_PRIMASK,
    arm.UC_ARM_REG_BASEPRI,
    arm.UC_ARM_REG_FAULTMASK,
    arm.UC_ARM_REG_CONTROL,
)
XPSR_THUMB, EXCEPTION = 1 << 24, 0x1FF  # EPSR.T, IPSR
_HARD_FAULT = 3


class Registers:
    """Registers by number; PC is where the core goes on."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._pc = 0

    def __contains__(self, number: int) -> bool:
        """Return whether the core has a register of that number."""
        return number in (PC, XPSR, SPECIAL) or number in _NUMBERS

    def __getitem__(self, number: int) -> int:
        """Read a register."""
        if number == PC:
            return self._pc
        if number == XPSR:
            return int(self._engine.reg_read(arm.UC_ARM_REG_XPSR)) & 0xFFFF_FFFF
        if number == SPECIAL:
            with self._privileged():
                lanes = bytes(self._engine.reg_read(register) & 0xFF for register in _SPECIAL)
            return int.from_bytes(lanes, "little")
        with self._privileged() if number in (MSP, PSP) else nullcontext():
            return int(self._engine.reg_read(_NUMBERS[number])) & 0xFFFF_FFFF

    def __setitem__(self, number: int, value: int) -> None:
        """Write a register."""
        if number == PC:
            self._pc = value & 0xFFFF_FFFE
        elif number == XPSR:
            self._engine.reg_write(arm.UC_ARM_REG_XPSR_NZCVQG, value)
            # Only this write makes Unicorn notice that mode or privilege changed.
            self._engine.reg_write(arm.UC_ARM_REG_APSR_NZCV, value)
        elif number == SPECIAL:
            with self._privileged() as thread:
                self._engine.reg_write(arm.UC_ARM_REG_CONTROL, 0)
                self._engine.reg_write(arm.UC_ARM_REG_XPSR, thread)  # handlers cannot set SPSEL
                for register, byte in zip(_SPECIAL, struct.pack("<I", value), strict=True):
                    self._engine.reg_write(register, byte)
        else:
            with self._privileged() if number in (MSP, PSP) else nullcontext():
                self._engine.reg_write(_NUMBERS[number], value)

    def reset(self, stack: int, entry: int) -> None:
        """Give the registers their values after reset (ARMv7-M ARM B1.5.5)."""
        self[XPSR] = XPSR_THUMB
        self[SPECIAL] = 0
        for number in (*range(13), PSP, FPSCR):
            self[number] = 0
        self[MSP], self[LR], self[PC] = stack & ~3, 0xFFFF_FFFF, entry

    @contextmanager
    def _privileged(self) -> Iterator[int]:
        """Be in handler mode for a moment, as Unicorn hides registers from unprivileged threads.

        Yields:
            XPSR as it is in thread mode.
        """
        xpsr = self[XPSR]
        self._engine.reg_write(arm.UC_ARM_REG_XPSR, xpsr & ~EXCEPTION | _HARD_FAULT)
        try:
            yield xpsr & ~EXCEPTION
        finally:
            self[XPSR] = xpsr
