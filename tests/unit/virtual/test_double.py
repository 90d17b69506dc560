"""Double precision on the board that has it, against the host's own arithmetic."""

from __future__ import annotations

import math
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest

from harness.boards import load_board
from harness.virtual.core.double import DoubleUnit
from harness.virtual.machine import VirtualMachine

pytestmark = pytest.mark.skipif(
    shutil.which("arm-none-eabi-as") is None, reason="apt-get install gcc-arm-none-eabi"
)

CODE, SPACE = 0x2000_1000, 0x2000_2000
CPACR, DHCSR, FPU_ON = 0xE000_ED88, 0xE000_EDF0, 0xF << 20
NAN = 0x7FF8_0000_0000_0000
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.1, 2.5, -3.5, 1e308, -1e308, 5e-324, math.inf, -math.inf,
           math.nan, 4294967295.0, -2147483649.5, 2.0**52 + 1)  # fmt: skip

# Text, and what it leaves in d0 for d0, d1, d2. Python rounds as IEEE 754 does.
BINARY: dict[str, Callable[[np.float64, np.float64, np.float64], np.float64]] = {
    "vadd.f64 d0, d1, d2": lambda _, n, m: n + m,
    "vsub.f64 d0, d1, d2": lambda _, n, m: n - m,
    "vmul.f64 d0, d1, d2": lambda _, n, m: n * m,
    "vnmul.f64 d0, d1, d2": lambda _, n, m: -(n * m),
    "vdiv.f64 d0, d1, d2": lambda _, n, m: n / m,
    "vmla.f64 d0, d1, d2": lambda d, n, m: d + n * m,
    "vmls.f64 d0, d1, d2": lambda d, n, m: d - n * m,
    "vnmla.f64 d0, d1, d2": lambda d, n, m: -d - n * m,
    "vnmls.f64 d0, d1, d2": lambda d, n, m: -d + n * m,
    "vsqrt.f64 d0, d1": lambda _, n, __: np.sqrt(n),
    "vabs.f64 d0, d1": lambda _, n, __: np.abs(n),
    "vneg.f64 d0, d1": lambda _, n, __: -n,
    "vmov.f64 d0, d1": lambda _, n, __: n,
    "vmov.f64 d0, #-0.1875": lambda *_: np.float64(-0.1875),
    "vrintz.f64 d0, d1": lambda _, n, __: np.trunc(n),
    "vrintr.f64 d0, d1": lambda _, n, __: np.rint(n),
    "vrintn.f64 d0, d1": lambda _, n, __: np.rint(n),
    "vrintp.f64 d0, d1": lambda _, n, __: np.ceil(n),
    "vrintm.f64 d0, d1": lambda _, n, __: np.floor(n),
    "vmaxnm.f64 d0, d1, d2": lambda _, n, m: np.fmax(n, m),
    "vminnm.f64 d0, d1, d2": lambda _, n, m: np.fmin(n, m),
}


