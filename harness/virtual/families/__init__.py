"""One module or folder per family of chips: which register blocks a chip has, and how they act.

A family's ``build`` puts its blocks together. What several families share (GPIO ports, timer, the
core's own blocks) is in `harness.virtual.peripherals`; nothing there knows a family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from harness.errors import VirtualError
from harness.virtual.bus import Peripheral

if TYPE_CHECKING:
    from harness.boards import Board
    from harness.virtual import native
    from harness.virtual.console import Console
    from harness.virtual.counting import BlockCounter
    from harness.virtual.memory import MemoryMap
    from harness.virtual.peripherals.clocks import ResetCause
    from harness.virtual.peripherals.gpio import Pins


class Clocks(Protocol):
    """What others need of a clock controller.

    Attributes:
        on_change: Called before any clock changes.
        drift: True frequency of the reference clock over the nominal one; other than 1 is a fault.
        hse_works: Whether the reference clock starts; False is a fault.
    """

    on_change: Callable[[], None]
    drift: float
    hse_works: bool

    @property
    def bus_enables(self) -> Mapping[str, int]:
        """Offset of the register with the enable bits of ``apb1`` and ``apb2``."""
        ...

    @property
    def hclk_hz(self) -> int:
        """Core clock."""
        ...

    def apb_hz(self, bus: str) -> int:
        """Clock of ``apb1`` or ``apb2``."""
        ...

    def usart_hz(self, number: int, bus: str) -> int | None:
        """Return the clock of UART `number`; None when it is one that is not modelled."""
        ...

    def enabled(self, offset: int, bit: int) -> bool:
        """Return whether the enable bit of the register at `offset` is set."""
        ...

    def note(self, cause: ResetCause) -> None:
        """Set reset flags."""
        ...


class Flash(Protocol):
    """What others need of a flash interface.

    Attributes:
        invalidate: Called before code in [start, end) changes.
        after_erase: Faults: called with (sector or None, first offset) of what was erased.
        after_programming: Faults: called with the range that may have been programmed.
        state: Words of the compiled callbacks.
    """

    invalidate: Callable[[int, int], None]
    after_erase: Callable[[int | None, int], None] | None
    after_programming: Callable[[int, int], bool] | None
    state: Any

    @property
    def page(self) -> native.Page:
        """The compiled callbacks of its register page."""
        ...

    def program(self, offset: int, size: int, value: int) -> bool:
        """Take a store to the array by the core."""
        ...

    def program_now(self, offset: int, size: int, value: int) -> bool:
        """Take a store to the array by the debugger."""
        ...


class ConsolePort(Protocol):
    """What others need of the console's UART."""

    @property
    def page(self) -> native.Page:
        """The compiled callbacks of its register page."""
        ...

    def slow_down(self) -> None:
        """Send the next access through the checks."""
        ...


@dataclass(frozen=True, slots=True)
class Blocks:
    """The register blocks of a chip that are its family's own.

    Attributes:
        flash: Flash interface.
        rcc: Clock and reset controller.
        pins: GPIO ports.
        usart: The console.
        peripherals: All of them, and what nobody else needs to know.
        interrupts: How many the chip has (vector table).
        boot_address: Where the vectors are read at reset.
        freeze_registers: Registers of DBGMCU behind CR, by offset.
    """

    flash: Flash
    rcc: Clocks
    pins: Pins
    usart: ConsolePort
    peripherals: tuple[Peripheral, ...]
    interrupts: int
    boot_address: int = 0
    freeze_registers: tuple[tuple[int, str], ...] = field(
        default=((0x8, "APB1_FZ"), (0xC, "APB2_FZ"))
    )


def build(board: Board, memory: MemoryMap, console: Console, counter: BlockCounter) -> Blocks:
    """Put the blocks of a board's chip together.

    Raises:
        VirtualError: The family is not emulated.
    """
    name = f"{__name__}.{board.family}"
    if find_spec(name) is None:
        raise VirtualError(
            f"the family '{board.family}' cannot be emulated",
            where=board.manifest,
            expected="a module of that name in harness/virtual/families",
            family=board.family,
        )
    found: Blocks = import_module(name).build(board, memory, console, counter)
    return found
