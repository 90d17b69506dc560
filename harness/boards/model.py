"""Facts of a board type: PlatformIO's manifest plus the harness's own object.

What all chips have is here; what a family of chips has of its own (clock tree, wiring of the
console, identification) is in `harness.boards.families`. A board is passive: nothing here opens
anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    SerializeAsAny,
    model_validator,
)

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
    # ``flash`` (execute in place), ``ram`` (data, may hold the arena), ``itcm`` (instruction RAM,
    # not used for data) or ``spare`` (RAM that the firmware does not use)
    kind: Literal["flash", "ram", "itcm", "spare"]
    alias_of: str | None = None  # name of the region that this one is a second address of


class FlashSectors(Strict):
    """A run of equal flash sectors, in address order."""

    count: PositiveInt  # how many
    bytes: PositiveInt  # size of each


class Clock(Strict):
    """Clock tree at the board's maximum; a family adds how it is set up."""

    sysclk_hz: PositiveInt  # core clock that results
    flash_wait_states: Annotated[int, Field(ge=0, le=15)]  # of a read of the flash, at `sysclk_hz`

    @property
    def bus_divider(self) -> int:
        """Cycles of the core in one of the bus to flash and RAM."""
        return 1

    @property
    def reference(self) -> str:
        """What the firmware calls the clock's source where it is the one that the board has."""
        raise NotImplementedError


class Accelerator(Strict):
    """What the flash interface keeps of its reads, where the core has no cache of its own."""

    line_bytes: Literal[8, 16]  # width of one read of the flash
    code_lines: Annotated[int, Field(gt=0, le=128)]  # how many of these are kept for instructions
    data_lines: Annotated[int, Field(ge=0, le=32)]  # the same for data; 0 where none is kept
    prefetch: bool  # whether the firmware switches on the prefetch of the next line of code
    # Wait states of code that is not kept, where they are not those of any read (`Clock`).
    miss_wait_states: Annotated[int, Field(ge=0, le=15)] | None = None


class Caches(Strict):
    """L1 caches of the core and the flash accelerator."""

    icache_bytes: NonNegativeInt  # size of the core's instruction cache (0: none)
    icache_ways: NonNegativeInt  # associativity
    dcache_bytes: NonNegativeInt  # size of the core's data cache (0: none)
    dcache_ways: NonNegativeInt  # associativity
    line_bytes: Literal[0, 32]  # cache line
    art: bool  # whether the flash interface has an accelerator (ST's ART, Nordic's cache of code)
    accelerator: Accelerator | None = None  # what it keeps; only where code is fetched through it


class Core(Strict):
    """Processor core."""

    cpu: Literal["cortex-m4", "cortex-m7"]  # GCC's ``-mcpu`` name
    fpu: Literal["fpv4-sp-d16", "fpv5-sp-d16", "fpv5-d16"]  # GCC's ``-mfpu`` name
    float_abi: Literal["hard"] = "hard"  # GCC's ``-mfloat-abi``
    cpuid: Address  # value of SCB->CPUID


class Console(Strict):
    """The UART that the debug probe offers as a virtual COM port; a family adds its wiring."""

    peripheral: str  # name in the reference manual
    base: Address  # register base address
    baud: PositiveInt = 115200  # default rate
    max_baud: PositiveInt  # highest rate that the probe's bridge is specified for
    # Rate that a capture asks for; an ST-LINK's port and an STM32's UART take this one.
    fast_baud: PositiveInt = 921_600


class Chip(Strict):
    """Identification of the chip; a family knows where the device id is."""

    #: Word that holds the device id, and its bits.
    id_address: ClassVar[int]
    id_mask: ClassVar[int]
    #: Words of the unique id.
    uid_words: ClassVar[int] = 3

    device_id: Address
    uid_address: Address  # unique device id
    flash_size_address: Address  # 16-bit flash size in KiB

    def revision(self, _id_word: int) -> int | None:
        """Return the revision that the word with the device id tells; None if it tells none."""
        return None

    @property
    def expected_revision(self) -> int | None:
        """Revision of the virtual board's chip; None where the device id comes without one."""
        return None


@dataclass(frozen=True, slots=True)
class FlashOption:
    """An option bit that decides on the sectors of the flash."""

    register: int  # address of the option register
    bit: int  # mask of the bit, which must be set for the manifest's sectors
    name: str  # of the bit
    mode: str  # that it stands for


class HarnessFacts(Strict):
    """The manifest's ``harness`` object: what PlatformIO does not know.

    A family subclasses it as `harness.boards.families.<family>.Facts`.
    """

    #: First address and end of each ROM with a boot loader that the chip may start instead.
    boot_roms: ClassVar[tuple[tuple[int, int], ...]] = ()
    #: Where the chip has something besides flash, RAM and registers, such as option bytes.
    system_memory: ClassVar[tuple[tuple[int, int], ...]] = ()

    family: str  # folder below ``firmware_template/port``
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
    # Region of kind ``ram`` for the stack and variables; None where they share the arena's.
    data_region: str | None = None

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
        if self.data_region is not None and not any(
            r.name == self.data_region and r.kind == "ram" for r in self.memory
        ):
            raise ValueError(f"data_region '{self.data_region}' is no memory region of kind 'ram'")
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

    def defines(self) -> Iterator[tuple[str, str | int]]:
        """Yield what the family's port needs to know of clock, console and pins.

        In ``board_config.h`` each name has ``BOARD_`` before it.
        """
        raise NotImplementedError

    def baud(self, wanted: int) -> int | None:
        """Return the rate that the console has where `wanted` is asked for; None if it cannot."""
        raise NotImplementedError

    @property
    def most_baud(self) -> int:
        """Highest rate that the console's UART can be asked for."""
        raise NotImplementedError

    @property
    def least_revision(self) -> int | None:
        """First revision of the chip that runs at `clock`; None where all of them do."""
        return None

    @property
    def flash_option(self) -> FlashOption | None:
        """Option bit that the sectors of the flash depend on; None without one."""
        return None

    @property
    def timer_hz(self) -> int:
        """Clock of the timer that counts microseconds; whole megahertz."""
        raise NotImplementedError

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
    facts: SerializeAsAny[HarnessFacts]  # the ``harness`` object, of the chip's family
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

    @property
    def arena_ram(self) -> tuple[MemoryRegion, ...]:
        """RAM of the arena: the largest run of regions that touch each other."""
        runs: list[list[MemoryRegion]] = []
        for region in self.ram_regions:
            if runs and runs[-1][-1].end == region.origin:
                runs[-1].append(region)
            else:
                runs.append([region])
        return tuple(max(runs, key=lambda run: sum(region.bytes for region in run)))

    @property
    def data_ram(self) -> tuple[MemoryRegion, ...]:
        """RAM of the stack and variables: often that of the arena."""
        own = self.facts.data_region
        found = tuple(region for region in self.ram_regions if region.name == own)
        return found or self.arena_ram

    def sectors(self) -> Iterator[tuple[int, int]]:
        """Yield (address, bytes) of every flash sector in order."""
        return self.facts.sectors()
