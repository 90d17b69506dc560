"""Facts that boards with an STM32 have: clock tree with a PLL, pins of the console, DBGMCU.

Sources: the reference manuals (RM0385 for STM32F74x, RM0410 for STM32F76x/F77x, RM0390 for
STM32F446, RM0432 for STM32L4+, RM0433 for STM32H743), the data sheets and UM1974 / UM1724 /
UM2179 / UM2407 (user manuals of the Nucleo boards).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from harness.boards import model
from harness.boards.model import Address, Board, FlashOption, HarnessFacts
from harness.strict import Strict

# An LPUART divides 256 times its clock (RM0432, LPUART baud rate generation), within these limits.
_LPUART_SCALE = 256
_LPUART_DIVIDERS = (0x300, 0xF_FFFF)
_USART_DIVIDERS = (16, 0xFFFF)

# Chips whose sectors depend on an option bit, by device id (RM0410 3.7.6; RM0432, FLASH_OPTR).
_BANK_MODES = {
    0x451: FlashOption(0x4002_3C14, 1 << 29, "nDBANK", "single-bank"),
    0x470: FlashOption(0x4002_2020, 1 << 22, "DBANK", "dual-bank"),
}


class Pll(Strict):
    """Main PLL: ``source / m * n / p`` is the system clock (RM0385 5.3.2, RM0390 6.3.2).

    On STM32L4 the divider of the system clock is called R (RM0432, RCC_PLLCFGR); it is `p` here.
    """

    m: Annotated[int, Field(ge=1, le=63)]
    n: Annotated[int, Field(ge=8, le=432)]
    p: Literal[2, 4, 6, 8]
    q: Annotated[int, Field(ge=2, le=15)]


_MsiHertz = Literal[4_000_000, 8_000_000, 16_000_000, 24_000_000, 32_000_000, 48_000_000]


class Clock(model.Clock):
    """Clock tree at the board's maximum."""

    # External clock at OSC_IN; on most Nucleo boards the ST-LINK's 8 MHz MCO.
    hse_hz: PositiveInt | None = None
    hse_bypass: bool = False  # True when OSC_IN is driven by a clock, not a crystal
    # Instead of `hse_hz`: the STM32L4's internal oscillator, locked to the board's crystal of
    # 32.768 kHz.
    msi_hz: _MsiHertz | None = None
    hsi_hz: PositiveInt  # internal oscillator, the fallback
    pll: Pll  # PLL factors for the reference clock (`hse_hz` or `msi_hz`)
    pll_hsi: Pll  # PLL factors for the fallback to HSI
    apb1_divider: Literal[1, 2, 4, 8, 16]  # APB1 prescaler
    apb2_divider: Literal[1, 2, 4, 8, 16]  # APB2 prescaler
    overdrive: bool  # whether PWR over-drive (STM32L4+: boost) is needed for `sysclk_hz`
    voltage_scale: Literal[1, 2, 3]  # regulator voltage scale (1 is the fastest)

    @model_validator(mode="after")
    def _pll_reaches_sysclk(self) -> Clock:
        if (self.hse_hz is None) == (self.msi_hz is None):
            raise ValueError("one of hse_hz and msi_hz is the reference clock, and not both")
        for source, pll in ((self.reference_hz, self.pll), (self.hsi_hz, self.pll_hsi)):
            result = source * pll.n // (pll.m * pll.p)
            if result != self.sysclk_hz:
                raise ValueError(
                    f"{source} Hz / {pll.m} * {pll.n} / {pll.p} is {result} Hz, "
                    f"but sysclk_hz says {self.sysclk_hz}"
                )
        return self

    @property
    def reference(self) -> str:
        """``hse``, or ``lse`` where the MSI is locked to the crystal of 32.768 kHz."""
        return "hse" if self.hse_hz else "lse"

    @property
    def reference_hz(self) -> int:
        """Clock that the PLL runs from unless it fails."""
        return self.hse_hz or self.msi_hz or 0

    @property
    def apb1_hz(self) -> int:
        """APB1 peripheral clock."""
        return self.sysclk_hz // self.apb1_divider

    @property
    def apb2_hz(self) -> int:
        """APB2 peripheral clock."""
        return self.sysclk_hz // self.apb2_divider


class Pin(Strict):
    """A GPIO pin: port letter, number and alternate function (data sheet, table of AFs)."""

    port: Literal["A", "B", "C", "D", "E", "F", "G", "H", "I"]
    pin: Annotated[int, Field(ge=0, le=15)]
    alternate: Annotated[int, Field(ge=0, le=15)]


