from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from harness.bench import Bench, Station, load_bench, virtual_bench, write_bench
from harness.errors import ConfigError

GOOD = """
[[station]]
name = "desk-1"
board = "nucleo_f746zg"
probe = "066DFF485550755187121723"
serial = "/dev/ttyACM0"
tags = ["desk", "nightly"]

[[station]]
name = "sim"
board = "nucleo_f767zi"
probe = "virtual:nucleo_f767zi"
serial = "virtual://nucleo_f767zi"
"""


@pytest.fixture(autouse=True)
def no_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_BENCH", raising=False)
    monkeypatch.chdir(tmp_path)


def write(folder: Path, text: str, name: str = "bench.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_without_a_file_every_emulated_board_has_a_virtual_station() -> None:
    bench = load_bench()
    assert bench.path is None
    station = bench.station("virtual-nucleo_f746zg")
    assert station.probe == "virtual:nucleo_f746zg"
    assert station.serial == "virtual://nucleo_f746zg"
    assert station.source == "emulated"
    assert bench == virtual_bench()


def test_search_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, GOOD)
    assert [s.name for s in load_bench().stations] == ["desk-1", "sim"]
    other = write(tmp_path, GOOD.replace("desk-1", "lab-1"), "lab.toml")
    monkeypatch.setenv("HARNESS_BENCH", str(other))
    assert load_bench().stations[0].name == "lab-1"
    third = write(tmp_path, GOOD.replace("desk-1", "named"), "third.toml")
    assert load_bench(third).stations[0].name == "named"


def test_source_tags_and_boards(tmp_path: Path) -> None:
    bench = load_bench(write(tmp_path, GOOD))
    assert [s.source for s in bench.stations] == ["hardware", "emulated"]
    assert bench.choose(board="nucleo_f767zi").name == "sim"
    assert bench.choose("desk-1", "nucleo_f767zi").name == "desk-1"


def test_virtual_stations_can_be_named_beside_a_file(tmp_path: Path) -> None:
    bench = load_bench(write(tmp_path, GOOD))
    assert bench.station("virtual-nucleo_f446re").board == "nucleo_f446re"


def test_unknown_station_suggests_the_near_miss(tmp_path: Path) -> None:
    bench = load_bench(write(tmp_path, GOOD))
    with pytest.raises(ConfigError, match="did you mean 'desk-1'") as caught:
        bench.station("desk1")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("serial = ", "seriel = "), r"unknown key 'station.0.seriel' \(did you mean 'serial'"),
        (("[[station]]", "[[stations]]"), r"did you mean 'station'"),
        (('name = "desk-1"\n', ""), "key 'station.0.name' is missing"),
        (('"nucleo_f746zg"', '"nucleo_f746"'), r"unknown board 'nucleo_f746' \(did you mean"),
        (('"sim"', '"desk-1"'), "two stations are called 'desk-1'"),
        (('"virtual://nucleo_f767zi"', '"/dev/ttyACM0"'), "same serial"),
        (('"virtual:nucleo_f767zi"', '"virtual:nucleo_f767zi#2"'), "two virtual boards"),
        (('virtual:nucleo_f767zi"', 'virtual:nucleo_f767zi#0"'), "1 or more"),
        (('"desk-1"', '"desk 1"'), "desk 1"),
        (('["desk", "nightly"]', '"desk"'), "tags"),
        (("[[station]]", "[[station"), "not valid TOML"),
    ],
)
def test_mistakes_name_file_and_key(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = write(tmp_path, GOOD.replace(*change))
    with pytest.raises(ConfigError, match=message) as caught:
        load_bench(path)
    assert str(path) in str(caught.value)


def test_partial_probe_id_inside_another_is_refused(tmp_path: Path) -> None:
    text = GOOD.replace('"virtual:nucleo_f767zi"', '"066DFF48"')
    with pytest.raises(ConfigError, match="match the same probe") as caught:
        load_bench(write(tmp_path, text))
    assert "desk-1" in caught.value.what
    assert "sim" in caught.value.what


def test_a_virtual_board_may_be_there_several_times(tmp_path: Path) -> None:
    one = GOOD[GOOD.index('[[station]]\nname = "sim"') :]
    second = one.replace("sim", "second").replace('zi"\n', 'zi#2"\n')
    second = second.replace('board = "nucleo_f767zi#2"', 'board = "nucleo_f767zi"')
    bench = load_bench(write(tmp_path, one + second))
    assert [station.number for station in bench.stations] == [None, 2]
    first = one.replace("sim", "first").replace('zi"\n', 'zi#1"\n')
    first = first.replace('board = "nucleo_f767zi#1"', 'board = "nucleo_f767zi"')
    with pytest.raises(ConfigError, match="have the same probe"):
        load_bench(write(tmp_path, one + first))


def test_missing_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_bench(tmp_path / "none.toml")
    monkeypatch.setenv("HARNESS_BENCH", str(tmp_path / "none.toml"))
    with pytest.raises(ConfigError, match="no such file") as caught:
        load_bench()
    assert "HARNESS_BENCH" in str(caught.value)


def test_written_file_reads_back(tmp_path: Path) -> None:
    odd = Station(
        name="odd",
        board="nucleo_f446re",
        probe='quote" back\\slash \x7f tab\t é',
        serial="socket://host:5000",
        tags=("a b", "c"),
    )
    bench = load_bench(write(tmp_path, GOOD))
    whole = Bench(stations=(*bench.stations, odd), notes=("one probe was left out",))
    path = tmp_path / "out.toml"
    write_bench(whole, path)
    assert load_bench(path).stations == whole.stations
    assert "# one probe was left out" in path.read_text()
    assert tomllib.loads(path.read_text())["station"][2]["tags"] == ["a b", "c"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bench.toml", "out.toml"]


def test_existing_file_is_kept_unless_asked(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    with pytest.raises(ConfigError, match="exists"):
        write_bench(virtual_bench(), path)
    assert path.read_text() == GOOD
    write_bench(virtual_bench(), path, overwrite=True)
    assert load_bench(path).stations == virtual_bench().stations
