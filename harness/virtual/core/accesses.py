"""The core's accesses to registers and flash, from within the emulator."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from harness.boards import Board
from harness.errors import HarnessError, VirtualError
from harness.virtual.chip.bus import BusFault, Master
from harness.virtual.chip.chip import Chip
from harness.virtual.chip.connections import Connections
from harness.virtual.core.polling import Polling

if TYPE_CHECKING:
    from harness.virtual.core.run import Core

_LOG = logging.getLogger(__name__)

# Where the architecture puts registers (ARMv7-M ARM table B3-1): what the chip has there and the
# model has not is an error of the model, not a fault of the firmware. The same goes for the chip's
# system memory. Elsewhere the chips have nothing: a stack that overflows faults there.
_REGISTERS = ((0x4000_0000, 0x6000_0000), (0xA000_0000, 0x1_0000_0000))


def may_exist(board: Board, address: int) -> bool:
    """Return whether a board's chip may have something at `address` that the model lacks."""
    ranges = (*_REGISTERS, *board.facts.system_memory)
    return any(low <= address < high for low, high in ranges)


class CoreAccesses:
    """The core's register accesses. Errors stop the core instead of being raised."""

    def __init__(self, to: Connections, chip: Chip, core: Core) -> None:
        self._name = to.board.id
        self._memory = to.memory
        self._bus = chip.bus
        self._flash = chip.flash
        self._core = core
        self._polling = Polling(to, chip, lambda: core.cpu)
        #: Set while the rest of a block that an error stopped runs: it must have no effect.
        self.blocked = False

    def read(self, address: int, size: int) -> int:
        """Read a register for the core."""
        if self.blocked:
            return 0
        try:
            value = self._bus.read(address, size, Master.CORE)
            self._polling.read(address, value)
            return value
        except Exception as error:
            self._fail(error, address, write=False)
        return 0

    def write(self, address: int, size: int, value: int) -> None:
        """Write a register for the core."""
        if self.blocked:
            return
        self._polling.forget()
        try:
            self._bus.write(address, size, value & ((1 << 8 * size) - 1), Master.CORE)
        except Exception as error:
            self._fail(error, address, write=True)

    def store_flash(self, address: int, size: int, value: int) -> bool:
        """Take a store to flash for the core; False makes it fault."""
        found = self._memory.find(address)
        if self.blocked or found is None:
            return False
        return self._flash.program(found[1], size, value)

    def _fail(self, error: Exception, address: int, *, write: bool) -> None:
        pc, place = self._core.cpu.locate(address, write=write)
        place = f"{self._name}, {place}"
        if isinstance(error, BusFault):
            error = VirtualError(
                f"access to {address:#010x}: {error}", expected="the unlock keys in order"
            )
        elif not isinstance(error, HarnessError):
            _LOG.error("bug in the virtual board at %s", place, exc_info=error)
            error = VirtualError(f"bug in the virtual board: {error!r}")
        error.where = place + (f", {error.where}" if error.where else "")
        error.data.update(pc=pc, address=address)
        self.blocked = True
        self._core.stop_on(error)
