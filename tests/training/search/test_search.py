from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.data.dataset import Dataset
from harness.errors import BudgetsInfeasible, FitError, SearchError
from harness.search.choice.baselines import uniform_architecture
from harness.search.choice.derive import derive
from harness.search.cost.budgets import Budgets
from harness.search.cost.cost_model import Constraint, CostModel
from harness.search.supernet.options import EpochReport, SearchOptions, SearchResult
from harness.search.supernet.search import learn, search
from harness.search.training.checkpoint import FILE
from harness.strict import from_json, to_json
from support.fits import cost_model_for

BUDGETS = Budgets(26_000, 20 * 1024, 48 * 1024)
QUICK = SearchOptions(
    epochs=6, warmup_epochs=2, batch_size=30, learning_rate=0.015, width_choices=4, candidates=4
)


def searched(
    constraint: Constraint, dataset: Dataset, options: SearchOptions = QUICK, **more: Any
) -> SearchResult:
    """Learn and derive under the same budgets."""
    return search(learn(constraint, dataset, options, **more), constraint)


@pytest.fixture(scope="module")
def model() -> CostModel:
    return cost_model_for("ds_cnn_kws", classes=10)


@pytest.fixture(scope="module")
def whole(
    model: CostModel, some_digits: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SearchResult, list[EpochReport], Path, Path]:
    """Return a search, what it told, where it logged, and its checkpoint before the last epoch."""
    folder = tmp_path_factory.mktemp("whole")
    reports: list[EpochReport] = []

    def told(report: EpochReport) -> None:
        reports.append(report)
        if report.epoch == QUICK.epochs - 1:
            shutil.copytree(folder / "state", folder / "killed")

    result = searched(
        Constraint(model, BUDGETS), some_digits, QUICK,
        on_epoch=told, checkpoint_dir=folder / "state", log_dir=folder / "logs",
    )  # fmt: skip
    return result, reports, folder / "logs", folder / "killed"


def test_a_search_on_digits_learns_under_budgets_and_reports_every_epoch(
    model: CostModel, whole: tuple[SearchResult, list[EpochReport], Path, Path]
) -> None:
    result, reports, logs, _ = whole
    assert result.predicted.meets(BUDGETS)
    assert result.predicted == model.predict(result.architecture)
    assert 1 <= result.candidates <= QUICK.candidates
    losses = [report.loss for report in result.trajectory]
    assert min(losses) < 0.8 * losses[0]
    assert max(report.accuracy for report in result.trajectory) > 0.4  # by chance 0.1
    uniform = uniform_architecture(Constraint(model, BUDGETS))
    assert result.predicted.latency_bound_us > 0.9 * model.predict(uniform).latency_bound_us
    assert tuple(reports) == result.trajectory
    assert [report.phase for report in reports] == ["warm-up"] * 2 + ["search"] * 4
    assert reports[0].architecture_loss is None
    assert reports[-1].temperature == pytest.approx(QUICK.temperature_end)
    for report in reports:
        assert report.expected.latency_us > 13_000
        assert report.expected.sram_bytes is not None
    assert list(logs.glob("events.out.tfevents*"))
    again = from_json(SearchResult, json.loads(json.dumps(to_json(result))), where="here")
    assert again == result
    # Derived again, as after a new fit: from the same choices.
    grid = again.grid(model.backbone, (49, 10, 1))
    derived = derive(grid, Constraint(model, BUDGETS), again.logits)
    assert derived.argmax == result.argmax
    assert derived.predicted.meets(BUDGETS)


def test_resumed_is_uninterrupted(
    model: CostModel,
    some_digits: Dataset,
    whole: tuple[SearchResult, list[EpochReport], Path, Path],
) -> None:
    expected, _, _, killed = whole

    def run(told: Callable[[EpochReport], None], budgets: Budgets = BUDGETS) -> SearchResult:
        return searched(
            Constraint(model, budgets), some_digits, QUICK,
            on_epoch=told, checkpoint_dir=killed,
        )  # fmt: skip

    told: list[EpochReport] = []
    resumed = run(told.append)
    assert [report.epoch for report in told] == [QUICK.epochs]
    assert resumed.logits == expected.logits
    assert resumed.architecture == expected.architecture
    assert [_timeless(report) for report in resumed.trajectory] == [
        _timeless(report) for report in expected.trajectory
    ]
    with pytest.raises(SearchError, match="another search: budgets"):
        run(told.append, Budgets(30_000, 20 * 1024, 48 * 1024))
    (killed / FILE).write_bytes(b"torn")
    with pytest.raises(SearchError, match="cannot be read"):
        run(told.append)


def test_the_same_seed_gives_the_same_search(
    model: CostModel,
    some_digits: Dataset,
    whole: tuple[SearchResult, list[EpochReport], Path, Path],
) -> None:
    """From its start, as far as the first epoch that learns decisions."""
    again: list[EpochReport] = []

    class Enough(Exception):
        pass

    def told(report: EpochReport) -> None:
        again.append(_timeless(report))
        if report.phase == "search":
            raise Enough

    with pytest.raises(Enough):
        searched(Constraint(model, BUDGETS), some_digits, QUICK, on_epoch=told)
    assert len(again) == QUICK.warmup_epochs + 1
    assert again == [_timeless(report) for report in whole[1][: len(again)]]


def _timeless(report: EpochReport) -> EpochReport:
    return replace(report, seconds=0.0)


def test_what_cannot_be_searched_is_said_before_anything_is_learned(
    model: CostModel, some_digits: Dataset
) -> None:
    def run(
        model: CostModel = model, budgets: Budgets = BUDGETS, data: Dataset = some_digits
    ) -> SearchResult:
        return searched(Constraint(model, budgets), data)

    with pytest.raises(BudgetsInfeasible, match="no ds_cnn_kws network"):
        run(budgets=Budgets(latency_us=5_000))
    with pytest.raises(FitError, match="no flash model"):
        run(model=replace(model, fit=replace(model.fit, flash=None)))
    with pytest.raises(SearchError, match="for 12"):
        run(model=cost_model_for("ds_cnn_kws"))
    splits = {name: replace(split, x=split.x[:, :20]) for name, split in some_digits.splits.items()}
    with pytest.raises(SearchError, match="does not take"):
        run(data=replace(some_digits, **splits))


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("warmup_epochs", 99), ("temperature_end", 0.0), ("learning_rate", -1.0),
     ("width_choices", 1), ("penalty_growth", 0.5), ("width_room", float("nan"))],
)  # fmt: skip
def test_an_option_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(SearchError, match=name):
        SearchOptions(**{name: value})


def test_a_loss_that_is_no_number_stops_the_search(model: CostModel, some_digits: Dataset) -> None:
    options = replace(QUICK, epochs=2, warmup_epochs=1, learning_rate=1e30)
    with pytest.raises(SearchError, match="the loss is"):
        searched(Constraint(model, BUDGETS), some_digits, options)
