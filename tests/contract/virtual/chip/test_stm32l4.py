"""Register behaviour of the STM32L4+, seen as the core sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.boards import load_board
from harness.errors import VirtualError
from harness.virtual.chip.bus import BusFault, Master
from harness.virtual.chip.peripherals.clock import ResetCause
from harness.virtual.core.registers import PC
from harness.virtual.machine import VirtualMachine

FLASH, RCC, PWR = 0x4002_2000, 0x4002_1000, 0x4000_7000
KEYR, SR, CR, OPTR = FLASH + 0x08, FLASH + 0x10, FLASH + 0x14, FLASH + 0x20
KEYS = (0x4567_0123, 0xCDEF_89AB)
PEMPTY = 1 << 17
PG, PER, MER1, BKER, MER2, STRT, LOCK = 1, 2, 4, 1 << 11, 1 << 15, 1 << 16, 1 << 31
PAGE = 4096


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

    def unlock(self) -> None:
        for key in KEYS:
            self[KEYR] = key

    def supply(self, *, boost: bool = True) -> None:
        """Clock PWR, open the backup domain, start the crystal and the MSI at 48 MHz."""
        self[RCC + 0x58] = 1 << 28
        self[PWR] = 0x0300
        if boost:
            self[PWR + 0x80] = 0
        self[RCC + 0x90] = 1
        self[FLASH] = 0x605

    def start_pll(self, n: int = 30) -> None:
        self[RCC] = 1 | 11 << 4 | 1 << 3
        self[RCC] = 1 | 11 << 4 | 1 << 3 | 1 << 2
        self[RCC + 0x0C] = 1 | 5 << 4 | n << 8 | 1 << 24
        self[RCC] = 1 | 11 << 4 | 1 << 3 | 1 << 2 | 1 << 24


@pytest.fixture
def chip() -> Iterator[Chip]:
    machine = VirtualMachine(load_board("nucleo_l4r5zi"), block_cycles=lambda code, address: 1)
    machine.core.halt()
    made = Chip(machine)
    made[SR] = PEMPTY  # as if there were a program
    yield made
    machine.close()


class TestFlash:
    def test_keys_unlock_and_a_wrong_one_locks_until_reset(self, chip: Chip) -> None:
        assert chip[CR] & LOCK
        chip.unlock()
        assert not chip[CR] & LOCK
        chip[CR] = LOCK
        with pytest.raises(BusFault):
            chip[KEYR] = 1
        with pytest.raises(BusFault):
            chip[KEYR] = KEYS[0]
        chip.machine.core.reset()
        chip.machine.core.halt()
        chip.unlock()
        assert not chip[CR] & LOCK

    @pytest.mark.parametrize(
        ("number", "bank", "page"), [(3, 0, 3), (255, 0, 255), (0, BKER, 256), (255, BKER, 511)]
    )
    def test_a_page_is_erased_in_its_bank(
        self, chip: Chip, number: int, bank: int, page: int
    ) -> None:
        chip.array[:] = bytes(len(chip.array))
        chip.unlock()
        chip[CR] = PER | number << 3 | bank | STRT
        assert not chip[CR] & STRT
        assert bytes(chip.array[page * PAGE : (page + 1) * PAGE]) == b"\xff" * PAGE
        assert bytes(chip.array).count(b"\xff") == PAGE

    @pytest.mark.parametrize(("mass", "erased"), [(MER1, 1), (MER2, 1), (MER1 | MER2, 2)])
    def test_banks_are_erased_one_by_one_or_both(self, chip: Chip, mass: int, erased: int) -> None:
        chip.array[:] = bytes(len(chip.array))
        chip.unlock()
        chip[CR] = mass | STRT
        assert bytes(chip.array).count(b"\xff") == erased << 20
        assert chip.array[0] == (0 if mass == MER2 else 0xFF)

    def test_a_double_word_takes_two_stores_and_erased_flash(self, chip: Chip) -> None:
        chip.unlock()
        chip[CR] = PG
        assert chip.flash.program_now(0x100, 4, 0x1122_3344)
        assert chip.flash.program_now(0x104, 4, 0x5566_7788)
        assert bytes(chip.array[0x100:0x108]) == bytes.fromhex("4433221188776655")
        assert chip.flash.program_now(0x100, 4, 0x1122_3344)
        assert not chip.flash.program_now(0x104, 4, 0)
        assert chip[SR] == 1 << 3, "PROGERR: it was not erased"
        assert bytes(chip.array[0x100:0x108]) == bytes.fromhex("4433221188776655")
        chip[SR] = 1 << 3
        assert chip.flash.program_now(0x100, 4, 0)
        assert chip.flash.program_now(0x104, 4, 0), "zero may be written over anything"
        assert chip[SR] == 0

    @pytest.mark.parametrize(
        ("control", "offset", "size", "flag"),
        [(0, 0, 4, 7), (PG, 0, 2, 6), (PG, 4, 4, 5)],
    )
    def test_a_store_that_is_not_set_up_is_refused(
        self, chip: Chip, control: int, offset: int, size: int, flag: int
    ) -> None:
        chip.unlock()
        chip[CR] = control
        assert not chip.flash.program_now(offset, size, 0)
        assert chip[SR] == 1 << flag
        assert chip.array[0] == 0xFF
        chip[CR] = PG
        assert not chip.flash.program_now(0, 4, 0), "an error must be cleared first"

    def test_half_a_double_word_is_undone(self, chip: Chip) -> None:
        chip.unlock()
        chip[CR] = PG
        assert chip.flash.program_now(0, 4, 0)
        assert not chip.flash.program_now(8, 4, 0)
        assert chip[SR] == 1 << 7
        assert bytes(chip.array[:16]) == b"\xff" * 16

    def test_a_chip_that_was_empty_at_power_on_starts_its_boot_loader(self, chip: Chip) -> None:
        core = chip.machine.core
        core.reset(ResetCause.POWER_ON)
        core.halt()
        assert chip[SR] & PEMPTY
        chip.array[:8] = bytes.fromhex("0010002009000008")
        core.reset(ResetCause.SOFTWARE)
        core.halt()
        assert core.cpu.registers[PC] == 0x1FFF_0000, "programmed, but the flag is still set"
        chip[SR] = PEMPTY
        assert chip[SR] == 0
        core.reset(ResetCause.SOFTWARE)
        core.halt()
        assert core.cpu.registers[PC] >> 24 != 0x1F
        core.reset(ResetCause.POWER_ON)
        core.halt()
        assert chip[SR] == 0, "there is a program now"

    def test_option_bytes_say_two_banks_and_do_not_change(self, chip: Chip) -> None:
        assert chip[OPTR] & 1 << 22
        chip.unlock()
        for key in (0x0819_2A3B, 0x4C5D_6E7F):
            chip[FLASH + 0x0C] = key
        with pytest.raises(VirtualError, match="option bytes"):
            chip[OPTR] = 0


class TestClocks:
    def test_full_speed(self, chip: Chip) -> None:
        rcc: Any = chip.machine.chip.clock
        assert rcc.hclk_hz == 4_000_000
        chip.supply()
        chip.start_pll()
        assert chip[RCC] & 1 << 25
        chip[RCC + 0x08] = 3 | 8 << 4
        assert rcc.hclk_hz == 60_000_000
        chip[RCC + 0x08] = 3
        assert chip[RCC + 0x08] & 0xC == 0xC
        assert (rcc.hclk_hz, rcc.apb_hz("apb1")) == (120_000_000, 120_000_000)

    def test_what_it_needs(self, chip: Chip, caplog: pytest.LogCaptureFixture) -> None:
        chip.supply(boost=False)
        chip.start_pll()
        chip[RCC + 0x08] = 3 | 8 << 4
        chip[FLASH] = 0x604
        with pytest.raises(VirtualError, match="flash wait states"):
            chip[RCC + 0x08] = 3
        chip[FLASH] = 0x605
        chip[RCC + 0x08] = 3 | 9 << 4
        with pytest.raises(VirtualError, match="at once"):
            chip[RCC + 0x08] = 3
        assert caplog.text.count("without boost mode") == 1

    def test_too_fast_is_refused(self, chip: Chip) -> None:
        chip.supply()
        chip.start_pll(n=40)
        with pytest.raises(VirtualError, match="160000000 Hz"):
            chip[RCC + 0x08] = 3

    def test_the_oscillator_locks_to_a_running_crystal_only(self, chip: Chip) -> None:
        with pytest.raises(VirtualError, match="without a running LSE"):
            chip[RCC] = 1 | 1 << 2
        chip[RCC + 0x90] = 1
        assert not chip[RCC + 0x90] & 2, "the backup domain is write-protected"
        with pytest.raises(VirtualError, match="clock is off"):
            chip[PWR] = 0x0300
        chip.supply()
        assert chip[RCC + 0x90] & 3 == 3
        chip.machine.chip.clock.reference_works = False
        assert not chip[RCC + 0x90] & 2, "a fault: the crystal does not start"

    def test_a_pll_without_a_source_does_not_start(self, chip: Chip) -> None:
        chip[RCC + 0x0C] = 5 << 4 | 30 << 8 | 1 << 24
        chip[RCC] = 0x63 | 1 << 24 | 1 << 26
        assert not chip[RCC] & (1 << 25 | 1 << 27)

    def test_the_backup_domain_survives_a_reset(self, chip: Chip) -> None:
        chip.supply()
        chip.machine.core.reset()
        chip.machine.core.halt()
        assert chip[RCC + 0x90] & 1

    def test_reset_flags(self, chip: Chip) -> None:
        assert chip[RCC + 0x94] & 0xFF00_0000 == 1 << 27 | 1 << 26
        chip[RCC + 0x94] = 1 << 23
        assert not chip[RCC + 0x94] & 0xFF00_0000


class TestConsole:
    BASE = 0x4000_8000

    def set_up(self, chip: Chip) -> None:
        chip.supply()
        chip[RCC + 0x4C] = 1 << 6
        chip[RCC + 0x5C] = 1
        chip[0x4800_1800] = 0xFFFF_FFFF & ~(3 << 14 | 3 << 16) | 2 << 14 | 2 << 16
        chip[0x4800_1820], chip[0x4800_1824] = 8 << 28, 8
        chip[self.BASE + 0x0C] = 256 * 4_000_000 // 115200
        chip[self.BASE] = 0xD

    def test_port_g_needs_its_supply(self, chip: Chip) -> None:
        console = chip.machine.console
        console.open("test", 115200)
        self.set_up(chip)
        chip[self.BASE + 0x28] = 65
        assert console.in_waiting == 0
        chip[PWR + 4] = 1 << 9
        chip[self.BASE + 0x28] = 66
        assert console.read(1, 1, lambda: False) == b"B"

    def test_another_rate_is_told(self, chip: Chip) -> None:
        console = chip.machine.console
        console.open("test", 9600)
        self.set_up(chip)
        chip[PWR + 4] = 1 << 9
        with pytest.raises(VirtualError, match="115212 baud"):
            chip[self.BASE + 0x28] = 65


def test_identification(chip: Chip) -> None:
    assert chip[0xE004_2000] & 0xFFF == 0x470
    assert chip.machine.chip.bus.read(0x1FFF_75E0, 2, Master.CORE) == 2048
    assert chip[0x1FFF_7590] == int.from_bytes(b"VIRT", "little")


def test_sram2_has_two_addresses(chip: Chip) -> None:
    assert chip.machine.memory.write_ram(0x2003_0000, b"both")
    assert chip.machine.memory.read(0x1000_0000, 4) == b"both"


def test_ports_have_a_register_that_only_resets(chip: Chip) -> None:
    chip[RCC + 0x4C] = 1
    chip[0x4800_0014] = 0xF
    chip[0x4800_0028] = 0x5
    assert chip[0x4800_0014] == 0xA
