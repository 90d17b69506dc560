"""Compare runs of the search and of its baselines."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import mean, pstdev

from harness.errors import ResultsError
from harness.report import text
from harness.report.search import boards_text, error_pct, write_page
from harness.report.table import Column, Table, table_of
from harness.search.cost.budgets import FIGURES, Budgets
from harness.search.record import Method, SearchRun


def check_comparable(runs: Sequence[SearchRun]) -> None:
    """Refuse runs whose accuracy or latency cannot be compared.

    Seeds may divide the data differently (each testing on another speaker), but all methods of a
    seed have to divide it alike.

    A score is what a network and its training are worth together, so all runs have to be trained
    alike, and methods that all came to one network have nothing to be ranked by.

    Raises:
        ResultsError: Names what differs: backbone, board, data, source or training; or the network
            that all have.
    """
    if not runs:
        raise ResultsError("no runs to compare")
    facts = {
        "backbone": {run.backbone for run in runs},
        "board": {boards_text(run) for run in runs},
        "data": {_data_text(run) for run in runs},
        "source": {run.measured.source for run in runs if run.measured},
        "final training": {_training_text(run) for run in runs},
    }
    for seed in sorted({run.seed for run in runs}):
        own = {run.dataset.fingerprint for run in runs if run.seed == seed}
        facts[f"division of the data for seed {seed}"] = own
    differing = {name: sorted(values) for name, values in facts.items() if len(values) > 1}
    if differing:
        lines = [f"{name}: {', '.join(values)}" for name, values in differing.items()]
        raise ResultsError(
            "these runs cannot be compared:\n  " + "\n  ".join(lines),
            expected="runs of one backbone, board, data set, source and final training",
            differing=differing,
        )
    methods, networks = ({run.method for run in runs}, {run.architecture.id for run in runs})
    if len(methods) > 1 and len(networks) == 1:
        raise ResultsError(
            f"these runs have the same network, {networks.pop()}: there is nothing to rank",
            expected="methods that came to different networks",
            fix="compare trainings by their own pages; other seeds or budgets give other networks",
        )


RUN: tuple[Column[SearchRun], ...] = (
    Column("method", lambda run: run.method),
    Column("seed", lambda run: str(run.seed)),
    Column("budgets", lambda run: run.budgets_text(), 6),
    Column("network", lambda run: run.architecture.id, 3),
    Column("epochs", lambda run: str(run.training.epochs), 2),
    Column("Mop", lambda run: text.number(run.predicted.ops, 2, per=1e6), 5),
    Column("predicted ms", lambda run: text.number(run.predicted.latency_us, 2, per=1000), 6),
    Column("measured ms", lambda run: _measured(run, "latency_us"), 1),
    Column("off %", lambda run: text.number(error_pct(run, "latency_us"), 1, sign=True), 6),
    Column("SRAM KiB", lambda run: _measured(run, "sram_bytes"), 4),
    Column("flash KiB", lambda run: _measured(run, "flash_bytes"), 4),
    Column("budgets hold", lambda run: _holds(run), 2),
    Column("int8 accuracy or AUC %", lambda run: f"{100 * run.score:.2f}"),
    Column("tested on", lambda run: _tested_on(run), 8),
    Column("training s", lambda run: text.number(run.training_seconds), 7),
)
"""What identifies a run, and its result."""

_MEAN: tuple[Column[list[SearchRun]], ...] = (
    Column("budgets", lambda runs: runs[0].budgets_text(), 3),
    Column("method", lambda runs: runs[0].method),
    Column("seeds", lambda runs: str(len(runs)), 2),
    Column("mean int8 accuracy or AUC %", lambda runs: f"{mean(100 * r.score for r in runs):.2f}"),
    Column("spread", lambda runs: f"{pstdev(100 * run.score for run in runs):.2f}", 1),
    Column("mean ms", lambda runs: _mean_latency(runs), 2),
    Column("all budgets hold", lambda runs: _holding(runs), 3),
    Column(
        "mean training s", lambda runs: text.number(mean(run.training_seconds for run in runs)), 5
    ),
)


def _place(run: SearchRun) -> tuple[float, str, str]:
    return _size(run.budgets), run.budgets_text(), run.method


def runs_table(runs: Sequence[SearchRun]) -> Table:
    """Return one line for each run, by budget, method and seed."""
    return table_of("Runs", sorted(runs, key=lambda run: (*_place(run), run.seed)), RUN)


def means_table(runs: Sequence[SearchRun]) -> Table:
    """Return mean and spread over the seeds, a line for each method and budget."""
    groups = [list(own) for _, own in groupby(sorted(runs, key=_place), key=_place)]
    return table_of("Means over the seeds", groups, _MEAN)


def differences_table(runs: Sequence[SearchRun]) -> Table | None:
    """Return by how much the search is ahead of each baseline, seed by seed; None without pairs.

    Where each seed tests on another speaker, this says more than the means: speakers differ more
    than methods do. A seed in which both have one network tells nothing about the methods and does
    not count.
    """
    by_place = {(run.budgets_text(), run.method, run.seed): run for run in runs}
    budgets = {run.budgets_text(): _size(run.budgets) for run in runs}
    rows = []
    for name in sorted(budgets, key=lambda name: budgets[name]):
        for baseline in (method for method in Method if method is not Method.SEARCH):
            pairs = {
                seed: (run, by_place[name, baseline, seed])
                for (other, method, seed), run in sorted(by_place.items())
                if other == name and method == Method.SEARCH and (name, baseline, seed) in by_place
            }
            ahead = {
                seed: 100 * (mine.score - theirs.score)
                for seed, (mine, theirs) in pairs.items()
                if mine.architecture != theirs.architecture
            }
            if pairs:
                each = ", ".join(
                    f"{ahead[seed]:+.2f}" if seed in ahead else "same network" for seed in pairs
                )
                between = paired_interval(list(ahead.values()))
                shown = "–" if between is None else f"{between[0]:+.2f} to {between[1]:+.2f}"
                average = text.number(mean(ahead.values()) if ahead else None, 2, sign=True)
                rows.append((name, baseline, average, shown, each))
    if not rows:
        return None
    heads = ("budgets", "against", "mean difference", "95 % interval", "by seed")
    return Table("The search's int8 accuracy or AUC, in points", heads, tuple(rows))


def paired_interval(differences: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of a mean of paired differences (Student's t).

    None for fewer than two, which say nothing about their spread.
    """
    from scipy.stats import ttest_1samp  # type: ignore[import-untyped]  # ships no types

    if len(differences) < 2:
        return None
    found = ttest_1samp(differences, 0.0).confidence_interval(0.95)
    return float(found.low), float(found.high)


