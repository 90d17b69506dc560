"""A station's power is switched by its own command, once before a board is given up."""

from __future__ import annotations

import shlex
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.bench import Station
from harness.bench.power import cycle_power
from harness.campaign import places
from harness.campaign.places import StationPlace
from harness.errors import BenchError, CaptureTimeout, CoreFault, HarnessError, ProbeNotFound

RECORD = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + ' ')"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("harness.bench.power.OFF_S", 0.0)
    monkeypatch.setattr(places, "pause_s", lambda *_: 0.0)
    return tmp_path / "log"


def station(power: str | None) -> Station:
    return Station(name="desk", board="nucleo_f746zg", probe="06", serial="/dev/x", power=power)


def recording(log: Path, action: str = "{action}") -> Station:
    return station(shlex.join([sys.executable, "-c", RECORD, str(log), action]))


def test_a_command_with_an_action_runs_off_then_on_and_another_once(log: Path) -> None:
    cycle_power(recording(log))
    assert log.read_text() == "off on "
    cycle_power(recording(log, "cycle"))
    assert log.read_text() == "off on cycle "


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("no-such-tool", "does not run"),
        ("false", r"failed \(1\)"),
        (None, "has no 'power' command"),
    ],
)
def test_a_command_that_fails_is_named(command: str | None, says: str) -> None:
    with pytest.raises(BenchError, match=says) as raised:
        cycle_power(station(command))
    assert "bench.toml" in str(raised.value.fix)


def place(one: Station, results: list[HarnessError | None]) -> StationPlace:
    """Return a place on which runs of a job end as listed; None is a row."""

    def run(*_: Any, **__: Any) -> Any:
        failure = results.pop(0)
        if failure is not None:
            raise failure
        return SimpleNamespace(raw_log="")

    session = SimpleNamespace(broken=True, close=lambda: None, run=run)
    return StationPlace(one, lambda _: cast(Any, session), threading.Event())


def attempt(where: StationPlace, session_run: str = "job") -> str:
    run = where._opened
    where._repeat(session_run, lambda: cast(Any, run()).run())
    return session_run


def test_power_is_switched_once_until_something_works(log: Path) -> None:
    silent = [CaptureTimeout("silent") for _ in range(7)]
    where = place(recording(log), [*silent[:3], None])
    attempt(where)
    assert log.read_text() == "off on "
    where = place(recording(log), [*silent[:4], *silent[4:7], None, *silent[:3], None])
    for _ in range(2):  # three attempts and the one after the cycle; then three without one
        with pytest.raises(CaptureTimeout):
            attempt(where)
    assert log.read_text() == "off on " * 2
    attempt(where)
    attempt(where)  # after a success its power is switched again
    assert log.read_text() == "off on " * 3


def test_a_network_s_fault_and_a_station_without_a_command_switch_nothing(log: Path) -> None:
    with pytest.raises(CoreFault):
        attempt(place(recording(log), [CoreFault("x") for _ in range(2)]))
    with pytest.raises(ProbeNotFound):
        attempt(place(station(None), [ProbeNotFound("gone") for _ in range(5)]))
    assert not log.exists()


def test_a_command_that_fails_leaves_the_failure_as_it_is(log: Path) -> None:
    with pytest.raises(CaptureTimeout, match="silent"):
        attempt(place(station("false"), [CaptureTimeout("silent") for _ in range(3)]))
