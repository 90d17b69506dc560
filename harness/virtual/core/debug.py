"""The core's debug registers: halt, step, register transfer, vector catch.

ARMv7-M ARM C1.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import HarnessError, VirtualError
from harness.virtual.chip.bus import Master
from harness.virtual.chip.peripherals import scs
from harness.virtual.core.registers import PC

if TYPE_CHECKING:
    from harness.virtual.core.run import Core

_DBGKEY = 0xA05F
C_DEBUGEN, _C_HALT, _C_STEP, _C_MASKINTS = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_S_REGRDY, _S_HALT, _S_SLEEP, _S_LOCKUP = 1 << 16, 1 << 17, 1 << 18, 1 << 19
_S_RETIRE_ST, _S_RESET_ST = 1 << 24, 1 << 25
VC_CORERESET, VC_HARDERR, _TRCENA = 1 << 0, 1 << 10, 1 << 24
_DFSR_HALTED, DFSR_BKPT, DFSR_DWTTRAP, _DFSR_VCATCH = 1 << 0, 1 << 1, 1 << 2, 1 << 3
# Debuggers poll DHCSR without sleeping, which would keep the interpreter from the core's thread.
_WAIT_S = 0.005


class CoreDebug:
    """DHCSR, DCRSR, DCRDR and DEMCR of one core."""

    def __init__(self, core: Core, values: dict[int, int]) -> None:
        self._core = core
        self._scs = values
        self._control = 0
        self._data = 0
        self._demcr = 0
        self.was_reset = True
        #: Raised at the next poll of DHCSR.
        self.error: HarnessError | None = None
        #: Whether the debugger has let the core run since the last reset. What stops it then is
        #: the debugger's affair; what stops it after a reset is not: it sees a lock-up.
        self.resumed = False

    @property
    def enabled(self) -> bool:
        """Whether a debugger has enabled halting debug."""
        return bool(self._control & C_DEBUGEN)

    @property
    def masks_interrupts(self) -> bool:
        """Whether the debugger holds interrupts back while it steps."""
        return bool(self._control & _C_MASKINTS)

    @property
    def trace_enabled(self) -> bool:
        """DEMCR.TRCENA."""
        return bool(self._demcr & _TRCENA)

    def catch(self, event: int) -> bool:
        """Enter debug state if the vector catch `event` (a bit of DEMCR) is set; return whether."""
        caught = self.enabled and bool(self._demcr & event)
        if caught:
            self.stopped(_DFSR_VCATCH)
        return caught

    def _note(self, reason: int) -> None:
        """Set a bit of DFSR."""
        self._scs[scs.DFSR] |= reason

    def read(self, offset: int, master: Master) -> int:
        """Read a debug register.

        Raises:
            VirtualError: Once, when the core was stopped by an error since the last poll.
        """
        if offset == scs.DHCSR:
            return self._read_status(master)
        # DCRSR is write-only.
        return {scs.DCRDR: self._data, scs.DEMCR: self._demcr}.get(offset, 0)

    def _read_status(self, master: Master) -> int:
        core = self._core
        if master is Master.DEBUGGER:
            if not core.halted:
                core.wait_halted(_WAIT_S)
            if self.error is not None:
                error, self.error = self.error, None
                raise error
        value = self._control | _S_REGRDY | _S_RETIRE_ST
        value |= _S_HALT if core.halted else 0
        value |= _S_SLEEP if core.sleeping else 0
        value |= _S_LOCKUP if core.locked_up else 0
        if self.was_reset:
            value |= _S_RESET_ST
            self.was_reset = False
        return value

    def write(self, offset: int, value: int, master: Master) -> None:
        """Write a debug register."""
        if offset == scs.DEMCR:
            self._demcr = value & 0x010F_07F1
            self._core.chip.dwt.follow()
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
        if halt and not self._core.halted:
            self._core.halt()
            self._note(_DFSR_HALTED)
        elif not halt and self._core.halted:
            self.resumed = True
            if self._control & _C_STEP:
                self._core.step()
                self._control |= _C_HALT
                self._note(_DFSR_HALTED)
            else:
                self._core.resume()

    def stopped(self, reason: int) -> None:
        """Note that the core entered debug state by itself."""
        self._control |= _C_HALT
        self._note(reason)

    def restarted(self) -> None:
        """Note a reset of the core, which ends a halt."""
        self.was_reset = True
        self.resumed = False
        self._control &= ~(_C_HALT | _C_STEP)
        self.error = None

    def _transfer(self, value: int) -> None:
        number, registers = value & 0x7F, self._core.cpu.registers
        if not self._core.halted:
            return
        if number not in registers:
            raise VirtualError(
                f"debugger access to core register {number}, which is not modelled",
                where="DCRSR",
                expected="a register of ARMv7-M (C1.6.3)",
            )
        if value & 1 << 16:
            registers[number] = self._data
            if number == PC:
                self._core.accesses.blocked = False  # a core that could not go on can go on there
        else:
            self._data = registers[number]
