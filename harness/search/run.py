"""Search, train, quantise, verify: the stages in their order, and what they leave in a folder.

The search knows no bench: it hands networks to a measuring function and gets rows back.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
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
        require_rows(plan.constraint.cost_model.fit, plan.fit_rows)
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
    measured = None
    if measure is not None:
        with work.stage("verify"):
            measured = Measured.of_row(measure([model], "verify")[0])
    save_fit(found.cost_model.fit, plan.folder / FIT)
    run = _record(plan, found, evaluation, measured, work.seconds)
    _write_json(plan.folder / FILE, run.to_json())
    write_sums(plan.folder, (MODEL, FEATURES, FIT, FILE))
    return run


def _record(
    plan: SearchPlan,
    found: Found,
    evaluation: Mapping[str, Evaluation],
    measured: Measured | None,
    seconds: Mapping[str, float],
) -> SearchRun:
    data, fit = plan.dataset, found.cost_model.fit
    return SearchRun(
        method=plan.method,
        backbone=plan.constraint.backbone.name,
        board=fit.fingerprint.board,
        seed=plan.seed,
        budgets=plan.constraint.budgets,
        dataset=DataFacts(
            name=data.name,
            source=plan.source,
            fingerprint=data.fingerprint,
            classes=data.classes,
            samples={name: len(split) for name, split in data.splits.items()},
            division=data.division,
        ),
        fit=FitFacts(
            file=str(plan.fit_file),
            refined=found.refinement is not None,
            fingerprint=fit.fingerprint,
            sram_overhead_bytes=fit.sram_overhead_bytes,
            margin=found.cost_model.margin.value,
            predictor=fit.predictor,
        ),
        architecture=found.trained.architecture,
        predicted=found.cost_model.predict(found.trained.architecture),
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
        measured=measured,
        refinement=found.refinement,
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
