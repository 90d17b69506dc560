"""One module or folder per family of chips: which register blocks a chip has, and how they act.

A family's ``build`` puts its blocks together. What every chip has (the core's own blocks, what its
clock, flash and console are to the rest) is in `harness.virtual.chip.peripherals`, which knows no
family; `stm32` has what all STM32s share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from harness.errors import VirtualError
from harness.virtual.chip.bus import Peripheral

if TYPE_CHECKING:
    from harness.virtual.chip.connections import Connections
    from harness.virtual.chip.peripherals.clock import CoreClock
    from harness.virtual.chip.peripherals.console import ConsoleUart
    from harness.virtual.chip.peripherals.flash import FlashInterface
    from harness.virtual.chip.peripherals.nvic import Source
    from harness.virtual.chip.peripherals.scs import Scs


class AccessPort(Protocol):
    """A port of the debugger that is no way to memory, such as Nordic's control port."""

    def read(self, register: int) -> int:
        """Read a register by its offset."""

    def write(self, register: int, value: int) -> None:
        """Write a register by its offset."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The register blocks of a chip that its family builds."""

    scs: Scs
    flash: FlashInterface
    clock: CoreClock
    console: ConsoleUart
    others: tuple[Peripheral, ...]
    sources: tuple[Source, ...]  # what may interrupt the core, besides the console and SysTick
    uid: bytes  # unique id
    #: Part number and identity code of the maker in the chip's ROM table; None without one.
    rom_identity: tuple[int, tuple[int, int]] | None
    #: Whether each bit of a peripheral's register has a word of its own (Cortex-M4, optional).
    bit_band: bool = False
    #: Access ports of the debugger besides the one to memory, by number.
    access_ports: Mapping[int, AccessPort] = field(default_factory=dict)
    #: Whether the chip keeps the debugger from its memory and registers.
    locked: Callable[[], bool] = lambda: False


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
