"""The public Python API, as far as it needs no board."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import harness


def test_every_public_name_is_there_and_nothing_heavy_is_loaded_for_it() -> None:
    code = (
        "import sys, harness\n"
        "assert 'pydantic' not in sys.modules and 'numpy' not in sys.modules\n"
        "[getattr(harness, name) for name in harness.__all__]\n"
        "assert set(harness.__all__) <= set(dir(harness))\n"
        "heavy = {'pandas', 'tensorflow', 'unicorn', 'pyocd', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_not_public_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'mesure'"):
        harness.mesure  # noqa: B018


def test_stations_and_boards_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    boards = {board.id: board for board in harness.list_boards()}
    assert boards["nucleo_f746zg"].clock_hz == 216_000_000
    assert {station.board for station in harness.list_stations()} <= set(boards)
    with pytest.raises(harness.HarnessError, match=r"none\.toml"):
        harness.list_stations(tmp_path / "none.toml")


def test_wrong_options_are_refused_before_anything_is_built(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(harness.HarnessError) as refused:
        harness.measure(tiny, repeats=0, db=tmp_path / "rows.sqlite")
    assert "harness.measure" in str(refused.value) and "repeats" in str(refused.value)
    assert not (tmp_path / "rows.sqlite").exists()


def test_a_fit_file_predicts(tmp_path: Path) -> None:
    from harness.fit import save_fit
    from harness.fit.regress import fit_rows
    from harness.testing import fake_measurement

    rows = [fake_measurement(index) for index in range(20)]
    path = save_fit(fit_rows(rows), tmp_path / "fit.json")
    fit = harness.load_fit(path)
    measured = rows[4]
    assert measured.ops and measured.latency_us
    predicted = fit.predict(ops=measured.ops)
    assert predicted.low <= measured.latency_us <= predicted.high
    assert fit.predict(ops=1e12).extrapolated
