"""Enter and leave exceptions as the architecture does, since Unicorn's M profile does neither.

ARMv7-M ARM B1.5.6 (entry), B1.5.8 (return), B1.5.14 (escalation).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from harness.virtual.chip.memory import MemoryMap
from harness.virtual.chip.peripherals import scs
from harness.virtual.chip.peripherals.scs import Scs
from harness.virtual.core.cpu import LR, MSP, PSP, SP, XPSR, XPSR_THUMB, Cpu, Stop, StopKind

HARD_FAULT, _MEM_MANAGE, _BUS_FAULT, _USAGE_FAULT, _SVC = 3, 4, 5, 6, 11
_NMI = 2
_ENABLE = {_MEM_MANAGE: 1 << 16, _BUS_FAULT: 1 << 17, _USAGE_FAULT: 1 << 18}
_HFSR_VECTTBL, _HFSR_FORCED, _HFSR_DEBUGEVT = 1 << 1, 1 << 30, 1 << 31

# CFSR bits (ARMv7-M ARM B3.2.15).
_DACCVIOL, _MSTKERR, _MMARVALID = 1 << 1, 1 << 4, 1 << 7
_IBUSERR, _PRECISERR, _IMPRECISERR, _STKERR, _BFARVALID = 1 << 8, 1 << 9, 1 << 10, 1 << 12, 1 << 15
_UNDEFINSTR, _INVSTATE, _INVPC, _NOCP = 1 << 16, 1 << 17, 1 << 18, 1 << 19

_SPECIAL = 20  # PRIMASK, BASEPRI, FAULTMASK, CONTROL
_PRIMASK, _FAULTMASK = 1 << 0, 1 << 16
_CONTROL_SPSEL, _CONTROL_FPCA = 1 << 25, 1 << 26
_BASIC_BYTES, _EXTENDED_BYTES = 0x20, 0x68
_FP_REGISTERS = range(64, 80)  # S0-S15
_FPSCR = 33
_XPSR_ALIGNED = 1 << 9
_DATA_FAULTS = (StopKind.READ_FAULT, StopKind.WRITE_FAULT)


@dataclass(frozen=True, slots=True)
class Lockup(Exception):
    """The core cannot take a fault; it does nothing until reset."""

    reason: str


class Exceptions:
    """Exception entry and return of one core."""

    def __init__(self, cpu: Cpu, memory: MemoryMap, registers: Scs) -> None:
        self._cpu = cpu
        self._memory = memory
        self._scs = registers

    def take(self, stop: Stop) -> int:
        """Enter the exception that `stop` calls for.

        Returns:
            The exception number that is entered.

        Raises:
            Lockup: Another fault is active or its vector cannot be used.
        """
        values = self._scs.values
        if stop.kind is StopKind.SVC:
            return self._enter_or_escalate(_SVC, masked=bool(self._special & _PRIMASK))
        if stop.kind is StopKind.BKPT:
            values[scs.HFSR] |= _HFSR_DEBUGEVT
            return self._enter(HARD_FAULT)
        number, bits = {
            StopKind.UNDEFINED: (_USAGE_FAULT, _UNDEFINSTR),
            StopKind.NO_COPROCESSOR: (_USAGE_FAULT, _NOCP),
            StopKind.INVALID_STATE: (_USAGE_FAULT, _INVSTATE),
            StopKind.READ_FAULT: (_BUS_FAULT, _PRECISERR | _BFARVALID),
            # Stores are buffered, so that their faults come late and without an address.
            StopKind.WRITE_FAULT: (_BUS_FAULT, _IMPRECISERR),
            StopKind.FETCH_FAULT: (_BUS_FAULT, _IBUSERR),
            StopKind.EXCEPTION_RETURN: (_USAGE_FAULT, _INVPC),
        }[stop.kind]
        if stop.kind in _DATA_FAULTS and self._scs.mpu.forbids(stop.address):
            # The MPU comes before the bus, and before the store buffer: it knows the address.
            number, bits = _MEM_MANAGE, _DACCVIOL | _MMARVALID
            values[scs.MMFAR] = stop.address
        values[scs.CFSR] |= bits
        if bits & _BFARVALID:
            values[scs.BFAR] = stop.address
        masked = bool(self._special & (_PRIMASK | _FAULTMASK))
        return self._enter_or_escalate(number, masked=masked)

    def leave(self) -> bool:
        """Return from an exception by the EXC_RETURN value in PC; False if none is active."""
        if self.active == 0:
            return False
        code = self._cpu.pc | 1
        thread, on_psp, extended = bool(code & 8), bool(code & 4), not code & 0x10
        pointer = self._cpu.read_register(PSP if on_psp else MSP)
        size = _EXTENDED_BYTES if extended else _BASIC_BYTES
        frame = self._memory.read(pointer, size)
        if frame is None:
            raise Lockup(f"the exception frame at {pointer:#010x} cannot be read")
        words = struct.unpack(f"<{size // 4}I", frame)
        xpsr = words[7]
        # The mode decides which stack pointer is in use, so it is set before the registers.
        self._cpu.write_register(XPSR, xpsr & 0xFFFF_FDFF | XPSR_THUMB)
        special = self._special & ~(_CONTROL_SPSEL | _CONTROL_FPCA | _FAULTMASK)
        special |= _CONTROL_SPSEL if thread and on_psp else 0
        special |= _CONTROL_FPCA if extended else 0
        self._cpu.write_register(_SPECIAL, special)
        for register, value in zip((0, 1, 2, 3, 12, LR), words, strict=False):
            self._cpu.write_register(register, value)
        if extended:
            for register, value in zip((*_FP_REGISTERS, _FPSCR), words[8:], strict=False):
                self._cpu.write_register(register, value)
        padding = 4 if xpsr & _XPSR_ALIGNED else 0
        self._cpu.write_register(PSP if on_psp else MSP, pointer + size + padding)
        self._cpu.pc = words[6]
        return True

    @property
    def erased(self) -> bool:
        """Whether the core has booted from erased flash."""
        return self._memory.read(self._scs.boot_address, 8) == b"\xff" * 8

    def status(self) -> dict[str, int]:
        """Return the fault status registers by name."""
        values = self._scs.values
        return {"cfsr": values[scs.CFSR], "hfsr": values[scs.HFSR]}

    @property
    def active(self) -> int:
        """Number of the active exception, 0 in thread mode."""
        return self._cpu.read_register(XPSR) & 0x1FF

    @property
    def _special(self) -> int:
        return self._cpu.read_register(_SPECIAL)

    def _enter_or_escalate(self, number: int, *, masked: bool) -> int:
        enabled = _ENABLE.get(number)
        usable = enabled is None or bool(self._scs.values[scs.SHCSR] & enabled)
        # Without a priority model any active exception is taken to be as urgent as the new one.
        if usable and not masked and self.active == 0:
            return self._enter(number)
        self._scs.values[scs.HFSR] |= _HFSR_FORCED
        return self._enter(HARD_FAULT)

    def _enter(self, number: int) -> int:
        if self.active in (_NMI, HARD_FAULT) or self._special & _FAULTMASK:
            raise Lockup("a fault within the HardFault handler")
        vector = self._memory.read(self._scs.values[scs.VTOR] + 4 * number, 4)
        handler = 0xFFFF_FFFF if vector is None else int.from_bytes(vector, "little")
        if self._memory.find(handler) is None or not handler & 1:
            self._scs.values[scs.HFSR] |= _HFSR_VECTTBL
            raise Lockup(f"vector {number} is {handler:#010x}, which is no code")
        code = self._push_frame()
        special = self._special & ~(_CONTROL_SPSEL | _CONTROL_FPCA)
        # Handlers run on the main stack: leave the process stack before the mode changes.
        self._cpu.write_register(_SPECIAL, special)
        xpsr = self._cpu.read_register(XPSR) & 0xF80F_0000
        self._cpu.write_register(XPSR, xpsr | XPSR_THUMB | number)
        self._cpu.write_register(LR, code)
        self._cpu.pc = handler
        return number

    def _push_frame(self) -> int:
        """Push the frame; return EXC_RETURN."""
        cpu, special = self._cpu, self._special
        extended = bool(special & _CONTROL_FPCA)
        thread = self.active == 0
        on_psp = thread and bool(special & _CONTROL_SPSEL)
        pointer = cpu.read_register(SP)
        xpsr = cpu.read_register(XPSR)
        if pointer & 4:
            pointer, xpsr = pointer - 4, xpsr | _XPSR_ALIGNED
        words = [cpu.read_register(n) for n in (0, 1, 2, 3, 12, LR)] + [cpu.pc, xpsr]
        if extended:
            words += [cpu.read_register(n) for n in (*_FP_REGISTERS, _FPSCR)] + [0]
        pointer -= 4 * len(words)
        content = struct.pack(f"<{len(words)}I", *words)
        if not self._memory.write_ram(pointer, content):
            # The stack pointer is adjusted all the same, and the frame may be wrong (Cortex-M7
            # Devices Generic User Guide, BFSR.STKERR); this fault is no more urgent than HardFault.
            forbidden = self._scs.mpu.forbids(pointer)
            self._scs.values[scs.CFSR] |= _MSTKERR if forbidden else _STKERR
        cpu.write_register(PSP if on_psp else MSP, pointer)
        return 0xFFFF_FFE1 | (0 if extended else 0x10) | (8 if thread else 0) | (4 if on_psp else 0)
