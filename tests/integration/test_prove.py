"""What the proof of a bench says about boards with something wrong; tests/hardware has the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from harness.bench import Station
from harness.boards import load_board
from harness.campaign.config import MeasureOptions
from harness.campaign.measure import build_job
from harness.campaign.needs import Needs
from harness.campaign.plan import Job
from harness.campaign.prepare import prepare
from harness.campaign.specs import file_spec
from harness.errors import BenchError, ClockError
from harness.firmware import BuildOptions
from harness.prove import golden as goldens
from harness.prove import order, prove, steps
from harness.prove.device import Device
from harness.prove.power import power_cycle
from harness.prove.record import Report, Step, private_values
from harness.runtimes import RuntimeOptions

BOARD = "nucleo_f746zg"
pytestmark = pytest.mark.usefixtures("virtual_board")


def station(faults: str = "", **facts: Any) -> Station:
    url = f"virtual://{BOARD}?faults={faults}" if faults else f"virtual://{BOARD}"
    return Station(name="desk", board=BOARD, probe=f"virtual:{BOARD}", serial=url, **facts)


@pytest.fixture(scope="module")
def golden(
    tmp_path_factory: pytest.TempPathFactory, own_cache: Path, virtual_board: None
) -> Iterator[goldens.Golden]:
    """Return a network of some milliseconds in place of the golden ones."""
    from conftest import pointwise
    from harness.virtual.registry import discard_machine

    path = tmp_path_factory.mktemp("golden") / "small.tflite"
    path.write_bytes(pointwise((8, 24, 8), pixels=24))
    spec, measure = file_spec(path, 0), MeasureOptions()
    prepared = prepare(spec)
    on, off = (
        build_job(Job.of(Needs.of(station()), spec, RuntimeOptions(), build, measure), prepared)
        for build in (BuildOptions(), BuildOptions(icache=False, dcache=False, art=False))
    )
    yield goldens.Golden((on,), off)
    discard_machine(BOARD)


@pytest.fixture
def proof(monkeypatch: pytest.MonkeyPatch, golden: goldens.Golden) -> Callable[..., Report]:
    monkeypatch.setattr(order.networks, "build_golden", lambda _station: golden)
    return lambda *arguments, **facts: prove(station(*arguments, **facts), lambda _: nullcontext())


@pytest.mark.parametrize(
    ("faults", "step", "says"),
    [
        ("clock:1.02", "clock", "% fast"),
        ("garble:0.0003", "console", "loses or damages bytes at 115200 baud"),
        ("caches:off", "caches", "icache = False"),
        ("counter:stuck", "counter", "the cycle counter stands still"),
        ("worn:0", "flash", "flash at 0x"),
    ],
)
def test_a_bad_board_fails_the_step_that_shows_it(
    proof: Callable[..., Report], faults: str, step: str, says: str
) -> None:
    report = proof(faults)
    failed = {found.name: found for found in report.failed}
    assert step in failed, report.steps
    assert says in failed[step].what and failed[step].fix
    if step == "flash":
        assert [found.status for found in report.steps[3:]] == ["skipped"] * 11


@pytest.mark.parametrize(
    ("faults", "says"), [("hse:off", "216 MHz from hsi"), ("overdrive:off", "16 MHz from hsi")]
)
def test_a_board_without_its_clock_fails_at_its_boot(
    golden: goldens.Golden, faults: str, says: str
) -> None:
    with Device(station(faults), load_board(BOARD)) as device:
        device.flash(golden.networks[0].image)
        with pytest.raises(ClockError, match=says):
            steps.boot(device)


def test_a_wire_too_slow_for_the_fast_console_is_noted(
    proof: Callable[..., Report],
) -> None:
    report = proof("rate:460800", power="true")
    found = {step.name: step for step in report.steps}
    assert found["console"].status == "note"
    assert found["console"].facts["clean"] == [115_200, 230_400, 460_800]
    assert "baud = 460800" in str(found["console"].fix)
    # `true` switches nothing.
    assert [step.name for step in report.failed] == ["power"]
    assert "up for" in found["power"].what
    assert found["virtual board"].facts["ratio"] == 1


def test_a_power_command_that_does_not_run(virtual_board: None) -> None:
    for command, says in (("no-such-tool-here", "does not run"), ("false", "failed")):
        with pytest.raises(BenchError, match=says):
            power_cycle(station().model_copy(update={"power": command}), load_board(BOARD))


def test_a_report_holds_nothing_private() -> None:
    private = private_values(station="desk", probe="066DFF", serial="/dev/x", uid="00aa11bb")
    what = f"desk at 066DFF on /dev/x, chip 00aa11bb, in {Path.home()}"
    step = Step("probe", "failed", what, 0.1, {"seen": [what]}, log=what)
    text = json.dumps(Report(BOARD, "hardware", "now", {}, (step,), private).to_json())
    assert "<station> at <probe> on <serial>, chip <chip>, in <home>" in text
    assert "066DFF" not in text and "desk" not in text


def test_the_command_writes_the_report_and_exits_3(
    harness: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    golden: goldens.Golden,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(order.networks, "build_golden", lambda _station: golden)
    (tmp_path / "bench.toml").write_text(
        f'[[station]]\nname = "desk"\nboard = "{BOARD}"\nprobe = "virtual:{BOARD}"\n'
        f'serial = "virtual://{BOARD}?faults=worn:0"\n'
    )
    answer = harness("bench", "prove", "desk", "--bench", "bench.toml")
    assert answer.code == 3
    assert "failed: flash" in answer.err
    written = json.loads((tmp_path / f"prove-{BOARD}.json").read_text())
    assert written["failed"] == ["flash"] and written["format"] == 1
    assert "verify" in {step["code"] for step in written["steps"]}
