"""The command line without a board: lists, shows, refuses, and its reference page."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from harness.bench import load_bench
from harness.bench.disabled import fingerprint
from harness.cli.doctor import Check
from harness.results import open_store
from harness.results.record import StationState, Status
from harness.testing import fake_failure, fake_measurement, tiny_network

Harness = Callable[..., Any]
ROOT = Path(__file__).parents[3]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return a store with twelve rows of one backbone and a failure."""
    path = tmp_path / "rows.sqlite"
    with open_store(path) as store:
        for index in range(30):
            store.add(fake_measurement(index))
        store.add(fake_failure(99))
    return path


def test_boards_lists_and_shows(harness: Harness) -> None:
    listed = harness("boards", "--json").json()
    assert {item["id"] for item in listed} >= {
        "nucleo_f746zg",
        "nucleo_f767zi",
        "nucleo_f446re",
        "nucleo_l4r5zi",
        "nucleo_h743zi",
    }
    assert "nucleo_f746zg" in harness("boards").out
    shown = harness("boards", "nucleo_f746zg").out
    assert "216 MHz, 7 wait states" in shown and "0x20010000, 240 KiB" in shown
    assert harness("boards", "nucleo_f746zg", "--json").json()["facts"]["family"] == "stm32f7"


def test_a_plot_of_many_rows_takes_the_best_and_says_how_to_choose(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figures: list[Any]
) -> None:
    monkeypatch.setattr("harness.report.memory_plot.MOST_ROWS", 3)
    with open_store(tmp_path / "rows.sqlite") as store:
        for index in range(6):  # three models, each at two levels, the second a little slower
            row = fake_measurement(index // 2)
            cycles = tuple(count + index % 2 for count in row.cycles)
            level = ("-O2", "-Os")[index % 2]
            store.add(replace(row, key=f"{index:064x}", optimization=level, cycles=cycles))
    answer = harness("results", "--db", "rows.sqlite", "--plot", "memory.png")
    assert answer.code == 0 and Path("memory.png").is_file()
    assert "of 6 rows, each model's fastest on its board is drawn" in answer.err
    assert "choose with --model, --board, --campaign or --limit" in answer.err
    labels = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    assert labels == ["kws-0", "kws-1", "kws-2"]
    monkeypatch.setattr("harness.report.memory_plot.MOST_ROWS", 2)
    answer = harness("results", "--db", "rows.sqlite", "--plot", "memory.png")
    assert answer.code == 0 and "2 of 3 models fit the plot" in answer.err


def test_sample_is_reproducible(harness: Harness) -> None:
    first = harness("sample", "ds_cnn_kws", "-n", 3, "--seed", 5, "--json").json()
    again = harness("sample", "ds_cnn_kws", "-n", 1, "--first", 2, "--seed", 5, "--json").json()
    assert [item["index"] for item in first] == [0, 1, 2]
    assert again == first[2:]
    assert all(item["ops"] == 2 * item["macs"] for item in first)
    assert "working memory" in harness("sample", "ds_cnn_kws", "-n", 1).out
    assert "visual wake words" in harness("sample").out


@pytest.mark.parametrize("name", ["net.tflite", "net.bin"])
def test_a_model_in_place_of_a_campaign_names_the_right_command(
    name: str, harness: Harness, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(tiny_network(1))
    answer = harness("run", name)
    assert answer.code == 2 and f"{name} is a model, not a campaign file" in answer.err
    assert f"`harness measure {name}`" in answer.err
    (tmp_path / "noise.toml").write_bytes(bytes(range(256)))
    noise = harness("run", "noise.toml")
    assert noise.code == 2 and "noise.toml is not a text file: byte 128" in noise.err


def test_unknown_backbone(harness: Harness) -> None:
    answer = harness("sample", "ds_cnn_kw")
    assert answer.code == 2 and "did you mean 'ds_cnn_kws'" in answer.err


def test_who_disabled_a_station_and_why_is_listed(
    harness: Harness, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = tmp_path / "bench.toml"
    bench.write_text(
        '[[station]]\nname = "desk"\nboard = "nucleo_f746zg"\nprobe = "066A"\n'
        'serial = "/dev/ttyACM7"\n'
    )
    desk = load_bench(bench).station("desk")
    with open_store(database) as store:
        store.note_station(
            StationState(
                key=fingerprint(desk), name="desk", board=desk.board, probe=desk.probe,
                host="lab-b", state="disabled", code="hang", reason="the cable is loose",
                since=datetime(2026, 1, 2, tzinfo=UTC),
            )
        )  # fmt: skip
    text = "disabled since 2026-01-02T00:00:00 by host lab-b: the cable is loose"
    (listed,) = harness("bench", "list", "--bench", bench, "--db", database, "--json").json()
    assert listed["health"] == text
    monkeypatch.setenv("COLUMNS", "80")
    shown = harness("bench", "list", "--bench", bench, "--db", database).out
    assert max(map(len, shown.splitlines())) <= 80
    assert "by host lab-b: the cable is loose" in " ".join(shown.split())
    monkeypatch.setattr(
        "harness.cli.doctor._compiler", lambda: Check("compiler", ok=True, found="gcc")
    )
    doctor = harness("doctor", "--bench", bench, "--db", database, "--json")
    (line,) = [item for item in doctor.json() if item["what"] == "station desk"]
    assert line["ok"] is False and line["found"] == text and "bench check desk" in line["fix"]


def test_bench_lists_virtual_stations(harness: Harness) -> None:
    listed = harness("bench", "list", "--json").json()
    assert {item["name"] for item in listed} >= {"virtual-nucleo_f746zg"}
    assert "emulated" in harness("bench", "list").out
    assert "virtual://nucleo_f746zg" in harness("virtual", "list").out
    assert harness("virtual", "list", "--json").json()[0]["probe"].startswith("virtual:")


def test_discover_without_a_real_board_says_what_to_do(harness: Harness, tmp_path: Path) -> None:
    answer = harness("bench", "discover")
    if answer.code == 0:
        pytest.skip("a real board is plugged in")
    assert answer.code == 3 and "virtual boards need no bench file" in answer.err
    assert not (tmp_path / "bench.toml").exists()


def test_results_list_filter_and_show(harness: Harness, database: Path) -> None:
    assert "30 of 31 measurements" in harness("results", "--db", database, "-n", 30).out
    failed = harness("results", "--db", database, "--status", "invalid", "--json").json()
    assert len(failed) == 1 and failed[0]["status"] == "invalid"
    key = harness("results", "--db", database, "--status", "valid", "-n", 1, "--json").json()[0]
    shown = harness("results", key["key"][:12], "--db", database)
    assert shown.code == 0 and "arena planned / used" in shown.out
    assert harness("results", key["key"], "--db", database, "--json").json()["key"] == key["key"]
    assert harness("results", key["key"], "--db", database, "--log").code == 0
    assert "no row's key starts with" in harness("results", "zzz", "--db", database).err


def test_results_shows_where_rows_differ_and_says_once_what_they_share(
    harness: Harness, tmp_path: Path
) -> None:
    with open_store(tmp_path / "rows.sqlite") as store:
        store.add(fake_measurement(0))
        store.add(fake_measurement(1))
    shown = harness("results", "--db", "rows.sqlite").out.split()
    assert "(emulated, nucleo_f746zg, fake, aot, cmsis_nn," in " ".join(shown)
    assert "valid)" in shown and not {"runtime", "station", "date", "status"} & set(shown)
    others = {"runtime": "tflm", "kernels": "reference", "optimization": "-Os", "station": "shelf"}
    with open_store(tmp_path / "rows.sqlite") as store:
        row = fake_measurement(2)
        store.add(replace(row, **others, created_at=row.created_at + timedelta(days=1)))
        store.add(fake_failure(3))
    head = harness("results", "--db", "rows.sqlite").out
    for name in (
        "station",
        "runtime",
        "kernels",
        "flags",
        "date",
        "status",
        "tflm",
        "shelf",
        "-Os",
    ):
        assert name in head, name


@pytest.mark.parametrize(
    "command",
    ["results", "results --compare", "fit", "boards", "boards nucleo_f746zg", "sample",
     "sample ds_cnn_kws -n 3", "sample --list-named", "virtual list", "bench list", "runs",
     "results KEY"],
)  # fmt: skip
def test_tables_fit_80_columns(
    command: str, harness: Harness, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("HARNESS_DB", str(database))
    with open_store(database) as store:
        row = fake_measurement(40)
        store.add(replace(row, optimization="-Os", station="a-station-with-a-long-name"))
        words = command.replace("KEY", row.key).split()
    answer = harness(*words)
    assert answer.code == 0, answer.err
    assert max(map(len, answer.out.splitlines())) <= 80
    assert "…" not in answer.out  # nothing is cut


def test_fit_writes_files_and_says_why_not(harness: Harness, database: Path) -> None:
    answer = harness("fit", "--db", database, "--out", "fits", "--json")
    assert answer.code == 0, answer.err
    data = answer.json()
    assert data["fits"] and all(Path(path).is_file() for path in data["files"].values())
    assert "Mop/s" in harness("fit", "--db", database, "--out", "fits").out
    nothing = harness("fit", "--db", database, "--backbone", "ds_cnn_kw", "--out", "fits")
    assert nothing.code == 2
    assert "no row has backbone 'ds_cnn_kw' (did you mean 'ds_cnn_kws'?)" in nothing.err
    assert "ds_cnn_kws (30 rows)" in nothing.err
    both = harness("fit", "--db", database, "--board", "nucleo_f746zg", "--source", "hardware")
    assert both.code == 2 and "emulated (31 rows)" in both.err
    empty = harness("results", "--db", database, "--model", "kws-99999")
    assert empty.code == 0 and "no row has model 'kws-99999'" in empty.err


def test_fit_says_why_no_row_can_be_fitted(harness: Harness, tmp_path: Path) -> None:
    with open_store(tmp_path / "rows.sqlite") as store:
        store.add(fake_failure(1))
        store.add(replace(fake_measurement(2), backbone=None, architecture=None))
        store.add(replace(fake_measurement(3), status=Status.DEGRADED, issues=("clock-differs",)))
    answer = harness("fit", "--db", "rows.sqlite", "--out", "fits")
    assert answer.code == 1
    for part in ("nothing to fit: 3 rows", "1 invalid", "1 degraded, which --degraded takes"):
        assert part in answer.err
    assert "1 of models that are files" in answer.err
    few = harness("fit", "--db", "rows.sqlite", "--out", "fits", "--degraded", "--json")
    assert few.code == 1 and "too few rows to fit" in few.json()["notes"][0]


def test_export(harness: Harness, database: Path) -> None:
    import pandas

    assert harness("export", "rows.parquet", "--db", database).code == 0
    assert len(pandas.read_parquet("rows.parquet")) == 31
    assert harness("export", "rows.csv", "--db", database, "--status", "valid").code == 0
    assert len(pandas.read_csv("rows.csv")) == 30
    assert harness("export", "rows.xlsx", "--db", database).code == 2


def test_version(harness: Harness) -> None:
    from harness import __version__

    assert harness("--version").out.strip() == f"tinyml-harness {__version__}"


@pytest.mark.skipif(
    tuple(map(int, typer.__version__.split(".")[:2])) < (0, 29),
    reason="older releases of Typer word the page differently: pip install -U typer",
)
def test_the_reference_page_is_up_to_date(tmp_path: Path) -> None:
    page = tmp_path / "cli.md"
    subprocess.run(
        [sys.executable, "-m", "typer", "harness.cli.app", "utils", "docs", "--name", "harness",
         "--title", "Command line", "--output", str(page)],
        check=True, capture_output=True,
    )  # fmt: skip
    assert page.read_text() == (ROOT / "docs" / "cli.md").read_text(), "run: nox -s docs"


def test_help_loads_no_heavy_package() -> None:
    script = (
        "import sys\ntry:\n from harness.cli import main; main(['--help'])\n"
        "except SystemExit: pass\nprint(sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(ast.literal_eval(done.stderr.strip().splitlines()[-1]))
    heavy = {
        "tensorflow", "numpy", "pandas", "sklearn", "matplotlib", "pyocd", "unicorn", "numba",
        "platformio", "sqlalchemy", "serial", "pydantic",
    }  # fmt: skip
    assert not heavy & loaded


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("measure", "nope.tflite"), "nope.tflite' does not exist"),
        (("build", "nope.tflite", "-O9"), "Invalid value for '-O'"),
        (("run", "net.tflite"), "harness measure net.tflite"),
        (("results", "--source", "real"), "--source"),
        (("flash", "a.elf", "--board", "nucleo_f746zx"), "did you mean 'nucleo_f746zg'"),
    ],
)
def test_a_message_names_what_the_user_typed(
    harness: Harness, arguments: tuple[str, ...], said: str
) -> None:
    answer = harness(*arguments)
    assert answer.code == 2 and said in answer.err


def test_compare_names_the_store_that_is_missing(harness: Harness, database: Path) -> None:
    answer = harness("compare", database, "gone.sqlite")
    assert answer.code == 2 and "no results store gone.sqlite" in answer.err
    assert "--db" not in answer.err


def test_a_board_without_a_station_is_the_bench_s_fault(harness: Harness, tmp_path: Path) -> None:
    bench = tmp_path / "bench.toml"
    bench.write_text(
        '[[station]]\nname = "a"\nboard = "nucleo_f446re"\nprobe = "06"\nserial = "/dev/ttyX"\n'
    )
    answer = harness("flash", "a.elf", "--board", "nucleo_f746zg", "--bench", bench)
    assert answer.code == 3 and "no station has board 'nucleo_f746zg'" in answer.err
    assert "a (nucleo_f446re, hardware)" in answer.err


def test_levels_are_taken_as_people_write_them() -> None:
    from harness.runtimes import Optimization

    assert {Optimization(text) for text in ("2", "O2", "-O2")} == {Optimization.O2}
    with pytest.raises(ValueError, match="9"):
        Optimization("-O9")


def test_a_benchmark_or_console_that_is_not_there_is_named(harness: Harness, tiny: Path) -> None:
    refused = harness("build", tiny, "--benchmark", "ic01")
    assert refused.code == 2 and "is not for ic01: 128 input and 64 output values" in refused.err
    absent = harness("virtual", "attach", "/dev/absent", "main.py", "--mode=p")
    assert absent.code == 2 and "there is no console /dev/absent" in absent.err
    absent = harness("virtual", "attach", "/dev/null", "absent.py")
    assert absent.code == 2 and "there is no script absent.py" in absent.err
