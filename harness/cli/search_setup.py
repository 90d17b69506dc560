"""Options of `harness search`, and what they make: fit, data, plan, measuring function."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.options import BenchFile, Database, Kernels, Libraries, Runtime, StationName
from harness.cli.output import note
from harness.cli.search_data import DataOptions
from harness.errors import ConfigError, FitError
from harness.paths import DEFAULT_BOARD, DEFAULT_STORE
from harness.runtimes import KernelSet, RuntimeName

if TYPE_CHECKING:
    from harness.backbones import Architecture
    from harness.cli.progress import SearchWatcher
    from harness.fit import Fingerprint, Fit
    from harness.results.record import Measurement
    from harness.results.store import Store
    from harness.search.cost.budgets import Budgets
    from harness.search.plan import Measure, SearchPlan
    from harness.search.record import Method


class MarginChoice(StrEnum):
    """Values of --margin, see `harness.search.Margin`."""

    INTERVAL = "interval"
    NONE = "none"


class Baseline(StrEnum):
    """Values of --baseline."""

    RANDOM = "random"
    EVOLUTION = "evolution"
    UNIFORM = "uniform"


@dataclass(frozen=True)
class BudgetOptions:
    """Upper bounds."""

    latency_ms: str | None = typer.Option(
        None,
        metavar="MS[,MS...]",
        help="Budget of one inference. Several, separated by commas: a network for each, from one "
        "supernet.",
    )
    sram_kib: float | None = typer.Option(
        None, min=0, help="Budget of arena, static RAM and stack."
    )
    flash_kib: float | None = typer.Option(None, min=0, help="Budget of the whole image.")

    def budgets(self) -> tuple[Budgets, ...]:
        """Return the budgets, the largest latency first; raise `ConfigError` if none is given."""
        from harness.search.cost.budgets import Budgets

        found = tuple(
            Budgets(
                latency_us=None if latency is None else latency * 1000,
                sram_bytes=None if self.sram_kib is None else int(self.sram_kib * 1024),
                flash_bytes=None if self.flash_kib is None else int(self.flash_kib * 1024),
            )
            for latency in self._latencies()
        )
        if not found[0].items():
            raise ConfigError(
                "no budget is given",
                expected="one or more of --latency-ms, --sram-kib and --flash-kib",
            )
        return found

    def _latencies(self) -> list[float] | list[None]:
        if self.latency_ms is None:
            return [None]
        try:
            found = {float(part) for part in self.latency_ms.split(",")}
        except ValueError:
            found = {math.nan}
        if not all(math.isfinite(latency) and latency > 0 for latency in found):
            raise ConfigError(
                f"--latency-ms is '{self.latency_ms}'",
                expected="milliseconds above 0, several separated by commas",
            )
        return sorted(found, reverse=True)


@dataclass(frozen=True)
class FitOptions:
    """The fit that predicts, and the configuration that it is of."""

    board: str = typer.Option(DEFAULT_BOARD, "--board", "-b", help="Board id.")
    fit: Path | None = typer.Option(
        None, help="Fit file (default: the newest that suits below results/)."
    )
    margin: MarginChoice = typer.Option(
        MarginChoice.INTERVAL,
        help="Value compared with the budgets: the upper end of the fit's prediction interval, "
        "so that they hold as measured, or (none) the prediction itself.",
    )
    runtime: Runtime = RuntimeName.AOT
    kernels: Kernels = KernelSet.CMSIS_NN


@dataclass(frozen=True)
class TrainingOptions:
    """How the search and the networks are trained."""

    seed: int = typer.Option(0, min=0, help="Seed of every random choice.")
    epochs: int = typer.Option(20, min=2, help="Epochs of the search.")
    retrain_epochs: int = typer.Option(60, min=1, help="Epochs of the final training.")
    trial_epochs: int = typer.Option(
        20,
        min=0,
        help="Trial epochs per finalist; the hand-designed network wins unless clearly beaten "
        "on the validation split (0: no trials, the search decides).",
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


@dataclass(frozen=True)
class VerifyOptions:
    """Where the result is measured."""

    station: StationName = None
    verify: bool = typer.Option(
        True, "--verify/--no-verify", help="Measure the network on the board."
    )
    proof: bool | None = typer.Option(None, "--proof/--no-proof", hidden=True)
    library: Libraries = None
    db: Database = DEFAULT_STORE
    bench: BenchFile = None

    @property
    def wanted(self) -> bool:
        """Return whether the network is to be measured; --no-proof is the old --no-verify."""
        return self.verify if self.proof is None else self.proof


def choose_fit(options: FitOptions, backbone: str) -> tuple[Path, Fit]:
    """Return the fit that was named, else the newest below results/ that suits.

    Raises `FitError` with the command that makes one if there is none.
    """
    from harness.fit import load_fit

    wanted = {
        "backbone": backbone,
        "board": options.board,
        "runtime": options.runtime,
        "kernels": options.kernels,
    }
    if options.fit is not None:
        fit = load_fit(options.fit)
        fit.require(wanted)
        return options.fit, fit
    files = Path("results").glob("**/fit-*.json")
    for one in sorted(files, key=lambda item: item.stat().st_mtime, reverse=True):
        try:
            fit = load_fit(one)
            fit.require(wanted)
        except FitError:  # of another configuration, or of an older harness
            continue
        note(f"fit: {one}")
        return one, fit
    arguments = " ".join(f"--{name} {value}" for name, value in wanted.items())
    raise FitError(
        f"there is no fit of {backbone} on {options.board} with "
        f"{options.runtime}/{options.kernels} below results/",
        expected="a file results/*/fit-*.json",
        fix=f"measure with `harness run`, then `harness fit {arguments}`; or name one with --fit",
    )


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
    """Return the plan of each budget of latency, the largest first.

    Raises if options, data, fit or finished run cannot be used.
    """
    from harness.backbones import get_backbone
    from harness.search.choice.refine import require_rows
    from harness.search.cost.cost_model import Constraint, CostModel, Margin
    from harness.search.plan import SearchPlan
    from harness.search.record import Method, read_run
    from harness.search.supernet.options import SearchOptions
    from harness.search.training.augment import NO_AUGMENTATION
    from harness.search.training.options import TrainOptions

    chosen, (limits, *smaller) = method.method(), budgets.budgets()
    space = get_backbone(backbone)
    fit_file, fit = choose_fit(fitting, backbone)
    rows: tuple[Measurement, ...] = ()
    if method.refine:
        rows = tuple(store.best((*fit.keys, *fit.holdout_keys)))
        require_rows(fit, rows, store.url)
    dataset = data.load(space)
    space = space.with_classes(len(dataset.classes))
    board, seed = fit.fingerprint.board, training.seed

    def folder(limits: Budgets) -> Path:
        if out is not None:
            return out / f"{(limits.latency_us or 0) / 1000:g}ms" if smaller else out
        name = "-".join((backbone, dataset.name, board, limits.text(), chosen, f"seed{seed}"))
        return Path("results/search") / re.sub(r"[^A-Za-z0-9_.-]+", "-", name)

    varied = None if training.augment else NO_AUGMENTATION
    cost_model = CostModel.of(fit, space, margin=Margin(fitting.margin))
    plan = SearchPlan(
        method=chosen,
        constraint=Constraint(cost_model, limits),
        also=tuple(Constraint(cost_model, one) for one in smaller),
        dataset=dataset,
        source=data.data,
        fit_files=(fit_file,),
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
        folder=folder(limits),
    )
    supernet = plan if chosen == Method.SEARCH else None
    others = (
        replace(plan, constraint=one, also=(), supernet=supernet, folder=folder(one.budgets))
        for one in plan.also
    )
    return (plan, *others)


def make_measure(
    fingerprints: Sequence[Fingerprint],
    options: VerifyOptions,
    store: Store,
    seed: int,
    watcher: SearchWatcher,
) -> Measure:
    """Return a function that measures networks as the rows of these fits were measured."""
    from harness.bench import load_bench
    from harness.campaign.networks import measure_networks, sweep_of
    from harness.firmware.toolchain import ensure_toolchain

    ensure_toolchain()
    runtimes = {one.board: sweep_of(one, options.library) for one in fingerprints}
    bench = load_bench(options.bench)

    def measure(
        networks: Sequence[Path] | Sequence[Architecture], fingerprint: Fingerprint, title: str
    ) -> list[Measurement]:
        with watcher.bench(title) as listener:
            return measure_networks(
                networks,
                fingerprint,
                bench,
                store,
                listener,
                station=options.station,
                runtime=runtimes[fingerprint.board],
                seed=seed,
            )

    return measure


def measure_again(
    model: Path,
    fingerprint: Fingerprint,
    board: str | None,
    station: str | None,
    library: Sequence[str] | None,
    bench_file: Path | None,
    seed: int,
    watcher: SearchWatcher,
) -> Measurement:
    """Return a new row of a model, measured as a fit's rows were, there or on another board."""
    from tempfile import TemporaryDirectory

    from harness.bench import load_bench
    from harness.campaign.networks import measure_networks, sweep_of
    from harness.firmware.toolchain import ensure_toolchain
    from harness.results import open_store

    ensure_toolchain()
    bench = load_bench(bench_file)
    if board is None and station is not None:
        board = bench.station(station).board
    if board is not None and board != fingerprint.board:
        # Caches are switched as is usual there.
        fingerprint = replace(fingerprint, board=board, icache=None, dcache=None, art=None)
    # In a store of its own, as a store has a row of this job already.
    with (
        TemporaryDirectory(prefix="harness-verify-") as folder,
        open_store(Path(folder) / "rows.sqlite") as store,
        watcher.bench("verify") as listener,
    ):
        return measure_networks(
            [model],
            fingerprint,
            bench,
            store,
            listener,
            station=station,
            runtime=sweep_of(fingerprint, library),
            seed=seed,
        )[0]
