"""Hosts that share a results store agree which stations are disabled."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.bench import Station
from harness.bench.disabled import check_enabled, disable, enable, why_disabled
from harness.campaign.health import agree, tell
from harness.errors import CaptureError, StationDisabled
from harness.results.store import Store

STATION = Station(name="desk", board="nucleo_f746zg", probe="0669FF", serial="/dev/ttyACM0")
VIRTUAL = Station(
    name="virtual", board="nucleo_f746zg", probe="virtual:nucleo_f746zg",
    serial="virtual://nucleo_f746zg",
)  # fmt: skip
FAULT = CaptureError("the cable is loose")

Move = Callable[[str], None]


@pytest.fixture
def on_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Move:
    """Return a function that goes to another host: its name, and its folder of notes."""

    def move(name: str) -> None:
        monkeypatch.setattr("platform.node", lambda: name)
        monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / name))

    return move


def test_what_one_host_disables_another_refuses_with_who_and_why(
    tmp_path: Path, on_host: Move
) -> None:
    with Store.open(tmp_path / "rows.sqlite") as store:
        on_host("lab-a")
        disable(STATION, FAULT)
        agree([STATION], store)
        on_host("lab-b")
        check_enabled(STATION)
        renamed = STATION.model_copy(update={"name": "shelf"})
        notes = agree([renamed], store)
        with pytest.raises(StationDisabled, match=r"by host lab-a: the cable is loose"):
            check_enabled(renamed)
        assert notes["shelf"].disabled and "lab-a" in notes["shelf"].text


def test_a_clean_check_on_any_host_enables_it_for_all(tmp_path: Path, on_host: Move) -> None:
    with Store.open(tmp_path / "rows.sqlite") as store:
        on_host("lab-a")
        disable(STATION, FAULT)
        agree([STATION], store)
        on_host("lab-b")
        agree([STATION], store)
        enable(STATION)
        agree([STATION], store)
        on_host("lab-a")
        assert not agree([STATION], store)["desk"].disabled
        check_enabled(STATION)
        (state,) = store.stations()
        assert (state.state, state.host, state.board) == ("ready", "lab-b", "nucleo_f746zg")
        disable(STATION, FAULT)
        agree([STATION], store)
        assert [state.code for state in store.stations()] == ["capture"]


def test_the_client_of_a_farm_tells_what_a_worker_disabled(tmp_path: Path, on_host: Move) -> None:
    with Store.open(tmp_path / "rows.sqlite") as store:
        on_host("worker")
        failure = pickle.loads(pickle.dumps(disable(STATION, FAULT)))
        on_host("client")
        tell(STATION, failure, store)
        (state,) = store.stations()
        assert (state.host, state.reason) == ("worker", "the cable is loose")
        on_host("worker")
        agree([STATION], store)
        assert store.stations() == [state]


def test_a_virtual_board_is_its_hosts_own(tmp_path: Path, on_host: Move) -> None:
    with Store.open(tmp_path / "rows.sqlite") as store:
        on_host("lab-a")
        disable(VIRTUAL, FAULT)
        agree([VIRTUAL], store)
        on_host("lab-b")
        assert agree([VIRTUAL], store) == {}
        check_enabled(VIRTUAL)


def test_without_a_store_that_works_the_notes_are_this_hosts(
    tmp_path: Path, on_host: Move, caplog: pytest.LogCaptureFixture
) -> None:
    on_host("lab-a")
    disable(STATION, FAULT)
    assert agree([STATION], None)["desk"].disabled
    with Store.open(tmp_path / "rows.sqlite") as store:
        with store._begin(write=True) as connection:
            connection.exec_driver_sql("DROP TABLE bench_station")
        assert agree([STATION], store)["desk"].disabled
    assert "is not known" in caplog.text


def test_a_note_that_cannot_be_read_disables(tmp_path: Path, on_host: Move) -> None:
    on_host("lab-a")
    disable(STATION, FAULT)
    (note,) = (tmp_path / "lab-a" / "disabled").iterdir()
    note.write_text("{")
    with Store.open(tmp_path / "rows.sqlite") as store:
        assert agree([STATION], store)["desk"].disabled
    assert why_disabled(STATION) is not None
