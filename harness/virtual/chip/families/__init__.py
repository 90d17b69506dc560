"""One module or folder per family of chips: which register blocks a chip has, and how they act.

A family's ``build`` puts its blocks together. What several families share (GPIO ports, timer, the
core's own blocks) is in `harness.virtual.chip.peripherals`; nothing there knows a family.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from harness.errors import VirtualError
from harness.virtual.chip.bus import Peripheral

if TYPE_CHECKING:
    from harness.virtual.chip.connections import Connections
    from harness.virtual.chip.peripherals.clocks import ClockController
    from harness.virtual.chip.peripherals.flash import FlashInterface
    from harness.virtual.chip.peripherals.gpio import Pins
    from harness.virtual.chip.peripherals.usart import Usart


@dataclass(frozen=True, slots=True)
class Blocks:
    """The register blocks of a chip that are its family's own."""

    flash: FlashInterface
    rcc: ClockController
    pins: Pins
    usart: Usart  # the console
    others: tuple[Peripheral, ...]
    interrupts: int  # how many the chip has (vector table)
    boot_address: int = 0  # where the vectors are read at reset
    #: Registers of DBGMCU behind CR, by offset.
    freeze_registers: tuple[tuple[int, str], ...] = ((0x8, "APB1_FZ"), (0xC, "APB2_FZ"))


def build(to: Connections) -> Blocks:
    """Put the blocks of a board's chip together.

    Raises:
        VirtualError: The family is not emulated.
    """
    family = to.board.family
    if find_spec(f"{__name__}.{family}") is None:
        raise VirtualError(
            f"the family '{family}' cannot be emulated",
            where=to.board.manifest,
            expected="a module of that name in harness/virtual/chip/families",
            family=family,
        )
    found: Blocks = import_module(f"{__name__}.{family}").build(to)
    return found
