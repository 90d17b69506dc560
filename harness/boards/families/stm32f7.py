"""Facts of boards with an STM32F7."""

from __future__ import annotations

from typing import Literal

from harness.boards.stm32 import Stm32Facts


class Facts(Stm32Facts):
    """The ``harness`` object of such a board."""

    pll_ranges = (2, 63), (50, 432)  # RM0385 5.3.2
    boot_roms = ((0x1FF0_0000, 0x1FF0_F000), (0x0010_0000, 0x0010_F000))  # RM0385 2.2.2

    family: Literal["stm32f7"]
