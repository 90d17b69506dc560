"""The search phase: train weights and decisions in turns, then derive. TensorFlow loads late."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backbones.skeleton import width_name
from harness.data import Dataset
from harness.search.choice.derive import Derived, derive
from harness.search.cost.budgets import FIGURES
from harness.search.cost.cost_model import Constraint
from harness.search.space.feasible import search_grid
from harness.search.space.grid import Grid
from harness.search.supernet.options import EpochReport, SearchOptions, SearchResult
from harness.search.training.augment import for_features
from harness.search.training.checkpoint import run_epochs
from harness.search.training.logs import tensorboard
from harness.search.training.train import check_classes
from harness.strict import to_json

if TYPE_CHECKING:
    from harness.search.supernet.steps import SupernetTraining

_DEFAULTS = SearchOptions()
_FIRST_SHARE = 0.25  # of the validation split, on which all candidates are compared


@dataclass(frozen=True, slots=True)
class Learned:
    """A supernet that has learned weights and decisions."""

    training: SupernetTraining
    grid: Grid  # its choices
    dataset: Dataset  # that it has seen
    options: SearchOptions  # with the augmentation that was used
    trajectory: tuple[EpochReport, ...]  # one report for each epoch


def learn(
    constraint: Constraint,
    dataset: Dataset,
    options: SearchOptions = _DEFAULTS,
    *,
    also: Sequence[Constraint] = (),
    on_epoch: Callable[[EpochReport], None] | None = None,
    checkpoint_dir: Path | None = None,
    log_dir: Path | None = None,
) -> Learned:
    """Train a supernet's weights and decisions in turns.

    Weights are trained on the training split and decisions on the validation split, which the
    weights never see, one step each in turns, after epochs in which only weights are trained. Both
    see inputs varied as for the final training. The same arguments give the same
    result on one machine, interrupted or not.

    Args:
        also: Other budgets that networks are to be derived for.
        on_epoch: Called after every epoch; of a resumed search only the new ones.
        checkpoint_dir: Where to save the state after every epoch, and to continue from.

    Raises:
        BudgetsInfeasible: No network meets the budgets; raised before anything is trained.
        SearchError: The data does not suit the backbone, a checkpoint is of another search, or
            the loss is not finite.
    """
    backbone, shape = constraint.backbone, dataset.input_shape
    check_classes(backbone, dataset)
    grid = search_grid(
        constraint, shape,
        width_choices=options.width_choices, width_room=options.width_room,
        width_floor=options.width_floor, also=also,
    )  # fmt: skip
    varied = options.augmentation or for_features(dataset.features, shape)
    options = replace(options, augmentation=varied)
    from harness.models.convert import load_tensorflow

    load_tensorflow()
    from harness.search.supernet.steps import SupernetTraining  # TensorFlow takes seconds to import

    training = SupernetTraining(grid, dataset, constraint, options)
    with tensorboard(log_dir) as log:

        def told(report: EpochReport) -> None:
            log(report.epoch, _figures(report))
            if on_epoch:
                on_epoch(report)

        trajectory = run_epochs(
            training,
            EpochReport,
            lambda: options.epochs,
            identity=_identity(grid, dataset, constraint, options),
            folder=checkpoint_dir,
            on_epoch=told,
        )
    return Learned(training, grid, dataset, options, trajectory)


def search(learned: Learned, constraint: Constraint) -> SearchResult:
    """Derive the network that is most accurate within the budgets of `constraint`.

    They may be smaller than those that the supernet has learned under: one supernet gives networks
    for several budgets.

    Raises:
        BudgetsInfeasible: No network of the supernet meets the budgets.
    """
    training, grid, options = learned.training, learned.grid, learned.options
    started = time.process_time()
    ranked = _ranked(training, grid, constraint, options)
    derived = ranked[0]
    return SearchResult(
        backbone=constraint.backbone.name,
        architecture=derived.architecture,
        predicted=derived.predicted,
        argmax=derived.argmax,
        candidates=len(ranked),
        finalists=tuple(item.architecture for item in ranked[: options.finalists]),
        shrunk=derived.shrunk,
        grown=derived.grown,
        budgets=constraint.budgets,
        options=options,
        trajectory=learned.trajectory,
        logits=training.logits(),
        choices={width_name(key): widths for key, widths in grid.widths.items()},
        dataset_fingerprint=learned.dataset.fingerprint,
        seconds=sum(report.seconds for report in learned.trajectory)
        + time.process_time()
        - started,
    )


def _ranked(
    training: SupernetTraining, grid: Grid, constraint: Constraint, options: SearchOptions
) -> list[Derived]:
    """Derive the likeliest network and samples of the decisions; return them, the best first.

    All meet the budgets. They are compared with the supernet's weights, which also judges what
    derivation had to change: all on a part of the validation split, the best of them on all of it.
    """
    likeliest = derive(grid, constraint, training.logits(), grow=options.grow)
    found = {likeliest.architecture: likeliest}
    for number in range(1, options.candidates):
        sample = derive(grid, constraint, training.perturbed(number), grow=options.grow)
        found.setdefault(sample.architecture, replace(sample, argmax=likeliest.argmax))
    if len(found) == 1:
        return [likeliest]

    def rank(some: Iterable[Derived], share: float) -> list[Derived]:
        return sorted(some, key=lambda item: training.validation_loss(item.architecture, share))

    ranked = rank(found.values(), _FIRST_SHARE)
    best = 2 * options.finalists
    return [*rank(ranked[:best], 1.0), *ranked[best:]]


def _identity(
    grid: Grid, dataset: Dataset, constraint: Constraint, options: SearchOptions
) -> dict[str, Any]:
    others = [_limits(one) for one in constraint.others]
    return {
        "backbone": grid.backbone.name,
        "grid": [[*key, *widths] for key, widths in grid.widths.items()],
        "data": dataset.fingerprint,
        "options": to_json(options),
        **_limits(constraint),
        **({"other boards": others} if others else {}),
    }


def _limits(constraint: Constraint) -> dict[str, Any]:
    """Return the identity of what has to hold on one board."""
    fit = constraint.cost_model.fit
    models = {"latency": fit.latency, "arena": fit.arena, "flash": fit.flash}
    return {
        "budgets": to_json(constraint.budgets),
        "fit": {name: [model.intercept, model.slope, model.residual_std]
                for name, model in models.items() if model is not None},
        "layers": None if fit.layers is None else [
            fit.layers.intercept, fit.layers.relative_half_width, *fit.layers.coefficients
        ],
        "cost model": [
            fit.sram_overhead_bytes,
            str(constraint.cost_model.margin),
            *constraint.cost_model.clock_errors.values(),
        ],
    }  # fmt: skip


def _figures(report: EpochReport) -> dict[str, float | None]:
    """Return what TensorBoard draws."""
    return {
        "loss/weights": report.loss,
        "loss/architecture": report.architecture_loss,
        "accuracy/weights": report.accuracy,
        "accuracy/architecture": report.architecture_accuracy,
        "search/temperature": report.temperature,
        **{f"expected/{name}": getattr(report.expected, name) for name in FIGURES},
        **{f"multiplier/{name}": value for name, value in report.multipliers.items()},
    }
