"""Bad input gets one clear message: what, with which value, what was expected, what to do."""

from __future__ import annotations

import os
import pty
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.testing import ModelWriter

Harness = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("virtual_board")
_LINES_OF_A_SCREEN = 24


def check(answer: Any, code: int, *patterns: str) -> None:
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err
    message = answer.err[answer.err.index("error[") :]
    assert len(message.splitlines()) <= _LINES_OF_A_SCREEN
    for pattern in patterns:
        assert re.search(pattern, message), message


def test_float_model(harness: Harness, tmp_path: Path) -> None:
    writer = ModelWriter()
    x = writer.tensor((1, 4), "float32", name="features")
    y = writer.tensor((1, 4), "float32")
    writer.operator("SOFTMAX", [x], [y], beta=1.0)
    path = tmp_path / "float.tflite"
    path.write_bytes(writer.finish([x], [y]))
    check(harness("measure", path), 1, r"float32", r"int8", r"features")


def test_truncated_model(harness: Harness, tiny: Path) -> None:
    tiny.write_bytes(tiny.read_bytes()[:300])
    check(harness("measure", tiny), 1, r"error\[model\]", r"tiny")


def test_a_model_of_another_framework_is_refused_before_anything_is_built(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it went on")

    monkeypatch.setattr("harness.campaign.entry.prepare", never)
    monkeypatch.setattr("harness.campaign.entry.run", never)
    path = tmp_path / "net.tflite"
    path.write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\x96\x01" + bytes(80))
    (tmp_path / "c.toml").write_text(
        'name = "c"\nboards = ["nucleo_f746zg"]\nmodels = ["net.tflite"]\n'
    )
    for command in (("measure", path), ("explain", path), ("run", "c.toml")):
        check(harness(*command), 2, r"error\[model-format\]", "an ONNX model", "onnx2tf -i")


def test_missing_model(harness: Harness) -> None:
    for command in ("build", "measure", "explain"):
        answer = harness(command, "nowhere.tflite")
        assert answer.code == 2 and "'nowhere.tflite' does not exist" in answer.err


def test_operator_that_the_runtime_cannot_take(harness: Harness, tmp_path: Path) -> None:
    writer = ModelWriter()
    x = writer.tensor((1, 4), scale=0.5)
    y = writer.tensor((1, 4), scale=1 / 128)
    writer.operator("TANH", [x], [y])
    path = tmp_path / "tanh.tflite"
    path.write_bytes(writer.finish([x], [y]))
    check(harness("measure", path), 1, r"error\[unsupported\]", "TANH")


def test_model_larger_than_flash(
    harness: Harness, tmp_path: Path, pointwise: Callable[..., bytes]
) -> None:
    path = tmp_path / "big.tflite"
    path.write_bytes(pointwise((768, 900, 768), pixels=1))
    check(harness("build", path), 1, r"error\[too-large\]", "(?i)flash", r"[\d,]+ bytes", "weights")


def test_arena_larger_than_ram(
    harness: Harness, tmp_path: Path, pointwise: Callable[..., bytes]
) -> None:
    path = tmp_path / "wide.tflite"
    path.write_bytes(pointwise((64, 64, 64), pixels=64))
    check(harness("build", path), 1, r"error\[too-large\]", "(?i)ram", "arena")


def test_an_image_that_cannot_be_written(harness: Harness, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    answer = harness("build", tiny, "-o", "taken/firmware.elf")
    check(answer, 2, r"the image cannot be written", r"taken/firmware\.elf")


def test_unknown_board(harness: Harness, tiny: Path) -> None:
    check(harness("measure", tiny, "--board", "nucleo_f746zq"), 2, "did you mean 'nucleo_f746zg'")


def test_unknown_station(harness: Harness, tiny: Path) -> None:
    check(harness("measure", tiny, "--station", "virtual-nucleo_f746"), 2, "did you mean")


def test_misspelt_key(harness: Harness, tmp_path: Path) -> None:
    path = tmp_path / "campaign.toml"
    path.write_text('name = "t"\nboads = ["nucleo_f746zg"]\nmodels = ["tiny.tflite"]\n')
    check(harness("run", path), 2, "unknown key 'boads'", "did you mean 'boards'", "campaign.toml")


def test_misspelt_key_in_the_bench_file(harness: Harness, tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "bench.toml").write_text(
        '[[station]]\nname = "desk"\nboard = "nucleo_f746zg"\nprobe = "1"\nserail = "/dev/null"\n'
    )
    check(harness("measure", tiny), 2, "did you mean 'serial'", "bench.toml")


def test_missing_compiler(harness: Harness, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("HOME", "/nonexistent")
    check(harness("run", _campaign(tiny), "--dry-run"), 3, "arm-none-eabi-gcc", "apt-get install")


def test_probe_that_is_not_there(harness: Harness, tmp_path: Path, tiny: Path) -> None:
    _bench(tmp_path, probe="0123456789ABCDEF", serial="virtual://nucleo_f746zg")
    answer = harness("measure", tiny, "--station", "desk")
    check(answer, 3, r"error\[probe-missing\]", "0123456789ABCDEF", "virtual:nucleo_f746zg")


def test_serial_port_that_is_not_there(harness: Harness, tmp_path: Path, tiny: Path) -> None:
    _bench(tmp_path, probe="virtual:nucleo_f746zg", serial="/dev/ttyNOTHING")
    answer = harness("measure", tiny, "--station", "desk")
    check(answer, 3, r"error\[serial\]", "/dev/ttyNOTHING")


def test_serial_port_held_by_another_program(harness: Harness, tmp_path: Path, tiny: Path) -> None:
    import serial

    master, slave = pty.openpty()
    name = os.ttyname(slave)
    try:
        with serial.Serial(name, exclusive=True):
            _bench(tmp_path, probe="virtual:nucleo_f746zg", serial=name)
            check(harness("measure", tiny, "--station", "desk"), 3, r"error\[serial\]", name)
    finally:
        os.close(master)
        os.close(slave)


def test_results_before_anything_was_measured(harness: Harness) -> None:
    check(harness("results"), 1, r"error\[results\]", "measurements.sqlite")


def test_unwritable_store(harness: Harness, tiny: Path) -> None:
    answer = harness("measure", tiny, "--db", "/proc/nothing/rows.sqlite")
    check(answer, 1, r"error\[results\]", "/proc/nothing")


def test_wrong_use_is_exit_code_2(harness: Harness) -> None:
    assert harness("measure").code == 2
    assert harness("no-such-command").code == 2
    assert harness("run", "x.toml", "--samples", "many").code == 2


def _bench(folder: Path, *, probe: str, serial: str) -> None:
    (folder / "bench.toml").write_text(
        f'[[station]]\nname = "desk"\nboard = "nucleo_f746zg"\nprobe = "{probe}"\n'
        f'serial = "{serial}"\n'
    )


def _campaign(model: Path) -> Path:
    path = model.parent / "campaign.toml"
    path.write_text(f'name = "t"\nboards = ["nucleo_f746zg"]\nmodels = ["{model}"]\n')
    return path
