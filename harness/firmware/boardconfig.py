"""Generate what depends on the board: ``board_config.h`` and the linker script."""

from __future__ import annotations

from string import Template

from harness.boards import Board, MemoryRegion
from harness.errors import BoardError
from harness.firmware.image import BuildOptions

_TIMER_HZ = 1_000_000
_ARENA_MEMORY = "\n    ARENA (rw) : ORIGIN = 0x{origin:08X}, LENGTH = {bytes}"


def board_config(board: Board, options: BuildOptions) -> str:
    """Return the text of ``board_config.h``.

    Raises:
        BoardError: The clocks cannot drive the 1 MHz timer, or the console at `options.baud`.
    """
    facts = board.facts
    clock, console, caches = facts.clock, facts.console, facts.caches
    _check_timer(board)
    check_baud(board, options.baud)
    values: list[tuple[str, str | int]] = [
        ("ID", f'"{board.id}"'),
        ("SYSCLK_HZ", clock.sysclk_hz),
        ("FLASH_WAIT_STATES", clock.flash_wait_states),
        ("FLASH_ORIGIN", f"0x{board.flash.origin:08X}u"),
        ("FLASH_BYTES", board.flash.bytes),
        ("ICACHE", options.icache and caches.icache_bytes > 0),
        ("DCACHE", options.dcache and caches.dcache_bytes > 0),
        ("DCACHE_BYTES", caches.dcache_bytes),
        ("DCACHE_WAYS", caches.dcache_ways),
        ("HAS_ART", caches.art),
        ("ART", options.art and caches.art),
        ("PREFETCH", caches.accelerator is None or caches.accelerator.prefetch),
        ("DWT_LOCK", facts.cycle_counter == "dwt-lock"),
        ("CONSOLE_BASE", f"0x{console.base:08X}u"),
        ("CONSOLE_BAUD", options.baud),
        ("UID_ADDRESS", f"0x{facts.chip.uid_address:08X}u"),
        ("UID_WORDS", facts.chip.uid_words),
        *facts.defines(),
    ]
    lines = [f"#define BOARD_{name} {_literal(value)}" for name, value in values]
    head = [f"/* Generated from the manifest of {board.id}. */", "#ifndef BOARD_CONFIG_H"]
    return "\n".join([*head, "#define BOARD_CONFIG_H", "", *lines, "", "#endif", ""])


def linker_script(
    board: Board, options: BuildOptions, template: str, *, arena_first: bool = False
) -> str:
    """Return the linker script: `template` with the board's memory filled in.

    Args:
        board: The board.
        options: Size of the stack.
        template: ``board.ld.in``.
        arena_first: Put variables at the end of RAM, so that what is left begins where an image of
            one model has its arena.

    Raises:
        BoardError: The stack does not fit the RAM.
    """
    data, arena = _span(board.data_ram), _span(board.arena_ram)
    if options.stack_bytes >= data[1]:
        raise BoardError(
            f"a stack of {options.stack_bytes} bytes does not fit the RAM of {data[1]}",
            where=board.manifest,
        )
    apart = board.data_ram != board.arena_ram
    at_end = arena_first and not apart
    if apart:
        free = "_arena_end", "ORIGIN(ARENA) + LENGTH(ARENA)"
    elif arena_first:
        free = "_arena_end", "_bss_start"
    else:
        free = "_bss_end", "ORIGIN(RAM) + LENGTH(RAM)"
    return Template(template).substitute(
        board=board.id,
        ram_regions=", ".join(region.name for region in board.data_ram),
        flash_origin=f"0x{board.flash.origin:08X}",
        flash_bytes=board.flash.bytes,
        ram_origin=f"0x{data[0]:08X}",
        ram_bytes=data[1],
        arena_memory=_ARENA_MEMORY.format(origin=arena[0], bytes=arena[1]) if apart else "",
        arena_header="\n    arena PT_LOAD FLAGS(6);" if apart else "",
        arena_place=">ARENA AT>ARENA :arena" if apart else ">RAM AT>RAM :ram",
        stack_bytes=options.stack_bytes,
        bss_address="(ORIGIN(RAM) + LENGTH(RAM) - SIZEOF(.bss))" if at_end else "",
        free_start=free[0],
        free_end=free[1],
    )


def _span(regions: tuple[MemoryRegion, ...]) -> tuple[int, int]:
    """Return first address and bytes of regions that touch each other."""
    return regions[0].origin, sum(region.bytes for region in regions)


def _literal(value: str | int) -> str:
    """Return a value in C: text as it is, a flag as 0 or 1, a number without a sign."""
    if isinstance(value, bool):
        return f"{value:d}"
    return value if isinstance(value, str) else f"{value}u"


def _check_timer(board: Board) -> None:
    core_hz, timer_hz = board.facts.clock.sysclk_hz, board.facts.timer_hz
    if core_hz % _TIMER_HZ or timer_hz % _TIMER_HZ:
        raise BoardError(
            f"core clock {core_hz} Hz and timer clock {timer_hz} Hz",
            where=f"{board.manifest}: harness.clock",
            expected="both whole megahertz: a 1 MHz timer extends the cycle counter",
        )


def check_baud(board: Board, baud: int) -> None:
    """Raise `BoardError` for a rate that the console's UART misses by more than 2 %."""
    console, rate = board.facts.console, board.facts.baud(baud)
    if baud > console.max_baud or rate is None:
        raise BoardError(
            f"{console.peripheral} of {board.id} cannot run at {baud} baud",
            where=f"{board.manifest}: harness.console",
            expected=f"at most {min(console.max_baud, board.facts.most_baud)} baud",
            fix="choose another baud rate",
        )
    if abs(rate - baud) > 0.02 * baud:
        raise BoardError(
            f"{console.peripheral} of {board.id} would run at {rate} baud instead of {baud}",
            expected="within 2 %",
            fix="choose another baud rate",
        )
