"""The search phase: learn weights and decisions in turns, then derive. TensorFlow loads late."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.backbones import Backbone
from harness.backbones.layers import Shape
from harness.errors import SearchError
from harness.search.choice.derive import Derived, derive
from harness.search.cost.budgets import Budgets
from harness.search.cost.cost_model import CostModel
from harness.search.space.feasible import search_grid
from harness.search.space.grid import Grid
from harness.search.supernet.options import EpochReport, SearchData, SearchOptions, SearchResult
from harness.search.training.augment import for_features
from harness.search.training.checkpoint import load_state, save_state
from harness.search.training.logs import tensorboard

if TYPE_CHECKING:
    from harness.search.supernet.steps import Trainer

_DEFAULTS = SearchOptions()


def search(
    backbone: Backbone,
    dataset: SearchData,
    cost_model: CostModel,
    budgets: Budgets,
    options: SearchOptions = _DEFAULTS,
    *,
    on_epoch: Callable[[EpochReport], None] | None = None,
    checkpoint_dir: Path | None = None,
    log_dir: Path | None = None,
) -> SearchResult:
    """Search the network of `backbone` that is most accurate within `budgets`.

    Weights are learned on the training split and decisions on the validation split, which the
    weights never see, one step each in turns, after epochs in which only weights are learned. Both
    see inputs varied as for the final training. The same arguments give the same
    result on one machine, interrupted or not.

    Args:
        backbone: Search space.
        dataset: Its inputs decide the resolution where the backbone has a choice.
        cost_model: What networks cost; `CostModel.from_fits` checks what it is valid for.
        budgets: Upper bounds, which the result keeps as `cost_model` predicts.
        options: Settings.
        on_epoch: Told after every epoch; of a resumed search only the new ones.
        checkpoint_dir: Where to save the state after every epoch, and to go on from.
        log_dir: Where to write TensorBoard's logs.

    Raises:
        BudgetsInfeasible: No network meets the budgets; raised before anything is learned.
        FitError: A budget cannot be predicted.
        SearchError: The data does not suit the backbone, a checkpoint is of another search, or
            the loss is no number any more.
    """
    shape = _check(backbone, dataset, cost_model)
    grid = search_grid(
        backbone, shape, cost_model, budgets,
        width_choices=options.width_choices, width_room=options.width_room,
        width_floor=options.width_floor,
    )  # fmt: skip
    varied = options.augmentation or for_features(dataset.features, shape)
    options = replace(options, augmentation=varied)
    identity = _identity(grid, dataset, cost_model, budgets, options)
    stored = load_state(checkpoint_dir, identity) if checkpoint_dir else None
    from harness.models.convert import load_tensorflow

    load_tensorflow()
    from harness.search.supernet.steps import Trainer  # TensorFlow takes seconds to import

    trainer = Trainer(grid, dataset, cost_model, budgets, options)
    trajectory: list[EpochReport] = []
    if stored:
        arrays, facts = stored
        trajectory = [EpochReport.from_json(item) for item in facts["trajectory"]]
        trainer.restore(arrays, facts)
    with tensorboard(log_dir, len(trajectory)) as log:
        for epoch in range(len(trajectory), options.epochs):
            report = trainer.epoch(epoch)
            if not np.isfinite(report.loss):
                raise SearchError(
                    f"the loss is {report.loss} after epoch {report.epoch}",
                    expected="a number",
                    fix="lower the learning rate, and check the data for values that are none",
                )
            trajectory.append(report)
            if checkpoint_dir:
                facts = {
                    **trainer.facts(), "trajectory": [item.to_json() for item in trajectory]
                }  # fmt: skip
                save_state(checkpoint_dir, identity, trainer.arrays(), facts)
            log(report.epoch, _figures(report))
            if on_epoch:
                on_epoch(report)
    started = time.perf_counter()
    ranked = _ranked(trainer, grid, cost_model, budgets, options)
    derived = ranked[0]
    return SearchResult(
        backbone=backbone.name,
        architecture=derived.architecture,
        predicted=derived.predicted,
        argmax=derived.argmax,
        candidates=len(ranked),
        finalists=tuple(item.architecture for item in ranked[: options.finalists]),
        shrunk=derived.shrunk,
        grown=derived.grown,
        budgets=budgets,
        options=options,
        trajectory=tuple(trajectory),
        logits=trainer.logits(),
        choices={f"{key[0]}_{key[1]}": widths for key, widths in grid.widths.items()},
        dataset_fingerprint=dataset.fingerprint,
        seconds=sum(report.seconds for report in trajectory) + time.perf_counter() - started,
    )


def _ranked(
    trainer: Trainer,
    grid: Grid,
    cost_model: CostModel,
    budgets: Budgets,
    options: SearchOptions,
) -> list[Derived]:
    """Derive the likeliest network and samples of the decisions; return them, the best first.

    All meet the budgets. They are compared on the validation split with the supernet's weights,
    which also judges what derivation had to change.
    """
    likeliest = derive(grid, cost_model, budgets, trainer.logits(), grow=options.grow)
    found = {likeliest.architecture: likeliest}
    for number in range(1, options.candidates):
        sample = derive(grid, cost_model, budgets, trainer.perturbed(number), grow=options.grow)
        found.setdefault(sample.architecture, replace(sample, argmax=likeliest.argmax))
    if len(found) == 1:
        return [likeliest]
    losses = {architecture: trainer.validation_loss(architecture) for architecture in found}
    return sorted(found.values(), key=lambda item: losses[item.architecture])


def _check(backbone: Backbone, dataset: SearchData, cost_model: CostModel) -> Shape:
    if cost_model.backbone != backbone:
        raise SearchError(
            f"the cost model is of {cost_model.backbone.name} for {cost_model.backbone.classes} "
            f"classes, the search of {backbone.name} for {backbone.classes}",
            expected="the same backbone",
        )
    if len(dataset.classes) != backbone.classes:
        raise SearchError(
            f"the data has {len(dataset.classes)} classes, {backbone.name} is for "
            f"{backbone.classes}",
            expected="as many of both",
            fix="backbone.with_classes(len(dataset.classes))",
        )
    for name, split in (("train", dataset.train), ("validation", dataset.validation)):
        if not len(split.y) or len(split.x) != len(split.y):
            raise SearchError(
                f"the {name} split has {len(split.x)} inputs and {len(split.y)} labels",
                expected="as many of both, and at least one",
            )
        if split.x.ndim != 4 or split.x.shape[1:] != dataset.train.x.shape[1:]:
            raise SearchError(
                f"the {name} split has inputs of shape {split.x.shape[1:]}",
                expected="height, width and channels, the same in every split",
            )
        if not np.isfinite(split.x).all():
            raise SearchError(
                f"the {name} split has inputs that are no numbers", fix="check the data"
            )
        if split.y.min() < 0 or split.y.max() >= backbone.classes:
            raise SearchError(
                f"the {name} split has labels {split.y.min()} to {split.y.max()}",
                expected=f"0 to {backbone.classes - 1}",
            )
    height, width, channels = dataset.train.x.shape[1:]
    return (int(height), int(width), int(channels))


def _identity(
    grid: Grid,
    dataset: SearchData,
    cost_model: CostModel,
    budgets: Budgets,
    options: SearchOptions,
) -> dict[str, Any]:
    fit = cost_model.fit
    models = {"latency": fit.latency, "arena": fit.arena, "flash": fit.flash}
    return {
        "backbone": grid.backbone.name,
        "grid": [[*key, *widths] for key, widths in grid.widths.items()],
        "data": dataset.fingerprint,
        "budgets": budgets.to_json(),
        "options": asdict(options),
        "fit": {name: [model.intercept, model.slope, model.residual_std]
                for name, model in models.items() if model is not None},
        "layers": None if fit.layers is None else [
            fit.layers.intercept, fit.layers.relative_half_width, *fit.layers.coefficients
        ],
        "cost model": [cost_model.sram_overhead_bytes, str(cost_model.margin)],
    }  # fmt: skip


def _figures(report: EpochReport) -> dict[str, float | None]:
    """Return what TensorBoard draws."""
    expected = report.expected
    return {
        "loss/weights": report.loss,
        "loss/architecture": report.architecture_loss,
        "accuracy/weights": report.accuracy,
        "accuracy/architecture": report.architecture_accuracy,
        "search/temperature": report.temperature,
        "expected/latency_us": expected.latency_us,
        "expected/sram_bytes": expected.sram_bytes,
        "expected/flash_bytes": expected.flash_bytes,
        **{f"multiplier/{name}": value for name, value in report.multipliers.items()},
    }
