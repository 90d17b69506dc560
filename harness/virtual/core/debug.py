"""The core's debug registers: halt, step, register transfer, vector catch.

ARMv7-M ARM C1.6.
"""

from __future__ import annotations

from typing import Protocol

from harness.errors import HarnessError, VirtualError
from harness.virtual.chip.bus import Master
from harness.virtual.chip.peripherals import scs
from harness.virtual.core.cpu import PC, Cpu

_DBGKEY = 0xA05F
C_DEBUGEN, _C_HALT, _C_STEP, _C_MASKINTS = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_S_REGRDY, _S_HALT, _S_SLEEP, _S_LOCKUP = 1 << 16, 1 << 17, 1 << 18, 1 << 19
_S_RETIRE_ST, _S_RESET_ST = 1 << 24, 1 << 25
VC_CORERESET, VC_HARDERR, _TRCENA = 1 << 0, 1 << 10, 1 << 24
DFSR_HALTED, DFSR_BKPT, DFSR_VCATCH, DFSR_EXTERNAL = 1 << 0, 1 << 1, 1 << 3, 1 << 4
# Debuggers poll DHCSR without sleeping, which would keep the interpreter from the core's thread.
_WAIT_S = 0.005


class Target(Protocol):
    """What the debug registers control."""

    cpu: Cpu

    @property
    def halted(self) -> bool:
        """Whether the core is in debug state."""

    @property
    def sleeping(self) -> bool:
        """Whether the core sleeps."""

    @property
    def locked_up(self) -> bool:
        """Whether the core is locked up or was stopped by an error."""

    def wait_halted(self, seconds: float) -> None:
        """Wait until the core halts, at most `seconds`."""

    def halt(self) -> None:
        """Enter debug state."""

    def resume(self) -> None:
        """Leave debug state."""

    def step(self) -> None:
        """Run one instruction in debug state."""

    def redirected(self) -> None:
        """Note that PC was written."""

    def trace_changed(self) -> None:
        """Follow DEMCR.TRCENA."""


class CoreDebug:
    """DHCSR, DCRSR, DCRDR and DEMCR of one core."""

    def __init__(self, target: Target, values: dict[int, int]) -> None:
        self._target = target
        self._scs = values
        self._control = 0
        self._data = 0
        self._demcr = 0
        self.was_reset = True
        self._error: HarnessError | None = None

    @property
    def enabled(self) -> bool:
        """Whether a debugger has enabled halting debug."""
        return bool(self._control & C_DEBUGEN)

    @property
    def trace_enabled(self) -> bool:
        """DEMCR.TRCENA."""
        return bool(self._demcr & _TRCENA)

    def catches(self, event: int) -> bool:
        """Return whether the vector catch `event` (a bit of DEMCR) halts the core."""
        return self.enabled and bool(self._demcr & event)

    def note(self, reason: int) -> None:
        """Set a bit of DFSR."""
        self._scs[scs.DFSR] |= reason

    def fail(self, error: HarnessError | None) -> None:
        """Deliver `error` to the next poll of DHCSR; None forgets it."""
        self._error = error

    def read(self, offset: int, master: Master) -> int:
        """Read a debug register.

        Raises:
            VirtualError: Once, when the core was stopped by an error since the last poll.
        """
        if offset == scs.DHCSR:
            return self._read_status(master)
        if offset == scs.DCRDR:
            return self._data
        if offset == scs.DEMCR:
            return self._demcr
        return 0  # DCRSR is write-only

    def _read_status(self, master: Master) -> int:
        target = self._target
        if master is Master.DEBUGGER:
            if not target.halted:
                target.wait_halted(_WAIT_S)
            if self._error is not None:
                error, self._error = self._error, None
                raise error
        value = self._control | _S_REGRDY | _S_RETIRE_ST
        value |= _S_HALT if target.halted else 0
        value |= _S_SLEEP if target.sleeping else 0
        value |= _S_LOCKUP if target.locked_up else 0
        if self.was_reset:
            value |= _S_RESET_ST
            self.was_reset = False
        return value

    def write(self, offset: int, value: int, master: Master) -> None:
        """Write a debug register."""
        if offset == scs.DEMCR:
            self._demcr = value & 0x010F_07F1
            self._target.trace_changed()
        elif master is Master.CORE:
            return  # software cannot enable halting debug, and DCRSR needs debug state
        elif offset == scs.DHCSR:
            self._write_control(value)
        elif offset == scs.DCRDR:
            self._data = value
        elif offset == scs.DCRSR:
            self._transfer(value)

    def _write_control(self, value: int) -> None:
        if value >> 16 != _DBGKEY:
            return
        self._control = value & (C_DEBUGEN | _C_HALT | _C_STEP | _C_MASKINTS)
        if not self._control & C_DEBUGEN:
            self._control = 0
        halt = bool(self._control & _C_HALT)
        if halt and not self._target.halted:
            self._target.halt()
            self.note(DFSR_HALTED)
        elif not halt and self._target.halted:
            if self._control & _C_STEP:
                self._target.step()
                self._control |= _C_HALT
                self.note(DFSR_HALTED)
            else:
                self._target.resume()

    def stopped(self, reason: int) -> None:
        """Note that the core entered debug state by itself."""
        self._control |= _C_HALT
        self.note(reason)

    def restarted(self) -> None:
        """Note a reset of the core, which ends a halt."""
        self.was_reset = True
        self._control &= ~(_C_HALT | _C_STEP)
        self._error = None

    def _transfer(self, value: int) -> None:
        number, cpu = value & 0x7F, self._target.cpu
        if not self._target.halted:
            return
        if not cpu.has_register(number):
            raise VirtualError(
                f"debugger access to core register {number}, which is not modelled",
                where="DCRSR",
                expected="a register of ARMv7-M (C1.6.3)",
            )
        if value & 1 << 16:
            cpu.write_register(number, self._data)
            if number == PC:
                self._target.redirected()
        else:
            self._data = cpu.read_register(number)
