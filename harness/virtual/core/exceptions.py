"""Enter and leave exceptions as the architecture does, since Unicorn's M profile does neither.

ARMv7-M ARM B1.5.4 (priorities), B1.5.6 (entry), B1.5.7 (floating-point state), B1.5.8 (return),
B1.5.12 (tail-chaining), B1.5.14 (escalation).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from harness.virtual.chip.memory import MemoryMap
from harness.virtual.chip.peripherals import scs
from harness.virtual.chip.peripherals.nvic import HARD_FAULT, NMI, SVC
from harness.virtual.chip.peripherals.scs import Scs
from harness.virtual.core.cpu import Cpu
from harness.virtual.core.registers import (
    EXCEPTION,
    FPSCR,
    LR,
    MSP,
    PC,
    PSP,
    S0,
    SP,
    SPECIAL,
    XPSR,
    XPSR_THUMB,
)
from harness.virtual.core.stop import Stop, StopKind

_MEM_MANAGE, _BUS_FAULT, _USAGE_FAULT = 4, 5, 6
_ENABLE = {_MEM_MANAGE: 1 << 16, _BUS_FAULT: 1 << 17, _USAGE_FAULT: 1 << 18}
_HFSR_VECTTBL, _HFSR_FORCED, _HFSR_DEBUGEVT = 1 << 1, 1 << 30, 1 << 31

# CFSR bits (ARMv7-M ARM B3.2.15).
_IACCVIOL, _DACCVIOL, _MSTKERR, _MMARVALID = 1 << 0, 1 << 1, 1 << 4, 1 << 7
_IBUSERR, _PRECISERR, _IMPRECISERR, _STKERR, _BFARVALID = 1 << 8, 1 << 9, 1 << 10, 1 << 12, 1 << 15
_LSPERR = 1 << 13
_UNDEFINSTR, _INVSTATE, _INVPC, _NOCP = 1 << 16, 1 << 17, 1 << 18, 1 << 19

# Bits of PRIMASK, BASEPRI, FAULTMASK and CONTROL together.
_PRIMASK, _BASEPRI, _FAULTMASK = 1 << 0, 8, 1 << 16  # BASEPRI: its lowest bit
_LOWEST = 256  # no exception is this unimportant: the priority of thread mode
# Cycles of an interrupt's entry, return, and entry right after another's return (Cortex-M4 TRM
# 3.9.1, without wait states; the Cortex-M7's are not published).
_ENTRY_CYCLES, _RETURN_CYCLES, _CHAINED_CYCLES = 12, 10, 6
_CONTROL_NPRIV, _CONTROL_SPSEL, _CONTROL_FPCA = 1 << 24, 1 << 25, 1 << 26
_BASIC_BYTES, _EXTENDED_BYTES = 0x20, 0x68
_FLOATS = (*range(S0, S0 + 16), FPSCR)
_XPSR_ALIGNED = 1 << 9
_RETURNS = frozenset(0xFFFF_FF00 | code for code in (0xE1, 0xE9, 0xED, 0xF1, 0xF9, 0xFD))
# FPCCR: what the saving of state that waits is to be done as.
_LAZY_USER, _LAZY_THREAD, _LAZY_HARD_FAULT = 1 << 1, 1 << 3, 1 << 4
# Regions that are execute-never in the architecture's memory map (B3.1).
_NEVER_EXECUTED = ((0x4000_0000, 0x6000_0000), (0xA000_0000, 0x1_0000_0000))
_DATA_FAULTS = (StopKind.READ_FAULT, StopKind.WRITE_FAULT)


@dataclass(frozen=True, slots=True)
class Lockup(Exception):
    """The core cannot take a fault; it does nothing until reset."""

    reason: str


class Exceptions:
    """Exception entry and return of one core."""

    def __init__(self, cpu: Cpu, memory: MemoryMap, registers: Scs) -> None:
        self._cpu = cpu
        self._registers = cpu.registers
        self._memory = memory
        self._scs = registers
        self._nvic = registers.nvic
        cpu.save_lazily = self.save_lazily
        #: Numbers of the active exceptions, the current one last; empty in thread mode.
        self.active: list[int] = []
        #: The event register of WFE.
        self.event = False

    def take(self, stop: Stop) -> int:
        """Enter the exception that `stop` calls for.

        Returns:
            The exception number that is entered.

        Raises:
            Lockup: Another fault is active or its vector cannot be used.
        """
        values = self._scs.values
        if stop.kind is StopKind.SVC:
            return self._enter_or_escalate(SVC)
        if stop.kind is StopKind.BKPT:
            return self._hard_fault(_HFSR_DEBUGEVT)
        number, bits = {
            StopKind.UNDEFINED: (_USAGE_FAULT, _UNDEFINSTR),
            StopKind.NO_COPROCESSOR: (_USAGE_FAULT, _NOCP),
            StopKind.INVALID_STATE: (_USAGE_FAULT, _INVSTATE),
            StopKind.READ_FAULT: (_BUS_FAULT, _PRECISERR | _BFARVALID),
            # Stores are buffered, so that their faults come late and without an address.
            StopKind.WRITE_FAULT: (_BUS_FAULT, _IMPRECISERR),
            StopKind.FETCH_FAULT: (_BUS_FAULT, _IBUSERR),
        }[stop.kind]
        if stop.kind is StopKind.FETCH_FAULT and self._execute_never(self._registers[PC]):
            number, bits = _MEM_MANAGE, _IACCVIOL
        if stop.kind in _DATA_FAULTS and self._scs.mpu.forbids(stop.address):
            # The MPU comes before the bus, and before the store buffer: it knows the address.
            number, bits = _MEM_MANAGE, _DACCVIOL | _MMARVALID
            values[scs.MMFAR] = stop.address
        values[scs.CFSR] |= bits
        if bits & _BFARVALID:
            values[scs.BFAR] = stop.address
        return self._enter_or_escalate(number)

    # Interrupts.

    def take_pending(self) -> int | None:
        """Enter the most urgent exception that is pending, if nothing holds it back.

        Returns:
            Its number; None if there is none.
        """
        number = self._nvic.first()
        if number is None or not self._preempts(number):
            return None
        return self._interrupt(number, None)

    def would_wake(self) -> bool:
        """Return whether an exception is pending that ends a WFI: PRIMASK alone holds it back."""
        number = self._nvic.first()
        return number is not None and self._preempts(number, ~_PRIMASK)

    def masked(self) -> int | None:
        """Return the priority of a pending exception that mask registers alone hold back."""
        number = self._nvic.first()
        if number is None or not self._preempts(number, 0):
            return None
        return self._group(number)

    def _interrupt(self, number: int, frame: int | None) -> int:
        self._cpu.counter.interrupt()
        self._cpu.counter.let_pass(_ENTRY_CYCLES if frame is None else _CHAINED_CYCLES)
        self._nvic.unpend(number)
        return self._enter(number, frame)

    def _group(self, number: int) -> int:
        return self._nvic.group_priority(self._nvic.priority(number))

    def _preempts(self, number: int, masks: int = 0xFFFF_FFFF) -> bool:
        return self._group(number) < self._priority(masks)

    def _priority(self, masks: int = 0xFFFF_FFFF) -> int:
        """Return the priority that the core executes at; `masks` are the mask bits that count."""
        special = self._special & masks
        priority = min((self._group(number) for number in self.active), default=_LOWEST)
        if special & _FAULTMASK:
            return min(priority, -1)
        if special & _PRIMASK:
            return min(priority, 0)
        least = special >> _BASEPRI & self._scs.priorities & 0xFF
        return min(priority, self._nvic.group_priority(least)) if least else priority

    def leave(self) -> bool:
        """Return from an exception by the EXC_RETURN value in PC.

        Returns:
            Whether the core is in thread mode then.

        Raises:
            Lockup: The frame cannot be read, or the return is a fault that cannot be taken.
        """
        code = self._registers[PC] | 1
        if code not in _RETURNS:
            self._invalid_return(code)
            return False
        thread, on_psp, extended = bool(code & 8), bool(code & 4), not code & 0x10
        pointer = self._registers[PSP if on_psp else MSP]
        size = _EXTENDED_BYTES if extended else _BASIC_BYTES
        frame = self._memory.read(pointer, size)
        if frame is None:
            raise Lockup(f"the exception frame at {pointer:#010x} cannot be read")
        words = struct.unpack(f"<{size // 4}I", frame)
        xpsr = words[7]
        if thread != (xpsr & EXCEPTION == 0) or thread != (len(self.active) == 1):
            self._invalid_return(code)
            return False
        self._deactivate()
        number = self._nvic.first() if self._nvic.ready else None
        if number is not None and self._preempts(number):
            self._interrupt(number, code)
            return False
        # The mode decides which stack pointer is in use, so it is set before the registers.
        self._registers[XPSR] = xpsr & 0xFFFF_FDFF | XPSR_THUMB
        special = self._special & ~(_CONTROL_SPSEL | _CONTROL_FPCA)
        special |= _CONTROL_SPSEL if thread and on_psp else 0
        special |= _CONTROL_FPCA if extended else 0
        self._registers[SPECIAL] = special
        for register, value in zip((0, 1, 2, 3, 12, LR), words, strict=False):
            self._registers[register] = value
        if extended and self._scs.fpu_lazy:
            self._set_lazy(None)  # the handler left the registers alone
        elif extended:
            for register, value in zip(_FLOATS, words[8:], strict=False):
                self._registers[register] = value
        padding = 4 if xpsr & _XPSR_ALIGNED else 0
        self._registers[PSP if on_psp else MSP] = pointer + size + padding
        self._registers[PC] = words[6]
        return thread

    def _deactivate(self) -> None:
        """End the current exception."""
        number = self.active.pop() if self.active else 0
        if number != NMI and self._special & _FAULTMASK:
            self._registers[SPECIAL] = self._special & ~_FAULTMASK
        if number > SVC:
            self._nvic.finished(number)
            self._cpu.counter.interrupt()
            self._cpu.counter.let_pass(_RETURN_CYCLES)
        self.event = True

    def save_lazily(self) -> None:
        """Save the floating-point state that waits for it (PreserveFPState)."""
        content = self._floating_point()
        if not self._memory.write_ram(self._scs.values[scs.FPCAR], content):
            self._scs.values[scs.CFSR] |= _LSPERR
        self._set_lazy(None)

    def _invalid_return(self, code: int) -> None:
        """Take the fault of an EXC_RETURN value that fits nothing: on the same frame."""
        self._scs.values[scs.CFSR] |= _INVPC
        self._registers[XPSR] &= ~EXCEPTION
        del self.active[-1:]
        self._registers[SPECIAL] = self._special & ~_FAULTMASK
        self._enter_or_escalate(_USAGE_FAULT, frame=code)

    @property
    def _special(self) -> int:
        return self._registers[SPECIAL]

    def _enter_or_escalate(self, number: int, *, frame: int | None = None) -> int:
        enabled = _ENABLE.get(number)
        usable = enabled is None or bool(self._scs.values[scs.SHCSR] & enabled)
        if usable and self._preempts(number):
            return self._enter(number, frame)
        return self._hard_fault(_HFSR_FORCED, frame)

    def _hard_fault(self, reason: int, frame: int | None = None) -> int:
        self._scs.values[scs.HFSR] |= reason
        if not self._preempts(HARD_FAULT):
            raise Lockup("a fault within the HardFault handler")
        return self._enter(HARD_FAULT, frame)

    def _enter(self, number: int, frame: int | None = None) -> int:
        """Enter an exception; `frame` is the EXC_RETURN value of a frame that is kept."""
        vector = self._memory.read(self._scs.values[scs.VTOR] + 4 * number, 4)
        handler = 0xFFFF_FFFF if vector is None else int.from_bytes(vector, "little")
        if self._memory.find(handler) is None or not handler & 1:
            self._scs.values[scs.HFSR] |= _HFSR_VECTTBL
            raise Lockup(f"vector {number} is {handler:#010x}, which is no code")
        code = self._push_frame() if frame is None else frame
        special = self._special & ~(_CONTROL_SPSEL | _CONTROL_FPCA)
        # Handlers run on the main stack: leave the process stack before the mode changes.
        self._registers[SPECIAL] = special
        xpsr = self._registers[XPSR] & 0xF80F_0000
        self._registers[XPSR] = xpsr | XPSR_THUMB | number
        self.active.append(number)
        self.event = True
        self._registers[LR] = code
        self._registers[PC] = handler
        return number

    def _push_frame(self) -> int:
        """Push the frame; return EXC_RETURN."""
        special = self._special
        extended = bool(special & _CONTROL_FPCA)
        thread = not self.active
        on_psp = thread and bool(special & _CONTROL_SPSEL)
        pointer = self._registers[SP]
        xpsr = self._registers[XPSR]
        if pointer & 4:
            pointer, xpsr = pointer - 4, xpsr | _XPSR_ALIGNED
        words = [self._registers[n] for n in (0, 1, 2, 3, 12, LR)] + [self._registers[PC], xpsr]
        size = _EXTENDED_BYTES if extended else _BASIC_BYTES
        pointer -= size
        content = struct.pack(f"<{len(words)}I", *words)
        if extended and self._scs.values[scs.FPCCR] & scs.FPCCR_LSPEN:
            self._set_lazy(pointer + _BASIC_BYTES)
        elif extended:
            content += self._floating_point()
        if not self._memory.write_ram(pointer, content):
            # The stack pointer is adjusted all the same, and the frame may be wrong (Cortex-M7
            # Devices Generic User Guide, BFSR.STKERR); this fault is no more urgent than HardFault.
            forbidden = self._scs.mpu.forbids(pointer)
            self._scs.values[scs.CFSR] |= _MSTKERR if forbidden else _STKERR
        self._registers[PSP if on_psp else MSP] = pointer
        return 0xFFFF_FFE1 | (0 if extended else 0x10) | (8 if thread else 0) | (4 if on_psp else 0)

    def _floating_point(self) -> bytes:
        """Return S0 to S15, FPSCR and a reserved word, as a frame holds them."""
        values = [self._registers[n] for n in _FLOATS]
        return struct.pack("<18I", *values, 0)

    def _set_lazy(self, address: int | None) -> None:
        """Let the state wait to be saved at `address`; None if nothing waits any more."""
        values = self._scs.values
        values[scs.FPCCR] &= ~scs.FPCCR_LSPACT
        if address is not None:
            user = _LAZY_USER if not self.active and self._special & _CONTROL_NPRIV else 0
            thread = 0 if self.active else _LAZY_THREAD
            kept = values[scs.FPCCR] & 0xC000_0000
            state = user | thread | (_LAZY_HARD_FAULT if self._preempts(HARD_FAULT) else 0)
            values[scs.FPCCR] = kept | state | scs.FPCCR_LSPACT
            values[scs.FPCAR] = address & 0xFFFF_FFF8
        self._cpu.counter.request_stop()

    def _execute_never(self, address: int) -> bool:
        # Where there is memory, only the MPU can have forbidden it.
        forbidden = any(low <= address < high for low, high in _NEVER_EXECUTED)
        return forbidden or self._memory.find(address) is not None