def write_comparison(runs: Sequence[SearchRun], folder: Path) -> Path:
    """Write ``compare.md`` and ``compare.png``.

    Raises:
        ResultsError: The runs cannot be compared, or the folder cannot be written.
    """
    from harness.report.search_plot import plot_runs

    check_comparable(runs)
    plot_runs(runs, folder / "compare.png")
    first = runs[0]
    name = f"{first.backbone} on {first.dataset.name} for {boards_text(first)}"
    parts = [f"# {text.markdown(name)}\n"]
    if any(run.measured and run.measured.source == "emulated" for run in runs):
        parts.append("**Emulated:** cycles are modelled, not measured on hardware.\n")
    parts += [
        "![Accuracy against latency](<compare.png>)\n",
        "## Means over the seeds\n",
        means_table(runs).markdown(),
        "*spread* is the standard deviation over the seeds.\n",
    ]
    differences = differences_table(runs)
    if differences is not None:
        parts += ["## The search against the baselines, in points\n", differences.markdown()]
    parts += ["## Runs\n", runs_table(runs).markdown()]
    return write_page(folder / "compare.md", parts)


def _holds(run: SearchRun) -> str:
    """Return whether the budgets hold as measured; names those that do not."""
    broken = [
        name.split("_")[0] + (f" on {one.board}" if run.others else "")
        for one in run.boards
        for name, holds in one.holds.items()
        if holds is False
    ]
    if broken:
        return f"NO: {', '.join(broken)}"
    return "yes" if run.verdict else "not measured"


def _holding(runs: Sequence[SearchRun]) -> str:
    return f"{sum(run.verdict is True for run in runs)} of {len(runs)}"


def _mean_latency(runs: Sequence[SearchRun]) -> str:
    known = [value for run in runs if (value := run.measured_of("latency_us"))]
    return text.number(mean(known) if known else None, 2, per=1000)


def _data_text(run: SearchRun) -> str:
    data = run.dataset
    return f"{data.name} ({len(data.classes)} classes, {sum(data.samples.values())} samples)"


def _training_text(run: SearchRun) -> str:
    """Return how long a network was trained, and whether it learned from a larger one."""
    limit = run.training.options.time_limit_s
    length = f"{run.training.epochs} epochs" if limit is None else f"{limit:g} s of processor time"
    return length + (", distilled" if run.training.distilled else "")


def _tested_on(run: SearchRun) -> str:
    if run.dataset.division.get("by") == "speaker":
        return text.name(", ".join(run.dataset.division["test"]))
    return f"{run.dataset.samples['test']} samples"


def _measured(run: SearchRun, name: str) -> str:
    _, scale, _, digits = FIGURES[name]
    return text.number(run.measured_of(name), digits, per=scale)


def _size(budgets: Budgets) -> float:
    return budgets.latency_us or budgets.flash_bytes or budgets.sram_bytes or float("inf")
