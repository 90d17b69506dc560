"""Notice firmware that polls a register for what will never come, and say so.

On a chip it would hang; where nothing tells why, the next reader of the log loses a day.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.errors import VirtualError
from harness.virtual.chip.connections import Connections
from harness.virtual.core.locate import tested_bits

if TYPE_CHECKING:
    from harness.virtual.chip.chip import Chip
    from harness.virtual.core.cpu import Cpu

_LOG = logging.getLogger(__name__)
_READS = 1 << 12  # between two looks


class Polling:
    """Reads of one register that give the same value, one after the other."""

    def __init__(self, to: Connections, chip: Chip, cpu: Callable[[], Cpu]) -> None:
        self._name = to.board.id
        self._counter = to.counter
        self._memory = to.memory
        self._chip = chip
        self._cpu = cpu
        self._console = chip.console
        self._address, self._value, self._count = -1, 0, 0
        self._since = 0
        self._registers: list[int] = []
        self._told: set[int] = set()

    def forget(self) -> None:
        """Note that something else happened."""
        self._address = -1

    def read(self, address: int, value: int) -> None:
        """Note a read by the core.

        Raises:
            VirtualError: It will read the same for ever, and nothing can interrupt it.
        """
        if address != self._address or value != self._value:
            self._address, self._value, self._count = address, value, 0
            return
        self._count += 1
        if (
            self._count % _READS or self._chip.bus.by_block.get(address >> 10) is self._console
        ):  # a wait for the host is none
            return
        now, registers = self._counter.elapsed(), [self._cpu().registers[n] for n in range(15)]
        if self._count == _READS:
            self._since, self._registers = now, registers
            return
        sources, second = self._chip.sources, self._chip.clock.hclk_hz
        interrupted = self._chip.scs.nvic.pending or any(source.armed for source in sources)
        endless = registers == self._registers and not interrupted
        if endless and not any(source.running for source in sources):
            self._counter.let_pass(max(0, self._since + second - now))
        elif now - self._since < second:
            return
        error = self._describe(address, value)
        if endless:
            raise error
        if address not in self._told:
            self._told.add(address)
            _, place = self._cpu().locate(address, write=False)
            _LOG.warning("%s: %s (%s)", self._name, error.what, place)

    def _describe(self, address: int, value: int) -> VirtualError:
        pc, _ = self._cpu().locate(address, write=False)
        address = self._chip.bus.plain(address)
        block = self._chip.bus.by_block[address >> 10]
        found = block.registers.get((address & ~3) - block.base)
        name = f"{block.name}_{found.name}" if found is not None else block.name
        bits = tested_bits(self._memory.read(pc, 32) or b"", pc)
        which = f", bit {' or '.join(map(str, bits))}," if bits else ""
        return VirtualError(
            f"the firmware has polled {name} ({address:#010x}){which} for a second of virtual "
            f"time; it stays {value:#010x}",
            expected="a register that will change, or an interrupt that can come",
            fix="look up the PC in the firmware's map; on the chip it may hang as well",
            address=address,
        )
