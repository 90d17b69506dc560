"""Facts of boards with an STM32H74x or STM32H75x (RM0433, DS12110)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from harness.boards import stm32
from harness.boards.model import Address


class Clock(stm32.Clock):
    """Clock tree at the board's maximum: buses and flash run at a part of the core's clock.

    `overdrive` with `voltage_scale` 1 is VOS0: the LDO with SYSCFG_PWRCR.ODEN (RM0433, PWR).
    """

    ahb_divider: Literal[1, 2, 4]  # HPRE: from the core's clock to AXI, AHB and flash

    @property
    def bus_divider(self) -> int:
        """Cycles of the core in one of AXI."""
        return self.ahb_divider

    @property
    def ahb_hz(self) -> int:
        """Clock of AXI, AHB and flash."""
        return self.sysclk_hz // self.ahb_divider

    @property
    def apb1_hz(self) -> int:
        """APB1 peripheral clock."""
        return self.ahb_hz // self.apb1_divider

    @property
    def apb2_hz(self) -> int:
        """APB2 peripheral clock."""
        return self.ahb_hz // self.apb2_divider


class Chip(stm32.Chip):
    """Identification of the chip."""

    id_address: ClassVar[int] = 0x5C00_1000  # DBGMCU as the core and its debug port see it

    revision_id: Address


class Facts(stm32.Stm32Facts):
    """The ``harness`` object of such a board."""

    pll_ranges = (1, 63), (4, 512)  # RM0433 RCC_PLLCKSELR, RCC_PLL1DIVR
    boot_roms = ((0x1FF0_0000, 0x1FF2_0000),)  # RM0433 2.3.2: system memory of bank 1

    family: Literal["stm32h7"]
    clock: Clock
    chip: Chip

    @property
    def least_revision(self) -> int | None:
        """First revision with VOS0: after Y, 0x1003 (DS12110; ST's HAL, `REV_ID_Y`)."""
        return 0x2000 if self.clock.overdrive else None

    def defines(self) -> Iterator[tuple[str, str | int]]:
        """Yield what the port needs to know."""
        yield from super().defines()
        yield "AHB_DIVIDER", self.clock.ahb_divider
        yield "LEAST_REVISION", self.least_revision or 0
