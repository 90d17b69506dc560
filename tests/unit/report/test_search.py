"""The page of a search, the record it is made from, and runs side by side."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from harness.backbones import get_backbone
from harness.data.metrics import Anomalies
from harness.errors import ResultsError, SearchError
from harness.report.search import error_pct, write_search_page
from harness.report.search_compare import (
    differences_table,
    means_table,
    runs_table,
    write_comparison,
)
from harness.report.search_plot import front
from harness.search.record import (
    FILE,
    OnBoard,
    SearchRun,
    read_run,
)
from support.searches import make_run


def test_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    run = make_run()
    (tmp_path / FILE).write_text(json.dumps(run.to_json()), encoding="utf-8")
    assert read_run(tmp_path) == run
    assert run.to_json()["holds"] == {"latency_us": True, "sram_bytes": True, "flash_bytes": True}
    assert error_pct(run, "latency_us") == pytest.approx(100 * (50 - 52) / 52)


def test_a_run_on_two_boards_has_a_verdict_for_each(tmp_path: Path) -> None:
    run = make_run()
    names = {spec.name for spec in fields(OnBoard)}
    facts = {name: getattr(run, name) for name in names}
    slow = replace(run.measured, latency_us=61_000.0) if run.measured else None
    other = OnBoard(**{**facts, "board": "nucleo_l4r5zi", "measured": slow})
    both = replace(run, others=(other,))
    (tmp_path / FILE).write_text(json.dumps(both.to_json()), encoding="utf-8")
    assert read_run(tmp_path) == both
    assert both.to_json()["others"][0]["holds"]["latency_us"] is False
    assert run.verdict is True and both.verdict is False
    page = write_search_page(both, tmp_path).read_text(encoding="utf-8")
    first, second = page.split("## On nucleo_f746zg")[1].split("## On nucleo_l4r5zi")
    assert "Every budget holds as measured" in first and "BROKEN" not in first
    assert "Budgets broken as measured: latency" in second.split("## Accuracy")[0]
    (row,) = runs_table([both]).rows
    assert "NO: latency on nucleo_l4r5zi" in row


def test_records_that_cannot_be_read_say_so(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="no finished search"):
        read_run(tmp_path)
    data = make_run().to_json()
    (tmp_path / FILE).write_text(json.dumps({**data, "schema_version": 9}), encoding="utf-8")
    with pytest.raises(SearchError, match="schema version 9"):
        read_run(tmp_path)
    data.pop("budgets")
    (tmp_path / FILE).write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(SearchError, match="'budgets' is missing"):
        read_run(tmp_path)


def test_page_has_figures_plots_and_verdict(tmp_path: Path, figures: list[Figure]) -> None:
    run = make_run()
    page = write_search_page(run, tmp_path).read_text(encoding="utf-8")
    for part in (
        "Every budget holds as measured", "Emulated", "| latency (ms) | 60.00 | 55.00 | 50.00 |",
        "90.00 %", "test: c_d", "architecture.png", "trajectory.png",
        "Expected error of the latency: ±35 %",  # its timing model has no checks
    ):  # fmt: skip
        assert part in page
    assert (tmp_path / "architecture.png").is_file() and (tmp_path / "trajectory.png").is_file()
    architecture, trajectory = figures
    layers = get_backbone(run.backbone).with_classes(10).layers(run.architecture)
    drawn = {layer.name: layer.output_shape[2] for layer in layers if len(layer.output_shape) == 3}
    (axes,) = architecture.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    bars = [bar.get_width() for bar in axes.patches]
    assert len(names) > 8 and bars == [drawn[name] for name in names]
    panels = {axes.get_title(loc="left"): axes for axes in trajectory.axes}
    loss = {
        line.get_label(): len(line.get_xdata()) for line in panels["loss (cross-entropy)"].lines
    }
    assert loss == {"weights": 3, "decisions": 2}  # no decisions in the warm-up
    for cost, budget in (("latency (ms)", 60), ("SRAM (KiB)", 64), ("flash (KiB)", 128)):
        lines = {line.get_label(): line for line in panels[f"expected {cost}"].lines}
        assert list(lines["budget"].get_ydata()) == [budget, budget]
        assert len(lines["expected"].get_xdata()) == 3


def test_page_says_what_was_broken_or_not_measured(tmp_path: Path) -> None:
    late = make_run("uniform", latency_us=61_000.0)
    page = write_search_page(late, tmp_path).read_text(encoding="utf-8")
    assert "Budgets broken as measured: latency" in page and "BROKEN" in page
    assert "trajectory.png" not in page
    page = write_search_page(replace(late, measured=None), tmp_path).read_text(encoding="utf-8")
    assert "Not measured" in page


def test_comparison_has_means_fronts_and_verdicts(tmp_path: Path, figures: list[Figure]) -> None:
    runs = [
        make_run("search", 0, 0.92),
        make_run("search", 1, 0.90),
        make_run("random", 0, 0.85, 55_000.0),
        make_run("uniform", 0, 0.88, 61_000.0),
    ]
    means = {row[1]: row for row in means_table(runs).rows}
    assert tuple(means["search"][2:5]) == ("2", "91.00", "1.00")
    assert means["search"][6] == "2 of 2" and means["uniform"][6] == "0 of 1"
    assert any("NO: latency" in row for row in runs_table(runs).rows)
    page = write_comparison(runs, tmp_path).read_text(encoding="utf-8")
    assert "compare.png" in page and (tmp_path / "compare.png").is_file()
    (axes,) = figures[0].axes
    labels = {line.get_label(): len(line.get_xdata()) for line in axes.lines}
    fronts = {name: count for name, count in labels.items() if not name.startswith("_")}
    assert fronts == {"search (2 runs)": 1, "random (1 runs)": 1, "uniform (1 runs)": 1}
    points = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert {(line.get_xdata()[0], line.get_ydata()[0]) for line in points} == {
        (52, 92), (52, 90), (55, 85), (61, 88),
    }  # fmt: skip
    assert [list(line.get_xdata()) for line in axes.lines if line.get_linestyle() == ":"] == [
        [60, 60]
    ]
    assert "Emulated" in page


def test_where_there_are_anomalies_runs_are_compared_by_auc() -> None:
    def detecting(method: str, auc: float) -> SearchRun:
        run = make_run(method, 0, 0.99)
        anomalies = Anomalies(auc=auc, partial_auc=0.6, by_class={"0": (auc, 0.6)})
        test = replace(run.evaluation["test"], anomalies=anomalies)
        return replace(run, evaluation={**run.evaluation, "test": test})

    runs = [detecting("search", 0.75), detecting("uniform", 0.7)]
    differences = differences_table(runs)
    assert differences is not None
    assert [row[1:3] for row in differences.rows] == [("uniform", "+5.00")]
    assert [row[3] for row in means_table(runs).rows] == ["75.00", "70.00"]


def test_runs_of_different_data_or_boards_are_not_compared(tmp_path: Path) -> None:
    other = replace(make_run(), board="nucleo_f446re")
    with pytest.raises(ResultsError, match="board: nucleo_f446re, nucleo_f746zg"):
        write_comparison([make_run(), other], tmp_path)
    with pytest.raises(ResultsError, match="no runs"):
        write_comparison([], tmp_path)


def test_seeds_may_test_on_other_speakers_but_methods_of_a_seed_may_not(tmp_path: Path) -> None:
    def divided(method: str, seed: int, accuracy: float, fingerprint: str) -> SearchRun:
        run = make_run(method, seed, accuracy)
        return replace(run, dataset=replace(run.dataset, fingerprint=fingerprint))

    runs = [
        divided("search", 0, 0.92, "a"),
        divided("search", 1, 0.80, "b"),
        divided("uniform", 0, 0.90, "a"),
        divided("uniform", 1, 0.81, "b"),
    ]
    table = differences_table(runs)
    assert table is not None
    # Student: t is 12.71 at one degree of freedom.
    assert table.rows[0][1:] == ("uniform", "+0.50", "-18.56 to +19.56", "+2.00, -1.00")
    assert "+2.00, -1.00" in write_comparison(runs, tmp_path).read_text(encoding="utf-8")
    assert differences_table(runs[:2]) is None
    with pytest.raises(ResultsError, match="division of the data for seed 1: b, c"):
        write_comparison([*runs, divided("random", 1, 0.7, "c")], tmp_path)


def test_runs_show_their_network_and_epochs() -> None:
    run = make_run()
    table = runs_table([run])
    cells = dict(zip(table.columns, table.rows[0], strict=True))
    assert cells["network"] == run.architecture.id and cells["epochs"] == "2"


def test_runs_that_were_trained_unequally_are_not_ranked(tmp_path: Path) -> None:
    run = make_run("uniform")
    longer = replace(run, training=replace(run.training, epochs=25))
    with pytest.raises(ResultsError, match="final training: 2 epochs, 25 epochs"):
        write_comparison([make_run(), longer], tmp_path)
    distilled = replace(run, training=replace(run.training, distilled=True))
    with pytest.raises(ResultsError, match="final training: 2 epochs, 2 epochs, distilled"):
        write_comparison([make_run(), distilled], tmp_path)
    options = replace(run.training.options, time_limit_s=60.0)
    timed = [
        replace(make_run(method), training=replace(run.training, options=options, epochs=epochs))
        for method, epochs in (("search", 9), ("uniform", 12))
    ]
    assert write_comparison(timed, tmp_path).is_file()  # in equal time


def test_identical_networks_are_not_ranked(tmp_path: Path) -> None:
    def same(seed: int, accuracy: float) -> SearchRun:
        return replace(make_run("uniform", seed, accuracy), architecture=make_run().architecture)

    with pytest.raises(ResultsError, match=r"the same network, .*nothing to rank"):
        write_comparison([make_run(), same(0, 0.95)], tmp_path)
    runs = [make_run("search", 0, 0.92), make_run("search", 1, 0.9), same(0, 0.5)]
    table = differences_table([*runs, make_run("uniform", 1, 0.88)])
    assert table is not None
    assert table.rows[0][1:] == ("uniform", "+2.00", "–", "same network, +2.00")


def test_front_keeps_what_nothing_beats() -> None:
    points = [(1.0, 5.0), (2.0, 4.0), (2.0, 7.0), (3.0, 7.0), (4.0, 9.0)]
    assert front(points) == [(1.0, 5.0), (2.0, 7.0), (4.0, 9.0)]
