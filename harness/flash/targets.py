"""pyOCD targets for the boards, without a downloaded CMSIS pack.

pyOCD brings flash algorithms for STM32F76x, STM32F412 and STM32L475; the flash controllers of
STM32F74x (RM0385 chapter 3; RM0410 chapter 3 in single-bank mode) and STM32F446 (RM0390 chapter 3)
take the same keys, commands and sector numbers. Only the memory maps differ, and those are board
facts. The STM32L4+ takes the STM32L475's keys and commands, but its pages are twice as large. For
the STM32H743 pyOCD has a target, whose algorithm erases the sector behind the one that is asked for
as well.
`harness.flash.drivers` has what the algorithms lack.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.boards import Board, all_boards
from harness.errors import FlashError
from harness.flash.drivers import erasing_by_words, for_large_pages, for_two_banks

# What pyOCD compares and writes at once. The algorithms take any number of words, a call costs some
# 30 transfers, and `Flash.compute_crcs`, which packs address / page size into 16 bits, needs 4 KiB.
_PAGE = 0x1000
_BUFFERS = {"page_buffers": [0x2000_1000, 0x2000_2000], "analyzer_address": 0x2000_3000}
# The stack of this algorithm ends at 0x20001D70.
_BUFFERS_H7 = {
    "page_buffers": [0x2000_2000, 0x2000_3000],
    "analyzer_address": 0x2000_4000,
    "analyzer_supported": True,
    "min_program_length": 32,
}


@dataclass(frozen=True, slots=True)
class _Base:
    """The target of pyOCD whose algorithm a family uses.

    Page buffers and algorithm live in the first 20 KiB of RAM on every board.
    """

    module: str
    name: str
    make_driver: Callable[[Board], type[Any]] | None  # None where pyOCD's own will do
    buffers: Mapping[str, Any] = field(default_factory=lambda: _BUFFERS)


_BASES = {
    "stm32f7": _Base("target_STM32F767xx", "STM32F767xx", erasing_by_words),
    "stm32f4": _Base("target_STM32F412xx", "STM32F412xG", erasing_by_words),
    "stm32l4": _Base("target_STM32L475xx", "STM32L475xG", for_large_pages),
    "stm32h7": _Base("target_STM32H743xx", "STM32H743xx", for_two_banks, _BUFFERS_H7),
    # This target opens a debug port that is locked (APPROTECT), by erasing the chip.
    "nrf52": _Base("target_nRF52840_xxAA", "NRF52840", None),
}
_OURS = "_tinyml_harness"
# Where pyOCD has a target of the same name, ours goes by another one and is used by the harness.
_PREFIX = "harness_"


def register(boards: Iterable[Board] | None = None) -> tuple[str, ...]:
    """Add the boards' targets to pyOCD's table, where it does not have them.

    May be called any number of times, before or after sessions are opened.

    Returns:
        The names that this package provides.
    """
    from pyocd.target import TARGET, normalise_target_type_name
    from pyocd.target.builtin import BUILTIN_TARGETS

    provided = []
    for board in boards if boards is not None else all_boards():
        name = normalise_target_type_name(board.facts.pyocd_target)
        present = TARGET.get(name)
        if present is None:
            # BUILTIN_TARGETS too: that is the table which `pyocd list --targets` calls built in.
            present = TARGET[name] = BUILTIN_TARGETS[name] = _make(board)
        if getattr(present, _OURS, False):
            provided.append(name)
    return tuple(provided)


def choose(board: Board, *, packs: bool) -> str:
    """Return the pyOCD target to use for a board, registering ours if need be.

    With `packs`, an installed CMSIS pack for the part is preferred.
    """
    register((board,))
    if packs:
        for part in _installed_parts():
            # "STM32F746ZGTx" is the pack's name for the part "stm32f746zg" in a package.
            if re.fullmatch(rf"{re.escape(board.facts.pyocd_target)}[a-z]?x*", part.lower()):
                return part.lower()
    from pyocd.target import TARGET, normalise_target_type_name

    name = board.facts.pyocd_target
    if board.family not in _BASES or getattr(
        TARGET[normalise_target_type_name(name)], _OURS, False
    ):
        return name
    # pyOCD's own would erase slowly, and program in smaller pages.
    name = _PREFIX + name
    TARGET.setdefault(name, _make(board))
    return name


def _installed_parts() -> Iterator[str]:
    from pyocd.target.pack import pack_target

    if pack_target.CPM_AVAILABLE:
        for device in pack_target.ManagedPacks.get_installed_targets():
            yield str(device.part_number)


def _make(board: Board) -> type[Any]:
    """Return a pyOCD target class with the flash algorithm of the family and the board's memory."""
    from importlib import import_module

    from pyocd.core.memory_map import FlashRegion, MemoryMap, RamRegion

    if board.family not in _BASES:
        raise FlashError(
            f"no flash algorithm for family '{board.family}'",
            where=board.manifest,
            expected=f"a pyOCD target of its own, or one of {', '.join(_BASES)}",
            fix="set 'pyocd_target' to a target of `pyocd list --targets`, or add the family to "
            "harness/flash/targets.py",
            family=board.family,
        )
    own = _BASES[board.family]
    module = import_module(f"pyocd.target.builtin.{own.module}")
    base: Any = getattr(module, own.name)
    algo = {**module.FLASH_ALGO, **own.buffers}
    driver = None if own.make_driver is None else own.make_driver(board)
    regions: list[Any] = []
    address = board.flash.origin
    for run in board.facts.flash_sectors:
        regions.append(
            FlashRegion(
                name=f"flash{len(regions)}",
                start=address,
                length=run.count * run.bytes,
                sector_size=run.bytes,
                page_size=_PAGE,
                is_boot_memory=not regions,
                algo=algo,
                flash_class=driver,
            )
        )
        address += run.count * run.bytes
    regions += [
        RamRegion(name=region.name.lower(), start=region.origin, length=region.bytes)
        for region in board.ram_regions
    ]
    memory_map = MemoryMap(*regions)

    def build(self: Any, session: Any) -> None:
        # The base's own __init__ would pass its own memory map on.
        super(base, self).__init__(session, memory_map)

    control = getattr(module, "DBGMCU", None)

    def post_connect_hook(self: Any) -> None:
        # On an STM32, debugging through sleep modes, as the base does; its other steps are for its
        # own chip (STM32F74x has no dual-bank option to look at).
        if control is not None:
            self.write32(control.CR, control.CR_VALUE)

    part = board.facts.pyocd_target.upper()
    return type(
        part,
        (base,),
        {
            "__init__": build,
            "post_connect_hook": post_connect_hook,
            "__doc__": f"{part}, with the memory map of {board.id}.",
            "MEMORY_MAP": memory_map,
            "VENDOR": base.VENDOR,
            "PART_NUMBER": part,
            _OURS: True,
        },
    )
