"""Search, train, quantise, prove: the stages in their order, and what they leave in a folder.

The search itself knows no bench: it hands over architectures and a model, and gets rows and a
fit back through the ordinary campaign (`follow_up`).
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness import __version__
from harness.backbones import Architecture, Backbone
from harness.errors import SearchError
from harness.files import draft_of
from harness.results.record import Measurement
from harness.search import (
    Budgets,
    CostModel,
    EpochReport,
    SearchOptions,
    SearchResult,
    random_architectures,
    search,
    uniform_architecture,
)
from harness.search.logs import logs_in, tensorboard
from harness.search.record import FILE, Measured, Method, SearchRun
from harness.search.retrain import Trained, TrainOptions, TrainReport, train

if TYPE_CHECKING:
    from harness.campaign.follow_up import FollowUp
    from harness.campaign.runner import Listener
    from harness.data import Dataset
    from harness.fit import Fit

MODEL = "model.tflite"
FEATURES = "features.json"
CHECKPOINTS = "checkpoints"
LOGS = "logs"
LEAST_SECONDS = 1.0
"""Shortest training of a random network that is worth comparing with."""


class Watcher(Protocol):
    """Hears how a search goes; the command line draws progress bars from it."""

    def stage(self, name: str) -> None:
        """Tell that the next stage begins."""

    def searched(self, report: EpochReport) -> None:
        """Tell that an epoch of the search is over."""

    def trained(self, report: TrainReport, network: str) -> None:
        """Tell that an epoch of a training is over."""

    def bench(self, title: str) -> Any:
        """Return a context manager that yields a campaign's listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """What to search, and how.

    Attributes:
        method: The search, or a baseline.
        backbone: With as many classes as the data.
        dataset: What to learn.
        source: Where the data came from, for the record.
        cost_model: What networks cost.
        fit_file: Where its fit came from, for the record.
        budgets: Upper bounds.
        seed: Of everything.
        search: Settings of the search phase.
        train: Settings of the final training.
        distill: Distil from the hand-designed network of twice the budgets.
        candidates: Networks that the random baseline tries.
        training_seconds: What the random baseline may spend on learning in all; each network gets
            an equal part.
        refine: Networks to measure near the optimum before the network is derived; 0: none.
        folder: Where everything of the run goes.
    """

    method: Method
    backbone: Backbone
    dataset: Dataset
    source: str
    cost_model: CostModel
    fit_file: Path
    budgets: Budgets
    seed: int
    search: SearchOptions
    train: TrainOptions
    distill: bool = False
    candidates: int = 8
    training_seconds: float | None = None
    refine: int = 0
    folder: Path = field(default_factory=Path)


@dataclass(slots=True)
class _Found:
    """The network that a method came to."""

    architecture: Architecture
    trained: Trained
    cost_model: CostModel
    search: SearchResult | None = None
    candidates: tuple[dict[str, Any], ...] = ()
    refinement: dict[str, Any] | None = None
    learning_s: float = 0.0


def run_search(plan: SearchPlan, follow: FollowUp | None, watcher: Watcher) -> SearchRun:
    """Find, train, quantise, evaluate and measure a network; write everything into the folder.

    The same plan run again goes on where it was: after an epoch of the search or of a training,
    or after a measurement.

    Args:
        plan: What to do.
        follow: How to measure; None: no proof (and no refinement).
        watcher: Hears progress.

    Raises:
        BudgetsInfeasible: No network meets the budgets; raised before anything is learned.
        SearchError: The folder belongs to another run, or options do not fit together.
        CampaignError: The station failed.
    """
    from harness.search.evaluate import evaluate
    from harness.search.quantise import quantise

    if plan.refine and follow is None:
        raise SearchError("--refine measures, --no-proof does not", expected="one of them")
    clock = _Clock()
    plan.folder.mkdir(parents=True, exist_ok=True)
    found = _METHODS[plan.method](plan, follow, watcher, clock)
    watcher.stage("quantise and evaluate")
    with clock("quantise and evaluate"):
        content = quantise(found.trained.model, plan.dataset, seed=plan.seed)
        evaluation = {
            name: evaluate(content, split, plan.dataset.classes, found.trained.model).to_json()
            for name, split in plan.dataset.splits.items()
            if name != "train"
        }
    model = plan.folder / MODEL
    with draft_of(model, what="model", error=SearchError) as draft:
        draft.write_bytes(content)
    _write_json(plan.folder / FEATURES, _features(plan))
    measured = None
    if follow is not None:
        watcher.stage("proof")
        with clock("proof"), watcher.bench("proof") as listener:
            measured = _prove(follow, model, listener)
    run = _record(plan, found, evaluation, measured, clock.seconds)
    _write_json(plan.folder / FILE, run.to_json())
    return run


def _search(plan: SearchPlan, follow: FollowUp | None, watcher: Watcher, clock: _Clock) -> _Found:
    watcher.stage("search")
    with clock("search"):
        result = search(
            plan.backbone,
            plan.dataset,
            plan.cost_model,
            plan.budgets,
            plan.search,
            on_epoch=watcher.searched,
            checkpoint_dir=plan.folder / CHECKPOINTS,
            log_dir=logs_in(plan.folder / LOGS / "search"),
        )
    cost_model, architecture, refinement = plan.cost_model, result.architecture, None
    if plan.refine and follow is not None:
        watcher.stage("refine")
        with clock("refine"), watcher.bench("refine") as listener:
            cost_model, architecture, refinement = _refine(plan, follow, result, listener)
    trained = _train(plan, architecture, plan.train, watcher, clock, "network")
    return _Found(
        architecture,
        trained,
        cost_model,
        result,
        refinement=refinement,
        learning_s=result.seconds + trained.seconds,
    )


def _uniform(
    plan: SearchPlan,
    follow: FollowUp | None,  # noqa: ARG001  # as the other methods
    watcher: Watcher,
    clock: _Clock,
) -> _Found:
    architecture = uniform_architecture(
        plan.backbone, plan.cost_model, plan.budgets, input_shape=plan.dataset.input_shape
    )
    trained = _train(plan, architecture, plan.train, watcher, clock, "network")
    return _Found(architecture, trained, plan.cost_model, learning_s=trained.seconds)


def _random(
    plan: SearchPlan,
    follow: FollowUp | None,  # noqa: ARG001  # as the other methods
    watcher: Watcher,
    clock: _Clock,
) -> _Found:
    architectures = random_architectures(
        plan.backbone,
        plan.cost_model,
        plan.budgets,
        plan.seed,
        plan.candidates,
        input_shape=plan.dataset.input_shape,
    )
    options = plan.train
    if plan.training_seconds is not None:
        each = plan.training_seconds / plan.candidates
        if each < LEAST_SECONDS:
            raise SearchError(
                f"{plan.training_seconds:.0f} s for {plan.candidates} networks",
                expected=f"{LEAST_SECONDS:.0f} s or more for each",
                fix="fewer candidates",
            )
        options = replace(options, time_limit_s=each)
    tried = []
    for index, architecture in enumerate(architectures):
        trained = _train(plan, architecture, options, watcher, clock, f"candidate{index}")
        tried.append((trained.history[-1].accuracy, -index, architecture, trained))
    # By validation; the test split is for what is reported.
    _, _, architecture, trained = max(tried, key=lambda item: item[:2])
    candidates = tuple(
        {
            "architecture": item.to_json(),
            "validation_accuracy": accuracy,
            "epochs": one.epochs,
            "seconds": one.seconds,
            "predicted": plan.cost_model.predict(item).to_json(),
        }
        for accuracy, _, item, one in tried
    )
    return _Found(
        architecture,
        trained,
        plan.cost_model,
        candidates=candidates,
        learning_s=sum(one.seconds for _, _, _, one in tried),
    )


_METHODS: Mapping[str, Callable[[SearchPlan, Any, Watcher, Any], _Found]] = {
    "search": _search,
    "random": _random,
    "uniform": _uniform,
}


def _train(
    plan: SearchPlan,
    architecture: Architecture,
    options: TrainOptions,
    watcher: Watcher,
    clock: _Clock,
    name: str,
) -> Trained:
    watcher.stage(f"train {name}")
    if plan.distill:
        doubled = {key: value * 2 for key, value in plan.budgets.items()}
        teacher = uniform_architecture(
            plan.backbone,
            plan.cost_model,
            Budgets(**doubled),  # type: ignore[arg-type]  # doubled whole bytes stay whole
            input_shape=plan.dataset.input_shape,
        )
        options = replace(options, distill_from=teacher)
    logs = logs_in(plan.folder / LOGS / f"train-{name}")
    with clock("train"), tensorboard(logs) as log:

        def told(report: TrainReport) -> None:
            log(report.epoch, _figures(report))
            watcher.trained(report, name)

        return train(
            plan.backbone,
            architecture,
            plan.dataset,
            options,
            on_epoch=told,
            checkpoint_dir=plan.folder / CHECKPOINTS / name,
        )


def _figures(report: TrainReport) -> dict[str, float | None]:
    """Return what TensorBoard draws."""
    return {
        f"{report.phase}/loss": report.loss,
        f"{report.phase}/validation_accuracy": report.accuracy,
        f"{report.phase}/learning_rate": report.learning_rate,
    }


def _refine(
    plan: SearchPlan, follow: FollowUp, result: SearchResult, listener: Listener
) -> tuple[CostModel, Architecture, dict[str, Any]]:
    """Measure near the optimum, fit again, and derive again from what the search has learned."""
    from harness.search import derive
    from harness.search.refine import choose, local_errors

    before = plan.cost_model.fit
    chosen = choose(plan.backbone, plan.cost_model, result.architecture, plan.refine, plan.seed)
    after = follow.refine(chosen, listener)
    rows = follow.store.query(with_layers=False)
    known = {*before.keys, *before.holdout_keys}
    used = {*after.keys, *after.holdout_keys}
    fitted = [row for row in rows if row.key in used]
    added = [row for row in fitted if row.key not in known]
    errors = local_errors(before, fitted, added) if added else None
    cost_model = replace(plan.cost_model, fit=after)
    grid = result.grid(plan.backbone, plan.dataset.input_shape)
    derived = derive(grid, cost_model, plan.budgets, result.logits, grow=plan.search.grow)
    _save_fit(after, plan.folder)
    return (
        cost_model,
        derived.architecture,
        {
            "asked": [item.to_json() for item in chosen],
            "added": len(added),
            "before": errors[0].to_json() if errors else None,
            "after": errors[1].to_json() if errors else None,
            "architecture_before": result.architecture.to_json(),
            "latency_fit_before": [before.latency.intercept, before.latency.slope],
            "latency_fit_after": [after.latency.intercept, after.latency.slope],
        },
    )


def _prove(follow: FollowUp, model: Path, listener: Listener) -> Measured:
    row: Measurement = follow.prove([model], listener)[0]
    return Measured(
        key=row.key,
        station=row.station or follow.station or "",
        source=row.source.value,
        timing_model=row.timing_model,
        status=row.status.value,
        issues=tuple(row.issues),
        latency_us=row.latency_us,
        sram_bytes=row.sram_bytes,
        flash_bytes=row.flash_total_bytes,
        bit_exact=row.bit_exact,
        message=row.message,
    )


def _record(
    plan: SearchPlan,
    found: _Found,
    evaluation: Mapping[str, Mapping[str, Any]],
    measured: Measured | None,
    seconds: Mapping[str, float],
) -> SearchRun:
    data, fit = plan.dataset, found.cost_model.fit
    fingerprint = asdict(fit.fingerprint)
    return SearchRun(
        method=plan.method,
        backbone=plan.backbone.name,
        board=fit.fingerprint.board,
        seed=plan.seed,
        budgets=plan.budgets,
        dataset={
            "name": data.name,
            "source": plan.source,
            "fingerprint": data.fingerprint,
            "classes": list(data.classes),
            "samples": {name: len(split) for name, split in data.splits.items()},
            "division": dict(data.division),
        },
        fit={
            "file": str(plan.fit_file),
            "refined": found.refinement is not None,
            "fingerprint": {**fingerprint, "flags": list(fingerprint["flags"])},
            "sram_overhead_bytes": found.cost_model.sram_overhead_bytes,
            "margin": str(found.cost_model.margin),
        },
        architecture=found.architecture,
        predicted=found.cost_model.predict(found.architecture),
        search=found.search,
        candidates=found.candidates,
        training={
            "options": plan.train.to_json(),
            "distilled": plan.distill,
            "epochs": found.trained.epochs,
            "seconds": found.trained.seconds,
            "history": [report.to_json() for report in found.trained.history],
        },
        evaluation=evaluation,
        measured=measured,
        refinement=found.refinement,
        seconds=dict(seconds),
        training_seconds=found.learning_s,
        versions=_versions(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _features(plan: SearchPlan) -> dict[str, Any]:
    """Return what a device must know to make the network's input and to read its output."""
    return {
        "dataset": plan.dataset.name,
        "classes": list(plan.dataset.classes),
        "input_shape": list(plan.dataset.input_shape),
        "features": dict(plan.dataset.features),
    }


def _versions() -> dict[str, str | None]:
    from harness.campaign.measure import git_revision
    from harness.models.convert import converter_version

    return {
        "harness": __version__,
        "git_revision": git_revision(),
        "converter": converter_version(),
        "keras": metadata.version("keras"),
        "numpy": metadata.version("numpy"),
        "python": platform.python_version(),
    }


def _save_fit(fit: Fit, folder: Path) -> None:
    from harness.fit import save_fit

    save_fit(fit, folder / "fit-refined.json")


def _write_json(file: Path, data: Any) -> None:
    with draft_of(file, what="run", error=SearchError) as draft:
        draft.write_text(json.dumps(data, indent=2, default=str) + "\n", encoding="utf-8")


class _Clock:
    """Adds up wall-clock time by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent
