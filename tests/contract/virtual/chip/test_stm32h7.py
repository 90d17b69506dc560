"""Register behaviour of the STM32H743, seen as the core sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.boards import load_board
from harness.errors import VirtualError
from harness.virtual.chip.bus import BusFault, Master
from harness.virtual.chip.peripherals.clock import ResetCause
from harness.virtual.machine import VirtualMachine

FLASH, RCC, PWR, SYSCFG, DBGMCU = 0x5200_2000, 0x5802_4400, 0x5802_4800, 0x5800_0400, 0x5C00_1000
KEYR, CR, SR, CCR, BANK2 = FLASH + 0x04, FLASH + 0x0C, FLASH + 0x10, FLASH + 0x14, 0x100
KEYS = (0x4567_0123, 0xCDEF_89AB)
LOCK, PG, SER, BER, FW, START = 1, 2, 4, 8, 1 << 6, 1 << 7
EOP, PGSERR, STRBERR, INCERR = 1 << 16, 1 << 18, 1 << 19, 1 << 21
CFGR, D1CFGR, D2CFGR, D3CFGR, RSR = RCC + 0x10, RCC + 0x18, RCC + 0x1C, RCC + 0x20, RCC + 0xD0
SECTOR = 128 << 10


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

    def unlock(self, bank: int = 0) -> None:
        for key in KEYS:
            self[KEYR + bank] = key

    def program(self, at: int, content: bytes) -> list[bool]:
        """Store words."""
        words = (content[n : n + 4] for n in range(0, len(content), 4))
        return [
            self.flash.program_now(at + 4 * n, 4, int.from_bytes(word, "little"))
            for n, word in enumerate(words)
        ]

    def start(self, *, supply: bool = True, scale: int = 3, boost: bool = True, ahb: int = 8,
              latency: int = 0x24) -> None:  # fmt: skip
        """Go to 480 MHz as the firmware does, or with a step done in another way."""
        if supply:
            self[PWR + 0x0C] = 2
        self[PWR + 0x18] = scale << 14
        self[RCC + 0xF4] = 1 << 16 | 2
        self[SYSCFG + 0x2C] = int(boost)
        self[RCC] = 1 | 5 << 16
        self[RCC + 0x28] = 0x0202_0000 | 1 << 4 | 2
        self[RCC + 0x2C] = 0x01FF_000C
        self[RCC + 0x30] = 1 << 24 | 7 << 16 | 1 << 9 | 119
        self[RCC] = 1 | 5 << 16 | 1 << 24
        self[FLASH] = latency
        self[D1CFGR] = 4 << 4 | ahb
        self[D2CFGR], self[D3CFGR] = 0x440, 0x40
        self[CFGR] = 3


@pytest.fixture
def chip() -> Iterator[Chip]:
    machine = VirtualMachine(load_board("nucleo_h743zi"), block_cycles=lambda code, address: 1)
    machine.core.halt()
    yield Chip(machine)
    machine.close()


class TestFlash:
    def test_each_bank_has_a_lock_and_a_wrong_key_keeps_it_until_reset(self, chip: Chip) -> None:
        chip.unlock(BANK2)
        assert chip[CR] & LOCK and not chip[CR + BANK2] & LOCK
        with pytest.raises(BusFault):
            chip[KEYR] = 1
        with pytest.raises(BusFault):
            chip[KEYR] = KEYS[0]
        chip.machine.core.reset()
        chip.machine.core.halt()
        assert chip[CR + BANK2] & LOCK
        chip.unlock()
        assert not chip[CR] & LOCK

    @pytest.mark.parametrize(("bank", "number", "sector"), [(0, 7, 7), (BANK2, 0, 8)])
    def test_a_sector_is_erased_in_its_bank(
        self, chip: Chip, bank: int, number: int, sector: int
    ) -> None:
        chip.array[:] = bytes(len(chip.array))
        chip.unlock(bank)
        chip[CR + bank] = SER | 3 << 4 | number << 8 | START
        assert not chip[CR + bank] & START and chip[SR + bank] == EOP
        assert bytes(chip.array).count(b"\xff") == SECTOR
        assert chip.array[sector * SECTOR] == 0xFF

    def test_a_bank_is_erased_alone(self, chip: Chip) -> None:
        chip.array[:] = bytes(len(chip.array))
        chip.unlock(BANK2)
        chip[CR + BANK2] = BER | START
        assert bytes(chip.array).count(b"\xff") == 1 << 20 and chip.array[0] == 0

    def test_a_flash_word_takes_32_bytes(self, chip: Chip) -> None:
        chip.unlock()
        chip[CR] = PG
        word = bytes(range(32))
        assert all(chip.program(0x40, word[:28])) and chip[SR] & 2
        chip.machine.core.reset()  # the write buffer is lost
        chip.machine.core.halt()
        assert bytes(chip.array[0x40:0x60]) == b"\xff" * 32
        chip.unlock()
        chip[CR] = PG
        assert all(chip.program(0x40, word)) and chip[SR] == EOP
        assert bytes(chip.array[0x40:0x60]) == word
        assert all(chip.program(0x40, bytes([0x0F]) * 32))
        assert bytes(chip.array[0x40:0x60]) == bytes(n & 0x0F for n in word), "not erased before"

    def test_fw_fills_a_flash_word_up(self, chip: Chip) -> None:
        chip.unlock()
        chip[CR] = PG
        chip.program(0, b"abcd")
        chip[CR] = PG | FW
        assert chip[SR] == EOP and bytes(chip.array[:8]) == b"abcd\xff\xff\xff\xff"

    @pytest.mark.parametrize(
        ("control", "stores", "flag"),
        [(0, (0,), PGSERR), (PG, (0, 0), STRBERR), (PG, (0, 0x20), INCERR)],
    )
    def test_a_store_out_of_order_is_refused(
        self, chip: Chip, control: int, stores: tuple[int, ...], flag: int
    ) -> None:
        chip.unlock()
        chip[CR] = control
        taken = [chip.flash.program_now(at, 4, 0) for at in stores]
        assert not taken[-1] and chip[SR] & ~2 == flag
        chip[CCR] = flag
        assert not chip[SR] & flag


class TestClock:
    def test_480_mhz_from_the_st_link(self, chip: Chip) -> None:
        chip.start()
        clock: Any = chip.machine.chip.clock
        assert (clock.hclk_hz, clock.ahb_hz) == (480_000_000, 240_000_000)
        assert {clock.apb_hz(f"apb{n}") for n in (1, 2, 3, 4)} == {120_000_000}
        assert clock.usart_hz(3, "apb1") == 120_000_000
        assert chip[CFGR] >> 3 & 7 == 3

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"supply": False}, "PWR_CR3 has not been written"),
            ({"scale": 2}, "at voltage scale 2"),
            ({"boost": False}, "at voltage scale 1"),
            ({"ahb": 0}, "AXI is faster than 240000000 Hz"),
            ({"latency": 0x23}, "with 3 flash wait states"),
        ],
    )
    def test_a_step_left_out_is_named(self, chip: Chip, change: dict[str, Any], why: str) -> None:
        with pytest.raises(VirtualError, match=why):
            chip.start(**change)

    def test_hsi_drives_undivided_buses_as_after_reset(self, chip: Chip) -> None:
        chip[CFGR] = 0  # as ST's SystemInit writes
        assert chip.machine.chip.clock.hclk_hz == 64_000_000

    def test_the_supply_is_chosen_once(self, chip: Chip) -> None:
        assert not chip[PWR + 0x04] & 1 << 13
        chip[PWR + 0x0C] = 2
        chip[PWR + 0x0C] = 1
        assert chip[PWR + 0x0C] & 7 == 2 and chip[PWR + 0x04] & 1 << 13

    def test_reset_flags_are_in_rsr(self, chip: Chip) -> None:
        assert chip[RSR] == 0x00FA_0000  # power-on, brown-out, pin, domains, core
        chip[RSR] = 1 << 16
        assert chip[RSR] == 0
        chip.machine.core.reset(ResetCause.SOFTWARE | ResetCause.PIN)
        chip.machine.core.halt()
        assert chip[RSR] == 0x0142_0000

    def test_the_debugger_finds_revision_v(self, chip: Chip) -> None:
        assert chip[DBGMCU] == 0x2003_0450
