"""Facts of boards with an STM32F4."""

from __future__ import annotations

from typing import Literal

from harness.boards.stm32 import Stm32Facts


class Facts(Stm32Facts):
    """The ``harness`` object of such a board."""

    pll_ranges = (2, 63), (50, 432)  # RM0390 6.3.2
    boot_roms = ((0x1FFF_0000, 0x1FFF_8000),)  # RM0390 table 3

    family: Literal["stm32f4"]
