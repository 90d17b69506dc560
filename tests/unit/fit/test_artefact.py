"""A fit file gives back the fit, bit for bit, or says what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import FitError
from harness.fit import Fit, load_fit, save_fit
from harness.fit.regress import fit_rows
from harness.testing import fake_measurement


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fit_rows([fake_measurement(index) for index in range(40)])


def test_a_fit_survives_its_file(fit: Fit, tmp_path: Path) -> None:
    file = save_fit(fit, tmp_path / "deep" / "fit.json")
    assert load_fit(file) == fit
    assert [item.name for item in file.parent.iterdir()] == ["fit.json"]
    again = save_fit(load_fit(file), tmp_path / "again.json")
    assert again.read_bytes() == file.read_bytes()


def test_a_fit_without_arena_survives_its_file(tmp_path: Path) -> None:
    rows = [
        fake_measurement(index, arena_used_bytes=None, arena_planned_bytes=None)
        for index in range(40)
    ]
    fit = fit_rows(rows, holdout_share=0)
    assert load_fit(save_fit(fit, tmp_path / "fit.json")) == fit


def _drop(data: dict[str, Any]) -> None:
    del data["latency"]["slope"]


def _add(data: dict[str, Any]) -> None:
    data["fingerprint"]["colour"] = "red"


def _set(*path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for name in path[:-1]:
            data = data[name]
        data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop, "key 'latency.slope' is missing"),
        (_add, "unknown key 'fingerprint.colour'"),
        (_set("schema_version", value=1), "schema version 1"),
        (_set("schema_version", value=None), "schema version None"),
        (_set("latency", "slope", value="4"), "latency.slope' is '4'"),
        (_set("latency", "slope", value=True), "latency.slope' is True"),
        (_set("latency", "slope", value=-1.0), "latency.slope is -1.0"),
        (
            _set("latency", "intercept", value=float("inf")),
            "latency.intercept' is inf: Input should be",
        ),
        (_set("latency", "intercept", value=10**400), "Input should be a finite number"),
        (_set("latency", "n", value=1), "numbers that no regression gives"),
        (_set("latency", value=None), "'latency' is null"),
        (_set("latency", "train", "n", value=4.5), "latency.train.n' is 4.5"),
        (_set("keys", value=[1]), "'keys.0' is 1"),
        (_set("fingerprint", "board", value=None), "fingerprint.board' is null"),
        (_set("arena", value=[]), "'arena' is list"),
    ],
)
def test_a_wrong_field_is_named(
    fit: Fit, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    file = save_fit(fit, tmp_path / "fit.json")
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))
    with pytest.raises(FitError, match=message) as failure:
        load_fit(file)
    assert str(file) in str(failure.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "[" * 100_000, '{"schema_version": 1}'])
def test_a_file_that_is_no_fit_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "fit.json"
    file.write_text(content)
    with pytest.raises(FitError):
        load_fit(file)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "fit.json"
    file.write_bytes(b"\x80\x04\x95pickle")
    with pytest.raises(FitError, match="not JSON"):
        load_fit(file)


def test_a_missing_file_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(FitError, match="no such fit file") as failure:
        load_fit(tmp_path / "fit.json")
    assert "harness fit" in str(failure.value)
    with pytest.raises(FitError, match="cannot be read"):
        load_fit(tmp_path)


def test_a_place_that_cannot_be_written_is_named(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FitError, match="cannot be written"):
        save_fit(fit, tmp_path / "file" / "fit.json")
