"""A plot shows one configuration, says where its figures come from, and is reproducible."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from harness.errors import FitError
from harness.fit import Fit
from harness.fit.regress import fit_all, fit_rows
from harness.report.plot import plot_latency
from harness.results.record import Measurement
from harness.testing import fake_measurement
from harness.testing.rows import key_of


@pytest.fixture(scope="module")
def rows() -> list[Measurement]:
    kws = [fake_measurement(index) for index in range(30)]
    vww = [
        fake_measurement(100 + index, backbone="mobilenet_v2_vww", latency_us=9e4 + 4e3 * index)
        for index in range(30)
    ]
    own = [
        fake_measurement(200 + index, backbone="$my_net$", latency_us=5e5 + 1e4 * index)
        for index in range(30)
    ]
    return [*kws, *vww, *own]


@pytest.fixture(scope="module")
def fits(rows: list[Measurement]) -> list[Fit]:
    found, failures = fit_all(rows)
    assert len(found) == 3 and not failures
    return found


def _svg_text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


@pytest.mark.parametrize(("log", "scale"), [(None, "linear"), (True, "log"), (False, "linear")])
def test_a_plot_of_three_backbones_and_their_pool(
    fits: list[Fit],
    rows: list[Measurement],
    tmp_path: Path,
    figures: list[Figure],
    log: bool | None,
    scale: str,
) -> None:
    pooled = fit_rows(rows, pooled=True)
    file = plot_latency(fits, rows, tmp_path / "deep" / "plot.png", pooled=pooled, log=log)
    assert file.read_bytes().startswith(b"\x89PNG")
    (figure,) = figures
    top, bottom = figure.axes
    assert (top.get_xscale(), top.get_yscale()) == (scale, scale)
    held = sum(len(fit.holdout_keys) for fit in fits)
    for axes in (top, bottom):
        marks = [line for line in axes.lines if line.get_linestyle() == "None"]
        assert sum(len(line.get_xdata()) for line in marks) == len(rows)
        hollow = [line for line in marks if line.get_markerfacecolor() == "white"]
        assert sum(len(line.get_xdata()) for line in hollow) == held > 0
    assert len(top.lines) - len(marks) == len(fits) + 1  # a line for each, one for the pool
    captions = [item.get_text() for item in figure.legends[0].get_texts()]
    names = [*(str(fit.fingerprint.backbone) for fit in fits), "all, pooled"]
    assert [text.partition(":")[0] for text in captions[:4]] == names
    assert captions[4].startswith("hollow") and captions[5] == "95 % prediction interval"
    assert top.get_ylabel() == "modelled latency per inference (ms)"
    assert bottom.get_xlabel().startswith("operations per inference (million")
    assert [item.name for item in file.parent.iterdir()] == ["plot.png"]


def test_it_says_emulated_and_never_measured(
    fits: list[Fit], rows: list[Measurement], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none"}):
        content = _svg_text(plot_latency(fits[:1], rows, tmp_path / "plot.svg"))
    assert "EMULATED: cycles modelled by fake/1" in content
    assert "modelled latency per inference (ms)" in content
    assert "measured" not in content
    assert "$my_net$" in content  # a name is not read as mathematics


def test_hardware_rows_are_called_measured(tmp_path: Path) -> None:
    import matplotlib

    rows = [fake_measurement(i, source="hardware", timing_model=None) for i in range(20)]
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        content = _svg_text(plot_latency([fit_rows(rows)], rows, tmp_path / "plot.svg"))
    assert "measured latency per inference (ms)" in content
    assert "EMULATED" not in content and "modelled" not in content


def test_the_same_rows_give_the_same_file(
    fits: list[Fit], rows: list[Measurement], tmp_path: Path
) -> None:
    for suffix in ("svg", "png", "pdf"):
        first = plot_latency(fits, rows, tmp_path / f"a.{suffix}").read_bytes()
        assert plot_latency(fits, rows, tmp_path / f"b.{suffix}").read_bytes() == first


def test_sources_and_boards_do_not_share_a_plot(
    fits: list[Fit], rows: list[Measurement], tmp_path: Path
) -> None:
    real = [replace(row, source="hardware", timing_model=None) for row in rows[:30]]
    with pytest.raises(FitError, match="source: emulated, hardware"):
        plot_latency([fits[1], fit_rows(real)], rows, tmp_path / "plot.png")


def test_a_fit_without_holdout_can_be_plotted(rows: list[Measurement], tmp_path: Path) -> None:
    fit = fit_rows(rows[:30], holdout_share=0)
    assert plot_latency([fit], rows, tmp_path / "plot.png").is_file()


def test_thousands_of_networks_share_marks_and_the_legend_says_so(
    tmp_path: Path, figures: list[Figure]
) -> None:
    rows = [fake_measurement(index % 60, key=key_of(index)) for index in range(2400)]
    rows[7] = replace(rows[7], latency_us=3e4)
    fit = fit_rows(rows)
    plot_latency([fit], rows, tmp_path / "plot.png")
    (figure,) = figures
    marks = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    drawn = {(x, y) for line in marks for x, y in zip(*line.get_data(), strict=True)}
    everyone = {(row.ops / 1e6, row.latency_us / 1e3) for row in rows if row.ops and row.latency_us}
    assert drawn == everyone and sum(len(line.get_xdata()) for line in marks) == len(drawn) == 61
    captions = [item.get_text() for item in figure.legends[0].get_texts()]
    assert "61 marks for 2,400 networks: those at one spot share a mark" in captions


def test_what_cannot_be_drawn_is_refused(
    fits: list[Fit], rows: list[Measurement], tmp_path: Path
) -> None:
    with pytest.raises(FitError, match="no fit to plot"):
        plot_latency([], rows, tmp_path / "plot.png")
    with pytest.raises(FitError, match="is in these rows"):
        plot_latency(fits, [], tmp_path / "plot.png")
    with pytest.raises(FitError, match=r"\.gif"):
        plot_latency(fits, rows, tmp_path / "plot.gif")
    (tmp_path / "file").touch()
    with pytest.raises(FitError, match="plot cannot be written"):
        plot_latency(fits, rows, tmp_path / "file" / "plot.png")


def test_tables_load_no_matplotlib() -> None:
    script = (
        "import sys; from harness.report.tables import fit_table; fit_table([]);"
        "print([name for name in ('matplotlib', 'numpy', 'sqlalchemy') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"
