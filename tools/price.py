"""Speed of the timing models beside counting alone, bare Unicorn and QEMU, on the same network.

Rates are instructions per second of *processor* time. The difference of a long and a short run
leaves out start-up, translation and decoding. Other work on the machine still slows a processor
down, so the ways take turns in every round and each is compared with bare Unicorn of its round.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from harness.boards import load_board
from harness.errors import HarnessError
from harness.models import read_model
from harness.virtual.time.decode import decode, decode_block
from studies.fidelity import replay
from studies.fidelity.source import network_source
from studies.published import MODELS

if TYPE_CHECKING:
    from harness.boards import Board

QEMU = "qemu-system-arm"
_SHORT, _LONG = 1, 11
_RUN_S = 600


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast one way of running is.

    Attributes:
        name: The way.
        instructions: Between the short and the long run.
        seconds: Processor time of these, by round.
    """

    name: str
    instructions: int
    seconds: tuple[float, ...]

    @property
    def per_second(self) -> float:
        """Million instructions per second of processor time, the median of the rounds."""
        return self.instructions / median(self.seconds) / 1e6

    def relative_to(self, other: Rate) -> list[float]:
        """Return this rate divided by `other`'s of the same round, lowest first."""
        return sorted(o / s for o, s in zip(other.seconds, self.seconds, strict=True))


def rates(kernels: Path, model: Path, board_id: str, rounds: int) -> list[Rate]:
    """Measure each way once a round; the first one is bare Unicorn.

    Args:
        kernels: CMSIS-NN tree.
        model: The network.
        board_id: A virtual board with a Cortex-M7 (QEMU's machine has one).
        rounds: How often.
    """
    board = load_board(board_id)
    source, _ = network_source(read_model(model.read_bytes(), name=model.stem))
    with tempfile.TemporaryDirectory(prefix="harness-price-") as name:

        def build(passes: int, flash: int | None = None) -> Path:
            return replay.build(
                source, board, kernels, optimization="-O2", passes=passes, flash=flash,
                folder=Path(name) / f"{passes}-{flash}",
            )  # fmt: skip

        short, long = build(_SHORT), build(_LONG)
        blocks = _blocks(long, board)
        instructions = _executed(blocks) - _executed(_blocks(short, board))
        first, again = _cost_seconds(blocks, board)
        sys.stdout.write(
            f"costs of {len(blocks)} blocks: {1e3 * first:.1f} ms, then {1e3 * again:.2f} ms\n"
        )
        at_flash = short, long
        ways: list[tuple[str, Callable[[Path], float], tuple[Path, Path]]] = [
            ("Unicorn without hooks", _bare, at_flash),
            ("counting of blocks alone", lambda elf: _virtual(elf, board, None), at_flash),
            ("timing model 'issue'", lambda elf: _virtual(elf, board, "issue"), at_flash),
            ("timing model 'pipeline'", lambda elf: _virtual(elf, board, "pipeline"), at_flash),
        ]
        if shutil.which(QEMU) is not None:
            at_zero = build(_SHORT, 0), build(_LONG, 0)
            ways.append((f"{QEMU} -M mps2-an500", _qemu, at_zero))
        taken = [
            [measure(long) - measure(short) for _, measure, (short, long) in ways]
            for _ in range(rounds)
        ]
        return [
            Rate(name, instructions, seconds)
            for (name, *_), seconds in zip(ways, zip(*taken, strict=True), strict=True)
        ]


def _qemu(elf: Path) -> float:
    command = [QEMU, "-M", "mps2-an500", "-display", "none", "-monitor", "none", "-serial",
               "none", "-semihosting", "-kernel", str(elf)]  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, timeout=_RUN_S, stdin=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _bare(elf: Path) -> float:
    import unicorn
    from elftools.elf.elffile import ELFFile
    from unicorn import arm_const as arm

    engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
    engine.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M7)
    for origin, size in ((0x0800_0000, 1 << 20), (0x2000_0000, 1 << 19), (0xE000_0000, 1 << 20)):
        engine.mem_map(origin, size)
    with elf.open("rb") as file:
        content = ELFFile(file)
        for segment in content.iter_segments():
            if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]:
                engine.mem_write(segment["p_paddr"], segment.data())
    stack, entry = (int.from_bytes(engine.mem_read(0x0800_0000 + n, 4), "little") for n in (0, 4))
    engine.reg_write(arm.UC_ARM_REG_SP, stack)
    began = time.thread_time()
    try:
        engine.emu_start(entry | 1, 0xFFFF_FFFF)
    except unicorn.UcError as stop:
        if stop.errno != unicorn.UC_ERR_EXCEPTION:  # the breakpoint at the end
            raise
    return time.thread_time() - began


def _virtual(elf: Path, board: Board, timing: str | None) -> float:
    """Return the processor time of the core's thread; without a model each block costs one."""
    from harness.virtual.machine import VirtualMachine
    from harness.virtual.time import timing_model

    if timing is None:
        machine = VirtualMachine(board, block_cycles=lambda _code, _address: 1)
    else:
        machine = VirtualMachine(board, model=timing_model(board, timing))
    try:
        clock = time.pthread_getcpuclockid(machine.core.thread_id)
        machine.core.halt()
        replay.load(elf, machine)
        machine.core.reset()
        machine.core.wait_halted(_RUN_S)
        return time.clock_gettime(clock)
    finally:
        machine.close()


def _blocks(elf: Path, board: Board) -> list[tuple[bytes, int, int]]:
    """Return code, address and count of each basic block that a program executes."""
    from harness.virtual.machine import VirtualMachine
    from harness.virtual.time import timing_model

    machine = VirtualMachine(board, model=timing_model(board, "issue"))
    try:
        machine.core.halt()
        replay.load(elf, machine)
        machine.core.reset()
        machine.core.wait_halted(_RUN_S)
        return [
            (machine.memory.read(block.address, block.size) or b"", block.address, block.count)
            for block in machine.cpu.counter.snapshot()
        ]
    finally:
        machine.close()


def _executed(blocks: Sequence[tuple[bytes, int, int]]) -> int:
    return sum(count * sum(1 for _ in decode_block(code)) for code, _, count in blocks)


def _cost_seconds(blocks: Sequence[tuple[bytes, int, int]], board: Board) -> tuple[float, float]:
    """Return the processor time of finding all block costs, and of looking them up again."""
    from harness.virtual.time import timing_model

    model = timing_model(board, "issue")
    decode.cache_clear()
    times = [time.thread_time()]
    for _ in range(2):
        for code, address, _count in blocks:
            model.block_cycles(code, address)
        times.append(time.thread_time())
    return times[1] - times[0], times[2] - times[1]


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernels", type=Path, required=True, metavar="CMSIS-NN",
                        help="a tree of CMSIS-NN, as of December 2020")  # fmt: skip
    network = MODELS / "micronets/kws_micronet_m_int8.tflite"
    parser.add_argument("--model", type=Path, default=network)
    parser.add_argument("--board", default="nucleo_f746zg")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way is measured")
    options = parser.parse_args()
    sys.stdout.write(
        f"{options.model.stem} on {options.board}, {os.cpu_count()} processors, "
        f"load {os.getloadavg()[0]:.1f}\n"
    )
    try:
        measured = rates(options.kernels, options.model, options.board, options.rounds)
        for rate in measured:
            ratios = rate.relative_to(measured[0])
            sys.stdout.write(
                f"{rate.name:<34}{rate.per_second:8.1f} million instructions per second, "
                f"{median(ratios):.2f} of bare Unicorn ({ratios[0]:.2f} to {ratios[-1]:.2f})\n"
            )
    except HarnessError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