class Core:
    """The core, with code to run on three double registers."""

    def __init__(self, machine: VirtualMachine, folder: Path) -> None:
        self.machine, self.folder = machine, folder
        machine.halt()
        machine.write_memory(DHCSR, struct.pack("<I", 0xA05F_0003))
        machine.write_memory(CPACR, struct.pack("<I", FPU_ON))

    def assemble(self, text: str) -> None:
        """Put `text` between loads and stores of d0 to d3, and a breakpoint."""
        source = self.folder / "code.s"
        source.write_text(
            ".syntax unified\n.thumb\n.fpu fpv5-d16\n"
            "vldmia r0, {d0-d3}\n" + text + "\nvstmia r0, {d0-d3}\nmov r2, r1\nbkpt #0\n"
        )
        files = [str(self.folder / name) for name in ("code.o", "code.bin")]
        command = ["arm-none-eabi-as", "-mcpu=cortex-m7", str(source), "-o", files[0]]
        subprocess.run(command, check=True)
        subprocess.run(["arm-none-eabi-objcopy", "-O", "binary", *files], check=True)
        self.machine.write_memory(CODE, Path(files[1]).read_bytes())
        self.machine.code_changed()

    def start(self, *values: float, r1: int = 0) -> None:
        """Run the code on d0 to d3 and r1."""
        padded = [*values, 0.0, 0.0, 0.0, 0.0][:4]
        self.machine.write_memory(SPACE, struct.pack("<4d", *padded))
        cpu = self.machine.cpu
        cpu.write_register(0, SPACE)
        cpu.write_register(1, r1)
        cpu.pc = CODE
        self.machine.redirected()  # without firmware the core is locked up
        self.machine.resume()

    def run(self, *values: float, r1: int = 0) -> tuple[int, int]:
        """Return what the code leaves in d0, as bits, and in r1."""
        self.start(*values, r1=r1)
        self.machine.wait_halted(10)
        assert self.machine.halted
        cpu = self.machine.cpu
        return struct.unpack("<Q", self.machine.read_memory(SPACE, 8))[0], cpu.read_register(2)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    machine = VirtualMachine(load_board("nucleo_f767zi"))
    yield Core(machine, tmp_path_factory.mktemp("double"))
    machine.close()


def bits(value: float) -> int:
    return int.from_bytes(struct.pack("<d", value), "little")


def operands(count: int = 40) -> Iterator[tuple[float, float, float]]:
    random = Random(1)
    for first in SPECIAL:
        for second in random.sample(SPECIAL, 6):
            yield random.choice(SPECIAL), first, second

    def number() -> float:
        return random.uniform(-9, 9) * 10.0 ** random.randint(-9, 9)

    for _ in range(count):
        yield number(), number(), number()


@pytest.mark.parametrize("text", BINARY)
def test_arithmetic_is_that_of_ieee_754(core: Core, text: str) -> None:
    core.assemble(text)
    for values in operands():
        with np.errstate(all="ignore"):
            expected = float(BINARY[text](*map(np.float64, values)))
        found, _ = core.run(*values)
        if math.isnan(expected):
            assert found & NAN == NAN, (text, values)
        elif "nm." in text and expected == 0:  # of two zeros the host may return either
            assert found << 1 & 0xFFFF_FFFF_FFFF_FFFF == 0
        else:
            assert found == bits(expected), (text, values, hex(found), expected)


def test_a_fused_multiplication_rounds_once(core: Core) -> None:
    near = 1 + 2.0**-30
    core.assemble("vfma.f64 d0, d1, d2")
    assert core.run(-1 - 2.0**-29, near, near)[0] == bits(2.0**-60)
    assert core.run(-math.inf, 1e200, 1e200)[0] == bits(-math.inf)
    assert core.run(0.0, 1e200, 1e200)[0] == bits(math.inf)
    assert core.run(-6.0, 2.0, 3.0)[0] == bits(0.0)
    core.assemble("vfms.f64 d0, d1, d2")
    assert core.run(1 + 2.0**-29, near, near)[0] == bits(-(2.0**-60))
    core.assemble("vfnma.f64 d0, d1, d2")
    assert core.run(1.0, 2.0, 3.0)[0] == bits(-7.0)
    core.assemble("vfnms.f64 d0, d1, d2")
    assert core.run(1.0, 2.0, 3.0)[0] == bits(5.0)


def test_comparisons_set_the_flags(core: Core) -> None:
    core.assemble("vcmp.f64 d1, d2\nvmrs APSR_nzcv, FPSCR\nmrs r1, APSR")
    flags = {(1.0, 2.0): 8, (2.0, 1.0): 2, (0.0, -0.0): 6, (math.nan, 1.0): 3}
    for (left, right), expected in flags.items():
        assert core.run(0.0, left, right)[1] >> 28 == expected
    core.assemble("vcmp.f64 d1, #0.0\nvmrs APSR_nzcv, FPSCR\nvselgt.f64 d0, d1, d2")
    assert core.run(0.0, 3.0, 4.0)[0] == bits(3.0)
    assert core.run(0.0, -3.0, 4.0)[0] == bits(4.0)


