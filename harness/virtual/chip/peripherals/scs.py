"""System control space: processor identification, faults, caches, SysTick, NVIC, MPU, debug.

ARMv7-M ARM B3.2 (system control), B3.3 (SysTick), B3.4 (NVIC), B3.5 (MPU), B2.2.7 (caches), C1.6
(debug); Cortex-M4 and Cortex-M7 TRMs for identification values.
"""

from __future__ import annotations

from functools import partial

from harness.virtual.chip.bus import Master, Peripheral
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.peripherals.identity import SCS, add_ids
from harness.virtual.chip.peripherals.nvic import FIRST, NMI, PENDSV, SYSTICK, Nvic, priority_mask
from harness.virtual.chip.peripherals.systick import Systick
from harness.virtual.core import mpu
from harness.virtual.core.mpu import Mpu

VTOR, AIRCR, SHCSR, CFSR, HFSR, DFSR, MMFAR, BFAR = (
    0xD08, 0xD0C, 0xD24, 0xD28, 0xD2C, 0xD30, 0xD34, 0xD38,
)  # fmt: skip
SHPR1, FPCCR, FPCAR = 0xD18, 0xF34, 0xF38
SCR, SLEEPONEXIT, _SLEEPDEEP = 0xD10, 1 << 1, 1 << 2
CCR, CPACR, CSSELR, DHCSR, DCRSR, DCRDR, DEMCR = 0xD14, 0xD88, 0xD84, 0xDF0, 0xDF4, 0xDF8, 0xDFC
_CCR_CACHES = 0x0003_0000
_ICSR, _CCSIDR = 0xD04, 0xD80
_MPU_TYPE, _MPU_CTRL, _MPU_RNR, _MPU_RBAR = 0xD90, 0xD94, 0xD98, 0xD9C
FPCCR_LSPACT, FPCCR_LSPEN, _FPCCR_ASPEN = 1 << 0, 1 << 30, 1 << 31
_RETTOBASE = 1 << 11
# SHCSR: MemManage to SVCall, DebugMonitor, PendSV, SysTick.
_ACTIVE = {4: 1 << 0, 5: 1 << 1, 6: 1 << 3, 11: 1 << 7, 12: 1 << 8, 14: 1 << 10, 15: 1 << 11}
# ICSR: bits that make an exception pending, and those that take that back.
_SET_PENDING = {NMI: 1 << 31, PENDSV: 1 << 28, SYSTICK: 1 << 26}
_CLEAR_PENDING = {PENDSV: 1 << 27, SYSTICK: 1 << 25}
_ISRPENDING = 1 << 22
_VECTKEY, _VECTKEY_READ = 0x05FA, 0xFA05
_SYSRESETREQ, _VECTCLRACTIVE, _VECTRESET, _PRIGROUP = 1 << 2, 1 << 1, 1 << 0, 0x700

# (offset, name, Cortex-M4, Cortex-M7), from the TRMs' register summaries.
_ID_REGISTERS = (
    (0xD40, "ID_PFR0", 0x0000_0030, 0x0000_0030),
    (0xD44, "ID_PFR1", 0x0000_0200, 0x0000_0200),
    (0xD48, "ID_DFR0", 0x0010_0000, 0x0010_0000),
    (0xD4C, "ID_AFR0", 0, 0),
    (0xD50, "ID_MMFR0", 0x0010_0030, 0x0010_0030),
    (0xD54, "ID_MMFR1", 0, 0),
    (0xD58, "ID_MMFR2", 0x0100_0000, 0x0100_0000),
    (0xD5C, "ID_MMFR3", 0, 0),
    (0xD60, "ID_ISAR0", 0x0110_1110, 0x0110_1110),
    (0xD64, "ID_ISAR1", 0x0211_2000, 0x0211_2000),
    (0xD68, "ID_ISAR2", 0x2123_2231, 0x2023_2231),
    (0xD6C, "ID_ISAR3", 0x0111_1131, 0x0111_1131),
    (0xD70, "ID_ISAR4", 0x0131_0132, 0x0131_0132),
    (0xD74, "ID_ISAR5", 0, 0),
    (0xD78, "CLIDR", 0, 0x0900_0003),
    (0xD7C, "CTR", 0x8000_C000, 0x8303_C003),
)
_CACHE_MAINTENANCE = (
    (0xF5C, "DCIMVAC"), (0xF60, "DCISW"), (0xF64, "DCCMVAU"), (0xF68, "DCCMVAC"),
    (0xF6C, "DCCSW"), (0xF70, "DCCIMVAC"), (0xF74, "DCCISW"), (0xF78, "BPIALL"),
)  # fmt: skip
_M7_STORAGE = (
    (0xF90, "ITCMCR"), (0xF94, "DTCMCR"), (0xF98, "AHBPCR"), (0xF9C, "CACR"), (0xFA0, "AHBSCR"),
    (0xFA8, "ABFSR"),
)  # fmt: skip


