"""Register behaviour, seen as the debugger and as the core see it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.errors import VirtualError
from harness.virtual.chip.bus import BusFault, Master

FLASH, RCC, PWR = 0x4002_3C00, 0x4002_3800, 0x4000_7000
KEYR, SR, CR = FLASH + 0x04, FLASH + 0x0C, FLASH + 0x10
KEYS = (0x4567_0123, 0xCDEF_89AB)
PG, SER, MER, STRT, LOCK, WORD = 1, 2, 4, 1 << 16, 1 << 31, 2 << 8


class Registers:
    """Word accesses of the core, without running it."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine

    def __getitem__(self, address: int) -> int:
        return int(self.machine.chip.bus.read(address, 4, Master.CORE))

    def __setitem__(self, address: int, value: int) -> None:
        self.machine.chip.bus.write(address, 4, value, Master.CORE)


@pytest.fixture
def core(erased: Any) -> Iterator[Registers]:
    erased.core.halt()
    yield Registers(erased)


def unlock(core: Registers) -> None:
    for key in KEYS:
        core[KEYR] = key


class TestFlash:
    def test_keys_unlock_and_lock_locks(self, core: Registers) -> None:
        assert core[CR] & LOCK
        unlock(core)
        assert not core[CR] & LOCK
        core[CR] = LOCK
        assert core[CR] & LOCK
        core[CR] = PG
        assert core[CR] == LOCK

    def test_a_wrong_key_locks_until_reset(self, core: Registers) -> None:
        with pytest.raises(BusFault):
            core[KEYR] = 0x1234_5678
        with pytest.raises(BusFault):
            core[KEYR] = KEYS[0]
        core.machine.core.reset()
        core.machine.core.halt()
        unlock(core)
        assert not core[CR] & LOCK

    def test_sector_erase_follows_the_sector_map(self, core: Registers) -> None:
        flash = core.machine.memory.flash.data
        flash[:] = bytes(len(flash))
        unlock(core)
        core[CR] = SER | 4 << 3
        core[CR] = SER | 4 << 3 | STRT
        assert not core[CR] & STRT
        assert set(bytes(flash[0x20000:0x40000])) == {0xFF}
        assert flash[0x1FFFF] == 0
        assert flash[0x40000] == 0

    def test_mass_erase_and_a_sector_that_is_not(self, core: Registers) -> None:
        flash = core.machine.memory.flash.data
        flash[:] = bytes(len(flash))
        unlock(core)
        core[CR] = SER | 9 << 3 | STRT
        assert core[SR] & 1 << 7
        core[SR] = 1 << 7
        assert core[SR] == 0
        core[CR] = STRT
        assert core[SR] & 1 << 7
        core[CR] = MER | STRT
        assert set(bytes(flash)) == {0xFF}

    def test_programming_only_clears_bits(self, core: Registers) -> None:
        controller = core.machine.chip.flash
        unlock(core)
        core[CR] = PG | WORD
        assert controller.program_now(0x100, 4, 0x00FF_00FF)
        assert controller.program_now(0x100, 4, 0x0F0F_0F0F)
        assert core.machine.memory.read(0x0800_0100, 4) == bytes.fromhex("0f000f00")

    @pytest.mark.parametrize(
        ("control", "offset", "size", "flag"),
        [(0, 0, 4, 7), (PG, 0, 4, 6), (PG | WORD, 0, 2, 6), (PG | WORD, 2, 4, 5)],
    )
    def test_a_store_that_is_not_set_up_is_refused(
        self, core: Registers, control: int, offset: int, size: int, flag: int
    ) -> None:
        unlock(core)
        core[CR] = control
        assert not core.machine.chip.flash.program_now(offset, size, 0)
        assert core[SR] == 1 << flag
        assert core.machine.memory.flash.data[0] == 0xFF

    def test_end_of_operation_needs_its_interrupt_bit(self, core: Registers) -> None:
        unlock(core)
        core[CR] = 1 << 24 | PG | WORD
        core.machine.chip.flash.program_now(0, 4, 0)
        assert core[SR] == 1

    def test_option_bytes_unlock_but_do_not_change(self, core: Registers) -> None:
        assert core[FLASH + 0x14] == 0xC0FF_AAFD
        for key in (0x0819_2A3B, 0x4C5D_6E7F):
            core[FLASH + 0x08] = key
        assert core[FLASH + 0x14] == 0xC0FF_AAFC
        with pytest.raises(VirtualError, match="option bytes"):
            core[FLASH + 0x14] = 0
        core[FLASH + 0x14] = 0xC0FF_AAFD
        with pytest.raises(BusFault):
            core[FLASH + 0x08] = 1


