"""What each board's core executes and refuses, and how it takes exceptions (ARMv7-M ARM).

Instructions are encoded as words, so that only the emulator is needed. Every program runs from RAM
under a debugger and ends at a breakpoint; so does the handler of every exception.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

import pytest

from support.needs import EMULATOR

pytest.importorskip("unicorn", reason=EMULATOR)

from harness.boards import load_board
from harness.errors import VirtualError
from harness.virtual.machine import VirtualMachine

F446, F746, F767, L4R5 = "nucleo_f446re", "nucleo_f746zg", "nucleo_f767zi", "nucleo_l4r5zi"
NRF52840 = "nrf52840_dk"
BOARDS = (F446, F746, F767, L4R5, NRF52840)
M7 = (F746, F767)

VECTORS, HANDLERS, CODE, DATA = 0x2000_0000, 0x2000_0100, 0x2000_1000, 0x2000_2000
PROCESS_STACK, MAIN_STACK = 0x2000_6000, 0x2000_8000
VTOR, AIRCR, SHCSR, CFSR, HFSR, CPACR = (
    0xE000_ED08,
    0xE000_ED0C,
    0xE000_ED24,
    0xE000_ED28,
    0xE000_ED2C,
    0xE000_ED88,
)
ICSR, SHPR2, FPCCR, FPCAR = 0xE000_ED04, 0xE000_ED1C, 0xE000_EF34, 0xE000_EF38
DHCSR, DCRSR, DCRDR = 0xE000_EDF0, 0xE000_EDF4, 0xE000_EDF8
CCR, LSPACT = 0xE000_ED14, 1 << 0
SP, LR, PC, XPSR, MSP, PSP, SPECIAL, FPSCR, S0 = 13, 14, 15, 16, 17, 18, 20, 33, 64
HARD, MEMORY, BUS, USAGE, SVC = 3, 4, 5, 6, 11
PRIMASK, BASEPRI, FAULTMASK, NPRIV, SPSEL, FPCA = 1, 1 << 8, 1 << 16, 1 << 24, 1 << 25, 1 << 26
UNDEFINSTR, INVPC, NOCP, UNALIGNED = 1 << 16, 1 << 18, 1 << 19, 1 << 24
IACCVIOL, FORCED = 1 << 0, 1 << 30

BKPT, BX_LR, NOP, SVC_0, UDF, CPSID, CPSIE = 0xBE00, 0x4770, 0xBF00, 0xDF00, 0xDE00, 0xB672, 0xB662
MRS_CONTROL, MSR_CONTROL = 0xF3EF_8014, 0xF380_8814  # r0
MRS_PRIMASK, MSR_PRIMASK = 0xF3EF_8010, 0xF380_8810
MRS_BASEPRI, MSR_BASEPRI, MSR_BASEPRI_MAX = 0xF3EF_8011, 0xF380_8811, 0xF380_8812
MSR_FAULTMASK, MRS_IPSR, ISB = 0xF380_8813, 0xF3EF_8005, 0xF3BF_8F6F
STR_R1_R2, MOV_PC_R3 = 0x6011, 0x469F
VADD_F32, VMOV_S0_R0 = 0xEE30_0A81, 0xEE00_0A10  # s0, s1, s2


class Core:
    """A board's core under a debugger."""

    def __init__(self, machine: VirtualMachine) -> None:
        self.machine = machine
        self.poke(DHCSR, 0xA05F_0003)
        self.poke(VTOR, VECTORS)
        self.poke(SHCSR, 0x0007_0000)
        self.poke(CFSR, 0xFFFF_FFFF)
        self.poke(HFSR, 0xFFFF_FFFF)
        self.poke(CPACR, 0xF << 20)
        self.poke(SHPR2, 0)
        self.poke(FPCCR, 0xC000_0000)
        self[XPSR] = 1 << 24
        self[SPECIAL] = 0
        for number in (*range(13), FPSCR, *range(S0, S0 + 32)):
            self[number] = 0
        self[MSP], self[PSP], self[LR] = MAIN_STACK, PROCESS_STACK, 0xFFFF_FFFF
        for number in range(16):
            self.poke(VECTORS + 4 * number, HANDLERS + 16 * number | 1)
            self.handler(number)

    def poke(self, address: int, value: int) -> None:
        """Write a word."""
        self.machine.debugger.write(address, struct.pack("<I", value))

    def peek(self, address: int) -> int:
        """Read a word."""
        return int(struct.unpack("<I", self.machine.debugger.read(address, 4))[0])

    def __getitem__(self, number: int) -> int:
        self.poke(DCRSR, number)
        return self.peek(DCRDR)

    def __setitem__(self, number: int, value: int) -> None:
        self.poke(DCRDR, value & 0xFFFF_FFFF)
        self.poke(DCRSR, 1 << 16 | number)

    def store(self, address: int, *instructions: int) -> None:
        """Store instructions: words that are 32-bit encodings, or halfwords."""
        code = b"".join(
            struct.pack("<2H", one >> 16, one & 0xFFFF) if one >> 16 else struct.pack("<H", one)
            for one in instructions
        )
        self.machine.debugger.write(address, code)

    def handler(self, number: int, *instructions: int) -> None:
        """Let the handler of an exception execute instructions, then stop, then return."""
        self.store(HANDLERS + 16 * number, *instructions, BKPT | number, BX_LR)

    def run(self, *instructions: int) -> int:
        """Run a program; return the number of the breakpoint that it stopped at (0: its end)."""
        self.store(CODE, *instructions, BKPT)
        self[PC] = CODE
        return self.resume()

    def deactivate(self) -> None:
        """Leave all handlers without a return."""
        self.poke(AIRCR, 0x05FA_0002)  # VECTCLRACTIVE
        self[XPSR] = 1 << 24

    def resume(self) -> int:
        """Go on behind a breakpoint, or at PC; return the number of the next breakpoint."""
        at = self[PC]
        if at != CODE:
            self[PC] = at + 2
        self.poke(DHCSR, 0xA05F_0001)
        deadline = time.monotonic() + 10
        while not self.peek(DHCSR) & 1 << 17:
            assert time.monotonic() < deadline, "the core does not reach a breakpoint"
        return self.machine.debugger.read(self[PC], 1)[0]

    def stack(self, pointer: int, count: int = 8) -> list[int]:
        """Return words of a stack."""
        return [self.peek(pointer + 4 * n) for n in range(count)]


