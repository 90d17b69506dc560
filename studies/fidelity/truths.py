"""Latencies that others measured on real boards, and what the models say of the same kernels.

The kernels are CMSIS-NN of December 2020 (commit a2d499c9), the state before the papers. The flags
of MicroNets are not known here; the group's earlier benchmark repository (harvard-edge/TinyMLPerf,
`benchmarks/scripts/compile.sh`) builds with ``mbed compile -t GCC_ARM``, and Mbed OS's `develop`
and `release` profiles for that compiler say ``-Os`` (`tools/profiles`). The page says how much
hangs on that.

MLPerf Tiny's latencies are those of the v0.5 reference submission: runtime over inferences in
`closed/reference/results/Nucleo-L4R5ZI/*/performance/results.txt` of mlcommons/tiny_results_v0.5.
Its system description names TFLM v2.3.1, bare-metal Mbed OS, gcc-arm-none-eabi-6-2017-q2-update and
120 MHz; its `setup_example.sh` asks for ``TAGS=cmsis-nn``; its READMEs build with ``mbed compile -t
GCC_ARM``, which is ``-Os`` again. ResNet has an ADD, which the replay does not handle.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.boards import load_board
from harness.models import read_model
from studies.fidelity import replay
from studies.fidelity.source import convolution_source, network_source

KERNELS_COMMIT = "a2d499c9"
KWS_M = "micronets/kws_micronet_m_int8.tflite"
LENET = "heim2021/lenet_mnist_int8.tflite"
MICRONETS = "Banbury et al., MicroNets, MLSys 2021"
HEIM = "Heim et al., arXiv 2104.10645"
MLPERF = "MLPerf Tiny v0.5, reference submission"
_CLIFF_PIXELS = (25, 5)  # as in KWS-M, whose 140-channel layers take the published 21.5 ms


@dataclass(frozen=True, slots=True)
class Truth:
    """A published latency.

    Attributes:
        name: What was measured.
        source: Where it is published.
        board: On which board.
        latency_ms: The figure.
        optimization: Compiler flag of the replay.
        model: File of the network, relative to the models' folder; empty for one convolution.
        channels: Of the convolution.
        within: Share by which the prediction may be off.
        data_cache: Whether the replay switches the data cache on; not published.
    """

    name: str
    source: str
    board: str
    latency_ms: float
    optimization: str
    model: str = ""
    channels: int = 0
    within: float = 0.15
    data_cache: bool = True


TRUTHS = (
    Truth("KWS-M", MICRONETS, "nucleo_f446re", 426, "-Os", KWS_M),
    Truth("KWS-M", MICRONETS, "nucleo_f746zg", 187, "-Os", KWS_M),
    Truth("KWS-M", MICRONETS, "nucleo_f767zi", 181, "-Os", KWS_M),
    Truth("LeNet, CMSIS-NN", HEIM, "nucleo_f767zi", 8.046, "-Ofast", LENET),
    Truth(
        "LeNet, CMSIS-NN, data cache off",
        HEIM,
        "nucleo_f767zi",
        8.046,
        "-Ofast",
        LENET,
        data_cache=False,
    ),
    Truth("MLPerf KWS", MLPERF, "nucleo_l4r5zi", 181.92, "-Os", "mlperf_tiny/kws_ref_model.tflite"),
    Truth("MLPerf VWW", MLPERF, "nucleo_l4r5zi", 600.54, "-Os", "mlperf_tiny/vww_96_int8.tflite"),
    Truth("MLPerf AD", MLPERF, "nucleo_l4r5zi", 10.052, "-Os", "mlperf_tiny/ad01_int8.tflite"),
    Truth("CONV_2D, 138 channels", MICRONETS, "nucleo_f746zg", 37.5, "-Os", channels=138),
    Truth("CONV_2D, 140 channels", MICRONETS, "nucleo_f746zg", 21.5, "-Os", channels=140),
)


@dataclass(frozen=True, slots=True)
class Check:
    """A truth with what a model predicts for it.

    Attributes:
        truth: The published figure.
        optimization: Compiler flag of this replay.
        replay: The run.
        operators: Names of its layers.
    """

    truth: Truth
    optimization: str
    replay: replay.Replay
    operators: tuple[str, ...]

    @property
    def error(self) -> float:
        """Prediction over truth, minus one."""
        return self.replay.latency_ms / self.truth.latency_ms - 1

    @property
    def holds(self) -> bool:
        """Whether the prediction is as near as asked."""
        return abs(self.error) <= self.truth.within


def check_all(
    kernels: Path, models: Path, *, timings: tuple[str, ...], optimizations: tuple[str, ...] = ()
) -> Iterator[Check]:
    """Replay every truth with every timing model, at its own flag and at `optimizations`.

    Args:
        kernels: CMSIS-NN tree.
        models: Folder of the networks.
        timings: Names of timing models.
        optimizations: Further compiler flags, to show how much the flag matters.

    Raises:
        ConfigError: No CMSIS-NN there.
        VirtualError: A replay failed.
    """
    for truth in TRUTHS:
        board = load_board(truth.board)
        if truth.model:
            content = (models / truth.model).read_bytes()
            source, operators = network_source(read_model(content, name=truth.name))
        else:
            channels = truth.channels
            source = convolution_source(channels, channels, *_CLIFF_PIXELS)
            operators = ("CONV_2D",)
        for optimization in dict.fromkeys((truth.optimization, *optimizations)):
            with tempfile.TemporaryDirectory(prefix="harness-replay-") as folder:
                elf = replay.build(
                    source,
                    board,
                    kernels,
                    optimization=optimization,
                    folder=Path(folder),
                    data_cache=truth.data_cache,
                )
                for timing in timings:
                    ran = replay.run(elf, board, timing=timing, layers=len(operators))
                    yield Check(truth, optimization, ran, operators)
