"""The debug port and the memory access port behind a probe.

ARM Debug Interface Architecture v5.2: DP (B2), MEM-AP (C2).
"""

from __future__ import annotations

from harness.virtual.machine import VirtualMachine

_DP_IDR, _DP_CTRL_STAT = 0x0, 0x4
_POWER_REQUESTS = 0x5000_0000  # CSYSPWRUPREQ, CDBGPWRUPREQ; the acknowledges are one bit above
_DPIDR = {"cortex-m7": 0x5BA0_2477, "cortex-m4": 0x2BA0_1477}

CSW, TAR, DRW, BD0, _BASE, _IDR = 0x00, 0x04, 0x0C, 0x10, 0xF8, 0xFC
_AP_IDR = {"cortex-m7": 0x7477_0001, "cortex-m4": 0x2477_0011}
_CSW_RESET, _CSW_DEVICE_ENABLED, _CSW_WRITABLE = 0x2300_0002, 1 << 6, 0x7300_0037
_INCREMENT_SINGLE = 0x10
_INCREMENT_LIMIT = 0x3FF  # the increment wraps within 1 KiB
_BASE_PRESENT = 0x3


class DebugAccess:
    """DP registers, AP 0 and the chip's own access ports; registers of any other read as zero."""

    def __init__(self, machine: VirtualMachine) -> None:
        self.machine = machine
        self._cpu = machine.board.facts.core.cpu
        self._control = 0
        self._csw = _CSW_RESET
        self._tar = 0

    # DP.

    def read_dp(self, address: int) -> int:
        """Read a DP register."""
        if address == _DP_IDR:
            return _DPIDR[self._cpu]
        if address == _DP_CTRL_STAT:
            return self._control | (self._control & _POWER_REQUESTS) << 1
        return 0

    def write_dp(self, address: int, value: int) -> None:
        """Write a DP register; accesses name their AP, so SELECT needs no memory."""
        if address == _DP_CTRL_STAT:
            self._control = value & 0x5000_0FDD

    # AP.

    def read_ap(self, address: int) -> int:
        """Read an AP register; the address carries APSEL in bits 31:24."""
        register = address & 0xFF
        if address >> 24:
            other = self.machine.chip.access_ports.get(address >> 24)
            return 0 if other is None else other.read(register)
        if register == DRW:
            size = 1 << (self._csw & 7)
            value = int.from_bytes(self.machine.debugger.read(self._tar, size), "little")
            value <<= 8 * (self._tar & 3)
            self._advance(size)
            return value
        if register & 0xF0 == BD0:
            word = self.machine.debugger.read(self._tar & ~0xF | register & 0xC, 4)
            return int.from_bytes(word, "little")
        return {
            CSW: self._csw | _CSW_DEVICE_ENABLED,
            TAR: self._tar,
            _BASE: self.machine.chip.rom_address | _BASE_PRESENT,
            _IDR: _AP_IDR[self._cpu],
        }.get(register, 0)

    def write_ap(self, address: int, value: int) -> None:
        """Write an AP register."""
        register = address & 0xFF
        if address >> 24:
            other = self.machine.chip.access_ports.get(address >> 24)
            if other is not None:
                other.write(register, value)
            return
        if register == CSW:
            self._csw = value & _CSW_WRITABLE
        elif register == TAR:
            self._tar = value
        elif register == DRW:
            size = 1 << (self._csw & 7)
            lane = value >> 8 * (self._tar & 3) & ((1 << 8 * size) - 1)
            self.machine.debugger.write(self._tar, lane.to_bytes(size, "little"))
            self._advance(size)
        elif register & 0xF0 == BD0:
            address = self._tar & ~0xF | register & 0xC
            self.machine.debugger.write(address, value.to_bytes(4, "little"))

    def _advance(self, size: int) -> None:
        if self._csw & 0x30 == _INCREMENT_SINGLE:
            low = (self._tar + size) & _INCREMENT_LIMIT
            self._tar = self._tar & ~_INCREMENT_LIMIT | low
