"""Register behaviour of the nRF52840, seen as the core and a debugger see it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.bench import virtual_bench
from harness.boards import load_board
from harness.boards.families.nrf52 import RATES
from harness.errors import VirtualError
from harness.flash import open_target
from harness.virtual.chip.bus import BusFault, Master
from harness.virtual.chip.peripherals.clock import ResetCause
from harness.virtual.machine import VirtualMachine
from harness.virtual.registry import discard_machine, get_machine

BOARD = "nrf52840_dk"
CLOCK, UARTE, TIMER0, RTC1, NVMC = 0x4000_0000, 0x4000_2000, 0x4000_8000, 0x4001_1000, 0x4001_E000
CONFIG, ERASEPAGE, UICR_APPROTECT = NVMC + 0x504, NVMC + 0x508, 0x1000_1208
WRITE, ERASE = 1, 2
RAM = 0x2000_1000


class Chip:
    """Word accesses of the core, without running it."""

    def __init__(self, machine: VirtualMachine) -> None:
        self.machine = machine
        self.flash: Any = machine.chip.flash
        self.array = machine.memory.flash.data

    def __getitem__(self, address: int) -> int:
        return int(self.machine.chip.bus.read(address, 4, Master.CORE))

    def __setitem__(self, address: int, value: int) -> None:
        self.machine.chip.bus.write(address, 4, value, Master.CORE)

    def start_uarte(self, receive_bytes: int) -> None:
        """Receive to RAM and send from behind that, on the board's pins."""
        for offset, value in (
            (0x50C, 6), (0x514, 8), (0x524, RATES[115_200][0]), (0x534, RAM), (0x544, RAM + 64),
            (0x538, receive_bytes), (0x500, 8), (0x000, 1),
        ):  # fmt: skip
            self[UARTE + offset] = value


@pytest.fixture
def chip() -> Iterator[Chip]:
    machine = VirtualMachine(load_board(BOARD), block_cycles=lambda code, address: 1)
    machine.core.halt()
    yield Chip(machine)
    machine.close()


def test_flash_takes_words_that_only_clear_bits(chip: Chip) -> None:
    assert not chip.flash.program_now(0x2000, 4, 0), "without CONFIG.WEN = Wen"
    chip[CONFIG] = WRITE
    assert not chip.flash.program_now(0x2002, 2, 0), "half a word"
    assert chip.flash.program_now(0x2000, 4, 0x1234_5678)
    assert chip.flash.program_now(0x2000, 4, 0xFFFF_0000)
    assert bytes(chip.array[0x2000:0x2004]) == (0x1234_0000).to_bytes(4, "little")
    chip[ERASEPAGE] = 0x2000
    assert chip.array[0x2000] == 0, "not without CONFIG.WEN = Een"
    chip[CONFIG] = ERASE
    chip[ERASEPAGE] = 0x2000
    assert set(chip.array[0x2000:0x3000]) == {0xFF}


def test_the_crystal_is_the_reference_once_it_runs(chip: Chip) -> None:
    clock = chip.machine.chip.clock
    clock.drift = 1.02
    assert clock.hclk_hz == 64_000_000 and chip[CLOCK + 0x40C] == 1 << 16
    chip[CLOCK] = 1
    assert chip[CLOCK + 0x100] == 1 and chip[CLOCK + 0x40C] == 1 << 16 | 1
    assert clock.hclk_hz == 65_280_000


def test_reset_causes_add_up_until_they_are_cleared(chip: Chip) -> None:
    assert chip[CLOCK + 0x400] == 0, "a power-on sets none"
    chip.machine.core.reset(ResetCause.SOFTWARE)
    chip.machine.core.reset(ResetCause.PIN)
    chip.machine.core.halt()
    assert chip[CLOCK + 0x400] == 1 << 2 | 1 << 0
    chip[CLOCK + 0x400] = 1 << 2
    assert chip[CLOCK + 0x400] == 1 << 0


