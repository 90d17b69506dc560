"""Exports keep unknown apart from zero, and appear whole or not at all."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from harness.errors import ConfigError, ResultsError
from harness.results.record import LayerCycles
from harness.results.store import Filter, Store
from harness.testing import fake_failure, fake_measurement


@pytest.fixture
def store() -> Store:
    store = Store.open("sqlite://")
    store.add(fake_measurement(0))
    store.add(fake_measurement(1, layers=(LayerCycles(0, "bad \ud800 name", "CONV_2D", 1, 2),)))
    store.add(fake_failure(2))
    return store


def test_a_frame_has_a_line_per_row_and_says_unknown(store: Store) -> None:
    frame = store.frame()
    assert len(frame) == 3
    assert frame["ops"].dtype == "Int64"
    assert frame["latency_us"].isna().tolist() == [False, False, True]
    assert frame["bit_exact"].dtype == "boolean"
    assert json.loads(frame["cycles"][0]) == list(fake_measurement(0).cycles)
    assert "raw_log" not in frame.columns


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_holds_what_the_frame_holds(store: Store, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / "deep" / f"rows.{suffix}"
    assert store.export(file, Filter(status="valid")) == 2
    frame = pd.read_csv(file) if suffix == "csv" else pd.read_parquet(file)
    assert frame["ops"].tolist() == [2_000_000, 2_450_000]
    # pandas 2.1 reads CSV to the last but one digit.
    latencies = [fake_measurement(n).latency_us for n in (0, 1)]
    assert frame["latency_us"].tolist() == pytest.approx(latencies, rel=1e-15)
    assert frame["arena_min_bytes"].isna().all()
    assert [item.name for item in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_layers_are_a_table_of_their_own(store: Store, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"layers.{suffix}"
    assert store.export(file, table="layers") == 3
    frame = pd.read_csv(file) if suffix == "csv" else pd.read_parquet(file)
    assert frame["operator"].tolist() == ["CONV_2D", "SOFTMAX", "CONV_2D"]
    assert frame["name"].tolist()[2] == "bad \\ud800 name"
    assert frame["macs"].isna().tolist() == [False, True, False]


def test_nothing_to_export_still_has_its_columns(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "none.parquet"
    assert store.export(file, Filter(campaign="none")) == 0
    assert "latency_us" in pd.read_parquet(file).columns


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_is_written_in_chunks(
    store: Store, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, chunked = tmp_path / f"whole.{suffix}", tmp_path / f"chunked.{suffix}"
    assert store.export(whole) == 3
    monkeypatch.setattr("harness.results.export.LINES", 1)
    assert [len(chunk) for chunk in store.lines()] == [1, 1, 1]
    assert store.export(chunked) == 3
    if suffix == "csv":
        assert chunked.read_bytes() == whole.read_bytes()
    else:
        pd.testing.assert_frame_equal(pd.read_parquet(chunked), pd.read_parquet(whole))
    pd.testing.assert_frame_equal(store.frame(), pd.read_parquet(_parquet(store, tmp_path)))


def _parquet(store: Store, folder: Path) -> Path:
    store.export(folder / "again.parquet")
    return folder / "again.parquet"


def test_only_chosen_columns_are_read(store: Store) -> None:
    frame = store.frame(Filter(status="valid"), columns=["ops", "created_at"])
    assert list(frame) == ["ops", "created_at"] and frame["ops"].tolist() == [2_000_000, 2_450_000]
    with pytest.raises(ResultsError, match=r"no column 'latency'.*latency_us"):
        store.frame(columns=["latency"])


def test_what_a_file_cannot_hold_stays_escaped(tmp_path: Path) -> None:
    with Store.open("sqlite://") as store:
        store.add(fake_measurement(0, model_name="a\\b \x00 \ud800 é"))
        assert store.query()[0].model_name == "a\\b \x00 \ud800 é"
        store.export(tmp_path / "rows.csv")
    assert pd.read_csv(tmp_path / "rows.csv")["model_name"][0] == "a\\b \\u0000 \\ud800 é"


def test_parquet_without_pyarrow_says_what_to_install(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ResultsError, match=r"tinyml-harness\[export\]"):
        store.export(tmp_path / "rows.parquet")
    assert store.export(tmp_path / "rows.csv") == 3


def test_an_unknown_format_or_table_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="xlsx"):
        store.export(tmp_path / "rows.xlsx")
    with pytest.raises(ResultsError, match="no table 'rows'"):
        store.export(tmp_path / "rows.csv", table="rows")


def test_a_file_that_cannot_be_written_is_named(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match="cannot be written"):
        store.export(tmp_path / "file" / "rows.csv")
    (tmp_path / "rows.csv").mkdir()
    with pytest.raises(ResultsError, match="cannot be written"):
        store.export(tmp_path / "rows.csv")
    assert not list(tmp_path.glob(".rows.csv.*"))
