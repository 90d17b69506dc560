"""A virtual board with the tests' own small firmware."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.needs import COMPILER, EMULATOR, has_compiler

pytest.importorskip("unicorn", reason=EMULATOR)

from harness.boards import Board, load_board
from harness.virtual.chip.peripherals.clock import ResetCause
from harness.virtual.machine import VirtualMachine

FIRMWARE = Path(__file__).parent / "tiny"
BOARDS = ("nucleo_f746zg", "nucleo_f767zi", "nucleo_f446re", "nucleo_l4r5zi")


def build_tiny(board: Board, folder: Path, source: str = "tiny.c") -> Path:
    """Compile the tests' own firmware for `board`, from a file of that folder."""
    if not has_compiler:
        pytest.skip(COMPILER)
    core = board.facts.core
    elf = folder / f"{board.id}.elf"
    options = [f"-mcpu={core.cpu}", f"-mfpu={core.fpu}", "-mfloat-abi=hard", "-mthumb"]
    options += ["-O2", "-nostdlib", "-ffreestanding", f"-D{board.family.upper()}"]
    script = FIRMWARE / "tiny.ld"
    command = [
        "arm-none-eabi-gcc",
        *options,
        "-T",
        str(script),
        str(FIRMWARE / source),
        "-o",
        str(elf),
    ]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return elf


def segments(elf: Path) -> list[tuple[int, bytes]]:
    from elftools.elf.elffile import ELFFile

    with elf.open("rb") as file:
        return [
            (segment["p_paddr"], segment.data())
            for segment in ELFFile(file).iter_segments()
            if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]
        ]


def start(machine: VirtualMachine, elf: Path) -> None:
    """Put an image into flash without the debug port and start it."""
    machine.core.halt()
    for address, content in segments(elf):
        found = machine.memory.find(address)
        assert found is not None
        memory, offset = found
        for origin in memory.origins:
            machine.cpu.invalidate(origin + offset, origin + offset + len(content))
        memory.data[offset : offset + len(content)] = content
    # The L4+ looks for a program when it is powered on.
    machine.core.reset(ResetCause.POWER_ON)


class Bench:
    """A machine with its console open."""

    def __init__(self, machine: VirtualMachine) -> None:
        self.machine = machine
        self.console = machine.console
        assert self.console.open("test", 115200)

    def load(self, elf: Path) -> None:
        """Start an image and wait for its greeting."""
        start(self.machine, elf)
        assert self.line() == "ready"

    def line(self, timeout: float = 20) -> str:
        out = b""
        while not out.endswith(b"\n"):
            byte = self.console.read(1, timeout, lambda: False)
            assert byte, f"no line within {timeout} s, only {out!r}"
            out += byte
        return out.decode().strip()

    def ask(self, command: bytes) -> str:
        self.console.write(command)
        return self.line()


def power_on(board_id: str, **options: object) -> VirtualMachine:
    return VirtualMachine(load_board(board_id), **options)  # type: ignore[arg-type]