def start_pll(core: Registers, n: int = 216) -> None:
    core[RCC + 0x04] = 4 | n << 6 | 1 << 22 | 9 << 24
    core[RCC] = 1 | 1 << 16 | 1 << 18 | 1 << 24


class TestClocks:
    def test_ready_flags_follow_enables(self, core: Registers) -> None:
        assert core[RCC] & 3 == 3
        core[RCC + 0x70] = 1
        assert core[RCC + 0x70] == 3
        start_pll(core)
        assert core[RCC] & (1 << 17 | 1 << 25) == 1 << 17 | 1 << 25

    def test_a_clock_on_osc_in_starts_without_hsebyp_but_not_unnoticed(
        self, core: Registers, caplog: pytest.LogCaptureFixture
    ) -> None:
        core[RCC] = 1 | 1 << 16
        assert core[RCC] & 1 << 17
        assert core[RCC] & 1 << 17
        assert caplog.text.count("HSEBYP") == 1

    def test_full_speed_needs_overdrive_and_wait_states(self, core: Registers) -> None:
        start_pll(core)
        with pytest.raises(VirtualError, match="without over-drive"):
            core[RCC + 0x08] = 2
        core[PWR] = 0xC000 | 3 << 16
        assert core[PWR + 4] & 3 << 16 == 3 << 16
        with pytest.raises(VirtualError, match="flash wait states"):
            core[RCC + 0x08] = 2
        core[FLASH] = 7
        core[RCC + 0x08] = 2 | 5 << 10 | 4 << 13
        assert core[RCC + 0x08] & 0xC == 0x8
        rcc = core.machine.chip.rcc
        assert rcc.hclk_hz == 216_000_000
        assert (rcc.apb_hz("apb1"), rcc.apb_hz("apb2")) == (54_000_000, 108_000_000)
        assert rcc.usart_hz(3, "apb1") == 54_000_000

    def test_too_fast_is_refused(self, core: Registers) -> None:
        start_pll(core, 240)
        with pytest.raises(VirtualError, match="240000000 Hz"):
            core[RCC + 0x08] = 2
        assert core[RCC + 0x08] & 3 == 0

    def test_hse_prescaler_and_hsi(self, core: Registers) -> None:
        rcc = core.machine.chip.rcc
        assert rcc.hclk_hz == 16_000_000
        core[RCC] = 1 | 1 << 16 | 1 << 18
        core[RCC + 0x08] = 1 | 0x8 << 4
        assert rcc.hclk_hz == 4_000_000
        with pytest.raises(VirtualError, match="SW selects nothing"):
            core[RCC + 0x08] = 3


