"""Generate what depends on the board: ``board_config.h`` and the linker script."""

from __future__ import annotations

from string import Template

from harness.boards import Board, MemoryRegion
from harness.boards.model import Console, Pll
from harness.errors import BoardError
from harness.firmware.image import BuildOptions

_TIMER_HZ = 1_000_000
# An LPUART divides 256 times its clock (RM0432, LPUART baud rate generation), within these limits.
_LPUART_SCALE = 256
_LPUART_DIVIDERS = (0x300, 0xF_FFFF)
_USART_DIVIDERS = (16, 0xFFFF)


def board_config(board: Board, options: BuildOptions) -> str:
    """Return the text of ``board_config.h``.

    Raises:
        BoardError: The clocks cannot drive the 1 MHz timer, or the console at `options.baud`.
    """
    facts = board.facts
    clock, console, caches = facts.clock, facts.console, facts.caches
    _check_timer(board)
    check_baud(board, options.baud)
    values: list[tuple[str, str]] = [
        ("BOARD_ID", f'"{board.id}"'),
        ("BOARD_HSI_HZ", f"{clock.hsi_hz}u"),
        ("BOARD_HSE_BYPASS", f"{clock.hse_bypass:d}"),
        ("BOARD_MSI_HZ", f"{clock.msi_hz or 0}u"),
        ("BOARD_SYSCLK_HZ", f"{clock.sysclk_hz}u"),
        ("BOARD_APB1_HZ", f"{clock.apb1_hz}u"),
        ("BOARD_APB2_HZ", f"{clock.apb2_hz}u"),
        *_pll("BOARD_PLL", clock.pll),
        *_pll("BOARD_PLL_HSI", clock.pll_hsi),
        ("BOARD_APB1_DIVIDER", f"{clock.apb1_divider}u"),
        ("BOARD_APB2_DIVIDER", f"{clock.apb2_divider}u"),
        ("BOARD_OVERDRIVE", f"{clock.overdrive:d}"),
        ("BOARD_VOLTAGE_SCALE", f"{clock.voltage_scale}u"),
        ("BOARD_FLASH_WAIT_STATES", f"{clock.flash_wait_states}u"),
        ("BOARD_FLASH_ORIGIN", f"0x{board.flash.origin:08X}u"),
        ("BOARD_FLASH_BYTES", f"{board.flash.bytes}u"),
        ("BOARD_ICACHE", f"{options.icache and caches.icache_bytes > 0:d}"),
        ("BOARD_DCACHE", f"{options.dcache and caches.dcache_bytes > 0:d}"),
        ("BOARD_DCACHE_BYTES", f"{caches.dcache_bytes}u"),
        ("BOARD_DCACHE_WAYS", f"{caches.dcache_ways}u"),
        ("BOARD_HAS_ART", f"{caches.art:d}"),
        ("BOARD_ART", f"{options.art and caches.art:d}"),
        ("BOARD_PREFETCH", f"{caches.accelerator is None or caches.accelerator.prefetch:d}"),
        ("BOARD_DWT_LOCK", f"{facts.cycle_counter == 'dwt-lock':d}"),
        ("BOARD_CONSOLE_BASE", f"0x{console.base:08X}u"),
        ("BOARD_CONSOLE_APB", "1" if console.bus == "apb1" else "2"),
        ("BOARD_CONSOLE_ENABLE_BIT", f"{console.enable_bit}u"),
        ("BOARD_CONSOLE_BAUD", f"{options.baud}u"),
        ("BOARD_CONSOLE_SCALE", f"{_scale(console)}u"),
        ("BOARD_UID_ADDRESS", f"0x{facts.chip.uid_address:08X}u"),
    ]
    for name, pin in (("TX", console.tx), ("RX", console.rx)):
        values += [
            (f"BOARD_{name}_PORT", f"{ord(pin.port) - ord('A')}u"),
            (f"BOARD_{name}_PIN", f"{pin.pin}u"),
            (f"BOARD_{name}_AF", f"{pin.alternate}u"),
        ]
    lines = [f"#define {name} {value}" for name, value in values]
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
    block = main_ram(board)
    origin, size = block[0].origin, sum(region.bytes for region in block)
    if options.stack_bytes >= size:
        raise BoardError(
            f"a stack of {options.stack_bytes} bytes does not fit the RAM of {size}",
            where=board.manifest,
        )
    return Template(template).substitute(
        board=board.id,
        ram_regions=", ".join(region.name for region in block),
        flash_origin=f"0x{board.flash.origin:08X}",
        flash_bytes=board.flash.bytes,
        ram_origin=f"0x{origin:08X}",
        ram_bytes=size,
        stack_bytes=options.stack_bytes,
        bss_address="(ORIGIN(RAM) + LENGTH(RAM) - SIZEOF(.bss))" if arena_first else "",
        free_start="_arena_end" if arena_first else "_bss_end",
        free_end="_bss_start" if arena_first else "ORIGIN(RAM) + LENGTH(RAM)",
    )


def main_ram(board: Board) -> tuple[MemoryRegion, ...]:
    """Return the largest run of RAM regions that touch each other, in address order."""
    runs: list[list[MemoryRegion]] = []
    for region in board.ram_regions:
        if runs and runs[-1][-1].end == region.origin:
            runs[-1].append(region)
        else:
            runs.append([region])
    return tuple(max(runs, key=lambda run: sum(region.bytes for region in run)))


def _pll(name: str, pll: Pll) -> list[tuple[str, str]]:
    factors = (("M", pll.m), ("N", pll.n), ("P", pll.p), ("Q", pll.q))
    return [(f"{name}_{letter}", f"{value}u") for letter, value in factors]


def _scale(console: Console) -> int:
    return _LPUART_SCALE if console.peripheral.startswith("LPUART") else 1


def _check_timer(board: Board) -> None:
    clock = board.facts.clock
    timer_hz = clock.apb1_hz * (1 if clock.apb1_divider == 1 else 2)
    if clock.sysclk_hz % _TIMER_HZ or timer_hz % _TIMER_HZ:
        raise BoardError(
            f"core clock {clock.sysclk_hz} Hz and APB1 timer clock {timer_hz} Hz",
            where=f"{board.manifest}: harness.clock",
            expected="both whole megahertz: a 1 MHz timer extends the cycle counter",
        )


def check_baud(board: Board, baud: int) -> None:
    """Raise `BoardError` for a rate that the console's UART misses by more than 2 %."""
    console, clock = board.facts.console, board.facts.clock
    peripheral_hz = clock.apb1_hz if console.bus == "apb1" else clock.apb2_hz
    scale = _scale(console)
    least, most = _USART_DIVIDERS if scale == 1 else _LPUART_DIVIDERS
    divider = (scale * peripheral_hz + baud // 2) // baud
    if baud > console.max_baud or not least <= divider <= most:
        raise BoardError(
            f"{console.peripheral} of {board.id} cannot run at {baud} baud",
            where=f"{board.manifest}: harness.console",
            expected=f"at most {min(console.max_baud, scale * peripheral_hz // least)} baud",
            fix="choose another baud rate",
        )
    rate = scale * peripheral_hz // divider
    if abs(rate - baud) > 0.02 * baud:
        raise BoardError(
            f"{console.peripheral} of {board.id} would run at {rate} baud instead of {baud}",
            expected="within 2 %",
            fix="choose another baud rate",
        )
