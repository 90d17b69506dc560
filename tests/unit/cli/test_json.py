"""What `--json` prints: the keys that docs/json.md promises, and errors where data would be."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.bench import Station
from harness.results import open_store
from harness.results.record import Measurement
from harness.testing import fake_measurement, tiny_network

Harness = Callable[..., Any]
PAGE = (Path(__file__).parents[3] / "docs" / "json.md").read_text()
# Each command of the page that runs without a compiler and an emulator.
TRIED = (
    "boards", "boards nucleo_f746zg", "virtual list", "sample", "sample ds_cnn_kws -n 1", "fit",
    "compare ROWS ROWS", "predict MODEL", "cache", "cache prune",
)  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Return files by their names in the page's commands."""
    with open_store(tmp_path / "rows.sqlite") as store:
        for index in range(30):
            store.add(fake_measurement(index))
    (tmp_path / "net.tflite").write_bytes(tiny_network(1))
    return {"ROWS": str(tmp_path / "rows.sqlite"), "MODEL": str(tmp_path / "net.tflite")}


def _promised(command: str) -> tuple[str, list[str]]:
    line = re.search(rf"^\| `{re.escape(command)}` \| (\w+) \| (.*) \|$", PAGE, flags=re.MULTILINE)
    assert line is not None
    if line[2] == "the same":
        return line[1], _promised(command.split()[0])[1]
    # What stands in brackets or behind a semicolon are values, or keys of some calls only.
    text = re.sub(r"\([^)]*\)|;.*", "", line[2])
    return line[1], re.findall(r"`([^`]+)`", text)


@pytest.mark.parametrize("command", TRIED)
def test_the_keys_are_those_of_the_page(
    command: str, harness: Harness, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DB", files["ROWS"])
    kind, keys = _promised(command)
    answer = harness(*(files.get(word, word) for word in command.split()), "--json")
    assert answer.code == 0, answer.err
    data = answer.json()
    assert isinstance(data, list if kind == "array" else dict)
    first = data[0] if kind == "array" else data
    if kind == "object":
        assert next(iter(first)) == "schema" and first.pop("schema") == 1
    assert set(first) == set(keys)


def test_rows_and_stations_have_their_own_fields(
    harness: Harness, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DB", files["ROWS"])
    (row, *_) = harness("results", "--json").json()
    assert set(row) == {*Measurement.__dataclass_fields__, "expected_error"} - {"raw_log"}
    assert row["layers"] == [] and 0 < row["expected_error"] < 1
    one = harness("results", row["key"], "--json").json()
    assert one.pop("schema") == 1 and set(one) == set(row)
    (station, *_) = harness("bench", "list", "--json").json()
    assert set(station) == {*Station.model_fields, "health"}


def test_an_error_is_an_object_where_the_data_would_be(harness: Harness) -> None:
    answer = harness("sample", "ds_cnn_kw", "--json")
    error = answer.json()
    assert answer.code == 2 and list(error) == ["schema", "error"] and error["schema"] == 1
    assert list(error["error"]) == ["code", "what", "where", "expected", "fix"]
    assert error["error"]["code"] == "backbone"
    assert "did you mean 'ds_cnn_kws'" in error["error"]["what"]
    assert "error[backbone]" in answer.err  # people are told as before
    assert harness("sample", "ds_cnn_kw").out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("results", "--nope"),
        ("results", "--status", "odd"),
        ("compare", "one.sqlite"),
        ("measure", "nowhere.tflite"),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_wrong_use_exits_2_and_is_an_error_object_too(
    harness: Harness, arguments: tuple[str, ...]
) -> None:
    answer = harness(*arguments, "--json")
    assert answer.code == 2
    assert answer.json()["error"]["code"] == "usage" and answer.json()["error"]["what"]


def test_what_a_user_names_and_is_not_there_is_wrong_use(
    harness: Harness, files: dict[str, str]
) -> None:
    rows = files["ROWS"]
    assert harness("results", "zzz", "--db", rows).code == 2
    assert harness("compare", rows, "nowhere.sqlite").code == 2
    assert harness("export", "rows.xlsx", "--db", rows).code == 2


def test_interruption_is_told(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.backbones.get_backbone", interrupt)
    answer = harness("sample", "ds_cnn_kws", "--json")
    assert answer.code == 130 and answer.json()["error"]["code"] == "interrupted"
    assert "run the same command to continue" in answer.err


@pytest.mark.parametrize(
    "command",
    [
        ("sample", "ds_cnn_kws", "-n", "1", "--out", "taken/models"),
        ("bench", "discover", "--remote", "x", "--out", "taken/bench.toml"),
    ],
    ids=lambda command: command[0],
)
def test_an_output_that_cannot_be_written_is_a_message(
    command: tuple[str, ...], harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.bench import virtual_bench

    monkeypatch.setattr("harness.campaign.prepare.convert", lambda _: b"model")
    monkeypatch.setattr("harness.bench.remote.discover_remote", lambda _: virtual_bench())
    (tmp_path / "taken").write_text("a file where a folder should be")
    answer = harness(*command)
    assert answer.code == 2 and "Traceback" not in answer.err
    assert "cannot be written" in answer.err and "taken" in answer.err
