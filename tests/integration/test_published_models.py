"""Published models on the virtual board: bit-exact, and as few instructions as TFLM needs.

The instructions of TFLM with CMSIS-NN (-O2, emulated Cortex-M7) were counted with TFLM of 2026-08.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.bench import virtual_bench
from harness.boards import Board, load_board
from harness.campaign.config import MeasureOptions
from harness.campaign.measure import build_job
from harness.campaign.needs import Needs
from harness.campaign.plan import Job
from harness.campaign.prepare import prepare
from harness.campaign.rows import assemble
from harness.campaign.specs import file_spec
from harness.firmware import BuildOptions
from harness.results.record import Measurement
from harness.runtimes import RuntimeOptions
from support.published import published

pytestmark = pytest.mark.usefixtures("virtual_board")
BOARD = "nucleo_f746zg"
TFLM_INSTRUCTIONS = {
    "mlperf_tiny/kws_ref_model.tflite": 7_645_000,
    "mlperf_tiny/vww_96_int8.tflite": 24_030_000,
    "mlperf_tiny/pretrainedResnet_quant.tflite": 30_020_000,
    "mlperf_tiny/ad01_int8.tflite": 584_000,
    "micronets/kws_micronet_m_int8.tflite": 35_740_000,
}
OTHERS = ("heim2021/lenet_mnist_int8.tflite",)


def count_instructions(code: bytes, _address: int) -> int:
    """Price a block at one cycle per instruction (ARMv7-M ARM A5.1: 16 or 32 bits)."""
    count = at = 0
    while at < len(code):
        wide = code[at + 1] >> 3 in (0b11101, 0b11110, 0b11111)
        at += 4 if wide else 2
        count += 1
    return count


@pytest.fixture(scope="module")
def counting_board(virtual_board: None) -> Iterator[Board]:
    """Power a virtual board on whose cycle counter counts instructions."""
    from harness.virtual.machine import VirtualMachine
    from harness.virtual.registry import adopt_machine, discard_machine

    board = load_board(BOARD)
    discard_machine(board.id)
    adopt_machine(VirtualMachine(board, block_cycles=count_instructions))
    yield board
    discard_machine(board.id)


def measured(path: Path, board: Board, kernels: str) -> Measurement:
    from harness.capture import CapturePlan
    from harness.capture.session import BoardSession

    station = virtual_bench().station(f"virtual-{board.id}")
    options = MeasureOptions(warmup=0, repeats=2)
    job = Job(
        "0" * 64, Needs.of(station), board, file_spec(path, 0), RuntimeOptions(kernels=kernels),
        BuildOptions(), options,
    )  # fmt: skip
    built = build_job(job, prepare(job.spec))
    plan = CapturePlan(
        warmup=0,
        repeats=2,
        layers=True,
        inputs=built.prepared.inputs,
        output_bytes=tuple(len(item) for item in built.prepared.outputs),
        macs=built.model.graph.macs,
    )
    with BoardSession.open(station) as session:
        return assemble(built, session.run(built.image, plan), station, campaign=None)


@pytest.mark.parametrize("name", TFLM_INSTRUCTIONS)
def test_exact_and_within_ten_percent_of_tflm(
    name: str, counting_board: Board, record_property: Any
) -> None:
    row = measured(published(name), counting_board, "cmsis_nn")
    ratio = row.cycles[0] / TFLM_INSTRUCTIONS[name]
    record_property("instructions", row.cycles[0])
    print(f"{name}: {row.cycles[0]:,} instructions, {ratio:.3f} of TFLM's")  # noqa: T201
    assert row.reference and row.reference.startswith("tflite-micro")
    assert (row.bit_exact, row.output_bytes_differing) == (True, 0)
    assert ratio <= 1.10


@pytest.mark.parametrize("name", [name for name in TFLM_INSTRUCTIONS if "mlperf_tiny" in name])
def test_mlperf_tiny_s_files_give_the_results_of_its_reference(
    name: str, counting_board: Board
) -> None:
    """Accuracy mode (each file once) and performance mode (one file, several times)."""
    from harness import protocol as wire
    from harness.firmware import build
    from harness.models.mlperf import benchmark_for
    from harness.runtimes import get_runtime
    from harness.virtual.ports.serialurl.protocol_virtual import Serial
    from harness.virtual.registry import get_machine
    from support import mlperf
    from support.board import start
    from support.published import read_published

    model = read_published(name)
    benchmark = benchmark_for(model)
    assert benchmark is not None
    sources = get_runtime("aot").generate(model, RuntimeOptions(), counting_board)
    image = build(counting_board, model, sources)
    with Serial(f"virtual://{counting_board.id}", 115200) as port:
        monitor = mlperf.Monitor(port)
        start(get_machine(counting_board.id), image.elf)
        monitor.lines()
        assert f"m-model-[{benchmark.name}]" in monitor.ask("profile")
        for file in mlperf.input_files(benchmark, 3):
            monitor.load(file)
            once = monitor.infer()
            assert once.results == mlperf.expected(model, benchmark, file)
        several = monitor.infer(3, 1)
        assert several.results == once.results
        monitor.ask("hil-run 0 1")  # the harness's own way to time the same inference
        port.write(wire.CYCLES)
        (cycle, _) = monitor.lines()
        cycles = int(cycle.split("cycles=")[1].split()[0])
        mhz = counting_board.facts.clock.sysclk_hz / 1e6
        assert several.elapsed_us / 3 == pytest.approx(cycles / mhz, rel=0.01)


@pytest.mark.parametrize("name", [*TFLM_INSTRUCTIONS, *OTHERS])
def test_portable_kernels_are_exact(name: str, counting_board: Board) -> None:
    row = measured(published(name), counting_board, "portable")
    assert row.bit_exact
