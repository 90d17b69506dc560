"""From the options of `harness search` to a plan: fit, data, cost model, station."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.output import err

if TYPE_CHECKING:
    from harness.backbones import Architecture
    from harness.cli.progress import SearchWatcher
    from harness.data import Dataset
    from harness.fit import Fit
    from harness.results.record import Measurement
    from harness.results.store import Store
    from harness.search.plan import Measure, SearchPlan


def choose_fit(
    file: Path | None, backbone: str, board: str, runtime: str, kernels: str
) -> tuple[Path, Fit]:
    """Return the fit that was named, else the newest below results/ that suits.

    Raises:
        FitError: There is none; with the command that makes one.
    """
    from harness.errors import FitError
    from harness.fit import load_fit

    wanted = {"backbone": backbone, "board": board, "runtime": runtime, "kernels": kernels}
    if file is not None:
        fit = load_fit(file)
        fit.require(wanted)
        return file, fit
    files = sorted(
        Path("results").glob("**/fit-*.json"), key=lambda item: item.stat().st_mtime, reverse=True
    )
    for one in files:
        try:
            fit = load_fit(one)
            fit.require(wanted)
        except FitError:  # of another configuration, or of an older harness
            continue
        err().print(f"fit: {one}", markup=False, soft_wrap=True)
        return one, fit
    raise FitError(
        f"there is no fit of {backbone} on {board} with {runtime}/{kernels} below results/",
        expected="a file results/*/fit-*.json",
        fix=f"measure with `harness run`, then `harness fit --backbone {backbone} --board {board} "
        f"--runtime {runtime} --kernels {kernels}`; or name one with --fit",
    )


def load_data(
    source: str,
    input_shape: tuple[int, int, int],
    options: dict[str, Any],
    test: tuple[str, ...],
    validation: tuple[str, ...],
) -> Dataset:
    """Load the data set, with a progress bar for its features.

    Raises:
        DataError: It cannot be learned from.
    """
    from harness.cli.progress import make_progress
    from harness.data import Division, SoundOptions, load

    division = Division(test_speakers=test, validation_speakers=validation)
    with make_progress() as progress:
        task = progress.add_task("features", total=None, rate="", visible=False)

        def told(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=True)

        return load(
            source,
            input_shape=input_shape,
            options=SoundOptions(**options, division=division),
            on_progress=told,
        )


def make_plan(
    *,
    fit: Fit,
    store: Store,
    margin: str,
    epochs: int,
    train: dict[str, Any],
    augment: bool,
    like: Path | None,
    folder: Path | None,
    **known: Any,
) -> SearchPlan:
    """Return what is to be searched.

    Raises:
        ConfigError: There is no such margin.
        FitError: The fit lacks what a budget needs.
        SearchError: `like` is no finished run.
    """
    from harness.errors import ConfigError
    from harness.search import CostModel, Margin, SearchOptions, sram_overhead
    from harness.search.plan import SearchPlan
    from harness.search.record import read_run
    from harness.search.training.augment import NO_AUGMENTATION
    from harness.search.training.train import TrainOptions

    if margin not in list(Margin):
        raise ConfigError(f"there is no margin '{margin}'", expected=f"one of {', '.join(Margin)}")
    keys = {*fit.keys, *fit.holdout_keys}
    rows = [row for row in store.query(with_layers=False) if row.key in keys]
    cost_model = CostModel.from_fits(
        fit,
        known["backbone"],
        {"board": fit.fingerprint.board},
        sram_overhead_bytes=sram_overhead(rows),
        margin=margin,
    )
    varied = None if augment else NO_AUGMENTATION
    warmup = min(SearchOptions().warmup_epochs, epochs // 3)
    where = folder or _default_folder(fit.fingerprint.board, known)
    return SearchPlan(
        cost_model=cost_model,
        search=SearchOptions(
            augmentation=varied,
            seed=known["seed"],
            epochs=epochs,
            warmup_epochs=warmup,
            batch_size=train["batch_size"],
        ),
        train=TrainOptions(**train, augmentation=varied),
        training_seconds=read_run(like).training_seconds if like else None,
        folder=where,
        fit_rows=tuple(rows),
        **known,
    )


def _default_folder(board: str, known: dict[str, Any]) -> Path:
    from harness.report.search_compare import budgets_text

    parts = [
        known["backbone"].name,
        known["dataset"].name,
        board,
        budgets_text(known["budgets"]),
        known["method"],
        f"seed{known['seed']}",
    ]
    return Path("results/search") / re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(parts))


def make_measure(
    fit: Fit,
    store: Store,
    bench: str | None,
    station: str | None,
    libraries: list[str] | None,
    seed: int,
    watcher: SearchWatcher,
) -> Measure:
    """Return what measures networks as the fit's rows were measured.

    Raises:
        HarnessError: The bench or the compiler is not ready.
    """
    from harness.bench import load_bench
    from harness.campaign.networks import measure_networks
    from harness.cli.library import chosen_library
    from harness.firmware.toolchain import ensure_toolchain

    ensure_toolchain()
    runtime, kernels = fit.fingerprint.runtime or "", fit.fingerprint.kernels or ""
    library = chosen_library(runtime, kernels, libraries)
    plugged = load_bench(Path(bench) if bench else None)

    def measure(networks: Sequence[Path] | Sequence[Architecture], title: str) -> list[Measurement]:
        with watcher.bench(title) as listener:
            return measure_networks(
                networks,
                fit.fingerprint,
                plugged,
                store,
                listener,
                station=station,
                libraries={kernels: library} if library else None,
                seed=seed,
            )

    return measure


def split(text: str | None) -> tuple[str, ...]:
    """Return the parts between commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def numbers(text: str | None) -> tuple[float, ...]:
    """Return speeds given by commas.

    Raises:
        ConfigError: One is no number, or outside 0.5 to 2.
    """
    from harness.errors import ConfigError

    try:
        found = tuple(float(part) for part in split(text))
    except ValueError:
        found = (0.0,)
    if any(not 0.5 <= speed <= 2 for speed in found):
        raise ConfigError(f"--speeds is '{text}'", expected="numbers from 0.5 to 2, by commas")
    return found
