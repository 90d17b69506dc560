"""Predictions from the reference fits that ship."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.backbones import backbone_names, get_backbone
from harness.boards import all_boards, load_board
from harness.errors import FitError, RuntimeUnsupported
from harness.models import read_model
from harness.models.writer import ModelWriter
from harness.prediction import load_reference, predict_model, references
from harness.runtimes import RuntimeOptions, get_runtime
from tools.corpus import network

Harness = Callable[..., Any]
# Its reference campaign has not been run.
WITHOUT_FITS = {"nucleo_h743zi", "nrf52840_dk"}
BOARDS = [board.id for board in all_boards() if board.id not in WITHOUT_FITS]


def connected(inputs: int, outputs: int) -> bytes:
    writer = ModelWriter()
    source = writer.tensor((1, inputs), scale=0.5)
    data = np.ones((outputs, inputs), np.int8)
    weights = writer.tensor((outputs, inputs), scale=[0.01], data=data)
    zeros = np.zeros(outputs, np.int32)
    bias = writer.tensor((outputs,), "int32", scale=[0.005], data=zeros)
    target = writer.tensor((1, outputs), scale=0.5)
    writer.operator("FULLY_CONNECTED", [source, weights, bias], [target], version=4)
    return writer.finish([source], [target])


def test_every_board_has_a_reference_fit() -> None:
    assert {path.stem for path in references()} >= {
        f"{board}-aot-{kernels}{level}"
        for board in BOARDS
        for kernels in ("cmsis_nn", "portable")
        for level in ("-O2", "-Os")
    }


@pytest.mark.parametrize("board", sorted(WITHOUT_FITS))
def test_a_board_without_fits_says_so(board: str) -> None:
    with pytest.raises(FitError, match=f"there is no reference fit for {board}"):
        load_reference(board, "cmsis_nn", "-O2")


@pytest.mark.parametrize("path", references(), ids=lambda path: path.stem)
def test_reference_fits_are_current(path: Path) -> None:
    from harness.virtual.time import timing_model

    board, rest = path.stem.split("-aot-")
    kernels, level = rest.split("-")
    reference = load_reference(board, kernels, f"-{level}")
    fingerprint = reference.fingerprint
    assert fingerprint.timing_model == timing_model(load_board(board)).identity
    identity = get_runtime("aot").identity(RuntimeOptions("aot", kernels))
    assert (fingerprint.runtime_version, fingerprint.kernels_version) == (
        identity["runtime_version"],
        identity["kernels_version"],
    )
    assert fingerprint.source == "emulated" and fingerprint.clock_hz == load_board(board).clock_hz
    for metrics in (reference.backbones, reference.corpus):
        assert metrics and metrics.mape_pct is not None and metrics.mape_pct < 3


def test_a_model_is_predicted_for_every_board(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(network(0))
    found = harness.predict(path)
    assert [item.board for item in found] == BOARDS
    model = read_model(path)
    sources = get_runtime("aot").generate(
        model, RuntimeOptions("aot", "cmsis_nn"), load_board("nucleo_f746zg")
    )
    for item in found:
        assert item.low_us and item.latency_us and item.high_us
        assert item.low_us < item.latency_us < item.high_us
        assert item.arena_bytes == sources.arena_planned_bytes < item.sram_bytes
        assert item.flash_bytes > model.graph.weights_bytes
        assert item.fits and not item.extrapolated
        assert sum(layer.share for layer in item.layers) == pytest.approx(1)


def test_what_fits_a_latency_depends_on_the_margin(harness: Harness, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(network(0))
    reference = load_reference("nucleo_f746zg", "cmsis_nn", "-O2")
    found = predict_model(read_model(path), load_board("nucleo_f746zg"), reference)
    assert found.latency_us and found.high_us and found.expected_error
    least = {
        "none": found.latency_us,
        "interval": found.high_us,
        "clock": found.high_us * (1 + found.expected_error),
    }
    for margin, latency_us in least.items():
        for share, verdict in ((0.999, False), (1.001, True)):
            answer = harness(
                "predict", path, "--board", "nucleo_f746zg", "--margin", margin,
                "--latency-ms", share * latency_us / 1000, "--json",
            )  # fmt: skip
            (one,) = answer.json()
            assert one["fits"] is verdict and one["expected_error"] == found.expected_error


def test_what_is_far_outside_the_data_is_extrapolated(tmp_path: Path) -> None:
    path = tmp_path / "large.tflite"
    path.write_bytes(connected(2000, 2000))
    (found,) = harness.predict(path, board="nucleo_f446re")
    assert not found.fits and found.flash_bytes > 4_000_000
    assert any("fully connected" in reason for reason in found.extrapolated)


def test_a_tiny_network_is_extrapolated(tiny: Path) -> None:
    (found,) = harness.predict(tiny, board="nucleo_f746zg")
    assert "the smallest measured" in found.extrapolated[0]


def test_a_layer_of_a_kind_that_was_not_measured_gives_no_latency() -> None:
    reference = load_reference("nucleo_f446re", "cmsis_nn", "-O2")
    paths = {name: fit for name, fit in reference.paths.items() if name != "fully connected"}
    model, board = read_model(connected(8, 8)), load_board("nucleo_f446re")
    found = predict_model(model, board, replace(reference, paths=paths))
    assert found.latency_us is None and found.low_us is None and found.layers[0].cycles is None
    assert "no layer of this kind was measured" in found.extrapolated[-1]


def test_what_there_is_no_fit_for_is_refused(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(FitError, match=r"nucleo_f446re, cmsis_nn and -O0"):
        harness.predict(tiny, board="nucleo_f446re", optimization="-O0")
    writer = ModelWriter()
    source, target = writer.tensor((1, 4), scale=0.5), writer.tensor((1, 4), scale=0.5)
    writer.operator("TANH", [source], [target])
    path = tmp_path / "tanh.tflite"
    path.write_bytes(writer.finish([source], [target]))
    with pytest.raises(RuntimeUnsupported, match="TANH"):
        harness.predict(path)


@pytest.mark.parametrize("name", backbone_names())
def test_the_command_predicts_a_sampled_network(harness: Harness, name: str) -> None:
    architecture = get_backbone(name).sample(0, 0).to_json()
    answer = harness(
        "predict", "--backbone", name, "--decisions", json.dumps(architecture["decisions"]),
        "--board", "nucleo_f746zg", "--json",
    )  # fmt: skip
    (found,) = answer.json()
    assert found["board"] == "nucleo_f746zg" and found["latency_us"] > 0
    assert found["timing_model"].startswith("cortex-m7")


def test_the_command_shows_boards_layers_and_where_cycles_come_from(
    harness: Harness, tiny: Path
) -> None:
    answer = harness("predict", tiny)
    assert all(board in answer.out for board in BOARDS)
    assert "CONV_2D" in answer.out and "modelled" in answer.err
    assert "CONV_2D" not in harness("predict", tiny, "--no-layers").out


@pytest.mark.parametrize(
    "words", [(), ("--backbone", "ds_cnn_kws"), ("--backbone", "ds_cnn_kws", "--decisions", "x")]
)
def test_half_a_network_is_refused(harness: Harness, words: tuple[str, ...]) -> None:
    assert harness("predict", *words).code == 2


def test_nothing_heavy_is_imported(tmp_path: Path, tiny: Path) -> None:
    code = (
        "import sys, harness\n"
        f"harness.predict({str(tiny)!r})\n"
        "heavy = {'tensorflow', 'unicorn', 'numba', 'pandas', 'sklearn', 'scipy', 'pyocd'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