class TestCore:
    def test_cache_geometry(self, core: Registers) -> None:
        core[0xE000_ED84] = 0
        assert core[0xE000_ED80] == 0xF003_E019
        core[0xE000_ED84] = 1
        assert core[0xE000_ED80] == 0xF007_E009
        core[0xE000_ED84] = 2
        assert core[0xE000_ED80] == 0
        for offset in (0xF50, 0xF58, 0xF5C, 0xF60, 0xF74, 0xF78):
            core[0xE000_E000 + offset] = 0

    def test_mpu_keeps_its_regions(self, core: Registers) -> None:
        core[0xE000_ED98] = 2
        core[0xE000_ED9C] = 0x2000_0000
        core[0xE000_EDA0] = 0x0300_0029
        core[0xE000_ED9C] = 0x0800_0000 | 0x10 | 5
        assert core[0xE000_ED98] == 5
        assert core[0xE000_EDA0] == 0
        core[0xE000_ED98] = 2
        assert (core[0xE000_ED9C], core[0xE000_EDA0]) == (0x2000_0002, 0x0300_0029)

    def test_mpu_forbids_where_a_region_says_so(self, core: Registers) -> None:
        mpu = core.machine.chip.scs.mpu
        core[0xE000_ED9C] = 0x1FFF_F000 | 0x10
        core[0xE000_EDA0] = 1 << 28 | 11 << 1 | 1  # 4 KiB, no access
        assert not mpu.forbids(0x1FFF_FFFC)
        core[0xE000_ED94] = 5
        assert [mpu.forbids(at) for at in (0x1FFF_EFFF, 0x1FFF_F000, 0x1FFF_FFFF)] == [
            False, True, True,
        ]  # fmt: skip
        core[0xE000_EDA0] = 1 << 28 | 0x80 << 8 | 11 << 1 | 1  # its last eighth switched off
        assert [mpu.forbids(at) for at in (0x1FFF_FDFF, 0x1FFF_FE00)] == [True, False]
        core.machine.core.reset()
        core.machine.core.halt()
        assert not mpu.forbids(0x1FFF_F000)

    @pytest.mark.parametrize("attributes", [1 << 28 | 3 << 24, 0])
    def test_what_the_mpu_cannot_enforce_is_told(
        self, core: Registers, attributes: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        core[0xE000_ED9C] = 0x2000_0000 | 0x10
        core[0xE000_EDA0] = attributes | 4 << 1 | 1
        core[0xE000_ED94] = 5
        assert "MPU region 0 protects a part of a memory" in caplog.text

    def test_a_memory_may_be_execute_never(self, core: Registers) -> None:
        core[0xE000_ED9C] = 0x2000_0000 | 0x10
        core[0xE000_EDA0] = 1 << 28 | 3 << 24 | 28 << 1 | 1  # 512 MiB
        core[0xE000_ED94] = 5
        mpu = core.machine.chip.scs.mpu
        for memory in core.machine.board.facts.memory:
            assert mpu.executable(memory) == (memory.origin < 0x2000_0000)

    def test_the_mpu_needs_its_default_map(self, core: Registers) -> None:
        with pytest.raises(VirtualError, match="not modelled"):
            core[0xE000_ED94] = 1

    def test_bytes_of_a_register(self, core: Registers) -> None:
        core.machine.chip.bus.write(0xE000_ED1B, 1, 0xE0, Master.CORE)
        assert core[0xE000_ED18] == 0xE000_0000
        assert core.machine.chip.bus.read(0xE000_ED1B, 1, Master.CORE) == 0xE0

    def test_a_watchpoint_of_the_core_itself_is_refused(self, core: Registers) -> None:
        core[0xE000_1FB0] = 0xC5AC_CE55
        with pytest.raises(VirtualError, match="not modelled"):
            core[0xE000_1028] = 5

    def test_interrupts_are_enabled_and_pended_by_bits(self, core: Registers) -> None:
        core[0xE000_E104] = 0xFF
        core[0xE000_E184] = 0x0F
        assert (core[0xE000_E104], core[0xE000_E184]) == (0xF0, 0xF0)
        core[0xE000_E10C] = 0xFFFF_FFFF  # 98 interrupts
        assert core[0xE000_E10C] == 3
        core[0xE000_E20C] = 0xFFFF_FFFF
        core[0xE000_E28C] = 1
        assert core[0xE000_E20C] == 2
        core[0xE000_E460] = 0xFFFF_FFFF
        assert core[0xE000_E460] == 0xF0F0
        core[0xE000_ED04] = 1 << 31 | 1 << 28 | 1 << 26
        assert core[0xE000_ED04] == 1 << 31 | 1 << 28 | 1 << 26 | 1 << 22 | 2 << 12
        core[0xE000_ED04] = 1 << 27 | 1 << 25
        assert core[0xE000_ED04] & 0xFFF << 16 == 1 << 31 & 0 | 1 << 22
        core[0xE000_EF00] = 5
        assert core[0xE000_E200] == 1 << 5

    def test_the_cycle_counter_is_locked_on_the_m7(self, core: Registers) -> None:
        core[0xE000_EDFC] = 1 << 24
        core[0xE000_1000] = 0x4000_0001
        assert core[0xE000_1000] == 0x4000_0000
        assert core[0xE000_1FB4] == 3
        core[0xE000_1FB0] = 0xC5AC_CE55
        assert core[0xE000_1FB4] == 1
        core[0xE000_1000] = 0x4000_0001
        assert core[0xE000_1000] == 0x4000_0001
        core[0xE000_1004] = 0xFFFF_FFF0
        assert core[0xE000_1004] >= 0xFFFF_FFF0

    def test_the_cycle_counter_needs_trcena(self, core: Registers) -> None:
        core[0xE000_1FB0] = 0xC5AC_CE55
        core[0xE000_1000] = 1
        assert not core.machine.cpu.counter.running
        core[0xE000_EDFC] = 1 << 24
        assert core.machine.cpu.counter.running

    def test_gpio_set_reset(self, core: Registers) -> None:
        with pytest.raises(VirtualError, match="clock is off"):
            core[0x4002_0400] = 1
        core[RCC + 0x30] = 1 << 1
        core[0x4002_0400] = 1 << 14  # PB7 output
        core[0x4002_0418] = 1 << 7 | 1 << 3
        assert core[0x4002_0414] == 1 << 7 | 1 << 3
        assert core[0x4002_0410] & 1 << 7
        core[0x4002_0418] = 1 << 23
        assert core[0x4002_0414] == 1 << 3

    def test_identification(self, core: Registers) -> None:
        assert core[0xE000_ED00] == 0x410F_C271
        assert core[0xE004_2000] & 0xFFFF_0FFF == 0x1001_0449
        assert core.machine.chip.bus.read(0x1FF0_F442, 2, Master.CORE) == 1024


class TestUsart:
    BASE = 0x4000_4800

    def test_interrupts_are_refused(self, core: Registers) -> None:
        core[RCC + 0x40] = 1 << 18
        core[self.BASE] = 1 | 1 << 6
        assert core[0xE000_E204] == 1 << 39 - 32  # TC is set
        core[self.BASE + 0x20] = 1 << 6
        core[0xE000_E284] = 1 << 39 - 32
        assert core[0xE000_E204] == 0
        with pytest.raises(VirtualError, match="DMA"):
            core[self.BASE + 0x08] = 1 << 7

    def test_a_byte_without_a_pin_is_lost(self, core: Registers) -> None:
        console = core.machine.console
        console.open("test", 115200)
        core[RCC + 0x40] = 1 << 18
        core[self.BASE] = 0xD
        assert core[self.BASE + 0x1C] & 0xC0 == 0xC0
        core[self.BASE + 0x28] = 65
        assert console.in_waiting == 0

    def test_bytes_for_a_receiver_that_is_off_are_lost(self, core: Registers) -> None:
        console = core.machine.console
        console.open("test", 115200)
        console.write(b"lost")
        core[RCC + 0x30] = 1 << 3
        core[0x4002_0C00] = 2 << 16 | 2 << 18
        core[0x4002_0C24] = 0x77
        core[RCC + 0x40] = 1 << 18
        core[self.BASE + 0x0C] = 16_000_000 // 115200
        core[self.BASE] = 0xD
        assert not core[self.BASE + 0x1C] & 1 << 5
        console.write(b"A")
        assert core[self.BASE + 0x1C] & 1 << 5
        assert core[self.BASE + 0x24] == 65
        assert not core[self.BASE + 0x1C] & 1 << 5
        core[self.BASE + 0x28] = 66
        assert console.read(1, 1, lambda: False) == b"B"
        console.write(b"CD")
        core[self.BASE + 0x18] = 1 << 3  # RXFRQ
        assert core[self.BASE + 0x24] == 68


@pytest.mark.parametrize("board_id", ["nucleo_f446re", "nucleo_f767zi"])
def test_other_boards_registers(board_id: str) -> None:
    from harness.boards import load_board
    from harness.virtual.machine import VirtualMachine

    machine = VirtualMachine(load_board(board_id))
    machine.core.halt()
    core = Registers(machine)
    m4 = board_id == "nucleo_f446re"
    assert core[0xE000_1FB4] == (0 if m4 else 3)
    assert core[0xE000_2000] == (0x260 if m4 else 0x1000_0080)
    if m4:
        with pytest.raises(VirtualError):
            core[0xE000_ED80]
    else:
        core[0xE000_ED84] = 0
        assert core[0xE000_ED80] == 0xF00F_E019  # 16 KiB, 4 ways
    machine.close()


class TestTimer:
    BASE = 0x4000_0000

    def test_counts_modelled_cycles_by_the_clock_tree(self, core: Registers) -> None:
        counter = core.machine.cpu.counter
        with pytest.raises(VirtualError, match="clock is off"):
            core[self.BASE + 0x24] = 0
        core[RCC + 0x40] = 1
        core[self.BASE + 0x28] = 7
        core[self.BASE + 0x14] = 1
        core[self.BASE] = 1
        counter.idle = iter([8000, *[0] * 10]).__next__
        assert core[self.BASE + 0x24] == 1000
        core[self.BASE] = 0
        counter.idle = lambda: 8000
        assert core[self.BASE + 0x24] == 1000
        core[self.BASE + 0x24] = 5
        assert core[self.BASE + 0x24] == 5

    def test_flags_of_compare_and_update_are_set_in_time(self, core: Registers) -> None:
        counter = core.machine.cpu.counter
        core[RCC + 0x40] = 1
        core[self.BASE + 0x2C], core[self.BASE + 0x34] = 999, 300
        core[self.BASE + 0x0C], core[self.BASE] = 3, 1
        timer = next(t for t in core.machine.chip.sources if getattr(t, "name", "") == "TIM2")
        assert timer.due() == counter.elapsed() + 300
        counter.let_pass(300)
        assert core[self.BASE + 0x10] == 2
        assert core[0xE000_E200] == 1 << 28
        assert timer.due() == counter.elapsed() + 700
        counter.let_pass(1700)
        assert core[self.BASE + 0x10] & 3 == 3
        assert core[self.BASE + 0x24] == 0
        core[self.BASE + 0x10] = 0
        assert core[self.BASE + 0x10] == 0
        core[self.BASE + 0x24] = 2000  # behind its end: it wraps first
        counter.let_pass((1 << 32) - 2000 + 5)
        assert core[self.BASE + 0x24] == 5
        for bits, what in ((1 << 4, "counting down"), (2 << 5, "counting down")):
            with pytest.raises(VirtualError, match=what):
                core[self.BASE] = bits


def test_backup_ram_survives_a_reset_and_external_lines_pend(core: Registers) -> None:
    core[RCC + 0x30] = 1 << 18
    core[0x4002_4010] = 0x1234_5678
    core.machine.core.reset()
    core.machine.core.halt()
    core[RCC + 0x30] = 1 << 18
    assert core[0x4002_4010] == 0x1234_5678
    core[0x4001_3C00] = 1 << 12
    core[0x4001_3C10] = 1 << 12 | 1 << 13
    assert core[0x4001_3C14] == 1 << 12
    assert core[0xE000_E204] == 1 << 40 - 32


def test_the_low_power_timer_counts_the_crystal_through_a_change_of_clock(core: Registers) -> None:
    base, counter, hclk = 0x4000_2400, core.machine.cpu.counter, 16_000_000
    core[RCC + 0x40] = 1 << 9
    core[RCC + 0x90] = 3 << 24  # LSE
    core[base + 0x0C] = 5 << 9  # divided by 32: 1024 Hz
    core[base + 0x08], core[base + 0x10] = 3, 1
    core[base + 0x14], core[base + 0x18] = 512, 1023
    assert core[base] == 0b11000  # CMPOK, ARROK
    core[base + 0x10] = 5
    counter.let_pass(hclk)
    assert core[base + 0x1C] == 0, "LSE is off"
    core[RCC + 0x70] = 1
    core[base + 0x10] = 0
    core[base + 0x10] = 1
    core[base + 0x10] = 5
    timer = next(t for t in core.machine.chip.sources if getattr(t, "name", "") == "LPTIM1")
    assert abs((timer.due() or 0) - counter.elapsed() - hclk // 2) < hclk // 1000
    counter.let_pass(hclk // 4)
    core[RCC + 0x08] = 8 << 4  # HCLK is halved
    counter.let_pass(hclk // 2 // 4 + hclk // 1000)
    assert abs(core[base + 0x1C] - 512) < 4
    assert core[base] & 3 == 1
    assert core[0xE000_E208] == 1 << 93 - 64
    core[base + 0x04] = 1
    assert core[base] & 3 == 0
    counter.let_pass(hclk // 2 // 2)
    assert core[base] & 3 == 2
