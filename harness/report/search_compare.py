"""Compare runs of the search and of its baselines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, pstdev

from harness.errors import ResultsError
from harness.report import text
from harness.report.search import error_pct, write_page
from harness.report.table import Table
from harness.search.cost.budgets import FIGURES, Budgets
from harness.search.record import Method, SearchRun


def check_comparable(runs: Sequence[SearchRun]) -> None:
    """Refuse runs whose accuracy or latency cannot be compared.

    Seeds may divide the data differently (each testing on another speaker), but all methods of a
    seed have to divide it alike.

    Raises:
        ResultsError: Names what differs: backbone, board, data or source.
    """
    if not runs:
        raise ResultsError("no runs to compare")
    facts = {
        "backbone": {run.backbone for run in runs},
        "board": {run.board for run in runs},
        "data": {_data_text(run) for run in runs},
        "source": {run.measured.source for run in runs if run.measured},
    }
    for seed in sorted({run.seed for run in runs}):
        own = {run.dataset.fingerprint for run in runs if run.seed == seed}
        facts[f"division of the data for seed {seed}"] = own
    differing = {name: sorted(values) for name, values in facts.items() if len(values) > 1}
    if differing:
        lines = [f"{name}: {', '.join(values)}" for name, values in differing.items()]
        raise ResultsError(
            "these runs cannot be compared:\n  " + "\n  ".join(lines),
            expected="runs of one backbone, board, data set and source",
            differing=differing,
        )


def runs_table(runs: Sequence[SearchRun]) -> Table:
    """Return one line for each run, by budget, method and seed."""
    rows = tuple(
        (
            run.method,
            str(run.seed),
            run.budgets.text(),
            f"{run.predicted.ops / 1e6:,.2f}",
            text.number(run.predicted.latency_us / 1000, 2),
            text.number(_measured(run, "latency_us"), 2),
            _signed(error_pct(run, "latency_us")),
            text.number(_measured(run, "sram_bytes"), 1),
            text.number(_measured(run, "flash_bytes"), 1),
            holds_text(run),
            f"{100 * run.accuracy:.2f}",
            _tested_on(run),
            text.number(run.training_seconds, 0),
        )
        for run in sorted(runs, key=lambda run: (_size(run.budgets), run.method, run.seed))
    )
    heads = (
        "method", "seed", "budgets", "Mop", "predicted ms", "measured ms", "off %", "SRAM KiB",
        "flash KiB", "budgets hold", "int8 accuracy %", "tested on", "training s",
    )  # fmt: skip
    return Table("Runs", heads, rows)


def means_table(runs: Sequence[SearchRun]) -> Table:
    """Return mean and spread over the seeds, a line for each method and budget."""
    groups: dict[tuple[float, str, str], list[SearchRun]] = defaultdict(list)
    for run in runs:
        groups[(_size(run.budgets), run.budgets.text(), run.method)].append(run)
    rows = []
    for (_, budgets, method), own in sorted(groups.items()):
        accuracies = [100 * run.accuracy for run in own]
        latencies = [value for run in own if (value := _measured(run, "latency_us"))]
        rows.append(
            (
                budgets,
                method,
                str(len(own)),
                f"{mean(accuracies):.2f}",
                f"{pstdev(accuracies):.2f}",
                text.number(mean(latencies) if latencies else None, 2),
                f"{sum(all(run.holds.values()) for run in own)} of {len(own)}",
                text.number(mean(run.training_seconds for run in own), 0),
            )
        )
    heads = (
        "budgets", "method", "seeds", "mean int8 accuracy %", "spread", "mean ms",
        "all budgets hold", "mean training s",
    )  # fmt: skip
    return Table("Means over the seeds", heads, tuple(rows))


def differences_table(runs: Sequence[SearchRun]) -> Table | None:
    """Return by how much the search is ahead of each baseline, seed by seed; None without pairs.

    Where each seed tests on another speaker, this says more than the means: speakers differ more
    than methods do.
    """
    by_place = {(run.budgets.text(), run.method, run.seed): run for run in runs}
    budgets = {run.budgets.text(): _size(run.budgets) for run in runs}
    rows = []
    for name in sorted(budgets, key=lambda name: budgets[name]):
        for baseline in (Method.RANDOM, Method.UNIFORM):
            ahead = {
                seed: 100 * (run.accuracy - by_place[name, baseline, seed].accuracy)
                for (other, method, seed), run in sorted(by_place.items())
                if other == name and method == Method.SEARCH and (name, baseline, seed) in by_place
            }
            if ahead:
                each = ", ".join(f"{value:+.2f}" for value in ahead.values())
                rows.append((name, baseline, f"{mean(ahead.values()):+.2f}", each))
    if not rows:
        return None
    heads = ("budgets", "against", "mean difference", "by seed")
    return Table("The search's int8 accuracy, in points", heads, tuple(rows))


def write_comparison(runs: Sequence[SearchRun], folder: Path) -> Path:
    """Write ``compare.md`` and ``compare.png``.

    Raises:
        ResultsError: The runs cannot be compared, or the folder cannot be written.
    """
    from harness.report.search_plot import plot_runs

    check_comparable(runs)
    plot_runs(runs, folder / "compare.png")
    first = runs[0]
    name = f"{first.backbone} on {first.dataset.name} for {first.board}"
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
    parts += [
        "## Runs\n",
        runs_table(runs).markdown(),
    ]
    return write_page(folder / "compare.md", parts)


def holds_text(run: SearchRun) -> str:
    """Return whether the budgets hold as measured; names those that do not."""
    broken = [name.split("_")[0] for name, holds in run.holds.items() if holds is False]
    if broken:
        return f"NO: {', '.join(broken)}"
    return "yes" if all(run.holds.values()) else "not measured"


def _data_text(run: SearchRun) -> str:
    data = run.dataset
    return f"{data.name} ({len(data.classes)} classes, {sum(data.samples.values())} samples)"


def _tested_on(run: SearchRun) -> str:
    if run.dataset.division.get("by") == "speaker":
        return text.name(", ".join(run.dataset.division["test"]))
    return f"{run.dataset.samples['test']} samples"


def _measured(run: SearchRun, name: str) -> float | None:
    value = run.measured_of(name)
    return None if value is None else value / FIGURES[name][1]


def _signed(value: float | None) -> str:
    return text.UNKNOWN if value is None else f"{value:+.1f}"


def _size(budgets: Budgets) -> float:
    return budgets.latency_us or budgets.flash_bytes or budgets.sram_bytes or float("inf")
