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
        assert core[RCC + 0x70] == 0, "the backup domain is write-protected"
        core[PWR] = 0xC100
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
        rcc = core.machine.chip.clock
        assert rcc.hclk_hz == 216_000_000
        assert (rcc.apb_hz("apb1"), rcc.apb_hz("apb2")) == (54_000_000, 108_000_000)
        assert rcc.usart_hz(3, "apb1") == 54_000_000

    def test_too_fast_is_refused(self, core: Registers) -> None:
        start_pll(core, 240)
        with pytest.raises(VirtualError, match="240000000 Hz"):
            core[RCC + 0x08] = 2
        assert core[RCC + 0x08] & 3 == 0

    def test_hse_prescaler_and_hsi(self, core: Registers) -> None:
        rcc = core.machine.chip.clock
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
    core[PWR] = 0xC100
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


class TestRtc:
    BASE = 0x4000_2800
    TR, DR, CR, ISR = BASE, BASE + 0x04, BASE + 0x08, BASE + 0x0C
    SECOND = 16_000_000  # of HSI, in cycles
    EXTI, PENDING = 0x4001_3C00, 0xE000_E200

    def unlock(self, core: Registers) -> None:
        core[self.BASE + 0x24] = 0xCA
        core[self.BASE + 0x24] = 0x53

    def start(self, core: Registers, date: int, time: int, clock: int = 0x8101) -> None:
        core[PWR], core[RCC + 0x70] = 0xC100, clock
        self.unlock(core)
        core[self.ISR] = 0xFFFF_FFFF
        assert core[self.ISR] & 1 << 6
        core[self.DR], core[self.TR] = date, time
        core[self.ISR] &= ~(1 << 7)

    def pass_seconds(self, core: Registers, seconds: float) -> None:
        core.machine.cpu.counter.let_pass(round(seconds * self.SECOND))

    def test_the_calendar_goes_on_through_a_leap_day(self, core: Registers) -> None:
        self.start(core, 0x24_6228, 0x23_5958)  # Wednesday, 28 February 2024
        assert not core[self.ISR] & 1 << 5, "the shadow registers follow after two ticks"
        self.pass_seconds(core, 2.25)
        assert core[self.ISR] & 0x70 == 0x30
        assert core[self.BASE + 0x28] == 255 - 64
        assert (core[self.TR], core[self.DR]) == (0, 0x24_8229)
        assert core[self.TR] == 0
        self.pass_seconds(core, 86_400)
        assert core[self.TR] == 0
        assert core[self.DR] == 0x24_8229, "locked as TR was read"
        assert core[self.DR] == 0x24_A301
        self.start(core, 0x99_9231, 0x23_5959)  # December, a Thursday (4)
        self.pass_seconds(core, 1)
        assert core[self.DR] == 0x00_A101
        with pytest.raises(VirtualError, match="no time or date"):
            self.start(core, 0x23_2229, 0)

    def test_time_is_kept_by_twelve_hours_and_by_other_clocks(self, core: Registers) -> None:
        core[RCC + 0x74] = 1
        self.start(core, 0x24_2101, 0, 0x8201)  # LSI
        core[self.ISR] |= 1 << 7
        core[self.BASE + 0x10] = 249
        core[self.BASE + 0x10] = 249 | 127 << 16
        core[self.CR] = 1 << 6
        core[self.TR] = 0x11_5959
        core[self.ISR] &= ~(1 << 7)
        self.pass_seconds(core, 1.01)
        assert core[self.TR] == 1 << 22 | 0x12_0000
        core[RCC + 0x74] = 0
        self.pass_seconds(core, 10)
        assert core[self.TR] == 1 << 22 | 0x12_0000, "LSI is off"
        core[RCC + 0x74] = 1
        self.pass_seconds(core, 3600)
        assert core[self.TR] == 1 << 22 | 0x01_0000

    def test_registers_are_protected(
        self, core: Registers, caplog: pytest.LogCaptureFixture
    ) -> None:
        core[self.BASE + 0x50] = 1
        assert core[self.BASE + 0x50] == 0
        assert "RTC_BKP0R while that is protected" in caplog.text
        core[PWR] = 0xC100
        core[self.BASE + 0x50], core[self.CR] = 5, 1 << 5
        assert (core[self.BASE + 0x50], core[self.CR]) == (5, 0)
        self.unlock(core)
        core[self.ISR] = 1 << 7
        assert not core[self.ISR] & 1 << 6, "no clock"
        core[self.TR] = 1
        assert core[self.TR] == 0
        core[self.CR] = 1 << 5
        core[self.BASE + 0x24] = 0xFF
        core[self.CR] = 0
        assert core[self.CR] == 1 << 5
        self.unlock(core)
        for offset, bits in ((0x08, 1 << 11), (0x2C, 1), (0x40, 1)):
            with pytest.raises(VirtualError, match="not modelled"):
                core[self.BASE + offset] = bits
        with pytest.raises(VirtualError, match="not modelled"):
            core[self.BASE + 0x30]

    def test_the_backup_domain_survives_a_reset_but_not_its_own(self, core: Registers) -> None:
        self.start(core, 0x24_2101, 0x12_0000)
        core[self.BASE + 0xCC] = 0x1234_5678
        core.machine.core.reset()
        core.machine.core.halt()
        self.pass_seconds(core, 5)
        assert core[self.TR] == 0x12_0005
        assert core[self.BASE + 0xCC] == 0x1234_5678
        core[PWR], core[RCC + 0x70] = 0xC100, 0x8201
        assert core[RCC + 0x70] == 0x8103, "the selected clock stays"
        core[RCC + 0x70] = 1 << 16
        assert core[RCC + 0x70] == 1 << 16
        core[RCC + 0x70] = 0
        assert core[self.BASE + 0xCC] == 0
        assert (core[self.TR], core[self.DR]) == (0, 0x2101)

    def test_alarms_and_the_wake_up_timer_interrupt_in_time(self, core: Registers) -> None:
        counter = core.machine.cpu.counter
        rtc = next(s for s in core.machine.chip.sources if getattr(s, "name", "") == "RTC")
        for offset in (0x00, 0x08):
            core[self.EXTI + offset] = 1 << 17 | 1 << 22
        self.start(core, 0x24_8229, 0x23_0000)
        core[self.BASE + 0x1C] = 0x01_08_30_00  # day 1, at 8:30
        core[self.BASE + 0x20] = 0x8080_8000  # each minute, and half a second
        core[self.BASE + 0x48] = 15 << 24 | 127
        assert not rtc.armed
        core[self.CR] = 1 << 8 | 1 << 12
        core[self.BASE + 0x1C] = 0
        assert core[self.BASE + 0x1C] == 0x01_08_30_00, "an alarm that is on takes no writes"
        seconds = (1 + 8.5) * 3600
        assert abs(rtc.due() - counter.elapsed() - seconds * self.SECOND) < self.SECOND / 10_000
        core[self.CR] |= 1 << 9 | 1 << 13
        assert abs(rtc.due() - counter.elapsed() - self.SECOND / 2) < self.SECOND / 10_000
        self.pass_seconds(core, 0.6)
        assert core[self.ISR] & 7 << 8 == 1 << 9
        assert core[self.EXTI + 0x14] == 1 << 17
        assert core[self.PENDING + 4] == 1 << 41 - 32
        core[self.CR] = 0
        core[self.ISR] = ~(1 << 9 | 1 << 7) & 0xFFFF_FFFF
        core[self.EXTI + 0x14] = 1 << 17
        core[self.PENDING + 0x84] = 1 << 41 - 32
        assert core[self.ISR] & 0x707 == 7
        core[self.BASE + 0x14] = 2047  # of 2048 Hz
        core[self.CR] = 1 << 10 | 1 << 14
        core[self.BASE + 0x14] = 7
        self.pass_seconds(core, 0.99)
        assert not core[self.ISR] & 1 << 10
        self.pass_seconds(core, 0.02)
        assert core[self.ISR] & 1 << 10
        assert core[self.PENDING] == 1 << 3
        core[self.ISR] = ~(1 << 10 | 1 << 7) & 0xFFFF_FFFF
        assert abs(rtc.due() - counter.elapsed() - 0.99 * self.SECOND) < self.SECOND / 1000
        core[self.CR] = 0
        core[self.BASE + 0x14] = 1
        core[self.CR] = 4
        core[self.CR] = 4 | 1 << 10 | 1 << 14  # two seconds of the calendar
        assert 1 < (rtc.due() - counter.elapsed()) / self.SECOND < 2


def test_the_rtc_of_the_l4_has_lines_of_its_own() -> None:
    from harness.boards import load_board
    from harness.virtual.machine import VirtualMachine

    machine = VirtualMachine(load_board("nucleo_l4r5zi"))
    machine.core.halt()
    core, base, rcc = Registers(machine), 0x4000_2800, 0x4002_1000
    core[rcc + 0x58] = 1 << 28
    core[PWR] = 0x300
    core[rcc + 0x90] = 0x8101
    with pytest.raises(VirtualError, match="clock is off"):
        core[base + 0x50] = 1
    core[rcc + 0x58] = 1 << 28 | 1 << 10
    core[base + 0x24], core[base + 0x24] = 0xCA, 0x53
    core[0x4001_0400], core[0x4001_0408] = 1 << 18, 1 << 18
    core[base + 0x1C] = 0x8080_8080  # each second
    core[base + 0x08] = 1 << 8 | 1 << 12
    machine.cpu.counter.let_pass(4_000_000 + 4000)  # of MSI
    assert core[base + 0x0C] & 1 << 8
    assert core[0x4001_0414] == 1 << 18
    assert core[0xE000_E204] == 1 << 41 - 32
    machine.close()
