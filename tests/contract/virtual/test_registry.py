"""A station's URL chooses the timing model of its virtual board."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import serial

from harness.bench import Station, load_bench, virtual_bench
from harness.boards import Board
from harness.campaign.config import MeasureOptions
from harness.campaign.needs import Needs
from harness.campaign.plan import Job
from harness.campaign.specs import ModelSpec
from harness.errors import VirtualError
from harness.firmware import BuildOptions
from harness.runtimes import RuntimeOptions
from support import needs

pytestmark = needs.emulator
BOARD = "nucleo_f746zg"
URL = f"virtual://{BOARD}"


@pytest.fixture(autouse=True)
def _off() -> Iterator[None]:
    from harness.virtual.registry import discard_machine

    if "harness.virtual.ports.serialurl" not in serial.protocol_handler_packages:
        serial.protocol_handler_packages.append("harness.virtual.ports.serialurl")
    discard_machine(BOARD)
    yield
    discard_machine(BOARD)


def _station(url: str) -> Station:
    return Station(name="desk", board=BOARD, probe=f"virtual:{BOARD}", serial=url)


def test_the_board_runs_the_model_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.virtual.registry import power_on

    monkeypatch.delenv("HARNESS_TIMING", raising=False)
    machine = power_on(BOARD)
    assert machine.model.name == "cortex-m7-pipeline"
    assert power_on(BOARD, "pipeline") is machine
    other = power_on(BOARD, "issue")
    assert other.model.name == "cortex-m7-issue" and other.observer is None
    monkeypatch.setenv("HARNESS_TIMING", "issue")
    assert power_on(BOARD) is other


def test_no_other_board_is_powered_on_before_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.virtual import registry

    built: list[str] = []
    machine = registry.VirtualMachine

    def build(board: Board, **options: Any) -> Any:
        built.append(options["model"].name)
        return machine(board, **options)

    monkeypatch.setattr(registry, "VirtualMachine", build)
    registry.power_on(BOARD, "issue")
    assert built == ["cortex-m7-issue"]


def test_the_url_chooses_and_a_board_in_use_is_not_switched() -> None:
    from harness.virtual.registry import get_machine, power_on

    with serial.serial_for_url(f"{URL}?timing=issue&faults=drop:0.1&seed=1"):
        assert get_machine(BOARD).model.name == "cortex-m7-issue"
        with pytest.raises(VirtualError, match="in use with the timing model 'cortex-m7-issue'"):
            power_on(BOARD, "pipeline")
    with serial.serial_for_url(f"{URL}?timing=pipeline"):
        assert get_machine(BOARD).model.name == "cortex-m7-pipeline"
    with pytest.raises(serial.SerialException, match="no timing model is named 'exact'"):
        serial.serial_for_url(f"{URL}?timing=exact")


def test_stations_of_one_board_with_two_models_are_two_jobs(tmp_path: Path) -> None:
    file = tmp_path / "bench.toml"
    file.write_text(
        f'[[station]]\nname = "desk"\nboard = "{BOARD}"\n'
        f'probe = "virtual:{BOARD}"\nserial = "{URL}?timing=issue"\n'
    )
    station = load_bench(file).station("desk")
    assert station.timing == "issue"
    usual = virtual_bench().station(f"virtual-{BOARD}")
    assert usual.timing is None
    real = _station(f"{URL}?timing=issue").model_copy(update={"probe": "0669"})
    assert real.timing is None

    def key(station: Station) -> str:
        spec, runtime = ModelSpec("net", 0, sha256="0" * 64), RuntimeOptions("aot", "portable")
        return Job.of(Needs.of(station), spec, runtime, BuildOptions(), MeasureOptions()).key

    assert key(station) != key(usual)
    assert key(_station(f"{URL}?timing=pipeline")) == key(usual)
