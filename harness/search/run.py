"""Search, train, quantise, verify: the stages in their order, and what they leave in a folder.

The search knows no bench: it hands networks to a measuring function and gets rows back.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from harness import __version__
from harness.errors import SearchError
from harness.files import draft_of
from harness.fit import save_fit
from harness.paths import git_revision
from harness.search.choice.refine import require_rows
from harness.search.methods import METHODS, Found
from harness.search.plan import Measure, SearchPlan, Watcher, Work
from harness.search.record import (
    FILE,
    MODEL,
    DataFacts,
    FitFacts,
    Measured,
    OnBoard,
    SearchRun,
    TrainingFacts,
    write_sums,
)
from harness.search.training.evaluate import Evaluation, evaluate
from harness.search.training.quantise import quantise

FEATURES = "features.json"
FIT = "fit.json"


def run_search(plan: SearchPlan, measure: Measure | None, watcher: Watcher) -> SearchRun:
    """Find, train, quantise, evaluate and measure a network; write everything into the folder.

    The same plan run again continues after the last finished epoch of the search or of a training,
    or after the last measurement. Without `measure` nothing is verified or refined.

    Raises:
        BudgetsInfeasible: No network meets the budgets; raised before anything is trained.
        FitError: `refine` lacks rows of the fit.
        SearchError: The folder belongs to another run, or options do not fit together.
        BenchError: The station failed.
    """
    if plan.refine:
        if measure is None:
            raise SearchError("--refine measures, --no-verify does not", expected="one of them")
        for one in plan.constraint.boards:
            require_rows(one.cost_model.fit, plan.fit_rows)
    work = Work(plan, measure, watcher)
    plan.folder.mkdir(parents=True, exist_ok=True)
    found = METHODS[plan.method](work)
    with work.stage("quantise and evaluate"):
        content = quantise(found.trained.model, plan.dataset, seed=plan.seed)
        evaluation = {
            name: evaluate(content, split, plan.dataset.classes, found.trained.model)
            for name, split in plan.dataset.splits.items()
            if name != "train"
        }
    model = plan.folder / MODEL
    with draft_of(model, what="model", error=SearchError) as draft:
        draft.write_bytes(content)
    # What a device needs to make the network's input and to read its output.
    features = {
        "dataset": plan.dataset.name,
        "classes": plan.dataset.classes,
        "input_shape": plan.dataset.input_shape,
        "features": dict(plan.dataset.features),
    }
    _write_json(plan.folder / FEATURES, features)
    fits = [one.cost_model.fit for one in found.constraint.boards]
    measured: list[Measured | None] = [None] * len(fits)
    if measure is not None:
        with work.stage("verify"):
            measured = [
                Measured.of_row(measure([model], fit.fingerprint, "verify")[0]) for fit in fits
            ]
    names = [FIT, *(f"fit-{one.board}.json" for one in found.constraint.others)]
    for fit, name in zip(fits, names, strict=True):
        save_fit(fit, plan.folder / name)
    run = _record(plan, found, evaluation, measured, work.seconds)
    _write_json(plan.folder / FILE, run.to_json())
    write_sums(plan.folder, (MODEL, FEATURES, *names, FILE))
    return run


def _boards(plan: SearchPlan, found: Found, measured: Sequence[Measured | None]) -> list[OnBoard]:
    """Return the result on each board."""
    boards = found.constraint.boards
    refinements = found.refinements or (None,) * len(boards)
    predicted = found.constraint.predict(found.trained.architecture)
    return [
        OnBoard(
            board=one.board,
            budgets=one.budgets,
            fit=FitFacts(
                file=str(file),
                refined=refinement is not None,
                fingerprint=one.cost_model.fit.fingerprint,
                sram_overhead_bytes=one.cost_model.fit.sram_overhead_bytes,
                margin=one.cost_model.margin.value,
                predictor=one.cost_model.fit.predictor,
            ),
            predicted=cost,
            measured=row,
            refinement=refinement,
        )
        for one, file, refinement, cost, row in zip(
            boards, plan.fit_files, refinements, predicted, measured, strict=True
        )
    ]


def _record(
    plan: SearchPlan,
    found: Found,
    evaluation: Mapping[str, Evaluation],
    measured: Sequence[Measured | None],
    seconds: Mapping[str, float],
) -> SearchRun:
    data = plan.dataset
    first, *others = _boards(plan, found, measured)
    return SearchRun(
        **{spec.name: getattr(first, spec.name) for spec in fields(first)},
        others=tuple(others),
        method=plan.method,
        backbone=plan.constraint.backbone.name,
        seed=plan.seed,
        dataset=DataFacts(
            name=data.name,
            source=plan.source,
            fingerprint=data.fingerprint,
            classes=data.classes,
            samples={name: len(split) for name, split in data.splits.items()},
            division=data.division,
        ),
        architecture=found.trained.architecture,
        search=found.search,
        candidates=found.candidates,
        training=TrainingFacts(
            options=plan.train,
            distilled=plan.distill,
            epochs=len(found.trained.history),
            seconds=found.trained.seconds,
            history=found.trained.history,
        ),
        evaluation=evaluation,
        seconds=dict(seconds),
        training_seconds=found.training_s,
        versions=_versions(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _versions() -> dict[str, str | None]:
    from harness.models.convert import converter_version

    return {
        "harness": __version__,
        "git_revision": git_revision(),
        "converter": converter_version(),
        "keras": metadata.version("keras"),
        "numpy": metadata.version("numpy"),
        "python": platform.python_version(),
    }


def _write_json(file: Path, data: Any) -> None:
    with draft_of(file, what="run", error=SearchError) as draft:
        draft.write_text(json.dumps(data, indent=2, default=str) + "\n", encoding="utf-8")