def test_an_it_block_goes_on_behind_the_instruction(core: Core) -> None:
    core.assemble(
        "cmp r1, #5\nittee eq\nvaddeq.f64 d0, d0, d1\nmoveq r1, #1\n"
        "vsubne.f64 d0, d0, d1\nmovne r1, #2"
    )
    assert core.run(1.0, 0.5, r1=5) == (bits(1.5), 1)
    assert core.run(1.0, 0.5, r1=6) == (bits(0.5), 2)


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("vcvt.s32.f64 s4, d1", -7.9, -7),
        ("vcvt.s32.f64 s4, d1", 1e30, 2**31 - 1),
        ("vcvt.s32.f64 s4, d1", math.nan, 0),
        ("vcvt.u32.f64 s4, d1", -1.0, 0),
        ("vcvt.u32.f64 s4, d1", 3e9, 3_000_000_000 - 2**32),
        ("vcvtr.s32.f64 s4, d1", 2.5, 2),
        ("vcvta.s32.f64 s4, d1", 2.5, 3),
        ("vcvtp.s32.f64 s5, d1\nvmov s4, s5", -2.5, -2),
        ("vcvtm.s32.f64 s4, d1", -2.5, -3),
        ("vcvt.f32.f64 s4, d1", 0.1, struct.unpack("<i", struct.pack("<f", 0.1))[0]),
        ("vcvt.f32.f64 s4, d1", 1e300, 0x7F80_0000),
    ],
)
def test_conversions_to_four_bytes(core: Core, text: str, value: float, expected: int) -> None:
    core.assemble(f"{text}\nvmov r1, s4")
    assert core.run(0.0, value)[1] == expected & 0xFFFF_FFFF


@pytest.mark.parametrize(
    ("text", "word", "expected"),
    [
        ("vcvt.f64.s32 d0, s5", 0xFFFF_FFFE, -2.0),
        ("vcvt.f64.u32 d0, s4", 0xFFFF_FFFE, 4294967294.0),
        ("vcvt.f64.f32 d0, s4", 0x3DCC_CCCD, float(np.float32(0.1))),
        ("vcvt.f64.f32 d0, s5", 0xFF80_0000, -math.inf),
    ],
)
def test_conversions_from_four_bytes(core: Core, text: str, word: int, expected: float) -> None:
    core.assemble(f"vmov s4, s5, r1, r1\n{text}")
    assert core.run(r1=word)[0] == bits(expected)


TOWARDS_ZERO = "vmrs r2, FPSCR\norr r2, r2, #0xC00000\nvmsr FPSCR, r2\n"


@pytest.mark.parametrize(
    ("before", "bug", "expected"),
    [
        (TOWARDS_ZERO, False, "instruction is not modelled"),
        # Nobody looks at the core's thread: a bug there must not leave others waiting for it.
        ("", True, "bug in the virtual board: ZeroDivisionError"),
    ],
)
def test_what_cannot_be_executed_stops_the_core_and_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, bug: bool, expected: str
) -> None:
    machine = VirtualMachine(load_board("nucleo_f767zi"))
    core = Core(machine, tmp_path)
    if bug:
        monkeypatch.setattr(DoubleUnit, "_read", lambda *_: 1 // 0)
    core.assemble(before + "vadd.f64 d0, d1, d2")
    core.start(0.0, 1.0, 2.0)
    machine.wait_halted(10)
    assert machine.locked_up and machine.error is not None
    assert expected in machine.error.what
    machine.close()


def test_fixed_point(core: Core) -> None:
    core.assemble("vcvt.s32.f64 d0, d0, #7")
    assert core.run(-1.5)[0] == (-192) & 0xFFFF_FFFF_FFFF_FFFF
    core.assemble("vcvt.f64.u16 d0, d0, #4")
    assert core.run(struct.unpack("<d", (0xFFF8).to_bytes(8, "little"))[0])[0] == bits(4095.5)
