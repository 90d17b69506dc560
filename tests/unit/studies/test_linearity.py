"""The tables of the page on linearity: lines, the cost of widths, both predictors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.backbones import get_backbone
from harness.errors import FitError
from harness.fit.features import count_features
from harness.results.record import Measurement
from harness.testing import fake_measurement
from studies.linearity.__main__ import PAGE
from studies.linearity.plot import plot_residuals
from studies.linearity.study import Study, study_rows
from studies.linearity.tables import tables
from studies.tables import replace_tables

NETWORKS = 30
PRICES = {"pointwise_macs": 0.005, "depthwise_macs": 0.03, "unaligned_input_macs": 0.002}


def _rows(name: str, first: int) -> list[Measurement]:
    backbone = get_backbone(name)
    rows = []
    for index in range(2 * NETWORKS):
        step = 4 if index < NETWORKS else 1
        architecture = backbone.sample(3, index, width_step=step)
        counts = count_features(backbone.layers(architecture))
        rows.append(
            replace(
                fake_measurement(first + index),
                backbone=name,
                architecture=architecture.to_json(),
                ops=backbone.cost(architecture).ops,
                latency_us=1000 + sum(PRICES.get(key, 0) * n for key, n in counts.items()),
            )
        )
    return rows


@pytest.fixture(scope="module")
def studies() -> list[Study]:
    (found,) = study_rows([*_rows("ds_cnn_kws", 0), *_rows("ds_cnn_ad", 1000)]).values()
    return found


def test_networks_on_and_off_the_grid_are_told_apart(studies: list[Study]) -> None:
    assert [study.backbone for study in studies] == ["ds_cnn_ad", "ds_cnn_kws"]
    for study in studies:
        on = [point for point in study.points if point.aligned]
        # A network off the grid may have widths on it by chance, if seldom.
        assert NETWORKS <= len(on) <= NETWORKS + 2
        assert len(study.aligned.keys) + len(study.aligned.holdout_keys) == len(on)
        assert study.off_grid_pct is not None and study.off_grid_pct > 5
        off = [point for point in study.points if not point.aligned]
        errors = [abs(point.layers_us / point.latency_us - 1) for point in off]
        assert max(errors) < 0.01


def test_the_page_has_every_table(studies: list[Study]) -> None:
    where = replace(studies[0].fit.fingerprint, backbone=None)
    made = tables({"sweep": (where, studies)})
    assert set(made) == {f"sweep-{name}" for name in ("line", "grid", "predictors", "coefficients")}
    assert "**Emulated:** cycles modelled by fake/1; nucleo_f746zg" in made["sweep-line"]
    assert made["sweep-line"].count("| all, pooled |") == 1
    assert "| ds_cnn_kws | layers |" in made["sweep-predictors"]
    assert "| pointwise_macs |" in made["sweep-coefficients"]


def test_the_page_has_a_place_for_every_table() -> None:
    names = [f"linearity-{name}" for name in ("line", "grid", "predictors", "coefficients")]
    inputs = ("line", "inputs-mobilenet_v2_vww", "predictors", "coefficients")
    names += [f"linearity_inputs-{name}" for name in inputs]
    page = replace_tables(PAGE.read_text(encoding="utf-8"), dict.fromkeys(names, "new\n"))
    assert page.count("\nnew\n") == len(names)


def test_the_residuals_are_drawn_or_refused(studies: list[Study], tmp_path: Path) -> None:
    file = plot_residuals(studies, tmp_path / "residuals.svg")
    text = file.read_text(encoding="utf-8")
    assert text.startswith("<?xml")
    assert plot_residuals(studies, tmp_path / "again.svg").read_text(encoding="utf-8") == text
    with pytest.raises(FitError, match="nothing to plot"):
        plot_residuals([], tmp_path / "none.svg")
    with pytest.raises(FitError, match=r"\.png, \.svg or \.pdf"):
        plot_residuals(studies, tmp_path / "plot.txt")
