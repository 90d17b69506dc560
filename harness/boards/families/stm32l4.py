"""Facts of boards with an STM32L4+."""

from __future__ import annotations

from typing import Literal

from harness.boards.stm32 import Stm32Facts


class Facts(Stm32Facts):
    """The ``harness`` object of such a board."""

    pll_ranges = (1, 16), (8, 127)  # RM0432 RCC_PLLCFGR
    boot_roms = ((0x1FFF_0000, 0x1FFF_8000),)  # RM0432 2.6

    family: Literal["stm32l4"]
