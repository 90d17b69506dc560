"""Options of `harness search` about training and method, and the plans that all options make."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.search_boards import BudgetOptions, FitOptions, choose_fits
from harness.cli.search_data import DataOptions
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.backbones import Architecture
    from harness.results.record import Measurement
    from harness.results.store import Store
    from harness.search.plan import SearchPlan
    from harness.search.record import Method


class Baseline(StrEnum):
    """Values of --baseline."""

    RANDOM = "random"
    EVOLUTION = "evolution"
    UNIFORM = "uniform"


@dataclass(frozen=True)
class TrainingOptions:
    """How the search and the networks are trained."""

    seed: int = typer.Option(0, min=0, help="Seed of every random choice.")
    epochs: int = typer.Option(20, min=2, help="Epochs of the search.")
    retrain_epochs: int = typer.Option(60, min=1, help="Epochs of the final training.")
    trial_epochs: int = typer.Option(
        20,
        min=0,
        help="Epochs of the last round of trials, of two finalists and the hand-designed network, "
        "which wins unless clearly beaten on the validation split; four finalists are tried for "
        "half as long before (0: no trials, the search decides).",
    )
    qat_epochs: int = typer.Option(
        0,
        min=0,
        help="Quantisation-aware training: in the last epochs of every training, at most half of "
        "them, networks round as int8 does.",
    )
    batch: int = typer.Option(64, min=2, help="Batch size.")
    label_smoothing: float = typer.Option(
        0.1, min=0, max=0.9, help="Share of a label that is spread over all classes."
    )
    distill: bool = typer.Option(
        False, "--distill", help="Also learn from the hand-designed network of twice the budgets."
    )
    augment: bool = typer.Option(
        True,
        help="Vary inputs in search and training: speech by shifts, pace, vocal tract and "
        "masked times and frequencies; images by shifts and mirroring.",
    )


@dataclass(frozen=True)
class MethodOptions:
    """How the network is found."""

    baseline: Baseline | None = typer.Option(
        None,
        help="Do not search: train random networks, or let them evolve, and take the best; or "
        "scale the hand-designed network uniformly.",
    )
    candidates: int = typer.Option(
        8, min=1, help="Networks that --baseline random or evolution tries."
    )
    like: Path | None = typer.Option(
        None,
        help="Give --baseline random or evolution the time that this finished run had for "
        "choosing, then --retrain-epochs for the best (default: --retrain-epochs for each).",
    )
    published: str | None = typer.Option(
        None,
        metavar="NAME",
        help="Do not search: train this published network, see `harness sample --list-named`; "
        "the budgets are only judged.",
    )
    refine: int = typer.Option(
        0, min=0, help="Measure this many networks near the optimum and fit again."
    )
    per_board: bool = typer.Option(
        False,
        "--per-board",
        help="With several boards: a network for each, from one supernet, instead of one that "
        "meets the budgets on all.",
    )

    def network(self, backbone: str) -> Architecture | None:
        """Return the published network; raise `ConfigError` if it is of another backbone."""
        from harness.backbones import get_named

        if self.published is None:
            return None
        found = get_named(self.published)
        if found.backbone != backbone:
            raise ConfigError(
                f"--published {found.name} is a network of {found.backbone}",
                expected=f"one of {backbone}",
                fix="`harness sample --list-named` lists them",
            )
        return found.architecture

    def method(self) -> Method:
        """Return the method; raise `ConfigError` if an option cannot be combined with it."""
        from harness.search.record import Method

        if self.refine and self.baseline is not None:
            raise ConfigError(f"--refine cannot be combined with --baseline {self.baseline}")
        if self.published and (self.baseline or self.refine):
            raise ConfigError("--published cannot be combined with --baseline and --refine")
        if self.like and self.baseline in (None, Baseline.UNIFORM):
            raise ConfigError("--like is for --baseline random and evolution only")
        return Method.PUBLISHED if self.published else Method(self.baseline or "search")


def make_plans(
    backbone: str,
    budgets: BudgetOptions,
    fitting: FitOptions,
    training: TrainingOptions,
    method: MethodOptions,
    data: DataOptions,
    store: Store,
    out: Path | None,
) -> tuple[SearchPlan, ...]:
    """Return the plan of each network: the one whose supernet gives them all first.

    Raises if options, data, fit or finished run cannot be used.
    """
    from harness.backbones import get_backbone
    from harness.fit import Margin
    from harness.search.choice.refine import require_rows
    from harness.search.cost.cost_model import Constraint, CostModel
    from harness.search.plan import SearchPlan
    from harness.search.record import Method, read_run
    from harness.search.space.feasible import largest_ops
    from harness.search.supernet.options import SearchOptions
    from harness.search.training.augment import NO_AUGMENTATION
    from harness.search.training.options import TrainOptions

    chosen, limits = method.method(), budgets.budgets(fitting.boards)
    space = get_backbone(backbone)
    fits = choose_fits(fitting, backbone)
    rows: tuple[Measurement, ...] = ()
    if method.refine:
        for _, fit in fits.values():
            own = store.best((*fit.keys, *fit.holdout_keys))
            require_rows(fit, own, store.url)
            rows += tuple(own)
    dataset = data.load(space)
    space = space.with_classes(len(dataset.classes))
    seed = training.seed
    margin = Margin(fitting.margin)
    models = {board: CostModel.of(fit, space, margin=margin) for board, (_, fit) in fits.items()}
    wanted = [
        Constraint.on_all([Constraint(models[board], one) for board, one in own.items()])
        for own in limits
    ]
    if method.per_board:
        wanted = [replace(one, others=()) for several in wanted for one in several.boards]
        # The supernet learns under the budgets that leave the most room.
        wanted.sort(key=lambda one: largest_ops(one, dataset.input_shape), reverse=True)

    def folder(constraint: Constraint) -> Path:
        if out is not None:
            latency = f"{(constraint.budgets.latency_us or 0) / 1000:g}ms"
            parts = [constraint.board] * method.per_board + [latency] * (len(limits) > 1)
            return out / "-".join(parts)
        boards = "-".join(one.board for one in constraint.boards)
        parts = [backbone, dataset.name, boards, constraint.text(), chosen, f"seed{seed}"]
        return Path("results/search") / re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(parts))

    def files(constraint: Constraint) -> tuple[Path, ...]:
        return tuple(fits[one.board][0] for one in constraint.boards)

    varied = None if training.augment else NO_AUGMENTATION
    first, *others = wanted
    plan = SearchPlan(
        method=chosen,
        constraint=first,
        also=tuple(others),
        dataset=dataset,
        source=data.data,
        fit_files=files(first),
        fit_rows=rows,
        seed=seed,
        search=SearchOptions(
            augmentation=varied,
            seed=seed,
            epochs=training.epochs,
            warmup_epochs=min(SearchOptions().warmup_epochs, training.epochs // 3),
            batch_size=training.batch,
        ),
        train=TrainOptions(
            augmentation=varied,
            seed=seed,
            epochs=training.retrain_epochs,
            qat_epochs=training.qat_epochs,
            batch_size=training.batch,
            label_smoothing=training.label_smoothing,
        ),
        distill=training.distill,
        trial_epochs=training.trial_epochs,
        candidates=method.candidates,
        training_seconds=None if method.like is None else read_run(method.like).choosing_seconds,
        published=method.network(backbone),
        refine=method.refine,
        folder=folder(first),
    )
    supernet = plan if chosen == Method.SEARCH else None
    further = (
        replace(
            plan,
            constraint=one,
            fit_files=files(one),
            also=(),
            supernet=supernet,
            folder=folder(one),
        )
        for one in others
    )
    return (plan, *further)