class Console(model.Console):
    """The UART that the debug probe offers as a virtual COM port."""

    bus: Literal["apb1", "apb2"]  # which APB clocks it
    # Its bit in RCC_APB1ENR / RCC_APB2ENR; from 32 on, in the register behind it.
    enable_bit: Annotated[int, Field(ge=0, le=63)]
    tx: Pin  # transmit pin
    rx: Pin  # receive pin

    @property
    def scale(self) -> int:
        """How many times its clock the baud rate is divided from."""
        return _LPUART_SCALE if self.peripheral.startswith("LPUART") else 1

    @property
    def dividers(self) -> tuple[int, int]:
        """Least and greatest divider."""
        return _USART_DIVIDERS if self.scale == 1 else _LPUART_DIVIDERS


class Chip(model.Chip):
    """Identification of the chip: DBGMCU_IDCODE (RM0385 40.6.1, RM0410 45.6.1, RM0390 33.6.1)."""

    id_address: ClassVar[int] = 0xE004_2000
    id_mask: ClassVar[int] = 0xFFF

    revision_id: Address  # DBGMCU_IDCODE bits 31:16 (of the revision that the virtual board has)

    def revision(self, id_word: int) -> int:
        """Return DBGMCU_IDCODE bits 31:16."""
        return id_word >> 16

    @property
    def expected_revision(self) -> int:
        """Revision of the virtual board's chip."""
        return self.revision_id


class Stm32Facts(HarnessFacts):
    """The ``harness`` object of a board with an STM32."""

    # Boot loader, one-time programmable area, option bytes (RM0385 and RM0390 chapter 2).
    system_memory = ((0x1FF0_0000, 0x1FFF_D000), (0x0010_0000, 0x0020_0000))

    #: Smallest and largest M and N of the family's PLL.
    pll_ranges: ClassVar[tuple[tuple[int, int], tuple[int, int]]]

    clock: Clock
    console: Console
    chip: Chip

    @model_validator(mode="after")
    def _pll_is_the_familys(self) -> Stm32Facts:
        for pll in (self.clock.pll, self.clock.pll_hsi):
            for name, value, (low, high) in zip("mn", (pll.m, pll.n), self.pll_ranges, strict=True):
                if not low <= value <= high:
                    raise ValueError(f"{self.family}: pll.{name} is {value}, not {low} to {high}")
        return self

    @property
    def flash_option(self) -> FlashOption | None:
        """The bank mode that the sectors are for; None where there is no choice."""
        return _BANK_MODES.get(self.chip.device_id)

    @property
    def console_hz(self) -> int:
        """Clock of the console's UART."""
        return self.clock.apb1_hz if self.console.bus == "apb1" else self.clock.apb2_hz

    @property
    def timer_hz(self) -> int:
        """Clock of TIM2: twice that of APB1, unless it is undivided (RM0385 5.2, TIMPRE = 0)."""
        return self.clock.apb1_hz * (1 if self.clock.apb1_divider == 1 else 2)

    @property
    def most_baud(self) -> int:
        """Highest rate that the console's UART can be asked for."""
        return self.console.scale * self.console_hz // self.console.dividers[0]

    def baud(self, wanted: int) -> int | None:
        """Return the rate that the divider for `wanted` gives; None if there is no such divider."""
        scaled, (least, most) = self.console.scale * self.console_hz, self.console.dividers
        divider = (scaled + wanted // 2) // wanted
        return scaled // divider if least <= divider <= most else None

    def defines(self) -> Iterator[tuple[str, str | int]]:
        """Yield what the STM32 ports need to know."""
        clock, console = self.clock, self.console
        yield "HSI_HZ", clock.hsi_hz
        yield "HSE_BYPASS", clock.hse_bypass
        yield "MSI_HZ", clock.msi_hz or 0
        yield "APB1_HZ", clock.apb1_hz
        yield "APB2_HZ", clock.apb2_hz
        for name, pll in (("PLL", clock.pll), ("PLL_HSI", clock.pll_hsi)):
            for letter, value in (("M", pll.m), ("N", pll.n), ("P", pll.p), ("Q", pll.q)):
                yield f"{name}_{letter}", value
        yield "APB1_DIVIDER", clock.apb1_divider
        yield "APB2_DIVIDER", clock.apb2_divider
        yield "OVERDRIVE", clock.overdrive
        yield "VOLTAGE_SCALE", clock.voltage_scale
        yield "CONSOLE_APB", 1 if console.bus == "apb1" else 2
        yield "CONSOLE_ENABLE_BIT", console.enable_bit
        yield "CONSOLE_SCALE", console.scale
        for name, pin in (("TX", console.tx), ("RX", console.rx)):
            yield f"{name}_PORT", ord(pin.port) - ord("A")
            yield f"{name}_PIN", pin.pin
            yield f"{name}_AF", pin.alternate


def stm32_facts(board: Board) -> Stm32Facts:
    """Return the facts of a board that has an STM32; TypeError for another."""
    if not isinstance(board.facts, Stm32Facts):
        raise TypeError(f"{board.id} has no STM32")
    return board.facts
