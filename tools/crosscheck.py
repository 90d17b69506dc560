"""Run our firmware on QEMU, an emulator that is not ours, and compare with the virtual board.

QEMU's netduinoplus2 has an STM32F405, which has what the firmware uses of an STM32F446; its
b-l475e-iot01a (QEMU 9) has an STM32L475, for the STM32L4R5. Checked: start-up, the console's
registers, the protocol, kernels and outputs, stack and arena. Not checked: clocks and flash, which
QEMU does not model, and cycles, as it has no DWT. Its chips have no unique id either, so the image
is built from a copy of the manifest that reads the vector table instead.

    python -m tools.crosscheck [--board nucleo_f446re] [--models DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import protocol
from harness.backbones import Limits, get_backbone
from harness.bench import virtual_bench
from harness.bench.port import open_port
from harness.boards import Board, load_board
from harness.boards.registry import read_manifest
from harness.capture import Capture, CapturePlan, answers
from harness.capture.console import Console
from harness.capture.image import check_image
from harness.capture.session import BoardSession
from harness.errors import (
    BenchError,
    DeviceError,
    HarnessError,
    ImageTooLarge,
    RuntimeUnsupported,
)
from harness.firmware import FirmwareImage, build
from harness.flash.image import Image, read_image
from harness.models import TFLiteModel, read_model
from harness.models.reference import run_reference
from harness.models.sampled import write_architecture
from harness.models.stimulus import random_inputs
from harness.runtimes import KernelSet, RuntimeOptions, get_runtime

QEMU = "qemu-system-arm"
HOW_TO_GET_IT = f"{QEMU} is not installed: apt-get install {QEMU}"
BACKBONES = ("ds_cnn_kws", "mobilenet_v2_vww", "ds_cnn_ad", "ds_cnn_ic")
_ANSWER_S = 60.0  # QEMU runs as fast as the host does
_CHUNK = 64  # bytes of input in one command: with nudges, characters take a millisecond


@dataclass(frozen=True)
class Machine:
    """A machine of QEMU's whose chip is near to a board's."""

    name: str
    version: int  # of QEMU that has it
    serial: int  # which of its `-serial` ends is the board's console
    ram_bytes: int  # of its main memory
    # Its UART does not tell QEMU that it takes the next byte: something must wake QEMU's main loop.
    needs_nudges: bool = False


MACHINES = {
    "nucleo_f446re": Machine("netduinoplus2", 7, 1, 128 * 1024),
    "nucleo_l4r5zi": Machine("b-l475e-iot01a", 9, 5, 96 * 1024, needs_nudges=True),
}


@dataclass(frozen=True)
class Outcome:
    """One network on both emulators."""

    board: str
    network: str
    differences: tuple[str, ...]  # what is not equal; empty when all is
    output_bytes: int
    seconds: float  # on QEMU, boot to last answer


def qemu_version() -> int | None:
    """Return the major version of QEMU on PATH; None if there is none."""
    if shutil.which(QEMU) is None:
        return None
    text = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)\.", text)
    return int(found[1]) if found else None


def qemu_board(board: Board, folder: Path) -> Board:
    """Return a board with what QEMU's chip has: its RAM, and the vector table as unique id."""
    data = json.loads(Path(board.manifest).read_text(encoding="utf-8"))
    machine = MACHINES[board.id]
    facts = data["harness"]
    facts["chip"]["uid_address"] = f"0x{board.flash.origin:08X}"
    rest = [region for region in facts["memory"] if region["kind"] != "ram"]
    first = next(region for region in facts["memory"] if region["kind"] == "ram")
    facts["memory"] = [*rest, {**first, "bytes": machine.ram_bytes}]
    data["upload"]["maximum_ram_size"] = machine.ram_bytes
    path = folder / f"{board.id}.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return read_manifest(path)


@contextlib.contextmanager
def running(machine: Machine, elf: Path) -> Iterator[Any]:
    """Run an image on QEMU; yield its console as a pyserial port.

    Raises:
        BenchError: QEMU is missing or too old, or does not start.
    """
    version = qemu_version()
    if version is None:
        raise BenchError(HOW_TO_GET_IT)
    if version < machine.version:
        raise BenchError(
            f"QEMU {version} has no machine {machine.name}", expected=f"QEMU {machine.version}"
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    console = f"tcp:127.0.0.1:{number},server=on,wait=on"
    ours, theirs = socket.socketpair()
    # The board's first UART is not in use: what arrives there is dropped.
    serials = ["chardev:nudge", *["null"] * (machine.serial - 1), console]
    command = [QEMU, "-M", machine.name, "-kernel", str(elf), "-display", "none"]
    command += ["-monitor", "none", *(word for end in serials for word in ("-serial", end))]
    command += ["-chardev", f"socket,id=nudge,fd={theirs.fileno()}"]
    with (
        ours,
        theirs,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs.fileno(),),
        ) as process,
    ):
        ended = threading.Event()
        nudging = threading.Thread(target=_nudge, args=(ours, ended), daemon=True)
        try:
            with _connect(process, f"socket://127.0.0.1:{number}") as port:
                if machine.needs_nudges:
                    nudging.start()
                yield port
        finally:
            ended.set()
            process.kill()


def _nudge(unused: socket.socket, ended: threading.Event) -> None:
    while not ended.wait(0.0005):
        unused.send(b" ")


def _connect(process: subprocess.Popen[bytes], url: str) -> Any:
    for _ in range(100):
        if process.poll() is not None:
            said = process.stdout.read().decode() if process.stdout else ""
            raise BenchError(f"{QEMU} ended with code {process.returncode}: {said.strip()}")
        try:
            return open_port(url)
        except HarnessError:
            time.sleep(0.1)  # it waits for us, but is not up yet
    raise BenchError(f"{QEMU} does not open its console", where=url)


