from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.backbones import get_backbone
from harness.errors import BudgetsInfeasible, FitError, SearchError
from harness.fit import Fit
from harness.search import (
    Budgets,
    CostModel,
    EpochReport,
    SearchOptions,
    SearchResult,
    derive,
    search,
    uniform_architecture,
)
from harness.search.state import FILE

BUDGETS = Budgets(24_000, 16 * 1024, 48 * 1024)
QUICK = SearchOptions(epochs=3, warmup_epochs=1, batch_size=24, width_choices=4, candidates=4)


@pytest.fixture(scope="module")
def model(cost_model_for: Callable[..., CostModel]) -> CostModel:
    return cost_model_for("ds_cnn_kws", classes=2)


class Interrupted(Exception):
    """Stand in for a machine that is switched off."""


@pytest.fixture(scope="module")
def whole(
    model: CostModel, two_patches: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SearchResult, list[EpochReport], Path]:
    """Return an uninterrupted search, what it told and where it logged."""
    logs = tmp_path_factory.mktemp("logs")
    reports: list[EpochReport] = []
    result = search(
        model.backbone, two_patches, model, BUDGETS, QUICK, on_epoch=reports.append, log_dir=logs
    )
    return result, reports, logs


def test_a_search_meets_its_budgets_and_reports_every_epoch(
    model: CostModel, whole: tuple[SearchResult, list[EpochReport], Path]
) -> None:
    result, reports, logs = whole
    assert result.predicted.meets(BUDGETS)
    assert result.predicted == model.predict(result.architecture)
    assert 1 <= result.candidates <= QUICK.candidates
    assert tuple(reports) == result.trajectory
    assert [report.phase for report in reports] == ["warm-up", "search", "search"]
    assert reports[0].architecture_loss is None
    assert reports[-1].temperature == pytest.approx(QUICK.temperature_end)
    for report in reports:
        assert report.expected.latency_us > 13_000
        assert report.expected.sram_bytes is not None
    assert list(logs.glob("events.out.tfevents*"))
    again = SearchResult.from_json(json.loads(json.dumps(result.to_json())))
    assert again == result
    # Derived again, as after a new fit: from the same choices.
    grid = again.grid(model.backbone, (49, 10, 1))
    derived = derive(grid, model, BUDGETS, again.logits)
    assert derived.argmax == result.argmax
    assert derived.predicted.meets(BUDGETS)


def test_resumed_is_uninterrupted(
    model: CostModel,
    two_patches: Any,
    whole: tuple[SearchResult, list[EpochReport], Path],
    tmp_path: Path,
) -> None:
    expected, _, _ = whole

    def stop(report: EpochReport) -> None:
        if report.epoch == 2:
            raise Interrupted

    def run(told: Callable[[EpochReport], None], budgets: Budgets = BUDGETS) -> SearchResult:
        return search(
            model.backbone, two_patches, model, budgets, QUICK,
            on_epoch=told, checkpoint_dir=tmp_path,
        )  # fmt: skip

    with pytest.raises(Interrupted):
        run(stop)
    told: list[EpochReport] = []
    resumed = run(told.append)
    assert [report.epoch for report in told] == [3]
    assert resumed.logits == expected.logits
    assert resumed.architecture == expected.architecture
    assert [_timeless(report) for report in resumed.trajectory] == [
        _timeless(report) for report in expected.trajectory
    ]
    with pytest.raises(SearchError, match="another search: budgets"):
        run(told.append, Budgets(30_000, 16 * 1024, 48 * 1024))
    (tmp_path / FILE).write_bytes(b"torn")
    with pytest.raises(SearchError, match="cannot be read"):
        run(told.append)


def _timeless(report: EpochReport) -> EpochReport:
    return replace(report, seconds=0.0)


def test_what_cannot_be_searched_is_said_before_anything_is_learned(
    model: CostModel, two_patches: Any, fit_for: Callable[..., Fit]
) -> None:
    def run(**changes: Any) -> SearchResult:
        known = {"backbone": model.backbone, "data": two_patches, "model": model,
                 "budgets": BUDGETS, **changes}  # fmt: skip
        return search(known["backbone"], known["data"], known["model"], known["budgets"])

    with pytest.raises(BudgetsInfeasible, match="no ds_cnn_kws network"):
        run(budgets=Budgets(latency_us=5_000))
    with pytest.raises(FitError, match="no flash model"):
        run(model=replace(model, fit=replace(model.fit, flash=None)))
    with pytest.raises(SearchError, match="for 12"):
        run(backbone=get_backbone("ds_cnn_kws"))
    with pytest.raises(SearchError, match="labels"):
        run(data=replace(two_patches, train=replace(two_patches.train, y=two_patches.train.y + 1)))
    spoilt = replace(two_patches.train, x=two_patches.train.x * np.float32("nan"))
    with pytest.raises(SearchError, match="no numbers"):
        run(data=replace(two_patches, train=spoilt))
    small = replace(two_patches.train, x=two_patches.train.x[:, :20])
    with pytest.raises(SearchError, match="validation split has inputs"):
        run(data=replace(two_patches, train=small))
    with pytest.raises(SearchError, match="does not take"):
        run(data=replace(two_patches, train=small, validation=small))


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("warmup_epochs", 99), ("temperature_end", 0.0), ("learning_rate", -1.0),
     ("width_choices", 1), ("penalty_growth", 0.5), ("width_room", float("nan"))],
)  # fmt: skip
def test_an_option_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(SearchError, match=name):
        SearchOptions(**{name: value})


def test_a_loss_that_is_no_number_stops_the_search(model: CostModel, two_patches: Any) -> None:
    options = replace(QUICK, epochs=2, learning_rate=1e30)
    with pytest.raises(SearchError, match="the loss is"):
        search(model.backbone, two_patches, model, BUDGETS, options)


@pytest.mark.slow
def test_a_search_on_digits_learns_under_budgets(
    cost_model_for: Callable[..., CostModel],
) -> None:
    from harness.data import digits

    model = cost_model_for("ds_cnn_kws", classes=10)
    budgets = Budgets(26_000, 20 * 1024, 48 * 1024)
    options = SearchOptions(epochs=6, warmup_epochs=2, batch_size=64, width_choices=6, candidates=6)
    data = digits(input_shape=(49, 10, 1))
    result = search(model.backbone, data, model, budgets, options)
    assert result.predicted.meets(budgets)
    losses = [report.loss for report in result.trajectory]
    assert min(losses) < 0.8 * losses[0]
    assert max(report.accuracy for report in result.trajectory) > 0.4  # by chance 0.1
    uniform = uniform_architecture(model.backbone, model, budgets)
    assert result.predicted.latency_bound_us > 0.9 * model.predict(uniform).latency_bound_us