class Scs(Peripheral):
    """System control space.

    Args:
        to: What it is connected to.
        boot_address: Where the vectors are read at reset.
        interrupts: How many the chip has.
        priority_bits: Bits of a priority that the chip has.
    """

    def __init__(
        self, to: Connections, boot_address: int, interrupts: int, priority_bits: int = 4
    ) -> None:
        super().__init__("SCS", SCS, "ARMv7-M ARM B3.2")
        self._to = to
        self._interrupts = interrupts
        #: Bits that a register of four priorities has.
        self.priorities = priority_mask(priority_bits)
        self._m7 = to.board.facts.core.cpu == "cortex-m7"
        #: False is a fault: the caches stay off.
        self.caches_work = True
        self.boot_address = boot_address
        self._add_system_control()
        changed = to.counter.request_stop
        active = self._active_exceptions
        self.nvic = Nvic(self, interrupts, self.priorities, changed, active)
        self.systick = Systick(self, self.nvic, to.counter.elapsed, changed)
        self._add_mpu()
        self._add_fpu_and_caches()
        debug = ((DHCSR, "DHCSR"), (DCRSR, "DCRSR"), (DCRDR, "DCRDR"), (DEMCR, "DEMCR"))
        for offset, name in debug:
            read, write = partial(self._read_debug, offset), partial(self._write_debug, offset)
            self.add(offset, name, read=read, write=write)
        add_ids(self, 0x00C)

    def reset(self) -> None:
        """Return to reset values; the debug registers and DFSR survive."""
        kept = self.values[DFSR]
        super().reset()
        self.values[DFSR] = kept
        self.mpu.enabled = False
        self.nvic.reset()
        self.systick.reset()
        self._follow_ccr()

    def _active_exceptions(self) -> list[int]:
        return self._to.core().exceptions.active

    @property
    def fpu_enabled(self) -> bool:
        """Whether CPACR gives full access to CP10 and CP11."""
        return self.values[CPACR] >> 20 & 0xF == 0xF

    @property
    def fpu_lazy(self) -> bool:
        """Whether floating-point state of an exception waits to be saved."""
        return bool(self.values[FPCCR] & FPCCR_LSPACT)

    def _add_system_control(self) -> None:
        facts = self._to.board.facts.core
        lines = (self._interrupts + 31) // 32 - 1
        self.add(0x004, "ICTR", lines, writable=0)
        self.add(0x008, "ACTLR")
        self.add(0xD00, "CPUID", facts.cpuid, writable=0)
        self.add(_ICSR, "ICSR", read=self._read_icsr, write=self._write_icsr)
        self.add(VTOR, "VTOR", self.boot_address, writable=0xFFFF_FF80)
        self.add(AIRCR, "AIRCR", _VECTKEY_READ << 16, write=self._write_aircr)
        self.add(SCR, "SCR", writable=0x16, changed=self._scr_changed)
        # STKALIGN reads as one; on the M7 branch prediction is always on (BP).
        ccr = 0x0004_0200 if self._m7 else 0x200
        refuse = 0x18, "trap on division by zero or unaligned access, set"
        self.add(CCR, "CCR", ccr, writable=0x0003_0303, refuse=refuse, changed=self._follow_ccr)
        shpr = ((SHPR1, "SHPR1"), (0xD1C, "SHPR2"), (0xD20, "SHPR3"))
        for offset, name in shpr:
            self.add(offset, name, writable=self.priorities, changed=self._to.counter.request_stop)
        self.add(SHCSR, "SHCSR", writable=0x0007_0000, read=self._read_shcsr)
        for offset, name in ((CFSR, "CFSR"), (HFSR, "HFSR"), (DFSR, "DFSR"), (0xD3C, "AFSR")):
            self.add(offset, name, write=partial(self._clear, offset))
        self.add_storage(((MMFAR, "MMFAR"), (BFAR, "BFAR")))
        for offset, name, m4, m7 in _ID_REGISTERS:
            self.add(offset, name, m7 if self._m7 else m4, writable=0)

    def _add_mpu(self) -> None:
        self.mpu = Mpu(self._to.board.facts.memory)
        self.add(_MPU_TYPE, "MPU_TYPE", mpu.REGIONS << 8, writable=0)
        self.add(_MPU_CTRL, "MPU_CTRL", writable=0x7, changed=self._mpu_ctrl_changed)
        self.add(_MPU_RNR, "MPU_RNR", writable=mpu.REGIONS - 1)
        for alias in range(4):
            base = _MPU_RBAR + 8 * alias
            self.add(base, f"MPU_RBAR_A{alias}", read=self._read_rbar, write=self._write_rbar)
            self.add(base + 4, f"MPU_RASR_A{alias}", read=self._read_rasr, write=self._write_rasr)

    def _add_fpu_and_caches(self) -> None:
        double = self._to.board.facts.core.fpu == "fpv5-d16"
        self.add(CPACR, "CPACR", writable=0x00F0_0000, changed=self._to.counter.request_stop)
        self.add(FPCCR, "FPCCR", 0xC000_0000, writable=0xC000_017B, write=self._write_fpccr)
        self.add(FPCAR, "FPCAR", writable=0xFFFF_FFF8)
        defaults = 0xFFFF_FFFF, "defaults of FPSCR other than 0, set"
        self.add(0xF3C, "FPDSCR", writable=0, refuse=defaults)
        self.add(0xF40, "MVFR0", 0x1011_0221 if double else 0x1011_0021, writable=0)
        self.add(0xF44, "MVFR1", 0x1200_0011 if double else 0x1100_0011, writable=0)
        self.add(0xF48, "MVFR2", 0x40 if self._m7 else 0, writable=0)
        if not self._m7:
            return
        self.add(CSSELR, "CSSELR", writable=0xF)
        self.add(_CCSIDR, "CCSIDR", writable=0, read=self._read_ccsidr)
        # The model's memory is always coherent, so that maintenance has nothing to write back.
        self.add_storage(_CACHE_MAINTENANCE, writable=0)
        for offset, name in ((0xF50, "ICIALLU"), (0xF58, "ICIMVAU")):
            self.add(offset, name, writable=0, changed=lambda: self._to.core().cpu.code_changed())
        self.add_storage(_M7_STORAGE)

    def _read_debug(self, offset: int, master: Master) -> int:
        return self._to.core().debug.read(offset, master)

    def _write_debug(self, offset: int, value: int, master: Master) -> None:
        self._to.core().debug.write(offset, value, master)

    def _clear(self, offset: int, value: int, _master: Master) -> None:
        self.values[offset] &= ~value

    def _read_icsr(self, _master: Master) -> int:
        active, nvic = self._to.core().exceptions.active, self.nvic
        value = (active[-1] if active else 0) | (_RETTOBASE if len(active) == 1 else 0)
        value |= (nvic.first() or 0) << 12 | (_ISRPENDING if nvic.pending >> FIRST else 0)
        return value | sum(bit for n, bit in _SET_PENDING.items() if nvic.pending >> n & 1)

    def _write_icsr(self, value: int, _master: Master) -> None:
        for number, bit in _SET_PENDING.items():
            if value & bit:
                self.nvic.pend(number)
        for number, bit in _CLEAR_PENDING.items():
            if value & bit:
                self.nvic.unpend(number)

    def _read_shcsr(self, _master: Master) -> int:
        active = self._to.core().exceptions.active
        return self.values[SHCSR] | sum(_ACTIVE.get(number, 0) for number in active)

    def _scr_changed(self) -> None:
        if self.values[SCR] & _SLEEPDEEP:
            self.warn(
                f"{self._to.board.id}: the firmware prepares a deep sleep (SCR.SLEEPDEEP), which "
                "passes as sleep does here: clocks go on"
            )

    def _write_aircr(self, value: int, master: Master) -> None:
        if value >> 16 != _VECTKEY:
            return
        self.values[AIRCR] = _VECTKEY_READ << 16 | value & _PRIGROUP
        self.nvic.group = (value & _PRIGROUP) >> 8
        self._to.counter.request_stop()
        if value & _VECTCLRACTIVE and master is Master.DEBUGGER:
            self._to.core().exceptions.active.clear()
        if value & (_SYSRESETREQ | _VECTRESET):
            self._to.core().request_reset()

    def _follow_ccr(self) -> None:
        if not self.caches_work:
            self.values[CCR] &= ~_CCR_CACHES
        enabled = self.values[CCR]
        if self._to.observer is not None:
            self._to.observer.enable_caches(
                instruction=bool(enabled & 1 << 17), data=bool(enabled & 1 << 16)
            )

    def _write_fpccr(self, value: int, _master: Master) -> None:
        if not value & _FPCCR_ASPEN:
            raise self.unmodelled(FPCCR, "floating point without FPCCR.ASPEN, set by write")
        self.store(FPCCR, value)
        self._to.counter.request_stop()

    def _mpu_ctrl_changed(self) -> None:
        self.mpu.enabled = bool(self.values[_MPU_CTRL] & 1)
        if self.mpu.enabled and not self.values[_MPU_CTRL] & 1 << 2:
            raise self.unmodelled(
                _MPU_CTRL, "MPU without its default map (PRIVDEFENA), set by write"
            )
        self._mpu_changed()

    def _mpu_changed(self) -> None:
        self._to.counter.request_stop()  # before it goes on, the core forbids execution
        number = self.mpu.lets_pass()
        if number is not None:
            self.warn(
                f"{self._to.board.id}: MPU region {number} protects a part of a memory; accesses "
                "that it forbids would fault on the chip, but the virtual board lets them pass"
            )

    def _read_rbar(self, _master: Master) -> int:
        number = self.values[_MPU_RNR]
        return self.mpu.regions[number][0] | number

    def _write_rbar(self, value: int, _master: Master) -> None:
        self.values[_MPU_RNR] = self.mpu.set_base(self.values[_MPU_RNR], value)
        self._mpu_changed()

    def _read_rasr(self, _master: Master) -> int:
        return self.mpu.regions[self.values[_MPU_RNR]][1]

    def _write_rasr(self, value: int, _master: Master) -> None:
        self.mpu.set_attributes(self.values[_MPU_RNR], value)
        self._mpu_changed()

    def _read_ccsidr(self, _master: Master) -> int:
        caches = self._to.board.facts.caches
        selected = self.values[CSSELR]
        if selected >> 1:
            return 0
        size, ways = caches.dcache_bytes, caches.dcache_ways
        if selected & 1:
            size, ways = caches.icache_bytes, caches.icache_ways
        sets = size // (ways * caches.line_bytes)
        words = caches.line_bytes // 4
        return 0xF << 28 | (sets - 1) << 13 | (ways - 1) << 3 | words.bit_length() - 3
