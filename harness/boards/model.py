"""Facts of a board type: PlatformIO's manifest plus the harness's own object.

The facts come from the reference manuals (RM0385 for STM32F74x, RM0410 for STM32F76x/F77x, RM0390
for STM32F446, RM0432 for STM32L4+), the data sheets and UM1974 / UM1724 / UM2179 (user manuals of
the Nucleo boards). A board is passive: nothing here opens anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from harness.strict import Strict


def _parse_address(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return int(value, 0)
        except ValueError:
            raise ValueError('expected an address such as "0x08000000"') from None
    return value


Address = Annotated[int, BeforeValidator(_parse_address), Field(ge=0, le=0xFFFF_FFFF)]


class Region(Strict):
    """A range of addresses."""

    origin: Address  # first address
    bytes: PositiveInt

    @property
    def end(self) -> int:
        """First address after the region."""
        return self.origin + self.bytes


class ModelRegion(Region):
    """Part of the flash, in whole sectors, that holds a model when one firmware serves many."""


class MemoryRegion(Region):
    """One memory region as the core sees it."""

    name: str  # name in the reference manual (``FLASH``, ``DTCM``, ``SRAM1``)
    # ``flash`` (execute in place), ``ram`` (data, may hold the arena) or ``itcm`` (instruction RAM,
    # not used for data)
    kind: Literal["flash", "ram", "itcm"]
    alias_of: str | None = None  # name of the region that this one is a second address of


class FlashSectors(Strict):
    """A run of equal flash sectors, in address order."""

    count: PositiveInt  # how many
    bytes: PositiveInt  # size of each


class Pll(Strict):
    """Main PLL: ``source / m * n / p`` is the system clock (RM0385 5.3.2, RM0390 6.3.2).

    On STM32L4 the divider of the system clock is called R (RM0432, RCC_PLLCFGR); it is `p` here.
    """

    m: Annotated[int, Field(ge=1, le=63)]
    n: Annotated[int, Field(ge=8, le=432)]
    p: Literal[2, 4, 6, 8]
    q: Annotated[int, Field(ge=2, le=15)]


# Smallest and largest M and N of a family's PLL (RM0385 5.3.2, RM0390 6.3.2; RM0432 RCC_PLLCFGR).
_PLL_RANGES = {
    "stm32f4": ((2, 63), (50, 432)),
    "stm32f7": ((2, 63), (50, 432)),
    "stm32l4": ((1, 16), (8, 127)),
}


_MsiHertz = Literal[4_000_000, 8_000_000, 16_000_000, 24_000_000, 32_000_000, 48_000_000]


class Clock(Strict):
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
    sysclk_hz: PositiveInt  # core clock that results
    apb1_divider: Literal[1, 2, 4, 8, 16]  # APB1 prescaler
    apb2_divider: Literal[1, 2, 4, 8, 16]  # APB2 prescaler
    flash_wait_states: Annotated[int, Field(ge=0, le=15)]  # for `sysclk_hz` at 2.7–3.6 V
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


class Accelerator(Strict):
    """What the flash interface keeps of its reads, where the core has no cache of its own."""

    line_bytes: Literal[8, 16]  # width of one read of the flash
    code_lines: Annotated[int, Field(gt=0, le=128)]  # how many of these are kept for instructions
    data_lines: Annotated[int, Field(gt=0, le=32)]  # the same for data
    prefetch: bool  # whether the firmware switches on the prefetch of the next line of code


class Caches(Strict):
    """L1 caches of the core and the flash accelerator."""

    icache_bytes: NonNegativeInt  # size of the core's instruction cache (0: none)
    icache_ways: NonNegativeInt  # associativity
    dcache_bytes: NonNegativeInt  # size of the core's data cache (0: none)
    dcache_ways: NonNegativeInt  # associativity
    line_bytes: Literal[0, 32]  # cache line
    art: bool  # whether the flash interface has ST's ART accelerator
    accelerator: Accelerator | None = None  # what it keeps; only where code is fetched through it


class Core(Strict):
    """Processor core."""

    cpu: Literal["cortex-m4", "cortex-m7"]  # GCC's ``-mcpu`` name
    fpu: Literal["fpv4-sp-d16", "fpv5-sp-d16", "fpv5-d16"]  # GCC's ``-mfpu`` name
    float_abi: Literal["hard"] = "hard"  # GCC's ``-mfloat-abi``
    cpuid: Address  # value of SCB->CPUID


class Pin(Strict):
    """A GPIO pin: port letter, number and alternate function (data sheet, table of AFs)."""

    port: Literal["A", "B", "C", "D", "E", "F", "G", "H", "I"]
    pin: Annotated[int, Field(ge=0, le=15)]
    alternate: Annotated[int, Field(ge=0, le=15)]


class Console(Strict):
    """The UART that the debug probe offers as a virtual COM port."""

    peripheral: str  # name in the reference manual
    base: Address  # register base address
    bus: Literal["apb1", "apb2"]  # which APB clocks it
    # Its bit in RCC_APB1ENR / RCC_APB2ENR; from 32 on, in the register behind it.
    enable_bit: Annotated[int, Field(ge=0, le=63)]
    tx: Pin  # transmit pin
    rx: Pin  # receive pin
    baud: PositiveInt = 115200  # default rate
    max_baud: PositiveInt  # highest rate that the probe's bridge is specified for


class Chip(Strict):
    """Identification of the chip."""

    device_id: Address  # DBGMCU_IDCODE bits 11:0
    revision_id: Address  # DBGMCU_IDCODE bits 31:16 (of the revision that the virtual board has)
    uid_address: Address  # 96-bit unique device id
    flash_size_address: Address  # 16-bit flash size in KiB


class HarnessFacts(Strict):
    """The manifest's ``harness`` object: what PlatformIO does not know."""

    family: Literal["stm32f7", "stm32f4", "stm32l4"]  # folder below ``firmware_template/port``
    pyocd_target: str  # pyOCD's target name
    probe_board_ids: tuple[str, ...] = ()  # board ids that the on-board probe reports (mbed ids)
    core: Core
    clock: Clock
    caches: Caches
    memory: tuple[MemoryRegion, ...]
    flash_sectors: tuple[FlashSectors, ...]
    console: Console
    # ``dwt`` or, where writes need the software lock first, ``dwt-lock``.
    cycle_counter: Literal["dwt", "dwt-lock"]
    chip: Chip
    emulation: bool  # whether a virtual board exists for it
    model_region: ModelRegion | None = None

    @model_validator(mode="after")
    def _pll_is_the_familys(self) -> HarnessFacts:
        ranges = _PLL_RANGES[self.family]
        for pll in (self.clock.pll, self.clock.pll_hsi):
            for name, value, (low, high) in zip("mn", (pll.m, pll.n), ranges, strict=True):
                if not low <= value <= high:
                    raise ValueError(f"{self.family}: pll.{name} is {value}, not {low} to {high}")
        return self

    @model_validator(mode="after")
    def _memory_is_consistent(self) -> HarnessFacts:
        names = [region.name for region in self.memory]
        if len(set(names)) != len(names):
            raise ValueError("memory regions must have different names")
        for kind in ("flash", "ram"):
            if not any(r.kind == kind and r.alias_of is None for r in self.memory):
                raise ValueError(f"no memory region of kind '{kind}'")
        for region in self.memory:
            if region.alias_of is not None and region.alias_of not in names:
                raise ValueError(f"{region.name} is an alias of '{region.alias_of}', not declared")
        for low, high in pairwise(sorted(self.memory, key=lambda r: r.origin)):
            if low.end > high.origin:
                raise ValueError(f"memory regions {low.name} and {high.name} overlap")
        flash, total = self.flash, sum(run.count * run.bytes for run in self.flash_sectors)
        if total != flash.bytes:
            raise ValueError(
                f"flash_sectors add up to {total} bytes, {flash.name} has {flash.bytes}"
            )
        if place := self.model_region:
            edges = {flash.end, *(address for address, _ in self.sectors())}
            if place.origin == flash.origin or not {place.origin, place.end} <= edges:
                raise ValueError(
                    "model_region must begin and end where flash sectors do, after the first"
                )
        return self

    @property
    def flash(self) -> MemoryRegion:
        """The flash region that code is linked to."""
        return next(r for r in self.memory if r.kind == "flash" and r.alias_of is None)

    def sectors(self) -> Iterator[tuple[int, int]]:
        """Yield (address, bytes) of every flash sector in order."""
        address = self.flash.origin
        for run in self.flash_sectors:
            for _ in range(run.count):
                yield address, run.bytes
                address += run.bytes