@pytest.fixture(scope="module", params=BOARDS)
def machine(request: pytest.FixtureRequest) -> Iterator[VirtualMachine]:
    machine = VirtualMachine(load_board(request.param), block_cycles=lambda code, address: 1)
    yield machine
    machine.close()


@pytest.fixture
def core(machine: VirtualMachine) -> Core:
    machine.core.reset()
    return Core(machine)


def single(value: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


def double(value: float) -> dict[int, int]:
    low, high = struct.unpack("<II", struct.pack("<d", value))
    return {0: low, 1: high}


def registers(first: int, *values: float) -> dict[int, int]:
    """Return double registers from d<first> on, as their halves."""
    found = {}
    for number, value in enumerate(values, first):
        found |= {S0 + 2 * number + half: word for half, word in double(value).items()}
    return found


ONE_TWO = {S0 + 1: single(1.5), S0 + 2: single(2.25)}
DOUBLES = registers(1, 1.5, 2.25)

# Name, encoding, registers before and after. r1 = 1 and so on: numbers of DCRSR.
EXECUTED: tuple[tuple[str, int, dict[int, int], dict[int, int], tuple[str, ...]], ...] = (
    ("sdiv r0, r1, r2", 0xFB91_F0F2, {1: -7, 2: 2}, {0: -3}, BOARDS),
    ("sdiv by zero", 0xFB91_F0F2, {1: -7, 2: 0}, {0: 0}, BOARDS),
    ("udiv r0, r1, r2", 0xFBB1_F0F2, {1: 0xFFFF_FFFF, 2: 2}, {0: 0x7FFF_FFFF}, BOARDS),
    ("qadd r0, r1, r2", 0xFA82_F081, {1: 0x7FFF_FFFF, 2: 1}, {0: 0x7FFF_FFFF, XPSR: 0x0900_0000},
     BOARDS),
    ("qsub r0, r1, r2", 0xFA82_F0A1, {1: 0x8000_0000, 2: 1}, {0: 0x8000_0000}, BOARDS),
    ("ssat r0, #8, r1", 0xF301_0007, {1: 1000}, {0: 127}, BOARDS),
    ("usat r0, #8, r1", 0xF381_0008, {1: 1000}, {0: 255}, BOARDS),
    ("smlad r0, r1, r2, r3", 0xFB21_3002, {1: 0x0002_0003, 2: 0x0005_FFFF, 3: 100}, {0: 107},
     BOARDS),
    ("smlald r0, r1, r2, r3", 0xFBC2_01C3, {0: 1, 2: 0x0002_0003, 3: 0x0005_0004}, {0: 23, 1: 0},
     BOARDS),
    ("smmul r0, r1, r2", 0xFB51_F002, {1: 1 << 30, 2: 12}, {0: 3}, BOARDS),
    ("umaal r0, r1, r2, r3", 0xFBE2_0163, {0: 1, 1: 2, 2: 3, 3: 4}, {0: 15, 1: 0}, BOARDS),
    ("pkhbt r0, r1, r2", 0xEAC1_0002, {1: 0x1111_2222, 2: 0x3333_4444}, {0: 0x3333_2222}, BOARDS),
    ("sxtb16 r0, r1", 0xFA2F_F081, {1: 0x0080_007F}, {0: 0xFF80_007F}, BOARDS),
    ("uadd8 r0, r1, r2", 0xFA81_F042, {1: 0xFF01_FF01, 2: 0x0101_0101},
     {0: 0x0002_0002, XPSR: 0x010A_0000}, BOARDS),
    ("clz r0, r1", 0xFAB1_F081, {1: 0x0000_8000}, {0: 16}, BOARDS),
    ("rbit r0, r1", 0xFA91_F0A1, {1: 1}, {0: 0x8000_0000}, BOARDS),
    ("ldrex r0, [r1]", 0xE851_0F00, {1: VECTORS + 4}, {0: HANDLERS + 16 | 1}, BOARDS),
    ("vadd.f32 s0, s1, s2", VADD_F32, ONE_TWO, {S0: single(3.75)}, BOARDS),
    ("vfma.f32 s0, s1, s2", 0xEEA0_0A81, ONE_TWO, {S0: single(3.375)}, BOARDS),
    ("vsqrt.f32 s0, s2", 0xEEB1_0AC1, ONE_TWO, {S0: single(1.5)}, BOARDS),
    ("vcvt.s32.f32 s0, s2", 0xEEBD_0AC1, ONE_TWO, {S0: 2}, BOARDS),
    ("vmov r0, r1, d1", 0xEC51_0B11, DOUBLES, double(1.5), BOARDS),
    ("vldr d0, [r1]", 0xED91_0B00, {1: VECTORS + 8}, {S0: 0x2000_0121, S0 + 1: 0x2000_0131},
     BOARDS),
    ("vmaxnm.f32 s0, s1, s2", 0xFE80_0A81, ONE_TWO, {S0: single(2.25)}, M7),
    ("vseleq.f32 s0, s1, s2", 0xFE00_0A81, ONE_TWO, {S0: single(2.25)}, M7),
    ("vrintz.f32 s0, s2", 0xEEB6_0AC1, ONE_TWO, {S0: single(2.0)}, M7),
    ("vcvta.s32.f32 s0, s1", 0xFEBC_0AE0, ONE_TWO, {S0: 2}, M7),
    ("vadd.f64 d0, d1, d2", 0xEE31_0B02, DOUBLES, registers(0, 3.75), (F767,)),
    ("vdiv.f64 d0, d1, d2", 0xEE81_0B02, registers(1, 4.5, 2.25), registers(0, 2.0), (F767,)),
    ("vfma.f64 d0, d1, d2", 0xEEA1_0B02, DOUBLES, registers(0, 3.375), (F767,)),
    ("vcmp.f64 d1, d2", 0xEEB4_1B42, DOUBLES, {FPSCR: 0x8000_0000}, (F767,)),
    ("vcvt.f64.f32 d0, s1", 0xEEB7_0AE0, ONE_TWO, registers(0, 1.5), (F767,)),
    ("vcvt.f32.f64 s0, d1", 0xEEB7_0BC1, DOUBLES, {S0: single(1.5)}, (F767,)),
    ("vcvt.f64.s32 d0, s1", 0xEEB8_0BE0, {S0 + 1: -3}, registers(0, -3.0), (F767,)),
    ("vmov.f64 d0, d1", 0xEEB0_0B41, DOUBLES, registers(0, 1.5), (F767,)),
    ("vmaxnm.f64 d0, d1, d2", 0xFE81_0B02, DOUBLES, registers(0, 2.25), (F767,)),
    ("vrinta.f64 d0, d2", 0xFEB8_0B42, DOUBLES, registers(0, 2.0), (F767,)),
)  # fmt: skip
# ARMv8-M, ARMv8-A, and what only cores of the A and R profiles have.
REFUSED = {
    "lda r0, [r1]": 0xE8D1_0FAF,
    "stl r0, [r1]": 0xE8C1_0FAF,
    "tt r0, r1": 0xE841_F000,
    "crc32b r0, r1, r2": 0xFAC1_F082,
    "smc #0": 0xF7F0_8000,
    "hvc #0": 0xF7E0_8000,
    "vadd.f64 d16, d1, d2": 0xEE71_0B02,
}
ABSENT = {"mrc p0, 0, r0, c0, c0": 0xEE10_0010, "mcr p15, 0, r0, c7, c5": 0xEE07_0F15}


@pytest.mark.parametrize(("name", "word", "before", "after", "boards"), EXECUTED)
def test_an_instruction_of_the_core_is_executed_and_others_are_undefined(
    core: Core,
    name: str,
    word: int,
    before: dict[int, int],
    after: dict[int, int],
    boards: tuple[str, ...],
) -> None:
    for number, value in before.items():
        core[number] = value
    found = core.run(word)
    if core.machine.board.id not in boards:
        assert (found, core.peek(CFSR)) == (USAGE, UNDEFINSTR), name
        assert core.stack(core[MSP])[6] == CODE
        return
    assert found == 0, name
    assert {n: core[n] for n in after} == {n: v & 0xFFFF_FFFF for n, v in after.items()}
    uses_floats = word & 0xEC00_0E00 == 0xEC00_0A00
    assert core[SPECIAL] == (FPCA if uses_floats else 0)  # no CONTROL.SFPA, which is ARMv8-M's


@pytest.mark.parametrize("name", REFUSED)
def test_an_instruction_of_no_armv7m_core_is_undefined(core: Core, name: str) -> None:
    assert core.run(REFUSED[name]) == USAGE
    assert core.peek(CFSR) == UNDEFINSTR


@pytest.mark.parametrize("name", ABSENT)
def test_a_coprocessor_that_is_not_there_is_reported(core: Core, name: str) -> None:
    assert core.run(ABSENT[name]) == USAGE
    assert core.peek(CFSR) == NOCP


def test_floating_point_needs_cpacr(core: Core) -> None:
    core[1], core[2] = 0, CPACR
    assert core.run(VADD_F32) == 0
    assert core.run(STR_R1_R2, ISB, NOP, VADD_F32) == USAGE  # switched off
    assert core.peek(CFSR) == NOCP
    assert core.stack(core[MSP])[6] == CODE + 8
    core.poke(CPACR, 0xF << 20)
    core.deactivate()
    assert core.run(VADD_F32) == 0
    core.poke(CPACR, 0)
    core[1] = 0xF << 20
    assert core.run(STR_R1_R2, ISB, VADD_F32) == 0  # switched on


def test_exclusive_stores_fail_after_an_exception(core: Core) -> None:
    core[1], core[2] = DATA, 7
    assert core.run(0xE851_3F00, 0xE841_2000) == 0  # ldrex r3, [r1]; strex r0, r2, [r1]
    assert (core[0], core.peek(DATA)) == (0, 7)
    assert core.run(0xE841_2000) == 0
    assert core[0] == 1


# Exceptions.


def flagged(core: Core) -> list[int]:
    """Give the registers of a frame values; return them as they are stacked."""
    for number in (0, 1, 2, 3, 12):
        core[number] = 0x100 + number
    core[LR] = 0x1234_5679
    core[XPSR] = 0xF90F_0000  # NZCVQ, Thumb, GE
    return [0x100, 0x101, 0x102, 0x103, 0x10C, 0x1234_5679]


def test_an_exception_on_the_main_stack(core: Core) -> None:
    values = flagged(core)
    assert core.run(SVC_0) == SVC
    assert core[SP] == core[MSP] == MAIN_STACK - 0x20
    assert core.stack(core[MSP]) == [*values, CODE + 2, 0xF90F_0000]
    assert core[LR] == 0xFFFF_FFF9
    assert core[XPSR] & 0x1FF == SVC
    for number in (0, 1, 2, 3, 12):
        core[number] = 0
    core[XPSR] = 0x0100_0000 | SVC
    assert core.resume() == 0
    assert core[PC] == CODE + 2
    assert [core[n] for n in (0, 1, 2, 3, 12, LR)] == values
    assert core[XPSR] == 0xF90F_0000
    assert core[MSP] == MAIN_STACK


def test_an_exception_on_the_process_stack(core: Core) -> None:
    core[0] = 2
    core.handler(SVC, MRS_CONTROL)
    assert core.run(MSR_CONTROL, ISB, SVC_0) == SVC
    assert core[LR] == 0xFFFF_FFFD
    assert (core[0], core[SPECIAL]) == (0, 0)  # handlers run on the main stack
    assert (core[SP], core[PSP]) == (MAIN_STACK, PROCESS_STACK - 0x20)
    assert core.stack(core[PSP])[6] == CODE + 10
    assert core.resume() == 0
    assert core[SPECIAL] == SPSEL
    assert core[SP] == core[PSP] == PROCESS_STACK
    assert core[MSP] == MAIN_STACK


def test_an_unprivileged_thread_changes_nothing_but_a_handler_may(core: Core) -> None:
    core[0] = 3
    core.handler(SVC, CPSID, MRS_IPSR)
    assert core.run(MSR_CONTROL, ISB, CPSID, SVC_0) == SVC
    assert core[0] == SVC
    assert core[SPECIAL] == NPRIV | PRIMASK
    assert core.resume() == 0
    assert core[SPECIAL] == NPRIV | SPSEL | PRIMASK
    core[0] = 0
    assert core.run(MSR_CONTROL, CPSIE, MRS_CONTROL) == 0  # ignored in unprivileged mode
    assert core[SPECIAL] == NPRIV | SPSEL | PRIMASK
    assert core[0] == 3


def test_the_frame_is_aligned(core: Core) -> None:
    core[MSP] = MAIN_STACK - 4
    assert core.run(SVC_0) == SVC
    assert core[MSP] == MAIN_STACK - 8 - 0x20
    assert core.stack(core[MSP])[7] & 1 << 9
    assert core.resume() == 0
    assert core[MSP] == MAIN_STACK - 4


def test_an_exception_within_a_handler(core: Core) -> None:
    core.handler(SVC, UDF)
    assert core.run(SVC_0) == HARD  # UsageFault is no more urgent than SVCall
    assert core[LR] == 0xFFFF_FFF1
    assert core.peek(HFSR) == FORCED
    assert core.peek(ICSR) == HARD
    assert core.peek(SHCSR) == 0x0007_0080  # SVCALLACT
    frame = core.stack(core[MSP])
    assert (frame[6], frame[7] & 0x1FF) == (HANDLERS + 16 * SVC, SVC)
    core.poke(core[MSP] + 24, frame[6] + 2)
    assert core.resume() == SVC
    assert core[XPSR] & 0x1FF == SVC
    assert core.peek(ICSR) == SVC | 1 << 11  # RETTOBASE
    assert core.resume() == 0
    assert core.peek(ICSR) == 0
    assert core[MSP] == MAIN_STACK


def with_floats(core: Core) -> None:
    for number in range(16):
        core[S0 + number] = single(number)
        core.poke(MAIN_STACK - 0x48 + 4 * number, 0xDEAD_BEEF)
    core[FPSCR] = 0x6000_0000
    core[SPECIAL] = FPCA


def test_floating_point_state_is_saved_when_a_handler_uses_it(core: Core) -> None:
    with_floats(core)
    core[0] = single(99.0)
    core.handler(SVC, BKPT, NOP, VMOV_S0_R0)
    assert core.run(SVC_0) == 0
    frame = core[MSP]
    assert core[LR] == 0xFFFF_FFE9
    assert frame == MAIN_STACK - 0x68
    assert core[SPECIAL] == 0
    assert core.peek(FPCCR) & LSPACT
    assert core.peek(FPCAR) == frame + 0x20
    assert set(core.stack(frame + 0x20, 16)) == {0xDEAD_BEEF}  # only reserved
    assert core.resume() == SVC
    assert not core.peek(FPCCR) & LSPACT
    assert core[SPECIAL] == FPCA
    assert core.stack(frame + 0x20, 17) == [*(single(n) for n in range(16)), 0x6000_0000]
    assert core[S0] == single(99.0)
    assert core.resume() == 0
    assert [core[S0 + n] for n in range(16)] == [single(n) for n in range(16)]
    assert (core[FPSCR], core[SPECIAL], core[MSP]) == (0x6000_0000, FPCA, MAIN_STACK)


def test_floating_point_state_that_no_handler_used_stays_where_it_is(core: Core) -> None:
    with_floats(core)
    assert core.run(SVC_0) == SVC
    assert core.peek(FPCCR) & LSPACT
    assert core.resume() == 0
    assert not core.peek(FPCCR) & LSPACT
    assert set(core.stack(MAIN_STACK - 0x48, 16)) == {0xDEAD_BEEF}
    assert [core[S0 + n] for n in range(16)] == [single(n) for n in range(16)]
    assert (core[SPECIAL], core[MSP]) == (FPCA, MAIN_STACK)
    assert core.run(VADD_F32) == 0


def test_floating_point_state_is_saved_at_once_without_lspen(core: Core) -> None:
    core.poke(FPCCR, 0x8000_0000)
    with_floats(core)
    core[0] = single(99.0)
    core.handler(SVC, VMOV_S0_R0)
    assert core.run(SVC_0) == SVC
    assert not core.peek(FPCCR) & LSPACT
    assert core.stack(core[MSP] + 0x20, 16) == [single(n) for n in range(16)]
    assert core.resume() == 0
    assert core[S0] == 0


def test_primask_escalates_faults_and_calls(core: Core) -> None:
    assert core.run(CPSID, UDF) == HARD
    assert (core.peek(HFSR), core.peek(CFSR)) == (FORCED, UNDEFINSTR)
    assert core.stack(core[MSP])[6] == CODE + 2
    core.deactivate()
    assert core[SPECIAL] == PRIMASK
    assert core.run(SVC_0) == HARD


@pytest.mark.parametrize(("priority", "taken"), [(0x30, SVC), (0x40, HARD), (0x50, HARD)])
def test_basepri_masks_what_is_no_more_urgent(core: Core, priority: int, taken: int) -> None:
    core.poke(SHPR2, priority << 24 | 0x000F_0F0F)
    bits = 0xE0 if core.machine.board.id == NRF52840 else 0xF0
    assert core.peek(SHPR2) == (priority & bits) << 24
    core[0] = 0x40
    assert core.run(MSR_BASEPRI, SVC_0) == taken


def test_special_registers_read_back(core: Core) -> None:
    core[0] = 0x40
    assert core.run(MSR_BASEPRI, MRS_BASEPRI) == 0
    assert (core[0], core[SPECIAL]) == (0x40, 0x40 * BASEPRI)
    core[0] = 0x60
    assert core.run(MSR_BASEPRI_MAX, MRS_BASEPRI) == 0
    assert core[0] == 0x40  # only a lower, more urgent value is taken
    core[0] = 0x20
    assert core.run(MSR_BASEPRI_MAX, MRS_BASEPRI) == 0
    assert core[0] == 0x20
    core[0] = 1
    assert core.run(MSR_PRIMASK, MRS_PRIMASK, MSR_FAULTMASK) == 0
    assert core[0] == 1
    assert core[SPECIAL] == FAULTMASK | 0x20 * BASEPRI | PRIMASK


@pytest.mark.xfail(strict=True, reason="Unicorn keeps all eight bits of BASEPRI")
def test_basepri_has_four_bits(core: Core) -> None:
    core[0] = 0xFF
    core.run(MSR_BASEPRI, MRS_BASEPRI)
    assert core[0] == 0xF0


@pytest.mark.parametrize(
    "word",
    [0xE9D2_0100, 0xE9C2_0100, 0xE892_0003, 0xE882_0003, 0xED92_0A00],
    ids=["ldrd", "strd", "ldm", "stm", "vldr"],
)
@pytest.mark.xfail(strict=True, reason="Unicorn makes these accesses at any address")
def test_accesses_that_must_be_aligned_fault(core: Core, word: int) -> None:
    core[2] = DATA + 2
    assert core.run(word) == USAGE
    assert core.peek(CFSR) == UNALIGNED


@pytest.mark.parametrize("bit", [3, 4], ids=["UNALIGN_TRP", "DIV_0_TRP"])
def test_a_trap_that_the_emulator_lacks_cannot_be_set(core: Core, bit: int) -> None:
    with pytest.raises(VirtualError, match="not modelled"):
        core.poke(CCR, 0x200 | 1 << bit)


def test_a_return_from_nothing_is_a_branch_to_where_no_code_may_be(core: Core) -> None:
    core[LR] = 0xFFFF_FFF9
    assert core.run(BX_LR) == MEMORY
    assert core.peek(CFSR) == IACCVIOL


@pytest.mark.parametrize("code", [0xFFFF_FFF1, 0xFFFF_FFF5, 0xFFFF_FFF7])
def test_a_return_that_fits_nothing_is_a_fault_on_the_same_frame(core: Core, code: int) -> None:
    assert core.run(SVC_0) == SVC
    core[LR] = code
    assert core.resume() == USAGE
    assert core.peek(CFSR) == INVPC
    assert (core[LR], core[MSP]) == (code, MAIN_STACK - 0x20)


def test_a_fault_within_hardfault_locks_the_core_up(core: Core) -> None:
    core.handler(HARD, UDF)
    core.store(CODE, CPSID, UDF)
    core[PC] = CODE
    core.poke(DHCSR, 0xA05F_0001)
    core.machine.core.wait_halted(10)
    assert core.peek(DHCSR) & 1 << 19


def test_a_cortex_m4_has_a_word_for_each_bit_of_a_register(core: Core) -> None:
    board = core.machine.board.id
    register = {F446: 0x4002_3840, L4R5: 0x4002_1058}.get(board)  # RCC_APB1ENR, RCC_APB1ENR1
    if register is None:  # a Cortex-M7 has no bit-band, nor has an nRF52
        assert core.machine.chip.bus.plain(0x4247_0000) == 0x4247_0000
        return
    before = core.peek(register)
    core[2] = 0x4200_0000 + (register - 0x4000_0000) * 32 + 28 * 4  # PWREN
    core[1] = 0xFFFF_FF01  # only bit 0 counts
    assert core.run(STR_R1_R2, 0x6813) == 0  # ldr r3, [r2]
    assert core[3] == 1
    assert core.peek(register) == before | 1 << 28
    core[1] = 0
    core.run(STR_R1_R2)
    assert core.peek(register) == before & ~(1 << 28)