def test_uarte_fills_a_buffer_in_ram_and_counts(chip: Chip) -> None:
    console = chip.machine.console
    console.open("test", 115_200)
    chip.start_uarte(receive_bytes=3)
    console.write(b"abcd")
    for _ in range(4):
        chip.machine.cpu.counter.let_pass(10_000)  # longer than a byte on the line
        _ = chip[UARTE + 0x108]
    assert chip[UARTE + 0x110] == 1 and chip[UARTE + 0x53C] == 3
    assert chip.machine.memory.read(RAM, 4) == b"abc\xa5", "the fourth waits for another buffer"
    chip[UARTE + 0x110] = 0
    chip[UARTE + 0x000] = 1
    chip[UARTE + 0x004] = 1  # STOPRX ends the buffer as it is
    assert chip[UARTE + 0x53C] == 1 and chip[UARTE + 0x144] == 1
    chip.machine.memory.write_ram(RAM + 64, b"ok")
    chip[UARTE + 0x548] = 2
    chip[UARTE + 0x008] = 1
    assert chip[UARTE + 0x120] == 1 and console.read(2, 1, lambda: False) == b"ok"


def test_a_byte_at_another_rate_is_an_error_once_the_firmware_waits_for_it(chip: Chip) -> None:
    console = chip.machine.console
    console.open("test", 1_000_000)
    chip.start_uarte(receive_bytes=1)
    console.write(b"%")
    assert chip[UARTE + 0x158] == 0, "while it does something else"
    with pytest.raises(VirtualError, match="115107 baud"):
        _ = chip[UARTE + 0x110]
    chip[UARTE + 0x524] = RATES[1_000_000][0]
    assert chip[UARTE + 0x110] == 1


def test_uarte_cannot_send_from_flash(chip: Chip) -> None:
    chip.start_uarte(receive_bytes=1)
    chip[UARTE + 0x544], chip[UARTE + 0x548] = 0x1000, 4
    with pytest.raises(VirtualError, match="which is not RAM"):
        chip[UARTE + 0x008] = 1


@pytest.mark.parametrize(("value", "rate"), RATES.values())
def test_rates_are_those_that_nordic_gives(chip: Chip, value: int, rate: int) -> None:
    chip[UARTE + 0x500], chip[UARTE + 0x524] = 8, value
    baud = chip.machine.chip.console.baud
    assert baud is not None and abs(baud - rate) <= 1


def test_a_timer_compares_and_starts_again(chip: Chip) -> None:
    elapse = chip.machine.cpu.counter.let_pass
    for offset, value in ((0x508, 3), (0x510, 4), (0x540, 1000), (0x200, 1), (0x000, 1)):
        chip[TIMER0 + offset] = value  # 1 MHz, cleared at 1000
    elapse(64 * 999)
    assert chip[TIMER0 + 0x140] == 0
    elapse(64 * 1501)
    assert chip[TIMER0 + 0x140] == 1
    chip[TIMER0 + 0x044] = 1
    assert chip[TIMER0 + 0x544] == 500


def test_an_rtc_counts_the_low_frequency_clock(chip: Chip) -> None:
    chip[CLOCK + 0x008] = 1
    chip[RTC1] = 1
    chip.machine.cpu.counter.let_pass(64_000_000)
    assert chip[RTC1 + 0x504] == 32_768


def test_a_locked_debug_port_is_opened_by_erasing_the_chip() -> None:
    board = load_board(BOARD)
    station = virtual_bench().station(f"virtual-{BOARD}")
    chip = Chip(get_machine(BOARD))
    try:
        chip.machine.core.halt()
        chip.array[:4] = b"mine"
        chip[CONFIG] = WRITE
        chip[UICR_APPROTECT] = 0xFFFF_FF00
        with pytest.raises(BusFault):
            chip.machine.debugger.read(0, 4)
        with open_target(station, board) as target:
            assert target.read_word(0) == 0xFFFF_FFFF
        assert set(chip.array[:4]) == {0xFF}
    finally:
        discard_machine(BOARD)