class Board(Strict):
    """A board type."""

    id: str  # PlatformIO's board id (the manifest's file name)
    name: str  # name for people
    vendor: str  # maker of the board
    url: str  # product page
    mcu: str  # full part number of the microcontroller
    facts: HarnessFacts  # the ``harness`` object
    manifest: str  # path of the manifest that this was read from

    @property
    def family(self) -> str:
        """Port family, e.g. ``stm32f7``."""
        return self.facts.family

    @property
    def clock_hz(self) -> int:
        """Core clock at the board's maximum."""
        return self.facts.clock.sysclk_hz

    @property
    def flash(self) -> MemoryRegion:
        """The flash region that code is linked to."""
        return self.facts.flash

    @property
    def model_region(self) -> ModelRegion | None:
        """Where one firmware for many models looks for its model."""
        return self.facts.model_region

    @property
    def ram_regions(self) -> tuple[MemoryRegion, ...]:
        """Data RAM in address order."""
        found = (r for r in self.facts.memory if r.kind == "ram" and r.alias_of is None)
        return tuple(sorted(found, key=lambda r: r.origin))

    @property
    def ram_bytes(self) -> int:
        """Data RAM in all."""
        return sum(region.bytes for region in self.ram_regions)

    def sectors(self) -> Iterator[tuple[int, int]]:
        """Yield (address, bytes) of every flash sector in order."""
        return self.facts.sectors()
