"""Facts of boards with an nRF52 (nRF52840 Product Specification v1.7; Nordic's nrf52840.h).

The core always runs at 64 MHz. Its reference is the crystal oscillator (HFXO) once the firmware has
started that, and until then the internal oscillator (HFINT).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from harness.boards import model
from harness.boards.model import HarnessFacts
from harness.strict import Strict

# BAUDRATE has a value for each of these and for nothing else: that value, and the rate that it
# really is (as nrf52840_bitfields.h has them).
RATES = {
    1200: (0x0004_F000, 1205), 2400: (0x0009_D000, 2396), 4800: (0x0013_B000, 4808),
    9600: (0x0027_5000, 9598), 14400: (0x003A_F000, 14401), 19200: (0x004E_A000, 19208),
    28800: (0x0075_C000, 28777), 31250: (0x0080_0000, 31250), 38400: (0x009D_0000, 38369),
    56000: (0x00E5_0000, 55944), 57600: (0x00EB_0000, 57554), 76800: (0x013A_9000, 76923),
    115200: (0x01D6_0000, 115108), 230400: (0x03B0_0000, 231884), 250000: (0x0400_0000, 250000),
    460800: (0x0740_0000, 457143), 921600: (0x0F00_0000, 941176),
    1_000_000: (0x1000_0000, 1_000_000),
}  # fmt: skip
_TIMER_HZ = 16_000_000  # PCLK16M, which TIMER divides


class Clock(model.Clock):
    """Clocks; nothing about them can be chosen but whether the crystal's oscillator runs."""

    hfxo_hz: Literal[32_000_000]  # crystal of the high-frequency oscillator
    sysclk_hz: Literal[64_000_000]  # core clock

    @property
    def reference(self) -> str:
        """``hfxo``; without the crystal the firmware says ``hfint``."""
        return "hfxo"


class Pin(Strict):
    """A GPIO pin: port and number, such as 0 and 6 for P0.06."""

    port: Literal[0, 1]
    pin: Annotated[int, Field(ge=0, le=31)]

    @property
    def select(self) -> int:
        """Value of a PSEL register."""
        return self.port << 5 | self.pin


class Console(model.Console):
    """The UART that the debug probe offers as a virtual COM port."""

    tx: Pin  # transmit pin
    rx: Pin  # receive pin


class Chip(model.Chip):
    """Identification of the chip: FICR.INFO.PART, DEVICEID and INFO.FLASH."""

    id_address: ClassVar[int] = 0x1000_0100
    id_mask: ClassVar[int] = 0xFFFFF
    uid_words: ClassVar[int] = 2


class Facts(HarnessFacts):
    """The ``harness`` object of such a board."""

    # FICR and UICR, code RAM, and what QSPI maps.
    system_memory = (
        (0x1000_0000, 0x1000_2000), (0x0080_0000, 0x0084_0000), (0x1200_0000, 0x1A00_0000),
    )  # fmt: skip

    family: Literal["nrf52"]
    clock: Clock
    console: Console
    chip: Chip

    @model_validator(mode="after")
    def _rates_exist(self) -> Facts:
        for name, baud in (("baud", self.console.baud), ("fast_baud", self.console.fast_baud)):
            if baud not in RATES:
                raise ValueError(
                    f"console.{name} is {baud}; UARTE has {', '.join(map(str, RATES))} only"
                )
        return self

    @property
    def timer_hz(self) -> int:
        """Clock of TIMER0."""
        return _TIMER_HZ

    @property
    def most_baud(self) -> int:
        """Highest rate that UARTE has."""
        return max(RATES)

    def baud(self, wanted: int) -> int | None:
        """Return what the rate `wanted` really is; None where UARTE has no such rate."""
        return RATES[wanted][1] if wanted in RATES else None

    def defines(self) -> Iterator[tuple[str, str | int]]:
        """Yield what the port needs to know."""
        yield "TX_PSEL", self.console.tx.select
        yield "RX_PSEL", self.console.rx.select
        rates = ", ".join(f"{{{baud}u, 0x{value:08X}u}}" for baud, (value, _) in RATES.items())
        yield "BAUD_RATES", rates