def on_qemu(board: Board, image: FirmwareImage, plan: CapturePlan) -> tuple[Capture, float]:
    """Measure an image on QEMU as a session measures it on a station; its cycles mean nothing."""
    start = time.perf_counter()
    content = read_image(image.elf, board)
    with running(MACHINES[board.id], image.elf) as port:
        console = Console(port, where=QEMU)
        boot = console.wait_for_boot(_ANSWER_S)
        identity = answers.identify(console, boot, image, board, _unique_id(board, content))
        _set_up(console, plan)
        cycles = answers.timed_cycles(console, plan.warmup, plan.repeats, timeout_s=_ANSWER_S)
        outputs = tuple(answers.output(console, i, n) for i, n in enumerate(plan.output_bytes))
        memory = console.ask_for(protocol.MEM, protocol.Memory, what="memory use")
        check_image(console, content.checksums)
    capture = Capture(identity, cycles, outputs, memory, raw_log=console.log)
    return capture, time.perf_counter() - start


def _set_up(console: Console, plan: CapturePlan) -> None:
    setup = console.ask_for(protocol.SETUP, protocol.Setup, what="set-up", timeout_s=_ANSWER_S)
    if setup.rc:
        raise console.failure(DeviceError, f"the runtime cannot set the model up: {setup.message}")
    for index, content in enumerate(plan.inputs):
        for at in range(0, len(content), _CHUNK):
            command = protocol.encode_input(index, at, content[at : at + _CHUNK])
            console.ask_for(command, protocol.InputAck, what="an input", timeout_s=_ANSWER_S)


def _unique_id(board: Board, image: Image) -> str:
    at = board.facts.chip.uid_address
    segment = next(s for s in image.segments if s.address <= at < s.end)
    words = segment.data[at - segment.address :][:12]
    return "".join(words[i : i + 4][::-1].hex() for i in (0, 4, 8))


def check(board_id: str, model: TFLiteModel, kernels: str = KernelSet.CMSIS_NN) -> Outcome:
    """Run a network on the virtual board and on QEMU, and compare outputs and memory.

    Raises:
        HarnessError: It cannot be built, or one of the two does not answer as it should.
    """
    board, runtime = load_board(board_id), get_runtime("aot")
    chosen = RuntimeOptions(kernels=kernels)
    inputs = tuple(random_inputs(model, 1))
    reference = run_reference(model, inputs)
    plan = CapturePlan(
        warmup=1,
        repeats=2,
        layers=False,
        inputs=inputs,
        output_bytes=tuple(map(len, reference.outputs)),
        macs=model.graph.macs,
    )
    own = build(board, model, runtime.generate(model, chosen, board))
    with BoardSession.open(virtual_bench().station(f"virtual-{board_id}")) as session:
        ours = session.run(own, plan)
    with tempfile.TemporaryDirectory() as folder:
        theirs_board = qemu_board(board, Path(folder))
        sources = runtime.generate(model, chosen, theirs_board)
        theirs, seconds = on_qemu(theirs_board, build(theirs_board, model, sources), plan)
    pairs = {
        f"outputs and {reference.name}": (theirs.outputs, reference.outputs),
        "outputs": (theirs.outputs, ours.outputs),
        "arena": (theirs.memory.arena_used, ours.memory.arena_used),
        "painted arena": (theirs.memory.arena_paint, ours.memory.arena_paint),
        "stack": (theirs.memory.stack_used, ours.memory.stack_used),
    }
    differences = tuple(name for name, (left, right) in pairs.items() if left != right)
    return Outcome(board_id, model.name, differences, sum(plan.output_bytes), seconds)


def networks(models: Sequence[Path]) -> Iterator[TFLiteModel]:
    """Yield a sampled network of each backbone, then the models of files."""
    limits = Limits(max_working_memory_bytes=50_000, max_ops=8_000_000)
    for name in BACKBONES:
        architecture = get_backbone(name).sample(3, 0, limits=limits)
        yield read_model(write_architecture(name, architecture.dumps()), name=f"{name}-0")
    for path in models:
        yield read_model(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check networks on boards; return the exit code."""
    parser = argparse.ArgumentParser(prog="crosscheck", description=__doc__)
    parser.add_argument("--board", action="append", choices=sorted(MACHINES))
    parser.add_argument("--models", type=Path, help="folder with more .tflite files")
    options = parser.parse_args(arguments)
    version = qemu_version()
    if version is None:
        sys.stderr.write(f"{HOW_TO_GET_IT}\n")
        return BenchError.exit_code
    boards = options.board or [name for name, it in MACHINES.items() if it.version <= version]
    for name in () if options.board else MACHINES.keys() - set(boards):
        _say(f"{name}: left out; its machine needs QEMU {MACHINES[name].version}")
    found = sorted(options.models.rglob("*.tflite")) if options.models else ()
    return max([0, *(_report(board, model) for board in boards for model in networks(found))])


def _report(board: str, model: TFLiteModel) -> int:
    """Check one network on one board, say what came out, and return 1 if something is wrong."""
    try:
        outcome = check(board, model)
    except (ImageTooLarge, RuntimeUnsupported) as refusal:
        _say(f"{board} {model.name}: left out; {refusal.what}")
        return 0
    except HarnessError as failure:
        _say(f"{board} {model.name}: {failure}")
        return failure.exit_code
    said = "differ: " + ", ".join(outcome.differences) if outcome.differences else "equal"
    _say(f"{board} {model.name}: {outcome.output_bytes} output bytes, {said}, "
         f"{outcome.seconds:.1f} s on QEMU")  # fmt: skip
    return int(bool(outcome.differences))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
