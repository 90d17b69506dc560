"""Memory protection unit: what its regions forbid (ARMv7-M ARM B3.5).

Reading and writing can be forbidden only where the chip has no memory, as those accesses leave the
emulator: a guard below the stack is one. Execution can be forbidden in a whole memory. A region
that would forbid more than that is set up with a warning.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.boards import MemoryRegion

REGIONS = 8
_ENABLE, _XN = 1, 1 << 28
_VALID, _ADDRESS = 1 << 4, 0xFFFF_FFE0
_ATTRIBUTES = 0x173F_FF3F
_FULL_ACCESS = (1, 2, 3)  # AP values that let privileged code read and write; all of ours is


class Mpu:
    """Regions of one core's MPU."""

    def __init__(self, memory: Sequence[MemoryRegion]) -> None:
        self._memory = memory
        #: RBAR and RASR of each region.
        self.regions = [[0, 0] for _ in range(REGIONS)]
        #: MPU_CTRL.ENABLE.
        self.enabled = False

    def set_base(self, number: int, value: int) -> int:
        """Write RBAR; return the number of the region that is selected then."""
        if value & _VALID:
            number = value & (REGIONS - 1)
        self.regions[number][0] = value & _ADDRESS
        return number

    def set_attributes(self, number: int, value: int) -> None:
        """Write RASR."""
        self.regions[number][1] = value & _ATTRIBUTES

    def lets_pass(self) -> int | None:
        """Return the number of a region that would forbid what the model does not, or None."""
        for number in range(REGIONS) if self.enabled else ():
            attributes = self.regions[number][1]
            low, high = self._range(number)
            touched = [m for m in self._memory if m.origin < high and low < m.end]
            if not attributes & _ENABLE or not touched:
                continue
            covered = all(self._covers(number, m) for m in touched)
            if not _allows(attributes) or (attributes & _XN and not covered):
                return number
        return None

    def executable(self, memory: MemoryRegion) -> bool:
        """Return whether code may be executed from a memory."""
        for number in reversed(range(REGIONS) if self.enabled else ()):
            if self.regions[number][1] & _ENABLE and self._covers(number, memory):
                return not self.regions[number][1] & _XN
        return True

    def _covers(self, number: int, memory: MemoryRegion) -> bool:
        low, high = self._range(number)
        return low <= memory.origin and memory.end <= high and not self.regions[number][1] & 0xFF00

    def forbids(self, address: int) -> bool:
        """Return whether privileged code may not read or write at `address`."""
        if not self.enabled:
            return False
        for number in reversed(range(REGIONS)):  # the highest that matches decides
            low, high = self._range(number)
            attributes = self.regions[number][1]
            if not attributes & _ENABLE or not low <= address < high:
                continue
            size = attributes >> 1 & 0x1F
            part = (address - low) >> (size - 2) if size >= 7 else 0  # eighths, from 256 bytes on
            if attributes >> 8 + part & 1:
                continue
            return not _allows(attributes)
        return False

    def _range(self, number: int) -> tuple[int, int]:
        base, attributes = self.regions[number]
        size = 1 << (attributes >> 1 & 0x1F) + 1
        base &= ~(size - 1)
        return base, base + size


def _allows(attributes: int) -> bool:
    return attributes >> 24 & 7 in _FULL_ACCESS
